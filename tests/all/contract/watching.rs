//! Dashboard, alarms and log filters look at what the code writes. An alarm for something else would stay silent.

use std::collections::{BTreeMap, BTreeSet};

use latchkey_runtime::telemetry;
use latchkey_service::metric::{METRICS, Scope};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::stack::Stack;
use latchkey_tests::harness::template::{WATCH, read, root, template};
use serde_json::{Value, json};
use tracing::Level;

/// The metrics of the code that a template's alarms watch.
fn alarmed(template: &Value) -> BTreeSet<String> {
    let resources = template["Resources"].as_object().unwrap();
    resources
        .values()
        .map(|resource| &resource["Properties"])
        .filter(|properties| properties["Namespace"] == "Latchkey")
        .map(|properties| properties["MetricName"].as_str().unwrap().to_owned())
        .collect()
}

/// The lines of all graphs of the dashboard.
fn dashboard_rows() -> Vec<Value> {
    let watch = read(WATCH);
    let dashboard = &watch["Resources"]["Dashboard"]["Properties"]["DashboardBody"];
    let body: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
    let widgets = body["widgets"].as_array().unwrap().iter();
    let rows = widgets.flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap());
    rows.cloned().collect()
}

#[test]
fn dashboard_and_alarms_show_the_metrics_that_the_code_writes() {
    let written = |scope: Scope| -> BTreeSet<String> {
        let of_scope = METRICS.iter().filter(|metric| metric.scope == scope);
        of_scope.map(|metric| metric.name.to_owned()).collect()
    };
    for template in [template(), read(WATCH)] {
        let alarmed = alarmed(&template);
        assert!(!alarmed.is_empty());
        assert!(alarmed.is_subset(&written(Scope::Stack)), "{alarmed:?}");
    }

    let (mut by_stack, mut by_function) = (BTreeSet::new(), BTreeSet::new());
    for row in dashboard_rows() {
        if row[0] == "Latchkey" {
            by_stack.insert(row[1].as_str().unwrap().to_owned());
        } else if let Some(search) = row[0]["expression"].as_str() {
            assert!(
                search.starts_with("SEARCH('{Latchkey,Stack,Function} MetricName=\""),
                "{search}"
            );
            by_function.insert(search.split('"').nth(1).unwrap().to_owned());
        }
    }
    assert_eq!(by_stack, written(Scope::Stack));
    assert_eq!(by_function, written(Scope::Function));
}

/// The functions of the template by the names of their resources, with whether they answer over HTTP.
fn resources_of_functions() -> BTreeMap<String, bool> {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    resources
        .iter()
        .filter(|(_, resource)| resource["Type"] == "AWS::Serverless::Function")
        .map(|(name, function)| {
            let mut events = function["Properties"]["Events"]
                .as_object()
                .into_iter()
                .flatten();
            let answers = events.any(|(_, event)| event["Type"] == "HttpApi");
            (name.clone(), answers)
        })
        .collect()
}

/// The functions whose metric the alarms of the templates watch, each as often as it is watched.
fn watched_by_alarms(metric: &str) -> Vec<String> {
    let mut watched = Vec::new();
    for template in [template(), read(WATCH)] {
        for resource in template["Resources"].as_object().unwrap().values() {
            let alarm = &resource["Properties"];
            let sums = alarm["Metrics"].as_array().into_iter().flatten();
            let parts = sums.map(|part| &part["MetricStat"]["Metric"]);
            for part in parts.chain([alarm]) {
                if part["Namespace"] == "AWS/Lambda" && part["MetricName"] == metric {
                    let name = &part["Dimensions"][0];
                    assert_eq!(name["Name"], "FunctionName");
                    watched.push(name["Value"].as_str().unwrap().to_owned());
                }
            }
        }
    }
    watched.sort();
    watched
}

/// Nobody hears of a function that no alarm watches; one that two alarms watch rings twice.
#[test]
fn every_function_is_in_one_alarm_on_errors_and_every_route_in_one_on_throttles() {
    let functions = resources_of_functions();
    let all: Vec<String> = functions.keys().cloned().collect();
    assert_eq!(watched_by_alarms("Errors"), all);
    let answering = functions.into_iter().filter(|(_, answers)| *answers);
    let answering: Vec<String> = answering.map(|(name, _)| name).collect();
    let throttled = watched_by_alarms("Throttles");
    let missing: Vec<_> = answering
        .iter()
        .filter(|name| !throttled.contains(name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_dashboard_shows_every_function() {
    let all: BTreeSet<String> = resources_of_functions().into_keys().collect();
    for metric in ["Errors", "ConcurrentExecutions", "Throttles"] {
        let shown: BTreeSet<String> = dashboard_rows()
            .iter()
            .filter(|row| row[0] == "AWS/Lambda" && row[1] == metric)
            .map(|row| row[3].as_str().unwrap().replace(['$', '{', '}'], ""))
            .collect();
        assert_eq!(shown, all, "{metric}");
    }
}

/// What a crate that the filter does not name logs at `INFO` is lost, and nobody notices.
#[test]
fn the_log_hears_every_crate_of_ours_and_of_libraries_their_warnings() {
    let filter = telemetry::filter(Level::INFO);
    let folders = ["functions", "shared"].map(|folder| root().join(folder));
    let manifests = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path().join("Cargo.toml"));
    let mut heard = 0;
    for manifest in manifests {
        let text = std::fs::read_to_string(&manifest).unwrap();
        let name = text.lines().find_map(|line| line.strip_prefix("name = \""));
        let target = name.unwrap().trim_end_matches('"').replace('-', "_");
        assert!(filter.would_enable(&target, &Level::INFO), "{target}");
        assert!(!filter.would_enable(&target, &Level::DEBUG), "{target}");
        heard += 1;
    }
    assert!(heard > 10, "{heard}");
    assert!(!filter.would_enable("hyper", &Level::INFO));
    assert!(filter.would_enable("hyper", &Level::WARN));
}

#[tokio::test]
async fn the_alarm_on_server_errors_reads_the_line_that_ends_each_request() {
    let template = template();
    let filter = &template["Resources"]["ServerErrorsFilter"]["Properties"];
    assert_eq!(filter["LogGroupName"], "LogGroup");
    assert_eq!(
        filter["FilterPattern"],
        r#"{ $.message = "answered" && $.status >= 500 }"#
    );

    let log = Log::capture_json();
    let stack = Stack::start().await;
    stack
        .try_login("ada@example.com", "a wrong password")
        .await
        .expect_problem(401, "invalid_credentials");
    let written = log.end();
    let answered: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["message"] == "answered")
        .collect();
    assert_eq!(answered.len(), 1, "{written}");
    assert_eq!(answered[0]["status"], json!(401));
}

#[test]
fn the_alarm_on_error_lines_reads_the_level_as_it_is_written() {
    let watch = read(WATCH);
    let filter = &watch["Resources"]["ErrorLinesFilter"]["Properties"];
    assert_eq!(filter["FilterPattern"], r#"{ $.level = "ERROR" }"#);

    // By the very layer that a function writes its log with.
    let log = Log::capture_json();
    tracing::error!("a person has to look");
    let written: Value = serde_json::from_str(&log.end()).unwrap();
    assert_eq!(written["level"], "ERROR");
}
