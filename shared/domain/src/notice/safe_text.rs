//! Words that a client has chosen, in a mail that this service signs with its name.

use crate::text::check_name;

/// The most characters of such a text that a mail shows.
const MOST_CHARACTERS: usize = 60;

/// A text of a client as a mail may show it: none that a mail program could turn into a link, or that could pass for more
/// than the name of a device. Otherwise whoever signs in could have this service send their advertisement, or a link.
///
/// ```
/// use latchkey_domain::notice::safe_text;
///
/// assert_eq!(safe_text("Ada's phone (2)"), Some("Ada's phone (2)"));
/// assert_eq!(safe_text("Call us at evil.example"), None);
/// ```
#[must_use]
pub fn safe_text(text: &str) -> Option<&str> {
    let is_short = text.chars().count() <= MOST_CHARACTERS;
    let is_plain = check_name(text).is_ok()
        && !text.contains(|c| "@:/\\<>[]{}|#?=".contains(c))
        && !has_host(text)
        && !text.to_lowercase().contains("www");
    let has_number = longest_number(text) >= TELEPHONE_DIGITS;
    (is_short && is_plain && !has_number).then_some(text)
}

/// So many digits in a row, with what people write between them, or more, are a telephone number.
const TELEPHONE_DIGITS: usize = 6;

/// Whether a point stands between two letters, as in the name of a host. `iPad 11.2` has one between digits.
fn has_host(text: &str) -> bool {
    let points = text.match_indices(['.', '。', '．', '｡']);
    let mut hosts = points.filter(|(at, point)| {
        let before = text.get(..*at).and_then(|text| text.chars().next_back());
        let after = text
            .get(at + point.len()..)
            .and_then(|text| text.chars().next());
        let is_word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
        is_word(before) && is_letter(after)
    });
    hosts.next().is_some()
}

/// The most digits that only spaces and signs divide.
fn longest_number(text: &str) -> usize {
    let parts = text.split(|c: char| c.is_alphabetic());
    let digits = parts.map(|part| part.chars().filter(|c| c.is_numeric()).count());
    digits.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_are_shown() {
        for name in [
            "Chrome on Windows",
            "Safari on iPhone",
            "Ada's phone",
            "Adas Küchen-Tablet (alt)",
            "iPad Pro 12.9",
            "Pixel 9a, Android 16",
            "הטלפון של עדה",
            "エイダの電話",
            "📱 Ada & \"Bob\"",
        ] {
            assert_eq!(safe_text(name), Some(name));
        }
    }

    #[test]
    fn what_could_be_a_link_a_number_or_an_advertisement_is_not() {
        for name in [
            "evil.example",
            "see https://evil.example/x",
            "//evil",
            "mail a@b.example",
            "WWW evil",
            "1.evil",
            "Call 0800 123 456",
            "+49 (30) 12-34-56",
            "evil。example",
            "<b>bold</b>",
            "a\u{202E}b",
            "You have won: click",
            &"a".repeat(61),
        ] {
            assert_eq!(safe_text(name), None, "{name}");
        }
    }
}
