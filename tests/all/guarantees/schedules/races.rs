//! Races in which one write goes astray: its reply is lost, or it arrives late, or it meets a conflict.

use chrono::TimeDelta;
use latchkey_tests::proof::schedules::request::{Request, Target};
use latchkey_tests::proof::schedules::scene::Scenario;
use latchkey_tests::proof::schedules::search::Exploration;
use latchkey_tests::proof::schedules::table::Queries;

use super::holds;
use super::scenes::*;

const SIGNED_OUT: [&str; 3] = ["reused", "invalid", "caller not live"];

fn race(name: &'static str, sessions: &[u8], requests: Vec<Request>) -> Scenario {
    Scenario::new(name, sessions, requests).with_faults(1)
}

#[track_caller]
fn signs_nobody_out(explored: &Exploration) {
    let answers = explored.outcomes.iter().flatten();
    let signed_out: Vec<_> = answers
        .filter(|answer| SIGNED_OUT.contains(answer))
        .collect();
    assert!(signed_out.is_empty(), "{signed_out:?}");
}

#[test]
fn refreshes_with_one_token_get_one_successor() {
    let two = race("refresh x refresh", &[1], vec![refresh(1, 0); 2]).with_faults(2);
    signs_nobody_out(&holds(&two, &["refreshed"]));
    let three = race("refresh x refresh x refresh", &[1], vec![refresh(1, 0); 3]);
    signs_nobody_out(&holds(&three, &["refreshed"]));
    let requests = vec![refresh(1, 0), refresh(1, 0), refresh(1, 1)];
    let and_the_next = Scenario::new("refresh x refresh x next", &[1], requests);
    holds(&and_the_next, &["refreshed", "not due", "invalid"]);
}

#[test]
fn a_reauthentication_forks_no_lineage_and_signs_nobody_out() {
    let beside = |name, sessions: &[u8], beside| {
        race(name, sessions, vec![reauthenticate(1), beside]).with_whole_queries()
    };
    signs_nobody_out(&holds(&two_reauthentications(), &["reauthenticated"]));
    let refreshed = beside("reauthentication x refresh", &[1], refresh(1, 1)).with_rotated(1);
    let occurring = ["reauthenticated", "refreshed"];
    signs_nobody_out(&holds(&refreshed, &occurring));
    for (name, end) in [
        ("reauthentication x revoke", revoke(2, 1)),
        ("reauthentication x password change", change_password(2)),
    ] {
        let ended = beside(name, &[1, 2], end);
        holds(&ended, &["reauthenticated", "caller not live"]);
    }
}

fn two_reauthentications() -> Scenario {
    let name = "reauthentication x reauthentication";
    Scenario::new(name, &[1], vec![reauthenticate(1); 2]).with_whole_queries()
}

#[test]
#[ignore = "it takes as long as a tenth of all schedules: `cargo test -p latchkey-tests two_reauthentications_and -- --ignored`"]
fn two_reauthentications_and_a_write_astray_fork_no_lineage() {
    let astray = two_reauthentications().with_faults(1);
    signs_nobody_out(&holds(&astray, &["reauthenticated"]));
}

#[test]
fn no_refresh_that_starts_after_an_end_succeeds() {
    for (name, end) in [
        ("refresh x revoke", revoke(1, 2)),
        ("refresh x revoke-others", revoke_all(1, true)),
        ("refresh x revoke-all", revoke_all(1, false)),
        ("refresh x disabling", Request::Disable),
        ("refresh x logout", logout(2)),
    ] {
        let scenario = race(name, &[1, 2], vec![refresh(2, 0), end]);
        holds(&scenario, &["refreshed", "invalid"]);
    }
    for (name, end) in [
        ("refresh x password change", change_password(1)),
        ("refresh x deletion", delete(1)),
    ] {
        let scenario = race(name, &[1, 2], vec![refresh(2, 0), end]);
        holds(&scenario.with_whole_queries(), &["refreshed", "invalid"]);
    }
}

#[test]
fn reuse_ends_its_session_and_no_other() {
    let reuse = |name, beside| race(name, &[1, 2], vec![refresh(2, 0), beside]).with_rotated(2);
    let refreshed = reuse("reuse x refresh", refresh(2, 1));
    holds(&refreshed, &["reused", "refreshed", "invalid"]);
    let of_another = reuse("reuse x refresh of another", refresh(1, 0));
    holds(&of_another, &["reused", "refreshed"]);
    holds(&reuse("reuse x reuse", refresh(2, 0)), &["reused"]);
    let sign_in = reuse("reuse x sign-in", sign_in()).with_whole_queries();
    holds(&sign_in, &["reused", "signed in"]);
    holds(&reuse("reuse x revoke", revoke(1, 2)), &["reused", "done"]);
}

#[test]
fn sign_ins_at_the_limit_make_room_once_each() {
    let two = race(
        "sign-in x sign-in, at the limit",
        &[1, 2],
        vec![sign_in(); 2],
    );
    holds(&two.limited_to(2).with_whole_queries(), &["signed in"]);
    let requests = vec![sign_in(), refresh(1, 0)];
    let refreshed = race("sign-in x refresh, at the limit", &[1, 2], requests);
    holds(
        &refreshed.limited_to(2),
        &["signed in", "refreshed", "invalid"],
    );
    let three = Scenario::new(
        "sign-in x sign-in x sign-in, at the limit",
        &[1],
        vec![sign_in(); 3],
    );
    holds(&three.limited_to(3).with_whole_queries(), &["signed in"]);
    let below = race("sign-in x sign-in", &[1], vec![sign_in(); 2]);
    holds(&below.with_queries(Queries::Backwards), &["signed in"]);
}

#[test]
fn no_sign_in_comes_out_live_on_what_it_read_before_an_end() {
    let beside = |name, sessions: &[u8], end| race(name, sessions, vec![sign_in(), end]);
    let others = beside("sign-in x revoke-others", &[1, 2], revoke_all(1, true));
    holds(&others, &["signed in", "done"]);
    let of_one = beside(
        "sign-in x revoke-others, there are none",
        &[1],
        revoke_all(1, true),
    );
    holds(&of_one, &["signed in", "done"]);
    let disabled = beside("sign-in x disabling", &[1], Request::Disable);
    holds(&disabled, &["signed in", "disabled"]);
    let changed = |name| beside(name, &[1], change_password(1)).with_whole_queries();
    for scenario in [
        changed("sign-in x password change"),
        changed("sign-in with upgrade x password change").with_outdated_hash(),
        beside("sign-in x deletion", &[1], delete(1)).with_whole_queries(),
    ] {
        holds(&scenario, &["signed in", "invalid credentials"]);
    }
}

#[test]
fn ends_at_the_same_moment_all_come_true() {
    for (name, one, other) in [
        ("revoke x revoke, same target", revoke(1, 2), revoke(1, 2)),
        ("revoke x revoke, of each other", revoke(1, 2), revoke(2, 1)),
        (
            "revoke-others x revoke-others",
            revoke_all(1, true),
            revoke_all(1, true),
        ),
        (
            "revoke-others x revoke-others, of each other",
            revoke_all(1, true),
            revoke_all(2, true),
        ),
        ("revoke x revoke-all", revoke(1, 2), revoke_all(1, false)),
        ("logout x revoke", logout(2), revoke(1, 2)),
    ] {
        holds(&race(name, &[1, 2], vec![one, other]), &[]);
    }
}

#[test]
fn a_password_change_is_made_once_or_not_at_all() {
    let with_the_new_one = Request::SignIn {
        password: NEW_PASSWORD,
    };
    let of_another = Request::ChangePassword {
        caller: 2,
        new: OTHER_PASSWORD,
    };
    for (name, beside, occurring) in [
        (
            "password change x sign-in with the new one",
            with_the_new_one,
            &["signed in", "invalid credentials"][..],
        ),
        (
            "password change x password change",
            of_another,
            &["signed in", "caller not live"],
        ),
        (
            "password change x deletion",
            delete(2),
            &["signed in", "done", "caller not live"],
        ),
    ] {
        let changed = race(name, &[1, 2], vec![change_password(1), beside]);
        holds(&changed.with_whole_queries(), occurring);
    }
}

#[test]
fn a_purge_takes_nothing_that_counts() {
    let sign_in_beside = race("purge x sign-in", &[1], vec![purge(1), sign_in()]);
    let sign_in_beside = sign_in_beside.with_ended([2]);
    holds(&sign_in_beside, &["done", "signed in"]);
    let backwards = sign_in_beside.with_queries(Queries::Backwards);
    holds(&backwards, &["done", "signed in"]);
    let revoked = race("purge x revoke", &[1, 3], vec![purge(1), revoke(1, 3)]);
    holds(&revoked.with_ended([2]), &["done"]);
    let requests = vec![refresh(2, 0), purge(1)];
    let at_expiry = Scenario::new("refresh x purge, at the expiry", &[1, 2], requests);
    let millisecond = TimeDelta::milliseconds(1);
    let at_expiry = at_expiry
        .with_expiry_at_noon(2)
        .with_clock(0, millisecond, TimeDelta::zero());
    holds(&at_expiry, &["refreshed", "done"]);
    let of_it = Request::Revoke {
        caller: 1,
        target: Target::BegunBy(0),
    };
    let requests = vec![sign_in(), of_it, purge(1)];
    let end = race("sign-in x revoke of it x purge", &[1], requests).with_whole_queries();
    holds(&end, &["signed in", "done"]);
}

/// A sign-in reads a session that is refreshed in its last millisecond, and then trims what has ended.
#[test]
fn a_sign_in_trims_nothing_that_counts() {
    let requests = vec![sign_in(), refresh(2, 0)];
    let trimmed = Scenario::new(
        "sign-in that trims x refresh, at the expiry",
        &[1, 2],
        requests,
    );
    let millisecond = TimeDelta::milliseconds(1);
    let trimmed = trimmed
        .with_expiry_at_noon(2)
        .with_ended(3..25)
        .with_clock(0, millisecond * 3, millisecond)
        .with_clock(1, millisecond, TimeDelta::zero())
        .with_whole_queries();
    holds(&trimmed, &["signed in", "refreshed"]);
}

/// An administrator looks for a session while it begins or ends. The index lags, and says only whose session it is.
#[test]
fn a_lagging_index_shows_no_ended_session_as_live() {
    let begun = find(Target::BegunBy(0));
    let begun = Scenario::new("sign-in x look-up of it", &[1], vec![sign_in(), begun]);
    holds(&begun, &["signed in", "listed", "not found"]);
    for (name, change) in [
        ("look-up x revoke", revoke(1, 2)),
        ("look-up x refresh", refresh(2, 0)),
        (
            "look-up x deletion by an administrator",
            Request::AdminDelete,
        ),
    ] {
        let requests = vec![find(Target::Of(2)), change];
        let looked_for = race(name, &[1, 2], requests).with_whole_queries();
        holds(&looked_for, &["listed"]);
    }
}

/// The scheduled cleanup scans with reads that may be old, while others write.
#[test]
fn a_cleanup_takes_nothing_that_counts() {
    for scenario in cleanups() {
        holds(&scenario.with_whole_queries(), &["done"]);
    }
    let requests = vec![Request::CleanUp, sign_in()];
    let by_item = Scenario::new("cleanup x sign-in, item by item", &[1], requests);
    holds(&by_item, &["done", "signed in"]);
}

#[test]
#[ignore = "it takes ten minutes: `cargo test -p latchkey-tests a_cleanup_that -- --ignored --nocapture`"]
fn a_cleanup_that_reads_item_by_item_takes_nothing_that_counts() {
    for scenario in cleanups() {
        holds(&scenario, &["done"]);
    }
    let deletion = cleanup_beside(
        "cleanup x deletion by an administrator",
        Request::AdminDelete,
    );
    holds(&deletion.with_whole_queries(), &["done"]);
    let another = cleanup_beside("cleanup x cleanup", Request::CleanUp);
    holds(&another.with_whole_queries(), &["done", "already running"]);
}

fn cleanups() -> [Scenario; 4] {
    [
        cleanup_beside("cleanup x sign-in", sign_in()),
        cleanup_beside("cleanup x refresh", refresh(2, 0)),
        cleanup_beside("cleanup x purge", purge(1)),
        cleanup_beside("cleanup x revoke-all", revoke_all(1, false)),
    ]
}

fn cleanup_beside(name: &'static str, beside: Request) -> Scenario {
    let requests = vec![Request::CleanUp, beside];
    Scenario::new(name, &[1, 2, 3], requests).with_overdue(3)
}

/// A session is seen in a list and revoked while its sign-in is still under way, by a query that reads the account last.
#[test]
fn a_session_begun_meanwhile_ends_though_the_query_did_not_show_it() {
    let of_it = Request::Revoke {
        caller: 1,
        target: Target::BegunBy(0),
    };
    let begun = Scenario::new("sign-in x revoke of it", &[1], vec![sign_in(), of_it]);
    let begun = begun.with_queries(Queries::Backwards);
    holds(&begun, &["signed in", "done", "not found"]);
}
