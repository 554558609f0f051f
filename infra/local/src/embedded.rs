//! The embedded DynamoDB: a real server on a port of its own, which the AWS SDK talks to as it does on AWS.
//!
//! It takes any credentials, on 127.0.0.1 only.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Builder, Credentials, SharedCredentialsProvider};
use dynoxide::DynoxideError;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle};

/// How long a stop waits for requests that are being answered.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Why the embedded DynamoDB cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No port is free.
    #[error("the embedded DynamoDB cannot listen: {0}")]
    Listen(#[from] io::Error),
    /// The file cannot be opened, or is no database.
    #[error("the database {} cannot be opened: {source}", .path.display())]
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
    /// The work on the database was broken off.
    #[error("the embedded DynamoDB was interrupted: {0}")]
    Interrupted(#[from] JoinError),
}

/// A running embedded DynamoDB. It stops when this is dropped; [`Embedded::stop`] also waits for it.
#[derive(Debug)]
pub struct Embedded {
    sweeper: Sweeper,
    endpoint: String,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), String>>,
}

/// Does what DynamoDB does by itself and the embedded one does not: deletes the items whose TTL has passed.
#[derive(Clone)]
pub struct Sweeper(dynoxide::Database);

impl Embedded {
    /// Serves a database that ends with the process.
    ///
    /// # Errors
    /// [`EmbeddedError`] if no port is free.
    pub async fn in_memory() -> Result<Self, EmbeddedError> {
        Self::serve(dynoxide::Database::memory()?).await
    }

    /// Serves the database in a file, which is made if need be.
    ///
    /// # Errors
    /// [`EmbeddedError`] if the file is no database or no port is free.
    pub async fn in_file(path: &Path) -> Result<Self, EmbeddedError> {
        let text = path
            .to_str()
            .ok_or_else(|| EmbeddedError::PathNotText(path.to_owned()))?;
        let database = dynoxide::Database::new(text).map_err(|source| EmbeddedError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::serve(database).await
    }

    /// Serves a database on a free port.
    ///
    /// # Errors
    /// [`EmbeddedError`] if no port is free.
    pub async fn serve(database: dynoxide::Database) -> Result<Self, EmbeddedError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let serving = dynoxide::server::serve_with_shutdown(listener, database.clone(), async {
            // An error is a stop too: the sender was dropped.
            let _ = stopped.await;
        });
        Ok(Self {
            sweeper: Sweeper(database),
            endpoint: format!("http://{address}"),
            stop,
            served: tokio::spawn(serving),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What deletes expired items.
    #[must_use]
    pub fn sweeper(&self) -> &Sweeper {
        &self.sweeper
    }

    /// The configuration of a client of this database, with the timeouts and retries of the service.
    #[must_use]
    pub fn config(&self) -> Builder {
        let config = aws_sdk_dynamodb::config::Builder::from(&sdk()).endpoint_url(&self.endpoint);
        latchkey_store::with_limits(config)
    }

    /// A client of this database.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::from_conf(self.config().build())
    }

    /// Lets the requests that are being answered finish, then closes the database.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        match tokio::time::timeout(STOP_WITHIN, self.served).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(reason))) => tracing::error!(reason, "the embedded DynamoDB failed"),
            Ok(Err(error)) => tracing::error!(%error, "the embedded DynamoDB failed"),
            Err(_) => tracing::warn!("the embedded DynamoDB did not stop in time"),
        }
    }
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

/// The embedded DynamoDB asks for credentials, as AWS does, but takes any.
pub(crate) fn any_credentials() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(
        "local",
        "local",
        None,
        None,
        "local stack",
    ))
}

fn sdk() -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(any_credentials())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
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
        let embedded = Embedded::in_memory().await.unwrap();
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

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused() {
        let path =
            std::env::temp_dir().join(format!("latchkey-test-{}-no-database", std::process::id()));
        std::fs::write(&path, "this is text, and long enough to be looked at").unwrap();
        let outcome = Embedded::in_file(&path).await;
        std::fs::remove_file(&path).unwrap();
        assert!(
            matches!(outcome, Err(EmbeddedError::File { .. })),
            "{outcome:?}"
        );
    }
}
