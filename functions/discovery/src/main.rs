//! Runs [`discovery`] on Lambda.

use latchkey_runtime::environment::{Fatal, serve_without_table};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    serve_without_table(discovery::routes(), discovery::default_routes()).await
}
