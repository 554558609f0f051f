//! The event of API Gateway (payload 2.0) that a request comes as.
//!
//! `lambda_http` reads it, but takes what a client sent for well-formed: a header that is not ASCII makes the whole event
//! unreadable to it, and a path or a query that is no URI makes it panic. Either is an error of the function, for which
//! API Gateway answers 500. Here such an event becomes the request that a server on a socket would have read, and what
//! is wrong with it is the router's to say.

use std::convert::Infallible;

use axum::Router;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::lambda_runtime::{self, LambdaEvent};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Service, service_fn};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

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
        request.raw_query_string = request.raw_query_string.as_deref().map(encoded_query);
        Ok(Self(LambdaRequest::ApiGatewayV2(request)))
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

/// A query in which every byte that a URI cannot hold is percent-encoded (RFC 3986 section 3.4). What was encoded
/// before stays as it is.
fn encoded_query(query: &str) -> String {
    let mut encoded = String::with_capacity(query.len());
    for byte in query.bytes() {
        if byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A router's answer to an event, as API Gateway takes it.
///
/// # Errors
/// None: a router always answers.
pub async fn answer(
    router: Router,
    LambdaEvent { payload, context }: LambdaEvent<Event>,
) -> Result<impl Serialize, Infallible> {
    let event = LambdaEvent::new(payload.0, context);
    Adapter::from(router).call(event).await
}

/// Answers events until Lambda ends the environment.
///
/// # Errors
/// Those of the runtime.
pub async fn run(router: Router) -> Result<(), lambda_http::Error> {
    lambda_runtime::run(service_fn(move |event| answer(router.clone(), event))).await
}
