//! What a refresh may have answered.

use latchkey_domain::id::SessionId;

use super::{Judge, Life, SLACK, cut};
use crate::history::{Answer, Event, Moment, Op, Tokens};

/// The rotation that a session may have had after a refresh.
pub(super) fn may_have_reached(event: &Event, presented: u64) -> Option<u64> {
    match &event.answer {
        Answer::Tokens(tokens) => Some(tokens.rotation),
        // A step-up rotates whatever is the newest.
        _ if matches!(event.op, Op::Reauthenticate { .. }) => {
            event.may_have_proved().then_some(u64::MAX)
        }
        // The write does not know of the account: it rotates an ended session too.
        answer if answer.may_be_done() || answer.is_code("invalid_refresh_token") => {
            Some(presented + 1)
        }
        _ => None,
    }
}

impl Judge<'_> {
    pub(super) fn refreshes(&self, id: SessionId) -> impl Iterator<Item = (&Event, u64)> {
        self.round
            .events
            .iter()
            .filter_map(move |event| match event.op {
                Op::Refresh {
                    session, rotation, ..
                } if session == id => Some((event, rotation)),
                Op::Reauthenticate { by, rotation, .. } if by.session == id => {
                    Some((event, rotation))
                }
                _ => None,
            })
    }

    pub(super) fn refresh(&mut self, event: &Event) {
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
                self.violation(Some(id), "a refresh works for a session that was gone");
            }
            return;
        };
        match &event.answer {
            Answer::Tokens(tokens) => {
                let mut wrong = self.wrong_tokens((id, life), event, presented, tokens);
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
                if !self.may_be_reuse(id, life, event, presented) {
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

    fn answered(&self, id: SessionId) -> impl Iterator<Item = (&Event, &Tokens)> {
        self.refreshes(id)
            .filter_map(|(other, _)| match &other.answer {
                Answer::Tokens(tokens) => Some((other, &**tokens)),
                _ => None,
            })
    }

    /// The latest rotation that is known to have come before a request, and when it came.
    fn known_before(&self, id: SessionId, life: &Life, event: &Event) -> (u64, Moment) {
        self.answered(id)
            .filter(|(other, _)| other.end < event.start)
            .map(|(_, tokens)| (tokens.rotation, tokens.session.last_used_at))
            .chain([(life.rotation_before, life.rotated_before)])
            .max()
            .unwrap_or_default()
    }

    /// What is wrong with the tokens that `presented` was answered with.
    fn wrong_tokens(
        &self,
        (id, life): (SessionId, &Life),
        event: &Event,
        presented: u64,
        tokens: &Tokens,
    ) -> Vec<String> {
        let rules = self.round.rules;
        let mut wrong = self.wrong_answer((id, life), event, tokens);
        let is_same = tokens.rotation == presented;
        if !(is_same || tokens.rotation == presented + 1) {
            wrong.push(format!(
                "the successor of rotation {presented} is {}",
                tokens.rotation
            ));
        }
        let rotated = tokens.session.last_used_at;
        let age = event.start - rotated;
        if rotated > event.end || (!is_same && age > rules.grace + SLACK) {
            wrong.push("a refresh token got its successor after the grace".to_owned());
        }
        if is_same && (presented == 0 || age > rules.interval + SLACK) {
            wrong.push("a refresh token was old enough and was not replaced".to_owned());
        }
        wrong
    }

    /// What is wrong with tokens that a session got, whatever it asked with.
    pub(super) fn wrong_answer(
        &self,
        (id, life): (SessionId, &Life),
        event: &Event,
        tokens: &Tokens,
    ) -> Vec<String> {
        let rules = self.round.rules;
        let known = self.known_before(id, life, event);
        let mut wrong = Vec::new();
        if tokens.session.id != id {
            wrong.push("the tokens of another session".to_owned());
        }
        if known.0 > tokens.rotation {
            wrong.push(format!(
                "rotation {} came after rotation {} had come",
                tokens.rotation, known.0
            ));
        }
        let span = (event.start, event.end);
        let proof = self.wrong_proof_time((id, life), tokens.authenticated, span);
        wrong.extend(proof.map(str::to_owned));
        let rotated = tokens.session.last_used_at;
        let before = self
            .answered(id)
            .map(|(_, other)| (other.rotation, other.session.last_used_at))
            .chain([(life.rotation_before, life.rotated_before)])
            .find(|(rotation, _)| rotation + 1 == tokens.rotation);
        if let Some((1.., at)) = before
            && rotated - at < rules.interval
        {
            wrong.push("two rotations are closer than the interval".to_owned());
        }
        let other = self.answered(id).find(|(_, other)| {
            other.rotation == tokens.rotation
                && (other.refresh_token != tokens.refresh_token
                    || other.session.last_used_at != rotated)
        });
        if other.is_some() {
            wrong.push(format!("two tokens of rotation {}", tokens.rotation));
        }
        let idle_end = cut(rotated + rules.idle);
        let end = idle_end.min(life.absolute_end);
        if tokens.session.expires_at != end || tokens.refresh_expires != end {
            wrong.push("tokens with a wrong expiry".to_owned());
        }
        if tokens.access_expires > end {
            wrong.push("an access token that outlives its session".to_owned());
        }
        wrong
    }

    /// Whether a token may have been replaced, and longer ago than the grace.
    pub(super) fn may_be_reuse(
        &self,
        id: SessionId,
        life: &Life,
        event: &Event,
        presented: u64,
    ) -> bool {
        // Whether there may have been this rotation at the end of the request.
        let may_have_come = |wanted: u64| {
            life.rotation_before >= wanted
                || self.refreshes(id).any(|(other, rotation)| {
                    other.start <= event.end
                        && may_have_reached(other, rotation)
                            .is_some_and(|reached| reached >= wanted)
                        && !std::ptr::eq(other, event)
                })
        };
        let known = self.known_before(id, life, event);
        let first_attempt = self
            .refreshes(id)
            .filter(|(other, rotation)| *rotation >= presented && !std::ptr::eq(*other, event))
            .map(|(other, _)| other.start)
            .min();
        let latest = if known.0 > presented {
            Some(known.1)
        } else {
            first_attempt
        };
        // Two rotations ahead, it was replaced long ago however young the latest rotation is.
        may_have_come(presented + 1)
            && (may_have_come(presented + 2)
                || latest.is_some_and(|latest| event.end - latest > self.round.rules.grace))
    }
}
