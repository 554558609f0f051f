//! Guarantee 8: bad input gets a 4xx with a code, nothing makes a 5xx, nothing is written on a refused request.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::client::ClientScope;
use latchkey_domain::token::{Scope, TokenIdentity, TokenSecret, Tokens};
use latchkey_tests::attack::forgery::{part, read_part};
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, SECRET, Stack, identity, without_limits};
use serde_json::{Value, json};

/// Every route that takes a body, with the fields that it needs.
const WITH_BODY: [(Method, &str, &[&str]); 14] = [
    (Method::POST, "/v1/auth/register", &["email", "password"]),
    (Method::POST, "/v1/auth/login", &["email", "password"]),
    (Method::POST, "/v1/auth/refresh", &["refresh_token"]),
    (Method::POST, "/v1/auth/logout", &["refresh_token"]),
    (Method::PATCH, "/v1/sessions/{id}", &["name"]),
    (
        Method::PUT,
        "/v1/me/password",
        &["current_password", "new_password"],
    ),
    (Method::POST, "/v1/me/delete", &["password"]),
    (Method::POST, "/v1/service/sessions", &["identity"]),
    (Method::POST, "/v1/auth/reauthenticate", &["password"]),
    (Method::POST, "/v1/auth/password-reset", &["email"]),
    (
        Method::POST,
        "/v1/auth/password-reset/confirm",
        &["token", "new_password"],
    ),
    (Method::POST, "/v1/auth/verify-email", &["token"]),
    (Method::PUT, "/v1/me/email", &["email", "password"]),
    (
        Method::POST,
        "/v1/service/users/{user_id}/links",
        &["purpose"],
    ),
];

/// The type of a form. What reads one has its own tests, in `routes::clients`.
const FORM: &str = "application/x-www-form-urlencoded";

fn path_for(path: &str, ada: &SignedIn) -> String {
    let session = ada.session_id.to_string();
    path.replace("{user_id}", &ada.user_id.unwrap().to_string())
        .replace("{session_id}", &session)
        .replace("{id}", &session)
}

/// The list above is whole: what the document says of bodies is what is tried here, but for administration, whose callers
/// have another scope and whose fields other types. `every_operation` tries those.
#[test]
fn every_route_that_takes_json_is_tried() {
    let mut documented = Vec::new();
    for (path, item) in conformity::document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let is_elsewhere = path.starts_with("/v1/admin/");
            let content = &operation["requestBody"]["content"];
            if content.get("application/json").is_some() && !is_elsewhere {
                documented.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let mut tried: Vec<String> = WITH_BODY
        .iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    documented.sort();
    tried.sort();
    assert_eq!(tried, documented);
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_on_every_route() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let nested = format!("{}{}", "[".repeat(8_000), "]".repeat(8_000));
    let nested_field = format!(r#"{{"x": {nested}}}"#);
    let large = format!(r#"{{"x": "{}"}}"#, "y".repeat(16 * 1024));
    for (method, path, fields) in WITH_BODY {
        let path = path_for(path, &ada);
        let call = || {
            stack
                .request(method.clone(), &path)
                .bearer(&ada.access_token)
        };
        let json_call = |body: &[u8]| call().bytes("application/json", body).send();
        let good = good_body(fields, &ada);
        let in_order: Vec<&Value> = fields.iter().map(|field| &good[field]).collect();
        let array = json!(in_order).to_string();
        let array_with_all = format!("{},null]", array.trim_end_matches(']'));
        let deep = "[".repeat(15_000);
        for other in [
            array.as_bytes(),
            array_with_all.as_bytes(),
            deep.as_bytes(),
            b" \t\r\n[]",
            b"null",
            b"true",
            b"7",
            b"\"x\"",
        ] {
            let reply = json_call(other).await;
            let reply = reply.expect_problem(400, "invalid_request");
            assert_eq!(reply.body["detail"], "The body is not a JSON object.");
        }
        for number in ["1e999", "-1e999"] {
            let body = format!(r#"{{"{}": {number}}}"#, fields[0]);
            let reply = json_call(body.as_bytes()).await;
            let reply = reply.expect_problem(400, "invalid_request");
            let detail = format!("The field {} has a number that is out of range.", fields[0]);
            assert_eq!(reply.body["detail"], detail);
        }
        for malformed in [
            &b""[..],
            b" \r\n",
            b"{",
            b"null",
            b"[]",
            b"\"x\"",
            b"7",
            b"{}x",
            b"{\"email\": \"a\", \"email\": \"b\"}",
            b"\xff\xfe",
            b"{\"email\": \"\xff\"}",
            b"{\"email\": \"\\ud800\"}",
            b"\0",
            nested.as_bytes(),
            nested_field.as_bytes(),
        ] {
            if path.ends_with("/logout") && malformed.is_empty() {
                continue; // Without a body, the header says who signs out.
            }
            let shown = String::from_utf8_lossy(&malformed[..malformed.len().min(40)]).into_owned();
            let reply = json_call(malformed).await;
            assert_eq!(
                (reply.status.as_u16(), reply.code()),
                (400, "invalid_request"),
                "{path} {shown}"
            );
        }
        if !path.ends_with("/logout") {
            let reply = json_call(b"").await;
            let reply = reply.expect_problem(400, "invalid_request");
            assert_eq!(
                reply.body["detail"],
                "The body is empty. Send a JSON object."
            );
        }
        // A field that is not known is ignored, but a text that is not in UTF-8 is no JSON.
        let good = good_body(fields, &ada).to_string();
        for unknown in [
            &b"\"x\": \"\xff\""[..],
            b"\"\xc3\": 1",
            b"\"x\": [{\"y\": \"\xed\xa0\x80\"}]",
        ] {
            let body = [b"{", unknown, b", ", &good.as_bytes()[1..]].concat();
            let reply = json_call(&body).await;
            let reply = reply.expect_problem(400, "invalid_request");
            assert_eq!(reply.body["detail"], "The body is not in UTF-8.", "{path}");
        }
        for field in fields {
            let mut body = good_body(fields, &ada);
            body[field] = json!(7);
            let reply = json_call(body.to_string().as_bytes()).await;
            let kind = if *field == "identity" {
                "an object"
            } else {
                "a string"
            };
            let detail = format!("The field {field} must be {kind}.");
            assert_eq!(reply.body["detail"], detail, "{path}");
            body.as_object_mut().unwrap().remove(*field);
            let reply = json_call(body.to_string().as_bytes()).await;
            let detail = format!("The field {field} is missing.");
            assert_eq!(reply.body["detail"], detail, "{path}");
            for wrong in [json!(7), json!(true), json!([]), json!({}), json!(["x"])] {
                let mut body = good_body(fields, &ada);
                body[field] = wrong;
                json_call(body.to_string().as_bytes())
                    .await
                    .expect_problem(400, "invalid_request");
            }
            let mut body = good_body(fields, &ada);
            body.as_object_mut().unwrap().remove(*field);
            json_call(body.to_string().as_bytes())
                .await
                .expect_problem(400, "invalid_request");
        }
        json_call(large.as_bytes())
            .await
            .expect_problem(413, "payload_too_large");
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/xml",
            "",
            "nonsense",
            "application/foo/bar+json",
        ] {
            let body = good_body(fields, &ada).to_string();
            let reply = call().bytes(kind, body.as_bytes()).send().await;
            reply.expect_problem(415, "unsupported_media_type");
        }
        if !path.ends_with("/logout") {
            let reply = call().send().await;
            reply.expect_problem(415, "unsupported_media_type");
        }
        for coding in [&b"gzip"[..], b"x-foo", b"identity, br", b"\xff"] {
            let body = good_body(fields, &ada).to_string();
            let reply = call()
                .bytes("application/json", body.as_bytes())
                .header("content-encoding", coding)
                .send()
                .await
                .expect_problem(415, "unsupported_media_type");
            // RFC 9110 section 15.5.16: it was not the media type.
            assert_eq!(reply.header("accept-encoding"), Some("identity"));
        }
    }
    assert_eq!(
        stack.items().await,
        before,
        "nothing is written on a refused request"
    );
}

fn good_body(fields: &[&str], ada: &SignedIn) -> Value {
    let value = |field: &str| match field {
        "email" => json!("bob@example.com"),
        "refresh_token" => json!(ada.refresh_token),
        "name" => json!("Kitchen"),
        "identity" => json!({"issuer": "https://accounts.example.com", "subject": "7"}),
        _ => json!(PASSWORD),
    };
    let mut body: Value = fields
        .iter()
        .map(|field| ((*field).to_owned(), value(field)))
        .collect();
    if fields.contains(&"identity") {
        body["amr"] = json!(["pwd"]);
    }
    body
}

#[tokio::test]
async fn a_charset_and_unknown_fields_do_no_harm() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let body =
        json!({"email": "ada@example.com", "password": PASSWORD, "x": {"y": [1]}, "role": "admin"});
    for kind in [
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/vnd.api+json",
    ] {
        let reply = stack
            .post("/v1/auth/login")
            .bytes(kind, body.to_string().as_bytes())
            .header("content-encoding", b"identity")
            .send()
            .await;
        assert_eq!(reply.status, StatusCode::OK, "{kind}");
    }
}

#[tokio::test]
async fn a_value_that_is_not_allowed_is_refused_before_anything_is_written() {
    let stack = Stack::with_policy(without_limits()).await;
    let long = "x".repeat(5_000);
    for email in [
        "",
        " ",
        "ada",
        "ada@",
        "@example.com",
        "ada@example",
        "a da@example.com",
        "ada@exam ple.com",
        "ada@exa\u{0}mple.com",
        "ada\n@example.com",
        "ada@example.com\u{202e}",
        "ada@@example.com",
        "ada..lovelace@example.com",
        long.as_str(),
    ] {
        let body = json!({"email": email, "password": PASSWORD});
        let reply = stack.post("/v1/auth/register").json(&body).send().await;
        let reply = reply.expect_problem(422, "validation_failed");
        assert_eq!(reply.body["errors"][0]["pointer"], "#/email");
        stack
            .try_login(email, PASSWORD)
            .await
            .expect_problem(401, "invalid_credentials");
    }
    for name in ["", "  ", "a\u{0}b", "a\tb", long.as_str()] {
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "device_name": name});
        for path in ["/v1/auth/register", "/v1/auth/login"] {
            let reply = stack
                .post(path)
                .json(&body)
                .send()
                .await
                .expect_problem(422, "validation_failed");
            assert_eq!(reply.body["errors"][0]["pointer"], "#/device_name");
        }
    }
    for password in [long.as_str(), "\u{0}", "", "🔑"] {
        stack
            .try_login("ada@example.com", password)
            .await
            .expect_problem(401, "invalid_credentials");
    }
    assert_eq!(stack.items().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_malformed_id_or_query_is_refused() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    for id in [
        "x",
        "0",
        "%00",
        "%ff",
        "00000000000000000000000000000000",
        "{0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11}",
        "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c1g",
        "..%2f..%2fme",
        &"9".repeat(5_000),
    ] {
        let path = format!("/v1/sessions/{}", id.replace(['{', '}'], "%7b"));
        let reply = stack.delete(&path).bearer(&ada.access_token).send().await;
        reply.expect_problem(400, "invalid_request");
        let reply = stack
            .request(Method::PATCH, &path)
            .bearer(&ada.access_token)
            .json(&json!({"name": "x"}));
        reply.send().await.expect_problem(400, "invalid_request");
    }
    for (query, wrong) in [
        ("keep_current=", "must be true or false"),
        ("keep_current=1", "must be true or false"),
        ("keep_current=TRUE", "must be true or false"),
        ("keep_current=no", "must be true or false"),
        ("keep_current=true&keep_current=false", "is there twice"),
        ("keep_current=%ff", "must be true or false"),
    ] {
        let path = format!("/v1/sessions/revoke-all?{query}");
        let reply = stack.post(&path).bearer(&ada.access_token).send().await;
        let reply = reply.expect_problem(400, "invalid_request");
        let detail = format!("The query parameter keep_current {wrong}.");
        assert_eq!(reply.body["detail"], detail, "{query}");
    }
    assert_eq!(stack.items().await, before);
}

/// RFC 9562 section 4: hexadecimal letters are read in either case. Swift writes capitals.
#[tokio::test]
async fn an_id_in_a_path_is_read_in_any_letter_case() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let other = stack.login("ada@example.com").await;
    let capitals = other.session_id.to_string().to_uppercase();
    let path = format!("/v1/sessions/{capitals}");
    let rename = stack
        .request(Method::PATCH, &path)
        .bearer(&ada.access_token)
        .json(&json!({"name": "Kitchen"}));
    let renamed = rename.send().await.expect(StatusCode::OK);
    assert_eq!(renamed["id"], json!(other.session_id), "one spelling out");
    let mixed = format!(
        "/v1/sessions/{}{}",
        &capitals[..10],
        &capitals[10..].to_lowercase()
    );
    let revoke = stack.delete(&mixed).bearer(&ada.access_token).send().await;
    assert_eq!(revoke.status, StatusCode::NO_CONTENT);
    assert_eq!(stack.session_ids(&ada).await, [ada.session_id]);
}

#[tokio::test]
async fn an_id_in_a_body_is_read_in_any_letter_case() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let secret = stack.add_client("mailer", &[ClientScope::IssueLinks]).await;
    let capitals = |id: String| id.to_uppercase();
    let path = format!("/v1/service/users/{}/links", ada.user_id.unwrap());
    let body = json!({
        "purpose": "change_email", "new_email": "ada@example.org", "email_version": -0.0,
        "session_id": capitals(ada.session_id.to_string()),
    });
    let call = stack.post(&path).basic("mailer", &secret).json(&body);
    call.send().await.expect(StatusCode::OK);
    let root = stack.administrator("root@example.com").await;
    let id = ada.user_id.unwrap().to_string();
    let revoke = async |users: Value| {
        let call = stack.post("/v1/admin/sessions/revoke");
        let call = call.bearer(&root.access_token);
        call.json(&json!({"user_ids": users})).send().await
    };
    let reply = revoke(json!([capitals(id.clone())])).await;
    assert_eq!(reply.expect(StatusCode::OK)["results"][0]["revoked"], 1);
    // Of many, the one that is none is named.
    let wrong = revoke(json!([id, id, "x", id])).await;
    let wrong = wrong.expect_problem(400, "invalid_request");
    let detail = "The field user_ids[2] has a value that is not allowed.";
    assert_eq!(wrong.body["detail"], detail);
}

/// A service that signs somebody in for a visitor must not believe that it has said who the visitor is.
#[tokio::test]
async fn a_registration_and_a_sign_in_are_for_nobody_elses_client() {
    let stack = Stack::start().await;
    for route in ["register", "login"] {
        let path = format!("/v1/auth/{route}");
        let mut body = json!({
            "email": "ada@example.com", "password": PASSWORD,
            "client": {"ip_address": "198.51.100.9"},
        });
        let refused = stack.post(&path).json(&body).send().await;
        let refused = refused.expect_problem(400, "invalid_request");
        let detail = "The field client has a value that is not allowed.";
        assert_eq!(refused.body["detail"], detail);
        body["client"] = Value::Null;
        let reply = stack.post(&path).json(&body).send().await;
        assert!(reply.status.is_success(), "{}", reply.body);
    }
}

#[tokio::test]
async fn a_body_that_no_route_takes_is_read_by_the_rules_of_bodies() {
    let stack = Stack::start().await;
    let ada = stack.administrator("ada@example.com").await;
    let user = format!("/v1/admin/users/{}", ada.user_id.unwrap());
    for path in [
        "/v1/sessions/revoke-all".to_owned(),
        "/v1/me/verify-email".to_owned(),
        format!("{user}/password-reset"),
        format!("{user}/sessions/revoke-all"),
    ] {
        let call = || stack.post(&path).bearer(&ada.access_token);
        let large = vec![b' '; 16 * 1024 + 1];
        let refused = call().bytes("application/json", &large).send().await;
        refused.expect_problem(413, "payload_too_large");
        let packed = call().bytes("application/json", b"{}");
        let refused = packed.header("content-encoding", b"gzip").send().await;
        refused.expect_problem(415, "unsupported_media_type");
        for other in [&b"{}x"[..], b"{ \"x\": 1}", b"[]", b"{", b"x"] {
            let refused = call().bytes("application/json", other).send().await;
            refused.expect_problem(400, "invalid_request");
        }
    }
    let empty = stack
        .post("/v1/sessions/revoke-all")
        .bearer(&ada.access_token);
    let empty = empty.bytes("application/json", b" { \r\n} ").send().await;
    empty.expect(StatusCode::OK);
}

/// "Sign out everywhere" with a misspelt parameter must not leave one signed in and say that all went well.
#[tokio::test]
async fn an_unknown_query_parameter_is_refused_on_every_route() {
    let stack = Stack::start().await;
    let ada = stack.administrator("ada@example.com").await;
    let before = stack.items().await;
    for query in [
        "keepCurrent=false",
        "keep_current=false&other",
        "unknown=%ff",
        "=",
        "keep_current=true&Keep_Current=false",
    ] {
        let path = format!("/v1/sessions/revoke-all?{query}");
        let reply = stack.post(&path).bearer(&ada.access_token).send().await;
        reply.expect_problem(400, "invalid_request");
    }
    let public = [
        "/.well-known/change-password",
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/account",
        "/admin",
        "/docs",
        "/openapi.json",
    ];
    let mut refused = 0;
    let paths = conformity::document()["paths"].as_object().unwrap();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let path = format!("{}?v=1", path_for(path, &ada));
            let mut call = stack.request(method, &path).bearer(&ada.access_token);
            let content = &operation["requestBody"]["content"];
            let body = &content["application/json"]["example"];
            if !body.is_null() {
                call = call.json(body);
            }
            let as_oauth = content.get(FORM).is_some();
            if as_oauth {
                call = call.form(&[("token", &ada.access_token)]);
            }
            let reply = call.send().await;
            if public.iter().any(|one| path.starts_with(one)) {
                // This stack has no pages.
                let pages = ["/.well-known/change-password", "/account", "/admin"];
                let status = match pages.iter().any(|one| path.starts_with(one)) {
                    true => StatusCode::NOT_FOUND,
                    false => StatusCode::OK,
                };
                assert_eq!(reply.status, status, "{path}");
            } else if as_oauth {
                assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{path}");
                assert_eq!(reply.body["error"], "invalid_request", "{path}");
            } else {
                reply.expect_problem(400, "invalid_request");
                refused += 1;
            }
        }
    }
    assert!(refused >= 13, "{refused}");
    assert_eq!(stack.items().await, before);
    // A question mark alone asks nothing.
    let reply = stack.get("/v1/me?").bearer(&ada.access_token).send().await;
    assert_eq!(reply.status, StatusCode::OK);
    let sent = "/v1/sessions/revoke-all?keep_current=true&";
    let reply = stack.post(sent).bearer(&ada.access_token).send().await;
    assert_eq!(reply.expect(StatusCode::OK), json!({"revoked": 1}));
}

#[tokio::test]
async fn credentials_that_are_missing_or_malformed_are_told_apart_in_the_challenge_only() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let reply = stack
        .get("/v1/sessions")
        .send()
        .await
        .expect_problem(401, "invalid_token");
    assert_eq!(
        reply.header("www-authenticate"),
        Some(r#"Bearer realm="latchkey""#)
    );
    for value in [
        &b"Bearer"[..],
        b"Bearer ",
        b"Bearer x",
        b"Bearer a.b.c",
        b"Bearer \xff",
        b"Basic YWRhOnB3",
        b"",
        b"Bearer ..",
        b"bearer null",
    ] {
        let reply = stack
            .get("/v1/sessions")
            .header("authorization", value)
            .send()
            .await;
        reply.expect_problem(401, "invalid_token");
    }
    let twice = stack
        .get("/v1/sessions")
        .bearer(&ada.access_token)
        .bearer(&ada.access_token);
    let reply = twice.send().await.expect_problem(401, "invalid_token");
    assert!(
        reply
            .header("www-authenticate")
            .unwrap()
            .contains(r#"error="invalid_token""#)
    );
    let scheme = format!("bEARER {}", ada.access_token);
    let reply = stack
        .get("/v1/sessions")
        .header("authorization", scheme.as_bytes())
        .send()
        .await;
    assert_eq!(reply.status, StatusCode::OK, "a scheme has no case");
    let long = "x".repeat(5_000);
    stack
        .get("/v1/me")
        .bearer(&long)
        .send()
        .await
        .expect_problem(401, "invalid_token");
}

fn somebody_else(change: impl FnOnce(&mut TokenIdentity), secret: &[u8]) -> Tokens {
    let mut identity = identity();
    change(&mut identity);
    Tokens::new(identity, &TokenSecret::new(secret).unwrap(), None).unwrap()
}

/// Good signatures of another secret, issuer or audience, and changed claims under the old signature. What else is known
/// of attacks on tokens is in `token_attacks`.
#[tokio::test]
async fn a_token_of_somebody_else_is_refused_without_a_request_to_the_database() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let session = stack
        .store
        .read_session(ada.user_id.unwrap(), ada.session_id)
        .await
        .unwrap()
        .unwrap();
    let issue = |tokens: &Tokens| {
        let (policy, random) = (&stack.core.policy, stack.core.random.as_ref());
        tokens
            .issue(&session, Scope::own_account(), stack.now(), policy, random)
            .unwrap()
    };
    let others = [
        issue(&somebody_else(|_| (), b"another secret with enough bytes")),
        issue(&somebody_else(
            |identity| identity.issuer = "https://evil.example.com".to_owned(),
            SECRET,
        )),
    ];
    let other_audience = issue(&somebody_else(
        |identity| identity.audience = "other".to_owned(),
        SECRET,
    ));
    let elevated = |genuine: &str| {
        let mut claims = read_part(genuine, 1);
        claims["scope"] = json!("admin");
        claims["exp"] = json!(9_999_999_999_i64);
        let parts: Vec<&str> = genuine.split('.').collect();
        format!("{}.{}.{}", parts[0], part(claims.to_string()), parts[2])
    };
    let mut access = vec![elevated(&ada.access_token)];
    access.push(other_audience.access_token.expose().to_owned());
    access.extend(
        others
            .iter()
            .map(|tokens| tokens.access_token.expose().to_owned()),
    );
    let mut refresh = vec![elevated(&ada.refresh_token)];
    refresh.extend(
        others
            .iter()
            .map(|tokens| tokens.refresh_token.expose().to_owned()),
    );
    drop(stack.recorder.take());
    for token in access {
        let reply = stack.get("/v1/me").bearer(&token).send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (401, "invalid_token"),
            "{token}"
        );
    }
    for token in refresh {
        let reply = stack.refresh(&token).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code()),
            (401, "invalid_refresh_token"),
            "{token}"
        );
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    // A genuine token that has expired is looked up, because it may have been replaced; nothing is written for it.
    stack.advance(TimeDelta::days(7));
    stack
        .refresh(&ada.refresh_token)
        .await
        .expect_problem(401, "invalid_refresh_token");
    assert_eq!(stack.recorder.take_cost().write_units, 0.0);
}
