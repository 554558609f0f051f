//! The rows of mails: what the function does that sends them, which nobody waits for.

use http::StatusCode;
use latchkey_domain::notice::Language;
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};

use super::{Row, cost};
use crate::routes::recovery::told;

pub(super) async fn of_mail() -> Vec<Row> {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let asked = stack.request_password_reset("ada@example.com").await;
    asked.expect(StatusCode::ACCEPTED);
    let changed = stack.change_password(&ada, PASSWORD, "another horse staple");
    changed.await.expect(StatusCode::OK);
    // The item of the session that the change has begun stands among theirs.
    for _ in 0..3 {
        let signed_in = stack.try_login("ada@example.com", "another horse staple");
        signed_in.await.expect(StatusCode::OK);
    }
    let mut sign_in = event(&stack, "session.created").await;
    sign_in["data"]["new_device"] = json!(true);
    let reset = event(&stack, "password_reset.requested").await;
    let password = event(&stack, "user.password_changed").await;
    let post = stack.post_office(Language::En);
    let mut rows = Vec::new();
    for (operation, event, budget) in [
        ("mail of a sign-in", sign_in, cost(4, 3.0, 1.0)),
        ("mail of a new password", password, cost(6, 3.0, 5.0)),
        ("mail that was asked for", reset, cost(3, 2.0, 2.0)),
    ] {
        drop(stack.recorder.take());
        assert_eq!(post.tell(&[event]).await.len(), 1, "{operation}");
        rows.push(Row {
            operation,
            route: None,
            cost: stack.recorder.take_cost(),
            budget,
        });
    }
    rows
}

async fn event(stack: &Stack, event_type: &str) -> Value {
    told(stack, event_type).await.remove(0)
}
