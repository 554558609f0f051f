//! Which sessions may have been live at which moment.

use latchkey_domain::id::SessionId;

use super::{Judge, Life, SLACK, Violation, cut};
use crate::history::{Answer, Event, Moment, Op};

impl Judge<'_> {
    /// The earliest moment at which a session may have expired, for what began at `start`.
    pub(super) fn may_end_by_itself(&self, id: SessionId, life: &Life, start: Moment) -> Moment {
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
    pub(super) fn must_end_by_itself(&self, id: SessionId, life: &Life, end: Moment) -> Moment {
        let refreshed = self.refreshes(id).filter_map(|(event, _)| {
            let may = event.answer.may_be_done() && event.start <= end;
            may.then(|| event.end + self.round.rules.idle)
        });
        let idle = refreshed.chain([life.idle_before]).max();
        idle.unwrap_or_default().min(life.absolute_end)
    }

    /// Whether somebody may have ended a session until then.
    pub(super) fn may_have_been_ended(&self, id: SessionId, life: &Life, until: Moment) -> bool {
        if self.may_have_been_guessed(id, until) {
            return true;
        }
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
                Op::Revoke { target, .. } | Op::AdminRevoke { target } => *target == id,
                Op::Disable => true,
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
                        && self.may_be_reuse(id, life, event, *rotation)
                }
                Op::SignIn { .. } => self.may_have_evicted(id, life, event),
                Op::Register { .. }
                | Op::List(_)
                | Op::Current(_)
                | Op::Me(_)
                | Op::Rename { .. }
                | Op::Purge(_)
                | Op::Reauthenticate { .. }
                | Op::Enable
                | Op::Administer(_) => false,
            }
        })
    }

    /// Whether a sign-in may have found a session to be the least recently used of too many.
    pub(super) fn may_have_evicted(&self, id: SessionId, life: &Life, sign_in: &Event) -> bool {
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
    pub(super) fn lives(&mut self) {
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
