//! The table's stream: what a record of it says of an account or of a session.

use std::collections::HashMap;

use latchkey_domain::error::StoreError;
use latchkey_domain::event::{AccountImage, Event, events_between, session_events_between};
use latchkey_domain::session::Session;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::item::{ChangeAttribute, account_from_item, corrupt, from_item, session_from_item};
use crate::keys::{ACCOUNT, Item, Key, SESSION_PREFIX};

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
