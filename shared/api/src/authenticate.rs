//! Who is calling: the bearer of an access token (RFC 6750 section 2.1).

use axum::extract::{FromRequest, FromRequestParts, Request};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use latchkey_domain::id::SessionId;
use latchkey_domain::token::Token;
use latchkey_service::{Caller, Core, SignOutToken};

use crate::body::{Body, RefreshTokenRequest};
use crate::credentials::{Transport, is_empty, session_of, with_browser};
use crate::headers;
use crate::problem::{Code, Problem};

/// The bearer of a genuine access token that has not expired and whose scope holds `account`. Whether the session is still live is for the use case to
/// ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bearer(pub Caller);

impl<S: AsRef<Core> + Send + Sync> FromRequestParts<S> for Bearer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let caller = authenticate(&parts.headers, state.as_ref()).await?;
        if caller.scope.account {
            Ok(Self(caller))
        } else {
            Err(Code::InsufficientScope.into())
        }
    }
}

/// The bearer of a genuine access token that has not expired, whatever its scope.
pub(crate) async fn authenticate(headers: &HeaderMap, core: &Core) -> Result<Caller, Problem> {
    let token = bearer_token(headers)?;
    core.authenticate(&token).await.map_err(|reason| {
        tracing::info!(reason = reason.to_string(), "access token refused");
        Code::InvalidToken.into()
    })
}

/// What a client signs out with: a refresh token in the body, or without a body the bearer's access token and the refresh
/// token of the cookie, of which the first that is genuine counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignOut {
    tokens: Vec<SignOutToken>,
    has_cookie: bool,
}

impl SignOut {
    /// The tokens, the one that comes first first.
    #[must_use]
    pub fn tokens(&self) -> &[SignOutToken] {
        &self.tokens
    }

    /// How the reply travels: a cookie of the session that has ended goes, whichever token has ended it, and so does one
    /// that ends nothing. One of another session stays.
    pub async fn transport(&self, ended: Option<SessionId>, core: &Core) -> Transport {
        let (Some(SignOutToken::Refresh(token)), true) = (self.tokens.last(), self.has_cookie)
        else {
            return Transport::Body;
        };
        match ended {
            Some(ended) if session_of(token, core).await != Some(ended) => Transport::Body,
            Some(_) | None => Transport::Cookie,
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for SignOut {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_empty(request.body()) {
            let Body(body) = Body::<RefreshTokenRequest>::from_request(request, state).await?;
            return Ok(Self {
                tokens: vec![SignOutToken::Refresh(body.refresh_token)],
                has_cookie: false,
            });
        }
        let (browser, request) = with_browser(request, state).await;
        let bearer = bearer_token(request.headers()).ok();
        let cookie = match &bearer {
            // Another page's cookie is no reason to refuse who shows a token.
            Some(_) => browser.refresh_token().ok().flatten(),
            None => browser.refresh_token()?,
        };
        let has_cookie = cookie.is_some();
        let bearer = bearer.map(SignOutToken::Access).into_iter();
        let tokens: Vec<_> = bearer.chain(cookie.map(SignOutToken::Refresh)).collect();
        if tokens.is_empty() {
            return Err(Problem::invalid_request(
                "Send a refresh_token in the body, or an access token in the Authorization header.",
            ));
        }
        Ok(Self { tokens, has_cookie })
    }
}

fn bearer_token(headers: &HeaderMap) -> Result<Token, Problem> {
    let mut values = headers::values(headers, AUTHORIZATION.as_str()).iter();
    let value = values.next().ok_or_else(Problem::missing_token)?;
    if values.next().is_some() {
        return Err(Code::InvalidToken.into());
    }
    let value = value
        .to_str()
        .map_err(|_| Problem::from(Code::InvalidToken))?;
    token_of_bearer(value).ok_or_else(Problem::missing_token)
}

/// The token in the value of an `Authorization` header, if its scheme is `Bearer`, in any letter case.
#[must_use]
pub fn token_of_bearer(value: &str) -> Option<Token> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| Token::new(token.trim().to_owned()))
}
