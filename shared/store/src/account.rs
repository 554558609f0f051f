//! Reading accounts and partitions, strongly consistent.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use latchkey_domain::account::Account;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::session::Session;

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::item::{account_from_item, session_from_item, string};
use crate::keys::{ACCOUNT, Item, Key, PK, SESSION_PREFIX, SK, partition, session_sort_key};
use crate::refusal::store_error;

/// A user's items, read item by item: the account is at most as new as the sessions, for it is read first.
#[derive(Clone, Debug)]
pub struct Partition {
    /// When the reading began. What was read is judged as of then: a session that has been refreshed since must not be
    /// taken for one that has expired.
    pub read_at: DateTime<Utc>,
    /// The account, if there is one.
    pub account: Option<Account>,
    /// The sessions, live or not.
    pub sessions: Vec<Session>,
}

/// The most pages that are read of a partition, of 1 MB each: some thousand sessions, where trimming leaves 120 at most.
const MAX_PAGES: usize = 4;

impl Store {
    /// The account; 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        let item = self.get(Key::account(user)).await?;
        Ok(item
            .map(account_from_item)
            .transpose()?
            .map(|stamped| stamped.account))
    }

    /// All items of a user; 1 read unit for each 4 KB.
    ///
    /// Of a partition that is broken by its size, the first [`MAX_PAGES`] pages and the sessions that the account holds.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_partition(
        &self,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<Partition, StoreError> {
        // Nothing of a user sorts after the sessions ('$' follows '#').
        let (snapshot, is_whole) = self.query_partition(user, "SESSION$", now).await?;
        if is_whole || snapshot.account.is_none() {
            return Ok(snapshot);
        }
        tracing::error!(user_id = %user, "a user has too many items to read them all");
        self.with_unseen_sessions(snapshot).await
    }

    /// The account and one session of its user, in one request: it reads the items between the two as well, and
    /// for most users all of them together cost the 1 read unit that the account alone would. A query is no snapshot: an
    /// admitted session that it did not show is looked up.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_account_with_session(
        &self,
        user: UserId,
        session: SessionId,
        now: DateTime<Utc>,
    ) -> Result<(Option<Account>, Option<Session>), StoreError> {
        let (snapshot, is_whole) = self
            .query_partition(user, &session_sort_key(session), now)
            .await?;
        let mut sessions = snapshot.sessions.into_iter();
        let described = sessions.find(|found| found.id == session);
        let account = snapshot.account.as_ref();
        let is_admitted = account.is_some_and(|account| account.sessions.contains(&session));
        let described = match described {
            None if is_admitted || !is_whole => self.read_session(user, session).await?,
            described => described,
        };
        Ok((snapshot.account, described))
    }

    /// The items up to a sort key, and whether these were all.
    async fn query_partition(
        &self,
        user: UserId,
        last_sort_key: &str,
        now: DateTime<Utc>,
    ) -> Result<(Partition, bool), StoreError> {
        let mut snapshot = Partition {
            read_at: now,
            account: None,
            sessions: Vec::new(),
        };
        let mut pages = self
            .client
            .query()
            .table_name(&*self.table)
            .key_condition_expression("#pk = :user AND #sk BETWEEN :account AND :last")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":user", string(partition(user)))
            .expression_attribute_values(":account", string(ACCOUNT))
            .expression_attribute_values(":last", string(last_sort_key))
            .consistent_read(true)
            .return_consumed_capacity(COUNT_CAPACITY)
            .into_paginator()
            .send();
        for _ in 0..MAX_PAGES {
            let Some(page) = pages.next().await else {
                return Ok((snapshot, true));
            };
            let page = page.map_err(|error| store_error("Query", &error))?;
            let is_last = page.last_evaluated_key.is_none();
            for item in page.items.unwrap_or_default() {
                snapshot.add(item)?;
            }
            if is_last {
                return Ok((snapshot, true));
            }
        }
        Ok((snapshot, false))
    }
}

impl Partition {
    fn add(&mut self, item: Item) -> Result<(), StoreError> {
        match item.get(SK) {
            Some(AttributeValue::S(key)) if key == ACCOUNT => {
                self.account = Some(account_from_item(item)?.account);
            }
            Some(AttributeValue::S(key)) if key.starts_with(SESSION_PREFIX) => {
                self.sessions.push(session_from_item(item)?);
            }
            // What a later version keeps among them is not ours to judge.
            Some(_) | None => {}
        }
        Ok(())
    }
}
