//! Measures Latchkey, and tries to break it at scale: `cargo run --release -p latchkey-measure -- --help`.

mod start;

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
    Start(start::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Options::parse().command {
        Command::Start(options) => start::run(options).await.map_err(|error| error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("latchkey-measure: {message}");
            ExitCode::FAILURE
        }
    }
}
