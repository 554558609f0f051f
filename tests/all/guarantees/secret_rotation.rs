//! A new token secret reaches running instances: nobody is signed out by a rotation, a secret that is gone is accepted
//! for 5 minutes at most, and strangers cannot make an instance read it again and again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::token::{ANNOUNCED, Scope, Token, TokenError};
use latchkey_service::token_keys::{KEPT, TokenKeys};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::secrets_manager::FakeSecretsManager;
use latchkey_tests::harness::stack::{Stack, noon};
use serde_json::{Value, json};

const ONE: &str = "the first secret, which is long enough";
const TWO: &str = "the second secret, which is long too";
const THREE: &str = "the third secret, which is long as well";

const MILLISECOND: TimeDelta = TimeDelta::milliseconds(1);

fn long_ago() -> Option<DateTime<Utc>> {
    Some(noon() - TimeDelta::days(100))
}

fn header_of(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

/// A token that nobody has signed, with a key that nobody has.
fn made_up(kid: usize) -> Token {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"typ": "at+jwt", "alg": "EdDSA", "kid": format!("key {kid}")}));
    let signature = URL_SAFE_NO_PAD.encode([7; 64]);
    Token::new(format!("{header}.{}.{signature}", part(json!({}))))
}

/// Which key signs, as the published keys name it.
async fn signing_key(keys: &TokenKeys, now: DateTime<Utc>) -> String {
    let token = access_token(keys, now).await;
    header_of(token.expose())["kid"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn access_token(keys: &TokenKeys, now: DateTime<Utc>) -> Token {
    let random = SeededRandom::new(1);
    let (id, user) = (SessionId::random(&random), UserId::random(&random));
    let (device, policy) = (
        Device::describe(None, None, None, ClientHints::default()),
        SessionPolicy::default(),
    );
    let session = Session::begin(id, user, device, ClientLocation::default(), now, &policy);
    let issued = keys
        .issue(&session, Scope::own_account(), now, &policy, &random)
        .await;
    issued.unwrap().access_token
}

async fn published(keys: &TokenKeys, now: DateTime<Utc>) -> Vec<String> {
    let keys = keys.jwks(now).await.keys;
    keys.into_iter()
        .map(|key| key.common.key_id.unwrap())
        .collect()
}

/// Four instances that started at different times and one that starts after the change; a client that goes from one to
/// the other and keeps each access token for as long as it is good; services that verify tokens with copies of the
/// published keys, one for each minute of their age; and perhaps a stranger who makes sure that no instance may ask for
/// an unknown key.
async fn rotate_under_traffic(attacked: bool) {
    let secrets = FakeSecretsManager::start(&json!({"current": ONE}), long_ago()).await;
    let stack = Stack::start().await;
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(
            stack
                .clone()
                .with_tokens(secrets.instance(stack.now()).await),
        );
        stack.advance(TimeDelta::seconds(70));
    }
    let mut who = instances[0].register("ada@example.com").await;
    let first_key = header_of(&who.access_token)["kid"].clone();
    let mut earlier: Vec<(DateTime<Utc>, String)> = Vec::new();
    let mut copies: [Vec<Value>; 5] = Default::default();
    let rotated_at = stack.now() + TimeDelta::minutes(7);
    let mut signed_by = Vec::new();

    for step in 0..150_usize {
        stack.advance(TimeDelta::minutes(1));
        let now = stack.now();
        if now == rotated_at {
            secrets.write(&json!({"current": TWO, "previous": ONE}), Some(now));
            instances.push(stack.clone().with_tokens(secrets.instance(now).await));
        }
        for instance in instances.iter().filter(|_| attacked) {
            let stranger = made_up(step);
            let reply = instance
                .get("/v1/me")
                .bearer(stranger.expose())
                .send()
                .await;
            reply.expect_problem(401, "invalid_token");
        }
        let at = |offset: usize| &instances[(step * 3 + offset) % instances.len()];
        who = at(0).refresh_session(&who).await;
        earlier.push((now, who.access_token.clone()));
        earlier.retain(|(issued, _)| now - *issued < TimeDelta::minutes(15));
        for (offset, (_, token)) in earlier.iter().enumerate() {
            let reply = at(offset).get("/v1/me").bearer(token).send().await;
            reply.expect(StatusCode::OK);
        }
        let keys = at(1).get("/.well-known/jwks.json").send().await;
        copies[step % 5] = keys.body["keys"].as_array().unwrap().clone();
        let key = &header_of(&who.access_token)["kid"];
        for copy in copies.iter().take(step + 1) {
            let known = copy.iter().any(|known| known["kid"] == *key);
            assert!(known, "{} after the rotation", now - rotated_at);
        }
        signed_by.push((now, key.clone()));
    }
    for (at, key) in signed_by {
        let new = at >= rotated_at + ANNOUNCED;
        assert_eq!(key != first_key, new, "{}", at - rotated_at);
    }
    // The last step, a week later: without the old value.
    secrets.write(&json!({"current": TWO}), Some(stack.now()));
    stack.advance(KEPT);
    for instance in &instances {
        let next = instance.refresh(&who.refresh_token).await;
        who = SignedIn::from(next.expect(StatusCode::OK));
    }
}

#[tokio::test]
async fn a_rotation_by_one_write_signs_nobody_out() {
    rotate_under_traffic(false).await;
}

#[tokio::test]
async fn a_rotation_under_attack_signs_nobody_out() {
    rotate_under_traffic(true).await;
}

#[tokio::test]
async fn a_key_that_is_announced_is_believed_and_published_but_does_not_sign() {
    let now = noon();
    let secrets = FakeSecretsManager::start(&json!({"current": ONE}), long_ago()).await;
    let one = signing_key(&secrets.instance(now).await, now).await;
    secrets.write(&json!({"current": ONE, "next": TWO}), Some(now));
    let announcing = secrets.instance(now).await;
    secrets.write(&json!({"current": TWO}), long_ago());
    let later = secrets.instance(now).await;
    let two = signing_key(&later, now).await;

    let keys = published(&announcing, now).await;
    assert_eq!(keys, [one.clone(), two.clone()]);
    let token = access_token(&later, now).await;
    assert!(announcing.verify_access(&token, now).await.is_ok());
    assert_eq!(signing_key(&announcing, now).await, one);

    // The second write: it is announced once more, because this may be its first.
    secrets.write(&json!({"current": TWO, "previous": ONE}), Some(now));
    let swapped = secrets.instance(now).await;
    assert_eq!(published(&swapped, now).await, [one.clone(), two.clone()]);
    let switch = now + ANNOUNCED;
    assert_eq!(signing_key(&swapped, switch - MILLISECOND).await, one);
    assert_eq!(signing_key(&swapped, switch).await, two);
    assert_eq!(published(&swapped, switch).await, [two.clone(), one]);
    // With a third one announced, the current one signs whenever the secret was written.
    let all = json!({"current": TWO, "previous": ONE, "next": THREE});
    secrets.write(&all, Some(now));
    let announcing = secrets.instance(now).await;
    assert_eq!(signing_key(&announcing, now).await, two);
    assert_eq!(published(&announcing, now).await.len(), 3);
}

#[tokio::test]
async fn a_secret_without_a_previous_one_signs_at_once_and_the_old_one_is_gone_within_five_minutes()
{
    let now = noon();
    let secrets = FakeSecretsManager::start(&json!({"current": ONE}), long_ago()).await;
    let (running, idle) = (secrets.instance(now).await, secrets.instance(now).await);
    let old = access_token(&running, now).await;
    secrets.write(&json!({"current": TWO}), Some(now));
    let started = secrets.instance(now).await;
    let new = access_token(&started, now).await;
    let refused = started.verify_access(&old, now).await;
    assert_eq!(refused, Err(TokenError::UnknownKey));

    // An instance learns of it by the first token that it signed, and forgets the old one with that.
    assert!(running.verify_access(&new, now).await.is_ok());
    let refused = running.verify_access(&old, now).await;
    assert_eq!(refused, Err(TokenError::UnknownKey));
    // And one that saw none, or was frozen meanwhile, before it answers what comes 5 minutes after it has read it.
    let before = now + KEPT - MILLISECOND;
    assert!(idle.verify_access(&old, before).await.is_ok());
    let refused = idle.verify_access(&old, now + KEPT).await;
    assert_eq!(refused, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn tokens_with_made_up_keys_cause_one_reading_in_thirty_seconds() {
    let secrets = FakeSecretsManager::start(&json!({"current": ONE}), long_ago()).await;
    let now = noon();
    let keys = secrets.instance(now).await;
    assert_eq!(secrets.take_reads(), 1);
    for (from, reads) in [(0, 1), (30, 1), (60, 1)] {
        for offset in [0, 1, 15_000, 29_999] {
            let now = now + TimeDelta::seconds(from) + TimeDelta::milliseconds(offset);
            for kid in 0..50 {
                let refused = keys.verify_access(&made_up(kid), now).await;
                assert_eq!(refused, Err(TokenError::UnknownKey));
            }
        }
        assert_eq!(secrets.take_reads(), reads, "{from}");
    }
    // All at once, too.
    let now = now + TimeDelta::seconds(90);
    let tokens: Vec<Token> = (0..50).map(made_up).collect();
    let refused = tokens.iter().map(|token| keys.verify_access(token, now));
    for refused in futures::future::join_all(refused).await {
        assert_eq!(refused, Err(TokenError::UnknownKey));
    }
    assert_eq!(secrets.take_reads(), 1);
    // Only what could be ours but for its key: not another type of token, nor what is none.
    let now = now + TimeDelta::seconds(30);
    let refused = keys.verify_refresh_of_any_age(&made_up(1), now).await;
    assert_eq!(refused, Err(TokenError::WrongType));
    let refused = keys.verify_access(&Token::new("x".to_owned()), now).await;
    assert_eq!(refused, Err(TokenError::Malformed));
    assert_eq!(secrets.take_reads(), 0);
}

#[tokio::test]
async fn a_secret_is_read_every_five_minutes_and_no_more() {
    let secrets = FakeSecretsManager::start(&json!({"current": ONE}), long_ago()).await;
    let start = noon();
    let keys = secrets.instance(start).await;
    for second in 0..=3600 {
        let now = start + TimeDelta::seconds(second);
        published(&keys, now).await;
    }
    assert_eq!(secrets.take_reads(), 1 + 12);
}

#[tokio::test]
async fn while_the_secret_cannot_be_read_the_keys_in_use_stay() {
    let log = Log::capture();
    let secrets = FakeSecretsManager::start(&json!({"current": ONE}), long_ago()).await;
    let start = noon();
    let keys = secrets.instance(start).await;
    let token = access_token(&keys, start).await;
    let one = signing_key(&keys, start).await;
    assert!(secrets.take_reads() > 0);
    let broken = [
        None,
        Some(json!({"current": "short"})),
        Some(json!({"current": TWO, "previous": "short"})),
        Some(json!({"now": TWO})),
        Some(json!("no object")),
    ];
    let mut now = start + KEPT;
    for document in broken {
        secrets.set_broken(document.is_none());
        if let Some(document) = document {
            secrets.write(&document, Some(now));
        }
        // Whatever asks for it.
        assert!(keys.verify_access(&token, now).await.is_ok());
        assert_eq!(signing_key(&keys, now).await, one);
        let refused = keys.verify_access(&made_up(1), now).await;
        assert_eq!(refused, Err(TokenError::UnknownKey));
        let last = now + TimeDelta::seconds(30) - MILLISECOND;
        assert!(keys.verify_access(&token, last).await.is_ok());
        assert_eq!(secrets.take_reads(), 1);
        now += TimeDelta::seconds(30);
    }
    secrets.write(&json!({"current": TWO}), Some(now));
    assert_ne!(signing_key(&keys, now).await, one);
    let log = log.end();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(lines.len(), 5, "{log}");
    for line in lines {
        assert!(
            line.contains("the token secret could not be read again"),
            "{line}"
        );
    }
    for secret in [ONE, TWO, "short"] {
        assert!(!log.contains(secret) || secret == "short", "{log}");
    }
}
