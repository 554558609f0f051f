//! The export of one's own data: everything that the table holds of the caller.

use chrono::{DateTime, Utc};
use latchkey_domain::account::Account;
use latchkey_domain::activity::ActivityEntry;
use latchkey_domain::error::CallerNotLive;
use latchkey_domain::event::FailedSignIn;
use latchkey_domain::throttle::Limit;

use crate::admin::describe_sessions;
use crate::caller::admitted;
use crate::{Caller, DescribedSession, Failure, Service};

/// The most sessions of an export. A partition that is not broken has 120 at most.
pub const MAX_EXPORTED_SESSIONS: usize = 1_000;
/// How many entries of activity are read at once, and how often. How many of them a reply can hold is not known here.
const ENTRIES_OF_A_PAGE: usize = 500;
const MAX_PAGES: usize = 10;

/// What the table holds of a user under keys that lead from the user to it. The password hash is not among it: it is no fact
/// about a person. Requests for links of the last day stand under random keys, and what they say is in the activity.
#[derive(Clone, Debug)]
pub struct Export {
    /// When it was read.
    pub at: DateTime<Utc>,
    /// The account.
    pub account: Account,
    /// The sessions that are kept, ended ones too, the most recently used first.
    pub sessions: Vec<DescribedSession>,
    /// Whether there are more sessions than were read.
    pub has_more_sessions: bool,
    /// The last sign-ins that were refused, of strangers and of devices with a token of a replaced password.
    pub refused_sign_ins: Vec<FailedSignIn>,
    /// What has happened, the newest first.
    pub activity: Vec<ActivityEntry>,
    /// Whether there is more of it than was read.
    pub has_more_activity: bool,
}

impl Service {
    /// Everything that is stored about the caller. 2 trips and 1 more for each 500 entries of activity behind the first
    /// 500, at most 11; 1 read unit for each 4 KB of the user's items, 2 for the marks of refused sign-ins, 0.5 for each 4 KB
    /// of activity.
    ///
    /// # Errors
    /// [`CallerNotLive`]
    pub async fn export(&self, caller: Caller) -> Result<Export, Failure<CallerNotLive>> {
        self.core.count_request(caller, Limit::Purge)?;
        let (user, now) = (caller.user_id, self.core.now());
        let store = &self.store;
        let (partition, page) = tokio::try_join!(
            store.read_partition(user, now),
            store.read_activity(user, None, ENTRIES_OF_A_PAGE, now)
        )?;
        let account = admitted(partition.account, caller)?;
        let refused_sign_ins = self.refused_sign_ins(&account).await?;
        let (mut activity, mut next) = (page.entries, page.next);
        for _ in 1..MAX_PAGES {
            let Some(behind) = next else { break };
            let page = store.read_activity(user, Some(behind), ENTRIES_OF_A_PAGE, now);
            let page = page.await?;
            activity.extend(page.entries);
            next = page.next;
        }
        let mut sessions = describe_sessions(&account, partition.sessions, now);
        let has_more_sessions = sessions.len() > MAX_EXPORTED_SESSIONS;
        sessions.truncate(MAX_EXPORTED_SESSIONS);
        let session_id = caller.session_id;
        tracing::info!(user_id = %user, %session_id, "data exported");
        Ok(Export {
            at: now,
            account,
            sessions,
            has_more_sessions,
            refused_sign_ins,
            activity,
            has_more_activity: next.is_some(),
        })
    }
}
