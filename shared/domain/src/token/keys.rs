//! The keys: derived from a secret, one pair for each kind of token. An RSA key cannot be derived and is given.
//!
//! We sign ourselves because `jsonwebtoken` 11 parses an `EncodingKey` again for every token, which for Ed25519 costs
//! nearly as much as the signature, and the parsed `Box<dyn JwtSigner>` is not `Send`, so no instance could share it.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{KeyMaterial, Kind, LinkPurpose, Token, TokenError};
use crate::random::RandomSource;

/// The shortest secret that keys are derived from, in bytes: as many as the keys have.
pub const MIN_SECRET_BYTES: usize = 32;

/// Nearly all of ours are shorter.
const TYPICAL_TOKEN_BYTES: usize = 768;

/// A secret from which keys are derived. Secrets are compared with each other, never with what a client sends.
#[derive(Clone, PartialEq, Eq)]
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

    /// Makes a secret: 32 random bytes as text, in hexadecimal.
    #[must_use]
    pub fn generate(random: &dyn RandomSource) -> Self {
        let mut bytes = Zeroizing::new([0; MIN_SECRET_BYTES]);
        random.fill(bytes.as_mut());
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Zeroizing::new(text.into_bytes()))
    }

    /// The bytes, to be stored as a secret, never logged.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(redacted)")
    }
}

/// The keys that belong to one secret.
pub(super) struct KeySet {
    access: Option<AccessKey>,
    refresh: KeyPair,
    links: LinkKeys,
    pub(super) device: DeviceKeys,
}

/// The keys of links, one for each purpose.
struct LinkKeys {
    verify_email: KeyPair,
    reset_password: KeyPair,
    change_email: KeyPair,
}

impl LinkKeys {
    fn derive(secret: &TokenSecret) -> Result<Self, KeyDerivationFailed> {
        let key = |purpose: LinkPurpose| symmetric(secret, Kind::Link(purpose), purpose.label());
        Ok(Self {
            verify_email: key(LinkPurpose::VerifyEmail)?,
            reset_password: key(LinkPurpose::ResetPassword)?,
            change_email: key(LinkPurpose::ChangeEmail)?,
        })
    }

    fn key(&self, purpose: LinkPurpose) -> &KeyPair {
        match purpose {
            LinkPurpose::VerifyEmail => &self.verify_email,
            LinkPurpose::ResetPassword => &self.reset_password,
            LinkPurpose::ChangeEmail => &self.change_email,
        }
    }
}

/// The keys of what outlives rotations: device tokens, and the counters of attempts.
pub(super) struct DeviceKeys {
    pub(super) tokens: KeyPair,
    /// Of the keyed digests under which attempts are counted.
    pub(super) counters: hmac::Key,
}

impl DeviceKeys {
    pub(super) fn derive(secret: &TokenSecret) -> Result<Self, KeyDerivationFailed> {
        let counters = derive(secret, "counters of attempts: HMAC key")?;
        Ok(Self {
            tokens: symmetric(secret, Kind::Device, "device token")?,
            counters: hmac::Key::new(hmac::HMAC_SHA256, counters.as_ref()),
        })
    }
}

struct AccessKey {
    pair: KeyPair,
    public: Jwk,
}

/// Whether the key of access tokens is still of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessTokens {
    /// They are made or accepted.
    InUse,
    /// They are over: an RSA key takes time to read, so it is left.
    Over,
}

impl KeySet {
    /// The key of a kind, unless it is over. Each kind has its own key, so one kind never passes as another.
    pub(super) fn key(&self, kind: Kind) -> Option<&KeyPair> {
        match kind {
            Kind::Access => self.access.as_ref().map(|key| &key.pair),
            Kind::Refresh => Some(&self.refresh),
            Kind::Device => Some(&self.device.tokens),
            Kind::Link(purpose) => Some(self.links.key(purpose)),
        }
    }

    /// The key that verifies access tokens, as it is published.
    pub(super) fn public(&self) -> Option<&Jwk> {
        self.access.as_ref().map(|key| &key.public)
    }
}

pub(super) struct KeyPair {
    pub(super) kid: String,
    /// The one algorithm that this key is used with (RFC 8725 section 3.1).
    pub(super) algorithm: Algorithm,
    /// The header of every token that it signs, encoded, with the dot that follows it.
    header: String,
    sign: SigningKey,
    pub(super) verify: DecodingKey,
}

/// A key that signs, in the form in which the cryptographic library uses it.
enum SigningKey {
    Ed25519(Ed25519KeyPair),
    Rsa(rsa::KeyPair),
    HmacSha256(Box<hmac::Key>),
}

impl SigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        match self {
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                // This padding takes no randomness; the parameter is there for others.
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &SystemRandom::new(),
                    message,
                    &mut signature,
                )
                .map_err(|_| TokenError::SigningFailed)?;
                Ok(signature)
            }
            Self::HmacSha256(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
        }
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDSA,
            Self::Rsa(_) => Algorithm::RS256,
            Self::HmacSha256(_) => Algorithm::HS256,
        }
    }
}

impl KeyPair {
    fn new(
        kind: Kind,
        kid: String,
        sign: SigningKey,
        verify: DecodingKey,
    ) -> Result<Self, KeyDerivationFailed> {
        let algorithm = sign.algorithm();
        let mut header = Header::new(algorithm);
        header.typ = Some(kind.typ().to_owned());
        header.kid = Some(kid.clone());
        let header = serde_json::to_vec(&header).map_err(|_| KeyDerivationFailed)?;
        let mut header = URL_SAFE_NO_PAD.encode(header);
        header.push('.');
        Ok(Self {
            kid,
            algorithm,
            header,
            sign,
            verify,
        })
    }

    /// Signs a token in the compact form of RFC 7515 section 7.1.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`] if the claims cannot be written as JSON.
    pub(super) fn sign<C: Serialize>(&self, claims: &C) -> Result<Token, TokenError> {
        let claims = serde_json::to_vec(claims).map_err(|_| TokenError::SigningFailed)?;
        let mut token = String::with_capacity(TYPICAL_TOKEN_BYTES);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.sign.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Token(token))
    }
}

/// The keys could not be derived. This can only happen at start-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing keys could not be derived from the secret")]
pub struct KeyDerivationFailed;

/// Length of every derived key, in bytes: an Ed25519 seed (RFC 8032) and an HS256 key (RFC 7518 section 3.2).
const KEY_BYTES: usize = 32;

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

pub(super) fn derive(
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
    pub(super) fn derive(
        material: &KeyMaterial,
        access: AccessTokens,
    ) -> Result<Self, KeyDerivationFailed> {
        let access = match (access, &material.rsa) {
            (AccessTokens::Over, _) => None,
            (AccessTokens::InUse, Some(key)) => Some(AccessKey::rsa(key.pair()?)?),
            (AccessTokens::InUse, None) => Some(AccessKey::ed25519(&material.secret)?),
        };
        let secret = &material.secret;
        Ok(Self {
            access,
            refresh: symmetric(secret, Kind::Refresh, "refresh token")?,
            links: LinkKeys::derive(secret)?,
            device: DeviceKeys::derive(secret)?,
        })
    }
}

impl AccessKey {
    fn ed25519(secret: &TokenSecret) -> Result<Self, KeyDerivationFailed> {
        let seed = derive(secret, "access token: Ed25519 seed")?;
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).map_err(|_| KeyDerivationFailed)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyDerivationFailed)?;
        let encoding_key = EncodingKey::from_ed_der(pkcs8.as_ref());
        let public = Jwk::from_encoding_key(&encoding_key, Algorithm::EdDSA);
        Self::new(SigningKey::Ed25519(pair), public)
    }

    fn rsa(pair: rsa::KeyPair) -> Result<Self, KeyDerivationFailed> {
        let public = DecodingKey::from_rsa_der(pair.public_key().as_ref());
        let public = Jwk::from_decoding_key(&public, Some(Algorithm::RS256));
        Self::new(SigningKey::Rsa(pair), public)
    }

    /// Named by its RFC 7638 thumbprint.
    fn new(
        sign: SigningKey,
        public: jsonwebtoken::errors::Result<Jwk>,
    ) -> Result<Self, KeyDerivationFailed> {
        let mut public = public.map_err(|_| KeyDerivationFailed)?;
        let kid = public
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(|_| KeyDerivationFailed)?;
        public.common.key_id = Some(kid.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let verify = DecodingKey::from_jwk(&public).map_err(|_| KeyDerivationFailed)?;
        Ok(Self {
            pair: KeyPair::new(Kind::Access, kid, sign, verify)?,
            public,
        })
    }
}

/// The key of a kind that only this service makes and reads, and its name, derived with labels that begin alike.
fn symmetric(
    secret: &TokenSecret,
    kind: Kind,
    label: &str,
) -> Result<KeyPair, KeyDerivationFailed> {
    let key = derive(secret, &format!("{label}: HS256 key"))?;
    let name = derive(secret, &format!("{label}: key id"))?;
    let name = name
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sign = Box::new(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()));
    KeyPair::new(
        kind,
        name,
        SigningKey::HmacSha256(sign),
        DecodingKey::from_secret(key.as_ref()),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn claims_that_json_cannot_hold_are_not_signed() {
        let secret = TokenSecret::new(vec![1; 32]).unwrap();
        let keys = KeySet::derive(&secret.into(), AccessTokens::InUse).unwrap();
        let claims = std::collections::BTreeMap::from([((), "a name that is no text")]);
        let links = LinkPurpose::ALL.map(Kind::Link);
        for kind in [Kind::Access, Kind::Refresh, Kind::Device]
            .into_iter()
            .chain(links)
        {
            let signed = keys.key(kind).unwrap().sign(&claims);
            assert_eq!(signed, Err(TokenError::SigningFailed));
        }
    }

    #[test]
    fn a_secret_is_stored_as_it_was_given() {
        let bytes: Vec<u8> = (0..32).collect();
        let secret = TokenSecret::new(bytes.as_slice()).unwrap();
        assert_eq!(secret.expose(), bytes);
    }

    #[test]
    fn each_kind_has_its_own_key() {
        let secret = TokenSecret::new(vec![1; 32]).unwrap();
        let keys = KeySet::derive(&secret.into(), AccessTokens::InUse).unwrap();
        let links = LinkPurpose::ALL.map(Kind::Link);
        let kinds = [Kind::Access, Kind::Refresh, Kind::Device];
        let kinds: Vec<Kind> = kinds.into_iter().chain(links).collect();
        let pairs = kinds.iter().map(|kind| keys.key(*kind).unwrap());
        let (names, signatures): (BTreeSet<_>, BTreeSet<_>) = pairs
            .map(|pair| (&pair.kid, pair.sign.sign(b"the same message").unwrap()))
            .unzip();
        assert_eq!([names.len(), signatures.len()], [kinds.len(); 2]);
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(TokenSecret::new(vec![0; 31]).is_err());
        assert!(TokenSecret::new(vec![0; 32]).is_ok());
    }
}
