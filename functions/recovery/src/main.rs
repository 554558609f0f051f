//! Runs [`recovery`] on Lambda.

use latchkey_runtime::environment::{Fatal, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    serve(recovery::routes()).await
}
