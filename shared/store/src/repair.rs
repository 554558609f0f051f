//! Repairing an account that somebody has written by hand in another form, so that no request can read it.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::{Cause, EndReason};
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{ChangeId, SessionId, UserId};
use serde::de::DeserializeOwned;

use crate::Store;
use crate::audit::log_ends;
use crate::change::{WriteOutcome, own_write};
use crate::expression::Expression;
use crate::item::{ChangeAttribute, account_from_item, attribute, number};
use crate::keys::{Item, Key};

/// What a repair writes anew or takes away. Everything else of an account is kept, and nobody can make it up.
const REPLACED: [&str; 3] = [
    attribute::CHANGE,
    attribute::PREVIOUS_CHANGE,
    attribute::SESSIONS,
];

/// Whether an account is in the form that is written here.
#[derive(Clone, Debug)]
pub enum AccountForm {
    /// There is none.
    Missing,
    /// It is: there is nothing to repair.
    Readable,
    /// It is not, and a repair makes it so.
    Repairable(Box<BrokenAccount>),
    /// It is not, and what is broken cannot be known again.
    Beyond,
}

/// An account that cannot be read, and how a repair leaves it.
#[derive(Clone, Debug)]
pub struct BrokenAccount {
    repaired: Account,
    /// The names of the attributes that are not in their form.
    pub attributes: Vec<&'static str>,
    /// The sessions that it admits, as far as they can be read: the repair ends them.
    pub sessions: BTreeSet<SessionId>,
}

impl Store {
    /// Reads an account of any form. `cause` is what a repair would write. Strongly consistent; 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_account_form(
        &self,
        user: UserId,
        cause: &Cause,
    ) -> Result<AccountForm, StoreError> {
        let Some(mut item) = self.get(Key::account(user)).await? else {
            return Ok(AccountForm::Missing);
        };
        if account_from_item(item.clone()).is_ok() {
            return Ok(AccountForm::Readable);
        }
        let attributes = broken_attributes(&item);
        let sessions = item.get(attribute::SESSIONS).map(readable_sessions);
        for name in REPLACED {
            item.remove(name);
        }
        let change = ChangeAttribute::new(self.new_stamp(), cause, &[]);
        item.insert(attribute::CHANGE.to_owned(), change.to_attribute()?);
        Ok(match account_from_item(item) {
            Ok(stamped) => AccountForm::Repairable(Box::new(BrokenAccount {
                repaired: stamped.account,
                attributes,
                sessions: sessions.unwrap_or_default(),
            })),
            Err(_) => AccountForm::Beyond,
        })
    }

    /// Gives an account a `change` in today's form and signs its user out, on the condition that nobody has written it
    /// since it was read. Returns whether it is written; 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn repair_account(
        &self,
        broken: &BrokenAccount,
        cause: &Cause,
    ) -> Result<bool, StoreError> {
        let account = &broken.repaired;
        let ended = broken.sessions.iter();
        let change = Change {
            account: account.clone(),
            ended: ended.map(|id| (*id, EndReason::Admin)).collect(),
            always_write: true,
        };
        let stamp = self.new_stamp();
        let written = ChangeAttribute::new(stamp, cause, &change.ended);
        let update = Expression::default()
            .only_if("#version = :read_version")
            .name(attribute::VERSION)
            .value("read_version", number(account.version))
            .set(attribute::VERSION, number(account.version + 1))
            .set(attribute::CHANGE, written.to_attribute()?)
            .remove(attribute::PREVIOUS_CHANGE)
            .remove(attribute::SESSIONS);
        let mut retries = self.retries();
        let sent = self.send_account_update(account.id, &update, &mut retries);
        let is_written = match sent.await? {
            Ok(()) => true,
            Err(mut conditions) => {
                let after_lost_reply = conditions.after_lost_reply;
                // Nothing says of one that is broken again, or gone, whether it was written by us.
                let found = conditions.take_only().map(account_from_item);
                let found = found.and_then(Result::ok);
                match own_write(found, after_lost_reply, account, stamp) {
                    Some(WriteOutcome::Written | WriteOutcome::Followed { .. }) => true,
                    Some(WriteOutcome::Forgotten) => return Err(StoreError::Unavailable),
                    Some(_) | None => false,
                }
            }
        };
        if is_written {
            log_ends(account.id, &change, cause);
        }
        Ok(is_written)
    }
}

/// Which of the attributes that a repair replaces are not in their form.
fn broken_attributes(item: &Item) -> Vec<&'static str> {
    let is_broken = |name: &&'static str| match (*name, item.get(*name)) {
        (attribute::CHANGE, None) => true,
        (_, None) => false,
        (attribute::CHANGE, Some(value)) => reads_as::<ChangeAttribute>(value).is_none(),
        (attribute::PREVIOUS_CHANGE, Some(value)) => reads_as::<ChangeId>(value).is_none(),
        (_, Some(AttributeValue::Ss(ids))) => ids.iter().any(|id| id.parse::<SessionId>().is_err()),
        (_, Some(_)) => true,
    };
    REPLACED.into_iter().filter(is_broken).collect()
}

fn reads_as<T: DeserializeOwned>(value: &AttributeValue) -> Option<T> {
    serde_dynamo::aws_sdk_dynamodb_1::from_attribute_value(value.clone()).ok()
}

fn readable_sessions(value: &AttributeValue) -> BTreeSet<SessionId> {
    let ids = value.as_ss().map_or(&[][..], Vec::as_slice);
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}
