//! Links that are opened while something else happens.

use latchkey_tests::proof::schedules::request::Request;
use latchkey_tests::proof::schedules::scene::Scenario;

use super::holds;
use super::scenes::*;

fn link(name: &'static str, link: Request, beside: Request) -> Scenario {
    let scenario = Scenario::new(name, &[1, 2], vec![link, beside]);
    scenario.with_faults(1).with_whole_queries()
}

#[test]
fn a_reset_ends_everything_whatever_happens_beside_it() {
    for (name, beside, occurring) in [
        (
            "reset x sign-in",
            sign_in(),
            &["done", "signed in", "invalid credentials"][..],
        ),
        (
            "reset x refresh",
            refresh(2, 0),
            &["done", "refreshed", "invalid"],
        ),
        ("reset x reset", reset_password(), &["done", "invalid link"]),
        (
            "reset x new address",
            change_email(2),
            &["done", "invalid link"],
        ),
        ("reset x revoke-others", revoke_all(1, true), &["done"]),
        (
            "reset x password change",
            change_password(1),
            &["done", "signed in", "invalid link", "caller not live"],
        ),
        ("reset x deletion", delete(1), &["done", "invalid link"]),
    ] {
        holds(&link(name, reset_password(), beside), occurring);
    }
    let upgraded = link("reset x sign-in with upgrade", reset_password(), sign_in());
    let occurring = ["done", "signed in", "invalid credentials"];
    holds(&upgraded.with_outdated_hash(), &occurring);
}

/// A password is checked against the credential, which has moved to the new address since the account was read.
#[test]
fn a_password_beside_a_new_address_is_checked_and_signs_nobody_out() {
    for (name, password, occurring) in [
        (
            "reauthentication x new address",
            reauthenticate(2),
            "reauthenticated",
        ),
        (
            "password change x new address",
            change_password(1),
            "signed in",
        ),
        ("deletion x new address", delete(2), "done"),
    ] {
        let requests = vec![password, change_email(2)];
        let explored = holds(&Scenario::new(name, &[1, 2], requests), &[occurring]);
        let mut answers = explored.outcomes.iter().flatten();
        assert!(answers.all(|answer| *answer != "caller not live"), "{name}");
    }
}

/// By somebody who clicks twice, or after a program that looks at mails.
#[test]
fn a_link_to_a_new_address_that_is_opened_twice_does_its_work_for_both() {
    let name = "new address x the same";
    let twice = Scenario::new(name, &[1, 2], vec![change_email(2); 2]);
    let explored = holds(&twice, &["done"]);
    let mut answers = explored.outcomes.iter().flatten();
    assert!(answers.all(|answer| *answer == "done"), "{name}");
}

#[test]
fn an_address_moves_once_and_only_while_its_session_counts() {
    for (name, beside, occurring) in [
        (
            "new address x sign-in",
            sign_in(),
            &["done", "signed in", "invalid credentials"][..],
        ),
        ("new address x new address", change_email(2), &["done"]),
        (
            "new address x revoke",
            revoke(1, 2),
            &["done", "invalid link"],
        ),
        (
            "new address x revoke-others",
            revoke_all(1, true),
            &["done", "invalid link"],
        ),
        (
            "new address x password change",
            change_password(1),
            &["done", "signed in", "invalid link"],
        ),
        (
            "new address x deletion",
            delete(1),
            &["done", "invalid link"],
        ),
    ] {
        holds(&link(name, change_email(2), beside), occurring);
    }
    let upgraded = link(
        "new address x sign-in with upgrade",
        change_email(2),
        sign_in(),
    );
    holds(&upgraded.with_outdated_hash(), &["done", "signed in"]);
}
