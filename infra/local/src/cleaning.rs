//! The cleanup: every day on its schedule, as EventBridge starts it on AWS, and at once on request.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use cleanup::{Budget, CleanupError, Report};
use http::StatusCode;
use latchkey_api::problem::{Code, Problem};
use latchkey_domain::clock::Clock;
use latchkey_domain::error::CallerNotLive;
use latchkey_service::Failure;
use latchkey_store::Store;
use tokio::time::MissedTickBehavior;

use crate::embedded::Sweeper;
use crate::origins;

/// Runs the cleanup at once. Not in the OpenAPI document: the service on AWS does not have it.
pub(crate) const CLEANUP_PATH: &str = "/local/cleanup";
/// When the cleanup runs, after midnight UTC: as in the template.
const DAILY_AT: TimeDelta = TimeDelta::hours(2);
/// The longest that a run may take, until its last page is begun.
const RUN_WITHIN: TimeDelta = TimeDelta::minutes(1);
/// How often it is looked whether something is due. Short, because a laptop that sleeps does not count the time.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Cleans up a store.
#[derive(Clone, Debug)]
pub(crate) struct Cleaner {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) sweeper: Option<Sweeper>,
}

impl Cleaner {
    /// Cleans up whenever it is time to, and never returns.
    pub(crate) async fn keep_schedule(self) {
        let mut due = next_cleanup(self.clock.now());
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.sweep().await;
            let now = self.clock.now();
            if now >= due {
                due = next_cleanup(now);
                // What went wrong is logged there.
                let _ = self.clean_up().await;
            }
        }
    }

    async fn sweep(&self) {
        let Some(sweeper) = &self.sweeper else {
            return;
        };
        match sweeper.sweep().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(
                removed,
                "the embedded DynamoDB has deleted items whose ttl had passed"
            ),
            Err(error) => {
                tracing::error!(%error, "items whose ttl had passed could not be deleted");
            }
        }
    }

    async fn clean_up(&self) -> Result<Report, CleanupError> {
        let clock = self.clock.as_ref();
        let result =
            cleanup::run(&self.store, clock, Budget::until(clock.now() + RUN_WITHIN)).await;
        match &result {
            Ok(report) => tracing::info!("cleaned up: {report}"),
            Err(error) => tracing::error!(%error, "cleanup failed"),
        }
        result
    }

    /// The route that cleans up at once.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route(CLEANUP_PATH, post(clean_up_now))
            .route_layer(from_fn(origins::refuse_other_pages))
            .with_state(self)
    }
}

async fn clean_up_now(State(cleaner): State<Cleaner>) -> Result<Response, Problem> {
    // In a separate task, so that it continues when the client goes away: a run that is cut off keeps the others out
    // until its lease has passed.
    let run = tokio::spawn(async move { cleaner.clean_up().await }).await;
    match run {
        Ok(Ok(report)) => Ok(Json(report).into_response()),
        Ok(Err(CleanupError::Incomplete(report))) => {
            Ok((StatusCode::INTERNAL_SERVER_ERROR, Json(report)).into_response())
        }
        Ok(Err(CleanupError::AlreadyRunning)) => Err(Code::TemporarilyUnavailable.into()),
        Ok(Err(CleanupError::Store(error))) => Err(Failure::<CallerNotLive>::from(error).into()),
        Err(_) => Err(Problem::internal()),
    }
}

/// The next time of the schedule after `now`.
fn next_cleanup(now: DateTime<Utc>) -> DateTime<Utc> {
    let today = now.date_naive().and_time(NaiveTime::MIN).and_utc() + DAILY_AT;
    if now < today {
        today
    } else {
        today + TimeDelta::days(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(now: &str) -> String {
        let now: DateTime<Utc> = now.parse().unwrap();
        next_cleanup(now).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    #[test]
    fn the_cleanup_is_due_every_day_at_two() {
        assert_eq!(next("2026-03-01T01:59:59.999Z"), "2026-03-01T02:00:00Z");
        assert_eq!(next("2026-03-01T02:00:00.000Z"), "2026-03-02T02:00:00Z");
        assert_eq!(next("2026-03-01T00:00:00Z"), "2026-03-01T02:00:00Z");
        assert_eq!(next("2026-12-31T23:59:59Z"), "2027-01-01T02:00:00Z");
        assert_eq!(next("2028-02-28T12:00:00Z"), "2028-02-29T02:00:00Z");
    }
}
