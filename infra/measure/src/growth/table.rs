//! A table that is filled, and what is measured in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use chrono::TimeDelta;
use cleanup::{Budget, CleanupError};
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use latchkey_domain::clock::{Clock as _, SystemClock};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::{RandomSource as _, SystemRandom};
use latchkey_domain::token::{TokenIdentity, TokenSecret, Tokens};
use latchkey_service::passwords::Passwords;
use latchkey_service::{Core, UserRequests};
use latchkey_store::Store;
use latchkey_store::table::create_if_missing;
use latchkey_tests::harness::dynamodb::{EmbeddedDynamoDb, Recorder};
use latchkey_tests::harness::stack::CHROME;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::seed::{Measured, PASSWORD, Seeder};
use super::{CleanupRow, Cost, GrowthError, OF_A_USER, Row, TABLE, TemporaryFolder};

/// How often the cleanup is started until it has come to the end of the table.
const MOST_RUNS: u32 = 50;

/// A table that is filled, and the service over it.
pub(super) struct Table {
    size: usize,
    items: u64,
    due: u64,
    megabytes: f64,
    pub(super) measured: Vec<Measured>,
    /// Users with 1, 2, 3, ... sessions.
    ladder: Vec<Measured>,
    core: Core,
    store: Store,
    router: Router,
    recorder: Recorder,
}

impl Table {
    pub(super) async fn fill(folder: &TemporaryFolder, size: usize) -> Result<Self, GrowthError> {
        let path = folder.0.join("dynamodb.sqlite");
        let database = dynoxide::Database::new(path.to_str().ok_or(GrowthError::Path)?)?;
        let dynamodb = EmbeddedDynamoDb::from(database.clone());
        let recorder = Recorder::default();
        let client = dynamodb.client(&recorder);
        create_if_missing(&client, TABLE).await?;
        let core = core()?;
        let began = Instant::now();
        let mut seeder = Seeder::new(database, &core)?;
        seeder.fill(size)?;
        let mut measured = Vec::new();
        for sessions in OF_A_USER {
            measured.push(seeder.user(sessions)?);
        }
        let mut ladder = Vec::new();
        for sessions in 1..=core.policy.max_sessions {
            ladder.push(seeder.user(sessions)?);
        }
        let (items, due) = seeder.finish()?;
        let bytes = std::fs::metadata(&path)?.len();
        eprintln!(
            "{size} sessions: {items} items seeded in {:.1} s",
            began.elapsed().as_secs_f64()
        );
        let store = Store::new(client, TABLE, Arc::new(SystemRandom));
        let router = latchkey::routes(&core, &store);
        drop(recorder.take());
        Ok(Self {
            size,
            items,
            due,
            megabytes: bytes as f64 / 1e6,
            measured,
            ladder,
            core,
            store,
            router,
            recorder,
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&str>,
        body: Value,
    ) -> Result<Value, GrowthError> {
        let mut request = Request::builder()
            .method(&method)
            .uri(path)
            .header(USER_AGENT, CHROME);
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = if body.is_null() {
            Body::empty()
        } else {
            request = request.header(CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        };
        let refused =
            |status: u16, body| GrowthError::Answer(format!("{method} {path}"), status, body);
        let request = request.body(body).map_err(|_| refused(0, Value::Null))?;
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        let body = response.into_body().collect().await;
        let body = body.map_err(|_| refused(status.as_u16(), Value::Null))?;
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
        match status.is_success() {
            true => Ok(body),
            false => Err(refused(status.as_u16(), body)),
        }
    }

    async fn tokens(&self, user: &Measured, which: usize) -> Result<(String, String), GrowthError> {
        let session = user.sessions.get(which).ok_or(GrowthError::Kind)?;
        let now = self.core.now();
        let policy = &self.core.policy;
        let issued = self
            .core
            .tokens
            .issue(
                session,
                latchkey_domain::token::Scope::own_account(),
                now,
                policy,
                &SystemRandom,
            )
            .await?;
        let text = |token: &latchkey_domain::token::Token| token.expose().to_owned();
        Ok((text(&issued.access_token), text(&issued.refresh_token)))
    }

    pub(super) async fn measure(
        &self,
        user: &Measured,
        samples: usize,
    ) -> Result<Row, GrowthError> {
        let (access, mut refresh_token) = self.tokens(user, 0).await?;
        let mut refreshes = Samples::default();
        for _ in 0..samples {
            let body = json!({"refresh_token": refresh_token});
            let request = self.send(Method::POST, "/v1/auth/refresh", None, body);
            let reply = refreshes.take(&self.recorder, request).await?;
            refresh_token = text(&reply, "refresh_token");
        }
        let mut lists = Samples::default();
        for _ in 0..samples {
            let request = self.send(Method::GET, "/v1/sessions", Some(&access), Value::Null);
            lists.take(&self.recorder, request).await?;
        }
        let mut sign_ins = Samples::default();
        let body = json!({"email": user.email, "password": PASSWORD});
        for _ in 0..samples.div_ceil(4) {
            // The measured session stays the most recently used, so it is never the one that makes room.
            let refreshed = json!({"refresh_token": refresh_token});
            let reply = self.send(Method::POST, "/v1/auth/refresh", None, refreshed);
            refresh_token = text(&reply.await?, "refresh_token");
            drop(self.recorder.take());
            let request = self.send(Method::POST, "/v1/auth/login", None, body.clone());
            let reply = sign_ins.take(&self.recorder, request).await?;
            // As many sessions as before, live and ended.
            if user.sessions.len() < self.core.policy.max_sessions {
                let body = json!({"refresh_token": text(&reply, "refresh_token")});
                self.send(Method::POST, "/v1/auth/logout", None, body)
                    .await?;
            }
            let purge = self.send(
                Method::DELETE,
                "/v1/sessions/expired",
                Some(&access),
                Value::Null,
            );
            purge.await?;
            drop(self.recorder.take());
        }
        eprintln!(
            "{} sessions, user with {}: done",
            self.size,
            user.sessions.len()
        );
        Ok(Row {
            size: self.size,
            sessions: user.sessions.len(),
            refresh: refreshes.cost(),
            list: lists.cost(),
            sign_in: sign_ins.cost(),
        })
    }

    /// At how many sessions a write of the account costs a second unit.
    pub(super) async fn print_account_sizes(&self) -> Result<(), GrowthError> {
        let mut last = 0.0;
        println!("\n| sessions of a user | a sign-out costs, in write units |\n|---|---|");
        for user in &self.ladder {
            let (_, refresh_token) = self.tokens(user, 0).await?;
            drop(self.recorder.take());
            let body = json!({"refresh_token": refresh_token});
            self.send(Method::POST, "/v1/auth/logout", None, body)
                .await?;
            let units = self.recorder.take_cost().write_units;
            if units > last {
                println!("| from {} | {units} |", user.sessions.len());
                last = units;
            }
        }
        Ok(())
    }

    pub(super) async fn clean_up(&self) -> Result<CleanupRow, GrowthError> {
        drop(self.recorder.take());
        let began = Instant::now();
        let budget = Budget {
            read_units: f64::INFINITY,
            read_units_per_second: f64::INFINITY,
            ..Budget::until(SystemClock.now() + TimeDelta::hours(1))
        };
        let (mut removed, mut read_units) = (0, 0.0);
        // On a busy machine a page may take longer than the service waits: the next run continues with it.
        for run in 1.. {
            let report = match cleanup::run(&self.store, &SystemClock, budget).await {
                Ok(report) => report,
                Err(CleanupError::Incomplete(report)) if run < MOST_RUNS => *report,
                Err(error) => return Err(error.into()),
            };
            eprintln!("{} sessions: {report}", self.size);
            removed += report.removed_expired;
            read_units += report.read_units;
            if report.complete {
                break;
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let cost = self.recorder.take_cost();
        Ok(CleanupRow {
            size: self.size,
            items: self.items,
            megabytes: self.megabytes,
            due: self.due,
            removed,
            seconds,
            read_units,
            write_units: cost.write_units,
        })
    }
}

fn text(body: &Value, name: &str) -> String {
    let value = body.get(name).and_then(Value::as_str);
    value.unwrap_or_default().to_owned()
}

fn core() -> Result<Core, GrowthError> {
    let mut secret = [0; 32];
    SystemRandom.fill(&mut secret);
    let identity = TokenIdentity {
        issuer: "https://id.example.com".to_owned(),
        audience: "latchkey".to_owned(),
        other_audiences: Vec::new(),
        client_id: "latchkey-app".to_owned(),
    };
    let secret = TokenSecret::new(secret)?;
    Ok(Core {
        tokens: Tokens::new(identity, &secret, None)?.into(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        policy: Arc::new(SessionPolicy {
            max_sessions: OF_A_USER.into_iter().max().unwrap_or(1),
            // Without a grace there is no interval either, so every refresh rotates.
            refresh_grace: TimeDelta::zero(),
            limits: latchkey_domain::throttle::Limits::off(),
            ..SessionPolicy::default()
        }),
        passwords: Passwords::for_this_machine(),
        requests: UserRequests::default(),
        password_policy: Arc::default(),
        account_url: "https://id.example.com/account".into(),
    })
}

/// Durations and units of one kind of request.
#[derive(Debug, Default)]
struct Samples {
    durations: Vec<Duration>,
    read_units: f64,
    write_units: f64,
}

impl Samples {
    async fn take<T>(
        &mut self,
        recorder: &Recorder,
        request: impl Future<Output = Result<T, GrowthError>>,
    ) -> Result<T, GrowthError> {
        let began = Instant::now();
        let reply = request.await?;
        self.durations.push(began.elapsed());
        let cost = recorder.take_cost();
        self.read_units += cost.read_units;
        self.write_units += cost.write_units;
        Ok(reply)
    }

    fn cost(mut self) -> Cost {
        self.durations.sort_unstable();
        let count = self.durations.len();
        let at = |percent: usize| {
            let place = (count * percent / 100).min(count.saturating_sub(1));
            self.durations.get(place).copied().unwrap_or_default()
        };
        Cost {
            median: at(50),
            p95: at(95),
            read_units: self.read_units / count.max(1) as f64,
            write_units: self.write_units / count.max(1) as f64,
        }
    }
}
