//! The event of API Gateway (payload 2.0) that a request comes as.
//!
//! `lambda_http` reads it, but takes what a client sent for well-formed: a header that is not ASCII makes the whole event
//! unreadable to it, and a path or a query that is no URI or a body that is no base64 makes it panic. Each is an error of
//! the function, for which API Gateway answers 500. Here such an event becomes the request that a server on a socket
//! would have read, and what is wrong with it is the router's to say.

use std::convert::Infallible;
use std::pin::Pin;

use axum::Router;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::lambda_runtime::{self, Context, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, IntoResponse, Request, Service, service_fn};
use latchkey_api::body::NotBase64;
use latchkey_api::http::Invocation;
use latchkey_api::location::PeerAddress;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// An invocation, as its log lines and its reply name it.
pub(crate) fn invocation(context: &Context) -> Invocation {
    Invocation {
        request_id: context.request_id.clone(),
        xray_trace_id: context.xray_trace_id.clone(),
    }
}

/// A request, whatever the client sent.
#[derive(Debug)]
pub struct Event {
    /// Without its body.
    request: LambdaRequest,
    body: Result<Vec<u8>, NotBase64>,
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut event = Map::deserialize(deserializer)?;
        let headers = event.remove("headers");
        let mut request: ApiGatewayV2httpRequest =
            serde_json::from_value(Value::Object(event)).map_err(D::Error::custom)?;
        request.headers = readable_headers(headers);
        // `lambda_http` drops all of them if one is not ASCII, and any page of the site may set one.
        let cookies = request.cookies.take().unwrap_or_default().join("; ");
        if let (false, Ok(cookies)) = (
            cookies.is_empty(),
            HeaderValue::from_bytes(cookies.as_bytes()),
        ) {
            request.headers.insert(COOKIE, cookies);
        }
        // The router goes by the path alone, and neither of these is certain to make a URI.
        request.headers.remove(HOST);
        request.headers.remove("x-forwarded-proto");
        request.request_context.domain_name = None;
        let path = request.raw_path.unwrap_or_default();
        // Taken away, because `lambda_http` puts a stage that is not in the path before it.
        let stage = request.request_context.stage.take();
        let path = without_stage(&path, stage.as_deref().unwrap_or(DEFAULT_STAGE));
        request.raw_path = Some(format!("/{}", path.strip_prefix('/').unwrap_or(path)));
        request.raw_query_string = request
            .raw_query_string
            .map(|query| utf8_percent_encode(&query, &NOT_IN_A_QUERY).to_string());
        let body = request.body.take().unwrap_or_default();
        let body = if std::mem::take(&mut request.is_base64_encoded) {
            BASE64_STANDARD.decode(body).map_err(|_| NotBase64)
        } else {
            Ok(body.into_bytes())
        };
        Ok(Self {
            request: LambdaRequest::ApiGatewayV2(request),
            body,
        })
    }
}

/// The stage whose name is in no path.
const DEFAULT_STAGE: &str = "$default";

/// The path of a route: API Gateway puts the name of any other stage before it.
fn without_stage<'a>(path: &'a str, stage: &str) -> &'a str {
    if stage == DEFAULT_STAGE {
        return path;
    }
    let rest = path
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(stage));
    match rest {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

/// What the router reads: an error instead of a body that could not be decoded.
fn readable(body: Result<Vec<u8>, NotBase64>) -> axum::body::Body {
    match body {
        Ok(body) => body.into(),
        // The one byte is over the limit, so that reading fails, and the limit's error becomes ours.
        Err(error) => {
            axum::body::Body::new(Limited::new(Full::from("x"), 0).map_err(move |_| error))
        }
    }
}

impl Event {
    /// The address that API Gateway saw the request come from.
    fn peer(&self) -> Option<PeerAddress> {
        match &self.request {
            LambdaRequest::ApiGatewayV2(request) => {
                let address = request.request_context.http.source_ip.as_deref()?;
                address.parse().ok().map(PeerAddress)
            }
            _ => None,
        }
    }
}

/// API Gateway joins the values of a header that was sent twice by commas. A value may hold any byte but control
/// characters (RFC 9110 section 5.5); what is no header is left out, as if it had not been sent.
fn readable_headers(headers: Option<Value>) -> HeaderMap {
    let Some(Value::Object(headers)) = headers else {
        return HeaderMap::new();
    };
    let readable = |(name, value): (String, Value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        let value = HeaderValue::from_bytes(value.as_str()?.as_bytes()).ok()?;
        Some((name, value))
    };
    headers.into_iter().filter_map(readable).collect()
}

/// The bytes of ASCII that a URI's query cannot hold (RFC 3986 section 3.4). What was encoded before stays as it is.
const NOT_IN_A_QUERY: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A router's answer to an event, as API Gateway takes it.
///
/// # Errors
/// None: a router always answers.
pub async fn answer(
    router: Router,
    LambdaEvent { payload, context }: LambdaEvent<Event>,
) -> Result<impl Serialize, Infallible> {
    let mut router = router;
    let invocation = invocation(&context);
    let peer = payload.peer();
    let event = LambdaEvent::new(payload.request, context);
    let mut body = Some(payload.body);
    let service = service_fn(move |request: Request| {
        let body = body.take().unwrap_or_else(|| Ok(Vec::new()));
        let mut request = request.map(|_| readable(body));
        let extensions = request.extensions_mut();
        extensions.insert(invocation.clone());
        if let Some(peer) = peer {
            extensions.insert(peer);
        }
        let response = router.call(request);
        async move { response.await.map(Answer) }
    });
    Adapter::from(service).call(event).await
}

/// A router's answer. `lambda_http` would decode its body from whatever character set it says to be in, for which it has
/// the tables of all of them, a sixth of a megabyte. What is sent here is UTF-8, or compressed, which never looks like it.
struct Answer(Response<axum::body::Body>);

impl IntoResponse for Answer {
    fn into_response(self) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async {
            let (mut parts, body) = self.0.into_parts();
            parts.headers = in_one_line_each(&parts.headers);
            let body = body.collect().await.map_or_else(
                |error| {
                    tracing::error!(%error, "the reply could not be made");
                    parts.status = StatusCode::INTERNAL_SERVER_ERROR;
                    Body::Empty
                },
                |body| text_or_binary(body.to_bytes().into()),
            );
            Response::from_parts(parts, body)
        })
    }
}

/// Of a header with several values payload 2.0 takes one alone, so they become a list (RFC 9110 section 5.3): CORS adds to
/// the `Vary` of a handler. Cookies are no list, and have a place in the payload.
fn in_one_line_each(reply: &HeaderMap) -> HeaderMap {
    let mut joined = HeaderMap::new();
    for (name, value) in reply {
        let list = match joined.get(name) {
            Some(before) if name != SET_COOKIE => {
                HeaderValue::from_bytes(&[before.as_bytes(), b", ", value.as_bytes()].concat()).ok()
            }
            _ => None,
        };
        match list {
            Some(list) => drop(joined.insert(name, list)),
            None => drop(joined.append(name, value.clone())),
        }
    }
    joined
}

fn text_or_binary(body: Vec<u8>) -> Body {
    String::from_utf8(body).map_or_else(|error| Body::Binary(error.into_bytes()), Body::Text)
}

/// Answers events until Lambda ends the environment.
///
/// # Errors
/// Those of the runtime.
pub async fn run(router: Router) -> Result<(), lambda_http::Error> {
    lambda_runtime::run(service_fn(move |event| answer(router.clone(), event))).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequest;
    use latchkey_api::body::RefreshTokenRequest;
    use latchkey_api::problem::Problem;
    use serde_json::json;

    fn event(path: &str, query: &str, headers: &Value) -> String {
        let event = json!({
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers,
            "requestContext": {
                "domainName": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com",
                "http": {"method": "GET", "path": path, "sourceIp": "203.0.113.7"},
                "stage": "$default",
                "timeEpoch": 1_795_286_340_000_i64,
            },
            "isBase64Encoded": false,
        });
        event.to_string()
    }

    fn read(event: &str) -> lambda_http::Request {
        let event: Event = serde_json::from_str(event).unwrap();
        event.request.into()
    }

    #[test]
    fn a_header_that_is_not_ascii_is_read() {
        let headers = json!({
            "user-agent": "Caf\u{e9}/1.0",
            "x-device-id": "\u{1f511}",
            "x-broken": "a\nb",
            "no name": "x",
            "accept": "*/*",
        });
        let event = event("/v1/me", "", &headers);
        assert!(serde_json::from_str::<LambdaRequest>(&event).is_err());
        let request = read(&event);
        let headers = request.headers();
        assert_eq!(headers["user-agent"].as_bytes(), "Caf\u{e9}/1.0".as_bytes());
        assert_eq!(headers["x-device-id"].as_bytes(), "\u{1f511}".as_bytes());
        assert_eq!(headers["accept"], "*/*");
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn cookies_come_as_an_array_and_may_hold_any_text() {
        for (cookies, read_as) in [
            (json!(["a=1", "b=2"]), Some("a=1; b=2")),
            (json!(["a=1", "b=Caf\u{e9}"]), Some("a=1; b=Caf\u{e9}")),
            (json!([]), None),
            (json!(null), None),
        ] {
            let mut event: Value = serde_json::from_str(&event("/", "", &json!({}))).unwrap();
            event["cookies"] = cookies.clone();
            let request = read(&event.to_string());
            let found = request.headers().get(COOKIE).map(HeaderValue::as_bytes);
            assert_eq!(found, read_as.map(str::as_bytes), "{cookies}");
        }
    }

    #[tokio::test]
    async fn cookies_are_set_as_an_array() {
        let reply = || async { [("set-cookie", "a=1; HttpOnly")] };
        let router = Router::new().route("/", axum::routing::get(reply));
        let event = serde_json::from_str(&event("/", "", &json!({}))).unwrap();
        let event = LambdaEvent::new(event, lambda_http::Context::default());
        let answered = json!(answer(router, event).await.unwrap());
        assert_eq!(answered["cookies"], json!(["a=1; HttpOnly"]));
        assert_eq!(answered["headers"].get("set-cookie"), None);
    }

    #[test]
    fn a_path_or_a_query_that_is_no_uri_is_read() {
        let none = json!({});
        for (path, query, uri) in [
            ("/v1/me", "", "/v1/me"),
            ("/v1/me", "a=b&c=%20d+e", "/v1/me?a=b&c=%20d+e"),
            ("/v1/me", "a=\"<b>\"", "/v1/me?a=%22%3Cb%3E%22"),
            ("/v1/me", "a b\u{e9}#c", "/v1/me?a%20b%C3%A9%23c"),
            ("/v1/me", "a=\0\n", "/v1/me?a=%00%0A"),
            ("/a b\u{e9}\"", "", "/a%20b%C3%A9%22"),
            ("", "", "/"),
            ("v1/me", "", "/v1/me"),
            (":99999999/x", "", "/:99999999/x"),
            ("@evil.example.com/x", "", "/@evil.example.com/x"),
        ] {
            assert_eq!(
                read(&event(path, query, &none)).uri(),
                uri,
                "{path} {query}"
            );
        }
        for headers in [
            json!({"host": "a b"}),
            json!({"host": "[::1"}),
            json!({"host": "x", "x-forwarded-proto": "x y"}),
            json!({"host": "x", "x-forwarded-proto": ""}),
        ] {
            assert_eq!(
                read(&event("/v1/me", "", &headers)).uri(),
                "/v1/me",
                "{headers}"
            );
        }
    }

    #[test]
    fn a_stage_in_the_path_is_ignored() {
        for (stage, path, read_as) in [
            (json!("$default"), "/v1/me", "/v1/me"),
            (json!("$default"), "/$default/v1/me", "/$default/v1/me"),
            (json!(null), "/prod/v1/me", "/prod/v1/me"),
            (json!("prod"), "/prod/v1/me", "/v1/me"),
            (json!("prod"), "/prod/prod/v1/me", "/prod/v1/me"),
            (json!("prod"), "/prod", "/"),
            (json!("prod"), "/prod/", "/"),
            (json!("prod"), "/production/v1/me", "/production/v1/me"),
            (json!("prod"), "/v1/me", "/v1/me"),
        ] {
            let mut event: Value = serde_json::from_str(&event(path, "a=b", &json!({}))).unwrap();
            event["requestContext"]["stage"] = stage.clone();
            let uri = read(&event.to_string()).uri().to_string();
            assert_eq!(uri, format!("{read_as}?a=b"), "{stage} {path}");
        }
    }

    /// The status and the body that a router sees which repeats a body of an event.
    async fn echo(body: &str, is_base64: bool) -> (u64, Value) {
        let reply = |request: axum::extract::Request| async {
            let body = axum::body::to_bytes(request.into_body(), 100).await;
            body.map_err(|_| StatusCode::BAD_REQUEST)
        };
        let router = Router::new().route("/", axum::routing::post(reply));
        let mut event: Value = serde_json::from_str(&event("/", "", &json!({}))).unwrap();
        event["requestContext"]["http"]["method"] = json!("POST");
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(is_base64);
        let event = serde_json::from_value(event).unwrap();
        let event = LambdaEvent::new(event, lambda_http::Context::default());
        let answered = json!(answer(router, event).await.unwrap());
        let status = answered["statusCode"].as_u64().unwrap();
        (status, answered["body"].clone())
    }

    #[tokio::test]
    async fn a_body_in_base64_is_decoded_and_one_that_is_none_cannot_be_read() {
        assert_eq!(echo("{}", false).await, (200, json!("{}")));
        assert_eq!(echo("", false).await, (200, json!("")));
        assert_eq!(echo("e30=", true).await, (200, json!("{}")));
        assert_eq!(echo("", true).await, (200, json!("")));
        for wrong in ["{\"x\":1}", "e30", "e30=\n", "e30==", "=", "\u{e9}"] {
            let (status, _) = echo(wrong, true).await;
            assert_eq!(status, 400, "{wrong:?}");
        }
    }

    /// As the routes read it: neither an empty body nor one that is too large.
    #[tokio::test]
    async fn a_route_is_told_that_a_body_is_not_base64() {
        let request = http::Request::post("/")
            .header("content-type", "application/json")
            .body(readable(Err(NotBase64)))
            .unwrap();
        let refused = latchkey_api::body::Body::<RefreshTokenRequest>::from_request(request, &())
            .await
            .unwrap_err();
        let expected = "The body is not the base64 that it is said to be.";
        assert_eq!(refused, Problem::invalid_request(expected));
    }

    #[tokio::test]
    async fn what_is_not_text_is_sent_in_base64() {
        let gzip: &[u8] = &[0x1f, 0x8b, 8, 0];
        for (body, sent, in_base64) in [
            ("caf\u{e9}".as_bytes(), "caf\u{e9}", false),
            (b"", "", false),
            (gzip, "H4sIAA==", true),
        ] {
            let reply = move || async move { body };
            let router = Router::new().route("/", axum::routing::get(reply));
            let event = serde_json::from_str(&event("/", "", &json!({}))).unwrap();
            let event = LambdaEvent::new(event, lambda_http::Context::default());
            let answered = json!(answer(router, event).await.unwrap());
            assert_eq!(answered["body"], sent);
            assert_eq!(answered["isBase64Encoded"], in_base64);
        }
    }

    #[tokio::test]
    async fn a_header_with_several_values_keeps_them_all() {
        let reply = || async {
            axum::response::AppendHeaders([
                ("vary", "accept-encoding"),
                ("vary", "origin"),
                ("x-one", "1"),
                ("set-cookie", "a=1"),
                ("set-cookie", "b=2"),
            ])
        };
        let router = Router::new().route("/", axum::routing::get(reply));
        let event = serde_json::from_str(&event("/", "", &json!({}))).unwrap();
        let event = LambdaEvent::new(event, lambda_http::Context::default());
        let answered = json!(answer(router, event).await.unwrap());
        assert_eq!(answered["headers"]["vary"], "accept-encoding, origin");
        assert_eq!(answered["headers"]["x-one"], "1");
        assert_eq!(answered["cookies"], json!(["a=1", "b=2"]));
    }

    #[tokio::test]
    async fn a_reply_that_cannot_be_read_is_an_internal_error() {
        let broken = || async { axum::body::Body::new(Limited::new(Full::from("too long"), 1)) };
        let router = Router::new().route("/", axum::routing::get(broken));
        let event = serde_json::from_str(&event("/", "", &json!({}))).unwrap();
        let event = LambdaEvent::new(event, lambda_http::Context::default());
        let answered = json!(answer(router, event).await.unwrap());
        assert_eq!(answered["statusCode"], 500);
        assert_eq!(answered["body"], Value::Null);
    }

    #[test]
    fn lambda_http_alone_panics_at_them() {
        let headers = json!({"host": "x", "x-forwarded-proto": "x y"});
        for event in [
            event("/v1/me", "a b", &json!({})),
            event("/v1/me", "", &headers),
            event("/v1/me", "", &json!({})).replace(
                r#""isBase64Encoded":false"#,
                r#""isBase64Encoded":true,"body":"e30""#,
            ),
        ] {
            let event: LambdaRequest = serde_json::from_str(&event).unwrap();
            let read = std::panic::catch_unwind(|| lambda_http::Request::from(event));
            assert!(
                read.is_err(),
                "lambda_http has learned it: this module may go"
            );
        }
    }
}
