//! The trial of an operation: at each of its requests, each fault that can strike it, for each length of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_tests::attack::faults::{Fault, Faults, Plan, Strikes, raw_items, stack_with};
use latchkey_tests::harness::lambda::add_sample_client;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::Stack;
use serde_json::Value;

use super::table::*;
use super::{Cast, LONGEST, Operation, clean_up, operations, register, signs_in};

/// The table before an operation.
pub(super) struct Scene {
    pub(super) cast: Cast,
    items: Vec<Value>,
    now: DateTime<Utc>,
}

impl Scene {
    pub(super) async fn of(operation: &Operation) -> Self {
        let (stack, _) = stack_with((operation.policy)(), 1, Vec::new()).await;
        let ada = SignedIn::from(register(&stack, "ada@example.com").await.body);
        stack.advance(TimeDelta::seconds(1));
        let phone = stack.login("ada@example.com").await;
        register(&stack, "bob@example.com").await;
        let root = stack.administrator("root@example.com").await;
        add_sample_client(stack.client.clone()).await;
        stack.advance(TimeDelta::seconds(1));
        let cast = Cast { ada, phone, root };
        (operation.setup)(&stack, &cast).await;
        Self {
            cast,
            items: raw_items(&stack),
            now: stack.now(),
        }
    }

    pub(super) async fn stage(&self, operation: &Operation) -> (Stack, Faults) {
        let (stack, faults) = stack_with((operation.policy)(), 2, self.items.clone()).await;
        stack.advance(self.now - stack.now());
        (stack, faults)
    }
}

/// How long a fault lasts. Those that the SDK treats as another one are tried at both ends only.
fn strikes(fault: Fault) -> &'static [Strikes] {
    use Strikes::{Always, Outage, Times};
    match fault {
        Fault::ThroughputExceeded
        | Fault::ServiceUnavailable
        | Fault::ConnectTimeout
        | Fault::Invalid
        | Fault::GarbageReply => &[Times(1), Always],
        Fault::InternalServerError
        | Fault::ConnectionReset
        | Fault::SlowReply
        | Fault::TruncatedReply => &[Times(1), Times(3), Always, Outage],
        Fault::Throttled
        | Fault::Silence
        | Fault::ReplyLost
        | Fault::SilenceAfterCommit
        | Fault::Conflict
        | Fault::CanceledByConflict
        | Fault::CanceledByThrottling
        | Fault::InProgress
        | Fault::Unprocessed => &[Times(1), Times(2), Times(3), Always, Outage],
    }
}

/// What was found of an operation.
#[derive(Default)]
struct Found {
    calls: Vec<String>,
    cases: usize,
    right: usize,
    unavailable: usize,
    /// Unavailable although only one or two requests were struck, which retries are to heal.
    not_healed: BTreeSet<String>,
    longest: Duration,
}

async fn try_everything(operation: &Operation) -> Found {
    let scene = Scene::of(operation).await;
    let policy = (operation.policy)();
    let (stack, faults) = scene.stage(operation).await;
    let items = raw_items(&stack);
    let (attempts_before, before) = (counted_attempts(&items), of_items(items));
    let right = (operation.act)(&stack, &scene.cast).await;
    assert_eq!(
        right.status, operation.status,
        "{}: {right:?}",
        operation.name
    );
    let after = table(&stack);
    let calls: Vec<String> = faults.disarm().into_iter().map(|(name, _)| name).collect();
    let mut found = Found {
        calls: calls.clone(),
        ..Found::default()
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &calls {
        let nth = seen.entry(call).or_default();
        for fault in Fault::ALL
            .into_iter()
            .filter(|fault| fault.applies_to(call))
        {
            for strikes in strikes(fault).iter().copied() {
                let often = operation.name == "cleanup" && *nth > 0;
                if often && !matches!(strikes, Strikes::Times(1) | Strikes::Always) {
                    continue; // Like the first one.
                }
                let plan = Plan {
                    fault,
                    operation: call.clone(),
                    nth: *nth,
                    strikes,
                };
                let context = format!("{}, {plan:?}", operation.name);
                let (stack, faults) = scene.stage(operation).await;
                faults.arm(plan);
                let began = tokio::time::Instant::now();
                let answer = (operation.act)(&stack, &scene.cast).await;
                let took = began.elapsed();
                faults.disarm();
                let items = raw_items(&stack);
                assert!(counted_passwords(&items) <= 1, "{context}: counted twice");
                for (counter, attempts) in counted_attempts(&items) {
                    let before = attempts_before.get(&counter).copied().unwrap_or_default();
                    assert!(attempts <= before + 1, "{context}: {counter} counted twice");
                }
                let left = of_items(items);
                check_invariants(&left, &policy, &context);
                found.cases += 1;
                found.longest = found.longest.max(took);

                let done = left != before;
                if operation.in_steps {
                    assert!(is_between(&left, &before, &after), "{context}: {left:#?}");
                } else {
                    assert!(left == before || left == after, "{context}: {left:#?}");
                }
                if answer == right {
                    found.right += 1;
                    assert!(operation.in_steps || left == after, "{context}: not done");
                } else {
                    let unavailable = (answer.status, answer.code.as_str(), answer.retry_after);
                    assert_eq!(
                        unavailable,
                        (503, "temporarily_unavailable", true),
                        "{context}: {answer:?}"
                    );
                    found.unavailable += 1;
                    // A 200 that cannot be read is not asked for again by the SDK.
                    let unreadable = matches!(fault, Fault::TruncatedReply | Fault::GarbageReply);
                    if !unreadable && matches!(strikes, Strikes::Times(1 | 2)) {
                        found
                            .not_healed
                            .insert(format!("{fault:?} at {call} {nth}"));
                    }
                }

                // The client asks again.
                let again = (operation.act)(&stack, &scene.cast).await;
                let [if_not, if_done] = operation.repeated;
                let got = (again.status, again.code.as_str());
                let wanted = if left == after {
                    [if_done; 2]
                } else if done {
                    [if_not, if_done]
                } else {
                    [if_not; 2]
                };
                assert!(wanted.contains(&got), "{context}: repeated: {again:?}");
                let mut last = table(&stack);
                check_invariants(&last, &policy, &context);
                if operation.in_steps {
                    clean_up(&stack).await;
                    last = table(&stack);
                }
                if signs_in(operation.name) && operation.name != "register" {
                    continue; // A second sign-in is a second session.
                }
                if operation.name == "admin: send a reset" {
                    continue; // A second request is a second link.
                }
                assert_eq!(kinds(&last), kinds(&after), "{context}: repeated");
                // A new request draws new ids.
                let draws = matches!(
                    operation.name,
                    "register" | "password change" | "password reset"
                );
                if draws && left != after {
                    continue;
                }
                let wanted = without_versions(after.clone());
                assert_eq!(without_versions(last), wanted, "{context}: repeated");
                if again.status == right.status
                    && again.code == right.code
                    && again.status == 200
                    && !operation.in_steps
                {
                    assert_eq!(
                        again.body["refresh_token"], right.body["refresh_token"],
                        "{context}"
                    );
                }
            }
        }
        *nth += 1;
    }
    found
}

/// Runs the operations whose names `wanted` takes, and prints what was found.
pub(super) async fn check(wanted: impl Fn(&str) -> bool) {
    for operation in operations() {
        if !wanted(operation.name) {
            continue;
        }
        let found = try_everything(&operation).await;
        println!(
            "| {} | {} | {} | {} | {} | {:.1} s |",
            operation.name,
            found.calls.join(", "),
            found.cases,
            found.right,
            found.unavailable,
            found.longest.as_secs_f64()
        );
        assert!(
            found.not_healed.is_empty(),
            "{}: {:?}",
            operation.name,
            found.not_healed
        );
        if operation.name != "cleanup" {
            assert!(
                found.longest <= LONGEST,
                "{}: {:?}",
                operation.name,
                found.longest
            );
        }
    }
}
