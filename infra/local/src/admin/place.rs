//! Where a command finds its table: the data folder, another DynamoDB, or AWS.
//!
//! On a data folder a command opens the database's file itself, also while a service has it open: SQLite lets one write
//! at a time, also between processes, and the engine checks each condition inside its write transaction. So a command
//! does not take the folder's lock, which keeps two services apart.

use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use latchkey_domain::random::SystemRandom;
use latchkey_runtime::settings::{Settings, StorageSettings, environment};
use latchkey_service::Service;
use latchkey_store::Store;

use super::AdminOptions;
use super::error::AdminError;
use crate::embedded::Embedded;
use crate::error::LocalError;
use crate::folder::{existing_database, new_secret};
use crate::options::Options;
use crate::outside::{Aws, table_exists};
use crate::settings::{Generated, lookup};
use crate::stack::core;
use crate::storage::Choice;

/// The issuer of tokens that are never made: commands sign and verify nothing.
const NO_ISSUER: &str = "http://127.0.0.1";

/// A table, and the use cases on it.
pub(super) struct Place {
    /// The use cases.
    pub(super) service: Service,
    /// What people call the table.
    pub(super) name: String,
    /// Keeps the file open.
    _embedded: Option<Embedded>,
}

impl Place {
    /// Opens the table that the options name. It must be there: a command makes none.
    pub(super) async fn open(options: &Options, admin: &AdminOptions) -> Result<Self, LocalError> {
        let StorageSettings {
            table_name,
            endpoint,
        } = StorageSettings::read(lookup(environment, NO_ISSUER, Generated::default()))?;
        if let Some(table) = &admin.table {
            let aws = Aws::open(admin.profile.as_deref(), admin.region.as_deref()).await?;
            let client = aws.client.clone();
            return Self::of(client, None, table, aws.name.clone()).await;
        }
        match Choice::new(options, endpoint.as_deref())? {
            Choice::Memory => Err(AdminError::Memory.into()),
            Choice::Folder(path) => {
                let file = existing_database(&path)?.ok_or(AdminError::NoData(path))?;
                let embedded = Embedded::in_file(&file)?;
                let name = format!("in {}", file.display());
                let client = embedded.client();
                Self::of(client, Some(embedded), &table_name, name).await
            }
            Choice::Outside { url, .. } => {
                let client = url.client().await?;
                let name = format!("at {}", url.as_str());
                Self::of(client, None, &table_name, name).await
            }
        }
    }

    async fn of(
        client: Client,
        embedded: Option<Embedded>,
        table: &str,
        place: String,
    ) -> Result<Self, LocalError> {
        if !table_exists(&client, table, &place).await? {
            let table = table.to_owned();
            return Err(AdminError::NoTable { table, place }.into());
        }
        let random = Arc::new(SystemRandom);
        let generated = Generated {
            token_secret: Some(&new_secret(random.as_ref())),
            ..Generated::default()
        };
        // Not those of the environment, which are for a service: nothing of them concerns a command.
        let settings = Settings::read(lookup(|_| None, NO_ISSUER, generated))?;
        let service = Service {
            core: core(settings, random.clone())?,
            store: Store::new(client, table, random),
        };
        Ok(Self {
            service,
            name: format!("table {table} {place}"),
            _embedded: embedded,
        })
    }
}
