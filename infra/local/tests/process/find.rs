//! How users are found by command, and what is said where one is not found.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::commands::{administer, administer_folder};
use crate::stack::{Scratch, Stack, program};

/// Somebody signs in elsewhere. Returns the user's id.
fn sign_in_elsewhere(
    running: &Stack,
    folder: &Path,
    identity: &Value,
    email: Option<&str>,
) -> Value {
    let add = [
        "client",
        "add",
        "sso",
        "--scope",
        "sessions:issue",
        "--issuer",
        "idp",
        "--json",
    ];
    let (_, text, error) = administer_folder(folder, &add);
    let added: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{error}"));
    let pair = format!("sso:{}", added["secret"].as_str().unwrap());
    let body = json!({"identity": identity, "email": email, "amr": ["otp"]}).to_string();
    let issued = running.send(&format!(
        "POST /v1/service/sessions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Basic {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        BASE64_STANDARD.encode(pair),
        body.len(),
    ));
    assert_eq!(issued.status, 201, "{}", issued.text);
    issued.json()["user"]["id"].clone()
}

#[test]
fn who_signs_in_elsewhere_is_found_by_issuer_and_subject_together() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    let user = sign_in_elsewhere(
        &running,
        &folder.0,
        &json!({"issuer": "idp", "subject": "7"}),
        None,
    );
    let find = |arguments: &[&str]| administer_folder(&folder.0, &[&["find"], arguments].concat());
    let (code, text, error) = find(&["--issuer", "idp", "--subject", "7", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["id"], user);
    assert_eq!(found["identity"], json!({"issuer": "idp", "subject": "7"}));
    let (code, _, error) = find(&["--issuer", "idp", "--subject", "8"]);
    assert_eq!(code, Some(3));
    assert!(error.contains("there is no such user: 8 of idp"), "{error}");
    for (arguments, says) in [
        (&["--issuer", "idp"][..], "--subject"),
        (&["--subject", "7"], "--issuer"),
        (
            &["ada@example.com", "--issuer", "idp", "--subject", "7"],
            "cannot be used with",
        ),
        (&["--issuer", "", "--subject", "7"], "1 to 255 bytes"),
    ] {
        let (code, _, error) = find(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(error.contains(says), "{arguments:?}: {error}");
    }
}

#[test]
fn the_list_of_users_shows_what_they_sign_in_with_and_whether_the_address_is_verified() {
    let folder = Scratch::new();
    let running = Stack::in_folder(&folder.0, &[]);
    let ada = running.register("ada@example.com");
    let identity = json!({"issuer": "idp", "subject": "7"});
    let bob = sign_in_elsewhere(&running, &folder.0, &identity, Some("bob@example.com"));
    let (code, text, error) = administer_folder(&folder.0, &["find"]);
    assert_eq!(code, Some(0), "{error}");
    let lines: Vec<&str> = text.lines().collect();
    for (line, parts) in lines.iter().zip([
        [
            ada["user"]["id"].as_str().unwrap(),
            "ada@example.com (not verified)",
            "signs in with a password",
        ],
        [
            bob.as_str().unwrap(),
            "bob@example.com (not verified)",
            "signs in elsewhere: issuer idp, subject 7",
        ],
    ]) {
        for part in parts {
            assert!(line.contains(part), "no {part} in {line}");
        }
    }
    let (_, text, _) = administer_folder(&folder.0, &["find", "--json"]);
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(page["users"][0]["identity"], Value::Null);
    assert_eq!(page["users"][1]["identity"], identity);
    for user in page["users"].as_array().unwrap() {
        assert_eq!(user["email_verified"], false);
    }
    // The one of elsewhere is not found by the address, and it is said how.
    let (code, text, error) = administer_folder(&folder.0, &["find", "bob@example.com"]);
    assert_eq!((code, text.as_str()), (Some(3), ""));
    assert!(
        error.contains("find --issuer ISSUER --subject SUBJECT"),
        "{error}"
    );
    let (_, text, _) = administer_folder(&folder.0, &["find", bob.as_str().unwrap()]);
    assert!(
        text.contains("\nsigns in    elsewhere: issuer idp, subject 7\n"),
        "{text}"
    );
    assert!(
        text.contains("\nfound by    find --issuer and --subject, not by the address\n"),
        "{text}"
    );
}

#[test]
fn who_is_not_found_is_told_with_where_it_was_looked_and_where_else_it_may_be() {
    let folder = Scratch::new();
    drop(Stack::in_folder(&folder.0, &[]));
    // As somebody whose service runs in memory, and whose folder is of another day.
    let memory = Stack::start(&["--memory", "--dynamodb-port", "0"], &[]);
    memory.register("ada@example.com");
    let grant = ["grant", "ada@example.com"];
    let (code, text, error) = administer_folder(&folder.0, &grant);
    assert_eq!((code, text.as_str()), (Some(3), ""));
    let place = format!(
        "This command has looked in table latchkey in {}.",
        folder.0.display()
    );
    for told in [
        "error: there is no such user: ada@example.com\n",
        &place,
        "--data-dir FOLDER",
        "--dynamodb-url URL",
        "--memory",
    ] {
        assert!(error.contains(told), "no {told} in {error}");
    }
    let url = memory.says("DynamoDB").unwrap();
    let (code, _, error) = administer(&[], &[&grant[..], &["--dynamodb-url", url]].concat());
    assert_eq!(code, Some(0), "{error}");
    let (code, _, error) = administer(&[], &["grant", "eve@example.com", "--dynamodb-url", url]);
    assert_eq!(code, Some(3));
    assert!(
        error.contains(&format!("table latchkey at {url}.")),
        "{error}"
    );
    // A relative folder is told as it is found from anywhere.
    let mut command = program(&["admin", "find", "--data-dir", "here"]);
    let ended = command.current_dir(&folder.0).output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(
        error.contains(&format!("no data in {}", folder.0.join("here").display())),
        "{error}"
    );
    for memory in [
        &["admin", "grant", "ada@example.com", "--memory"][..],
        &["--memory", "admin", "find"],
    ] {
        let ended = program(memory).output().unwrap();
        assert_eq!(ended.status.code(), Some(2));
        let error = String::from_utf8(ended.stderr).unwrap();
        assert!(
            error.contains("start the service with --dynamodb-port 8000 too"),
            "{error}"
        );
    }
}
