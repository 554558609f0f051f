//! Access and refresh tokens: what they say, how they are signed, when they are valid.
//!
//! An **access token** is a profile of RFC 9068: a JWT of type `at+jwt`, signed with Ed25519 or RSA, so that anyone can
//! verify it with the published key. A **refresh token** is a JWT of type `rt+jwt`, authenticated with HMAC: only
//! this service can make or verify one. Kind, algorithm and key each belong to one kind alone, so one can
//! never pass as the other (RFC 8725 sections 3.1, 3.11).
//!
//! A **device token** is made as a refresh token is; see [`DeviceClaims`]. So is the one-time token of a **link** that is
//! sent by mail; see [`Link`].
//!
//! All keys but those of RSA are derived from one secret (HKDF, RFC 5869), a label for each purpose. A refresh token is a
//! function of
//! its session's item, so it can be made again and is stored nowhere.

mod device;
mod issuer;
mod keys;
mod link;
mod ring;
mod rsa;
mod scope;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::id::{MalformedId, SessionId, UserId};

pub use device::DeviceClaims;
pub use issuer::Tokens;
pub use keys::{KeyDerivationFailed, MIN_SECRET_BYTES, SecretTooShort, TokenSecret};
pub use link::{
    EmailChange, LONGEST_LINK_LIFETIME, Link, LinkPurpose, RESET_LINK_LIFETIME,
    VERIFY_LINK_LIFETIME, link_address,
};
pub use ring::{
    ANNOUNCED, KeyMaterial, KeyRing, MOST_KEYS, NoKey, ROTATION_TIME, RingKey, SessionLives, Term,
    TooManyKeys,
};
pub use rsa::{InvalidRsaKey, RsaPrivateKey};
pub use scope::{Access, Audience, Scope, UnknownAudience};

/// The `typ` of an access token (RFC 9068 section 2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";
/// The `typ` of a refresh token.
pub const REFRESH_TOKEN_TYPE: &str = "rt+jwt";
/// The `typ` of a device token.
pub const DEVICE_TOKEN_TYPE: &str = "dt+jwt";

/// Which kind of token. It decides the type, the key, and with it the algorithm, and what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Access,
    Refresh,
    Device,
    Link(LinkPurpose),
}

impl Kind {
    fn typ(self) -> &'static str {
        match self {
            Self::Access => ACCESS_TOKEN_TYPE,
            Self::Refresh => REFRESH_TOKEN_TYPE,
            Self::Device => DEVICE_TOKEN_TYPE,
            Self::Link(purpose) => purpose.typ(),
        }
    }
}

/// With which algorithm new keys sign access tokens. All other tokens are authenticated with HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// Ed25519 (RFC 8037).
    #[default]
    EdDsa,
    /// RSA (RFC 7518 section 3.3), for verifiers that know nothing else.
    Rs256,
}

impl TokenAlgorithm {
    /// Its name in the header of a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

/// The text names no algorithm of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not EdDSA or RS256")]
pub struct UnknownAlgorithm;

impl FromStr for TokenAlgorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        [Self::EdDsa, Self::Rs256]
            .into_iter()
            .find(|algorithm| algorithm.as_str() == text)
            .ok_or(UnknownAlgorithm)
    }
}

/// A token in its compact form. Whoever has it can act for the user, so it is never shown in `Debug` output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token as it came from a client; nothing is checked.
    #[must_use]
    pub fn new(compact: String) -> Self {
        Self(compact)
    }

    /// The compact form, to be sent or verified, never logged.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

/// Who issues tokens, for whom, and which client gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIdentity {
    /// `iss`: an https URL of the service.
    pub issuer: String,
    /// `aud` of access tokens for this API.
    pub audience: String,
    /// Other APIs, for which access tokens may be asked for. Each such token is for one of them alone.
    pub other_audiences: Vec<String>,
    /// `client_id` (RFC 9068 section 2.2).
    pub client_id: String,
}

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Who issued it.
    pub iss: String,
    /// The API that it is for.
    pub aud: String,
    /// The client that asked for it.
    pub client_id: String,
    /// The user.
    pub sub: UserId,
    /// The session.
    pub sid: SessionId,
    /// Unique for each token.
    pub jti: String,
    /// When it was issued, epoch seconds.
    pub iat: i64,
    /// The moment from which it is invalid, epoch seconds.
    pub exp: i64,
    /// When the user last proved who they are, epoch seconds (RFC 9068 section 2.2.1).
    pub auth_time: i64,
    /// How they proved it (RFC 9068 section 2.2.1): values of RFC 8176, such as `pwd`.
    pub amr: Vec<String>,
    /// What it allows at this API. A token for another audience allows nothing here, and has no such claim.
    #[serde(skip_serializing_if = "Scope::is_empty")]
    pub scope: Scope,
}

/// What an access token for another audience says, in which `scope` is not required.
#[derive(Deserialize)]
struct ClaimsElsewhere {
    iss: String,
    aud: String,
    client_id: String,
    sub: UserId,
    sid: SessionId,
    jti: String,
    iat: i64,
    exp: i64,
    auth_time: i64,
    amr: Vec<String>,
}

impl From<ClaimsElsewhere> for AccessClaims {
    fn from(claims: ClaimsElsewhere) -> Self {
        Self {
            iss: claims.iss,
            aud: claims.aud,
            client_id: claims.client_id,
            sub: claims.sub,
            sid: claims.sid,
            jti: claims.jti,
            iat: claims.iat,
            exp: claims.exp,
            auth_time: claims.auth_time,
            amr: claims.amr,
            scope: Scope::default(),
        }
    }
}

/// What a refresh token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshClaims {
    /// Who issued it.
    pub iss: String,
    /// Who may use it: the issuer alone.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The session.
    pub sid: SessionId,
    /// The session and the rotation, which together name one token.
    pub jti: RefreshTokenId,
    /// When it was issued, epoch seconds.
    pub iat: i64,
    /// The moment from which it is invalid, epoch seconds.
    pub exp: i64,
}

impl RefreshClaims {
    /// Whether its time is over (RFC 7519 section 4.1.4).
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        now.timestamp() >= self.exp
    }
}

/// The `jti` of a refresh token: `<session id>.<rotation>`.
///
/// Unique for each token as RFC 7519 section 4.1.7 asks, and any one ever issued, or found in a log, still leads to
/// its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RefreshTokenId {
    /// The session: the lineage of the token.
    pub session_id: SessionId,
    /// Which token of the lineage.
    pub rotation: u64,
}

impl fmt::Display for RefreshTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.session_id, self.rotation)
    }
}

impl FromStr for RefreshTokenId {
    type Err = MalformedId;

    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let (session_id, rotation) = text.split_once('.').ok_or(MalformedId)?;
        let id = Self {
            session_id: session_id.parse()?,
            rotation: rotation.parse().map_err(|_| MalformedId)?,
        };
        // One id, one spelling: "+1" and "01" are numbers too.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(MalformedId)
        }
    }
}

impl TryFrom<String> for RefreshTokenId {
    type Error = MalformedId;

    fn try_from(text: String) -> Result<Self, MalformedId> {
        text.parse()
    }
}

impl From<RefreshTokenId> for String {
    fn from(id: RefreshTokenId) -> String {
        id.to_string()
    }
}

/// Why a token was refused, or could not be made. For logs: a client only learns that its token is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT with the claims that we write, or it has a critical extension.
    #[error("malformed")]
    Malformed,
    /// It is of another kind (`typ`).
    #[error("another type of token")]
    WrongType,
    /// It was signed with another algorithm, `none` included.
    #[error("another algorithm")]
    WrongAlgorithm,
    /// It names a key that we do not have, or none.
    #[error("unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("bad signature")]
    BadSignature,
    /// It was issued by somebody else.
    #[error("another issuer")]
    WrongIssuer,
    /// It is for somebody else.
    #[error("another audience")]
    WrongAudience,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// A token could not be written. No token that a client sends has this error.
    #[error("a token could not be signed")]
    SigningFailed,
}

/// A pair of tokens for a session, and how long each is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedTokens {
    /// For the API.
    pub access_token: Token,
    /// How long it is valid, whole seconds.
    pub expires_in: TimeDelta,
    /// For the next refresh.
    pub refresh_token: Token,
    /// How long it is valid, whole seconds.
    pub refresh_expires_in: TimeDelta,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::{noon, session};

    #[test]
    fn an_algorithm_has_the_name_of_its_rfc() {
        for (name, algorithm) in [
            ("EdDSA", TokenAlgorithm::EdDsa),
            ("RS256", TokenAlgorithm::Rs256),
        ] {
            assert_eq!(algorithm.as_str(), name);
            assert_eq!(name.parse(), Ok(algorithm));
        }
        for text in ["", "eddsa", "HS256", "none"] {
            let parsed: Result<TokenAlgorithm, _> = text.parse();
            assert_eq!(parsed, Err(UnknownAlgorithm), "{text}");
        }
    }

    #[test]
    fn a_refresh_token_id_has_one_spelling() {
        let session = session(1, noon());
        let id = format!("{}.17", session.id);
        assert_eq!(id.parse::<RefreshTokenId>().unwrap().to_string(), id);
        for text in [
            "",
            ".",
            "x.1",
            &format!("{}.+1", session.id),
            &format!("{}.01", session.id),
            &format!("{}.", session.id),
            &format!("{}.18446744073709551616", session.id),
        ] {
            assert_eq!(text.parse::<RefreshTokenId>(), Err(MalformedId), "{text}");
        }
    }
}
