//! `POST /v1/auth/refresh`: a new pair of tokens for the newest refresh token of a session.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use latchkey_api::body::RefreshRequest;
use latchkey_api::client::Basic;
use latchkey_api::credentials::RefreshCredentials;
use latchkey_api::handler;
use latchkey_api::location::{Location, Places};
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::TokenResponse;
use latchkey_api::routes::Routes;
use latchkey_service::Service;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let problems = [
        Code::InvalidRefreshToken,
        Code::RefreshTokenReused,
        Code::InvalidClient,
        Code::UnauthorizedClient,
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
///
/// `client` is for a service of yours that refreshes for its visitors: it sends its credentials too, and needs the scope
/// `sessions:issue`.
#[utoipa::path(
    post,
    path = "/v1/auth/refresh",
    tag = "Authentication",
    security((), ("client_credentials" = [])),
    request_body = RefreshRequest,
    responses(
        (status = OK, description = "The new tokens; the reply has no `user`", body = TokenResponse),
        (status = NO_CONTENT, description = "No refresh token was sent, and `cookie_optional` is true: nobody is signed in on this browser")
    )
)]
async fn refresh(
    State(service): State<Service>,
    Location(location): Location,
    places: Places,
    Basic(client): Basic,
    credentials: Option<RefreshCredentials>,
) -> Result<Response, Problem> {
    let Some(credentials) = credentials else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let (token, audience) = (&credentials.token, credentials.audience.as_deref());
    let audience = service.core.tokens.find_audience(audience)?;
    let issued = match &credentials.visitor {
        None => service.refresh(token, &location, &audience).await?,
        Some(visitor) => {
            let location = visitor.location(&places)?;
            let refreshed =
                service.refresh_for_visitor(client.as_ref(), token, &location, &audience);
            refreshed.await?
        }
    };
    let tokens = TokenResponse::from(issued).by(credentials.transport);
    Ok(tokens.into_response())
}
