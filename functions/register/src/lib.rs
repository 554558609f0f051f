//! `POST /v1/auth/register`: a new user, signed in at once.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use latchkey_api::app::App;
use latchkey_api::body::{CredentialsRequest, Json};
use latchkey_api::client::{CalledFrom, ClientHeaders};
use latchkey_api::handler;
use latchkey_api::metrics::REGISTRATIONS;
use latchkey_api::openapi::DeviceHeaders;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::{TokenResponse, UserResource};
use latchkey_api::routes::Routes;
use latchkey_domain::account::Account;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::check_policy;
use latchkey_domain::session::Session;
use latchkey_store::Store;

/// The routes of this function.
pub fn routes<R: Routes<App<Store>>>() -> R {
    let problems = [Code::EmailTaken, Code::ValidationFailed, Code::WeakPassword];
    R::none().with(handler!(register), &problems)
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
    State(app): State<App<Store>>,
    CalledFrom(whereabouts): CalledFrom,
    client: ClientHeaders,
    Json(body): Json<CredentialsRequest>,
) -> Result<Response, Problem> {
    let service = &app.service;
    let device = body.device(&client)?;
    let email = EmailAddress::parse(&body.email)?;
    check_policy(&body.password, &email, &service.password_policy)
        .map_err(|weakness| Problem::weak_password("#/password", weakness))?;
    let mut place = service.passwords.reserve()?;
    let password_hash = place.hash(&body.password, service.random.as_ref()).await?;

    let now = service.now();
    let user_id = UserId::random(service.random.as_ref());
    let session_id = SessionId::random(service.random.as_ref());
    let session = Session::begin(
        session_id,
        user_id,
        device,
        whereabouts,
        now,
        &service.policy,
    );
    let account = Account::register(user_id, email.clone(), session_id, now);
    app.store
        .register(&email, password_hash, &account, &session)
        .await?;
    tracing::info!(%user_id, %session_id, "registered");
    REGISTRATIONS.count(1);
    let tokens = service
        .token_response(&session, Some(UserResource::new(&account)), now)
        .await?;
    Ok((StatusCode::CREATED, tokens).into_response())
}
