//! Guarantee 8, by construction: what no operation of the OpenAPI document can read is refused by each, also by one that
//! is added tomorrow. The caller may do everything, so that nothing else refuses before.

use http::{Method, StatusCode};
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::Stack;
use serde_json::{Value, json};

/// An operation of the document.
struct Operation {
    method: Method,
    path: &'static str,
    described: &'static Value,
}

fn operations() -> Vec<Operation> {
    let paths = conformity::document()["paths"].as_object().unwrap();
    let of_path = |(path, item): (&'static String, &'static Value)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, described)| Operation {
            method: method.to_ascii_uppercase().parse().unwrap(),
            path,
            described,
        })
    };
    paths.iter().flat_map(of_path).collect()
}

/// A path with the parameters of somebody who is there.
fn fill_in(path: &str, who: &SignedIn) -> String {
    let session = who.session_id.to_string();
    let path = path
        .replace("{user_id}", &who.user_id.unwrap().to_string())
        .replace("{session_id}", &session)
        .replace("{id}", &session);
    assert!(
        !path.contains('{'),
        "a parameter that is not filled in: {path}"
    );
    path
}

/// A schema, or the one that it refers to.
fn resolve(schema: &'static Value) -> &'static Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let pointer = reference.strip_prefix('#').unwrap();
            conformity::document().pointer(pointer).unwrap()
        }
        None => schema,
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_refused_by_each_operation_that_reads_one() {
    let stack = Stack::start().await;
    let root = stack.administrator("root@example.com").await;
    let before = stack.items().await;
    let large = format!(r#"{{"x": "{}"}}"#, "y".repeat(16 * 1024));
    let mut checked = 0;
    for Operation {
        method,
        path,
        described,
    } in operations()
    {
        let content = &described["requestBody"]["content"]["application/json"];
        // Clients of other services have other credentials; their routes have their own tests.
        let ways = described["security"].as_array().into_iter().flatten();
        let is_for_clients = ways.clone().count() > 0
            && !ways
                .clone()
                .any(|way| way.get("access_token").is_some() || *way == json!({}));
        if content.is_null() || is_for_clients {
            continue;
        }
        checked += 1;
        let url = fill_in(path, &root);
        let call = || {
            let call = stack.request(method.clone(), &url);
            call.bearer(&root.access_token)
        };
        let example = &content["example"];
        for malformed in [
            "null",
            "true",
            "7",
            "\"x\"",
            "[]",
            "[{}]",
            " \t\r\n[]",
            "{",
            "{}x",
            "\u{0}",
            &format!("{}{}", "[".repeat(8_000), "]".repeat(8_000)),
        ] {
            let reply = call().bytes("application/json", malformed.as_bytes());
            let reply = reply.send().await;
            let found = (reply.status.as_u16(), reply.code().to_owned());
            assert_eq!(
                found,
                (400, "invalid_request".to_owned()),
                "{method} {path} {malformed:.40}"
            );
        }
        let reply = call()
            .bytes("application/json", large.as_bytes())
            .send()
            .await;
        reply.expect_problem(413, "payload_too_large");
        let text = example.to_string();
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "",
            "nonsense",
        ] {
            let reply = call().bytes(kind, text.as_bytes()).send().await;
            reply.expect_problem(415, "unsupported_media_type");
        }
        for coding in [&b"gzip"[..], b"x-foo", b"\xff"] {
            let reply = call()
                .bytes("application/json", text.as_bytes())
                .header("content-encoding", coding);
            reply
                .send()
                .await
                .expect_problem(415, "unsupported_media_type");
        }
        for (field, schema) in resolve(&content["schema"])["properties"]
            .as_object()
            .unwrap()
        {
            // Half of a surrogate pair is no character.
            for value in [json!("@@"), json!(["@@"])] {
                let mut body = example.clone();
                body[field] = value;
                let not_utf8 = body.to_string().into_bytes();
                let not_utf8: Vec<u8> = not_utf8
                    .into_iter()
                    .map(|byte| if byte == b'@' { 0xff } else { byte })
                    .collect();
                let reply = call().bytes("application/json", &not_utf8).send().await;
                reply.expect_problem(400, "invalid_request");
                let body = body.to_string().replace("@@", "\\ud800");
                let reply = call()
                    .bytes("application/json", body.as_bytes())
                    .send()
                    .await;
                let found = (reply.status.as_u16(), reply.code().to_owned());
                assert_eq!(found, (400, "invalid_request".to_owned()), "{path} {body}");
            }
            let is_object = |schema: &'static Value| !resolve(schema)["properties"].is_null();
            let mut ways = schema["oneOf"].as_array().into_iter().flatten();
            let takes_objects = is_object(schema) || ways.any(is_object);
            let objects = [json!({}), json!({"x": [1]})].into_iter();
            // No field of this service takes a number in an array.
            let arrays = [json!([7]), json!([[]]), json!([{}])];
            for wrong in objects.filter(|_| !takes_objects).chain(arrays) {
                let mut body = example.clone();
                body[field] = wrong.clone();
                let reply = call().json(&body).send().await;
                let found = (reply.status.as_u16(), reply.code().to_owned());
                assert_eq!(
                    found,
                    (400, "invalid_request".to_owned()),
                    "{method} {path} {field} {schema}: {wrong}"
                );
            }
        }
    }
    assert!(checked >= 9, "{checked}");
    assert_eq!(
        stack.items().await,
        before,
        "nothing is written on a refused request"
    );
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_by_each_operation_that_has_one_in_its_path() {
    let stack = Stack::start().await;
    let root = stack.administrator("root@example.com").await;
    let before = stack.items().await;
    let mut checked = 0;
    for Operation {
        method,
        path,
        described,
    } in operations()
    {
        let parameters = described["parameters"].as_array().into_iter().flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "path") {
            let name = format!("{{{}}}", parameter["name"].as_str().unwrap());
            for id in [
                "x",
                "0",
                "%00",
                "%ff",
                "00000000000000000000000000000000",
                "%7b0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11%7d",
                "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c1g",
                "..%2f..%2fme",
                &"9".repeat(5_000),
            ] {
                let url = fill_in(&path.replace(&name, id), &root);
                let mut call = stack
                    .request(method.clone(), &url)
                    .bearer(&root.access_token);
                let content = &described["requestBody"]["content"]["application/json"];
                if let Some(example) = content.get("example") {
                    call = call.json(example);
                }
                let reply = call.send().await;
                let found = (reply.status.as_u16(), reply.code().to_owned());
                assert_eq!(
                    found,
                    (400, "invalid_request".to_owned()),
                    "{method} {url:.80}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked >= 80, "{checked}");
    assert_eq!(stack.items().await, before);
    let reply = stack.get("/v1/admin/users").bearer(&root.access_token);
    assert_eq!(reply.send().await.status, StatusCode::OK);
}
