//! The event of API Gateway (payload 2.0) that a request comes as.
//!
//! `lambda_http` reads it, but takes what a client sent for well-formed: a header that is not ASCII makes the whole event
//! unreadable to it, and a path or a query that is no URI makes it panic. Either is an error of the function, for which
//! API Gateway answers 500. Here such an event becomes the request that a server on a socket would have read, and what
//! is wrong with it is the router's to say.

use std::convert::Infallible;
use std::pin::Pin;

use axum::Router;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Body, IntoResponse, Request, Service, service_fn};
use latchkey_api::location::PeerAddress;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::environment::invocation;

/// A request, whatever the client sent.
#[derive(Debug)]
pub struct Event(LambdaRequest);

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut event = Map::deserialize(deserializer)?;
        let headers = event.remove("headers");
        let mut request: ApiGatewayV2httpRequest =
            serde_json::from_value(Value::Object(event)).map_err(D::Error::custom)?;
        request.headers = readable_headers(headers);
        // The router goes by the path alone, and neither of these is certain to make a URI.
        request.headers.remove(HOST);
        request.headers.remove("x-forwarded-proto");
        request.request_context.domain_name = None;
        let path = request.raw_path.unwrap_or_default();
        request.raw_path = Some(format!("/{}", path.strip_prefix('/').unwrap_or(&path)));
        request.raw_query_string = request
            .raw_query_string
            .map(|query| utf8_percent_encode(&query, &NOT_IN_A_QUERY).to_string());
        Ok(Self(LambdaRequest::ApiGatewayV2(request)))
    }
}

impl Event {
    /// The address that API Gateway saw the request come from.
    fn peer(&self) -> Option<PeerAddress> {
        match &self.0 {
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
    let event = LambdaEvent::new(payload.0, context);
    let service = service_fn(move |mut request: Request| {
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
    use http_body_util::{Full, Limited};
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
        event.0.into()
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
