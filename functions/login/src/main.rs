//! Runs [`login`] on Lambda.

use latchkey_api::lambda::{self, Fatal};
use latchkey_store::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    lambda::run(Store::connect, Store::open_connection, login::routes()).await
}
