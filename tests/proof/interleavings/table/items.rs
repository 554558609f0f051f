//! The items of the table, with what a rule or a decision looks at, and how they become the domain's.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::account::{Account, AccountStatus};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::session::{ClientLocation, Session};

use super::{Stamp, name, names, noon};

static USER: LazyLock<UserId> = LazyLock::new(|| {
    "00000000-0000-4000-8000-00000000ffff"
        .parse()
        .expect("a UUID")
});

/// The address that an account has after so many changes of it.
#[must_use]
pub fn address(email_version: u64) -> EmailAddress {
    EmailAddress::parse(&format!("ada{email_version}@example.com")).expect("an address")
}

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
    /// Which address it has.
    pub email_version: u64,
    /// What it is allowed.
    pub status: Status,
}

impl AccountItem {
    /// The account as the domain knows it.
    #[must_use]
    pub fn to_domain(&self) -> Account {
        let email = address(self.email_version);
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
            email_version: self.email_version,
            // Whatever has changed the address has verified it.
            email_verified_at: (self.email_version > 0).then(noon),
            devices_since: None,
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
            email_version: after.email_version,
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
            email_version,
            status,
            ..
        } = self;
        let sessions = names(sessions);
        write!(
            f,
            "account v{version} {sessions} password {password_version} address {email_version} {status:?}"
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
    /// The address under which it is.
    pub address: u64,
}

impl fmt::Debug for CredentialItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            password,
            password_version,
            address,
            ..
        } = self;
        write!(
            f,
            "credential {address} of password {password}, version {password_version}"
        )
    }
}
