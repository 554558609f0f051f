//! The OpenAPI document is sound: everything in it is named, described, exemplified, and leads somewhere.

use std::collections::BTreeSet;

use latchkey_api::openapi::{document_without_routes, operations};
use latchkey_api::problem::Code;
use latchkey_tests::harness::openapi::generated;
use serde_json::{Value, json};
use utoipa::openapi::path::Operation;

fn each_operation(mut check: impl FnMut(&Operation)) {
    let mut document = generated();
    for item in document.paths.paths.values_mut() {
        operations(item).for_each(|operation| check(operation));
    }
}

/// All values under a key, wherever they stand.
fn all_under<'a>(key: &str, value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get(key));
            members
                .values()
                .for_each(|member| all_under(key, member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| all_under(key, item, found)),
        _ => {}
    }
}

#[test]
fn every_operation_has_a_name_of_its_own_and_a_description() {
    let tags: Vec<String> = document_without_routes()
        .tags
        .unwrap()
        .into_iter()
        .map(|tag| tag.name)
        .collect();
    let mut names = BTreeSet::new();
    each_operation(|operation| {
        let name = operation.operation_id.clone().unwrap();
        assert!(
            operation
                .summary
                .as_ref()
                .is_some_and(|text| !text.is_empty()),
            "{name}"
        );
        assert!(
            operation
                .description
                .as_ref()
                .is_some_and(|text| !text.is_empty()),
            "{name}"
        );
        assert!(
            operation
                .tags
                .iter()
                .flatten()
                .all(|tag| tags.contains(tag)),
            "{name}"
        );
        assert_eq!(operation.tags.iter().flatten().count(), 1, "{name}");
        assert!(
            names.insert(name.clone()),
            "two operations are called {name}"
        );
    });
}

#[test]
fn every_reference_leads_somewhere() {
    let document = json!(generated());
    let mut references = Vec::new();
    all_under("$ref", &document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut requirements = Vec::new();
    all_under("security", &document, &mut requirements);
    assert!(!requirements.is_empty());
    for scheme in requirements
        .iter()
        .flat_map(|all| all.as_array().unwrap())
        .flat_map(|one| one.as_object().unwrap().keys())
    {
        assert!(
            document["components"]["securitySchemes"]
                .get(scheme)
                .is_some(),
            "{scheme}"
        );
    }
}

#[test]
fn every_body_has_an_example_that_fits_its_schema() {
    let document = json!(generated());
    let mut contents = Vec::new();
    all_under("content", &document["paths"], &mut contents);
    let media = contents
        .iter()
        .flat_map(|content| content.as_object().unwrap().values());
    let mut checked = 0;
    for medium in media {
        let named = medium["examples"]
            .as_object()
            .into_iter()
            .flat_map(|all| all.values().map(|one| &one["value"]));
        let examples: Vec<&Value> = named.chain(medium.get("example")).collect();
        assert!(!examples.is_empty(), "a body without an example: {medium}");
        let schema = json!({"allOf": [medium["schema"]], "components": document["components"]});
        let validator = jsonschema::validator_for(&schema).unwrap();
        for example in examples {
            let errors: Vec<String> = validator
                .iter_errors(example)
                .map(|error| error.to_string())
                .collect();
            assert!(errors.is_empty(), "{example}: {errors:?}");
            checked += 1;
        }
    }
    assert!(checked > 50, "only {checked} examples");
}

#[test]
fn every_operation_that_reads_a_body_says_so() {
    let document = json!(generated());
    let mut without = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let reads = operation.get("requestBody").is_some();
            if reads {
                for refusal in ["400", "413", "415"] {
                    assert!(
                        operation["responses"].get(refusal).is_some(),
                        "{method} {path}: {refusal}"
                    );
                }
            }
            if !reads && method != "get" && method != "delete" {
                without.insert(path.as_str());
            }
        }
    }
    let bodiless = [
        "/v1/admin/users/{user_id}/password-reset",
        "/v1/admin/users/{user_id}/sessions/revoke-all",
        "/v1/me/verify-email",
        "/v1/sessions/revoke-all",
    ];
    assert_eq!(without, BTreeSet::from(bodiless));
}

/// Whoever makes requests from the document puts what they like there, as long as they like.
#[test]
fn every_operation_that_takes_something_in_a_path_a_query_or_a_header_says_that_it_may_be_too_long()
{
    let document = json!(generated());
    let (mut targets, mut headers) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let mut places = parameters.map(|parameter| parameter["in"].as_str().unwrap());
            let in_target = places
                .clone()
                .any(|place| ["path", "query"].contains(&place));
            let in_headers =
                places.any(|place| place == "header") || !operation["security"].is_null();
            let answers = |status| operation["responses"].get(status).is_some();
            assert_eq!(answers("414"), in_target, "{method} {path}");
            assert_eq!(answers("431"), in_headers, "{method} {path}");
            targets += usize::from(in_target);
            headers += usize::from(in_headers);
        }
    }
    assert!(targets > 10 && headers > 20, "{targets} {headers}");
}

#[test]
fn every_link_leads_to_an_operation_and_takes_what_the_reply_holds() {
    let document = json!(generated());
    let mut names = BTreeSet::new();
    each_operation(|operation| names.extend(operation.operation_id.clone()));
    let mut links = Vec::new();
    all_under("links", &document, &mut links);
    let links = links
        .iter()
        .flat_map(|links| links.as_object().unwrap().values());
    let links: Vec<&Value> = links.collect();
    assert!(links.len() > 20, "{}", links.len());
    for link in links {
        let name = link["operationId"].as_str().unwrap();
        assert!(names.contains(name), "{name}");
    }
    // What a link takes from a reply is in the reply's example.
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            for reply in operation["responses"].as_object().unwrap().values() {
                let example = &reply["content"]["application/json"]["example"];
                let taken = reply["links"].to_string();
                for pointer in taken.split("$response.body#").skip(1) {
                    let pointer = pointer.split('"').next().unwrap();
                    assert!(example.pointer(pointer).is_some(), "{pointer}: {reply}");
                }
            }
        }
    }
}

/// openapi-generator demands text there, and a runtime expression must be the whole of it (OpenAPI 3.1, section 4.8.20).
#[test]
fn no_link_has_an_object_for_a_body() {
    for document in [json!(generated()), served()] {
        let mut bodies = Vec::new();
        let mut links = Vec::new();
        all_under("links", &document, &mut links);
        assert!(links.len() >= 5, "{}", links.len());
        links
            .iter()
            .for_each(|links| all_under("requestBody", links, &mut bodies));
        assert!(bodies.iter().all(|body| body.is_string()), "{bodies:?}");
    }
}

fn served() -> Value {
    serde_json::from_str(discovery::OPENAPI_DOCUMENT).unwrap()
}

/// A client that is generated from today's document must take the codes that are still to come, and what the gateway and
/// the firewall answer.
#[test]
fn replies_have_no_closed_list_of_codes() {
    let document = json!(generated());
    let code = &document["components"]["schemas"]["Code"];
    assert_eq!(code["type"], "string");
    assert_eq!(code.get("enum"), None);
    for known in Code::ALL {
        let known = known.as_str();
        let examples = code["examples"].as_array().unwrap();
        assert!(examples.contains(&json!(known)), "{known}");
        assert!(code["description"].as_str().unwrap().contains(known));
    }
    let required = document["components"]["schemas"]["Problem"]["required"].as_array();
    assert!(required.unwrap().contains(&json!("request_id")));
}

/// Who reads the document, and Schemathesis, knows from it which token a route wants.
#[test]
fn routes_of_administration_ask_for_the_scope_and_no_others() {
    let document = json!(generated());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let security = &operation["security"];
            let is_admin = *security == json!([{"access_token": ["admin"]}]);
            assert_eq!(is_admin, path.starts_with("/v1/admin/"), "{method} {path}");
        }
    }
}

#[test]
fn every_operation_may_be_throttled_by_what_stands_before_it() {
    let document = json!(generated());
    let mut checked = 0;
    for item in document["paths"].as_object().unwrap().values() {
        for operation in item.as_object().unwrap().values() {
            let schema = &operation["responses"]["429"]["content"]["application/json"]["schema"];
            let schema = json!({"allOf": [schema], "components": document["components"]});
            let validator = jsonschema::validator_for(&schema).unwrap();
            for body in [
                json!({"message": "Too Many Requests"}),
                latchkey_api::openapi::body_of_firewall(),
                json!({"code": "another", "request_id": "x"}),
                json!({}),
            ] {
                assert!(validator.is_valid(&body), "{body}");
            }
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
}

/// A function's own 429 is a problem with the headers of its limits.
#[test]
fn what_is_throttled_by_the_service_is_documented_as_it_is_answered() {
    let document = json!(generated());
    let mut throttled = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let reply = &operation["responses"]["429"];
            let problem = &reply["content"]["application/problem+json"];
            if problem.is_null() {
                continue;
            }
            let example = &problem["examples"]["too_many_requests"]["value"];
            assert_eq!(example["violated-policies"], json!(["signin"]));
            for header in ["Retry-After", "RateLimit", "RateLimit-Policy"] {
                assert!(reply["headers"].get(header).is_some(), "{path} {header}");
            }
            throttled.insert(format!("{method} {path}"));
        }
    }
    let expected = [
        "delete /v1/sessions/expired",
        "delete /v1/sessions/{id}",
        "get /v1/me/activity",
        "get /v1/me/export",
        "get /v1/sessions",
        "patch /v1/sessions/{id}",
        "post /v1/auth/login",
        "post /v1/auth/password-reset",
        "post /v1/auth/password-reset/confirm",
        "post /v1/auth/reauthenticate",
        "post /v1/auth/register",
        "post /v1/me/delete",
        "post /v1/me/verify-email",
        "post /v1/sessions/revoke-all",
        "put /v1/me/email",
        "put /v1/me/password",
    ];
    assert_eq!(throttled, BTreeSet::from(expected.map(str::to_owned)));
}

/// A query is read by whom the document says, and refused by all others but the public documents.
#[test]
fn every_operation_refuses_a_query_or_says_which_parameters_it_has() {
    let document = json!(generated());
    let mut reading = BTreeSet::new();
    let mut ignoring = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            if parameters.clone().any(|one| one["in"] == "query") {
                reading.insert(path.as_str());
            }
            if operation["responses"].get("400").is_none() {
                ignoring.insert(path.as_str());
            }
        }
    }
    let with_parameters = [
        "/v1/admin/users",
        "/v1/admin/users/{user_id}/activity",
        "/v1/admin/users/{user_id}/sessions",
        "/v1/me/activity",
        "/v1/sessions/revoke-all",
    ];
    assert_eq!(reading, BTreeSet::from(with_parameters));
    let public = [
        "/.well-known/change-password",
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
        "/account",
        "/admin",
        "/docs",
        "/openapi.json",
    ];
    assert_eq!(ignoring, BTreeSet::from(public));
}
