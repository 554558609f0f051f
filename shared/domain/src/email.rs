//! The e-mail address that names an account.
//!
//! An address is judged by its form alone: whether it receives mail is for a confirmation to find
//! out. The rules are a pragmatic reading of RFC 5321 (lengths), RFC 5322 (the local part), RFC 1035
//! (the domain) and RFC 6531 (letters beyond ASCII): what real mailboxes use, without quoted strings,
//! comments and address literals.

use icu_casemap::CaseMapper;
use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use thiserror::Error;

use crate::text::is_invisible;

/// The fewest octets of an address: `a@b` (its domain will not pass, but its length does).
pub const MIN_OCTETS: usize = 3;
/// The most octets of an address (RFC 5321, 4.5.3.1.3, without the angle brackets of a path).
pub const MAX_OCTETS: usize = 254;
/// The most octets before the `@` (RFC 5321, 4.5.3.1.1).
pub const MAX_LOCAL_PART_OCTETS: usize = 64;
/// The most characters between two dots of the domain (RFC 1035, 2.3.4).
pub const MAX_LABEL_CHARS: usize = 63;

/// A well-formed e-mail address, as it was typed and in the form that names the account.
///
/// Two addresses are the same account when their [normalized](EmailAddress::normalized) forms are
/// equal; `==` also compares what was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailAddress {
    as_typed: String,
    normalized: String,
}

impl EmailAddress {
    /// Reads an address that somebody enters. White space around it is dropped: keyboards and the clipboard add it.
    ///
    /// # Errors
    ///
    /// [`InvalidEmail`] names the first rule that the address, or its normalized form, breaks.
    pub fn parse(typed: &str) -> Result<Self, InvalidEmail> {
        let address = Self::parse_existing(typed)?;
        match address.may_be_decoded() {
            true => Err(InvalidEmail::LocalPart),
            false => Ok(address),
        }
    }

    /// Reads an address that an account may have: also one that nobody can enter any more, because it
    /// [may be decoded](Self::may_be_decoded).
    ///
    /// # Errors
    ///
    /// [`InvalidEmail`] as for [`parse`](Self::parse).
    pub fn parse_existing(typed: &str) -> Result<Self, InvalidEmail> {
        let typed = typed.trim();
        check(typed)?;
        let (local_part, domain) = typed.split_once('@').ok_or(InvalidEmail::AtSign)?;
        let normalized = format!("{}@{}", fold(local_part), a_labels(domain)?);
        // Folding may lengthen an address or change its letters, and this form is the key.
        check(&normalized)?;
        Ok(Self {
            as_typed: typed.to_owned(),
            normalized,
        })
    }

    /// Whether it may hold an encoded word (RFC 2047): a mail server that decodes it would send the mail to another address.
    #[must_use]
    pub fn may_be_decoded(&self) -> bool {
        self.as_typed.contains("=?")
    }

    /// Whether a mail service takes mail for it that has letters beyond ASCII in the domain alone, and there as A-labels: most
    /// do not speak SMTPUTF8 (RFC 6531), and Amazon SES is one of them (Developer Guide, "Email address format").
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        let mailbox = self.as_typed.split('@').next();
        mailbox.is_some_and(str::is_ascii) && !self.may_be_decoded()
    }

    /// The address as its owner typed it: for showing and for sending mail.
    #[must_use]
    pub fn as_typed(&self) -> &str {
        &self.as_typed
    }

    /// The canonical form of the address: the key under which the account is found.
    ///
    /// The domain stands as its A-labels (UTS 46, non-transitional), so `bücher.example`, `xn--bcher-kva.example`
    /// and full-width letters are one. The local part stands in NFC after simple case folding (Unicode's
    /// CaseFolding.txt, C and S). In both, `ς` and `σ` are one, `ß` and `ss` are two.
    ///
    /// RFC 5321 lets a host tell `Ann@` from `ann@`; none does, and people do not either. Dots and `+tags`
    /// belong to the mailbox owner and stay.
    #[must_use]
    pub fn normalized(&self) -> &str {
        &self.normalized
    }
}

/// Why a text is not an e-mail address. The messages are for the person who typed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidEmail {
    /// Shorter than [`MIN_OCTETS`] or longer than [`MAX_OCTETS`].
    #[error("The e-mail address must have between 3 and 254 characters.")]
    Length,
    /// White space, a control character, or one that is invisible or changes the writing direction.
    #[error("The e-mail address must not contain spaces or invisible characters.")]
    ForbiddenCharacter,
    /// No `@`, or more than one.
    #[error("The e-mail address must contain exactly one @.")]
    AtSign,
    /// What stands before the `@` is empty, too long, or not made of letters, digits, single dots
    /// and the signs that RFC 5322 allows there.
    #[error("The part of the e-mail address before the @ is not valid.")]
    LocalPart,
    /// What stands before the `@` has letters beyond ASCII or `=?`, and mail is to be sent there.
    #[error(
        "No mail can be sent to this address: the part before the @ may have no letters but a to z, and no =?."
    )]
    Unreachable,
    /// What stands after the `@` is not a domain name of at least two labels.
    #[error("The part of the e-mail address after the @ must be a domain, such as example.com.")]
    Domain,
}

fn check(address: &str) -> Result<(), InvalidEmail> {
    if !(MIN_OCTETS..=MAX_OCTETS).contains(&address.len()) {
        return Err(InvalidEmail::Length);
    }
    if address.chars().any(is_forbidden) {
        return Err(InvalidEmail::ForbiddenCharacter);
    }
    let (local_part, domain) = address.split_once('@').ok_or(InvalidEmail::AtSign)?;
    if domain.contains('@') {
        return Err(InvalidEmail::AtSign);
    }
    if !is_local_part(local_part) {
        return Err(InvalidEmail::LocalPart);
    }
    if !is_domain(domain) {
        return Err(InvalidEmail::Domain);
    }
    Ok(())
}

/// NFC and simple case folding, so that the case in which a mailbox is typed does not matter.
///
/// Full folding would join two mailboxes (`ß` and `ss`). It is used for one letter alone, the Turkish `İ`, because what
/// lower-cases it makes two code points of it, which NFC does not join again.
fn fold(local_part: &str) -> String {
    const NFC: ComposingNormalizerBorrowed<'_> = ComposingNormalizerBorrowed::new_nfc();
    let case_mapper = CaseMapper::new();
    let composed = NFC.normalize(local_part).replace('\u{130}', "i\u{307}");
    let folded: String = composed
        .chars()
        .map(|c| case_mapper.simple_fold(c))
        .collect();
    // Folding can leave a sequence that NFC would compose; a key must be stable.
    NFC.normalize(&folded).into_owned()
}

/// The domain as DNS has it (RFC 5890, UTS 46), in lower case, with `σ` for a final `ς`.
///
/// UTS 46 keeps `ς`, but its capital is that of `σ`, so `ΒΌΛΟΣ.EXAMPLE` would be another domain than `βόλος.example`.
fn a_labels(domain: &str) -> Result<String, InvalidEmail> {
    let ascii = to_ascii(domain)?;
    if !ascii.contains("xn--") {
        return Ok(ascii);
    }
    let hyphens = Hyphens::CheckFirstLast;
    let (unicode, _) = Uts46::new().to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, hyphens);
    if unicode.contains('ς') {
        return to_ascii(&unicode.replace('ς', "σ"));
    }
    Ok(ascii)
}

/// Hyphens in the third and fourth place are allowed, because domains that are in use have them.
fn to_ascii(domain: &str) -> Result<String, InvalidEmail> {
    let hyphens = Hyphens::CheckFirstLast;
    Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            hyphens,
            DnsLength::Verify,
        )
        .map(|ascii| ascii.into_owned())
        .map_err(|_| InvalidEmail::Domain)
}

fn is_combining_mark(c: char) -> bool {
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    GeneralCategoryGroup::Mark.contains(category)
}

/// RFC 5322 `dot-atom`, with the letters of RFC 6531.
fn is_local_part(text: &str) -> bool {
    text.len() <= MAX_LOCAL_PART_OCTETS
        && text.split('.').all(|atom| {
            starts_with_a_base_character(atom)
                && atom
                    .chars()
                    .all(|c| is_atext(c) || is_letter_beyond_ascii(c))
        })
}

/// RFC 5322, 3.2.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn is_domain(text: &str) -> bool {
    let mut labels = text.rsplit('.');
    // No top-level domain is a number (RFC 3696, 2), so an IP address is not a domain.
    let top_is_a_name = labels
        .next()
        .is_some_and(|top| is_label(top) && !top.chars().all(|c| c.is_ascii_digit()));
    let mut others = labels.peekable();
    top_is_a_name && others.peek().is_some() && others.all(is_label)
}

/// RFC 1035 with the digits of RFC 1123 and letters of RFC 5890, before or after Punycode.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL_CHARS).contains(&label.chars().count())
        && starts_with_a_base_character(label)
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || is_letter_beyond_ascii(c))
}

/// Letters and digits of any script. Marks belong to them: many Indic syllables need one in NFC too.
fn is_letter_beyond_ascii(c: char) -> bool {
    !c.is_ascii() && (c.is_alphanumeric() || is_combining_mark(c))
}

/// A mark at the start would join the dot or `@` before it. An empty text has no start.
fn starts_with_a_base_character(text: &str) -> bool {
    text.chars()
        .next()
        .is_some_and(|first| !is_combining_mark(first))
}

/// Two addresses that look alike must not be two accounts.
fn is_forbidden(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(typed: &str) -> InvalidEmail {
        EmailAddress::parse(typed).unwrap_err()
    }

    #[test]
    fn addresses_that_people_have_are_accepted() {
        for typed in [
            "ann@example.com",
            "Ann.Lee+latchkey@mail.example.co.uk",
            "o'brien@example.ie",
            "a@b.co",
            "x_y-z=1!#$%&'*+/?^`{|}~@example.com",
            "1234567890@123.example",
            "用户@例え.jp",
            "δοκιμή@παράδειγμα.ελ",
            "जॉन@उदाहरण.भारत",
            "bücher@xn--bcher-kva.example",
        ] {
            assert_eq!(EmailAddress::parse(typed).unwrap().as_typed(), typed);
        }
    }

    #[test]
    fn mail_reaches_an_address_whose_mailbox_is_ascii() {
        for (typed, is_reachable) in [
            ("o'brien+1@example.com", true),
            ("ada@bücher.example", true),
            ("用户@example.com", false),
            ("straße@example.com", false),
            ("=?utf-8?q?ada?=@example.com", false),
        ] {
            let email = EmailAddress::parse_existing(typed).unwrap();
            assert_eq!(email.is_reachable(), is_reachable, "{typed}");
        }
    }

    #[test]
    fn an_address_is_kept_as_typed_and_found_in_any_case() {
        let email = EmailAddress::parse("Ann.LEE@Example.COM").unwrap();
        assert_eq!(email.as_typed(), "Ann.LEE@Example.COM");
        assert_eq!(email.normalized(), "ann.lee@example.com");
    }

    #[test]
    fn white_space_around_an_address_is_dropped() {
        for typed in [
            " ann@example.com",
            "ann@example.com\n",
            "\u{3000}\tann@example.com \u{A0}",
        ] {
            let email = EmailAddress::parse(typed).unwrap();
            assert_eq!(email.as_typed(), "ann@example.com");
            assert_eq!(email.normalized(), "ann@example.com");
        }
    }

    #[test]
    fn spellings_of_one_mailbox_have_one_canonical_form() {
        for (canonical, spellings) in [
            (
                "ada@xn--bcher-kva.example",
                &[
                    "ada@bücher.example",
                    "ADA@BÜCHER.EXAMPLE",
                    "ada@bu\u{308}cher.example",
                    "ada@xn--bcher-kva.example",
                    "ada@XN--BCHER-KVA.example",
                ][..],
            ),
            (
                "ada@xn--nxasmq6b.example",
                &[
                    "ada@βόλος.example",
                    "ADA@ΒΌΛΟΣ.EXAMPLE",
                    "ada@βόλοσ.example",
                    "ada@xn--nxasmm1c.example",
                ],
            ),
            (
                "ada@example.com",
                &[
                    "ada@ｅｘａｍｐｌｅ.com",
                    "Ada@ＥＸＡＭＰＬＥ.ＣＯＭ",
                    "ada@exampl\u{212F}.com",
                ],
            ),
            (
                "οδυσσεύσ@example.com",
                &["οδυσσεύς@example.com", "ΟΔΥΣΣΕΎΣ@example.com"],
            ),
            (
                "straße@example.com",
                &["STRAẞE@example.com", "Straße@example.com"],
            ),
            (
                "i\u{307}z@example.com",
                &["İZ@example.com", "I\u{307}z@example.com"],
            ),
            ("ada@strasse.example", &["ada@STRASSE.example"]),
            (
                "ada@xn--strae-oqa.example",
                &["ada@straße.example", "ada@STRAẞE.example"],
            ),
            ("ada@r3---x.example", &["ada@R3---x.example"]),
        ] {
            for typed in spellings {
                assert_eq!(
                    EmailAddress::parse(typed).unwrap().normalized(),
                    canonical,
                    "{typed}"
                );
            }
        }
    }

    #[test]
    fn two_mailboxes_never_become_one() {
        for (one, other) in [
            ("straße@example.com", "strasse@example.com"),
            ("ada@straße.example", "ada@strasse.example"),
            ("ı@example.com", "i@example.com"),
            ("ﬁn@example.com", "fin@example.com"),
            ("ᾳ@example.com", "αι@example.com"),
            ("é@example.com", "e@example.com"),
            ("a.da@example.com", "ada@example.com"),
            ("ada+x@example.com", "ada@example.com"),
        ] {
            let canonical = |typed| EmailAddress::parse(typed).unwrap().normalized;
            assert_ne!(canonical(one), canonical(other), "{one}");
        }
    }

    #[test]
    fn composed_and_decomposed_letters_name_one_account() {
        let composed = EmailAddress::parse("Jos\u{E9}@example.com").unwrap();
        let decomposed = EmailAddress::parse("JOSE\u{301}@example.com").unwrap();
        assert_eq!(composed.normalized(), decomposed.normalized());
        assert_eq!(composed.normalized(), "jos\u{E9}@example.com");
    }

    #[test]
    fn lengths_are_counted_in_octets() {
        let local = "a".repeat(64);
        assert!(EmailAddress::parse(&format!("{local}@example.com")).is_ok());
        assert_eq!(
            refusal(&format!("{local}a@example.com")),
            InvalidEmail::LocalPart
        );
        assert!(EmailAddress::parse(&format!("{}@example.com", "é".repeat(32))).is_ok());
        assert_eq!(
            refusal(&format!("{}@example.com", "é".repeat(33))),
            InvalidEmail::LocalPart
        );

        let labels = format!("{}.{}.{}", "b".repeat(63), "c".repeat(63), "d".repeat(57));
        let longest = format!("{local}@{labels}.com");
        assert_eq!(longest.len(), 254);
        assert!(EmailAddress::parse(&longest).is_ok());
        assert_eq!(refusal(&format!("{longest}m")), InvalidEmail::Length);
        assert_eq!(refusal(""), InvalidEmail::Length);
        assert_eq!(refusal("a@"), InvalidEmail::Length);
        assert_eq!(refusal("a@b"), InvalidEmail::Domain);
    }

    #[test]
    fn the_normalized_form_obeys_the_lengths_too() {
        // U+0130 has two octets, its lower case three.
        let typed = format!("{}@example.com", "\u{130}".repeat(32));
        assert_eq!(refusal(&typed), InvalidEmail::LocalPart);
    }

    #[test]
    fn exactly_one_at_sign_is_needed() {
        assert_eq!(refusal("ann.example.com"), InvalidEmail::AtSign);
        assert_eq!(refusal("ann@lee@example.com"), InvalidEmail::AtSign);
        assert_eq!(refusal("@example.com"), InvalidEmail::LocalPart);
        assert_eq!(refusal("ann@"), InvalidEmail::Domain);
    }

    #[test]
    fn white_space_and_what_cannot_be_seen_are_refused_anywhere() {
        for hidden in [
            ' ',
            '\t',
            '\n',
            '\r',
            '\0',
            '\u{7F}',
            '\u{85}',
            '\u{A0}',
            '\u{AD}',
            '\u{115F}',
            '\u{200B}',
            '\u{200D}',
            '\u{200E}',
            '\u{2028}',
            '\u{202E}',
            '\u{2066}',
            '\u{3000}',
            '\u{3164}',
            '\u{FE0F}',
            '\u{FEFF}',
            '\u{E0041}',
        ] {
            let around = [
                format!("{hidden}ann@example.com"),
                format!("ann@example.com{hidden}"),
            ];
            let within = [
                format!("an{hidden}n@example.com"),
                format!("ann@exam{hidden}ple.com"),
            ];
            let around = around.into_iter().filter(|_| !hidden.is_whitespace());
            for typed in around.chain(within) {
                assert_eq!(
                    refusal(&typed),
                    InvalidEmail::ForbiddenCharacter,
                    "{typed:?}"
                );
            }
        }
    }

    #[test]
    fn local_parts_that_no_mailbox_has_are_refused() {
        for local in [
            ".ann",
            "ann.",
            "an..n",
            "\"ann\"",
            "an(n)",
            "a,b",
            "a;b",
            "a<b>",
            "a:b",
            "a\\b",
            "[ann]",
            "ann😀",
            "\u{301}ann",
            "a.\u{301}b",
        ] {
            assert_eq!(
                refusal(&format!("{local}@example.com")),
                InvalidEmail::LocalPart,
                "{local}"
            );
        }
    }

    #[test]
    fn what_a_mail_server_may_decode_cannot_be_entered_and_is_read_where_it_is() {
        for local in ["a=?b", "=?utf-8?q?eve=40example.org?=", "ann=?"] {
            let typed = format!("{local}@example.com");
            assert_eq!(refusal(&typed), InvalidEmail::LocalPart, "{local}");
            let existing = EmailAddress::parse_existing(&typed).unwrap();
            assert_eq!(existing.as_typed(), typed);
            assert!(existing.may_be_decoded());
        }
        for local in ["a=b", "a?b", "a?=b"] {
            let typed = format!("{local}@example.com");
            assert!(!EmailAddress::parse(&typed).unwrap().may_be_decoded());
        }
    }

    #[test]
    fn domains_that_cannot_exist_are_refused() {
        for domain in [
            "localhost",
            ".example.com",
            "example.com.",
            "example..com",
            "-example.com",
            "example-.com",
            "exa_mple.com",
            "example.-com",
            "127.0.0.1",
            "[127.0.0.1]",
            "example.com/path",
            "example。com",
            "mail。example.com",
            "xn--a.com",
            "xn--.com",
            "\u{301}x.com",
        ] {
            assert_eq!(
                refusal(&format!("ann@{domain}")),
                InvalidEmail::Domain,
                "{domain}"
            );
        }
        let long = "b".repeat(63);
        assert!(EmailAddress::parse(&format!("ann@{long}.com")).is_ok());
        assert_eq!(refusal(&format!("ann@{long}b.com")), InvalidEmail::Domain);
    }

    proptest! {
        #[test]
        fn case_never_makes_a_second_mailbox(
            typed in "[a-zà-žά-ώа-яა-ჺḀ-ỿǆςſ]{1,9}@[a-zà-žά-ώа-яς]{1,9}[.][a-zà-öа-яς]{2,6}",
        ) {
            // Letters without a single capital stay: `ß` becomes two, `ı` that of `i`.
            let capital = |c: char| {
                let mut upper = c.to_uppercase();
                upper.next().filter(|_| upper.next().is_none() && c != 'ı').unwrap_or(c)
            };
            let upper: String = typed.chars().map(capital).collect();
            if let Ok(email) = EmailAddress::parse(&typed) {
                for typed in [upper.to_lowercase(), upper] {
                    let other = EmailAddress::parse(&typed).unwrap();
                    prop_assert_eq!(other.normalized(), email.normalized());
                }
            }
        }

        #[test]
        fn any_text_is_read_without_panic_and_normalizing_twice_changes_nothing(typed in "\\PC{0,6}[a-zA-Zİẞσςé.]{0,6}@?[a-zA-ZÀ-ȳ]{1,8}[.]?\\PC{0,6}") {
            if let Ok(email) = EmailAddress::parse(&typed) {
                let again = EmailAddress::parse(email.normalized()).unwrap();
                prop_assert_eq!(again.normalized(), email.normalized());
                prop_assert!(email.normalized().len() <= MAX_OCTETS);
            }
        }

        #[test]
        fn every_plain_address_is_accepted(typed in "[a-zA-Z0-9_+-]{1,20}(\\.[a-z0-9]{1,9}){0,3}@([a-z0-9]{1,10}\\.){1,3}[a-z]{2,8}") {
            prop_assert!(EmailAddress::parse(&typed).is_ok());
        }
    }
}
