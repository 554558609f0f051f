//! A check that cannot fail proves nothing: on a DynamoDB that lacks something the search finds what goes wrong.
//!
//! Here it lacks what the service leaves to it: conditions, and consistent reads. What the service does itself is taken
//! out of its code by the patches in `tests/proof/mechanisms`.

use chrono::TimeDelta;
use latchkey_tests::proof::schedules::scene::Scenario;
use latchkey_tests::proof::schedules::table::Flaw;

use super::scenes::*;

const VERSION: Flaw = Flaw::Holds("#version = :read_version");
const ROTATION: Flaw = Flaw::Holds("#rotation = :presented");
const INTERVAL: Flaw = Flaw::Holds("(#rotation = :unrotated OR #rotated_at <= :due)");
const NOT_REFRESHED: Flaw = Flaw::Holds("#rotation = :rotation");

/// With the flaw some order of the scenario breaks the rule that is named.
#[track_caller]
fn breaks(flaw: Flaw, scenario: Scenario, rule: &str) {
    let explored = scenario.clone().with_flaw(flaw).explore();
    let Some(counterexample) = explored.counterexample else {
        panic!("with {flaw:?}, {} breaks nothing", scenario.name);
    };
    println!("\nwith {flaw:?}, {}:\n{counterexample}", scenario.name);
    assert!(
        counterexample.broken.contains(rule),
        "{}",
        counterexample.broken
    );
}

#[test]
fn without_the_version_condition_a_change_is_lost() {
    let revoked = Scenario::new("revoke x sign-in", &[1, 2], vec![revoke(1, 2), sign_in()]);
    breaks(VERSION, revoked, "came back");
    let requests = vec![sign_in(), revoke_all(1, true)];
    let all = Scenario::new("sign-in x revoke-others", &[1], requests);
    breaks(VERSION, all, "guarantee 3");
    let limited = Scenario::new(
        "sign-in x sign-in, at the limit",
        &[1, 2],
        vec![sign_in(); 2],
    );
    let limited = limited.limited_to(2).with_whole_queries();
    breaks(VERSION, limited, "no right to end");
}

#[test]
fn without_the_condition_of_the_rotation_a_replaced_token_works_again() {
    let requests = vec![refresh(2, 0), refresh(2, 1)];
    let reuse = Scenario::new("reuse x refresh", &[1, 2], requests).with_rotated(2);
    breaks(ROTATION, reuse, "guarantee");
}

#[test]
fn without_the_interval_a_parallel_tab_is_signed_out() {
    let requests = vec![refresh(1, 0), refresh(1, 0), refresh(1, 1)];
    let tabs = Scenario::new("refresh x refresh x next", &[1], requests);
    breaks(INTERVAL, tabs, "has no right to end s1");
}

#[test]
fn without_its_condition_a_purge_takes_a_session_that_was_refreshed_in_time() {
    let requests = vec![refresh(2, 0), purge(1)];
    let at_expiry = Scenario::new("refresh x purge, at the expiry", &[1, 2], requests);
    let at_expiry = at_expiry.with_expiry_at_noon(2).with_clock(
        0,
        TimeDelta::milliseconds(1),
        TimeDelta::zero(),
    );
    breaks(NOT_REFRESHED, at_expiry, "the item of s2 was deleted");
}

#[test]
fn without_consistent_reads_a_refresh_outlives_the_end() {
    let requests = vec![refresh(2, 0), revoke(1, 2)];
    let revoked = Scenario::new("refresh x revoke", &[1, 2], requests);
    let rule = "had ended before this refresh began";
    breaks(Flaw::ShowsTheBeginning, revoked, rule);
}
