//! Trying again: writes that meet another write in flight, and the pauses between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{Config, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::UserId;

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::expression::Expression;
use crate::keys::Key;
use crate::metering::CONTENTION;
use crate::refusal::{FailedConditions, WriteRefusal, delete_refusal, update_refusal};

/// Hands back the item that a condition met, without a further read.
pub(crate) const OLD_ITEM: ReturnValuesOnConditionCheckFailure =
    ReturnValuesOnConditionCheckFailure::AllOld;

/// How often a decision or a write is tried again, and the pauses between: full jitter over a doubling span, so that
/// those who met in one item do not meet again.
#[derive(Debug)]
pub struct Retries<'a> {
    store: &'a Store,
    left: u32,
    span_millis: u64,
}

/// With the pauses below, some 4 seconds in all when DynamoDB answers at once: enough for dozens of sign-ins of one user
/// at the same moment. When it is slow as well, the HTTP side's bound for a whole request comes first.
const MAX_RETRIES: u32 = 24;
const FIRST_SPAN_MILLIS: u64 = 8;
const LONGEST_SPAN_MILLIS: u64 = 400;

impl Retries<'_> {
    /// Waits a little, or says that it was tried often enough.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it was.
    pub async fn pause(&mut self) -> Result<(), StoreError> {
        if self.left == 0 {
            metrics::counter!(CONTENTION).increment(1);
            tracing::warn!(
                "gave up after too many conflicts, throttled writes or changes by others"
            );
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

    /// Sends a write until it meets no other one in flight. Returns what DynamoDB answered, or the conditions that failed.
    pub(crate) async fn until_no_conflict<T, E, F>(
        &mut self,
        send: impl Fn() -> F,
        refusal: impl Fn(E) -> WriteRefusal,
    ) -> Result<Result<T, FailedConditions>, StoreError>
    where
        F: Future<Output = Result<T, E>>,
    {
        loop {
            match send().await.map_err(&refusal) {
                Ok(output) => return Ok(Ok(output)),
                Err(WriteRefusal::ConditionFailed(conditions)) => return Ok(Err(conditions)),
                Err(WriteRefusal::Conflict) => self.pause().await?,
                Err(WriteRefusal::Failed(error)) => return Err(error),
            }
        }
    }
}

/// Whether an attempt of a write got no answer, or one that does not say whether it was made.
#[derive(Clone, Debug, Default)]
struct LostReplies(Arc<AtomicBool>);

impl LostReplies {
    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Intercept for LostReplies {
    fn name(&self) -> &'static str {
        "LostReplies"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // A refusal, as of a condition or of a throttled write, says that nothing was written; an internal error of DynamoDB
        // does not.
        let is_server_error = || {
            let response = context.response();
            response.is_none_or(|response| response.status().is_server_error())
        };
        let is_answered = match context.output_or_error() {
            Some(Ok(_)) => true,
            Some(Err(error)) => error.is_operation_error() && !is_server_error(),
            None => false,
        };
        if !is_answered {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Store {
    /// A new allowance of retries, for one change and the decisions before it, or for readings that do not fit yet. A request
    /// may need more than one; the HTTP side's bound holds for them together.
    #[must_use]
    pub fn retries(&self) -> Retries<'_> {
        Retries {
            store: self,
            left: MAX_RETRIES,
            span_millis: FIRST_SPAN_MILLIS,
        }
    }

    /// An update, sent until it is made or its condition fails. `ask` adds what the reply is to hold. Returns what
    /// DynamoDB answered, or the condition that failed.
    pub(crate) async fn update(
        &self,
        key: Key,
        expression: &Expression,
        ask: impl Fn(UpdateItemFluentBuilder) -> UpdateItemFluentBuilder,
        retries: &mut Retries<'_>,
    ) -> Result<Result<UpdateItemOutput, FailedConditions>, StoreError> {
        let update = ask(self.update_request(key, expression));
        let send = || update.clone().send();
        retries.until_no_conflict(send, update_refusal).await
    }

    /// An update of an account, sent until it is made or its condition fails. Returns the condition that failed, with the
    /// account that it met, and whether the reply to an attempt was lost.
    pub(crate) async fn send_account_update(
        &self,
        user: UserId,
        expression: &Expression,
        retries: &mut Retries<'_>,
    ) -> Result<Result<(), FailedConditions>, StoreError> {
        let update = self.update_request(Key::account(user), expression);
        let update = update.return_values_on_condition_check_failure(OLD_ITEM);
        let lost_replies = LostReplies::default();
        let send = || {
            let update = update.clone().customize();
            update.interceptor(lost_replies.clone()).send()
        };
        let sent = retries.until_no_conflict(send, update_refusal).await?;
        Ok(sent.map(drop).map_err(|mut conditions| {
            conditions.after_lost_reply = lost_replies.any();
            conditions
        }))
    }

    /// An update that is sent once: for one that must not be made twice and cannot tell whether it was. Returns whether its
    /// condition held.
    pub(crate) async fn update_once(
        &self,
        key: Key,
        expression: &Expression,
    ) -> Result<bool, StoreError> {
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let update = self.update_request(key, expression).customize();
        match update.config_override(once).send().await {
            Ok(_) => Ok(true),
            Err(error) => match update_refusal(error) {
                WriteRefusal::ConditionFailed(_) => Ok(false),
                WriteRefusal::Conflict => Err(StoreError::Unavailable),
                WriteRefusal::Failed(error) => Err(error),
            },
        }
    }

    fn update_request(&self, key: Key, expression: &Expression) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(key.into_attributes()))
            .update_expression(expression.update())
            .set_condition_expression(expression.condition())
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .return_consumed_capacity(COUNT_CAPACITY)
    }

    /// Deletes an item if the expression's condition holds, and says whether it did.
    pub(crate) async fn delete_item_if(
        &self,
        key: Key,
        expression: &Expression,
    ) -> Result<bool, StoreError> {
        let delete = self
            .client
            .delete_item()
            .table_name(&*self.table)
            .set_key(Some(key.into_attributes()))
            .set_condition_expression(expression.condition())
            .set_expression_attribute_names(expression.names())
            .set_expression_attribute_values(expression.values())
            .return_consumed_capacity(COUNT_CAPACITY);
        let mut retries = self.retries();
        let sent = retries.until_no_conflict(|| delete.clone().send(), delete_refusal);
        Ok(sent.await?.is_ok())
    }
}
