//! Administrators: no account is one until an operator grants it the role.

use chrono::{DateTime, Utc};
use latchkey_domain::administration::AdminAct;
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::id::UserId;
use latchkey_domain::role::Role;
use latchkey_store::{Store, WriteOutcome};

/// Gives a user the role of administration, by the store that this has all permissions on. The access tokens of the next
/// sign-in or refresh have the scope.
///
/// # Panics
/// When there is no such user, or somebody else changes the account at the same moment.
pub async fn grant(store: &Store, user: UserId, at: DateTime<Utc>) {
    let before = store.read_account(user).await;
    let before = before.expect("the table can be read").expect("an account");
    let change = before
        .clone()
        .administer(&Actor::Operator, &AdminAct::Grant(Role::admin()), at)
        .expect("an account that is not deleted");
    let cause = Cause {
        action: Action::ChangeRoles,
        actor: Actor::Operator,
        at,
    };
    let (stamp, mut retries) = (store.new_stamp(), store.retries());
    let written = store.write_change(&before, &change, &cause, &[], stamp, &mut retries);
    assert_eq!(written.await, Ok(WriteOutcome::Written));
}
