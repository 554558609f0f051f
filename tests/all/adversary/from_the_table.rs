//! Guarantee 10 as an attack: a thief reads the whole table, knows this program and its published keys, and has an account
//! of their own, so that they have seen genuine tokens of every kind. What the table holds is tried as the key, as the
//! secret behind the keys, and as the token itself.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::HMAC_SHA256;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use http::StatusCode;
use latchkey_api::cors::AllowedOrigins;
use latchkey_domain::client::ClientScope;
use latchkey_domain::token::{KeyMaterial, RsaPrivateKey, Token, TokenSecret, Tokens};
use latchkey_service::token_keys::TokenKeys;
use latchkey_service::{AccessRules, Authorizer};
use latchkey_tests::attack::forgery::{derive_from, part, read_part, sign_with_hmac};
use latchkey_tests::harness::authorizer::passes;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{
    DEVICE_SECRET, OTHER_AUDIENCE, SECRET, Stack, identity, noon, tokens, without_limits,
};
use serde_json::{Value, json};

const VICTIM: &str = "ada@example.com";
const THIEF: &str = "mallory@example.com";
const CLIENT: &str = "orders-api";

/// What a route accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Access,
    /// An access token for another API.
    AccessElsewhere,
    Refresh,
    Device,
    ResetPassword,
    VerifyEmail,
    ChangeEmail,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Access,
        Self::AccessElsewhere,
        Self::Refresh,
        Self::Device,
        Self::ResetPassword,
        Self::VerifyEmail,
        Self::ChangeEmail,
    ];

    /// Under which label its key is derived from a secret.
    fn label(self) -> &'static str {
        match self {
            Self::Access | Self::AccessElsewhere => "access token: Ed25519 seed",
            Self::Refresh => "refresh token: HS256 key",
            Self::Device => "device token: HS256 key",
            Self::ResetPassword => "link to reset a password: HS256 key",
            Self::VerifyEmail => "link to verify an address: HS256 key",
            Self::ChangeEmail => "link to change an address: HS256 key",
        }
    }

    fn sign(self, key: &[u8], sample: &Sample) -> Option<String> {
        let (header, claims) = (sample.header.to_string(), sample.claims.to_string());
        if !matches!(self, Self::Access | Self::AccessElsewhere) {
            return Some(sign_with_hmac(HMAC_SHA256, key, header, claims));
        }
        let message = format!("{}.{}", part(header), part(claims));
        let signature = if sample.header["alg"] == "RS256" {
            sign_with_rsa(key, message.as_bytes())?
        } else {
            let key = Ed25519KeyPair::from_seed_unchecked(key).ok()?;
            key.sign(message.as_bytes()).as_ref().to_vec()
        };
        Some(format!("{message}.{}", part(signature)))
    }
}

/// The signature of a private key, if the bytes are one.
fn sign_with_rsa(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let key = rsa::KeyPair::from_pkcs8(key).ok()?;
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
        .ok()?;
    Some(signature)
}

/// The header of a genuine token of the thief's, and the same claims about the victim.
struct Sample {
    kind: Kind,
    header: Value,
    claims: Value,
}

impl Sample {
    fn new(kind: Kind, genuine: &str, changes: &Value) -> Self {
        let mut claims = read_part(genuine, 1);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        Self {
            kind,
            header: read_part(genuine, 0),
            claims,
        }
    }
}

/// Two users, a client, and whatever else the table may hold.
struct Scene {
    stack: Stack,
    victim: SignedIn,
    samples: Vec<Sample>,
    client_secret: String,
}

/// The service under attack, and who else looks at tokens.
struct Attacked {
    stack: Stack,
    authorizer: Authorizer,
    authorizer_elsewhere: Authorizer,
    client_secret: String,
}

async fn scene(tokens: TokenKeys) -> Scene {
    let stack = Stack::start().await.with_tokens(tokens);
    let mut victim = stack.register(VICTIM).await;
    let user = victim.user_id.unwrap();
    let mallory = stack.register(THIEF).await;
    let client_secret = stack.add_client(CLIENT, &ClientScope::ALL).await;
    for _ in 0..2 {
        stack.try_login(VICTIM, "a wrong password").await;
        stack.advance(TimeDelta::minutes(1));
        victim = stack.refresh_session(&victim).await;
        stack.request_password_reset(VICTIM).await;
    }
    let phone = stack.login(VICTIM).await;
    let logout = json!({"refresh_token": phone.refresh_token});
    let reply = stack.post("/v1/auth/logout").json(&logout).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    stack.stream().drain().await;

    let thief = mallory.user_id.unwrap();
    let session = stack.store.read_session(user, victim.session_id).await;
    let session = session.unwrap().unwrap();
    let times = json!({"iat": stack.now().timestamp(), "exp": stack.now().timestamp() + 600});
    let about = |more: Value| {
        let mut changes = times.clone();
        changes["sub"] = json!(user);
        let more = more.as_object().cloned().unwrap_or_default();
        changes.as_object_mut().unwrap().extend(more);
        changes
    };
    let jti = format!("{}.{}", session.id, session.rotation);
    let (reset, verify) = (
        stack.reset_token(thief).await,
        stack.verify_token(thief).await,
    );
    let change = stack.change_email_token(&mallory, "eve@example.com").await;
    let device = mallory.device_token.clone().unwrap();
    let wanted = json!({"refresh_token": mallory.refresh_token, "audience": OTHER_AUDIENCE});
    let reply = stack.post("/v1/auth/refresh").json(&wanted).send().await;
    let elsewhere = SignedIn::from(reply.expect(StatusCode::OK)).access_token;
    let email = json!({"email": VICTIM});
    let samples = [
        (
            Kind::Access,
            &mallory.access_token,
            about(json!({"sid": session.id})),
        ),
        (
            Kind::AccessElsewhere,
            &elsewhere,
            about(json!({"sid": session.id})),
        ),
        (
            Kind::Refresh,
            &mallory.refresh_token,
            about(json!({"sid": session.id, "jti": jti})),
        ),
        (Kind::Device, &device, json!({"sub": user})),
        (Kind::ResetPassword, &reset, about(email.clone())),
        (Kind::VerifyEmail, &verify, about(email)),
        (
            Kind::ChangeEmail,
            &change,
            about(json!({"sid": session.id})),
        ),
    ];
    let samples = samples.map(|(kind, genuine, changes)| Sample::new(kind, genuine, &changes));
    Scene {
        stack,
        victim,
        samples: samples.into(),
        client_secret,
    }
}

impl Scene {
    /// The same table behind a service without limits, so that every try is looked at.
    async fn attacked(&self) -> Attacked {
        let dynamodb = self.stack.dynamodb.clone();
        let stack = Stack::on(dynamodb, without_limits(), &AllowedOrigins::None).await;
        let stack = stack.with_tokens(self.stack.core.tokens.clone());
        stack.advance(self.stack.now() - stack.now());
        let elsewhere = AccessRules {
            audience: Some(OTHER_AUDIENCE.to_owned()),
            ..AccessRules::default()
        };
        Attacked {
            authorizer: stack.authorizer(AccessRules::default()),
            authorizer_elsewhere: stack.authorizer(elsewhere),
            client_secret: self.client_secret.clone(),
            stack,
        }
    }

    /// Which kinds of tokens a route accepts that are made of these secrets.
    async fn accepted_of(&self, attacked: &Attacked, secrets: &BTreeSet<Vec<u8>>) -> Vec<Kind> {
        let mut accepted = BTreeSet::new();
        for sample in &self.samples {
            for secret in secrets {
                let digest = digest(&SHA256, secret);
                let derived = derive_from(secret, sample.kind.label());
                for key in [secret.as_slice(), digest.as_ref(), &derived] {
                    if let Some(token) = sample.kind.sign(key, sample)
                        && attacked.ask(sample.kind, &token).await.contains(&true)
                    {
                        accepted.insert(sample.kind);
                    }
                }
            }
        }
        accepted.into_iter().collect()
    }
}

impl Attacked {
    /// Of everybody who looks at tokens of a kind, the routes and the APIs that ask, whether they accept this one.
    async fn ask(&self, kind: Kind, token: &str) -> Vec<bool> {
        let stack = &self.stack;
        match kind {
            Kind::Access => {
                let reply = stack.get("/v1/me").bearer(token).send().await;
                vec![
                    reply.code() != "invalid_token",
                    passes(&self.authorizer, token).await,
                    self.is_active(token).await,
                ]
            }
            Kind::AccessElsewhere => vec![
                passes(&self.authorizer_elsewhere, token).await,
                self.is_active(token).await,
            ],
            Kind::Refresh => vec![
                self.is_active(token).await,
                stack.refresh(token).await.code() != "invalid_refresh_token",
            ],
            // It opens nothing: what it changes is where wrong passwords are counted.
            Kind::Device => {
                let token = Token::new(token.to_owned());
                let device = stack.core.tokens.verify_device(&token, stack.now());
                vec![device.await.is_some()]
            }
            Kind::ResetPassword => {
                let reply = stack
                    .reset_password(token, "wrong donkey charger paperclip")
                    .await;
                vec![reply.code() != "invalid_link"]
            }
            Kind::VerifyEmail | Kind::ChangeEmail => {
                vec![stack.verify_email(token).await.code() != "invalid_link"]
            }
        }
    }

    /// What a thief reads.
    async fn texts_of_the_table(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        texts(&json!(self.stack.items_with_counters().await), &mut found);
        found
    }

    /// What an API is told that asks by itself.
    async fn is_active(&self, token: &str) -> bool {
        let call = self.stack.post("/oauth/introspect");
        let call = call.basic(CLIENT, &self.client_secret);
        let reply = call.form(&[("token", token)]).send().await;
        // A text that is empty is no parameter, and refused as none.
        reply.status == StatusCode::OK && reply.body["active"] != json!(false)
    }
}

/// Every text of the table, whole and in its parts.
fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                found.insert(name.clone());
                texts(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::String(text) => {
            found.extend(text.split(['#', '$', '.', ',', ' ']).map(str::to_owned));
            found.insert(text.clone());
        }
        Value::Number(number) => drop(found.insert(number.to_string())),
        Value::Bool(_) | Value::Null => {}
    }
}

/// What a text may stand for: itself, and what is written in it.
fn readings(text: &str) -> Vec<Vec<u8>> {
    let mut readings = vec![text.as_bytes().to_vec()];
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        readings.extend(engine.decode(text).ok());
    }
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let pairs = digits.chunks_exact(2);
    readings.push(
        pairs
            .filter_map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok())
            .collect(),
    );
    readings
}

/// Keys whose access tokens are signed with RSA, and the private key as it would have to be stored.
fn tokens_with_rsa() -> (TokenKeys, Vec<u8>) {
    let rsa = RsaPrivateKey::generate().unwrap();
    let pkcs8 = STANDARD.decode(rsa.to_base64().as_bytes()).unwrap();
    let secret = TokenSecret::new(SECRET).unwrap();
    let material = KeyMaterial {
        secret,
        rsa: Some(rsa),
    };
    let device = TokenSecret::new(DEVICE_SECRET).unwrap();
    let tokens = Tokens::of_secret(identity(), material, None, Some(device), noon());
    (tokens.unwrap().into(), pkcs8)
}

#[tokio::test]
async fn from_the_table_alone_no_access_token_of_an_rsa_key_is_made() {
    let (tokens, pkcs8) = tokens_with_rsa();
    let mut scene = scene(tokens).await;
    let of_rsa = |sample: &Sample| sample.header["alg"] == "RS256";
    scene.samples.retain(of_rsa);
    let attacked = scene.attacked().await;
    let found = attacked.texts_of_the_table().await;
    let secrets: BTreeSet<Vec<u8>> = found.iter().flat_map(|text| readings(text)).collect();
    assert!(secrets.len() > 100, "{}", secrets.len());
    assert_eq!(scene.accepted_of(&attacked, &secrets).await, []);
    // With the key, which is not in the table, the same attack makes both kinds.
    let secrets = readings(&STANDARD.encode(&pkcs8)).into_iter().collect();
    let accepted = scene.accepted_of(&attacked, &secrets).await;
    assert_eq!(accepted, [Kind::Access, Kind::AccessElsewhere]);
    for sample in &scene.samples {
        let token = sample.kind.sign(&pkcs8, sample).unwrap();
        let accepted = attacked.ask(sample.kind, &token).await;
        assert!(
            !accepted.contains(&false),
            "{:?}: {accepted:?}",
            sample.kind
        );
    }
}

#[tokio::test]
async fn from_the_table_alone_no_token_is_made_that_a_route_accepts() {
    let scene = scene(tokens().into()).await;
    let attacked = scene.attacked().await;
    let found = attacked.texts_of_the_table().await;
    for kept in ["THROTTLE", "ACTIVITY", "CLIENT", "EMAIL", "SESSION", "LINK"] {
        assert!(found.contains(kept), "the table holds {kept}: {found:?}");
    }
    let secrets: BTreeSet<Vec<u8>> = found.iter().flat_map(|text| readings(text)).collect();
    let accepted = scene.accepted_of(&attacked, &secrets).await;
    assert_eq!(accepted, [], "of {} secrets", secrets.len());

    for text in &found {
        for kind in Kind::ALL {
            let accepted = attacked.ask(kind, text).await;
            assert!(!accepted.contains(&true), "{kind:?}: {text}");
        }
        let secrets = readings(text).into_iter().map(String::from_utf8);
        for secret in secrets.filter_map(Result::ok) {
            let call = attacked.stack.post("/oauth/introspect");
            let call = call.basic(CLIENT, &secret);
            let call = call.form(&[("token", &scene.victim.access_token)]);
            assert_eq!(
                call.send().await.status,
                StatusCode::UNAUTHORIZED,
                "{secret}"
            );
        }
    }
    // A password takes the time of a hash, so what belongs to passwords alone.
    let credentials = attacked.stack.items().await.into_iter();
    let credentials = credentials
        .filter(|item| item["sk"] == "CREDENTIAL")
        .collect();
    let mut found = BTreeSet::new();
    texts(&credentials, &mut found);
    for text in found {
        let reply = attacked.stack.try_login(VICTIM, &text).await;
        assert_ne!(reply.status, StatusCode::OK, "{text}");
    }
}

/// The attack works: with the secrets, which are not in the table, it makes every kind.
#[tokio::test]
async fn with_the_secrets_the_same_attack_makes_every_kind_of_token() {
    for kind in Kind::ALL {
        let secret = match kind {
            Kind::Device => DEVICE_SECRET,
            _ => SECRET,
        };
        let mut scene = scene(tokens().into()).await;
        scene.samples.retain(|sample| sample.kind == kind);
        let attacked = scene.attacked().await;
        // A reset opens its link once, so that is left to the attack.
        if kind != Kind::ResetPassword {
            let key = derive_from(secret, kind.label());
            let token = kind.sign(&key, &scene.samples[0]).unwrap();
            let accepted = attacked.ask(kind, &token).await;
            assert!(!accepted.contains(&false), "{kind:?}: {accepted:?}");
        }
        let secrets = readings(&STANDARD.encode(secret)).into_iter().collect();
        assert_eq!(scene.accepted_of(&attacked, &secrets).await, [kind]);
        assert!(attacked.is_active(&scene.victim.access_token).await);
    }
}
