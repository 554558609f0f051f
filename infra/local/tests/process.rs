//! The real program: its listener, its data folder, its end.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// No reply takes longer, not even of a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery staple";

/// A folder of a test's own, gone at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("latchkey-process-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running local stack, killed when this is dropped.
struct Stack {
    process: Child,
    banner: String,
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, with no settings of the person who runs the tests.
fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_latchkey"));
    program
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    program
}

impl Stack {
    fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let arguments = [&["--port", "0"], arguments].concat();
        let mut program = program(&arguments);
        let mut process = program.envs(settings.iter().copied()).spawn().unwrap();
        let mut banner = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        while !banner.contains("Ctrl-C") {
            let read = lines.read_line(&mut banner).unwrap();
            assert_ne!(read, 0, "it has ended: {banner}");
        }
        Self { process, banner }
    }

    fn in_folder(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start(&["--data-dir", folder.to_str().unwrap()], settings)
    }

    /// What the banner says in a line.
    fn says(&self, name: &str) -> Option<&str> {
        let lines = self.banner.lines();
        let mut lines = lines.filter_map(|line| line.trim().strip_prefix(name));
        lines
            .next()?
            .split([' ', ','])
            .find(|word| !word.is_empty())
    }

    fn address(&self) -> &str {
        let api = self.says("API").unwrap().strip_prefix("http://").unwrap();
        api.split('/').next().unwrap()
    }

    /// What it answers to these bytes.
    fn send(&self, bytes: &str) -> Reply {
        send(self.address(), bytes)
    }

    fn call(&self, method: &str, path: &str, bearer: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let length = body.len();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    }

    fn register(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": PASSWORD});
        let reply = self.call("POST", "/v1/auth/register", "", &body);
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()
    }

    /// Ends it, and returns what it has logged.
    fn kill(mut self) -> String {
        self.process.kill().unwrap();
        self.log()
    }

    fn log(&mut self) -> String {
        let mut log = String::new();
        let mut stderr = self.process.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        log
    }
}

struct Reply {
    status: u16,
    text: String,
}

impl Reply {
    fn json(&self) -> Value {
        let (_, body) = self.text.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn has_header(&self, line: &str) -> bool {
        self.text
            .lines()
            .any(|found| found.eq_ignore_ascii_case(line))
    }

    /// A problem that closes the connection.
    fn assert_is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.has_header("content-type: application/problem+json"));
        assert!(self.has_header("connection: close"), "{}", self.text);
        let body = self.json();
        assert_eq!(body["code"], code);
        assert!(body["request_id"].is_string());
    }
}

fn send(address: &str, bytes: &str) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Reply {
        status: status.unwrap_or_else(|| panic!("a reply, not {text:?}")),
        text,
    }
}

#[test]
fn what_was_answered_survives_a_kill_and_a_start_on_another_port() {
    let folder = Scratch::new();
    let first = Stack::in_folder(&folder.0, &[]);
    let (address, issuer) = (
        first.address().to_owned(),
        first.says("API").unwrap().to_owned(),
    );
    assert_eq!(first.says("Issuer"), None);
    let tokens = first.register("ada@example.com");
    first.kill();

    let second = Stack::in_folder(&folder.0, &[]);
    assert_ne!(second.address(), address);
    assert_eq!(second.says("Issuer"), Some(issuer.as_str()));
    let access = tokens["access_token"].as_str().unwrap();
    let list = second.call("GET", "/v1/sessions", access, &json!({}));
    assert_eq!(list.status, 200, "{}", list.text);
    assert_eq!(list.json()["sessions"][0]["id"], tokens["session"]["id"]);
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let refreshed = second.call("POST", "/v1/auth/refresh", "", &refresh);
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
}

#[test]
fn an_rsa_key_is_made_once_and_signs_from_the_first_start_with_it() {
    let folder = Scratch::new();
    let keys = |stack: &Stack| stack.get("/.well-known/jwks.json").json()["keys"].clone();
    let first = Stack::in_folder(&folder.0, &[]);
    let tokens = first.register("ada@example.com");
    let issuer = first.says("API").unwrap().to_owned();
    assert_eq!(keys(&first)[0]["alg"], "EdDSA");
    first.kill();

    let rs256 = ("TOKEN_ALGORITHM", "RS256");
    let second = Stack::in_folder(&folder.0, &[rs256]);
    let published = keys(&second);
    assert_eq!(published.as_array().unwrap().len(), 1);
    assert_eq!(
        (&published[0]["alg"], &published[0]["kty"]),
        (&json!("RS256"), &json!("RSA"))
    );
    // The refresh token is none of its business.
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let refreshed = second.call("POST", "/v1/auth/refresh", "", &refresh);
    assert_eq!(refreshed.status, 200, "{}", refreshed.text);
    let tokens = refreshed.json();
    second.kill();

    let third = Stack::in_folder(&folder.0, &[rs256]);
    assert_eq!(keys(&third), published);
    let access = tokens["access_token"].as_str().unwrap();
    let list = third.call("GET", "/v1/sessions", access, &json!({}));
    assert_eq!(list.status, 200, "{}", list.text);
    let configuration = third.get("/.well-known/openid-configuration").json();
    assert_eq!(configuration["issuer"], issuer);
}

#[test]
fn another_issuer_than_the_folders_is_told() {
    let folder = Scratch::new();
    let first = Stack::in_folder(&folder.0, &[]);
    assert!(!first.kill().contains("WARN"));
    let issuer = ("ISSUER", "https://id.example.com");
    let second = Stack::in_folder(&folder.0, &[issuer]);
    assert_eq!(second.says("Issuer"), Some("https://id.example.com"));
    let log = second.kill();
    assert!(log.contains("WARN") && log.contains("tokens"), "{log}");

    let fresh = Scratch::new();
    let third = Stack::in_folder(&fresh.0, &[issuer]);
    assert!(!third.kill().contains("WARN"));
}

#[test]
fn the_banner_says_why_the_tokens_name_another_issuer() {
    let folder = Scratch::new();
    Stack::in_folder(&folder.0, &[]).kill();
    let kept = Stack::in_folder(&folder.0, &[]);
    let line = "iss of the tokens: the address of the data folder's first start";
    assert!(kept.banner.contains(line), "{}", kept.banner);
    let set = Stack::start(&["--memory"], &[("ISSUER", "https://id.example.com")]);
    assert!(
        set.banner.contains("iss of the tokens: the setting ISSUER"),
        "{}",
        set.banner
    );
}

#[test]
fn a_secret_that_is_lost_from_a_used_folder_is_told() {
    let folder = Scratch::new();
    let first = Stack::in_folder(&folder.0, &[]);
    let tokens = first.register("ada@example.com");
    first.kill();
    std::fs::remove_file(folder.0.join("token-secret")).unwrap();
    let second = Stack::in_folder(&folder.0, &[]);
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let refused = second.call("POST", "/v1/auth/refresh", "", &refresh);
    assert_eq!(refused.status, 401, "{}", refused.text);
    let log = second.kill();
    assert!(log.contains("WARN") && log.contains("every token"), "{log}");
    assert!(log.contains("token-secret"), "{log}");

    let third = Stack::in_folder(&folder.0, &[]);
    assert!(!third.kill().contains("WARN"));
}

/// Its exit code, and what it says on standard error.
fn refusal(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut program = program(arguments);
    let mut process = program.envs(settings.iter().copied()).spawn().unwrap();
    // One that starts all the same prints its banner, and would run for good.
    let printed = process.stdout.take().unwrap().read(&mut [0]).unwrap();
    if printed > 0 {
        process.kill().unwrap();
    }
    let ended = process.wait_with_output().unwrap();
    assert_eq!(printed, 0, "it has started");
    (
        ended.status.code(),
        String::from_utf8(ended.stderr).unwrap(),
    )
}

#[test]
fn a_start_that_is_refused_says_what_to_mend() {
    let memory = &["--port", "0", "--memory"][..];
    let secret = "an edge secret of tests, 32 characters";
    for (settings, told) in [
        (
            ("TABLE_NAME", "a b"),
            "TABLE_NAME is not a name of 3 to 255 letters",
        ),
        (("AUDIENCE", "a b"), "AUDIENCE is not one word"),
        (("CLIENT_ID", "a b"), "CLIENT_ID is not one word"),
        (
            ("FRONT_SECRET", secret),
            "FRONT_SECRET is now called EDGE_SECRET",
        ),
    ] {
        let (code, said) = refusal(memory, &[settings]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(told), "{said}");
    }
    for option in ["--port", "--dynamodb-port"] {
        for wrong in ["abc", "65536"] {
            let (code, said) = refusal(&[option, wrong], &[]);
            assert_eq!(code, Some(2), "{said}");
            assert!(
                said.contains("a port is a whole number from 0 to 65535"),
                "{said}"
            );
        }
    }
}

#[test]
fn a_damaged_database_is_named_with_what_to_do() {
    let folder = Scratch::new();
    Stack::in_folder(&folder.0, &[]).kill();
    let database = folder.0.join("latchkey.db");
    // The log holds the whole content of so small a database, and would mend it.
    std::fs::remove_file(folder.0.join("latchkey.db-wal")).unwrap();
    std::fs::write(&database, "not a database, and long enough to be looked at").unwrap();
    let arguments = ["--port", "0", "--data-dir", folder.0.to_str().unwrap()];
    let (code, said) = refusal(&arguments, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("latchkey.db is damaged; put back a copy"),
        "{said}"
    );
    assert!(said.contains("--data-dir"), "{said}");
}

#[test]
fn the_openapi_document_is_printed_without_a_server() {
    let folder = Scratch::new();
    std::fs::create_dir(&folder.0).unwrap();
    let ended = program(&["openapi"])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.stderr.is_empty());
    let document: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/v1/auth/login"]["post"].is_object());
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 0);
    let stack = Stack::start(&["--memory"], &[]);
    assert_eq!(stack.get("/openapi.json").json(), document);
}

#[test]
fn no_page_of_another_origin_starts_a_cleanup() {
    let stack = Stack::start(&["--memory"], &[]);
    let address = stack.address().to_owned();
    let cleanup = |headers: &str| {
        stack.send(&format!(
            "POST /local/cleanup HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}\r\n"
        ))
    };
    for headers in [
        "Origin: https://evil.example\r\n",
        "Origin: http://localhost:5173\r\nSec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
    ] {
        let refused = cleanup(headers);
        assert_eq!(refused.status, 403, "{}", refused.text);
        assert_eq!(refused.json()["code"], "origin_not_allowed");
    }
    let own = format!("Origin: http://{address}\r\nSec-Fetch-Site: same-origin\r\n");
    for headers in ["", own.as_str()] {
        assert_eq!(cleanup(headers).status, 200);
    }
    assert_eq!(stack.kill().matches("cleaned up").count(), 2);
}

#[test]
fn a_reason_is_quoted_in_the_log() {
    let stack = Stack::start(&["--memory"], &[]);
    stack.call("GET", "/v1/me", "nonsense", &json!({}));
    let log = stack.kill();
    let (_, reason) = log.split_once(" reason=").unwrap();
    assert!(reason.starts_with('"'), "{log}");
}

#[test]
fn only_the_names_of_this_machine_are_answered() {
    let stack = Stack::start(&["--memory"], &[]);
    let get = |hosts: &str| {
        stack.send(&format!(
            "GET /.well-known/jwks.json HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n"
        ))
    };
    assert_eq!(get("Host: 127.0.0.1:3000\r\n").status, 200);
    assert_eq!(get("Host: localhost\r\n").status, 200);
    assert_eq!(get("Host: [::1]:3000\r\n").status, 200);
    get("Host: evil.example\r\n").assert_is_problem(421, "host_not_allowed");
    get("").assert_is_problem(400, "invalid_request");
    get("Host: localhost\r\nHost: localhost\r\n").assert_is_problem(400, "invalid_request");
    let cleanup =
        "POST /local/cleanup HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n";
    stack
        .send(cleanup)
        .assert_is_problem(421, "host_not_allowed");
}

#[test]
fn the_authorizer_of_other_apis_answers_their_events() {
    for mode in ["strict", "offline"] {
        let stack = Stack::start(&["--memory"], &[("AUTHORIZER_MODE", mode)]);
        let tokens = stack.register("ada@example.com");
        let access = tokens["access_token"].as_str().unwrap();
        let value = format!("Bearer {access}");
        let event = json!({"version": "2.0", "headers": {"authorization": value}});
        let ask = || stack.call("POST", "/local/authorize", "", &event);
        let allowed = ask();
        assert_eq!(allowed.status, 200, "{}", allowed.text);
        let allowed = allowed.json();
        assert_eq!(allowed["isAuthorized"], true);
        assert_eq!(allowed["context"]["user_id"], tokens["user"]["id"]);
        let body = json!({"refresh_token": tokens["refresh_token"]});
        let logout = stack.call("POST", "/v1/auth/logout", "", &body);
        assert_eq!(logout.status, 204, "{}", logout.text);
        assert_eq!(ask().json()["isAuthorized"], mode == "offline");
    }
}

#[test]
fn what_is_too_large_is_refused_unread() {
    let stack = Stack::start(&["--memory"], &[]);
    let began = Instant::now();
    let head =
        "POST /v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let announced = stack.send(&format!("{head}Content-Length: 64000000\r\n\r\n"));
    announced.assert_is_problem(413, "payload_too_large");
    let chunk = "a".repeat(17 * 1024);
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{chunk}\r\n",
        chunk.len()
    );
    stack
        .send(&chunked)
        .assert_is_problem(413, "payload_too_large");
    let long = "a".repeat(11_000);
    let target = format!("GET /{long} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stack.send(&target).assert_is_problem(414, "uri_too_long");
    let headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n");
    stack
        .send(&headers)
        .assert_is_problem(431, "headers_too_large");
    let many = "X-Long: aaaaaaaaaaaaaaaaaaaaa\r\n".repeat(400);
    let headers = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
    stack
        .send(&headers)
        .assert_is_problem(431, "headers_too_large");
    assert!(began.elapsed() < PATIENCE);
    let log = stack.kill();
    assert!(!log.contains("ERROR"), "{log}");
}

#[test]
fn the_bare_address_leads_to_the_documentation() {
    let stack = Stack::start(&["--memory"], &[]);
    for (path, location) in [("/", "location: /docs"), ("/docs/", "location: ../docs")] {
        let reply = stack.get(path);
        assert_eq!(reply.status, 303, "{}", reply.text);
        assert!(reply.has_header(location), "{}", reply.text);
    }
    assert_eq!(stack.get("/docs").status, 200);
}

#[test]
fn under_the_path_of_the_issuer_the_start_names_addresses_that_answer() {
    let issuer = ("ISSUER", "https://id.example.com/auth");
    let stack = Stack::start(&["--memory"], &[issuer]);
    let api = stack.says("API").unwrap();
    assert!(api.ends_with("/auth"), "{api}");
    let docs = stack.says("Docs").unwrap();
    assert_eq!(docs, format!("{api}/docs"));
    assert_eq!(stack.get("/auth/docs").status, 200);
    for path in ["/auth", "/auth/"] {
        let reply = stack.get(path);
        assert_eq!(reply.status, 303, "{}", reply.text);
        assert!(reply.has_header("location: /auth/docs"), "{}", reply.text);
    }
    assert_eq!(stack.get("/docs").status, 404);
}

#[test]
fn the_table_can_be_read_by_other_tools_only_on_request() {
    let closed = Stack::start(&["--memory"], &[]);
    assert_eq!(closed.says("DynamoDB"), None);

    let open = Stack::start(&["--memory", "--dynamodb-port", "0"], &[]);
    let address = open.says("DynamoDB").unwrap();
    let address = address.strip_prefix("http://").unwrap();
    let call = |host: &str, operation: &str| {
        let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        let target =
            format!("X-Amz-Target: DynamoDB_20120810.{operation}\r\nContent-Length: 2\r\n");
        send(address, &format!("{head}{target}\r\n{{}}"))
    };
    let tables = call(address, "ListTables");
    assert_eq!(tables.status, 200);
    assert_eq!(tables.json(), json!({"TableNames": ["latchkey"]}));
    assert_eq!(call("evil.example", "ListTables").status, 421);
    let unknown = call(address, "Nonsense");
    assert_eq!(unknown.status, 400);
    assert!(unknown.text.contains("UnknownOperationException"));
}

#[test]
fn debug_tells_of_missing_routes_and_of_dynamodb_and_of_nothing_secret() {
    let stack = Stack::start(&["--memory"], &[("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]);
    let tokens = stack.register("ada@example.com");
    assert_eq!(stack.get("/v1/nothing?token=hidden").status, 404);
    let preflight = "OPTIONS /v1/me HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                     Origin: http://localhost:5173\r\nAccess-Control-Request-Method: GET\r\n\r\n";
    for _ in 0..2 {
        let refused = stack.send(preflight);
        assert_eq!(refused.status, 405);
        assert!(
            refused.json()["detail"]
                .as_str()
                .unwrap()
                .contains("ALLOWED_ORIGINS")
        );
    }
    let log = stack.kill();
    assert!(log.contains("path=\"/v1/nothing\""), "{log}");
    assert!(
        log.contains("operation=\"TransactWriteItems\" status=200"),
        "{log}"
    );
    assert_eq!(log.matches("ALLOWED_ORIGINS").count(), 1, "{log}");
    for secret in [
        "hidden",
        "ada@example.com",
        PASSWORD,
        tokens["access_token"].as_str().unwrap(),
        tokens["refresh_token"].as_str().unwrap(),
    ] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}

#[test]
fn a_folder_has_one_process_at_a_time() {
    let folder = Scratch::new();
    let _first = Stack::in_folder(&folder.0, &[]);
    let arguments = ["--port", "0", "--data-dir", folder.0.to_str().unwrap()];
    let second = program(&arguments).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use by another"), "{said}");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_in_order() {
    use std::os::unix::process::ExitStatusExt;

    let folder = Scratch::new();
    for signal in ["-TERM", "-INT"] {
        let mut stack = Stack::in_folder(&folder.0, &[]);
        // A connection that is kept open does not hold it up.
        let mut idle = TcpStream::connect(stack.address()).unwrap();
        let head = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
        idle.write_all(head.as_bytes()).unwrap();
        assert_ne!(idle.read(&mut [0; 100]).unwrap(), 0);
        let process = stack.process.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status();
        assert!(sent.unwrap().success());
        let status = stack.process.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
        let log = stack.log();
        assert!(log.contains("stopping") && !log.contains("WARN"), "{log}");
    }
}

/// What a command of an operator ends with: its exit code, and what it says.
fn administer(settings: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = program(&[&["admin"], arguments].concat());
    let output = command.envs(settings.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn administer_folder(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = folder.to_str().unwrap();
    administer(&[], &[arguments, &["--data-dir", folder]].concat())
}

#[test]
fn commands_work_on_a_data_folder_whether_or_not_the_service_runs() {
    let folder = Scratch::new();
    let (code, _, error) = administer_folder(&folder.0, &["find"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("holds no data"), "{error}");
    assert!(!folder.0.exists(), "a command makes nothing");

    let running = Stack::in_folder(&folder.0, &[]);
    let (code, text, _) = administer_folder(&folder.0, &["find"]);
    assert_eq!((code, text.as_str()), (Some(0), "no users yet\n"));
    let ada = running.register("ada@example.com");
    let access = ada["access_token"].as_str().unwrap();
    let (code, text, error) = administer_folder(&folder.0, &["grant", "ADA@example.com", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let granted: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(granted["roles"], json!(["admin"]));
    // The running service knows at once.
    let me = running.call("GET", "/v1/me", access, &json!({}));
    assert_eq!(me.json()["roles"], json!(["admin"]), "{}", me.text);
    let (code, ..) = administer_folder(&folder.0, &["revoke-all", "ada@example.com"]);
    assert_eq!(code, Some(0));
    let refused = running.call("GET", "/v1/me", access, &json!({}));
    assert_eq!(refused.status, 401, "{}", refused.text);
    let log = running.kill();
    assert!(!log.contains("ERROR"), "{log}");

    let (code, ..) = administer_folder(&folder.0, &["disable", "ada@example.com"]);
    assert_eq!(code, Some(0));
    let again = Stack::in_folder(&folder.0, &[]);
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let refused = again.call("POST", "/v1/auth/login", "", &body);
    assert_eq!(refused.json()["code"], "account_disabled");
}

/// Two processes write one file. Each condition is checked inside the write, so nothing is lost and nothing fails.
#[test]
fn commands_and_the_service_write_at_once_and_lose_nothing() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    running.register("ada@example.com");
    let roles: Vec<String> = (0..8).map(|number| format!("role{number}")).collect();
    let signed_in = std::thread::scope(|scope| {
        for role in &roles {
            scope.spawn(|| {
                let grant = ["grant", "ada@example.com", "--role", role];
                let (code, _, error) = administer_folder(&folder.0, &grant);
                assert_eq!(code, Some(0), "{error}");
            });
        }
        let body = json!({"email": "ada@example.com", "password": PASSWORD});
        let sign_ins = (0..8).map(|_| running.call("POST", "/v1/auth/login", "", &body));
        sign_ins.filter(|reply| reply.status == 200).count()
    });
    assert_eq!(signed_in, 8);
    let find = ["find", "ada@example.com", "--json"];
    let (_, text, _) = administer_folder(&folder.0, &find);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["roles"], json!(roles));
    assert_eq!(found["sessions"], 9);
}

/// The same way as to AWS: the SDK's own endpoint, region and credentials, a table by its name.
#[test]
fn commands_reach_a_table_by_name_with_the_credentials_of_the_environment() {
    let running = Stack::start(&["--memory", "--dynamodb-port", "0"], &[]);
    running.register("ada@example.com");
    let endpoint = running.says("DynamoDB").unwrap();
    let aws = [
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ];
    let find = ["find", "ada@example.com", "--table", "latchkey"];
    let (code, _, error) = administer(&aws, &find);
    assert_eq!(code, Some(1));
    assert!(error.contains("no AWS region"), "{error}");
    let in_region = [&find[..], &["--region", "eu-central-1"]].concat();
    let (code, text, error) = administer(&aws, &in_region);
    assert_eq!(code, Some(0), "{error}");
    assert!(text.contains("ada@example.com"), "{text}");
    let other = ["find", "--table", "other", "--region", "eu-central-1"];
    let (code, _, error) = administer(&aws, &other);
    assert_eq!(code, Some(1));
    let told = "error: there is no table other in the DynamoDB in eu-central-1\n";
    assert_eq!(error, told);
}

#[test]
fn a_command_says_what_it_could_not_do_and_ends_with_a_code_for_it() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    running.register("ada@example.com");
    let nobody = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11";
    for (arguments, code, said) in [
        (
            &["find", "eve@example.com"][..],
            3,
            "there is no such user: eve@example.com",
        ),
        (&["disable", nobody], 3, "there is no such user"),
        (&["sessions", nobody], 3, "there is no such user"),
        (&["revoke", nobody], 3, "there is no such session"),
        (
            &["find", "--session", nobody],
            3,
            "there is no such session",
        ),
        (
            &["find", "ada"],
            2,
            "ada is neither an e-mail address nor a user id",
        ),
        (
            &["grant", "ada@example.com", "--role", "No Role"],
            2,
            "a role is 1 to 32",
        ),
        (
            &["sign-everybody-out", "--yes", "--from", "x"],
            2,
            "not a cursor",
        ),
        (&["revoke", "x"], 2, "invalid value"),
        (
            &["sign-everybody-out"],
            1,
            "not confirmed, so nothing was done",
        ),
        (
            &["delete", "ada@example.com"],
            1,
            "not confirmed, so nothing was done",
        ),
    ] {
        let (found, text, error) = administer_folder(&folder.0, arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert_eq!(text, "", "{arguments:?}");
    }
    // Of several users all are looked up first.
    let some = ["revoke-all", "ada@example.com", "eve@example.com"];
    let (code, ..) = administer_folder(&folder.0, &some);
    assert_eq!(code, Some(3));
    let (_, text, _) = administer_folder(&folder.0, &["find", "ada@example.com"]);
    assert!(text.contains("sessions    1"), "{text}");
    let (code, text, _) = administer_folder(&folder.0, &["sign-everybody-out", "--yes"]);
    let done = "1 users are signed out; 1 sessions have ended\n";
    assert_eq!((code, text.as_str()), (Some(0), done));
    let (_, text, _) = administer_folder(&folder.0, &["sessions", "ada@example.com"]);
    assert_eq!(text, "ada@example.com is not signed in anywhere\n");
}

/// Runs a command of an operator, and returns its status and what it prints: JSON if it can be read so.
fn administer_clients(arguments: &[&str]) -> (bool, Value) {
    let output = program(arguments).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let value = serde_json::from_str(&printed);
    (
        output.status.success(),
        value.unwrap_or_else(|_| json!(format!("{printed}{log}"))),
    )
}

#[test]
fn a_client_is_made_changed_and_removed_by_command_also_while_the_stack_runs() {
    let stack = Stack::start(&["--memory", "--dynamodb-port", "0"], &[]);
    let dynamodb = stack.says("DynamoDB").unwrap().to_owned();
    let client = |arguments: &[&str]| {
        let storage = ["--dynamodb-url", &dynamodb, "admin", "client", "--json"];
        administer_clients(&[&storage, arguments].concat())
    };
    let (done, added) = client(&["add", "orders-api", "--scope", "introspect"]);
    assert!(done, "{added}");
    assert_eq!(added["scopes"], json!(["introspect"]));
    let introspect = |secret: &str| {
        let pair = format!("orders-api:{secret}");
        let encoded = BASE64_STANDARD.encode(pair);
        stack.send(&format!(
            "POST /oauth/introspect HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {encoded}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\ntoken=x"
        ))
    };
    let first = added["secret"].as_str().unwrap();
    assert_eq!(introspect(first).json(), json!({"active": false}));
    let (_, second) = client(&["add-secret", "orders-api"]);
    let second = second["secret"].as_str().unwrap();
    let id = added["secrets"][0]["id"].as_str().unwrap();
    let (done, left) = client(&["remove-secret", "orders-api", id]);
    assert!(done, "{left}");
    assert_eq!(left["secret"], Value::Null, "a secret is shown once");
    assert_eq!(introspect(first).status, 401);
    assert_eq!(introspect(second).status, 200);
    let (_, list) = client(&["list"]);
    assert_eq!(list["clients"], json!([left]));
    assert!(!list.to_string().contains(second));
    assert!(client(&["remove", "orders-api"]).0);
    assert_eq!(introspect(second).status, 401);
    let (done, refused) = client(&["remove", "orders-api"]);
    assert!(!done);
    let refused = refused.as_str().unwrap();
    assert!(
        refused.contains("there is no client with this id"),
        "{refused}"
    );
}

/// The types of the events that the stack shows, newest first, when it shows so many: within a second of the request,
/// on a machine that is not busy.
fn events(stack: &Stack, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let shown = stack.get("/local/events").json()["events"].clone();
        let shown = shown.as_array().unwrap().clone();
        if shown.len() >= count {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    let types = events.iter().map(|event| event["type"].as_str().unwrap());
    types.collect()
}

#[test]
fn events_are_shown_at_once_and_a_kill_loses_none_and_repeats_none() {
    let folder = Scratch::new();
    let checkpoint = folder.0.join("stream-checkpoint");
    let first = Stack::in_folder(&folder.0, &[]);
    let ada = first.register("ada@example.com");
    let shown = events(&first, 2);
    let mut kinds = types(&shown);
    kinds.sort_unstable();
    assert_eq!(kinds, ["session.created", "user.created"]);
    for event in &shown {
        assert_eq!(event["subject"], ada["user"]["id"]);
        assert_eq!(
            (&event["specversion"], &event["source"]),
            (&json!("1.0"), &json!("latchkey"))
        );
    }
    let begun = Instant::now();
    while std::fs::read_to_string(&checkpoint).is_err() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = first.kill();
    assert!(log.contains("session.created"), "{log}");

    // It continues behind what was published.
    let second = Stack::in_folder(&folder.0, &[]);
    second.register("bob@example.com");
    let shown = events(&second, 2);
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown
            .iter()
            .all(|event| event["subject"] != ada["user"]["id"])
    );
    second.kill();

    // As if it had died before it kept how far it had come.
    std::fs::remove_file(&checkpoint).unwrap();
    let third = Stack::in_folder(&folder.0, &[]);
    let again = events(&third, 4);
    assert_eq!(again.len(), 4, "{again:?}");
    assert!(
        shown.iter().all(|event| again.contains(event)),
        "the same ids"
    );
    third.kill();
}

#[test]
fn no_page_of_another_origin_reads_events() {
    let stack = Stack::start(&["--memory"], &[]);
    let reply = stack.send(
        "GET /local/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nSec-Fetch-Site: cross-site\r\n\r\n",
    );
    reply.assert_is_problem(403, "origin_not_allowed");
    stack.register("ada@example.com");
    assert_eq!(events(&stack, 2).len(), 2, "in memory too");
}
