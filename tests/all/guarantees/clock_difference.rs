//! A function whose clock is not DynamoDB's says so, by the `Date` of the replies, once a minute.

use std::sync::Arc;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use axum::Json;
use chrono::TimeDelta;
use http::header::DATE;
use latchkey_domain::clock::ManualClock;
use latchkey_domain::id::UserId;
use latchkey_domain::random::SeededRandom;
use latchkey_store::Store;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::metering::{extract, recorder};
use latchkey_tests::harness::stack::{TABLE, noon};
use serde_json::{Value, json};

const WARNING: &str = "the clock of this function is more than 2 seconds from DynamoDB's";

/// A DynamoDB that finds nothing, and whose clock stands at noon.
pub(crate) async fn dynamodb_at_noon() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let noon = noon().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let router = axum::Router::new().fallback(async move || ([(DATE, noon)], Json(json!({}))));
    tokio::spawn(async move { axum::serve(listener, router).await });
    endpoint
}

fn connect(endpoint: &str, clock: Arc<ManualClock>) -> Store {
    let credentials = Credentials::new("a", "b", None, None, "tests");
    let sdk = aws_types::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let random = Arc::new(SeededRandom::new(1));
    Store::connect(&sdk, Some(endpoint), TABLE, clock, random)
}

/// How far ahead a clock is said to be by each line.
pub(crate) fn warnings<'a>(log: impl IntoIterator<Item = &'a str>) -> Vec<i64> {
    log.into_iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["message"] == WARNING)
        .map(|line| {
            assert_eq!(line["level"], "WARN");
            line["milliseconds_ahead"].as_i64().unwrap()
        })
        .collect()
}

#[tokio::test]
async fn a_clock_that_is_not_that_of_dynamodb_is_told_of_once_a_minute() {
    let endpoint = dynamodb_at_noon().await;
    let user = UserId::random(&SeededRandom::new(2));
    for (ahead, said) in [
        (0, vec![]),
        (2_999, vec![]),
        // A second may have passed since the header's.
        (3_001, vec![2_001, 62_001]),
        (600_000, vec![599_000, 659_000]),
        (-2_000, vec![]),
        (-70_000, vec![-70_000, -10_000]),
    ] {
        let emf = recorder();
        let _recording = metrics::set_default_local_recorder(&emf);
        let clock = Arc::new(ManualClock::starting_at(noon()));
        clock.advance(TimeDelta::milliseconds(ahead));
        let store = connect(&endpoint, clock.clone());
        let log = Log::capture_json();
        for pause in [0, 0, 59, 1] {
            clock.advance(TimeDelta::seconds(pause));
            assert_eq!(store.read_account(user).await, Ok(None));
        }
        let log = log.end();
        // With a right clock the minute makes it wrong, for DynamoDB's stands still here.
        let said = if said.is_empty() {
            vec![ahead + 59_000]
        } else {
            said
        };
        assert_eq!(warnings(log.lines()), said, "{ahead}");
        let line = emf.event_line(noon(), "the requests").unwrap();
        let times = u32::try_from(said.len()).unwrap();
        assert_eq!(extract(&line)["ClockDifferences"], f64::from(times));
    }
}
