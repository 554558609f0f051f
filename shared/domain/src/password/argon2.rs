//! Argon2id: how our own hashes are made, and how Argon2 of any parameters is verified.

use std::fmt;
use std::sync::LazyLock;

use argon2::{
    Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{self, Output, ParamsString, Salt},
};
use zeroize::optimization_barrier;

use super::{Password, PasswordHash, PasswordHashError, internal};

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

/// Hashes a password with today's parameters. The salt must be random, and new for each hash.
///
/// # Errors
///
/// [`PasswordHashError::OutOfMemory`], or [`PasswordHashError::Internal`], which a test rules out.
pub fn hash(
    password: &Password,
    salt: [u8; SALT_BYTES],
    memory: &mut WorkingMemory,
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
            memory,
        )?),
    };
    Ok(PasswordHash(phc.to_string()))
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
pub(super) struct StoredHash {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Salt,
    tag: Output,
}

impl StoredHash {
    pub(super) fn read(hash: &PasswordHash) -> Result<Self, PasswordHashError> {
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

    /// Whether it is the hash of a password, which is hashed for it.
    pub(super) fn matches(
        &self,
        password: &str,
        memory: &mut WorkingMemory,
    ) -> Result<bool, PasswordHashError> {
        let parameters = (self.algorithm, self.version, &self.params);
        let computed = compute(parameters, password, &self.salt, self.tag.len(), memory)?;
        // `Output` compares in constant time.
        Ok(computed == self.tag)
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

/// Argon2's working memory, which its owner keeps between hashes: the page faults of 19 MiB take up to 10 ms.
///
/// It is empty until the first hash, wiped after each, and keeps no more than today's parameters need.
#[derive(Default)]
pub struct WorkingMemory {
    blocks: Vec<Block>,
}

impl WorkingMemory {
    /// As many blocks as a hash needs, with any content: Argon2 writes each block before it reads it.
    fn reserve(&mut self, count: usize) -> Result<&mut [Block], PasswordHashError> {
        let missing = count.saturating_sub(self.blocks.len());
        self.blocks
            .try_reserve_exact(missing)
            .map_err(|_| PasswordHashError::OutOfMemory)?;
        self.blocks
            .resize(self.blocks.len() + missing, Block::new());
        self.blocks
            .get_mut(..count)
            .ok_or(PasswordHashError::Internal)
    }

    fn wipe(&mut self, used: usize) {
        if let Some(blocks) = self.blocks.get_mut(..used) {
            blocks.fill(Block::new());
            optimization_barrier(blocks);
        }
        // A hash that was made elsewhere may have needed more.
        if self.blocks.len() > MEMORY_KIB as usize {
            self.blocks = Vec::new();
        }
    }
}

impl fmt::Debug for WorkingMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkingMemory({} KiB)", self.blocks.len())
    }
}

fn compute(
    (algorithm, version, params): (Algorithm, Version, &Params),
    password: &str,
    salt: &[u8],
    tag_bytes: usize,
    memory: &mut WorkingMemory,
) -> Result<Output, PasswordHashError> {
    let mut tag = [0; Output::MAX_LENGTH];
    let tag = tag
        .get_mut(..tag_bytes)
        .ok_or(PasswordHashError::Internal)?;
    let count = params.block_count();
    let blocks = memory.reserve(count)?;
    let computed = Argon2::new(algorithm, version, params.clone()).hash_password_into_with_memory(
        password.as_bytes(),
        salt,
        tag,
        blocks,
    );
    memory.wipe(count);
    computed.map_err(internal)?;
    Output::new(tag).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: [u8; SALT_BYTES] = *b"sixteen bytes :)";

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn hash(
        password: &Password,
        salt: [u8; SALT_BYTES],
    ) -> Result<PasswordHash, PasswordHashError> {
        super::hash(password, salt, &mut WorkingMemory::default())
    }

    fn verify(password: &Password, hash: &PasswordHash) -> Result<bool, PasswordHashError> {
        crate::password::verify(password, hash, &mut WorkingMemory::default())
    }

    /// A hash that is quick to make: other parameters than today's.
    fn hashed_with(
        text: &str,
        algorithm: Algorithm,
        version: Version,
        costs: (u32, u32, u32),
    ) -> PasswordHash {
        let params = Params::new(costs.0, costs.1, costs.2, Some(TAG_BYTES)).unwrap();
        let memory = &mut WorkingMemory::default();
        let tag = compute(
            (algorithm, version, &params),
            text,
            &SALT,
            TAG_BYTES,
            memory,
        )
        .unwrap();
        let (salt, (m, t, p)) = (Salt::new(&SALT).unwrap(), costs);
        let version = u32::from(version);
        PasswordHash(format!(
            "${algorithm}$v={version}$m={m},t={t},p={p}${salt}${tag}"
        ))
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
        // Made by RFC 9106's C implementation, through argon2-cffi 25.1 (Python).
        for reference in [
            "$argon2d$v=16$m=64,t=2,p=1$c2l4dGVlbiBieXRlcyA6KQ$0MENvW1RVaMOiGFL4bmwaapytO2sBHU8LN29qUxciA4",
            "$argon2i$v=19$m=128,t=3,p=4$c2l4dGVlbiBieXRlcyA6KQ$7ufO3eCXpeBMdM9emmsy9gGbZB4hkKLn",
            "$argon2id$v=16$m=256,t=1,p=2$c2l4dGVlbiBieXRlcyA6KQ$UjPhp/fngSoeUyVxCCj4cHYUvgjvqB15vZ/sOq8h6quqyyM+J4Z10h+WlIQ6ePiuFY5IOR9YUTISqH3z8mMJxA",
            "$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlcyA6KQ$sG3wOdNJjpNtcVq7aNcDKWsNSQFHIYgd1zoVkLN/GaU",
        ] {
            let hash = PasswordHash::from_phc(reference.to_owned());
            let right = password("correct horse battery staple");
            assert_eq!(verify(&right, &hash), Ok(true), "{reference}");
            assert_eq!(verify(&password("passwort"), &hash), Ok(false));
        }
    }

    #[test]
    fn memory_that_was_used_before_does_not_change_a_hash_and_is_wiped_and_kept_within_bounds() {
        let text = password("plumbago-teapot");
        let fresh = hash(&text, SALT).unwrap();
        let memory = &mut WorkingMemory::default();
        memory.blocks = vec![Block::new(); 100];
        for block in &mut memory.blocks {
            block.as_mut().fill(u64::MAX);
        }
        assert_eq!(super::hash(&text, SALT, memory), Ok(fresh.clone()));
        assert_eq!(memory.blocks.len(), MEMORY_KIB as usize);
        let words = |block: &Block| block.as_ref().iter().all(|word| *word == 0);
        assert!(memory.blocks.iter().all(words));

        let larger = hashed_with(
            "another",
            Algorithm::Argon2id,
            Version::V0x13,
            (20_000, 1, 1),
        );
        let verified = crate::password::verify(&password("another"), &larger, memory);
        assert_eq!((verified, memory.blocks.len()), (Ok(true), 0));
        assert_eq!(super::hash(&text, SALT, memory), Ok(fresh));
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
            (Argon2id, V0x13, (64, MAX_STORED_ITERATIONS, 1)),
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

    proptest! {
        #[test]
        fn any_stored_text_is_read_without_panic(text in "\\$?(argon2id?)?[\\PC$=,]{0,60}") {
            let hash = PasswordHash::from_phc(text);
            // No text of this size holds a salt and a hash within the bounds, so nothing is computed.
            prop_assert!(needs_upgrade(&hash));
        }
    }
}
