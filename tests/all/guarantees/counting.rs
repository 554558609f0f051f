//! Guarantee 9, seen from the owner: what was not checked does not count, nobody uses up what is another's, and whoever
//! once had the password gets no more guesses at the next one than a stranger.

use chrono::TimeDelta;
use futures::future::join_all;
use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::throttle::Limits;
use latchkey_service::{Administrator, Service};
use latchkey_tests::attack::faults::{Fault, Faults, Plan, Strikes, raw_items, stack_with};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::json;

const WRONG: &str = "not the password";
const NEW: &str = "wrong donkey charger paperclip";
const ADA: &str = "ada@example.com";
const ELSEWHERE: &str = "198.51.100.7";

async fn stack(limits: Limits) -> (Stack, Faults) {
    let policy = SessionPolicy {
        limits,
        ..SessionPolicy::default()
    };
    stack_with(policy, 1, Vec::new()).await
}

/// Guesses counted for accounts and devices, not for addresses.
async fn stack_that_counts_failures() -> (Stack, Faults) {
    let limits = Limits {
        address_attempts: 0,
        ..Limits::default()
    };
    stack(limits).await
}

struct Try<'a> {
    email: &'a str,
    password: &'a str,
    device: Option<&'a str>,
    from: &'a str,
}

/// Of ada, from an address of her own.
const OF_ADA: Try<'static> = Try {
    email: ADA,
    password: WRONG,
    device: None,
    from: "203.0.113.99",
};

impl Try<'_> {
    async fn send(&self, stack: &Stack) -> Reply {
        let body =
            json!({"email": self.email, "password": self.password, "device_token": self.device});
        let call = stack.post("/v1/auth/login").json(&body);
        call.from_address(self.from.parse().unwrap()).send().await
    }
}

/// How many of so many tries are checked.
async fn checked(stack: &Stack, times: usize, try_: &Try<'_>) -> usize {
    let mut checked = 0;
    for _ in 0..times {
        let reply = try_.send(stack).await;
        assert!([401, 429].contains(&reply.status.as_u16()), "{reply:?}");
        checked += usize::from(reply.status == 401);
    }
    checked
}

async fn use_up(stack: &Stack, address: &str) {
    for number in 0..stack.core.policy.limits.address_attempts {
        let email = format!("{number}@example.com");
        let try_ = Try {
            email: &email,
            from: address,
            ..OF_ADA
        };
        try_.send(stack)
            .await
            .expect_problem(401, "invalid_credentials");
    }
}

/// How many attempts are counted for accounts of this kind, in all.
fn counted(stack: &Stack, kind: &str) -> u64 {
    let prefix = format!("THROTTLE#{kind}#");
    let of_kind = |item: &serde_json::Value| {
        let key = item["pk"]["S"].as_str()?;
        let attempts = item["attempts"]["N"].as_str()?.parse::<u64>().ok()?;
        key.starts_with(&prefix).then_some(attempts)
    };
    raw_items(stack).iter().filter_map(of_kind).sum()
}

#[tokio::test(start_paused = true)]
async fn what_the_limit_of_an_address_stops_counts_for_no_account_and_no_device() {
    let (stack, _) = stack(Limits::default()).await;
    let ada = stack.register(ADA).await;
    let device = ada.device_token.as_deref();
    use_up(&stack, ELSEWHERE).await;
    let stranger = Try {
        from: ELSEWHERE,
        ..OF_ADA
    };
    let as_owner = Try { device, ..stranger };
    for try_ in [&stranger, &as_owner] {
        assert_eq!(checked(&stack, 30, try_).await, 0);
        let at_once = join_all((0..30).map(|_| try_.send(&stack))).await;
        assert!(at_once.iter().all(|reply| reply.status == 429));
    }
    // The owner signs in from elsewhere, and all free attempts are there.
    let owner = Try {
        device,
        password: PASSWORD,
        ..OF_ADA
    };
    owner.send(&stack).await.expect(StatusCode::OK);
    assert_eq!(checked(&stack, 20, &OF_ADA).await, 10);

    // Nor does it make the wait longer, or begin again.
    stack.advance(TimeDelta::seconds(1));
    assert_eq!(checked(&stack, 2, &OF_ADA).await, 1);
    stack.advance(TimeDelta::seconds(2));
    assert_eq!(checked(&stack, 30, &stranger).await, 0);
    assert_eq!(checked(&stack, 2, &OF_ADA).await, 1);
    stack.advance(TimeDelta::seconds(4) - TimeDelta::milliseconds(1));
    assert_eq!(checked(&stack, 1, &stranger).await, 0);
    assert_eq!(checked(&stack, 1, &OF_ADA).await, 0);
}

/// The take-back is the third update of a sign-in, after the counts of the address and of the account.
const TAKE_BACK: usize = 2;

async fn stopped_at_its_address() -> (Stack, Faults) {
    let limits = Limits {
        address_attempts: 5,
        ..Limits::default()
    };
    let (stack, faults) = stack(limits).await;
    stack.register(ADA).await;
    use_up(&stack, ELSEWHERE).await;
    assert_eq!(checked(&stack, 3, &OF_ADA).await, 3);
    assert_eq!(counted(&stack, "account"), 8);
    (stack, faults)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_taken_back_once_or_not_at_all_whatever_fails() {
    let kinds = Fault::ALL.into_iter();
    for fault in kinds.filter(|fault| fault.applies_to("UpdateItem")) {
        let (stack, faults) = stopped_at_its_address().await;
        for strikes in [Strikes::Times(1), Strikes::Always] {
            let before = counted(&stack, "account");
            faults.arm(Plan {
                fault,
                operation: "UpdateItem".to_owned(),
                nth: TAKE_BACK,
                strikes,
            });
            let try_ = Try {
                from: ELSEWHERE,
                ..OF_ADA
            };
            let stopped = try_.send(&stack).await;
            stopped.expect_problem(429, "too_many_requests");
            faults.disarm();
            let after = counted(&stack, "account");
            let allowed = match fault {
                Fault::ReplyLost
                | Fault::SilenceAfterCommit
                | Fault::TruncatedReply
                | Fault::GarbageReply
                | Fault::SlowReply => 0..=0,
                _ => 0..=1,
            };
            assert!(
                allowed.contains(&(after - before)),
                "{fault:?}, {strikes:?}: {before} to {after}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_taken_back_though_another_was_counted_since_and_not_from_a_count_that_is_new()
 {
    let blocked = Try {
        from: ELSEWHERE,
        ..OF_ADA
    };
    for forgotten in [false, true] {
        let (stack, faults) = stopped_at_its_address().await;
        let mut held = faults.hold("UpdateItem", TAKE_BACK);
        let meanwhile = async {
            held.arrive().await;
            if forgotten {
                stack.login(ADA).await;
            }
            assert_eq!(checked(&stack, 1, &OF_ADA).await, 1);
            held.release();
        };
        let (stopped, ()) = tokio::join!(blocked.send(&stack), meanwhile);
        stopped.expect_problem(429, "too_many_requests");
        // Five are those of other accounts.
        let expected = if forgotten { 5 + 1 } else { 5 + 3 + 1 };
        assert_eq!(counted(&stack, "account"), expected, "{forgotten}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_on_our_side_does_not_count() {
    let (stack, faults) = stack_that_counts_failures().await;
    let ada = stack.register(ADA).await;
    for device in [None, ada.device_token.as_deref()] {
        for operation in ["GetItem", "Query", "TransactWriteItems"] {
            for _ in 0..6 {
                faults.arm(Plan {
                    fault: Fault::InternalServerError,
                    operation: operation.to_owned(),
                    nth: 0,
                    strikes: Strikes::Always,
                });
                let right = Try {
                    password: PASSWORD,
                    device,
                    ..OF_ADA
                };
                let failed = right.send(&stack).await;
                failed.expect_problem(503, "temporarily_unavailable");
                faults.disarm();
            }
        }
        let wrong = Try { device, ..OF_ADA };
        assert_eq!(checked(&stack, 20, &wrong).await, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn instances_whose_clocks_differ_check_each_others_free_attempts() {
    let (stack, _) = stack_that_counts_failures().await;
    stack.register(ADA).await;
    let ahead = stack.clone().with_clock_ahead(TimeDelta::seconds(5));
    for _ in 0..5 {
        assert_eq!(checked(&ahead, 1, &OF_ADA).await, 1);
        assert_eq!(checked(&stack, 1, &OF_ADA).await, 1);
    }
    // After the free ones the longer wait counts.
    assert_eq!(checked(&stack, 1, &OF_ADA).await, 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_once_had_the_password_gets_as_many_guesses_at_the_next_one_as_a_stranger() {
    let (stack, _) = stack_that_counts_failures().await;
    stack.register(ADA).await;
    let mut collected = Vec::new();
    for _ in 0..30 {
        collected.push(stack.login(ADA).await.device_token.unwrap());
    }
    let ada = SignedIn::from(stack.try_login(ADA, PASSWORD).await.expect(StatusCode::OK));
    let changed = stack.change_password(&ada, PASSWORD, NEW).await;
    let changed = SignedIn::from(changed.expect(StatusCode::OK));
    let mut guesses = 0;
    for device in &collected {
        let try_ = Try {
            device: Some(device),
            ..OF_ADA
        };
        guesses += checked(&stack, 2, &try_).await;
    }
    assert_eq!(guesses, 10, "all of them together");
    // A stranger's guesses are counted apart, and neither reach the device of the change. The last sign-in left a count.
    assert_eq!(checked(&stack, 20, &OF_ADA).await, 9);
    let owner = Try {
        device: changed.device_token.as_deref(),
        password: NEW,
        ..OF_ADA
    };
    owner.send(&stack).await.expect(StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_keeps_nobody_out_of_a_device_from_before_a_password_change() {
    let (stack, _) = stack_that_counts_failures().await;
    let ada = stack.register(ADA).await;
    let phone = stack.login(ADA).await;
    let changed = stack.change_password(&ada, PASSWORD, NEW).await;
    changed.expect(StatusCode::OK);
    assert_eq!(
        checked(&stack, 200, &OF_ADA).await,
        9,
        "the sign-in left a count"
    );
    let on_phone = |device| Try {
        device,
        password: NEW,
        ..OF_ADA
    };
    let known = on_phone(phone.device_token.as_deref()).send(&stack).await;
    let known = SignedIn::from(known.expect(StatusCode::OK));
    assert_ne!(known.device_token, phone.device_token);
    // From then on it is counted for itself.
    let former = Try {
        device: ada.device_token.as_deref(),
        ..OF_ADA
    };
    assert_eq!(checked(&stack, 20, &former).await, 9);
    let phone = on_phone(phone.device_token.as_deref()).send(&stack).await;
    phone.expect_problem(429, "too_many_requests");
    let known = on_phone(known.device_token.as_deref()).send(&stack).await;
    known.expect(StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn an_operator_lifts_the_hard_stop_of_an_account_and_leaves_a_line() {
    let (stack, _) = stack_that_counts_failures().await;
    let ada = stack.register(ADA).await;
    let changed = stack.change_password(&ada, PASSWORD, NEW).await;
    changed.expect(StatusCode::OK);
    let former = Try {
        device: ada.device_token.as_deref(),
        ..OF_ADA
    };
    for (kind, try_) in [("account", &OF_ADA), ("former-devices", &former)] {
        while counted(&stack, kind) < 100 {
            assert_eq!(checked(&stack, 1, try_).await, 1);
            stack.advance(TimeDelta::minutes(15));
        }
        assert_eq!(checked(&stack, 1, try_).await, 0, "{kind}");
    }
    let log = Log::capture();
    let service = Service {
        core: stack.core.clone(),
        store: stack.store.clone(),
    };
    let operator = Administrator::operator();
    let user = ada.user_id.unwrap();
    assert_eq!(service.unblock_user(&operator, user).await, Ok(true));
    assert_eq!(service.unblock_user(&operator, user).await, Ok(false));
    for try_ in [&OF_ADA, &former] {
        assert_eq!(checked(&stack, 20, try_).await, 10);
    }
    let log = log.end();
    assert!(
        log.contains("unblock_user") && log.contains("operator"),
        "{log}"
    );
}

#[tokio::test]
async fn whoever_has_one_session_does_not_keep_the_owner_from_ending_it_on_another() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let thief = stack.login(ADA).await;
    let list = |who: &SignedIn| stack.get("/v1/sessions").bearer(&who.access_token).send();
    let revoke_all = |who: &SignedIn, query: &str| {
        let path = format!("/v1/sessions/revoke-all{query}");
        stack.post(&path).bearer(&who.access_token).send()
    };
    let purge = |who: &SignedIn| {
        let call = stack.delete("/v1/sessions/expired");
        call.bearer(&who.access_token).send()
    };
    for _ in 0..40 {
        list(&thief).await;
        let unknown = stack.delete("/v1/sessions/00000000-0000-4000-8000-000000000000");
        unknown.bearer(&thief.access_token).send().await;
        // Without a session that could be ended there.
        let bad = revoke_all(&thief, "?keep_current=perhaps").await;
        assert_ne!(bad.status, StatusCode::OK);
        purge(&thief).await;
    }
    for exhausted in [list(&thief).await, purge(&thief).await] {
        exhausted.expect_problem(429, "too_many_requests");
    }
    list(&ada).await.expect(StatusCode::OK);
    purge(&ada).await.expect(StatusCode::OK);
    let path = format!("/v1/sessions/{}", thief.session_id);
    let end = stack.delete(&path).bearer(&ada.access_token).send().await;
    end.expect(StatusCode::NO_CONTENT);
    revoke_all(&ada, "").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_request_is_counted_before_a_recent_proof_is_asked_for() {
    let policy = SessionPolicy {
        reauthenticate_to_revoke: true,
        ..SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    let ada = stack.register(ADA).await;
    let phone = stack.login(ADA).await;
    stack.advance(TimeDelta::minutes(12));
    for (quota, method, path) in [
        (5, "DELETE", "/v1/sessions/expired".to_owned()),
        (5, "DELETE", format!("/v1/sessions/{}", phone.session_id)),
        // Of the same limit.
        (5, "POST", "/v1/sessions/revoke-all".to_owned()),
    ] {
        for _ in 0..quota {
            let call = stack.request(method.parse().unwrap(), &path);
            let asked = call.bearer(&ada.access_token).send().await;
            asked.expect_problem(403, "reauthentication_required");
        }
    }
    for path in [
        "/v1/sessions/expired".to_owned(),
        format!("/v1/sessions/{}", phone.session_id),
    ] {
        let stopped = stack.delete(&path).bearer(&ada.access_token).send().await;
        stopped.expect_problem(429, "too_many_requests");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fifth_wrong_password_stays_counted_when_it_cannot_end_the_session() {
    let (stack, faults) = stack(Limits::default()).await;
    let ada = stack.register(ADA).await;
    for _ in 0..4 {
        let wrong = stack.reauthenticate(&ada, WRONG).await;
        wrong.expect_problem(403, "wrong_password");
    }
    faults.arm(Plan {
        fault: Fault::InternalServerError,
        operation: "UpdateItem".to_owned(),
        // After the counts of the address and of the session, and the mark.
        nth: 3,
        strikes: Strikes::Always,
    });
    let fifth = stack.reauthenticate(&ada, WRONG).await;
    fifth.expect_problem(403, "wrong_password");
    faults.disarm();
    let me = stack.get("/v1/me").bearer(&ada.access_token).send().await;
    me.expect(StatusCode::OK);
    let hashed = stack.core.passwords.jobs_done();
    let next = stack.reauthenticate(&ada, PASSWORD).await;
    next.expect_problem(401, "invalid_token");
    assert_eq!(stack.core.passwords.jobs_done(), hashed);
    let me = stack.get("/v1/me").bearer(&ada.access_token).send().await;
    me.expect_problem(401, "invalid_token");
}

/// From here on every update fails: the mark of a wrong password, the proof of a right one, and each take-back.
const AFTER_THE_COUNTS: usize = 2;

fn fail_after_the_counts(faults: &Faults) {
    faults.arm(Plan {
        fault: Fault::InternalServerError,
        operation: "UpdateItem".to_owned(),
        nth: AFTER_THE_COUNTS,
        strikes: Strikes::Always,
    });
}

#[tokio::test(start_paused = true)]
async fn right_passwords_that_nobody_could_judge_do_not_end_their_session() {
    let (stack, faults) = stack(Limits::default()).await;
    let ada = stack.register(ADA).await;
    for _ in 0..5 {
        fail_after_the_counts(&faults);
        let failed = stack.reauthenticate(&ada, PASSWORD).await;
        failed.expect_problem(503, "temporarily_unavailable");
        faults.disarm();
    }
    // They count until they cannot be checked any more: each may be about to be judged.
    let early = stack.reauthenticate(&ada, PASSWORD).await;
    early.expect_problem(429, "too_many_requests");
    stack.advance(TimeDelta::seconds(22));
    let wrong = stack.reauthenticate(&ada, WRONG).await;
    wrong.expect_problem(403, "wrong_password");
    let right = stack.reauthenticate(&ada, PASSWORD).await;
    right.expect(StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_the_fifth_password_that_was_judged_wrong() {
    let (stack, faults) = stack(Limits::default()).await;
    let ada = stack.register(ADA).await;
    for _ in 0..4 {
        fail_after_the_counts(&faults);
        let failed = stack.reauthenticate(&ada, PASSWORD).await;
        failed.expect_problem(503, "temporarily_unavailable");
        faults.disarm();
    }
    // With the four of which nobody knows, it is the fifth that is counted.
    let wrong = stack.reauthenticate(&ada, WRONG).await;
    wrong.expect_problem(403, "wrong_password");
    for _ in 0..4 {
        let me = stack.get("/v1/me").bearer(&ada.access_token).send().await;
        me.expect(StatusCode::OK);
        stack.advance(TimeDelta::seconds(22));
        let wrong = stack.reauthenticate(&ada, WRONG).await;
        wrong.expect_problem(403, "wrong_password");
    }
    let me = stack.get("/v1/me").bearer(&ada.access_token).send().await;
    me.expect_problem(401, "invalid_token");
}

#[tokio::test(start_paused = true)]
async fn nobody_learns_that_a_password_was_wrong_before_it_is_marked() {
    let (stack, faults) = stack(Limits::default()).await;
    let ada = stack.register(ADA).await;
    for _ in 0..2 {
        fail_after_the_counts(&faults);
        let unmarked = stack.reauthenticate(&ada, WRONG).await;
        unmarked.expect_problem(503, "temporarily_unavailable");
        faults.disarm();
    }
}

#[tokio::test(start_paused = true)]
async fn right_passwords_at_once_do_not_end_their_session() {
    let (stack, _) = stack(Limits::default()).await;
    let ada = stack.register(ADA).await;
    let replies = join_all((0..20).map(|_| stack.reauthenticate(&ada, PASSWORD))).await;
    let (right, stopped): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == 200);
    assert!(right.len() >= 5 && !stopped.is_empty(), "{}", right.len());
    for reply in stopped {
        let reply = reply.expect_problem(429, "too_many_requests");
        assert_eq!(reply.header("retry-after"), Some("1"));
        assert_eq!(reply.header("ratelimit-policy"), Some(r#""passwords";q=5"#));
    }
    let again = stack.reauthenticate(&ada, PASSWORD).await;
    again.expect(StatusCode::OK);
}
