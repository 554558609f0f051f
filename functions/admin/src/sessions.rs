//! The sessions of users: seen and ended.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::admin::Admin;
use latchkey_api::admin::resource::{
    AdminRevocationsResource, AdminRevokedResource, AdminSessionListResource,
    AdminSessionOfUserResource,
};
use latchkey_api::body::{Body, NoBody};
use latchkey_api::parameter::{QueryParameters, SessionPath, UserPath, UserSessionPath};
use latchkey_api::problem::{InvalidValue, Problem};
use latchkey_domain::id::{AnyCase, UserId};
use latchkey_service::{Chosen, Service};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

/// The most users whose sessions one request ends.
const MAX_USERS: usize = 100;

/// Which sessions are shown.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(default = "live")]
pub(crate) enum StateParameter {
    /// Those that count.
    #[default]
    Live,
    /// Those that have ended or expired too, as long as they are kept.
    All,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// `live`: those that count. `all`: those that have ended or expired too, as long as they are kept.
    #[serde(default)]
    #[param(inline, required = false)]
    state: StateParameter,
}

/// List a user's sessions
///
/// Every device on which the user is signed in, the most recently used first.
#[utoipa::path(
    get,
    path = "/v1/admin/users/{user_id}/sessions",
    operation_id = "admin_list_sessions",
    tag = "Administration",
    params(
        ("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11"),
        ListParameters
    ),
    security(("access_token" = ["admin"])),
    responses((status = OK, description = "The user's sessions", body = AdminSessionListResource))
)]
pub(crate) async fn list_sessions(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserPath(user): UserPath,
    QueryParameters(parameters): QueryParameters<ListParameters>,
) -> Result<Json<AdminSessionListResource>, Problem> {
    let chosen = match parameters.state {
        StateParameter::Live => Chosen::Live,
        StateParameter::All => Chosen::All,
    };
    let sessions = service.list_sessions_of(&administrator, user, chosen);
    let shown = AdminSessionListResource::new(&sessions.await?, administrator.session());
    Ok(Json(shown))
}

/// Revoke a user's session
///
/// Ends one live session. Its tokens are invalid from the moment of the reply.
#[utoipa::path(
    delete,
    path = "/v1/admin/users/{user_id}/sessions/{session_id}",
    operation_id = "admin_revoke_session",
    tag = "Administration",
    params(
        ("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11"),
        ("session_id" = uuid::Uuid, Path, description = "The session", example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11")
    ),
    security(("access_token" = ["admin"])),
    responses((status = NO_CONTENT, description = "The session has ended"))
)]
pub(crate) async fn revoke(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserSessionPath(user, session): UserSessionPath,
) -> Result<StatusCode, Problem> {
    service.revoke_of(&administrator, user, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Revoke all sessions of a user
///
/// Signs the user out everywhere. They can sign in again; to keep them out, disable the account.
#[utoipa::path(
    post,
    path = "/v1/admin/users/{user_id}/sessions/revoke-all",
    operation_id = "admin_revoke_all_sessions",
    tag = "Administration",
    params(("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = ["admin"])),
    responses((status = OK, description = "They have ended", body = AdminRevokedResource))
)]
pub(crate) async fn revoke_all(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserPath(user): UserPath,
    _: NoBody,
) -> Result<Json<AdminRevokedResource>, Problem> {
    let revoked = service.revoke_all_of(&administrator, user).await?;
    Ok(Json(AdminRevokedResource { revoked }))
}

/// Find a session
///
/// The session with this id, live or not, and whose it is. It is found by an index that may be a moment behind.
#[utoipa::path(
    get,
    path = "/v1/admin/sessions/{session_id}",
    operation_id = "admin_find_session",
    tag = "Administration",
    params(("session_id" = uuid::Uuid, Path, description = "The session", example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = ["admin"])),
    responses((status = OK, description = "The session", body = AdminSessionOfUserResource))
)]
pub(crate) async fn find_session(
    State(service): State<Service>,
    Admin(administrator): Admin,
    SessionPath(session): SessionPath,
) -> Result<Json<AdminSessionOfUserResource>, Problem> {
    let found = service.find_session(&administrator, session).await?;
    let shown = AdminSessionOfUserResource::new(&found, administrator.session());
    Ok(Json(shown))
}

/// Whose sessions are to end.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminRevocationRequest)]
pub(crate) struct RevokeManyRequest {
    /// 1 to 100 users. One who is named twice has one result.
    #[schema(value_type = Vec<uuid::Uuid>, min_items = 1, max_items = 100, example = json!(["5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11"]))]
    user_ids: Vec<AnyCase<UserId>>,
}

/// Each user once, in the order in which they were named first.
fn without_repeats(users: Vec<AnyCase<UserId>>) -> Vec<UserId> {
    let mut named = HashSet::new();
    users
        .into_iter()
        .map(|AnyCase(user)| user)
        .filter(|user| named.insert(*user))
        .collect()
}

/// Revoke all sessions of many users
///
/// Signs up to 100 users out everywhere, with a result for each: what fails for one leaves the others alone. It may be
/// repeated.
#[utoipa::path(
    post,
    path = "/v1/admin/sessions/revoke",
    operation_id = "admin_revoke_sessions_of_users",
    tag = "Administration",
    security(("access_token" = ["admin"])),
    request_body = RevokeManyRequest,
    responses((status = OK, description = "A result for each user", body = AdminRevocationsResource))
)]
pub(crate) async fn revoke_many(
    State(service): State<Service>,
    Admin(administrator): Admin,
    Body(body): Body<RevokeManyRequest>,
) -> Result<Json<AdminRevocationsResource>, Problem> {
    if !(1..=MAX_USERS).contains(&body.user_ids.len()) {
        return Err(Problem::validation_failed(vec![InvalidValue::new(
            "#/user_ids",
            "wrong_number",
            "Give 1 to 100 users.",
        )]));
    }
    let users = without_repeats(body.user_ids);
    let results = service.revoke_all_of_many(&administrator, users);
    Ok(Json(AdminRevocationsResource::from(
        results.await.as_slice(),
    )))
}
