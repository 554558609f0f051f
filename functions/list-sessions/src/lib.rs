//! `GET /v1/sessions` and `GET /v1/sessions/current`: where the caller is signed in.

use axum::Json;
use axum::extract::State;
use latchkey_api::app::App;
use latchkey_api::authenticate::Caller;
use latchkey_api::handler;
use latchkey_api::problem::Problem;
use latchkey_api::resource::SessionResource;
use latchkey_api::routes::Routes;
use latchkey_domain::account::live_sessions;
use latchkey_domain::error::CallerNotLive;
use latchkey_store::Store;
use serde::Serialize;
use utoipa::ToSchema;

/// The routes of this function.
pub fn routes<R: Routes<App<Store>>>() -> R {
    R::none()
        .with(handler!(list), &[])
        .with(handler!(current), &[])
}

/// The live sessions of a user.
#[derive(Debug, Serialize, ToSchema)]
struct SessionList {
    /// The most recently used first.
    sessions: Vec<SessionResource>,
    /// How many there are.
    #[schema(example = 1)]
    total: usize,
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
async fn list(State(app): State<App<Store>>, caller: Caller) -> Result<Json<SessionList>, Problem> {
    let now = app.service.now();
    let partition = app.store.read_partition(caller.user_id, now).await?;
    let account = partition.account.ok_or(CallerNotLive)?;
    account.authorize(caller.session_id)?;
    let sessions: Vec<SessionResource> = live_sessions(&account, partition.sessions, now)
        .iter()
        .map(|session| SessionResource::new(session, caller.session_id))
        .collect();
    Ok(Json(SessionList {
        total: sessions.len(),
        sessions,
    }))
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
    State(app): State<App<Store>>,
    caller: Caller,
) -> Result<Json<SessionResource>, Problem> {
    let now = app.service.now();
    let (account, session) = tokio::try_join!(
        app.store.read_account(caller.user_id),
        app.store.read_session(caller.user_id, caller.session_id)
    )?;
    let (account, session) = account.zip(session).ok_or(CallerNotLive)?;
    if !account.is_live(&session, now) {
        return Err(CallerNotLive.into());
    }
    Ok(Json(SessionResource::new(&session, caller.session_id)))
}
