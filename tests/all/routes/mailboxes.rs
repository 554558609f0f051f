//! One mailbox is one account, however its address is typed, and two mailboxes are two.

use http::StatusCode;
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::json;

/// What is registered, and another spelling of the same mailbox.
const SPELLINGS: [(&str, &str); 9] = [
    ("ada@bücher.example", "ada@xn--bcher-kva.example"),
    ("ada@xn--bcher-kva.example", "Ada@BÜCHER.example"),
    ("ada@βόλος.example", "ADA@ΒΌΛΟΣ.EXAMPLE"),
    ("ada@xn--nxasmm1c.example", "ada@ΒΌΛΟΣ.example"),
    ("ada@example.com", "ada@ｅｘａｍｐｌｅ.com"),
    ("ada@example.com", " ADA@example.com\t"),
    ("  ada@example.com ", "ada@example.com"),
    ("νίκος@example.com", "ΝΊΚΟΣ@example.com"),
    ("jose\u{301}@example.com", "JOSÉ@example.com"),
];

#[tokio::test]
async fn one_mailbox_is_one_account_however_its_address_is_typed() {
    for (registered, typed) in SPELLINGS {
        let stack = Stack::start().await;
        let made = register(&stack, registered).await;
        assert_eq!(made.0, StatusCode::CREATED, "{registered}");
        assert_eq!(made.1["user"]["email"], registered.trim());
        let reply = stack.try_login(typed, PASSWORD).await;
        assert_eq!(reply.status, StatusCode::OK, "{typed}");
        let again = register(&stack, typed).await;
        assert_eq!(again.0, StatusCode::CONFLICT, "{typed}");
        assert_eq!(again.1["code"], "email_taken");
    }
}

#[tokio::test]
async fn two_mailboxes_are_two_accounts() {
    for (one, other) in [
        ("straße@example.com", "strasse@example.com"),
        ("ada@straße.example", "ada@strasse.example"),
        ("ı@example.com", "i@example.com"),
    ] {
        let stack = Stack::start().await;
        for address in [one, other] {
            assert_eq!(register(&stack, address).await.0, StatusCode::CREATED);
        }
    }
}

async fn register(stack: &Stack, email: &str) -> (StatusCode, serde_json::Value) {
    let body = json!({"email": email, "password": PASSWORD});
    let reply = stack.post("/v1/auth/register").json(&body).send().await;
    (reply.status, reply.body)
}
