//! Administration: what somebody may do with the accounts and sessions of others.
//!
//! Every use case here takes an [`Administrator`], which only a caller with the role or an operator's command gets. They
//! change accounts by the same loop as their owners do. Each act leaves one line in the audit trail, with its actor: a
//! request that changes status and roles leaves two, one for many users one for each.

mod account;
mod activity;
mod limits;
mod repair;
mod sessions;
mod users;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use latchkey_domain::account::Account;
use latchkey_domain::cause::Actor;
use latchkey_domain::error::{AdminError, NotAdministrator};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::role::Role;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::caller::admitted;
use crate::log::in_words;
use crate::metric::ADMIN_ACTIONS;
use crate::step_up::log_step_up_refusal;
use crate::{Caller, Failure, Service};

pub use account::AccountUpdate;
pub use repair::{Damage, LeadsToUser, Repair};
pub(crate) use sessions::describe_sessions;
pub use sessions::{Chosen, DescribedSession, SessionOfUser, UserRevocation};
pub use users::{UserCursor, UserPage};

/// How long all deeds of a request may take, less than the request may: Lambda freezes what is left after the reply, and a
/// deed that was answered 503 must not continue when the instance is used again.
pub const LONGEST_DEEDS: Duration = Duration::from_secs(11);

/// Somebody who may administer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    pub(crate) actor: Actor,
    session: Option<SessionId>,
    /// When the last deed of the request ends. A command is answered when its deeds are done.
    deadline: Option<Instant>,
}

impl Administrator {
    /// Somebody who runs a command on the table itself, which asks for no role: whoever can read and write the table
    /// needs none.
    #[must_use]
    pub fn operator() -> Self {
        Self {
            actor: Actor::Operator,
            session: None,
            deadline: None,
        }
    }

    /// The session of an administrator, so that a list can say which one is theirs.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }
}

/// What an administrator does, for the audit trail.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    action: &'static str,
    user: Option<UserId>,
    session: Option<SessionId>,
    roles: Option<RoleChange>,
    /// What the line says of it when it is done.
    outcome: &'static str,
}

/// The roles of a user before and after a change of them.
#[derive(Clone, Debug)]
struct RoleChange {
    before: BTreeSet<Role>,
    after: BTreeSet<Role>,
}

impl Deed {
    fn new(action: &'static str) -> Self {
        Self {
            action,
            user: None,
            session: None,
            roles: None,
            outcome: "done",
        }
    }

    pub(crate) fn on_user(action: &'static str, user: UserId) -> Self {
        Self::new(action).about(user)
    }

    /// The same, once it is known whom it was about.
    fn about(mut self, user: UserId) -> Self {
        self.user = Some(user);
        self
    }

    /// The same, once it is known that there is no such user.
    fn about_nobody(self) -> Self {
        self.with_outcome(USER_NOT_FOUND)
    }

    /// The same, with another word for how it went.
    fn with_outcome(mut self, outcome: &'static str) -> Self {
        self.outcome = outcome;
        self
    }

    fn on_session(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }
}

impl Service {
    /// The caller as an administrator: the access token has the scope, the session is live, the account has the role
    /// now, and the proof of who they are is recent. 1 trip, 1 read unit, strongly consistent, so that a role that was
    /// withdrawn allows nothing any more. `began` is when the request did, before its token was read.
    ///
    /// # Errors
    /// [`NotAdministrator`]
    pub async fn administrator(
        &self,
        caller: Caller,
        began: Instant,
    ) -> Result<Administrator, Failure<NotAdministrator>> {
        let deadline = began + LONGEST_DEEDS;
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
        if let Err(required) = self.core.require_recent_authentication(caller) {
            log_step_up_refusal(caller);
            return Err(Failure::Refused(required.into()));
        }
        Ok(Administrator {
            actor: Actor::Admin(user_id),
            session: Some(session_id),
            deadline: Some(deadline),
        })
    }

    /// Does what an administrator wants, and leaves the line that says so: in its own task, so that whoever hangs up does
    /// nothing that is not in the audit trail. [`LONGEST_DEEDS`] after the request began it ends, and the line says
    /// `failed`: what was under way then may have been written. What was not is not begun.
    pub(crate) async fn audited<T, W>(
        &self,
        who: &Administrator,
        deed: Deed,
        work: impl FnOnce(Self, Administrator) -> W,
    ) -> Result<T, Failure<AdminError>>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure<AdminError>>> + Send + 'static,
    {
        let same = |_: &T, deed: Deed| deed;
        self.audited_as(who, deed, work, same).await
    }

    /// The same, of which the line tells more when it is done.
    async fn audited_as<T, W>(
        &self,
        who: &Administrator,
        deed: Deed,
        work: impl FnOnce(Self, Administrator) -> W,
        describe: impl FnOnce(&T, Deed) -> Deed + Send + 'static,
    ) -> Result<T, Failure<AdminError>>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure<AdminError>>> + Send + 'static,
    {
        let work = work(self.clone(), who.clone());
        let (hand_over, handed_over) = oneshot::channel();
        let undescribed = deed.clone();
        let work = async move {
            let done = work.await?;
            let deed = describe(&done, undescribed);
            // Whoever hangs up does not wait for it.
            let _ = hand_over.send(done);
            Ok(deed)
        };
        in_own_task(who, deed, Box::pin(work)).await?;
        handed_over.await.map_err(|_| Failure::Internal)
    }
}

/// An act under way. It ends in its deed as the line describes it.
type Work = Pin<Box<dyn Future<Output = Result<Deed, Failure<AdminError>>> + Send>>;

/// Does the work of [`Service::audited`], whatever it results in: what is generic is compiled for each act again.
async fn in_own_task(
    who: &Administrator,
    deed: Deed,
    work: Work,
) -> Result<(), Failure<AdminError>> {
    let (actor, deadline) = (who.actor.clone(), who.deadline);
    let is_late = move || deadline.is_some_and(|deadline| Instant::now() >= deadline);
    let audited = async move {
        let end = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // The time is looked at first: after a freeze it is over, whatever has arrived meanwhile.
        let done = tokio::select! {
            biased;
            () = end => Err(Failure::Unavailable),
            done = work, if !is_late() => done,
        };
        let outcome = outcome(&done);
        done.as_ref().unwrap_or(&deed).log(&actor, outcome);
        ADMIN_ACTIONS.count(1);
        done.map(drop)
    };
    // In the request's span, so that the line has the id of the request.
    tokio::spawn(audited.in_current_span())
        .await
        .map_err(|_| Failure::Internal)?
}

impl Deed {
    fn log(&self, actor: &Actor, outcome: &'static str) {
        let action = self.action;
        let user_id = self.user.map(tracing::field::display);
        let session_id = self.session.map(tracing::field::display);
        let roles = self.roles.as_ref();
        let words = |roles: &BTreeSet<Role>| in_words(roles.iter().map(Role::as_str));
        let before = roles.map(|roles| words(&roles.before));
        let after = roles.map(|roles| words(&roles.after));
        tracing::info!(%actor, action, outcome, user_id, session_id, roles_before = before, roles_after = after, "administration");
    }
}

const USER_NOT_FOUND: &str = "user_not_found";

fn outcome(done: &Result<Deed, Failure<AdminError>>) -> &'static str {
    match done {
        Ok(deed) => deed.outcome,
        Err(Failure::Refused(AdminError::UserNotFound)) => USER_NOT_FOUND,
        Err(Failure::Refused(AdminError::SessionNotFound)) => "session_not_found",
        Err(Failure::Refused(AdminError::TooManyRoles)) => "too_many_roles",
        Err(Failure::Refused(AdminError::NoPassword)) => "no_password",
        Err(Failure::Refused(AdminError::OwnAccount)) => "own_account",
        Err(Failure::Throttled(_) | Failure::Unavailable | Failure::Internal) => "failed",
    }
}

/// An account that is there and not deleted: of a deleted user nothing is shown.
pub(crate) fn not_deleted(account: Option<Account>) -> Result<Account, Failure<AdminError>> {
    account
        .filter(|account| !account.is_deleted())
        .ok_or(Failure::Refused(AdminError::UserNotFound))
}
