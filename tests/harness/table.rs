//! The table, changed behind the service's back: as a restored backup, an older version or an operator would.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use latchkey_domain::id::{SessionId, UserId};
use serde_json::Value;

use crate::harness::stack::{Stack, TABLE};

/// The table of a stack, with all permissions.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    client: &'a Client,
}

/// One item of it, which need not exist.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    client: &'a Client,
    pk: String,
    sk: String,
}

impl Stack {
    /// The table behind the service.
    #[must_use]
    pub fn table(&self) -> Table<'_> {
        let client = &self.client;
        Table { client }
    }
}

impl<'a> Table<'a> {
    /// The item of an account.
    #[must_use]
    pub fn account(self, user: UserId) -> Item<'a> {
        self.item(format!("USER#{user}"), "ACCOUNT".to_owned())
    }

    /// The item of a session.
    #[must_use]
    pub fn session(self, user: UserId, session: SessionId) -> Item<'a> {
        self.item(format!("USER#{user}"), format!("SESSION#{session}"))
    }

    /// The item of the credential of a canonical e-mail address.
    #[must_use]
    pub fn credential(self, email: &str) -> Item<'a> {
        self.item(format!("EMAIL#{email}"), "CREDENTIAL".to_owned())
    }

    /// The item of an identity.
    #[must_use]
    pub fn identity(self, issuer: &str, subject: &str) -> Item<'a> {
        self.item(format!("IDENTITY#{issuer}"), subject.to_owned())
    }

    /// The item of a key.
    #[must_use]
    pub fn item(self, pk: String, sk: String) -> Item<'a> {
        let client = self.client;
        Item { client, pk, sk }
    }
}

impl Item<'_> {
    /// Sets an attribute to a text, a number or a truth value.
    ///
    /// # Panics
    /// When DynamoDB refuses, or the value is of another kind.
    pub async fn set(&self, name: &str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::String(text) => AttributeValue::S(text),
            Value::Number(number) => AttributeValue::N(number.to_string()),
            Value::Bool(is) => AttributeValue::Bool(is),
            other => panic!("no attribute is made of {other}"),
        };
        let update = self.update("SET #name = :value", name);
        let updated = update.expression_attribute_values(":value", value);
        updated.send().await.expect("DynamoDB takes it");
    }

    /// Removes an attribute.
    ///
    /// # Panics
    /// When DynamoDB refuses.
    pub async fn remove(&self, name: &str) {
        let update = self.update("REMOVE #name", name);
        update.send().await.expect("DynamoDB takes it");
    }

    /// Deletes the item.
    ///
    /// # Panics
    /// When DynamoDB refuses.
    pub async fn delete(&self) {
        let delete = self.client.delete_item().table_name(TABLE);
        let [pk, sk] = self.key();
        let deleted = delete.key("pk", pk).key("sk", sk).send().await;
        deleted.expect("DynamoDB takes it");
    }

    fn update(
        &self,
        expression: &str,
        name: &str,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let [pk, sk] = self.key();
        let update = self.client.update_item().table_name(TABLE);
        update
            .key("pk", pk)
            .key("sk", sk)
            .update_expression(expression)
            .expression_attribute_names("#name", name)
    }

    fn key(&self) -> [AttributeValue; 2] {
        [&self.pk, &self.sk].map(|part| AttributeValue::S(part.clone()))
    }
}
