//! The sessions of a user, as administration sees and ends them.

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use latchkey_domain::account::{Account, Liveness};
use latchkey_domain::administration::AdminAct;
use latchkey_domain::error::AdminError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::session::Session;

use super::account::Reading;
use super::{Administrator, Deed, not_deleted};
use crate::metric::REVOCATIONS;
use crate::revoke::count_live_ends;
use crate::{Failure, Service};

/// Of how many users the sessions are ended at once, when there are many.
const USERS_AT_ONCE: usize = 8;

/// Which sessions are chosen from all that are kept of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The live ones.
    Live,
    /// Those that have ended too, as long as they are kept.
    All,
}

/// A session, and whether it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSession {
    /// The session.
    pub session: Session,
    /// Whether it counts, and if not, why.
    pub liveness: Liveness,
}

/// Sessions of an account, each with whether it counts, the most recently used first.
pub(crate) fn describe_sessions(
    account: &Account,
    sessions: Vec<Session>,
    now: DateTime<Utc>,
) -> Vec<DescribedSession> {
    let described = sessions.into_iter().map(|session| {
        let liveness = account.liveness(&session, now);
        DescribedSession { session, liveness }
    });
    let mut described: Vec<DescribedSession> = described.collect();
    described
        .sort_unstable_by_key(|one| std::cmp::Reverse((one.session.last_used_at, one.session.id)));
    described
}

/// A session with the account that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOfUser {
    /// The account.
    pub account: Account,
    /// The session.
    pub described: DescribedSession,
}

/// What became of the sessions of one user among many.
#[derive(Debug)]
pub struct UserRevocation {
    /// The user.
    pub user: UserId,
    /// How many live sessions have ended, or why none has.
    pub result: Result<usize, Failure<AdminError>>,
}

impl Service {
    /// The sessions that are kept of a user, the most recently used first. 1 trip, 1 read unit for each 4 KB of the
    /// user's items.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`]
    pub async fn list_sessions_of(
        &self,
        who: &Administrator,
        user: UserId,
        chosen: Chosen,
    ) -> Result<Vec<DescribedSession>, Failure<AdminError>> {
        let list = move |service: Self, _| async move {
            let now = service.core.now();
            let partition = service.store.read_partition(user, now).await?;
            let account = not_deleted(partition.account)?;
            let mut sessions = describe_sessions(&account, partition.sessions, now);
            sessions.retain(|one| chosen == Chosen::All || one.liveness == Liveness::Live);
            Ok(sessions)
        };
        self.audited(who, Deed::on_user("list_sessions", user), list)
            .await
    }

    /// The session with this id, live or not, and whose it is. 2 trips: the index, which is eventually consistent, then
    /// the user's items up to the session's.
    ///
    /// # Errors
    /// [`AdminError::SessionNotFound`]
    pub async fn find_session(
        &self,
        who: &Administrator,
        session: SessionId,
    ) -> Result<SessionOfUser, Failure<AdminError>> {
        const NOT_FOUND: Failure<AdminError> = Failure::Refused(AdminError::SessionNotFound);
        let find = move |service: Self, _| async move {
            let store = &service.store;
            let user = store.find_user_of_session(session).await?;
            let (user, now) = (user.ok_or(NOT_FOUND)?, service.core.now());
            let (account, described) = store.read_account_with_session(user, session, now).await?;
            let account = not_deleted(account).map_err(|_| NOT_FOUND)?;
            let session = described.ok_or(NOT_FOUND)?;
            let liveness = account.liveness(&session, now);
            let described = DescribedSession { session, liveness };
            Ok(SessionOfUser { account, described })
        };
        let deed = Deed::new("find_session").on_session(session);
        let describe = |found: &SessionOfUser, deed: Deed| deed.about(found.account.id);
        self.audited_as(who, deed, find, describe).await
    }

    /// Ends a live session of a user, or one that the account admits although its item is gone. 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`], [`AdminError::SessionNotFound`]
    pub async fn revoke_of(
        &self,
        who: &Administrator,
        user: UserId,
        target: SessionId,
    ) -> Result<(), Failure<AdminError>> {
        let revoke = move |service: Self, who: Administrator| async move {
            let now = service.core.now();
            let store = &service.store;
            let (account, described) = store.read_account_with_session(user, target, now).await?;
            let account = not_deleted(account)?;
            // Without an item an access token counts as long as the account admits the session, so that can be ended too.
            if described.is_some_and(|session| !account.is_live(&session, now)) {
                return Err(Failure::Refused(AdminError::SessionNotFound));
            }
            let act = AdminAct::Revoke { target };
            let reading = Reading::of(account);
            let changed = service.administer(&who, user, act, reading).await?;
            REVOCATIONS.count(changed.ended().count());
            Ok(())
        };
        let deed = Deed::on_user("revoke", user).on_session(target);
        self.audited(who, deed, revoke).await
    }

    /// Ends all sessions of a user. Returns how many live ones. 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`]
    pub async fn revoke_all_of(
        &self,
        who: &Administrator,
        user: UserId,
    ) -> Result<usize, Failure<AdminError>> {
        let revoke_all = move |service: Self, who: Administrator| async move {
            let now = service.core.now();
            let partition = service.store.read_partition(user, now).await?;
            let account = not_deleted(partition.account)?;
            let not_live = account.admitted_but_not_live(&partition.sessions, partition.read_at);
            let reading = Reading::of(account);
            let changed = service
                .administer(&who, user, AdminAct::RevokeAll, reading)
                .await?;
            let revoked = count_live_ends(&changed, Some(&not_live));
            REVOCATIONS.count(revoked);
            Ok(revoked)
        };
        self.audited(who, Deed::on_user("revoke_all", user), revoke_all)
            .await
    }

    /// Ends all sessions of many users: a result for each, in the order in which they were given. What fails for one
    /// leaves the others alone.
    pub async fn revoke_all_of_many(
        &self,
        who: &Administrator,
        users: Vec<UserId>,
    ) -> Vec<UserRevocation> {
        let revocations = users.into_iter().map(|user| async move {
            let result = self.revoke_all_of(who, user).await;
            UserRevocation { user, result }
        });
        stream::iter(revocations)
            .buffered(USERS_AT_ONCE)
            .collect()
            .await
    }
}
