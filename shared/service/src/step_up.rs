//! Step-up: what asks its caller for a recent proof of who they are, and how a caller gives one (OWASP ASVS 5.0, 7.2.4
//! and 7.5.1; RFC 9470).
//!
//! The proof belongs to the session: each access token that is issued from then on has the new `auth_time`. Those issued
//! before keep theirs.

use std::sync::Arc;

use latchkey_domain::account::{Account, Liveness};
use latchkey_domain::error::{CallerNotLive, ConfirmError, ReauthenticationRequired};
use latchkey_domain::password::Password;
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_store::{PasswordAttempt, Reauthentication};

use crate::account::{Confirmation, NOT_LIVE};
use crate::passwords::Place;
use crate::{Caller, Core, Failure, Issued, Service};

impl Core {
    /// Refuses a caller whose proof is older than the policy's `reauthenticate_within`.
    ///
    /// # Errors
    /// [`ReauthenticationRequired`]
    pub fn require_recent_authentication(
        &self,
        caller: Caller,
    ) -> Result<(), ReauthenticationRequired> {
        match caller.proof_is_older_than(self.policy.reauthenticate_within, self.now()) {
            true => Err(ReauthenticationRequired),
            false => Ok(()),
        }
    }
}

impl Service {
    /// The same, for a use case that has read nothing yet: that the caller's session has ended comes first, and `refuse`
    /// says why the account is refused. 1 read unit, if the proof is too old.
    pub(crate) async fn require_recent_authentication<E>(
        &self,
        caller: Caller,
        refuse: impl FnOnce(&Account, ReauthenticationRequired) -> E,
    ) -> Result<(), Failure<E>>
    where
        E: From<CallerNotLive>,
    {
        let Err(required) = self.core.require_recent_authentication(caller) else {
            return Ok(());
        };
        let live = self.live_account(caller).await;
        let account = live.map_err(|failure| failure.map_refusal(E::from))?;
        log_step_up_refusal(caller);
        Err(Failure::Refused(refuse(&account, required)))
    }

    /// The same, for ending sessions other than the caller's: only if the policy asks for a proof.
    pub(crate) async fn require_recent_authentication_to_revoke<E>(
        &self,
        caller: Caller,
    ) -> Result<(), Failure<E>>
    where
        E: From<CallerNotLive> + From<ReauthenticationRequired>,
    {
        if self.core.policy.reauthenticate_to_revoke {
            let refuse = |_: &Account, required: ReauthenticationRequired| E::from(required);
            self.require_recent_authentication(caller, refuse).await?;
        }
        Ok(())
    }

    /// Takes the caller's password as a new proof of who they are: new tokens, whose `auth_time` is now. The refresh token
    /// rotates unless it is younger than the interval. 3 trips, two of them before argon2; 2 write units and 1 for the
    /// limit, 3 read units.
    ///
    /// # Errors
    /// [`ConfirmError`]; the fifth wrong password on a session ends it.
    pub async fn reauthenticate(
        &self,
        caller: Caller,
        password: &Arc<Password>,
        location: &ClientLocation,
    ) -> Result<Issued, Failure<ConfirmError>> {
        let mut place = self.core.passwords.reserve()?;
        let nothing = std::future::ready(());
        let confirmation = self.begin_confirmation(caller, location.ip_address, nothing);
        let (attempt, confirmation, ()) = confirmation.await?;
        let proved = self.prove(&mut place, &confirmation, &attempt, password, location);
        let proved = proved.await;
        self.settle_attempt(caller, &attempt, &proved).await;
        let (session, account) = proved?;
        let (user_id, session_id) = (caller.user_id, caller.session_id);
        tracing::info!(%user_id, %session_id, rotation = session.rotation, "reauthenticated");
        let now = session.authenticated_at;
        self.core.issue(session, account.scope(), now).await
    }

    /// Checks the password and writes the proof. The account is read again in parallel with the write, because the session
    /// may have ended while the password was checked.
    async fn prove(
        &self,
        place: &mut Place,
        confirmation: &Confirmation,
        attempt: &PasswordAttempt,
        password: &Arc<Password>,
        location: &ClientLocation,
    ) -> Result<(Session, Account), Failure<ConfirmError>> {
        self.confirm(place, confirmation, attempt, password).await?;
        let now = self.core.now();
        let reauthentication = Reauthentication {
            session: confirmation.own()?.session,
            location,
            now,
            policy: &self.core.policy,
        };
        let (account, session) = self.store.reauthenticate(&reauthentication).await?;
        match (session, account) {
            (Some(session), Some(account)) if account.liveness(&session, now) == Liveness::Live => {
                Ok((session, account))
            }
            _ => Err(NOT_LIVE),
        }
    }
}

pub(crate) fn log_step_up_refusal(caller: Caller) {
    let (user_id, session_id) = (caller.user_id, caller.session_id);
    tracing::info!(%user_id, %session_id, "refused until the caller authenticates again");
}
