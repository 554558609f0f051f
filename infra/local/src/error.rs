//! Why the local stack could not start or a command not be carried out: one line each, which says what to do about it.

use std::io;
use std::path::PathBuf;

use latchkey_domain::token::KeyDerivationFailed;
use latchkey_runtime::places::LocationDatabaseError;
use latchkey_runtime::settings::SettingsError;
use latchkey_store::table::TableError;

use crate::admin::AdminError;
use crate::embedded::EmbeddedError;
use crate::folder::FolderError;
use crate::outside::OutsideError;

/// Why the local stack could not start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Somebody else listens there.
    #[error(
        "port {0} on 127.0.0.1 is taken by another program, perhaps by an earlier `cargo run`; stop that one, or choose \
         another port (--port 0 takes any free one)"
    )]
    PortTaken(u16),
    /// Nobody may listen there.
    #[error("port {port} on 127.0.0.1 cannot be used: {source}")]
    Port {
        /// Which one.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder of `--brand` is not there.
    #[error("--brand {} is no folder", .0.display())]
    NoBrand(PathBuf),
    /// The embedded DynamoDB could not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The outside DynamoDB cannot be used.
    #[error(transparent)]
    Outside(#[from] OutsideError),
    /// The table could not be made.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A text of a mail cannot be used.
    #[error(transparent)]
    Texts(#[from] notify::TextsError),
    /// The location database cannot be used.
    #[error(transparent)]
    LocationDatabase(#[from] LocationDatabaseError),
    /// Secrets Manager is for Lambda.
    #[error(
        "TOKEN_SECRET_ARN is set, but the local stack does not read Secrets Manager; unset it, and set TOKEN_SECRET if \
         the secret of the data folder is not the right one"
    )]
    SecretsManager,
    /// The keys could not be derived.
    #[error(transparent)]
    Keys(#[from] KeyDerivationFailed),
    /// An operator's command could not be carried out.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Standard output does not take what a command prints.
    #[error("what was asked for cannot be printed: {0}")]
    Output(#[source] io::Error),
    /// Ctrl-C could not be listened for.
    #[error("the signals that stop a program cannot be received: {0}")]
    Signals(#[source] io::Error),
}

impl LocalError {
    /// The program's exit code: 1, unless a command says what is the matter.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Admin(error) => error.exit_code(),
            Self::PortTaken(_)
            | Self::Port { .. }
            | Self::Folder(_)
            | Self::NoBrand(_)
            | Self::Embedded(_)
            | Self::Outside(_)
            | Self::Table(_)
            | Self::Settings(_)
            | Self::Texts(_)
            | Self::LocationDatabase(_)
            | Self::SecretsManager
            | Self::Keys(_)
            | Self::Output(_)
            | Self::Signals(_) => 1,
        }
    }
}
