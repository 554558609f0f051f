//! The routes of administration: what they show and do. Who may call them is in `guarantees::administration`.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::client::ClientScope;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::attack::faults::{Fault, Plan, Strikes, stack_with};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};

const ROOT: &str = "root@example.com";
const GRACE: &str = "grace@example.com";

async fn get(stack: &Stack, by: &SignedIn, path: &str) -> Reply {
    stack.get(path).bearer(&by.access_token).send().await
}

async fn send(stack: &Stack, by: &SignedIn, method: Method, path: &str, body: &Value) -> Reply {
    let call = stack.request(method, path).bearer(&by.access_token);
    if body.is_null() {
        call.send().await
    } else {
        call.json(body).send().await
    }
}

fn path_of(who: &SignedIn) -> String {
    format!("/v1/admin/users/{}", who.user_id.unwrap())
}

fn ids(list: &Value) -> Vec<&str> {
    let sessions = list["sessions"].as_array().unwrap();
    sessions
        .iter()
        .map(|session| session["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_user_is_found_by_any_spelling_of_the_address_and_shown_without_secrets() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register("Grace@Example.com").await;
    for spelling in [
        "grace@example.com",
        "GRACE@EXAMPLE.COM",
        "%20grace%40example.com",
    ] {
        let path = format!("/v1/admin/users?email={spelling}");
        let found = get(&stack, &root, &path).await.expect(StatusCode::OK);
        let shown = json!({
            "id": grace.user_id.unwrap(),
            "email": "Grace@Example.com",
            "email_verified": false,
            "identity": null,
            "status": "active",
            "roles": [],
            "created_at": grace.body["user"]["created_at"],
            "sessions": 1,
        });
        assert_eq!(
            found,
            json!({"users": [shown], "next_cursor": null}),
            "{spelling}"
        );
        let user = get(&stack, &root, &path_of(&grace)).await;
        assert_eq!(user.expect(StatusCode::OK), shown);
    }
    let nobody = get(&stack, &root, "/v1/admin/users?email=nobody@example.com").await;
    let nobody = nobody.expect(StatusCode::OK);
    assert_eq!(nobody, json!({"users": [], "next_cursor": null}));
    let random = UserId::random(stack.core.random.as_ref());
    let unknown = get(&stack, &root, &format!("/v1/admin/users/{random}")).await;
    unknown.expect_problem(404, "user_not_found");
}

#[tokio::test]
async fn somebody_who_signs_in_elsewhere_is_found_by_issuer_and_subject() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let secret = stack.add_client("sso", &[ClientScope::IssueSessions]).await;
    let (issuer, subject) = ("https://accounts.example.com", "grace|7 é");
    let body = json!({
        "identity": {"issuer": issuer, "subject": subject}, "email": GRACE, "amr": ["otp"],
    });
    let issue = stack.post("/v1/service/sessions").basic("sso", &secret);
    let issued = issue.json(&body).send().await.expect(StatusCode::CREATED);
    let query = "issuer=https%3A%2F%2Faccounts.example.com&subject=grace%7C7%20%C3%A9";
    let found = get(&stack, &root, &format!("/v1/admin/users?{query}")).await;
    let found = found.expect(StatusCode::OK);
    let [user] = found["users"].as_array().unwrap().as_slice() else {
        panic!("{found}")
    };
    assert_eq!(user["id"], issued["user"]["id"]);
    assert_eq!(
        user["identity"],
        json!({"issuer": issuer, "subject": subject})
    );
    assert_eq!(found["next_cursor"], Value::Null);
    let nobody = json!({"users": [], "next_cursor": null});
    // By the address alone they are not found: another provider may say it of somebody else.
    for query in [
        format!("email={GRACE}"),
        "issuer=https%3A%2F%2Faccounts.example.com&subject=grace".to_owned(),
        "issuer=https%3A%2F%2Faccounts.example.org&subject=grace%7C7%20%C3%A9".to_owned(),
    ] {
        let found = get(&stack, &root, &format!("/v1/admin/users?{query}")).await;
        assert_eq!(found.expect(StatusCode::OK), nobody, "{query}");
    }
    let path = format!("/v1/admin/users/{}", issued["user"]["id"].as_str().unwrap());
    let deleted = send(&stack, &root, Method::DELETE, &path, &Value::Null).await;
    deleted.expect(StatusCode::NO_CONTENT);
    let found = get(&stack, &root, &format!("/v1/admin/users?{query}")).await;
    assert_eq!(found.expect(StatusCode::OK), nobody);
}

#[tokio::test]
async fn all_users_are_seen_page_by_page_and_each_once() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let mut expected = BTreeSet::from([ROOT.to_owned()]);
    for number in 0..130 {
        let email = format!("user{number}@example.com");
        if number % 50 == 49 {
            // As many registrations as one address may make in a minute.
            stack.advance(TimeDelta::minutes(1));
        }
        stack.register(&email).await;
        expected.insert(email);
    }
    let mut path = "/v1/admin/users".to_owned();
    let (mut seen, mut pages) = (BTreeSet::new(), 0);
    loop {
        let page = get(&stack, &root, &path).await.expect(StatusCode::OK);
        pages += 1;
        let users = page["users"].as_array().unwrap();
        assert!(users.len() <= 100, "{}", users.len());
        for user in users {
            let email = user["email"].as_str().unwrap().to_owned();
            assert!(seen.insert(email), "{user} is seen twice");
        }
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/v1/admin/users?cursor={next}");
    }
    assert_eq!(seen, expected);
    assert!(pages >= 2, "{pages}");
}

/// A cursor is a place to begin at. Whatever it says, a page holds users and nothing else.
#[tokio::test]
async fn a_cursor_that_was_made_up_shows_nothing_but_users() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let of_grace = format!("USER#{}", grace.user_id.unwrap());
    let session = format!("SESSION#{}", grace.session_id);
    let emoji = "\u{1f511}".repeat(500);
    let log = Log::capture();
    for (pk, sk) in [
        ("EMAIL#grace@example.com", "CREDENTIAL"),
        ("EMAIL#", "A"),
        ("CLEANUP", "CHECKPOINT"),
        ("THROTTLE#sign-in#x", "2026"),
        (&of_grace, &session),
        (&of_grace, "ACCOUNT"),
        ("nothing", "at all"),
        ("\u{0}", "\u{0}"),
        (&emoji, "x"),
    ] {
        let cursor = BASE64_URL_SAFE_NO_PAD.encode(format!("{pk}\n{sk}"));
        let path = format!("/v1/admin/users?cursor={cursor}");
        let page = get(&stack, &root, &path).await.expect(StatusCode::OK);
        let emails = page["users"].as_array().unwrap().iter();
        for email in emails.map(|user| user["email"].as_str().unwrap()) {
            assert!([ROOT, GRACE].contains(&email), "{email}");
        }
        let text = page.to_string();
        for secret in [
            "argon2", "password", "rotation", "jti", "SESSION#", "EMAIL#",
        ] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    // What is no account did not even leave the database: it would be logged as a broken one.
    let log = log.end();
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn the_sessions_of_a_user_are_shown_live_or_all() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let ended = stack.register(GRACE).await;
    let logout = json!({"refresh_token": ended.refresh_token});
    let reply = stack.post("/v1/auth/logout").json(&logout).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    let expired = stack.login(GRACE).await;
    stack.advance(TimeDelta::days(8));
    let live = stack.login(GRACE).await;
    let root = SignedIn {
        user_id: root.user_id,
        ..stack.login(ROOT).await
    };
    let grace = path_of(&ended);
    let list = get(&stack, &root, &format!("{grace}/sessions")).await;
    let list = list.expect(StatusCode::OK);
    assert_eq!(list["total"], 1);
    assert_eq!(ids(&list), [live.session_id.to_string()]);
    let of_owner = stack.get("/v1/sessions").bearer(&live.access_token);
    let mut owners = of_owner.send().await.expect(StatusCode::OK)["sessions"][0].take();
    owners["is_current"] = json!(false);
    owners["state"] = json!("live");
    assert_eq!(
        list["sessions"][0], owners,
        "what its owner sees, and its state"
    );

    let all = get(&stack, &root, &format!("{grace}/sessions?state=all")).await;
    let all = all.expect(StatusCode::OK);
    let states: Vec<(&str, &str)> = all["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["id"].as_str().unwrap(), one["state"].as_str().unwrap()))
        .collect();
    // The expired one left the set when its owner signed in again.
    let (live, expired, ended) = (
        live.session_id.to_string(),
        expired.session_id.to_string(),
        ended.session_id.to_string(),
    );
    assert_eq!(states[0], (live.as_str(), "live"));
    let mut others = states[1..].to_vec();
    others.sort_unstable();
    let mut expected = [(expired.as_str(), "ended"), (ended.as_str(), "ended")];
    expected.sort_unstable();
    assert_eq!(others, expected);

    for (session, state) in [(&live, "live"), (&ended, "ended")] {
        let found = get(&stack, &root, &format!("/v1/admin/sessions/{session}")).await;
        let found = found.expect(StatusCode::OK);
        assert_eq!(found["session"]["id"], json!(session));
        assert_eq!(found["session"]["state"], state);
        assert_eq!(found["user"]["email"], GRACE);
    }
    let own = get(&stack, &root, &format!("{}/sessions", path_of(&root))).await;
    assert_eq!(
        own.expect(StatusCode::OK)["sessions"][0]["is_current"],
        true
    );
    let random = SessionId::random(stack.core.random.as_ref());
    let unknown = get(&stack, &root, &format!("/v1/admin/sessions/{random}")).await;
    unknown.expect_problem(404, "session_not_found");
    stack.advance(TimeDelta::days(7) - TimeDelta::minutes(1));
    let root = stack.login(ROOT).await;
    stack.advance(TimeDelta::minutes(1));
    let run_out = get(&stack, &root, &format!("/v1/admin/sessions/{live}")).await;
    assert_eq!(
        run_out.expect(StatusCode::OK)["session"]["state"],
        "expired"
    );
}

#[tokio::test]
async fn an_administrator_ends_one_session_or_all_of_a_user() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let bob = stack.register("bob@example.com").await;
    let grace = stack.register(GRACE).await;
    let phone = stack.login(GRACE).await;
    let path = format!("{}/sessions/{}", path_of(&grace), phone.session_id);
    let revoke = send(&stack, &root, Method::DELETE, &path, &Value::Null).await;
    revoke.expect(StatusCode::NO_CONTENT);
    let refused = stack.refresh(&phone.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    assert_eq!(stack.session_ids(&grace).await, [grace.session_id]);
    let again = send(&stack, &root, Method::DELETE, &path, &Value::Null).await;
    again.expect_problem(404, "session_not_found");
    // A session is ended as one of its user, not of another.
    let of_bob = format!("{}/sessions/{}", path_of(&bob), grace.session_id);
    let foreign = send(&stack, &root, Method::DELETE, &of_bob, &Value::Null).await;
    foreign.expect_problem(404, "session_not_found");

    stack.login(GRACE).await;
    let all = format!("{}/sessions/revoke-all", path_of(&grace));
    for revoked in [2, 0] {
        let reply = send(&stack, &root, Method::POST, &all, &Value::Null).await;
        assert_eq!(reply.expect(StatusCode::OK), json!({"revoked": revoked}));
    }
    let refused = stack.refresh(&grace.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    assert_eq!(stack.session_ids(&bob).await, [bob.session_id]);
    stack.login(GRACE).await;
}

#[tokio::test]
async fn a_disabled_account_is_closed_until_it_is_enabled() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let path = path_of(&grace);
    let disable = json!({"status": "disabled"});
    let shown = send(&stack, &root, Method::PATCH, &path, &disable).await;
    let shown = shown.expect(StatusCode::OK);
    assert_eq!(
        (&shown["status"], &shown["sessions"]),
        (&json!("disabled"), &json!(0))
    );
    let refused = stack.refresh(&grace.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    let refused = stack.try_login(GRACE, PASSWORD).await;
    refused.expect_problem(403, "account_disabled");
    // Still found, by either way.
    let found = get(&stack, &root, "/v1/admin/users?email=grace@example.com").await;
    assert_eq!(
        found.expect(StatusCode::OK)["users"][0]["status"],
        "disabled"
    );

    let enable = json!({"status": "active"});
    for _ in 0..2 {
        let shown = send(&stack, &root, Method::PATCH, &path, &enable).await;
        assert_eq!(shown.expect(StatusCode::OK)["status"], "active");
    }
    let refused = stack.refresh(&grace.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    stack.login(GRACE).await;
}

#[tokio::test]
async fn roles_are_replaced_and_open_administration_from_the_next_refresh_on() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let path = path_of(&grace);
    let roles = json!({"roles": ["clerk", "admin", "clerk"]});
    let shown = send(&stack, &root, Method::PATCH, &path, &roles).await;
    assert_eq!(
        shown.expect(StatusCode::OK)["roles"],
        json!(["admin", "clerk"])
    );
    let me = stack.get("/v1/me").bearer(&grace.access_token).send().await;
    assert_eq!(
        me.expect(StatusCode::OK)["roles"],
        json!(["admin", "clerk"])
    );
    let not_yet = get(&stack, &grace, "/v1/admin/users").await;
    not_yet.expect_problem(403, "insufficient_scope");
    let refreshed = SignedIn::from(stack.refresh(&grace.refresh_token).await.body);
    get(&stack, &refreshed, "/v1/admin/users")
        .await
        .expect(StatusCode::OK);
    let none = json!({"roles": []});
    let shown = send(&stack, &root, Method::PATCH, &path, &none).await;
    assert_eq!(shown.expect(StatusCode::OK)["roles"], json!([]));
    let refused = get(&stack, &refreshed, "/v1/admin/users").await;
    refused.expect_problem(403, "insufficient_scope");
}

#[tokio::test]
async fn a_deleted_user_is_gone_and_stays_gone() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let before = stack.items().await;
    let grace = stack.register(GRACE).await;
    stack.login(GRACE).await;
    let path = path_of(&grace);
    let delete = send(&stack, &root, Method::DELETE, &path, &Value::Null).await;
    delete.expect(StatusCode::NO_CONTENT);
    assert_eq!(stack.items().await, before, "nothing is left");
    let refused = stack.refresh(&grace.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    for (method, path, body) in [
        (Method::GET, path.clone(), Value::Null),
        (Method::GET, format!("{path}/sessions"), Value::Null),
        (Method::PATCH, path.clone(), json!({"status": "active"})),
        (
            Method::POST,
            format!("{path}/sessions/revoke-all"),
            Value::Null,
        ),
        (Method::DELETE, path.clone(), Value::Null),
        (
            Method::DELETE,
            format!("{path}/sessions/{}", grace.session_id),
            Value::Null,
        ),
    ] {
        let gone = send(&stack, &root, method, &path, &body).await;
        gone.expect_problem(404, "user_not_found");
    }
    stack.register(GRACE).await;
}

/// An interrupted deletion leaves an empty account for a day: it names nobody, and nothing brings it back.
#[tokio::test]
async fn what_an_interrupted_deletion_leaves_is_no_user() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    faults.arm(Plan {
        fault: Fault::Throttled,
        operation: "BatchWriteItem".to_owned(),
        nth: 0,
        strikes: Strikes::Always,
    });
    let path = path_of(&grace);
    let delete = send(&stack, &root, Method::DELETE, &path, &Value::Null).await;
    delete.expect(StatusCode::NO_CONTENT);
    faults.disarm();
    let left = stack.store.read_account(grace.user_id.unwrap()).await;
    assert!(left.unwrap().is_some_and(|account| account.is_deleted()));
    let enable = json!({"status": "active"});
    let gone = send(&stack, &root, Method::PATCH, &path, &enable).await;
    gone.expect_problem(404, "user_not_found");
    let session = format!("/v1/admin/sessions/{}", grace.session_id);
    let gone = get(&stack, &root, &session).await;
    gone.expect_problem(404, "session_not_found");
    let all = get(&stack, &root, "/v1/admin/users")
        .await
        .expect(StatusCode::OK);
    assert_eq!(all["users"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn many_users_are_signed_out_with_a_result_for_each() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    stack.login(GRACE).await;
    let bob = stack.register("bob@example.com").await;
    let nobody = UserId::random(stack.core.random.as_ref());
    let (grace_id, bob_id) = (grace.user_id.unwrap(), bob.user_id.unwrap());
    let capitals = bob_id.to_string().to_uppercase();
    let body = json!({"user_ids": [grace_id, nobody, capitals, bob_id]});
    let path = "/v1/admin/sessions/revoke";
    let reply = send(&stack, &root, Method::POST, path, &body).await;
    let results = json!({"results": [
        {"user_id": grace_id, "outcome": "revoked", "revoked": 2},
        {"user_id": nobody, "outcome": "user_not_found", "revoked": 0},
        {"user_id": bob_id, "outcome": "revoked", "revoked": 1},
    ]});
    assert_eq!(reply.expect(StatusCode::OK), results);
    for who in [&grace, &bob] {
        let refused = stack.refresh(&who.refresh_token).await;
        refused.expect_problem(401, "invalid_refresh_token");
    }
    get(&stack, &root, "/v1/admin/users")
        .await
        .expect(StatusCode::OK);

    let many: Vec<UserId> = (0..101)
        .map(|_| UserId::random(stack.core.random.as_ref()))
        .collect();
    // The document counts the items, so a user who is named 101 times is one too many as well.
    for wrong in [&many[..0], &many[..], &[bob_id; 101]] {
        let body = json!({"user_ids": wrong});
        let refused = send(&stack, &root, Method::POST, path, &body).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], "#/user_ids");
    }
    let body = json!({"user_ids": &many[..100]});
    let reply = send(&stack, &root, Method::POST, path, &body).await;
    let results = reply.expect(StatusCode::OK);
    assert_eq!(results["results"].as_array().unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_one_of_many_users_leaves_the_others_alone() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let mut users = Vec::new();
    for number in 0..3 {
        let user = stack.register(&format!("user{number}@example.com")).await;
        users.push(user.user_id.unwrap());
    }
    // Every write fails as often as the SDK sends it.
    faults.arm(Plan {
        fault: Fault::ServiceUnavailable,
        operation: "UpdateItem".to_owned(),
        nth: 0,
        strikes: Strikes::Always,
    });
    let body = json!({"user_ids": users});
    let path = "/v1/admin/sessions/revoke";
    let reply = send(&stack, &root, Method::POST, path, &body).await;
    let outcomes = |reply: Value| -> Vec<String> {
        let results = reply["results"].as_array().unwrap().clone();
        let outcomes = results.iter().map(|one| one["outcome"].as_str().unwrap());
        outcomes.map(str::to_owned).collect()
    };
    let reply = outcomes(reply.expect(StatusCode::OK));
    assert_eq!(reply, ["temporarily_unavailable"; 3]);
    // Of three users with three attempts each, seven failures make it three for one or two of them.
    faults.arm(Plan {
        fault: Fault::ServiceUnavailable,
        operation: "UpdateItem".to_owned(),
        nth: 0,
        strikes: Strikes::Times(7),
    });
    let reply = send(&stack, &root, Method::POST, path, &body).await;
    let reply = outcomes(reply.expect(StatusCode::OK));
    assert!(
        reply.contains(&"temporarily_unavailable".to_owned()),
        "{reply:?}"
    );
    assert!(reply.contains(&"revoked".to_owned()), "{reply:?}");
    faults.disarm();
    let reply = send(&stack, &root, Method::POST, path, &body).await;
    assert_eq!(outcomes(reply.expect(StatusCode::OK)), ["revoked"; 3]);
}

#[tokio::test]
async fn values_that_are_not_allowed_are_refused_before_anything_is_written() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let before = stack.items().await;
    let long = "x".repeat(33);
    let many: Vec<String> = (0..11).map(|number| format!("role{number}")).collect();
    for (body, pointer) in [
        (json!({}), "#"),
        (json!({"status": null, "roles": null}), "#"),
        (json!({"stauts": "disabled"}), "#"),
        (json!({"status": "deleted"}), "#/status"),
        (json!({"status": "Disabled"}), "#/status"),
        (json!({"status": ""}), "#/status"),
        (json!({"roles": [""]}), "#/roles"),
        (json!({"roles": ["Admin"]}), "#/roles"),
        (json!({"roles": ["a b"]}), "#/roles"),
        (json!({"roles": [long]}), "#/roles"),
        (json!({"roles": many}), "#/roles"),
        (json!({"status": "disabled", "roles": ["\u{0}"]}), "#/roles"),
    ] {
        let refused = send(&stack, &root, Method::PATCH, &path_of(&grace), &body).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{body}");
    }
    for query in [
        "email=",
        "email=ada",
        "email=a@example.com&email=b@example.com",
        "email=grace@example.com&cursor=",
        "cursor=",
        "cursor=x",
        "cursor=%00",
        "cursor=e30%3D",
        &format!("cursor={}", "A".repeat(5_000)),
        "limit=5",
        "issuer=idp",
        "subject=7",
        "issuer=&subject=7",
        "issuer=idp&subject=",
        "issuer=idp&subject=%00",
        "issuer=idp&subject=7&email=grace@example.com",
        "issuer=idp&subject=7&cursor=VVNFUiMxCkFDQ09VTlQ",
        "issuer=idp&email=grace@example.com",
        "issuer=idp&issuer=idp&subject=7",
        &format!("issuer=idp&subject={}", "x".repeat(256)),
    ] {
        let refused = get(&stack, &root, &format!("/v1/admin/users?{query}")).await;
        refused.expect_problem(400, "invalid_request");
    }
    for query in ["state=", "state=ended", "state=live&state=all", "State=all"] {
        let path = format!("{}/sessions?{query}", path_of(&grace));
        get(&stack, &root, &path)
            .await
            .expect_problem(400, "invalid_request");
    }
    assert_eq!(stack.items().await, before);
}
