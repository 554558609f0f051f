//! Hashes that another system has made: bcrypt, PBKDF2 and scrypt. They are verified, never made.
//!
//! A user who was brought along with such a hash signs in with the old password, and the hash is then replaced by one
//! of ours. (Argon2 of any kind is read by the parent module.)
//!
//! The forms that are read, `<..>` in unpadded base64 unless said otherwise:
//!
//! | form | made by |
//! |---|---|
//! | `$2a$10$<salt><hash>`, `$2b$`, `$2y$`, in bcrypt's alphabet | nearly everybody |
//! | `$bcrypt$v=98$r=10$<salt>$<hash>` | PHC libraries |
//! | `$pbkdf2-sha256$i=600000,l=32$<salt>$<hash>`, `$pbkdf2-sha512$`, `$pbkdf2$` (SHA-1); `l` may be missing | PHC libraries |
//! | `$pbkdf2-sha256$29000$<salt>$<hash>`, the same three, `.` for `+` | passlib |
//! | `$scrypt$ln=14,r=8,p=1$<salt>$<hash>` | PHC libraries, passlib |

use std::num::NonZeroU32;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::alphabet::{Alphabet, BCRYPT, STANDARD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::PasswordHashError::{self, Internal, Malformed, Unsupported};

/// The most that bcrypt reads of a password, in bytes. What follows never counted.
const BCRYPT_MAX_BYTES: usize = 72;
/// How much of bcrypt's 24 bytes its usual form keeps.
const BCRYPT_TAG_BYTES: usize = 23;

// What a hash may ask for at most: one to three seconds of a busy core, far below what a request may take. What the
// systems named in the operations guide make by default fits; the guide names what does not.
const MIN_BCRYPT_COST: u32 = 4;
const MAX_BCRYPT_COST: u32 = 14;
/// Iterations, times the number of blocks that the hash is made of.
const MAX_PBKDF2_WORK: u64 = 3_000_000;
/// N * r * p. The memory is 128 bytes times N * r, r * p and r: 128 MiB with an r that people use, never over 260.
const MAX_SCRYPT_WORK: u64 = 1 << 20;

// A shorter hash would be met by chance, a longer one is nobody's.
const MIN_TAG_BYTES: usize = 16;
const MAX_TAG_BYTES: usize = 64;
/// The longest text that is looked at.
const MAX_TEXT_BYTES: usize = 1024;

/// A hash, read and within bounds.
pub(super) struct ImportedHash {
    function: Function,
    salt: Vec<u8>,
    tag: Vec<u8>,
}

enum Function {
    Bcrypt {
        cost: u32,
    },
    Pbkdf2 {
        algorithm: pbkdf2::Algorithm,
        iterations: NonZeroU32,
    },
    Scrypt {
        params: scrypt::Params,
    },
}

impl ImportedHash {
    /// Reads a hash; none if it is of no kind that is read here.
    pub(super) fn read(text: &str) -> Option<Result<Self, PasswordHashError>> {
        let (identifier, rest) = text.strip_prefix('$')?.split_once('$')?;
        let read: fn(&str, &str) -> Result<Self, PasswordHashError> = match identifier {
            "2a" | "2b" | "2y" => |_, rest| Self::crypt_bcrypt(rest),
            // Made by a version of crypt_blowfish that took other bits of letters beyond ASCII.
            "2x" => |_, _| Err(Unsupported),
            "bcrypt" => |_, rest| Self::phc_bcrypt(rest),
            "pbkdf2" | "pbkdf2-sha256" | "pbkdf2-sha512" => Self::pbkdf2,
            "scrypt" => |_, rest| Self::scrypt(rest),
            _ => return None,
        };
        if text.len() > MAX_TEXT_BYTES {
            return Some(Err(Malformed));
        }
        Some(read(identifier, rest))
    }

    fn crypt_bcrypt(rest: &str) -> Result<Self, PasswordHashError> {
        let (cost, salt_and_tag) = rest.split_once('$').ok_or(Malformed)?;
        // 16 and 23 bytes.
        let (salt, tag) = salt_and_tag.split_at_checked(22).ok_or(Malformed)?;
        Self::bcrypt(cost, decode(&BCRYPT, salt)?, decode(&BCRYPT, tag)?)
    }

    fn phc_bcrypt(rest: &str) -> Result<Self, PasswordHashError> {
        // 98 is the "b" of $2b$.
        let rest = rest.strip_prefix("v=98$").ok_or(Unsupported)?;
        let [params, salt, tag] = fields(rest)?;
        let cost = params.strip_prefix("r=").ok_or(Malformed)?;
        let mut tag = decode(&STANDARD, tag)?;
        if tag.len() == BCRYPT_TAG_BYTES + 1 {
            tag.truncate(BCRYPT_TAG_BYTES);
        }
        Self::bcrypt(cost, decode(&STANDARD, salt)?, tag)
    }

    fn bcrypt(cost: &str, salt: Vec<u8>, tag: Vec<u8>) -> Result<Self, PasswordHashError> {
        let cost = number(cost)?;
        if salt.len() != 16 || tag.len() != BCRYPT_TAG_BYTES {
            return Err(Malformed);
        }
        if !(MIN_BCRYPT_COST..=MAX_BCRYPT_COST).contains(&cost) {
            return Err(Unsupported);
        }
        Ok(Self {
            function: Function::Bcrypt { cost },
            salt,
            tag,
        })
    }

    fn pbkdf2(identifier: &str, rest: &str) -> Result<Self, PasswordHashError> {
        let (algorithm, block) = match identifier {
            "pbkdf2-sha512" => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
            "pbkdf2-sha256" => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            _ => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
        };
        let [params, salt, tag] = fields(rest)?;
        let tag = tag_of(tag)?;
        let (mut iterations, mut length) = (None, None);
        if params.bytes().all(|byte| byte.is_ascii_digit()) {
            iterations = Some(params);
        } else {
            for param in params.split(',') {
                let slot = match param.split_once('=') {
                    Some(("i", value)) => (&mut iterations, value),
                    Some(("l", value)) => (&mut length, value),
                    _ => return Err(Malformed),
                };
                if slot.0.replace(slot.1).is_some() {
                    return Err(Malformed);
                }
            }
        }
        if length.is_some_and(|length| length != tag.len().to_string()) {
            return Err(Malformed);
        }
        let iterations: NonZeroU32 = number(iterations.ok_or(Malformed)?)?;
        let blocks = u64::try_from(tag.len().div_ceil(block)).map_err(|_| Malformed)?;
        if u64::from(iterations.get()).saturating_mul(blocks) > MAX_PBKDF2_WORK {
            return Err(Unsupported);
        }
        Ok(Self {
            function: Function::Pbkdf2 {
                algorithm,
                iterations,
            },
            salt: decode(&STANDARD, salt)?,
            tag,
        })
    }

    fn scrypt(rest: &str) -> Result<Self, PasswordHashError> {
        let [params, salt, tag] = fields(rest)?;
        let mut params = params.split(',');
        let mut next = |name: &str| {
            let param = params.next().and_then(|param| param.strip_prefix(name));
            number::<u32>(param.ok_or(Malformed)?)
        };
        let (ln, r, p) = (next("ln=")?, next("r=")?, next("p=")?);
        if params.next().is_some() || ln == 0 || r == 0 || p == 0 {
            return Err(Malformed);
        }
        let n = 1_u64.checked_shl(ln).ok_or(Unsupported)?;
        let work = n.saturating_mul(u64::from(r)).saturating_mul(u64::from(p));
        if work > MAX_SCRYPT_WORK {
            return Err(Unsupported);
        }
        let ln = u8::try_from(ln).map_err(|_| Unsupported)?;
        Ok(Self {
            function: Function::Scrypt {
                params: scrypt::Params::new(ln, r, p).map_err(|_| Unsupported)?,
            },
            salt: decode(&STANDARD, salt)?,
            tag: tag_of(tag)?,
        })
    }

    /// Whether this is the hash of a password, in a time that does not depend on the answer.
    pub(super) fn matches(&self, password: &str) -> Result<bool, PasswordHashError> {
        let password = password.as_bytes();
        let mut computed = Zeroizing::new([0; MAX_TAG_BYTES]);
        let computed = computed.get_mut(..self.tag.len()).ok_or(Internal)?;
        match &self.function {
            Function::Bcrypt { cost } => {
                let salt = self.salt.as_slice().try_into().map_err(|_| Internal)?;
                let mut key = Zeroizing::new(Vec::with_capacity(password.len().saturating_add(1)));
                key.extend_from_slice(password);
                key.push(0);
                key.truncate(BCRYPT_MAX_BYTES);
                let output = bcrypt::bcrypt(*cost, salt, &key);
                computed.copy_from_slice(output.get(..self.tag.len()).ok_or(Internal)?);
            }
            Function::Pbkdf2 {
                algorithm,
                iterations,
            } => pbkdf2::derive(*algorithm, *iterations, &self.salt, password, computed),
            Function::Scrypt { params } => {
                scrypt::scrypt(password, &self.salt, params, computed).map_err(|_| Internal)?;
            }
        }
        let equal = verify_slices_are_equal(computed, &self.tag).is_ok();
        // Implementations in C end a password at a NUL, so whatever follows one would match. Nobody types one.
        let cut = matches!(self.function, Function::Bcrypt { .. }) && password.contains(&0);
        Ok(equal && !cut)
    }
}

/// The three fields of a hash, divided by `$`.
fn fields(rest: &str) -> Result<[&str; 3], PasswordHashError> {
    let fields: Vec<&str> = rest.split('$').collect();
    fields.try_into().map_err(|_| Malformed)
}

/// A number as it is written: digits only, and not so many that it could be no parameter.
fn number<T: std::str::FromStr>(text: &str) -> Result<T, PasswordHashError> {
    if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    text.parse().map_err(|_| Unsupported)
}

fn tag_of(text: &str) -> Result<Vec<u8>, PasswordHashError> {
    let tag = decode(&STANDARD, text)?;
    if (MIN_TAG_BYTES..=MAX_TAG_BYTES).contains(&tag.len()) {
        Ok(tag)
    } else {
        Err(Malformed)
    }
}

/// Base64 as generous as its makers: padded or not, with whatever is left over in the last letter, and passlib's `.`.
fn decode(alphabet: &Alphabet, text: &str) -> Result<Vec<u8>, PasswordHashError> {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(alphabet, config);
    let bytes = if *alphabet == STANDARD {
        engine.decode(text.replace('.', "+"))
    } else {
        engine.decode(text)
    };
    bytes.map_err(|_| Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::{Password, PasswordHash, WorkingMemory, needs_upgrade, verify};

    const PASSWORD: &str = "correct horse battery staple";

    fn verify_imported(password: &str, hash: &str) -> Result<bool, PasswordHashError> {
        let hash = PasswordHash::from_phc(hash.to_owned());
        assert!(needs_upgrade(&hash), "{}", hash.as_phc());
        let memory = &mut WorkingMemory::default();
        verify(&Password::new(password.to_owned()), &hash, memory)
    }

    /// The password matches, and one that differs in its last letter does not.
    #[track_caller]
    fn assert_of(password: &str, hash: &str) {
        assert_eq!(verify_imported(password, hash), Ok(true), "{hash}");
        let mut other = password.to_owned();
        let last = other.pop();
        other.push(if last == Some('~') { '-' } else { '~' });
        assert_eq!(verify_imported(&other, hash), Ok(false), "{hash}");
    }

    #[test]
    fn bcrypt_agrees_with_the_vectors_of_jbcrypt_and_crypt_blowfish() {
        for (password, hash) in [
            (
                "",
                "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.",
            ),
            (
                "a",
                "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe",
            ),
            (
                "abc",
                "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i",
            ),
            (
                "abcdefghijklmnopqrstuvwxyz",
                "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC",
            ),
            (
                "~!@#$%^&*()      ~!@#$%^&*()PNBFRD",
                "$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO",
            ),
            (
                "U*U",
                "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
            ),
        ] {
            assert_of(password, hash);
        }
    }

    #[test]
    fn bcrypt_is_read_whoever_made_it() {
        // By libbcrypt of OpenBSD, through Python's bcrypt 4.0.1.
        for hash in [
            "$2a$04$fsCzX1lFFTRYq7WNUIRR0OD93GdAnd52BUd4qqsC2b1QwvKZy/WpK",
            "$2b$04$/GKmVVVSsjJwklAjTlDF5OGspY3sv4GMZfqYtEs.DX.B/GWhgQnmW",
            "$2y$04$.JnpGjCJbzD7wJd/wD5i0OWBVEyol0jpL.n9YHy3DxJKlxpA2iOa6",
        ] {
            assert_of(PASSWORD, hash);
        }
        // jBCrypt's vector for "abc" in PHC form.
        let bytes = |text| decode(&BCRYPT, text).unwrap();
        let encoded =
            |bytes: Vec<u8>| base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
        let salt = encoded(bytes("If6bvum7DFjUnE9p2uDeDu"));
        let tag = bytes("0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i");
        // With the last byte, or without it.
        for tag in [tag.clone(), [tag, vec![7]].concat()] {
            assert_of("abc", &format!("$bcrypt$v=98$r=6${salt}${}", encoded(tag)));
        }
    }

    #[test]
    fn bcrypt_reads_72_bytes_of_a_password_as_it_always_did() {
        let hash = "$2b$04$CQeDp/oA/j2hyoPLzaumPOhlinsIkIsIRUZj.eV.g5k24gtmfp/My";
        let x = |count| "x".repeat(count);
        assert_eq!(verify_imported(&x(71), hash), Ok(false));
        assert_eq!(verify_imported(&x(72), hash), Ok(true));
        assert_eq!(verify_imported(&format!("{}y", x(72)), hash), Ok(true));
        assert_eq!(verify_imported(&format!("{}yz", x(71)), hash), Ok(false));
    }

    #[test]
    fn a_nul_does_not_end_a_password() {
        let hash = "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i";
        assert_eq!(verify_imported("abc", hash), Ok(true));
        for other in ["abc\0", "abc\0def", "abc\0abc"] {
            assert_eq!(verify_imported(other, hash), Ok(false));
        }
    }

    #[test]
    fn pbkdf2_agrees_with_the_rfcs() {
        // RFC 7914 section 11, RFC 6070.
        assert_of(
            "Password",
            "$pbkdf2-sha256$i=80000,l=64$TmFDbA$TdzY9guYviGDDO5e8icB+WQaRBjQTAQUrv8Ih2s0q1ah1CWhIlgzVJrbhBtRybMXaicr3ruh0HhHj2Kzl/M8jQ",
        );
        assert_of(
            "password",
            "$pbkdf2$i=4096,l=20$c2FsdA$SwB5AbdlSJq+rUnZJvch0GWkKcE",
        );
    }

    #[test]
    fn pbkdf2_is_read_in_the_forms_of_phc_and_passlib() {
        for (password, hash) in [
            // The example of passlib's documentation.
            (
                "password",
                "$pbkdf2-sha256$6400$0ZrzXitFSGltTQnBWOsdAw$Y11AchqV4b0sUisdZd0Xr97KWoymNE0LNNrnEgY4H9M",
            ),
            // passlib 1.7.4; the first salt has passlib's dots.
            (
                PASSWORD,
                "$pbkdf2-sha256$1000$.//.IHNhbHRzYWx0$1QCfbhowAA2Nu2/vtUn/EwpWMuXK9YE0aYt8umaoPIU",
            ),
            (
                PASSWORD,
                "$pbkdf2-sha256$i=1000$+//+IHNhbHRzYWx0$1QCfbhowAA2Nu2/vtUn/EwpWMuXK9YE0aYt8umaoPIU=",
            ),
            (
                PASSWORD,
                "$pbkdf2-sha512$1000$M.YcY2wtRSgFIAQAYCzFuA$iRG356hu7rgWLPAUiAeRmy5O7A/A9omtdJT81rf33svy5yJWSNNAYeMjauydxwebNa3YkxuDVcZhdfRhoBqFVQ",
            ),
            (
                PASSWORD,
                "$pbkdf2$1000$mfNei/F.752zltIaY2wtpQ$HD7CQF6IYslOIJLYw0L3wGznFkE",
            ),
            // Django 5.2, converted as the operations guide says.
            (
                PASSWORD,
                "$pbkdf2-sha256$i=1000,l=32$Wng4Y1RtcUNrelRxVm5LWjB0SngxYQ$ysSFKN0VXydfsyDgxAJxp6MfTOyBIisdlGtShJVNIf8",
            ),
        ] {
            assert_of(password, hash);
        }
    }

    #[test]
    fn scrypt_agrees_with_the_rfc_and_with_passlib_and_django() {
        for (password, hash) in [
            // RFC 7914 section 12.
            (
                "password",
                "$scrypt$ln=10,r=8,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
            ),
            (
                "pleaseletmein",
                "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw",
            ),
            // passlib 1.7.4; Django 5.2, converted.
            (
                PASSWORD,
                "$scrypt$ln=8,r=8,p=1$a825NyYkxFhrTUnJ+d/buw$yk/SvRYW6gD8PrzHE7/pOSsg2FDpLAz5qVAWdgVt1Pg",
            ),
            (
                PASSWORD,
                "$scrypt$ln=14,r=8,p=5$Wng4Y1RtcUNrelRxVm5LWjB0SngxYQ$w/ogxYQh5+LWYXS5+moVUdD1T457oEnth9QzY+BCBqe3fp6vtFi1n5XpGoGf7CKwIYsc2v/ncv8pzQzB0oli6w",
            ),
        ] {
            assert_of(password, hash);
        }
    }

    #[test]
    fn a_hash_of_a_password_that_its_system_did_not_normalize_is_met_as_it_was_typed() {
        // Of the decomposed form, by Python's bcrypt.
        let hash = "$2b$04$6ZUvyfwMKTRyozcvezaa9uhT6Fe2E0FNRJct2/1S8OuSt9r.6OMGa";
        let decomposed = "cre\u{300}me bru\u{302}le\u{301}e";
        assert_eq!(verify_imported(decomposed, hash), Ok(true));
        assert_eq!(
            verify_imported("cr\u{E8}me br\u{FB}l\u{E9}e", hash),
            Ok(false)
        );
        assert_eq!(verify_imported("creme brulee", hash), Ok(false));
    }

    #[test]
    fn what_asks_for_too_much_is_refused_before_any_work() {
        const SALT: &str = "c2l4dGVlbiBieXRlcyA6KQ";
        const TAG: &str = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let crypt = "DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.";
        for hash in [
            format!("$2b$15${crypt}"),
            format!("$2b$31${crypt}"),
            format!("$2b$99${crypt}"),
            format!("$2b$4294967295${crypt}"),
            format!("$2b$00${crypt}"),
            format!("$2x$06${crypt}"),
            format!("$bcrypt$v=97$r=6${SALT}${TAG}"),
            format!("$pbkdf2-sha256$i=3000001,l=32${SALT}${TAG}"),
            format!("$pbkdf2-sha256$i=10000000000,l=32${SALT}${TAG}"),
            format!("$pbkdf2-sha256$10000000000${SALT}${TAG}"),
            format!("$pbkdf2$i=1500001,l=32${SALT}${TAG}"),
            format!("$pbkdf2-sha512$i=0${SALT}${TAG}"),
            format!("$scrypt$ln=30,r=8,p=1${SALT}${TAG}"),
            format!("$scrypt$ln=18,r=8,p=1${SALT}${TAG}"),
            format!("$scrypt$ln=63,r=4294967295,p=4294967295${SALT}${TAG}"),
            format!("$scrypt$ln=64,r=8,p=1${SALT}${TAG}"),
            // 2 to the 64th.
            format!("$scrypt$ln=40,r=8,p=2097152${SALT}${TAG}"),
            format!("$scrypt$ln=14,r=8,p=9${SALT}${TAG}"),
            format!("$scrypt$ln=1,r=1,p=4294967295${SALT}${TAG}"),
        ] {
            assert_eq!(verify_imported("x", &hash), Err(Unsupported), "{hash}");
        }
    }

    #[test]
    fn what_is_at_a_bound_is_accepted() {
        const SALT: &str = "c2l4dGVlbiBieXRlcyA6KQ";
        const TAG: &str = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let longest = format!("$scrypt$ln=4,r=8,p=1${}${TAG}", "A".repeat(959));
        assert_eq!(longest.len(), MAX_TEXT_BYTES);
        for hash in [
            "$2b$14$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.".to_owned(),
            format!("$pbkdf2-sha256$i=3000000,l=32${SALT}${TAG}"),
            format!("$pbkdf2$i=1500000,l=32${SALT}${TAG}"),
            format!("$pbkdf2$i=00000000000000001000${SALT}${TAG}"),
            format!("$scrypt$ln=17,r=8,p=1${SALT}${TAG}"),
            format!("$scrypt$ln=14,r=8,p=8${SALT}${TAG}"),
            longest,
        ] {
            assert!(matches!(ImportedHash::read(&hash), Some(Ok(_))), "{hash}");
        }
    }

    #[test]
    fn what_is_damaged_is_an_error_and_not_a_wrong_password() {
        const SALT: &str = "c2l4dGVlbiBieXRlcyA6KQ";
        const TAG: &str = "nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for hash in [
            "$2b$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s".to_owned(),
            "$2b$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s..".to_owned(),
            "$2b$06$DCq7YPn5Rq63x1Lad4cll!TV4S6ytwfsfvkgY8jIucDrjc8deX1s.".to_owned(),
            "$2b$06$DCq7YPn5Rq63x1Lad4cl\u{e9}TV4S6ytwfsfvkgY8jIucDrjc8deX1s.".to_owned(),
            "$2b$+6$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s.".to_owned(),
            "$2b$06$".to_owned(),
            "$2b$06".to_owned(),
            format!("$bcrypt$v=98$r=6${SALT}${TAG}"),
            format!("$pbkdf2-sha256${SALT}${TAG}"),
            format!("$pbkdf2-sha256$${SALT}${TAG}"),
            format!("$pbkdf2-sha256$l=32${SALT}${TAG}"),
            format!("$pbkdf2-sha256$i=1000,l=31${SALT}${TAG}"),
            format!("$pbkdf2-sha256$i=1000,i=1${SALT}${TAG}"),
            format!("$pbkdf2-sha256$i=1000,x=1${SALT}${TAG}"),
            format!("$pbkdf2-sha256$i=1000${SALT}$nf65"),
            format!("$pbkdf2-sha256$i=1000${SALT}"),
            format!("$pbkdf2-sha256$i=1000${SALT}${TAG}$more"),
            format!("$scrypt$ln=14,r=8${SALT}${TAG}"),
            format!("$scrypt$r=8,ln=14,p=1${SALT}${TAG}"),
            format!("$scrypt$ln=14,r=8,p=0${SALT}${TAG}"),
            format!("$scrypt$ln=14,r=0,p=1${SALT}${TAG}"),
            format!("$scrypt$ln=0,r=8,p=1${SALT}${TAG}"),
            format!("$pbkdf2$i=000000000000000001000${SALT}${TAG}"),
            format!("$scrypt$ln=14,r=8,p=1${SALT}$"),
            format!("$scrypt$ln=14,r=8,p=1${}${TAG}", "A".repeat(1024)),
        ] {
            assert_eq!(verify_imported("x", &hash), Err(Malformed), "{hash}");
        }
    }
}
