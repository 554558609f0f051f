//! What is around every router: request ids, one log line for each request, problems, security headers, CORS, the last
//! line of defence.

use std::any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::extract::{MatchedPath, OriginalUri, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, ORIGIN, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use latchkey_domain::clock::Clock;
use latchkey_domain::id::RequestId;
use latchkey_domain::random::RandomSource;
use latchkey_service::LONGEST_DEEDS;
use tower::util::option_layer;
use tower::{Layer, Service as _, ServiceExt as _};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use tracing::{Instrument, Span};

use crate::cors::AllowedOrigins;
use crate::credentials::CookieTransport;
use crate::edge::{self, EdgeSecret};
use crate::headers;
use crate::location::DEVICE_ID_HEADER;
use crate::oauth;
use crate::own_pages::{OwnPages, from_root};
use crate::problem::{Code, Problem, RATE_LIMIT, RATE_LIMIT_POLICY};

/// The header in which every reply names its request.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// What every reply says to browsers, errors and preflights too, unless its handler has said something else of the same
/// name: the documentation page needs another policy, and public documents may be kept.
///
/// `X-Frame-Options` is not among them: `frame-ancestors` has taken its place.
pub const SECURITY_HEADERS: [(HeaderName, HeaderValue); 6] = [
    // Two years, as the preload list asks for. Browsers heed it over https only.
    (
        STRICT_TRANSPORT_SECURITY,
        HeaderValue::from_static("max-age=63072000; includeSubDomains"),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // A reply is data: shown as a page it may load, run and be framed by nothing.
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    // For requests outside of CORS, such as that of an <img>. What an allowed origin fetches is CORS's matter.
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    // Tokens, addresses and devices are nothing for a cache.
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// What a request is called by whoever hands it over: Lambda's invocation. Among the request's extensions; without it a
/// request gets a new id.
///
/// ```
/// use http::Request;
/// use latchkey_api::http::Invocation;
///
/// let mut request = Request::new(());
/// request.extensions_mut().insert(Invocation {
///     request_id: "8f2c7c1e-2c1b-4b6e-9a55-0d3f6f0f5a51".to_owned(),
///     xray_trace_id: None,
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Names the request, in its reply and in every log line about it.
    pub request_id: String,
    /// The trace of X-Ray that it is part of, as the header has it.
    pub xray_trace_id: Option<String>,
}

impl Invocation {
    /// What every log line of an invocation names: its id, and X-Ray's if it has one.
    #[must_use]
    pub fn span(&self) -> Span {
        // At the highest level, so that no setting of the level takes the id off a warning.
        tracing::error_span!(
            "request",
            request_id = self.request_id,
            xray_trace_id = self.trace()
        )
    }

    /// The trace of X-Ray that it is part of, as X-Ray's console finds it.
    #[must_use]
    pub fn trace(&self) -> Option<&str> {
        self.xray_trace_id.as_deref().map(trace_root)
    }
}

/// The trace itself, as X-Ray's console finds it, of a header such as
/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
fn trace_root(header: &str) -> &str {
    header
        .split(';')
        .find_map(|part| part.trim().strip_prefix("Root="))
        .unwrap_or(header)
}

/// What pages of browsers may do.
///
/// ```
/// use latchkey_api::cors::AllowedOrigins;
/// use latchkey_api::http::Pages;
///
/// let closed = Pages::from(&AllowedOrigins::None);
/// assert!(closed.cookies.is_none() && closed.own.is_none());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pages<'a> {
    /// Whose pages may call the API.
    pub origins: &'a AllowedOrigins,
    /// Whether and from whom refresh tokens are accepted in cookies.
    pub cookies: Option<&'a CookieTransport>,
    /// The service's own pages; none of them is there without.
    pub own: Option<&'a OwnPages>,
}

impl<'a> From<&'a AllowedOrigins> for Pages<'a> {
    /// Without cookies and pages of its own.
    fn from(origins: &'a AllowedOrigins) -> Self {
        Self {
            origins,
            cookies: None,
            own: None,
        }
    }
}

/// Puts around a router what every function has.
pub fn service(
    router: Router,
    pages: Pages<'_>,
    edge: Option<&EdgeSecret>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
) -> Router {
    service_behind(router, pages, edge, clock, random, |router| router)
}

/// The same with a gate: a layer that judges a request before anything of the service sees it. What the gate refuses is
/// named, answered as a problem and logged like any other request.
pub fn service_behind(
    router: Router,
    pages: Pages<'_>,
    edge: Option<&EdgeSecret>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
    gate: impl FnOnce(Router) -> Router,
) -> Router {
    let surroundings = Surroundings {
        clock,
        random,
        answered_before: Arc::default(),
    };
    let router = router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found);
    // The first of them sees a request first. One layer of all, because a binary has axum's code for each layer again.
    let router = router.layer((
        option_layer(edge.map(|edge| from_fn_with_state(edge.clone(), edge::require))),
        Extension(Arc::new(pages.own.cloned().unwrap_or_default())),
        option_layer(pages.cookies.map(|cookies| Extension(cookies.clone()))),
        from_fn_with_state(Cors::of(pages), allow_origins),
        CatchPanicLayer::custom(answer_panic),
        // Inside the routes, because only here it is known which one matched.
        from_fn(tag_route),
        from_fn(in_time),
    ));
    gate(router).layer(from_fn_with_state(surroundings, identify))
}

/// What a request is named and timed by.
#[derive(Clone)]
struct Surroundings {
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
    answered_before: Arc<AtomicBool>,
}

async fn not_found(
    uri: Uri,
    OriginalUri(whole): OriginalUri,
    Extension(pages): Extension<Arc<OwnPages>>,
) -> Problem {
    // The path alone: a query may hold what is nobody's business.
    tracing::debug!(path = uri.path(), "there is no such route");
    match pages.setting_of_missing_file(whole.path()) {
        Some(setting) => Problem::from(Code::NotFound).with_detail(format!(
            "{setting} names this path, and the service has no file there: give an https URL, or a path that another \
             server answers on the same domain."
        )),
        None => Code::NotFound.into(),
    }
}

async fn method_not_allowed(method: Method, headers: HeaderMap) -> Problem {
    // With allowed origins, preflights are answered before they come here.
    if method == Method::OPTIONS
        && headers::value(&headers, ACCESS_CONTROL_REQUEST_METHOD.as_str()).is_some()
    {
        static WARNING: Once = Once::new();
        WARNING.call_once(|| {
            tracing::warn!(
                origin = headers::value(&headers, ORIGIN.as_str()).and_then(|origin| origin.to_str().ok()),
                "a web page of another origin has asked to call the API and is refused: ALLOWED_ORIGINS is empty"
            );
        });
        return Problem::from(Code::MethodNotAllowed).with_detail(
            "No web page of another origin may call this API; the setting ALLOWED_ORIGINS names those that may.",
        );
    }
    Code::MethodNotAllowed.into()
}

/// How long a request may take. The function has 15 seconds (template.yaml), and a function that is cut off answers
/// with a 500 of API Gateway's. Each request to DynamoDB is bounded, and so is the number of repeated decisions, but
/// not their product: a slow DynamoDB full of conflicts could take a minute.
const LONGEST_REQUEST: Duration = Duration::from_secs(12);
// What outlives the reply continues when Lambda uses the instance again.
const _: () = assert!(LONGEST_DEEDS.as_secs() < LONGEST_REQUEST.as_secs());

/// Gives up in time to say so. What was asked for may or may not have been done, as with every 503.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!("a request took too long and was given up");
            Problem::from(Code::TemporarilyUnavailable).into_response()
        }
    }
}

/// The route that a reply comes from, for the log line.
#[derive(Clone)]
struct Route(MatchedPath);

async fn tag_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(Route(route));
    }
    response
}

fn answer_panic(_: Box<dyn any::Any + Send + 'static>) -> Response {
    // The panic's own message may hold what a client sent; the runtime's hook logs where it happened.
    tracing::error!("a request panicked");
    Problem::internal().into_response()
}

/// How a request was answered: what its one line of the log says.
#[derive(Debug)]
pub struct Answered<'a> {
    /// What the request is called.
    pub invocation: &'a Invocation,
    /// The method of the request.
    pub method: &'a Method,
    /// The route that matched; "none" if none did.
    pub route: &'a str,
    /// The status of the reply.
    pub status: StatusCode,
    /// The code of the problem, if the reply is one.
    pub code: Option<&'static str>,
    /// How long it took.
    pub milliseconds: i64,
    /// Whether it is the first of an environment of Lambda.
    pub cold_start: bool,
}

impl Answered<'_> {
    /// The text of the line, by which filters find it.
    pub const MESSAGE: &'static str = "answered";
    /// The part of the code that the line names.
    pub const TARGET: &'static str = module_path!();

    fn log(&self) {
        tracing::info!(
            method = %self.method,
            route = self.route,
            status = self.status.as_u16(),
            code = self.code,
            milliseconds = self.milliseconds,
            cold_start = self.cold_start.then_some(true),
            "{}",
            Self::MESSAGE
        );
    }
}

/// Who writes the line of a request instead of the log, because there is more to say. Among the request's extensions.
#[derive(Clone)]
pub struct AnswerLog(pub Arc<dyn Fn(&Answered<'_>) + Send + Sync>);

async fn identify(
    State(around): State<Surroundings>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = around.clock.now();
    let handed_over = request.extensions_mut().remove::<Invocation>();
    let log = request.extensions_mut().remove::<AnswerLog>();
    // Elsewhere a process starts once, and nobody waits for it.
    let first = handed_over.is_some() && !around.answered_before.swap(true, Ordering::Relaxed);
    let invocation = handed_over.unwrap_or_else(|| Invocation {
        request_id: RequestId::random(around.random.as_ref()).to_string(),
        xray_trace_id: None,
    });
    let span = invocation.span();
    let method = request.method().clone();
    let as_oauth = oauth::is_endpoint(request.uri().path());
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    let response = if as_oauth {
        oauth::in_its_form(response)
    } else {
        response
    };
    let response = with_security_headers(with_request_id(response, &invocation.request_id));
    let route = response.extensions().get::<Route>();
    let code = response
        .extensions()
        .get::<Problem>()
        .map(|problem| problem.code.as_str());
    let answered = Answered {
        invocation: &invocation,
        method: &method,
        route: route.map_or("none", |route| route.0.as_str()),
        status: response.status(),
        code,
        milliseconds: (around.clock.now() - began).num_milliseconds(),
        cold_start: first,
    };
    match log {
        Some(AnswerLog(write)) => write(&answered),
        None => answered.log(),
    }
    response
}

/// Writes the body of a problem, which only now is known to which request it belongs.
fn with_request_id(response: Response, id: &str) -> Response {
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) if !oauth::has_its_form(&response) => {
            let body = axum::Json(problem.body(id)).into_response().into_body();
            let (parts, _) = response.into_parts();
            Response::from_parts(parts, body)
        }
        Some(_) | None => response,
    };
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID_HEADER, value);
    }
    response
}

fn with_security_headers(mut response: Response) -> Response {
    for (name, value) in SECURITY_HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

/// A strong entity tag for content (RFC 9110 section 8.8.3): equal for equal bytes, and for no others.
#[must_use]
pub fn entity_tag(content: &[u8]) -> HeaderValue {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
    let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(digest));
    // Base64 is visible ASCII, so this cannot fail; no tag is a tag that no client has.
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// What is the same for everybody and holds nothing of anybody: any page may read it. Under the base path, if there is
/// one.
const PUBLIC_DOCUMENTS: [&str; 4] = [
    "/.well-known/jwks.json",
    "/.well-known/openid-configuration",
    AUTHORIZATION_SERVER_METADATA,
    "/openapi.json",
];

/// Where RFC 8414 section 3 looks for a server's description. The issuer's path comes *behind* it.
const AUTHORIZATION_SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";

fn is_public(path: &str) -> bool {
    PUBLIC_DOCUMENTS.iter().any(|one| path.ends_with(one))
        || path
            .strip_prefix(AUTHORIZATION_SERVER_METADATA)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// The routes that set, read or end a cookie, under the base path if there is one. On no other are credentials allowed.
const WITH_COOKIES: [&str; 6] = [
    "/v1/auth/register",
    "/v1/auth/login",
    "/v1/auth/refresh",
    "/v1/auth/logout",
    "/v1/auth/reauthenticate",
    "/v1/me/password",
];

/// Which pages of other origins may read what.
#[derive(Clone)]
struct Cors {
    /// For [`PUBLIC_DOCUMENTS`].
    any: CorsLayer,
    /// For all else: closed unless origins are allowed.
    these: Option<CorsLayer>,
    /// For [`WITH_COOKIES`].
    with_cookies: Option<CorsLayer>,
}

impl Cors {
    fn of(pages: Pages<'_>) -> Self {
        let these = match pages.origins {
            AllowedOrigins::None => None,
            AllowedOrigins::These(origins) => Some(allowed(origins.clone())),
        };
        let with_cookies = match (&these, pages.cookies) {
            (Some(these), Some(cookies)) if cookies.is_for_other_origins() => {
                Some(these.clone().allow_credentials(true))
            }
            (these, _) => these.clone(),
        };
        Self {
            any: anybody(),
            these,
            with_cookies,
        }
    }
}

async fn allow_origins(State(cors): State<Cors>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let layer = if is_public(path) {
        Some(&cors.any)
    } else if WITH_COOKIES.iter().any(|one| path.ends_with(one)) {
        cors.with_cookies.as_ref()
    } else {
        cors.these.as_ref()
    };
    match layer {
        Some(layer) => match layer.layer(next).call(request).await {
            Ok(response) => response,
        },
        None => next.run(request).await,
    }
}

/// For everybody alike, so that a cache needs one copy.
fn anybody() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET])
        .allow_headers(Any)
        .expose_headers([ETAG, HeaderName::from_static(REQUEST_ID_HEADER)])
        .vary([])
        .max_age(PREFLIGHT_LIFETIME)
}

/// Without credentials: an access token is sent by the page itself.
fn allowed(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            HeaderName::from_static(DEVICE_ID_HEADER),
            HeaderName::from_static(REQUEST_ID_HEADER),
            // What the libraries of tracing add to a page's requests (W3C Trace Context and Baggage, Sentry).
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("tracestate"),
            HeaderName::from_static("baggage"),
            HeaderName::from_static("sentry-trace"),
        ])
        .expose_headers([
            HeaderName::from_static(REQUEST_ID_HEADER),
            RETRY_AFTER,
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
            WWW_AUTHENTICATE,
        ])
        .max_age(PREFLIGHT_LIFETIME)
}

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_LIFETIME: Duration = Duration::from_secs(3600);

/// Where the API is at its origin: the path of the issuer's address. The root unless said otherwise.
///
/// ```
/// use latchkey_api::http::BasePath;
///
/// assert_eq!(BasePath::parse("/auth/")?.as_str(), "/auth");
/// assert_eq!(BasePath::parse("/")?, BasePath::default());
/// assert!(BasePath::parse("/../admin").is_err());
/// # Ok::<(), latchkey_api::http::InvalidBasePath>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BasePath(String);

/// The text is no base path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a path of letters, digits and -._~ between slashes, such as /auth")]
pub struct InvalidBasePath;

impl BasePath {
    /// Reads the path of an address; a slash at its end makes no difference.
    ///
    /// # Errors
    /// [`InvalidBasePath`]
    pub fn parse(path: &str) -> Result<Self, InvalidBasePath> {
        let path = path.strip_suffix('/').unwrap_or(path);
        let valid = |segment: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
        };
        match path.strip_prefix('/') {
            None if path.is_empty() => Ok(Self::default()),
            Some(segments) if segments.split('/').all(valid) => Ok(Self(path.to_owned())),
            _ => Err(InvalidBasePath),
        }
    }

    /// The path, without a slash at its end: empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same routes under this path; the description of RFC 8414 also where that looks for it. To be called before [`service`], for which all else is then not found.
    pub fn hold(&self, router: Router) -> Router {
        if self.0.is_empty() {
            return router;
        }
        let description = router.clone();
        let describe = async move |mut request: Request| {
            *request.uri_mut() = Uri::from_static(AUTHORIZATION_SERVER_METADATA);
            description.oneshot(request).await
        };
        Router::new()
            .nest(&self.0, router)
            .route(
                &format!("{AUTHORIZATION_SERVER_METADATA}{}", self.0),
                get(describe),
            )
            .route(&format!("{}/", self.0), get(from_root))
    }
}

#[cfg(test)]
mod tests {
    use latchkey_domain::clock::SystemClock;
    use latchkey_domain::random::SystemRandom;

    use super::*;
    use crate::own_pages::PageFile;

    #[test]
    fn a_base_path_is_plain() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("/auth", "/auth"),
            ("/auth/", "/auth"),
            ("/a-b/c_d/v1.0~", "/a-b/c_d/v1.0~"),
        ] {
            assert_eq!(BasePath::parse(text).unwrap().as_str(), path);
        }
        for wrong in [
            "auth", "//", "//auth", "/auth//", "/a//b", "/{id}", "/*", "/a b", "/a?b", "/%61",
            "/.", "/a/..", "/\u{e9}",
        ] {
            assert_eq!(BasePath::parse(wrong), Err(InvalidBasePath), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_file_that_the_pages_lack_is_told_with_its_setting() {
        let stylesheet = PageFile::parse("/brand/our.css").unwrap();
        let own = OwnPages {
            stylesheet: Some(stylesheet),
            ..OwnPages::default()
        };
        let pages = Pages {
            own: Some(&own),
            ..Pages::from(&AllowedOrigins::None)
        };
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let service = service(Router::new(), pages, None, clock, random);
        for (path, detail) in [
            ("/brand/our.css?v=1", "PAGE_STYLESHEET names this path"),
            ("/brand/other.css", "There is nothing at this path."),
        ] {
            let request = http::Request::get(path).body(axum::body::Body::empty());
            let response = service.clone().oneshot(request.unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            let body = axum::body::to_bytes(response.into_body(), 4096).await;
            let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
            assert!(body.contains(detail), "{body}");
        }
    }

    #[test]
    fn a_trace_is_named_as_x_ray_names_it() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        assert_eq!(trace_root(header), "1-5759e988-bd862e3fe1be46a994272793");
        assert_eq!(trace_root("unknown"), "unknown");
    }
}
