//! The table's stream: what a record of it says of an account or of a session.

use std::collections::HashMap;

use latchkey_domain::error::StoreError;
use latchkey_domain::event::{AccountImage, Event, events_between, session_events_between};
use latchkey_domain::session::Session;

use chrono::serde::{ts_milliseconds, ts_seconds};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::item::{
    ChangeAttribute, account_from_item, corrupt, from_item, session_from_item, to_item,
};
use crate::keys::{ACCOUNT, Item, Key, SESSION_PREFIX};
use crate::refusal::store_error;

/// An item as a record of the stream has it.
pub type StreamImage = serde_dynamo::Item;

/// What a write has made of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemChange {
    /// An account, before and after.
    Account(Option<Box<AccountImage>>, Option<Box<AccountImage>>),
    /// A session's item, before and after.
    Session(Option<Box<Session>>, Option<Box<Session>>),
    /// Something of which no event is made: a credential, a counter, a client.
    Other,
}

impl ItemChange {
    /// Reads a record of the stream: the key of its item, and the images before and after the write.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it should be an account or a session and is not in that form.
    pub fn read(
        key: StreamImage,
        before: Option<StreamImage>,
        after: Option<StreamImage>,
    ) -> Result<Self, StoreError> {
        let key: Key = from_item(attributes(key))?;
        if key.user().is_none() {
            return Ok(Self::Other);
        }
        // A record of a user without images comes of a stream with another view: nothing could be told from it.
        if before.is_none() && after.is_none() {
            return Err(corrupt("record of the stream", "images"));
        }
        if key.sk == ACCOUNT {
            let read = |image| account_image(image).map(Box::new);
            let (before, after) = (before.map(read).transpose()?, after.map(read).transpose()?);
            Ok(Self::Account(before, after))
        } else if key.sk.starts_with(SESSION_PREFIX) {
            let read = |image| session_from_item(attributes(image)).map(Box::new);
            let (before, after) = (before.map(read).transpose()?, after.map(read).transpose()?);
            Ok(Self::Session(before, after))
        } else {
            // What a later version keeps among a user's items is not ours to judge.
            Ok(Self::Other)
        }
    }

    /// What has happened. `recorded_at` is when the table recorded the write.
    #[must_use]
    pub fn events(&self, recorded_at: DateTime<Utc>) -> Vec<Event> {
        match self {
            Self::Account(before, after) => {
                events_between(before.as_deref(), after.as_deref(), recorded_at)
            }
            Self::Session(before, after) => {
                session_events_between(before.as_deref(), after.as_deref())
            }
            Self::Other => Vec::new(),
        }
    }
}

/// An account's item with the change that wrote it.
#[derive(Deserialize)]
struct ChangedItem {
    change: ChangeAttribute,
}

fn account_image(image: StreamImage) -> Result<AccountImage, StoreError> {
    let item = attributes(image);
    let ChangedItem { change } = from_item(item.clone())?;
    let stamped = account_from_item(item)?;
    Ok(AccountImage {
        account: stamped.account,
        change: stamped.change,
        cause: change.cause(),
        reasons: change.reasons()?,
    })
}

fn attributes(image: StreamImage) -> Item {
    let attributes: HashMap<String, serde_dynamo::AttributeValue> = image.into();
    let converted = attributes.into_iter();
    converted
        .map(|(name, value)| (name, value.into()))
        .collect()
}

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
        let record = record.get(..record.floor_char_boundary(LONGEST_RECORD));
        let item = to_item(&DeadLetterItem {
            key: Key::dead_letter(sequence_number),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(value: serde_json::Value) -> StreamImage {
        serde_dynamo::to_item(value).unwrap()
    }

    fn key(pk: &str, sk: &str) -> StreamImage {
        image(json!({"pk": pk, "sk": sk}))
    }

    const USER: &str = "USER#0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11";

    #[test]
    fn what_is_neither_an_account_nor_a_session_is_left_alone() {
        let anything = || Some(image(json!({"pk": 7})));
        for (pk, sk) in [
            ("EMAIL#ada@example.com", "CREDENTIAL"),
            ("THROTTLE#address#x", "WINDOW#1"),
            ("USER#nobody", "ACCOUNT"),
            (USER, "SETTINGS"),
        ] {
            let read = ItemChange::read(key(pk, sk), anything(), None);
            assert_eq!(read, Ok(ItemChange::Other), "{pk}");
        }
    }

    #[test]
    fn a_record_of_a_user_that_is_not_in_our_form_cannot_be_read() {
        for sk in ["ACCOUNT", "SESSION#0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11"] {
            let broken = image(json!({"pk": USER, "sk": sk, "version": "x"}));
            for (before, after) in [
                (None, None),
                (Some(broken.clone()), None),
                (None, Some(broken.clone())),
            ] {
                let read = ItemChange::read(key(USER, sk), before, after);
                assert_eq!(read, Err(StoreError::Corrupt), "{sk}");
            }
        }
        let no_key = ItemChange::read(image(json!({"pk": USER})), None, None);
        assert_eq!(no_key, Err(StoreError::Corrupt));
    }
}
