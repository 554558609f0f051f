//! One request of the real service, run again and again: on every sequence of replies that it may get.
//!
//! A request has its own instance of the service, as on Lambda: with the others it shares the table and nothing else.
//! Its clock and its randomness are the test's, so what it does next follows from the replies that it has had.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use latchkey_domain::clock::ManualClock;
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::{RandomSource, SeededRandom};
use latchkey_service::passwords::Passwords;
use latchkey_service::token_keys::TokenKeys;
use latchkey_service::{Core, Service, UserRequests};
use latchkey_store::Store;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::call::{Call, Reply};
use super::network::Network;
use super::request::{Answer, Process, Wallet};
use crate::harness::stack::TABLE;

/// Longer than any pause between two attempts, the SDK's and the store's.
const LONGEST_PAUSE: Duration = Duration::from_millis(450);
/// A request that has sent nothing for so long waits for nothing that would come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many replies a request may have.
const MOST_REPLIES: usize = 100;

/// What all requests of a scenario have in common.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The keys of tokens.
    pub tokens: TokenKeys,
    /// How long things last.
    pub policy: Arc<SessionPolicy>,
    /// Hashes here, on this thread.
    pub passwords: Passwords,
    /// What the clients hold.
    pub wallet: Arc<Wallet>,
    /// The sessions that requests of the scenario begin.
    pub begun: Arc<BTreeMap<u8, SessionId>>,
}

/// A repeatable sequence, in which whatever is as long as an id begins with this byte: so ids sort as a scene wants it.
#[derive(Debug)]
pub struct SortedRandom {
    seeded: SeededRandom,
    first: u8,
}

impl SortedRandom {
    /// The sequence.
    #[must_use]
    pub fn new(first: u8) -> Self {
        Self {
            seeded: SeededRandom::new(u64::from(first)),
            first,
        }
    }
}

impl RandomSource for SortedRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.seeded.fill(bytes);
        if let [first, rest @ ..] = bytes
            && rest.len() == 15
        {
            *first = self.first;
        }
    }
}

impl Ground {
    /// An instance of the service.
    #[must_use]
    pub fn service(
        &self,
        client: aws_sdk_dynamodb::Client,
        clock: Arc<ManualClock>,
        first: u8,
    ) -> Service {
        let random = || Arc::new(SortedRandom::new(first));
        let core = Core {
            tokens: self.tokens.clone(),
            clock,
            random: random(),
            policy: self.policy.clone(),
            passwords: self.passwords.clone(),
            requests: UserRequests::default(),
            password_policy: Arc::default(),
            account_url: "https://id.example.com/account".into(),
        };
        Service {
            core,
            store: Store::new(client, TABLE, random()),
        }
    }
}

/// Where a request has come to.
#[derive(Clone, Debug)]
pub struct Stop {
    /// The calls that it waits for.
    pub waiting: Vec<Call>,
    /// Its answer. Calls may still wait that nobody waits for.
    pub answer: Option<Answer>,
}

/// A request that runs.
struct Execution {
    runtime: Runtime,
    network: Network,
    clock: Arc<ManualClock>,
    tick: TimeDelta,
    task: JoinHandle<Answer>,
    answer: Option<Answer>,
}

impl Execution {
    fn start(ground: &Ground, process: &Process, number: u8) -> Self {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let network = Network::default();
        let clock = Arc::new(ManualClock::starting_at(process.now));
        let client = network.client();
        let service = ground.service(client, clock.clone(), 0x80 + number);
        let (request, wallet) = (process.request.clone(), ground.wallet.clone());
        let begun = ground.begun.clone();
        let asking = async move { request.ask(&service, &wallet, &begun).await };
        let mut execution = Self {
            task: runtime.spawn(asking),
            runtime,
            network,
            clock,
            tick: process.tick,
            answer: None,
        };
        execution.settle(false);
        execution
    }

    /// Lets the request run until it waits for replies alone. The runtime's clock moves only when every task waits. After
    /// a failure there is a pause before the next attempt, while other calls may wait.
    fn settle(&mut self, has_failed: bool) {
        let mut slept = Duration::ZERO;
        let mut step = if has_failed {
            LONGEST_PAUSE
        } else {
            Duration::from_millis(1)
        };
        loop {
            self.runtime
                .block_on(async { tokio::time::sleep(step).await });
            slept += step;
            if self.task.is_finished() && self.answer.is_none() {
                let answer = self.runtime.block_on(&mut self.task);
                self.answer = Some(answer.unwrap_or(Answer::Broken));
            }
            if self.answer.is_some() || !self.network.waiting().is_empty() {
                return;
            }
            assert!(slept < PATIENCE, "a request waits for ever");
            step = LONGEST_PAUSE;
        }
    }

    fn give(&mut self, call: &Call, reply: &Reply) {
        self.clock.advance(self.tick);
        self.network.answer(call, reply.clone());
        self.settle(!reply.is_success());
    }

    fn stop(&self) -> Stop {
        Stop {
            waiting: self.network.waiting(),
            answer: self.answer.clone(),
        }
    }
}

/// The replies that a request has had, as the number of a [`Node`].
pub type Place = usize;

struct Node {
    replies: Vec<(Call, Reply)>,
    stop: Stop,
    /// The request itself, until it has continued from here.
    live: Option<Execution>,
}

/// One request, run once for every sequence of replies that it meets.
pub struct Program {
    ground: Arc<Ground>,
    process: Process,
    number: u8,
    nodes: Vec<Node>,
    next: HashMap<(Place, Call, Reply), Place>,
    /// How often the request was run from its beginning.
    pub runs: usize,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

impl Program {
    /// A request that has had no reply.
    #[must_use]
    pub fn new(ground: Arc<Ground>, process: Process, number: u8) -> Self {
        let execution = Execution::start(&ground, &process, number);
        let first = Node {
            replies: Vec::new(),
            stop: execution.stop(),
            live: Some(execution),
        };
        Self {
            ground,
            process,
            number,
            nodes: vec![first],
            next: HashMap::new(),
            runs: 1,
        }
    }

    /// Where it has come to.
    #[must_use]
    pub fn stop(&self, place: Place) -> &Stop {
        &self.nodes[place].stop
    }

    /// The replies that it has had.
    #[must_use]
    pub fn replies(&self, place: Place) -> &[(Call, Reply)] {
        &self.nodes[place].replies
    }

    /// How many sequences of replies it has met.
    #[must_use]
    pub fn places(&self) -> usize {
        self.nodes.len()
    }

    /// Gives it one more reply.
    ///
    /// # Panics
    /// When it does not come to an end.
    pub fn after(&mut self, place: Place, call: &Call, reply: Reply) -> Place {
        let key = (place, call.clone(), reply);
        if let Some(next) = self.next.get(&key) {
            return *next;
        }
        let mut replies = self.nodes[place].replies.clone();
        let mut execution = match self.nodes[place].live.take() {
            Some(execution) => execution,
            None => {
                self.runs += 1;
                let mut again = Execution::start(&self.ground, &self.process, self.number);
                for (call, reply) in &replies {
                    again.give(call, reply);
                }
                again
            }
        };
        assert!(
            replies.len() < MOST_REPLIES,
            "a request does not come to an end"
        );
        execution.give(call, &key.2);
        replies.push((call.clone(), key.2.clone()));
        let stop = execution.stop();
        let live = (!stop.waiting.is_empty()).then_some(execution);
        self.nodes.push(Node {
            replies,
            stop,
            live,
        });
        let next = self.nodes.len() - 1;
        self.next.insert(key, next);
        next
    }
}
