//! The stream of the embedded DynamoDB, as Lambda brings it to a function.

use std::path::Path;

use dynoxide::Database;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::actions::list_streams::ListStreamsRequest;
use dynoxide::streams::shard_id;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::EmbeddedError;

/// How many records of the stream are kept. A reader that looks several times a second is never that far behind.
const RECORDS_KEPT: u32 = 20_000;
/// How long they are kept at most, as DynamoDB keeps them; seconds. They hold credentials too.
const KEPT_FOR: u32 = 86_400;

/// Reads a table's stream in its order, from a place on.
#[derive(Clone)]
pub struct StreamReader {
    database: Database,
    table: String,
}

impl StreamReader {
    /// A reader of a table's stream.
    #[must_use]
    pub fn new(database: Database, table: &str) -> Self {
        Self {
            database,
            table: table.to_owned(),
        }
    }

    /// At most `limit` records behind the one with a sequence number, or from the beginning of what is kept. Each is as
    /// Lambda has it. None of a table without a stream.
    ///
    /// # Errors
    /// [`EmbeddedError::Database`] if the database fails or there never was such a sequence number.
    pub fn read(&self, behind: Option<&str>, limit: usize) -> Result<Vec<Value>, EmbeddedError> {
        let of_table = ListStreamsRequest {
            table_name: Some(self.table.clone()),
            ..ListStreamsRequest::default()
        };
        let streams = self.database.list_streams(of_table)?.streams;
        let Some(stream) = streams.into_iter().next() else {
            return Ok(Vec::new());
        };
        let begin = match behind {
            Some(_) => "AFTER_SEQUENCE_NUMBER",
            None => "TRIM_HORIZON",
        };
        let iterator = self.database.get_shard_iterator(GetShardIteratorRequest {
            stream_arn: stream.stream_arn.clone(),
            shard_id: shard_id(&self.table),
            shard_iterator_type: begin.to_owned(),
            sequence_number: behind.map(str::to_owned),
        })?;
        let records = self.database.get_records(GetRecordsRequest {
            shard_iterator: iterator.shard_iterator.unwrap_or_default(),
            limit: Some(limit),
        })?;
        let as_lambda_has_it = |record| {
            let mut record = serde_json::to_value(record).unwrap_or_default();
            if let Some(members) = record.as_object_mut() {
                let arn = Value::String(stream.stream_arn.clone());
                members.insert("eventSourceARN".to_owned(), arn);
            }
            record
        };
        Ok(records.records.into_iter().map(as_lambda_has_it).collect())
    }
}

impl std::fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamReader").finish_non_exhaustive()
    }
}

/// Keeps the stream of a database short and quick to read. The engine never trims it, and looks through all of it at each
/// write: after 12,000 writes, each took 11 ms instead of 2.
pub(super) fn bound(database: &Path) -> Result<(), EmbeddedError> {
    let flags = OpenFlags::default() | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(database, flags)?;
    connection.execute_batch(&format!(
        "CREATE INDEX IF NOT EXISTS latchkey_stream
             ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
         CREATE TRIGGER IF NOT EXISTS latchkey_stream_trim AFTER INSERT ON _stream_records
         BEGIN
             DELETE FROM _stream_records WHERE id <= NEW.id - {RECORDS_KEPT};
         END;
         CREATE INDEX IF NOT EXISTS latchkey_stream_age ON _stream_records (created_at);
         CREATE TRIGGER IF NOT EXISTS latchkey_stream_forget AFTER INSERT ON _stream_records
         BEGIN
             DELETE FROM _stream_records WHERE created_at < NEW.created_at - {KEPT_FOR};
         END;"
    ))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;
    use latchkey_store::table::{create_if_missing, enable_stream};

    use super::*;
    use crate::embedded::Embedded;

    const TABLE: &str = "latchkey";

    #[tokio::test]
    async fn the_stream_is_read_in_order_from_a_place_on() {
        let embedded = Embedded::in_memory().unwrap();
        let client = embedded.client();
        create_if_missing(&client, TABLE).await.unwrap();
        let reader = embedded.stream(TABLE);
        assert_eq!(reader.read(None, 10).unwrap(), [] as [Value; 0]);
        for _ in 0..2 {
            enable_stream(&client, TABLE).await.unwrap();
        }
        for number in 0..3 {
            let text = |text: &str| AttributeValue::S(text.to_owned());
            let put = client.put_item().table_name(TABLE);
            let put = put
                .item("pk", text(&format!("{number}")))
                .item("sk", text("x"));
            put.send().await.unwrap();
        }
        let keys = |records: &[Value]| -> Vec<String> {
            let key = |record: &Value| record["dynamodb"]["Keys"]["pk"]["S"].to_string();
            records.iter().map(key).collect()
        };
        let all = reader.read(None, 10).unwrap();
        assert_eq!(keys(&all), ["\"0\"", "\"1\"", "\"2\""]);
        let first = all[0]["dynamodb"]["SequenceNumber"].as_str();
        assert_eq!(keys(&reader.read(first, 1).unwrap()), ["\"1\""]);
        assert!(reader.read(Some("nothing"), 1).is_err());
    }

    /// By the plan of the engine's own query: otherwise each write looks at all records.
    #[tokio::test]
    async fn the_index_answers_what_the_engine_asks_at_each_write() {
        let scratch = std::env::temp_dir();
        let file = scratch.join(format!("latchkey-test-{}-stream.db", std::process::id()));
        drop(Embedded::in_file(&file).unwrap());
        let connection = Connection::open(&file).unwrap();
        let plan: String = connection
            .query_row(
                "EXPLAIN QUERY PLAN SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1
                 FROM _stream_records WHERE table_name = 'latchkey'",
                [],
                |row| row.get(3),
            )
            .unwrap();
        connection
            .execute_batch(&format!(
                "INSERT INTO _stream_records (id, table_name, event_name, keys_json, sequence_number, shard_id, created_at)
                 VALUES (1, 'latchkey', 'INSERT', '{{}}', '1', 's', 1), (2, 'latchkey', 'INSERT', '{{}}', '2', 's', 1),
                        ({RECORDS_KEPT} + 1, 'latchkey', 'INSERT', '{{}}', '3', 's', 1);"
            ))
            .unwrap();
        let kept: u32 = connection
            .query_row("SELECT COUNT(*) FROM _stream_records", [], |row| row.get(0))
            .unwrap();
        drop(connection);
        std::fs::remove_file(&file).unwrap();
        assert!(plan.contains("latchkey_stream"), "{plan}");
        assert_eq!(kept, 2);
    }

    #[tokio::test]
    async fn a_record_is_forgotten_with_the_first_write_a_day_later() {
        let scratch = std::env::temp_dir();
        let file = scratch.join(format!("latchkey-test-{}-age.db", std::process::id()));
        drop(Embedded::in_file(&file).unwrap());
        let connection = Connection::open(&file).unwrap();
        let kept_after = |age: u32| -> u32 {
            connection
                .execute_batch(&format!(
                    "DELETE FROM _stream_records;
                     INSERT INTO _stream_records (table_name, event_name, keys_json, sequence_number, shard_id, created_at)
                     VALUES ('latchkey', 'INSERT', '{{}}', '1', 's', 1);
                     INSERT INTO _stream_records (table_name, event_name, keys_json, sequence_number, shard_id, created_at)
                     VALUES ('latchkey', 'INSERT', '{{}}', '2', 's', 1 + {age});"
                ))
                .unwrap();
            let count = "SELECT COUNT(*) FROM _stream_records";
            connection.query_row(count, [], |row| row.get(0)).unwrap()
        };
        let kept = [KEPT_FOR, KEPT_FOR + 1].map(kept_after);
        drop(connection);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(kept, [2, 1]);
    }
}
