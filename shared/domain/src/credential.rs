//! The credential: which account an e-mail address and a password belong to.

use crate::account::Account;
use crate::id::UserId;
use crate::password::PasswordHash;

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

impl Credential {
    /// Whether its address is taken as far as this user is concerned: it is somebody else's.
    #[must_use]
    pub fn is_anothers(&self, user: UserId) -> bool {
        self.user_id != user
    }

    /// Whether it is the account's, and of the password that the account has.
    #[must_use]
    pub fn is_of(&self, account: &Account) -> bool {
        self.user_id == account.id && self.password_version == account.password_version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::account_of;
    use crate::random::SeededRandom;

    #[test]
    fn a_credential_is_of_the_account_that_has_its_user_and_its_password() {
        let account = account_of(&[]);
        let credential = Credential {
            user_id: account.id,
            password_hash: PasswordHash::from_phc(String::new()),
            password_version: account.password_version,
        };
        assert!(credential.is_of(&account));
        let of_another = Credential {
            user_id: UserId::random(&SeededRandom::new(1)),
            ..credential.clone()
        };
        assert!(!of_another.is_of(&account));
        let replaced = Credential {
            password_version: account.password_version + 1,
            ..credential
        };
        assert!(!replaced.is_of(&account));
    }

    #[test]
    fn an_address_is_taken_for_everybody_but_whose_it_is() {
        let [own, other] = [1, 2].map(|seed| UserId::random(&SeededRandom::new(seed)));
        let credential = Credential {
            user_id: own,
            password_hash: PasswordHash::from_phc(String::new()),
            password_version: 1,
        };
        assert!(!credential.is_anothers(own));
        assert!(credential.is_anothers(other));
    }
}
