//! One row of the table: the same operation, again and again, by so many clients at once.

use std::cell::RefCell;
use std::fmt::Write;
use std::io::{IsTerminal, Write as _, stderr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use hdrhistogram::Histogram;
use http::StatusCode;

use crate::load::client::{Api, Call, Reply};

/// How often progress is shown.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What is to be measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    name: &'static str,
    clients: usize,
}

/// How long a phase lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lasting {
    /// So many turns of each client.
    Turns(usize),
    /// So long; a turn that has begun is finished.
    For(Duration),
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Measured {
    phase: Phase,
    times: Histogram<u64>,
    took: Duration,
    refused: u64,
    unexpected: u64,
    first_unexpected: Option<String>,
}

/// One turn of one client, and where to note what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// Which turn of this client, from 0.
    pub(crate) number: usize,
    tally: Rc<RefCell<Tally>>,
}

#[derive(Debug)]
struct Tally {
    measured: Measured,
    began: Instant,
    shown: Instant,
}

impl Phase {
    pub(crate) fn new(name: &'static str, clients: usize) -> Self {
        Self { name, clients }
    }

    /// Runs it, one client for each state. Each turn takes its client's state and gives it back.
    pub(crate) async fn run<S>(
        self,
        states: Vec<S>,
        lasting: Lasting,
        turn: impl AsyncFn(&mut S, Turn),
    ) -> (Measured, Vec<S>) {
        let began = Instant::now();
        let tally = Rc::new(RefCell::new(Tally {
            measured: Measured::none(self),
            began,
            shown: began,
        }));
        let clients = states.into_iter().map(async |mut state| {
            for number in 0.. {
                let goes_on = match lasting {
                    Lasting::Turns(turns) => number < turns,
                    Lasting::For(duration) => began.elapsed() < duration,
                };
                if !goes_on {
                    break;
                }
                let tally = Rc::clone(&tally);
                turn(&mut state, Turn { number, tally }).await;
            }
            state
        });
        let states = join_all(clients).await;
        let took = began.elapsed();
        let measured = tally.replace(Tally {
            measured: Measured::none(self),
            began,
            shown: began,
        });
        let measured = Measured {
            took,
            ..measured.measured
        };
        measured.show_end();
        (measured, states)
    }
}

impl Turn {
    /// Sends a request, notes how long its reply took, and whether its status is one of these.
    pub(crate) async fn send(
        &self,
        api: &Api,
        call: Call,
        expected: &[StatusCode],
    ) -> Option<Reply> {
        let began = Instant::now();
        let reply = api.send(call).await;
        let status = reply.as_ref().map(|reply| reply.status);
        if status == Some(StatusCode::SERVICE_UNAVAILABLE)
            && expected.contains(&StatusCode::SERVICE_UNAVAILABLE)
        {
            self.tally.borrow_mut().measured.refused += 1;
            return reply;
        }
        let good = status.is_some_and(|status| expected.contains(&status));
        self.note(began, good, || match &reply {
            Some(reply) => format!("{}: {}", reply.status, reply.body),
            None => "no reply".to_owned(),
        });
        reply.filter(|_| good)
    }

    /// Notes how long something took since `began`, and whether it went well.
    pub(crate) fn note(&self, began: Instant, good: bool, what: impl FnOnce() -> String) {
        let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let mut tally = self.tally.borrow_mut();
        if good {
            tally.measured.times.saturating_record(micros);
        } else {
            tally.measured.unexpected += 1;
            tally.measured.first_unexpected.get_or_insert_with(what);
        }
        if tally.shown.elapsed() >= PROGRESS_EVERY {
            tally.shown = Instant::now();
            tally.measured.show_progress(tally.began.elapsed());
        }
    }
}

impl Measured {
    fn none(phase: Phase) -> Self {
        Self {
            phase,
            times: microseconds(),
            took: Duration::ZERO,
            refused: 0,
            unexpected: 0,
            first_unexpected: None,
        }
    }

    pub(crate) fn is(&self, name: &str, clients: usize) -> bool {
        self.phase.name == name && self.phase.clients == clients
    }

    pub(crate) fn unexpected(&self) -> u64 {
        self.unexpected
    }

    /// In milliseconds.
    pub(crate) fn at(&self, quantile: f64) -> f64 {
        Duration::from_micros(self.times.value_at_quantile(quantile)).as_secs_f64() * 1e3
    }

    fn line(&self) -> String {
        format!("{}, {} at once", self.phase.name, self.phase.clients)
    }

    fn show_progress(&self, since: Duration) {
        let line = self.line();
        let (done, seconds) = (self.times.len(), since.as_secs_f64());
        if stderr().is_terminal() {
            eprint!("\r\x1b[K{line}: {done} in {seconds:.1} s");
            let _ = stderr().flush();
        } else {
            eprintln!("{line}: {done} in {seconds:.1} s");
        }
    }

    fn show_end(&self) {
        let start = if stderr().is_terminal() {
            "\r\x1b[K"
        } else {
            ""
        };
        let (done, seconds) = (self.times.len(), self.took.as_secs_f64());
        eprintln!("{start}{}: {done} in {seconds:.1} s, done", self.line());
        if let Some(first) = &self.first_unexpected {
            eprintln!(
                "  unexpected: {} replies; the first: {first}",
                self.unexpected
            );
        }
    }
}

/// From a microsecond to a minute, to three digits.
#[expect(clippy::expect_used, reason = "the bounds are constant and right")]
fn microseconds() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("sensible bounds")
}

/// A table of what was measured, for people and for Markdown.
pub(crate) fn table(rows: &[Measured]) -> String {
    let mut table = String::from(
        "| operation | at once | done | p50 ms | p95 ms | p99 ms | a second | told to come back | unexpected |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let done = row.times.len();
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|quantile| row.at(quantile));
        let took = row.took.as_micros().max(1);
        let a_second = u128::from(done) * 1_000_000 / took;
        let (Phase { name, clients }, refused, unexpected) =
            (row.phase, row.refused, row.unexpected);
        let _ = writeln!(
            table,
            "| {name} | {clients} | {done} | {p50:.2} | {p95:.2} | {p99:.2} | {a_second} | {refused} | {unexpected} |"
        );
    }
    table
}
