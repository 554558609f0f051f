//! The keys rotate: with both algorithms, under load, with services that keep the published keys for two hours, nobody is
//! signed out and nobody gets a 401; what a leaked key signs ends; and a rotation may fail and be repeated anywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use latchkey_domain::clock::Clock as _;
use latchkey_domain::clock::ManualClock;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::token::{
    ANNOUNCED, KeyMaterial, RsaPrivateKey, Scope, TokenAlgorithm, TokenSecret, Tokens,
};
use latchkey_service::key_rotation::{KeyRotation, RotationError};
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::secrets_manager::{ARN, Failure, FakeSecretsManager};
use latchkey_tests::harness::stack::{Stack, identity, noon};
use latchkey_tests::harness::template::{functions, template};
use serde_json::{Value, json};

pub(super) const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];
const FIRST: &str = "the first secret, which is long enough";

pub(super) fn rotation(
    secrets: &FakeSecretsManager,
    algorithm: TokenAlgorithm,
    clock: Arc<ManualClock>,
    seed: u64,
) -> KeyRotation {
    KeyRotation {
        secret: secrets.secret(),
        identity: identity(),
        policy: SessionPolicy::default(),
        algorithm,
        clock,
        random: Arc::new(SeededRandom::new(seed)),
    }
}

/// All four steps, as Secrets Manager calls them.
async fn rotate(
    secrets: &FakeSecretsManager,
    rotation: &KeyRotation,
    token: &str,
) -> Result<(), RotationError> {
    secrets.begin_rotation(token);
    run_steps(rotation, token).await
}

async fn run_steps(rotation: &KeyRotation, token: &str) -> Result<(), RotationError> {
    for step in STEPS {
        rotation.run(step, ARN, token).await?;
    }
    Ok(())
}

/// A secret that has been in use for long.
pub(super) async fn old_secret() -> FakeSecretsManager {
    let long_ago = noon() - TimeDelta::days(100);
    FakeSecretsManager::start(&json!({"current": FIRST}), Some(long_ago)).await
}

fn keys_of(document: &Value) -> Vec<KeyMaterial> {
    let keys = document["keys"].as_array().unwrap().iter();
    keys.map(|key| KeyMaterial {
        secret: TokenSecret::new(key["secret"].as_str().unwrap()).unwrap(),
        rsa: key["rsa"]
            .as_str()
            .map(|key| RsaPrivateKey::from_base64(key).unwrap()),
    })
    .collect()
}

pub(super) fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// A service that verifies tokens with a copy of the published keys, and asks for them every two hours, whatever it is
/// shown in between.
pub(super) struct Verifier {
    pub(super) fetched_at: DateTime<Utc>,
    pub(super) keys: JwkSet,
}

impl Verifier {
    pub(super) async fn fetch(stack: &Stack) -> Self {
        let reply = stack.get("/.well-known/jwks.json").send().await;
        Self {
            fetched_at: stack.now(),
            keys: serde_json::from_value(reply.body).unwrap(),
        }
    }

    pub(super) fn accepts(&self, token: &str, now: DateTime<Utc>) -> bool {
        let Some(jwk) = self.keys.find(&kid(token)) else {
            return false;
        };
        // The algorithm of the key, as it is published.
        let algorithm = match jwk.common.key_algorithm.unwrap().to_string().as_str() {
            "EdDSA" => Algorithm::EdDSA,
            "RS256" => Algorithm::RS256,
            other => panic!("{other} is published"),
        };
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_audience(&[identity().audience]);
        validation.set_issuer(&[identity().issuer]);
        let key = DecodingKey::from_jwk(jwk).unwrap();
        let Ok(data) = jsonwebtoken::decode::<Value>(token, &key, &validation) else {
            return false;
        };
        now.timestamp() < data.claims["exp"].as_i64().unwrap()
    }
}

/// The service that is rotated: some instances, and services with copies of the keys that are up to two hours old.
struct Load {
    stack: Stack,
    secrets: FakeSecretsManager,
    instances: Vec<Stack>,
    verifiers: Vec<Verifier>,
    active: SignedIn,
    issued: Vec<(DateTime<Utc>, String)>,
    rotations: u64,
}

impl Load {
    async fn start() -> Self {
        let secrets = old_secret().await;
        let stack = Stack::start().await;
        let (mut instances, mut verifiers) = (Vec::new(), Vec::new());
        for _ in 0..8 {
            verifiers.push(Verifier::fetch(&stack).await);
            stack.advance(TimeDelta::minutes(15));
            let keys = secrets.instance(stack.now()).await;
            instances.push(stack.clone().with_tokens(keys));
        }
        for verifier in &mut verifiers {
            let fetched_at = verifier.fetched_at;
            *verifier = Verifier::fetch(&instances[0]).await;
            verifier.fetched_at = fetched_at;
        }
        let active = instances[0].register("ada@example.com").await;
        Self {
            stack,
            secrets,
            instances,
            verifiers,
            active,
            issued: Vec::new(),
            rotations: 0,
        }
    }

    /// A quarter of an hour passes. Everybody who uses the service does.
    async fn step(&mut self) {
        self.stack
            .advance(TimeDelta::minutes(15) - TimeDelta::seconds(1));
        let now = self.stack.now();
        self.check_tokens(now).await;
        self.stack.advance(TimeDelta::seconds(1));
        let now = self.stack.now();
        let at = |offset: i64| {
            let index = usize::try_from(now.timestamp() / 900 + offset).unwrap();
            &self.instances[index % self.instances.len()]
        };
        for verifier in &mut self.verifiers {
            if now - verifier.fetched_at >= TimeDelta::hours(2) {
                *verifier = Verifier::fetch(at(3)).await;
            }
        }
        let refreshed = at(5).refresh(&self.active.refresh_token).await;
        self.active = SignedIn::from(refreshed.expect(StatusCode::OK));
        self.issued.push((now, self.active.access_token.clone()));
        self.issued
            .retain(|(at, _)| now - *at < TimeDelta::minutes(15));
        self.check_tokens(now).await;
    }

    /// Whoever is shown a token that has not expired accepts it.
    async fn check_tokens(&self, now: DateTime<Utc>) {
        for (at, token) in &self.issued {
            for verifier in &self.verifiers {
                let age = now - verifier.fetched_at;
                let after = self.rotations;
                assert!(
                    verifier.accepts(token, now),
                    "keys {age} old, a token of {at}, after {after} rotations"
                );
            }
            for instance in &self.instances {
                let reply = instance.get("/v1/me").bearer(token).send().await;
                reply.expect(StatusCode::OK);
            }
        }
    }

    async fn rotate(&mut self, algorithm: TokenAlgorithm) {
        self.rotations += 1;
        let clock = self.stack.clock.clone();
        let rotation = rotation(&self.secrets, algorithm, clock, self.rotations);
        let token = format!("rotation-{}-of-the-keys-0123456789", self.rotations);
        rotate(&self.secrets, &rotation, &token).await.unwrap();
        // An instance that starts now reads the new document.
        let keys = self.secrets.instance(self.stack.now()).await;
        let started = self.stack.clone().with_tokens(keys);
        let place = usize::try_from(self.rotations).unwrap() % self.instances.len();
        self.instances[place] = started;
    }
}

#[tokio::test]
async fn rotations_of_both_algorithms_under_load_sign_nobody_out() {
    use TokenAlgorithm::{EdDsa, Rs256};
    let mut load = Load::start().await;
    let mut algorithms = BTreeSet::new();
    let mut kids = BTreeSet::new();
    for algorithm in [EdDsa, Rs256, Rs256, EdDsa, Rs256, EdDsa] {
        load.rotate(algorithm).await;
        // Until the new key has replaced the old one, and the old one is over.
        for _ in 0..20 {
            load.step().await;
            kids.insert(kid(&load.active.access_token));
            let header = jsonwebtoken::decode_header(&load.active.access_token).unwrap();
            algorithms.insert(format!("{:?}", header.alg));
        }
        let published = Verifier::fetch(&load.instances[0]).await.keys.keys;
        let [only] = published.as_slice() else {
            panic!("one key, of the algorithm in use: {published:?}");
        };
        let name = only.common.key_algorithm.unwrap().to_string();
        assert_eq!(name, algorithm.as_str());
    }
    assert_eq!(kids.len(), 7, "each new key has signed");
    assert_eq!(algorithms.len(), 2);
}

/// Rotated every day: who comes back after nearly a week finds a session, and who has a session for a month keeps it.
#[tokio::test]
async fn who_comes_back_after_a_week_of_daily_rotations_is_still_signed_in() {
    let mut load = Load::start().await;
    let policy = SessionPolicy::default();
    let mut idle = load.instances[0].register("bob@example.com").await;
    let mut away_since = load.stack.now();
    let first = load.stack.now();
    let mut days = 0;
    while load.stack.now() + TimeDelta::days(1) < first + policy.absolute_lifetime {
        let algorithm = match days % 2 {
            0 => TokenAlgorithm::EdDsa,
            _ => TokenAlgorithm::Rs256,
        };
        load.rotate(algorithm).await;
        load.stack.advance(TimeDelta::days(1));
        days += 1;
        let refreshed = load.instances[0].refresh(&load.active.refresh_token).await;
        load.active = SignedIn::from(refreshed.expect(StatusCode::OK));
        if load.stack.now() + TimeDelta::days(1) >= away_since + policy.idle_lifetime {
            // To the last second in which the token is valid.
            load.stack
                .advance(TimeDelta::days(1) - TimeDelta::seconds(1));
            let refreshed = load.instances[1].refresh(&idle.refresh_token).await;
            idle = SignedIn::from(refreshed.expect(StatusCode::OK));
            away_since = load.stack.now();
        }
    }
    assert!(days >= 24, "{days}");
    // The keys that are forgotten are gone, and an RSA key goes with its last access token.
    let keys = load.secrets.document()["keys"].as_array().unwrap().clone();
    assert!(keys.len() <= 31, "{}", keys.len());
    let with_rsa = keys.iter().filter(|key| !key["rsa"].is_null()).count();
    assert!(with_rsa <= 2, "{with_rsa}");
}

#[tokio::test]
async fn what_is_signed_with_leaked_keys_is_accepted_until_their_time_is_over() {
    for algorithm in [TokenAlgorithm::EdDsa, TokenAlgorithm::Rs256] {
        let mut load = Load::start().await;
        let user = load.active.user_id.unwrap();
        load.rotate(algorithm).await;
        load.stack.advance(TimeDelta::hours(4));
        // The thief reads the secret. Then it is rotated.
        let leaked = keys_of(&load.secrets.document());
        assert_eq!(leaked.len(), 2);
        load.rotate(TokenAlgorithm::EdDsa).await;
        let document = load.secrets.document();
        let replaced_at = document["keys"][2]["signs_from"].as_str().unwrap();
        let replaced_at: DateTime<Utc> = replaced_at.parse().unwrap();
        let forge = async |load: &Load| {
            let reply = load.instances[2].refresh(&load.active.refresh_token).await;
            let live = SignedIn::from(reply.expect(StatusCode::OK));
            let now = load.stack.now();
            let store = load.stack.store_of("refresh");
            let session = store.read_session(user, live.session_id).await.unwrap();
            let mut session = session.unwrap();
            let (policy, random) = (SessionPolicy::default(), SeededRandom::new(9));
            // He makes them live for a year.
            session.idle_expires_at = now + TimeDelta::days(365);
            session.absolute_expires_at = now + TimeDelta::days(365);
            let tokens = Tokens::of_secret(identity(), leaked[1].clone(), None, None, now).unwrap();
            let issued = tokens.issue(&session, Scope::own_account(), now, &policy, &random);
            (live, issued.unwrap())
        };
        let until = replaced_at + TimeDelta::hours(1) + TimeDelta::seconds(5);
        load.stack
            .advance(until - TimeDelta::seconds(1) - load.stack.now());
        let (live, forged) = forge(&load).await;
        load.active.refresh_token = live.refresh_token;
        let access = forged.access_token.expose();
        let me = load.instances[0].get("/v1/me").bearer(access).send().await;
        me.expect(StatusCode::OK);
        load.stack.advance(TimeDelta::seconds(1));
        for instance in &load.instances {
            let me = instance.get("/v1/me").bearer(access).send().await;
            me.expect_problem(401, "invalid_token");
        }
        let verifier = Verifier::fetch(&load.instances[0]).await;
        assert!(!verifier.accepts(access, load.stack.now()));

        // Refresh tokens live longer. The owner goes on, so that the session is there.
        let until = replaced_at + SessionPolicy::default().idle_lifetime + TimeDelta::seconds(5);
        load.stack.advance(TimeDelta::days(6));
        let reply = load.instances[1].refresh(&load.active.refresh_token).await;
        load.active = SignedIn::from(reply.expect(StatusCode::OK));
        load.stack.advance(until - load.stack.now());
        let (live, forged) = forge(&load).await;
        let refused = load.instances[0]
            .refresh(forged.refresh_token.expose())
            .await;
        refused.expect_problem(401, "invalid_refresh_token");
        // And the owner's own still works.
        load.stack.pass_interval();
        let reply = load.instances[0].refresh(&live.refresh_token).await;
        reply.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn a_rotation_may_fail_at_every_request_and_be_repeated() {
    let operations = [
        "DescribeSecret",
        "GetSecretValue",
        "PutSecretValue",
        "UpdateSecretVersionStage",
    ];
    let (mut cases, mut failed) = (0, 0);
    for step in STEPS {
        for operation in operations {
            for failure in [Failure::Refused, Failure::ReplyLost] {
                let secrets = old_secret().await;
                let clock = Arc::new(ManualClock::starting_at(noon()));
                let token = "the-token-of-this-rotation-0123456789";
                let rotation = rotation(&secrets, TokenAlgorithm::Rs256, clock.clone(), 1);
                secrets.begin_rotation(token);
                let mut broken = false;
                for one in STEPS {
                    if one == step {
                        secrets.fail_once(operation, failure);
                    }
                    let done = rotation.run(one, ARN, token).await;
                    broken |= done.is_err();
                    if one == step || done.is_err() {
                        break;
                    }
                }
                cases += 1;
                failed += usize::from(broken);
                secrets.fail_no_more();
                // Whatever was current can be read: the old document or the new one.
                let keys = secrets.instance(clock.now()).await;
                assert!(!keys.jwks(clock.now()).await.keys.is_empty());
                // Secrets Manager begins again, a while later, with the same version, and once more.
                for _ in 0..2 {
                    clock.advance(TimeDelta::minutes(10));
                    run_steps(&rotation, token).await.unwrap();
                }
                assert_eq!(secrets.staged("AWSCURRENT").as_deref(), Some(token));
                let document = secrets.document();
                assert_eq!(document["keys"].as_array().unwrap().len(), 2);
                assert_eq!(document["keys"][0]["secret"], FIRST);
                assert_eq!(document["current"], FIRST, "for versions before this one");
            }
        }
    }
    assert_eq!(cases, 32);
    assert_eq!(failed, 18, "as many as a step has requests");
}

#[tokio::test]
async fn a_rotation_that_takes_too_long_is_given_up_and_the_next_one_begins_again() {
    let secrets = old_secret().await;
    let clock = Arc::new(ManualClock::starting_at(noon()));
    let rotation = rotation(&secrets, TokenAlgorithm::EdDsa, clock.clone(), 1);
    let (first, second) = (
        "the-first-rotation-0123456789-0123456789",
        "the-second-rotation-0123456789-012345678",
    );
    secrets.begin_rotation(first);
    rotation.run("createSecret", ARN, first).await.unwrap();
    clock.advance(TimeDelta::minutes(45));
    rotation.run("testSecret", ARN, first).await.unwrap();
    clock.advance(TimeDelta::seconds(1));
    let late = rotation.run("finishSecret", ARN, first).await.unwrap_err();
    assert!(matches!(late, RotationError::TooLate), "{late}");
    assert_eq!(secrets.document(), json!({"current": FIRST}));
    let again = rotation.run("createSecret", ARN, first).await.unwrap_err();
    assert!(matches!(again, RotationError::NotPending(_)), "{again}");
    rotate(&secrets, &rotation, second).await.unwrap();
    let signs_from = secrets.document()["keys"][1]["signs_from"].clone();
    let signs_from: DateTime<Utc> = signs_from.as_str().unwrap().parse().unwrap();
    assert!(signs_from >= clock.now() + ANNOUNCED);
}

#[tokio::test]
async fn a_secret_that_was_replaced_in_an_emergency_does_not_come_back() {
    let secrets = old_secret().await;
    let clock = Arc::new(ManualClock::starting_at(noon()));
    let rotation = rotation(&secrets, TokenAlgorithm::EdDsa, clock.clone(), 1);
    let token = "the-token-of-this-rotation-0123456789";
    for step in ["createSecret", "testSecret", "finishSecret"] {
        secrets.begin_rotation(token);
        rotation.run("createSecret", ARN, token).await.unwrap();
        let emergency = json!({"current": format!("the secret after {step}, long enough")});
        secrets.write(&emergency, Some(clock.now()));
        let refused = rotation.run(step, ARN, token).await.unwrap_err();
        assert!(
            matches!(refused, RotationError::Replaced),
            "{step}: {refused}"
        );
        assert_eq!(secrets.document(), emergency);
        assert_eq!(secrets.staged("AWSPENDING"), None);
        secrets.write(
            &json!({"current": FIRST}),
            Some(noon() - TimeDelta::days(100)),
        );
        clock.advance(TimeDelta::minutes(1));
    }
}

/// The RSA key has leaked and the secret has not: it alone is taken out while a rotation has a copy of it.
#[tokio::test]
async fn an_rsa_key_that_was_taken_out_alone_does_not_come_back() {
    let secrets = old_secret().await;
    let clock = Arc::new(ManualClock::starting_at(noon()));
    let rotation = rotation(&secrets, TokenAlgorithm::Rs256, clock.clone(), 1);
    let first = "the-first-rotation-0123456789-0123456789";
    rotate(&secrets, &rotation, first).await.unwrap();
    clock.advance(TimeDelta::days(1));
    let second = "the-second-rotation-0123456789-012345678";
    secrets.begin_rotation(second);
    rotation.run("createSecret", ARN, second).await.unwrap();
    let mut document = secrets.document();
    let keys = document["keys"].as_array_mut().unwrap();
    let leaked = keys.iter_mut().find(|key| key["rsa"].is_string()).unwrap();
    leaked.as_object_mut().unwrap().remove("rsa");
    secrets.write(&document, Some(clock.now()));
    let refused = rotation.run("finishSecret", ARN, second).await.unwrap_err();
    assert!(matches!(refused, RotationError::Replaced), "{refused}");
    assert_eq!(secrets.document(), document);
}

#[tokio::test]
async fn a_setting_that_changes_during_a_rotation_gives_it_up() {
    let secrets = old_secret().await;
    let clock = Arc::new(ManualClock::starting_at(noon()));
    let token = "the-token-of-this-rotation-0123456789";
    secrets.begin_rotation(token);
    let before = rotation(&secrets, TokenAlgorithm::EdDsa, clock.clone(), 1);
    before.run("createSecret", ARN, token).await.unwrap();
    let after = rotation(&secrets, TokenAlgorithm::Rs256, clock, 2);
    let refused = after.run("testSecret", ARN, token).await.unwrap_err();
    assert!(matches!(refused, RotationError::OtherAlgorithm(_)));
    assert_eq!(secrets.staged("AWSPENDING"), None);
}

#[tokio::test]
async fn the_first_rotation_of_a_new_stack_signs_at_once() {
    let document = json!({"current": FIRST});
    let secrets = FakeSecretsManager::start(&document, Some(noon())).await;
    let clock = Arc::new(ManualClock::starting_at(noon()));
    clock.advance(TimeDelta::minutes(10));
    let early = secrets.instance(clock.now()).await;
    let stack = Stack::start().await;
    stack.advance(TimeDelta::minutes(10));
    let before = stack.clone().with_tokens(early);
    let ada = before.register("ada@example.com").await;
    let rotation = rotation(&secrets, TokenAlgorithm::Rs256, clock.clone(), 1);
    rotate(&secrets, &rotation, "the-token-of-this-rotation-0123456789")
        .await
        .unwrap();
    let after = stack
        .clone()
        .with_tokens(secrets.instance(clock.now()).await);
    let signed_in = after.login("ada@example.com").await;
    let header = jsonwebtoken::decode_header(&signed_in.access_token).unwrap();
    assert_eq!(header.alg, Algorithm::RS256);
    for instance in [&before, &after] {
        for token in [&ada.access_token, &signed_in.access_token] {
            let reply = instance.get("/v1/me").bearer(token).send().await;
            reply.expect(StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn only_what_secrets_manager_has_ordered_is_done() {
    let log = Log::capture();
    let secrets = old_secret().await;
    let clock = Arc::new(ManualClock::starting_at(noon()));
    let rotation = rotation(&secrets, TokenAlgorithm::Rs256, clock, 1);
    let token = "the-token-of-this-rotation-0123456789";
    let refused = rotation.run("createSecret", ARN, token).await.unwrap_err();
    assert!(matches!(refused, RotationError::NotEnabled), "{refused}");
    secrets.begin_rotation(token);
    let elsewhere = format!("{ARN}-of-others");
    let refused = rotation.run("createSecret", &elsewhere, token).await;
    assert!(matches!(refused, Err(RotationError::AnotherSecret(_))));
    let refused = rotation.run("createSecret", ARN, "another-token").await;
    assert!(matches!(refused, Err(RotationError::NotPending(_))));
    let refused = rotation.run("deleteSecret", ARN, token).await;
    assert!(matches!(refused, Err(RotationError::UnknownStep(_))));
    // Nothing is there to be tested or finished.
    for step in ["testSecret", "finishSecret"] {
        let refused = rotation.run(step, ARN, token).await;
        assert!(matches!(refused, Err(RotationError::NotPending(_))));
    }
    assert_eq!(secrets.document(), json!({"current": FIRST}));

    run_steps(&rotation, token).await.unwrap();
    let log = log.end();
    assert!(log.contains("the keys were rotated"), "{log}");
    for key in secrets.document()["keys"].as_array().unwrap() {
        for secret in [&key["secret"], &key["rsa"]] {
            let secret = secret.as_str().unwrap_or("no such text");
            assert!(!log.contains(&secret[..16.min(secret.len())]) || secret == "no such text");
        }
    }
}

#[tokio::test]
async fn the_role_of_the_rotation_allows_what_it_does_and_nothing_else() {
    let secrets = old_secret().await;
    let clock = Arc::new(ManualClock::starting_at(noon()));
    let rotation = rotation(&secrets, TokenAlgorithm::EdDsa, clock, 1);
    rotate(&secrets, &rotation, "the-token-of-this-rotation-0123456789")
        .await
        .unwrap();
    let done: BTreeSet<String> = secrets
        .operations()
        .iter()
        .map(|operation| format!("secretsmanager:{operation}"))
        .collect();
    let template = template();
    let function = functions(&template).remove("rotate-keys").unwrap();
    let [statement] = function["Properties"]["Policies"][0]["Statement"]
        .as_array()
        .unwrap()
        .as_slice()
    else {
        panic!("one statement");
    };
    assert_eq!(statement["Resource"], "TokenSecret");
    let allowed = statement["Action"].as_array().unwrap().iter();
    let allowed: BTreeSet<String> = allowed
        .map(|action| action.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(allowed, done);

    // Secrets Manager alone may call it, for this secret, when the schedule is not turned off.
    let resources = &template["Resources"];
    let permission = &resources["RotateKeysPermission"]["Properties"];
    assert_eq!(permission["Principal"], "secretsmanager.amazonaws.com");
    assert_eq!(permission["SourceArn"], "TokenSecret");
    let schedule = &resources["TokenSecretRotation"];
    assert_eq!(schedule["Condition"], "RotatesKeys");
    assert_eq!(schedule["Properties"]["SecretId"], "TokenSecret");
    let days = &schedule["Properties"]["RotationRules"]["AutomaticallyAfterDays"];
    assert_eq!(days, "KeyRotationDays");
}
