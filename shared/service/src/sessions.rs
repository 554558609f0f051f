//! The caller's sessions: the list, the current one, and their names.

use latchkey_domain::error::{CallerNotLive, SessionError};
use latchkey_domain::id::SessionId;
use latchkey_domain::selection::live_sessions;
use latchkey_domain::session::Session;
use latchkey_domain::throttle::Limit;

use crate::caller::admitted;
use crate::{Caller, Failure, Service};

/// Where a user is signed in.
#[derive(Clone, Debug)]
pub struct SessionList {
    /// The live sessions, the most recently used first.
    pub sessions: Vec<Session>,
    /// How many live sessions a user may have.
    pub limit: usize,
}

impl Service {
    /// The caller's live sessions. 1 trip, 1 read unit for each 4 KB of the user's items.
    ///
    /// # Errors
    /// [`CallerNotLive`]
    pub async fn list_sessions(
        &self,
        caller: Caller,
    ) -> Result<SessionList, Failure<CallerNotLive>> {
        self.core.count_request(caller, Limit::List)?;
        let now = self.core.now();
        let partition = self.store.read_partition(caller.user_id, now).await?;
        let account = admitted(partition.account, caller)?;
        Ok(SessionList {
            sessions: live_sessions(&account, partition.sessions, now),
            limit: self.core.policy.max_sessions,
        })
    }

    /// The caller's own session. 1 trip, 2 read units.
    ///
    /// # Errors
    /// [`CallerNotLive`]
    pub async fn current_session(&self, caller: Caller) -> Result<Session, Failure<CallerNotLive>> {
        let now = self.core.now();
        let (account, session) = tokio::try_join!(
            self.store.read_account(caller.user_id),
            self.store.read_session(caller.user_id, caller.session_id)
        )?;
        match account.zip(session) {
            Some((account, session)) if account.is_live(&session, now) => Ok(session),
            Some(_) | None => Err(Failure::Refused(CallerNotLive)),
        }
    }

    /// Names one of the caller's live sessions, or clears its name. 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`SessionError`]
    pub async fn rename_session(
        &self,
        caller: Caller,
        session: SessionId,
        name: Option<&str>,
    ) -> Result<Session, Failure<SessionError>> {
        self.core.count_request(caller, Limit::Change)?;
        let account = self.live_account(caller).await;
        let account = account.map_err(|failure| failure.map_refusal(SessionError::from))?;
        let not_found = Failure::Refused(SessionError::NotFound);
        if !account.sessions.contains(&session) {
            return Err(not_found);
        }
        self.store
            .rename_session(caller.user_id, session, name, self.core.now())
            .await?
            .ok_or(not_found)
    }
}
