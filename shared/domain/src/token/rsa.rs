//! RSA keys for access tokens. They cannot be derived from a secret, so they are stored with it.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::keys::KeyDerivationFailed;

/// The size of the keys that are made here. Every verifier takes it, a signature costs a third of that of 3072 bits, and
/// a key signs for weeks, not years (NIST SP 800-57 part 1: 112 bits of security, until 2030).
const SIZE: KeySize = KeySize::Rsa2048;

/// An RSA private key of 2048 to 8192 bits, as PKCS#8 (RFC 5208).
#[derive(Clone)]
pub struct RsaPrivateKey(Zeroizing<Vec<u8>>);

/// The text is no RSA private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an RSA key is an unencrypted PKCS#8 private key of 2048 to 8192 bits, in PEM or in base64"
)]
pub struct InvalidRsaKey;

impl RsaPrivateKey {
    /// Makes a key, in some 100 ms. The randomness is that of the cryptographic library, which takes no other.
    ///
    /// # Errors
    /// [`KeyDerivationFailed`] if the library fails.
    pub fn generate() -> Result<Self, KeyDerivationFailed> {
        let pair = KeyPair::generate(SIZE).map_err(|_| KeyDerivationFailed)?;
        let pkcs8 = pair.as_der().map_err(|_| KeyDerivationFailed)?;
        Ok(Self(Zeroizing::new(pkcs8.as_ref().to_vec())))
    }

    /// Reads PKCS#8 in base64 or PEM. Whether the key is one shows when it is used, or by [`RsaPrivateKey::check`]: that
    /// costs time, and not every key that is kept is used.
    ///
    /// # Errors
    /// [`InvalidRsaKey`] if it is not in base64.
    pub fn from_base64(text: &str) -> Result<Self, InvalidRsaKey> {
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        let encoded: Zeroizing<String> = Zeroizing::new(lines.map(str::trim).collect());
        let bytes = STANDARD.decode(encoded.as_bytes());
        Ok(Self(Zeroizing::new(bytes.map_err(|_| InvalidRsaKey)?)))
    }

    /// The key in base64, to be stored as a secret.
    #[must_use]
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }

    /// Whether it can sign.
    ///
    /// # Errors
    /// [`InvalidRsaKey`] if not.
    pub fn check(&self) -> Result<(), InvalidRsaKey> {
        self.pair().map(|_| ()).map_err(|_| InvalidRsaKey)
    }

    pub(super) fn pair(&self) -> Result<KeyPair, KeyDerivationFailed> {
        KeyPair::from_pkcs8(&self.0).map_err(|_| KeyDerivationFailed)
    }
}

impl PartialEq for RsaPrivateKey {
    /// Compares secrets of this service with each other, never with what a client sends.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for RsaPrivateKey {}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaPrivateKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_stored() {
        let key = RsaPrivateKey::generate().unwrap();
        let stored = key.to_base64();
        assert_eq!(RsaPrivateKey::from_base64(&stored).unwrap(), key);
        let (first, second) = stored.split_at(64);
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{first}\n{second}\n-----END PRIVATE KEY-----\n");
        let read = RsaPrivateKey::from_base64(&pem).unwrap();
        assert_eq!(read, key);
        assert_eq!(read.check(), Ok(()));
        assert_ne!(read, RsaPrivateKey::from_base64("AAAA").unwrap());
        assert!(!format!("{key:?}").contains(&stored[..16]));
    }

    #[test]
    fn what_is_no_rsa_key_is_refused() {
        assert!(RsaPrivateKey::from_base64("not base64!").is_err());
        let other = RsaPrivateKey::from_base64("AAAA").unwrap();
        assert_eq!(other.check(), Err(InvalidRsaKey));
    }
}
