//! Who is calling: the bearer of an access token (RFC 6750 section 2.1).

use axum::extract::{FromRef, FromRequestParts};
use http::header::AUTHORIZATION;
use http::request::Parts;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::token::Token;

use crate::app::Service;
use crate::headers;
use crate::problem::{Code, Problem};

/// The bearer of a genuine access token that has not expired.
///
/// Whether the session is still live is the account's to say, strongly consistent: a handler must ask it before it
/// does anything (`Account::authorize` or the live rule).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: UserId,
    /// The session that the token belongs to.
    pub session_id: SessionId,
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Service: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer_token(parts)?;
        let service = Service::from_ref(state);
        let claims = service
            .tokens
            .verify_access(&token, service.now())
            .await
            .map_err(|error| {
                tracing::info!(reason = %error, "access token refused");
                Problem::from(Code::InvalidToken)
            })?;
        Ok(Self {
            user_id: claims.sub,
            session_id: claims.sid,
        })
    }
}

fn bearer_token(parts: &Parts) -> Result<Token, Problem> {
    let mut values = headers::values(&parts.headers, AUTHORIZATION.as_str()).iter();
    let value = values.next().ok_or_else(Problem::missing_token)?;
    if values.next().is_some() {
        return Err(Code::InvalidToken.into());
    }
    let value = value
        .to_str()
        .map_err(|_| Problem::from(Code::InvalidToken))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Problem::missing_token());
    }
    Ok(Token::new(token.trim().to_owned()))
}
