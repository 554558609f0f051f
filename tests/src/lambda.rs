//! Lambda's runtime API, as far as a function uses it: the real binary of a function polls it, as it does on AWS.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

use crate::stack::{SECRET, TABLE, identity};

/// How a function answered an event.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// With a response.
    Response(Value),
    /// With an error, which Lambda counts as one.
    Error(Value),
    /// It could not start.
    InitError(Value),
}

/// A function that runs as on Lambda. Its process ends with it.
#[derive(Debug)]
pub struct Function {
    process: Child,
    events: mpsc::Sender<Value>,
    answers: mpsc::Receiver<Answer>,
    log: Option<JoinHandle<Vec<String>>>,
}

/// X-Ray's name for every invocation here.
pub const TRACE_ID: &str = "1-5759e988-bd862e3fe1be46a994272793";

impl Drop for Function {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[derive(Clone)]
struct RuntimeApi {
    events: Arc<Mutex<mpsc::Receiver<Value>>>,
    answers: mpsc::Sender<Answer>,
}

/// The binaries of all functions, built as they are for a laptop.
///
/// # Panics
/// When they cannot be built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // Cargo builds a package's binaries for the tests of that package only, so they are asked for here.
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--quiet", "--workspace", "--bins"])
            .current_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."))
            .status()
            .expect("cargo");
        assert!(built.success(), "the functions can be built");
        // This test is target/debug/deps/all-<hash>.
        let test = std::env::current_exe().expect("a path");
        test.ancestors()
            .nth(2)
            .expect("the folder above deps")
            .to_owned()
    });
    folder.join(name)
}

impl Function {
    /// Starts a function with the settings of tests, and `settings` instead of or beside them; an empty one is not set.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(name: &str, dynamodb_endpoint: &str, settings: &[(&str, &str)]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (events, next_events) = mpsc::channel(1);
        let (send_answer, answers) = mpsc::channel(1);
        let api = RuntimeApi {
            events: Arc::new(Mutex::new(next_events)),
            answers: send_answer,
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(api);
        tokio::spawn(async move { axum::serve(listener, router).await });

        let identity = identity();
        let mut command = Command::new(binary(name));
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_endpoint)
            .env("TABLE_NAME", TABLE)
            .env("ISSUER", identity.issuer)
            .env("AUDIENCE", identity.audience)
            .env("CLIENT_ID", identity.client_id)
            .env("TOKEN_SECRET", String::from_utf8_lossy(SECRET).as_ref());
        for (name, value) in settings {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary");
        // Read all the time: a function whose log nobody takes would stand still.
        let log = BufReader::new(process.stdout.take().expect("it is piped"));
        let log = std::thread::spawn(move || log.lines().map_while(Result::ok).collect());
        Self {
            process,
            events,
            answers,
            log: Some(log),
        }
    }

    /// Ends the process, as Lambda freezes it, and gives what it had written to standard output until then, which is
    /// what CloudWatch gets.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn log(mut self) -> Vec<String> {
        drop(self.process.kill());
        let log = self.log.take().expect("it is taken once");
        log.join().expect("it is read")
    }

    /// Gives the function an event.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn invoke(&mut self, event: &Value) -> Answer {
        self.events
            .send(event.clone())
            .await
            .expect("the runtime API");
        self.answer().await
    }

    /// Waits for what the function says next.
    ///
    /// # Panics
    /// When it says nothing.
    pub async fn answer(&mut self) -> Answer {
        let answer = tokio::time::timeout(Duration::from_secs(60), self.answers.recv()).await;
        answer
            .expect("the function answers")
            .expect("the runtime API")
    }

    /// Waits for the process to end by itself: its exit code, and what it printed as its error.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn end(mut self) -> (Option<i32>, String) {
        let mut message = String::new();
        let errors = self.process.stderr.take().expect("it is piped");
        std::io::BufReader::new(errors)
            .read_to_string(&mut message)
            .expect("text");
        (self.process.wait().expect("it ends").code(), message)
    }
}

async fn next(State(api): State<RuntimeApi>) -> impl IntoResponse {
    let event = api.events.lock().await.recv().await;
    let Some(event) = event else {
        return std::future::pending().await;
    };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (
            "lambda-runtime-aws-request-id",
            "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
        ),
        ("lambda-runtime-deadline-ms", "9999999999999"),
        (
            "lambda-runtime-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:test",
        ),
        ("content-type", "application/json"),
    ] {
        headers.insert(name, value.parse().expect("a header"));
    }
    (headers, event.to_string())
}

async fn response(
    State(api): State<RuntimeApi>,
    _: Path<String>,
    body: Bytes,
) -> impl IntoResponse {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    drop(api.answers.send(Answer::Response(body)).await);
    axum::http::StatusCode::ACCEPTED
}

async fn error(State(api): State<RuntimeApi>, _: Path<String>, body: Bytes) -> impl IntoResponse {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    drop(api.answers.send(Answer::Error(body)).await);
    axum::http::StatusCode::ACCEPTED
}

async fn init_error(State(api): State<RuntimeApi>, body: Bytes) -> impl IntoResponse {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    drop(api.answers.send(Answer::InitError(body)).await);
    axum::http::StatusCode::ACCEPTED
}
