//! What is around every router: request ids, one log line for each request, problems, security headers, CORS, the last
//! line of defence.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ORIGIN, REFERRER_POLICY, RETRY_AFTER, STRICT_TRANSPORT_SECURITY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use lambda_http::Context as LambdaContext;
use latchkey_domain::clock::Clock;
use latchkey_domain::id::ChangeId;
use latchkey_domain::random::RandomSource;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument;

use crate::client::DEVICE_ID_HEADER;
use crate::front::{self, FrontSecret};
use crate::problem::{Code, Problem};
use crate::settings::AllowedOrigins;
use crate::telemetry::invocation;

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

/// Names a request, in its reply and in every log line about it: the invocation on Lambda, a new id elsewhere.
#[derive(Clone, Debug)]
struct RequestId(String);

/// Puts around a router what every function has.
pub fn service(
    router: Router,
    origins: &AllowedOrigins,
    front: Option<&FrontSecret>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
) -> Router {
    service_behind(router, origins, front, clock, random, |router| router)
}

/// The same with a gate: a layer that judges a request before anything of the service sees it. What the gate refuses is
/// named, answered as a problem and logged like any other request.
pub fn service_behind(
    router: Router,
    origins: &AllowedOrigins,
    front: Option<&FrontSecret>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
    gate: impl FnOnce(Router) -> Router,
) -> Router {
    let mut router = router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn(in_time))
        // Inside the routes, because only here it is known which one matched.
        .layer(from_fn(note_route))
        .layer(CatchPanicLayer::custom(panicked));
    if let Some(cors) = cors(origins) {
        router = router.layer(cors);
    }
    if let Some(front) = front {
        router = router.layer(from_fn_with_state(front.clone(), front::require));
    }
    let surroundings = Surroundings {
        clock,
        random,
        answered_before: Arc::default(),
    };
    gate(router).layer(from_fn_with_state(surroundings, identify))
}

/// What a request is named and timed by.
#[derive(Clone)]
struct Surroundings {
    clock: Arc<dyn Clock>,
    random: Arc<dyn RandomSource>,
    answered_before: Arc<AtomicBool>,
}

async fn not_found(uri: Uri) -> Problem {
    // The path alone: a query may hold what is nobody's business.
    tracing::debug!(path = uri.path(), "there is no such route");
    Code::NotFound.into()
}

async fn method_not_allowed(method: Method, headers: HeaderMap) -> Problem {
    // With allowed origins, preflights are answered before they come here.
    if method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        static WARNING: Once = Once::new();
        WARNING.call_once(|| {
            tracing::warn!(
                origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()),
                "a web page of another origin has asked to call the API and is refused: ALLOWED_ORIGINS is empty"
            );
        });
        return Problem::with_detail(
            Code::MethodNotAllowed,
            "No web page of another origin may call this API; the setting ALLOWED_ORIGINS names those that may.",
        );
    }
    Code::MethodNotAllowed.into()
}

/// How long a request may take. The function has 15 seconds (template.yaml), and a function that is cut off answers
/// with a 500 of API Gateway's. Each request to DynamoDB is bounded, and so is the number of repeated decisions, but
/// not their product: a slow DynamoDB full of conflicts could take a minute.
const LONGEST_REQUEST: Duration = Duration::from_secs(12);

/// Gives up in time to say so. What was asked for may or may not have been done, as with every 503.
async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(LONGEST_REQUEST, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a request took too long and was given up");
            Problem::from(Code::TemporarilyUnavailable).into_response()
        }
    }
}

/// The route that a reply comes from, for the log line.
#[derive(Clone)]
struct Route(MatchedPath);

async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(Route(route));
    }
    response
}

fn panicked(_: Box<dyn Any + Send + 'static>) -> Response {
    // The panic's own message may hold what a client sent; the hook in `telemetry` logs where it happened.
    tracing::error!("a request panicked");
    Problem::internal().into_response()
}

async fn identify(
    State(around): State<Surroundings>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = around.clock.now();
    let context = request.extensions().get::<LambdaContext>();
    let id = RequestId(match context {
        Some(context) => context.request_id.clone(),
        None => ChangeId::random(around.random.as_ref()).to_string(),
    });
    // Elsewhere a process starts once, and nobody waits for it.
    let first = context.is_some() && !around.answered_before.swap(true, Ordering::Relaxed);
    let span = invocation(&id.0, context);
    let method = request.method().clone();
    request.extensions_mut().insert(id.clone());
    let response = next.run(request).instrument(span.clone()).await;
    let _entered = span.enter();
    let response = with_security_headers(with_request_id(response, &id.0));
    let route = response.extensions().get::<Route>();
    let code = response
        .extensions()
        .get::<Problem>()
        .map(|problem| problem.code.as_str());
    tracing::info!(
        %method,
        route = route.map_or("none", |route| route.0.as_str()),
        status = response.status().as_u16(),
        code,
        milliseconds = (around.clock.now() - began).num_milliseconds(),
        cold_start = first.then_some(true),
        "answered"
    );
    response
}

/// Writes the body of a problem, which only now is known to which request it belongs.
fn with_request_id(response: Response, id: &str) -> Response {
    let mut response = match response.extensions().get::<Problem>() {
        Some(problem) => {
            let body = axum::Json(problem.body(id)).into_response().into_body();
            let (parts, _) = response.into_parts();
            Response::from_parts(parts, body)
        }
        None => response,
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

/// CORS is closed unless origins are allowed. No cookies are used, so credentials are never allowed.
fn cors(origins: &AllowedOrigins) -> Option<CorsLayer> {
    let origin = match origins {
        AllowedOrigins::None => return None,
        AllowedOrigins::These(origins) => AllowOrigin::list(origins.clone()),
    };
    let cors = CorsLayer::new()
        .allow_origin(origin)
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
        ])
        .expose_headers([
            HeaderName::from_static(REQUEST_ID_HEADER),
            RETRY_AFTER,
            WWW_AUTHENTICATE,
        ])
        .max_age(Duration::from_secs(3600));
    Some(cors)
}
