//! What is there before a schedule begins: one user, whom the real service has signed in.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::clock::ManualClock;
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::Password;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::RandomSource;
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::throttle::Limits;
use latchkey_domain::token::{Access, Audience, EmailChange, Scope, Token};
use latchkey_service::passwords::Passwords;
use latchkey_service::{Registered, Registration, Service, SignIn, SignOutToken};
use serde_json::{Value, json};
use tokio::runtime::Builder;

use super::call::canonical;
use super::program::{Ground, Program};
use super::request::{Answer, Number, Process, Request, Wallet};
use super::rules::Rules;
use super::search::{Exploration, Search};
use super::table::{Engine, Flaw, Queries, Table, View};
use crate::harness::stack::{OLD_PARAMETERS_HASH, PASSWORD, noon, tokens};

thread_local! {
    /// The settings that were made before: what many scenarios begin with is made once.
    static SETTINGS: RefCell<HashMap<String, (Ground, Table)>> = RefCell::default();
}

const ADA: &str = "ada@example.com";
const NEW_ADDRESS: &str = "ada@example.org";

/// One session of a scene, and how it came to be as it is.
#[derive(Clone, Copy, Debug)]
struct Past {
    number: Number,
    /// How long before noon it began.
    age: TimeDelta,
    /// Whether its refresh token was exchanged ten minutes before noon.
    is_rotated: bool,
    /// Whether its user has signed it out.
    has_ended: bool,
}

/// A few requests of one user at the same moment.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    past: Vec<Past>,
    has_outdated_hash: bool,
    processes: Vec<Process>,
    limit: usize,
    faults: u8,
    queries: Queries,
    flaw: Option<Flaw>,
}

impl Scenario {
    /// A user with some admitted sessions, the lower number the longer unused, and what is asked for at noon.
    #[must_use]
    pub fn new(name: &'static str, sessions: &[Number], requests: Vec<Request>) -> Self {
        let past = sessions.iter().map(|number| Past {
            number: *number,
            age: TimeDelta::hours(10) - TimeDelta::minutes(i64::from(*number)),
            is_rotated: false,
            has_ended: false,
        });
        let process = |request| Process {
            request,
            now: noon(),
            tick: TimeDelta::zero(),
        };
        Self {
            name,
            past: past.collect(),
            has_outdated_hash: false,
            processes: requests.into_iter().map(process).collect(),
            limit: 20,
            faults: 0,
            queries: Queries::Forwards,
            flaw: None,
        }
    }

    fn past_of(&mut self, number: Number) -> &mut Past {
        let found = self.past.iter_mut().find(|past| past.number == number);
        found.expect("a session of the scene")
    }

    /// So many writes may go astray.
    #[must_use]
    pub fn with_faults(mut self, faults: u8) -> Self {
        self.faults = faults;
        self
    }

    /// A user may have so many sessions.
    #[must_use]
    pub fn limited_to(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// A session was refreshed once, ten minutes ago.
    #[must_use]
    pub fn with_rotated(mut self, number: Number) -> Self {
        self.past_of(number).is_rotated = true;
        self
    }

    /// There are also these sessions, which have ended.
    #[must_use]
    pub fn with_ended(mut self, numbers: impl IntoIterator<Item = Number>) -> Self {
        let past = numbers.into_iter().map(|number| Past {
            number,
            age: TimeDelta::hours(11),
            is_rotated: false,
            has_ended: true,
        });
        self.past.extend(past);
        self
    }

    /// A session expires at noon.
    #[must_use]
    pub fn with_expiry_at_noon(mut self, number: Number) -> Self {
        self.past_of(number).age = SessionPolicy::default().idle_lifetime;
        self
    }

    /// A session has expired for good, and its item may be removed.
    #[must_use]
    pub fn with_overdue(mut self, number: Number) -> Self {
        let policy = SessionPolicy::default();
        self.past_of(number).age = policy.absolute_lifetime + policy.retention;
        self
    }

    /// The password's hash is to be replaced at the next sign-in.
    #[must_use]
    pub fn with_outdated_hash(mut self) -> Self {
        self.has_outdated_hash = true;
        self
    }

    /// A request arrives before noon, and its clock moves with each reply.
    #[must_use]
    pub fn with_clock(mut self, request: usize, before: TimeDelta, tick: TimeDelta) -> Self {
        let process = &mut self.processes[request];
        (process.now, process.tick) = (noon() - before, tick);
        self
    }

    /// Queries read otherwise than forwards.
    #[must_use]
    pub fn with_queries(mut self, queries: Queries) -> Self {
        self.queries = queries;
        self
    }

    /// Queries read all their items at one moment.
    #[must_use]
    pub fn with_whole_queries(self) -> Self {
        self.with_queries(Queries::AtOnce)
    }

    /// DynamoDB lacks something.
    #[must_use]
    pub fn with_flaw(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    /// Only a sign-in tells an outdated hash from another, which takes five times as long: and each run verifies it.
    fn has_outdated_hash(&self) -> bool {
        let signs_in = |process: &Process| matches!(process.request, Request::SignIn { .. });
        self.has_outdated_hash || !self.processes.iter().any(signs_in)
    }

    /// Visits all schedules, or stops at the first that breaks a rule.
    ///
    /// # Panics
    /// When the scene cannot be set.
    #[must_use]
    pub fn explore(&self) -> Exploration {
        let policy = SessionPolicy {
            max_sessions: self.limit,
            limits: Limits::off(),
            ..SessionPolicy::default()
        };
        let runtime = Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime");
        let has_outdated_hash = self.has_outdated_hash();
        let key = format!("{:?}", (&self.past, has_outdated_hash, self.limit));
        let set_before = SETTINGS.with_borrow(|set| set.get(&key).cloned());
        let (ground, beginning) = set_before.unwrap_or_else(|| {
            let setting = runtime.block_on(self.set(policy));
            SETTINGS.with_borrow_mut(|set| set.insert(key, setting.clone()));
            setting
        });
        let mut engine = runtime.block_on(Engine::start());
        drop(runtime);
        engine.flaw = self.flaw;
        let begun = self.begun(&mut engine, &ground, &beginning);
        let ground = Arc::new(Ground {
            begun: Arc::new(begun.clone()),
            ..ground
        });
        let program = |(number, process): (u8, &Process)| {
            Program::new(ground.clone(), process.clone(), number)
        };
        let rules = Rules {
            processes: self.processes.clone(),
            wallet: Wallet::clone(&ground.wallet),
            begun,
            initial: View::of(&beginning, ground.wallet.user),
            limit: self.limit,
            matches: Default::default(),
        };
        let programs = (0..).zip(&self.processes).map(program).collect();
        let mut search = Search::new(rules, engine, programs, beginning, self.faults);
        search.engine.queries = self.queries;
        search.run()
    }

    /// The sessions that requests begin: what each begins when it runs alone.
    fn begun(
        &self,
        engine: &mut Engine,
        ground: &Ground,
        beginning: &Table,
    ) -> BTreeMap<u8, SessionId> {
        let ground = Arc::new(ground.clone());
        let mut begun = BTreeMap::new();
        for (number, process) in (0..).zip(&self.processes) {
            let begins = matches!(
                process.request,
                Request::SignIn { .. } | Request::ChangePassword { .. }
            );
            if !begins {
                continue;
            }
            let (mut table, mut place) = (beginning.clone(), 0);
            let mut program = Program::new(ground.clone(), process.clone(), number);
            while let Some(call) = program.stop(place).waiting.first().cloned() {
                let reply = engine.execute(&mut table, &call.operation, &call.read());
                place = program.after(place, &call, reply);
            }
            if let Some(Answer::SignedIn(session)) = program.stop(place).answer {
                begun.insert(number, session);
            }
        }
        begun
    }

    /// Sets the scene by the real service.
    async fn set(&self, policy: SessionPolicy) -> (Ground, Table) {
        let mut engine = Engine::start().await;
        let placeholder = Token::new(String::new());
        let mut wallet = Wallet {
            user: UserId::random(&FirstByte(0)),
            email: ADA,
            password: PASSWORD,
            sessions: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            reset_link: placeholder,
            email_links: BTreeMap::new(),
        };
        let mut ground = Ground {
            tokens: tokens().into(),
            policy: Arc::new(policy),
            passwords: Passwords::new(0, 0),
            wallet: Arc::new(wallet.clone()),
            begun: Arc::default(),
        };
        let mut past = self.past.clone();
        past.sort_by_key(|past| std::cmp::Reverse(past.age));
        for past in &past {
            let clock = Arc::new(ManualClock::starting_at(noon() - past.age));
            let service = ground.service(engine.client(), clock, 0x10 + past.number);
            let session = begin(&service, wallet.sessions.is_empty()).await;
            wallet.user = session.user_id;
            wallet.sessions.insert(past.number, session.id);
            self.age(&ground, &engine, &mut wallet, *past, session)
                .await;
        }
        let noon = noon();
        let clock = Arc::new(ManualClock::starting_at(noon));
        let service = ground.service(engine.client(), clock, 0);
        let account = service.store.read_account(wallet.user).await;
        let account = account.expect("the table").expect("an account");
        let link = account.reset_link().expect("a password");
        let reset_link = ground.tokens.issue_link(&link, noon).await;
        wallet.reset_link = reset_link.expect("a token");
        for (number, session) in &wallet.sessions {
            let change = EmailChange {
                email: EmailAddress::parse(NEW_ADDRESS).expect("an address"),
                email_version: account.email_version,
                session_id: *session,
            };
            // Of a session that has ended there is none.
            if let Some(link) = account.email_change_link(change) {
                let link = ground.tokens.issue_link(&link, noon).await;
                wallet.email_links.insert(*number, link.expect("a token"));
            }
        }
        ground.wallet = Arc::new(wallet);
        let mut table = engine.read_all();
        if self.has_outdated_hash() {
            for ((_, sk), item) in &mut table.items {
                if sk == "CREDENTIAL" {
                    let mut credential: Value = serde_json::from_str(item).expect("JSON");
                    credential["password_hash"] = json!({"S": OLD_PARAMETERS_HASH});
                    *item = canonical(&credential).into();
                }
            }
        }
        (ground, table)
    }

    /// Makes of a session what has become of it, and keeps its refresh tokens: those before, the newest, the next.
    async fn age(
        &self,
        ground: &Ground,
        engine: &Engine,
        wallet: &mut Wallet,
        past: Past,
        session: Session,
    ) {
        let at = |time: DateTime<Utc>| {
            let clock = Arc::new(ManualClock::starting_at(time));
            ground.service(engine.client(), clock, 0x10 + past.number)
        };
        for rotation in 0..3 {
            let token = token(&at(noon()), &session, rotation).await;
            wallet.refresh_tokens.insert((past.number, rotation), token);
        }
        let first = &wallet.refresh_tokens[&(past.number, 0)];
        if past.is_rotated {
            let ten_minutes_ago = at(noon() - TimeDelta::minutes(10));
            let location = ClientLocation::default();
            let refreshed = ten_minutes_ago.refresh(first, &location, &Audience::ThisApi);
            refreshed.await.expect("a refresh");
        }
        if past.has_ended {
            let signed_out = [SignOutToken::Refresh(first.clone())];
            let ended = at(noon() - TimeDelta::hours(1));
            ended.sign_out(&signed_out).await.expect("an end");
        }
    }
}

/// Registers the user, or signs them in once more.
async fn begin(service: &Service, is_first: bool) -> Session {
    let password = Arc::new(Password::new(PASSWORD.to_owned()));
    let device = || Device::describe(None, None, None, ClientHints::default());
    let words = || Device::name_in_our_words(None, ClientHints::default());
    if is_first {
        let registration = Registration {
            email: ADA,
            password: &password,
            device: device(),
            device_in_our_words: words(),
            location: ClientLocation::default(),
            audience: Audience::ThisApi,
        };
        let registered = service.register(registration).await;
        let Ok(Registered::SignedIn(reply)) = registered else {
            panic!("{registered:?}");
        };
        return reply.issued.session;
    }
    let sign_in = SignIn {
        email: ADA,
        password: &password,
        device_token: None,
        device: device(),
        device_in_our_words: words(),
        location: ClientLocation::default(),
        audience: Audience::ThisApi,
    };
    let reply = service.sign_in(sign_in).await.expect("a sign-in");
    reply.issued.session
}

/// The refresh token of a rotation of a session.
async fn token(service: &Service, session: &Session, rotation: u64) -> Token {
    let session = Session {
        rotation,
        ..session.clone()
    };
    let (core, now) = (&service.core, session.created_at);
    let access = Access::ThisApi(Scope::own_account());
    let issued = core
        .tokens
        .issue(&session, access, now, &core.policy, core.random.as_ref());
    issued.await.expect("tokens").refresh_token
}

#[derive(Debug)]
struct FirstByte(u8);

impl RandomSource for FirstByte {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}
