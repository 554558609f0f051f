//! Without any one of the mechanisms some order breaks a guarantee.

use latchkey_tests::proof::interleavings::Mechanisms;
use latchkey_tests::proof::interleavings::requests::Request;
use latchkey_tests::proof::interleavings::table::session_id;

use super::breaks;
use super::scenes::*;

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

#[test]
fn without_the_password_in_its_name_a_reset_link_works_twice() {
    let with = Mechanisms {
        reset_names_password: false,
        ..Mechanisms::ALL
    };
    let scenario = scenario(
        "reset x reset",
        user_with(&[1]),
        0,
        vec![reset_password(2), reset_password(3)],
    );
    let rule = "a password that was chosen after it was sent";
    breaks("the password that a link names", with, &scenario, rule);
}

#[test]
fn without_the_session_in_its_name_a_link_to_a_new_address_outlives_its_end() {
    let with = Mechanisms {
        change_names_session: false,
        ..Mechanisms::ALL
    };
    let requests = vec![change_email(2), revoke(1, 2)];
    let scenario = scenario("new address x revoke", user_with(&[1, 2]), 0, requests);
    let rule = "asked for on s2, which had ended";
    breaks("the session that a link names", with, &scenario, rule);
}
