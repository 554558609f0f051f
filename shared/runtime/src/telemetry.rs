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

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object for each line.
    Json,
    /// For people.
    Text,
}

/// Starts logging. `lookup` gives the variables `AWS_LAMBDA_LOG_FORMAT` (`JSON` or `Text`), which wins over `format`,
/// and `AWS_LAMBDA_LOG_LEVEL` (`INFO` unless set), the settings of Lambda's advanced logging controls.
///
/// Does nothing if logging was started before.
pub fn start(lookup: impl Fn(&str) -> Option<String>, format: Format) {
    let format = match lookup("AWS_LAMBDA_LOG_FORMAT") {
        Some(wanted) if wanted.eq_ignore_ascii_case("text") => Format::Text,
        Some(wanted) if wanted.eq_ignore_ascii_case("json") => Format::Json,
        Some(_) | None => format,
    };
    let level = level(&lookup);
    let lines = match format {
        Format::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
        Format::Text => fmt::layer()
            .with_target(false)
            .compact()
            .with_ansi(lookup("NO_COLOR").is_none() && std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .boxed(),
    };
    let filter = filter(level);
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if started.is_ok() {
        log_panics();
    }
}

/// The least severe level that is logged: `AWS_LAMBDA_LOG_LEVEL`, which is the template's `LogLevel`; `INFO` unless set.
pub fn level(lookup: impl Fn(&str) -> Option<String>) -> Level {
    lookup("AWS_LAMBDA_LOG_LEVEL")
        .and_then(|level| level_of(&level))
        .unwrap_or(Level::INFO)
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

/// `FATAL` of Lambda is nothing that `tracing` has.
fn level_of(name: &str) -> Option<Level> {
    if name.eq_ignore_ascii_case("fatal") {
        return Some(Level::ERROR);
    }
    name.parse().ok()
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

    #[test]
    fn the_level_is_lambdas() {
        let of = |value: Option<&str>| level(|_| value.map(str::to_owned));
        assert_eq!(of(None), Level::INFO);
        for (name, expected) in [
            ("TRACE", Level::TRACE),
            ("DEBUG", Level::DEBUG),
            ("INFO", Level::INFO),
            ("WARN", Level::WARN),
            ("ERROR", Level::ERROR),
            ("FATAL", Level::ERROR),
            ("warn", Level::WARN),
            ("nonsense", Level::INFO),
        ] {
            assert_eq!(of(Some(name)), expected, "{name}");
        }
    }
}
