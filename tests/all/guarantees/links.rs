//! Links at the wrong time and in the wrong hands: a stranger who has had a session, the password or somebody else's
//! address gains nothing by a link, and uses up no link of the owner's.

use chrono::TimeDelta;
use futures::future::join_all;
use http::{Method, StatusCode};
use latchkey_domain::client::ClientScope;
use latchkey_domain::id::UserId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::throttle::Limits;
use latchkey_tests::attack::faults::{put_raw, raw_items, stack_with};
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack, without_limits};
use serde_json::{Value, json};

use crate::routes::recovery::{register, requiring_verified_email, told};

const ADA: &str = "ada@example.com";
const EVE: &str = "eve@example.com";
const NEW: &str = "wrong donkey charger paperclip";

/// A service of the team's that sends mail.
struct Mailer(String);

impl Mailer {
    async fn of(stack: &Stack) -> Self {
        Self(stack.add_client("mailer", &[ClientScope::IssueLinks]).await)
    }

    async fn ask(&self, stack: &Stack, user: UserId, body: &Value) -> Reply {
        let call = stack.post(&format!("/v1/service/users/{user}/links"));
        call.basic("mailer", &self.0).json(body).send().await
    }
}

/// What a mailer asks for when it hears of an event.
fn wanted_by(requested: &Value) -> Value {
    let data = &requested["data"];
    json!({
        "purpose": "change_email", "new_email": data["new_email"], "email_version": data["email_version"],
        "session_id": data["session_id"],
    })
}

async fn reset(stack: &Stack, user: UserId) {
    let token = stack.reset_token(user).await;
    let reply = stack.reset_password(&token, NEW).await;
    reply.expect(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_link_to_a_new_address_that_is_made_late_is_for_the_account_as_it_was() {
    let stack = Stack::start().await;
    let mailer = Mailer::of(&stack).await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    let thief = stack.login(ADA).await;
    let reply = stack.request_email_change(&thief, EVE).await;
    reply.expect(StatusCode::ACCEPTED);
    let requested = &told(&stack, "email_change.requested").await[0];
    assert_eq!(requested["data"]["session_id"], json!(thief.session_id));
    assert_eq!(requested["data"]["email_version"], 0);
    let wanted = wanted_by(requested);
    let link = mailer.ask(&stack, user, &wanted).await;
    let link = link.expect(StatusCode::OK);
    assert_eq!(link["email"], EVE, "where it must be sent");

    reset(&stack, user).await;
    stack.try_login(ADA, NEW).await.expect(StatusCode::OK);
    let late = mailer.ask(&stack, user, &wanted).await;
    late.expect_problem(409, "request_overtaken");
    let early = stack.verify_email(link["token"].as_str().unwrap()).await;
    early.expect_problem(400, "invalid_link");
    // Whoever reads the stream late has nothing to tell.
    assert!(
        told(&stack, "email_change.requested").await.is_empty(),
        "a request that was overtaken"
    );
    assert_eq!(
        stack.account(user).await.email().unwrap().as_typed(),
        ADA,
        "it is the owner's"
    );
}

#[tokio::test]
async fn of_two_requests_for_new_addresses_the_one_that_is_used_overtakes_the_other() {
    let stack = Stack::start().await;
    let mailer = Mailer::of(&stack).await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    for new in [EVE, "ada@example.org"] {
        let reply = stack.request_email_change(&ada, new).await;
        reply.expect(StatusCode::ACCEPTED);
    }
    let requested = told(&stack, "email_change.requested").await;
    let [to_eve, to_ada] = [&requested[0], &requested[1]].map(wanted_by);
    let link = mailer.ask(&stack, user, &to_ada).await;
    let link = link.expect(StatusCode::OK);
    let reply = stack.verify_email(link["token"].as_str().unwrap()).await;
    reply.expect(StatusCode::NO_CONTENT);
    let late = mailer.ask(&stack, user, &to_eve).await;
    late.expect_problem(409, "request_overtaken");
}

/// What a mailer is answered says where to send a link: the event that it heard may name an address of before.
#[tokio::test]
async fn a_link_goes_to_the_address_that_it_is_for() {
    let stack = Stack::start().await;
    let mailer = Mailer::of(&stack).await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    stack
        .request_password_reset(ADA)
        .await
        .expect(StatusCode::ACCEPTED);
    let requested = &told(&stack, "password_reset.requested").await[0];
    assert_eq!(requested["data"]["email"], ADA);
    let token = stack.change_email_token(&ada, "ada@example.org").await;
    let moved = stack.verify_email(&token).await;
    moved.expect(StatusCode::NO_CONTENT);
    for purpose in ["reset_password", "verify_email"] {
        let link = mailer.ask(&stack, user, &json!({"purpose": purpose})).await;
        let link = link.expect(StatusCode::OK);
        assert_eq!(link["email"], "ada@example.org");
    }
}

/// An account keeps the id of an expired session until its next sign-in, so the session's item decides.
#[tokio::test]
async fn a_link_to_a_new_address_does_not_outlive_the_session_on_which_it_was_asked_for() {
    let policy = || SessionPolicy {
        idle_lifetime: TimeDelta::hours(2),
        absolute_lifetime: TimeDelta::hours(3),
        ..without_limits()
    };
    for (refreshed_after, end) in [
        (None, TimeDelta::hours(2)),
        (Some(TimeDelta::minutes(90)), TimeDelta::hours(3)),
    ] {
        for (waited, is_opened) in [(end - TimeDelta::milliseconds(1), true), (end, false)] {
            let stack = Stack::with_policy(policy()).await;
            let ada = stack.register(ADA).await;
            let begun = stack.core.now();
            let token = stack.change_email_token(&ada, "ada@example.org").await;
            if let Some(after) = refreshed_after {
                stack.advance(after);
                stack.refresh_session(&ada).await;
            }
            stack.advance(begun + waited - stack.core.now());
            let account = stack.account(ada.user_id.unwrap()).await;
            assert!(account.sessions.contains(&ada.session_id));
            let reply = stack.verify_email(&token).await;
            match is_opened {
                true => drop(reply.expect(StatusCode::NO_CONTENT)),
                false => drop(reply.expect_problem(400, "invalid_link")),
            }
            // Once it is done, it is done again at any time.
            stack.advance(TimeDelta::hours(4));
            let again = stack.verify_email(&token).await;
            let status = match is_opened {
                true => StatusCode::NO_CONTENT,
                false => StatusCode::BAD_REQUEST,
            };
            assert_eq!(again.status, status);
        }
    }
}

#[tokio::test]
async fn every_end_of_a_session_spends_its_links_to_new_addresses() {
    for end in [
        "sign-out",
        "revocation",
        "sign-out of all others",
        "sign-out everywhere",
        "sign-out everywhere by an administrator",
        "disabling",
        "password change",
    ] {
        let stack = Stack::with_policy(without_limits()).await;
        let admin = stack.administrator("root@example.com").await;
        let ada = stack.register(ADA).await;
        let thief = stack.login(ADA).await;
        let user = ada.user_id.unwrap();
        let token = stack.change_email_token(&thief, EVE).await;
        let as_ada = async |call: Call<'_>| call.bearer(&ada.access_token).send().await;
        let of_user = format!("/v1/admin/users/{user}");
        let reply = match end {
            "sign-out" => {
                let body = json!({"refresh_token": thief.refresh_token});
                stack.post("/v1/auth/logout").json(&body).send().await
            }
            "revocation" => {
                let path = format!("/v1/sessions/{}", thief.session_id);
                as_ada(stack.delete(&path)).await
            }
            "sign-out of all others" => as_ada(stack.post("/v1/sessions/revoke-all")).await,
            "sign-out everywhere" => {
                let path = "/v1/sessions/revoke-all?keep_current=false";
                as_ada(stack.post(path)).await
            }
            "sign-out everywhere by an administrator" => {
                let path = format!("{of_user}/sessions/revoke-all");
                let call = stack.post(&path).bearer(&admin.access_token);
                call.send().await
            }
            "disabling" => {
                let call = stack.request(Method::PATCH, &of_user);
                let call = call.bearer(&admin.access_token);
                call.json(&json!({"status": "disabled"})).send().await
            }
            _ => stack.change_password(&ada, PASSWORD, NEW).await,
        };
        assert!(reply.status.is_success(), "{end}: {}", reply.body);
        let reply = stack.verify_email(&token).await;
        reply.expect_problem(400, "invalid_link");
        let account = stack.account(user).await;
        assert_eq!(account.email().unwrap().as_typed(), ADA, "{end}");
    }
}

#[tokio::test]
async fn a_link_that_is_opened_often_and_at_once_changes_the_address_once() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let token = stack.change_email_token(&ada, "ada@example.org").await;
    let openings = (0..6).map(|_| stack.verify_email(&token));
    for reply in join_all(openings).await {
        reply.expect(StatusCode::NO_CONTENT);
    }
    assert_eq!(told(&stack, "user.email_changed").await.len(), 1);
    // A link to yet another address is no repetition.
    let back = stack.change_email_token(&ada, ADA).await;
    let reply = stack.verify_email(&back).await;
    reply.expect(StatusCode::NO_CONTENT);
    let reply = stack.verify_email(&token).await;
    reply.expect_problem(400, "invalid_link");
}

/// A credential of the user's own that is left under the new address is not somebody else's.
#[tokio::test(start_paused = true)]
async fn an_address_is_taken_by_somebody_else_alone() {
    let (stack, _) = stack_with(without_limits(), 1, Vec::new()).await;
    let ada = stack.register(ADA).await;
    let token = stack.change_email_token(&ada, "ada@example.org").await;
    let mut items = raw_items(&stack).into_iter();
    let mut left = items
        .find(|item| item["sk"]["S"] == "CREDENTIAL")
        .expect("a credential");
    left["pk"]["S"] = json!("EMAIL#ada@example.org");
    assert!(put_raw(&stack, &left));
    let reply = stack.verify_email(&token).await;
    reply.expect_problem(503, "temporarily_unavailable");
}

/// A stranger has registered an address before its owner, and its owner may have opened the link that came.
#[tokio::test]
async fn a_reset_gets_a_stranger_out_who_registered_the_address_first() {
    for (policy, opened) in [
        (SessionPolicy::default(), false),
        (SessionPolicy::default(), true),
        (requiring_verified_email(), false),
        (requiring_verified_email(), true),
    ] {
        let must_verify = policy.require_verified_email;
        let stack = Stack::with_policy(policy).await;
        let reply = register(&stack, ADA, PASSWORD).await;
        let signed_in = (reply.status == StatusCode::CREATED).then(|| SignedIn::from(reply.body));
        assert_eq!(signed_in.is_some(), !must_verify);
        let created = told(&stack, "user.created").await;
        let user: UserId = serde_json::from_value(created[0]["data"]["user_id"].clone()).unwrap();
        let link_of_registration = stack.verify_token(user).await;
        if opened {
            let reply = stack.verify_email(&link_of_registration).await;
            reply.expect(StatusCode::NO_CONTENT);
        }
        // The owner asks with nothing but the address, and the link goes to the mailbox.
        let reply = stack.request_password_reset(ADA).await;
        reply.expect(StatusCode::ACCEPTED);
        assert_eq!(told(&stack, "password_reset.requested").await.len(), 1);
        reset(&stack, user).await;
        if let Some(stranger) = signed_in {
            stack.expect_ended(&stranger).await;
        }
        let stranger = stack.try_login(ADA, PASSWORD).await;
        stranger.expect_problem(401, "invalid_credentials");
        let owner = stack.try_login(ADA, NEW).await.expect(StatusCode::OK);
        assert_eq!(owner["user"]["email_verified"], true);
    }
}

#[tokio::test]
async fn a_registration_that_is_sent_again_asks_for_its_link_again() {
    let stack = Stack::with_policy(requiring_verified_email()).await;
    for password in [PASSWORD, PASSWORD, NEW] {
        let reply = register(&stack, ADA, password).await;
        reply.expect(StatusCode::ACCEPTED);
    }
    assert_eq!(told(&stack, "user.created").await.len(), 1);
    let links = told(&stack, "email_verification.requested").await;
    assert_eq!(links.len(), 2, "with the password of the account");
    // With another password it may be the owner's, whose link would confirm a stranger's.
    assert_eq!(told(&stack, "registration.repeated").await.len(), 1);
}

#[tokio::test]
async fn whoever_may_not_ask_uses_up_no_links_of_others() {
    let limits = Limits {
        address_attempts: 3,
        ..Limits::default()
    };
    let policy = SessionPolicy {
        limits,
        ..requiring_verified_email()
    };
    let stack = Stack::with_policy(policy).await;
    let ask = async |path: &str, email: &str, from: u8| {
        let body = json!({"email": email, "password": PASSWORD});
        let call = stack.post(path).json(&body);
        call.from_address([198, 51, 100, from].into()).send().await
    };
    for path in ["/v1/auth/password-reset", "/v1/auth/register"] {
        for number in 0..3 {
            let reply = ask(path, &format!("{number}@example.com"), 1).await;
            reply.expect(StatusCode::ACCEPTED);
        }
        for _ in 0..10 {
            let refused = ask(path, ADA, 1).await;
            let refused = refused.expect_problem(429, "too_many_requests");
            assert_eq!(refused.body["violated-policies"], json!(["signin"]));
        }
        for from in [2, 2, 2, 3, 3] {
            ask(path, ADA, from).await.expect(StatusCode::ACCEPTED);
        }
        let refused = ask(path, ADA, 3).await;
        let refused = refused.expect_problem(429, "too_many_requests");
        assert_eq!(refused.body["violated-policies"], json!(["links"]));
        stack.advance(TimeDelta::minutes(1));
    }
}

#[tokio::test]
async fn mails_of_one_kind_use_up_none_of_another() {
    let stack = Stack::with_policy(requiring_verified_email()).await;
    let reply = register(&stack, "bob@example.com", PASSWORD).await;
    reply.expect(StatusCode::ACCEPTED);
    let created = told(&stack, "user.created").await;
    let bob: UserId = serde_json::from_value(created[0]["data"]["user_id"].clone()).unwrap();
    let token = stack.verify_token(bob).await;
    let verified = stack.verify_email(&token).await;
    verified.expect(StatusCode::NO_CONTENT);
    let bob = stack.login("bob@example.com").await;
    for kind in ["register", "move", "reset"] {
        let ask = async || match kind {
            "register" => register(&stack, ADA, PASSWORD).await,
            "move" => stack.request_email_change(&bob, ADA).await,
            _ => stack.request_password_reset(ADA).await,
        };
        for _ in 0..5 {
            let reply = ask().await;
            let is_asked = [StatusCode::ACCEPTED, StatusCode::CONFLICT].contains(&reply.status);
            assert!(is_asked, "{kind}: {}", reply.body);
        }
        let refused = ask().await;
        refused.expect_problem(429, "too_many_requests");
    }
}

#[tokio::test]
async fn a_user_tries_no_more_addresses_than_the_limit_says_taken_or_free() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    stack.register("bob@example.com").await;
    let tries = ["bob@example.com", "1@example.com", "2@example.com"];
    for (new, status) in tries.iter().cycle().take(5).zip([409, 202, 202, 409, 202]) {
        let reply = stack.request_email_change(&ada, new).await;
        assert_eq!(reply.status.as_u16(), status, "{new}");
    }
    for new in ["bob@example.com", "3@example.com"] {
        let refused = stack.request_email_change(&ada, new).await;
        let refused = refused.expect_problem(429, "too_many_requests");
        assert_eq!(refused.body["violated-policies"], json!(["links"]));
    }
    stack.advance(TimeDelta::hours(1));
    let ada = stack.login(ADA).await;
    let reply = stack.request_email_change(&ada, "3@example.com").await;
    reply.expect(StatusCode::ACCEPTED);
}

/// Whoever has a session and not the password would otherwise keep its owner from changing the address.
#[tokio::test]
async fn wrong_passwords_use_up_none_of_the_addresses_that_a_user_may_try() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let thief = stack.login(ADA).await;
    stack.register("bob@example.com").await;
    let guess = async |who: &SignedIn, new: &str| {
        let call = stack.request(Method::PUT, "/v1/me/email");
        let body = json!({"email": new, "password": NEW});
        let reply = call.bearer(&who.access_token).json(&body).send().await;
        reply.expect_problem(403, "wrong_password");
    };
    // Neither does a wrong password tell which address is taken.
    for new in ["bob@example.com", "1@example.com", "2@example.com"] {
        guess(&thief, new).await;
        guess(&ada, new).await;
    }
    for number in 0..5 {
        let new = format!("{number}@example.com");
        let reply = stack.request_email_change(&ada, &new).await;
        reply.expect(StatusCode::ACCEPTED);
    }
    let refused = stack.request_email_change(&ada, "5@example.com").await;
    refused.expect_problem(429, "too_many_requests");
    guess(&thief, "5@example.com").await;
}

#[tokio::test]
async fn no_mailbox_gets_more_links_than_the_limit_says_however_many_users_ask() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    for number in 0..6 {
        let user = stack.register(&format!("{number}@example.com")).await;
        let reply = stack.request_email_change(&user, ADA).await;
        match number {
            // Counted before anybody learns that it is taken.
            0..5 => drop(reply.expect_problem(409, "email_taken")),
            _ => drop(reply.expect_problem(429, "too_many_requests")),
        }
    }
}

/// Whoever has an old device token has used up what clients with such tokens may try.
#[tokio::test]
async fn a_reset_lets_devices_of_earlier_passwords_try_again() {
    let limits = Limits {
        address_attempts: 0,
        ..Limits::default()
    };
    let stack = Stack::with_policy(SessionPolicy {
        limits,
        ..SessionPolicy::default()
    })
    .await;
    let ada = stack.register(ADA).await;
    let phone = stack.login(ADA).await;
    let changed = stack.change_password(&ada, PASSWORD, NEW).await;
    changed.expect(StatusCode::OK);
    let try_on = async |who: &SignedIn, password: &str| {
        let body = json!({"email": ADA, "password": password, "device_token": who.device_token});
        stack.post("/v1/auth/login").json(&body).send().await
    };
    while try_on(&ada, "a wrong passphrase").await.status == StatusCode::UNAUTHORIZED {}
    let stopped = try_on(&phone, NEW).await;
    stopped.expect_problem(429, "too_many_requests");
    reset(&stack, ada.user_id.unwrap()).await;
    try_on(&phone, NEW).await.expect(StatusCode::OK);
}
