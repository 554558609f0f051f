//! Credential items: reading one, making a user, and the parts of a change that concern the password.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use latchkey_domain::account::Account;
use latchkey_domain::cause::Cause;
use latchkey_domain::credential::Credential;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::ChangeId;
use latchkey_domain::password::PasswordHash;
use latchkey_domain::session::Session;

use crate::Store;
use crate::expression::Expression;
use crate::item::{
    ChangeAttribute, account_to_item, attribute, credential_from_item, credential_to_item, number,
    session_to_item, string,
};
use crate::keys::Key;

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterOutcome {
    /// The user is there.
    Registered,
    /// Somebody has the e-mail address.
    EmailTaken {
        /// What stands there.
        credential: Credential,
    },
}

/// The items of a user, as [`Store::register`] and a sign-in write them: for a bulk import, and for measuring at
/// scale.
///
/// # Errors
/// [`StoreError::Corrupt`] if something cannot be written as an item.
pub fn items_of_user(
    email: &EmailAddress,
    credential: &Credential,
    account: &Account,
    (change, cause): (ChangeId, &Cause),
    sessions: &[Session],
) -> Result<Vec<HashMap<String, AttributeValue>>, StoreError> {
    let mut items = vec![
        credential_to_item(email, credential)?,
        account_to_item(account, &ChangeAttribute::new(change, cause, &[]))?,
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
    /// [`StoreError`]
    pub async fn read_credential(
        &self,
        email: &EmailAddress,
    ) -> Result<Option<Credential>, StoreError> {
        self.get(Key::credential(email))
            .await?
            .map(credential_from_item)
            .transpose()
    }

    /// Creates a user: credential, account and first session, if there is to be one, all or nothing. One transaction, 7
    /// write units, 4 without a session.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn register(
        &self,
        email: &EmailAddress,
        password_hash: PasswordHash,
        account: &Account,
        session: Option<&Session>,
        cause: &Cause,
    ) -> Result<RegisterOutcome, StoreError> {
        let credential = Credential {
            user_id: account.id,
            password_hash,
            password_version: account.password_version,
        };
        let change = ChangeAttribute::new(self.new_stamp(), cause, &[]);
        let mut transaction = self.begin_transaction();
        let new_credential = transaction.put_new(credential_to_item(email, &credential)?);
        transaction.put_new(account_to_item(account, &change)?);
        if let Some(session) = session {
            transaction.put_new(session_to_item(session)?);
        }
        let sent = self.transact(transaction, &mut self.retries()).await?;
        let Err(mut conditions) = sent else {
            return Ok(RegisterOutcome::Registered);
        };
        let Some(found) = conditions.take_item(new_credential) else {
            // Not the credential, so an id that we have just drawn is taken.
            tracing::error!(user_id = %account.id, "a new id is taken");
            return Err(StoreError::Unavailable);
        };
        // Ours, if an earlier attempt had been made and only its reply was lost.
        let credential = credential_from_item(found)?;
        Ok(match credential.is_anothers(account.id) {
            false => RegisterOutcome::Registered,
            true => RegisterOutcome::EmailTaken { credential },
        })
    }
}

/// The condition that a credential is still the one whose password was verified.
pub(crate) fn credential_as_verified(verified: &Credential) -> Expression {
    Expression::default()
        .only_if("#user_id = :user_id AND #password_version = :verified_version")
        .name(attribute::USER_ID)
        .name(attribute::PASSWORD_VERSION)
        .value("user_id", string(verified.user_id))
        .value("verified_version", number(verified.password_version))
}

/// Gives a credential another hash, if it is still the one whose password was verified.
pub(crate) fn replace_hash(
    verified: &Credential,
    hash: &PasswordHash,
    password_version: u64,
) -> Expression {
    credential_as_verified(verified)
        .set(attribute::PASSWORD_HASH, string(hash.as_phc()))
        .set(attribute::PASSWORD_VERSION, number(password_version))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use latchkey_domain::cause::{Action, Actor};
    use latchkey_domain::device::{ClientHints, Device};
    use latchkey_domain::id::{SessionId, UserId};
    use latchkey_domain::policy::SessionPolicy;
    use latchkey_domain::random::SeededRandom;
    use latchkey_domain::session::ClientLocation;

    use super::*;
    use crate::item::{account_from_item, session_from_item};

    #[test]
    fn the_items_of_an_imported_user_are_read_as_those_of_any_other() {
        let random = SeededRandom::new(1);
        let (user, id) = (UserId::random(&random), SessionId::random(&random));
        let at = DateTime::from_timestamp_millis(1_772_366_400_123).unwrap();
        let email = EmailAddress::parse("ada@example.com").unwrap();
        let account = Account::register(user, email.clone(), id, at);
        let device = Device::describe(None, None, None, ClientHints::default());
        let policy = SessionPolicy::default();
        let session = Session::begin(id, user, device, ClientLocation::default(), at, &policy);
        let credential = Credential {
            user_id: user,
            password_hash: PasswordHash::from_phc("$argon2id$".to_owned()),
            password_version: account.password_version,
        };
        let cause = Cause {
            action: Action::Register,
            actor: Actor::Owner(id),
            at,
        };
        let written = (ChangeId::random(&random), &cause);
        let sessions = [session.clone()];
        let items = items_of_user(&email, &credential, &account, written, &sessions).unwrap();
        let [of_credential, of_account, of_session] = items.try_into().unwrap();
        assert_eq!(credential_from_item(of_credential), Ok(credential));
        assert_eq!(account_from_item(of_account).unwrap().account, account);
        assert_eq!(session_from_item(of_session), Ok(session));
    }
}
