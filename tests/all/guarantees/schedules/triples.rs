//! Three requests at the same moment.

use latchkey_tests::proof::schedules::request::Request;
use latchkey_tests::proof::schedules::scene::Scenario;

use super::holds;
use super::scenes::*;

#[test]
fn a_sign_in_all_revoked_and_a_refresh() {
    let requests = vec![sign_in(), revoke_all(1, true), refresh(2, 0)];
    let triple = Scenario::new("sign-in x revoke-others x refresh", &[1, 2], requests);
    holds(&triple, &["signed in", "done", "refreshed", "invalid"]);
}

#[test]
fn a_sign_in_all_revoked_with_the_caller_and_a_refresh() {
    let requests = vec![sign_in(), revoke_all(1, false), refresh(2, 0)];
    let triple = Scenario::new("sign-in x revoke-all x refresh", &[1, 2], requests);
    holds(&triple, &["signed in", "done", "refreshed", "invalid"]);
}

#[test]
fn a_disabling_an_enabling_and_a_sign_in() {
    let requests = vec![Request::Disable, Request::Enable, sign_in()];
    let triple = Scenario::new("disabling x enabling x sign-in", &[1], requests);
    holds(
        &triple.with_whole_queries(),
        &["done", "signed in", "disabled"],
    );
}

#[test]
fn two_refreshes_and_a_reuse() {
    let requests = vec![refresh(1, 1), refresh(1, 1), refresh(1, 0)];
    let triple = Scenario::new("refresh x refresh x reuse", &[1], requests).with_rotated(1);
    holds(&triple, &["refreshed", "reused", "invalid"]);
}

#[test]
fn a_sign_in_the_limit_and_a_password_change() {
    let requests = vec![sign_in(), sign_in(), change_password(1)];
    let triple = Scenario::new(
        "sign-in x sign-in x password change, at the limit",
        &[1, 2],
        requests,
    );
    let triple = triple.limited_to(2).with_whole_queries();
    holds(
        &triple,
        &["signed in", "invalid credentials", "caller not live"],
    );
}

#[test]
fn a_purge_a_sign_in_and_a_refresh() {
    let requests = vec![purge(1), sign_in(), refresh(1, 0)];
    let triple = Scenario::new("purge x sign-in x refresh", &[1], requests).with_ended([2]);
    holds(&triple, &["done", "signed in", "refreshed"]);
}

#[test]
fn a_step_up_and_two_refreshes() {
    let requests = vec![reauthenticate(1), refresh(1, 1), refresh(1, 1)];
    let triple = Scenario::new("reauthentication x refresh x refresh", &[1], requests);
    let explored = holds(&triple.with_rotated(1), &["reauthenticated", "refreshed"]);
    assert!(
        !explored
            .outcomes
            .iter()
            .flatten()
            .any(|answer| *answer == "reused")
    );
}

#[test]
fn an_administrators_disabling_and_two_sign_ins() {
    let requests = vec![Request::Disable, sign_in(), sign_in()];
    let triple = Scenario::new("disabling x sign-in x sign-in", &[1], requests);
    holds(
        &triple.with_whole_queries(),
        &["done", "signed in", "disabled"],
    );
}

#[test]
fn a_password_change_all_revoked_and_a_sign_in() {
    let requests = vec![change_password(1), revoke_all(1, true), sign_in()];
    let triple = Scenario::new("password change x revoke-others x sign-in", &[1], requests);
    let occurring = [
        "done",
        "signed in",
        "caller not live",
        "invalid credentials",
    ];
    holds(&triple.with_whole_queries(), &occurring);
}

#[test]
fn a_revoke_a_sign_in_and_a_refresh() {
    let requests = vec![revoke(1, 2), sign_in(), refresh(2, 0)];
    let triple = Scenario::new("revoke x sign-in x refresh", &[1, 2], requests);
    holds(&triple, &["done", "signed in", "refreshed", "invalid"]);
}

/// A write is sent again whose reply was lost, and two others have changed the account since: whether it was made cannot be
/// told any more, so it is not decided a second time.
#[test]
fn an_end_of_all_a_reset_and_another_end_of_all_one_write_astray() {
    let requests = vec![
        Request::AdminRevokeAll,
        reset_password(),
        Request::AdminRevokeAll,
    ];
    let name = "revoke-all by an administrator x reset x the same";
    let triple = Scenario::new(name, &[1], requests).with_faults(1);
    holds(&triple.with_whole_queries(), &["done", "unavailable"]);
}

/// Nine operations that change who is signed in; every three of them are explored. Left out are the end of all with the
/// caller's own session, a refresh and its reuse, a reauthentication, a new address, and deletions.
fn changes() -> [(&'static str, Request); 9] {
    [
        ("sign-in", sign_in()),
        ("revoke", revoke(1, 2)),
        ("revoke-others", revoke_all(1, true)),
        ("logout", logout(2)),
        ("disabling", Request::Disable),
        (
            "revoke by an administrator",
            Request::AdminRevoke { target: 2 },
        ),
        ("revoke-all by an administrator", Request::AdminRevokeAll),
        ("password change", change_password(1)),
        ("reset", reset_password()),
    ]
}

/// Explores the triples of these changes, each with one write astray, whose first operation, in the order above, is one of
/// `first`.
fn explore_with_a_write_astray(first: std::ops::Range<usize>) {
    let changes = changes();
    for one in first {
        for two in one..changes.len() {
            for three in &changes[two..] {
                let (one, two) = (&changes[one], &changes[two]);
                let name = format!("{} x {} x {}, one write astray", one.0, two.0, three.0);
                let requests = [one, two, three].map(|change| change.1.clone()).to_vec();
                let triple = Scenario::new(name.leak(), &[1, 2], requests).with_faults(1);
                holds(&triple.with_whole_queries(), &[]);
            }
        }
    }
}

#[test]
#[ignore = "it takes long: `cargo test -p latchkey-tests three_changes -- --ignored --nocapture`"]
fn three_changes_with_a_sign_in_or_an_owners_revoke_one_write_astray() {
    explore_with_a_write_astray(0..2);
}

#[test]
#[ignore = "it takes long: `cargo test -p latchkey-tests three_changes -- --ignored --nocapture`"]
fn three_changes_without_a_sign_in_or_an_owners_revoke_one_write_astray() {
    explore_with_a_write_astray(2..changes().len());
}
