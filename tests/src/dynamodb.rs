//! The real DynamoDB API on the embedded engine, and a connector that notes every request to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::HttpClient as _;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use serde_json::Value;

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
        let calls = self.take();
        Cost {
            trips: longest_series(&calls),
            write_units: calls.iter().map(|call| call.write_units).sum(),
            read_units: calls.iter().map(|call| call.read_units).sum(),
        }
    }

    fn tick(&self) -> u64 {
        self.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// An HTTP client that notes what it sends.
    #[must_use]
    pub fn http_client(&self) -> SharedHttpClient {
        let recorder = self.clone();
        let inner = aws_smithy_http_client::Builder::new().build_http();
        http_client_fn(move |settings, components| {
            SharedHttpConnector::new(RecordingConnector {
                inner: inner.http_connector(settings, components),
                recorder: recorder.clone(),
            })
        })
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
    inner: SharedHttpConnector,
    recorder: Recorder,
}

impl HttpConnector for RecordingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let recorder = self.recorder.clone();
        let operation = request
            .headers()
            .get("x-amz-target")
            .and_then(|target| target.split('.').next_back())
            .unwrap_or_default()
            .to_owned();
        let sent: Value = request
            .body()
            .bytes()
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .unwrap_or_default();
        let inner = self.inner.clone();
        HttpConnectorFuture::new(async move {
            let began = recorder.tick();
            let mut response = inner.call(request).await?;
            let body = response.take_body().collect().await;
            let body = body
                .map(http_body_util::Collected::to_bytes)
                .unwrap_or_default();
            let (read_units, write_units) = units(&operation, &response, &body);
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
            Ok(response.map(|_| SdkBody::from(body.clone())))
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

/// A database of its own, in memory.
#[derive(Clone)]
pub struct EmbeddedDynamoDb {
    /// The engine: `sweep_ttl` deletes what is due.
    pub database: dynoxide::Database,
    /// Where it answers.
    pub endpoint: String,
}

impl EmbeddedDynamoDb {
    /// Starts it on a free port of this machine. It ends with the test's runtime.
    ///
    /// # Panics
    /// When it cannot.
    pub async fn start() -> Self {
        Self::serve(dynoxide::Database::memory().expect("memory")).await
    }

    /// The same with a clock of the test's own, by which `sweep_ttl` knows what is due.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn start_at(clock: &dynoxide::storage_backend::ManualClock) -> Self {
        Self::serve(dynoxide::Database::memory_with_clock(clock.arc()).expect("memory")).await
    }

    async fn serve(database: dynoxide::Database) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        tokio::spawn(dynoxide::server::serve_on(listener, database.clone()));
        Self { database, endpoint }
    }

    /// A client of it, with the limits that the service has, whose requests are noted.
    #[must_use]
    pub fn client(&self, recorder: &Recorder) -> Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&self.endpoint)
            .http_client(recorder.http_client());
        Client::from_conf(latchkey_store::with_limits(config).build())
    }
}
