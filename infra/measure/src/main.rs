//! Measures Latchkey, and tries to break it at scale: `cargo run --release -p latchkey-measure -- --help`.

mod growth;
mod load;
mod start;
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
    /// How fast the whole service is, from a client's request to its reply.
    Load(load::Options),
    /// The local stack in its own process: what `load` starts.
    #[command(hide = true)]
    LocalStack(latchkey::Options),
    /// What requests and the cleanup cost as a user's sessions and the table grow.
    Growth(growth::Options),
    Start(start::Options),
    /// Many clients against the running stack while DynamoDB fails; exit code 1 if anything is wrong.
    Storm(storm::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Command::Growth(options) => said(growth::run(options).await),
        Command::Load(options) => said(load::run(&options).await.map(|()| ExitCode::SUCCESS)),
        Command::LocalStack(options) => {
            said(latchkey::run(options).await.map(|()| ExitCode::SUCCESS))
        }
        Command::Start(options) => said(start::run(options).await.map(|()| ExitCode::SUCCESS)),
        Command::Storm(options) => said(storm::run(options).await),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn said(outcome: Result<ExitCode, impl std::error::Error>) -> Result<ExitCode, String> {
    outcome.map_err(|error| error.to_string())
}
