//! Runs [`recovery`] on Lambda.

use latchkey_runtime::environment::{Fatal, serve_with_places};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    serve_with_places(recovery::routes()).await
}
