//! `GET /v1/me`, `PUT /v1/me/password`, `POST /v1/me/delete` and `POST /v1/auth/reauthenticate`: the caller's own account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::authenticate::Bearer;
use latchkey_api::body::{Body, shared_password};
use latchkey_api::credentials::Browser;
use latchkey_api::handler;
use latchkey_api::location::Location;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::{AccountResource, TokenResponse};
use latchkey_api::routes::Routes;
use latchkey_domain::password::Password;
use latchkey_service::{PasswordChange, Service};
use serde::Deserialize;
use utoipa::ToSchema;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    R::new()
        .route(handler!(me), &[])
        .route(
            handler!(change_password),
            &[
                Code::WrongPassword,
                Code::NoPassword,
                Code::WeakPassword,
                Code::PasswordUnchanged,
                Code::CrossSiteRequest,
                Code::TooManyRequests,
            ],
        )
        .route(
            handler!(delete),
            &[
                Code::WrongPassword,
                Code::NoPassword,
                Code::ReauthenticationRequired,
                Code::TooManyRequests,
            ],
        )
        .route(
            handler!(reauthenticate),
            &[
                Code::WrongPassword,
                Code::NoPassword,
                Code::CrossSiteRequest,
                Code::TooManyRequests,
            ],
        )
}

/// Show your account
///
/// Who you are to this service.
#[utoipa::path(
    get,
    path = "/v1/me",
    operation_id = "get_account",
    tag = "Account",
    security(("access_token" = [])),
    responses((status = OK, description = "Your account", body = AccountResource))
)]
async fn me(
    State(service): State<Service>,
    Bearer(caller): Bearer,
) -> Result<Json<AccountResource>, Problem> {
    let account = service.live_account(caller).await?;
    Ok(Json(AccountResource::new(&account)))
}

#[derive(Debug, Deserialize, ToSchema)]
struct PasswordRequest {
    /// The password as it is.
    #[serde(deserialize_with = "shared_password")]
    #[schema(value_type = String, format = Password, example = "correct horse battery staple")]
    current_password: Arc<Password>,
    /// The password as it is to be: 8 to 128 characters, not a common one, without the e-mail address.
    #[serde(deserialize_with = "shared_password")]
    #[schema(value_type = String, format = Password, example = "wrong donkey charger paperclip")]
    new_password: Arc<Password>,
}

/// Change your password
///
/// All your sessions end, and this device continues with a new one: use the tokens of the reply.
#[utoipa::path(
    put,
    path = "/v1/me/password",
    tag = "Account",
    security(("access_token" = [])),
    request_body = PasswordRequest,
    responses((status = OK, description = "The password is changed", body = TokenResponse))
)]
async fn change_password(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    Location(location): Location,
    browser: Browser,
    Body(body): Body<PasswordRequest>,
) -> Result<TokenResponse, Problem> {
    let transport = browser.transport_of(caller, &service.core).await?;
    let request = PasswordChange {
        current: &body.current_password,
        new: &body.new_password,
        location,
    };
    let changed = service.change_password(caller, request).await;
    let changed = changed.map_err(|failure| Problem::from(failure).at("#/new_password"))?;
    Ok(TokenResponse::from(changed).by(transport))
}

#[derive(Debug, Deserialize, ToSchema)]
struct ConfirmRequest {
    /// The password.
    #[serde(deserialize_with = "shared_password")]
    #[schema(value_type = String, format = Password, example = "correct horse battery staple")]
    password: Arc<Password>,
}

/// Delete your account
///
/// All your sessions end at once, everything that is kept of you goes, and the e-mail address is free again. The access
/// token must have an `auth_time` of the last 10 minutes (a setting): a sign-in or `POST /v1/auth/reauthenticate` gives one.
#[utoipa::path(
    post,
    path = "/v1/me/delete",
    operation_id = "delete_account",
    tag = "Account",
    security(("access_token" = [])),
    request_body = ConfirmRequest,
    responses((status = NO_CONTENT, description = "The account is deleted"))
)]
async fn delete(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    Location(location): Location,
    Body(body): Body<ConfirmRequest>,
) -> Result<StatusCode, Problem> {
    service
        .delete_account(caller, &body.password, &location)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Authenticate again
///
/// Proves by the password that it is still you: the tokens of the reply replace those that you have, and the new access
/// token has a new `auth_time`. A refresh token that is younger than 35 seconds (a setting) comes back as it is.
#[utoipa::path(
    post,
    path = "/v1/auth/reauthenticate",
    tag = "Authentication",
    security(("access_token" = [])),
    request_body = ConfirmRequest,
    responses((status = OK, description = "The new tokens; the reply has no `user`", body = TokenResponse))
)]
async fn reauthenticate(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    Location(location): Location,
    browser: Browser,
    Body(body): Body<ConfirmRequest>,
) -> Result<TokenResponse, Problem> {
    let transport = browser.transport_of(caller, &service.core).await?;
    let issued = service.reauthenticate(caller, &body.password, &location);
    Ok(TokenResponse::from(issued.await?).by(transport))
}
