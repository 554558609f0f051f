//! What administration changes about an account: its status, its roles, its end.

use std::collections::{BTreeSet, VecDeque};

use latchkey_domain::account::{Account, Change};
use latchkey_domain::administration::AdminAct;
use latchkey_domain::cause::{Action, Actor};
use latchkey_domain::credential::Credential;
use latchkey_domain::error::AdminError;
use latchkey_domain::id::UserId;
use latchkey_domain::role::Role;
use latchkey_store::Part;

use super::{Administrator, Deed, RoleChange, not_deleted};
use crate::change::{Changed, Intent, has_ended};
use crate::fit::{Fit, Readings};
use crate::metric::REVOCATIONS;
use crate::{Failure, Service};

/// What is to be another about an account; what is left out stays.
///
/// ```
/// use latchkey_service::AccountUpdate;
///
/// let closed = AccountUpdate {
///     active: Some(false),
///     ..AccountUpdate::default()
/// };
/// assert_eq!(closed.roles, None, "the roles stay");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountUpdate {
    /// Whether the account may be used.
    pub active: Option<bool>,
    /// All roles of the user.
    pub roles: Option<BTreeSet<Role>>,
}

impl AccountUpdate {
    /// What is done, in an order in which nobody has for a moment more than they are to have: an account is closed
    /// before its roles change, and opened after.
    fn acts(self) -> VecDeque<AdminAct> {
        let roles = self.roles.map(AdminAct::ChangeRoles);
        match self.active {
            Some(true) => roles.into_iter().chain([AdminAct::Enable]).collect(),
            Some(false) => [AdminAct::Disable].into_iter().chain(roles).collect(),
            None => roles.into_iter().collect(),
        }
    }
}

impl Service {
    /// Changes the status or the roles of a user, or both. 2 trips and 1 write unit for each of them. Returns the
    /// account as it is then.
    ///
    /// Status and roles are two changes, each with its cause; of both, the first may be made and the second fail. Look at
    /// the account then, and repeat the request if it is still to be so.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`], [`AdminError::OwnAccount`], [`AdminError::TooManyRoles`];
    /// [`Failure::Unavailable`] also if the user is deleted between the two
    pub async fn update_account(
        &self,
        who: &Administrator,
        user: UserId,
        update: AccountUpdate,
    ) -> Result<Account, Failure<AdminError>> {
        let mut account = None;
        let mut acts = update.acts();
        while let Some(act) = acts.pop_front() {
            let changed = self.change_user(who, user, act, &acts).await;
            account = match changed {
                // The first change may have been made, so the request is not refused.
                Err(Failure::Refused(_)) if account.is_some() => return Err(Failure::contended()),
                changed => Some(changed?),
            };
        }
        match account {
            Some(account) => Ok(account),
            None => self.show_user(who, user).await,
        }
    }

    /// Gives a user one more role. 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`], [`AdminError::TooManyRoles`]
    pub async fn grant_role(
        &self,
        who: &Administrator,
        user: UserId,
        role: Role,
    ) -> Result<Account, Failure<AdminError>> {
        let nothing = VecDeque::new();
        self.change_user(who, user, AdminAct::Grant(role), &nothing)
            .await
    }

    /// Takes a role from a user. 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`], [`AdminError::OwnAccount`]
    pub async fn withdraw_role(
        &self,
        who: &Administrator,
        user: UserId,
        role: Role,
    ) -> Result<Account, Failure<AdminError>> {
        let nothing = VecDeque::new();
        self.change_user(who, user, AdminAct::Withdraw(role), &nothing)
            .await
    }

    /// Does an act that leaves a user behind, if the rules allow those that are to follow it too.
    async fn change_user(
        &self,
        who: &Administrator,
        user: UserId,
        act: AdminAct,
        following: &VecDeque<AdminAct>,
    ) -> Result<Account, Failure<AdminError>> {
        let action = act.action();
        let following = following.clone();
        let work = move |service: Self, who: Administrator| async move {
            let account = not_deleted(service.store.read_account(user).await?)?;
            for act in &following {
                let decided = account.clone();
                let decided = decided.administer(&who.actor, act, service.core.now());
                decided.map_err(Failure::Refused)?;
            }
            let reading = Reading::of(account);
            let changed = service.administer(&who, user, act, reading).await?;
            REVOCATIONS.count(changed.ended().count());
            let roles = role_change(&changed);
            let account = match changed {
                // It was written, so it is not refused.
                Changed::Written { account, .. } if account.is_deleted() => {
                    return Err(Failure::contended());
                }
                // As it is now, also if somebody else has changed it since.
                Changed::Written { account, .. } => Some(account),
                Changed::Fulfilled { account } => account,
            };
            Ok((not_deleted(account)?, roles))
        };
        let describe = move |(_, roles): &(Account, RoleChange), mut deed: Deed| {
            deed.roles = (action == Action::ChangeRoles).then(|| roles.clone());
            deed
        };
        let deed = Deed::on_user(action.as_str(), user);
        let (account, _) = self.audited_as(who, deed, work, describe).await?;
        Ok(account)
    }

    /// Deletes a user as the user could: all sessions end at once, then everything that is kept of them goes.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`], [`AdminError::OwnAccount`]
    pub async fn delete_user(
        &self,
        who: &Administrator,
        user: UserId,
    ) -> Result<(), Failure<AdminError>> {
        let delete = move |service: Self, who: Administrator| async move {
            let reading = service.read_for_deletion(user).await?;
            let account = not_deleted(reading.account.clone())?;
            let allowed = account.clone();
            let allowed = allowed.administer(&who.actor, &AdminAct::Delete, service.core.now());
            allowed.map_err(Failure::Refused)?;
            // First, because nothing of the account leads to them when it is empty.
            service.forget_refused_sign_ins(&account).await?;
            let changed = service
                .administer(&who, user, AdminAct::Delete, reading)
                .await?;
            REVOCATIONS.count(changed.ended().count());
            service.finish_deletion(user).await;
            Ok(())
        };
        self.audited(who, Deed::on_user("delete", user), delete)
            .await
    }

    /// Does an administrator's act by the one loop that changes who is signed in.
    pub(super) async fn administer(
        &self,
        who: &Administrator,
        user: UserId,
        act: AdminAct,
        reading: Reading,
    ) -> Result<Changed<Reading>, Failure<AdminError>> {
        let intent = Administration {
            service: self,
            actor: &who.actor,
            user,
            act,
        };
        self.change(&intent, reading).await
    }

    /// Reads the account, and the credential that goes with it: one that a reading does not show would outlive the account.
    /// Items that are broken can be deleted all the same.
    async fn read_for_deletion(&self, user: UserId) -> Result<Reading, Failure<AdminError>> {
        let mut readings = Readings::new(&self.store);
        let (account, credential) = loop {
            let account = self.store.read_account(user).await?;
            let credential = self.credential_of(account.as_ref()).await?;
            match readings
                .judge(account.as_ref(), credential.as_ref())
                .await?
            {
                Fit::Fits | Fit::Broken(_) => break (account, credential),
                Fit::Apart => {}
            }
        };
        Ok(Reading {
            account,
            // What stands under the address may be another user's: an import by hand, or a restored backup.
            credential: credential.filter(|credential| credential.user_id == user),
        })
    }
}

/// The roles before and after what this request has written. If it has written nothing, they stay.
fn role_change(changed: &Changed<Reading>) -> RoleChange {
    let roles = |account: Option<&Account>| {
        let roles = account.map(|account| &account.roles);
        roles.cloned().unwrap_or_default()
    };
    let (before, after) = match changed {
        Changed::Written {
            reading, change, ..
        } => (reading.account.as_ref(), Some(&change.account)),
        Changed::Fulfilled { account } => (account.as_ref(), account.as_ref()),
    };
    RoleChange {
        before: roles(before),
        after: roles(after),
    }
}

/// What an act is decided on.
#[derive(Debug)]
pub(super) struct Reading {
    account: Option<Account>,
    /// Only for a deletion, which takes it away too.
    credential: Option<Credential>,
}

impl Reading {
    /// The account alone.
    pub(super) fn of(account: Account) -> Self {
        Self {
            account: Some(account),
            credential: None,
        }
    }
}

/// An administrator's act on an account.
struct Administration<'a> {
    service: &'a Service,
    actor: &'a Actor,
    user: UserId,
    act: AdminAct,
}

impl Intent for Administration<'_> {
    type Reading = Reading;
    type Refusal = AdminError;

    fn action(&self) -> Action {
        self.act.action()
    }

    fn actor(&self) -> Actor {
        self.actor.clone()
    }

    fn account<'r>(&self, reading: &'r Reading) -> Option<&'r Account> {
        reading.account.as_ref()
    }

    async fn read_again(&self) -> Result<Reading, Failure<AdminError>> {
        if self.act == AdminAct::Delete {
            return self.service.read_for_deletion(self.user).await;
        }
        Ok(Reading {
            account: self.service.store.read_account(self.user).await?,
            credential: None,
        })
    }

    fn decide(&self, reading: &Reading) -> Result<Change, AdminError> {
        let account = reading.account.clone().ok_or(AdminError::UserNotFound)?;
        account.administer(self.actor, &self.act, self.service.core.now())
    }

    fn parts<'a>(&'a self, reading: &'a Reading, _: &'a Change) -> Vec<Part<'a>> {
        let verified = reading.credential.as_ref();
        let part = verified.map(|verified| Part::NoCredential { verified });
        part.into_iter().collect()
    }

    fn is_fulfilled(&self, first: &Change, account: Option<&Account>) -> bool {
        match self.act {
            // Gone is gone, whoever has deleted it.
            AdminAct::Delete => account.is_none_or(Account::is_deleted),
            // A session that has ended is not signed in any more, and nobody is whose user is gone.
            AdminAct::Revoke { .. } | AdminAct::RevokeAll => {
                has_ended(self.action(), first, account)
            }
            AdminAct::Disable
            | AdminAct::Enable
            | AdminAct::ChangeRoles(_)
            | AdminAct::Grant(_)
            | AdminAct::Withdraw(_) => false,
        }
    }
}
