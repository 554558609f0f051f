//! An administrator: closes accounts and opens them again, ends sessions of others.

use std::sync::Arc;

use super::api::Secrets;
use super::browser::{ATTEMPTS, Browser, Jar, access};
use super::history::{Answer, Event, Op};
use super::user::User;

/// A proof that has so little time left is given again, in microseconds.
const PROOF_MARGIN: i64 = 30_000_000;

impl Browser {
    /// Does something to one of the users, with a proof that is recent.
    pub(super) async fn administer(&mut self) {
        let Some(jar) = self.jar.clone() else {
            self.sign_in().await;
            return;
        };
        if self.now() >= jar.tokens().access_expires {
            self.refresh_in_tabs(&jar).await;
        }
        let within = self.proof_within.num_microseconds().unwrap_or_default();
        if self.now() - jar.tokens().authenticated > within - PROOF_MARGIN {
            self.step_up(&jar).await;
        }
        let Some(ward) = self.ward() else {
            return;
        };
        if self.draw(2) == 0 {
            let target = {
                let known = ward.known();
                known.sessions.get(self.draw(known.sessions.len())).copied()
            };
            if let Some(target) = target {
                self.ask_as_administrator(&jar, &ward, Op::AdminRevoke { target })
                    .await;
            }
            return;
        }
        let closed = self.ask_as_administrator(&jar, &ward, Op::Disable).await;
        if closed.may_be_done() {
            self.think().await;
            self.ask_as_administrator(&jar, &ward, Op::Enable).await;
        }
    }

    /// A user who is registered.
    fn ward(&self) -> Option<Arc<User>> {
        let wards = &self.wards;
        let ward = wards.get(self.draw(wards.len()))?.user();
        let is_there = ward.known().user.is_some();
        is_there.then_some(ward)
    }

    /// Asks until there is a definite answer. It stands in the histories of both.
    async fn ask_as_administrator(&self, jar: &Jar, ward: &User, op: Op) -> Answer {
        for _ in 0..ATTEMPTS {
            let tokens = jar.tokens();
            let secrets = Secrets {
                access_token: &tokens.access_token,
                user: ward.known().user,
                ..Secrets::default()
            };
            let event = self.api.send(self.number, op.clone(), secrets).await;
            self.count(&event);
            let answer = event.answer.clone();
            let accepted = match &answer {
                Answer::Refused(404, _) => Answer::Nothing,
                other => other.clone(),
            };
            let own = Event {
                op: Op::Administer(access(&tokens)),
                answer: accepted,
                ..event.clone()
            };
            jar.user.known().events.push(own);
            if !matches!(answer, Answer::Refused(401 | 403, _)) {
                ward.known().events.push(event);
            }
            match answer {
                Answer::Unavailable => self.wait().await,
                Answer::Refused(401, _) => {
                    jar.sign_out();
                    return answer;
                }
                answer => return answer,
            }
        }
        self.give_up();
        Answer::Unavailable
    }
}
