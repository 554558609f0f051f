//! `POST /v1/auth/refresh`: a new pair of tokens for the newest refresh token of a session.

use axum::extract::State;
use latchkey_api::body::RefreshRequest;
use latchkey_api::credentials::RefreshCredentials;
use latchkey_api::handler;
use latchkey_api::location::Location;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::TokenResponse;
use latchkey_api::routes::Routes;
use latchkey_service::Service;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let problems = [
        Code::InvalidRefreshToken,
        Code::RefreshTokenReused,
        Code::ValidationFailed,
        Code::CrossSiteRequest,
    ];
    R::new().route(handler!(refresh), &problems)
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
    request_body = RefreshRequest,
    responses((status = OK, description = "The new tokens; the reply has no `user`", body = TokenResponse))
)]
async fn refresh(
    State(service): State<Service>,
    Location(location): Location,
    credentials: RefreshCredentials,
) -> Result<TokenResponse, Problem> {
    let audience = credentials.audience.as_deref();
    let audience = service.core.tokens.find_audience(audience)?;
    let issued = service.refresh(&credentials.token, &location, &audience);
    Ok(TokenResponse::from(issued.await?).by(credentials.transport))
}
