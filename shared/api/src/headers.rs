//! The headers of requests that this service reads, in one list.
//!
//! CloudFront passes on only what its policies name, so a header that is missing there is never seen. A test compares
//! [`READ`] with the policies, and this module is the only one that looks a header up.

use http::header::GetAll;
use http::{HeaderMap, HeaderValue};

use crate::client::DEVICE_ID_HEADER;
use crate::front::{
    FRONT_HEADER, VIEWER_ADDRESS_HEADER, VIEWER_CITY_HEADER, VIEWER_COUNTRY_HEADER,
};

/// The brand and version of a browser (User-Agent Client Hints, W3C).
pub const BRANDS_HEADER: &str = "sec-ch-ua";
/// Whether a browser asks for pages for a phone.
pub const MOBILE_HEADER: &str = "sec-ch-ua-mobile";
/// The operating system that a browser runs on.
pub const PLATFORM_HEADER: &str = "sec-ch-ua-platform";

/// Every header that the service reads, in lower case. The last three are read by the middleware for CORS.
pub const READ: [&str; 15] = [
    "authorization",
    "content-type",
    "content-encoding",
    "user-agent",
    DEVICE_ID_HEADER,
    BRANDS_HEADER,
    MOBILE_HEADER,
    PLATFORM_HEADER,
    FRONT_HEADER,
    VIEWER_ADDRESS_HEADER,
    VIEWER_CITY_HEADER,
    VIEWER_COUNTRY_HEADER,
    "origin",
    "access-control-request-method",
    "access-control-request-headers",
];

/// The first value of a header of [`READ`].
#[must_use]
pub fn value<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    debug_assert!(READ.contains(&name), "{name} is missing in READ");
    headers.get(name)
}

/// All values of a header of [`READ`].
#[must_use]
pub fn values<'a>(headers: &'a HeaderMap, name: &str) -> GetAll<'a, HeaderValue> {
    debug_assert!(READ.contains(&name), "{name} is missing in READ");
    headers.get_all(name)
}
