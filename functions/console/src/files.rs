//! The files that the pages are made of, under a name that changes with them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::HeaderMap;
use axum::response::Response;
use latchkey_api::own_pages::OwnPages;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::public_document::PublicDocument;

/// Where they are, for both pages.
pub(crate) const ROUTE: &str = "/account/files/{version}/{name}";

/// Names the files as they are now. `build.rs` makes it.
pub(crate) const VERSION: &str = include_str!(concat!(env!("OUT_DIR"), "/version.txt"));

/// What has this version's name never changes.
const FOREVER: &str = "public, max-age=31536000, immutable";
/// While an upgrade takes over, a page may ask the version after or before its own.
const NOT_AT_ALL: &str = "no-store";

/// A file.
pub(crate) struct File {
    name: &'static str,
    content_type: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    brotli: &'static [u8],
}

#[cfg(test)]
impl File {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn plain(&self) -> &'static [u8] {
        self.plain
    }
}

/// All of them. `build.rs` makes the list.
pub(crate) const FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A file of the pages.
pub(crate) async fn file(
    Extension(pages): Extension<Arc<OwnPages>>,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    crate::require(pages.any())?;
    let Path((version, name)) = path.map_err(|_| Code::NotFound)?;
    let file = FILES.iter().find(|file| file.name == name);
    let file = file.ok_or(Code::NotFound)?;
    let document = PublicDocument {
        content_type: file.content_type,
        caching: if version == VERSION {
            FOREVER
        } else {
            NOT_AT_ALL
        },
        plain: file.plain.into(),
        gzip: Some(file.gzip),
        brotli: Some(file.brotli),
    };
    Ok(document.reply_to(&headers))
}
