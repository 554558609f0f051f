//! What is known of the client: where it calls from, and what it says it is.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::USER_AGENT;
use http::request::Parts;
use lambda_http::request::RequestContext;
use latchkey_domain::device::Device;
use latchkey_domain::session::Whereabouts;

use crate::front::SeenByFront;
use crate::headers;

/// The header in which a client may tell an id of the device that it runs on.
pub const DEVICE_ID_HEADER: &str = "x-device-id";

/// The address of the socket, which a server that is not behind API Gateway puts into a request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// Where the connection comes from: API Gateway's word for the address on Lambda, the socket's in the local stack. Never a
/// header, which a client can set as it likes, unless the request has come through the front, which sets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalledFrom(pub Whereabouts);

impl<S: Sync> FromRequestParts<S> for CalledFrom {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        if let Some(SeenByFront(whereabouts)) = parts.extensions.get() {
            return Ok(Self(whereabouts.clone()));
        }
        let from_gateway: Option<IpAddr> = match parts.extensions.get::<RequestContext>() {
            Some(RequestContext::ApiGatewayV2(context)) => context
                .http
                .source_ip
                .as_deref()
                .and_then(|address| address.parse().ok()),
            Some(_) | None => None,
        };
        let from_socket = parts.extensions.get::<PeerAddress>().map(|peer| peer.0);
        let address = from_gateway.or(from_socket);
        Ok(Self(address.map(Whereabouts::from).unwrap_or_default()))
    }
}

/// What the client says of itself in its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHeaders {
    user_agent: Option<String>,
    device_id: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for ClientHeaders {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self {
            user_agent: text(&parts.headers, USER_AGENT.as_str()),
            device_id: text(&parts.headers, DEVICE_ID_HEADER),
        })
    }
}

impl ClientHeaders {
    /// The device, by the name that the client gave it, or else by its User-Agent.
    #[must_use]
    pub fn device(&self, given_name: Option<&str>) -> Device {
        Device::describe(
            given_name,
            self.user_agent.as_deref(),
            self.device_id.as_deref(),
        )
    }
}

/// A header is bytes; what is no UTF-8 in it is replaced, not refused.
fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers::value(headers, name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}
