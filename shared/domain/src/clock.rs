//! Time, passed in: the only place that reads the system's clock.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// Tells the time, in whole milliseconds, because that is what is stored.
pub trait Clock: Debug + Send + Sync {
    /// Now, in UTC, cut to the millisecond.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the adapter that the ban points to"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(3)
    }
}

/// A clock that stands still until its owner moves it, for tests, models and benchmarks.
#[derive(Debug)]
pub struct ManualClock {
    epoch_millis: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `start`, cut to the millisecond.
    #[must_use]
    pub fn starting_at(start: DateTime<Utc>) -> Self {
        Self {
            epoch_millis: AtomicI64::new(start.timestamp_millis()),
        }
    }

    /// Moves the clock, backwards too if `by` is negative: clocks of two machines differ.
    pub fn advance(&self, by: TimeDelta) {
        self.epoch_millis
            .fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.epoch_millis.load(Ordering::SeqCst))
            .unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Cuts a time to whole seconds. Expiries are whole seconds, so that the `exp` of a token (RFC 7519
/// `NumericDate`) and the expiry on the session's item are the same moment.
#[must_use]
pub fn whole_seconds(time: DateTime<Utc>) -> DateTime<Utc> {
    time.trunc_subsecs(0)
}

/// How long ago something was, never negative: the clock of the machine that wrote it may be ahead of ours.
#[must_use]
pub fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    now.signed_duration_since(then).max(TimeDelta::zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_moved_forwards_or_backwards() {
        let start = DateTime::from_timestamp_nanos(1_772_366_400_250_999_999);
        let clock = ManualClock::starting_at(start);
        assert_eq!(clock.now(), start.trunc_subsecs(3));
        for (by, after) in [(1_750, 1_750), (-2_000, -250)] {
            clock.advance(TimeDelta::milliseconds(by));
            let after = start.trunc_subsecs(3) + TimeDelta::milliseconds(after);
            assert_eq!(clock.now(), after);
        }
    }
}
