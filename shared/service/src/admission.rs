//! How a new session comes into its user's account, whatever the user has shown for it.

use latchkey_domain::account::Account;
use latchkey_domain::error::AdmitError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_store::Partition;

use crate::change::{Changed, Intent, require_admitted};
use crate::{Failure, Service};

/// What became of a new session.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one request, and the large one is the usual one"
)]
pub(crate) enum Admitted {
    /// The account holds it.
    By(Account),
    /// The account is disabled.
    Disabled,
    /// The address is not verified, and must be.
    EmailNotVerified,
    /// The account is deleted or no longer the one that the user has proved to be: read both again.
    NoLonger,
}

impl Service {
    /// All items of a user, those of admitted sessions that a query did not show included.
    pub(crate) async fn read_with_unseen_sessions<E>(
        &self,
        user: UserId,
    ) -> Result<Partition, Failure<E>> {
        let partition = self.store.read_partition(user, self.core.now()).await?;
        Ok(self.store.with_unseen_sessions(partition).await?)
    }

    /// Admits a session, and trims what has ended before it.
    ///
    /// # Errors
    /// As [`Service::change`], refusals aside; [`Failure::Unavailable`] if the session has been ended since.
    pub(crate) async fn admit<I, E>(
        &self,
        admission: &I,
        reading: Partition,
        session: SessionId,
    ) -> Result<Admitted, Failure<E>>
    where
        I: Intent<Reading = Partition, Refusal = AdmitError>,
    {
        let account = match self.change(admission, reading).await {
            Ok(Changed::Written {
                change,
                reading,
                account,
            }) => {
                self.store
                    .trim_ended_sessions(&change.account, &reading.sessions, reading.read_at)
                    .await;
                Some(account)
            }
            Ok(Changed::Fulfilled { account }) => account,
            Err(Failure::Refused(AdmitError::Disabled)) => return Ok(Admitted::Disabled),
            Err(Failure::Refused(AdmitError::EmailNotVerified)) => {
                return Ok(Admitted::EmailNotVerified);
            }
            Err(Failure::Refused(AdmitError::OtherPassword | AdmitError::Deleted)) => None,
            Err(Failure::Throttled(throttled)) => return Err(Failure::Throttled(throttled)),
            Err(Failure::Unavailable) => return Err(Failure::Unavailable),
            Err(Failure::Internal) => return Err(Failure::Internal),
        };
        match account {
            Some(account) => require_admitted(account, session).map(Admitted::By),
            None => Ok(Admitted::NoLonger),
        }
    }
}
