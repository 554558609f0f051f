//! Counters of attempts: one conditional update counts an attempt and says whether it may go on.
//!
//! An attempt leaves its id on the counter. When a reply is lost and the update is sent again, the id shows that it was
//! counted. If somebody else has counted in between, it may be counted twice, or be refused although it was counted in
//! time: both err on the safe side.
//!
//! An attempt whose password was wrong is marked, so that its user hears of it: the stream brings the mark to the events. The
//! mark of an address that nobody has says nothing but that there is one, and costs the same.
//!
//! An attempt whose password was not checked is taken back. That is sent at most once: where its reply is lost the attempt
//! may stay counted, and is never taken back twice.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use chrono::serde::{ts_milliseconds, ts_milliseconds_option};
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::device::DeviceType;
use latchkey_domain::error::StoreError;
use latchkey_domain::event::{FailedSignIn, SignInRefusal};
use latchkey_domain::id::{AttemptId, UserId};
use latchkey_domain::session::ClientLocation;
use latchkey_domain::throttle::{COUNTER_LIFETIME, Counter, Step, WINDOW, steps};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::Store;
use crate::expression::Expression;
use crate::item::{attribute, from_item, millis, number, string, to_attribute};
use crate::keys::{Item, Key, PK};
use crate::retry::OLD_ITEM;

/// What a counter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Tally {
    /// How many attempts were counted.
    pub attempts: u32,
    /// When the last one was.
    #[serde(with = "ts_milliseconds")]
    pub last_attempt_at: DateTime<Utc>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It was counted, and may go on.
    Admitted(Admission),
    /// It was not counted: there were too many before it.
    Refused(Tally),
}

/// An attempt that was counted: what it takes to take it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// How many attempts were counted, with this one.
    pub attempts: u32,
    /// The first one of them. Another one is the first after they were forgotten.
    first: AttemptId,
    last: AttemptId,
    /// When the attempt before it was, if there was one and the reply that told of it was not lost.
    before: Option<DateTime<Utc>>,
}

/// A counter as it stands in the table.
#[derive(Deserialize)]
struct CounterItem {
    #[serde(flatten)]
    tally: Tally,
    last_attempt: AttemptId,
    /// Counters of earlier versions have none.
    first_attempt: Option<AttemptId>,
}

/// The mark of the last sign-in that was refused, as it stands on a counter.
#[derive(Serialize, Deserialize)]
struct MarkAttribute {
    attempt: AttemptId,
    /// Absent where the address has no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<FailedSignInAttribute>,
}

#[derive(Serialize, Deserialize)]
struct FailedSignInAttribute {
    user_id: UserId,
    #[serde(with = "ts_milliseconds")]
    at: DateTime<Utc>,
    reason: SignInRefusal,
    known_device: bool,
    device_name: String,
    device_type: DeviceType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    attempts: u32,
    #[serde(
        default,
        with = "ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    blocked_until: Option<DateTime<Utc>>,
}

impl From<&FailedSignIn> for FailedSignInAttribute {
    fn from(failed: &FailedSignIn) -> Self {
        let location = failed.location.clone();
        Self {
            user_id: failed.user_id,
            at: failed.at,
            reason: failed.reason,
            known_device: failed.known_device,
            device_name: failed.device_name.clone(),
            device_type: failed.device_type,
            ip_address: location.ip_address,
            city: location.city,
            country: location.country,
            attempts: failed.attempts,
            blocked_until: failed.blocked_until,
        }
    }
}

impl MarkAttribute {
    fn into_failed_sign_in(self) -> Option<FailedSignIn> {
        let account = self.account?;
        Some(FailedSignIn {
            attempt: self.attempt,
            at: account.at,
            reason: account.reason,
            user_id: account.user_id,
            known_device: account.known_device,
            device_name: account.device_name,
            device_type: account.device_type,
            location: ClientLocation {
                ip_address: account.ip_address,
                city: account.city,
                country: account.country,
                coordinates: None,
            },
            attempts: account.attempts,
            blocked_until: account.blocked_until,
        })
    }
}

/// A counter, as far as its mark is concerned.
#[derive(Deserialize)]
struct MarkedItem {
    failed_sign_in: Option<MarkAttribute>,
}

/// The sign-in to an account whose mark stands on a counter, if one does.
pub(crate) fn failed_sign_in_from_item(item: Item) -> Result<Option<FailedSignIn>, StoreError> {
    let MarkedItem { failed_sign_in } = from_item(item)?;
    Ok(failed_sign_in.and_then(MarkAttribute::into_failed_sign_in))
}

impl Store {
    /// Counts a failure in a row, if its wait is over: see [`latchkey_domain::throttle::wait_after`]. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_failure(
        &self,
        counter: &Counter,
        attempt: AttemptId,
        free_failures: u32,
        now: DateTime<Utc>,
    ) -> Result<Counted, StoreError> {
        let mut allowed = Vec::new();
        let mut expression = counting(attempt, now, now + COUNTER_LIFETIME);
        for (index, Step { fewer_than, wait }) in steps(free_failures).into_iter().enumerate() {
            let (most, past) = (format!("most{index}"), format!("past{index}"));
            let mut step = Vec::new();
            if let Some(fewer_than) = fewer_than {
                step.push(format!("#attempts < :{most}"));
                expression = expression.value(&most, number(fewer_than));
            }
            // The clock of the instance that counted the last one may be ahead, which is no reason to wait.
            if wait > TimeDelta::zero() {
                step.push(format!("#last_attempt_at <= :{past}"));
                expression = expression.value(&past, millis(now - wait));
            }
            allowed.push(format!("({})", step.join(" AND ")));
        }
        self.count(
            Key::failures(counter),
            expression,
            &allowed.join(" OR "),
            attempt,
        )
        .await
    }

    /// Counts an attempt in the window that it falls into, whose beginning and end are given, if fewer than `limit` were. 1
    /// write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_in_window(
        &self,
        counter: &Counter,
        attempt: AttemptId,
        limit: u32,
        (begin, end): (DateTime<Utc>, DateTime<Utc>),
        now: DateTime<Utc>,
    ) -> Result<Counted, StoreError> {
        // Kept for one window more, because another instance's clock may be behind.
        let expression = counting(attempt, now, end + WINDOW).value("limit", number(limit));
        let key = Key::window(counter, begin);
        self.count(key, expression, "#attempts < :limit", attempt)
            .await
    }

    async fn count(
        &self,
        key: Key,
        expression: Expression,
        allowed: &str,
        attempt: AttemptId,
    ) -> Result<Counted, StoreError> {
        let expression = expression.only_if(&format!(
            "(attribute_not_exists(#attempts) OR (#last_attempt <> :last_attempt AND ({allowed})))"
        ));
        let ask = |update: UpdateItemFluentBuilder| {
            update
                .return_values(ReturnValue::AllOld)
                .return_values_on_condition_check_failure(OLD_ITEM)
        };
        let sent = self
            .update(key, &expression, ask, &mut self.retries())
            .await?;
        let admission = |attempts, first: Option<AttemptId>, before| {
            Counted::Admitted(Admission {
                attempts,
                first: first.unwrap_or(attempt),
                last: attempt,
                before,
            })
        };
        match sent {
            Ok(output) => {
                // A mark without a count has left no more than its `ttl`.
                let is_counter = |old: &Item| old.contains_key(attribute::ATTEMPTS);
                let Some(before) = output.attributes.filter(is_counter) else {
                    return Ok(admission(1, None, None));
                };
                let before = counter_from_item(Some(before))?;
                let (tally, first) = (before.tally, before.first_attempt);
                let attempts = tally.attempts.saturating_add(1);
                Ok(admission(attempts, first, Some(tally.last_attempt_at)))
            }
            Err(mut failed) => {
                let CounterItem {
                    tally,
                    last_attempt,
                    first_attempt,
                } = counter_from_item(failed.take_only())?;
                Ok(if last_attempt == attempt {
                    admission(tally.attempts, first_attempt, None)
                } else {
                    Counted::Refused(tally)
                })
            }
        }
    }

    /// Marks an attempt whose sign-in was refused after its password was checked, whether or not it is counted still.
    /// `failed` says whose account it was for, if there is one. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]: it may not be marked.
    pub async fn mark_failed_sign_in(
        &self,
        counter: &Counter,
        attempt: AttemptId,
        failed: Option<&FailedSignIn>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mark = to_attribute(&MarkAttribute {
            attempt,
            account: failed.map(FailedSignInAttribute::from),
        })?;
        let expression = Expression::default()
            .set(attribute::FAILED_SIGN_IN, mark)
            .set(attribute::TTL, number((now + COUNTER_LIFETIME).timestamp()));
        let (key, mut retries) = (Key::failures(counter), self.retries());
        let sent = self.update(key, &expression, |update| update, &mut retries);
        sent.await.map(drop)
    }

    /// Takes back an attempt whose password was not checked, unless its count was forgotten meanwhile. If nothing was counted
    /// since, the wait runs from the attempt before it again. 1 write unit, 2 if something was.
    ///
    /// # Errors
    /// [`StoreError`]: it may stay counted.
    pub async fn uncount_failure(
        &self,
        counter: &Counter,
        attempt: &Admission,
    ) -> Result<(), StoreError> {
        let taking = || {
            Expression::default()
                .add_number(attribute::ATTEMPTS, number(-1))
                .only_if("#first_attempt = :first")
                .name(attribute::FIRST_ATTEMPT)
                .value("first", string(attempt.first))
        };
        let mut as_it_was = taking()
            .only_if("#last_attempt = :counted")
            .value("counted", string(attempt.last))
            // Another id, so that a count that is sent again is not taken for this one.
            .set(
                attribute::LAST_ATTEMPT,
                string(AttemptId::random(self.random.as_ref())),
            );
        if let Some(before) = attempt.before {
            as_it_was = as_it_was.set(attribute::LAST_ATTEMPT_AT, millis(before));
        }
        let key = || Key::failures(counter);
        if !self.update_once(key(), &as_it_was).await? {
            self.update_once(key(), &taking()).await?;
        }
        Ok(())
    }

    /// The refused sign-in to an account whose mark stands on a counter, if one does. 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_failed_sign_in(
        &self,
        counter: &Counter,
    ) -> Result<Option<FailedSignIn>, StoreError> {
        let item = self.get(Key::failures(counter)).await?;
        Ok(item.map(failed_sign_in_from_item).transpose()?.flatten())
    }

    /// Removes a counter with its mark, because its user is to be gone. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_failures(&self, counter: &Counter) -> Result<(), StoreError> {
        let if_there = Expression::default()
            .only_if("attribute_exists(#pk)")
            .name(PK);
        let deleted = self.delete_item_if(Key::failures(counter), &if_there);
        deleted.await.map(drop)
    }

    /// Forgets failures, because the right password was given or an administrator says so. 1 write unit. Returns whether
    /// there were any.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn clear_failures(&self, counter: &Counter) -> Result<bool, StoreError> {
        let if_there = Expression::default()
            .only_if("attribute_exists(#attempts)")
            .name(attribute::ATTEMPTS);
        self.delete_item_if(Key::failures(counter), &if_there).await
    }
}

/// What each attempt writes.
fn counting(attempt: AttemptId, now: DateTime<Utc>, ttl: DateTime<Utc>) -> Expression {
    Expression::default()
        .add_number(attribute::ATTEMPTS, number(1))
        .set_once(attribute::FIRST_ATTEMPT, string(attempt))
        .set(attribute::LAST_ATTEMPT, string(attempt))
        .set(attribute::LAST_ATTEMPT_AT, millis(now))
        .set(attribute::TTL, number(ttl.timestamp()))
}

fn counter_from_item(item: Option<Item>) -> Result<CounterItem, StoreError> {
    from_item(item.unwrap_or_default())
}
