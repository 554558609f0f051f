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

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use cleanup::Budget;
use dynoxide::storage_backend::ManualClock as EngineClock;
use http::Method;
use latchkey_api::cors::AllowedOrigins;
use latchkey_domain::account::{AccountStatus, Change};
use latchkey_domain::cause::Action;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::token::{Scope, Token};
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::dynamodb::EmbeddedDynamoDb;
use latchkey_tests::harness::events::Stream;
use latchkey_tests::harness::reply::Reply;
use latchkey_tests::harness::stack::{Stack, without_limits};
use latchkey_tests::proof::model::{
    AccessToken, Answer, Cleaned, Model, Outcome, RefreshToken, Rules, Session, Shown, SignIn,
    Status, seconds,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use serde_json::{Value, json};

use crate::routes::cleanup::begin_deletion;

/// How many sequences a normal run tries.
const CASES: u32 = 24;

const EMAILS: [&str; 3] = ["ada@example.com", "bob@example.com", "cyd@example.com"];
const PASSWORDS: [&str; 3] = [
    "correct horse battery staple",
    "wrong donkey charger paperclip",
    "fair weather umbrella stand",
];
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// A session, by its place among those that were ever begun, counted from the newest, round and round.
#[derive(Clone, Copy, Debug)]
enum Pick {
    Live(usize),
    Ended(usize),
    /// Nobody's.
    Unknown,
}

/// What the bearer of a token names in a path.
#[derive(Clone, Copy, Debug)]
enum Target {
    Any(Pick),
    /// One of their own that was ended before its time: a mistake in a check lets just these through.
    OwnEnded(usize),
    /// One of their own that has expired and still is in the account's set.
    OwnExpired(usize),
}

/// A token of a session, so many before its newest.
#[derive(Clone, Copy, Debug)]
struct Held {
    of: Pick,
    before_newest: usize,
}

#[derive(Clone, Copy, Debug)]
enum Moment {
    GraceOver,
    /// The newest refresh token is old enough to be replaced.
    Due,
    Idle,
    Absolute,
    AccessToken,
    Removal,
}

/// A password: the right one, or one of the others.
#[derive(Clone, Copy, Debug)]
enum Guess {
    Right,
    Wrong(usize),
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Register(usize, usize),
    SignIn(usize, Guess),
    Refresh(Held),
    /// The newest token of a live session, so many milliseconds after (before, if negative) it may be replaced.
    RefreshDue(Pick, i64),
    /// A replaced token of a live session that has one, so many milliseconds after (before, if negative) its grace is
    /// over.
    RefreshLate(Held, i64),
    /// Until so many milliseconds after (before, if negative) a session ends, while another one of its user is refreshed:
    /// somebody is there to see it.
    Outlive(Pick, i64),
    LogOut(Held),
    List(Held),
    Current(Held),
    Me(Held),
    Rename(Held, Target, Option<usize>),
    Revoke(Held, Target),
    RevokeAll(Held, Option<bool>),
    Purge(Held),
    ChangePassword(Held, Guess, usize),
    DeleteAccount(Held, Guess),
    Reauthenticate(Held, Guess),
    /// The transaction of a deletion, and then nothing, as if the function had been stopped.
    InterruptedDeletion(Held),
    SetDisabled(usize, bool),
    CleanUp,
    SweepTtl,
    Wait(i64),
    /// Until so many milliseconds after (before, if negative) something of a session happens.
    WaitUntil(Moment, Pick, i64),
}

fn rules() -> impl Strategy<Value = Rules> {
    const SECOND: i64 = 1000;
    const HOUR: i64 = 3600 * SECOND;
    const DAY: i64 = 24 * HOUR;
    let access = select(vec![15 * 60 * SECOND, 20 * SECOND, 60 * DAY]);
    let lifetimes = select(vec![
        (7 * DAY, 10 * DAY),
        (HOUR, 90 * 60 * SECOND),
        (45 * SECOND, 70 * SECOND),
        (DAY, 6 * HOUR),
    ]);
    let grace = select(vec![30 * SECOND, 30 * SECOND, 0]);
    let retention = select(vec![DAY, HOUR, 0]);
    (1..=3_usize, access, lifetimes, grace, retention).prop_map(
        |(limit, access, (idle, absolute), grace, retention)| Rules {
            access,
            idle,
            absolute,
            grace,
            retention,
            limit,
        },
    )
}

fn pick() -> impl Strategy<Value = Pick> {
    prop_oneof![
        12 => (0..6_usize).prop_map(Pick::Live),
        4 => (0..12_usize).prop_map(Pick::Ended),
        1 => Just(Pick::Unknown),
    ]
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![
        4 => pick().prop_map(Target::Any),
        6 => (0..6_usize).prop_map(Target::OwnEnded),
        3 => (0..3_usize).prop_map(Target::OwnExpired),
    ]
}

fn held(older: bool) -> impl Strategy<Value = Held> {
    let before_newest = if older {
        prop_oneof![6 => Just(0_usize), 5 => Just(1), 3 => 2..5_usize].boxed()
    } else {
        prop_oneof![9 => Just(0_usize), 1 => 1..3_usize].boxed()
    };
    (pick(), before_newest).prop_map(|(of, before_newest)| Held { of, before_newest })
}

fn guess() -> impl Strategy<Value = Guess> {
    prop_oneof![4 => Just(Guess::Right), 1 => (0..2_usize).prop_map(Guess::Wrong)]
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    let who = || 0..EMAILS.len();
    let password = || 0..PASSWORDS.len();
    let moment = select(vec![
        Moment::GraceOver,
        Moment::GraceOver,
        Moment::Due,
        Moment::Idle,
        Moment::Absolute,
        Moment::AccessToken,
        Moment::Removal,
    ]);
    let millis = prop_oneof![
        4 => 1..2_000_i64,
        3 => 2_000..40_000_i64,
        2 => 40_000..4_000_000_i64,
        1 => 4_000_000..400_000_000_i64,
    ];
    prop_oneof![
        4 => (who(), password()).prop_map(|(who, password)| Register(who, password)),
        14 => (who(), guess()).prop_map(|(who, guess)| SignIn(who, guess)),
        22 => held(true).prop_map(Refresh),
        12 => (pick(), prop_oneof![1 => Just(-1_i64), 3 => 0..=1_i64])
            .prop_map(|(of, off)| RefreshDue(of, off)),
        9 => (pick(), 1..3_usize, -1..=1_i64).prop_map(|(of, before_newest, off)| {
            RefreshLate(Held { of, before_newest }, off)
        }),
        4 => held(true).prop_map(LogOut),
        3 => held(false).prop_map(List),
        3 => held(false).prop_map(Current),
        3 => held(false).prop_map(Me),
        16 => (held(false), target(), proptest::option::of(0..9_usize))
            .prop_map(|(by, of, name)| Rename(by, of, name)),
        10 => (held(false), target()).prop_map(|(by, of)| Revoke(by, of)),
        3 => (held(false), proptest::option::of(any::<bool>()))
            .prop_map(|(by, keep)| RevokeAll(by, keep)),
        4 => held(false).prop_map(Purge),
        3 => (held(false), guess(), password())
            .prop_map(|(by, guess, new)| ChangePassword(by, guess, new)),
        2 => (held(false), guess()).prop_map(|(by, guess)| DeleteAccount(by, guess)),
        6 => (held(false), guess()).prop_map(|(by, guess)| Reauthenticate(by, guess)),
        1 => held(false).prop_map(InterruptedDeletion),
        3 => (who(), prop_oneof![2 => Just(true), 3 => Just(false)])
            .prop_map(|(who, disabled)| SetDisabled(who, disabled)),
        4 => Just(CleanUp),
        3 => Just(SweepTtl),
        8 => millis.prop_map(Wait),
        14 => (moment, pick(), -1..=1_i64)
            .prop_map(|(moment, of, off)| WaitUntil(moment, of, off)),
        6 => (pick(), -1..=1_i64).prop_map(|(of, off)| Outlive(of, off)),
    ]
}

/// The rules, the part of a second that the day begins with, and the steps: two users are there at first.
fn case() -> impl Strategy<Value = (Rules, i64, Vec<Step>)> {
    let steps = proptest::collection::vec(step(), 30..=60).prop_map(|steps| {
        let first = [Step::Register(0, 0), Step::Register(1, 0)];
        first.into_iter().chain(steps).collect()
    });
    (rules(), 0..1000_i64, steps)
}

/// The service, the model, and every token that was ever issued.
struct Machine {
    stack: Stack,
    engine_clock: EngineClock,
    model: Model,
    begun: Vec<SessionId>,
    access: Vec<(String, AccessToken)>,
    refresh: Vec<(String, RefreshToken)>,
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
            ..without_limits()
        };
        let engine_clock = EngineClock::new(0);
        let dynamodb = EmbeddedDynamoDb::start_at(&engine_clock);
        let stack = Stack::on(dynamodb, policy, &AllowedOrigins::None).await;
        let model = Model {
            rules,
            now: stack.now().timestamp_millis(),
            accounts: Default::default(),
            sessions: Default::default(),
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

    /// The session that is meant, if there is one.
    fn pick(&self, pick: Pick) -> Option<SessionId> {
        let (live, place) = match pick {
            Pick::Live(place) => (true, place),
            Pick::Ended(place) => (false, place),
            Pick::Unknown => return None,
        };
        let is_live = |id: &SessionId| {
            let session = self.model.sessions.get(id);
            session.is_some_and(|session| self.model.is_live(session))
        };
        let mut among = self.begun.clone();
        among.retain(|id| is_live(id) == live);
        among.reverse();
        among.get(place % among.len().max(1)).copied()
    }

    /// The session that the bearer of a token means, if there is one.
    fn target(&self, target: Target, by: &AccessToken) -> Option<SessionId> {
        let (place, expired) = match target {
            Target::Any(pick) => return self.pick(pick),
            Target::OwnEnded(place) => (place, false),
            Target::OwnExpired(place) => (place, true),
        };
        let account = self.model.accounts.get(&by.sub)?;
        let mut own: Vec<_> = self.model.sessions.values().collect();
        own.retain(|session| {
            let is_expired = self.model.now >= session.end();
            let is_admitted = account.admitted.contains(&session.id);
            session.user == by.sub && is_expired == expired && is_admitted == expired
        });
        own.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        own.get(place % own.len().max(1)).map(|session| session.id)
    }

    /// Somebody who is signed in and has such a session.
    fn caller_with(&self, target: Target) -> Option<Held> {
        let callers = (0..self.begun.len()).map(|place| Held {
            of: Pick::Live(place),
            before_newest: 0,
        });
        let mut able = callers.filter(|held| {
            let token = self.held_access(*held).map(|(_, claims)| claims);
            token.is_some_and(|by| {
                seconds(self.model.now) < by.exp && self.target(target, &by).is_some()
            })
        });
        match target {
            Target::Any(_) => None,
            Target::OwnEnded(_) | Target::OwnExpired(_) => able.next(),
        }
    }

    fn held_access(&self, held: Held) -> Option<(String, AccessToken)> {
        let session = self.pick(held.of)?;
        let mut tokens = self.access.clone();
        tokens.retain(|(_, claims)| claims.sid == session);
        tokens.reverse();
        tokens.get(held.before_newest % tokens.len()).cloned()
    }

    fn held_refresh(&self, held: Held) -> Option<(String, RefreshToken)> {
        let session = self.pick(held.of)?;
        let mut tokens = self.refresh.clone();
        tokens.retain(|(_, claims)| claims.sid == session);
        tokens.sort_by_key(|(_, claims)| std::cmp::Reverse(claims.rotation));
        tokens.dedup_by_key(|(_, claims)| claims.rotation);
        tokens.get(held.before_newest % tokens.len()).cloned()
    }

    fn guessed(&self, right: Option<&str>, guess: Guess) -> &'static str {
        let mut passwords = PASSWORDS.to_vec();
        let right = right.unwrap_or(PASSWORDS[0]);
        let (right, wrong) = {
            let place = passwords.iter().position(|one| *one == right).unwrap_or(0);
            (passwords.remove(place), passwords)
        };
        match guess {
            Guess::Right => right,
            Guess::Wrong(place) => wrong[place % wrong.len()],
        }
    }

    fn guessed_by(&self, token: &AccessToken, guess: Guess) -> &'static str {
        let account = self.model.accounts.get(&token.sub);
        self.guessed(account.map(|account| account.password.as_str()), guess)
    }

    /// Where the requests of this step come from: nowhere else.
    fn address(&self) -> String {
        format!("198.51.100.{}", self.steps)
    }

    fn device_name(&self) -> String {
        format!("device {}", self.steps)
    }

    async fn send(&self, call: Call<'_>) -> Reply {
        call.from_address(self.address().parse().unwrap())
            .send()
            .await
    }

    /// What the service drew for a new session, as its reply tells. Never what was there before.
    fn drawn(&self, reply: &Reply) -> Result<SignIn, TestCaseError> {
        let text = |value: &Value| value.as_str().unwrap_or(NOBODY).to_owned();
        let sign_in = SignIn {
            user: text(&reply.body["user"]["id"]).parse().unwrap(),
            session: text(&reply.body["session"]["id"]).parse().unwrap(),
            device_name: self.device_name(),
            ip_address: self.address(),
        };
        prop_assert!(!self.begun.contains(&sign_in.session), "an id came again");
        Ok(sign_in)
    }

    /// Holds a reply against what the model says, and keeps its tokens.
    fn judge(&mut self, expected: Outcome, reply: &Reply) -> Verdict {
        prop_assert_eq!(&expected, &observed(reply));
        if let Ok(Answer::Tokens {
            access, refresh, ..
        }) = expected
        {
            if !self.begun.contains(&access.sid) {
                self.begun.push(access.sid);
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            self.access
                .push((text(&reply.body["access_token"]), access));
            self.refresh
                .push((text(&reply.body["refresh_token"]), refresh));
        }
        Ok(())
    }

    async fn run(&mut self, step: Step) -> Verdict {
        self.steps += 1;
        match step {
            Step::Register(who, password) => {
                let (email, password) = (EMAILS[who], PASSWORDS[password]);
                let reply = self.enter("register", email, password).await;
                let drawn = self.drawn(&reply)?;
                let expected = self.model.register(email, password, &drawn);
                self.judge(expected, &reply)
            }
            Step::SignIn(who, guess) => {
                let email = EMAILS[who];
                let account = self.model.account_of(email);
                let right = account.map(|(_, account)| account.password.as_str());
                let password = self.guessed(right, guess);
                let reply = self.enter("login", email, password).await;
                let drawn = self.drawn(&reply)?;
                let expected = self.model.sign_in(email, password, &drawn);
                self.judge(expected, &reply)
            }
            Step::Refresh(held) => self.refresh(held).await,
            Step::RefreshDue(of, off) => self.refresh_due(of, off).await,
            Step::RefreshLate(held, off) => self.refresh_late(held, off).await,
            Step::Outlive(of, off) => self.outlive(of, off).await,
            Step::LogOut(held) => match self.held_refresh(held) {
                Some((token, claims)) => {
                    let body = json!({"refresh_token": token});
                    let call = self.stack.post("/v1/auth/logout").json(&body);
                    let reply = self.send(call).await;
                    let expected = Ok(self.model.log_out(&claims));
                    self.judge(expected, &reply)
                }
                None => Ok(()),
            },
            Step::Rename(by, target, _) | Step::Revoke(by, target) => {
                let by = self.caller_with(target).unwrap_or(by);
                match self.held_access(by) {
                    Some((token, claims)) => self.run_as(step, &token, claims).await,
                    None => Ok(()),
                }
            }
            Step::List(by)
            | Step::Current(by)
            | Step::Me(by)
            | Step::RevokeAll(by, _)
            | Step::Purge(by)
            | Step::ChangePassword(by, ..)
            | Step::DeleteAccount(by, _)
            | Step::Reauthenticate(by, _)
            | Step::InterruptedDeletion(by) => match self.held_access(by) {
                Some((token, claims)) => self.run_as(step, &token, claims).await,
                None => Ok(()),
            },
            Step::SetDisabled(who, disabled) => self.set_disabled(who, disabled).await,
            Step::CleanUp => self.clean_up().await,
            Step::SweepTtl => {
                let removed = self.stack.dynamodb.database.sweep_ttl().unwrap();
                prop_assert_eq!(self.model.sweep_ttl(), removed);
                Ok(())
            }
            Step::Wait(millis) => {
                self.wait(millis);
                Ok(())
            }
            Step::WaitUntil(moment, of, off) => {
                self.wait_until(moment, of, off);
                Ok(())
            }
        }
    }

    /// What the bearer of an access token does.
    async fn run_as(&mut self, step: Step, token: &str, by: AccessToken) -> Verdict {
        let target = |machine: &Self, of| {
            let found = machine.target(of, &by);
            found.unwrap_or(NOBODY.parse().unwrap())
        };
        let stack = &self.stack;
        let (call, expected) = match step {
            Step::List(_) => (stack.get("/v1/sessions"), self.model.list(&by)),
            Step::Current(_) => (stack.get("/v1/sessions/current"), self.model.current(&by)),
            Step::Me(_) => (stack.get("/v1/me"), self.model.me(&by)),
            Step::Rename(_, of, name) => {
                let id = target(self, of);
                let name = name.map(|name| format!("name {name}"));
                let call = stack.request(Method::PATCH, &format!("/v1/sessions/{id}"));
                let expected = self.model.rename(&by, id, name.as_deref());
                (call.json(&json!({"name": name})), expected)
            }
            Step::Revoke(_, of) => {
                let id = target(self, of);
                let call = stack.delete(&format!("/v1/sessions/{id}"));
                (call, self.model.revoke(&by, id))
            }
            Step::RevokeAll(_, keep) => {
                let query = keep.map_or(String::new(), |keep| format!("?keep_current={keep}"));
                let call = stack.post(&format!("/v1/sessions/revoke-all{query}"));
                (call, self.model.revoke_all(&by, keep.unwrap_or(true)))
            }
            Step::Purge(_) => (stack.delete("/v1/sessions/expired"), self.model.purge(&by)),
            Step::DeleteAccount(_, guess) => {
                let password = self.guessed_by(&by, guess);
                let call = stack.post("/v1/me/delete");
                let expected = self.model.delete_account(&by, password);
                (call.json(&json!({"password": password})), expected)
            }
            Step::Reauthenticate(_, guess) => {
                let password = self.guessed_by(&by, guess);
                let call = stack.post("/v1/auth/reauthenticate");
                let address = self.address();
                let expected = self.model.reauthenticate(&by, password, &address);
                (call.json(&json!({"password": password})), expected)
            }
            Step::ChangePassword(_, guess, new) => {
                let (old, new) = (self.guessed_by(&by, guess), PASSWORDS[new]);
                let body = json!({"current_password": old, "new_password": new});
                let call = stack.request(Method::PUT, "/v1/me/password").json(&body);
                let reply = self.send(call.bearer(token)).await;
                let drawn = self.drawn(&reply)?;
                let expected = self.model.change_password(&by, (old, new), &drawn);
                return self.judge(expected, &reply);
            }
            Step::InterruptedDeletion(_) => return self.delete_half(&by).await,
            _ => unreachable!("nobody does that with an access token"),
        };
        let reply = self.send(call.bearer(token)).await;
        self.judge(expected, &reply)
    }

    async fn refresh(&mut self, held: Held) -> Verdict {
        let Some((token, claims)) = self.held_refresh(held) else {
            return Ok(());
        };
        let body = json!({"refresh_token": token});
        let call = self.stack.post("/v1/auth/refresh").json(&body);
        let reply = self.send(call).await;
        let expected = self.model.refresh(&claims, &self.address());
        self.judge(expected, &reply)
    }

    async fn refresh_due(&mut self, of: Pick, off: i64) -> Verdict {
        let chosen = self.pick(of);
        self.wait_until(Moment::Due, of, off);
        let before_newest = 0;
        match chosen == self.pick(of) {
            true => self.refresh(Held { of, before_newest }).await,
            false => Ok(()), // It has ended by then, so the place means another.
        }
    }

    /// The session is one that can be too late, if there is one: live, rotated, and not over before the grace is.
    async fn refresh_late(&mut self, mut held: Held, off: i64) -> Verdict {
        if let Pick::Live(place) = held.of {
            let grace_over = |session: &Session| session.rotated_at + self.model.rules.grace;
            let mut places = (0..self.begun.len()).map(Pick::Live).collect::<Vec<_>>();
            places.retain(|pick| {
                let session = self.pick(*pick).and_then(|id| self.model.sessions.get(&id));
                session.is_some_and(|session| {
                    let end = grace_over(session).max(self.model.now) + off;
                    session.rotation > 0 && self.model.is_live(session) && end < session.end()
                })
            });
            if let Some(found) = places.get(place % places.len().max(1)) {
                held.of = *found;
            }
        }
        let chosen = self.pick(held.of);
        self.wait_until(Moment::GraceOver, held.of, off);
        match chosen == self.pick(held.of) {
            true => self.refresh(held).await,
            false => Ok(()), // It has ended by then, so the place means another.
        }
    }

    async fn outlive(&mut self, of: Pick, off: i64) -> Verdict {
        let session = self.pick(of).and_then(|id| self.model.sessions.get(&id));
        let Some((id, user, end)) = session.map(|one| (one.id, one.user, one.end())) else {
            return Ok(());
        };
        self.wait((end - 1 - self.model.now).max(0));
        let others = self.model.live(user);
        if let Some(other) = others.iter().find(|other| other.id != id) {
            let place = self.place_among_live(other.id);
            let of = Pick::Live(place);
            let before_newest = 0;
            self.refresh(Held { of, before_newest }).await?;
        }
        self.wait((end + off - self.model.now).max(0));
        Ok(())
    }

    /// Where a live session stands among them, from the newest.
    fn place_among_live(&self, id: SessionId) -> usize {
        let live = |id: &&SessionId| {
            let session = self.model.sessions.get(*id);
            session.is_some_and(|session| self.model.is_live(session))
        };
        let mut newest_first = self.begun.iter().rev().filter(live);
        newest_first.position(|one| *one == id).unwrap_or(0)
    }

    async fn enter(&self, route: &str, email: &str, password: &str) -> Reply {
        let body = json!({"email": email, "password": password, "device_name": self.device_name()});
        let call = self.stack.post(&format!("/v1/auth/{route}")).json(&body);
        self.send(call).await
    }

    async fn delete_half(&mut self, by: &AccessToken) -> Verdict {
        let Some(account) = self.model.accounts.get(&by.sub) else {
            return Ok(());
        };
        if self.model.me(by).is_ok() {
            begin_deletion(&self.stack, &account.email, by.sub, by.sid).await;
            self.model.empty(by.sub);
        }
        Ok(())
    }

    /// What an administrator will do, by the way that every change of who is signed in goes.
    async fn set_disabled(&mut self, who: usize, disabled: bool) -> Verdict {
        let Some((user, _)) = self.model.account_of(EMAILS[who]) else {
            return Ok(());
        };
        let change = |mut account: latchkey_domain::account::Account| {
            if disabled {
                return account.disable();
            }
            if let AccountStatus::Disabled { email } = account.status {
                account.status = AccountStatus::Active { email };
            }
            Change {
                account,
                ended: Vec::new(),
                always_write: true,
            }
        };
        let changed = self.stack.change_account(user, Action::Disable, change);
        changed.await;
        self.model.set_disabled(user, disabled);
        Ok(())
    }

    async fn clean_up(&mut self) -> Verdict {
        let budget = Budget::until(self.stack.now() + TimeDelta::minutes(10));
        let clock = self.stack.core.clock.as_ref();
        let report = cleanup::run(&self.stack.cleanup_store, clock, budget).await;
        let report = report.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let seen = Cleaned {
            accounts: report.accounts,
            live: report.sessions_live,
            not_live: report.sessions_not_live,
            expired: report.removed_expired,
            orphaned: report.removed_orphaned,
            of_deleted_users: report.removed_of_deleted_users,
        };
        prop_assert_eq!(self.model.clean_up(), seen);
        prop_assert_eq!(
            (report.broken, report.not_due, report.complete),
            (0, 0, true)
        );
        Ok(())
    }

    /// Waits, if the moment is to come.
    fn wait_until(&mut self, moment: Moment, of: Pick, off: i64) {
        let session = self.pick(of).and_then(|id| self.model.sessions.get(&id));
        let Some(session) = session else { return };
        let newest = self.access.iter().rev();
        let newest = newest.map(|(_, claims)| claims);
        let moment = match moment {
            Moment::GraceOver => session.rotated_at + self.model.rules.grace,
            Moment::Due => session.rotated_at + self.model.rules.interval(),
            Moment::Idle => session.idle_end,
            Moment::Absolute => session.absolute_end,
            Moment::AccessToken => {
                let mut own = newest.filter(|claims| claims.sid == session.id);
                own.next().map_or(0, |claims| claims.exp * 1000)
            }
            Moment::Removal => self.model.delete_after(session),
        };
        self.wait((moment + off - self.model.now).max(0));
    }

    /// Rebuilds from the events who is signed in, and holds that against the model.
    async fn listen(&mut self) -> Verdict {
        self.stream.drain().await;
        for event in self.stream.bus.take() {
            let sessions = self.heard.entry(parsed(&event["subject"])).or_default();
            let session = &event["data"]["session_id"];
            let fits = match event["type"].as_str() {
                Some("session.created") => sessions.insert(parsed(session)),
                Some("session.ended") => sessions.remove(&parsed(session)),
                Some("user.deleted") => sessions.is_empty(),
                _ => true,
            };
            prop_assert!(fits, "{} of {:?}", event, sessions);
        }
        for (user, heard) in &self.heard {
            let account = self.model.accounts.get(user);
            let active = account.filter(|account| account.status == Status::Active);
            let admitted = active.map(|account| account.admitted.clone());
            prop_assert_eq!(
                heard,
                &admitted.unwrap_or_default(),
                "the events of {}",
                user
            );
            // Whoever hears them knows the time too.
            let over = |id: &&SessionId| {
                let session = self.model.sessions.get(*id);
                session.is_none_or(|session| self.model.now >= session.end())
            };
            let live = heard.iter().filter(|id| !over(id)).copied();
            let expected = self.model.live(*user).into_iter().map(|session| session.id);
            prop_assert_eq!(
                live.collect::<BTreeSet<_>>(),
                expected.collect(),
                "{}",
                user
            );
        }
        Ok(())
    }

    /// Holds everything that can be seen against the model.
    async fn look_around(&self) -> Verdict {
        let mut users: Vec<UserId> = self.access.iter().map(|(_, token)| token.sub).collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            self.look_at(user).await?;
        }
        Ok(())
    }

    async fn look_at(&self, user: UserId) -> Verdict {
        let partition = self
            .stack
            .store
            .read_partition(user, self.stack.now())
            .await
            .unwrap();
        let kept = partition.sessions.iter();
        let kept: Vec<_> = kept.map(|one| (one.id, one.rotation)).collect();
        let expected = self.model.sessions.values().filter(|one| one.user == user);
        let expected: Vec<_> = expected.map(|one| (one.id, one.rotation)).collect();
        prop_assert_eq!(expected, kept, "the items of {}", user);
        let status = self.model.accounts.get(&user).map(|one| one.status);
        let seen = partition.account.map(|account| match account.status {
            AccountStatus::Active { .. } => Status::Active,
            AccountStatus::Disabled { .. } => Status::Disabled,
            AccountStatus::Deleted { delete_after } => {
                Status::Deleted(delete_after.timestamp_millis())
            }
        });
        prop_assert_eq!(status, seen, "the account of {}", user);

        // The newest live session sees all live ones, and an ended one nothing, each in its turn.
        let mut ended = Vec::new();
        let mut observers = Vec::new();
        for session in &partition.sessions {
            let modelled = &self.model.sessions[&session.id];
            let random = self.stack.core.random.as_ref();
            let policy = &self.stack.core.policy;
            let issue = || {
                let tokens = &self.stack.core.tokens;
                tokens.issue(
                    session,
                    Scope::own_account(),
                    self.stack.now(),
                    policy,
                    random,
                )
            };
            if self.model.now >= modelled.end() {
                continue; // No access token outlives its session.
            }
            let token = issue().await.unwrap().access_token;
            match self.model.is_live(modelled) {
                true => observers.push((session.id, token)),
                false => ended.push((session.id, token)),
            }
        }
        for among in [observers, ended] {
            if let Some((sid, token)) = among.get(self.steps % among.len().max(1)) {
                self.look_with(user, *sid, token).await?;
            }
        }
        Ok(())
    }

    async fn look_with(&self, user: UserId, sid: SessionId, token: &Token) -> Verdict {
        let claims = AccessToken {
            sub: user,
            sid,
            iat: 0,
            exp: i64::MAX,
            auth_time: 0,
        };
        for (path, expected) in [
            ("/v1/sessions", self.model.list(&claims)),
            ("/v1/sessions/current", self.model.current(&claims)),
            ("/v1/me", self.model.me(&claims)),
        ] {
            let reply = self.stack.get(path).bearer(token.expose()).send().await;
            prop_assert_eq!(expected, observed(&reply), "{} as {} sees it", path, sid);
        }
        Ok(())
    }
}

/// A reply in the words of the model.
fn observed(reply: &Reply) -> Outcome {
    let (status, body) = (reply.status.as_u16(), &reply.body);
    if status >= 400 {
        return Err((status, reply.code().to_owned()));
    }
    Ok(if !body["access_token"].is_null() {
        let access = claims(&body["access_token"]);
        let refresh = claims(&body["refresh_token"]);
        let lineage = refresh["jti"].as_str().and_then(|jti| jti.split_once('.'));
        let (lineage, rotation) = lineage.unwrap();
        assert_eq!(lineage, refresh["sid"], "the lineage is the session's");
        Answer::Tokens {
            status,
            access: AccessToken {
                sub: parsed(&access["sub"]),
                sid: parsed(&access["sid"]),
                iat: access["iat"].as_i64().unwrap(),
                exp: access["exp"].as_i64().unwrap(),
                auth_time: access["auth_time"].as_i64().unwrap(),
            },
            expires_in: body["expires_in"].as_i64().unwrap(),
            refresh: RefreshToken {
                sub: parsed(&refresh["sub"]),
                sid: parsed(&refresh["sid"]),
                rotation: rotation.parse().unwrap(),
                iat: refresh["iat"].as_i64().unwrap(),
                exp: refresh["exp"].as_i64().unwrap(),
            },
            refresh_expires_in: body["refresh_expires_in"].as_i64().unwrap(),
            session: shown(&body["session"]),
            user: body.get("user").map(user),
        }
    } else if let Some(sessions) = body["sessions"].as_array() {
        assert_eq!(body["total"], sessions.len(), "the total is the length");
        Answer::Sessions(sessions.iter().map(shown).collect())
    } else if !body["is_current"].is_null() {
        Answer::Session(shown(body))
    } else if !body["email"].is_null() {
        let (id, email, created_at) = user(body);
        Answer::User(id, email, created_at)
    } else if let Some(count) = body["revoked"].as_u64().or(body["removed"].as_u64()) {
        Answer::Count(count.try_into().unwrap())
    } else {
        assert_eq!((status, reply.bytes.len()), (204, 0), "nothing");
        Answer::Nothing
    })
}

fn shown(session: &Value) -> Shown {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Shown {
        id: parsed(&session["id"]),
        name: text(&session["name"]),
        device_name: text(&session["device_name"]).unwrap(),
        ip_address: text(&session["ip_address"]).unwrap(),
        created_at: time(&session["created_at"]),
        last_used_at: time(&session["last_used_at"]),
        expires_at: time(&session["expires_at"]),
        is_current: session["is_current"].as_bool().unwrap(),
    }
}

fn user(user: &Value) -> (UserId, String, i64) {
    let email = user["email"].as_str().unwrap().to_owned();
    (parsed(&user["id"]), email, time(&user["created_at"]))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &Value) -> T {
    text.as_str().unwrap().parse().unwrap()
}

fn time(text: &Value) -> i64 {
    parsed::<DateTime<Utc>>(text).timestamp_millis()
}

/// What a token says, unverified.
fn claims(token: &Value) -> Value {
    use base64::Engine as _;
    let payload = token.as_str().and_then(|token| token.split('.').nth(1));
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload.unwrap());
    serde_json::from_slice(&payload.unwrap()).unwrap()
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
