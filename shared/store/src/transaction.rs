//! Transactions of named parts: all are written or none, and a failed condition names the part that it stands in.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use latchkey_domain::error::StoreError;

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::expression::Expression;
use crate::keys::{Item, Key, PK};
use crate::refusal::{FailedConditions, PartHandle, transaction_refusal};
use crate::retry::{OLD_ITEM, Retries};

/// Writes that are made together or not at all.
#[derive(Debug)]
pub(crate) struct Transaction<'a> {
    table: &'a str,
    parts: Vec<TransactWriteItem>,
}

impl Transaction<'_> {
    fn add(&mut self, part: TransactWriteItem) -> PartHandle {
        let handle = PartHandle::at(self.parts.len());
        self.parts.push(part);
        handle
    }

    /// An item that must not be there yet.
    pub(crate) fn put_new(&mut self, item: Item) -> PartHandle {
        let is_new = Expression::default()
            .only_if("attribute_not_exists(#pk)")
            .name(PK);
        self.put(item, &is_new)
    }

    /// An item that takes the place of what is there, on the expression's condition.
    pub(crate) fn put(&mut self, item: Item, expression: &Expression) -> PartHandle {
        let put = Put::builder()
            .table_name(self.table)
            .set_item(Some(item))
            .set_condition_expression(expression.condition())
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .return_values_on_condition_check_failure(OLD_ITEM)
            .build();
        self.add(TransactWriteItem::builder().set_put(put.ok()).build())
    }

    /// An update of an item, on the expression's condition.
    pub(crate) fn update(&mut self, key: Key, expression: &Expression) -> PartHandle {
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(key.into_attributes()))
            .update_expression(expression.update())
            .set_condition_expression(expression.condition())
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .return_values_on_condition_check_failure(OLD_ITEM)
            .build();
        self.add(TransactWriteItem::builder().set_update(update.ok()).build())
    }

    /// The end of an item, on the expression's condition.
    pub(crate) fn delete(&mut self, key: Key, expression: &Expression) -> PartHandle {
        let delete = Delete::builder()
            .table_name(self.table)
            .set_key(Some(key.into_attributes()))
            .set_condition_expression(expression.condition())
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .return_values_on_condition_check_failure(OLD_ITEM)
            .build();
        self.add(TransactWriteItem::builder().set_delete(delete.ok()).build())
    }
}

impl Store {
    /// A transaction that does nothing yet.
    pub(crate) fn begin_transaction(&self) -> Transaction<'_> {
        Transaction {
            table: &self.table,
            parts: Vec::new(),
        }
    }

    /// Sends a transaction until it is made or a condition fails. Returns the conditions that failed.
    ///
    /// Every attempt, the SDK's own and those after a conflict, has the same token. A conflict may be one with an earlier
    /// attempt of this very transaction, whose reply was lost: under a new token it would be made, and then look refused.
    pub(crate) async fn transact(
        &self,
        transaction: Transaction<'_>,
        retries: &mut Retries<'_>,
    ) -> Result<Result<(), FailedConditions>, StoreError> {
        let request = self
            .client
            .transact_write_items()
            .set_transact_items(Some(transaction.parts))
            .client_request_token(self.new_request_id().to_string())
            .return_consumed_capacity(COUNT_CAPACITY);
        let sent = retries.until_no_conflict(|| request.clone().send(), transaction_refusal);
        Ok(sent.await?.map(drop))
    }
}
