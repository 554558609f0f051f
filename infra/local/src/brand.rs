//! A team's style sheet and logo on this machine, read from a folder at each request, so that an edit shows at once.

use std::fs;
use std::path::PathBuf;

use axum::Router;
use axum::extract::{Path, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use latchkey_api::problem::{Code, Problem};
use tokio::task::spawn_blocking;

use crate::origins;

/// Where the files are. Not in the OpenAPI document: the service on AWS does not have it.
const ROUTE: &str = "/local/brand/{name}";

/// What a file is sent as, by the end of its name.
const TYPES: [(&str, &str); 6] = [
    ("css", "text/css; charset=utf-8"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
];

/// The route that serves the files of the folder, and nothing below it.
pub(crate) fn routes(folder: PathBuf) -> Router {
    Router::new()
        .route(ROUTE, get(file))
        .route_layer(from_fn(origins::refuse_other_pages))
        .with_state(folder)
}

async fn file(
    State(folder): State<PathBuf>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let (_, end) = name.rsplit_once('.').ok_or(Code::NotFound)?;
    let known = TYPES.iter().find(|(known, _)| *known == end);
    let (_, content_type) = known.ok_or(Code::NotFound)?;
    if name.starts_with('.') || !name.bytes().all(is_plain) {
        return Err(Code::NotFound.into());
    }
    let reading = spawn_blocking(move || fs::read(folder.join(&name)));
    let content = reading.await.ok().and_then(Result::ok);
    let content = content.ok_or(Code::NotFound)?;
    let headers = [(CONTENT_TYPE, *content_type), (CACHE_CONTROL, "no-store")];
    Ok((headers, content).into_response())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    use super::*;

    async fn ask(folder: &std::path::Path, name: &str) -> Response {
        let request = Request::get(format!("/local/brand/{name}"));
        let request = request.body(Body::empty()).unwrap();
        routes(folder.to_owned()).oneshot(request).await.unwrap()
    }

    #[tokio::test]
    async fn a_file_of_the_folder_is_served_and_nothing_outside_of_it() {
        let above = std::env::temp_dir().join(format!("latchkey-brand-{}", std::process::id()));
        let folder = above.join("brand");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("brand.css"), ":root { --radius: 0 }").unwrap();
        fs::write(folder.join("notes.txt"), "ours").unwrap();
        fs::write(above.join("secret.css"), "ours").unwrap();
        let reply = ask(&folder, "brand.css").await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert_eq!(reply.headers()[CONTENT_TYPE], "text/css; charset=utf-8");
        for name in [
            "notes.txt",
            "nothing.css",
            "..%2Fsecret.css",
            "..",
            "..%2F..%2Fetc%2Fpasswd",
        ] {
            assert_eq!(
                ask(&folder, name).await.status(),
                StatusCode::NOT_FOUND,
                "{name}"
            );
        }
        fs::remove_dir_all(&above).unwrap();
    }
}
