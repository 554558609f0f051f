//! Sign-in: a session for an e-mail address and a password.
//!
//! An unknown address and a wrong password get the same answer after the same work, so that nobody learns who has an
//! account (OWASP ASVS 5.0, 6.3.8).

use std::borrow::Cow;
use std::sync::Arc;

use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::{Action, Actor};
use latchkey_domain::credential::Credential;
use latchkey_domain::device::Device;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::{AdmitError, SignInError};
use latchkey_domain::event::SignInRefusal;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::novelty::ShownDevice;
use latchkey_domain::password::{Password, PasswordHash, decoy, needs_upgrade};
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::token::{Audience, DeviceClaims, Token};
use latchkey_store::{Part, Partition};

use crate::admission::{Admitted, NewSession};
use crate::change::Intent;
use crate::fit::READINGS_OF_BROKEN;
use crate::log::{log_done, log_refusal};
use crate::metric::{SIGN_IN_FAILURES, SIGN_INS};
use crate::passwords::Place;
use crate::throttle::{CountedRequest, Guess, RefusedSignIn};
use crate::{Failure, Service, SignedIn};

/// Somebody who wants to sign in.
///
/// ```
/// use std::net::IpAddr;
/// use std::sync::Arc;
///
/// use latchkey_domain::device::{ClientHints, Device};
/// use latchkey_domain::password::Password;
/// use latchkey_domain::session::ClientLocation;
/// use latchkey_domain::token::Audience;
/// use latchkey_service::SignIn;
///
/// let password = Arc::new(Password::new("correct horse battery staple".to_owned()));
/// let address = IpAddr::from([198, 51, 100, 7]);
/// let sign_in = SignIn {
///     email: "Ada@example.com",
///     password: &password,
///     device_token: None,
///     device: Device::describe(None, Some("curl/8.7.1"), None, ClientHints::default()),
///     device_in_our_words: Device::name_in_our_words(Some("curl/8.7.1"), ClientHints::default()),
///     location: ClientLocation::from(address),
///     audience: Audience::ThisApi,
/// };
/// assert_eq!(sign_in.location.ip_address, Some(address));
/// ```
#[derive(Clone, Debug)]
pub struct SignIn<'a> {
    /// The e-mail address, as it was typed.
    pub email: &'a str,
    /// The password.
    pub password: &'a Arc<Password>,
    /// What the client got when it last signed in, if it says so. What is not genuine counts as absent.
    pub device_token: Option<&'a Token>,
    /// What it is to happen on.
    pub device: Device,
    /// What that is called to the account's owner if it is refused.
    pub device_in_our_words: String,
    /// Where that is.
    pub location: ClientLocation,
    /// The API that the access token is to be for.
    pub audience: Audience,
}

impl Service {
    /// Signs a user in. 3 trips, the middle one in parallel with the hash; 5 write units, and 2 for the limits, 3 when
    /// earlier attempts are forgotten. A refused one is marked instead: 3 trips, 1 write unit and those for the limits.
    ///
    /// # Errors
    /// [`SignInError`]; [`Failure::Unavailable`] too when too many passwords are waiting to be hashed;
    /// [`Failure::Internal`] for a credential that is not of its account's password, as a partial restore leaves one.
    pub async fn sign_in(&self, request: SignIn<'_>) -> Result<SignedIn, Failure<SignInError>> {
        let place = self.core.passwords.reserve()?;
        let email = EmailAddress::parse_existing(request.email).ok();
        let device = match request.device_token {
            Some(token) => self.core.tokens.verify_device(token, self.core.now()).await,
            None => None,
        };
        let mut guess = email
            .as_ref()
            .map(|email| Guess::new(self, email, device.as_ref()));
        let outcome = self
            .sign_in_by(guess.as_mut(), place, &request, device.clone())
            .await;
        if let Some(guess) = &guess {
            guess.settle(&outcome).await;
        }
        outcome
    }

    /// Signs a user in whose attempt is counted. What is no e-mail address has no account that could be guessed.
    async fn sign_in_by(
        &self,
        mut guess: Option<&mut Guess<'_>>,
        mut place: Place,
        request: &SignIn<'_>,
        device: Option<DeviceClaims>,
    ) -> Result<SignedIn, Failure<SignInError>> {
        let random = self.core.random.as_ref();
        let session_id = SessionId::random(random);
        let mut verified: Option<Credential> = None;
        let mut upgraded_hash: Option<PasswordHash> = None;
        // How many readings of one credential did not fit.
        let mut unfit = 0;
        let mut retries = self.store.retries();
        let address = request.location.ip_address;

        loop {
            let credential = match &mut guess {
                Some(guess) if verified.is_none() => guess.read_credential(address).await?,
                Some(guess) => guess.read_credential_again().await?,
                None => {
                    self.count_address_attempt(address, CountedRequest::Password)
                        .await?;
                    None
                }
            };
            let (user_id, hash) = match &credential {
                Some(found) => (found.user_id, &found.password_hash),
                None => (UserId::random(random), decoy()),
            };
            // The same hash as before matches the same password: it need not be verified twice.
            let already_verified = credential.is_some() && credential == verified;
            let (partition, matches) =
                tokio::join!(self.store.read_partition(user_id, self.core.now()), async {
                    if already_verified {
                        return Ok(true);
                    }
                    place.verify(request.password, hash, user_id).await
                });
            let (partition, matches) = (partition?, matches?);
            let (Some(credential), true) = (credential, matches) else {
                let known_user = partition.account.map(|account| account.id);
                let refusal = SignInError::InvalidCredentials;
                return Err(refuse(refusal, guess.as_deref(), known_user, request).await);
            };
            if !already_verified {
                upgraded_hash = match needs_upgrade(&credential.password_hash) {
                    true => Some(place.hash(request.password, random).await?),
                    false => None,
                };
            }
            let now = self.core.now();
            let policy = &self.core.policy;
            let (on, from) = (request.device.clone(), request.location.clone());
            let admission = Admission {
                service: self,
                credential: &credential,
                upgraded_hash: upgraded_hash.as_ref(),
                new: NewSession {
                    session: &Session::begin(session_id, user_id, on, from, now, policy),
                    shown: match &device {
                        Some(token) if token.sub == user_id => ShownDevice::OfUser,
                        Some(_) | None => ShownDevice::Unknown,
                    },
                    policy,
                },
            };
            let admitting = async {
                let reading = self.store.with_unseen_sessions(partition).await?;
                self.admit(&admission, reading, &admission.new).await
            };
            // The right password was given, so nobody waits for what went before.
            let forgiving = async {
                if let Some(guess) = guess.as_ref().filter(|_| !already_verified) {
                    guess.forgive().await;
                }
            };
            let (admitted, ()) = tokio::join!(admitting, forgiving);
            match admitted? {
                Admitted::By(account, session) => {
                    log_done("signed in", SIGN_INS, user_id, session_id);
                    let access = request.audience.access(account.scope());
                    let issued = self.core.issue(*session, access, now).await?;
                    let device_token = self.core.issue_device(device, &account, now).await?;
                    return Ok(SignedIn {
                        account,
                        issued,
                        device_token: Some(device_token),
                    });
                }
                Admitted::Disabled => {
                    let refusal = SignInError::AccountDisabled;
                    return Err(refuse(refusal, guess.as_deref(), Some(user_id), request).await);
                }
                Admitted::EmailNotVerified => {
                    let refusal = SignInError::EmailNotVerified;
                    return Err(refuse(refusal, guess.as_deref(), Some(user_id), request).await);
                }
                // Credential and account change in one write, so they changed between the two readings, or one reading
                // showed that write and the other did not yet, or one of them is broken: then the credential stays the same
                // and never fits. How the account changes meanwhile says nothing, because a sign-in of another session
                // changes it too.
                Admitted::NoLonger => {
                    unfit = if already_verified { unfit + 1 } else { 1 };
                    if unfit == READINGS_OF_BROKEN {
                        tracing::error!(%user_id, "a credential leads to no account, or to one of another password: mend the two items by hand");
                        return Err(Failure::Internal);
                    }
                    retries.pause().await?;
                }
            }
            verified = Some(credential);
        }
    }
}

/// Counts and marks a refused sign-in and logs why. The address is not logged: people type passwords into that field too.
async fn refuse(
    refusal: SignInError,
    guess: Option<&Guess<'_>>,
    user: Option<UserId>,
    request: &SignIn<'_>,
) -> Failure<SignInError> {
    let reason = SignInRefusal::from(refusal);
    let (what, word) = ("sign-in refused", reason.as_str());
    log_refusal(what, word, SIGN_IN_FAILURES, user, None);
    if let Some(guess) = guess {
        let refused = RefusedSignIn {
            reason,
            user,
            device_name: &request.device_in_our_words,
            device_type: request.device.device_type,
            location: &request.location,
        };
        guess.mark_refused(&refused).await;
    }
    Failure::Refused(refusal)
}

/// The admission of a new session, whose user has given the right password.
struct Admission<'a> {
    service: &'a Service,
    credential: &'a Credential,
    /// A hash with today's parameters, if the stored one is to be replaced.
    upgraded_hash: Option<&'a PasswordHash>,
    new: NewSession<'a>,
}

impl Intent for Admission<'_> {
    type Reading = Partition;
    type Refusal = AdmitError;

    fn action(&self) -> Action {
        Action::SignIn
    }

    fn actor(&self) -> Actor {
        Actor::Owner(self.new.session.id)
    }

    fn account<'r>(&self, reading: &'r Partition) -> Option<&'r Account> {
        reading.account.as_ref()
    }

    async fn read_again(&self) -> Result<Partition, Failure<AdmitError>> {
        let user = self.new.session.user_id;
        self.service.read_with_unseen_sessions(user).await
    }

    fn decide(&self, reading: &Partition) -> Result<Change, AdmitError> {
        let account = reading.account.clone().ok_or(AdmitError::Deleted)?;
        account.admit(
            self.new.session,
            self.credential.password_version,
            &reading.sessions,
            reading.read_at,
            &self.service.core.policy,
        )
    }

    fn parts<'a>(&'a self, reading: &'a Partition, _: &'a Change) -> Vec<Part<'a>> {
        let mut parts = vec![Part::NewSession(Cow::Owned(self.new.among(reading)))];
        if let Some(hash) = self.upgraded_hash {
            parts.push(Part::Hash {
                verified: self.credential,
                hash,
                password_version: self.credential.password_version,
            });
        }
        parts
    }

    fn new_session(&self) -> Option<SessionId> {
        Some(self.new.session.id)
    }

    /// A sign-in wants its session in the set and nothing else.
    fn is_fulfilled(&self, _: &Change, _: Option<&Account>) -> bool {
        false
    }
}
