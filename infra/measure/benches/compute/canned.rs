//! The service over a DynamoDB that gives the replies which the embedded one gave before.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
    TransactWriteItem,
};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use latchkey::embedded::{Embedded, EngineConnector};
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::location::PeerAddress;
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SystemRandom;
use latchkey_domain::session::Session;
use latchkey_domain::token::{TokenIdentity, TokenSecret, Tokens};
use latchkey_service::Core;
use latchkey_service::passwords::Passwords;
use latchkey_store::Store;
use serde_json::{Value, json};
use tower::ServiceExt;
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;

use crate::AGENTS;

const TABLE: &str = "latchkey";
const PASSWORD: &str = "correct horse battery staple";

/// A request to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Refresh,
    ListOne,
    ListTwenty,
    Current,
    Me,
    SignIn,
}

impl Request {
    pub(crate) const ALL: [Self; 6] = [
        Self::Refresh,
        Self::ListOne,
        Self::ListTwenty,
        Self::Current,
        Self::Me,
        Self::SignIn,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::ListOne => "list, 1 session",
            Self::ListTwenty => "list, 20 sessions",
            Self::Current => "current session",
            Self::Me => "me",
            Self::SignIn => "sign-in, argon2 included",
        }
    }
}

/// The service, and what to ask it.
pub(crate) struct Canned {
    pub(crate) session: Session,
    pub(crate) policy: Arc<SessionPolicy>,
    one: User,
    twenty: User,
}

/// A user of a service that only ever hears the replies which are about that user.
struct User {
    router: Router,
    store: Store,
    client: Client,
    id: UserId,
    session_id: SessionId,
    access_token: String,
    refresh_token: String,
}

impl Canned {
    /// Runs the requests once on the embedded DynamoDB, and keeps its replies. Log lines are formatted as on Lambda, and
    /// go nowhere.
    pub(crate) async fn record() -> Self {
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(std::io::sink)
            .with_filter(latchkey_runtime::telemetry::filter(Level::INFO));
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
            .expect("the first");
        let embedded = Embedded::in_memory().expect("a database");
        latchkey_store::table::create_if_missing(&embedded.client(), TABLE)
            .await
            .expect("a table");
        let policy = Arc::new(SessionPolicy::default());
        let one = User::record(&embedded, &policy, 1).await;
        let twenty = User::record(&embedded, &policy, 20).await;
        embedded.stop().await;
        let session = one.store.read_session(one.id, one.session_id).await;
        let session = session.expect("a reply").expect("a session");
        Self {
            session,
            policy,
            one,
            twenty,
        }
    }

    fn user(&self, request: Request) -> &User {
        match request {
            Request::ListTwenty => &self.twenty,
            _ => &self.one,
        }
    }

    /// The whole handler.
    pub(crate) async fn handle(&self, request: Request) {
        self.user(request).handle(request).await;
    }

    /// What the handler asks of DynamoDB, by the SDK alone.
    pub(crate) async fn raw(&self, request: Request) {
        self.user(request).raw(request).await;
    }

    /// The account and twenty sessions, as the store reads them.
    pub(crate) async fn read_partition(&self) {
        let user = &self.twenty;
        let read = user.store.read_partition(user.id, SystemClock.now()).await;
        assert_eq!(read.expect("a reply").sessions.len(), 20);
    }
}

impl User {
    async fn record(embedded: &Embedded, policy: &Arc<SessionPolicy>, sessions: usize) -> Self {
        let replies = Replies::default();
        let http_client = replies.http_client(embedded.connector());
        let client = Client::from_conf(embedded.config().http_client(http_client).build());
        let random = Arc::new(SystemRandom);
        let secret = TokenSecret::new(b"a secret of benchmarks, 32 bytes".to_vec());
        let identity = TokenIdentity {
            issuer: "https://id.example.com".to_owned(),
            audience: "latchkey".to_owned(),
            other_audiences: Vec::new(),
            client_id: "latchkey-app".to_owned(),
        };
        let core = Core {
            tokens: Tokens::new(identity, &secret.expect("long enough"), None)
                .expect("keys")
                .into(),
            clock: Arc::new(SystemClock),
            random: random.clone(),
            policy: policy.clone(),
            // On the thread that is measured.
            passwords: Passwords::new(0, 0),
            requests: latchkey_service::UserRequests::default(),
            password_policy: Arc::default(),
            account_url: "https://id.example.com/account".into(),
        };
        let store = Store::new(client.clone(), TABLE, random);
        let router = latchkey::routes(&core, &store);
        let router = latchkey_api::http::service(
            router,
            (&AllowedOrigins::None).into(),
            None,
            core.clock.clone(),
            core.random.clone(),
        );
        let mut user = Self {
            router,
            store,
            client,
            id: UserId::random(&SystemRandom),
            session_id: SessionId::random(&SystemRandom),
            access_token: String::new(),
            refresh_token: String::new(),
        };
        let email = format!("{sessions}@example.com");
        let body = json!({"email": email, "password": PASSWORD}).to_string();
        let mut signed_in = user
            .call(Method::POST, "/v1/auth/register", Some(body))
            .await;
        for _ in 1..sessions {
            signed_in = user.sign_in(&email).await;
        }
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        user.access_token = text(&signed_in["access_token"]);
        user.refresh_token = text(&signed_in["refresh_token"]);
        user.id = text(&signed_in["user"]["id"]).parse().expect("an id");
        user.session_id = text(&signed_in["session"]["id"]).parse().expect("an id");
        let read = user.store.read_session(user.id, user.session_id).await;
        assert!(read.expect("a reply").is_some());
        for request in [
            Request::ListOne,
            Request::Current,
            Request::Me,
            Request::Refresh,
        ] {
            user.handle(request).await;
        }
        // Last, because what a sign-in is answered with must not have the session in it that it makes.
        if sessions == 1 {
            user.handle(Request::SignIn).await;
        }
        replies.replay();
        user
    }

    async fn sign_in(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": PASSWORD}).to_string();
        self.call(Method::POST, "/v1/auth/login", Some(body)).await
    }

    async fn handle(&self, request: Request) {
        match request {
            Request::Refresh => {
                let body = json!({"refresh_token": self.refresh_token}).to_string();
                self.call(Method::POST, "/v1/auth/refresh", Some(body))
                    .await;
            }
            Request::ListOne | Request::ListTwenty => {
                self.call(Method::GET, "/v1/sessions", None).await;
            }
            Request::Current => {
                self.call(Method::GET, "/v1/sessions/current", None).await;
            }
            Request::Me => {
                self.call(Method::GET, "/v1/me", None).await;
            }
            Request::SignIn => {
                self.sign_in("1@example.com").await;
            }
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<String>) -> Value {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(USER_AGENT, AGENTS[0].1);
        if !self.access_token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.access_token));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let request = request
            .extension(PeerAddress(address))
            .body(body.map_or_else(Body::empty, Body::from))
            .expect("a request");
        let reply = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("infallible");
        let status = reply.status();
        let bytes = reply
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert!(
            status == StatusCode::OK || status == StatusCode::CREATED,
            "{path}: {status} {}",
            String::from_utf8_lossy(&bytes)
        );
        // Reading the reply is the client's work; only what is needed to prepare is read.
        if self.access_token.is_empty() {
            serde_json::from_slice(&bytes).expect("JSON")
        } else {
            Value::Null
        }
    }

    async fn raw(&self, request: Request) {
        let partition = format!("USER#{}", self.id);
        let session = format!("SESSION#{}", self.session_id);
        match request {
            Request::Refresh => {
                tokio::join!(
                    self.raw_rotation(&partition, &session),
                    self.raw_get(&partition, "ACCOUNT")
                );
            }
            Request::ListOne | Request::ListTwenty => self.raw_query(&partition).await,
            Request::Current => {
                tokio::join!(
                    self.raw_get(&partition, "ACCOUNT"),
                    self.raw_get(&partition, &session)
                );
            }
            Request::Me => self.raw_get(&partition, "ACCOUNT").await,
            Request::SignIn => {
                self.raw_get("EMAIL#1@example.com", "CREDENTIAL").await;
                self.raw_query(&partition).await;
                self.raw_transaction(&partition, &session).await;
            }
        }
    }

    async fn raw_get(&self, partition: &str, sort_key: &str) {
        let get = self
            .client
            .get_item()
            .table_name(TABLE)
            .key("pk", text(partition))
            .key("sk", text(sort_key))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        get.send().await.expect("a reply");
    }

    async fn raw_query(&self, partition: &str) {
        let query = self
            .client
            .query()
            .table_name(TABLE)
            .key_condition_expression("#pk = :user AND #sk BETWEEN :account AND :last")
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_names("#sk", "sk")
            .expression_attribute_values(":user", text(partition))
            .expression_attribute_values(":account", text("ACCOUNT"))
            .expression_attribute_values(":last", text("SESSION$"))
            .consistent_read(true)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        query.send().await.expect("a reply");
    }

    async fn raw_rotation(&self, partition: &str, session: &str) {
        let now = number(SystemClock.now().timestamp_millis());
        let update = self
            .client
            .update_item()
            .table_name(TABLE)
            .key("pk", text(partition))
            .key("sk", text(session))
            .update_expression(
                "SET #rotation = :successor, #rotated_at = :now, #last_used_at = :now, \
                 #idle_expires_at = :idle_expires_at, #ip_address = :ip_address",
            )
            .condition_expression(
                "#rotation = :presented AND #idle_expires_at > :now AND #absolute_expires_at > :now",
            )
            .expression_attribute_names("#rotation", "rotation")
            .expression_attribute_names("#rotated_at", "rotated_at")
            .expression_attribute_names("#last_used_at", "last_used_at")
            .expression_attribute_names("#idle_expires_at", "idle_expires_at")
            .expression_attribute_names("#absolute_expires_at", "absolute_expires_at")
            .expression_attribute_names("#ip_address", "ip_address")
            .expression_attribute_values(":presented", number(0))
            .expression_attribute_values(":successor", number(1))
            .expression_attribute_values(":now", now.clone())
            .expression_attribute_values(":idle_expires_at", now)
            .expression_attribute_values(":ip_address", text("127.0.0.1"))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        update.send().await.expect("a reply");
    }

    /// Two puts of the size of an account and a session, which is what a sign-in writes.
    async fn raw_transaction(&self, partition: &str, session: &str) {
        let put = |sort_key: &str| {
            let put = Put::builder()
                .table_name(TABLE)
                .item("pk", text(partition))
                .item("sk", text(sort_key))
                .item("rotation", number(0))
                .item("rotated_at", number(1_700_000_000_000_i64))
                .item("user_agent", text(AGENTS[0].1))
                .item("device_name", text("Chrome on Windows"))
                .item("created_at", number(1_700_000_000_000_i64))
                .item("last_used_at", number(1_700_000_000_000_i64))
                .item("idle_expires_at", number(1_700_000_000_000_i64))
                .item("absolute_expires_at", number(1_700_000_000_000_i64))
                .condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", "pk")
                .build();
            TransactWriteItem::builder()
                .put(put.expect("complete"))
                .build()
        };
        let transaction = self
            .client
            .transact_write_items()
            .transact_items(put("ACCOUNT"))
            .transact_items(put(session))
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        transaction.send().await.expect("a reply");
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The replies of DynamoDB, by what they answer: the operation, and for a read of one item its kind.
#[derive(Clone, Default)]
struct Replies(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    known: HashMap<String, &'static [u8]>,
    /// Set once everything is known; nothing is sent from then on.
    replaying: bool,
}

impl Replies {
    fn http_client(&self, engine: EngineConnector) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(Connector {
            engine,
            replies: self.clone(),
        });
        http_client_fn(move |_, _| connector.clone())
    }

    fn replay(&self) {
        self.0.lock().expect("no panic under it").replaying = true;
    }
}

/// Answers what was answered before, once it replays; until then it asks the engine and notes the replies.
struct Connector {
    engine: EngineConnector,
    replies: Replies,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let kind = kind(&request);
        let book = self.replies.0.lock().expect("no panic under it");
        if book.replaying {
            let body = book.known.get(kind.as_str()).copied();
            return HttpConnectorFuture::ready(Ok(reply(body.expect("a known request"))));
        }
        drop(book);
        let sent = self.engine.call(request);
        let replies = self.replies.clone();
        HttpConnectorFuture::new(async move {
            let response = sent.await?;
            let body = response.into_body().collect().await.expect("a body");
            let body: &'static [u8] = body.to_bytes().to_vec().leak();
            let mut book = replies.0.lock().expect("no panic under it");
            // The first reply is the one that fits: a later one tells of what was done in between.
            if kind == "Query" {
                book.known.insert(kind, body);
            } else {
                book.known.entry(kind).or_insert(body);
            }
            Ok(reply(body))
        })
    }
}

fn reply(body: &'static [u8]) -> HttpResponse {
    let ok = 200_u16.try_into().expect("a status");
    HttpResponse::new(ok, SdkBody::from(body))
}

fn kind(request: &HttpRequest) -> String {
    let operation = request
        .headers()
        .get("x-amz-target")
        .and_then(|target| target.split('.').next_back())
        .unwrap_or_default();
    if operation != "GetItem" {
        return operation.to_owned();
    }
    let body = String::from_utf8_lossy(request.body().bytes().unwrap_or_default()).into_owned();
    let found = ["CREDENTIAL", "ACCOUNT", "SESSION#"]
        .into_iter()
        .find(|kind| body.contains(kind));
    format!("{operation} {}", found.unwrap_or_default())
}
