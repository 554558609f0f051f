//! `POST /v1/auth/login`: a session for an e-mail address and a password.

use axum::extract::State;
use latchkey_api::body::{Body, CredentialsRequest};
use latchkey_api::credentials::Browser;
use latchkey_api::handler;
use latchkey_api::location::{ClientHeaders, Location};
use latchkey_api::openapi::DeviceHeaders;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::TokenResponse;
use latchkey_api::routes::Routes;
use latchkey_service::{Service, SignIn};

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let problems = [
        Code::InvalidCredentials,
        Code::AccountDisabled,
        Code::EmailNotVerified,
        Code::ValidationFailed,
        Code::CrossSiteRequest,
        Code::TooManyRequests,
    ];
    R::new().route(handler!(login), &problems)
}

/// Sign in
///
/// Starts a session. A live session with the same `X-Device-Id` ends; when the user has as many as are allowed, the least
/// recently used one does. A body with `client` is refused: only a refresh and a sign-in from elsewhere are made for another.
#[utoipa::path(
    post,
    path = "/v1/auth/login",
    tag = "Authentication",
    params(DeviceHeaders),
    request_body = CredentialsRequest,
    responses((status = OK, description = "Signed in", body = TokenResponse))
)]
async fn login(
    State(service): State<Service>,
    Location(location): Location,
    client: ClientHeaders,
    browser: Browser,
    Body(body): Body<CredentialsRequest>,
) -> Result<TokenResponse, Problem> {
    let transport = browser.transport(body.transport.as_deref())?;
    let request = SignIn {
        email: &body.email,
        password: &body.password,
        device_token: body.device_token.as_ref().or(browser.device_token()),
        device: body.device(&client)?,
        device_in_our_words: client.name_in_our_words(),
        location,
        audience: service
            .core
            .tokens
            .find_audience(body.audience.as_deref())?,
    };
    let signed_in = service.sign_in(request).await?;
    Ok(TokenResponse::from(signed_in).by(transport))
}
