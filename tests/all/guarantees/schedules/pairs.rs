//! Every pair of operations that change or judge who is signed in.

use latchkey_tests::proof::schedules::request::{Request, Target};
use latchkey_tests::proof::schedules::scene::Scenario;

use super::holds;
use super::scenes::*;

/// The operations. Two sessions live, of which the second was refreshed ten minutes ago, and a third has ended.
fn operations() -> Vec<(&'static str, Request)> {
    vec![
        ("sign-in", sign_in()),
        ("refresh", refresh(2, 1)),
        ("reuse", refresh(2, 0)),
        ("reauthentication", reauthenticate(2)),
        ("revoke", revoke(1, 2)),
        ("revoke-others", revoke_all(1, true)),
        ("revoke-all", revoke_all(2, false)),
        ("logout", logout(2)),
        ("password change", change_password(1)),
        ("reset", reset_password()),
        ("new address", change_email(2)),
        ("deletion", delete(1)),
        ("purge", purge(1)),
        ("list", list(2)),
        (
            "rename",
            Request::Rename {
                caller: 1,
                target: 2,
            },
        ),
        ("disabling", Request::Disable),
        (
            "revoke by an administrator",
            Request::AdminRevoke { target: 2 },
        ),
        ("revoke-all by an administrator", Request::AdminRevokeAll),
        ("deletion by an administrator", Request::AdminDelete),
        ("enabling", Request::Enable),
        ("change of roles", Request::ChangeRoles),
        ("current session", Request::CurrentSession { caller: 2 }),
        ("look-up by the index", find(Target::Of(2))),
    ]
}

fn is_deletion(request: &Request) -> bool {
    matches!(request, Request::Delete { .. } | Request::AdminDelete)
}

/// Explores the pairs whose first operation is one of these.
fn explore(first: std::ops::Range<usize>) {
    let operations = operations();
    for at in first {
        for other in &operations[at..] {
            let one = &operations[at];
            let name = format!("{} x {}", one.0, other.0);
            let requests = vec![one.1.clone(), other.1.clone()];
            let are_deletions = requests.iter().all(is_deletion);
            let pair = Scenario::new(name.leak(), &[1, 2], requests);
            let mut pair = pair.with_rotated(2).with_ended([3]);
            if are_deletions {
                // Their reading of what is left to remove has a hundred thousand orders, and no rule looks at it.
                pair = pair.with_whole_queries();
            }
            holds(&pair, &[]);
        }
    }
}

#[test]
fn sign_ins_beside_anything() {
    explore(0..1);
}

#[test]
fn refreshes_beside_anything() {
    explore(1..4);
}

#[test]
fn ends_of_sessions_beside_anything() {
    explore(4..8);
}

#[test]
fn changes_of_the_account_beside_anything() {
    explore(8..12);
}

#[test]
fn the_others_beside_each_other() {
    explore(12..operations().len());
}
