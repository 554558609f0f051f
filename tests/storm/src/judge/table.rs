//! What the table may hold after the round.

use std::collections::BTreeSet;

use latchkey_domain::id::SessionId;

use super::refresh::may_have_reached;
use super::{Judge, Life, cut};
use crate::history::{Answer, Moment, Op, StoredUser};

impl Judge<'_> {
    /// What the table held after the round.
    pub(super) fn table(&mut self) {
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
        self.state(after);
        self.version(after);
        self.password(after);
        self.admitted_sessions(after);
        self.stored_sessions(after);
    }

    /// The account is written once for each change, and once for each session that is ended alone.
    fn version(&mut self, after: &StoredUser) {
        let before = self.round.before;
        let (mut least, mut most) = (before.map_or(1, |before| before.version), 0);
        let mut ended_alone: BTreeSet<SessionId> = BTreeSet::new();
        for event in self.round.events {
            let may_be_done = event.answer.may_be_done();
            match &event.op {
                Op::SignIn { .. } | Op::ChangePassword { .. } if event.answer.is_done() => {
                    least += 1;
                }
                Op::SignIn { .. } | Op::ChangePassword { .. } => {
                    most += u64::from(event.may_have_begun_one());
                }
                Op::Delete { .. } | Op::Enable | Op::RevokeAll { .. } | Op::Disable => {
                    most += u64::from(may_be_done);
                }
                _ => {}
            }
            ended_alone.extend(event.op.target().filter(|id| event.may_end(*id).is_some()));
        }
        let guessed = self.lives.iter().filter(|(id, life)| {
            let ended = self.round.ended;
            self.may_have_been_guessed(**id, life, ended)
        });
        ended_alone.extend(guessed.map(|(id, _)| *id));
        ended_alone.retain(|id| !after.admitted.contains(id));
        most += ended_alone.len() as u64;
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
    }

    fn password(&mut self, after: &StoredUser) {
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
    }

    fn admitted_sessions(&mut self, after: &StoredUser) {
        let round = self.round;
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
    }

    fn stored_sessions(&mut self, after: &StoredUser) {
        let round_end = self.round.ended;
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
                if let Some(reached) = may_have_reached(event, presented)
                    && reached < u64::MAX
                {
                    most = most.max(reached);
                }
            }
            most += self.silent_proofs(*id);
            if !(least..=most.max(least)).contains(&stored.rotation) {
                wrong.push(format!(
                    "rotation {} in the table, not {least} to {most}",
                    stored.rotation
                ));
            }
            if life.created_at != stored.created_at || life.absolute_end != stored.absolute_end {
                wrong.push("a session's beginning or absolute expiry has moved".to_owned());
            }
            let span = (round_end, round_end);
            let proof = self.wrong_proof_time((*id, life), cut(stored.authenticated_at), span);
            wrong.extend(proof.map(str::to_owned));
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
}
