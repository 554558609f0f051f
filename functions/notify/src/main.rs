//! Runs [`notify::on_queue`] on Lambda, for the queue of events that people are told of.

use latchkey_runtime::environment::{Fatal, run_on_queue};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    run_on_queue(notify::connect, notify::on_queue).await
}
