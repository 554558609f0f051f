//! A list that may be long, sent in gzip to whoever takes it.

use std::io::Write;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use crate::problem::Problem;
use crate::public_document::takes_gzip;

/// From how many bytes on a list is compressed: nine sessions or so. A shorter one is a packet or two as it is.
const WORTHWHILE: usize = 4_096;

/// The reply with a list to a request with these headers. Each session repeats the names of its fields, so gzip leaves an
/// eighth of a long list.
///
/// The length of compressed text tells of its content to whoever can have their own text put into it and repeat the request
/// (BREACH). Here nobody can: such a list needs an access token, which a browser sends for no other site, and holds no
/// token. A reply that holds tokens is never compressed.
///
/// ```
/// use http::HeaderMap;
/// use latchkey_api::long_list::reply_to;
///
/// let mut request = HeaderMap::new();
/// request.insert("accept-encoding", "gzip".parse()?);
/// let response = reply_to(&request, &["a device"]).map_err(|_| "a problem")?;
/// assert!(!response.headers().contains_key("content-encoding"));
/// let response = reply_to(&request, &["a device"; 1_000].as_slice()).map_err(|_| "a problem")?;
/// assert_eq!(response.headers()["content-encoding"], "gzip");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Code::InternalError`](crate::problem::Code::InternalError) if the list cannot be written as JSON.
pub fn reply_to(request: &HeaderMap, list: &impl Serialize) -> Result<Response, Problem> {
    let plain = serde_json::to_vec(list).map_err(|_| Problem::internal())?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if plain.len() < WORTHWHILE || !takes_gzip(request) {
        return Ok((headers, Body::from(plain)).into_response());
    }
    let mut coded = GzEncoder::new(Vec::new(), Compression::fast());
    let coded = match coded.write_all(&plain) {
        Ok(()) => coded.finish(),
        Err(error) => Err(error),
    };
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok((headers, Body::from(coded.map_err(|_| Problem::internal())?)).into_response())
}
