//! What is known of the client: where it calls from, and what it says it is.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

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

/// What knows the place of an address: a database of places, where a deployment has one.
pub trait FindPlace: fmt::Debug + Send + Sync {
    /// The client at this address, with what is known of its place.
    fn find(&self, address: IpAddr) -> ClientLocation;
}

/// The places that a deployment knows, which whoever hands a request over puts among its extensions. Without them only
/// the edge knows where a client is.
#[derive(Clone, Debug, Default)]
pub struct Places(Option<Arc<dyn FindPlace>>);

impl Places {
    /// The client at this address, with what is known of its place.
    #[must_use]
    pub fn locate(&self, address: IpAddr) -> ClientLocation {
        let places = self.0.as_ref();
        places.map_or_else(|| address.into(), |places| places.find(address))
    }

    /// The location with its place, if nothing is known of that yet. Two sources are not mixed: they may not agree.
    fn complete(&self, location: ClientLocation) -> ClientLocation {
        match location.ip_address {
            Some(address) if !location.has_place() => self.locate(address),
            Some(_) | None => location,
        }
    }
}

impl<T: FindPlace + 'static> From<Option<T>> for Places {
    fn from(places: Option<T>) -> Self {
        Self(places.map(|places| Arc::new(places) as Arc<dyn FindPlace>))
    }
}

impl<S: Sync> FromRequestParts<S> for Places {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_default())
    }
}

/// Where a request comes from. Never taken from a header, which a client can set as it likes, unless the request has come
/// through the edge, which sets them. The place of an address that the edge does not know is that of [`Places`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(pub ClientLocation);

impl<S: Sync> FromRequestParts<S> for Location {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let Ok(places) = Places::from_request_parts(parts, state).await;
        let seen = parts.extensions.get::<SeenByEdge>();
        let location = seen.map(|SeenByEdge(location)| location.clone());
        let location = location.unwrap_or_else(|| {
            let peer = parts.extensions.get::<PeerAddress>();
            peer.map(|peer| peer.0.into()).unwrap_or_default()
        });
        Ok(Self(places.complete(location)))
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
    /// What the device is called to somebody who has not let this client in.
    #[must_use]
    pub fn name_in_our_words(&self) -> String {
        Device::name_in_our_words(self.user_agent.as_deref(), self.hints())
    }

    /// The device, by the name that the client gave it, or else by its User-Agent and its client hints.
    #[must_use]
    pub fn device(&self, given_name: Option<&str>) -> Device {
        Device::describe(
            given_name,
            self.user_agent.as_deref(),
            self.device_id.as_deref(),
            self.hints(),
        )
    }

    fn hints(&self) -> ClientHints<'_> {
        ClientHints {
            brands: self.brands.as_deref(),
            mobile: self.mobile.as_deref(),
            platform: self.platform.as_deref(),
        }
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
