//! Links that are opened while something else happens.

use super::holds;
use super::scenes::*;

#[test]
fn a_reset_ends_everything_whatever_happens_beside_it() {
    let table = || user_with(&[1, 2]);
    let done = "done";
    for (name, beside, occurring) in [
        (
            "reset x sign-in",
            sign_in(3),
            &[done, "signed in", "invalid credentials"][..],
        ),
        (
            "reset x refresh",
            refresh(2, 0),
            &[done, "refreshed", "invalid"],
        ),
        ("reset x reset", reset_password(3), &[done, "invalid link"]),
        (
            "reset x password change",
            change_password(1, 3),
            &[done, "signed in", "invalid link", "caller not live"],
        ),
        (
            "reset x new address",
            change_email(2),
            &[done, "invalid link"],
        ),
        ("reset x revoke-all", revoke_all(1, true), &[done]),
        ("reset x deletion", delete(1), &[done, "invalid link"]),
    ] {
        let scenario = scenario(name, table(), 1, vec![reset_password(2), beside]);
        holds(&account_first(scenario), occurring);
    }
    let with_upgrade = scenario(
        "reset x sign-in with upgrade",
        with_outdated_hash(user_with(&[1])),
        1,
        vec![reset_password(2), sign_in(3)],
    );
    let occurring = ["done", "signed in", "invalid credentials"];
    holds(&account_first(with_upgrade), &occurring);
}

#[test]
fn an_address_moves_once_and_only_while_its_session_counts() {
    let table = || user_with(&[1, 2]);
    let done = "done";
    for (name, beside, occurring) in [
        (
            "new address x sign-in",
            sign_in(3),
            &[done, "signed in", "invalid credentials"][..],
        ),
        ("new address x new address", change_email(2), &[done]),
        (
            "new address x revoke",
            revoke(1, 2),
            &[done, "invalid link"],
        ),
        (
            "new address x revoke-all",
            revoke_all(1, true),
            &[done, "invalid link"],
        ),
        (
            "new address x password change",
            change_password(1, 3),
            &[done, "signed in", "invalid link"],
        ),
        ("new address x deletion", delete(1), &[done, "invalid link"]),
    ] {
        let scenario = scenario(name, table(), 1, vec![change_email(2), beside]);
        holds(&account_first(scenario), occurring);
    }
    let with_upgrade = scenario(
        "new address x sign-in with upgrade",
        with_outdated_hash(table()),
        1,
        vec![change_email(2), sign_in(3)],
    );
    holds(&account_first(with_upgrade), &["done", "signed in"]);
}
