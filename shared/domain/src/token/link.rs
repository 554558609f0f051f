//! Links: one-time tokens that are sent to an e-mail address, and whoever opens one shows that they read its mail.
//!
//! Such a token is a JWT, authenticated with HMAC, with a type and a key for each purpose. Nothing is stored of it: it names
//! what it may change, so what it does spends it, and so does everything else that makes it wrong.
//!
//! - A link to verify an address names that address. To open it twice does the same, so it has nothing to spend.
//! - A link to reset a password names the address that it is sent to and the password that it replaces.
//! - A link to a new address names which of the user's addresses it replaces and the session on which it was asked for, both
//!   as of the request, however late it is made. Whoever ends that session because a stranger had it, by a revocation, by
//!   signing out everywhere or by another password, makes the stranger's links invalid.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Kind, Token, TokenError, Tokens};
use crate::clock::whole_seconds;
use crate::email::EmailAddress;
use crate::id::{SessionId, UserId};

/// How long a link to reset a password is valid (OWASP ASVS 5.0, 6.5.5).
pub const RESET_LINK_LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long a link to verify an address is valid, and one to a new address.
pub const VERIFY_LINK_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// The longest of them.
pub const LONGEST_LINK_LIFETIME: TimeDelta = VERIFY_LINK_LIFETIME;

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkPurpose {
    /// To show that the user reads the mail of their address.
    VerifyEmail,
    /// To choose another password.
    ResetPassword,
    /// To show that the user reads the mail of the address that is to be theirs, which then is.
    ChangeEmail,
}

impl LinkPurpose {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::VerifyEmail, Self::ResetPassword, Self::ChangeEmail];

    /// The word for it in requests, in the table and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ChangeEmail => "change_email",
        }
    }

    /// How long a link for it is valid.
    #[must_use]
    pub const fn lifetime(self) -> TimeDelta {
        match self {
            Self::ResetPassword => RESET_LINK_LIFETIME,
            Self::VerifyEmail | Self::ChangeEmail => VERIFY_LINK_LIFETIME,
        }
    }

    /// The `typ` of its tokens.
    pub(super) const fn typ(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify-email+jwt",
            Self::ResetPassword => "reset-password+jwt",
            Self::ChangeEmail => "change-email+jwt",
        }
    }

    /// What the labels of its keys begin with.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::VerifyEmail => "link to verify an address",
            Self::ResetPassword => "link to reset a password",
            Self::ChangeEmail => "link to change an address",
        }
    }

    /// The page that opens its links. One page confirms addresses, whether they are new or not.
    const fn page(self) -> &'static str {
        match self {
            Self::VerifyEmail | Self::ChangeEmail => "verify-email",
            Self::ResetPassword => "reset-password",
        }
    }
}

impl fmt::Display for LinkPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Another address, as its user has asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailChange {
    /// The new address.
    pub email: EmailAddress,
    /// The number of the address that it replaces, as of the request.
    pub email_version: u64,
    /// The session on which it was asked for.
    pub session_id: SessionId,
}

/// What a link does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It verifies an address.
    VerifyEmail {
        /// Whose.
        user: UserId,
        /// The address.
        email: EmailAddress,
    },
    /// It replaces a password.
    ResetPassword {
        /// Whose.
        user: UserId,
        /// The address that it is sent to, which is verified by it too.
        email: EmailAddress,
        /// The password that it replaces.
        password_version: u64,
    },
    /// It replaces an address.
    ChangeEmail {
        /// Whose.
        user: UserId,
        /// By which, to which the link is sent.
        change: EmailChange,
    },
}

impl Link {
    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> LinkPurpose {
        match self {
            Self::VerifyEmail { .. } => LinkPurpose::VerifyEmail,
            Self::ResetPassword { .. } => LinkPurpose::ResetPassword,
            Self::ChangeEmail { .. } => LinkPurpose::ChangeEmail,
        }
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> UserId {
        match self {
            Self::VerifyEmail { user, .. }
            | Self::ResetPassword { user, .. }
            | Self::ChangeEmail { user, .. } => *user,
        }
    }

    /// The address that it is sent to.
    #[must_use]
    pub fn email(&self) -> &EmailAddress {
        match self {
            Self::VerifyEmail { email, .. } | Self::ResetPassword { email, .. } => email,
            Self::ChangeEmail { change, .. } => &change.email,
        }
    }
}

/// A link as it is sent: `<pages>/<page>#token=<token>`. The token stands in the fragment, which no browser sends, so it is
/// in no log of a server and in no `Referer`. `pages` is where the pages are that open links, without a slash at its end.
///
/// ```
/// use latchkey_domain::token::{LinkPurpose, Token, link_address};
///
/// let token = Token::new("abc".to_owned());
/// let link = link_address("https://id.example.com/account", LinkPurpose::ResetPassword, &token);
/// assert_eq!(link, "https://id.example.com/account/reset-password#token=abc");
/// ```
#[must_use]
pub fn link_address(pages: &str, purpose: LinkPurpose, token: &Token) -> String {
    format!("{pages}/{}#token={}", purpose.page(), token.expose())
}

/// What every such token says.
#[derive(Serialize, Deserialize)]
struct LinkClaims<T> {
    iss: String,
    aud: String,
    sub: UserId,
    /// The address as it was typed.
    email: String,
    #[serde(flatten)]
    spent_by: T,
    iat: i64,
    exp: i64,
}

/// What makes a link to verify an address wrong: another address, which is all it says.
#[derive(Serialize, Deserialize)]
struct Nothing {}

/// What spends a link to reset a password.
#[derive(Serialize, Deserialize)]
struct PasswordVersion {
    password_version: u64,
}

/// What spends a link to a new address.
#[derive(Serialize, Deserialize)]
struct EmailVersionAndSession {
    email_version: u64,
    sid: SessionId,
}

impl Tokens {
    /// The token of a link, valid from now on for the lifetime of its purpose.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`], which does not depend on the link.
    pub fn issue_link(&self, link: &Link, now: DateTime<Utc>) -> Result<Token, TokenError> {
        match link {
            Link::VerifyEmail { .. } => self.sign_link(link, Nothing {}, now),
            Link::ResetPassword {
                password_version, ..
            } => {
                let password_version = *password_version;
                self.sign_link(link, PasswordVersion { password_version }, now)
            }
            Link::ChangeEmail { change, .. } => {
                let spent_by = EmailVersionAndSession {
                    email_version: change.email_version,
                    sid: change.session_id,
                };
                self.sign_link(link, spent_by, now)
            }
        }
    }

    fn sign_link<T: Serialize>(
        &self,
        link: &Link,
        spent_by: T,
        now: DateTime<Utc>,
    ) -> Result<Token, TokenError> {
        let now = whole_seconds(now);
        let issuer = &self.0.identity.issuer;
        let claims = LinkClaims {
            iss: issuer.clone(),
            aud: issuer.clone(),
            sub: link.user(),
            email: link.email().as_typed().to_owned(),
            spent_by,
            iat: now.timestamp(),
            exp: (now + link.purpose().lifetime()).timestamp(),
        };
        self.sign(Kind::Link(link.purpose()), &claims, now)
    }

    /// Reads the token of a link that is for this purpose: type, key, signature, issuer, audience, and that `now` is before
    /// `exp`. Whether it is spent is the account's to say.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_link(
        &self,
        purpose: LinkPurpose,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<Link, TokenError> {
        match purpose {
            LinkPurpose::VerifyEmail => {
                let (user, email, Nothing {}) = self.read_link(purpose, token, now)?;
                Ok(Link::VerifyEmail { user, email })
            }
            LinkPurpose::ResetPassword => {
                let (user, email, spent_by) = self.read_link(purpose, token, now)?;
                let PasswordVersion { password_version } = spent_by;
                Ok(Link::ResetPassword {
                    user,
                    email,
                    password_version,
                })
            }
            LinkPurpose::ChangeEmail => {
                let (user, email, spent_by) = self.read_link(purpose, token, now)?;
                let EmailVersionAndSession { email_version, sid } = spent_by;
                let change = EmailChange {
                    email,
                    email_version,
                    session_id: sid,
                };
                Ok(Link::ChangeEmail { user, change })
            }
        }
    }

    fn read_link<T: DeserializeOwned>(
        &self,
        purpose: LinkPurpose,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<(UserId, EmailAddress, T), TokenError> {
        let (claims, _): (LinkClaims<T>, _) = self.verify(Kind::Link(purpose), token, now)?;
        if now.timestamp() >= claims.exp {
            return Err(TokenError::Expired);
        }
        let email =
            EmailAddress::parse_existing(&claims.email).map_err(|_| TokenError::Malformed)?;
        Ok((claims.sub, email, claims.spent_by))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{KeyRing, RingKey, TokenIdentity, TokenSecret};
    use super::*;
    use crate::policy::SessionPolicy;
    use crate::random::SeededRandom;
    use crate::session::tests::{noon, session};

    fn identity(issuer: &str) -> TokenIdentity {
        TokenIdentity {
            issuer: issuer.to_owned(),
            audience: "latchkey".to_owned(),
            other_audiences: Vec::new(),
            client_id: "latchkey-app".to_owned(),
        }
    }

    fn secret(byte: u8) -> TokenSecret {
        TokenSecret::new(vec![byte; 32]).unwrap()
    }

    fn tokens(current: u8, previous: Option<u8>) -> Tokens {
        let identity = identity("https://id.example.com");
        Tokens::new(identity, &secret(current), previous.map(secret).as_ref()).unwrap()
    }

    #[test]
    fn a_purpose_has_one_word_in_json_and_in_the_table() {
        let words = ["verify_email", "reset_password", "change_email"];
        assert_eq!(LinkPurpose::ALL.map(LinkPurpose::as_str), words);
        assert_eq!(
            serde_json::to_value(LinkPurpose::ALL).unwrap(),
            serde_json::json!(words)
        );
    }

    #[test]
    fn a_link_leads_to_the_page_of_its_purpose_with_the_token_behind_the_hash() {
        let token = Token::new("abc".to_owned());
        let pages = "https://id.example.com/account";
        let links = LinkPurpose::ALL.map(|purpose| link_address(pages, purpose, &token));
        let paths = links.each_ref().map(|link| link.strip_prefix(pages));
        assert_eq!(
            paths,
            [
                Some("/verify-email#token=abc"),
                Some("/reset-password#token=abc"),
                Some("/verify-email#token=abc"),
            ]
        );
    }

    fn links() -> [Link; 3] {
        let user = session(1, noon()).user_id;
        let email = EmailAddress::parse("Ada@Example.com").unwrap();
        [
            Link::VerifyEmail {
                user,
                email: email.clone(),
            },
            Link::ResetPassword {
                user,
                email: email.clone(),
                password_version: 7,
            },
            Link::ChangeEmail {
                user,
                change: EmailChange {
                    email,
                    email_version: 3,
                    session_id: session(1, noon()).id,
                },
            },
        ]
    }

    #[test]
    fn a_link_reads_back_and_is_for_its_purpose_alone() {
        let tokens = tokens(1, None);
        for link in links() {
            let token = tokens.issue_link(&link, noon()).unwrap();
            for purpose in LinkPurpose::ALL {
                let expected = match purpose == link.purpose() {
                    true => Ok(link.clone()),
                    false => Err(TokenError::WrongType),
                };
                assert_eq!(tokens.verify_link(purpose, &token, noon()), expected);
            }
        }
    }

    #[test]
    fn a_link_is_over_at_the_end_of_its_lifetime() {
        let tokens = tokens(1, None);
        let minutes = [24 * 60, 10, 24 * 60];
        for (link, minutes) in links().into_iter().zip(minutes) {
            let token = tokens.issue_link(&link, noon()).unwrap();
            let end = whole_seconds(noon()) + TimeDelta::minutes(minutes);
            let before = end - TimeDelta::milliseconds(1);
            let verify = |now| tokens.verify_link(link.purpose(), &token, now);
            assert_eq!(verify(before), Ok(link.clone()));
            assert_eq!(verify(end), Err(TokenError::Expired));
        }
    }

    #[test]
    fn no_other_token_is_a_link_and_no_link_another_token() {
        let tokens = tokens(1, None);
        let (policy, random) = (SessionPolicy::default(), SeededRandom::new(1));
        let session = session(1, noon());
        let scope = super::super::Scope::own_account();
        let issued = tokens.issue(&session, scope, noon(), &policy, &random);
        let issued = issued.unwrap();
        let device = tokens.new_device(session.user_id, noon(), &random);
        let device = tokens.issue_device(&device, noon()).unwrap();
        let wrong = TokenError::WrongType;
        for other in [issued.access_token, issued.refresh_token, device] {
            for purpose in LinkPurpose::ALL {
                assert_eq!(tokens.verify_link(purpose, &other, noon()), Err(wrong));
            }
        }
        for link in links() {
            let token = tokens.issue_link(&link, noon()).unwrap();
            assert_eq!(tokens.verify_access(&token, noon()), Err(wrong));
            let refresh = tokens.verify_refresh_of_any_age(&token, noon());
            assert_eq!(refresh, Err(wrong));
            assert_eq!(tokens.verify_device(&token, noon()), Err(wrong));
        }
    }

    /// The signature covers the header. That the keys differ too is for `each_kind_has_its_own_key`.
    #[test]
    fn the_header_of_another_purpose_does_not_make_a_link_of_it() {
        let tokens = tokens(1, None);
        let [verify, reset, _] = links().map(|link| tokens.issue_link(&link, noon()).unwrap());
        let header = |token: &Token| token.expose().split_once('.').unwrap().0.to_owned();
        let rest = |token: &Token| token.expose().split_once('.').unwrap().1.to_owned();
        let dressed = Token::new(format!("{}.{}", header(&reset), rest(&verify)));
        let read = tokens.verify_link(LinkPurpose::ResetPassword, &dressed, noon());
        assert_eq!(read, Err(TokenError::BadSignature));
    }

    #[test]
    fn a_link_of_another_secret_or_issuer_is_none() {
        for link in links() {
            let token = tokens(1, None).issue_link(&link, noon()).unwrap();
            let read = |tokens: &Tokens| tokens.verify_link(link.purpose(), &token, noon());
            assert_eq!(read(&tokens(2, None)), Err(TokenError::UnknownKey));
            assert_eq!(read(&tokens(2, Some(1))), Ok(link.clone()));
            let elsewhere = identity("https://other.example.com");
            let elsewhere = Tokens::new(elsewhere, &secret(1), None).unwrap();
            assert_eq!(read(&elsewhere), Err(TokenError::WrongIssuer));
        }
    }

    #[test]
    fn the_links_of_a_replaced_key_are_accepted_as_long_as_one_can_be_valid() {
        let swap = noon() + TimeDelta::minutes(1);
        let keys = vec![
            RingKey::signing(secret(1)),
            RingKey::signing_from(secret(2), swap),
        ];
        // Sessions that are shorter than links.
        let policy = SessionPolicy {
            idle_lifetime: TimeDelta::minutes(5),
            absolute_lifetime: TimeDelta::minutes(5),
            ..SessionPolicy::default()
        };
        let ring = KeyRing::new(keys).unwrap();
        let issuer = identity("https://id.example.com");
        let tokens = Tokens::of_ring(issuer, &ring, &policy, noon()).unwrap();
        let first = self::tokens(1, None);
        let over = swap + LONGEST_LINK_LIFETIME + TimeDelta::seconds(5);
        for link in links() {
            let read = |issued_at, now| {
                let token = first.issue_link(&link, issued_at).unwrap();
                tokens.verify_link(link.purpose(), &token, now)
            };
            assert_eq!(
                read(noon(), noon() + TimeDelta::minutes(9)),
                Ok(link.clone())
            );
            // Whoever has found the replaced key makes no more links with it.
            let late = over - TimeDelta::seconds(1);
            assert_eq!(read(late, late), Ok(link.clone()));
            assert_eq!(read(over, over), Err(TokenError::UnknownKey));
        }
        let rotate = |now| ring.rotate(secret(3).into(), now, now, &policy).unwrap();
        assert_eq!(rotate(over - TimeDelta::seconds(1)).iter().count(), 3);
        assert_eq!(rotate(over).iter().count(), 2);
    }

    #[test]
    fn a_link_shows_nothing_in_debug_output() {
        let token = tokens(1, None).issue_link(&links()[1], noon()).unwrap();
        assert_eq!(format!("{token:?}"), "Token(redacted)");
    }
}
