//! The DynamoDB table: its keys, its items, and one conditional request for each intention.
//!
//! There is no `save` and no read-modify-write: a change of who is signed in is decided in the domain on a strongly
//! consistent read, and written on the condition that the account is still at the version that was read. The store
//! knows no HTTP. Its test double is the real DynamoDB API on an embedded engine, so there is no trait to fake.
//!
//! Every method returns [`StoreError::Unavailable`](latchkey_domain::error::StoreError) when DynamoDB is busy, slow or
//! out of reach, and [`StoreError::Corrupt`](latchkey_domain::error::StoreError) when an item is not in the form that
//! is written here; what happened is logged here, once.

mod account;
mod activity;
mod administration;
mod audit;
mod change;
mod cleanup;
mod client;
pub mod clock_check;
mod credential;
mod dead_letter;
mod expression;
mod identity;
mod item;
mod keys;
mod link_request;
mod mail;
pub mod metering;
mod refusal;
mod registered_client;
mod repair;
mod retry;
mod session;
mod sign_in;
mod stream;
pub mod table;
mod throttle;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Config;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_types::SdkConfig;
use latchkey_domain::clock::Clock;
use latchkey_domain::error::{StoreError, with_causes};
use latchkey_domain::id::{ChangeId, RequestId};
use latchkey_domain::random::RandomSource;

pub use account::Partition;
pub use administration::AccountPage;
pub use change::{Part, WriteOutcome};
pub use cleanup::{
    Checkpoint, Lease, Page, RemovalOutcome, ScanPosition, Scanned, ScannedItem, SegmentProgress,
};
pub use client::with_limits;
pub use credential::{RegisterOutcome, items_of_user};
pub use identity::IdentityOutcome;
pub use mail::{Attempts, Claimed, MailClaim};
pub use repair::{AccountForm, BrokenAccount};
pub use retry::Retries;
pub use session::{GivenPasswords, PasswordAttempt, PasswordCounted, Reauthentication, Rotation};
pub use stream::{ItemChange, StreamImage, WriteKind};
pub use throttle::{Admission, Counted, Tally};

use crate::client::COUNT_CAPACITY;
use crate::clock_check::ClockCheck;
use crate::keys::{Item, Key};
use crate::refusal::store_error;

/// How long [`Store::open_connection`] may keep a function from its first request.
const LONGEST_OPENING: Duration = Duration::from_secs(1);

/// The one table, and the way to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    client: Client,
    table: Arc<str>,
    random: Arc<dyn RandomSource>,
}

impl Store {
    /// A store on `table`, reached with the region, credentials and HTTP client of `sdk`. `endpoint` is for another
    /// DynamoDB than that of the region. `clock` is compared with DynamoDB's ([`clock_check`]).
    #[must_use]
    pub fn connect(
        sdk: &SdkConfig,
        endpoint: Option<&str>,
        table: &str,
        clock: Arc<dyn Clock>,
        random: Arc<dyn RandomSource>,
    ) -> Self {
        let mut config = aws_sdk_dynamodb::config::Builder::from(sdk);
        config.set_endpoint_url(endpoint.map(str::to_owned));
        let config = with_limits(config).interceptor(ClockCheck::new(clock));
        Self::new(Client::from_conf(config.build()), table, random)
    }

    /// Opens the connection, so that the first request does not wait for it: reads, eventually consistent and once, a
    /// key that is never written. If that fails or takes longer than a second, the first request opens the connection.
    pub async fn open_connection(&self) {
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let reading = self
            .client
            .get_item()
            .table_name(self.table.as_ref())
            .set_key(Some(Key::connect().into_attributes()))
            .customize()
            .config_override(once)
            .send();
        match tokio::time::timeout(LONGEST_OPENING, reading).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = with_causes(&error),
                    "the connection to DynamoDB could not be opened"
                );
            }
            Err(_) => tracing::warn!("DynamoDB did not answer while the connection was opened"),
        }
    }

    /// A store on `table`. `random` makes the stamps of changes and the jitter of retries.
    #[must_use]
    pub fn new(client: Client, table: &str, random: Arc<dyn RandomSource>) -> Self {
        Self {
            client,
            table: table.into(),
            random,
        }
    }

    /// A new stamp: it tells this change from all others.
    #[must_use]
    pub fn new_stamp(&self) -> ChangeId {
        ChangeId::random(self.random.as_ref())
    }

    /// A new id for a request of our own.
    pub(crate) fn new_request_id(&self) -> RequestId {
        RequestId::random(self.random.as_ref())
    }

    /// Reads one item, strongly consistent.
    pub(crate) async fn get(&self, key: Key) -> Result<Option<Item>, StoreError> {
        self.client
            .get_item()
            .table_name(&*self.table)
            .set_key(Some(key.into_attributes()))
            .consistent_read(true)
            .return_consumed_capacity(COUNT_CAPACITY)
            .send()
            .await
            .map(|output| output.item)
            .map_err(|error| store_error("GetItem", &error))
    }
}
