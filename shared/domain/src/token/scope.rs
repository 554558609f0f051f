//! What an access token is for: an API, and what it allows at this one (RFC 6749 section 3.3).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TokenIdentity;

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
}

/// The API that an access token is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// This one: its holder may use their account and sessions.
    #[default]
    ThisApi,
    /// Another one, by its name: its holder may do nothing here.
    Other(Arc<str>),
}

/// The audience is none of those that access tokens are issued for (RFC 8707 section 2, `invalid_target`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("No access tokens are issued for this audience.")]
pub struct UnknownAudience;

impl TokenIdentity {
    /// The audience that a client asks for by name, or this API if it names none.
    ///
    /// # Errors
    /// [`UnknownAudience`]
    pub fn find_audience(&self, name: Option<&str>) -> Result<Audience, UnknownAudience> {
        let Some(name) = name.filter(|name| *name != self.audience) else {
            return Ok(Audience::ThisApi);
        };
        if self.other_audiences.iter().any(|one| one == name) {
            Ok(Audience::Other(name.into()))
        } else {
            Err(UnknownAudience)
        }
    }
}

/// What an access token gives: a scope at this API, or an audience elsewhere and nothing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access<'a> {
    /// At this API.
    ThisApi(Scope),
    /// At the API of this name.
    Other(&'a str),
}

impl From<Scope> for Access<'_> {
    fn from(scope: Scope) -> Self {
        Self::ThisApi(scope)
    }
}

impl Audience {
    /// What a token for this audience gives to whoever has this scope at this API.
    #[must_use]
    pub fn access(&self, own: Scope) -> Access<'_> {
        match self {
            Self::ThisApi => Access::ThisApi(own),
            Self::Other(name) => Access::Other(name),
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
    fn a_scope_allows_what_is_in_it_and_nothing_else() {
        let scopes = ["", "account", "admin", "account admin"];
        let [none, account, admin, both] = scopes.map(|text| Scope::from(text.to_owned()));
        assert!(none.is_empty() && !account.is_empty() && !admin.is_empty());
        for (scope, allowed) in [
            (none, [true, false, false, false]),
            (account, [true, true, false, false]),
            (admin, [true, false, true, false]),
            (both, [true, true, true, true]),
        ] {
            let asked = [none, account, admin, both];
            assert_eq!(asked.map(|asked| scope.allows(asked)), allowed, "{scope}");
            // What is in both is what the one allows of the other.
            assert_eq!(scope.within(both), scope);
            assert_eq!(both.within(scope), scope);
            assert_eq!(scope.within(none), none);
        }
        assert_eq!(account.within(admin), none);
        assert_eq!(admin.within(account), none);
    }

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
