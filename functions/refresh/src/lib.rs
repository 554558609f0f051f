//! `POST /v1/auth/refresh`: a new pair of tokens for the newest refresh token of a session.
//!
//! One conditional write, one successor: see [`latchkey_domain::refresh::judge`] for every case.

use axum::extract::State;
use latchkey_api::app::App;
use latchkey_api::body::{Json, RefreshTokenRequest};
use latchkey_api::client::CalledFrom;
use latchkey_api::handler;
use latchkey_api::metrics::{
    Metric, REFRESH_NOT_DUE, REFRESH_REFUSED, REFRESH_REPLAYS, REFRESHES, TOKEN_REUSE,
};
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::TokenResponse;
use latchkey_api::routes::Routes;
use latchkey_domain::account::{Account, EndReason};
use latchkey_domain::error::RefreshError;
use latchkey_domain::refresh::{RefreshVerdict, RotationAttempt, judge};
use latchkey_domain::session::Session;
use latchkey_domain::token::RefreshClaims;
use latchkey_store::Store;

/// The routes of this function.
pub fn routes<R: Routes<App<Store>>>() -> R {
    let problems = [Code::InvalidRefreshToken, Code::RefreshTokenReused];
    R::none().with(handler!(refresh), &problems)
}

/// Refresh
///
/// Exchanges the newest refresh token of a session for a new pair. A refresh token that is younger than 35 seconds comes
/// back as it is, with a new access token. For 30 seconds the token that was replaced gets the same successor again, so
/// a lost reply may be asked for again; later, or if it is older, it ends the session. Both times are settings.
#[utoipa::path(
    post,
    path = "/v1/auth/refresh",
    tag = "Authentication",
    request_body = RefreshTokenRequest,
    responses((status = OK, description = "The new tokens; the reply has no `user`", body = TokenResponse))
)]
async fn refresh(
    State(app): State<App<Store>>,
    CalledFrom(whereabouts): CalledFrom,
    Json(body): Json<RefreshTokenRequest>,
) -> Result<TokenResponse, Problem> {
    let service = &app.service;
    let now = service.now();
    let claims = service
        .tokens
        .verify_refresh_of_any_age(&body.refresh_token, now)
        .await
        .map_err(|reason| {
            tracing::info!(%reason, "refresh token refused");
            REFRESH_REFUSED.count(1);
            Problem::from(RefreshError::Invalid)
        })?;
    let presented = claims.jti.rotation;
    let (user, session, policy) = (claims.sub, claims.sid, &service.policy);
    let (account, attempt) = if claims.has_expired(now) {
        // It opens nothing. But if it was replaced and its session lives on, somebody else may hold the session.
        let (account, found) = tokio::try_join!(
            app.store.read_account(user),
            app.store.read_session(user, session)
        )?;
        (account, RotationAttempt::Refused(found))
    } else {
        let rotate = app
            .store
            .rotate(user, session, presented, &whereabouts, now, policy);
        rotate.await?
    };
    let verdict = judge(
        account.as_ref(),
        attempt,
        presented,
        now,
        service.policy.refresh_grace,
    );
    match verdict {
        RefreshVerdict::Reused(session) => end_reused(&app, account, &session, presented).await,
        RefreshVerdict::NotLive(found) => {
            let reason = found.map_or("no_session", |(_, liveness)| liveness.as_str());
            refused(&claims, reason);
            Err(RefreshError::Invalid.into())
        }
        RefreshVerdict::Ahead(session) => {
            tracing::error!(
                user_id = %session.user_id,
                session_id = %session.id,
                presented,
                stored = session.rotation,
                "a refresh token is ahead of its session: a restored backup, or a forgery"
            );
            REFRESH_REFUSED.count(1);
            Err(RefreshError::Invalid.into())
        }
        _ if claims.has_expired(now) => {
            refused(&claims, "expired");
            Err(RefreshError::Invalid.into())
        }
        RefreshVerdict::Rotated(session) => {
            note_answer(&session, "refreshed", REFRESHES);
            service.token_response(&session, None, now).await
        }
        RefreshVerdict::NotDue(session) => {
            note_answer(&session, "refresh answered, not due", REFRESH_NOT_DUE);
            service.token_response(&session, None, now).await
        }
        RefreshVerdict::SameSuccessor(session) => {
            note_answer(
                &session,
                "refresh answered again within the grace",
                REFRESH_REPLAYS,
            );
            service.token_response(&session, None, now).await
        }
    }
}

async fn end_reused(
    app: &App<Store>,
    account: Option<Account>,
    session: &Session,
    presented: u64,
) -> Result<TokenResponse, Problem> {
    tracing::warn!(
        user_id = %session.user_id,
        session_id = %session.id,
        presented,
        stored = session.rotation,
        "a replaced refresh token was used again"
    );
    // Before its session is ended: an alarm must not wait for DynamoDB.
    TOKEN_REUSE.count(1);
    let (store, user_id, session_id) = (app.store.clone(), session.user_id, session.id);
    // A task of its own: whoever replays a token must not save its session by hanging up.
    let ending = tokio::spawn(async move {
        let end = |account: Option<Account>| {
            let account = account.ok_or(RefreshError::Invalid)?;
            Ok::<_, RefreshError>(account.without(session_id, EndReason::TokenReuse))
        };
        store.change_account_as_read(user_id, account, end).await
    });
    ending.await.map_err(|_| Problem::internal())??;
    Err(RefreshError::Reused.into())
}

fn note_answer(session: &Session, what: &'static str, metric: Metric) {
    let (user_id, session_id) = (session.user_id, session.id);
    tracing::info!(%user_id, %session_id, rotation = session.rotation, "{what}");
    metric.count(1);
}

fn refused(claims: &RefreshClaims, reason: &'static str) {
    tracing::info!(user_id = %claims.sub, session_id = %claims.sid, reason, "refresh token refused");
    REFRESH_REFUSED.count(1);
}
