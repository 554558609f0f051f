//! What a step-up may have answered, and what asks for one.

use latchkey_domain::id::SessionId;

use super::{Judge, Life, SLACK, cut};
use crate::history::{Access, Answer, Event, Moment, Op, Tokens};

/// `auth_time` is a whole second.
const SECOND: Moment = 1_000_000;

impl Judge<'_> {
    fn proofs(&self, id: SessionId) -> impl Iterator<Item = &Event> {
        let of_session = move |event: &&Event| matches!(&event.op, Op::Reauthenticate { by, .. } if by.session == id);
        self.round.events.iter().filter(of_session)
    }

    /// How many step-ups may have rotated a session, of which no reply says so.
    pub(super) fn silent_proofs(&self, id: SessionId) -> u64 {
        let silent = |event: &&Event| event.may_have_proved() && !event.answer.is_done();
        self.proofs(id).filter(silent).count() as u64
    }

    /// What is wrong with when a session's user proved who they are, as an answer or the table tells it.
    pub(super) fn wrong_proof_time(
        &self,
        (id, life): (SessionId, &Life),
        authenticated: Moment,
        (start, end): (Moment, Moment),
    ) -> Option<&'static str> {
        let mut proven = cut(life.authenticated_before);
        for event in self.proofs(id).filter(|event| event.end < start) {
            if let Answer::Tokens(tokens) = &event.answer {
                proven = proven.max(tokens.authenticated);
            }
        }
        if authenticated < proven {
            return Some("a proof of who the user is was lost");
        }
        let made = self.proofs(id).any(|event| {
            event.may_have_proved()
                && event.start <= end
                && (event.start - SLACK - SECOND..=event.end).contains(&authenticated)
        });
        (authenticated > proven && !made).then_some("a proof of who the user is that nobody gave")
    }

    /// Tokens that a step-up was answered with.
    pub(super) fn proof(&mut self, event: &Event, by: Access, password: &str, tokens: &Tokens) {
        let id = by.session;
        self.password_was_right(event, password, id);
        let Some(life) = self.lives.get(&id) else {
            self.violation(Some(id), "a step-up works for a session that was gone");
            return;
        };
        let mut wrong = self.wrong_answer((id, life), event, tokens);
        if !(event.start - SLACK - SECOND..=event.end).contains(&tokens.authenticated) {
            wrong.push("a step-up whose proof is not of now".to_owned());
        }
        for what in wrong {
            self.violation(Some(id), what);
        }
        self.see(id, event, "reauthentication");
    }

    /// Something that asks for a recent proof was done, or was refused for want of one.
    pub(super) fn recent_proof(&mut self, event: &Event, by: Access) {
        let within = self.round.rules.proof_within;
        let asked = event.answer.is_code("reauthentication_required");
        let what = event.op.name();
        if asked && event.end - by.authenticated <= within {
            let what = format!("{what} asks for a proof that is recent");
            self.violation(Some(by.session), what);
        }
        if !asked && event.start - by.authenticated > within + SECOND + SLACK {
            let what = format!("{what} works with a proof that is old");
            self.violation(Some(by.session), what);
        }
    }
}
