//! The environment of a function on Lambda: what is loaded before the first request, and the loop that answers.

use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_secretsmanager::config::timeout::TimeoutConfig;
use aws_smithy_http_client::HttpClientError;
use aws_smithy_http_client::tls::{self, TlsContext};
use aws_types::SdkConfig;
use aws_types::region::Region;
use axum::{Extension, Router};
use chrono::{DateTime, Utc};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::http::Pages;
use latchkey_api::location::Places;
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::error::with_causes;
use latchkey_domain::random::SystemRandom;
use latchkey_domain::token::{TokenIdentity, Tokens};
use latchkey_service::key_rotation::KeyRotation;
use latchkey_service::passwords::Passwords;
use latchkey_service::token_keys::{SecretError, SecretsManager, TokenKeys};
use latchkey_service::{Authorizer, AuthorizerMode, Core, Service, UserRequests};
use latchkey_store::Store;
use serde::{Deserialize, Serialize};
use tracing::Instrument;

/// What EventBridge's schedule sends.
pub use aws_lambda_events::event::eventbridge::EventBridgeEvent as ScheduledEvent;

/// What Secrets Manager sends to have its secret rotated.
pub use aws_lambda_events::event::secretsmanager::SecretsManagerSecretRotationEvent as SecretRotationEvent;

use crate::emf::{self, Emf};
use crate::gateway::{self, invocation};
use crate::places::{LocationDatabase, LocationDatabaseError};
use crate::settings::{
    AuthorizerSettings, EventsSettings, Format, LogSettings, MailSettings, MetricsSettings,
    PagesSettings, Settings, SettingsError, StorageSettings, TokenSecretSource, environment,
    environment_names, warn_of_misspelt,
};
use crate::telemetry;
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
    /// The location database cannot be used.
    #[error(transparent)]
    LocationDatabase(#[from] LocationDatabaseError),
    /// There is no HTTP client that could reach AWS.
    #[error(transparent)]
    HttpClient(#[from] HttpClientError),
}

/// Runs a function that answers over HTTP and stores things.
///
/// The secret is loaded and the connection to the table opened at once, before the first request is asked for: Lambda
/// gives the init phase more of a processor than a small function has later, and a request would wait for the handshake.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn serve(routes: Router<Service>) -> Result<(), Fatal> {
    serve_with(routes, |_| Ok(Places::default())).await
}

/// The same for a function that writes where its clients are: it knows the places of the location database, if there is
/// one. The others neither read that file nor have the code that does.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn serve_with_places(routes: Router<Service>) -> Result<(), Fatal> {
    serve_with(routes, |settings| {
        let file = settings.location_database.as_deref();
        Ok(file.map(LocationDatabase::open).transpose()?.into())
    })
    .await
}

async fn serve_with(
    routes: Router<Service>,
    places: impl FnOnce(&Settings) -> Result<Places, StartError>,
) -> Result<(), Fatal> {
    let emf = start_telemetry()?;
    let storage = StorageSettings::read(environment)?;
    let settings = Settings::read(environment)?;
    let routes = routes.layer(Extension(places(&settings)?));
    let service = service(&storage, &settings, true).await?;
    let core = service.core.clone();
    answer(routes.with_state(service), &core, &settings, emf).await
}

/// Runs a function that answers over HTTP and stores nothing. `undocumented` are routes without state.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn serve_without_table(routes: Router<Core>, undocumented: Router) -> Result<(), Fatal> {
    let emf = start_telemetry()?;
    let settings = Settings::read(environment)?;
    let sdk = sdk_config(&[])?;
    let tokens = read_token_keys(&sdk, &settings, SystemClock.now()).await?;
    let core = core(&settings, tokens);
    let routes = routes.with_state(core.clone()).merge(undocumented);
    answer(routes, &core, &settings, emf).await
}

/// Runs the function that serves the pages. It issues and verifies no tokens and asks nobody, so it has no secret and
/// speaks to nothing in AWS.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn serve_pages(routes: Router) -> Result<(), Fatal> {
    let emf = start_telemetry()?;
    let settings = PagesSettings::read(environment)?;
    let pages = Pages {
        own: Some(&settings.pages),
        ..Pages::from(&AllowedOrigins::None)
    };
    let routes = settings.base_path.hold(routes);
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let router = latchkey_api::http::service(routes, pages, settings.edge.as_ref(), clock, random);
    let router = emf::one_line_each(
        router,
        emf,
        Arc::new(SystemClock),
        Arc::new(emf::print_line),
    );
    end(gateway::run(router).await)
}

/// Runs the authorizer of other APIs. Offline it asks the table nothing, so it opens no connection to it.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn run_authorizer<Q, R, E>(
    authorize: impl AsyncFn(&Authorizer, Q) -> Result<R, E>,
) -> Result<(), Fatal>
where
    Q: for<'de> Deserialize<'de>,
    R: Serialize,
    E: Into<Diagnostic> + std::fmt::Debug,
{
    let emf = start_telemetry()?;
    let storage = StorageSettings::read(environment)?;
    let settings = Settings::read(environment)?;
    let AuthorizerSettings { rules } = AuthorizerSettings::read(environment)?;
    let asks = rules.mode == AuthorizerMode::Strict;
    let service = service(&storage, &settings, asks).await?;
    let authorizer = Authorizer::new(service, rules);
    run_events(emf, async |event: Q, _| authorize(&authorizer, event).await).await
}

/// Runs a function that a schedule starts. It issues and verifies no tokens, so it has no secret. `run` has the time
/// until the `deadline` of its invocation, in epoch milliseconds.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn run_scheduled<R, E>(
    run: impl AsyncFn(&Store, &dyn Clock, u64) -> Result<R, E>,
) -> Result<(), Fatal>
where
    R: Serialize,
    E: Into<Diagnostic> + std::fmt::Debug,
{
    let emf = start_telemetry()?;
    let storage = StorageSettings::read(environment)?;
    let store = connect(&sdk_config(&[&storage.endpoint])?, &storage);
    run_events(emf, async |_: ScheduledEvent, deadline| {
        run(&store, &SystemClock, deadline).await
    })
    .await
}

/// Runs the function that reads the table's stream. It issues and verifies no tokens, so it has no secret. `connect` makes
/// what the records are handed to.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn run_on_stream<P, Q, R>(
    connect: impl FnOnce(&SdkConfig, &EventsSettings, Store, Arc<dyn Clock>) -> P,
    handle: impl AsyncFn(&P, Q) -> R,
) -> Result<(), Fatal>
where
    Q: for<'de> Deserialize<'de>,
    R: Serialize,
{
    let emf = start_telemetry()?;
    let storage = StorageSettings::read(environment)?;
    let settings = EventsSettings::read(environment)?;
    let sdk = sdk_config(&[&storage.endpoint, &settings.endpoint])?;
    let store = self::connect(&sdk, &storage);
    let publisher = connect(&sdk, &settings, store, Arc::new(SystemClock));
    run_events(emf, async |batch: Q, _| {
        Ok::<R, Diagnostic>(handle(&publisher, batch).await)
    })
    .await
}

/// Runs the function that reads a queue of events and sends mails. Their links are signed, so it has the secret. `connect`
/// makes what the events are handed to.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn run_on_queue<N, Q, R, E>(
    connect: impl FnOnce(&SdkConfig, &MailSettings, Service) -> Result<N, E>,
    handle: impl AsyncFn(&N, Q) -> R,
) -> Result<(), Fatal>
where
    Q: for<'de> Deserialize<'de>,
    R: Serialize,
    E: std::error::Error + 'static,
{
    let emf = start_telemetry()?;
    let storage = StorageSettings::read(environment)?;
    let settings = Settings::read(environment)?;
    let mail = MailSettings::read(environment)?;
    let service = service(&storage, &settings, true).await?;
    let sdk = sdk_config(&[&storage.endpoint, &mail.endpoint])?;
    let notifier = connect(&sdk, &mail, service)?;
    run_events(emf, async |batch: Q, _| {
        Ok::<R, Diagnostic>(handle(&notifier, batch).await)
    })
    .await
}

/// Runs the function that rotates the secret. It reads and writes no table.
///
/// # Errors
/// [`Fatal`], whose message says what to do about it.
pub async fn run_rotation<E>(
    rotate: impl AsyncFn(&KeyRotation, SecretRotationEvent) -> Result<(), E>,
) -> Result<(), Fatal>
where
    E: Into<Diagnostic> + std::fmt::Debug,
{
    let emf = start_telemetry()?;
    let settings = Settings::read(environment)?;
    let TokenSecretSource::SecretsManager(arn) = settings.token_secret else {
        return Err(StartError::MissingVariable("TOKEN_SECRET_ARN").into());
    };
    let rotation = KeyRotation {
        secret: secrets_manager(&sdk_config(&[])?, arn),
        identity: settings.identity,
        policy: settings.policy,
        algorithm: settings.token_algorithm,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    };
    run_events(emf, async |event: SecretRotationEvent, _| {
        rotate(&rotation, event).await
    })
    .await
}

/// Answers events that are no requests until Lambda ends the environment. `answer` is given the deadline of the
/// invocation, in epoch milliseconds.
async fn run_events<Q, R, E>(
    emf: Emf,
    answer: impl AsyncFn(Q, u64) -> Result<R, E>,
) -> Result<(), Fatal>
where
    Q: for<'de> Deserialize<'de>,
    R: Serialize,
    E: Into<Diagnostic> + std::fmt::Debug,
{
    telemetry::end_at_panics();
    let handler = async |LambdaEvent { payload, context }: LambdaEvent<Q>| {
        let span = invocation(&context).span();
        let answered = answer(payload, context.deadline).instrument(span).await;
        // Before the reply: Lambda freezes the environment after it.
        emf.write_event_line(SystemClock.now(), &context.request_id);
        answered
    };
    end(lambda_runtime::run(service_fn(handler)).await)
}

/// Starts what a function is seen by: its log and its metrics.
fn start_telemetry() -> Result<Emf, StartError> {
    let log = LogSettings::read(environment, Format::Json)?;
    telemetry::start(log);
    warn_of_misspelt(environment_names());
    let settings = MetricsSettings::read(environment)?;
    let emf = Emf::new(settings, log.level);
    emf.start();
    Ok(emf)
}

/// Loads the secret and, if the function asks the table at all, opens the connection to it, both at once.
async fn service(
    storage: &StorageSettings,
    settings: &Settings,
    asks_table: bool,
) -> Result<Service, Fatal> {
    let sdk = sdk_config(&[&storage.endpoint])?;
    let store = connect(&sdk, storage);
    let open = async {
        if asks_table {
            store.open_connection().await;
        }
    };
    let (tokens, ()) = tokio::join!(read_token_keys(&sdk, settings, SystemClock.now()), open);
    let core = core(settings, tokens?);
    Ok(Service { core, store })
}

fn core(settings: &Settings, tokens: TokenKeys) -> Core {
    Core {
        tokens,
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        policy: Arc::new(settings.policy.clone()),
        password_policy: Arc::new(settings.password_policy()),
        passwords: Passwords::for_this_machine(),
        requests: UserRequests::default(),
        account_url: settings.account_url.as_str().into(),
    }
}

/// Answers requests until Lambda ends the environment.
async fn answer(routes: Router, core: &Core, settings: &Settings, emf: Emf) -> Result<(), Fatal> {
    let (clock, random) = (Arc::clone(&core.clock), Arc::clone(&core.random));
    let pages = Pages {
        origins: &settings.allowed_origins,
        cookies: settings.cookies.as_ref(),
        own: Some(&settings.pages),
    };
    let routes = settings.base_path.hold(routes);
    let router = latchkey_api::http::service(routes, pages, settings.edge.as_ref(), clock, random);
    let clock = Arc::clone(&core.clock);
    let router = emf::one_line_each(router, emf, clock, Arc::new(emf::print_line));
    end(gateway::run(router).await)
}

/// The runtime's own error is no `Error`.
fn end(result: Result<(), lambda_http::Error>) -> Result<(), Fatal> {
    result.map_err(|error| Fatal(with_causes(error.as_ref())))
}

fn connect(sdk: &SdkConfig, storage: &StorageSettings) -> Store {
    let endpoint = storage.endpoint.as_deref();
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    Store::connect(sdk, endpoint, &storage.table_name, clock, random)
}

/// Lambda gives region and credentials in the environment. No provider chain is probed, which would also look for
/// profiles and metadata services that are not there. `endpoints` are those that are not the region's.
fn sdk_config(endpoints: &[&Option<String>]) -> Result<SdkConfig, StartError> {
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
    let endpoints = endpoints.iter().filter_map(|endpoint| endpoint.as_deref());
    let endpoints = endpoints.chain(secrets.as_deref());
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

/// How long one request for the secret may take, and all of them together.
const SECRET_ATTEMPT: Duration = Duration::from_secs(2);
const SECRET_READ: Duration = Duration::from_secs(8);

/// A secret in Secrets Manager, with the timeouts of a start.
#[must_use]
pub fn secrets_manager(sdk: &SdkConfig, arn: String) -> SecretsManager {
    let mut config = aws_sdk_secretsmanager::config::Builder::from(sdk);
    config.set_endpoint_url(environment(SECRETS_ENDPOINT));
    // Lambda gives a function 10 seconds to start, and ends one that waits longer without a word.
    config.set_timeout_config(Some(
        TimeoutConfig::builder()
            .operation_attempt_timeout(SECRET_ATTEMPT)
            .operation_timeout(SECRET_READ)
            .build(),
    ));
    SecretsManager::new(
        aws_sdk_secretsmanager::Client::from_conf(config.build()),
        arn,
    )
}

/// The secret is read here for the first time.
async fn read_token_keys(
    sdk: &SdkConfig,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<TokenKeys, SecretError> {
    let identity: TokenIdentity = settings.identity.clone();
    let arn = match &settings.token_secret {
        TokenSecretSource::Literal {
            current,
            previous,
            device,
        } => {
            let (current, previous) = (current.clone(), previous.clone());
            let tokens = Tokens::of_secret(identity, current, previous, device.clone(), now)?;
            return Ok(tokens.into());
        }
        TokenSecretSource::SecretsManager(arn) => arn.clone(),
    };
    let secret = secrets_manager(sdk, arn);
    let keys = TokenKeys::read(identity, settings.policy.clone(), secret, now).await?;
    let (newest, wanted) = (keys.newest_algorithm(), settings.token_algorithm);
    if newest.is_some_and(|newest| newest != wanted) {
        tracing::warn!(
            setting = wanted.as_str(),
            newest = newest.map(|newest| newest.as_str()),
            "TOKEN_ALGORITHM takes effect with the next rotation of the secret"
        );
    }
    Ok(keys)
}
