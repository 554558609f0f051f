//! What is printed when everything is ready: what is served, and where to go next.

use latchkey_api::own_pages::OwnPages;
use std::net::SocketAddr;

use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem};

use crate::cleaning::CLEANUP_PATH;
use crate::mailing::MAIL_PATH;
use crate::publishing::EVENTS_PATH;

/// What the banner says of a start.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Where the process listens.
    pub(crate) address: &'a str,
    /// Where the API is: the address and the path of the issuer, if it has one.
    pub(crate) base_url: &'a str,
    /// The pages that are on.
    pub(crate) pages: &'a OwnPages,
    /// Whom the tokens name.
    pub(crate) issuer: &'a str,
    /// What made it so.
    pub(crate) issuer_source: IssuerSource,
    /// Where the data is, for people.
    pub(crate) place: &'a str,
    /// Where the embedded DynamoDB listens, if it was asked to.
    pub(crate) dynamodb: Option<SocketAddr>,
    /// Whether there is a stream that events are made of.
    pub(crate) shows_events: bool,
    /// Whether mails can be read.
    pub(crate) shows_mail: bool,
}

/// What decided the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IssuerSource {
    /// `ISSUER`.
    Setting,
    /// The address of a start: this one, or the data folder's first.
    Start,
}

/// The text that says that everything is ready.
pub(crate) fn banner(facts: &Facts<'_>, document: &OpenApi) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let routes = routes(document);
    let Facts {
        address,
        base_url,
        place,
        ..
    } = facts;
    let (issuer, pages) = (issuer(facts), pages(facts));
    let dynamodb = facts.dynamodb.map(dynamodb).unwrap_or_default();
    let events = if facts.shows_events {
        format!("  Events   {address}{EVENTS_PATH} (only here; on AWS they go to a bus)\n")
    } else {
        String::new()
    };
    let mail = if facts.shows_mail {
        format!(
            "  Mail     {address}{MAIL_PATH} (nothing is sent; links stand there, not in the log)\n"
        )
    } else {
        String::new()
    };
    format!(
        "\
Latchkey {version} is ready on this machine.

  API      {base_url}
{pages}  Docs     {base_url}/docs
  Data     {place}
{issuer}{dynamodb}{events}{mail}  Cleanup  daily at 02:00 UTC, or now: curl -X POST {address}{CLEANUP_PATH} (only here, not on AWS)

{routes}
Try it:

  curl {base_url}/v1/auth/register -H 'Content-Type: application/json' \\
    -d '{{\"email\": \"grace@example.com\", \"password\": \"correct horse battery staple\"}}'

  From the second time on, send the same to /v1/auth/login. Then, with the access_token of the reply:

  curl {base_url}/v1/sessions -H 'Authorization: Bearer <access_token>'

Ctrl-C stops it.
"
    )
}

/// The issuer, when it is not the address.
fn issuer(facts: &Facts<'_>) -> String {
    if facts.issuer == facts.address {
        return String::new();
    }
    let source = match facts.issuer_source {
        IssuerSource::Setting => "the setting ISSUER",
        IssuerSource::Start => {
            "the address of the data folder's first start, so that its tokens stay valid"
        }
    };
    format!(
        "  Issuer   {} (iss of the tokens: {source})\n",
        facts.issuer
    )
}

/// The line of the pages that are on.
fn pages(facts: &Facts<'_>) -> String {
    let OwnPages { account, admin, .. } = facts.pages;
    let on = [(*account, "/account"), (*admin, "/admin")].into_iter();
    let on = on.filter(|(is_on, _)| *is_on);
    let on: Vec<String> = on
        .map(|(_, path)| format!("{}{path}", facts.base_url))
        .collect();
    match on.as_slice() {
        [] => String::new(),
        on => format!("  Pages    {}\n", on.join(" and ")),
    }
}

fn dynamodb(address: SocketAddr) -> String {
    format!(
        "  DynamoDB http://{address}, open to every program on this machine: AWS_ACCESS_KEY_ID=x \
         AWS_SECRET_ACCESS_KEY=x aws dynamodb list-tables --region us-east-1 --endpoint-url http://{address}\n"
    )
}

/// One line for each route of a document, the summaries below each other.
fn routes(document: &OpenApi) -> String {
    let paths = &document.paths.paths;
    let longest = paths.keys().map(String::len).max().unwrap_or_default();
    let mut lines = String::new();
    for (path, item) in paths {
        for (method, operation) in operations(item) {
            let summary = operation.summary.as_deref().unwrap_or_default();
            let line = format!("  {method:<6} {path:<longest$}  {summary}");
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
