//! `template.yaml` and the templates that it nests, to compare them with the code.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

/// The CloudFront distribution.
pub const EDGE: &str = "infra/edge/template.yaml";
/// The firewall of the distribution.
pub const WEB_ACL: &str = "infra/edge/web-acl.yaml";
/// The dashboard, and the alarms that roll no upgrade back.
pub const WATCH: &str = "infra/watch/template.yaml";

/// The functions that somebody waits for and that open a connection to the table at their start.
pub static ON_TABLE: LazyLock<Vec<String>> = LazyLock::new(|| {
    functions(&template())
        .into_iter()
        .filter(|(_, function)| {
            let properties = &function["Properties"];
            let mut events = properties["Events"].as_object().into_iter().flatten();
            !events.any(|(_, event)| event["Type"] == "Schedule" || event["Type"] == "SQS")
                && !properties["Environment"]["Variables"]["TABLE_NAME"].is_null()
                // It reads the stream, and writes to the table only what it cannot publish.
                && properties["Environment"]["Variables"]["EVENT_BUS_NAME"].is_null()
        })
        .map(|(binary, _)| binary)
        .collect()
});

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
    read("template.yaml")
}

/// The same of any template, by its path in the repository.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(root().join(path)).expect("a template");
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

/// The functions of the template, by the name of their crate, which is that of their folder and of their binary.
///
/// # Panics
/// When one has no folder.
#[must_use]
pub fn functions(template: &Value) -> BTreeMap<String, Value> {
    let resources = template["Resources"].as_object().expect("resources");
    resources
        .values()
        .filter(|resource| resource["Type"] == "AWS::Serverless::Function")
        .map(|function| {
            let folder = function["Properties"]["CodeUri"].as_str();
            let crate_name = folder.and_then(|folder| folder.strip_prefix("functions/"));
            let crate_name = crate_name.expect("a folder of functions");
            (crate_name.to_owned(), function.clone())
        })
        .collect()
}
