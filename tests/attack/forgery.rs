//! Tokens that nobody issued: signed with the service's own keys over any header and claims, or put together by hand.
//!
//! The keys are derived here once more, by the labels that `latchkey_domain::token` has. Whoever signs with them has
//! stolen the secret; tests use them to get past the signature, to what is checked behind it.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::stack::SECRET;

/// Which kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ed25519, for the API.
    Access,
    /// HMAC, for a refresh.
    Refresh,
}

/// The keys of tests.
#[derive(Debug)]
pub struct Forger {
    ed25519: Ed25519KeyPair,
    hmac: [u8; 32],
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

fn derive(label: &str) -> [u8; 32] {
    derive_from(SECRET, label)
}

/// The key that a label gives with a secret.
///
/// # Panics
/// Never: 32 bytes can be had.
#[must_use]
pub fn derive_from(secret: &[u8], label: &str) -> [u8; 32] {
    let mut key = [0; 32];
    Salt::new(HKDF_SHA256, b"latchkey")
        .extract(secret)
        .expand(&[label.as_bytes()], Length)
        .and_then(|okm| okm.fill(&mut key))
        .expect("32 bytes can be had");
    key
}

/// A part of a token.
#[must_use]
pub fn part(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A part of a token, read.
///
/// # Panics
/// When it is no JSON in base64url.
#[must_use]
pub fn read_part(token: &str, place: usize) -> Value {
    let text = token.split('.').nth(place).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(text).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

impl Default for Forger {
    fn default() -> Self {
        let seed = derive("access token: Ed25519 seed");
        Self {
            ed25519: Ed25519KeyPair::from_seed_unchecked(&seed).expect("any seed is one"),
            hmac: derive("refresh token: HS256 key"),
        }
    }
}

impl Forger {
    /// The public key of the access tokens.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.ed25519.public_key().as_ref()
    }

    /// The signature of a kind over any text.
    #[must_use]
    pub fn signature(&self, kind: Kind, message: &str) -> Vec<u8> {
        match kind {
            Kind::Access => self.ed25519.sign(message.as_bytes()).as_ref().to_vec(),
            Kind::Refresh => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.hmac);
                hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
        }
    }

    /// A token with a good signature over these bytes.
    #[must_use]
    pub fn sign(&self, kind: Kind, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = part(self.signature(kind, &message));
        format!("{message}.{signature}")
    }
}

/// A token whose signature is an HMAC with any key.
#[must_use]
pub fn sign_with_hmac(
    algorithm: hmac::Algorithm,
    key: &[u8],
    header: impl AsRef<[u8]>,
    claims: impl AsRef<[u8]>,
) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let tag = hmac::sign(&hmac::Key::new(algorithm, key), message.as_bytes());
    format!("{message}.{}", part(tag))
}
