//! Settings: read once at start, from the environment, and checked with a message that names the variable.
//!
//! The names are the same in the template, in the local stack and in the docs; a test holds the template's defaults
//! equal to [`SessionPolicy::default`].

mod address;
mod authorizer;
mod events;
mod log;
mod mail;
mod misspelt;
mod pages;
mod reader;

use std::path::PathBuf;

use chrono::TimeDelta;
use latchkey_domain::password::PasswordPolicy;
use latchkey_domain::policy::{
    LARGEST_SESSION_LIMIT, LONGEST_ACCESS_TOKEN_LIFETIME, LONGEST_REAUTHENTICATE_WITHIN,
    LONGEST_REFRESH_GRACE, SessionPolicy,
};
use latchkey_domain::token::{KeyMaterial, TokenAlgorithm, TokenIdentity, TokenSecret};

pub use authorizer::AuthorizerSettings;
pub use events::{EventsSettings, read_activity_retention};
pub use log::{Format, LogSettings};
pub use mail::MailSettings;
pub use misspelt::{Misspelt, misspelt, names, warn_of_misspelt};
pub use pages::PagesSettings;
use reader::Reader;

use latchkey_api::cors::AllowedOrigins;
use latchkey_api::credentials::CookieTransport;
use latchkey_api::edge::EdgeSecret;
use latchkey_api::http::BasePath;
use latchkey_api::own_pages::OwnPages;

/// Everything about the settings that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the settings cannot be used:\n{}", .0.join("\n"))]
pub struct SettingsError(Vec<String>);

/// Where the secret comes from, from which the signing keys are derived.
#[derive(Clone, Debug)]
pub enum TokenSecretSource {
    /// A secret in Secrets Manager, by its ARN: `TOKEN_SECRET_ARN`.
    SecretsManager(String),
    /// The secret itself: `TOKEN_SECRET`, with `TOKEN_RSA_KEY` if access tokens are signed with RSA,
    /// `TOKEN_SECRET_PREVIOUS` for one that was replaced, and `DEVICE_SECRET`.
    Literal {
        /// Signs.
        current: KeyMaterial,
        /// Signs nothing; its tokens are still accepted.
        previous: Option<TokenSecret>,
        /// What device tokens and counters are derived from, also after `current` was replaced.
        device: Option<TokenSecret>,
    },
}

/// The settings of a function that answers over HTTP.
///
/// ```
/// use latchkey_runtime::settings::Settings;
///
/// let settings = Settings::read(|name| match name {
///     "ISSUER" => Some("https://id.example.com/auth".to_owned()),
///     "AUDIENCE" | "CLIENT_ID" => Some("app".to_owned()),
///     "TOKEN_SECRET_ARN" => Some("arn:aws:secretsmanager:eu-west-1:1:secret:keys".to_owned()),
///     _ => None,
/// })?;
/// assert_eq!(settings.base_path.as_str(), "/auth");
/// assert_eq!(settings.policy.max_sessions, 20);
/// # Ok::<(), latchkey_runtime::settings::SettingsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ISSUER` (an https URL; http for this machine), `AUDIENCE`, `AUDIENCES`, `CLIENT_ID`.
    pub identity: TokenIdentity,
    /// The path of `ISSUER`: the API answers under it.
    pub base_path: BasePath,
    /// `ACCESS_TOKEN_SECONDS`, `SESSION_IDLE_SECONDS`, `SESSION_ABSOLUTE_SECONDS`, `REFRESH_GRACE_SECONDS`,
    /// `MAX_SESSIONS`, `ONE_SESSION_PER_DEVICE`, `REAUTHENTICATE_WITHIN_SECONDS`, `REAUTHENTICATE_TO_REVOKE`, `ADMINISTRATION`,
    /// `REGISTRATION`, `REQUIRE_VERIFIED_EMAIL`, whether there is a `MAIL_FROM`, `RETENTION_SECONDS`, `SIGN_IN_FREE_FAILURES`,
    /// `ADDRESS_ATTEMPTS_PER_MINUTE`, `LINKS_PER_HOUR`, `LIST_PER_MINUTE`, `CHANGE_PER_MINUTE`, `PURGE_PER_MINUTE`,
    /// `UNUSUAL_SPEED_KMH`, `UNUSUAL_DISTANCE_KM`.
    pub policy: SessionPolicy,
    /// `PASSWORD_CONTEXT_WORDS`: words that a password may not be made of (OWASP ASVS 5.0, 6.1.2), as they are written.
    pub password_context_words: Vec<String>,
    /// `ALLOWED_ORIGINS`.
    pub allowed_origins: AllowedOrigins,
    /// `COOKIE_TRANSPORT`: from which pages cookies are accepted. The service's own pages always use them; none when it is
    /// off and there are no such pages.
    pub cookies: Option<CookieTransport>,
    /// `ACCOUNT_PAGES`, `ADMIN_PAGES`, `PAGE_NAME`, `PAGE_LOGO`, `PAGE_STYLESHEET`, `PAGE_LINKS`.
    pub pages: OwnPages,
    /// `EDGE_SECRET`: what CloudFront shows when the service stands behind it; none when it does not.
    pub edge: Option<EdgeSecret>,
    /// `LOCATION_DATABASE`: a file that knows the places of addresses; see [`crate::places`].
    pub location_database: Option<PathBuf>,
    /// `ACCOUNT_URL`: where the pages are that open the links of mails, without a slash at its end; `/account` of the issuer
    /// unless set.
    pub account_url: String,
    /// `TOKEN_ALGORITHM`: what new keys sign access tokens with.
    pub token_algorithm: TokenAlgorithm,
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

/// What distinguishes a function's metrics.
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

/// The names of the environment's variables; one that is not UTF-8 is left out.
#[must_use]
pub fn environment_names() -> Vec<String> {
    std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .collect()
}

/// The longest time that a setting takes: ten years.
const LONGEST: TimeDelta = TimeDelta::days(10 * 366);

impl Settings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is missing or wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let default = SessionPolicy::default();
        let (issuer, base_path) = reader.issuer();
        let token_algorithm = reader.token_algorithm();
        let allowed_origins = reader.origins();
        let registration_open = reader.registration_open();
        let pages = OwnPages {
            registration_closed: !registration_open,
            ..reader.own_pages()
        };
        let cookies = reader.cookies(&issuer, &allowed_origins, &pages);
        let account_url = reader.account_url(&issuer);
        let settings = Self {
            identity: TokenIdentity {
                issuer,
                audience: reader.word("AUDIENCE"),
                other_audiences: reader.audiences(),
                client_id: reader.word("CLIENT_ID"),
            },
            base_path,
            policy: SessionPolicy {
                access_token_lifetime: reader.seconds(
                    "ACCESS_TOKEN_SECONDS",
                    default.access_token_lifetime,
                    1,
                    LONGEST_ACCESS_TOKEN_LIFETIME,
                ),
                idle_lifetime: reader.seconds(
                    "SESSION_IDLE_SECONDS",
                    default.idle_lifetime,
                    1,
                    LONGEST,
                ),
                absolute_lifetime: reader.seconds(
                    "SESSION_ABSOLUTE_SECONDS",
                    default.absolute_lifetime,
                    1,
                    LONGEST,
                ),
                refresh_grace: reader.seconds(
                    "REFRESH_GRACE_SECONDS",
                    default.refresh_grace,
                    0,
                    LONGEST_REFRESH_GRACE,
                ),
                max_sessions: reader.within(
                    "MAX_SESSIONS",
                    default.max_sessions,
                    1,
                    LARGEST_SESSION_LIMIT,
                ),
                one_session_per_device: reader
                    .boolean("ONE_SESSION_PER_DEVICE", default.one_session_per_device),
                reauthenticate_within: reader.seconds(
                    "REAUTHENTICATE_WITHIN_SECONDS",
                    default.reauthenticate_within,
                    1,
                    LONGEST_REAUTHENTICATE_WITHIN,
                ),
                reauthenticate_to_revoke: reader
                    .boolean("REAUTHENTICATE_TO_REVOKE", default.reauthenticate_to_revoke),
                registration_open,
                require_verified_email: reader
                    .boolean("REQUIRE_VERIFIED_EMAIL", default.require_verified_email),
                // Who it is, the function that sends mail reads and judges.
                sends_mail: reader.optional("MAIL_FROM").is_some(),
                administration: reader.boolean("ADMINISTRATION", default.administration),
                retention: reader.seconds("RETENTION_SECONDS", default.retention, 0, LONGEST),
                limits: reader.limits(default.limits),
                travel: reader.travel(default.travel),
            },
            password_context_words: reader.words("PASSWORD_CONTEXT_WORDS"),
            allowed_origins,
            cookies,
            pages,
            edge: reader.edge(),
            location_database: reader.optional("LOCATION_DATABASE").map(PathBuf::from),
            account_url,
            token_algorithm,
            token_secret: reader.token_secret(token_algorithm),
        };
        if settings.policy.idle_lifetime > settings.policy.absolute_lifetime {
            reader.wrong(
                "SESSION_IDLE_SECONDS",
                "is longer than SESSION_ABSOLUTE_SECONDS",
            );
        }
        // A younger refresh token is not rotated, and only a rotation extends the idle expiry.
        if settings.policy.idle_lifetime <= settings.policy.rotation_interval() {
            reader.wrong(
                "SESSION_IDLE_SECONDS",
                "is not longer than REFRESH_GRACE_SECONDS and 5 seconds",
            );
        }
        reader.finish(settings)
    }

    /// What passwords may not be: the words are those of the issuer and of `PASSWORD_CONTEXT_WORDS`.
    #[must_use]
    pub fn password_policy(&self) -> PasswordPolicy {
        let words = self.password_context_words.iter().map(String::as_str);
        PasswordPolicy::new(&self.identity.issuer, words)
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
            table_name: reader.table_name("TABLE_NAME"),
            endpoint: reader
                .optional("AWS_ENDPOINT_URL_DYNAMODB")
                .or_else(|| reader.optional("AWS_ENDPOINT_URL")),
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use http::HeaderValue;
    use latchkey_domain::throttle::Limits;
    use latchkey_domain::token::RsaPrivateKey;

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
    fn audience_and_client_are_one_word_as_in_the_template() {
        for name in ["AUDIENCE", "CLIENT_ID"] {
            for wrong in ["a b", " a", "a\n", "a\u{a0}b"] {
                let message = complaint(&[(name, wrong)]);
                assert!(
                    message.contains(&format!("{name} is not one word")),
                    "{message}"
                );
            }
            assert!(read(&[(name, "https://api.example.com/v1")]).is_ok());
        }
    }

    #[test]
    fn a_table_is_named_by_dynamodbs_rule() {
        let read = |name: &str| {
            let name = name.to_owned();
            StorageSettings::read(|asked| (asked == "TABLE_NAME").then(|| name.clone()))
        };
        for right in ["abc", "Latch_key-2.sessions", &"a".repeat(255)] {
            assert!(read(right).is_ok(), "{right}");
        }
        for wrong in ["ab", "a b", "a/bc", "tablé", &"a".repeat(256)] {
            let message = read(wrong).unwrap_err().to_string();
            assert!(
                message.contains("TABLE_NAME is not a name of 3 to 255"),
                "{message}"
            );
        }
    }

    #[test]
    fn the_former_name_of_a_setting_is_refused_with_the_new_one() {
        let message = complaint(&[("FRONT_SECRET", SECRET)]);
        assert!(
            message.contains("FRONT_SECRET is now called EDGE_SECRET"),
            "{message}"
        );
        assert!(!message.contains(SECRET));
    }

    #[test]
    fn what_is_not_set_has_the_documented_default() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.policy, SessionPolicy::default());
        assert_eq!(settings.allowed_origins, AllowedOrigins::None);
    }

    #[test]
    fn who_sends_mail_makes_addresses_that_it_does_not_reach_refused() {
        let from = |value| read(&[("MAIL_FROM", value)]).unwrap();
        assert!(from("no-reply@example.com").policy.sends_mail);
        assert!(!from("").policy.sends_mail);
    }

    #[test]
    fn a_message_names_every_variable_that_is_wrong() {
        let message = complaint(&[
            ("ISSUER", "http://id.example.com"),
            ("AUDIENCE", ""),
            ("MAX_SESSIONS", "0"),
            ("SESSION_IDLE_SECONDS", "a week"),
            ("TOKEN_SECRET", "short"),
            ("EDGE_SECRET", "short"),
        ]);
        for name in [
            "ISSUER",
            "AUDIENCE",
            "MAX_SESSIONS",
            "SESSION_IDLE_SECONDS",
            "TOKEN_SECRET ",
            "EDGE_SECRET ",
        ] {
            assert!(message.contains(name), "{name} in {message}");
        }
        assert!(
            !message.contains("short") && !message.contains("ARN"),
            "{message}"
        );
        assert_eq!(message.lines().count(), 7, "{message}");
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
    fn an_rsa_key_goes_with_its_algorithm() {
        assert_eq!(read(&[]).unwrap().token_algorithm, TokenAlgorithm::EdDsa);
        for wrong in ["RS384", "rs256", "HS256", "none"] {
            let message = complaint(&[("TOKEN_ALGORITHM", wrong)]);
            assert!(
                message.contains("TOKEN_ALGORITHM is not EdDSA or RS256"),
                "{message}"
            );
        }
        let rs256 = ("TOKEN_ALGORITHM", "RS256");
        assert!(complaint(&[rs256]).contains("TOKEN_RSA_KEY is not set"));
        for wrong in ["AAAA", "a secret!"] {
            let message = complaint(&[rs256, ("TOKEN_RSA_KEY", wrong)]);
            assert!(
                message.contains("TOKEN_RSA_KEY: an RSA key is"),
                "{message}"
            );
            assert!(!message.contains(wrong), "{message}");
        }
        let key = RsaPrivateKey::generate().unwrap().to_base64();
        let settings = read(&[rs256, ("TOKEN_RSA_KEY", &key)]).unwrap();
        let TokenSecretSource::Literal { current, .. } = settings.token_secret else {
            panic!("a literal secret");
        };
        assert_eq!(current.algorithm(), TokenAlgorithm::Rs256);
        // In Secrets Manager the key is with the secret.
        let on_aws = read(&[rs256, ("TOKEN_SECRET", ""), ("TOKEN_SECRET_ARN", "arn:x")]);
        assert_eq!(on_aws.unwrap().token_algorithm, TokenAlgorithm::Rs256);
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
    fn origins_are_kept_as_browsers_send_them_each_once() {
        let written = "HTTPS://a.Example.com:443, http://localhost:5173,https://a.example.com";
        let settings = read(&[("ALLOWED_ORIGINS", written)]).unwrap();
        let sent = ["https://a.example.com", "http://localhost:5173"].map(HeaderValue::from_static);
        assert_eq!(
            settings.allowed_origins,
            AllowedOrigins::These(sent.to_vec())
        );
        for wrong in ["https://a.example.com/", "https://a.example.com,", "*"] {
            assert!(
                complaint(&[("ALLOWED_ORIGINS", wrong)]).contains("ALLOWED_ORIGINS has"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_name_and_bound() {
        for (name, most) in [
            ("ACCESS_TOKEN_SECONDS", 3_600),
            ("REFRESH_GRACE_SECONDS", 300),
            ("MAX_SESSIONS", 100),
            ("REAUTHENTICATE_WITHIN_SECONDS", 86_400),
            ("SESSION_IDLE_SECONDS", 316_224_000),
            ("SESSION_ABSOLUTE_SECONDS", 316_224_000),
            ("RETENTION_SECONDS", 316_224_000),
            ("SIGN_IN_FREE_FAILURES", 100),
            ("ADDRESS_ATTEMPTS_PER_MINUTE", 1_000_000),
            ("LINKS_PER_HOUR", 1_000_000),
            ("LIST_PER_MINUTE", 1_000_000),
            ("CHANGE_PER_MINUTE", 1_000_000),
            ("PURGE_PER_MINUTE", 1_000_000),
            ("UNUSUAL_SPEED_KMH", 100_000),
            ("UNUSUAL_DISTANCE_KM", 20_000),
        ] {
            // A short idle lifetime, so that it is not longer than the absolute one, and longer than the longest grace.
            let idle = ("SESSION_IDLE_SECONDS", "306");
            let absolute = ("SESSION_ABSOLUTE_SECONDS", "316224000");
            let with = |value: i64| read(&[idle, absolute, (name, &value.to_string())]);
            assert!(with(most).is_ok(), "{name}");
            for wrong in [most + 1, -1, i64::MAX] {
                let message = with(wrong).unwrap_err().to_string();
                let expected = format!("to {most}");
                assert!(
                    message.contains(name) && message.ends_with(&expected),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn a_limit_of_zero_is_off() {
        let settings = read(&[
            ("SIGN_IN_FREE_FAILURES", "0"),
            ("ADDRESS_ATTEMPTS_PER_MINUTE", "0"),
            ("LINKS_PER_HOUR", "0"),
            ("LIST_PER_MINUTE", "0"),
            ("CHANGE_PER_MINUTE", "0"),
            ("PURGE_PER_MINUTE", "0"),
        ]);
        assert_eq!(settings.unwrap().policy.limits, Limits::off());
    }

    #[test]
    fn a_boolean_is_true_or_false() {
        let one_per_device = |value: &str| {
            read(&[("ONE_SESSION_PER_DEVICE", value)])
                .map(|settings| settings.policy.one_session_per_device)
        };
        assert_eq!(one_per_device(""), Ok(true));
        assert_eq!(one_per_device("true"), Ok(true));
        assert_eq!(one_per_device("false"), Ok(false));
        for wrong in ["True", "FALSE", "0", "1", "no", "off", " true"] {
            let message = one_per_device(wrong).unwrap_err().to_string();
            assert!(
                message.contains("ONE_SESSION_PER_DEVICE is not true or false"),
                "{message}"
            );
        }
    }

    #[test]
    fn audiences_are_visible_names_other_than_the_issuer() {
        let audiences = |value: &str| {
            read(&[("AUDIENCES", value)]).map(|settings| settings.identity.other_audiences)
        };
        assert_eq!(audiences(""), Ok(Vec::new()));
        assert_eq!(
            audiences("orders, https://pay.example.com"),
            Ok(["orders", "https://pay.example.com"]
                .map(str::to_owned)
                .to_vec())
        );
        for wrong in [
            "a,",
            ",a",
            "a b",
            "\u{e4}",
            "https://id.example.com",
            &"a".repeat(256),
        ] {
            let message = audiences(wrong).unwrap_err().to_string();
            assert!(message.contains("AUDIENCES has"), "{message}");
        }
    }

    #[test]
    fn with_cookies_every_allowed_origin_is_on_the_site_of_the_issuer() {
        let cookies = |on: &str, origins: &str| {
            let pages = ("ACCOUNT_PAGES", "false");
            read(&[
                ("COOKIE_TRANSPORT", on),
                ("ALLOWED_ORIGINS", origins),
                pages,
            ])
            .map(|settings| settings.cookies.is_some())
        };
        assert_eq!(cookies("", "https://app.example.org"), Ok(false));
        assert_eq!(cookies("false", "https://app.example.org"), Ok(false));
        for pages in ["ACCOUNT_PAGES", "ADMIN_PAGES"] {
            let settings = read(&[
                (pages, "true"),
                ("ALLOWED_ORIGINS", "https://app.example.org"),
            ]);
            let cookies = settings.unwrap().cookies.unwrap();
            assert!(!cookies.is_for_other_origins(), "{pages}");
        }
        assert_eq!(cookies("true", ""), Ok(true));
        let app = "https://app.example.com,https://example.com,capacitor://localhost";
        assert_eq!(cookies("true", app), Ok(true));
        for wrong in [
            "https://app.example.org",
            "http://app.example.com",
            "https://localhost",
        ] {
            let origins = format!("https://app.example.com,{wrong}");
            let message = cookies("true", &origins).unwrap_err().to_string();
            let expected =
                format!("ALLOWED_ORIGINS has {wrong:?}, which is not on the site of ISSUER");
            assert!(message.contains(&expected), "{message}");
            assert_eq!(message.lines().count(), 2, "{message}");
        }
    }

    #[test]
    fn context_words_are_divided_by_commas_and_have_three_characters() {
        let words = |value: &str| {
            read(&[("PASSWORD_CONTEXT_WORDS", value)])
                .map(|settings| settings.password_context_words)
        };
        assert_eq!(words(""), Ok(Vec::new()));
        assert_eq!(
            words("Acme, Œuvre inc,äöü"),
            Ok(["Acme", "Œuvre inc", "äöü"].map(str::to_owned).to_vec())
        );
        for wrong in ["ab", "acme,", ",acme", "acme, ,bread", "äö"] {
            let message = words(wrong).unwrap_err().to_string();
            assert!(message.contains("PASSWORD_CONTEXT_WORDS has"), "{message}");
        }
    }

    #[test]
    fn the_path_of_the_issuer_is_the_base_path_and_the_issuer_stays_as_it_is_written() {
        let settings = read(&[("ISSUER", "https://example.com/auth/")]).unwrap();
        assert_eq!(settings.identity.issuer, "https://example.com/auth/");
        assert_eq!(settings.base_path.as_str(), "/auth");
        assert_eq!(read(&[]).unwrap().base_path, BasePath::default());
        let message = complaint(&[("ISSUER", "https://example.com/{id}")]);
        assert!(message.contains("ISSUER has a path"), "{message}");
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
        let settings = read(&[("EDGE_SECRET", SECRET)]).unwrap();
        assert!(settings.edge.is_some());
        assert!(!format!("{settings:?}").contains(SECRET));
    }
}
