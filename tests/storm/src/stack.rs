//! The running stack, and the ways behind it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use latchkey::embedded::Embedded;
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::http::service;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::{RandomSource as _, SystemRandom};
use latchkey_domain::throttle::Limits;
use latchkey_domain::token::{TokenIdentity, TokenSecret, Tokens};
use latchkey_service::passwords::Passwords;
use latchkey_service::{Core, UserRequests};
use latchkey_store::Store;
use latchkey_store::table::{create_if_missing, enable_stream};
use latchkey_tests::attack::faults::{self, Faults};
use latchkey_tests::harness::dynamodb::EmbeddedDynamoDb;
use tokio::net::TcpListener;

use super::StormError;
use super::clock::LeapingClock;
use super::telling::{FailingBus, Pump};

const TABLE: &str = "latchkey";

/// The running stack, and the ways behind it.
pub(crate) struct Stack {
    pub(crate) clock: Arc<LeapingClock>,
    pub(crate) faults: Faults,
    /// Without faults.
    pub(crate) behind: Store,
    pub(crate) policy: SessionPolicy,
    pub(crate) base: String,
    /// Publishes what happens.
    pub(crate) pump: Arc<tokio::sync::Mutex<Pump>>,
    pub(crate) bus: FailingBus,
}

/// Wrong passwords are counted as they are by default. All clients have one address here, and ask for more than people
/// do, so the limits of an address and of a session's requests are off.
fn policy() -> SessionPolicy {
    SessionPolicy {
        limits: Limits {
            free_failures: Limits::default().free_failures,
            ..Limits::off()
        },
        ..SessionPolicy::default()
    }
}

pub(crate) async fn start(seed: u64) -> Result<Stack, StormError> {
    let embedded = Embedded::in_memory()?;
    let database = EmbeddedDynamoDb::from(embedded.database());
    let faults = Faults::default();
    let behind = faults::client(&database, &Faults::default());
    create_if_missing(&behind, TABLE).await?;
    enable_stream(&behind, TABLE).await?;
    let random = Arc::new(SystemRandom);
    let store = Store::new(faults::client(&database, &faults), TABLE, random.clone());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let clock = Arc::new(LeapingClock::starting_now());
    let mut secret = [0; 32];
    random.fill(&mut secret);
    let identity = TokenIdentity {
        issuer: base.clone(),
        audience: "latchkey".to_owned(),
        other_audiences: Vec::new(),
        client_id: "latchkey-app".to_owned(),
    };
    let secret = TokenSecret::new(secret)?;
    let core = Core {
        tokens: Tokens::new(identity, &secret, None)?.into(),
        clock: clock.clone(),
        random: random.clone(),
        policy: Arc::new(policy()),
        passwords: Passwords::for_this_machine(),
        requests: UserRequests::default(),
        password_policy: Arc::default(),
        account_url: "https://id.example.com/account".into(),
    };
    let routes = latchkey::routes(&core, &store);
    let router = service(
        routes,
        (&AllowedOrigins::None).into(),
        None,
        clock.clone(),
        random.clone(),
    );
    tokio::spawn(axum::serve(listener, router).into_future());
    let reader = embedded.stream(TABLE);
    let (pump, bus) = Pump::new(reader, store, clock.clone(), seed);
    Ok(Stack {
        clock,
        faults,
        behind: Store::new(behind, TABLE, random),
        policy: policy(),
        base,
        pump: Arc::new(tokio::sync::Mutex::new(pump)),
        bus,
    })
}
