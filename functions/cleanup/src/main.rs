//! Runs [`cleanup::on_schedule`] on Lambda, for EventBridge's scheduled event.

use lambda_runtime::{LambdaEvent, service_fn};
use latchkey_api::lambda::{self, Fatal, ScheduledEvent, ended};
use latchkey_store::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let started = lambda::start_scheduled()?;
    let endpoint = started.storage.endpoint.as_deref();
    let table = &started.storage.table_name;
    let store = &Store::connect(&started.sdk, endpoint, table, started.random.clone());
    let clock = started.clock.as_ref();
    let handler = async |event: LambdaEvent<ScheduledEvent>| {
        cleanup::on_schedule(store, clock, event.context.deadline).await
    };
    ended(lambda_runtime::run(service_fn(handler)).await)
}
