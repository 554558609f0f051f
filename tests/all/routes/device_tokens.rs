//! Device tokens: what a sign-in gives, what the next one makes of it, and that it opens nothing.

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::token::{Token, TokenSecret, Tokens};
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack, identity, noon, tokens};
use serde_json::{Value, json};

async fn login_with(stack: &Stack, email: &str, device_token: Value) -> Reply {
    let body = json!({"email": email, "password": PASSWORD, "device_token": device_token});
    stack.post("/v1/auth/login").json(&body).send().await
}

/// The nonce of a device token, if it is a genuine one of that user.
fn nonce(who: &SignedIn) -> String {
    let token = Token::new(who.device_token.clone().unwrap());
    let claims = tokens().verify_device(&token, noon()).unwrap();
    assert_eq!(Some(claims.sub), who.user_id);
    claims.jti.to_string()
}

#[tokio::test]
async fn whatever_makes_a_session_by_a_password_gives_a_device_token_and_a_refresh_does_not() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let again = stack.login("ada@example.com").await;
    assert_ne!(nonce(&ada), nonce(&again), "each client has its own");
    stack.pass_interval();
    let refreshed = stack.refresh(&ada.refresh_token).await;
    let refreshed = refreshed.expect(StatusCode::OK);
    assert_eq!(refreshed["device_token"], Value::Null);
    let ada = SignedIn::from(refreshed);
    let changed = stack.change_password(&ada, PASSWORD, "wrong donkey charger paperclip");
    let changed = SignedIn::from(changed.await.expect(StatusCode::OK));
    assert_ne!(nonce(&changed), nonce(&again));
}

#[tokio::test]
async fn a_client_keeps_the_device_token_that_it_shows() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let shown = json!(ada.device_token);
    stack.advance(TimeDelta::days(2 * 366));
    let reply = login_with(&stack, "ada@example.com", shown.clone()).await;
    assert_eq!(reply.expect(StatusCode::OK)["device_token"], shown);
}

#[tokio::test]
async fn a_device_token_that_is_not_genuine_or_is_somebody_elses_counts_as_none() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let bob = stack.register("bob@example.com").await;
    let other = TokenSecret::new(vec![7; 32]).unwrap();
    let other = Tokens::new(identity(), &other, None).unwrap();
    let user = ada.user_id.unwrap();
    let forged = other.new_device(user, stack.now(), &SeededRandom::new(1));
    let forged = other.issue_device(&forged, noon()).unwrap();
    let genuine = ada.device_token.clone().unwrap();
    for shown in [
        json!(forged.expose()),
        json!(bob.device_token),
        json!(ada.access_token),
        json!(ada.refresh_token),
        json!(format!("{genuine}A")),
        json!("A".repeat(8000)),
        json!("\u{0}"),
        json!(""),
        Value::Null,
    ] {
        let reply = login_with(&stack, "ada@example.com", shown.clone()).await;
        let again = SignedIn::from(reply.expect(StatusCode::OK));
        assert_ne!(again.device_token, shown.as_str().map(str::to_owned));
        assert_ne!(nonce(&again), nonce(&ada), "{shown}");
    }
    let reply = login_with(&stack, "ada@example.com", json!(7)).await;
    reply.expect_problem(400, "invalid_request");
}

#[tokio::test]
async fn a_device_token_opens_nothing_after_a_password_change_either() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let device = ada.device_token.clone().unwrap();
    let new = "wrong donkey charger paperclip";
    let changed = stack.change_password(&ada, PASSWORD, new).await;
    changed.expect(StatusCode::OK);
    let get = stack.get("/v1/me").bearer(&device).send().await;
    get.expect_problem(401, "invalid_token");
    let refreshed = stack.refresh(&device).await;
    refreshed.expect_problem(401, "invalid_refresh_token");
    let reply = login_with(&stack, "ada@example.com", json!(device)).await;
    reply.expect_problem(401, "invalid_credentials");
    let body = json!({"email": "ada@example.com", "password": new, "device_token": device});
    let reply = stack.post("/v1/auth/login").json(&body).send().await;
    let renewed = SignedIn::from(reply.expect(StatusCode::OK));
    // The same client, which has now given the new password.
    assert_eq!(nonce(&renewed), nonce(&ada));
    assert_ne!(renewed.device_token, ada.device_token);
}
