//! A question before what cannot be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use super::error::AdminError;

/// Asks whether to go on, unless the answer was given with `--yes`. Only a person at a terminal can answer.
///
/// # Errors
/// [`AdminError::NotConfirmed`]
pub(super) fn confirm(yes: bool, question: &str) -> Result<(), AdminError> {
    if yes {
        return Ok(());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(AdminError::NotConfirmed);
    }
    eprint!("{question} Type yes to go on: ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    match stdin.lock().read_line(&mut answer) {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        Ok(_) | Err(_) => Err(AdminError::NotConfirmed),
    }
}
