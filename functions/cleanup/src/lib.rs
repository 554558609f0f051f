//! The scheduled cleanup: removes what has ended and DynamoDB has not yet deleted, and finishes interrupted deletions.
//!
//! DynamoDB's own TTL does nearly all of the work, for nothing; this makes sure of the rest. One run at a time, in
//! parallel segments, within a budget of time and capacity. A run that does not get to the end notes where it stopped,
//! and the next one goes on there. Every delete is conditional or of something that cannot come back, so nothing here
//! can end a session that lives.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use lambda_runtime::Diagnostic;
use latchkey_domain::account::{Account, AccountStatus};
use latchkey_domain::clock::Clock;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::session::Session;
use latchkey_service::metric::{CLEANUP_REMOVED, CLEANUP_RUNS, LIVE_SESSIONS};
use latchkey_store::{
    Checkpoint, Lease, Page, PurgeOutcome, ScanPosition, Scanned, ScannedItem, SegmentProgress,
    Store,
};
use serde::Serialize;
use tokio::time::Instant;

/// How much a run may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// No page is begun after this.
    pub until: DateTime<Utc>,
    /// No page is begun after this many read units.
    pub read_units: f64,
    /// How fast the table is read. The run waits between pages, so that it never takes what requests need.
    pub read_units_per_second: f64,
    /// How many items a page has at most.
    pub page_items: i32,
}

impl Budget {
    /// What a scheduled run may take: 800,000 read units are some 6 GB of items, and 10 cents in us-east-1. A thousand
    /// a second are a third of what one partition of DynamoDB serves, and a small table is one partition.
    #[must_use]
    pub fn until(until: DateTime<Utc>) -> Self {
        Self {
            until,
            read_units: 800_000.0,
            read_units_per_second: 1_000.0,
            page_items: 500,
        }
    }
}

/// Into how many segments the table is cut, which are read side by side.
const SEGMENTS: u16 = 4;
/// How long after its budget of time a run keeps the right to be the only one: for the requests that are under way.
const LEASE_MARGIN: TimeDelta = TimeDelta::seconds(20);
/// After how many pages the run notes how far it has come, in case it is cut off.
const PAGES_BETWEEN_NOTES: u32 = 32;
/// How often a page is asked for before its segment is left to the next run.
const PAGE_ATTEMPTS: u32 = 3;

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
    /// Whether this run began at the beginning of the table, so that what it has counted, if it is complete, is all.
    pub from_the_beginning: bool,
    /// Whether the whole table was read, by this run and those that it went on from.
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
    /// Another run has taken over, because this one had not been heard of for too long.
    LostLease,
}

impl Report {
    /// How many items were removed.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.removed_expired + self.removed_orphaned + self.removed_of_deleted_users
    }

    /// Each number is a field of the line.
    fn log(&self) {
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
    fn publish_metrics(&self) {
        CLEANUP_REMOVED.set(self.removed());
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

/// Why a run is to be looked at. Lambda counts it as an error, so alarms see it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CleanupError {
    /// Another run is under way.
    #[error("another cleanup is running")]
    AlreadyRunning,
    /// It could not begin, or not note where it stopped.
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
    let run = Run {
        store,
        clock,
        budget,
        began: Instant::now(),
        lease,
        checkpoint: Mutex::new(checkpoint),
        report: Mutex::default(),
        pages: Mutex::new(0),
    };
    join_all((0..SEGMENTS).map(|segment| run.sweep(segment))).await;

    let checkpoint = lock(&run.checkpoint).clone();
    let mut report = lock(&run.report).clone();
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
    let result = run(store, clock, Budget::until(until)).await;
    match &result {
        Ok(report) => {
            report.log();
            report.publish_metrics();
        }
        Err(error) => {
            tracing::error!(%error, "cleanup failed");
            if let CleanupError::Incomplete(report) = error {
                report.log();
                CLEANUP_REMOVED.set(report.removed());
            }
        }
    }
    result
}

/// No lock is held across an await, and nothing panics under one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Run<'a> {
    store: &'a Store,
    clock: &'a dyn Clock,
    budget: Budget,
    began: Instant,
    lease: Lease,
    checkpoint: Mutex<Checkpoint>,
    report: Mutex<Report>,
    pages: Mutex<u32>,
}

/// The account that a segment has come to: its sessions follow it.
#[derive(Default)]
struct CurrentUser {
    id: Option<UserId>,
    account: KnownAccount,
}

/// What is known of a user's account.
#[derive(Default)]
enum KnownAccount {
    /// It could not be read; the next run asks again.
    #[default]
    Unknown,
    /// It is this.
    Found(Account),
    /// There is none, so the user's sessions have no owner.
    Missing,
    /// It is not in the form that this service writes. A person has to look at it, so its sessions stay until they are
    /// due, and the run does not fail: it would fail each night.
    Broken,
}

impl Run<'_> {
    async fn sweep(&self, segment: u16) {
        let mut from = match lock(&self.checkpoint).segments.get(usize::from(segment)) {
            Some(SegmentProgress::NotStarted) => None,
            Some(SegmentProgress::At { position }) => Some(position.clone()),
            Some(SegmentProgress::Done) | None => return,
        };
        let mut user = CurrentUser::default();
        while !self.must_stop() {
            self.keep_pace().await;
            let Some(page) = self.read(segment, from).await else {
                lock(&self.report).failed_pages += 1;
                return;
            };
            let next = page.next.clone();
            if let Some(stopped_behind) = self.handle(page, &mut user).await {
                self.note(segment, Some(stopped_behind)).await;
                return;
            }
            self.note(segment, next.clone()).await;
            match next {
                Some(position) => from = Some(position),
                None => return,
            }
        }
    }

    fn must_stop(&self) -> bool {
        let mut report = lock(&self.report);
        if report.stopped_by.is_none() {
            if self.clock.now() >= self.budget.until {
                report.stopped_by = Some(StoppedBy::Time);
            } else if report.read_units >= self.budget.read_units {
                report.stopped_by = Some(StoppedBy::Capacity);
            }
        }
        report.stopped_by.is_some()
    }

    /// Waits until what was read may have been read. By tokio's clock, not by the service's, which a test sets.
    async fn keep_pace(&self) {
        let read = lock(&self.report).read_units;
        let seconds = read / self.budget.read_units_per_second;
        if let Ok(so_long) = Duration::try_from_secs_f64(seconds) {
            tokio::time::sleep_until(self.began + so_long).await;
        }
    }

    async fn read(&self, segment: u16, from: Option<ScanPosition>) -> Option<Page> {
        for _ in 0..PAGE_ATTEMPTS {
            let page = self
                .store
                .scan_page(
                    segment.into(),
                    SEGMENTS.into(),
                    from.clone(),
                    self.budget.page_items,
                )
                .await;
            if let Ok(page) = page {
                lock(&self.report).read_units += page.read_units;
                return Some(page);
            }
        }
        None
    }

    /// Notes how far a segment has come, and now and then tells the table.
    async fn note(&self, segment: u16, next: Option<ScanPosition>) {
        let progress = match next {
            Some(position) => SegmentProgress::At { position },
            None => SegmentProgress::Done,
        };
        let checkpoint = {
            let mut checkpoint = lock(&self.checkpoint);
            if let Some(entry) = checkpoint.segments.get_mut(usize::from(segment)) {
                *entry = progress;
            }
            checkpoint.clone()
        };
        let pages = {
            let mut pages = lock(&self.pages);
            *pages += 1;
            *pages
        };
        if pages.is_multiple_of(PAGES_BETWEEN_NOTES) {
            let noted = self.store.save_cleanup(self.lease, &checkpoint).await;
            if noted == Ok(false) {
                lock(&self.report).stopped_by = Some(StoppedBy::LostLease);
            }
        }
    }

    /// Handles a page. If the budget is used up before its end, says behind which item.
    async fn handle(&self, page: Page, user: &mut CurrentUser) -> Option<ScanPosition> {
        let mut orphans: Vec<(UserId, SessionId)> = Vec::new();
        let mut handled = None;
        for scanned in page.items {
            if handled.is_some() && self.must_stop() {
                self.remove_orphans(&orphans).await;
                return handled;
            }
            handled = Some(scanned.position());
            match &scanned.item {
                ScannedItem::Account(account) => {
                    *user = CurrentUser {
                        id: Some(account.id),
                        account: KnownAccount::Found(account.clone()),
                    };
                    self.handle_account(account).await;
                }
                ScannedItem::Session(session) => {
                    if user.id != Some(session.user_id) {
                        // Read after the session was, so a session that has just been admitted has its account.
                        *user = CurrentUser {
                            id: Some(session.user_id),
                            account: self.look_up(session.user_id).await,
                        };
                    }
                    match &user.account {
                        KnownAccount::Found(account) => {
                            self.handle_session(&scanned, session, account).await;
                        }
                        KnownAccount::Missing => orphans.push((session.user_id, session.id)),
                        KnownAccount::Broken => self.remove_if_due(&scanned).await,
                        KnownAccount::Unknown => lock(&self.report).failed_removals += 1,
                    }
                }
                ScannedItem::Other => self.remove_if_due(&scanned).await,
                ScannedItem::Broken => {
                    lock(&self.report).broken += 1;
                    self.remove_if_due(&scanned).await;
                }
            }
        }
        self.remove_orphans(&orphans).await;
        None
    }

    async fn look_up(&self, user: UserId) -> KnownAccount {
        match self.store.read_account(user).await {
            Ok(Some(account)) => KnownAccount::Found(account),
            Ok(None) => KnownAccount::Missing,
            Err(StoreError::Corrupt) => KnownAccount::Broken,
            Err(StoreError::Unavailable) => KnownAccount::Unknown,
        }
    }

    async fn handle_account(&self, account: &Account) {
        match account.status {
            AccountStatus::Active { .. } | AccountStatus::Disabled { .. } => {
                lock(&self.report).accounts += 1;
            }
            AccountStatus::Deleted { .. } => match self
                .store
                .finish_deletion(account.id, self.clock.now())
                .await
            {
                Ok(removed) => {
                    tracing::info!(user_id = %account.id, removed, "finished an interrupted deletion");
                    lock(&self.report).removed_of_deleted_users += removed as u64;
                }
                Err(_) => lock(&self.report).failed_removals += 1,
            },
        }
    }

    async fn handle_session(&self, scanned: &Scanned, session: &Session, account: &Account) {
        if let AccountStatus::Deleted { .. } = account.status {
            return; // Goes with its account.
        }
        let live = account.is_live(session, self.clock.now());
        if !live && self.is_due(scanned) {
            self.remove_if_due(scanned).await;
            return;
        }
        let mut report = lock(&self.report);
        if live {
            report.sessions_live += 1;
        } else {
            report.sessions_not_live += 1;
        }
    }

    fn is_due(&self, scanned: &Scanned) -> bool {
        scanned
            .delete_after
            .is_some_and(|due| due <= self.clock.now())
    }

    async fn remove_if_due(&self, scanned: &Scanned) {
        if !self.is_due(scanned) {
            return;
        }
        let outcome = self.store.delete_if_due(scanned, self.clock.now()).await;
        let mut report = lock(&self.report);
        match outcome {
            Ok(PurgeOutcome::Removed) => report.removed_expired += 1,
            Ok(PurgeOutcome::NotDue) => report.not_due += 1,
            Err(_) => report.failed_removals += 1,
        }
    }

    async fn remove_orphans(&self, orphans: &[(UserId, SessionId)]) {
        for of_one_user in orphans.chunk_by(|one, next| one.0 == next.0) {
            let Some((user_id, _)) = of_one_user.first() else {
                continue;
            };
            let sessions: Vec<SessionId> =
                of_one_user.iter().map(|(_, session)| *session).collect();
            match self
                .store
                .delete_orphaned_sessions(*user_id, &sessions)
                .await
            {
                Ok(()) => {
                    tracing::info!(%user_id, removed = sessions.len(), "removed sessions without an account");
                    lock(&self.report).removed_orphaned += sessions.len() as u64;
                }
                Err(_) => lock(&self.report).failed_removals += sessions.len() as u64,
            }
        }
    }
}
