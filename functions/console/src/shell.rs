//! The HTML of a page: what is there before its scripts run, the same for everybody.

use axum::http::header::{CONTENT_SECURITY_POLICY, ETAG, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use latchkey_api::own_pages::{OwnPages, PageFile};
use latchkey_api::public_document::PublicDocument;

use crate::files::VERSION;
use crate::page::Page;

const ACCOUNT: &str = include_str!("../pages/account.html");
const ADMIN: &str = include_str!("../pages/admin.html");

/// Asked for at each visit, and sent again only if it has changed.
const CACHED_IF_SAME: &str = "no-cache";

/// A page, as it is sent.
pub(crate) struct Shell {
    html: String,
    policy: String,
}

impl Shell {
    /// A page of a service that stands below `base_path`.
    pub(crate) fn of(page: Page, base_path: &str, pages: &OwnPages) -> Self {
        let template = match page {
            Page::Account => ACCOUNT,
            Page::Admin => ADMIN,
        };
        let logo = pages.logo.as_ref().map(|file| file.as_str());
        let stylesheet = pages.stylesheet.as_ref().map(|file| {
            let file = file.as_str();
            format!("<link rel=\"stylesheet\" href=\"{file}\">")
        });
        let html = template
            .replace("{base_path}", base_path)
            .replace("{version}", VERSION)
            .replace("{logo}", logo.unwrap_or_default())
            .replace("{stylesheet}", &stylesheet.unwrap_or_default())
            .replace("{account}", on_or_off(pages.account))
            .replace("{admin}", on_or_off(pages.admin))
            .replace("{registration}", on_or_off(!pages.registration_closed))
            .replace("{links}", on_or_off(!pages.without_links))
            .replace("{name}", &escape(pages.name.as_str()));
        Self {
            html,
            policy: policy(pages),
        }
    }

    /// The page, which is not there.
    pub(crate) fn reply_with(self, status: StatusCode) -> Response {
        // Another client would get a problem at the same address, and none has a copy of what is not there.
        let mut response = self.reply_to(&HeaderMap::new());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.remove(ETAG);
        headers.insert(VARY, HeaderValue::from_static("accept"));
        response
    }

    pub(crate) fn reply_to(self, request: &HeaderMap) -> Response {
        let document = PublicDocument {
            content_type: "text/html; charset=utf-8",
            caching: CACHED_IF_SAME,
            plain: self.html.into_bytes().into(),
            gzip: None,
            brotli: None,
        };
        let mut response = document.reply_to(request);
        let headers = response.headers_mut();
        // Of visible ASCII alone, so this cannot fail; without it the policy of replies that are data holds.
        if let Ok(policy) = HeaderValue::try_from(self.policy) {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        headers.extend(OF_PAGES);
        response
    }
}

/// No other page may reach into one of ours, and ours need nothing of the device.
const OF_PAGES: [(HeaderName, HeaderValue); 2] = [
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// Scripts and requests of this origin alone, none in the page, and no way from text to HTML (W3C Trusted Types).
fn policy(pages: &OwnPages) -> String {
    let also = |file: &Option<PageFile>| {
        let source = file.as_ref().and_then(PageFile::source);
        source
            .map(|source| format!(" {source}"))
            .unwrap_or_default()
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'{}; img-src 'self'{}; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
        also(&pages.stylesheet),
        also(&pages.logo),
    )
}

/// What a script reads of a setting.
fn on_or_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// Text as it stands in HTML, also in an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
