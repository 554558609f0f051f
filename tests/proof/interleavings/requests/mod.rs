//! The requests: what each calls, in which order, and what it decides on the replies.
//!
//! A request is written as the plain function that it is in the service. It runs on a [`Wire`] that replays the replies
//! it has had so far, and stops at the first call that has none yet; so all that a request remembers between two steps
//! is the replies it has had, and every decision is the domain crate's.

mod account;
mod change;
mod recovery;
mod sessions;
mod sign_in;
mod wire;

use chrono::{DateTime, Utc};
use latchkey_domain::id::SessionId;
use latchkey_domain::session::Session;

use self::wire::Wire;
pub use self::wire::{Queries, Stop};
use super::Mechanisms;
use super::table::{Reply, Stamp, name};

const CALLER_NOT_LIVE: &str = "caller not live";

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `POST /v1/auth/refresh`.
    Refresh {
        /// The token's session.
        session: SessionId,
        /// The token's rotation.
        presented: u64,
    },
    /// `POST /v1/auth/login`.
    SignIn {
        /// The id that the new session will have.
        new: SessionId,
        /// The password that was typed.
        password: u8,
    },
    /// `DELETE /v1/sessions/{id}`.
    Revoke {
        /// Whose access token it is.
        caller: SessionId,
        /// What is to end.
        target: SessionId,
    },
    /// `POST /v1/sessions/revoke-all`.
    RevokeAll {
        /// Whose access token it is.
        caller: SessionId,
        /// Whether the caller's session continues.
        keep_current: bool,
    },
    /// `POST /v1/auth/logout`.
    Logout {
        /// The token's session.
        session: SessionId,
    },
    /// `PUT /v1/me/password`.
    ChangePassword {
        /// Whose access token it is.
        caller: SessionId,
        /// The id that the session of the reply will have.
        successor: SessionId,
        /// The password as it is.
        current: u8,
        /// The password as it is to be.
        new: u8,
    },
    /// `POST /v1/me/delete`.
    Delete {
        /// Whose access token it is.
        caller: SessionId,
        /// The password as it is.
        password: u8,
    },
    /// `POST /v1/auth/reauthenticate`.
    Reauthenticate {
        /// Whose access token it is.
        caller: SessionId,
        /// The password as it is.
        password: u8,
    },
    /// `POST /v1/auth/password-reset/confirm`, with a link to the first address.
    ResetPassword {
        /// The password that the link replaces.
        password_version: u64,
        /// The password as it is to be.
        new: u8,
    },
    /// `POST /v1/auth/verify-email`, with a link to the second address.
    ChangeEmail {
        /// The session on which it was asked for.
        asked_on: SessionId,
    },
    /// An administrator closes the account.
    Disable,
    /// `DELETE /v1/sessions/expired`.
    Purge {
        /// Whose access token it is.
        caller: SessionId,
    },
}

/// A request and the time at which it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// What is asked for.
    pub request: Request,
    /// When.
    pub now: DateTime<Utc>,
}

impl Process {
    /// How a trace calls it.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.request {
            Request::Refresh { session, presented } => {
                format!("refresh {}.{presented}", name(*session))
            }
            Request::SignIn { new, .. } => format!("sign-in {}", name(*new)),
            Request::Revoke { caller, target } => {
                format!("revoke {} by {}", name(*target), name(*caller))
            }
            Request::RevokeAll {
                caller,
                keep_current: true,
            } => {
                format!("revoke-all but {}", name(*caller))
            }
            Request::RevokeAll {
                caller,
                keep_current: false,
            } => {
                format!("revoke-all by {}", name(*caller))
            }
            Request::Logout { session } => format!("logout {}", name(*session)),
            Request::ChangePassword { caller, .. } => {
                format!("password change by {}", name(*caller))
            }
            Request::Delete { caller, .. } => format!("deletion by {}", name(*caller)),
            Request::Reauthenticate { caller, .. } => {
                format!("reauthentication by {}", name(*caller))
            }
            Request::ResetPassword { .. } => "reset".to_owned(),
            Request::ChangeEmail { asked_on } => {
                format!("another address asked for on {}", name(*asked_on))
            }
            Request::Disable => "disabling".to_owned(),
            Request::Purge { caller } => format!("purge by {}", name(*caller)),
        }
    }
}

/// What a refresh token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claims {
    /// The session.
    pub session: SessionId,
    /// Its rotation.
    pub rotation: u64,
    /// When that was made.
    pub issued_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

impl Claims {
    fn of(session: &Session) -> Self {
        Self {
            session: session.id,
            rotation: session.rotation,
            issued_at: session.rotated_at,
            expires_at: session.expires_at(),
        }
    }
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// 200 of a refresh: the successor.
    Refreshed(Claims),
    /// 200 of a reauthentication: the newest refresh token.
    Reauthenticated(Claims),
    /// 200 of a refresh: the token that was presented, which is too young to be replaced.
    NotDue(Claims),
    /// 401 `refresh_token_reused`.
    Reused,
    /// 200 of a sign-in or a password change: the new session.
    SignedIn(SessionId),
    /// 200 or 204 of anything else.
    Done,
    /// 401, 403 or 404: nothing was done.
    Refused(&'static str),
    /// 503: it may or may not have been done.
    Unavailable,
}

impl Answer {
    /// The refresh token of an answer to a refresh or a reauthentication.
    #[must_use]
    pub fn refresh_token(&self) -> Option<&Claims> {
        match self {
            Self::Refreshed(claims) | Self::NotDue(claims) | Self::Reauthenticated(claims) => {
                Some(claims)
            }
            _ => None,
        }
    }

    /// The answer in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refreshed(_) => "refreshed",
            Self::NotDue(_) => "not due",
            Self::Reauthenticated(_) => "reauthenticated",
            Self::Reused => "reused",
            Self::SignedIn(_) => "signed in",
            Self::Done => "done",
            Self::Refused(why) => why,
            Self::Unavailable => "unavailable",
        }
    }
}

/// One request of a scenario: its number is its stamp.
#[derive(Clone, Copy, Debug)]
pub struct Runner<'a> {
    /// The request.
    pub process: &'a Process,
    /// Its number.
    pub stamp: Stamp,
    /// How many sessions a user may have.
    pub limit: usize,
    /// In which order its queries read.
    pub queries: Queries,
    /// What keeps the protocol right.
    pub with: &'a Mechanisms,
}

impl Runner<'_> {
    /// Runs the request on the replies that it has had, up to the first call that has none.
    #[must_use]
    pub fn run(&self, replies: &[(u8, Reply)]) -> Stop {
        let wire = &mut Wire {
            replies,
            transactions: 0,
            queries: self.queries,
        };
        let ran = match self.process.request {
            Request::Refresh { session, presented } => self.refresh(wire, session, presented),
            Request::SignIn { new, password } => self.sign_in(wire, new, password),
            Request::Revoke { caller, target } => self.revoke(wire, caller, target),
            Request::RevokeAll {
                caller,
                keep_current,
            } => self.revoke_all(wire, caller, keep_current),
            Request::Logout { session } => self.logout(wire, session),
            Request::ChangePassword {
                caller,
                successor,
                current,
                new,
            } => self.change_password(wire, caller, successor, current, new),
            Request::Delete { caller, password } => self.delete(wire, caller, password),
            Request::Reauthenticate { caller, password } => {
                self.reauthenticate(wire, caller, password)
            }
            Request::ResetPassword {
                password_version,
                new,
            } => self.reset_password(wire, password_version, new),
            Request::ChangeEmail { asked_on } => self.change_email(wire, asked_on),
            Request::Disable => self.disable(wire),
            Request::Purge { caller } => self.purge(wire, caller),
        };
        match ran {
            Ok(answer) => Stop::Answered(answer),
            Err(stop) => stop,
        }
    }
}
