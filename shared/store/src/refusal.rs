//! What a failed request means: which condition failed, whether another write was in flight, or that DynamoDB failed.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use latchkey_domain::error::{StoreError, with_causes};

use crate::keys::Item;

/// Why a write was not made, or may not have been.
#[derive(Debug)]
pub(crate) enum WriteRefusal {
    /// A condition did not hold.
    ConditionFailed(FailedConditions),
    /// Another write was in flight on the same item. Nothing was written; try again.
    Conflict,
    /// DynamoDB failed.
    Failed(StoreError),
}

/// One part of a transaction: what [`FailedConditions`] is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartHandle(usize);

impl PartHandle {
    /// The one part of a write that is no transaction.
    pub(crate) const ONLY: Self = Self(0);

    /// The part that is added to a transaction after so many others.
    pub(crate) fn at(position: usize) -> Self {
        Self(position)
    }
}

/// Which conditions of a write failed, and the items that they met.
#[derive(Debug, Default)]
pub(crate) struct FailedConditions {
    met: BTreeMap<PartHandle, Option<Item>>,
    /// Whether an earlier attempt of the same write may have been made: it was sent again because it got no answer. Set
    /// by [`Store::send_account_update`](crate::Store::send_account_update) alone; false after every other write.
    pub(crate) after_lost_reply: bool,
}

impl FailedConditions {
    fn of(met: BTreeMap<PartHandle, Option<Item>>) -> Self {
        Self {
            met,
            after_lost_reply: false,
        }
    }

    /// The item that the condition of a part met, if that is the one that failed and there was an item.
    pub(crate) fn take_item(&mut self, part: PartHandle) -> Option<Item> {
        self.met.remove(&part).flatten()
    }

    /// The same for a write that is no transaction.
    pub(crate) fn take_only(&mut self) -> Option<Item> {
        self.take_item(PartHandle::ONLY)
    }
}

/// Logs a failure of DynamoDB, with the SDK's own words: as a warning if it passes, because the caller then tries again,
/// and as an error if a person has to look.
fn log_failure<E, R>(operation: &str, error: &SdkError<E, R>)
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let code = error.code().unwrap_or("no reply");
    let error = with_causes(error);
    if needs_a_person(code) {
        tracing::error!(operation, code, error, "DynamoDB failed");
    } else {
        tracing::warn!(operation, code, error, "DynamoDB failed");
    }
}

/// Whether a failure stays until somebody changes the code, a role, the table or a key.
fn needs_a_person(code: &str) -> bool {
    matches!(
        code,
        "ValidationException"
            | "AccessDeniedException"
            | "ResourceNotFoundException"
            | "UnrecognizedClientException"
            | "MissingAuthenticationTokenException"
            | "InvalidSignatureException"
            | "ItemCollectionSizeLimitExceededException"
            | "KMSAccessDeniedException"
            | "TransactionCanceledException"
    )
}

/// Logs a failure and says what the rest of the service can know of it.
pub(crate) fn store_error<E, R>(operation: &str, error: &SdkError<E, R>) -> StoreError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: std::fmt::Debug + 'static,
{
    log_failure(operation, error);
    match error.code() {
        Some("ValidationException") => StoreError::Corrupt,
        Some(_) | None => StoreError::Unavailable,
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
pub(crate) fn update_refusal<R>(error: SdkError<UpdateItemError, R>) -> WriteRefusal
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
                UpdateItemError::ConditionalCheckFailedException(met) => met.item,
                _ => None,
            };
            let conditions = FailedConditions::of(BTreeMap::from([(PartHandle::ONLY, item)]));
            WriteRefusal::ConditionFailed(conditions)
        }
        other => WriteRefusal::Failed(store_error("UpdateItem", &other)),
    }
}

/// What a deletion's failure means. Nobody asks for the item that its condition met.
pub(crate) fn delete_refusal<R>(error: SdkError<DeleteItemError, R>) -> WriteRefusal
where
    R: std::fmt::Debug + 'static,
{
    if is_conflict(error.code()) {
        return WriteRefusal::Conflict;
    }
    match &error {
        SdkError::ServiceError(context)
            if context.err().is_conditional_check_failed_exception() =>
        {
            WriteRefusal::ConditionFailed(FailedConditions::default())
        }
        other => WriteRefusal::Failed(store_error("DeleteItem", other)),
    }
}

/// What a transaction's failure means. The reasons stand in the order of its parts.
pub(crate) fn transaction_refusal<R>(error: SdkError<TransactWriteItemsError, R>) -> WriteRefusal
where
    R: std::fmt::Debug + 'static,
{
    const OPERATION: &str = "TransactWriteItems";
    if is_conflict(error.code()) {
        return WriteRefusal::Conflict;
    }
    let reasons = match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(canceled)) => {
            canceled.cancellation_reasons.clone()
        }
        Some(_) | None => None,
    };
    let Some(reasons) = reasons else {
        return WriteRefusal::Failed(store_error(OPERATION, &error));
    };
    let mut conditions = BTreeMap::new();
    let mut try_again = true;
    let mut invalid = false;
    for (part, reason) in (0..).map(PartHandle).zip(reasons) {
        match reason.code.as_deref() {
            None
            | Some(
                "None"
                | "TransactionConflict"
                | "ThrottlingError"
                | "ProvisionedThroughputExceeded",
            ) => {}
            Some("ConditionalCheckFailed") => {
                conditions.insert(part, reason.item);
            }
            Some("ValidationError" | "ItemCollectionSizeLimitExceeded") => invalid = true,
            Some(_) => try_again = false,
        }
    }
    if !conditions.is_empty() {
        WriteRefusal::ConditionFailed(FailedConditions::of(conditions))
    } else if invalid {
        // Trying again does not help, whatever the error's own code says.
        log_failure(OPERATION, &error);
        WriteRefusal::Failed(StoreError::Corrupt)
    } else if try_again {
        WriteRefusal::Conflict
    } else {
        WriteRefusal::Failed(store_error(OPERATION, &error))
    }
}
