//! The scheduled cleanup: removes what has ended and DynamoDB has not yet deleted, and finishes interrupted deletions.
//!
//! DynamoDB's own TTL does nearly all of the work, at no cost; this makes sure of the rest. One run at a time, in
//! parallel segments, within a budget of time and capacity. A run that does not reach the end saves where it stopped, and
//! the next one continues there. Every delete is conditional or of something that cannot come back, so nothing here can
//! end a session that lives.

mod budget;
mod report;
mod sweep;

use chrono::{DateTime, TimeDelta};
use futures::FutureExt as _;
use latchkey_domain::clock::Clock;
use latchkey_service::metric::CLEANUP_REMOVED;
use latchkey_store::{Checkpoint, Store};

pub use crate::budget::Budget;
pub use crate::report::{CleanupError, Report, StoppedBy};
use crate::sweep::{Run, SEGMENTS};

/// How long a run keeps its lease after its time is over: for the requests that are under way.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(20);

/// Cleans up, from where the last run stopped.
///
/// # Errors
/// [`CleanupError`]; everything that did not fail was done.
pub async fn run(store: &Store, clock: &dyn Clock, budget: Budget) -> Result<Report, CleanupError> {
    let leased_until = budget.until + LEASE_MARGIN;
    let begun = store
        .begin_cleanup(SEGMENTS.into(), clock.now(), leased_until)
        .await?;
    let Some((lease, checkpoint)) = begun else {
        return Err(CleanupError::AlreadyRunning);
    };
    let from_the_beginning = checkpoint == Checkpoint::beginning(SEGMENTS.into());
    let run = Run::new(store, clock, budget, (lease, checkpoint));
    let (checkpoint, mut report) = run.sweep().await;
    report.from_the_beginning = from_the_beginning;
    report.complete = checkpoint.is_complete();
    let kept = report.stopped_by != Some(StoppedBy::LostLease)
        && store.end_cleanup(lease, &checkpoint).await?;
    if !kept {
        report.stopped_by = Some(StoppedBy::LostLease);
        report.complete = false;
    }
    if report.failed_pages + report.failed_removals > 0 {
        return Err(CleanupError::Incomplete(Box::new(report)));
    }
    Ok(report)
}

/// What is left of a function's time when the last page is begun.
const MARGIN: TimeDelta = TimeDelta::seconds(30);

/// One scheduled run: cleans up until shortly before the function's `deadline`, in epoch milliseconds; logs and counts
/// what it saw and did.
///
/// # Errors
/// As [`run`].
pub async fn on_schedule(
    store: &Store,
    clock: &dyn Clock,
    deadline: u64,
) -> Result<Report, CleanupError> {
    let deadline = i64::try_from(deadline)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    let until = deadline.unwrap_or_else(|| clock.now()) - MARGIN;
    // Boxed, because the futures of all segments in one are nested too deeply for the compiler.
    let result = run(store, clock, Budget::until(until)).boxed().await;
    match &result {
        Ok(report) => {
            report.log();
            report.publish_metrics();
        }
        Err(error) => {
            tracing::error!(%error, "cleanup failed");
            if let CleanupError::Incomplete(report) = error {
                report.log();
                CLEANUP_REMOVED.set(report.count_removed());
            }
        }
    }
    result
}
