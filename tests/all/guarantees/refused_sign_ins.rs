//! A refused sign-in is told to the user whose account it was for, and nothing of it is told or kept of anybody else. What a
//! client learns does not depend on it.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures::future::join_all;
use http::StatusCode;
use latchkey_api::edge::EdgeSecret;
use latchkey_domain::account::Account;
use latchkey_domain::cause::Action;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::throttle::Limits;
use latchkey_tests::attack::faults::{Fault, Plan, Strikes, raw_items, stack_with};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use latchkey_tests::harness::template::template;
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const WRONG: &str = "not the password";
const EDGE_SECRET: &str = "the-edge-shows-this-value-0123456789";

async fn login(stack: &Stack, email: &str, password: &str, device: Option<&str>) -> Reply {
    let body = json!({"email": email, "password": password, "device_token": device});
    stack.post("/v1/auth/login").json(&body).send().await
}

/// The types and data of the events of sign-ins since the last call.
async fn told(stack: &Stack, place: &mut usize) -> Vec<(String, Value)> {
    let mut stream = stack.stream();
    stream.drain().await;
    let taken = stream.bus.taken();
    let new = taken.iter().skip(*place);
    *place = taken.len();
    new.filter(|event| event["type"].as_str().unwrap().starts_with("sign_in."))
        .map(|event| {
            let event_type = event["type"].as_str().unwrap().to_owned();
            (event_type, event["data"].clone())
        })
        .collect()
}

fn types(told: &[(String, Value)]) -> Vec<&str> {
    told.iter().map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn a_refused_sign_in_is_told_with_its_place_and_device_and_one_of_nobody_is_not() {
    let edge = EdgeSecret::parse(EDGE_SECRET).unwrap();
    let stack = Stack::start().await.behind(&edge);
    let seen_from = |email: &str, device: Option<&str>| {
        let body = json!({"email": email, "password": WRONG, "device_token": device});
        let call = stack.post("/v1/auth/login").json(&body);
        let call = call.user_agent("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0");
        call.header("x-latchkey-edge", EDGE_SECRET.as_bytes())
            .header("cloudfront-viewer-address", b"198.51.100.77:46532")
            .header("cloudfront-viewer-city", b"Lisbon")
            .header("cloudfront-viewer-country", b"PT")
    };
    let body = json!({"email": ADA, "password": PASSWORD});
    let register = stack.post("/v1/auth/register").json(&body);
    let register = register
        .header("x-latchkey-edge", EDGE_SECRET.as_bytes())
        .header("cloudfront-viewer-address", b"203.0.113.7:46532");
    let ada = SignedIn::from(register.send().await.expect(StatusCode::CREATED));
    let log = Log::capture();
    let mut place = 0;
    told(&stack, &mut place).await;
    for device in [None, ada.device_token.as_deref()] {
        let refused = seen_from(ADA, device).send().await;
        refused.expect_problem(401, "invalid_credentials");
        let told = told(&stack, &mut place).await;
        let expected = json!({
            "user_id": ada.user_id, "reason": "invalid_credentials", "known_device": device.is_some(),
            "device_name": "Firefox on Linux", "device_type": "desktop",
            "ip_address": "198.51.100.77", "location_city": "Lisbon", "location_country": "PT",
        });
        assert_eq!(told, [("sign_in.failed".to_owned(), expected)]);
    }
    let known = raw_items(&stack).len();
    let nobody = "secret.lover@example.com";
    for _ in 0..12 {
        let refused = seen_from(nobody, None).send().await;
        assert!([401, 429].contains(&refused.status.as_u16()));
    }
    assert_eq!(told(&stack, &mut place).await, []);
    let items = raw_items(&stack);
    assert_eq!(items.len(), known + 1);
    let marked = |item: &&Value| item["failed_sign_in"]["M"].get("account").is_none();
    let mut unknown = items
        .iter()
        .filter(|item| item.get("failed_sign_in").is_some());
    let unknown = unknown.find(marked).unwrap();
    for hidden in ["198.51.100.77", "Lisbon", "Firefox"] {
        assert!(!unknown.to_string().contains(hidden), "{hidden}");
    }
    let everything = json!(items).to_string() + &log.end();
    assert!(!everything.contains("secret.lover"));
}

/// A stranger chooses no words that the owner reads: neither in a name, nor in an agent or a hint.
#[tokio::test]
async fn a_stranger_writes_no_text_into_anothers_activity_or_mail() {
    let policy = SessionPolicy {
        require_verified_email: true,
        ..SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    let evil = "Call +49 30 1234";
    let send = |path: &str, password: &str| {
        let body = json!({"email": ADA, "password": password, "device_name": evil});
        let call = stack.post(path).json(&body);
        let call = call.user_agent("Call +49 30 1234/1.0 (iPhone; iOS 17.4)");
        call.header("sec-ch-ua", b"\"Call +49 30 1234\";v=\"1\"")
    };
    for password in [PASSWORD, "another horse staple"] {
        let registered = send("/v1/auth/register", password).send().await;
        assert_eq!(registered.status, StatusCode::ACCEPTED);
    }
    let refused = send("/v1/auth/login", WRONG).send().await;
    refused.expect_problem(401, "invalid_credentials");
    let body = json!({"email": ADA});
    let reset = stack.post("/v1/auth/password-reset").json(&body);
    let reset = reset.user_agent("Call +49 30 1234/1.0 (iPhone; iOS 17.4)");
    assert_eq!(reset.send().await.status, StatusCode::ACCEPTED);
    let mut stream = stack.stream();
    stream.drain().await;
    let told = stream.bus.taken();
    let named: Vec<&Value> = told
        .iter()
        .filter(|event| !event["data"]["device_name"].is_null())
        .collect();
    let types: BTreeSet<&str> = named
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let expected = [
        "email_verification.requested",
        "password_reset.requested",
        "registration.repeated",
        "sign_in.failed",
    ];
    assert_eq!(types, BTreeSet::from(expected));
    for event in named {
        assert_eq!(event["data"]["device_name"], "iPhone", "{event}");
    }
    let kept = json!(raw_items(&stack)).to_string() + &json!(told).to_string();
    assert!(!kept.contains("+49"), "{kept}");
}

/// What names the user on a counter is exported, and goes with the account.
#[tokio::test]
async fn the_marks_of_an_account_are_exported_and_go_with_it() {
    for (limits, deletes_itself) in [
        (Limits::default(), true),
        (Limits::off(), true),
        (Limits::default(), false),
    ] {
        let policy = SessionPolicy {
            limits,
            ..SessionPolicy::default()
        };
        let stack = Stack::with_policy(policy).await;
        let ada = stack.register(ADA).await;
        let new = "wrong donkey charger paperclip";
        let changed = stack.change_password(&ada, PASSWORD, new).await;
        let changed = SignedIn::from(changed.expect(StatusCode::OK));
        // A stranger, one with a token of the replaced password, and one with a token of the new one.
        for device in [
            None,
            ada.device_token.as_deref(),
            changed.device_token.as_deref(),
        ] {
            let refused = login(&stack, ADA, WRONG, device).await;
            refused.expect_problem(401, "invalid_credentials");
        }
        let other = login(&stack, "bob@example.com", WRONG, None).await;
        other.expect_problem(401, "invalid_credentials");
        let user = ada.user_id.unwrap().to_string();
        let marks = || {
            let items = raw_items(&stack);
            let of_user = |item: &&Value| {
                let mark = &item["failed_sign_in"]["M"]["account"]["M"];
                mark["user_id"]["S"] == user
            };
            items.iter().filter(of_user).count()
        };
        assert_eq!(marks(), 3);
        let export = stack.get("/v1/me/export").bearer(&changed.access_token);
        let export = export.send().await.expect(StatusCode::OK);
        let refused = export["refused_sign_ins"].as_array().unwrap();
        let known: Vec<_> = refused.iter().map(|one| &one["known_device"]).collect();
        assert_eq!(known, [&json!(false), &json!(true)]);
        assert_eq!(refused[0]["ip_address"], "203.0.113.7");
        let deleted = if deletes_itself {
            stack.delete_account(&changed, new).await
        } else {
            let root = stack.administrator("root@example.com").await;
            let path = format!("/v1/admin/users/{user}");
            stack.delete(&path).bearer(&root.access_token).send().await
        };
        deleted.expect(StatusCode::NO_CONTENT);
        // That of a device which is known is found by its token alone.
        assert_eq!(marks(), 1);
    }
}

#[tokio::test]
async fn that_sign_ins_have_to_wait_is_told_when_it_begins_and_at_the_hard_stop() {
    let limits = Limits {
        address_attempts: 0,
        ..Limits::default()
    };
    let policy = SessionPolicy {
        limits,
        ..SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    stack.register(ADA).await;
    let mut place = 0;
    told(&stack, &mut place).await;
    let mut blocked = Vec::new();
    for number in 1..=100 {
        let refused = login(&stack, ADA, WRONG, None).await;
        refused.expect_problem(401, "invalid_credentials");
        let counted_at = stack.now();
        for (event_type, data) in told(&stack, &mut place).await {
            if event_type == "sign_in.blocked" {
                let until: chrono::DateTime<chrono::Utc> =
                    data["until"].as_str().unwrap().parse().unwrap();
                assert_eq!(data["known_device"], false);
                blocked.push((number, (until - counted_at).num_seconds()));
            }
        }
        // What has to wait is not checked, and not told either.
        if number >= 10 {
            let waits = login(&stack, ADA, WRONG, None).await;
            waits.expect_problem(429, "too_many_requests");
        }
        stack.advance(TimeDelta::minutes(15));
    }
    let thirty_days = TimeDelta::days(30).num_seconds();
    assert_eq!(blocked, [(10, 1), (100, thirty_days)]);
}

#[tokio::test]
async fn the_right_password_of_a_disabled_account_is_a_refused_sign_in_too() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    login(&stack, ADA, WRONG, None).await;
    let ada = ada.user_id.unwrap();
    let disabling = stack.change_account(ada, Action::Disable, Account::disable);
    disabling.await;
    let mut place = 0;
    told(&stack, &mut place).await;
    let refused = login(&stack, ADA, PASSWORD, None).await;
    refused.expect_problem(403, "account_disabled");
    let told = told(&stack, &mut place).await;
    assert_eq!(types(&told), ["sign_in.failed"]);
    assert_eq!(told[0].1["reason"], "account_disabled");
    // The right password has cleared the count, and the mark counts for nothing.
    for _ in 0..10 {
        let wrong = login(&stack, ADA, WRONG, None).await;
        wrong.expect_problem(401, "invalid_credentials");
    }
    let eleventh = login(&stack, ADA, WRONG, None).await;
    eleventh.expect_problem(429, "too_many_requests");
}

#[tokio::test]
async fn refused_sign_ins_are_told_where_the_limit_is_off() {
    let policy = SessionPolicy {
        limits: Limits::off(),
        ..SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    let ada = stack.register(ADA).await;
    let mut place = 0;
    told(&stack, &mut place).await;
    for device in [None, ada.device_token.as_deref()] {
        for _ in 0..12 {
            login(&stack, ADA, WRONG, device).await;
        }
    }
    let told = told(&stack, &mut place).await;
    assert_eq!(types(&told), ["sign_in.failed"; 24]);
}

#[tokio::test]
async fn each_of_many_at_once_is_told() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let mut place = 0;
    told(&stack, &mut place).await;
    join_all((0..30).map(|_| login(&stack, ADA, WRONG, None))).await;
    let told = told(&stack, &mut place).await;
    let failed = types(&told);
    let failed = failed.iter().filter(|name| **name == "sign_in.failed");
    assert_eq!(failed.count(), 10, "{told:?}");
}

/// The mark is the third update of a refused sign-in, after the counts of the address and of the account.
const MARK: usize = 2;

#[tokio::test(start_paused = true)]
async fn a_mark_that_fails_changes_no_reply_and_holds_none_up() {
    for fault in Fault::ALL {
        if !fault.applies_to("UpdateItem") {
            continue;
        }
        for email in [ADA, "nobody@example.com"] {
            let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
            stack.register(ADA).await;
            faults.arm(Plan {
                fault,
                operation: "UpdateItem".to_owned(),
                nth: MARK,
                strikes: Strikes::Always,
            });
            let begin = tokio::time::Instant::now();
            let refused = login(&stack, email, WRONG, None).await;
            refused.expect_problem(401, "invalid_credentials");
            let waited = begin.elapsed().as_millis();
            assert!(waited <= 1_100, "{fault:?}: {waited} ms");
            assert!(!faults.disarm().is_empty(), "{fault:?}");
        }
    }
}

fn bytes_of(value: &Value) -> usize {
    let Value::Object(typed) = value else {
        panic!("{value}");
    };
    let (kind, held) = typed.iter().next().unwrap();
    match (kind.as_str(), held) {
        ("M", Value::Object(map)) => {
            let fields = map
                .iter()
                .map(|(name, value)| name.len() + bytes_of(value) + 1);
            3 + fields.sum::<usize>()
        }
        ("BOOL", _) => 1,
        ("S" | "N", held) => held.as_str().unwrap().len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_marked_counter_stays_below_1_kb_whatever_a_client_sends() {
    let edge = EdgeSecret::parse(EDGE_SECRET).unwrap();
    let stack = Stack::start().await.behind(&edge);
    let seen = |path: &str, body: &Value| {
        let long = "日".repeat(1_500);
        let city = "%F0%9F%98%80".repeat(64);
        let call = stack.post(path).json(body).user_agent(&long);
        let address = b"2001:db8:1111:2222:3333:4444:5555:6666:46532";
        call.header("x-latchkey-edge", EDGE_SECRET.as_bytes())
            .header("x-device-id", long.as_bytes())
            .header("cloudfront-viewer-address", address)
            .header("cloudfront-viewer-city", city.as_bytes())
            .header("cloudfront-viewer-country", b"CA")
    };
    let body = json!({"email": ADA, "password": PASSWORD});
    let ada = seen("/v1/auth/register", &body).send().await;
    let ada = SignedIn::from(ada.expect(StatusCode::CREATED));
    let device_name = "日".repeat(100);
    let body = json!({
        "email": ADA, "password": WRONG, "device_name": device_name, "device_token": ada.device_token,
    });
    for _ in 0..10 {
        let refused = seen("/v1/auth/login", &body).send().await;
        refused.expect_problem(401, "invalid_credentials");
    }
    let items = raw_items(&stack);
    let marked = items
        .iter()
        .find(|item| item.get("failed_sign_in").is_some());
    let marked = marked.unwrap();
    let account = &marked["failed_sign_in"]["M"]["account"]["M"];
    assert!(account.get("city").is_some() && account.get("blocked_until").is_some());
    let size: usize = marked
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| name.len() + bytes_of(value))
        .sum();
    assert!((500..1_024).contains(&size), "{size} bytes");
}

/// Whether a record passes a pattern of Lambda's filters, as far as the template uses them.
fn passes(pattern: &Value, record: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, pattern)| record.get(name).is_some_and(|value| passes(pattern, value))),
        Value::Array(rules) => rules.iter().any(|rule| match rule["prefix"].as_str() {
            Some(prefix) => record.as_str().unwrap().starts_with(prefix),
            None => {
                assert_eq!(rule, &json!({"exists": true}));
                record.is_string()
            }
        }),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_templates_filter_lets_through_what_events_are_made_of_and_no_other_count() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    login(&stack, ADA, WRONG, None).await;
    login(&stack, "nobody@example.com", WRONG, None).await;
    let template = template();
    let mapping = &template["Resources"]["EventsMapping"]["Properties"];
    let filters = mapping["FilterCriteria"]["Filters"].as_array().unwrap();
    let patterns: Vec<Value> = filters
        .iter()
        .map(|filter| serde_json::from_str(filter["Pattern"].as_str().unwrap()).unwrap())
        .collect();
    let (mut through, mut kept_out) = (0, 0);
    for record in stack.stream().records(1_000) {
        let stream = stack.stream();
        stream.invoke(std::slice::from_ref(&record)).await;
        let is_told = !stream.bus.taken().is_empty();
        let passes = patterns.iter().any(|pattern| passes(pattern, &record));
        assert!(passes || !is_told, "{record}");
        through += usize::from(passes);
        kept_out += usize::from(!passes);
    }
    // The account, the session and the mark; the credential and the counts.
    assert_eq!(through, 3);
    assert!(kept_out >= 5, "{kept_out}");
}
