//! The plot of the table's stream: each record becomes events, and each event goes to the bus.
//!
//! At least once and with the same id each time: what could not be put is reported, and whoever reads the stream brings it
//! again from there. A record that cannot be read would never be put however often it is brought, so it goes to the dead
//! letters, and those behind it continue.
//!
//! Before the events of a batch are put, each becomes an entry of its user's activity: so people see what has happened
//! while the bus is down. A record of which an entry cannot be written stops the stream as one whose event was not taken.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use latchkey_domain::clock::Clock;
use latchkey_domain::error::StoreError;
use latchkey_domain::event::{Addressee, Event};
use latchkey_domain::id::SessionId;
use latchkey_domain::session::Session;
use latchkey_store::{ItemChange, Store};
use serde_json::Value;

use crate::activity::{ActivityLog, ToldByRecord};
use crate::metric::{DEAD_LETTERS, EVENTS_PUBLISHED};

/// How many events one request to a bus takes (EventBridge, PutEvents).
pub const EVENTS_AT_ONCE: usize = 10;

/// Where events go: EventBridge, or the list of the local stack.
pub trait Bus: Send + Sync {
    /// Puts at most [`EVENTS_AT_ONCE`] events, and says what became of each, in their order. What it says nothing of was
    /// not taken.
    fn put(&self, events: &[&Event]) -> impl Future<Output = Vec<PutOutcome>> + Send;
}

/// What became of an event that was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The bus has it.
    Taken,
    /// Not now; later perhaps.
    NotTaken,
    /// Never: the bus does not take such an event.
    Refused {
        /// Why, in the bus's word.
        code: String,
    },
}

/// Where a record goes that cannot become events.
pub trait DeadLetters: Send + Sync {
    /// Keeps a record. Keeping it twice keeps it once.
    fn keep(&self, letter: &DeadLetter<'_>) -> impl Future<Output = Result<(), NotKept>> + Send;
}

/// A record that cannot become events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter<'a> {
    /// Its place in the stream.
    pub sequence_number: &'a str,
    /// The record as the stream has it, in JSON.
    pub record: &'a str,
    /// What is wrong with it.
    pub reason: &'a str,
}

/// A dead letter could not be kept; why is logged where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a dead letter could not be kept")]
pub struct NotKept;

/// Dead letters as items of the table.
#[derive(Clone, Debug)]
pub struct TableDeadLetters {
    /// The table.
    pub store: Store,
    /// Says from when on they are kept.
    pub clock: Arc<dyn Clock>,
}

impl DeadLetters for TableDeadLetters {
    async fn keep(&self, letter: &DeadLetter<'_>) -> Result<(), NotKept> {
        let DeadLetter {
            sequence_number,
            record,
            reason,
        } = *letter;
        let now = self.clock.now();
        let kept = self
            .store
            .keep_dead_letter(sequence_number, record, reason, now);
        kept.await.map_err(|_| NotKept)
    }
}

/// A record of the table's stream.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// Its place in the stream.
    pub sequence_number: String,
    /// What it says, or that it cannot be read.
    pub change: Result<RecordedChange, Unreadable>,
    /// The record as the stream has it. It holds what the item holds.
    pub record: Value,
}

impl fmt::Debug for StreamRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut record = f.debug_struct("StreamRecord");
        record.field("sequence_number", &self.sequence_number);
        record.finish_non_exhaustive()
    }
}

/// A record of the stream that is not in the form that this service reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be read")]
pub struct Unreadable;

/// What a write has made of an item, and when the table recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedChange {
    /// What.
    pub change: ItemChange,
    /// When; whole seconds.
    pub recorded_at: DateTime<Utc>,
}

/// The stream stops at this record: whoever reads it brings this one and those behind it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedAt {
    /// The record's place in the stream.
    pub sequence_number: String,
}

/// Brings what happened to the users' activity and to the bus.
#[derive(Clone, Debug)]
pub struct Publisher<B, D> {
    /// Where users find what happened.
    pub activity: ActivityLog,
    /// Where events go.
    pub bus: B,
    /// Where records go that cannot become events.
    pub dead_letters: D,
}

/// The sessions whose items are in a batch, as they are last seen there: what is deleted by then is nowhere else.
fn sessions_in(records: &[StreamRecord]) -> HashMap<SessionId, &Session> {
    let changes = records
        .iter()
        .filter_map(|record| record.change.as_ref().ok());
    let sessions = changes.filter_map(|recorded| match &recorded.change {
        ItemChange::Session(before, after) => after.as_deref().or(before.as_deref()),
        ItemChange::Account(..)
        | ItemChange::FailedSignIn(..)
        | ItemChange::LinkRequest(_)
        | ItemChange::Other => None,
    });
    sessions.map(|session| (session.id, session)).collect()
}

/// An event, and the record that it comes from.
struct Pending<'a> {
    event: &'a Event,
    record: &'a StreamRecord,
}

impl<B: Bus, D: DeadLetters> Publisher<B, D> {
    /// Publishes what the records of a batch tell, in their order.
    ///
    /// # Errors
    /// [`StoppedAt`] the first record of which something could not be done. All before it are done; some behind it may be,
    /// and are then published once more.
    pub async fn publish(&self, records: &[StreamRecord]) -> Result<(), StoppedAt> {
        let mut told = Vec::new();
        let mut stopped = None;
        let sessions = sessions_in(records);
        for record in records {
            match &record.change {
                Ok(RecordedChange {
                    change,
                    recorded_at,
                }) => match self.events_of(change, *recorded_at, &sessions).await {
                    Ok(events) => told.push(ToldByRecord {
                        events,
                        deleted_user: change.deleted_user(),
                    }),
                    Err(StoreError::Unavailable) => {
                        stopped = Some(record);
                        break;
                    }
                    Err(broken @ StoreError::Corrupt) => {
                        if self.bury(record, &broken.to_string()).await.is_err() {
                            stopped = Some(record);
                            break;
                        }
                        told.push(ToldByRecord::default());
                    }
                },
                Err(unreadable) => {
                    let reason = unreadable.to_string();
                    if self.bury(record, &reason).await.is_err() {
                        stopped = Some(record);
                        break;
                    }
                    told.push(ToldByRecord::default());
                }
            }
        }
        let followed = self.activity.follow(&told).await;
        let mut reached = followed.stopped_at;
        for place in followed.broken {
            let Some(record) = records
                .get(place)
                .filter(|_| reached.is_none_or(|at| place < at))
            else {
                break;
            };
            let reason = "the activity that it belongs to is broken";
            if self.bury(record, reason).await.is_err() {
                reached = Some(place);
            }
        }
        if let Some(place) = reached {
            told.truncate(place);
            stopped = records.get(place);
        }
        let pending: Vec<Pending<'_>> = records
            .iter()
            .zip(&told)
            .flat_map(|(record, told)| {
                let events = told.events.iter();
                events.map(move |event| Pending { event, record })
            })
            .collect();
        for chunk in pending.chunks(EVENTS_AT_ONCE) {
            if let Some(record) = self.put(chunk).await {
                stopped = Some(record);
                break;
            }
        }
        let records = records.len();
        match stopped {
            None => {
                tracing::debug!(records, events = pending.len(), "events published");
                Ok(())
            }
            Some(StreamRecord {
                sequence_number, ..
            }) => {
                tracing::warn!(records, sequence_number, "events could not be published");
                Err(StoppedAt {
                    sequence_number: sequence_number.clone(),
                })
            }
        }
    }

    /// What a write tells. Of a request for a link only the table says whom it is for: 2 read units, strongly consistent. Of
    /// a session that has ended its item says what it was: 1 read unit, unless a record of the batch has it.
    async fn events_of(
        &self,
        change: &ItemChange,
        recorded_at: DateTime<Utc>,
        sessions: &HashMap<SessionId, &Session>,
    ) -> Result<Vec<Event>, StoreError> {
        let Some(request) = change.link_request() else {
            let mut events = change.events(recorded_at);
            for event in &mut events {
                self.describe_end(event, sessions).await?;
            }
            return Ok(events);
        };
        let user = match &request.addressee {
            Addressee::User(user) => Some(*user),
            Addressee::Address(email) => {
                let credential = self.activity.store.read_credential(email).await?;
                credential.map(|credential| credential.user_id)
            }
        };
        let account = match user {
            Some(user) => self.activity.store.read_account(user).await?,
            None => None,
        };
        let event = account.and_then(|account| request.event(&account));
        if event.is_none() {
            // The address is not logged: whoever has typed it may have no account here.
            tracing::debug!(request_id = %request.id, "a link was asked for that nobody can use");
        }
        Ok(event.into_iter().collect())
    }

    /// Says what the session was whose end an event tells, if that is still known.
    async fn describe_end(
        &self,
        event: &mut Event,
        sessions: &HashMap<SessionId, &Session>,
    ) -> Result<(), StoreError> {
        let Some(ended) = event.undescribed_end() else {
            return Ok(());
        };
        if let Some(session) = sessions.get(&ended) {
            event.describe_end(session);
            return Ok(());
        }
        let store = &self.activity.store;
        match store.read_session(event.user_id, ended).await {
            Ok(Some(session)) => event.describe_end(&session),
            // It was trimmed, or is for a person to repair: the session has ended all the same.
            Ok(None) | Err(StoreError::Corrupt) => {}
            Err(StoreError::Unavailable) => return Err(StoreError::Unavailable),
        }
        Ok(())
    }

    /// Puts some events together, and those that were not taken once more, one by one. Returns the first record of which
    /// one was not taken then either.
    async fn put<'a>(&self, chunk: &[Pending<'a>]) -> Option<&'a StreamRecord> {
        let events: Vec<&Event> = chunk.iter().map(|pending| pending.event).collect();
        let outcomes = self.bus.put(&events).await;
        let nothing_said = std::iter::repeat(PutOutcome::NotTaken);
        let outcomes = outcomes.into_iter().chain(nothing_said);
        let outcomes: Vec<PutOutcome> = outcomes.take(chunk.len()).collect();
        for (pending, mut outcome) in chunk.iter().zip(outcomes) {
            if outcome == PutOutcome::NotTaken {
                let alone = self.bus.put(&[pending.event]).await;
                outcome = alone.into_iter().next().unwrap_or(PutOutcome::NotTaken);
            }
            match outcome {
                PutOutcome::Taken => EVENTS_PUBLISHED.count(1),
                PutOutcome::NotTaken => return Some(pending.record),
                PutOutcome::Refused { code } => {
                    let reason = format!("the bus refuses an event: {code}");
                    if self.bury(pending.record, &reason).await.is_err() {
                        return Some(pending.record);
                    }
                }
            }
        }
        None
    }

    /// Keeps a record that cannot become events, so that nothing behind it waits for it.
    async fn bury(&self, record: &StreamRecord, reason: &str) -> Result<(), NotKept> {
        let sequence_number = &record.sequence_number;
        let letter = DeadLetter {
            sequence_number,
            record: &record.record.to_string(),
            reason,
        };
        self.dead_letters.keep(&letter).await?;
        tracing::error!(
            sequence_number,
            reason,
            "a record of the stream went to the dead letters"
        );
        DEAD_LETTERS.count(1);
        Ok(())
    }
}
