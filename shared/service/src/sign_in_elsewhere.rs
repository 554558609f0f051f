//! Sessions for people who signed in elsewhere: with Cognito, Google, SAML, whatever a team has.
//!
//! A service of the team's own vouches for the person, so there is no password to check. The first sign-in of an identity
//! makes the account.

use std::borrow::Cow;

use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::client::{ClientError, ClientScope};
use latchkey_domain::device::Device;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::{AdmitError, SignInElsewhereError, VisitorRefreshError};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::identity::{AuthenticationMethods, Identity, authenticated_at};
use latchkey_domain::novelty::ShownDevice;
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::token::{Audience, Token};
use latchkey_store::{IdentityOutcome, Part, Partition};

use crate::admission::{Admitted, NewSession};
use crate::change::Intent;
use crate::log::log_refusal;
use crate::metric::{REGISTRATIONS, SIGN_IN_FAILURES, SIGN_INS};
use crate::{ClientCredentials, Failure, Issued, Service, SignedIn};

/// How often the identity is read when it does not lead to an account that admits: a deletion or another first sign-in
/// comes between them once, not again and again.
const ATTEMPTS: u32 = 3;

/// Somebody who has signed in elsewhere.
///
/// ```
/// use latchkey_domain::device::{ClientHints, Device};
/// use latchkey_domain::identity::{AuthenticationMethods, Identity};
/// use latchkey_domain::session::ClientLocation;
/// use latchkey_domain::token::Audience;
/// use latchkey_service::SignInElsewhere;
///
/// let sign_in = SignInElsewhere {
///     identity: Identity::new("https://login.example.com", "248289761001")?,
///     email: None,
///     methods: AuthenticationMethods::new(["pwd", "otp"])?,
///     auth_time: None,
///     device: Device::describe(None, None, None, ClientHints::default()),
///     location: ClientLocation::default(),
///     audience: Audience::ThisApi,
/// };
/// assert_eq!(sign_in.methods.to_string(), "pwd otp");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct SignInElsewhere {
    /// Who they are there.
    pub identity: Identity,
    /// Their address, as it was told there. It is shown and finds nothing.
    pub email: Option<EmailAddress>,
    /// How they proved who they are.
    pub methods: AuthenticationMethods,
    /// When, in seconds since 1970. Unless it is told, nothing counts as a proof of who they are.
    pub auth_time: Option<i64>,
    /// What they use.
    pub device: Device,
    /// Where that is.
    pub location: ClientLocation,
    /// The API that the access token is to be for.
    pub audience: Audience,
}

impl Service {
    /// Starts a session for somebody who signed in elsewhere. 2 trips and 7 write units the first time; 3 trips and 5 write
    /// units from then on, as a sign-in, and 1 more trip when old items are trimmed.
    ///
    /// # Errors
    /// [`SignInElsewhereError`]
    pub async fn sign_in_elsewhere(
        &self,
        credentials: Option<&ClientCredentials>,
        request: SignInElsewhere,
    ) -> Result<SignedIn, Failure<SignInElsewhereError>> {
        // One trip: what is read of the identity is used only for a client that proves itself.
        let (client, known) = tokio::join!(
            self.authenticate_client_of(credentials, request.identity.issuer()),
            self.store.read_identity(&request.identity)
        );
        let client = client.map_err(|failure| failure.map_refusal(SignInElsewhereError::from))?;
        let now = self.core.now();
        let proved_at = authenticated_at(request.auth_time, now, &self.core.policy)
            .map_err(|error| Failure::Refused(error.into()))?;
        let actor = Actor::Client(client.id.into());
        let session_id = SessionId::random(self.core.random.as_ref());
        let session_of = |user| {
            let (device, location) = (request.device.clone(), request.location.clone());
            Session::begin(session_id, user, device, location, now, &self.core.policy)
                .authenticated_elsewhere(proved_at, request.methods.clone())
        };
        let mut known = known?;
        for _ in 1..=ATTEMPTS {
            let existing = known.map(session_of);
            let led_to = match &existing {
                None => LedTo::Nothing,
                Some(session) => self.admit_identity(&request, session, &actor).await?,
            };
            let begun = match led_to {
                LedTo::Account(account, session) => Some((*session, account)),
                LedTo::OtherAccount => None,
                LedTo::Nothing => {
                    let session = session_of(UserId::random(self.core.random.as_ref()));
                    let registered = self.register_identity(&request, known, &session, &actor);
                    registered.await?.map(|account| (session, account))
                }
            };
            if let Some((session, account)) = begun {
                let access = request.audience.access(account.scope());
                let issued = self.core.issue(session, access, now).await?;
                // No password is guessed here, so no device need be known.
                return Ok(SignedIn {
                    account,
                    issued,
                    device_token: None,
                });
            }
            known = self.store.read_identity(&request.identity).await?;
        }
        tracing::error!("an identity leads to no account that is its own");
        Err(Failure::Unavailable)
    }

    /// Makes the account of an identity, unless another first sign-in is faster. `lost` is the user without an account to
    /// whom it leads, after a restored backup for example.
    async fn register_identity(
        &self,
        request: &SignInElsewhere,
        lost: Option<UserId>,
        session: &Session,
        actor: &Actor,
    ) -> Result<Option<Account>, Failure<SignInElsewhereError>> {
        let (user_id, session_id, now) = (session.user_id, session.id, session.created_at);
        let (identity, email) = (request.identity.clone(), request.email.clone());
        let account = Account::register_identity(user_id, identity, email, session_id, now);
        let cause = Cause {
            action: Action::Register,
            actor: actor.clone(),
            at: now,
        };
        let registered =
            self.store
                .register_identity((&request.identity, lost), &account, session, &cause);
        match registered.await? {
            IdentityOutcome::Registered => {
                if let Some(lost) = lost {
                    tracing::warn!(%user_id, lost_user_id = %lost, "an identity led to no account, and has a new one");
                }
                tracing::info!(%user_id, %session_id, %actor, "registered");
                REGISTRATIONS.count(1);
                Ok(Some(account))
            }
            IdentityOutcome::Taken => Ok(None),
        }
    }

    /// Admits the session to the account that the identity led to, if it is the identity's.
    async fn admit_identity(
        &self,
        request: &SignInElsewhere,
        session: &Session,
        actor: &Actor,
    ) -> Result<LedTo, Failure<SignInElsewhereError>> {
        let admission = IdentityAdmission {
            service: self,
            request,
            // A client has no device token here.
            new: NewSession {
                session,
                shown: ShownDevice::Unknown,
                policy: &self.core.policy,
            },
            actor,
        };
        let (user_id, session_id) = (session.user_id, session.id);
        let reading = self.read_with_unseen_sessions(user_id).await?;
        // Account and identity go in one transaction, of which a query may show less than a `GetItem` has shown before
        // (DynamoDB, isolation levels of transactions): the account is looked up before it counts as lost.
        if reading.account.as_ref().is_none_or(Account::is_deleted) {
            let account = self.store.read_account(user_id).await?;
            return Ok(match account.as_ref().is_none_or(Account::is_deleted) {
                true => LedTo::Nothing,
                false => LedTo::OtherAccount,
            });
        }
        let admitted = self.admit(&admission, reading, &admission.new);
        let (account, session) = match admitted.await? {
            Admitted::By(account, session) => (account, session),
            Admitted::Disabled => {
                let (what, reason) = ("sign-in refused", "account_disabled");
                log_refusal(what, reason, SIGN_IN_FAILURES, Some(user_id), None);
                return Err(Failure::Refused(SignInElsewhereError::AccountDisabled));
            }
            // No address is asked for there, so it says nothing of one.
            Admitted::EmailNotVerified | Admitted::NoLonger => return Ok(LedTo::OtherAccount),
        };
        tracing::info!(%user_id, %session_id, %actor, "signed in");
        SIGN_INS.count(1);
        Ok(LedTo::Account(account, session))
    }

    /// Exchanges a refresh token for a visitor of another service, which says where the visitor is: only a client that may
    /// issue sessions is believed. 2 trips, 1 write unit, 2 read units.
    ///
    /// # Errors
    /// [`VisitorRefreshError`]
    pub async fn refresh_for_visitor(
        &self,
        credentials: Option<&ClientCredentials>,
        token: &Token,
        location: &ClientLocation,
        audience: &Audience,
    ) -> Result<Issued, Failure<VisitorRefreshError>> {
        // Who sends no credentials is no service that has forgotten its own.
        if credentials.is_none() {
            return Err(Failure::Refused(ClientError::NotAllowed.into()));
        }
        let client = self.authenticate_client(credentials, ClientScope::IssueSessions);
        let client = client.await;
        client.map_err(|failure| failure.map_refusal(VisitorRefreshError::from))?;
        let refreshed = self.refresh(token, location, audience).await;
        refreshed.map_err(|failure| failure.map_refusal(VisitorRefreshError::from))
    }
}

/// What an identity has led to.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one request, and the large one is the usual one"
)]
enum LedTo {
    /// The account that is the identity's. It holds the new session, which is as it was written.
    Account(Account, Box<Session>),
    /// One that is not, or no longer.
    OtherAccount,
    /// A user who has no account.
    Nothing,
}

/// The admission of a new session, whose user has signed in elsewhere.
struct IdentityAdmission<'a> {
    service: &'a Service,
    request: &'a SignInElsewhere,
    new: NewSession<'a>,
    actor: &'a Actor,
}

impl Intent for IdentityAdmission<'_> {
    type Reading = Partition;
    type Refusal = AdmitError;

    fn action(&self) -> Action {
        Action::SignIn
    }

    fn actor(&self) -> Actor {
        self.actor.clone()
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
        account.admit_identity(
            self.new.session,
            (&self.request.identity, self.request.email.as_ref()),
            &reading.sessions,
            reading.read_at,
            &self.service.core.policy,
        )
    }

    fn parts<'a>(&'a self, reading: &'a Partition, _: &'a Change) -> Vec<Part<'a>> {
        vec![Part::NewSession(Cow::Owned(self.new.among(reading)))]
    }

    fn new_session(&self) -> Option<SessionId> {
        Some(self.new.session.id)
    }

    /// A sign-in wants its session in the set and nothing else.
    fn is_fulfilled(&self, _: &Change, _: Option<&Account>) -> bool {
        false
    }
}
