//! Passwords that are given on a session: counted before they are checked, and the fifth wrong one ends the session.

use futures::future::join_all;
use http::{Method, StatusCode};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::throttle::Limits;
use latchkey_tests::attack::faults::{Fault, Plan, Strikes, stack_with};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack, without_limits};
use serde_json::json;

const ADA: &str = "ada@example.com";
const WRONG: &str = "not the password at all";
const NEW: &str = "wrong donkey charger paperclip";

async fn me(stack: &Stack, who: &SignedIn) -> Reply {
    stack.get("/v1/me").bearer(&who.access_token).send().await
}

async fn new_address(stack: &Stack, who: &SignedIn, password: &str) -> Reply {
    let change = stack.request(Method::PUT, "/v1/me/email");
    let change = change.bearer(&who.access_token);
    let body = json!({"email": "ada@example.org", "password": password});
    change.json(&body).send().await
}

#[tokio::test]
async fn the_fifth_wrong_password_ends_that_session_and_no_other() {
    let stack = Stack::start().await;
    let laptop = stack.register(ADA).await;
    let phone = stack.login(ADA).await;
    for attempt in 1..=5 {
        me(&stack, &laptop).await.expect(StatusCode::OK);
        // All routes count together.
        let reply = match attempt % 3 {
            0 => stack.delete_account(&laptop, WRONG).await,
            1 => stack.change_password(&laptop, WRONG, NEW).await,
            _ => new_address(&stack, &laptop, WRONG).await,
        };
        reply.expect_problem(403, "wrong_password");
    }
    let gone = me(&stack, &laptop).await;
    gone.expect_problem(401, "invalid_token");
    let gone = stack.refresh(&laptop.refresh_token).await;
    gone.expect_problem(401, "invalid_refresh_token");
    me(&stack, &phone).await.expect(StatusCode::OK);
    assert_eq!(stack.session_ids(&phone).await, [phone.session_id]);
}

#[tokio::test]
async fn the_access_token_of_an_ended_session_costs_no_hash() {
    let stack = Stack::start().await;
    let keeper = stack.register(ADA).await;
    let ended = stack.login(ADA).await;
    let revoke = stack.post("/v1/sessions/revoke-all");
    let revoke = revoke.bearer(&keeper.access_token).send().await;
    revoke.expect(StatusCode::OK);
    let worked = stack.core.passwords.jobs_done();
    let change = stack.change_password(&ended, PASSWORD, NEW).await;
    change.expect_problem(401, "invalid_token");
    let delete = stack.delete_account(&ended, PASSWORD).await;
    delete.expect_problem(401, "invalid_token");
    assert_eq!(stack.core.passwords.jobs_done(), worked);
}

#[tokio::test]
async fn of_many_guesses_at_once_five_are_checked() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let log = Log::capture();
    let worked = stack.core.passwords.jobs_done();
    let guesses = (0..20).map(|_| stack.delete_account(&ada, WRONG));
    let replies = join_all(guesses).await;
    let checked = replies.iter().filter(|reply| reply.status == 403).count();
    assert_eq!(checked, 5);
    assert_eq!(stack.core.passwords.jobs_done() - worked, 5);
    // The others came before the five were judged, or after the session had ended.
    let refused = |reply: &&Reply| [401, 429].contains(&reply.status.as_u16());
    assert_eq!(checked + replies.iter().filter(refused).count(), 20);
    let log = log.end();
    assert_eq!(log.matches("session ended").count(), 1, "{log}");
    assert!(log.contains("wrong_password"), "{log}");
}

#[tokio::test]
async fn the_right_password_forgives_what_came_before_it() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    for _ in 0..3 {
        for _ in 0..4 {
            let wrong = stack.change_password(&ada, WRONG, NEW).await;
            wrong.expect_problem(403, "wrong_password");
        }
        // Right, but of no use: nothing ends.
        let unchanged = stack.change_password(&ada, PASSWORD, PASSWORD).await;
        unchanged.expect_problem(422, "password_unchanged");
    }
    stack
        .delete_account(&ada, PASSWORD)
        .await
        .expect(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_right_password_is_none_of_the_five_wrong_ones() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    // The first password on this session is the right one.
    let unchanged = stack.change_password(&ada, PASSWORD, PASSWORD).await;
    unchanged.expect_problem(422, "password_unchanged");
    for _ in 0..4 {
        let wrong = stack.delete_account(&ada, WRONG).await;
        wrong.expect_problem(403, "wrong_password");
    }
    me(&stack, &ada).await.expect(StatusCode::OK);
    let changed = stack.change_password(&ada, PASSWORD, NEW).await;
    changed.expect(StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_password_that_could_not_be_checked_is_not_counted() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let ada = stack.register(ADA).await;
    for _ in 0..8 {
        // The account cannot be read, while the password is counted.
        faults.arm(Plan {
            fault: Fault::InternalServerError,
            operation: "Query".to_owned(),
            nth: 0,
            strikes: Strikes::Always,
        });
        let failed = stack.delete_account(&ada, PASSWORD).await;
        failed.expect_problem(503, "temporarily_unavailable");
        faults.disarm();
    }
    let deleted = stack.delete_account(&ada, PASSWORD).await;
    deleted.expect(StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn the_fifth_password_is_checked_though_the_reply_of_its_count_is_lost() {
    // Nothing is counted for the address, so that the first update is the count of the password.
    let limits = Limits {
        address_attempts: 0,
        ..Limits::default()
    };
    let policy = SessionPolicy {
        limits,
        ..SessionPolicy::default()
    };
    let (stack, faults) = stack_with(policy, 1, Vec::new()).await;
    let ada = stack.register(ADA).await;
    for _ in 0..4 {
        let wrong = stack.delete_account(&ada, WRONG).await;
        wrong.expect_problem(403, "wrong_password");
    }
    faults.disarm();
    faults.arm_sequence("UpdateItem", &[Fault::ReplyLost]);
    let deleted = stack.delete_account(&ada, PASSWORD).await;
    deleted.expect(StatusCode::NO_CONTENT);
    let calls = faults.disarm().into_iter();
    let counts = calls.filter(|(_, request)| request.to_string().contains(":attempt"));
    assert_eq!(counts.count(), 2, "the count was sent again");
}

#[tokio::test]
async fn two_hundred_password_changes_leave_a_partition_small() {
    let stack = Stack::with_policy(without_limits()).await;
    let mut ada = stack.register(ADA).await;
    let passwords = [PASSWORD, NEW];
    for n in 0..200 {
        // Now and then another device, whose session ends by the next change.
        if n % 5 == 0 {
            stack
                .try_login(ADA, passwords[n % 2])
                .await
                .expect(StatusCode::OK);
        }
        let reply = stack
            .change_password(&ada, passwords[n % 2], passwords[(n + 1) % 2])
            .await;
        ada = SignedIn::from(reply.expect(StatusCode::OK));
    }
    let items = stack.items().await;
    let sessions = items
        .iter()
        .filter(|item| {
            item["sk"]
                .as_str()
                .is_some_and(|sk| sk.starts_with("SESSION#"))
        })
        .count();
    // The live one, and as many ended ones as are kept.
    assert_eq!(sessions, 21);
    assert_eq!(stack.session_ids(&ada).await, [ada.session_id]);
}
