//! Keys in turn, of both algorithms: which of them sign and are accepted when, and that none passes as another.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails by panicking"
)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::token::{
    IssuedTokens, KeyMaterial, KeyRing, RingKey, RsaPrivateKey, Scope, Token, TokenAlgorithm,
    TokenError, TokenIdentity, TokenSecret, Tokens,
};
use serde_json::{Value, json};

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn secret(byte: u8) -> TokenSecret {
    TokenSecret::new(vec![byte; 32]).unwrap()
}

fn rsa(byte: u8, key: &RsaPrivateKey) -> KeyMaterial {
    KeyMaterial {
        secret: secret(byte),
        rsa: Some(key.clone()),
    }
}

fn tokens(keys: Vec<RingKey>, now: DateTime<Utc>) -> Tokens {
    let identity = TokenIdentity {
        issuer: "https://id.example.com".to_owned(),
        audience: "latchkey".to_owned(),
        other_audiences: Vec::new(),
        client_id: "latchkey-app".to_owned(),
    };
    let ring = KeyRing::new(keys).unwrap();
    Tokens::of_ring(identity, &ring, &SessionPolicy::default(), now).unwrap()
}

fn issue(tokens: &Tokens, now: DateTime<Utc>) -> IssuedTokens {
    let random = SeededRandom::new(1);
    let (id, user) = (SessionId::random(&random), UserId::random(&random));
    let device = Device::describe(None, None, None, ClientHints::default());
    let policy = SessionPolicy::default();
    let session = Session::begin(id, user, device, ClientLocation::default(), now, &policy);
    let issued = tokens.issue(&session, Scope::own_account(), now, &policy, &random);
    issued.unwrap()
}

fn part(token: &Token, position: usize) -> Value {
    let part = token.expose().split('.').nth(position).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A token with the header and the claims that are given, signed by whom the caller likes.
fn sign_parts(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Token {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    Token::new(format!("{message}.{signature}"))
}

fn sign_rsa(key: &RsaPrivateKey, padding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(key.to_base64().as_bytes()).unwrap());
    let pair = pair.unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut signature)
        .unwrap();
    signature
}

#[test]
fn an_rsa_key_signs_access_tokens_and_is_published_by_its_thumbprint() {
    let key = RsaPrivateKey::generate().unwrap();
    assert_eq!(rsa(1, &key).algorithm(), TokenAlgorithm::Rs256);
    assert_eq!(
        KeyMaterial::from(secret(1)).algorithm(),
        TokenAlgorithm::EdDsa
    );
    let tokens = tokens(vec![RingKey::signing(rsa(1, &key))], noon());
    let issued = issue(&tokens, noon());
    let header = part(&issued.access_token, 0);
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("RS256"), &json!("at+jwt"))
    );
    assert!(tokens.verify_access(&issued.access_token, noon()).is_ok());
    let jwks = serde_json::to_value(tokens.jwks(noon())).unwrap();
    let [published] = jwks["keys"].as_array().unwrap().as_slice() else {
        panic!("one key: {jwks}");
    };
    let members = |name: &str| published[name].as_str().unwrap().to_owned();
    assert_eq!(
        [members("kty"), members("alg"), members("use")],
        ["RSA", "RS256", "sig"]
    );
    assert_eq!(members("e"), "AQAB");
    assert!(published.get("d").is_none() && published.get("p").is_none());
    // RFC 7638: the required members in the order of their names, without spaces.
    let text = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{}"}}"#, members("n"));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    assert_eq!(members("kid"), URL_SAFE_NO_PAD.encode(digest));
    assert_eq!(header["kid"], published["kid"]);
    // Refresh tokens stay what they are.
    assert_eq!(part(&issued.refresh_token, 0)["alg"], "HS256");
}

#[test]
fn a_token_is_accepted_with_the_algorithm_of_its_key_alone() {
    let key = RsaPrivateKey::generate().unwrap();
    let keys = vec![
        RingKey::signing(secret(1)),
        RingKey::signing_from(rsa(2, &key), noon()),
    ];
    let tokens = tokens(keys, noon());
    let ed25519 = issue(&tokens, noon() - TimeDelta::seconds(1)).access_token;
    let by_rsa = issue(&tokens, noon()).access_token;
    for genuine in [&ed25519, &by_rsa] {
        assert!(tokens.verify_access(genuine, noon()).is_ok());
    }
    let claims = part(&by_rsa, 1);
    let [kid_of_ed25519, kid] = [&ed25519, &by_rsa].map(|token| part(token, 0)["kid"].clone());
    let header = |alg: &str, kid: &Value| json!({"typ": "at+jwt", "alg": alg, "kid": kid});
    let pkcs1 = |message: &[u8]| sign_rsa(&key, &RSA_PKCS1_SHA256, message);
    let again = sign_parts(&header("RS256", &kid), &claims, pkcs1);
    assert!(
        tokens.verify_access(&again, noon()).is_ok(),
        "the forger's tool works"
    );

    // The name of one key, the algorithm of the other.
    for (alg, kid) in [
        ("RS256", &kid_of_ed25519),
        ("EdDSA", &kid),
        ("PS256", &kid),
        ("RS512", &kid),
    ] {
        let forged = sign_parts(&header(alg, kid), &claims, pkcs1);
        let refused = tokens.verify_access(&forged, noon());
        assert_eq!(refused, Err(TokenError::WrongAlgorithm), "{alg}");
    }
    let pss = |message: &[u8]| sign_rsa(&key, &RSA_PSS_SHA256, message);
    let forged = sign_parts(&header("RS256", &kid), &claims, pss);
    assert_eq!(
        tokens.verify_access(&forged, noon()),
        Err(TokenError::BadSignature)
    );
    // The public key as the secret of an HMAC, in each form in which one may have it.
    let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(key.to_base64().as_bytes()).unwrap());
    let pair = pair.unwrap();
    let n = URL_SAFE_NO_PAD.decode(tokens_n(&tokens)).unwrap();
    for public in [pair.public_key().as_ref(), n.as_slice()] {
        let hmac = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, public);
        let forged = sign_parts(&header("HS256", &kid), &claims, |message| {
            aws_lc_rs::hmac::sign(&hmac, message).as_ref().to_vec()
        });
        let refused = tokens.verify_access(&forged, noon());
        assert_eq!(refused, Err(TokenError::WrongAlgorithm));
    }
    // And without the key that was replaced, its tokens are nobody's.
    let alone = self::tokens(vec![RingKey::signing(rsa(2, &key))], noon());
    assert_eq!(
        alone.verify_access(&ed25519, noon()),
        Err(TokenError::UnknownKey)
    );
}

fn tokens_n(tokens: &Tokens) -> String {
    let jwks = serde_json::to_value(tokens.jwks(noon())).unwrap();
    jwks["keys"][0]["n"].as_str().unwrap().to_owned()
}

#[test]
fn a_replaced_key_is_published_and_accepted_until_its_access_tokens_are_over() {
    let keys = || {
        vec![
            RingKey::signing(secret(1)),
            RingKey::signing_from(secret(2), noon()),
        ]
    };
    let tokens = tokens(keys(), noon());
    let old = issue(&tokens, noon() - TimeDelta::seconds(1)).access_token;
    let end = noon() + TimeDelta::seconds(3_605);
    let before = end - TimeDelta::milliseconds(1);
    let published = |now| tokens.jwks(now).keys.len();
    assert_eq!((published(before), published(end)), (2, 1));
    assert!(tokens.verify_access_of_any_age(&old, before).is_ok());
    let refused = tokens.verify_access_of_any_age(&old, end);
    assert_eq!(refused, Err(TokenError::UnknownKey));
    // The same for who starts only then.
    let later = self::tokens(keys(), end);
    assert_eq!(later.jwks(end).keys.len(), 1);
    assert_eq!(later.jwks(end).keys, tokens.jwks(end).keys);
}

#[test]
fn what_a_leaked_key_has_signed_ends_when_its_last_genuine_token_does() {
    let policy = SessionPolicy::default();
    let ring = || {
        vec![
            RingKey::signing(secret(1)),
            RingKey::signing_from(secret(2), noon()),
        ]
    };
    let tokens = tokens(ring(), noon());
    // The thief has the first secret, and makes a token that lives for a year.
    let thief = self::tokens(vec![RingKey::signing(secret(1))], noon());
    let genuine = issue(&thief, noon()).refresh_token;
    let mut claims = part(&genuine, 1);
    claims["exp"] = json!(noon().timestamp() + 366 * 86_400);
    let forged = forge_refresh(&genuine, &claims);
    let over = noon() + policy.idle_lifetime + TimeDelta::seconds(5);
    let before = over - TimeDelta::seconds(1);
    let has_expired = |now| {
        let claims = tokens.verify_refresh_of_any_age(&forged, now);
        claims.unwrap().has_expired(now)
    };
    assert!(!has_expired(before));
    assert!(has_expired(over));
    // It still tells that it was replaced, as long as a session of that time may live.
    let forgotten = noon() + policy.absolute_lifetime + TimeDelta::seconds(5);
    let before = forgotten - TimeDelta::seconds(1);
    let told = tokens.verify_refresh_of_any_age(&forged, before).unwrap();
    assert!(told.has_expired(before));
    let refused = tokens.verify_refresh_of_any_age(&forged, forgotten);
    assert_eq!(refused, Err(TokenError::UnknownKey));
}

/// Signs claims with the key that the first secret gives.
fn forge_refresh(genuine: &Token, claims: &Value) -> Token {
    use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
    let mut key = [0; 32];
    Salt::new(HKDF_SHA256, b"latchkey")
        .extract(&[1; 32])
        .expand(&[b"refresh token: HS256 key"], HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    sign_parts(&part(genuine, 0), claims, |message| {
        aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
    })
}
