//! Who is calling: the bearer of an access token (RFC 6750 section 2.1).

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use latchkey_domain::token::Token;
use latchkey_service::{Caller, Core};

use crate::headers;
use crate::problem::{Code, Problem};

/// The bearer of a genuine access token that has not expired. Whether the session is still live is for the use case to
/// ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer(pub Caller);

impl<S: AsRef<Core> + Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer_token(parts)?;
        match state.as_ref().authenticate(&token).await {
            Ok(caller) => Ok(Self(caller)),
            Err(reason) => {
                tracing::info!(%reason, "access token refused");
                Err(Code::InvalidToken.into())
            }
        }
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
