//! Lifting the limits of an account, for an owner who is locked out by the guesses of others.

use latchkey_domain::error::AdminError;
use latchkey_domain::id::UserId;

use super::{Administrator, Deed, not_deleted};
use crate::{Failure, Service};

impl Service {
    /// Forgets the failed sign-ins of an account: those of strangers, and those of devices with a token of a replaced
    /// password. Those of each known device stay, and concern that device alone. 2 trips, 1 read unit, 2 write units.
    /// Returns whether any were counted.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`]
    pub async fn unblock_user(
        &self,
        who: &Administrator,
        user: UserId,
    ) -> Result<bool, Failure<AdminError>> {
        let unblock = move |service: Self, _| async move {
            let account = not_deleted(service.store.read_account(user).await?)?;
            let email = account.credential_email();
            Ok(service.forget_guesses(email, user).await?)
        };
        self.audited(who, Deed::on_user("unblock_user", user), unblock)
            .await
    }
}
