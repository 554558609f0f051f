//! What is noted of a storm: requests with their beginnings, ends and answers, and what the table held between rounds.

use std::collections::BTreeMap;

use latchkey_domain::cause::EndReason;
use latchkey_domain::id::{SessionId, UserId};

/// Microseconds since the epoch, by the storm's clock.
pub(crate) type Moment = i64;

/// An access token: whose session it is of, and its own expiry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) session: SessionId,
    pub(crate) expires: Moment,
    /// When its user had proved who they are; whole seconds.
    pub(crate) authenticated: Moment,
}

/// Who signs in, as the counts of wrong passwords have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guesser {
    /// A client that shows a device token of the account.
    KnownDevice,
    /// One that has none.
    NewDevice,
    /// One that has none and does not know the password.
    Stranger,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Register {
        password: String,
    },
    SignIn {
        password: String,
        guesser: Guesser,
    },
    Refresh {
        session: SessionId,
        rotation: u64,
        expires: Moment,
    },
    LogOut {
        session: SessionId,
    },
    List(Access),
    Current(Access),
    Me(Access),
    Rename {
        by: Access,
        target: SessionId,
        name: String,
    },
    Revoke {
        by: Access,
        target: SessionId,
    },
    RevokeAll {
        by: Access,
        keep: bool,
    },
    Purge(Access),
    ChangePassword {
        by: Access,
        old: String,
        new: String,
    },
    Delete {
        by: Access,
        password: String,
    },
    /// A proof of who the caller is, in the middle of a session.
    Reauthenticate {
        by: Access,
        password: String,
        /// The newest that the client knew of.
        rotation: u64,
    },
    /// By an administrator, as the account that it is done to has it.
    Disable,
    /// By an administrator.
    Enable,
    /// By an administrator.
    AdminRevoke {
        target: SessionId,
    },
    /// The same three, as the administrator's own account has them.
    Administer(Access),
}

impl Op {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Register { .. } => "register",
            Self::SignIn {
                guesser: Guesser::Stranger,
                ..
            } => "guess",
            Self::SignIn { .. } => "sign-in",
            Self::Refresh { .. } => "refresh",
            Self::LogOut { .. } => "sign-out",
            Self::List(_) => "list",
            Self::Current(_) => "current session",
            Self::Me(_) => "me",
            Self::Rename { .. } => "rename",
            Self::Revoke { .. } => "revoke",
            Self::RevokeAll { .. } => "revoke-all",
            Self::Purge(_) => "purge",
            Self::ChangePassword { .. } => "password change",
            Self::Delete { .. } => "deletion",
            Self::Reauthenticate { .. } => "reauthentication",
            Self::Disable => "disabling",
            Self::Enable => "enabling",
            Self::AdminRevoke { .. } => "an administrator's revoke",
            Self::Administer(_) => "administration",
        }
    }

    /// What a sign-in was tried with.
    pub(crate) fn signs_in_with(&self) -> Option<&String> {
        match self {
            Self::SignIn { password, .. } => Some(password),
            _ => None,
        }
    }

    /// The password that is checked on the caller's session.
    pub(crate) fn confirmation(&self) -> Option<(Access, &str)> {
        match self {
            Self::Reauthenticate { by, password, .. } | Self::Delete { by, password } => {
                Some((*by, password))
            }
            Self::ChangePassword { by, old, .. } => Some((*by, old)),
            _ => None,
        }
    }

    /// Whether a password is hashed for it.
    pub(crate) fn hashes(&self) -> bool {
        self.confirmation().is_some() || matches!(self, Self::Register { .. } | Self::SignIn { .. })
    }

    /// The access token that it was asked with.
    pub(crate) fn by(&self) -> Option<Access> {
        match self {
            Self::Register { .. }
            | Self::SignIn { .. }
            | Self::Refresh { .. }
            | Self::LogOut { .. }
            | Self::Disable
            | Self::Enable
            | Self::AdminRevoke { .. } => None,
            Self::List(by)
            | Self::Current(by)
            | Self::Me(by)
            | Self::Purge(by)
            | Self::Administer(by) => Some(*by),
            Self::Rename { by, .. }
            | Self::Revoke { by, .. }
            | Self::RevokeAll { by, .. }
            | Self::ChangePassword { by, .. }
            | Self::Delete { by, .. }
            | Self::Reauthenticate { by, .. } => Some(*by),
        }
    }

    /// The session that it was aimed at.
    pub(crate) fn target(&self) -> Option<SessionId> {
        match self {
            Self::Rename { target, .. }
            | Self::Revoke { target, .. }
            | Self::AdminRevoke { target } => Some(*target),
            Self::Refresh { session, .. } | Self::LogOut { session } => Some(*session),
            _ => None,
        }
    }
}

/// A session as a reply shows it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) id: SessionId,
    pub(crate) name: Option<String>,
    pub(crate) created_at: Moment,
    pub(crate) last_used_at: Moment,
    pub(crate) expires_at: Moment,
}

/// A reply with tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) user: UserId,
    pub(crate) session: Shown,
    pub(crate) refresh_token: String,
    pub(crate) rotation: u64,
    pub(crate) refresh_expires: Moment,
    pub(crate) access_token: String,
    pub(crate) access_expires: Moment,
    /// The access token's `auth_time`.
    pub(crate) authenticated: Moment,
    /// Of a sign-in and a registration.
    pub(crate) device_token: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Tokens(Box<Tokens>),
    Session(Shown),
    Sessions(Vec<Shown>),
    User(UserId),
    Count(usize),
    Nothing,
    Refused(u16, String),
    /// 503 with `Retry-After`: it may have been done or not.
    Unavailable,
    /// What must not come: a 500, a broken connection, a reply that is not documented.
    Wrong(String),
}

impl Answer {
    pub(crate) fn is_code(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused(_, code) if code == wanted)
    }

    /// Whether the request may have been carried out.
    pub(crate) fn may_be_done(&self) -> bool {
        !matches!(self, Self::Refused(..))
    }

    /// Whether the request was carried out.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(self, Self::Refused(..) | Self::Unavailable | Self::Wrong(_))
    }

    /// The session whose tokens were answered.
    pub(crate) fn of_session(&self) -> Option<SessionId> {
        match self {
            Self::Tokens(tokens) => Some(tokens.session.id),
            _ => None,
        }
    }

    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Tokens(tokens) => {
                format!(
                    "tokens of {} rotation {}",
                    tokens.session.id, tokens.rotation
                )
            }
            Self::Session(session) => format!("session {}", session.id),
            Self::Sessions(sessions) => {
                let ids: Vec<String> = sessions.iter().map(|one| one.id.to_string()).collect();
                format!("{} sessions: {}", ids.len(), ids.join(" "))
            }
            Self::User(user) => format!("user {user}"),
            Self::Count(count) => format!("{count}"),
            Self::Nothing => "204".to_owned(),
            Self::Refused(status, code) => format!("{status} {code}"),
            Self::Unavailable => "503".to_owned(),
            Self::Wrong(what) => format!("WRONG: {what}"),
        }
    }
}

/// One request, from its beginning to its end.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) client: usize,
    pub(crate) start: Moment,
    pub(crate) end: Moment,
    pub(crate) op: Op,
    pub(crate) answer: Answer,
}

impl Event {
    /// Whether it may have begun a session that nobody heard of. A stranger's guess never does.
    pub(crate) fn may_have_begun_one(&self) -> bool {
        let begins = match &self.op {
            Op::SignIn { guesser, .. } => *guesser != Guesser::Stranger,
            Op::Register { .. } | Op::ChangePassword { .. } => true,
            _ => false,
        };
        begins && matches!(self.answer, Answer::Unavailable)
    }

    /// Why it ends a session, if it does: a sign-in only if it had to make room, an unanswered refresh only if its token had
    /// been replaced. What a wrong password ends is not told here.
    pub(crate) fn may_end(&self, id: SessionId) -> Option<EndReason> {
        if self.answer.is_code("refresh_token_reused") {
            return (self.op.target() == Some(id)).then_some(EndReason::TokenReuse);
        }
        if !self.answer.may_be_done() {
            return None;
        }
        let begun = self.answer.of_session();
        let (ends, reason) = match &self.op {
            Op::LogOut { session } => (*session == id, EndReason::LoggedOut),
            Op::Revoke { target, .. } => (*target == id, EndReason::Revoked),
            Op::AdminRevoke { target } => (*target == id, EndReason::Admin),
            Op::RevokeAll { by, keep } => (!keep || by.session != id, EndReason::RevokedAll),
            Op::ChangePassword { .. } => (begun != Some(id), EndReason::PasswordChanged),
            Op::Delete { .. } => (true, EndReason::AccountDeleted),
            Op::Disable => (true, EndReason::AccountDisabled),
            Op::SignIn { guesser, .. } => {
                let comes_in = *guesser != Guesser::Stranger;
                (comes_in && begun != Some(id), EndReason::Evicted)
            }
            Op::Refresh { session, .. } => {
                let unanswered = matches!(self.answer, Answer::Unavailable);
                (unanswered && *session == id, EndReason::TokenReuse)
            }
            Op::Register { .. }
            | Op::List(_)
            | Op::Current(_)
            | Op::Me(_)
            | Op::Rename { .. }
            | Op::Purge(_)
            | Op::Reauthenticate { .. }
            | Op::Enable
            | Op::Administer(_) => return None,
        };
        ends.then_some(reason)
    }

    /// Whether a step-up may have written its proof. One that is answered 401 has written it to a session that had ended
    /// meanwhile.
    pub(crate) fn may_have_proved(&self) -> bool {
        matches!(self.op, Op::Reauthenticate { .. })
            && (self.answer.may_be_done() || self.answer.is_code("invalid_token"))
    }

    /// Whether a password on a session may count as wrong from then on.
    pub(crate) fn may_count_as_wrong(&self) -> bool {
        self.op.confirmation().is_some()
            && (self.answer.is_code("wrong_password") || matches!(self.answer, Answer::Unavailable))
    }

    /// Whose sign-in may count as a failure from then on. One that failed on our side is taken back, if that succeeds.
    pub(crate) fn may_count_as_failure(&self) -> Option<Guesser> {
        let Op::SignIn { guesser, .. } = self.op else {
            return None;
        };
        let counts = self.answer.is_code("invalid_credentials")
            || self.answer.is_code("account_disabled")
            || matches!(self.answer, Answer::Unavailable | Answer::Tokens(_));
        counts.then_some(guesser)
    }

    pub(crate) fn line(&self, zero: Moment) -> String {
        let millis = |moment: Moment| (moment - zero) as f64 / 1000.0;
        let mut what = self.op.name().to_owned();
        match &self.op {
            Op::Refresh { rotation, .. } => what += &format!(" with rotation {rotation}"),
            Op::SignIn { guesser, .. } => what += &format!(" ({guesser:?})"),
            _ => {}
        }
        if let Some(target) = self.op.target() {
            what += &format!(" of {target}");
        }
        if let Some(by) = self.op.by() {
            what += &format!(" by {}", by.session);
        }
        format!(
            "{:>10.3} to {:>10.3} ms  client {:>4}  {what} -> {}",
            millis(self.start),
            millis(self.end),
            self.client,
            self.answer.in_short()
        )
    }
}

/// A session as the table holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredSession {
    pub(crate) rotation: u64,
    pub(crate) rotated_at: Moment,
    pub(crate) created_at: Moment,
    pub(crate) last_used_at: Moment,
    pub(crate) idle_end: Moment,
    pub(crate) absolute_end: Moment,
    pub(crate) authenticated_at: Moment,
    pub(crate) name: Option<String>,
}

/// A user as the table holds them between two rounds, when nothing is under way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredUser {
    pub(crate) user: UserId,
    pub(crate) version: u64,
    /// Whether an administrator has not closed the account.
    pub(crate) active: bool,
    /// The one that was tried and fits.
    pub(crate) password: Option<String>,
    /// The account's set.
    pub(crate) admitted: Vec<SessionId>,
    /// The items, live or not.
    pub(crate) sessions: BTreeMap<SessionId, StoredSession>,
}
