//! `latchkey openapi`: the OpenAPI document on standard output, for generators of clients. It needs no server and no table.

use std::io::{self, Write};

use crate::error::LocalError;

/// Prints the document of the whole service.
///
/// # Errors
/// [`LocalError::Output`] if it cannot be written. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn print() -> Result<(), LocalError> {
    let mut output = io::stdout().lock();
    let written = output
        .write_all(discovery::OPENAPI_DOCUMENT.as_bytes())
        .and_then(|()| output.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(LocalError::Output(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
