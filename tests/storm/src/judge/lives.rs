//! Which sessions may have been live at which moment.

use latchkey_domain::cause::EndReason;
use latchkey_domain::id::SessionId;

use super::refresh::may_have_reached;
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

    /// Whether a session may have ended until then, for a reason that is asked for.
    pub(super) fn may_have_ended(
        &self,
        id: SessionId,
        life: &Life,
        until: Moment,
        is_asked_for: impl Fn(EndReason) -> bool,
    ) -> bool {
        let events = self.round.events.iter();
        let mut begun = events.filter(|event| event.start <= until);
        (is_asked_for(EndReason::WrongPassword) && self.may_have_been_guessed(id, life, until))
            || begun.any(|event| {
                event.may_end(id).is_some_and(&is_asked_for)
                    && self.may_be_the_cause(id, life, event)
            })
    }

    /// Whether a request that ends sessions may have ended this one.
    fn may_be_the_cause(&self, id: SessionId, life: &Life, event: &Event) -> bool {
        match &event.op {
            // An unanswered replay may have been noticed, and what it does then outlives it.
            Op::Refresh { rotation, .. } if matches!(event.answer, Answer::Unavailable) => {
                self.may_be_reuse(id, life, event, *rotation)
            }
            op => {
                let makes_room = matches!(op, Op::SignIn { .. });
                event.end >= life.last_seen()
                    && (!makes_room || self.may_have_evicted(id, life, event))
            }
        }
    }

    /// Whether a sign-in may have found a session to be the least recently used of too many.
    fn may_have_evicted(&self, id: SessionId, life: &Life, sign_in: &Event) -> bool {
        let own = sign_in.answer.of_session();
        // It makes room for its own, however old that is when it is decided.
        let may_be_own = |other: SessionId, life: &Life| match own {
            Some(own) => other == own,
            None => (sign_in.start - SLACK..=sign_in.end).contains(&life.created_at),
        };
        let its_use = self.least_use(id, life, sign_in);
        let stays = self.lives.iter().filter(|(other, life)| {
            **other != id
                && !life.dead_before
                && life.born.0 <= sign_in.end
                && life.ends.iter().all(|(end, _)| *end >= sign_in.start)
                && (may_be_own(**other, life) || self.most_use(**other, life, sign_in) >= its_use)
        });
        stays.count() + self.ghosts >= self.round.rules.limit
    }

    /// The earliest last use that a sign-in can have found.
    fn least_use(&self, id: SessionId, life: &Life, sign_in: &Event) -> Moment {
        let uses = self
            .refreshes(id)
            .filter_map(|(event, _)| match &event.answer {
                Answer::Tokens(tokens) if event.end < sign_in.start => {
                    Some(tokens.session.last_used_at)
                }
                _ => None,
            });
        uses.fold(life.used_before, Moment::max)
    }

    /// The latest last use that a sign-in can have found. A refresh that is refused as its session has ended may have been
    /// written.
    fn most_use(&self, id: SessionId, life: &Life, sign_in: &Event) -> Moment {
        let begun = |event: &Event| event.start <= sign_in.end;
        let uses = self
            .refreshes(id)
            .filter_map(|(event, rotation)| match &event.answer {
                Answer::Tokens(tokens) => begun(event).then_some(tokens.session.last_used_at),
                _ => {
                    let written = may_have_reached(event, rotation).is_some();
                    (begun(event) && written).then_some(event.end)
                }
            });
        uses.fold(life.used_before, Moment::max)
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
                    if !by_itself && !self.may_have_ended(*id, life, *end, |_| true) {
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
