//! The function that sends mails, on a stack, with a mail service that keeps what it takes.

use std::sync::{Arc, Mutex, MutexGuard};

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use latchkey_domain::notice::Language;
use latchkey_service::Service;
use latchkey_service::notify::{MAIL_LEASE, Mail, Mailer, Notifier, SendError};
use notify::{Letterhead, MailTexts};
use serde_json::{Value, json};

use crate::harness::stack::Stack;

/// Where the pages of accounts are in tests.
pub const ACCOUNT_URL: &str = "https://id.example.com/account";

/// A mail service that keeps what it takes, and fails when it is told to. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct RecordingMailer(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    taken: Vec<Mail>,
    next: Vec<SendError>,
}

impl RecordingMailer {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().expect("no test panics under this lock")
    }

    /// How the next mails fail, one by one. After them it takes everything.
    pub fn fail_next(&self, errors: &[SendError]) {
        self.recorded().next = errors.iter().rev().cloned().collect();
    }

    /// What it has taken, once: the next time it begins with what was taken since.
    #[must_use]
    pub fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut self.recorded().taken)
    }
}

impl Mailer for RecordingMailer {
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        // So that two that send at once do.
        tokio::task::yield_now().await;
        let mut recorded = self.recorded();
        if let Some(error) = recorded.next.pop() {
            return Err(error);
        }
        recorded.taken.push(mail.clone());
        Ok(())
    }
}

/// The function on a stack.
#[derive(Clone, Debug)]
pub struct Post {
    /// What it sends.
    pub mailer: RecordingMailer,
    /// What it runs.
    pub notifier: Notifier<MailTexts, RecordingMailer>,
}

impl Stack {
    /// The function that sends mails, with its role.
    ///
    /// # Panics
    /// When a text cannot be used.
    #[must_use]
    pub fn post_office(&self, language: Language) -> Post {
        let letterhead = Letterhead {
            product: "Example".to_owned(),
            account_url: ACCOUNT_URL.to_owned(),
            language,
        };
        let mailer = RecordingMailer::default();
        Post {
            mailer: mailer.clone(),
            notifier: Notifier {
                service: Service {
                    core: self.core.clone(),
                    store: self.store_of("notify"),
                },
                texts: MailTexts::read(letterhead, None).expect("texts"),
                mailer,
                lease: MAIL_LEASE,
            },
        }
    }
}

impl Post {
    /// Brings events as one batch. Returns the ids of those that are to be brought again.
    pub async fn bring(&self, events: &[Value]) -> Vec<String> {
        let bodies = events.iter().map(|event| {
            let body = json!({"source": "latchkey", "detail": event}).to_string();
            (event["id"].as_str().unwrap_or_default().to_owned(), body)
        });
        self.bring_bodies(bodies.collect()).await
    }

    /// The same with the bodies of messages.
    pub async fn bring_bodies(&self, bodies: Vec<(String, String)>) -> Vec<String> {
        let mut batch = SqsEvent::default();
        for (id, body) in bodies {
            let mut message = SqsMessage::default();
            message.message_id = Some(id);
            message.body = Some(body);
            batch.records.push(message);
        }
        let response = notify::on_messages(Some(&self.notifier), batch).await;
        let failures = response.batch_item_failures.into_iter();
        failures.map(|failure| failure.item_identifier).collect()
    }

    /// Brings events, all of which are done with.
    ///
    /// # Panics
    /// When one is to be brought again.
    pub async fn tell(&self, events: &[Value]) -> Vec<Mail> {
        assert_eq!(self.bring(events).await, [] as [String; 0]);
        self.mailer.take()
    }
}
