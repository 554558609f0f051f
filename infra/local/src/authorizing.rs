//! The authorizer of other APIs, for those who build one on this machine: there is no gateway here that would call it.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use latchkey_api::body::Body;
use latchkey_api::problem::{Code, Problem};
use latchkey_service::Authorizer;

/// Tells whether a request may pass, as the function does. Not in the OpenAPI document: the service on AWS does not have it.
const AUTHORIZE_PATH: &str = "/local/authorize";

/// The route that takes an event of API Gateway, payload format 2.0, and gives the authorizer's simple response.
pub(crate) fn routes(authorizer: Authorizer) -> Router {
    Router::new()
        .route(AUTHORIZE_PATH, post(authorize))
        .with_state(authorizer)
}

async fn authorize(
    State(authorizer): State<Authorizer>,
    Body(event): Body<authorizer::Event>,
) -> Result<Json<authorizer::Decision>, Problem> {
    authorizer::authorize(&authorizer, event)
        .await
        .map(Json)
        .map_err(|undecided| match undecided {
            authorizer::Undecided::Unavailable => Code::TemporarilyUnavailable.into(),
            authorizer::Undecided::Internal => Problem::internal(),
        })
}
