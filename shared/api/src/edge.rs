//! The edge: CloudFront, when the service stands behind it.
//!
//! CloudFront has the firewall and knows where a client is, and API Gateway can be called past it. So CloudFront adds a
//! header with a secret to each request that it passes on, and a request without it is refused. Only then does the
//! service accept the other headers that CloudFront sets: it overwrites those that a client has made up.
//!
//! The forms of the headers are those of CloudFront's developer guide, "Add CloudFront request headers".

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use latchkey_domain::geography::{Coordinates, country_code};
use latchkey_domain::session::ClientLocation;
use latchkey_domain::text::{MAX_CITY_BYTES, clean_and_cut};
use percent_encoding::percent_decode_str;

use crate::headers;
use crate::problem::{Code, Problem};

/// The header that shows that a request has come through the edge.
pub const EDGE_HEADER: &str = "x-latchkey-edge";
/// The client's address and port.
pub const VIEWER_ADDRESS_HEADER: &str = "cloudfront-viewer-address";
/// The client's city.
pub const VIEWER_CITY_HEADER: &str = "cloudfront-viewer-city";
/// The client's country.
pub const VIEWER_COUNTRY_HEADER: &str = "cloudfront-viewer-country";
/// Roughly where that is, in degrees.
pub const VIEWER_LATITUDE_HEADER: &str = "cloudfront-viewer-latitude";
/// See [`VIEWER_LATITUDE_HEADER`].
pub const VIEWER_LONGITUDE_HEADER: &str = "cloudfront-viewer-longitude";

/// The fewest characters of a secret.
pub const MIN_EDGE_SECRET_CHARACTERS: usize = 32;
/// One that is in use, and one that replaces it.
const MAX_EDGE_SECRETS: usize = 2;

/// What CloudFront says in [`EDGE_HEADER`]: one value, or two while one replaces the other. Its `Debug` hides it.
///
/// ```
/// use latchkey_api::edge::EdgeSecret;
///
/// let (old, new) = ("x".repeat(64), "y".repeat(64));
/// assert!(EdgeSecret::parse(&format!("{old},{new}")).is_ok());
/// assert!(EdgeSecret::parse("short").is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct EdgeSecret(Arc<[String]>);

/// The text is no edge secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not one value or two divided by a comma, each of at least {MIN_EDGE_SECRET_CHARACTERS} characters of visible ASCII"
)]
pub struct InvalidEdgeSecret;

impl EdgeSecret {
    /// Reads one value, or two divided by a comma.
    ///
    /// # Errors
    /// [`InvalidEdgeSecret`]
    pub fn parse(text: &str) -> Result<Self, InvalidEdgeSecret> {
        let values: Vec<String> = text.split(',').map(|one| one.trim().to_owned()).collect();
        let valid = |value: &String| {
            value.len() >= MIN_EDGE_SECRET_CHARACTERS
                && value.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if values.len() > MAX_EDGE_SECRETS || !values.iter().all(valid) {
            return Err(InvalidEdgeSecret);
        }
        Ok(Self(values.into()))
    }

    /// Whether a header's value is one of them, in a time that does not tell how much of it is right.
    fn is(&self, value: &[u8]) -> bool {
        let equal = |one: &String| verify_slices_are_equal(one.as_bytes(), value).is_ok();
        self.0.iter().map(equal).fold(false, |any, one| any | one)
    }
}

impl fmt::Debug for EdgeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EdgeSecret(redacted)")
    }
}

/// What the edge says of the client; among the extensions of a request that has come through it.
#[derive(Clone, Debug)]
pub(crate) struct SeenByEdge(pub(crate) ClientLocation);

/// Refuses what has not come through the edge, and notes what the edge says of the client.
pub(crate) async fn require(
    State(secret): State<EdgeSecret>,
    mut request: Request,
    next: Next,
) -> Response {
    // Two headers of the name are none: one of them would be the client's.
    let mut values = headers::values(request.headers(), EDGE_HEADER).iter();
    let shown = match (values.next(), values.next()) {
        (Some(value), None) => secret.is(value.as_bytes()),
        _ => false,
    };
    if !shown {
        return Problem::from(Code::EdgeRequired).into_response();
    }
    request.headers_mut().remove(EDGE_HEADER);
    let seen = SeenByEdge(location(request.headers()));
    request.extensions_mut().insert(seen);
    next.run(request).await
}

fn location(headers: &HeaderMap) -> ClientLocation {
    let degrees = |name| text(headers, name)?.parse::<f64>().ok();
    let latitude = degrees(VIEWER_LATITUDE_HEADER);
    let longitude = degrees(VIEWER_LONGITUDE_HEADER);
    ClientLocation {
        ip_address: text(headers, VIEWER_ADDRESS_HEADER).and_then(address),
        city: text(headers, VIEWER_CITY_HEADER).and_then(city),
        country: text(headers, VIEWER_COUNTRY_HEADER).and_then(country_code),
        coordinates: latitude
            .zip(longitude)
            .and_then(|(latitude, longitude)| Coordinates::new(latitude, longitude)),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers::value(headers, name)?.to_str().ok().map(str::trim)
}

/// An address and a port: `203.0.113.7:46532`, `2001:db8::7:46532`. The last colon is the port's, also without brackets.
fn address(value: &str) -> Option<IpAddr> {
    if let Ok(socket) = value.parse::<SocketAddr>() {
        return Some(socket.ip());
    }
    let (address, port) = value.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse().ok()
}

/// A name in UTF-8, letters beyond ASCII percent-encoded (RFC 3986 section 2.1).
fn city(value: &str) -> Option<String> {
    let name = percent_decode_str(value).decode_utf8().ok()?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return None;
    }
    clean_and_cut(&name, MAX_CITY_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    #[test]
    fn one_value_or_two_are_taken() {
        let secret = EdgeSecret::parse(ONE).unwrap();
        assert!(secret.is(ONE.as_bytes()) && !secret.is(OTHER.as_bytes()));
        let both = EdgeSecret::parse(&format!("{ONE}, {OTHER}")).unwrap();
        assert!(both.is(ONE.as_bytes()) && both.is(OTHER.as_bytes()));
        for other in [
            "",
            &ONE[1..],
            &format!("{ONE}0"),
            &format!("{ONE},{OTHER}"),
            &ONE.to_uppercase(),
        ] {
            assert!(!both.is(other.as_bytes()), "{other}");
        }
        assert!(!format!("{both:?}").contains("0123"));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        for wrong in [
            "",
            ",",
            "short",
            &ONE[1..],
            &format!("{ONE},"),
            &format!(",{ONE}"),
            &format!("{ONE},{OTHER},{ONE}"),
            &format!("{ONE} {OTHER}"),
            &format!("{ONE}\u{e9}"),
        ] {
            assert_eq!(EdgeSecret::parse(wrong), Err(InvalidEdgeSecret), "{wrong}");
        }
    }

    #[test]
    fn an_address_comes_with_a_port() {
        for (value, expected) in [
            ("203.0.113.7:46532", Some("203.0.113.7")),
            ("2001:db8::7:46532", Some("2001:db8::7")),
            (
                "2001:0db8:85a3:0000:0000:8a2e:0370:7334:443",
                Some("2001:db8:85a3::8a2e:370:7334"),
            ),
            ("[2001:db8::7]:46532", Some("2001:db8::7")),
            ("203.0.113.7", None),
            ("203.0.113.7:port", None),
            ("203.0.113.7:46532,198.51.100.1:1", None),
            ("2001:db8::7:99999", None),
            ("", None),
        ] {
            let expected: Option<IpAddr> = expected.map(|text| text.parse().unwrap());
            assert_eq!(address(value), expected, "{value}");
        }
    }

    #[test]
    fn a_city_is_percent_encoded() {
        for (value, expected) in [
            ("Chennai", Some("Chennai")),
            ("Buenos Aires", Some("Buenos Aires")),
            ("Montr%C3%A9al", Some("Montréal")),
            ("%E6%9D%B1%E4%BA%AC", Some("東京")),
            ("100%", Some("100%")),
            ("Montr%E9al", None),
            ("a%0Ab", None),
            ("", None),
        ] {
            assert_eq!(city(value).as_deref(), expected, "{value}");
        }
        assert_eq!(city(&"%C3%A9".repeat(100)), Some("é".repeat(24)));
    }

    #[test]
    fn coordinates_are_two_headers_in_degrees() {
        let seen = |pairs: &[(&'static str, &str)]| {
            let pairs = pairs.iter();
            let headers =
                pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let coordinates = location(&headers.collect::<HeaderMap>()).coordinates;
            coordinates.map(|point| point.to_string())
        };
        let (latitude, longitude) = (VIEWER_LATITUDE_HEADER, VIEWER_LONGITUDE_HEADER);
        let both = [(latitude, "45.50300"), (longitude, "-73.56900")];
        assert_eq!(seen(&both).as_deref(), Some("45.5,-73.6"));
        assert_eq!(seen(&both[..1]), None);
        assert_eq!(seen(&both[1..]), None);
        for wrong in ["", "north", "90.5", "NaN", "inf", "45,5"] {
            assert_eq!(seen(&[(latitude, wrong), both[1]]), None, "{wrong}");
        }
    }
}
