//! How metrics leave a function: in the one line of the log that says how a request was answered, in CloudWatch's embedded
//! metric format (EMF).
//!
//! What is counted stands in [`latchkey_service::metric`]. On Lambda [`Emf`] is the recorder: it adds up until the
//! invocation has been answered, and then everything is in its line, from which CloudWatch makes the metrics. No call is
//! made for them.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::{Extension, Router};
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

use latchkey_api::http::{AnswerLog, Answered};
use latchkey_service::metric::{COLD_STARTS, CONGESTION, METRICS, Metric, Scope, THROTTLED};

use crate::settings::MetricsSettings;

/// The namespace of all metrics in CloudWatch.
pub const NAMESPACE: &str = "Latchkey";
/// The dimension whose value is the stack's name.
pub const STACK: &str = "Stack";
/// The field whose value is the function's name. It is no dimension: each of its values would be paid for.
pub const FUNCTION: &str = "Function";

const COUNT: &str = "Count";

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
        let name = find(key.name())
            .map(|metric| metric.name)
            .or_else(|| CONGESTION.into_iter().find(|name| *name == key.name()))?;
        Some(Arc::new(Tally {
            name,
            counted: self.counted.clone(),
        }))
    }

    /// The line of a request, and a new beginning. None if the level of the log asks for less and nothing needs it: no
    /// metric, and no fault of ours.
    #[must_use]
    pub fn request_line(&self, now: DateTime<Utc>, answered: &Answered<'_>) -> Option<String> {
        let counted = self.take(answered.status);
        let needed = is_published(&counted) || answered.status.is_server_error();
        let wanted = needed || self.level >= Level::INFO;
        wanted.then(|| self.write(&counted, now, Of::Request(answered)))?
    }

    /// The line of an invocation that is no request, and a new beginning; none if nothing was counted.
    #[must_use]
    pub fn event_line(&self, now: DateTime<Utc>, request_id: &str) -> Option<String> {
        let counted = self.take(StatusCode::OK);
        let wanted = is_published(&counted) || (self.level >= Level::INFO && !counted.is_empty());
        wanted.then(|| self.write(&counted, now, Of::Event { request_id }))?
    }

    /// Writes the line of an invocation that is no request, if there is one, to standard output, which Lambda passes on to
    /// CloudWatch. Must come before the reply: Lambda freezes the environment after it.
    pub(crate) fn write_event_line(&self, now: DateTime<Utc>, request_id: &str) {
        if let Some(line) = self.event_line(now, request_id) {
            print_line(line);
        }
    }

    /// What was counted until a reply of this status.
    fn take(&self, status: StatusCode) -> BTreeMap<&'static str, f64> {
        let mut counted = std::mem::take(&mut *self.counted.lock());
        let mut congested = false;
        for signal in CONGESTION {
            congested |= counted.remove(signal).is_some();
        }
        if congested && status == StatusCode::SERVICE_UNAVAILABLE {
            counted.insert(THROTTLED.name, 1.0);
        }
        counted
    }

    fn write(
        &self,
        counted: &BTreeMap<&'static str, f64>,
        now: DateTime<Utc>,
        of: Of<'_>,
    ) -> Option<String> {
        let line = Line {
            counted,
            settings: &self.settings,
            level: self.level,
            now,
            of,
        };
        serde_json::to_string(&line)
            .inspect_err(|error| tracing::error!(%error, "metrics could not be written"))
            .ok()
    }
}

/// Whether CloudWatch makes a metric of any of it.
fn is_published(counted: &BTreeMap<&'static str, f64>) -> bool {
    let mut metrics = counted.keys().filter_map(|name| find(name));
    metrics.any(|metric| metric.scope == Scope::Stack)
}

/// In one piece, so that it is one line of the log whatever else writes there.
pub(crate) fn print_line(mut line: String) {
    line.push('\n');
    // There is nowhere else to complain.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

fn find(name: &str) -> Option<&'static Metric> {
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

/// What a line is about.
enum Of<'a> {
    Request(&'a Answered<'a>),
    Event { request_id: &'a str },
}

/// One line of the log, in the form of all others (`telemetry`), and a document of the embedded metric format if there is a
/// metric in it.
struct Line<'a> {
    counted: &'a BTreeMap<&'static str, f64>,
    settings: &'a MetricsSettings,
    level: Level,
    now: DateTime<Utc>,
    of: Of<'a>,
}

/// The span that a line of the log is in.
#[derive(Serialize)]
struct Span<'a> {
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    xray_trace_id: Option<&'a str>,
    name: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AwsMetadata {
    timestamp: i64,
    cloud_watch_metrics: [Directive; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: [[&'static str; 1]; 1],
    metrics: Vec<Definition>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
}

impl Line<'_> {
    /// Only what is in this line: every metric that is named must be there.
    fn definitions(&self) -> Vec<Definition> {
        let counted = self.counted.keys().filter_map(|name| find(name));
        let published = counted.filter(|metric| metric.scope == Scope::Stack);
        let definition = |metric: &Metric| Definition {
            name: metric.name,
            unit: COUNT,
        };
        published.map(definition).collect()
    }

    fn metadata(&self) -> Option<AwsMetadata> {
        let metrics = self.definitions();
        if metrics.is_empty() {
            return None;
        }
        Some(AwsMetadata {
            timestamp: self.now.timestamp_millis(),
            cloud_watch_metrics: [Directive {
                namespace: NAMESPACE,
                dimensions: [[STACK]],
                metrics,
            }],
        })
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        // Lambda takes a line without a valid level and timestamp for one of INFO, and drops it when only warnings are
        // wanted. A line that is needed has the least severe level that passes.
        let level = self.level.min(Level::INFO);
        let now = self.now.to_rfc3339_opts(SecondsFormat::Millis, true);
        line.serialize_entry("timestamp", &now)?;
        line.serialize_entry("level", level.as_str())?;
        match self.of {
            Of::Request(answered) => {
                line.serialize_entry("method", answered.method.as_str())?;
                line.serialize_entry("route", answered.route)?;
                line.serialize_entry("status", &answered.status.as_u16())?;
                if let Some(code) = answered.code {
                    line.serialize_entry("code", code)?;
                }
                line.serialize_entry("milliseconds", &answered.milliseconds)?;
                if answered.cold_start {
                    line.serialize_entry("cold_start", &true)?;
                }
                line.serialize_entry("message", Answered::MESSAGE)?;
                line.serialize_entry("target", Answered::TARGET)?;
                let span = Span {
                    request_id: &answered.invocation.request_id,
                    xray_trace_id: answered.invocation.trace(),
                    name: "request",
                };
                line.serialize_entry("span", &span)?;
            }
            Of::Event { request_id } => line.serialize_entry("request_id", request_id)?,
        }
        if let Some(metadata) = self.metadata() {
            line.serialize_entry("_aws", &metadata)?;
        }
        if !self.counted.is_empty() {
            line.serialize_entry(STACK, &self.settings.stack)?;
            line.serialize_entry(FUNCTION, &self.settings.function)?;
        }
        for (name, value) in self.counted {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

/// Hands each request's line to `write` before its reply leaves, in place of the one that the service would log.
pub fn one_line_each(
    service: Router,
    emf: Emf,
    clock: Arc<dyn Clock>,
    write: Arc<dyn Fn(String) + Send + Sync>,
) -> Router {
    let log = AnswerLog(Arc::new(move |answered| {
        if let Some(line) = emf.request_line(clock.now(), answered) {
            write(line);
        }
    }));
    service.layer(Extension(log))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use http::Method;
    use latchkey_api::http::Invocation;
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
        let invocation = Invocation {
            request_id: "8476a536".to_owned(),
            xray_trace_id: Some("Root=1-5759e988;Sampled=1".to_owned()),
        };
        let answered = Answered {
            invocation: &invocation,
            method: &Method::POST,
            route: "/v1/auth/login",
            status: StatusCode::from_u16(status).unwrap(),
            code: (status >= 400).then_some("a_problem"),
            milliseconds: 12,
            cold_start: status < 400,
        };
        let line = emf.request_line(noon(), &answered)?;
        Some(serde_json::from_str(&line).unwrap())
    }

    #[test]
    fn a_line_says_how_a_request_was_answered_and_is_a_document_of_the_embedded_metric_format() {
        let emf = emf(Level::INFO);
        metrics::with_local_recorder(&emf, || {
            SIGN_INS.count(1);
            COLD_STARTS.count(1);
            metrics::histogram!(DYNAMODB_READ_UNITS.name).record(1.5);
            metrics::histogram!(DYNAMODB_READ_UNITS.name).record(1.0);
        });
        let answered = json!({
            "timestamp": "2026-03-01T12:00:00.000Z",
            "level": "INFO",
            "method": "POST",
            "route": "/v1/auth/login",
            "status": 200,
            "milliseconds": 12,
            "cold_start": true,
            "message": "answered",
            "target": "latchkey_api::http",
            "span": {"request_id": "8476a536", "xray_trace_id": "1-5759e988", "name": "request"},
        });
        let mut with_metrics = answered.clone();
        let counted = json!({
            "_aws": {
                "Timestamp": 1_772_366_400_000_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "Latchkey",
                    "Dimensions": [["Stack"]],
                    "Metrics": [{"Name": "SignIns", "Unit": "Count"}],
                }],
            },
            "Stack": "auth",
            "Function": "auth-login",
            "SignIns": 1.0,
            "ColdStarts": 1.0,
            "DynamoDbReadUnits": 2.5,
        });
        let counted = counted.as_object().unwrap().clone();
        with_metrics.as_object_mut().unwrap().extend(counted);
        assert_eq!(line(&emf, 200), Some(with_metrics));
        assert_eq!(line(&emf, 200), Some(answered), "a new beginning");
    }

    #[test]
    fn an_event_that_counts_nothing_makes_no_line() {
        let emf = emf(Level::INFO);
        metrics::with_local_recorder(&emf, || {
            REVOCATIONS.count(0);
            metrics::counter!("SomebodyElses").increment(1);
        });
        assert_eq!(emf.event_line(noon(), "8476a536"), None);
        metrics::with_local_recorder(&emf, || REVOCATIONS.count(1));
        let line = emf.event_line(noon(), "8476a536").unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["request_id"], "8476a536");
        assert_eq!(line["Revocations"], 1.0);
        assert_eq!(line["_aws"], Value::Null, "a field of the line alone");
    }

    #[test]
    fn a_congestion_is_counted_only_when_it_has_made_a_503() {
        let emf = emf(Level::INFO);
        for signal in CONGESTION {
            let congest = || metrics::counter!(signal).increment(3);
            let throttled = |status| line(&emf, status).unwrap()["Throttled"].clone();
            metrics::with_local_recorder(&emf, congest);
            assert_eq!(
                throttled(200),
                Value::Null,
                "the attempt after it went well"
            );
            metrics::with_local_recorder(&emf, congest);
            assert_eq!(throttled(503), 1.0);
            assert_eq!(throttled(503), Value::Null, "a 503 of another cause");
        }
    }

    /// What an alarm needs is there whatever Lambda lets through; the rest only if the log is to be as detailed.
    #[test]
    fn a_line_that_is_needed_passes_every_level() {
        for (level, of_the_line, is_detailed) in [
            (Level::TRACE, "INFO", true),
            (Level::INFO, "INFO", true),
            (Level::WARN, "WARN", false),
            (Level::ERROR, "ERROR", false),
        ] {
            let emf = emf(level);
            metrics::with_local_recorder(&emf, || SIGN_INS.count(1));
            assert_eq!(line(&emf, 200).unwrap()["level"], of_the_line);
            assert_eq!(line(&emf, 500).unwrap()["level"], of_the_line);
            metrics::with_local_recorder(&emf, || REVOCATIONS.count(1));
            assert_eq!(line(&emf, 200).is_some(), is_detailed);
            metrics::with_local_recorder(&emf, || REVOCATIONS.count(1));
            assert_eq!(emf.event_line(noon(), "1").is_some(), is_detailed);
        }
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        assert!(CONGESTION.iter().all(|signal| !names.contains(signal)));
        for reserved in [
            "_aws",
            "level",
            "timestamp",
            "request_id",
            "span",
            STACK,
            FUNCTION,
        ] {
            assert!(!names.contains(reserved));
        }
    }
}
