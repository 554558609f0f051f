//! How a new session comes into its user's account, whatever the user has shown for it.

use latchkey_domain::account::Account;
use latchkey_domain::error::AdmitError;
use latchkey_domain::id::UserId;
use latchkey_domain::novelty::{ShownDevice, mark_novelty};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::session::Session;
use latchkey_store::Partition;

use crate::change::{Changed, Intent, require_admitted};
use crate::metric::{NEW_DEVICES, UNUSUAL_LOCATIONS};
use crate::{Failure, Service};

/// A session that is to be admitted, before it is known what its user had before.
pub(crate) struct NewSession<'a> {
    /// The session.
    pub(crate) session: &'a Session,
    /// What its client has shown.
    pub(crate) shown: ShownDevice,
    /// What is unusual.
    pub(crate) policy: &'a SessionPolicy,
}

impl NewSession<'_> {
    /// The session as it is written, if the user has what was read.
    pub(crate) fn among(&self, reading: &Partition) -> Session {
        let session = self.session.clone();
        match &reading.account {
            Some(account) => {
                mark_novelty(session, self.shown, account, &reading.sessions, self.policy)
            }
            None => session,
        }
    }
}

/// What became of a new session.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one request, and the large one is the usual one"
)]
pub(crate) enum Admitted {
    /// The account holds it. The session is as it was written.
    By(Account, Box<Session>),
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

    /// Admits a session, and trims what has ended before it. Counts what is out of the ordinary about it.
    ///
    /// # Errors
    /// As [`Service::change`], refusals aside; [`Failure::Unavailable`] if the session has been ended since.
    pub(crate) async fn admit<I, E>(
        &self,
        admission: &I,
        reading: Partition,
        new: &NewSession<'_>,
    ) -> Result<Admitted, Failure<E>>
    where
        I: Intent<Reading = Partition, Refusal = AdmitError>,
    {
        let (user, id) = (new.session.user_id, new.session.id);
        let (account, session) = match self.change(admission, reading).await {
            Ok(Changed::Written {
                change,
                reading,
                account,
            }) => {
                self.store
                    .trim_ended_sessions(&change.account, &reading.sessions, reading.read_at)
                    .await;
                (account, new.among(&reading))
            }
            // An earlier attempt was written, and only the item tells on which reading.
            Ok(Changed::Fulfilled { account }) => {
                let written = self.store.read_session(user, id).await?;
                account.zip(written).ok_or_else(Failure::contended)?
            }
            Err(Failure::Refused(AdmitError::Disabled)) => return Ok(Admitted::Disabled),
            Err(Failure::Refused(AdmitError::EmailNotVerified)) => {
                return Ok(Admitted::EmailNotVerified);
            }
            Err(Failure::Refused(AdmitError::OtherPassword | AdmitError::Deleted)) => {
                return Ok(Admitted::NoLonger);
            }
            Err(Failure::Throttled(throttled)) => return Err(Failure::Throttled(throttled)),
            Err(Failure::Unavailable) => return Err(Failure::Unavailable),
            Err(Failure::Internal) => return Err(Failure::Internal),
        };
        NEW_DEVICES.count(usize::from(session.new_device));
        UNUSUAL_LOCATIONS.count(usize::from(session.unusual_location));
        let account = require_admitted(account, id)?;
        Ok(Admitted::By(account, Box::new(session)))
    }
}
