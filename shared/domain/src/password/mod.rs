//! Passwords: what a new one must be, and how one is kept.
//!
//! The rules for a new password are those of NIST SP 800-63B-4 (3.1.1.2) and OWASP ASVS 5.0 (6.2): a
//! minimum length, a generous maximum, a list of the most common passwords, nothing that follows from
//! the account itself, and no rules about kinds of characters. What is kept is an Argon2id hash with
//! the parameters of the OWASP Password Storage Cheat Sheet, as a PHC string.
//!
//! Hashes that other systems have made are verified too, until a successful sign-in replaces them: Argon2
//! with any parameters here, bcrypt, PBKDF2 and scrypt in [`imported`].
//!
//! Nothing here makes randomness or keeps memory: the caller hands in the salt and the [`WorkingMemory`].
//! Hashing and verifying take some milliseconds of CPU and 19 MiB, so they belong on a thread that may block.

mod argon2;
mod imported;
mod policy;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use icu_normalizer::ComposingNormalizerBorrowed;
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use zeroize::Zeroizing;

pub use self::argon2::{
    ITERATIONS, MEMORY_KIB, PARALLELISM, WorkingMemory, decoy, hash, needs_upgrade,
};
pub use self::policy::{
    MAX_CODE_POINTS, MIN_CODE_POINTS, PasswordPolicy, WeakPassword, check_policy,
};

use self::argon2::StoredHash;
use self::imported::ImportedHash;

/// Composes what a keyboard may send as letter and mark (RFC 8265, `OpaqueString`).
const NFC: ComposingNormalizerBorrowed<'static> = ComposingNormalizerBorrowed::new_nfc();

/// A password in plain text, as short-lived as possible.
///
/// It is normalized to NFC when made (RFC 8265, `OpaqueString`), so that a keyboard that composes `é`
/// and one that sends `e` and an accent type the same password. It is wiped from memory on drop, its
/// `Debug` hides it, and it can be neither displayed nor serialized.
pub struct Password {
    normalized: Zeroizing<String>,
    /// As it was typed, if that differs: what another system may have hashed.
    typed: Option<Zeroizing<String>>,
}

impl Password {
    /// Takes a password as it was typed. Nothing but the normalization is done to it: no trimming,
    /// no cutting. Any text will do; [`check_policy`] says whether it may become an account's.
    #[must_use]
    pub fn new(typed: String) -> Self {
        let typed = Zeroizing::new(typed);
        if NFC.is_normalized(&typed) {
            return Self {
                normalized: typed,
                typed: None,
            };
        }
        let mut normalized = Zeroizing::new(String::with_capacity(typed.len().saturating_mul(3)));
        // Room for the worst growth of NFC (threefold), so that no copy is left behind by a move. A String refuses nothing.
        let _ = NFC.normalize_to(&typed, &mut *normalized);
        let differs = *normalized != *typed;
        Self {
            normalized,
            typed: differs.then_some(typed),
        }
    }

    /// Says whether two passwords are the same, in a time that depends on their lengths alone.
    ///
    /// A new password that equals the one it replaces changes nothing (`password_unchanged`).
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        verify_slices_are_equal(self.normalized.as_bytes(), other.normalized.as_bytes()).is_ok()
    }

    fn code_points(&self) -> usize {
        self.normalized.chars().count()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// The hash of a password, as a PHC string: `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.
///
/// It says nothing about its own validity: [`verify`] does. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes a PHC string as it was stored, unread.
    #[must_use]
    pub fn from_phc(phc: String) -> Self {
        Self(phc)
    }

    /// The PHC string to store.
    #[must_use]
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

/// Why a hash could not be made or read. All are failures of the service, not of the person signing
/// in, and none tells anything about the password or the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordHashError {
    /// The stored text is not complete, or in none of the forms that are read.
    #[error("the stored password hash is malformed")]
    Malformed,
    /// The stored text asks for another algorithm, or for more work than a sign-in may take.
    #[error("the stored password hash asks for an algorithm or parameters that are not supported")]
    Unsupported,
    /// The memory for one hash could not be had.
    #[error("not enough memory to hash a password")]
    OutOfMemory,
    /// Argon2 refused today's parameters: a mistake in this code.
    #[error("a password could not be hashed")]
    Internal,
}

/// Says whether a password is the one that was hashed, in a time that does not depend on the answer.
///
/// Any text may be tried, whatever today's policy says of it; a very long one costs microseconds more.
///
/// A hash may come from a system that did not normalize, so a password that was not typed in NFC counts as
/// it was typed, too.
///
/// # Errors
///
/// [`PasswordHashError::Malformed`] or [`PasswordHashError::Unsupported`] when the stored hash is
/// broken data, [`PasswordHashError::OutOfMemory`].
pub fn verify(
    password: &Password,
    hash: &PasswordHash,
    memory: &mut WorkingMemory,
) -> Result<bool, PasswordHashError> {
    if let Some(imported) = ImportedHash::read(&hash.0) {
        let imported = imported?;
        return in_either_form(password, |form| imported.matches(form));
    }
    let stored = StoredHash::read(hash)?;
    in_either_form(password, |form| stored.matches(form, memory))
}

/// Tries a password normalized, then as it was typed, if that is something else.
fn in_either_form(
    password: &Password,
    mut matches: impl FnMut(&str) -> Result<bool, PasswordHashError>,
) -> Result<bool, PasswordHashError> {
    if matches(&password.normalized)? {
        return Ok(true);
    }
    password
        .typed
        .as_ref()
        .map_or(Ok(false), |form| matches(form))
}

/// The cause is left out on purpose: nothing about a password or a hash may travel in an error.
fn internal<E>(_cause: E) -> PasswordHashError {
    PasswordHashError::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[test]
    fn debug_output_never_shows_a_secret() {
        let secret = password("plumbago-teapot");
        assert_eq!(format!("{secret:?}"), "Password([redacted])");
        let hash = PasswordHash::from_phc("$argon2id$secret".to_owned());
        assert_eq!(format!("{hash:?}"), "PasswordHash([redacted])");
    }

    #[test]
    fn a_password_equals_itself_in_either_form_and_no_other() {
        let composed = password("cr\u{E8}me-br\u{FB}l\u{E9}e");
        assert!(composed.equals(&password("cre\u{300}me-bru\u{302}le\u{301}e")));
        assert!(!composed.equals(&password("creme-brulee")));
        assert!(!composed.equals(&password("")));
    }

    #[test]
    fn a_password_is_read_from_json_and_normalized() {
        let read: Password = serde_json::from_str("\"cre\\u0300me\"").unwrap();
        assert_eq!(read.normalized.as_str(), "cr\u{E8}me");
        assert!(serde_json::from_str::<Password>("12345678").is_err());
    }
}
