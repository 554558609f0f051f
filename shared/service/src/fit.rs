//! Reading an account and its credential until they fit. Both change in one write and are read by two requests, so a reader
//! may meet one of them as it was and the other as it is: because somebody has changed them in between, and because
//! DynamoDB does not show all items of a transaction at one moment (its documentation, isolation levels of transactions).

use latchkey_domain::account::Account;
use latchkey_domain::credential::Credential;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::UserId;
use latchkey_store::{Retries, Store};

/// After so many readings that do not fit, between which nothing has changed, the items count as broken.
pub(crate) const READINGS_OF_BROKEN: u32 = 6;

/// The readings of an account and its credential that one decision needs.
pub(crate) struct Readings<'a> {
    retries: Retries<'a>,
    apart: ReadApart,
}

/// What a reading of an account and its credential is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fit {
    /// The credential is the account's and of its password; or the account has no password; or there is no account.
    Fits,
    /// They are of two moments: they have to be read again.
    Apart,
    /// Those of this user do not fit however often they are read.
    Broken(UserId),
}

impl<'a> Readings<'a> {
    pub(crate) fn new(store: &'a Store) -> Self {
        Self {
            retries: store.retries(),
            apart: ReadApart::default(),
        }
    }

    /// Judges a reading. After one that is apart it waits a little, so that the next one may fit.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the account has changed so often that no reading fits.
    pub(crate) async fn judge(
        &mut self,
        account: Option<&Account>,
        credential: Option<&Credential>,
    ) -> Result<Fit, StoreError> {
        let fit = self.apart.judge(account, credential);
        if fit == Fit::Apart {
            self.retries.pause().await?;
        }
        Ok(fit)
    }

    /// Says whether a reading fits. If it does not, it waits a little, and they have to be read again.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they are broken, with a line for the operator; [`StoreError::Unavailable`] if the account
    /// has changed so often that no reading fits.
    pub(crate) async fn fit_or_wait(
        &mut self,
        account: Option<&Account>,
        credential: Option<&Credential>,
    ) -> Result<bool, StoreError> {
        match self.judge(account, credential).await? {
            Fit::Fits => Ok(true),
            Fit::Apart => Ok(false),
            Fit::Broken(user_id) => {
                tracing::error!(%user_id, "an account has no credential of its password: mend the two items by hand");
                Err(StoreError::Corrupt)
            }
        }
    }
}

/// The last readings that were apart.
#[derive(Default)]
struct ReadApart {
    /// The version of the account in them.
    version: u64,
    /// How many of them there are in a row.
    readings: u32,
}

impl ReadApart {
    fn judge(&mut self, account: Option<&Account>, credential: Option<&Credential>) -> Fit {
        let account = account.filter(|account| account.credential_email().is_some());
        let is_of =
            |account: &&Account| credential.is_some_and(|credential| credential.is_of(account));
        let Some(account) = account.filter(|account| !is_of(account)) else {
            return Fit::Fits;
        };
        if account.version != self.version {
            *self = Self {
                version: account.version,
                readings: 0,
            };
        }
        self.readings += 1;
        match self.readings < READINGS_OF_BROKEN {
            true => Fit::Apart,
            false => Fit::Broken(account.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use latchkey_domain::email::EmailAddress;
    use latchkey_domain::id::SessionId;
    use latchkey_domain::password::PasswordHash;
    use latchkey_domain::random::SeededRandom;

    use super::*;

    fn account() -> Account {
        let random = SeededRandom::new(1);
        let email = EmailAddress::parse("ada@example.com").unwrap();
        let (user, session) = (UserId::random(&random), SessionId::random(&random));
        Account::register(user, email, session, DateTime::UNIX_EPOCH)
    }

    fn credential_of(account: &Account) -> Credential {
        Credential {
            user_id: account.id,
            password_hash: PasswordHash::from_phc(String::new()),
            password_version: account.password_version,
        }
    }

    #[test]
    fn items_are_broken_after_six_readings_between_which_nothing_has_changed() {
        let mut account = account();
        let earlier = credential_of(&account);
        account.password_version += 1;
        let mut apart = ReadApart::default();
        for _ in 1..READINGS_OF_BROKEN {
            assert_eq!(apart.judge(Some(&account), Some(&earlier)), Fit::Apart);
        }
        account.version += 1;
        for _ in 1..READINGS_OF_BROKEN {
            assert_eq!(apart.judge(Some(&account), None), Fit::Apart);
        }
        let broken = Fit::Broken(account.id);
        assert_eq!(apart.judge(Some(&account), None), broken);
    }

    #[test]
    fn a_reading_fits_as_soon_as_the_credential_is_the_accounts() {
        let account = account();
        let credential = credential_of(&account);
        let anothers = Credential {
            user_id: UserId::random(&SeededRandom::new(2)),
            ..credential.clone()
        };
        let mut apart = ReadApart::default();
        for credential in [None, Some(&anothers)] {
            assert_eq!(apart.judge(Some(&account), credential), Fit::Apart);
        }
        assert_eq!(apart.judge(Some(&account), Some(&credential)), Fit::Fits);
    }

    #[test]
    fn where_there_is_no_account_or_it_has_no_password_no_credential_is_missing() {
        let account = account();
        let credential = credential_of(&account);
        let session = *account.sessions.first().unwrap();
        let deleted = account
            .delete(session, DateTime::UNIX_EPOCH)
            .unwrap()
            .account;
        let mut apart = ReadApart::default();
        for account in [None, Some(&deleted)] {
            for credential in [None, Some(&credential)] {
                assert_eq!(apart.judge(account, credential), Fit::Fits);
            }
        }
    }
}
