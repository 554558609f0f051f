//! Secrets Manager, as far as the service uses it: one secret, which a test can change, break and count the reads of.

use std::sync::{Arc, Mutex};

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use axum::Json;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use latchkey_domain::policy::SessionPolicy;
use latchkey_service::token_keys::{SecretsManager, TokenKeys};
use serde_json::{Value, json};

use crate::harness::stack::{SECRET, identity};

/// The ARN of the secret.
pub const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:latchkey";

/// A Secrets Manager of a test's own.
#[derive(Clone, Debug)]
pub struct FakeSecretsManager {
    /// Where it listens.
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    text: String,
    written_at: Option<DateTime<Utc>>,
    version: u32,
    broken: bool,
    reads: usize,
}

impl FakeSecretsManager {
    /// Starts it with a secret.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(document: &Value, written_at: Option<DateTime<Utc>>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let state = Arc::<Mutex<State>>::default();
        let answering = state.clone();
        let router = axum::Router::new().fallback(async move |headers: HeaderMap, body: String| {
            answer(&answering, &headers, &body)
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        let fake = Self { endpoint, state };
        fake.write(document, written_at);
        fake
    }

    /// Starts it with the secret of tests, and one before it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn of_tests() -> Self {
        let document = json!({
            "current": String::from_utf8_lossy(SECRET),
            "previous": "the secret before this one, also long",
        });
        Self::start(&document, None).await
    }

    /// What a function needs to take its secret from here.
    #[must_use]
    pub fn settings(&self) -> [(&str, &str); 3] {
        [
            ("TOKEN_SECRET", ""),
            ("TOKEN_SECRET_ARN", ARN),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &self.endpoint),
        ]
    }

    /// Replaces the secret.
    ///
    /// # Panics
    /// Never.
    pub fn write(&self, document: &Value, written_at: Option<DateTime<Utc>>) {
        let mut state = self.state.lock().expect("no test panics under this lock");
        state.text = document.to_string();
        state.written_at = written_at;
        state.version += 1;
    }

    /// From now on nothing can be read, or again.
    ///
    /// # Panics
    /// Never.
    pub fn set_broken(&self, broken: bool) {
        let mut state = self.state.lock().expect("no test panics under this lock");
        state.broken = broken;
    }

    /// How often the secret was read, or tried to, since the last time.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn take_reads(&self) -> usize {
        let mut state = self.state.lock().expect("no test panics under this lock");
        std::mem::take(&mut state.reads)
    }

    /// The keys of an instance that starts now.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn instance(&self, now: DateTime<Utc>) -> TokenKeys {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&self.endpoint)
            .retry_config(aws_sdk_secretsmanager::config::retry::RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let secret = SecretsManager::new(Client::from_conf(config), ARN.to_owned());
        TokenKeys::read(identity(), SessionPolicy::default(), secret, now)
            .await
            .expect("the secret can be read")
    }
}

fn answer(state: &Mutex<State>, headers: &HeaderMap, body: &str) -> Response {
    assert_eq!(headers["x-amz-target"], "secretsmanager.GetSecretValue");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body, json!({"SecretId": ARN}));
    let mut state = state.lock().expect("no test panics under this lock");
    state.reads += 1;
    if state.broken {
        let error = json!({"__type": "InternalServiceError", "message": "broken by the test"});
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response();
    }
    let mut reply = json!({
        "ARN": ARN,
        "Name": "x",
        "VersionId": format!("version-{}-of-this-secret-0123456789", state.version),
        "SecretString": state.text,
    });
    if let Some(written_at) = state.written_at {
        reply["CreatedDate"] = json!(written_at.timestamp());
    }
    Json(reply).into_response()
}
