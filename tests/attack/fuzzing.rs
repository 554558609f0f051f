//! Bytes that nobody chose, fed to everything that reads what others wrote: tokens, bodies, URLs, headers, events of API
//! Gateway, items of the table, password hashes. Nothing may panic, no reply may be a 5xx, and each must be one that the
//! OpenAPI document knows, with a stable code.
//!
//! A [`Target`] makes something of its bytes and checks what comes of it. `tests/tests/all/fuzzing.rs` feeds the seeds,
//! what was found once, and some thousand random changes of these to each; `tests/fuzz` has libFuzzer do it, guided by
//! coverage.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Once;

use http::{HeaderName, HeaderValue, Method};
use lambda_http::{Context, LambdaEvent};
use latchkey_domain::device::{self, ClientHints, Device};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::password::{Password, PasswordHash, WorkingMemory, needs_upgrade, verify};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::text;
use latchkey_runtime::gateway::{self, Event};
use serde_json::{Value, json};

use crate::harness::conformity;
use crate::attack::faults::{self, Faults};
use crate::attack::forgery::{Forger, Kind};
use crate::harness::stack::{CHROME, PASSWORD, Reply, SignedIn, Stack};

/// Something that reads bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads them, and panics when something is wrong.
    pub run: fn(&[u8]),
    /// What to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 9] = [
    Target {
        name: "tokens",
        run: tokens,
        seeds: token_seeds,
    },
    Target {
        name: "signed_tokens",
        run: signed_tokens,
        seeds: signed_token_seeds,
    },
    Target {
        name: "bodies",
        run: bodies,
        seeds: body_seeds,
    },
    Target {
        name: "urls",
        run: urls,
        seeds: url_seeds,
    },
    Target {
        name: "headers",
        run: headers,
        seeds: header_seeds,
    },
    Target {
        name: "devices",
        run: devices,
        seeds: device_seeds,
    },
    Target {
        name: "events",
        run: events,
        seeds: event_seeds,
    },
    Target {
        name: "items",
        run: items,
        seeds: item_seeds,
    },
    Target {
        name: "password_hashes",
        run: password_hashes,
        seeds: password_hash_seeds,
    },
];

/// A hash of [`PASSWORD`] that is quick to verify, so that most tries do not wait for argon2.
const QUICK_HASH: &str =
    "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A service with one user, who is signed in twice, always the same.
struct World {
    runtime: tokio::runtime::Runtime,
    stack: Stack,
    faults: Faults,
    items: Vec<Value>,
    ada: SignedIn,
    phone: SignedIn,
    forger: Forger,
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let (stack, faults, ada, phone) = runtime.block_on(async {
            let policy = SessionPolicy::default();
            let (stack, faults) = faults::stack_with(policy, 1, Vec::new()).await;
            let ada = stack.register("ada@example.com").await;
            let phone = stack.login("ada@example.com").await;
            (stack, faults, ada, phone)
        });
        let mut items = faults::raw_items(&stack);
        for item in &mut items {
            if item.get("password_hash").is_some() {
                item["password_hash"] = json!({"S": QUICK_HASH});
            }
        }
        faults::restore(&stack, &items);
        drop(faults.disarm());
        Self {
            runtime,
            stack,
            faults,
            items,
            ada,
            phone,
            forger: Forger::default(),
        }
    }

    /// Sends a request, if HTTP can carry it: the reply must be as documented.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &[u8])],
        body: Option<(&str, &[u8])>,
    ) -> Option<Reply> {
        let uri: http::Uri = path.parse().ok()?;
        let path = uri.path_and_query()?.as_str().to_owned();
        let mut call = self.stack.request(method.clone(), &path);
        for (name, value) in headers {
            HeaderName::from_bytes(name.as_bytes()).ok()?;
            HeaderValue::from_bytes(value).ok()?;
            call = call.header(name, value);
        }
        if let Some((kind, body)) = body {
            call = call.bytes(kind, body);
        }
        Some(checked(method, &path, call.send_unchecked().await))
    }
}

/// A reply that nothing a client sends may exceed.
fn checked(method: &Method, path: &str, reply: Reply) -> Reply {
    conformity::check(method, path, &reply);
    let status = reply.status.as_u16();
    assert!(status < 500, "{method} {path}: {} {}", status, reply.body);
    if status >= 400 {
        let kind = reply.header("content-type").unwrap_or_default();
        assert_eq!(kind, "application/problem+json", "{method} {path}");
        let has_code = reply.code() != "none" || *method == Method::HEAD;
        assert!(has_code, "{method} {path}");
    }
    reply
}

/// Gives the world to a run, and makes it what it was afterwards. A panic that was turned into a reply is one too.
fn with_world(run: impl AsyncFnOnce(&World)) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.with(|count| count.set(count.get() + 1));
            before(panic);
        }));
    });
    WORLD.with_borrow_mut(|slot| {
        // Taken out, so that the next run makes a new one if this one panics.
        let world = slot.take().unwrap_or_else(World::new);
        let panics = PANICS.get();
        world.runtime.block_on(run(&world));
        assert_eq!(PANICS.get(), panics, "something panicked");
        let reads = ["GetItem", "Query"];
        let calls = world.faults.disarm();
        if calls
            .iter()
            .any(|(name, _)| !reads.contains(&name.as_str()))
        {
            faults::restore(&world.stack, &world.items);
        }
        *slot = Some(world);
    });
}

/// A route that wants an access token, and one that wants a refresh token: the token as it is.
fn tokens(data: &[u8]) {
    with_world(async |world| {
        let bearer = [b"Bearer ", data].concat();
        let get = Method::GET;
        let headers = [("authorization", &bearer[..])];
        if let Some(reply) = world.send(&get, "/v1/sessions", &headers, None).await {
            let genuine = [&world.ada, &world.phone].map(|one| one.access_token.as_bytes());
            let is_genuine = genuine.contains(&data.trim_ascii());
            assert_eq!(reply.status.is_success(), is_genuine, "a forgery passed");
        }
        let Ok(text) = std::str::from_utf8(data) else {
            return;
        };
        let genuine = [&world.ada, &world.phone].map(|one| one.refresh_token.as_str());
        let body = json!({"refresh_token": text}).to_string();
        for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
            let body = Some(("application/json", body.as_bytes()));
            let reply = world.send(&Method::POST, path, &[], body).await;
            if path.ends_with("refresh") && reply.is_some_and(|reply| reply.status.is_success()) {
                assert!(genuine.contains(&text), "a forgery passed");
            }
        }
    });
}

fn token_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    with_world(async |world| {
        for who in [&world.ada, &world.phone] {
            seeds.push(who.access_token.clone().into_bytes());
            seeds.push(who.refresh_token.clone().into_bytes());
        }
    });
    seeds.push(b"eyJhbGciOiJub25lIn0.e30.".to_vec());
    seeds
}

/// Header and claims, divided by a zero byte, under a good signature: what is behind the signature is reached. An empty
/// header is the genuine one. The first byte says which kind.
fn signed_tokens(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let kind = [Kind::Access, Kind::Refresh][usize::from(kind & 1)];
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (header, claims) = (parts.next(), parts.next());
    let (header, claims) = (header.unwrap_or_default(), claims.unwrap_or_default());
    with_world(async |world| {
        let genuine = match kind {
            Kind::Access => &world.ada.access_token,
            Kind::Refresh => &world.ada.refresh_token,
        };
        let own = crate::attack::forgery::read_part(genuine, 0).to_string();
        let header = if header.is_empty() {
            own.as_bytes()
        } else {
            header
        };
        let token = world.forger.sign(kind, header, claims);
        match kind {
            Kind::Access => {
                let bearer = format!("Bearer {token}").into_bytes();
                let headers = [("authorization", &bearer[..])];
                for (method, path) in [(Method::GET, "/v1/sessions"), (Method::GET, "/v1/me")] {
                    world.send(&method, path, &headers, None).await;
                }
                let path = format!("/v1/sessions/{}", world.phone.session_id);
                world.send(&Method::DELETE, &path, &headers, None).await;
            }
            Kind::Refresh => {
                let body = json!({"refresh_token": token}).to_string();
                let body = Some(("application/json", body.as_bytes()));
                for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
                    world.send(&Method::POST, path, &[], body).await;
                }
            }
        }
    });
}

fn signed_token_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    with_world(async |world| {
        for (kind, token) in [(0, &world.ada.access_token), (1, &world.ada.refresh_token)] {
            let [header, claims] =
                [0, 1].map(|place| crate::attack::forgery::read_part(token, place).to_string());
            for header in ["", &header] {
                let seed = [&[kind], header.as_bytes(), b"\0", claims.as_bytes()];
                seeds.push(seed.concat());
            }
            let ahead = claims.replace(".0\"", ".18446744073709551615\"");
            seeds.push([&[kind], &b"\0"[..], ahead.as_bytes()].concat());
        }
    });
    seeds
}

/// The routes that take a body.
const WITH_BODY: [(Method, &str, &str); 7] = [
    (
        Method::POST,
        "/v1/auth/register",
        r#"{"email": "bob@example.com", "password": "correct horse battery staple", "device_name": "x"}"#,
    ),
    (
        Method::POST,
        "/v1/auth/login",
        r#"{"email": "ada@example.com", "password": "correct horse battery staple", "device_name": null}"#,
    ),
    (
        Method::POST,
        "/v1/auth/refresh",
        r#"{"refresh_token": "a.b.c"}"#,
    ),
    (
        Method::POST,
        "/v1/auth/logout",
        r#"{"refresh_token": "a.b.c"}"#,
    ),
    (Method::PATCH, "/v1/sessions/{id}", r#"{"name": "Kitchen"}"#),
    (
        Method::PUT,
        "/v1/me/password",
        r#"{"current_password": "x", "new_password": "correct horse battery staples"}"#,
    ),
    (Method::POST, "/v1/me/delete", r#"{"password": "x"}"#),
];

const CONTENT_TYPES: [&str; 4] = [
    "application/json",
    "application/json; charset=utf-8",
    "application/x+json",
    "text/plain",
];

/// The first byte says which route and which content type.
fn bodies(data: &[u8]) {
    let Some((choice, body)) = data.split_first() else {
        return;
    };
    let choice = usize::from(*choice);
    let (method, path, _) = &WITH_BODY[choice % WITH_BODY.len()];
    let kind = CONTENT_TYPES[choice / WITH_BODY.len() % CONTENT_TYPES.len()];
    with_world(async |world| {
        let path = path.replace("{id}", &world.phone.session_id.to_string());
        let bearer = format!("Bearer {}", world.ada.access_token).into_bytes();
        let headers = [("authorization", &bearer[..])];
        let body = Some((kind, body));
        world.send(method, &path, &headers, body).await;
    });
}

fn body_seeds() -> Vec<Vec<u8>> {
    let seed =
        |(place, (_, _, body)): (u8, &(Method, &str, &str))| [&[place], body.as_bytes()].concat();
    (0..).zip(&WITH_BODY).map(seed).collect()
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
fn urls(data: &[u8]) {
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

fn url_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    with_world(async |world| {
        let paths = conformity::document()["paths"].as_object();
        for (path, item) in paths.into_iter().flatten() {
            let path = path.replace("{id}", &world.phone.session_id.to_string());
            for (choice, method) in (0_u8..).zip(&METHODS) {
                let name = method.as_str().to_lowercase();
                if item.get(&name).is_some() {
                    seeds.push([&[choice], &path.as_bytes()[1..]].concat());
                }
            }
        }
    });
    for query in ["keep_current=false", "keep_current=%ff&x=1", "a=b&&=c+d"] {
        seeds.push(format!("\u{1}v1/sessions/revoke-all?{query}").into_bytes());
    }
    seeds
}

/// Headers as lines, `name: value`: the first byte says whether to the list of sessions or to a registration, which
/// hashes a password and takes its time.
fn headers(data: &[u8]) {
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
fn devices(data: &[u8]) {
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

fn device_seeds() -> Vec<Vec<u8>> {
    AGENTS
        .map(|agent| format!("{agent}\nc0ffee").into_bytes())
        .to_vec()
}

fn header_seeds() -> Vec<Vec<u8>> {
    let lines = |agent| format!("\0User-Agent: {agent}\nX-Device-Id: c0ffee\nAccept: */*");
    let mut seeds = AGENTS.map(|agent| lines(agent).into_bytes()).to_vec();
    seeds.extend(AGENTS.map(|agent| lines(agent).replacen('\0', "\u{1}", 1).into_bytes()));
    seeds
}

/// An event of API Gateway: method, path, query, address, content type, body, and headers as lines, divided by zero
/// bytes. What API Gateway makes itself is as it makes it.
fn events(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(7, '\0');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (method, path, query) = (next(), next(), next());
    let (address, kind, body, lines) = (next(), next(), next(), next());
    let Ok(method) = method.parse::<Method>() else {
        return;
    };
    let mut headers: HashMap<String, String> = HashMap::new();
    headers.insert("content-type".to_owned(), kind);
    for line in lines.lines() {
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.trim().to_lowercase(), value.trim().to_owned());
        }
    }
    let path = format!("/{path}");
    with_world(async |world| {
        let bearer = format!("Bearer {}", world.ada.access_token);
        headers.entry("authorization".to_owned()).or_insert(bearer);
        let event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers,
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "a1b2c3d4e5",
                "domainName": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
                "domainPrefix": "a1b2c3d4e5",
                "http": {
                    "method": method.as_str(),
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": address,
                    "userAgent": headers.get("user-agent"),
                },
                "requestId": "T7xYzjG2liAEJ1Q=",
                "routeKey": "$default",
                "stage": "$default",
                "time": "21/Nov/2026:18:39:00 +0000",
                "timeEpoch": 1_795_286_340_000_i64,
            },
            "body": body,
            "isBase64Encoded": false,
        });
        let event: Event = serde_json::from_str(&event.to_string()).expect("it can be read");
        let event = LambdaEvent::new(event, Context::default());
        let answered = gateway::answer(world.stack.router(), event).await;
        let answered = json!(answered.expect("infallible"));
        let reply = from_lambda(&answered);
        // `lambda_http` reads paths as browsers do: a backslash is a slash, dots lead up, tabs are nothing, what follows
        // a # is another part. Whose route a path is can be seen only if it is one (RFC 3986 section 3.3).
        let dots = |part: &str| matches!(&*part.to_lowercase().replace("%2e", "."), "." | "..");
        let in_a_path =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&byte);
        let as_written = path.bytes().all(in_a_path) && !path.split('/').any(dots);
        if as_written {
            checked(&method, &path, reply);
        } else {
            assert!(!reply.status.is_server_error(), "{path}: {}", reply.body);
        }
    });
}

/// A response as API Gateway takes it.
fn from_lambda(response: &Value) -> Reply {
    let pairs = response["headers"].as_object();
    let pairs = pairs.into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        let name: HeaderName = name.parse().expect("a header's name");
        (name, value.parse().expect("a header's value"))
    });
    let status = response["statusCode"].as_u64().unwrap_or_default();
    let body = response["body"].as_str().unwrap_or_default();
    Reply {
        status: u16::try_from(status)
            .ok()
            .and_then(|status| status.try_into().ok())
            .expect("a status"),
        headers: pairs.collect(),
        body: serde_json::from_str(body).unwrap_or_default(),
        bytes: body.as_bytes().to_vec(),
    }
}

fn event_seeds() -> Vec<Vec<u8>> {
    let fields = |method: &str, path: &str, query: &str, body: &str| {
        let agent = format!("user-agent: {CHROME}\nx-device-id: c0ffee");
        let host = "host: a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com";
        let lines = format!("{agent}\n{host}\nx-forwarded-proto: https");
        let kind = "application/json";
        [method, path, query, "203.0.113.7", kind, body, &lines].join("\0")
    };
    let name = r#"{"name": "Kitchen"}"#;
    let mut seeds = vec![
        fields("GET", "v1/sessions", "", ""),
        fields("GET", "v1/me", "x=\"<>\" \u{e9}", ""),
        fields("POST", "v1/sessions/revoke-all", "keep_current=false", ""),
        fields("GET", "nowhere \u{e9}%zz#", "%", ""),
    ];
    with_world(async |world| {
        let path = format!("v1/sessions/{}", world.phone.session_id);
        seeds.push(fields("PATCH", &path, "", name));
    });
    seeds.push(
        "GET\0v1/me\0\0::1\0text/plain\0\0x-device-id: \u{e9}\nhost: a b\nx-forwarded-proto: x y"
            .to_owned(),
    );
    seeds.into_iter().map(String::into_bytes).collect()
}

/// An item of the table with attributes of any value, as a mistake or another version of this service may leave them. The
/// first byte says which item; the rest is JSON, an object of attributes as DynamoDB writes them, null for one to leave
/// out. Every reply is right or the documented 500; the store's own answers are right or say that the item is broken.
fn items(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let Ok(Value::Object(changes)) = serde_json::from_slice(rest) else {
        return;
    };
    with_world(async |world| {
        let mut item = world.items[usize::from(*choice) % world.items.len()].clone();
        let Some(attributes) = item.as_object_mut() else {
            return;
        };
        for (name, value) in changes {
            match value {
                _ if name == "pk" || name == "sk" => {}
                Value::Null => drop(attributes.remove(&name)),
                value => drop(attributes.insert(name, value)),
            }
        }
        if !faults::put_raw(&world.stack, &item) {
            return;
        }
        read_all(world).await;
        call_all(world).await;
        // What was written to the broken item is put right.
        faults::restore(&world.stack, &world.items);
    });
}

async fn read_all(world: &World) {
    let (stack, store) = (&world.stack, &world.stack.store);
    let now = stack.now();
    let email = EmailAddress::parse("ada@example.com").expect("an address");
    let Some(user) = world.ada.user_id else {
        return;
    };
    if let Ok(Some(account)) = store.read_account(user).await {
        assert_eq!(account.id, user, "whose partition it is in");
    }
    for id in [world.ada.session_id, world.phone.session_id] {
        if let Ok(Some(session)) = store.read_session(user, id).await {
            assert_eq!(
                (session.id, session.user_id),
                (id, user),
                "what its key says"
            );
        }
    }
    drop(store.read_partition(user, now).await);
    drop(store.read_credential(&email).await);
    let budget = cleanup::Budget::until(now + chrono::TimeDelta::minutes(10));
    let clock = stack.core.clock.as_ref();
    drop(cleanup::run(store, clock, budget).await);
}

async fn call_all(world: &World) {
    let bearer = &world.ada.access_token;
    let stack = &world.stack;
    let id = world.phone.session_id;
    let session = format!("/v1/sessions/{id}");
    let refresh = json!({"refresh_token": world.phone.refresh_token});
    let credentials = json!({"email": "ada@example.com", "password": PASSWORD});
    let no_body = Value::Null;
    let name = json!({"name": "Kitchen"});
    for (method, path, body) in [
        (Method::GET, "/v1/sessions", &no_body),
        (Method::GET, "/v1/sessions/current", &no_body),
        (Method::GET, "/v1/me", &no_body),
        (Method::PATCH, session.as_str(), &name),
        (Method::POST, "/v1/auth/refresh", &refresh),
        (Method::POST, "/v1/auth/login", &credentials),
        (Method::DELETE, "/v1/sessions/expired", &no_body),
        (Method::POST, "/v1/me/delete", &credentials),
        (Method::DELETE, session.as_str(), &no_body),
        (Method::POST, "/v1/auth/logout", &refresh),
        (Method::POST, "/v1/sessions/revoke-all", &no_body),
    ] {
        let mut call = stack.request(method.clone(), path).bearer(bearer);
        if !body.is_null() {
            call = call.json(body);
        }
        let reply = call.send_unchecked().await;
        conformity::check_form(&method, path, &reply);
        let status = reply.status.as_u16();
        assert!(status <= 500, "{method} {path}: {status} {}", reply.body);
    }
}

fn item_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    with_world(async |world| {
        for (place, item) in (0_u8..).zip(&world.items) {
            seeds.push([&[place], item.to_string().as_bytes()].concat());
            let Some(attributes) = item.as_object() else {
                continue;
            };
            for (name, value) in attributes {
                let extreme = if value.get("N").is_some() {
                    json!({"N": "8210266876799999"}) // the last millisecond that chrono knows
                } else {
                    json!({"S": ""})
                };
                let another = json!({"S": "00000000-0000-4000-8000-000000000000"});
                for value in [extreme, another, Value::Null] {
                    let change = json!({name: value}).to_string();
                    seeds.push([&[place], change.as_bytes()].concat());
                }
            }
        }
    });
    seeds
}

/// A stored hash: verifying against it may fail, and takes no more than the bounds that it has.
fn password_hashes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Within the bounds, argon2 itself is not what is looked at.
    if costs(text, "m=") > 64 || costs(text, "t=") > 4 {
        let _ = needs_upgrade(&PasswordHash::from_phc(text.to_owned()));
        return;
    }
    let hash = PasswordHash::from_phc(text.to_owned());
    let memory = &mut WorkingMemory::default();
    let verified = verify(&Password::new(PASSWORD.to_owned()), &hash, memory);
    if verified.is_err() {
        assert!(needs_upgrade(&hash) || !text.is_ascii());
    }
}

fn costs(text: &str, name: &str) -> u64 {
    let Some((_, rest)) = text.split_once(name) else {
        return 0;
    };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(u64::MAX)
}

fn password_hash_seeds() -> Vec<Vec<u8>> {
    let phc = crate::harness::stack::OLD_PARAMETERS_HASH;
    let short = "$argon2i$v=16$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAA";
    [QUICK_HASH, phc, short]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}
