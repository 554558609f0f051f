//! The real binaries, run as Lambda runs them, with the sample events of `infra/samples`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::Method;
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::random::SystemRandom;
use latchkey_store::Store;
use latchkey_tests::harness::administrators;
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::dynamodb::ListeningDynamoDb;
use latchkey_tests::harness::events;
use latchkey_tests::harness::lambda::{
    Answer, FUNCTION_ERROR_TYPE, Function, TRACE_ID, add_sample_client, is_emulated,
    sample_event as event,
};
use latchkey_tests::harness::metering::extract;
use latchkey_tests::harness::reply::Reply;
use latchkey_tests::harness::secrets_manager::FakeSecretsManager;
use latchkey_tests::harness::stack::{PASSWORD, SECRET, TABLE};
use latchkey_tests::harness::template::ON_TABLE;
use serde_json::{Value, json};

async fn invoke(function: &mut Function, name: &str, tokens: &Value) -> Reply {
    let event = event(name, tokens);
    let Answer::Response(response) = function.invoke(&event).await else {
        panic!("{name} is answered");
    };
    let mut headers = http::HeaderMap::new();
    for (header, value) in response["headers"].as_object().unwrap() {
        let header: http::HeaderName = header.parse().unwrap();
        headers.insert(header, value.as_str().unwrap().parse().unwrap());
    }
    let body = response["body"].as_str().unwrap_or_default();
    let status = u16::try_from(response["statusCode"].as_u64().unwrap()).unwrap();
    let reply = Reply {
        request: None,
        status: status.try_into().unwrap(),
        headers,
        body: serde_json::from_str(body).unwrap_or_default(),
        bytes: body.as_bytes().to_vec(),
    };
    let method: Method = event["requestContext"]["http"]["method"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    conformity::check(&method, event["rawPath"].as_str().unwrap(), &reply);
    reply
}

/// What each event is answered with, in the order of a visit.
const VISIT: [(&str, &str, u16); 48] = [
    ("register", "register", 201),
    ("login", "login", 200),
    ("admin", "admin-users", 200),
    ("admin", "admin-user", 200),
    ("admin", "admin-update", 200),
    ("admin", "admin-password-reset", 202),
    ("admin", "admin-user-sessions", 200),
    ("admin", "admin-user-activity", 200),
    ("admin", "admin-session", 200),
    ("admin", "admin-revoke-many", 200),
    ("admin", "admin-delete", 204),
    ("admin", "admin-revoke", 204),
    ("login", "login", 200),
    ("admin", "admin-revoke-all", 200),
    ("login", "login", 200),
    ("list-sessions", "list-sessions", 200),
    ("list-sessions", "list-sessions-current", 200),
    ("rename", "rename", 200),
    ("account", "account-me", 200),
    ("activity", "activity-export", 200),
    ("activity", "activity", 200),
    ("recovery", "recovery-send-verification", 202),
    ("recovery", "recovery-email", 202),
    ("recovery", "recovery-verify", 204),
    ("recovery", "recovery-request", 202),
    ("refresh", "refresh", 200),
    ("revoke-all", "revoke-all", 200),
    ("revoke-all", "revoke-all-expired", 200),
    ("account", "account-reauthenticate", 200),
    ("account", "account-password", 200),
    ("revoke", "revoke", 204),
    ("login", "login-again", 200),
    ("revoke", "revoke-logout", 204),
    ("login", "login-again", 200),
    ("clients", "clients-introspect", 200),
    ("clients", "clients-revoke", 200),
    ("clients", "clients-issue-link", 200),
    ("recovery", "recovery-reset", 204),
    ("clients", "clients-issue-session", 201),
    ("login", "login-again", 200),
    ("account", "account-delete", 204),
    ("discovery", "discovery-jwks", 200),
    ("discovery", "discovery-openid", 200),
    ("discovery", "discovery-oauth", 200),
    ("discovery", "discovery-openapi", 200),
    ("discovery", "discovery-change-password", 302),
    ("discovery", "discovery-not-found", 404),
    ("console", "console-admin", 404),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_function_answers_its_sample_events() {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    add_sample_client(dynamodb.client()).await;
    let mut used = BTreeSet::new();
    let mut functions = std::collections::BTreeMap::new();
    let mut tokens = json!({});
    let mut password = Value::Null;
    for (function, sample, status) in VISIT {
        if !functions.contains_key(function) {
            functions.insert(
                function,
                Function::start(function, &dynamodb.endpoint, &[]).await,
            );
        }
        let mut who = tokens.clone();
        if sample == "admin-delete" {
            // Administrators do not delete themselves there.
            let mut other = event("register", &tokens);
            other["body"] =
                json!(json!({"email": "bob@example.com", "password": PASSWORD}).to_string());
            let register = functions.get_mut("register").unwrap();
            let Answer::Response(response) = register.invoke(&other).await else {
                panic!("bob registers");
            };
            let bob: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
            who["user"] = bob["user"].clone();
        }
        if sample.starts_with("recovery") {
            // As whoever sends mail makes them.
            let random = Arc::new(SystemRandom);
            let store = Store::new(client.clone(), TABLE, random);
            let user = tokens["user"]["id"].as_str().unwrap().parse().unwrap();
            let account = store.read_account(user).await.unwrap().unwrap();
            let keys = latchkey_tests::harness::stack::tokens();
            let now = SystemClock.now();
            for (name, link) in [
                ("reset_token", account.reset_link()),
                ("verify_token", account.verification_link()),
            ] {
                let token = keys.issue_link(&link.unwrap(), now).unwrap();
                who[name] = json!(token.expose());
            }
        }
        let function = functions.get_mut(function).unwrap();
        let reply = match sample {
            // With the password as `account-password` left it.
            "login-again" => {
                let mut again = event("login", &tokens);
                again["body"] =
                    json!(json!({"email": "ada@example.com", "password": password}).to_string());
                let Answer::Response(response) = function.invoke(&again).await else {
                    panic!("{sample} is answered");
                };
                assert_eq!(response["statusCode"], 200, "{response}");
                tokens = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
                continue;
            }
            "account-delete" => {
                let mut delete = event(sample, &tokens);
                delete["body"] = json!(json!({"password": password}).to_string());
                let answer = function.invoke(&delete).await;
                assert!(
                    matches!(answer, Answer::Response(response) if response["statusCode"] == 204)
                );
                used.insert(sample.to_owned());
                continue;
            }
            sample => invoke(function, sample, &who).await,
        };
        assert_eq!(reply.status.as_u16(), status, "{sample}: {}", reply.body);
        used.insert(sample.to_owned());
        if sample == "clients-introspect" {
            assert_eq!(reply.body["active"], true, "{}", reply.body);
        }
        // Once somebody is signed in.
        if sample == "list-sessions" {
            let start = Function::start("authorizer", &dynamodb.endpoint, &[]);
            let mut authorizer = start.await;
            let allowed = authorizer
                .invoke(&event("authorizer-allowed", &tokens))
                .await;
            let expected = json!({
                "isAuthorized": true,
                "context": {
                    "user_id": tokens["user"]["id"],
                    "session_id": tokens["session"]["id"],
                    "scope": "account admin",
                    "auth_time": authenticated_at(&tokens),
                    "client_id": "latchkey-app",
                    "amr": "pwd",
                },
            });
            assert_eq!(allowed, Answer::Response(expected));
            let denied = authorizer
                .invoke(&event("authorizer-denied", &tokens))
                .await;
            assert_eq!(denied, Answer::Response(json!({"isAuthorized": false})));
            used.extend(["authorizer-allowed", "authorizer-denied"].map(str::to_owned));
        }
        if sample == "account-password" || sample == "recovery-reset" {
            let body: Value =
                serde_json::from_str(event(sample, &tokens)["body"].as_str().unwrap()).unwrap();
            password = body["new_password"].clone();
        }
        if sample == "register" {
            let user = reply.body["user"]["id"].as_str().unwrap().parse().unwrap();
            let random = Arc::new(SystemRandom);
            let store = Store::new(client.clone(), TABLE, random);
            administrators::grant(&store, user, SystemClock.now()).await;
        }
        if reply.body["access_token"].is_string() {
            tokens = reply.body.clone();
            assert_eq!(
                tokens["session"]["ip_address"], "203.0.113.7",
                "API Gateway's word for it"
            );
        }
    }
    let docs = invoke(
        functions.get_mut("discovery").unwrap(),
        "discovery-docs",
        &tokens,
    )
    .await;
    assert_eq!(docs.status.as_u16(), 200);
    used.insert("discovery-docs".to_owned());
    let mut console = Function::start("console", &dynamodb.endpoint, &[("TOKEN_SECRET", "")]).await;
    let page = invoke(&mut console, "console-account", &tokens).await;
    assert_eq!(page.status.as_u16(), 200);
    used.insert("console-account".to_owned());

    let mut cleanup = Function::start("cleanup", &dynamodb.endpoint, &[("TOKEN_SECRET", "")]).await;
    let Answer::Response(report) = cleanup.invoke(&event("cleanup", &tokens)).await else {
        panic!("the cleanup is answered");
    };
    assert_eq!(
        (&report["complete"], &report["accounts"]),
        // Who signed in elsewhere: an address was deleted with its account, an identity was not.
        (&json!(true), &json!(1)),
        "{report}"
    );
    used.insert("cleanup".to_owned());
    rotate_keys().await;
    used.insert("rotate-keys".to_owned());
    // By the tests of events and of mail.
    used.extend(["events", "notify"].map(str::to_owned));

    let samples: BTreeSet<String> =
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/samples"))
            .unwrap()
            .filter_map(|entry| {
                entry
                    .unwrap()
                    .file_name()
                    .into_string()
                    .unwrap()
                    .strip_suffix(".json")
                    .map(str::to_owned)
            })
            .collect();
    assert_eq!(used, samples, "every sample event is used");
}

/// The function reads what the local stack reads too, by the same names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_password_is_made_of_the_words_of_the_settings() {
    let dynamodb = ListeningDynamoDb::start().await;
    latchkey_store::table::create_if_missing(&dynamodb.client(), TABLE)
        .await
        .unwrap();
    let words = [("PASSWORD_CONTEXT_WORDS", "orchard")];
    let mut register = Function::start("register", &dynamodb.endpoint, &words).await;
    let mut sample = event("register", &Value::Null);
    sample["body"] =
        json!(json!({"email": "ada@example.com", "password": "Orchard-2026"}).to_string());
    let Answer::Response(reply) = register.invoke(&sample).await else {
        panic!("it is answered");
    };
    assert_eq!(reply["statusCode"], 422, "{reply}");
    assert!(reply["body"].as_str().unwrap().contains("weak_password"));
}

/// The sample becomes one request to EventBridge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_becomes_one_request_to_event_bridge() {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    let (endpoint, mut requests) = event_bridge().await;
    let settings = [
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", endpoint.as_str()),
        ("EVENT_BUS_NAME", "auth-prod"),
        ("TOKEN_SECRET", ""),
        ("ACTIVITY_DAYS", "3660"),
    ];
    let mut function = Function::start("events", &dynamodb.endpoint, &settings).await;
    let batch = event("events", &Value::Null);
    // The activity is of an account that is there.
    let image: serde_dynamo::Item =
        serde_json::from_value(batch["Records"][0]["dynamodb"]["NewImage"].clone()).unwrap();
    let put = client.put_item().table_name(TABLE);
    put.set_item(Some(image.into())).send().await.unwrap();
    let answer = function.invoke(&batch).await;
    assert_eq!(answer, Answer::Response(json!({"batchItemFailures": []})));
    let items = client.scan().table_name(TABLE).send().await.unwrap().items;
    let items = items.unwrap_or_default().into_iter();
    let entries = items.filter(|item| item["pk"].as_s().unwrap().starts_with("ACTIVITY#"));
    let mut types: Vec<String> = entries
        .map(|entry| entry["type"].as_s().unwrap().clone())
        .collect();
    types.sort();
    assert_eq!(types, ["session.created", "user.created"]);
    let (target, request) = requests.try_recv().unwrap();
    assert_eq!(target, "AWSEvents.PutEvents");
    let entries = request["Entries"].as_array().unwrap();
    let types: Vec<&Value> = entries.iter().map(|entry| &entry["DetailType"]).collect();
    assert_eq!(types, ["user.created", "session.created"]);
    for entry in entries {
        assert_eq!(
            [&entry["EventBusName"], &entry["Source"]],
            ["auth-prod", "latchkey"]
        );
        let event: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        events::check(&event);
        assert_eq!(
            (&event["type"], &event["time"]),
            (&entry["DetailType"], &json!("2026-03-01T12:00:00.123Z"))
        );
    }
}

/// EventBridge takes events for a bus that does not exist, and they are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_for_a_bus_that_does_not_exist() {
    let (endpoint, mut requests) = event_bridge().await;
    let settings = [
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", endpoint.as_str()),
        ("EVENT_BUS_NAME", MISSING_BUS),
        ("TOKEN_SECRET", ""),
        ("ACTIVITY_DAYS", "0"),
    ];
    let mut function = Function::start("events", "http://127.0.0.1:1", &settings).await;
    let Answer::Response(answer) = function.invoke(&event("events", &Value::Null)).await else {
        panic!("it is answered");
    };
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 1);
    assert!(requests.try_recv().is_err(), "nothing is put");
}

/// What can be put right is waited for, and what will never be taken is put aside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_event_bridge_answers_decides() {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    let (endpoint, _requests) = event_bridge().await;
    let settings = [
        ("AWS_ENDPOINT_URL_EVENTBRIDGE", endpoint.as_str()),
        ("EVENT_BUS_NAME", "auth-prod"),
        ("TOKEN_SECRET", ""),
    ];
    let mut function = Function::start("events", &dynamodb.endpoint, &settings).await;
    for (at, refused_as) in [
        (FULL, None),
        (FORBIDDEN, None),
        (GONE, None),
        (MALFORMED, Some("MalformedDetail")),
        (INVALID, Some("InvalidArgument")),
        (INVALID_REQUEST, Some("ValidationException")),
        (UNREADABLE_REQUEST, Some("SerializationException")),
    ] {
        let mut batch = event("events", &Value::Null);
        for record in batch["Records"].as_array_mut().unwrap() {
            let image = record["dynamodb"]["NewImage"].as_object_mut().unwrap();
            image["created_at"] = json!({"N": at.to_string()});
        }
        let Answer::Response(answer) = function.invoke(&batch).await else {
            panic!("it is answered");
        };
        let failures = answer["batchItemFailures"].as_array().unwrap();
        assert_eq!(failures.len(), usize::from(refused_as.is_none()), "{at}");
        if let [failed] = &failures[..] {
            let first = &batch["Records"][0]["dynamodb"]["SequenceNumber"];
            assert_eq!(failed["itemIdentifier"], *first);
        }
        let letters = client.scan().table_name(TABLE).send().await.unwrap().items;
        let letters = letters.unwrap_or_default();
        let expected = refused_as.map(|code| format!("the bus refuses an event: {code}"));
        match expected {
            None => assert!(letters.is_empty(), "{at}"),
            Some(expected) => {
                assert_eq!(letters.len(), batch["Records"].as_array().unwrap().len());
                let reasons = letters
                    .iter()
                    .map(|letter| letter["reason"].as_s().unwrap());
                for reason in reasons {
                    assert_eq!(*reason, expected);
                }
            }
        }
    }
    let log = function.log().join("\n");
    assert!(log.contains("EventBridge takes no events"), "{log}");
    assert!(!log.contains("@example.com"), "{log}");
}

/// What the function asks before it puts events.
const DESCRIBE_BUS: &str = "AWSEvents.DescribeEventBus";
/// A bus that does not exist.
const MISSING_BUS: &str = "missing";
/// How the bus answers an event depends on its time, in milliseconds. It is full.
const FULL: i64 = 1_772_366_499_000;
/// The permission of the function was withdrawn, and other settings of the bus.
const FORBIDDEN: i64 = 1_772_366_499_001;
/// The whole request is answered with 400, because there is no such bus.
const GONE: i64 = 1_772_366_499_002;
/// The detail of an event is no JSON.
const MALFORMED: i64 = 1_772_366_499_003;
/// The event has something that EventBridge does not take.
const INVALID: i64 = 1_772_366_499_004;
/// The whole request is answered with 400, for what is in it.
const INVALID_REQUEST: i64 = 1_772_366_499_005;
/// The whole request is answered with 400, because it cannot be read.
const UNREADABLE_REQUEST: i64 = 1_772_366_499_006;

/// The answer to an entry, or the error that the whole request is answered with.
fn answer_of(entry: &Value) -> Result<Value, &'static str> {
    let refused = |code: &str| Ok(json!({"ErrorCode": code}));
    let millis = format!("{:.0}", entry["Time"].as_f64().unwrap() * 1000.0);
    match millis.parse().unwrap() {
        FULL => refused("ThrottlingException"),
        FORBIDDEN => refused("NotAuthorizedForSourceException"),
        MALFORMED => refused("MalformedDetail"),
        INVALID => refused("InvalidArgument"),
        GONE => Err("ResourceNotFoundException"),
        INVALID_REQUEST => Err("ValidationException"),
        UNREADABLE_REQUEST => Err("SerializationException"),
        _ => Ok(json!({"EventId": "1"})),
    }
}

/// An EventBridge that answers as [`answer_of`] says, and tells which events it was sent.
async fn event_bridge() -> (String, Requests) {
    let answer = |target: &str, request: &Value| {
        if target == DESCRIBE_BUS {
            return match request["Name"] == MISSING_BUS {
                true => Err("ResourceNotFoundException"),
                false => Ok(json!({"Name": "auth-prod"})),
            };
        }
        let entries = request["Entries"].as_array().unwrap().iter();
        let answers: Vec<Value> = entries.map(answer_of).collect::<Result<_, _>>()?;
        let failed = answers.iter().filter(|answer| answer["EventId"].is_null());
        Ok(json!({"FailedEntryCount": failed.count(), "Entries": answers}))
    };
    aws(|target| target != DESCRIBE_BUS, answer).await
}

/// What a service of AWS was sent: the operation, and the request.
type Requests = tokio::sync::mpsc::UnboundedReceiver<(String, Value)>;

/// A service of AWS that speaks JSON and answers so, or 400 with an error. It tells what it was sent of the operations that
/// are told.
async fn aws(
    is_told: fn(&str) -> bool,
    answer: fn(&str, &Value) -> Result<Value, &'static str>,
) -> (String, Requests) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (sent, requests) = tokio::sync::mpsc::unbounded_channel();
    let router =
        axum::Router::new().fallback(move |headers: http::HeaderMap, body: String| async move {
            let target = headers["x-amz-target"].to_str().unwrap().to_owned();
            let request: Value = serde_json::from_str(&body).unwrap();
            let answer = answer(&target, &request);
            if is_told(&target) {
                sent.send((target, request)).unwrap();
            }
            match answer {
                Ok(body) => (http::StatusCode::OK, axum::Json(body)),
                Err(code) => {
                    // What AWS says of a request may quote it.
                    let body = json!({"__type": code, "message": "no: ada@example.com"});
                    (http::StatusCode::BAD_REQUEST, axum::Json(body))
                }
            }
        });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (endpoint, requests)
}

/// Secrets Manager calls it once for each step.
async fn rotate_keys() {
    let secrets = FakeSecretsManager::of_tests().await;
    let mut step = event("rotate-keys", &Value::Null);
    let token = step["ClientRequestToken"].as_str().unwrap().to_owned();
    let algorithm = ("TOKEN_ALGORITHM", "RS256");
    let settings = [secrets.settings().as_slice(), &[algorithm]].concat();
    let mut function = Function::start("rotate-keys", "http://127.0.0.1:1", &settings).await;
    // Not by Secrets Manager's order.
    let Answer::Error(refused) = function.invoke(&step).await else {
        panic!("it is refused");
    };
    assert_eq!(refused["errorType"], "KeyRotationFailed");
    // AWS's emulator does not pass on the header that says it.
    if !is_emulated() {
        assert_eq!(refused[FUNCTION_ERROR_TYPE], "unhandled");
    }
    secrets.begin_rotation(&token);
    for name in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        step["Step"] = json!(name);
        let answer = function.invoke(&step).await;
        assert_eq!(answer, Answer::Response(Value::Null), "{name}");
    }
    assert_eq!(secrets.staged("AWSCURRENT"), Some(token));
    let mut discovery =
        Function::start("discovery", "http://127.0.0.1:1", &secrets.settings()).await;
    let jwks = invoke(&mut discovery, "discovery-jwks", &Value::Null).await;
    let keys = jwks.body["keys"].as_array().unwrap();
    let names: Vec<&Value> = keys.iter().map(|key| &key["alg"]).collect();
    assert_eq!(names, ["EdDSA", "RS256"], "the key in use and the next one");
}

fn authenticated_at(tokens: &Value) -> i64 {
    let time = tokens["session"]["authenticated_at"].as_str().unwrap();
    time.parse::<DateTime<Utc>>().unwrap().timestamp()
}

#[tokio::test]
async fn an_authorizer_that_cannot_tell_is_an_error_and_one_that_need_not_ask_answers() {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    let mut register = Function::start_alone("register", &dynamodb.endpoint, &[]).await;
    let tokens = invoke(&mut register, "register", &json!({})).await.body;
    let ask = async |settings: &[(&str, &str)], endpoint: &str, event: &Value| {
        let mut authorizer = Function::start_alone("authorizer", endpoint, settings).await;
        let answer = authorizer.invoke(event).await;
        let (log, metrics) = log_and_metrics(authorizer);
        (answer, metrics, log)
    };
    let nowhere = "http://127.0.0.1:1";
    let allowed = event("authorizer-allowed", &tokens);
    let (answer, _, log) = ask(&[], nowhere, &allowed).await;
    // The one alarm that rings for it counts lines at ERROR; the request's other lines say why.
    let said = "the authorizer could not tell whether a request may pass";
    let line = log.iter().find(|line| line["message"] == said).unwrap();
    assert_eq!(line["level"], "ERROR");
    assert!(line["span"]["request_id"].is_string(), "{line}");
    let Answer::Error(error) = &answer else {
        panic!("an error: {answer:?}");
    };
    assert_eq!(error["errorType"], "AuthorizerUnavailable");
    // Lambda takes types such as `Function.Unknown` as they are, and makes `Runtime.Unknown` of this one. The alarm that takes
    // an upgrade back leaves that out.
    assert_eq!(error[FUNCTION_ERROR_TYPE], "unhandled");

    let offline = [("AUTHORIZER_MODE", "offline")];
    let (answer, metrics, _) = ask(&offline, nowhere, &allowed).await;
    assert!(matches!(answer, Answer::Response(said) if said["isAuthorized"] == true));
    // Nor does it open a connection.
    let [line] = metrics.try_into().unwrap();
    assert_eq!(
        extract(&line).into_keys().collect::<Vec<_>>(),
        ["ColdStarts"]
    );

    // The format of REST APIs, in which the token stands where the parser could quote it.
    let mut other = allowed.clone();
    other["version"] = json!("1.0");
    other["identitySource"] = other["headers"]["authorization"].clone();
    let (answer, ..) = ask(&[], &dynamodb.endpoint, &other).await;
    let Answer::Error(error) = &answer else {
        panic!("an error: {answer:?}");
    };
    let token = tokens["access_token"].as_str().unwrap();
    assert!(!error.to_string().contains(&token[..30]), "{error}");

    let (answer, metrics, _) = ask(
        &[],
        &dynamodb.endpoint,
        &event("authorizer-denied", &tokens),
    )
    .await;
    assert_eq!(answer, Answer::Response(json!({"isAuthorized": false})));
    let [line] = metrics.try_into().unwrap();
    assert_eq!(extract(&line).get("AuthorizerDenied"), Some(&1.0));
}

#[tokio::test]
async fn an_authorizer_with_wrong_settings_does_not_start() {
    let settings = [("AUTHORIZER_MODE", "lax"), ("AUTHORIZER_SCOPE", "acount")];
    let function = Function::start_alone("authorizer", "http://127.0.0.1:1", &settings).await;
    let (code, message) = function.end();
    assert_eq!(code, Some(1));
    for expected in [
        "AUTHORIZER_MODE is not strict or offline",
        "AUTHORIZER_SCOPE has",
    ] {
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn the_default_route_answers_on_lambda_as_the_whole_service_does_on_a_laptop() {
    let mut discovery =
        Function::start("discovery", "http://127.0.0.1:1", &[("TABLE_NAME", "")]).await;
    let mut event = event("discovery-not-found", &json!({}));
    let mut ask = async |method: &str, path: &str| {
        event["rawPath"] = json!(path);
        event["requestContext"]["http"]["method"] = json!(method);
        event["requestContext"]["http"]["path"] = json!(path);
        let Answer::Response(response) = discovery.invoke(&event).await else {
            panic!("{path} is answered");
        };
        response
    };
    let response = ask("GET", "/v1/auth/login").await;
    assert_eq!(response["statusCode"], 405);
    assert_eq!(response["headers"]["allow"], "POST");
    let response = ask("POST", "/v1/sessions/0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11").await;
    assert_eq!(response["statusCode"], 405);
    let response = ask("GET", "/nowhere").await;
    assert_eq!(response["statusCode"], 404);
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["code"], "not_found");
    assert_eq!(
        body["request_id"], "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        "the invocation's"
    );
}

#[tokio::test]
async fn a_function_with_wrong_settings_does_not_start() {
    let settings = [("ISSUER", "http://example.com"), ("AUDIENCE", "")];
    let function = Function::start_alone("refresh", "http://127.0.0.1:1", &settings).await;
    let (code, message) = function.end();
    assert_eq!(code, Some(1));
    assert!(
        message.contains("the settings cannot be used:\n  ISSUER is not an https URL"),
        "{message}"
    );
    assert!(message.contains("AUDIENCE is not set"), "{message}");
}

#[tokio::test]
async fn a_function_with_an_unknown_log_level_or_format_does_not_start() {
    let settings = [
        ("AWS_LAMBDA_LOG_LEVEL", "verbose"),
        ("AWS_LAMBDA_LOG_FORMAT", "xml"),
    ];
    for name in ["refresh", "cleanup"] {
        let function = Function::start_alone(name, "http://127.0.0.1:1", &settings).await;
        let (code, message) = function.end();
        assert_eq!(code, Some(1), "{name}");
        for expected in [
            "AWS_LAMBDA_LOG_LEVEL is not TRACE,",
            "AWS_LAMBDA_LOG_FORMAT is not JSON or Text",
        ] {
            assert!(message.contains(expected), "{name}: {message}");
        }
    }
}

#[tokio::test]
async fn a_misspelt_setting_is_warned_of_by_the_name_that_is_meant() {
    let settings = [("MAX_SESSION", "5")];
    let mut function = Function::start_alone("discovery", "http://127.0.0.1:1", &settings).await;
    function.first_poll().await;
    let warnings: Vec<Value> = function
        .log()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["level"] == "WARN")
        .collect();
    let [warning] = warnings.as_slice() else {
        panic!("one warning: {warnings:?}");
    };
    assert_eq!(warning["variable"], "MAX_SESSION");
    assert_eq!(warning["setting"], "MAX_SESSIONS");
}

#[tokio::test]
async fn the_secret_comes_from_secrets_manager() {
    let secrets = FakeSecretsManager::of_tests().await;
    let settings = secrets.settings();
    let mut discovery = Function::start("discovery", "http://127.0.0.1:1", &settings).await;
    let jwks = invoke(&mut discovery, "discovery-jwks", &json!({})).await;
    assert_eq!(
        jwks.body["keys"].as_array().unwrap().len(),
        2,
        "the current key and the previous one"
    );
}

#[tokio::test]
async fn a_running_function_learns_of_a_new_secret() {
    let old = json!({"current": "the secret before this one, also long"});
    let secrets = FakeSecretsManager::start(&old, None).await;
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    let settings = secrets.settings();
    let mut account = Function::start("account", &dynamodb.endpoint, &settings).await;
    let before = invoke(&mut account, "account-me", &json!({})).await;
    assert_eq!(before.status.as_u16(), 401, "it has started");
    secrets.write(&json!({"current": String::from_utf8_lossy(SECRET)}), None);
    let mut register = Function::start("register", &dynamodb.endpoint, &settings).await;
    let tokens = invoke(&mut register, "register", &json!({})).await.body;
    assert!(secrets.take_reads() > 0);
    let me = invoke(&mut account, "account-me", &tokens).await;
    assert_eq!(me.status.as_u16(), 200, "{}", me.body);
    assert_eq!(secrets.take_reads(), 1);
}

/// The lines of a log, each of which is a JSON object, and of these the ones that count something.
fn log_and_metrics(function: Function) -> (Vec<Value>, Vec<String>) {
    let lines = function.log();
    let counts = |line: &&String| line.contains("\"Function\"");
    let metrics = lines.iter().filter(counts).cloned().collect();
    let log = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    (log.collect(), metrics)
}

/// The line is there when the reply is: Lambda freezes the environment after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_request_writes_one_line_with_its_metrics_before_its_reply() {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    let settings = [
        ("STACK_NAME", "auth-prod"),
        ("AWS_LAMBDA_LOG_LEVEL", "WARN"),
    ];
    let nothing = json!({});
    let mut register = Function::start_alone("register", &dynamodb.endpoint, &settings).await;
    invoke(&mut register, "register", &nothing).await;
    let mut login = Function::start_alone("login", &dynamodb.endpoint, &settings).await;
    invoke(&mut login, "login", &nothing).await;
    let Answer::Response(elsewhere) = login.invoke(&event("register", &nothing)).await else {
        panic!("a path of another function is answered");
    };
    assert_eq!(elsewhere["statusCode"], 404);
    // The second counts no metric, and nothing is to be warned of.
    let (log, metrics) = log_and_metrics(login);
    let [line] = log.try_into().unwrap();
    let [first] = metrics.try_into().unwrap();
    let counted: Vec<(&str, f64)> = extract(&first).into_iter().collect();
    assert_eq!(
        counted,
        [
            ("ColdStarts", 1.0),
            // The first is the one that opens the connection.
            ("DynamoDbCalls", 6.0),
            ("DynamoDbReadUnits", 2.0),
            ("DynamoDbWriteUnits", 7.0),
            ("SignIns", 1.0),
        ]
    );
    assert_eq!(
        [&line["Stack"], &line["Function"], &line["level"]],
        ["auth-prod", "login", "WARN"]
    );
    let id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
    assert_eq!(line["span"]["request_id"], id);

    let mut discovery = Function::start_alone("discovery", &dynamodb.endpoint, &[]).await;
    for _ in 0..3 {
        invoke(&mut discovery, "discovery-jwks", &nothing).await;
    }
    let (log, metrics) = log_and_metrics(discovery);
    let [only] = metrics.try_into().unwrap();
    let counted: Vec<(&str, f64)> = extract(&only).into_iter().collect();
    assert_eq!(counted, [("ColdStarts", 1.0)]);
    let cold: Vec<&Value> = log.iter().map(|line| &line["cold_start"]).collect();
    assert_eq!(cold, [&json!(true), &Value::Null, &Value::Null]);
    assert_eq!(log.len(), 3);
    for line in &log {
        assert_eq!(line["message"], "answered");
        assert_eq!(line["route"], "/.well-known/jwks.json");
        assert_eq!(line["status"], 200);
        let span = &line["span"];
        assert_eq!(span["request_id"], id);
        assert_eq!(span["xray_trace_id"], TRACE_ID);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_of_the_cleanup_is_fields_of_its_log_line_and_metrics() {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE)
        .await
        .unwrap();
    let mut cleanup = Function::start_alone("cleanup", &dynamodb.endpoint, &[]).await;
    for _ in 0..2 {
        let answer = cleanup.invoke(&event("cleanup", &json!({}))).await;
        assert!(matches!(answer, Answer::Response(_)), "{answer:?}");
    }
    let (log, metrics) = log_and_metrics(cleanup);
    let [line, _, _, _] = log.try_into().unwrap();
    assert_eq!(
        [
            &line["accounts"],
            &line["sessions_live"],
            &line["removed_expired"]
        ],
        [0, 0, 0]
    );
    assert_eq!(line["complete"], true);
    assert!(line["read_units"].is_number());
    assert!(
        line["message"]
            .as_str()
            .unwrap()
            .starts_with("cleaned up: ")
    );
    assert_eq!(line["span"]["xray_trace_id"], TRACE_ID);
    let [first, second] = metrics.try_into().unwrap();
    let mut first = extract(&first);
    assert_eq!(first.remove("ColdStarts"), Some(1.0));
    let second = extract(&second);
    assert_eq!(second["CleanupRuns"], 1.0);
    assert_eq!(second["LiveSessions"], 0.0);
    assert!(second["DynamoDbCalls"] >= 7.0, "{second:?}");
    assert!(first.keys().eq(second.keys()), "{first:?} {second:?}");
}

/// A DynamoDB that answers every request with nothing found, and tells what it was asked.
async fn empty_dynamodb() -> (String, Requests) {
    aws(|_| true, |_, _| Ok(json!({}))).await
}

#[tokio::test]
async fn the_connection_to_dynamodb_is_opened_before_the_first_request_is_asked_for() {
    for name in ON_TABLE.iter() {
        let (endpoint, mut questions) = empty_dynamodb().await;
        let mut function = Function::start_alone(name, &endpoint, &[]).await;
        function.first_poll().await;
        let key = json!({"pk": {"S": "CONNECT"}, "sk": {"S": "CONNECT"}});
        assert_eq!(
            questions.try_recv().unwrap(),
            (
                "DynamoDB_20120810.GetItem".to_owned(),
                json!({"TableName": TABLE, "Key": key})
            ),
            "{name}"
        );
        assert!(questions.try_recv().is_err(), "{name} asks once");
    }
}

#[tokio::test]
async fn a_function_starts_without_dynamodb() {
    // One that refuses, and one that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:1", &silent] {
        let mut function = Function::start_alone("refresh", endpoint, &[]).await;
        function.first_poll().await;
        let Answer::Response(response) = function
            .invoke(&event("discovery-not-found", &json!({})))
            .await
        else {
            panic!("it is answered");
        };
        assert_eq!(response["statusCode"], 404);
    }
}
