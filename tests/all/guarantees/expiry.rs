//! Guarantee 5: idle and absolute expiry hold to the second, whether or not DynamoDB has deleted anything.

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::harness::stack::Stack;

const MILLISECOND: TimeDelta = TimeDelta::milliseconds(1);

/// Access tokens that last as long as the session, so that the session's own expiry is what is seen.
fn policy() -> SessionPolicy {
    SessionPolicy {
        access_token_lifetime: TimeDelta::days(60),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_session_that_is_not_refreshed_ends_at_its_idle_expiry() {
    let stack = Stack::with_policy(policy()).await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(7) - MILLISECOND);
    let body = stack
        .get("/v1/sessions/current")
        .bearer(&ada.access_token)
        .send()
        .await;
    body.expect(StatusCode::OK);
    stack.advance(MILLISECOND);
    stack.expect_ended(&ada).await;
}

#[tokio::test]
async fn a_refresh_at_the_last_millisecond_keeps_the_session() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(7) - MILLISECOND);
    stack
        .refresh(&ada.refresh_token)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn the_absolute_expiry_never_slides() {
    let stack = Stack::with_policy(policy()).await;
    let mut ada = stack.register("ada@example.com").await;
    for _ in 0..5 {
        stack.advance(TimeDelta::days(5));
        ada = stack.refresh_session(&ada).await;
    }
    assert_eq!(
        ada.body["session"]["expires_at"],
        "2026-03-31T12:00:00.000Z"
    );
    assert_eq!(
        ada.body["expires_in"],
        5 * 24 * 3600,
        "an access token never outlives its session"
    );
    stack.advance(TimeDelta::days(5) - MILLISECOND);
    ada = stack.refresh_session(&ada).await;
    stack.advance(MILLISECOND);
    stack.expect_ended(&ada).await;
}

#[tokio::test]
async fn an_expired_session_is_not_listed_renamed_or_revoked_though_its_item_is_there() {
    let stack = Stack::start().await;
    let old = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(6));
    let ada = stack.login("ada@example.com").await;
    stack.advance(TimeDelta::days(1));
    let ada = stack.refresh_session(&ada).await;
    assert_eq!(stack.session_ids(&ada).await, [ada.session_id]);
    let path = format!("/v1/sessions/{}", old.session_id);
    let body = serde_json::json!({"name": "x"});
    let rename = stack
        .request(http::Method::PATCH, &path)
        .bearer(&ada.access_token)
        .json(&body);
    rename.send().await.expect_problem(404, "session_not_found");
    let revoke = stack.delete(&path).bearer(&ada.access_token);
    revoke.send().await.expect_problem(404, "session_not_found");
    let items = stack.items().await;
    assert!(
        items
            .iter()
            .any(|item| item["jti"] == serde_json::json!(old.session_id)),
        "the item is there"
    );
}

#[tokio::test]
async fn an_access_token_expires_to_the_second() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::seconds(900) - MILLISECOND);
    stack
        .get("/v1/me")
        .bearer(&ada.access_token)
        .send()
        .await
        .expect(StatusCode::OK);
    stack.advance(MILLISECOND);
    stack
        .get("/v1/me")
        .bearer(&ada.access_token)
        .send()
        .await
        .expect_problem(401, "invalid_token");
}
