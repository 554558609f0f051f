//! What a client can find out by itself: the published keys, the OpenAPI document, a page to read and try it.
//!
//! On AWS this function also has API Gateway's `$default` route, so it answers whatever no other route takes: see
//! [`default_routes`].

mod change_password;
mod default_route;
mod docs;
mod metadata;

use axum::extract::{OriginalUri, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use latchkey_api::handler;
use latchkey_api::own_pages::from_root;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::public_document::PublicDocument;
use latchkey_api::routes::Routes;
use latchkey_service::Core;
use serde::Serialize;
use utoipa::ToSchema;

use change_password::{__path_change_password, change_password};
use docs::{__path_page, page};
use metadata::{
    __path_authorization_server, __path_openid_configuration, authorization_server,
    openid_configuration,
};

pub use default_route::default_routes;

/// The OpenAPI document of the whole service. A test of the whole generates it from the routers of all functions and
/// compares; it is a file because no function depends on another.
pub const OPENAPI_DOCUMENT: &str = include_str!("../openapi.json");

/// The same in gzip.
const OPENAPI_GZIP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.gz"));

/// Where the OpenAPI document is, under the base path.
const OPENAPI_PATH: &str = "/openapi.json";

/// The server in the committed document: the root of the origin that it comes from.
const SERVER_AT_ROOT: &str = r#""url": "/""#;

/// What the documents are.
const JSON: &str = "application/json";

/// Documents may be kept for an hour: they change with a deployment only.
const CACHED_FOR_AN_HOUR: &str = "public, max-age=3600";

/// Keys may be kept for five minutes. A new key is published long before it signs (`latchkey_domain::token::ANNOUNCED`):
/// a verifier that holds an older copy, its own or a proxy's, refuses new tokens for as long as that copy may live.
const CACHED_FOR_FIVE_MINUTES: &str = "public, max-age=300";

/// The routes of this function. What the documentation page is made of is not in the OpenAPI document.
pub fn routes<R: Routes<Core>>() -> R {
    R::new()
        .route(handler!(keys).ignoring_query(), &[])
        .route(handler!(openid_configuration).ignoring_query(), &[])
        .route(handler!(authorization_server).ignoring_query(), &[])
        .route(handler!(document).ignoring_query(), &[])
        .route(handler!(page).ignoring_query(), &[])
        .route(
            handler!(change_password).ignoring_query(),
            &[Code::NotFound],
        )
        .route_undocumented(docs::ASSET_ROUTE, get(docs::asset))
        .route_undocumented("/", get(from_root))
        .route_undocumented("/docs/", get(docs::from_slash))
}

/// The public keys (RFC 7517).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what jsonwebtoken writes")]
struct KeySet {
    /// The key that signs now, then those whose tokens are accepted too: those before it, and the next one.
    keys: Vec<PublicKey>,
}

/// A public key: of Ed25519, or of RSA if the setting `TOKEN_ALGORITHM` is or was `RS256`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes what jsonwebtoken writes")]
enum PublicKey {
    Ed25519(Ed25519Key),
    Rsa(RsaKey),
}

/// An Ed25519 public key (RFC 8037).
#[derive(Serialize, ToSchema)]
struct Ed25519Key {
    /// Names the key; its RFC 7638 thumbprint.
    #[schema(example = "hlLUWXSleyYsA967l4hJ9UxvS5xaoLUD6zt3VG6eKyE")]
    kid: String,
    /// Always `sig`: for signatures.
    #[schema(example = "sig")]
    r#use: String,
    /// Always `EdDSA`: the only algorithm that this key verifies.
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

/// An RSA public key (RFC 7518 section 6.3.1).
#[derive(Serialize, ToSchema)]
struct RsaKey {
    /// Names the key; its RFC 7638 thumbprint.
    #[schema(example = "hlLUWXSleyYsA967l4hJ9UxvS5xaoLUD6zt3VG6eKyE")]
    kid: String,
    /// Always `sig`: for signatures.
    #[schema(example = "sig")]
    r#use: String,
    /// Always `RS256`: the only algorithm that this key verifies.
    #[schema(example = "RS256")]
    alg: String,
    /// Always `RSA`.
    #[schema(example = "RSA")]
    kty: String,
    /// The modulus, in base64url.
    #[schema(example = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM")]
    n: String,
    /// The exponent, in base64url.
    #[schema(example = "AQAB")]
    e: String,
}

/// Published keys
///
/// With these keys anybody can verify an access token. A token names its key by `kid`; one that is not there yet is in
/// the next copy. Any page may read them. Send the `ETag` as `If-None-Match` to ask whether they have changed.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "get_keys",
    tag = "Discovery",
    responses(
        (status = OK, description = "The public keys", body = KeySet,
            headers(("ETag" = String, description = "Names this copy"))),
        (status = NOT_MODIFIED, description = "You have the newest copy")
    )
)]
async fn keys(State(core): State<Core>, request: HeaderMap) -> Result<Response, Problem> {
    let keys = core.tokens.jwks(core.now()).await;
    // `application/json` instead of RFC 7517's `application/jwk-set+json`: it is what the large providers send, and
    // some verifiers take nothing else.
    let document = PublicDocument {
        content_type: JSON,
        caching: CACHED_FOR_FIVE_MINUTES,
        plain: json(&keys)?.into(),
        gzip: None,
        brotli: None,
    };
    Ok(document.reply_to(&request))
}

fn json(document: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(document).map_err(|error| {
        tracing::error!(%error, "a document could not be written");
        Problem::internal()
    })
}

/// This document
///
/// The description of all routes, for people and for generators of clients. Any page may read it.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "get_openapi_document",
    tag = "Discovery",
    responses(
        (
            status = OK,
            description = "The OpenAPI document",
            body = Object,
            headers(("ETag" = String, description = "Names this copy")),
            example = json!({"openapi": "3.1.0", "info": {"title": "Latchkey", "version": "0.1.0"}, "paths": {}})
        ),
        (status = NOT_MODIFIED, description = "You have the newest copy")
    )
)]
async fn document(OriginalUri(asked_for): OriginalUri, request: HeaderMap) -> Response {
    let base_path = asked_for.path().strip_suffix(OPENAPI_PATH);
    let (plain, gzip) = match base_path {
        None | Some("") => (OPENAPI_DOCUMENT.as_bytes().into(), Some(OPENAPI_GZIP)),
        Some(base_path) => (document_under(base_path).into_bytes().into(), None),
    };
    let document = PublicDocument {
        content_type: JSON,
        caching: CACHED_FOR_AN_HOUR,
        plain,
        gzip,
        brotli: None,
    };
    document.reply_to(&request)
}

/// The document of an API that is not at the root of its origin.
fn document_under(base_path: &str) -> String {
    let server = format!(r#""url": "{base_path}""#);
    OPENAPI_DOCUMENT.replacen(SERVER_AT_ROOT, &server, 1)
}

#[cfg(test)]
mod tests;
