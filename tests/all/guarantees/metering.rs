//! What the requests to DynamoDB leave in the metrics and, at `DEBUG`, in the log.

use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::SessionId;
use latchkey_runtime::emf::Emf;
use latchkey_store::metering::{CALLS, READ_UNITS, WRITE_UNITS};
use latchkey_tests::harness::log::{Log, lines_with};
use latchkey_tests::harness::metering::{extract, recorder};
use latchkey_tests::harness::stack::Stack;

const ADA: &str = "ada@example.com";

/// Requests, read units and write units since the last time. A line without one of these costs nothing for it.
fn take_counts(emf: &Emf, stack: &Stack) -> [Option<f64>; 3] {
    let line = emf.event_line(stack.now(), "requests").unwrap();
    let counts = extract(&line);
    [CALLS, READ_UNITS, WRITE_UNITS].map(|name| counts.get(name).copied())
}

#[tokio::test]
async fn a_request_counts_what_it_reads_or_writes_and_nothing_of_the_other() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    drop(emf.event_line(stack.now(), "before"));

    let account = stack.store.read_account(user).await;
    assert!(account.unwrap().is_some());
    assert_eq!(take_counts(&emf, &stack), [Some(1.0), Some(1.0), None]);

    let (session, now) = (ada.session_id, stack.now());
    let renamed = stack.store.rename_session(user, session, Some("Mine"), now);
    assert!(renamed.await.unwrap().is_some());
    assert_eq!(take_counts(&emf, &stack), [Some(1.0), None, Some(1.0)]);

    // DynamoDB bills a condition that has failed, and does not say so.
    let no_session = SessionId::random(stack.core.random.as_ref());
    let renamed = stack.store.rename_session(user, no_session, None, now);
    assert_eq!(renamed.await, Ok(None));
    assert_eq!(take_counts(&emf, &stack), [Some(1.0), None, Some(1.0)]);
}

#[tokio::test]
async fn at_debug_a_request_has_one_line_which_names_nobody() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let log = Log::capture_json();
    let email = EmailAddress::parse(ADA).unwrap();
    let credential = stack.store.read_credential(&email).await;
    assert!(credential.unwrap().is_some());
    let log = log.end();
    let lines = lines_with(&log, "DynamoDB");
    let [line] = &lines[..] else {
        panic!("one line: {log}");
    };
    assert_eq!(line["level"], "DEBUG");
    assert_eq!(line["operation"], "GetItem");
    assert_eq!(line["status"], 200);
    assert!(line["milliseconds"].is_number(), "{line}");
    assert!(!log.contains(ADA), "{log}");
}
