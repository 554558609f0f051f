//! What the scheduled cleanup needs: pages of the whole table, conditional deletes, and a checkpoint.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::serde::ts_milliseconds;
use chrono::{DateTime, Utc};
use futures::try_join;
use latchkey_domain::account::Account;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{RequestId, SessionId, UserId};
use latchkey_domain::session::Session;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::expression::Expression;
use crate::item::{
    StatusAttribute, account_from_item, attribute, from_item, millis, number, session_from_item,
    string, to_attribute, to_item,
};
use crate::keys::{
    ACCOUNT, ACTIVITY_PREFIX, DEAD_LETTER_PREFIX, Item, Key, LINK_PREFIX, MAIL_PREFIX, PK,
    SESSION_PREFIX, SK, THROTTLE_PREFIX, USER_PREFIX,
};
use crate::refusal::store_error;

/// What DynamoDB alone deletes.
const LEFT_TO_TTL: [&str; 5] = [
    THROTTLE_PREFIX,
    DEAD_LETTER_PREFIX,
    ACTIVITY_PREFIX,
    LINK_PREFIX,
    MAIL_PREFIX,
];

/// Where a scan continues: behind this key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanPosition(pub(crate) Key);

/// One page of a segment.
#[derive(Debug)]
pub struct Page {
    /// The items, in the order of the table: a user's account comes before the user's sessions.
    pub items: Vec<Scanned>,
    /// Where the segment continues; nothing at its end.
    pub next: Option<ScanPosition>,
    /// What the page cost, in read units.
    pub read_units: f64,
}

/// An item that a scan met.
#[derive(Debug)]
pub struct Scanned {
    key: Key,
    /// What it is.
    pub item: ScannedItem,
    /// When DynamoDB may delete it.
    pub delete_after: Option<DateTime<Utc>>,
}

/// What a scan met.
#[derive(Debug)]
pub enum ScannedItem {
    /// An account, eventually consistent.
    Account(Account),
    /// A session, eventually consistent.
    Session(Session),
    /// A counter of attempts, an entry of a user's activity, what is kept of a mail, or a dead letter. DynamoDB deletes it by its `ttl`, which costs nothing.
    LeftToTtl,
    /// Something else: a credential, the cleanup's checkpoint, or what a later version keeps.
    Other,
    /// An item that should be an account or a session but is not in that form.
    Broken,
}

/// What became of an item whose time had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalOutcome {
    /// It is gone.
    Removed,
    /// It had been renewed, or deleted by DynamoDB itself.
    NotDue,
}

/// How far one segment of a pass has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SegmentProgress {
    /// Nothing of it was read.
    NotStarted,
    /// It continues behind this key.
    At {
        /// The last key that was read.
        position: ScanPosition,
    },
    /// It was read to its end.
    Done,
}

/// How far a pass over the table has come: one entry for each segment.
///
/// ```
/// use latchkey_store::{Checkpoint, SegmentProgress};
///
/// let mut checkpoint = Checkpoint::beginning(4);
/// assert!(!checkpoint.is_complete());
/// checkpoint.segments.fill(SegmentProgress::Done);
/// assert!(checkpoint.is_complete());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The segments.
    pub segments: Vec<SegmentProgress>,
}

impl Checkpoint {
    /// A pass that begins.
    #[must_use]
    pub fn beginning(segments: usize) -> Self {
        Self {
            segments: vec![SegmentProgress::NotStarted; segments],
        }
    }

    /// Whether every segment was read to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| *segment == SegmentProgress::Done)
    }
}

/// The right to be the one cleanup that runs, until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    owner: RequestId,
    leased_until: DateTime<Utc>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CheckpointItem {
    #[serde(flatten)]
    key: Key,
    owner: RequestId,
    #[serde(with = "ts_milliseconds")]
    leased_until: DateTime<Utc>,
    #[serde(default)]
    segments: Vec<SegmentProgress>,
}

impl Scanned {
    /// Where a scan continues behind this item.
    #[must_use]
    pub fn position(&self) -> ScanPosition {
        ScanPosition(self.key.clone())
    }
}

impl Store {
    /// Takes the right to clean up until `leased_until`, and says where the last run stopped. Nothing if another run has
    /// it. A run that has died blocks the next one until then.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn begin_cleanup(
        &self,
        segments: usize,
        now: DateTime<Utc>,
        leased_until: DateTime<Utc>,
    ) -> Result<Option<(Lease, Checkpoint)>, StoreError> {
        let saved = self
            .get(Key::cleanup())
            .await?
            .map(from_item::<CheckpointItem>)
            .transpose()?;
        let checkpoint = match saved {
            Some(item) if item.segments.len() == segments => Checkpoint {
                segments: item.segments,
            },
            Some(_) | None => Checkpoint::beginning(segments),
        };
        let checkpoint = if checkpoint.is_complete() {
            Checkpoint::beginning(segments)
        } else {
            checkpoint
        };
        let lease = Lease {
            owner: self.new_request_id(),
            leased_until,
        };
        let held = self
            .write_checkpoint(lease, &checkpoint, leased_until, Some(now))
            .await?;
        Ok(held.then_some((lease, checkpoint)))
    }

    /// Saves how far the run has come and keeps the lease. False if another run has taken it over.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn save_cleanup(
        &self,
        lease: Lease,
        checkpoint: &Checkpoint,
    ) -> Result<bool, StoreError> {
        self.write_checkpoint(lease, checkpoint, lease.leased_until, None)
            .await
    }

    /// Saves where the run has stopped and gives the lease back. False if another run has taken it over.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn end_cleanup(
        &self,
        lease: Lease,
        checkpoint: &Checkpoint,
    ) -> Result<bool, StoreError> {
        self.write_checkpoint(lease, checkpoint, DateTime::UNIX_EPOCH, None)
            .await
    }

    async fn write_checkpoint(
        &self,
        lease: Lease,
        checkpoint: &Checkpoint,
        leased_until: DateTime<Utc>,
        take_over_at: Option<DateTime<Utc>>,
    ) -> Result<bool, StoreError> {
        let item: Item = to_item(&CheckpointItem {
            key: Key::cleanup(),
            owner: lease.owner,
            leased_until,
            segments: checkpoint.segments.clone(),
        })?;
        let segments = item.get("segments").cloned().ok_or(StoreError::Corrupt)?;
        let mut expression = Expression::default()
            .set("owner", string(lease.owner))
            .set("leased_until", millis(leased_until))
            .set("segments", segments);
        expression = match take_over_at {
            Some(now) => expression
                .only_if("(attribute_not_exists(#pk) OR #leased_until < :now OR #owner = :owner)")
                .name(PK)
                .value("now", millis(now)),
            None => expression.only_if("#owner = :owner"),
        };
        let written = self
            .update(
                Key::cleanup(),
                &expression,
                |update| update,
                &mut self.retries(),
            )
            .await?;
        Ok(written.is_ok())
    }

    /// One page of one segment of the table, eventually consistent, of at most `limit` items.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn scan_page(
        &self,
        segment: i32,
        segments: i32,
        from: Option<ScanPosition>,
        limit: i32,
    ) -> Result<Page, StoreError> {
        let output = self
            .client
            .scan()
            .table_name(&*self.table)
            .segment(segment)
            .total_segments(segments)
            .set_exclusive_start_key(from.map(|position| position.0.into_attributes()))
            .limit(limit)
            .return_consumed_capacity(COUNT_CAPACITY)
            .send()
            .await
            .map_err(|error| store_error("Scan", &error))?;
        let next = output
            .last_evaluated_key
            .map(key_of)
            .transpose()?
            .map(ScanPosition);
        Ok(Page {
            items: output
                .items
                .unwrap_or_default()
                .into_iter()
                .map(read_scanned)
                .collect::<Result<_, _>>()?,
            next,
            read_units: output
                .consumed_capacity
                .and_then(|capacity| capacity.capacity_units)
                .unwrap_or_default(),
        })
    }

    /// Deletes an item whose `ttl` has passed, on the condition that it still has: one that was renewed stays.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_if_due(
        &self,
        scanned: &Scanned,
        now: DateTime<Utc>,
    ) -> Result<RemovalOutcome, StoreError> {
        let due = Expression::default()
            .only_if("#ttl <= :now")
            .name(attribute::TTL)
            .value("now", number(now.timestamp()));
        let removed = self.delete_item_if(scanned.key.clone(), &due).await?;
        Ok(if removed {
            RemovalOutcome::Removed
        } else {
            RemovalOutcome::NotDue
        })
    }

    /// Removes session items of a user who has no account. `sessions` must have been read before the account was found
    /// missing.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_orphaned_sessions(
        &self,
        user: UserId,
        sessions: &[SessionId],
    ) -> Result<(), StoreError> {
        self.delete_sessions(user, sessions).await
    }

    /// Removes what is left of a deleted user: sessions and activity, then the account, so that an interruption leaves
    /// the account to tell what is to be done. Returns how many items went. Does nothing for an account that is not deleted.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn finish_deletion(
        &self,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<usize, StoreError> {
        let snapshot = self.read_partition(user, now).await?;
        // The account stands before the sessions in the partition, so it was read first; but a deleted account admits
        // nobody any more, so this order decides nothing.
        let Some(account) = snapshot.account else {
            return Ok(0);
        };
        if !account.is_deleted() {
            return Ok(0);
        }
        let sessions = snapshot.sessions.iter().map(|session| session.id);
        let sessions: Vec<SessionId> = sessions.collect();
        let (_, entries) = try_join!(
            self.delete_sessions(user, &sessions),
            self.delete_activity(user)
        )?;
        let of_a_deleted_user = Expression::default()
            .only_if("#status = :deleted")
            .name(attribute::STATUS)
            .value("deleted", to_attribute(&StatusAttribute::Deleted)?);
        let removed = self
            .delete_item_if(Key::account(user), &of_a_deleted_user)
            .await?;
        Ok(sessions.len() + entries + usize::from(removed))
    }
}

fn key_of(item: Item) -> Result<Key, StoreError> {
    from_item(item)
}

fn read_scanned(item: Item) -> Result<Scanned, StoreError> {
    let key_attributes = item
        .iter()
        .filter(|(name, _)| *name == PK || *name == SK)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let key = key_of(key_attributes)?;
    let delete_after = match item.get(attribute::TTL) {
        Some(AttributeValue::N(seconds)) => seconds
            .parse()
            .ok()
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
        Some(_) | None => None,
    };
    let of_a_user = key.pk.starts_with(USER_PREFIX);
    let item = if of_a_user && key.sk == ACCOUNT {
        account_from_item(item).map_or(ScannedItem::Broken, |stamped| {
            ScannedItem::Account(stamped.account)
        })
    } else if of_a_user && key.sk.starts_with(SESSION_PREFIX) {
        session_from_item(item).map_or(ScannedItem::Broken, ScannedItem::Session)
    } else if LEFT_TO_TTL.iter().any(|prefix| key.pk.starts_with(prefix)) {
        ScannedItem::LeftToTtl
    } else {
        ScannedItem::Other
    };
    Ok(Scanned {
        key,
        item,
        delete_after,
    })
}
