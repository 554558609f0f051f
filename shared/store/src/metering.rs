//! What is asked of DynamoDB and what it costs, counted where every attempt of the SDK comes by, and logged at `DEBUG`.
//!
//! Through the `metrics` facade: who listens is not the store's matter.

use std::time::Instant;

use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::batch_write_item::{BatchWriteItemError, BatchWriteItemOutput};
use aws_sdk_dynamodb::operation::delete_item::{DeleteItemError, DeleteItemOutput};
use aws_sdk_dynamodb::operation::get_item::{GetItemError, GetItemOutput};
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::operation::query::{QueryError, QueryOutput};
use aws_sdk_dynamodb::operation::scan::{ScanError, ScanOutput};
use aws_sdk_dynamodb::operation::transact_write_items::{
    TransactWriteItemsError, TransactWriteItemsOutput,
};
use aws_sdk_dynamodb::operation::update_item::{UpdateItemError, UpdateItemOutput};
use aws_sdk_dynamodb::types::ConsumedCapacity;
use aws_smithy_runtime_api::client::interceptors::context::{Error, Output};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

/// Counts requests that were sent; each attempt is one.
pub const CALLS: &str = "DynamoDbCalls";
/// Counts read units, by DynamoDB's word.
pub const READ_UNITS: &str = "DynamoDbReadUnits";
/// Counts write units, by DynamoDB's word, and one for each single write whose condition failed: that is billed, but
/// DynamoDB does not tell it.
pub const WRITE_UNITS: &str = "DynamoDbWriteUnits";
/// Counts attempts, or parts of a batch, that were throttled.
pub const THROTTLES: &str = "DynamoDbThrottles";

/// Counts requests that gave up because others changed the same items again and again.
pub const CONTENTION: &str = "DynamoDbContention";

/// What one answer of DynamoDB says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Bill {
    read_units: f64,
    write_units: f64,
    throttled: bool,
}

impl Bill {
    fn read(capacity: Option<&ConsumedCapacity>) -> Self {
        Self {
            read_units: units(capacity),
            ..Self::default()
        }
    }

    fn of_write(capacity: &[ConsumedCapacity]) -> Self {
        Self {
            write_units: capacity.iter().map(|table| units(Some(table))).sum(),
            ..Self::default()
        }
    }

    fn count(self) {
        if self.read_units > 0.0 {
            metrics::histogram!(READ_UNITS).record(self.read_units);
        }
        if self.write_units > 0.0 {
            metrics::histogram!(WRITE_UNITS).record(self.write_units);
        }
        if self.throttled {
            metrics::counter!(THROTTLES).increment(1);
        }
    }
}

fn units(capacity: Option<&ConsumedCapacity>) -> f64 {
    capacity
        .and_then(|capacity| capacity.capacity_units)
        .unwrap_or_default()
}

/// Counts what a client asks and what it is billed.
#[derive(Debug)]
pub(crate) struct Meter;

impl Intercept for Meter {
    fn name(&self) -> &'static str {
        "Meter"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        metrics::counter!(CALLS).increment(1);
        if tracing::enabled!(tracing::Level::DEBUG) {
            config.interceptor_state().store_put(Sent(Instant::now()));
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        log(context, config);
        match context.output_or_error() {
            Some(Ok(output)) => of_output(output).count(),
            Some(Err(error)) => {
                if let Some(error) = error.as_operation_error() {
                    of_error(error).count();
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// When an attempt was sent.
#[derive(Clone, Copy, Debug)]
struct Sent(Instant);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

/// One line for an attempt. No line names a key or a value: they hold e-mail addresses.
fn log(context: &FinalizerInterceptorContextRef<'_>, config: &ConfigBag) {
    let Some(Sent(sent)) = config.load::<Sent>() else {
        return;
    };
    tracing::debug!(
        operation = config.load::<Metadata>().map(Metadata::name),
        status = context.response().map(|reply| reply.status().as_u16()),
        // To the microsecond: what floating point adds behind it says nothing.
        milliseconds = (sent.elapsed().as_secs_f64() * 1e6).round() / 1e3,
        "DynamoDB"
    );
}

/// The outputs that the store asks for; administration of the table costs no capacity.
fn of_output(output: &Output) -> Bill {
    if let Some(output) = output.downcast_ref::<GetItemOutput>() {
        Bill::read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<QueryOutput>() {
        Bill::read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<ScanOutput>() {
        Bill::read(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<UpdateItemOutput>() {
        Bill::of_write(output.consumed_capacity().map_or(&[], std::slice::from_ref))
    } else if let Some(output) = output.downcast_ref::<PutItemOutput>() {
        Bill::of_write(output.consumed_capacity().map_or(&[], std::slice::from_ref))
    } else if let Some(output) = output.downcast_ref::<DeleteItemOutput>() {
        Bill::of_write(output.consumed_capacity().map_or(&[], std::slice::from_ref))
    } else if let Some(output) = output.downcast_ref::<TransactWriteItemsOutput>() {
        Bill::of_write(output.consumed_capacity())
    } else if let Some(output) = output.downcast_ref::<BatchWriteItemOutput>() {
        Bill {
            throttled: output
                .unprocessed_items()
                .is_some_and(|left| !left.is_empty()),
            ..Bill::of_write(output.consumed_capacity())
        }
    } else {
        Bill::default()
    }
}

fn of_error(error: &Error) -> Bill {
    if let Some(error) = error.downcast_ref::<UpdateItemError>() {
        of_single_write(error, error.is_conditional_check_failed_exception())
    } else if let Some(error) = error.downcast_ref::<PutItemError>() {
        of_single_write(error, error.is_conditional_check_failed_exception())
    } else if let Some(error) = error.downcast_ref::<DeleteItemError>() {
        of_single_write(error, error.is_conditional_check_failed_exception())
    } else if let Some(error) = error.downcast_ref::<TransactWriteItemsError>() {
        Bill {
            throttled: is_throttling(error) || is_cancelled_by_throttling(error),
            ..Bill::default()
        }
    } else {
        let throttled = throttles::<GetItemError>(error)
            || throttles::<QueryError>(error)
            || throttles::<ScanError>(error)
            || throttles::<BatchWriteItemError>(error);
        Bill {
            throttled,
            ..Bill::default()
        }
    }
}

fn of_single_write(error: &impl ProvideErrorMetadata, condition_failed: bool) -> Bill {
    Bill {
        // The items are below 1 KB, or the cleanup's own note.
        write_units: if condition_failed { 1.0 } else { 0.0 },
        throttled: is_throttling(error),
        ..Bill::default()
    }
}

fn throttles<E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static>(
    error: &Error,
) -> bool {
    error.downcast_ref::<E>().is_some_and(is_throttling)
}

fn is_throttling(error: &impl ProvideErrorMetadata) -> bool {
    matches!(
        error.code(),
        Some(
            "ProvisionedThroughputExceededException"
                | "RequestLimitExceeded"
                | "ThrottlingException"
        )
    )
}

fn is_cancelled_by_throttling(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        return false;
    };
    cancelled.cancellation_reasons().iter().any(|reason| {
        matches!(
            reason.code(),
            Some("ThrottlingError" | "ProvisionedThroughputExceeded")
        )
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::error::ErrorMetadata;
    use aws_sdk_dynamodb::types::error::{
        ConditionalCheckFailedException, TransactionCanceledException,
    };
    use aws_sdk_dynamodb::types::{CancellationReason, WriteRequest};

    use super::*;

    fn units_of(units: f64) -> ConsumedCapacity {
        ConsumedCapacity::builder().capacity_units(units).build()
    }

    const NOTHING: Bill = Bill {
        read_units: 0.0,
        write_units: 0.0,
        throttled: false,
    };
    const READ: Bill = Bill {
        read_units: 1.5,
        ..NOTHING
    };
    const WRITTEN: Bill = Bill {
        write_units: 1.5,
        ..NOTHING
    };
    const THROTTLED: Bill = Bill {
        throttled: true,
        ..NOTHING
    };
    /// A single write is billed although its condition failed, and DynamoDB does not say so.
    const REFUSED: Bill = Bill {
        write_units: 1.0,
        ..NOTHING
    };

    #[test]
    fn an_answer_is_billed_as_it_says_itself() {
        let one = || units_of(1.5);
        let get = GetItemOutput::builder().consumed_capacity(one()).build();
        let query = QueryOutput::builder().consumed_capacity(one()).build();
        let scan = ScanOutput::builder().consumed_capacity(one()).build();
        for read in [
            Output::erase(get),
            Output::erase(query),
            Output::erase(scan),
        ] {
            assert_eq!(of_output(&read), READ, "{read:?}");
        }
        let update = UpdateItemOutput::builder().consumed_capacity(one()).build();
        let put = PutItemOutput::builder().consumed_capacity(one()).build();
        let delete = DeleteItemOutput::builder().consumed_capacity(one()).build();
        // One entry for each table, and there may be several.
        let transaction = TransactWriteItemsOutput::builder()
            .consumed_capacity(units_of(1.0))
            .consumed_capacity(units_of(0.5))
            .build();
        let batch = BatchWriteItemOutput::builder().consumed_capacity(one());
        for write in [
            Output::erase(update),
            Output::erase(put),
            Output::erase(delete),
            Output::erase(transaction),
            Output::erase(batch.clone().build()),
            Output::erase(batch.clone().set_unprocessed_items(Some([].into())).build()),
        ] {
            assert_eq!(of_output(&write), WRITTEN, "{write:?}");
        }
        let left = batch.unprocessed_items("latchkey", vec![WriteRequest::builder().build()]);
        let throttled = Bill {
            throttled: true,
            ..WRITTEN
        };
        assert_eq!(of_output(&Output::erase(left.build())), throttled);
        assert_eq!(of_output(&Output::erase("a table")), Bill::default());
    }

    fn with_code(code: &str) -> ErrorMetadata {
        ErrorMetadata::builder().code(code).build()
    }

    /// Every error that the store's requests can meet, with this code.
    fn errors_with(code: &str) -> [Error; 8] {
        [
            Error::erase(GetItemError::generic(with_code(code))),
            Error::erase(QueryError::generic(with_code(code))),
            Error::erase(ScanError::generic(with_code(code))),
            Error::erase(BatchWriteItemError::generic(with_code(code))),
            Error::erase(UpdateItemError::generic(with_code(code))),
            Error::erase(PutItemError::generic(with_code(code))),
            Error::erase(DeleteItemError::generic(with_code(code))),
            Error::erase(TransactWriteItemsError::generic(with_code(code))),
        ]
    }

    #[test]
    fn an_error_is_throttled_if_there_was_too_much_to_do_and_costs_nothing() {
        for (code, bill) in [
            ("ThrottlingException", THROTTLED),
            ("ProvisionedThroughputExceededException", THROTTLED),
            ("RequestLimitExceeded", THROTTLED),
            ("InternalServerError", Bill::default()),
            ("AccessDeniedException", Bill::default()),
        ] {
            for error in errors_with(code) {
                assert_eq!(of_error(&error), bill, "{error:?}");
            }
        }
    }

    #[test]
    fn a_single_write_whose_condition_failed_costs_one_unit() {
        let met = || ConditionalCheckFailedException::builder().build();
        for error in [
            Error::erase(UpdateItemError::ConditionalCheckFailedException(met())),
            Error::erase(PutItemError::ConditionalCheckFailedException(met())),
            Error::erase(DeleteItemError::ConditionalCheckFailedException(met())),
        ] {
            assert_eq!(of_error(&error), REFUSED, "{error:?}");
        }
    }

    #[test]
    fn a_transaction_is_throttled_if_one_of_its_parts_was() {
        for (code, bill) in [
            ("ThrottlingError", THROTTLED),
            ("ProvisionedThroughputExceeded", THROTTLED),
            ("ConditionalCheckFailed", Bill::default()),
            ("TransactionConflict", Bill::default()),
        ] {
            let reason = |code: &str| CancellationReason::builder().code(code).build();
            let cancelled = TransactionCanceledException::builder()
                .cancellation_reasons(reason("None"))
                .cancellation_reasons(reason(code))
                .build();
            let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
            assert_eq!(of_error(&Error::erase(error)), bill, "{code}");
        }
    }
}
