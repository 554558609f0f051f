//! Why an account changed: what was done, by whom, when, and what it ended.
//!
//! The cause is written with every change of an account. The audit line, the event and the activity entry are made from
//! it, so they cannot tell three different stories.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{MalformedId, SessionId, UserId};

/// What changed an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A user has registered.
    Register,
    /// A user has signed in.
    SignIn,
    /// A client has signed out (RFC 7009).
    SignOut,
    /// A person has ended one session.
    Revoke,
    /// A person has ended all sessions, or all others.
    RevokeAll,
    /// A replaced refresh token came back (RFC 9700 section 4.14.2).
    ReuseToken,
    /// Too many wrong passwords were given on one session.
    GuessPassword,
    /// The password was replaced.
    ChangePassword,
    /// The password was replaced by whoever opened a link that was sent to the user's address.
    ResetPassword,
    /// The user has shown that they read the mail of their address.
    VerifyEmail,
    /// The address was replaced.
    ChangeEmail,
    /// The account was closed.
    Disable,
    /// A closed account was opened again.
    Enable,
    /// The user's roles were replaced.
    ChangeRoles,
    /// The account was deleted.
    Delete,
}

impl Action {
    /// The word for it in the table, in logs and in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::SignIn => "sign_in",
            Self::SignOut => "sign_out",
            Self::Revoke => "revoke",
            Self::RevokeAll => "revoke_all",
            Self::ReuseToken => "reuse_token",
            Self::GuessPassword => "guess_password",
            Self::ChangePassword => "change_password",
            Self::ResetPassword => "reset_password",
            Self::VerifyEmail => "verify_email",
            Self::ChangeEmail => "change_email",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::ChangeRoles => "change_roles",
            Self::Delete => "delete",
        }
    }

    /// Whether it ends one session that it names. It may be decided again though it may have been done before: whether the
    /// session has ended can be seen, and its id is never admitted again.
    #[must_use]
    pub fn ends_one_session(self) -> bool {
        match self {
            Self::SignOut | Self::Revoke | Self::ReuseToken | Self::GuessPassword => true,
            Self::Register
            | Self::SignIn
            | Self::RevokeAll
            | Self::ChangePassword
            | Self::ResetPassword
            | Self::VerifyEmail
            | Self::ChangeEmail
            | Self::Disable
            | Self::Enable
            | Self::ChangeRoles
            | Self::Delete => false,
        }
    }
}

/// Who changed an account. Written as `owner:<session id>`, `admin:<user id>`, `client:<client id>`, `operator`, `system`,
/// `link` or `nobody`.
///
/// ```
/// use latchkey_domain::cause::Actor;
///
/// let actor: Actor = "owner:0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11".parse().unwrap();
/// assert!(matches!(actor, Actor::Owner(_)));
/// assert_eq!(actor.to_string(), "owner:0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Actor {
    /// The account's owner, signed in with this session.
    Owner(SessionId),
    /// An administrator.
    Admin(UserId),
    /// A client of another service, by its client id.
    Client(String),
    /// Somebody who ran a command of this program on the table itself. No token says who that was.
    Operator,
    /// The service itself, because a rule wants it so.
    System,
    /// Whoever opened a link that was sent to the user's address.
    Link,
    /// Somebody who was not signed in. They can ask for things, and change nothing.
    Nobody,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(session) => write!(f, "owner:{session}"),
            Self::Admin(user) => write!(f, "admin:{user}"),
            Self::Client(client) => write!(f, "client:{client}"),
            Self::Operator => f.write_str("operator"),
            Self::System => f.write_str("system"),
            Self::Link => f.write_str("link"),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

impl FromStr for Actor {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        match text.split_once(':') {
            Some(("owner", session)) => session.parse().map(Self::Owner),
            Some(("admin", user)) => user.parse().map(Self::Admin),
            Some(("client", client)) => Ok(Self::Client(client.to_owned())),
            None if text == "operator" => Ok(Self::Operator),
            None if text == "system" => Ok(Self::System),
            None if text == "link" => Ok(Self::Link),
            None if text == "nobody" => Ok(Self::Nobody),
            Some(_) | None => Err(MalformedId),
        }
    }
}

impl TryFrom<String> for Actor {
    type Error = MalformedId;

    fn try_from(text: String) -> Result<Self, MalformedId> {
        text.parse()
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

/// Why an account changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// What was done.
    pub action: Action,
    /// By whom.
    pub actor: Actor,
    /// When it was decided, by the clock of the instance that decided it.
    pub at: DateTime<Utc>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its owner ended it from the list of sessions.
    Revoked,
    /// Its owner ended all, or all others.
    RevokedAll,
    /// Its own client signed out.
    LoggedOut,
    /// The same device signed in again.
    Replaced,
    /// A newer sign-in needed the room.
    Evicted,
    /// Its time had passed when a sign-in met it.
    Expired,
    /// A refresh token that had been replaced was used again (RFC 9700 section 4.14.2).
    TokenReuse,
    /// Its bearer gave a wrong password too often.
    WrongPassword,
    /// The password was replaced.
    PasswordChanged,
    /// The password was replaced by whoever opened a link that was sent to the user's address.
    PasswordReset,
    /// An administrator closed the account.
    AccountDisabled,
    /// Its owner deleted the account.
    AccountDeleted,
    /// An administrator ended it, or deleted the account.
    Admin,
    /// A word that this version does not know: another version has written it. This one never does.
    #[serde(other)]
    Other,
}

impl EndReason {
    /// Whether a session of its user ends so in the course of things. Somebody may end it in another way because it was a
    /// stranger's. A password change is ordinary, because it ends all the other sessions of the user too.
    #[must_use]
    pub fn is_ordinary(self) -> bool {
        match self {
            Self::LoggedOut
            | Self::Replaced
            | Self::Evicted
            | Self::Expired
            | Self::PasswordChanged => true,
            Self::Revoked
            | Self::RevokedAll
            | Self::TokenReuse
            | Self::WrongPassword
            | Self::PasswordReset
            | Self::AccountDisabled
            | Self::AccountDeleted
            | Self::Admin
            | Self::Other => false,
        }
    }

    /// The word for it in the table, in logs and in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::RevokedAll => "revoked_all",
            Self::LoggedOut => "logged_out",
            Self::Replaced => "replaced",
            Self::Evicted => "evicted",
            Self::Expired => "expired",
            Self::TokenReuse => "token_reuse",
            Self::WrongPassword => "wrong_password",
            Self::PasswordChanged => "password_changed",
            Self::PasswordReset => "password_reset",
            Self::AccountDisabled => "account_disabled",
            Self::AccountDeleted => "account_deleted",
            Self::Admin => "admin",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn an_actor_reads_back_as_it_was_written() {
        let random = SeededRandom::new(1);
        for actor in [
            Actor::Owner(SessionId::random(&random)),
            Actor::Admin(UserId::random(&random)),
            Actor::Client("reports:nightly".to_owned()),
            Actor::Operator,
            Actor::System,
            Actor::Link,
            Actor::Nobody,
        ] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for wrong in ["", "owner", "owner:x", "operators", "systems", "nobody:x"] {
            assert_eq!(wrong.parse::<Actor>(), Err(MalformedId), "{wrong}");
        }
    }

    #[test]
    fn words_in_the_table_are_those_in_logs() {
        let reason = serde_json::to_value(EndReason::LoggedOut).unwrap();
        assert_eq!(reason, EndReason::LoggedOut.as_str());
    }

    #[test]
    fn actions_have_the_words_of_the_guides() {
        for (action, word) in [
            (Action::Register, "register"),
            (Action::SignIn, "sign_in"),
            (Action::SignOut, "sign_out"),
            (Action::Revoke, "revoke"),
            (Action::RevokeAll, "revoke_all"),
            (Action::ReuseToken, "reuse_token"),
            (Action::GuessPassword, "guess_password"),
            (Action::ChangePassword, "change_password"),
            (Action::ResetPassword, "reset_password"),
            (Action::VerifyEmail, "verify_email"),
            (Action::ChangeEmail, "change_email"),
            (Action::Disable, "disable"),
            (Action::Enable, "enable"),
            (Action::ChangeRoles, "change_roles"),
            (Action::Delete, "delete"),
        ] {
            assert_eq!(action.as_str(), word);
        }
    }

    #[test]
    fn one_session_is_ended_by_who_signs_out_revokes_reuses_or_guesses() {
        for action in [
            Action::SignOut,
            Action::Revoke,
            Action::ReuseToken,
            Action::GuessPassword,
        ] {
            assert!(action.ends_one_session(), "{action:?}");
        }
        for action in [Action::RevokeAll, Action::ChangePassword, Action::Delete] {
            assert!(!action.ends_one_session(), "{action:?}");
        }
    }
}
