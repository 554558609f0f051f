//! A DynamoDB that fails as planned: throttles, breaks connections, keeps silent, loses replies after the commit.
//!
//! The faults are made where the SDK hands a request to the network, so that the SDK's own timeouts and retries work on
//! them. Behind them the embedded engine is called directly, without a socket: a test can stop tokio's clock, and all
//! waiting takes no time at all, while what would have been waited can be read from that clock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use futures::join;
use latchkey::embedded;
use latchkey_api::cors::AllowedOrigins;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::{RandomSource as _, SeededRandom};
use latchkey_service::passwords::Passwords;
use serde_json::{Value, json};

use crate::attack::held::{self, Held, Hold};
use crate::harness::dynamodb::EmbeddedDynamoDb;
use crate::harness::stack::{Stack, TABLE};

/// What can go wrong with one request to DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// `ThrottlingException`.
    Throttled,
    /// `ProvisionedThroughputExceededException`.
    ThroughputExceeded,
    /// A 500.
    InternalServerError,
    /// A 503.
    ServiceUnavailable,
    /// The connection breaks before the request is sent.
    ConnectionReset,
    /// No connection is made in time.
    ConnectTimeout,
    /// The request gets lost, and no reply comes.
    Silence,
    /// The reply comes late, but in time.
    SlowReply,
    /// The request is carried out, and then the connection breaks.
    ReplyLost,
    /// The request is carried out, and no reply comes.
    SilenceAfterCommit,
    /// The request is carried out, and half of the reply comes.
    TruncatedReply,
    /// The request is carried out, and the reply is no JSON.
    GarbageReply,
    /// A single write meets a transaction in flight: `TransactionConflictException`.
    Conflict,
    /// A transaction meets another write in flight: `TransactionCanceledException` with that reason.
    CanceledByConflict,
    /// A transaction is too much for the moment: `TransactionCanceledException` with that reason.
    CanceledByThrottling,
    /// The same transaction is still under way: `TransactionInProgressException`.
    InProgress,
    /// All but the first item of a batch are handled; of one, none.
    Unprocessed,
    /// `ValidationException`: the request is wrong, and stays so however often it is sent.
    Invalid,
}

impl Fault {
    /// All that pass.
    pub const ALL: [Self; 17] = [
        Self::Throttled,
        Self::ThroughputExceeded,
        Self::InternalServerError,
        Self::ServiceUnavailable,
        Self::ConnectionReset,
        Self::ConnectTimeout,
        Self::Silence,
        Self::SlowReply,
        Self::ReplyLost,
        Self::SilenceAfterCommit,
        Self::TruncatedReply,
        Self::GarbageReply,
        Self::Conflict,
        Self::CanceledByConflict,
        Self::CanceledByThrottling,
        Self::InProgress,
        Self::Unprocessed,
    ];

    /// Whether DynamoDB can fail so at this operation.
    #[must_use]
    pub fn applies_to(self, operation: &str) -> bool {
        match self {
            Self::Conflict => matches!(operation, "UpdateItem" | "DeleteItem" | "PutItem"),
            Self::CanceledByConflict | Self::CanceledByThrottling | Self::InProgress => {
                operation == "TransactWriteItems"
            }
            Self::Unprocessed => operation == "BatchWriteItem",
            Self::Throttled
            | Self::Invalid
            | Self::ThroughputExceeded
            | Self::InternalServerError
            | Self::ServiceUnavailable
            | Self::ConnectionReset
            | Self::ConnectTimeout
            | Self::Silence
            | Self::SlowReply
            | Self::ReplyLost
            | Self::SilenceAfterCommit
            | Self::TruncatedReply
            | Self::GarbageReply => true,
        }
    }
}

/// Which requests a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strikes {
    /// So many requests of the operation, one after the other.
    Times(usize),
    /// All requests of the operation from then on.
    Always,
    /// All requests from then on, whatever they ask for.
    Outage,
}

/// A fault, and where it strikes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What goes wrong.
    pub fault: Fault,
    /// `GetItem`, ...
    pub operation: String,
    /// Which request of that operation is the first one struck, from 0; the SDK's retries count.
    pub nth: usize,
    /// How many are.
    pub strikes: Strikes,
}

#[derive(Debug, Default)]
struct State {
    plan: Option<Plan>,
    cycle: Vec<Fault>,
    sequence: Option<(String, Vec<Fault>)>,
    draw: Option<Draw>,
    calls: Vec<(String, Value)>,
    holds: Vec<Holding>,
}

/// A request that will be held: so many of its operation pass before it.
#[derive(Debug)]
struct Holding {
    operation: String,
    before: usize,
    hold: Hold,
}

/// Faults by chance.
#[derive(Debug)]
struct Draw {
    share: f64,
    random: SeededRandom,
    struck: BTreeMap<Fault, u64>,
}

impl Draw {
    fn next(&mut self, operation: &str) -> Option<Fault> {
        let mut bytes = [0; 8];
        self.random.fill(&mut bytes);
        let [chance @ .., _, _, _, which] = bytes;
        if f64::from(u32::from_le_bytes(chance)) >= self.share * f64::from(u32::MAX) {
            return None;
        }
        let kinds = Fault::ALL.iter().filter(|kind| kind.applies_to(operation));
        let kinds: Vec<Fault> = kinds.copied().collect();
        let fault = kinds.get(usize::from(which) % kinds.len()).copied()?;
        *self.struck.entry(fault).or_default() += 1;
        Some(fault)
    }
}

/// The first single update is made and its reply lost, for [`Faults::before_retry`].
pub const FIRST_REPLY_LOST: (Fault, usize) = (Fault::ReplyLost, 0);

/// The switch of the faults, and a note of all requests.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<State>>);

impl Faults {
    /// From now on requests fail as planned, and are counted from zero.
    pub fn arm(&self, plan: Plan) {
        *self.lock() = State {
            plan: Some(plan),
            ..State::default()
        };
    }

    /// The `nth` request of an operation from now on fails so, counted from 0, the SDK's retries included; no other does.
    pub fn strike_once(&self, fault: Fault, operation: &str, nth: usize) {
        self.arm(Plan {
            fault,
            operation: operation.to_owned(),
            nth,
            strikes: Strikes::Times(1),
        });
    }

    /// Makes a request whose `nth` single update, counted from 0, is struck by a fault, and does something else before
    /// the SDK sends that update again.
    pub async fn before_retry<R, M>(
        &self,
        (fault, nth): (Fault, usize),
        request: impl Future<Output = R>,
        meanwhile: impl Future<Output = M>,
    ) -> (R, M) {
        self.strike_once(fault, "UpdateItem", nth);
        let mut retry = self.hold("UpdateItem", nth + 1);
        let until_then = async {
            retry.arrive().await;
            let done = meanwhile.await;
            retry.release();
            done
        };
        join!(request, until_then)
    }

    /// From now on the requests are struck by these, again and again, each one where it applies.
    pub fn arm_cycle(&self, faults: &[Fault]) {
        *self.lock() = State {
            cycle: faults.to_vec(),
            ..State::default()
        };
    }

    /// From now on the requests of an operation are struck by these, one after the other.
    pub fn arm_sequence(&self, operation: &str, faults: &[Fault]) {
        *self.lock() = State {
            sequence: Some((operation.to_owned(), faults.to_vec())),
            ..State::default()
        };
    }

    /// From now on this share of the requests is struck, each time by one of the faults that DynamoDB can fail with at
    /// that operation. Requests are not noted.
    pub fn arm_at_random(&self, share: f64, seed: u64) {
        *self.lock() = State {
            draw: Some(Draw {
                share,
                random: SeededRandom::new(seed),
                struck: BTreeMap::new(),
            }),
            ..State::default()
        };
    }

    /// Holds the `nth` request of an operation from now on, counted from 0, the SDK's retries included. A fault that
    /// strikes it strikes when it is carried out. Whatever is armed or disarmed later ends the hold.
    #[must_use]
    pub fn hold(&self, operation: &str, nth: usize) -> Held {
        let (held, hold) = held::hold();
        self.lock().holds.push(Holding {
            operation: operation.to_owned(),
            before: nth,
            hold,
        });
        held
    }

    /// How often each fault has struck by chance.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<Fault, u64> {
        let state = self.lock();
        let draw = state.draw.as_ref();
        draw.map(|draw| draw.struck.clone()).unwrap_or_default()
    }

    /// From now on nothing fails. Returns the operation and the body of each request since the last time.
    pub fn disarm(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.lock()).calls
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hold of a request, if it is one that a test holds.
    fn take_hold(&self, operation: &str) -> Option<Hold> {
        let holds = &mut self.lock().holds;
        let mut taken = None;
        for (position, holding) in holds.iter_mut().enumerate() {
            if holding.operation != operation {
                continue;
            }
            if holding.before == 0 {
                taken = taken.or(Some(position));
            } else {
                holding.before -= 1;
            }
        }
        taken.map(|position| holds.remove(position).hold)
    }

    /// Notes a request, and says what happens to it.
    fn next(&self, operation: &str, body: &Value) -> Option<Fault> {
        let mut state = self.lock();
        let State {
            plan,
            cycle,
            sequence,
            draw,
            calls,
            holds: _,
        } = &mut *state;
        if let Some(draw) = draw {
            return draw.next(operation);
        }
        calls.push((operation.to_owned(), body.clone()));
        if let Some(fault) = cycle.get((calls.len() - 1) % cycle.len().max(1)) {
            return fault.applies_to(operation).then_some(*fault);
        }
        let count = |wanted: &str| calls.iter().filter(|call| call.0 == wanted).count();
        if let Some((wanted, faults)) = sequence {
            let earlier = count(wanted).saturating_sub(1);
            return faults.get(earlier).copied().filter(|_| operation == wanted);
        }
        let plan = plan.as_ref()?;
        let of_the_operation = count(&plan.operation);
        let struck = match plan.strikes {
            Strikes::Times(times) => (plan.nth + 1..=plan.nth + times).contains(&of_the_operation),
            Strikes::Always => operation == plan.operation && of_the_operation > plan.nth,
            Strikes::Outage => of_the_operation > plan.nth,
        };
        let struck = match plan.strikes {
            Strikes::Times(_) | Strikes::Always => struck && operation == plan.operation,
            Strikes::Outage => struck && plan.fault.applies_to(operation),
        };
        struck.then_some(plan.fault)
    }
}

thread_local! {
    /// Hashes on the thread of the test. One for all stacks of it, because the working memory of a hash is 19 MiB.
    static HASHING: Passwords = Passwords::new(0, 0);
}

/// The service on a new database that holds `items`, with the faults that can be switched on. It has the limits of the
/// service, and its own allowance of retries.
///
/// # Panics
/// When it cannot start.
pub async fn stack_with(policy: SessionPolicy, seed: u64, items: Vec<Value>) -> (Stack, Faults) {
    let dynamodb = EmbeddedDynamoDb::start();
    let faults = Faults::default();
    let behind = client(&dynamodb, &Faults::default());
    latchkey_store::table::create_if_missing(&behind, TABLE)
        .await
        .expect("a table");
    // As many at once as a request may hold.
    for items in items.chunks(25) {
        let puts: Vec<Value> = items
            .iter()
            .map(|item| json!({"PutRequest": {"Item": item}}))
            .collect();
        let puts = json!({"RequestItems": {TABLE: puts}}).to_string();
        let (status, reply) = answer(&dynamodb, "BatchWriteItem", &puts);
        assert_eq!(status, 200, "{reply}");
        assert!(!reply.contains("PutRequest"), "not all written: {reply}");
    }
    let service = client(&dynamodb, &faults);
    let here = HASHING.with(Passwords::clone);
    let origins = AllowedOrigins::None;
    let stack = Stack::over(dynamodb, service, behind, here, policy, &origins, seed);
    (stack, faults)
}

/// All items of a stack's table, as DynamoDB writes them.
///
/// # Panics
/// When the table cannot be read.
#[must_use]
pub fn raw_items(stack: &Stack) -> Vec<Value> {
    let scan = json!({"TableName": TABLE}).to_string();
    let (status, reply) = answer(&stack.dynamodb, "Scan", &scan);
    assert_eq!(status, 200, "{reply}");
    let reply: Value = serde_json::from_str(&reply).expect("JSON");
    reply["Items"].as_array().cloned().unwrap_or_default()
}

/// Puts an item into a stack's table as it is, if DynamoDB takes it.
#[must_use]
pub fn put_raw(stack: &Stack, item: &Value) -> bool {
    let put = json!({"TableName": TABLE, "Item": item}).to_string();
    answer(&stack.dynamodb, "PutItem", &put).0 == 200
}

/// Makes a stack's table hold these items and no others.
///
/// # Panics
/// When it cannot be written.
pub fn restore(stack: &Stack, items: &[Value]) {
    for item in raw_items(stack) {
        let key = json!({"pk": item["pk"], "sk": item["sk"]});
        let delete = json!({"TableName": TABLE, "Key": key}).to_string();
        let (status, reply) = answer(&stack.dynamodb, "DeleteItem", &delete);
        assert_eq!(status, 200, "{reply}");
    }
    for item in items {
        assert!(put_raw(stack, item), "{item}");
    }
}

/// A client of a database, with the limits of the service and its own allowance of retries, whose requests fail as
/// `faults` plans.
#[must_use]
pub fn client(dynamodb: &EmbeddedDynamoDb, faults: &Faults) -> Client {
    let connector = SharedHttpConnector::new(FaultyConnector {
        dynamodb: dynamodb.clone(),
        faults: faults.clone(),
    });
    let config = embedded::config(http_client_fn(move |_, _| connector.clone()))
        // Else all tests of a process share one allowance of retries, and use it up.
        .retry_partition(RetryPartition::new(format!("{:p}", Arc::as_ptr(&faults.0))));
    Client::from_conf(config.build())
}

struct FaultyConnector {
    dynamodb: EmbeddedDynamoDb,
    faults: Faults,
}

impl fmt::Debug for FaultyConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyConnector").finish_non_exhaustive()
    }
}

impl HttpConnector for FaultyConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = embedded::operation_of(&request).to_owned();
        let body = request.body().bytes().unwrap_or_default();
        let body = String::from_utf8_lossy(body).into_owned();
        let sent = serde_json::from_str(&body).unwrap_or_default();
        let fault = self.faults.next(&operation, &sent);
        let hold = self.faults.take_hold(&operation);
        let dynamodb = self.dynamodb.clone();
        let request = sent.clone();
        let carrying_out = async move {
            let commit = || answer(&dynamodb, &operation, &body);
            match fault {
                None => reply(commit()),
                Some(Fault::Throttled) => refusal(400, "ThrottlingException"),
                Some(Fault::ThroughputExceeded) => {
                    refusal(400, "ProvisionedThroughputExceededException")
                }
                Some(Fault::InternalServerError) => refusal(500, "InternalServerError"),
                Some(Fault::ServiceUnavailable) => refusal(503, "ServiceUnavailable"),
                Some(Fault::ConnectionReset) => Err(reset()),
                Some(Fault::ConnectTimeout) => {
                    tokio::time::sleep(Duration::from_millis(800)).await;
                    Err(ConnectorError::timeout("no connection".into()))
                }
                Some(Fault::Silence) => std::future::pending().await,
                Some(Fault::SlowReply) => {
                    let answered = commit();
                    tokio::time::sleep(Duration::from_millis(900)).await;
                    reply(answered)
                }
                Some(Fault::ReplyLost) => {
                    drop(commit());
                    Err(reset())
                }
                Some(Fault::SilenceAfterCommit) => {
                    drop(commit());
                    std::future::pending().await
                }
                Some(Fault::TruncatedReply) => {
                    let (status, text) = commit();
                    let half = text.chars().take(text.chars().count() / 2).collect();
                    reply((status, half))
                }
                Some(Fault::GarbageReply) => {
                    drop(commit());
                    reply((200, "<html>a proxy's greeting</html>".to_owned()))
                }
                Some(Fault::Conflict) => refusal(400, "TransactionConflictException"),
                Some(Fault::CanceledByConflict) => canceled(&sent, "TransactionConflict"),
                Some(Fault::CanceledByThrottling) => canceled(&sent, "ThrottlingError"),
                Some(Fault::InProgress) => refusal(400, "TransactionInProgressException"),
                Some(Fault::Invalid) => refusal(400, "ValidationException"),
                Some(Fault::Unprocessed) => reply(all_but_the_first(&dynamodb, &sent)),
            }
        };
        match hold {
            None => HttpConnectorFuture::new(carrying_out),
            Some(hold) => HttpConnectorFuture::new(hold.keep(request, carrying_out)),
        }
    }
}

/// What the SDK receives for a request.
pub(crate) type Answered = Result<HttpResponse, ConnectorError>;

fn reset() -> ConnectorError {
    ConnectorError::io("connection reset by peer".into())
}

fn refusal(status: u16, kind: &str) -> Answered {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{kind}");
    reply((
        status,
        json!({"__type": kind, "message": "injected"}).to_string(),
    ))
}

fn canceled(sent: &Value, reason: &str) -> Answered {
    let parts = sent["TransactItems"].as_array().map_or(0, Vec::len);
    let first = json!({"Code": reason, "Message": "injected"});
    reply((400, cancellation(parts, first).to_string()))
}

/// The body of a refusal of a transaction of so many parts, for this reason of its first part.
#[must_use]
pub fn cancellation(parts: usize, first: Value) -> Value {
    let mut reasons = vec![json!({"Code": "None"}); parts];
    if let Some(reason) = reasons.first_mut() {
        *reason = first;
    }
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "injected",
        "CancellationReasons": reasons,
    })
}

fn all_but_the_first(dynamodb: &EmbeddedDynamoDb, sent: &Value) -> (u16, String) {
    let mut left = sent["RequestItems"][TABLE]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let handled = if left.len() > 1 {
        left.split_off(1)
    } else {
        Vec::new()
    };
    if !handled.is_empty() {
        let body = json!({"RequestItems": {TABLE: handled}}).to_string();
        let (status, text) = answer(dynamodb, "BatchWriteItem", &body);
        assert_eq!(status, 200, "{text}");
    }
    let body = json!({"UnprocessedItems": {TABLE: left}});
    (200, body.to_string())
}

pub(crate) fn reply((status, body): (u16, String)) -> Answered {
    embedded::response(embedded::Answer { status, body })
}

/// What the engine answers.
fn answer(dynamodb: &EmbeddedDynamoDb, operation: &str, body: &str) -> (u16, String) {
    let answer = dynamodb.answer(operation, body.as_bytes());
    (answer.status, answer.body)
}
