//! Requests to DynamoDB and what becomes of them: which failure means what, and what is tried again.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use latchkey_domain::account::Account;
use latchkey_domain::error::{StoreError, with_causes};
use latchkey_domain::id::ChangeId;

use crate::Store;
use crate::item::{Item, account_from_item};
use crate::keys::{Key, PK};

/// What every request asks for, so that its cost can be counted.
pub(crate) const COUNT_CAPACITY: ReturnConsumedCapacity = ReturnConsumedCapacity::Total;
/// Hands back the item that a condition met, without a further read.
pub(crate) const OLD_ITEM: ReturnValuesOnConditionCheckFailure =
    ReturnValuesOnConditionCheckFailure::AllOld;

/// Why a write was not made, or may not have been.
#[derive(Debug)]
enum WriteRefusal {
    /// A condition did not hold.
    ConditionFailed(FailedConditions),
    /// Another write was in flight on the same item. Nothing was written; try again.
    Conflict,
    /// DynamoDB failed.
    Failed(StoreError),
}

/// Which conditions of a write failed, by their position, and the items that they met.
#[derive(Debug, Default)]
pub(crate) struct FailedConditions(BTreeMap<usize, Option<Item>>);

impl FailedConditions {
    fn of_single_write(item: Option<Item>) -> Self {
        Self(BTreeMap::from([(0, item)]))
    }

    /// The item that the condition at `position` met, if that is the one that failed.
    pub(crate) fn take_item(&mut self, position: usize) -> Option<Item> {
        self.0.remove(&position).flatten()
    }
}

/// How often a decision or a write is tried again, and the pauses between: full jitter over a doubling span, so that
/// those who met in one item do not meet again.
pub(crate) struct Retries<'a> {
    store: &'a Store,
    left: u32,
    span_millis: u64,
}

/// With the pauses below, some 4 seconds in all when DynamoDB answers at once: enough for dozens of sign-ins of one user
/// at the same moment. When it is slow as well, the HTTP side's bound for a whole request comes first.
const MAX_RETRIES: u32 = 24;
const FIRST_SPAN_MILLIS: u64 = 8;
const LONGEST_SPAN_MILLIS: u64 = 400;

impl<'a> Retries<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            store,
            left: MAX_RETRIES,
            span_millis: FIRST_SPAN_MILLIS,
        }
    }

    /// Waits a little, or says that it was tried often enough.
    pub(crate) async fn pause(&mut self) -> Result<(), StoreError> {
        if self.left == 0 {
            tracing::warn!("gave up after too many conflicts or throttled writes");
            return Err(StoreError::Unavailable);
        }
        self.left -= 1;
        let mut bytes = [0; 8];
        self.store.random.fill(&mut bytes);
        let millis = u64::from_le_bytes(bytes) % self.span_millis;
        self.span_millis = (self.span_millis * 2).min(LONGEST_SPAN_MILLIS);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        Ok(())
    }
}

/// Logs a failure and says what the rest of the service can know of it.
pub(crate) fn failed<E, R>(operation: &str, error: &SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let code = error.code().unwrap_or("no reply");
    tracing::error!(
        operation,
        code,
        error = with_causes(error),
        "DynamoDB failed"
    );
    if code == "ValidationException" {
        StoreError::Corrupt
    } else {
        StoreError::Unavailable
    }
}

/// Whether another write was in flight on the same item.
fn is_conflict(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "TransactionConflictException"
                | "TransactionInProgressException"
                | "ReplicatedWriteConflictException"
        )
    )
}

/// What an update's failure means.
fn update_refusal<R>(error: SdkError<UpdateItemError, R>) -> WriteRefusal
where
    R: std::fmt::Debug + 'static,
{
    if is_conflict(error.code()) {
        return WriteRefusal::Conflict;
    }
    match error {
        SdkError::ServiceError(context)
            if context.err().is_conditional_check_failed_exception() =>
        {
            let item = match context.into_err() {
                UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
                _ => None,
            };
            WriteRefusal::ConditionFailed(FailedConditions::of_single_write(item))
        }
        other => WriteRefusal::Failed(failed("UpdateItem", &other)),
    }
}

fn transaction_refusal<R>(error: SdkError<TransactWriteItemsError, R>) -> WriteRefusal
where
    R: std::fmt::Debug + 'static,
{
    if is_conflict(error.code()) {
        return WriteRefusal::Conflict;
    }
    let reasons = match error.as_service_error().and_then(|error| match error {
        TransactWriteItemsError::TransactionCanceledException(canceled) => {
            canceled.cancellation_reasons.clone()
        }
        _ => None,
    }) {
        Some(reasons) => reasons,
        None => return WriteRefusal::Failed(failed("TransactWriteItems", &error)),
    };
    let mut conditions = FailedConditions::default();
    let mut try_again = true;
    let mut invalid = false;
    for (position, reason) in reasons.into_iter().enumerate() {
        match reason.code.as_deref() {
            None
            | Some(
                "None"
                | "TransactionConflict"
                | "ThrottlingError"
                | "ProvisionedThroughputExceeded",
            ) => {}
            Some("ConditionalCheckFailed") => {
                conditions.0.insert(position, reason.item);
            }
            Some("ValidationError" | "ItemCollectionSizeLimitExceeded") => invalid = true,
            Some(_) => try_again = false,
        }
    }
    if !conditions.0.is_empty() {
        WriteRefusal::ConditionFailed(conditions)
    } else if invalid {
        // Trying again does not help, unlike with what `failed` would make of it.
        let _ = failed("TransactWriteItems", &error);
        WriteRefusal::Failed(StoreError::Corrupt)
    } else if try_again {
        WriteRefusal::Conflict
    } else {
        WriteRefusal::Failed(failed("TransactWriteItems", &error))
    }
}

impl Store {
    /// A new stamp: it tells this change from all others.
    #[must_use]
    pub fn new_stamp(&self) -> ChangeId {
        ChangeId::random(self.random.as_ref())
    }

    /// Reads one item, strongly consistent.
    pub(crate) async fn get(&self, key: Key) -> Result<Option<Item>, StoreError> {
        self.client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(key.into_attributes()))
            .consistent_read(true)
            .return_consumed_capacity(COUNT_CAPACITY)
            .send()
            .await
            .map(|output| output.item)
            .map_err(|error| failed("GetItem", &error))
    }

    /// Deletes an item on a condition with one name and one value. Returns whether the condition held.
    pub(crate) async fn delete_item_if(
        &self,
        key: Key,
        (condition, name, attribute): (&str, &str, &str),
        (placeholder, value): (&str, AttributeValue),
    ) -> Result<bool, StoreError> {
        let mut retries = Retries::new(self);
        loop {
            let deleted = self
                .client
                .delete_item()
                .table_name(&*self.table)
                .set_key(Some(key.clone().into_attributes()))
                .condition_expression(condition)
                .expression_attribute_names(name, attribute)
                .expression_attribute_values(placeholder, value.clone())
                .return_consumed_capacity(COUNT_CAPACITY)
                .send()
                .await;
            match deleted {
                Ok(_) => return Ok(true),
                Err(SdkError::ServiceError(error))
                    if error.err().is_conditional_check_failed_exception() =>
                {
                    return Ok(false);
                }
                Err(error) if is_conflict(error.code()) => retries.pause().await?,
                Err(error) => return Err(failed("DeleteItem", &error)),
            }
        }
    }

    /// A part of a transaction: an item that must not be there yet.
    pub(crate) fn put_new(&self, item: Item) -> TransactWriteItem {
        let put = Put::builder()
            .table_name(&*self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", PK)
            .return_values_on_condition_check_failure(OLD_ITEM)
            .build();
        TransactWriteItem::builder().set_put(put.ok()).build()
    }

    /// An update, sent until it is made or its condition fails. `update` makes the request for each attempt. Returns what
    /// DynamoDB answered, or the condition that failed.
    pub(crate) async fn update(
        &self,
        update: impl Fn() -> UpdateItemFluentBuilder,
        retries: &mut Retries<'_>,
    ) -> Result<Result<UpdateItemOutput, FailedConditions>, StoreError> {
        loop {
            let sent = update()
                .table_name(&*self.table)
                .return_consumed_capacity(COUNT_CAPACITY)
                .send()
                .await;
            match sent.map_err(update_refusal) {
                Ok(output) => return Ok(Ok(output)),
                Err(WriteRefusal::ConditionFailed(failed)) => return Ok(Err(failed)),
                Err(WriteRefusal::Conflict) => retries.pause().await?,
                Err(WriteRefusal::Failed(error)) => return Err(error),
            }
        }
    }

    /// A transaction, sent until it is made or a condition fails. Returns the conditions that failed.
    ///
    /// Every attempt, the SDK's own and those after a conflict, has the same token. A conflict may be one with an earlier
    /// attempt of this very transaction, whose reply was lost: under a new token it would be made, and then look refused.
    pub(crate) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
        retries: &mut Retries<'_>,
    ) -> Result<Option<FailedConditions>, StoreError> {
        let token = self.new_stamp().to_string();
        loop {
            let sent = self
                .client
                .transact_write_items()
                .set_transact_items(Some(writes.clone()))
                .client_request_token(&token)
                .return_consumed_capacity(COUNT_CAPACITY)
                .send()
                .await;
            match sent.map_err(transaction_refusal) {
                Ok(_) => return Ok(None),
                Err(WriteRefusal::ConditionFailed(failed)) => return Ok(Some(failed)),
                Err(WriteRefusal::Conflict) => retries.pause().await?,
                Err(WriteRefusal::Failed(error)) => return Err(error),
            }
        }
    }

    /// Writes what was decided on `before`: tried again on a conflict, given up when a condition fails. Returns
    /// whether the write was made; a failed condition that finds this change's own stamp says that it was.
    pub(crate) async fn transact_once_decided(
        &self,
        writes: Vec<TransactWriteItem>,
        account_position: usize,
        before: &Account,
        stamp: ChangeId,
    ) -> Result<bool, StoreError> {
        let mut retries = Retries::new(self);
        match self.transact(writes, &mut retries).await? {
            None => Ok(true),
            Some(mut failed) => failed
                .take_item(account_position)
                .map_or(Ok(false), |item| is_own_write(item, before, stamp)),
        }
    }
}

/// Whether the account that a failed condition met is the very result of this change: then the write had been made
/// and only its reply was lost.
pub(crate) fn is_own_write(
    found: Item,
    before: &Account,
    stamp: ChangeId,
) -> Result<bool, StoreError> {
    let found = account_from_item(found)?;
    Ok(found.change == stamp && found.account.version == before.version + 1)
}
