//! The attacks on JWTs that are known (RFC 8725, RFC 7515 section 10, RFC 7797, and the advisories of JWT libraries),
//! one by one, against every route that takes a token. What is refused costs no request to DynamoDB and changes
//! nothing. `bad_input` has the forms that are no attack, `shared/domain/tests/vectors.rs` the published examples.
//! The list is in two files, without and with the key that signs; this file runs it.

mod with_the_key;
mod without_the_key;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use latchkey_domain::token::Token;
use latchkey_service::{AccessRules, AuthorizerMode};
use latchkey_tests::attack::forgery::{Forger, Kind, read_part};
use latchkey_tests::harness::authorizer::passes;
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack, noon, without_limits};
use serde_json::{Value, json};

use with_the_key::with_the_key;
use without_the_key::without_the_key;

/// A genuine token in its parts, and who forges.
struct Genuine {
    kind: Kind,
    token: String,
    header: Value,
    claims: Value,
    /// The token of the other kind.
    other: String,
    forger: Forger,
}

impl Genuine {
    fn new(kind: Kind, who: &SignedIn) -> Self {
        let (token, other) = match kind {
            Kind::Access => (&who.access_token, &who.refresh_token),
            Kind::Refresh => (&who.refresh_token, &who.access_token),
        };
        Self {
            kind,
            token: token.clone(),
            header: read_part(token, 0),
            claims: read_part(token, 1),
            other: other.clone(),
            forger: Forger::default(),
        }
    }

    fn parts(&self) -> [&str; 3] {
        let mut parts = self.token.split('.');
        [(); 3].map(|()| parts.next().unwrap())
    }

    /// With members of the header set, or with null left out, and a good signature.
    fn header_with(&self, changes: &[(&str, Value)]) -> String {
        with(&self.header, changes).to_string()
    }

    fn claims_with(&self, changes: &[(&str, Value)]) -> String {
        with(&self.claims, changes).to_string()
    }

    fn signed(&self, header: &str, claims: &str) -> String {
        self.forger.sign(self.kind, header, claims)
    }
}

/// What stands for a member that is left out.
const MISSING: Value = Value::Null;

fn with(object: &Value, changes: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (name, value) in changes {
        let members = object.as_object_mut().unwrap();
        match value {
            Value::Null => drop(members.remove(*name)),
            Value::String(text) if text == "null" => {
                members.insert((*name).to_owned(), Value::Null);
            }
            value => drop(members.insert((*name).to_owned(), value.clone())),
        }
    }
    object
}

type Attack = (String, String);

/// Every route that wants an access token, with a body that it takes.
fn protected_routes(who: &SignedIn) -> Vec<(Method, String, Value)> {
    let paths = conformity::document()["paths"].as_object().unwrap();
    let mut routes = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let ways = operation.get("security").and_then(Value::as_array);
            // A sign-out may also go without an access token, and answers any: see below.
            let token = json!({"access_token": []});
            if ways.is_none_or(|ways| ways.contains(&json!({})) || !ways.contains(&token)) {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let user = who.user_id.map(|user| user.to_string()).unwrap_or_default();
            let session = who.session_id.to_string();
            let path = path
                .replace("{user_id}", &user)
                .replace("{session_id}", &session)
                .replace("{id}", &session);
            let body = match (method.as_str(), path.as_str()) {
                ("PUT", "/v1/me/password") => {
                    json!({"current_password": PASSWORD, "new_password": "a wholly new passphrase"})
                }
                ("POST", "/v1/me/delete" | "/v1/auth/reauthenticate") => {
                    json!({"password": PASSWORD})
                }
                ("PUT", "/v1/me/email") => {
                    json!({"email": "ada@example.org", "password": PASSWORD})
                }
                ("PATCH", path) if path.starts_with("/v1/admin") => json!({"status": "active"}),
                ("POST", "/v1/admin/sessions/revoke") => json!({"user_ids": [user]}),
                ("PATCH", _) => json!({"name": "Kitchen"}),
                _ => Value::Null,
            };
            routes.push((method, path, body));
        }
    }
    assert!(routes.len() >= 9, "{routes:?}");
    routes
}

async fn call(
    stack: &Stack,
    route: &(Method, String, Value),
    value: &[u8],
) -> Option<(u16, String)> {
    let (method, path, body) = route;
    // What HTTP cannot carry in a header cannot be sent.
    http::HeaderValue::from_bytes(value).ok()?;
    let mut call = stack.request(method.clone(), path);
    call = call.header("authorization", value);
    if !body.is_null() {
        call = call.json(body);
    }
    let reply = call.send().await;
    Some((reply.status.as_u16(), reply.code().to_owned()))
}

/// All attacks on a token, each once.
fn attacks_on(genuine: &Genuine) -> Vec<Attack> {
    let mut all = without_the_key(genuine);
    all.extend(with_the_key(genuine));
    let mut seen = BTreeSet::new();
    all.retain(|(_, token)| seen.insert(token.clone()));
    assert!(!seen.contains(&genuine.token));
    all
}

async fn attacks(stack: &Stack, kind: Kind, who: &SignedIn) -> Vec<Attack> {
    let genuine = Genuine::new(kind, who);
    // Whoever has the keys can sign: what is refused below is not refused for its signature.
    let again =
        Token::new(genuine.signed(&genuine.header.to_string(), &genuine.claims.to_string()));
    match kind {
        Kind::Access => drop(
            stack
                .core
                .tokens
                .verify_access(&again, stack.now())
                .await
                .unwrap(),
        ),
        Kind::Refresh => drop(
            stack
                .core
                .tokens
                .verify_refresh_of_any_age(&again, stack.now())
                .await
                .unwrap(),
        ),
    }
    let all = attacks_on(&genuine);
    println!("{kind:?}: {} attacks", all.len());
    // infra/guides/evidence/bad-input.md names these numbers.
    let expected = match kind {
        Kind::Access => 403,
        Kind::Refresh => 372,
    };
    assert_eq!(all.len(), expected, "{kind:?}");
    all
}

/// Strict and offline, for this service's audience and for another one.
#[tokio::test]
async fn no_attack_passes_the_authorizer() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register("ada@example.com").await;
    let genuine = Genuine::new(Kind::Access, &ada);
    let audience = [("aud", json!("orders")), ("scope", MISSING)];
    // The header as it is written, because an attack is to write the same one otherwise.
    let header = URL_SAFE_NO_PAD.decode(genuine.parts()[0]).unwrap();
    let header = String::from_utf8(header).unwrap();
    let elsewhere = SignedIn {
        access_token: genuine.signed(&header, &genuine.claims_with(&audience)),
        ..ada.clone()
    };
    for (who, audience) in [(&ada, None), (&elsewhere, Some("orders"))] {
        let mut attacks = attacks_on(&Genuine::new(Kind::Access, who));
        assert!(attacks.len() > 380, "{}", attacks.len());
        // White space around a header's value is no part of it (RFC 9110 section 5.5).
        attacks.retain(|(_, token)| token.trim() != who.access_token);
        attacks.push((
            "the other audience's".to_owned(),
            match audience {
                None => elsewhere.access_token.clone(),
                Some(_) => ada.access_token.clone(),
            },
        ));
        for mode in [AuthorizerMode::Strict, AuthorizerMode::Offline] {
            let authorizer = stack.authorizer(AccessRules {
                mode,
                audience: audience.map(str::to_owned),
                ..AccessRules::default()
            });
            assert!(passes(&authorizer, &who.access_token).await);
            drop(stack.recorder.take());
            for (name, token) in &attacks {
                assert!(!passes(&authorizer, token).await, "{name}: {mode:?}");
            }
            assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
        }
    }
}

#[tokio::test]
async fn no_attack_passes_as_an_access_token_on_any_route() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let mut attacks = attacks(&stack, Kind::Access, &ada).await;
    // White space around a header's value is no part of it (RFC 9110 section 5.5).
    attacks.retain(|(_, token)| token.trim() != ada.access_token);
    drop(stack.recorder.take());
    let routes = protected_routes(&ada);
    for route in &routes {
        for (name, token) in &attacks {
            let value = format!("Bearer {token}");
            if let Some(reply) = call(&stack, route, value.as_bytes()).await {
                assert_eq!(
                    reply,
                    (401, "invalid_token".to_owned()),
                    "{name}: {route:?}"
                );
            }
        }
        for value in [
            &b"bearer"[..],
            b"Bearer:",
            b"Basic",
            b"Token token=x",
            b"Bearer\tx",
            b",Bearer x",
            b"Bearer x, Bearer y",
        ] {
            let reply = call(&stack, route, value).await;
            assert_eq!(reply, Some((401, "invalid_token".to_owned())), "{value:?}");
        }
        let (method, path, _) = route;
        let twice = stack
            .request(method.clone(), path)
            .bearer(&ada.access_token);
        let reply = twice.bearer(&ada.access_token).send().await;
        reply.expect_problem(401, "invalid_token");
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    assert_eq!(stack.items().await, before);
    let reply = stack.get("/v1/me").bearer(&ada.access_token).send().await;
    reply.expect(http::StatusCode::OK);
}

#[tokio::test]
async fn no_attack_passes_as_a_refresh_token() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let attacks = attacks(&stack, Kind::Refresh, &ada).await;
    drop(stack.recorder.take());
    for (name, token) in &attacks {
        let reply = stack.refresh(token).await;
        let expected = if token.len() > 16_000 {
            (413, "payload_too_large")
        } else {
            (401, "invalid_refresh_token")
        };
        assert_eq!((reply.status.as_u16(), reply.code()), expected, "{name}");
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    let genuine = Genuine::new(Kind::Refresh, &ada);
    for exp in [noon().timestamp(), noon().timestamp() - 1, 0, -1, i64::MIN] {
        let claims = genuine.claims_with(&[("exp", json!(exp))]);
        let token = genuine.signed(&genuine.header.to_string(), &claims);
        stack
            .refresh(&token)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    assert_eq!(stack.recorder.take_cost().write_units, 0.0);
    assert_eq!(stack.items().await, before);
    stack
        .refresh(&ada.refresh_token)
        .await
        .expect(http::StatusCode::OK);
}

#[tokio::test]
async fn a_sign_out_takes_a_token_of_any_age_and_no_forgery() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    drop(stack.recorder.take());
    let log_out = async |token: &str| {
        let body = json!({"refresh_token": token});
        let reply = stack.post("/v1/auth/logout").json(&body).send().await;
        reply.status.as_u16()
    };
    for (name, token) in &attacks(&stack, Kind::Refresh, &ada).await {
        let status = if token.len() > 16_000 { 413 } else { 204 };
        assert_eq!(log_out(token).await, status, "{name}");
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    assert_eq!(stack.items().await, before, "nothing has ended");
    let genuine = Genuine::new(Kind::Refresh, &ada);
    let claims = genuine.claims_with(&[("exp", json!(1))]);
    let old = genuine.signed(&genuine.header.to_string(), &claims);
    assert_eq!(log_out(&old).await, 204);
    assert_ne!(stack.items().await, before, "an old token ends its session");
}

#[tokio::test]
async fn a_sign_out_without_a_body_takes_an_access_token_of_any_age_and_no_forgery() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let mut attacks = attacks(&stack, Kind::Access, &ada).await;
    // White space around a header's value is no part of it (RFC 9110 section 5.5).
    attacks.retain(|(_, token)| token.trim() != ada.access_token);
    // An expired token is none for any other route, but one of its session.
    attacks.retain(|(name, _)| !name.starts_with("exp "));
    drop(stack.recorder.take());
    let route = (Method::POST, "/v1/auth/logout".to_owned(), Value::Null);
    for (name, token) in &attacks {
        let value = format!("Bearer {token}");
        let reply = call(&stack, &route, value.as_bytes()).await;
        let taken = reply.is_none_or(|(status, _)| matches!(status, 204 | 400));
        assert!(taken, "{name}");
        assert_eq!(stack.recorder.take(), [], "{name}: a request to DynamoDB");
    }
    assert_eq!(stack.items().await, before, "nothing has ended");
}

/// Whatever else a token may allow, it wants `account` too.
#[tokio::test]
async fn a_token_without_the_scope_account_opens_no_route() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.administrator("ada@example.com").await;
    let genuine = Genuine::new(Kind::Access, &ada);
    let before = stack.items().await;
    for scope in ["admin", "openid profile", "Account", ""] {
        let claims = genuine.claims_with(&[("scope", json!(scope))]);
        let token = genuine.signed(&genuine.header.to_string(), &claims);
        let of_users = |(_, path, _): &(_, String, _)| !path.starts_with("/v1/admin");
        for route in protected_routes(&ada).into_iter().filter(of_users) {
            let reply = call(&stack, &route, format!("Bearer {token}").as_bytes()).await;
            let refused = Some((403, "insufficient_scope".to_owned()));
            assert_eq!(reply, refused, "{scope:?}: {route:?}");
        }
    }
    assert_eq!(stack.items().await, before);
}

/// Even with the keys in hand, a session is only reached by its own user's id: nothing of one user's says anything
/// about another's.
#[tokio::test]
async fn the_subject_and_the_session_of_a_token_must_belong_together() {
    let stack = Stack::with_policy(without_limits()).await;
    // Administrators, so that no route refuses for the scope.
    let ada = stack.administrator("ada@example.com").await;
    let bob = stack.administrator("bob@example.com").await;
    let before = stack.items().await;
    let (of_ada, of_bob) = (
        Genuine::new(Kind::Access, &ada),
        Genuine::new(Kind::Access, &bob),
    );
    for (sub, sid) in [(&of_ada, &of_bob), (&of_bob, &of_ada)] {
        let mixed = [
            ("sub", sub.claims["sub"].clone()),
            ("sid", sid.claims["sid"].clone()),
        ];
        let token = of_ada.signed(&of_ada.header.to_string(), &of_ada.claims_with(&mixed));
        for route in protected_routes(&ada) {
            let reply = call(&stack, &route, format!("Bearer {token}").as_bytes()).await;
            assert_eq!(reply, Some((401, "invalid_token".to_owned())), "{route:?}");
        }
        let refresh = Genuine::new(Kind::Refresh, &ada);
        let jti = json!(format!("{}.0", sid.claims["sid"].as_str().unwrap()));
        let mixed = [mixed[0].clone(), mixed[1].clone(), ("jti", jti)];
        let token = refresh.signed(&refresh.header.to_string(), &refresh.claims_with(&mixed));
        stack
            .refresh(&token)
            .await
            .expect_problem(401, "invalid_refresh_token");
        let body = json!({"refresh_token": token});
        let reply = stack.post("/v1/auth/logout").json(&body).send().await;
        assert_eq!(reply.status, http::StatusCode::NO_CONTENT);
    }
    // A rotation that is to come, up to the largest number.
    for rotation in [1, 2, u64::MAX - 1, u64::MAX] {
        let refresh = Genuine::new(Kind::Refresh, &ada);
        let jti = json!(format!("{}.{rotation}", ada.session_id));
        let claims = refresh.claims_with(&[("jti", jti)]);
        let token = refresh.signed(&refresh.header.to_string(), &claims);
        stack
            .refresh(&token)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    assert_eq!(stack.items().await, before);
}
