//! Who is there, what they ask, and the scenarios that more than one test plays.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use latchkey_domain::id::SessionId;
use latchkey_tests::proof::interleavings::requests::{Process, Queries, Request};
use latchkey_tests::proof::interleavings::search::Scenario;
use latchkey_tests::proof::interleavings::table::{
    AccountItem, CredentialItem, SessionItem, Status, Table, noon, session_id,
};

/// A user with some admitted sessions, the lower number the longer unused; the first is the caller's.
pub(super) fn user_with(sessions: &[u8]) -> Table {
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
            address: 0,
        }),
        account: Some(AccountItem {
            version: 1,
            change: None,
            previous_change: None,
            sessions: items.keys().copied().collect(),
            password_version: 1,
            email_version: 0,
            status: Status::Active,
        }),
        sessions: items,
        made: Default::default(),
    }
}

/// The item of a session that has ended.
pub(super) fn with_ended(mut table: Table, number: u8) -> Table {
    let id = session_id(number);
    table
        .sessions
        .insert(id, SessionItem::begin(id, noon() - TimeDelta::hours(11)));
    table
}

/// A session that was rotated ten minutes ago, and expires when the scenario says so.
pub(super) fn with_rotated(mut table: Table, number: u8, rotation: u64) -> Table {
    let item = table.sessions.get_mut(&session_id(number)).unwrap();
    item.rotation = rotation;
    item.rotated_at = noon() - TimeDelta::minutes(10);
    item.last_used_at = item.rotated_at;
    table
}

pub(super) fn with_idle_expiry_at_noon(mut table: Table, number: u8) -> Table {
    let item = table.sessions.get_mut(&session_id(number)).unwrap();
    item.idle_expires_at = noon();
    table
}

pub(super) fn with_outdated_hash(mut table: Table) -> Table {
    if let Some(credential) = &mut table.credential {
        credential.outdated = true;
    }
    table
}

pub(super) fn refresh(session: u8, presented: u64) -> Request {
    Request::Refresh {
        session: session_id(session),
        presented,
    }
}

pub(super) fn sign_in(new: u8) -> Request {
    Request::SignIn {
        new: session_id(new),
        password: 1,
    }
}

pub(super) fn revoke(caller: u8, target: u8) -> Request {
    Request::Revoke {
        caller: session_id(caller),
        target: session_id(target),
    }
}

pub(super) fn revoke_all(caller: u8, keep_current: bool) -> Request {
    Request::RevokeAll {
        caller: session_id(caller),
        keep_current,
    }
}

pub(super) fn logout(session: u8) -> Request {
    Request::Logout {
        session: session_id(session),
    }
}

pub(super) fn change_password(caller: u8, successor: u8) -> Request {
    let (caller, successor) = (session_id(caller), session_id(successor));
    Request::ChangePassword {
        caller,
        successor,
        current: 1,
        new: 2,
    }
}

pub(super) fn reset_password(new: u8) -> Request {
    Request::ResetPassword {
        password_version: 1,
        new,
    }
}

pub(super) fn change_email(asked_on: u8) -> Request {
    Request::ChangeEmail {
        asked_on: session_id(asked_on),
    }
}

pub(super) fn delete(caller: u8) -> Request {
    Request::Delete {
        caller: session_id(caller),
        password: 1,
    }
}

pub(super) fn reauthenticate(caller: u8) -> Request {
    Request::Reauthenticate {
        caller: session_id(caller),
        password: 1,
    }
}

pub(super) fn purge(caller: u8) -> Request {
    Request::Purge {
        caller: session_id(caller),
    }
}

pub(super) fn scenario(
    name: &'static str,
    table: Table,
    faults: u8,
    requests: Vec<Request>,
) -> Scenario {
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
pub(super) fn account_first(scenario: Scenario) -> Scenario {
    Scenario {
        queries: Queries::AccountFirst,
        ..scenario
    }
}

pub(super) fn limited_to(limit: usize, scenario: Scenario) -> Scenario {
    Scenario { limit, ..scenario }
}

/// Two tabs refresh with one token, and a third with its successor at the same moment.
pub(super) fn refreshes_and_the_next() -> Scenario {
    scenario(
        "refresh x refresh x next",
        user_with(&[1]),
        0,
        vec![refresh(1, 0), refresh(1, 0), refresh(1, 1)],
    )
}

/// Somebody presents a token that was replaced ten minutes ago, while somebody else refreshes with the newest.
pub(super) fn reuse_and_refresh() -> Scenario {
    scenario(
        "reuse x refresh",
        with_rotated(user_with(&[1, 2]), 2, 1),
        1,
        vec![refresh(2, 0), refresh(2, 1)],
    )
}

/// A refresh that begins a millisecond before its session expires, and a purge that begins as it does.
pub(super) fn refresh_at_the_expiry_and_purge() -> Scenario {
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
pub(super) fn sign_in_and_its_end_and_purge() -> Scenario {
    account_first(scenario(
        "sign-in x revoke of it x purge",
        user_with(&[1]),
        1,
        vec![sign_in(3), revoke(1, 3), purge(1)],
    ))
}

/// A reauthentication and a refresh with the newest token, which was made ten minutes ago.
pub(super) fn reauthentication_and_refresh() -> Scenario {
    scenario(
        "reauthentication x refresh",
        with_rotated(user_with(&[1]), 1, 1),
        1,
        vec![reauthenticate(1), refresh(1, 1)],
    )
}
