//! Mail on AWS: Amazon SES.

use std::error::Error;
use std::time::Duration;

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::error::{BuildError, ProvideErrorMetadata, SdkError};
use aws_sdk_sesv2::operation::send_email::SendEmailError;
use aws_sdk_sesv2::types::{Body, Content, Destination, EmailContent, Message};
use aws_types::SdkConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::with_causes;
use latchkey_domain::notice::Sender;
use latchkey_service::notify::{Mail, Mailer, SendError, Words};

/// How long a request may take. Three mails of a batch fit into an invocation.
const REQUEST: Duration = Duration::from_secs(7);
/// How long the connection for it may take. Until there is one, nothing was handed over.
const CONNECT: Duration = Duration::from_secs(3);

/// What SES answers to a mail that it will never take (Amazon SES API v2 Reference, SendEmail, Errors). A mail over a limit,
/// a paused account and the like are waited for.
const REFUSALS: [&str; 2] = ["BadRequestException", "MessageRejected"];

/// Sends mails with Amazon SES.
#[derive(Clone, Debug)]
pub struct Ses {
    client: Client,
    from: String,
}

impl Ses {
    /// SES in the region, or at `endpoint`. Mails come from `sender`.
    #[must_use]
    pub fn connect(sdk: &SdkConfig, endpoint: Option<String>, sender: &Sender) -> Self {
        let mut config = aws_sdk_sesv2::config::Builder::from(sdk);
        config.set_endpoint_url(endpoint);
        // The SDK has no timeouts by default, and a silent SES would use up the time of the function.
        let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT);
        config.set_timeout_config(Some(timeouts.operation_timeout(REQUEST).build()));
        // `SendEmail` is not idempotent: another attempt after a timeout may be another mail. The queue brings it again.
        config.set_retry_config(Some(RetryConfig::disabled()));
        Self {
            client: Client::from_conf(config.build()),
            from: header_of(sender),
        }
    }
}

impl Mailer for Ses {
    async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        if !mail.to.is_reachable() {
            return Err(SendError::Unsupported);
        }
        let to = mailbox(&mail.to);
        let content = content(&mail.words).map_err(|error| {
            tracing::error!(%error, "a mail could not be put together");
            SendError::NotNow
        })?;
        let to = Destination::builder().to_addresses(to);
        let request = self
            .client
            .send_email()
            .from_email_address(&self.from)
            .destination(to.build())
            .content(content);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(failure(&error)),
        }
    }
}

/// What a failure means. What SES says of it often names the address, so only its code is logged.
fn failure(error: &SdkError<SendEmailError>) -> SendError {
    let status = error.raw_response().map(|reply| reply.status().as_u16());
    match error.code() {
        Some(code) if REFUSALS.contains(&code) => SendError::Refused {
            code: code.to_owned(),
        },
        Some(code) => {
            tracing::warn!(code, "SES does not take a mail");
            match status {
                // SES says of itself that it does not serve now.
                Some(503) => SendError::NotNow,
                Some(500..) => SendError::Unanswered,
                _ => SendError::NotNow,
            }
        }
        None => {
            let failure = match status {
                Some(300..500) => SendError::NotNow,
                None if has_no_connection(error) => SendError::NotNow,
                // An answer that cannot be read, none, or one of somebody on the way, who may have passed the mail on.
                Some(_) | None => SendError::Unanswered,
            };
            // Nothing of a reply is in the error of a request that had none.
            let error = status.is_none().then(|| with_causes(error));
            tracing::warn!(status, error, "SES does not answer");
            failure
        }
    }
}

/// Whether there was no connection, so that nothing can have been handed over.
fn has_no_connection(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            return error.is_connect();
        }
        cause = error.source();
    }
    false
}

fn content(words: &Words) -> Result<EmailContent, BuildError> {
    let utf_8 = |text: &str| Content::builder().data(text).charset("UTF-8").build();
    let body = Body::builder()
        .text(utf_8(&words.text)?)
        .html(utf_8(&words.html)?);
    let message = Message::builder()
        .subject(utf_8(&words.subject)?)
        .body(body.build());
    Ok(EmailContent::builder().simple(message.build()).build())
}

/// An address as SES takes it: the domain in its A-labels, the mailbox as it was typed.
fn mailbox(address: &EmailAddress) -> String {
    let typed = address.as_typed().rsplit_once('@');
    let normalized = address.normalized().rsplit_once('@');
    match (typed, normalized) {
        (Some((mailbox, _)), Some((_, domain))) => format!("{mailbox}@{domain}"),
        _ => address.as_typed().to_owned(),
    }
}

/// The most bytes of a text in one encoded word of at most 75 characters (RFC 2047 section 2).
const ENCODED_BYTES: usize = 45;

/// The `From` of a mail: the name in encoded words (RFC 2047), which no character of it can end.
fn header_of(sender: &Sender) -> String {
    let address = mailbox(sender.address());
    let Some(name) = sender.given_name() else {
        return address;
    };
    let mut words: Vec<String> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(ENCODED_BYTES));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = behind;
    }
    format!("{} <{address}>", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_encoded_and_an_address_has_an_ascii_domain() {
        let header = |sender: &str| header_of(&sender.parse().unwrap());
        assert_eq!(header("No-Reply@example.com"), "No-Reply@example.com");
        assert_eq!(
            header("Example, Inc. <mail@bücher.example>"),
            "=?UTF-8?B?RXhhbXBsZSwgSW5jLg==?= <mail@xn--bcher-kva.example>"
        );
        let long = header(&format!("{} <mail@example.com>", "ü".repeat(50)));
        let words: Vec<&str> = long.split(' ').collect();
        assert_eq!(words.len(), 4, "{long}");
        assert!(words.iter().all(|word| word.len() <= 75), "{long}");
    }
}
