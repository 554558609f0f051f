//! A recent proof of who somebody is: how it is given, and what asks for one.

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::attack::forgery::read_part;
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::json;

const ADA: &str = "ada@example.com";
const WRONG: &str = "not the password at all";

async fn reauthenticate(stack: &Stack, who: &SignedIn) -> SignedIn {
    let reply = stack.reauthenticate(who, PASSWORD).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    SignedIn::from(reply.expect(StatusCode::OK))
}

fn auth_time(who: &SignedIn) -> i64 {
    read_part(&who.access_token, 1)["auth_time"]
        .as_i64()
        .unwrap()
}

fn rotation(who: &SignedIn) -> String {
    let jti = read_part(&who.refresh_token, 1)["jti"].take();
    jti.as_str()
        .unwrap()
        .split('.')
        .next_back()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn a_reauthentication_gives_tokens_with_a_new_auth_time_and_rotates() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let signed_in_at = stack.now();
    stack.advance(TimeDelta::minutes(12));
    let log = Log::capture();
    let proved = reauthenticate(&stack, &ada).await;
    let log = log.end();
    assert!(log.contains("reauthenticated"), "{log}");
    assert_eq!(proved.session_id, ada.session_id);
    assert_eq!(proved.user_id, None, "as a refresh");
    assert_eq!(auth_time(&ada), signed_in_at.timestamp());
    assert_eq!(auth_time(&proved), stack.now().timestamp());
    let session = &proved.body["session"];
    assert_eq!(session["authenticated_at"], "2026-03-01T12:12:00.000Z");
    assert_eq!(session["last_used_at"], "2026-03-01T12:12:00.000Z");
    assert_eq!(session["created_at"], "2026-03-01T12:00:00.000Z");
    assert_eq!(
        (rotation(&ada), rotation(&proved)),
        ("0".into(), "1".into())
    );

    // It is a rotation like every other: its predecessor gets the same successor for 30 seconds, then it is reuse.
    let late = stack.refresh_session(&ada).await;
    assert_eq!(late.refresh_token, proved.refresh_token);
    assert_eq!(auth_time(&late), auth_time(&proved));
    stack.pass_interval();
    let next = stack.refresh_session(&proved).await;
    assert_eq!(
        auth_time(&next),
        auth_time(&proved),
        "a refresh is no proof"
    );
    let reply = stack.refresh(&ada.refresh_token).await;
    reply.expect_problem(401, "refresh_token_reused");
}

#[tokio::test]
async fn a_young_refresh_token_stays() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let ada = stack.refresh_session(&ada).await;
    let used_at = ada.body["session"]["last_used_at"].clone();
    stack.advance(TimeDelta::milliseconds(34_999));
    let proved = reauthenticate(&stack, &ada).await;
    assert_eq!(proved.refresh_token, ada.refresh_token);
    assert_eq!(auth_time(&proved), stack.now().timestamp());
    assert_eq!(proved.body["session"]["last_used_at"], used_at);
    stack.advance(TimeDelta::milliseconds(1));
    let again = reauthenticate(&stack, &proved).await;
    assert_eq!(rotation(&again), "2");
}

#[tokio::test]
async fn wrong_passwords_are_counted_as_on_the_other_routes_and_the_right_one_forgives_them() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    for _ in 0..2 {
        for _ in 0..4 {
            let reply = stack.reauthenticate(&ada, WRONG).await;
            reply.expect_problem(403, "wrong_password");
        }
        reauthenticate(&stack, &ada).await;
    }
    let kept = json!(stack.items().await).to_string();
    for count in ["password_attempts", "wrong_passwords"] {
        assert!(!kept.contains(count), "{count}");
    }
    for attempt in 1..=5 {
        let reply = if attempt % 2 == 0 {
            stack.delete_account(&ada, WRONG).await
        } else {
            stack.reauthenticate(&ada, WRONG).await
        };
        reply.expect_problem(403, "wrong_password");
    }
    let reply = stack.reauthenticate(&ada, PASSWORD).await;
    reply.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_deletion_asks_for_a_recent_proof_and_for_the_password() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    // A token tells its auth_time in whole seconds.
    stack.advance(TimeDelta::seconds(601));
    let before = stack.items().await;
    for password in [PASSWORD, WRONG] {
        let reply = stack.delete_account(&ada, password).await;
        reply.expect_problem(403, "reauthentication_required");
    }
    assert_eq!(stack.items().await, before, "nothing is counted");

    let proved = reauthenticate(&stack, &ada).await;
    // The token that was issued before keeps its auth_time.
    let reply = stack.delete_account(&ada, PASSWORD).await;
    reply.expect_problem(403, "reauthentication_required");
    stack.advance(TimeDelta::minutes(10));
    let reply = stack.delete_account(&proved, WRONG).await;
    reply.expect_problem(403, "wrong_password");
    let reply = stack.delete_account(&proved, PASSWORD).await;
    reply.expect(StatusCode::NO_CONTENT);
}

/// The routes that end sessions other than the caller's, or remove their traces.
fn ends_others<'a>(stack: &'a Stack, other: &SignedIn) -> [Call<'a>; 4] {
    [
        stack.delete(&format!("/v1/sessions/{}", other.session_id)),
        stack.post("/v1/sessions/revoke-all"),
        stack.post("/v1/sessions/revoke-all?keep_current=false"),
        stack.delete("/v1/sessions/expired"),
    ]
}

async fn send(call: Call<'_>, who: &SignedIn) -> Reply {
    call.bearer(&who.access_token).send().await
}

#[tokio::test]
async fn ending_other_sessions_asks_for_a_recent_proof_only_if_the_policy_does() {
    for asks in [false, true] {
        let policy = SessionPolicy {
            reauthenticate_to_revoke: asks,
            ..SessionPolicy::default()
        };
        let stack = Stack::with_policy(policy).await;
        let mut ada = stack.register(ADA).await;
        let phone = stack.login(ADA).await;
        stack.advance(TimeDelta::minutes(10) + TimeDelta::milliseconds(1));
        if asks {
            for call in ends_others(&stack, &phone) {
                let reply = send(call, &ada).await;
                reply.expect_problem(403, "reauthentication_required");
            }
            // Nobody learns of a session by it either.
            let nobodys = format!("/v1/sessions/{}", "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11");
            let reply = send(stack.delete(&nobodys), &ada).await;
            reply.expect_problem(403, "reauthentication_required");
            assert_eq!(stack.session_ids(&ada).await.len(), 2);
            ada = reauthenticate(&stack, &ada).await;
        }
        for call in ends_others(&stack, &phone) {
            let reply = send(call, &ada).await;
            assert!(reply.status.is_success(), "{}", reply.body);
            ada = stack.login(ADA).await;
        }
    }
}

#[tokio::test]
async fn ones_own_session_may_always_be_ended() {
    let policy = SessionPolicy {
        reauthenticate_to_revoke: true,
        ..SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    let (one, two) = (stack.register(ADA).await, stack.login(ADA).await);
    stack.advance(TimeDelta::minutes(11));
    let own = format!("/v1/sessions/{}", one.session_id);
    send(stack.delete(&own), &one)
        .await
        .expect(StatusCode::NO_CONTENT);
    let logout = send(stack.post("/v1/auth/logout"), &two).await;
    logout.expect(StatusCode::NO_CONTENT);

    // That the session has ended comes before that its proof is old.
    for call in ends_others(&stack, &two) {
        send(call, &one).await.expect_problem(401, "invalid_token");
    }
    let reply = stack.delete_account(&one, PASSWORD).await;
    reply.expect_problem(401, "invalid_token");
    let reply = stack.reauthenticate(&one, PASSWORD).await;
    reply.expect_problem(401, "invalid_token");
}
