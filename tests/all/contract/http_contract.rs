//! What holds for every route: unknown routes, methods, request ids, security headers, CORS, health of the documents.

use axum::http::HeaderValue;
use http::{Method, StatusCode};
use latchkey_api::cors::AllowedOrigins;
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::reply::Reply;
use latchkey_tests::harness::stack::Stack;

#[tokio::test]
async fn an_unknown_route_is_a_problem_too() {
    let stack = Stack::start().await;
    for path in [
        "/v1",
        "/v1/session",
        "/v2/me",
        "/v1/sessions/",
        "/v1/auth/login/",
        "/%ff",
        "//",
        "/v1/me/x",
    ] {
        let reply = stack
            .get(path)
            .send()
            .await
            .expect_problem(404, "not_found");
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(reply.body["type"], "urn:latchkey:problem:not_found");
        assert_eq!(reply.body["status"], 404);
        assert_eq!(
            reply.header("x-request-id"),
            reply.body["request_id"].as_str()
        );
    }
}

/// The title is the code's, so it is to be true of every cause; the detail says which it was.
#[tokio::test]
async fn a_title_says_nothing_that_is_false_of_another_cause() {
    let stack = Stack::start().await;
    let missing = stack.get("/v1/me").send().await;
    let wrong = stack.get("/v1/me").bearer("x").send().await;
    let words = |reply: &Reply| {
        let text = |member: &str| reply.body[member].as_str().unwrap().to_owned();
        (text("title"), text("detail"))
    };
    let (title, detail) = words(&missing.expect_problem(401, "invalid_token"));
    assert_eq!(title, "There is no valid access token");
    assert_eq!(
        detail,
        "Send an access token: Authorization: Bearer <access token>."
    );
    let (same, detail) = words(&wrong.expect_problem(401, "invalid_token"));
    assert_eq!(same, title);
    assert_eq!(
        detail,
        "Send a valid access token of a session that has not ended."
    );
    let login = || stack.post("/v1/auth/login");
    let coded = login().bytes("application/json", b"{}");
    let coded = coded.header("content-encoding", b"gzip").send().await;
    let (title, detail) = words(&coded.expect_problem(415, "unsupported_media_type"));
    assert!(!title.contains("JSON"), "it was JSON, in a coding: {title}");
    assert_eq!(detail, "Send the body without a content coding.");
    let text = login().bytes("text/plain", b"{}").send().await;
    let (same, detail) = words(&text.expect_problem(415, "unsupported_media_type"));
    assert_eq!(same, title);
    assert_eq!(detail, "Send the body as application/json.");
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let stack = Stack::start().await;
    let paths = conformity::document()["paths"].as_object().unwrap();
    for (path, item) in paths {
        let path = path.replace("{id}", "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11");
        let reply = stack.request(Method::TRACE, &path).send().await;
        if path.starts_with("/oauth/") {
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(reply.body["error"], "invalid_request");
        } else {
            reply.clone().expect_problem(405, "method_not_allowed");
        }
        let allowed = reply.header("allow").unwrap().to_ascii_lowercase();
        let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
        for method in item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
        {
            assert!(
                allowed.contains(&method.as_str()),
                "{method} {path}: {allowed:?}"
            );
        }
    }
}

#[tokio::test]
async fn every_request_has_an_id_of_its_own() {
    let stack = Stack::start().await;
    let id = |reply: &Reply| reply.header("x-request-id").map(str::to_owned);
    let forged = stack.get("/v1/me").header("x-request-id", b"mine");
    let (one, two) = (stack.get("/v1/me").send().await, forged.send().await);
    assert_ne!(id(&one), id(&two));
    assert_ne!(id(&two).as_deref(), Some("mine"));
}

/// The headers of a reply that are for browsers, but for the kinds of caching.
fn security(reply: &Reply) -> [&str; 5] {
    [
        "strict-transport-security",
        "x-content-type-options",
        "referrer-policy",
        "content-security-policy",
        "cross-origin-resource-policy",
    ]
    .map(|name| reply.header(name).unwrap_or("none"))
}

/// Every operation of the document, without a token and a body, so mostly refused; unknown routes, wrong methods, and a
/// panic-proof preflight. That every other reply of every test has them too is checked where replies are received.
#[tokio::test]
async fn every_reply_tells_browsers_to_do_nothing_with_it() {
    let data = [
        "max-age=63072000; includeSubDomains",
        "nosniff",
        "no-referrer",
        "default-src 'none'; frame-ancestors 'none'",
        "same-origin",
    ];
    let origins = AllowedOrigins::These(vec![HeaderValue::from_static("https://app.example.com")]);
    let stack = Stack::with(Default::default(), &origins).await;
    let mut replies = vec![
        stack.get("/nowhere").send().await,
        stack.delete("/v1/me").send().await,
        preflight(&stack, "https://app.example.com").send().await,
    ];
    let paths = conformity::document()["paths"].as_object().unwrap();
    for (path, item) in paths.iter().filter(|(path, _)| *path != "/docs") {
        let path = path.replace("{id}", "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11");
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            replies.push(stack.request(method, &path).send().await);
        }
    }
    assert!(replies.len() >= 18, "{}", replies.len());
    for reply in &replies {
        assert_eq!(security(reply), data, "{}", reply.body);
        let public = reply.status == StatusCode::OK && !reply.body.is_null();
        let caching = reply.header("cache-control").unwrap();
        assert_eq!(caching.starts_with("public"), public, "{}", reply.body);
        assert!(public || caching == "no-store", "{caching}");
    }
    let public = replies
        .iter()
        .filter(|reply| !reply.body["openapi"].is_null());
    assert_eq!(public.count(), 1, "the document is among them");
}

#[tokio::test]
async fn what_names_a_person_is_not_for_caches() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    for path in ["/v1/me", "/v1/sessions", "/v1/sessions/current"] {
        let reply = stack.get(path).bearer(&ada.access_token).send().await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
    }
}

/// The page loads its script and style from here, and calls the API from here.
#[tokio::test]
async fn the_documentation_may_do_what_it_needs_and_no_more() {
    let stack = Stack::start().await;
    let docs = stack.get("/docs").send().await;
    let policy = docs.header("content-security-policy").unwrap();
    let mut directives = policy.split("; ").collect::<Vec<_>>();
    directives.sort_unstable();
    assert_eq!(
        directives,
        [
            "base-uri 'none'",
            "connect-src 'self'",
            "default-src 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "img-src 'self' data:",
            "script-src 'self'",
            "style-src 'self'",
        ]
    );
    let others = security(&docs);
    assert_eq!(others[1..3], ["nosniff", "no-referrer"]);
}

fn preflight<'a>(stack: &'a Stack, origin: &str) -> latchkey_tests::harness::call::Call<'a> {
    stack
        .request(Method::OPTIONS, "/v1/sessions")
        .header("origin", origin.as_bytes())
        .header("access-control-request-method", b"GET")
        .header(
            "access-control-request-headers",
            b"authorization,x-device-id",
        )
}

#[tokio::test]
async fn cors_is_closed_unless_an_origin_is_allowed() {
    let stack = Stack::start().await;
    let reply = preflight(&stack, "https://app.example.com").send().await;
    reply.clone().expect_problem(405, "method_not_allowed");
    assert_eq!(reply.header("access-control-allow-origin"), None);

    let origins = AllowedOrigins::These(vec![HeaderValue::from_static("https://app.example.com")]);
    let stack = Stack::with(Default::default(), &origins).await;
    let reply = preflight(&stack, "https://app.example.com").send().await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    let allowed = reply.header("access-control-allow-headers").unwrap();
    let allowed: Vec<&str> = allowed.split(',').collect();
    for name in [
        "authorization",
        "content-type",
        "x-device-id",
        "x-request-id",
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
    ] {
        assert!(allowed.contains(&name), "{name}: {allowed:?}");
    }
    let reply = preflight(&stack, "https://evil.example.com").send().await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    // A refused request tells an allowed page why.
    let call = stack
        .get("/v1/me")
        .header("origin", b"https://app.example.com");
    let reply = call.send().await.expect_problem(401, "invalid_token");
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    // What the reply to a client says in headers, its page may read.
    let exposed = reply.header("access-control-expose-headers").unwrap();
    let exposed: Vec<&str> = exposed.split(',').collect();
    for name in [
        "x-request-id",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "www-authenticate",
    ] {
        assert!(exposed.contains(&name), "{name}: {exposed:?}");
    }
}

#[tokio::test]
async fn the_documents_are_there() {
    let stack = Stack::start().await;
    let jwks = stack
        .get("/.well-known/jwks.json")
        .send()
        .await
        .expect(StatusCode::OK);
    let key = &jwks["keys"][0];
    assert_eq!(
        (
            key["kty"].as_str(),
            key["crv"].as_str(),
            key["alg"].as_str()
        ),
        (Some("OKP"), Some("Ed25519"), Some("EdDSA"))
    );
    assert!(key["d"].is_null(), "no private part");
    let document = stack
        .get("/openapi.json")
        .send()
        .await
        .expect(StatusCode::OK);
    assert_eq!(&document, conformity::document());
    let docs = stack.get("/docs").send().await;
    assert_eq!(docs.status, StatusCode::OK);
    assert!(
        docs.header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
}

/// The keys and the document are the same for everybody, so a page of any origin may read them, whether or not other
/// routes are open to some, and what it is answered does not depend on who asks.
const PUBLIC_DOCUMENTS: [&str; 4] = [
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/openapi.json",
];

#[tokio::test]
async fn any_page_may_read_the_public_documents() {
    let some = AllowedOrigins::These(vec![HeaderValue::from_static("https://app.example.com")]);
    for origins in [AllowedOrigins::None, some] {
        let stack = Stack::with(Default::default(), &origins).await;
        for path in PUBLIC_DOCUMENTS {
            for origin in [
                None,
                Some("https://app.example.com"),
                Some("https://other.example.com"),
                Some("null"),
            ] {
                let mut call = stack.get(path);
                if let Some(origin) = origin {
                    call = call.header("origin", origin.as_bytes());
                }
                let reply = call.send().await;
                assert_eq!(reply.status, StatusCode::OK);
                assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
                assert_eq!(reply.header("access-control-allow-credentials"), None);
                let varies = reply.header("vary").unwrap_or_default();
                assert!(!varies.contains("origin"), "{varies}");
            }
            let preflight = stack
                .request(Method::OPTIONS, path)
                .header("origin", b"https://other.example.com")
                .header("access-control-request-method", b"GET")
                .header("access-control-request-headers", b"if-none-match")
                .send()
                .await;
            assert_eq!(preflight.status, StatusCode::OK);
            let header = |name| preflight.header(name);
            assert_eq!(header("access-control-allow-origin"), Some("*"));
            assert_eq!(header("access-control-allow-headers"), Some("*"));
            assert_eq!(header("access-control-allow-methods"), Some("GET"));
        }
        let other = stack
            .get("/v1/me")
            .header("origin", b"https://other.example.com");
        let reply = other.send().await;
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_client_that_has_a_public_document_is_not_sent_it_again() {
    let stack = Stack::start().await;
    for path in PUBLIC_DOCUMENTS {
        let first = stack.get(path).send().await;
        let tag = first.header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 20);
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}")] {
            let again = stack.get(path).header("if-none-match", known.as_bytes());
            let again = again.send().await;
            assert_eq!(again.status, StatusCode::NOT_MODIFIED, "{known}");
            assert!(again.bytes.is_empty());
            for name in ["etag", "cache-control", "vary"] {
                assert_eq!(again.header(name), first.header(name), "{name}");
            }
        }
        let other = stack.get(path).header("if-none-match", b"\"x\"");
        assert_eq!(other.send().await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn the_document_is_compressed_for_those_who_take_it() {
    let stack = Stack::start().await;
    let plain = stack.get("/openapi.json").send().await;
    let gzip = stack
        .get("/openapi.json")
        .header("accept-encoding", b"br, gzip")
        .send_unchecked()
        .await;
    assert_eq!(plain.header("content-encoding"), None);
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    assert_eq!(plain.header("vary"), Some("accept-encoding"));
    assert_eq!(gzip.header("vary"), Some("accept-encoding"));
    assert_ne!(plain.header("etag"), gzip.header("etag"));
    assert!(gzip.bytes.len() * 5 < plain.bytes.len());
    let none = stack
        .get("/openapi.json")
        .header("accept-encoding", b"gzip;q=0");
    assert_eq!(none.send().await.bytes, plain.bytes);
}
