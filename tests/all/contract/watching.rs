//! Dashboard, alarms and log filters look at what the code writes. An alarm for something else would stay silent.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use latchkey_api::http::{Answered, Invocation};
use latchkey_domain::clock::{Clock as _, SystemClock};
use latchkey_runtime::emf::Emf;
use latchkey_runtime::settings::MetricsSettings;
use latchkey_runtime::telemetry;
use latchkey_service::metric::{METRICS, Scope};
use latchkey_tests::harness::log::{Log, lines_with};
use latchkey_tests::harness::metering::{Lines, recorder};
use latchkey_tests::harness::stack::Stack;
use latchkey_tests::harness::template::{WATCH, read, root, template};
use serde_json::{Value, json};
use tracing::Level;

/// The metrics that an alarm watches: its own, or those that its expression adds up. It costs for each of them.
fn watched(alarm: &Value) -> Vec<Value> {
    let sums = alarm["Metrics"].as_array().into_iter().flatten();
    let parts: Vec<Value> = sums
        .map(|part| part["MetricStat"]["Metric"].clone())
        .filter(|metric| !metric.is_null())
        .collect();
    if parts.is_empty() {
        vec![alarm.clone()]
    } else {
        parts
    }
}

/// The properties of all resources of a type, of both templates.
fn all_of(kind: &str) -> Vec<Value> {
    let templates = [template(), read(WATCH)];
    let resources = templates
        .iter()
        .flat_map(|template| template["Resources"].as_object().unwrap().values());
    let of_kind = resources.filter(|resource| resource["Type"] == kind);
    of_kind
        .map(|resource| resource["Properties"].clone())
        .collect()
}

/// The graphs of the dashboard.
fn widgets() -> Vec<Value> {
    let watch = read(WATCH);
    let dashboard = &watch["Resources"]["Dashboard"]["Properties"]["DashboardBody"];
    let body: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
    body["widgets"].as_array().unwrap().clone()
}

/// The lines of the graphs of metrics.
fn dashboard_rows() -> Vec<Value> {
    let widgets = widgets();
    let metrics = widgets.iter().filter(|widget| widget["type"] == "metric");
    let rows = metrics.flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap());
    rows.cloned().collect()
}

fn written(scope: Scope) -> BTreeSet<String> {
    let of_scope = METRICS.iter().filter(|metric| metric.scope == scope);
    of_scope.map(|metric| metric.name.to_owned()).collect()
}

#[test]
fn dashboard_and_alarms_show_the_metrics_that_the_code_writes() {
    let alarms = all_of("AWS::CloudWatch::Alarm");
    let alarmed: BTreeSet<String> = alarms
        .iter()
        .flat_map(watched)
        .filter(|metric| metric["Namespace"] == "Latchkey")
        .map(|metric| metric["MetricName"].as_str().unwrap().to_owned())
        .collect();
    assert!(alarmed.len() > 4, "{alarmed:?}");
    // Somebody may have the secret: whoever is called must not have to look for it among other lines at ERROR.
    assert!(alarmed.contains("TokenAhead"), "{alarmed:?}");
    assert!(alarmed.is_subset(&written(Scope::Stack)), "{alarmed:?}");

    let own = dashboard_rows()
        .into_iter()
        .filter(|row| row[0] == "Latchkey");
    let by_stack: BTreeSet<String> = own
        .map(|row| {
            assert_eq!(
                (&row[2], &row[3]),
                (&json!("Stack"), &json!("${StackName}"))
            );
            row[1].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(by_stack, written(Scope::Stack));

    // What is no metric is added up from the lines.
    let mut added_up = BTreeSet::new();
    for widget in widgets().iter().filter(|widget| widget["type"] == "log") {
        let query = widget["properties"]["query"].as_str().unwrap();
        assert!(query.starts_with("SOURCE '${LogGroupName}' | "), "{query}");
        let sums = query.split("sum(").skip(1);
        added_up.extend(sums.map(|sum| sum.split_once(')').unwrap().0.to_owned()));
    }
    assert_eq!(added_up, written(Scope::Line));
}

/// The page says what watching costs, by the numbers at the head of the script that computes it.
#[test]
fn the_script_of_the_costs_counts_what_is_paid_for() {
    let script = include_str!("../../../infra/scripts/cost");
    let constant = |name: &str| -> usize {
        let start = format!("{name} = ");
        let line = script.lines().find_map(|line| line.strip_prefix(&start));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.parse().unwrap()
    };
    let from_logs = all_of("AWS::Logs::MetricFilter").len();
    assert_eq!(constant("METRICS"), written(Scope::Stack).len() + from_logs);
    let alarms = all_of("AWS::CloudWatch::Alarm");
    let watched: usize = alarms.iter().map(|alarm| watched(alarm).len()).sum();
    assert_eq!(constant("ALARMED_METRICS"), watched);
    assert_eq!(all_of("AWS::CloudWatch::Dashboard").len(), 1);
}

/// The names of the resources of the functions.
fn resources_of_functions() -> BTreeSet<String> {
    let template = template();
    let resources = template["Resources"].as_object().unwrap().iter();
    let functions = resources.filter(|(_, one)| one["Type"] == "AWS::Serverless::Function");
    functions.map(|(name, _)| name.clone()).collect()
}

/// Nobody hears of a function whose failures are logged elsewhere, or not at all.
#[test]
fn the_alarm_on_failed_invocations_reads_the_line_that_lambda_writes_of_every_function() {
    let template = template();
    let filter = &template["Resources"]["FunctionErrorsFilter"]["Properties"];
    assert_eq!(filter["LogGroupName"], "LogGroup");
    assert_eq!(
        filter["FilterPattern"],
        r#"{ $.type = "platform.report" && $.record.status != "success" && ($.record.errorType NOT EXISTS || $.record.errorType != "Runtime.Unknown") }"#
    );
    let log = json!({
        "LogGroup": "LogGroup", "LogFormat": "JSON", "ApplicationLogLevel": "LogLevel",
        "SystemLogLevel": "PlatformLogLevel",
    });
    assert_eq!(template["Globals"]["Function"]["LoggingConfig"], log);
    for name in resources_of_functions() {
        let own = &template["Resources"][&name]["Properties"]["LoggingConfig"];
        assert!(own.is_null(), "{name}");
    }
    // At each of these Lambda writes the line of an invocation that has failed.
    let level = &template["Parameters"]["PlatformLogLevel"];
    assert_eq!(level["AllowedValues"], json!(["DEBUG", "INFO", "WARN"]));
}

#[test]
fn the_dashboard_shows_every_function() {
    let all = resources_of_functions();
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

/// The line of a request as a function writes it, and as the log has it elsewhere.
#[tokio::test]
async fn the_alarm_on_server_errors_reads_the_line_that_ends_each_request() {
    let template = template();
    let filter = &template["Resources"]["ServerErrorsFilter"]["Properties"];
    assert_eq!(filter["LogGroupName"], "LogGroup");
    assert_eq!(
        filter["FilterPattern"],
        r#"{ $.message = "answered" && $.status >= 500 && $.Throttled NOT EXISTS }"#
    );
    assert!(written(Scope::Line).contains("Throttled"));

    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let lines = Lines::default();
    let on_lambda = lines.of(Stack::start().await, &emf);
    let log = Log::capture_json();
    for stack in [&on_lambda, &Stack::start().await] {
        stack
            .try_login("ada@example.com", "a wrong password")
            .await
            .expect_problem(401, "invalid_credentials");
    }
    let logged = lines_with(&log.end(), "answered");
    let [logged] = logged.try_into().unwrap();
    let [line] = lines.take().try_into().unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    for field in [
        "message", "level", "target", "method", "route", "status", "code",
    ] {
        assert_eq!(line[field], logged[field], "{field}");
    }
    assert_eq!(line["status"], json!(401));
    for (name, value) in logged.as_object().unwrap() {
        assert_eq!(line[name].is_null(), value.is_null(), "{name}");
    }
    let (span, other) = (&line["span"], &logged["span"]);
    assert!(
        span.as_object()
            .unwrap()
            .keys()
            .eq(other.as_object().unwrap().keys())
    );
    assert_eq!(line["SignInFailures"], json!(1.0));
}

#[test]
fn the_alarm_on_error_lines_reads_the_level_as_it_is_written() {
    let watch = read(WATCH);
    let filter = &watch["Resources"]["ErrorLinesFilter"]["Properties"];
    // A line of counts, and the one that ends a request, have the least severe level that is logged: ERROR, if no other is.
    let message = Answered::MESSAGE;
    let pattern = format!(
        r#"{{ ($.level = "ERROR") && ($._aws NOT EXISTS) && ($.message != "{message}") }}"#
    );
    assert_eq!(filter["FilterPattern"], pattern);
    let settings = MetricsSettings {
        stack: "auth".to_owned(),
        function: "auth-login".to_owned(),
    };
    let emf = Emf::new(settings, Level::ERROR);
    let line = emf.request_line(
        SystemClock.now(),
        &Answered {
            invocation: &Invocation {
                request_id: "8476a536".to_owned(),
                xray_trace_id: None,
            },
            method: &Method::POST,
            route: "/v1/auth/login",
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: Some("service_unavailable"),
            milliseconds: 12,
            cold_start: false,
        },
    );
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert_eq!(line["message"], message);

    // By the very layer that a function writes its log with.
    let log = Log::capture_json();
    tracing::error!("a person has to look");
    let written: Value = serde_json::from_str(&log.end()).unwrap();
    assert_eq!(written["level"], "ERROR");
}
