//! Runs [`discovery`] on Lambda.

use axum::Router;
use latchkey_api::lambda::{self, Fatal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fatal> {
    let started = lambda::start().await?;
    let app = started.service.with_store(());
    let routes: Router<_> = discovery::routes();
    let routes = routes.with_state(app);
    started
        .serve(routes.merge(discovery::default_routes()))
        .await
}
