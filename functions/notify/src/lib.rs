//! Mail: a subscriber of the event bus, which tells people by mail what has happened to their account.
//!
//! EventBridge puts events on a queue, and Lambda brings them from there, again and again for a day if a mail cannot be
//! sent. What becomes of an event is in [`latchkey_service::notify`], what a mail says in `texts`.

mod ses;
mod texts;

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use aws_types::SdkConfig;
use latchkey_domain::notice::{ReceivedEvent, Sender};
use latchkey_runtime::settings::MailSettings;
use latchkey_service::Service;
use latchkey_service::notify::{Later, MAIL_LEASE, Mailer, Notifier, Texts};
use serde::Deserialize;

pub use ses::Ses;
pub use texts::{Letterhead, MailTexts, TextsError};

/// What is wrong with a message of the queue that holds no event.
const UNREADABLE: &str = "the event cannot be read";

/// An event as EventBridge delivers it.
#[derive(Deserialize)]
struct Delivery {
    detail: ReceivedEvent,
}

/// What is the same in every mail, by the settings.
#[must_use]
pub fn letterhead(settings: &MailSettings, sender: &Sender, account_url: &str) -> Letterhead {
    let product = settings.product_name.as_deref();
    Letterhead {
        product: product.unwrap_or(sender.name()).to_owned(),
        account_url: account_url.to_owned(),
        language: settings.language,
    }
}

/// What sends mails on AWS; nothing without `MAIL_FROM`.
///
/// # Errors
/// [`TextsError`] if a text cannot be used.
pub fn connect(
    sdk: &SdkConfig,
    settings: &MailSettings,
    service: Service,
) -> Result<Option<Notifier<MailTexts, Ses>>, TextsError> {
    let Some(sender) = &settings.from else {
        return Ok(None);
    };
    let letterhead = letterhead(settings, sender, &service.core.account_url);
    Ok(Some(Notifier {
        service,
        texts: MailTexts::read(letterhead, settings.texts.as_deref())?,
        mailer: Ses::connect(sdk, settings.endpoint.clone(), sender),
        lease: MAIL_LEASE,
    }))
}

/// [`on_messages`] on AWS, where mail may be off.
pub async fn on_queue(
    notifier: &Option<Notifier<MailTexts, Ses>>,
    batch: SqsEvent,
) -> SqsBatchResponse {
    on_messages(notifier.as_ref(), batch).await
}

/// Sends the mails of a batch of events. The reply names the messages that Lambda is to bring again.
pub async fn on_messages<T: Texts, M: Mailer>(
    notifier: Option<&Notifier<T, M>>,
    batch: SqsEvent,
) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    let Some(notifier) = notifier else {
        tracing::debug!("mail is off: MAIL_FROM is not set");
        return response;
    };
    for message in batch.records {
        // Boxed, because the compiler gives up on futures that are nested as deep as these.
        if let Err(Later) = Box::pin(on_message(notifier, &message)).await {
            let mut failure = BatchItemFailure::default();
            failure.item_identifier = message.message_id.unwrap_or_default();
            response.batch_item_failures.push(failure);
        }
    }
    response
}

async fn on_message<T: Texts, M: Mailer>(
    notifier: &Notifier<T, M>,
    message: &SqsMessage,
) -> Result<(), Later> {
    let delivered = message.body.as_deref().unwrap_or_default();
    match serde_json::from_str::<Delivery>(delivered) {
        Ok(Delivery { detail }) => notifier.tell(&detail, delivered).await.map(drop),
        Err(_) => {
            let id = message.message_id.as_deref().unwrap_or("unknown");
            notifier.bury(id, delivered, UNREADABLE).await
        }
    }
}
