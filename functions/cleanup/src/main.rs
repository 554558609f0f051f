//! Runs [`cleanup::on_schedule`] on Lambda, for EventBridge's scheduled event.

use latchkey_runtime::environment::{Fatal, run_scheduled};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    run_scheduled(cleanup::on_schedule).await
}
