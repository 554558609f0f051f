//! Where a command finds its table: the data folder, another DynamoDB, or AWS.
//!
//! On a data folder a command opens the database's file itself, also while a service has it open: SQLite lets one write
//! at a time, also between processes, and the engine checks each condition inside its write transaction. So a command
//! does not take the folder's lock, which keeps two services apart.

use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use latchkey_domain::error::with_causes;
use latchkey_domain::random::SystemRandom;
use latchkey_runtime::environment::secrets_manager;
use latchkey_runtime::settings::{Settings, StorageSettings, environment};
use latchkey_service::Service;
use latchkey_service::token_keys::TokenKeys;
use latchkey_store::Store;

use super::AdminOptions;
use super::error::AdminError;
use crate::embedded::Embedded;
use crate::error::LocalError;
use crate::folder::{existing_database, existing_secrets, new_secret};
use crate::options::Options;
use crate::outside::{Aws, table_exists};
use crate::settings::{Generated, lookup};
use crate::stack::core as core_of;
use crate::storage::Choice;

/// The issuer of tokens that are never made: commands sign and verify nothing.
const NO_ISSUER: &str = "http://127.0.0.1";

/// Where the secret of the service is, whose table it is.
enum SecretPlace {
    Folder(PathBuf),
    Aws(Box<SdkConfig>),
}

/// A table, and the use cases on it.
pub(super) struct Place {
    /// The use cases.
    pub(super) service: Service,
    /// What people call the table.
    pub(super) name: String,
    /// Whether it is on AWS.
    pub(super) on_aws: bool,
    secret: SecretPlace,
    /// Keeps the file open.
    _embedded: Option<Embedded>,
}

/// A path as a person finds it from any folder.
fn absolute(path: &Path) -> PathBuf {
    path::absolute(path).unwrap_or_else(|_| path.to_owned())
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
            let secret = SecretPlace::Aws(Box::new(aws.sdk));
            return Self::of(aws.client, None, table, aws.name, secret).await;
        }
        if admin.service_memory {
            return Err(AdminError::Memory.into());
        }
        match Choice::new(options, endpoint.as_deref())? {
            Choice::Memory => Err(AdminError::Memory.into()),
            Choice::Folder(path) => {
                let shown = absolute(&path);
                let file = existing_database(&path)?.ok_or(AdminError::NoData(shown.clone()))?;
                let embedded = Embedded::in_file(&file)?;
                let name = format!("in {}", shown.display());
                let client = embedded.client();
                let secret = SecretPlace::Folder(path);
                Self::of(client, Some(embedded), &table_name, name, secret).await
            }
            Choice::Outside { url, folder } => {
                let client = url.client().await?;
                let name = format!("at {}", url.as_str());
                let secret = SecretPlace::Folder(folder);
                Self::of(client, None, &table_name, name, secret).await
            }
        }
    }

    async fn of(
        client: Client,
        embedded: Option<Embedded>,
        table: &str,
        place: String,
        secret: SecretPlace,
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
            core: core_of(settings, random.clone())?,
            store: Store::new(client, table, random),
        };
        Ok(Self {
            service,
            name: format!("table {table} {place}"),
            on_aws: matches!(secret, SecretPlace::Aws(_)),
            secret,
            _embedded: embedded,
        })
    }

    /// The use cases with the keys of the service, for what is stored under a keyed digest. `arn` names the secret of a
    /// table on AWS; elsewhere the secrets are those that the local stack would take.
    pub(super) async fn with_keys(&self, arn: Option<&str>) -> Result<Service, AdminError> {
        let unreadable = |reason: &dyn std::fmt::Display| AdminError::NoSecret(reason.to_string());
        let mut service = self.service.clone();
        let core = &mut service.core;
        core.tokens = match (&self.secret, arn) {
            (SecretPlace::Aws(sdk), Some(arn)) => {
                let secret = secrets_manager(sdk, arn.to_owned());
                let (identity, policy) = (core.tokens.identity(), (*core.policy).clone());
                let keys = TokenKeys::read(identity, policy, secret, core.now());
                keys.await
                    .map_err(|error| unreadable(&with_causes(&error)))?
            }
            (SecretPlace::Aws(_), None) => {
                return Err(unreadable(
                    &"name it with --secret: TokenSecretArn among the stack's outputs",
                ));
            }
            (SecretPlace::Folder(folder), _) => {
                let kept = existing_secrets(folder).map_err(|error| unreadable(&error))?;
                if kept.0.is_none() && environment("TOKEN_SECRET").is_none() {
                    let folder = folder.display();
                    return Err(unreadable(&format_args!(
                        "there is none in {folder}; give TOKEN_SECRET and DEVICE_SECRET as the service has them"
                    )));
                }
                let generated = Generated {
                    token_secret: kept.0.as_deref(),
                    device_secret: kept.1.as_deref(),
                    ..Generated::default()
                };
                let secrets = |name: &str| {
                    let wanted = ["TOKEN_SECRET", "DEVICE_SECRET"].contains(&name);
                    wanted.then(|| environment(name)).flatten()
                };
                let settings = Settings::read(lookup(secrets, NO_ISSUER, generated));
                let settings = settings.map_err(|error| unreadable(&error))?;
                let made = core_of(settings, Arc::new(SystemRandom));
                made.map_err(|error| unreadable(&error))?.tokens
            }
        };
        Ok(service)
    }
}
