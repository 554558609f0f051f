//! `GET /v1/me`, `PUT /v1/me/password` and `POST /v1/me/delete`: the caller's own account.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::app::App;
use latchkey_api::authenticate::Caller;
use latchkey_api::body;
use latchkey_api::body::shared_password;
use latchkey_api::client::CalledFrom;
use latchkey_api::handler;
use latchkey_api::metrics::REVOCATIONS;
use latchkey_api::password_workers::Place;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::{AccountResource, TokenResponse, UserResource};
use latchkey_api::routes::Routes;
use latchkey_domain::account::Account;
use latchkey_domain::error::{CallerNotLive, ConfirmError};
use latchkey_domain::id::SessionId;
use latchkey_domain::password::{Password, check_policy};
use latchkey_domain::session::Session;
use latchkey_store::{Credential, Store};
use serde::Deserialize;
use utoipa::ToSchema;

/// How often a change is decided again when the account has changed meanwhile.
const ATTEMPTS: u32 = 8;

/// The routes of this function.
pub fn routes<R: Routes<App<Store>>>() -> R {
    R::none()
        .with(handler!(me), &[])
        .with(
            handler!(change_password),
            &[Code::WrongPassword, Code::WeakPassword],
        )
        .with(handler!(delete), &[Code::WrongPassword])
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
    State(app): State<App<Store>>,
    caller: Caller,
) -> Result<Json<AccountResource>, Problem> {
    let account = app
        .store
        .read_account(caller.user_id)
        .await?
        .ok_or(CallerNotLive)?;
    account.authorize(caller.session_id)?;
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
/// All your sessions end, and this device goes on with a new one: use the tokens of the reply.
#[utoipa::path(
    put,
    path = "/v1/me/password",
    tag = "Account",
    security(("access_token" = [])),
    request_body = PasswordRequest,
    responses((status = OK, description = "The password is changed", body = TokenResponse))
)]
async fn change_password(
    State(app): State<App<Store>>,
    caller: Caller,
    CalledFrom(whereabouts): CalledFrom,
    body::Json(body): body::Json<PasswordRequest>,
) -> Result<TokenResponse, Problem> {
    let service = &app.service;
    let mut place = service.passwords.reserve()?;
    let (read, new_hash) = tokio::join!(
        read_caller(&app, caller),
        place.hash(&body.new_password, service.random.as_ref())
    );
    let mut read = read?;
    if let Some(email) = read.account.email() {
        check_policy(&body.new_password, email, &service.password_policy)
            .map_err(ConfirmError::Weak)?;
    }
    let new_hash = new_hash?;
    confirm(&mut place, &read.credential, &body.current_password).await?;

    let stamp = app.store.new_stamp();
    let session_id = SessionId::random(service.random.as_ref());
    for _ in 0..ATTEMPTS {
        let now = service.now();
        let old = read.session;
        let mut session = Session::begin(
            session_id,
            caller.user_id,
            old.device,
            whereabouts.clone(),
            now,
            &service.policy,
        );
        session.name = old.name;
        let change = read
            .account
            .clone()
            .change_password(caller.session_id, session_id)?;
        let written = app
            .store
            .replace_password(
                &read.account,
                &change,
                &read.credential,
                new_hash.clone(),
                &session,
                stamp,
            )
            .await?;
        if written {
            let (user_id, old_session_id) = (caller.user_id, caller.session_id);
            tracing::info!(%user_id, %session_id, %old_session_id, "password changed");
            REVOCATIONS.count(change.ended.len());
            let user = UserResource::new(&change.account);
            return service.token_response(&session, Some(user), now).await;
        }
        let verified = read.credential.password_version;
        read = read_caller(&app, caller).await?;
        if read.credential.password_version != verified {
            return Err(CallerNotLive.into());
        }
    }
    Err(Code::TemporarilyUnavailable.into())
}

#[derive(Debug, Deserialize, ToSchema)]
struct DeleteRequest {
    /// The password.
    #[serde(deserialize_with = "shared_password")]
    #[schema(value_type = String, format = Password, example = "correct horse battery staple")]
    password: Arc<Password>,
}

/// Delete your account
///
/// All your sessions end at once, everything that is kept of you goes, and the e-mail address is free again.
#[utoipa::path(
    post,
    path = "/v1/me/delete",
    operation_id = "delete_account",
    tag = "Account",
    security(("access_token" = [])),
    request_body = DeleteRequest,
    responses((status = NO_CONTENT, description = "The account is deleted"))
)]
async fn delete(
    State(app): State<App<Store>>,
    caller: Caller,
    body::Json(body): body::Json<DeleteRequest>,
) -> Result<StatusCode, Problem> {
    let mut place = app.service.passwords.reserve()?;
    let mut read = read_caller(&app, caller).await?;
    confirm(&mut place, &read.credential, &body.password).await?;
    let stamp = app.store.new_stamp();
    let user_id = caller.user_id;
    for _ in 0..ATTEMPTS {
        let change = read
            .account
            .clone()
            .delete(caller.session_id, app.service.now())?;
        let written = app
            .store
            .delete_account(&read.account, &change, &read.credential, stamp)
            .await?;
        if written {
            tracing::info!(%user_id, session_id = %caller.session_id, "account deleted");
            REVOCATIONS.count(change.ended.len());
            // The account is empty; what is left of it the cleanup would remove as well.
            if let Err(error) = app.store.finish_deletion(user_id, app.service.now()).await {
                tracing::warn!(%user_id, %error, "the cleanup has to finish a deletion");
            }
            return Ok(StatusCode::NO_CONTENT);
        }
        let verified = read.credential.password_version;
        read = read_caller(&app, caller).await?;
        if read.credential.password_version != verified {
            return Err(CallerNotLive.into());
        }
    }
    Err(Code::TemporarilyUnavailable.into())
}

/// What a change of the caller's own account is decided on.
struct CallerRead {
    account: Account,
    session: Session,
    credential: Credential,
}

/// Reads the caller's account, session and credential, all strongly consistent.
async fn read_caller(app: &App<Store>, caller: Caller) -> Result<CallerRead, Problem> {
    let now = app.service.now();
    let (account, session) = app
        .store
        .read_account_with_session(caller.user_id, caller.session_id, now)
        .await?;
    let (account, session) = account.zip(session).ok_or(CallerNotLive)?;
    if !account.is_live(&session, now) {
        return Err(CallerNotLive.into());
    }
    let email = account.email().ok_or(CallerNotLive)?;
    let credential = app.store.read_credential(email).await?;
    let credential = credential
        .filter(|found| {
            found.user_id == account.id && found.password_version == account.password_version
        })
        .ok_or(CallerNotLive)?;
    Ok(CallerRead {
        account,
        session,
        credential,
    })
}

async fn confirm(
    place: &mut Place,
    credential: &Credential,
    password: &Arc<Password>,
) -> Result<(), Problem> {
    let user_id = credential.user_id;
    if place
        .verify(password, &credential.password_hash, user_id)
        .await?
    {
        return Ok(());
    }
    tracing::info!(%user_id, reason = "wrong_password", "confirmation refused");
    Err(ConfirmError::WrongPassword.into())
}
