//! Guarantee 4: never more live sessions than the limit; the least recently used one makes room.

use chrono::TimeDelta;
use futures::future::join_all;
use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{Stack, without_limits};

fn at_most(max_sessions: usize) -> SessionPolicy {
    SessionPolicy {
        max_sessions,
        ..without_limits()
    }
}

#[tokio::test]
async fn the_least_recently_used_session_makes_room() {
    let stack = Stack::with_policy(at_most(3)).await;
    let mut signed_in = vec![stack.register("ada@example.com").await];
    let list = stack.get("/v1/sessions").bearer(&signed_in[0].access_token);
    let list = list.send().await.expect(StatusCode::OK);
    assert_eq!((&list["total"], &list["limit"]), (&1.into(), &3.into()));
    for _ in 0..2 {
        stack.advance(TimeDelta::seconds(1));
        signed_in.push(stack.login("ada@example.com").await);
    }
    stack.advance(TimeDelta::seconds(1));
    // The oldest has been used since, so the second is the least recently used.
    stack
        .refresh(&signed_in[0].refresh_token)
        .await
        .expect(StatusCode::OK);
    stack.advance(TimeDelta::seconds(1));
    let newest = stack.login("ada@example.com").await;
    let ids = stack.session_ids(&newest).await;
    assert_eq!(
        ids,
        [
            newest.session_id,
            signed_in[0].session_id,
            signed_in[2].session_id
        ]
    );
    stack
        .refresh(&signed_in[1].refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn an_expired_session_leaves_before_a_live_one() {
    let stack = Stack::with_policy(at_most(2)).await;
    let one = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(1));
    let two = stack.login("ada@example.com").await;
    stack.advance(TimeDelta::days(6));
    let three = stack.login("ada@example.com").await;
    assert_eq!(
        stack.session_ids(&three).await,
        [three.session_id, two.session_id]
    );
    stack
        .refresh(&one.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_sign_ins_never_exceed_the_limit_and_none_is_dead_already() {
    let stack = Stack::with_policy(at_most(5)).await;
    stack.register("ada@example.com").await;
    for _ in 0..3 {
        stack.advance(TimeDelta::seconds(1));
        let replies =
            join_all((0..4).map(|_| {
                stack.try_login("ada@example.com", latchkey_tests::harness::stack::PASSWORD)
            }))
            .await;
        let signed_in: Vec<SignedIn> = replies
            .into_iter()
            .map(|reply| SignedIn::from(reply.expect(StatusCode::OK)))
            .collect();
        let ids = stack.session_ids(&signed_in[0]).await;
        assert!(ids.len() <= 5, "{}", ids.len());
        for one in &signed_in {
            assert!(
                ids.contains(&one.session_id),
                "no sign-in is answered with a dead session"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_simultaneous_sign_ins_end_at_exactly_the_limit() {
    let stack = Stack::with_policy(without_limits()).await;
    stack.register("ada@example.com").await;
    let replies = join_all(
        (0..30)
            .map(|_| stack.try_login("ada@example.com", latchkey_tests::harness::stack::PASSWORD)),
    )
    .await;
    let mut last = None;
    for reply in replies {
        if reply.status == StatusCode::OK {
            let signed_in = SignedIn::from(reply.body);
            if stack
                .get("/v1/me")
                .bearer(&signed_in.access_token)
                .send()
                .await
                .status
                == StatusCode::OK
            {
                last = Some(signed_in);
            }
        } else {
            reply.expect_problem(503, "temporarily_unavailable");
        }
    }
    assert_eq!(stack.session_ids(&last.unwrap()).await.len(), 20);
}

#[tokio::test]
async fn a_sign_in_keeps_only_the_newest_ended_sessions() {
    let stack = Stack::with_policy(at_most(1)).await;
    stack.register("ada@example.com").await;
    for _ in 0..23 {
        stack.advance(TimeDelta::seconds(1));
        stack.login("ada@example.com").await;
    }
    let items = stack.items().await;
    let sessions = items
        .iter()
        .filter(|item| item["sk"].as_str().unwrap().starts_with("SESSION#"))
        .count();
    assert_eq!(sessions, 1 + 20);
}
