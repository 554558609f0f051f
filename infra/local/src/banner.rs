//! What is printed when everything is ready: what is served, and where to go next. It fits on a terminal of 24 lines of 80
//! characters; scripts and tests find the API and the DynamoDB by the first word of their lines.

use latchkey_api::own_pages::OwnPages;
use std::net::SocketAddr;

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
    /// The options by which a command reaches the data; nothing if none does.
    pub(crate) command_options: Option<&'a str>,
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
pub(crate) fn banner(facts: &Facts<'_>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let Facts {
        address,
        base_url,
        place,
        ..
    } = facts;
    let (issuer, pages) = (issuer(facts), pages(facts));
    let dynamodb = facts.dynamodb.map(dynamodb).unwrap_or_default();
    let events = if facts.shows_events {
        format!("  Events   {address}{EVENTS_PATH} (on AWS they go to a bus)\n")
    } else {
        String::new()
    };
    let mail = if facts.shows_mail {
        format!("  Mail     {address}{MAIL_PATH} (nothing is sent)\n")
    } else {
        String::new()
    };
    format!(
        "\
Latchkey {version} is ready on this machine.

  API      {base_url}
{pages}  Docs     {base_url}/docs (all routes, to read and to try)
{events}{mail}  Cleanup  at 02:00 UTC, or curl -X POST {address}{CLEANUP_PATH}
  Data     {place}
{issuer}{dynamodb}
Create an account (later, sign in with /login in the place of /register):
  curl {base_url}/v1/auth/register \\
   -H 'Content-Type: application/json' \\
   -d '{{\"email\": \"bob@example.com\", \"password\": \"correct horse battery staple\"}}'
See where it is signed in, with the access_token of the reply:
  curl {base_url}/v1/sessions -H 'Authorization: Bearer TOKEN'

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
        IssuerSource::Setting => "by the setting ISSUER.",
        IssuerSource::Start => {
            "as at the first\n           start with this data, so that earlier tokens stay valid."
        }
    };
    format!(
        "  Issuer   {}, named by all tokens (iss), {source}\n",
        facts.issuer
    )
}

/// The pages that are on, each on a line.
fn pages(facts: &Facts<'_>) -> String {
    let OwnPages { account, admin, .. } = facts.pages;
    let first = match facts.command_options {
        Some(options) => format!("first: cargo run -- admin grant YOU{options}"),
        None => "first: start with --dynamodb-port 8000 too, for admin grant YOU".to_owned(),
    };
    let account = account.then(|| format!("{}/account\n", facts.base_url));
    let admin = admin.then(|| format!("{}/admin ({first})\n", facts.base_url));
    let on = account.into_iter().chain(admin);
    let labels = ["  Pages    ", "           "];
    let lines = labels.into_iter().zip(on);
    lines
        .map(|(label, page)| format!("{label}{page}"))
        .collect()
}

fn dynamodb(address: SocketAddr) -> String {
    format!("  DynamoDB http://{address}, open to every program on this machine\n")
}
