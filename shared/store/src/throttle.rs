//! Counters of attempts: one conditional update counts an attempt and says whether it may go on.
//!
//! An attempt leaves its id on the counter. When a reply is lost and the update is sent again, the id shows that it was
//! counted. If somebody else has counted in between, it may be counted twice, or be refused although it was counted in
//! time: both err on the safe side.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use chrono::serde::ts_milliseconds;
use chrono::{DateTime, Utc};
use latchkey_domain::error::StoreError;
use latchkey_domain::id::AttemptId;
use latchkey_domain::throttle::{COUNTER_LIFETIME, Counter, Step, WINDOW, steps, window_of};
use serde::Deserialize;

use crate::Store;
use crate::expression::Expression;
use crate::item::{attribute, from_item, millis, number, string};
use crate::keys::{Item, Key};
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
    Admitted(Tally),
    /// It was not counted: there were too many before it.
    Refused(Tally),
}

/// A counter as it stands in the table.
#[derive(Deserialize)]
struct CounterItem {
    #[serde(flatten)]
    tally: Tally,
    last_attempt: AttemptId,
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
            let mut step = format!("#last_attempt_at <= :{past}");
            expression = expression.value(&past, millis(now - wait));
            if let Some(fewer_than) = fewer_than {
                step = format!("#attempts < :{most} AND {step}");
                expression = expression.value(&most, number(fewer_than));
            }
            allowed.push(format!("({step})"));
        }
        self.count(
            Key::failures(counter),
            expression,
            &allowed.join(" OR "),
            attempt,
        )
        .await
    }

    /// Counts an attempt in the window that it falls into, if fewer than `limit` were. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_in_window(
        &self,
        counter: &Counter,
        attempt: AttemptId,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Counted, StoreError> {
        let (begin, end) = window_of(now);
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
                .return_values(ReturnValue::UpdatedNew)
                .return_values_on_condition_check_failure(OLD_ITEM)
        };
        let sent = self
            .update(key, &expression, ask, &mut self.retries())
            .await?;
        match sent {
            Ok(output) => {
                let item = counter_from_item(output.attributes)?;
                Ok(Counted::Admitted(item.tally))
            }
            Err(mut failed) => {
                let item = counter_from_item(failed.take_only())?;
                Ok(if item.last_attempt == attempt {
                    Counted::Admitted(item.tally)
                } else {
                    Counted::Refused(item.tally)
                })
            }
        }
    }

    /// Takes back an attempt that turned out to be another counter's, if it was the last one. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn uncount_failure(
        &self,
        counter: &Counter,
        attempt: AttemptId,
    ) -> Result<(), StoreError> {
        let expression = Expression::default()
            .only_if("#last_attempt = :counted")
            .value("counted", string(attempt))
            .add_number(attribute::ATTEMPTS, number(-1))
            // Another id, so that it is not taken back twice when the reply is lost.
            .set(
                attribute::LAST_ATTEMPT,
                string(AttemptId::random(self.random.as_ref())),
            );
        let key = Key::failures(counter);
        self.update(key, &expression, |update| update, &mut self.retries())
            .await
            .map(drop)
    }

    /// Forgets failures, because the right password was given. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn clear_failures(&self, counter: &Counter) -> Result<(), StoreError> {
        let if_there = Expression::default()
            .only_if("attribute_exists(#attempts)")
            .name(attribute::ATTEMPTS);
        self.delete_item_if(Key::failures(counter), &if_there)
            .await
            .map(drop)
    }
}

/// What each attempt writes.
fn counting(attempt: AttemptId, now: DateTime<Utc>, ttl: DateTime<Utc>) -> Expression {
    Expression::default()
        .add_number(attribute::ATTEMPTS, number(1))
        .set(attribute::LAST_ATTEMPT, string(attempt))
        .set(attribute::LAST_ATTEMPT_AT, millis(now))
        .set(attribute::TTL, number(ttl.timestamp()))
}

fn counter_from_item(item: Option<Item>) -> Result<CounterItem, StoreError> {
    from_item(item.unwrap_or_default())
}
