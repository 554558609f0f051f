//! Measures Latchkey, and tries to break it at scale: `cargo run --release -p latchkey-measure -- --help`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Latchkey, and tries to break it at scale.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {}

#[tokio::main]
async fn main() -> ExitCode {
    match Options::parse().command {}
}
