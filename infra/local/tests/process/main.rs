//! The real program: its listener, its data folder, its end.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod banner;
mod commands;
mod events;
mod find;
mod mail;
mod stack;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::stack::{Scratch, Stack, program, send};

/// No reply takes longer, not even of a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery staple";

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
fn a_location_database_shows_places_and_one_that_is_none_stops_the_start() {
    let file = |name: &str| {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = folder.join("../../tests/data/places").join(name);
        path.to_str().unwrap().to_owned()
    };
    let secret = "the-edge-shows-this-value-0123456789";
    let cities = file("GeoIP2-City-Test.mmdb");
    let by_option = ["--memory", "--location-database", &cities];
    let by_setting = [("EDGE_SECRET", secret), ("LOCATION_DATABASE", &cities)];
    for (arguments, settings) in [
        (&by_option[..], &by_setting[..1]),
        (&by_option[..1], &by_setting[..]),
    ] {
        let stack = Stack::start(arguments, settings);
        let body = json!({"email": "ada@example.com", "password": PASSWORD}).to_string();
        let length = body.len();
        // Behind an edge the address is what that says; this machine's own is in no place.
        let reply = stack.send(&format!(
            "POST /v1/auth/register HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Latchkey-Edge: {secret}\r\n\
             CloudFront-Viewer-Address: 81.2.69.160:443\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
        assert_eq!(reply.status, 201, "{}", reply.text);
        let session = &reply.json()["session"];
        assert_eq!(session["location_city"], "London");
        assert_eq!(session["location_country"], "GB");
    }
    for (name, told) in [
        ("missing.mmdb", "cannot be read"),
        ("README.md", "is broken or not in MaxMind's format"),
        ("GeoLite2-ASN-Test.mmdb", "knows no places"),
    ] {
        let (code, said) = refusal(
            &[
                "--port",
                "0",
                "--memory",
                "--location-database",
                &file(name),
            ],
            &[],
        );
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(told) && said.contains(name), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
}

#[test]
fn no_password_is_made_of_the_words_of_the_settings_or_of_the_issuers_host() {
    let words = [
        ("PASSWORD_CONTEXT_WORDS", "orchard"),
        ("ISSUER", "https://meadow.example.com"),
    ];
    let told = Stack::start(&["--memory"], &words);
    let untold = Stack::start(&["--memory"], &[]);
    for (name, password) in [("ada", "Orchard-2026"), ("bob", "Meadow!-2026")] {
        let body = json!({"email": format!("{name}@example.org"), "password": password});
        let register = |stack: &Stack| stack.call("POST", "/v1/auth/register", "", &body);
        let refused = register(&told);
        assert_eq!(refused.status, 422, "{password}: {}", refused.text);
        assert_eq!(refused.json()["code"], "weak_password");
        assert_eq!(register(&untold).status, 201, "{password}");
    }
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
fn the_bare_address_leads_to_the_page_of_the_account_or_to_the_documentation() {
    let leads = |stack: &Stack, path: &str, location: &str| {
        let reply = stack.get(path);
        assert_eq!(reply.status, 303, "{}", reply.text);
        assert!(reply.has_header(location), "{}", reply.text);
    };
    let stack = Stack::start(&["--memory"], &[]);
    leads(&stack, "/", "location: /account");
    leads(&stack, "/docs/", "location: ../docs");
    assert_eq!(stack.get("/account").status, 200);
    assert_eq!(stack.get("/docs").status, 200);

    let without = Stack::start(&["--memory"], &[("ACCOUNT_PAGES", "false")]);
    leads(&without, "/", "location: /docs");
    let admin = without.says("Pages").unwrap();
    assert!(
        admin.ends_with("/admin") && !admin.contains("/account"),
        "{admin}"
    );
    assert_eq!(without.get("/account").status, 404);
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
        let leads = reply.has_header("location: /auth/account");
        assert!(leads, "{}", reply.text);
    }
    assert_eq!(stack.get("/auth/account").status, 200);
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

/// The stream is read all the time, and much of it at once after a burst.
#[cfg(unix)]
#[test]
fn a_signal_amid_work_logs_no_error() {
    let folder = Scratch::new();
    for round in 0..3 {
        let mut stack = Stack::in_folder(&folder.0, &[("ADDRESS_ATTEMPTS_PER_MINUTE", "0")]);
        std::thread::scope(|scope| {
            for number in 0..12 {
                let email = format!("user{round}.{number}@example.com");
                let stack = &stack;
                scope.spawn(move || stack.register(&email));
            }
        });
        let process = stack.process.id().to_string();
        let sent = Command::new("kill").args(["-INT", &process]).status();
        assert!(sent.unwrap().success());
        assert_eq!(stack.process.wait().unwrap().code(), Some(0));
        let log = stack.log();
        assert!(log.contains("stopping"), "{log}");
        for wrong in ["ERROR", "WARN", "cancelled"] {
            assert!(!log.contains(wrong), "{log}");
        }
    }
}
