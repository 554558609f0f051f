//! Guarantee 9: guessing is bounded for each account and each address, counted before a password is checked, and no
//! stranger keeps an owner out of a device on which they have signed in before.

use axum::body::Body;
use chrono::TimeDelta;
use futures::future::join_all;
use http::{Method, Request, StatusCode};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::throttle::Limits;
use latchkey_tests::attack::faults::stack_with;
use latchkey_tests::harness::dynamodb::Cost;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};
use tower::ServiceExt;

const WRONG: &str = "not the password";
const ADA: &str = "ada@example.com";

fn limited(limits: Limits) -> SessionPolicy {
    SessionPolicy {
        limits,
        ..SessionPolicy::default()
    }
}

/// Guesses counted for an account and a device, not for an address.
async fn stack_that_counts_failures() -> Stack {
    let limits = Limits {
        address_attempts: 0,
        ..Limits::default()
    };
    unhurried(limits).await
}

/// A stack on which nothing times out or is turned away however much is asked for at once: no password waits for a thread,
/// and tokio's clock stands still where a test pauses it.
async fn unhurried(limits: Limits) -> Stack {
    stack_with(limited(limits), 1, Vec::new()).await.0
}

/// Attempts counted for an address, not for an account.
async fn stack_that_counts_addresses() -> Stack {
    let limits = Limits {
        free_failures: 0,
        ..Limits::default()
    };
    unhurried(limits).await
}

async fn login(stack: &Stack, email: &str, password: &str, device: Option<&str>) -> Reply {
    let body = json!({"email": email, "password": password, "device_token": device});
    stack.post("/v1/auth/login").json(&body).send().await
}

async fn login_from(stack: &Stack, email: &str, address: &str) -> Reply {
    let body = json!({"email": email, "password": WRONG});
    let call = stack.post("/v1/auth/login").json(&body);
    call.from_address(address.parse().unwrap()).send().await
}

/// Guesses so often, and says how many passwords were checked.
async fn guess(stack: &Stack, times: usize, device: Option<&str>) -> usize {
    let before = stack.core.passwords.jobs_done();
    for _ in 0..times {
        let reply = login(stack, ADA, WRONG, device).await;
        assert!([401, 429].contains(&reply.status.as_u16()));
    }
    usize::try_from(stack.core.passwords.jobs_done() - before).unwrap()
}

fn seconds(reply: &Reply) -> i64 {
    reply.header("retry-after").unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn of_two_hundred_guesses_at_once_exactly_the_free_ones_are_checked() {
    let stack = stack_that_counts_failures().await;
    stack.register(ADA).await;
    let before = stack.core.passwords.jobs_done();
    let replies = join_all((0..200).map(|_| login(&stack, ADA, WRONG, None))).await;
    let (refused, throttled): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == 401);
    assert_eq!((refused.len(), throttled.len()), (10, 190));
    assert_eq!(stack.core.passwords.jobs_done() - before, 10);
    for reply in throttled {
        let reply = reply.expect_problem(429, "too_many_requests");
        assert_eq!(seconds(&reply), 1);
        assert_eq!(reply.header("ratelimit-policy"), Some(r#""guesses";q=10"#));
        assert_eq!(reply.header("ratelimit"), Some(r#""guesses";r=0;t=1"#));
        assert_eq!(reply.body["violated-policies"], json!(["guesses"]));
    }
}

#[tokio::test]
async fn each_further_failure_doubles_the_wait_and_the_right_password_waits_too() {
    let stack = stack_that_counts_failures().await;
    stack.register(ADA).await;
    assert_eq!(guess(&stack, 10, None).await, 10);
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        let early = login(&stack, ADA, PASSWORD, None).await;
        let early = early.expect_problem(429, "too_many_requests");
        assert_eq!(seconds(&early), wait);
        stack.advance(TimeDelta::seconds(wait) - TimeDelta::milliseconds(1));
        assert_eq!(guess(&stack, 1, None).await, 0, "{wait}");
        stack.advance(TimeDelta::milliseconds(1));
        assert_eq!(guess(&stack, 2, None).await, 1, "{wait}");
    }
    stack.advance(TimeDelta::seconds(900));
    let right = login(&stack, ADA, PASSWORD, None).await;
    right.expect(StatusCode::OK);
    // The right password has cleared the count.
    assert_eq!(guess(&stack, 20, None).await, 10);
}

#[tokio::test]
async fn the_guesses_of_a_stranger_do_not_reach_the_owners_known_device() {
    let stack = stack_that_counts_failures().await;
    let ada = stack.register(ADA).await;
    let bob = stack.register("bob@example.com").await;
    let device = ada.device_token.as_deref();
    assert_eq!(guess(&stack, 500, None).await, 10);
    // A device token of another account makes nobody known.
    assert_eq!(guess(&stack, 500, bob.device_token.as_deref()).await, 0);
    let stranger = login(&stack, ADA, PASSWORD, None).await;
    stranger.expect_problem(429, "too_many_requests");
    let known = login(&stack, ADA, PASSWORD, device).await;
    assert_eq!(known.expect(StatusCode::OK)["device_token"], json!(device));
    // What the known device gets wrong is its own matter.
    assert_eq!(
        guess(&stack, 20, device).await,
        9,
        "the right one left a count"
    );
    let known = login(&stack, ADA, PASSWORD, device).await;
    known.expect_problem(429, "too_many_requests");
    stack.advance(TimeDelta::seconds(1));
    let known = login(&stack, ADA, PASSWORD, device).await;
    known.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_day_of_guessing_gets_a_hundred_tries_and_then_only_a_known_device_gets_in() {
    let stack = stack_that_counts_failures().await;
    let ada = stack.register(ADA).await;
    let (begin, mut checked) = (stack.now(), 0);
    while stack.now() - begin < TimeDelta::days(1) {
        let reply = login(&stack, ADA, WRONG, None).await;
        if reply.status == 429 {
            stack.advance(TimeDelta::seconds(seconds(&reply).min(900)));
        } else {
            reply.expect_problem(401, "invalid_credentials");
            checked += 1;
        }
    }
    assert_eq!(checked, 100);

    stack.advance(TimeDelta::days(2));
    let stranger = login(&stack, ADA, PASSWORD, None).await;
    let stranger = stranger.expect_problem(429, "too_many_requests");
    assert!(seconds(&stranger) > 20 * 86_400, "{stranger:?}");
    let known = login(&stack, ADA, PASSWORD, ada.device_token.as_deref()).await;
    known.expect(StatusCode::OK);
}

/// What a client sees, without what differs at each request.
fn seen(reply: &Reply) -> (StatusCode, Vec<(String, String)>, Value) {
    let mut body = reply.body.clone();
    body["request_id"] = json!("");
    let headers = reply.headers.iter();
    let headers = headers
        .filter(|(name, _)| *name != "x-request-id")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
    (reply.status, headers.collect(), body)
}

#[tokio::test]
async fn an_unknown_address_is_counted_as_a_known_one_is() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let bob = stack.register("bob@example.com").await;
    let tries = async |email: &str, device: Option<&str>| {
        let mut tries: Vec<(_, Cost, Vec<String>, u64)> = Vec::new();
        for _ in 0..13 {
            drop(stack.recorder.take());
            let hashed = stack.core.passwords.jobs_done();
            let reply = login(&stack, email, WRONG, device).await;
            let hashed = stack.core.passwords.jobs_done() - hashed;
            let calls = stack.recorder.take();
            let mut operations: Vec<String> =
                calls.iter().map(|call| call.operation.clone()).collect();
            operations.sort();
            let cost = Cost::of(&calls);
            tries.push((seen(&reply), cost, operations, hashed));
        }
        stack.advance(TimeDelta::minutes(1));
        tries
    };
    let known = tries(ADA, None).await;
    assert_eq!(tries("nobody@example.com", None).await, known);
    assert!(known[0].3 == 1 && known[12].3 == 0, "{known:?}");
    // Nor does a device token of another account tell who has one.
    let with_token = tries("carol@example.com", bob.device_token.as_deref()).await;
    stack.register("dora@example.com").await;
    assert_eq!(
        tries("dora@example.com", bob.device_token.as_deref()).await,
        with_token
    );
    assert_eq!(with_token[0].1.trips, known[0].1.trips + 1);
}

#[tokio::test]
async fn people_who_share_a_device_do_not_use_up_each_others_attempts() {
    let stack = stack_that_counts_failures().await;
    let ada = stack.register(ADA).await;
    stack.register("bob@example.com").await;
    let device = ada.device_token.as_deref();
    for _ in 0..30 {
        let reply = login(&stack, "bob@example.com", PASSWORD, device).await;
        let bob = SignedIn::from(reply.expect(StatusCode::OK));
        assert_ne!(bob.device_token.as_deref(), device, "it is ada's");
    }
    // And nobody forgives themselves by signing in to another account.
    assert_eq!(guess(&stack, 9, device).await, 9);
    let reply = login(&stack, "bob@example.com", PASSWORD, device).await;
    reply.expect(StatusCode::OK);
    assert_eq!(guess(&stack, 9, device).await, 1);
    // Where ada would have to wait, bob does not.
    let reply = login(&stack, "bob@example.com", PASSWORD, device).await;
    reply.expect(StatusCode::OK);
}

#[tokio::test]
async fn whoever_shows_the_device_token_of_another_account_is_a_stranger() {
    let stack = stack_that_counts_failures().await;
    stack.register(ADA).await;
    let bob = stack.register("bob@example.com").await;
    let carol = stack.register("carol@example.com").await;
    // Accounts cost nothing, so their tokens must not give more guesses at another's password.
    assert_eq!(guess(&stack, 20, bob.device_token.as_deref()).await, 10);
    assert_eq!(guess(&stack, 20, carol.device_token.as_deref()).await, 0);
    assert_eq!(guess(&stack, 20, None).await, 0);
}

#[tokio::test]
async fn the_right_password_clears_the_count() {
    let stack = stack_that_counts_failures().await;
    stack.register(ADA).await;
    for _ in 0..3 {
        assert_eq!(guess(&stack, 9, None).await, 9);
        stack.login(ADA).await;
        let items = stack.items_with_counters().await;
        let throttle = |item: &&Value| item["pk"].as_str().unwrap().starts_with("THROTTLE#");
        assert_eq!(items.iter().find(throttle), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_may_send_so_many_requests_with_a_password_in_a_minute_on_all_routes_together() {
    let stack = stack_that_counts_addresses().await;
    stack.advance(TimeDelta::seconds(42));
    let ada = stack.register(ADA).await;
    let wrong = stack.change_password(&ada, WRONG, "another good password");
    wrong.await.expect_problem(403, "wrong_password");
    let wrong = stack.delete_account(&ada, WRONG).await;
    wrong.expect_problem(403, "wrong_password");
    let no_address = login(&stack, "no address", WRONG, None).await;
    no_address.expect_problem(401, "invalid_credentials");
    let rest = (0..200).map(|number| {
        let email = format!("{number}@example.com");
        let stack = &stack;
        async move { login(stack, &email, WRONG, None).await }
    });
    let replies = join_all(rest).await;
    let checked = replies.iter().filter(|reply| reply.status == 401).count();
    assert_eq!(checked, 56);
    let (before, items) = (
        stack.core.passwords.jobs_done(),
        stack.items_with_counters().await,
    );
    let body = json!({"email": "carol@example.com", "password": PASSWORD});
    let change = stack.change_password(&ada, PASSWORD, "another good password");
    let (change, deletion) = (change.await, stack.delete_account(&ada, PASSWORD).await);
    for reply in [
        login(&stack, ADA, PASSWORD, ada.device_token.as_deref()).await,
        login(&stack, "no address", WRONG, None).await,
        stack.post("/v1/auth/register").json(&body).send().await,
        change,
        deletion,
        stack.request_email_change(&ada, "ada@example.org").await,
        stack.reauthenticate(&ada, PASSWORD).await,
    ] {
        let reply = reply.expect_problem(429, "too_many_requests");
        assert_eq!(seconds(&reply), 18);
        let policy = r#""signin";q=60;w=60"#;
        assert_eq!(reply.header("ratelimit-policy"), Some(policy));
        assert_eq!(reply.header("ratelimit"), Some(r#""signin";r=0;t=18"#));
        assert_eq!(reply.body["violated-policies"], json!(["signin"]));
    }
    // None was checked or hashed, and nothing was written.
    assert_eq!(stack.core.passwords.jobs_done(), before);
    assert_eq!(stack.items_with_counters().await.len(), items.len());
    let elsewhere = login_from(&stack, ADA, "198.51.100.7").await;
    elsewhere.expect_problem(401, "invalid_credentials");
    stack.advance(TimeDelta::seconds(18));
    stack.login(ADA).await;
}

#[tokio::test]
async fn an_ipv6_client_is_its_64_and_clients_without_an_address_share_one_limit() {
    let limits = Limits {
        address_attempts: 2,
        free_failures: 0,
        ..Limits::default()
    };
    let stack = Stack::with_policy(limited(limits)).await;
    for (address, status) in [
        ("2001:db8:1:2::7", 401),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", 401),
        ("2001:db8:1:2::8", 429),
        ("2001:db8:1:3::7", 401),
        ("203.0.113.9", 401),
        ("::ffff:203.0.113.9", 401),
        ("203.0.113.9", 429),
    ] {
        let reply = login_from(&stack, ADA, address).await;
        assert_eq!(reply.status, status, "{address}");
    }
    let mut without = Vec::new();
    for _ in 0..3 {
        let body = json!({"email": ADA, "password": WRONG}).to_string();
        let request = Request::post("/v1/auth/login").header("content-type", "application/json");
        let request = request.body(Body::from(body)).unwrap();
        let reply = stack.router().oneshot(request).await.unwrap();
        without.push(reply.status().as_u16());
    }
    assert_eq!(without, [401, 401, 429]);
}

#[tokio::test]
async fn the_table_reveals_neither_an_address_nor_an_email_that_was_tried() {
    let stack = Stack::start().await;
    let ada = stack.register("owner@example.com").await;
    let device = ada.device_token.as_deref();
    let before = stack.items_with_counters().await.len();
    login_from(&stack, "secret.lover@example.com", "198.51.100.77").await;
    login_from(&stack, "secret.lover@example.com", "2001:db8:77:1::5").await;
    login(&stack, "owner@example.com", WRONG, device).await;
    let items = stack.items_with_counters().await;
    // Two addresses, the account that is none, and the device; the third address was there.
    assert_eq!(items.len(), before + 4);
    let digest = |text: &str| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            &digest.as_ref()[..16],
        )
    };
    let all = json!(items).to_string().to_lowercase();
    for hidden in [
        "secret.lover",
        "198.51.100.77",
        "2001:db8:77",
        &digest("secret.lover@example.com"),
        &digest("account\0secret.lover@example.com"),
    ] {
        assert!(!all.contains(&hidden.to_lowercase()), "{hidden}");
    }
    let counters = items.iter().filter(|item| {
        let key = item["pk"].as_str().unwrap();
        key.starts_with("THROTTLE#") && item["ttl"].as_i64().unwrap() > 0
    });
    assert_eq!(counters.count(), 5);
}

#[tokio::test]
async fn each_limit_that_is_zero_is_off() {
    let stack = Stack::with_policy(limited(Limits::off())).await;
    let ada = stack.register(ADA).await;
    assert_eq!(guess(&stack, 70, None).await, 70);
    assert_eq!(guess(&stack, 15, ada.device_token.as_deref()).await, 15);
    for _ in 0..40 {
        assert_eq!(stack.session_ids(&ada).await.len(), 1);
        let name = json!({"name": "x"});
        let path = format!("/v1/sessions/{}", ada.session_id);
        let rename = stack.request(Method::PATCH, &path).json(&name);
        let rename = rename.bearer(&ada.access_token).send().await;
        rename.expect(StatusCode::OK);
        let purge = stack.delete("/v1/sessions/expired");
        let purge = purge.bearer(&ada.access_token).send().await;
        purge.expect(StatusCode::OK);
    }
    let items = stack.items_with_counters().await;
    let (marks, others): (Vec<_>, Vec<_>) = items
        .iter()
        .partition(|item| item.get("failed_sign_in").is_some());
    assert_eq!(others.len(), 3, "nothing is counted: {items:?}");
    // The last refused sign-in of strangers, and that of the known device: its user hears of both.
    assert_eq!(marks.len(), 2);
    assert!(marks.iter().all(|mark| mark.get("attempts").is_none()));
}

#[tokio::test]
async fn the_requests_of_a_user_are_limited_before_anything_is_read() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let bob = stack.register("bob@example.com").await;
    stack.advance(TimeDelta::seconds(15));
    let own = format!("/v1/sessions/{}", ada.session_id);
    let unknown = "/v1/sessions/00000000-0000-4000-8000-000000000000";
    let send = async |method: Method, path: &str, who: &SignedIn| {
        let call = stack
            .request(method.clone(), path)
            .bearer(&who.access_token);
        match method {
            Method::PATCH => call.json(&json!({"name": "x"})).send().await,
            _ => call.send().await,
        }
    };
    type Routes<'a> = &'a [(Method, &'a str)];
    let changes: Routes<'_> = &[
        (Method::PATCH, &own),
        (Method::DELETE, unknown),
        (Method::POST, "/v1/sessions/revoke-all"),
    ];
    for (name, quota, routes) in [
        ("list", 30, &[(Method::GET, "/v1/sessions")][..]),
        ("change", 10, changes),
        ("purge", 5, &[(Method::DELETE, "/v1/sessions/expired")]),
    ] {
        for (number, (method, path)) in routes.iter().cycle().take(quota + 3).enumerate() {
            drop(stack.recorder.take());
            let reply = send(method.clone(), path, &ada).await;
            if number < quota {
                assert_ne!(reply.status, 429, "{name} {number}");
                continue;
            }
            let reply = reply.expect_problem(429, "too_many_requests");
            assert_eq!(seconds(&reply), 45);
            let policy = format!("\"{name}\";q={quota};w=60");
            assert_eq!(reply.header("ratelimit-policy"), Some(policy.as_str()));
            let left = format!("\"{name}\";r=0;t=45");
            assert_eq!(reply.header("ratelimit"), Some(left.as_str()));
            assert_eq!(reply.body["violated-policies"], json!([name]));
            assert!(stack.recorder.take().is_empty(), "{name}");
        }
        let (method, path) = routes.last().unwrap();
        let other = send(method.clone(), path, &bob).await;
        assert_eq!(other.status, 200, "{name}: {}", other.body);
    }
    // Other routes are not among them, nor is the next minute.
    send(Method::GET, "/v1/sessions/current", &ada)
        .await
        .expect(StatusCode::OK);
    stack.advance(TimeDelta::seconds(45));
    send(Method::GET, "/v1/sessions", &ada)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_exceeds_both_limits_is_told_of_the_longer_wait() {
    let limits = Limits {
        address_attempts: 10,
        ..Limits::default()
    };
    let stack = Stack::with_policy(limited(limits)).await;
    for _ in 0..10 {
        login_from(&stack, ADA, "198.51.100.7").await;
    }
    let reply = login_from(&stack, ADA, "198.51.100.7").await;
    let reply = reply.expect_problem(429, "too_many_requests");
    assert_eq!(
        reply.body["violated-policies"],
        json!(["signin", "guesses"])
    );
    assert_eq!(seconds(&reply), 60);
    let reply = login_from(&stack, ADA, "198.51.100.8").await;
    assert_eq!(reply.body["violated-policies"], json!(["guesses"]));
}
