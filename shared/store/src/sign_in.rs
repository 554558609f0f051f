//! What a sign-in reads and removes besides the account: sessions that a query did not show, and old items.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use latchkey_domain::account::Account;
use latchkey_domain::error::StoreError;
use latchkey_domain::policy::MAX_ENDED_SESSIONS_KEPT;
use latchkey_domain::selection::ended_sessions_beyond;
use latchkey_domain::session::Session;

use crate::Store;
use crate::account::Partition;

/// How long a user who is signed in already waits for the deletion of old sessions.
const TRIM_TIMEOUT: Duration = Duration::from_secs(1);

impl Store {
    /// The partition with the sessions of the account's set that its query did not show: a query is no snapshot, so a session
    /// that was admitted while it ran may be missing. 1 read unit for each that was not shown.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn with_unseen_sessions(
        &self,
        mut partition: Partition,
    ) -> Result<Partition, StoreError> {
        let Some(account) = &partition.account else {
            return Ok(partition);
        };
        let mut unseen = account.sessions.clone();
        for session in &partition.sessions {
            unseen.remove(&session.id);
        }
        let unseen = unseen.into_iter();
        let looked_up =
            try_join_all(unseen.map(|session| self.read_session(account.id, session))).await?;
        partition.sessions.extend(looked_up.into_iter().flatten());
        Ok(partition)
    }

    /// Keeps a partition small: deletes all but the newest ended sessions, 2 write units each. What cannot be deleted now
    /// goes with a later sign-in, or by its TTL.
    ///
    /// `account` is as of a write that came after `sessions` were read at `read_at`, so a session that is not in its set
    /// has left it for good.
    pub async fn trim_ended_sessions(
        &self,
        account: &Account,
        sessions: &[Session],
        read_at: DateTime<Utc>,
    ) {
        let too_many =
            ended_sessions_beyond(Some(account), sessions, read_at, MAX_ENDED_SESSIONS_KEPT);
        if too_many.is_empty() {
            return;
        }
        let deletion = self.delete_sessions(account.id, &too_many);
        match tokio::time::timeout(TRIM_TIMEOUT, deletion).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(user_id = %account.id, "old sessions could not be trimmed");
            }
        }
    }
}
