//! What the service logs while a test looks.

use std::io::Write;
use std::sync::{Arc, Mutex};

use latchkey_runtime::settings::Format;
use latchkey_runtime::telemetry;
use serde_json::Value;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};

/// Everything that is logged on this thread since it was made, at the most talkative level that can be set.
#[derive(Debug)]
pub struct Log {
    lines: Lines,
    guard: DefaultGuard,
    _second: tracing::Dispatch,
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics under this lock")
            .write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// Begins to note, in the form that people read.
    #[must_use]
    pub fn capture() -> Self {
        Self::in_format(Format::Text)
    }

    /// Begins to note, in the form that is written on Lambda.
    #[must_use]
    pub fn capture_json() -> Self {
        Self::in_format(Format::Json)
    }

    /// By the layer that a function writes its own log with.
    fn in_format(format: Format) -> Self {
        let lines = Lines::default();
        let filter = telemetry::filter(tracing::Level::TRACE);
        let layer = telemetry::lines(format, false, lines.clone()).with_filter(filter);
        let subscriber = tracing_subscriber::registry().with(layer);
        // While there is but one subscriber, `tracing` remembers for the whole process what the first thread that comes
        // by a line had to say of it, and threads of other tests have none.
        let second = tracing::Dispatch::new(tracing_subscriber::registry());
        Self {
            lines,
            guard: tracing::subscriber::set_default(subscriber),
            _second: second,
        }
    }

    /// Ends, and tells what was logged.
    ///
    /// # Panics
    /// When it is no text.
    #[must_use]
    pub fn end(self) -> String {
        drop(self.guard);
        let lines = self.lines.0.lock().expect("no test panics under this lock");
        String::from_utf8(lines.clone()).expect("text")
    }
}

/// The lines of a log in JSON with this message.
///
/// # Panics
/// When a line is no JSON.
#[must_use]
pub fn lines_with(log: &str, message: &str) -> Vec<Value> {
    log.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .filter(|line: &Value| line["message"] == message)
        .collect()
}
