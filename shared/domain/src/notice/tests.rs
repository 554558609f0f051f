use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::account::tests::account_of;
use crate::event::{Addressee, Requester, WantedLink};
use crate::random::SeededRandom;
use crate::session::tests::{noon, session};

fn event(event_type: &str, data: Value) -> ReceivedEvent {
    let event = json!({
        "specversion": "1.0", "id": "0b9e6f7e-8f1c-5a35-9d3c-1f6f0a3f5c11", "source": "latchkey", "type": event_type,
        "subject": "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c12", "time": noon(), "data": data,
    });
    serde_json::from_value(event).unwrap()
}

fn verified() -> Account {
    Account {
        email_verified_at: Some(noon()),
        ..account_of(&[])
    }
}

/// The message of an event and to whom it goes.
fn told(event: &ReceivedEvent, account: Option<&Account>) -> Option<(Message, String)> {
    let notice = event.notice(account)?;
    Some((notice.message, notice.to.as_typed().to_owned()))
}

#[test]
fn each_event_has_its_message_and_its_address() {
    use Message::*;
    let one = session(1, noon());
    let account = account_of(&[&one]);
    let ada = "ada@example.com";
    for (event_type, data, message, to) in [
        (
            "session.created",
            json!({"new_device": true}),
            NewDevice,
            ada,
        ),
        (
            "session.created",
            json!({"new_device": true, "unusual_location": true}),
            UnusualPlace,
            ada,
        ),
        (
            "session.created",
            json!({"new_device": false, "unusual_location": true}),
            UnusualPlace,
            ada,
        ),
        (
            "session.ended",
            json!({"reason": "token_reuse"}),
            SessionReused,
            ada,
        ),
        ("user.password_changed", json!({}), PasswordChanged, ada),
        (
            "user.email_changed",
            json!({"email": ada, "previous_email": "old@example.com"}),
            EmailChanged,
            "old@example.com",
        ),
        (
            "user.deleted",
            json!({"email": "gone@example.com"}),
            AccountDeleted,
            "gone@example.com",
        ),
        (
            "user.created",
            json!({"email": "typed@example.com"}),
            VerifyEmail,
            ada,
        ),
        ("email_verification.requested", json!({}), VerifyEmail, ada),
        (
            "password_reset.requested",
            json!({"email": ada}),
            ResetPassword,
            ada,
        ),
        (
            "email_change.requested",
            json!({"email": ada, "new_email": "new@example.com", "email_version": 0, "session_id": one.id}),
            ConfirmEmail,
            "new@example.com",
        ),
        (
            "registration.repeated",
            json!({"email": ada}),
            AlreadyRegistered,
            ada,
        ),
    ] {
        let event = event(event_type, data);
        assert_eq!(
            told(&event, Some(&account)),
            Some((message, to.to_owned())),
            "{event_type}"
        );
        assert!(event.is_told(), "{event_type}");
        let link = event.notice(Some(&account)).unwrap().link;
        assert_eq!(
            link.map(|link| link.purpose().lifetime()),
            message.link_lifetime()
        );
    }
    let words = BTreeSet::from(Message::ALL.map(Message::as_str));
    assert_eq!(words.len(), Message::ALL.len(), "each has its own texts");
}

#[test]
fn there_is_nothing_to_tell_of_other_events_or_nobody_to_be_told() {
    let account = account_of(&[]);
    for (event_type, data) in [
        ("session.created", json!({})),
        (
            "session.created",
            json!({"new_device": false, "unusual_location": false}),
        ),
        ("session.created", json!({"new_device": null})),
        ("session.ended", json!({"reason": "revoked"})),
        ("session.ended", json!({"reason": "a reason of later"})),
        ("session.moved", json!({"ip_address": "203.0.113.7"})),
        ("user.email_changed", json!({"previous_email": null})),
        ("user.deleted", json!({"email": null})),
        ("email_change.requested", json!({})),
        // Its mail is that of the request.
        (
            "user.created",
            json!({"email": "a@b.example", "actor": Actor::Nobody}),
        ),
        ("something.new", json!({})),
    ] {
        assert_eq!(
            event(event_type, data).notice(Some(&account)),
            None,
            "{event_type}"
        );
    }
    assert!(!event("something.new", json!({})).is_told());
    for event_type in ["user.created", "email_verification.requested"] {
        assert_eq!(event(event_type, json!({})).notice(Some(&verified())), None);
    }
    let one = session(1, noon());
    let deleted = account_of(&[&one]).delete(one.id, noon()).unwrap().account;
    for event_type in [
        "user.password_changed",
        "password_reset.requested",
        "registration.repeated",
    ] {
        for account in [None, Some(&deleted)] {
            assert_eq!(
                event(event_type, json!({})).notice(account),
                None,
                "{event_type}"
            );
        }
    }
}

#[test]
fn a_message_says_where_it_was_and_names_a_session_where_the_event_does_not_say() {
    let data = json!({
        "session_id": "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c13", "new_device": true, "device_name": "Chrome on Windows",
        "device_type": "desktop", "ip_address": "203.0.113.7", "location_city": "Berlin", "location_country": "DE",
    });
    let notice = event("session.created", data)
        .notice(Some(&verified()))
        .unwrap();
    let place = notice.whereabouts.unwrap();
    assert_eq!(place.device.as_deref(), Some("Chrome on Windows"));
    assert_eq!(place.device_type, DeviceType::Desktop);
    assert_eq!(place.location.city.as_deref(), Some("Berlin"));
    let actor = json!({"actor": "owner:0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c14"});
    let notice = event("user.password_changed", actor)
        .notice(Some(&verified()))
        .unwrap();
    assert_eq!(notice.whereabouts, None);
    let named = notice.session.unwrap().to_string();
    assert_eq!(named, "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c14");
}

/// Otherwise whoever registers with another's address, or asks for a link to it, could have their words sent there.
#[test]
fn the_words_of_a_stranger_are_not_sent() {
    let shown = |event_type, data, account: &Account| {
        let notice = event(event_type, data).notice(Some(account)).unwrap();
        notice.whereabouts.unwrap().device
    };
    let name = |name: &str| json!({"new_device": true, "device_name": name, "actor": "nobody"});
    let of_owner = json!({"new_device": true, "device_name": "Ada's phone"});
    assert_eq!(
        shown("session.created", of_owner.clone(), &verified()).as_deref(),
        Some("Ada's phone")
    );
    assert_eq!(shown("session.created", of_owner, &account_of(&[])), None);
    for event_type in ["password_reset.requested", "registration.repeated"] {
        assert_eq!(shown(event_type, name("Buy now"), &verified()), None);
    }
    let link = json!({"new_device": true, "device_name": "see evil.example"});
    assert_eq!(shown("session.created", link, &verified()), None);
    // These are our words, whoever chose among them.
    let ours = name("Chrome on Windows");
    let ours = shown("email_verification.requested", ours, &account_of(&[]));
    assert_eq!(ours.as_deref(), Some("Chrome on Windows"));
}

/// A new password ends the session on which somebody else may have asked for a link to their own address, and after another
/// change of address the link is of no use.
#[test]
fn a_link_to_a_new_address_is_for_the_session_that_asked_alone() {
    let (one, two) = (session(1, noon()), session(2, noon()));
    let account = Account {
        email_verified_at: Some(noon()),
        ..account_of(&[&one])
    };
    let told = |session: Option<SessionId>, email_version: Option<u64>| {
        let data = json!({
            "new_email": "new@example.com", "email_version": email_version, "session_id": session,
            "ip_address": "203.0.113.7", "location_city": "Berlin", "device_name": "Buy now",
        });
        event("email_change.requested", data).notice(Some(&account))
    };
    let whereabouts = told(Some(one.id), Some(0)).unwrap().whereabouts.unwrap();
    assert_eq!(whereabouts.device, None, "it may be a stranger's mailbox");
    let location = whereabouts.location;
    assert_eq!(
        (location.ip_address, location.city.as_deref()),
        (None, Some("Berlin"))
    );
    for (session, email_version) in [
        (None, Some(0)),
        (Some(two.id), Some(0)),
        (Some(one.id), None),
        (Some(one.id), Some(1)),
    ] {
        assert_eq!(told(session, email_version), None);
    }
}

#[test]
fn a_message_that_asks_whose_an_account_is_says_since_when_it_is_there() {
    let account = account_of(&[]);
    let created = |event_type| {
        let notice = event(event_type, json!({})).notice(Some(&account));
        notice.unwrap().account_created_at
    };
    assert_eq!(created("user.created"), Some(account.created_at));
    assert_eq!(created("password_reset.requested"), None);
}

#[test]
fn an_event_is_told_as_long_as_anybody_waits_for_it() {
    let three_days = TimeDelta::days(3) - TimeDelta::minutes(1);
    for (event_type, within, is_asked_for) in [
        ("user.password_changed", TimeDelta::days(5), false),
        ("registration.repeated", three_days, true),
        ("user.created", TimeDelta::hours(24), false),
        ("email_verification.requested", TimeDelta::hours(24), true),
        ("email_change.requested", TimeDelta::hours(24), true),
        ("password_reset.requested", TimeDelta::hours(1), true),
    ] {
        let event = event(event_type, json!({}));
        assert!(!event.is_stale(noon() + within), "{event_type}");
        let late = noon() + within + TimeDelta::milliseconds(1);
        assert!(event.is_stale(late), "{event_type}");
        assert_eq!(event.is_asked_for(), is_asked_for, "{event_type}");
        // Else its request is gone first, and it counts as one that nobody has asked for.
        if is_asked_for {
            assert!(within < LINK_REQUEST_LIFETIME, "{event_type}");
        }
    }
    for message in Message::ALL {
        assert!(message.tell_within() <= TELL_WITHIN, "{message:?}");
    }
}

#[test]
fn a_link_says_whether_those_who_run_the_service_have_asked_for_it() {
    let user: UserId = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c12".parse().unwrap();
    let session = session(1, noon()).id;
    for (actor, is_operator) in [
        (Some(Actor::Operator), true),
        (Some(Actor::Admin(user)), true),
        (Some(Actor::Nobody), false),
        (Some(Actor::Owner(session)), false),
        (None, false),
    ] {
        let event = event("password_reset.requested", json!({"actor": actor}));
        let notice = event.notice(Some(&verified())).unwrap();
        assert_eq!(notice.from_operator, is_operator, "{actor:?}");
    }
}

#[test]
fn that_nothing_is_known_of_a_device_is_no_name() {
    let data = json!({"new_device": true, "device_name": UNKNOWN_DEVICE});
    let notice = event("session.created", data).notice(Some(&verified()));
    let whereabouts = notice.unwrap().whereabouts.unwrap();
    assert_eq!(whereabouts.device, None);
    assert_eq!(whereabouts.device_type, DeviceType::Unknown);
    let unknown = Session {
        device: crate::device::Device::describe(None, None, None, Default::default()),
        ..session(1, noon())
    };
    assert_eq!(Whereabouts::of(&unknown).device, None);
}

/// Whoever may put events on the bus could have made it up.
#[test]
fn a_link_is_sent_for_what_was_written_when_it_was_asked_for() {
    use Finding::{Founded, Overtaken, Unfounded};
    let account = account_of(&[]);
    let request = LinkRequest {
        id: RequestId::random(&SeededRandom::new(1)),
        wanted: WantedLink::RetryRegistration,
        addressee: Addressee::User(account.id),
        requester: Requester::default(),
        actor: Actor::Nobody,
        at: noon(),
    };
    let told = ReceivedEvent::of(&request.event(&account).unwrap());
    assert_eq!(told.request_id(), Some(request.id));
    let founded = || Founded(Box::new(told.clone()));
    let (mut changed, mut made_up) = (told.clone(), told.clone());
    changed.data.device_name = Some("Buy now".to_owned());
    made_up.id = Uuid::from_u128(1);
    let (asked, end) = (Some(&request), noon() + LINK_REQUEST_LIFETIME);
    for (event, account, request, now, finding) in [
        (&told, Some(&account), asked, noon(), founded()),
        (&changed, Some(&account), asked, noon(), founded()),
        (&told, None, asked, noon(), Overtaken),
        // It would say something else by now: that the account is there.
        (&told, Some(&verified()), asked, noon(), Overtaken),
        (&told, Some(&account), None, noon(), Unfounded),
        (&told, Some(&account), asked, end, Unfounded),
        (&made_up, Some(&account), asked, noon(), Unfounded),
    ] {
        assert_eq!(event.find(account, request, now), finding, "{event:?}");
    }
}

#[test]
fn a_user_is_created_once_and_deleted_only_if_the_account_is() {
    let one = session(1, noon());
    let account = account_of(&[&one]);
    let deleted = account.clone().delete(one.id, noon()).unwrap().account;
    let mut created = event("user.created", json!({}));
    (created.id, created.at) = (creation_event_id(&account), account.created_at);
    let (mut another, mut later) = (created.clone(), created.clone());
    another.id = Uuid::from_u128(1);
    later.at += TimeDelta::milliseconds(1);
    let deletion = event("user.deleted", json!({}));
    for (event, account, is_founded) in [
        (&created, Some(&account), true),
        (&another, Some(&account), false),
        (&later, Some(&account), false),
        (&deletion, Some(&account), false),
        (&deletion, Some(&deleted), true),
        (&deletion, None, true),
    ] {
        let expected = if is_founded {
            Finding::Founded(Box::new(event.clone()))
        } else {
            Finding::Unfounded
        };
        assert_eq!(event.find(account, None, noon()), expected, "{event:?}");
    }
}

#[test]
fn an_address_that_nobody_has_confirmed_gets_fewer_mails() {
    let (confirmed, unconfirmed) = (verified(), account_of(&[]));
    for (event_type, was_verified, account, most) in [
        ("user.password_changed", None, Some(&confirmed), 20),
        ("user.password_changed", None, Some(&unconfirmed), 5),
        // The account has another address by now, or is gone: the event tells what was.
        ("user.email_changed", Some(false), Some(&confirmed), 5),
        ("user.email_changed", Some(true), Some(&unconfirmed), 20),
        ("user.deleted", Some(true), None, 20),
        ("user.deleted", None, None, 5),
    ] {
        let old = "old@example.com";
        let data = json!({"email": old, "previous_email": old, "was_verified": was_verified});
        let notice = event(event_type, data).notice(account).unwrap();
        assert_eq!(notice.most_in_hour(), most, "{event_type} {was_verified:?}");
    }
}
