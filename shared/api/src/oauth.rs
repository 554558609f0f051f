//! OAuth's own forms: its errors, and what introspection answers.
//!
//! An error is a [`Problem`] here as everywhere, and is put into OAuth's form where replies leave the service, so that
//! whatever refuses a request to these endpoints, its client finds the members that its library looks for.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use latchkey_domain::token::{AccessClaims, RefreshClaims};
use latchkey_service::ActiveToken;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problem::{Code, Problem};

/// The endpoints whose errors have OAuth's form. Under the base path, if there is one.
const ENDPOINTS: [&str; 2] = ["/oauth/introspect", "/oauth/revoke"];

/// Whether a path may be one of the endpoints.
pub(crate) fn is_endpoint(path: &str) -> bool {
    ENDPOINTS.iter().any(|endpoint| path.ends_with(endpoint))
}

/// An error of an OAuth endpoint (RFC 6749 section 5.2).
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct OAuthErrorBody {
    /// What to decide by.
    #[schema(example = "invalid_client")]
    error: &'static str,
    /// What it means here, for people.
    #[schema(example = "Send the client id and one of its secrets by HTTP Basic.")]
    error_description: String,
}

/// Which error of OAuth a problem is, and its status.
pub(crate) fn error_of(code: Code) -> (StatusCode, &'static str) {
    // RFC 6749 section 5.2: 400 unless the section says otherwise.
    if code == Code::UnauthorizedClient {
        return (StatusCode::BAD_REQUEST, "unauthorized_client");
    }
    let status = code.status();
    let error = match status {
        StatusCode::UNAUTHORIZED => "invalid_client",
        StatusCode::FORBIDDEN => "access_denied",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            "temporarily_unavailable"
        }
        status if status.is_server_error() => "server_error",
        _ => "invalid_request",
    };
    (status, error)
}

/// A problem in OAuth's form.
pub(crate) fn body_of(problem: &Problem) -> OAuthErrorBody {
    let (_, error) = error_of(problem.code);
    // RFC 6749 section 5.2: no quotation mark, no backslash, nothing but ASCII.
    let allowed = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    OAuthErrorBody {
        error,
        error_description: problem.detail().chars().filter(allowed).collect(),
    }
}

/// A reply whose error has OAuth's form already.
#[derive(Clone, Copy, Debug)]
struct InItsForm;

/// Puts the error of an endpoint into OAuth's form. A path that is no route is nobody's endpoint.
pub(crate) fn in_its_form(response: Response) -> Response {
    let problem = response.extensions().get::<Problem>();
    let Some(problem) = problem.filter(|problem| problem.code != Code::NotFound) else {
        return response;
    };
    let (status, _) = error_of(problem.code);
    let (of_error, body) = axum::Json(body_of(problem)).into_response().into_parts();
    let (mut parts, _) = response.into_parts();
    parts.status = status;
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.extend(of_error.headers);
    parts.extensions.insert(InItsForm);
    Response::from_parts(parts, body)
}

/// Whether [`in_its_form`] has written the body of a reply.
pub(crate) fn has_its_form(response: &Response) -> bool {
    response.extensions().get::<InItsForm>().is_some()
}

/// What introspection answers (RFC 7662 section 2.2): of a token that is not active, nothing but that.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Introspection)]
pub struct IntrospectionResponse {
    /// Whether the token is genuine, has not expired, and its session is live; a refresh token must be the newest one
    /// too.
    #[schema(example = true)]
    active: bool,
    /// What an access token allows: words divided by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "account")]
    scope: Option<String>,
    /// The application that an access token was issued to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "latchkey-app")]
    client_id: Option<String>,
    /// `Bearer` for an access token. A refresh token has none: it opens no API.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "Bearer")]
    token_type: Option<&'static str>,
    /// The moment from which the token is invalid, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = 1_772_367_300)]
    exp: Option<i64>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = 1_772_366_400)]
    iat: Option<i64>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        required = false,
        nullable = false,
        example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11"
    )]
    sub: Option<Uuid>,
    /// For whom the token is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "latchkey")]
    aud: Option<String>,
    /// Who issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        required = false,
        nullable = false,
        example = "https://auth.example.com"
    )]
    iss: Option<String>,
    /// Names the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        required = false,
        nullable = false,
        example = "8f2c7c1e-2c1b-4b6e-9a55-0d3f6f0f5a51"
    )]
    jti: Option<String>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        required = false,
        nullable = false,
        example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11"
    )]
    sid: Option<Uuid>,
    /// When the user last proved who they are, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = 1_772_366_400)]
    auth_time: Option<i64>,
    /// How the user proved it (RFC 8176); of an access token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = json!(["pwd"]))]
    amr: Option<Vec<String>>,
}

impl From<Option<ActiveToken>> for IntrospectionResponse {
    fn from(token: Option<ActiveToken>) -> Self {
        match token {
            None => Self::default(),
            Some(ActiveToken::Access(claims)) => claims.into(),
            Some(ActiveToken::Refresh {
                claims,
                authenticated_at,
            }) => Self {
                auth_time: authenticated_at.map(|at| at.timestamp()),
                ..claims.into()
            },
        }
    }
}

impl From<AccessClaims> for IntrospectionResponse {
    fn from(claims: AccessClaims) -> Self {
        Self {
            active: true,
            scope: (!claims.scope.is_empty()).then(|| claims.scope.to_string()),
            client_id: Some(claims.client_id),
            token_type: Some("Bearer"),
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            sub: Some(claims.sub.as_uuid()),
            aud: Some(claims.aud),
            iss: Some(claims.iss),
            jti: Some(claims.jti),
            sid: Some(claims.sid.as_uuid()),
            auth_time: Some(claims.auth_time),
            amr: Some(claims.amr),
        }
    }
}

impl From<RefreshClaims> for IntrospectionResponse {
    fn from(claims: RefreshClaims) -> Self {
        Self {
            active: true,
            exp: Some(claims.exp),
            iat: Some(claims.iat),
            sub: Some(claims.sub.as_uuid()),
            aud: Some(claims.aud),
            iss: Some(claims.iss),
            jti: Some(claims.jti.to_string()),
            sid: Some(claims.sid.as_uuid()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_no_characters_that_oauth_forbids() {
        let problem = Problem::invalid_request("The \"x\\y\" \u{e9}\n is unknown.");
        let body = body_of(&problem);
        assert_eq!(body.error, "invalid_request");
        assert_eq!(body.error_description, "The xy  is unknown.");
    }

    #[test]
    fn each_problem_is_an_error_of_oauth() {
        for (code, status, error) in [
            (Code::InvalidRequest, 400, "invalid_request"),
            (Code::InvalidClient, 401, "invalid_client"),
            (Code::UnauthorizedClient, 400, "unauthorized_client"),
            (Code::UnsupportedMediaType, 415, "invalid_request"),
            (Code::MethodNotAllowed, 405, "invalid_request"),
            (Code::EdgeRequired, 403, "access_denied"),
            (Code::InternalError, 500, "server_error"),
            (Code::TemporarilyUnavailable, 503, "temporarily_unavailable"),
        ] {
            let expected = (StatusCode::from_u16(status).unwrap(), error);
            assert_eq!(error_of(code), expected);
        }
    }
}
