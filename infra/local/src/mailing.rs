//! Mail on this machine: events go through the function that sends mails, in this process, and what it would send can be
//! read at [`MAIL_PATH`]. The log tells that there is a mail, and never its link.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use axum::extract::{Path, State};
use axum::middleware::from_fn;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use http::header::CONTENT_SECURITY_POLICY;
use latchkey_api::parameter::QueryParameters;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::public_document::accepts_html;
use latchkey_domain::clock::{Clock as _, SystemClock};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::event::{Event, SOURCE};
use latchkey_runtime::settings::MailSettings;
use latchkey_service::Service;
use latchkey_service::notify::{Mail, Mailer, Notifier, SendError};
use minijinja::HtmlEscape;
use notify::{MailTexts, TextsError};
use serde_json::{Value, json};

use crate::origins;
use crate::publishing::NoParameters;

/// The newest mails, newest first. Not in the OpenAPI document: the service on AWS does not have it.
pub(crate) const MAIL_PATH: &str = "/local/mail";
/// How many mails are shown.
const MAILS_SHOWN: usize = 1_000;
/// A mail is looked at as a mail program shows it: it loads nothing and runs nothing.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// What tells people of events on this machine.
pub(crate) type LocalNotifier = Notifier<MailTexts, Mailbox>;

/// The list of the newest mails. All clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mailbox(Arc<Mutex<VecDeque<KeptMail>>>);

/// A mail that would have been sent.
#[derive(Debug)]
struct KeptMail {
    sent_at: DateTime<Utc>,
    mail: Mail,
}

/// The notifier of this machine; nothing if `MAIL_FROM` names nobody.
///
/// # Errors
/// [`TextsError`] if a text cannot be used.
pub(crate) fn notifier(
    settings: &MailSettings,
    service: Service,
    mailbox: Mailbox,
) -> Result<Option<LocalNotifier>, TextsError> {
    let Some(sender) = &settings.from else {
        return Ok(None);
    };
    let letterhead = notify::letterhead(settings, sender, &service.core.account_url);
    Ok(Some(Notifier {
        service,
        texts: MailTexts::read(letterhead, settings.texts.as_deref())?,
        mailer: mailbox,
        // One process has the data folder, so whoever has claimed a mail and not sent it has died.
        lease: TimeDelta::zero(),
    }))
}

/// Brings an event to the function as the queue does. Returns whether it is done.
pub(crate) async fn tell(notifier: &LocalNotifier, event: &Event) -> bool {
    let delivery = json!({
        "version": "0",
        "id": event.id,
        "detail-type": event.occurrence.event_type(),
        "source": SOURCE,
        "time": event.at,
        "detail": event,
    });
    let mut message = SqsMessage::default();
    message.message_id = Some(event.id.to_string());
    message.body = Some(delivery.to_string());
    let mut batch = SqsEvent::default();
    batch.records.push(message);
    let response = notify::on_messages(Some(notifier), batch).await;
    response.batch_item_failures.is_empty()
}

impl Mailbox {
    fn mails(&self) -> MutexGuard<'_, VecDeque<KeptMail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The routes that show them.
    pub(crate) fn routes(self) -> Router {
        Router::new()
            .route(MAIL_PATH, get(list))
            .route(&format!("{MAIL_PATH}/{{file}}"), get(page))
            .route_layer(from_fn(origins::refuse_other_pages))
            .with_state(self)
    }
}

impl Mailer for Mailbox {
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let kept = KeptMail {
            sent_at: SystemClock.now(),
            mail: mail.clone(),
        };
        let mut mails = self.mails();
        mails.push_front(kept);
        mails.truncate(MAILS_SHOWN);
        drop(mails);
        let (to, subject) = (mask(&mail.to), &mail.words.subject);
        tracing::info!(to, subject, path = page_of(mail), "mail");
        Ok(())
    }
}

/// Where a mail can be looked at.
fn page_of(mail: &Mail) -> String {
    format!("{MAIL_PATH}/{}.html", mail.event_id)
}

/// An address of which a log may show this much.
fn mask(address: &EmailAddress) -> String {
    let (mailbox, domain) = address.as_typed().split_once('@').unwrap_or_default();
    let first = mailbox.chars().next().unwrap_or('*');
    format!("{first}***@{domain}")
}

/// A browser gets a list of links, everybody else all that the mails say.
async fn list(
    _: QueryParameters<NoParameters>,
    State(mailbox): State<Mailbox>,
    headers: HeaderMap,
) -> Response {
    if accepts_html(&headers) {
        let policy = [(CONTENT_SECURITY_POLICY, PAGE_POLICY)];
        return (policy, Html(list_as_page(&mailbox.mails()))).into_response();
    }
    let mails: Vec<Value> = mailbox
        .mails()
        .iter()
        .map(|KeptMail { sent_at, mail }| {
            json!({
                "id": mail.event_id,
                "to": mail.to.as_typed(),
                "subject": mail.words.subject,
                "text": mail.words.text,
                "html": mail.words.html,
                "message": mail.message.as_str(),
                "event_type": mail.event_type,
                "event_id": mail.event_id,
                "time": sent_at,
                "page": page_of(mail),
            })
        })
        .collect();
    Json(json!({"mail": mails})).into_response()
}

fn list_as_page(mails: &VecDeque<KeptMail>) -> String {
    let rows: String = mails
        .iter()
        .map(|KeptMail { sent_at, mail }| {
            format!(
                "<li><time>{}</time> <a href=\"{}\">{}</a> to {}</li>\n",
                sent_at.format("%Y-%m-%d %H:%M:%S UTC"),
                page_of(mail),
                HtmlEscape(&mail.words.subject),
                HtmlEscape(mail.to.as_typed()),
            )
        })
        .collect();
    let list = match rows.is_empty() {
        true => {
            "<p>No mail yet. Register, ask for a new password, or sign in on a second device.</p>"
                .to_owned()
        }
        false => format!("<ul>\n{rows}</ul>"),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Mail of the local stack</title>\n\
         <style>:root {{ color-scheme: light dark }} body {{ font: 1rem/1.6 system-ui; max-width: 48rem; margin: 2rem auto; padding: 0 1rem }} \
         li {{ margin: .5rem 0 }} time {{ font-variant-numeric: tabular-nums; opacity: .8 }}</style>\n\
         <h1>Mail</h1>\n<p>What the service would have sent, the newest first. Reload to see more. Scripts get it as JSON.</p>\n{list}\n</html>\n"
    )
}

async fn page(State(mailbox): State<Mailbox>, Path(file): Path<String>) -> Response {
    let mails = mailbox.mails();
    let found = mails
        .iter()
        .find(|kept| page_of(&kept.mail).ends_with(&format!("/{file}")));
    match found {
        Some(KeptMail { mail, .. }) => {
            let policy = [(CONTENT_SECURITY_POLICY, PAGE_POLICY)];
            (policy, Html(mail.words.html.clone())).into_response()
        }
        None => {
            let detail = format!(
                "There is no such mail here, or {MAILS_SHOWN} newer ones, or the process was started again since. {MAIL_PATH} \
                 has those that there are, each with its \"page\"."
            );
            Problem::from(Code::NotFound)
                .with_detail(detail)
                .into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_shows_the_first_letter_of_a_mailbox() {
        let address = EmailAddress::parse("Ada.Lovelace@example.com").unwrap();
        assert_eq!(mask(&address), "A***@example.com");
    }
}
