//! Bytes as bodies, URLs, headers and devices.

use std::sync::LazyLock;

use crate::harness::operations::{Caller, Operation, operations};
use crate::harness::reply::Reply;
use crate::harness::stack::{CHROME, PASSWORD};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, Method};
use latchkey_domain::device::{self, ClientHints, Device};
use latchkey_domain::text;
use serde_json::{Value, json};

use super::{CLIENT_SECRET, World, items, with_world};

/// The operations of the document that take a body in JSON.
fn with_body() -> &'static [Operation] {
    static WITH_BODY: LazyLock<Vec<Operation>> = LazyLock::new(|| {
        let all = operations().into_iter();
        all.filter(|one| one.example().is_some()).collect()
    });
    &WITH_BODY
}

const CONTENT_TYPES: [&str; 4] = [
    "application/json",
    "application/json; charset=utf-8",
    "application/x+json",
    "text/plain",
];

/// The first byte says which operation and which content type.
pub(super) fn bodies(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let (choice, all) = (usize::from(*choice), with_body());
    let operation = &all[choice % all.len()];
    let kind = CONTENT_TYPES[choice / all.len() % CONTENT_TYPES.len()];
    with_world(async |world| {
        let path = world.fill_in(operation);
        let reply = send_body(world, operation, (kind, body)).await;
        let passed = reply.is_some_and(|reply| reply.status.is_success());
        let is_text = std::str::from_utf8(body).is_ok();
        assert!(is_text || !passed, "{path}: a body that is no text passed");
    });
}

/// By whom the operation may be called: a client of another service, if it takes its credentials.
async fn send_body(world: &World, operation: &Operation, body: (&str, &[u8])) -> Option<Reply> {
    let bearer = format!("Bearer {}", world.ada.access_token);
    let by_client = operation.takes("client_credentials");
    let authorization = if by_client { &world.client } else { &bearer };
    let headers = [("authorization", authorization.as_bytes())];
    let path = world.fill_in(operation);
    let method = &operation.method;
    world.send(method, &path, &headers, Some(body)).await
}

/// The example of each operation, with what passes in this world in place of what is nobody's.
fn passing_bodies() -> Vec<(u8, &'static Operation, Value)> {
    let mut bodies = Vec::new();
    with_world(async |world| {
        let [user, session] = world.about();
        let (stack, ada) = (&world.stack, &world.ada);
        let id = ada.user_id.expect("a user");
        for (place, operation) in (0..).zip(with_body()) {
            let Some(example) = operation.example() else {
                continue;
            };
            let token = match operation.path.ends_with("/confirm") {
                true => stack.reset_token(id).await,
                false => stack.verify_token(id).await,
            };
            let taken = ["/register", "/email"];
            let email = if taken.iter().any(|end| operation.path.ends_with(end)) {
                "bob@example.com"
            } else {
                "ada@example.com"
            };
            // Another user is Grace, who signs in elsewhere; Ada is the administrator who would lock herself out.
            let caller = Caller::new(ada)
                .knowing("token", token)
                .knowing("email", email)
                .knowing("status", "active")
                .knowing("roles", json!(["admin", "clerk"]))
                .knowing("identity", items::grace()["identity"].clone())
                .knowing("device_token", json!(ada.device_token));
            let body = caller.body(example, [&user, &session]);
            bodies.push((place, operation, body));
        }
    });
    bodies
}

/// What each operation with a body answers to its seed: one that is refused opens nothing to the fuzzing.
#[must_use]
pub fn answers_to_body_seeds() -> Vec<(String, Reply)> {
    let answer = |(_, operation, body): (u8, &'static Operation, Value)| {
        let mut reply = None;
        let text = body.to_string();
        let sent = (CONTENT_TYPES[0], text.as_bytes());
        with_world(async |world| reply = send_body(world, operation, sent).await);
        (
            operation.name(),
            reply.expect("a request that HTTP carries"),
        )
    };
    passing_bodies().into_iter().map(answer).collect()
}

/// Each body as it is to be, and with a field that is not known and no text.
pub(super) fn body_seeds() -> Vec<Vec<u8>> {
    let seeds = |(place, _, body): (u8, _, Value)| {
        let body = body.to_string();
        let rest = body.strip_prefix('{').unwrap_or_default();
        [
            [&[place], body.as_bytes()].concat(),
            [&[place], &b"{\"x\": \"\xff\", "[..], rest.as_bytes()].concat(),
        ]
    };
    passing_bodies().into_iter().flat_map(seeds).collect()
}

/// The first byte says which endpoint of OAuth; the rest is the form. The client is the right one.
pub(super) fn forms(data: &[u8]) {
    let Some((choice, form)) = data.split_first() else {
        return;
    };
    let path = ["/oauth/introspect", "/oauth/revoke"][usize::from(choice & 1)];
    with_world(async |world| {
        let headers = [("authorization", world.client.as_bytes())];
        let body = Some(("application/x-www-form-urlencoded", form));
        let reply = world.send(&Method::POST, path, &headers, body).await;
        let Some(reply) = reply.filter(|reply| reply.body["active"] == true) else {
            return;
        };
        let genuine = [&world.ada, &world.phone];
        let sid = reply.body["sid"].as_str();
        let known = genuine.map(|one| one.session_id.to_string());
        assert!(
            known.iter().any(|id| Some(id.as_str()) == sid),
            "a forgery passed"
        );
    });
}

/// The first byte says to which endpoint of OAuth; the rest is what stands behind `Basic`, as it is or in base64.
pub(super) fn basic_credentials(data: &[u8]) {
    let Some((choice, credentials)) = data.split_first() else {
        return;
    };
    let path = ["/oauth/introspect", "/oauth/revoke"][usize::from(choice & 1)];
    let encoded = match choice & 2 {
        0 => BASE64_STANDARD.encode(credentials).into_bytes(),
        _ => credentials.to_vec(),
    };
    let header = [b"Basic ", &encoded[..]].concat();
    with_world(async |world| {
        let headers = [("authorization", &header[..])];
        let body = Some(("application/x-www-form-urlencoded", &b"token=x"[..]));
        let reply = world.send(&Method::POST, path, &headers, body).await;
        let pair = match choice & 2 {
            0 => credentials.to_vec(),
            _ => BASE64_STANDARD
                .decode(credentials.trim_ascii())
                .unwrap_or_default(),
        };
        let genuine =
            form_urlencoded::parse(&pair).any(|(decoded, _)| decoded.ends_with(CLIENT_SECRET));
        let passed = reply.is_some_and(|reply| reply.status.is_success());
        assert!(genuine || !passed, "a client without a secret passed");
    });
}

pub(super) fn basic_credentials_seeds() -> Vec<Vec<u8>> {
    let right = format!("orders-api:{CLIENT_SECRET}");
    let encoded = format!("orders%2Dapi:{}", CLIENT_SECRET.replace('-', "%2D"));
    let mut seeds: Vec<Vec<u8>> = [right.as_str(), &encoded, "orders-api:", ":", "a%zz:+%C3%A4"]
        .iter()
        .map(|pair| [&[0], pair.as_bytes()].concat())
        .collect();
    seeds.push([&[3], BASE64_STANDARD.encode(&right).as_bytes()].concat());
    seeds
}

pub(super) fn form_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        b"\0token=x&token_type_hint=access_token".to_vec(),
        b"\0token=%ff+%00&a=b&&=c&client_id=x".to_vec(),
    ];
    with_world(async |world| {
        for token in [&world.ada.access_token, &world.phone.refresh_token] {
            for choice in [0, 1] {
                seeds.push([&[choice], &b"token="[..], token.as_bytes()].concat());
            }
        }
    });
    seeds
}

const METHODS: [Method; 8] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::TRACE,
];

/// The first byte says which method; the rest is path and query. The caller is signed in.
pub(super) fn urls(data: &[u8]) {
    let Some((choice, path)) = data.split_first() else {
        return;
    };
    let method = &METHODS[usize::from(*choice) % METHODS.len()];
    let Ok(path) = std::str::from_utf8(path) else {
        return;
    };
    let path = format!("/{path}");
    with_world(async |world| {
        let bearer = format!("Bearer {}", world.ada.access_token).into_bytes();
        let body = Some(("application/json", &br#"{"name": "Kitchen"}"#[..]));
        let headers = [("authorization", &bearer[..])];
        world.send(method, &path, &headers, body).await;
    });
}

pub(super) fn url_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    with_world(async |world| {
        for operation in operations() {
            let path = world.fill_in(&operation);
            let method = METHODS.iter().position(|one| *one == operation.method);
            let choice = u8::try_from(method.expect("a method of these")).expect("few");
            seeds.push([&[choice], &path.as_bytes()[1..]].concat());
        }
    });
    for query in ["keep_current=false", "keep_current=%ff&x=1", "a=b&&=c+d"] {
        seeds.push(format!("\u{1}v1/sessions/revoke-all?{query}").into_bytes());
    }
    for query in [
        "email=ada%40example.com",
        "cursor=VVNFUiMxCkFDQ09VTlQ",
        "cursor=%ff&email=",
        "issuer=https%3A%2F%2Fidp.example.com&subject=7",
    ] {
        seeds.push(format!("\0v1/admin/users?{query}").into_bytes());
    }
    seeds
}

/// Headers as lines, `name: value`: the first byte says whether to the list of sessions or to a registration, which
/// hashes a password and takes its time.
pub(super) fn headers(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let lines = rest.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?.trim();
        HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, line[colon + 1..].trim_ascii()))
    });
    let lines: Vec<_> = lines.collect();
    with_world(async |world| {
        let mut lines = lines.clone();
        let bearer = format!("Bearer {}", world.ada.access_token).into_bytes();
        if choice % 2 == 0 {
            lines.push(("authorization", &bearer));
            world.send(&Method::GET, "/v1/sessions", &lines, None).await;
        } else {
            let body = json!({"email": "bob@example.com", "password": PASSWORD}).to_string();
            let body = Some(("application/json", body.as_bytes()));
            lines.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            let path = "/v1/auth/register";
            let reply = world.send(&Method::POST, path, &lines, body).await;
            if let Some(reply) = reply.filter(|reply| reply.status.is_success()) {
                let token = reply.body["access_token"].as_str().unwrap_or_default();
                let bearer = format!("Bearer {token}").into_bytes();
                let headers = [("authorization", &bearer[..])];
                let path = "/v1/sessions/current";
                let shown = world.send(&Method::GET, path, &headers, None).await;
                let shown = shown.map(|reply| reply.body);
                assert_eq!(
                    shown,
                    Some(reply.body["session"].clone()),
                    "as it is stored"
                );
            }
        }
    });
}

/// A User-Agent and a device's id, divided by a line's end. The id is the device's name and the client hints, too.
pub(super) fn devices(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (agent, id) = text.split_once('\n').unwrap_or((&text, &text));
    let hints = ClientHints {
        brands: Some(id),
        mobile: Some(id),
        platform: Some(id),
    };
    for (given, hints) in [
        (None, hints),
        (None, ClientHints::default()),
        (Some(id), hints),
    ] {
        let found = Device::describe(given, Some(agent), Some(id), hints);
        let mut all = 0;
        for (value, limit) in [
            (&found.device_name, device::MAX_DEVICE_NAME_BYTES),
            (&found.device_id, device::MAX_DEVICE_ID_BYTES),
            (&found.user_agent, device::MAX_DEVICE_BYTES),
        ] {
            let Some(value) = value else { continue };
            all += value.len();
            assert!((1..=limit).contains(&value.len()), "{value:?}");
            assert!(!value.chars().any(text::is_control), "{value:?}");
            assert!(text::shows_something(value), "{value:?}");
        }
        assert!(all <= device::MAX_DEVICE_BYTES);
        // What was cleaned and cut once stays as it is. A name that is read may not: the agent was longer.
        if given.is_some() {
            let again = Device::describe(
                found.device_name.as_deref(),
                found.user_agent.as_deref(),
                found.device_id.as_deref(),
                ClientHints::default(),
            );
            assert_eq!(found.device_id, again.device_id);
            if found.device_name.is_some() {
                assert_eq!(found.device_name, again.device_name);
                assert_eq!(found.user_agent, again.user_agent);
            }
        }
    }
}

const AGENTS: [&str; 5] = [
    CHROME,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
    "Latchkey/1.2 (Linux; Android 15; SM-X710)",
];

pub(super) fn device_seeds() -> Vec<Vec<u8>> {
    AGENTS
        .map(|agent| format!("{agent}\nc0ffee").into_bytes())
        .to_vec()
}

pub(super) fn header_seeds() -> Vec<Vec<u8>> {
    let lines = |agent| format!("\0User-Agent: {agent}\nX-Device-Id: c0ffee\nAccept: */*");
    let mut seeds = AGENTS.map(|agent| lines(agent).into_bytes()).to_vec();
    seeds.extend(AGENTS.map(|agent| lines(agent).replacen('\0', "\u{1}", 1).into_bytes()));
    seeds
}
