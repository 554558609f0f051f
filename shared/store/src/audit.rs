//! The audit trail: one log line for the end of each session, made from the cause that was written with it.

use latchkey_domain::account::Change;
use latchkey_domain::cause::{Cause, EndReason};
use latchkey_domain::id::UserId;

/// Logs every end that a change has brought. Called once, by whoever's write was made.
pub(crate) fn log_ends(user_id: UserId, change: &Change, cause: &Cause) {
    let (action, actor) = (cause.action.as_str(), &cause.actor);
    for (session_id, reason) in &change.ended {
        let word = reason.as_str();
        match reason {
            EndReason::TokenReuse | EndReason::WrongPassword => {
                tracing::warn!(%user_id, %session_id, reason = word, action, %actor, "session ended");
            }
            EndReason::Revoked
            | EndReason::RevokedAll
            | EndReason::LoggedOut
            | EndReason::Replaced
            | EndReason::Evicted
            | EndReason::Expired
            | EndReason::PasswordChanged
            | EndReason::PasswordReset
            | EndReason::AccountDisabled
            | EndReason::AccountDeleted
            | EndReason::Admin
            | EndReason::Other => {
                tracing::info!(%user_id, %session_id, reason = word, action, %actor, "session ended");
            }
        }
    }
}
