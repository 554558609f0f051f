//! What is answered at the address of a page: the page, the way to it, or that there is none.

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use latchkey_api::own_pages::OwnPages;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::public_document::accepts_html;

use crate::shell::Shell;

/// What the page of people shows below its own address. The scripts know the same names; a test compares them.
pub(crate) const ACCOUNT_VIEWS: [&str; 8] = [
    "sign-in",
    "register",
    "forgot-password",
    "reset-password",
    "verify-email",
    "activity",
    "settings",
    "password",
];

/// A page.
#[derive(Clone, Copy)]
pub(crate) enum Page {
    /// That of people.
    Account,
    /// That of administrators.
    Admin,
}

impl Page {
    /// The answer at an address: `path` is below the base path, and `whole` has that too. Who asks for HTML reads on a page
    /// that there is nothing, with a way back (RFC 9110 section 12.5.1).
    pub(crate) fn answer(
        self,
        whole: &Uri,
        path: &str,
        pages: &OwnPages,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        if path.ends_with('/') {
            return Ok(without_slash(whole).into_response());
        }
        let base_path = whole.path().strip_suffix(path).unwrap_or_default();
        if self.is_on(pages) && self.has(path) {
            return Ok(Shell::of(self, base_path, pages).reply_to(headers));
        }
        let there = [self, Self::Account, Self::Admin];
        let there = there.into_iter().find(|page| page.is_on(pages));
        match there.filter(|_| accepts_html(headers)) {
            Some(page) => Ok(Shell::of(page, base_path, pages).reply_with(StatusCode::NOT_FOUND)),
            None => Err(Code::NotFound.into()),
        }
    }

    fn is_on(self, pages: &OwnPages) -> bool {
        match self {
            Self::Account => pages.account,
            Self::Admin => pages.admin,
        }
    }

    /// Whether it shows something at a path.
    fn has(self, path: &str) -> bool {
        let view = |page: &str| path.strip_prefix(page)?.strip_prefix('/');
        match self {
            Self::Account => {
                path == "/account"
                    || view("/account").is_some_and(|view| ACCOUNT_VIEWS.contains(&view))
            }
            Self::Admin => {
                path == "/admin" || view("/admin/users").is_some_and(|id| !id.contains('/'))
            }
        }
    }
}

/// The way to an address without the slashes at its end, for good.
fn without_slash(uri: &Uri) -> Redirect {
    let path = uri.path().trim_end_matches('/');
    match uri.query() {
        Some(query) => Redirect::permanent(&format!("{path}?{query}")),
        None => Redirect::permanent(path),
    }
}
