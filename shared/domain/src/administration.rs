//! What administration may do to an account, decided as everything is that changes who is signed in: a pure function of
//! the account and the time.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::account::{Account, AccountStatus, Change};
use crate::cause::{Action, Actor, EndReason};
use crate::error::AdminError;
use crate::id::SessionId;
use crate::role::{MAX_ROLES, Role};

/// What an administrator does to a user's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAct {
    /// Ends one session.
    Revoke {
        /// Which.
        target: SessionId,
    },
    /// Ends all sessions.
    RevokeAll,
    /// Closes the account: all sessions end, and nobody can sign in.
    Disable,
    /// Opens a closed account again. Sessions that have ended stay ended.
    Enable,
    /// Replaces the user's roles by these.
    ChangeRoles(BTreeSet<Role>),
    /// Adds one role.
    Grant(Role),
    /// Takes one role away.
    Withdraw(Role),
    /// Deletes the account, as its owner can.
    Delete,
}

impl AdminAct {
    /// The word for it in the cause.
    #[must_use]
    pub fn action(&self) -> Action {
        match self {
            Self::Revoke { .. } => Action::Revoke,
            Self::RevokeAll => Action::RevokeAll,
            Self::Disable => Action::Disable,
            Self::Enable => Action::Enable,
            Self::ChangeRoles(_) | Self::Grant(_) | Self::Withdraw(_) => Action::ChangeRoles,
            Self::Delete => Action::Delete,
        }
    }

    /// Whether somebody who does it to their own account is no administrator any more.
    fn locks_out(&self) -> bool {
        match self {
            Self::Disable | Self::Delete => true,
            Self::ChangeRoles(roles) => !roles.contains(&Role::admin()),
            Self::Withdraw(role) => *role == Role::admin(),
            Self::Revoke { .. } | Self::RevokeAll | Self::Enable | Self::Grant(_) => false,
        }
    }
}

impl Account {
    /// What an administrator's act makes of the account.
    ///
    /// A deleted account stays deleted. Administrators may not lock themselves out by a slip. Two who take the role from
    /// each other at once leave none, and an operator's command makes the next one.
    ///
    /// # Errors
    /// [`AdminError`]
    pub fn administer(
        mut self,
        actor: &Actor,
        act: &AdminAct,
        now: DateTime<Utc>,
    ) -> Result<Change, AdminError> {
        if self.is_deleted() {
            return Err(AdminError::UserNotFound);
        }
        if act.locks_out() && *actor == Actor::Admin(self.id) {
            return Err(AdminError::OwnAccount);
        }
        match act {
            AdminAct::Revoke { target } if !self.sessions.contains(target) => {
                Err(AdminError::SessionNotFound)
            }
            AdminAct::Revoke { target } => Ok(self.end_one(*target, EndReason::Admin)),
            AdminAct::RevokeAll => Ok(self.end_all_but(BTreeSet::new(), EndReason::Admin)),
            AdminAct::Disable => Ok(self.disable()),
            AdminAct::Enable => {
                if let AccountStatus::Disabled { email } = self.status {
                    self.status = AccountStatus::Active { email };
                }
                Ok(self.without_an_end())
            }
            AdminAct::ChangeRoles(roles) => self.with_roles(roles.clone()),
            AdminAct::Grant(role) => {
                let mut roles = self.roles.clone();
                roles.insert(role.clone());
                self.with_roles(roles)
            }
            AdminAct::Withdraw(role) => {
                self.roles.remove(role);
                Ok(self.without_an_end())
            }
            AdminAct::Delete => Ok(self.erase(EndReason::Admin, now)),
        }
    }

    fn with_roles(mut self, roles: BTreeSet<Role>) -> Result<Change, AdminError> {
        if roles.len() > MAX_ROLES {
            return Err(AdminError::TooManyRoles);
        }
        self.roles = roles;
        Ok(self.without_an_end())
    }

    /// The account as it is now to be, where nothing ends.
    fn without_an_end(self) -> Change {
        Change {
            account: self,
            ended: Vec::new(),
            always_write: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::account_of;
    use crate::id::UserId;
    use crate::random::SeededRandom;
    use crate::session::tests::{noon, session};

    fn admin() -> Actor {
        Actor::Admin(UserId::random(&SeededRandom::new(77)))
    }

    fn roles(words: &[&str]) -> BTreeSet<Role> {
        words.iter().map(|word| word.parse().unwrap()).collect()
    }

    fn administer(account: Account, act: &AdminAct) -> Result<Change, AdminError> {
        account.administer(&admin(), act, noon())
    }

    #[test]
    fn ends_are_said_to_be_an_administrators() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let account = account_of(&[&one, &two]);
        let target = one.id;
        let revoke = administer(account.clone(), &AdminAct::Revoke { target }).unwrap();
        assert_eq!(revoke.ended, [(one.id, EndReason::Admin)]);
        assert_eq!(revoke.account.sessions, BTreeSet::from([two.id]));
        let again = administer(revoke.account, &AdminAct::Revoke { target });
        assert_eq!(again, Err(AdminError::SessionNotFound));
        let all = administer(account.clone(), &AdminAct::RevokeAll).unwrap();
        assert!(all.account.sessions.is_empty() && all.always_write);
        let deleted = administer(account, &AdminAct::Delete).unwrap();
        assert!(deleted.account.is_deleted());
        for (_, reason) in all.ended.iter().chain(&deleted.ended) {
            assert_eq!(*reason, EndReason::Admin);
        }
    }

    #[test]
    fn an_enabled_account_is_as_it_was_but_without_sessions() {
        let one = session(1, noon());
        let account = account_of(&[&one]);
        let disabled = administer(account.clone(), &AdminAct::Disable).unwrap();
        assert_eq!(disabled.ended, [(one.id, EndReason::AccountDisabled)]);
        let enabled = administer(disabled.account, &AdminAct::Enable).unwrap();
        assert_eq!(enabled.account.status, account.status);
        assert!(enabled.account.sessions.is_empty() && enabled.ended.is_empty());
        let nothing = administer(account.clone(), &AdminAct::Enable).unwrap();
        assert!(!nothing.must_be_written(&account));
    }

    #[test]
    fn a_deleted_account_is_nobodys() {
        let one = session(1, noon());
        let deleted = administer(account_of(&[&one]), &AdminAct::Delete).unwrap();
        for act in [
            AdminAct::Revoke { target: one.id },
            AdminAct::RevokeAll,
            AdminAct::Disable,
            AdminAct::Enable,
            AdminAct::ChangeRoles(roles(&["admin"])),
            AdminAct::Delete,
        ] {
            let refused = administer(deleted.account.clone(), &act);
            assert_eq!(refused, Err(AdminError::UserNotFound), "{act:?}");
        }
    }

    #[test]
    fn administrators_cannot_lock_themselves_out() {
        let one = session(1, noon());
        let account = account_of(&[&one]);
        let own = |act| {
            let actor = Actor::Admin(account.id);
            account.clone().administer(&actor, &act, noon()).map(drop)
        };
        for act in [
            AdminAct::Disable,
            AdminAct::Delete,
            AdminAct::ChangeRoles(roles(&[])),
            AdminAct::ChangeRoles(roles(&["clerk"])),
            AdminAct::Withdraw(Role::admin()),
        ] {
            assert_eq!(own(act.clone()), Err(AdminError::OwnAccount), "{act:?}");
            assert!(administer(account.clone(), &act).is_ok(), "another's");
            let operator = account.clone().administer(&Actor::Operator, &act, noon());
            assert!(operator.is_ok(), "a command's");
        }
        for act in [
            AdminAct::Revoke { target: one.id },
            AdminAct::RevokeAll,
            AdminAct::Enable,
            AdminAct::ChangeRoles(roles(&["admin", "clerk"])),
            AdminAct::Withdraw("clerk".parse().unwrap()),
        ] {
            assert_eq!(own(act.clone()), Ok(()), "{act:?}");
        }
    }

    #[test]
    fn roles_are_replaced_added_and_taken_away_up_to_a_number() {
        let account = account_of(&[]);
        let changed = |account: &Account, act| {
            let change = administer(account.clone(), &act).unwrap();
            assert!(change.ended.is_empty());
            change.account
        };
        let clerk = changed(&account, AdminAct::ChangeRoles(roles(&["clerk"])));
        let both = changed(&clerk, AdminAct::Grant(Role::admin()));
        assert_eq!(both.roles, roles(&["admin", "clerk"]));
        assert_eq!(changed(&both, AdminAct::Grant(Role::admin())), both);
        assert_eq!(changed(&both, AdminAct::Withdraw(Role::admin())), clerk);
        assert_eq!(changed(&clerk, AdminAct::Withdraw(Role::admin())), clerk);
        let words: Vec<String> = (0..=MAX_ROLES).map(|n| format!("role{n}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let full = changed(&account, AdminAct::ChangeRoles(roles(&words[..MAX_ROLES])));
        for act in [
            AdminAct::ChangeRoles(roles(&words)),
            AdminAct::Grant(Role::admin()),
        ] {
            let refused = administer(full.clone(), &act);
            assert_eq!(refused, Err(AdminError::TooManyRoles));
        }
    }
}
