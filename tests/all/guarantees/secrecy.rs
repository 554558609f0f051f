//! Guarantee 10: a table read by a thief yields no usable token. And: no secret is logged.

use http::{Method, StatusCode};
use latchkey_domain::client::ClientScope;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{DEVICE_SECRET, PASSWORD, SECRET, Stack};
use serde_json::json;

#[tokio::test]
async fn no_token_and_nothing_that_makes_one_is_in_the_table() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let next = stack.refresh_session(&ada).await;
    let table = json!(stack.items().await).to_string();
    let mut secrets = vec![
        PASSWORD.to_owned(),
        String::from_utf8(SECRET.to_vec()).unwrap(),
        String::from_utf8(DEVICE_SECRET.to_vec()).unwrap(),
    ];
    for token in [
        &ada.access_token,
        &ada.refresh_token,
        &next.access_token,
        &next.refresh_token,
    ] {
        // Not the token, no part of it, and no hash of it.
        secrets.extend(token.split('.').map(str::to_owned));
        secrets.extend(digests(token));
    }
    for secret in secrets {
        assert!(!table.contains(&secret), "{secret}");
    }
}

fn digests(token: &str) -> Vec<String> {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    [&SHA256, &SHA512]
        .iter()
        .flat_map(|algorithm| {
            let hash = digest(algorithm, token.as_bytes());
            let hex: String = hash
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            [
                hex,
                STANDARD.encode(hash.as_ref()),
                URL_SAFE_NO_PAD.encode(hash.as_ref()),
            ]
        })
        .collect()
}

/// Through every kind of route and their refusals, at the most talkative level that the service can be set to.
#[tokio::test]
async fn no_secret_is_logged_and_the_audit_trail_is() {
    let log = Log::capture();
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let two = stack.login("ada@example.com").await;
    let three = stack.login("ada@example.com").await;
    stack
        .try_login("ada@example.com", "a wrong password")
        .await
        .expect_problem(401, "invalid_credentials");
    let next = stack.refresh_session(&two).await;
    stack.advance(chrono::TimeDelta::seconds(31));
    stack
        .refresh(&two.refresh_token)
        .await
        .expect_problem(401, "refresh_token_reused");
    let forged = format!("{}x", ada.refresh_token);
    stack
        .refresh(&forged)
        .await
        .expect_problem(401, "invalid_refresh_token");
    for path in [
        "/v1/sessions",
        "/v1/sessions/current",
        "/v1/me",
        "/docs",
        "/openapi.json",
        "/nowhere",
    ] {
        stack.get(path).bearer(&ada.access_token).send().await;
        stack.get(path).bearer(&forged).send().await;
    }
    let named = json!({"name": "a secret name"});
    let path = format!("/v1/sessions/{}", three.session_id);
    stack
        .request(Method::PATCH, &path)
        .bearer(&ada.access_token)
        .json(&named)
        .send()
        .await;
    stack.delete(&path).bearer(&ada.access_token).send().await;
    stack
        .delete("/v1/sessions/expired")
        .bearer(&ada.access_token)
        .send()
        .await;
    let four = stack.login("ada@example.com").await;
    let logout = json!({"refresh_token": four.refresh_token});
    stack.post("/v1/auth/logout").json(&logout).send().await;
    let client = stack.add_client("orders-api", &ClientScope::ALL).await;
    let five = stack.login("ada@example.com").await;
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        for (secret, token) in [
            (client.as_str(), &five.access_token),
            ("a wrong secret", &forged),
        ] {
            let call = stack.post(path).basic("orders-api", secret);
            call.form(&[("token", token)]).send().await;
        }
    }
    let elsewhere = json!({
        "identity": {"issuer": "https://idp.example.com", "subject": "a secret subject"},
        "email": "grace@example.com",
        "amr": ["pwd"],
    });
    for secret in [client.as_str(), &client, "a wrong secret"] {
        let call = stack
            .post("/v1/service/sessions")
            .basic("orders-api", secret);
        call.json(&elsewhere).send().await;
    }
    // A secret in the field of the id.
    let swapped = stack.post("/oauth/introspect").basic(&client, "orders-api");
    swapped.form(&[("token", &five.access_token)]).send().await;
    let root = stack.administrator("root@example.com").await;
    for path in [
        "/v1/admin/users".to_owned(),
        "/v1/admin/users?email=ada%40example.com".to_owned(),
        format!("/v1/admin/users/{}", ada.user_id.unwrap()),
        format!("/v1/admin/users/{}/sessions", ada.user_id.unwrap()),
        format!("/v1/admin/sessions/{}", ada.session_id),
    ] {
        stack.get(&path).bearer(&root.access_token).send().await;
        stack.get(&path).bearer(&ada.access_token).send().await;
    }
    let malformed =
        br#"{"email": "ada@example.com", "password": ["correct horse battery staple"]}"#;
    stack
        .post("/v1/auth/login")
        .bytes("application/json", malformed)
        .send()
        .await;
    let proved = stack.reauthenticate(&ada, PASSWORD).await;
    let proved = SignedIn::from(proved.expect(StatusCode::OK));
    let change =
        json!({"current_password": PASSWORD, "new_password": "wrong donkey charger paperclip"});
    let reply = stack
        .request(Method::PUT, "/v1/me/password")
        .bearer(&ada.access_token)
        .json(&change);
    let changed = SignedIn::from(reply.send().await.expect(StatusCode::OK));
    stack
        .post("/v1/sessions/revoke-all")
        .bearer(&changed.access_token)
        .send()
        .await;
    let wrong = json!({"password": "a wrong password"});
    stack
        .post("/v1/me/delete")
        .bearer(&changed.access_token)
        .json(&wrong)
        .send()
        .await;
    let right = json!({"password": "wrong donkey charger paperclip"});
    let deleted = stack
        .post("/v1/me/delete")
        .bearer(&changed.access_token)
        .json(&right)
        .send()
        .await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);

    let log = log.end();
    for secret in [
        PASSWORD,
        "a wrong password",
        "wrong donkey charger paperclip",
        "$argon2",
        "ada@example.com",
        "a secret name",
        &client,
        "a wrong secret",
        "a secret subject",
        "grace@example.com",
        "root@example.com",
        std::str::from_utf8(SECRET).unwrap(),
        std::str::from_utf8(DEVICE_SECRET).unwrap(),
    ] {
        assert!(!log.contains(secret), "{secret}");
    }
    for token in [
        &ada, &two, &three, &four, &five, &next, &proved, &changed, &root,
    ] {
        let device = token.device_token.as_ref();
        for secret in [&token.access_token, &token.refresh_token]
            .into_iter()
            .chain(device)
        {
            assert!(!log.contains(secret.rsplit('.').next().unwrap()));
        }
    }
    let user = format!("user_id={}", ada.user_id.unwrap());
    for (session, what) in [
        (Some(&two), r#"reason="token_reuse""#),
        (Some(&two), "a replaced refresh token was used again"),
        (Some(&three), r#"reason="revoked""#),
        (Some(&four), r#"reason="logged_out""#),
        (Some(&ada), "reauthenticated"),
        (Some(&ada), r#"reason="password_changed""#),
        (Some(&changed), r#"reason="account_deleted""#),
        (Some(&five), "actor=client:orders-api"),
        (None, r#"sign-in refused"#),
        (None, r#"confirmation refused"#),
    ] {
        let session = session
            .map(|one| format!("session_id={}", one.session_id))
            .unwrap_or_default();
        let found = log
            .lines()
            .any(|line| line.contains(what) && line.contains(&user) && line.contains(&session));
        assert!(found, "{what} {session} in:\n{log}");
    }
}
