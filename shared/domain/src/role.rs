//! Roles: what a user may do in addition to using their own account.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most characters of a role.
const MAX_ROLE_CHARACTERS: usize = 32;

/// The most roles of one user: with 20 sessions, the account still takes at most 2 write units.
pub const MAX_ROLES: usize = 10;

/// A role of a user. [`Role::admin`] opens this service's administration; all others are the team's own, and
/// `GET /v1/me` shows them.
///
/// ```
/// use latchkey_domain::role::Role;
///
/// assert_eq!("admin".parse(), Ok(Role::admin()));
/// assert!("Billing clerk".parse::<Role>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Role(String);

/// The text is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "A role is 1 to {MAX_ROLE_CHARACTERS} lower-case letters, digits, hyphens and underscores."
)]
pub struct InvalidRole;

impl Role {
    /// The role of those who administer this service. No account has it by default.
    #[must_use]
    pub fn admin() -> Self {
        Self("admin".to_owned())
    }

    /// The role as it stands in the table and in JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        if (1..=MAX_ROLE_CHARACTERS).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRole)
        }
    }
}

impl TryFrom<String> for Role {
    type Error = InvalidRole;

    fn try_from(text: String) -> Result<Self, InvalidRole> {
        text.parse()
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_short_plain_word() {
        for text in ["admin", "billing-clerk", "tier_2", &"a".repeat(32)] {
            assert_eq!(text.parse::<Role>().unwrap().as_str(), text);
        }
        for wrong in ["", "Admin", "a b", "é", &"a".repeat(33)] {
            assert_eq!(wrong.parse::<Role>(), Err(InvalidRole), "{wrong}");
        }
    }
}
