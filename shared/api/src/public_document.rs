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
///     brotli: None,
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
    /// The same in Brotli, if there is such a copy: a seventh smaller than gzip for scripts.
    pub brotli: Option<&'static [u8]>,
}

impl PublicDocument {
    /// The reply to a request with these headers: the document in a coding that the client takes, or 304 if the client
    /// has it (RFC 9110 section 13.1.2).
    #[must_use]
    pub fn reply_to(self, request: &HeaderMap) -> Response {
        let varies = self.gzip.is_some() || self.brotli.is_some();
        let coded = self.coded_for(request);
        let bytes: Bytes = match (coded, self.plain) {
            (Some((_, coded)), _) => Bytes::from_static(coded),
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
        if let Some((coding, _)) = coded {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        (headers, Body::from(bytes)).into_response()
    }

    /// The name of the coding that a client likes best and its copy, the smaller one if it likes both. Nothing means
    /// the plain document.
    fn coded_for(&self, request: &HeaderMap) -> Option<(&'static str, &'static [u8])> {
        let brotli = self
            .brotli
            .map(|copy| ("br", liking(request, &["br"]), copy));
        let gzip = self.gzip.map(|copy| ("gzip", liking(request, &GZIP), copy));
        let liked = [gzip, brotli]
            .into_iter()
            .flatten()
            .filter(|(_, weight, _)| *weight > 0.0);
        let best = liked.max_by(|(_, one, _), (_, other, _)| one.total_cmp(other));
        best.map(|(name, _, copy)| (name, copy))
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

/// The names of gzip (RFC 9110 section 8.4.1.3).
const GZIP: [&str; 2] = ["gzip", "x-gzip"];

/// Whether a client takes gzip.
pub(crate) fn takes_gzip(request: &HeaderMap) -> bool {
    liking(request, &GZIP) > 0.0
}

/// How much a client likes a coding, by its names: 0 if it does not take it (RFC 9110 section 12.5.3). One that says
/// nothing gets the plain document.
fn liking(request: &HeaderMap, names: &[&str]) -> f32 {
    let mut any = 0.0;
    for member in members(request, ACCEPT_ENCODING.as_str()) {
        let (coding, parameters) = member.split_once(';').unwrap_or((member, ""));
        let coding = coding.trim();
        if names.iter().any(|name| coding.eq_ignore_ascii_case(name)) {
            return weight(parameters);
        }
        if coding == "*" {
            any = weight(parameters);
        }
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
    fn each_client_gets_the_coding_that_it_likes_best() {
        let document = PublicDocument {
            content_type: "text/css",
            caching: "no-cache",
            plain: b"plain".as_slice().into(),
            gzip: Some(b"gzip"),
            brotli: Some(b"br"),
        };
        for (accepted, coding) in [
            (&[][..], None),
            (&[""], None),
            (&["identity"], None),
            (&["deflate"], None),
            (&["gzip"], Some("gzip")),
            (&["GZIP"], Some("gzip")),
            (&["x-gzip"], Some("gzip")),
            (&["br", "gzip"], Some("br")),
            (&["gzip, deflate, br, zstd"], Some("br")),
            (&["deflate, gzip;q=0.5, br"], Some("br")),
            (&["gzip, br;q=0.5"], Some("gzip")),
            (&["gzip, br;q=0"], Some("gzip")),
            (&["gzip;q=0"], None),
            (&["gzip; q=0.000, *"], Some("br")),
            (&["br;q=0, *"], Some("gzip")),
            (&["gzip;q=x"], None),
            (&["*"], Some("br")),
            (&["*;q=0"], None),
            (&["identity, *;q=0.1"], Some("br")),
        ] {
            let headers = accepted.iter().map(|value| HeaderValue::from_static(value));
            let headers = headers.map(|value| (ACCEPT_ENCODING, value)).collect();
            let coded = document.coded_for(&headers);
            assert_eq!(coded.map(|(name, _)| name), coding, "{accepted:?}");
            let only_gzip = PublicDocument {
                brotli: None,
                ..document.clone()
            };
            let coded = only_gzip.coded_for(&headers).map(|(name, _)| name);
            assert_eq!(
                coded,
                takes_gzip(&headers).then_some("gzip"),
                "{accepted:?}"
            );
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
