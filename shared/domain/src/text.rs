//! Text that people enter and clients send: one rule for what a name may hold, and one way to cut.
//!
//! Text is shown next to other people's text, in lists, mails and terminals. So a name must show something, and
//! nothing may turn or break the line that it stands in (Unicode Technical Report 36, section 2.5).
//!
//! A session's item stays below 1,024 bytes, one write unit of DynamoDB, whatever a client sends. These are the most
//! bytes of each text, in UTF-8:
//!
//! | text | bytes | what is longer |
//! |---|---|---|
//! | name of a session | [`MAX_NAME_BYTES`] | is refused: a person sees why |
//! | device name | [`device::MAX_DEVICE_NAME_BYTES`](crate::device::MAX_DEVICE_NAME_BYTES) | is cut, because a sign-in must not fail for it |
//! | device id | [`device::MAX_DEVICE_ID_BYTES`](crate::device::MAX_DEVICE_ID_BYTES) | is cut and ends in a digest, so two ids stay two |
//! | device name, id and User-Agent together | [`device::MAX_DEVICE_BYTES`](crate::device::MAX_DEVICE_BYTES) | the User-Agent is cut |
//! | city | [`MAX_CITY_BYTES`] | is cut |
//! | methods of a sign-in made elsewhere | [`MAX_METHODS_BYTES`](crate::identity::MAX_METHODS_BYTES) | is refused |
//!
//! The rest of an item is keys, times, addresses and their attributes' names, at most 504 bytes, and 3 bytes that
//! are kept free for what comes later.

use thiserror::Error;

/// The most characters of a name that a person or a client gives.
pub const MAX_NAME_CHARS: usize = 100;
/// The most bytes of a name in UTF-8: 100 Latin, Greek, Cyrillic, Hebrew or Arabic characters, 66 Chinese ones.
pub const MAX_NAME_BYTES: usize = 200;
/// The most bytes of a city's name.
pub const MAX_CITY_BYTES: usize = 48;

/// Why a text is not accepted as a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidName {
    /// Nothing, or white space alone.
    #[error("A name has at least 1 character.")]
    Empty,
    /// More than [`MAX_NAME_CHARS`].
    #[error("A name has at most 100 characters.")]
    TooManyCharacters,
    /// More than [`MAX_NAME_BYTES`].
    #[error("A name has at most 200 bytes in UTF-8.")]
    TooManyBytes,
    /// A control character or one that breaks a line.
    #[error("A name has no control characters.")]
    ControlCharacter,
    /// A character that turns the text around it.
    #[error("A name has no characters that change the direction of writing.")]
    DirectionMark,
    /// No character that can be seen.
    #[error("A name has at least 1 character that can be seen.")]
    Invisible,
}

/// Checks a name. Joiners and variation selectors are allowed between visible characters, because emoji need them.
///
/// # Errors
/// [`InvalidName`] names the first rule that the text breaks.
pub fn check_name(text: &str) -> Result<(), InvalidName> {
    if text.trim().is_empty() {
        Err(InvalidName::Empty)
    } else if text.chars().count() > MAX_NAME_CHARS {
        Err(InvalidName::TooManyCharacters)
    } else if text.chars().any(is_control) {
        Err(InvalidName::ControlCharacter)
    } else if text.chars().any(is_direction_mark) {
        Err(InvalidName::DirectionMark)
    } else if !shows_something(text) {
        Err(InvalidName::Invisible)
    } else if text.trim().len() > MAX_NAME_BYTES {
        Err(InvalidName::TooManyBytes)
    } else {
        Ok(())
    }
}

/// A text without control characters and direction marks and without space around it, or `None` if it shows nothing.
#[must_use]
pub fn clean(text: &str) -> Option<String> {
    let kept: String = text
        .chars()
        .filter(|c| !is_control(*c) && !is_direction_mark(*c))
        .collect();
    shows_something(&kept).then(|| kept.trim().to_owned())
}

/// The beginning of a text as [`clean`] leaves it, or `None` if it shows nothing.
#[must_use]
pub fn clean_and_cut(text: &str, max_bytes: usize) -> Option<String> {
    clean(cut(&clean(text)?, max_bytes))
}

/// The beginning of a text, of at most `max_bytes` bytes. Cuts between two characters and leaves no space at the end.
#[must_use]
pub fn cut(text: &str, max_bytes: usize) -> &str {
    if text.len() <= max_bytes {
        return text;
    }
    let (beginning, _) = text.split_at(text.floor_char_boundary(max_bytes));
    // A joiner without what it joins would take hold of the text that follows.
    beginning.trim_end_matches(|c: char| c.is_whitespace() || c == ZERO_WIDTH_JOINER)
}

const ZERO_WIDTH_JOINER: char = '\u{200D}';

/// Whether a text holds a character that can be seen.
#[must_use]
pub fn shows_something(text: &str) -> bool {
    text.chars()
        .any(|c| !c.is_whitespace() && !c.is_control() && !is_invisible(c))
}

/// Whether a character breaks a line or a terminal: control characters, line and paragraph separators, byte order mark.
#[must_use]
pub fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FEFF}')
}

/// Whether a character changes the direction of the text around it (Unicode Standard Annex 9, table 4).
#[must_use]
pub fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character leaves no mark on a screen: Unicode's `Default_Ignorable_Code_Point`, which holds the direction
/// marks, annotations, musical controls, and the blank Braille pattern.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00AD}' | '\u{034F}' | '\u{061C}'
        | '\u{115F}' | '\u{1160}' | '\u{3164}' | '\u{FFA0}' // the Hangul fillers, which count as letters
        | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_people_give_are_accepted() {
        let longest = "a".repeat(MAX_NAME_CHARS);
        for name in [
            "x",
            "The laptop in the kitchen",
            " Ann's \"phone\" <3 ",
            "Кухонный ноутбук",
            "مطبخ",
            "台所のノートパソコン",
            "क्षि",
            "👩\u{200D}💻 \u{2764}\u{FE0F}",
            "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
            "می\u{200C}خواهم",
            longest.as_str(),
        ] {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_name_that_shows_nothing_is_refused() {
        for (name, expected) in [
            ("", InvalidName::Empty),
            (" \u{3000}\u{A0} ", InvalidName::Empty),
            ("\u{200B}", InvalidName::Invisible),
            ("\u{200D}\u{FE0F}", InvalidName::Invisible),
            (" \u{3164} ", InvalidName::Invisible),
            ("\u{115F}\u{1160}", InvalidName::Invisible),
            ("\u{17B4}\u{17B5}", InvalidName::Invisible),
            ("\u{180E}", InvalidName::Invisible),
            ("\u{2060}\u{2064}", InvalidName::Invisible),
            ("\u{AD}", InvalidName::Invisible),
            ("\u{2800}", InvalidName::Invisible),
            ("\u{E0041}", InvalidName::Invisible),
        ] {
            assert_eq!(check_name(name), Err(expected), "{name:?}");
            assert_eq!(clean(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_name_that_turns_or_breaks_the_text_around_it_is_refused() {
        for c in [
            '\u{061C}', '\u{200E}', '\u{200F}', '\u{202A}', '\u{202E}', '\u{2066}', '\u{2069}',
        ] {
            let name = format!("Chrome on Windows{c}");
            assert_eq!(check_name(&name), Err(InvalidName::DirectionMark), "{c:?}");
            assert_eq!(clean(&name).as_deref(), Some("Chrome on Windows"));
        }
        for c in [
            '\0', '\t', '\n', '\u{1B}', '\u{7F}', '\u{85}', '\u{2028}', '\u{2029}', '\u{FEFF}',
        ] {
            let name = format!("Chrome{c} on Windows");
            assert_eq!(
                check_name(&name),
                Err(InvalidName::ControlCharacter),
                "{c:?}"
            );
            assert_eq!(clean(&name).as_deref(), Some("Chrome on Windows"));
        }
    }

    #[test]
    fn a_name_is_measured_in_characters_and_in_bytes() {
        let name = |c: &str, times: usize| check_name(&c.repeat(times));
        assert_eq!(name("a", 101), Err(InvalidName::TooManyCharacters));
        assert_eq!(name("é", 100), Ok(()));
        assert_eq!(name("é", 101), Err(InvalidName::TooManyCharacters));
        assert_eq!(name("日", 66), Ok(()));
        assert_eq!(name("日", 67), Err(InvalidName::TooManyBytes));
        assert_eq!(name("😀", 51), Err(InvalidName::TooManyBytes));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("a bc", 2), "a");
        assert_eq!(cut("ééé", 5), "éé");
        assert_eq!(cut("👩\u{200D}💻", 10), "👩");
        assert_eq!(cut("😀", 3), "");
        assert_eq!(cut("", 0), "");
    }

    proptest! {
        #[test]
        fn what_is_clean_and_short_is_a_name(text in "\\PC{0,40}|[\u{200B}-\u{2069}a ]{0,9}", max in 0_usize..200) {
            if let Some(clean_text) = clean(&text) {
                prop_assert_eq!(clean(&clean_text), Some(clean_text.clone()));
                prop_assert!(!matches!(
                    check_name(&clean_text),
                    Err(InvalidName::Empty | InvalidName::Invisible | InvalidName::DirectionMark | InvalidName::ControlCharacter)
                ));
                prop_assert!(cut(&clean_text, max).len() <= max && clean_text.starts_with(cut(&clean_text, max)));
            }
        }
    }
}
