//! What a right service may have answered: one user's requests of one round, held against what the table held before and
//! after it.
//!
//! A request takes effect at some moment between its beginning and its end; one that was answered 503 at such a moment or
//! never. So an answer is wrong only if no moments fit. Everything here is a consequence of the rules of the design that
//! holds for all moments: what is flagged is wrong, whatever the order was.

mod administration;
mod births;
mod limits;
mod lives;
mod password;
mod proof;
mod refresh;
mod table;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use latchkey_domain::clock::whole_seconds;
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;

use crate::earlier::{Earlier, Told};
use crate::history::{Access, Answer, Event, Moment, Op, Shown, StoredUser};

/// What went wrong, and with which session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Violation {
    pub(crate) session: Option<SessionId>,
    pub(crate) what: String,
}

/// The service's times are cut to milliseconds.
const SLACK: Moment = 2_000;

/// The rules as the service has them, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    idle: Moment,
    absolute: Moment,
    grace: Moment,
    interval: Moment,
    limit: usize,
    proof_within: Moment,
    free_failures: u32,
}

impl From<&SessionPolicy> for Rules {
    fn from(policy: &SessionPolicy) -> Self {
        Self {
            idle: policy.idle_lifetime.num_milliseconds() * 1000,
            absolute: policy.absolute_lifetime.num_milliseconds() * 1000,
            grace: policy.refresh_grace.num_milliseconds() * 1000,
            interval: policy.rotation_interval().num_milliseconds() * 1000,
            limit: policy.max_sessions,
            proof_within: policy.reauthenticate_within.num_milliseconds() * 1000,
            free_failures: policy.limits.free_failures,
        }
    }
}

/// An expiry is a whole second.
fn cut(moment: Moment) -> Moment {
    DateTime::<Utc>::from_timestamp_micros(moment)
        .map_or(moment, |time| whole_seconds(time).timestamp_micros())
}

/// What is known of one session in one round.
#[derive(Debug)]
struct Life {
    /// Between these it was admitted.
    born: (Moment, Moment),
    /// The password that it was signed in with in this round, if that is known.
    password: Option<String>,
    created_at: Moment,
    /// Whether it had ended before the round.
    dead_before: bool,
    rotation_before: u64,
    rotated_before: Moment,
    idle_before: Moment,
    used_before: Moment,
    authenticated_before: Moment,
    absolute_end: Moment,
    /// It was live at some moment between these.
    seen: Vec<(Moment, Moment, String)>,
    /// It was not live at some moment between these, and that is to be explained.
    missed: Vec<(Moment, Moment, String)>,
    /// It was not live from these moments on, at the latest.
    ends: Vec<(Moment, String)>,
}

impl Life {
    /// The moment from which on it was not live, at the latest.
    fn first_missed(&self) -> Option<Moment> {
        self.ends.iter().map(|(end, _)| *end).min()
    }

    /// It was live at some moment after this one. What is seen of it after its end is wrong, and says nothing here.
    fn last_seen(&self) -> Moment {
        let until = self.first_missed().unwrap_or(Moment::MAX);
        let seen = self.seen.iter().map(|(start, ..)| *start);
        seen.filter(|start| *start <= until)
            .fold(self.born.0, Moment::max)
    }
}

/// One round of one user.
pub(crate) struct Round<'a> {
    pub(crate) rules: Rules,
    pub(crate) before: Option<&'a StoredUser>,
    pub(crate) after: Option<&'a StoredUser>,
    pub(crate) events: &'a [Event],
    pub(crate) earlier: &'a Earlier,
    /// The events that were told of this user until now.
    pub(crate) told: &'a Told,
    /// When the table was read.
    pub(crate) ended: Moment,
}

/// Judges a round.
pub(crate) fn judge(round: &Round<'_>) -> Vec<Violation> {
    let mut judge = Judge {
        round,
        lives: BTreeMap::new(),
        ghosts: 0,
        violations: Vec::new(),
    };
    judge.births();
    judge.ghosts();
    for event in round.events {
        judge.note(event);
    }
    judge.guesses();
    judge.wrong_passwords();
    judge.table();
    judge.lives();
    judge.told();
    judge.violations
}

struct Judge<'a> {
    round: &'a Round<'a>,
    lives: BTreeMap<SessionId, Life>,
    /// Sign-ins that were answered 503 and may have made a session that was not seen.
    ghosts: usize,
    violations: Vec<Violation>,
}

impl Judge<'_> {
    fn violation(&mut self, session: Option<SessionId>, what: impl Into<String>) {
        let what = what.into();
        self.violations.push(Violation { session, what });
    }

    fn see(&mut self, id: SessionId, event: &Event, what: &str) {
        match self.lives.get_mut(&id) {
            Some(life) => life.seen.push((event.start, event.end, what.to_owned())),
            None => self.violation(Some(id), format!("{what} works with an unknown session")),
        }
    }

    fn miss(&mut self, id: SessionId, event: &Event, what: &str) {
        if let Some(life) = self.lives.get_mut(&id)
            && life.born.1 < event.start
        {
            life.missed.push((event.start, event.end, what.to_owned()));
            life.ends.push((event.end, what.to_owned()));
        }
    }

    fn end(&mut self, id: SessionId, event: &Event) {
        let what = event.op.name().to_owned();
        if let Some(life) = self.lives.get_mut(&id) {
            life.ends.push((event.end, what));
        }
    }

    /// All that were admitted before the request began end with it, but one.
    fn end_all(&mut self, event: &Event, but: Option<SessionId>) {
        for (id, life) in &mut self.lives {
            if Some(*id) != but && life.born.1 < event.start {
                life.ends.push((event.end, event.op.name().to_owned()));
            }
        }
    }

    fn note(&mut self, event: &Event) {
        if let Answer::Wrong(what) = &event.answer {
            let session = event.op.by().map(|by| by.session).or(event.op.target());
            self.violation(session, format!("{}: {what}", event.op.name()));
            return;
        }
        if matches!(event.answer, Answer::Unavailable) {
            return;
        }
        if let Some(by) = event.op.by()
            && !self.let_in(event, by)
        {
            return;
        }
        let before = self.round.before.map(|before| before.user);
        match (&event.op, &event.answer) {
            (Op::Refresh { .. }, _) => self.refresh(event),
            (Op::Register { .. } | Op::SignIn { .. }, Answer::Tokens(tokens)) => {
                if before.is_some_and(|user| user != tokens.user) {
                    self.violation(Some(tokens.session.id), "signed in as somebody else");
                }
                if let Op::SignIn { password, .. } = &event.op {
                    self.password_was_right(event, password, tokens.session.id);
                }
                if self.was_closed(event.start, event.end) {
                    let session = Some(tokens.session.id);
                    self.violation(session, "a sign-in to an account that was disabled");
                }
            }
            (Op::SignIn { guesser, .. }, Answer::Refused(429, _)) => {
                self.sign_in_was_throttled(event, *guesser);
            }
            (Op::SignIn { .. }, Answer::Refused(403, code)) if code == "account_disabled" => {
                self.was_refused_as_closed(event);
            }
            (Op::Register { .. }, Answer::Refused(409, _)) => {
                let mine = |other: &Event| {
                    matches!(other.op, Op::Register { .. })
                        && other.start < event.start
                        && other.answer.may_be_done()
                };
                if !self.round.events.iter().any(mine) && before.is_none() {
                    self.violation(None, "an address was taken that nobody can have");
                }
            }
            (Op::SignIn { password, .. }, Answer::Refused(401, _)) => {
                self.password_was_wrong(event, password, None);
            }
            (Op::LogOut { session }, Answer::Nothing) => self.end(*session, event),
            (Op::List(by), Answer::Sessions(shown)) => self.list(event, *by, shown),
            (Op::Current(by), Answer::Session(shown)) => {
                if shown.id != by.session {
                    self.violation(Some(by.session), "the current session is another one");
                }
            }
            (Op::Me(by), Answer::User(user)) => {
                if before.is_some_and(|before| before != *user) {
                    self.violation(Some(by.session), "somebody else's account");
                }
            }
            (Op::Rename { target, name, .. }, Answer::Session(shown)) => {
                if shown.id != *target || shown.name.as_ref() != Some(name) {
                    self.violation(Some(*target), "renamed otherwise than asked");
                }
                self.see(*target, event, "rename");
            }
            (Op::Revoke { target, .. }, Answer::Nothing) => {
                self.see(*target, event, "revoke");
                self.end(*target, event);
            }
            (
                Op::Rename { target, .. } | Op::Revoke { target, .. } | Op::AdminRevoke { target },
                Answer::Refused(404, code),
            ) if code == "session_not_found" => {
                self.miss(*target, event, "404 session_not_found");
            }
            (Op::AdminRevoke { target }, Answer::Nothing) => {
                // One that the account admits is ended without its item too.
                if !self.may_have_been_purged(*target, event) {
                    self.see(*target, event, "an administrator's revoke");
                }
                self.end(*target, event);
            }
            (Op::Disable, Answer::Nothing) => self.end_all(event, None),
            (Op::Enable, Answer::Nothing) => {}
            (Op::AdminRevoke { .. } | Op::Disable | Op::Enable, Answer::Refused(404, code))
                if code == "user_not_found" =>
            {
                self.user_was_not_found(event);
            }
            (Op::Administer(by), Answer::Nothing) => self.recent_proof(event, *by),
            (Op::Administer(by) | Op::Delete { by, .. }, answer)
                if answer.is_code("reauthentication_required") =>
            {
                self.recent_proof(event, *by);
            }
            (Op::Reauthenticate { by, password, .. }, Answer::Tokens(tokens)) => {
                self.proof(event, *by, password, tokens);
            }
            (op, Answer::Refused(429, _)) if op.confirmation().is_some() => {
                if let Some((by, _)) = op.confirmation() {
                    self.confirmation_was_throttled(event, by);
                }
            }
            (Op::RevokeAll { by, keep }, Answer::Count(count)) => {
                let others = self.lives.iter().filter(|(id, life)| {
                    (!*keep || **id != by.session) && life.born.0 <= event.end && !life.dead_before
                });
                let most = others.count() + self.ghosts;
                if *count > most {
                    let what = format!("{count} sessions were revoked, of {most} at most");
                    self.violation(Some(by.session), what);
                }
                self.end_all(event, keep.then_some(by.session));
            }
            (Op::Purge(_), Answer::Count(_)) => {}
            (Op::ChangePassword { old, .. }, Answer::Tokens(tokens)) => {
                self.password_was_right(event, old, tokens.session.id);
                self.end_all(event, None);
                // Who came in with the old password came in before, however late the answer was: no password comes back.
                for life in self.lives.values_mut() {
                    if life.password.as_ref() == Some(old) {
                        life.ends.push((event.end, event.op.name().to_owned()));
                    }
                }
            }
            (
                Op::ChangePassword {
                    old: password, by, ..
                }
                | Op::Delete { password, by }
                | Op::Reauthenticate { password, by, .. },
                Answer::Refused(403, code),
            ) if code == "wrong_password" => {
                self.password_was_wrong(event, password, Some(by.session));
            }
            (Op::Delete { by, .. }, Answer::Nothing) => {
                self.recent_proof(event, *by);
                self.end_all(event, None);
            }
            (op, answer) => {
                let session = op.by().map(|by| by.session).or(op.target());
                let what = format!("{} answered {}", op.name(), answer.in_short());
                self.violation(session, what);
            }
        }
    }

    /// Whether the access token was taken, and whether that was right.
    fn let_in(&mut self, event: &Event, by: Access) -> bool {
        let what = event.op.name();
        if event.answer.is_code("invalid_token") {
            // At the moment of its expiry it is invalid already.
            if event.end < by.expires {
                self.miss(by.session, event, "401 invalid_token");
            }
            return false;
        }
        if event.start >= by.expires + SLACK {
            self.violation(
                Some(by.session),
                format!("{what} works with an access token that has expired"),
            );
        }
        self.see(by.session, event, what);
        true
    }

    fn list(&mut self, event: &Event, by: Access, shown: &[Shown]) {
        if shown.len() > self.round.rules.limit {
            let what = format!("{} live sessions", shown.len());
            self.violation(Some(by.session), what);
        }
        let ids: BTreeSet<SessionId> = shown.iter().map(|one| one.id).collect();
        if ids.len() < shown.len() {
            self.violation(Some(by.session), "a list shows a session twice");
        }
        for id in &ids {
            self.see(*id, event, "being listed");
        }
        let missing: Vec<SessionId> = self.lives.keys().copied().collect();
        for id in missing.into_iter().filter(|id| !ids.contains(id)) {
            self.miss(id, event, "not being listed");
        }
    }
}
