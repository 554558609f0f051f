//! A machine that tries to break the service: random sequences of requests and of time, against the real handlers on
//! the embedded DynamoDB, held against [`latchkey_tests::proof::model`] after every step: the reply, and all that can be seen
//! of every user, which is the list of live sessions in its order, the items of the table, and that a session that has
//! ended opens nothing. The events of every step are heard too, and who is signed in is rebuilt from them alone.
//!
//! A [`Step`] names what it acts on by its place ("the newest live session's direct predecessor token"), not by an id,
//! so every sequence means something and a failing one shrinks by leaving steps out. The service draws its ids itself;
//! the model receives them, and nothing else.
//!
//! A normal run tries [`CASES`] sequences. For more, or to continue with a seed that you choose:
//!
//! ```text
//! PROPTEST_CASES=2000 cargo test -p latchkey-tests machine
//! PROPTEST_RNG_SEED=7 cargo test -p latchkey-tests machine
//! ```
//!
//! A failure prints the shortest sequence that was found, and its seed goes to `tests/proptest-regressions/machine.txt`,
//! which is tried first from then on: keep it with the fix.

mod act;
mod links;
mod listen;
mod observe;
mod pick;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use dynoxide::storage_backend::ManualClock as EngineClock;
use latchkey_api::cors::AllowedOrigins;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::throttle::Limits;
use latchkey_tests::harness::dynamodb::EmbeddedDynamoDb;
use latchkey_tests::harness::events::Stream;
use latchkey_tests::harness::stack::Stack;
use latchkey_tests::proof::counters::DeviceToken;
use latchkey_tests::proof::links::Link;
use latchkey_tests::proof::model::{AccessToken, Model, RefreshToken, Rules, seconds};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use self::steps::{Step, case};

/// How many sequences a normal run tries.
const CASES: u32 = 24;

/// The service, the model, and every token that was ever issued.
struct Machine {
    stack: Stack,
    engine_clock: EngineClock,
    model: Model,
    begun: Vec<SessionId>,
    access: Vec<(String, AccessToken)>,
    refresh: Vec<(String, RefreshToken)>,
    devices: Vec<(String, DeviceToken)>,
    links: Vec<(String, Link)>,
    stream: Stream,
    /// Who is signed in, by the events alone.
    heard: BTreeMap<UserId, BTreeSet<SessionId>>,
    steps: usize,
}

type Verdict = Result<(), TestCaseError>;

impl Machine {
    async fn new(rules: Rules, start: i64) -> Self {
        let millis = TimeDelta::milliseconds;
        let policy = SessionPolicy {
            access_token_lifetime: millis(rules.access),
            idle_lifetime: millis(rules.idle),
            absolute_lifetime: millis(rules.absolute),
            refresh_grace: millis(rules.grace),
            max_sessions: rules.limit,
            retention: millis(rules.retention),
            // Guesses are counted for accounts and devices. Everything comes from an address of its own.
            limits: Limits {
                free_failures: rules.free_guesses,
                ..Limits::off()
            },
            ..SessionPolicy::default()
        };
        let engine_clock = EngineClock::new(0);
        let dynamodb = EmbeddedDynamoDb::start_at(&engine_clock);
        let stack = Stack::on(dynamodb, policy, &AllowedOrigins::None).await;
        let model = Model {
            rules,
            now: stack.now().timestamp_millis(),
            accounts: Default::default(),
            sessions: Default::default(),
            counters: Default::default(),
        };
        let mut machine = Self {
            stream: stack.stream(),
            heard: BTreeMap::new(),
            stack,
            engine_clock,
            model,
            begun: Vec::new(),
            access: Vec::new(),
            refresh: Vec::new(),
            devices: Vec::new(),
            links: Vec::new(),
            steps: 0,
        };
        machine.wait(start);
        machine
    }

    fn wait(&mut self, millis: i64) {
        self.model.now += millis;
        self.stack.advance(TimeDelta::milliseconds(millis));
        let now = seconds(self.model.now);
        self.engine_clock.set(now.try_into().unwrap());
    }
}

async fn tried(rules: Rules, start: i64, steps: Vec<Step>) -> Verdict {
    let mut machine = Machine::new(rules, start).await;
    for (place, step) in steps.into_iter().enumerate() {
        let ran = match machine.run(step).await {
            Ok(()) => match machine.look_around().await {
                Ok(()) => machine.listen().await,
                failed => failed,
            },
            failed => failed,
        };
        ran.map_err(|error| TestCaseError::fail(format!("after step {place}, {step:?}: {error}")))?;
    }
    Ok(())
}

/// A case on a separate runtime, which takes the database with it when it ends.
fn try_one(rules: Rules, start: i64, steps: Vec<Step>) -> Verdict {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(tried(rules, start, steps))
}

#[expect(
    clippy::disallowed_methods,
    reason = "proptest reads its own settings, but has another number of cases when there are none"
)]
fn config() -> ProptestConfig {
    let settings = ProptestConfig::default();
    ProptestConfig {
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => settings.cases,
            None => CASES,
        },
        max_shrink_iters: 2_000,
        max_shrink_time: 120_000,
        failure_persistence: settings.failure_persistence.and(Some(Box::new(
            FileFailurePersistence::Direct(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/proptest-regressions/machine.txt"
            )),
        ))),
        ..settings
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_service_does_what_the_model_says((rules, start, steps) in case()) {
        try_one(rules, start, steps)?;
    }
}
