//! The metrics of a service as CloudWatch would read them: the lines, held against the embedded metric format.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use jsonschema::Validator;
use latchkey_runtime::emf::{self, Emf, NAMESPACE};
use latchkey_runtime::settings::MetricsSettings;
use latchkey_service::metric::{METRICS, Scope};
use serde_json::{Value, json};
use tracing::Level;

use crate::harness::stack::Stack;

/// The stack of tests.
pub const STACK_NAME: &str = "latchkey-tests";
/// The function of tests, which is all of them.
pub const FUNCTION_NAME: &str = "latchkey-tests-all";

/// A recorder for tests; [`metrics::set_default_local_recorder`] makes it that of the test's thread.
#[must_use]
pub fn recorder() -> Emf {
    let settings = MetricsSettings {
        stack: STACK_NAME.to_owned(),
        function: FUNCTION_NAME.to_owned(),
    };
    Emf::new(settings, Level::INFO)
}

/// The lines that were written.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    /// The service whose lines these are. What was counted before is forgotten.
    #[must_use]
    pub fn of(&self, stack: Stack, emf: &Emf) -> Stack {
        drop(emf.event_line(stack.now(), "before"));
        let lines = self.clone();
        let write = Arc::new(move |line| lines.lock().push(line));
        stack.with_metrics(emf.clone(), write)
    }

    /// What was written since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a line counts, by the name of the metric: what CloudWatch would extract, and the fields of the line alone.
///
/// # Panics
/// When a line with metrics is not in the embedded metric format, or CloudWatch would drop a part of it, or it holds a
/// metric that is not in the list, or makes a metric of what is to be a field alone.
#[must_use]
pub fn extract(line: &str) -> BTreeMap<&'static str, f64> {
    assert!(!line.trim_end().contains('\n'), "one line: {line}");
    let root: Value = serde_json::from_str(line).expect("JSON");
    let mut extracted = BTreeMap::new();
    if !root["_aws"].is_null() {
        extract_published(&root, &mut extracted);
    }
    for metric in METRICS.iter().filter(|metric| metric.scope == Scope::Line) {
        if let Some(value) = root[metric.name].as_f64() {
            extracted.insert(metric.name, value);
        }
    }
    // Nothing else is there: it would be paid for as log and be no metric.
    let numbers = root.as_object().expect("valid").iter();
    let numbers = numbers.filter(|(name, value)| {
        value.is_number() && !["status", "milliseconds"].contains(&name.as_str())
    });
    assert_eq!(numbers.count(), extracted.len(), "{line}");
    extracted
}

fn extract_published(root: &Value, extracted: &mut BTreeMap<&'static str, f64>) {
    let errors: Vec<String> = schema()
        .iter_errors(root)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}: {root}");
    let directives = root["_aws"]["CloudWatchMetrics"].as_array().expect("valid");
    for directive in directives {
        assert_eq!(directive["Namespace"], NAMESPACE);
        assert_eq!(directive["Dimensions"], json!([[emf::STACK]]));
        let stack = root[emf::STACK].as_str();
        assert!(stack.is_some_and(|stack| !stack.is_empty()), "{root}");
        for definition in directive["Metrics"].as_array().expect("valid") {
            let name = definition["Name"].as_str().expect("valid");
            let metric = METRICS.iter().find(|metric| metric.name == name);
            let metric = metric.unwrap_or_else(|| panic!("{name} is not in the list"));
            assert_eq!(metric.scope, Scope::Stack, "{name}");
            assert_eq!(definition["Unit"], "Count", "{name}");
            let value = root[name].as_f64().expect("the root node has the value");
            assert_eq!(extracted.insert(metric.name, value), None, "{name} twice");
        }
    }
}

/// The document structure of "Specification: Embedded metric format" in CloudWatch's user guide, with the limits of the
/// metrics themselves (30 dimensions, 100 definitions).
fn schema() -> &'static Validator {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = |most: u32| json!({"type": "string", "minLength": 1, "maxLength": most});
        let units = [
            "Seconds",
            "Microseconds",
            "Milliseconds",
            "Bytes",
            "Kilobytes",
            "Megabytes",
            "Gigabytes",
            "Terabytes",
            "Bits",
            "Kilobits",
            "Megabits",
            "Gigabits",
            "Terabits",
            "Percent",
            "Count",
            "Bytes/Second",
            "Kilobytes/Second",
            "Megabytes/Second",
            "Gigabytes/Second",
            "Terabytes/Second",
            "Bits/Second",
            "Kilobits/Second",
            "Megabits/Second",
            "Gigabits/Second",
            "Terabits/Second",
            "Count/Second",
            "None",
        ];
        let definition = json!({
            "type": "object",
            "required": ["Name"],
            "additionalProperties": false,
            "properties": {
                "Name": text(1024),
                "Unit": {"enum": units},
                "StorageResolution": {"enum": [1, 60]},
            },
        });
        let directive = json!({
            "type": "object",
            "required": ["Namespace", "Dimensions", "Metrics"],
            "additionalProperties": false,
            "properties": {
                "Namespace": text(1024),
                "Dimensions": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "array", "maxItems": 30, "items": text(250)},
                },
                "Metrics": {"type": "array", "minItems": 1, "maxItems": 100, "items": definition},
            },
        });
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "required": ["_aws"],
            "properties": {
                "_aws": {
                    "type": "object",
                    "required": ["Timestamp", "CloudWatchMetrics"],
                    "additionalProperties": false,
                    "properties": {
                        "Timestamp": {"type": "integer"},
                        "CloudWatchMetrics": {"type": "array", "minItems": 1, "items": directive},
                    },
                },
            },
        });
        jsonschema::validator_for(&schema).expect("a schema")
    })
}
