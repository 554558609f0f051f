//! What the service tells others: the table's stream goes through the function that publishes events while everything else
//! happens, over a DynamoDB and to a bus that fail too. What the bus has taken is kept for the judge.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use events::StreamBatch;
use latchkey::embedded::StreamReader;
use latchkey_domain::activity::DEFAULT_ACTIVITY_DAYS;
use latchkey_domain::clock::Clock;
use latchkey_domain::event::Event;
use latchkey_domain::id::UserId;
use latchkey_domain::random::{RandomSource as _, SeededRandom};
use latchkey_service::activity::ActivityLog;
use latchkey_service::events::{Bus, DeadLetter, DeadLetters, NotKept, Publisher, PutOutcome};
use latchkey_store::Store;
use latchkey_tests::harness::events::{check, sequence_number};
use serde_json::json;

use super::StormError;
use super::earlier::{Ids, Told};
use super::user::lock;

/// How many records are published at once, as in the template.
const BATCH: usize = 100;
/// How long the function waits when there is nothing to publish.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Of 256 events, how many the bus does not take at first; of as many batches, how many are brought a second time.
const NOT_TAKEN: u8 = 13;
const BROUGHT_AGAIN: u8 = 26;

/// What the bus has taken. All clones are one.
#[derive(Clone)]
pub(crate) struct FailingBus(Arc<Mutex<Taken>>);

struct Taken {
    told: BTreeMap<UserId, Told>,
    wrong: Vec<String>,
    random: SeededRandom,
    fails: bool,
    deliveries: u64,
    ids: Ids,
}

fn draw(random: &SeededRandom) -> u8 {
    let mut byte = [0];
    random.fill(&mut byte);
    let [byte] = byte;
    byte
}

impl FailingBus {
    /// What was told of a user until now.
    pub(crate) fn told(&self, user: UserId) -> Told {
        lock(&self.0).told.get(&user).cloned().unwrap_or_default()
    }

    /// How many events it has taken, and how often.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let taken = lock(&self.0);
        (taken.ids.len(), taken.deliveries)
    }

    /// From now on it takes everything.
    pub(crate) fn recover(&self) {
        lock(&self.0).fails = false;
    }

    /// What was wrong with single events.
    pub(crate) fn wrong(&self) -> Vec<String> {
        lock(&self.0).wrong.clone()
    }
}

impl Bus for FailingBus {
    async fn put(&self, events: &[&Event]) -> Vec<PutOutcome> {
        let mut taken = lock(&self.0);
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            if taken.fails && draw(&taken.random) < NOT_TAKEN {
                outcomes.push(PutOutcome::NotTaken);
                continue;
            }
            let json = json!(event);
            if catch_unwind(AssertUnwindSafe(|| check(&json))).is_err() {
                let kind = event.occurrence.event_type();
                taken
                    .wrong
                    .push(format!("an event {kind} is not in its form"));
            }
            taken.deliveries += 1;
            taken.ids.insert(event.id.to_string());
            taken.told.entry(event.user_id).or_default().add(event);
            outcomes.push(PutOutcome::Taken);
        }
        outcomes
    }
}

impl DeadLetters for FailingBus {
    async fn keep(&self, letter: &DeadLetter<'_>) -> Result<(), NotKept> {
        let what = format!("a record cannot be told of: {}", letter.reason);
        lock(&self.0).wrong.push(what);
        Ok(())
    }
}

/// Brings the stream to the function, as Lambda does.
pub(crate) struct Pump {
    reader: StreamReader,
    publisher: Publisher<FailingBus, FailingBus>,
    checkpoint: Option<String>,
    random: SeededRandom,
}

impl Pump {
    /// A pump of the whole stream, and its bus.
    pub(crate) fn new(
        reader: StreamReader,
        store: Store,
        clock: Arc<dyn Clock>,
        seed: u64,
    ) -> (Self, FailingBus) {
        let bus = FailingBus(Arc::new(Mutex::new(Taken {
            told: BTreeMap::new(),
            wrong: Vec::new(),
            random: SeededRandom::new(seed),
            fails: true,
            deliveries: 0,
            ids: Ids::new(),
        })));
        let pump = Self {
            reader,
            publisher: Publisher {
                activity: ActivityLog {
                    store,
                    retention: TimeDelta::days(DEFAULT_ACTIVITY_DAYS),
                    clock,
                },
                bus: bus.clone(),
                dead_letters: bus.clone(),
            },
            checkpoint: None,
            random: SeededRandom::new(seed ^ 1),
        };
        (pump, bus)
    }

    /// Brings one batch. Returns whether there was none.
    async fn step(&mut self) -> Result<bool, StormError> {
        let records = self.reader.read(self.checkpoint.as_deref(), BATCH)?;
        let Some(last) = records.last().map(sequence_number) else {
            return Ok(true);
        };
        let places: Vec<String> = records.iter().map(sequence_number).collect();
        let batch = StreamBatch { records };
        let again = (draw(&self.random) < BROUGHT_AGAIN).then(|| batch.clone());
        let response = events::on_records(&self.publisher, batch).await;
        let failed = response.batch_item_failures.first();
        let failed = failed.and_then(|failure| failure.item_identifier.as_ref());
        match failed {
            None => self.checkpoint = Some(last),
            Some(failed) => {
                let done = places.into_iter().take_while(|place| place != failed);
                self.checkpoint = done.last().or(self.checkpoint.take());
            }
        }
        if let Some(batch) = again {
            drop(events::on_records(&self.publisher, batch).await);
        }
        Ok(false)
    }

    /// Brings all that there is.
    pub(crate) async fn drain(&mut self) -> Result<(), StormError> {
        while !self.step().await? {}
        Ok(())
    }
}

/// Brings whatever comes, until something is wrong with the stream itself.
pub(crate) async fn pump(pump: Arc<tokio::sync::Mutex<Pump>>) -> Result<(), StormError> {
    loop {
        let is_empty = pump.lock().await.step().await?;
        if is_empty {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
