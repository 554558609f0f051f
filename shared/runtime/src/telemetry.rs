//! Logs: JSON on Lambda, for people in the local stack.
//!
//! What is never logged: tokens, passwords, hashes, keys, bodies, e-mail addresses.

use std::io::IsTerminal;
use std::panic;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::settings::{Reader, SettingsError};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object for each line.
    Json,
    /// For people.
    Text,
}

/// How much is logged, and in which form: the settings of Lambda's advanced logging controls.
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
            format: reader.named(
                "AWS_LAMBDA_LOG_FORMAT",
                format,
                &[("JSON", Format::Json), ("Text", Format::Text)],
                "JSON or Text",
            ),
            level: reader.named(
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

/// Starts logging. Does nothing if logging was started before.
pub fn start(settings: LogSettings) {
    let lines = match settings.format {
        Format::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
        Format::Text => fmt::layer()
            .with_target(false)
            .compact()
            .with_ansi(settings.color && std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let filter = filter(settings.level);
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if started.is_ok() {
        log_panics();
    }
}

/// What is heard at a level: our own crates at it, libraries from `WARN` on.
#[must_use]
pub fn filter(level: Level) -> Targets {
    let libraries = LevelFilter::from_level(level.min(Level::WARN));
    let ours = [
        "latchkey",
        "latchkey_api",
        "latchkey_domain",
        "latchkey_runtime",
        "latchkey_service",
        "latchkey_store",
        "account",
        "authorizer",
        "cleanup",
        "discovery",
        "list_sessions",
        "login",
        "refresh",
        "register",
        "rename",
        "revoke",
        "revoke_all",
    ];
    Targets::new()
        .with_default(libraries)
        // The embedded DynamoDB of the local stack warns of every condition that fails, as conditions are meant to.
        .with_target("dynoxide", LevelFilter::ERROR)
        .with_targets(ours.map(|target| (target, LevelFilter::from_level(level))))
}

/// A panic is logged by where it happened. Its message is not: it may hold what a client sent.
fn log_panics() {
    panic::set_hook(Box::new(|info| {
        let location = info.location().map(ToString::to_string);
        tracing::error!(location, "panic");
    }));
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
