//! Entries of users' activity: writing one, reading a page, removing all of a user.
//!
//! The key comes of the event, so an entry that is written again is the same entry. Nothing is decided on what is read
//! here, so pages are read eventually consistent.

use std::net::IpAddr;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::serde::ts_seconds;
use chrono::{DateTime, Utc};
use latchkey_domain::activity::{ActivityEntry, ActivityPage, ActivityPosition};
use latchkey_domain::cause::Actor;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::item::{corrupt, from_item, string, to_item};
use crate::keys::{Item, Key, PK, SK, activity_partition};
use crate::refusal::store_error;

/// How many pages of keys one deletion removes, of 1 MB of items each: some 8,000 entries. The next one continues.
const MAX_PAGES: usize = 4;

#[derive(Serialize, Deserialize)]
struct ActivityItem {
    #[serde(flatten)]
    key: Key,
    #[serde(rename = "type")]
    event_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    actor: Option<Actor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_device: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unusual_location: Option<bool>,
    #[serde(with = "ts_seconds")]
    ttl: DateTime<Utc>,
}

fn entry_to_item(user: UserId, entry: &ActivityEntry) -> Result<Item, StoreError> {
    to_item(&ActivityItem {
        key: Key::activity(user, entry.position),
        event_type: entry.event_type.clone(),
        session_id: entry.session_id,
        device_name: entry.device_name.clone(),
        device_type: entry.device_type.clone(),
        name: entry.name.clone(),
        ip_address: entry.ip_address,
        city: entry.city.clone(),
        country: entry.country.clone(),
        reason: entry.reason.clone(),
        actor: entry.actor.clone(),
        new_device: entry.new_device,
        unusual_location: entry.unusual_location,
        ttl: entry.expires_at,
    })
}

fn entry_from_item(item: Item) -> Result<ActivityEntry, StoreError> {
    let item: ActivityItem = from_item(item)?;
    let position = item.key.sk.parse();
    Ok(ActivityEntry {
        position: position.map_err(|_| corrupt("activity", "sk"))?,
        event_type: item.event_type,
        session_id: item.session_id,
        device_name: item.device_name,
        device_type: item.device_type,
        name: item.name,
        ip_address: item.ip_address,
        city: item.city,
        country: item.country,
        reason: item.reason,
        actor: item.actor,
        new_device: item.new_device,
        unusual_location: item.unusual_location,
        expires_at: item.ttl,
    })
}

impl Store {
    /// Writes an entry of a user's activity; 1 write unit. Writing it again changes nothing: what is known of a session when
    /// its event is brought again may be less.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn write_activity(
        &self,
        user: UserId,
        entry: &ActivityEntry,
    ) -> Result<(), StoreError> {
        self.put_new(entry_to_item(user, entry)?).await
    }

    /// Writes an item that is not there yet. Its key is this request's own, so one that is there was written by an attempt
    /// whose reply was lost.
    async fn put_new(&self, item: Item) -> Result<(), StoreError> {
        let put = self.client.put_item().table_name(&*self.table);
        let put = put
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", PK)
            .return_consumed_capacity(COUNT_CAPACITY);
        match put.send().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let service = error.as_service_error();
                match service.is_some_and(PutItemError::is_conditional_check_failed_exception) {
                    true => Ok(()),
                    false => Err(store_error("PutItem", &error)),
                }
            }
        }
    }

    /// At most `limit` entries of a user's activity, the newest first, behind the one at `behind`: 0.5 read units for each
    /// 4 KB. One that is broken is logged and left out, so that it does not hide the others.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_activity(
        &self,
        user: UserId,
        behind: Option<ActivityPosition>,
        limit: usize,
        now: DateTime<Utc>,
    ) -> Result<ActivityPage, StoreError> {
        // One more than is shown tells whether there is a next page.
        let wanted = i32::try_from(limit.saturating_add(1)).unwrap_or(i32::MAX);
        let query = self
            .client
            .query()
            .table_name(&*self.table)
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":user", string(activity_partition(user)))
            .scan_index_forward(false)
            .limit(wanted)
            .return_consumed_capacity(COUNT_CAPACITY);
        let query = match behind {
            None => query.key_condition_expression("#pk = :user"),
            Some(position) => query
                .key_condition_expression("#pk = :user AND #sk < :behind")
                .expression_attribute_names("#sk", SK)
                .expression_attribute_values(":behind", string(position)),
        };
        let output = query.send().await;
        let output = output.map_err(|error| store_error("Query", &error))?;
        let mut items = output.items.unwrap_or_default();
        let is_cut = items.len() > limit || output.last_evaluated_key.is_some();
        items.truncate(limit);
        let next = items.last().filter(|_| is_cut).and_then(position_of);
        let entries = items.into_iter();
        let entries = entries.filter_map(|item| entry_from_item(item).ok());
        Ok(ActivityPage {
            entries: entries.filter(|entry| !entry.is_expired(now)).collect(),
            next,
        })
    }

    /// Removes all entries of a user's activity; 1 write unit for each, and 1 read unit for each 4 KB of them. Returns how
    /// many went. Entries that were written before this began are among them.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] also if there are more than one deletion removes: repeat it then.
    pub async fn delete_activity(&self, user: UserId) -> Result<usize, StoreError> {
        let mut pages = self
            .client
            .query()
            .table_name(&*self.table)
            .key_condition_expression("#pk = :user")
            .projection_expression("#pk, #sk")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":user", string(activity_partition(user)))
            .consistent_read(true)
            .return_consumed_capacity(COUNT_CAPACITY)
            .into_paginator()
            .send();
        let mut removed = 0;
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.next().await else {
                return Ok(removed);
            };
            let page = page.map_err(|error| store_error("Query", &error))?;
            let is_last = page.last_evaluated_key.is_none();
            let keys = page.items.unwrap_or_default().into_iter();
            let keys: Vec<Key> = keys.map(from_item).collect::<Result<_, _>>()?;
            removed += keys.len();
            self.delete_items(keys).await?;
            if is_last {
                return Ok(removed);
            }
        }
        tracing::warn!(user_id = %user, removed, "a user has too much activity to remove it at once");
        Err(StoreError::Unavailable)
    }
}

fn position_of(item: &Item) -> Option<ActivityPosition> {
    match item.get(SK) {
        Some(AttributeValue::S(text)) => text.parse().ok(),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use latchkey_domain::client::MAX_CLIENT_ID_BYTES;
    use latchkey_domain::device::MAX_DEVICE_NAME_BYTES;
    use latchkey_domain::random::SeededRandom;
    use latchkey_domain::text::{MAX_CITY_BYTES, MAX_NAME_BYTES};

    use super::*;
    use crate::item::tests::size_of_all;

    const POSITION: &str = "2026-03-01T12:00:00.250Z#ffffffff-ffff-ffff-ffff-ffffffffffff";

    /// One in which every text is as long as an event's can be.
    fn longest() -> (UserId, ActivityEntry) {
        let random = SeededRandom::new(1);
        let text = |bytes: usize| Some("x".repeat(bytes));
        let entry = ActivityEntry {
            position: POSITION.parse().unwrap(),
            event_type: "x".repeat(64),
            session_id: Some(SessionId::random(&random)),
            device_name: text(MAX_DEVICE_NAME_BYTES),
            device_type: text(64),
            name: text(MAX_NAME_BYTES),
            ip_address: "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().ok(),
            city: text(MAX_CITY_BYTES),
            country: text(64),
            reason: text(64),
            actor: Some(Actor::Client("x".repeat(MAX_CLIENT_ID_BYTES))),
            new_device: Some(true),
            unusual_location: Some(true),
            expires_at: "2026-05-30T12:00:00Z".parse().unwrap(),
        };
        (UserId::random(&random), entry)
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_costs_one_write_unit() {
        let (user, entry) = longest();
        let item = entry_to_item(user, &entry).unwrap();
        assert!(size_of_all(&item) <= 1024, "{}", size_of_all(&item));
        assert_eq!(entry_from_item(item), Ok(entry));
    }

    #[test]
    fn what_is_not_known_is_not_written() {
        let (user, mut entry) = longest();
        entry.session_id = None;
        entry.actor = None;
        entry.new_device = None;
        let item = entry_to_item(user, &entry).unwrap();
        assert!(!item.contains_key("session_id") && !item.contains_key("new_device"));
        assert_eq!(entry_from_item(item), Ok(entry));
    }
}
