//! A mail service that takes a mail and does not answer: a person gets the mail a few times at most, and it is not lost either.

use chrono::TimeDelta;
use latchkey_domain::notice::Language;
use latchkey_service::notify::{MOST_UNANSWERED, SendError};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::mail::Post;
use latchkey_tests::harness::metering::{extract, recorder};
use latchkey_tests::harness::stack::Stack;
use serde_json::{Value, json};

use crate::routes::recovery::told;

async fn created(stack: &Stack) -> Vec<Value> {
    stack.register("ada@example.com").await;
    told(stack, "user.created").await
}

/// The reasons of the mails that were put aside.
async fn put_aside(stack: &Stack) -> Vec<Value> {
    let items = stack.items().await.into_iter();
    let letters = items.filter(|item| item["pk"] == "DEADLETTER#mail");
    letters.map(|letter| letter["reason"].clone()).collect()
}

/// Brings events as the queue does, until they are done or `most` times. Returns how often.
async fn bring_again_and_again(stack: &Stack, post: &Post, events: &[Value], most: usize) -> usize {
    for times in 1..=most {
        if post.bring(events).await.is_empty() {
            return times;
        }
        stack.advance(TimeDelta::minutes(3));
    }
    most + 1
}

#[tokio::test]
async fn a_mail_is_handed_over_three_times_without_an_answer_and_then_counts_as_sent() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let log = Log::capture();
    let stack = Stack::start().await;
    let events = created(&stack).await;
    let post = stack.post_office(Language::En);
    post.mailer.fail_next(&[const { SendError::Unanswered }; 9]);
    drop(emf.event_line(stack.now(), "before"));
    assert_eq!(MOST_UNANSWERED, 3);
    assert_eq!(
        bring_again_and_again(&stack, &post, &events, 200).await,
        131
    );
    let line = emf.event_line(stack.now(), "mails").unwrap();
    let counted = extract(&line);
    assert_eq!(counted.get("MailFailures"), Some(&3.0));
    assert_eq!(counted.get("MailsRefused"), Some(&1.0));
    let [reason] = &put_aside(&stack).await[..] else {
        panic!("one dead letter");
    };
    assert!(
        reason.as_str().unwrap().contains("may have taken"),
        "{reason}"
    );
    // The mail service would take it now, and the person may have it three times already.
    post.mailer.fail_next(&[]);
    assert_eq!(post.tell(&events).await, []);
    let log = log.end();
    assert_eq!(
        log.matches("nobody knows whether a mail was sent").count(),
        2
    );
    assert!(log.contains("ERROR") && log.contains("went to the dead letters"));
    assert!(!log.contains("ada@example.com"), "{log}");
}

/// The claim is counted before the mail is sent, so whoever dies in between is counted too.
#[tokio::test]
async fn those_who_die_while_they_send_are_counted_as_those_who_hear_nothing() {
    let stack = Stack::start().await;
    let events = created(&stack).await;
    let event = events[0]["id"].as_str().unwrap().parse().unwrap();
    let post = stack.post_office(Language::En);
    for _ in 0..MOST_UNANSWERED {
        let now = stack.core.now();
        let until = now + post.notifier.lease;
        let claimed = stack.store.claim_mail(event, MOST_UNANSWERED, now, until);
        claimed.await.unwrap();
        assert_eq!(
            post.bring(&events).await.len(),
            1,
            "until its claim is over"
        );
        stack.advance(post.notifier.lease);
    }
    for _ in 0..2 {
        assert_eq!(post.tell(&events).await, []);
        assert_eq!(put_aside(&stack).await.len(), 1);
    }
}

#[tokio::test]
async fn a_mail_that_was_not_taken_is_tried_again_as_often_as_it_comes() {
    let stack = Stack::start().await;
    let events = created(&stack).await;
    let post = stack.post_office(Language::En);
    let mut failures = vec![SendError::NotNow; 20];
    failures.splice(5..5, [SendError::Unanswered, SendError::Unanswered]);
    post.mailer.fail_next(&failures);
    // Every three minutes: half an hour after the first that was not answered, six hours after the second.
    assert_eq!(
        bring_again_and_again(&stack, &post, &events, 200).await,
        151
    );
    assert_eq!(post.mailer.take().len(), 1);
    assert_eq!(put_aside(&stack).await, [json!(null); 0]);
}

/// A link to choose another password is told within an hour, so it never gets to the dead letters of the queue.
#[tokio::test]
async fn a_mail_that_fails_until_it_is_too_old_is_an_error_and_one_that_was_sent_is_not() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let stack = Stack::start().await;
    for email in ["ada@example.com", "bob@example.com", "eve@example.com"] {
        stack.register(email).await;
        let asked = stack.request_password_reset(email).await;
        asked.expect(http::StatusCode::ACCEPTED);
    }
    let events = told(&stack, "password_reset.requested").await;
    let post = stack.post_office(Language::En);
    post.mailer.fail_next(&[SendError::NotNow]);
    assert_eq!(post.bring(&events[..2]).await.len(), 1, "Ada's");
    assert_eq!(post.mailer.take().len(), 1, "Bob's");
    stack.advance(TimeDelta::hours(1) + TimeDelta::milliseconds(1));
    for (event, is_error) in [(0, true), (1, false), (2, false)] {
        let mut brought = events[event].clone();
        for at in [brought["time"].clone(), json!(stack.core.now())] {
            // By whoever may put events on the bus: the request says when it was made.
            brought["time"] = at;
            drop(emf.event_line(stack.now(), "before"));
            let log = Log::capture();
            assert_eq!(post.tell(&[brought.clone()]).await, [], "{event}");
            let log = log.end();
            assert_eq!(log.contains("ERROR"), is_error, "{log}");
            assert!(log.contains("too old"), "{log}");
            assert!(!log.contains("@example.com"), "{log}");
            let line = emf.event_line(stack.now(), "a mail").unwrap();
            let left_out = extract(&line).get("MailsLeftOut").copied();
            assert_eq!(left_out, is_error.then_some(1.0));
        }
    }
}

/// The person may have it twice: nobody is to hear that it was not sent.
#[tokio::test]
async fn a_mail_that_was_not_answered_until_it_is_too_old_is_no_error() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let asked = stack.request_password_reset("ada@example.com").await;
    asked.expect(http::StatusCode::ACCEPTED);
    let events = told(&stack, "password_reset.requested").await;
    let post = stack.post_office(Language::En);
    post.mailer
        .fail_next(&[SendError::Unanswered, SendError::Unanswered]);
    let log = Log::capture();
    // Six and a half hours: the claim of the second attempt is over then.
    assert_eq!(
        bring_again_and_again(&stack, &post, &events, 200).await,
        131
    );
    let log = log.end();
    assert!(!log.contains("ERROR"), "{log}");
    assert!(log.contains("a mail is too old to be sent again"), "{log}");
    let line = emf.event_line(stack.now(), "mails").unwrap();
    assert_eq!(extract(&line).get("MailsLeftOut"), None);
    assert_eq!(put_aside(&stack).await, [json!(null); 0]);
}

#[tokio::test]
async fn an_address_that_the_mail_service_never_takes_is_counted_once() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let stack = Stack::start().await;
    let events = created(&stack).await;
    let post = stack.post_office(Language::En);
    post.mailer.fail_next(&[SendError::Unsupported]);
    for left_out in [Some(1.0), None] {
        drop(emf.event_line(stack.now(), "before"));
        assert_eq!(post.tell(&events).await, []);
        let line = emf.event_line(stack.now(), "a mail").unwrap();
        assert_eq!(extract(&line).get("MailsLeftOut").copied(), left_out);
    }
    assert_eq!(put_aside(&stack).await, [json!(null); 0]);
}
