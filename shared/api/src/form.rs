//! Form bodies, which only OAuth's endpoints take: `application/x-www-form-urlencoded` of at most 16 KiB.

use std::collections::BTreeSet;

use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use latchkey_domain::token::Token;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use crate::body;
use crate::problem::{Code, Problem};

/// A body that is a form. As RFC 6749 section 3.2 has it, a parameter without a value counts as left out, one that is
/// not known is ignored, and one that stands there twice is refused.
#[derive(Debug)]
pub struct Form<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Form<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let of_another_type = Problem::from(Code::UnsupportedMediaType)
            .with_detail("Send the body as application/x-www-form-urlencoded.");
        let bytes = body::read(request, is_form, of_another_type).await?;
        parse(&bytes).map(Self)
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    body::media_type(headers)
        .is_some_and(|essence| essence.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut seen = BTreeSet::new();
    let mut given = Vec::new();
    for (name, value) in form_urlencoded::parse(bytes) {
        if !seen.insert(name.clone()) {
            return Err(Problem::invalid_request("A parameter stands there twice."));
        }
        // RFC 6749 section 2.3: one way of authentication in each request, and here it is HTTP Basic.
        if matches!(&*name, "client_secret" | "client_assertion") {
            return Err(Problem::invalid_request(
                "Send the client's credentials by HTTP Basic, not in the body.",
            ));
        }
        if !value.is_empty() {
            given.push((name, value));
        }
    }
    let given = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(given)
        .finish();
    serde_urlencoded::from_str(&given).map_err(|error| {
        let message = error.to_string();
        let missing = message.strip_prefix("missing field `");
        let field = missing.and_then(|rest| rest.split_once('`'));
        match field {
            // A name of ours, so it can be shown.
            Some((field, _)) => {
                Problem::invalid_request(format!("The parameter {field} is missing."))
            }
            None => Problem::invalid_request("A parameter has a value that is not allowed."),
        }
    })
}

/// What a service asks about a token, or wants ended (RFC 7662 section 2.1, RFC 7009 section 2.1).
#[derive(Debug, Deserialize, ToSchema)]
pub struct TokenRequest {
    /// An access token or a refresh token.
    #[schema(value_type = String, min_length = 1, example = "eyJ0eXAiOiJhdCtqd3Qi...")]
    pub token: Token,
    /// `access_token` or `refresh_token`. A token says itself which it is, so this changes nothing.
    #[schema(required = false, nullable = false, example = "access_token")]
    pub token_type_hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &[u8]) -> Result<(String, Option<String>), Problem> {
        parse::<TokenRequest>(form).map(|request| {
            let token = request.token.expose().to_owned();
            (token, request.token_type_hint)
        })
    }

    #[test]
    fn parameters_are_read_as_oauth_has_it() {
        for (form, token, hint) in [
            (&b"token=a.b.c"[..], "a.b.c", None),
            (
                b"token=a%2Eb+c&token_type_hint=refresh_token",
                "a.b c",
                Some("refresh_token"),
            ),
            (b"token_type_hint=&token=x&other=1&another", "x", None),
            (b"&&token=x&", "x", None),
            (b"token=%ff", "\u{fffd}", None),
            (b"token=a=b", "a=b", None),
        ] {
            let expected = (token.to_owned(), hint.map(str::to_owned));
            assert_eq!(read(form), Ok(expected));
        }
    }

    #[test]
    fn what_is_missing_or_doubled_is_refused() {
        for wrong in [
            &b""[..],
            b"token",
            b"token=",
            b"Token=x",
            b"token_type_hint=access_token",
            b"token=x&token=x",
            b"token=x&token=",
            b"token=x&other=1&other=2",
            b"token=x&client_secret=y",
            b"{\"token\": \"x\"}",
            b"\0",
            b"\xff\xfe",
        ] {
            assert_eq!(
                read(wrong).unwrap_err().code,
                Code::InvalidRequest,
                "{wrong:?}"
            );
        }
    }
}
