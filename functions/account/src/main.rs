//! Runs [`account`] on Lambda.

use latchkey_api::lambda::{self, Fatal};
use latchkey_api::settings::{StorageSettings, environment};
use latchkey_store::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let storage = StorageSettings::read(environment)?;
    let started = lambda::start().await?;
    let store = Store::connect(
        &started.sdk,
        storage.endpoint.as_deref(),
        &storage.table_name,
        started.service.random.clone(),
    );
    let app = started.service.with_store(store);
    started.serve(account::routes().with_state(app)).await
}
