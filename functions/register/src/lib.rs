//! `POST /v1/auth/register`: a new user, signed in at once.

use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::body::{Body, CredentialsRequest};
use latchkey_api::credentials::Browser;
use latchkey_api::handler;
use latchkey_api::location::{ClientHeaders, Location};
use latchkey_api::openapi::DeviceHeaders;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::TokenResponse;
use latchkey_api::routes::Routes;
use latchkey_domain::error::RegisterError;
use latchkey_service::{Failure, Registration, Service};

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let problems = [
        Code::EmailTaken,
        Code::ValidationFailed,
        Code::WeakPassword,
        Code::CrossSiteRequest,
        Code::TooManyRequests,
    ];
    R::new().route(handler!(register), &problems)
}

/// Register
///
/// Makes an account and signs its user in. The e-mail address is compared without regard to case and kept as typed.
#[utoipa::path(
    post,
    path = "/v1/auth/register",
    tag = "Authentication",
    params(DeviceHeaders),
    request_body = CredentialsRequest,
    responses((status = CREATED, description = "The account is made and its user is signed in", body = TokenResponse))
)]
async fn register(
    State(service): State<Service>,
    Location(location): Location,
    client: ClientHeaders,
    browser: Browser,
    Body(body): Body<CredentialsRequest>,
) -> Result<(StatusCode, TokenResponse), Problem> {
    let transport = browser.transport(body.transport.as_deref())?;
    let request = Registration {
        email: &body.email,
        password: &body.password,
        device: body.device(&client)?,
        location,
        audience: service
            .core
            .tokens
            .find_audience(body.audience.as_deref())?,
    };
    let registered = service.register(request).await;
    let signed_in = registered.map_err(|failure| {
        let pointer = match failure {
            Failure::Refused(RegisterError::Email(_)) => "#/email",
            _ => "#/password",
        };
        Problem::from(failure).at(pointer)
    })?;
    let tokens = TokenResponse::from(signed_in).by(transport);
    Ok((StatusCode::CREATED, tokens))
}
