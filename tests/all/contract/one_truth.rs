//! What stands in more than one place agrees: routers, template and OpenAPI document; settings and parameters; the
//! table of the template and the one that is made here. And dependencies point one way.
//!
//! Each fact of the template is compared with the code once: metrics and log lines in `watching`, headers and paths of
//! the firewall in `at_the_edge`, roles in `least_privilege`. What needs no code is in `infra/scripts/check_template.py`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use latchkey_domain::activity::{DEFAULT_ACTIVITY_DAYS, MOST_ACTIVITY_DAYS};
use latchkey_domain::policy::{
    LARGEST_SESSION_LIMIT, LONGEST_ACCESS_TOKEN_LIFETIME, LONGEST_REAUTHENTICATE_WITHIN,
    LONGEST_REFRESH_GRACE, SessionPolicy,
};
use latchkey_domain::token::TokenAlgorithm;
use latchkey_runtime::settings::{
    AuthorizerSettings, EventsSettings, MailSettings, MetricsSettings, Settings, StorageSettings,
};
use latchkey_store::table;
use latchkey_tests::harness::openapi;
use latchkey_tests::harness::stack::{Stack, TABLE};
use latchkey_tests::harness::template::{functions, root, template};
use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

/// Method and path of every route of a document.
fn routes_of(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters");
            methods.map(|method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

#[test]
fn the_template_routes_to_each_function_what_its_router_answers() {
    let on_table = latchkey::functions_on_table::<OpenApi>().into_iter();
    let others = latchkey::functions_without_table::<OpenApi>();
    let routers = on_table.chain(others);
    let routers: BTreeMap<&str, Value> = routers.map(|(name, of)| (name, json!(of))).collect();
    let mut all = BTreeSet::new();
    for (binary, function) in functions(&template()) {
        let Some(router) = routers.get(binary.as_str()) else {
            let events = function["Properties"]["Events"].as_object();
            let mut events = events.into_iter().flat_map(|events| events.values());
            assert!(events.all(|event| event["Type"] != "HttpApi"), "{binary}");
            continue;
        };
        let mut in_template = BTreeSet::new();
        for event in function["Events"]
            .as_object()
            .or(function["Properties"]["Events"].as_object())
            .unwrap()
            .values()
        {
            let (method, path) = (&event["Properties"]["Method"], &event["Properties"]["Path"]);
            match (method.as_str(), path.as_str()) {
                (Some(method), Some(path)) => {
                    in_template.insert((method.to_owned(), path.to_owned()))
                }
                // Unknown routes, and the files that the page of the documentation is made of.
                _ => {
                    assert_eq!(binary, "discovery");
                    continue;
                }
            };
        }
        let below_page = |path: &str| {
            let pages = ["/docs/", "/account/", "/admin/"];
            pages.iter().any(|page| path.starts_with(page))
        };
        in_template.retain(|(_, path)| !below_page(path));
        let in_router = routes_of(router);
        assert_eq!(in_template, in_router, "{binary}");
        all.extend(in_template);
    }
    assert_eq!(all, routes_of(&json!(openapi::generated())));
}

/// Each is sent to the real binary by `lambda::on_lambda` and `check-functions`.
#[test]
fn every_route_has_a_sample_event() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/samples");
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let samples = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let sampled: BTreeSet<String> = samples
        .filter_map(|path| {
            let event: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            event["routeKey"].as_str().map(str::to_owned)
        })
        .collect();
    let routes = routes_of(&json!(openapi::generated())).into_iter();
    let without: Vec<String> = routes
        .map(|(method, path)| format!("{method} {path}"))
        .filter(|route| !sampled.contains(route))
        .collect();
    assert_eq!(without, [""; 0], "no sample event in infra/samples");
}

#[test]
fn the_committed_openapi_document_is_the_one_that_the_code_makes() {
    let generated = openapi::as_file(&openapi::generated());
    if update_wanted() {
        std::fs::write(openapi::committed_path(), &generated).unwrap();
    }
    let committed = std::fs::read_to_string(openapi::committed_path()).unwrap();
    assert!(
        committed == generated,
        "run UPDATE_OPENAPI=1 cargo test -p latchkey-tests openapi, and look at the diff"
    );
}

#[expect(clippy::disallowed_methods, reason = "no setting of the service")]
fn update_wanted() -> bool {
    std::env::var("UPDATE_OPENAPI").is_ok()
}

#[test]
fn every_function_of_the_template_is_a_crate_and_the_other_way_round() {
    let crates: BTreeSet<String> = std::fs::read_dir(root().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let in_template: BTreeSet<String> = functions(&template()).into_keys().collect();
    assert_eq!(in_template, crates);
    for (binary, function) in functions(&template()) {
        assert_eq!(
            function["Properties"]["CodeUri"],
            format!("functions/{binary}")
        );
        assert_eq!(function["Metadata"]["BuildMethod"], "rust-cargolambda");
    }
}

#[test]
fn the_template_sets_what_the_code_reads_and_its_defaults_are_those_of_the_code() {
    let template = template();
    let read: RefCell<BTreeSet<String>> = RefCell::default();
    let lookup = |name: &str| {
        read.borrow_mut().insert(name.to_owned());
        None
    };
    drop(Settings::read(lookup));
    drop(StorageSettings::read(lookup));
    drop(MetricsSettings::read(lookup));
    let mut read = read.take();
    let asked: RefCell<BTreeSet<String>> = RefCell::default();
    drop(AuthorizerSettings::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    }));
    let of_the_authorizer = &asked.take() - &read;
    drop(EventsSettings::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    }));
    let mut of_the_events = asked.take();
    assert!(of_the_events.remove("AWS_ENDPOINT_URL_EVENTBRIDGE"));
    drop(MailSettings::read(|name| {
        asked.borrow_mut().insert(name.to_owned());
        None
    }));
    let mut of_mail = asked.take();
    assert!(of_mail.remove("AWS_ENDPOINT_URL_SESV2"));
    // Only outside of AWS.
    for local in [
        "TOKEN_SECRET",
        "TOKEN_SECRET_PREVIOUS",
        "TOKEN_RSA_KEY",
        "DEVICE_SECRET",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_DYNAMODB",
    ] {
        assert!(read.remove(local), "{local}");
    }
    // The former name of EDGE_SECRET: refused.
    assert!(read.remove("FRONT_SECRET"));
    // Lambda sets it.
    assert!(read.remove("AWS_LAMBDA_FUNCTION_NAME"));
    // What makes a function's configuration another one when a parameter changes, and is read by nobody.
    read.insert("SETTINGS_VERSION".to_owned());
    let names = |variables: &Value| -> BTreeSet<String> {
        variables
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect()
    };
    let global = &template["Globals"]["Function"]["Environment"]["Variables"];
    for (binary, function) in functions(&template) {
        let mut set = names(global);
        set.extend(names(&function["Properties"]["Environment"]["Variables"]));
        let mut wanted = read.clone();
        match binary.as_str() {
            "cleanup" => wanted.remove("TOKEN_SECRET_ARN"),
            "events" => {
                wanted.extend(of_the_events.clone());
                wanted.remove("TOKEN_SECRET_ARN")
            }
            "notify" => {
                wanted.extend(of_mail.clone());
                true
            }
            "discovery" | "rotate-keys" => wanted.remove("TABLE_NAME"),
            "console" => wanted.remove("TABLE_NAME") && wanted.remove("TOKEN_SECRET_ARN"),
            "authorizer" => {
                wanted.extend(of_the_authorizer.clone());
                true
            }
            _ => true,
        };
        assert_eq!(set, wanted, "{binary}");
    }
    let policy = SessionPolicy::default();
    for (parameter, default) in [
        (
            "AccessTokenSeconds",
            policy.access_token_lifetime.num_seconds(),
        ),
        ("SessionIdleSeconds", policy.idle_lifetime.num_seconds()),
        (
            "SessionAbsoluteSeconds",
            policy.absolute_lifetime.num_seconds(),
        ),
        ("RefreshGraceSeconds", policy.refresh_grace.num_seconds()),
        ("MaxSessions", i64::try_from(policy.max_sessions).unwrap()),
        (
            "ReauthenticateWithinSeconds",
            policy.reauthenticate_within.num_seconds(),
        ),
        ("RetentionSeconds", policy.retention.num_seconds()),
        ("SignInFreeFailures", policy.limits.free_failures.into()),
        (
            "AddressAttemptsPerMinute",
            policy.limits.address_attempts.into(),
        ),
        ("ListPerMinute", policy.limits.lists.into()),
        ("ChangePerMinute", policy.limits.changes.into()),
        ("PurgePerMinute", policy.limits.purges.into()),
    ] {
        assert_eq!(
            template["Parameters"][parameter]["Default"],
            json!(default),
            "{parameter}"
        );
        let variable = global
            .as_object()
            .unwrap()
            .iter()
            .find(|(_, value)| *value == parameter);
        let (variable, _) = variable.unwrap_or_else(|| panic!("{parameter} sets no variable"));
        assert_eq!(variable.replace('_', ""), parameter.to_uppercase());
    }
    let parameters = &template["Parameters"];
    let of_events = &functions(&template)["events"]["Properties"]["Environment"]["Variables"];
    assert_eq!(of_events["ACTIVITY_DAYS"], json!("ActivityDays"));
    let days = &parameters["ActivityDays"];
    assert_eq!(
        [&days["Default"], &days["MaxValue"]],
        [DEFAULT_ACTIVITY_DAYS, MOST_ACTIVITY_DAYS]
    );
    for (parameter, most) in [
        (
            "AccessTokenSeconds",
            LONGEST_ACCESS_TOKEN_LIFETIME.num_seconds(),
        ),
        ("RefreshGraceSeconds", LONGEST_REFRESH_GRACE.num_seconds()),
        (
            "ReauthenticateWithinSeconds",
            LONGEST_REAUTHENTICATE_WITHIN.num_seconds(),
        ),
        (
            "SignInFreeFailures",
            latchkey_domain::throttle::HARD_STOP.into(),
        ),
        ("MaxSessions", i64::try_from(LARGEST_SESSION_LIMIT).unwrap()),
    ] {
        assert_eq!(
            parameters[parameter]["MaxValue"],
            json!(most),
            "{parameter}"
        );
    }
    for (parameter, default) in [
        ("OneSessionPerDevice", policy.one_session_per_device),
        ("ReauthenticateToRevoke", policy.reauthenticate_to_revoke),
        ("Administration", policy.administration),
        ("CookieTransport", false),
        ("AccountPages", true),
        ("AdminPages", false),
        ("PageLinks", true),
    ] {
        assert_eq!(
            parameters[parameter]["Default"],
            json!(default.to_string()),
            "{parameter}"
        );
    }
    assert_eq!(
        AuthorizerSettings::read(|name| {
            let variables = &functions(&template)["authorizer"]["Properties"]["Environment"];
            let parameter = variables["Variables"][name].as_str()?;
            let default = parameters[parameter]["Default"].as_str()?;
            Some(default.to_owned()).filter(|default| !default.is_empty())
        }),
        Ok(AuthorizerSettings::default())
    );
    let algorithms = [TokenAlgorithm::EdDsa, TokenAlgorithm::Rs256].map(TokenAlgorithm::as_str);
    let parameter = &parameters["TokenAlgorithm"];
    assert_eq!(parameter["AllowedValues"], json!(algorithms));
    assert_eq!(
        parameter["Default"],
        json!(TokenAlgorithm::default().as_str())
    );
    for (variable, parameter) in [
        ("TOKEN_ALGORITHM", "TokenAlgorithm"),
        ("AUDIENCES", "Audiences"),
        ("COOKIE_TRANSPORT", "CookieTransport"),
        ("ACCOUNT_PAGES", "AccountPages"),
        ("ADMIN_PAGES", "AdminPages"),
        ("PAGE_NAME", "PageName"),
        ("PAGE_LOGO", "PageLogo"),
        ("PAGE_STYLESHEET", "PageStylesheet"),
        ("PAGE_LINKS", "PageLinks"),
        ("ONE_SESSION_PER_DEVICE", "OneSessionPerDevice"),
        ("REAUTHENTICATE_TO_REVOKE", "ReauthenticateToRevoke"),
        ("ADMINISTRATION", "Administration"),
        ("PASSWORD_CONTEXT_WORDS", "PasswordContextWords"),
    ] {
        assert_eq!(global[variable], json!(parameter));
    }
}

/// CI builds and runs x86_64. What is deployed unless somebody chooses must be what was tried.
#[test]
fn the_default_processor_is_the_one_that_the_functions_are_built_for() {
    let parameter = &template()["Parameters"]["Architecture"];
    assert_eq!(parameter["Default"], "x86_64");
    assert_eq!(parameter["AllowedValues"], json!(["x86_64", "arm64"]));
    let functions = &template()["Globals"]["Function"];
    assert_eq!(functions["Architectures"], json!(["Architecture"]));
    let script = include_str!("../../../infra/scripts/build-functions");
    assert!(script.lines().any(|line| line == "architecture=x86_64"));
}

#[tokio::test]
async fn the_table_that_is_made_here_is_the_one_of_the_template() {
    let template = template();
    let wanted = &template["Resources"]["Table"]["Properties"];
    let stack = Stack::start().await;
    let described = stack
        .client
        .describe_table()
        .table_name(TABLE)
        .send()
        .await
        .unwrap()
        .table
        .unwrap();
    let keys = |schema: &[aws_sdk_dynamodb::types::KeySchemaElement]| -> Value {
        schema
            .iter()
            .map(|key| json!({"AttributeName": key.attribute_name(), "KeyType": key.key_type().as_str()}))
            .collect()
    };
    assert_eq!(keys(described.key_schema()), wanted["KeySchema"]);
    let attributes: BTreeSet<(String, String)> = described
        .attribute_definitions()
        .iter()
        .map(|one| {
            (
                one.attribute_name().to_owned(),
                one.attribute_type().as_str().to_owned(),
            )
        })
        .collect();
    let wanted_attributes: BTreeSet<(String, String)> = wanted["AttributeDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["AttributeName"].as_str().unwrap().to_owned(),
                one["AttributeType"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(attributes, wanted_attributes);
    let [index] = described.global_secondary_indexes() else {
        panic!("one index");
    };
    let wanted_index = &wanted["GlobalSecondaryIndexes"][0];
    assert_eq!(
        index.index_name().unwrap(),
        wanted_index["IndexName"].as_str().unwrap()
    );
    assert_eq!(index.index_name().unwrap(), table::INDEX_NAME);
    assert_eq!(keys(index.key_schema()), wanted_index["KeySchema"]);
    let projection = index
        .projection()
        .unwrap()
        .projection_type()
        .unwrap()
        .as_str();
    assert_eq!(
        projection,
        wanted_index["Projection"]["ProjectionType"]
            .as_str()
            .unwrap()
    );
    assert_eq!(
        wanted["TimeToLiveSpecification"],
        json!({"AttributeName": table::TTL_ATTRIBUTE, "Enabled": true})
    );
    let stream = described.stream_specification.unwrap();
    assert!(stream.stream_enabled);
    let view = stream.stream_view_type.unwrap();
    assert_eq!(
        wanted["StreamSpecification"],
        json!({"StreamViewType": view.as_str()})
    );
    let ttl = stack
        .client
        .describe_time_to_live()
        .table_name(TABLE)
        .send()
        .await
        .unwrap();
    assert_eq!(
        ttl.time_to_live_description.unwrap().attribute_name(),
        Some(table::TTL_ATTRIBUTE)
    );
}

/// A line for each crate, with its version, that a choice of packages is built with.
fn cargo_tree(of: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked"])
        .args(of)
        .args([
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The crates that a crate is built with, by name.
fn built_with(package: &str) -> BTreeSet<String> {
    cargo_tree(&["--package", package])
        .lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// The crates that a crate depends on itself, by name: the only ones that its code can name.
fn named_by(package: &str) -> BTreeSet<String> {
    cargo_tree(&["--package", package, "--depth", "1"])
        .lines()
        .skip(1)
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn dependencies_point_one_way() {
    let domain = built_with("latchkey-domain");
    for unknown in [
        "tokio",
        "http",
        "hyper",
        "axum",
        "aws-sdk-dynamodb",
        "aws-types",
        "lambda_runtime",
        "serde_dynamo",
    ] {
        assert!(!domain.contains(unknown), "the domain knows {unknown}");
    }
    let store = built_with("latchkey-store");
    for unknown in [
        "axum",
        "lambda_http",
        "lambda_runtime",
        "utoipa",
        "latchkey-api",
    ] {
        assert!(!store.contains(unknown), "the store knows {unknown}");
    }
    // The use cases stand above the store, so what counts here is what a crate can name.
    let service = named_by("latchkey-service");
    for unknown in ["axum", "http", "lambda_http", "lambda_runtime", "utoipa"] {
        assert!(!service.contains(unknown), "the use cases know {unknown}");
    }
    let api = named_by("latchkey-api");
    for unknown in [
        "aws-sdk-dynamodb",
        "serde_dynamo",
        "latchkey-store",
        "latchkey-runtime",
        "lambda_http",
        "lambda_runtime",
    ] {
        assert!(!api.contains(unknown), "the HTTP side knows {unknown}");
    }
    let functions: BTreeSet<String> = functions(&template()).into_keys().collect();
    for function in &functions {
        let others: Vec<String> = built_with(function)
            .into_iter()
            .filter(|one| functions.contains(one) && one != function)
            .collect();
        assert!(others.is_empty(), "{function} depends on {others:?}");
    }
}

#[test]
fn there_is_one_tls_stack() {
    let text = cargo_tree(&["--workspace"]);
    let versions_of = |name: &str| -> BTreeSet<&str> {
        text.lines()
            .filter(|line| line.split(' ').next() == Some(name))
            .map(|line| line.trim_end_matches(" (*)"))
            .collect()
    };
    assert_eq!(versions_of("rustls").len(), 1);
    assert_eq!(versions_of("hyper").len(), 1);
    for unwanted in ["ring", "openssl", "native-tls", "rsa"] {
        assert!(versions_of(unwanted).is_empty(), "{unwanted}");
    }
}

/// What a manifest sets for each package that it names in its dev profile, and for `"*"`, which is all of others.
fn dev_profile(manifest: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut settings = BTreeMap::<_, Vec<_>>::new();
    let mut package = None;
    for line in manifest.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(section) = line.strip_prefix('[') {
            let named = section.strip_prefix("profile.dev.package.");
            package = named.and_then(|named| named.strip_suffix(']'));
        } else if let (Some(package), false) = (package, line.is_empty()) {
            settings.entry(package).or_default().push(line);
        }
    }
    settings
}

/// The level of optimisation among settings. Cargo builds what no profile names at level 0.
fn level<'a>(settings: Option<&Vec<&'a str>>) -> &'a str {
    let mut settings = settings.into_iter().flatten();
    let level = settings.find_map(|setting| setting.strip_prefix("opt-level = "));
    level.unwrap_or("0")
}

#[test]
fn the_fuzz_targets_use_what_the_tests_have_built_and_no_level_of_theirs_for_what_is_instrumented()
{
    let tests = dev_profile(include_str!("../../../Cargo.toml"));
    let fuzz = dev_profile(include_str!("../../fuzz/Cargo.toml"));
    assert!(tests.len() > 20, "{tests:?}");
    let instrumented = |package: &str| {
        package.starts_with("latchkey") || root().join("functions").join(package).is_dir()
    };
    let others = |profile: &BTreeMap<&'static str, Vec<&'static str>>| {
        let mut others = profile.clone();
        others.retain(|package, _| !instrumented(package));
        others
    };
    assert_eq!(others(&tests), others(&fuzz), "these are built twice");
    for (package, settings) in fuzz.iter().filter(|(package, _)| instrumented(package)) {
        assert_ne!(
            level(Some(settings)),
            level(tests.get(package)),
            "{package} would be taken for the one of the tests"
        );
    }
}
