//! A client of the service, over plain HTTP on this machine.

use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// What clients say they are: a User-Agent that takes parsing.
const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";

/// The service at an address. Connections are kept and used again.
#[derive(Debug)]
pub(crate) struct Api {
    http: Client<HttpConnector, String>,
    url: String,
}

/// A request that is not yet sent.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    bearer: Option<String>,
    body: Option<Value>,
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// The body, if it is JSON.
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            bearer: None,
            body: None,
        }
    }

    pub(crate) fn post(path: &str, body: Value) -> Self {
        Self {
            body: Some(body),
            ..Self::new(Method::POST, path)
        }
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        Self {
            bearer: Some(token.to_owned()),
            ..self
        }
    }
}

impl Api {
    pub(crate) fn new(url: &str) -> Self {
        Self {
            http: Client::builder(TokioExecutor::new()).build_http(),
            url: url.trim_end_matches('/').to_owned(),
        }
    }

    /// Sends a request and reads the whole reply; none if there is no reply.
    pub(crate) async fn send(&self, call: Call) -> Option<Reply> {
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.url, call.path))
            .header(USER_AGENT, AGENT);
        if let Some(token) = call.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        let request = request.body(body).ok()?;
        let response = self.http.request(request).await.ok()?;
        let status = response.status();
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        Some(Reply {
            status,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        })
    }
}
