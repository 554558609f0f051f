//! Who sends a mail does not trust the bus: whoever may put events on it gets no link for somebody else's account, and no word
//! about what the table knows did not happen.

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::event::LINK_REQUEST_LIFETIME;
use latchkey_domain::id::{RequestId, UserId};
use latchkey_domain::notice::{Language, Message};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_service::notify::Mail;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::mail::Post;
use latchkey_tests::harness::metering::{extract, recorder};
use latchkey_tests::harness::stack::{PASSWORD, Stack, without_limits};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routes::recovery::told;

const ADA: &str = "ada@example.com";
const EVE: &str = "eve@example.com";
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_8a4e_2b64_4d0a_9c57_3f1d_e6a8_7b21);

/// An id as ours are made: the code is public, so a forger can make it.
fn id_of(user: UserId, version: &str, kind: &str, session: &str) -> Value {
    let name = format!("{user}\n{version}\n{kind}\n{session}");
    json!(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
}

/// An event as a forger puts it on the bus.
fn forge(stack: &Stack, user: UserId, kind: &str, id: &Value, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "latchkey", "type": kind, "subject": user, "time": stack.core.now(),
        "data": data,
    })
}

fn sent_to(mails: &[Mail]) -> Vec<(Message, &str)> {
    let sent = mails.iter().map(|mail| (mail.message, mail.to.as_typed()));
    sent.collect()
}

/// Brings an event, and says how many mails were counted as asked for by nobody.
async fn tell(stack: &Stack, post: &Post, event: &Value) -> (Vec<Mail>, f64) {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    drop(emf.event_line(stack.now(), "before"));
    let mails = post.tell(std::slice::from_ref(event)).await;
    // What is too old asks nothing of the table, so there is no line.
    let line = emf.event_line(stack.now(), "a mail");
    let counted = line.and_then(|line| extract(&line).get("MailsUnfounded").copied());
    (mails, counted.unwrap_or_default())
}

/// The session of the account is live, so the link would be made and its address taken over.
#[tokio::test]
async fn a_link_that_nobody_has_asked_for_is_sent_to_nobody() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    let post = stack.post_office(Language::En);
    // Anybody may ask for this one. Its event tells a forger the id of a request that is there.
    let asked = stack.request_password_reset(ADA).await;
    asked.expect(StatusCode::ACCEPTED);
    let requested = told(&stack, "password_reset.requested").await.remove(0);
    let there = requested["data"]["request_id"].as_str().unwrap();
    let elsewhere = RequestId::random(&SeededRandom::new(7)).to_string();
    let session = ada.session_id.to_string();
    let log = Log::capture();
    for (request_id, kind, of_session) in [
        (Some(there), "email_change.requested", session.as_str()),
        (Some(&elsewhere), "email_change.requested", &session),
        (None, "email_change.requested", &session),
        (Some(&elsewhere), "password_reset.requested", ""),
        (None, "password_reset.requested", ""),
        (Some(there), "email_verification.requested", ""),
        (Some(there), "registration.repeated", ""),
        (None, "registration.repeated", ""),
    ] {
        let id = id_of(user, request_id.unwrap_or_default(), kind, of_session);
        let data = json!({
            "request_id": request_id, "user_id": user, "session_id": ada.session_id, "email": ADA, "new_email": EVE,
            "email_version": 0, "actor": format!("owner {session}"),
        });
        let event = forge(&stack, user, kind, &id, data);
        assert_eq!(tell(&stack, &post, &event).await, (vec![], 1.0), "{event}");
    }
    let log = log.end();
    assert_eq!(
        log.matches("the table knows nothing of").count(),
        8,
        "{log}"
    );
    assert!(!log.contains(ADA) && !log.contains(EVE), "{log}");
    // The one that is there is its own event's, with its own id.
    let mut other_id = requested.clone();
    other_id["id"] = json!(Uuid::from_u128(1));
    assert_eq!(tell(&stack, &post, &other_id).await, (vec![], 1.0));
    let (mails, unfounded) = tell(&stack, &post, &requested).await;
    let sent = (sent_to(&mails), unfounded);
    assert_eq!(sent, (vec![(Message::ResetPassword, ADA)], 0.0));
}

/// Of a genuine event only the names of its request and its user count.
#[tokio::test]
async fn what_a_link_is_for_comes_from_the_table_and_not_from_the_event() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let eve = stack.register(EVE).await;
    let post = stack.post_office(Language::En);
    let asked = stack.request_email_change(&ada, "ada@example.org").await;
    asked.expect(StatusCode::ACCEPTED);
    let mut event = told(&stack, "email_change.requested").await.remove(0);
    for (name, forged) in [
        ("new_email", json!(EVE)),
        ("email", json!(EVE)),
        ("session_id", json!(eve.session_id)),
        ("device_name", json!("Buy at evil")),
        ("location_city", json!("Atlantis")),
    ] {
        event["data"][name] = forged;
    }
    let mut of_eve = event.clone();
    of_eve["subject"] = json!(eve.user_id);
    assert_eq!(tell(&stack, &post, &of_eve).await, (vec![], 1.0));
    let (mails, _) = tell(&stack, &post, &event).await;
    assert_eq!(
        sent_to(&mails),
        [(Message::ConfirmEmail, "ada@example.org")]
    );
    let text = &mails[0].words.text;
    assert!(
        !text.contains("evil") && !text.contains("Atlantis"),
        "{text}"
    );
}

/// An event that was among the dead letters for longer than its request is kept is no forgery. One whose time was moved is.
#[tokio::test]
async fn a_request_is_good_for_a_mail_as_long_as_it_is_kept_also_if_the_table_forgets_it_late() {
    const MINUTE: TimeDelta = TimeDelta::minutes(1);
    let repeated = Some(Message::AlreadyRegistered);
    for (waited, is_moved, message, is_unfounded) in [
        (LINK_REQUEST_LIFETIME - MINUTE, false, repeated, false),
        (LINK_REQUEST_LIFETIME, false, None, false),
        (LINK_REQUEST_LIFETIME + MINUTE, false, None, false),
        (TimeDelta::days(4), false, None, false),
        (LINK_REQUEST_LIFETIME, true, None, true),
    ] {
        let stack = Stack::with_policy(SessionPolicy {
            require_verified_email: true,
            ..without_limits()
        })
        .await;
        let post = stack.post_office(Language::En);
        for password in [PASSWORD, "another horse staple"] {
            let body = json!({"email": ADA, "password": password});
            let call = stack.post("/v1/auth/register").json(&body);
            call.send().await.expect(StatusCode::ACCEPTED);
        }
        let mut event = told(&stack, "registration.repeated").await.remove(0);
        stack.advance(waited);
        if is_moved {
            event["time"] = json!(stack.core.now());
        }
        let (mails, unfounded) = tell(&stack, &post, &event).await;
        let sent: Vec<Message> = mails.iter().map(|mail| mail.message).collect();
        assert_eq!(sent, message.into_iter().collect::<Vec<_>>(), "{waited}");
        assert_eq!(unfounded > 0.5, is_unfounded, "{waited}");
    }
}

/// A registration that was sent again asks for the link until the address is verified. After that nobody has forged anything.
#[tokio::test]
async fn a_request_that_wants_something_else_by_now_is_no_forgery() {
    let stack = Stack::with_policy(SessionPolicy {
        require_verified_email: true,
        ..without_limits()
    })
    .await;
    let post = stack.post_office(Language::En);
    for _ in 0..2 {
        let call = stack.post("/v1/auth/register");
        let body = json!({"email": ADA, "password": PASSWORD});
        call.json(&body).send().await.expect(StatusCode::ACCEPTED);
    }
    let events = told(&stack, "email_verification.requested").await;
    assert_eq!(events.len(), 2);
    let user = events[0]["subject"].as_str().unwrap().parse().unwrap();
    let token = stack.verify_token(user).await;
    let verified = stack.verify_email(&token).await;
    verified.expect(StatusCode::NO_CONTENT);
    for event in &events {
        assert_eq!(tell(&stack, &post, event).await, (vec![], 0.0), "{event}");
    }
}

#[tokio::test]
async fn a_user_is_created_once_and_deleted_only_if_there_is_no_account() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user = ada.user_id.unwrap();
    let post = stack.post_office(Language::En);
    let genuine = told(&stack, "user.created").await.remove(0);
    let mut later = genuine.clone();
    later["time"] = json!(stack.core.now() + TimeDelta::seconds(1));
    let mut again = genuine.clone();
    again["id"] = json!(Uuid::from_u128(1));
    let deleted = json!({"user_id": user, "email": EVE, "actor": "operator"});
    let deleted = forge(
        &stack,
        user,
        "user.deleted",
        &json!(Uuid::from_u128(2)),
        deleted,
    );
    for forged in [&later, &again, &deleted] {
        assert_eq!(tell(&stack, &post, forged).await, (vec![], 1.0), "{forged}");
    }
    let (mails, _) = tell(&stack, &post, &genuine).await;
    assert_eq!(sent_to(&mails), [(Message::VerifyEmail, ADA)]);
    let reply = stack.delete_account(&ada, PASSWORD).await;
    reply.expect(StatusCode::NO_CONTENT);
    let (mails, _) = tell(&stack, &post, &deleted).await;
    assert_eq!(
        sent_to(&mails),
        [(Message::AccountDeleted, EVE)],
        "not known"
    );
}
