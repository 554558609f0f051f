//! Which storage the options and the environment ask for, and opening it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use latchkey_domain::random::RandomSource;
use latchkey_domain::token::RsaPrivateKey;
use latchkey_service::activity::ActivityLog;
use latchkey_store::table;

use crate::embedded::{Embedded, Sweeper};
use crate::error::LocalError;
use crate::folder::{Folder, new_secret};
use crate::options::{DEFAULT_FOLDER, Options};
use crate::outside::{DynamoDbUrl, OutsideError};
use crate::publishing::{Kept, LocalBus, Pump};

/// Which storage is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nothing is kept.
    Memory,
    /// An embedded DynamoDB in a folder.
    Folder(PathBuf),
    /// A DynamoDB elsewhere, and a folder for the secret.
    Outside { url: DynamoDbUrl, folder: PathBuf },
}

impl Choice {
    /// What the options ask for, or else `endpoint`, the one of the environment.
    pub(crate) fn new(options: &Options, endpoint: Option<&str>) -> Result<Self, OutsideError> {
        let folder = options
            .data_dir
            .clone()
            .unwrap_or_else(|| DEFAULT_FOLDER.into());
        if options.memory {
            return Ok(Self::Memory);
        }
        let url = match (&options.dynamodb_url, &options.data_dir, endpoint) {
            (Some(url), _, _) => Some(url.clone()),
            (None, None, Some(endpoint)) => Some(DynamoDbUrl::parse(endpoint)?),
            (None, Some(_), _) | (None, None, None) => None,
        };
        Ok(match url {
            Some(url) => Self::Outside { url, folder },
            None => Self::Folder(folder),
        })
    }
}

impl Choice {
    /// By which options a command reaches this data; nothing if none does. `dynamodb` is the port that was opened.
    pub(crate) fn options_of_commands(&self, dynamodb: Option<SocketAddr>) -> Option<String> {
        match self {
            Self::Memory => dynamodb.map(|address| format!(" --dynamodb-url http://{address}")),
            Self::Folder(folder) if folder == Path::new(DEFAULT_FOLDER) => Some(String::new()),
            Self::Folder(folder) => Some(format!(" --data-dir {}", in_a_shell(folder))),
            Self::Outside { url, .. } => Some(format!(" --dynamodb-url {}", url.as_str())),
        }
    }
}

/// A path as a shell takes it for one word.
fn in_a_shell(path: &Path) -> String {
    let path = path.display().to_string();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+@".contains(letter);
    if path.chars().all(is_plain) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// The storage, opened: the table is there.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) client: Client,
    /// The secret that belongs to the data, unless the environment gives one.
    pub(crate) token_secret: Option<String>,
    /// The device secret that belongs to it.
    pub(crate) device_secret: Option<String>,
    /// Where the data is, for people.
    pub(crate) place: String,
    embedded: Option<Embedded>,
    folder: Option<Arc<Folder>>,
}

impl Storage {
    /// Opens the storage and makes the table, if there is none. A secret is found or made when `wants_secret`.
    pub(crate) async fn open(
        choice: &Choice,
        table: &str,
        wants_secret: bool,
        random: &dyn RandomSource,
    ) -> Result<Self, LocalError> {
        let storage = match choice {
            Choice::Memory => Self::in_memory(random)?,
            Choice::Folder(path) => Self::in_folder(path, wants_secret, random)?,
            Choice::Outside { url, folder } => {
                let folder = wants_secret.then_some(folder.as_path());
                Self::outside(url, table, folder, random).await?
            }
        };
        if table::create_if_missing(&storage.client, table).await? {
            tracing::info!(table, "made the table");
        }
        if storage.embedded.is_some() {
            table::enable_stream(&storage.client, table).await?;
        }
        Ok(storage)
    }

    fn in_memory(random: &dyn RandomSource) -> Result<Self, LocalError> {
        let embedded = Embedded::in_memory()?;
        Ok(Self {
            client: embedded.client(),
            token_secret: Some(new_secret(random)),
            device_secret: Some(new_secret(random)),
            place: "in memory, gone at the end".to_owned(),
            embedded: Some(embedded),
            folder: None,
        })
    }

    fn in_folder(
        path: &Path,
        wants_secret: bool,
        random: &dyn RandomSource,
    ) -> Result<Self, LocalError> {
        let folder = Folder::open(path)?;
        let (mut token_secret, mut device_secret) = (None, None);
        if wants_secret {
            token_secret = Some(folder.token_secret(random)?);
            device_secret = Some(folder.device_secret(random)?);
        }
        let embedded = Embedded::in_file(&folder.database()?)?;
        Ok(Self {
            client: embedded.client(),
            token_secret,
            device_secret,
            place: format!("{}, kept between runs", folder.path().display()),
            embedded: Some(embedded),
            folder: Some(Arc::new(folder)),
        })
    }

    async fn outside(
        url: &DynamoDbUrl,
        table: &str,
        folder: Option<&Path>,
        random: &dyn RandomSource,
    ) -> Result<Self, LocalError> {
        let client = url.client().await?;
        url.check(&client, table).await?;
        let folder = folder.map(Folder::open).transpose()?;
        let secret = folder.as_ref().map(|folder| folder.token_secret(random));
        let device = folder.as_ref().map(|folder| folder.device_secret(random));
        Ok(Self {
            client,
            token_secret: secret.transpose()?,
            device_secret: device.transpose()?,
            place: format!("table {table} of the DynamoDB at {}", url.as_str()),
            embedded: None,
            folder: folder.map(Arc::new),
        })
    }

    /// The RSA key of the data folder, or else `new`, which the folder keeps if there is one.
    pub(crate) fn rsa_key(&self, new: &RsaPrivateKey) -> Result<String, LocalError> {
        match &self.folder {
            Some(folder) => Ok(folder.rsa_key(new)?),
            None => Ok(new.to_base64().to_string()),
        }
    }

    /// The issuer that the tokens of this data name, if the data folder has kept one.
    pub(crate) fn issuer(&self) -> Result<Option<String>, LocalError> {
        let folder = self.folder.as_deref();
        Ok(folder.map(Folder::issuer).transpose()?.flatten())
    }

    /// Keeps the issuer with the data, if there is a data folder.
    pub(crate) fn keep_issuer(&self, issuer: &str) -> Result<(), LocalError> {
        let folder = self.folder.as_ref();
        folder.map_or(Ok(()), |folder| Ok(folder.keep_issuer(issuer)?))
    }

    /// Opens a port for other tools, and returns its address. An outside DynamoDB has its own.
    pub(crate) async fn listen(&mut self, port: u16) -> Result<Option<SocketAddr>, LocalError> {
        let Some(embedded) = &mut self.embedded else {
            tracing::warn!("--dynamodb-port has no effect: the DynamoDB is not the embedded one");
            return Ok(None);
        };
        Ok(Some(embedded.listen(port).await?))
    }

    /// What deletes expired items, unless the DynamoDB itself does it.
    pub(crate) fn sweeper(&self) -> Option<Sweeper> {
        self.embedded
            .as_ref()
            .map(|embedded| embedded.sweeper().clone())
    }

    /// What publishes the events of a table, where there is a stream that can be read.
    pub(crate) fn pump(&self, table: &str, bus: LocalBus, activity: ActivityLog) -> Option<Pump> {
        let embedded = self.embedded.as_ref()?;
        let kept = Kept(self.folder.clone());
        Some(Pump::new(embedded.stream(table), bus, kept, activity))
    }

    /// Closes the database, then gives the folder free.
    pub(crate) async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_path_in_a_command_is_one_word() {
        for (path, word) in [
            ("/var/lib/latchkey-1.0", "/var/lib/latchkey-1.0"),
            ("/tmp/my data", "'/tmp/my data'"),
            ("/tmp/ada's $HOME", r"'/tmp/ada'\''s $HOME'"),
        ] {
            assert_eq!(in_a_shell(Path::new(path)), word);
        }
    }

    fn choice(arguments: &[&str], endpoint: Option<&str>) -> Result<Choice, OutsideError> {
        Choice::new(
            &Options::parse_from([&["latchkey"], arguments].concat()),
            endpoint,
        )
    }

    fn outside(url: &str, folder: &str) -> Choice {
        Choice::Outside {
            url: DynamoDbUrl::parse(url).unwrap(),
            folder: folder.into(),
        }
    }

    #[test]
    fn data_is_kept_in_the_folder_unless_told_otherwise() {
        assert_eq!(
            choice(&[], None).unwrap(),
            Choice::Folder(".latchkey".into())
        );
        assert_eq!(
            choice(&["--data-dir", "x"], None).unwrap(),
            Choice::Folder("x".into())
        );
        assert_eq!(choice(&["--memory"], None).unwrap(), Choice::Memory);
        let elsewhere = choice(&["--data-dir", "x", "--dynamodb-url", "http://a:1"], None);
        assert_eq!(elsewhere.unwrap(), outside("http://a:1", "x"));
    }

    #[test]
    fn the_environment_decides_only_what_the_options_leave_open() {
        let endpoint = Some("http://b:2");
        assert_eq!(
            choice(&[], endpoint).unwrap(),
            outside("http://b:2", ".latchkey")
        );
        assert_eq!(choice(&["--memory"], endpoint).unwrap(), Choice::Memory);
        assert_eq!(
            choice(&["--data-dir", "x"], endpoint).unwrap(),
            Choice::Folder("x".into())
        );
        let named = choice(&["--dynamodb-url", "http://a:1"], endpoint);
        assert_eq!(named.unwrap(), outside("http://a:1", ".latchkey"));
        assert!(matches!(
            choice(&[], Some("b:2")),
            Err(OutsideError::NotAUrl(_))
        ));
    }
}
