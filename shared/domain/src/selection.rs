//! Which of a user's sessions count, and which of the others are kept: by the account, which says who is signed in.

use chrono::{DateTime, Utc};

use crate::account::Account;
use crate::id::SessionId;
use crate::session::Session;

/// The sessions of a user that count, the most recently used first.
#[must_use]
pub fn live_sessions(
    account: &Account,
    sessions: Vec<Session>,
    now: DateTime<Utc>,
) -> Vec<Session> {
    let mut live: Vec<Session> = sessions
        .into_iter()
        .filter(|session| account.is_live(session, now))
        .collect();
    live.sort_unstable_by_key(|session| std::cmp::Reverse((session.last_used_at, session.id)));
    live
}

/// Which ended sessions of a user are too many to keep: all but the newest `keep` of those that do not count.
///
/// `account` must have been read after `sessions` were, or a session admitted in between could be taken for an
/// ended one.
#[must_use]
pub fn ended_sessions_beyond(
    account: Option<&Account>,
    sessions: &[Session],
    now: DateTime<Utc>,
    keep: usize,
) -> Vec<SessionId> {
    let mut ended: Vec<&Session> = sessions
        .iter()
        .filter(|session| !account.is_some_and(|account| account.is_live(session, now)))
        .collect();
    ended.sort_unstable_by_key(|session| std::cmp::Reverse((session.last_used_at, session.id)));
    ended.iter().skip(keep).map(|session| session.id).collect()
}
