//! Credentials: which account an e-mail address and a password belong to.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use latchkey_domain::account::{Account, Change};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::{Failure, RegisterError, StoreError};
use latchkey_domain::id::{ChangeId, UserId};
use latchkey_domain::password::PasswordHash;
use latchkey_domain::session::Session;

use crate::Store;
use crate::account::log_ended;
use crate::item::{account_to_item, credential_from_item, credential_to_item, session_to_item};
use crate::keys::Key;
use crate::outcome::Retries;

/// What stands under an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The user whom it belongs to.
    pub user_id: UserId,
    /// The hash of the password.
    pub password_hash: PasswordHash,
    /// Which password it is; the account carries the same number.
    pub password_version: u64,
}

/// The items of a user, as [`Store::register`] and [`Store::sign_in`] write them: for a bulk import, and for measuring at
/// scale.
///
/// # Errors
/// [`StoreError::Corrupt`] if something cannot be written as an item.
pub fn items_of_user(
    email: &EmailAddress,
    credential: &Credential,
    account: &Account,
    change: ChangeId,
    sessions: &[Session],
) -> Result<Vec<HashMap<String, AttributeValue>>, StoreError> {
    let mut items = vec![
        credential_to_item(email, credential)?,
        account_to_item(account, change)?,
    ];
    for session in sessions {
        items.push(session_to_item(session)?);
    }
    Ok(items)
}

impl Store {
    /// What stands under an e-mail address, if anything. Strongly consistent; 1 read unit.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn read_credential(
        &self,
        email: &EmailAddress,
    ) -> Result<Option<Credential>, StoreError> {
        self.get(Key::credential(email))
            .await?
            .map(credential_from_item)
            .transpose()
    }

    /// Creates a user: credential, account and first session, all or nothing. One transaction, 7 write units.
    ///
    /// # Errors
    /// [`RegisterError::EmailTaken`] if the address has a credential already.
    pub async fn register(
        &self,
        email: &EmailAddress,
        password_hash: PasswordHash,
        account: &Account,
        session: &Session,
    ) -> Result<(), Failure<RegisterError>> {
        let credential = Credential {
            user_id: account.id,
            password_hash,
            password_version: account.password_version,
        };
        let writes = vec![
            self.put_new(credential_to_item(email, &credential)?),
            self.put_new(account_to_item(account, self.new_stamp())?),
            self.put_new(session_to_item(session)?),
        ];
        let mut retries = Retries::new(self);
        let Some(mut failed) = self.transact(writes, &mut retries).await? else {
            return Ok(());
        };
        let Some(found) = failed.take_item(0) else {
            // Not the credential, so an id that we have just drawn is taken.
            tracing::error!(user_id = %account.id, "a new id is taken");
            return Err(StoreError::Unavailable.into());
        };
        // Ours, if an earlier attempt had been made and only its reply was lost.
        if credential_from_item(found)?.user_id == account.id {
            Ok(())
        } else {
            Err(Failure::Refused(RegisterError::EmailTaken))
        }
    }

    /// Writes a replaced password: credential, account and the session that goes on. One transaction, 7 write units.
    ///
    /// `change` is the domain's decision on the account, read with `credential`'s password verified. Returns whether
    /// the write was made; if not, account or credential had changed since they were read.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn replace_password(
        &self,
        before: &Account,
        change: &Change,
        verified: &Credential,
        new_hash: PasswordHash,
        session: &Session,
        stamp: ChangeId,
    ) -> Result<bool, StoreError> {
        let Some(email) = before.email() else {
            return Ok(false);
        };
        let writes = vec![
            self.update_credential(email, verified, &new_hash, change.account.password_version),
            self.update_account_in_transaction(before, &change.account, stamp)?,
            self.put_new(session_to_item(session)?),
        ];
        let written = self.transact_once_decided(writes, 1, before, stamp).await?;
        if written {
            log_ended(before.id, &change.ended);
        }
        Ok(written)
    }

    /// Empties an account and frees its e-mail address, in one transaction. Its sessions are dead from then on; the
    /// items that are left go with [`Store::finish_deletion`].
    ///
    /// Returns whether the write was made; if not, account or credential had changed since they were read.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn delete_account(
        &self,
        before: &Account,
        change: &Change,
        verified: &Credential,
        stamp: ChangeId,
    ) -> Result<bool, StoreError> {
        let Some(email) = before.email() else {
            return Ok(false);
        };
        let writes = vec![
            self.delete_credential(email, verified),
            self.update_account_in_transaction(before, &change.account, stamp)?,
        ];
        let written = self.transact_once_decided(writes, 1, before, stamp).await?;
        if written {
            log_ended(before.id, &change.ended);
        }
        Ok(written)
    }
}
