//! Guarantee 11: every start, end and change of a session gives at least one event with its reason, with the same id
//! however often it is delivered, and none is lost while the bus is down for a day.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::event::EVENT_TYPES;
use latchkey_service::events::{DeadLetter, DeadLetters, NotKept, PutOutcome};
use latchkey_tests::harness::events::{SCHEMA, check, sequence_number};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";

/// A day in the life of a user: everything that is told of.
async fn live_a_day(stack: &Stack) {
    let ada = stack.register(ADA).await;
    let phone = stack.login(ADA).await;
    stack.pass_interval();
    let moved = stack
        .post("/v1/auth/refresh")
        .json(&json!({"refresh_token": phone.refresh_token}))
        .from_address("198.51.100.9".parse().unwrap());
    moved.send().await.expect(StatusCode::OK);
    let path = format!("/v1/sessions/{}", phone.session_id);
    let rename = stack
        .request(Method::PATCH, &path)
        .bearer(&ada.access_token);
    let renamed = rename.json(&json!({"name": "phone"})).send().await;
    renamed.expect(StatusCode::OK);
    stack
        .reauthenticate(&ada, PASSWORD)
        .await
        .expect(StatusCode::OK);
    let revoke = stack.delete(&path).bearer(&ada.access_token);
    revoke.send().await.expect(StatusCode::NO_CONTENT);
    let other = stack.login(ADA).await;
    let changed = stack
        .change_password(&ada, PASSWORD, "another horse staple")
        .await;
    changed.expect(StatusCode::OK);
    drop(other);
    let wrong = stack.try_login(ADA, "not the password").await;
    wrong.expect_problem(401, "invalid_credentials");
    let admin = stack.administrator("root@example.com").await;
    let path = format!("/v1/admin/users/{}", ada.user_id.unwrap());
    for change in [
        json!({"roles": ["billing"]}),
        json!({"status": "disabled"}),
        json!({"status": "active"}),
    ] {
        let update = stack
            .request(Method::PATCH, &path)
            .bearer(&admin.access_token);
        let updated = update.json(&change).send().await;
        updated.expect(StatusCode::OK);
    }
    let delete = stack.delete(&path).bearer(&admin.access_token);
    delete.send().await.expect(StatusCode::NO_CONTENT);
}

/// What is told, without what was delivered before, by the type with reason and actor.
fn told(events: &[Value]) -> Vec<String> {
    let distinct: BTreeMap<String, &Value> = events
        .iter()
        .rev()
        .map(|event| (event["id"].to_string(), event))
        .collect();
    let mut told: Vec<String> = distinct
        .values()
        .map(|event| {
            let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let actor = word(&event["data"]["actor"]);
            let actor = actor.split(':').next().unwrap_or_default().to_owned();
            format!(
                "{} {} {actor}",
                word(&event["type"]),
                word(&event["data"]["reason"])
            )
        })
        .collect();
    told.sort();
    told
}

#[tokio::test]
async fn everything_that_happens_to_a_session_and_its_user_is_told_with_its_reason() {
    let stack = Stack::start().await;
    live_a_day(&stack).await;
    let mut stream = stack.stream();
    stream.drain().await;
    let expected = [
        "session.created - -",
        "session.created - -",
        "session.created - -",
        "session.created - -",
        "session.created - -", // The administrator's two.
        "session.created - -",
        "session.ended account_disabled admin",
        "session.ended password_changed owner",
        "session.ended password_changed owner",
        "session.ended revoked owner",
        "session.moved - -",
        "session.renamed - -",
        "sign_in.failed invalid_credentials -",
        "user.created - owner",
        "user.created - owner",
        "user.deleted - admin",
        "user.disabled - admin",
        "user.enabled - admin",
        "user.password_changed - owner",
        "user.reauthenticated - -",
        "user.roles_changed - admin",
        "user.roles_changed - operator", // The administrator's role.
    ];
    assert_eq!(told(&stream.bus.taken()), expected);
    for secret in [PASSWORD, "another horse staple", "$argon2", "eyJ"] {
        assert!(
            !json!(stream.bus.taken()).to_string().contains(secret),
            "{secret}"
        );
    }
}

#[tokio::test]
async fn nothing_is_lost_while_the_bus_is_down_for_a_day() {
    let stack = Stack::start().await;
    let mut undisturbed = stack.stream();
    let mut stream = stack.stream();
    stream.bus.set_down(true);
    live_a_day(&stack).await;
    for _ in 0..24 {
        stack.advance(TimeDelta::hours(1));
        assert!(!stream.step(100).await, "it must be brought again");
    }
    stack.register("late@example.com").await;
    assert!(!stream.step(100).await);
    assert_eq!(stream.bus.taken(), [] as [Value; 0]);
    stream.bus.set_down(false);
    stream.drain().await;
    undisturbed.drain().await;
    assert_eq!(stream.bus.taken(), undisturbed.bus.taken());
}

#[tokio::test]
async fn what_is_delivered_again_has_the_same_ids() {
    let stack = Stack::start().await;
    live_a_day(&stack).await;
    let stream = stack.stream();
    let records = stream.records(1_000);
    // The function has died between the put and the checkpoint, so all is brought again, hours later.
    for _ in 0..2 {
        assert_eq!(stream.invoke(&records).await, None);
        stack.advance(TimeDelta::hours(5));
    }
    let taken = stream.bus.taken();
    let (first, second) = taken.split_at(taken.len() / 2);
    assert!(first.len() > 10);
    assert_eq!(first, second);
    let mut ids: Vec<String> = first.iter().map(|event| event["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), first.len(), "no two events share an id");
}

/// Each record fails once, at its first event and alone; what is behind it may have been taken.
#[tokio::test]
async fn a_batch_that_fails_in_its_middle_is_brought_again_from_there() {
    let stack = Stack::start().await;
    live_a_day(&stack).await;
    let mut undisturbed = stack.stream();
    undisturbed.drain().await;
    let whole = undisturbed.bus.taken();
    for fails in 0..whole.len() {
        let mut stream = stack.stream();
        let mut outcomes = vec![PutOutcome::Taken; fails];
        outcomes.push(PutOutcome::NotTaken);
        let in_request = whole.len().min((fails / 10 + 1) * 10) - fails - 1;
        outcomes.extend(vec![PutOutcome::Taken; in_request]);
        // Alone it fails once more.
        outcomes.push(PutOutcome::NotTaken);
        stream.bus.answer_next(&outcomes);
        assert!(!stream.step(1_000).await, "{fails}");
        stream.drain().await;
        assert_eq!(told(&stream.bus.taken()), told(&whole), "{fails}");
        for event in &whole {
            assert!(stream.bus.taken().contains(event), "{fails}: {event}");
        }
    }
}

#[tokio::test]
async fn an_event_that_was_not_taken_with_others_is_put_alone() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let mut stream = stack.stream();
    stream
        .bus
        .answer_next(&[PutOutcome::Taken, PutOutcome::NotTaken]);
    stream.drain().await;
    assert_eq!((stream.bus.taken().len(), stream.bus.requests()), (2, 2));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_goes_to_the_dead_letters_and_blocks_nothing_behind_it() {
    let stack = Stack::start().await;
    live_a_day(&stack).await;
    let mut undisturbed = stack.stream();
    undisturbed.drain().await;
    let stream = stack.stream();
    let intact = stream.records(1_000);
    let mut broken = Vec::new();
    let mut accounts = intact.iter();
    let account = accounts.find(|record| record["dynamodb"]["Keys"]["sk"]["S"] == "ACCOUNT");
    // A record of an account, for each way in which one can be broken.
    for (number, breaking) in ["/dynamodb/NewImage/version", "/dynamodb/Keys", "/eventName"]
        .into_iter()
        .enumerate()
    {
        let mut record = account.unwrap().clone();
        record["dynamodb"]["SequenceNumber"] = json!(format!("{number}00000000000000000000"));
        *record.pointer_mut(breaking).unwrap() = json!({"S": "x"});
        broken.push(record);
    }
    let records: Vec<Value> = broken.iter().chain(&intact).cloned().collect();
    assert_eq!(stream.invoke(&records).await, None);
    assert_eq!(stream.bus.taken(), undisturbed.bus.taken());
    let dead = stack.items().await;
    let dead = dead.iter().filter(|item| item["pk"] == "DEADLETTER#events");
    let mut dead: Vec<&Value> = dead.collect();
    dead.sort_by_key(|item| item["sk"].to_string());
    assert_eq!(dead.len(), broken.len());
    for (letter, record) in dead.iter().zip(&broken) {
        let kept: Value = serde_json::from_str(letter["record"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&kept, &letter["sk"]),
            (record, &record["dynamodb"]["SequenceNumber"])
        );
        let ninety_days = stack.now() + TimeDelta::days(90);
        assert_eq!(letter["ttl"], json!(ninety_days.timestamp()));
    }
}

#[tokio::test]
async fn an_event_that_the_bus_refuses_goes_to_the_dead_letters() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let mut stream = stack.stream();
    let code = "MalformedDetail".to_owned();
    stream.bus.answer_next(&[PutOutcome::Refused { code }]);
    stream.drain().await;
    assert_eq!(stream.bus.taken().len(), 1);
    let items = stack.items().await;
    let dead = items.iter().find(|item| item["pk"] == "DEADLETTER#events");
    let reason = dead.unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains("MalformedDetail"), "{reason}");
}

/// Keeps nothing.
struct NoDeadLetters;

impl DeadLetters for NoDeadLetters {
    async fn keep(&self, _: &DeadLetter<'_>) -> Result<(), NotKept> {
        Err(NotKept)
    }
}

#[tokio::test]
async fn a_record_whose_dead_letter_cannot_be_kept_is_brought_again() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let stream = stack.stream_with(NoDeadLetters);
    let mut records = stream.records(10);
    let second = records.len() - 1;
    records[second]["dynamodb"]["Keys"] = json!({});
    let again = stream.invoke(&records).await;
    assert_eq!(again, Some(sequence_number(&records[second])));
}

/// The partition keys of the items that a request writes.
fn keys_written(request: &Value) -> Vec<&str> {
    let in_transaction = request["TransactItems"].as_array().into_iter().flatten();
    let in_transaction = in_transaction.flat_map(|item| item.as_object().unwrap());
    let in_transaction =
        in_transaction.filter(|(kind, _)| *kind != "ConditionCheck" && *kind != "Get");
    let in_batch = request["RequestItems"].as_object().into_iter().flatten();
    let in_batch = in_batch.flat_map(|(_, writes)| writes.as_array().into_iter().flatten());
    let in_batch = in_batch.filter_map(Value::as_object).flatten();
    let alone =
        (request["UpdateExpression"].is_string() || request["Item"].is_object()).then_some(request);
    let writes = in_transaction
        .chain(in_batch)
        .map(|(_, write)| write)
        .chain(alone);
    writes
        .filter_map(|write| {
            write["Item"]["pk"]["S"]
                .as_str()
                .or(write["Key"]["pk"]["S"].as_str())
        })
        .collect()
}

#[tokio::test]
async fn no_request_writes_more_because_of_events() {
    let stack = Stack::start().await;
    drop(stack.recorder.take());
    live_a_day(&stack).await;
    // What the requests have written is accounts, sessions, credentials and counters. Nothing of it is for events but the
    // mark of a refused sign-in, which the table of budgets has.
    let requested = stack.recorder.take();
    let mut written: BTreeSet<&str> = BTreeSet::new();
    for key in requested
        .iter()
        .flat_map(|call| keys_written(&call.request))
    {
        written.insert(key.split('#').next().unwrap());
    }
    assert_eq!(written, BTreeSet::from(["EMAIL", "THROTTLE", "USER"]));
    let before = stack.items_with_counters().await;
    drop(stack.recorder.take());
    // The function itself writes what the users see of it, and nothing else.
    let mut stream = stack.stream();
    stream.drain().await;
    let is_activity = |item: &Value| item["pk"].as_str().unwrap().starts_with("ACTIVITY#");
    let mut after = stack.items_with_counters().await;
    after.retain(|item| !is_activity(item));
    assert_eq!(after, before);
}

#[test]
fn the_schema_has_every_type_and_refuses_what_is_no_event() {
    let listed = SCHEMA["properties"]["type"]["enum"].clone();
    assert_eq!(listed, json!(EVENT_TYPES));
    let right = json!({
        "specversion": "1.0", "id": "5f0c8a4e-2b64-5d0a-9c57-3f1de6a87b21", "source": "latchkey",
        "type": "user.disabled", "subject": "5f0c8a4e-2b64-4d0a-9c57-3f1de6a87b21",
        "time": "2026-03-01T12:00:00.000Z", "datacontenttype": "application/json",
        "data": {"user_id": "5f0c8a4e-2b64-4d0a-9c57-3f1de6a87b21", "actor": "operator"},
    });
    check(&right);
    for (pointer, wrong) in [
        ("/type", json!("user.created")),
        ("/type", json!("user.vanished")),
        ("/time", json!("2026-03-01T12:00:00Z")),
        ("/data/actor", json!("somebody")),
        ("/data", json!({"actor": "operator"})),
        ("/data/token", json!("eyJ")),
    ] {
        let mut event = right.clone();
        match event.pointer_mut(pointer) {
            Some(place) => *place = wrong,
            None => event["data"]["token"] = wrong,
        }
        let checked = std::panic::catch_unwind(|| check(&event));
        assert!(checked.is_err(), "{event}");
    }
}
