//! Every reply that a test gets must be one that the OpenAPI document knows: its status, its code, its form.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use http::Method;
use jsonschema::Validator;
use latchkey_api::http::SECURITY_HEADERS;
use latchkey_api::problem::Code;
use serde_json::{Value, json};

use crate::harness::reply::Reply;

/// The document, as the service serves it.
#[must_use]
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| json!(crate::harness::openapi::generated()))
}

/// Checks a reply.
///
/// # Panics
/// When the document does not know it.
pub fn check(method: &Method, path: &str, reply: &Reply) {
    assert_ne!(
        reply.status.as_u16(),
        500,
        "{method} {path}: {}",
        reply.body
    );
    check_form(method, path, reply);
}

/// Checks a reply that may be a 500, because something is broken on purpose.
///
/// # Panics
/// When the document does not know it.
pub fn check_form(method: &Method, path: &str, reply: &Reply) {
    let context = || format!("{method} {path}: {} {}", reply.status, reply.body);
    assert!(reply.headers.contains_key("x-request-id"), "{}", context());
    check_headers(reply, &context);
    let Some(operation) = operation(method, path) else {
        // HEAD is GET without the body (RFC 9110 section 9.3.2), and the document describes it as GET.
        if *method == Method::HEAD
            && let Some(get) = self::operation(&Method::GET, path)
            && let pointer = format!("{get}/responses/{}", reply.status.as_str())
            && document().pointer(&pointer).is_some()
        {
            assert!(reply.bytes.is_empty(), "a body for HEAD: {}", context());
            return;
        }
        let known =
            // 303: the root of the service leads to its documentation page.
            matches!(reply.status.as_u16(), 404 | 405 | 200 | 303) || reply.code() == "edge_required";
        assert!(known, "not documented: {}", context());
        return;
    };
    if reply.status.is_success() && method == Method::OPTIONS {
        return;
    }
    let status = reply.status.as_str();
    let pointer = format!("{operation}/responses/{status}");
    let response = document()
        .pointer(&pointer)
        .unwrap_or_else(|| panic!("not documented: {}", context()));
    let Some(content) = response["content"].as_object() else {
        assert!(
            reply.bytes.is_empty(),
            "a body where none is documented: {}",
            context()
        );
        return;
    };
    let sent = reply.header("content-type").unwrap_or_default();
    let essence = sent.split(';').next().unwrap_or_default();
    let media = content
        .get(essence)
        .unwrap_or_else(|| panic!("{essence} is not documented: {}", context()));
    // What comes in a content coding is looked at by its own test.
    if essence.ends_with("json") && reply.header("content-encoding").is_none() {
        let pointer = format!("{pointer}/content/{}/schema", essence.replace('/', "~1"));
        assert_valid(&pointer, &reply.body, &context);
    }
    if essence == "application/problem+json" {
        check_words(&reply.body, &context);
        let documented = media["examples"].get(reply.code()).is_some();
        assert!(documented, "the code is not documented: {}", context());
    }
}

/// Whatever people may read is a sentence, and the title is the code's: it does not change from one occurrence to the next
/// (RFC 9457 section 3.1.3).
fn check_words(problem: &Value, context: &dyn Fn() -> String) {
    let errors = problem["errors"].as_array().into_iter().flatten();
    for detail in errors.chain([problem]).map(|part| &part["detail"]) {
        let words = detail.as_str().unwrap_or_default();
        let begins = words.chars().next().is_some_and(char::is_uppercase);
        assert!(begins && words.ends_with('.'), "no sentence: {}", context());
    }
    let code = |code: &&Code| problem["code"] == code.as_str();
    let title = Code::ALL.iter().find(code).map(|code| code.title());
    assert_eq!(problem["title"].as_str(), title, "{}", context());
}

/// What DESIGN says of headers, whatever the route.
fn check_headers(reply: &Reply, context: &dyn Fn() -> String) {
    for (name, _) in SECURITY_HEADERS {
        let times = reply.headers.get_all(&name).iter().count();
        assert_eq!(times, 1, "{name}: {}", context());
    }
    let required = match reply.status.as_u16() {
        401 => "www-authenticate",
        405 => "allow",
        429 | 503 => "retry-after",
        _ => return,
    };
    assert!(
        reply.headers.contains_key(required),
        "without {required}: {}",
        context()
    );
}

/// The pointer to the operation of a request.
pub(super) fn operation(method: &Method, path: &str) -> Option<String> {
    // Methods are case-sensitive (RFC 9110 section 9.1), and the document's names of them are not: `PATcH` is another.
    if method.as_str().contains(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    let path = path.split('?').next().unwrap_or_default();
    let paths = document()["paths"].as_object()?;
    let template = paths
        .keys()
        .find(|template| *template == path)
        .or_else(|| {
            paths.keys().find(|template| {
                let (one, other): (Vec<&str>, Vec<&str>) =
                    (template.split('/').collect(), path.split('/').collect());
                one.len() == other.len()
                    // The router takes an empty segment for a parameter, but not at the end of a path.
                    && one.iter().zip(&other).all(|(one, other)| {
                        one == other || one.starts_with('{')
                    })
                    && !path.ends_with('/')
            })
        })?;
    let method = method.as_str().to_ascii_lowercase();
    paths.get(template)?.get(&method)?;
    Some(format!(
        "/paths/{}/{method}",
        template.replace('~', "~0").replace('/', "~1")
    ))
}

fn assert_valid(pointer: &str, body: &Value, context: &dyn Fn() -> String) {
    static VALIDATORS: OnceLock<Mutex<HashMap<String, Validator>>> = OnceLock::new();
    let validators = VALIDATORS.get_or_init(Mutex::default);
    let mut validators = validators
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let validator = validators.entry(pointer.to_owned()).or_insert_with(|| {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "allOf": [document().pointer(pointer)],
            "components": document()["components"],
        });
        jsonschema::validator_for(&schema).expect("the document's schemas are schemas")
    });
    let errors: Vec<String> = validator
        .iter_errors(body)
        .map(|error| error.to_string())
        .collect();
    assert!(
        errors.is_empty(),
        "not as documented: {errors:?} {}",
        context()
    );
}
