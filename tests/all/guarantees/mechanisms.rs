//! Mechanisms that only count when two requests meet in one order: each test forces the order that needs its mechanism.
//!
//! When one of these mechanisms is taken out of the code, its test fails. The orders are made at the connector to
//! DynamoDB ([`Faults::hold`](latchkey_tests::attack::faults::Faults::hold)), so the tests know the routes only.

use std::time::Duration;

use chrono::TimeDelta;
use futures::join;
use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::attack::faults::{Fault, Faults, raw_items, stack_with};
use latchkey_tests::attack::forgery::read_part;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};

const MILLISECOND: TimeDelta = TimeDelta::milliseconds(1);
const ADA: &str = "ada@example.com";

async fn start() -> (Stack, Faults) {
    stack_with(SessionPolicy::default(), 1, Vec::new()).await
}

async fn purge(stack: &Stack, who: &SignedIn) -> Reply {
    let purge = stack.delete("/v1/sessions/expired");
    purge.bearer(&who.access_token).send().await
}

/// The session items of the table, as DynamoDB writes them.
fn session_items(stack: &Stack) -> Vec<Value> {
    let mut items = raw_items(stack);
    items.retain(is_session);
    items
}

fn is_session(item: &Value) -> bool {
    let sort_key = item["sk"]["S"].as_str();
    sort_key.is_some_and(|key| key.starts_with("SESSION#"))
}

/// The reply to a query of a whole partition, with other session items.
fn with_sessions(mut reply: Value, sessions: Vec<Value>) -> Value {
    let items = reply["Items"].as_array_mut().unwrap();
    items.retain(|item| !is_session(item));
    assert_eq!(items.len(), 1, "the account");
    items.extend(sessions);
    let count = items.len();
    reply["Count"] = json!(count);
    reply["ScannedCount"] = json!(count);
    reply
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_does_not_trim_a_session_that_was_refreshed_after_it_had_read_it() {
    let (stack, faults) = start().await;
    let oldest = stack.register(ADA).await;
    // One more ended session than a partition keeps, so that the next sign-in trims.
    for _ in 0..21 {
        stack.advance(TimeDelta::seconds(1));
        let short = stack.login(ADA).await;
        let logout = json!({"refresh_token": short.refresh_token});
        let reply = stack.post("/v1/auth/logout").json(&logout).send().await;
        reply.expect(StatusCode::NO_CONTENT);
    }
    stack.advance(TimeDelta::days(7) - TimeDelta::seconds(21) - MILLISECOND);

    let query = faults.hold("Query", 0);
    let meanwhile = async {
        let query = query.carry_out().await;
        let refreshed = stack.refresh_session(&oldest).await;
        stack.advance(MILLISECOND * 2);
        query.release();
        refreshed
    };
    let (newest, refreshed) = join!(stack.login(ADA), meanwhile);

    stack.refresh_session(&refreshed).await;
    stack.refresh_session(&newest).await;
    assert_eq!(session_items(&stack).len(), 22, "20 ended and 2 live");
}

#[tokio::test(start_paused = true)]
async fn a_decision_keeps_its_client_request_token_however_often_it_meets_a_conflict() {
    let (stack, faults) = start().await;
    stack.register(ADA).await;
    let mut decisions = Vec::new();
    // The store repeats the first kind, the SDK the second, and the store again once the SDK gives up.
    for conflict in [Fault::CanceledByConflict, Fault::InProgress] {
        faults.arm_sequence("TransactWriteItems", &[conflict; 4]);
        stack.login(ADA).await;
        let mut tokens: Vec<Value> = faults
            .disarm()
            .into_iter()
            .filter(|(operation, _)| operation == "TransactWriteItems")
            .map(|(_, request)| request["ClientRequestToken"].clone())
            .collect();
        assert_eq!(tokens.len(), 5, "{conflict:?}");
        tokens.dedup();
        assert_eq!(tokens.len(), 1, "{conflict:?}: {tokens:?}");
        assert!(tokens[0].is_string(), "{tokens:?}");
        decisions.extend(tokens);
    }
    assert_ne!(
        decisions[0], decisions[1],
        "another decision, another token"
    );
}

#[tokio::test(start_paused = true)]
async fn a_purge_does_not_remove_an_expired_session_that_a_slower_clock_has_refreshed_since() {
    let (stack, faults) = start().await;
    let laptop = stack.register(ADA).await;
    stack.advance(TimeDelta::days(7) - TimeDelta::minutes(1));
    let phone = stack.login(ADA).await;
    stack.advance(TimeDelta::minutes(1));

    let query = faults.hold("Query", 0);
    let meanwhile = async {
        let query = query.carry_out().await;
        // The machine that refreshes is one millisecond behind, so the session has not expired yet.
        stack.advance(-MILLISECOND);
        let refreshed = stack.refresh_session(&laptop).await;
        stack.advance(MILLISECOND);
        query.release();
        refreshed
    };
    let (purged, refreshed) = join!(purge(&stack, &phone), meanwhile);

    assert_eq!(purged.expect(StatusCode::OK), json!({"removed": 0}));
    stack.refresh_session(&refreshed).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_while_dynamodb_is_slow_does_not_save_a_reused_session() {
    let (stack, faults) = start().await;
    let stolen = stack.register(ADA).await;
    let refreshed = stack.refresh_session(&stolen).await;
    stack.advance(TimeDelta::minutes(1));

    // The first update is the refused rotation, the second ends the session.
    let mut ending = faults.hold("UpdateItem", 1);
    tokio::select! {
        reply = stack.refresh(&stolen.refresh_token) => panic!("it was answered: {reply:?}"),
        // The other branch is dropped: the caller hangs up.
        update = ending.arrive() => assert_eq!(update["Key"]["sk"]["S"], "ACCOUNT", "{update}"),
    }
    ending.release();
    // Tokio's clock is paused: it moves once every task has done what it can.
    tokio::time::sleep(Duration::from_secs(1)).await;

    let after = stack.refresh(&refreshed.refresh_token).await;
    after.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test(start_paused = true)]
async fn a_purge_does_not_remove_a_session_that_was_admitted_while_its_query_ran() {
    let (stack, faults) = start().await;
    let laptop = stack.register(ADA).await;

    let query = faults.hold("Query", 0);
    let meanwhile = async {
        let query = query.carry_out().await;
        let phone = stack.login(ADA).await;
        // A query reads item by item: the account as it was before the sign-in, the sessions as they are after it.
        let mixed = with_sessions(query.reply.clone(), session_items(&stack));
        query.answer(mixed);
        phone
    };
    let (purged, phone) = join!(purge(&stack, &laptop), meanwhile);

    assert_eq!(purged.expect(StatusCode::OK), json!({"removed": 0}));
    stack.refresh_session(&phone).await;
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_keeps_a_session_whose_item_its_query_did_not_show() {
    let (stack, faults) = start().await;
    let laptop = stack.register(ADA).await;

    let query = faults.hold("Query", 0);
    let meanwhile = async {
        let query = query.carry_out().await;
        let without_items = with_sessions(query.reply.clone(), Vec::new());
        query.answer(without_items);
    };
    let (phone, ()) = join!(stack.try_login(ADA, PASSWORD), meanwhile);

    let phone = SignedIn::from(phone.expect(StatusCode::OK));
    stack.refresh_session(&laptop).await;
    assert_eq!(stack.session_ids(&phone).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_ended_though_the_query_did_not_show_its_item() {
    let (stack, faults) = start().await;
    let laptop = stack.register(ADA).await;
    let phone = stack.login(ADA).await;

    let query = faults.hold("Query", 0);
    let meanwhile = async {
        let query = query.carry_out().await;
        let without_items = with_sessions(query.reply.clone(), Vec::new());
        query.answer(without_items);
    };
    let path = format!("/v1/sessions/{}", laptop.session_id);
    let revoke = stack.delete(&path).bearer(&phone.access_token);
    let (revoked, ()) = join!(revoke.send(), meanwhile);

    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    stack.expect_ended(&laptop).await;
}

fn rotation(who: &SignedIn) -> Value {
    read_part(&who.refresh_token, 1)["jti"].take()
}

#[tokio::test(start_paused = true)]
async fn a_reauthentication_that_a_refresh_has_overtaken_gives_the_refreshs_token() {
    let (stack, faults) = start().await;
    let ada = stack.register(ADA).await;

    // Two updates count the address and the password, the third one is the proof.
    let proof = faults.hold("UpdateItem", 2);
    let meanwhile = async {
        let mut proof = proof;
        let sent = proof.arrive().await;
        assert!(sent.to_string().contains("authenticated_at"), "{sent}");
        let refreshed = [
            stack.refresh_session(&ada).await,
            stack.refresh_session(&ada).await,
        ];
        proof.release();
        refreshed
    };
    let (proved, refreshed) = join!(stack.reauthenticate(&ada, PASSWORD), meanwhile);

    let proved = SignedIn::from(proved.expect(StatusCode::OK));
    for refreshed in refreshed {
        assert_eq!(rotation(&refreshed), rotation(&proved));
        assert_eq!(refreshed.refresh_token, proved.refresh_token);
    }
    let auth_time = &read_part(&proved.access_token, 1)["auth_time"];
    assert_eq!(*auth_time, stack.now().timestamp());
    stack.pass_interval();
    stack.refresh_session(&proved).await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_a_reauthentication_has_overtaken_gets_its_token() {
    let (stack, faults) = start().await;
    let ada = stack.register(ADA).await;

    let rotation_held = faults.hold("UpdateItem", 0);
    let meanwhile = async {
        let mut held = rotation_held;
        held.arrive().await;
        let proved = stack.reauthenticate(&ada, PASSWORD).await;
        held.release();
        SignedIn::from(proved.expect(StatusCode::OK))
    };
    let (refreshed, proved) = join!(stack.refresh_session(&ada), meanwhile);

    assert_eq!(refreshed.refresh_token, proved.refresh_token);
    stack.pass_interval();
    stack.refresh_session(&refreshed).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_its_password_is_checked_is_not_proved() {
    let (stack, faults) = start().await;
    let ada = stack.register(ADA).await;
    let phone = stack.login(ADA).await;

    // The first read of the credential follows that of the account: both show a session that lives.
    let credential = faults.hold("GetItem", 0);
    let meanwhile = async {
        let credential = credential.carry_out().await;
        let revoke_all = stack.post("/v1/sessions/revoke-all");
        let revoked = revoke_all.bearer(&phone.access_token).send().await;
        revoked.expect(StatusCode::OK);
        credential.release();
    };
    let (proved, ()) = join!(stack.reauthenticate(&ada, PASSWORD), meanwhile);

    proved.expect_problem(401, "invalid_token");
}
