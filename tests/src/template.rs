//! `template.yaml`, to compare it with the code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The functions that answer over HTTP and open a connection to the table at their start.
pub const ON_TABLE: [&str; 8] = [
    "register",
    "login",
    "refresh",
    "list-sessions",
    "rename",
    "revoke",
    "revoke-all",
    "account",
];

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The template, with CloudFormation's tags left out: `!Ref Table` is "Table".
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn template() -> Value {
    let text = std::fs::read_to_string(root().join("template.yaml")).expect("a template");
    plain(serde_norway::from_str(&text).expect("YAML"))
}

fn plain(value: serde_norway::Value) -> Value {
    match value {
        serde_norway::Value::Tagged(tagged) => plain(tagged.value),
        serde_norway::Value::Mapping(map) => map
            .into_iter()
            .map(|(key, value)| (key.as_str().unwrap_or_default().to_owned(), plain(value)))
            .collect(),
        serde_norway::Value::Sequence(list) => list.into_iter().map(plain).collect(),
        other => serde_json::to_value(other).expect("JSON"),
    }
}

/// The functions of the template, by the name of their binary.
///
/// # Panics
/// When it has a function without one.
#[must_use]
pub fn functions(template: &Value) -> BTreeMap<String, Value> {
    let resources = template["Resources"].as_object().expect("resources");
    resources
        .values()
        .filter(|resource| resource["Type"] == "AWS::Serverless::Function")
        .map(|function| {
            let binary = function["Metadata"]["BuildProperties"]["Binary"]
                .as_str()
                .expect("a binary");
            (binary.to_owned(), function.clone())
        })
        .collect()
}
