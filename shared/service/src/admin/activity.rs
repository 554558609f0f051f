//! The activity of a user, as administration sees it.

use latchkey_domain::activity::{ActivityPage, ActivityPosition};
use latchkey_domain::error::AdminError;
use latchkey_domain::id::UserId;

use super::{Administrator, Deed, not_deleted};
use crate::{Failure, Service};

impl Service {
    /// What has happened to a user's account, the newest first, behind an entry. 1 trip, 1 read unit and 0.5 for each 4 KB
    /// of the page.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`]
    pub async fn list_activity_of(
        &self,
        who: &Administrator,
        user: UserId,
        behind: Option<ActivityPosition>,
        limit: usize,
    ) -> Result<ActivityPage, Failure<AdminError>> {
        let list = move |service: Self, _| async move {
            let now = service.core.now();
            let (account, page) = tokio::try_join!(
                service.store.read_account(user),
                service.store.read_activity(user, behind, limit, now)
            )?;
            not_deleted(account)?;
            Ok(page)
        };
        self.audited(who, Deed::on_user("list_activity", user), list)
            .await
    }
}
