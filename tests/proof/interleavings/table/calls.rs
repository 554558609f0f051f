//! What a request asks of the table, and what it hears.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use latchkey_domain::id::SessionId;

use super::{AccountItem, CredentialItem, SessionItem, Token, name};

/// One part of a transaction.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Write {
    /// The account of `write_change`: on the condition that the account is as it was read.
    Account {
        /// As it was read.
        before: AccountItem,
        /// As it is to be.
        after: AccountItem,
    },
    /// `put_new`: on the condition that there is no such item.
    NewSession(SessionItem),
    /// The end of a session's item, without a condition.
    NoSession(SessionId),
    /// `Part::Hash`: on the condition that it is the version that was verified.
    Credential {
        /// The credential whose password was verified.
        verified: CredentialItem,
        /// As it is to be.
        after: CredentialItem,
    },
    /// `Part::NewCredential`: on the condition that there is none at its address.
    NewCredential(CredentialItem),
    /// `Part::NoCredential`: on the same condition.
    NoCredential {
        /// The credential whose password was verified.
        verified: CredentialItem,
    },
}

/// A single DynamoDB call. Reads are strongly consistent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// `GetItem` of the credential of this address.
    GetCredential(u64),
    /// `GetItem` of the account, or a query's step that reads it.
    GetAccount,
    /// `GetItem` of a session.
    GetSession(SessionId),
    /// A query's step: the first session item behind `after`, up to `last`, as it is at this moment.
    QueryNext {
        /// The item that the query has just read.
        after: Option<SessionId>,
        /// Where the query ends.
        last: Option<SessionId>,
    },
    /// `UpdateItem` of the account, on the condition that it is as it was read.
    UpdateAccount {
        /// As it was read.
        before: AccountItem,
        /// As it is to be.
        after: AccountItem,
    },
    /// `UpdateItem` of a session, on the condition that the rotation is the token's and may be replaced, and that it has
    /// not expired.
    Rotate {
        /// The session.
        session: SessionId,
        /// The token's rotation.
        presented: u64,
        /// The time of the request.
        now: DateTime<Utc>,
        /// A rotation that is not the first must be as old as this.
        due: DateTime<Utc>,
        /// The new idle expiry.
        idle_expires_at: DateTime<Utc>,
    },
    /// `UpdateItem` of a session that leaves its rotation as it is, on the condition that it has not expired.
    Prove {
        /// The session.
        session: SessionId,
        /// The time of the request.
        now: DateTime<Utc>,
    },
    /// `TransactWriteItems`.
    Transact {
        /// Makes a repeated one harmless.
        token: Token,
        /// Its parts.
        writes: Vec<Write>,
    },
    /// One delete of a `BatchWriteItem`, which is no transaction: unconditional.
    DeleteSession(SessionId),
    /// `DeleteItem` of a session, on the condition that its rotation is as it was read.
    DeleteSessionUnlessRefreshed {
        /// The session.
        id: SessionId,
        /// Its rotation as it was read.
        rotation: u64,
    },
    /// `DeleteItem` of the account, on the condition that it is deleted.
    DeleteDeletedAccount,
}

impl Call {
    /// Whether it may change the table.
    #[must_use]
    pub fn is_write(&self) -> bool {
        match self {
            Self::GetCredential(_)
            | Self::GetAccount
            | Self::GetSession(_)
            | Self::QueryNext { .. } => false,
            Self::UpdateAccount { .. }
            | Self::Rotate { .. }
            | Self::Prove { .. }
            | Self::Transact { .. }
            | Self::DeleteSession(_)
            | Self::DeleteSessionUnlessRefreshed { .. }
            | Self::DeleteDeletedAccount => true,
        }
    }
}

impl Call {
    /// Whether its sender can hear of a conflict with another write. A batch's deletes are asked for again.
    #[must_use]
    pub fn may_conflict(&self) -> bool {
        match self {
            Self::UpdateAccount { .. }
            | Self::Rotate { .. }
            | Self::Prove { .. }
            | Self::Transact { .. } => true,
            Self::GetCredential(_)
            | Self::GetAccount
            | Self::GetSession(_)
            | Self::QueryNext { .. }
            | Self::DeleteSession(_)
            | Self::DeleteSessionUnlessRefreshed { .. }
            | Self::DeleteDeletedAccount => false,
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GetCredential(address) => write!(f, "GetItem credential {address}"),
            Self::GetAccount => write!(f, "GetItem account"),
            Self::GetSession(id) => write!(f, "GetItem {}", name(*id)),
            Self::QueryNext { after: None, .. } => write!(f, "Query, first session"),
            Self::QueryNext {
                after: Some(id), ..
            } => write!(f, "Query, next after {}", name(*id)),
            Self::UpdateAccount { before, after } => {
                write!(f, "UpdateItem {after:?} if v{}", before.version)
            }
            Self::Rotate {
                session, presented, ..
            } => {
                write!(
                    f,
                    "UpdateItem {} to rotation {} if {presented}",
                    name(*session),
                    presented + 1
                )
            }
            Self::Prove { session, .. } => write!(f, "UpdateItem {}: proved", name(*session)),
            Self::Transact { token, writes } => {
                let parts: Vec<String> = writes.iter().map(|write| format!("{write:?}")).collect();
                write!(f, "Transact #{} [{}]", token.1, parts.join(", "))
            }
            Self::DeleteSession(id) => write!(f, "DeleteItem {}", name(*id)),
            Self::DeleteSessionUnlessRefreshed { id, rotation } => {
                write!(
                    f,
                    "DeleteItem {} if still at rotation {rotation}",
                    name(*id)
                )
            }
            Self::DeleteDeletedAccount => write!(f, "DeleteItem account if deleted"),
        }
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account { before, after } => write!(f, "{after:?} if v{}", before.version),
            Self::NewSession(item) => write!(f, "put {} if new", name(item.id)),
            Self::NoSession(id) => write!(f, "delete {}", name(*id)),
            Self::Credential { verified, after } => {
                write!(f, "{after:?} if version {}", verified.password_version)
            }
            Self::NewCredential(item) => write!(f, "put {item:?} if new"),
            Self::NoCredential { verified } => {
                write!(f, "no credential if version {}", verified.password_version)
            }
        }
    }
}

/// An item that a failed condition met.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Met {
    /// The account.
    Account(AccountItem),
    /// A session or a credential: what is asked is only whether it was there.
    Another,
}

/// What a call came back with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Of `GetCredential`.
    Credential(Option<CredentialItem>),
    /// Of `GetAccount`.
    Account(Option<AccountItem>),
    /// Of `GetSession` and `QueryNext`.
    Session(Option<SessionItem>),
    /// A write was made; the session as it is now, if it was a rotation or a proof.
    Written(Option<SessionItem>),
    /// Conditions failed, by position, with what they met.
    ConditionFailed(BTreeMap<usize, Option<Met>>),
    /// A rotation's or a proof's condition failed; the session as it is.
    RotationRefused(Option<SessionItem>),
    /// `TransactionConflictException`, `TransactionInProgressException`, or a transaction cancelled for a conflict.
    Conflict,
    /// The SDK has given up.
    Unavailable,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn item<T: fmt::Debug>(f: &mut fmt::Formatter<'_>, item: Option<&T>) -> fmt::Result {
            match item {
                Some(item) => write!(f, "{item:?}"),
                None => write!(f, "nothing"),
            }
        }
        match self {
            Self::Credential(found) => item(f, found.as_ref()),
            Self::Account(found) => item(f, found.as_ref()),
            Self::Session(found) => item(f, found.as_ref()),
            Self::Written(None) => write!(f, "made"),
            Self::Written(Some(now)) => write!(f, "made: {now:?}"),
            Self::ConditionFailed(failed) => {
                write!(f, "condition failed")?;
                match failed.values().flatten().next() {
                    Some(Met::Account(account)) => write!(f, " on {account:?}"),
                    Some(Met::Another) | None => Ok(()),
                }
            }
            Self::RotationRefused(found) => {
                write!(f, "condition failed on ")?;
                item(f, found.as_ref())
            }
            Self::Conflict => write!(f, "conflict"),
            Self::Unavailable => write!(f, "given up"),
        }
    }
}
