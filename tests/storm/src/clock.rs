//! A clock that runs as the machine's does, and leaps ahead between two rounds.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use latchkey_domain::clock::{Clock, SystemClock};

use super::history::Moment;

/// The time of the service and of its clients.
#[derive(Debug)]
pub(crate) struct LeapingClock {
    began: Instant,
    epoch: Moment,
    leapt: AtomicI64,
}

impl LeapingClock {
    pub(crate) fn starting_now() -> Self {
        Self {
            began: Instant::now(),
            epoch: SystemClock.now().timestamp_micros(),
            leapt: AtomicI64::new(0),
        }
    }

    /// Now, in microseconds. Never goes back.
    pub(crate) fn moment(&self) -> Moment {
        let elapsed = i64::try_from(self.began.elapsed().as_micros()).unwrap_or(i64::MAX);
        self.epoch + elapsed + self.leapt.load(Ordering::SeqCst)
    }

    /// Leaps ahead.
    pub(crate) fn leap(&self, by: TimeDelta) {
        let micros = by.num_microseconds().unwrap_or_default();
        self.leapt.fetch_add(micros, Ordering::SeqCst);
    }

    /// How long it has run, without its leaps.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Clock for LeapingClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.moment())
            .unwrap_or_default()
            .trunc_subsecs(3)
    }
}
