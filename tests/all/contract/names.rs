//! Names stay within AWS's limits however long the name of the stack is, up to what the guide says.

use std::collections::BTreeSet;

use latchkey_tests::harness::template::{EDGE, WATCH, WEB_ACL, read, template};
use serde_json::Value;

/// The longest name of a stack; infra/guides/operate/deploy.md says so. CloudFormation itself takes 128 characters.
const LONGEST: usize = 98;

/// CloudFormation's own: of a stack, also of one that another makes and names.
const LONGEST_OF_A_STACK: usize = 128;
/// What CloudFormation puts behind a name that it makes: a hyphen and a random part, 12 or 13 characters.
const RANDOM: usize = 14;

/// What each property with the stack's name may hold, in characters: the type of its resource, the keys that lead to it
/// (without positions), the limit in AWS's reference of the resource.
const LIMITS: [(&str, &str, usize); 15] = [
    ("AWS::AppConfig::Application", "Description", 1024),
    (
        "AWS::CloudFront::Distribution",
        "DistributionConfig.Comment",
        128,
    ),
    ("AWS::CloudWatch::Alarm", "Dimensions.Value", 1024),
    (
        "AWS::CloudWatch::Alarm",
        "Metrics.MetricStat.Metric.Dimensions.Value",
        1024,
    ),
    ("AWS::CloudWatch::Alarm", "Namespace", 255),
    ("AWS::CloudWatch::Dashboard", "DashboardBody", 1 << 20),
    ("AWS::Events::EventBus", "Name", 256),
    ("AWS::Logs::LogGroup", "LogGroupName", 512),
    (
        "AWS::Logs::MetricFilter",
        "MetricTransformations.MetricNamespace",
        255,
    ),
    // A parameter of a nested stack.
    ("AWS::CloudFormation::Stack", "Parameters.StackName", 4096),
    // SAM names the API after the stack.
    ("AWS::Serverless::HttpApi", "Name", 128),
    // These take whatever a variable or an output takes.
    ("Globals", "Environment.Variables.STACK_NAME", 4096),
    ("Outputs", "Export.Name", 255),
    ("Outputs", "Value", 1024),
    ("AWS::CloudWatch::Alarm", "Metrics.Expression", 1024),
];

/// Names that CloudFormation makes, and cuts where they would be too long, unless the template gives one.
const LEFT_TO_CLOUDFORMATION: [(&str, &str); 14] = [
    ("AWS::Serverless::Function", "FunctionName"),
    ("AWS::Serverless::Function", "RoleName"),
    ("AWS::Budgets::Budget", "Budget.BudgetName"),
    ("AWS::CloudWatch::Alarm", "AlarmName"),
    ("AWS::CloudWatch::Dashboard", "DashboardName"),
    ("AWS::DynamoDB::Table", "TableName"),
    ("AWS::Events::Rule", "Name"),
    ("AWS::IAM::Role", "RoleName"),
    ("AWS::Logs::MetricFilter", "FilterName"),
    ("AWS::S3::Bucket", "BucketName"),
    ("AWS::SNS::Topic", "TopicName"),
    ("AWS::SQS::Queue", "QueueName"),
    ("AWS::SecretsManager::Secret", "Name"),
    ("AWS::WAFv2::WebACL", "Name"),
];

/// The texts of a value, with the keys that lead to them.
fn texts(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, path, found)),
        Value::Object(items) => {
            for (key, item) in items {
                let below = [path, key].join(".");
                texts(item, below.trim_start_matches('.'), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Everything of a template that has a type, and where the stack's name is in it.
fn named(template: &Value) -> Vec<(String, String, String)> {
    let mut named = Vec::new();
    let mut note = |kind: &str, value: &Value| {
        let mut found = Vec::new();
        texts(value, "", &mut found);
        let with_name = found
            .into_iter()
            .filter(|(_, text)| text.contains("StackName"));
        named.extend(with_name.map(|(path, text)| (kind.to_owned(), path, text)));
    };
    for resource in template["Resources"].as_object().unwrap().values() {
        note(resource["Type"].as_str().unwrap(), &resource["Properties"]);
    }
    for output in template["Outputs"].as_object().into_iter().flatten() {
        note("Outputs", output.1);
    }
    note("Globals", &template["Globals"]["Function"]);
    named
}

/// A text with the name of a stack in it, as CloudFormation fills it in.
fn filled_in(text: &str, stack: &str) -> String {
    let text = text.replace("${AWS::StackName}", stack);
    let text = text.replace("${StackName}", stack);
    if text == "AWS::StackName" || text == "StackName" {
        stack.to_owned()
    } else {
        text
    }
}

fn is_too_long(kind: &str, path: &str, name: &str) -> bool {
    let limit = LIMITS.iter().find(|row| (row.0, row.1) == (kind, path));
    let (_, _, limit) = limit.unwrap_or_else(|| panic!("what may {path} of {kind} hold?"));
    name.chars().count() > *limit
}

#[test]
fn the_longest_name_of_a_stack_makes_no_name_too_long() {
    let own = "s".repeat(LONGEST);
    let main = template();
    let resources = main["Resources"].as_object().unwrap();
    let nested = resources
        .iter()
        .filter(|(_, resource)| resource["Type"] == "AWS::CloudFormation::Stack");
    let nested: Vec<usize> = nested
        .map(|(id, _)| LONGEST + "-".len() + id.len() + RANDOM)
        .collect();
    let longest_nested = *nested.iter().max().unwrap();
    assert_eq!(
        longest_nested, LONGEST_OF_A_STACK,
        "LONGEST is the longest that works"
    );
    let below = "s".repeat(longest_nested);

    let mut seen = BTreeSet::new();
    // The parameter of the watching stack is the name of its parent.
    for (path, stack) in [
        ("template.yaml", &own),
        (WATCH, &own),
        (EDGE, &below),
        (WEB_ACL, &below),
    ] {
        for (kind, key, text) in named(&read(path)) {
            let name = filled_in(&text, stack);
            assert!(
                !is_too_long(&kind, &key, &name),
                "{path}: {kind} {key}: {name}"
            );
            seen.insert((kind, key));
        }
    }
    assert!(seen.len() > 8, "{seen:?}");
    // A limit that counts: with one character more, the nested stacks have no name.
    assert!(is_too_long(
        "AWS::CloudFront::Distribution",
        "DistributionConfig.Comment",
        &"s".repeat(129)
    ));
    let guide = include_str!("../../../infra/guides/operate/deploy.md");
    let said = format!("at most {LONGEST} characters");
    assert!(guide.contains(&said), "{said}");
}

#[test]
fn other_names_are_left_to_cloudformation() {
    for path in ["template.yaml", WATCH, EDGE, WEB_ACL] {
        for (id, resource) in read(path)["Resources"].as_object().unwrap() {
            for (kind, key) in LEFT_TO_CLOUDFORMATION {
                let pointer = format!("/Properties/{}", key.replace('.', "/"));
                let given = resource.pointer(&pointer).is_some();
                assert!(
                    resource["Type"] != kind || !given,
                    "{path}: {id} has a {key}"
                );
            }
        }
    }
}
