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
//! Nothing here makes randomness: the caller hands in the salt. Hashing and verifying take some
//! milliseconds of CPU and 19 MiB, so they belong on a thread that may block.
//!
//! Two crates share the work. `argon2` reads and writes PHC strings and knows their parameters;
//! `argon2-rust` computes, with the widest vector instructions that the processor has, in a third of
//! the time. The tests hold the one against the other.

mod imported;

use std::{cell::RefCell, fmt, sync::LazyLock};

use argon2::{
    Algorithm, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use argon2_rust::params::{Memory, TagLen};
use serde::{Deserialize, Deserializer};
use thiserror::Error;
use unicode_normalization::{UnicodeNormalization, is_nfc};
use zeroize::Zeroizing;

use self::imported::ImportedHash;
use crate::email::EmailAddress;

/// The fewest code points of a new password (OWASP ASVS 5.0, 6.2.1).
pub const MIN_CODE_POINTS: usize = 8;
/// The most code points of a new password. NIST SP 800-63B-4 and ASVS 5.0 (6.2.9) ask for at least 64.
pub const MAX_CODE_POINTS: usize = 128;

/// Memory of one hash, in KiB (OWASP Password Storage Cheat Sheet, Argon2id: 19 MiB, 2, 1).
pub const MEMORY_KIB: u32 = 19_456;
/// Passes over that memory.
pub const ITERATIONS: u32 = 2;
/// Lanes of that memory.
pub const PARALLELISM: u32 = 1;

/// Length of the salt, in bytes (RFC 9106, 3.1).
const SALT_BYTES: usize = 16;
/// Length of the hash itself, in bytes (RFC 9106, 4: a 256-bit tag).
const TAG_BYTES: usize = 32;

// What a stored hash may ask for at most. A damaged item must not make a sign-in take gigabytes or
// minutes; the second recommended option of RFC 9106 (64 MiB, 3 passes, 4 lanes), the 100 MiB and 8
// lanes of Django and the 86 MiB of SuperTokens still fit, so accounts may be brought from elsewhere.
const MAX_STORED_MEMORY_KIB: u32 = 131_072;
const MAX_STORED_ITERATIONS: u32 = 10;
const MAX_STORED_PARALLELISM: u32 = 8;

/// The shortest local part of an e-mail address that a password must not contain, in code points.
/// Shorter ones ("al", "bob") turn up inside good passwords by chance.
const MIN_LOCAL_PART_CODE_POINTS: usize = 4;
/// The longest unit, in code points, whose mere repetition is refused: `aaaaaaaa`, `abcdabcd`.
const MAX_REPEATED_CODE_POINTS: usize = 4;

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
        if is_nfc(&typed) {
            return Self {
                normalized: typed,
                typed: None,
            };
        }
        // Room for the worst growth of NFC (threefold), so that no copy is left behind by a move.
        let mut normalized = Zeroizing::new(String::with_capacity(typed.len().saturating_mul(3)));
        normalized.extend(typed.nfc());
        let differs = *normalized != *typed;
        Self {
            normalized,
            typed: differs.then_some(typed),
        }
    }

    fn code_points(&self) -> usize {
        self.normalized.chars().count()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        *self.normalized == *other.normalized
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

/// Why a password may not become an account's. The messages are for the person who chose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WeakPassword {
    /// Fewer than [`MIN_CODE_POINTS`].
    #[error("The password must have at least {MIN_CODE_POINTS} characters.")]
    TooShort,
    /// More than [`MAX_CODE_POINTS`].
    #[error("The password must have at most {MAX_CODE_POINTS} characters.")]
    TooLong,
    /// One of the most common passwords, or a short piece repeated.
    #[error("The password is too common: it is among the first that are tried.")]
    Common,
    /// Made from the account's e-mail address.
    #[error("The password must not be made from the e-mail address.")]
    ContainsEmail,
}

impl WeakPassword {
    /// The stable name of the reason, for clients.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::Common => "common",
            Self::ContainsEmail => "contains_email",
        }
    }
}

/// Says whether a password may become the password of the account with this e-mail address.
///
/// Length is counted in code points after NFC. Letters of either case are the same for what follows.
/// Common means: in the list of 19,640 (`data/common-passwords.txt`), or nothing but a piece of at
/// most four code points over and over. Made from the e-mail address means: it contains the whole
/// address, or its local part when that has four code points or more; or it is itself a piece of the
/// address (`example.com`).
///
/// It is for new passwords only: a sign-in must accept what an earlier policy allowed.
///
/// # Errors
///
/// [`WeakPassword`] names the first rule that is broken, in the order of its variants.
pub fn check_policy(password: &Password, email: &EmailAddress) -> Result<(), WeakPassword> {
    let length = password.code_points();
    if length < MIN_CODE_POINTS {
        return Err(WeakPassword::TooShort);
    }
    if length > MAX_CODE_POINTS {
        return Err(WeakPassword::TooLong);
    }
    let lower = Zeroizing::new(password.normalized.to_lowercase());
    if is_listed(&lower) || is_repetition(&lower) {
        return Err(WeakPassword::Common);
    }
    if is_made_from(&lower, email.normalized()) {
        return Err(WeakPassword::ContainsEmail);
    }
    Ok(())
}

/// The list, as sorted lines. Splitting it takes a fraction of a millisecond, once, and only where a
/// password is chosen.
static COMMON: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    include_str!("../data/common-passwords.txt")
        .lines()
        .collect()
});

fn is_listed(lower: &str) -> bool {
    COMMON.binary_search(&lower).is_ok()
}

fn is_repetition(lower: &str) -> bool {
    (1..=MAX_REPEATED_CODE_POINTS).any(|unit| {
        lower
            .chars()
            .zip(lower.chars().skip(unit))
            .all(|(a, b)| a == b)
    })
}

fn is_made_from(lower: &str, email: &str) -> bool {
    let local_part = email
        .split_once('@')
        .map_or(email, |(local_part, _)| local_part);
    let telling = local_part.chars().count() >= MIN_LOCAL_PART_CODE_POINTS;
    lower.contains(email) || (telling && lower.contains(local_part)) || email.contains(lower)
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

/// Hashes a password with today's parameters. The salt must be random, and new for each hash.
///
/// # Errors
///
/// [`PasswordHashError::OutOfMemory`], or [`PasswordHashError::Internal`], which a test rules out.
pub fn hash(
    password: &Password,
    salt: [u8; SALT_BYTES],
) -> Result<PasswordHash, PasswordHashError> {
    let params =
        Params::new(MEMORY_KIB, ITERATIONS, PARALLELISM, Some(TAG_BYTES)).map_err(internal)?;
    let phc = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params).map_err(internal)?,
        salt: Some(Salt::new(&salt).map_err(internal)?),
        hash: Some(compute(
            (Algorithm::Argon2id, Version::V0x13, &params),
            &password.normalized,
            &salt,
            TAG_BYTES,
        )?),
    };
    Ok(PasswordHash(phc.to_string()))
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
pub fn verify(password: &Password, hash: &PasswordHash) -> Result<bool, PasswordHashError> {
    if let Some(imported) = ImportedHash::read(&hash.0) {
        let imported = imported?;
        return in_either_form(password, |form| imported.matches(form));
    }
    let stored = StoredHash::read(hash)?;
    let matches = |form: &str| {
        let parameters = (stored.algorithm, stored.version, &stored.params);
        let computed = compute(parameters, form, &stored.salt, stored.tag.len())?;
        // `Output` compares in constant time.
        Ok(computed == stored.tag)
    };
    in_either_form(password, matches)
}

/// Tries a password normalized, then as it was typed, if that is something else.
fn in_either_form(
    password: &Password,
    matches: impl Fn(&str) -> Result<bool, PasswordHashError>,
) -> Result<bool, PasswordHashError> {
    if matches(&password.normalized)? {
        return Ok(true);
    }
    password
        .typed
        .as_ref()
        .map_or(Ok(false), |form| matches(form))
}

/// Says whether a hash differs from what [`hash`] would make today, so that a successful sign-in
/// should replace it.
///
/// Parameters above today's count as well as weaker ones: only when all hashes cost the same does
/// the [`decoy`] cost what they do. What cannot be read needs an upgrade too.
#[must_use]
pub fn needs_upgrade(hash: &PasswordHash) -> bool {
    StoredHash::read(hash).map_or(true, |stored| !stored.is_todays())
}

/// A hash to verify against when the e-mail address is unknown, so that the reply takes as long as
/// for a known one. Its hash is random bytes, not the hash of anything: no password matches it.
pub fn decoy() -> &'static PasswordHash {
    static DECOY: LazyLock<PasswordHash> = LazyLock::new(|| {
        PasswordHash(format!(
            "$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={PARALLELISM}$TukedqSooMG7+zdtKHn74g$hWDL7c+SYWFZP2LV6ZSxHAZmrhSs6+4/K66MR1DGAW0"
        ))
    });
    &DECOY
}

/// A PHC string, read and within bounds.
struct StoredHash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Salt,
    tag: Output,
}

impl StoredHash {
    fn read(hash: &PasswordHash) -> Result<Self, PasswordHashError> {
        use PasswordHashError::{Malformed, Unsupported};

        let phc = phc::PasswordHash::new(&hash.0).map_err(|_| Malformed)?;
        let algorithm = Algorithm::try_from(phc.algorithm.as_str()).map_err(|_| Unsupported)?;
        // All three must be there: the defaults of a library are no part of what was stored.
        if ["m", "t", "p"]
            .iter()
            .any(|name| phc.params.get(*name).is_none())
        {
            return Err(Malformed);
        }
        let params = Params::try_from(&phc).map_err(|_| Malformed)?;
        if params.m_cost() > MAX_STORED_MEMORY_KIB
            || params.t_cost() > MAX_STORED_ITERATIONS
            || params.p_cost() > MAX_STORED_PARALLELISM
        {
            return Err(Unsupported);
        }
        Ok(Self {
            algorithm,
            version: Version::try_from(phc.version.ok_or(Malformed)?).map_err(|_| Unsupported)?,
            params,
            salt: phc.salt.ok_or(Malformed)?,
            tag: phc.hash.ok_or(Malformed)?,
        })
    }

    /// Whether it is as [`hash`] makes them today.
    fn is_todays(&self) -> bool {
        let costs = (
            self.params.m_cost(),
            self.params.t_cost(),
            self.params.p_cost(),
        );
        self.algorithm == Algorithm::Argon2id
            && self.version == Version::V0x13
            && costs == (MEMORY_KIB, ITERATIONS, PARALLELISM)
            && self.salt.len() >= SALT_BYTES
            && self.tag.len() == TAG_BYTES
    }
}

thread_local! {
    /// Argon2's working memory, kept by each hashing thread: to get 19 MiB anew from the system costs
    /// a millisecond or more of page faults. It is wiped after each hash.
    static HASHER: RefCell<Option<argon2_rust::Hasher>> = const { RefCell::new(None) };
}

fn compute(
    (algorithm, version, params): (Algorithm, Version, &Params),
    password: &str,
    salt: &[u8],
    tag_bytes: usize,
) -> Result<Output, PasswordHashError> {
    let mut tag = [0; Output::MAX_LENGTH];
    let tag = tag
        .get_mut(..tag_bytes)
        .ok_or(PasswordHashError::Internal)?;
    let params = argon2_rust::Params::builder()
        .memory(Memory::kib(params.m_cost().into()))
        .passes(params.t_cost())
        .lanes(params.p_cost())
        .tag_len(TagLen::bytes(tag.len() as u64))
        .build()
        .map_err(internal)?;
    let algorithm = match algorithm {
        Algorithm::Argon2d => argon2_rust::Algorithm::Argon2d,
        Algorithm::Argon2i => argon2_rust::Algorithm::Argon2i,
        Algorithm::Argon2id => argon2_rust::Algorithm::Argon2id,
    };
    let version = match version {
        Version::V0x10 => argon2_rust::Version::V0x10,
        Version::V0x13 => argon2_rust::Version::V0x13,
    };
    let argon2 = argon2_rust::Argon2::new(algorithm, version, params);
    HASHER.with_borrow_mut(|kept| {
        let hasher = kept.get_or_insert_with(|| argon2.hasher());
        hasher.set_argon2(argon2);
        hasher
            .hash_into(password.as_bytes(), salt, tag)
            .map_err(|error| match error {
                argon2_rust::Error::MemoryAllocationError => PasswordHashError::OutOfMemory,
                _ => PasswordHashError::Internal,
            })
    })?;
    Output::new(tag).map_err(internal)
}

/// The cause is left out on purpose: nothing about a password or a hash may travel in an error.
fn internal<E>(_cause: E) -> PasswordHashError {
    PasswordHashError::Internal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: [u8; SALT_BYTES] = *b"sixteen bytes :)";

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn judged(text: &str) -> Result<(), WeakPassword> {
        judged_for(text, "ann.lee@example.com")
    }

    fn judged_for(text: &str, email: &str) -> Result<(), WeakPassword> {
        check_policy(&password(text), &EmailAddress::parse(email).unwrap())
    }

    /// A hash that is quick to make: other parameters than today's.
    fn hashed_with(
        text: &str,
        algorithm: Algorithm,
        version: Version,
        costs: (u32, u32, u32),
    ) -> PasswordHash {
        let params = Params::new(costs.0, costs.1, costs.2, Some(TAG_BYTES)).unwrap();
        let tag = compute((algorithm, version, &params), text, &SALT, TAG_BYTES).unwrap();
        let (salt, (m, t, p)) = (Salt::new(&SALT).unwrap(), costs);
        let version = u32::from(version);
        PasswordHash(format!(
            "${algorithm}$v={version}$m={m},t={t},p={p}${salt}${tag}"
        ))
    }

    #[test]
    fn length_is_counted_in_code_points() {
        assert_eq!(judged("wq7#Lpz"), Err(WeakPassword::TooShort));
        assert_eq!(judged("wq7#Lpzk"), Ok(()));
        let unit = "wq7#Lpzk-";
        assert_eq!(judged(unit.repeat(15).get(..128).unwrap()), Ok(()));
        assert_eq!(
            judged(unit.repeat(15).get(..129).unwrap()),
            Err(WeakPassword::TooLong)
        );
    }

    #[test]
    fn code_points_beyond_ascii_count_one_each_whatever_their_octets() {
        assert_eq!(judged("日本語の合言葉"), Err(WeakPassword::TooShort));
        assert_eq!(judged("日本語の合言葉だ"), Ok(()));
        assert_eq!(judged("🦊🐝🐢🐙🦉🐌🦀"), Err(WeakPassword::TooShort));
        assert_eq!(judged("🦊🐝🐢🐙🦉🐌🦀🐳"), Ok(()));
    }

    #[test]
    fn length_is_counted_after_composition() {
        // Seven letters, each with an accent of its own: fourteen code points typed, seven counted.
        assert_eq!(
            judged("a\u{301}e\u{301}i\u{301}o\u{301}u\u{301}n\u{303}c\u{327}"),
            Err(WeakPassword::TooShort)
        );
        // No composed form exists for these: the marks count.
        assert_eq!(password("q\u{301}x\u{301}").code_points(), 4);
    }

    #[test]
    fn the_same_letters_composed_or_not_are_the_same_password() {
        let composed = password("cr\u{E8}me-br\u{FB}l\u{E9}e");
        let decomposed = password("cre\u{300}me-bru\u{302}le\u{301}e");
        assert_eq!(
            verify(&decomposed, &hash(&composed, SALT).unwrap()),
            Ok(true)
        );
        assert_eq!(
            verify(&composed, &hash(&decomposed, SALT).unwrap()),
            Ok(true)
        );
    }

    #[test]
    fn common_passwords_are_refused_in_either_case() {
        for text in [
            "password1",
            "PassWord1",
            "QWERTYUIOP",
            "12345678",
            "iloveyou1",
            "Football1",
        ] {
            assert_eq!(judged(text), Err(WeakPassword::Common), "{text}");
        }
    }

    #[test]
    fn a_short_piece_over_and_over_is_refused() {
        for text in [
            "zzzzzzzz",
            "ÑñÑñÑñÑñÑ",
            "x7x7x7x7x",
            "k9#k9#k9#",
            "wq7#wq7#",
            "WQ7#wq7#wq",
        ] {
            assert_eq!(judged(text), Err(WeakPassword::Common), "{text}");
        }
        assert_eq!(judged("wq7#Lwq7#L"), Ok(()));
        assert_eq!(judged("zzzzzzzy9"), Ok(()));
    }

    #[test]
    fn there_are_no_rules_about_kinds_of_characters() {
        for text in [
            "correct horse battery staple",
            "plumbago-teapot",
            "8264950173",
            "        x",
        ] {
            assert_eq!(judged(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn passwords_made_from_the_email_address_are_refused() {
        for text in [
            "ann.lee@example.com",
            "xxANN.LEE@example.COMxx",
            "Ann.Lee-1987",
            "example.com",
            "lee@example",
        ] {
            assert_eq!(judged(text), Err(WeakPassword::ContainsEmail), "{text}");
        }
        assert_eq!(judged("leeann-example-1987"), Ok(()));
    }

    #[test]
    fn a_very_short_local_part_may_turn_up_in_a_password() {
        assert_eq!(judged_for("bobsleigh-in-june", "bob@example.com"), Ok(()));
        assert_eq!(
            judged_for("anna-lou-1987", "anna@example.com"),
            Err(WeakPassword::ContainsEmail)
        );
    }

    #[test]
    fn reasons_have_stable_codes_and_messages_with_the_limits() {
        assert_eq!(WeakPassword::TooShort.code(), "too_short");
        assert_eq!(WeakPassword::TooLong.code(), "too_long");
        assert_eq!(WeakPassword::Common.code(), "common");
        assert_eq!(WeakPassword::ContainsEmail.code(), "contains_email");
        assert_eq!(
            WeakPassword::TooShort.to_string(),
            "The password must have at least 8 characters."
        );
    }

    #[test]
    fn the_list_is_long_sorted_and_in_the_form_that_is_looked_up() {
        assert!(COMMON.len() >= 10_000);
        assert!(COMMON.is_sorted_by(|a, b| a < b));
        assert!(
            COMMON
                .iter()
                .all(|entry| !entry.is_empty() && is_nfc(entry))
        );
        assert!(COMMON.iter().all(|entry| entry.to_lowercase() == *entry));
        // OWASP ASVS 5.0, 6.2.4: at least the 3,000 most common ones that the policy would let pass.
        assert!(
            COMMON
                .iter()
                .filter(|entry| entry.chars().count() >= MIN_CODE_POINTS)
                .count()
                >= 3_000
        );
    }

    #[test]
    fn a_hash_is_a_phc_string_with_todays_parameters_and_is_verified() {
        let hash = hash(&password("plumbago-teapot"), SALT).unwrap();
        assert!(
            hash.as_phc()
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlcyA6KQ$")
        );
        assert!(!needs_upgrade(&hash));
        assert_eq!(verify(&password("plumbago-teapot"), &hash), Ok(true));
        assert_eq!(verify(&password("plumbago-teapoT"), &hash), Ok(false));
        assert_eq!(verify(&password(""), &hash), Ok(false));
        assert_eq!(PasswordHash::from_phc(hash.as_phc().to_owned()), hash);
    }

    #[test]
    fn hashes_agree_with_the_reference_implementation() {
        // RFC 9106's C implementation: `echo -n password | argon2 somesalt -id -t 2 -k 256 -p 1 -v 13`.
        let reference = PasswordHash::from_phc(
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
                .to_owned(),
        );
        assert_eq!(verify(&password("password"), &reference), Ok(true));
        assert_eq!(verify(&password("passwort"), &reference), Ok(false));
    }

    #[test]
    fn memory_used_before_does_not_change_a_hash() {
        let fresh = std::thread::spawn(|| hash(&password("plumbago-teapot"), SALT).unwrap());
        hashed_with(
            "another",
            Algorithm::Argon2id,
            Version::V0x13,
            (20_000, 1, 1),
        );
        assert_eq!(
            hash(&password("plumbago-teapot"), SALT).unwrap(),
            fresh.join().unwrap()
        );
    }

    #[test]
    fn an_overlong_password_is_verified_like_any_other() {
        let hash = hashed_with(
            "plumbago-teapot",
            Algorithm::Argon2id,
            Version::V0x13,
            (64, 1, 1),
        );
        assert_eq!(verify(&password(&"x".repeat(16 * 1024)), &hash), Ok(false));
    }

    #[test]
    fn older_algorithms_versions_and_other_parameters_verify_but_need_an_upgrade() {
        use Algorithm::{Argon2d, Argon2i, Argon2id};
        use Version::{V0x10, V0x13};
        let today = (MEMORY_KIB, ITERATIONS, PARALLELISM);
        for (algorithm, version, costs) in [
            (Argon2i, V0x13, today),
            (Argon2d, V0x13, today),
            (Argon2id, V0x10, today),
            (Argon2id, V0x13, (4096, ITERATIONS, PARALLELISM)),
            (Argon2id, V0x13, (MEMORY_KIB, 1, PARALLELISM)),
            (Argon2id, V0x13, (MEMORY_KIB, ITERATIONS, 2)),
            (
                Argon2id,
                V0x13,
                (MAX_STORED_MEMORY_KIB, 3, MAX_STORED_PARALLELISM),
            ),
        ] {
            let hash = hashed_with("plumbago-teapot", algorithm, version, costs);
            assert!(needs_upgrade(&hash), "{}", hash.as_phc());
            assert_eq!(
                verify(&password("plumbago-teapot"), &hash),
                Ok(true),
                "{}",
                hash.as_phc()
            );
            assert_eq!(verify(&password("something else"), &hash), Ok(false));
        }
    }

    #[test]
    fn a_hash_is_met_by_the_password_as_it_was_typed_too() {
        let typed = "cre\u{300}me bru\u{302}le\u{301}e";
        let imported = hashed_with(typed, Algorithm::Argon2id, Version::V0x13, (64, 1, 1));
        assert_eq!(verify(&password(typed), &imported), Ok(true));
        assert_eq!(
            verify(&password("cr\u{E8}me br\u{FB}l\u{E9}e"), &imported),
            Ok(false)
        );
        // Today's parameters are OWASP's, so another system's hash may have them too.
        let today = (MEMORY_KIB, ITERATIONS, PARALLELISM);
        let imported = hashed_with(typed, Algorithm::Argon2id, Version::V0x13, today);
        assert_eq!(verify(&password(typed), &imported), Ok(true));
    }

    #[test]
    fn a_shorter_salt_or_another_length_of_hash_needs_an_upgrade() {
        let salt = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let tag = "$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlcyA6KQ$nf65EOgLrQMR/uIPnA4rEg";
        assert!(needs_upgrade(&PasswordHash::from_phc(salt.to_owned())));
        assert!(needs_upgrade(&PasswordHash::from_phc(tag.to_owned())));
    }

    #[test]
    fn a_damaged_hash_is_an_error_and_not_a_wrong_password() {
        const TAIL: &str = "$c2l4dGVlbiBieXRlcyA6KQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for broken in [
            String::new(),
            "plumbago-teapot".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1".to_owned(),
            "$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlcyA6KQ".to_owned(),
            format!("$argon2id$v=19{TAIL}"),
            format!("$argon2id$v=19$m=19456,t=2{TAIL}"),
            format!("$argon2id$m=19456,t=2,p=1{TAIL}"),
            format!("$argon2id$v=19$m=1,t=2,p=1{TAIL}"),
            format!("$argon2id$v=19$m=19456,t=2,p=1{TAIL}$more"),
        ] {
            let hash = PasswordHash::from_phc(broken);
            assert_eq!(
                verify(&password("x"), &hash),
                Err(PasswordHashError::Malformed),
                "{}",
                hash.as_phc()
            );
            assert!(needs_upgrade(&hash));
        }
    }

    #[test]
    fn a_hash_that_asks_for_too_much_work_is_refused_before_any_is_done() {
        const TAIL: &str = "$c2l4dGVlbiBieXRlcyA6KQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for asking in [
            "argon2id$v=19$m=67108864,t=2,p=1",
            "argon2id$v=19$m=131073,t=2,p=1",
            "argon2id$v=19$m=19456,t=11,p=1",
            "argon2id$v=19$m=19456,t=2,p=9",
            "argon2id$v=18$m=19456,t=2,p=1",
            "gost-yescrypt$v=19$m=19456,t=2,p=1",
        ] {
            let hash = PasswordHash::from_phc(format!("${asking}{TAIL}"));
            assert_eq!(
                verify(&password("x"), &hash),
                Err(PasswordHashError::Unsupported),
                "{asking}"
            );
        }
    }

    #[test]
    fn the_decoy_costs_what_a_real_hash_costs_and_matches_nothing() {
        assert!(!needs_upgrade(decoy()));
        let real = hash(&password("plumbago-teapot"), SALT).unwrap();
        assert_eq!(decoy().as_phc().len(), real.as_phc().len());
        assert_eq!(verify(&password("plumbago-teapot"), decoy()), Ok(false));
    }

    #[test]
    fn debug_output_never_shows_a_secret() {
        let secret = password("plumbago-teapot");
        assert_eq!(format!("{secret:?}"), "Password([redacted])");
        let hash = PasswordHash::from_phc("$argon2id$secret".to_owned());
        assert_eq!(format!("{hash:?}"), "PasswordHash([redacted])");
    }

    #[test]
    fn a_password_is_read_from_json_and_normalized() {
        let read: Password = serde_json::from_str("\"cre\\u0300me\"").unwrap();
        assert_eq!(read.normalized.as_str(), "cr\u{E8}me");
        assert!(serde_json::from_str::<Password>("12345678").is_err());
    }

    proptest! {
        /// Two implementations that share no line: the one that computes, and RustCrypto's.
        #[test]
        fn any_hash_is_what_another_implementation_makes_of_it(
            text in "\\PC{0,140}",
            salt in prop::collection::vec(any::<u8>(), 8..=48),
            tag_bytes in 10_usize..=Output::MAX_LENGTH,
            algorithm in prop::sample::select(vec![
                Algorithm::Argon2d, Algorithm::Argon2i, Algorithm::Argon2id,
            ]),
            version in prop::sample::select(vec![Version::V0x10, Version::V0x13]),
            (memory, passes, lanes) in (8 * MAX_STORED_PARALLELISM..600, 1_u32..4, 1_u32..=MAX_STORED_PARALLELISM),
        ) {
            let params = Params::new(memory, passes, lanes, Some(tag_bytes)).unwrap();
            let computed = compute((algorithm, version, &params), &text, &salt, tag_bytes).unwrap();
            let mut expected = vec![0; tag_bytes];
            argon2::Argon2::new(algorithm, version, params)
                .hash_password_into(text.as_bytes(), &salt, &mut expected)
                .unwrap();
            prop_assert_eq!(computed.as_bytes(), expected);
        }

        #[test]
        fn any_text_is_judged_without_panic_and_within_the_limits(text in "\\PC{0,140}") {
            let length = password(&text).code_points();
            match judged(&text) {
                Err(WeakPassword::TooShort) => prop_assert!(length < MIN_CODE_POINTS),
                Err(WeakPassword::TooLong) => prop_assert!(length > MAX_CODE_POINTS),
                Ok(()) | Err(WeakPassword::Common | WeakPassword::ContainsEmail) => {
                    prop_assert!((MIN_CODE_POINTS..=MAX_CODE_POINTS).contains(&length));
                }
            }
        }

        #[test]
        fn any_stored_text_is_read_without_panic(text in "\\$?(argon2id?)?[\\PC$=,]{0,60}") {
            let hash = PasswordHash::from_phc(text);
            // No text of this size holds a salt and a hash within the bounds, so nothing is computed.
            prop_assert!(needs_upgrade(&hash));
        }
    }
}
