//! A thousand clients against the running local stack, while DynamoDB fails: what must never happen is looked for in every
//! answer and in the table.
//!
//! The stack is the real one: all routes behind a server on 127.0.0.1, over the embedded DynamoDB, with the system's
//! randomness and the default settings. Faults are made where the SDK hands a request to the network; they take the time
//! that they take in earnest, so a silent DynamoDB costs a second each time. Only the clock leaps: within a round it runs
//! as the machine's does, between two rounds, when nothing is under way, it jumps over the grace, the access tokens'
//! quarter of an hour, the days until the idle and the absolute expiry.

mod api;
mod browser;
mod clock;
mod history;
mod judge;
mod user;

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::net::Ipv4Addr;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Parser;
use cleanup::{Budget, CleanupError, Report};
use futures::future::join_all;
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::http::service;
use latchkey_domain::clock::Clock as _;
use latchkey_domain::error::StoreError;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::{RandomSource as _, SystemRandom};
use latchkey_domain::token::{
    KeyDerivationFailed, SecretTooShort, TokenIdentity, TokenSecret, Tokens,
};
use latchkey_service::passwords::Passwords;
use latchkey_service::{Core, UserRequests};
use latchkey_store::table::{TableError, create_if_missing};
use latchkey_store::{ScannedItem, Store};
use latchkey_tests::attack::faults::{self, Faults};
use tokio::net::TcpListener;

use api::Api;
use browser::{Browser, Tally};
use clock::LeapingClock;
use history::{Event, StoredUser};
use judge::{Round, Rules, Violation, judge};
use user::{Known, People, lock};

const TABLE: &str = "latchkey";
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
/// How many violations are shown with their history.
const SHOWN: usize = 10;

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
    /// Draws what clients do and what fails; which of them comes first stays the machine's choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Why there was no storm.
#[derive(Debug, thiserror::Error)]
enum StormError {
    #[error("the embedded DynamoDB cannot be opened: {0}")]
    Database(#[from] dynoxide::DynoxideError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("the keys cannot be made: {0}")]
    Keys(#[from] KeyDerivationFailed),
    #[error("the server cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    #[error("the table cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("the last cleanup failed: {0}")]
    Cleanup(#[from] CleanupError),
    #[error(transparent)]
    Secret(#[from] SecretTooShort),
}

/// The running stack, and the ways behind it.
struct Stack {
    clock: Arc<LeapingClock>,
    faults: Faults,
    /// Without faults.
    behind: Store,
    policy: SessionPolicy,
    base: String,
}

/// What is found wrong, with what was noted of it.
struct Evidence {
    violation: Violation,
    email: String,
    round: usize,
    history: Vec<String>,
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
    let stack = start().await?;
    let tally = Arc::new(Tally::default());
    let (people, mut browsers) = clients(&options, &stack, &tally);
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
    let mut evidence = Vec::new();
    for round in 0..options.rounds {
        let actions = options.actions;
        browsers = each(browsers, move |mut browser| async move {
            for _ in 0..actions {
                browser.act().await;
            }
            browser
        })
        .await;
        evidence.extend(compare(&stack, &people, round).await?);
        line(&tally, &stack, round, evidence.len());
        let leap = LEAPS.get(round % LEAPS.len()).copied().unwrap_or_default();
        stack.clock.leap(TimeDelta::seconds(leap));
    }
    let struck = stack.faults.struck();
    drop(stack.faults.disarm());
    let unavailable = tally.unavailable.load(Ordering::Relaxed);
    each(browsers, |mut browser| async move {
        browser.finish().await;
        browser
    })
    .await;
    evidence.extend(compare(&stack, &people, options.rounds).await?);
    let (table, report) = whole_table(&stack, &people).await?;
    let late = tally.unavailable.load(Ordering::Relaxed) - unavailable;
    let mut general = table;
    if late > 0 {
        general.push(format!("{late} times 503 without faults"));
    }
    let given_up = tally.given_up.load(Ordering::Relaxed);
    if given_up > 0 {
        general.push(format!("{given_up} requests never got a definite answer"));
    }
    progress.abort();
    clear_line();
    print_result(&tally, &struck, &report, &stack);
    let violations = evidence.len() + general.len();
    for what in &general {
        println!("violation: {what}");
    }
    for found in evidence.iter().take(SHOWN) {
        print_evidence(found);
    }
    if evidence.len() > SHOWN {
        println!("and {} more", evidence.len() - SHOWN);
        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        for found in &evidence {
            *kinds.entry(found.violation.what.as_str()).or_default() += 1;
        }
        for (what, count) in kinds {
            println!("  {count:>6} {what}");
        }
    }
    println!("violations: {violations}");
    Ok(match violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

async fn start() -> Result<Stack, StormError> {
    let database = dynoxide::Database::memory()?;
    let faults = Faults::default();
    let behind = faults::client(&database, &Faults::default());
    create_if_missing(&behind, TABLE).await?;
    let random = Arc::new(SystemRandom);
    let store = Store::new(faults::client(&database, &faults), TABLE, random.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let clock = Arc::new(LeapingClock::starting_now());
    let mut secret = [0; 32];
    random.fill(&mut secret);
    let identity = TokenIdentity {
        issuer: base.clone(),
        audience: "latchkey".to_owned(),
        other_audiences: Vec::new(),
        client_id: "latchkey-app".to_owned(),
    };
    let secret = TokenSecret::new(secret)?;
    let core = Core {
        tokens: Tokens::new(identity, &secret, None)?.into(),
        clock: clock.clone(),
        random: random.clone(),
        // All clients have one address here, and ask for more than people do.
        policy: Arc::new(SessionPolicy {
            limits: latchkey_domain::throttle::Limits::off(),
            ..SessionPolicy::default()
        }),
        passwords: Passwords::for_this_machine(),
        requests: UserRequests::default(),
        password_policy: Arc::default(),
    };
    let (routes, _) = latchkey::routes(&core, &store).split_for_parts();
    let router = service(
        routes,
        (&AllowedOrigins::None).into(),
        None,
        clock.clone(),
        random.clone(),
    );
    tokio::spawn(axum::serve(listener, router).into_future());
    Ok(Stack {
        clock,
        faults,
        behind: Store::new(behind, TABLE, random),
        policy: SessionPolicy::default(),
        base,
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

/// Compares what was answered in a round, and what the table holds after it, with the rules.
async fn compare(
    stack: &Stack,
    people: &[Arc<People>],
    round: usize,
) -> Result<Vec<Evidence>, StormError> {
    let rules = Rules::from(&stack.policy);
    let users = people
        .iter()
        .flat_map(|people| lock(&people.accounts).clone());
    let mut evidence = Vec::new();
    for user in users {
        let after = user.stored(&stack.behind, &stack.clock).await?;
        let ended = stack.clock.moment();
        let mut known = user.known();
        let events = std::mem::take(&mut known.events);
        let found = judge(&Round {
            rules,
            before: known.before.as_ref(),
            after: after.as_ref(),
            events: &events,
            ended,
        });
        evidence.extend(found.into_iter().map(|violation| Evidence {
            history: history(&violation, &events, known.before.as_ref(), after.as_ref()),
            email: user.email.clone(),
            violation,
            round,
        }));
        settle(&mut known, after);
    }
    Ok(evidence)
}

/// From here on the clients know what is, not what may be.
fn settle(known: &mut Known, after: Option<StoredUser>) {
    match &after {
        Some(stored) => {
            known.passwords = stored.password.clone().into_iter().collect();
            known.sessions.clone_from(&stored.admitted);
            known.leaving = false;
        }
        None => known.leaving = known.registered,
    }
    known.before = after;
}

fn history(
    violation: &Violation,
    events: &[Event],
    before: Option<&StoredUser>,
    after: Option<&StoredUser>,
) -> Vec<String> {
    let zero = events.iter().map(|event| event.start).min();
    let of_session = |event: &&Event| {
        violation
            .session
            .is_none_or(|session| event.concerns(session))
    };
    let mut concerned: Vec<&Event> = events.iter().filter(of_session).collect();
    concerned.sort_by_key(|event| event.start);
    let table = |when: &str, stored: Option<&StoredUser>| {
        let Some(stored) = stored else {
            return format!("{when}: no account");
        };
        let of_session = violation.session.map(|session| {
            let item = stored.sessions.get(&session);
            let admitted = stored.admitted.contains(&session);
            format!("session admitted: {admitted}, item: {item:?}")
        });
        format!(
            "{when}: account at version {} with {} sessions; {}",
            stored.version,
            stored.admitted.len(),
            of_session.unwrap_or_default()
        )
    };
    let lines = concerned
        .into_iter()
        .map(|event| event.line(zero.unwrap_or_default()));
    std::iter::once(table("before", before))
        .chain(lines)
        .chain([table("after", after)])
        .collect()
}

/// Cleans up, and compares the whole table with what is known of all users.
async fn whole_table(
    stack: &Stack,
    people: &[Arc<People>],
) -> Result<(Vec<String>, Report), StormError> {
    let until = stack.clock.now() + TimeDelta::minutes(10);
    let report = cleanup::run(&stack.behind, stack.clock.as_ref(), Budget::until(until)).await?;
    let (mut accounts, mut sessions, mut others) = (0, 0, 0);
    let mut wrong = Vec::new();
    let mut from = None;
    loop {
        let page = stack.behind.scan_page(0, 1, from, 1000).await?;
        for scanned in page.items {
            match scanned.item {
                ScannedItem::Account(_) => accounts += 1,
                ScannedItem::Session(_) => sessions += 1,
                ScannedItem::Other | ScannedItem::Counter => others += 1,
                ScannedItem::Broken => wrong.push("a broken item".to_owned()),
            }
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    let (mut users, mut items, mut live) = (0, 0, 0);
    let now = stack.clock.moment();
    for user in people
        .iter()
        .flat_map(|people| lock(&people.accounts).clone())
    {
        let Some(stored) = user.stored(&stack.behind, &stack.clock).await? else {
            continue;
        };
        users += 1;
        items += stored.sessions.len();
        live += stored
            .sessions
            .iter()
            .filter(|(id, session)| {
                stored.admitted.contains(id) && session.idle_end.min(session.absolute_end) > now
            })
            .count();
    }
    let mut same = |what: &str, in_table: usize, expected: usize| {
        if in_table != expected {
            wrong.push(format!("{in_table} {what} in the table, not {expected}"));
        }
    };
    same("accounts", accounts, users);
    same("sessions", sessions, items);
    // A credential for each account, and the cleanup's own note.
    same("other items", others, users + 1);
    same(
        "live sessions by the cleanup's count",
        usize::try_from(report.sessions_live).unwrap_or_default(),
        live,
    );
    same(
        "orphaned sessions",
        usize::try_from(report.removed_orphaned).unwrap_or_default(),
        0,
    );
    if !report.complete || report.broken > 0 {
        wrong.push(format!("the cleanup: {report}"));
    }
    Ok((wrong, report))
}

fn print_result(
    tally: &Tally,
    struck: &BTreeMap<faults::Fault, u64>,
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
    println!("\n| operation | requests | answered |\n|---|---|---|");
    for (operation, columns) in operations {
        let all: u64 = columns.iter().map(|(_, count)| count).sum();
        let mut columns = columns;
        columns.sort_by_key(|(name, _)| (*name != "right", *name));
        let columns: Vec<String> = columns
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        println!("| {operation} | {all} | {} |", columns.join(", "));
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

fn print_evidence(found: &Evidence) {
    let session = found
        .violation
        .session
        .map_or("no session".to_owned(), |session| session.to_string());
    println!(
        "\nviolation in round {} of {}, {session}: {}",
        found.round + 1,
        found.email,
        found.violation.what
    );
    for line in &found.history {
        println!("    {line}");
    }
}

/// On a terminal one line that is written again and again.
async fn show_progress(tally: Arc<Tally>, clock: Arc<LeapingClock>, faults: Faults) {
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

fn clear_line() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}

fn line(tally: &Tally, stack: &Stack, round: usize, violations: usize) {
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
