//! One mailbox is one account, however its address is typed, and two mailboxes are two.

use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
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

/// Amazon SES takes no letters beyond ASCII before the `@`, so nobody could verify such an address or reset a password with it.
#[tokio::test]
async fn where_mail_is_sent_an_address_that_it_does_not_reach_is_refused() {
    for require_verified_email in [false, true] {
        let stack = Stack::with_policy(SessionPolicy {
            sends_mail: true,
            require_verified_email,
            ..SessionPolicy::default()
        })
        .await;
        for unreachable in ["νίκος@example.com", "straße@example.com"] {
            let (status, body) = register(&stack, unreachable).await;
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{unreachable}");
            assert_eq!(body["code"], "validation_failed");
            assert_eq!(body["errors"][0]["pointer"], "#/email");
            assert_eq!(body["errors"][0]["code"], "invalid_email");
        }
        let (status, _) = register(&stack, "ada@bücher.example").await;
        assert!(status.is_success(), "{status}");
    }
    let stack = Stack::with_policy(SessionPolicy {
        sends_mail: true,
        ..SessionPolicy::default()
    })
    .await;
    let ada = stack.register("ada@example.com").await;
    let moved = stack.request_email_change(&ada, "νίκος@example.com").await;
    moved.expect_problem(422, "validation_failed");
    let moved = stack.request_email_change(&ada, "ada@bücher.example").await;
    moved.expect(StatusCode::ACCEPTED);
}

async fn register(stack: &Stack, email: &str) -> (StatusCode, serde_json::Value) {
    let body = json!({"email": email, "password": PASSWORD});
    let reply = stack.post("/v1/auth/register").json(&body).send().await;
    (reply.status, reply.body)
}
