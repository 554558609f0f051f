//! Guessing is bounded: how many wrong passwords may have been checked, and who may have had to wait.

use std::collections::BTreeSet;

use latchkey_domain::id::SessionId;
use latchkey_domain::throttle::{MAX_WRONG_PASSWORDS, wait_after};

use super::{Judge, Life, SLACK};
use crate::history::{Access, Event, Guesser, Moment, Op};

impl Judge<'_> {
    fn limit(&self) -> usize {
        MAX_WRONG_PASSWORDS as usize
    }

    /// How many failures in a row may be checked in so long a time: the free ones, and one after each wait.
    fn most_failures(&self, time: Moment) -> usize {
        let free = self.round.rules.free_failures;
        let (mut counted, mut waited) = (free, 0);
        loop {
            let wait = wait_after(counted, free).num_milliseconds() * 1000;
            if waited + wait > time {
                return counted as usize;
            }
            waited += wait;
            counted += 1;
        }
    }

    /// Strangers learn of no more passwords that they are wrong than the limit allows, however many they try at once.
    pub(super) fn guesses(&mut self) {
        let events = self.round.events;
        let sign_ins = |guessers: &'static [Guesser]| {
            events.iter().filter(move |event| {
                matches!(event.op, Op::SignIn { guesser, .. } if guessers.contains(&guesser))
            })
        };
        let strangers = &[Guesser::Stranger, Guesser::NewDevice];
        let wrong: Vec<&Event> = sign_ins(strangers)
            .filter(|event| event.answer.is_code("invalid_credentials"))
            .collect();
        let (Some(begin), Some(end)) = (
            wrong.iter().map(|event| event.start).min(),
            wrong.iter().map(|event| event.end).max(),
        ) else {
            return;
        };
        // The right password begins the count again, also where the account is closed, the reply was lost, or another
        // password came while it was being checked; and a deletion that is begun removes the counters.
        let overtaken = |event: &Event| match &event.op {
            Op::SignIn { password, .. } => self
                .replaced(password, event.end)
                .any(|change| change.end >= event.start),
            _ => false,
        };
        let forgiven = sign_ins(&[Guesser::NewDevice])
            .filter(|event| {
                event.answer.may_be_done()
                    || event.answer.is_code("account_disabled")
                    || overtaken(event)
            })
            .count();
        let deletions = events.iter().filter(|event| {
            matches!(event.op, Op::Delete { .. })
                && (event.answer.may_be_done() || event.answer.is_code("invalid_token"))
        });
        let forgiven = forgiven + deletions.count();
        let most = self.most_failures(end - begin + SLACK) * (forgiven + 1);
        if wrong.len() > most {
            let what = format!("{} guesses were checked, of {most} at most", wrong.len());
            self.violation(None, what);
        }
    }

    /// A sign-in was asked to wait: whoever has failed as often may have to.
    pub(super) fn sign_in_was_throttled(&mut self, event: &Event, guesser: Guesser) {
        let of_device = guesser == Guesser::KnownDevice;
        // To an address without an account every device is a stranger's.
        let is_deleted = self.may_have_been_done(event.end, |op| matches!(op, Op::Delete { .. }));
        let counts = |other: Guesser| is_deleted || (other == Guesser::KnownDevice) == of_device;
        let all = self.round.earlier;
        let earlier: usize = [
            (Guesser::KnownDevice, all.failures_of_devices),
            (Guesser::Stranger, all.failures_of_strangers),
        ]
        .into_iter()
        .filter_map(|(other, failures)| counts(other).then_some(failures))
        .sum();
        let events = self.round.events.iter();
        let now = events.filter(|other| {
            other.start <= event.end && other.may_count_as_failure().is_some_and(counts)
        });
        // A count that was sent again, with others in between, counts twice; more often is possible, and rarer than a run.
        // Whoever came in counts here too, so the rule is sharp in the first rounds.
        if 2 * (earlier + now.count()) < self.round.rules.free_failures as usize {
            let what = match of_device {
                true => "a known device has to wait for what others did",
                false => "a sign-in has to wait, but hardly any have failed",
            };
            self.violation(None, what);
        }
    }

    fn confirmations(&self, id: SessionId) -> impl Iterator<Item = &Event> {
        let events = self.round.events.iter();
        events.filter(move |event| {
            let confirmation = event.op.confirmation();
            confirmation.is_some_and(|(by, _)| by.session == id)
        })
    }

    /// A password on a session was not checked: as many as may be wrong are being checked, or were not taken back.
    pub(super) fn confirmation_was_throttled(&mut self, event: &Event, by: Access) {
        let others = self.confirmations(by.session);
        let others =
            others.filter(|other| other.start <= event.end && !std::ptr::eq(*other, event));
        let earlier = self.round.earlier.wrong_passwords.get(&by.session);
        if others.count() + earlier.copied().unwrap_or_default() < self.limit() {
            let what = format!(
                "{} has to wait, but hardly any are checked",
                event.op.name()
            );
            self.violation(Some(by.session), what);
        }
    }

    /// On no session is anybody told of more passwords that they are wrong than the limit allows.
    pub(super) fn wrong_passwords(&mut self) {
        let events = self.round.events.iter();
        let sessions: BTreeSet<SessionId> = events
            .filter(|event| event.answer.is_code("wrong_password"))
            .filter_map(|event| event.op.by().map(|by| by.session))
            .collect();
        for id in sessions {
            let told = |event: &&Event| event.answer.is_code("wrong_password");
            // A right password begins the count again.
            let forgiven = |event: &Event| event.answer.may_be_done();
            let wrong = self.confirmations(id).filter(told).count();
            if wrong > self.limit() && !self.confirmations(id).any(forgiven) {
                let what = format!("{wrong} wrong passwords were checked on one session");
                self.violation(Some(id), what);
            }
        }
    }

    /// Whether a session may have ended until then because of so many wrong passwords, the last of them given since it was
    /// last seen.
    pub(super) fn may_have_been_guessed(&self, id: SessionId, life: &Life, until: Moment) -> bool {
        let begun = || self.confirmations(id).filter(|event| event.start <= until);
        let earlier = self.round.earlier.wrong_passwords.get(&id);
        let wrong = begun().filter(|event| event.may_count_as_wrong());
        // What was answered with 401 met a session that another password had ended, which is counted, or ended it itself.
        let mut last = begun()
            .filter(|event| event.may_count_as_wrong() || event.answer.is_code("invalid_token"));
        wrong.count() + earlier.copied().unwrap_or_default() >= self.limit()
            && last.any(|event| event.end >= life.last_seen())
    }
}
