//! Mail: each event that concerns a person gives one mail, and no mail is lost.

use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::cause::Actor;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::event::{Addressee, LinkRequest, Requester, WantedLink};
use latchkey_domain::id::{RequestId, UserId};
use latchkey_domain::notice::{Language, Message};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::token::{EmailChange, LinkPurpose, Token};
use latchkey_service::notify::{Mail, SendError};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::mail::{ACCOUNT_URL, Post};
use latchkey_tests::harness::metering::{extract, recorder};
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{CHROME, PASSWORD, Stack, tokens, without_limits};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::routes::recovery;

const ADA: &str = "ada@example.com";

fn messages(mails: &[Mail]) -> Vec<(Message, &str)> {
    let told = mails.iter().map(|mail| (mail.message, mail.to.as_typed()));
    told.collect()
}

/// The events of what has happened on a stack.
async fn events(stack: &Stack) -> Vec<Value> {
    let mut stream = stack.stream();
    stream.drain().await;
    stream.bus.taken()
}

fn of_type<'a>(events: &'a [Value], event_type: &str) -> &'a Value {
    let found = events
        .iter()
        .rev()
        .find(|event| event["type"] == event_type);
    found.unwrap_or_else(|| panic!("{event_type}"))
}

/// The event of another sign-in, with a flag: its id follows from `name`.
fn flag_sign_in(created: &Value, flag: &str, name: &str) -> Value {
    let mut flagged = created.clone();
    flagged["data"][flag] = json!(true);
    let id = Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes());
    flagged["id"] = json!(id);
    flagged
}

/// The token of the link of a mail, which stands in its text and in its page.
fn token(mail: &Mail, page: &str) -> Token {
    let begin = format!("{ACCOUNT_URL}/{page}#token=");
    let token = mail
        .words
        .text
        .lines()
        .find_map(|line| line.strip_prefix(&begin))
        .unwrap();
    assert!(mail.words.html.contains(token));
    Token::new(token.to_owned())
}

#[tokio::test]
async fn everything_that_a_person_should_hear_of_is_told_in_both_languages() {
    use Message::*;
    for (language, says, device) in [
        (Language::En, "If this was you", "Chrome on Windows"),
        (Language::De, "Wenn Sie das waren", "Chrome unter Windows"),
    ] {
        let stack = Stack::start().await;
        let ada = stack.register(ADA).await;
        let thief = stack.login(ADA).await;
        stack.refresh_session(&thief).await;
        stack.advance(TimeDelta::seconds(36));
        stack
            .refresh(&thief.refresh_token)
            .await
            .expect_problem(401, "refresh_token_reused");
        let changed = stack
            .change_password(&ada, PASSWORD, "another horse staple")
            .await;
        let changed = SignedIn::from(changed.expect(StatusCode::OK));
        let post = stack.post_office(language);
        let mails = post.tell(&events(&stack).await).await;
        let expected = [
            (VerifyEmail, ADA),
            (SessionReused, ADA),
            (PasswordChanged, ADA),
        ];
        assert_eq!(messages(&mails), expected);
        // What it ran on stands in the item of the session.
        let place = &mails[1].words.text;
        assert!(place.contains(device), "{place}");
        assert!(mails[2].words.text.contains(says));
        // The session that has changed the password is gone, and the one that it began is there.
        assert!(mails[2].words.text.contains(device));
        let body = json!({"password": "another horse staple"});
        let delete = stack.post("/v1/me/delete").bearer(&changed.access_token);
        delete
            .json(&body)
            .send()
            .await
            .expect(StatusCode::NO_CONTENT);
        let mails = post.tell(&events(&stack).await).await;
        assert_eq!(messages(&mails), [(AccountDeleted, ADA)]);
    }
}

#[tokio::test]
async fn a_sign_in_that_is_flagged_is_told_with_device_place_and_time() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let post = stack.post_office(Language::En);
    let told = events(&stack).await;
    let ordinary = of_type(&told, "session.created").clone();
    assert_eq!(post.tell(std::slice::from_ref(&ordinary)).await, []);
    for (flag, message) in [
        ("new_device", Message::NewDevice),
        ("unusual_location", Message::UnusualPlace),
    ] {
        let mut flagged = flag_sign_in(&ordinary, flag, flag);
        flagged["data"]["location_city"] = json!("Berlin");
        let mails = post.tell(&[flagged]).await;
        assert_eq!(messages(&mails), [(message, ADA)]);
        for shown in ["Berlin", "1 March 2026 at 12:00 UTC", "This wasn’t me"] {
            let words = &mails[0].words;
            assert!(words.html.contains(shown), "{shown}: {}", words.html);
        }
    }
}

/// Whoever has the password of an account, or has registered with somebody else's address, fills no mailbox.
#[tokio::test]
async fn sign_ins_without_number_give_some_mails_an_hour_and_hide_no_change_of_the_account() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let post = stack.post_office(Language::En);
    let told = events(&stack).await;
    let created = of_type(&told, "session.created").clone();
    let flood = |hour: u32| -> Vec<Value> {
        let sign_ins = (0..40).map(|n| format!("{hour} {n}"));
        let flagged = sign_ins.map(|name| flag_sign_in(&created, "new_device", &name));
        flagged.collect()
    };
    assert_eq!(post.tell(&flood(0)).await.len(), 5, "not confirmed");
    let token = stack.verify_token(ada.user_id.unwrap()).await;
    stack
        .verify_email(&token)
        .await
        .expect(StatusCode::NO_CONTENT);
    stack.advance(TimeDelta::hours(1));
    assert_eq!(post.tell(&flood(1)).await.len(), 20, "confirmed");
    assert_eq!(
        post.tell(&flood(1)).await,
        [],
        "what was left out stays out"
    );
    let ada = stack.login(ADA).await;
    let changed = stack.change_password(&ada, PASSWORD, "another horse staple");
    changed.await.expect(StatusCode::OK);
    stack
        .request_password_reset(ADA)
        .await
        .expect(StatusCode::ACCEPTED);
    let mails = post.tell(&events(&stack).await).await;
    let told: Vec<Message> = mails.iter().map(|mail| mail.message).collect();
    assert!(told.contains(&Message::PasswordChanged), "{told:?}");
    assert!(told.contains(&Message::ResetPassword), "{told:?}");
}

#[tokio::test]
async fn the_link_of_a_mail_is_fresh_and_for_its_purpose() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let user: UserId = ada.user_id.unwrap();
    let post = stack.post_office(Language::En);
    let account = stack.store.read_account(user).await.unwrap().unwrap();
    let new_email = EmailAddress::parse("new@example.com").unwrap();
    for (wanted, page, purpose, to) in [
        (
            WantedLink::ResetPassword,
            "reset-password",
            LinkPurpose::ResetPassword,
            ADA,
        ),
        (
            WantedLink::VerifyEmail,
            "verify-email",
            LinkPurpose::VerifyEmail,
            ADA,
        ),
        (
            WantedLink::ChangeEmail(EmailChange {
                email: new_email,
                email_version: 0,
                session_id: ada.session_id,
            }),
            "verify-email",
            LinkPurpose::ChangeEmail,
            "new@example.com",
        ),
    ] {
        let request = LinkRequest {
            id: RequestId::random(stack.core.random.as_ref()),
            wanted,
            addressee: Addressee::User(user),
            requester: Requester::default(),
            actor: Actor::Owner(ada.session_id),
            at: stack.core.now(),
        };
        stack.store.write_link_request(&request).await.unwrap();
        let event = json!(request.event(&account).unwrap());
        // However long the event has waited.
        stack.advance(match purpose {
            LinkPurpose::ResetPassword => Message::ResetPassword.tell_within(),
            LinkPurpose::VerifyEmail | LinkPurpose::ChangeEmail => TimeDelta::hours(20),
        });
        let mails = post.tell(&[event]).await;
        let token = token(&mails[0], page);
        let last = stack.core.now() + purpose.lifetime() - TimeDelta::seconds(1);
        let link = tokens().verify_link(purpose, &token, last).unwrap();
        assert_eq!((link.user(), link.email().as_typed()), (user, to));
    }
    let request = LinkRequest {
        id: RequestId::random(stack.core.random.as_ref()),
        wanted: WantedLink::RepeatRegistration,
        addressee: Addressee::User(user),
        requester: Requester::default(),
        actor: Actor::Nobody,
        at: stack.core.now(),
    };
    stack.store.write_link_request(&request).await.unwrap();
    let mails = post.tell(&[json!(request.event(&account).unwrap())]).await;
    assert_eq!(messages(&mails), [(Message::AlreadyRegistered, ADA)]);
}

/// Every event that happened, in its order, as a bus without our rule would bring it.
async fn told(stack: &Stack, post: &Post) -> Vec<Mail> {
    post.tell(&events(stack).await).await
}

#[tokio::test]
async fn where_addresses_must_be_verified_a_free_and_a_taken_one_get_one_mail_each() {
    let stack = Stack::with_policy(SessionPolicy {
        require_verified_email: true,
        ..without_limits()
    })
    .await;
    let post = stack.post_office(Language::En);
    let body = json!({"email": ADA, "password": PASSWORD, "device_name": "Buy at evil"});
    let register = async || {
        let call = stack.post("/v1/auth/register").user_agent(CHROME);
        call.json(&body).send().await.expect(StatusCode::ACCEPTED);
    };
    register().await;
    let mails = told(&stack, &post).await;
    assert_eq!(messages(&mails), [(Message::VerifyEmail, ADA)]);
    let text = &mails[0].words.text;
    for says in [
        "created with this e-mail address on 1 March 2026 at 12:00 UTC",
        "Network address: 203.0.113.7",
        "If you did not create this account, do not confirm it.",
        ACCOUNT_URL,
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert!(!text.contains("evil"), "a stranger has chosen it: {text}");
    let link = token(&mails[0], "verify-email");
    let refused = stack.try_login(ADA, PASSWORD).await;
    refused.expect_problem(403, "email_not_verified");
    let reply = stack.verify_email(link.expose()).await;
    reply.expect(StatusCode::NO_CONTENT);
    assert_eq!(messages(&told(&stack, &post).await), []);
    stack.advance(TimeDelta::minutes(1));
    register().await;
    let mails = told(&stack, &post).await;
    assert_eq!(messages(&mails), [(Message::AlreadyRegistered, ADA)]);
    assert!(!mails[0].words.text.contains("#token="), "it has no link");
}

#[tokio::test]
async fn a_change_of_address_sends_the_link_to_the_new_one_and_word_of_it_to_the_old_one() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let post = stack.post_office(Language::En);
    told(&stack, &post).await;
    let ask = async |who: &SignedIn, email: &str, password: &str| {
        let body = json!({"email": email, "password": password});
        let call = stack.request(Method::PUT, "/v1/me/email");
        let call = call.bearer(&who.access_token).json(&body);
        call.send().await.expect(StatusCode::ACCEPTED);
    };
    ask(&ada, "new@example.com", PASSWORD).await;
    let mails = told(&stack, &post).await;
    assert_eq!(
        messages(&mails),
        [(Message::ConfirmEmail, "new@example.com")]
    );
    let text = &mails[0].words.text;
    assert!(
        text.contains("Device: ") && text.contains("Time: "),
        "{text}"
    );
    assert!(
        !text.contains("203.0.113.7"),
        "a stranger may read it: {text}"
    );
    let link = token(&mails[0], "verify-email");
    let reply = stack.verify_email(link.expose()).await;
    reply.expect(StatusCode::NO_CONTENT);
    let mails = told(&stack, &post).await;
    assert_eq!(messages(&mails), [(Message::EmailChanged, ADA)]);

    // Somebody who has got in asks for another address, and the mail has to wait. The owner resets the password.
    let thief = stack.login("new@example.com").await;
    ask(&thief, "thief@example.com", PASSWORD).await;
    let token = stack.reset_token(ada.user_id.unwrap()).await;
    let reply = stack.reset_password(&token, "another horse staple").await;
    reply.expect(StatusCode::NO_CONTENT);
    let mails = told(&stack, &post).await;
    assert_eq!(
        messages(&mails),
        [(Message::PasswordChanged, "new@example.com")]
    );
}

#[tokio::test]
async fn one_event_gives_one_mail_however_often_it_comes_and_also_at_once() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let created = recovery::told(&stack, "user.created").await;
    let post = stack.post_office(Language::En);
    let (one, two) = tokio::join!(post.bring(&created), post.bring(&created));
    assert_eq!(post.mailer.take().len(), 1);
    assert_eq!(
        one.len() + two.len(),
        1,
        "the other one is brought again, in case this one dies"
    );
    for hours in [0, 23, 96] {
        stack.advance(TimeDelta::hours(hours));
        assert_eq!(post.tell(&created).await, [], "{hours}");
    }
    // Not even when nothing is known of it any more.
    stack.advance(TimeDelta::days(30));
    stack.dynamodb.database.sweep_ttl().unwrap();
    assert_eq!(post.tell(&created).await, []);
}

#[tokio::test]
async fn a_mail_that_cannot_be_sent_now_is_sent_later() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    stack.register("bob@example.com").await;
    let created = recovery::told(&stack, "user.created").await;
    let post = stack.post_office(Language::En);
    post.mailer.fail_next(&[SendError::NotNow]);
    let again = post.bring(&created).await;
    assert_eq!(
        again,
        [created[0]["id"].as_str().unwrap()],
        "that one alone"
    );
    assert_eq!(
        messages(&post.mailer.take()),
        [(Message::VerifyEmail, "bob@example.com")]
    );
    // At once, not only when the claim is over.
    assert_eq!(
        messages(&post.tell(&created).await),
        [(Message::VerifyEmail, ADA)]
    );
}

#[tokio::test]
async fn a_mail_that_is_refused_goes_to_the_dead_letters_at_once_and_can_be_brought_again() {
    let log = Log::capture();
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let created = recovery::told(&stack, "user.created").await;
    let post = stack.post_office(Language::En);
    let code = "MessageRejected".to_owned();
    post.mailer.fail_next(&[SendError::Refused { code }]);
    assert_eq!(post.tell(&created).await, []);
    let items = stack.items().await;
    let letters: Vec<_> = items
        .iter()
        .filter(|item| item["pk"] == "DEADLETTER#mail")
        .collect();
    assert_eq!(
        (letters.len(), &letters[0]["reason"]),
        (1, &json!("MessageRejected"))
    );
    assert_eq!(letters[0]["sk"], created[0]["id"]);
    let kept: Value = serde_json::from_str(letters[0]["record"].as_str().unwrap()).unwrap();
    assert_eq!(kept["detail"], created[0]);
    // Somebody has put it right, and brings it again.
    assert_eq!(post.tell(&created).await.len(), 1);
    let log = log.end();
    assert!(
        log.contains("ERROR") && log.contains("MessageRejected"),
        "{log}"
    );
    assert!(!log.contains(ADA), "{log}");
}

#[tokio::test]
async fn a_mail_whose_sender_died_is_sent_again_when_its_claim_is_over_and_not_before() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let created = recovery::told(&stack, "user.created").await;
    let event = created[0]["id"].as_str().unwrap().parse().unwrap();
    let post = stack.post_office(Language::En);
    let now = stack.core.now();
    let lease = now + post.notifier.lease;
    // It has claimed the mail, perhaps sent it, and died.
    let claimed = stack.store.claim_mail(event, 2, now, lease);
    claimed.await.unwrap();
    stack.advance(TimeDelta::seconds(59));
    assert_eq!(post.bring(&created).await.len(), 1);
    assert_eq!(post.mailer.take(), []);
    stack.advance(TimeDelta::seconds(1));
    assert_eq!(post.tell(&created).await.len(), 1);
    assert_eq!(post.tell(&created).await, []);
}

/// The budget of a mail: what it asks of DynamoDB, and what it counts.
#[tokio::test]
async fn a_mail_costs_a_few_requests_and_is_counted_by_what_becomes_of_it() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let created = recovery::told(&stack, "user.created").await;
    let post = stack.post_office(Language::En);
    let code = "MessageRejected".to_owned();
    post.mailer
        .fail_next(&[SendError::NotNow, SendError::Refused { code }]);
    for (counted, trips, write_units, read_units) in [
        // Counted the first time alone: a mail that has to wait does not use up its address.
        (Some("MailFailures"), 5, 3.0, 2.0),
        (Some("MailsRefused"), 5, 3.0, 2.0),
        (Some("MailsSent"), 4, 2.0, 2.0),
        (None, 3, 1.0, 2.0),
    ] {
        drop(emf.event_line(stack.now(), "before"));
        drop(stack.recorder.take());
        post.bring(&created).await;
        let cost = stack.recorder.take_cost();
        let cost = (cost.trips, cost.write_units, cost.read_units);
        assert_eq!(cost, (trips, write_units, read_units), "{counted:?}");
        let line = emf.event_line(stack.now(), "a mail");
        let line = line.expect("requests to DynamoDB are counted");
        for name in ["MailFailures", "MailsRefused", "MailsSent"] {
            let count = extract(&line).get(name).copied();
            assert_eq!(count, (Some(name) == counted).then_some(1.0), "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_no_event_goes_to_the_dead_letters_and_holds_up_nothing() {
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let told = events(&stack).await;
    let created = json!({"detail": of_type(&told, "user.created")}).to_string();
    let post = stack.post_office(Language::En);
    let messages = [
        ("a", "no JSON"),
        ("b", "{\"detail\": {}}"),
        ("c", created.as_str()),
    ];
    let messages = messages.map(|(id, body)| (id.to_owned(), body.to_owned()));
    assert_eq!(
        post.bring_bodies(messages.to_vec()).await,
        [] as [String; 0]
    );
    assert_eq!(post.mailer.take().len(), 1);
    let items = stack.items().await;
    let letters = items.iter().filter(|item| item["pk"] == "DEADLETTER#mail");
    let ids: Vec<&Value> = letters.map(|item| &item["sk"]).collect();
    assert_eq!(ids, ["a", "b"]);
}

#[tokio::test]
async fn no_link_no_token_and_no_address_is_logged() {
    let log = Log::capture();
    let stack = Stack::start().await;
    stack.register(ADA).await;
    let post = stack.post_office(Language::En);
    post.mailer.fail_next(&[SendError::NotNow]);
    let told = events(&stack).await;
    post.bring(&told).await;
    let mails = post.tell(&told).await;
    let token = token(&mails[0], "verify-email");
    let shown = format!("{:?} {:?}", mails[0], post.notifier.mailer.clone());
    let log = log.end() + &shown;
    assert!(log.contains("mail sent"), "{log}");
    for secret in [token.expose(), ADA, "#token="] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn an_account_that_was_deleted_meanwhile_gets_no_link() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let told = events(&stack).await;
    let delete = stack
        .request(Method::POST, "/v1/me/delete")
        .bearer(&ada.access_token);
    let deleted = delete.json(&json!({"password": PASSWORD})).send().await;
    deleted.expect(StatusCode::NO_CONTENT);
    let post = stack.post_office(Language::En);
    assert_eq!(post.tell(&told).await, [], "nobody is to be told");
}
