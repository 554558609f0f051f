//! `cargo run`: starts the local stack. `cargo run -- --help` says what it takes.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use latchkey::Options;

#[tokio::main]
async fn main() -> ExitCode {
    match latchkey::run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be reading: the exit code tells.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
