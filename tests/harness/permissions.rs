//! The roles of the functions, as `template.yaml` gives them: a function's requests to DynamoDB are judged as IAM would
//! judge them, and what its role does not allow is answered with `AccessDeniedException`, as AWS does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};

use aws_sdk_dynamodb::Client;
use aws_smithy_runtime_api::client::http::HttpClient as _;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use latchkey_store::table::INDEX_NAME;
use serde_json::{Value, json};

use crate::harness::template::{functions, template};

/// One thing that a function may do, or has done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The function, by the name of its binary.
    pub function: String,
    /// `dynamodb:GetItem`, ...
    pub action: String,
    /// What the partition keys are like (`USER#*`), or `*` if the role does not say, or that it is the index.
    pub leading_keys: String,
}

/// Stands for the index in the place of partition keys.
const INDEX: &str = "the index";

/// What the template allows on the table.
pub static ALLOWED: LazyLock<BTreeSet<Permission>> = LazyLock::new(|| {
    let mut allowed = BTreeSet::new();
    for (function, described) in functions(&template()) {
        let policies = described["Properties"]["Policies"].as_array();
        let statements = policies
            .into_iter()
            .flatten()
            .flat_map(|policy| policy["Statement"].as_array().cloned().unwrap_or_default());
        for statement in statements {
            allowed.extend(permissions(&function, &statement));
        }
    }
    allowed
});

/// Which of it was used in this process, and how often.
static USED: Mutex<BTreeMap<Permission, u64>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// What was refused to the test that runs on this thread.
    static DENIED: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
}

/// What was refused so far on this thread.
#[must_use]
pub fn denied() -> BTreeSet<String> {
    DENIED.with_borrow(Clone::clone)
}

/// What was used so far in this process.
///
/// # Panics
/// Never: nobody panics under its lock.
#[must_use]
pub fn used() -> BTreeSet<Permission> {
    let used = USED.lock().expect("no test panics under this lock");
    used.keys().cloned().collect()
}

/// What a statement allows on the table itself.
fn permissions(function: &str, statement: &Value) -> Vec<Permission> {
    let listed = |value: &Value| -> Vec<String> {
        match value {
            Value::String(one) => vec![one.clone()],
            Value::Array(all) => all
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        }
    };
    // One that a parameter takes away counts as there.
    let statement = match statement.as_array().map(Vec::as_slice) {
        Some([Value::String(_), statement, nothing]) if nothing == "AWS::NoValue" => statement,
        _ => statement,
    };
    assert_eq!(statement["Effect"], "Allow", "{function}: {statement}");
    let actions: Vec<String> = listed(&statement["Action"])
        .into_iter()
        .filter(|action| action.starts_with("dynamodb:"))
        .collect();
    // The stream is read by Lambda itself.
    let is_stream =
        statement["Resource"][1] == "Table.StreamArn" || actions == ["dynamodb:ListStreams"];
    if actions.is_empty() || is_stream {
        return Vec::new();
    }
    // The stack's table or the one that it is given, or the index of it, whose partition keys are session ids.
    let arn = "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${ExistingTableName}";
    let index = json!([
        "MakesTable",
        format!("${{Table.Arn}}/index/{INDEX_NAME}"),
        format!("{arn}/index/{INDEX_NAME}")
    ]);
    let is_index = statement["Resource"] == index;
    if !is_index {
        let table = json!(["MakesTable", "Table.Arn", arn]);
        assert_eq!(statement["Resource"], table, "{function}");
    }
    let patterns = match &statement["Condition"] {
        Value::Null if is_index => vec![INDEX.to_owned()],
        Value::Null => vec!["*".to_owned()],
        condition => {
            let keys = &condition["ForAllValues:StringLike"]["dynamodb:LeadingKeys"];
            let known = json!({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": keys}});
            assert_eq!(*condition, known, "{function}: a condition of another kind");
            listed(keys)
        }
    };
    let mut permissions = Vec::new();
    for action in &actions {
        for leading_keys in &patterns {
            permissions.push(Permission {
                function: function.to_owned(),
                action: action.clone(),
                leading_keys: leading_keys.clone(),
            });
        }
    }
    permissions
}

/// What a request needs: actions, each with the partition key it is about, if it is about one. A transaction needs the
/// action of each of its items
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>).
fn needs(operation: &str, request: &Value) -> Vec<(String, Option<String>)> {
    let action = |name: &str| format!("dynamodb:{name}");
    let key_of = |place: &Value| place["pk"]["S"].as_str().map(str::to_owned);
    if request["IndexName"] == INDEX_NAME {
        return vec![(action(operation), Some(INDEX.to_owned()))];
    }
    match operation {
        "TransactWriteItems" => request["TransactItems"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_object()?.iter().next())
            .map(|(kind, item)| match kind.as_str() {
                "Put" => (action("PutItem"), key_of(&item["Item"])),
                "Update" => (action("UpdateItem"), key_of(&item["Key"])),
                "Delete" => (action("DeleteItem"), key_of(&item["Key"])),
                _ => (action("ConditionCheckItem"), key_of(&item["Key"])),
            })
            .collect(),
        "BatchWriteItem" => request["RequestItems"]
            .as_object()
            .into_iter()
            .flat_map(|tables| tables.values())
            .filter_map(Value::as_array)
            .flatten()
            .map(|write| {
                let key = key_of(&write["DeleteRequest"]["Key"])
                    .or_else(|| key_of(&write["PutRequest"]["Item"]));
                (action("BatchWriteItem"), key)
            })
            .collect(),
        "PutItem" => vec![(action("PutItem"), key_of(&request["Item"]))],
        "Query" => {
            // Whatever the placeholder is called: the first value of the key condition is the partition key's.
            let condition = request["KeyConditionExpression"]
                .as_str()
                .unwrap_or_default();
            let placeholder = condition
                .split_whitespace()
                .find(|word| word.starts_with(':'))
                .unwrap_or_default();
            let key = request["ExpressionAttributeValues"][placeholder]["S"].as_str();
            vec![(action("Query"), key.map(str::to_owned))]
        }
        "Scan" => vec![(action("Scan"), None)],
        other => vec![(action(other), key_of(&request["Key"]))],
    }
}

/// The permission that covers a need, if there is one. `ForAllValues` is true where there is no leading key at all,
/// so that a scan needs a role without that condition to be refused: here it is refused unless it is named without one.
fn covering(function: &str, action: &str, key: Option<&str>) -> Option<Permission> {
    ALLOWED
        .iter()
        .find(|allowed| {
            let fits = match (allowed.leading_keys.as_str(), key) {
                (pattern, Some(INDEX)) => pattern == INDEX,
                ("*", _) => true,
                (_, None) => false,
                (pattern, Some(key)) => pattern
                    .strip_suffix('*')
                    .map_or(key == pattern, |prefix| key.starts_with(prefix)),
            };
            allowed.function == function && allowed.action == action && fits
        })
        .cloned()
}

/// The same client with the role of a function: what the template does not allow it is refused.
///
/// # Panics
/// When the client has no HTTP client.
#[must_use]
pub fn with_role_of(function: &'static str, client: &Client) -> Client {
    let inner = client.config().http_client().expect("an HTTP client");
    let restricted = http_client_fn(move |settings, components| {
        SharedHttpConnector::new(RestrictedConnector {
            function,
            inner: inner.http_connector(settings, components),
        })
    });
    Client::from_conf(client.config().to_builder().http_client(restricted).build())
}

#[derive(Debug)]
struct RestrictedConnector {
    function: &'static str,
    inner: SharedHttpConnector,
}

impl HttpConnector for RestrictedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let operation = request
            .headers()
            .get("x-amz-target")
            .and_then(|target| target.split('.').next_back())
            .unwrap_or_default();
        let body = request.body().bytes().unwrap_or_default();
        let sent: Value = serde_json::from_slice(body).unwrap_or_default();
        for (action, key) in needs(operation, &sent) {
            match covering(self.function, &action, key.as_deref()) {
                Some(permission) => {
                    let mut used = USED.lock().expect("no test panics under this lock");
                    *used.entry(permission).or_default() += 1;
                }
                None => {
                    let refusal = refusal(self.function, &action, key.as_deref());
                    return HttpConnectorFuture::ready(Ok(refusal));
                }
            }
        }
        self.inner.call(request)
    }
}

fn refusal(function: &str, action: &str, key: Option<&str>) -> HttpResponse {
    let message = format!("{function} is not authorized to perform {action} on {key:?}");
    let body = json!({
        "__type": "com.amazon.coral.service#AccessDeniedException",
        "Message": message,
    });
    DENIED.with_borrow_mut(|denied| denied.insert(message.clone()));
    let mut response = HttpResponse::new(
        http::StatusCode::BAD_REQUEST.into(),
        SdkBody::from(body.to_string()),
    );
    response
        .headers_mut()
        .insert("content-type", "application/x-amz-json-1.0");
    response
}
