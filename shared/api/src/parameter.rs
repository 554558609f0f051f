//! Parameters of paths and queries.

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use latchkey_domain::id::SessionId;
use serde::de::DeserializeOwned;

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
            .and_then(|Path(id)| id.parse().ok())
            .map(Self)
            .ok_or_else(|| Problem::invalid_request("The session id in the path is not a UUID."))
    }
}

/// The parameters of a query. Those that are not known are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryParameters<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for QueryParameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(parameters) = Query::from_request_parts(parts, state).await.map_err(|_| {
            Problem::invalid_request(
                "A query parameter is given twice or has a value that is not allowed.",
            )
        })?;
        Ok(Self(parameters))
    }
}
