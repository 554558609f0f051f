//! The table of one user, and what a single DynamoDB call does to it: one call, one atomic step.

mod calls;
mod items;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::id::SessionId;

pub use self::calls::{Call, Met, Reply, Write};
pub use self::items::{AccountItem, CredentialItem, SessionItem, Status, address};
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

/// Which request wrote an account last: the `change` stamp. A request draws one stamp.
pub type Stamp = usize;

/// The `ClientRequestToken` of a transaction.
pub type Token = (Stamp, u8);

/// Everything that is kept of one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// The credential. It moves in one transaction, so there is one at any time.
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

    fn credential_at(&self, address: u64) -> Option<&CredentialItem> {
        let credential = self.credential.as_ref();
        credential.filter(|credential| credential.address == address)
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

impl Table {
    /// Carries out one call.
    pub fn execute(&mut self, call: &Call, mechanisms: &Mechanisms) -> Reply {
        match call {
            Call::GetCredential(address) => {
                Reply::Credential(self.credential_at(*address).cloned())
            }
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
            Write::NewCredential(item) => {
                self.credential_at(item.address).map(|_| Some(Met::Another))
            }
            Write::Credential {
                verified,
                after: CredentialItem { address, .. },
            }
            | Write::NoCredential {
                verified: verified @ CredentialItem { address, .. },
            } => match self.credential_at(*address) {
                None => Some(None),
                Some(found) if found.password_version != verified.password_version => {
                    Some(Some(Met::Another))
                }
                Some(_) => None,
            },
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
                    if before.email_version != after.email_version {
                        account.email_version = after.email_version;
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
            Write::Credential { after, .. } | Write::NewCredential(after) => {
                self.credential = Some(after.clone());
            }
            Write::NoCredential { .. } => self.credential = None,
        }
    }
}
