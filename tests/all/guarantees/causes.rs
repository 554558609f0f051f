//! Every change of an account carries its cause: in the table, and in the audit line.

use std::collections::BTreeMap;

use http::StatusCode;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{CHROME, PASSWORD, Stack};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";

async fn change_of(stack: &Stack, who: &SignedIn) -> Value {
    let user = format!("USER#{}", who.user_id.unwrap());
    let items = stack.items().await;
    let account = items
        .iter()
        .find(|item| item["pk"] == user && item["sk"] == "ACCOUNT");
    account.unwrap()["change"].clone()
}

async fn sign_in_on(stack: &Stack, device_id: &str) -> SignedIn {
    let reply = stack
        .post("/v1/auth/login")
        .user_agent(CHROME)
        .header("x-device-id", device_id.as_bytes())
        .json(&json!({"email": ADA, "password": PASSWORD}))
        .send()
        .await;
    SignedIn::from(reply.expect(StatusCode::OK))
}

#[tokio::test]
async fn a_change_is_written_with_what_was_done_by_whom_when_and_what_it_ended() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let change = change_of(&stack, &ada).await;
    assert_eq!(change["action"], "register");
    assert_eq!(change["actor"], format!("owner:{}", ada.session_id));
    assert_eq!(change["at"], stack.now().timestamp_millis());
    assert_eq!(change["reason"], Value::Null);

    let phone = stack.login(ADA).await;
    let change = change_of(&stack, &ada).await;
    assert_eq!(change["action"], "sign_in");
    assert_eq!(change["actor"], format!("owner:{}", phone.session_id));

    let log = Log::capture_json();
    let path = format!("/v1/sessions/{}", phone.session_id);
    let revoke = stack.delete(&path).bearer(&ada.access_token);
    revoke.send().await.expect(StatusCode::NO_CONTENT);
    let change = change_of(&stack, &ada).await;
    assert_eq!(change["action"], "revoke");
    assert_eq!(change["reason"], "revoked");
    let written = log.end();
    let line: Value = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|line: &Value| line["message"] == "session ended")
        .unwrap();
    assert_eq!(line["session_id"], phone.session_id.to_string());
    for key in ["action", "actor", "reason"] {
        assert_eq!(line[key], change[key], "{key}");
    }
}

#[tokio::test]
async fn a_change_that_ends_sessions_for_different_reasons_says_which_for_which() {
    let policy = latchkey_domain::policy::SessionPolicy {
        max_sessions: 2,
        ..latchkey_domain::policy::SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    let oldest = stack.register(ADA).await;
    stack.advance(chrono::TimeDelta::seconds(1));
    let phone = sign_in_on(&stack, "phone").await;
    // The phone's session is replaced, so nobody has to make room.
    let again = sign_in_on(&stack, "phone").await;
    let change = change_of(&stack, &oldest).await;
    assert_eq!(change["reason"], "replaced");
    let gone = stack.refresh(&phone.refresh_token).await;
    gone.expect_problem(401, "invalid_refresh_token");
    let mut live = stack.session_ids(&again).await;
    live.sort();
    let mut expected = [oldest.session_id, again.session_id];
    expected.sort();
    assert_eq!(live, expected);

    // The oldest runs out, and the phone signs in once more: one is expired, the other replaced.
    stack.advance(chrono::TimeDelta::days(7) - chrono::TimeDelta::seconds(1));
    let last = sign_in_on(&stack, "phone").await;
    let change = change_of(&stack, &oldest).await;
    assert_eq!(
        change["reasons"],
        json!({
            "expired": [oldest.session_id.to_string()],
            "replaced": [again.session_id.to_string()],
        })
    );
    assert_eq!(stack.session_ids(&last).await, [last.session_id]);

    // The stream tells each end with its own reason.
    let mut stream = stack.stream();
    stream.drain().await;
    let ends = stream.bus.taken();
    let ends = ends.iter().filter(|event| event["type"] == "session.ended");
    let ends: BTreeMap<String, Value> = ends
        .map(|event| &event["data"])
        .map(|data| {
            (
                data["session_id"].as_str().unwrap().to_owned(),
                data["reason"].clone(),
            )
        })
        .collect();
    let expected = BTreeMap::from([
        (phone.session_id.to_string(), json!("replaced")),
        (oldest.session_id.to_string(), json!("expired")),
        (again.session_id.to_string(), json!("replaced")),
    ]);
    assert_eq!(ends, expected);
}
