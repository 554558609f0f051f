//! Running a function on Lambda: what is loaded before the first request, and the loop that answers.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::HttpClientError;
use aws_smithy_http_client::tls::{self, TlsContext};
use aws_types::SdkConfig;
use aws_types::region::Region;
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::error::with_causes;
use latchkey_domain::random::{RandomSource, SystemRandom};
use latchkey_domain::token::{KeyDerivationFailed, SecretTooShort, TokenSecret, Tokens};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;

/// What EventBridge's schedule sends.
pub use aws_lambda_events::event::eventbridge::EventBridgeEvent as ScheduledEvent;

use crate::app::{App, Service};
use crate::http;
use crate::password_workers::PasswordWorkers;
use crate::settings::{
    AllowedOrigins, Settings, SettingsError, StorageSettings, TokenSecretSource, environment,
};
use crate::telemetry::{self, Format};
use crate::trust_roots::trust_store;

/// Why a function ends. Rust prints the error of `main` by its `Debug`; this one's is the message meant for people.
pub struct Fatal(String);

impl std::fmt::Debug for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error + 'static> From<E> for Fatal {
    fn from(error: E) -> Self {
        Self(with_causes(&error))
    }
}

/// The runtime's own error, which is no `Error`.
///
/// # Errors
/// The same, as [`Fatal`].
pub fn ended(result: Result<(), lambda_http::Error>) -> Result<(), Fatal> {
    result.map_err(|error| Fatal(with_causes(error.as_ref())))
}

/// Why a function could not start. Lambda shows it as the error of its init phase.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Lambda always sets these; outside of Lambda, set them by hand.
    #[error("{0} is not set")]
    MissingVariable(&'static str),
    /// The secret could not be read.
    #[error("the secret {arn} cannot be read: {reason}")]
    SecretUnreadable {
        /// Which one.
        arn: String,
        /// Why, without any part of it.
        reason: String,
    },
    /// The secret is too short.
    #[error(transparent)]
    SecretTooShort(#[from] SecretTooShort),
    /// The keys could not be derived.
    #[error(transparent)]
    Keys(#[from] KeyDerivationFailed),
    /// There is no HTTP client that could reach AWS.
    #[error(transparent)]
    HttpClient(#[from] HttpClientError),
}

/// What a function that answers over HTTP has after its start.
#[derive(Clone, Debug)]
pub struct Started {
    /// Region, credentials and HTTP client, for the clients of AWS services.
    pub sdk: SdkConfig,
    /// What belongs to the service as a whole.
    pub service: Service,
    allowed_origins: AllowedOrigins,
}

impl Started {
    /// Answers requests until Lambda ends the environment.
    ///
    /// # Errors
    /// Those of the runtime.
    pub async fn serve(&self, routes: OpenApiRouter) -> Result<(), Fatal> {
        let clock = Arc::clone(&self.service.clock);
        let random = Arc::clone(&self.service.random);
        let (router, _) = routes.split_for_parts();
        let router = http::service(router, &self.allowed_origins, clock, random);
        ended(lambda_http::run(router).await)
    }
}

/// Reads the settings, loads the secret, derives the keys.
///
/// # Errors
/// [`StartError`], whose message says what to do about it.
pub async fn start() -> Result<Started, StartError> {
    telemetry::start(environment, Format::Json);
    let settings = Settings::read(environment)?;
    let sdk = sdk_config(None)?;
    let secret = token_secret(&sdk, settings.token_secret.clone()).await?;
    started(settings, sdk, secret)
}

fn started(
    settings: Settings,
    sdk: SdkConfig,
    (current, previous): (TokenSecret, Option<TokenSecret>),
) -> Result<Started, StartError> {
    let service = Service {
        tokens: Tokens::new(settings.identity, &current, previous.as_ref())?,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        policy: Arc::new(settings.policy),
        passwords: PasswordWorkers::for_this_machine(),
    };
    Ok(Started {
        sdk,
        service,
        allowed_origins: settings.allowed_origins,
    })
}

/// Runs a function that answers over HTTP and stores things: `connect` makes its storage of the SDK's configuration, an
/// endpoint if it is another than the region's, the table's name, and a source of randomness; `open` opens the
/// connection.
///
/// The secret is loaded and the connection opened at once, before the first request is asked for: Lambda gives the
/// init phase more of a processor than a small function has later, and a request would wait for the handshake.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn run<S: Clone + Send + Sync + 'static>(
    connect: impl FnOnce(&SdkConfig, Option<&str>, &str, Arc<dyn RandomSource>) -> S,
    open: impl AsyncFnOnce(&S),
    routes: OpenApiRouter<App<S>>,
) -> Result<(), Fatal> {
    telemetry::start(environment, Format::Json);
    let storage = StorageSettings::read(environment)?;
    let settings = Settings::read(environment)?;
    let endpoint = storage.endpoint.as_deref();
    let sdk = sdk_config(endpoint)?;
    let store = connect(&sdk, endpoint, &storage.table_name, Arc::new(SystemRandom));
    let (secret, ()) = tokio::join!(
        token_secret(&sdk, settings.token_secret.clone()),
        open(&store)
    );
    let started = started(settings, sdk, secret?)?;
    let app = started.service.with_store(store);
    started.serve(routes.with_state(app)).await
}

/// What a scheduled function has after its start.
#[derive(Clone, Debug)]
pub struct ScheduledStart {
    /// Region, credentials and HTTP client, for the clients of AWS services.
    pub sdk: SdkConfig,
    /// Where the storage is.
    pub storage: StorageSettings,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub random: Arc<dyn RandomSource>,
}

/// The start of a function that issues and verifies no tokens, so it has no secret.
///
/// # Errors
/// [`StartError`], whose message says what to do about it.
pub fn start_scheduled() -> Result<ScheduledStart, StartError> {
    telemetry::start(environment, Format::Json);
    let storage = StorageSettings::read(environment)?;
    Ok(ScheduledStart {
        sdk: sdk_config(storage.endpoint.as_deref())?,
        storage,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    })
}

/// Lambda gives region and credentials in the environment. No provider chain is probed, which would also look for
/// profiles and metadata services that are not there. `storage` is the storage's endpoint, if it is not the region's.
fn sdk_config(storage: Option<&str>) -> Result<SdkConfig, StartError> {
    let variable = |name: &'static str| environment(name).ok_or(StartError::MissingVariable(name));
    let credentials = Credentials::new(
        variable("AWS_ACCESS_KEY_ID")?,
        variable("AWS_SECRET_ACCESS_KEY")?,
        environment("AWS_SESSION_TOKEN"),
        None,
        "Lambda environment",
    );
    let region = variable("AWS_REGION")?;
    let secrets = environment(SECRETS_ENDPOINT);
    let endpoints = storage.into_iter().chain(secrets.as_deref());
    let tls = TlsContext::builder()
        .with_trust_store(trust_store(environment, &region, endpoints))
        .build()?;
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::AwsLc,
        ))
        .tls_context(tls)
        .build_https();
    Ok(SdkConfig::builder()
        .behavior_version(aws_sdk_secretsmanager::config::BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(client)
        .build())
}

/// The secret as CloudFormation makes it, and as the operations guide says to replace it. No `Debug`.
#[derive(Deserialize)]
struct SecretDocument {
    current: String,
    previous: Option<String>,
}

/// Another Secrets Manager than that of the region.
const SECRETS_ENDPOINT: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";

/// The secret, and the one before it.
async fn token_secret(
    sdk: &SdkConfig,
    source: TokenSecretSource,
) -> Result<(TokenSecret, Option<TokenSecret>), StartError> {
    match source {
        TokenSecretSource::Literal { current, previous } => Ok((current, previous)),
        TokenSecretSource::SecretsManager(arn) => load_secret(sdk, &arn).await,
    }
}

async fn load_secret(
    sdk: &SdkConfig,
    arn: &str,
) -> Result<(TokenSecret, Option<TokenSecret>), StartError> {
    let unreadable = |reason: String| StartError::SecretUnreadable {
        arn: arn.to_owned(),
        reason,
    };
    let mut config = aws_sdk_secretsmanager::config::Builder::from(sdk);
    config.set_endpoint_url(environment(SECRETS_ENDPOINT));
    let secrets = aws_sdk_secretsmanager::Client::from_conf(config.build());
    let reply = secrets
        .get_secret_value()
        .secret_id(arn)
        .send()
        .await
        .map_err(|error| unreadable(with_causes(&error)))?;
    // The parser's own message could quote the secret.
    let document: SecretDocument = serde_json::from_str(reply.secret_string().unwrap_or_default())
        .map_err(|_| unreadable(r#"it is not {"current": "..."}"#.to_owned()))?;
    let previous = document.previous.map(TokenSecret::new).transpose()?;
    Ok((TokenSecret::new(document.current)?, previous))
}
