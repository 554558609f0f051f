//! `cargo run -- admin ...`: what an operator does by command, on the table itself.

mod client;

use std::sync::Arc;

use clap::{Args, Subcommand};
use latchkey_domain::client::ManageClientError;
use latchkey_domain::random::SystemRandom;
use latchkey_runtime::settings::{Format, LogSettings, Settings, StorageSettings, environment};
use latchkey_runtime::telemetry;
use latchkey_service::{Failure, Service};
use latchkey_store::Store;

use crate::admin::client::ClientCommand;
use crate::error::LocalError;
use crate::folder::new_secret;
use crate::options::Options;
use crate::outside::{DynamoDbUrl, OutsideError};
use crate::settings::lookup;
use crate::stack::core;
use crate::storage::{Choice, Storage};

/// The address that tokens would name. No command makes one.
const NO_ISSUER: &str = "http://127.0.0.1";

/// An operator's command, and where its table is.
#[derive(Clone, Debug, Args)]
pub(crate) struct AdminOptions {
    /// A table on AWS, in the region and with the credentials of the environment or your AWS profile, instead of the
    /// local one.
    #[arg(long, value_name = "NAME", global = true)]
    table: Option<String>,

    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Clone, Debug, Subcommand)]
enum AdminCommand {
    /// The services that may introspect and revoke tokens, and issue sessions.
    #[command(subcommand)]
    Client(ClientCommand),
}

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// A client could not be made or changed.
    #[error(transparent)]
    Client(#[from] Failure<ManageClientError>),
    /// The table on AWS is not there.
    #[error("there is no table {0} in this account and region")]
    NoTable(String),
}

/// Carries out a command, and prints what came of it.
pub(crate) async fn run(options: &Options, admin: &AdminOptions) -> Result<(), LocalError> {
    telemetry::start(LogSettings::read(environment, Format::Text)?);
    let random = Arc::new(SystemRandom);
    let secret = new_secret(random.as_ref());
    let settings = lookup(environment, NO_ISSUER, Some(&secret), None);
    let StorageSettings {
        table_name,
        endpoint,
    } = StorageSettings::read(&settings)?;
    // Its keys sign nothing here.
    let core = core(Settings::read(&settings)?, random.clone())?;
    let storage = match &admin.table {
        Some(table) => Storage::on_aws(table).await?,
        None => {
            let choice = Choice::new(options, endpoint.as_deref())?;
            Storage::open(&choice, &table_name, false, random.as_ref()).await?
        }
    };
    let table = admin.table.as_deref().unwrap_or(&table_name);
    let service = Service {
        core,
        store: Store::new(storage.client.clone(), table, random),
    };
    let printed = match &admin.command {
        AdminCommand::Client(command) => client::run(&service, command, admin.json).await,
    };
    storage.close().await;
    println!("{}", printed.map_err(AdminError::from)?);
    Ok(())
}

impl Storage {
    /// A table on AWS, which must be there.
    async fn on_aws(table: &str) -> Result<Self, LocalError> {
        let url = DynamoDbUrl::of_aws().await?;
        let client = url.client().await?;
        match client.describe_table().table_name(table).send().await {
            Ok(_) => Ok(Self::of_client(client)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_not_found_exception()) =>
            {
                Err(AdminError::NoTable(table.to_owned()).into())
            }
            Err(error) => Err(OutsideError::of(&url, &error).into()),
        }
    }
}
