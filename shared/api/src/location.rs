//! What is known of the client: where it calls from, and what it says it is.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::USER_AGENT;
use http::request::Parts;
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::session::ClientLocation;

use crate::edge::SeenByEdge;
use crate::headers;

/// The header in which a client may tell an id of the device that it runs on.
pub const DEVICE_ID_HEADER: &str = "x-device-id";
/// The client hints that Chromium sends unasked: brands, whether it is a phone, system (WICG, User-Agent Client Hints).
pub const BRANDS_HEADER: &str = "sec-ch-ua";
/// See [`BRANDS_HEADER`].
pub const MOBILE_HEADER: &str = "sec-ch-ua-mobile";
/// See [`BRANDS_HEADER`].
pub const PLATFORM_HEADER: &str = "sec-ch-ua-platform";

/// The address that a request comes from, which whoever hands it over puts among its extensions: API Gateway's word for
/// it on Lambda, the socket's address in the local stack.
///
/// ```
/// use std::net::IpAddr;
///
/// use http::Request;
/// use latchkey_api::location::PeerAddress;
///
/// let mut request = Request::new(());
/// let address = IpAddr::from([198, 51, 100, 7]);
/// request.extensions_mut().insert(PeerAddress(address));
/// assert_eq!(request.extensions().get(), Some(&PeerAddress(address)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Where a request comes from. Never taken from a header, which a client can set as it likes, unless the request has come
/// through the edge, which sets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub ClientLocation);

impl<S: Sync> FromRequestParts<S> for Location {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        if let Some(SeenByEdge(location)) = parts.extensions.get() {
            return Ok(Self(location.clone()));
        }
        let address = parts.extensions.get::<PeerAddress>().map(|peer| peer.0);
        Ok(Self(address.map(ClientLocation::from).unwrap_or_default()))
    }
}

/// What the client says of itself in its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHeaders {
    user_agent: Option<String>,
    device_id: Option<String>,
    brands: Option<String>,
    mobile: Option<String>,
    platform: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for ClientHeaders {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            user_agent: text(&parts.headers, USER_AGENT.as_str()),
            device_id: text(&parts.headers, DEVICE_ID_HEADER),
            brands: list(&parts.headers, BRANDS_HEADER),
            mobile: text(&parts.headers, MOBILE_HEADER),
            platform: text(&parts.headers, PLATFORM_HEADER),
        })
    }
}

impl ClientHeaders {
    /// The device, by the name that the client gave it, or else by its User-Agent and its client hints.
    #[must_use]
    pub fn device(&self, given_name: Option<&str>) -> Device {
        Device::describe(
            given_name,
            self.user_agent.as_deref(),
            self.device_id.as_deref(),
            ClientHints {
                brands: self.brands.as_deref(),
                mobile: self.mobile.as_deref(),
                platform: self.platform.as_deref(),
            },
        )
    }
}

/// A header is bytes; what is no UTF-8 in it is replaced, not refused.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers::value(headers, name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// A list may stand in several lines of one name (RFC 9110, 5.3).
fn list(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers::values(headers, name).iter();
    let lines: Vec<_> = lines
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}
