//! A client as it should be: it keeps its newest tokens where all of its tabs find them, asks again after a 503 when it is
//! told to, signs in again when it is signed out. Now and then somebody else plays an old token of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use latchkey_domain::id::SessionId;
use latchkey_domain::random::{RandomSource as _, SeededRandom};

use super::api::{Api, Secrets};
use super::clock::LeapingClock;
use super::history::{Access, Answer, Event, Guesser, Moment, Op, Tokens};
use super::user::{People, User, lock};

/// How often a client asks before it gets a definite answer.
pub(super) const ATTEMPTS: usize = 300;
/// From how many clients on a user takes so many more devices now and then, so that the limit of sessions is met.
const MANY_CLIENTS: usize = 8;
const MORE_DEVICES: usize = 8;
/// How many passwords a stranger tries at once: more than are free.
const GUESSES: usize = 16;
/// The longest that a person takes before the next action, in milliseconds.
const LONGEST_THOUGHT: usize = 400;
/// What every 503 says in `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What all clients count together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) answers: Mutex<BTreeMap<(&'static str, String), u64>>,
    pub(crate) retries: std::sync::atomic::AtomicU64,
    pub(crate) requests: std::sync::atomic::AtomicU64,
    pub(crate) unavailable: std::sync::atomic::AtomicU64,
    /// Requests that were never answered but with 503.
    pub(crate) given_up: std::sync::atomic::AtomicU64,
}

/// What the tabs of a browser share.
#[derive(Debug)]
pub(super) struct Jar {
    pub(super) user: Arc<User>,
    newest: Mutex<Box<Tokens>>,
    /// What a thief may have.
    replaced: Mutex<Vec<Tokens>>,
    signed_out: std::sync::atomic::AtomicBool,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(super) number: usize,
    people: Arc<People>,
    pub(super) api: Api,
    clock: Arc<LeapingClock>,
    tally: Arc<Tally>,
    random: SeededRandom,
    pub(super) jar: Option<Arc<Jar>>,
    /// The address that this client has a device token of, and the token.
    device: Option<(String, String)>,
    /// Whom it administers, if it does.
    pub(super) wards: Arc<[Arc<People>]>,
    /// How long ago an administrator may have proved who they are.
    pub(super) proof_within: TimeDelta,
}

impl Jar {
    fn is_signed_out(&self) -> bool {
        self.signed_out.load(std::sync::atomic::Ordering::SeqCst)
    }

    pub(super) fn sign_out(&self) {
        self.signed_out
            .store(true, std::sync::atomic::Ordering::SeqCst);
    }

    pub(super) fn tokens(&self) -> Box<Tokens> {
        lock(&self.newest).clone()
    }

    pub(super) fn keep(&self, tokens: Box<Tokens>) {
        let mut newest = lock(&self.newest);
        let age = |tokens: &Tokens| (tokens.authenticated, tokens.access_expires);
        if tokens.rotation == newest.rotation && age(&tokens) > age(&newest) {
            *newest = tokens; // Not due: the same refresh token, and a new access token.
        } else if tokens.rotation > newest.rotation {
            let replaced = std::mem::replace(&mut *newest, tokens);
            lock(&self.replaced).push(*replaced);
        }
    }
}

pub(super) fn access(tokens: &Tokens) -> Access {
    Access {
        session: tokens.session.id,
        expires: tokens.access_expires,
        authenticated: tokens.authenticated,
    }
}

impl Browser {
    pub(crate) fn new(
        number: usize,
        people: Arc<People>,
        api: Api,
        clock: Arc<LeapingClock>,
        tally: Arc<Tally>,
        seed: u64,
    ) -> Self {
        Self {
            number,
            people,
            api,
            clock,
            tally,
            random: SeededRandom::new(seed),
            jar: None,
            device: None,
            wards: Arc::default(),
            proof_within: TimeDelta::zero(),
        }
    }

    /// The same as an administrator of these people.
    pub(crate) fn administering(
        mut self,
        wards: Arc<[Arc<People>]>,
        proof_within: TimeDelta,
    ) -> Self {
        self.wards = wards;
        self.proof_within = proof_within;
        self
    }

    pub(super) fn draw(&self, below: usize) -> usize {
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        usize::try_from(u32::from_le_bytes(bytes)).unwrap_or_default() % below.max(1)
    }

    pub(super) fn now(&self) -> Moment {
        self.clock.moment()
    }

    /// Sends once, and notes it.
    pub(super) async fn send(&self, user: &User, op: Op, secrets: Secrets<'_>) -> Answer {
        let changes = matches!(op, Op::Delete { .. });
        let event: Event = self.api.send(self.number, op, secrets).await;
        self.count(&event);
        let answer = event.answer.clone();
        let mut known = user.known();
        if changes && answer.may_be_done() {
            known.leaving = true;
        }
        known.events.push(event);
        answer
    }

    /// Counts a request and its answer.
    pub(super) fn count(&self, event: &Event) {
        let column = match &event.answer {
            Answer::Refused(status, code) => format!("{status} {code}"),
            Answer::Unavailable => "503".to_owned(),
            Answer::Wrong(_) => "wrong".to_owned(),
            _ => "right".to_owned(),
        };
        *lock(&self.tally.answers)
            .entry((event.op.name(), column))
            .or_default() += 1;
        let count = |counter: &std::sync::atomic::AtomicU64| {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        };
        count(&self.tally.requests);
        if matches!(event.answer, Answer::Unavailable) {
            count(&self.tally.unavailable);
        }
    }

    /// Sends until there is a definite answer.
    async fn ask(&self, user: &User, op: Op, secrets: Secrets<'_>) -> Answer {
        for _ in 0..ATTEMPTS {
            let answer = self.send(user, op.clone(), secrets).await;
            if !matches!(answer, Answer::Unavailable) {
                return answer;
            }
            self.wait().await;
        }
        self.give_up();
        Answer::Unavailable
    }

    pub(super) async fn wait(&self) {
        self.tally
            .retries
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tokio::time::sleep(RETRY_AFTER).await;
    }

    pub(super) fn give_up(&self) {
        self.tally
            .given_up
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Does something that a person would.
    pub(crate) async fn act(&mut self) {
        self.think().await;
        if self.jar.as_ref().is_some_and(|jar| jar.is_signed_out()) {
            self.jar = None;
        }
        if !self.wards.is_empty() {
            return self.administer().await;
        }
        let Some(jar) = self.jar.clone() else {
            self.sign_in().await;
            return;
        };
        let tokens = jar.tokens();
        if self.now() >= tokens.access_expires && self.draw(8) > 0 {
            self.refresh_in_tabs(&jar).await;
            return;
        }
        match self.draw(100) {
            0..33 => self.refresh_in_tabs(&jar).await,
            33..51 => self.look_in_tabs(&jar).await,
            51..58 => self.rename(&jar).await,
            58..66 => self.revoke(&jar).await,
            66..72 => self.log_out(&jar).await,
            72..75 => self.revoke_all(&jar).await,
            75..77 => self.change_password(&jar).await,
            77..80 => drop(self.as_caller(&jar, Op::Purge).await),
            80..83 => self.replay(&jar).await,
            83..87 => self.leave_behind(&jar).await,
            87..93 => drop(self.step_up(&jar).await),
            93..95 => self.guess_on_session(&jar).await,
            95..98 => self.guess(&jar.user).await,
            98 if self.draw(3) == 0 => self.delete(&jar).await,
            _ => {}
        }
    }

    /// Takes as long as a person does.
    pub(super) async fn think(&self) {
        let thought = u64::try_from(self.draw(LONGEST_THOUGHT)).unwrap_or_default();
        tokio::time::sleep(Duration::from_millis(thought)).await;
    }

    /// What a client does in the last round, without faults: it refreshes and looks.
    pub(crate) async fn finish(&mut self) {
        let jar = self.jar.clone().filter(|jar| !jar.is_signed_out());
        if let Some(jar) = jar {
            self.refresh_in_tabs(&jar).await;
        }
        let jar = self.jar.clone().filter(|jar| !jar.is_signed_out());
        if let Some(jar) = jar {
            drop(self.as_caller(&jar, Op::List).await);
            drop(self.as_caller(&jar, Op::Current).await);
            drop(self.as_caller(&jar, Op::Me).await);
        }
    }

    fn begin(&mut self, user: Arc<User>, tokens: Box<Tokens>) {
        if let Some(token) = &tokens.device_token {
            self.device = Some((user.email.clone(), token.clone()));
        }
        {
            let mut known = user.known();
            known.user = Some(tokens.user);
            known.sessions.push(tokens.session.id);
        }
        self.jar = Some(Arc::new(Jar {
            user,
            newest: Mutex::new(tokens),
            replaced: Mutex::default(),
            signed_out: std::sync::atomic::AtomicBool::new(false),
        }));
    }

    /// Its device token, if it has one of the address.
    fn device_of(&self, user: &User) -> (Option<String>, Guesser) {
        let device = self
            .device
            .as_ref()
            .filter(|(email, _)| *email == user.email);
        match device {
            Some((_, token)) => (Some(token.clone()), Guesser::KnownDevice),
            None => (None, Guesser::NewDevice),
        }
    }

    pub(super) async fn sign_in(&mut self) {
        let user = self.people.user();
        if !user.known().registered && self.register(&user).await {
            return;
        }
        let mut tried = Vec::new();
        for _ in 0..8 {
            let next = {
                let known = user.known();
                let mut passwords = known.passwords.iter();
                passwords.find(|one| !tried.contains(*one)).cloned()
            };
            let Some(password) = next else {
                return;
            };
            tried.push(password.clone());
            let (device_token, guesser) = self.device_of(&user);
            let secrets = Secrets {
                email: &user.email,
                device_token: device_token.as_deref(),
                ..Secrets::default()
            };
            let sign_in = Op::SignIn { password, guesser };
            match self.ask(&user, sign_in, secrets).await {
                Answer::Tokens(tokens) => return self.begin(user, tokens),
                Answer::Refused(401, _) => {}
                // The account is closed, or it has to wait.
                _ => return,
            }
        }
    }

    /// A stranger guesses at the password, of somebody who has no other clients that the wait could meet.
    async fn guess(&self, user: &User) {
        if self.people.clients > 1 {
            return;
        }
        let secrets = Secrets {
            email: &user.email,
            ..Secrets::default()
        };
        let guess = |number: usize| Op::SignIn {
            password: format!("a stranger's guess {number}"),
            guesser: Guesser::Stranger,
        };
        join_all((0..GUESSES).map(|number| self.send(user, guess(number), secrets))).await;
    }

    /// One client registers, the others of the same people wait for it. Returns whether this one is signed in.
    async fn register(&mut self, user: &Arc<User>) -> bool {
        let people = Arc::clone(&self.people);
        let _first = people.registering.lock().await;
        let password = {
            let known = user.known();
            match known.passwords.last().cloned() {
                Some(password) if !known.registered => password,
                _ => return false,
            }
        };
        let secrets = Secrets {
            email: &user.email,
            ..Secrets::default()
        };
        let answer = self.ask(user, Op::Register { password }, secrets).await;
        user.known().registered = !matches!(answer, Answer::Unavailable);
        let Answer::Tokens(tokens) = answer else {
            return false; // Taken: an earlier attempt had been carried out.
        };
        self.begin(Arc::clone(user), tokens);
        true
    }

    /// Several tabs notice at once that the access token is about to expire.
    pub(super) async fn refresh_in_tabs(&mut self, jar: &Arc<Jar>) {
        let tabs = 1 + self.draw(4);
        join_all((0..tabs).map(|_| self.refresh(jar))).await;
    }

    async fn refresh(&self, jar: &Jar) {
        for _ in 0..ATTEMPTS {
            let tokens = jar.tokens();
            let op = Op::Refresh {
                session: tokens.session.id,
                rotation: tokens.rotation,
                expires: tokens.refresh_expires,
            };
            let secrets = Secrets {
                refresh_token: &tokens.refresh_token,
                ..Secrets::default()
            };
            match self.send(&jar.user, op, secrets).await {
                Answer::Tokens(newer) => return jar.keep(newer),
                Answer::Unavailable => self.wait().await,
                _ => return jar.sign_out(),
            }
            if jar.is_signed_out() || jar.tokens().rotation > tokens.rotation {
                return; // Another tab has done it.
            }
        }
        self.give_up();
    }

    /// Asks for something with the access token. Signs out if the session has ended.
    pub(super) async fn as_caller(&self, jar: &Jar, op: impl FnOnce(Access) -> Op) -> Answer {
        let tokens = jar.tokens();
        let secrets = Secrets {
            access_token: &tokens.access_token,
            ..Secrets::default()
        };
        let answer = self.ask(&jar.user, op(access(&tokens)), secrets).await;
        if answer.is_code("invalid_token") && self.now() < tokens.access_expires {
            jar.sign_out();
        }
        answer
    }

    async fn look_in_tabs(&mut self, jar: &Arc<Jar>) {
        let tabs = 1 + self.draw(3);
        let looks: Vec<usize> = (0..tabs).map(|_| self.draw(4)).collect();
        let look = |which: usize| {
            self.as_caller(
                jar,
                [Op::List, Op::List, Op::Current, Op::Me]
                    .get(which)
                    .copied()
                    .unwrap_or(Op::List),
            )
        };
        join_all(looks.into_iter().map(look)).await;
    }

    /// A session of the same user: now and then one's own.
    fn some_session(&self, jar: &Jar) -> SessionId {
        let own = jar.tokens().session.id;
        let known = jar.user.known();
        let which = self.draw(known.sessions.len());
        known.sessions.get(which).copied().unwrap_or(own)
    }

    /// The cookies are cleared, and the session stays behind. Somebody with many devices signs in on more of them.
    async fn leave_behind(&mut self, jar: &Arc<Jar>) {
        self.jar = None;
        let password = jar.user.known().passwords.first().cloned();
        let Some(password) = password.filter(|_| self.people.clients >= MANY_CLIENTS) else {
            return;
        };
        let secrets = Secrets {
            email: &jar.user.email,
            ..Secrets::default()
        };
        let sign_in = || Op::SignIn {
            password: password.clone(),
            guesser: Guesser::NewDevice,
        };
        join_all((0..MORE_DEVICES).map(|_| self.send(&jar.user, sign_in(), secrets))).await;
    }

    async fn rename(&self, jar: &Jar) {
        let target = self.some_session(jar);
        let name = format!("name {}", self.draw(1_000_000));
        let rename = |by| Op::Rename { by, target, name };
        self.as_caller(jar, rename).await;
    }

    fn forget(jar: &Jar, session: SessionId) {
        jar.user.known().sessions.retain(|one| *one != session);
    }

    async fn revoke(&self, jar: &Jar) {
        let target = self.some_session(jar);
        let answer = self.as_caller(jar, |by| Op::Revoke { by, target }).await;
        if matches!(answer, Answer::Nothing | Answer::Refused(404, _)) {
            Self::forget(jar, target);
        }
    }

    async fn log_out(&self, jar: &Jar) {
        let tokens = jar.tokens();
        let session = tokens.session.id;
        let secrets = Secrets {
            refresh_token: &tokens.refresh_token,
            ..Secrets::default()
        };
        self.ask(&jar.user, Op::LogOut { session }, secrets).await;
        Self::forget(jar, session);
        self.try_what_has_ended(jar).await;
    }

    /// Whoever still has the tokens of an ended session gets nowhere with them.
    async fn try_what_has_ended(&self, jar: &Jar) {
        self.refresh(jar).await;
        self.as_caller(jar, Op::Current).await;
        jar.sign_out();
    }

    async fn revoke_all(&self, jar: &Jar) {
        let keep = self.draw(2) == 0;
        let own = jar.tokens().session.id;
        let answer = self.as_caller(jar, |by| Op::RevokeAll { by, keep }).await;
        if matches!(answer, Answer::Count(_)) {
            jar.user.known().sessions.retain(|one| keep && *one == own);
            if !keep {
                self.try_what_has_ended(jar).await;
            }
        }
    }

    async fn change_password(&mut self, jar: &Arc<Jar>) {
        let user = Arc::clone(&jar.user);
        let new = format!(
            "password {} of client {}",
            self.draw(1_000_000),
            self.number
        );
        let old = {
            let mut known = user.known();
            let Some(old) = known.passwords.first().cloned() else {
                return;
            };
            known.passwords.insert(0, new.clone());
            old
        };
        // Somebody signs in with the old one at the same moment.
        let secrets = Secrets {
            email: &user.email,
            ..Secrets::default()
        };
        let sign_in = || Op::SignIn {
            password: old.clone(),
            guesser: Guesser::NewDevice,
        };
        let beside = join_all((0..2).map(|_| self.send(&user, sign_in(), secrets)));
        let old = old.clone();
        let change = |by| Op::ChangePassword { by, old, new };
        let (answer, _) = tokio::join!(self.as_caller(jar, change), beside);
        if let Answer::Tokens(tokens) = answer {
            jar.sign_out();
            self.begin(user, tokens);
        }
    }

    async fn replay(&self, jar: &Jar) {
        let stolen = {
            let replaced = lock(&jar.replaced);
            replaced.get(self.draw(replaced.len())).cloned()
        };
        let Some(stolen) = stolen else {
            return;
        };
        let op = Op::Refresh {
            session: stolen.session.id,
            rotation: stolen.rotation,
            expires: stolen.refresh_expires,
        };
        let secrets = Secrets {
            refresh_token: &stolen.refresh_token,
            ..Secrets::default()
        };
        self.ask(&jar.user, op, secrets).await;
    }
}
