//! One DynamoDB call of the service, as the SDK sent it, and what it came back with.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

/// Partition and sort key of an item.
pub type ItemKey = (String, String);

/// A call as it is on the wire. Two are the same if they ask for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// `GetItem`, `UpdateItem`, ...
    pub operation: Arc<str>,
    /// The body, by [`canonical`].
    pub body: Arc<str>,
}

/// What a call comes back with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// DynamoDB's answer.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body, by [`canonical`].
        body: Arc<str>,
    },
    /// The connection breaks.
    Lost,
}

impl Reply {
    /// Whether it was done.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answer { status: 200, .. })
    }
}

/// What a call asks for, read once.
#[derive(Clone, Debug)]
pub struct CallInfo {
    /// The body without its `ClientRequestToken`.
    pub body: Value,
    /// The `ClientRequestToken` of a transaction.
    pub token: Option<String>,
    /// The items that it names.
    pub keys: Vec<ItemKey>,
    /// The partition that it queries, without the index.
    pub partition: Option<String>,
    /// Whether it may change the table.
    pub is_write: bool,
    /// Whether its answer may be older than the last write.
    pub may_be_stale: bool,
    /// Whether it exchanges the refresh token of a session.
    pub rotates: bool,
    /// Whether no rule looks at its items and no other request can meet it there.
    pub is_private: bool,
}

/// JSON in one spelling: keys, sets and the parts of updates in order. The SDK and the store write maps in any order.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

/// An update expression in one spelling: its clauses in order, and what each sets, too.
fn in_order(expression: &str) -> String {
    let mut clauses: Vec<Vec<String>> = Vec::new();
    for word in expression.split(", #") {
        // A clause begins with its keyword, wherever it stands.
        let mut rest = word;
        while let Some((at, keyword)) = [" REMOVE ", " ADD ", " DELETE "]
            .into_iter()
            .filter_map(|keyword| Some((rest.find(keyword)?, keyword)))
            .min()
        {
            push(&mut clauses, &rest[..at]);
            clauses.push(vec![keyword.trim().to_owned()]);
            rest = &rest[at + keyword.len()..];
        }
        push(&mut clauses, rest);
    }
    let in_order = |mut clause: Vec<String>| {
        clause[1..].sort();
        format!("{} {}", clause[0], clause[1..].join(", "))
    };
    let clauses: Vec<String> = clauses.into_iter().map(in_order).collect();
    clauses.join(" ")
}

fn push(clauses: &mut Vec<Vec<String>>, assignment: &str) {
    let keywords = ["SET ", "REMOVE ", "ADD ", "DELETE "];
    let keyword = keywords
        .into_iter()
        .find(|keyword| assignment.starts_with(keyword));
    match (keyword, clauses.last_mut()) {
        (Some(keyword), _) => {
            let assignment = assignment[keyword.len()..].to_owned();
            clauses.push(vec![keyword.trim().to_owned(), assignment]);
        }
        (None, Some(clause)) => clause.push(format!("#{}", assignment.trim_start_matches('#'))),
        (None, None) => {}
    }
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            let is_set = |name: &str| matches!(name, "SS" | "NS" | "BS");
            text.push('{');
            for (position, (name, value)) in fields.into_iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                match value {
                    Value::String(expression) if name == "UpdateExpression" => {
                        text.push_str(&Value::from(in_order(expression)).to_string());
                    }
                    Value::Array(elements) if is_set(name) => {
                        let mut elements = elements.clone();
                        elements.sort_by_key(ToString::to_string);
                        write_canonical(&elements.into(), text);
                    }
                    value => write_canonical(value, text),
                }
            }
            text.push('}');
        }
        Value::Array(elements) => {
            text.push('[');
            for (position, element) in elements.iter().enumerate() {
                if position > 0 {
                    text.push(',');
                }
                write_canonical(element, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// The key of an item, or of whatever names one.
#[must_use]
pub fn key_of(item: &Value) -> ItemKey {
    let text = |name: &str| item[name]["S"].as_str().unwrap_or_default().to_owned();
    (text("pk"), text("sk"))
}

impl Call {
    /// A call as the SDK sent it.
    #[must_use]
    pub fn new(operation: &str, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        Self {
            operation: operation.into(),
            body: canonical(&body).into(),
        }
    }

    /// What it asks for.
    #[must_use]
    pub fn read(&self) -> CallInfo {
        let mut body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let token = body.as_object_mut().and_then(|body| {
            let token = body.remove("ClientRequestToken")?;
            token.as_str().map(str::to_owned)
        });
        let keys = keys_of(&self.operation, &body);
        let is_query = &*self.operation == "Query";
        let partition = is_query.then(|| queried_partition(&body)).flatten();
        let is_write = !matches!(
            &*self.operation,
            "GetItem" | "Query" | "Scan" | "BatchGetItem"
        );
        let update = body["UpdateExpression"].as_str().unwrap_or_default();
        let partitions: BTreeSet<&str> = keys.iter().map(|(pk, _)| pk.as_str()).collect();
        let partitions: Vec<&str> = match &partition {
            Some(partition) => vec![partition.as_str()],
            None => partitions.into_iter().collect(),
        };
        let of_one_request = |pk: &str| pk.starts_with("THROTTLE#") || pk.starts_with("ACTIVITY#");
        CallInfo {
            token,
            is_write,
            may_be_stale: !is_write && body["ConsistentRead"] != Value::Bool(true),
            rotates: &*self.operation == "UpdateItem" && update.contains("#rotation = "),
            is_private: !partitions.is_empty() && partitions.into_iter().all(of_one_request),
            keys,
            partition,
            body,
        }
    }
}

fn keys_of(operation: &str, body: &Value) -> Vec<ItemKey> {
    match operation {
        "TransactWriteItems" => {
            let parts = body["TransactItems"].as_array();
            let parts = parts.into_iter().flatten();
            let keys = parts.filter_map(|part| part.as_object()?.values().next());
            keys.map(|part| match part.get("Key") {
                Some(key) => key_of(key),
                None => key_of(&part["Item"]),
            })
            .collect()
        }
        "BatchWriteItem" => deletes_of(body).iter().map(key_of).collect(),
        "PutItem" => vec![key_of(&body["Item"])],
        "Query" | "Scan" => Vec::new(),
        _ => vec![key_of(&body["Key"])],
    }
}

/// The keys that a batch deletes. The service puts nothing by a batch.
#[must_use]
pub fn deletes_of(body: &Value) -> Vec<Value> {
    let tables = body["RequestItems"].as_object();
    let requests = tables.into_iter().flat_map(serde_json::Map::values);
    let requests = requests.filter_map(Value::as_array).flatten();
    requests
        .map(|request| request["DeleteRequest"]["Key"].clone())
        .collect()
}

fn queried_partition(body: &Value) -> Option<String> {
    if body.get("IndexName").is_some() {
        return None;
    }
    let values = body["ExpressionAttributeValues"].as_object()?;
    let prefixes = ["USER#", "ACTIVITY#", "THROTTLE#"];
    let mut texts = values.values().filter_map(|value| value["S"].as_str());
    let partition = texts.find(|text| prefixes.iter().any(|prefix| text.starts_with(prefix)));
    partition.map(str::to_owned)
}
