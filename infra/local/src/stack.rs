//! The whole: settings, storage, routes, one server, and an orderly end.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::edge::EdgeSecret;
use latchkey_api::http;
use latchkey_api::location::PeerAddress;
use latchkey_domain::clock::SystemClock;
use latchkey_domain::password::PasswordPolicy;
use latchkey_domain::random::SystemRandom;
use latchkey_domain::token::Tokens;
use latchkey_runtime::settings::{
    Settings, StorageSettings, TokenSecretSource, environment, environment_names, warn_of_misspelt,
};
use latchkey_runtime::telemetry::{self, Format, LogSettings};
use latchkey_service::Core;
use latchkey_service::passwords::Passwords;
use latchkey_store::Store;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::banner::banner;
use crate::cleaning::Cleaner;
use crate::error::LocalError;
use crate::folder::new_secret;
use crate::options::Options;
use crate::routes;
use crate::settings::lookup;
use crate::signals::StopSignals;
use crate::storage::{Choice, Storage};

/// How long a stop waits for requests that are being answered.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Runs the local stack until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`LocalError`] if it cannot start, in one line that says what to do about it.
pub async fn run(options: Options) -> Result<(), LocalError> {
    telemetry::start(LogSettings::read(environment, Format::Text)?);
    warn_of_misspelt(environment_names());
    if environment("TOKEN_SECRET_ARN").is_some() {
        return Err(LocalError::SecretsManager);
    }
    let listener = listen(options.port).await?;
    let address = listener.local_addr().map_err(|source| LocalError::Port {
        port: options.port,
        source,
    })?;
    let base_url = format!("http://{address}");

    let random = Arc::new(SystemRandom);
    let StorageSettings {
        table_name,
        endpoint,
    } = StorageSettings::read(lookup(environment, &base_url, None))?;
    let choice = Choice::new(&options, endpoint.as_deref())?;
    // Before anything is made: are the settings right, with any secret?
    Settings::read(lookup(
        environment,
        &base_url,
        Some(&new_secret(random.as_ref())),
    ))?;
    let wants_secret = environment("TOKEN_SECRET").is_none();
    let storage = Storage::open(&choice, &table_name, wants_secret, random.as_ref()).await?;
    let settings = Settings::read(lookup(environment, &base_url, storage.secret.as_deref()))?;
    let (allowed_origins, edge) = (settings.allowed_origins.clone(), settings.edge.clone());
    let core = core(settings, random.clone())?;
    let store = Store::new(storage.client.clone(), &table_name, random);
    let cleaner = Cleaner {
        store: store.clone(),
        clock: core.clock.clone(),
        sweeper: storage.sweeper(),
    };

    let (router, document) = routes(&core, &store).split_for_parts();
    let router = router.merge(cleaner.clone().routes());
    let application = application(router, &allowed_origins, edge.as_ref(), &core);
    let signals = StopSignals::listen().map_err(LocalError::Signals)?;
    // Nobody may be reading; the service runs all the same.
    let _ = io::stdout().write_all(banner(&base_url, &storage.place, &document).as_bytes());
    let cleaning = tokio::spawn(cleaner.keep_schedule());
    serve(listener, application, signals).await;
    cleaning.abort();
    storage.close().await;
    Ok(())
}

/// On this machine only: nobody else can connect.
async fn listen(port: u16) -> Result<TcpListener, LocalError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => LocalError::PortTaken(port),
            _ => LocalError::Port { port, source },
        })
}

fn core(settings: Settings, random: Arc<SystemRandom>) -> Result<Core, LocalError> {
    let TokenSecretSource::Literal { current, previous } = settings.token_secret else {
        return Err(LocalError::SecretsManager);
    };
    let words = settings.password_context_words.iter().map(String::as_str);
    let password_policy = PasswordPolicy::new(&settings.identity.issuer, words);
    Ok(Core {
        tokens: Tokens::new(settings.identity, &current, previous.as_ref())?.into(),
        clock: Arc::new(SystemClock),
        random,
        policy: Arc::new(settings.policy),
        passwords: Passwords::for_this_machine(),
        password_policy: Arc::new(password_policy),
    })
}

fn application(
    router: Router,
    allowed_origins: &AllowedOrigins,
    edge: Option<&EdgeSecret>,
    core: &Core,
) -> Router {
    http::service(
        router,
        allowed_origins,
        edge,
        core.clock.clone(),
        core.random.clone(),
    )
    .layer(from_fn(tag_peer))
}

/// The client's address is that of its connection.
async fn tag_peer(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(PeerAddress(peer.ip()));
    next.run(request).await
}

/// Serves until a signal comes, then lets the requests that are being answered finish, until a second one comes.
async fn serve(listener: TcpListener, application: Router, mut signals: StopSignals) {
    let (stop, stopped) = oneshot::channel::<()>();
    let application = application.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, application).with_graceful_shutdown(async {
        // An error is a stop too: the sender was dropped.
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());
    signals.received().await;
    tracing::info!("stopping");
    let _ = stop.send(());
    let finished = tokio::select! {
        finished = tokio::time::timeout(STOP_WITHIN, server) => finished.ok(),
        () = signals.received() => None,
    };
    match finished {
        Some(Ok(Ok(()))) => {}
        Some(Ok(Err(error))) => tracing::error!(%error, "the server failed"),
        Some(Err(error)) => tracing::error!(%error, "the server failed"),
        None => tracing::warn!("some requests were not finished in time"),
    }
}
