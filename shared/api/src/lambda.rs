//! Running a function on Lambda: what is loaded before the first request, and the loop that answers.

use std::sync::Arc;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::HttpClientError;
use aws_smithy_http_client::tls::{self, TlsContext};
use aws_types::SdkConfig;
use aws_types::region::Region;
use axum::Router;
use chrono::{DateTime, Utc};
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::error::with_causes;
use latchkey_domain::password::PasswordPolicy;
use latchkey_domain::random::{RandomSource, SystemRandom};
use latchkey_domain::token::{TokenIdentity, Tokens};

/// What EventBridge's schedule sends.
pub use aws_lambda_events::event::eventbridge::EventBridgeEvent as ScheduledEvent;

use crate::app::{App, Service};
use crate::event;
use crate::front::FrontSecret;
use crate::http;
use crate::metrics::{self, Emf};
use crate::password_workers::Passwords;
use crate::settings::{
    AllowedOrigins, MetricsSettings, Settings, SettingsError, StorageSettings, TokenSecretSource,
    environment,
};
use crate::telemetry::{self, Format};
use crate::token_keys::{SecretError, SecretsManager, TokenKeys};
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
    /// The secret could not be read, or keys not derived from it.
    #[error(transparent)]
    Secret(#[from] SecretError),
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
    front: Option<FrontSecret>,
    metrics: Emf,
}

impl Started {
    /// Answers requests until Lambda ends the environment.
    ///
    /// # Errors
    /// Those of the runtime.
    pub async fn serve(&self, router: Router) -> Result<(), Fatal> {
        let clock = Arc::clone(&self.service.clock);
        let random = Arc::clone(&self.service.random);
        let router = http::service(
            router,
            &self.allowed_origins,
            self.front.as_ref(),
            Arc::clone(&clock),
            random,
        );
        let emf = self.metrics.clone();
        let router = metrics::one_line_each(router, emf, clock, Arc::new(metrics::print_line));
        ended(event::run(router).await)
    }
}

/// Reads the settings, loads the secret, derives the keys.
///
/// # Errors
/// [`StartError`], whose message says what to do about it.
pub async fn start() -> Result<Started, StartError> {
    let metrics = observe()?;
    let settings = Settings::read(environment)?;
    let sdk = sdk_config(None)?;
    let (identity, secret) = (settings.identity.clone(), settings.token_secret.clone());
    let tokens = token_keys(&sdk, identity, secret, SystemClock.now()).await?;
    Ok(started(settings, sdk, tokens, metrics))
}

fn started(settings: Settings, sdk: SdkConfig, tokens: TokenKeys, metrics: Emf) -> Started {
    let service = Service {
        tokens,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        policy: Arc::new(settings.policy),
        passwords: Passwords::for_this_machine(),
        password_policy: Arc::new(PasswordPolicy::new(&settings.identity.issuer, [])),
    };
    Started {
        sdk,
        service,
        allowed_origins: settings.allowed_origins,
        front: settings.front,
        metrics,
    }
}

/// Starts what a function is seen by: its log and its metrics.
fn observe() -> Result<Emf, StartError> {
    telemetry::start(environment, Format::Json);
    let settings = MetricsSettings::read(environment)?;
    let emf = Emf::new(settings, telemetry::level(environment));
    emf.start();
    Ok(emf)
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
    routes: Router<App<S>>,
) -> Result<(), Fatal> {
    let metrics = observe()?;
    let storage = StorageSettings::read(environment)?;
    let settings = Settings::read(environment)?;
    let endpoint = storage.endpoint.as_deref();
    let sdk = sdk_config(endpoint)?;
    let store = connect(&sdk, endpoint, &storage.table_name, Arc::new(SystemRandom));
    let (identity, secret) = (settings.identity.clone(), settings.token_secret.clone());
    let (tokens, ()) = tokio::join!(
        token_keys(&sdk, identity, secret, SystemClock.now()),
        open(&store)
    );
    let started = started(settings, sdk, tokens?, metrics);
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
    /// Adds up what is counted: its line is to be written before the run is answered.
    pub metrics: Emf,
}

/// The start of a function that issues and verifies no tokens, so it has no secret.
///
/// # Errors
/// [`StartError`], whose message says what to do about it.
pub fn start_scheduled() -> Result<ScheduledStart, StartError> {
    let metrics = observe()?;
    let storage = StorageSettings::read(environment)?;
    Ok(ScheduledStart {
        sdk: sdk_config(storage.endpoint.as_deref())?,
        storage,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        metrics,
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

/// Another Secrets Manager than that of the region.
const SECRETS_ENDPOINT: &str = "AWS_ENDPOINT_URL_SECRETS_MANAGER";

/// The secret is read here for the first time.
async fn token_keys(
    sdk: &SdkConfig,
    identity: TokenIdentity,
    source: TokenSecretSource,
    now: DateTime<Utc>,
) -> Result<TokenKeys, SecretError> {
    let arn = match source {
        TokenSecretSource::Literal { current, previous } => {
            return Ok(Tokens::new(identity, &current, previous.as_ref())?.into());
        }
        TokenSecretSource::SecretsManager(arn) => arn,
    };
    let mut config = aws_sdk_secretsmanager::config::Builder::from(sdk);
    config.set_endpoint_url(environment(SECRETS_ENDPOINT));
    let client = aws_sdk_secretsmanager::Client::from_conf(config.build());
    TokenKeys::read(identity, SecretsManager::new(client, arn), now).await
}
