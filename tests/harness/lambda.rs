//! The real binary of a function, run as Lambda runs it: it polls Lambda's runtime API, which is here as far as a
//! function uses it, or is AWS's own emulator of it.
//!
//! `LATCHKEY_FUNCTIONS` names the folder of the binaries, as `cargo lambda build` makes it, instead of those that are
//! built for a laptop; `LATCHKEY_EMULATOR` names AWS's runtime interface emulator, which is then the runtime API of
//! [`Function::start`].

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path as FilePath, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use latchkey_domain::client::{Client as RegisteredClient, ClientScope, ClientSecret};
use latchkey_domain::random::SeededRandom;
use latchkey_runtime::settings::environment;
use latchkey_store::Store;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, watch};

use crate::harness::stack::{DEVICE_SECRET, SECRET, TABLE, client_bounds, identity, noon};

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

/// The member of an [`Answer::Error`] that has what the function calls it to Lambda, in a header.
pub const FUNCTION_ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// Whether AWS's emulator is the runtime API.
#[must_use]
pub fn is_emulated() -> bool {
    environment("LATCHKEY_EMULATOR").is_some()
}

/// A function that runs as on Lambda. Its process ends with it.
#[derive(Debug)]
pub struct Function {
    process: Child,
    log: Option<JoinHandle<Vec<String>>>,
    started: Instant,
    runtime: Runtime,
}

/// Who gives a function its events.
#[derive(Debug)]
enum Runtime {
    /// The runtime API below.
    Ours {
        events: mpsc::Sender<Value>,
        answers: mpsc::Receiver<Answer>,
        first_poll: watch::Receiver<Option<Instant>>,
    },
    /// AWS's emulator, at this address. Its process is the function's parent, without which a function ends.
    Emulator(SocketAddr),
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
    first_poll: watch::Sender<Option<Instant>>,
}

/// A sample event of `infra/samples`, with its placeholders filled in from a reply that holds tokens.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn sample_event(name: &str, tokens: &Value) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../infra/samples")
        .join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).expect("an event");
    let mut event: Value = serde_json::from_str(&filled_in(text, tokens)).expect("JSON");
    if event["isBase64Encoded"] == true {
        let body = event["body"].as_str().unwrap_or_default();
        let body = BASE64_STANDARD.decode(body).expect("base64");
        let body = String::from_utf8(body).expect("text");
        event["body"] = BASE64_STANDARD.encode(filled_in(body, tokens)).into();
    }
    event
}

/// The secret of the client in the sample events.
pub const SAMPLE_SECRET: &str = "lks_a-secret-of-the-samples";

/// Makes the client of the sample events, whose secret stands in them.
///
/// # Panics
/// When it cannot be made.
pub async fn add_sample_client(client: Client) {
    let store = Store::new(client, TABLE, Arc::new(SeededRandom::new(1)));
    let may = (ClientScope::ALL.into(), client_bounds(&ClientScope::ALL));
    let secret = ClientSecret::new(SAMPLE_SECRET.to_owned());
    let registered = RegisteredClient::register("orders-api", "Orders", may, &secret, noon());
    let created = store.create_client(&registered.expect("a client")).await;
    assert_eq!(created, Ok(true));
}

fn filled_in(mut text: String, tokens: &Value) -> String {
    for (placeholder, pointer) in [
        ("{access_token}", "/access_token"),
        ("{refresh_token}", "/refresh_token"),
        ("{session_id}", "/session/id"),
        ("{user_id}", "/user/id"),
        ("{reset_token}", "/reset_token"),
        ("{verify_token}", "/verify_token"),
        ("{now}", "/now"),
    ] {
        if let Some(value) = tokens.pointer(pointer).and_then(Value::as_str) {
            text = text.replace(placeholder, value);
        }
    }
    text
}

/// The binary of a function: from the folder that `LATCHKEY_FUNCTIONS` names, else built as it is for a laptop.
///
/// # Panics
/// When they cannot be built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    if let Some(folder) = environment("LATCHKEY_FUNCTIONS") {
        return PathBuf::from(folder).join(name).join("bootstrap");
    }
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // Cargo builds a package's binaries for the tests of that package only, so they are asked for here.
        let built = Command::new(env!("CARGO"))
            // The example makes cargo choose the features of the tests, so that no other crate is built twice.
            .args(["build", "--locked", "--quiet", "--workspace", "--bins"])
            .args(["--example", "dynamodb"])
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
    /// Starts a function with the settings of tests, and `settings`, which take precedence; an empty one is not set.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start(name: &str, dynamodb_endpoint: &str, settings: &[(&str, &str)]) -> Self {
        match environment("LATCHKEY_EMULATOR") {
            Some(emulator) => {
                Self::start_in_emulator(&emulator, name, dynamodb_endpoint, settings).await
            }
            None => Self::start_alone(name, dynamodb_endpoint, settings).await,
        }
    }

    /// As [`start`](Self::start), always on the runtime API that is here.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_alone(
        name: &str,
        dynamodb_endpoint: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_binary(&binary(name), name, dynamodb_endpoint, settings).await
    }

    /// As [`start_alone`](Self::start_alone), with a binary of the caller's.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start_binary(
        binary: &FilePath,
        name: &str,
        dynamodb_endpoint: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (events, next_events) = mpsc::channel(1);
        let (send_answer, answers) = mpsc::channel(1);
        let (send_first_poll, first_poll) = watch::channel(None);
        let api = RuntimeApi {
            events: Arc::new(Mutex::new(next_events)),
            answers: send_answer,
            first_poll: send_first_poll,
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

        let mut command = Command::new(binary);
        set_environment(&mut command, name, dynamodb_endpoint, settings);
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        let started = Instant::now();
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
            log: Some(log),
            started,
            runtime: Runtime::Ours {
                events,
                answers,
                first_poll,
            },
        }
    }

    async fn start_in_emulator(
        emulator: &str,
        name: &str,
        dynamodb_endpoint: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        // It cannot choose its ports, nor listen on a socket that it is given.
        let ports = [
            TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
            TcpListener::bind("127.0.0.1:0").await.expect("a free port"),
        ];
        let [invocations, api] = ports.map(|port| port.local_addr().expect("it is bound"));
        let mut command = Command::new(emulator);
        set_environment(&mut command, name, dynamodb_endpoint, settings);
        let started = Instant::now();
        let process = command
            // Without both it listens to the whole network.
            .args([
                "--runtime-interface-emulator-address",
                &invocations.to_string(),
            ])
            .args(["--runtime-api-address", &api.to_string()])
            .arg(binary(name))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the emulator");
        Self {
            process,
            log: None,
            started,
            runtime: Runtime::Emulator(invocations),
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
        match &self.runtime {
            Runtime::Ours { events, .. } => {
                events.send(event.clone()).await.expect("the runtime API");
                self.answer().await
            }
            Runtime::Emulator(address) => invoke_in_emulator(*address, event).await,
        }
    }

    /// Waits for what the function says next.
    ///
    /// # Panics
    /// When it says nothing, or AWS's emulator is its runtime API, which does not pass on what is not asked for.
    pub async fn answer(&mut self) -> Answer {
        let Runtime::Ours { answers, .. } = &mut self.runtime else {
            panic!("the emulator tells only answers to events");
        };
        let answer = tokio::time::timeout(Duration::from_secs(60), answers.recv()).await;
        answer
            .expect("the function answers")
            .expect("the runtime API")
    }

    /// Waits for the function to ask for its first event: how long after its start that was.
    ///
    /// # Panics
    /// When it does not, or AWS's emulator is its runtime API.
    pub async fn first_poll(&mut self) -> Duration {
        let Runtime::Ours { first_poll, .. } = &mut self.runtime else {
            panic!("the emulator does not tell");
        };
        let polled = first_poll.wait_for(Option::is_some);
        let polled = tokio::time::timeout(Duration::from_secs(60), polled).await;
        let polled = polled
            .expect("the function polls")
            .expect("the runtime API");
        polled.expect("it is some").duration_since(self.started)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the process has ended: its exit code, and what it printed as its error.
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

fn set_environment(
    command: &mut Command,
    name: &str,
    dynamodb_endpoint: &str,
    settings: &[(&str, &str)],
) {
    let identity = identity();
    command
        .env_clear()
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
        .env("TOKEN_SECRET", String::from_utf8_lossy(SECRET).as_ref())
        .env(
            "DEVICE_SECRET",
            String::from_utf8_lossy(DEVICE_SECRET).as_ref(),
        );
    for (name, value) in settings {
        if value.is_empty() {
            command.env_remove(name);
        } else {
            command.env(name, value);
        }
    }
}

async fn invoke_in_emulator(address: SocketAddr, event: &Value) -> Answer {
    let connect = async {
        loop {
            match TcpStream::connect(address).await {
                Ok(connection) => return connection,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let connection = tokio::time::timeout(Duration::from_secs(30), connect).await;
    let connection = TokioIo::new(connection.expect("the emulator listens"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(connection)
        .await
        .expect("HTTP");
    tokio::spawn(connection);
    let request = http::Request::post("/2015-03-31/functions/function/invocations")
        .header(http::header::HOST, address.to_string())
        .body(Full::new(Bytes::from(event.to_string())))
        .expect("a request");
    let response = tokio::time::timeout(Duration::from_secs(60), sender.send_request(request));
    let response = response
        .await
        .expect("the function answers")
        .expect("the emulator");
    let body = response.into_body().collect().await.expect("its body");
    let body: Value = serde_json::from_slice(&body.to_bytes()).expect("JSON");
    if body.get("errorType").is_some() {
        Answer::Error(body)
    } else {
        Answer::Response(body)
    }
}

async fn next(State(api): State<RuntimeApi>) -> impl IntoResponse {
    api.first_poll.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert_with(Instant::now);
        is_first
    });
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

async fn error(
    State(api): State<RuntimeApi>,
    _: Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let kind = headers.get("lambda-runtime-function-error-type");
    body[FUNCTION_ERROR_TYPE] = kind.and_then(|kind| kind.to_str().ok()).into();
    drop(api.answers.send(Answer::Error(body)).await);
    axum::http::StatusCode::ACCEPTED
}

async fn init_error(State(api): State<RuntimeApi>, body: Bytes) -> impl IntoResponse {
    let body = serde_json::from_slice(&body).unwrap_or_default();
    drop(api.answers.send(Answer::InitError(body)).await);
    axum::http::StatusCode::ACCEPTED
}
