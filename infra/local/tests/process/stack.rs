//! The program as a test starts it, and what it answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::{PASSWORD, PATIENCE};

/// A folder of a test's own, gone at its end.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
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
pub(crate) struct Stack {
    pub(crate) process: Child,
    pub(crate) banner: String,
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The program, with no settings of the person who runs the tests.
pub(crate) fn program(arguments: &[&str]) -> Command {
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
    pub(crate) fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
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

    pub(crate) fn in_folder(folder: &Path, settings: &[(&str, &str)]) -> Self {
        Self::start(&["--data-dir", folder.to_str().unwrap()], settings)
    }

    /// What the banner says in a line.
    pub(crate) fn says(&self, name: &str) -> Option<&str> {
        let lines = self.banner.lines();
        let mut lines = lines.filter_map(|line| line.trim().strip_prefix(name));
        lines
            .next()?
            .split([' ', ','])
            .find(|word| !word.is_empty())
    }

    pub(crate) fn address(&self) -> &str {
        let api = self.says("API").unwrap().strip_prefix("http://").unwrap();
        api.split('/').next().unwrap()
    }

    /// What it answers to these bytes.
    pub(crate) fn send(&self, bytes: &str) -> Reply {
        send(self.address(), bytes)
    }

    pub(crate) fn call(&self, method: &str, path: &str, bearer: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let length = body.len();
        self.send(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {bearer}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        ))
    }

    pub(crate) fn register(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": PASSWORD});
        let reply = self.call("POST", "/v1/auth/register", "", &body);
        assert_eq!(reply.status, 201, "{}", reply.text);
        reply.json()
    }

    /// Ends it, and returns what it has logged.
    pub(crate) fn kill(mut self) -> String {
        self.process.kill().unwrap();
        self.log()
    }

    pub(crate) fn log(&mut self) -> String {
        let mut log = String::new();
        let mut stderr = self.process.stderr.take().unwrap();
        stderr.read_to_string(&mut log).unwrap();
        log
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        let (_, body) = self.text.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    pub(crate) fn has_header(&self, line: &str) -> bool {
        self.text
            .lines()
            .any(|found| found.eq_ignore_ascii_case(line))
    }

    /// A problem that closes the connection.
    pub(crate) fn assert_is_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert!(self.has_header("content-type: application/problem+json"));
        assert!(self.has_header("connection: close"), "{}", self.text);
        let body = self.json();
        assert_eq!(body["code"], code);
        assert!(body["request_id"].is_string());
    }
}

pub(crate) fn send(address: &str, bytes: &str) -> Reply {
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
