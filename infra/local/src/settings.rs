//! The settings of the local stack: those of the environment, and else what fits a laptop.

/// The audience of the tokens unless told otherwise.
const AUDIENCE: &str = "latchkey";
/// The client of the access tokens unless told otherwise.
const CLIENT_ID: &str = "latchkey-app";
/// On AWS an operator switches them on.
const ADMIN_PAGES: &str = "true";
/// The table unless told otherwise.
const TABLE_NAME: &str = "latchkey";

/// Whom mails come from unless told otherwise. Nobody sends them.
const MAIL_FROM: &str = "Latchkey <no-reply@latchkey.localhost>";

/// What was generated, mostly kept in the data folder.
#[derive(Clone, Copy, Default)]
pub(crate) struct Generated<'a> {
    pub(crate) token_secret: Option<&'a str>,
    pub(crate) device_secret: Option<&'a str>,
    pub(crate) rsa_key: Option<&'a str>,
    /// Where the page of accounts is at this start, unless `ISSUER` says where everything is.
    pub(crate) account_url: Option<&'a str>,
}

/// Gives the value of a variable: that of the environment, else the local default. `issuer` is the address of the data
/// folder's first start, so that tokens outlive a start on another port.
pub(crate) fn lookup(
    environment: impl Fn(&str) -> Option<String>,
    issuer: &str,
    generated: Generated<'_>,
) -> impl Fn(&str) -> Option<String> {
    // With a secret of the environment, the folder's may be another's.
    let device_secret = generated
        .device_secret
        .filter(|_| environment("TOKEN_SECRET").is_none());
    move |name| {
        environment(name).or_else(|| {
            let default = match name {
                "ISSUER" => issuer,
                "AUDIENCE" => AUDIENCE,
                "CLIENT_ID" => CLIENT_ID,
                "TABLE_NAME" => TABLE_NAME,
                "MAIL_FROM" => MAIL_FROM,
                "ADMIN_PAGES" => ADMIN_PAGES,
                "TOKEN_SECRET" => generated.token_secret?,
                "TOKEN_RSA_KEY" => generated.rsa_key?,
                "DEVICE_SECRET" => device_secret?,
                "ACCOUNT_URL" => generated.account_url?,
                _ => return None,
            };
            Some(default.to_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use latchkey_runtime::settings::{Settings, StorageSettings, TokenSecretSource};

    use super::*;

    const ISSUER: &str = "http://127.0.0.1:3000";
    const GENERATED: Generated<'_> = Generated {
        token_secret: Some("0123456789abcdef0123456789abcdef"),
        device_secret: Some("fedcba9876543210fedcba9876543210"),
        rsa_key: None,
        account_url: None,
    };

    #[test]
    fn nothing_needs_to_be_set() {
        let lookup = lookup(|_| None, ISSUER, GENERATED);
        let settings = Settings::read(&lookup).unwrap();
        assert_eq!(settings.identity.issuer, ISSUER);
        assert!(matches!(
            settings.token_secret,
            TokenSecretSource::Literal {
                previous: None,
                device: Some(_),
                ..
            }
        ));
        let storage = StorageSettings::read(&lookup).unwrap();
        assert_eq!(
            (storage.table_name.as_str(), storage.endpoint),
            ("latchkey", None)
        );
    }

    #[test]
    fn the_environment_wins() {
        let environment = |name: &str| Some(format!("{name} of the environment"));
        let lookup = lookup(environment, ISSUER, GENERATED);
        for name in [
            "ISSUER",
            "AUDIENCE",
            "CLIENT_ID",
            "TABLE_NAME",
            "TOKEN_SECRET",
            "DEVICE_SECRET",
            "MAX_SESSIONS",
        ] {
            assert_eq!(lookup(name), Some(format!("{name} of the environment")));
        }
    }

    #[test]
    fn what_has_a_default_on_lambda_too_has_that_one() {
        let lookup = lookup(|_| None, ISSUER, Generated::default());
        for name in [
            "MAX_SESSIONS",
            "ACCESS_TOKEN_SECONDS",
            "ALLOWED_ORIGINS",
            "TOKEN_SECRET",
            "TOKEN_SECRET_ARN",
            "DEVICE_SECRET",
        ] {
            assert_eq!(lookup(name), None, "{name}");
        }
    }
}
