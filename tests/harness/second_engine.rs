//! Another engine than the embedded one: the same tests, over a DynamoDB that answers at a URL.
//!
//! `infra/scripts/check-second-engine` starts moto and sets [`URL`]. Each database is an account of its own there, so all
//! tests can call their table the same.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use latchkey::embedded::Answer;
use tokio::runtime::{Builder, Runtime};

/// The variable that names the engine, such as `http://127.0.0.1:5000`. Without it the tests use the embedded engine.
pub const URL: &str = "LATCHKEY_TEST_DYNAMODB_URL";
/// How moto is told whose table is meant.
const ACCOUNT: &str = "x-moto-account-id";
/// From this it reads region and service. It checks no signature.
const UNCHECKED_SIGNATURE: &str = "AWS4-HMAC-SHA256 Credential=test/20260301/us-east-1/dynamodb/aws4_request, \
                                   SignedHeaders=host, Signature=0";

/// Connections are used by many tests, so they do not belong to the runtime of one.
static CONNECTIONS: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    builder.build().expect("a runtime")
});

/// Sends requests to the engine.
#[derive(Clone, Debug)]
pub struct SecondEngine {
    url: String,
    account: String,
    connector: SharedHttpConnector,
}

impl SecondEngine {
    /// An empty database on the engine that [`URL`] names, if it names one.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the tests, read where it counts"
    )]
    pub fn from_environment() -> Option<Self> {
        static DATABASES: AtomicU64 = AtomicU64::new(1);
        let url = std::env::var(URL).ok()?;
        let number = DATABASES.fetch_add(1, Ordering::SeqCst);
        Some(Self {
            url,
            account: format!("{number:012}"),
            connector: SharedHttpConnector::new(Connector::builder().build_http()),
        })
    }

    /// What the engine answers. It blocks the thread as the embedded engine does, so that a paused clock stands still
    /// meanwhile.
    ///
    /// # Panics
    /// When nothing answers.
    #[must_use]
    pub fn answer(&self, operation: &str, body: &[u8]) -> Answer {
        let asking = || CONNECTIONS.block_on(self.ask(operation, body));
        std::thread::scope(|scope| scope.spawn(asking).join()).expect("an answer")
    }

    async fn ask(&self, operation: &str, body: &[u8]) -> Answer {
        let mut request = HttpRequest::new(SdkBody::from(body.to_vec()));
        request.set_method("POST").expect("a method");
        request.set_uri(format!("{}/", self.url)).expect("a URL");
        let target = format!("DynamoDB_20120810.{operation}");
        for (name, value) in [
            ("x-amz-target", target.as_str()),
            ("content-type", "application/x-amz-json-1.0"),
            ("authorization", UNCHECKED_SIGNATURE),
            (ACCOUNT, &self.account),
        ] {
            request
                .headers_mut()
                .insert(name.to_owned(), value.to_owned());
        }
        let reply = self.connector.call(request).await.expect("a reply");
        let status = reply.status().as_u16();
        let body = reply.into_body().collect().await.expect("a whole reply");
        let body = String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8");
        Answer { status, body }
    }
}
