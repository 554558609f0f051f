//! Dead letters: what can never be done, kept for a person to look at, whoever was to do it.

use chrono::serde::{ts_milliseconds, ts_seconds};
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::error::StoreError;
use serde::Serialize;

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::item::to_item;
use crate::keys::{Item, Key};
use crate::refusal::store_error;

/// How long a dead letter is kept.
const DEAD_LETTER_LIFETIME: TimeDelta = TimeDelta::days(90);
/// The longest record that is kept whole, in bytes. DynamoDB's items have at most 400 KB.
const LONGEST_RECORD: usize = 350_000;

#[derive(Serialize)]
struct DeadLetterItem<'a> {
    #[serde(flatten)]
    key: Key,
    record: &'a str,
    reason: &'a str,
    #[serde(with = "ts_milliseconds")]
    kept_at: DateTime<Utc>,
    #[serde(with = "ts_seconds")]
    ttl: DateTime<Utc>,
}

impl Store {
    /// Keeps a record of the stream that cannot become events, for 90 days; 1 write unit for each KB. Keeping it again
    /// replaces it. Of a record that is longer than an item may be, the beginning is kept.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_dead_letter(
        &self,
        sequence_number: &str,
        record: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let key = Key::dead_letter(sequence_number);
        self.bury(key, record, reason, now).await
    }

    /// Keeps an event whose mail will never be sent, for 90 days; 1 write unit for each KB. Keeping it again replaces it.
    /// `id` is the event's, or that of the message on the queue that should hold one.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn keep_dead_mail(
        &self,
        id: &str,
        event: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.bury(Key::dead_mail(id), event, reason, now).await
    }

    /// Keeps what can never be done among the dead letters, whoever was to do it.
    async fn bury(
        &self,
        key: Key,
        record: &str,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let record = record.get(..record.floor_char_boundary(LONGEST_RECORD));
        let item = to_item(&DeadLetterItem {
            key,
            record: record.unwrap_or_default(),
            reason,
            kept_at: now,
            ttl: now + DEAD_LETTER_LIFETIME,
        })?;
        self.put(item).await
    }

    /// Writes an item whatever stands there.
    async fn put(&self, item: Item) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&*self.table);
        let sent = put
            .set_item(Some(item))
            .return_consumed_capacity(COUNT_CAPACITY)
            .send();
        let sent = sent.await;
        sent.map(drop)
            .map_err(|error| store_error("PutItem", &error))
    }
}
