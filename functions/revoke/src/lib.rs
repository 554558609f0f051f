//! `DELETE /v1/sessions/{id}` and `POST /v1/auth/logout`: the end of one session.

use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::app::App;
use latchkey_api::authenticate::Caller;
use latchkey_api::body::{Json, RefreshTokenRequest};
use latchkey_api::handler;
use latchkey_api::metrics::REVOCATIONS;
use latchkey_api::parameter::SessionPath;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::routes::Routes;
use latchkey_domain::account::EndReason;
use latchkey_domain::error::{CallerNotLive, Failure, RevokeError};
use latchkey_store::Store;

/// The routes of this function.
pub fn routes<R: Routes<App<Store>>>() -> R {
    let problems = [Code::InvalidRequest, Code::SessionNotFound];
    R::none()
        .with(handler!(revoke), &problems)
        .with(handler!(logout), &[])
}

/// Revoke a session
///
/// Ends one of your live sessions, this one too. Its tokens are worth nothing from the moment of the reply.
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
    State(app): State<App<Store>>,
    caller: Caller,
    SessionPath(target): SessionPath,
) -> Result<StatusCode, Problem> {
    let user = caller.user_id;
    let (account, has_ended) = if target == caller.session_id {
        // It has not expired, or the access token would have.
        (app.store.read_account(user).await?, false)
    } else {
        let now = app.service.now();
        let (account, described) = app
            .store
            .read_account_with_session(user, target, now)
            .await?;
        // The account was read first, so the item of an admitted session cannot have been missed.
        (
            account,
            described.is_none_or(|session| session.is_expired(now)),
        )
    };
    let ended = app
        .store
        .change_account_as_read(user, account, |account| {
            let account = account.ok_or(CallerNotLive)?;
            account.authorize(caller.session_id)?;
            if has_ended {
                return Err(RevokeError::NotFound);
            }
            account.revoke(caller.session_id, target)
        })
        .await?;
    REVOCATIONS.count(ended.len());
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out
///
/// Ends the session of a refresh token, however old the token is. The reply is the same for any token (RFC 7009).
#[utoipa::path(
    post,
    path = "/v1/auth/logout",
    tag = "Authentication",
    request_body = RefreshTokenRequest,
    responses((status = NO_CONTENT, description = "If the token was genuine, its session has ended"))
)]
async fn logout(
    State(app): State<App<Store>>,
    Json(body): Json<RefreshTokenRequest>,
) -> Result<StatusCode, Problem> {
    let claims = match app
        .service
        .tokens
        .verify_refresh_of_any_age(&body.refresh_token, app.service.now())
        .await
    {
        Ok(claims) => claims,
        Err(reason) => {
            tracing::info!(%reason, "sign-out with a token that is not genuine");
            return Ok(StatusCode::NO_CONTENT);
        }
    };
    let ended = app
        .store
        .change_account(claims.sub, |account| {
            Ok(account
                .ok_or(CallerNotLive)?
                .without(claims.sid, EndReason::LoggedOut))
        })
        .await;
    match ended {
        Ok(ended) => {
            REVOCATIONS.count(ended.len());
            Ok(StatusCode::NO_CONTENT)
        }
        Err(Failure::Refused(CallerNotLive)) => Ok(StatusCode::NO_CONTENT),
        Err(Failure::Store(error)) => Err(error.into()),
    }
}
