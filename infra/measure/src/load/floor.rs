//! What DynamoDB alone takes: the two calls of a refresh, by the SDK, on an embedded engine of this process's own.
//!
//! The local stack, too, has engine and SDK in one process, with no network between them.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use latchkey::embedded::Embedded;
use latchkey_store::table::create_if_missing;

use crate::load::LoadError;
use crate::load::server::TemporaryFolder;

const TABLE: &str = "latchkey";
/// Any time; what matters is the size of the number.
const NOON: u64 = 1_772_366_400_000;

/// A DynamoDB, and nothing of the service.
#[derive(Debug)]
pub(crate) struct Floor {
    embedded: Embedded,
    client: Client,
    _folder: TemporaryFolder,
}

/// A session, and how often it was rotated.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    partition: String,
    rotation: u64,
}

impl Floor {
    pub(crate) async fn open() -> Result<Self, LoadError> {
        let folder = TemporaryFolder::new("floor")?;
        let embedded = Embedded::in_file(&folder.path().join("floor.db"));
        let embedded = embedded.map_err(|error| LoadError::Floor(error.to_string()))?;
        let client = embedded.client();
        create_if_missing(&client, TABLE)
            .await
            .map_err(|error| LoadError::Floor(error.to_string()))?;
        Ok(Self {
            embedded,
            client,
            _folder: folder,
        })
    }

    pub(crate) async fn close(self) {
        self.embedded.stop().await;
    }

    /// An account and a session of the size that the service writes, for each client.
    pub(crate) async fn items(&self, clients: usize) -> Result<Vec<Item>, LoadError> {
        let mut items = Vec::new();
        for client in 0..clients {
            let partition = format!("USER#00000000-0000-4000-8000-{clients:06}{client:06}");
            let failed = |error| LoadError::Floor(format!("{error:?}"));
            self.put(&partition, "ACCOUNT")
                .item("status", text("active"))
                .item("email", text("somebody@example.com"))
                .item("version", number(3))
                .item("password_version", number(1))
                .item("change", change())
                .item("sessions", AttributeValue::Ss(vec![SESSION_ID.to_owned()]))
                .item("created_at", number(NOON))
                .send()
                .await
                .map_err(failed)?;
            let failed = |error| LoadError::Floor(format!("{error:?}"));
            self.put(&partition, &sort_key())
                .item("jti", text(SESSION_ID))
                .item("rotation", number(0))
                .item("rotated_at", number(NOON))
                .item("device_name", text("Firefox on Linux"))
                .item("device_type", text("desktop"))
                .item(
                    "user_agent",
                    text("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0"),
                )
                .item("ip_address", text("127.0.0.1"))
                .item("created_ip_address", text("127.0.0.1"))
                .item("created_at", number(NOON))
                .item("last_used_at", number(NOON))
                .item("idle_expires_at", number(NOON * 2))
                .item("absolute_expires_at", number(NOON * 2))
                .item("ttl", number(NOON))
                .send()
                .await
                .map_err(failed)?;
            items.push(Item {
                partition,
                rotation: 0,
            });
        }
        Ok(items)
    }

    fn put(
        &self,
        partition: &str,
        sort_key: &str,
    ) -> aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder {
        self.client
            .put_item()
            .table_name(TABLE)
            .item("pk", text(partition))
            .item("sk", text(sort_key))
    }

    /// The update and the read of a refresh, in parallel.
    ///
    /// # Errors
    /// What DynamoDB said.
    pub(crate) async fn rotate(&self, item: &mut Item) -> Result<(), String> {
        let update = self
            .client
            .update_item()
            .table_name(TABLE)
            .key("pk", text(&item.partition))
            .key("sk", text(&sort_key()))
            .update_expression(
                "SET #rotation = :successor, #rotated_at = :now, #last_used_at = :now, \
                 #idle_expires_at = :idle_expires_at, #ip_address = :ip_address",
            )
            .condition_expression(
                "#rotation = :presented AND #idle_expires_at > :now AND #absolute_expires_at > :now",
            )
            .expression_attribute_names("#rotation", "rotation")
            .expression_attribute_names("#rotated_at", "rotated_at")
            .expression_attribute_names("#last_used_at", "last_used_at")
            .expression_attribute_names("#idle_expires_at", "idle_expires_at")
            .expression_attribute_names("#absolute_expires_at", "absolute_expires_at")
            .expression_attribute_names("#ip_address", "ip_address")
            .expression_attribute_values(":presented", number(item.rotation))
            .expression_attribute_values(":successor", number(item.rotation + 1))
            .expression_attribute_values(":now", number(NOON))
            .expression_attribute_values(":idle_expires_at", number(NOON * 2))
            .expression_attribute_values(":ip_address", text("127.0.0.1"))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send();
        let read = self
            .client
            .get_item()
            .table_name(TABLE)
            .key("pk", text(&item.partition))
            .key("sk", text("ACCOUNT"))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send();
        let (updated, read) = futures::future::join(update, read).await;
        updated.map_err(|error| format!("{error:?}"))?;
        read.map_err(|error| format!("{error:?}"))?;
        item.rotation += 1;
        Ok(())
    }
}

const SESSION_ID: &str = "00000000-0000-4000-8000-000000000001";

fn sort_key() -> String {
    format!("SESSION#{SESSION_ID}")
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The stamp and the cause of an account's last change: here, of a sign-in.
fn change() -> AttributeValue {
    let parts = [
        ("id", text("00000000-0000-4000-8000-000000000000")),
        ("action", text("sign_in")),
        ("actor", text(&format!("owner:{SESSION_ID}"))),
        ("at", number(NOON)),
    ];
    let parts = parts.map(|(name, value)| (name.to_owned(), value));
    AttributeValue::M(parts.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use latchkey_domain::random::SystemRandom;
    use latchkey_store::Store;

    use super::*;

    /// Items of another form would have another size, and the floor would be that of something else.
    #[tokio::test]
    async fn the_items_are_in_the_form_that_the_service_reads() {
        let floor = Floor::open().await.unwrap();
        let items = floor.items(1).await.unwrap();
        let (_, user) = items[0].partition.split_once('#').unwrap();
        let user = user.parse().unwrap();
        let store = Store::new(floor.client.clone(), TABLE, Arc::new(SystemRandom));
        let account = store.read_account(user).await.unwrap().unwrap();
        let session = SESSION_ID.parse().unwrap();
        assert!(account.sessions.contains(&session));
        assert!(store.read_session(user, session).await.unwrap().is_some());
        floor.close().await;
    }
}
