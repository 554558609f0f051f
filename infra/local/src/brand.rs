//! A team's style sheet and logo on this machine, read from a folder at each request, so that an edit shows at once.

use std::fs;
use std::path::PathBuf;

use axum::Router;
use axum::extract::{Path, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use latchkey_api::own_pages::{OwnPages, PageFile};
use latchkey_api::problem::{Code, Problem};
use tokio::task::spawn_blocking;

use crate::origins;

/// Where the files are. Not in the OpenAPI document: the service on AWS does not have it.
const ROUTE: &str = "/local/brand/{name}";
/// What stands before their names.
const BRAND_PATH: &str = "/local/brand/";

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

/// What is wrong with a file that the pages load from this process: the setting names one that is not there. Nothing is
/// known of those of other origins.
pub(crate) fn mistakes(pages: &OwnPages, folder: Option<&std::path::Path>) -> Vec<String> {
    if !pages.any() {
        return Vec::new();
    }
    let files = [
        ("PAGE_STYLESHEET", &pages.stylesheet),
        ("PAGE_LOGO", &pages.logo),
    ];
    let mistake = |(setting, file): (&str, &Option<PageFile>)| {
        let path = file.as_ref()?.as_str();
        let name = path.strip_prefix(BRAND_PATH);
        let told = match (path.starts_with('/'), name, folder) {
            (false, ..) => return None,
            (true, None, _) => format!(
                "{setting} is {path}, and this service has no file there: put it into a folder, start with --brand FOLDER, \
                 and name it as {BRAND_PATH}FILE"
            ),
            (true, Some(_), None) => {
                format!("{setting} is {path}, which is there only with --brand FOLDER")
            }
            (true, Some(name), Some(folder)) => {
                if content_type(name).is_some() && folder.join(name).is_file() {
                    return None;
                }
                let folder = folder.display();
                format!(
                    "{setting} is {path}, and the folder of --brand, {folder}, has no file {name} that can be served"
                )
            }
        };
        Some(told)
    };
    files.into_iter().filter_map(mistake).collect()
}

/// What a file is sent as; nothing for a name that is not served.
fn content_type(name: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let (_, end) = name.rsplit_once('.')?;
    let (_, content_type) = TYPES.iter().find(|(known, _)| *known == end)?;
    let is_served = !name.starts_with('.') && name.bytes().all(is_plain);
    is_served.then_some(*content_type)
}

async fn file(
    State(folder): State<PathBuf>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let missing = || {
        let detail = "The folder of --brand has no such file, or none of a kind that is served.";
        Problem::from(Code::NotFound).with_detail(detail)
    };
    let content_type = content_type(&name).ok_or_else(missing)?;
    let reading = spawn_blocking(move || fs::read(folder.join(&name)));
    let content = reading.await.ok().and_then(Result::ok);
    let content = content.ok_or_else(missing)?;
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
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

    #[test]
    fn a_file_of_the_pages_that_is_not_there_is_told_with_its_setting() {
        let pages = |stylesheet: &str| OwnPages {
            account: true,
            stylesheet: Some(PageFile::parse(stylesheet).unwrap()),
            ..OwnPages::default()
        };
        let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        for (stylesheet, folder, told) in [
            ("/brand.css", None, "start with --brand FOLDER"),
            ("/brand.css", Some(here), "start with --brand FOLDER"),
            ("/local/brand/a.css", None, "only with --brand FOLDER"),
            ("/local/brand/a.css", Some(here), "has no file a.css"),
            ("/local/brand/Cargo.toml", Some(here), "that can be served"),
        ] {
            let [mistake] = mistakes(&pages(stylesheet), folder).try_into().unwrap();
            assert!(mistake.starts_with("PAGE_STYLESHEET is /"), "{mistake}");
            assert!(mistake.contains(told), "{mistake}");
        }
        for right in ["https://cdn.example.com/a.css", "/local/brand/a.css"] {
            let folder = std::env::temp_dir().join(format!("latchkey-look-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("a.css"), "").unwrap();
            let found = mistakes(&pages(right), Some(&folder));
            fs::remove_dir_all(&folder).unwrap();
            assert_eq!(found, [] as [String; 0], "{right}");
        }
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
