//! The one way in which who is signed in changes: the account as it was decided, on the condition that it is still as it
//! was read, together with whatever belongs to the change.

use std::borrow::Cow;

use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::Cause;
use latchkey_domain::credential::Credential;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{ChangeId, SessionId};
use latchkey_domain::identity::Identity;
use latchkey_domain::password::PasswordHash;
use latchkey_domain::session::Session;

use crate::Store;
use crate::audit::log_ends;
use crate::credential::{credential_as_verified, replace_hash};
use crate::expression::Expression;
use crate::identity::identity_of;
use crate::item::{
    ChangeAttribute, StampedAccount, account_from_item, account_to_item, attribute,
    credential_from_item, credential_to_item, number, session_to_item,
};
use crate::keys::Key;
use crate::refusal::{FailedConditions, PartHandle};
use crate::retry::Retries;

/// What is written in one transaction with an account.
///
/// ```
/// use std::borrow::Cow;
///
/// use latchkey_domain::account::{Account, Change};
/// use latchkey_domain::cause::Cause;
/// use latchkey_domain::error::StoreError;
/// use latchkey_domain::session::Session;
/// use latchkey_store::{Part, Store, WriteOutcome};
///
/// # async fn example(
/// #     store: &Store, before: &Account, change: &Change, session: &Session, cause: Cause,
/// # ) -> Result<WriteOutcome, StoreError> {
/// // The account and the new session's item are written together or not at all.
/// let parts = [Part::NewSession(Cow::Borrowed(session))];
/// let (stamp, mut retries) = (store.new_stamp(), store.retries());
/// store.write_change(before, change, &cause, &parts, stamp, &mut retries).await
/// # }
/// ```
#[expect(
    clippy::large_enum_variant,
    reason = "a request makes two or three, and the large one is the usual one"
)]
#[derive(Clone, Debug)]
pub enum Part<'a> {
    /// The item of the session that the change admits. There must be none yet.
    NewSession(Cow<'a, Session>),
    /// The end of a session's item, when its session ends by the change.
    NoSession(SessionId),
    /// Another hash for the credential whose password was verified, and the number of its password.
    Hash {
        /// The credential as it was verified.
        verified: &'a Credential,
        /// The hash that replaces it.
        hash: &'a PasswordHash,
        /// The number that the account has after the change.
        password_version: u64,
    },
    /// The same password under another address, where there must be no credential yet.
    NewCredential {
        /// The address.
        email: &'a EmailAddress,
        /// What is to stand there.
        credential: &'a Credential,
    },
    /// The end of the credential whose password was verified.
    NoCredential {
        /// The credential as it was verified.
        verified: &'a Credential,
    },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It is written, by this attempt or by an earlier one whose reply was lost.
    Written,
    /// It was written by an earlier attempt whose reply was lost, and another change has followed it.
    Followed {
        /// The account after both.
        account: Box<Account>,
    },
    /// Whether it was written cannot be known: the reply to an attempt was lost, and since then the account is gone, or it
    /// has changed more often than it remembers.
    Forgotten,
    /// Somebody else has the address that the new credential is for.
    EmailTaken,
    /// Account or credential are no longer as they were read: read and decide again.
    Overtaken,
    /// An earlier attempt of this request was written: the item of the session that it admits is there, whose id is this
    /// request's own. The account has changed since: read again, and do not decide again.
    WrittenBefore,
}

impl Store {
    /// Writes a change. `stamp` is one for all attempts of a request: it tells this request's write from all others.
    ///
    /// Costs 1 write unit; with parts 2 for each item of the transaction, and 1 more for each item of a session that is
    /// made or deleted, for the index.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn write_change(
        &self,
        before: &Account,
        change: &Change,
        cause: &Cause,
        parts: &[Part<'_>],
        stamp: ChangeId,
        retries: &mut Retries<'_>,
    ) -> Result<WriteOutcome, StoreError> {
        let account = account_update(before, change, cause, stamp)?;
        let write = ChangeWrite {
            before,
            account: &account,
            parts,
        };
        let lost_identity = before.identity.as_ref();
        let lost_identity = lost_identity.filter(|_| change.account.identity.is_none());
        let mut sent = self.send_change(&write, lost_identity, retries).await?;
        if sent.identity_is_anothers() {
            // Its item was lost once, and the person has a newer account since: this one goes without it.
            sent = self.send_change(&write, None, retries).await?;
        }
        let SentChange {
            mut conditions,
            account,
            new_session,
            new_credential,
            ..
        } = sent;
        let outcome = if let Some(conditions) = &mut conditions {
            let found = conditions.take_item(account).map(account_from_item);
            let found = found.transpose()?;
            // An account that is as it was read says that the address alone stands in the way.
            let in_the_way = new_credential.filter(|_| found.is_none());
            let in_the_way = in_the_way.and_then(|part| conditions.take_item(part));
            let in_the_way = in_the_way.map(credential_from_item).transpose()?;
            let is_taken = in_the_way.is_some_and(|credential| credential.is_anothers(before.id));
            let own_write = own_write(found, conditions.after_lost_reply, before, stamp);
            match own_write {
                Some(outcome) => outcome,
                None if is_taken => WriteOutcome::EmailTaken,
                None if new_session.is_some_and(|part| conditions.take_item(part).is_some()) => {
                    WriteOutcome::WrittenBefore
                }
                None => WriteOutcome::Overtaken,
            }
        } else {
            WriteOutcome::Written
        };
        match outcome {
            WriteOutcome::Written | WriteOutcome::Followed { .. } => {
                log_ends(before.id, change, cause);
            }
            WriteOutcome::Forgotten
            | WriteOutcome::EmailTaken
            | WriteOutcome::Overtaken
            | WriteOutcome::WrittenBefore => {}
        }
        Ok(outcome)
    }

    /// Sends a change: one update, or one transaction with its parts and the end of the identity that the account loses.
    async fn send_change(
        &self,
        write: &ChangeWrite<'_>,
        lost_identity: Option<&Identity>,
        retries: &mut Retries<'_>,
    ) -> Result<SentChange, StoreError> {
        let ChangeWrite {
            before,
            account,
            parts,
        } = write;
        if parts.is_empty() && lost_identity.is_none() {
            let sent = self
                .send_account_update(before.id, account, retries)
                .await?;
            return Ok(SentChange {
                conditions: sent.err(),
                account: PartHandle::ONLY,
                new_session: None,
                new_credential: None,
                identity: None,
            });
        }
        let mut transaction = self.begin_transaction();
        let account = transaction.update(Key::account(before.id), account);
        let mut new_session = None;
        let mut new_credential = None;
        for part in *parts {
            match part {
                Part::NewSession(session) => {
                    new_session = Some(transaction.put_new(session_to_item(session)?));
                }
                Part::NoSession(session) => {
                    let key = Key::session(before.id, *session);
                    transaction.delete(key, &Expression::default());
                }
                Part::Hash {
                    verified,
                    hash,
                    password_version,
                } => {
                    let key =
                        Key::credential(before.credential_email().ok_or(StoreError::Corrupt)?);
                    transaction.update(key, &replace_hash(verified, hash, *password_version));
                }
                Part::NewCredential { email, credential } => {
                    let item = credential_to_item(email, credential)?;
                    new_credential = Some(transaction.put_new(item));
                }
                Part::NoCredential { verified } => {
                    let key =
                        Key::credential(before.credential_email().ok_or(StoreError::Corrupt)?);
                    transaction.delete(key, &credential_as_verified(verified));
                }
            }
        }
        // Whoever deletes the account: what leads to it goes in the same transaction, so nothing is left to find.
        let identity = lost_identity
            .map(|identity| transaction.delete(Key::identity(identity), &identity_of(before.id)));
        let sent = self.transact(transaction, retries).await?;
        Ok(SentChange {
            conditions: sent.err(),
            account,
            new_session,
            new_credential,
            identity,
        })
    }
}

/// What is written of a change.
struct ChangeWrite<'a> {
    before: &'a Account,
    account: &'a Expression,
    parts: &'a [Part<'a>],
}

/// What became of it, and which part was which.
struct SentChange {
    conditions: Option<FailedConditions>,
    account: PartHandle,
    new_session: Option<PartHandle>,
    new_credential: Option<PartHandle>,
    identity: Option<PartHandle>,
}

impl SentChange {
    /// Whether it was not made because the identity leads to another account.
    fn identity_is_anothers(&mut self) -> bool {
        let conditions = self.conditions.as_mut();
        let met = |conditions: &mut FailedConditions| conditions.take_item(self.identity?);
        conditions.and_then(met).is_some()
    }
}

/// What the account that a failed condition met says of this change: if it is the last one or the one before, the write
/// had been made and only its reply was lost. An account remembers no more. `None` if the write was not made.
pub(crate) fn own_write(
    found: Option<StampedAccount>,
    after_lost_reply: bool,
    before: &Account,
    stamp: ChangeId,
) -> Option<WriteOutcome> {
    let Some(found) = found else {
        return after_lost_reply.then_some(WriteOutcome::Forgotten);
    };
    match found.account.version.checked_sub(before.version) {
        Some(1) if found.change == stamp => Some(WriteOutcome::Written),
        Some(2) if found.previous_change == Some(stamp) => Some(WriteOutcome::Followed {
            account: Box::new(found.account),
        }),
        // A repair forgets what was before it.
        Some(2) if after_lost_reply && found.previous_change.is_none() => {
            Some(WriteOutcome::Forgotten)
        }
        Some(3..) if after_lost_reply => Some(WriteOutcome::Forgotten),
        Some(_) | None => None,
    }
}

/// The update that makes one account another, on the condition that it is as it was read; the condition fails for an
/// account that is gone, so none is made by an update.
///
/// Both are written as items and compared, so it names only what differs (`SET #sessions = :sessions, #version =
/// :version, ... REMOVE #email`), and attributes that this version of the service does not know stay as they are.
fn account_update(
    before: &Account,
    change: &Change,
    cause: &Cause,
    stamp: ChangeId,
) -> Result<Expression, StoreError> {
    let mut after = change.account_at(cause.at);
    after.version = before.version + 1;
    let written = ChangeAttribute::new(stamp, cause, &change.ended);
    let old = account_to_item(before, &written)?;
    let new = account_to_item(&after, &written)?;
    let mut update = Expression::default()
        .only_if("#version = :read_version")
        .name(attribute::VERSION)
        .value("read_version", number(before.version))
        .set_to_field(
            attribute::PREVIOUS_CHANGE,
            (attribute::CHANGE, attribute::CHANGE_ID),
        )
        .set(attribute::CHANGE, written.to_attribute()?);
    for (name, value) in &new {
        if old.get(name) != Some(value) {
            update = update.set(name, value.clone());
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        update = update.remove(name);
    }
    Ok(update)
}
