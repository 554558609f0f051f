//! What requests and the cleanup cost as a user's sessions and the table grow.
//!
//! A table on disk is filled with users of five sessions each, by the store's own item form and the engine's bulk import.
//! In it stand three users with 1, 20 and 100 sessions, whose requests are measured, each through the routes, the SDK and
//! a socket to the embedded DynamoDB. Capacity is what DynamoDB says it consumed.

mod plot;
mod report;
mod seed;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Args;
use cleanup::CleanupError;
use latchkey_domain::email::InvalidEmail;
use latchkey_domain::error::StoreError;
use latchkey_domain::password::PasswordHashError;
use latchkey_domain::token::{KeyDerivationFailed, SecretTooShort, TokenError};
use latchkey_store::table::TableError;
use serde_json::Value;

use report::{millis, print_cleanups, print_rows};
use table::Table;

const TABLE: &str = "latchkey";
/// How many sessions the measured users have.
const OF_A_USER: [usize; 3] = [1, 20, 100];
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
