//! Runs [`discovery`] on Lambda.

use latchkey_api::lambda;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let started = lambda::start().await?;
    let app = started.service.with_store(());
    let routes = discovery::routes()
        .with_state(app)
        .merge(discovery::default_routes().into());
    started.serve(routes).await
}
