//! The device secret: counts and known devices outlive every rotation of the keys, and start anew only when a person
//! replaces it.

use std::sync::Arc;

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::throttle::Limits;
use latchkey_domain::token::TokenAlgorithm;
use latchkey_service::key_rotation::{KeyRotation, RotationError};
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::secrets_manager::{ARN, FakeSecretsManager};
use latchkey_tests::harness::stack::{PASSWORD, Stack, identity};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const WRONG: &str = "not the password";
const FIRST: &str = "the first secret, which is long enough";
const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// A service whose secret is in Secrets Manager.
struct Service {
    stack: Stack,
    secrets: FakeSecretsManager,
    rotations: u64,
}

impl Service {
    async fn start(document: Value) -> Self {
        let limits = Limits {
            address_attempts: 0,
            ..Limits::default()
        };
        let stack = Stack::with_policy(SessionPolicy {
            limits,
            ..SessionPolicy::default()
        });
        let stack = stack.await;
        let long_ago = stack.now() - TimeDelta::days(100);
        let secrets = FakeSecretsManager::start(&document, Some(long_ago)).await;
        let keys = secrets.instance(stack.now()).await;
        Self {
            stack: stack.with_tokens(keys),
            secrets,
            rotations: 0,
        }
    }

    fn rotation(&self) -> KeyRotation {
        KeyRotation {
            secret: self.secrets.secret(),
            identity: identity(),
            policy: SessionPolicy::default(),
            algorithm: TokenAlgorithm::EdDsa,
            clock: self.stack.clock.clone(),
            random: Arc::new(SeededRandom::new(self.rotations)),
        }
    }

    /// All steps, and so much time that every instance has read the new document.
    async fn rotate(&mut self) {
        self.rotations += 1;
        let token = format!("rotation-{}-of-the-keys-0123456789", self.rotations);
        self.secrets.begin_rotation(&token);
        let rotation = self.rotation();
        for step in STEPS {
            rotation.run(step, ARN, &token).await.unwrap();
        }
        self.stack.advance(TimeDelta::minutes(10));
    }

    async fn login(&self, password: &str, device: Option<&str>) -> Reply {
        let body = json!({"email": ADA, "password": password, "device_token": device});
        self.stack.post("/v1/auth/login").json(&body).send().await
    }

    /// How many of twenty guesses of a stranger are checked.
    async fn guess(&self) -> usize {
        let mut checked = 0;
        for _ in 0..20 {
            checked += usize::from(self.login(WRONG, None).await.status == 401);
        }
        checked
    }
}

#[tokio::test]
async fn counts_and_known_devices_outlive_every_rotation() {
    let document =
        json!({"current": FIRST, "device_secret": "a device secret that is long enough"});
    let mut service = Service::start(document).await;
    let ada = service.stack.register(ADA).await;
    let device = ada.device_token.as_deref();
    assert_eq!(service.guess().await, 10);
    for _ in 0..5 {
        service.rotate().await;
        service.stack.advance(TimeDelta::days(25));
        assert_eq!(service.guess().await, 1, "one wait is over");
    }
    // 125 days after its only sign-in. All keys of that day are forgotten.
    let secrets = service.secrets.document();
    assert!(!secrets.to_string().contains(FIRST), "{secrets}");
    let stranger = service.login(PASSWORD, None).await;
    stranger.expect_problem(429, "too_many_requests");
    let known = service.login(PASSWORD, device).await;
    assert_eq!(known.expect(StatusCode::OK)["device_token"], json!(device));
}

#[tokio::test]
async fn a_document_without_a_device_secret_gets_one_and_its_devices_stay_known() {
    let mut service = Service::start(json!({"current": FIRST})).await;
    let ada = service.stack.register(ADA).await;
    assert_eq!(service.guess().await, 10);
    service.rotate().await;
    let made = service.secrets.document()["device_secret"].clone();
    assert_eq!(made.as_str().unwrap().len(), 64);
    // The counts begin again, once.
    assert_eq!(service.guess().await, 10);
    let known = service.login(PASSWORD, ada.device_token.as_deref()).await;
    let known = SignedIn::from(known.expect(StatusCode::OK));
    assert_ne!(known.device_token, ada.device_token);
    service.rotate().await;
    assert_eq!(service.secrets.document()["device_secret"], made);
    service.stack.advance(TimeDelta::days(29));
    assert_eq!(service.guess().await, 1);
    let again = service.login(PASSWORD, known.device_token.as_deref()).await;
    again.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_device_secret_that_is_replaced_by_hand_makes_strangers_and_new_counts() {
    let document = |device: &str| json!({"current": FIRST, "device_secret": device});
    let service = Service::start(document("a device secret that is long enough")).await;
    let ada = service.stack.register(ADA).await;
    assert_eq!(service.guess().await, 10);
    let replaced = document("another device secret, which is long");
    service.secrets.write(&replaced, Some(service.stack.now()));
    service.stack.advance(TimeDelta::minutes(10));
    assert_eq!(service.guess().await, 10);
    let device = service.login(PASSWORD, ada.device_token.as_deref()).await;
    device.expect_problem(429, "too_many_requests");
    // Nobody is signed out.
    let refreshed = service.stack.refresh(&ada.refresh_token).await;
    refreshed.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_device_secret_that_is_replaced_during_a_rotation_does_not_come_back() {
    let document = |device: &str| json!({"current": FIRST, "device_secret": device});
    let service = Service::start(document("a device secret that is long enough")).await;
    let (rotation, token) = (service.rotation(), "the-token-of-this-rotation-0123456789");
    service.secrets.begin_rotation(token);
    rotation.run("createSecret", ARN, token).await.unwrap();
    let replaced = document("another device secret, which is long");
    service.secrets.write(&replaced, Some(rotation.clock.now()));
    let refused = rotation.run("finishSecret", ARN, token).await.unwrap_err();
    assert!(matches!(refused, RotationError::Replaced), "{refused}");
    assert_eq!(service.secrets.document(), replaced);
}
