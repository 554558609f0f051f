//! Runs [`cleanup::run`] on Lambda, for EventBridge's scheduled event.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use chrono::{DateTime, TimeDelta, Utc};
use cleanup::{Budget, CleanupError, Report};
use lambda_runtime::{LambdaEvent, service_fn};
use latchkey_api::lambda;
use latchkey_store::Store;

/// What is left of the function's time when the last page is begun.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    let started = lambda::start_scheduled()?;
    let store = Store::connect(
        &started.sdk,
        started.storage.endpoint.as_deref(),
        &started.storage.table_name,
        started.random.clone(),
    );
    let (store, clock) = (&store, started.clock.as_ref());
    lambda_runtime::run(service_fn(
        move |event: LambdaEvent<EventBridgeEvent>| async move {
            let deadline = i64::try_from(event.context.deadline)
                .ok()
                .and_then(DateTime::<Utc>::from_timestamp_millis);
            let until = deadline.unwrap_or_else(|| clock.now()) - MARGIN;
            let result: Result<Report, CleanupError> =
                cleanup::run(store, clock, Budget::until(until)).await;
            match &result {
                Ok(report) => {
                    tracing::info!(report = %serde_json::json!(report), "cleaned up: {report}");
                }
                Err(error) => tracing::error!(%error, "cleanup failed"),
            }
            result
        },
    ))
    .await
}
