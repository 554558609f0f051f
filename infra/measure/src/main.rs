//! Measures Latchkey, and tries to break it at scale: `cargo run --release -p latchkey-measure -- --help`.

mod growth;
mod storm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Latchkey, and tries to break it at scale.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What requests and the cleanup cost as a user's sessions and the table grow.
    Growth(growth::Options),
    /// Many clients against the running stack while DynamoDB fails; exit code 1 if anything is wrong.
    Storm(storm::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Options::parse().command {
        Command::Growth(options) => growth::run(options)
            .await
            .map_err(|error| error.to_string()),
        Command::Storm(options) => storm::run(options).await.map_err(|error| error.to_string()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}
