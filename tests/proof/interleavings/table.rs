//! The table of one user, and what a single DynamoDB call does to it: one call, one atomic step.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::account::{Account, AccountStatus};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::session::{ClientLocation, Session};

use super::Mechanisms;

/// The time at which every scenario plays.
#[must_use]
pub fn noon() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::hours(12)
}

/// The session with this number.
#[must_use]
pub fn session_id(number: u8) -> SessionId {
    format!("00000000-0000-4000-8000-{number:012}")
        .parse()
        .expect("a UUID")
}

/// A session's name in a trace: `s1`.
#[must_use]
pub fn name(id: SessionId) -> String {
    let text = id.to_string();
    format!(
        "s{}",
        text.rsplit('-')
            .next()
            .map_or("", |tail| tail.trim_start_matches('0'))
    )
}

fn names<'a>(ids: impl IntoIterator<Item = &'a SessionId>) -> String {
    let names: Vec<String> = ids.into_iter().map(|id| name(*id)).collect();
    format!("{{{}}}", names.join(" "))
}

static USER: LazyLock<UserId> = LazyLock::new(|| {
    "00000000-0000-4000-8000-00000000ffff"
        .parse()
        .expect("a UUID")
});
static EMAIL: LazyLock<EmailAddress> =
    LazyLock::new(|| EmailAddress::parse("ada@example.com").expect("an address"));

/// Which request wrote an account last: the `change` stamp. A request draws one stamp.
pub type Stamp = usize;

/// What an account is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// It may sign in.
    Active,
    /// An administrator has closed it.
    Disabled,
    /// Its owner has deleted it.
    Deleted,
}

/// The account item.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AccountItem {
    /// Moves with every write.
    pub version: u64,
    /// Who wrote it last, if any of the scenario's requests did.
    pub change: Option<Stamp>,
    /// Who wrote it before: `previous_change`.
    pub previous_change: Option<Stamp>,
    /// The admitted sessions.
    pub sessions: BTreeSet<SessionId>,
    /// Which password it has.
    pub password_version: u64,
    /// What it is allowed.
    pub status: Status,
}

impl AccountItem {
    /// The account as the domain knows it.
    #[must_use]
    pub fn to_domain(&self) -> Account {
        let email = EMAIL.clone();
        Account {
            id: *USER,
            status: match self.status {
                Status::Active => AccountStatus::Active { email: Some(email) },
                Status::Disabled => AccountStatus::Disabled { email: Some(email) },
                Status::Deleted => AccountStatus::Deleted {
                    delete_after: noon() + TimeDelta::days(1),
                },
            },
            identity: None,
            roles: BTreeSet::new(),
            sessions: self.sessions.clone(),
            version: self.version,
            password_version: self.password_version,
            created_at: noon() - TimeDelta::days(20),
        }
    }

    /// The item that writing `after` on top of this one makes: `version` + 1 and the writer's stamp.
    #[must_use]
    pub fn followed_by(&self, after: &Account, stamp: Stamp) -> Self {
        Self {
            version: self.version + 1,
            change: Some(stamp),
            previous_change: self.change,
            sessions: after.sessions.clone(),
            password_version: after.password_version,
            status: match after.status {
                AccountStatus::Active { .. } => Status::Active,
                AccountStatus::Disabled { .. } => Status::Disabled,
                AccountStatus::Deleted { .. } => Status::Deleted,
            },
        }
    }
}

impl fmt::Debug for AccountItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            version,
            sessions,
            password_version,
            status,
            ..
        } = self;
        let sessions = names(sessions);
        write!(
            f,
            "account v{version} {sessions} password {password_version} {status:?}"
        )
    }
}

/// A session item.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionItem {
    /// The session.
    pub id: SessionId,
    /// How often its token was replaced.
    pub rotation: u64,
    /// When that was last.
    pub rotated_at: DateTime<Utc>,
    /// When it was last refreshed, or began.
    pub last_used_at: DateTime<Utc>,
    /// Ends here unless refreshed.
    pub idle_expires_at: DateTime<Utc>,
    /// Ends here whatever happens.
    pub absolute_expires_at: DateTime<Utc>,
}

impl SessionItem {
    /// The item of a session that begins now.
    #[must_use]
    pub fn begin(id: SessionId, now: DateTime<Utc>) -> Self {
        let device = Device::describe(None, None, None, ClientHints::default());
        let begun = Session::begin(
            id,
            *USER,
            device,
            ClientLocation::default(),
            now,
            &SessionPolicy::default(),
        );
        Self::of(&begun)
    }

    /// The item of a session of the domain.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        Self {
            id: session.id,
            rotation: session.rotation,
            rotated_at: session.rotated_at,
            last_used_at: session.last_used_at,
            idle_expires_at: session.idle_expires_at,
            absolute_expires_at: session.absolute_expires_at,
        }
    }

    /// The session as the domain knows it.
    #[must_use]
    pub fn to_domain(&self) -> Session {
        let device = Device::describe(None, None, None, ClientHints::default());
        let policy = SessionPolicy::default();
        Session {
            rotation: self.rotation,
            rotated_at: self.rotated_at,
            last_used_at: self.last_used_at,
            idle_expires_at: self.idle_expires_at,
            absolute_expires_at: self.absolute_expires_at,
            ..Session::begin(
                self.id,
                *USER,
                device,
                ClientLocation::default(),
                self.last_used_at,
                &policy,
            )
        }
    }
}

impl fmt::Debug for SessionItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at rotation {}", name(self.id), self.rotation)
    }
}

/// The credential item.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CredentialItem {
    /// Stands for the hash: the password that it verifies.
    pub password: u8,
    /// Whether the hash has old parameters, which a sign-in replaces.
    pub outdated: bool,
    /// Which password it is.
    pub password_version: u64,
}

impl fmt::Debug for CredentialItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            password,
            password_version,
            ..
        } = self;
        write!(
            f,
            "credential of password {password}, version {password_version}"
        )
    }
}

/// The `ClientRequestToken` of a transaction.
pub type Token = (Stamp, u8);

/// Everything that is kept of one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// The credential.
    pub credential: Option<CredentialItem>,
    /// The account.
    pub account: Option<AccountItem>,
    /// The session items, live or not.
    pub sessions: BTreeMap<SessionId, SessionItem>,
    /// The transactions that were made; DynamoDB makes none of them again.
    pub made: BTreeSet<Token>,
}

impl Table {
    /// Whether the account's set holds the session.
    #[must_use]
    pub fn admits(&self, session: SessionId) -> bool {
        self.admitted().contains(&session)
    }

    /// The account's set.
    #[must_use]
    pub fn admitted(&self) -> BTreeSet<SessionId> {
        self.account
            .as_ref()
            .map(|account| account.sessions.clone())
            .unwrap_or_default()
    }
}

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
    /// `Part::NoCredential`: on the same condition.
    NoCredential {
        /// The credential whose password was verified.
        verified: CredentialItem,
    },
}

/// A single DynamoDB call. Reads are strongly consistent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// `GetItem` of the credential.
    GetCredential,
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
            Self::GetCredential
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
            Self::GetCredential
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
            Self::GetCredential => write!(f, "GetItem credential"),
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

impl Table {
    /// Carries out one call.
    pub fn execute(&mut self, call: &Call, mechanisms: &Mechanisms) -> Reply {
        match call {
            Call::GetCredential => Reply::Credential(self.credential.clone()),
            Call::GetAccount => Reply::Account(self.account.clone()),
            Call::GetSession(id) => Reply::Session(self.sessions.get(id).cloned()),
            Call::QueryNext { after, last } => {
                let next = self.sessions.values().find(|item| {
                    after.is_none_or(|after| item.id > after)
                        && last.is_none_or(|last| item.id <= last)
                });
                Reply::Session(next.cloned())
            }
            Call::UpdateAccount { before, after } => {
                let write = Write::Account {
                    before: before.clone(),
                    after: after.clone(),
                };
                self.write_all(&[write], mechanisms)
            }
            Call::Rotate {
                session,
                presented,
                now,
                due,
                idle_expires_at,
            } => {
                let Some(item) = self.sessions.get_mut(session) else {
                    return Reply::RotationRefused(None);
                };
                let expected = item.rotation == *presented || !mechanisms.rotation_condition;
                let is_due = item.rotation == 0 || item.rotated_at <= *due || !mechanisms.interval;
                if !(expected && is_due)
                    || item.idle_expires_at <= *now
                    || item.absolute_expires_at <= *now
                {
                    return Reply::RotationRefused(Some(item.clone()));
                }
                item.rotation = presented + 1;
                item.rotated_at = *now;
                item.last_used_at = *now;
                item.idle_expires_at = *idle_expires_at;
                Reply::Written(Some(item.clone()))
            }
            Call::Prove { session, now } => match self.sessions.get(session) {
                Some(item) if item.idle_expires_at > *now && item.absolute_expires_at > *now => {
                    Reply::Written(Some(item.clone()))
                }
                found => Reply::RotationRefused(found.cloned()),
            },
            Call::Transact { token, writes } => {
                if self.made.contains(token) {
                    return Reply::Written(None);
                }
                let reply = self.write_all(writes, mechanisms);
                if matches!(reply, Reply::Written(_)) {
                    self.made.insert(*token);
                }
                reply
            }
            Call::DeleteSession(id) => {
                self.sessions.remove(id);
                Reply::Written(None)
            }
            Call::DeleteSessionUnlessRefreshed { id, rotation } => {
                if self
                    .sessions
                    .get(id)
                    .is_some_and(|item| item.rotation == *rotation)
                {
                    self.sessions.remove(id);
                }
                Reply::Written(None)
            }
            Call::DeleteDeletedAccount => match &self.account {
                Some(account) if account.status == Status::Deleted => {
                    self.account = None;
                    Reply::Written(None)
                }
                Some(_) | None => Reply::ConditionFailed(BTreeMap::from([(0, None)])),
            },
        }
    }

    fn write_all(&mut self, writes: &[Write], mechanisms: &Mechanisms) -> Reply {
        let failed: BTreeMap<usize, Option<Met>> = writes
            .iter()
            .enumerate()
            .filter_map(|(position, write)| {
                self.refusal_of(write, mechanisms)
                    .map(|met| (position, met))
            })
            .collect();
        if !failed.is_empty() {
            return Reply::ConditionFailed(failed);
        }
        for write in writes {
            self.apply(write);
        }
        Reply::Written(None)
    }

    /// What the condition of a write meets, if it fails.
    fn refusal_of(&self, write: &Write, mechanisms: &Mechanisms) -> Option<Option<Met>> {
        match write {
            Write::Account { before, .. } => match &self.account {
                None => Some(None),
                Some(found) if found.version != before.version && mechanisms.version_condition => {
                    Some(Some(Met::Account(found.clone())))
                }
                Some(_) => None,
            },
            Write::NewSession(item) => self
                .sessions
                .contains_key(&item.id)
                .then_some(Some(Met::Another)),
            Write::NoSession(_) => None,
            Write::Credential { verified, .. } | Write::NoCredential { verified } => {
                match &self.credential {
                    None => Some(None),
                    Some(found) if found.password_version != verified.password_version => {
                        Some(Some(Met::Another))
                    }
                    Some(_) => None,
                }
            }
        }
    }

    fn apply(&mut self, write: &Write) {
        match write {
            // As `account_update`: it names only what differs.
            Write::Account { before, after } => {
                if let Some(account) = &mut self.account {
                    account.version = after.version;
                    account.previous_change = account.change;
                    account.change = after.change;
                    if before.sessions != after.sessions {
                        account.sessions.clone_from(&after.sessions);
                    }
                    if before.password_version != after.password_version {
                        account.password_version = after.password_version;
                    }
                    if before.status != after.status {
                        account.status = after.status;
                    }
                }
            }
            Write::NewSession(item) => {
                self.sessions.insert(item.id, item.clone());
            }
            Write::NoSession(id) => {
                self.sessions.remove(id);
            }
            Write::Credential { after, .. } => self.credential = Some(after.clone()),
            Write::NoCredential { .. } => self.credential = None,
        }
    }
}
