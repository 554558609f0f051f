//! Why a command did not do what it was asked for.

use std::path::PathBuf;

use latchkey_domain::client::ManageClientError;
use latchkey_domain::error as domain;
use latchkey_domain::id::UserId;
use latchkey_service::Failure;

use super::output::number_of;

/// Why a command did not do what it was asked for, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// What was named is not in the table that was looked at, and may be in another.
    #[error("{error}\n{advice}")]
    NotHere {
        /// What was not found.
        error: Box<AdminError>,
        /// Where it was looked for, and where else it may be.
        advice: String,
    },
    /// Some users were not signed out. What is printed says who and why.
    #[error("{}", not_signed_out(*.failed, *.of))]
    NotAll {
        /// How many.
        failed: usize,
        /// How many were named.
        of: usize,
        /// Why the first of them was not.
        first: Box<AdminError>,
    },
    /// There is no such user.
    #[error("there is no such user: {0}")]
    NoSuchUser(String),
    /// There is no such session.
    #[error("there is no such session, or it has ended: {0}")]
    NoSuchSession(String),
    /// That is neither an address nor an id.
    #[error("{0} is neither an e-mail address nor a user id")]
    NotAUser(String),
    /// A client of another service could not be made or changed.
    #[error(transparent)]
    Client(#[from] Failure<ManageClientError>),
    /// The rules refuse it.
    #[error("{0}")]
    Refused(domain::AdminError),
    /// The data folder holds no database.
    #[error("there is no data in {}\n{ELSEWHERE}.\nA table on AWS is named with --table NAME.", .0.display())]
    NoData(PathBuf),
    /// A service in memory is reached by its port only.
    #[error(
        "--memory has no table that a command could reach: start the service with --dynamodb-port 8000 too, and give its \
         address with --dynamodb-url"
    )]
    Memory,
    /// The table is not there.
    #[error(
        "there is no table {table} in the DynamoDB {place}: its name is TABLE_NAME of a service on this machine, and the \
         output TableName of a stack on AWS"
    )]
    NoTable {
        /// Its name.
        table: String,
        /// Where it should be.
        place: String,
    },
    /// The counts of failed sign-ins are stored under digests that only the service's secret gives.
    #[error("the secret of the service cannot be read: {0}")]
    NoSecret(String),
    /// Nobody but who knows what stood in the account can mend it.
    #[error(
        "the account of user {0} cannot be repaired: restore its item from a backup, or delete it with what leads to it"
    )]
    BeyondRepair(UserId),
    /// Nobody has agreed.
    #[error("not confirmed, so nothing was done; --yes does it without a question")]
    NotConfirmed,
    /// Some users were not signed out.
    #[error("{} could not be signed out: run the command again", number_of(*.0, "user"))]
    Incomplete(usize),
    /// DynamoDB was busy or out of reach.
    #[error(
        "the table is not available for the moment: it may or may not be done; if it is not, run the command again"
    )]
    Unavailable,
    /// Something is broken, and was logged.
    #[error("something is broken: see the lines above")]
    Broken,
}

/// What to do if the data is not where a command has looked.
pub(super) const ELSEWHERE: &str = "\
If the service keeps its data elsewhere, name that place: a folder with --data-dir FOLDER, a DynamoDB with \
--dynamodb-url URL.\nA service with --memory is reached only if it was started with --dynamodb-port 8000 too: its URL is \
http://127.0.0.1:8000 then";

fn not_signed_out(failed: usize, of: usize) -> String {
    match failed == of {
        true => "nobody was signed out".to_owned(),
        false => format!("{failed} of {} were not signed out", number_of(of, "user")),
    }
}

impl AdminError {
    /// The same, with where it was looked for and what to do, if it is about something that is not there. `place` is what
    /// people call the table.
    pub(super) fn in_place(self, place: &str, local: bool) -> Self {
        let missing = match &self {
            Self::NotAll { first, .. } => first.as_ref(),
            other => other,
        };
        let mut advice = format!("This command has looked in {place}.");
        match missing {
            Self::NoSuchUser(named) => {
                // An id leads to everybody.
                if named.contains('@') {
                    advice.push_str("\nWhoever signs in elsewhere (with Google, SAML) is not found by an address: admin find --issuer ISSUER --subject SUBJECT shows their id.");
                }
            }
            Self::NoSuchSession(_) => {}
            _ => return self,
        }
        if local {
            advice = format!("{advice}\n{ELSEWHERE}.");
        }
        Self::NotHere {
            error: Box::new(self),
            advice,
        }
    }

    /// The program's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::NotHere { error, .. } | Self::NotAll { first: error, .. } => error.exit_code(),
            Self::NoSuchUser(_) | Self::NoSuchSession(_) => 3,
            Self::NotAUser(_) | Self::Memory => 2,
            Self::Client(_)
            | Self::Refused(_)
            | Self::NoData(_)
            | Self::NoTable { .. }
            | Self::NoSecret(_)
            | Self::BeyondRepair(_)
            | Self::NotConfirmed
            | Self::Incomplete(_)
            | Self::Unavailable
            | Self::Broken => 1,
        }
    }

    /// A failure of a use case, about what the operator named.
    pub(super) fn about(named: &str) -> impl Fn(Failure<domain::AdminError>) -> Self + '_ {
        |failure| match failure {
            Failure::Refused(domain::AdminError::UserNotFound) => {
                Self::NoSuchUser(named.to_owned())
            }
            Failure::Refused(domain::AdminError::SessionNotFound) => {
                Self::NoSuchSession(named.to_owned())
            }
            Failure::Refused(
                refusal @ (domain::AdminError::TooManyRoles
                | domain::AdminError::NoPassword
                | domain::AdminError::OwnAccount),
            ) => Self::Refused(refusal),
            Failure::Throttled(_) | Failure::Unavailable => Self::Unavailable,
            Failure::Internal => Self::Broken,
        }
    }
}
