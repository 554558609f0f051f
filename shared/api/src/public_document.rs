//! Documents that are the same for everybody: kept for a while by clients and caches, and asked for again by their ETag.

use std::borrow::Cow;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::http::entity_tag;

/// A document, or a file of a page.
///
/// ```
/// use http::HeaderMap;
/// use latchkey_api::public_document::PublicDocument;
///
/// let document = PublicDocument {
///     content_type: "application/json",
///     caching: "public, max-age=3600",
///     plain: b"{}".as_slice().into(),
///     gzip: None,
/// };
/// let response = document.reply_to(&HeaderMap::new());
/// assert!(response.headers().contains_key("etag"));
/// ```
#[derive(Clone, Debug)]
pub struct PublicDocument {
    /// What `Content-Type` says.
    pub content_type: &'static str,
    /// What `Cache-Control` says.
    pub caching: &'static str,
    /// The document.
    pub plain: Cow<'static, [u8]>,
    /// The same in gzip, if there is such a copy.
    pub gzip: Option<&'static [u8]>,
}

impl PublicDocument {
    /// The reply to a request with these headers: the document in a coding that the client takes, or 304 if the client
    /// has it (RFC 9110 section 13.1.2).
    #[must_use]
    pub fn reply_to(self, request: &HeaderMap) -> Response {
        let varies = self.gzip.is_some();
        let gzip = self.gzip.filter(|_| accepts_gzip(request));
        let bytes: Bytes = match (gzip, self.plain) {
            (Some(gzip), _) => Bytes::from_static(gzip),
            (None, Cow::Borrowed(plain)) => Bytes::from_static(plain),
            (None, Cow::Owned(plain)) => plain.into(),
        };
        // Of the bytes that are sent: each coding has its own tag (RFC 9110 section 8.8.3.3).
        let tag = entity_tag(&bytes);
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.caching));
        if varies {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if has(request, &tag) {
            headers.insert(ETAG, tag);
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        headers.insert(ETAG, tag);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if gzip.is_some() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        (headers, Body::from(bytes)).into_response()
    }
}

/// The members of a list in headers of a name.
fn members<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    let values = crate::headers::values(headers, name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}

/// Whether a client has the copy with a tag. Weak tags count too: a proxy that changes the coding weakens them.
fn has(request: &HeaderMap, tag: &HeaderValue) -> bool {
    members(request, IF_NONE_MATCH.as_str()).any(|member| {
        let member = member.strip_prefix("W/").unwrap_or(member);
        member == "*" || member.as_bytes() == tag.as_bytes()
    })
}

/// Whether a client takes gzip (RFC 9110 section 12.5.3). One that says nothing gets the plain document.
fn accepts_gzip(request: &HeaderMap) -> bool {
    let mut any = false;
    for member in members(request, ACCEPT_ENCODING.as_str()) {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        let coding = coding.trim();
        let accepted = weight(parameters) > 0.0;
        if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
            return accepted;
        }
        any |= coding == "*" && accepted;
    }
    any
}

/// Whether a client asks for HTML by name, as browsers do for a page (RFC 9110 section 12.5.1). `*/*`, which scripts and
/// command lines send, names nothing.
#[must_use]
pub fn accepts_html(request: &HeaderMap) -> bool {
    members(request, ACCEPT.as_str()).any(|member| {
        let (kind, parameters) = member.split_once(';').unwrap_or((member, ""));
        kind.trim().eq_ignore_ascii_case("text/html") && weight(parameters) > 0.0
    })
}

/// The weight among the parameters of a member: 1 unless it says otherwise, 0 if it cannot be read.
fn weight(parameters: &str) -> f32 {
    let mut parameters = parameters.split(';').filter_map(|one| one.split_once('='));
    match parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q")) {
        Some((_, value)) => value.trim().parse().unwrap_or(0.0),
        None => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (accepted, gzip) in [
            (&[][..], false),
            (&[""], false),
            (&["identity"], false),
            (&["br, deflate"], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["br", "gzip"], true),
            (&["deflate, gzip;q=0.5, br"], true),
            (&["gzip;q=0"], false),
            (&["gzip; q=0.000, *"], false),
            (&["gzip;q=x"], false),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["identity, *;q=0.1"], true),
        ] {
            let headers = accepted.iter().map(|value| HeaderValue::from_static(value));
            let headers = headers.map(|value| (ACCEPT_ENCODING, value)).collect();
            assert_eq!(accepts_gzip(&headers), gzip, "{accepted:?}");
        }
    }

    #[test]
    fn who_asks_for_html_names_it() {
        for (accepted, html) in [
            (&[][..], false),
            (&["*/*"], false),
            (&["text/*, application/json"], false),
            (&["application/json, text/htmlx"], false),
            (&["text/html"], true),
            (
                &["application/xhtml+xml", "TEXT/HTML ;q=0.9, */*;q=0.8"],
                true,
            ),
            (&["text/html;q=0, */*"], false),
        ] {
            let headers = accepted.iter().map(|value| HeaderValue::from_static(value));
            let headers = headers.map(|value| (ACCEPT, value)).collect();
            assert_eq!(accepts_html(&headers), html, "{accepted:?}");
        }
    }

    #[test]
    fn a_client_that_has_the_document_says_so_by_its_tag() {
        let tag = HeaderValue::from_static("\"abc\"");
        for (sent, known) in [
            (&["\"abc\""][..], true),
            (&["W/\"abc\""], true),
            (&["\"x\", \"abc\""], true),
            (&["\"x\"", "\"abc\""], true),
            (&["*"], true),
            (&[], false),
            (&["\"ab\""], false),
            (&["abc"], false),
        ] {
            let headers = sent.iter().map(|value| HeaderValue::from_static(value));
            let headers = headers.map(|value| (IF_NONE_MATCH, value)).collect();
            assert_eq!(has(&headers, &tag), known, "{sent:?}");
        }
    }
}
