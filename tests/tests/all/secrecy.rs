//! Guarantee 10: a table read by a thief yields no usable token. And: no secret is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use latchkey_tests::stack::{PASSWORD, SECRET, SignedIn, Stack};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

#[tokio::test]
async fn no_token_and_nothing_that_makes_one_is_in_the_table() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let next = SignedIn::from(
        stack
            .refresh(&ada.refresh_token)
            .await
            .expect(StatusCode::OK),
    );
    let table = json!(stack.items().await).to_string();
    let mut secrets = vec![
        PASSWORD.to_owned(),
        String::from_utf8(SECRET.to_vec()).unwrap(),
    ];
    for token in [
        &ada.access_token,
        &ada.refresh_token,
        &next.access_token,
        &next.refresh_token,
    ] {
        // Not the token, no part of it, and no hash of it.
        secrets.extend(token.split('.').map(str::to_owned));
        secrets.extend(digests(token));
    }
    for secret in secrets {
        assert!(!table.contains(&secret), "{secret}");
    }
}

fn digests(token: &str) -> Vec<String> {
    use aws_lc_rs::digest::{SHA256, SHA512, digest};
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    [&SHA256, &SHA512]
        .iter()
        .flat_map(|algorithm| {
            let hash = digest(algorithm, token.as_bytes());
            let hex: String = hash
                .as_ref()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            [
                hex,
                STANDARD.encode(hash.as_ref()),
                URL_SAFE_NO_PAD.encode(hash.as_ref()),
            ]
        })
        .collect()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// At the most talkative level, libraries included, through every route and its refusals.
#[tokio::test]
async fn no_secret_is_logged_and_the_audit_trail_is() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let two = stack.login("ada@example.com").await;
    stack
        .try_login("ada@example.com", "a wrong password")
        .await
        .expect_problem(401, "invalid_credentials");
    let next = SignedIn::from(
        stack
            .refresh(&two.refresh_token)
            .await
            .expect(StatusCode::OK),
    );
    stack.advance(chrono::TimeDelta::seconds(31));
    stack
        .refresh(&two.refresh_token)
        .await
        .expect_problem(401, "refresh_token_reused");
    let path = format!("/v1/sessions/{}", ada.session_id);
    stack.delete(&path).bearer(&ada.access_token).send().await;
    let forged = format!("{}x", ada.refresh_token);
    stack
        .refresh(&forged)
        .await
        .expect_problem(401, "invalid_refresh_token");
    drop(guard);

    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let ours: String = log
        .lines()
        .filter(|line| !line.contains("aws_s"))
        .collect::<Vec<_>>()
        .join("\n");
    for secret in [PASSWORD, "a wrong password", "$argon2", "ada@example.com"] {
        assert!(!ours.contains(secret), "{secret}");
    }
    for token in [&ada, &two, &next] {
        for secret in [&token.access_token, &token.refresh_token] {
            assert!(!ours.contains(secret.rsplit('.').next().unwrap()));
        }
    }
    let user = format!("user_id={}", ada.user_id.unwrap());
    for (session, what) in [
        (Some(two.session_id), r#"session ended"#),
        (Some(two.session_id), r#"reason="token_reuse""#),
        (
            Some(two.session_id),
            "a replaced refresh token was used again",
        ),
        (Some(ada.session_id), r#"reason="revoked""#),
        (None, r#"sign-in refused"#),
    ] {
        let session = session
            .map(|id| format!("session_id={id}"))
            .unwrap_or_default();
        let found = ours
            .lines()
            .any(|line| line.contains(what) && line.contains(&user) && line.contains(&session));
        assert!(found, "{what} {session} in:\n{ours}");
    }
}
