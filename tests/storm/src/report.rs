//! What is printed, while it runs and at its end.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cleanup::Report;
use latchkey_tests::attack::faults::{Fault, Faults};

use super::browser::Tally;
use super::clock::LeapingClock;
use super::judge::Violation;
use super::shares::Share;
use super::stack::Stack;
use super::user::lock;

/// How many violations are shown with their history.
const SHOWN: usize = 10;

pub(crate) fn print_result(
    tally: &Tally,
    shares: &BTreeMap<&'static str, Share>,
    struck: &BTreeMap<Fault, u64>,
    report: &Report,
    stack: &Stack,
) {
    let answers = lock(&tally.answers);
    let mut operations: BTreeMap<&str, Vec<(&str, u64)>> = BTreeMap::new();
    for ((operation, column), count) in answers.iter() {
        operations
            .entry(operation)
            .or_default()
            .push((column, *count));
    }
    println!("\n| operation | requests | definite | answered |\n|---|---|---|---|");
    for (operation, columns) in operations {
        let all: u64 = columns.iter().map(|(_, count)| count).sum();
        let mut columns = columns;
        columns.sort_by_key(|(name, _)| (*name != "right", *name));
        let columns: Vec<String> = columns
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        let share = shares.get(operation).copied().unwrap_or_default();
        let percent = share.percent();
        println!(
            "| {operation} | {all} | {percent:.1} % | {} |",
            columns.join(", ")
        );
    }
    println!("\n| fault | times |\n|---|---|");
    for (fault, count) in struck {
        println!("| {fault:?} | {count} |");
    }
    let seconds = stack.clock.elapsed().as_secs_f64();
    let requests = tally.requests.load(Ordering::Relaxed);
    println!("\n| in all | |\n|---|---|");
    println!("| requests | {requests} |");
    println!("| seconds | {seconds:.1} |");
    let (events, deliveries) = stack.bus.counts();
    println!("| events, and how often they were delivered | {events}, {deliveries} |");
    println!("| faults | {} |", struck.values().sum::<u64>());
    println!(
        "| answered 503 | {} |",
        tally.unavailable.load(Ordering::Relaxed)
    );
    println!(
        "| retries by clients | {} |",
        tally.retries.load(Ordering::Relaxed)
    );
    println!("| accounts at the end | {} |", report.accounts);
    println!("| live sessions at the end | {} |", report.sessions_live);
    println!("| ended ones kept | {} |", report.sessions_not_live);
    println!(
        "| removed by the cleanup: expired, orphaned, of deleted users | {}, {}, {} |\n",
        report.removed_expired, report.removed_orphaned, report.removed_of_deleted_users
    );
}

/// What was found wrong, and how often.
#[derive(Default)]
pub(crate) struct Violations {
    kinds: BTreeMap<String, usize>,
}

impl Violations {
    pub(crate) fn count(&self) -> usize {
        self.kinds.values().sum()
    }

    /// Counts a violation. The first are shown at once with the history of their user: whoever looks need not wait for the
    /// end.
    pub(crate) fn add(
        &mut self,
        violation: Violation,
        email: &str,
        round: usize,
        history: impl FnOnce(&Violation) -> Vec<String>,
    ) {
        if self.count() < SHOWN {
            let session = violation
                .session
                .map_or("no session".to_owned(), |session| session.to_string());
            clear_line();
            let what = &violation.what;
            println!(
                "\nviolation in round {} of {email}, {session}: {what}",
                round + 1
            );
            for line in history(&violation) {
                println!("    {line}");
            }
        }
        *self.kinds.entry(violation.what).or_default() += 1;
    }

    /// Prints how often each was found, if not all of them have been shown.
    pub(crate) fn print_rest(&self) {
        if self.count() <= SHOWN {
            return;
        }
        println!("the first {SHOWN} are shown above; all of them are:");
        for (what, count) in &self.kinds {
            println!("  {count:>6} {what}");
        }
    }
}

/// On a terminal one line that is written again and again.
pub(crate) async fn show_progress(tally: Arc<Tally>, clock: Arc<LeapingClock>, faults: Faults) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        eprint!(
            "\r\x1b[K{:>6.1} s  {} requests, {} faults, {} answered 503, {} retries",
            clock.elapsed().as_secs_f64(),
            tally.requests.load(Ordering::Relaxed),
            faults.struck().values().sum::<u64>(),
            tally.unavailable.load(Ordering::Relaxed),
            tally.retries.load(Ordering::Relaxed),
        );
        // Nobody may be looking.
        let _ = std::io::stderr().flush();
    }
}

pub(crate) fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

pub(crate) fn line(tally: &Tally, stack: &Stack, round: usize, violations: usize) {
    clear_line();
    eprintln!(
        "round {:>2}: {:>6.1} s, {} requests, {} faults, {} answered 503, {violations} violations",
        round + 1,
        stack.clock.elapsed().as_secs_f64(),
        tally.requests.load(Ordering::Relaxed),
        stack.faults.struck().values().sum::<u64>(),
        tally.unavailable.load(Ordering::Relaxed),
    );
}
