//! Which web pages may call the API.

use http::HeaderValue;

/// Which web pages may call the API: the setting `ALLOWED_ORIGINS`.
///
/// ```
/// use http::HeaderValue;
/// use latchkey_api::cors::AllowedOrigins;
///
/// let app = HeaderValue::from_static("https://app.example.com");
/// assert_ne!(AllowedOrigins::These(vec![app]), AllowedOrigins::None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// None: CORS is closed.
    None,
    /// These.
    These(Vec<HeaderValue>),
}
