//! A request to the service.

use std::net::IpAddr;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use latchkey_api::location::PeerAddress;
use serde_json::Value;
use tower::ServiceExt;

use crate::harness::conformity;
use crate::harness::reply::Reply;

/// A request that is not yet sent.
#[derive(Clone)]
pub struct Call<'a> {
    pub(super) router: &'a Router,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) address: IpAddr,
}

impl Call<'_> {
    /// With an access token.
    #[must_use]
    pub fn bearer(self, access_token: &str) -> Self {
        self.header(
            AUTHORIZATION.as_str(),
            format!("Bearer {access_token}").as_bytes(),
        )
    }

    /// With the credentials of a client of another service, as RFC 6749 section 2.3.1 has them.
    #[must_use]
    pub fn basic(self, id: &str, secret: &str) -> Self {
        let encoded =
            |text: &str| -> String { form_urlencoded::byte_serialize(text.as_bytes()).collect() };
        let pair = BASE64_STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret)));
        self.header(AUTHORIZATION.as_str(), format!("Basic {pair}").as_bytes())
    }

    /// With a body that is a form.
    #[must_use]
    pub fn form(self, parameters: &[(&str, &str)]) -> Self {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(parameters)
            .finish();
        self.bytes("application/x-www-form-urlencoded", form.as_bytes())
    }

    /// From another address.
    #[must_use]
    pub fn from_address(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// With a User-Agent.
    #[must_use]
    pub fn user_agent(self, agent: &str) -> Self {
        self.header(USER_AGENT.as_str(), agent.as_bytes())
    }

    /// With one more header.
    ///
    /// # Panics
    /// When HTTP has no such header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &[u8]) -> Self {
        let name: http::HeaderName = name.parse().expect("a header's name");
        let value = http::HeaderValue::from_bytes(value).expect("a header's value");
        self.headers.append(name, value);
        self
    }

    /// With a body in JSON.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.bytes("application/json", body.to_string().as_bytes())
    }

    /// With a body of any kind.
    #[must_use]
    pub fn bytes(mut self, content_type: &str, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.header(CONTENT_TYPE.as_str(), content_type.as_bytes())
    }

    /// Sends it, and checks that the reply is one that the OpenAPI document knows.
    ///
    /// # Panics
    /// When it is not.
    pub async fn send(self) -> Reply {
        let (method, path) = (self.method.clone(), self.path.clone());
        let reply = self.send_unchecked().await;
        conformity::check(&method, &path, &reply);
        reply
    }

    /// Sends it.
    ///
    /// # Panics
    /// When it is no request.
    pub async fn send_unchecked(self) -> Reply {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path);
        if let Some(headers) = request.headers_mut() {
            headers.extend(self.headers);
        }
        let mut request = request.body(Body::from(self.body)).expect("a request");
        request.extensions_mut().insert(PeerAddress(self.address));
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Reply {
            request: Some((self.method, self.path)),
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes: bytes.to_vec(),
        }
    }
}
