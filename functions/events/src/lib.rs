//! Events: reads the table's stream, writes what happened into the users' activity, and puts it on an EventBridge bus, as
//! CloudEvents.
//!
//! Lambda brings a batch of records and starts again at the first one that is reported as failed, so every event is put at
//! least once, each time with the same id. What becomes of a record is in [`latchkey_service::events`].

mod bus;

use std::sync::Arc;

use aws_lambda_events::dynamodb::EventRecord;
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use aws_types::SdkConfig;
use latchkey_domain::clock::Clock;
use latchkey_runtime::settings::EventsSettings;
use latchkey_service::activity::ActivityLog;
use latchkey_service::events::{
    Bus, DeadLetters, Publisher, RecordedChange, StreamRecord, TableDeadLetters, Unreadable,
};
use latchkey_store::{ItemChange, Store};
use serde::Deserialize;
use serde_json::Value;

pub use bus::EventBridge;

/// What Lambda brings: records of the table's stream. Each is read on its own, so that one in another form does not hide
/// the others.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StreamBatch {
    /// The records, in the order of the stream.
    #[serde(rename = "Records")]
    pub records: Vec<Value>,
}

/// The publisher of this function on AWS.
#[must_use]
pub fn connect(
    sdk: &SdkConfig,
    settings: &EventsSettings,
    store: Store,
    clock: Arc<dyn Clock>,
) -> Publisher<EventBridge, TableDeadLetters> {
    Publisher {
        activity: ActivityLog {
            store: store.clone(),
            retention: settings.activity_retention,
            clock: clock.clone(),
        },
        bus: EventBridge::connect(sdk, settings),
        dead_letters: TableDeadLetters { store, clock },
    }
}

/// Publishes what a batch of records tells. The reply names the record from which Lambda is to start again, if there is one.
pub async fn on_records<B: Bus, D: DeadLetters>(
    publisher: &Publisher<B, D>,
    batch: StreamBatch,
) -> DynamoDbEventResponse {
    let records: Vec<StreamRecord> = batch.records.into_iter().map(read).collect();
    let mut response = DynamoDbEventResponse::default();
    // Boxed, because the compiler gives up on futures that are nested as deep as these.
    if let Err(stopped_at) = Box::pin(publisher.publish(&records)).await {
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = Some(stopped_at.sequence_number);
        response.batch_item_failures.push(failure);
    }
    response
}

/// The place of a record in the stream; empty if it has none.
#[must_use]
pub fn sequence_number(record: &Value) -> String {
    let number = record.pointer("/dynamodb/SequenceNumber");
    number
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn read(record: Value) -> StreamRecord {
    StreamRecord {
        sequence_number: sequence_number(&record),
        change: read_change(&record),
        record,
    }
}

fn read_change(record: &Value) -> Result<RecordedChange, Unreadable> {
    let record = EventRecord::deserialize(record).map_err(|_| Unreadable)?;
    // Lambda shows an image that is not there as one without attributes.
    let image = |image: serde_dynamo::Item| (!image.is_empty()).then_some(image);
    let (before, after) = (
        image(record.change.old_image),
        image(record.change.new_image),
    );
    let kind = record.event_name.parse().map_err(|_| Unreadable)?;
    let change = ItemChange::read(kind, record.change.keys, before, after);
    let change = change.map_err(|_| Unreadable)?;
    Ok(RecordedChange {
        change,
        recorded_at: record.change.approximate_creation_date_time,
    })
}
