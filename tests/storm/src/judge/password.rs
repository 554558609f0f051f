//! Which password may have been the account's.

use latchkey_domain::id::SessionId;

use super::Judge;
use crate::history::{Event, Moment, Op};

impl Judge<'_> {
    /// The changes that replace a password, or may have.
    pub(super) fn replaced(&self, password: &str, until: Moment) -> impl Iterator<Item = &Event> {
        self.round.events.iter().filter(move |event| {
            let replaces = match &event.op {
                Op::ChangePassword { old, .. } => old == password,
                Op::Delete { .. } => true,
                _ => false,
            };
            replaces && event.start <= until && event.answer.may_be_done()
        })
    }

    pub(super) fn set(&self, password: &str, until: Moment) -> Option<&Event> {
        self.round.events.iter().find(|event| {
            let sets = match &event.op {
                Op::ChangePassword { new, .. } | Op::Register { password: new } => new == password,
                _ => false,
            };
            sets && event.start <= until && event.answer.may_be_done()
        })
    }

    pub(super) fn was_set_before(&self, password: &str) -> bool {
        let before = self.round.before;
        before.is_some_and(|before| before.password.as_deref() == Some(password))
    }

    pub(super) fn password_was_right(&mut self, event: &Event, password: &str, session: SessionId) {
        let set = self.was_set_before(password) || self.set(password, event.end).is_some();
        let gone = self.replaced(password, event.start).any(|change| {
            change.answer.is_done() && change.end < event.start && !std::ptr::eq(change, event)
        });
        if !set || gone {
            let what = format!("{} with a password that was replaced", event.op.name());
            self.violation(Some(session), what);
        }
    }

    pub(super) fn password_was_wrong(
        &mut self,
        event: &Event,
        password: &str,
        by: Option<SessionId>,
    ) {
        let set = self.was_set_before(password)
            || self
                .set(password, event.end)
                .is_some_and(|change| change.answer.is_done() && change.end < event.start);
        if set && self.replaced(password, event.end).next().is_none() {
            let what = format!("{} refuses the right password", event.op.name());
            self.violation(by, what);
        }
    }
}
