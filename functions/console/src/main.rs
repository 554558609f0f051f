//! Runs [`console`] on Lambda.

use latchkey_runtime::environment::{Fatal, serve_pages};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    serve_pages(console::routes()).await
}
