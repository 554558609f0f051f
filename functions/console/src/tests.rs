use std::collections::BTreeSet;
use std::io::Read as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    LOCATION, VARY,
};
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::http::{BasePath, Pages, service};
use latchkey_api::own_pages::{OwnPages, PageFile, PageName};
use latchkey_domain::clock::SystemClock;
use latchkey_domain::random::SeededRandom;
use tower::ServiceExt;

use super::*;
use crate::page::ACCOUNT_VIEWS;

fn both() -> OwnPages {
    OwnPages {
        account: true,
        admin: true,
        ..OwnPages::default()
    }
}

fn function_under(base_path: &str, own: &OwnPages) -> Router {
    let pages = Pages {
        own: Some(own),
        ..Pages::from(&AllowedOrigins::None)
    };
    let router = BasePath::parse(base_path).unwrap().hold(routes());
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SeededRandom::new(1)));
    service(router, pages, None, clock, random)
}

async fn ask(own: &OwnPages, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    send(function_under("", own), Method::GET, path, headers).await
}

async fn send(
    function: Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    function.oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The addresses that a page loads.
fn references(page: &str) -> Vec<String> {
    ["src=\"", "href=\""]
        .iter()
        .flat_map(|attribute| page.split(attribute).skip(1))
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn each_page_is_there_only_if_it_is_switched_on() {
    for (own, account, admin) in [
        (OwnPages::default(), false, false),
        (
            OwnPages {
                account: true,
                ..OwnPages::default()
            },
            true,
            false,
        ),
        (
            OwnPages {
                admin: true,
                ..OwnPages::default()
            },
            false,
            true,
        ),
    ] {
        let file = format!("/account/files/{}/style.css", files::VERSION);
        for (path, is_there) in [
            ("/account", account),
            ("/account/settings", account),
            ("/admin", admin),
            ("/admin/users/5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11", admin),
            (file.as_str(), account || admin),
        ] {
            let expected = if is_there {
                StatusCode::OK
            } else {
                StatusCode::NOT_FOUND
            };
            assert_eq!(ask(&own, path, &[]).await.status(), expected, "{path}");
        }
    }
}

/// As a browser asks for a page.
const BROWSER: (&str, &str) = (
    "accept",
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
);

#[tokio::test]
async fn a_browser_is_told_on_a_page_that_there_is_nothing_and_another_client_in_a_problem() {
    let account_alone = OwnPages {
        admin: false,
        ..both()
    };
    let admin_alone = OwnPages {
        account: false,
        ..both()
    };
    for (own, path, script) in [
        (&both(), "/auth/account/nothing", "account.js"),
        (&both(), "/auth/account/a/b", "account.js"),
        (&both(), "/auth/account/%ff", "account.js"),
        (&both(), "/auth/admin/nothing", "admin.js"),
        (&both(), "/auth/admin/nothing/x", "admin.js"),
        (&both(), "/auth/admin/users/x/y", "admin.js"),
        (&account_alone, "/auth/admin", "account.js"),
        (&account_alone, "/auth/admin/users/x", "account.js"),
        (&admin_alone, "/auth/account/settings", "admin.js"),
    ] {
        let function = function_under("/auth", own);
        let response = send(function.clone(), Method::GET, path, &[BROWSER]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(response.headers()[VARY], "accept");
        let page = text(response).await;
        assert!(page.contains("data-base-path=\"/auth\""), "{path}: {page}");
        assert!(
            page.contains(&format!("/{script}\"></script>")),
            "{path}: {page}"
        );
        for other in [
            &[][..],
            &[("accept", "*/*")],
            &[("accept", "application/json")],
        ] {
            let response = send(function.clone(), Method::GET, path, other).await;
            assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
            assert!(text(response).await.contains("not_found"), "{path}");
        }
    }
    let off = ask(&OwnPages::default(), "/account/nothing", &[BROWSER]).await;
    assert!(text(off).await.contains("not_found"));
    for path in [
        "/account/files/x/y.js",
        "/account/files/x/account.html",
        "/account/files/x/%ff",
    ] {
        let response = ask(&both(), path, &[BROWSER]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(response).await.contains("not_found"), "{path}");
    }
    let posted = send(function_under("", &both()), Method::POST, "/account", &[]).await;
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_slash_at_the_end_leads_to_every_page_for_good() {
    let views = ACCOUNT_VIEWS.map(|view| format!("/account/{view}"));
    let others = ["/account", "/admin", "/admin/users/x", "/account/nothing"].map(str::to_owned);
    for base_path in ["", "/auth"] {
        for page in views.iter().chain(&others) {
            for (end, query) in [("/", ""), ("//", ""), ("/", "?a=b/")] {
                let function = function_under(base_path, &both());
                let path = format!("{base_path}{page}{end}{query}");
                let response = send(function, Method::GET, &path, &[BROWSER]).await;
                assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT, "{path}");
                let expected = format!("{base_path}{page}{query}");
                assert_eq!(response.headers()[LOCATION], *expected, "{path}");
            }
        }
    }
}

/// So it is with a base path, and from each address of a view.
#[tokio::test]
async fn everything_that_a_page_refers_to_is_there_and_of_this_origin() {
    for base_path in ["", "/auth"] {
        for path in ["/account", "/account/settings", "/admin", "/admin/users/x"] {
            let function = function_under(base_path, &both());
            let page = send(
                function.clone(),
                Method::GET,
                &format!("{base_path}{path}"),
                &[],
            )
            .await;
            assert_eq!(page.status(), StatusCode::OK, "{path}");
            let page = text(page).await;
            assert!(!page.contains('{'), "{page}");
            let references = references(&page);
            assert!(references.len() >= 4, "{references:?}");
            for reference in references {
                assert!(
                    reference.starts_with(&format!("{base_path}/account/files/")),
                    "{reference}"
                );
                let file = send(function.clone(), Method::GET, &reference, &[]).await;
                assert_eq!(file.status(), StatusCode::OK, "{reference}");
                assert!(
                    file.headers()[CACHE_CONTROL]
                        .to_str()
                        .unwrap()
                        .contains("immutable")
                );
            }
        }
    }
}

#[tokio::test]
async fn every_module_that_a_script_names_is_a_file() {
    let names: BTreeSet<&str> = files::FILES.iter().map(|file| file.name()).collect();
    assert!(names.contains("latchkey.js"), "{names:?}");
    for file in files::FILES
        .iter()
        .filter(|file| file.name().ends_with(".js"))
    {
        let script = std::str::from_utf8(file.plain()).unwrap();
        for quote in ["'./", "\"./"] {
            for rest in script.split(quote).skip(1) {
                let name = rest.split(['\'', '"']).next().unwrap();
                assert!(names.contains(name), "{}: {name}", file.name());
            }
        }
    }
}

#[tokio::test]
async fn the_scripts_show_the_views_that_are_served() {
    let script = include_str!("../pages/account.js");
    for view in ACCOUNT_VIEWS {
        let known = script.contains(&format!("case '{view}'"));
        assert!(known, "{view}");
    }
    let cases = script.split("case '").skip(1);
    let cases = cases.map(|rest| rest.split('\'').next().unwrap());
    for view in cases.filter(|view| !view.is_empty()) {
        assert!(ACCOUNT_VIEWS.contains(&view), "{view}");
    }
}

#[tokio::test]
async fn a_page_allows_nothing_from_elsewhere_nothing_inline_and_no_markup_from_text() {
    for path in ["/account", "/admin"] {
        let response = ask(&both(), path, &[]).await;
        assert_eq!(
            response.headers()["cross-origin-opener-policy"],
            "same-origin"
        );
        let policy = response.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert_eq!(
            policy,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             trusted-types 'none'"
        );
        let page = text(response).await;
        assert_eq!(
            page.matches("<script").count(),
            page.matches(" src=").count()
        );
        assert!(
            !page.contains("style=") && !page.contains("onclick"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_team_puts_its_name_logo_and_style_sheet_on_the_pages() {
    let own = OwnPages {
        name: PageName::parse("Bread & \"Butter\" <b>").unwrap(),
        logo: Some(PageFile::parse("/brand/logo.svg").unwrap()),
        stylesheet: Some(PageFile::parse("https://cdn.example.com/brand.css").unwrap()),
        ..both()
    };
    let response = ask(&own, "/account", &[]).await;
    let policy = response.headers()[CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("style-src 'self' https://cdn.example.com/brand.css;"),
        "{policy}"
    );
    assert!(policy.contains("img-src 'self';"), "{policy}");
    let page = text(response).await;
    assert!(page.contains("data-logo=\"/brand/logo.svg\""), "{page}");
    assert!(
        page.contains("<title>Bread &amp; &quot;Butter&quot; &lt;b&gt;</title>"),
        "{page}"
    );
    let ours = page.find("style.css").unwrap();
    let theirs = page.find("<link rel=\"stylesheet\" href=\"https://cdn.example.com/brand.css\">");
    assert!(theirs.unwrap() > ours, "{page}");
}

#[tokio::test]
async fn a_page_knows_whether_registration_and_links_are_offered() {
    let none = OwnPages {
        account: false,
        registration_closed: true,
        without_links: true,
        ..both()
    };
    for (own, said) in [(both(), "on"), (none, "off")] {
        let page = text(ask(&own, "/admin", &[]).await).await;
        for name in ["account", "registration", "links"] {
            assert!(page.contains(&format!("data-{name}=\"{said}\"")), "{page}");
        }
    }
}

#[tokio::test]
async fn who_has_a_page_is_not_sent_it_again() {
    for path in [
        "/account".to_owned(),
        format!("/account/files/{}/account.js", files::VERSION),
    ] {
        let first = ask(&both(), &path, &[]).await;
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let again = ask(&both(), &path, &[(IF_NONE_MATCH.as_str(), &tag)]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
    }
    assert_eq!(
        ask(&both(), "/account", &[]).await.headers()[CACHE_CONTROL],
        "no-cache"
    );
}

#[tokio::test]
async fn a_file_comes_compressed_to_who_takes_that() {
    let path = format!("/account/files/{}/words.js", files::VERSION);
    let plain = text(ask(&both(), &path, &[]).await).await;
    let mut sizes = [plain.len(), 0, 0];
    for (place, (accepted, coding)) in [("gzip", "gzip"), ("gzip, deflate, br", "br")]
        .into_iter()
        .enumerate()
    {
        let response = ask(&both(), &path, &[("accept-encoding", accepted)]).await;
        assert_eq!(response.headers()[CONTENT_ENCODING], coding);
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let mut unpacked = String::new();
        let read = match coding {
            "gzip" => flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut unpacked),
            _ => brotli::Decompressor::new(&bytes[..], 4096).read_to_string(&mut unpacked),
        };
        read.unwrap();
        assert_eq!(unpacked, plain);
        sizes[place + 1] = bytes.len();
    }
    assert!(sizes[1] * 2 < sizes[0], "{sizes:?}");
    assert!(sizes[2] < sizes[1], "{sizes:?}");
}

#[test]
fn no_line_that_is_a_comment_alone_is_sent() {
    for file in files::FILES {
        let text = std::str::from_utf8(file.plain()).unwrap();
        for line in text.lines() {
            let is_comment = line.starts_with("/*") && line.ends_with("*/");
            assert!(
                !is_comment && !line.starts_with("//"),
                "{}: {line}",
                file.name()
            );
        }
    }
}

/// While an upgrade takes over, page and file may come of two versions.
#[tokio::test]
async fn a_file_of_another_version_is_served_and_kept_by_nobody() {
    let response = ask(&both(), "/account/files/0123456789abcdef/account.js", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
}
