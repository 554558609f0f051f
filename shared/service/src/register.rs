//! Registration: a new user, signed in at once.

use std::sync::Arc;

use latchkey_domain::account::Account;
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::device::Device;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::RegisterError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::{Password, check_policy};
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::token::Scope;
use latchkey_store::RegisterOutcome;

use crate::metric::REGISTRATIONS;
use crate::{Failure, Service, SignedIn};

/// Somebody who wants an account.
#[derive(Clone, Debug)]
pub struct Registration<'a> {
    /// The e-mail address, as it was typed.
    pub email: &'a str,
    /// The password that was chosen.
    pub password: &'a Arc<Password>,
    /// What it happens on.
    pub device: Device,
    /// Where that is.
    pub location: ClientLocation,
}

impl Service {
    /// Makes an account and signs its user in. 2 trips, the first one of the limit, before the hash; 8 write units.
    ///
    /// # Errors
    /// [`RegisterError`]; [`Failure::Unavailable`] too when too many passwords are waiting to be hashed.
    pub async fn register(
        &self,
        request: Registration<'_>,
    ) -> Result<SignedIn, Failure<RegisterError>> {
        let refuse = |refusal: RegisterError| Failure::Refused(refusal);
        let email = EmailAddress::parse(request.email).map_err(|error| refuse(error.into()))?;
        check_policy(request.password, &email, &self.core.password_policy)
            .map_err(|error| refuse(error.into()))?;
        let random = self.core.random.as_ref();
        let mut place = self.core.passwords.reserve()?;
        self.count_address_attempt(request.location.ip_address)
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
        let registered = self
            .store
            .register(&email, password_hash, &account, &session, &cause);
        match registered.await? {
            RegisterOutcome::Registered => {}
            RegisterOutcome::EmailTaken => return Err(refuse(RegisterError::EmailTaken)),
        }
        tracing::info!(%user_id, %session_id, "registered");
        REGISTRATIONS.count(1);
        let issued = self.core.issue(session, Scope::of(&account), now).await?;
        let device_token = Some(self.core.issue_device(None, user_id, now).await?);
        Ok(SignedIn {
            account,
            issued,
            device_token,
        })
    }
}
