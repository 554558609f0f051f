//! Which events were told by mail: one item for each, so that one event gives one mail.
//!
//! Whoever is about to send takes the item for a while, and marks it when the mail is sent. If they die between the two,
//! somebody else takes it when that while is over, and the mail is sent once more: at this one point it is at least once. So
//! each claim counts as an attempt of which nobody knows what became of it, until its owner says that the mail was not
//! taken; after some of these nobody gets the claim any more.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValue;
use chrono::serde::ts_milliseconds_option;
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::error::StoreError;
use latchkey_domain::id::RequestId;
use latchkey_domain::notice::TELL_WITHIN;
use serde::Deserialize;
use uuid::Uuid;

use crate::Store;
use crate::expression::Expression;
use crate::item::{attribute, from_item, millis, number, string};
use crate::keys::{Key, PK};
use crate::retry::OLD_ITEM;

/// How long it is kept that an event was told: longer than events are told at all.
const KEPT_FOR: TimeDelta = TimeDelta::days(7);
const _: () = assert!(KEPT_FOR.num_seconds() > TELL_WITHIN.num_seconds());

const OWNER: &str = "owner";
const COUNTED_BY: &str = "counted_by";
const LEASED_UNTIL: &str = "leased_until";
const SENT_AT: &str = "sent_at";
const UNANSWERED: &str = "unanswered";

/// The right to send the mail of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailClaim {
    event: Uuid,
    owner: RequestId,
    counting: Counting,
    unanswered: u32,
}

/// Which of the claims to a mail counts it for its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    This,
    Earlier,
    Next,
}

impl MailClaim {
    /// Whether its owner counts the mail for its address. One claim to a mail does, the first one, also if its reply is lost
    /// and it is asked for again. If its owner dies before it counts, or cannot count and the release that says so fails,
    /// nobody does.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.counting == Counting::This
    }

    /// How many attempts there were of which nobody knows whether the mail was sent, this one among them.
    #[must_use]
    pub const fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// The claim of somebody who knows that this attempt has sent nothing.
    #[must_use]
    pub const fn not_sent(self) -> Self {
        Self {
            unanswered: self.unanswered.saturating_sub(1),
            ..self
        }
    }

    /// The claim of somebody who should have counted the mail and could not: the next one does.
    #[must_use]
    pub const fn not_counted(self) -> Self {
        Self {
            counting: Counting::Next,
            ..self
        }
    }
}

/// Who sends the mail of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The caller does, and says what became of it.
    Yours(MailClaim),
    /// It was sent.
    Sent,
    /// Somebody else is about to. If they die, it can be claimed later.
    Elsewhere,
    /// Nobody does any more: as many have tried as may, and nobody knows whether it was sent. The caller puts it aside.
    Exhausted(MailClaim),
}

/// What became of the attempts to send the mail of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempts {
    /// Nobody has tried.
    None,
    /// Somebody has claimed it, or is to claim it again later: what becomes of it is not known yet.
    UnderWay,
    /// It was sent, or counts as sent.
    Sent,
    /// It was not sent.
    Unsent,
    /// Nobody knows whether it was sent.
    Unanswered,
}

#[derive(Deserialize)]
struct MailItem {
    owner: RequestId,
    #[serde(default)]
    counted_by: Option<RequestId>,
    #[serde(default, with = "ts_milliseconds_option")]
    sent_at: Option<DateTime<Utc>>,
    #[serde(default, with = "ts_milliseconds_option")]
    leased_until: Option<DateTime<Utc>>,
    #[serde(default)]
    unanswered: u32,
}

impl Store {
    /// Takes the right to send the mail of an event until `leased_until`, unless `most` attempts are unanswered; 1 write
    /// unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn claim_mail(
        &self,
        event: Uuid,
        most: u32,
        now: DateTime<Utc>,
        leased_until: DateTime<Utc>,
    ) -> Result<Claimed, StoreError> {
        let owner = self.new_request_id();
        let claim = Expression::default()
            .set(OWNER, string(owner))
            .set_once(COUNTED_BY, string(owner))
            .set(LEASED_UNTIL, millis(leased_until))
            .set(attribute::TTL, number((now + KEPT_FOR).timestamp()))
            // Before the mail is sent, so that whoever dies then is counted too.
            .add_number(UNANSWERED, number(1))
            .only_if(
                "(attribute_not_exists(#pk) OR (attribute_not_exists(#sent_at) AND #leased_until <= :now))",
            )
            .only_if("(attribute_not_exists(#unanswered) OR #unanswered < :most)")
            .value("most", number(most))
            .name(PK)
            .name(SENT_AT)
            .value("now", millis(now));
        let show = |update: UpdateItemFluentBuilder| {
            update
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(OLD_ITEM)
        };
        let mut retries = self.retries();
        let claimed = self.update(Key::mail(event), &claim, show, &mut retries);
        let item = match claimed.await? {
            Ok(output) => output.attributes,
            Err(mut failed) => failed.take_only(),
        };
        let item: MailItem = from_item(item.unwrap_or_default())?;
        let claim = MailClaim {
            event,
            owner: item.owner,
            counting: match item.counted_by == Some(item.owner) {
                true => Counting::This,
                false => Counting::Earlier,
            },
            unanswered: item.unanswered,
        };
        Ok(match item.sent_at {
            Some(_) => Claimed::Sent,
            // Also if the condition failed: the claim was made, and only its reply was lost.
            None if item.owner == owner => Claimed::Yours(claim),
            // Whoever had it has died, or could not put it aside.
            None if item.leased_until.is_none_or(|until| until <= now) => Claimed::Exhausted(claim),
            None => Claimed::Elsewhere,
        })
    }

    /// What became of the attempts to send a mail; 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_attempts(
        &self,
        event: Uuid,
        now: DateTime<Utc>,
    ) -> Result<Attempts, StoreError> {
        let item = self.get(Key::mail(event)).await?;
        let item: Option<MailItem> = item.map(from_item).transpose()?;
        Ok(match item {
            None => Attempts::None,
            Some(item) if item.sent_at.is_some() => Attempts::Sent,
            Some(item) if item.leased_until.is_some_and(|until| until > now) => Attempts::UnderWay,
            Some(item) if item.unanswered > 0 => Attempts::Unanswered,
            Some(_) => Attempts::Unsent,
        })
    }

    /// Says that the mail was sent; 1 write unit. Nothing if somebody else has taken the claim meanwhile.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn mark_mail_sent(
        &self,
        claim: MailClaim,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let sent = held(claim).set(SENT_AT, millis(now)).remove(LEASED_UNTIL);
        let mut retries = self.retries();
        let marked = self.update(Key::mail(claim.event), &sent, |update| update, &mut retries);
        marked.await.map(drop)
    }

    /// Gives the right back: it can be tried again from then on. What the claim says of unanswered attempts, and of who
    /// counts the mail, is kept. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]: it can be tried again when the claim is over.
    pub async fn release_mail(
        &self,
        claim: MailClaim,
        free_from: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        // The item stays: it says that this was tried.
        let free = held(claim)
            .set(LEASED_UNTIL, millis(free_from))
            .set(UNANSWERED, number(claim.unanswered));
        let free = match claim.counting {
            Counting::This | Counting::Earlier => free,
            Counting::Next => free.remove(COUNTED_BY),
        };
        let mut retries = self.retries();
        let released = self.update(Key::mail(claim.event), &free, |update| update, &mut retries);
        released.await.map(drop)
    }
}

/// On the condition that the claim is still its owner's.
fn held(claim: MailClaim) -> Expression {
    Expression::default()
        .only_if("#owner = :claimed_by AND attribute_not_exists(#sent_at)")
        .name(OWNER)
        .name(SENT_AT)
        .value("claimed_by", string(claim.owner))
}
