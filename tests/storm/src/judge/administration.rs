//! Whether an account may have been open or closed, and whether it may have been deleted.

use latchkey_domain::id::SessionId;

use super::Judge;
use crate::history::{Event, Moment, Op, StoredUser};

impl Judge<'_> {
    /// Whether something may have been done in this round until then.
    pub(super) fn may_have_been_done(&self, until: Moment, is_it: impl Fn(&Op) -> bool) -> bool {
        let mut events = self.round.events.iter();
        events.any(|event| is_it(&event.op) && event.start <= until && event.answer.may_be_done())
    }

    /// Whether the account may have been closed at some moment until then.
    pub(super) fn may_have_been_closed(&self, until: Moment) -> bool {
        self.round.before.is_some_and(|before| !before.active)
            || self.may_have_been_done(until, |op| matches!(op, Op::Disable))
    }

    /// Whether the account was closed all the time between two moments.
    pub(super) fn was_closed(&self, start: Moment, end: Moment) -> bool {
        let opened_since = |since: Moment| {
            let mut events = self.round.events.iter().filter(|event| event.end >= since);
            events.any(|event| {
                matches!(event.op, Op::Enable) && event.start <= end && event.answer.may_be_done()
            })
        };
        let before = self.round.before.is_some_and(|before| !before.active);
        (before && !opened_since(Moment::MIN))
            || self.round.events.iter().any(|event| {
                matches!(event.op, Op::Disable)
                    && event.answer.is_done()
                    && event.end < start
                    && !opened_since(event.start)
            })
    }

    /// Whether the user may have been gone at some moment until then.
    pub(super) fn may_have_been_deleted(&self, until: Moment) -> bool {
        self.round.before.is_none()
            || self.may_have_been_done(until, |op| matches!(op, Op::Delete { .. }))
    }

    /// Whether a session may have had no item any more when a request met it, although the account admitted it: it had
    /// expired, and its user had it purged.
    pub(super) fn may_have_been_purged(&self, id: SessionId, met: &Event) -> bool {
        let Some(life) = self.lives.get(&id) else {
            let before = self.round.before;
            return before.is_some_and(|before| before.admitted.contains(&id));
        };
        let after = self.round.after;
        self.may_end_by_itself(id, life, met.start) <= met.end
            && after.is_none_or(|after| !after.sessions.contains_key(&id))
            && self.may_have_been_done(met.end, |op| matches!(op, Op::Purge(_)))
    }

    pub(super) fn was_refused_as_closed(&mut self, event: &Event) {
        if !self.may_have_been_closed(event.end) {
            self.violation(None, "refused as disabled, but nobody has disabled it");
        }
    }

    pub(super) fn user_was_not_found(&mut self, event: &Event) {
        if !self.may_have_been_deleted(event.end) {
            self.violation(None, "an administrator does not find a user who is there");
        }
    }

    /// Whether the account is open after the round, as it must be.
    pub(super) fn state(&mut self, after: &StoredUser) {
        let ended = self.round.ended;
        if after.active && self.was_closed(ended, ended) {
            self.violation(None, "an account is open that was disabled");
        }
        if !after.active && !self.may_have_been_closed(ended) {
            self.violation(None, "an account is disabled that nobody disabled");
        }
    }
}
