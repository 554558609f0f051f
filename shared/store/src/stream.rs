//! The table's stream: what a record of it says of an account, of a session or of a refused sign-in.

use std::collections::HashMap;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use latchkey_domain::error::StoreError;
use latchkey_domain::event::{
    AccountImage, Event, FailedSignIn, LinkRequest, events_between, session_events_between,
    sign_in_events_between,
};
use latchkey_domain::id::UserId;
use latchkey_domain::session::Session;
use serde::Deserialize;

use crate::item::{ChangeAttribute, account_from_item, corrupt, from_item, session_from_item};
use crate::keys::{ACCOUNT, Item, Key, SESSION_PREFIX};
use crate::link_request::link_request_from_item;
use crate::throttle::failed_sign_in_from_item;

/// An item as a record of the stream has it.
pub type StreamImage = serde_dynamo::Item;

/// What a write did to an item, in the word of the stream (DynamoDB Streams API Reference, Record, `eventName`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteKind {
    /// `INSERT`: it was not there.
    Insert,
    /// `MODIFY`: it was there and still is.
    Modify,
    /// `REMOVE`: it is gone.
    Remove,
}

impl WriteKind {
    /// Whether a record of this kind has an image from before the write, and one from after it.
    fn images(self) -> (bool, bool) {
        match self {
            Self::Insert => (false, true),
            Self::Modify => (true, true),
            Self::Remove => (true, false),
        }
    }
}

impl FromStr for WriteKind {
    type Err = StoreError;

    fn from_str(word: &str) -> Result<Self, StoreError> {
        match word {
            "INSERT" => Ok(Self::Insert),
            "MODIFY" => Ok(Self::Modify),
            "REMOVE" => Ok(Self::Remove),
            _ => Err(corrupt("record of the stream", "eventName")),
        }
    }
}

/// What a write has made of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemChange {
    /// An account, before and after.
    Account(Option<Box<AccountImage>>, Option<Box<AccountImage>>),
    /// A session's item, before and after.
    Session(Option<Box<Session>>, Option<Box<Session>>),
    /// The mark of a refused sign-in on its counter, before and after.
    FailedSignIn(Option<Box<FailedSignIn>>, Option<Box<FailedSignIn>>),
    /// A request for a link, which was just written down.
    LinkRequest(Box<LinkRequest>),
    /// Something of which no event is made: a credential, the count of an address, a client.
    Other,
}

impl ItemChange {
    /// Reads a record of the stream: what was done, the key of its item, and the images before and after the write.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it should be an account, a session or a counter and is not in that form, or lacks an
    /// image.
    pub fn read(
        kind: WriteKind,
        key: StreamImage,
        before: Option<StreamImage>,
        after: Option<StreamImage>,
    ) -> Result<Self, StoreError> {
        let key: Key = from_item(attributes(key))?;
        if key.is_of_a_link_request() {
            // What becomes of it later is no request.
            return match (kind, after) {
                (WriteKind::Insert, Some(after)) => {
                    let request = link_request_from_item(attributes(after))?;
                    Ok(Self::LinkRequest(Box::new(request)))
                }
                (WriteKind::Insert, None) => Err(corrupt("record of the stream", "images")),
                (WriteKind::Modify | WriteKind::Remove, _) => Ok(Self::Other),
            };
        }
        let is_of_failures = key.is_of_failures();
        if key.user().is_none() && !is_of_failures {
            return Ok(Self::Other);
        }
        // A record that lacks an image comes of a stream with another view: what it would tell would be false.
        if (before.is_some(), after.is_some()) != kind.images() {
            return Err(corrupt("record of the stream", "images"));
        }
        if is_of_failures {
            let read = |image| failed_sign_in_from_item(attributes(image));
            let (before, after) = (before.map(read).transpose()?, after.map(read).transpose()?);
            let (before, after) = (before.flatten(), after.flatten());
            Ok(Self::FailedSignIn(
                before.map(Box::new),
                after.map(Box::new),
            ))
        } else if key.sk == ACCOUNT {
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

    /// Whose account it has taken away, if it has: the account is deleted, or its item is gone.
    #[must_use]
    pub fn deleted_user(&self) -> Option<UserId> {
        match self {
            Self::Account(_, Some(after)) if !after.account.is_deleted() => None,
            Self::Account(before, after) => {
                let image = after.as_ref().or(before.as_ref())?;
                Some(image.account.id)
            }
            Self::Session(..) | Self::FailedSignIn(..) | Self::LinkRequest(_) | Self::Other => None,
        }
    }

    /// The request for a link that was written down, which becomes an event when its account is known.
    #[must_use]
    pub fn link_request(&self) -> Option<&LinkRequest> {
        match self {
            Self::LinkRequest(request) => Some(request),
            Self::Account(..) | Self::Session(..) | Self::FailedSignIn(..) | Self::Other => None,
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
            Self::FailedSignIn(before, after) => {
                sign_in_events_between(before.as_deref(), after.as_deref())
            }
            Self::LinkRequest(_) | Self::Other => Vec::new(),
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
        actor: change.actor()?,
        at: change.at(),
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
    use latchkey_domain::cause::EndReason;
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
            let read = ItemChange::read(WriteKind::Remove, key(pk, sk), anything(), None);
            assert_eq!(read, Ok(ItemChange::Other), "{pk}");
        }
    }

    /// A later version may write such items, and no event can be made of them.
    #[test]
    fn an_unknown_item_under_the_key_of_a_counter_or_of_a_request_for_a_link_is_left_alone() {
        for (pk, sk) in [
            ("LINK#0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11", "SETTINGS"),
            (USER, "REQUEST"),
            ("THROTTLE#address#x", "WINDOW#1"),
            (USER, "FAILURES"),
        ] {
            let anything = image(json!({"pk": 7, "failed_sign_in": 7}));
            let read = ItemChange::read(WriteKind::Insert, key(pk, sk), None, Some(anything));
            assert_eq!(read, Ok(ItemChange::Other), "{pk} {sk}");
        }
    }

    #[test]
    fn a_record_of_a_user_that_is_not_in_our_form_cannot_be_read() {
        for sk in ["ACCOUNT", "SESSION#0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11"] {
            let broken = image(json!({"pk": USER, "sk": sk, "version": "x"}));
            for (kind, before, after) in [
                (WriteKind::Remove, Some(broken.clone()), None),
                (WriteKind::Insert, None, Some(broken.clone())),
            ] {
                let read = ItemChange::read(kind, key(USER, sk), before, after);
                assert_eq!(read, Err(StoreError::Corrupt), "{sk}");
            }
        }
        let no_key = ItemChange::read(WriteKind::Remove, image(json!({"pk": USER})), None, None);
        assert_eq!(no_key, Err(StoreError::Corrupt));
    }

    fn session_of_ada() -> (StreamImage, StreamImage) {
        let sk = "SESSION#0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11";
        let whole = json!({
            "pk": USER, "sk": sk, "jti": "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11", "rotation": 1,
            "rotated_at": 1_772_366_400_123_i64, "device_type": "desktop", "created_at": 1_772_366_400_123_i64,
            "last_used_at": 1_772_366_400_123_i64, "idle_expires_at": 1_772_366_400_123_i64,
            "absolute_expires_at": 1_772_366_400_123_i64, "ttl": 1_772_366_400,
        });
        (key(USER, sk), image(whole))
    }

    /// A stream of `NEW_IMAGE` would tell of every refresh as of a new session, one of `OLD_IMAGE` as of its end.
    #[test]
    fn a_record_that_lacks_an_image_of_its_kind_cannot_be_read() {
        use WriteKind::{Insert, Modify, Remove};
        let (key, whole) = session_of_ada();
        for kind in [Insert, Modify, Remove] {
            for has in [(false, false), (false, true), (true, false), (true, true)] {
                let image = |is_there: bool| is_there.then(|| whole.clone());
                let read = ItemChange::read(kind, key.clone(), image(has.0), image(has.1));
                let complete = has == kind.images();
                assert_eq!(read.is_ok(), complete, "{kind:?} {has:?}");
            }
        }
    }

    fn account_written_with(change: serde_json::Value) -> StreamImage {
        let mut account = json!({
            "pk": USER, "sk": ACCOUNT, "status": "active", "email": "ada@example.com", "version": 1,
            "password_version": 1, "created_at": 1_772_366_400_123_i64,
        });
        account["change"] = change;
        image(account)
    }

    /// Whatever is kept of a user elsewhere goes by this.
    #[test]
    fn a_record_tells_whose_account_it_has_taken_away() {
        use WriteKind::{Insert, Modify, Remove};
        let change = json!({
            "id": 7, "action": "delete", "actor": "system", "at": 1_772_366_400_123_i64,
        });
        let live = account_written_with(change.clone());
        let deleted = image(json!({
            "pk": USER, "sk": ACCOUNT, "status": "deleted", "version": 2, "password_version": 1,
            "created_at": 1_772_366_400_123_i64, "ttl": 1_772_366_400, "change": change,
        }));
        let user = USER.strip_prefix("USER#").and_then(|id| id.parse().ok());
        assert!(user.is_some());
        for (kind, before, after, expected) in [
            (Insert, None, Some(&live), None),
            (Modify, Some(&live), Some(&live), None),
            (Modify, Some(&live), Some(&deleted), user),
            (Remove, Some(&live), None, user),
            (Remove, Some(&deleted), None, user),
        ] {
            let (before, after) = (before.cloned(), after.cloned());
            let read = ItemChange::read(kind, key(USER, ACCOUNT), before, after).unwrap();
            assert_eq!(read.deleted_user(), expected, "{read:?}");
        }
        let (key, session) = session_of_ada();
        let ended = ItemChange::read(Remove, key, Some(session), None).unwrap();
        assert_eq!(ended.deleted_user(), None);
    }

    #[test]
    fn words_of_a_newer_version_do_not_make_a_record_unreadable() {
        let session = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11";
        let id = session.parse().unwrap();
        for reasons in [
            json!({"reason": "moonstruck"}),
            json!({"reasons": {"moonstruck": [session]}}),
        ] {
            let mut change = json!({
                "id": 7, "action": "teleport", "actor": "system", "at": 1_772_366_400_123_i64,
            });
            let members = change.as_object_mut().unwrap();
            members.extend(reasons.as_object().unwrap().clone());
            let written = account_written_with(change);
            let read = ItemChange::read(WriteKind::Insert, key(USER, ACCOUNT), None, Some(written));
            let Ok(ItemChange::Account(None, Some(after))) = read else {
                panic!("{read:?}");
            };
            assert_eq!(after.reasons.of(id), Some(EndReason::Other));
        }
    }
}
