//! Clients of other services: who may ask about tokens, end them, or start sessions for people who signed in elsewhere.
//!
//! A client is confidential (RFC 6749 section 2.1): a service that keeps a secret, never an application on a person's
//! device. We make the secrets, so they are random enough for a plain digest and nobody has to slow guesses down.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::identity::{Identity, InvalidIdentity};
use crate::random::RandomSource;
use crate::text::{self, InvalidName};

/// How many secrets a client may have: the one in use, and its successor while the service changes over.
pub const MAX_CLIENT_SECRETS: usize = 2;
/// How many issuers a client may speak for, and to how many audiences its questions may be bound: its item stays small.
pub const MAX_CLIENT_BOUNDS: usize = 8;
/// The longest client id, in bytes.
pub const MAX_CLIENT_ID_BYTES: usize = 64;
/// What every secret begins with, so that scanners of source code and logs find one that was left there.
const SECRET_PREFIX: &str = "lks_";
/// The randomness of a secret, in bytes: 256 bits.
const SECRET_BYTES: usize = 32;
/// How much of a digest names its secret, in hexadecimal digits.
const SECRET_ID_DIGITS: usize = 8;

/// The text is no client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client id has 1 to 64 letters, digits and -._ and begins with a letter or a digit")]
pub struct InvalidClientId;

/// Names a client: letters, digits and `-._`, which no encoding of HTTP Basic changes (RFC 6749 section 2.3.1).
///
/// ```
/// use latchkey_domain::client::ClientId;
///
/// assert!("orders-api".parse::<ClientId>().is_ok());
/// assert!("orders api".parse::<ClientId>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ClientId(String);

impl ClientId {
    /// The id as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(text: &str) -> Result<Self, InvalidClientId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let begins_well = text
            .as_bytes()
            .first()
            .is_some_and(u8::is_ascii_alphanumeric);
        // A secret in the wrong field is no id, because ids are logged.
        let is_secret = text.starts_with(SECRET_PREFIX);
        let has_form =
            begins_well && text.len() <= MAX_CLIENT_ID_BYTES && text.bytes().all(allowed);
        if has_form && !is_secret {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidClientId)
        }
    }
}

impl TryFrom<String> for ClientId {
    type Error = InvalidClientId;

    fn try_from(text: String) -> Result<Self, InvalidClientId> {
        text.parse()
    }
}

impl From<ClientId> for String {
    fn from(id: ClientId) -> Self {
        id.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ClientScope {
    /// `introspect`: ask whether a token is active (RFC 7662).
    #[serde(rename = "introspect")]
    Introspect,
    /// `revoke`: end the session of a token (RFC 7009).
    #[serde(rename = "revoke")]
    Revoke,
    /// `sessions:issue`: start sessions for people who signed in elsewhere, and say where they call from.
    #[serde(rename = "sessions:issue")]
    IssueSessions,
    /// `links:issue`: make the links that users open to verify an address or to choose another password. Whoever may do this
    /// can take over every account.
    #[serde(rename = "links:issue")]
    IssueLinks,
}

impl ClientScope {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Introspect,
        Self::Revoke,
        Self::IssueSessions,
        Self::IssueLinks,
    ];

    /// The word for it in the table, on the command line and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::IssueSessions => "sessions:issue",
            Self::IssueLinks => "links:issue",
        }
    }
}

impl fmt::Display for ClientScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no scope of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client's scopes are introspect, revoke, sessions:issue and links:issue")]
pub struct UnknownClientScope;

impl FromStr for ClientScope {
    type Err = UnknownClientScope;

    fn from_str(text: &str) -> Result<Self, UnknownClientScope> {
        let mut all = Self::ALL.into_iter();
        all.find(|scope| scope.as_str() == text)
            .ok_or(UnknownClientScope)
    }
}

/// A secret as a client sends it. Whoever has it can act as the client, so it is never shown in `Debug` output.
#[derive(Clone)]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// A secret as it came from a client; nothing is checked.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// A new secret of 256 random bits.
    #[must_use]
    pub fn random(random: &dyn RandomSource) -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        random.fill(bytes.as_mut());
        let mut text = Zeroizing::new(SECRET_PREFIX.to_owned());
        URL_SAFE_NO_PAD.encode_string(bytes.as_ref(), &mut text);
        Self(text)
    }

    /// The secret itself, to be shown once to whoever made the client, never logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    #[must_use]
    pub fn digest(&self) -> SecretDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, self.0.as_bytes()).as_ref());
        SecretDigest(bytes)
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(redacted)")
    }
}

/// The SHA-256 of a secret. From it alone nobody can make the secret, which has 256 random bits.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// The digest in base64url, as it is stored.
    #[must_use]
    pub fn to_base64(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads what [`SecretDigest::to_base64`] wrote.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Names the secret for people: the beginning of the digest.
    #[must_use]
    pub fn secret_id(&self) -> String {
        let hexadecimal = self.0.iter().map(|byte| format!("{byte:02x}"));
        hexadecimal
            .collect::<String>()
            .chars()
            .take(SECRET_ID_DIGITS)
            .collect()
    }

    /// Whether it is the digest of the secret that was sent, in a time that tells nothing.
    fn matches(&self, sent: &Self) -> bool {
        verify_slices_are_equal(&self.0, &sent.0).is_ok()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(redacted)")
    }
}

/// What is kept of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its digest.
    pub digest: SecretDigest,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A service that may ask this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Names it.
    pub id: ClientId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub scopes: BTreeSet<ClientScope>,
    /// For whom it may do it.
    pub bounds: ClientBounds,
    /// Any of these opens; at most [`MAX_CLIENT_SECRETS`], the oldest first.
    pub secrets: Vec<StoredSecret>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// For which issuers and audiences a client may do what its scopes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientBounds {
    /// The identity providers whose sign-ins it may vouch for, compared byte by byte. Without any it starts no session.
    pub issuers: BTreeSet<String>,
    /// The audiences whose access tokens it may ask about (RFC 7662 section 4) and revoke. Without any it may do so with
    /// every token.
    pub audiences: BTreeSet<String>,
}

impl ClientBounds {
    fn check(&self, scopes: &BTreeSet<ClientScope>) -> Result<(), ManageClientError> {
        for text in self.issuers.iter().chain(&self.audiences) {
            Identity::check(text).map_err(|InvalidIdentity| ManageClientError::Bound)?;
        }
        for (bounds, scope) in [
            (&self.issuers, ClientScope::IssueSessions),
            (&self.audiences, ClientScope::Introspect),
        ] {
            if bounds.len() > MAX_CLIENT_BOUNDS {
                return Err(ManageClientError::TooManyBounds);
            }
            if !bounds.is_empty() && !scopes.contains(&scope) {
                return Err(ManageClientError::BoundWithoutScope);
            }
        }
        Ok(())
    }
}

/// Who asks was not proved (RFC 6749 section 5.2, `invalid_client`): no such client, or another secret. Nobody learns
/// which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The credentials are missing or wrong.
    #[error("the client's credentials are not right")]
    Invalid,
    /// The client is who it says, and may not do this (`unauthorized_client`).
    #[error("the client may not do this")]
    NotAllowed,
    /// The client may vouch for sign-ins, and not for those of this identity provider (`unauthorized_client`).
    #[error("the client may not speak for this issuer")]
    OtherIssuer,
}

/// Why a client could not be made or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManageClientError {
    /// The id is not one.
    #[error(transparent)]
    Id(#[from] InvalidClientId),
    /// The name is not one.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A client that may do nothing is a mistake.
    #[error("a client has at least one scope")]
    NoScope,
    /// An issuer or an audience is none.
    #[error("an issuer and an audience have 1 to 255 bytes, all of which can be seen")]
    Bound,
    /// More than [`MAX_CLIENT_BOUNDS`].
    #[error("a client has at most 8 issuers and 8 audiences")]
    TooManyBounds,
    /// It would bind nothing.
    #[error("an issuer goes with the scope sessions:issue, an audience with the scope introspect")]
    BoundWithoutScope,
    /// It could start no session.
    #[error(
        "a client with the scope sessions:issue needs the identity providers whose sign-ins it may vouch for: give each \
         with --issuer, as its tokens name it (iss)"
    )]
    NoIssuer,
    /// There is one with this id.
    #[error("there is a client with this id")]
    Exists,
    /// There is none with this id.
    #[error("there is no client with this id")]
    NotFound,
    /// It has [`MAX_CLIENT_SECRETS`] already.
    #[error("a client has at most 2 secrets; remove one first")]
    TooManySecrets,
    /// It has no such secret.
    #[error("the client has no secret with this id")]
    NoSuchSecret,
    /// Without a secret a client can do nothing; remove the client instead.
    #[error("this is the client's only secret; add one first, or remove the client")]
    LastSecret,
    /// Somebody else has changed the client at the same moment.
    #[error("the client was changed by somebody else at the same moment; try again")]
    Overtaken,
}

impl Client {
    /// A new client with its first secret, which is kept as a digest only.
    ///
    /// # Errors
    /// [`ManageClientError::Id`], [`ManageClientError::Name`], [`ManageClientError::NoScope`] and those about bounds.
    pub fn register(
        id: &str,
        name: &str,
        (scopes, bounds): (BTreeSet<ClientScope>, ClientBounds),
        secret: &ClientSecret,
        now: DateTime<Utc>,
    ) -> Result<Self, ManageClientError> {
        text::check_name(name)?;
        if scopes.is_empty() {
            return Err(ManageClientError::NoScope);
        }
        bounds.check(&scopes)?;
        Ok(Self {
            id: id.parse()?,
            name: name.trim().to_owned(),
            scopes,
            bounds,
            secrets: vec![StoredSecret {
                digest: secret.digest(),
                created_at: now,
            }],
            created_at: now,
        })
    }

    /// Whether the secret is one of the client's. Every stored digest is compared, each in constant time.
    #[must_use]
    pub fn has_secret(&self, sent: &ClientSecret) -> bool {
        let sent = sent.digest();
        let mut found = false;
        for stored in &self.secrets {
            found |= stored.digest.matches(&sent);
        }
        found
    }

    /// Whether the client may do something.
    ///
    /// # Errors
    /// [`ClientError::NotAllowed`]
    pub fn require(&self, scope: ClientScope) -> Result<(), ClientError> {
        if self.scopes.contains(&scope) {
            Ok(())
        } else {
            Err(ClientError::NotAllowed)
        }
    }

    /// Whether the client may vouch for a sign-in with this identity provider.
    ///
    /// # Errors
    /// [`ClientError::OtherIssuer`]
    pub fn require_issuer(&self, issuer: &str) -> Result<(), ClientError> {
        if self.bounds.issuers.contains(issuer) {
            Ok(())
        } else {
            Err(ClientError::OtherIssuer)
        }
    }

    /// Whether the client may ask about tokens for an audience.
    #[must_use]
    pub fn may_ask_about(&self, audience: &str) -> bool {
        let audiences = &self.bounds.audiences;
        audiences.is_empty() || audiences.contains(audience)
    }

    /// The client with one more secret.
    ///
    /// # Errors
    /// [`ManageClientError::TooManySecrets`]
    pub fn add_secret(
        mut self,
        secret: &ClientSecret,
        now: DateTime<Utc>,
    ) -> Result<Self, ManageClientError> {
        if self.secrets.len() >= MAX_CLIENT_SECRETS {
            return Err(ManageClientError::TooManySecrets);
        }
        self.secrets.push(StoredSecret {
            digest: secret.digest(),
            created_at: now,
        });
        Ok(self)
    }

    /// The client without one of its secrets, by [`SecretDigest::secret_id`].
    ///
    /// # Errors
    /// [`ManageClientError::NoSuchSecret`], [`ManageClientError::LastSecret`].
    pub fn remove_secret(mut self, secret_id: &str) -> Result<Self, ManageClientError> {
        let before = self.secrets.len();
        self.secrets
            .retain(|secret| secret.digest.secret_id() != secret_id);
        if self.secrets.len() == before {
            Err(ManageClientError::NoSuchSecret)
        } else if self.secrets.is_empty() {
            Err(ManageClientError::LastSecret)
        } else {
            Ok(self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use crate::session::tests::noon;

    fn client(secret: &ClientSecret) -> Client {
        let scopes = BTreeSet::from([ClientScope::Introspect]);
        let may = (scopes, ClientBounds::default());
        Client::register("orders-api", "Orders", may, secret, noon()).unwrap()
    }

    #[test]
    fn an_id_needs_no_encoding_in_a_header() {
        for right in ["a", "orders-api", "Orders.API_2", &"x".repeat(64)] {
            let id: ClientId = right.parse().unwrap();
            assert_eq!(id.as_str(), right);
            assert_eq!(serde_json::to_value(id).unwrap(), right);
        }
        for wrong in [
            "",
            "-a",
            ".",
            "a b",
            "a:b",
            "a/b",
            "é",
            "a\n",
            "a%20b",
            &"x".repeat(65),
        ] {
            assert_eq!(wrong.parse::<ClientId>(), Err(InvalidClientId), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_random_and_shown_in_no_debug_output() {
        let random = SeededRandom::new(1);
        let (one, two) = (ClientSecret::random(&random), ClientSecret::random(&random));
        assert_ne!(one.expose(), two.expose());
        assert!(one.expose().starts_with("lks_"));
        assert_eq!(one.expose().len(), 4 + 43);
        let shown = format!("{one:?} {:?}", client(&one));
        assert!(!shown.contains(one.expose()) && !shown.contains(&one.digest().to_base64()));
        let digest = one.digest();
        assert_eq!(SecretDigest::from_base64(&digest.to_base64()), Some(digest));
        assert_eq!(SecretDigest::from_base64("AAAA"), None);
    }

    #[test]
    fn either_of_two_secrets_opens_and_no_other() {
        let random = SeededRandom::new(2);
        let [one, two, three] = std::array::from_fn(|_| ClientSecret::random(&random));
        let first = client(&one);
        assert!(first.has_secret(&one) && !first.has_secret(&two));
        let both = first.add_secret(&two, noon()).unwrap();
        assert!(both.has_secret(&one) && both.has_secret(&two) && !both.has_secret(&three));
        let full = both.clone().add_secret(&three, noon());
        assert_eq!(full, Err(ManageClientError::TooManySecrets));
        let second = both.remove_secret(&one.digest().secret_id()).unwrap();
        assert!(!second.has_secret(&one) && second.has_secret(&two));
        let none = second.clone().remove_secret(&two.digest().secret_id());
        assert_eq!(none, Err(ManageClientError::LastSecret));
        let other = second.remove_secret("00000000");
        assert_eq!(other, Err(ManageClientError::NoSuchSecret));
    }

    #[test]
    fn a_client_may_do_what_its_scopes_say() {
        let one = client(&ClientSecret::random(&SeededRandom::new(3)));
        assert_eq!(one.require(ClientScope::Introspect), Ok(()));
        for other in [ClientScope::Revoke, ClientScope::IssueSessions] {
            assert_eq!(one.require(other), Err(ClientError::NotAllowed));
        }
        for scope in ClientScope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert_eq!("admin".parse::<ClientScope>(), Err(UnknownClientScope));
    }

    #[test]
    fn a_client_that_may_do_nothing_is_not_made() {
        let secret = ClientSecret::random(&SeededRandom::new(4));
        let made = |id: &str, name: &str, scopes: &[ClientScope]| {
            let may = (scopes.iter().copied().collect(), ClientBounds::default());
            Client::register(id, name, may, &secret, noon()).map(drop)
        };
        let any = [ClientScope::Revoke];
        assert_eq!(made("a", "A", &any), Ok(()));
        assert_eq!(made("a", "A", &[]), Err(ManageClientError::NoScope));
        assert_eq!(made("a b", "A", &any), Err(InvalidClientId.into()));
        assert_eq!(
            made(secret.expose(), "A", &any),
            Err(InvalidClientId.into())
        );
        assert_eq!(made("a", " ", &any), Err(InvalidName::Empty.into()));
    }

    #[test]
    fn a_client_speaks_for_its_issuers_and_asks_about_its_audiences() {
        let secret = ClientSecret::random(&SeededRandom::new(5));
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let made = |scopes: &[ClientScope], issuers: &[&str], audiences: &[&str]| {
            let bounds = ClientBounds {
                issuers: set(issuers),
                audiences: set(audiences),
            };
            let may = (scopes.iter().copied().collect(), bounds);
            Client::register("a", "A", may, &secret, noon())
        };
        let all = ClientScope::ALL;
        let bound = made(&all, &["https://idp.example"], &["orders"]).unwrap();
        assert_eq!(bound.require_issuer("https://idp.example"), Ok(()));
        for other in ["https://idp.example/", "https://IDP.example", ""] {
            assert_eq!(bound.require_issuer(other), Err(ClientError::OtherIssuer));
        }
        assert!(bound.may_ask_about("orders") && !bound.may_ask_about("latchkey"));
        let free = made(&all, &[], &[]).unwrap();
        assert_eq!(free.require_issuer("idp"), Err(ClientError::OtherIssuer));
        assert!(free.may_ask_about("orders"));

        let nine = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        for (refused, error) in [
            (made(&all, &[" "], &[]), ManageClientError::Bound),
            (made(&all, &[], &[""]), ManageClientError::Bound),
            (made(&all, &nine, &[]), ManageClientError::TooManyBounds),
            (made(&all, &[], &nine), ManageClientError::TooManyBounds),
            (
                made(&[ClientScope::Introspect], &["idp"], &[]),
                ManageClientError::BoundWithoutScope,
            ),
            (
                made(&[ClientScope::IssueSessions], &[], &["orders"]),
                ManageClientError::BoundWithoutScope,
            ),
        ] {
            assert_eq!(refused, Err(error));
        }
        assert!(made(&all, &nine[..8], &nine[..8]).is_ok());
    }
}
