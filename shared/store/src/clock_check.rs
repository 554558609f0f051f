//! Whether the clock of this machine agrees with DynamoDB's, whose replies say when they were made.
//!
//! Sessions are judged by the clocks of functions, which may differ by some seconds and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use aws_smithy_types::date_time::Format;
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::clock::Clock;

/// Counts the times that the clocks were found apart.
pub const CLOCK_DIFFERENCES: &str = "ClockDifferences";

/// How far the clocks may be apart before somebody should know. Services may differ by 5 seconds and sign nobody out.
const TOLERATED: TimeDelta = TimeDelta::seconds(2);

/// The `Date` header (RFC 9110 section 6.6.1) has no fractions: a reply was made within this after it.
const RESOLUTION: TimeDelta = TimeDelta::seconds(1);

/// Clocks drift slowly, so that one look in this many seconds is enough, and so is one line.
const SECONDS_BETWEEN_LOOKS: u64 = 60;

/// Looks at the replies of DynamoDB, at one in a minute.
#[derive(Debug)]
pub(crate) struct ClockCheck {
    clock: Arc<dyn Clock>,
    /// The second of the last look.
    looked_at: AtomicI64,
}

impl ClockCheck {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            looked_at: AtomicI64::new(i64::MIN),
        }
    }

    /// Also if the clock has been set back since.
    fn is_due(&self, now: DateTime<Utc>) -> bool {
        let looked_at = self.looked_at.load(Ordering::Relaxed);
        now.timestamp().abs_diff(looked_at) >= SECONDS_BETWEEN_LOOKS
    }
}

impl Intercept for ClockCheck {
    fn name(&self) -> &'static str {
        "ClockCheck"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let now = self.clock.now();
        if self.is_due(now) {
            config.interceptor_state().store_put(Sent(now));
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let received = self.clock.now();
        let date = context
            .response()
            .and_then(|response| response.headers().get("date"));
        let (Some(Sent(sent)), Some(date)) = (config.load::<Sent>(), date.and_then(read_date))
        else {
            return Ok(());
        };
        if self.is_due(received) {
            self.looked_at
                .store(received.timestamp(), Ordering::Relaxed);
            if let Some(ahead) = difference(*sent, received, date) {
                metrics::counter!(CLOCK_DIFFERENCES).increment(1);
                tracing::warn!(
                    milliseconds_ahead = ahead.num_milliseconds(),
                    "the clock of this function is more than 2 seconds from DynamoDB's"
                );
            }
        }
        Ok(())
    }
}

/// When an attempt was sent, by this machine's clock.
#[derive(Clone, Copy, Debug)]
struct Sent(DateTime<Utc>);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

fn read_date(header: &str) -> Option<DateTime<Utc>> {
    let date = aws_smithy_types::DateTime::from_str(header, Format::HttpDate).ok()?;
    DateTime::from_timestamp(date.secs(), 0)
}

/// How far this machine's clock is ahead of DynamoDB's at least (negative: behind), if that is more than is tolerated. The
/// reply was made between `sent` and `received` of this clock, and within a second after `date` of the other.
fn difference(
    sent: DateTime<Utc>,
    received: DateTime<Utc>,
    date: DateTime<Utc>,
) -> Option<TimeDelta> {
    let ahead = sent - (date + RESOLUTION);
    let behind = date - received;
    if ahead > TOLERATED {
        Some(ahead)
    } else if behind > TOLERATED {
        Some(-behind)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use latchkey_domain::clock::ManualClock;

    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_772_366_400_000 + millis).unwrap()
    }

    #[test]
    fn only_what_cannot_be_the_way_of_the_reply_is_a_difference() {
        let date = at(0);
        for (sent, received, ahead) in [
            (0, 5, None),
            (995, 1_000, None),
            // A reply that was under way for long, or whose machine was frozen meanwhile.
            (-2_000, 900_000, None),
            // DynamoDB's second may be nearly over.
            (3_000, 3_005, None),
            (3_001, 3_005, Some(2_001)),
            (63_000, 63_005, Some(62_000)),
            (-2_005, -2_000, None),
            (-2_006, -2_001, Some(-2_001)),
            (-60_010, -60_000, Some(-60_000)),
        ] {
            assert_eq!(
                difference(at(sent), at(received), date),
                ahead.map(TimeDelta::milliseconds),
                "{sent} {received}"
            );
        }
    }

    /// A clock that was set back is looked at too: it may have been right before.
    #[test]
    fn the_clock_is_looked_at_once_a_minute() {
        let check = ClockCheck::new(Arc::new(ManualClock::starting_at(at(0))));
        assert!(check.is_due(at(0)), "it was never looked at");
        check.looked_at.store(at(0).timestamp(), Ordering::Relaxed);
        for (millis, is_due) in [
            (0, false),
            (59_999, false),
            (60_000, true),
            (-59_000, false),
            (-60_000, true),
        ] {
            assert_eq!(check.is_due(at(millis)), is_due, "{millis}");
        }
    }

    #[test]
    fn the_date_of_a_reply_is_read() {
        assert_eq!(read_date("Sun, 01 Mar 2026 12:00:00 GMT"), Some(at(0)));
        assert_eq!(read_date("yesterday"), None);
    }
}
