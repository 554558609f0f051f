//! The pages: `/account`, where people see and end their sessions, and `/admin`, where administrators help them.
//!
//! Everything is a file in the binary. The scripts call the API with the cookie transport, so this function needs neither
//! the table nor the secret, and knows nobody.

mod files;
mod page;
mod shell;

use std::sync::Arc;

use axum::Extension;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::get;
use latchkey_api::handler;
use latchkey_api::own_pages::OwnPages;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::routes::Routes;

use page::Page;

/// The routes of this function. What the pages are made of, and their views, are not in the OpenAPI document.
pub fn routes<S: Clone + Send + Sync + 'static, R: Routes<S>>() -> R {
    R::new()
        .route(handler!(account).ignoring_query(), &[Code::NotFound])
        .route(handler!(admin).ignoring_query(), &[Code::NotFound])
        .route_undocumented("/account/", get(account))
        .route_undocumented("/account/{*view}", get(account))
        .route_undocumented(files::ROUTE, get(files::file))
        .route_undocumented("/admin/", get(admin))
        .route_undocumented("/admin/{*view}", get(admin))
}

/// Page of the account
///
/// Where people sign in, see where they are signed in, and look after their account. A setting turns it off.
#[utoipa::path(
    get,
    path = "/account",
    operation_id = "get_account_page",
    tag = "Pages",
    responses(
        (
            status = OK,
            description = "The page",
            body = String,
            content_type = "text/html",
            headers(("ETag" = String, description = "Names this copy")),
            example = "<!doctype html>"
        ),
        (status = NOT_MODIFIED, description = "You have the newest copy"),
        (
            status = NOT_FOUND,
            description = "There is no such page, or it is off",
            body = String,
            content_type = "text/html",
            example = "<!doctype html>"
        )
    )
)]
async fn account(
    OriginalUri(whole): OriginalUri,
    uri: Uri,
    Extension(pages): Extension<Arc<OwnPages>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Page::Account.answer(&whole, uri.path(), &pages, &headers)
}

/// Page of administration
///
/// Where administrators find users and end their sessions. Off unless a setting turns it on.
#[utoipa::path(
    get,
    path = "/admin",
    operation_id = "get_admin_page",
    tag = "Pages",
    responses(
        (
            status = OK,
            description = "The page",
            body = String,
            content_type = "text/html",
            headers(("ETag" = String, description = "Names this copy")),
            example = "<!doctype html>"
        ),
        (status = NOT_MODIFIED, description = "You have the newest copy"),
        (
            status = NOT_FOUND,
            description = "There is no such page, or it is off",
            body = String,
            content_type = "text/html",
            example = "<!doctype html>"
        )
    )
)]
async fn admin(
    OriginalUri(whole): OriginalUri,
    uri: Uri,
    Extension(pages): Extension<Arc<OwnPages>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Page::Admin.answer(&whole, uri.path(), &pages, &headers)
}

/// A page that is switched off is not there.
fn require(is_on: bool) -> Result<(), Problem> {
    is_on.then_some(()).ok_or_else(|| Code::NotFound.into())
}

#[cfg(test)]
mod tests;
