//! Guarantee 6: nobody sees, renames or ends a session that is not theirs, or learns that it exists.

use http::{Method, StatusCode};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_tests::harness::operations::{Caller, operations};
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::Stack;
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";

#[tokio::test]
async fn somebody_elses_session_is_answered_as_one_that_does_not_exist() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let bob = stack.register("bob@example.com").await;
    let nobodys = SessionId::random(stack.core.random.as_ref());
    let before = stack.items().await;
    let same = |one: Reply, other: Reply| {
        let shown = |reply: Reply| {
            let mut body = reply.body;
            body["request_id"] = json!("");
            (reply.status, body)
        };
        let (one, other) = (shown(one), shown(other));
        assert_eq!(one, other);
        assert_eq!(one.1["code"], "session_not_found");
    };
    let path = |id: SessionId| format!("/v1/sessions/{id}");
    let delete = |id| stack.delete(&path(id)).bearer(&bob.access_token).send();
    same(delete(ada.session_id).await, delete(nobodys).await);
    let rename = |id| {
        stack
            .request(Method::PATCH, &path(id))
            .bearer(&bob.access_token)
            .json(&json!({"name": "mine"}))
            .send()
    };
    same(rename(ada.session_id).await, rename(nobodys).await);
    assert_eq!(stack.session_ids(&bob).await, [bob.session_id]);
    for call in [
        stack.post("/v1/sessions/revoke-all?keep_current=false"),
        stack.delete("/v1/sessions/expired"),
    ] {
        call.bearer(&stack.login("bob@example.com").await.access_token)
            .send()
            .await
            .expect(StatusCode::OK);
    }
    assert_eq!(stack.session_ids(&ada).await, [ada.session_id]);
    let of_ada = |items: &[serde_json::Value]| -> Vec<serde_json::Value> {
        let user = format!("USER#{}", ada.user_id.unwrap());
        items
            .iter()
            .filter(|item| item["pk"] == json!(user))
            .cloned()
            .collect()
    };
    assert_eq!(of_ada(&stack.items().await), of_ada(&before));
}

/// The items of a user, in whatever partition.
fn of_user(items: &[Value], user: &SignedIn, email: &str) -> Vec<Value> {
    let id = user.user_id.unwrap();
    let partitions = [
        format!("USER#{id}"),
        format!("ACTIVITY#{id}"),
        format!("EMAIL#{email}"),
    ];
    let is_theirs = |item: &&Value| partitions.iter().any(|pk| item["pk"] == json!(pk));
    items.iter().filter(is_theirs).cloned().collect()
}

/// A reply, less what differs by chance.
fn shown(reply: &Reply) -> (StatusCode, Value) {
    let mut body = reply.body.clone();
    if let Some(body) = body.as_object_mut() {
        body.remove("request_id");
    }
    (reply.status, body)
}

/// Each operation of the document that an access token opens, also one that is added tomorrow, asked by Bob: about Ada it
/// answers as about nobody, and whatever it does, it does nothing to her and tells nothing of her.
#[tokio::test]
async fn no_operation_of_the_document_touches_or_tells_of_what_is_somebody_elses() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    stack.login(ADA).await;
    stack.stream().drain().await;
    let ids = |who: &SignedIn| [who.user_id.unwrap().to_string(), who.session_id.to_string()];
    let of_ada = ids(&ada);
    let random = stack.core.random.as_ref();
    let of_nobody = [
        UserId::random(random).to_string(),
        SessionId::random(random).to_string(),
    ];
    let before = of_user(&stack.items().await, &ada, ADA);
    assert!(
        before.len() > 2 + 2,
        "account, credential, sessions and activity"
    );
    let (mut about_others, mut about_oneself) = (Vec::new(), Vec::new());
    for (number, operation) in operations().into_iter().enumerate() {
        if !operation.takes("access_token") {
            continue;
        }
        let email = format!("bob{number}@example.com");
        let bob = stack.register(&email).await;
        let caller = Caller::new(&bob).knowing("email", format!("new{number}@example.com"));
        let about = |[user, session]: &[String; 2]| {
            let call = operation.call(&stack, [user, session], &caller);
            call.send()
        };
        if operation.path.contains('{') {
            let (hers, nobodys) = (about(&of_ada).await, about(&of_nobody).await);
            let refused = [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN];
            assert!(
                refused.contains(&hers.status),
                "{}: {}",
                operation.name(),
                hers.body
            );
            assert_eq!(shown(&hers), shown(&nobodys), "{}", operation.name());
            if hers.status == StatusCode::NOT_FOUND {
                about_others.push(operation.name());
            }
        } else {
            let reply = about(&of_ada).await;
            let text = String::from_utf8_lossy(&reply.bytes).to_lowercase();
            for hers in [&of_ada[0], &of_ada[1], ADA] {
                assert!(!text.contains(hers), "{}: {text}", operation.name());
            }
            // Administration is not Bob's; all else he may do, to himself.
            if operation.path.starts_with("/v1/admin/") {
                assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", operation.name());
            }
            if reply.status.is_success() {
                about_oneself.push(operation.name());
            }
        }
        let after = of_user(&stack.items().await, &ada, ADA);
        assert_eq!(after, before, "{}", operation.name());
    }
    // Administration stops at the role. These look for what they are asked about.
    assert!(about_others.len() >= 2, "{about_others:#?}");
    // What was refused for another reason has shown nothing.
    assert!(about_oneself.len() >= 12, "{about_oneself:#?}");
}

/// The cursor of one user's activity shows another theirs.
#[tokio::test]
async fn a_cursor_of_somebody_elses_activity_shows_nothing_of_theirs() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let bob = stack.register("bob@example.com").await;
    stack.stream().drain().await;
    let page = |who: &SignedIn, query: &str| {
        let call = stack.get(&format!("/v1/me/activity?{query}"));
        call.bearer(&who.access_token).send()
    };
    let first = page(&ada, "limit=1").await.expect(StatusCode::OK);
    let cursor = first["next_cursor"].as_str().unwrap();
    let seen = page(&bob, &format!("cursor={cursor}")).await;
    let text = String::from_utf8_lossy(&seen.bytes).into_owned();
    assert!(!text.contains(&ada.session_id.to_string()), "{text}");
    assert!(!text.contains(&ada.user_id.unwrap().to_string()), "{text}");
}
