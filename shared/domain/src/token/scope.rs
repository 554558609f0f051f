//! Scopes: what an access token allows at this API (RFC 6749 section 3.3).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::role::Role;

/// The scope of one's own account and sessions.
const ACCOUNT: &str = "account";
/// The scope of administration.
const ADMIN: &str = "admin";

/// What an access token allows: words divided by spaces. Words that this service does not know allow nothing here.
///
/// ```
/// use latchkey_domain::token::Scope;
///
/// let scope = Scope::from("account openid".to_owned());
/// assert!(scope.account && !scope.admin);
/// assert_eq!(scope.to_string(), "account");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct Scope {
    /// `account`: the use of one's own account and sessions.
    pub account: bool,
    /// `admin`: administration, as long as the account has the role too.
    pub admin: bool,
}

impl Scope {
    /// Whether it allows nothing here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether everything that is asked for is in it.
    #[must_use]
    pub fn allows(self, asked: Self) -> bool {
        (self.account || !asked.account) && (self.admin || !asked.admin)
    }

    /// What is in both.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self {
            account: self.account && other.account,
            admin: self.admin && other.admin,
        }
    }

    /// `account` alone.
    #[must_use]
    pub fn own_account() -> Self {
        Self {
            account: true,
            admin: false,
        }
    }

    /// The scope that an account's own tokens have for this API.
    #[must_use]
    pub fn of(account: &Account) -> Self {
        Self {
            admin: account.roles.contains(&Role::admin()),
            ..Self::own_account()
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(self.account, ACCOUNT), (self.admin, ADMIN)];
        let words: Vec<&str> = words
            .iter()
            .filter_map(|(has, word)| has.then_some(*word))
            .collect();
        f.write_str(&words.join(" "))
    }
}

impl From<String> for Scope {
    fn from(text: String) -> Self {
        let has = |word| text.split(' ').any(|one| one == word);
        Self {
            account: has(ACCOUNT),
            admin: has(ADMIN),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_made_of_whole_words() {
        let read = |text: &str| Scope::from(text.to_owned());
        for nothing in ["", "accounts", "Account", "account:read", "administration"] {
            assert_eq!(read(nothing), Scope::default(), "{nothing}");
        }
        let both = read("admin account");
        assert!(both.account && both.admin);
        assert_eq!(both.to_string(), "account admin");
    }
}
