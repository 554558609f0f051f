//! What a verifier asks for when it only knows the issuer: OpenID Connect Discovery 1.0 and RFC 8414.
//!
//! Both say only what is true. Latchkey has no authorization endpoint and no token endpoint, and issues no ID tokens, so
//! members that these specifications require of a server that has them are missing: infra/guides/understand/quirks.md.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use latchkey_api::problem::Problem;
use latchkey_api::public_document::PublicDocument;
use latchkey_service::Core;
use serde::Serialize;
use utoipa::ToSchema;

use crate::default_route::is_served;
use crate::{CACHED_FOR_FIVE_MINUTES, JSON, json};

const JWKS: &str = "/.well-known/jwks.json";
const INTROSPECTION: &str = "/oauth/introspect";
const REVOCATION: &str = "/oauth/revoke";

/// How a client shows who it is at the endpoints for clients (RFC 6749 section 2.3.1).
const CLIENT_AUTHENTICATION: [&str; 1] = ["client_secret_basic"];

/// What this service says about itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct Metadata {
    /// The `iss` of all tokens, character by character.
    issuer: String,
    /// Where the keys are that verify access tokens.
    jwks_uri: String,
    /// The scopes that access tokens for this API have.
    scopes_supported: [&'static str; 2],
    /// Always `public`: `sub` is the same for every client. In the OpenID document only.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_types_supported: Option<[&'static str; 1]>,
    /// Where another service asks whether a token is valid (RFC 7662).
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint: Option<String>,
    /// How it shows who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    introspection_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
    /// Where another service ends a session by its token (RFC 7009).
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    /// How it shows who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_endpoint_auth_methods_supported: Option<[&'static str; 1]>,
}

impl Metadata {
    /// What every reader of it needs. An endpoint is named if there is a route for it.
    fn of(issuer: String) -> Self {
        // A slash at the end of the issuer is left before what is appended (OpenID Connect Discovery section 4).
        let base = issuer.strip_suffix('/').unwrap_or(&issuer);
        let endpoint = |path: &str| is_served(path).then(|| format!("{base}{path}"));
        let [introspection_endpoint, revocation_endpoint] =
            [INTROSPECTION, REVOCATION].map(endpoint);
        let authentication = |endpoint: &Option<String>| {
            let is_there = endpoint.is_some();
            is_there.then_some(CLIENT_AUTHENTICATION)
        };
        Self {
            jwks_uri: format!("{base}{JWKS}"),
            scopes_supported: ["account", "admin"],
            subject_types_supported: None,
            introspection_endpoint_auth_methods_supported: authentication(&introspection_endpoint),
            introspection_endpoint,
            revocation_endpoint_auth_methods_supported: authentication(&revocation_endpoint),
            revocation_endpoint,
            issuer,
        }
    }

    fn reply_to(&self, request: &HeaderMap) -> Result<Response, Problem> {
        let document = PublicDocument {
            content_type: JSON,
            caching: CACHED_FOR_FIVE_MINUTES,
            plain: json(self)?.into(),
            gzip: None,
            brotli: None,
        };
        Ok(document.reply_to(request))
    }
}

/// OpenID discovery document
///
/// Where the keys are, for libraries and gateways that only know the issuer (OpenID Connect Discovery 1.0). Latchkey
/// issues no ID tokens and has no authorization endpoint, so the members about these are missing. Any page may read it.
#[utoipa::path(
    get,
    path = "/.well-known/openid-configuration",
    operation_id = "get_openid_configuration",
    tag = "Discovery",
    responses(
        (status = OK, description = "The document", body = Metadata,
            headers(("ETag" = String, description = "Names this copy")),
            example = json!({
                "subject_types_supported": ["public"],
                "issuer": "https://auth.example.com",
                "jwks_uri": "https://auth.example.com/.well-known/jwks.json",
                "scopes_supported": ["account", "admin"],
            })),
        (status = NOT_MODIFIED, description = "You have the newest copy")
    )
)]
pub(crate) async fn openid_configuration(
    State(core): State<Core>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let metadata = Metadata {
        subject_types_supported: Some(["public"]),
        ..Metadata::of(core.tokens.issuer())
    };
    metadata.reply_to(&request)
}

/// Authorization server metadata
///
/// The same in the form of RFC 8414. If the issuer has a path, the document is also at the address that RFC 8414 section 3
/// makes of it, with the path behind the well-known one: `/.well-known/oauth-authorization-server/path`.
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    operation_id = "get_authorization_server_metadata",
    tag = "Discovery",
    responses(
        (status = OK, description = "The document", body = Metadata,
            headers(("ETag" = String, description = "Names this copy")),
            example = json!({
                "issuer": "https://auth.example.com",
                "jwks_uri": "https://auth.example.com/.well-known/jwks.json",
                "scopes_supported": ["account", "admin"],
            })),
        (status = NOT_MODIFIED, description = "You have the newest copy")
    )
)]
pub(crate) async fn authorization_server(
    State(core): State<Core>,
    request: HeaderMap,
) -> Result<Response, Problem> {
    Metadata::of(core.tokens.issuer()).reply_to(&request)
}
