//! Every order of the DynamoDB calls of a few simultaneous requests keeps the guarantees; and without any one of the
//! mechanisms behind them, some order breaks one. The model and the search: [`latchkey_tests::proof::interleavings`].
//!
//! `cargo test -p latchkey-tests interleavings -- --nocapture` prints the states explored and the counterexamples.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use latchkey_domain::id::SessionId;
use latchkey_tests::proof::interleavings::Mechanisms;
use latchkey_tests::proof::interleavings::requests::{Process, Queries, Request};
use latchkey_tests::proof::interleavings::search::{Exploration, Scenario, explore, report};
use latchkey_tests::proof::interleavings::table::{
    AccountItem, CredentialItem, SessionItem, Status, Table, noon, session_id,
};

/// A user with some admitted sessions, the lower number the longer unused; the first is the caller's.
fn user_with(sessions: &[u8]) -> Table {
    let item = |number: &u8| {
        let age = TimeDelta::hours(10) - TimeDelta::minutes(i64::from(*number));
        (
            session_id(*number),
            SessionItem::begin(session_id(*number), noon() - age),
        )
    };
    let items: BTreeMap<SessionId, SessionItem> = sessions.iter().map(item).collect();
    Table {
        credential: Some(CredentialItem {
            password: 1,
            outdated: false,
            password_version: 1,
        }),
        account: Some(AccountItem {
            version: 1,
            change: None,
            previous_change: None,
            sessions: items.keys().copied().collect(),
            password_version: 1,
            status: Status::Active,
        }),
        sessions: items,
        made: Default::default(),
    }
}

/// The item of a session that has ended.
fn with_ended(mut table: Table, number: u8) -> Table {
    let id = session_id(number);
    table
        .sessions
        .insert(id, SessionItem::begin(id, noon() - TimeDelta::hours(11)));
    table
}

/// A session that was rotated ten minutes ago, and expires when the scenario says so.
fn with_rotated(mut table: Table, number: u8, rotation: u64) -> Table {
    let item = table.sessions.get_mut(&session_id(number)).unwrap();
    item.rotation = rotation;
    item.rotated_at = noon() - TimeDelta::minutes(10);
    item.last_used_at = item.rotated_at;
    table
}

fn with_idle_expiry_at_noon(mut table: Table, number: u8) -> Table {
    let item = table.sessions.get_mut(&session_id(number)).unwrap();
    item.idle_expires_at = noon();
    table
}

fn with_outdated_hash(mut table: Table) -> Table {
    if let Some(credential) = &mut table.credential {
        credential.outdated = true;
    }
    table
}

fn refresh(session: u8, presented: u64) -> Request {
    Request::Refresh {
        session: session_id(session),
        presented,
    }
}

fn sign_in(new: u8) -> Request {
    Request::SignIn {
        new: session_id(new),
        password: 1,
    }
}

fn revoke(caller: u8, target: u8) -> Request {
    Request::Revoke {
        caller: session_id(caller),
        target: session_id(target),
    }
}

fn revoke_all(caller: u8, keep_current: bool) -> Request {
    Request::RevokeAll {
        caller: session_id(caller),
        keep_current,
    }
}

fn logout(session: u8) -> Request {
    Request::Logout {
        session: session_id(session),
    }
}

fn change_password(caller: u8, successor: u8) -> Request {
    let (caller, successor) = (session_id(caller), session_id(successor));
    Request::ChangePassword {
        caller,
        successor,
        current: 1,
        new: 2,
    }
}

fn delete(caller: u8) -> Request {
    Request::Delete {
        caller: session_id(caller),
        password: 1,
    }
}

fn reauthenticate(caller: u8) -> Request {
    Request::Reauthenticate {
        caller: session_id(caller),
        password: 1,
    }
}

fn purge(caller: u8) -> Request {
    Request::Purge {
        caller: session_id(caller),
    }
}

fn scenario(name: &'static str, table: Table, faults: u8, requests: Vec<Request>) -> Scenario {
    let process = |request| Process {
        request,
        now: noon(),
    };
    Scenario {
        name,
        processes: requests.into_iter().map(process).collect(),
        table,
        limit: 20,
        faults,
        queries: Queries::AnyOrder,
    }
}

/// For scenarios that would have too many orders: queries read the account first, as DynamoDB does.
fn account_first(scenario: Scenario) -> Scenario {
    Scenario {
        queries: Queries::AccountFirst,
        ..scenario
    }
}

fn limited_to(limit: usize, scenario: Scenario) -> Scenario {
    Scenario { limit, ..scenario }
}

/// Two tabs refresh with one token, and a third with its successor at the same moment.
fn refreshes_and_the_next() -> Scenario {
    scenario(
        "refresh x refresh x next",
        user_with(&[1]),
        0,
        vec![refresh(1, 0), refresh(1, 0), refresh(1, 1)],
    )
}

/// Somebody presents a token that was replaced ten minutes ago, while somebody else refreshes with the newest.
fn reuse_and_refresh() -> Scenario {
    scenario(
        "reuse x refresh",
        with_rotated(user_with(&[1, 2]), 2, 1),
        1,
        vec![refresh(2, 0), refresh(2, 1)],
    )
}

/// A refresh that begins a millisecond before its session expires, and a purge that begins as it does.
fn refresh_at_the_expiry_and_purge() -> Scenario {
    let table = with_idle_expiry_at_noon(user_with(&[1, 2]), 2);
    let mut at_expiry = scenario(
        "refresh x purge, at the expiry",
        table,
        0,
        vec![refresh(2, 0), purge(1)],
    );
    at_expiry.processes[0].now -= TimeDelta::milliseconds(1);
    at_expiry
}

/// A sign-in whose session is seen in the list, revoked and purged while the sign-in is still under way.
fn sign_in_and_its_end_and_purge() -> Scenario {
    account_first(scenario(
        "sign-in x revoke of it x purge",
        user_with(&[1]),
        1,
        vec![sign_in(3), revoke(1, 3), purge(1)],
    ))
}

/// Explores a scenario with all mechanisms: no order breaks a rule, and each of these answers occurs.
#[track_caller]
fn holds(scenario: &Scenario, occurring: &[&str]) -> Exploration {
    let exploration = report(scenario, &Mechanisms::ALL);
    if let Some(counterexample) = &exploration.counterexample {
        panic!("{}:\n{counterexample}", scenario.name);
    }
    for word in occurring {
        let occurs = exploration
            .outcomes
            .iter()
            .any(|answers| answers.contains(word));
        assert!(occurs, "{}: nobody is answered {word:?}", scenario.name);
    }
    let waits = exploration
        .outcomes
        .iter()
        .any(|answers| answers.contains(&"no answer"));
    assert!(!waits, "{}: a request waits for ever", scenario.name);
    exploration
}

/// Without the mechanism some order of the scenario breaks the rule that is named.
#[track_caller]
fn breaks(without: &str, with: Mechanisms, scenario: &Scenario, rule: &str) {
    assert!(explore(scenario, &Mechanisms::ALL).counterexample.is_none());
    let exploration = explore(scenario, &with);
    let Some(counterexample) = exploration.counterexample else {
        panic!("without {without}, {} breaks nothing", scenario.name);
    };
    println!("\nwithout {without}, {}:\n{counterexample}", scenario.name);
    assert!(
        counterexample.broken.contains(rule),
        "{}",
        counterexample.broken
    );
}

#[test]
fn refreshes_with_one_token_get_one_successor() {
    let table = || user_with(&[1]);
    let two = scenario("refresh x refresh", table(), 2, vec![refresh(1, 0); 2]);
    let three = scenario(
        "refresh x refresh x refresh",
        table(),
        1,
        vec![refresh(1, 0); 3],
    );
    for exploration in [holds(&two, &["refreshed"]), holds(&three, &["refreshed"])] {
        let signed_out = ["reused", "invalid"];
        let all = exploration.outcomes.iter().flatten();
        assert_eq!(all.filter(|answer| signed_out.contains(answer)).count(), 0);
    }
    holds(
        &refreshes_and_the_next(),
        &["refreshed", "not due", "invalid"],
    );
}

/// A reauthentication and a refresh with the newest token, which was made ten minutes ago.
fn reauthentication_and_refresh() -> Scenario {
    scenario(
        "reauthentication x refresh",
        with_rotated(user_with(&[1]), 1, 1),
        1,
        vec![reauthenticate(1), refresh(1, 1)],
    )
}

#[test]
fn a_reauthentication_forks_no_lineage_and_signs_nobody_out() {
    let two_refreshes = account_first(scenario(
        "reauthentication x refresh x refresh",
        user_with(&[1]),
        0,
        vec![reauthenticate(1), refresh(1, 0), refresh(1, 0)],
    ));
    let twice = account_first(scenario(
        "reauthentication x reauthentication",
        user_with(&[1]),
        1,
        vec![reauthenticate(1); 2],
    ));
    for (scenario, occurring) in [
        (&two_refreshes, &["reauthenticated", "refreshed"][..]),
        (
            &reauthentication_and_refresh(),
            &["reauthenticated", "refreshed"],
        ),
        (&twice, &["reauthenticated"]),
    ] {
        let exploration = holds(scenario, occurring);
        let signed_out = ["reused", "invalid", "caller not live"];
        let all = exploration.outcomes.iter().flatten();
        assert_eq!(all.filter(|answer| signed_out.contains(answer)).count(), 0);
    }
    for (name, end) in [
        ("reauthentication x revoke", revoke(2, 1)),
        ("reauthentication x password change", change_password(2, 3)),
    ] {
        let table = user_with(&[1, 2]);
        let requests = vec![reauthenticate(1), end];
        holds(
            &account_first(scenario(name, table, 1, requests)),
            &["reauthenticated", "caller not live"],
        );
    }
    let without_condition = Mechanisms {
        rotation_condition: false,
        interval: false,
        ..Mechanisms::ALL
    };
    breaks(
        "the condition of the rotation",
        without_condition,
        &reauthentication_and_refresh(),
        "the lineage has forked",
    );
}

#[test]
fn no_refresh_that_starts_after_an_end_succeeds() {
    let table = || user_with(&[1, 2]);
    let ends: [(&'static str, Request); 7] = [
        ("refresh x revoke", revoke(1, 2)),
        ("refresh x revoke-all", revoke_all(1, true)),
        ("refresh x revoke-all, caller too", revoke_all(1, false)),
        ("refresh x password change", change_password(1, 3)),
        ("refresh x deletion", delete(1)),
        ("refresh x disabling", Request::Disable),
        ("refresh x logout", logout(2)),
    ];
    for (name, end) in ends {
        holds(
            &scenario(name, table(), 1, vec![refresh(2, 0), end]),
            &["refreshed", "invalid"],
        );
    }
}

#[test]
fn reuse_ends_its_session_and_no_other() {
    let table = || with_rotated(user_with(&[1, 2]), 2, 1);
    let reuse = |name, beside| scenario(name, table(), 1, vec![refresh(2, 0), beside]);
    holds(&reuse_and_refresh(), &["reused", "refreshed", "invalid"]);
    holds(
        &reuse("reuse x refresh of another", refresh(1, 0)),
        &["reused", "refreshed"],
    );
    holds(&reuse("reuse x reuse", refresh(2, 0)), &["reused"]);
    holds(
        &reuse("reuse x sign-in", sign_in(3)),
        &["reused", "signed in"],
    );
    holds(&reuse("reuse x revoke", revoke(1, 2)), &["reused", "done"]);
}

#[test]
fn sign_ins_at_the_limit_make_room_once_each() {
    let full = || user_with(&[1, 2]);
    let two = scenario(
        "sign-in x sign-in, at the limit",
        full(),
        1,
        vec![sign_in(3), sign_in(4)],
    );
    holds(&limited_to(2, account_first(two)), &["signed in"]);
    let three = scenario(
        "sign-in x sign-in x sign-in, at the limit",
        user_with(&[1]),
        0,
        vec![sign_in(3), sign_in(4), sign_in(5)],
    );
    holds(&limited_to(3, account_first(three)), &["signed in"]);
    let refreshed = scenario(
        "sign-in x refresh, at the limit",
        full(),
        1,
        vec![sign_in(3), refresh(1, 0)],
    );
    holds(
        &limited_to(2, refreshed),
        &["signed in", "refreshed", "invalid"],
    );
    let below = scenario(
        "sign-in x sign-in",
        user_with(&[1]),
        1,
        vec![sign_in(3), sign_in(4)],
    );
    holds(&below, &["signed in"]);
}

#[test]
fn no_sign_in_comes_out_live_on_what_it_read_before_an_end() {
    let table = || user_with(&[1, 2]);
    let beside = |name, table, end| scenario(name, table, 1, vec![sign_in(3), end]);
    holds(
        &beside("sign-in x revoke-all", table(), revoke_all(1, true)),
        &["signed in", "done"],
    );
    holds(
        &beside(
            "sign-in x revoke-all of one",
            user_with(&[1]),
            revoke_all(1, true),
        ),
        &["signed in"],
    );
    holds(
        &beside("sign-in x password change", table(), change_password(1, 4)),
        &["signed in", "invalid credentials"],
    );
    holds(
        &beside(
            "sign-in with upgrade x password change",
            with_outdated_hash(user_with(&[1])),
            change_password(1, 4),
        ),
        &["signed in", "invalid credentials"],
    );
    holds(
        &beside("sign-in x disabling", table(), Request::Disable),
        &["signed in", "disabled"],
    );
    holds(
        &beside("sign-in x deletion", user_with(&[1]), delete(1)),
        &["signed in", "invalid credentials"],
    );
}

#[test]
fn ends_at_the_same_moment_all_come_true() {
    let table = || user_with(&[1, 2]);
    let pairs: [(&'static str, Request, Request); 7] = [
        ("revoke x revoke, same target", revoke(1, 2), revoke(1, 2)),
        ("revoke x revoke, of each other", revoke(1, 2), revoke(2, 1)),
        (
            "revoke-all x revoke-all",
            revoke_all(1, true),
            revoke_all(2, true),
        ),
        ("revoke x revoke-all", revoke(1, 2), revoke_all(1, false)),
        (
            "password change x password change",
            change_password(1, 3),
            change_password(2, 4),
        ),
        (
            "password change x deletion",
            change_password(1, 3),
            delete(2),
        ),
        ("logout x revoke", logout(2), revoke(1, 2)),
    ];
    for (name, one, other) in pairs {
        holds(&scenario(name, table(), 1, vec![one, other]), &[]);
    }
    let three = scenario(
        "revoke x sign-in x refresh",
        user_with(&[1, 2]),
        0,
        vec![revoke(1, 2), sign_in(3), refresh(2, 0)],
    );
    holds(&three, &["done", "signed in", "refreshed", "invalid"]);
    let three = scenario(
        "password change x revoke-all x sign-in",
        user_with(&[1]),
        0,
        vec![change_password(1, 3), revoke_all(1, true), sign_in(4)],
    );
    holds(
        &account_first(three),
        &[
            "done",
            "signed in",
            "caller not live",
            "invalid credentials",
        ],
    );
}

#[test]
fn a_purge_takes_nothing_that_counts() {
    let table = || with_ended(user_with(&[1]), 2);
    holds(
        &scenario("purge x sign-in", table(), 1, vec![purge(1), sign_in(3)]),
        &["done", "signed in"],
    );
    holds(
        &scenario(
            "purge x revoke",
            with_ended(user_with(&[1, 3]), 2),
            1,
            vec![purge(1), revoke(1, 3)],
        ),
        &[],
    );
    holds(&refresh_at_the_expiry_and_purge(), &["refreshed", "done"]);
    holds(&sign_in_and_its_end_and_purge(), &["signed in", "done"]);
}

#[test]
fn without_the_version_condition_a_change_is_lost() {
    let with = Mechanisms {
        version_condition: false,
        ..Mechanisms::ALL
    };
    let breaks = |scenario, rule| breaks("the version condition", with, &scenario, rule);
    let table = || user_with(&[1, 2]);
    breaks(
        scenario(
            "revoke x sign-in",
            table(),
            0,
            vec![revoke(1, 2), sign_in(3)],
        ),
        "came back",
    );
    breaks(
        scenario(
            "sign-in x revoke-all",
            user_with(&[1]),
            0,
            vec![sign_in(3), revoke_all(1, true)],
        ),
        "guarantee 3",
    );
    breaks(
        limited_to(
            2,
            scenario(
                "sign-in x sign-in, at the limit",
                table(),
                0,
                vec![sign_in(3), sign_in(4)],
            ),
        ),
        "no right to end s3",
    );
}

#[test]
fn without_the_check_of_the_set_a_refresh_outlives_the_end() {
    let with = Mechanisms {
        set_check_at_refresh: false,
        ..Mechanisms::ALL
    };
    let scenario = scenario(
        "refresh x revoke",
        user_with(&[1, 2]),
        0,
        vec![refresh(2, 0), revoke(1, 2)],
    );
    breaks(
        "the check of the set",
        with,
        &scenario,
        "had ended before this refresh began",
    );
}

#[test]
fn without_the_password_version_tie_a_replaced_password_comes_in() {
    let with = Mechanisms {
        password_version_tie: false,
        ..Mechanisms::ALL
    };
    let requests = vec![sign_in(3), change_password(1, 4)];
    let scenario = scenario("sign-in x password change", user_with(&[1]), 0, requests);
    breaks(
        "the password_version tie",
        with,
        &scenario,
        "a password that was replaced",
    );
}

#[test]
fn without_the_rotation_condition_a_replaced_token_works_again() {
    let with = Mechanisms {
        rotation_condition: false,
        ..Mechanisms::ALL
    };
    breaks(
        "the rotation condition",
        with,
        &reuse_and_refresh(),
        "s2 lives, though a token came back",
    );
    // The interval alone would keep two tabs from forking the lineage.
    let with = Mechanisms {
        interval: false,
        ..with
    };
    let scenario = scenario(
        "refresh x refresh",
        user_with(&[1]),
        0,
        vec![refresh(1, 0); 2],
    );
    breaks(
        "the rotation condition and the interval",
        with,
        &scenario,
        "the lineage has forked",
    );
}

#[test]
fn without_the_interval_a_parallel_tab_is_signed_out() {
    let with = Mechanisms {
        interval: false,
        ..Mechanisms::ALL
    };
    breaks(
        "the interval",
        with,
        &refreshes_and_the_next(),
        "no right to end s1",
    );
}

#[test]
fn without_two_ahead_being_reuse_a_thief_who_keeps_refreshing_is_not_noticed() {
    let with = Mechanisms {
        two_ahead_is_reuse: false,
        ..Mechanisms::ALL
    };
    breaks(
        "two ahead being reuse",
        with,
        &reuse_and_refresh(),
        "s2 lives, though a token came back",
    );
}

#[test]
fn without_the_grace_parallel_tabs_are_signed_out() {
    let with = Mechanisms {
        grace: false,
        ..Mechanisms::ALL
    };
    let tabs = scenario(
        "refresh x refresh",
        user_with(&[1]),
        0,
        vec![refresh(1, 0); 2],
    );
    breaks("the grace", with, &tabs, "no right to end s1");
    let lost = scenario(
        "refresh, its reply lost",
        user_with(&[1]),
        1,
        vec![refresh(1, 0)],
    );
    breaks("the grace", with, &lost, "no right to end s1");
}

#[test]
fn without_the_own_stamp_a_lost_reply_makes_a_second_change() {
    let with = Mechanisms {
        own_stamp: false,
        ..Mechanisms::ALL
    };
    let scenario = scenario(
        "revoke-all, its reply lost",
        user_with(&[1, 2]),
        1,
        vec![revoke_all(1, true)],
    );
    breaks("the own stamp", with, &scenario, "its change twice");
}

#[test]
fn without_the_previous_stamp_a_lost_reply_and_another_change_make_a_second_one() {
    let with = Mechanisms {
        previous_stamp: false,
        ..Mechanisms::ALL
    };
    let scenario = scenario(
        "revoke-all, its reply lost x revoke-all",
        user_with(&[1, 2]),
        1,
        vec![revoke_all(1, true), revoke_all(1, true)],
    );
    breaks("the previous stamp", with, &scenario, "its change twice");
}

#[test]
fn without_the_same_token_after_a_conflict_a_change_is_made_and_denied() {
    let with = Mechanisms {
        same_token_after_conflict: false,
        ..Mechanisms::ALL
    };
    let denied = scenario(
        "password change x another write",
        user_with(&[1, 2]),
        1,
        vec![
            change_password(1, 3),
            Request::SignIn {
                new: session_id(4),
                password: 2,
            },
        ],
    );
    breaks(
        "the same token after a conflict",
        with,
        &denied,
        "but its change was made",
    );
    breaks(
        "the same token after a conflict",
        with,
        &sign_in_and_its_end_and_purge(),
        "its change twice",
    );
}

#[test]
fn without_the_lookups_a_sign_in_ends_a_session_that_its_query_missed() {
    let with = Mechanisms {
        lookups_of_unseen: false,
        ..Mechanisms::ALL
    };
    let scenario = scenario(
        "sign-in x sign-in",
        user_with(&[1]),
        0,
        vec![sign_in(3), sign_in(4)],
    );
    breaks(
        "the lookups of unseen ids",
        with,
        &scenario,
        "no right to end",
    );
}

#[test]
fn without_a_later_account_read_the_purge_takes_a_new_session() {
    let with = Mechanisms {
        account_read_after_items: false,
        ..Mechanisms::ALL
    };
    let scenario = scenario(
        "purge x sign-in",
        user_with(&[1]),
        0,
        vec![purge(1), sign_in(3)],
    );
    breaks(
        "the purge's later account read",
        with,
        &scenario,
        "the item of s3 was deleted",
    );
}

#[test]
fn without_its_condition_the_purge_takes_a_session_that_was_refreshed_in_time() {
    let with = Mechanisms {
        purge_condition: false,
        ..Mechanisms::ALL
    };
    let scenario = refresh_at_the_expiry_and_purge();
    breaks(
        "the purge's condition",
        with,
        &scenario,
        "the item of s2 was deleted",
    );
}

#[test]
fn without_the_fence_a_sign_in_slips_past_a_revoke_all() {
    let with = Mechanisms {
        fence: false,
        ..Mechanisms::ALL
    };
    let scenario = scenario(
        "sign-in x revoke-all of one",
        user_with(&[1]),
        0,
        vec![sign_in(3), revoke_all(1, true)],
    );
    breaks(
        "revoke-all's fence",
        with,
        &scenario,
        "before the end of all sessions",
    );
}
