//! Secrets Manager, as far as the service uses it: one secret with its versions and their stages, which a test can change,
//! break and count the reads of.

use std::collections::{BTreeMap, BTreeSet};
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
    /// By name. One that is staged and has no value yet is not among them.
    versions: BTreeMap<String, Version>,
    /// Which version has a stage.
    stages: BTreeMap<String, String>,
    created_at: Option<DateTime<Utc>>,
    rotation_enabled: bool,
    written: u32,
    broken: bool,
    failure: Option<(String, Failure)>,
    reads: usize,
    operations: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Version {
    text: String,
    written_at: Option<DateTime<Utc>>,
}

/// How a request fails once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing has happened.
    Refused,
    /// It has happened, and only the reply was lost.
    ReplyLost,
}

const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";
const PENDING: &str = "AWSPENDING";

impl State {
    fn move_stage(&mut self, stage: &str, version: &str) {
        let before = self.stages.insert(stage.to_owned(), version.to_owned());
        if let (CURRENT, Some(before)) = (stage, before)
            && before != version
        {
            self.stages.insert(PREVIOUS.to_owned(), before);
        }
    }

    fn describe(&self) -> Value {
        let mut stages: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
        for (stage, version) in &self.stages {
            stages.entry(version).or_default().push(stage);
        }
        let mut described = json!({
            "ARN": ARN,
            "Name": "x",
            "RotationEnabled": self.rotation_enabled,
            "VersionIdsToStages": stages,
        });
        if let Some(created_at) = self.created_at {
            described["CreatedDate"] = json!(created_at.timestamp());
        }
        described
    }

    fn get(&mut self, request: &Value) -> Result<Value, &'static str> {
        self.reads += 1;
        let stage = request["VersionStage"].as_str();
        let staged = self.stages.get(stage.unwrap_or(CURRENT));
        let id = match (request["VersionId"].as_str(), stage) {
            (Some(id), Some(_)) if staged.is_none_or(|staged| staged != id) => {
                return Err("ResourceNotFoundException");
            }
            (Some(id), _) => id,
            (None, _) => staged.ok_or("ResourceNotFoundException")?,
        };
        let version = self.versions.get(id).ok_or("ResourceNotFoundException")?;
        let mut reply = json!({
            "ARN": ARN,
            "Name": "x",
            "VersionId": id,
            "SecretString": version.text,
        });
        if let Some(written_at) = version.written_at {
            reply["CreatedDate"] = json!(written_at.timestamp());
        }
        Ok(reply)
    }

    fn put(&mut self, request: &Value) -> Result<Value, &'static str> {
        let id = request["ClientRequestToken"].as_str().expect("a token");
        let version = Version {
            text: request["SecretString"].as_str().expect("text").to_owned(),
            written_at: None,
        };
        match self.versions.get(id) {
            Some(there) if *there == version => {}
            Some(_) => return Err("ResourceExistsException"),
            None => drop(self.versions.insert(id.to_owned(), version)),
        }
        for stage in request["VersionStages"].as_array().expect("stages") {
            self.move_stage(stage.as_str().expect("text"), id);
        }
        Ok(json!({"ARN": ARN, "Name": "x", "VersionId": id}))
    }

    fn update_stage(&mut self, request: &Value) -> Result<Value, &'static str> {
        let stage = request["VersionStage"].as_str().expect("a stage");
        let remove = request["RemoveFromVersionId"].as_str();
        let attached = self.stages.get(stage).map(String::as_str);
        match request["MoveToVersionId"].as_str() {
            // It has to be said where it is, so that nobody moves what they have not seen.
            Some(to) if attached != Some(to) && attached != remove => {
                return Err("InvalidParameterException");
            }
            Some(to) => self.move_stage(stage, to),
            None if attached != remove => return Err("InvalidParameterException"),
            None => drop(self.stages.remove(stage)),
        }
        Ok(json!({"ARN": ARN, "Name": "x"}))
    }
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
        state.written += 1;
        let id = format!("version-{}-of-this-secret-0123456789", state.written);
        let version = Version {
            text: document.to_string(),
            written_at,
        };
        state.versions.insert(id.clone(), version);
        state.move_stage(CURRENT, &id);
        state.created_at = state.created_at.or(written_at);
    }

    /// What `RotateSecret` does before it calls the rotation function: another version is pending, without a value.
    ///
    /// # Panics
    /// When a rotation is under way, as `RotateSecret` refuses it then.
    pub fn begin_rotation(&self, token: &str) {
        let mut state = self.state.lock().expect("no test panics under this lock");
        let pending = state.stages.get(PENDING);
        let idle = pending.is_none_or(|pending| state.stages.get(CURRENT) == Some(pending));
        assert!(idle, "a rotation is under way");
        state.rotation_enabled = true;
        state.stages.insert(PENDING.to_owned(), token.to_owned());
    }

    /// Lets the next request of an operation fail, such as `PutSecretValue`.
    ///
    /// # Panics
    /// Never.
    pub fn fail_once(&self, operation: &str, failure: Failure) {
        let mut state = self.state.lock().expect("no test panics under this lock");
        state.failure = Some((operation.to_owned(), failure));
    }

    /// Takes back a failure that has not happened.
    ///
    /// # Panics
    /// Never.
    pub fn fail_no_more(&self) {
        let mut state = self.state.lock().expect("no test panics under this lock");
        state.failure = None;
    }

    /// The operations that were asked for so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn operations(&self) -> BTreeSet<String> {
        let state = self.state.lock().expect("no test panics under this lock");
        state.operations.clone()
    }

    /// Which version has a stage.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn staged(&self, stage: &str) -> Option<String> {
        let state = self.state.lock().expect("no test panics under this lock");
        state.stages.get(stage).cloned()
    }

    /// The current document.
    ///
    /// # Panics
    /// When it is no JSON.
    #[must_use]
    pub fn document(&self) -> Value {
        let state = self.state.lock().expect("no test panics under this lock");
        let version = &state.versions[&state.stages[CURRENT]];
        serde_json::from_str(&version.text).expect("JSON")
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
        TokenKeys::read(identity(), SessionPolicy::default(), self.secret(), now)
            .await
            .expect("the secret can be read")
    }

    /// The secret, as an instance of a function reaches it.
    #[must_use]
    pub fn secret(&self) -> SecretsManager {
        let config = aws_sdk_secretsmanager::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&self.endpoint)
            .retry_config(aws_sdk_secretsmanager::config::retry::RetryConfig::disabled())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        SecretsManager::new(Client::from_conf(config), ARN.to_owned())
    }
}

fn answer(state: &Mutex<State>, headers: &HeaderMap, body: &str) -> Response {
    let target = headers["x-amz-target"].to_str().expect("text");
    let operation = target.strip_prefix("secretsmanager.").expect("a target");
    let request: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(request["SecretId"], ARN);
    let mut state = state.lock().expect("no test panics under this lock");
    state.operations.insert(operation.to_owned());
    let failure = match &state.failure {
        Some((failing, failure)) if failing == operation => Some(*failure),
        _ => None,
    };
    if failure.is_some() {
        state.failure = None;
    }
    if state.broken || failure == Some(Failure::Refused) {
        state.reads += usize::from(operation == "GetSecretValue");
        return internal_error();
    }
    let answer = match operation {
        "DescribeSecret" => Ok(state.describe()),
        "GetSecretValue" => state.get(&request),
        "PutSecretValue" => state.put(&request),
        "UpdateSecretVersionStage" => state.update_stage(&request),
        other => panic!("{other} is not here"),
    };
    match answer {
        _ if failure == Some(Failure::ReplyLost) => internal_error(),
        Ok(reply) => Json(reply).into_response(),
        Err(kind) => {
            let error = json!({"__type": kind, "Message": "refused by the test's Secrets Manager"});
            (StatusCode::BAD_REQUEST, Json(error)).into_response()
        }
    }
}

fn internal_error() -> Response {
    let error = json!({"__type": "InternalServiceError", "Message": "broken by the test"});
    (StatusCode::INTERNAL_SERVER_ERROR, Json(error)).into_response()
}
