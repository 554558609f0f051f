//! Client hints: what a browser says of itself in `Sec-CH-UA`, `Sec-CH-UA-Mobile` and `Sec-CH-UA-Platform`.
//!
//! These are the hints of low entropy, which Chromium sends with each request over HTTPS without being asked (WICG, User-Agent
//! Client Hints, section 3). They know browsers that say in their agent that they are Chrome, such as Brave.
//! They are structured fields (RFC 8941) and are read leniently: what is not well-formed says nothing.

use super::agent::product_name;
use super::words::{BRANDS, GENERAL_BRANDS, HINTED_SYSTEMS};

/// The most bytes of a header that are read.
const MAX_HINT_BYTES: usize = 512;

/// The client hints of a request, as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientHints<'a> {
    /// `Sec-CH-UA`: a list of brands with versions.
    pub brands: Option<&'a str>,
    /// `Sec-CH-UA-Mobile`: `?1` or `?0`.
    pub mobile: Option<&'a str>,
    /// `Sec-CH-UA-Platform`: a string.
    pub platform: Option<&'a str>,
}

/// The brand that the hints name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Brand {
    /// A browser that people know by this name.
    Named(String),
    /// Chromium without a brand, as Linux distributions build it.
    Chromium,
}

impl ClientHints<'_> {
    /// The most special brand of the list.
    pub(super) fn brand(&self) -> Option<Brand> {
        let brands = strings(self.brands?);
        let is_general =
            |brand: &String| GENERAL_BRANDS.contains(&brand.to_ascii_lowercase().as_str());
        let named = brands
            .iter()
            .filter(|brand| !is_general(brand) && !is_grease(brand))
            .find_map(|brand| known_name(brand));
        if let Some(name) = named {
            return Some(Brand::Named(name));
        }
        let mut general = brands.iter().filter(|brand| is_general(brand));
        let is_bare =
            general.next().is_some_and(|brand| brand == "Chromium") && general.next().is_none();
        is_bare.then_some(Brand::Chromium)
    }

    /// Whether the browser asks for pages made for phones.
    pub(super) fn is_mobile(&self) -> Option<bool> {
        match self.mobile?.trim() {
            "?1" => Some(true),
            "?0" => Some(false),
            _ => None,
        }
    }

    /// The system.
    pub(super) fn system(&self) -> Option<&'static str> {
        let said = self.platform?.trim().trim_matches('"').to_ascii_lowercase();
        let (_, name) = HINTED_SYSTEMS.iter().find(|(word, _)| *word == said)?;
        Some(name)
    }
}

fn known_name(brand: &str) -> Option<String> {
    if let Some((_, name)) = BRANDS
        .iter()
        .find(|(said, _)| said.eq_ignore_ascii_case(brand))
    {
        return Some((*name).to_owned());
    }
    product_name(brand)
}

/// Browsers add a brand that means nothing, such as "Not/A)Brand", so that nobody relies on the list's form.
fn is_grease(brand: &str) -> bool {
    let letters = brand.chars().filter(char::is_ascii_alphanumeric);
    letters
        .collect::<String>()
        .eq_ignore_ascii_case("NotABrand")
}

/// The members of a list of strings (RFC 8941, 3.1 and 3.3.3), without their parameters.
fn strings(list: &str) -> Vec<String> {
    let mut members = Vec::new();
    let mut chars = list
        .char_indices()
        .take_while(|(at, _)| *at < MAX_HINT_BYTES)
        .map(|(_, c)| c);
    let mut is_parameter = false;
    while let Some(c) = chars.next() {
        match c {
            '=' => is_parameter = true,
            ',' => is_parameter = false,
            '"' => {
                let mut member = String::new();
                let is_closed = loop {
                    match chars.next() {
                        Some('\\') => member.extend(chars.next()),
                        Some('"') => break true,
                        Some(c) => member.push(c),
                        None => break false,
                    }
                };
                if is_closed && !is_parameter {
                    members.push(member.trim().to_owned());
                }
            }
            _ => {}
        }
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brand(list: &str) -> Option<Brand> {
        let hints = ClientHints {
            brands: Some(list),
            ..ClientHints::default()
        };
        hints.brand()
    }

    fn brand_named(name: &str) -> Option<Brand> {
        Some(Brand::Named(name.to_owned()))
    }

    #[test]
    fn the_most_special_brand_is_the_browser() {
        for (list, expected) in [
            (
                r#""Not/A)Brand";v="8", "Chromium";v="126", "Brave";v="126""#,
                brand_named("Brave"),
            ),
            (
                r#""Opera";v="112", "Not.A/Brand";v="99", "Chromium";v="126""#,
                brand_named("Opera"),
            ),
            (
                r#""Chromium";v="126", " Not A;Brand";v="99", "Microsoft Edge";v="126""#,
                brand_named("Edge"),
            ),
            (
                r#""(Not(A:Brand";v="8", "Chromium";v="98", "YaBrowser";v="22""#,
                brand_named("Yandex Browser"),
            ),
            (
                r#"" Not;A Brand";v="99", "Google Chrome";v="91", "Chromium";v="91""#,
                None,
            ),
            (
                r#""Not_A Brand";v="8", "Chromium";v="120", "Android WebView";v="120""#,
                None,
            ),
            (
                r#""Chromium";v="126", "Not)A;Brand";v="24""#,
                Some(Brand::Chromium),
            ),
        ] {
            assert_eq!(brand(list), expected, "{list}");
        }
    }

    #[test]
    fn a_list_that_is_not_well_formed_is_read_as_far_as_it_is() {
        for (list, expected) in [
            ("", None),
            ("Brave", None),
            ("\"Brave", None),
            ("\"Bra\\", None),
            ("=\"Brave\"", None),
            (";;\"Brave\";v=126,,", brand_named("Brave")),
            ("\"Bra\\ve\"", brand_named("Brave")),
            ("\"<script>\", \"Brave\"", brand_named("Brave")),
            (
                "\"Not\\\"A\\\\Brand\";v=\"1\", \"Brave\"",
                brand_named("Brave"),
            ),
        ] {
            assert_eq!(brand(list), expected, "{list}");
        }
        let after = |bytes: usize| brand(&format!("{}\"Brave\"", " ".repeat(bytes)));
        assert_eq!(after(MAX_HINT_BYTES - 7), brand_named("Brave"));
        assert_eq!(after(MAX_HINT_BYTES - 6), None, "it is read no further");
    }

    #[test]
    fn the_system_and_the_kind_are_read_or_unknown() {
        for (platform, mobile, expected) in [
            ("\"Windows\"", "?0", (Some("Windows"), Some(false))),
            ("\"Chrome OS\"", "?0", (Some("ChromeOS"), Some(false))),
            ("Android", " ?1 ", (Some("Android"), Some(true))),
            ("\"Unknown\"", "1", (None, None)),
            ("", "", (None, None)),
        ] {
            let hints = ClientHints {
                brands: None,
                mobile: Some(mobile),
                platform: Some(platform),
            };
            assert_eq!((hints.system(), hints.is_mobile()), expected, "{platform}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_panic(list in "([ ,;=v\"\\\\?01]|Brave|\\PC){0,40}") {
            let hints = ClientHints { brands: Some(&list), mobile: Some(&list), platform: Some(&list) };
            let _ = (hints.brand(), hints.is_mobile(), hints.system());
        }
    }
}
