//! `POST /v1/sessions/revoke-all` and `DELETE /v1/sessions/expired`: the end of many sessions, and of their traces.

use axum::Json;
use axum::extract::State;
use latchkey_api::authenticate::Bearer;
use latchkey_api::body::NoBody;
use latchkey_api::handler;
use latchkey_api::openapi::WITH_BODY;
use latchkey_api::parameter::QueryParameters;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::routes::Routes;
use latchkey_service::Service;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let refusals = [Code::ReauthenticationRequired, Code::TooManyRequests];
    R::new()
        .route(
            handler!(revoke_all).reading_query(),
            &[&refusals[..], &WITH_BODY].concat(),
        )
        .route(handler!(purge), &refusals)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RevokeAllParameters {
    /// Whether this session stays.
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
    /// How many live sessions this request has ended.
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
    State(service): State<Service>,
    Bearer(caller): Bearer,
    QueryParameters(parameters): QueryParameters<RevokeAllParameters>,
    _: NoBody,
) -> Result<Json<Revoked>, Problem> {
    let revoked = service.revoke_all(caller, parameters.keep_current).await?;
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
async fn purge(
    State(service): State<Service>,
    Bearer(caller): Bearer,
) -> Result<Json<Removed>, Problem> {
    let removed = service.purge_ended_sessions(caller).await?;
    Ok(Json(Removed { removed }))
}
