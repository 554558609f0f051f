//! What the function that sends mail needs in addition to the table and the secret.

use std::path::PathBuf;

use latchkey_domain::notice::{Language, Sender};

use super::{SettingsError, reader::Reader};

/// What mails come from and what they say. Where their links lead is a setting of all functions that make links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailSettings {
    /// `MAIL_FROM`: whom mails come from, as `Example <no-reply@example.com>` or the address alone. None: no mail is sent.
    pub from: Option<Sender>,
    /// `MAIL_LANGUAGE`: `en` unless set, or `de`.
    pub language: Language,
    /// `MAIL_TEXTS`: a folder whose files replace texts.
    pub texts: Option<PathBuf>,
    /// `PRODUCT_NAME`: what mails call the product; the name in `MAIL_FROM` unless set.
    pub product_name: Option<String>,
    /// `AWS_ENDPOINT_URL_SESV2`: another SES than that of the region.
    pub endpoint: Option<String>,
}

impl MailSettings {
    /// Reads the settings with `lookup`, which gives the value of a variable.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is wrong.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let settings = Self {
            from: reader.sender("MAIL_FROM"),
            language: reader.choose(
                "MAIL_LANGUAGE",
                Language::default(),
                &Language::ALL.map(|language| (language.as_str(), language)),
                "en or de",
            ),
            texts: reader.optional("MAIL_TEXTS").map(PathBuf::from),
            product_name: reader.optional("PRODUCT_NAME"),
            endpoint: reader.optional("AWS_ENDPOINT_URL_SESV2"),
        };
        reader.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<MailSettings, SettingsError> {
        MailSettings::read(|name| {
            let found = changes.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn mail_is_off_unless_somebody_sends_it() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.from, settings.language), (None, Language::En));
    }

    #[test]
    fn each_setting_is_read() {
        let settings = read(&[
            ("MAIL_FROM", "Example <no-reply@example.com>"),
            ("MAIL_LANGUAGE", "de"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.from.unwrap().name(), "Example");
        assert_eq!(settings.language, Language::De);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        for (name, value) in [
            ("MAIL_FROM", "nobody"),
            ("MAIL_FROM", "grüße@example.com"),
            ("MAIL_LANGUAGE", "fr"),
        ] {
            let message = read(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name), "{value}: {message}");
        }
    }
}
