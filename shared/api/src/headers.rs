//! The headers of requests that this service reads, in one list.
//!
//! CloudFront passes on only what its policies name, so a header that is missing there is never seen. A test compares
//! [`READ`] with the policies, and this module is the only one that looks a header up.

use http::header::GetAll;
use http::{HeaderMap, HeaderValue};

/// Every header that the service reads, in lower case. The last three are read by the middleware for CORS.
pub const READ: [&str; 22] = [
    "authorization",
    "content-type",
    "content-encoding",
    "user-agent",
    "x-device-id",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "x-latchkey-edge",
    "cloudfront-viewer-address",
    "cloudfront-viewer-city",
    "cloudfront-viewer-country",
    "cloudfront-viewer-latitude",
    "cloudfront-viewer-longitude",
    "accept",
    "accept-encoding",
    "if-none-match",
    "cookie",
    "sec-fetch-site",
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
