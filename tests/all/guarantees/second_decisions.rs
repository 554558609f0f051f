//! A change whose first decision was overtaken is decided again, and answered by what its caller asked for. The loser of
//! such a race logs and counts nothing.

use std::time::Duration;

use chrono::TimeDelta;
use futures::join;
use http::StatusCode;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::password::needs_upgrade;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::attack::faults::{
    FIRST_REPLY_LOST, Fault, Faults, cancellation, put_raw, raw_items, stack_with,
};
use latchkey_tests::harness::lambda::{SAMPLE_SECRET, add_sample_client};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{OLD_PARAMETERS_HASH, PASSWORD, Stack};
use serde_json::{Value, json};

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

#[tokio::test(start_paused = true)]
async fn a_revoke_all_whose_reply_is_lost_and_that_a_sign_in_follows_counts_and_logs_its_ends() {
    let (stack, faults) = start().await;
    let keeper = stack.register(ADA).await;
    for _ in 0..3 {
        stack.login(ADA).await;
    }
    let log = Log::capture();
    let request = revoke_all(&stack, &keeper);
    let meanwhile = stack.login(ADA);
    let (revoked, newcomer) = faults
        .before_retry(FIRST_REPLY_LOST, request, meanwhile)
        .await;

    assert_eq!(revoked.expect(StatusCode::OK), json!({"revoked": 3}));
    let lines = log.end();
    assert_eq!(lines.matches("session ended").count(), 3, "{lines}");
    // It signed in after all sessions had ended.
    let mut live = stack.session_ids(&keeper).await;
    live.sort();
    let mut expected = [keeper.session_id, newcomer.session_id];
    expected.sort();
    assert_eq!(live, expected);
}

#[tokio::test(start_paused = true)]
async fn a_revoke_whose_reply_is_lost_and_that_another_follows_logs_its_end_once() {
    let (stack, faults) = start().await;
    let keeper = stack.register(ADA).await;
    let victim = stack.login(ADA).await;
    let log = Log::capture();
    let request = revoke(&stack, &keeper, &victim);
    let meanwhile = revoke_all(&stack, &keeper);
    let (revoked, all) = faults
        .before_retry(FIRST_REPLY_LOST, request, meanwhile)
        .await;

    revoked.expect(StatusCode::NO_CONTENT);
    assert_eq!(all.expect(StatusCode::OK), json!({"revoked": 0}));
    let lines = log.end();
    assert_eq!(lines.matches("session ended").count(), 1, "{lines}");
    assert!(lines.contains("action=\"revoke\""), "{lines}");
}

async fn sign_in_times(stack: &Stack, times: usize) {
    for _ in 0..times {
        stack.login(ADA).await;
    }
}

/// An account remembers its last two changes. Whether an older write was made whose reply was lost cannot be known, and if
/// it was decided again, it might be made twice.
#[tokio::test(start_paused = true)]
async fn a_change_whose_reply_is_lost_and_that_too_many_others_follow_is_not_made_again() {
    for (fault, sign_ins, live) in [
        (Fault::ReplyLost, 2, 3),
        (Fault::SilenceAfterCommit, 2, 3),
        (Fault::InternalServerError, 3, 5),
        (Fault::ConnectionReset, 3, 5),
    ] {
        let (stack, faults) = start().await;
        let keeper = stack.register(ADA).await;
        stack.login(ADA).await;
        let request = revoke_all(&stack, &keeper);
        let others = sign_in_times(&stack, sign_ins);
        let (revoked, ()) = faults.before_retry((fault, 0), request, others).await;
        revoked.expect_problem(503, "temporarily_unavailable");
        assert_eq!(stack.session_ids(&keeper).await.len(), live, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_not_made_for_certain_is_made_after_others() {
    for (fault, sign_ins) in [
        (Fault::InternalServerError, 2),
        (Fault::Throttled, 3),
        (Fault::Conflict, 3),
    ] {
        let (stack, faults) = start().await;
        let keeper = stack.register(ADA).await;
        stack.login(ADA).await;
        let request = revoke_all(&stack, &keeper);
        let others = sign_in_times(&stack, sign_ins);
        let (revoked, ()) = faults.before_retry((fault, 0), request, others).await;
        let ended = json!({"revoked": sign_ins + 1});
        assert_eq!(revoked.expect(StatusCode::OK), ended, "{fault:?}");
        assert_eq!(stack.session_ids(&keeper).await, [keeper.session_id]);
    }
}

/// Whether one session has ended can be seen, so its end is decided again, however many have changed the account since:
/// a stolen session ends, too.
#[tokio::test(start_paused = true)]
async fn the_end_of_one_session_comes_true_though_its_reply_is_lost_and_many_follow() {
    for fault in [Fault::ReplyLost, Fault::InternalServerError] {
        let (stack, faults) = start().await;
        let keeper = stack.register(ADA).await;
        let victim = stack.login(ADA).await;
        let request = revoke(&stack, &keeper, &victim);
        let others = sign_in_times(&stack, 3);
        let (revoked, ()) = faults.before_retry((fault, 0), request, others).await;
        revoked.expect(StatusCode::NO_CONTENT);
        assert_eq!(stack.session_ids(&keeper).await.len(), 4, "{fault:?}");

        let stolen = stack.login(ADA).await;
        stack.advance(TimeDelta::minutes(2));
        stack
            .refresh(&stolen.refresh_token)
            .await
            .expect(StatusCode::OK);
        stack.advance(TimeDelta::minutes(2));
        let replay = stack.refresh(&stolen.refresh_token);
        let others = sign_in_times(&stack, 3);
        let (replayed, ()) = faults.before_retry((fault, 1), replay, others).await;
        replayed.expect_problem(401, "refresh_token_reused");
        assert!(
            !stack
                .session_ids(&keeper)
                .await
                .contains(&stolen.session_id)
        );
    }
}

/// What was refused has done nothing. Here the second decision has ended a session, and before that can be seen, its caller
/// is signed out.
#[tokio::test(start_paused = true)]
async fn a_revoke_all_that_may_have_ended_a_session_is_not_refused() {
    let (stack, faults) = start().await;
    let keeper = stack.register(ADA).await;
    let mut first = faults.hold("UpdateItem", 0);
    let meanwhile = async {
        first.arrive().await;
        let victim = stack.login(ADA).await;
        let mut second = faults.hold("UpdateItem", 0);
        first.release();
        second.arrive().await;
        let written = second.carry_out().await;
        stack.login(ADA).await;
        let other = stack.login(ADA).await;
        let ended = revoke(&stack, &other, &keeper).await;
        ended.expect(StatusCode::NO_CONTENT);
        written.answer_with(500, json!({"__type": "InternalServerError"}));
        victim
    };
    let (revoked, victim) = join!(revoke_all(&stack, &keeper), meanwhile);
    let refused = stack.refresh(&victim.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    revoked.expect_problem(503, "temporarily_unavailable");
}

/// While others change the account, its caller is signed out and what it was to end has ended; but somebody has come in.
#[tokio::test(start_paused = true)]
async fn a_revoke_all_whose_caller_was_signed_out_is_no_success_while_somebody_is_signed_in() {
    for somebody_is_left in [true, false] {
        let (stack, faults) = start().await;
        let keeper = stack.register(ADA).await;
        let victim = stack.login(ADA).await;
        let mut write = faults.hold("UpdateItem", 0);
        let meanwhile = async {
            write.arrive().await;
            let newcomer = stack.login(ADA).await;
            for ended in [&victim, &keeper] {
                let ended = revoke(&stack, &newcomer, ended).await;
                ended.expect(StatusCode::NO_CONTENT);
            }
            if !somebody_is_left {
                log_out(&stack, &newcomer).await;
            }
            write.release();
        };
        let (revoked, ()) = join!(revoke_all(&stack, &keeper), meanwhile);
        if somebody_is_left {
            revoked.expect_problem(401, "invalid_token");
        } else {
            assert_eq!(revoked.expect(StatusCode::OK), json!({"revoked": 0}));
        }
    }
}

/// The same, where it may have ended what it first found: its reply is lost.
#[tokio::test(start_paused = true)]
async fn a_revoke_all_whose_reply_is_lost_is_no_success_while_somebody_is_signed_in() {
    for somebody_is_left in [true, false] {
        let (stack, faults) = start().await;
        let keeper = stack.register(ADA).await;
        stack.login(ADA).await;
        let meanwhile = async {
            let newcomer = stack.login(ADA).await;
            let ended = revoke(&stack, &newcomer, &keeper).await;
            ended.expect(StatusCode::NO_CONTENT);
            if !somebody_is_left {
                log_out(&stack, &newcomer).await;
            }
        };
        let request = revoke_all(&stack, &keeper);
        let (revoked, ()) = faults
            .before_retry(FIRST_REPLY_LOST, request, meanwhile)
            .await;
        if somebody_is_left {
            revoked.expect_problem(503, "temporarily_unavailable");
        } else {
            assert_eq!(revoked.expect(StatusCode::OK), json!({"revoked": 0}));
        }
    }
}

/// A sign-in that is written and whose retry DynamoDB refuses, because it has forgotten the transaction's token, and
/// what is done between the two.
async fn sign_in_that_is_followed_by<T>(
    stack: &Stack,
    faults: &Faults,
    following: impl Future<Output = T>,
) -> (Reply, T) {
    let mut written = faults.hold("TransactWriteItems", 0);
    let meanwhile = async {
        let sent = written.arrive().await;
        let written = written.carry_out().await;
        let done = following.await;
        let items = raw_items(stack);
        let account = items.iter().find(|item| item["sk"]["S"] == "ACCOUNT");
        let failed = json!({"Code": "ConditionalCheckFailed", "Item": account});
        let parts = sent["TransactItems"].as_array().map_or(0, Vec::len);
        written.answer_with(400, cancellation(parts, failed));
        done
    };
    join!(stack.try_login(ADA, PASSWORD), meanwhile)
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_another_change_has_followed_is_answered_only_if_it_still_counts() {
    let (stack, faults) = start().await;
    let keeper = stack.register(ADA).await;
    let (signed_in, other) = sign_in_that_is_followed_by(&stack, &faults, stack.login(ADA)).await;
    let signed_in = SignedIn::from(signed_in.expect(StatusCode::OK));
    for who in [&signed_in, &other] {
        assert_eq!(stack.session_ids(who).await.len(), 3);
    }

    let ending = revoke_all(&stack, &keeper);
    let (signed_in, ended) = sign_in_that_is_followed_by(&stack, &faults, ending).await;
    assert_eq!(ended.expect(StatusCode::OK), json!({"revoked": 3}));
    signed_in.expect_problem(503, "temporarily_unavailable");
}

/// A sign-in replaces an old hash while a link moves the credential: the new address has the new hash.
#[tokio::test(start_paused = true)]
async fn a_new_address_that_was_overtaken_by_a_sign_in_keeps_the_upgraded_hash() {
    let (stack, faults) = start().await;
    let ada = stack.register(ADA).await;
    let old = stack.table().credential(ADA);
    old.set("password_hash", OLD_PARAMETERS_HASH).await;
    let token = stack.change_email_token(&ada, "ada@example.org").await;
    let mut write = faults.hold("TransactWriteItems", 0);
    let meanwhile = async {
        write.arrive().await;
        stack.login(ADA).await;
        write.release();
    };
    let (moved, ()) = join!(stack.verify_email(&token), meanwhile);
    moved.expect(StatusCode::NO_CONTENT);
    let email = EmailAddress::parse("ada@example.org").unwrap();
    let credential = stack.store.read_credential(&email).await.unwrap().unwrap();
    assert!(
        !needs_upgrade(&credential.password_hash),
        "the old hash is back"
    );
    stack.login("ada@example.org").await;
}

fn item_of(stack: &Stack, is_it: impl Fn(&Value) -> bool) -> Value {
    raw_items(stack).into_iter().find(is_it).unwrap()
}

/// DynamoDB need not show all items of a transaction at one moment. Here the credential is for a millisecond as it was before
/// the last change of the account, or not there.
#[tokio::test(start_paused = true)]
async fn what_shows_one_half_of_a_change_is_read_again() {
    let (stack, _) = start().await;
    let user = stack.register(ADA).await.user_id.unwrap();
    let root = stack.administrator("root@example.com").await;
    let reset = stack.reset_token(user).await;
    let credential = || item_of(&stack, |item| item["pk"]["S"] == format!("EMAIL#{ADA}"));
    let show = |item: &Value| assert!(put_raw(&stack, item), "{item}");
    let show_soon = async |item: &Value| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        show(item);
    };
    let whole = credential();
    let mut earlier = whole.clone();
    earlier["password_version"]["N"] = json!("0");

    show(&earlier);
    let (ada, ()) = join!(stack.login(ADA), show_soon(&whole));
    show(&earlier);
    let proof = stack.post("/v1/auth/reauthenticate");
    let proof = proof.bearer(&ada.access_token);
    let proof = proof.json(&json!({"password": PASSWORD}));
    let (proved, ()) = join!(proof.send(), show_soon(&whole));
    proved.expect(StatusCode::OK);
    show(&earlier);
    let new_password = "wrong donkey charger paperclip";
    let chosen = stack.reset_password(&reset, new_password);
    let (chosen, ()) = join!(chosen, show_soon(&whole));
    chosen.expect(StatusCode::NO_CONTENT);

    let whole = credential();
    stack.table().credential(ADA).delete().await;
    let delete = stack.delete(&format!("/v1/admin/users/{user}"));
    let delete = delete.bearer(&root.access_token).send();
    let (deleted, ()) = join!(delete, show_soon(&whole));
    deleted.expect(StatusCode::NO_CONTENT);
    let left = json!(raw_items(&stack)).to_string();
    assert!(!left.contains(ADA), "{left}");
}

/// The same of an identity whose account a query does not show yet: a second account would take its place.
#[tokio::test(start_paused = true)]
async fn an_account_that_a_query_does_not_show_yet_is_not_lost() {
    let (stack, faults) = start().await;
    add_sample_client(stack.client.clone()).await;
    let sign_in = || {
        let identity = json!({"issuer": "https://idp.example.com", "subject": "ada"});
        let call = stack.post("/v1/service/sessions");
        let call = call.basic("orders-api", SAMPLE_SECRET);
        call.json(&json!({"identity": identity, "amr": ["pwd"]}))
            .send()
    };
    let first = SignedIn::from(sign_in().await.expect(StatusCode::CREATED));
    let user = first.user_id.unwrap();
    let account = item_of(&stack, |item| {
        item["pk"]["S"] == format!("USER#{user}") && item["sk"]["S"] == "ACCOUNT"
    });
    stack.table().account(user).delete().await;
    // After the client and the identity.
    let mut looked_up = faults.hold("GetItem", 2);
    let meanwhile = async {
        looked_up.arrive().await;
        assert!(put_raw(&stack, &account), "{account}");
        looked_up.release();
    };
    let (again, ()) = join!(sign_in(), meanwhile);
    let again = SignedIn::from(again.expect(StatusCode::CREATED));
    assert_eq!(again.user_id, first.user_id);
}
