//! What a run saw and did, or why somebody has to look at it.

use std::fmt;

use lambda_runtime::Diagnostic;
use latchkey_domain::error::StoreError;
use latchkey_service::metric::{CLEANUP_REMOVED, CLEANUP_RUNS, LIVE_SESSIONS};
use serde::Serialize;

/// What a run saw and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Accounts that are not deleted.
    pub accounts: u64,
    /// Sessions that are live.
    pub sessions_live: u64,
    /// Sessions that have ended and are kept for the audit trail.
    pub sessions_not_live: u64,
    /// Items whose `ttl` had passed, removed.
    pub removed_expired: u64,
    /// Items whose `ttl` had passed when they were read, but that had been renewed or removed meanwhile.
    pub not_due: u64,
    /// Sessions without an account, removed.
    pub removed_orphaned: u64,
    /// Items of deleted users, removed.
    pub removed_of_deleted_users: u64,
    /// Items that are not in the form that this service writes: for a person to look at, until their `ttl` has passed.
    pub broken: u64,
    /// Removals that failed; the next run tries them again.
    pub failed_removals: u64,
    /// Pages that could not be read; the next run begins with them.
    pub failed_pages: u64,
    /// What reading cost, in read units.
    pub read_units: f64,
    /// Whether this run began at the start of the table, so a complete run has counted everything.
    pub from_the_beginning: bool,
    /// Whether the whole table was read, by this run and those that it continues.
    pub complete: bool,
    /// Why the run stopped before the end of the table.
    pub stopped_by: Option<StoppedBy>,
}

/// Why a run stopped before the end of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoppedBy {
    /// Its time was over.
    Time,
    /// Its capacity was used up.
    Capacity,
    /// Another run has taken over, because this one's lease had run out.
    LostLease,
}

impl Report {
    /// How many items were removed.
    #[must_use]
    pub fn count_removed(&self) -> u64 {
        self.removed_expired + self.removed_orphaned + self.removed_of_deleted_users
    }

    /// Adds what one segment counted. What belongs to the whole run stays as it is.
    pub(crate) fn add_counts(&mut self, segment: &Self) {
        self.accounts += segment.accounts;
        self.sessions_live += segment.sessions_live;
        self.sessions_not_live += segment.sessions_not_live;
        self.removed_expired += segment.removed_expired;
        self.not_due += segment.not_due;
        self.removed_orphaned += segment.removed_orphaned;
        self.removed_of_deleted_users += segment.removed_of_deleted_users;
        self.broken += segment.broken;
        self.failed_removals += segment.failed_removals;
        self.failed_pages += segment.failed_pages;
    }

    /// Each number is a field of the line.
    pub(crate) fn log(&self) {
        tracing::info!(
            accounts = self.accounts,
            sessions_live = self.sessions_live,
            sessions_not_live = self.sessions_not_live,
            removed_expired = self.removed_expired,
            not_due = self.not_due,
            removed_orphaned = self.removed_orphaned,
            removed_of_deleted_users = self.removed_of_deleted_users,
            broken = self.broken,
            failed_removals = self.failed_removals,
            failed_pages = self.failed_pages,
            read_units = self.read_units,
            from_the_beginning = self.from_the_beginning,
            complete = self.complete,
            stopped_by = self.stopped_by.map(StoppedBy::as_str),
            "cleaned up: {self}"
        );
    }

    /// A run that lost its lease is not counted.
    pub(crate) fn publish_metrics(&self) {
        CLEANUP_REMOVED.set(self.count_removed());
        if self.stopped_by != Some(StoppedBy::LostLease) {
            CLEANUP_RUNS.count(1);
        }
        if self.complete && self.from_the_beginning {
            LIVE_SESSIONS.set(self.sessions_live);
        }
    }
}

impl StoppedBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Capacity => "capacity",
            Self::LostLease => "lost_lease",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} accounts, {} live sessions, {} ended ones kept; removed {} expired, {} orphaned, {} of deleted users; {} \
             failures; {}",
            self.accounts,
            self.sessions_live,
            self.sessions_not_live,
            self.removed_expired,
            self.removed_orphaned,
            self.removed_of_deleted_users,
            self.failed_pages + self.failed_removals,
            if self.complete {
                "complete"
            } else {
                "to be continued"
            },
        )
    }
}

/// Why somebody has to look at a run. Lambda counts it as an error, so alarms see it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CleanupError {
    /// Another run is under way.
    #[error("another cleanup is running")]
    AlreadyRunning,
    /// It could not begin, or not save where it stopped.
    #[error("the cleanup could not run: {0}")]
    Store(#[from] StoreError),
    /// Some pages or removals failed; all others were done.
    #[error("the cleanup had failures: {0}")]
    Incomplete(Box<Report>),
}

impl From<CleanupError> for Diagnostic {
    fn from(error: CleanupError) -> Self {
        let error_type = match error {
            CleanupError::AlreadyRunning => "CleanupAlreadyRunning",
            CleanupError::Store(_) => "CleanupStoreError",
            CleanupError::Incomplete(_) => "CleanupIncomplete",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: error.to_string(),
        }
    }
}
