//! Where a password manager takes people to change their password (W3C, A Well-Known URL for Changing Passwords).

use std::sync::Arc;

use axum::Extension;
use axum::extract::OriginalUri;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use latchkey_api::own_pages::OwnPages;
use latchkey_api::problem::{Code, Problem};

/// Where the handler is, under the base path.
const PATH: &str = "/.well-known/change-password";

/// Change the password
///
/// Leads to the page where people change their password, for password managers. Without the pages there is none.
#[utoipa::path(
    get,
    path = "/.well-known/change-password",
    operation_id = "change_password_page",
    tag = "Pages",
    responses((
        status = FOUND,
        description = "The page",
        headers(("Location" = String, description = "Where the page is"))
    ))
)]
pub(crate) async fn change_password(
    OriginalUri(uri): OriginalUri,
    Extension(pages): Extension<Arc<OwnPages>>,
) -> Result<Response, Problem> {
    if !pages.account {
        return Err(Code::NotFound.into());
    }
    let base_path = uri.path().strip_suffix(PATH).unwrap_or_default();
    // 302 or 303, not the 307 and 308 that axum has for a GET: section 3.1 of the document above.
    let page = format!("{base_path}/account/password");
    Ok((StatusCode::FOUND, [(LOCATION, page)]).into_response())
}
