//! Links: resetting a password, verifying an address, another address, and registration that waits for a link.

use chrono::TimeDelta;
use futures::future::join_all;
use http::StatusCode;
use latchkey_domain::administration::AdminAct;
use latchkey_domain::cause::{Action, Actor};
use latchkey_domain::client::ClientScope;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack, without_limits};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const NEW: &str = "wrong donkey charger paperclip";

/// The events of a type that the stream tells, from its beginning.
pub(crate) async fn told(stack: &Stack, event_type: &str) -> Vec<Value> {
    let mut stream = stack.stream();
    stream.drain().await;
    let mut events = stream.bus.taken();
    events.retain(|event| event["type"] == event_type);
    events
}

fn without_request_id(mut reply: Reply) -> Value {
    if let Some(body) = reply.body.as_object_mut() {
        body.remove("request_id");
    }
    json!([reply.status.as_u16(), reply.body])
}

async fn shown(stack: &Stack, who: &SignedIn) -> Value {
    let call = stack.get("/v1/me").bearer(&who.access_token);
    call.send().await.expect(StatusCode::OK)
}

pub(crate) fn requiring_verified_email() -> SessionPolicy {
    SessionPolicy {
        require_verified_email: true,
        ..SessionPolicy::default()
    }
}

#[tokio::test]
async fn a_reset_ends_all_sessions_verifies_the_address_and_signs_nobody_in() {
    let stack = Stack::start().await;
    let one = stack.register(ADA).await;
    let two = stack.login(ADA).await;
    let user = one.user_id.unwrap();
    assert_eq!(shown(&stack, &one).await["email_verified"], false);
    let reply = stack.request_password_reset("ADA@example.com").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    assert!(reply.bytes.is_empty());
    let [requested] = &told(&stack, "password_reset.requested").await[..] else {
        panic!("one event");
    };
    let data = &requested["data"];
    assert_eq!(data["user_id"], json!(user));
    assert_eq!(
        data["email"], ADA,
        "as it is stored, and not as it was typed"
    );
    assert_eq!(data["actor"], "nobody");
    assert_eq!(data["ip_address"], "203.0.113.7");
    // Nothing has ended yet.
    assert_eq!(stack.session_ids(&one).await.len(), 2);

    let token = stack.reset_token(user).await;
    let reply = stack.reset_password(&token, NEW).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
    assert!(reply.bytes.is_empty(), "nobody is signed in");
    stack.expect_ended(&one).await;
    stack.expect_ended(&two).await;
    stack
        .try_login(ADA, PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    let again = stack.try_login(ADA, NEW).await.expect(StatusCode::OK);
    assert_eq!(again["user"]["email_verified"], true);
    for ended in told(&stack, "session.ended").await {
        assert_eq!(ended["data"]["reason"], "password_reset");
        assert_eq!(ended["data"]["actor"], "link");
    }
    assert_eq!(told(&stack, "session.ended").await.len(), 2);
    assert_eq!(told(&stack, "user.email_verified").await.len(), 1);
    assert_eq!(told(&stack, "user.password_changed").await.len(), 1);
}

#[tokio::test]
async fn a_request_costs_the_same_for_an_address_that_nobody_has_and_is_told_to_nobody() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let mut seen = Vec::new();
    for email in [ADA, "eve@example.com"] {
        drop(stack.recorder.take());
        let reply = stack.request_password_reset(email).await;
        let cost = stack.recorder.take_cost();
        let cost = (cost.trips, cost.write_units, cost.read_units);
        seen.push((cost, without_request_id(reply)));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].0, (3, 3.0, 0.0));
    assert_eq!(told(&stack, "password_reset.requested").await.len(), 1);
}

#[tokio::test]
async fn no_more_links_are_sent_to_an_address_than_the_limit_says_known_or_not() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    for email in [ADA, "eve@example.com"] {
        for _ in 0..5 {
            let reply = stack.request_password_reset(email).await;
            assert_eq!(reply.status, StatusCode::ACCEPTED);
        }
        let refused = stack.request_password_reset(email).await;
        let refused = refused.expect_problem(429, "too_many_requests");
        assert_eq!(refused.body["violated-policies"], json!(["links"]));
        assert_eq!(
            refused.header("ratelimit-policy"),
            Some(r#""links";q=5;w=3600"#)
        );
        assert_eq!(refused.header("retry-after"), Some("3600"));
    }
    assert_eq!(told(&stack, "password_reset.requested").await.len(), 5);
    stack.advance(TimeDelta::hours(1));
    let reply = stack.request_password_reset(ADA).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn what_is_no_address_is_said_to_be_none() {
    let stack = Stack::start().await;
    let reply = stack.request_password_reset("ada").await;
    let reply = reply.expect_problem(422, "validation_failed");
    assert_eq!(reply.body["errors"][0]["pointer"], "#/email");
}

#[tokio::test]
async fn whatever_is_wrong_with_a_link_the_reply_is_the_same() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    let expired = stack.reset_token(user).await;
    stack.advance(TimeDelta::minutes(10));
    let other_purpose = stack.verify_token(user).await;
    let used = stack.reset_token(user).await;
    let reply = stack.reset_password(&used, NEW).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let forged = format!("{}A", stack.reset_token(user).await);
    let mut replies = Vec::new();
    let opened: [&str; 7] = [
        &expired,
        &other_purpose,
        &used,
        &forged,
        "",
        "x.y.z",
        &ada.access_token,
    ];
    for token in opened {
        let reply = stack.reset_password(token, "another good passphrase").await;
        replies.push(without_request_id(
            reply.expect_problem(400, "invalid_link"),
        ));
    }
    let reset = stack.reset_token(user).await;
    let opened: [&str; 3] = [&reset, &forged, ""];
    for token in opened {
        let reply = stack.verify_email(token).await;
        replies.push(without_request_id(
            reply.expect_problem(400, "invalid_link"),
        ));
    }
    assert!(replies.iter().all(|reply| *reply == replies[0]));
    // The password is the one of the link that was used.
    stack.try_login(ADA, NEW).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn of_many_confirmations_at_once_exactly_one_replaces_the_password() {
    let stack = Stack::with_policy(without_limits()).await;
    let user = stack.register(ADA).await.user_id.unwrap();
    let token = stack.reset_token(user).await;
    let passwords: Vec<String> = (0..8).map(|n| format!("a fine passphrase {n}")).collect();
    let confirmations = passwords
        .iter()
        .map(|new| stack.reset_password(&token, new));
    let replies = join_all(confirmations).await;
    let mut won = Vec::new();
    for (password, reply) in passwords.iter().zip(replies) {
        match reply.status {
            StatusCode::NO_CONTENT => won.push(password),
            _ => drop(reply.expect_problem(400, "invalid_link")),
        }
    }
    assert_eq!(won.len(), 1);
    for password in &passwords {
        let status = stack.try_login(ADA, password).await.status;
        assert_eq!(status == StatusCode::OK, password == won[0]);
    }
}

#[tokio::test]
async fn no_refresh_and_no_sign_in_survives_a_reset_that_was_answered() {
    for seed in 0..4 {
        let stack = Stack::with_policy(without_limits()).await;
        let one = stack.register(ADA).await;
        let user = one.user_id.unwrap();
        let token = stack.reset_token(user).await;
        stack.pass_interval();
        let refreshing = async {
            // Starts a little earlier or later, by the number of turns that it gives away.
            for _ in 0..seed {
                tokio::task::yield_now().await;
            }
            stack.refresh(&one.refresh_token).await
        };
        let (reset, raced, signed_in) = tokio::join!(
            stack.reset_password(&token, NEW),
            refreshing,
            stack.try_login(ADA, PASSWORD)
        );
        assert_eq!(reset.status, StatusCode::NO_CONTENT);
        for reply in [raced, signed_in] {
            if reply.status == StatusCode::OK {
                let who = SignedIn::from(reply.body);
                stack.pass_interval();
                stack.expect_ended(&who).await;
            }
        }
        stack.expect_ended(&one).await;
        assert!(stack.account(user).await.sessions.is_empty());
    }
}

#[tokio::test]
async fn a_password_that_is_too_weak_does_not_spend_the_link() {
    let stack = Stack::start().await;
    let user = stack.register(ADA).await.user_id.unwrap();
    let token = stack.reset_token(user).await;
    for weak in ["short", "ada@example.com"] {
        let reply = stack.reset_password(&token, weak).await;
        let reply = reply.expect_problem(422, "weak_password");
        assert_eq!(reply.body["errors"][0]["pointer"], "#/new_password");
    }
    let reply = stack.reset_password(&token, NEW).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_link_from_before_a_password_change_resets_nothing() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    let reset = stack.reset_token(user).await;
    let moved = stack.change_email_token(&ada, "eve@example.com").await;
    let changed = stack.change_password(&ada, PASSWORD, NEW).await;
    changed.expect(StatusCode::OK);
    let reply = stack
        .reset_password(&reset, "another good passphrase")
        .await;
    reply.expect_problem(400, "invalid_link");
    // Whoever changes the password because a stranger had it is safe from the stranger's links.
    let reply = stack.verify_email(&moved).await;
    reply.expect_problem(400, "invalid_link");
}

#[tokio::test]
async fn a_reset_gets_in_after_a_hundred_failures() {
    let stack = Stack::start().await;
    let user = stack.register(ADA).await.user_id.unwrap();
    for _ in 0..100 {
        let reply = stack.try_login(ADA, "a wrong passphrase").await;
        reply.expect_problem(401, "invalid_credentials");
        stack.advance(TimeDelta::minutes(16));
    }
    let blocked = stack.try_login(ADA, PASSWORD).await;
    blocked.expect_problem(429, "too_many_requests");
    let token = stack.reset_token(user).await;
    let reply = stack.reset_password(&token, NEW).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    stack.try_login(ADA, NEW).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_disabled_account_stays_disabled_after_a_reset() {
    let stack = Stack::start().await;
    let user = stack.register(ADA).await.user_id.unwrap();
    let disable = |account: latchkey_domain::account::Account| {
        let act = AdminAct::Disable;
        account
            .administer(&Actor::Operator, &act, stack.now())
            .unwrap()
    };
    stack.change_account(user, Action::Disable, disable).await;
    let token = stack.reset_token(user).await;
    let reply = stack.reset_password(&token, NEW).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let reply = stack.try_login(ADA, NEW).await;
    reply.expect_problem(403, "account_disabled");
}

#[tokio::test]
async fn an_address_is_verified_by_its_link_and_no_mail_is_sent_after_that() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let ask = async || {
        let call = stack.post("/v1/me/verify-email").bearer(&ada.access_token);
        let reply = call.send().await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
    };
    ask().await;
    let requested = told(&stack, "email_verification.requested").await;
    assert_eq!(
        requested[0]["data"]["actor"],
        format!("owner:{}", ada.session_id)
    );
    let token = stack.verify_token(ada.user_id.unwrap()).await;
    // Opening it again does no harm: mail scanners open links too.
    for _ in 0..2 {
        let reply = stack.verify_email(&token).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
    }
    assert_eq!(shown(&stack, &ada).await["email_verified"], true);
    assert_eq!(told(&stack, "user.email_verified").await.len(), 1);
    ask().await;
    let mut asked = stack.items().await;
    asked.retain(|item| item["pk"].as_str().unwrap().starts_with("LINK#"));
    assert_eq!(asked.len(), 1, "nothing more is asked for");
}

pub(crate) async fn register(stack: &Stack, email: &str, password: &str) -> Reply {
    let body = json!({"email": email, "password": password});
    stack.post("/v1/auth/register").json(&body).send().await
}

#[tokio::test]
async fn where_addresses_must_be_verified_a_registration_tells_nobody_whether_one_is_taken() {
    let stack = Stack::with_policy(requiring_verified_email()).await;
    let mut seen = Vec::new();
    for (email, password) in [(ADA, PASSWORD), ("ADA@example.com", NEW), (ADA, PASSWORD)] {
        drop(stack.recorder.take());
        let hashed = stack.core.passwords.jobs_done();
        let reply = register(&stack, email, password).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
        assert!(reply.bytes.is_empty());
        // A transaction that is cancelled is billed as one that is made, of which the engine says nothing.
        let calls: Vec<(String, usize)> = stack
            .recorder
            .take()
            .into_iter()
            .map(|call| {
                let items = call.request["TransactItems"].as_array();
                (call.operation, items.map_or(1, Vec::len))
            })
            .collect();
        let mut headers: Vec<String> = reply.headers.keys().map(ToString::to_string).collect();
        headers.sort();
        let hashed = stack.core.passwords.jobs_done() - hashed;
        seen.push((calls, headers, hashed));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:?}");
    assert_eq!(told(&stack, "user.created").await.len(), 1);
    assert_eq!(told(&stack, "session.created").await.len(), 0);
    assert_eq!(told(&stack, "email_verification.requested").await.len(), 2);
    let repeated = told(&stack, "registration.repeated").await;
    assert_eq!(repeated[0]["data"]["email"], ADA);
    assert_eq!(repeated.len(), 1);
    // The password of the second one opens nothing.
    stack
        .try_login(ADA, NEW)
        .await
        .expect_problem(401, "invalid_credentials");
}

#[tokio::test]
async fn where_addresses_must_be_verified_the_right_password_alone_signs_nobody_in() {
    let stack = Stack::with_policy(requiring_verified_email()).await;
    let reply = register(&stack, ADA, PASSWORD).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED);
    let created = told(&stack, "user.created").await;
    let user = created[0]["data"]["user_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    stack
        .try_login(ADA, NEW)
        .await
        .expect_problem(401, "invalid_credentials");
    // The right password is no failure, however often it is given.
    for _ in 0..20 {
        let reply = stack.try_login(ADA, PASSWORD).await;
        reply.expect_problem(403, "email_not_verified");
    }
    assert!(stack.account(user).await.sessions.is_empty());
    let token = stack.verify_token(user).await;
    let reply = stack.verify_email(&token).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert!(stack.account(user).await.sessions.is_empty());
    stack.login(ADA).await;
}

#[tokio::test]
async fn where_registration_is_closed_nobody_registers() {
    let stack = Stack::with_policy(SessionPolicy {
        registration_open: false,
        ..SessionPolicy::default()
    })
    .await;
    let reply = register(&stack, ADA, PASSWORD).await;
    reply.expect_problem(403, "registration_closed");
    assert!(stack.items().await.is_empty());
}

#[tokio::test]
async fn another_address_is_the_users_when_its_link_is_opened() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    let reset = stack.reset_token(user).await;
    let verify = stack.verify_token(user).await;
    let reply = stack.request_email_change(&ada, "ada@example.org").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
    let requested = told(&stack, "email_change.requested").await;
    let data = &requested[0]["data"];
    assert_eq!(
        (&data["email"], &data["new_email"]),
        (&json!(ADA), &json!("ada@example.org"))
    );
    // Until then nothing has changed.
    stack.login(ADA).await;
    let token = stack.change_email_token(&ada, "ada@example.org").await;
    let reply = stack.verify_email(&token).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
    let me = shown(&stack, &ada).await;
    assert_eq!(
        (&me["email"], &me["email_verified"]),
        (&json!("ada@example.org"), &json!(true))
    );
    stack.login("ada@example.org").await;
    stack
        .try_login(ADA, PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    let changed = told(&stack, "user.email_changed").await;
    assert_eq!(changed[0]["data"]["previous_email"], ADA);
    // What was sent to the address before does nothing any more, and the link has nothing more to do.
    let reply = stack.verify_email(&verify).await;
    reply.expect_problem(400, "invalid_link");
    let reply = stack.verify_email(&token).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
    let reply = stack.reset_password(&reset, NEW).await;
    reply.expect_problem(400, "invalid_link");
    // The address is free for somebody else.
    stack.register(ADA).await;
    let reply = stack.request_email_change(&ada, ADA).await;
    reply.expect_problem(409, "email_taken");
}

#[tokio::test]
async fn the_link_to_an_address_that_was_taken_meanwhile_changes_nothing() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let token = stack.change_email_token(&ada, "ada@example.org").await;
    stack.register("ada@example.org").await;
    let reply = stack.verify_email(&token).await;
    reply.expect_problem(409, "email_taken");
    assert_eq!(shown(&stack, &ada).await["email"], ADA);
    stack.login(ADA).await;
}

#[tokio::test]
async fn another_spelling_of_the_same_mailbox_is_another_address_too() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let token = stack.change_email_token(&ada, "Ada@Example.com").await;
    let reply = stack.verify_email(&token).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT, "{}", reply.body);
    assert_eq!(shown(&stack, &ada).await["email"], "Ada@Example.com");
    stack.login(ADA).await;
}

#[tokio::test]
async fn the_address_of_the_account_is_no_other_one() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    for same in [ADA.to_owned(), format!(" {ADA} ")] {
        let reply = stack.request_email_change(&ada, &same).await;
        let reply = reply.expect_problem(422, "validation_failed");
        let wrong = &reply.body["errors"][0];
        assert_eq!(
            (&wrong["pointer"], &wrong["code"]),
            (&json!("#/email"), &json!("unchanged"))
        );
    }
    assert!(told(&stack, "email_change.requested").await.is_empty());
    // The password that came with it was right, and counts for nothing.
    let reply = stack.request_email_change(&ada, "ada@example.org").await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
}

#[tokio::test]
async fn another_address_wants_the_password_and_a_recent_proof() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let wrong = stack
        .request(http::Method::PUT, "/v1/me/email")
        .bearer(&ada.access_token)
        .json(&json!({"email": "ada@example.org", "password": NEW}));
    wrong.send().await.expect_problem(403, "wrong_password");
    stack.advance(TimeDelta::minutes(11));
    let reply = stack.request_email_change(&ada, "ada@example.org").await;
    reply.expect_problem(403, "reauthentication_required");
    assert!(told(&stack, "email_change.requested").await.is_empty());
}

#[tokio::test]
async fn an_administrator_sends_a_link_and_chooses_no_password() {
    let stack = Stack::start().await;
    let admin = stack.administrator("root@example.com").await;
    let user = stack.register(ADA).await.user_id.unwrap();
    let send = async |user: String| {
        let path = format!("/v1/admin/users/{user}/password-reset");
        stack.post(&path).bearer(&admin.access_token).send().await
    };
    let reply = send(user.to_string()).await;
    assert_eq!(reply.status, StatusCode::ACCEPTED, "{}", reply.body);
    let requested = told(&stack, "password_reset.requested").await;
    let data = &requested[0]["data"];
    assert_eq!(data["actor"], format!("admin:{}", admin.user_id.unwrap()));
    assert_eq!(
        (&data["ip_address"], &data["device_name"]),
        (&Value::Null, &Value::Null)
    );
    let nobody = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11".to_owned();
    send(nobody).await.expect_problem(404, "user_not_found");
}

#[tokio::test]
async fn a_service_that_sends_mail_itself_gets_the_link() {
    let stack = Stack::start().await;
    let user = stack.register(ADA).await.user_id.unwrap();
    let secret = stack.add_client("mailer", &[ClientScope::IssueLinks]).await;
    let other = stack.add_client("orders", &[ClientScope::Introspect]).await;
    let path = format!("/v1/service/users/{user}/links");
    let ask = async |id: &str, secret: &str, body: Value| {
        stack.post(&path).basic(id, secret).json(&body).send().await
    };
    let reset = json!({"purpose": "reset_password"});
    let reply = ask("mailer", &secret, reset.clone()).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let link = reply.expect(StatusCode::OK);
    let token = link["token"].as_str().unwrap();
    let url = format!("https://id.example.com/account/reset-password#token={token}");
    assert_eq!(
        (&link["url"], &link["expires_in"], &link["email"]),
        (&json!(url), &json!(600), &json!(ADA))
    );
    let reply = ask("orders", &other, reset.clone()).await;
    reply.expect_problem(403, "unauthorized_client");
    let reply = ask("mailer", &other, reset).await;
    reply.expect_problem(401, "invalid_client");
    for wrong in [
        json!({"purpose": "sign_in"}),
        json!({"purpose": "change_email"}),
        json!({"purpose": "change_email", "new_email": "x@example.com", "email_version": 0}),
        json!({"purpose": "change_email", "new_email": "x", "email_version": 0, "session_id": user}),
        json!({"purpose": "verify_email", "new_email": "x@example.com"}),
        json!({"purpose": "reset_password", "email_version": 0}),
    ] {
        let reply = ask("mailer", &secret, wrong).await;
        reply.expect_problem(422, "validation_failed");
    }
    let reply = stack.reset_password(token, NEW).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    let ada = stack.try_login(ADA, NEW).await.expect(StatusCode::OK);
    let change = json!({
        "purpose": "change_email", "new_email": "ada@example.org", "email_version": 0,
        "session_id": ada["session"]["id"],
    });
    let link = ask("mailer", &secret, change).await.expect(StatusCode::OK);
    let reply = stack.verify_email(link["token"].as_str().unwrap()).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    stack
        .try_login("ada@example.org", NEW)
        .await
        .expect(StatusCode::OK);
}
