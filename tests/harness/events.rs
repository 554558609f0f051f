//! The table's stream of a stack, brought to the function that publishes events as Lambda brings it, and the bus that it
//! publishes to. Every event that reaches the bus is held against its JSON Schema.

use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};

use chrono::TimeDelta;
use events::StreamBatch;
use jsonschema::Validator;
use latchkey::embedded::{Embedded, StreamReader};
use latchkey_domain::activity::DEFAULT_ACTIVITY_DAYS;
use latchkey_domain::event::Event;
use latchkey_service::activity::ActivityLog;
use latchkey_service::events::{Bus, DeadLetters, Publisher, PutOutcome, TableDeadLetters};
use serde_json::{Value, json};

use crate::harness::stack::{Stack, TABLE};

/// The schema of all events.
///
/// # Panics
/// When it cannot be read.
pub static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = path.join("../functions/events/event.schema.json");
    let text = std::fs::read_to_string(path).expect("a schema");
    serde_json::from_str(&text).expect("JSON")
});

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&SCHEMA).expect("a schema"));

/// Holds an event against its schema.
///
/// # Panics
/// When it does not fit.
pub fn check(event: &Value) {
    let wrong: Vec<String> = VALIDATOR
        .iter_errors(event)
        .map(|error| error.to_string())
        .collect();
    assert!(wrong.is_empty(), "{event}: {wrong:?}");
}

/// A bus that keeps what it takes, and fails when it is told to. All clones are one.
#[derive(Clone, Default)]
pub struct RecordingBus(Arc<Mutex<Recorded>>);

#[derive(Default)]
struct Recorded {
    taken: Vec<Value>,
    requests: usize,
    is_down: bool,
    next: Vec<PutOutcome>,
}

impl RecordingBus {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().expect("no test panics under this lock")
    }

    /// From now on it takes nothing, or takes everything again.
    pub fn set_down(&self, is_down: bool) {
        self.recorded().is_down = is_down;
    }

    /// What becomes of the next events, one by one. After them it takes everything.
    pub fn answer_next(&self, outcomes: &[PutOutcome]) {
        self.recorded().next = outcomes.iter().rev().cloned().collect();
    }

    /// What it has taken, in its order, as often as it was put.
    #[must_use]
    pub fn taken(&self) -> Vec<Value> {
        self.recorded().taken.clone()
    }

    /// The same, once: the next time it begins with what was taken since.
    #[must_use]
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.recorded().taken)
    }

    /// How many requests it has had.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.recorded().requests
    }
}

impl Bus for RecordingBus {
    async fn put(&self, events: &[&Event]) -> Vec<PutOutcome> {
        assert!((1..=10).contains(&events.len()), "{}", events.len());
        let mut recorded = self.recorded();
        recorded.requests += 1;
        if recorded.is_down {
            return Vec::new();
        }
        let put = events.iter().map(|event| {
            let event = json!(event);
            check(&event);
            let outcome = recorded.next.pop().unwrap_or(PutOutcome::Taken);
            if outcome == PutOutcome::Taken {
                recorded.taken.push(event);
            }
            outcome
        });
        put.collect()
    }
}

/// The stream of a stack, and how far it was read.
pub struct Stream<D = TableDeadLetters> {
    /// Where events go.
    pub bus: RecordingBus,
    publisher: Publisher<RecordingBus, D>,
    reader: StreamReader,
    checkpoint: Option<String>,
}

impl Stack {
    /// The stream of the table from its beginning, read by the function with its role.
    #[must_use]
    pub fn stream(&self) -> Stream {
        self.stream_with(TableDeadLetters {
            store: self.store_of("events"),
            clock: self.core.clock.clone(),
        })
    }

    /// What writes the activity of users, with the role of the function, for 90 days.
    #[must_use]
    pub fn activity_log(&self) -> ActivityLog {
        ActivityLog {
            store: self.store_of("events"),
            retention: TimeDelta::days(DEFAULT_ACTIVITY_DAYS),
            clock: self.core.clock.clone(),
        }
    }

    /// The same stream with another writer of activity.
    #[must_use]
    pub fn stream_writing(&self, activity: ActivityLog) -> Stream {
        let mut stream = self.stream();
        stream.publisher.activity = activity;
        stream
    }

    /// The same with other dead letters.
    #[must_use]
    pub fn stream_with<D: DeadLetters>(&self, dead_letters: D) -> Stream<D> {
        let bus = RecordingBus::default();
        Stream {
            bus: bus.clone(),
            publisher: Publisher {
                activity: self.activity_log(),
                bus,
                dead_letters,
            },
            reader: Embedded::over(self.dynamodb.database.clone()).stream(TABLE),
            checkpoint: None,
        }
    }
}

impl<D: DeadLetters> Stream<D> {
    /// The records behind the checkpoint, at most `limit`.
    ///
    /// # Panics
    /// When the stream cannot be read.
    #[must_use]
    pub fn records(&self, limit: usize) -> Vec<Value> {
        let read = self.reader.read(self.checkpoint.as_deref(), limit);
        read.expect("a stream")
    }

    /// Brings records to the function, as one batch. Returns the sequence number from which they are to be brought again.
    pub async fn invoke(&self, records: &[Value]) -> Option<String> {
        let records = records.to_vec();
        let response = events::on_records(&self.publisher, StreamBatch { records }).await;
        let response = json!(response);
        let failures = response["batchItemFailures"].as_array();
        let failure = failures.and_then(|failures| failures.first());
        failure.map(|failure| failure["itemIdentifier"].as_str().expect("one").to_owned())
    }

    /// Brings one batch, and keeps how far it has come, as Lambda does. Returns whether there was one and all of it is
    /// done.
    pub async fn step(&mut self, limit: usize) -> bool {
        let records = self.records(limit);
        let failed = self.invoke(&records).await;
        let places = records.iter().map(sequence_number);
        let done = places.take_while(|place| Some(place) != failed.as_ref());
        if let Some(last) = done.last() {
            self.checkpoint = Some(last);
        }
        !records.is_empty() && failed.is_none()
    }

    /// Brings everything.
    ///
    /// # Panics
    /// When something cannot be published.
    pub async fn drain(&mut self) {
        while self.step(100).await {}
        assert!(self.records(1).is_empty(), "nothing is left");
    }
}

/// The place of a record.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn sequence_number(record: &Value) -> String {
    let number = record["dynamodb"]["SequenceNumber"].as_str();
    number.expect("a sequence number").to_owned()
}
