//! `POST /v1/auth/password-reset`, `POST /v1/auth/password-reset/confirm`, `PUT /v1/me/email`, `POST /v1/me/verify-email` and
//! `POST /v1/auth/verify-email`: links that are sent to an address, and what is done by them.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::authenticate::Bearer;
use latchkey_api::body::{Body, NoBody, shared_password};
use latchkey_api::handler;
use latchkey_api::location::{ClientHeaders, Location};
use latchkey_api::openapi::WITH_BODY;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::routes::Routes;
use latchkey_domain::event::Requester;
use latchkey_domain::password::Password;
use latchkey_domain::token::Token;
use latchkey_service::{PasswordReset, Service};
use serde::Deserialize;
use utoipa::ToSchema;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    R::new()
        .route(
            handler!(request_password_reset),
            &[Code::ValidationFailed, Code::TooManyRequests],
        )
        .route(
            handler!(reset_password),
            &[Code::InvalidLink, Code::WeakPassword, Code::TooManyRequests],
        )
        .route(
            handler!(verify_email),
            &[Code::InvalidLink, Code::EmailTaken],
        )
        .route(
            handler!(request_email_change),
            &[
                Code::WrongPassword,
                Code::NoPassword,
                Code::EmailTaken,
                Code::ValidationFailed,
                Code::ReauthenticationRequired,
                Code::TooManyRequests,
            ],
        )
        .route(
            handler!(request_email_verification),
            &[&WITH_BODY[..], &[Code::NoPassword, Code::TooManyRequests]].concat(),
        )
}

#[derive(Debug, Deserialize, ToSchema)]
struct PasswordResetRequest {
    /// The e-mail address.
    #[schema(format = Email, example = "ada@example.com", max_length = 254)]
    email: String,
}

/// Ask for a link to choose another password
///
/// If the address is known, a link goes to it that is valid for 10 minutes and once. The reply is the same, after the same
/// work, if it is not.
#[utoipa::path(
    post,
    path = "/v1/auth/password-reset",
    tag = "Authentication",
    request_body = PasswordResetRequest,
    responses((status = ACCEPTED, description = "If the address is known, a link is sent to it"))
)]
async fn request_password_reset(
    State(service): State<Service>,
    Location(location): Location,
    client: ClientHeaders,
    Body(body): Body<PasswordResetRequest>,
) -> Result<StatusCode, Problem> {
    let requester = Requester {
        location,
        device_name: Some(client.name_in_our_words()),
    };
    let requested = service.request_password_reset(&body.email, requester).await;
    requested.map_err(|failure| Problem::from(failure).at("#/email"))?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize, ToSchema)]
struct NewPasswordRequest {
    /// What stands in the link behind `#token=`.
    #[schema(value_type = String, example = "eyJ0eXAiOiJyZXNldC1wYXNzd29yZCtqd3Qi...")]
    token: Token,
    /// The password as it is to be: 8 to 128 characters, not a common one, without the e-mail address.
    #[serde(deserialize_with = "shared_password")]
    #[schema(value_type = String, format = Password, example = "wrong donkey charger paperclip")]
    new_password: Arc<Password>,
}

/// Choose another password with a link
///
/// All sessions of the user end, the address counts as verified, and nobody is signed in: sign in with the new password. So
/// it gets a stranger out who has registered the address first. A password that is too weak does not spend the link. A
/// disabled account stays disabled.
#[utoipa::path(
    post,
    path = "/v1/auth/password-reset/confirm",
    tag = "Authentication",
    request_body = NewPasswordRequest,
    responses((status = NO_CONTENT, description = "The password is changed"))
)]
async fn reset_password(
    State(service): State<Service>,
    Location(location): Location,
    Body(body): Body<NewPasswordRequest>,
) -> Result<StatusCode, Problem> {
    let request = PasswordReset {
        token: &body.token,
        new: &body.new_password,
        address: location.ip_address,
    };
    let reset = service.reset_password(request).await;
    reset.map_err(|failure| Problem::from(failure).at("#/new_password"))?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
struct LinkTokenRequest {
    /// What stands in the link behind `#token=`.
    #[schema(value_type = String, example = "eyJ0eXAiOiJ2ZXJpZnktZW1haWwrand0Ii...")]
    token: Token,
}

/// Verify an e-mail address with a link
///
/// For a link to the user's address, which is verified then, and for one to a new address, which is the user's then. Sessions
/// stay as they are, and nobody is signed in. To send the same link again changes nothing. A link to a new address is invalid
/// once the session has ended on which it was asked for.
///
/// It confirms the address and not the password, which a stranger may have chosen. Offer whoever has not registered
/// themselves a password reset instead (`POST /v1/auth/password-reset`): it gets the stranger out and verifies the address.
#[utoipa::path(
    post,
    path = "/v1/auth/verify-email",
    tag = "Authentication",
    request_body = LinkTokenRequest,
    responses((status = NO_CONTENT, description = "The address is verified"))
)]
async fn verify_email(
    State(service): State<Service>,
    Body(body): Body<LinkTokenRequest>,
) -> Result<StatusCode, Problem> {
    service.verify_email(&body.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, ToSchema)]
struct EmailRequest {
    /// The new e-mail address.
    #[schema(format = Email, example = "ada@example.org", max_length = 254)]
    email: String,
    /// The password.
    #[serde(deserialize_with = "shared_password")]
    #[schema(value_type = String, format = Password, example = "correct horse battery staple")]
    password: Arc<Password>,
}

/// Ask for another e-mail address
///
/// A link goes to the new address, valid for 24 hours and as long as this session. When it is opened, the address is yours
/// and your sessions stay. Until then nothing changes. The access token must have an `auth_time` of the last 10 minutes (a
/// setting). Taken addresses count against your limit too.
#[utoipa::path(
    put,
    path = "/v1/me/email",
    tag = "Account",
    security(("access_token" = [])),
    request_body = EmailRequest,
    responses((status = ACCEPTED, description = "A link is sent to the new address"))
)]
async fn request_email_change(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    Location(location): Location,
    Body(body): Body<EmailRequest>,
) -> Result<StatusCode, Problem> {
    let email = service.core.policy.read_new_email(&body.email);
    let email = email.map_err(|error| Problem::from(error).at("#/email"))?;
    service
        .request_email_change(caller, &email, &body.password, &location)
        .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Ask for a link to verify your e-mail address
///
/// The link goes to your address and is valid for 24 hours. If the address is verified, nothing is sent. Whoever
/// signs in elsewhere has no address that a link verifies (409 `no_password`).
#[utoipa::path(
    post,
    path = "/v1/me/verify-email",
    tag = "Account",
    security(("access_token" = [])),
    responses((status = ACCEPTED, description = "A link is sent, unless the address is verified"))
)]
async fn request_email_verification(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    Location(location): Location,
    client: ClientHeaders,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    let requester = Requester {
        location,
        device_name: Some(client.name_in_our_words()),
    };
    service
        .request_email_verification(caller, requester)
        .await?;
    Ok(StatusCode::ACCEPTED)
}
