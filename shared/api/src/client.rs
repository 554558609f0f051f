//! Which client of another service is calling: HTTP Basic, as OAuth has it.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use latchkey_domain::client::ClientSecret;
use latchkey_service::ClientCredentials;

use crate::headers;

/// The credentials in the `Authorization` header, if there are any that can be read. Whether they are right is for the
/// use case to ask.
#[derive(Clone, Debug)]
pub struct Basic(pub Option<ClientCredentials>);

impl<S: Sync> FromRequestParts<S> for Basic {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(credentials(&parts.headers)))
    }
}

/// `Basic`, then base64 of id and secret with a colon between (RFC 7617 section 2), each of which was form-urlencoded
/// before (RFC 6749 section 2.3.1).
fn credentials(headers: &HeaderMap) -> Option<ClientCredentials> {
    let mut values = headers::values(headers, AUTHORIZATION.as_str()).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some(ClientCredentials {
        id: form_decoded(id)?,
        secret: ClientSecret::new(form_decoded(secret)?),
    })
}

/// Reads `application/x-www-form-urlencoded` (RFC 6749 appendix B): `+` is a space, `%` and two digits are a byte.
fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_encoding::percent_decode_str(&spaced).decode_utf8();
    decoded.ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<(String, String)> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        let credentials = credentials(&headers)?;
        Some((credentials.id, credentials.secret.expose().to_owned()))
    }

    fn basic(text: &[u8]) -> String {
        format!("Basic {}", BASE64_STANDARD.encode(text))
    }

    #[test]
    fn id_and_secret_are_form_urlencoded() {
        // The example of RFC 6749 section 2.3.1.
        let read_one = |value: &str| read(&[value]);
        assert_eq!(
            read_one("Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"),
            Some(("s6BhdRkqt3".into(), "7Fjfp0ZBr1KtDRbnfVdmIw".into()))
        );
        for (sent, id, secret) in [
            (&b"orders-api:lks_a-b_c"[..], "orders-api", "lks_a-b_c"),
            (b"orders%2Dapi:lks%5fa%2Db", "orders-api", "lks_a-b"),
            (b"a+b:c%2Bd%3Ae", "a b", "c+d:e"),
            (b"a:b:c", "a", "b:c"),
            (b"a:", "a", ""),
            (b":", "", ""),
            (b"%:%4", "%", "%4"),
            (b"\xc3\xa4:%C3%A4", "\u{e4}", "\u{e4}"),
        ] {
            let expected = Some((id.to_owned(), secret.to_owned()));
            assert_eq!(read_one(&basic(sent)), expected);
        }
        assert_eq!(
            read_one(&format!("bASIC  {}", BASE64_STANDARD.encode("a:b"))),
            Some(("a".into(), "b".into())),
            "a scheme has no case (RFC 9110 section 11.1)"
        );
    }

    #[test]
    fn what_is_no_pair_is_no_credentials() {
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic ?",
            "Basic YQ",
            "Bearer YTpi",
            "Basic YTpi=",
            "YTpi",
        ] {
            assert_eq!(read(&[wrong]), None, "{wrong}");
        }
        for wrong in [&b"a"[..], b"\xff:a", b"a:%ff", b"%ff:a", b""] {
            assert_eq!(read(&[&basic(wrong)]), None, "{wrong:?}");
        }
        assert_eq!(read(&["Basic YTpi", "Basic YTpi"]), None);
        assert_eq!(read(&[]), None);
    }
}
