//! What the store promises its callers where no route shows it: what is read and how often, and where a page ends.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use chrono::TimeDelta;
use latchkey::embedded::{self, Answer};
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::credential::Credential;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{AttemptId, SessionId, UserId};
use latchkey_domain::notice::TELL_WITHIN;
use latchkey_domain::password::PasswordHash;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::throttle::{Subject, wait_after, window_of};
use latchkey_store::{
    Attempts, Claimed, Counted, MailClaim, Part, ScanPosition, ScannedItem, SegmentProgress, Store,
    WriteOutcome, table,
};
use latchkey_tests::attack::faults::{Fault, Plan, Strikes, put_raw, stack_with};
use latchkey_tests::harness::log::{Log, lines_with};
use latchkey_tests::harness::stack::{Stack, TABLE};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

const ADA: &str = "ada@example.com";

fn operations(stack: &Stack) -> Vec<String> {
    let calls = stack.recorder.take().into_iter();
    calls.map(|call| call.operation).collect()
}

#[tokio::test(start_paused = true)]
async fn the_connection_is_opened_by_one_request_that_keeps_nobody_longer_than_a_second() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    for fault in [None, Some(Fault::InternalServerError), Some(Fault::Silence)] {
        if let Some(fault) = fault {
            faults.arm(Plan {
                fault,
                operation: "GetItem".to_owned(),
                nth: 0,
                strikes: Strikes::Always,
            });
        }
        let began = Instant::now();
        stack.store.open_connection().await;
        assert!(began.elapsed() <= Duration::from_millis(1_001), "{fault:?}");
        let sent = faults.disarm();
        let [(operation, _)] = &sent[..] else {
            panic!("{fault:?}: one request and not {}", sent.len());
        };
        assert_eq!(operation, "GetItem");
    }
}

/// For nearly everybody: what only a partition of an impossible size needs is asked for nobody else.
#[tokio::test]
async fn a_partition_that_is_read_whole_takes_one_request_and_is_no_error() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    drop(operations(&stack));
    let log = Log::capture();
    let read = stack.store.read_partition(user, stack.now()).await.unwrap();
    assert_eq!(read.sessions.len(), 1);
    assert_eq!(operations(&stack), ["Query"]);
    for (session, is_there) in [
        (ada.session_id, true),
        (SessionId::random(stack.core.random.as_ref()), false),
    ] {
        let (store, now) = (&stack.store, stack.now());
        let read = store.read_account_with_session(user, session, now).await;
        let (account, described) = read.unwrap();
        assert_eq!((account.is_some(), described.is_some()), (true, is_there));
        assert_eq!(operations(&stack), ["Query"], "{is_there}");
    }
    let log = log.end();
    assert!(!log.contains("ERROR"), "{log}");
}

/// Entries of 1 KB do not fill 1 MB, but a later version may write longer ones.
#[tokio::test]
async fn activity_that_dynamodb_cuts_by_its_size_has_a_next_page() {
    let stack = Stack::start().await;
    let user = UserId::random(stack.core.random.as_ref());
    let filler = "x".repeat(390_000);
    for number in 0..4 {
        let position = format!("2026-03-01T12:00:0{number}.000Z#{user}");
        let entry = json!({
            "pk": {"S": format!("ACTIVITY#{user}")}, "sk": {"S": position}, "type": {"S": "user.created"},
            "ttl": {"N": "4102444800"}, "filler": {"S": filler},
        });
        assert!(put_raw(&stack, &entry));
    }
    let (mut seen, mut pages, mut behind) = (0, 0, None);
    loop {
        let page = stack
            .store
            .read_activity(user, behind, 10, stack.now())
            .await;
        let page = page.unwrap();
        (seen, pages) = (seen + page.entries.len(), pages + 1);
        behind = page.next;
        if behind.is_none() {
            break;
        }
    }
    assert_eq!((seen, pages), (4, 2));
}

/// The account's own condition would not see it: it is as it was read, as after a table was restored in parts.
#[tokio::test]
async fn a_credential_that_is_not_the_one_whose_password_was_proved_is_neither_changed_nor_deleted()
{
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let account = stack.account(ada.user_id.unwrap()).await;
    let email = EmailAddress::parse(ADA).unwrap();
    let credential = stack.store.read_credential(&email).await.unwrap();
    let stored = credential.clone().unwrap();
    let another_password = Credential {
        password_version: stored.password_version + 1,
        ..stored.clone()
    };
    let another_user = Credential {
        user_id: UserId::random(stack.core.random.as_ref()),
        ..stored.clone()
    };
    let hash = PasswordHash::from_phc("$argon2id$another".to_owned());
    let change = account.clone().delete(ada.session_id, stack.now()).unwrap();
    let cause = Cause {
        action: Action::Delete,
        actor: Actor::System,
        at: stack.now(),
    };
    for verified in [&another_password, &another_user] {
        let new_hash = Part::Hash {
            verified,
            hash: &hash,
            password_version: 7,
        };
        for part in [new_hash, Part::NoCredential { verified }] {
            let (stamp, mut retries) = (stack.store.new_stamp(), stack.store.retries());
            let written = stack
                .store
                .write_change(&account, &change, &cause, &[part], stamp, &mut retries)
                .await;
            assert_eq!(written, Ok(WriteOutcome::Overtaken), "{verified:?}");
            assert_eq!(stack.account(account.id).await, account);
            assert_eq!(
                stack.store.read_credential(&email).await.unwrap(),
                credential
            );
        }
    }
}

/// Reads all pages. Returns how many there were, the accounts, and where the pages with accounts ended.
async fn all_accounts(store: &Store, limit: usize) -> (usize, Vec<UserId>, Vec<ScanPosition>) {
    let (mut pages, mut accounts, mut ends, mut from) = (0, Vec::new(), Vec::new(), None);
    loop {
        let page = store.scan_accounts(from, limit).await.unwrap();
        pages += 1;
        assert!(page.accounts.len() <= limit && pages < 100);
        if !page.accounts.is_empty() {
            ends.extend(page.next.clone());
        }
        accounts.extend(page.accounts.iter().map(|account| account.id));
        from = page.next;
        if from.is_none() {
            return (pages, accounts, ends);
        }
    }
}

/// A client learns where a page with accounts ends, and the key of a credential is an address.
#[tokio::test]
async fn a_page_of_accounts_with_more_items_behind_it_ends_at_a_key_of_a_user() {
    let stack = Stack::start().await;
    let mut users = BTreeSet::new();
    for number in 0..5 {
        let who = stack.register(&format!("user{number}@example.com")).await;
        users.insert(who.user_id.unwrap());
    }
    // In whichever order the items of the table are read.
    for number in 0..1_500 {
        for kind in ["EMAIL", "WAITING"] {
            let pk = format!("{kind}#{number}@example.com");
            let key = json!({"pk": {"S": pk}, "sk": {"S": "CREDENTIAL"}});
            assert!(put_raw(&stack, &key));
        }
    }
    for limit in [1, 2, 5, 100] {
        let (_, accounts, ends) = all_accounts(&stack.store, limit).await;
        assert_eq!(accounts.len(), users.len(), "{limit}: each once");
        assert_eq!(BTreeSet::from_iter(accounts), users, "{limit}");
        assert!(!ends.is_empty(), "{limit}");
        for end in ends {
            let key = serde_json::to_value(&end).unwrap();
            assert!(key["pk"].as_str().unwrap().starts_with("USER#"), "{key}");
        }
    }
}

/// Together the users have more items than one page looks through.
#[tokio::test]
async fn the_next_page_of_accounts_begins_behind_the_last_item_that_was_read() {
    let stack = Stack::start().await;
    for name in ["ada", "bob", "eve"] {
        let who = stack.register(&format!("{name}@example.com")).await;
        let pk = format!("USER#{}", who.user_id.unwrap());
        for number in 0..700 {
            let key = json!({"pk": {"S": pk}, "sk": {"S": format!("SESSION#{number}")}});
            assert!(put_raw(&stack, &key));
        }
    }
    let (pages, accounts, _) = all_accounts(&stack.store, 100).await;
    assert_eq!((pages, accounts.len()), (3, 3), "no item is read twice");
    let (_, accounts, _) = all_accounts(&stack.store, 1).await;
    assert_eq!(BTreeSet::from_iter(accounts).len(), 3, "none is left out");
}

#[tokio::test]
async fn the_last_page_of_accounts_says_that_it_is_the_last() {
    let stack = Stack::start().await;
    for name in ["ada", "bob", "eve"] {
        stack.register(&format!("{name}@example.com")).await;
    }
    for (limit, pages) in [(1, 3), (2, 2), (3, 1), (100, 1)] {
        let read = all_accounts(&stack.store, limit).await;
        assert_eq!((read.0, read.1.len()), (pages, 3), "{limit}");
    }
}

#[tokio::test]
async fn a_cleanup_continues_where_it_was_saved_unless_the_segments_are_others() {
    let stack = Stack::start().await;
    let (store, now) = (&stack.store, stack.now());
    let until = now + TimeDelta::minutes(15);
    let begun = store.begin_cleanup(4, now, until).await.unwrap();
    let (lease, mut checkpoint) = begun.unwrap();
    checkpoint.segments[2] = SegmentProgress::Done;
    assert_eq!(store.save_cleanup(lease, &checkpoint).await, Ok(true));
    assert_eq!(
        store.begin_cleanup(4, now, until).await,
        Ok(None),
        "it runs"
    );
    // That run has died.
    let now = until + TimeDelta::milliseconds(1);
    let until = now + TimeDelta::minutes(15);
    let next = store.begin_cleanup(4, now, until).await.unwrap();
    let (lease, continued) = next.unwrap();
    assert_eq!(continued, checkpoint);
    assert_eq!(store.end_cleanup(lease, &continued).await, Ok(true));
    let other = store.begin_cleanup(8, now, until).await.unwrap();
    let (_, fresh) = other.unwrap();
    assert_eq!(fresh.segments, [const { SegmentProgress::NotStarted }; 8]);
}

#[tokio::test]
async fn items_that_only_a_later_version_knows_are_not_broken() {
    let stack = Stack::start().await;
    let user = UserId::random(stack.core.random.as_ref());
    for (pk, sk) in [
        (format!("USER#{user}"), "SETTINGS"),
        ("ROOM#7".to_owned(), "ACCOUNT"),
        ("ROOM#7".to_owned(), "SESSION#7"),
    ] {
        let item = json!({"pk": {"S": pk}, "sk": {"S": sk}});
        assert!(put_raw(&stack, &item));
    }
    let page = stack.store.scan_page(0, 1, None, 100).await.unwrap();
    assert_eq!(page.items.len(), 3);
    for scanned in page.items {
        assert!(matches!(scanned.item, ScannedItem::Other), "{scanned:?}");
    }
}

const EVENT: Uuid = Uuid::from_u128(7);
const LEASE: TimeDelta = TimeDelta::minutes(1);

async fn claim(stack: &Stack) -> Claimed {
    let now = stack.now();
    let claimed = stack.store.claim_mail(EVENT, 3, now, now + LEASE).await;
    claimed.unwrap()
}

async fn claim_of_mine(stack: &Stack) -> MailClaim {
    match claim(stack).await {
        Claimed::Yours(claim) => claim,
        other => panic!("{other:?}"),
    }
}

async fn attempts(stack: &Stack) -> Attempts {
    let read = stack.store.read_attempts(EVENT, stack.now()).await;
    read.unwrap()
}

#[tokio::test]
async fn what_became_of_the_attempts_to_send_a_mail_is_known() {
    let stack = Stack::start().await;
    assert_eq!(attempts(&stack).await, Attempts::None);
    let first = claim_of_mine(&stack).await;
    assert_eq!((first.counts(), first.unanswered()), (true, 1));
    assert_eq!(attempts(&stack).await, Attempts::UnderWay);
    stack.advance(LEASE);
    assert_eq!(attempts(&stack).await, Attempts::Unanswered, "it has died");
    let second = claim_of_mine(&stack).await;
    assert_eq!((second.counts(), second.unanswered()), (false, 2));
    let released = stack
        .store
        .release_mail(second.not_sent(), stack.now() + LEASE);
    assert_eq!(released.await, Ok(()));
    assert_eq!(attempts(&stack).await, Attempts::UnderWay, "it comes again");
    stack.advance(LEASE);
    assert_eq!(attempts(&stack).await, Attempts::Unanswered, "the first");
    let third = claim_of_mine(&stack).await;
    assert_eq!(third.unanswered(), 2);
    let marked = stack.store.mark_mail_sent(third, stack.now());
    assert_eq!(marked.await, Ok(()));
    assert_eq!(attempts(&stack).await, Attempts::Sent);
    assert_eq!(claim(&stack).await, Claimed::Sent);
}

#[tokio::test]
async fn a_mail_that_nobody_took_is_unsent() {
    let stack = Stack::start().await;
    let only = claim_of_mine(&stack).await;
    let released = stack.store.release_mail(only.not_sent(), stack.now());
    assert_eq!(released.await, Ok(()));
    assert_eq!(attempts(&stack).await, Attempts::Unsent);
}

#[tokio::test]
async fn whose_claim_to_a_mail_is_over_says_nothing_of_it_any_more() {
    let stack = Stack::start().await;
    let late = claim_of_mine(&stack).await;
    stack.advance(LEASE);
    let newer = claim_of_mine(&stack).await;
    let (store, now) = (&stack.store, stack.now());
    assert_eq!(store.release_mail(late.not_sent(), now).await, Ok(()));
    assert_eq!(claim(&stack).await, Claimed::Elsewhere);
    assert_eq!(store.mark_mail_sent(late, now).await, Ok(()));
    assert_eq!(attempts(&stack).await, Attempts::UnderWay);
    assert_eq!(store.mark_mail_sent(newer, now).await, Ok(()));
    assert_eq!(store.release_mail(newer, now).await, Ok(()));
    assert_eq!(attempts(&stack).await, Attempts::Sent, "for good");
}

/// Whatever is told within this time is told once.
#[tokio::test]
async fn that_a_mail_was_sent_is_kept_longer_than_its_event_is_told() {
    let stack = Stack::start().await;
    let claim = claim_of_mine(&stack).await;
    let marked = stack.store.mark_mail_sent(claim, stack.now());
    assert_eq!(marked.await, Ok(()));
    let items = stack.items().await;
    let of_mail = |item: &&Value| item["pk"] == format!("MAIL#{EVENT}");
    let item = items.iter().find(of_mail).unwrap();
    let kept_until = item["ttl"].as_i64().unwrap();
    assert!(
        kept_until > (stack.now() + TELL_WITHIN).timestamp(),
        "{item}"
    );
}

/// A warning passes by itself, and whoever is woken by errors need not see it.
#[tokio::test(start_paused = true)]
async fn a_failure_of_dynamodb_is_an_error_in_the_log_only_if_a_person_has_to_look() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let user = UserId::random(stack.core.random.as_ref());
    for (fault, level, code, error) in [
        (
            Fault::Invalid,
            "ERROR",
            "ValidationException",
            StoreError::Corrupt,
        ),
        (
            Fault::Throttled,
            "WARN",
            "ThrottlingException",
            StoreError::Unavailable,
        ),
        (
            Fault::ConnectionReset,
            "WARN",
            "no reply",
            StoreError::Unavailable,
        ),
    ] {
        faults.arm(Plan {
            fault,
            operation: "GetItem".to_owned(),
            nth: 0,
            strikes: Strikes::Always,
        });
        let log = Log::capture_json();
        assert_eq!(stack.store.read_account(user).await, Err(error));
        let log = log.end();
        let lines = lines_with(&log, "DynamoDB failed");
        let [line] = &lines[..] else {
            panic!("one line: {log}");
        };
        assert_eq!(
            (&line["level"], &line["operation"], &line["code"]),
            (&json!(level), &json!("GetItem"), &json!(code))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_dynamodb_could_not_make_is_not_taken_for_one_that_was_not_due() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    stack.register(ADA).await;
    stack.advance(TimeDelta::days(61));
    let page = stack.store.scan_page(0, 1, None, 100).await.unwrap();
    let due = page.items.iter().find(|item| item.delete_after.is_some());
    faults.arm(Plan {
        fault: Fault::Throttled,
        operation: "DeleteItem".to_owned(),
        nth: 0,
        strikes: Strikes::Always,
    });
    let deleted = stack.store.delete_if_due(due.unwrap(), stack.now()).await;
    assert_eq!(deleted, Err(StoreError::Unavailable));
}

/// A DynamoDB that gives these answers, one after the other. Returns what is made of them, and what was asked.
async fn make_table(answers: &[(u16, Value)]) -> (Option<bool>, Vec<String>) {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let connector = SharedHttpConnector::new(Canned {
        answers: answers.to_vec(),
        asked: asked.clone(),
    });
    let config = embedded::config(http_client_fn(move |_, _| connector.clone()));
    let client = Client::from_conf(config.build());
    let made = table::create_if_missing(&client, TABLE).await;
    let asked = asked.lock().unwrap().clone();
    (made.ok(), asked)
}

#[derive(Debug)]
struct Canned {
    answers: Vec<(u16, Value)>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut asked = self.asked.lock().unwrap();
        let (status, body) = self.answers[asked.len()].clone();
        asked.push(embedded::operation_of(&request).to_owned());
        let body = body.to_string();
        HttpConnectorFuture::ready(embedded::response(Answer { status, body }))
    }
}

fn refusal(kind: &str) -> (u16, Value) {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{kind}");
    (400, json!({"__type": kind, "message": "no"}))
}

fn description(status: &str) -> (u16, Value) {
    (200, json!({"Table": {"TableStatus": status}}))
}

#[tokio::test(start_paused = true)]
async fn a_table_that_somebody_else_is_making_is_waited_for() {
    let answers = ["CREATING", "CREATING", "ACTIVE"].map(description);
    let (made, asked) = make_table(&answers).await;
    assert_eq!(
        (made, asked),
        (Some(false), vec!["DescribeTable".to_owned(); 3])
    );

    let (missing, in_use) = (
        refusal("ResourceNotFoundException"),
        refusal("ResourceInUseException"),
    );
    let (creating, active, done) = (
        description("CREATING"),
        description("ACTIVE"),
        (200, json!({})),
    );
    let answers = [missing, in_use, creating.clone(), creating, active, done];
    let (made, asked) = make_table(&answers).await;
    assert_eq!(made, Some(true));
    let described = "DescribeTable";
    assert_eq!(
        asked,
        [
            described,
            "CreateTable",
            described,
            described,
            described,
            "UpdateTimeToLive"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_table_is_made_only_if_there_is_none_and_not_used_if_it_cannot_be_made() {
    let (made, asked) = make_table(&[description("ACTIVE")]).await;
    assert_eq!((made, asked.len()), (Some(false), 1));
    let (made, asked) = make_table(&[refusal("AccessDeniedException")]).await;
    assert_eq!(
        (made, &asked[..]),
        (None, &["DescribeTable".to_owned()][..])
    );
    let missing = refusal("ResourceNotFoundException");
    let (made, asked) = make_table(&[missing, refusal("AccessDeniedException")]).await;
    assert_eq!((made, asked.len()), (None, 2));
}

/// DynamoDB may remove a counter then, and whoever has to wait would wait no more.
#[tokio::test]
async fn a_counter_stands_until_everything_that_it_holds_is_over() {
    let stack = Stack::start().await;
    let (store, now, random) = (&stack.store, stack.now(), &stack.core.random);
    let email = EmailAddress::parse(ADA).unwrap();
    let counter = stack.core.tokens.counter(Subject::Account(&email), now);
    let counter = counter.await.unwrap();
    let attempt = || AttemptId::random(random.as_ref());
    let ttl_of = async |sort_key: &str| {
        let items = stack.items_with_counters().await;
        let item = items.iter().find(|item| item["sk"] == sort_key);
        item.unwrap()["ttl"].as_i64().unwrap()
    };
    let longest_wait_ends = (now + wait_after(u32::MAX, 10)).timestamp();

    let counted = store.count_failure(&counter, attempt(), 10, now).await;
    assert!(matches!(counted, Ok(Counted::Admitted(_))), "{counted:?}");
    assert!(ttl_of("FAILURES").await >= longest_wait_ends);
    assert_eq!(store.clear_failures(&counter).await, Ok(true));
    let marked = store.mark_failed_sign_in(&counter, attempt(), None, now);
    assert_eq!(marked.await, Ok(()));
    assert!(ttl_of("FAILURES").await >= longest_wait_ends);

    let window @ (begin, end) = window_of(now);
    let counted = store.count_in_window(&counter, attempt(), 10, window, now);
    assert!(matches!(counted.await, Ok(Counted::Admitted(_))));
    let ttl = ttl_of(&format!("WINDOW#{}", begin.timestamp())).await;
    assert!(ttl > end.timestamp(), "another clock may be behind");
}

fn leave_unprocessed(strikes: Strikes) -> Plan {
    Plan {
        fault: Fault::Unprocessed,
        operation: "BatchWriteItem".to_owned(),
        nth: 0,
        strikes,
    }
}

/// Tokio's clock stands still but for the pauses.
#[tokio::test(start_paused = true)]
async fn a_deletion_waits_only_if_dynamodb_has_left_something_and_gives_up_at_last() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let random = stack.core.random.as_ref();
    let user = UserId::random(random);
    let sessions: Vec<_> = (0..60).map(|_| SessionId::random(random)).collect();
    // Whether it has waited, and how many items each request had.
    let delete = async || {
        let began = Instant::now();
        let deleted = stack.store.delete_orphaned_sessions(user, &sessions).await;
        let has_waited = began.elapsed() > Duration::ZERO;
        let sent = faults.disarm().into_iter();
        let items = sent.map(|(_, body)| body["RequestItems"][TABLE].as_array().unwrap().len());
        (deleted, has_waited, items.collect::<Vec<_>>())
    };
    assert_eq!(delete().await, (Ok(()), false, vec![25, 25, 10]));
    faults.arm(leave_unprocessed(Strikes::Times(4)));
    let items = vec![25, 1, 1, 1, 1, 25, 10];
    assert_eq!(delete().await, (Ok(()), true, items));
    faults.arm(leave_unprocessed(Strikes::Always));
    let items = [vec![25], vec![1; 24]].concat();
    assert_eq!(delete().await, (Err(StoreError::Unavailable), true, items));
}
