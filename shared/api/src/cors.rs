//! Which web pages may call the API.

use http::HeaderValue;

/// Which web pages may call the API: the setting `ALLOWED_ORIGINS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// None: CORS is closed.
    None,
    /// These.
    These(Vec<HeaderValue>),
}
