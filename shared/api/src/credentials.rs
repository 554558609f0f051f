//! How refresh and device tokens travel: in bodies, or in cookies that no script can read. This is the one seam between the two:
//! a handler takes what is found here, and says with what its reply continues.
//!
//! A cookie is sent by the browser and not by the page, so it counts only under the rule of [`CookieTransport`]: the
//! request comes from a page that may send it (OWASP ASVS 5.0, 3.5.1). A token in a body or a header always comes before a
//! cookie.

use std::convert::Infallible;

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request};
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use http::header::{COOKIE, ORIGIN, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use latchkey_domain::id::SessionId;
use latchkey_domain::token::Token;
use latchkey_service::{Caller, Core};

use crate::body::{Body, RefreshRequest, VisitorRequest};
use crate::cors::AllowedOrigins;
use crate::headers;
use crate::problem::{Code, InvalidValue, Problem};

/// The cookie of the refresh token. A browser accepts the prefix with `Secure`, `Path=/` and no `Domain` alone, so no
/// other host of the site can set one.
pub const REFRESH_COOKIE: &str = "__Host-latchkey-refresh";

/// The cookie of the device token. It stays when the user signs out: it shows that this browser has been signed in on.
pub const DEVICE_COOKIE: &str = "__Host-latchkey-device";

/// How long a browser keeps the device token: 400 days, the longest that browsers allow. Each sign-in begins it again.
pub(crate) const DEVICE_COOKIE_LIFETIME: TimeDelta = TimeDelta::days(400);

/// The header in which a browser says how the sender of a request is related to where it goes (W3C Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The cookie transport, where it is switched on: from which pages a cookie is accepted.
///
/// The rule is that of Go's `CrossOriginProtection`: `Sec-Fetch-Site` says `same-origin` or `none`, or `Origin` is trusted.
/// A browser without `Sec-Fetch-Site` must send our own origin or a trusted one. Where the cookie is the credential, a
/// request with neither header is refused too, because every browser sends one of them with a POST.
///
/// ```
/// use http::HeaderValue;
/// use latchkey_api::cors::AllowedOrigins;
/// use latchkey_api::credentials::CookieTransport;
///
/// let own = HeaderValue::from_static("https://id.example.com");
/// let app = HeaderValue::from_static("https://app.example.com");
/// let cookies = CookieTransport::new(own, &AllowedOrigins::These(vec![app]));
/// # drop(cookies);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieTransport {
    own: HeaderValue,
    trusted: Vec<HeaderValue>,
}

/// Who has sent a request, as its browser tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// A page of ours, or one of an allowed origin.
    Trusted,
    /// Another page.
    Foreign,
    /// Nothing says that it is a browser.
    Unknown,
}

impl CookieTransport {
    /// For pages of the service's own origin and of those that are allowed.
    #[must_use]
    pub fn new(own: HeaderValue, allowed: &AllowedOrigins) -> Self {
        let trusted = match allowed {
            AllowedOrigins::None => Vec::new(),
            AllowedOrigins::These(origins) => origins.clone(),
        };
        Self { own, trusted }
    }

    /// For pages of the service's own origin alone.
    #[must_use]
    pub fn for_own_pages(own: HeaderValue) -> Self {
        Self::new(own, &AllowedOrigins::None)
    }

    /// Whether pages of any other origin may use a cookie.
    #[must_use]
    pub fn is_for_other_origins(&self) -> bool {
        !self.trusted.is_empty()
    }

    fn sender(&self, headers: &HeaderMap) -> Sender {
        let mut sites = headers::values(headers, SEC_FETCH_SITE).iter();
        let mut origins = headers::values(headers, ORIGIN.as_str()).iter();
        let (site, origin) = (sites.next(), origins.next());
        if sites.next().is_some() || origins.next().is_some() {
            return Sender::Foreign;
        }
        let is_trusted = origin.is_some_and(|origin| self.trusted.contains(origin));
        match (site.map(HeaderValue::as_bytes), origin) {
            (Some(b"same-origin" | b"none"), _) => Sender::Trusted,
            _ if is_trusted => Sender::Trusted,
            (None, Some(origin)) if *origin == self.own => Sender::Trusted,
            (None, None) => Sender::Unknown,
            _ => Sender::Foreign,
        }
    }
}

/// How the refresh token of a reply travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// In the body.
    #[default]
    Body,
    /// In a cookie, and not in the body.
    Cookie,
}

/// What a browser has sent with a request by itself. Where the cookie transport is off there is nothing.
#[derive(Clone, Debug)]
pub struct Browser(Option<Sent>);

#[derive(Clone, Debug)]
struct Sent {
    sender: Sender,
    refresh_token: Option<Token>,
    device_token: Option<Token>,
}

impl<S: Send + Sync> FromRequestParts<S> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let transport = parts.extensions.get::<CookieTransport>();
        Ok(Self(transport.map(|transport| Sent {
            sender: transport.sender(&parts.headers),
            refresh_token: cookie(&parts.headers, REFRESH_COOKIE).map(Token::new),
            device_token: cookie(&parts.headers, DEVICE_COOKIE).map(Token::new),
        })))
    }
}

impl Browser {
    /// How the reply to a sign-in travels that asks for a transport by name, or for none.
    ///
    /// # Errors
    /// 422 for a name that is not known or a transport that is off; 403 if the cookie would be set for another site's page,
    /// which could so sign somebody in as somebody else.
    pub fn transport(&self, name: Option<&str>) -> Result<Transport, Problem> {
        match (name, &self.0) {
            (None | Some("body"), _) => Ok(Transport::Body),
            (Some("cookie"), Some(sent)) if sent.sender == Sender::Foreign => Err(cross_site()),
            (Some("cookie"), Some(_)) => Ok(Transport::Cookie),
            (Some("cookie"), None) => Err(invalid_transport(
                "not_enabled",
                "The cookie transport is off; the setting COOKIE_TRANSPORT turns it on.",
            )),
            (Some(_), _) => Err(invalid_transport(
                "unknown",
                "A transport is body or cookie.",
            )),
        }
    }

    /// The refresh token of the cookie, where that is the credential.
    ///
    /// # Errors
    /// 403 if there is one and the request does not come from a page that may send it.
    pub fn refresh_token(&self) -> Result<Option<Token>, Problem> {
        match &self.0 {
            Some(Sent {
                sender,
                refresh_token: Some(token),
                ..
            }) => match sender {
                Sender::Trusted => Ok(Some(token.clone())),
                Sender::Foreign | Sender::Unknown => Err(cross_site()),
            },
            Some(_) | None => Ok(None),
        }
    }

    /// The device token of the cookie. It opens nothing, so one that another page's request carries counts as none, and is no
    /// reason to refuse the request.
    #[must_use]
    pub fn device_token(&self) -> Option<&Token> {
        let sent = self.0.as_ref()?;
        let trusted = sent.sender == Sender::Trusted;
        sent.device_token.as_ref().filter(|_| trusted)
    }

    /// How the reply to a caller travels whose session continues: as it did, which a cookie of this session shows. One that is
    /// left of another session counts as none.
    ///
    /// # Errors
    /// As [`Browser::refresh_token`].
    pub async fn transport_of(&self, caller: Caller, core: &Core) -> Result<Transport, Problem> {
        let sent = self.0.as_ref();
        let Some(token) = sent.and_then(|sent| sent.refresh_token.as_ref()) else {
            return Ok(Transport::Body);
        };
        if session_of(token, core).await == Some(caller.session_id) {
            self.refresh_token().map(|_| Transport::Cookie)
        } else {
            Ok(Transport::Body)
        }
    }
}

/// Whose refresh token this is, of whatever age, if it is genuine.
pub(crate) async fn session_of(token: &Token, core: &Core) -> Option<SessionId> {
    let claims = core.tokens.verify_refresh_of_any_age(token, core.now());
    claims.await.ok().map(|claims| claims.sid)
}

fn cross_site() -> Problem {
    tracing::info!("a cookie was not accepted: the request is not from a page that may send it");
    Code::CrossSiteRequest.into()
}

fn invalid_transport(code: &'static str, detail: &'static str) -> Problem {
    Problem::validation_failed(vec![InvalidValue::new("#/transport", code, detail)])
}

/// The value of a cookie (RFC 6265 section 5.4). A browser sends one of a name with our prefix; of more, none counts.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers::values(headers, COOKIE.as_str()).iter();
    // Other cookies of the site may hold any bytes.
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let pair = pair.trim_ascii().strip_prefix(name.as_bytes())?;
        std::str::from_utf8(pair.strip_prefix(b"=")?).ok()
    });
    let value = values.next()?;
    values.next().is_none().then(|| value.to_owned())
}

/// What a client refreshes with: the refresh token of the body, or else of the cookie.
#[derive(Clone, Debug)]
pub struct RefreshCredentials {
    /// The refresh token.
    pub token: Token,
    /// The API that the access token is to be for.
    pub audience: Option<String>,
    /// The visitor for whom a client of another service refreshes.
    pub visitor: Option<VisitorRequest>,
    /// How the next one travels: as this one did.
    pub transport: Transport,
}

impl<S: Send + Sync> OptionalFromRequest<S> for RefreshCredentials {
    type Rejection = Problem;

    /// None if a page asks whether its browser has a cookie (`cookie_optional`), and it has none.
    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let (browser, request) = with_browser(request, state).await;
        // A page with a cookie need not send a body.
        let body = if browser.0.is_some() && is_empty(request.body()) {
            RefreshRequest::default()
        } else {
            let Body(body) = Body::from_request(request, state).await?;
            body
        };
        let (token, transport) = match body.refresh_token {
            Some(token) => (token, Transport::Body),
            None => match browser.refresh_token()? {
                Some(token) => (token, Transport::Cookie),
                None if browser.0.is_some() && body.cookie_optional == Some(true) => {
                    return Ok(None);
                }
                None => {
                    return Err(Problem::invalid_request(
                        "The field refresh_token is missing.",
                    ));
                }
            },
        };
        Ok(Some(Self {
            token,
            audience: body.audience,
            visitor: body.client,
            transport,
        }))
    }
}

/// Reads what a browser has sent by itself, and leaves the request as it is.
pub(crate) async fn with_browser<S: Send + Sync>(
    request: Request,
    state: &S,
) -> (Browser, Request) {
    let (mut parts, body) = request.into_parts();
    let Ok(browser) = Browser::from_request_parts(&mut parts, state).await;
    (browser, Request::from_parts(parts, body))
}

pub(crate) fn is_empty(body: &axum::body::Body) -> bool {
    axum::body::HttpBody::is_end_stream(body)
}

/// The reply to a sign-out: nothing, and where the cookie was the credential, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedOut(pub Transport);

impl IntoResponse for SignedOut {
    fn into_response(self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        if self.0 == Transport::Cookie {
            let cookie = set_cookie(REFRESH_COOKIE, "", TimeDelta::zero());
            response
                .headers_mut()
                .extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
        }
        response
    }
}

/// A cookie that is sent to this host alone, over https, with requests of its own site, and that no script can read. A
/// value that no header can hold, which no token is, gives none.
pub(crate) fn set_cookie(name: &str, value: &str, lifetime: TimeDelta) -> Option<HeaderValue> {
    let seconds = lifetime.num_seconds();
    let text =
        format!("{name}={value}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=Strict");
    let mut cookie = HeaderValue::try_from(text).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            let name = http::HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_sender_is_trusted_as_gos_cross_origin_protection_trusts_it() {
        use Sender::{Foreign, Trusted, Unknown};
        let own = HeaderValue::from_static("https://auth.example.com");
        let app = HeaderValue::from_static("https://app.example.com");
        let transport = CookieTransport::new(own, &AllowedOrigins::These(vec![app]));
        let (own, app, evil) = (
            Some("https://auth.example.com"),
            Some("https://app.example.com"),
            Some("https://evil.example"),
        );
        for (site, origin, expected) in [
            (Some("same-origin"), None, Trusted),
            (Some("same-origin"), own, Trusted),
            (Some("none"), None, Trusted),
            (Some("same-site"), app, Trusted),
            (Some("cross-site"), app, Trusted),
            (Some("same-site"), Some("https://blog.example.com"), Foreign),
            (Some("same-site"), None, Foreign),
            (Some("same-site"), own, Foreign),
            (Some("cross-site"), evil, Foreign),
            (Some("cross-site"), None, Foreign),
            (Some("cross-site"), Some("null"), Foreign),
            (Some("Same-Origin"), None, Foreign),
            (Some(""), None, Foreign),
            (None, own, Trusted),
            (None, app, Trusted),
            (None, evil, Foreign),
            (None, Some("null"), Foreign),
            (None, Some("http://auth.example.com"), Foreign),
            (None, Some("https://auth.example.com:8443"), Foreign),
            (None, Some("https://auth.example.com.evil.example"), Foreign),
            (None, None, Unknown),
        ] {
            let site = site.map(|site| (SEC_FETCH_SITE, site));
            let origin = origin.map(|origin| ("origin", origin));
            let pairs: Vec<_> = site.into_iter().chain(origin).collect();
            assert_eq!(transport.sender(&headers(&pairs)), expected, "{pairs:?}");
        }
        let twice = headers(&[
            (SEC_FETCH_SITE, "cross-site"),
            (SEC_FETCH_SITE, "same-origin"),
        ]);
        assert_eq!(transport.sender(&twice), Foreign);
    }

    #[test]
    fn a_cookie_has_its_whole_name_and_is_there_once() {
        for (lines, value) in [
            (&["__Host-latchkey-refresh=a.b.c"][..], Some("a.b.c")),
            (&["x=y; __Host-latchkey-refresh=a.b.c;z=1"], Some("a.b.c")),
            (&["x=y", "__Host-latchkey-refresh=a"], Some("a")),
            (&["__Host-latchkey-refresh="], Some("")),
            (&["__Host-latchkey-refresh2=a"], None),
            (&["x__Host-latchkey-refresh=a"], None),
            (&["__host-latchkey-refresh=a"], None),
            (&["__Host-latchkey-refresh"], None),
            (
                &["__Host-latchkey-refresh=a; __Host-latchkey-refresh=b"],
                None,
            ),
            (&[], None),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            let found = cookie(&headers(&lines), REFRESH_COOKIE);
            assert_eq!(found.as_deref(), value, "{lines:?}");
        }
        let mut other = HeaderMap::new();
        let line = HeaderValue::from_bytes(b"x=\xff; __Host-latchkey-refresh=a").unwrap();
        other.insert(COOKIE, line);
        assert_eq!(cookie(&other, REFRESH_COOKIE).as_deref(), Some("a"));
    }
}
