//! A function looks at its own clock, as [`crate::guarantees::clock_difference`] says.

use latchkey_tests::harness::lambda::{Answer, Function, sample_event};
use latchkey_tests::harness::metering::extract;
use serde_json::json;

use crate::guarantees::clock_difference::{dynamodb_at_noon, warnings};

/// By its own clock, which is not at that noon; before its first reply, so that the metric is there whatever the level.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_looks_at_its_own_clock_when_it_starts() {
    let endpoint = dynamodb_at_noon().await;
    let level = [("AWS_LAMBDA_LOG_LEVEL", "WARN")];
    let mut refresh = Function::start_alone("refresh", &endpoint, &level).await;
    for _ in 0..2 {
        let event = sample_event("refresh", &json!({"refresh_token": "nonsense"}));
        let answer = refresh.invoke(&event).await;
        assert!(matches!(answer, Answer::Response(_)), "{answer:?}");
    }
    let log = refresh.log();
    let said = warnings(log.iter().map(String::as_str));
    assert!(matches!(said[..], [ahead] if ahead > 60_000), "{log:?}");
    let metrics = log.iter().filter(|line| line.contains("_aws"));
    let [line] = metrics.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(extract(line)["ClockDifferences"], 1.0);
}
