//! What must hold, whatever the order: the guarantees, as rules on a step, on an answer and on every table.
//!
//! To state them, each state carries a little history. It is the checker's own: no request can see it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;

use super::requests::{Answer, Claims, Process, Request};
use super::table::{AccountItem, Call, SessionItem, Status, Table, name, noon};

/// A rule that was broken, in words.
pub type Broken = String;

/// What is remembered of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The set at the moment of its first call. A real request arrives before that, so a rule about what "starts
    /// later" is checked for more requests than it is promised to.
    started: Option<BTreeSet<SessionId>>,
    /// The requests that had not begun when it last read the account.
    unbegun_at_read: BTreeSet<usize>,
    /// Whether its own write has changed the account.
    committed: bool,
    /// What it was answered.
    answer: Option<Answer>,
}

/// What is remembered of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    seen: Vec<Seen>,
    /// The ids that have left the set.
    left: BTreeSet<SessionId>,
    /// The rotations that were made: session and successor.
    rotations: BTreeSet<(SessionId, u64)>,
}

/// A write and what its sender had read: the requests that had not begun when the account was read.
pub type DecidedBefore = BTreeSet<usize>;

/// The rules of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Its requests.
    pub processes: &'a [Process],
    /// The table as it begins.
    pub initial: &'a Table,
    /// How many sessions a user may have.
    pub limit: usize,
}

fn check(holds: bool, broken: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Rules<'_> {
    /// The history before anything has happened.
    #[must_use]
    pub fn beginning(&self) -> History {
        History {
            seen: vec![Seen::default(); self.processes.len()],
            ..History::default()
        }
    }

    /// Notes that a request has made a call.
    pub fn note_call(&self, history: &mut History, table: &Table, request: usize, call: &Call) {
        if history.seen[request].started.is_none() {
            history.seen[request].started = Some(live_set(table));
        }
        if *call == Call::GetAccount {
            let unbegun =
                (0..self.processes.len()).filter(|other| history.seen[*other].started.is_none());
            history.seen[request].unbegun_at_read = unbegun.collect();
        }
    }

    /// What a request has decided before, if it sends a write now.
    #[must_use]
    pub fn decided_before(&self, history: &History, request: usize) -> DecidedBefore {
        history.seen[request].unbegun_at_read.clone()
    }

    /// The rules on one step: `call`, a write on behalf of `request`, was made and made `after` of
    /// `before`.
    ///
    /// # Errors
    /// The rule that it has broken.
    pub fn check_step(
        &self,
        history: &mut History,
        request: usize,
        call: &Call,
        decided_before: &DecidedBefore,
        before: &Table,
        after: &Table,
    ) -> Result<(), Broken> {
        if let Call::Rotate {
            session, presented, ..
        } = call
        {
            check(history.rotations.insert((*session, presented + 1)), || {
                format!(
                    "guarantee 1: {}.{presented} was exchanged twice, the lineage has forked",
                    name(*session)
                )
            })?;
        }
        if let (Some(was), Some(is)) = (&before.account, &after.account)
            && was != is
        {
            self.check_change(history, request, decided_before, before, was, is)?;
            if let Call::Transact { .. } = call {
                self.check_sign_in(request, after)?;
            }
        }
        self.check_table(history, after)
    }

    /// The rules on a change of the account.
    fn check_change(
        &self,
        history: &mut History,
        request: usize,
        decided_before: &DecidedBefore,
        table: &Table,
        was: &AccountItem,
        is: &AccountItem,
    ) -> Result<(), Broken> {
        let is_known = was.change == Some(request) || was.previous_change == Some(request);
        check(!is_known, || {
            "guarantee 7: one request has made its change twice".to_owned()
        })?;
        history.seen[request].committed = true;
        self.check_link(request, was)?;
        let left: Vec<SessionId> = was.sessions.difference(&is.sessions).copied().collect();
        for id in &left {
            check(self.may_end(request, *id, was, table), || {
                format!("this request has no right to end {}", name(*id))
            })?;
        }
        history.left.extend(left);
        for id in is.sessions.difference(&was.sessions) {
            check(!history.left.contains(id), || {
                format!("{} had left the set and came back", name(*id))
            })?;
            check(
                !self.was_ended_since(history, decided_before, request),
                || {
                    format!(
                        "guarantee 3: {} comes in on a read from before the end of all sessions",
                        name(*id)
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The rules on a link that does what it is for.
    fn check_link(&self, request: usize, was: &AccountItem) -> Result<(), Broken> {
        match self.processes[request].request {
            Request::ResetPassword {
                password_version, ..
            } => check(was.password_version == password_version, || {
                "a link has replaced a password that was chosen after it was sent".to_owned()
            }),
            Request::ChangeEmail { asked_on } => check(
                was.sessions.contains(&asked_on) && was.email_version == 0,
                || {
                    let asked_on = name(asked_on);
                    format!(
                        "a link has moved the address that was asked for on {asked_on}, which had ended"
                    )
                },
            ),
            _ => Ok(()),
        }
    }

    /// Whether somebody has begun and been answered "all have ended" since the request read what it decided on.
    fn was_ended_since(
        &self,
        history: &History,
        decided_before: &DecidedBefore,
        request: usize,
    ) -> bool {
        decided_before.iter().any(|other| {
            let ends_all = match self.processes[*other].request {
                Request::RevokeAll { .. }
                | Request::ChangePassword { .. }
                | Request::ResetPassword { .. }
                | Request::Delete { .. }
                | Request::Disable => true,
                Request::Refresh { .. }
                | Request::SignIn { .. }
                | Request::Revoke { .. }
                | Request::Logout { .. }
                | Request::ChangeEmail { .. }
                | Request::Reauthenticate { .. }
                | Request::Purge { .. } => false,
            };
            let answered = matches!(
                history.seen[*other].answer,
                Some(Answer::Done | Answer::SignedIn(_))
            );
            *other != request && ends_all && answered
        })
    }

    /// Whether a token had been replaced more than the grace before, so that whoever presents it ends its session.
    fn was_replaced_long_before(
        &self,
        session: SessionId,
        presented: u64,
        now: DateTime<Utc>,
    ) -> bool {
        let grace = SessionPolicy::default().refresh_grace;
        let begun_with = self.initial.sessions.get(&session);
        begun_with.is_some_and(|item| item.rotation > presented && now - item.rotated_at > grace)
    }

    /// Whether a request may take this id out of the set: each ends what it was asked to, and nothing else.
    fn may_end(&self, request: usize, id: SessionId, was: &AccountItem, table: &Table) -> bool {
        let process = &self.processes[request];
        match process.request {
            Request::Refresh { session, presented } => {
                id == session && self.was_replaced_long_before(session, presented, process.now)
            }
            Request::Revoke { target, .. } => id == target,
            Request::RevokeAll {
                caller,
                keep_current,
            } => !(keep_current && id == caller),
            Request::Logout { session } => id == session,
            Request::SignIn { .. } => {
                // A refresh does not move the account's version, so it may fall between a sign-in's reading a session
                // and its admission: the session may be judged as it was when it was read.
                let mut as_read = table.sessions.clone();
                as_read.extend(self.initial.sessions.clone());
                [&table.sessions, &as_read]
                    .iter()
                    .any(|items| self.makes_room(id, was, items, process.now))
            }
            Request::ChangePassword { .. }
            | Request::ResetPassword { .. }
            | Request::Delete { .. }
            | Request::Disable => true,
            Request::Purge { .. }
            | Request::Reauthenticate { .. }
            | Request::ChangeEmail { .. } => false,
        }
    }

    /// Whether the session has expired, or is one of the least recently used that must go for one more to fit.
    fn makes_room(
        &self,
        id: SessionId,
        was: &AccountItem,
        items: &BTreeMap<SessionId, SessionItem>,
        now: DateTime<Utc>,
    ) -> bool {
        let unexpired = |id| {
            let described = items.get(id).map(SessionItem::to_domain);
            described.filter(|found| !found.is_expired(now))
        };
        let Some(session) = unexpired(&id) else {
            return true;
        };
        let counted: Vec<_> = was.sessions.iter().filter_map(unexpired).collect();
        let used_before = counted
            .iter()
            .filter(|other| (other.last_used_at, other.id) < (session.last_used_at, session.id))
            .count();
        used_before < (counted.len() + 1).saturating_sub(self.limit)
    }

    /// The rules on a sign-in that has just come in.
    fn check_sign_in(&self, request: usize, after: &Table) -> Result<(), Broken> {
        let Request::SignIn { new, password } = self.processes[request].request else {
            return Ok(());
        };
        let is = after
            .credential
            .as_ref()
            .map(|credential| credential.password);
        check(is == Some(password), || {
            format!(
                "guarantee 3: {} came in with a password that was replaced",
                name(new)
            )
        })?;
        let (Some(credential), Some(account)) = (&after.credential, &after.account) else {
            return Ok(());
        };
        check(
            credential.password_version == account.password_version,
            || "credential and account differ in their password version".to_owned(),
        )?;
        Ok(())
    }

    /// The rules on every table.
    fn check_table(&self, history: &History, table: &Table) -> Result<(), Broken> {
        let Some(account) = &table.account else {
            return Ok(());
        };
        check(account.sessions.len() <= self.limit, || {
            format!(
                "guarantee 4: more than {} sessions are admitted",
                self.limit
            )
        })?;
        check(
            account.status == Status::Active || account.sessions.is_empty(),
            || "guarantee 3: somebody is signed in on an account that is not active".to_owned(),
        )?;
        let has_password = account.status != Status::Deleted;
        let credential = table.credential.as_ref().filter(|credential| {
            (credential.password_version, credential.address)
                == (account.password_version, account.email_version)
        });
        check(has_password == credential.is_some(), || {
            "the account is not found by its address and password".to_owned()
        })?;
        for id in &account.sessions {
            let refreshed = history.rotations.iter().any(|(session, _)| session == id);
            let begun_with = self.initial.sessions.get(id);
            let had_expired =
                !refreshed && begun_with.is_some_and(|item| item.idle_expires_at <= noon());
            check(table.sessions.contains_key(id) || had_expired, || {
                format!("the item of {} was deleted, which is in the set", name(*id))
            })?;
        }
        Ok(())
    }

    /// The rules on an answer, given at the moment of the request's last reply.
    ///
    /// # Errors
    /// The rule that it has broken.
    pub fn check_answer(
        &self,
        history: &mut History,
        request: usize,
        answer: &Answer,
        table: &Table,
    ) -> Result<(), Broken> {
        history.seen[request].answer = Some(answer.clone());
        let seen = &history.seen[request];
        let at_start = seen.started.clone().unwrap_or_default();
        let ended = |id: SessionId| !live_set(table).contains(&id);
        let process = &self.processes[request];
        if let Request::Refresh { session, presented } = process.request
            && self.was_replaced_long_before(session, presented, process.now)
            && *answer != Answer::Unavailable
        {
            check(ended(session), || {
                format!(
                    "guarantee 2: {} lives, though a token came back that was replaced long before",
                    name(session)
                )
            })?;
        }
        match (answer, &self.processes[request].request) {
            (
                Answer::Refreshed(given) | Answer::NotDue(given),
                Request::Refresh { presented, .. },
            ) => {
                check(at_start.contains(&given.session), || {
                    format!(
                        "guarantee 3: {} had ended before this refresh began",
                        name(given.session)
                    )
                })?;
                let rotation = given.rotation;
                let expected = match answer {
                    Answer::NotDue(_) => *presented,
                    _ => presented + 1,
                };
                check(rotation == expected, || {
                    format!("guarantee 1: the successor of {presented} is {rotation}")
                })?;
                check_successors(history, given)?;
            }
            (Answer::Reauthenticated(given), _) => {
                check(at_start.contains(&given.session), || {
                    format!(
                        "guarantee 3: {} had ended before this reauthentication began",
                        name(given.session)
                    )
                })?;
                let newest = table.sessions.get(&given.session);
                check(
                    newest.is_none_or(|item| item.rotation >= given.rotation),
                    || "guarantee 1: the token of a reauthentication was never written".to_owned(),
                )?;
                check_successors(history, given)?;
            }
            (Answer::SignedIn(new), asked) => {
                check(table.admits(*new) || history.left.contains(new), || {
                    format!("guarantee 4: {} was never admitted", name(*new))
                })?;
                if let Request::ChangePassword { .. } = asked {
                    check(at_start.iter().all(|id| ended(*id)), || {
                        "guarantee 3: a session has outlived the password change".to_owned()
                    })?;
                }
            }
            (
                Answer::Done,
                Request::Revoke {
                    target: session, ..
                }
                | Request::Logout { session },
            ) => {
                check(ended(*session), || {
                    format!("guarantee 3: {} has not ended", name(*session))
                })?;
            }
            (
                Answer::Done,
                Request::RevokeAll {
                    caller,
                    keep_current,
                },
            ) => {
                let kept = |id: &SessionId| *keep_current && id == caller;
                check(at_start.iter().all(|id| kept(id) || ended(*id)), || {
                    "guarantee 3: a session has outlived the revocation of all".to_owned()
                })?;
            }
            (Answer::Done, Request::ResetPassword { .. }) => {
                check(at_start.iter().all(|id| ended(*id)), || {
                    "guarantee 3: a session has outlived the reset".to_owned()
                })?;
            }
            (Answer::Done, Request::Delete { .. } | Request::Disable) => {
                check(live_set(table).is_empty(), || {
                    "guarantee 3: a session has outlived its account".to_owned()
                })?;
            }
            (Answer::Reused, Request::Refresh { session, .. }) => {
                check(ended(*session), || {
                    format!("guarantee 2: {} was replayed and lives", name(*session))
                })?;
            }
            (Answer::Refused(why), _) => {
                check(!seen.committed, || {
                    format!("guarantee 7: answered \"{why}\", but its change was made")
                })?;
            }
            (
                Answer::Refreshed(_)
                | Answer::NotDue(_)
                | Answer::Reused
                | Answer::Done
                | Answer::Unavailable,
                _,
            ) => {}
        }
        Ok(())
    }
}

/// The rule on a refresh token that is given: it has the claims that everybody else got.
fn check_successors(history: &History, given: &Claims) -> Result<(), Broken> {
    let others = history.seen.iter().filter_map(|seen| seen.answer.as_ref());
    for other in others.filter_map(Answer::refresh_token) {
        let is_same_token = (other.session, other.rotation) == (given.session, given.rotation);
        check(!is_same_token || other == given, || {
            "guarantee 1: two different successors of one token".to_owned()
        })?;
    }
    Ok(())
}

/// The set, if the account is active.
fn live_set(table: &Table) -> BTreeSet<SessionId> {
    table
        .account
        .as_ref()
        .filter(|account| account.status == Status::Active)
        .map(|account| account.sessions.clone())
        .unwrap_or_default()
}
