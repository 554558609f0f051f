//! The end of one session, of all, and of what is left of those that have ended, at the wish of their owner.

use std::collections::BTreeSet;

use latchkey_domain::cause::{Action, Actor};
use latchkey_domain::error::{SessionError, StepUpError};
use latchkey_domain::id::SessionId;
use latchkey_domain::throttle::Limit;

use crate::caller::admitted;
use crate::change::Changed;
use crate::metric::REVOCATIONS;
use crate::{Caller, Failure, Service};

impl Service {
    /// Ends one of the caller's live sessions, perhaps the caller's own. 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`SessionError`]
    pub async fn revoke(
        &self,
        caller: Caller,
        target: SessionId,
    ) -> Result<(), Failure<SessionError>> {
        self.core.count_request(caller, Limit::Change)?;
        if target != caller.session_id {
            self.require_recent_authentication_to_revoke(caller).await?;
        }
        let (account, is_live) = if target == caller.session_id {
            // It has not expired, or the access token would have.
            (self.store.read_account(caller.user_id).await?, true)
        } else {
            let now = self.core.now();
            let (account, described) = self
                .store
                .read_account_with_session(caller.user_id, target, now)
                .await?;
            let found = account.as_ref().zip(described);
            let is_live = found.is_some_and(|(account, session)| account.is_live(&session, now));
            (account, is_live)
        };
        let own = caller.session_id;
        let cause = (Action::Revoke, Actor::Owner(own));
        let changed = self
            .change_account(caller.user_id, account, cause, |account| {
                account.authorize(own)?;
                if !is_live {
                    return Err(SessionError::NotFound);
                }
                account.revoke(own, target)
            })
            .await?;
        REVOCATIONS.count(changed.ended().count());
        Ok(())
    }

    /// Ends all of the caller's live sessions, or all but the caller's own. Returns how many this request has ended.
    /// 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`StepUpError`]
    pub async fn revoke_all(
        &self,
        caller: Caller,
        keep_current: bool,
    ) -> Result<usize, Failure<StepUpError>> {
        self.core.count_request(caller, Limit::Change)?;
        self.require_recent_authentication_to_revoke(caller).await?;
        let now = self.core.now();
        let partition = self.store.read_partition(caller.user_id, now).await?;
        let not_live = partition
            .account
            .as_ref()
            .map(|account| account.admitted_but_not_live(&partition.sessions, partition.read_at));
        let own = caller.session_id;
        let cause = (Action::RevokeAll, Actor::Owner(own));
        let changed = self
            .change_account(caller.user_id, partition.account, cause, |account| {
                Ok(account.revoke_all(own, keep_current)?)
            })
            .await?;
        let revoked = count_live_ends(&changed, not_live.as_ref());
        REVOCATIONS.count(revoked);
        Ok(revoked)
    }

    /// Removes what is kept of the caller's sessions that are not live, for good. Returns how many.
    ///
    /// # Errors
    /// [`StepUpError`]
    pub async fn purge_ended_sessions(
        &self,
        caller: Caller,
    ) -> Result<usize, Failure<StepUpError>> {
        self.core.count_request(caller, Limit::Purge)?;
        self.require_recent_authentication_to_revoke(caller).await?;
        let user = caller.user_id;
        let partition = self.store.read_partition(user, self.core.now()).await?;
        admitted::<StepUpError>(partition.account.clone(), caller)?;
        Ok(self.store.purge_ended_sessions(user, &partition).await?)
    }
}

/// How many sessions a change has ended that were live. `not_live` are those that a reading before it showed not to be:
/// to end them is no act that counts.
pub(crate) fn count_live_ends<R>(
    changed: &Changed<R>,
    not_live: Option<&BTreeSet<SessionId>>,
) -> usize {
    let was_live = |id: &SessionId| !not_live.is_some_and(|not_live| not_live.contains(id));
    changed.ended().filter(was_live).count()
}
