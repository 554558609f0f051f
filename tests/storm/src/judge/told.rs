//! Guarantee 11: what was told of a user's sessions by the end of the round, when the stream has been read to its end.

use std::collections::BTreeSet;

use latchkey_domain::cause::EndReason;
use latchkey_domain::id::SessionId;

use super::{Judge, Life};
use crate::history::Moment;

impl Judge<'_> {
    /// Each beginning and each end has its event, with one id, and nothing is told that has not happened.
    pub(super) fn told(&mut self) {
        let told = self.round.told;
        let admitted: BTreeSet<SessionId> = match self.round.after {
            Some(after) => after.admitted.iter().copied().collect(),
            None => BTreeSet::new(),
        };
        let mut found: Vec<(SessionId, String)> = Vec::new();
        let mut ghosts = self.ghosts;
        let stored = self
            .round
            .after
            .into_iter()
            .flat_map(|after| after.sessions.keys());
        let known: BTreeSet<SessionId> = stored.chain(self.lives.keys()).copied().collect();
        for id in &known {
            if !told.created.contains_key(id) {
                found.push((*id, "no event tells of its beginning".to_owned()));
            }
        }
        for (id, ids) in &told.created {
            if ids.len() > 1 {
                found.push((*id, format!("its beginning has {} ids", ids.len())));
            }
            if !admitted.contains(id) && !told.ended.contains_key(id) {
                found.push((*id, "it has ended, and no event tells of it".to_owned()));
            }
            if !known.contains(id) && !self.round.earlier.told.created.contains_key(id) {
                // It began and ended between two looks: a sign-in that was answered 503.
                if ghosts == 0 {
                    found.push((
                        *id,
                        "an event tells of a session that nobody made".to_owned(),
                    ));
                }
                ghosts = ghosts.saturating_sub(1);
            }
        }
        for (id, ids) in &told.ended {
            if ids.len() > 1 {
                found.push((*id, format!("its end has {} ids", ids.len())));
            }
            if admitted.contains(id) {
                found.push((
                    *id,
                    "an event tells of its end, but it is admitted".to_owned(),
                ));
            }
            if self.round.earlier.told.ended.contains_key(id) {
                continue;
            }
            for reason in ids.values() {
                let earlier = &self.round.earlier.told.created;
                let right = match self.lives.get(id) {
                    Some(life) => self.may_be_the_reason(*id, life, *reason),
                    // It had run out in an earlier round and was purged, or nobody knew of it.
                    None => {
                        let mut events = self.round.events.iter();
                        (earlier.contains_key(id) && *reason == EndReason::Expired)
                            || events.any(|event| event.may_end(*id) == Some(*reason))
                    }
                };
                if !right {
                    found.push((*id, format!("it ended by {reason:?}, but nobody did that")));
                }
            }
        }
        for (id, what) in found {
            self.violation(Some(id), what);
        }
        self.proofs_are_told(told.proofs.len() - self.round.earlier.told.proofs.len());
    }

    /// A step-up is told as often as its proof is written: each answered one, and perhaps those that were not.
    fn proofs_are_told(&mut self, told: usize) {
        let proofs = || {
            let events = self.round.events.iter();
            events.filter(|event| event.may_have_proved())
        };
        let (least, most) = (
            proofs().filter(|one| one.answer.is_done()).count(),
            proofs().count(),
        );
        if !(least..=most).contains(&told) {
            let what = format!("{told} events tell of step-ups, not {least} to {most}");
            self.violation(None, what);
        }
    }

    fn may_be_the_reason(&self, id: SessionId, life: &Life, reason: EndReason) -> bool {
        let by_itself = self.may_end_by_itself(id, life, self.round.ended) <= self.round.ended;
        // What ended it had begun before it was first missed; one that had run out by itself is ended for good later.
        let until = life.first_missed().filter(|_| !by_itself);
        match reason {
            EndReason::Expired => by_itself,
            _ => self.may_have_ended(id, life, until.unwrap_or(Moment::MAX), |one| one == reason),
        }
    }
}
