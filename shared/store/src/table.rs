//! The shape of the table. On AWS the template makes it, and a test holds the two equal; the local stack and the
//! tests make it here.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, StreamSpecification, StreamViewType, TableStatus,
    TimeToLiveSpecification,
};

use latchkey_domain::error::with_causes;

use crate::item::attribute;
use crate::keys;

/// The table's partition key.
pub const PARTITION_KEY: &str = keys::PK;
/// The table's sort key.
pub const SORT_KEY: &str = keys::SK;
/// The index from a session id to its item, for administration.
pub const INDEX_NAME: &str = "jti-index";
/// The partition key of the index.
pub const INDEX_PARTITION_KEY: &str = "jti";
/// The attribute that tells DynamoDB when it may delete an item, in epoch seconds.
pub const TTL_ATTRIBUTE: &str = attribute::TTL;

/// The table could not be made or reached.
#[derive(Debug, thiserror::Error)]
#[error("the DynamoDB table {table} cannot be used: {reason}")]
pub struct TableError {
    table: String,
    reason: String,
}

impl TableError {
    fn new(table: &str, error: &(impl std::error::Error + 'static)) -> Self {
        Self {
            table: table.to_owned(),
            reason: with_causes(error),
        }
    }
}

/// Makes the table, if there is none, and waits until it can be used. Returns whether it was made.
///
/// # Errors
/// [`TableError`] if DynamoDB cannot be reached or refuses.
pub async fn create_if_missing(client: &Client, table: &str) -> Result<bool, TableError> {
    match client.describe_table().table_name(table).send().await {
        Ok(described) => {
            let status = described.table.and_then(|table| table.table_status);
            if status != Some(TableStatus::Active) {
                wait_until_active(client, table).await?;
            }
            return Ok(false);
        }
        Err(SdkError::ServiceError(error)) if error.err().is_resource_not_found_exception() => {}
        Err(error) => return Err(TableError::new(table, &error)),
    }
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX_NAME)
        .key_schema(key(INDEX_PARTITION_KEY, KeyType::Hash, table)?)
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::KeysOnly)
                .build(),
        )
        .build()
        .map_err(|error| TableError::new(table, &error))?;
    let created = client
        .create_table()
        .table_name(table)
        .attribute_definitions(text(PARTITION_KEY, table)?)
        .attribute_definitions(text(SORT_KEY, table)?)
        .attribute_definitions(text(INDEX_PARTITION_KEY, table)?)
        .key_schema(key(PARTITION_KEY, KeyType::Hash, table)?)
        .key_schema(key(SORT_KEY, KeyType::Range, table)?)
        .global_secondary_indexes(index)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await;
    match created {
        Ok(_) => {}
        // Another process makes it at the same moment.
        Err(SdkError::ServiceError(error)) if error.err().is_resource_in_use_exception() => {}
        Err(error) => return Err(TableError::new(table, &error)),
    }
    wait_until_active(client, table).await?;
    let ttl = TimeToLiveSpecification::builder()
        .attribute_name(TTL_ATTRIBUTE)
        .enabled(true)
        .build()
        .map_err(|error| TableError::new(table, &error))?;
    client
        .update_time_to_live()
        .table_name(table)
        .time_to_live_specification(ttl)
        .send()
        .await
        .map_err(|error| TableError::new(table, &error))?;
    Ok(true)
}

/// Gives a table the stream that events are made of. Does nothing if it has one.
///
/// # Errors
/// [`TableError`] if DynamoDB cannot be reached or refuses.
pub async fn enable_stream(client: &Client, table: &str) -> Result<(), TableError> {
    let described = client.describe_table().table_name(table).send().await;
    let described = described.map_err(|error| TableError::new(table, &error))?;
    let specified = described.table.and_then(|table| table.stream_specification);
    if specified.is_some_and(|stream| stream.stream_enabled) {
        return Ok(());
    }
    let update = client.update_table().table_name(table);
    let updated = update.stream_specification(stream(table)?).send().await;
    updated.map_err(|error| TableError::new(table, &error))?;
    wait_until_active(client, table).await
}

/// Events compare what an item was with what it has become.
fn stream(table: &str) -> Result<StreamSpecification, TableError> {
    StreamSpecification::builder()
        .stream_enabled(true)
        .stream_view_type(StreamViewType::NewAndOldImages)
        .build()
        .map_err(|error| TableError::new(table, &error))
}

async fn wait_until_active(client: &Client, table: &str) -> Result<(), TableError> {
    const ATTEMPTS: u32 = 60;
    for _ in 0..ATTEMPTS {
        let described = client
            .describe_table()
            .table_name(table)
            .send()
            .await
            .map_err(|error| TableError::new(table, &error))?;
        let status = described.table.and_then(|table| table.table_status);
        if status == Some(TableStatus::Active) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Err(TableError {
        table: table.to_owned(),
        reason: "it does not become active".to_owned(),
    })
}

fn text(name: &str, table: &str) -> Result<AttributeDefinition, TableError> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .map_err(|error| TableError::new(table, &error))
}

fn key(name: &str, kind: KeyType, table: &str) -> Result<KeySchemaElement, TableError> {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .map_err(|error| TableError::new(table, &error))
}
