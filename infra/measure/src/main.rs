//! Measures Latchkey: `cargo run --release -p latchkey-measure -- --help`.

mod growth;
mod load;
mod start;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Latchkey.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Command {
    /// How fast the whole service is, from a client's request to its reply.
    Load(load::Options),
    /// The local stack in its own process: what `load` starts.
    #[command(hide = true)]
    LocalStack(latchkey::Options),
    /// What requests and the cleanup cost as a user's sessions and the table grow.
    Growth(growth::Options),
    Start(start::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Options::parse().command {
        Command::Growth(options) => report(growth::run(options).await),
        Command::Load(options) => report(load::run(&options).await.map(|()| ExitCode::SUCCESS)),
        Command::LocalStack(options) => {
            report(latchkey::run(options).await.map(|()| ExitCode::SUCCESS))
        }
        Command::Start(options) => report(start::run(options).await.map(|()| ExitCode::SUCCESS)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn report(outcome: Result<ExitCode, impl std::error::Error>) -> Result<ExitCode, String> {
    outcome.map_err(|error| error.to_string())
}
