//! `POST /v1/sessions/revoke-all` and `DELETE /v1/sessions/expired`: the end of many sessions, and of their traces.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use latchkey_api::app::App;
use latchkey_api::authenticate::Caller;
use latchkey_api::handler;
use latchkey_api::metrics::REVOCATIONS;
use latchkey_api::parameter::QueryParameters;
use latchkey_api::problem::Problem;
use latchkey_api::routes::Routes;
use latchkey_domain::error::CallerNotLive;
use latchkey_domain::id::SessionId;
use latchkey_store::Store;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The routes of this function.
pub fn routes<R: Routes<App<Store>>>() -> R {
    R::none()
        .with(handler!(revoke_all).reading_query(), &[])
        .with(handler!(purge), &[])
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RevokeAllParameters {
    /// Whether this session goes on.
    #[serde(default = "kept_unless_told_otherwise")]
    #[param(required = false, default = true)]
    keep_current: bool,
}

fn kept_unless_told_otherwise() -> bool {
    true
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
struct Revoked {
    /// How many sessions that were live are not any more.
    #[schema(example = 2)]
    revoked: usize,
}

/// How many traces of sessions were removed.
#[derive(Debug, Serialize, ToSchema)]
struct Removed {
    /// How many sessions that had ended are gone for good.
    #[schema(example = 3)]
    removed: usize,
}

/// Revoke all sessions
///
/// Ends all your live sessions but this one, or with `keep_current=false` this one too.
#[utoipa::path(
    post,
    path = "/v1/sessions/revoke-all",
    operation_id = "revoke_all_sessions",
    tag = "Sessions",
    params(RevokeAllParameters),
    security(("access_token" = [])),
    responses((status = OK, description = "They have ended", body = Revoked))
)]
async fn revoke_all(
    State(app): State<App<Store>>,
    caller: Caller,
    QueryParameters(parameters): QueryParameters<RevokeAllParameters>,
) -> Result<Json<Revoked>, Problem> {
    let user = caller.user_id;
    let now = app.service.now();
    let partition = app.store.read_partition(user, now).await?;
    // In the set, but expired or without an item: these were not live, so their end does not count.
    let mut not_live: BTreeSet<SessionId> = match &partition.account {
        Some(account) => account.sessions.clone(),
        None => BTreeSet::new(),
    };
    for session in partition
        .sessions
        .iter()
        .filter(|session| !session.is_expired(now))
    {
        not_live.remove(&session.id);
    }
    let ended = app
        .store
        .change_account_as_read(user, partition.account, |account| {
            account
                .ok_or(CallerNotLive)?
                .revoke_all(caller.session_id, parameters.keep_current)
        })
        .await?;
    let revoked = ended
        .iter()
        .filter(|session| !not_live.contains(session))
        .count();
    REVOCATIONS.count(revoked);
    Ok(Json(Revoked { revoked }))
}

/// Remove ended sessions
///
/// Removes what is kept of your sessions that have ended, for good. Live ones are not touched.
#[utoipa::path(
    delete,
    path = "/v1/sessions/expired",
    operation_id = "remove_ended_sessions",
    tag = "Sessions",
    security(("access_token" = [])),
    responses((status = OK, description = "They are gone", body = Removed))
)]
async fn purge(State(app): State<App<Store>>, caller: Caller) -> Result<Json<Removed>, Problem> {
    let user = caller.user_id;
    let partition = app.store.read_partition(user, app.service.now()).await?;
    partition
        .account
        .as_ref()
        .ok_or(CallerNotLive)?
        .authorize(caller.session_id)?;
    let removed = app.store.purge_ended_sessions(user, &partition).await?;
    Ok(Json(Removed { removed }))
}
