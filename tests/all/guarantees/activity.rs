//! Each event of a user becomes one entry of their activity, however often it is brought and whatever fails; and nothing
//! stays of a user who is gone.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use cleanup::Budget;
use http::{Method, StatusCode};
use latchkey_domain::clock::ManualClock;
use latchkey_domain::policy::SessionPolicy;
use latchkey_service::activity::ActivityLog;
use latchkey_tests::attack::faults::{Fault, Faults, Plan, Strikes, stack_with};
use latchkey_tests::harness::events::{Stream, sequence_number};
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack, TABLE};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";

/// The entries of everybody's activity.
async fn entries(stack: &Stack) -> Vec<Value> {
    let mut items = stack.items().await;
    items.retain(|item| item["pk"].as_str().unwrap().starts_with("ACTIVITY#"));
    items
}

/// A user who has signed in twice, renamed a session and ended another.
async fn live(stack: &Stack) -> SignedIn {
    let ada = stack.register(ADA).await;
    let phone = stack.login(ADA).await;
    stack.advance(TimeDelta::seconds(1));
    let path = format!("/v1/sessions/{}", phone.session_id);
    let rename = stack
        .request(Method::PATCH, &path)
        .bearer(&ada.access_token);
    let renamed = rename.json(&json!({"name": "phone"})).send().await;
    renamed.expect(StatusCode::OK);
    stack.advance(TimeDelta::seconds(1));
    let revoke = stack.delete(&path).bearer(&ada.access_token);
    revoke.send().await.expect(StatusCode::NO_CONTENT);
    ada
}

/// A stack whose table can fail, with a stream.
async fn failing() -> (Stack, Faults) {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    latchkey_store::table::enable_stream(&stack.client, TABLE)
        .await
        .unwrap();
    (stack, faults)
}

/// Each request of an operation fails so from the `nth` on, counted from 0.
fn always(fault: Fault, operation: &str, nth: usize) -> Plan {
    Plan {
        fault,
        operation: operation.to_owned(),
        nth,
        strikes: Strikes::Always,
    }
}

/// Brings what the stream has while one request is refused for good.
async fn drain_refused_once(stream: &mut Stream, faults: &Faults, operation: &str, nth: usize) {
    faults.strike_once(Fault::Invalid, operation, nth);
    stream.drain().await;
    faults.disarm();
}

#[tokio::test]
async fn each_event_has_one_entry_for_one_write_unit_whatever_a_client_sends() {
    let stack = Stack::start().await;
    let long = "ü".repeat(3_000);
    let email = format!("{}@{}.example", "a".repeat(64), "b".repeat(60));
    let body = json!({"email": email, "password": PASSWORD, "device_name": "ü".repeat(50)});
    let register = stack.post("/v1/auth/register").json(&body);
    let register = register.header("x-device-id", long.as_bytes());
    register
        .user_agent(&"x".repeat(2_000))
        .send()
        .await
        .expect(StatusCode::CREATED);
    live(&stack).await;
    drop(stack.recorder.take());
    let mut stream = stack.stream();
    stream.drain().await;
    let cost = stack.recorder.take_cost();
    let events = stream.bus.taken();
    let kept = entries(&stack).await;
    assert_eq!((kept.len(), events.len()), (7, 7));
    assert!((cost.write_units - 7.0).abs() < f64::EPSILON, "{cost:?}");
    for event in &events {
        let (time, id) = (&event["time"], &event["id"]);
        let key = format!("{}#{}", time.as_str().unwrap(), id.as_str().unwrap());
        let entry = kept.iter().find(|entry| entry["sk"] == key).unwrap();
        assert_eq!(entry["type"], event["type"]);
        let session = event["data"].get("session_id");
        assert_eq!(entry.get("session_id"), session);
        let ttl = stack.now() + TimeDelta::days(90);
        assert!(entry["ttl"].as_i64().unwrap() <= ttl.timestamp());
    }
    // What nobody needs to see is not kept once more.
    let all = json!(kept).to_string();
    assert!(!all.contains("@") && !all.contains("device_id"), "{all}");
}

#[tokio::test]
async fn people_see_what_has_happened_while_the_bus_is_down() {
    let stack = Stack::start().await;
    let ada = live(&stack).await;
    let mut stream = stack.stream();
    stream.bus.set_down(true);
    assert!(!stream.step(100).await);
    assert_eq!(stream.bus.taken(), [] as [Value; 0]);
    let list = stack.get("/v1/me/activity").bearer(&ada.access_token);
    let list = list.send().await.expect(StatusCode::OK);
    assert_eq!(list["activity"].as_array().unwrap().len(), 5, "{list}");
    let before = entries(&stack).await;
    stream.bus.set_down(false);
    stack.advance(TimeDelta::hours(20));
    stream.drain().await;
    assert_eq!(stream.bus.taken().len(), 5);
    assert_eq!(entries(&stack).await, before);
}

#[tokio::test]
async fn what_is_delivered_again_is_one_entry() {
    let stack = Stack::start().await;
    live(&stack).await;
    let stream = stack.stream();
    let records = stream.records(100);
    assert_eq!(stream.invoke(&records).await, None);
    let once = entries(&stack).await;
    for again in [&records[..], &records[1..], &records[..2]] {
        stack.advance(TimeDelta::days(3));
        assert_eq!(stream.invoke(again).await, None);
        assert_eq!(entries(&stack).await, once);
    }
}

/// Whatever entry cannot be written, everything before its record is done, and nothing of it or behind it is published.
#[tokio::test(start_paused = true)]
async fn a_table_that_fails_stops_the_stream_as_a_bus_does() {
    for nth in 0..5 {
        let (stack, faults) = failing().await;
        live(&stack).await;
        let mut stream = stack.stream();
        let records = stream.records(100);
        let mut undisturbed = stack.stream();
        faults.arm(always(Fault::InternalServerError, "PutItem", nth));
        let failed = stream.invoke(&records).await.unwrap();
        faults.disarm();
        let done = records.iter().map(sequence_number);
        let done = done.take_while(|place| *place != failed).count();
        assert!(undisturbed.invoke(&records[..done]).await.is_none());
        assert_eq!(stream.bus.taken(), undisturbed.bus.taken(), "{nth}");
        assert!(undisturbed.bus.taken().len() <= nth);
        drop(stream.bus.take());
        stream.drain().await;
        undisturbed.drain().await;
        assert_eq!(stream.bus.taken().len(), 5, "{nth}");
        assert_eq!(entries(&stack).await.len(), 5, "{nth}");
    }
}

/// Whatever of the activity can never be done goes to the dead letters, and everything else is done.
#[tokio::test(start_paused = true)]
async fn what_can_never_be_written_or_removed_blocks_nothing_behind_it() {
    for nth in 0..5 {
        let (stack, faults) = failing().await;
        live(&stack).await;
        let mut stream = stack.stream();
        drain_refused_once(&mut stream, &faults, "PutItem", nth).await;
        assert_eq!(stream.bus.taken().len(), 5, "{nth}");
        assert_eq!(entries(&stack).await.len(), 4, "{nth}");
        assert_eq!(dead_letters(&stack).await, 1, "{nth}");
    }
    let (stack, faults) = failing().await;
    let ada = live(&stack).await;
    let mut stream = stack.stream();
    stream.drain().await;
    stack.table().account(ada.user_id.unwrap()).delete().await;
    stack.register("bob@example.com").await;
    drain_refused_once(&mut stream, &faults, "Query", 0).await;
    assert_eq!(dead_letters(&stack).await, 1);
    let told = json!(stream.bus.taken()).to_string();
    assert!(told.contains("bob@example.com"), "{told}");
}

async fn dead_letters(stack: &Stack) -> usize {
    let items = stack.items().await;
    let dead = items
        .iter()
        .filter(|item| item["pk"] == "DEADLETTER#events");
    dead.count()
}

/// A person reads which of their sessions it was, however it ended, as long as its item is there.
#[tokio::test]
async fn an_entry_says_which_session_it_was() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let phone = stack.login(ADA).await;
    let path = format!("/v1/sessions/{}", phone.session_id);
    let rename = stack
        .request(Method::PATCH, &path)
        .bearer(&ada.access_token);
    let renamed = rename.json(&json!({"name": "phone"})).send().await;
    renamed.expect(StatusCode::OK);
    stack.pass_interval();
    let body = json!({"refresh_token": phone.refresh_token});
    let refresh = stack.post("/v1/auth/refresh").json(&body);
    let refresh = refresh.from_address("198.51.100.9".parse().unwrap());
    refresh.send().await.expect(StatusCode::OK);
    let mut stream = stack.stream();
    stream.drain().await;
    stack.advance(TimeDelta::minutes(5));
    let revoke = stack.delete(&path).bearer(&ada.access_token);
    revoke.send().await.expect(StatusCode::NO_CONTENT);
    drop(stack.recorder.take());
    stream.drain().await;
    let cost = stack.recorder.take_cost();
    // The item of the session, and whether the user is still there.
    assert!((cost.read_units - 2.0).abs() < f64::EPSILON, "{cost:?}");
    for event_type in ["session.renamed", "session.moved", "session.ended"] {
        let kept = entries(&stack).await;
        let entry = kept.iter().find(|entry| entry["type"] == event_type);
        let entry = entry.unwrap();
        let shown = (&entry["device_name"], &entry["device_type"], &entry["name"]);
        let expected = (
            &json!("Chrome on Windows"),
            &json!("desktop"),
            &json!("phone"),
        );
        assert_eq!(shown, expected, "{event_type}");
        let address = match event_type {
            "session.renamed" => "203.0.113.7",
            _ => "198.51.100.9",
        };
        assert_eq!(entry["ip_address"], address, "{event_type}");
    }
    // One whose item goes in the same write, and one whose item is gone when the event is brought again.
    let new = "wrong donkey charger paperclip";
    let changed = stack.change_password(&ada, PASSWORD, new).await;
    changed.expect(StatusCode::OK);
    let records = stream.records(100);
    stream.drain().await;
    let ended = |kept: &[Value]| -> Vec<Value> {
        let ended = kept
            .iter()
            .filter(|one| one["reason"] == "password_changed");
        ended.map(|one| one["device_name"].clone()).collect()
    };
    let kept = entries(&stack).await;
    assert_eq!(ended(&kept), ["Chrome on Windows"]);
    let of_account: Vec<Value> = records
        .into_iter()
        .filter(|record| record["dynamodb"]["Keys"]["sk"]["S"] == "ACCOUNT")
        .collect();
    let told = stream.bus.taken().len();
    assert_eq!(stream.invoke(&of_account).await, None);
    assert_eq!(entries(&stack).await, kept, "the entry stays as it was");
    let again = &stream.bus.taken()[told..];
    let of_session = again.iter().find(|event| event["type"] == "session.ended");
    assert_eq!(of_session.unwrap()["data"]["device_name"], json!(null));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_dies_among_its_entries_leaves_nothing_out() {
    for nth in 0..5 {
        let (stack, faults) = failing().await;
        live(&stack).await;
        let mut stream = stack.stream();
        let records = stream.records(100);
        faults.arm(always(Fault::Silence, "PutItem", nth));
        let dying = tokio::time::timeout(Duration::from_millis(1), stream.invoke(&records));
        assert!(dying.await.is_err(), "it has died");
        faults.disarm();
        assert!(entries(&stack).await.len() <= nth);
        stream.drain().await;
        assert_eq!(
            (entries(&stack).await.len(), stream.bus.taken().len()),
            (5, 5)
        );
    }
}

/// Its own entries come back in the stream. Lambda's filter leaves them out, and where there is none they are nothing.
#[tokio::test]
async fn an_entry_is_no_event() {
    let stack = Stack::start().await;
    live(&stack).await;
    let mut stream = stack.stream();
    stream.drain().await;
    let (told, kept) = (stream.bus.taken().len(), entries(&stack).await.len());
    stack.advance(TimeDelta::days(1));
    let from_the_beginning = stack.stream();
    let records = from_the_beginning.records(1_000);
    let of_activity = records.iter().filter(|record| {
        let key = record["dynamodb"]["Keys"]["pk"]["S"].as_str().unwrap();
        key.starts_with("ACTIVITY#")
    });
    assert_eq!(of_activity.clone().count(), kept);
    let of_activity: Vec<Value> = of_activity.cloned().collect();
    assert_eq!(from_the_beginning.invoke(&of_activity).await, None);
    assert_eq!(from_the_beginning.bus.taken(), [] as [Value; 0]);
    assert_eq!((told, entries(&stack).await.len()), (kept, kept));
    let template = latchkey_tests::harness::template::template();
    let mapping = &template["Resources"]["EventsMapping"]["Properties"];
    let filters = mapping["FilterCriteria"]["Filters"].as_array().unwrap();
    let patterns = filters.iter().map(|filter| -> Value {
        serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap()
    });
    let (by_key, by_image): (Vec<Value>, Vec<Value>) =
        patterns.partition(|pattern| !pattern["dynamodb"]["Keys"].is_null());
    let prefixes = json!([{"prefix": "USER#"}, {"prefix": "LINK#"}]);
    let taken = json!({"dynamodb": {"Keys": {"pk": {"S": prefixes}}}});
    assert_eq!(by_key, [taken], "nothing is invoked for an entry");
    // No entry has such an attribute.
    assert!(
        by_image
            .iter()
            .all(|pattern| !pattern["dynamodb"]["NewImage"]["failed_sign_in"].is_null())
    );
}

#[tokio::test]
async fn a_deleted_user_leaves_no_activity_whatever_is_brought_later_and_how_often() {
    let stack = Stack::start().await;
    let ada = live(&stack).await;
    let mut stream = stack.stream();
    stream.drain().await;
    assert_eq!(entries(&stack).await.len(), 5);
    let other = stack.login(ADA).await;
    let deleted = stack.delete_account(&ada, PASSWORD).await;
    deleted.expect(StatusCode::NO_CONTENT);
    drop(other);
    // With the reply, not when the stream is read.
    assert_eq!(stack.items().await, [] as [Value; 0]);
    stream.drain().await;
    assert_eq!(stack.items().await, [] as [Value; 0]);
    assert!(
        json!(stream.bus.taken())
            .to_string()
            .contains("user.deleted")
    );
    // Everything once more, each record alone, in an order in which the deletion comes first.
    let mut records = stack.stream().records(1_000);
    records.reverse();
    for record in &records {
        assert_eq!(stream.invoke(std::slice::from_ref(record)).await, None);
        assert_eq!(entries(&stack).await, [] as [Value; 0], "{record}");
    }
}

/// The events of a deletion are not written even for a moment.
#[tokio::test]
async fn the_end_of_an_account_is_no_entry() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let mut stream = stack.stream();
    stream.drain().await;
    let deleted = stack.delete_account(&ada, PASSWORD).await;
    deleted.expect(StatusCode::NO_CONTENT);
    drop(stack.recorder.take());
    stream.drain().await;
    let calls = stack.recorder.take();
    let puts = calls.iter().filter(|call| call.request["Item"].is_object());
    assert_eq!(puts.count(), 0);
}

/// A deletion at any moment of the function's work: before an entry, between the entries and the look at the account, and
/// after that look.
#[tokio::test(start_paused = true)]
async fn a_deletion_at_the_same_moment_leaves_no_activity() {
    for (operation, nth, is_carried_out) in [
        ("PutItem", 0, false),
        ("PutItem", 4, false),
        ("PutItem", 4, true),
        ("GetItem", 0, false),
        ("GetItem", 0, true),
    ] {
        let (stack, faults) = failing().await;
        let ada = live(&stack).await;
        let stream = stack.stream();
        let records = stream.records(100);
        let mut held = faults.hold(operation, nth);
        let (failed, ()) = tokio::join!(stream.invoke(&records), async {
            held.arrive().await;
            if is_carried_out {
                let carried_out = held.carry_out().await;
                let deleted = stack.delete_account(&ada, PASSWORD).await;
                deleted.expect(StatusCode::NO_CONTENT);
                carried_out.release();
            } else {
                let deleted = stack.delete_account(&ada, PASSWORD).await;
                deleted.expect(StatusCode::NO_CONTENT);
                held.release();
            }
        });
        assert_eq!(failed, None);
        let left = entries(&stack).await;
        assert_eq!(left, [] as [Value; 0], "{operation} {nth} {is_carried_out}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_cleanup_finishes_a_deletion_that_could_not_remove_the_activity() {
    let (stack, faults) = failing().await;
    let ada = stack.register(ADA).await;
    stack.stream().drain().await;
    faults.arm(always(Fault::InternalServerError, "BatchWriteItem", 0));
    let deleted = stack.delete_account(&ada, PASSWORD).await;
    deleted.expect(StatusCode::NO_CONTENT);
    faults.disarm();
    assert_eq!(entries(&stack).await.len(), 2);
    let budget = Budget::until(stack.now() + TimeDelta::minutes(10));
    let report = cleanup::run(&stack.cleanup_store, stack.core.clock.as_ref(), budget);
    let report = report.await.unwrap();
    assert!(
        report.complete && report.removed_of_deleted_users >= 3,
        "{report:?}"
    );
    assert_eq!(entries(&stack).await, [] as [Value; 0]);
}

/// An operator takes an account away by hand: nothing but the stream tells of it.
#[tokio::test]
async fn an_account_that_is_gone_takes_its_activity_along() {
    let stack = Stack::start().await;
    let ada = live(&stack).await;
    let mut stream = stack.stream();
    stream.drain().await;
    stack.table().account(ada.user_id.unwrap()).delete().await;
    stream.drain().await;
    assert_eq!(entries(&stack).await, [] as [Value; 0]);
}

#[tokio::test]
async fn activity_that_is_switched_off_is_not_written_and_still_removed() {
    let stack = Stack::start().await;
    let ada = live(&stack).await;
    stack.stream().drain().await;
    assert_eq!(entries(&stack).await.len(), 5);
    // By a clock that is behind, what happens now has not expired yet.
    let behind = stack.now() - TimeDelta::seconds(5);
    let off = ActivityLog {
        retention: TimeDelta::zero(),
        clock: Arc::new(ManualClock::starting_at(behind)),
        ..stack.activity_log()
    };
    stack.login(ADA).await;
    let mut stream = stack.stream_writing(off);
    stream.drain().await;
    assert_eq!(entries(&stack).await.len(), 5);
    stack.table().account(ada.user_id.unwrap()).delete().await;
    stream.drain().await;
    assert_eq!(entries(&stack).await, [] as [Value; 0]);
}

/// What somebody brings again after its time would be deleted at once.
#[tokio::test]
async fn an_event_that_is_older_than_entries_are_kept_is_not_written() {
    let stack = Stack::start().await;
    live(&stack).await;
    let mut stream = stack.stream();
    stack.advance(TimeDelta::days(90));
    stream.drain().await;
    assert_eq!(stream.bus.taken().len(), 5);
    assert_eq!(entries(&stack).await, [] as [Value; 0]);
}
