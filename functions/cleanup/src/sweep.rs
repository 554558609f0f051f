//! One run: reads the table in parallel segments, and removes what has ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use latchkey_domain::account::{Account, AccountStatus};
use latchkey_domain::clock::Clock;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::session::Session;
use latchkey_store::{
    Checkpoint, Lease, Page, RemovalOutcome, ScanPosition, Scanned, ScannedItem, SegmentProgress,
    Store,
};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::report::{Report, StoppedBy};

/// How many segments the table is cut into, which are read in parallel.
pub(crate) const SEGMENTS: u16 = 4;
/// After how many pages a run saves its progress, in case it is cut off.
const PAGES_BETWEEN_SAVES: u32 = 32;
/// How often a page is requested before its segment is left to the next run.
const PAGE_ATTEMPTS: u32 = 3;

/// One run: what it works with, and what its segments share.
pub(crate) struct Run<'a> {
    store: &'a Store,
    clock: &'a dyn Clock,
    budget: Budget,
    lease: Lease,
    began: Instant,
    progress: Mutex<Progress>,
}

/// How far all segments of a run have come together.
struct Progress {
    checkpoint: Checkpoint,
    pages: u32,
    read_units: f64,
    stopped_by: Option<StoppedBy>,
}

/// One segment of the table. Only this task counts in its report, so it takes no lock.
struct Segment<'a> {
    run: &'a Run<'a>,
    number: u16,
    user: CurrentUser,
    report: Report,
}

/// The account that a segment has come to: its sessions follow it.
#[derive(Default)]
struct CurrentUser {
    id: Option<UserId>,
    account: KnownAccount,
}

/// What is known of a user's account.
#[derive(Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and the large variant is the usual one"
)]
enum KnownAccount {
    /// It could not be read; the next run asks again.
    #[default]
    Unknown,
    /// It is this.
    Found(Account),
    /// There is none, so the user's sessions have no owner.
    Missing,
    /// It is not in the form that this service writes, so a person has to look at it. Its sessions stay until they are
    /// due, and the run does not fail: it would fail each night.
    Broken,
}

/// What a session is, by the account that was found for it.
enum SessionState {
    Live,
    Ended,
    OfDeletedUser,
    Orphaned,
    OfBrokenAccount,
    /// Its account could not be read.
    Unknown,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        store: &'a Store,
        clock: &'a dyn Clock,
        budget: Budget,
        (lease, checkpoint): (Lease, Checkpoint),
    ) -> Self {
        Self {
            store,
            clock,
            budget,
            lease,
            began: Instant::now(),
            progress: Mutex::new(Progress {
                checkpoint,
                pages: 0,
                read_units: 0.0,
                stopped_by: None,
            }),
        }
    }

    /// Sweeps all segments in parallel. Returns where the next run begins, and what this one saw and did.
    pub(crate) async fn sweep(self) -> (Checkpoint, Report) {
        let segments = (0..SEGMENTS).map(|number| Segment::new(&self, number).sweep());
        let reports = join_all(segments).await;
        let progress = self.progress.into_inner();
        let progress = progress.unwrap_or_else(PoisonError::into_inner);
        let mut report = Report {
            read_units: progress.read_units,
            stopped_by: progress.stopped_by,
            ..Report::default()
        };
        for of_segment in &reports {
            report.add_counts(of_segment);
        }
        (progress.checkpoint, report)
    }

    /// No lock is held across an await, and nothing panics under one.
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why no more work may begin, if so.
    fn stop_reason(&self) -> Option<StoppedBy> {
        let progress = self.progress();
        if progress.stopped_by.is_some() {
            progress.stopped_by
        } else if self.clock.now() >= self.budget.until {
            Some(StoppedBy::Time)
        } else if progress.read_units >= self.budget.read_units {
            Some(StoppedBy::Capacity)
        } else {
            None
        }
    }

    /// Stops all segments. The first reason stays, but a lost lease outweighs the others.
    fn record_stop(&self, reason: StoppedBy) {
        let mut progress = self.progress();
        if progress.stopped_by.is_none() || reason == StoppedBy::LostLease {
            progress.stopped_by = Some(reason);
        }
    }

    /// Waits until the rate of the budget allows what was read. By tokio's clock, not by the service's, which a test sets.
    async fn keep_pace(&self) {
        let read_units = self.progress().read_units;
        let seconds = read_units / self.budget.read_units_per_second;
        if let Ok(so_long) = Duration::try_from_secs_f64(seconds) {
            tokio::time::sleep_until(self.began + so_long).await;
        }
    }

    /// Records how far a segment has come, and writes it to the table once in [`PAGES_BETWEEN_SAVES`] pages.
    async fn save_progress(&self, segment: u16, next: Option<ScanPosition>) {
        let due = self.progress().advance(segment, next);
        let Some(checkpoint) = due else {
            return;
        };
        if self.store.save_cleanup(self.lease, &checkpoint).await == Ok(false) {
            self.record_stop(StoppedBy::LostLease);
        }
    }
}

impl Progress {
    fn segment(&self, number: u16) -> Option<SegmentProgress> {
        self.checkpoint.segments.get(usize::from(number)).cloned()
    }

    /// Counts a page of a segment. Returns the checkpoint if it is to be saved now.
    fn advance(&mut self, segment: u16, next: Option<ScanPosition>) -> Option<Checkpoint> {
        if let Some(entry) = self.checkpoint.segments.get_mut(usize::from(segment)) {
            *entry = match next {
                Some(position) => SegmentProgress::At { position },
                None => SegmentProgress::Done,
            };
        }
        self.pages += 1;
        let is_due = self.pages.is_multiple_of(PAGES_BETWEEN_SAVES);
        is_due.then(|| self.checkpoint.clone())
    }
}

impl<'a> Segment<'a> {
    fn new(run: &'a Run<'a>, number: u16) -> Self {
        Self {
            run,
            number,
            user: CurrentUser::default(),
            report: Report::default(),
        }
    }

    async fn sweep(mut self) -> Report {
        let progress = self.run.progress().segment(self.number);
        let mut from = match progress {
            Some(SegmentProgress::NotStarted) => None,
            Some(SegmentProgress::At { position }) => Some(position),
            Some(SegmentProgress::Done) | None => return self.report,
        };
        loop {
            if let Some(reason) = self.run.stop_reason() {
                self.run.record_stop(reason);
                break;
            }
            self.run.keep_pace().await;
            let Some(page) = self.read(from).await else {
                self.report.failed_pages += 1;
                break;
            };
            let next = page.next.clone();
            if let Some(stopped_behind) = self.handle(page).await {
                let position = Some(stopped_behind);
                self.run.save_progress(self.number, position).await;
                break;
            }
            self.run.save_progress(self.number, next.clone()).await;
            if next.is_none() {
                break;
            }
            from = next;
        }
        self.report
    }

    async fn read(&self, from: Option<ScanPosition>) -> Option<Page> {
        for _ in 0..PAGE_ATTEMPTS {
            let page = self
                .run
                .store
                .scan_page(
                    self.number.into(),
                    SEGMENTS.into(),
                    from.clone(),
                    self.run.budget.page_items,
                )
                .await;
            if let Ok(page) = page {
                self.run.progress().read_units += page.read_units;
                return Some(page);
            }
        }
        None
    }

    /// Handles a page. If the budget is used up before its end, returns the last item that was handled.
    async fn handle(&mut self, page: Page) -> Option<ScanPosition> {
        let mut orphans: Vec<(UserId, SessionId)> = Vec::new();
        let mut handled = None;
        for scanned in page.items {
            if handled.is_some()
                && let Some(reason) = self.run.stop_reason()
            {
                self.run.record_stop(reason);
                self.remove_orphans(&orphans).await;
                return handled;
            }
            handled = Some(scanned.position());
            match &scanned.item {
                ScannedItem::Account(account) => {
                    self.user = CurrentUser {
                        id: Some(account.id),
                        account: KnownAccount::Found(account.clone()),
                    };
                    self.handle_account(account).await;
                }
                ScannedItem::Session(session) => {
                    self.look_up_owner(session.user_id).await;
                    match self.state_of(session) {
                        SessionState::Live => self.report.sessions_live += 1,
                        SessionState::Ended if self.is_due(&scanned) => {
                            self.remove_if_due(&scanned).await;
                        }
                        SessionState::Ended => self.report.sessions_not_live += 1,
                        SessionState::OfDeletedUser => {} // Goes with its account.
                        SessionState::Orphaned => orphans.push((session.user_id, session.id)),
                        SessionState::OfBrokenAccount => self.remove_if_due(&scanned).await,
                        SessionState::Unknown => self.report.failed_removals += 1,
                    }
                }
                // Its role deletes items of users alone; DynamoDB deletes the others by their `ttl`.
                ScannedItem::LeftToTtl | ScannedItem::Other => {}
                ScannedItem::Broken => {
                    self.report.broken += 1;
                    self.remove_if_due(&scanned).await;
                }
            }
        }
        self.remove_orphans(&orphans).await;
        None
    }

    async fn look_up_owner(&mut self, user: UserId) {
        if self.user.id == Some(user) {
            return;
        }
        // Read after the session was, so a session that has just been admitted has its account.
        let account = match self.run.store.read_account(user).await {
            Ok(Some(account)) => KnownAccount::Found(account),
            Ok(None) => KnownAccount::Missing,
            Err(StoreError::Corrupt) => KnownAccount::Broken,
            Err(StoreError::Unavailable) => KnownAccount::Unknown,
        };
        self.user = CurrentUser {
            id: Some(user),
            account,
        };
    }

    fn state_of(&self, session: &Session) -> SessionState {
        match &self.user.account {
            KnownAccount::Found(account) => match account.status {
                AccountStatus::Deleted { .. } => SessionState::OfDeletedUser,
                AccountStatus::Active { .. } | AccountStatus::Disabled { .. } => {
                    if account.is_live(session, self.run.clock.now()) {
                        SessionState::Live
                    } else {
                        SessionState::Ended
                    }
                }
            },
            KnownAccount::Missing => SessionState::Orphaned,
            KnownAccount::Broken => SessionState::OfBrokenAccount,
            KnownAccount::Unknown => SessionState::Unknown,
        }
    }

    async fn handle_account(&mut self, account: &Account) {
        match account.status {
            AccountStatus::Active { .. } | AccountStatus::Disabled { .. } => {
                self.report.accounts += 1;
            }
            AccountStatus::Deleted { .. } => {
                let now = self.run.clock.now();
                match self.run.store.finish_deletion(account.id, now).await {
                    Ok(removed) => {
                        tracing::info!(user_id = %account.id, removed, "finished an interrupted deletion");
                        self.report.removed_of_deleted_users += removed as u64;
                    }
                    Err(_) => self.report.failed_removals += 1,
                }
            }
        }
    }

    fn is_due(&self, scanned: &Scanned) -> bool {
        scanned
            .delete_after
            .is_some_and(|due| due <= self.run.clock.now())
    }

    async fn remove_if_due(&mut self, scanned: &Scanned) {
        if !self.is_due(scanned) {
            return;
        }
        let now = self.run.clock.now();
        match self.run.store.delete_if_due(scanned, now).await {
            Ok(RemovalOutcome::Removed) => self.report.removed_expired += 1,
            Ok(RemovalOutcome::NotDue) => self.report.not_due += 1,
            Err(_) => self.report.failed_removals += 1,
        }
    }

    async fn remove_orphans(&mut self, orphans: &[(UserId, SessionId)]) {
        for of_one_user in orphans.chunk_by(|one, next| one.0 == next.0) {
            let Some((user_id, _)) = of_one_user.first() else {
                continue;
            };
            let sessions: Vec<SessionId> =
                of_one_user.iter().map(|(_, session)| *session).collect();
            let store = self.run.store;
            match store.delete_orphaned_sessions(*user_id, &sessions).await {
                Ok(()) => {
                    tracing::info!(%user_id, removed = sessions.len(), "removed sessions without an account");
                    self.report.removed_orphaned += sessions.len() as u64;
                }
                Err(_) => self.report.failed_removals += sessions.len() as u64,
            }
        }
    }
}
