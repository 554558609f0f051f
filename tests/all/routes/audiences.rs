//! Access tokens for other APIs: they open nothing here, and change nothing about the session.

use http::{Method, StatusCode};
use latchkey_tests::attack::forgery::read_part;
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{OTHER_AUDIENCE, PASSWORD, Stack};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";

async fn refresh_for(stack: &Stack, token: &str, audience: &str) -> SignedIn {
    let body = json!({"refresh_token": token, "audience": audience});
    let reply = stack.post("/v1/auth/refresh").json(&body).send().await;
    SignedIn::from(reply.expect(StatusCode::OK))
}

fn claims(who: &SignedIn) -> Value {
    read_part(&who.access_token, 1)
}

#[tokio::test]
async fn a_token_for_another_audience_is_for_it_alone() {
    let stack = Stack::start().await;
    for route in ["/v1/auth/register", "/v1/auth/login"] {
        let body = json!({"email": ADA, "password": PASSWORD, "audience": OTHER_AUDIENCE});
        let reply = stack.post(route).json(&body).send().await;
        assert!(reply.status.is_success(), "{}", reply.body);
        let ada = SignedIn::from(reply.body);
        let of_other = claims(&ada);
        assert_eq!(of_other["aud"], OTHER_AUDIENCE);
        assert_eq!(of_other.get("scope"), None);
        // The refresh token is the session's: it is for no API.
        let refresh = read_part(&ada.refresh_token, 1);
        assert_eq!(refresh["aud"], "https://id.example.com");
        let own = stack.refresh(&ada.refresh_token).await;
        let own = claims(&SignedIn::from(own.expect(StatusCode::OK)));
        assert_eq!(
            (&own["aud"], &own["scope"]),
            (&json!("latchkey"), &json!("account"))
        );
        for name in ["iss", "sub", "sid", "client_id", "auth_time", "amr"] {
            assert_eq!(own[name], of_other[name], "{name}");
        }
    }
}

/// By construction: every operation of the document, whatever it is.
#[tokio::test]
async fn a_token_for_another_audience_opens_no_route() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    stack.login(ADA).await;
    let foreign = refresh_for(&stack, &ada.refresh_token, OTHER_AUDIENCE).await;
    let before = stack.items().await;
    let mut refused = 0;
    for (path, item) in conformity::document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(ways) = operation.get("security").and_then(Value::as_array) else {
                continue;
            };
            // The others want a client's credentials, or none.
            let wants_access_token = |way: &Value| way.get("access_token").is_some();
            if !ways.iter().any(wants_access_token) {
                continue;
            }
            let session = ada.session_id.to_string();
            let path = path
                .replace("{user_id}", &ada.user_id.unwrap().to_string())
                .replace("{session_id}", &session)
                .replace("{id}", &session);
            let method: Method = method.to_uppercase().parse().unwrap();
            let call = stack.request(method, &path).bearer(&foreign.access_token);
            // A sign-out may go without a token, and answers a useless one as a good one (RFC 7009).
            if ways.contains(&json!({})) {
                let reply = call.send().await;
                assert_eq!(reply.status, StatusCode::NO_CONTENT, "{path}");
                continue;
            }
            let media = &operation["requestBody"]["content"]["application/json"];
            let reply = match example(media) {
                Some(body) => call.json(&body).send().await,
                None => call.send().await,
            };
            reply.expect_problem(401, "invalid_token");
            refused += 1;
        }
    }
    assert!(refused >= 10, "{refused}");
    assert_eq!(stack.items().await, before, "nothing has ended or changed");
}

fn example(media: &Value) -> Option<Value> {
    let named = media["examples"]
        .as_object()
        .and_then(|all| all.values().next());
    media
        .get("example")
        .or(named.map(|one| &one["value"]))
        .cloned()
}

#[tokio::test]
async fn a_refresh_for_another_audience_does_not_change_what_the_session_is() {
    let (ours, theirs) = (Stack::start().await, Stack::start().await);
    let (one, two) = (ours.register(ADA).await, theirs.register(ADA).await);
    let own = ours.refresh_session(&one).await;
    let foreign = refresh_for(&theirs, &two.refresh_token, OTHER_AUDIENCE).await;
    assert_eq!(ours.items().await, theirs.items().await);
    assert_eq!(own.refresh_token, foreign.refresh_token);
    // The audience is not kept: the next refresh that names none is for this API.
    theirs.pass_interval();
    let next = theirs.refresh_session(&foreign).await;
    assert_eq!(claims(&next)["aud"], "latchkey");
    // The service's own name is an audience like none.
    let named = refresh_for(&theirs, &next.refresh_token, "latchkey").await;
    assert_eq!(claims(&named)["scope"], "account");
}

#[tokio::test]
async fn an_unknown_audience_is_refused_before_anything_is_done() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let before = stack.items().await;
    drop(stack.recorder.take());
    for audience in [
        "",
        "orders",
        "https://orders.example.com/",
        "https://id.example.com",
    ] {
        for (route, body) in [
            (
                "register",
                json!({"email": "bob@example.com", "password": PASSWORD}),
            ),
            ("login", json!({"email": ADA, "password": PASSWORD})),
            ("refresh", json!({"refresh_token": ada.refresh_token})),
        ] {
            let mut body = body;
            body["audience"] = json!(audience);
            let call = stack.post(&format!("/v1/auth/{route}")).json(&body);
            let reply = call.send().await.expect_problem(422, "validation_failed");
            let error = &reply.body["errors"][0];
            assert_eq!(error["pointer"], "#/audience");
            assert_eq!(error["code"], "invalid_target");
        }
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    assert_eq!(stack.items().await, before);
    let null = json!({"email": ADA, "password": PASSWORD, "audience": null});
    let reply = stack.post("/v1/auth/login").json(&null).send().await;
    reply.expect(StatusCode::OK);
}
