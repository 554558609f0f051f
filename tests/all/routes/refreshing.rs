//! Guarantees 1 and 2: one rotation, one successor; reuse ends its session and no other.

use chrono::TimeDelta;
use futures::future::join_all;
use http::StatusCode;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::Stack;

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

fn rotation_of(token: &str) -> u64 {
    use base64::Engine;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token.split('.').nth(1).unwrap())
        .unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    claims["jti"]
        .as_str()
        .unwrap()
        .rsplit('.')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

async fn is_live(stack: &Stack, who: &SignedIn) -> bool {
    let reply = stack
        .get("/v1/sessions/current")
        .bearer(&who.access_token)
        .send()
        .await;
    match reply.status {
        StatusCode::OK => true,
        _ => {
            reply.expect_problem(401, "invalid_token");
            false
        }
    }
}

#[tokio::test]
async fn a_refresh_gives_the_next_token_and_leaves_the_user_out() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(seconds(600));
    let reply = stack.refresh(&ada.refresh_token).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.expect(StatusCode::OK);
    assert!(body.get("user").is_none());
    assert_eq!(body["session"]["last_used_at"], "2026-03-01T12:10:00.000Z");
    assert_eq!(body["session"]["expires_at"], "2026-03-08T12:10:00.000Z");
    let next = SignedIn::from(body);
    assert_eq!(
        (
            rotation_of(&ada.refresh_token),
            rotation_of(&next.refresh_token)
        ),
        (0, 1)
    );
    assert_eq!(next.session_id, ada.session_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_simultaneous_refreshes_one_rotates_and_all_get_the_same_successor() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let mut newest = ada;
    for _ in 0..5 {
        let replies = join_all((0..20).map(|_| stack.refresh(&newest.refresh_token))).await;
        let tokens: Vec<SignedIn> = replies
            .into_iter()
            .map(|reply| SignedIn::from(reply.expect(StatusCode::OK)))
            .collect();
        let successor = tokens[0].clone();
        assert!(
            tokens
                .iter()
                .all(|token| token.refresh_token == successor.refresh_token)
        );
        assert_eq!(
            rotation_of(&successor.refresh_token),
            rotation_of(&newest.refresh_token) + 1
        );
        stack.advance(seconds(60));
        newest = successor;
    }
}

#[tokio::test]
async fn within_the_grace_the_direct_predecessor_gets_the_same_successor_and_nothing_is_extended() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(seconds(100));
    let first = stack.refresh_session(&ada).await;
    let before = stack.items().await;
    stack.advance(seconds(30));
    let again = stack.refresh_session(&ada).await;
    assert_eq!(again.refresh_token, first.refresh_token);
    assert_ne!(again.access_token, first.access_token);
    assert_eq!(again.body["refresh_expires_in"], 604_800 - 30);
    assert_eq!(stack.items().await, before, "nothing is written");
}

#[tokio::test]
async fn a_reused_refresh_token_ends_its_session_and_no_other() {
    let stack = Stack::start().await;
    let laptop = stack.register("ada@example.com").await;
    let phone = stack.login("ada@example.com").await;
    let bob = stack.register("bob@example.com").await;
    let next = stack.refresh_session(&laptop).await;
    stack.advance(seconds(30) + TimeDelta::milliseconds(1));
    stack
        .refresh(&laptop.refresh_token)
        .await
        .expect_problem(401, "refresh_token_reused");
    assert!(!is_live(&stack, &next).await);
    stack
        .refresh(&next.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
    assert!(is_live(&stack, &phone).await);
    assert!(is_live(&stack, &bob).await);
    stack.refresh_session(&phone).await;
    // Once ended, the thief's token raises no more alarms.
    stack
        .refresh(&laptop.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_young_token_comes_back_as_it_is_and_nothing_is_written() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let first = stack.refresh_session(&ada).await;
    assert_eq!(rotation_of(&first.refresh_token), 1, "the first may be new");
    let before = stack.items().await;
    for wait in [TimeDelta::zero(), seconds(34), TimeDelta::milliseconds(999)] {
        stack.advance(wait);
        let again = stack.refresh_session(&first).await;
        assert_eq!(again.refresh_token, first.refresh_token);
        assert_ne!(again.access_token, first.access_token);
        assert!(is_live(&stack, &again).await);
        assert_eq!(stack.items().await, before, "nothing is written");
    }
    stack.advance(TimeDelta::milliseconds(1));
    let second = stack.refresh_session(&first).await;
    assert_eq!(rotation_of(&second.refresh_token), 2);
}

#[tokio::test]
async fn a_token_that_was_replaced_twice_is_reuse_however_young_the_newest_is() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let first = stack.refresh_session(&ada).await;
    stack.pass_interval();
    let second = stack.refresh_session(&first).await;
    stack
        .refresh(&ada.refresh_token)
        .await
        .expect_problem(401, "refresh_token_reused");
    assert!(!is_live(&stack, &second).await);
}

#[tokio::test]
async fn a_grace_of_zero_forgives_only_the_same_moment() {
    let policy = latchkey_domain::policy::SessionPolicy {
        refresh_grace: seconds(0),
        ..Default::default()
    };
    let stack = Stack::with_policy(policy).await;
    let ada = stack.register("ada@example.com").await;
    stack.refresh_session(&ada).await;
    stack.refresh_session(&ada).await;
    stack.advance(TimeDelta::milliseconds(1));
    stack
        .refresh(&ada.refresh_token)
        .await
        .expect_problem(401, "refresh_token_reused");
}

#[tokio::test]
async fn with_a_grace_of_zero_every_refresh_rotates() {
    let policy = latchkey_domain::policy::SessionPolicy {
        refresh_grace: seconds(0),
        ..Default::default()
    };
    let stack = Stack::with_policy(policy).await;
    let mut newest = stack.register("ada@example.com").await;
    for rotation in 1..=3 {
        newest = stack.refresh_session(&newest).await;
        assert_eq!(rotation_of(&newest.refresh_token), rotation);
    }
}

#[tokio::test]
async fn a_token_ahead_of_its_session_ends_nothing() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let first = stack.refresh_session(&ada).await;
    stack.pass_interval();
    let second = stack.refresh_session(&first).await;
    assert_eq!(rotation_of(&second.refresh_token), 2);
    // As a restored backup would.
    let session = stack.table().session(ada.user_id.unwrap(), ada.session_id);
    session.set("rotation", 0).await;
    stack.advance(seconds(3600));
    stack
        .refresh(&second.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
    stack.refresh_session(&ada).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_reuse_ends_the_session_once_and_only_it() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let other = stack.login("ada@example.com").await;
    stack.refresh_session(&ada).await;
    stack.advance(seconds(31));
    for reply in join_all((0..10).map(|_| stack.refresh(&ada.refresh_token))).await {
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(stack.session_ids(&other).await, [other.session_id]);
}
