//! Parameters of paths and queries.

use axum::extract::{FromRequestParts, Path, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use latchkey_domain::id::{SessionId, UserId};
use serde::de::DeserializeOwned;

use crate::body::shorten;
use crate::mistake::Mistake;
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

/// What becomes of the parameters of a request's query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// There are none: a request that has some is refused.
    Refused,
    /// The handler has a [`QueryParameters`], which refuses those it does not know.
    Read,
    /// They are ignored: public documents, to whose addresses people add something so that no cache answers.
    Ignored,
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
        let mut note_unknown = |path: serde_ignored::Path<'_>| unknown = Some(path.to_string());
        let parameters = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(
            serde_urlencoded::Deserializer::new(pairs),
            &mut note_unknown,
        ));
        if let Some(name) = unknown {
            let name = shorten(&name);
            return Err(Problem::invalid_request(format!(
                "The query parameter {name} is not known."
            )));
        }
        parameters.map(Self).map_err(|error| {
            let (name, message) = (error.path().to_string(), error.inner().to_string());
            query_problem(&shorten(&name), &message)
        })
    }
}

/// What is wrong with a query. `name` is the parameter that was being read, if one was.
fn query_problem(name: &str, message: &str) -> Problem {
    Problem::invalid_request(match Mistake::in_message(message) {
        Some(Mistake::Missing(name)) => format!("The query parameter {name} is missing."),
        Some(Mistake::Twice(name)) => format!("The query parameter {name} is there twice."),
        Some(Mistake::Expected(what)) => format!("The query parameter {name} must be {what}."),
        None => format!("The query parameter {name} has a value that is not allowed."),
    })
}

/// Around each handler that reads no query: a request with query parameters is refused.
pub(crate) async fn refuse_query(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    if form_urlencoded::parse(query.as_bytes()).next().is_some() {
        return Problem::invalid_request("This route takes no query parameters.").into_response();
    }
    next.run(request).await
}
