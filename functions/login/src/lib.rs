//! `POST /v1/auth/login`: a session for an e-mail address and a password.
//!
//! An unknown address and a wrong password get the same reply after the same work, so that nobody learns who has an
//! account (OWASP ASVS 5.0, 6.3.8).

use axum::extract::State;
use latchkey_api::app::App;
use latchkey_api::body::{CredentialsRequest, Json};
use latchkey_api::client::{CalledFrom, ClientHeaders};
use latchkey_api::handler;
use latchkey_api::metrics::{SIGN_IN_FAILURES, SIGN_INS};
use latchkey_api::openapi::DeviceHeaders;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::{TokenResponse, UserResource};
use latchkey_api::routes::Routes;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::LoginError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::{decoy, needs_upgrade};
use latchkey_domain::session::Session;
use latchkey_store::{Credential, SignInOutcome, SignInRequest, Store};

/// How often credential and account are read anew when they do not belong together: a password change, a disabling or a
/// deletion comes between them once, not again and again.
const READS: u32 = 3;

/// The routes of this function.
pub fn routes<R: Routes<App<Store>>>() -> R {
    let problems = [
        Code::InvalidCredentials,
        Code::AccountDisabled,
        Code::ValidationFailed,
    ];
    R::none().with(handler!(login), &problems)
}

/// Sign in
///
/// Starts a session. When the user has as many as are allowed, the least recently used one ends.
#[utoipa::path(
    post,
    path = "/v1/auth/login",
    tag = "Authentication",
    params(DeviceHeaders),
    request_body = CredentialsRequest,
    responses((status = OK, description = "Signed in", body = TokenResponse))
)]
async fn login(
    State(app): State<App<Store>>,
    CalledFrom(whereabouts): CalledFrom,
    client: ClientHeaders,
    Json(body): Json<CredentialsRequest>,
) -> Result<TokenResponse, Problem> {
    let service = &app.service;
    let random = service.random.as_ref();
    let device = body.device(&client)?;
    let mut place = service.passwords.reserve()?;
    let email = EmailAddress::parse(&body.email).ok();
    let session_id = SessionId::random(random);
    let mut verified: Option<Credential> = None;

    for read in 1..=READS {
        let credential = match &email {
            Some(email) => app.store.read_credential(email).await?,
            None => None,
        };
        let (user_id, hash) = match &credential {
            Some(found) => (found.user_id, &found.password_hash),
            None => (UserId::random(random), decoy()),
        };
        let (partition, matches) =
            tokio::join!(app.store.read_partition(user_id, service.now()), async {
                if credential.is_some() && credential == verified {
                    return Ok(true);
                }
                place.verify(&body.password, hash, user_id).await
            });
        let (partition, matches) = (partition?, matches?);
        let (Some(email), Some(credential), true) = (&email, credential, matches) else {
            return Err(refused(
                LoginError::InvalidCredentials,
                partition.account.map(|found| found.id),
            ));
        };
        let upgraded_hash = if needs_upgrade(&credential.password_hash) {
            Some(place.hash(&body.password, random).await?)
        } else {
            None
        };

        let now = service.now();
        let session = Session::begin(
            session_id,
            user_id,
            device.clone(),
            whereabouts.clone(),
            now,
            &service.policy,
        );
        let request = SignInRequest {
            email,
            credential: &credential,
            upgraded_hash,
            session: &session,
        };
        let outcome =
            app.store
                .sign_in(&request, partition, service.clock.as_ref(), &service.policy);
        match outcome.await? {
            SignInOutcome::SignedIn(account) => {
                tracing::info!(%user_id, %session_id, "signed in");
                SIGN_INS.count(1);
                return service
                    .token_response(&session, Some(UserResource::new(&account)), now)
                    .await;
            }
            SignInOutcome::Stale { disabled: true } if read > 1 => {
                return Err(refused(LoginError::AccountDisabled, Some(user_id)));
            }
            SignInOutcome::Stale { .. } => verified = Some(credential),
        }
    }
    Err(Code::TemporarilyUnavailable.into())
}

/// Counts a refused sign-in and logs why. The address is not logged: people type passwords into that field too.
fn refused(error: LoginError, user_id: Option<UserId>) -> Problem {
    let problem = Problem::from(error);
    let user_id = user_id.map(tracing::field::display);
    tracing::info!(user_id, reason = problem.code.as_str(), "sign-in refused");
    SIGN_IN_FAILURES.count(1);
    problem
}
