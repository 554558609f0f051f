//! Bytes as events of API Gateway.

use crate::harness::authorizer::decide;
use crate::harness::reply::Reply;
use crate::harness::stack::CHROME;
use http::{HeaderName, Method};
use lambda_http::{Context, LambdaEvent};
use latchkey_api::authenticate::token_of_bearer;
use latchkey_runtime::gateway::{self, Event};
use latchkey_service::AccessRules;
use serde_json::{Value, json};
use std::collections::HashMap;

use super::{checked, with_world};

/// An event of API Gateway: method, path, query, address, content type, body, and headers as lines, divided by zero
/// bytes. What API Gateway makes itself is as it makes it.
pub(super) fn events(data: &[u8]) {
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
        let authorizer = world.stack.authorizer(AccessRules::default());
        let decision = decide(&authorizer, &event).await.expect("a decision");
        let sent = headers.get("authorization").map(String::as_str);
        let token = sent.and_then(token_of_bearer);
        let issued = [&world.ada, &world.phone].map(|who| who.access_token.as_str());
        let genuine = token.is_some_and(|token| issued.contains(&token.expose()));
        assert_eq!(decision.is_authorized, genuine, "{sent:?}");
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
        request: None,
        status: u16::try_from(status)
            .ok()
            .and_then(|status| status.try_into().ok())
            .expect("a status"),
        headers: pairs.collect(),
        body: serde_json::from_str(body).unwrap_or_default(),
        bytes: body.as_bytes().to_vec(),
    }
}

pub(super) fn event_seeds() -> Vec<Vec<u8>> {
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
