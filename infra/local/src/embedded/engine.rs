//! Which method of the engine answers which operation of DynamoDB.

use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What DynamoDB answers to an operation that it does not have.
const UNKNOWN_OPERATION: &str =
    r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#;

/// A reply as DynamoDB sends it: a status and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, in `application/x-amz-json-1.0`.
    pub body: String,
}

/// Carries out an operation of DynamoDB such as `GetItem`, whose request is JSON.
#[must_use]
pub fn answer(database: &Database, operation: &str, request: &[u8]) -> Answer {
    macro_rules! dispatch {
        ($($name:literal: $method:ident),* $(,)?) => {
            match operation {
                $($name => run(request, |request| database.$method(request)),)*
                _ => Answer { status: 400, body: UNKNOWN_OPERATION.to_owned() },
            }
        };
    }
    dispatch! {
        "BatchExecuteStatement": batch_execute_statement,
        "BatchGetItem": batch_get_item,
        "BatchWriteItem": batch_write_item,
        "CreateTable": create_table,
        "DeleteItem": delete_item,
        "DeleteTable": delete_table,
        "DescribeStream": describe_stream,
        "DescribeTable": describe_table,
        "DescribeTimeToLive": describe_time_to_live,
        "ExecuteStatement": execute_statement,
        "ExecuteTransaction": execute_transaction,
        "GetItem": get_item,
        "GetRecords": get_records,
        "GetShardIterator": get_shard_iterator,
        "ListStreams": list_streams,
        "ListTables": list_tables,
        "ListTagsOfResource": list_tags_of_resource,
        "PutItem": put_item,
        "Query": query,
        "Scan": scan,
        "TagResource": tag_resource,
        "TransactGetItems": transact_get_items,
        "TransactWriteItems": transact_write_items,
        "UntagResource": untag_resource,
        "UpdateItem": update_item,
        "UpdateTable": update_table,
        "UpdateTimeToLive": update_time_to_live,
    }
}

fn run<Request: DeserializeOwned, Response: Serialize>(
    request: &[u8],
    call: impl FnOnce(Request) -> dynoxide::Result<Response>,
) -> Answer {
    let answered = serde_json::from_slice(request)
        .map_err(|error| malformed(&error.to_string()))
        .and_then(call)
        .and_then(|response| {
            serde_json::to_string(&response)
                .map_err(|error| DynoxideError::InternalServerError(error.to_string()))
        });
    match answered {
        Ok(body) => Answer { status: 200, body },
        Err(error) => Answer {
            status: error.status_code(),
            body: error.to_json(),
        },
    }
}

/// A request that cannot be read. The engine marks what DynamoDB calls a validation error.
fn malformed(message: &str) -> DynoxideError {
    match message.split_once(':') {
        Some((mark, message)) if mark.starts_with("VALIDATION") => {
            DynoxideError::ValidationException(message.to_owned())
        }
        _ => DynoxideError::SerializationException(message.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_that_dynamodb_does_not_have_is_refused_as_dynamodb_does() {
        let database = Database::memory().unwrap();
        for operation in ["", "GetItems", "../GetItem", "getitem"] {
            let answer = answer(&database, operation, b"{}");
            assert_eq!(answer.status, 400, "{operation}");
            assert!(
                answer.body.contains("UnknownOperationException"),
                "{operation}"
            );
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_is_refused() {
        let database = Database::memory().unwrap();
        for request in ["", "[]", "{", r#"{"TableName": 1}"#, "\u{0}"] {
            let answer = answer(&database, "GetItem", request.as_bytes());
            assert_eq!(answer.status, 400, "{request}");
            let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
            assert!(
                body["__type"].as_str().unwrap().ends_with("Exception"),
                "{body}"
            );
        }
    }
}
