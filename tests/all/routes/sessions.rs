//! Listing, naming and ending sessions; guarantee 3: what has been ended stays ended.

use std::io::Read;

use chrono::TimeDelta;
use flate2::read::GzDecoder;
use futures::future::join_all;
use http::{Method, StatusCode};
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack, without_limits};
use serde_json::json;

async fn three_devices(stack: &Stack) -> [SignedIn; 3] {
    let one = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::seconds(1));
    let two = stack.login("ada@example.com").await;
    stack.advance(TimeDelta::seconds(1));
    let three = stack.login("ada@example.com").await;
    [one, two, three]
}

/// That a session has ended for every route that takes one.
async fn expect_ended_everywhere(stack: &Stack, who: &SignedIn) {
    let path = format!("/v1/sessions/{}", who.session_id);
    for call in [
        stack.get("/v1/sessions"),
        stack.get("/v1/me"),
        stack.delete(&path),
        stack.delete("/v1/sessions/expired"),
        stack.post("/v1/sessions/revoke-all"),
        stack.request(Method::PATCH, &path).json(&json!({"name": "x"})),
        stack.post("/v1/me/delete").json(&json!({"password": PASSWORD})),
        stack.post("/v1/auth/reauthenticate").json(&json!({"password": PASSWORD})),
        stack
            .request(Method::PUT, "/v1/me/password")
            .json(&json!({"current_password": PASSWORD, "new_password": "wrong donkey charger paperclip"})),
    ] {
        call.bearer(&who.access_token).send().await.expect_problem(401, "invalid_token");
    }
    stack.expect_ended(who).await;
}

#[tokio::test]
async fn the_list_shows_the_live_sessions_the_most_recently_used_first() {
    let stack = Stack::start().await;
    let [one, two, three] = three_devices(&stack).await;
    stack.advance(TimeDelta::seconds(1));
    stack
        .refresh(&two.refresh_token)
        .await
        .expect(StatusCode::OK);
    let list = stack
        .get("/v1/sessions")
        .bearer(&one.access_token)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(list["total"], 3);
    let ids = stack.session_ids(&one).await;
    assert_eq!(ids, [two.session_id, three.session_id, one.session_id]);
    let current: Vec<bool> = list["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["is_current"] == true)
        .collect();
    assert_eq!(current, [false, false, true]);
    let current = stack
        .get("/v1/sessions/current")
        .bearer(&one.access_token)
        .send()
        .await;
    assert_eq!(current.expect(StatusCode::OK), list["sessions"][2]);
}

#[tokio::test]
async fn a_long_list_is_compressed_for_those_who_take_it() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register("ada@example.com").await;
    let short = stack.get("/v1/sessions").bearer(&ada.access_token);
    let short = short.header("accept-encoding", b"gzip").send().await;
    assert_eq!(short.header("content-encoding"), None);
    assert_eq!(short.header("vary"), Some("accept-encoding"));
    let list = async |accepted: &[u8]| {
        let list = stack.get("/v1/sessions").bearer(&ada.access_token);
        let list = list.header("accept-encoding", accepted);
        list.send_unchecked().await
    };
    for _ in 1..20 {
        stack.login("ada@example.com").await;
        let is_long = list(b"identity").await.bytes.len() >= 4_096;
        let is_coded = list(b"gzip").await.header("content-encoding").is_some();
        assert_eq!(is_coded, is_long);
    }
    let plain = list(b"identity").await;
    assert_eq!(plain.body["total"], 20);
    assert_eq!(plain.header("content-encoding"), None);
    let gzip = list(b"gzip, deflate, br").await;
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert_eq!(gzip.header("content-type"), Some("application/json"));
    assert_eq!(gzip.header("vary"), Some("accept-encoding"));
    assert_eq!(gzip.header("cache-control"), Some("no-store"));
    assert!(gzip.bytes.len() * 4 < plain.bytes.len());
    let mut unpacked = Vec::new();
    GzDecoder::new(&gzip.bytes[..])
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, plain.bytes);
}

#[tokio::test]
async fn a_revoked_session_is_dead_at_once_on_every_route() {
    let stack = Stack::with_policy(without_limits()).await;
    let [one, two, three] = three_devices(&stack).await;
    let path = format!("/v1/sessions/{}", two.session_id);
    let reply = stack.delete(&path).bearer(&one.access_token).send().await;
    assert_eq!(
        (reply.status, reply.bytes.len()),
        (StatusCode::NO_CONTENT, 0)
    );
    let before = stack.items().await;
    expect_ended_everywhere(&stack, &two).await;
    let after = stack.items().await;
    let but_sessions = |items: &[serde_json::Value]| -> Vec<serde_json::Value> {
        items
            .iter()
            .filter(|item| !item["sk"].as_str().unwrap().starts_with("SESSION#"))
            .cloned()
            .collect()
    };
    assert_eq!(
        but_sessions(&before),
        but_sessions(&after),
        "a dead session does nothing"
    );
    assert_eq!(
        stack.session_ids(&one).await,
        [three.session_id, one.session_id]
    );
    stack
        .delete(&path)
        .bearer(&one.access_token)
        .send()
        .await
        .expect_problem(404, "session_not_found");
}

#[tokio::test]
async fn a_session_can_end_itself() {
    let stack = Stack::start().await;
    let [one, two, _] = three_devices(&stack).await;
    let path = format!("/v1/sessions/{}", one.session_id);
    let reply = stack.delete(&path).bearer(&one.access_token).send().await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    expect_ended_everywhere(&stack, &one).await;
    assert_eq!(stack.session_ids(&two).await.len(), 2);
}

#[tokio::test]
async fn revoke_all_keeps_the_current_session_unless_told_otherwise() {
    let stack = Stack::with_policy(without_limits()).await;
    let [one, two, three] = three_devices(&stack).await;
    let call = |path: &str| stack.post(path).bearer(&two.access_token);
    let reply = call("/v1/sessions/revoke-all")
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(reply, json!({"revoked": 2}));
    expect_ended_everywhere(&stack, &one).await;
    expect_ended_everywhere(&stack, &three).await;
    let reply = call("/v1/sessions/revoke-all?keep_current=true")
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(reply, json!({"revoked": 0}));
    let reply = call("/v1/sessions/revoke-all?keep_current=false")
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(reply, json!({"revoked": 1}));
    expect_ended_everywhere(&stack, &two).await;
    stack.login("ada@example.com").await;
}

#[tokio::test]
async fn revoke_all_counts_only_what_was_live() {
    let stack = Stack::start().await;
    let one = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(6));
    let two = stack.login("ada@example.com").await;
    stack.advance(TimeDelta::days(2));
    let kept = stack.refresh_session(&two).await;
    let reply = stack
        .post("/v1/sessions/revoke-all")
        .bearer(&kept.access_token)
        .send()
        .await;
    assert_eq!(
        reply.expect(StatusCode::OK),
        json!({"revoked": 0}),
        "the first had expired"
    );
    stack
        .refresh(&one.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_session_can_be_named_and_its_name_cleared() {
    let stack = Stack::start().await;
    let [one, two, _] = three_devices(&stack).await;
    let path = format!("/v1/sessions/{}", two.session_id);
    let rename = |name: serde_json::Value| {
        stack
            .request(Method::PATCH, &path)
            .bearer(&one.access_token)
            .json(&json!({"name": name}))
    };
    let hundred = "ä".repeat(100);
    let reply = rename(json!(hundred)).send().await.expect(StatusCode::OK);
    assert_eq!(
        (&reply["name"], &reply["is_current"]),
        (&json!(hundred), &json!(false))
    );
    let reply = rename(json!(null)).send().await.expect(StatusCode::OK);
    assert_eq!(reply["name"], json!(null));
    rename(json!(""))
        .send()
        .await
        .expect_problem(422, "validation_failed");
    rename(json!("ä".repeat(101)))
        .send()
        .await
        .expect_problem(422, "validation_failed");
    rename(json!("a\u{0}b"))
        .send()
        .await
        .expect_problem(422, "validation_failed");
    let without = stack
        .request(Method::PATCH, &path)
        .bearer(&one.access_token)
        .json(&json!({}));
    without.send().await.expect_problem(400, "invalid_request");
}

#[tokio::test]
async fn an_ended_session_cannot_be_named_though_its_item_is_there() {
    let stack = Stack::start().await;
    let [one, two, _] = three_devices(&stack).await;
    let path = format!("/v1/sessions/{}", two.session_id);
    let ended = stack.delete(&path).bearer(&one.access_token).send().await;
    ended.expect(StatusCode::NO_CONTENT);
    let items = stack.items().await;
    let rename = stack.request(Method::PATCH, &path);
    let rename = rename.bearer(&one.access_token);
    let reply = rename.json(&json!({"name": "Kitchen"})).send().await;
    reply.expect_problem(404, "session_not_found");
    assert_eq!(stack.items().await, items, "nothing was written");
}

#[tokio::test]
async fn a_name_lives_on_through_a_refresh() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let path = format!("/v1/sessions/{}", ada.session_id);
    let body = json!({"name": "Kitchen"});
    stack
        .request(Method::PATCH, &path)
        .bearer(&ada.access_token)
        .json(&body)
        .send()
        .await
        .expect(StatusCode::OK);
    let reply = stack
        .refresh(&ada.refresh_token)
        .await
        .expect(StatusCode::OK);
    assert_eq!(reply["session"]["name"], "Kitchen");
}

#[tokio::test]
async fn purging_removes_ended_sessions_for_good_and_no_live_one() {
    let stack = Stack::start().await;
    let [one, two, three] = three_devices(&stack).await;
    let path = format!("/v1/sessions/{}", two.session_id);
    stack.delete(&path).bearer(&one.access_token).send().await;
    let purge = || {
        stack
            .delete("/v1/sessions/expired")
            .bearer(&one.access_token)
            .send()
    };
    assert_eq!(purge().await.expect(StatusCode::OK), json!({"removed": 1}));
    assert_eq!(purge().await.expect(StatusCode::OK), json!({"removed": 0}));
    assert_eq!(
        stack.session_ids(&one).await,
        [three.session_id, one.session_id]
    );
    let left = stack.items().await;
    assert!(!left.iter().any(|item| item["jti"] == json!(two.session_id)));
    stack
        .refresh(&two.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn signing_out_ends_the_session_of_any_token_of_its_lineage() {
    let stack = Stack::start().await;
    let [one, two, three] = three_devices(&stack).await;
    let logout = |token: &str| {
        stack
            .post("/v1/auth/logout")
            .json(&json!({"refresh_token": token}))
            .send()
    };
    assert_eq!(
        logout(&one.refresh_token).await.status,
        StatusCode::NO_CONTENT
    );
    expect_ended_everywhere(&stack, &one).await;
    // Replaced long ago: good enough to end the session with.
    let newest = stack.refresh_session(&two).await;
    stack.advance(TimeDelta::days(1));
    assert_eq!(
        logout(&two.refresh_token).await.status,
        StatusCode::NO_CONTENT
    );
    stack
        .refresh(&newest.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
    // Any token gets the same reply.
    for token in [
        one.refresh_token.as_str(),
        "not a token",
        three.access_token.as_str(),
        "",
    ] {
        assert_eq!(logout(token).await.status, StatusCode::NO_CONTENT);
    }
    stack
        .refresh(&three.refresh_token)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn an_expired_token_of_a_session_that_goes_on_can_still_sign_out() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(5));
    let newest = stack.refresh_session(&ada).await;
    stack.advance(TimeDelta::days(3));
    let body = json!({"refresh_token": ada.refresh_token});
    stack.post("/v1/auth/logout").json(&body).send().await;
    stack
        .refresh(&newest.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn an_access_token_without_a_body_signs_out_however_old_it_is() {
    let stack = Stack::start().await;
    let [one, two, three] = three_devices(&stack).await;
    let logout = |token: &str| stack.post("/v1/auth/logout").bearer(token).send();
    let reply = logout(&one.access_token).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    expect_ended_everywhere(&stack, &one).await;
    let newest = stack.refresh_session(&two).await;
    stack.advance(TimeDelta::days(1));
    let reply = logout(&two.access_token).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let reply = stack.refresh(&newest.refresh_token).await;
    reply.expect_problem(401, "invalid_refresh_token");
    // Any token gets the same reply, and a refresh token is none for this header.
    for token in [&*one.access_token, "not-a-token", &*three.refresh_token] {
        assert_eq!(logout(token).await.status, StatusCode::NO_CONTENT);
    }
    let reply = stack.refresh(&three.refresh_token).await;
    reply.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_body_says_who_signs_out_before_the_header_does() {
    let stack = Stack::start().await;
    let [one, two, _] = three_devices(&stack).await;
    let body = json!({"refresh_token": one.refresh_token});
    let call = stack.post("/v1/auth/logout").bearer(&two.access_token);
    let reply = call.json(&body).send().await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    expect_ended_everywhere(&stack, &one).await;
    let reply = stack.refresh(&two.refresh_token).await;
    reply.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_wish_in_the_body_of_revoke_all_is_refused_and_nothing_ends() {
    let stack = Stack::start().await;
    let [one, two, _] = three_devices(&stack).await;
    let call = || {
        stack
            .post("/v1/sessions/revoke-all")
            .bearer(&one.access_token)
    };
    let reply = call().json(&json!({"keep_current": false})).send().await;
    reply.expect_problem(400, "invalid_request");
    assert_eq!(stack.session_ids(&two).await.len(), 3);
    let reply = call().json(&json!({})).send().await;
    assert_eq!(reply.expect(StatusCode::OK)["revoked"], 2);
}

#[tokio::test]
async fn signing_out_with_nothing_is_a_bad_request() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let call = || stack.post("/v1/auth/logout");
    let reply = call().send().await;
    reply.expect_problem(400, "invalid_request");
    let reply = call().header("authorization", b"Basic YTpi").send().await;
    reply.expect_problem(400, "invalid_request");
    let reply = stack.refresh(&ada.refresh_token).await;
    reply.expect(StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refresh_that_starts_after_a_revocation_was_answered_succeeds() {
    let stack = Stack::start().await;
    let keeper = stack.register("ada@example.com").await;
    for _ in 0..10 {
        let victim = stack.login("ada@example.com").await;
        let path = format!("/v1/sessions/{}", victim.session_id);
        let refreshes = join_all((0..6).map(|_| stack.refresh(&victim.refresh_token)));
        let (revoked, racing) = tokio::join!(
            stack.delete(&path).bearer(&keeper.access_token).send(),
            refreshes
        );
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
        // Whatever token the racers got is invalid now.
        for reply in racing {
            if reply.status == StatusCode::OK {
                let won = SignedIn::from(reply.body);
                stack.expect_ended(&won).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simultaneous_revocations_all_succeed_or_say_that_it_is_gone() {
    let stack = Stack::start().await;
    let keeper = stack.register("ada@example.com").await;
    let mut others = Vec::new();
    for _ in 0..6 {
        others.push(stack.login("ada@example.com").await);
    }
    let replies = join_all(others.iter().map(|other| {
        stack
            .delete(&format!("/v1/sessions/{}", other.session_id))
            .bearer(&keeper.access_token)
            .send()
    }))
    .await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == StatusCode::NO_CONTENT)
    );
    assert_eq!(stack.session_ids(&keeper).await, [keeper.session_id]);
}

#[tokio::test]
async fn a_session_that_expired_and_was_purged_cannot_be_revoked() {
    let stack = Stack::start().await;
    let old = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(6));
    let ada = stack.login("ada@example.com").await;
    stack.advance(TimeDelta::days(1));
    let ada = stack.refresh_session(&ada).await;
    let purge = stack
        .delete("/v1/sessions/expired")
        .bearer(&ada.access_token)
        .send()
        .await;
    assert_eq!(purge.expect(StatusCode::OK), json!({"removed": 1}));
    let path = format!("/v1/sessions/{}", old.session_id);
    let revoke = stack.delete(&path).bearer(&ada.access_token).send().await;
    revoke.expect_problem(404, "session_not_found");
    // Still in the account's set, but it was not live.
    let revoke_all = stack
        .post("/v1/sessions/revoke-all")
        .bearer(&ada.access_token)
        .send()
        .await;
    assert_eq!(revoke_all.expect(StatusCode::OK), json!({"revoked": 0}));
}
