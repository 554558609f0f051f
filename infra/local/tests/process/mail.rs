//! Mail of the local stack: it can be read, its link is in no log, and a kill loses none.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::PATIENCE;
use crate::stack::{Scratch, Stack};

/// The mails that the stack shows, newest first, when it shows so many.
fn mails(stack: &Stack, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let shown = stack.get("/local/mail").json()["mail"].clone();
        let shown = shown.as_array().unwrap().clone();
        if shown.len() >= count {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_mail_can_be_read_and_its_link_is_in_no_log() {
    let folder = Scratch::new();
    let checkpoint = folder.0.join("stream-checkpoint");
    let first = Stack::in_folder(&folder.0, &[]);
    first.register("ada@example.com");
    let [mail] = mails(&first, 1).try_into().unwrap();
    assert_eq!(
        (&mail["to"], &mail["message"]),
        (&"ada@example.com".into(), &"verify_email".into())
    );
    let text = mail["text"].as_str().unwrap();
    let link = text
        .lines()
        .find(|line| line.contains("/account/verify-email#token="))
        .unwrap();
    let token = link.split_once("#token=").unwrap().1;
    let page = first.get(mail["page"].as_str().unwrap());
    assert!(page.text.contains(token) && page.text.contains("<h1>"));
    let unknown = first.get("/local/mail/nothing.html");
    unknown.assert_is_problem(404, "not_found");
    let detail = unknown.json()["detail"].clone();
    assert!(
        detail.as_str().unwrap().contains("/local/mail has"),
        "{detail}"
    );
    assert_eq!(first.get("/local/mail?to=ada").status, 400);
    let list = first.send(
        "GET /local/mail HTTP/1.1\r\nHost: localhost\r\nAccept: text/html,*/*;q=0.8\r\nConnection: close\r\n\r\n",
    );
    let link_to_page = format!("<a href=\"{}\">", mail["page"].as_str().unwrap());
    assert!(list.text.contains(&link_to_page), "{}", list.text);
    assert!(!list.text.contains(token), "a list shows no links of mails");
    let begun = Instant::now();
    while std::fs::read_to_string(&checkpoint).is_err() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = first.kill();
    assert!(
        log.contains("a***@example.com") && log.contains("Confirm your"),
        "{log}"
    );
    assert!(
        !log.contains(token) && !log.contains("ada@example.com"),
        "{log}"
    );

    // As if it had died before it kept how far it had come: the mail was sent, and is not sent again.
    std::fs::remove_file(&checkpoint).unwrap();
    let data = folder.0.to_str().unwrap();
    let second = Stack::start(&["--data-dir", data, "--no-mail"], &[]);
    second.register("bob@example.com");
    while second.get("/local/events").json()["events"]
        .as_array()
        .unwrap()
        .len()
        < 4
    {
        assert!(begun.elapsed() < PATIENCE * 2);
    }
    assert_eq!(mails(&second, 0), [] as [Value; 0]);
    second.kill();
    // Nobody has sent bob's.
    std::fs::remove_file(&checkpoint).unwrap();
    let third = Stack::in_folder(&folder.0, &[]);
    let [mail] = mails(&third, 1).try_into().unwrap();
    assert_eq!(mail["to"], "bob@example.com");
    third.kill();
}

/// Another port than the first is where the service listens now; nothing need answer at the first any more.
#[test]
fn a_link_leads_to_this_start() {
    let folder = Scratch::new();
    Stack::in_folder(&folder.0, &[]).kill();
    let second = Stack::in_folder(&folder.0, &[]);
    let api = second.says("API").unwrap();
    assert_ne!(second.says("Issuer").unwrap(), api);
    second.register("ada@example.com");
    let [mail] = mails(&second, 1).try_into().unwrap();
    let text = mail["text"].as_str().unwrap();
    let link = format!("{api}/account/verify-email#token=");
    let (_, rest) = text.split_once(&link).unwrap_or_else(|| panic!("{text}"));
    let token = rest.split_whitespace().next().unwrap();
    let body = serde_json::json!({"token": token});
    let opened = second.call("POST", "/v1/auth/verify-email", "", &body);
    assert_eq!(opened.status, 204, "{}", opened.text);

    let issuer = ("ISSUER", "https://id.example.com/auth");
    let elsewhere = Stack::start(&["--memory"], &[issuer]);
    let body = serde_json::json!({"email": "ada@example.com", "password": crate::PASSWORD});
    let registered = elsewhere.call("POST", "/auth/v1/auth/register", "", &body);
    assert_eq!(registered.status, 201, "{}", registered.text);
    let [mail] = mails(&elsewhere, 1).try_into().unwrap();
    let text = mail["text"].as_str().unwrap();
    assert!(
        text.contains("https://id.example.com/auth/account/"),
        "{text}"
    );
}

#[test]
fn an_address_that_mail_does_not_reach_is_refused_where_mail_is_sent() {
    let body = serde_json::json!({"email": "νίκος@example.com", "password": crate::PASSWORD});
    for (arguments, status) in [(&["--memory"][..], 422), (&["--memory", "--no-mail"], 201)] {
        let stack = Stack::start(arguments, &[]);
        let reply = stack.call("POST", "/v1/auth/register", "", &body);
        assert_eq!(reply.status, status, "{arguments:?}: {}", reply.text);
    }
}

#[test]
fn no_page_of_another_origin_reads_mail() {
    let stack = Stack::start(&["--memory"], &[]);
    for path in ["/local/mail", "/local/mail/x.html"] {
        let reply = stack.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nSec-Fetch-Site: cross-site\r\n\r\n"
        ));
        reply.assert_is_problem(403, "origin_not_allowed");
    }
}
