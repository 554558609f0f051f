//! How metrics leave a function: one line of CloudWatch's embedded metric format (EMF) for each invocation.
//!
//! What is counted stands in [`latchkey_service::metric`]. On Lambda [`Emf`] is the recorder: it adds up until the
//! invocation has been answered, and then everything is one line in the function's log, from which CloudWatch makes the
//! metrics. No call is made for them.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use latchkey_domain::clock::Clock;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString,
};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use tracing::Level;

use latchkey_api::http::REQUEST_ID_HEADER;
use latchkey_service::metric::{COLD_STARTS, CONGESTION, METRICS, Metric, Scope, THROTTLED};

use crate::settings::MetricsSettings;

/// The namespace of all metrics in CloudWatch.
pub const NAMESPACE: &str = "Latchkey";
/// The dimension whose value is the stack's name.
pub const STACK: &str = "Stack";
/// The dimension whose value is the function's name.
pub const FUNCTION: &str = "Function";

const COUNT: &str = "Count";

const SCOPES: [Scope; 2] = [Scope::Stack, Scope::Function];

/// The names of a scope's dimensions.
#[must_use]
pub fn dimensions(scope: Scope) -> &'static [&'static str] {
    match scope {
        Scope::Stack => &[STACK],
        Scope::Function => &[STACK, FUNCTION],
    }
}

/// The recorder of a function: adds up what is counted during an invocation. Cheap to clone.
///
/// An environment of Lambda has one invocation at a time, so what is counted belongs to it. A task that continues after
/// its reply, because the client has hung up, counts for the next one: nothing is lost.
#[derive(Clone, Debug)]
pub struct Emf {
    counted: Counted,
    settings: Arc<MetricsSettings>,
    level: Level,
}

/// What was counted, by name.
#[derive(Clone, Debug, Default)]
struct Counted(Arc<Mutex<BTreeMap<&'static str, f64>>>);

impl Counted {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A metric, or a signal, that is being counted.
struct Tally {
    name: &'static str,
    counted: Counted,
}

impl Tally {
    fn add(&self, more: f64) {
        *self.counted.lock().entry(self.name).or_default() += more;
    }

    fn set(&self, value: f64) {
        self.counted.lock().insert(self.name, value);
    }
}

impl CounterFn for Tally {
    fn increment(&self, more: u64) {
        self.add(as_f64(more));
    }

    fn absolute(&self, value: u64) {
        self.set(as_f64(value));
    }
}

impl GaugeFn for Tally {
    fn increment(&self, more: f64) {
        self.add(more);
    }

    fn decrement(&self, less: f64) {
        self.add(-less);
    }

    fn set(&self, value: f64) {
        Self::set(self, value);
    }
}

/// CloudWatch receives the sum of the values.
impl HistogramFn for Tally {
    fn record(&self, value: f64) {
        self.add(value);
    }
}

/// CloudWatch's numbers are doubles. Nobody counts to 2^53.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

impl Emf {
    /// A recorder for a function of a stack. `level` is the least severe log line that Lambda lets through.
    #[must_use]
    pub fn new(settings: MetricsSettings, level: Level) -> Self {
        Self {
            counted: Counted::default(),
            settings: Arc::new(settings),
            level,
        }
    }

    /// Makes it the recorder of this process, unless there is one already, and counts the cold start.
    pub(crate) fn start(&self) {
        if metrics::set_global_recorder(self.clone()).is_ok() {
            COLD_STARTS.count(1);
        }
    }

    fn tally(&self, key: &Key) -> Option<Arc<Tally>> {
        let name = find_published(key.name())
            .map(|metric| metric.name)
            .or_else(|| CONGESTION.into_iter().find(|name| *name == key.name()))?;
        Some(Arc::new(Tally {
            name,
            counted: self.counted.clone(),
        }))
    }

    /// The line of an invocation, and a new beginning; nothing if nothing was counted. `status` is that of its reply, if
    /// it has one.
    #[must_use]
    pub fn line(
        &self,
        now: DateTime<Utc>,
        request_id: &str,
        status: Option<StatusCode>,
    ) -> Option<String> {
        let mut counted = std::mem::take(&mut *self.counted.lock());
        let mut congested = false;
        for signal in CONGESTION {
            congested |= counted.remove(signal).is_some();
        }
        if congested && status == Some(StatusCode::SERVICE_UNAVAILABLE) {
            counted.insert(THROTTLED.name, 1.0);
        }
        if counted.is_empty() {
            return None;
        }
        let line = Line {
            counted: &counted,
            settings: &self.settings,
            level: self.level,
            now,
            request_id,
        };
        serde_json::to_string(&line)
            .inspect_err(|error| tracing::error!(%error, "metrics could not be written"))
            .ok()
    }

    /// Writes the line of an invocation, if there is one, to standard output, which Lambda passes on to CloudWatch. Must
    /// come before the reply: Lambda freezes the environment after it.
    pub fn write_line(&self, now: DateTime<Utc>, request_id: &str, status: Option<StatusCode>) {
        if let Some(line) = self.line(now, request_id, status) {
            print_line(line);
        }
    }
}

/// In one piece, so that it is one line of the log whatever else writes there.
pub(crate) fn print_line(mut line: String) {
    line.push('\n');
    // There is nowhere else to complain.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

fn find_published(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

/// Every metric is a count, so descriptions add nothing.
impl Recorder for Emf {
    fn describe_counter(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<metrics::Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        self.tally(key).map_or(Counter::noop(), Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        self.tally(key).map_or(Gauge::noop(), Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        self.tally(key)
            .map_or(Histogram::noop(), Histogram::from_arc)
    }
}

/// One document of the embedded metric format.
struct Line<'a> {
    counted: &'a BTreeMap<&'static str, f64>,
    settings: &'a MetricsSettings,
    level: Level,
    now: DateTime<Utc>,
    request_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AwsMetadata {
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [&'static [&'static str]; 1],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl Line<'_> {
    fn definitions(&self, scope: Scope) -> Vec<Definition> {
        let counted = self.counted.keys().filter_map(|name| find_published(name));
        counted
            .filter(|metric| metric.scope == scope)
            .map(|metric| Definition {
                name: metric.name,
                unit: COUNT,
            })
            .collect()
    }

    /// Only what is in this line: every metric and every dimension that is named must be there.
    fn directives(&self) -> Vec<Directive> {
        SCOPES
            .into_iter()
            .map(|scope| Directive {
                namespace: NAMESPACE,
                dimensions: [dimensions(scope)],
                metrics: self.definitions(scope),
            })
            .filter(|directive| !directive.metrics.is_empty())
            .collect()
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        // Lambda takes a line without a valid level and timestamp for one of INFO, and drops it when only warnings are
        // wanted. Metrics are wanted at every level, so the line has the least severe one that passes.
        let level = self.level.min(Level::INFO);
        let now = self.now.to_rfc3339_opts(SecondsFormat::Millis, true);
        line.serialize_entry("timestamp", &now)?;
        line.serialize_entry("level", level.as_str())?;
        line.serialize_entry("request_id", self.request_id)?;
        line.serialize_entry(
            "_aws",
            &AwsMetadata {
                timestamp: self.now.timestamp_millis(),
                cloud_watch_metrics: self.directives(),
            },
        )?;
        line.serialize_entry(STACK, &self.settings.stack)?;
        line.serialize_entry(FUNCTION, &self.settings.function)?;
        for (name, value) in self.counted {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

/// Puts around a whole service what hands each request's line to `write`, before its reply leaves.
pub fn one_line_each(
    service: Router,
    emf: Emf,
    clock: Arc<dyn Clock>,
    write: Arc<dyn Fn(String) + Send + Sync>,
) -> Router {
    service.layer(from_fn(move |request: Request, next: Next| {
        let (emf, clock, write) = (emf.clone(), Arc::clone(&clock), Arc::clone(&write));
        async move {
            let response = next.run(request).await;
            let id = response.headers().get(REQUEST_ID_HEADER);
            let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
            if let Some(line) = emf.line(clock.now(), id, Some(response.status())) {
                write(line);
            }
            response
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use latchkey_service::metric::{DYNAMODB_READ_UNITS, REVOCATIONS, SIGN_INS};

    use super::*;

    fn emf(level: Level) -> Emf {
        let settings = MetricsSettings {
            stack: "auth".to_owned(),
            function: "auth-login".to_owned(),
        };
        Emf::new(settings, level)
    }

    fn noon() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn line(emf: &Emf, status: u16) -> Option<Value> {
        let status = StatusCode::from_u16(status).ok();
        let line = emf.line(noon(), "8476a536", status)?;
        Some(serde_json::from_str(&line).unwrap())
    }

    #[test]
    fn a_line_is_a_document_of_the_embedded_metric_format() {
        let emf = emf(Level::INFO);
        metrics::with_local_recorder(&emf, || {
            SIGN_INS.count(1);
            COLD_STARTS.count(1);
            metrics::histogram!(DYNAMODB_READ_UNITS.name).record(1.5);
            metrics::histogram!(DYNAMODB_READ_UNITS.name).record(1.0);
        });
        let directive = |dimensions: Value, names: &[&str]| {
            let metrics: Vec<Value> = names
                .iter()
                .map(|name| json!({"Name": name, "Unit": "Count"}))
                .collect();
            json!({"Namespace": "Latchkey", "Dimensions": [dimensions], "Metrics": metrics})
        };
        assert_eq!(
            line(&emf, 200),
            Some(json!({
                "timestamp": "2026-03-01T12:00:00.000Z",
                "level": "INFO",
                "request_id": "8476a536",
                "_aws": {
                    "Timestamp": 1_772_366_400_000_i64,
                    "CloudWatchMetrics": [
                        directive(json!(["Stack"]), &["SignIns"]),
                        directive(json!(["Stack", "Function"]), &["ColdStarts", "DynamoDbReadUnits"]),
                    ],
                },
                "Stack": "auth",
                "Function": "auth-login",
                "SignIns": 1.0,
                "ColdStarts": 1.0,
                "DynamoDbReadUnits": 2.5,
            }))
        );
        assert_eq!(line(&emf, 200), None, "each line is a new beginning");
    }

    #[test]
    fn what_counts_nothing_makes_no_line() {
        let emf = emf(Level::INFO);
        metrics::with_local_recorder(&emf, || {
            REVOCATIONS.count(0);
            metrics::counter!("SomebodyElses").increment(1);
        });
        assert_eq!(line(&emf, 200), None);
    }

    #[test]
    fn a_congestion_is_a_metric_only_when_it_has_made_a_503() {
        let emf = emf(Level::INFO);
        for signal in CONGESTION {
            let congest = || metrics::counter!(signal).increment(3);
            metrics::with_local_recorder(&emf, congest);
            assert_eq!(line(&emf, 200), None, "the attempt after it went well");
            metrics::with_local_recorder(&emf, congest);
            assert_eq!(line(&emf, 503).unwrap()["Throttled"], 1.0);
        }
        assert_eq!(line(&emf, 503), None, "a 503 of another cause");
    }

    #[test]
    fn a_line_passes_whatever_level_lambda_lets_through() {
        for (level, of_the_line) in [
            (Level::TRACE, "INFO"),
            (Level::INFO, "INFO"),
            (Level::WARN, "WARN"),
            (Level::ERROR, "ERROR"),
        ] {
            let emf = emf(level);
            metrics::with_local_recorder(&emf, || SIGN_INS.count(1));
            assert_eq!(line(&emf, 200).unwrap()["level"], of_the_line);
        }
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        assert!(CONGESTION.iter().all(|signal| !names.contains(signal)));
        for reserved in ["_aws", "level", "timestamp", "request_id", STACK, FUNCTION] {
            assert!(!names.contains(reserved));
        }
    }
}
