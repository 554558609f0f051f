//! Activity: each event of a user becomes an entry that the user is shown.
//!
//! An entry's key and content come of the event, so records that are brought again write the same entries. Of a user who is
//! gone nothing stays, whatever is brought, whenever and how often: after the entries of some records are written, the
//! accounts of their users are read, and where there is none, all entries of the user are removed. A deletion that comes
//! after that read removes them itself (`finish_deletion`).

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::TimeDelta;
use futures::future::BoxFuture;
use futures::{StreamExt as _, stream};
use latchkey_domain::activity::{ActivityEntry, ActivityPage, ActivityPosition};
use latchkey_domain::clock::Clock;
use latchkey_domain::error::{CallerNotLive, StoreError};
use latchkey_domain::event::Event;
use latchkey_domain::id::UserId;
use latchkey_domain::throttle::Limit;
use latchkey_store::Store;

use crate::caller::admitted;
use crate::metric::ACTIVITY_ENTRIES;
use crate::{Caller, Failure, Service};

/// How many requests of a batch are made at once.
const AT_ONCE: usize = 16;

/// What a record of the stream tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToldByRecord {
    /// The events.
    pub events: Vec<Event>,
    /// Whose account the write has taken away. Its events become no entries: nobody could read them.
    pub deleted_user: Option<UserId>,
}

/// Writes the activity of users.
#[derive(Clone, Debug)]
pub struct ActivityLog {
    /// The table.
    pub store: Store,
    /// How long an entry is kept after its event; zero writes none.
    pub retention: TimeDelta,
    /// Tells which entries have expired before they are written.
    pub clock: Arc<dyn Clock>,
}

impl ActivityLog {
    /// Writes what some records tell, and removes what there is of users who are gone. 1 write unit for each event, 1 read
    /// unit for each user.
    ///
    /// Where something stands in the way that does not pass, the rest is done all the same.
    pub async fn follow(&self, told: &[ToldByRecord]) -> Followed {
        let mut followed = self.write(told).await;
        let reached = followed.stopped_at.unwrap_or(told.len());
        let reached = told.get(..reached).unwrap_or_default();
        followed.add(self.forget_gone(reached).await);
        followed
    }

    async fn write(&self, told: &[ToldByRecord]) -> Followed {
        if self.retention.is_zero() {
            return Followed::default();
        }
        let mut writes = Work::new();
        for (place, told) in told.iter().enumerate() {
            if told.deleted_user.is_some() {
                continue;
            }
            for event in &told.events {
                writes.push(Box::pin(async move {
                    let written = self.write_one(event).await;
                    written.map_err(|error| (place, error))
                }));
            }
        }
        until_unavailable(writes).await
    }

    async fn write_one(&self, event: &Event) -> Result<(), StoreError> {
        let entry = ActivityEntry::of(event, self.retention);
        // One of a record that somebody has brought again after so long.
        if entry.is_expired(self.clock.now()) {
            return Ok(());
        }
        self.store.write_activity(event.user_id, &entry).await?;
        ACTIVITY_ENTRIES.count(1);
        Ok(())
    }

    /// Removes the activity of those users who have no account any more. Their accounts are read after their entries were
    /// written, so of a deletion at the same moment either this or the deletion itself sees every entry.
    async fn forget_gone(&self, told: &[ToldByRecord]) -> Followed {
        let mut seen = HashSet::new();
        let mut checks = Work::new();
        for (place, told) in told.iter().enumerate() {
            let written = told.events.iter().filter(|_| !self.retention.is_zero());
            let users = written.map(|event| event.user_id).chain(told.deleted_user);
            for user in users.filter(|user| seen.insert(*user)) {
                checks.push(Box::pin(async move {
                    let checked = self.forget_if_gone(user).await;
                    checked.map_err(|error| (place, error))
                }));
            }
        }
        until_unavailable(checks).await
    }

    async fn forget_if_gone(&self, user: UserId) -> Result<(), StoreError> {
        let account = match self.store.read_account(user).await {
            Ok(account) => account,
            // It is there, for a person to repair.
            Err(StoreError::Corrupt) => return Ok(()),
            Err(StoreError::Unavailable) => return Err(StoreError::Unavailable),
        };
        if account.is_none_or(|account| account.is_deleted()) {
            let removed = self.store.delete_activity(user).await?;
            tracing::debug!(user_id = %user, removed, "the activity of a deleted user is removed");
        }
        Ok(())
    }
}

/// How far the activity has followed some records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The place of the first record of which something could not be done now. Everything before it is done.
    pub stopped_at: Option<usize>,
    /// The places of those before it of which something can never be done.
    pub broken: BTreeSet<usize>,
}

impl Followed {
    /// Takes in what became of later work on the same records.
    fn add(&mut self, later: Self) {
        self.stopped_at = later.stopped_at.or(self.stopped_at);
        self.broken.extend(later.broken);
    }
}

/// Requests that may be made at once. Each fails with the place of its record.
type Work<'a> = Vec<BoxFuture<'a, Result<(), (usize, StoreError)>>>;

/// Does some of the work at once, in its order, until the table cannot be used. What is broken stays so however often it is
/// tried, and must not keep those behind it waiting.
async fn until_unavailable(work: Work<'_>) -> Followed {
    let mut followed = Followed::default();
    let mut results = stream::iter(work).buffered(AT_ONCE);
    while let Some(result) = results.next().await {
        match result {
            Ok(()) => {}
            Err((place, StoreError::Corrupt)) => {
                followed.broken.insert(place);
            }
            Err((place, StoreError::Unavailable)) => {
                followed.stopped_at = Some(place);
                break;
            }
        }
    }
    followed
}

impl Service {
    /// What has happened to the caller's account, the newest first, behind an entry. 1 trip, 1 read unit and 0.5 for each
    /// 4 KB of the page.
    ///
    /// # Errors
    /// [`CallerNotLive`]
    pub async fn list_activity(
        &self,
        caller: Caller,
        behind: Option<ActivityPosition>,
        limit: usize,
    ) -> Result<ActivityPage, Failure<CallerNotLive>> {
        self.core.count_request(caller, Limit::List)?;
        let (user, now) = (caller.user_id, self.core.now());
        let (account, page) = tokio::try_join!(
            self.store.read_account(user),
            self.store.read_activity(user, behind, limit, now)
        )?;
        admitted(account, caller)?;
        Ok(page)
    }
}
