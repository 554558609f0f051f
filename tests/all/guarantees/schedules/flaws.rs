//! A check that cannot fail proves nothing: on a DynamoDB that lacks something the search finds what goes wrong.
//!
//! Here it lacks what the service leaves to it: conditions, the memory of tokens, and consistent reads. What the service
//! does itself is taken out of its code by the patches in `tests/proof/mechanisms`.

use chrono::TimeDelta;
use latchkey_tests::proof::schedules::request::{Request, Target};
use latchkey_tests::proof::schedules::scene::Scenario;
use latchkey_tests::proof::schedules::table::Flaw;

use super::scenes::*;

const VERSION: &str = "#version = :read_version";
const ROTATION: &str = "#rotation = :presented";
const INTERVAL: &str = "(#rotation = :unrotated OR #rotated_at <= :due)";
const NOT_REFRESHED: &str = "#rotation = :rotation";

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
    breaks(Flaw::Holds(&[VERSION]), revoked, "came back");
    let requests = vec![sign_in(), revoke_all(1, true)];
    let all = Scenario::new("sign-in x revoke-others", &[1], requests);
    breaks(
        Flaw::Holds(&[VERSION]),
        all,
        "guarantee 3: the session of request 1 comes in on a read from before the end",
    );
    let limited = Scenario::new(
        "sign-in x sign-in, at the limit",
        &[1, 2],
        vec![sign_in(); 2],
    );
    let limited = limited.limited_to(2).with_whole_queries();
    breaks(Flaw::Holds(&[VERSION]), limited, "no right to end");
}

#[test]
fn without_the_condition_of_the_rotation_a_replaced_token_works_again() {
    let requests = vec![refresh(2, 0), refresh(2, 1)];
    let reuse = Scenario::new("reuse x refresh", &[1, 2], requests).with_rotated(2);
    let rule = "guarantee 1: s2.1 was followed by 1";
    breaks(Flaw::Holds(&[ROTATION]), reuse, rule);
}

/// The interval alone keeps two tabs from forking the lineage, and so does the condition of the rotation.
#[test]
fn without_the_interval_and_the_condition_of_the_rotation_the_lineage_forks() {
    let tabs = Scenario::new("refresh x refresh", &[1], vec![refresh(1, 0); 2]);
    let flaw = Flaw::Holds(&[ROTATION, INTERVAL]);
    breaks(flaw, tabs, "the lineage has forked");
}

/// The link has set the password, and the account has changed twice since, when the write is sent again.
#[test]
fn a_dynamodb_that_forgets_tokens_makes_a_change_that_is_denied() {
    let requests = vec![
        reset_password(),
        Request::AdminRevokeAll,
        Request::AdminRevokeAll,
    ];
    let reset = Scenario::new("reset x end of all x end of all", &[1], requests);
    let reset = reset.with_faults(1).with_whole_queries();
    let rule = "guarantee 7: answered \"invalid link\", but its change was made";
    breaks(Flaw::ForgetsTokens, reset, rule);
}

#[test]
fn a_late_write_that_meets_no_condition_is_made_after_the_refusal() {
    let requests = vec![revoke_all(1, false), logout(1)];
    let refused = Scenario::new("revoke-all x logout of its caller", &[1, 2], requests);
    let rule = "guarantee 7: a change was made after its request had been refused";
    breaks(Flaw::MakesLateWrites(0), refused.with_faults(1), rule);
}

#[test]
fn without_the_interval_a_parallel_tab_is_signed_out() {
    let requests = vec![refresh(1, 0), refresh(1, 0), refresh(1, 1)];
    let tabs = Scenario::new("refresh x refresh x next", &[1], requests);
    breaks(Flaw::Holds(&[INTERVAL]), tabs, "has no right to end s1");
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
    breaks(
        Flaw::Holds(&[NOT_REFRESHED]),
        at_expiry,
        "the item of s2 was deleted",
    );
}

#[test]
fn without_consistent_reads_an_administrator_is_shown_what_has_ended() {
    let requests = vec![find(Target::Of(2)), revoke(1, 2)];
    let looked_for = Scenario::new("look-up x revoke", &[1, 2], requests);
    let rule = "s2 is shown as live, which had ended";
    breaks(Flaw::ShowsTheBeginning, looked_for, rule);
}

#[test]
fn without_consistent_reads_a_refresh_outlives_the_end() {
    let requests = vec![refresh(2, 0), revoke(1, 2)];
    let revoked = Scenario::new("refresh x revoke", &[1, 2], requests);
    let rule = "had ended before this refresh began";
    breaks(Flaw::ShowsTheBeginning, revoked, rule);
}
