//! `GET /v1/sessions` and `GET /v1/sessions/current`: where the caller is signed in.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use latchkey_api::authenticate::Bearer;
use latchkey_api::handler;
use latchkey_api::long_list;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::SessionResource;
use latchkey_api::routes::Routes;
use latchkey_service::Service;
use serde::Serialize;
use utoipa::ToSchema;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    R::new()
        .route(handler!(list), &[Code::TooManyRequests])
        .route(handler!(current), &[])
}

/// The live sessions of a user.
#[derive(Debug, Serialize, ToSchema)]
struct SessionList {
    /// The most recently used first.
    sessions: Vec<SessionResource>,
    /// How many there are.
    #[schema(example = 1)]
    total: usize,
    /// How many there may be. The next sign-in after that ends the least recently used one.
    #[schema(example = 20)]
    limit: usize,
}

/// List your sessions
///
/// Every device on which you are signed in, the most recently used first.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    operation_id = "list_sessions",
    tag = "Sessions",
    security(("access_token" = [])),
    responses((status = OK, description = "Your live sessions", body = SessionList))
)]
async fn list(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let list = service.list_sessions(caller).await?;
    let shown = |session| SessionResource::new(session, caller.session_id);
    let list = SessionList {
        total: list.sessions.len(),
        limit: list.limit,
        sessions: list.sessions.iter().map(shown).collect(),
    };
    long_list::reply_to(&request, &list)
}

/// Show this session
///
/// The session that the access token belongs to.
#[utoipa::path(
    get,
    path = "/v1/sessions/current",
    operation_id = "get_current_session",
    tag = "Sessions",
    security(("access_token" = [])),
    responses((status = OK, description = "This session", body = SessionResource))
)]
async fn current(
    State(service): State<Service>,
    Bearer(caller): Bearer,
) -> Result<Json<SessionResource>, Problem> {
    let session = service.current_session(caller).await?;
    Ok(Json(SessionResource::new(&session, caller.session_id)))
}
