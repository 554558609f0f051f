//! Identity items: which user somebody is who signs in elsewhere.

use latchkey_domain::account::Account;
use latchkey_domain::cause::Cause;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::UserId;
use latchkey_domain::identity::Identity;
use latchkey_domain::session::Session;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::expression::Expression;
use crate::item::{
    ChangeAttribute, account_to_item, attribute, from_item, session_to_item, string, to_item,
};
use crate::keys::{Item, Key, PK};

/// What became of the first sign-in of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityOutcome {
    /// The user is there.
    Registered,
    /// The identity leads to another account: another first sign-in was faster.
    Taken,
}

#[derive(Debug, Serialize, Deserialize)]
struct IdentityItem {
    #[serde(flatten)]
    key: Key,
    user_id: UserId,
}

fn user_of(item: Item) -> Result<UserId, StoreError> {
    from_item::<IdentityItem>(item).map(|item| item.user_id)
}

impl Store {
    /// The user that an identity leads to, if any. Strongly consistent; 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_identity(&self, identity: &Identity) -> Result<Option<UserId>, StoreError> {
        let item = self.get(Key::identity(identity)).await?;
        item.map(user_of).transpose()
    }

    /// Creates a user who signs in elsewhere: identity, account and first session, all or nothing. `lost` is the user
    /// without an account to whom the identity has led. One transaction, 7 write units.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn register_identity(
        &self,
        (identity, lost): (&Identity, Option<UserId>),
        account: &Account,
        session: &Session,
        cause: &Cause,
    ) -> Result<IdentityOutcome, StoreError> {
        let change = ChangeAttribute::new(self.new_stamp(), cause, &[]);
        let mut transaction = self.begin_transaction();
        let item = to_item(&IdentityItem {
            key: Key::identity(identity),
            user_id: account.id,
        })?;
        let new_identity = match lost {
            None => transaction.put_new(item),
            Some(lost) => transaction.put(item, &identity_of(lost)),
        };
        transaction.put_new(account_to_item(account, &change)?);
        transaction.put_new(session_to_item(session)?);
        let sent = self.transact(transaction, &mut self.retries()).await?;
        let Err(mut failed) = sent else {
            return Ok(IdentityOutcome::Registered);
        };
        let Some(found) = failed.take_item(new_identity) else {
            // Not the identity, so an id that we have just drawn is taken.
            tracing::error!(user_id = %account.id, "a new id is taken");
            return Err(StoreError::Unavailable);
        };
        // Ours, if an earlier attempt had been made and only its reply was lost.
        Ok(if user_of(found)? == account.id {
            IdentityOutcome::Registered
        } else {
            IdentityOutcome::Taken
        })
    }
}

/// The condition that an identity leads to this user, or that it is gone.
pub(crate) fn identity_of(user: UserId) -> Expression {
    Expression::default()
        .only_if("(attribute_not_exists(#pk) OR #user_id = :user_id)")
        .name(PK)
        .name(attribute::USER_ID)
        .value("user_id", string(user))
}
