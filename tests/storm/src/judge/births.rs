//! Which sessions there are: from before the round, and what sign-ins made.

use std::collections::BTreeMap;

use latchkey_domain::id::SessionId;

use super::{Judge, Life, SLACK, cut};
use crate::history::{Answer, Event, Moment, Op};

impl Judge<'_> {
    pub(super) fn birth(&self, created_at: Moment, used: Moment, born: (Moment, Moment)) -> Life {
        Life {
            born,
            password: None,
            created_at,
            dead_before: false,
            rotation_before: 0,
            rotated_before: created_at,
            idle_before: cut(created_at + self.round.rules.idle),
            used_before: used,
            authenticated_before: created_at,
            absolute_end: cut(created_at + self.round.rules.absolute),
            seen: Vec::new(),
            missed: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// What was there before, and what sign-ins were answered.
    pub(super) fn births(&mut self) {
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
                life.authenticated_before = stored.authenticated_at;
                self.lives.insert(*id, life);
            }
        }
        for event in self.round.events {
            let Answer::Tokens(tokens) = &event.answer else {
                continue;
            };
            if matches!(event.op, Op::Refresh { .. } | Op::Reauthenticate { .. }) {
                continue;
            }
            let shown = &tokens.session;
            let born = (event.start, event.end);
            let mut life = self.birth(shown.created_at, shown.last_used_at, born);
            life.password = event.op.signs_in_with().cloned();
            if self.lives.insert(shown.id, life).is_some() {
                self.violation(Some(shown.id), "a new session has the id of an old one");
            }
            if !(event.start - SLACK..=event.end).contains(&shown.created_at) {
                self.violation(Some(shown.id), "a new session was not made just now");
            }
        }
    }

    /// Sessions that nobody heard of: of sign-ins that were answered 503.
    pub(super) fn ghosts(&mut self) {
        let mut unanswered: Vec<&Event> = self
            .round
            .events
            .iter()
            .filter(|event| event.may_have_begun_one())
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
        unanswered.sort_by_key(|event| event.end);
        let all = unanswered.clone();
        for (id, created_at) in unknown {
            let fits = |event: &&Event| (event.start - SLACK..=event.end).contains(&created_at);
            // Which of those that fit has made it is not known, so it may have been admitted until the last one's end.
            let fitting: Vec<&Event> = all.iter().copied().filter(|event| fits(event)).collect();
            let last = fitting.last().map_or(created_at, |event| event.end);
            match unanswered.iter().position(fits) {
                Some(place) => drop(unanswered.remove(place)),
                None => self.violation(Some(id), "a session that nobody can have made"),
            }
            // Nobody has its tokens, so its last use is its beginning, however late it may have been admitted.
            let mut life = self.birth(created_at, created_at, (created_at, last));
            // It is known with which password it was begun if all that fit used the same.
            let mut passwords = fitting.iter().map(|event| event.op.signs_in_with());
            let first = passwords.next().flatten();
            if passwords.all(|other| other == first) {
                life.password = first.cloned();
            }
            self.lives.insert(id, life);
        }
        self.ghosts = unanswered.len();
    }
}
