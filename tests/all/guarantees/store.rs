//! What the store promises its callers where no route shows it: what is read and how often, and where a page ends.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::notice::TELL_WITHIN;
use latchkey_domain::policy::SessionPolicy;
use latchkey_store::{
    Attempts, Claimed, MailClaim, ScanPosition, ScannedItem, SegmentProgress, Store,
};
use latchkey_tests::attack::faults::{Fault, Plan, Strikes, put_raw, stack_with};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::stack::Stack;
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
        faults.disarm();
        if let Some(fault) = fault {
            faults.arm(Plan {
                fault,
                operation: "GetItem".to_owned(),
                nth: 0,
                strikes: Strikes::Always,
            });
        } else {
            faults.arm_sequence("GetItem", &[]);
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

/// The end of a page is told to a client, and the key of a credential is an address.
#[tokio::test]
async fn a_page_of_accounts_with_more_items_behind_it_ends_at_a_key_of_a_user() {
    let stack = Stack::start().await;
    let mut users = BTreeSet::new();
    for number in 0..5 {
        let who = stack.register(&format!("user{number}@example.com")).await;
        users.insert(who.user_id.unwrap());
    }
    for number in 0..1_500 {
        let key = json!({"pk": {"S": format!("EMAIL#{number}")}, "sk": {"S": "CREDENTIAL"}});
        assert!(put_raw(&stack, &key));
    }
    for limit in [1, 2, 5, 100] {
        let (_, accounts, ends) = all_accounts(&stack.store, limit).await;
        assert_eq!(accounts.len(), users.len(), "{limit}: each once");
        assert_eq!(BTreeSet::from_iter(accounts), users, "{limit}");
        for end in ends {
            let key = serde_json::to_value(&end).unwrap();
            assert!(key["pk"].as_str().unwrap().starts_with("USER#"), "{key}");
        }
    }
}

/// A user with more items than a page is looked for in, which are read once.
#[tokio::test]
async fn a_page_of_accounts_goes_on_behind_the_last_item_that_was_read() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let pk = format!("USER#{}", ada.user_id.unwrap());
    for number in 0..1_500 {
        let key = json!({"pk": {"S": pk}, "sk": {"S": format!("SESSION#{number}")}});
        assert!(put_raw(&stack, &key));
    }
    for limit in [1, 100] {
        let (pages, accounts, _) = all_accounts(&stack.store, limit).await;
        assert_eq!((pages, accounts.len()), (2, 1), "{limit}");
    }
}

#[tokio::test]
async fn a_cleanup_goes_on_where_it_was_saved_unless_the_segments_are_others() {
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
    assert_eq!(store.end_cleanup(lease, &checkpoint).await, Ok(true));
    let next = store.begin_cleanup(4, now, until).await.unwrap();
    let (lease, continued) = next.unwrap();
    assert_eq!(continued, checkpoint);
    assert_eq!(store.end_cleanup(lease, &continued).await, Ok(true));
    let other = store.begin_cleanup(8, now, until).await.unwrap();
    let (_, anew) = other.unwrap();
    assert_eq!(anew.segments, [const { SegmentProgress::NotStarted }; 8]);
}

#[tokio::test]
async fn what_a_later_version_keeps_among_a_users_items_is_not_broken() {
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
        let lines = log.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines
            .filter(|line: &Value| line["message"] == "DynamoDB failed")
            .collect();
        let [line] = &lines[..] else {
            panic!("one line: {log}");
        };
        assert_eq!(
            (&line["level"], &line["operation"], &line["code"]),
            (&json!(level), &json!("GetItem"), &json!(code))
        );
    }
}
