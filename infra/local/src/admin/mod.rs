//! `latchkey admin`: what an operator does by command, on the table itself.
//!
//! The commands call the same use cases as the routes of administration, as [`Actor::Operator`]. They ask for no token
//! and no role: whoever may read and write the table needs none.
//!
//! A new command is a variant of [`AdminCommand`] and a function that returns what is to be printed.
//!
//! [`Actor::Operator`]: latchkey_domain::cause::Actor::Operator

mod client;
mod confirm;
mod error;
mod everybody;
mod output;
mod place;
mod repair;
mod unblock;
mod users;

use std::io::{self, Write};

use clap::{Args, Subcommand};
use latchkey_runtime::settings::{Format, LogSettings, environment};
use latchkey_runtime::telemetry;
use latchkey_service::{Administrator, Service};

pub use error::AdminError;

use crate::error::LocalError;
use crate::options::{Options, STORAGE};
use client::ClientCommand;
use everybody::Everybody;
use output::Output;
use place::Place;
use repair::RepairAccount;
use unblock::Unblock;
use users::UserCommand;

/// An operator's command, and where its table is.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = "--help shows examples and exit codes.")]
pub(crate) struct AdminOptions {
    /// A table on AWS instead of the local one.
    ///
    /// Credentials and region come from the environment or your AWS profile, as for the AWS CLI. For single sign-on: eval "$(aws configure export-credentials --format env)".
    #[arg(long, value_name = "NAME", global = true, conflicts_with_all = ["data_dir", "dynamodb_url"], value_parser = table_name, help_heading = STORAGE, display_order = 100)]
    table: Option<String>,

    /// The region of --table [default: that of the environment or the profile].
    #[arg(long, value_name = "REGION", global = true, requires = "table", help_heading = STORAGE, display_order = 101)]
    region: Option<String>,

    /// The AWS profile for --table [default: AWS_PROFILE, or the default profile].
    #[arg(long, value_name = "NAME", global = true, requires = "table", help_heading = STORAGE, display_order = 102)]
    profile: Option<String>,

    /// Print JSON, in the form of the routes below /v1/admin.
    #[arg(long, global = true, display_order = 99)]
    json: bool,

    /// Of the service: no command reaches a memory. Known, so that it can be said.
    #[arg(long = "memory", global = true, hide = true)]
    service_memory: bool,

    #[command(subcommand)]
    command: AdminCommand,
}

/// The name of a table is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of the table is empty: is the variable set that should hold it?")]
struct NoTableName;

fn table_name(text: &str) -> Result<String, NoTableName> {
    let name = text.trim();
    (!name.is_empty())
        .then(|| name.to_owned())
        .ok_or(NoTableName)
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
enum AdminCommand {
    #[command(flatten)]
    User(UserCommand),

    /// Forget the failed sign-ins of a user, so that clients that are not known need not wait.
    ///
    /// The counts are stored under digests that are keyed with the service's secret: that of the data folder or the environment, or with --table the one that --secret names.
    Unblock(Unblock),

    /// Make an account readable again that somebody has written by hand in another form: it answers every request with 500.
    ///
    /// It writes the attribute `change` in today's form, whatever the status of the account, and signs its user out. Without --apply it only says what is broken.
    Repair(RepairAccount),

    /// Sign every user out everywhere; they can sign in again.
    SignEverybodyOut(Everybody),

    /// The services that may introspect and revoke tokens, issue sessions, and make links.
    #[command(subcommand)]
    Client(ClientCommand),
}

const EXAMPLES: &str = "\
A USER is an e-mail address or a user id.

Examples:
  latchkey admin find ada@example.com
  latchkey admin find --issuer https://accounts.google.com --subject 110169484474386276334
  latchkey admin grant ada@example.com
  latchkey admin sessions ada@example.com --all
  latchkey admin revoke 0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11
  latchkey admin disable ada@example.com --data-dir demo-data
  latchkey admin unblock ada@example.com --table auth-prod-Table-1A2B3C --secret arn:aws:secretsmanager:...
  latchkey admin repair ada@example.com --apply
  latchkey admin find --table auth-prod-Table-1A2B3C --region eu-central-1 --profile ops --json

On the data folder the commands work whether or not the service runs. A service with --memory is reached by
--dynamodb-url, if it was started with --dynamodb-port 8000.

Exit codes: 0 done, 1 not or not wholly done, 2 the command line is wrong, 3 there is no such user or session.";

/// Carries out a command and prints what came of it.
///
/// # Errors
/// [`LocalError`]
pub(crate) async fn run(options: &Options, admin: &AdminOptions) -> Result<(), LocalError> {
    // The lines of the audit trail go to stderr in either format: stdout is for what the command prints.
    telemetry::start_on_stderr(LogSettings::read(environment, Format::Text)?);
    let place = Place::open(options, admin).await?;
    let in_place = |error: AdminError| error.in_place(&place.name, !place.on_aws);
    let output = place.execute(&admin.command).await.map_err(in_place)?;
    let mut stdout = io::stdout().lock();
    let text = if admin.json {
        output.to_json()
    } else {
        output.to_string()
    };
    // Nobody may be reading: what was done is done all the same.
    let _ = writeln!(stdout, "{text}");
    if !admin.json {
        // Else a command in the wrong folder looks as if it had worked.
        let _ = writeln!(io::stderr(), "({})", place.name);
    }
    Ok(output.into_result().map_err(in_place)?)
}

impl Place {
    /// The use cases with the keys of the service, for a deletion: with them the marks of refused sign-ins are found.
    async fn for_command(&self, command: &UserCommand) -> Result<Option<Service>, AdminError> {
        let UserCommand::Delete { secret, .. } = command else {
            return Ok(None);
        };
        match self.with_keys(secret.as_deref()).await {
            Ok(service) => Ok(Some(service)),
            Err(error) if secret.is_some() => Err(error),
            Err(_) => {
                let _ = writeln!(
                    io::stderr(),
                    "Without the secret of the service, marks of refused sign-ins stay for up to 30 days."
                );
                Ok(None)
            }
        }
    }

    async fn execute(&self, command: &AdminCommand) -> Result<Output, AdminError> {
        let (service, who): (&Service, _) = (&self.service, Administrator::operator());
        match command {
            AdminCommand::User(command) => {
                let keyed = self.for_command(command).await?;
                let service = keyed.as_ref().unwrap_or(service);
                command.execute(service, &who, &self.name).await
            }
            AdminCommand::Unblock(command) => {
                let service = self.with_keys(command.secret.as_deref()).await?;
                command.execute(&service, &who).await
            }
            AdminCommand::Repair(command) => command.execute(service, &who).await,
            AdminCommand::SignEverybodyOut(command) => {
                command.execute(service, &who, &self.name).await
            }
            AdminCommand::Client(command) => Ok(client::run(service, command).await?),
        }
    }
}
