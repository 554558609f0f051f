//! Whatever DynamoDB does, the caller gets the right answer or a 503, and one result comes of it, not two and no half.
//!
//! Each operation is first run without a fault, which shows the requests that it makes, its answer and the table after
//! it. Then it is run again on an equal table for each request, each fault that can strike it, and each length of it.
//! Tokio's clock stands still but for the waits of the SDK and of the store, so these take no time, and are measured.
//!
//! `cargo test -p latchkey-tests faults -- --nocapture` prints the table.

mod table;
mod trial;

use std::collections::BTreeSet;
use std::time::Duration;

use authorizer::Undecided;
use chrono::TimeDelta;
use cleanup::{Budget, CleanupError};
use futures::future::LocalBoxFuture;
use http::{Method, StatusCode};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::token::{EmailChange, Link};
use latchkey_service::AccessRules;
use latchkey_tests::attack::faults::{Fault, raw_items};
use latchkey_tests::harness::authorizer::{decide, event_with};
use latchkey_tests::harness::lambda::SAMPLE_SECRET;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{OLD_PARAMETERS_HASH, PASSWORD, Stack, TABLE};
use serde_json::{Value, json};

use self::table::{is_between, table};
use self::trial::{Scene, check};

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
        operation("activity", 200, acts!(|stack, cast| send(stack, Method::GET, "/v1/me/activity", &cast.ada, Value::Null).await)),
        operation("export", 200, acts!(|stack, cast| send(stack, Method::GET, "/v1/me/export", &cast.ada, Value::Null).await)),
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
        Operation {
            repeated: [(204, ""), (400, "invalid_link")],
            ..operation("password reset", 204, acts!(|stack, cast| {
                let token = stack.link_token(&reset_link(&cast.ada)).await;
                stack.reset_password(&token, NEW_PASSWORD).await
            }))
        },
        operation("verification", 204, acts!(|stack, cast| {
            let token = stack.link_token(&verification_link(&cast.ada)).await;
            stack.verify_email(&token).await
        })),
        operation("another address", 204, acts!(|stack, cast| {
            let token = stack.link_token(&email_change_link(&cast.ada)).await;
            stack.verify_email(&token).await
        })),
        operation("admin: find by address", 200, acts!(|stack, cast| {
            send(stack, Method::GET, "/v1/admin/users?email=ada@example.com", &cast.root, Value::Null).await
        })),
        Operation {
            setup: first!(|stack, cast| drop(sign_in_elsewhere(stack, "grace").await)),
            ..operation("admin: find by identity", 200, acts!(|stack, cast| {
                let path = "/v1/admin/users?issuer=https%3A%2F%2Fidp.example.com&subject=grace";
                send(stack, Method::GET, path, &cast.root, Value::Null).await
            }))
        },
        operation("admin: user", 200, acts!(|stack, cast| {
            send(stack, Method::GET, &path_of(&cast.ada), &cast.root, Value::Null).await
        })),
        operation("admin: sessions", 200, acts!(|stack, cast| {
            let path = format!("{}/sessions", path_of(&cast.ada));
            send(stack, Method::GET, &path, &cast.root, Value::Null).await
        })),
        operation("admin: send a reset", 202, acts!(|stack, cast| {
            let path = format!("{}/password-reset", path_of(&cast.ada));
            send(stack, Method::POST, &path, &cast.root, Value::Null).await
        })),
        operation("admin: a page of users", 200, acts!(|stack, cast| {
            send(stack, Method::GET, "/v1/admin/users", &cast.root, Value::Null).await
        })),
        operation("admin: activity", 200, acts!(|stack, cast| {
            let path = format!("{}/activity", path_of(&cast.ada));
            send(stack, Method::GET, &path, &cast.root, Value::Null).await
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

fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).unwrap()
}

// Of the account as it was before the operation, so that each is spent by it.

fn reset_link(who: &SignedIn) -> Link {
    Link::ResetPassword {
        user: who.user_id.unwrap(),
        email: address("ada@example.com"),
        password_version: 1,
    }
}

fn verification_link(who: &SignedIn) -> Link {
    Link::VerifyEmail {
        user: who.user_id.unwrap(),
        email: address("ada@example.com"),
    }
}

fn email_change_link(who: &SignedIn) -> Link {
    Link::ChangeEmail {
        user: who.user_id.unwrap(),
        change: EmailChange {
            email: address("ada@example.org"),
            email_version: 0,
            session_id: who.session_id,
        },
    }
}

fn put(stack: &Stack, items: Vec<Value>) {
    for item in items {
        let request = json!({"TableName": TABLE, "Item": item});
        let request = serde_json::from_value(request).unwrap();
        stack.dynamodb.database.put_item(request).unwrap();
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
async fn what_decides_is_read_strongly_consistent() {
    // A cleanup scans, and reads again before it decides.
    for operation in operations() {
        let scene = Scene::of(&operation).await;
        let (stack, faults) = scene.stage(&operation).await;
        (operation.act)(&stack, &scene.cast).await;
        for (name, request) in faults.disarm() {
            let only_shown = request.to_string().contains("ACTIVITY#")
                && request["ProjectionExpression"].is_null();
            let of_the_index = !request["IndexName"].is_null();
            if matches!(name.as_str(), "GetItem" | "Query") && !only_shown && !of_the_index {
                assert_eq!(
                    request["ConsistentRead"], true,
                    "{}: {name}: {request}",
                    operation.name
                );
            }
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
