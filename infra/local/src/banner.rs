//! What is printed when everything is ready: what is served, and where to go next.

use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem};

use crate::cleaning::CLEANUP_PATH;

/// The text that says that everything is ready.
pub(crate) fn banner(base_url: &str, place: &str, document: &OpenApi) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let routes = routes(document);
    format!(
        "\
Latchkey {version} is ready on this machine.

  API      {base_url}
  Docs     {base_url}/docs
  Data     {place}
  Cleanup  daily at 02:00 UTC, or now: curl -X POST {base_url}{CLEANUP_PATH} (only here, not on AWS)

{routes}
Try it:

  curl {base_url}/v1/auth/register -H 'Content-Type: application/json' \\
    -d '{{\"email\": \"grace@example.com\", \"password\": \"correct horse battery staple\"}}'

  /v1/auth/login takes the same from the second time on. Then, with the access_token of the reply:

  curl {base_url}/v1/sessions -H 'Authorization: Bearer <access_token>'

Ctrl-C stops it.
"
    )
}

/// One line for each route of a document.
fn routes(document: &OpenApi) -> String {
    let mut lines = String::new();
    for (path, item) in &document.paths.paths {
        for (method, operation) in operations(item) {
            let summary = operation.summary.as_deref().unwrap_or_default();
            let line = format!("  {method:<6} {path:<26} {summary}");
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
    }
    lines
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    let all = [
        ("GET", &item.get),
        ("POST", &item.post),
        ("PUT", &item.put),
        ("PATCH", &item.patch),
        ("DELETE", &item.delete),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}
