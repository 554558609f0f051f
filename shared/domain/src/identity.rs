//! Sign-ins made elsewhere: who a person is to another identity provider, and how they proved it there.
//!
//! An identity leads to one account. It never leads to an account by its e-mail address: another provider may not have
//! verified the address, and whoever typed it there would take the account over.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::policy::{CLOCK_DIFFERENCE, SessionPolicy};
use crate::text;

/// The longest issuer and the longest subject, in bytes each. OpenID Connect Core section 2 bounds the subject so.
pub const MAX_IDENTITY_BYTES: usize = 255;
/// The longest name of a method, in bytes.
pub const MAX_METHOD_BYTES: usize = 16;
/// The most bytes of all methods of a session together, with a space between: a session's item stays small.
pub const MAX_METHODS_BYTES: usize = 40;
/// The `authenticated_at` of a session whose user was signed in by another service that has not told when: as old as can
/// be, so that no request takes it for a recent proof.
pub const UNKNOWN_PROOF: DateTime<Utc> = DateTime::UNIX_EPOCH;

/// Who a person is to another identity provider: the pair is unique and never given to anybody else (OpenID Connect Core
/// section 5.7). Compared byte by byte.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    issuer: String,
    subject: String,
}

/// The text is no issuer or no subject: nothing, too long, or with spaces around it or characters that cannot be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("An issuer and a subject have 1 to 255 bytes, all of which can be seen.")]
pub struct InvalidIdentity;

impl Identity {
    /// Checks an issuer and a subject.
    ///
    /// # Errors
    /// [`InvalidIdentity`]
    pub fn new(issuer: &str, subject: &str) -> Result<Self, InvalidIdentity> {
        Self::check(issuer)?;
        Self::check(subject)?;
        Ok(Self {
            issuer: issuer.to_owned(),
            subject: subject.to_owned(),
        })
    }

    /// Checks one of the two.
    ///
    /// # Errors
    /// [`InvalidIdentity`]
    pub fn check(part: &str) -> Result<(), InvalidIdentity> {
        let hidden = |c| text::is_control(c) || text::is_direction_mark(c) || text::is_invisible(c);
        let fits = (1..=MAX_IDENTITY_BYTES).contains(&part.len());
        if fits && part.trim() == part && !part.chars().any(hidden) {
            Ok(())
        } else {
            Err(InvalidIdentity)
        }
    }

    /// The identity provider.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The person, as the identity provider names them.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// A subject may be an e-mail address, which is not logged.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({}, redacted)", self.issuer)
    }
}

/// How a user proved who they are: values of RFC 8176, the `amr` of access tokens.
///
/// ```
/// use latchkey_domain::identity::AuthenticationMethods;
///
/// let methods = AuthenticationMethods::new(["pwd", "otp", "pwd"]).unwrap();
/// assert_eq!(methods.to_string(), "pwd otp");
/// assert!(AuthenticationMethods::new(["a b"]).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationMethods(Vec<String>);

/// The methods are none, too many, too long, or hold other characters than letters, digits and `-_.`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "There is at least one method, each of 1 to 16 letters, digits and -_. and all together of at most 40."
)]
pub struct InvalidMethods;

/// The authentication method of a sign-in by password (RFC 8176 section 2).
const PASSWORD_METHOD: &str = "pwd";

impl AuthenticationMethods {
    /// A password, which is what this service asks for itself.
    #[must_use]
    pub fn password() -> Self {
        Self(vec![PASSWORD_METHOD.to_owned()])
    }

    /// Checks the methods that another provider names. One that stands there twice counts once.
    ///
    /// # Errors
    /// [`InvalidMethods`]
    pub fn new<'a>(methods: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidMethods> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let mut kept: Vec<String> = Vec::new();
        let mut bytes = 0;
        for method in methods {
            let fits = (1..=MAX_METHOD_BYTES).contains(&method.len());
            if !fits || !method.bytes().all(allowed) {
                return Err(InvalidMethods);
            }
            if !kept.iter().any(|one| one == method) {
                bytes += method.len() + usize::from(!kept.is_empty());
                kept.push(method.to_owned());
            }
        }
        if kept.is_empty() || bytes > MAX_METHODS_BYTES {
            return Err(InvalidMethods);
        }
        Ok(Self(kept))
    }

    /// Each of them.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Divided by spaces.
impl fmt::Display for AuthenticationMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Why the time of a sign-in that was made elsewhere is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthTime {
    /// It is yet to come, by more than clocks differ.
    #[error("The time of the sign-in is in the future.")]
    Future,
    /// A session that began then would be over.
    #[error("The time of the sign-in is longer ago than a session may last.")]
    TooOld,
}

/// When somebody proved who they are, as another provider tells it: not in the future, and not longer ago than a session
/// lasts. `auth_time` is in seconds since 1970 (OpenID Connect Core section 2). Without one it is not known, which no
/// request takes for a recent proof.
///
/// # Errors
/// [`InvalidAuthTime`]
pub fn authenticated_at(
    auth_time: Option<i64>,
    now: DateTime<Utc>,
    policy: &SessionPolicy,
) -> Result<DateTime<Utc>, InvalidAuthTime> {
    let Some(seconds) = auth_time else {
        return Ok(UNKNOWN_PROOF);
    };
    let Some(told) = DateTime::from_timestamp(seconds, 0) else {
        return Err(if seconds.is_negative() {
            InvalidAuthTime::TooOld
        } else {
            InvalidAuthTime::Future
        });
    };
    if told > now + CLOCK_DIFFERENCE {
        Err(InvalidAuthTime::Future)
    } else if now - told >= policy.absolute_lifetime {
        Err(InvalidAuthTime::TooOld)
    } else {
        Ok(told.min(now))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::session::tests::noon;

    #[test]
    fn an_identity_is_two_texts_that_can_be_seen() {
        let long = "x".repeat(255);
        for part in [
            "a",
            "https://accounts.example.com",
            "é|auth0|1",
            &long,
            "a b",
            "#",
        ] {
            let identity = Identity::new(part, part).unwrap();
            assert_eq!((identity.issuer(), identity.subject()), (part, part));
        }
        let longer = "x".repeat(256);
        for wrong in [
            "",
            " a",
            "a ",
            "a\n",
            "a\u{0}b",
            "a\u{202e}b",
            "a\u{200b}",
            &longer,
        ] {
            assert_eq!(Identity::new(wrong, "a"), Err(InvalidIdentity), "{wrong:?}");
            assert_eq!(Identity::new("a", wrong), Err(InvalidIdentity), "{wrong:?}");
        }
        let shown = format!("{:?}", Identity::new("idp", "ada@example.com").unwrap());
        assert!(!shown.contains("ada"), "{shown}");
    }

    #[test]
    fn methods_are_few_and_short() {
        let longest = ["a".repeat(16), "b".repeat(16), "c".repeat(6)];
        let methods = AuthenticationMethods::new(longest.iter().map(String::as_str)).unwrap();
        assert_eq!(methods.to_string().len(), MAX_METHODS_BYTES);
        let longer = ["a".repeat(16), "b".repeat(16), "c".repeat(7)];
        let longer: Vec<&str> = longer.iter().map(String::as_str).collect();
        for wrong in [
            &longer[..],
            &[],
            &[""],
            &["a b"],
            &["é"],
            &["\""],
            &["12345678901234567"],
        ] {
            let found = AuthenticationMethods::new(wrong.iter().copied());
            assert_eq!(found, Err(InvalidMethods), "{wrong:?}");
        }
        let read_again = AuthenticationMethods::new(methods.to_string().split(' '));
        assert_eq!(read_again, Ok(methods));
    }

    #[test]
    fn the_time_of_a_sign_in_is_neither_to_come_nor_older_than_a_session() {
        let (now, policy) = (
            crate::clock::whole_seconds(noon()),
            SessionPolicy::default(),
        );
        let at = |seconds: i64| authenticated_at(Some(now.timestamp() + seconds), now, &policy);
        assert_eq!(authenticated_at(None, now, &policy), Ok(UNKNOWN_PROOF));
        assert_eq!(at(0), Ok(now));
        assert_eq!(at(-60), Ok(now - TimeDelta::seconds(60)));
        assert_eq!(at(5), Ok(now), "clocks differ");
        assert_eq!(at(6), Err(InvalidAuthTime::Future));
        let limit = policy.absolute_lifetime.num_seconds();
        assert!(at(1 - limit).is_ok());
        assert_eq!(at(-limit), Err(InvalidAuthTime::TooOld));
        for (extreme, error) in [
            (i64::MAX, InvalidAuthTime::Future),
            (i64::MIN, InvalidAuthTime::TooOld),
        ] {
            assert_eq!(authenticated_at(Some(extreme), now, &policy), Err(error));
        }
    }
}
