//! One run: reads the table in parallel segments, and removes what has ended.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latchkey_domain::account::{Account, AccountStatus};
use latchkey_domain::clock::Clock;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::session::Session;
use latchkey_store::{
    Checkpoint, Lease, Page, PurgeOutcome, ScanPosition, Scanned, ScannedItem, SegmentProgress,
    Store,
};
use tokio::time::Instant;

use crate::budget::Budget;
use crate::report::{Report, StoppedBy};

/// Into how many segments the table is cut, which are read side by side.
pub(crate) const SEGMENTS: u16 = 4;
/// After how many pages the run notes how far it has come, in case it is cut off.
const PAGES_BETWEEN_NOTES: u32 = 32;
/// How often a page is asked for before its segment is left to the next run.
const PAGE_ATTEMPTS: u32 = 3;

/// No lock is held across an await, and nothing panics under one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) struct Run<'a> {
    pub(crate) store: &'a Store,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) budget: Budget,
    pub(crate) began: Instant,
    pub(crate) lease: Lease,
    pub(crate) checkpoint: Mutex<Checkpoint>,
    pub(crate) report: Mutex<Report>,
    pub(crate) pages: Mutex<u32>,
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
    pub(crate) async fn sweep(&self, segment: u16) {
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
