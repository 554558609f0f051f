//! Runs [`cleanup::on_schedule`] on Lambda, for EventBridge's scheduled event.

use lambda_runtime::{LambdaEvent, service_fn};
use latchkey_api::lambda::{self, Fatal, ScheduledEvent, ended};
use latchkey_api::telemetry::invocation;
use latchkey_store::Store;
use tracing::Instrument;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let started = lambda::start_scheduled()?;
    let endpoint = started.storage.endpoint.as_deref();
    let table = &started.storage.table_name;
    let store = &Store::connect(&started.sdk, endpoint, table, started.random.clone());
    let (clock, metrics) = (started.clock.as_ref(), &started.metrics);
    let handler = async |event: LambdaEvent<ScheduledEvent>| {
        let context = event.context;
        let span = invocation(&context.request_id, Some(&context));
        let run = cleanup::on_schedule(store, clock, context.deadline);
        let report = run.instrument(span).await;
        metrics.write_line(clock.now(), &context.request_id, None);
        report
    };
    ended(lambda_runtime::run(service_fn(handler)).await)
}
