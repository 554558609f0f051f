//! The whole: settings, storage, routes, one server, and an orderly end.

use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};
use latchkey_api::edge::EdgeSecret;
use latchkey_api::http::{self, Pages};
use latchkey_api::location::Places;
use latchkey_domain::clock::{Clock as _, SystemClock};
use latchkey_domain::random::SystemRandom;
use latchkey_domain::token::{RsaPrivateKey, TokenAlgorithm, Tokens};
use latchkey_runtime::places::LocationDatabase;
use latchkey_runtime::settings::{
    AuthorizerSettings, Format, LogSettings, MailSettings, Settings, StorageSettings,
    TokenSecretSource, environment, environment_names, read_activity_retention, warn_of_misspelt,
};
use latchkey_runtime::telemetry;
use latchkey_service::activity::ActivityLog;
use latchkey_service::passwords::Passwords;
use latchkey_service::{Authorizer, Core, Service, UserRequests};
use latchkey_store::Store;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::authorizing;
use crate::banner::{Facts, IssuerSource, banner};
use crate::brand;
use crate::cleaning::Cleaner;
use crate::error::LocalError;
use crate::folder::new_secret;
use crate::gate;
use crate::hosts::Hosts;
use crate::mailing::{self, Mailbox};
use crate::options::Options;
use crate::publishing::{LocalBus, RecentEvents};
use crate::routes;
use crate::server::serve;
use crate::settings::{Generated, lookup};
use crate::signals::StopSignals;
use crate::storage::{Choice, Storage};

/// Runs the local stack until Ctrl-C or SIGTERM.
///
/// # Errors
/// [`LocalError`] if it cannot start, in one line that says what to do about it.
pub(crate) async fn serve_until_stopped(options: Options) -> Result<(), LocalError> {
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
    } = StorageSettings::read(lookup(environment, &base_url, Generated::default()))?;
    let choice = Choice::new(&options, endpoint.as_deref())?;
    let new_rsa_key = new_rsa_key()?;
    if let Some(folder) = options.brand.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(LocalError::NoBrand(folder.clone()));
    }
    // Before anything is made: are the settings right, with any secret?
    let any_rsa_key = new_rsa_key.as_ref().map(RsaPrivateKey::to_base64);
    let any = Generated {
        token_secret: Some(&new_secret(random.as_ref())),
        device_secret: None,
        rsa_key: any_rsa_key.as_deref().map(String::as_str),
        account_url: None,
    };
    let Settings {
        location_database, ..
    } = Settings::read(lookup(environment, &base_url, any))?;
    let mail_settings = MailSettings::read(lookup(environment, &base_url, any))?;
    let location_database = options.location_database.clone().or(location_database);
    let location_database = location_database.as_deref().map(LocationDatabase::open);
    let places: Places = location_database.transpose()?.into();
    let AuthorizerSettings { rules } =
        AuthorizerSettings::read(lookup(environment, &base_url, Generated::default()))?;
    let activity_retention =
        read_activity_retention(lookup(environment, &base_url, Generated::default()))?;
    let wants_secret = environment("TOKEN_SECRET").is_none() || new_rsa_key.is_some();
    let mut storage = Storage::open(&choice, &table_name, wants_secret, random.as_ref()).await?;
    let rsa_key = new_rsa_key.map(|key| storage.rsa_key(&key)).transpose()?;
    let kept = storage.issuer()?;
    let default_issuer = kept.as_deref().unwrap_or(&base_url);
    // The tokens name the first start of the data; links lead to this one, or nothing might answer there.
    let here = environment("ISSUER").is_none();
    let account_url = here.then(|| format!("{base_url}/account"));
    let generated = Generated {
        token_secret: storage.token_secret.as_deref(),
        device_secret: storage.device_secret.as_deref(),
        rsa_key: rsa_key.as_deref(),
        account_url: account_url.as_deref(),
    };
    let mut settings = Settings::read(lookup(environment, default_issuer, generated))?;
    settings.policy.sends_mail &= !options.no_mail;
    let issuer = settings.identity.issuer.clone();
    match &kept {
        Some(kept) if *kept != issuer => warn_of_another_issuer(&issuer, kept),
        None if issuer == base_url => storage.keep_issuer(&issuer)?,
        Some(_) | None => {}
    }
    let dynamodb = match options.dynamodb_port {
        Some(port) => storage.listen(port).await?,
        None => None,
    };
    let (allowed_origins, edge) = (settings.allowed_origins.clone(), settings.edge.clone());
    let (cookies, own_pages) = (settings.cookies.clone(), settings.pages.clone());
    let base_path = settings.base_path.clone();
    for mistake in brand::mistakes(&own_pages, options.brand.as_deref()) {
        tracing::warn!("{mistake}; the pages are shown without it");
    }
    let core = core(settings, random.clone())?;
    let store = Store::new(storage.client.clone(), &table_name, random);
    let cleaner = Cleaner {
        store: store.clone(),
        clock: core.clock.clone(),
        sweeper: storage.sweeper(),
    };

    let recent = RecentEvents::default();
    let mailbox = Mailbox::default();
    let service = Service {
        core: core.clone(),
        store: store.clone(),
    };
    let notifier = match options.no_mail {
        true => None,
        false => mailing::notifier(&mail_settings, service, mailbox.clone())?,
    };
    let shows_mail = notifier.is_some();
    let bus = LocalBus {
        events: recent.clone(),
        notifier,
    };
    let activity = ActivityLog {
        store: store.clone(),
        retention: activity_retention,
        clock: core.clock.clone(),
    };
    let pump = storage.pump(&table_name, bus, activity);

    let router = routes(&core, &store);
    let authorizer = Authorizer::new(
        Service {
            core: core.clone(),
            store,
        },
        rules,
    );
    let router = base_path
        .hold(router.layer(Extension(places)))
        .merge(cleaner.clone().routes())
        .merge(authorizing::routes(authorizer))
        .merge(recent.clone().routes())
        .merge(mailbox.routes())
        .merge(options.brand.map(brand::routes).unwrap_or_default());
    let hosts = Hosts::loopback_and_host_of(&issuer);
    let pages = Pages {
        origins: &allowed_origins,
        cookies: cookies.as_ref(),
        own: Some(&own_pages),
    };
    let application = application(router, pages, edge.as_ref(), &core, hosts);
    let signals = StopSignals::listen().map_err(LocalError::Signals)?;
    let command_options = choice.options_of_commands(dynamodb);
    let facts = Facts {
        address: &base_url,
        base_url: &format!("{base_url}{}", base_path.as_str()),
        pages: &own_pages,
        issuer: &issuer,
        issuer_source: match environment("ISSUER") {
            Some(_) => IssuerSource::Setting,
            None => IssuerSource::Start,
        },
        place: &storage.place,
        command_options: command_options.as_deref(),
        dynamodb,
        shows_events: pump.is_some(),
        shows_mail: pump.is_some() && shows_mail,
    };
    // Nobody may be reading; the service runs all the same.
    let _ = io::stdout().write_all(banner(&facts).as_bytes());
    let cleaning = tokio::spawn(cleaner.keep_schedule());
    let publishing = pump.map(|pump| tokio::spawn(pump.run()));
    serve(listener, application, signals).await;
    stop(cleaning).await;
    if let Some(publishing) = publishing {
        stop(publishing).await;
    }
    storage.close().await;
    Ok(())
}

/// Stops a task and waits until it has stopped. One that outlives the runtime would log that its work was cancelled.
async fn stop(task: JoinHandle<()>) {
    task.abort();
    // It was aborted, or has panicked, which is on stderr already.
    let _ = task.await;
}

/// A key for access tokens, if the settings want RSA and bring no key. The data folder may have one already.
fn new_rsa_key() -> Result<Option<RsaPrivateKey>, LocalError> {
    let wanted = environment("TOKEN_ALGORITHM").as_deref() == Some(TokenAlgorithm::Rs256.as_str())
        && environment("TOKEN_RSA_KEY").is_none();
    Ok(wanted.then(RsaPrivateKey::generate).transpose()?)
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

/// What every use case works with.
pub(crate) fn core(settings: Settings, random: Arc<SystemRandom>) -> Result<Core, LocalError> {
    let password_policy = settings.password_policy();
    let TokenSecretSource::Literal {
        current,
        previous,
        device,
    } = settings.token_secret
    else {
        return Err(LocalError::SecretsManager);
    };
    let now = SystemClock.now();
    Ok(Core {
        tokens: Tokens::of_secret(settings.identity, current, previous, device, now)?.into(),
        clock: Arc::new(SystemClock),
        random,
        policy: Arc::new(settings.policy),
        password_policy: Arc::new(password_policy),
        passwords: Passwords::for_this_machine(),
        requests: UserRequests::default(),
        account_url: settings.account_url.into(),
    })
}

fn application(
    router: Router,
    pages: Pages<'_>,
    edge: Option<&EdgeSecret>,
    core: &Core,
    hosts: Hosts,
) -> Router {
    let gate = from_fn_with_state(hosts, gate::pass);
    http::service_behind(
        router,
        pages,
        edge,
        core.clock.clone(),
        core.random.clone(),
        |router| router.layer(gate),
    )
}

/// A folder's tokens name the issuer under which they were made, and are refused under any other.
fn warn_of_another_issuer(issuer: &str, of_the_folder: &str) {
    tracing::warn!(
        issuer,
        of_the_folder,
        "ISSUER is not the issuer of the data folder: tokens that name the folder's are refused"
    );
}
