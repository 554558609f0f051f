//! Guarantee 2 as an attack: two people hold the refresh tokens of one session, and however they time their refreshes,
//! the session ends as soon as a token comes back that was replaced more than the grace ago.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::harness::dynamodb::Cost;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::metering::{Lines, extract, recorder};
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::Stack;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

/// Somebody who holds a refresh token of a session: its owner, another tab, or a thief.
#[derive(Clone)]
struct Holder {
    token: String,
}

impl Holder {
    fn of(signed_in: &SignedIn) -> Self {
        Self {
            token: signed_in.refresh_token.clone(),
        }
    }

    fn rotation(&self) -> u64 {
        use base64::Engine as _;
        let payload = self.token.split('.').nth(1).unwrap();
        let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload);
        let claims: serde_json::Value = serde_json::from_slice(&payload.unwrap()).unwrap();
        let (_, rotation) = claims["jti"].as_str().unwrap().rsplit_once('.').unwrap();
        rotation.parse().unwrap()
    }

    /// Refreshes, and keeps the token of the reply.
    async fn refresh(&mut self, stack: &Stack) -> Reply {
        let reply = stack.refresh(&self.token).await;
        if let Some(token) = reply.body["refresh_token"].as_str() {
            token.clone_into(&mut self.token);
        }
        reply
    }
}

async fn is_admitted(stack: &Stack, user: UserId, session: SessionId) -> bool {
    let account = stack.store.read_account(user).await.unwrap().unwrap();
    account.sessions.contains(&session)
}

/// More than two intervals.
const EDGE: TimeDelta = TimeDelta::seconds(80);

/// When somebody refreshes who does so every so often: in the first and the last 80 seconds each time, between them
/// every 12 hours. An answer depends on the item as it is, so the refreshes that are left out would change nothing.
fn moments(every: TimeDelta, until: TimeDelta) -> Vec<TimeDelta> {
    let mut moments = Vec::new();
    let mut moment = every;
    while moment < until {
        moments.push(moment);
        let next = moment + every;
        moment = if next > EDGE && next + TimeDelta::hours(12) < until - EDGE {
            next + TimeDelta::hours(12)
        } else if next > EDGE && next < until - EDGE {
            until - EDGE
        } else {
            next
        };
    }
    moments
}

/// One of two holders refreshes every so often while the other is away, then returns and refreshes every 15 minutes.
/// The server cannot tell which of them is the thief.
async fn is_noticed(rotations_before: u64, every: TimeDelta, away: TimeDelta) {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let lines = Lines::default();
    let stack = lines.of(Stack::start().await, &emf);
    let laptop = stack.register("ada@example.com").await;
    let phone = stack.login("ada@example.com").await;
    let (user, mut phone_holder) = (laptop.user_id.unwrap(), Holder::of(&phone));
    let mut busy = Holder::of(&laptop);
    for _ in 0..rotations_before {
        busy.refresh(&stack).await.expect(StatusCode::OK);
        stack.pass_interval();
    }
    assert_eq!(busy.rotation(), rotations_before);
    let mut returning = busy.clone();
    let stolen_at = stack.now();
    let wait_until = |moment: DateTime<Utc>| stack.advance(moment - stack.now());

    for moment in moments(every, away) {
        wait_until(stolen_at + moment);
        busy.refresh(&stack).await.expect(StatusCode::OK);
        if moment > EDGE {
            phone_holder.refresh(&stack).await.expect(StatusCode::OK);
        }
    }
    wait_until(stolen_at + away);
    drop(lines.take());
    let log = Log::capture();
    let mut reply = returning.refresh(&stack).await;
    if reply.status == StatusCode::OK {
        // Within the grace of the latest rotation, so both hold the same token now. It cannot stay so.
        assert_eq!(returning.token, busy.token);
        let returned_at = stack.now();
        for moment in moments(every, TimeDelta::minutes(15)) {
            wait_until(returned_at + moment);
            busy.refresh(&stack).await.expect(StatusCode::OK);
        }
        wait_until(returned_at + TimeDelta::minutes(15));
        reply = returning.refresh(&stack).await;
    }
    reply.expect_problem(401, "refresh_token_reused");
    let log = log.end();
    let ends: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("session ended"))
        .collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert!(ends[0].contains(r#"reason="token_reuse""#), "{ends:?}");
    // Though the end is a separate task, its line is found by the request.
    assert!(ends[0].contains("request_id="), "{ends:?}");
    assert!(ends[0].contains(&laptop.session_id.to_string()), "{ends:?}");
    let counted = lines.take();
    let alarms = counted
        .iter()
        .filter_map(|line| extract(line).remove("TokenReuse"));
    assert_eq!(alarms.sum::<f64>(), 1.0, "the alarm rings once");

    busy.refresh(&stack)
        .await
        .expect_problem(401, "invalid_refresh_token");
    assert!(!is_admitted(&stack, user, laptop.session_id).await);
    assert!(is_admitted(&stack, user, phone.session_id).await);
    phone_holder.refresh(&stack).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_thief_who_keeps_refreshing_is_noticed_when_the_owner_returns() {
    for every in [1, 25, 31] {
        for away in [
            TimeDelta::minutes(1),
            TimeDelta::hours(1),
            TimeDelta::weeks(1) - seconds(1),
            TimeDelta::weeks(3), // Its own token has expired, but the session lives.
        ] {
            is_noticed(0, seconds(every), away).await;
        }
    }
}

#[tokio::test]
async fn a_thief_who_returns_later_is_noticed_while_the_owner_keeps_refreshing() {
    for every in [1, 25, 31, 900] {
        for away in [
            TimeDelta::minutes(20),
            TimeDelta::hours(1),
            TimeDelta::weeks(1) - seconds(1),
            TimeDelta::weeks(3),
        ] {
            is_noticed(3, seconds(every), away).await;
        }
    }
}

/// Tabs of one browser refresh by turns through two instances whose clocks differ; and each reply is lost once and asked
/// for again at the other instance. By its clock that is at most the grace after the rotation.
async fn signs_nobody_out(ahead: TimeDelta) {
    let one = Stack::start().await;
    let ada = one.register("ada@example.com").await;
    let other = one.clone().with_clock_ahead(ahead);
    let wait = |time: TimeDelta| {
        one.advance(time);
        other.advance(time);
    };
    let mut tabs = Holder::of(&ada);
    for gap in [1, 5, 24, 25, 26, 29, 30, 31, 34, 35, 36, 39, 40, 41] {
        for late in [0, 1, 24, 25] {
            for [instance, its_peer] in [[&one, &other], [&other, &one]] {
                wait(seconds(gap));
                let before = tabs.rotation();
                let mut lost = tabs.clone();
                lost.refresh(instance).await.expect(StatusCode::OK);
                wait(seconds(late));
                tabs.refresh(its_peer).await.expect(StatusCode::OK);
                assert!(tabs.rotation() <= before + 1, "{gap} s, {late} s");
                assert!(tabs.rotation() >= lost.rotation(), "{gap} s, {late} s");
            }
        }
    }
    assert!(is_admitted(&one, ada.user_id.unwrap(), ada.session_id).await);
    assert!(tabs.rotation() > 50, "they did rotate");
}

#[tokio::test]
async fn two_clocks_that_are_five_seconds_apart_sign_nobody_out() {
    signs_nobody_out(seconds(5)).await;
    signs_nobody_out(seconds(-5)).await;
}

#[tokio::test]
async fn a_refresh_loop_costs_one_write_unit_each_and_one_rotation_per_interval() {
    let stack = Stack::start().await;
    let mut looping = Holder::of(&stack.register("ada@example.com").await);
    for second in 0..=350 {
        drop(stack.recorder.take());
        looping.refresh(&stack).await.expect(StatusCode::OK);
        let cost = Cost {
            trips: 1,
            write_units: 1.0,
            read_units: 1.0,
        };
        assert_eq!(stack.recorder.take_cost(), cost);
        // The first rotation may come at once.
        assert_eq!(looping.rotation(), 1 + second / 35, "after {second} s");
        stack.advance(seconds(1));
    }
}

/// Waits around everything that the rule compares with.
fn wait() -> impl Strategy<Value = TimeDelta> {
    let around = |middle: i64| middle - 1_500..=middle + 1_500;
    let millis = prop_oneof![
        4 => 0..2_000_i64,
        3 => 2_000..28_500_i64,
        3 => around(30_000),
        4 => around(35_000),
        2 => 36_000..400_000_i64,
        1 => 400_000..80_000_000_i64,
    ];
    millis.prop_map(TimeDelta::milliseconds)
}

/// Holders of one session's tokens refresh by turns, each with the token that they got last. Whoever presents one that
/// was replaced more than the grace ago ends the session, and nobody else does.
async fn reuse_ends_it_and_nothing_else(grace: TimeDelta, turns: Vec<(usize, TimeDelta)>) {
    let policy = SessionPolicy {
        refresh_grace: grace,
        ..SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    let laptop = stack.register("ada@example.com").await;
    let phone = stack.login("ada@example.com").await;
    let user = laptop.user_id.unwrap();
    let mut holders = vec![Holder::of(&laptop); 3];
    let mut replaced_at: BTreeMap<u64, DateTime<Utc>> = BTreeMap::new();
    for (who, wait) in turns {
        stack.advance(wait);
        let presented = holders[who].rotation();
        let reply = holders[who].refresh(&stack).await;
        let is_reuse = replaced_at
            .get(&presented)
            .is_some_and(|replaced| stack.now() - *replaced > grace);
        assert_eq!(
            is_admitted(&stack, user, laptop.session_id).await,
            !is_reuse,
            "rotation {presented} at {}, {replaced_at:?}",
            stack.now()
        );
        assert!(is_admitted(&stack, user, phone.session_id).await);
        if is_reuse {
            reply.expect_problem(401, "refresh_token_reused");
            for holder in &mut holders {
                let reply = holder.refresh(&stack).await;
                reply.expect_problem(401, "invalid_refresh_token");
            }
            return;
        }
        reply.expect(StatusCode::OK);
        let holds = holders[who].rotation();
        assert!(holds == presented || holds == presented + 1);
        if holds > presented {
            replaced_at.entry(presented).or_insert(stack.now());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/proptest-regressions/theft.txt"
        )))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_token_that_was_replaced_more_than_the_grace_ago_ends_its_session_and_no_other_does(
        grace in select(vec![30, 30, 1, 300]),
        turns in proptest::collection::vec((0..3_usize, wait()), 1..=30),
    ) {
        // All waits together are shorter than the absolute expiry.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(reuse_ends_it_and_nothing_else(seconds(grace), turns));
    }
}

#[tokio::test]
async fn an_expired_token_that_was_replaced_a_moment_ago_opens_nothing_and_ends_nothing() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::weeks(1) - seconds(1));
    let mut newest = Holder::of(&ada);
    newest.refresh(&stack).await.expect(StatusCode::OK);
    stack.advance(seconds(1));
    drop(stack.recorder.take());
    let reply = stack.refresh(&ada.refresh_token).await;
    reply.expect_problem(401, "invalid_refresh_token");
    let cost = stack.recorder.take_cost();
    assert_eq!((cost.trips, cost.write_units), (1, 0.0));
    assert!(is_admitted(&stack, ada.user_id.unwrap(), ada.session_id).await);
}
