//! The credential: which account an e-mail address and a password belong to.

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
}
