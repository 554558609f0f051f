//! Whether an account may have been open or closed, and whether it may have been deleted.

use latchkey_domain::id::SessionId;

use super::Judge;
use crate::history::{Event, Moment, Op, StoredUser};

impl Judge<'_> {
    fn all(&self, op: &Op) -> impl Iterator<Item = &Event> {
        let kind = std::mem::discriminant(op);
        let events = self.round.events.iter();
        events.filter(move |event| std::mem::discriminant(&event.op) == kind)
    }

    /// Whether the account may have been closed at some moment until then.
    pub(super) fn may_have_been_closed(&self, until: Moment) -> bool {
        self.round.before.is_some_and(|before| !before.active)
            || self
                .all(&Op::Disable)
                .any(|event| event.start <= until && event.answer.may_be_done())
    }

    /// Whether the account was closed all the time between two moments.
    pub(super) fn was_closed(&self, start: Moment, end: Moment) -> bool {
        let opened_since = |since: Moment| {
            self.all(&Op::Enable)
                .any(|event| event.end >= since && event.start <= end && event.answer.may_be_done())
        };
        let before = self.round.before.is_some_and(|before| !before.active);
        (before && !opened_since(Moment::MIN))
            || self.all(&Op::Disable).any(|event| {
                event.answer.is_done() && event.end < start && !opened_since(event.start)
            })
    }

    /// Whether the user may have been gone at some moment until then.
    pub(super) fn may_have_been_deleted(&self, until: Moment) -> bool {
        self.round.before.is_none() || self.may_be_deleted_in_round(until)
    }

    /// Whether the account may have been deleted in this round until then.
    pub(super) fn may_be_deleted_in_round(&self, until: Moment) -> bool {
        self.round.events.iter().any(|event| {
            matches!(event.op, Op::Delete { .. })
                && event.start <= until
                && event.answer.may_be_done()
        })
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
            && self.round.events.iter().any(|event| {
                matches!(event.op, Op::Purge(_))
                    && event.start <= met.end
                    && event.answer.may_be_done()
            })
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
