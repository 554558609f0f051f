use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::http::{BasePath, Pages, service};
use latchkey_api::own_pages::OwnPages;
use latchkey_api::problem::PROBLEM_JSON;
use latchkey_domain::clock::SystemClock;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::token::{TokenIdentity, TokenSecret, Tokens};
use latchkey_service::Core;
use latchkey_service::passwords::Passwords;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

/// As on Lambda: the function's own routes and the default ones.
fn function() -> Router {
    function_under(&BasePath::default())
}

fn function_under(base_path: &BasePath) -> Router {
    function_with_pages(base_path, None)
}

fn function_with_pages(base_path: &BasePath, own: Option<&OwnPages>) -> Router {
    let identity = TokenIdentity {
        issuer: "https://auth.example.com".to_owned(),
        audience: "latchkey".to_owned(),
        other_audiences: Vec::new(),
        client_id: "latchkey-app".to_owned(),
    };
    let current = TokenSecret::new("the secret that signs from now on").unwrap();
    let previous = TokenSecret::new("the secret that has signed before").unwrap();
    let core = Core {
        tokens: Tokens::new(identity, &current, Some(&previous))
            .unwrap()
            .into(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SeededRandom::new(1)),
        policy: Arc::new(SessionPolicy::default()),
        passwords: Passwords::for_this_machine(),
        requests: latchkey_service::UserRequests::default(),
        password_policy: Arc::default(),
        account_url: "https://id.example.com/account".into(),
    };
    let routes: Router<_> = routes();
    let router = routes.with_state(core).merge(default_routes());
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SeededRandom::new(2)));
    let router = base_path.hold(router);
    let pages = Pages {
        own,
        ..Pages::from(&AllowedOrigins::None)
    };
    service(router, pages, None, clock, random)
}

async fn send(method: Method, path: &str) -> Response<Body> {
    send_to(function(), method, path).await
}

async fn send_to(function: Router, method: Method, path: &str) -> Response<Body> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    function.oneshot(request).await.unwrap()
}

async fn body(response: Response<Body>) -> Vec<u8> {
    response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec()
}

async fn json(response: Response<Body>) -> Value {
    serde_json::from_slice(&body(response).await).unwrap()
}

async fn page() -> String {
    String::from_utf8(body(send(Method::GET, "/docs").await).await).unwrap()
}

/// What the page loads or links to.
fn references(page: &str) -> Vec<String> {
    ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_bare_address_and_a_slash_lead_to_the_page() {
    for (path, location) in [("/", "/docs"), ("/docs/", "../docs")] {
        let response = send(Method::GET, path).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER, "{path}");
        assert_eq!(response.headers()[LOCATION], location, "{path}");
    }
}

#[tokio::test]
async fn password_managers_are_led_to_the_page_if_there_is_one() {
    const PATH: &str = "/.well-known/change-password";
    let without = send(Method::GET, PATH).await;
    assert_eq!(without.status(), StatusCode::NOT_FOUND);
    let base_path = BasePath::parse("/auth").unwrap();
    for (base_path, at) in [(BasePath::default(), ""), (base_path, "/auth")] {
        let own = OwnPages {
            account: true,
            ..OwnPages::default()
        };
        let function = function_with_pages(&base_path, Some(&own));
        let response = send_to(function.clone(), Method::GET, &format!("{at}{PATH}")).await;
        assert_eq!(response.status(), StatusCode::FOUND);
        let page = format!("{at}/account/password");
        assert_eq!(response.headers()[LOCATION], page.as_str());
        let root = send_to(function, Method::GET, &format!("{at}/")).await;
        assert_eq!(root.headers()[LOCATION], format!("{at}/account").as_str());
    }
}

#[tokio::test]
async fn every_published_key_is_complete_and_none_has_a_private_part() {
    let response = send(Method::GET, "/.well-known/jwks.json").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(response.headers()[CACHE_CONTROL], CACHED_FOR_FIVE_MINUTES);
    let keys = json(response).await["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 2, "the key that signs and the one before it");
    for key in keys {
        let key = key.as_object().unwrap();
        let members: BTreeSet<&str> = key.keys().map(String::as_str).collect();
        assert_eq!(
            members,
            BTreeSet::from(["alg", "crv", "kid", "kty", "use", "x"])
        );
        assert_eq!(key["use"], "sig");
        assert_eq!(key["alg"], "EdDSA");
        assert_ne!(key["kid"], "");
    }
}

#[tokio::test]
async fn the_openapi_document_is_json() {
    let response = send(Method::GET, "/openapi.json").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    assert_eq!(json(response).await["openapi"], "3.1.0");
}

/// Relative to the page, so that it works under a base path too.
#[tokio::test]
async fn the_page_refers_to_its_own_origin_only() {
    let references = references(&page().await);
    assert!(references.len() >= 4, "{references:?}");
    for reference in references {
        assert!(
            reference.starts_with("docs/") || reference == "openapi.json",
            "{reference}"
        );
    }
    assert!(!include_str!("../assets/start.js").contains("//cdn"));
    assert!(!include_str!("../assets/start.js").contains("http"));
    assert!(include_str!("../assets/start.js").contains(r#"url: "openapi.json""#));
    assert!(include_str!("../assets/start.js").contains("defaultModelsExpandDepth: 0,"));
}

#[tokio::test]
async fn everything_that_the_page_refers_to_is_there() {
    for reference in references(&page().await) {
        let response = send(Method::GET, &format!("/{reference}")).await;
        assert_eq!(response.status(), StatusCode::OK, "{reference}");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert!(!body(response).await.is_empty());
    }
}

#[tokio::test]
async fn under_a_base_path_everything_is_there_and_nowhere_else() {
    let base_path = BasePath::parse("/auth/v2").unwrap();
    let send = |method, path| send_to(function_under(&base_path), method, path);
    for path in [
        "/auth/v2/.well-known/jwks.json",
        "/auth/v2/.well-known/openid-configuration",
        "/auth/v2/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/auth/v2",
        "/auth/v2/openapi.json",
        "/auth/v2/docs",
        "/auth/v2/docs/start.js",
    ] {
        let response = send(Method::GET, path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let response = send(Method::POST, path).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(json(response).await["code"], "method_not_allowed", "{path}");
    }
    let login = send(Method::GET, "/auth/v2/v1/auth/login").await;
    assert_eq!(login.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(login.headers()[ALLOW], "POST");
    for path in [
        "/",
        "/openapi.json",
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/auth/v2",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/auth",
        "/.well-known/oauth-authorization-server/auth/v2/x",
        "/v1/auth/login",
        "/auth/openapi.json",
        "/auth/v22/openapi.json",
        "/auth/v2/auth/v2/openapi.json",
        "/auth/v2/v1",
    ] {
        let response = send(Method::GET, path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(json(response).await["code"], "not_found", "{path}");
    }
    for bare in ["/auth/v2", "/auth/v2/"] {
        let response = send(Method::GET, bare).await;
        assert_eq!(response.headers()[LOCATION], "/auth/v2/docs");
    }
    for path in [
        "/auth/v2/openapi.json",
        "/auth/v2/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/auth/v2",
    ] {
        let preflight = send(Method::OPTIONS, path).await;
        assert_eq!(
            preflight.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
            "*",
            "{path}"
        );
    }
}

/// Members that are not true are missing, and those that are there lead somewhere.
#[tokio::test]
async fn the_metadata_says_what_is_true_and_nothing_else() {
    for (path, subjects) in [
        ("/.well-known/openid-configuration", json!(["public"])),
        ("/.well-known/oauth-authorization-server", Value::Null),
    ] {
        let response = send(Method::GET, path).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=300");
        let tag = response.headers()[ETAG].clone();
        let metadata = json(response).await;
        assert_eq!(metadata["issuer"], "https://auth.example.com");
        assert_eq!(metadata["subject_types_supported"], subjects);
        let served: Value = serde_json::from_str(OPENAPI_DOCUMENT).unwrap();
        for (name, value) in metadata.as_object().unwrap() {
            let Some(address) = value.as_str().filter(|_| name != "issuer") else {
                continue;
            };
            let path = address.strip_prefix("https://auth.example.com").unwrap();
            assert!(served["paths"][path].is_object(), "{name}: {address}");
        }
        for (endpoint, path) in [
            ("introspection_endpoint", "/oauth/introspect"),
            ("revocation_endpoint", "/oauth/revoke"),
        ] {
            let is_there = served["paths"][path].is_object();
            assert_eq!(metadata[endpoint].is_string(), is_there, "{endpoint}");
        }
        for untrue in [
            "authorization_endpoint",
            "token_endpoint",
            "response_types_supported",
            "grant_types_supported",
            "id_token_signing_alg_values_supported",
        ] {
            assert!(metadata.get(untrue).is_none(), "{untrue}");
        }
        let request = Request::get(path)
            .header(IF_NONE_MATCH, tag)
            .body(Body::empty())
            .unwrap();
        let again = function().oneshot(request).await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn the_document_says_where_the_api_is() {
    let committed: Value = serde_json::from_str(OPENAPI_DOCUMENT).unwrap();
    assert_eq!(committed["servers"][0]["url"], "/");
    let base_path = BasePath::parse("/auth").unwrap();
    let function = function_under(&base_path);
    let mut served = json(send_to(function, Method::GET, "/auth/openapi.json").await).await;
    assert_eq!(served["servers"][0]["url"], "/auth");
    served["servers"][0]["url"] = "/".into();
    assert_eq!(served, committed, "nothing else differs");
}

#[tokio::test]
async fn the_compressed_document_is_the_same() {
    let request = Request::get("/openapi.json")
        .header("accept-encoding", "gzip")
        .body(Body::empty())
        .unwrap();
    let response = function().oneshot(request).await.unwrap();
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    let compressed = body(response).await;
    let mut plain = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(compressed.as_slice()),
        &mut plain,
    )
    .unwrap();
    assert_eq!(plain, OPENAPI_DOCUMENT);
}

#[tokio::test]
async fn the_page_allows_nothing_from_elsewhere_and_no_script_inside_itself() {
    let response = send(Method::GET, "/docs").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
    let policy = response.headers()[CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("http") && !policy.contains("unsafe-eval"),
        "{policy}"
    );
    let page = page().await;
    assert_eq!(
        page.matches("<script").count(),
        page.matches("<script src=").count()
    );
}

#[tokio::test]
async fn large_files_come_compressed() {
    let response = send(Method::GET, "/docs/swagger-ui-bundle.js").await;
    assert_eq!(
        response.headers()[CONTENT_TYPE],
        "text/javascript; charset=utf-8"
    );
    assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    assert!(body(response).await.starts_with(&[0x1f, 0x8b]));
}

#[tokio::test]
async fn files_that_the_page_does_not_use_are_not_there() {
    for name in [
        "index.html",
        "swagger-initializer.js",
        "oauth2-redirect.html",
        "..%2Fstart.js",
        "%ff",
    ] {
        let response = send(Method::GET, &format!("/docs/{name}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{name}");
        assert_eq!(json(response).await["code"], "not_found");
    }
}

#[tokio::test]
async fn a_wrong_method_on_a_route_of_another_function_is_told_the_right_ones() {
    for (method, path, allow) in [
        (Method::GET, "/v1/auth/login", "POST"),
        (Method::POST, "/v1/sessions", "GET"),
        (
            Method::GET,
            "/v1/sessions/0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11",
            "DELETE,PATCH",
        ),
        (Method::PUT, "/v1/sessions/revoke-all", "POST"),
    ] {
        let response = send(method, path).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()[ALLOW], allow, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(json(response).await["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn a_wrong_method_on_a_route_of_this_function_is_told_the_right_ones() {
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/openapi.json",
        "/docs",
        "/docs/start.js",
    ] {
        let response = send(Method::POST, path).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(response.headers()[ALLOW], "GET,HEAD", "{path}");
    }
}

#[tokio::test]
async fn what_is_no_route_is_not_found() {
    for path in [
        "/v1",
        "/v1/auth/login/",
        "/v1/sessions/a/b",
        "/docs/x/",
        "/favicon.ico",
    ] {
        let response = send(Method::GET, path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(json(response).await["code"], "not_found");
    }
}
