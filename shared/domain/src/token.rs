//! Access and refresh tokens: what they say, how they are signed, when they are believed.
//!
//! An **access token** is a profile of RFC 9068: a JWT of type `at+jwt`, signed with Ed25519, so that anyone can
//! verify it with the published key. A **refresh token** is a JWT of type `rt+jwt`, authenticated with HMAC: only
//! this service can make or verify one. Kind, algorithm and key each belong to one kind alone, so one can
//! never pass as the other (RFC 8725 sections 3.1, 3.11).
//!
//! All keys are derived from one secret (HKDF, RFC 5869), a label for each purpose. A refresh token is a function of
//! its session's item, so it can be made again and is stored nowhere.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::whole_seconds;
use crate::id::{MalformedId, SessionId, UserId};
use crate::policy::SessionPolicy;
use crate::random::RandomSource;
use crate::session::Session;

/// The `typ` of an access token (RFC 9068 section 2.1).
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";
/// The `typ` of a refresh token.
pub const REFRESH_TOKEN_TYPE: &str = "rt+jwt";
/// What every access token allows: the use of one's own account and sessions.
pub const OWN_ACCOUNT_SCOPE: &str = "account";
/// The shortest secret that keys are derived from, in bytes: as many as the keys have.
pub const MIN_SECRET_BYTES: usize = 32;

/// No token of ours is longer, by far; anything longer is refused unread. In bytes.
const MAX_TOKEN_BYTES: usize = 4096;
/// Nearly all of ours are shorter.
const TYPICAL_TOKEN_BYTES: usize = 768;

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

/// A secret from which keys are derived.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<Vec<u8>>);

/// The secret is shorter than [`MIN_SECRET_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token secret has at least {MIN_SECRET_BYTES} bytes")]
pub struct SecretTooShort;

impl TokenSecret {
    /// Takes the bytes of a secret.
    ///
    /// # Errors
    /// [`SecretTooShort`] below [`MIN_SECRET_BYTES`].
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, SecretTooShort> {
        let bytes = Zeroizing::new(bytes.into());
        if bytes.len() < MIN_SECRET_BYTES {
            return Err(SecretTooShort);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(redacted)")
    }
}

/// Who issues tokens, for whom, and which client gets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenIdentity {
    /// `iss`: an https URL of the service.
    pub issuer: String,
    /// `aud` of access tokens: the API that they are for.
    pub audience: String,
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
    /// From when on it is worthless, epoch seconds.
    pub exp: i64,
    /// When the user signed in, epoch seconds.
    pub auth_time: i64,
    /// What it allows, words divided by spaces.
    pub scope: String,
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
    /// From when on it is worthless, epoch seconds.
    pub exp: i64,
}

impl RefreshClaims {
    /// Whether it is worthless now (RFC 7519 section 4.1.4).
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

/// Why a token is not believed. For logs; a client is only told that it is not valid.
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
    /// Its signature is not good.
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
}

/// A pair of tokens for a session, and how long each is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedTokens {
    /// For the API.
    pub access_token: Token,
    /// How long it is good for, whole seconds.
    pub expires_in: TimeDelta,
    /// For the next refresh.
    pub refresh_token: Token,
    /// How long it is good for, whole seconds.
    pub refresh_expires_in: TimeDelta,
}

/// The keys that belong to one secret.
struct KeySet {
    access: KeyPair,
    refresh: KeyPair,
    public: Jwk,
}

struct KeyPair {
    kid: String,
    /// The header of every token that it signs, encoded, with the dot behind it.
    header: String,
    sign: SigningKey,
    verify: DecodingKey,
}

/// A key that signs, as the cryptographic library wants it. `jsonwebtoken` takes the bytes and makes this of them for each
/// token, which for Ed25519 costs nearly as much as the signature.
enum SigningKey {
    Ed25519(Ed25519KeyPair),
    HmacSha256(Box<hmac::Key>),
}

impl SigningKey {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDSA,
            Self::HmacSha256(_) => Algorithm::HS256,
        }
    }
}

impl KeyPair {
    fn new(
        typ: &str,
        kid: String,
        sign: SigningKey,
        verify: DecodingKey,
    ) -> Result<Self, KeyDerivationFailed> {
        let mut header = Header::new(sign.algorithm());
        header.typ = Some(typ.to_owned());
        header.kid = Some(kid.clone());
        let header = serde_json::to_vec(&header).map_err(|_| KeyDerivationFailed)?;
        let mut header = URL_SAFE_NO_PAD.encode(header);
        header.push('.');
        Ok(Self {
            kid,
            header,
            sign,
            verify,
        })
    }

    /// A token in the compact form of RFC 7515 section 7.1.
    fn sign<C: Serialize>(&self, claims: &C) -> Result<Token, TokenError> {
        let claims = serde_json::to_vec(claims).map_err(|_| TokenError::Malformed)?;
        let mut token = String::with_capacity(TYPICAL_TOKEN_BYTES);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        match &self.sign {
            SigningKey::Ed25519(pair) => {
                let signature = pair.sign(token.as_bytes());
                token.push('.');
                URL_SAFE_NO_PAD.encode_string(signature, &mut token);
            }
            SigningKey::HmacSha256(key) => {
                let signature = hmac::sign(key, token.as_bytes());
                token.push('.');
                URL_SAFE_NO_PAD.encode_string(signature, &mut token);
            }
        }
        Ok(Token(token))
    }
}

/// The keys could not be derived. Happens at start-up or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing keys could not be derived from the secret")]
pub struct KeyDerivationFailed;

/// Issues tokens, and tells whether one is to be believed.
#[derive(Clone)]
pub struct Tokens(Arc<Inner>);

struct Inner {
    identity: TokenIdentity,
    signing: KeySet,
    others: Vec<KeySet>,
    access_validation: Validation,
    refresh_validation: Validation,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("identity", &self.0.identity)
            .field("access_kid", &self.0.signing.access.kid)
            .finish_non_exhaustive()
    }
}

/// Length of every derived key, in bytes: an Ed25519 seed (RFC 8032) and an HS256 key (RFC 7518 section 3.2).
const KEY_BYTES: usize = 32;

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn derive(
    secret: &TokenSecret,
    label: &str,
) -> Result<Zeroizing<[u8; KEY_BYTES]>, KeyDerivationFailed> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    Salt::new(HKDF_SHA256, b"latchkey")
        .extract(&secret.0)
        .expand(&[label.as_bytes()], KeyLength)
        .and_then(|okm| okm.fill(key.as_mut()))
        .map_err(|_| KeyDerivationFailed)?;
    Ok(key)
}

impl KeySet {
    fn derive(secret: &TokenSecret) -> Result<Self, KeyDerivationFailed> {
        let seed = derive(secret, "access token: Ed25519 seed")?;
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| KeyDerivationFailed)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyDerivationFailed)?;
        let encoding_key = EncodingKey::from_ed_der(pkcs8.as_ref());
        let mut public = Jwk::from_encoding_key(&encoding_key, Algorithm::EdDSA)
            .map_err(|_| KeyDerivationFailed)?;
        let kid = public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|_| KeyDerivationFailed)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let verify = DecodingKey::from_jwk(&public).map_err(|_| KeyDerivationFailed)?;

        let secret_key = derive(secret, "refresh token: HS256 key")?;
        let name = derive(secret, "refresh token: key id")?;
        let name = name
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            access: KeyPair::new(ACCESS_TOKEN_TYPE, kid, SigningKey::Ed25519(pair), verify)?,
            refresh: KeyPair::new(
                REFRESH_TOKEN_TYPE,
                name,
                SigningKey::HmacSha256(Box::new(hmac::Key::new(
                    hmac::HMAC_SHA256,
                    secret_key.as_ref(),
                ))),
                DecodingKey::from_secret(secret_key.as_ref()),
            )?,
            public,
        })
    }
}

impl Tokens {
    /// Derives the keys. `current` signs; what `previous` signed is still believed.
    ///
    /// # Errors
    /// [`KeyDerivationFailed`], which does not depend on the secret's value.
    pub fn new(
        identity: TokenIdentity,
        current: &TokenSecret,
        previous: Option<&TokenSecret>,
    ) -> Result<Self, KeyDerivationFailed> {
        Self::signing_with(identity, current, previous)
    }

    /// Derives the keys. `signing` signs; what the `others` sign is believed, and their keys are published.
    ///
    /// # Errors
    /// [`KeyDerivationFailed`], which does not depend on a secret's value.
    pub fn signing_with<'a>(
        identity: TokenIdentity,
        signing: &TokenSecret,
        others: impl IntoIterator<Item = &'a TokenSecret>,
    ) -> Result<Self, KeyDerivationFailed> {
        Ok(Self(Arc::new(Inner {
            access_validation: validation(Algorithm::EdDSA, &identity.issuer, &identity.audience),
            refresh_validation: validation(Algorithm::HS256, &identity.issuer, &identity.issuer),
            signing: KeySet::derive(signing)?,
            others: others
                .into_iter()
                .map(KeySet::derive)
                .collect::<Result<_, _>>()?,
            identity,
        })))
    }

    /// The public keys, as `/.well-known/jwks.json` gives them (RFC 7517, RFC 8037).
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        let keys = self.key_sets().map(|keys| keys.public.clone()).collect();
        JwkSet { keys }
    }

    /// Names the key that signs access tokens, as the published keys do.
    #[must_use]
    pub fn signing_key_id(&self) -> &str {
        &self.0.signing.access.kid
    }

    /// Issues the tokens of a session as it is now: a new access token, and *the* refresh token of its rotation,
    /// the same each time.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] if signing fails, which the keys made at start-up rule out.
    pub fn issue(
        &self,
        session: &Session,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
        random: &dyn RandomSource,
    ) -> Result<IssuedTokens, TokenError> {
        let inner = &self.0;
        let now = whole_seconds(now);
        let access_expiry =
            whole_seconds(now + policy.access_token_lifetime).min(session.expires_at());
        let access = AccessClaims {
            iss: inner.identity.issuer.clone(),
            aud: inner.identity.audience.clone(),
            client_id: inner.identity.client_id.clone(),
            sub: session.user_id,
            sid: session.id,
            jti: SessionId::random(random).to_string(),
            iat: now.timestamp(),
            exp: access_expiry.timestamp(),
            auth_time: session.created_at.timestamp(),
            scope: OWN_ACCOUNT_SCOPE.to_owned(),
        };
        let refresh = self.refresh_claims(session);
        Ok(IssuedTokens {
            access_token: inner.signing.access.sign(&access)?,
            expires_in: access_expiry - now,
            refresh_token: inner.signing.refresh.sign(&refresh)?,
            refresh_expires_in: session.expires_at() - now,
        })
    }

    /// The claims of the one refresh token that belongs to the session's rotation.
    fn refresh_claims(&self, session: &Session) -> RefreshClaims {
        RefreshClaims {
            iss: self.0.identity.issuer.clone(),
            aud: self.0.identity.issuer.clone(),
            sub: session.user_id,
            sid: session.id,
            jti: RefreshTokenId {
                session_id: session.id,
                rotation: session.rotation,
            },
            iat: session.rotated_at.timestamp(),
            exp: session.expires_at().timestamp(),
        }
    }

    /// Checks an access token: type, algorithm, key, signature, issuer, audience, and that `now` is before `exp`.
    ///
    /// # Errors
    /// The first thing about it that is not right.
    pub fn verify_access(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        let claims: AccessClaims = self.verify(
            token,
            ACCESS_TOKEN_TYPE,
            &self.0.access_validation,
            |keys| &keys.access,
        )?;
        if now.timestamp() >= claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    /// Checks a refresh token as [`Tokens::verify_access`] does.
    ///
    /// # Errors
    /// The first thing about it that is not right.
    pub fn verify_refresh(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<RefreshClaims, TokenError> {
        let claims = self.verify_refresh_of_any_age(token)?;
        if claims.has_expired(now) {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    /// Checks everything about a refresh token but its expiry: enough to end its session (RFC 7009), and to notice
    /// that a replaced one has come back.
    ///
    /// # Errors
    /// The first thing about it that is not right.
    pub fn verify_refresh_of_any_age(&self, token: &Token) -> Result<RefreshClaims, TokenError> {
        let claims: RefreshClaims = self.verify(
            token,
            REFRESH_TOKEN_TYPE,
            &self.0.refresh_validation,
            |keys| &keys.refresh,
        )?;
        if claims.jti.session_id != claims.sid {
            return Err(TokenError::Malformed);
        }
        Ok(claims)
    }

    fn key_sets(&self) -> impl Iterator<Item = &KeySet> {
        std::iter::once(&self.0.signing).chain(&self.0.others)
    }

    /// The key that a token's header names, if the header is one of a token of this type.
    fn key_named_in<'a>(
        &'a self,
        token: &Token,
        typ: &str,
        key_of: impl Fn(&'a KeySet) -> &'a KeyPair,
    ) -> Result<&'a KeyPair, TokenError> {
        let header = jsonwebtoken::decode_header(&token.0).map_err(|error| refusal(&error))?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed); // RFC 7515 section 4.1.11
        }
        if header.typ.as_deref() != Some(typ) {
            return Err(TokenError::WrongType);
        }
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        self.key_sets()
            .map(key_of)
            .find(|key| key.kid == kid)
            .ok_or(TokenError::UnknownKey)
    }

    fn verify<C: DeserializeOwned>(
        &self,
        token: &Token,
        typ: &str,
        validation: &Validation,
        key_of: impl Fn(&KeySet) -> &KeyPair,
    ) -> Result<C, TokenError> {
        if token.0.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let mut keys = self.key_sets().map(&key_of);
        // Its header is, byte for byte, the one that we write for this kind and key; or it must be read.
        let key = match keys.find(|key| token.0.starts_with(&key.header)) {
            Some(key) => key,
            None => self.key_named_in(token, typ, key_of)?,
        };
        jsonwebtoken::decode(&token.0, &key.verify, validation)
            .map(|data| data.claims)
            .map_err(|error| refusal(&error))
    }
}

fn validation(algorithm: Algorithm, issuer: &str, audience: &str) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    // The library reads the system's clock; ours is passed in, and stricter: over *at* `exp` (RFC 7519 section 4.1.4).
    validation.validate_exp = false;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    validation
}

fn refusal(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    // The library's list of kinds is open; what it adds is a malformed token to us.
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::WrongAlgorithm,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;
    use crate::session::tests::{noon, session};

    fn identity() -> TokenIdentity {
        TokenIdentity {
            issuer: "https://id.example.com".to_owned(),
            audience: "latchkey".to_owned(),
            client_id: "latchkey-app".to_owned(),
        }
    }

    fn secret(byte: u8) -> TokenSecret {
        TokenSecret::new(vec![byte; 32]).unwrap()
    }

    fn tokens(current: u8, previous: Option<u8>) -> Tokens {
        Tokens::new(identity(), &secret(current), previous.map(secret).as_ref()).unwrap()
    }

    fn issue(tokens: &Tokens, session: &Session, now: DateTime<Utc>) -> IssuedTokens {
        tokens
            .issue(
                session,
                now,
                &SessionPolicy::default(),
                &SeededRandom::new(7),
            )
            .unwrap()
    }

    fn ed25519() -> Ed25519KeyPair {
        let seed = derive(&secret(1), "access token: Ed25519 seed").unwrap();
        Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap()
    }

    fn ed25519_encoding_key() -> EncodingKey {
        EncodingKey::from_ed_der(ed25519().to_pkcs8v1().unwrap().as_ref())
    }

    fn forged(
        typ: &str,
        algorithm: Algorithm,
        kid: &str,
        key: &EncodingKey,
        claims: &impl Serialize,
    ) -> Token {
        let mut header = Header::new(algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(kid.to_owned());
        Token(jsonwebtoken::encode(&header, claims, key).unwrap())
    }

    #[test]
    fn a_token_is_what_the_library_would_make_of_its_claims() {
        let tokens = tokens(1, None);
        let issued = issue(&tokens, &session(1, noon()), noon());
        let keys = &tokens.0.signing;
        let access = tokens.verify_access(&issued.access_token, noon()).unwrap();
        let by_library = forged(
            ACCESS_TOKEN_TYPE,
            Algorithm::EdDSA,
            &keys.access.kid,
            &ed25519_encoding_key(),
            &access,
        );
        assert_eq!(issued.access_token.expose(), by_library.expose());
        let refresh = tokens
            .verify_refresh(&issued.refresh_token, noon())
            .unwrap();
        let secret_key = derive(&secret(1), "refresh token: HS256 key").unwrap();
        let by_library = forged(
            REFRESH_TOKEN_TYPE,
            Algorithm::HS256,
            &keys.refresh.kid,
            &EncodingKey::from_secret(secret_key.as_ref()),
            &refresh,
        );
        assert_eq!(issued.refresh_token.expose(), by_library.expose());
    }

    #[test]
    fn a_header_in_another_spelling_names_its_key_too() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let header = format!(
            r#"{{"kid":"{}","alg":"HS256","typ":"{REFRESH_TOKEN_TYPE}"}}"#,
            tokens.0.signing.refresh.kid
        );
        let claims = serde_json::to_vec(&tokens.refresh_claims(&session)).unwrap();
        let mut text = [header.into_bytes(), claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let secret_key = derive(&secret(1), "refresh token: HS256 key").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key.as_ref());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
        text.push('.');
        text.push_str(&signature);
        assert!(tokens.verify_refresh(&Token(text), noon()).is_ok());
    }

    #[test]
    fn a_token_says_what_its_session_is() {
        let tokens = tokens(1, None);
        let mut session = session(1, noon());
        session.rotation = 3;
        let issued = issue(&tokens, &session, noon());
        let access = tokens.verify_access(&issued.access_token, noon()).unwrap();
        assert_eq!((access.sub, access.sid), (session.user_id, session.id));
        assert_eq!(access.exp - access.iat, 900);
        assert_eq!(issued.expires_in, TimeDelta::seconds(900));
        let refresh = tokens
            .verify_refresh(&issued.refresh_token, noon())
            .unwrap();
        assert_eq!(refresh.jti.to_string(), format!("{}.3", session.id));
        assert_eq!(refresh.exp, session.expires_at().timestamp());
    }

    #[test]
    fn the_refresh_token_of_a_rotation_is_always_the_same() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let first = issue(&tokens, &session, noon());
        let again = issue(&tokens, &session, noon() + TimeDelta::seconds(20));
        assert_eq!(first.refresh_token, again.refresh_token);
        assert_ne!(first.access_token, again.access_token);
    }

    #[test]
    fn a_token_is_over_at_its_expiry_to_the_millisecond() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let issued = issue(&tokens, &session, noon());
        let millisecond = TimeDelta::milliseconds(1);
        let end = session.expires_at();
        assert!(
            tokens
                .verify_refresh(&issued.refresh_token, end - millisecond)
                .is_ok()
        );
        assert_eq!(
            tokens.verify_refresh(&issued.refresh_token, end),
            Err(TokenError::Expired)
        );
        assert!(
            tokens
                .verify_refresh_of_any_age(&issued.refresh_token)
                .is_ok()
        );
        let end = whole_seconds(noon()) + TimeDelta::seconds(900);
        assert!(
            tokens
                .verify_access(&issued.access_token, end - millisecond)
                .is_ok()
        );
        assert_eq!(
            tokens.verify_access(&issued.access_token, end),
            Err(TokenError::Expired)
        );
    }

    #[test]
    fn an_access_token_never_outlives_its_session() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let late = session.expires_at() - TimeDelta::seconds(10);
        let issued = issue(&tokens, &session, late);
        assert_eq!(issued.expires_in, TimeDelta::seconds(10));
        assert_eq!(
            tokens.verify_access(&issued.access_token, session.expires_at()),
            Err(TokenError::Expired)
        );
    }

    #[test]
    fn one_kind_of_token_never_passes_as_the_other() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let issued = issue(&tokens, &session, noon());
        assert_eq!(
            tokens.verify_access(&issued.refresh_token, noon()),
            Err(TokenError::WrongType)
        );
        assert_eq!(
            tokens.verify_refresh(&issued.access_token, noon()),
            Err(TokenError::WrongType)
        );
        // With the type forged, key and algorithm still differ.
        let keys = &tokens.0.signing;
        let claims = tokens.refresh_claims(&session);
        let forgery = |kid: &str| {
            let key = ed25519_encoding_key();
            forged(REFRESH_TOKEN_TYPE, Algorithm::EdDSA, kid, &key, &claims)
        };
        assert_eq!(
            tokens.verify_refresh(&forgery(&keys.access.kid), noon()),
            Err(TokenError::UnknownKey)
        );
        let forgery = forgery(&keys.refresh.kid);
        assert_eq!(
            tokens.verify_refresh(&forgery, noon()),
            Err(TokenError::WrongAlgorithm)
        );
    }

    #[test]
    fn the_public_key_cannot_be_used_as_an_hmac_secret() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let issued = issue(&tokens, &session, noon());
        let claims = tokens.verify_access(&issued.access_token, noon()).unwrap();
        let public = tokens.0.signing.access.verify.try_get_as_bytes().unwrap();
        let forgery = forged(
            ACCESS_TOKEN_TYPE,
            Algorithm::HS256,
            &tokens.0.signing.access.kid,
            &EncodingKey::from_secret(public),
            &claims,
        );
        assert_eq!(
            tokens.verify_access(&forgery, noon()),
            Err(TokenError::WrongAlgorithm)
        );
    }

    #[test]
    fn tokens_of_another_issuer_audience_or_secret_are_refused() {
        let ours = tokens(1, None);
        let session = session(1, noon());
        let theirs = issue(&tokens(2, None), &session, noon());
        assert_eq!(
            ours.verify_access(&theirs.access_token, noon()),
            Err(TokenError::UnknownKey)
        );
        assert_eq!(
            ours.verify_refresh(&theirs.refresh_token, noon()),
            Err(TokenError::UnknownKey)
        );
        let mut elsewhere = identity();
        elsewhere.audience = "another".to_owned();
        let theirs = Tokens::new(elsewhere, &secret(1), None).unwrap();
        let theirs = issue(&theirs, &session, noon());
        assert_eq!(
            ours.verify_access(&theirs.access_token, noon()),
            Err(TokenError::WrongAudience)
        );
        let mut elsewhere = identity();
        elsewhere.issuer = "https://evil.example.com".to_owned();
        let theirs = issue(
            &Tokens::new(elsewhere, &secret(1), None).unwrap(),
            &session,
            noon(),
        );
        assert_eq!(
            ours.verify_access(&theirs.access_token, noon()),
            Err(TokenError::WrongIssuer)
        );
    }

    #[test]
    fn a_changed_token_is_refused() {
        let tokens = tokens(1, None);
        let issued = issue(&tokens, &session(1, noon()), noon());
        let text = issued.refresh_token.expose();
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = Token::new(String::from_utf8(bytes).unwrap());
            assert!(
                tokens.verify_refresh(&changed, noon()).is_err(),
                "position {position}"
            );
        }
    }

    #[test]
    fn what_the_previous_secret_signed_is_still_believed_and_published() {
        let session = session(1, noon());
        let old = issue(&tokens(1, None), &session, noon());
        let rotated = tokens(2, Some(1));
        assert!(rotated.verify_access(&old.access_token, noon()).is_ok());
        assert!(rotated.verify_refresh(&old.refresh_token, noon()).is_ok());
        assert_eq!(rotated.jwks().keys.len(), 2);
        let new = issue(&rotated, &session, noon());
        assert_eq!(
            tokens(1, None).verify_access(&new.access_token, noon()),
            Err(TokenError::UnknownKey)
        );
    }

    #[test]
    fn every_instance_derives_the_same_keys_from_a_secret() {
        assert_eq!(
            tokens(1, None).0.signing.access.kid,
            "hlLUWXSleyYsA967l4hJ9UxvS5xaoLUD6zt3VG6eKyE"
        );
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

    #[test]
    fn nothing_secret_is_in_debug_output() {
        let tokens = tokens(0x41, None);
        let issued = issue(&tokens, &session(1, noon()), noon());
        let shown = format!("{:?} {:?} {issued:?}", secret(0x41), tokens);
        assert!(
            !shown.contains("AAAA") && !shown.contains("eyJ") && !shown.contains("65, 65"),
            "{shown}"
        );
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(TokenSecret::new(vec![0; 31]).is_err());
        assert!(TokenSecret::new(vec![0; 32]).is_ok());
    }
}
