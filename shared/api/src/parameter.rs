//! Parameters of paths and queries.

use axum::extract::{FromRequestParts, Path, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use latchkey_domain::id::{SessionId, UserId};
use serde::de::DeserializeOwned;

use crate::body::shown;
use crate::problem::Problem;

/// The session that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPath(pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Path::<String>::from_request_parts(parts, state)
            .await
            .ok()
            .and_then(|Path(id)| SessionId::parse_any_case(&id).ok())
            .map(Self)
            .ok_or_else(|| {
                Problem::invalid_request("The session id in the path is not a UUID with hyphens.")
            })
    }
}

/// The user that a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserPath(pub UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id = Path::<String>::from_request_parts(parts, state).await.ok();
        id.and_then(|Path(id)| UserId::parse_any_case(&id).ok())
            .map(Self)
            .ok_or_else(|| {
                Problem::invalid_request("The user id in the path is not a UUID with hyphens.")
            })
    }
}

/// The user that a path names, and one of the user's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserSessionPath(pub UserId, pub SessionId);

impl<S: Send + Sync> FromRequestParts<S> for UserSessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let ids = Path::<(String, String)>::from_request_parts(parts, state).await;
        let ids = ids.ok().and_then(|Path((user, session))| {
            let user = UserId::parse_any_case(&user).ok()?;
            Some(Self(user, SessionId::parse_any_case(&session).ok()?))
        });
        ids.ok_or_else(|| Problem::invalid_request("An id in the path is not a UUID with hyphens."))
    }
}

/// The parameters of a query. One that is not known is refused: a misspelt parameter must not leave something else
/// done than what was asked for.
///
/// The handler's route says so by [`Described::reading_query`](crate::routes::Described::reading_query).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryParameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        let mut unknown = None;
        let parameters =
            serde_ignored::deserialize(serde_urlencoded::Deserializer::new(pairs), |path| {
                unknown = Some(path.to_string());
            });
        if let Some(name) = unknown {
            let name = shown(&name);
            return Err(Problem::invalid_request(format!(
                "The query parameter {name} is not known."
            )));
        }
        parameters.map(Self).map_err(|_| {
            Problem::invalid_request(
                "A query parameter is missing, is given twice or has a value that is not allowed.",
            )
        })
    }
}

/// Around each handler that reads no query: a request with query parameters is refused.
pub(crate) async fn refuse_query(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if form_urlencoded::parse(query.as_bytes()).next().is_some() {
        return Problem::invalid_request("This route takes no query parameters.").into_response();
    }
    next.run(request).await
}
