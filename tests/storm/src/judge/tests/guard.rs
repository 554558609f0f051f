//! Administration, step-up, limits and events.

use super::*;

fn of_administrator(start: Moment, end: Moment, op: Op) -> Event {
    event(start, end, op, Answer::Nothing)
}

#[test]
fn a_closed_account_lets_nobody_in_until_it_is_opened() {
    let closed = StoredUser {
        version: 3,
        active: false,
        admitted: Vec::new(),
        ..user()
    };
    let disable = || of_administrator(0, 1, Op::Disable);
    assert_eq!(found(&[disable()], &closed), Vec::<String>::new());
    let me = event(2, 3, Op::Me(by(1)), Answer::User(user().user));
    only(&[disable(), me], &closed, "works, but it had been ended");
    let open = StoredUser {
        active: true,
        ..closed.clone()
    };
    only(&[disable()], &open, "an account is open that was disabled");
    let enable = of_administrator(2, 3, Op::Enable);
    assert_eq!(found(&[disable(), enable], &open), Vec::<String>::new());
    assert!(
        found(&[], &closed).contains(&"an account is disabled that nobody disabled".to_owned())
    );
    let refused = Answer::Refused(403, "account_disabled".to_owned());
    let turned_away = sign_in("old", Guesser::NewDevice, refused);
    only(
        std::slice::from_ref(&turned_away),
        &user(),
        "but nobody has disabled it",
    );
    let disabled_later = of_administrator(3, 4, Op::Disable);
    only(
        &[turned_away, disabled_later],
        &closed,
        "but nobody has disabled it",
    );
    let not_found = Answer::Refused(404, "user_not_found".to_owned());
    only(
        &[event(0, 1, Op::Disable, not_found)],
        &user(),
        "does not find a user",
    );
}

#[test]
fn what_an_administrator_ends_has_ended() {
    let revoke = of_administrator(0, 1, Op::AdminRevoke { target: session(1) });
    let after = without(user(), 1);
    assert_eq!(
        found(std::slice::from_ref(&revoke), &after),
        Vec::<String>::new()
    );
    let refreshed = event(2, 3, refresh(1, 0), successor(1, 1, 2, "a"));
    let after = without(rotated(user(), 1, 1, NOON + 62 * SECOND), 1);
    only(&[revoke, refreshed], &after, "works, but it had been ended");
}

/// A user whose session 1 has run out before the round, and is still admitted.
fn user_with_an_expired_session() -> StoredUser {
    let mut user = user();
    if let Some(item) = user.sessions.get_mut(&session(1)) {
        item.idle_end = NOON + 30 * SECOND;
    }
    user
}

#[test]
fn an_administrator_ends_what_is_admitted_without_its_item_too() {
    let revoke = |target| of_administrator(2, 3, Op::AdminRevoke { target });
    let none = Vec::<String>::new();
    let mut purged = user();
    purged.admitted.push(session(3));
    let after = StoredUser {
        version: 3,
        ..user()
    };
    let events = [revoke(session(3))];
    assert_eq!(found_since(&purged, &events, Some(&after)), none);
    let expired = user_with_an_expired_session();
    let mut after = without(user(), 1);
    after.sessions.remove(&session(1));
    let purge = event(0, 1, Op::Purge(by(2)), Answer::Count(1));
    let events = [purge, revoke(session(1))];
    assert_eq!(found_since(&expired, &events, Some(&after)), none);
    let expired_one = ["an administrator's revoke works, but it has expired"];
    assert_eq!(
        found_since(&expired, &events[1..], Some(&after)),
        expired_one
    );
    let with_item = without(expired.clone(), 1);
    assert_eq!(
        found_since(&expired, &events, Some(&with_item)),
        expired_one
    );
}

fn proof(start: Moment, end: Moment, password: &str, answer: Answer) -> Event {
    let op = Op::Reauthenticate {
        by: by(1),
        password: password.to_owned(),
        rotation: 0,
    };
    event(start, end, op, answer)
}

/// The answer to a step-up or a refresh, with a proof of a second of the round.
fn proven(at: Moment, answer: Answer) -> Answer {
    let Answer::Tokens(mut tokens) = answer else {
        return answer;
    };
    tokens.authenticated = NOON + (60 + at) * SECOND;
    Answer::Tokens(tokens)
}

#[test]
fn a_proof_stays_with_its_session_and_is_nobodys_invention() {
    let mut after = rotated(user(), 1, 1, NOON + 61 * SECOND);
    let stepped_up = |answer| proof(0, 2, "old", answer);
    let good = stepped_up(proven(1, successor(1, 1, 1, "a")));
    let refreshed = |at| event(3, 4, refresh(1, 1), proven(at, successor(1, 1, 1, "a")));
    if let Some(item) = after.sessions.get_mut(&session(1)) {
        item.authenticated_at = NOON + 61 * SECOND;
    }
    assert_eq!(
        found(&[good.clone(), refreshed(1)], &after),
        Vec::<String>::new()
    );
    only(&[good.clone(), refreshed(-60)], &after, "was lost");
    only(&[good, refreshed(3)], &after, "that nobody gave");
    let old = stepped_up(successor(1, 1, 1, "a"));
    let old = found(&[old], &after);
    assert!(
        old.contains(&"a step-up whose proof is not of now".to_owned()),
        "{old:?}"
    );
    let wrong = stepped_up(Answer::Refused(403, "wrong_password".to_owned()));
    only(&[wrong], &user(), "refuses the right password");
}

#[test]
fn what_asks_for_a_proof_gets_one_that_is_recent() {
    let administer = |authenticated, answer| {
        let by = Access {
            authenticated,
            ..by(1)
        };
        [event(0, 1, Op::Administer(by), answer)]
    };
    let asked = || Answer::Refused(403, "reauthentication_required".to_owned());
    let old = NOON - 3600 * SECOND;
    assert_eq!(
        found(&administer(NOON, Answer::Nothing), &user()),
        Vec::<String>::new()
    );
    assert_eq!(
        found(&administer(old, asked()), &user()),
        Vec::<String>::new()
    );
    only(
        &administer(old, Answer::Nothing),
        &user(),
        "a proof that is old",
    );
    only(
        &administer(NOON, asked()),
        &user(),
        "a proof that is recent",
    );
}

#[test]
fn no_more_guesses_are_checked_than_are_free_and_no_known_device_waits_for_them() {
    let guess = |code: &str| {
        let status = if code == "too_many_requests" {
            429
        } else {
            401
        };
        let answer = Answer::Refused(status, code.to_owned());
        sign_in("a guess", Guesser::Stranger, answer)
    };
    // Ten are free, and one more after a second.
    let checked = |count| vec![guess("invalid_credentials"); count];
    assert_eq!(found(&checked(11), &user()), Vec::<String>::new());
    only(
        &checked(12),
        &user(),
        "12 guesses were checked, of 11 at most",
    );
    let throttled = |guesser| {
        let refused = Answer::Refused(429, "too_many_requests".to_owned());
        [checked(10), vec![sign_in("old", guesser, refused)]].concat()
    };
    assert_eq!(
        found(&throttled(Guesser::NewDevice), &user()),
        Vec::<String>::new()
    );
    only(
        &throttled(Guesser::KnownDevice),
        &user(),
        "a known device has to wait",
    );
    // Each count may have been sent twice.
    let after = |failures| [checked(failures), vec![guess("too_many_requests")]].concat();
    assert_eq!(found(&after(5), &user()), Vec::<String>::new());
    only(&after(4), &user(), "hardly any have failed");
    // The right password, which another one replaced while it was checked, begins the count again.
    let change = Op::ChangePassword {
        by: by(1),
        old: "old".to_owned(),
        new: "new".to_owned(),
    };
    let overtaken = sign_in("old", Guesser::NewDevice, refused("invalid_credentials"));
    let mut begun_again = checked(12);
    begun_again.extend([overtaken, event(1, 3, change, Answer::Unavailable)]);
    assert_eq!(found(&begun_again, &user()), Vec::<String>::new());
    let password = "old".to_owned();
    let deletion = Op::Delete {
        by: by(1),
        password,
    };
    let deletion = event(0, 1, deletion, Answer::Nothing);
    let mut after_deletion = throttled(Guesser::KnownDevice);
    after_deletion.push(deletion.clone());
    assert_eq!(found_when_deleted(&after_deletion), Vec::<String>::new());
    let password = "wrong".to_owned();
    let refused_deletion = Op::Delete {
        by: by(1),
        password,
    };
    let wrong_password = Answer::Refused(403, "wrong_password".to_owned());
    let mut with_refused = checked(12);
    with_refused.push(event(0, 1, refused_deletion, wrong_password));
    only(
        &with_refused,
        &user(),
        "12 guesses were checked, of 11 at most",
    );
    // The counters went with the account.
    let mut begun_again = checked(12);
    begun_again.push(deletion);
    assert_eq!(found_when_deleted(&begun_again), Vec::<String>::new());
}

#[test]
fn the_fifth_wrong_password_is_the_last_on_a_session() {
    let wrong = || {
        proof(
            0,
            1,
            "a guess",
            Answer::Refused(403, "wrong_password".to_owned()),
        )
    };
    let after = StoredUser {
        version: 3,
        ..without(user(), 1)
    };
    assert_eq!(found(&vec![wrong(); 5], &after), Vec::<String>::new());
    let six = found(&vec![wrong(); 6], &after);
    assert_eq!(six, ["6 wrong passwords were checked on one session"]);
    let four = found(&vec![wrong(); 4], &after);
    let too_often =
        "the account was written 1 times too often or too rarely: version 3, not 2 to 2";
    let out = "signed out (not in the set at the end), but nobody has ended it";
    assert_eq!(four, [too_often, out]);
    // After they were given, the session was still there.
    let me = event(2, 3, Op::Me(by(1)), Answer::User(user().user));
    let mut before_it_was_seen = vec![wrong(); 5];
    before_it_was_seen.push(me);
    assert_eq!(found(&before_it_was_seen, &after), [too_often, out]);
    // One that was answered 401 after that may have ended it, one that had to wait has not.
    let last = |answer| {
        [
            before_it_was_seen.clone(),
            vec![proof(4, 5, "a guess", answer)],
        ]
        .concat()
    };
    assert_eq!(
        found(&last(refused("invalid_token")), &after),
        Vec::<String>::new()
    );
    let waits = Answer::Refused(429, "too_many_requests".to_owned());
    assert_eq!(found(&last(waits), &after), [too_often, out]);
    let throttled = proof(
        0,
        1,
        "old",
        Answer::Refused(429, "too_many_requests".to_owned()),
    );
    only(&[throttled], &user(), "hardly any are checked");
}

#[test]
fn each_beginning_and_each_end_is_told_once_with_its_reason() {
    let revoke = [revoke(0, 1, Answer::Nothing)];
    let after = without(user(), 1);
    let whole = told(&revoke, &after);
    let told_so = |told: &Told| found_when_told(&revoke, &after, told);
    assert_eq!(told_so(&whole), Vec::<String>::new());
    let mut without_end = whole.clone();
    without_end.ended.clear();
    assert_eq!(
        told_so(&without_end),
        ["it has ended, and no event tells of it"]
    );
    let mut without_beginning = whole.clone();
    without_beginning.created.remove(&session(2));
    assert_eq!(
        told_so(&without_beginning),
        ["no event tells of its beginning"]
    );
    let mut twice = whole.clone();
    let ids = twice.created.entry(session(2)).or_default();
    ids.insert("another id".to_owned());
    assert_eq!(told_so(&twice), ["its beginning has 2 ids"]);
    let mut invented = whole.clone();
    invented.ended.insert(session(1), end(EndReason::LoggedOut));
    assert_eq!(
        told_so(&invented),
        ["it ended by LoggedOut, but nobody did that"]
    );
    let mut too_much = whole;
    too_much.ended.insert(session(2), end(EndReason::Revoked));
    assert!(
        told_so(&too_much).contains(&"an event tells of its end, but it is admitted".to_owned())
    );
}

#[test]
fn an_eviction_that_is_told_needs_enough_others() {
    let password = "old".to_owned();
    let guesser = Guesser::NewDevice;
    // That the session has ended may be this one's doing; what is told is not.
    let keep = true;
    let revoke_all = Op::RevokeAll { by: by(2), keep };
    let events = [
        event(0, 1, Op::SignIn { password, guesser }, born(3, 1)),
        event(2, 3, revoke_all, Answer::Unavailable),
    ];
    let mut after = without(user(), 1);
    after.version += 1;
    after.admitted.push(session(3));
    after.sessions.insert(session(3), item(1));
    let mut told = told(&events, &after);
    told.ended.insert(session(1), end(EndReason::RevokedAll));
    assert_eq!(
        found_when_told(&events, &after, &told),
        Vec::<String>::new()
    );
    told.ended.insert(session(1), end(EndReason::Evicted));
    assert_eq!(
        found_when_told(&events, &after, &told),
        ["it ended by Evicted, but nobody did that"]
    );
}

#[test]
fn whom_nobody_knew_nobody_can_have_ended_alone() {
    let unanswered = [sign_in("old", Guesser::NewDevice, Answer::Unavailable)];
    let with_end = |reason| {
        let mut told = told(&unanswered, &user());
        told.created.insert(session(7), beginning());
        told.ended.insert(session(7), end(reason));
        found_when_told(&unanswered, &user(), &told)
    };
    assert_eq!(with_end(EndReason::Evicted), Vec::<String>::new());
    assert_eq!(
        with_end(EndReason::Revoked),
        ["it ended by Revoked, but nobody did that"]
    );
    let guess = [sign_in("guess", Guesser::Stranger, Answer::Unavailable)];
    let mut told = told(&guess, &user());
    told.created.insert(session(7), beginning());
    told.ended.insert(session(7), end(EndReason::Evicted));
    let found = found_when_told(&guess, &user(), &told);
    let of_nobody = "an event tells of a session that nobody made";
    assert!(found.iter().any(|what| what == of_nobody), "{found:?}");
}

#[test]
fn what_was_purged_before_the_round_has_run_out_or_is_ended_by_somebody() {
    let with_end = |reason, events: &[Event]| {
        let mut told = told(events, &user());
        told.created.insert(session(7), beginning());
        let earlier = Earlier {
            told: told.clone(),
            ..Earlier::default()
        };
        told.ended.insert(session(7), end(reason));
        found_of(&user(), events, Some(&user()), &earlier, &told)
    };
    let none = Vec::<String>::new();
    assert_eq!(with_end(EndReason::Expired, &[]), none);
    assert_eq!(
        with_end(EndReason::Admin, &[]),
        ["it ended by Admin, but nobody did that"]
    );
    let unanswered = event(
        0,
        1,
        Op::AdminRevoke { target: session(7) },
        Answer::Unavailable,
    );
    assert_eq!(with_end(EndReason::Admin, &[unanswered]), none);
}

#[test]
fn what_has_run_out_is_ended_for_good_later() {
    let expired = user_with_an_expired_session();
    let after = without(expired.clone(), 1);
    let log_out = Op::LogOut {
        session: session(1),
    };
    let events = [
        event(0, 1, refresh(1, 0), refused("invalid_refresh_token")),
        event(2, 3, log_out, Answer::Nothing),
    ];
    let mut told = told(&events, &after);
    told.ended.insert(session(1), end(EndReason::LoggedOut));
    let earlier = Earlier::default();
    let found = found_of(&expired, &events, Some(&after), &earlier, &told);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_reason_that_is_told_had_come_before_the_session_was_missed() {
    let keep = true;
    let revoke_all = Op::RevokeAll { by: by(2), keep };
    let events = [
        event(0, 1, revoke_all, Answer::Unavailable),
        event(2, 3, refresh(1, 0), refused("invalid_refresh_token")),
        revoke(4, 5, Answer::Unavailable),
    ];
    let after = without(user(), 1);
    let with_reason = |reason| {
        let mut told = told(&events, &after);
        told.ended.insert(session(1), end(reason));
        found_when_told(&events, &after, &told)
    };
    assert_eq!(with_reason(EndReason::RevokedAll), Vec::<String>::new());
    assert_eq!(
        with_reason(EndReason::Revoked),
        ["it ended by Revoked, but nobody did that"]
    );
}
