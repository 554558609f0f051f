//! Every order of the DynamoDB calls of a few simultaneous requests keeps the guarantees; and without any one of the
//! mechanisms behind them, some order breaks one. The model and the search: [`latchkey_tests::proof::interleavings`].
//!
//! `cargo test -p latchkey-tests interleavings -- --nocapture` prints the states explored and the counterexamples.

mod links;
mod scenes;
mod without;

use latchkey_tests::proof::interleavings::Mechanisms;
use latchkey_tests::proof::interleavings::requests::Request;
use latchkey_tests::proof::interleavings::search::{Exploration, Scenario, explore, report};

use self::scenes::*;

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
