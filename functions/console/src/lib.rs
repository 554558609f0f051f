//! The pages: `/account`, where people see and end their sessions, and `/admin`, where administrators help them.
//!
//! Everything is a file in the binary. The scripts call the API with the cookie transport, so this function needs neither
//! the table nor the secret, and knows nobody.

mod files;
mod shell;

use std::sync::Arc;

use axum::Extension;
use axum::extract::OriginalUri;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Redirect, Response};
use axum::routing::get;
use latchkey_api::handler;
use latchkey_api::own_pages::OwnPages;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::routes::Routes;

use shell::Shell;

/// Where the page of people is.
const ACCOUNT: &str = "/account";
/// Where the page of administrators is.
const ADMIN: &str = "/admin";

/// What a page shows below its own address. The scripts know the same names; a test compares them.
const ACCOUNT_VIEWS: [&str; 8] = [
    "sign-in",
    "register",
    "forgot-password",
    "reset-password",
    "verify-email",
    "activity",
    "settings",
    "password",
];

/// The routes of this function. What the pages are made of, and their views, are not in the OpenAPI document.
pub fn routes<S: Clone + Send + Sync + 'static, R: Routes<S>>() -> R {
    R::new()
        .route(handler!(account).ignoring_query(), &[Code::NotFound])
        .route(handler!(admin).ignoring_query(), &[Code::NotFound])
        .route_undocumented("/account/", get(without_slash))
        .route_undocumented("/account/{view}", get(account_view))
        .route_undocumented(files::ROUTE, get(files::file))
        .route_undocumented("/admin/", get(without_slash))
        .route_undocumented("/admin/{view}", get(admin_view))
        .route_undocumented("/admin/{view}/{id}", get(admin_view))
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
        (status = NOT_MODIFIED, description = "You have the newest copy")
    )
)]
async fn account(
    OriginalUri(uri): OriginalUri,
    Extension(pages): Extension<Arc<OwnPages>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    require(pages.account)?;
    Ok(Shell::of_account(uri.path(), ACCOUNT, &pages).reply_to(&headers, StatusCode::OK))
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
        (status = NOT_MODIFIED, description = "You have the newest copy")
    )
)]
async fn admin(
    OriginalUri(uri): OriginalUri,
    Extension(pages): Extension<Arc<OwnPages>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    require(pages.admin)?;
    Ok(Shell::of_admin(uri.path(), ADMIN, &pages).reply_to(&headers, StatusCode::OK))
}

/// The same page, which shows a view of its own by its address. One that it does not know it says so about.
async fn account_view(
    OriginalUri(uri): OriginalUri,
    Extension(pages): Extension<Arc<OwnPages>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    require(pages.account)?;
    let (rest, view) = uri.path().rsplit_once('/').unwrap_or_default();
    let status = match ACCOUNT_VIEWS.contains(&view) {
        true => StatusCode::OK,
        false => StatusCode::NOT_FOUND,
    };
    Ok(Shell::of_account(rest, ACCOUNT, &pages).reply_to(&headers, status))
}

/// The page of administration, at the address of a user or a session.
async fn admin_view(
    OriginalUri(uri): OriginalUri,
    Extension(pages): Extension<Arc<OwnPages>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    require(pages.admin)?;
    let (before, below) = uri.path().rsplit_once(ADMIN).unwrap_or_default();
    let status = match below.strip_prefix("/users/") {
        Some(id) if !id.contains('/') => StatusCode::OK,
        Some(_) | None => StatusCode::NOT_FOUND,
    };
    Ok(Shell::of_admin(&format!("{before}{ADMIN}"), ADMIN, &pages).reply_to(&headers, status))
}

/// Leads to the page without the slash, against which its links are written.
async fn without_slash(OriginalUri(uri): OriginalUri) -> Redirect {
    Redirect::to(uri.path().trim_end_matches('/'))
}

/// A page that is switched off is not there.
fn require(is_on: bool) -> Result<(), Problem> {
    is_on.then_some(()).ok_or_else(|| Code::NotFound.into())
}

#[cfg(test)]
mod tests;
