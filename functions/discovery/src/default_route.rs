//! API Gateway's `$default` route: what no other route takes.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::header::ALLOW;
use axum::routing::any;
use latchkey_api::problem::{Code, Problem};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::OPENAPI_DOCUMENT;

/// The paths that this function serves itself.
const OWN_PATHS: [&str; 3] = ["/.well-known/jwks.json", "/openapi.json", "/docs"];

/// The keys of a path item that are methods, among those that this service uses.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The part of the OpenAPI document that says which methods a path takes. The rest is skipped, not built, because this
/// is read at every start.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    paths: BTreeMap<&'a str, BTreeMap<&'a str, IgnoredAny>>,
}

/// The routes of the other functions, for methods that they do not take: 405 and `Allow`. What is no route at all is
/// left to [`latchkey_api::http::service`].
///
/// Only for Lambda, where such requests come here by way of API Gateway's `$default` route; a router that holds all
/// functions answers them by itself.
pub fn default_routes() -> Router {
    let document: Document<'_> = match serde_json::from_str(OPENAPI_DOCUMENT) {
        Ok(document) => document,
        Err(error) => {
            // A test reads it too. If it could happen, 404 instead of 405 would be the lesser harm.
            tracing::error!(%error, "the embedded OpenAPI document cannot be read");
            return Router::new();
        }
    };
    let others = document
        .paths
        .iter()
        .filter(|(path, _)| !OWN_PATHS.contains(path));
    others.fold(Router::new(), |router, (path, item)| {
        let methods: Vec<String> = METHODS
            .iter()
            .filter(|method| item.contains_key(*method))
            .map(|method| method.to_ascii_uppercase())
            .collect();
        let allow = methods.join(",");
        let refuse = async move || ([(ALLOW, allow)], Problem::from(Code::MethodNotAllowed));
        router.route(path, any(refuse))
    })
}
