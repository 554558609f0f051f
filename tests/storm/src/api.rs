//! HTTP to the running service, and its replies in the words of the storm.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use axum::body::Body;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use futures::future::OptionFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use latchkey_domain::id::UserId;
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::reply::Reply;
use latchkey_tests::harness::stack::CHROME;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::clock::LeapingClock;
use super::history::{Answer, Event, Moment, Op, Shown, Tokens};

/// A way to the service.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    base: Arc<str>,
    client: Client<HttpConnector, Body>,
    clock: Arc<LeapingClock>,
    /// Who may send a request now, and who a password.
    requests: Arc<Semaphore>,
    passwords: Arc<Semaphore>,
}

/// How many requests are under way at once, and how many of them have a password to be hashed, which takes a core for some
/// 20 ms. On AWS each has an instance; here all share this machine, and what waits longer than the service's own limits is
/// answered 503 without any fault. The storm is about faults; what a flood meets, `measure load` shows.
const REQUESTS_AT_ONCE: usize = 32;
const PASSWORDS_AT_ONCE: usize = 8;

/// What goes with an operation and is not noted of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Secrets<'a> {
    pub(crate) access_token: &'a str,
    pub(crate) refresh_token: &'a str,
    pub(crate) email: &'a str,
    pub(crate) device_token: Option<&'a str>,
    /// The user that an administrator administers.
    pub(crate) user: Option<UserId>,
}

impl Api {
    pub(crate) fn new(base: &str, clock: Arc<LeapingClock>) -> Self {
        Self {
            base: base.into(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            clock,
            requests: Arc::new(Semaphore::new(REQUESTS_AT_ONCE)),
            passwords: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
        }
    }

    /// Sends a request once.
    pub(crate) async fn send(&self, client: usize, op: Op, secrets: Secrets<'_>) -> Event {
        let (method, path, body) = request(&op, secrets);
        let turn = op.hashes().then(|| self.passwords.acquire());
        let _turns = (
            OptionFuture::from(turn).await,
            self.requests.acquire().await,
        );
        let start = self.clock.moment();
        let answer = match self.exchange(&method, &path, body, secrets).await {
            Ok(reply) => answer(&method, &path, &op, reply),
            Err(what) => Answer::Wrong(what),
        };
        Event {
            client,
            start,
            end: self.clock.moment(),
            op,
            answer,
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<Value>,
        secrets: Secrets<'_>,
    ) -> Result<Reply, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(USER_AGENT, CHROME);
        if !secrets.access_token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", secrets.access_token));
        }
        let body = match body {
            Some(json) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        let request = request.body(body).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await;
        let (parts, body) = response.map_err(|error| error.to_string())?.into_parts();
        let bytes = body.collect().await.map_err(|error| error.to_string())?;
        let bytes = bytes.to_bytes();
        Ok(Reply {
            request: None,
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes: bytes.to_vec(),
        })
    }
}

fn request(op: &Op, secrets: Secrets<'_>) -> (Method, String, Option<Value>) {
    let with = |method: Method, path: &str, body: Value| (method, path.to_owned(), Some(body));
    let plain = |method: Method, path: String| (method, path, None);
    let credentials = |password: &str| json!({"email": secrets.email, "password": password});
    let refresh_token = || json!({"refresh_token": secrets.refresh_token});
    let user = || {
        let id = secrets.user.map(|user| user.to_string());
        format!("/v1/admin/users/{}", id.unwrap_or_default())
    };
    match op {
        Op::Register { password } => with(Method::POST, "/v1/auth/register", credentials(password)),
        Op::SignIn { password, .. } => {
            let mut body = credentials(password);
            if let (Some(token), Some(body)) = (secrets.device_token, body.as_object_mut()) {
                body.insert("device_token".to_owned(), json!(token));
            }
            with(Method::POST, "/v1/auth/login", body)
        }
        Op::Refresh { .. } => with(Method::POST, "/v1/auth/refresh", refresh_token()),
        Op::LogOut { .. } => with(Method::POST, "/v1/auth/logout", refresh_token()),
        Op::List(_) => plain(Method::GET, "/v1/sessions".to_owned()),
        Op::Current(_) => plain(Method::GET, "/v1/sessions/current".to_owned()),
        Op::Me(_) => plain(Method::GET, "/v1/me".to_owned()),
        Op::Rename { target, name, .. } => {
            let path = format!("/v1/sessions/{target}");
            with(Method::PATCH, &path, json!({"name": name}))
        }
        Op::Revoke { target, .. } => plain(Method::DELETE, format!("/v1/sessions/{target}")),
        Op::RevokeAll { keep, .. } => {
            let path = format!("/v1/sessions/revoke-all?keep_current={keep}");
            plain(Method::POST, path)
        }
        Op::Purge(_) => plain(Method::DELETE, "/v1/sessions/expired".to_owned()),
        Op::ChangePassword { old, new, .. } => {
            let body = json!({"current_password": old, "new_password": new});
            with(Method::PUT, "/v1/me/password", body)
        }
        Op::Delete { password, .. } => {
            with(Method::POST, "/v1/me/delete", json!({"password": password}))
        }
        Op::Reauthenticate { password, .. } => {
            let body = json!({"password": password});
            with(Method::POST, "/v1/auth/reauthenticate", body)
        }
        Op::Disable => with(Method::PATCH, &user(), json!({"status": "disabled"})),
        Op::Enable => with(Method::PATCH, &user(), json!({"status": "active"})),
        Op::AdminRevoke { target } => {
            plain(Method::DELETE, format!("{}/sessions/{target}", user()))
        }
        // It stands in the administrator's own history alone.
        Op::Administer(_) => plain(Method::GET, user()),
    }
}

/// Reads a reply; it must be one that the OpenAPI document knows.
fn answer(method: &Method, path: &str, op: &Op, reply: Reply) -> Answer {
    let checked = catch_unwind(AssertUnwindSafe(|| conformity::check(method, path, &reply)));
    if checked.is_err() {
        return Answer::Wrong(format!(
            "undocumented reply {} {}",
            reply.status,
            reply.code()
        ));
    }
    match reply.status {
        StatusCode::SERVICE_UNAVAILABLE if reply.headers.contains_key(RETRY_AFTER) => {
            Answer::Unavailable
        }
        status if status.is_server_error() => Answer::Wrong(format!("{status}")),
        status if status.is_client_error() => {
            Answer::Refused(status.as_u16(), reply.code().to_owned())
        }
        status => success(op, &reply.body)
            .unwrap_or_else(|| Answer::Wrong(format!("{status} that cannot be read"))),
    }
}

fn success(op: &Op, body: &Value) -> Option<Answer> {
    Some(match op {
        Op::Register { .. }
        | Op::SignIn { .. }
        | Op::Refresh { .. }
        | Op::Reauthenticate { .. }
        | Op::ChangePassword { .. } => Answer::Tokens(Box::new(tokens(body)?)),
        Op::LogOut { .. }
        | Op::Revoke { .. }
        | Op::Delete { .. }
        | Op::AdminRevoke { .. }
        | Op::Administer(_) => Answer::Nothing,
        Op::Disable => status(body, "disabled")?,
        Op::Enable => status(body, "active")?,
        Op::List(_) => {
            let sessions = body.get("sessions")?.as_array()?;
            Answer::Sessions(sessions.iter().map(shown).collect::<Option<_>>()?)
        }
        Op::Current(_) | Op::Rename { .. } => Answer::Session(shown(body)?),
        Op::Me(_) => Answer::User(body.get("id")?.as_str()?.parse().ok()?),
        Op::RevokeAll { .. } => Answer::Count(count(body, "revoked")?),
        Op::Purge(_) => Answer::Count(count(body, "removed")?),
    })
}

/// An account as an administrator has made it.
fn status(body: &Value, wanted: &str) -> Option<Answer> {
    (body.get("status")?.as_str()? == wanted).then_some(Answer::Nothing)
}

fn count(body: &Value, name: &str) -> Option<usize> {
    body.get(name)?.as_u64()?.try_into().ok()
}

fn tokens(body: &Value) -> Option<Tokens> {
    let text = |name: &str| Some(body.get(name)?.as_str()?.to_owned());
    let (access_token, refresh_token) = (text("access_token")?, text("refresh_token")?);
    let (access, refresh) = (claims(&access_token)?, claims(&refresh_token)?);
    let expires = |claims: &Value| Some(claims.get("exp")?.as_i64()? * 1_000_000);
    let (lineage, rotation) = refresh.get("jti")?.as_str()?.split_once('.')?;
    let session = shown(body.get("session")?)?;
    let id = session.id.to_string();
    let one =
        |claims: &Value, name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
    let same = [one(&access, "sid"), one(&refresh, "sid")];
    if lineage != id || same.iter().any(|sid| sid.as_ref() != Some(&id)) {
        return None;
    }
    Some(Tokens {
        user: one(&refresh, "sub")?.parse().ok()?,
        session,
        rotation: rotation.parse().ok()?,
        refresh_expires: expires(&refresh)?,
        access_expires: expires(&access)?,
        authenticated: access.get("auth_time")?.as_i64()? * 1_000_000,
        device_token: body
            .get("device_token")
            .and_then(Value::as_str)
            .map(str::to_owned),
        refresh_token,
        access_token,
    })
}

fn shown(body: &Value) -> Option<Shown> {
    let time = |name: &str| -> Option<Moment> {
        let time: DateTime<Utc> = body.get(name)?.as_str()?.parse().ok()?;
        Some(time.timestamp_micros())
    };
    Some(Shown {
        id: body.get("id")?.as_str()?.parse().ok()?,
        name: body.get("name")?.as_str().map(str::to_owned),
        created_at: time("created_at")?,
        last_used_at: time("last_used_at")?,
        expires_at: time("expires_at")?,
    })
}

/// What a token says; the service is the one that verifies it.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
