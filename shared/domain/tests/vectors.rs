//! The published examples of RFC 7515 (appendix A) and RFC 8037 (appendix A): what signs and verifies our tokens
//! reproduces them, and none of them passes as a token of ours.
#![expect(clippy::unwrap_used, reason = "tests may panic")]

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, crypto};
use latchkey_domain::token::{Token, TokenIdentity, TokenSecret, Tokens};
use serde_json::json;

/// RFC 7515, appendix A.1: HMAC with SHA-256.
const A1_KEY: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const A1_HEADER: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
const A1_CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const A1_SIGNATURE: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// RFC 8037, appendices A.1 to A.5: Ed25519.
const ED25519_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const ED25519_PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED25519_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const ED25519_MESSAGE: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const ED25519_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The first byte of a signature changed.
fn tamper(signature: &str) -> String {
    let mut bytes = decode(signature);
    bytes.first_mut().into_iter().for_each(|byte| *byte ^= 1);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[test]
fn hs256_gives_the_signature_of_rfc_7515() {
    let message = format!("{A1_HEADER}.{A1_CLAIMS}");
    let (sign, verify) = (
        EncodingKey::from_secret(&decode(A1_KEY)),
        DecodingKey::from_secret(&decode(A1_KEY)),
    );
    let signed = crypto::sign(message.as_bytes(), &sign, Algorithm::HS256).unwrap();
    assert_eq!(signed, A1_SIGNATURE);
    let holds = |signature: &str, message: &str| {
        crypto::verify(signature, message.as_bytes(), &verify, Algorithm::HS256).unwrap()
    };
    assert!(holds(A1_SIGNATURE, &message));
    assert!(!holds(&tamper(A1_SIGNATURE), &message));
    assert!(!holds(A1_SIGNATURE, &format!("{A1_HEADER}.")));
    // The first half of the tag is no tag.
    let half = URL_SAFE_NO_PAD.encode(decode(A1_SIGNATURE).get(..16).unwrap());
    assert!(!holds(&half, &message));
}

#[test]
fn ed25519_gives_the_key_the_thumbprint_and_the_signature_of_rfc_8037() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&decode(ED25519_SEED)).unwrap();
    assert_eq!(
        URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
        ED25519_PUBLIC
    );
    let sign = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
    let public = Jwk::from_encoding_key(&sign, Algorithm::EdDSA).unwrap();
    assert_eq!(json!(public)["x"], ED25519_PUBLIC);
    assert_eq!(
        public.thumbprint(ThumbprintHash::SHA256).unwrap(),
        ED25519_THUMBPRINT
    );
    let message = ED25519_MESSAGE.as_bytes();
    let signed = crypto::sign(message, &sign, Algorithm::EdDSA).unwrap();
    assert_eq!(signed, ED25519_SIGNATURE);
    let verify = DecodingKey::from_jwk(&public).unwrap();
    let holds = |signature: &str, message: &[u8]| {
        crypto::verify(signature, message, &verify, Algorithm::EdDSA).unwrap()
    };
    assert!(holds(ED25519_SIGNATURE, message));
    assert!(!holds(&tamper(ED25519_SIGNATURE), message));
    assert!(!holds(ED25519_SIGNATURE, b"eyJhbGciOiJFZERTQSJ9."));
}

#[test]
fn no_published_example_is_a_token_of_ours() {
    let published = [
        ("A.1, HS256", format!("{A1_HEADER}.{A1_CLAIMS}.{A1_SIGNATURE}")),
        (
            "A.2, RS256",
            format!(
                "eyJhbGciOiJSUzI1NiJ9.{A1_CLAIMS}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
            ),
        ),
        (
            "A.3, ES256",
            format!(
                "eyJhbGciOiJFUzI1NiJ9.{A1_CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
            ),
        ),
        (
            "A.4, ES512",
            "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn".to_owned(),
        ),
        ("A.5, none", format!("eyJhbGciOiJub25lIn0.{A1_CLAIMS}.")),
        (
            "RFC 8037 A.4, EdDSA",
            format!("{ED25519_MESSAGE}.{ED25519_SIGNATURE}"),
        ),
    ];
    let identity = TokenIdentity {
        issuer: "joe".to_owned(), // as in the examples
        audience: "joe".to_owned(),
        other_audiences: Vec::new(),
        client_id: "joe".to_owned(),
    };
    let then: DateTime<Utc> = DateTime::from_timestamp(1_300_819_379, 0).unwrap();
    // With their own keys as the secret, as near as anyone can come.
    for secret in [decode(A1_KEY), decode(ED25519_SEED)] {
        let secret = TokenSecret::new(secret).unwrap();
        let tokens = Tokens::new(identity.clone(), &secret, None).unwrap();
        for (name, token) in &published {
            let token = Token::new(token.clone());
            assert!(tokens.verify_access(&token, then).is_err(), "{name}");
            assert!(
                tokens.verify_refresh_of_any_age(&token, then).is_err(),
                "{name}"
            );
        }
    }
}
