//! The commands, on a data folder or a table, while the service runs and while it does not.

use std::io::{Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::PASSWORD;
use crate::stack::{Scratch, Stack, program, send};

/// What a command of an operator ends with: its exit code, and what it says.
pub(crate) fn administer(
    settings: &[(&str, &str)],
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let mut command = program(&[&["admin"], arguments].concat());
    let output = command.envs(settings.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

pub(crate) fn administer_folder(
    folder: &Path,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let folder = folder.to_str().unwrap();
    administer(&[], &[arguments, &["--data-dir", folder]].concat())
}

#[test]
fn commands_work_on_a_data_folder_whether_or_not_the_service_runs() {
    let folder = Scratch::new();
    let (code, _, error) = administer_folder(&folder.0, &["find"]);
    assert_eq!(code, Some(1));
    let nowhere = format!("there is no data in {}", folder.0.display());
    for told in [&nowhere, "--dynamodb-url URL", "--dynamodb-port 8000"] {
        assert!(error.contains(told), "{error}");
    }
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
    // What was done is told apart from what is printed, for whoever keeps a record.
    let deed = error
        .lines()
        .find(|line| line.contains("action=\"change_roles\""));
    let deed = deed.unwrap_or_else(|| panic!("{error}"));
    for part in [
        "actor=operator",
        "outcome=\"done\"",
        "roles_before=\"\"",
        "roles_after=\"admin\"",
    ] {
        assert!(deed.contains(part), "no {part} in {deed}");
    }
    // The running service knows at once.
    let me = running.call("GET", "/v1/me", access, &json!({}));
    assert_eq!(me.json()["roles"], json!(["admin"]), "{}", me.text);
    let (code, ..) = administer_folder(&folder.0, &["revoke-all", "ada@example.com"]);
    assert_eq!(code, Some(0));
    let refused = running.call("GET", "/v1/me", access, &json!({}));
    assert_eq!(refused.status, 401, "{}", refused.text);
    let add = ["client", "add", "orders-api", "--scope", "introspect"];
    let (code, _, error) = administer_folder(&folder.0, &add);
    for part in ["client added", "actor=operator", "scopes=\"introspect\""] {
        assert!(error.contains(part), "no {part} in {code:?} {error}");
    }
    let log = running.kill();
    assert!(!log.contains("ERROR"), "{log}");

    let (code, ..) = administer_folder(&folder.0, &["disable", "ada@example.com"]);
    assert_eq!(code, Some(0));
    let again = Stack::in_folder(&folder.0, &[]);
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let refused = again.call("POST", "/v1/auth/login", "", &body);
    assert_eq!(refused.json()["code"], "account_disabled");
}

/// A command whose output nobody reads, as in a pipe to `head`, does its work and says by its exit code that it did.
#[test]
fn a_command_ends_well_if_nobody_reads_what_it_says() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    running.register("ada@example.com");
    let place = ["--data-dir", folder.0.to_str().unwrap()];
    let commands: [(&[&str], _); 4] = [
        (&["revoke-all", "ada@example.com"], 0),
        (&["sign-everybody-out", "--yes"], 0),
        (&["delete", "ada@example.com", "--yes"], 0),
        (&["find", "ada@example.com"], 3),
    ];
    for (arguments, code) in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = program(&[&["admin"], arguments, &place].concat());
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        assert_eq!(
            command.status().unwrap().code(),
            Some(code),
            "{arguments:?}"
        );
    }
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
    let told = "error: there is no table other in the DynamoDB in eu-central-1: its name is";
    assert!(error.starts_with(told), "{error}");
}

impl Stack {
    /// The status that a sign-in of ada is answered with.
    fn login(&self, password: &str) -> u16 {
        let body = json!({"email": "ada@example.com", "password": password});
        self.call("POST", "/v1/auth/login", "", &body).status
    }

    fn guess_until_stopped(&self) {
        for _ in 0..11 {
            self.login("not the password");
        }
        assert_eq!(self.login(PASSWORD), 429);
    }
}

#[test]
fn the_failed_sign_ins_of_a_user_are_forgotten_by_command() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    running.register("ada@example.com");
    running.guess_until_stopped();
    let unblock = ["unblock", "ADA@example.com"];
    let (code, text, error) = administer_folder(&folder.0, &unblock);
    assert_eq!(code, Some(0), "{error}");
    let said = "the failed sign-ins of ADA@example.com are forgotten\n";
    assert_eq!(text, said);
    assert_eq!(running.login(PASSWORD), 200);
    let json = [&unblock[..], &["--json"]].concat();
    // That sign-in has left a count.
    administer_folder(&folder.0, &unblock);
    let (code, text, _) = administer_folder(&folder.0, &json);
    assert_eq!(code, Some(0));
    let printed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(printed["forgotten"], false);
    let (code, ..) = administer_folder(&folder.0, &["unblock", "eve@example.com"]);
    assert_eq!(code, Some(3));
    running.kill();

    // With secrets of the environment, the command takes the same.
    let of_the_environment = [("TOKEN_SECRET", "0123456789abcdef0123456789abcdef")];
    let running = Stack::in_folder(&folder.0, &of_the_environment);
    running.guess_until_stopped();
    administer_folder(&folder.0, &unblock);
    assert_eq!(running.login(PASSWORD), 429);
    let in_folder = ["--data-dir", folder.0.to_str().unwrap()];
    let arguments = [&unblock[..], &in_folder].concat();
    let (code, _, error) = administer(&of_the_environment, &arguments);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(running.login(PASSWORD), 200);
}

/// A Secrets Manager that answers every request with one secret.
fn secrets_manager(document: &Value) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let reply = json!({"ARN": "arn:x", "Name": "x", "VersionId": "1", "SecretString": document.to_string()});
    let reply = reply.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 16_384];
            let _ = stream.read(&mut request);
            let head =
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/x-amz-json-1.1";
            let length = reply.len();
            let _ = write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{reply}");
        }
    });
    endpoint
}

#[test]
fn on_aws_the_failed_sign_ins_are_found_with_the_secret_of_the_stack() {
    let (secret, device) = (
        "0123456789abcdef0123456789abcdef",
        "fedcba9876543210fedcba9876543210",
    );
    let settings = [("TOKEN_SECRET", secret), ("DEVICE_SECRET", device)];
    let running = Stack::start(&["--memory", "--dynamodb-port", "0"], &settings);
    running.register("ada@example.com");
    running.guess_until_stopped();
    let secrets = secrets_manager(&json!({"current": secret, "device_secret": device}));
    let aws = [
        (
            "AWS_ENDPOINT_URL_DYNAMODB",
            running.says("DynamoDB").unwrap(),
        ),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &secrets),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_REGION", "eu-central-1"),
    ];
    let unblock = ["unblock", "ada@example.com", "--table", "latchkey"];
    let (code, _, error) = administer(&aws, &unblock);
    assert_eq!(code, Some(1));
    assert!(error.contains("name it with --secret"), "{error}");
    assert_eq!(running.login(PASSWORD), 429);
    let arn = ["--secret", "arn:aws:secretsmanager:eu-central-1:1:secret:x"];
    let (code, _, error) = administer(&aws, &[&unblock[..], &arn].concat());
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(running.login(PASSWORD), 200);
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
            "A role is 1 to 32",
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
    let (code, text, _) = administer_folder(&folder.0, &["sign-everybody-out", "--yes"]);
    let done = "1 user is signed out; 1 session has ended\n";
    assert_eq!((code, text.as_str()), (Some(0), done));
    let (_, text, _) = administer_folder(&folder.0, &["sessions", "ada@example.com"]);
    assert_eq!(text, "ada@example.com is not signed in anywhere\n");
}

#[test]
fn of_several_users_each_has_a_result_and_one_that_is_not_found_leaves_the_others_alone() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    let ada = running.register("ada@example.com");
    running.register("bob@example.com");
    let some = [
        "revoke-all",
        "eve@example.com",
        "ada@example.com",
        "ada@example.com",
        "nobody",
        "bob@example.com",
    ];
    let (code, text, error) = administer_folder(&folder.0, &some);
    assert_eq!(code, Some(3), "{error}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0], "there is no such user: eve@example.com");
    let id = ada["user"]["id"].as_str().unwrap();
    assert_eq!(lines[1], format!("user {id}: 1 session has ended"));
    assert!(lines[2].contains("nobody is neither"), "{text}");
    assert!(lines[3].ends_with("1 session has ended"), "{text}");
    // Who could not be signed out is named once.
    let last = error.lines().find(|line| line.starts_with("error: "));
    assert_eq!(last, Some("error: 2 of 4 users were not signed out"));
    assert!(!error.contains("eve@example.com"), "{error}");
    // Who was looked for in vain is told apart from who was found.
    let found = |outcome: &str| {
        let deed = format!("outcome=\"{outcome}\"");
        let deeds = error.lines().filter(|line| line.contains("find_user"));
        deeds.filter(|line| line.contains(&deed)).count()
    };
    assert_eq!((found("user_not_found"), found("done")), (1, 2), "{error}");
    let json = ["revoke-all", "eve@example.com", "bob@example.com", "--json"];
    let (code, text, _) = administer_folder(&folder.0, &json);
    assert_eq!(code, Some(3));
    let results: Value = serde_json::from_str(&text).unwrap();
    let results = results["results"].as_array().unwrap();
    let error = "there is no such user: eve@example.com";
    assert_eq!(results[0], json!({"error": error}));
    assert_eq!(results[1]["outcome"], "revoked");
}

/// The account's item on the data folder, changed by somebody's hand.
pub(crate) fn break_account(running: &Stack, user: &str) {
    let dynamodb = running.says("DynamoDB").unwrap();
    let body = json!({
        "TableName": "latchkey",
        "Key": {"pk": {"S": format!("USER#{user}")}, "sk": {"S": "ACCOUNT"}},
        "UpdateExpression": "SET #change = :change",
        "ExpressionAttributeNames": {"#change": "change"},
        "ExpressionAttributeValues": {":change": {"S": "by hand"}},
    })
    .to_string();
    let scope = "AKIDEXAMPLE/20260301/us-east-1/dynamodb/aws4_request";
    let signature = "0".repeat(64);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Amz-Target: DynamoDB_20120810.UpdateItem\r\n\
         X-Amz-Date: 20260301T120000Z\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={signature}\r\n\r\n{body}",
        body.len(),
    );
    let address = dynamodb.trim_start_matches("http://").trim_end_matches('/');
    let reply = send(address, &request);
    assert_eq!(reply.status, 200, "{}", reply.text);
}

#[test]
fn an_account_that_was_broken_by_hand_is_looked_at_and_then_repaired() {
    let folder = Scratch::new();
    let path = folder.0.to_str().unwrap();
    let running = Stack::start(&["--data-dir", path, "--dynamodb-port", "0"], &[]);
    let ada = running.register("ada@example.com");
    let id = ada["user"]["id"].as_str().unwrap();
    let command = |arguments: &[&str]| {
        let all = [&["repair", "ADA@example.com", "--json"], arguments].concat();
        let (code, text, error) = administer_folder(&folder.0, &all);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{error}"));
        (code, value)
    };
    let state = |state: &str, damage: Value| {
        let [broken, sessions] = ["broken", "sessions"].map(|name| damage[name].clone());
        json!({"user_id": id, "state": state, "broken": broken, "sessions": sessions})
    };
    let damage = json!({"broken": ["change"], "sessions": 1});
    assert_eq!(command(&[]), (Some(0), state("readable", Value::Null)));
    break_account(&running, id);
    let (code, _, _) = administer_folder(&folder.0, &["find", id]);
    assert_eq!(code, Some(1), "it cannot be read");
    for _ in 0..2 {
        let found = command(&[]);
        assert_eq!(found, (Some(0), state("repairable", damage.clone())));
    }
    assert_eq!(command(&["--apply"]), (Some(0), state("repaired", damage)));
    let again = command(&["--apply"]);
    assert_eq!(again, (Some(0), state("readable", Value::Null)));
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let signed_in = running.call("POST", "/v1/auth/login", "", &body);
    assert_eq!(signed_in.status, 200, "{}", signed_in.text);
    let (code, ..) = administer_folder(&folder.0, &["repair", "eve@example.com"]);
    assert_eq!(code, Some(3));
    for half in [&["repair"][..], &["repair", "--issuer", "idp"]] {
        let (code, _, error) = administer_folder(&folder.0, half);
        assert_eq!(code, Some(2), "whose is not said");
        let usage = "latchkey admin repair [OPTIONS] --issuer <ISSUER> --subject <SUBJECT>";
        assert!(error.contains(usage), "{error}");
    }
}

#[test]
fn what_is_missing_on_a_command_line_is_named() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    let add = ["client", "add", "portal", "--scope", "sessions:issue"];
    let (code, text, error) = administer_folder(&folder.0, &add);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert!(error.contains("give each with --issuer"), "{error}");
    let (code, text, _) = administer_folder(&folder.0, &["client", "list"]);
    assert_eq!((code, text.as_str()), (Some(0), "no clients\n"));
    let (code, _, error) = administer(&[], &["find", "--table", ""]);
    assert_eq!(code, Some(2));
    assert!(error.contains("the name of the table is empty"), "{error}");
    drop(running);
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
