//! What a right service may have answered: one user's requests of one round, held against what the table held before and
//! after it.
//!
//! A request takes effect at some moment between its beginning and its end; one that was answered 503 at such a moment or
//! never. So an answer is wrong only if no moments fit. Everything here is a consequence of the rules of the design that
//! holds for all moments: what is flagged is wrong, whatever the order was.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use latchkey_domain::clock::whole_seconds;
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;

use super::history::{Access, Answer, Event, Moment, Op, Shown, StoredUser, Tokens};

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
}

impl From<&SessionPolicy> for Rules {
    fn from(policy: &SessionPolicy) -> Self {
        Self {
            idle: policy.idle_lifetime.num_milliseconds() * 1000,
            absolute: policy.absolute_lifetime.num_milliseconds() * 1000,
            grace: policy.refresh_grace.num_milliseconds() * 1000,
            interval: policy.rotation_interval().num_milliseconds() * 1000,
            limit: policy.max_sessions,
        }
    }
}

/// An expiry is a whole second.
fn cut(moment: Moment) -> Moment {
    DateTime::<Utc>::from_timestamp_micros(moment)
        .map_or(moment, |time| whole_seconds(time).timestamp_micros())
}

/// The rotation that a session may have had after a refresh.
fn may_have_reached(event: &Event, presented: u64) -> Option<u64> {
    match &event.answer {
        Answer::Tokens(tokens) => Some(tokens.rotation),
        // The write does not know of the account: it rotates an ended session too.
        answer if answer.may_be_done() || answer.is_code("invalid_refresh_token") => {
            Some(presented + 1)
        }
        _ => None,
    }
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
    absolute_end: Moment,
    /// It was live at some moment between these.
    seen: Vec<(Moment, Moment, String)>,
    /// It was not live at some moment between these, and that is to be explained.
    missed: Vec<(Moment, Moment, String)>,
    /// It was not live from these moments on, at the latest.
    ends: Vec<(Moment, String)>,
}

/// One round of one user.
pub(crate) struct Round<'a> {
    pub(crate) rules: Rules,
    pub(crate) before: Option<&'a StoredUser>,
    pub(crate) after: Option<&'a StoredUser>,
    pub(crate) events: &'a [Event],
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
    judge.table();
    judge.lives();
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

    fn birth(&self, created_at: Moment, used: Moment, born: (Moment, Moment)) -> Life {
        Life {
            born,
            password: None,
            created_at,
            dead_before: false,
            rotation_before: 0,
            rotated_before: created_at,
            idle_before: cut(created_at + self.round.rules.idle),
            used_before: used,
            absolute_end: cut(created_at + self.round.rules.absolute),
            seen: Vec::new(),
            missed: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// What was there before, and what sign-ins were told.
    fn births(&mut self) {
        if let Some(before) = self.round.before {
            for (id, stored) in &before.sessions {
                let mut life = self.birth(
                    stored.created_at,
                    stored.last_used_at,
                    (Moment::MIN, Moment::MIN),
                );
                life.dead_before = !before.admitted.contains(id);
                life.rotation_before = stored.rotation;
                life.rotated_before = stored.rotated_at;
                life.idle_before = stored.idle_end;
                life.absolute_end = stored.absolute_end;
                self.lives.insert(*id, life);
            }
        }
        for event in self.round.events {
            let Answer::Tokens(tokens) = &event.answer else {
                continue;
            };
            if matches!(event.op, Op::Refresh { .. }) {
                continue;
            }
            let shown = &tokens.session;
            let born = (event.start, event.end);
            let mut life = self.birth(shown.created_at, shown.last_used_at, born);
            if let Op::SignIn { password } = &event.op {
                life.password = Some(password.clone());
            }
            if self.lives.insert(shown.id, life).is_some() {
                self.violation(Some(shown.id), "a new session has the id of an old one");
            }
            if !(event.start - SLACK..=event.end).contains(&shown.created_at) {
                self.violation(Some(shown.id), "a new session was not made just now");
            }
        }
    }

    /// Sessions that nobody was told of: of sign-ins that were answered 503.
    fn ghosts(&mut self) {
        let mut unanswered: Vec<(Moment, Moment)> = self
            .round
            .events
            .iter()
            .filter(|event| {
                matches!(
                    event.op,
                    Op::Register { .. } | Op::SignIn { .. } | Op::ChangePassword { .. }
                ) && matches!(event.answer, Answer::Unavailable)
            })
            .map(|event| (event.start, event.end))
            .collect();
        let listed = self
            .round
            .events
            .iter()
            .filter_map(|event| match &event.answer {
                Answer::Sessions(sessions) => Some(sessions.as_slice()),
                _ => None,
            });
        let mut unknown: BTreeMap<SessionId, Moment> = BTreeMap::new();
        unknown.extend(listed.flatten().map(|shown| (shown.id, shown.created_at)));
        if let Some(after) = self.round.after {
            let stored = after.sessions.iter();
            unknown.extend(stored.map(|(id, stored)| (*id, stored.created_at)));
        }
        unknown.retain(|id, _| !self.lives.contains_key(id));
        let mut unknown: Vec<_> = unknown.into_iter().collect();
        unknown.sort_by_key(|(_, created_at)| *created_at);
        // The one that ends first fits the fewest others.
        unanswered.sort_by_key(|(_, end)| *end);
        let all = unanswered.clone();
        for (id, created_at) in unknown {
            let fits =
                |(start, end): &(Moment, Moment)| (start - SLACK..=*end).contains(&created_at);
            // Which of those that fit has made it is not known, so it may have been admitted until the last one's end.
            let last = all.iter().rfind(|one| fits(one));
            let born = (created_at, last.map_or(created_at, |(_, end)| *end));
            match unanswered.iter().position(fits) {
                Some(place) => drop(unanswered.remove(place)),
                None => self.violation(Some(id), "a session that nobody can have made"),
            }
            let life = self.birth(created_at, born.1, born);
            self.lives.insert(id, life);
        }
        self.ghosts = unanswered.len();
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
                if let Op::SignIn { password } = &event.op {
                    self.password_was_right(event, password, tokens.session.id);
                }
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
            (Op::SignIn { password }, Answer::Refused(401, _)) => {
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
            (Op::Rename { target, .. } | Op::Revoke { target, .. }, Answer::Refused(404, _)) => {
                self.miss(*target, event, "404 session_not_found");
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
                | Op::Delete { password, by },
                Answer::Refused(403, _),
            ) => self.password_was_wrong(event, password, Some(by.session)),
            (Op::Delete { .. }, Answer::Nothing) => self.end_all(event, None),
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
            // At the moment of its expiry it is worthless already.
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

    fn refreshes(&self, id: SessionId) -> impl Iterator<Item = (&Event, u64)> {
        self.round
            .events
            .iter()
            .filter_map(move |event| match event.op {
                Op::Refresh {
                    session, rotation, ..
                } if session == id => Some((event, rotation)),
                _ => None,
            })
    }

    fn refresh(&mut self, event: &Event) {
        let Op::Refresh {
            session: id,
            rotation: presented,
            expires,
        } = event.op
        else {
            return;
        };
        let Some(life) = self.lives.get(&id) else {
            if matches!(event.answer, Answer::Tokens(_)) {
                self.violation(
                    Some(id),
                    "a refresh works for a session that was gone".to_owned(),
                );
            }
            return;
        };
        let grace = self.round.rules.grace;
        // May there have been this rotation at the end of the request?
        let may_have_come = |wanted: u64| {
            life.rotation_before >= wanted
                || self.refreshes(id).any(|(other, rotation)| {
                    other.start <= event.end
                        && may_have_reached(other, rotation)
                            .is_some_and(|reached| reached >= wanted)
                        && !std::ptr::eq(other, event)
                })
        };
        let answered: Vec<(&Event, &Tokens)> = self
            .refreshes(id)
            .filter_map(|(other, _)| match &other.answer {
                Answer::Tokens(tokens) => Some((other, &**tokens)),
                _ => None,
            })
            .collect();
        // The latest rotation that is known to have come before the request.
        let known = answered
            .iter()
            .filter(|(other, _)| other.end < event.start)
            .map(|(_, tokens)| (tokens.rotation, tokens.session.last_used_at))
            .chain([(life.rotation_before, life.rotated_before)])
            .max()
            .unwrap_or_default();
        match &event.answer {
            Answer::Tokens(tokens) => {
                let mut wrong = Vec::new();
                let is_same = tokens.rotation == presented;
                if !(is_same || tokens.rotation == presented + 1) || tokens.session.id != id {
                    wrong.push(format!(
                        "the successor of rotation {presented} is {}",
                        tokens.rotation
                    ));
                }
                if known.0 > tokens.rotation {
                    wrong.push(format!(
                        "rotation {presented} got rotation {} after rotation {} had come",
                        tokens.rotation, known.0
                    ));
                }
                let rotated = tokens.session.last_used_at;
                let age = event.start - rotated;
                if rotated > event.end || (!is_same && age > grace + SLACK) {
                    wrong.push("a refresh token got its successor after the grace".to_owned());
                }
                if is_same && (presented == 0 || age > self.round.rules.interval + SLACK) {
                    wrong.push("a refresh token was old enough and was not replaced".to_owned());
                }
                let before = answered
                    .iter()
                    .map(|(_, other)| (other.rotation, other.session.last_used_at))
                    .chain([(life.rotation_before, life.rotated_before)])
                    .find(|(rotation, _)| rotation + 1 == tokens.rotation);
                if let Some((1.., at)) = before
                    && rotated - at < self.round.rules.interval
                {
                    wrong.push("two rotations are closer than the interval".to_owned());
                }
                let other = answered.iter().find(|(_, other)| {
                    other.rotation == tokens.rotation
                        && (other.refresh_token != tokens.refresh_token
                            || other.session.last_used_at != rotated)
                });
                if other.is_some() {
                    wrong.push(format!("two successors of rotation {presented}"));
                }
                let idle_end = cut(rotated + self.round.rules.idle);
                let end = idle_end.min(life.absolute_end);
                if tokens.session.expires_at != end || tokens.refresh_expires != end {
                    wrong.push("tokens with a wrong expiry".to_owned());
                }
                if tokens.access_expires > end {
                    wrong.push("an access token that outlives its session".to_owned());
                }
                if event.start >= expires + SLACK {
                    wrong.push("a refresh token that has expired works".to_owned());
                }
                for what in wrong {
                    self.violation(Some(id), what);
                }
                self.see(id, event, "refresh");
            }
            Answer::Refused(401, code) if code == "invalid_refresh_token" => {
                if event.end < expires {
                    self.miss(id, event, "401 invalid_refresh_token");
                }
            }
            Answer::Refused(401, code) if code == "refresh_token_reused" => {
                let first_attempt = self
                    .refreshes(id)
                    .filter(|(other, rotation)| {
                        *rotation >= presented && !std::ptr::eq(*other, event)
                    })
                    .map(|(other, _)| other.start)
                    .min();
                let latest = if known.0 > presented {
                    Some(known.1)
                } else {
                    first_attempt
                };
                // Two rotations ahead, it was replaced long ago however young the latest rotation is.
                let wrong = !may_have_come(presented + 1)
                    || (!may_have_come(presented + 2)
                        && latest.is_none_or(|latest| event.end - latest <= grace));
                if wrong {
                    let what = format!(
                        "rotation {presented} was taken for stolen within the grace, or for nothing"
                    );
                    self.violation(Some(id), what);
                }
                self.end(id, event);
            }
            other => {
                let what = format!("refresh answered {}", other.in_short());
                self.violation(Some(id), what);
            }
        }
    }

    /// The changes that replace a password, or may have.
    fn replaced(&self, password: &str, until: Moment) -> impl Iterator<Item = &Event> {
        self.round.events.iter().filter(move |event| {
            let replaces = match &event.op {
                Op::ChangePassword { old, .. } => old == password,
                Op::Delete { .. } => true,
                _ => false,
            };
            replaces && event.start <= until && event.answer.may_be_done()
        })
    }

    fn set(&self, password: &str, until: Moment) -> Option<&Event> {
        self.round.events.iter().find(|event| {
            let sets = match &event.op {
                Op::ChangePassword { new, .. } | Op::Register { password: new } => new == password,
                _ => false,
            };
            sets && event.start <= until && event.answer.may_be_done()
        })
    }

    fn was_set_before(&self, password: &str) -> bool {
        let before = self.round.before;
        before.is_some_and(|before| before.password.as_deref() == Some(password))
    }

    fn password_was_right(&mut self, event: &Event, password: &str, session: SessionId) {
        let set = self.was_set_before(password) || self.set(password, event.end).is_some();
        let gone = self.replaced(password, event.start).any(|change| {
            change.answer.is_done() && change.end < event.start && !std::ptr::eq(change, event)
        });
        if !set || gone {
            let what = format!("{} with a password that was replaced", event.op.name());
            self.violation(Some(session), what);
        }
    }

    fn password_was_wrong(&mut self, event: &Event, password: &str, by: Option<SessionId>) {
        let set = self.was_set_before(password)
            || self
                .set(password, event.end)
                .is_some_and(|change| change.answer.is_done() && change.end < event.start);
        if set && self.replaced(password, event.end).next().is_none() {
            let what = format!("{} refuses the right password", event.op.name());
            self.violation(by, what);
        }
    }

    /// What the table held after the round.
    fn table(&mut self) {
        let (round, events) = (self.round, self.round.events);
        let deletions = || {
            events
                .iter()
                .filter(|one| matches!(one.op, Op::Delete { .. }))
        };
        let Some(after) = round.after else {
            let deleted = deletions().any(|event| event.answer.may_be_done());
            let registered = events
                .iter()
                .any(|one| matches!(one.op, Op::Register { .. }) && one.answer.is_done());
            if (round.before.is_some() || registered) && !deleted {
                self.violation(None, "an account is gone that nobody deleted");
            }
            return;
        };
        if deletions().any(|event| event.answer.is_done()) {
            self.violation(None, "an account is there that was deleted");
        }
        if after.admitted.len() > round.rules.limit {
            let what = format!("{} sessions in the account's set", after.admitted.len());
            self.violation(None, what);
        }
        let (mut least, mut most) = (round.before.map_or(1, |before| before.version), 0);
        for event in events {
            let always = matches!(event.op, Op::SignIn { .. } | Op::ChangePassword { .. });
            let at_times = matches!(
                event.op,
                Op::Revoke { .. } | Op::RevokeAll { .. } | Op::LogOut { .. } | Op::Delete { .. }
            ) || (matches!(event.op, Op::Refresh { .. })
                && matches!(event.answer, Answer::Unavailable))
                || event.answer.is_code("refresh_token_reused");
            if always && event.answer.is_done() {
                least += 1;
            } else if (always || at_times)
                && (event.answer.may_be_done() || event.answer.is_code("refresh_token_reused"))
            {
                most += 1;
            }
        }
        if !(least..=least + most).contains(&after.version) {
            let what = format!(
                "the account was written {} times too often or too rarely: version {}, not {least} to {}",
                if after.version < least {
                    least - after.version
                } else {
                    after.version - least - most
                },
                after.version,
                least + most
            );
            self.violation(None, what);
        }
        match &after.password {
            None => self.violation(None, "none of the passwords that were set is the account's"),
            Some(password) => {
                let gone = self
                    .replaced(password, Moment::MAX)
                    .any(|change| change.answer.is_done());
                let set =
                    self.was_set_before(password) || self.set(password, Moment::MAX).is_some();
                if gone || !set {
                    self.violation(None, "the account has a password that was replaced");
                }
            }
        }
        for id in &after.admitted {
            let life = self.lives.get(id);
            let expired =
                |life: &Life| self.may_end_by_itself(*id, life, round.ended) <= round.ended;
            // One that had run out and was purged stays in the set until the next sign-in takes it out.
            let gone_before = round.before.is_some_and(|before| {
                before.admitted.contains(id) && !before.sessions.contains_key(id)
            });
            if !after.sessions.contains_key(id) && !life.is_some_and(expired) && !gone_before {
                self.violation(Some(*id), "a session is admitted that has no item");
            }
        }
        for (id, stored) in &after.sessions {
            let Some(life) = self.lives.get(id) else {
                continue;
            };
            let mut wrong = Vec::new();
            let (mut least, mut most) = (life.rotation_before, life.rotation_before);
            for (event, presented) in self.refreshes(*id) {
                if let Answer::Tokens(tokens) = &event.answer {
                    least = least.max(tokens.rotation);
                }
                if let Some(reached) = may_have_reached(event, presented) {
                    most = most.max(reached);
                }
            }
            if !(least..=most.max(least)).contains(&stored.rotation) {
                wrong.push(format!(
                    "rotation {} in the table, not {least} to {most}",
                    stored.rotation
                ));
            }
            if life.created_at != stored.created_at || life.absolute_end != stored.absolute_end {
                wrong.push("a session's beginning or absolute expiry has moved".to_owned());
            }
            if !self.name_may_be(*id, stored.name.as_deref()) {
                wrong.push(format!("the name is {:?}", stored.name));
            }
            for what in wrong {
                self.violation(Some(*id), what);
            }
        }
    }

    fn name_may_be(&self, id: SessionId, name: Option<&str>) -> bool {
        let renames = || {
            self.round
                .events
                .iter()
                .filter_map(|event| match &event.op {
                    Op::Rename { target, name, .. }
                        if *target == id && event.answer.may_be_done() =>
                    {
                        Some((event, name.as_str()))
                    }
                    _ => None,
                })
        };
        let overwritten = |since: Moment, name: Option<&str>| {
            renames().any(|(event, other)| {
                event.answer.is_done() && event.start > since && Some(other) != name
            })
        };
        let before = self
            .round
            .before
            .and_then(|before| before.sessions.get(&id));
        let Some(before) = before else {
            // A password change takes the name over; whose, is not followed here.
            return true;
        };
        (before.name.as_deref() == name && !overwritten(Moment::MIN, name))
            || renames().any(|(event, other)| Some(other) == name && !overwritten(event.end, name))
    }

    /// The earliest moment at which a session may have expired, for what began at `start`.
    fn may_end_by_itself(&self, id: SessionId, life: &Life, start: Moment) -> Moment {
        let refreshed = self
            .refreshes(id)
            .filter_map(|(event, _)| match &event.answer {
                Answer::Tokens(tokens) if event.end < start => {
                    Some(cut(tokens.session.last_used_at + self.round.rules.idle))
                }
                _ => None,
            });
        let idle = refreshed.chain([life.idle_before]).max();
        idle.unwrap_or_default().min(life.absolute_end)
    }

    /// The moment at which it has expired for certain, for what ended at `end`.
    fn must_end_by_itself(&self, id: SessionId, life: &Life, end: Moment) -> Moment {
        let refreshed = self.refreshes(id).filter_map(|(event, _)| {
            let may = event.answer.may_be_done() && event.start <= end;
            may.then(|| event.end + self.round.rules.idle)
        });
        let idle = refreshed.chain([life.idle_before]).max();
        idle.unwrap_or_default().min(life.absolute_end)
    }

    /// Whether somebody may have ended a session until then.
    fn may_have_been_ended(&self, id: SessionId, life: &Life, until: Moment) -> bool {
        self.round.events.iter().any(|event| {
            if event.start > until {
                return false;
            }
            if event.answer.is_code("refresh_token_reused") {
                return event.op.target() == Some(id);
            }
            if !event.answer.may_be_done() {
                return false;
            }
            match &event.op {
                Op::LogOut { session } => *session == id,
                Op::Revoke { target, .. } => *target == id,
                Op::RevokeAll { by, keep } => !(*keep && by.session == id),
                Op::ChangePassword { .. } | Op::Delete { .. } => {
                    !matches!(&event.answer, Answer::Tokens(tokens) if tokens.session.id == id)
                }
                Op::Refresh {
                    session, rotation, ..
                } => {
                    // An unanswered replay may have been noticed.
                    matches!(event.answer, Answer::Unavailable)
                        && *session == id
                        && (rotation + 1 < life.rotation_before
                            || *rotation < life.rotation_before
                                && event.end - life.rotated_before > self.round.rules.grace)
                }
                Op::SignIn { .. } => self.may_have_evicted(id, life, event),
                Op::Register { .. }
                | Op::List(_)
                | Op::Current(_)
                | Op::Me(_)
                | Op::Rename { .. }
                | Op::Purge(_) => false,
            }
        })
    }

    /// Whether a sign-in may have found a session to be the least recently used of too many.
    fn may_have_evicted(&self, id: SessionId, life: &Life, sign_in: &Event) -> bool {
        let own = match &sign_in.answer {
            Answer::Tokens(tokens) => Some(tokens.session.id),
            _ => None,
        };
        if own == Some(id) {
            return false;
        }
        let used = |id: SessionId, least: bool| {
            self.refreshes(id)
                .filter_map(move |(event, _)| match &event.answer {
                    Answer::Tokens(tokens) if least => {
                        (event.end < sign_in.start).then_some(tokens.session.last_used_at)
                    }
                    answer if !least => {
                        (event.start <= sign_in.end && answer.may_be_done()).then_some(event.end)
                    }
                    _ => None,
                })
                .max()
        };
        let its_use = used(id, true).unwrap_or_default().max(life.used_before);
        let more_recent = self.lives.iter().filter(|(other, life)| {
            **other != id
                && Some(**other) != own
                && !life.dead_before
                && life.born.0 <= sign_in.end
                && life.ends.iter().all(|(end, _)| *end >= sign_in.start)
                && used(**other, false)
                    .unwrap_or_default()
                    .max(life.used_before)
                    >= its_use
        });
        more_recent.count() + self.ghosts + 1 >= self.round.rules.limit
    }

    /// Nobody is signed out who was not, and nobody who was gets in.
    fn lives(&mut self) {
        let round = self.round;
        let mut found = Vec::new();
        for (id, life) in &self.lives {
            let mut wrong = |what: String| {
                found.push(Violation {
                    session: Some(*id),
                    what,
                });
            };
            let mut missed = life.missed.clone();
            if let Some(after) = round.after {
                let admitted = after.admitted.contains(id);
                let expired = after
                    .sessions
                    .get(id)
                    .is_none_or(|stored| stored.idle_end.min(stored.absolute_end) <= round.ended);
                if life.dead_before && admitted {
                    wrong("an ended session has come back".to_owned());
                }
                if admitted
                    && !expired
                    && let Some((_, by)) = life.ends.first()
                {
                    wrong(format!("in the account's set, but ended: {by}"));
                }
                if !admitted {
                    missed.push((
                        round.ended,
                        round.ended,
                        "not in the set at the end".to_owned(),
                    ));
                }
            }
            if !life.dead_before {
                for (start, end, what) in &missed {
                    let by_itself = self.may_end_by_itself(*id, life, *start) <= *end;
                    if !by_itself && !self.may_have_been_ended(*id, life, *end) {
                        wrong(format!("signed out ({what}), but nobody has ended it"));
                        break;
                    }
                }
            }
            let first_end = life.ends.iter().min();
            for (start, end, what) in &life.seen {
                if life.dead_before {
                    wrong(format!("{what} works, but it had ended before the round"));
                    break;
                }
                if let Some((ended, by)) = first_end
                    && ended < start
                {
                    wrong(format!("{what} works, but it had been ended: {by}"));
                    break;
                }
                if *start >= self.must_end_by_itself(*id, life, *end) + SLACK {
                    wrong(format!("{what} works, but it has expired"));
                    break;
                }
            }
        }
        self.violations.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use latchkey_domain::id::UserId;
    use latchkey_domain::random::SeededRandom;

    use super::*;
    use crate::storm::history::StoredSession;

    const SECOND: Moment = 1_000_000;
    const NOON: Moment = 1_772_366_400 * SECOND;
    const DAY: Moment = 24 * 3600 * SECOND;

    fn session(seed: u64) -> SessionId {
        SessionId::random(&SeededRandom::new(seed))
    }

    fn stored(rotation: u64, rotated_at: Moment) -> StoredSession {
        StoredSession {
            rotation,
            rotated_at,
            created_at: NOON,
            last_used_at: rotated_at,
            idle_end: rotated_at + 7 * DAY,
            absolute_end: NOON + 30 * DAY,
            name: None,
        }
    }

    /// A user with sessions 1 and 2, a minute before the round.
    fn user() -> StoredUser {
        StoredUser {
            user: UserId::random(&SeededRandom::new(9)),
            version: 2,
            password: Some("old".to_owned()),
            admitted: vec![session(1), session(2)],
            sessions: [1, 2].map(|seed| (session(seed), stored(0, NOON))).into(),
        }
    }

    fn without(mut user: StoredUser, seed: u64) -> StoredUser {
        user.admitted.retain(|id| *id != session(seed));
        user.version += 1;
        user
    }

    fn rotated(mut user: StoredUser, seed: u64, rotation: u64, at: Moment) -> StoredUser {
        user.sessions.insert(session(seed), stored(rotation, at));
        user
    }

    /// A request from one second of the round to another.
    fn event(start: Moment, end: Moment, op: Op, answer: Answer) -> Event {
        let round = NOON + 60 * SECOND;
        Event {
            client: 0,
            start: round + start * SECOND,
            end: round + end * SECOND,
            op,
            answer,
        }
    }

    fn by(seed: u64) -> Access {
        Access {
            session: session(seed),
            expires: NOON + 900 * SECOND,
        }
    }

    fn refresh(seed: u64, rotation: u64) -> Op {
        Op::Refresh {
            session: session(seed),
            rotation,
            expires: NOON + 7 * DAY,
        }
    }

    fn successor(seed: u64, rotation: u64, at: Moment, token: &str) -> Answer {
        let used = NOON + (60 + at) * SECOND;
        Answer::Tokens(Box::new(Tokens {
            user: user().user,
            session: Shown {
                id: session(seed),
                name: None,
                created_at: NOON,
                last_used_at: used,
                expires_at: used + 7 * DAY,
            },
            refresh_token: token.to_owned(),
            rotation,
            refresh_expires: used + 7 * DAY,
            access_token: String::new(),
            access_expires: used + 900 * SECOND,
        }))
    }

    fn refused(code: &str) -> Answer {
        Answer::Refused(401, code.to_owned())
    }

    fn found(events: &[Event], after: &StoredUser) -> Vec<String> {
        let round = Round {
            rules: Rules::from(&SessionPolicy::default()),
            before: Some(&user()),
            after: Some(after),
            events,
            ended: NOON + 120 * SECOND,
        };
        judge(&round).into_iter().map(|one| one.what).collect()
    }

    fn only(events: &[Event], after: &StoredUser, part: &str) {
        let found = found(events, after);
        assert!(!found.is_empty(), "nothing was found");
        for what in &found {
            assert!(what.contains(part), "{found:?}");
        }
    }

    fn revoke(start: Moment, end: Moment, answer: Answer) -> Event {
        let (by, target) = (by(2), session(1));
        event(start, end, Op::Revoke { by, target }, answer)
    }

    #[test]
    fn a_quiet_round_and_a_refresh_in_two_tabs_are_right() {
        assert_eq!(found(&[], &user()), Vec::<String>::new());
        let tabs = [
            event(0, 2, refresh(1, 0), successor(1, 1, 1, "a")),
            event(0, 3, refresh(1, 0), successor(1, 1, 1, "a")),
        ];
        let after = rotated(user(), 1, 1, NOON + 61 * SECOND);
        assert_eq!(found(&tabs, &after), Vec::<String>::new());
    }

    #[test]
    fn a_forked_lineage_is_found() {
        let tabs = [
            event(0, 2, refresh(1, 0), successor(1, 1, 1, "a")),
            event(0, 3, refresh(1, 0), successor(1, 1, 2, "b")),
        ];
        only(
            &tabs,
            &rotated(user(), 1, 1, NOON + 62 * SECOND),
            "two successors",
        );
        only(
            &tabs[..1],
            &rotated(user(), 1, 2, NOON + 62 * SECOND),
            "rotation 2 in the table",
        );
    }

    #[test]
    fn nobody_gets_in_after_an_answered_end_but_may_while_it_is_under_way() {
        let revoke = || revoke(0, 2, Answer::Nothing);
        let refreshed = |start| event(start, 4, refresh(1, 0), successor(1, 1, 3, "a"));
        let after = without(rotated(user(), 1, 1, NOON + 63 * SECOND), 1);
        assert_eq!(
            found(&[revoke(), refreshed(1)], &after),
            Vec::<String>::new()
        );
        only(
            &[revoke(), refreshed(3)],
            &after,
            "works, but it had been ended: revoke",
        );
        let me = event(3, 4, Op::Me(by(1)), Answer::User(user().user));
        only(
            &[revoke(), me],
            &without(user(), 1),
            "works, but it had been ended: revoke",
        );
        let kept = StoredUser {
            version: 3,
            ..user()
        };
        only(&[revoke()], &kept, "in the account's set, but ended");
    }

    #[test]
    fn nobody_is_signed_out_whom_nobody_has_signed_out() {
        let out = |start, end| event(start, end, refresh(1, 0), refused("invalid_refresh_token"));
        let after = without(user(), 1);
        only(
            &[out(3, 4)],
            &StoredUser {
                version: 2,
                ..after.clone()
            },
            "nobody has ended it",
        );
        // A revocation that was answered 503 may have been made, if it had begun.
        let unanswered = revoke(2, 5, Answer::Unavailable);
        assert_eq!(
            found(&[unanswered.clone(), out(3, 4)], &after),
            Vec::<String>::new()
        );
        only(&[unanswered, out(0, 1)], &after, "nobody has ended it");
    }

    #[test]
    fn a_reuse_needs_a_replacement_long_ago() {
        let replayed = event(3, 4, refresh(1, 0), refused("refresh_token_reused"));
        only(
            std::slice::from_ref(&replayed),
            &without(user(), 1),
            "stolen within the grace, or for nothing",
        );
        let rotated_now = event(0, 2, refresh(1, 0), successor(1, 1, 1, "a"));
        let after = without(rotated(user(), 1, 1, NOON + 61 * SECOND), 1);
        only(&[rotated_now, replayed], &after, "stolen within the grace");
    }

    #[test]
    fn a_young_token_comes_back_and_an_old_one_does_not() {
        let first = event(0, 2, refresh(1, 0), successor(1, 1, 1, "a"));
        let again = |start, rotation, at| {
            event(
                start,
                start + 1,
                refresh(1, 1),
                successor(1, rotation, at, "a"),
            )
        };
        let after = |rotation, at: Moment| rotated(user(), 1, rotation, NOON + (60 + at) * SECOND);
        let young = [first.clone(), again(3, 1, 1)];
        assert_eq!(found(&young, &after(1, 1)), Vec::<String>::new());
        let old = [first.clone(), again(37, 1, 1)];
        only(&old, &after(1, 1), "was not replaced");
        let early = [first, again(3, 2, 3)];
        only(&early, &after(2, 3), "closer than the interval");
    }

    #[test]
    fn a_session_comes_from_a_sign_in() {
        let mut after = user();
        after.version += 1;
        after.admitted.push(session(3));
        let mut item = stored(0, NOON + 61 * SECOND);
        item.created_at = NOON + 61 * SECOND;
        item.absolute_end = item.created_at + 30 * DAY;
        after.sessions.insert(session(3), item);
        let sign_in = |password: &str, answer| {
            let password = password.to_owned();
            event(0, 2, Op::SignIn { password }, answer)
        };
        let unanswered = sign_in("old", Answer::Unavailable);
        assert_eq!(found(&[unanswered], &after), Vec::<String>::new());
        assert!(found(&[], &after).contains(&"a session that nobody can have made".to_owned()));
        only(
            &[sign_in("old", refused("invalid_credentials"))],
            &user(),
            "refuses the right password",
        );
    }

    #[test]
    fn a_sign_in_beside_a_password_change_came_before_it_and_ended_with_it() {
        let (old, new) = ("old".to_owned(), "new".to_owned());
        let born = |seed: u64, at: Moment| match successor(seed, 0, at, "x") {
            Answer::Tokens(mut tokens) => {
                tokens.session.created_at = tokens.session.last_used_at;
                Answer::Tokens(tokens)
            }
            other => other,
        };
        let change = Op::ChangePassword {
            by: by(1),
            old: old.clone(),
            new: new.clone(),
        };
        let password = old;
        let events = [
            event(0, 3, change, born(4, 1)),
            event(1, 5, Op::SignIn { password }, born(3, 2)),
        ];
        let item = |at: Moment| StoredSession {
            created_at: NOON + (60 + at) * SECOND,
            absolute_end: NOON + (60 + at) * SECOND + 30 * DAY,
            ..stored(0, NOON + (60 + at) * SECOND)
        };
        let mut after = user();
        after.version = 4;
        after.password = Some(new);
        after
            .sessions
            .extend([(session(4), item(1)), (session(3), item(2))]);
        after.admitted = vec![session(4)];
        assert_eq!(found(&events, &after), Vec::<String>::new());
        after.admitted.push(session(3));
        only(
            &events,
            &after,
            "in the account's set, but ended: password change",
        );
    }

    #[test]
    fn an_account_is_written_once_for_each_change() {
        let after = StoredUser {
            version: 4,
            ..without(user(), 1)
        };
        only(&[revoke(0, 2, Answer::Nothing)], &after, "too often");
    }
}
