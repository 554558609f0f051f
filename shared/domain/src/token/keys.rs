//! The keys: derived from a secret, one pair for each kind of token.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{ACCESS_TOKEN_TYPE, REFRESH_TOKEN_TYPE, Token, TokenError};

/// The shortest secret that keys are derived from, in bytes: as many as the keys have.
pub const MIN_SECRET_BYTES: usize = 32;

/// Nearly all of ours are shorter.
const TYPICAL_TOKEN_BYTES: usize = 768;

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

/// The keys that belong to one secret.
pub(super) struct KeySet {
    pub(super) access: KeyPair,
    pub(super) refresh: KeyPair,
    pub(super) public: Jwk,
}

pub(super) struct KeyPair {
    pub(super) kid: String,
    /// The header of every token that it signs, encoded, with the dot behind it.
    pub(super) header: String,
    sign: SigningKey,
    pub(super) verify: DecodingKey,
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
    pub(super) fn sign<C: Serialize>(&self, claims: &C) -> Result<Token, TokenError> {
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
    pub(super) fn derive(secret: &TokenSecret) -> Result<Self, KeyDerivationFailed> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_secret_is_refused() {
        assert!(TokenSecret::new(vec![0; 31]).is_err());
        assert!(TokenSecret::new(vec![0; 32]).is_ok());
    }
}
