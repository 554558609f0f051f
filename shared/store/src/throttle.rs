//! Counters of attempts: one conditional update counts an attempt and says whether it may go on.
//!
//! An attempt leaves its id on the counter. When a reply is lost and the update is sent again, the id shows that it was
//! counted. If somebody else has counted in between, it may be counted twice, or be refused although it was counted in
//! time: both err on the safe side.
//!
//! An attempt whose password was not checked is taken back. That is sent at most once: where its reply is lost the attempt
//! may stay counted, and is never taken back twice.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use chrono::serde::ts_milliseconds;
use chrono::{DateTime, TimeDelta, Utc};
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
                let Some(before) = output.attributes.filter(|old| !old.is_empty()) else {
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
