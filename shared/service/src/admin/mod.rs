//! Administration: what somebody may do with the accounts and sessions of others.
//!
//! Every use case here takes an [`Administrator`], which only a caller with the role or an operator's command gets. They
//! change accounts by the same loop as their owners do, and each leaves one line in the audit trail, with its actor.

mod account;
mod limits;
mod sessions;
mod users;

use latchkey_domain::account::Account;
use latchkey_domain::cause::Actor;
use latchkey_domain::error::{AdminError, NotAdministrator};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::role::Role;

use crate::caller::admitted;
use crate::metric::ADMIN_ACTIONS;
use crate::{Caller, Failure, Service};

pub use account::AccountUpdate;
pub use sessions::{Chosen, DescribedSession, SessionOfUser, UserRevocation};
pub use users::{UserCursor, UserPage};

/// Somebody who may administer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    actor: Actor,
    session: Option<SessionId>,
}

impl Administrator {
    /// Somebody who runs a command on the table itself, which asks for no role: whoever can read and write the table
    /// needs none.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            actor: Actor::Operator,
            session: None,
        }
    }

    /// The session of an administrator, so that a list can say which one is theirs.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }
}

/// What an administrator does, for the audit trail.
#[derive(Clone, Copy, Debug)]
struct Deed {
    action: &'static str,
    user: Option<UserId>,
    session: Option<SessionId>,
}

impl Deed {
    fn new(action: &'static str) -> Self {
        Self {
            action,
            user: None,
            session: None,
        }
    }

    fn on_user(action: &'static str, user: UserId) -> Self {
        Self {
            user: Some(user),
            ..Self::new(action)
        }
    }

    fn on_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }
}

impl Service {
    /// The caller as an administrator: the access token has the scope, the session is live, the account has the role
    /// now, and the proof of who they are is recent. 1 trip, 1 read unit, strongly consistent, so that a role that was
    /// withdrawn allows nothing any more.
    ///
    /// # Errors
    /// [`NotAdministrator`]
    pub async fn administrator(
        &self,
        caller: Caller,
    ) -> Result<Administrator, Failure<NotAdministrator>> {
        let (user_id, session_id) = (caller.user_id, caller.session_id);
        if !caller.scope.admin {
            tracing::info!(%user_id, %session_id, reason = "scope", "administration refused");
            return Err(Failure::Refused(NotAdministrator::NotAllowed));
        }
        let account = self.store.read_account(user_id).await?;
        let account = admitted::<NotAdministrator>(account, caller)?;
        if !account.roles.contains(&Role::admin()) {
            tracing::warn!(%user_id, %session_id, reason = "role", "administration refused");
            return Err(Failure::Refused(NotAdministrator::NotAllowed));
        }
        self.core
            .require_recent_authentication(caller)
            .map_err(|refusal| Failure::Refused(refusal.into()))?;
        Ok(Administrator {
            actor: Actor::Admin(user_id),
            session: Some(session_id),
        })
    }

    /// Does what an administrator wants, and leaves the line that says so.
    async fn audited<T>(
        &self,
        who: &Administrator,
        deed: Deed,
        work: impl Future<Output = Result<T, Failure<AdminError>>>,
    ) -> Result<T, Failure<AdminError>> {
        let done = work.await;
        let outcome = match &done {
            Ok(_) => "done",
            Err(Failure::Refused(AdminError::UserNotFound)) => "user_not_found",
            Err(Failure::Refused(AdminError::SessionNotFound)) => "session_not_found",
            Err(Failure::Refused(AdminError::TooManyRoles)) => "too_many_roles",
            Err(Failure::Refused(AdminError::OwnAccount)) => "own_account",
            Err(Failure::Throttled(_) | Failure::Unavailable | Failure::Internal) => "failed",
        };
        let (actor, action) = (&who.actor, deed.action);
        let user_id = deed.user.map(tracing::field::display);
        let session_id = deed.session.map(tracing::field::display);
        tracing::info!(%actor, action, outcome, user_id, session_id, "administration");
        ADMIN_ACTIONS.count(1);
        done
    }
}

/// An account that is there and not deleted: of a deleted user nothing is shown.
fn not_deleted(account: Option<Account>) -> Result<Account, Failure<AdminError>> {
    account
        .filter(|account| !account.is_deleted())
        .ok_or(Failure::Refused(AdminError::UserNotFound))
}
