//! Events on this machine: the stream of the embedded DynamoDB goes through the function that publishes events, in this
//! process. What it publishes is logged and can be read at [`EVENTS_PATH`].

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::middleware::from_fn;
use axum::routing::get;
use axum::{Json, Router};
use events::StreamBatch;
use latchkey_api::parameter::QueryParameters;
use latchkey_domain::event::Event;
use latchkey_service::activity::ActivityLog;
use latchkey_service::events::{Bus, DeadLetter, DeadLetters, NotKept, Publisher, PutOutcome};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::embedded::{EmbeddedError, StreamReader};
use crate::folder::Folder;
use crate::mailing::{self, LocalNotifier};
use crate::origins;

/// The newest events, newest first. Not in the OpenAPI document: the service on AWS does not have it.
pub(crate) const EVENTS_PATH: &str = "/local/events";
/// How often the stream is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many records are published at once, as in the template.
const BATCH: usize = 100;
/// How many events are shown.
const EVENTS_SHOWN: usize = 1_000;

/// The list of the newest events. All clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentEvents(Arc<Mutex<VecDeque<Value>>>);

impl RecentEvents {
    fn events(&self) -> MutexGuard<'_, VecDeque<Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, event: &Event) {
        let id = json!(event.id);
        let mut events = self.events();
        if events.iter().any(|shown| shown.get("id") == Some(&id)) {
            return;
        }
        events.push_front(json!(event));
        events.truncate(EVENTS_SHOWN);
        drop(events);
        let (event_type, event_id) = (event.occurrence.event_type(), event.id);
        let session_id = event.occurrence.session_id().map(tracing::field::display);
        tracing::info!(event_type, %event_id, user_id = %event.user_id, session_id, "event");
    }

    /// The route that shows them.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route(EVENTS_PATH, get(list))
            .route_layer(from_fn(origins::refuse_other_pages))
            .with_state(self)
    }
}

/// The bus on this machine: the list, and the function that sends mails.
#[derive(Clone, Debug)]
pub(crate) struct LocalBus {
    /// Shows the events.
    pub(crate) events: RecentEvents,
    /// Tells people of them, unless mail is off.
    pub(crate) notifier: Option<LocalNotifier>,
}

impl LocalBus {
    /// An event is put when it is told too: until then the stream is not read on, so a kill loses no mail.
    async fn put_one(&self, event: &Event) -> PutOutcome {
        self.events.show(event);
        let Some(notifier) = &self.notifier else {
            return PutOutcome::Taken;
        };
        match mailing::tell(notifier, event).await {
            true => PutOutcome::Taken,
            false => PutOutcome::NotTaken,
        }
    }
}

impl Bus for LocalBus {
    async fn put(&self, events: &[&Event]) -> Vec<PutOutcome> {
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            // Boxed, because the compiler gives up on futures that are nested as deep as these.
            outcomes.push(Box::pin(self.put_one(event)).await);
        }
        outcomes
    }
}

/// None is known.
#[derive(Debug, Deserialize)]
pub(crate) struct NoParameters {}

async fn list(_: QueryParameters<NoParameters>, State(events): State<RecentEvents>) -> Json<Value> {
    let events: Vec<Value> = events.events().iter().cloned().collect();
    Json(json!({"events": events}))
}

/// Where what must outlive the process is kept: the data folder, or nowhere.
#[derive(Clone, Debug)]
pub(crate) struct Kept(pub(crate) Option<Arc<Folder>>);

impl Kept {
    fn checkpoint(&self) -> Option<String> {
        let folder = self.0.as_ref()?;
        folder.stream_checkpoint().unwrap_or_else(|error| {
            tracing::warn!(%error, "where the stream was read to is not known; it is read from its beginning");
            None
        })
    }

    fn keep_checkpoint(&self, sequence_number: &str) {
        let kept = self
            .0
            .as_ref()
            .map(|folder| folder.keep_stream_checkpoint(sequence_number));
        if let Some(Err(error)) = kept {
            tracing::warn!(%error, "where the stream was read to could not be kept; events may be shown once more");
        }
    }
}

impl DeadLetters for Kept {
    async fn keep(&self, letter: &DeadLetter<'_>) -> Result<(), NotKept> {
        let Some(folder) = &self.0 else {
            return Ok(()); // Its line in the log is all that is left of it, as of everything else here.
        };
        let text = json!({"reason": letter.reason, "record": letter.record}).to_string();
        let kept = folder.keep_dead_letter(letter.sequence_number, &text);
        kept.map_err(|error: io::Error| {
            tracing::error!(%error, "a dead letter could not be kept");
            NotKept
        })
    }
}

/// Brings the stream to the function that publishes events, as Lambda does.
#[derive(Debug)]
pub(crate) struct Pump {
    reader: StreamReader,
    publisher: Publisher<LocalBus, Kept>,
    checkpoint: Option<String>,
}

impl Pump {
    /// A pump that continues where the one before it has stopped.
    pub(crate) fn new(
        reader: StreamReader,
        bus: LocalBus,
        kept: Kept,
        activity: ActivityLog,
    ) -> Self {
        Self {
            reader,
            checkpoint: kept.checkpoint(),
            publisher: Publisher {
                activity,
                bus,
                dead_letters: kept,
            },
        }
    }

    /// Publishes whatever comes, and never returns.
    pub(crate) async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            while self.step().await == Step::Done {}
        }
    }

    /// Publishes the next records.
    async fn step(&mut self) -> Step {
        let records = match self.read().await {
            Ok(records) if records.is_empty() => return Step::Waiting,
            Ok(records) => records,
            Err(error) => {
                tracing::error!(%error, "the stream of the embedded DynamoDB cannot be read");
                return Step::Waiting;
            }
        };
        let places: Vec<String> = records.iter().map(events::sequence_number).collect();
        let batch = StreamBatch { records };
        let response = events::on_records(&self.publisher, batch).await;
        let failures = response.batch_item_failures.into_iter();
        let failed = failures
            .filter_map(|failure| failure.item_identifier)
            .next();
        let done = places
            .iter()
            .take_while(|place| Some(*place) != failed.as_ref());
        if let Some(last) = done.last() {
            self.checkpoint = Some(last.clone());
            self.keep_checkpoint(last.clone()).await;
        }
        match failed {
            None => Step::Done,
            Some(_) => Step::Waiting,
        }
    }

    /// On another thread, because it waits for the disk.
    async fn keep_checkpoint(&self, last: String) {
        let kept = self.publisher.dead_letters.clone();
        let keeping = tokio::task::spawn_blocking(move || kept.keep_checkpoint(&last));
        if let Err(error) = keeping.await {
            tracing::warn!(%error, "where the stream was read to could not be kept; events may be shown once more");
        }
    }

    async fn read(&self) -> Result<Vec<Value>, EmbeddedError> {
        let (reader, behind) = (self.reader.clone(), self.checkpoint.clone());
        tokio::task::spawn_blocking(move || reader.read(behind.as_deref(), BATCH)).await?
    }
}

/// What a look at the stream has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Records, all of which are published.
    Done,
    /// Nothing, or something that is tried again later.
    Waiting,
}
