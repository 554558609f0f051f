use chrono::{DateTime, TimeDelta, Utc};
use cleanup::{Budget, CleanupError, Report, StoppedBy};
use http::StatusCode;
use latchkey_domain::cause::Action;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_store::Part;
use latchkey_tests::attack::faults::put_raw;
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};

pub(crate) async fn clean_up(stack: &Stack) -> Report {
    let budget = Budget::until(stack.now() + TimeDelta::minutes(10));
    cleanup::run(&stack.cleanup_store, stack.core.clock.as_ref(), budget)
        .await
        .unwrap()
}

/// The first of a deletion's two steps: the account is empty, its sessions are still in the table.
pub(crate) async fn begin_deletion(stack: &Stack, email: &str, user: UserId, caller: SessionId) {
    let store = &stack.store;
    let account = store.read_account(user).await.unwrap().unwrap();
    let email = EmailAddress::parse(email).unwrap();
    let credential = store.read_credential(&email).await.unwrap().unwrap();
    let change = account.clone().delete(caller, stack.now()).unwrap();
    let parts = [Part::NoCredential {
        verified: &credential,
    }];
    stack
        .write_change(&account, &change, Action::Delete, &parts)
        .await;
}

async fn sessions_of(stack: &Stack, user: UserId) -> Vec<Value> {
    let user = json!(format!("USER#{user}"));
    let mut items = stack.items().await;
    items.retain(|item| item["pk"] == user && item["sk"].as_str().unwrap().starts_with("SESSION#"));
    items
}

#[tokio::test]
async fn it_removes_what_has_passed_its_ttl_and_reports_the_rest() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let bob = stack.register("bob@example.com").await;
    // Past its absolute expiry and its retention.
    stack.advance(TimeDelta::days(60));
    let again = stack.login("ada@example.com").await;
    let report = clean_up(&stack).await;
    assert_eq!(
        (
            report.accounts,
            report.sessions_live,
            report.sessions_not_live
        ),
        (2, 1, 0)
    );
    assert_eq!((report.removed_expired, report.complete), (2, true));
    assert!(report.read_units > 0.0);
    assert_eq!(sessions_of(&stack, bob.user_id.unwrap()).await.len(), 0);
    assert_eq!(sessions_of(&stack, ada.user_id.unwrap()).await.len(), 1);
    stack
        .refresh(&again.refresh_token)
        .await
        .expect(StatusCode::OK);
    stack.login("bob@example.com").await;
}

#[tokio::test]
async fn an_ended_session_is_kept_for_the_audit_trail_to_the_second() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    stack.advance(TimeDelta::days(60) - TimeDelta::seconds(1));
    let report = clean_up(&stack).await;
    assert_eq!((report.removed_expired, report.sessions_not_live), (0, 1));
    assert_eq!(sessions_of(&stack, user).await.len(), 1);
    stack.advance(TimeDelta::seconds(1));
    assert_eq!(clean_up(&stack).await.removed_expired, 1);
    assert_eq!(sessions_of(&stack, user).await.len(), 0);
}

#[tokio::test]
async fn an_item_renewed_after_it_was_read_stays() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(61));
    let mut due = Vec::new();
    for segment in 0..4 {
        due.extend(
            stack
                .store
                .scan_page(segment, 4, None, 100)
                .await
                .unwrap()
                .items,
        );
    }
    let due = due
        .into_iter()
        .find(|item| item.delete_after.is_some())
        .unwrap();
    let later = (stack.now() + TimeDelta::days(1)).timestamp();
    let session = stack.table().session(ada.user_id.unwrap(), ada.session_id);
    session.set("ttl", later).await;
    let outcome = stack.store.delete_if_due(&due, stack.now()).await.unwrap();
    assert_eq!(outcome, latchkey_store::RemovalOutcome::NotDue);
    assert_eq!(sessions_of(&stack, ada.user_id.unwrap()).await.len(), 1);
}

#[tokio::test]
async fn it_finishes_an_interrupted_deletion() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let other = stack.login("ada@example.com").await;
    let user = ada.user_id.unwrap();
    // The transaction of the deletion, and then nothing: as if the function had been stopped.
    begin_deletion(
        &stack,
        "ada@example.com",
        ada.user_id.unwrap(),
        ada.session_id,
    )
    .await;

    for ended in [&ada, &other] {
        stack
            .refresh(&ended.refresh_token)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    stack
        .try_login("ada@example.com", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    let again = stack.register("ada@example.com").await;
    assert_eq!(
        sessions_of(&stack, user).await.len(),
        2,
        "the deletion is not finished"
    );
    let report = clean_up(&stack).await;
    assert_eq!(report.removed_of_deleted_users, 3);
    assert_eq!(sessions_of(&stack, user).await.len(), 0);
    assert_eq!(report.sessions_live, 1);
    stack
        .refresh(&again.refresh_token)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn it_removes_sessions_whose_account_is_gone() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.login("ada@example.com").await;
    let bob = stack.register("bob@example.com").await;
    let user = ada.user_id.unwrap();
    stack.table().account(user).delete().await;
    let report = clean_up(&stack).await;
    assert_eq!((report.removed_orphaned, report.sessions_live), (2, 1));
    assert_eq!(sessions_of(&stack, user).await.len(), 0);
    stack
        .refresh(&bob.refresh_token)
        .await
        .expect(StatusCode::OK);
}

fn one_page_each(now: DateTime<Utc>) -> Budget {
    Budget {
        until: now + TimeDelta::minutes(10),
        read_units: 0.5,
        page_items: 1,
        ..Budget::until(now)
    }
}

/// Runs the cleanup until one run comes to the end of the table. Returns how many expired sessions were removed, by how
/// many runs.
async fn run_to_the_end(
    run: impl AsyncFn() -> Result<Report, CleanupError>,
    stopped_by: StoppedBy,
) -> (u64, u32) {
    let (mut removed, mut runs) = (0, 0);
    loop {
        let report = run().await.unwrap();
        removed += report.removed_expired;
        runs += 1;
        if report.complete {
            return (removed, runs);
        }
        assert_eq!(report.stopped_by, Some(stopped_by));
        assert!(runs < 100, "it does not come to an end");
    }
}

#[tokio::test]
async fn a_run_whose_budget_is_used_up_goes_on_where_it_stopped() {
    let stack = Stack::start().await;
    for n in 0..12 {
        stack.register(&format!("user{n}@example.com")).await;
    }
    stack.advance(TimeDelta::days(61));
    let run = async || {
        let budget = one_page_each(stack.now());
        cleanup::run(&stack.cleanup_store, stack.core.clock.as_ref(), budget).await
    };
    let (removed, runs) = run_to_the_end(run, StoppedBy::Capacity).await;
    assert!(runs > 3, "{runs}");
    assert_eq!(removed, 12);
    // The next run begins a new pass.
    assert_eq!(clean_up(&stack).await.accounts, 12);
}

#[tokio::test(start_paused = true)]
async fn it_reads_no_faster_than_its_pace_so_that_requests_get_theirs() {
    let policy = latchkey_domain::policy::SessionPolicy::default();
    let (stack, _) = latchkey_tests::attack::faults::stack_with(policy, 1, Vec::new()).await;
    for n in 0..6 {
        stack.register(&format!("user{n}@example.com")).await;
    }
    let budget = Budget {
        page_items: 1,
        read_units_per_second: 0.1,
        ..Budget::until(stack.now() + TimeDelta::minutes(10))
    };
    let began = tokio::time::Instant::now();
    let clock = stack.core.clock.as_ref();
    let report = cleanup::run(&stack.store, clock, budget).await.unwrap();
    assert!(report.complete && report.read_units >= 9.0, "{report:?}");
    // The last page of each of the four segments is not waited for, half a unit each.
    let seconds = began.elapsed().as_secs_f64();
    let (least, most) = ((report.read_units - 2.0) / 0.1, report.read_units / 0.1);
    assert!((least - 0.1..most + 0.1).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn a_run_without_time_does_nothing_and_loses_nothing() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(61));
    let clock = stack.core.clock.as_ref();
    let report = cleanup::run(&stack.cleanup_store, clock, Budget::until(stack.now()))
        .await
        .unwrap();
    assert_eq!(
        (report.stopped_by, report.complete),
        (Some(StoppedBy::Time), false)
    );
    assert_eq!(clean_up(&stack).await.removed_expired, 1);
}

#[tokio::test]
async fn one_run_at_a_time_and_a_dead_one_blocks_only_for_a_while() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    // A run that has begun and was then cut off.
    let (lease, checkpoint) = stack
        .store
        .begin_cleanup(4, stack.now(), stack.now() + TimeDelta::minutes(15))
        .await
        .unwrap()
        .unwrap();
    let budget = Budget::until(stack.now() + TimeDelta::hours(1));
    let clock = stack.core.clock.as_ref();
    let refused = cleanup::run(&stack.cleanup_store, clock, budget).await;
    assert_eq!(refused, Err(CleanupError::AlreadyRunning));
    stack.advance(TimeDelta::minutes(15) + TimeDelta::milliseconds(1));
    assert!(clean_up(&stack).await.complete);
    // The dead one comes back and learns that it was taken over.
    assert!(!stack.store.save_cleanup(lease, &checkpoint).await.unwrap());
    assert!(!stack.store.end_cleanup(lease, &checkpoint).await.unwrap());
}

#[tokio::test]
async fn a_broken_item_is_counted_and_does_no_harm() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let broken = stack.login("ada@example.com").await;
    let session = stack.table().session(user, broken.session_id);
    session.set("device_type", true).await;
    let report = clean_up(&stack).await;
    assert_eq!((report.broken, report.sessions_live), (1, 1));
    let kept = stack.refresh_session(&ada).await;
    assert_eq!(kept.session_id, ada.session_id);
}

#[tokio::test]
async fn a_broken_account_is_counted_and_does_not_fail_the_run() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.register("bob@example.com").await;
    let account = stack.table().account(ada.user_id.unwrap());
    account.remove("email").await;
    let report = clean_up(&stack).await;
    assert_eq!(
        (report.broken, report.sessions_live, report.failed_removals),
        (1, 1, 0)
    );
    stack.advance(TimeDelta::days(61));
    assert_eq!(
        clean_up(&stack).await.removed_expired,
        2,
        "what is due goes all the same"
    );
}

/// A clock that moves on each time it is asked.
#[derive(Debug)]
struct Ticking(latchkey_domain::clock::ManualClock);

impl latchkey_domain::clock::Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        self.0.advance(TimeDelta::seconds(1));
        self.0.now()
    }
}

#[tokio::test]
async fn a_run_whose_time_is_over_within_a_page_goes_on_with_the_rest_of_it() {
    let stack = Stack::start().await;
    for n in 0..20 {
        stack.register(&format!("user{n}@example.com")).await;
    }
    stack.advance(TimeDelta::days(61));
    let run = async || {
        let clock = Ticking(latchkey_domain::clock::ManualClock::starting_at(
            stack.now(),
        ));
        let budget = Budget::until(stack.now() + TimeDelta::seconds(30));
        cleanup::run(&stack.cleanup_store, &clock, budget).await
    };
    let (removed, runs) = run_to_the_end(run, StoppedBy::Time).await;
    assert!(runs > 2, "{runs}");
    assert_eq!(removed, 20);
}

/// Its role may delete items of users alone, and DynamoDB's own deletion costs nothing.
#[tokio::test]
async fn it_leaves_dead_letters_to_their_ttl() {
    let stack = Stack::start().await;
    let kept = stack.store.keep_dead_letter("1", "{}", "test", stack.now());
    kept.await.unwrap();
    // And what a later version keeps, whose key no role of this one may touch.
    let later = json!({
        "pk": {"S": "LATER#1"}, "sk": {"S": "X"}, "ttl": {"N": stack.now().timestamp().to_string()},
    });
    assert!(put_raw(&stack, &later));
    stack.advance(TimeDelta::days(91));
    let report = clean_up(&stack).await;
    assert_eq!((report.removed_expired, report.failed_removals), (0, 0));
    let items = stack.items().await;
    for kept in ["DEADLETTER#events", "LATER#1"] {
        assert!(items.iter().any(|item| item["pk"] == kept), "{kept}");
    }
}
