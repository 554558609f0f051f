//! What is refused though its signature is right: the claims and the header are not.

use latchkey_tests::attack::forgery::{Kind, part, read_part};
use latchkey_tests::harness::stack::{identity, noon};
use serde_json::{Value, json};

use super::{Attack, Genuine, MISSING};

/// With the key, as if the secret had been stolen or a rule of signing were broken: a good signature over a header or
/// claims that this service never writes.
pub(super) fn with_the_key(genuine: &Genuine) -> Vec<Attack> {
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
