//! Events of the local stack: shown at once, and none is lost by a kill.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::PATIENCE;
use crate::commands::break_account;
use crate::stack::{Scratch, Stack};

/// The events that the stack shows, newest first, when it shows so many.
fn events(stack: &Stack, count: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let shown = stack.get("/local/events").json()["events"].clone();
        let shown = shown.as_array().unwrap().clone();
        if shown.len() >= count {
            return shown;
        }
        assert!(begun.elapsed() < PATIENCE, "{shown:?}");
        std::thread::sleep(Duration::from_millis(50));
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
    // Nothing is counted before the account is made, so the first checkpoint is behind its events.
    let uncounted = [("ADDRESS_ATTEMPTS_PER_MINUTE", "0")];
    let first = Stack::in_folder(&folder.0, &uncounted);
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
fn a_record_that_cannot_be_read_is_kept_in_the_folder_and_blocks_nothing_behind_it() {
    let folder = Scratch::new();
    let path = folder.0.to_str().unwrap();
    let stack = Stack::start(&["--data-dir", path, "--dynamodb-port", "0"], &[]);
    let ada = stack.register("ada@example.com");
    events(&stack, 2);
    break_account(&stack, ada["user"]["id"].as_str().unwrap());
    stack.register("bob@example.com");
    events(&stack, 4);
    // It was kept before what came behind it was published.
    let letters = std::fs::read_dir(folder.0.join("dead-letters")).unwrap();
    let [letter] = letters.collect::<Vec<_>>().try_into().unwrap();
    let letter = letter.unwrap().path();
    let kept: Value = serde_json::from_slice(&std::fs::read(&letter).unwrap()).unwrap();
    let record: Value = serde_json::from_str(kept["record"].as_str().unwrap()).unwrap();
    let record = &record["dynamodb"];
    assert_eq!(record["NewImage"]["change"]["S"], "by hand");
    let number = record["SequenceNumber"].as_str().unwrap();
    assert_eq!(
        letter.file_name().unwrap(),
        format!("{number}.json").as_str()
    );
    assert_eq!(kept["reason"], "the record cannot be read");
}

#[test]
fn the_banner_names_the_list_of_events_which_knows_no_parameters() {
    let stack = Stack::start(&["--memory"], &[]);
    let events = stack.says("Events").unwrap();
    assert!(events.contains("/local/events"), "{events}");
    let refused = stack.get("/local/events?limit=5");
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (400, &json!("invalid_request"))
    );
    assert!(
        refused.text.contains("limit is not known"),
        "{}",
        refused.text
    );
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
