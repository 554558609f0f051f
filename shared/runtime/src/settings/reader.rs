//! Reads variables one by one, and collects what is wrong with them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chrono::TimeDelta;
use http::HeaderValue;
use latchkey_domain::geography::TravelLimits;
use latchkey_domain::notice::Sender;
use latchkey_domain::throttle::{HARD_STOP, Limits};
use latchkey_domain::token::{
    KeyMaterial, MIN_SECRET_BYTES, RsaPrivateKey, Scope, SecretTooShort, TokenAlgorithm,
    TokenSecret,
};

use super::address::{is_same_site, origin, origin_of, path_of_issuer};
use super::{AllowedOrigins, SettingsError, TokenSecretSource};
use latchkey_api::credentials::CookieTransport;
use latchkey_api::edge::EdgeSecret;
use latchkey_api::http::BasePath;
use latchkey_api::own_pages::OwnPages;

/// The value of a dimension where there is no stack and no function.
const NO_STACK: &str = "local";
/// What `EDGE_SECRET` was called. Ignored, it would leave a service open that its operator takes for closed.
const FORMER_EDGE_SECRET: &str = "FRONT_SECRET";
/// The longest name that a dimension's value may have.
const MAX_DIMENSION_CHARACTERS: usize = 255;
/// How long the name of a table may be.
const TABLE_NAME_CHARACTERS: RangeInclusive<usize> = 3..=255;
/// A shorter word would refuse too many passwords that have nothing to do with it.
const MIN_CONTEXT_WORD_CHARACTERS: usize = 3;

/// An access token holds the name, and travels in a header.
const MAX_AUDIENCE_BYTES: usize = 255;

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

    pub(crate) fn require(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            self.wrong(name, "is not set");
            String::new()
        })
    }

    /// A value without white space, as the template takes it: it stands in every token and is compared as it is.
    pub(crate) fn word(&mut self, name: &str) -> String {
        let value = self.require(name);
        if value.chars().any(char::is_whitespace) {
            self.wrong(name, "is not one word: it has white space");
        }
        value
    }

    /// The name of a table, by DynamoDB's rule (API Reference, CreateTable, `TableName`).
    pub(crate) fn table_name(&mut self, name: &str) -> String {
        let value = self.require(name);
        let right = TABLE_NAME_CHARACTERS.contains(&value.len())
            && value
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if !right && !value.is_empty() {
            self.wrong(
                name,
                "is not a name of 3 to 255 letters, digits, _, . and -, as DynamoDB asks",
            );
        }
        value
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
        let issuer = self.require("ISSUER");
        if issuer.is_empty() {
            return (issuer, BasePath::default());
        }
        let path = path_of_issuer(&issuer).unwrap_or_else(|error| {
            self.wrong("ISSUER", error);
            BasePath::default()
        });
        (issuer, path)
    }

    /// Whom mails come from, if anybody sends them.
    pub(crate) fn sender(&mut self, name: &str) -> Option<Sender> {
        let sender = (self.lookup)(name)?.parse::<Sender>();
        sender.map_err(|error| self.wrong(name, error)).ok()
    }

    /// Where the pages are that open links: an https URL, or http on this machine, as the issuer.
    pub(crate) fn account_url(&mut self, issuer: &str) -> String {
        let Some(url) = (self.lookup)("ACCOUNT_URL") else {
            return format!("{}/account", issuer.trim_end_matches('/'));
        };
        if let Err(error) = path_of_issuer(&url) {
            self.wrong("ACCOUNT_URL", error);
        }
        url.trim_end_matches('/').to_owned()
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
            links: self.within("LINKS_PER_HOUR", default.links, 0, MOST),
            lists: self.within("LIST_PER_MINUTE", default.lists, 0, MOST),
            changes: self.within("CHANGE_PER_MINUTE", default.changes, 0, MOST),
            purges: self.within("PURGE_PER_MINUTE", default.purges, 0, MOST),
        }
    }

    /// What is too far from a session to be usual; 0 for either turns the check off.
    pub(crate) fn travel(&mut self, default: TravelLimits) -> TravelLimits {
        const FASTEST: u32 = 100_000;
        // Half way around the earth.
        const FARTHEST: u32 = 20_000;
        TravelLimits {
            speed_kmh: self.within("UNUSUAL_SPEED_KMH", default.speed_kmh, 0, FASTEST),
            distance_km: self.within("UNUSUAL_DISTANCE_KM", default.distance_km, 0, FARTHEST),
        }
    }

    pub(crate) fn boolean(&mut self, name: &str, default: bool) -> bool {
        let values = [("true", true), ("false", false)];
        self.one_of(name, default, &values, "true or false", |value, known| {
            value == known
        })
    }

    /// One of some names, in any letter case.
    pub(crate) fn choose<T: Copy>(
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

    /// Names of APIs, divided by commas. Not the issuer's: that is the audience of refresh tokens.
    pub(crate) fn audiences(&mut self) -> Vec<String> {
        let Some(text) = (self.lookup)("AUDIENCES") else {
            return Vec::new();
        };
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        let issuer = (self.lookup)("ISSUER").unwrap_or_default();
        for name in &names {
            let plain = name.bytes().all(|byte| byte.is_ascii_graphic());
            if !plain || name.is_empty() || name.len() > MAX_AUDIENCE_BYTES || *name == issuer {
                self.wrong(
                    "AUDIENCES",
                    format_args!(
                        "has {name:?}, which is not a name of up to {MAX_AUDIENCE_BYTES} visible ASCII characters \
                         other than ISSUER"
                    ),
                );
            }
        }
        names
    }

    /// A scope of which every word is one that this service gives.
    pub(crate) fn scope(&mut self, name: &str) -> Scope {
        let Some(text) = (self.lookup)(name) else {
            return Scope::default();
        };
        let unknown = text
            .split(' ')
            .find(|word| Scope::from((*word).to_owned()).is_empty());
        if let Some(word) = unknown {
            self.wrong(
                name,
                format_args!("has {word:?}, which is not a scope of this service"),
            );
        }
        Scope::from(text)
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

    /// A cookie reaches no page of another site, whatever else is allowed, so such an origin is a mistake. What is no
    /// http(s) origin has no site: the web view of an app, which sends its tokens in bodies. Pages of our own use cookies
    /// whether other origins may or not.
    pub(crate) fn cookies(
        &mut self,
        issuer: &str,
        origins: &AllowedOrigins,
        pages: &OwnPages,
    ) -> Option<CookieTransport> {
        let for_origins = self.boolean("COOKIE_TRANSPORT", false);
        if !for_origins && !pages.any() {
            return None;
        }
        let own = origin_of(issuer)?;
        if !for_origins {
            let own = HeaderValue::try_from(own).ok()?;
            return Some(CookieTransport::for_own_pages(own));
        }
        if let AllowedOrigins::These(origins) = origins {
            for origin in origins.iter().filter_map(|origin| origin.to_str().ok()) {
                if origin.starts_with("http") && !is_same_site(origin, &own) {
                    self.wrong(
                        "ALLOWED_ORIGINS",
                        format_args!(
                            "has {origin:?}, which is not on the site of ISSUER ({own}), so no cookie would reach the \
                             API from there: give both one domain, or set COOKIE_TRANSPORT to false"
                        ),
                    );
                }
            }
        }
        let own = HeaderValue::try_from(own).ok()?;
        Some(CookieTransport::new(own, origins))
    }

    pub(crate) fn edge(&mut self) -> Option<EdgeSecret> {
        if (self.lookup)(FORMER_EDGE_SECRET).is_some() {
            self.wrong(
                FORMER_EDGE_SECRET,
                "is now called EDGE_SECRET; set that one instead",
            );
        }
        let secret = EdgeSecret::parse(&(self.lookup)("EDGE_SECRET")?);
        secret
            .map_err(|error| self.wrong("EDGE_SECRET", error))
            .ok()
    }

    pub(crate) fn token_algorithm(&mut self) -> TokenAlgorithm {
        let Some(text) = (self.lookup)("TOKEN_ALGORITHM") else {
            return TokenAlgorithm::default();
        };
        text.parse().unwrap_or_else(|error| {
            self.wrong("TOKEN_ALGORITHM", error);
            TokenAlgorithm::default()
        })
    }

    pub(crate) fn token_secret(&mut self, algorithm: TokenAlgorithm) -> TokenSecretSource {
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
        let device = self.secret("DEVICE_SECRET").and_then(Result::ok);
        let rsa = self.rsa_key(algorithm);
        match current {
            Some(Ok(secret)) => TokenSecretSource::Literal {
                current: KeyMaterial { secret, rsa },
                previous,
                device,
            },
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

    /// The RSA key, if the algorithm needs one.
    fn rsa_key(&mut self, algorithm: TokenAlgorithm) -> Option<RsaPrivateKey> {
        let text = (self.lookup)("TOKEN_RSA_KEY");
        match (algorithm, text) {
            (TokenAlgorithm::EdDsa, _) => None,
            (TokenAlgorithm::Rs256, None) => {
                self.wrong("TOKEN_RSA_KEY", "is not set, and TOKEN_ALGORITHM is RS256");
                None
            }
            (TokenAlgorithm::Rs256, Some(text)) => {
                let key = RsaPrivateKey::from_base64(&text);
                let key = key.and_then(|key| key.check().map(|()| key));
                key.map_err(|error| self.wrong("TOKEN_RSA_KEY:", error))
                    .ok()
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
