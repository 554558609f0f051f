//! Which web page a request comes from. A page that a developer visits must not call what needs no token.
//!
//! The rule is that of Go's `net/http.CrossOriginProtection`: `Sec-Fetch-Site` decides, which a page cannot set (Fetch
//! Metadata, section 2.3); a browser without it sends `Origin`; a request with neither is no browser's.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Uri};
use latchkey_api::problem::{Code, Problem};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page of another origin sends.
pub(crate) async fn refuse_other_pages(request: Request, next: Next) -> Response {
    if is_from_another_page(request.headers()) {
        return Problem::from(Code::OriginNotAllowed).into_response();
    }
    next.run(request).await
}

fn is_from_another_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.any(|site| site != "same-origin" && site != "none");
    }
    // The gate has checked that Host is a name of this server.
    let host = headers.get(HOST).map(http::HeaderValue::as_bytes);
    let mut origins = headers.get_all(ORIGIN).iter();
    origins.any(|origin| {
        let origin: Option<Uri> = origin.to_str().ok().and_then(|origin| origin.parse().ok());
        let authority = origin.as_ref().and_then(Uri::authority);
        let authority = authority.map(|authority| authority.as_str().as_bytes());
        !matches!((authority, host), (Some(page), Some(host)) if page.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn is_refused(headers: &[(HeaderName, &'static str)]) -> bool {
        let mut all = HeaderMap::new();
        all.append(HOST, HeaderValue::from_static("localhost:3000"));
        for (name, value) in headers {
            all.append(name.clone(), HeaderValue::from_static(value));
        }
        is_from_another_page(&all)
    }

    #[test]
    fn a_terminal_and_the_servers_own_pages_pass() {
        for headers in [
            &[][..],
            &[(ORIGIN, "http://localhost:3000")],
            &[(ORIGIN, "http://LOCALHOST:3000")],
            &[(SEC_FETCH_SITE, "none")],
            &[
                (SEC_FETCH_SITE, "same-origin"),
                (ORIGIN, "http://localhost:3000"),
            ],
        ] {
            assert!(!is_refused(headers), "{headers:?}");
        }
    }

    #[test]
    fn pages_of_other_origins_are_refused_another_port_too() {
        for headers in [
            &[(ORIGIN, "https://evil.example")][..],
            &[(ORIGIN, "http://localhost:5173")],
            &[(ORIGIN, "http://localhost:3000.evil.example")],
            &[(ORIGIN, "null")],
            &[(ORIGIN, "")],
            &[
                (ORIGIN, "http://localhost:3000"),
                (ORIGIN, "https://evil.example"),
            ],
            &[(SEC_FETCH_SITE, "cross-site")],
            &[
                (SEC_FETCH_SITE, "same-site"),
                (ORIGIN, "http://localhost:5173"),
            ],
            &[
                (SEC_FETCH_SITE, "cross-site"),
                (ORIGIN, "http://localhost:3000"),
            ],
            &[(SEC_FETCH_SITE, "none"), (SEC_FETCH_SITE, "cross-site")],
        ] {
            assert!(is_refused(headers), "{headers:?}");
        }
    }
}
