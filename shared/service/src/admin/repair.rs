//! Repairing an account that no request can read, because somebody has written it by hand in another form.

use latchkey_domain::cause::{Action, Cause};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::AdminError;
use latchkey_domain::id::UserId;
use latchkey_domain::identity::Identity;
use latchkey_store::AccountForm;

use super::{Administrator, Deed};
use crate::metric::REVOCATIONS;
use crate::{Failure, Service};

/// How often an account is read again that somebody else writes meanwhile.
const ATTEMPTS: usize = 3;

/// What leads to a user whose account itself cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeadsToUser {
    /// The address of somebody with a password.
    Address(EmailAddress),
    /// Who somebody is elsewhere.
    Identity(Identity),
}

/// What a repair finds, and leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The account can be read.
    NotNeeded,
    /// It could be repaired.
    Possible(Damage),
    /// It was repaired.
    Done(Damage),
    /// Something else of it is broken, which only somebody who knows what stood there can mend. Nothing was written.
    Beyond,
}

/// What is broken about an account, and what its repair costs its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The attributes that are not in their form, by their names in the table.
    pub attributes: Vec<&'static str>,
    /// How many sessions end by the repair.
    pub sessions: usize,
}

impl Service {
    /// The user that an address or an identity leads to, whose account is not looked at. 1 trip, 1 read unit.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only.
    pub async fn find_user_id(
        &self,
        who: &Administrator,
        leads: LeadsToUser,
    ) -> Result<Option<UserId>, Failure<AdminError>> {
        let find = |service: Self, _| async move {
            Ok(match leads {
                LeadsToUser::Address(email) => {
                    let credential = service.store.read_credential(&email).await?;
                    credential.map(|credential| credential.user_id)
                }
                LeadsToUser::Identity(identity) => service.store.read_identity(&identity).await?,
            })
        };
        let describe = |found: &Option<UserId>, deed: Deed| match found {
            Some(user) => deed.about(*user),
            None => deed.about_nobody(),
        };
        self.audited_as(who, Deed::new("find_user"), find, describe)
            .await
    }

    /// What a repair of an account would do. 1 trip, 1 read unit.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`]
    pub async fn inspect_account(
        &self,
        who: &Administrator,
        user: UserId,
    ) -> Result<Repair, Failure<AdminError>> {
        let inspect = move |service: Self, who: Administrator| async move {
            let cause = service.cause(&who);
            Ok(match service.store.read_account_form(user, &cause).await? {
                AccountForm::Missing => return Err(Failure::Refused(AdminError::UserNotFound)),
                AccountForm::Readable => Repair::NotNeeded,
                AccountForm::Repairable(broken) => Repair::Possible(Damage {
                    sessions: broken.sessions.len(),
                    attributes: broken.attributes,
                }),
                AccountForm::Beyond => Repair::Beyond,
            })
        };
        let deed = Deed::on_user("inspect_account", user);
        self.audited_as(who, deed, inspect, describe_repair).await
    }

    /// Makes an account readable again that somebody has written in another form: it gets the `change` that is written
    /// with every change, whatever its status, and its user is signed out. 2 trips, 1 write unit. One that can be read
    /// stays as it is.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`]
    pub async fn repair_account(
        &self,
        who: &Administrator,
        user: UserId,
    ) -> Result<Repair, Failure<AdminError>> {
        let repair = move |service: Self, who: Administrator| async move {
            for _ in 0..ATTEMPTS {
                let cause = service.cause(&who);
                let broken = match service.store.read_account_form(user, &cause).await? {
                    AccountForm::Missing => return Err(Failure::Refused(AdminError::UserNotFound)),
                    AccountForm::Readable => return Ok(Repair::NotNeeded),
                    AccountForm::Beyond => return Ok(Repair::Beyond),
                    AccountForm::Repairable(broken) => broken,
                };
                if service.store.repair_account(&broken, &cause).await? {
                    let sessions = broken.sessions.len();
                    REVOCATIONS.count(sessions);
                    let attributes = broken.attributes;
                    return Ok(Repair::Done(Damage {
                        attributes,
                        sessions,
                    }));
                }
            }
            Err(Failure::Unavailable)
        };
        let deed = Deed::on_user("repair_account", user);
        self.audited_as(who, deed, repair, describe_repair).await
    }

    /// What is written with the account: that all its sessions have ended, which is what a repair means for its user.
    fn cause(&self, who: &Administrator) -> Cause {
        Cause {
            action: Action::RevokeAll,
            actor: who.actor.clone(),
            at: self.core.now(),
        }
    }
}

fn describe_repair(repair: &Repair, deed: Deed) -> Deed {
    match repair {
        Repair::Done(_) => deed,
        Repair::Possible(_) => deed.with_outcome("repairable"),
        Repair::NotNeeded => deed.with_outcome("not_needed"),
        Repair::Beyond => deed.with_outcome("beyond_repair"),
    }
}
