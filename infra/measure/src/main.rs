//! Measures Latchkey, and tries to break it at scale: `cargo run --release -p latchkey-measure -- --help`.

mod load;

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
    /// The local stack, in a process of its own: what `load` starts.
    #[command(hide = true)]
    LocalStack(latchkey::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Options::parse().command {
        Command::Load(options) => report(load::run(&options).await),
        Command::LocalStack(options) => report(latchkey::run(options).await),
    }
}

fn report(outcome: Result<(), impl std::error::Error>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
