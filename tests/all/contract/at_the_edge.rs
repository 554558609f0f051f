//! CloudFront passes on each header that a function reads, and the firewall bounds each route that takes a password.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use latchkey_api::credentials::{DEVICE_COOKIE, REFRESH_COOKIE};
use latchkey_api::headers::READ;
use latchkey_tests::harness::openapi;
use latchkey_tests::harness::template::{EDGE, WEB_ACL, functions, read, root, template};
use serde_json::{Value, json};

/// What CloudFront passes on whatever the policies say: what a body is, and what asks whether a copy is still good.
const PASSED_ALWAYS: [&str; 2] = ["content-type", "if-none-match"];

fn listed(headers: &Value) -> BTreeSet<String> {
    let headers = headers.as_array().unwrap();
    let names = headers.iter().map(|name| name.as_str().unwrap());
    names.map(str::to_ascii_lowercase).collect()
}

#[test]
fn every_header_that_a_function_reads_passes_the_edge() {
    let edge = read(EDGE);
    let resources = &edge["Resources"];
    let config = &resources["Distribution"]["Properties"]["DistributionConfig"];
    let added = config["Origins"][0]["OriginCustomHeaders"].as_array();
    let added = added.unwrap().iter().map(|header| &header["HeaderName"]);
    let added = added.map(|name| name.as_str().unwrap().to_ascii_lowercase());
    let added: BTreeSet<String> = added.collect();
    let passed = |behaviour: &Value| {
        let policy = |kind: &str| {
            let name = behaviour[kind].as_str().unwrap();
            &resources[name]["Properties"]
        };
        let origin = &policy("OriginRequestPolicyId")["OriginRequestPolicyConfig"];
        let mut passed = listed(&origin["HeadersConfig"]["Headers"]);
        if origin["CookiesConfig"]["Cookies"] == json!([REFRESH_COOKIE, DEVICE_COOKIE]) {
            passed.insert("cookie".to_owned());
        }
        let key = &policy("CachePolicyId")["CachePolicyConfig"];
        let key = &key["ParametersInCacheKeyAndForwardedToOrigin"];
        passed.extend(listed(&key["HeadersConfig"]["Headers"]));
        if key["EnableAcceptEncodingGzip"] == true {
            passed.insert("accept-encoding".to_owned());
        }
        passed.extend(added.clone());
        passed
    };
    let read: BTreeSet<String> = READ.map(str::to_owned).into();

    let mut of_requests = passed(&config["DefaultCacheBehavior"]);
    let unread: BTreeSet<&String> = of_requests.difference(&read).collect();
    assert!(unread.is_empty(), "passed on and not read: {unread:?}");
    of_requests.extend(PASSED_ALWAYS.map(str::to_owned));
    let lost: BTreeSet<&String> = read.difference(&of_requests).collect();
    assert!(lost.is_empty(), "read and not passed on: {lost:?}");

    // What holds tokens is compressed by nobody: its length would tell of them.
    assert_eq!(config["DefaultCacheBehavior"]["Compress"], Value::Null);

    // A document depends on these alone.
    for behaviour in config["CacheBehaviors"].as_array().unwrap() {
        let of_a_document = passed(behaviour);
        for name in ["accept-encoding", "origin", "x-latchkey-edge"] {
            assert!(of_a_document.contains(name), "{name}: {behaviour}");
        }
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `headers::value` and `headers::values` know the list; who reads past them would read what the edge leaves out.
///
/// This sees text alone: calls on what is named `headers` or `headers()`. A map of headers by another name would pass.
#[test]
fn headers_are_read_in_one_place() {
    let mut files = Vec::new();
    for folder in ["shared", "functions"] {
        sources(&root().join(folder), &mut files);
    }
    let mut reading = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: String = code.split_whitespace().collect();
        for read in ["get(", "get_all(", "contains_key(", "get_mut(", "iter("] {
            let direct = code.matches(&format!("headers.{read}")).count();
            let called = code.matches(&format!("headers().{read}")).count();
            let of_reply = code.matches(&format!("response.headers().{read}")).count();
            if direct + called > of_reply {
                reading.insert(file.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(reading, BTreeSet::from(["headers.rs".to_owned()]));
}

/// The paths that a rate rule of the firewall counts.
fn bounded(rule: &str) -> BTreeSet<String> {
    let acl = read(WEB_ACL);
    let rules = acl["Resources"]["WebAcl"]["Properties"]["Rules"].as_array();
    let rule = rules.unwrap().iter().find(|one| one["Name"] == rule);
    let scope = &rule.unwrap()["Statement"]["RateBasedStatement"]["ScopeDownStatement"];
    let statements = scope["OrStatement"]["Statements"].as_array().unwrap();
    statements
        .iter()
        .map(|statement| {
            // A stage, or the path of the issuer, may stand before the path.
            let path = &statement["ByteMatchStatement"];
            assert_eq!(path["PositionalConstraint"], "ENDS_WITH");
            path["SearchString"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn the_firewall_answers_as_the_document_says() {
    let acl = read(WEB_ACL);
    let acl = &acl["Resources"]["WebAcl"]["Properties"];
    let bodies = acl["CustomResponseBodies"].as_object().unwrap();
    assert_eq!(bodies.len(), 1);
    let body = bodies["TooManyRequests"]["Content"].as_str().unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body, latchkey_api::openapi::body_of_firewall());
    let rules = acl["Rules"].as_array().unwrap().iter();
    let blocks = rules.filter_map(|rule| rule["Action"]["Block"].as_object());
    let mut checked = 0;
    for block in blocks {
        let reply = &block["CustomResponse"];
        assert_eq!(reply["ResponseCode"], body["status"]);
        assert_eq!(reply["CustomResponseBodyKey"], "TooManyRequests");
        checked += 1;
    }
    assert_eq!(checked, 2);
}

/// Who proves to be the edge can say any address. Only what the edge calls need know how.
#[test]
fn only_functions_with_a_route_have_the_secret_of_the_edge() {
    let mut without = BTreeSet::new();
    for (binary, function) in functions(&template()) {
        let properties = &function["Properties"];
        let mut events = properties["Events"].as_object().into_iter().flatten();
        let has_route = events.any(|(_, event)| event["Type"] == "HttpApi");
        let own = &properties["Environment"]["Variables"]["EDGE_SECRET"];
        assert_eq!(own.is_null(), has_route, "{binary}: {own}");
        if !has_route {
            assert_eq!(own, "", "{binary}");
            without.insert(binary);
        }
    }
    assert!(without.len() >= 3, "{without:?}");
}

/// Method and path of each route whose body holds a password.
fn with_password() -> BTreeSet<(String, String)> {
    let document = json!(openapi::generated());
    let mut routes = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let Some(name) = body.as_str().and_then(|name| name.rsplit('/').next()) else {
                continue;
            };
            let fields = document["components"]["schemas"][name]["properties"].as_object();
            if fields
                .unwrap()
                .keys()
                .any(|field| field.contains("password"))
            {
                routes.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    routes
}

#[test]
fn every_route_that_takes_a_password_has_a_rate_in_the_firewall_and_in_the_gateway() {
    let routes = with_password();
    assert!(routes.len() >= 4, "{routes:?}");
    let paths: BTreeSet<String> = routes.iter().map(|(_, path)| path.clone()).collect();
    assert_eq!(bounded("sign-in-rate"), paths);

    let template = template();
    let rates = template["Resources"]["HttpApi"]["Properties"]["RouteSettings"].as_object();
    for (method, path) in &routes {
        let route = format!("{method} {path}");
        assert!(rates.unwrap().contains_key(&route), "{route}");
    }
}
