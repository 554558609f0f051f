//! Mails that nobody has asked for are counted for each address, and nobody hides one of them behind others.

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::notice::{Language, Message};
use latchkey_domain::policy::SessionPolicy;
use latchkey_service::notify::{Mail, SendError};
use latchkey_tests::attack::faults::{Fault, Faults, stack_with};
use latchkey_tests::harness::mail::Post;
use latchkey_tests::harness::metering::{extract, recorder};
use latchkey_tests::harness::stack::{PASSWORD, Stack, without_limits};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routes::recovery::told;

const ADA: &str = "ada@example.com";

/// Events of sign-ins on new devices, each with its own id.
async fn flagged(stack: &Stack, count: u128) -> Vec<Value> {
    let mut created = told(stack, "session.created").await.remove(0);
    created["data"]["new_device"] = json!(true);
    let sign_ins = (1..=count).map(|n| {
        let mut flagged = created.clone();
        flagged["id"] = json!(Uuid::from_u128(n));
        flagged
    });
    sign_ins.collect()
}

/// Everything that has happened, of which what was sent before is not sent again.
async fn tell_all(stack: &Stack, post: &Post) -> Vec<(Message, String)> {
    let mut stream = stack.stream();
    stream.drain().await;
    let mails: Vec<Mail> = post.tell(&stream.bus.taken()).await;
    let sent = mails.iter();
    sent.map(|mail| (mail.message, mail.to.as_typed().to_owned()))
        .collect()
}

/// Whoever has the password signs in often, moves the account to their own address, and deletes it before anybody is told.
#[tokio::test]
async fn the_owner_hears_of_another_address_though_the_account_is_gone_and_many_have_signed_in() {
    let stack = Stack::with_policy(without_limits()).await;
    let ada = stack.register(ADA).await;
    let post = stack.post_office(Language::En);
    let token = stack.verify_token(ada.user_id.unwrap()).await;
    let verified = stack.verify_email(&token).await;
    verified.expect(StatusCode::NO_CONTENT);
    assert_eq!(post.tell(&flagged(&stack, 40).await).await.len(), 20);
    let token = stack.change_email_token(&ada, "eve@example.com").await;
    let moved = stack.verify_email(&token).await;
    moved.expect(StatusCode::NO_CONTENT);
    let deleted = stack.delete_account(&ada, PASSWORD).await;
    deleted.expect(StatusCode::NO_CONTENT);
    let sent = tell_all(&stack, &post).await;
    assert!(
        sent.contains(&(Message::EmailChanged, ADA.to_owned())),
        "{sent:?}"
    );
}

#[tokio::test]
async fn whoever_registers_with_anothers_address_and_deletes_the_account_fills_no_mailbox_and_hides_no_link()
 {
    let stack = Stack::with_policy(without_limits()).await;
    let post = stack.post_office(Language::En);
    let mut sent = Vec::new();
    for round in 0..8 {
        let ada = stack.register(ADA).await;
        let now = tell_all(&stack, &post).await;
        if round == 3 {
            assert_eq!(now, [(Message::VerifyEmail, ADA.to_owned())]);
        }
        sent.extend(now);
        let deleted = stack.delete_account(&ada, PASSWORD).await;
        deleted.expect(StatusCode::NO_CONTENT);
        sent.extend(tell_all(&stack, &post).await);
    }
    for message in [Message::VerifyEmail, Message::AccountDeleted] {
        let count = sent.iter().filter(|(sent, _)| *sent == message).count();
        assert_eq!(count, 5, "{message:?}: {sent:?}");
    }
}

/// A stack with a stream on which Ada has registered, and what makes its DynamoDB fail.
async fn ada_with_faults() -> (Stack, Faults) {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    latchkey_store::table::enable_stream(&stack.client, latchkey_tests::harness::stack::TABLE)
        .await
        .unwrap();
    stack.register(ADA).await;
    (stack, faults)
}

#[tokio::test]
async fn a_mail_whose_count_has_failed_is_counted_when_it_comes_again() {
    let (stack, faults) = ada_with_faults().await;
    let post = stack.post_office(Language::En);
    let events = flagged(&stack, 6).await;
    assert_eq!(post.tell(&events[..5]).await.len(), 5);
    // The claim is the first one.
    faults.strike_once(Fault::Invalid, "UpdateItem", 1);
    assert_eq!(post.bring(&events[5..]).await.len(), 1);
    faults.disarm();
    stack.advance(TimeDelta::minutes(3));
    assert_eq!(post.tell(&events[5..]).await, [], "it is one too many");
}

/// Whoever claims a mail that was claimed before does not count it, also if they only hear of their claim when they ask again.
#[tokio::test]
async fn a_mail_is_counted_once_though_the_reply_to_any_claim_is_lost() {
    for lost_at in 0..3 {
        let (stack, faults) = ada_with_faults().await;
        let post = stack.post_office(Language::En);
        let events = flagged(&stack, 6).await;
        post.mailer
            .fail_next(&[SendError::NotNow, SendError::NotNow]);
        for attempt in 0..3 {
            if attempt == lost_at {
                faults.strike_once(Fault::ReplyLost, "UpdateItem", 0);
            }
            let again = post.bring(&events[..1]).await;
            assert_eq!(again.len(), usize::from(attempt < 2), "{lost_at}");
            faults.disarm();
        }
        assert_eq!(post.mailer.take().len(), 1);
        let sent = post.tell(&events[1..]).await.len();
        assert_eq!(sent, 4, "{lost_at}: five in an hour");
    }
}

#[tokio::test]
async fn a_link_is_not_sent_when_it_is_late() {
    for (late, is_sent) in [
        (TimeDelta::zero(), true),
        (TimeDelta::milliseconds(1), false),
    ] {
        for (event_type, within) in [
            ("password_reset.requested", TimeDelta::hours(1)),
            ("email_verification.requested", TimeDelta::hours(24)),
            ("user.created", TimeDelta::hours(24)),
        ] {
            let stack = Stack::start().await;
            let ada = stack.register(ADA).await;
            let asked = stack.request_password_reset(ADA).await;
            asked.expect(StatusCode::ACCEPTED);
            let call = stack.post("/v1/me/verify-email").bearer(&ada.access_token);
            call.send().await.expect(StatusCode::ACCEPTED);
            let events = told(&stack, event_type).await;
            stack.advance(within + late);
            let post = stack.post_office(Language::En);
            let sent = post.tell(&events).await.len();
            assert_eq!(sent, usize::from(is_sent), "{event_type}");
        }
    }
}

#[tokio::test]
async fn a_mail_that_is_left_out_is_counted() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let post = stack.post_office(Language::En);
    let events = flagged(&stack, 6).await;
    for (events, sent, left_out) in [(&events[..5], 5, None), (&events[5..], 0, Some(&1.0))] {
        drop(emf.event_line(stack.now(), "before"));
        assert_eq!(post.tell(events).await.len(), sent);
        let line = emf.event_line(stack.now(), "mails");
        let counted = extract(&line.expect("requests to DynamoDB are counted"));
        assert_eq!(counted.get("MailsLeftOut"), left_out);
    }
}
