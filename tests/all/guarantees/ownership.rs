//! Guarantee 6: nobody sees, renames or ends a session that is not theirs, or learns that it exists.

use http::{Method, StatusCode};
use latchkey_domain::id::SessionId;
use latchkey_tests::harness::reply::Reply;
use latchkey_tests::harness::stack::Stack;
use serde_json::json;

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
