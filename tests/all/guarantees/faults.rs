//! Whatever DynamoDB does, the caller gets the right answer or a 503, and one result comes of it, not two and no half.
//!
//! Each operation is first run without a fault, which shows the requests that it makes, its answer and the table after
//! it. Then it is run again on an equal table for each request, each fault that can strike it, and each length of it.
//! Tokio's clock stands still but for the waits of the SDK and of the store, so these take no time, and are measured.
//!
//! `cargo test -p latchkey-tests faults -- --nocapture` prints the table.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use authorizer::Undecided;
use chrono::{DateTime, TimeDelta, Utc};
use cleanup::{Budget, CleanupError};
use futures::future::LocalBoxFuture;
use http::{Method, StatusCode};
use latchkey_domain::policy::SessionPolicy;
use latchkey_service::AccessRules;
use latchkey_tests::attack::faults::{Fault, Faults, Plan, Strikes, raw_items, stack_with};
use latchkey_tests::harness::authorizer::{decide, event_with};
use latchkey_tests::harness::lambda::{SAMPLE_SECRET, add_sample_client};
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{OLD_PARAMETERS_HASH, PASSWORD, Stack, TABLE};
use serde_json::{Value, json};

const NEW_PASSWORD: &str = "wrong donkey charger paperclip";
/// What a function of the template may take, less what a reply needs.
const LONGEST: Duration = Duration::from_secs(13);

/// Who is there before the operation.
#[derive(Clone)]
struct Cast {
    /// Who asks.
    ada: SignedIn,
    /// Another device of hers.
    phone: SignedIn,
    /// An administrator.
    root: SignedIn,
}

type Act = for<'a> fn(&'a Stack, &'a Cast) -> LocalBoxFuture<'a, Answer>;

/// An operation, and what is to come of it.
struct Operation {
    name: &'static str,
    policy: fn() -> SessionPolicy,
    /// What happens before.
    setup: for<'a> fn(&'a Stack, &'a Cast) -> LocalBoxFuture<'a, ()>,
    act: Act,
    /// The status without a fault.
    status: u16,
    /// What a repeated request is answered if nothing was done, and if it was.
    repeated: [(u16, &'static str); 2],
    /// Whether it is done in steps that a later run completes.
    in_steps: bool,
}

/// What an operation was answered.
#[derive(Clone, Debug, PartialEq)]
struct Answer {
    status: u16,
    code: String,
    /// Without what differs by chance.
    body: Value,
    retry_after: bool,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let mut body = reply.body.clone();
        let code = [&reply.body["code"], &reply.body["error"]];
        let code = code.into_iter().find_map(Value::as_str);
        if let Some(body) = body.as_object_mut() {
            body.remove("request_id");
            body.remove("access_token");
            body.remove("device_token");
        }
        Self {
            status: reply.status.as_u16(),
            code: code.unwrap_or_default().to_owned(),
            body,
            retry_after: reply.header("retry-after").is_some(),
        }
    }
}

macro_rules! acts {
    (|$stack:ident, $cast:ident| $reply:expr) => {
        |$stack, $cast| {
            Box::pin(async move {
                let _ = $cast;
                Answer::from($reply)
            })
        }
    };
}

macro_rules! first {
    (|$stack:ident, $cast:ident| $what:expr) => {
        |$stack, $cast| {
            Box::pin(async move {
                let _ = ($stack, $cast);
                $what
            })
        }
    };
}

fn of_one_session() -> SessionPolicy {
    SessionPolicy {
        max_sessions: 2,
        ..SessionPolicy::default()
    }
}

async fn send(stack: &Stack, method: Method, path: &str, who: &SignedIn, body: Value) -> Reply {
    let call = stack.request(method, path).bearer(&who.access_token);
    match body {
        Value::Null => call.send().await,
        body => call.json(&body).send().await,
    }
}

fn path_of(who: &SignedIn) -> String {
    format!("/v1/admin/users/{}", who.user_id.unwrap())
}

async fn register(stack: &Stack, email: &str) -> Reply {
    let body = json!({"email": email, "password": PASSWORD});
    stack.post("/v1/auth/register").json(&body).send().await
}

async fn logout(stack: &Stack, who: &SignedIn) -> Reply {
    let body = json!({"refresh_token": who.refresh_token});
    stack.post("/v1/auth/logout").json(&body).send().await
}

async fn as_client(stack: &Stack, path: &str, who: &SignedIn) -> Reply {
    let call = stack.post(path).basic("orders-api", SAMPLE_SECRET);
    call.form(&[("token", &who.refresh_token)]).send().await
}

async fn sign_in_elsewhere(stack: &Stack, subject: &str) -> Reply {
    let identity = json!({"issuer": "https://idp.example.com", "subject": subject});
    let body = json!({"identity": identity, "amr": ["pwd"]});
    let call = stack.post("/v1/service/sessions");
    let call = call.basic("orders-api", SAMPLE_SECRET);
    call.json(&body).send().await
}

/// Gives a user a hash with the parameters of yesterday.
async fn age_hash(stack: &Stack) {
    let credential = stack.table().credential("ada@example.com");
    credential.set("password_hash", OLD_PARAMETERS_HASH).await;
}

async fn sign_in_and_out(stack: &Stack, times: usize) {
    for _ in 0..times {
        stack.advance(TimeDelta::seconds(1));
        let short = stack.login("ada@example.com").await;
        logout(stack, &short).await.expect(StatusCode::NO_CONTENT);
    }
}

/// Asks the authorizer, and tells of its answer as API Gateway does, less its 500 for what it cannot tell.
async fn authorize(stack: &Stack, who: &SignedIn) -> Answer {
    let event = event_with(&format!("Bearer {}", who.access_token));
    let decision = decide(&stack.authorizer(AccessRules::default()), &event).await;
    let (status, code) = match &decision {
        Ok(decision) if decision.is_authorized => (200, ""),
        Ok(_) => (403, ""),
        Err(Undecided::Unavailable) => (503, "temporarily_unavailable"),
        Err(Undecided::Internal) => (500, "internal_error"),
    };
    Answer {
        status,
        code: code.to_owned(),
        body: decision.map_or(Value::Null, |decision| json!(decision)),
        retry_after: status == 503,
    }
}

/// Cleans up, and tells of it as HTTP would. What it saw may differ when it is done again; what it left may not.
async fn clean_up(stack: &Stack) -> Answer {
    // A run that was cut off holds its lease for a while.
    stack.advance(TimeDelta::minutes(21));
    let budget = Budget::until(stack.now() + TimeDelta::minutes(10));
    let (status, code) =
        match cleanup::run(&stack.cleanup_store, stack.core.clock.as_ref(), budget).await {
            Ok(report) => {
                assert!(report.complete && report.broken == 0, "{report:?}");
                (200, "")
            }
            Err(CleanupError::Store(_) | CleanupError::Incomplete(_)) => {
                (503, "temporarily_unavailable")
            }
            Err(CleanupError::AlreadyRunning) => (409, "already_running"),
        };
    Answer {
        status,
        code: code.to_owned(),
        body: Value::Null,
        retry_after: status == 503,
    }
}

const NOTHING: for<'a> fn(&'a Stack, &'a Cast) -> LocalBoxFuture<'a, ()> = first!(|stack, cast| ());

fn operation(name: &'static str, status: u16, act: Act) -> Operation {
    Operation {
        name,
        policy: SessionPolicy::default,
        setup: NOTHING,
        act,
        status,
        repeated: [(status, ""), (status, "")],
        in_steps: false,
    }
}

#[rustfmt::skip]
fn operations() -> Vec<Operation> {
    let refresh: Act = acts!(|stack, cast| stack.refresh(&cast.ada.refresh_token).await);
    let login: Act = acts!(|stack, cast| stack.try_login("ada@example.com", PASSWORD).await);
    vec![
        Operation {
            repeated: [(201, ""), (409, "email_taken")],
            ..operation("register", 201, acts!(|stack, cast| register(stack, "carol@example.com").await))
        },
        operation("login", 200, login),
        Operation {
            policy: of_one_session,
            setup: first!(|stack, cast| sign_in_and_out(stack, 22).await),
            in_steps: true,
            ..operation("login, evicting and trimming", 200, login)
        },
        Operation {
            setup: first!(|stack, cast| age_hash(stack).await),
            ..operation("login, upgrading the hash", 200, login)
        },
        operation("refresh", 200, refresh),
        Operation {
            setup: first!(|stack, cast| drop(stack.refresh(&cast.ada.refresh_token).await)),
            ..operation("refresh within the grace", 200, refresh)
        },
        Operation {
            setup: first!(|stack, cast| {
                stack.refresh(&cast.ada.refresh_token).await;
                stack.advance(TimeDelta::seconds(31));
            }),
            repeated: [(401, "refresh_token_reused"), (401, "invalid_refresh_token")],
            ..operation("refresh, reused", 401, refresh)
        },
        operation("list", 200, acts!(|stack, cast| send(stack, Method::GET, "/v1/sessions", &cast.ada, Value::Null).await)),
        operation("current", 200, acts!(|stack, cast| send(stack, Method::GET, "/v1/sessions/current", &cast.ada, Value::Null).await)),
        operation("me", 200, acts!(|stack, cast| send(stack, Method::GET, "/v1/me", &cast.ada, Value::Null).await)),
        operation("authorizer", 200, |stack, cast| Box::pin(authorize(stack, &cast.ada))),
        operation("rename", 200, acts!(|stack, cast| {
            let path = format!("/v1/sessions/{}", cast.phone.session_id);
            send(stack, Method::PATCH, &path, &cast.ada, json!({"name": "phone"})).await
        })),
        Operation {
            repeated: [(204, ""), (404, "session_not_found")],
            ..operation("revoke", 204, acts!(|stack, cast| {
                let path = format!("/v1/sessions/{}", cast.phone.session_id);
                send(stack, Method::DELETE, &path, &cast.ada, Value::Null).await
            }))
        },
        Operation {
            repeated: [(204, ""), (401, "invalid_token")],
            ..operation("revoke self", 204, acts!(|stack, cast| {
                let path = format!("/v1/sessions/{}", cast.ada.session_id);
                send(stack, Method::DELETE, &path, &cast.ada, Value::Null).await
            }))
        },
        operation("revoke-all", 200, acts!(|stack, cast| {
            send(stack, Method::POST, "/v1/sessions/revoke-all", &cast.ada, Value::Null).await
        })),
        Operation {
            repeated: [(200, ""), (401, "invalid_token")],
            ..operation("revoke-all, this one too", 200, acts!(|stack, cast| {
                send(stack, Method::POST, "/v1/sessions/revoke-all?keep_current=false", &cast.ada, Value::Null).await
            }))
        },
        Operation {
            setup: first!(|stack, cast| sign_in_and_out(stack, 3).await),
            in_steps: true,
            ..operation("purge", 200, acts!(|stack, cast| {
                send(stack, Method::DELETE, "/v1/sessions/expired", &cast.ada, Value::Null).await
            }))
        },
        operation("reauthentication", 200, acts!(|stack, cast| {
            stack.reauthenticate(&cast.ada, PASSWORD).await
        })),
        Operation {
            setup: first!(|stack, cast| drop(stack.refresh(&cast.ada.refresh_token).await)),
            ..operation("reauthentication, refresh token young", 200, acts!(|stack, cast| {
                stack.reauthenticate(&cast.ada, PASSWORD).await
            }))
        },
        operation("logout", 204, acts!(|stack, cast| logout(stack, &cast.ada).await)),
        operation("introspect", 200, acts!(|stack, cast| as_client(stack, "/oauth/introspect", &cast.ada).await)),
        operation("revoke by a client", 200, acts!(|stack, cast| as_client(stack, "/oauth/revoke", &cast.ada).await)),
        operation("sign-in from elsewhere, the first", 201, acts!(|stack, cast| sign_in_elsewhere(stack, "grace").await)),
        Operation {
            setup: first!(|stack, cast| drop(sign_in_elsewhere(stack, "grace").await)),
            ..operation("sign-in from elsewhere", 201, acts!(|stack, cast| sign_in_elsewhere(stack, "grace").await))
        },
        Operation {
            repeated: [(200, ""), (401, "invalid_token")],
            ..operation("password change", 200, acts!(|stack, cast| {
                let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
                send(stack, Method::PUT, "/v1/me/password", &cast.ada, body).await
            }))
        },
        Operation {
            repeated: [(204, ""), (401, "invalid_token")],
            in_steps: true,
            ..operation("account deletion", 204, acts!(|stack, cast| {
                send(stack, Method::POST, "/v1/me/delete", &cast.ada, json!({"password": PASSWORD})).await
            }))
        },
        operation("admin: find by address", 200, acts!(|stack, cast| {
            send(stack, Method::GET, "/v1/admin/users?email=ada@example.com", &cast.root, Value::Null).await
        })),
        operation("admin: a page of users", 200, acts!(|stack, cast| {
            send(stack, Method::GET, "/v1/admin/users", &cast.root, Value::Null).await
        })),
        operation("admin: find a session", 200, acts!(|stack, cast| {
            let path = format!("/v1/admin/sessions/{}", cast.phone.session_id);
            send(stack, Method::GET, &path, &cast.root, Value::Null).await
        })),
        Operation {
            repeated: [(204, ""), (404, "session_not_found")],
            ..operation("admin: revoke", 204, acts!(|stack, cast| {
                let path = format!("{}/sessions/{}", path_of(&cast.ada), cast.phone.session_id);
                send(stack, Method::DELETE, &path, &cast.root, Value::Null).await
            }))
        },
        operation("admin: revoke-all", 200, acts!(|stack, cast| {
            let path = format!("{}/sessions/revoke-all", path_of(&cast.ada));
            send(stack, Method::POST, &path, &cast.root, Value::Null).await
        })),
        operation("admin: disable", 200, acts!(|stack, cast| {
            let body = json!({"status": "disabled"});
            send(stack, Method::PATCH, &path_of(&cast.ada), &cast.root, body).await
        })),
        operation("admin: roles", 200, acts!(|stack, cast| {
            let body = json!({"roles": ["clerk"]});
            send(stack, Method::PATCH, &path_of(&cast.ada), &cast.root, body).await
        })),
        Operation {
            repeated: [(204, ""), (404, "user_not_found")],
            in_steps: true,
            ..operation("admin: delete", 204, acts!(|stack, cast| {
                send(stack, Method::DELETE, &path_of(&cast.ada), &cast.root, Value::Null).await
            }))
        },
        Operation {
            setup: first!(|stack, cast| {
                // Bob's session has passed its retention, an orphan is there, and a deletion was interrupted.
                stack.advance(TimeDelta::days(61));
                let dora = SignedIn::from(register(stack, "dora@example.com").await.body);
                let dora_again = stack.login("dora@example.com").await;
                let left: Vec<Value> = raw_items(stack).into_iter()
                    .filter(|item| item["sk"]["S"] == format!("SESSION#{}", dora_again.session_id)).collect();
                send(stack, Method::POST, "/v1/me/delete", &dora, json!({"password": PASSWORD})).await
                    .expect(StatusCode::NO_CONTENT);
                put(stack, left);
            }),
            in_steps: true,
            ..operation("cleanup", 200, |stack, _| Box::pin(clean_up(stack)))
        },
    ]
}

fn put(stack: &Stack, items: Vec<Value>) {
    for item in items {
        let request = json!({"TableName": TABLE, "Item": item});
        let request = serde_json::from_value(request).unwrap();
        stack.dynamodb.database.put_item(request).unwrap();
    }
}

/// The table before an operation.
struct Scene {
    cast: Cast,
    items: Vec<Value>,
    now: DateTime<Utc>,
}

impl Scene {
    async fn of(operation: &Operation) -> Self {
        let (stack, _) = stack_with((operation.policy)(), 1, Vec::new()).await;
        let ada = SignedIn::from(register(&stack, "ada@example.com").await.body);
        stack.advance(TimeDelta::seconds(1));
        let phone = stack.login("ada@example.com").await;
        register(&stack, "bob@example.com").await;
        let root = stack.administrator("root@example.com").await;
        add_sample_client(stack.client.clone()).await;
        stack.advance(TimeDelta::seconds(1));
        let cast = Cast { ada, phone, root };
        (operation.setup)(&stack, &cast).await;
        Self {
            cast,
            items: raw_items(&stack),
            now: stack.now(),
        }
    }

    async fn stage(&self, operation: &Operation) -> (Stack, Faults) {
        let (stack, faults) = stack_with((operation.policy)(), 2, self.items.clone()).await;
        stack.advance(self.now - stack.now());
        (stack, faults)
    }
}

/// How many passwords are counted on all sessions.
fn counted_passwords(stack: &Stack) -> usize {
    let items = raw_items(stack).into_iter();
    let attempts = items.filter_map(|item| Some(item["password_attempts"]["SS"].as_array()?.len()));
    attempts.sum()
}

/// The attempts that are counted for accounts and addresses.
fn counted_attempts(stack: &Stack) -> BTreeMap<String, u64> {
    let items = raw_items(stack).into_iter();
    let counted = items.filter_map(|item| {
        let key = item["pk"]["S"].as_str()?;
        let attempts = item["attempts"]["N"].as_str()?.parse().ok()?;
        key.starts_with("THROTTLE#")
            .then(|| (key.to_owned(), attempts))
    });
    counted.collect()
}

/// The items by key, without the stamps of the last two changes, counted passwords, counters and the cleanup's own note.
type Table = BTreeMap<String, Value>;

fn table(stack: &Stack) -> Table {
    let items = raw_items(stack).into_iter().filter_map(|mut item| {
        let (pk, sk) = (item["pk"]["S"].as_str()?, item["sk"]["S"].as_str()?);
        let key = format!("{pk} {sk}");
        if pk == "CLEANUP" || pk.starts_with("THROTTLE#") {
            return None;
        }
        item.as_object_mut()?.remove("change");
        item.as_object_mut()?.remove("previous_change");
        item.as_object_mut()?.remove("password_attempts");
        for set in ["/sessions/SS", "/scopes/SS", "/issuers/SS"] {
            let set = item.pointer_mut(set);
            if let Some(set) = set.and_then(Value::as_array_mut) {
                set.sort_by_key(ToString::to_string);
            }
        }
        Some((key, item))
    });
    items.collect()
}

fn without_versions(mut table: Table) -> Table {
    for item in table.values_mut().filter_map(Value::as_object_mut) {
        item.remove("version");
    }
    table
}

/// How many items there are of each kind, and of each user's.
fn kinds(table: &Table) -> Vec<String> {
    let kind = |key: &String| key.split('#').next().unwrap_or_default().to_owned();
    let sort = |key: &String| {
        let sort = key.split(' ').next_back().unwrap_or_default().to_owned();
        kind(&sort)
    };
    let mut kinds: Vec<String> = table.keys().map(|key| kind(key) + &sort(key)).collect();
    kinds.sort();
    kinds
}

/// What holds of every table, whatever has happened.
fn check_invariants(table: &Table, policy: &SessionPolicy, context: &str) {
    let mut credentials = BTreeSet::new();
    for (key, item) in table {
        if key.ends_with(" CREDENTIAL") {
            let account = format!("USER#{} ACCOUNT", item["user_id"]["S"].as_str().unwrap());
            let account_item = table
                .get(&account)
                .unwrap_or_else(|| panic!("{context}: {key}"));
            assert_ne!(account_item["status"]["S"], "deleted", "{context}: {key}");
            assert_eq!(
                account_item["password_version"], item["password_version"],
                "{context}"
            );
            assert!(credentials.insert(account), "{context}: two credentials");
        }
        // Somebody who signs in elsewhere has an identity in its place.
        if key.starts_with("IDENTITY#") {
            let account = format!("USER#{} ACCOUNT", item["user_id"]["S"].as_str().unwrap());
            let identity = &table[&account]["identity"]["M"];
            let (issuer, subject) = (&identity["issuer"]["S"], &identity["subject"]["S"]);
            let back = format!(
                "IDENTITY#{} {}",
                issuer.as_str().unwrap_or_default(),
                subject.as_str().unwrap_or_default()
            );
            assert_eq!(*key, back, "{context}: {account} leads elsewhere");
            assert!(credentials.insert(account), "{context}: two identities");
        }
    }
    for (key, item) in table {
        let Some(user) = key.strip_suffix(" ACCOUNT") else {
            continue;
        };
        let active = item["status"]["S"] == "active";
        let kept = item["status"]["S"] != "deleted";
        assert_eq!(credentials.contains(key), kept, "{context}: {key}");
        let set = item["sessions"]["SS"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(set.len() <= policy.max_sessions, "{context}: {key}");
        assert!(active || set.is_empty(), "{context}: {key}");
        for id in set {
            let session = format!("{user} SESSION#{}", id.as_str().unwrap());
            // The cleanup removes sessions that have expired long ago, and leaves their ids to the next sign-in.
            let kept = context.starts_with("cleanup") || table.contains_key(&session);
            assert!(kept, "{context}: no {session}");
        }
    }
}

/// Whether every item is as before or as after: what is done in steps may have stopped between any two.
fn is_between(found: &Table, before: &Table, after: &Table) -> bool {
    let keys: BTreeSet<&String> = found
        .keys()
        .chain(before.keys())
        .chain(after.keys())
        .collect();
    keys.into_iter().all(|key| {
        let item = found.get(key);
        item == before.get(key)
            || item == after.get(key)
            // An account that is deleted but for its items.
            || item.is_some_and(|item| item["status"]["S"] == "deleted" && !after.contains_key(key))
    })
}

/// How long a fault lasts. Those that the SDK treats as another one are tried at both ends only.
fn strikes(fault: Fault) -> &'static [Strikes] {
    use Strikes::{Always, Outage, Times};
    match fault {
        Fault::ThroughputExceeded
        | Fault::ServiceUnavailable
        | Fault::ConnectTimeout
        | Fault::GarbageReply => &[Times(1), Always],
        Fault::InternalServerError
        | Fault::ConnectionReset
        | Fault::SlowReply
        | Fault::TruncatedReply => &[Times(1), Times(3), Always, Outage],
        Fault::Throttled
        | Fault::Silence
        | Fault::ReplyLost
        | Fault::SilenceAfterCommit
        | Fault::Conflict
        | Fault::CanceledByConflict
        | Fault::CanceledByThrottling
        | Fault::InProgress
        | Fault::Unprocessed => &[Times(1), Times(2), Times(3), Always, Outage],
    }
}

/// What was found of an operation.
#[derive(Default)]
struct Found {
    calls: Vec<String>,
    cases: usize,
    right: usize,
    unavailable: usize,
    /// Unavailable although only one or two requests were struck, which retries are to heal.
    not_healed: BTreeSet<String>,
    longest: Duration,
}

async fn try_everything(operation: &Operation) -> Found {
    let scene = Scene::of(operation).await;
    let policy = (operation.policy)();
    let (stack, faults) = scene.stage(operation).await;
    let (before, attempts_before) = (table(&stack), counted_attempts(&stack));
    let right = (operation.act)(&stack, &scene.cast).await;
    assert_eq!(
        right.status, operation.status,
        "{}: {right:?}",
        operation.name
    );
    let after = table(&stack);
    let calls: Vec<String> = faults.disarm().into_iter().map(|(name, _)| name).collect();
    let mut found = Found {
        calls: calls.clone(),
        ..Found::default()
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &calls {
        let nth = seen.entry(call).or_default();
        for fault in Fault::ALL
            .into_iter()
            .filter(|fault| fault.applies_to(call))
        {
            for strikes in strikes(fault).iter().copied() {
                let often = operation.name == "cleanup" && *nth > 0;
                if often && !matches!(strikes, Strikes::Times(1) | Strikes::Always) {
                    continue; // Like the first one.
                }
                let plan = Plan {
                    fault,
                    operation: call.clone(),
                    nth: *nth,
                    strikes,
                };
                let context = format!("{}, {plan:?}", operation.name);
                let (stack, faults) = scene.stage(operation).await;
                faults.arm(plan);
                let began = tokio::time::Instant::now();
                let answer = (operation.act)(&stack, &scene.cast).await;
                let took = began.elapsed();
                faults.disarm();
                let left = table(&stack);
                assert!(counted_passwords(&stack) <= 1, "{context}: counted twice");
                for (counter, attempts) in counted_attempts(&stack) {
                    let before = attempts_before.get(&counter).copied().unwrap_or_default();
                    assert!(attempts <= before + 1, "{context}: {counter} counted twice");
                }
                check_invariants(&left, &policy, &context);
                found.cases += 1;
                found.longest = found.longest.max(took);

                let done = left != before;
                if operation.in_steps {
                    assert!(is_between(&left, &before, &after), "{context}: {left:#?}");
                } else {
                    assert!(left == before || left == after, "{context}: {left:#?}");
                }
                if answer == right {
                    found.right += 1;
                    assert!(operation.in_steps || left == after, "{context}: not done");
                } else {
                    let unavailable = (answer.status, answer.code.as_str(), answer.retry_after);
                    assert_eq!(
                        unavailable,
                        (503, "temporarily_unavailable", true),
                        "{context}: {answer:?}"
                    );
                    found.unavailable += 1;
                    // A 200 that cannot be read is not asked for again by the SDK.
                    let unreadable = matches!(fault, Fault::TruncatedReply | Fault::GarbageReply);
                    if !unreadable && matches!(strikes, Strikes::Times(1 | 2)) {
                        found
                            .not_healed
                            .insert(format!("{fault:?} at {call} {nth}"));
                    }
                }

                // The client asks again.
                let again = (operation.act)(&stack, &scene.cast).await;
                let [if_not, if_done] = operation.repeated;
                let got = (again.status, again.code.as_str());
                let wanted = if left == after {
                    [if_done; 2]
                } else if done {
                    [if_not, if_done]
                } else {
                    [if_not; 2]
                };
                assert!(wanted.contains(&got), "{context}: repeated: {again:?}");
                let mut last = table(&stack);
                check_invariants(&last, &policy, &context);
                if operation.in_steps {
                    clean_up(&stack).await;
                    last = table(&stack);
                }
                if signs_in(operation.name) && operation.name != "register" {
                    continue; // A second sign-in is a second session.
                }
                assert_eq!(kinds(&last), kinds(&after), "{context}: repeated");
                // A new request draws new ids.
                let draws = matches!(operation.name, "register" | "password change");
                if draws && left != after {
                    continue;
                }
                let wanted = without_versions(after.clone());
                assert_eq!(without_versions(last), wanted, "{context}: repeated");
                if again.status == right.status
                    && again.code == right.code
                    && again.status == 200
                    && !operation.in_steps
                {
                    assert_eq!(
                        again.body["refresh_token"], right.body["refresh_token"],
                        "{context}"
                    );
                }
            }
        }
        *nth += 1;
    }
    found
}

/// Runs the operations whose names `wanted` takes, and prints what was found.
async fn check(wanted: impl Fn(&str) -> bool) {
    for operation in operations() {
        if !wanted(operation.name) {
            continue;
        }
        let found = try_everything(&operation).await;
        println!(
            "| {} | {} | {} | {} | {} | {:.1} s |",
            operation.name,
            found.calls.join(", "),
            found.cases,
            found.right,
            found.unavailable,
            found.longest.as_secs_f64()
        );
        assert!(
            found.not_healed.is_empty(),
            "{}: {:?}",
            operation.name,
            found.not_healed
        );
        if operation.name != "cleanup" {
            assert!(
                found.longest <= LONGEST,
                "{}: {:?}",
                operation.name,
                found.longest
            );
        }
    }
}

fn signs_in(name: &str) -> bool {
    name.starts_with("login") || name.starts_with("sign-in") || name == "register"
}

fn asks_for_the_password(name: &str) -> bool {
    matches!(name, "password change" | "account deletion")
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_is_answered_rightly_or_with_503_whatever_dynamodb_does() {
    check(signs_in).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_account_is_answered_rightly_or_with_503_whatever_dynamodb_does() {
    check(asks_for_the_password).await;
}

#[tokio::test(start_paused = true)]
async fn every_other_operation_is_answered_rightly_or_with_503_whatever_dynamodb_does() {
    check(|name| !signs_in(name) && !asks_for_the_password(name) && name != "cleanup").await;
}

#[tokio::test(start_paused = true)]
async fn a_cleanup_does_what_it_can_and_says_what_it_could_not_whatever_dynamodb_does() {
    check(|name| name == "cleanup").await;
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_reply_is_lost_and_that_then_meets_a_conflict_is_known_for_ones_own() {
    use Fault::{Conflict, InProgress, ReplyLost, SilenceAfterCommit};
    for operation in operations() {
        let scene = Scene::of(&operation).await;
        let (stack, faults) = scene.stage(&operation).await;
        let before = table(&stack);
        let right = (operation.act)(&stack, &scene.cast).await;
        let after = table(&stack);
        let calls: BTreeSet<String> = faults.disarm().into_iter().map(|(name, _)| name).collect();
        for (call, sequence) in [
            ("UpdateItem", [ReplyLost, Conflict, Conflict]),
            ("UpdateItem", [Conflict, SilenceAfterCommit, Conflict]),
            ("DeleteItem", [ReplyLost, Conflict, Conflict]),
            // The SDK's three attempts end in a conflict, and the store repeats it as another transaction.
            ("TransactWriteItems", [ReplyLost, InProgress, InProgress]),
            (
                "TransactWriteItems",
                [InProgress, SilenceAfterCommit, InProgress],
            ),
        ] {
            if !calls.contains(call) {
                continue;
            }
            let context = format!("{}, {call}: {sequence:?}", operation.name);
            let (stack, faults) = scene.stage(&operation).await;
            faults.arm_sequence(call, &sequence);
            let answer = (operation.act)(&stack, &scene.cast).await;
            faults.disarm();
            assert_eq!(answer, right, "{context}");
            let left = table(&stack);
            // A sign-in that finds itself admitted leaves the trim to the next one.
            let trimmed = operation.in_steps && is_between(&left, &before, &after);
            assert!(trimmed || left == after, "{context}: {left:#?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_operation_of_a_user_reads_the_index_so_it_may_lag() {
    let of_users = |operation: &Operation| !operation.name.starts_with("admin: ");
    for operation in operations().into_iter().filter(of_users) {
        let scene = Scene::of(&operation).await;
        let (stack, faults) = scene.stage(&operation).await;
        (operation.act)(&stack, &scene.cast).await;
        let calls = faults.disarm();
        assert!(!calls.is_empty(), "{}", operation.name);
        for (name, request) in calls {
            assert!(request["IndexName"].is_null(), "{}: {name}", operation.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_slowest_dynamodb_does_not_keep_a_caller_waiting_longer_than_a_function_lives() {
    // Each request gets through at the third attempt only, and then meets a conflict, again and again.
    use Fault::{CanceledByConflict, Conflict, Silence, SlowReply};
    for script in [
        vec![Silence, Silence, CanceledByConflict],
        vec![Silence, Silence, Conflict],
        vec![Silence, Silence, SlowReply],
        vec![Silence],
    ] {
        for operation in operations() {
            if operation.name == "cleanup" {
                continue; // It has 15 minutes.
            }
            let scene = Scene::of(&operation).await;
            let (stack, faults) = scene.stage(&operation).await;
            faults.arm_cycle(&script);
            let began = tokio::time::Instant::now();
            let answer = (operation.act)(&stack, &scene.cast).await;
            let took = began.elapsed();
            faults.disarm();
            println!(
                "{script:?}: {}: {} after {took:.1?}",
                operation.name, answer.status
            );
            let known = answer.status == operation.status || answer.status == 503;
            assert!(known, "{}: {answer:?}", operation.name);
            assert!(
                took <= LONGEST,
                "{}: {script:?} takes {took:?}",
                operation.name
            );
        }
    }
}
