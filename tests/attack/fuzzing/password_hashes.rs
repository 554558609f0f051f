//! Bytes as stored password hashes.

use crate::harness::stack::PASSWORD;
use latchkey_domain::password::{Password, PasswordHash, WorkingMemory, needs_upgrade, verify};

use super::QUICK_HASH;

/// A stored hash: verifying against it may fail, and takes no more than the bounds that it has.
pub(super) fn password_hashes(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Within the bounds, argon2 itself is not what is looked at.
    if costs(text, "m=") > 64 || costs(text, "t=") > 4 {
        let _ = needs_upgrade(&PasswordHash::from_phc(text.to_owned()));
        return;
    }
    let hash = PasswordHash::from_phc(text.to_owned());
    let memory = &mut WorkingMemory::default();
    let verified = verify(&Password::new(PASSWORD.to_owned()), &hash, memory);
    if verified.is_err() {
        assert!(needs_upgrade(&hash) || !text.is_ascii());
    }
}

fn costs(text: &str, name: &str) -> u64 {
    let Some((_, rest)) = text.split_once(name) else {
        return 0;
    };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(u64::MAX)
}

pub(super) fn password_hash_seeds() -> Vec<Vec<u8>> {
    let phc = crate::harness::stack::OLD_PARAMETERS_HASH;
    let short = "$argon2i$v=16$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAA";
    [QUICK_HASH, phc, short]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}
