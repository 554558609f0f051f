mod guard;

use latchkey_domain::cause::EndReason;
use latchkey_domain::id::UserId;
use latchkey_domain::random::SeededRandom;

use super::*;
use crate::history::{Guesser, StoredSession, Tokens};

const SECOND: Moment = 1_000_000;
const NOON: Moment = 1_772_366_400 * SECOND;
const DAY: Moment = 24 * 3600 * SECOND;

fn session(seed: u64) -> SessionId {
    SessionId::random(&SeededRandom::new(seed))
}

fn stored(rotation: u64, rotated_at: Moment) -> StoredSession {
    StoredSession {
        rotation,
        rotated_at,
        created_at: NOON,
        last_used_at: rotated_at,
        idle_end: rotated_at + 7 * DAY,
        absolute_end: NOON + 30 * DAY,
        authenticated_at: NOON,
        name: None,
    }
}

/// A user with sessions 1 and 2, a minute before the round.
fn user() -> StoredUser {
    StoredUser {
        user: UserId::random(&SeededRandom::new(9)),
        version: 2,
        active: true,
        password: Some("old".to_owned()),
        admitted: vec![session(1), session(2)],
        sessions: [1, 2].map(|seed| (session(seed), stored(0, NOON))).into(),
    }
}

fn without(mut user: StoredUser, seed: u64) -> StoredUser {
    user.admitted.retain(|id| *id != session(seed));
    user.version += 1;
    user
}

fn rotated(mut user: StoredUser, seed: u64, rotation: u64, at: Moment) -> StoredUser {
    user.sessions.insert(session(seed), stored(rotation, at));
    user
}

/// A request from one second of the round to another.
fn event(start: Moment, end: Moment, op: Op, answer: Answer) -> Event {
    let round = NOON + 60 * SECOND;
    Event {
        client: 0,
        start: round + start * SECOND,
        end: round + end * SECOND,
        op,
        answer,
    }
}

fn by(seed: u64) -> Access {
    Access {
        session: session(seed),
        expires: NOON + 900 * SECOND,
        authenticated: NOON,
    }
}

fn refresh(seed: u64, rotation: u64) -> Op {
    Op::Refresh {
        session: session(seed),
        rotation,
        expires: NOON + 7 * DAY,
    }
}

fn successor(seed: u64, rotation: u64, at: Moment, token: &str) -> Answer {
    let used = NOON + (60 + at) * SECOND;
    Answer::Tokens(Box::new(Tokens {
        user: user().user,
        session: Shown {
            id: session(seed),
            name: None,
            created_at: NOON,
            last_used_at: used,
            expires_at: used + 7 * DAY,
        },
        refresh_token: token.to_owned(),
        rotation,
        refresh_expires: used + 7 * DAY,
        access_token: String::new(),
        access_expires: used + 900 * SECOND,
        authenticated: NOON,
        device_token: None,
    }))
}

fn sign_in(password: &str, guesser: Guesser, answer: Answer) -> Event {
    let password = password.to_owned();
    event(0, 2, Op::SignIn { password, guesser }, answer)
}

fn refused(code: &str) -> Answer {
    Answer::Refused(401, code.to_owned())
}

/// The event ids that tell of a beginning.
fn beginning() -> BTreeSet<String> {
    ["beginning".to_owned()].into()
}

/// The event ids that tell of an end, with its reason.
fn end(reason: EndReason) -> BTreeMap<String, EndReason> {
    [("end".to_owned(), reason)].into()
}

/// What is told when nothing is missing.
fn told(events: &[Event], after: &StoredUser) -> Told {
    let answered = events.iter().filter_map(|event| event.answer.of_session());
    let before = user();
    let stored = before.sessions.keys().chain(after.sessions.keys());
    let created: BTreeSet<SessionId> = answered.chain(stored.copied()).collect();
    let ended = created.iter().filter(|id| !after.admitted.contains(id));
    let proofs = events
        .iter()
        .filter(|event| matches!(event.op, Op::Reauthenticate { .. }) && event.answer.is_done());
    Told {
        ended: ended.map(|id| (*id, end(EndReason::Revoked))).collect(),
        proofs: proofs.map(|event| event.start.to_string()).collect(),
        created: created.into_iter().map(|id| (id, beginning())).collect(),
    }
}

/// What is found when these events were told, the ends with reasons that are not looked at unless they are new.
fn found_when_told(events: &[Event], after: &StoredUser, told: &Told) -> Vec<String> {
    found_of(&user(), events, Some(after), &Earlier::default(), told)
}

fn found(events: &[Event], after: &StoredUser) -> Vec<String> {
    found_since(&user(), events, Some(after))
}

/// What is found when the account is gone.
fn found_when_deleted(events: &[Event]) -> Vec<String> {
    found_since(&user(), events, None)
}

/// What is found when the table was another before the round, and all ends were told before it.
fn found_since(before: &StoredUser, events: &[Event], after: Option<&StoredUser>) -> Vec<String> {
    let nobody = StoredUser {
        admitted: Vec::new(),
        ..user()
    };
    let told = told(events, after.unwrap_or(&nobody));
    let earlier = Earlier {
        told: Told {
            proofs: BTreeSet::new(),
            ..told.clone()
        },
        ..Earlier::default()
    };
    found_of(before, events, after, &earlier, &told)
}

fn found_of(
    before: &StoredUser,
    events: &[Event],
    after: Option<&StoredUser>,
    earlier: &Earlier,
    told: &Told,
) -> Vec<String> {
    let round = Round {
        rules: Rules::from(&SessionPolicy::default()),
        before: Some(before),
        after,
        events,
        earlier,
        told,
        ended: NOON + 120 * SECOND,
    };
    judge(&round).into_iter().map(|one| one.what).collect()
}

fn only(events: &[Event], after: &StoredUser, part: &str) {
    let found = found(events, after);
    assert!(!found.is_empty(), "nothing was found");
    for what in &found {
        assert!(what.contains(part), "{found:?}");
    }
}

fn revoke(start: Moment, end: Moment, answer: Answer) -> Event {
    let (by, target) = (by(2), session(1));
    event(start, end, Op::Revoke { by, target }, answer)
}

#[test]
fn a_quiet_round_and_a_refresh_in_two_tabs_are_right() {
    assert_eq!(found(&[], &user()), Vec::<String>::new());
    let tabs = [
        event(0, 2, refresh(1, 0), successor(1, 1, 1, "a")),
        event(0, 3, refresh(1, 0), successor(1, 1, 1, "a")),
    ];
    let after = rotated(user(), 1, 1, NOON + 61 * SECOND);
    assert_eq!(found(&tabs, &after), Vec::<String>::new());
}

#[test]
fn a_forked_lineage_is_found() {
    let tabs = [
        event(0, 2, refresh(1, 0), successor(1, 1, 1, "a")),
        event(0, 3, refresh(1, 0), successor(1, 1, 2, "b")),
    ];
    only(
        &tabs,
        &rotated(user(), 1, 1, NOON + 62 * SECOND),
        "two tokens of rotation",
    );
    only(
        &tabs[..1],
        &rotated(user(), 1, 2, NOON + 62 * SECOND),
        "rotation 2 in the table",
    );
}

#[test]
fn nobody_gets_in_after_an_answered_end_but_may_while_it_is_under_way() {
    let revoke = || revoke(0, 2, Answer::Nothing);
    let refreshed = |start| event(start, 4, refresh(1, 0), successor(1, 1, 3, "a"));
    let after = without(rotated(user(), 1, 1, NOON + 63 * SECOND), 1);
    assert_eq!(
        found(&[revoke(), refreshed(1)], &after),
        Vec::<String>::new()
    );
    only(
        &[revoke(), refreshed(3)],
        &after,
        "works, but it had been ended: revoke",
    );
    let me = event(3, 4, Op::Me(by(1)), Answer::User(user().user));
    only(
        &[revoke(), me],
        &without(user(), 1),
        "works, but it had been ended: revoke",
    );
    only(&[revoke()], &user(), "in the account's set, but ended");
}

#[test]
fn nobody_is_signed_out_whom_nobody_has_signed_out() {
    let out = |start, end| event(start, end, refresh(1, 0), refused("invalid_refresh_token"));
    let after = without(user(), 1);
    only(
        &[out(3, 4)],
        &StoredUser {
            version: 2,
            ..after.clone()
        },
        "nobody has ended it",
    );
    // A revocation that was answered 503 may have been made, if it had begun.
    let unanswered = revoke(2, 5, Answer::Unavailable);
    assert_eq!(
        found(&[unanswered.clone(), out(3, 4)], &after),
        Vec::<String>::new()
    );
    only(&[unanswered, out(0, 1)], &after, "nobody has ended it");
}

#[test]
fn a_reuse_needs_a_replacement_long_ago() {
    let replayed = event(3, 4, refresh(1, 0), refused("refresh_token_reused"));
    only(
        std::slice::from_ref(&replayed),
        &without(user(), 1),
        "stolen within the grace, or for nothing",
    );
    let rotated_now = event(0, 2, refresh(1, 0), successor(1, 1, 1, "a"));
    let after = without(rotated(user(), 1, 1, NOON + 61 * SECOND), 1);
    only(&[rotated_now, replayed], &after, "stolen within the grace");
}

#[test]
fn an_unanswered_replay_may_have_ended_its_session_also_of_rotations_of_this_round() {
    let rotations = [
        event(0, 2, refresh(1, 0), successor(1, 1, 1, "a")),
        event(37, 39, refresh(1, 1), successor(1, 2, 38, "b")),
    ];
    let after = without(rotated(user(), 1, 2, NOON + 98 * SECOND), 1);
    let replayed = |start, rotation| {
        let unanswered = event(start, start + 1, refresh(1, rotation), Answer::Unavailable);
        found(&[&rotations[..], &[unanswered]].concat(), &after)
    };
    assert_eq!(replayed(40, 0), Vec::<String>::new());
    assert!(!replayed(40, 1).is_empty());
}

#[test]
fn a_young_token_comes_back_and_an_old_one_does_not() {
    let first = event(0, 2, refresh(1, 0), successor(1, 1, 1, "a"));
    let again = |start, rotation, at| {
        event(
            start,
            start + 1,
            refresh(1, 1),
            successor(1, rotation, at, "a"),
        )
    };
    let after = |rotation, at: Moment| rotated(user(), 1, rotation, NOON + (60 + at) * SECOND);
    let young = [first.clone(), again(3, 1, 1)];
    assert_eq!(found(&young, &after(1, 1)), Vec::<String>::new());
    let old = [first.clone(), again(37, 1, 1)];
    only(&old, &after(1, 1), "was not replaced");
    let early = [first, again(3, 2, 3)];
    only(&early, &after(2, 3), "closer than the interval");
}

#[test]
fn a_session_comes_from_a_sign_in() {
    let mut after = user();
    after.version += 1;
    after.admitted.push(session(3));
    let mut item = stored(0, NOON + 61 * SECOND);
    item.created_at = NOON + 61 * SECOND;
    item.authenticated_at = item.created_at;
    item.absolute_end = item.created_at + 30 * DAY;
    after.sessions.insert(session(3), item);
    let sign_in_anew = |password: &str, answer| sign_in(password, Guesser::NewDevice, answer);
    let unanswered = sign_in_anew("old", Answer::Unavailable);
    assert_eq!(found(&[unanswered], &after), Vec::<String>::new());
    assert!(found(&[], &after).contains(&"a session that nobody can have made".to_owned()));
    only(
        &[sign_in_anew("old", refused("invalid_credentials"))],
        &user(),
        "refuses the right password",
    );
}

#[test]
fn a_sign_in_beside_a_password_change_came_before_it_and_ended_with_it() {
    let password = "old".to_owned();
    let guesser = Guesser::NewDevice;
    let op = Op::SignIn { password, guesser };
    let events = [change_password(1, (0, 3), 1), event(1, 5, op, born(3, 2))];
    ended_with_its_password(&events, (2, 1));
}

/// A password change on a session, from one second to another, and when the new session 4 began.
fn change_password(caller: u64, (start, end): (Moment, Moment), began: Moment) -> Event {
    let (by, old, new) = (by(caller), "old".to_owned(), "new".to_owned());
    event(
        start,
        end,
        Op::ChangePassword { by, old, new },
        born(4, began),
    )
}

/// Holds that session 3, which was begun with the old password, may not be admitted after the change that has begun session
/// 4. Takes when they began, and returns the account in which it is admitted.
fn ended_with_its_password(events: &[Event], (third, fourth): (Moment, Moment)) -> StoredUser {
    let mut after = user();
    after.version = 4;
    after.password = Some("new".to_owned());
    after
        .sessions
        .extend([(session(3), item(third)), (session(4), item(fourth))]);
    after.admitted = vec![session(4)];
    assert_eq!(found(events, &after), Vec::<String>::new());
    after.admitted.push(session(3));
    only(
        events,
        &after,
        "in the account's set, but ended: password change",
    );
    after
}

/// A session that a sign-in made, at one second of the round.
fn born(seed: u64, at: Moment) -> Answer {
    match successor(seed, 0, at, "x") {
        Answer::Tokens(mut tokens) => {
            tokens.session.created_at = tokens.session.last_used_at;
            tokens.authenticated = cut(tokens.session.last_used_at);
            Answer::Tokens(tokens)
        }
        other => other,
    }
}

/// Its item.
fn item(at: Moment) -> StoredSession {
    let began = NOON + (60 + at) * SECOND;
    StoredSession {
        created_at: began,
        authenticated_at: began,
        absolute_end: began + 30 * DAY,
        ..stored(0, began)
    }
}

/// A sign-in is answered 503 long after it has made session 3: a list shows it before. Others begin sessions, five of them
/// before that answer, and then a list shows these and some of the second 0, and not that one.
fn an_unanswered_one_is_missed_beside(
    others: u64,
    older: &[u64],
    besides: &[Event],
) -> Vec<String> {
    let sign_in = |start, end, answer| {
        let (password, guesser) = ("old".to_owned(), Guesser::NewDevice);
        event(start, end, Op::SignIn { password, guesser }, answer)
    };
    let list = |at, seed, seeds: Vec<u64>| {
        let shown = |seed| Shown {
            id: session(seed),
            name: None,
            created_at: item(1).created_at,
            last_used_at: item(1).last_used_at,
            expires_at: item(1).idle_end,
        };
        let shown = seeds.into_iter().map(shown).collect();
        event(at, at, Op::List(by(seed)), Answer::Sessions(shown))
    };
    let new: Vec<u64> = (10..10 + others).collect();
    let shown = [&new, older].concat();
    let mut events = vec![
        sign_in(0, 6, Answer::Unavailable),
        list(3, 1, vec![1, 2, 3]),
    ];
    let at = |seed: u64| if seed < 15 { 5 } else { 9 };
    let sign_ins = new.iter().map(|seed| {
        let at = at(*seed);
        sign_in(at - 1, at, born(*seed, at))
    });
    events.extend(sign_ins);
    events.push(list(12, 10, shown.clone()));
    events.extend_from_slice(besides);
    let mut after = user();
    after.version += others + 1;
    after.admitted = shown.iter().map(|seed| session(*seed)).collect();
    let items = new.iter().map(|seed| (session(*seed), item(at(*seed))));
    let older = older.iter().map(|seed| (session(*seed), item(0)));
    let items = items.chain(older).chain([(session(3), item(1))]);
    after.sessions.extend(items);
    found(&events, &after)
}

const OUT: &str = "signed out (not being listed), but nobody has ended it";

#[test]
fn a_session_of_an_unanswered_sign_in_was_last_used_when_it_began() {
    let missed = |others| an_unanswered_one_is_missed_beside(others, &[], &[]);
    assert_eq!(missed(20), Vec::<String>::new());
    assert_eq!(missed(19), [OUT]);
}

#[test]
fn a_session_counts_as_used_when_a_refresh_of_it_was_written() {
    let missed = |refresh| an_unanswered_one_is_missed_beside(19, &[], &[refresh]);
    // Session 2 is older, unless a refresh that met its end was written before.
    let met_the_end = event(3, 12, refresh(2, 0), refused("invalid_refresh_token"));
    assert_eq!(missed(met_the_end), Vec::<String>::new());
    let written_before = event(0, 3, refresh(2, 0), successor(2, 1, 0, "a"));
    let found = missed(written_before);
    assert!(found.iter().any(|what| what == OUT), "{found:?}");
}

#[test]
fn a_sign_in_makes_room_for_its_own_session_however_old_that_is() {
    let password = "old".to_owned();
    let guesser = Guesser::NewDevice;
    let late = event(0, 11, Op::SignIn { password, guesser }, Answer::Unavailable);
    let missed =
        |others| an_unanswered_one_is_missed_beside(others, &[4], std::slice::from_ref(&late));
    assert_eq!(missed(19), Vec::<String>::new());
    assert_eq!(missed(18), [OUT]);
}

#[test]
fn what_ends_a_session_does_so_after_it_was_last_seen() {
    let after = without(user(), 1);
    let with_revoke = |unanswered_until| {
        let events = [
            revoke(0, unanswered_until, Answer::Unavailable),
            event(2, 3, Op::Me(by(1)), Answer::User(user().user)),
            event(4, 5, refresh(1, 0), refused("invalid_refresh_token")),
        ];
        found(&events, &after)
    };
    assert_eq!(with_revoke(2), Vec::<String>::new());
    let out = ["signed out (401 invalid_refresh_token), but nobody has ended it"];
    assert_eq!(with_revoke(1), out);
    let new = 10..30;
    let sign_in = |seed| {
        let (password, guesser) = ("old".to_owned(), Guesser::NewDevice);
        event(0, 1, Op::SignIn { password, guesser }, born(seed, 1))
    };
    let mut after = user();
    after.version += 20;
    after.admitted = new.clone().map(session).collect();
    let items = new.clone().map(|seed| (session(seed), item(1)));
    after.sessions.extend(items);
    let mut events: Vec<Event> = new.map(sign_in).collect();
    events.push(event(4, 5, refresh(1, 0), refused("invalid_refresh_token")));
    assert_eq!(found(&events, &after), Vec::<String>::new());
    events.push(event(2, 3, Op::Me(by(1)), Answer::User(user().user)));
    assert_eq!(found(&events, &after), out);
    // A stranger's guess makes no room.
    let (password, guesser) = ("guess".to_owned(), Guesser::Stranger);
    let guess = Op::SignIn { password, guesser };
    events.push(event(3, 4, guess, Answer::Unavailable));
    assert_eq!(found(&events, &after), out);
}

#[test]
fn a_session_of_an_unanswered_sign_in_ends_with_its_password() {
    let unanswered = |password: &str| {
        let (password, guesser) = (password.to_owned(), Guesser::NewDevice);
        let op = Op::SignIn { password, guesser };
        event(0, 5, op, Answer::Unavailable)
    };
    let mut events = vec![unanswered("old"), change_password(2, (2, 3), 2)];
    let after = ended_with_its_password(&events, (1, 2));
    // It may have been begun with the new one.
    events.push(unanswered("new"));
    assert_eq!(found(&events, &after), Vec::<String>::new());
}

#[test]
fn an_account_is_written_once_for_each_change() {
    let after = StoredUser {
        version: 4,
        ..without(user(), 1)
    };
    only(&[revoke(0, 2, Answer::Nothing)], &after, "too often");
    let keep = true;
    let revoke_all = Op::RevokeAll { by: by(2), keep };
    let revoke_all = event(0, 2, revoke_all, Answer::Count(1));
    only(&[revoke_all], &after, "too often");
    let closed = StoredUser {
        active: false,
        admitted: Vec::new(),
        ..after.clone()
    };
    let disable = event(0, 2, Op::Disable, Answer::Nothing);
    only(&[disable], &closed, "too often");
    // However often a wrong password is given on a session, it ends once.
    let wrong_password = Op::Reauthenticate {
        by: by(1),
        password: "wrong".to_owned(),
        rotation: 0,
    };
    let refused = Answer::Refused(403, "wrong_password".to_owned());
    let refused = event(0, 2, wrong_password, refused);
    only(&vec![refused; 5], &after, "too often");
    // What is still admitted was not ended, and a stranger's guess has begun nothing.
    let changed = StoredUser {
        version: 3,
        ..user()
    };
    let unanswered = [
        revoke(0, 2, Answer::Unavailable),
        sign_in("guess", Guesser::Stranger, Answer::Unavailable),
    ];
    only(&unanswered, &changed, "too often");
}
