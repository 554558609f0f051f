use http::StatusCode;
use latchkey_tests::harness::stack::{CHROME, PASSWORD, Stack};
use serde_json::json;

#[tokio::test]
async fn a_new_user_is_signed_in_at_once() {
    let stack = Stack::start().await;
    let body =
        json!({"email": "Ada@Example.com", "password": PASSWORD, "device_name": "Ada's laptop"});
    let reply = stack
        .post("/v1/auth/register")
        .user_agent(CHROME)
        .json(&body)
        .send()
        .await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let body = reply.expect(StatusCode::CREATED);
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(body["expires_in"], 900);
    assert_eq!(body["refresh_expires_in"], 604_800);
    assert_eq!(body["user"]["email"], "Ada@Example.com");
    assert_eq!(body["session"]["device_name"], "Ada's laptop");
    assert_eq!(body["session"]["device_type"], "desktop");
    assert_eq!(body["session"]["ip_address"], "203.0.113.7");
    assert_eq!(body["session"]["created_at"], "2026-03-01T12:00:00.000Z");
    assert_eq!(
        body["session"]["authenticated_at"],
        "2026-03-01T12:00:00.000Z"
    );
    assert_eq!(body["session"]["expires_at"], "2026-03-08T12:00:00.000Z");
    assert_eq!(body["session"]["is_current"], true);
    let access_token = body["access_token"].as_str().unwrap();
    let me = stack
        .get("/v1/me")
        .bearer(access_token)
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(me["email"], "Ada@Example.com");
    assert_eq!(
        (&me["roles"], &me["has_password"]),
        (&json!([]), &json!(true))
    );
}

#[tokio::test]
async fn an_address_is_taken_in_any_case() {
    let stack = Stack::start().await;
    stack.register("Ada@Example.com").await;
    let before = stack.items().await;
    for email in ["ada@example.com", "ADA@EXAMPLE.COM", "Ada@Example.com"] {
        let body = json!({"email": email, "password": PASSWORD});
        let reply = stack.post("/v1/auth/register").json(&body).send().await;
        reply.expect_problem(409, "email_taken");
    }
    assert_eq!(
        stack.items().await,
        before,
        "nothing is written on a refused request"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_simultaneous_registrations_of_an_address_one_succeeds() {
    let stack = Stack::start().await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let replies = futures::future::join_all(
        (0..6).map(|_| stack.post("/v1/auth/register").json(&body).send()),
    )
    .await;
    let made = replies
        .iter()
        .filter(|reply| reply.status == StatusCode::CREATED)
        .count();
    assert_eq!(made, 1);
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == StatusCode::CREATED || reply.code() == "email_taken")
    );
    assert_eq!(stack.items().await.len(), 3, "credential, account, session");
}

#[tokio::test]
async fn who_gets_both_values_wrong_hears_of_both_at_once() {
    let stack = Stack::start().await;
    for (password, code) in [("short", "too_short"), ("password1", "common")] {
        let body = json!({"email": "no address", "password": password});
        let reply = stack.post("/v1/auth/register").json(&body).send().await;
        let reply = reply.expect_problem(422, "validation_failed");
        let errors = reply.body["errors"].as_array().unwrap();
        let named: Vec<(&str, &str)> = errors
            .iter()
            .map(|error| {
                let text = |name: &str| error[name].as_str().unwrap();
                (text("pointer"), text("code"))
            })
            .collect();
        assert_eq!(named, [("#/email", "invalid_email"), ("#/password", code)]);
    }
    assert!(stack.items().await.is_empty());
}

#[tokio::test]
async fn a_weak_password_is_refused_with_what_is_wrong_with_it() {
    let stack = Stack::start().await;
    let long = "ä".repeat(129);
    for (password, code) in [
        ("zebra-7", "too_short"),
        (long.as_str(), "too_long"),
        ("password1", "common"),
        ("ada@example.com", "contains_email"),
        ("Latchkey-2026", "context_word"),
    ] {
        let body = json!({"email": "ada@example.com", "password": password});
        let reply = stack.post("/v1/auth/register").json(&body).send().await;
        let reply = reply.expect_problem(422, "weak_password");
        assert_eq!(reply.body["errors"][0]["code"], code);
        assert_eq!(reply.body["errors"][0]["pointer"], "#/password");
    }
    // 128 code points, more than 128 bytes.
    let body = json!({"email": "ada@example.com", "password": "äöüßéàçñ".repeat(16)});
    let reply = stack.post("/v1/auth/register").json(&body).send().await;
    assert_eq!(reply.status, StatusCode::CREATED);
}
