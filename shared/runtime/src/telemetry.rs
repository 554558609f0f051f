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

use crate::settings::{Format, LogSettings};

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
