use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::activity::{ActivityEntry, ActivityPosition};
use latchkey_domain::id::UserId;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack, test_places};
use serde_json::{Value, json};

const MINE: &str = "/v1/me/activity";

async fn get(stack: &Stack, path: &str, who: &SignedIn) -> Reply {
    stack.get(path).bearer(&who.access_token).send().await
}

fn types(list: &Value) -> Vec<&str> {
    let entries = list["activity"].as_array().unwrap().iter();
    entries
        .map(|entry| entry["type"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_user_sees_what_has_happened_the_newest_first() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::seconds(1));
    let phone = stack.login("ada@example.com").await;
    stack.advance(TimeDelta::seconds(1));
    let path = format!("/v1/sessions/{}", phone.session_id);
    let revoked = stack.delete(&path).bearer(&ada.access_token).send().await;
    revoked.expect(StatusCode::NO_CONTENT);
    stack.register("bob@example.com").await;
    stack.stream().drain().await;
    let list = get(&stack, MINE, &ada).await.expect(StatusCode::OK);
    let shown = types(&list);
    assert_eq!(shown[..2], ["session.ended", "session.created"]);
    assert_eq!(shown.len(), 4, "nobody else's: {list}");
    assert_eq!(list["next_cursor"], Value::Null);
    let [ended, begun] = [&list["activity"][0], &list["activity"][1]];
    let expected = json!({
        "id": ended["id"], "type": "session.ended", "time": "2026-03-01T12:00:02.000Z",
        "session_id": phone.session_id.to_string(), "is_current_session": false,
        "device_name": "Chrome on Windows", "device_type": "desktop", "name": null,
        "ip_address": "203.0.113.7", "location_city": null, "location_country": null, "reason": "revoked", "actor": "owner", "new_device": null,
        "unusual_location": null,
    });
    assert_eq!(*ended, expected);
    assert_eq!(begun["device_name"], "Chrome on Windows");
    assert_eq!(
        (&begun["device_type"], &begun["ip_address"]),
        (&json!("desktop"), &json!("203.0.113.7"))
    );
    let own = list["activity"].as_array().unwrap().iter();
    let own: Vec<_> = own
        .filter(|entry| entry["is_current_session"] == true)
        .collect();
    assert_eq!(own.len(), 1);
    assert_eq!(own[0]["session_id"], ada.session_id.to_string());
}

#[tokio::test]
async fn pages_show_every_entry_once() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    for _ in 0..3 {
        stack.login("ada@example.com").await;
    }
    stack.stream().drain().await;
    let whole = get(&stack, "/v1/me/activity?limit=5", &ada)
        .await
        .expect(StatusCode::OK);
    assert_eq!(
        (types(&whole).len(), &whole["next_cursor"]),
        (5, &Value::Null)
    );
    for limit in 1..=4 {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("{MINE}?limit={limit}{cursor}");
            let page = get(&stack, &path, &ada).await.expect(StatusCode::OK);
            seen.extend(page["activity"].as_array().unwrap().clone());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(json!(seen), whole["activity"], "{limit}");
    }
}

#[tokio::test]
async fn a_cursor_that_is_forged_or_anothers_is_refused_alike() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let bob = stack.administrator("bob@example.com").await;
    stack.stream().drain().await;
    let page = get(&stack, "/v1/me/activity?limit=1", &ada)
        .await
        .expect(StatusCode::OK);
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    let of_ada = format!("/v1/admin/users/{}/activity", ada.user_id.unwrap());
    let of_bob = format!("/v1/admin/users/{}/activity", bob.user_id.unwrap());
    let taken = format!("{of_ada}?cursor={cursor}");
    get(&stack, &taken, &bob).await.expect(StatusCode::OK);
    for wrong in [
        "x",
        "",
        "AAAA",
        &cursor[1..],
        &format!("{cursor}A"),
        &cursor,
    ] {
        for path in [MINE, &of_bob] {
            let reply = get(&stack, &format!("{path}?cursor={wrong}"), &bob).await;
            let reply = reply.expect_problem(400, "invalid_request");
            assert_eq!(
                reply.body["detail"],
                "The query's cursor is not the next_cursor of a page."
            );
        }
    }
    for wrong in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "limit=1e1",
        "limit=",
        "page=2",
        "limit=1&limit=2",
    ] {
        for path in [MINE, &of_ada] {
            let reply = get(&stack, &format!("{path}?{wrong}"), &bob).await;
            reply.expect_problem(400, "invalid_request");
        }
    }
    stack
        .get(MINE)
        .send()
        .await
        .expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn an_expired_entry_is_not_shown_although_it_is_still_there() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    stack.stream().drain().await;
    stack.advance(TimeDelta::days(90) - TimeDelta::milliseconds(1));
    let ada = stack.login("ada@example.com").await;
    let list = get(&stack, MINE, &ada).await.expect(StatusCode::OK);
    assert_eq!(types(&list).len(), 2);
    stack.advance(TimeDelta::milliseconds(1));
    let list = get(&stack, MINE, &ada).await.expect(StatusCode::OK);
    assert_eq!(types(&list), [""; 0]);
    let export = get(&stack, "/v1/me/export", &ada)
        .await
        .expect(StatusCode::OK);
    assert_eq!(export["activity"], json!([]));
    let items = stack.items().await;
    let kept = items
        .iter()
        .filter(|item| item["pk"].as_str().unwrap().starts_with("ACTIVITY#"));
    assert_eq!(kept.count(), 2);
}

#[tokio::test]
async fn only_an_administrator_sees_which_administrator_it_was() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let root = stack.administrator("root@example.com").await;
    let path = format!("/v1/admin/users/{}", ada.user_id.unwrap());
    for status in ["disabled", "active"] {
        stack.advance(TimeDelta::seconds(1));
        let update = stack
            .request(Method::PATCH, &path)
            .bearer(&root.access_token);
        let updated = update.json(&json!({"status": status})).send().await;
        updated.expect(StatusCode::OK);
    }
    stack.advance(TimeDelta::seconds(1));
    let ada = stack.login("ada@example.com").await;
    stack.stream().drain().await;
    let root_id = root.user_id.unwrap().to_string();
    for mine in [MINE, "/v1/me/export"] {
        let shown = get(&stack, mine, &ada).await.expect(StatusCode::OK);
        assert_eq!(shown["activity"][1]["type"], "user.enabled");
        assert_eq!(shown["activity"][1]["actor"], "admin");
        assert!(!shown.to_string().contains(&root_id), "{shown}");
    }
    let seen = get(&stack, &format!("{path}/activity"), &root).await;
    let seen = seen.expect(StatusCode::OK);
    assert_eq!(seen["activity"][1]["actor_id"], root_id);
    let ended = &seen["activity"].as_array().unwrap()[2..4];
    assert!(
        ended
            .iter()
            .any(|entry| entry["reason"] == "account_disabled"),
        "{seen}"
    );
    get(&stack, &format!("{path}/activity"), &ada)
        .await
        .expect_problem(403, "insufficient_scope");
    let nobody = path.replace(&ada.user_id.unwrap().to_string(), &uuid_of_nobody());
    get(&stack, &format!("{nobody}/activity"), &root)
        .await
        .expect_problem(404, "user_not_found");
}

fn uuid_of_nobody() -> String {
    "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11".to_owned()
}

#[tokio::test]
async fn an_export_has_everything_that_is_stored_but_the_hash() {
    let stack = Stack::start().await.with_places(test_places());
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::seconds(1));
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let london = stack.post("/v1/auth/login").json(&body);
    let london = london.from_address("81.2.69.160".parse().unwrap());
    let phone = SignedIn::from(london.send().await.expect(StatusCode::OK));
    let logout = json!({"refresh_token": phone.refresh_token});
    stack
        .post("/v1/auth/logout")
        .json(&logout)
        .send()
        .await
        .expect(StatusCode::NO_CONTENT);
    stack.register("bob@example.com").await;
    stack.stream().drain().await;
    let reply = get(&stack, "/v1/me/export", &ada).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(
        reply.header("content-disposition"),
        Some("attachment; filename=\"latchkey-export.json\"")
    );
    let export = reply.expect(StatusCode::OK);
    assert_eq!(export["account"]["email"], "ada@example.com");
    assert_eq!(export["account"]["password"], json!({"version": 1}));
    assert_eq!(export["account"]["identity"], Value::Null);
    let sessions = export["sessions"].as_array().unwrap();
    let states: Vec<_> = sessions
        .iter()
        .map(|session| (&session["id"], &session["state"]))
        .collect();
    let (one, two) = (json!(ada.session_id), json!(phone.session_id));
    assert_eq!(states, [(&two, &json!("ended")), (&one, &json!("live"))]);
    let coordinates = sessions.iter().map(|session| &session["coordinates"]);
    let coordinates: Vec<_> = coordinates.collect();
    assert_eq!(coordinates, [&json!("51.5,-0.1"), &json!(null)]);
    assert!(export["account"]["devices_since"].is_string());
    assert_eq!(types(&export).len(), 4);
    assert_eq!(
        (&export["has_more_sessions"], &export["has_more_activity"]),
        (&json!(false), &json!(false))
    );
    let text = export.to_string();
    for wrong in [PASSWORD, "$argon2", "eyJ", "bob@example.com"] {
        assert!(!text.contains(wrong), "{wrong}");
    }
    // Every text that is stored of the user is there, but the words of which only we make use.
    let user = ada.user_id.unwrap().to_string();
    for item in stack.items().await {
        if !item["pk"].as_str().unwrap().ends_with(&user) {
            continue;
        }
        for (name, value) in item.as_object().unwrap() {
            let ours = ["pk", "sk", "change", "previous_change", "status", "actor"];
            let shown = |value: &str| text.contains(value);
            if let Some(value) = value.as_str().filter(|_| !ours.contains(&name.as_str())) {
                assert!(shown(value), "{name}: {value}");
            }
        }
    }
    for _ in 0..4 {
        get(&stack, "/v1/me/export", &ada)
            .await
            .expect(StatusCode::OK);
    }
    get(&stack, "/v1/me/export", &ada)
        .await
        .expect_problem(429, "too_many_requests");
}

/// Writes 5,000 entries more, all like this one but for their times.
async fn write_many(stack: &Stack, user: UserId, like: ActivityEntry) {
    for number in 1..=5_000_i64 {
        let position = ActivityPosition {
            at: like.position.at - TimeDelta::milliseconds(number),
            ..like.position
        };
        let entry = ActivityEntry {
            position,
            ..like.clone()
        };
        stack.store.write_activity(user, &entry).await.unwrap();
    }
}

async fn newest_entry(stack: &Stack, user: UserId) -> ActivityEntry {
    stack.stream().drain().await;
    let page = stack.store.read_activity(user, None, 1, stack.now()).await;
    page.unwrap().entries[0].clone()
}

#[tokio::test]
async fn an_export_is_bounded_and_says_so() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let like = newest_entry(&stack, user).await;
    write_many(&stack, user, like).await;
    let reply = get(&stack, "/v1/me/export", &ada).await;
    assert!(reply.bytes.len() < 4_000_000, "{}", reply.bytes.len());
    let export = reply.expect(StatusCode::OK);
    assert_eq!(types(&export).len(), 5_000);
    assert_eq!(export["has_more_activity"], true);
}

/// Lambda hands a body over as a string in JSON, and refuses one of more than 6,291,556 bytes: API Gateway answers 500 then.
#[tokio::test]
async fn whatever_stands_in_an_export_lambda_can_hand_it_over() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let quotes = || Some("\"".repeat(100));
    let like = ActivityEntry {
        device_name: quotes(),
        name: quotes(),
        city: Some("\\".repeat(64)),
        country: Some("CA".to_owned()),
        ip_address: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
        ..newest_entry(&stack, user).await
    };
    write_many(&stack, user, like).await;
    let reply = get(&stack, "/v1/me/export", &ada).await;
    let body = String::from_utf8(reply.bytes.clone()).unwrap();
    let in_envelope = json!(body).to_string().len();
    assert!(
        (4_000_000..6_000_000).contains(&in_envelope),
        "{in_envelope}"
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let export = reply.expect(StatusCode::OK);
    assert_eq!(export["has_more_activity"], true);
    let newest = newest_entry(&stack, user).await.position.id;
    assert_eq!(
        export["activity"][0]["id"],
        json!(newest),
        "the newest stay"
    );
}
