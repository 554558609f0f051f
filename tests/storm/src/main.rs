//! A thousand clients against the running local stack, while DynamoDB fails: what must never happen is looked for in every
//! answer and in the table.
//!
//! The stack is the real one: all routes behind a server on 127.0.0.1, over the embedded DynamoDB, with the system's
//! randomness and the default settings. Faults are made where the SDK hands a request to the network; they take the time
//! that they take in earnest, so a silent DynamoDB costs a second each time. Only the clock leaps: within a round it runs
//! as the machine's does, between two rounds, when nothing is under way, it jumps over the grace, the access tokens'
//! quarter of an hour, the days until the idle and the absolute expiry.

mod administrator;
mod api;
mod browser;
mod clock;
mod compare;
mod earlier;
mod history;
mod judge;
mod report;
mod shares;
mod stack;
mod step_up;
mod telling;
mod user;

use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use clap::Parser;
use cleanup::CleanupError;
use futures::future::join_all;
use latchkey::embedded::EmbeddedError;
use latchkey_domain::clock::Clock as _;
use latchkey_domain::error::StoreError;
use latchkey_domain::token::{KeyDerivationFailed, SecretTooShort};
use latchkey_store::table::TableError;
use latchkey_tests::harness::administrators::grant;

use api::Api;
use browser::{Browser, Tally};
use compare::{compare, whole_table};
use report::{Violations, clear_line, line, print_result, show_progress};
use shares::{shares, too_small};
use stack::{Stack, start};
use telling::pump;
use user::People;

/// How many clients a user has, in turn: one with more than the limit of sessions meets evictions and conflicts.
const CLIENTS_OF_USERS: [usize; 7] = [1, 1, 2, 3, 5, 8, 24];
/// What the clock leaps between rounds, in seconds, in turn: over the grace (30 s), over an access token (15 min), and in
/// steps of six days up to the absolute expiry (30 days); who is not used for eight days has expired (7 days).
const LEAPS: [i64; 10] = [
    45,
    6 * DAY,
    20 * 60,
    6 * DAY,
    6 * DAY,
    45,
    6 * DAY,
    6 * DAY,
    8 * DAY,
    45,
];
const DAY: i64 = 24 * 3600;
/// For how many clients there is an administrator.
const CLIENTS_OF_AN_ADMINISTRATOR: usize = 50;

/// Many clients against the running stack while DynamoDB fails; exit code 1 if anything is wrong.
#[derive(Debug, Parser)]
struct Options {
    /// How many clients there are.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// How many rounds; between two the clock leaps and the table is compared.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// What each client does in a round.
    #[arg(long, default_value_t = 5)]
    actions: usize,
    /// Of a hundred requests to DynamoDB, how many fail.
    #[arg(long, default_value_t = 5.0)]
    faults: f64,
    /// Of a hundred requests for an operation, how many must have a definite answer.
    #[arg(long, default_value_t = 90.0)]
    definite: f64,
    /// Draws what clients do and what fails; which of them comes first stays the machine's choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Why there was no storm.
#[derive(Debug, thiserror::Error)]
enum StormError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the keys cannot be made: {0}")]
    Keys(#[from] KeyDerivationFailed),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error("the server cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    #[error("the table cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("an administrator cannot register")]
    NoAdministrator,
    #[error("the last cleanup failed: {0}")]
    Cleanup(#[from] CleanupError),
    #[error(transparent)]
    Secret(#[from] SecretTooShort),
}

/// Runs a storm. The exit code is 1 when anything was wrong.
#[tokio::main]
async fn main() -> ExitCode {
    run(Options::parse()).await.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

async fn run(options: Options) -> Result<ExitCode, StormError> {
    let stack = start(options.seed).await?;
    let tally = Arc::new(Tally::default());
    let (mut people, mut browsers) = clients(&options, &stack, &tally);
    let mut violations = appoint(&options, &stack, &tally, &mut people, &mut browsers).await?;
    println!(
        "{} clients of {} users, {} rounds of {} actions, {} % faults, seed {}",
        options.clients,
        people.len(),
        options.rounds,
        options.actions,
        options.faults,
        options.seed
    );
    stack
        .faults
        .arm_at_random(options.faults / 100.0, options.seed);
    let progress = tokio::spawn(show_progress(
        Arc::clone(&tally),
        Arc::clone(&stack.clock),
        stack.faults.clone(),
    ));
    let publishing = tokio::spawn(pump(Arc::clone(&stack.pump)));
    for round in 0..options.rounds {
        let actions = options.actions;
        browsers = each(browsers, move |mut browser| async move {
            for _ in 0..actions {
                browser.act().await;
            }
            browser
        })
        .await;
        compare(&stack, &people, round, &mut violations).await?;
        line(&tally, &stack, round, violations.count());
        let leap = LEAPS.get(round % LEAPS.len()).copied().unwrap_or_default();
        stack.clock.leap(TimeDelta::seconds(leap));
    }
    let shares = shares(&tally);
    let struck = stack.faults.struck();
    stack.bus.recover();
    drop(stack.faults.disarm());
    let unavailable = tally.unavailable.load(Ordering::Relaxed);
    each(browsers, |mut browser| async move {
        browser.finish().await;
        browser
    })
    .await;
    compare(&stack, &people, options.rounds, &mut violations).await?;
    let (table, report) = whole_table(&stack, &people).await?;
    let late = tally.unavailable.load(Ordering::Relaxed) - unavailable;
    let mut general = table;
    general.extend(stack.bus.wrong());
    general.extend(too_small(&shares, options.definite));
    if late > 0 {
        general.push(format!("{late} times 503 without faults"));
    }
    let given_up = tally.given_up.load(Ordering::Relaxed);
    if given_up > 0 {
        general.push(format!("{given_up} requests never got a definite answer"));
    }
    progress.abort();
    if publishing.is_finished() {
        general.push("the stream could not be read".to_owned());
    }
    publishing.abort();
    clear_line();
    print_result(&tally, &shares, &struck, &report, &stack);
    for what in &general {
        println!("violation: {what}");
    }
    violations.print_rest();
    let count = violations.count() + general.len();
    println!("violations: {count}");
    Ok(match count {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn clients(
    options: &Options,
    stack: &Stack,
    tally: &Arc<Tally>,
) -> (Vec<Arc<People>>, Vec<Browser>) {
    let api = Api::new(&stack.base, Arc::clone(&stack.clock));
    let mut people: Vec<Arc<People>> = Vec::new();
    let mut browsers: Vec<Browser> = Vec::new();
    for size in CLIENTS_OF_USERS.iter().cycle() {
        if browsers.len() >= options.clients {
            break;
        }
        let size = *size.min(&(options.clients - browsers.len()));
        let these = Arc::new(People::new(people.len(), size));
        for _ in 0..size {
            let number = browsers.len();
            browsers.push(Browser::new(
                number,
                Arc::clone(&these),
                api.clone(),
                Arc::clone(&stack.clock),
                Arc::clone(tally),
                options.seed.wrapping_mul(1_000_003) ^ (number as u64) << 20,
            ));
        }
        people.push(these);
    }
    (people, browsers)
}

/// Makes administrators, one for some clients, before anything fails. Returns what is wrong by then.
async fn appoint(
    options: &Options,
    stack: &Stack,
    tally: &Arc<Tally>,
    people: &mut Vec<Arc<People>>,
    browsers: &mut Vec<Browser>,
) -> Result<Violations, StormError> {
    let api = Api::new(&stack.base, Arc::clone(&stack.clock));
    let wards: Arc<[Arc<People>]> = people.as_slice().into();
    let mut administrators = Vec::new();
    for number in 0..options.clients.div_ceil(CLIENTS_OF_AN_ADMINISTRATOR) {
        let these = Arc::new(People::new(people.len(), 1));
        let (number, clock, tally) = (options.clients + number, &stack.clock, Arc::clone(tally));
        let seed = options.seed ^ (number as u64) << 20;
        let browser = Browser::new(
            number,
            these.clone(),
            api.clone(),
            clock.clone(),
            tally,
            seed,
        );
        people.push(these);
        administrators.push(browser);
    }
    administrators = each(administrators, |mut browser| async move {
        browser.sign_in().await;
        browser
    })
    .await;
    let mut violations = Violations::default();
    compare(stack, people, 0, &mut violations).await?;
    for administrator in people.iter().skip(wards.len()) {
        let user = administrator.user();
        let id = user.known().user.ok_or(StormError::NoAdministrator)?;
        grant(&stack.behind, id, stack.clock.now()).await;
        let granted = user.stored(&stack.behind, &stack.clock).await?;
        user.known().before = granted;
    }
    let within = stack.policy.reauthenticate_within;
    for administrator in administrators {
        let mut administrator = administrator.administering(Arc::clone(&wards), within);
        // The access token of the registration has no scope for it.
        administrator.finish().await;
        browsers.push(administrator);
    }
    Ok(violations)
}

/// All clients at once, each in a separate task.
async fn each<F: Future<Output = Browser> + Send + 'static>(
    browsers: Vec<Browser>,
    act: impl Fn(Browser) -> F,
) -> Vec<Browser> {
    let tasks = browsers
        .into_iter()
        .map(|browser| tokio::spawn(act(browser)));
    let ended = join_all(tasks).await;
    // A client that panics is a fault of this program: it must not continue with fewer, and call that a success.
    ended
        .into_iter()
        .map(|browser| browser.unwrap_or_else(|error| resume_unwind(error.into_panic())))
        .collect()
}
