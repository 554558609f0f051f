//! API Gateway's `$default` route: what no other route takes.

use axum::Router;
use axum::http::header::ALLOW;
use axum::routing::any;
use latchkey_api::problem::{Code, Problem};

/// The paths that this function serves itself.
const OWN_PATHS: [&str; 6] = [
    "/.well-known/change-password",
    "/.well-known/jwks.json",
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/openapi.json",
    "/docs",
];

/// The paths of the OpenAPI document and their methods, as `Allow` names them. `build.rs` makes it.
const PATHS: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/routes.rs"));

/// Whether the service has a route with a path.
pub(crate) fn is_served(path: &str) -> bool {
    PATHS.iter().any(|(served, _)| *served == path)
}

/// The routes of the other functions, for methods that they do not take: 405 and `Allow`. What is no route at all is
/// left to [`latchkey_api::http::service`].
///
/// Only for Lambda, where such requests come here by way of API Gateway's `$default` route. A router that holds all
/// functions answers them without this.
pub fn default_routes() -> Router {
    let others = PATHS.iter().filter(|(path, _)| !OWN_PATHS.contains(path));
    others.fold(Router::new(), |router, (path, allow)| {
        let refuse = async move || ([(ALLOW, *allow)], Problem::from(Code::MethodNotAllowed));
        router.route(path, any(refuse))
    })
}
