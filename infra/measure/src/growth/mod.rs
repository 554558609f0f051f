//! What requests and the cleanup cost as a user's sessions and the table grow.
//!
//! A table on disk is filled with users of five sessions each, by the store's own item form and the engine's bulk import.
//! In it stand three users with 1, 20 and 100 sessions, whose requests are measured, each through the routes, the SDK and
//! a socket to the embedded DynamoDB. Capacity is what DynamoDB says it consumed.

mod plot;
mod seed;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use chrono::TimeDelta;
use clap::Args;
use cleanup::{Budget, CleanupError};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use latchkey_domain::clock::{Clock as _, SystemClock};
use latchkey_domain::email::InvalidEmail;
use latchkey_domain::error::StoreError;
use latchkey_domain::password::PasswordHashError;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::{RandomSource as _, SystemRandom};
use latchkey_domain::token::{
    KeyDerivationFailed, SecretTooShort, TokenError, TokenIdentity, TokenSecret, Tokens,
};
use latchkey_service::passwords::Passwords;
use latchkey_service::{Core, UserRequests};
use latchkey_store::Store;
use latchkey_store::table::{TableError, create_if_missing};
use latchkey_tests::harness::dynamodb::{EmbeddedDynamoDb, Recorder};
use latchkey_tests::harness::stack::CHROME;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use seed::{Measured, PASSWORD, Seeder};

const TABLE: &str = "latchkey";
/// How many sessions the measured users have.
const OF_A_USER: [usize; 3] = [1, 20, 100];
/// How often the cleanup is started until it has come to the end of the table.
const MOST_RUNS: u32 = 50;
/// Bytes of disk for each session that is asked for, with its share of accounts, credentials and index. Seen: 1,300.
const BYTES_OF_A_SESSION: u64 = 2_500;

/// What to do.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many sessions the table holds, one size after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000, 1_000_000])]
    sizes: Vec<usize>,
    /// How often each request is measured; a sign-in a quarter as often.
    #[arg(long, default_value_t = 400)]
    samples: usize,
    /// The largest table that the cleanup is run on. The embedded engine sorts a whole segment for each page, so its
    /// time grows with the square of the table, which DynamoDB's does not.
    #[arg(long, default_value_t = 100_000)]
    cleanup_up_to: usize,
    /// Where the plot is written, as SVG.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Where the tables are made for the while.
    #[arg(long, default_value = "target/growth")]
    folder: PathBuf,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GrowthError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the path is not UTF-8")]
    Path,
    #[error("{0} MB of disk are needed, {1} are free")]
    Disk(u64, u64),
    #[error("the embedded DynamoDB: {0}")]
    Database(#[from] dynoxide::DynoxideError),
    #[error("an item: {0}")]
    Item(#[from] serde_json::Error),
    #[error("an item has an attribute of a kind that is not known here")]
    Kind,
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Keys(#[from] KeyDerivationFailed),
    #[error(transparent)]
    Secret(#[from] SecretTooShort),
    #[error("a token: {0}")]
    Token(#[from] TokenError),
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    #[error(transparent)]
    Password(#[from] PasswordHashError),
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    #[error("{0} was answered {1}: {2}")]
    Answer(String, u16, Value),
    #[error("the plot: {0}")]
    Plot(String),
}

/// What one kind of request cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    median: Duration,
    p95: Duration,
    read_units: f64,
    write_units: f64,
}

/// What was measured of one user in one table.
#[derive(Clone, Copy, Debug)]
struct Row {
    size: usize,
    sessions: usize,
    refresh: Cost,
    list: Cost,
    sign_in: Cost,
}

/// What a run of the cleanup cost.
#[derive(Clone, Debug)]
struct CleanupRow {
    size: usize,
    items: u64,
    megabytes: f64,
    due: u64,
    removed: u64,
    seconds: f64,
    read_units: f64,
    write_units: f64,
}

/// Measures, and prints tables.
pub(crate) async fn run(options: Options) -> Result<std::process::ExitCode, GrowthError> {
    let largest = options.sizes.iter().copied().max().unwrap_or_default();
    std::fs::create_dir_all(&options.folder)?;
    check_disk(&options.folder, largest as u64 * BYTES_OF_A_SESSION)?;
    let (mut rows, mut cleanups) = (Vec::new(), Vec::new());
    for (place, size) in options.sizes.iter().enumerate() {
        let folder = TemporaryFolder::new(&options.folder, *size)?;
        let table = Table::fill(&folder, *size).await?;
        if place == 0 {
            table.print_account_sizes().await?;
        }
        for measured in &table.measured {
            rows.push(table.measure(measured, options.samples).await?);
        }
        if *size <= options.cleanup_up_to {
            cleanups.push(table.clean_up().await?);
        }
    }
    print_rows(&rows);
    print_cleanups(&cleanups);
    if let Some(path) = &options.plot {
        plot::draw(path, &rows, &cleanups)?;
        eprintln!("wrote {}", path.display());
    }
    Ok(std::process::ExitCode::SUCCESS)
}

/// A folder that goes with its table.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn new(parent: &Path, size: usize) -> io::Result<Self> {
        let folder = parent.join(format!("{}-{size}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// Asks `df`, because the standard library does not know; where there is none, nothing is checked.
fn check_disk(folder: &Path, needed: u64) -> Result<(), GrowthError> {
    let Ok(output) = Command::new("df").arg("-Pk").arg(folder).output() else {
        return Ok(());
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let free = text
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(3))
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok());
    match free {
        Some(free) if free < needed / 1024 => {
            Err(GrowthError::Disk(needed / 1_000_000, free / 1024))
        }
        _ => Ok(()),
    }
}

/// A table that is filled, and the service over it.
struct Table {
    size: usize,
    items: u64,
    due: u64,
    megabytes: f64,
    measured: Vec<Measured>,
    /// Users with 1, 2, 3, ... sessions.
    ladder: Vec<Measured>,
    core: Core,
    store: Store,
    router: Router,
    recorder: Recorder,
}

impl Table {
    async fn fill(folder: &TemporaryFolder, size: usize) -> Result<Self, GrowthError> {
        let path = folder.0.join("dynamodb.sqlite");
        let database = dynoxide::Database::new(path.to_str().ok_or(GrowthError::Path)?)?;
        let dynamodb = EmbeddedDynamoDb {
            database: database.clone(),
        };
        let recorder = Recorder::default();
        let client = dynamodb.client(&recorder);
        create_if_missing(&client, TABLE).await?;
        let core = core()?;
        let began = Instant::now();
        let mut seeder = Seeder::new(database, &core)?;
        seeder.fill(size)?;
        let mut measured = Vec::new();
        for sessions in OF_A_USER {
            measured.push(seeder.user(sessions)?);
        }
        let mut ladder = Vec::new();
        for sessions in 1..=core.policy.max_sessions {
            ladder.push(seeder.user(sessions)?);
        }
        let (items, due) = seeder.finish()?;
        let bytes = std::fs::metadata(&path)?.len();
        eprintln!(
            "{size} sessions: {items} items seeded in {:.1} s",
            began.elapsed().as_secs_f64()
        );
        let store = Store::new(client, TABLE, Arc::new(SystemRandom));
        let (router, _) = latchkey::routes(&core, &store).split_for_parts();
        drop(recorder.take());
        Ok(Self {
            size,
            items,
            due,
            megabytes: bytes as f64 / 1e6,
            measured,
            ladder,
            core,
            store,
            router,
            recorder,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Value,
    ) -> Result<Value, GrowthError> {
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(USER_AGENT, CHROME);
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header(CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        };
        let refused =
            |status: u16, body| GrowthError::Answer(format!("{method} {path}"), status, body);
        let request = request.body(body).map_err(|_| refused(0, Value::Null))?;
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|_| refused(status.as_u16(), Value::Null))?;
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        match status.is_success() {
            true => Ok(body),
            false => Err(refused(status.as_u16(), body)),
        }
    }

    async fn tokens(&self, user: &Measured, which: usize) -> Result<(String, String), GrowthError> {
        let session = user.sessions.get(which).ok_or(GrowthError::Kind)?;
        let now = self.core.now();
        let policy = &self.core.policy;
        let issued = self
            .core
            .tokens
            .issue(
                session,
                latchkey_domain::token::Scope::own_account(),
                now,
                policy,
                &SystemRandom,
            )
            .await?;
        let text = |token: &latchkey_domain::token::Token| token.expose().to_owned();
        Ok((text(&issued.access_token), text(&issued.refresh_token)))
    }

    async fn measure(&self, user: &Measured, samples: usize) -> Result<Row, GrowthError> {
        let (access, mut refresh_token) = self.tokens(user, 0).await?;
        let mut refreshes = Samples::default();
        for _ in 0..samples {
            let body = json!({"refresh_token": refresh_token});
            let request = self.send(Method::POST, "/v1/auth/refresh", None, body);
            let reply = refreshes.take(&self.recorder, request).await?;
            refresh_token = text(&reply, "refresh_token");
        }
        let mut lists = Samples::default();
        for _ in 0..samples {
            let request = self.send(Method::GET, "/v1/sessions", Some(&access), Value::Null);
            lists.take(&self.recorder, request).await?;
        }
        let mut sign_ins = Samples::default();
        let body = json!({"email": user.email, "password": PASSWORD});
        for _ in 0..samples.div_ceil(4) {
            // The measured session stays the most recently used, so it is never the one that makes room.
            let refreshed = json!({"refresh_token": refresh_token});
            let reply = self.send(Method::POST, "/v1/auth/refresh", None, refreshed);
            refresh_token = text(&reply.await?, "refresh_token");
            drop(self.recorder.take());
            let request = self.send(Method::POST, "/v1/auth/login", None, body.clone());
            let reply = sign_ins.take(&self.recorder, request).await?;
            // As many sessions as before, live and ended.
            if user.sessions.len() < self.core.policy.max_sessions {
                let body = json!({"refresh_token": text(&reply, "refresh_token")});
                self.send(Method::POST, "/v1/auth/logout", None, body)
                    .await?;
            }
            let purge = self.send(
                Method::DELETE,
                "/v1/sessions/expired",
                Some(&access),
                Value::Null,
            );
            purge.await?;
            drop(self.recorder.take());
        }
        eprintln!(
            "{} sessions, user with {}: done",
            self.size,
            user.sessions.len()
        );
        Ok(Row {
            size: self.size,
            sessions: user.sessions.len(),
            refresh: refreshes.cost(),
            list: lists.cost(),
            sign_in: sign_ins.cost(),
        })
    }

    /// At how many sessions a write of the account costs a second unit.
    async fn print_account_sizes(&self) -> Result<(), GrowthError> {
        let mut last = 0.0;
        println!("\n| sessions of a user | a sign-out costs, in write units |\n|---|---|");
        for user in &self.ladder {
            let (_, refresh_token) = self.tokens(user, 0).await?;
            drop(self.recorder.take());
            let body = json!({"refresh_token": refresh_token});
            self.send(Method::POST, "/v1/auth/logout", None, body)
                .await?;
            let units = self.recorder.take_cost().write_units;
            if units > last {
                println!("| from {} | {units} |", user.sessions.len());
                last = units;
            }
        }
        Ok(())
    }

    async fn clean_up(&self) -> Result<CleanupRow, GrowthError> {
        drop(self.recorder.take());
        let began = Instant::now();
        let budget = Budget {
            read_units: f64::INFINITY,
            read_units_per_second: f64::INFINITY,
            ..Budget::until(SystemClock.now() + TimeDelta::hours(1))
        };
        let (mut removed, mut read_units) = (0, 0.0);
        // On a busy machine a page may take longer than the service waits: the next run continues with it.
        for run in 1.. {
            let report = match cleanup::run(&self.store, &SystemClock, budget).await {
                Ok(report) => report,
                Err(CleanupError::Incomplete(report)) if run < MOST_RUNS => *report,
                Err(error) => return Err(error.into()),
            };
            eprintln!("{} sessions: {report}", self.size);
            removed += report.removed_expired;
            read_units += report.read_units;
            if report.complete {
                break;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let cost = self.recorder.take_cost();
        Ok(CleanupRow {
            size: self.size,
            items: self.items,
            megabytes: self.megabytes,
            due: self.due,
            removed,
            seconds,
            read_units,
            write_units: cost.write_units,
        })
    }
}

fn text(body: &Value, name: &str) -> String {
    let value = body.get(name).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn core() -> Result<Core, GrowthError> {
    let mut secret = [0; 32];
    SystemRandom.fill(&mut secret);
    let identity = TokenIdentity {
        issuer: "https://id.example.com".to_owned(),
        audience: "latchkey".to_owned(),
        other_audiences: Vec::new(),
        client_id: "latchkey-app".to_owned(),
    };
    let secret = TokenSecret::new(secret)?;
    Ok(Core {
        tokens: Tokens::new(identity, &secret, None)?.into(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        policy: Arc::new(SessionPolicy {
            max_sessions: OF_A_USER.into_iter().max().unwrap_or(1),
            // Without a grace there is no interval either, so every refresh rotates.
            refresh_grace: TimeDelta::zero(),
            limits: latchkey_domain::throttle::Limits::off(),
            ..SessionPolicy::default()
        }),
        passwords: Passwords::for_this_machine(),
        requests: UserRequests::default(),
        password_policy: Arc::default(),
    })
}

/// Durations and units of one kind of request.
#[derive(Debug, Default)]
struct Samples {
    durations: Vec<Duration>,
    read_units: f64,
    write_units: f64,
}

impl Samples {
    async fn take<T>(
        &mut self,
        recorder: &Recorder,
        request: impl Future<Output = Result<T, GrowthError>>,
    ) -> Result<T, GrowthError> {
        let began = Instant::now();
        let reply = request.await?;
        self.durations.push(began.elapsed());
        let cost = recorder.take_cost();
        self.read_units += cost.read_units;
        self.write_units += cost.write_units;
        Ok(reply)
    }

    fn cost(mut self) -> Cost {
        self.durations.sort_unstable();
        let count = self.durations.len();
        let at = |percent: usize| {
            let place = (count * percent / 100).min(count.saturating_sub(1));
            self.durations.get(place).copied().unwrap_or_default()
        };
        Cost {
            median: at(50),
            p95: at(95),
            read_units: self.read_units / count.max(1) as f64,
            write_units: self.write_units / count.max(1) as f64,
        }
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// One of the costs of a row.
type Of = fn(&Row) -> Cost;

fn print_rows(rows: &[Row]) {
    println!(
        "\n| sessions in the table | of the user | request | median, ms | p95, ms | read units | write units | median \
         against the smallest table |\n|---|---|---|---|---|---|---|---|"
    );
    let kinds: [(&str, Of); 3] = [
        ("refresh", |row| row.refresh),
        ("list", |row| row.list),
        ("sign-in, with argon2", |row| row.sign_in),
    ];
    for (name, cost) in kinds {
        for row in rows {
            let first = rows.iter().find(|one| one.sessions == row.sessions);
            let first = first.map_or(1.0, |first| millis(cost(first).median));
            let cost = cost(row);
            println!(
                "| {} | {} | {name} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
                row.size,
                row.sessions,
                millis(cost.median),
                millis(cost.p95),
                cost.read_units,
                cost.write_units,
                millis(cost.median) / first,
            );
        }
    }
}

fn print_cleanups(cleanups: &[CleanupRow]) {
    // us-east-1, on demand.
    const READ_PRICE: f64 = 0.125e-6;
    const WRITE_PRICE: f64 = 0.625e-6;
    println!(
        "\n| sessions in the table | items | file, MB | due | removed | seconds | read units | write units | dollars a run | \
         reading, dollars a run for a million sessions |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for row in cleanups {
        let reading = row.read_units * READ_PRICE;
        println!(
            "| {} | {} | {:.0} | {} | {} | {:.1} | {:.0} | {:.0} | {:.5} | {:.4} |",
            row.size,
            row.items,
            row.megabytes,
            row.due,
            row.removed,
            row.seconds,
            row.read_units,
            row.write_units,
            reading + row.write_units * WRITE_PRICE,
            reading * 1e6 / row.size as f64,
        );
    }
}
