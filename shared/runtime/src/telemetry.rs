//! Logs: JSON on Lambda, for people in the local stack.
//!
//! What is never logged: tokens, passwords, hashes, keys, bodies, e-mail addresses.

use std::fmt::Debug;
use std::io::IsTerminal;
use std::{panic, process};

use tracing::field::Field;
use tracing::{Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::settings::{Format, LogSettings};

/// Starts logging: JSON to stdout, where Lambda reads it, text to stderr. Does nothing if logging was started before.
pub fn start(settings: LogSettings) {
    match settings.format {
        Format::Json => start_with(settings, lines(Format::Json, false, std::io::stdout)),
        Format::Text => start_on_stderr(settings),
    }
}

/// The same of a program whose stdout is for something else.
pub fn start_on_stderr(settings: LogSettings) {
    let color = settings.color && std::io::stderr().is_terminal();
    start_with(settings, lines(settings.format, color, std::io::stderr));
}

fn start_with(settings: LogSettings, lines: Box<dyn Layer<Registry> + Send + Sync>) {
    let filter = filter(settings.level);
    let started = tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init();
    if started.is_ok() {
        log_panics();
    }
}

/// What writes log lines in a format. The tests read the lines of this very layer.
pub fn lines<S, W>(format: Format, color: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    match format {
        Format::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(writer)
            .boxed(),
        Format::Text => fmt::layer()
            .with_target(false)
            .compact()
            .fmt_fields(text_fields())
            .with_ansi(color)
            .with_writer(writer)
            .boxed(),
    }
}

const ITALIC: &str = "\u{1b}[3m";
const DIMMED: &str = "\u{1b}[2m";
const PLAIN: &str = "\u{1b}[0m";

/// Fields as `name=value`, for people. A value with white space is quoted, however it was recorded: otherwise nobody sees
/// where it ends, and a value could pass for another field.
fn text_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    let fields = debug_fn(
        |writer: &mut Writer<'_>, field: &Field, value: &dyn Debug| {
            let text = format!("{value:?}");
            match field.name() {
                "message" if !text.contains(char::is_control) => write!(writer, "{text}"),
                "message" => write!(writer, "{}", text.escape_debug()),
                name if writer.has_ansi_escapes() => {
                    write!(
                        writer,
                        "{ITALIC}{name}{PLAIN}{DIMMED}={PLAIN}{}",
                        quote(text)
                    )
                }
                name => write!(writer, "{name}={}", quote(text)),
            }
        },
    );
    fields.delimited(" ")
}

/// A value as it stands, if it has neither white space nor control characters or is quoted already; else in quotes.
fn quote(text: String) -> String {
    let is_quoted = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    if is_quoted || !text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        text
    } else {
        format!("{text:?}")
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
        "activity",
        "admin",
        "authorizer",
        "cleanup",
        "clients",
        "console",
        "rotate_keys",
        "discovery",
        "events",
        "list_sessions",
        "login",
        "notify",
        "recovery",
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

/// Ends the process at each panic, after its line. The runtime would answer the event with an error, as a function does that
/// cannot read its table: nobody could tell a fault of the code from an outage, and no upgrade would be taken back for it.
pub(crate) fn end_at_panics() {
    let log = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        log(info);
        process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use super::*;

    const SIGABRT: i32 = 6;

    #[test]
    fn a_panic_ends_the_process() {
        let this = std::env::current_exe().unwrap();
        let test = "telemetry::tests::panics_where_panics_end_the_process";
        let output = Command::new(this)
            .args(["--ignored", "--exact", "--nocapture", test])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.signal(), Some(SIGABRT), "{said}");
    }

    #[test]
    #[ignore = "it ends the process; the test above runs it in one of its own"]
    fn panics_where_panics_end_the_process() {
        end_at_panics();
        let caught = panic::catch_unwind(|| panic!("as the runtime would"));
        assert!(caught.is_err(), "the process goes on");
    }

    #[test]
    fn in_text_a_value_with_spaces_is_quoted_however_it_was_recorded() {
        let line = lines_of(|| {
            let (reason, path) = ("it has expired", std::path::Path::new("a b"));
            tracing::info!(%reason, reason_text = reason, ?path, path = %path.display(), n = 7, "said {reason}");
        });
        let fields =
            r#"reason="it has expired" reason_text="it has expired" path="a b" path="a b" n=7"#;
        assert!(
            line.contains(&format!("said it has expired {fields}")),
            "{line}"
        );
    }

    #[test]
    fn in_text_nothing_that_was_sent_begins_a_line_or_colours_the_terminal() {
        let sent = "a\nERROR b\u{1b}[31m";
        let line = lines_of(|| tracing::info!(display = %sent, text = sent, "said {sent}"));
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    /// What is written of what is logged in text.
    fn lines_of(log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let layer = super::lines(Format::Text, false, lines.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let written = lines.0.lock().unwrap().clone();
        String::from_utf8(written).unwrap()
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}
