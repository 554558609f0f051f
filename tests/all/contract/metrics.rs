//! What is counted: each operation, what it asks of DynamoDB, and that nothing else is published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use http::Method;
use latchkey_domain::clock::ManualClock;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::token::TokenAlgorithm;
use latchkey_runtime::emf::Emf;
use latchkey_service::key_rotation::KeyRotation;
use latchkey_service::metric::{METRICS, Scope};
use latchkey_tests::attack::faults::{Fault, Plan, Strikes, stack_with};
use latchkey_tests::harness::metering::{Lines, extract, recorder};
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::secrets_manager::{ARN, FakeSecretsManager};
use latchkey_tests::harness::stack::{PASSWORD, SECRET, Stack, identity, noon, test_places};
use serde_json::{Value, json};

const NEW_PASSWORD: &str = "wrong donkey charger paperclip";

/// A service whose metrics are read after each request.
struct Metered {
    stack: Stack,
    lines: Lines,
    /// The metrics of the stack that were seen so far.
    seen: BTreeSet<&'static str>,
    written: String,
}

impl Metered {
    async fn start(emf: &Emf) -> Self {
        let lines = Lines::default();
        let stack = Stack::start().await.with_places(test_places());
        let stack = lines.of(stack, emf);
        drop(stack.recorder.take());
        Self {
            stack,
            lines,
            seen: BTreeSet::new(),
            written: String::new(),
        }
    }

    /// Sends a request and compares what it counts: of the stack with `expected`, of DynamoDB with what was sent.
    async fn row(
        &mut self,
        operation: &str,
        expected: &[(&str, f64)],
        request: impl AsyncFnOnce(&Stack) -> Reply,
    ) -> Reply {
        let reply = request(&self.stack).await;
        let [line] = self.lines.take().try_into().unwrap();
        let counted = extract(&line);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["message"], "answered", "{operation}");
        assert_eq!(read["status"], reply.status.as_u16(), "{operation}");
        let id = &read["span"]["request_id"];
        assert_eq!(id.as_str(), reply.header("x-request-id"), "{operation}");
        self.written.push_str(&line);
        self.check(operation, expected, counted);
        reply
    }

    fn check(
        &mut self,
        operation: &str,
        expected: &[(&str, f64)],
        mut counted: BTreeMap<&'static str, f64>,
    ) {
        let mut take = |name: &str| counted.remove(name).unwrap_or_default();
        let of_dynamodb = (
            take("DynamoDbCalls"),
            take("DynamoDbReadUnits"),
            take("DynamoDbWriteUnits"),
        );
        let calls = self.stack.recorder.take();
        let noted = (
            f64::from(u32::try_from(calls.len()).unwrap()),
            calls.iter().map(|call| call.read_units).sum::<f64>(),
            calls.iter().map(|call| call.write_units).sum::<f64>(),
        );
        assert_eq!(
            of_dynamodb, noted,
            "{operation}: calls, read units, write units"
        );
        self.seen.extend(counted.keys());
        let counted: Vec<(&str, f64)> = counted.into_iter().collect();
        assert_eq!(counted, expected, "{operation}");
    }
}

async fn send(stack: &Stack, method: Method, path: &str, who: &SignedIn, body: Value) -> Reply {
    let call = stack.request(method, path).bearer(&who.access_token);
    match body {
        Value::Null => call.send().await,
        body => call.json(&body).send().await,
    }
}

/// Every route, and every row of the refresh; then that each metric of the stack came by that a request can make, and
/// that no line holds anything but names and numbers.
#[tokio::test]
async fn every_operation_counts_what_it_is_and_what_it_costs() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let mut metered = Metered::start(&emf).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let register = async |stack: &Stack| stack.post("/v1/auth/register").json(&body).send().await;
    let login = async |stack: &Stack| stack.try_login("ada@example.com", PASSWORD).await;

    let reply = metered
        .row("register", &[("Registrations", 1.0)], register)
        .await;
    let one = SignedIn::from(reply.body);
    metered.row("register, taken", &[], register).await;
    let of_a_new_device = [("NewDevices", 1.0), ("SignIns", 1.0)];
    let reply = metered.row("sign-in", &of_a_new_device, login).await;
    let two = SignedIn::from(reply.body);
    let wrong = async |stack: &Stack| stack.try_login("ada@example.com", "a wrong password").await;
    let failed = [("SignInFailures", 1.0)];
    metered.row("wrong password", &failed, wrong).await;
    let unknown = async |stack: &Stack| stack.try_login("eve@example.com", PASSWORD).await;
    metered.row("unknown address", &failed, unknown).await;
    for _ in 0..9 {
        metered.row("", &failed, unknown).await;
    }
    let throttled = [("SignInsThrottled", 1.0)];
    metered.row("throttled", &throttled, unknown).await;
    // A link is no password, and a list of sessions neither.
    let link = async |stack: &Stack| stack.request_password_reset("eve@example.com").await;
    for _ in 0..5 {
        metered.row("", &[("LinksRequested", 1.0)], link).await;
    }
    let throttled = [("RequestsThrottled", 1.0)];
    metered.row("link, throttled", &throttled, link).await;
    let list =
        async |stack: &Stack| send(stack, Method::GET, "/v1/sessions", &two, Value::Null).await;
    for _ in 0..30 {
        metered.row("", &[], list).await;
    }
    metered.row("list, throttled", &throttled, list).await;
    let malformed = async |stack: &Stack| {
        let call = stack.post("/v1/auth/login");
        call.bytes("application/json", b"{").send().await
    };
    metered.row("malformed sign-in", &[], malformed).await;

    // The refresh, row by row.
    let refresh = async |stack: &Stack| stack.refresh(&one.refresh_token).await;
    let reply = metered.row("refresh", &[("Refreshes", 1.0)], refresh).await;
    let next = SignedIn::from(reply.body);
    metered
        .row(
            "refresh, within the grace",
            &[("RefreshReplays", 1.0)],
            refresh,
        )
        .await;
    let newest = async |stack: &Stack| stack.refresh(&next.refresh_token).await;
    let reply = metered
        .row("refresh, not due", &[("RefreshNotDue", 1.0)], newest)
        .await;
    let current = SignedIn::from(reply.body);
    let refused = [("RefreshRefused", 1.0)];
    let forged = async |stack: &Stack| stack.refresh("nonsense").await;
    metered.row("refresh, not genuine", &refused, forged).await;
    let victim = SignedIn::from(metered.row("", &[("SignIns", 1.0)], login).await.body);
    let reused = async |stack: &Stack| stack.refresh(&victim.refresh_token).await;
    metered.row("", &[("Refreshes", 1.0)], reused).await;
    metered.stack.advance(TimeDelta::seconds(31));
    metered
        .row("refresh, reused", &[("TokenReuse", 1.0)], reused)
        .await;
    metered.row("refresh, ended", &refused, reused).await;

    // Reading counts nothing but DynamoDB's part, and what does not read counts nothing at all.
    for path in ["/v1/sessions", "/v1/sessions/current", "/v1/me"] {
        let get = async |stack: &Stack| send(stack, Method::GET, path, &current, Value::Null).await;
        metered.row(path, &[], get).await;
    }
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/openapi.json",
        "/docs",
        "/nowhere",
        "/v1/me",
    ] {
        let get = async |stack: &Stack| stack.get(path).send().await;
        metered.row(path, &[], get).await;
    }
    let path = format!("/v1/sessions/{}", two.session_id);
    let rename = async |stack: &Stack| {
        send(
            stack,
            Method::PATCH,
            &path,
            &current,
            json!({"name": "a secret name"}),
        )
        .await
    };
    metered.row("rename", &[], rename).await;

    // The ends of sessions: as many as a person has ended.
    let ended = |sessions: f64| [("Revocations", sessions)];
    let revoke =
        async |stack: &Stack| send(stack, Method::DELETE, &path, &current, Value::Null).await;
    metered.row("revoke", &ended(1.0), revoke).await;
    metered.row("revoke, again", &[], revoke).await;
    // Sessions that ended by then say nothing of devices any more, for the difference of two clocks.
    let three = SignedIn::from(metered.row("", &of_a_new_device, login).await.body);
    let logout = async |stack: &Stack| {
        let body = json!({"refresh_token": three.refresh_token});
        stack.post("/v1/auth/logout").json(&body).send().await
    };
    metered.row("logout", &ended(1.0), logout).await;
    metered.row("logout, again", &[], logout).await;
    metered.row("", &of_a_new_device, login).await;
    for _ in 0..2 {
        metered.row("", &[("SignIns", 1.0)], login).await;
    }
    let all = async |stack: &Stack| {
        send(
            stack,
            Method::POST,
            "/v1/sessions/revoke-all",
            &current,
            Value::Null,
        )
        .await
    };
    metered.row("revoke-all", &ended(3.0), all).await;
    metered.row("revoke-all, again", &[], all).await;
    let purge = async |stack: &Stack| {
        send(
            stack,
            Method::DELETE,
            "/v1/sessions/expired",
            &current,
            Value::Null,
        )
        .await
    };
    metered.row("purge", &[], purge).await;
    metered.row("", &of_a_new_device, login).await;
    let reauthenticate = |password: &'static str| {
        let current = &current;
        async move |stack: &Stack| stack.reauthenticate(current, password).await
    };
    let wrong = reauthenticate("a wrong password");
    metered
        .row("reauthentication, wrong password", &failed, wrong)
        .await;
    metered
        .row("reauthentication", &[], reauthenticate(PASSWORD))
        .await;
    let change = async |stack: &Stack| {
        let body = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
        send(stack, Method::PUT, "/v1/me/password", &current, body).await
    };
    let reply = metered.row("password change", &ended(2.0), change).await;
    let changed = SignedIn::from(reply.body);
    let delete = |password: &'static str| {
        let changed = &changed;
        async move |stack: &Stack| {
            let body = json!({"password": password});
            send(stack, Method::POST, "/v1/me/delete", changed, body).await
        }
    };
    metered
        .row(
            "delete, wrong password",
            &failed,
            delete("a wrong password"),
        )
        .await;
    metered
        .row("delete", &ended(1.0), delete(NEW_PASSWORD))
        .await;

    // Administration: every request that is admitted, done or refused by the rules, and the sessions that it ends.
    let reply = metered.row("", &[("Registrations", 1.0)], register).await;
    let user = SignedIn::from(reply.body).user_id.unwrap();
    metered.stack.grant(user).await;
    let admin = SignedIn::from(metered.row("", &of_a_new_device, login).await.body);
    let acted = [("AdminActions", 1.0)];
    let path = format!("/v1/admin/users/{user}");
    let show = async |stack: &Stack| send(stack, Method::GET, &path, &admin, Value::Null).await;
    metered.row("admin: show", &acted, show).await;
    let own = async |stack: &Stack| send(stack, Method::DELETE, &path, &admin, Value::Null).await;
    metered.row("admin: own account", &acted, own).await;
    let all = format!("{path}/sessions/revoke-all");
    let all = async |stack: &Stack| send(stack, Method::POST, &all, &admin, Value::Null).await;
    let ended = [("AdminActions", 1.0), ("Revocations", 2.0)];
    metered.row("admin: revoke-all", &ended, all).await;
    metered.row("admin: signed out", &[], show).await;
    let unknown_client = async |stack: &Stack| {
        let call = stack.post("/oauth/introspect").basic("nobody", "x");
        call.form(&[("token", "x")]).send().await
    };
    let refused = [("ClientRefusals", 1.0)];
    metered
        .row("unknown client", &refused, unknown_client)
        .await;

    // Those that are left are the cleanup's, the authorizer's, the 503s' and those of the next tests.
    let of_requests = METRICS.iter().map(|metric| metric.name);
    let left: Vec<&str> = of_requests
        .filter(|name| !metered.seen.contains(name) && !name.starts_with("DynamoDb"))
        .collect();
    assert_eq!(
        left,
        [
            "UnusualLocations",
            "LinksRefused",
            "PasswordResets",
            "EmailsVerified",
            "TokenAhead",
            "Throttled",
            "AuthorizerDenied",
            "LiveSessions",
            "CleanupRuns",
            "CleanupRemoved",
            "EventsPublished",
            "ActivityEntries",
            "DeadLetters",
            "MailsSent",
            "MailFailures",
            "MailsRefused",
            "MailsLeftOut",
            "MailsUnfounded",
            "KeyRotations",
            "ClockDifferences",
            "ColdStarts",
        ]
    );
    let mut secrets = vec![
        PASSWORD.to_owned(),
        NEW_PASSWORD.to_owned(),
        "ada@example.com".to_owned(),
        "a secret name".to_owned(),
        String::from_utf8_lossy(SECRET).into_owned(),
        one.user_id.unwrap().to_string(),
    ];
    for who in [&one, &two, &three, &next, &current, &victim, &changed] {
        secrets.push(who.session_id.to_string());
        for token in [&who.access_token, &who.refresh_token] {
            secrets.extend(token.split('.').map(str::to_owned));
        }
    }
    for secret in secrets {
        assert!(!metered.written.contains(&secret), "{secret}");
    }
}

#[tokio::test]
async fn links_count_what_becomes_of_them() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let mut metered = Metered::start(&emf).await;
    let ada = metered.stack.register("ada@example.com").await;
    drop(emf.event_line(metered.stack.now(), "the registration"));
    drop((metered.lines.take(), metered.stack.recorder.take()));
    let user = ada.user_id.unwrap();
    for (operation, email) in [("known", "ada@example.com"), ("unknown", "eve@example.com")] {
        let ask = async |stack: &Stack| stack.request_password_reset(email).await;
        let requested = [("LinksRequested", 1.0)];
        metered.row(operation, &requested, ask).await;
    }
    let token = metered.stack.verify_token(user).await;
    let verify = async |stack: &Stack| stack.verify_email(&token).await;
    let verified = [("EmailsVerified", 1.0)];
    metered.row("verification", &verified, verify).await;
    metered.row("verification, again", &[], verify).await;
    let token = metered.stack.reset_token(user).await;
    let reset = async |stack: &Stack| stack.reset_password(&token, NEW_PASSWORD).await;
    let done = [("PasswordResets", 1.0), ("Revocations", 1.0)];
    metered.row("reset", &done, reset).await;
    let refused = [("LinksRefused", 1.0)];
    metered.row("reset, used", &refused, reset).await;
    let forged = async |stack: &Stack| stack.verify_email("nonsense").await;
    metered.row("forged", &refused, forged).await;
}

/// What a scheduled run counts.
async fn clean_up(metered: &mut Metered, emf: &Emf, deadline: TimeDelta, expected: &[(&str, f64)]) {
    let stack = &metered.stack;
    drop(stack.recorder.take());
    let deadline = u64::try_from((stack.now() + deadline).timestamp_millis()).unwrap();
    drop(cleanup::on_schedule(&stack.store, stack.core.clock.as_ref(), deadline).await);
    let line = emf.event_line(stack.now(), "a run");
    let counted = line.map(|line| extract(&line)).unwrap_or_default();
    metered.check("cleanup", expected, counted);
}

#[tokio::test]
async fn a_new_device_and_an_unusual_place_are_counted() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let mut metered = Metered::start(&emf).await;
    let from = |path: &'static str, device: &'static str, address: &'static str| {
        let body = json!({"email": "ada@example.com", "password": PASSWORD, "device_name": device});
        async move |stack: &Stack| {
            let call = stack.post(path).json(&body);
            call.from_address(address.parse().unwrap()).send().await
        }
    };
    let (london, milton) = ("81.2.69.160", "216.160.83.56");
    let register = from("/v1/auth/register", "Laptop", london);
    let registered = [("Registrations", 1.0)];
    metered.row("register", &registered, register).await;
    let new = [("NewDevices", 1.0), ("SignIns", 1.0)];
    let login = |device, address| from("/v1/auth/login", device, address);
    metered.row("new", &new, login("Phone", london)).await;
    // The place of the latest session counts.
    metered.stack.advance(TimeDelta::minutes(1));
    let unusual = [("SignIns", 1.0), ("UnusualLocations", 1.0)];
    metered.row("far", &unusual, login("Phone", milton)).await;
    let neither = [("SignIns", 1.0)];
    metered.row("again", &neither, login("Phone", milton)).await;
}

#[tokio::test]
async fn a_token_ahead_of_its_session_is_counted() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let mut metered = Metered::start(&emf).await;
    let ada = metered.stack.register("ada@example.com").await;
    let reply = metered.stack.refresh(&ada.refresh_token).await;
    let newest = SignedIn::from(reply.body);
    // As a restored backup would.
    let table = metered.stack.table();
    let session = table.session(ada.user_id.unwrap(), ada.session_id);
    session.set("rotation", 0).await;
    drop(emf.event_line(metered.stack.now(), "the backup"));
    drop((metered.lines.take(), metered.stack.recorder.take()));
    let ahead = async |stack: &Stack| stack.refresh(&newest.refresh_token).await;
    let counted = [("RefreshRefused", 1.0), ("TokenAhead", 1.0)];
    metered.row("refresh, ahead", &counted, ahead).await;
}

#[tokio::test]
async fn a_rotation_of_the_keys_counts_itself_when_it_is_finished() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let secrets = FakeSecretsManager::start(&json!({"current": "x".repeat(32)}), None).await;
    let rotation = KeyRotation {
        secret: secrets.secret(),
        identity: identity(),
        policy: SessionPolicy::default(),
        algorithm: TokenAlgorithm::EdDsa,
        clock: Arc::new(ManualClock::starting_at(noon())),
        random: Arc::new(SeededRandom::new(1)),
    };
    let token = "the-token-of-this-rotation-0123456789";
    secrets.begin_rotation(token);
    for (step, counted) in [
        ("createSecret", None),
        ("testSecret", None),
        ("finishSecret", Some(1.0)),
        ("finishSecret", None),
    ] {
        rotation.run(step, ARN, token).await.unwrap();
        let line = emf.event_line(noon(), step);
        let line = line.map(|line| extract(&line)).unwrap_or_default();
        assert_eq!(line.get("KeyRotations").copied(), counted, "{step}");
    }
}

#[tokio::test]
async fn a_cleanup_counts_itself_what_it_removed_and_who_is_live() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let mut metered = Metered::start(&emf).await;
    metered.stack.register("ada@example.com").await;
    metered.stack.register("bob@example.com").await;
    metered.stack.advance(TimeDelta::days(61));
    metered.stack.login("ada@example.com").await;
    let long = TimeDelta::minutes(15);
    let counts = |removed, live| {
        [
            ("CleanupRemoved", removed),
            ("CleanupRuns", 1.0),
            ("LiveSessions", live),
        ]
    };
    clean_up(&mut metered, &emf, long, &counts(2.0, 1.0)).await;
    // Nothing to remove is a number too, and so is nobody.
    clean_up(&mut metered, &emf, long, &counts(0.0, 1.0)).await;
    metered.stack.advance(TimeDelta::days(8));
    clean_up(&mut metered, &emf, long, &counts(0.0, 0.0)).await;
    // Without time: a run, but it has not seen who is live.
    let stopped = [("CleanupRemoved", 0.0), ("CleanupRuns", 1.0)];
    clean_up(&mut metered, &emf, TimeDelta::zero(), &stopped).await;
    // Another one is running: none.
    let held = metered.stack.now() + TimeDelta::hours(1);
    let begun = metered
        .stack
        .store
        .begin_cleanup(4, metered.stack.now(), held);
    assert!(begun.await.unwrap().is_some());
    drop(emf.event_line(metered.stack.now(), "the other"));
    clean_up(&mut metered, &emf, long, &[]).await;
}

#[tokio::test]
async fn a_cleanup_that_goes_on_from_another_has_not_seen_all_that_live() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let mut metered = Metered::start(&emf).await;
    for n in 0..8 {
        metered
            .stack
            .register(&format!("user{n}@example.com"))
            .await;
    }
    let budget = cleanup::Budget {
        until: metered.stack.now() + TimeDelta::minutes(10),
        read_units: 0.5,
        read_units_per_second: 1_000.0,
        page_items: 1,
    };
    let clock = metered.stack.core.clock.clone();
    let first = cleanup::run(&metered.stack.cleanup_store, clock.as_ref(), budget).await;
    assert!(!first.unwrap().complete);
    drop(emf.event_line(metered.stack.now(), "the first"));
    let rest = [("CleanupRemoved", 0.0), ("CleanupRuns", 1.0)];
    clean_up(&mut metered, &emf, TimeDelta::minutes(15), &rest).await;
}

/// Tokio's clock stands still but for the waits of the SDK and of the store.
#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_call_and_a_503_is_throttled_only_if_there_was_too_much_to_do() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let lines = Lines::default();
    let stack = lines.of(stack, &emf);
    let ada = stack.register("ada@example.com").await;
    drop(lines.take());
    let me = async |fault, operation: &str, strikes| {
        faults.arm(Plan {
            fault,
            operation: operation.to_owned(),
            nth: 0,
            strikes,
        });
        let reply = if operation == "GetItem" {
            send(&stack, Method::GET, "/v1/me", &ada, Value::Null).await
        } else {
            stack.try_login("ada@example.com", PASSWORD).await
        };
        let sent = faults.disarm().len();
        let [line] = lines.take().try_into().unwrap();
        let counted = extract(&line);
        assert_eq!(
            counted.get("DynamoDbCalls").copied(),
            Some(f64::from(u32::try_from(sent).unwrap())),
            "each attempt is a call"
        );
        (
            reply.status.as_u16(),
            sent,
            counted.get("Throttled").copied(),
        )
    };
    let (once, always) = (Strikes::Times(1), Strikes::Always);
    for fault in [Fault::Throttled, Fault::ThroughputExceeded] {
        assert_eq!(me(fault, "GetItem", once).await, (200, 2, None));
        assert_eq!(me(fault, "GetItem", always).await, (503, 3, Some(1.0)));
    }
    assert_eq!(
        me(Fault::ServiceUnavailable, "GetItem", always).await,
        (503, 3, None),
        "broken, not busy"
    );
    assert_eq!(me(Fault::Silence, "GetItem", once).await, (200, 2, None));
    let (status, _, throttled) =
        me(Fault::CanceledByThrottling, "TransactWriteItems", always).await;
    assert_eq!((status, throttled), (503, Some(1.0)));
    // Whoever has an account can bring this about, so it must not look like a fault of ours.
    let (status, _, throttled) = me(Fault::CanceledByConflict, "TransactWriteItems", always).await;
    assert_eq!((status, throttled), (503, Some(1.0)));
}

/// The store names its metrics itself, because the HTTP side knows no DynamoDB.
#[test]
fn the_store_and_the_list_name_the_same_metrics() {
    use latchkey_store::metering::{CALLS, READ_UNITS, WRITE_UNITS};
    let of_dynamodb: Vec<&str> = METRICS
        .iter()
        .map(|metric| metric.name)
        .filter(|name| name.starts_with("DynamoDb"))
        .collect();
    assert_eq!(of_dynamodb, [CALLS, READ_UNITS, WRITE_UNITS]);
}

#[test]
fn the_guide_has_the_list() {
    let guide = include_str!("../../../infra/guides/operate/watch.md");
    let rows: Vec<String> = METRICS
        .iter()
        .map(|metric| {
            let (name, meaning) = (metric.name, metric.meaning);
            let place = match metric.scope {
                Scope::Stack => "metric",
                Scope::Line => "log line",
            };
            format!("| `{name}` | {place} | {meaning} |")
        })
        .collect();
    let rows = rows.join("\n");
    assert!(guide.contains(&rows), "{rows}");
}
