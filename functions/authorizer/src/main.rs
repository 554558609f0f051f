//! Runs [`authorizer::authorize`] on Lambda, for the events of another API's gateway.

use latchkey_runtime::environment::{Fatal, run_authorizer};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    run_authorizer(authorizer::authorize).await
}
