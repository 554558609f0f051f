//! The documentation page: Swagger UI from this origin alone.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use latchkey_api::problem::{Code, Problem};

use crate::CACHED_FOR_AN_HOUR;

/// Where the parts of the page are.
pub(crate) const ASSET_ROUTE: &str = "/docs/{asset}";

const PAGE: &str = include_str!("../assets/page.html");
const START: &str = include_str!("../assets/start.js");

/// Nothing from elsewhere, nothing sent elsewhere, no script in the page. `data:` is for the icons inside Swagger UI's
/// style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Documentation
///
/// A page to read this document and to try the API in the browser.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "get_documentation",
    tag = "Discovery",
    responses((
        status = OK,
        description = "The page",
        body = String,
        content_type = "text/html",
        example = "<!doctype html>"
    ))
)]
pub(crate) async fn page() -> Response {
    let policy = [(CONTENT_SECURITY_POLICY, POLICY)];
    (policy, file("text/html; charset=utf-8", PAGE.as_bytes())).into_response()
}

/// Leads to the page without the slash, against which the page names its parts.
pub(crate) async fn from_slash() -> Redirect {
    Redirect::to("../docs")
}

/// A part of the page.
pub(crate) async fn asset(name: Result<Path<String>, PathRejection>) -> Result<Response, Problem> {
    // A name that is no UTF-8 is no name of ours.
    let Path(name) = name.map_err(|_| Code::NotFound)?;
    // What `build.rs` has taken from Swagger UI.
    macro_rules! swagger_ui {
        ($name:literal) => {
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz"))
        };
    }
    Ok(match name.as_str() {
        "start.js" => file("text/javascript; charset=utf-8", START.as_bytes()),
        "swagger-ui-bundle.js" => compressed(
            "text/javascript; charset=utf-8",
            swagger_ui!("swagger-ui-bundle.js"),
        ),
        "swagger-ui.css" => compressed("text/css; charset=utf-8", swagger_ui!("swagger-ui.css")),
        "favicon-32x32.png" => compressed("image/png", swagger_ui!("favicon-32x32.png")),
        _ => return Err(Code::NotFound.into()),
    })
}

fn file(content_type: &'static str, bytes: &'static [u8]) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, CACHED_FOR_AN_HOUR),
    ];
    (headers, bytes).into_response()
}

/// A file that is sent in gzip, whatever the client accepts: it is a browser, all of them do, and API Gateway compresses
/// nothing itself.
fn compressed(content_type: &'static str, bytes: &'static [u8]) -> Response {
    ([(CONTENT_ENCODING, "gzip")], file(content_type, bytes)).into_response()
}
