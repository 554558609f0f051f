//! A change whose first decision was overtaken is decided again, and answered by what its caller asked for. The loser of
//! such a race logs and counts nothing.

use futures::join;
use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::attack::faults::{Faults, stack_with};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::Stack;
use serde_json::json;

const ADA: &str = "ada@example.com";

async fn start() -> (Stack, Faults) {
    stack_with(SessionPolicy::default(), 1, Vec::new()).await
}

async fn revoke(stack: &Stack, by: &SignedIn, target: &SignedIn) -> Reply {
    let path = format!("/v1/sessions/{}", target.session_id);
    stack.delete(&path).bearer(&by.access_token).send().await
}

async fn revoke_all(stack: &Stack, by: &SignedIn) -> Reply {
    let call = stack.post("/v1/sessions/revoke-all");
    call.bearer(&by.access_token).send().await
}

async fn log_out(stack: &Stack, who: &SignedIn) {
    let body = json!({"refresh_token": who.refresh_token});
    let reply = stack.post("/v1/auth/logout").json(&body).send().await;
    reply.expect(StatusCode::NO_CONTENT);
}

#[tokio::test(start_paused = true)]
async fn a_revoke_whose_target_has_ended_meanwhile_is_a_success_that_logs_nothing() {
    let (stack, faults) = start().await;
    let keeper = stack.register(ADA).await;
    let victim = stack.login(ADA).await;
    let log = Log::capture();
    let mut write = faults.hold("UpdateItem", 0);
    let meanwhile = async {
        write.arrive().await;
        log_out(&stack, &victim).await;
        write.release();
    };
    let (revoked, ()) = join!(revoke(&stack, &keeper, &victim), meanwhile);
    revoked.expect(StatusCode::NO_CONTENT);
    let lines = log.end();
    assert_eq!(lines.matches("session ended").count(), 1, "{lines}");
    assert!(lines.contains("logged_out"), "{lines}");
    // Who decides on a fresh read finds no such session.
    let refused = revoke(&stack, &keeper, &victim).await;
    refused.expect_problem(404, "session_not_found");
}

#[tokio::test(start_paused = true)]
async fn a_revoke_all_that_was_overtaken_by_a_sign_in_ends_that_session_too() {
    let (stack, faults) = start().await;
    let keeper = stack.register(ADA).await;
    let mut write = faults.hold("UpdateItem", 0);
    let meanwhile = async {
        write.arrive().await;
        let newcomer = stack.login(ADA).await;
        write.release();
        newcomer
    };
    let (revoked, newcomer) = join!(revoke_all(&stack, &keeper), meanwhile);
    assert_eq!(revoked.expect(StatusCode::OK), json!({"revoked": 1}));
    assert_eq!(stack.session_ids(&keeper).await, [keeper.session_id]);
    let refused = stack.refresh(&newcomer.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test(start_paused = true)]
async fn of_two_revoke_alls_at_once_each_session_is_counted_once() {
    let (stack, faults) = start().await;
    let keeper = stack.register(ADA).await;
    for _ in 0..5 {
        stack.login(ADA).await;
    }
    let log = Log::capture();
    let mut write = faults.hold("UpdateItem", 0);
    let meanwhile = async {
        write.arrive().await;
        let faster = revoke_all(&stack, &keeper).await;
        write.release();
        faster
    };
    let (slower, faster) = join!(revoke_all(&stack, &keeper), meanwhile);
    assert_eq!(faster.expect(StatusCode::OK), json!({"revoked": 5}));
    assert_eq!(slower.expect(StatusCode::OK), json!({"revoked": 0}));
    let lines = log.end();
    assert_eq!(lines.matches("session ended").count(), 5, "{lines}");
}
