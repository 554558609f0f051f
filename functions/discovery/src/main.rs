//! Runs [`discovery`] on Lambda.

use latchkey_api::lambda::{self, Fatal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let started = lambda::start().await?;
    let app = started.service.with_store(());
    let routes = discovery::routes()
        .with_state(app)
        .merge(discovery::default_routes().into());
    started.serve(routes).await
}
