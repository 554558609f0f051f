//! The OpenAPI document of the whole service: what the routes of all functions say of themselves, with examples.
//!
//! `functions/discovery/openapi.json` is this document, committed, because no function depends on another. A test
//! compares the two; `UPDATE_OPENAPI=1 cargo test -p latchkey-tests openapi` writes the file.

use std::path::PathBuf;

use latchkey_api::openapi::{document_without_routes, operations};
use serde_json::{Map, Value, json};
use utoipa::openapi::content::Content;
use utoipa::openapi::link::{Link, LinkBuilder};
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, RefOr};

/// Where the committed document is.
#[must_use]
pub fn committed_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../functions/discovery/openapi.json")
}

/// The document as a file: for people to read, too.
///
/// # Panics
/// When it cannot be written as JSON.
#[must_use]
pub fn as_file(document: &OpenApi) -> String {
    document.to_pretty_json().expect("JSON") + "\n"
}

/// The document as the code says it.
///
/// # Panics
/// When an example cannot be made: a value of a body has none.
#[must_use]
pub fn generated() -> OpenApi {
    let mut document = document_without_routes();
    for (_, routes) in latchkey::functions_on_table::<OpenApi>() {
        document.merge(routes);
    }
    for (_, routes) in latchkey::functions_without_table::<OpenApi>() {
        document.merge(routes);
    }
    add_examples(&mut document);
    add_links(&mut document);
    document
}

/// The operations whose reply holds tokens and a session.
const WITH_TOKENS: [&str; 6] = [
    "register",
    "login",
    "refresh",
    "reauthenticate",
    "change_password",
    "issue_session",
];

/// Those of them that leave the user out.
const WITHOUT_USER: [&str; 2] = ["refresh", "reauthenticate"];

/// Says what can be done with what a reply holds, so that tools can walk from one operation to the next.
fn add_links(document: &mut OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let from = operation.operation_id.clone().unwrap_or_default();
            let mut links = Vec::new();
            if WITH_TOKENS.contains(&from.as_str()) {
                let token = "Send the `refresh_token` of this reply.";
                links.push(link("refresh", token, None));
                links.push(link("logout", token, None));
            }
            if from == "register" {
                let credentials = "Send the same `email` and `password`.";
                links.push(link("login", credentials, None));
            }
            let session = match from.as_str() {
                "list_sessions" => Some("$response.body#/sessions/0/id"),
                "get_current_session" | "rename_session" => Some("$response.body#/id"),
                of_tokens if WITH_TOKENS.contains(&of_tokens) => Some("$response.body#/session/id"),
                _ => None,
            };
            if session.is_some() {
                let this = "The session of this reply.";
                links.push(link("rename_session", this, session));
                links.push(link("revoke_session", this, session));
            }
            let replies = operation.responses.responses.iter_mut();
            // A 202 has no body: of a registration, it holds no session yet. A 204 of a refresh tells that there is none.
            let successes = replies.filter(|(status, _)| ["200", "201"].contains(&status.as_str()));
            for reply in successes.filter_map(|(_, reply)| in_place(reply)) {
                let named = links.iter().map(|link| (link.operation_id.clone(), link));
                reply
                    .links
                    .extend(named.map(|(name, link)| (name, RefOr::T(link.clone()))));
            }
        }
    }
}

/// A link to an operation, with the session in its path if it has one. Bodies are described in words: the document's
/// most common reader, openapi-generator, refuses a `requestBody` that is an object, and a runtime expression inside an
/// object is outside of the specification. `infra/scripts/check_openapi_hooks.py` adds them for Schemathesis.
fn link(operation: &str, description: &str, session: Option<&str>) -> Link {
    let link = LinkBuilder::new()
        .operation_id(operation)
        .description(description);
    match session {
        Some(session) => link.parameter("id", session).build(),
        None => link.build(),
    }
}

/// Gives each body an example, put together from those of the values in it.
fn add_examples(document: &mut OpenApi) {
    let schemas = json!(document.components)["schemas"].take();
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            let name = operation.operation_id.as_deref();
            let without_user = name.is_some_and(|name| WITHOUT_USER.contains(&name));
            for content in bodies(operation) {
                if content.example.is_some() || !content.examples.is_empty() {
                    continue;
                }
                let mut example = example(&json!(content.schema), &schemas);
                if let (true, Some(Value::Object(tokens))) = (without_user, &mut example) {
                    tokens.remove("user");
                }
                content.example = example;
            }
        }
    }
}

/// All bodies of an operation: the request's and the replies'.
fn bodies(operation: &mut Operation) -> impl Iterator<Item = &mut Content> {
    let request = operation.request_body.iter_mut().filter_map(in_place);
    let replies = operation
        .responses
        .responses
        .values_mut()
        .filter_map(in_place);
    let of_request = request.flat_map(|body| body.content.values_mut());
    let of_replies = replies.flat_map(|reply| reply.content.values_mut());
    of_request.chain(of_replies).filter_map(in_place)
}

/// What stands here and not elsewhere.
fn in_place<T>(here_or_elsewhere: &mut RefOr<T>) -> Option<&mut T> {
    match here_or_elsewhere {
        RefOr::T(here) => Some(here),
        RefOr::Ref(_) => None,
    }
}

fn example(schema: &Value, schemas: &Value) -> Option<Value> {
    if let Some(example) = schema.get("example") {
        return Some(example.clone());
    }
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix("#/components/schemas/"))
    {
        return example(&schemas[name], schemas);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        return allowed.first().cloned();
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let examples = parts.iter().filter_map(|part| example(part, schemas));
        let members = examples
            .filter_map(|example| example.as_object().cloned())
            .flatten();
        return Some(members.collect::<Map<_, _>>().into());
    }
    if let Some(one) = schema["oneOf"].as_array() {
        return one
            .iter()
            .filter_map(|one| example(one, schemas))
            .find(|example| !example.is_null());
    }
    let is = |name: &str| {
        schema["type"] == name
            || schema["type"]
                .as_array()
                .is_some_and(|all| all.contains(&name.into()))
    };
    if is("object") {
        let properties = schema["properties"]
            .as_object()?
            .iter()
            .map(|(name, property)| {
                let example = example(property, schemas);
                (
                    name.clone(),
                    example.unwrap_or_else(|| panic!("no example of {name}: {property}")),
                )
            });
        return Some(properties.collect::<Map<_, _>>().into());
    }
    if is("array") {
        return example(&schema["items"], schemas).map(|item| json!([item]));
    }
    if is("null") {
        return Some(Value::Null);
    }
    is("boolean").then_some(Value::Bool(true))
}
