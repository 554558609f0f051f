//! The whole service as one router, on an empty database, with a clock and a randomness that the test holds.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use aws_sdk_dynamodb::Client;
use axum::{Extension, Router};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::credentials::CookieTransport;
use latchkey_api::edge::EdgeSecret;
use latchkey_api::http::Pages;
use latchkey_api::location::Places;
use latchkey_api::own_pages::OwnPages;
use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::client::{ClientBounds, ClientScope};
use latchkey_domain::clock::{Clock, ManualClock};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::throttle::Limits;
use latchkey_domain::token::{TokenIdentity, TokenSecret, Tokens};
use latchkey_runtime::emf::{Emf, one_line_each};
use latchkey_runtime::places::LocationDatabase;
use latchkey_service::passwords::Passwords;
use latchkey_service::token_keys::TokenKeys;
use latchkey_service::{Core, NewClient, Service, UserRequests};
use latchkey_store::{Part, Store, WriteOutcome};
use serde_json::{Value, json};

use crate::harness::administrators;
use crate::harness::call::Call;
use crate::harness::dynamodb::{EmbeddedDynamoDb, Recorder};
use crate::harness::permissions;
use crate::harness::reply::{Reply, SignedIn};

/// A password that the policy takes.
pub const PASSWORD: &str = "correct horse battery staple";
/// The hash of [`PASSWORD`] with weaker parameters than today's, made by the reference implementation in C.
pub const OLD_PARAMETERS_HASH: &str = "$argon2id$v=19$m=8192,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$xwP/sUpncRUpT63+0aadhrYrW8PTzYL8TrQp/6Tj9lA";
/// A browser's User-Agent.
pub const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                          Chrome/141.0.0.0 Safari/537.36";
/// Another API than the service's own, for which it issues access tokens.
pub const OTHER_AUDIENCE: &str = "https://orders.example.com";
/// The identity providers that clients of tests speak for.
pub const ISSUERS: [&str; 5] = [
    "https://idp.example.com",
    "https://accounts.google.com",
    "https://accounts.example.com",
    "https://Accounts.google.com",
    "idp",
];
/// The table of every test.
pub const TABLE: &str = "latchkey";
/// The secret of every test.
pub const SECRET: &[u8] = b"a secret of tests, 32 bytes long";
/// Its device secret.
pub const DEVICE_SECRET: &[u8] = b"a device secret of tests, as long";

/// The whole service.
#[derive(Clone)]
pub struct Stack {
    /// The database.
    pub dynamodb: EmbeddedDynamoDb,
    /// A client of the database, for looking behind the service.
    pub client: Client,
    /// Notes the requests of the service to the database.
    pub recorder: Recorder,
    /// The table, with all permissions. The functions have those of their roles.
    pub store: Store,
    /// The table, with the role of the scheduled cleanup.
    pub cleanup_store: Store,
    /// What belongs to the service as a whole.
    pub core: Core,
    /// Stands still until a test moves it.
    pub clock: Arc<ManualClock>,
    service_client: Client,
    store_random: Arc<SeededRandom>,
    places: Places,
    router: Router,
}

/// Noon of a day in March.
#[must_use]
pub fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().expect("a time")
}

/// The places of MaxMind's test database.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn test_places() -> Places {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/places");
    let database = LocationDatabase::open(&folder.join("GeoIP2-City-Test.mmdb"));
    Places::from(Some(database.expect("a database")))
}

/// Who issues the tokens of tests.
#[must_use]
pub fn identity() -> TokenIdentity {
    TokenIdentity {
        issuer: "https://id.example.com".to_owned(),
        audience: "latchkey".to_owned(),
        other_audiences: vec![OTHER_AUDIENCE.to_owned()],
        client_id: "latchkey-app".to_owned(),
    }
}

/// The service's own tokens.
///
/// # Panics
/// When the keys cannot be derived.
#[must_use]
pub fn tokens() -> Tokens {
    let secret = |bytes: &[u8]| TokenSecret::new(bytes).expect("long enough");
    let (current, device) = (secret(SECRET).into(), Some(secret(DEVICE_SECRET)));
    Tokens::of_secret(identity(), current, None, device, noon()).expect("keys")
}

/// The default policy without limits: for a test that asks for more at one moment than people do.
#[must_use]
pub fn without_limits() -> SessionPolicy {
    SessionPolicy {
        limits: Limits::off(),
        ..SessionPolicy::default()
    }
}

/// The bounds of a client with these scopes: [`ISSUERS`], if it may issue sessions, and every audience.
#[must_use]
pub fn client_bounds(scopes: &[ClientScope]) -> ClientBounds {
    let mut bounds = ClientBounds::default();
    if scopes.contains(&ClientScope::IssueSessions) {
        bounds.issuers = ISSUERS.map(str::to_owned).into();
    }
    bounds
}

impl Stack {
    /// The service with its default policy.
    pub async fn start() -> Self {
        Self::with_policy(SessionPolicy::default()).await
    }

    /// The service with another policy.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn with_policy(policy: SessionPolicy) -> Self {
        Self::with(policy, &AllowedOrigins::None).await
    }

    /// The service with another policy and CORS.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn with(policy: SessionPolicy, origins: &AllowedOrigins) -> Self {
        Self::on(EmbeddedDynamoDb::start(), policy, origins).await
    }

    /// The service on a database that is running.
    ///
    /// # Panics
    /// When it cannot start.
    pub async fn on(
        dynamodb: EmbeddedDynamoDb,
        policy: SessionPolicy,
        origins: &AllowedOrigins,
    ) -> Self {
        let recorder = Recorder::default();
        let client = dynamodb.client(&recorder);
        latchkey_store::table::create_if_missing(&client, TABLE)
            .await
            .expect("a table");
        latchkey_store::table::enable_stream(&client, TABLE)
            .await
            .expect("a stream");
        let behind = dynamodb.client(&Recorder::default());
        let passwords = Passwords::for_this_machine();
        let mut stack = Self::over(dynamodb, client, behind, passwords, policy, origins, 1);
        stack.recorder = recorder;
        drop(stack.recorder.take());
        stack
    }

    /// The service on a database that has the table, by `client`; `behind` is for looking behind it.
    ///
    /// # Panics
    /// When it cannot start.
    #[must_use]
    pub fn over(
        dynamodb: EmbeddedDynamoDb,
        client: Client,
        behind: Client,
        passwords: Passwords,
        policy: SessionPolicy,
        origins: &AllowedOrigins,
        seed: u64,
    ) -> Self {
        let random = Arc::new(SeededRandom::new(seed));
        let clock = Arc::new(ManualClock::starting_at(noon()));
        // Its own, so that what is drawn for ids and salts does not depend on how often a request is tried again.
        let store_random = Arc::new(SeededRandom::new(seed + 1_000_000));
        let store = Store::new(client.clone(), TABLE, store_random.clone());
        let core = Core {
            tokens: tokens().into(),
            clock: clock.clone(),
            random: random.clone(),
            policy: Arc::new(policy),
            passwords,
            requests: UserRequests::default(),
            password_policy: Arc::default(),
            account_url: "https://id.example.com/account".into(),
        };
        Self {
            client: behind,
            dynamodb,
            recorder: Recorder::default(),
            cleanup_store: store.clone(),
            store,
            core,
            clock,
            service_client: client,
            store_random,
            places: Places::default(),
            router: Router::new(),
        }
        .served(origins.into(), None)
    }

    /// The same, with the cookie transport, for pages of these origins.
    #[must_use]
    pub fn with_cookies(self, origins: &AllowedOrigins) -> Self {
        let own = HeaderValue::from_static("https://id.example.com");
        let cookies = CookieTransport::new(own, origins);
        let pages = Pages {
            origins,
            cookies: Some(&cookies),
            own: None,
        };
        self.served(pages, None)
    }

    /// The same with pages of its own, and without the cookie transport for others: these origins use tokens in bodies.
    #[must_use]
    pub fn with_own_pages(self, origins: &AllowedOrigins) -> Self {
        let own = HeaderValue::from_static("https://id.example.com");
        let cookies = CookieTransport::for_own_pages(own);
        let own = OwnPages {
            account: true,
            ..OwnPages::default()
        };
        let pages = Pages {
            origins,
            cookies: Some(&cookies),
            own: Some(&own),
        };
        self.served(pages, None)
    }

    /// The same, behind the edge.
    #[must_use]
    pub fn behind(self, edge: &EdgeSecret) -> Self {
        self.served((&AllowedOrigins::None).into(), Some(edge))
    }

    /// The same, knowing the places of addresses; before [`Stack::behind`].
    #[must_use]
    pub fn with_places(mut self, places: Places) -> Self {
        self.places = places;
        self.served((&AllowedOrigins::None).into(), None)
    }

    /// The same, with other keys: another instance, or a later start of this one.
    #[must_use]
    pub fn with_tokens(mut self, tokens: TokenKeys) -> Self {
        self.core.tokens = tokens;
        self.served((&AllowedOrigins::None).into(), None)
    }

    /// The table as a function reaches it, with the role that the template gives it.
    #[must_use]
    pub fn store_of(&self, function: &'static str) -> Store {
        let client = permissions::with_role_of(function, &self.service_client);
        Store::new(client, TABLE, self.store_random.clone())
    }

    fn served(mut self, pages: Pages<'_>, edge: Option<&EdgeSecret>) -> Self {
        let (clock, random) = (self.core.clock.clone(), self.core.random.clone());
        let routes = latchkey::routes_by_function(&self.core, |function| self.store_of(function));
        let routes = routes.layer(Extension(self.places.clone()));
        self.cleanup_store = self.store_of("cleanup");
        self.router = latchkey_api::http::service(routes, pages, edge, clock, random);
        self
    }

    /// The same service with what is around a function on Lambda: each request's line of metrics goes to `write`.
    #[must_use]
    pub fn with_metrics(mut self, emf: Emf, write: Arc<dyn Fn(String) + Send + Sync>) -> Self {
        let clock = self.core.clock.clone();
        self.router = one_line_each(self.router, emf, clock, write);
        self
    }

    /// The service's routes, with all that is around them.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Lets time pass.
    pub fn advance(&self, by: TimeDelta) {
        self.clock.advance(by);
    }

    /// Lets as much time pass as makes every refresh token old enough to be replaced.
    pub fn pass_interval(&self) {
        self.advance(self.core.policy.rotation_interval());
    }

    /// Another instance on the same table. Its clock is ahead by this much, and moves only when the test moves it.
    #[must_use]
    pub fn with_clock_ahead(mut self, by: TimeDelta) -> Self {
        let clock = Arc::new(ManualClock::starting_at(self.now() + by));
        self.core.clock = clock.clone();
        self.clock = clock;
        self.served((&AllowedOrigins::None).into(), None)
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A request that is not yet sent.
    #[must_use]
    pub fn request(&self, method: Method, path: &str) -> Call<'_> {
        Call {
            router: &self.router,
            method,
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            address: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)),
        }
    }

    /// A GET that is not yet sent.
    #[must_use]
    pub fn get(&self, path: &str) -> Call<'_> {
        self.request(Method::GET, path)
    }

    /// A DELETE that is not yet sent.
    #[must_use]
    pub fn delete(&self, path: &str) -> Call<'_> {
        self.request(Method::DELETE, path)
    }

    /// A POST that is not yet sent.
    #[must_use]
    pub fn post(&self, path: &str) -> Call<'_> {
        self.request(Method::POST, path)
    }

    /// Registers a user, who is then signed in.
    pub async fn register(&self, email: &str) -> SignedIn {
        let body = json!({"email": email, "password": PASSWORD});
        let reply = self
            .post("/v1/auth/register")
            .user_agent(CHROME)
            .json(&body)
            .send()
            .await;
        SignedIn::from(reply.expect(StatusCode::CREATED))
    }

    /// Signs a user in once more.
    pub async fn login(&self, email: &str) -> SignedIn {
        SignedIn::from(self.try_login(email, PASSWORD).await.expect(StatusCode::OK))
    }

    /// Tries to sign in.
    pub async fn try_login(&self, email: &str, password: &str) -> Reply {
        let body = json!({"email": email, "password": password});
        self.post("/v1/auth/login")
            .user_agent(CHROME)
            .json(&body)
            .send()
            .await
    }

    /// Tries to refresh.
    pub async fn refresh(&self, refresh_token: &str) -> Reply {
        self.post("/v1/auth/refresh")
            .json(&json!({"refresh_token": refresh_token}))
            .send()
            .await
    }

    /// Refreshes the session of somebody who is signed in.
    ///
    /// # Panics
    /// When the refresh is refused.
    pub async fn refresh_session(&self, who: &SignedIn) -> SignedIn {
        let reply = self.refresh(&who.refresh_token).await;
        SignedIn::from(reply.expect(StatusCode::OK))
    }

    /// That a session has ended: it has no access, and its refresh token is refused.
    ///
    /// # Panics
    /// When the session is live.
    pub async fn expect_ended(&self, who: &SignedIn) {
        let call = self.get("/v1/sessions/current").bearer(&who.access_token);
        call.send().await.expect_problem(401, "invalid_token");
        let reply = self.refresh(&who.refresh_token).await;
        reply.expect_problem(401, "invalid_refresh_token");
    }

    /// Tries to change the password of somebody who is signed in.
    pub async fn change_password(&self, who: &SignedIn, current: &str, new: &str) -> Reply {
        self.request(Method::PUT, "/v1/me/password")
            .bearer(&who.access_token)
            .json(&json!({"current_password": current, "new_password": new}))
            .send()
            .await
    }

    /// Tries to authenticate again as somebody who is signed in.
    pub async fn reauthenticate(&self, who: &SignedIn, password: &str) -> Reply {
        self.post("/v1/auth/reauthenticate")
            .bearer(&who.access_token)
            .json(&json!({"password": password}))
            .send()
            .await
    }

    /// Tries to delete the account of somebody who is signed in.
    pub async fn delete_account(&self, who: &SignedIn, password: &str) -> Reply {
        self.post("/v1/me/delete")
            .bearer(&who.access_token)
            .json(&json!({"password": password}))
            .send()
            .await
    }

    /// Registers somebody with the role of administration, who has then just signed in.
    pub async fn administrator(&self, email: &str) -> SignedIn {
        let registered = self.register(email).await;
        let user = registered.user_id.expect("a registration shows the user");
        self.grant(user).await;
        self.login(email).await
    }

    /// Gives a user the role of administration. A sign-in or a refresh after it has the scope.
    pub async fn grant(&self, user: UserId) {
        administrators::grant(&self.store, user, self.now()).await;
    }

    /// Makes a client of another service and returns its secret. One that may issue sessions does so for [`ISSUERS`].
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn add_client(&self, id: &str, scopes: &[ClientScope]) -> String {
        let service = Service {
            core: self.core.clone(),
            store: self.store.clone(),
        };
        let new = NewClient {
            id,
            name: id,
            scopes: scopes.iter().copied().collect(),
            bounds: client_bounds(scopes),
        };
        let added = service.add_client(new).await;
        added.expect("a client").1.expose().to_owned()
    }

    /// Changes an account as administration does, by the way that every change of who is signed in takes.
    ///
    /// # Panics
    /// When there is no such account, or it is changed by somebody else at the same moment.
    pub async fn change_account(
        &self,
        user: UserId,
        action: Action,
        decide: impl FnOnce(Account) -> Change,
    ) {
        let before = self.store.read_account(user).await;
        let before = before.expect("the table can be read").expect("an account");
        let change = decide(before.clone());
        self.write_change(&before, &change, action, &[]).await;
    }

    /// Writes a change that was decided on `before`.
    ///
    /// # Panics
    /// When it is not written.
    pub async fn write_change(
        &self,
        before: &Account,
        change: &Change,
        action: Action,
        parts: &[Part<'_>],
    ) {
        let cause = Cause {
            action,
            actor: Actor::System,
            at: self.now(),
        };
        let (stamp, mut retries) = (self.store.new_stamp(), self.store.retries());
        let written = self
            .store
            .write_change(before, change, &cause, parts, stamp, &mut retries)
            .await;
        assert_eq!(written, Ok(WriteOutcome::Written));
    }

    /// The ids of the live sessions of a user, the most recently used first.
    pub async fn session_ids(&self, who: &SignedIn) -> Vec<SessionId> {
        let reply = self
            .get("/v1/sessions")
            .bearer(&who.access_token)
            .send()
            .await;
        let list = reply.expect(StatusCode::OK);
        let sessions = list["sessions"].as_array().cloned().unwrap_or_default();
        sessions
            .iter()
            .filter_map(|session| session["id"].as_str()?.parse().ok())
            .collect()
    }

    /// Every item of the table but the counters of attempts, which change with each password.
    ///
    /// # Panics
    /// When the table cannot be read.
    pub async fn items(&self) -> Vec<Value> {
        let mut items = self.items_with_counters().await;
        items.retain(|item| {
            let key = item["pk"].as_str().unwrap_or_default();
            !key.starts_with("THROTTLE#")
        });
        items
    }

    /// Every item of the table.
    ///
    /// # Panics
    /// When the table cannot be read.
    pub async fn items_with_counters(&self) -> Vec<Value> {
        let mut pages = self
            .client
            .scan()
            .table_name(TABLE)
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut items = Vec::new();
        while let Some(item) = pages.next().await {
            let item: Value = item
                .map(|item| serde_dynamo_value(&item))
                .expect("the table can be read");
            items.push(item);
        }
        items.sort_by_key(ToString::to_string);
        items
    }
}

fn serde_dynamo_value(
    item: &std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>,
) -> Value {
    use aws_sdk_dynamodb::types::AttributeValue;
    fn plain(value: &AttributeValue) -> Value {
        match value {
            AttributeValue::S(text) => json!(text),
            AttributeValue::Bool(is) => json!(is),
            AttributeValue::N(number) => serde_json::from_str(number).unwrap_or_default(),
            AttributeValue::Ss(set) => {
                let mut set = set.clone();
                set.sort();
                json!(set)
            }
            AttributeValue::L(list) => list.iter().map(plain).collect(),
            AttributeValue::M(map) => serde_dynamo_value(map),
            other => json!(format!("{other:?}")),
        }
    }
    item.iter()
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}
