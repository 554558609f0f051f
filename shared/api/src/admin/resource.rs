//! What administration shows of accounts and sessions. Never a token or a hash: the types that these are made of have
//! none.

use chrono::{DateTime, Utc};
use latchkey_domain::account::{Account, Liveness};
use latchkey_domain::id::SessionId;
use latchkey_domain::identity::Identity;
use latchkey_service::{DescribedSession, Failure, SessionOfUser, UserPage, UserRevocation};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use latchkey_domain::error::AdminError;

use crate::resource::{SessionResource, rfc3339};

/// Whether an account may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// It may.
    Active,
    /// It is closed: nobody is signed in, and nobody can sign in.
    Disabled,
}

/// A user, as an administrator sees them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminUser)]
pub struct AdminUserResource {
    /// Names the user; the `sub` of every token.
    #[schema(example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")]
    id: Uuid,
    /// The e-mail address as it was typed at registration; null if the user signs in elsewhere, without one.
    #[schema(required = true, example = "ada@example.com")]
    email: Option<String>,
    /// Whether the user has opened a link that was sent to the address. One of a user who signs in elsewhere is what was told
    /// from there.
    #[schema(example = false)]
    email_verified: bool,
    /// Who the user is to the identity provider they sign in with; null if they have a password here.
    #[schema(required = true)]
    identity: Option<AdminIdentityResource>,
    /// Whether the account may be used.
    status: AccountState,
    /// What the user may do in addition to using their own account.
    #[schema(example = json!(["admin"]))]
    roles: Vec<String>,
    /// When the user registered.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:00:00.000Z")]
    created_at: DateTime<Utc>,
    /// How many sessions the account holds. Some may have expired; the list of sessions tells.
    #[schema(example = 1)]
    sessions: usize,
}

impl From<&Account> for AdminUserResource {
    fn from(account: &Account) -> Self {
        Self {
            id: account.id.as_uuid(),
            email: account.email().map(|email| email.as_typed().to_owned()),
            email_verified: account.is_email_verified(),
            identity: account.identity.as_ref().map(AdminIdentityResource::from),
            status: if account.is_active() {
                AccountState::Active
            } else {
                AccountState::Disabled
            },
            roles: account.roles.iter().cloned().map(String::from).collect(),
            created_at: account.created_at,
            sessions: account.sessions.len(),
        }
    }
}

/// Who a user is to another identity provider, as it names them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminIdentity)]
pub struct AdminIdentityResource {
    /// The identity provider.
    #[schema(example = "https://accounts.google.com")]
    issuer: String,
    /// The person there.
    #[schema(example = "110169484474386276334")]
    subject: String,
}

impl From<&Identity> for AdminIdentityResource {
    fn from(identity: &Identity) -> Self {
        Self {
            issuer: identity.issuer().to_owned(),
            subject: identity.subject().to_owned(),
        }
    }
}

/// Some of the users.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminUserPage)]
pub struct AdminUserPageResource {
    /// In no order that means anything; perhaps none although there are more.
    users: Vec<AdminUserResource>,
    /// What the next request gives as `cursor`; null after the last page.
    #[schema(required = true, example = "VVNFUiM1YTNmNWMxMQpBQ0NPVU5U")]
    next_cursor: Option<String>,
}

impl From<&UserPage> for AdminUserPageResource {
    fn from(page: &UserPage) -> Self {
        Self {
            users: page.users.iter().map(AdminUserResource::from).collect(),
            next_cursor: page.next.as_ref().map(ToString::to_string),
        }
    }
}

impl AdminUserPageResource {
    /// What was found by an address or an identity: one user or none.
    #[must_use]
    pub fn found(user: Option<&Account>) -> Self {
        Self {
            users: user.into_iter().map(AdminUserResource::from).collect(),
            next_cursor: None,
        }
    }
}

/// Whether a session counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// It does.
    Live,
    /// Somebody or something has ended it.
    Ended,
    /// Its time has passed.
    Expired,
}

impl From<Liveness> for SessionState {
    fn from(liveness: Liveness) -> Self {
        match liveness {
            Liveness::Live => Self::Live,
            Liveness::AccountNotActive | Liveness::NotAdmitted => Self::Ended,
            Liveness::IdleExpired | Liveness::AbsolutelyExpired => Self::Expired,
        }
    }
}

/// A session, as an administrator sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSession)]
pub struct AdminSessionResource {
    #[serde(flatten)]
    session: SessionResource,
    /// Whether it counts.
    state: SessionState,
}

impl AdminSessionResource {
    /// A session, seen by somebody with this session or with none.
    #[must_use]
    pub fn new(described: &DescribedSession, seen_by: Option<SessionId>) -> Self {
        Self {
            session: SessionResource::new(&described.session, seen_by),
            state: described.liveness.into(),
        }
    }
}

/// The sessions of a user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSessionList)]
pub struct AdminSessionListResource {
    /// The most recently used first.
    sessions: Vec<AdminSessionResource>,
    /// How many there are.
    #[schema(example = 1)]
    total: usize,
}

impl AdminSessionListResource {
    /// Sessions, seen by somebody with this session or with none.
    #[must_use]
    pub fn new(sessions: &[DescribedSession], seen_by: Option<SessionId>) -> Self {
        let shown = sessions.iter();
        Self {
            sessions: shown
                .map(|one| AdminSessionResource::new(one, seen_by))
                .collect(),
            total: sessions.len(),
        }
    }
}

/// A session, and whose it is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminSessionOfUser)]
pub struct AdminSessionOfUserResource {
    /// The user.
    user: AdminUserResource,
    /// The session.
    session: AdminSessionResource,
}

impl AdminSessionOfUserResource {
    /// A session, seen by somebody with this session or with none.
    #[must_use]
    pub fn new(found: &SessionOfUser, seen_by: Option<SessionId>) -> Self {
        Self {
            user: AdminUserResource::from(&found.account),
            session: AdminSessionResource::new(&found.described, seen_by),
        }
    }
}

/// How many sessions were ended.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = AdminRevoked)]
pub struct AdminRevokedResource {
    /// How many live sessions this request has ended.
    #[schema(example = 2)]
    pub revoked: usize,
}

/// What became of one user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevocationOutcome {
    /// They have ended, if there were any.
    Revoked,
    /// There is no such user.
    UserNotFound,
    /// It may or may not have been done: try again for this user.
    TemporarilyUnavailable,
    /// Something is broken on our side.
    InternalError,
}

/// What became of the sessions of one user among many.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminRevocation)]
pub struct AdminRevocationResource {
    /// The user.
    #[schema(example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")]
    user_id: Uuid,
    /// What became of their sessions.
    outcome: RevocationOutcome,
    /// How many live sessions this request has ended.
    #[schema(example = 2)]
    revoked: usize,
}

impl From<&UserRevocation> for AdminRevocationResource {
    fn from(revocation: &UserRevocation) -> Self {
        let (outcome, revoked) = match revocation.result {
            Ok(revoked) => (RevocationOutcome::Revoked, revoked),
            Err(Failure::Refused(AdminError::UserNotFound)) => (RevocationOutcome::UserNotFound, 0),
            Err(Failure::Throttled(_) | Failure::Unavailable) => {
                (RevocationOutcome::TemporarilyUnavailable, 0)
            }
            // Whoever ends all sessions is refused for no other reason.
            Err(
                Failure::Internal
                | Failure::Refused(
                    AdminError::SessionNotFound
                    | AdminError::TooManyRoles
                    | AdminError::NoPassword
                    | AdminError::OwnAccount,
                ),
            ) => (RevocationOutcome::InternalError, 0),
        };
        Self {
            user_id: revocation.user.as_uuid(),
            outcome,
            revoked,
        }
    }
}

/// A result for each user.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminRevocations)]
pub struct AdminRevocationsResource {
    /// In the order of the request.
    results: Vec<AdminRevocationResource>,
}

impl From<&[UserRevocation]> for AdminRevocationsResource {
    fn from(revocations: &[UserRevocation]) -> Self {
        Self {
            results: revocations.iter().map(Into::into).collect(),
        }
    }
}
