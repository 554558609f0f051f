//! Dashboard, alarms and log filters look at what the code writes. An alarm for something else would stay silent.

use std::collections::BTreeSet;

use latchkey_service::metric::{METRICS, Scope};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::stack::Stack;
use latchkey_tests::harness::template::{WATCH, read, template};
use serde_json::{Value, json};

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

    let watch = read(WATCH);
    let dashboard = &watch["Resources"]["Dashboard"]["Properties"]["DashboardBody"];
    let body: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
    let (mut by_stack, mut by_function) = (BTreeSet::new(), BTreeSet::new());
    for widget in body["widgets"].as_array().unwrap() {
        for row in widget["properties"]["metrics"].as_array().unwrap() {
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
    }
    assert_eq!(by_stack, written(Scope::Stack));
    assert_eq!(by_function, written(Scope::Function));
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

    let log = Log::capture_json();
    tracing::error!("a person has to look");
    let written: Value = serde_json::from_str(&log.end()).unwrap();
    assert_eq!(written["level"], "ERROR");
}
