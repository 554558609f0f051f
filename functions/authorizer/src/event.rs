//! What API Gateway sends to an authorizer, as far as it matters here.
//!
//! Not the type of `aws_lambda_events`: it cannot read an event with a header that is not ASCII, so any client could turn
//! its request into an error of this function.

use latchkey_api::authenticate::token_of_bearer;
use latchkey_domain::token::Token;
use serde::Deserialize;
use serde_json::Value;

/// An event in payload format 2.0. No `Debug`, because it holds a token.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Another format wants another answer, so an event of it is an error.
    #[serde(rename = "version")]
    _version: Version,
    // Of any type, because an error of the parser would quote the token.
    #[serde(default)]
    identity_source: Value,
    #[serde(default)]
    headers: Value,
}

#[derive(Clone, Copy, Deserialize)]
enum Version {
    #[serde(rename = "2.0")]
    Two,
}

impl Event {
    /// The access token of the request (RFC 6750 section 2.1); none if there is not exactly one.
    ///
    /// API Gateway caches an answer by the identity sources. So the header must be among them, if there are any: the
    /// answer to one token would otherwise be given to requests with another.
    #[must_use]
    pub fn bearer_token(&self) -> Option<Token> {
        let headers = self.headers.as_object().into_iter().flatten();
        let mut values = headers
            .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value);
        let (value, None) = (values.next()?, values.next()) else {
            return None;
        };
        let sources = self.identity_source.as_array();
        if sources.is_some_and(|sources| !sources.is_empty() && !sources.contains(value)) {
            tracing::warn!(
                "$request.header.Authorization is not an identity source of the authorizer, so the request is denied"
            );
            return None;
        }
        token_of_bearer(value.as_str()?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(headers: &Value, sources: &Value) -> Option<String> {
        let event = json!({"version": "2.0", "headers": headers, "identitySource": sources});
        let event: Event = serde_json::from_value(event).unwrap();
        event.bearer_token().map(|token| token.expose().to_owned())
    }

    #[test]
    fn the_scheme_and_the_name_of_the_header_are_read_in_any_case() {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            for name in ["authorization", "Authorization"] {
                let value = format!("{scheme} x");
                let headers = json!({name: value, "x-name": "\u{e9}"});
                assert_eq!(token(&headers, &json!([value])).as_deref(), Some("x"));
            }
        }
    }

    #[test]
    fn without_exactly_one_bearer_token_there_is_none() {
        for headers in [
            json!(null),
            json!({}),
            json!({"authorization": "Basic x"}),
            json!({"authorization": "x"}),
            json!({"authorization": 1}),
            json!({"authorization": "Bearer x", "Authorization": "Bearer y"}),
        ] {
            assert_eq!(token(&headers, &json!(null)), None, "{headers}");
        }
    }

    #[test]
    fn the_header_must_be_an_identity_source_if_there_are_any() {
        let headers = json!({"authorization": "Bearer x", "x-api-key": "k"});
        for sources in [
            json!(null),
            json!([]),
            json!(["Bearer x"]),
            json!(["Bearer x", "GET /reports"]),
        ] {
            assert_eq!(token(&headers, &sources).as_deref(), Some("x"), "{sources}");
        }
        for sources in [json!(["k"]), json!(["Bearer y"]), json!(["x"]), json!([1])] {
            assert_eq!(token(&headers, &sources), None, "{sources}");
        }
    }

    #[test]
    fn an_event_of_another_payload_format_is_an_error() {
        for version in [json!("1.0"), json!(null), json!(2.0)] {
            let event = json!({
                "version": version,
                "identitySource": "Bearer e30.e30.x",
                "authorizationToken": "Bearer e30.e30.x",
                "headers": "Bearer e30.e30.x",
            });
            let error = serde_json::from_str::<Event>(&event.to_string()).err();
            let message = error.map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains("expected"), "{message}");
            assert!(!message.contains("e30"), "{message}");
        }
    }
}
