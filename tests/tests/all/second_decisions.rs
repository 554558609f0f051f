//! A change whose first decision was overtaken is decided again, and answered by what its caller asked for.

use latchkey_domain::account::{Account, Change, EndReason};
use latchkey_domain::error::SessionError;
use latchkey_tests::stack::Stack;

#[tokio::test]
async fn a_change_that_finds_its_target_gone_at_its_second_decision_is_a_success() {
    let stack = Stack::start().await;
    let keeper = stack.register("ada@example.com").await;
    let victim = stack.login("ada@example.com").await;
    let user = keeper.user_id.unwrap();
    let stale = stack.store.read_account(user).await.unwrap();
    // Somebody else, or an attempt of our own whose reply was lost, has ended it meanwhile.
    let ended = |account: Option<Account>| -> Result<Change, SessionError> {
        Ok(account
            .unwrap()
            .end_one(victim.session_id, EndReason::Revoked))
    };
    stack.store.change_account(user, ended).await.unwrap();
    let revoke = |account: Option<Account>| -> Result<Change, SessionError> {
        account
            .unwrap()
            .revoke(keeper.session_id, victim.session_id)
    };
    let gone = stack
        .store
        .change_account_as_read(user, stale, revoke)
        .await;
    assert_eq!(gone, Ok(vec![victim.session_id]));
    // Decided on a fresh read it is told that there is no such session.
    let refused = stack.store.change_account(user, revoke).await;
    assert_eq!(
        refused,
        Err(latchkey_domain::error::Failure::Refused(
            SessionError::NotFound
        ))
    );
}

#[tokio::test]
async fn a_change_decided_on_an_old_read_is_decided_again() {
    let stack = Stack::start().await;
    let keeper = stack.register("ada@example.com").await;
    let user = keeper.user_id.unwrap();
    let stale = stack.store.read_account(user).await.unwrap();
    let newcomer = stack.login("ada@example.com").await;
    let revoke_all =
        |account: Option<Account>| account.unwrap().revoke_all(keeper.session_id, true);
    let ended = stack
        .store
        .change_account_as_read(user, stale, revoke_all)
        .await;
    assert_eq!(ended, Ok(vec![newcomer.session_id]));
    assert_eq!(stack.session_ids(&keeper).await, [keeper.session_id]);
}
