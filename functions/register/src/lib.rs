//! `POST /v1/auth/register`: a new user, signed in at once or when their address is verified.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use latchkey_api::body::{Body, CredentialsRequest};
use latchkey_api::credentials::Browser;
use latchkey_api::handler;
use latchkey_api::location::{ClientHeaders, Location};
use latchkey_api::openapi::DeviceHeaders;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::TokenResponse;
use latchkey_api::routes::Routes;
use latchkey_service::{Registered, Registration, Service};

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let problems = [
        Code::EmailTaken,
        Code::RegistrationClosed,
        Code::ValidationFailed,
        Code::WeakPassword,
        Code::CrossSiteRequest,
        Code::TooManyRequests,
    ];
    R::new().route(handler!(register), &problems)
}

/// Register
///
/// Makes an account and signs its user in. The e-mail address is compared without regard to case and kept as typed. Where the
/// deployment wants verified addresses (`REQUIRE_VERIFIED_EMAIL`), nobody is signed in: the reply is 202, and the same for an
/// address that is taken, and a link is asked for, to be sent to the address. To send the same again asks for the link again. A body with
/// `client` is refused.
#[utoipa::path(
    post,
    path = "/v1/auth/register",
    tag = "Authentication",
    params(DeviceHeaders),
    request_body = CredentialsRequest,
    responses(
        (status = CREATED, description = "The account is made and its user is signed in", body = TokenResponse),
        (status = ACCEPTED, description = "Where addresses must be verified: a link is asked for, to be sent to the address")
    )
)]
async fn register(
    State(service): State<Service>,
    Location(location): Location,
    client: ClientHeaders,
    browser: Browser,
    Body(body): Body<CredentialsRequest>,
) -> Result<Response, Problem> {
    let transport = browser.transport(body.transport.as_deref())?;
    let request = Registration {
        email: &body.email,
        password: &body.password,
        device: body.device(&client)?,
        device_in_our_words: client.name_in_our_words(),
        location,
        audience: service
            .core
            .tokens
            .find_audience(body.audience.as_deref())?,
    };
    Ok(match service.register(request).await? {
        Registered::SignedIn(signed_in) => {
            let tokens = TokenResponse::from(signed_in).by(transport);
            (StatusCode::CREATED, tokens).into_response()
        }
        Registered::MailSent => StatusCode::ACCEPTED.into_response(),
    })
}
