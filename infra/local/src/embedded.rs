//! The embedded DynamoDB: an engine in this process, which the AWS SDK reaches through an HTTP connector of ours.
//!
//! Requests and replies are those of DynamoDB, but no socket is opened for them. On request it also listens on a port
//! of 127.0.0.1 ([`Embedded::listen`]), for tools such as the AWS CLI; there it takes any credentials.

mod connector;
mod engine;
mod port;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{
    BehaviorVersion, Builder, Credentials, Region, SharedCredentialsProvider, SharedHttpClient,
};
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use dynoxide::DynoxideError;
use tokio::task::JoinError;

pub use connector::{EngineConnector, operation_of, response};
pub use engine::{Answer, answer};
pub use stream::StreamReader;

use port::Port;

/// Why the embedded DynamoDB cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The port is taken or may not be used.
    #[error(
        "the embedded DynamoDB cannot listen on port {port}: {source}; choose another with --dynamodb-port (0 takes any \
         free one)"
    )]
    Listen {
        /// Which port was asked for.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no database, or was damaged.
    #[error(
        "the database {} is damaged; put back a copy of the file, or move it away to begin with an empty database, or \
         choose another folder with --data-dir",
        .0.display()
    )]
    Damaged(PathBuf),
    /// The file cannot be opened.
    #[error("the database {} cannot be opened: {source}; choose another folder with --data-dir", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the database said.
        source: DynoxideError,
    },
    /// The database library takes its path as text.
    #[error("the path {} is not UTF-8; choose another folder with --data-dir", .0.display())]
    PathNotText(PathBuf),
    /// The database failed.
    #[error("the embedded DynamoDB failed: {0}")]
    Database(#[from] DynoxideError),
    /// The database below it failed.
    #[error("the embedded DynamoDB cannot be prepared: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The work on the database was broken off.
    #[error("the embedded DynamoDB was interrupted: {0}")]
    Interrupted(#[from] JoinError),
}

/// An embedded DynamoDB. Its data is safe when a request has been answered, whether or not [`Embedded::stop`] is called.
#[derive(Debug)]
pub struct Embedded {
    sweeper: Sweeper,
    port: Option<Port>,
}

/// Does what DynamoDB does and the engine leaves to its user: deletes the items whose TTL has passed.
#[derive(Clone)]
pub struct Sweeper(dynoxide::Database);

impl Embedded {
    /// A database that ends with the process.
    ///
    /// # Errors
    /// [`EmbeddedError::Database`] if the engine cannot start.
    pub fn in_memory() -> Result<Self, EmbeddedError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // In SQLite's own file system in memory, so that a second connection finds it.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = format!("file:/latchkey-{number}?vfs=memdb");
        let database = dynoxide::Database::new(&path)?;
        stream::bound(Path::new(&path))?;
        Ok(Self::over(database))
    }

    /// The database in a file, which is made if need be.
    ///
    /// An answered write survives the end of the process, a `kill -9` too. When the machine loses power, the writes of
    /// the last moments may be lost, but the database stays whole (SQLite's `synchronous = NORMAL` with a write-ahead log).
    ///
    /// # Errors
    /// [`EmbeddedError`] if the file is no database or cannot be opened, or its path is not UTF-8.
    pub fn in_file(path: &Path) -> Result<Self, EmbeddedError> {
        let text = path
            .to_str()
            .ok_or_else(|| EmbeddedError::PathNotText(path.to_owned()))?;
        let open = || {
            let database = dynoxide::Database::new(text)?;
            // The engine's "normal" settings are those of SQLite, except that a commit does not wait for the disk.
            database.disable_bulk_loading()?;
            Ok(database)
        };
        let database = open().map_err(|source| {
            let path = path.to_owned();
            if is_damage(&source) {
                EmbeddedError::Damaged(path)
            } else {
                EmbeddedError::File { path, source }
            }
        })?;
        stream::bound(path)?;
        Ok(Self::over(database))
    }

    /// A database that is open.
    #[must_use]
    pub fn over(database: dynoxide::Database) -> Self {
        Self {
            sweeper: Sweeper(database),
            port: None,
        }
    }

    /// Also listens on a port of 127.0.0.1, until [`Embedded::stop`]; 0 takes any free one. Returns the address.
    ///
    /// Every program on this machine can then read and write the table. Web pages cannot: they send another Host, or a
    /// request that needs CORS.
    ///
    /// # Errors
    /// [`EmbeddedError::Listen`] if the port cannot be used.
    pub async fn listen(&mut self, port: u16) -> Result<SocketAddr, EmbeddedError> {
        let failed = |source| EmbeddedError::Listen { port, source };
        let listening = Port::open(port, self.sweeper.0.clone()).await;
        let listening = listening.map_err(failed)?;
        let address = listening.address();
        self.port = Some(listening);
        Ok(address)
    }

    /// What deletes expired items.
    #[must_use]
    pub fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    /// The engine itself, for what stands between it and the SDK.
    #[must_use]
    pub fn database(&self) -> dynoxide::Database {
        self.sweeper.0.clone()
    }

    /// What reads the stream of a table.
    #[must_use]
    pub fn stream(&self, table: &str) -> StreamReader {
        StreamReader::new(self.sweeper.0.clone(), table)
    }

    /// What brings requests of the SDK to this database.
    #[must_use]
    pub fn connector(&self) -> EngineConnector {
        EngineConnector::new(self.sweeper.0.clone())
    }

    /// The configuration of a client of this database, with the timeouts and retries of the service.
    #[must_use]
    pub fn config(&self) -> Builder {
        config(self.connector().into_client())
    }

    /// A client of this database.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::from_conf(self.config().build())
    }

    /// Closes the port, if there is one, when the requests there have been answered.
    pub async fn stop(self) {
        if let Some(port) = self.port {
            port.close().await;
        }
    }
}

/// Whether the file's content is the matter. The engine tells it in its messages alone: SQLite's codes 26 and 11.
fn is_damage(error: &DynoxideError) -> bool {
    let message = error.to_string();
    message.contains("not a valid SQLite database") || message.contains("malformed")
}

/// The configuration of a client whose requests `http_client` brings to an engine, with the timeouts and retries of the
/// service.
#[must_use]
pub fn config(http_client: SharedHttpClient) -> Builder {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        // Never looked up: the connector does not open a connection.
        .endpoint_url("http://embedded.invalid")
        // Nobody would check a signature, and signing takes a tenth of a call.
        .allow_no_auth()
        .auth_scheme_preference([AuthSchemeId::from("noAuth")])
        .credentials_provider(any_credentials())
        .http_client(http_client);
    latchkey_store::with_limits(config)
}

impl Sweeper {
    /// Deletes the items whose TTL has passed, and returns how many.
    ///
    /// # Errors
    /// [`EmbeddedError`] if the database fails.
    pub async fn sweep(&self) -> Result<usize, EmbeddedError> {
        let database = self.0.clone();
        let swept = tokio::task::spawn_blocking(move || database.sweep_ttl()).await?;
        Ok(swept?)
    }
}

impl std::fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sweeper").finish_non_exhaustive()
    }
}

/// Emulators of DynamoDB ask for credentials, as AWS does, but take any.
pub(crate) fn any_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(
        "local",
        "local",
        None,
        None,
        "local stack",
    ))
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use latchkey_domain::clock::{Clock, SystemClock};
    use latchkey_store::table::{PARTITION_KEY, SORT_KEY, TTL_ATTRIBUTE, create_if_missing};

    use super::*;

    const TABLE: &str = "latchkey";

    async fn put(client: &Client, key: &str, ttl: &str) {
        let text = |value: &str| AttributeValue::S(value.to_owned());
        let put = client
            .put_item()
            .table_name(TABLE)
            .item(PARTITION_KEY, text(key))
            .item(SORT_KEY, text("x"));
        put.item(TTL_ATTRIBUTE, AttributeValue::N(ttl.to_owned()))
            .send()
            .await
            .unwrap();
    }

    async fn keys(client: &Client) -> Vec<String> {
        let items = client
            .scan()
            .table_name(TABLE)
            .send()
            .await
            .unwrap()
            .items
            .unwrap();
        items
            .iter()
            .map(|item| item[PARTITION_KEY].as_s().unwrap().clone())
            .collect()
    }

    #[tokio::test]
    async fn a_sweep_deletes_what_has_passed_its_ttl_and_nothing_else() {
        let embedded = Embedded::in_memory().unwrap();
        let client = embedded.client();
        assert!(create_if_missing(&client, TABLE).await.unwrap());
        assert!(!create_if_missing(&client, TABLE).await.unwrap());
        // DynamoDB takes what is more than five years old for a mistake, so the distant past would stay.
        let past = SystemClock.now().timestamp() - 60;
        put(&client, "past", &past.to_string()).await;
        put(&client, "future", &(past + 3600).to_string()).await;
        assert_eq!(embedded.sweeper().sweep().await.unwrap(), 1);
        assert_eq!(keys(&client).await, ["future"]);
        embedded.stop().await;
    }

    #[test]
    fn a_file_that_is_no_database_or_a_damaged_one_is_told_from_one_that_cannot_be_opened() {
        let folder =
            std::env::temp_dir().join(format!("latchkey-test-{}-no-database", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let text = folder.join("text.db");
        std::fs::write(&text, "this is text, and long enough to be looked at").unwrap();
        let torn = folder.join("torn.db");
        drop(Embedded::in_file(&torn).unwrap());
        let mut bytes = std::fs::read(&torn).unwrap();
        bytes[4096..].fill(b'A');
        std::fs::write(&torn, bytes).unwrap();
        let outcomes = [&text, &torn, &folder].map(|path| Embedded::in_file(path).map(drop));
        std::fs::remove_dir_all(&folder).unwrap();
        let [text, torn, folder] = outcomes.map(Result::unwrap_err);
        for damaged in [text, torn] {
            assert!(matches!(damaged, EmbeddedError::Damaged(_)), "{damaged:?}");
        }
        assert!(matches!(folder, EmbeddedError::File { .. }), "{folder:?}");
    }
}
