//! How much is logged, and in which form.

use tracing::Level;

use super::{Reader, SettingsError};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object for each line.
    Json,
    /// For people.
    Text,
}

/// How much is logged, and in which form: the settings of Lambda's advanced logging controls.
///
/// ```
/// use latchkey_runtime::settings::{Format, LogSettings};
///
/// let lookup = |name: &str| (name == "AWS_LAMBDA_LOG_LEVEL").then(|| "WARN".to_owned());
/// let settings = LogSettings::read(lookup, Format::Json)?;
/// assert_eq!(settings.level, tracing::Level::WARN);
/// # Ok::<(), latchkey_runtime::settings::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `AWS_LAMBDA_LOG_FORMAT`: `JSON` or `Text`.
    pub format: Format,
    /// `AWS_LAMBDA_LOG_LEVEL`, which is the template's `LogLevel`: the least severe level that is logged; `INFO` unless
    /// set. `FATAL`, which `tracing` does not have, is `ERROR`.
    pub level: Level,
    /// Text in colours where a terminal shows them, unless `NO_COLOR` is set (<https://no-color.org>).
    pub color: bool,
}

impl LogSettings {
    /// Reads the settings with `lookup`, which gives the value of a variable. `format` is that without a setting.
    ///
    /// # Errors
    /// [`SettingsError`], with every variable that is wrong.
    pub fn read(
        lookup: impl Fn(&str) -> Option<String>,
        format: Format,
    ) -> Result<Self, SettingsError> {
        let mut reader = Reader::new(&lookup);
        let settings = Self {
            format: reader.choose(
                "AWS_LAMBDA_LOG_FORMAT",
                format,
                &[("JSON", Format::Json), ("Text", Format::Text)],
                "JSON or Text",
            ),
            level: reader.choose(
                "AWS_LAMBDA_LOG_LEVEL",
                Level::INFO,
                &[
                    ("TRACE", Level::TRACE),
                    ("DEBUG", Level::DEBUG),
                    ("INFO", Level::INFO),
                    ("WARN", Level::WARN),
                    ("ERROR", Level::ERROR),
                    ("FATAL", Level::ERROR),
                ],
                "TRACE, DEBUG, INFO, WARN, ERROR or FATAL",
            ),
            color: reader.optional("NO_COLOR").is_none(),
        };
        reader.finish(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Result<LogSettings, SettingsError> {
        let lookup = |wanted: &str| (wanted == name).then(|| value.to_owned());
        LogSettings::read(lookup, Format::Json)
    }

    #[test]
    fn level_and_format_are_those_of_lambda() {
        let none = LogSettings::read(|_| None, Format::Json).unwrap();
        assert_eq!((none.level, none.format), (Level::INFO, Format::Json));
        for (name, expected) in [
            ("TRACE", Level::TRACE),
            ("DEBUG", Level::DEBUG),
            ("INFO", Level::INFO),
            ("WARN", Level::WARN),
            ("ERROR", Level::ERROR),
            ("FATAL", Level::ERROR),
            ("warn", Level::WARN),
        ] {
            let settings = read("AWS_LAMBDA_LOG_LEVEL", name).unwrap();
            assert_eq!(settings.level, expected, "{name}");
        }
        for name in ["Text", "text", "TEXT"] {
            let settings = read("AWS_LAMBDA_LOG_FORMAT", name).unwrap();
            assert_eq!(settings.format, Format::Text, "{name}");
        }
    }

    #[test]
    fn an_unknown_level_or_format_is_refused_by_name() {
        for (name, value) in [
            ("AWS_LAMBDA_LOG_LEVEL", "verbose"),
            ("AWS_LAMBDA_LOG_LEVEL", "5"),
            ("AWS_LAMBDA_LOG_LEVEL", "INFO "),
            ("AWS_LAMBDA_LOG_FORMAT", "xml"),
        ] {
            let message = read(name, value).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
