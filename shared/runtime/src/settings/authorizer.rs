//! The settings of the authorizer alone.

use latchkey_domain::token::Scope;
use latchkey_service::{AccessRules, AuthorizerMode};

use super::{LONGEST, Reader, SettingsError};

/// The settings of the authorizer of other APIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizerSettings {
    /// `AUTHORIZER_MODE`: `strict` unless set, or `offline`. `AUTHORIZER_AUDIENCE`: `AUDIENCE` unless set.
    /// `AUTHORIZER_SCOPE`: words divided by spaces. `AUTHORIZER_MAX_AGE_SECONDS`.
    pub rules: AccessRules,
}

impl AuthorizerSettings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let own = reader.optional("AUDIENCE");
        let rules = AccessRules {
            mode: reader.choose(
                "AUTHORIZER_MODE",
                AuthorizerMode::default(),
                &[
                    ("strict", AuthorizerMode::Strict),
                    ("offline", AuthorizerMode::Offline),
                ],
                "strict or offline",
            ),
            audience: reader
                .optional("AUTHORIZER_AUDIENCE")
                .filter(|audience| Some(audience) != own.as_ref()),
            scope: reader.scope("AUTHORIZER_SCOPE"),
            max_age: reader
                .optional("AUTHORIZER_MAX_AGE_SECONDS")
                .map(|_| reader.seconds("AUTHORIZER_MAX_AGE_SECONDS", LONGEST, 1, LONGEST)),
        };
        // No token could ever pass.
        if let Some(audience) = &rules.audience
            && !reader.audiences().contains(audience)
        {
            reader.wrong(
                "AUTHORIZER_AUDIENCE",
                "is neither AUDIENCE nor one of AUDIENCES, so there are no tokens for it",
            );
        }
        if rules.audience.is_some() && rules.scope != Scope::default() {
            reader.wrong(
                "AUTHORIZER_SCOPE",
                "is set, but tokens for another audience than AUDIENCE have no scope",
            );
        }
        reader.finish(Self { rules })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<AccessRules, SettingsError> {
        let mut variables = vec![
            ("AUDIENCE", "latchkey"),
            ("AUDIENCES", "https://orders.example.com"),
        ];
        variables.extend(changes);
        let value = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        AuthorizerSettings::read(value).map(|settings| settings.rules)
    }

    #[test]
    fn what_is_not_set_is_strict_and_asks_for_nothing_more() {
        let rules = read(&[]).unwrap();
        assert_eq!(rules, AccessRules::default());
        assert_eq!(rules.mode, AuthorizerMode::Strict);
        assert_eq!(read(&[("AUTHORIZER_AUDIENCE", "latchkey")]), Ok(rules));
    }

    #[test]
    fn each_setting_is_a_rule() {
        let rules = read(&[
            ("AUTHORIZER_MODE", "offline"),
            ("AUTHORIZER_AUDIENCE", "https://orders.example.com"),
            ("AUTHORIZER_MAX_AGE_SECONDS", "600"),
        ]);
        let expected = AccessRules {
            mode: AuthorizerMode::Offline,
            audience: Some("https://orders.example.com".to_owned()),
            scope: Scope::default(),
            max_age: Some(TimeDelta::seconds(600)),
        };
        assert_eq!(rules, Ok(expected));
        let rules = read(&[("AUTHORIZER_SCOPE", "account admin")]).unwrap();
        assert!(rules.scope.account && rules.scope.admin);
    }

    /// A word that is dropped would let everybody through.
    #[test]
    fn what_no_token_can_satisfy_or_nobody_can_mean_is_refused_by_name() {
        for (name, value) in [
            ("AUTHORIZER_MODE", "lax"),
            ("AUTHORIZER_AUDIENCE", "https://invoices.example.com"),
            ("AUTHORIZER_SCOPE", "acount"),
            ("AUTHORIZER_SCOPE", "account,admin"),
            ("AUTHORIZER_SCOPE", "account  admin"),
            ("AUTHORIZER_MAX_AGE_SECONDS", "0"),
            ("AUTHORIZER_MAX_AGE_SECONDS", "-1"),
            ("AUTHORIZER_MAX_AGE_SECONDS", "316224001"),
            ("AUTHORIZER_MAX_AGE_SECONDS", "ten"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name), "{value}: {message}");
        }
        let elsewhere = [
            ("AUTHORIZER_AUDIENCE", "https://orders.example.com"),
            ("AUTHORIZER_SCOPE", "account"),
        ];
        let message = read(&elsewhere).unwrap_err().to_string();
        assert!(message.contains("AUTHORIZER_SCOPE is set"), "{message}");
    }
}
