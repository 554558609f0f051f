//! What a new password must be.

use std::sync::LazyLock;

use thiserror::Error;
use zeroize::Zeroizing;

use super::{NFC, Password};
use crate::email::EmailAddress;

/// The fewest code points of a new password (OWASP ASVS 5.0, 6.2.1).
pub const MIN_CODE_POINTS: usize = 8;
/// The most code points of a new password. NIST SP 800-63B-4 and ASVS 5.0 (6.2.9) ask for at least 64.
pub const MAX_CODE_POINTS: usize = 128;

/// The shortest local part of an e-mail address that a password must not contain, in code points.
/// Shorter ones ("al", "bob") turn up inside good passwords by chance.
const MIN_LOCAL_PART_CODE_POINTS: usize = 4;
/// The name that people know this service by.
const PRODUCT: &str = "latchkey";
/// The shortest label of the issuer's host that counts as a word, in code points: "id" is in too many others.
const MIN_LABEL_CODE_POINTS: usize = 4;
/// The longest unit, in code points, whose mere repetition is refused: `aaaaaaaa`, `abcdabcd`.
const MAX_REPEATED_CODE_POINTS: usize = 4;

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
    /// Made from one of the [context words](PasswordPolicy::new).
    #[error("The password must not be made from the name of this service.")]
    ContextWord,
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
            Self::ContextWord => "context_word",
        }
    }
}

/// The words of the context in which a password is used, which must not make up a new one.
///
/// OWASP ASVS 5.0 (6.1.2, 6.2.11) and NIST SP 800-63B-4 (3.1.1.2) ask for such a list. The default holds the product's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordPolicy {
    context_words: Vec<String>,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        Self::new("", [])
    }
}

impl PasswordPolicy {
    /// The words are the product's name, the issuer's host and its labels of four characters or more except the last,
    /// and `words`, such as the name of a company. Case does not matter; a word without a letter is left out.
    pub fn new<'a>(issuer: &'a str, words: impl IntoIterator<Item = &'a str>) -> Self {
        let address = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
        let host = address.split(['/', ':']).next().unwrap_or_default();
        let labels = host.rsplit('.').skip(1);
        let telling = labels.filter(|label| label.chars().count() >= MIN_LABEL_CODE_POINTS);
        let mut context_words: Vec<String> = [PRODUCT, host]
            .into_iter()
            .chain(telling)
            .chain(words)
            .map(|word| NFC.normalize(word.trim()).to_lowercase())
            .filter(|word| word.chars().any(char::is_alphabetic))
            .collect();
        context_words.sort_unstable();
        context_words.dedup();
        Self { context_words }
    }

    /// Whether context words make up a text in lower case: at least half of its letters belong to them.
    ///
    /// Digits and signs count for nothing, so `latchkey-2026!` is made up of a word and `my latchkey opens doors` is not.
    fn makes_up(&self, lower: &str) -> bool {
        let mut covered = vec![false; lower.len()];
        for word in &self.context_words {
            for (start, found) in lower.match_indices(word.as_str()) {
                if let Some(bytes) = covered.get_mut(start..start + found.len()) {
                    bytes.fill(true);
                }
            }
        }
        let letters = lower.char_indices().filter(|(_, c)| c.is_alphabetic());
        let (words, others): (Vec<usize>, Vec<usize>) = letters
            .map(|(at, _)| at)
            .partition(|at| covered.get(*at) == Some(&true));
        !words.is_empty() && words.len() >= others.len()
    }
}

/// Says whether a password may become the password of the account with this e-mail address.
///
/// Length is counted in code points after NFC. Letters of either case are the same for what follows.
/// Common means: in the list of 8,354 (`data/common-passwords.txt`), or nothing but a piece of at
/// most four code points over and over. Made from the e-mail address means: it contains the whole
/// address, or its local part when that has four code points or more; or it is itself a piece of the
/// address (`example.com`). Made from a context word means: see [`PasswordPolicy`]; at least half of its
/// letters belong to such words.
///
/// Without an e-mail address, because the one that was sent is none, its rule is left out.
///
/// It is for new passwords only: a sign-in must accept what an earlier policy allowed.
///
/// # Errors
///
/// [`WeakPassword`] names the first rule that is broken, in the order of its variants.
pub fn check_policy<'a>(
    password: &Password,
    email: impl Into<Option<&'a EmailAddress>>,
    policy: &PasswordPolicy,
) -> Result<(), WeakPassword> {
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
    if let Some(email) = email.into() {
        let typed = email.as_typed().to_lowercase();
        if is_made_from(&lower, email.normalized()) || is_made_from(&lower, &typed) {
            return Err(WeakPassword::ContainsEmail);
        }
    }
    if policy.makes_up(&lower) {
        return Err(WeakPassword::ContextWord);
    }
    Ok(())
}

/// The list, as sorted lines. Splitting it takes a fraction of a millisecond, once, and only where a
/// password is chosen.
static COMMON: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    include_str!("../../data/common-passwords.txt")
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    fn judged(text: &str) -> Result<(), WeakPassword> {
        judged_for(text, "ann.lee@example.com")
    }

    fn judged_for(text: &str, email: &str) -> Result<(), WeakPassword> {
        check_policy(
            &password(text),
            &EmailAddress::parse(email).unwrap(),
            &PasswordPolicy::default(),
        )
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
        // Seven letters, each with an accent: fourteen code points typed, seven counted.
        assert_eq!(
            judged("a\u{301}e\u{301}i\u{301}o\u{301}u\u{301}n\u{303}c\u{327}"),
            Err(WeakPassword::TooShort)
        );
        // No composed form exists for these: the marks count.
        assert_eq!(password("q\u{301}x\u{301}").code_points(), 4);
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
    fn passwords_that_context_words_make_up_are_refused_and_passphrases_with_one_are_not() {
        let policy = PasswordPolicy::new(
            "https://login.tulip-bank.example:8443/v1",
            ["Ibérica", "2026", " "],
        );
        let email = EmailAddress::parse("ann@example.com").unwrap();
        let judge = |text: &str| check_policy(&password(text), &email, &policy);
        for text in [
            "latchkey",
            "LatchKey-2026!",
            "2026latchkey2026latchkey",
            "mylatchkeypw",
            "latchkeysecret",
            "login.tulip-bank.example",
            "tulip-bank1",
            "IBE\u{301}RICA2026",
            "login1234567",
        ] {
            assert_eq!(judge(text), Err(WeakPassword::ContextWord), "{text}");
        }
        for text in [
            "my latchkey opens doors",
            "the tulip-bank of amsterdam",
            "example horse staple",
            "2026-8391-5520",
            "plumbago-teapot",
        ] {
            assert_eq!(judge(text), Ok(()), "{text}");
        }
        assert_eq!(judged("latchkey 1"), Err(WeakPassword::ContextWord));
        assert_eq!(judged("tulip-bank1"), Ok(()));
    }

    #[test]
    fn the_domain_of_an_address_is_no_password_in_unicode_either() {
        let address = "ada@bücher.example";
        for text in ["Bücher.Example", "xn--bcher-kva.example"] {
            assert_eq!(judged_for(text, address), Err(WeakPassword::ContainsEmail));
        }
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
        assert_eq!(WeakPassword::ContextWord.code(), "context_word");
        assert_eq!(
            WeakPassword::TooShort.to_string(),
            "The password must have at least 8 characters."
        );
    }

    #[test]
    fn the_list_is_long_sorted_and_in_the_form_that_is_looked_up() {
        // OWASP ASVS 5.0, 6.2.4: at least the 3,000 most common ones that the policy would let pass.
        assert!(COMMON.len() >= 3_000);
        assert!(COMMON.is_sorted_by(|a, b| a < b));
        assert!(
            COMMON
                .iter()
                .all(|entry| !entry.is_empty() && NFC.is_normalized(entry))
        );
        assert!(COMMON.iter().all(|entry| entry.to_lowercase() == *entry));
        // A shorter one is refused for its length, and would only make each function larger.
        assert!(
            COMMON
                .iter()
                .all(|entry| entry.chars().count() >= MIN_CODE_POINTS)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic_and_within_the_limits(text in "\\PC{0,140}") {
            let length = password(&text).code_points();
            match judged(&text) {
                Err(WeakPassword::TooShort) => prop_assert!(length < MIN_CODE_POINTS),
                Err(WeakPassword::TooLong) => prop_assert!(length > MAX_CODE_POINTS),
                Ok(()) | Err(WeakPassword::Common | WeakPassword::ContainsEmail | WeakPassword::ContextWord) => {
                    prop_assert!((MIN_CODE_POINTS..=MAX_CODE_POINTS).contains(&length));
                }
            }
        }
    }
}
