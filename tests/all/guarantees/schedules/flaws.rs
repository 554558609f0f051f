//! A check that cannot fail proves nothing: on a DynamoDB that lacks something the search finds what goes wrong.
//!
//! So is what the service leaves to DynamoDB: its conditions, and consistent reads. What the
//! service does itself is taken out of its code by the patches in `tests/proof/mechanisms`.

use latchkey_tests::proof::schedules::scene::Scenario;
use latchkey_tests::proof::schedules::table::Flaw;

use super::scenes::*;

const ROTATION: Flaw = Flaw::Holds("#rotation = :presented");
const INTERVAL: Flaw = Flaw::Holds("(#rotation = :unrotated OR #rotated_at <= :due)");

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
fn without_consistent_reads_a_refresh_outlives_the_end() {
    let requests = vec![refresh(2, 0), revoke(1, 2)];
    let revoked = Scenario::new("refresh x revoke", &[1, 2], requests);
    let rule = "had ended before this refresh began";
    breaks(Flaw::ShowsTheBeginning, revoked, rule);
}
