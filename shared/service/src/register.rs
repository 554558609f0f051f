//! Registration: a new user, signed in at once, or when their address is verified.

use std::sync::Arc;

use latchkey_domain::account::Account;
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::device::Device;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::RegisterError;
use latchkey_domain::event::{Addressee, Requester, WantedLink};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::{Password, check_policy, decoy, needs_upgrade};
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::throttle::MailReason;
use latchkey_domain::token::Audience;
use latchkey_store::RegisterOutcome;

use crate::log::log_done;
use crate::metric::REGISTRATIONS;
use crate::throttle::CountedRequest;
use crate::{Failure, Service, SignedIn};

/// Somebody who wants an account.
///
/// ```
/// use std::sync::Arc;
///
/// use latchkey_domain::device::{ClientHints, Device};
/// use latchkey_domain::password::Password;
/// use latchkey_domain::session::ClientLocation;
/// use latchkey_domain::token::Audience;
/// use latchkey_service::Registration;
///
/// let password = Arc::new(Password::new("correct horse battery staple".to_owned()));
/// let registration = Registration {
///     email: "ada@example.com",
///     password: &password,
///     device: Device::describe(Some("Ada's phone"), None, None, ClientHints::default()),
///     device_in_our_words: Device::name_in_our_words(None, ClientHints::default()),
///     location: ClientLocation::default(),
///     audience: Audience::ThisApi,
/// };
/// assert!(!format!("{registration:?}").contains("horse"));
/// ```
#[derive(Clone, Debug)]
pub struct Registration<'a> {
    /// The e-mail address, as it was typed.
    pub email: &'a str,
    /// The password that was chosen.
    pub password: &'a Arc<Password>,
    /// What it happens on.
    pub device: Device,
    /// What that is called to whoever reads the mail of the address.
    pub device_in_our_words: String,
    /// Where that is.
    pub location: ClientLocation,
    /// The API that the access token is to be for.
    pub audience: Audience,
}

/// What became of a registration.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one request, and the large one is the usual one"
)]
pub enum Registered {
    /// The user is there, and signed in.
    SignedIn(SignedIn),
    /// A mail is on its way to the address, whether it was free or is taken. The policy wants it so.
    MailSent,
}

impl Service {
    /// Makes an account and signs its user in. 2 trips, the first one of the limit, before the hash; 8 write units.
    ///
    /// Where the policy wants verified addresses, nobody is signed in, and nobody learns whether the address was free: 4
    /// trips, 7 write units and two hashes in either case.
    ///
    /// # Errors
    /// [`RegisterError`]; [`Failure::Unavailable`] too when too many passwords are waiting to be hashed.
    pub async fn register(
        &self,
        request: Registration<'_>,
    ) -> Result<Registered, Failure<RegisterError>> {
        let refuse = |refusal: RegisterError| Failure::Refused(refusal);
        if !self.core.policy.registration_open {
            return Err(refuse(RegisterError::Closed));
        }
        let email = self.check(&request).map_err(refuse)?;
        if self.core.policy.require_verified_email {
            self.register_unverified(request, email).await?;
            return Ok(Registered::MailSent);
        }
        let random = self.core.random.as_ref();
        let mut place = self.core.passwords.reserve()?;
        self.count_address_attempt(request.location.ip_address, CountedRequest::Password)
            .await?;
        let password_hash = place.hash(request.password, random).await?;

        let now = self.core.now();
        let user_id = UserId::random(random);
        let session_id = SessionId::random(random);
        let session = Session::begin(
            session_id,
            user_id,
            request.device,
            request.location,
            now,
            &self.core.policy,
        );
        let account = Account::register(user_id, email.clone(), session_id, now);
        let cause = Cause {
            action: Action::Register,
            actor: Actor::Owner(session_id),
            at: now,
        };
        let registered =
            self.store
                .register(&email, password_hash, &account, Some(&session), &cause);
        match registered.await? {
            RegisterOutcome::Registered => {}
            RegisterOutcome::EmailTaken { .. } => return Err(refuse(RegisterError::EmailTaken)),
        }
        log_done("registered", REGISTRATIONS, user_id, session_id);
        let access = request.audience.access(account.scope());
        let issued = self.core.issue(session, access, now).await?;
        let device_token = Some(self.core.issue_device(None, &account, now).await?);
        Ok(Registered::SignedIn(SignedIn {
            account,
            issued,
            device_token,
        }))
    }

    /// Makes an account whose user must verify its address first, and asks for the mail: with the link if the address was
    /// free, with word of it if it is taken. Whoever repeats a registration, with the same password, wants the link again.
    async fn register_unverified(
        &self,
        request: Registration<'_>,
        email: EmailAddress,
    ) -> Result<(), Failure<RegisterError>> {
        let random = self.core.random.as_ref();
        let mut place = self.core.passwords.reserve()?;
        let address = request.location.ip_address;
        self.count_mail_for_stranger(address, MailReason::Registration, &email)
            .await?;
        let password_hash = place.hash(request.password, random).await?;
        let now = self.core.now();
        let account = Account::register_unverified(UserId::random(random), email.clone(), now);
        let cause = Cause {
            action: Action::Register,
            actor: Actor::Nobody,
            at: now,
        };
        let registered = self
            .store
            .register(&email, password_hash, &account, None, &cause);
        let taken = match registered.await? {
            RegisterOutcome::Registered => {
                tracing::info!(user_id = %account.id, "registered");
                REGISTRATIONS.count(1);
                None
            }
            RegisterOutcome::EmailTaken { credential } => Some(credential),
        };
        // A registration here has made a hash of today's: any other takes another time to verify.
        let hash = taken.as_ref().map(|credential| &credential.password_hash);
        let hash = hash.filter(|hash| !needs_upgrade(hash));
        let user_id = taken.as_ref().map_or(account.id, |found| found.user_id);
        let is_same_password = place
            .verify(request.password, hash.unwrap_or(decoy()), user_id)
            .await?;
        let wanted = match (taken, is_same_password) {
            (None, _) => WantedLink::VerifyEmail,
            (Some(_), true) => WantedLink::RetryRegistration,
            (Some(_), false) => WantedLink::RepeatRegistration,
        };
        let requester = Requester {
            device_name: Some(request.device_in_our_words),
            location: request.location,
        };
        // By the address in either case, so that both items are as large.
        let addressee = Addressee::Address(email);
        self.write_request(wanted, addressee, requester, Actor::Nobody)
            .await
    }

    /// The e-mail address, if both it and the password are allowed.
    fn check(&self, request: &Registration<'_>) -> Result<EmailAddress, RegisterError> {
        let email = self.core.policy.read_new_email(request.email);
        let policy = &self.core.password_policy;
        let password = check_policy(request.password, email.as_ref().ok(), policy);
        match (email, password) {
            (Ok(email), Ok(())) => Ok(email),
            (Ok(_), Err(weakness)) => Err(weakness.into()),
            (Err(invalid), Ok(())) => Err(invalid.into()),
            (Err(invalid), Err(weakness)) => {
                Err(RegisterError::EmailAndPassword(invalid, weakness))
            }
        }
    }
}
