//! Reads variables one by one, and collects what is wrong with them.

use std::fmt::Display;
use std::str::FromStr;

use chrono::TimeDelta;
use http::HeaderValue;
use latchkey_domain::throttle::{HARD_STOP, Limits};
use latchkey_domain::token::{MIN_SECRET_BYTES, SecretTooShort, TokenSecret};

use super::address::{origin, path_of_issuer};
use super::{AllowedOrigins, SettingsError, TokenSecretSource};
use latchkey_api::edge::EdgeSecret;
use latchkey_api::http::BasePath;

/// The value of a dimension where there is no stack and no function.
const NO_STACK: &str = "local";
/// The longest name that a dimension's value may have.
const MAX_DIMENSION_CHARACTERS: usize = 255;
/// A shorter word would refuse too many passwords that have nothing to do with it.
const MIN_CONTEXT_WORD_CHARACTERS: usize = 3;

pub(crate) struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            wrong: Vec::new(),
        }
    }

    /// # Errors
    /// [`SettingsError`] if anything was wrong.
    pub(crate) fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.wrong.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError(self.wrong))
        }
    }

    pub(crate) fn wrong(&mut self, name: &str, what: impl Display) {
        self.wrong.push(format!("  {name} {what}"));
    }

    pub(crate) fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name)
    }

    pub(crate) fn required(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            self.wrong(name, "is not set");
            String::new()
        })
    }

    /// A name that CloudWatch takes as the value of a dimension. With another it would take the line and drop the
    /// metrics.
    pub(crate) fn dimension(&mut self, name: &str) -> String {
        let value = (self.lookup)(name).unwrap_or_else(|| NO_STACK.to_owned());
        let right = value.len() <= MAX_DIMENSION_CHARACTERS
            && value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if !right {
            self.wrong(name, "is not a name of letters, digits, - and _");
        }
        value
    }

    /// The issuer as it is written, because verifiers compare it character by character, and its path.
    pub(crate) fn issuer(&mut self) -> (String, BasePath) {
        let issuer = self.required("ISSUER");
        if issuer.is_empty() {
            return (issuer, BasePath::default());
        }
        let path = path_of_issuer(&issuer).unwrap_or_else(|error| {
            self.wrong("ISSUER", error);
            BasePath::default()
        });
        (issuer, path)
    }

    pub(crate) fn seconds(
        &mut self,
        name: &str,
        default: TimeDelta,
        least: i64,
        most: TimeDelta,
    ) -> TimeDelta {
        TimeDelta::seconds(self.within(name, default.num_seconds(), least, most.num_seconds()))
    }

    pub(crate) fn within<T: FromStr + PartialOrd + Display>(
        &mut self,
        name: &str,
        default: T,
        least: T,
        most: T,
    ) -> T {
        let Some(text) = (self.lookup)(name) else {
            return default;
        };
        match text.parse() {
            Ok(value) if value >= least && value <= most => value,
            Ok(_) | Err(_) => {
                self.wrong(
                    name,
                    format_args!("is not a whole number from {least} to {most}"),
                );
                default
            }
        }
    }

    /// How often something may be tried; 0 turns a limit off.
    pub(crate) fn limits(&mut self, default: Limits) -> Limits {
        const MOST: u32 = 1_000_000;
        Limits {
            free_failures: self.within(
                "SIGN_IN_FREE_FAILURES",
                default.free_failures,
                0,
                HARD_STOP,
            ),
            address_attempts: self.within(
                "ADDRESS_ATTEMPTS_PER_MINUTE",
                default.address_attempts,
                0,
                MOST,
            ),
            lists: self.within("LIST_PER_MINUTE", default.lists, 0, MOST),
            changes: self.within("CHANGE_PER_MINUTE", default.changes, 0, MOST),
            purges: self.within("PURGE_PER_MINUTE", default.purges, 0, MOST),
        }
    }

    pub(crate) fn boolean(&mut self, name: &str, default: bool) -> bool {
        let values = [("true", true), ("false", false)];
        self.one_of(name, default, &values, "true or false", |value, known| {
            value == known
        })
    }

    /// One of some names, in any letter case.
    pub(crate) fn named<T: Copy>(
        &mut self,
        name: &str,
        default: T,
        values: &[(&str, T)],
        in_words: &str,
    ) -> T {
        self.one_of(name, default, values, in_words, str::eq_ignore_ascii_case)
    }

    fn one_of<T: Copy>(
        &mut self,
        name: &str,
        default: T,
        values: &[(&str, T)],
        in_words: &str,
        is: impl Fn(&str, &str) -> bool,
    ) -> T {
        let Some(text) = (self.lookup)(name) else {
            return default;
        };
        let found = values.iter().find(|(known, _)| is(&text, known));
        found.map_or_else(
            || {
                self.wrong(name, format_args!("is not {in_words}"));
                default
            },
            |(_, value)| *value,
        )
    }

    /// Words divided by commas.
    pub(crate) fn words(&mut self, name: &str) -> Vec<String> {
        let Some(text) = (self.lookup)(name) else {
            return Vec::new();
        };
        let words: Vec<String> = text.split(',').map(|word| word.trim().to_owned()).collect();
        if let Some(short) = words
            .iter()
            .find(|word| word.chars().count() < MIN_CONTEXT_WORD_CHARACTERS)
        {
            self.wrong(
                name,
                format_args!(
                    "has {short:?}, which is shorter than {MIN_CONTEXT_WORD_CHARACTERS} characters"
                ),
            );
        }
        words
    }

    pub(crate) fn origins(&mut self) -> AllowedOrigins {
        let Some(text) = (self.lookup)("ALLOWED_ORIGINS") else {
            return AllowedOrigins::None;
        };
        let mut origins = Vec::new();
        for written in text.split(',').map(str::trim) {
            match origin(written).and_then(|origin| HeaderValue::try_from(origin).ok()) {
                Some(origin) if origins.contains(&origin) => {}
                Some(origin) => origins.push(origin),
                None => self.wrong(
                    "ALLOWED_ORIGINS",
                    format_args!(
                        "has {written:?}, which is not an origin such as https://app.example.com"
                    ),
                ),
            }
        }
        AllowedOrigins::These(origins)
    }

    pub(crate) fn edge(&mut self) -> Option<EdgeSecret> {
        let secret = EdgeSecret::parse(&(self.lookup)("EDGE_SECRET")?);
        secret
            .map_err(|error| self.wrong("EDGE_SECRET", error))
            .ok()
    }

    pub(crate) fn token_secret(&mut self) -> TokenSecretSource {
        // After a complaint the value is not used.
        let unusable = TokenSecretSource::SecretsManager(String::new());
        if let Some(arn) = (self.lookup)("TOKEN_SECRET_ARN") {
            if (self.lookup)("TOKEN_SECRET").is_some() {
                self.wrong(
                    "TOKEN_SECRET",
                    "is set in addition to TOKEN_SECRET_ARN; set one of them",
                );
            }
            return TokenSecretSource::SecretsManager(arn);
        }
        let current = self.secret("TOKEN_SECRET");
        let previous = self.secret("TOKEN_SECRET_PREVIOUS").and_then(Result::ok);
        match current {
            Some(Ok(current)) => TokenSecretSource::Literal { current, previous },
            Some(Err(SecretTooShort)) => unusable,
            None => {
                self.wrong(
                    "TOKEN_SECRET_ARN",
                    "is not set (nor TOKEN_SECRET, for use without AWS)",
                );
                unusable
            }
        }
    }

    /// A secret, if the variable is set. One that is too short is already complained of.
    fn secret(&mut self, name: &str) -> Option<Result<TokenSecret, SecretTooShort>> {
        let secret = TokenSecret::new((self.lookup)(name)?);
        if secret.is_err() {
            self.wrong(
                name,
                format_args!("has fewer than {MIN_SECRET_BYTES} bytes"),
            );
        }
        Some(secret)
    }
}
