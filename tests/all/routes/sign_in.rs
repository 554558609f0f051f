use chrono::TimeDelta;
use futures::join;
use http::StatusCode;
use latchkey_domain::account::Account;
use latchkey_domain::cause::Action;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::UserId;
use latchkey_tests::attack::faults::{Faults, stack_with};
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack, without_limits};
use serde_json::json;

#[tokio::test]
async fn a_user_signs_in_with_any_case_of_the_address() {
    let stack = Stack::start().await;
    let ada = stack.register("Ada@Example.com").await;
    let again = stack.login("ADA@example.COM").await;
    assert_eq!(again.user_id, ada.user_id);
    assert_ne!(again.session_id, ada.session_id);
    assert_eq!(again.body["user"]["email"], "Ada@Example.com");
}

#[tokio::test]
async fn composed_and_decomposed_passwords_are_the_same() {
    let stack = Stack::start().await;
    let body = json!({"email": "ada@example.com", "password": "pass\u{e9}phrase tree"});
    stack
        .post("/v1/auth/register")
        .json(&body)
        .send()
        .await
        .expect(StatusCode::CREATED);
    let reply = stack
        .try_login("ada@example.com", "passe\u{301}phrase tree")
        .await;
    assert_eq!(reply.status, StatusCode::OK);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_get_the_same_reply_after_the_same_work() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let before = stack.items().await;
    drop(stack.recorder.take());
    let hashed = stack.core.passwords.jobs_done();
    let wrong = stack.try_login("ada@example.com", "another password").await;
    assert_eq!(
        stack.core.passwords.jobs_done(),
        hashed + 1,
        "argon2 has run"
    );
    let calls = |stack: &Stack| -> Vec<String> {
        stack
            .recorder
            .take()
            .into_iter()
            .map(|call| call.operation)
            .collect()
    };
    let work = calls(&stack);
    let hashed = stack.core.passwords.jobs_done();
    let unknown = stack.try_login("bob@example.com", PASSWORD).await;
    assert_eq!(calls(&stack), work);
    assert_eq!(
        stack.core.passwords.jobs_done(),
        hashed + 1,
        "argon2 has run"
    );
    let without_id = |reply: &Reply| {
        let mut body = reply.body.clone();
        body["request_id"] = json!("");
        (
            reply.status,
            reply.headers.get("www-authenticate").cloned(),
            body,
        )
    };
    assert_eq!(without_id(&wrong), without_id(&unknown));
    wrong.expect_problem(401, "invalid_credentials");
    assert_eq!(
        stack.items().await,
        before,
        "a refused request writes counters alone"
    );
}

async fn disable(stack: &Stack, user: UserId) {
    let disabled = stack.change_account(user, Action::Disable, Account::disable);
    disabled.await;
}

#[tokio::test]
async fn a_disabled_account_is_told_so_only_after_the_right_password() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    disable(&stack, ada.user_id.unwrap()).await;
    stack
        .try_login("ada@example.com", "another password")
        .await
        .expect_problem(401, "invalid_credentials");
    stack
        .try_login("ada@example.com", PASSWORD)
        .await
        .expect_problem(403, "account_disabled");
    stack.expect_ended(&ada).await;
}

#[tokio::test]
async fn a_hash_with_older_parameters_is_upgraded_at_sign_in() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    // "correct horse battery staple" with m = 8 MiB, t = 1.
    let old = latchkey_tests::harness::stack::OLD_PARAMETERS_HASH;
    let email = EmailAddress::parse("ada@example.com").unwrap();
    let credential = stack.table().credential("ada@example.com");
    credential.set("password_hash", old).await;
    let before = stack.store.read_credential(&email).await.unwrap().unwrap();
    assert_eq!(before.password_hash.as_phc(), old);
    stack.login("ada@example.com").await;
    let after = stack.store.read_credential(&email).await.unwrap().unwrap();
    assert!(
        after
            .password_hash
            .as_phc()
            .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
    );
    assert_eq!(
        (after.user_id, after.password_version),
        (before.user_id, before.password_version)
    );
    stack.login("ada@example.com").await;
    // The first session stays: nothing about who is signed in has changed.
    stack
        .get("/v1/me")
        .bearer(&ada.access_token)
        .send()
        .await
        .expect(StatusCode::OK);
}

/// A sign-in that has read credential and partition, and is about to write when `meanwhile` happens.
async fn sign_in_around<T>(
    (stack, faults): (&Stack, &Faults),
    meanwhile: impl Future<Output = T>,
) -> (Reply, T) {
    let mut write = faults.hold("TransactWriteItems", 0);
    let meanwhile = async {
        write.arrive().await;
        let happened = meanwhile.await;
        write.release();
        happened
    };
    join!(stack.try_login("ada@example.com", PASSWORD), meanwhile)
}

async fn start_with_faults() -> (Stack, Faults) {
    stack_with(without_limits(), 1, Vec::new()).await
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_judged_by_what_it_read_before_a_password_change_does_not_come_out_live() {
    let (stack, faults) = start_with_faults().await;
    let ada = stack.register("ada@example.com").await;
    let body =
        json!({"current_password": PASSWORD, "new_password": "wrong donkey charger paperclip"});
    let change = stack
        .request(http::Method::PUT, "/v1/me/password")
        .bearer(&ada.access_token)
        .json(&body);
    let (refused, changed) = sign_in_around((&stack, &faults), change.send()).await;
    let changed = SignedIn::from(changed.expect(StatusCode::OK));
    refused.expect_problem(401, "invalid_credentials");
    assert_eq!(stack.session_ids(&changed).await, [changed.session_id]);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_judged_by_what_it_read_before_a_disabling_or_a_deletion_does_not_come_out_live()
{
    let (stack, faults) = start_with_faults().await;
    let ada = stack.register("ada@example.com").await;
    let disabling = disable(&stack, ada.user_id.unwrap());
    let (refused, ()) = sign_in_around((&stack, &faults), disabling).await;
    refused.expect_problem(403, "account_disabled");

    let (stack, faults) = start_with_faults().await;
    let ada = stack.register("ada@example.com").await;
    let delete = stack
        .post("/v1/me/delete")
        .bearer(&ada.access_token)
        .json(&json!({"password": PASSWORD}));
    let (refused, deleted) = sign_in_around((&stack, &faults), delete.send()).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    refused.expect_problem(401, "invalid_credentials");
    assert_eq!(stack.items().await, Vec::<serde_json::Value>::new());
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_under_way_looks_again_after_all_were_revoked_even_if_there_was_nothing_to_revoke()
 {
    let (stack, faults) = start_with_faults().await;
    let ada = stack.register("ada@example.com").await;
    let revoke_all = stack
        .post("/v1/sessions/revoke-all")
        .bearer(&ada.access_token);
    drop(faults.disarm());
    let (signed_in, revoked) = sign_in_around((&stack, &faults), revoke_all.send()).await;
    assert_eq!(revoked.expect(StatusCode::OK), json!({"revoked": 0}));
    signed_in.expect(StatusCode::OK);
    let calls = faults.disarm();
    let calls: Vec<&str> = calls.iter().map(|call| call.0.as_str()).collect();
    let of_the_sign_in = ["GetItem", "Query", "TransactWriteItems"];
    let of_the_revoke_all = ["Query", "UpdateItem"];
    let again = ["Query", "TransactWriteItems"];
    let expected = [&of_the_sign_in[..], &of_the_revoke_all, &again].concat();
    assert_eq!(calls, expected);
}

#[tokio::test(start_paused = true)]
async fn a_session_refreshed_while_another_sign_in_was_under_way_is_not_taken_for_expired() {
    let (stack, faults) = start_with_faults().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(7) - TimeDelta::milliseconds(1));
    // After the sign-in has read it, and before it decides.
    let query = faults.hold("Query", 0);
    let meanwhile = async {
        let query = query.carry_out().await;
        let kept = stack.refresh_session(&ada).await;
        stack.advance(TimeDelta::milliseconds(2));
        query.release();
        kept
    };
    let (signed_in, kept) = join!(stack.try_login("ada@example.com", PASSWORD), meanwhile);
    signed_in.expect(StatusCode::OK);
    let refreshed = stack.refresh(&kept.refresh_token).await;
    refreshed.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_session_refreshed_while_a_purge_was_under_way_is_not_removed() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::days(7) - TimeDelta::milliseconds(1));
    let user = ada.user_id.unwrap();
    let read = stack.store.read_partition(user, stack.now()).await.unwrap();
    let kept = stack.refresh_session(&ada).await;
    stack.advance(TimeDelta::milliseconds(2));
    assert_eq!(stack.store.purge_ended_sessions(user, &read).await, Ok(0));
    stack
        .refresh(&kept.refresh_token)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn a_sign_in_that_finds_no_place_is_told_to_come_back_before_anything_is_read() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let passwords = &stack.core.passwords;
    let taken: Vec<_> = std::iter::from_fn(|| passwords.reserve().ok()).collect();
    assert!(!taken.is_empty());
    let worked = passwords.jobs_done();
    drop(stack.recorder.take());
    let refused = stack.try_login("ada@example.com", PASSWORD).await;
    refused.expect_problem(503, "temporarily_unavailable");
    assert_eq!(stack.recorder.take(), []);
    assert_eq!(passwords.jobs_done(), worked);
    drop(taken);
    stack.login("ada@example.com").await;
}

/// As a restored backup of one item alone may leave it. A client that is told to try again would do so for ever.
#[tokio::test]
async fn a_credential_that_is_not_of_its_accounts_password_is_an_error_of_ours() {
    let stack = Stack::start().await;
    let user = stack.register("ada@example.com").await.user_id.unwrap();
    let credential = stack.table().credential("ada@example.com");
    credential.set("password_version", 7).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let call = stack.post("/v1/auth/login").json(&body);
    expect_error_of_ours(call, "to one of another password", user).await;
}

/// The same where somebody who is signed in gives the password, or opens a link to another address or to a new password. An
/// administrator can delete the account all the same.
#[tokio::test]
async fn an_account_without_a_credential_of_its_password_is_an_error_of_ours() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let link = stack.change_email_token(&ada, "ada@example.org").await;
    let reset = stack.reset_token(user).await;
    let credential = stack.table().credential("ada@example.com");
    credential.set("password_version", 7).await;
    let proof = stack.post("/v1/auth/reauthenticate");
    let proof = proof.bearer(&ada.access_token);
    let opened = stack.post("/v1/auth/verify-email");
    let chosen = stack.post("/v1/auth/password-reset/confirm");
    for call in [
        proof.json(&json!({"password": PASSWORD})),
        opened.json(&json!({"token": link})),
        chosen.json(&json!({"token": reset, "new_password": "wrong donkey charger paperclip"})),
    ] {
        expect_error_of_ours(call, "no credential of its password", user).await;
    }
    let root = stack.administrator("root@example.com").await;
    let delete = stack.delete(&format!("/v1/admin/users/{user}"));
    let deleted = delete.bearer(&root.access_token).send().await;
    deleted.expect(StatusCode::NO_CONTENT);
    let again = json!({"email": "ada@example.com", "password": PASSWORD});
    let again = stack.post("/v1/auth/register").json(&again).send().await;
    again.expect(StatusCode::CREATED);
}

/// The call is a 500, with one line for the operator that says this and whose items they are.
async fn expect_error_of_ours(call: Call<'_>, says: &str, user: UserId) {
    let log = Log::capture();
    let reply = call.send_unchecked().await;
    assert_eq!(
        (reply.status.as_u16(), reply.code()),
        (500, "internal_error")
    );
    let lines = log.end();
    let errors: Vec<&str> = lines
        .lines()
        .filter(|line| line.contains("ERROR"))
        .collect();
    let [error] = errors[..] else {
        panic!("{lines}");
    };
    let names_them = error.contains(says) && error.contains(&user.to_string());
    assert!(names_them, "{error}");
}

/// Each item is of a later version, of nearly the size that DynamoDB takes, and sorts before the sessions.
#[tokio::test]
async fn of_a_partition_that_is_too_large_four_pages_are_read_and_the_sessions_looked_up() {
    let stack = Stack::start().await;
    let ada = stack.administrator("ada@example.com").await;
    let filler = "x".repeat(390_000);
    for number in 0..20 {
        let pk = format!("USER#{}", ada.user_id.unwrap());
        let item = stack.table().item(pk, format!("FILLER#{number}"));
        item.set("filler", filler.as_str()).await;
    }
    let queries = || {
        let calls = stack.recorder.take().into_iter();
        calls.filter(|call| call.operation == "Query").count()
    };
    queries();
    let again = stack.login("ada@example.com").await;
    assert_eq!(queries(), 4);
    let ids = stack.session_ids(&again).await;
    assert_eq!(queries(), 4);
    assert!(ids.contains(&ada.session_id) && ids.contains(&again.session_id));
    let path = format!("/v1/admin/sessions/{}", ada.session_id);
    let shown = stack.get(&path).bearer(&again.access_token).send().await;
    shown.expect(StatusCode::OK);
}
