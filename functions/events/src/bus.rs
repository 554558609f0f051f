//! The bus on AWS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_eventbridge::Client;
use aws_sdk_eventbridge::config::timeout::TimeoutConfig;
use aws_sdk_eventbridge::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_eventbridge::operation::describe_event_bus::DescribeEventBusError;
use aws_sdk_eventbridge::operation::put_events::PutEventsError;
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, PutEventsResultEntry};
use aws_types::SdkConfig;
use latchkey_domain::error::with_causes;
use latchkey_domain::event::{Event, SOURCE};
use latchkey_runtime::settings::EventsSettings;
use latchkey_service::events::{Bus, PutOutcome};

/// How long one attempt of a request may take, and all of them together.
const ATTEMPT: Duration = Duration::from_secs(3);
const REQUEST: Duration = Duration::from_secs(10);

/// The code of an entry that will never be taken (EventBridge API Reference, PutEventsResultEntry).
const MALFORMED: &str = "MalformedDetail";
/// The code of an entry that will never be taken if it was put alone. With others it may be told of all of them.
const INVALID: &str = "InvalidArgument";
/// What a request is answered with, with the status 400, that will never be taken as it is (EventBridge API Reference,
/// Common Errors). If it holds one event, that is the one.
const INVALID_REQUESTS: [&str; 2] = ["SerializationException", "ValidationException"];

/// An event bus of EventBridge.
#[derive(Clone, Debug)]
pub struct EventBridge {
    client: Client,
    bus: String,
    /// Whether it was seen that there is such a bus.
    is_known: Arc<AtomicBool>,
}

impl EventBridge {
    /// The bus that the settings name.
    #[must_use]
    pub fn connect(sdk: &SdkConfig, settings: &EventsSettings) -> Self {
        let mut config = aws_sdk_eventbridge::config::Builder::from(sdk);
        config.set_endpoint_url(settings.endpoint.clone());
        // The SDK has no timeouts by default, and a silent bus would use up the time of the function.
        config.set_timeout_config(Some(
            TimeoutConfig::builder()
                .operation_attempt_timeout(ATTEMPT)
                .operation_timeout(REQUEST)
                .build(),
        ));
        Self {
            client: Client::from_conf(config.build()),
            bus: settings.bus_name.clone(),
            is_known: Arc::default(),
        }
    }

    /// Whether there is such a bus, asked until it was seen once. `PutEvents` takes events for a bus that does not exist, and
    /// they are gone. Where EventBridge does not say, the events are put.
    async fn is_missing(&self) -> bool {
        if self.is_known.load(Ordering::Relaxed) {
            return false;
        }
        match self
            .client
            .describe_event_bus()
            .name(&self.bus)
            .send()
            .await
        {
            Ok(_) => {
                self.is_known.store(true, Ordering::Relaxed);
                false
            }
            Err(error) => {
                let service = error.as_service_error();
                let is_missing =
                    service.is_some_and(DescribeEventBusError::is_resource_not_found_exception);
                match is_missing {
                    true => tracing::error!(bus = self.bus, "there is no such event bus"),
                    false => tracing::warn!(
                        error = with_causes(&error),
                        "EventBridge does not tell of the bus"
                    ),
                }
                is_missing
            }
        }
    }

    fn entry(&self, event: &Event) -> Result<PutEventsRequestEntry, serde_json::Error> {
        Ok(PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus)
            .source(SOURCE)
            .detail_type(event.occurrence.event_type())
            .time(DateTime::from_millis(event.at.timestamp_millis()))
            .detail(serde_json::to_string(event)?)
            .build())
    }
}

impl Bus for EventBridge {
    async fn put(&self, events: &[&Event]) -> Vec<PutOutcome> {
        let entries: Result<Vec<_>, _> = events.iter().map(|event| self.entry(event)).collect();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, "an event could not be written as JSON");
                return Vec::new();
            }
        };
        if self.is_missing().await {
            return Vec::new();
        }
        let request = self.client.put_events().set_entries(Some(entries));
        match request.send().await {
            Ok(output) => {
                let is_alone = events.len() == 1;
                let entries = output.entries().iter();
                entries.map(|entry| outcome(entry, is_alone)).collect()
            }
            Err(error) => {
                // What an answer says may quote an entry, and so an address.
                let status = error.raw_response().map(|reply| reply.status().as_u16());
                let causes = status.is_none().then(|| with_causes(&error));
                tracing::warn!(
                    status,
                    code = error.code(),
                    error = causes,
                    "EventBridge takes no events"
                );
                match (events, invalid_request(&error)) {
                    ([_], Some(code)) => vec![PutOutcome::Refused { code }],
                    _ => Vec::new(),
                }
            }
        }
    }
}

/// The code of an answer that says that the request is wrong in itself.
fn invalid_request(error: &SdkError<PutEventsError>) -> Option<String> {
    let status = error.raw_response()?.status().as_u16();
    let code = error.code()?;
    (status == 400 && INVALID_REQUESTS.contains(&code)).then(|| code.to_owned())
}

/// What became of an entry. Whatever somebody can put right, as a permission or a full bus, is waited for.
fn outcome(entry: &PutEventsResultEntry, is_alone: bool) -> PutOutcome {
    match entry.error_code() {
        None => PutOutcome::Taken,
        Some(code) if code == MALFORMED || (is_alone && code == INVALID) => PutOutcome::Refused {
            code: code.to_owned(),
        },
        Some(code) => {
            tracing::warn!(code, "EventBridge has not taken an event");
            PutOutcome::NotTaken
        }
    }
}
