//! What a client can find out by itself: the published keys, the OpenAPI document, a page to read and try it.
//!
//! On AWS this function also has API Gateway's `$default` route, so it answers whatever no other route takes: see
//! [`default_routes`].

mod default_route;
mod docs;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use latchkey_api::app::{App, Service};
use latchkey_api::handler;
use latchkey_api::routes::Routes;
use utoipa::ToSchema;

use docs::{__path_page, page};

pub use default_route::default_routes;

/// The OpenAPI document of the whole service. A test of the whole generates it from the routers of all functions and
/// compares; it is a file because no function depends on another.
pub const OPENAPI_DOCUMENT: &str = include_str!("../openapi.json");

/// Documents may be kept for an hour: they change with a deployment only.
const CACHED_FOR_AN_HOUR: &str = "public, max-age=3600";

/// Keys may be kept for five minutes. A new key is published some time before it signs
/// ([`ANNOUNCED`](latchkey_api::token_keys::ANNOUNCED)), which must be longer than this: a verifier that holds an older
/// copy, its own or a proxy's, refuses new tokens for as long as that copy may live.
const CACHED_FOR_FIVE_MINUTES: &str = "public, max-age=300";

/// The routes of this function. What the documentation page is made of is not in the OpenAPI document.
pub fn routes<R: Routes<App<()>>>() -> R {
    R::none()
        .with(handler!(keys), &[])
        .with(handler!(document), &[])
        .with(handler!(page), &[])
        .with_undocumented(docs::ASSET_ROUTE, get(docs::asset))
        .with_undocumented("/", get(docs::from_root))
        .with_undocumented("/docs/", get(docs::from_slash))
}

/// The public keys (RFC 7517).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what jsonwebtoken writes")]
struct KeySet {
    /// The key that signs now, then those whose tokens are believed too: the one before it, or the one after it.
    keys: Vec<PublicKey>,
}

/// An Ed25519 public key (RFC 8037).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what jsonwebtoken writes")]
struct PublicKey {
    /// Names the key; its RFC 7638 thumbprint.
    #[schema(example = "hlLUWXSleyYsA967l4hJ9UxvS5xaoLUD6zt3VG6eKyE")]
    kid: String,
    /// Always `sig`: for signatures.
    #[schema(example = "sig")]
    r#use: String,
    /// Always `EdDSA`.
    #[schema(example = "EdDSA")]
    alg: String,
    /// Always `OKP`.
    #[schema(example = "OKP")]
    kty: String,
    /// Always `Ed25519`.
    #[schema(example = "Ed25519")]
    crv: String,
    /// The key itself, in base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: String,
}

/// Published keys
///
/// With these keys anybody can verify an access token. A token names its key by `kid`; one that is not there yet is in
/// the next copy.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "get_keys",
    tag = "Discovery",
    responses((status = OK, description = "The public keys", body = KeySet))
)]
async fn keys(State(service): State<Service>) -> impl IntoResponse {
    // `application/json` instead of RFC 7517's `application/jwk-set+json`: it is what the large providers send, and
    // some verifiers take nothing else.
    (
        [(CACHE_CONTROL, CACHED_FOR_FIVE_MINUTES)],
        Json(service.tokens.jwks(service.now()).await),
    )
}

/// This document
///
/// The description of all routes, for people and for generators of clients.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_openapi_document",
    tag = "Discovery",
    responses((
        status = OK,
        description = "The OpenAPI document",
        body = Object,
        example = json!({"openapi": "3.1.0", "info": {"title": "Latchkey", "version": "0.1.0"}, "paths": {}})
    ))
)]
async fn document() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, CACHED_FOR_AN_HOUR),
    ];
    (headers, OPENAPI_DOCUMENT)
}

#[cfg(test)]
mod tests;
