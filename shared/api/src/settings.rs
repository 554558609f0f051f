//! Settings: read once at start, from the environment, and checked with a message that names the variable.
//!
//! The names are the same in the template, in the local stack and in the docs; a test holds the template's defaults
//! equal to [`SessionPolicy::default`].

use std::fmt::Display;
use std::str::FromStr;

use axum::http::HeaderValue;
use chrono::TimeDelta;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::token::{MIN_SECRET_BYTES, TokenIdentity, TokenSecret};

use crate::front::FrontSecret;

/// Everything about the settings that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings cannot be used:\n{}", .0.join("\n"))]
pub struct SettingsError(Vec<String>);

/// Where the secret comes from, from which the signing keys are derived.
#[derive(Clone, Debug)]
pub enum TokenSecretSource {
    /// A secret in Secrets Manager, by its ARN: `TOKEN_SECRET_ARN`.
    SecretsManager(String),
    /// The secret itself: `TOKEN_SECRET`, and `TOKEN_SECRET_PREVIOUS` for one that was replaced.
    Literal {
        /// Signs.
        current: TokenSecret,
        /// Signs nothing; its tokens are still accepted.
        previous: Option<TokenSecret>,
    },
}

/// Which web pages may call the API: `ALLOWED_ORIGINS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// None: CORS is closed.
    None,
    /// These, divided by commas.
    These(Vec<HeaderValue>),
}

/// The settings of a function that answers over HTTP.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ISSUER` (an https URL; http for this machine), `AUDIENCE`, `CLIENT_ID`.
    pub identity: TokenIdentity,
    /// `ACCESS_TOKEN_SECONDS`, `SESSION_IDLE_SECONDS`, `SESSION_ABSOLUTE_SECONDS`, `REFRESH_GRACE_SECONDS`,
    /// `MAX_SESSIONS`, `RETENTION_SECONDS`.
    pub policy: SessionPolicy,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: AllowedOrigins,
    /// `FRONT_SECRET`: what CloudFront shows when the service stands behind it; none when it does not.
    pub front: Option<FrontSecret>,
    /// `TOKEN_SECRET_ARN` or `TOKEN_SECRET`.
    pub token_secret: TokenSecretSource,
}

/// Where the storage is: all that the cleanup needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSettings {
    /// `TABLE_NAME`.
    pub table_name: String,
    /// `AWS_ENDPOINT_URL_DYNAMODB`: another DynamoDB than that of the region.
    pub endpoint: Option<String>,
}

/// What a function's metrics are told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `STACK_NAME`; `local` unless set.
    pub stack: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets; `local` elsewhere.
    pub function: String,
}

/// Reads a variable of the environment; one that is empty or not UTF-8 counts as not set.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the adapter that the ban points to"
)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The longest time that a setting takes, in seconds: ten years.
const MAX_SECONDS: i64 = 10 * 366 * 24 * 3600;
/// The most sessions that a user may have: the account's item and the transaction that admits one stay small.
const MAX_MAX_SESSIONS: usize = 100;

impl Settings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is missing or wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let default = SessionPolicy::default();
        let settings = Self {
            identity: TokenIdentity {
                issuer: reader.issuer(),
                audience: reader.required("AUDIENCE"),
                client_id: reader.required("CLIENT_ID"),
            },
            policy: SessionPolicy {
                access_token_lifetime: reader.seconds(
                    "ACCESS_TOKEN_SECONDS",
                    default.access_token_lifetime,
                    1,
                ),
                idle_lifetime: reader.seconds("SESSION_IDLE_SECONDS", default.idle_lifetime, 1),
                absolute_lifetime: reader.seconds(
                    "SESSION_ABSOLUTE_SECONDS",
                    default.absolute_lifetime,
                    1,
                ),
                refresh_grace: reader.seconds("REFRESH_GRACE_SECONDS", default.refresh_grace, 0),
                max_sessions: reader.within(
                    "MAX_SESSIONS",
                    default.max_sessions,
                    1,
                    MAX_MAX_SESSIONS,
                ),
                retention: reader.seconds("RETENTION_SECONDS", default.retention, 0),
            },
            allowed_origins: reader.origins(),
            front: reader.front(),
            token_secret: reader.token_secret(),
        };
        if settings.policy.idle_lifetime > settings.policy.absolute_lifetime {
            reader.wrong(
                "SESSION_IDLE_SECONDS",
                "is longer than SESSION_ABSOLUTE_SECONDS",
            );
        }
        reader.finish(settings)
    }
}

impl StorageSettings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is missing or wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let settings = Self {
            table_name: reader.required("TABLE_NAME"),
            endpoint: lookup("AWS_ENDPOINT_URL_DYNAMODB").or_else(|| lookup("AWS_ENDPOINT_URL")),
        };
        reader.finish(settings)
    }
}

impl MetricsSettings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let settings = Self {
            stack: reader.dimension("STACK_NAME"),
            function: reader.dimension("AWS_LAMBDA_FUNCTION_NAME"),
        };
        reader.finish(settings)
    }
}

/// The value of a dimension where there is no stack and no function.
const NO_STACK: &str = "local";
/// The longest name that a dimension's value may have.
const MAX_DIMENSION_CHARACTERS: usize = 255;

struct Reader<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    wrong: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            wrong: Vec::new(),
        }
    }

    fn finish<T>(self, settings: T) -> Result<T, SettingsError> {
        if self.wrong.is_empty() {
            Ok(settings)
        } else {
            Err(SettingsError(self.wrong))
        }
    }

    fn wrong(&mut self, name: &str, what: impl Display) {
        self.wrong.push(format!("  {name} {what}"));
    }

    fn required(&mut self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            self.wrong(name, "is not set");
            String::new()
        })
    }

    /// A name that CloudWatch takes as the value of a dimension. With another it would take the line and drop the
    /// metrics.
    fn dimension(&mut self, name: &str) -> String {
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

    fn issuer(&mut self) -> String {
        let issuer = self.required("ISSUER");
        let on_this_machine = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        if !issuer.is_empty()
            && !issuer.starts_with("https://")
            && !on_this_machine
                .iter()
                .any(|start| issuer.starts_with(start))
        {
            self.wrong(
                "ISSUER",
                "is not an https URL (http is for 127.0.0.1, localhost and [::1])",
            );
        }
        issuer
    }

    fn seconds(&mut self, name: &str, default: TimeDelta, least: i64) -> TimeDelta {
        TimeDelta::seconds(self.within(name, default.num_seconds(), least, MAX_SECONDS))
    }

    fn within<T: FromStr + PartialOrd + Display>(
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

    fn origins(&mut self) -> AllowedOrigins {
        let Some(text) = (self.lookup)("ALLOWED_ORIGINS") else {
            return AllowedOrigins::None;
        };
        let mut origins = Vec::new();
        for origin in text.split(',').map(str::trim) {
            // Any scheme: an app's web view has its own, such as capacitor://localhost.
            match (origin.split_once("://"), HeaderValue::from_str(origin)) {
                (Some((scheme, host)), Ok(value))
                    if !scheme.is_empty()
                        && !host.is_empty()
                        && !host.contains(['/', '*', '?', '#', ' ']) =>
                {
                    origins.push(value);
                }
                _ => self.wrong(
                    "ALLOWED_ORIGINS",
                    format_args!(
                        "has {origin:?}, which is not an origin such as https://app.example.com"
                    ),
                ),
            }
        }
        AllowedOrigins::These(origins)
    }

    fn front(&mut self) -> Option<FrontSecret> {
        let secret = FrontSecret::parse(&(self.lookup)("FRONT_SECRET")?);
        secret
            .map_err(|error| self.wrong("FRONT_SECRET", error))
            .ok()
    }

    fn token_secret(&mut self) -> TokenSecretSource {
        if let Some(arn) = (self.lookup)("TOKEN_SECRET_ARN") {
            if (self.lookup)("TOKEN_SECRET").is_some() {
                self.wrong(
                    "TOKEN_SECRET",
                    "is set beside TOKEN_SECRET_ARN; set one of them",
                );
            }
            return TokenSecretSource::SecretsManager(arn);
        }
        let current = self.secret("TOKEN_SECRET");
        let previous = self.secret("TOKEN_SECRET_PREVIOUS");
        match current {
            Some(current) => TokenSecretSource::Literal { current, previous },
            None => {
                if self
                    .wrong
                    .iter()
                    .all(|wrong| !wrong.contains("TOKEN_SECRET "))
                {
                    self.wrong(
                        "TOKEN_SECRET_ARN",
                        "is not set (nor TOKEN_SECRET, for use without AWS)",
                    );
                }
                TokenSecretSource::SecretsManager(String::new())
            }
        }
    }

    fn secret(&mut self, name: &str) -> Option<TokenSecret> {
        let secret = TokenSecret::new((self.lookup)(name)?);
        if secret.is_err() {
            self.wrong(
                name,
                format_args!("has fewer than {MIN_SECRET_BYTES} bytes"),
            );
        }
        secret.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn read(changes: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        let mut variables = HashMap::from([
            ("ISSUER", "https://id.example.com"),
            ("AUDIENCE", "latchkey"),
            ("CLIENT_ID", "latchkey-app"),
            ("TOKEN_SECRET", SECRET),
        ]);
        variables.extend(changes.iter().copied());
        Settings::read(|name| {
            variables
                .get(name)
                .filter(|value| !value.is_empty())
                .map(|value| (*value).to_owned())
        })
    }

    fn complaint(changes: &[(&str, &str)]) -> String {
        read(changes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_set_has_the_documented_default() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.policy, SessionPolicy::default());
        assert_eq!(settings.allowed_origins, AllowedOrigins::None);
    }

    #[test]
    fn a_message_names_every_variable_that_is_wrong() {
        let message = complaint(&[
            ("ISSUER", "http://id.example.com"),
            ("AUDIENCE", ""),
            ("MAX_SESSIONS", "0"),
            ("SESSION_IDLE_SECONDS", "a week"),
            ("TOKEN_SECRET", "short"),
            ("FRONT_SECRET", "short"),
        ]);
        for name in [
            "ISSUER",
            "AUDIENCE",
            "MAX_SESSIONS",
            "SESSION_IDLE_SECONDS",
            "TOKEN_SECRET ",
            "FRONT_SECRET ",
        ] {
            assert!(message.contains(name), "{name} in {message}");
        }
        assert!(
            !message.contains("short") && !message.contains("ARN"),
            "{message}"
        );
    }

    #[test]
    fn a_secret_must_be_given_in_one_way() {
        assert!(complaint(&[("TOKEN_SECRET", "")]).contains("TOKEN_SECRET_ARN is not set"));
        assert!(complaint(&[("TOKEN_SECRET_ARN", "arn:x")]).contains("set one of them"));
        let settings = read(&[("TOKEN_SECRET", ""), ("TOKEN_SECRET_ARN", "arn:x")]).unwrap();
        assert!(
            matches!(settings.token_secret, TokenSecretSource::SecretsManager(arn) if arn == "arn:x")
        );
    }

    #[test]
    fn an_idle_lifetime_is_not_longer_than_the_absolute_one() {
        let changes = [
            ("SESSION_IDLE_SECONDS", "100"),
            ("SESSION_ABSOLUTE_SECONDS", "99"),
        ];
        assert!(complaint(&changes).contains("SESSION_IDLE_SECONDS is longer"));
    }

    #[test]
    fn origins_are_origins() {
        let settings = read(&[(
            "ALLOWED_ORIGINS",
            "https://a.example.com, http://localhost:5173",
        )])
        .unwrap();
        assert!(
            matches!(settings.allowed_origins, AllowedOrigins::These(origins) if origins.len() == 2)
        );
        for wrong in [
            "a.example.com",
            "https://",
            "https://a.example.com/",
            "https://*.example.com",
            "null",
            "*",
        ] {
            assert!(
                complaint(&[("ALLOWED_ORIGINS", wrong)]).contains("ALLOWED_ORIGINS"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn metrics_are_told_apart_by_names_that_cloudwatch_takes() {
        let read = |stack: Option<&str>| {
            let stack = stack.map(str::to_owned);
            MetricsSettings::read(|name| stack.clone().filter(|_| name == "STACK_NAME"))
        };
        let settings = read(None).unwrap();
        assert_eq!(
            (settings.stack.as_str(), settings.function.as_str()),
            ("local", "local")
        );
        assert_eq!(read(Some("auth-prod")).unwrap().stack, "auth-prod");
        for wrong in ["a b", "é", ":a", &"a".repeat(256)] {
            let message = read(Some(wrong)).unwrap_err().to_string();
            assert!(message.contains("STACK_NAME"), "{message}");
        }
    }

    #[test]
    fn no_secret_is_in_debug_output() {
        let settings = read(&[("FRONT_SECRET", SECRET)]).unwrap();
        assert!(settings.front.is_some());
        assert!(!format!("{settings:?}").contains(SECRET));
    }
}
