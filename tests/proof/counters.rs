//! The counters of guesses, as the design has them: how many attempts in a row there were, and when the next one is checked.
//! Times are milliseconds since the epoch.

use std::collections::BTreeMap;

use latchkey_domain::id::UserId;

const SECOND: i64 = 1000;
const LONGEST_WAIT: i64 = 15 * 60 * SECOND;
/// How long a counter is kept after its last attempt.
const KEPT: i64 = 30 * 24 * 3600 * SECOND;
/// So many in a row, and no more are checked.
const HARD_STOP: u32 = 100;

/// Who gives a password, as far as a device token tells: each is counted apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "they say it")]
pub enum Guesser {
    Device(String),
    FormerDevices(UserId),
    Strangers(String),
}

/// What a device token says: which client it was given to, whose it is, and how many passwords its user had had by then.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they say it")]
pub struct DeviceToken {
    pub nonce: String,
    pub user: UserId,
    pub passwords: u32,
}

/// An attempt that was counted.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "they say it")]
pub struct Counted {
    pub attempts: u32,
    before: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Counter {
    /// None where nothing but a mark of a refused sign-in is.
    count: Option<(u32, i64)>,
    delete_after: i64,
}

/// All counters.
#[derive(Clone, Debug, Default)]
pub struct Counters(BTreeMap<Guesser, Counter>);

impl Counters {
    /// Counts an attempt, unless it has to wait.
    pub fn count(&mut self, guesser: &Guesser, free: u32, now: i64) -> Option<Counted> {
        let before = self.0.get(guesser).and_then(|counter| counter.count);
        if self
            .checked_from(guesser, free)
            .is_some_and(|from| now < from)
        {
            return None;
        }
        let attempts = before.map_or(1, |(attempts, _)| attempts + 1);
        let counter = Counter {
            count: Some((attempts, now)),
            delete_after: now + KEPT,
        };
        self.0.insert(guesser.clone(), counter);
        let before = before.map(|(_, at)| at);
        Some(Counted { attempts, before })
    }

    /// From when on the next attempt is checked, if it has to wait.
    #[must_use]
    pub fn checked_from(&self, guesser: &Guesser, free: u32) -> Option<i64> {
        let (attempts, at) = self.0.get(guesser)?.count?;
        let further = attempts.checked_sub(free)?;
        Some(match attempts {
            HARD_STOP.. => at + KEPT,
            _ => at + LONGEST_WAIT.min(SECOND << further.min(20)),
        })
    }

    /// Takes back an attempt that turned out to be another's.
    pub fn take_back(&mut self, guesser: &Guesser, counted: Counted) {
        let counter = self.0.get_mut(guesser);
        if let Some((attempts, at)) = counter.and_then(|counter| counter.count.as_mut()) {
            *attempts -= 1;
            *at = counted.before.unwrap_or(*at);
        }
    }

    /// The right password was given: all before it is forgotten. One attempt is not worth a write.
    pub fn forgive(&mut self, guesser: &Guesser, attempts: u32) {
        if attempts > 1 {
            self.0.remove(guesser);
        }
    }

    /// A refused sign-in leaves its mark, also where nothing is counted.
    pub fn mark(&mut self, guesser: &Guesser, now: i64) {
        let counter = self.0.entry(guesser.clone()).or_insert(Counter {
            count: None,
            delete_after: 0,
        });
        counter.delete_after = now + KEPT;
    }

    /// The account is deleted, and nothing stays that is found by it, a mark alone neither.
    pub fn remove(&mut self, guesser: &Guesser) {
        self.0.remove(guesser);
    }

    /// An operator lets clients try again that are not known. Whether anything was counted.
    pub fn forget(&mut self, guesser: &Guesser) -> bool {
        let counted = |counter: &Counter| counter.count.is_some();
        let was_counted = self.0.get(guesser).is_some_and(counted);
        if was_counted {
            self.0.remove(guesser);
        }
        was_counted
    }

    /// DynamoDB deletes what was due before this second. Returns how many.
    pub fn sweep(&mut self, now: i64) -> usize {
        let before = self.0.len();
        let second = |millis: i64| millis.div_euclid(SECOND);
        let due = |counter: &Counter| second(counter.delete_after) < second(now);
        self.0.retain(|_, counter| !due(counter));
        before - self.0.len()
    }
}
