//! Runs [`events::on_records`] on Lambda, for the stream of the table.

use latchkey_runtime::environment::{Fatal, run_on_stream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    run_on_stream(events::connect, events::on_records).await
}
