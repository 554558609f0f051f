//! `DELETE /v1/sessions/{id}` and `POST /v1/auth/logout`: the end of one session.

use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::authenticate::{Bearer, SignOut};
use latchkey_api::body::RefreshTokenRequest;
use latchkey_api::credentials::SignedOut;
use latchkey_api::handler;
use latchkey_api::parameter::SessionPath;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::routes::Routes;
use latchkey_service::Service;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let problems = [
        Code::InvalidRequest,
        Code::SessionNotFound,
        Code::ReauthenticationRequired,
        Code::TooManyRequests,
    ];
    R::new()
        .route(handler!(revoke), &problems)
        .route(handler!(logout), &[Code::CrossSiteRequest])
}

/// Revoke a session
///
/// Ends one of your live sessions, this one too. Its tokens are invalid from the moment of the reply.
#[utoipa::path(
    delete,
    path = "/v1/sessions/{id}",
    operation_id = "revoke_session",
    tag = "Sessions",
    params(("id" = uuid::Uuid, Path, description = "The session", example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = [])),
    responses((status = NO_CONTENT, description = "The session has ended"))
)]
async fn revoke(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    SessionPath(target): SessionPath,
) -> Result<StatusCode, Problem> {
    service.revoke(caller, target).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out
///
/// Ends the session of the refresh token in the body, or, when there is no body, that of the access token in the
/// `Authorization` header. Without either, or if that access token is not genuine, it is the session of the cookie. A
/// cookie of the session that has ended goes too. Tokens that have expired count: a refresh token always, an access token until an hour after the key that has
/// signed it was replaced. The reply is the same for any token (RFC 7009).
#[utoipa::path(
    post,
    path = "/v1/auth/logout",
    tag = "Authentication",
    request_body = Option<RefreshTokenRequest>,
    security((), ("access_token" = [])),
    responses((status = NO_CONTENT, description = "If the token was genuine, its session has ended"))
)]
async fn logout(State(service): State<Service>, sign_out: SignOut) -> Result<SignedOut, Problem> {
    let ended = service.sign_out(sign_out.tokens()).await?;
    let transport = sign_out.transport(ended, &service.core).await;
    Ok(SignedOut(transport))
}
