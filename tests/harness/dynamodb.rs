//! The real DynamoDB API on the embedded engine, in the process of the test, and a connector that notes every request.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use latchkey::embedded::{self, Answer, Embedded, operation_of};
use serde_json::Value;

use crate::harness::second_engine::SecondEngine;

/// One request to DynamoDB, as it was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `GetItem`, `UpdateItem`, ...
    pub operation: String,
    /// What it cost, in read units.
    pub read_units: f64,
    /// What it cost, in write units.
    pub write_units: f64,
    /// What was sent.
    pub request: Value,
    /// When it began and ended, in a count of beginnings and ends.
    began: u64,
    ended: u64,
}

/// What an operation cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Requests in series.
    pub trips: usize,
    /// Capacity, in write units.
    pub write_units: f64,
    /// Capacity, in read units.
    pub read_units: f64,
}

impl Cost {
    /// What requests cost together.
    #[must_use]
    pub fn of(calls: &[Call]) -> Self {
        Self {
            trips: longest_series(calls),
            write_units: calls.iter().map(|call| call.write_units).sum(),
            read_units: calls.iter().map(|call| call.read_units).sum(),
        }
    }
}

/// Notes the requests to DynamoDB.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    calls: Arc<Mutex<Vec<Call>>>,
    moment: Arc<AtomicU64>,
}

impl Recorder {
    /// What was noted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.calls.lock().expect("no test panics under this lock"))
    }

    /// What that cost.
    #[must_use]
    pub fn take_cost(&self) -> Cost {
        Cost::of(&self.take())
    }

    fn tick(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// An HTTP client that notes what it sends to an engine.
    #[must_use]
    pub fn http_client(&self, engine: EmbeddedDynamoDb) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(RecordingConnector {
            engine,
            recorder: self.clone(),
        });
        http_client_fn(move |_, _| connector.clone())
    }
}

/// The most calls of which each began after the one before had ended.
fn longest_series(calls: &[Call]) -> usize {
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| call.ended);
    let (mut series, mut end) = (0, None);
    for call in calls {
        if end.is_none_or(|end| call.began > end) {
            series += 1;
            end = Some(call.ended);
        }
    }
    series
}

#[derive(Debug)]
struct RecordingConnector {
    engine: EmbeddedDynamoDb,
    recorder: Recorder,
}

impl HttpConnector for RecordingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let recorder = self.recorder.clone();
        let operation = operation_of(&request).to_owned();
        let body = request.body().bytes().unwrap_or_default();
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        let engine = self.engine.clone();
        HttpConnectorFuture::new(async move {
            let began = recorder.tick();
            // The engine answers at once. On its way to DynamoDB and back, a request lets others overtake it.
            tokio::task::yield_now().await;
            let body = request.body().bytes().unwrap_or_default();
            let response = embedded::response(engine.answer(&operation, body))?;
            tokio::task::yield_now().await;
            let body = response.body().bytes().unwrap_or_default();
            let (read_units, write_units) = units(&operation, &response, body);
            let ended = recorder.tick();
            recorder
                .calls
                .lock()
                .expect("no test panics under this lock")
                .push(Call {
                    operation,
                    read_units,
                    write_units,
                    request: sent,
                    began,
                    ended,
                });
            Ok(response)
        })
    }
}

/// What DynamoDB says it consumed. It does not say so of a condition that failed, which costs a write all the same.
fn units(operation: &str, response: &HttpResponse, body: &[u8]) -> (f64, f64) {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let consumed = &body["ConsumedCapacity"];
    let tables = consumed
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![consumed.clone()]);
    let consumed: f64 = tables
        .iter()
        .filter_map(|table| table["CapacityUnits"].as_f64())
        .sum();
    match operation {
        "GetItem" | "Query" | "Scan" | "BatchGetItem" => (consumed, 0.0),
        "UpdateItem" | "DeleteItem" if !response.status().is_success() => (0.0, 1.0),
        _ => (0.0, consumed),
    }
}

/// A separate database, in memory; or on the [second engine](crate::harness::second_engine), if there is one.
#[derive(Clone)]
pub struct EmbeddedDynamoDb {
    /// The engine: `sweep_ttl` deletes what is due.
    pub database: dynoxide::Database,
    second: Option<SecondEngine>,
}

impl EmbeddedDynamoDb {
    /// An empty one.
    ///
    /// # Panics
    /// When it cannot start.
    #[must_use]
    pub fn start() -> Self {
        dynoxide::Database::memory().expect("memory").into()
    }

    /// The same with a clock of the test's own, by which `sweep_ttl` knows what is due.
    ///
    /// # Panics
    /// When it cannot start.
    #[must_use]
    pub fn start_at(clock: &dynoxide::storage_backend::ManualClock) -> Self {
        let database = dynoxide::Database::memory_with_clock(clock.arc());
        database.expect("memory").into()
    }

    /// What the engine answers to an operation such as `GetItem`.
    #[must_use]
    pub fn answer(&self, operation: &str, body: &[u8]) -> Answer {
        match &self.second {
            Some(second) => second.answer(operation, body),
            None => embedded::answer(&self.database, operation, body),
        }
    }

    /// A client of it, with the limits that the service has, whose requests are noted.
    #[must_use]
    pub fn client(&self, recorder: &Recorder) -> Client {
        let http_client = recorder.http_client(self.clone());
        Client::from_conf(embedded::config(http_client).build())
    }
}

impl fmt::Debug for EmbeddedDynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedDynamoDb").finish_non_exhaustive()
    }
}

impl From<dynoxide::Database> for EmbeddedDynamoDb {
    fn from(database: dynoxide::Database) -> Self {
        let second = SecondEngine::from_environment();
        Self { database, second }
    }
}

/// The same, listening on a port, for functions in separate processes.
#[derive(Debug)]
pub struct ListeningDynamoDb {
    /// Where it answers.
    pub endpoint: String,
    embedded: Embedded,
}

impl ListeningDynamoDb {
    /// Starts it on a free port of this machine. It ends with the test's runtime.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn start() -> Self {
        let mut embedded = Embedded::in_memory().expect("memory");
        let address = embedded.listen(0).await.expect("a free port");
        Self {
            endpoint: format!("http://{address}"),
            embedded,
        }
    }

    /// A client of it, in this process.
    #[must_use]
    pub fn client(&self) -> Client {
        self.embedded.client()
    }
}
