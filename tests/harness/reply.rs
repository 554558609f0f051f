//! What the service answers.

use http::{HeaderMap, Method, StatusCode};
use latchkey_domain::id::{SessionId, UserId};
use serde_json::Value;

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Which request it answers, if it was sent by a test's [`Call`](super::call::Call).
    pub request: Option<(Method, String)>,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, if it is JSON, else null.
    pub body: Value,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// The body of a reply that must have this status.
    ///
    /// # Panics
    /// When it has another.
    #[track_caller]
    pub fn expect(self, status: StatusCode) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// That the reply is this error.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status.as_u16(), self.code()),
            (status, code),
            "{}",
            self.body
        );
        self
    }

    /// The code of an error.
    #[must_use]
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("none")
    }

    /// A header, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Somebody who is signed in.
#[derive(Clone, Debug, PartialEq)]
pub struct SignedIn {
    /// For the API.
    pub access_token: String,
    /// For the next refresh.
    pub refresh_token: String,
    /// For the next sign-in on this device, if the reply had one.
    pub device_token: Option<String>,
    /// The session.
    pub session_id: SessionId,
    /// The user, if the reply had one.
    pub user_id: Option<UserId>,
    /// The whole reply.
    pub body: Value,
}

impl From<Value> for SignedIn {
    fn from(body: Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            access_token: text(&body["access_token"]),
            refresh_token: text(&body["refresh_token"]),
            device_token: body["device_token"].as_str().map(str::to_owned),
            session_id: text(&body["session"]["id"]).parse().expect("a session id"),
            user_id: body["user"]["id"].as_str().and_then(|id| id.parse().ok()),
            body,
        }
    }
}
