//! `start`: how long each function takes from its start to its first poll of Lambda's runtime API, and to the end of
//! its first invocation, and what memory it then has, in comparison with a bare function that only says hello.
//!
//! The functions take turns, so that a busy moment of the machine falls on all of them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::random::SystemRandom;
use latchkey_store::Store;
use latchkey_tests::harness::administrators;
use latchkey_tests::harness::dynamodb::ListeningDynamoDb;
use latchkey_tests::harness::lambda::{Answer, Function, add_sample_client, sample_event};
use latchkey_tests::harness::secrets_manager::FakeSecretsManager;
use latchkey_tests::harness::stack::TABLE;
use serde_json::{Value, json};

/// Measures the start of every function.
///
/// Run infra/scripts/build-functions first, which builds them and the hello in one pass.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each function is started.
    #[arg(long, default_value_t = 30)]
    runs: usize,
    /// The folder of the functions, as `cargo lambda build` makes it.
    #[arg(long, default_value = "target/lambda")]
    functions: PathBuf,
}

/// A function, and the sample event that it is given first, in an order in which each finds what it needs.
const VISIT: [(&str, &str); 18] = [
    ("hello", "discovery-not-found"),
    ("register", "register"),
    ("login", "login"),
    ("list-sessions", "list-sessions"),
    ("authorizer", "authorizer-allowed"),
    ("rename", "rename"),
    ("account", "account-me"),
    ("activity", "activity"),
    ("recovery", "recovery-request"),
    ("admin", "admin-users"),
    ("refresh", "refresh"),
    ("revoke-all", "revoke-all"),
    ("revoke", "revoke"),
    ("clients", "clients-introspect"),
    ("discovery", "discovery-jwks"),
    ("console", "console-account"),
    ("cleanup", "cleanup"),
    ("rotate-keys", "rotate-keys"),
];

/// At most this many times hello's time to the first poll. The aim is 1.5.
const START_BUDGET: f64 = 2.0;
/// At most this much memory after the first request, in MB.
const MEMORY_BUDGET: f64 = 25.0;
/// What argon2 may take in addition, in MB.
const ARGON2_MEMORY: f64 = 19.0 * 1.048_576;

/// What was seen of one function.
#[derive(Debug, Default)]
struct Seen {
    /// To the first poll, with nothing to talk to: the time that the function itself takes.
    alone: Vec<Duration>,
    /// To the first poll, with the secret loaded and the connection to DynamoDB opened.
    ready: Vec<Duration>,
    /// To the end of the first invocation.
    answered: Vec<Duration>,
    /// After it, in MB.
    resident: Vec<f64>,
    /// At most, in MB.
    peak: Vec<f64>,
}

/// Why a measurement ended without a result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// There is no such binary.
    #[error("{} is not there: run infra/scripts/build-functions first", .0.display())]
    NoBinary(PathBuf),
    /// The table could not be made.
    #[error(transparent)]
    Table(#[from] latchkey_store::table::TableError),
    /// A function did not do what it was asked for.
    #[error("{function} did not answer {event} well: {answer:?}")]
    Answer {
        function: &'static str,
        event: &'static str,
        answer: Answer,
    },
    /// The system does not tell.
    #[error("the memory of a process cannot be read: {0}")]
    Memory(#[from] std::io::Error),
}

/// Measures, and prints a table.
pub(crate) async fn run(options: Options) -> Result<(), StartError> {
    for (function, _) in VISIT {
        let binary = options.functions.join(function).join("bootstrap");
        if !binary.is_file() {
            return Err(StartError::NoBinary(binary));
        }
    }
    let mut seen: Vec<Seen> = VISIT.iter().map(|_| Seen::default()).collect();
    // The first round only warms the disk's cache.
    for round in 0..=options.runs {
        eprint!("\rround {round} of {} ", options.runs);
        let mut ignored: Vec<Seen> = VISIT.iter().map(|_| Seen::default()).collect();
        let kept = if round == 0 { &mut ignored } else { &mut seen };
        visit(&options.functions, kept).await?;
    }
    eprintln!();
    print(&seen);
    Ok(())
}

/// Each function once, with its own database.
async fn visit(folder: &Path, seen: &mut [Seen]) -> Result<(), StartError> {
    let dynamodb = ListeningDynamoDb::start().await;
    let client = dynamodb.client();
    latchkey_store::table::create_if_missing(&client, TABLE).await?;
    add_sample_client(client.clone()).await;
    let secrets = FakeSecretsManager::of_tests().await;
    let on_aws = secrets.settings();
    let mut tokens = json!({});
    // Before anybody hashes a password: after 19 MiB of argon2 the processor's caches are cold, and whatever starts next
    // takes 0.3 ms longer.
    for ((function, _), seen) in VISIT.into_iter().zip(seen.iter_mut()) {
        let binary = folder.join(function).join("bootstrap");
        // It takes its secret from Secrets Manager alone, and does not ask for it at its start.
        let settings: &[_] = if function == "rotate-keys" {
            &on_aws
        } else {
            &[]
        };
        let mut alone =
            Function::start_binary(&binary, function, "http://127.0.0.1:1", settings).await;
        seen.alone.push(alone.first_poll().await);
    }
    for ((function, event), seen) in VISIT.into_iter().zip(seen) {
        let binary = folder.join(function).join("bootstrap");
        let mut process =
            Function::start_binary(&binary, function, &dynamodb.endpoint, &on_aws).await;
        let ready = process.first_poll().await;
        let event_json = sample_event(event, &tokens);
        if let Some(token) = event_json.get("ClientRequestToken").and_then(Value::as_str) {
            secrets.begin_rotation(token);
        }
        let asked = Instant::now();
        let answer = process.invoke(&event_json).await;
        seen.ready.push(ready);
        seen.answered.push(ready + asked.elapsed());
        let (resident, peak) = memory(process.pid())?;
        seen.resident.push(resident);
        seen.peak.push(peak);
        let new_tokens = match &answer {
            Answer::Response(response) => check_response(function, response),
            Answer::Error(_) | Answer::InitError(_) => None,
        };
        let Some(new_tokens) = new_tokens else {
            return Err(StartError::Answer {
                function,
                event,
                answer,
            });
        };
        if function == "register"
            && let Some(user) = new_tokens.pointer("/user/id").and_then(Value::as_str)
            && let Ok(user) = user.parse()
        {
            // So that the sign-in after it gives the tokens of an administrator.
            let store = Store::new(client.clone(), TABLE, Arc::new(SystemRandom));
            administrators::grant(&store, user, SystemClock.now()).await;
        }
        if new_tokens.get("access_token").is_some() {
            tokens = new_tokens;
        }
    }
    Ok(())
}

/// The body of a good answer.
fn check_response(function: &str, response: &Value) -> Option<Value> {
    match function {
        "hello" => Some(Value::Null),
        "authorizer" => (response.get("isAuthorized")? == true).then_some(Value::Null),
        "cleanup" => (response.get("complete")? == true).then_some(Value::Null),
        "rotate-keys" => response.is_null().then_some(Value::Null),
        _ => {
            let status = response.get("statusCode")?.as_u64()?;
            let body = response.get("body").and_then(Value::as_str);
            let body = body.and_then(|body| serde_json::from_str(body).ok());
            (200..300)
                .contains(&status)
                .then(|| body.unwrap_or_default())
        }
    }
}

/// What a process has in memory, now and at most, in MB.
fn memory(pid: u32) -> Result<(f64, f64), std::io::Error> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let megabytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kibibytes = line
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|number| number.parse::<f64>().ok());
        kibibytes.ok_or_else(|| std::io::Error::other(format!("no {name} in it")))
    };
    Ok((
        megabytes("VmRSS:")? * 1024.0 / 1e6,
        megabytes("VmHWM:")? * 1024.0 / 1e6,
    ))
}

/// The value below which `share` of the values are.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index of a short list"
    )]
    let index = ((sorted.len().saturating_sub(1)) as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

fn milliseconds(durations: &[Duration]) -> Vec<f64> {
    durations
        .iter()
        .map(|duration| duration.as_secs_f64() * 1e3)
        .collect()
}

fn print(seen: &[Seen]) {
    println!(
        "From the start of the process, in ms: median / 95th percentile. Memory in MB, after the first request.\n\
         Ratios are to hello's median. `!`: over its budget.\n\
         `alone`: to the first poll, with no secret to load and a DynamoDB that refuses; what the function takes by \
         itself.\n\
         `ready`: to the first poll, with the secret and the connection to DynamoDB, over loopback without TLS.\n"
    );
    println!(
        "| function | alone | ratio | ready | ratio | first request answered | resident | peak |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let hello = seen
        .first()
        .map_or(f64::NAN, |hello| quantile(&milliseconds(&hello.alone), 0.5));
    for ((function, event), seen) in VISIT.into_iter().zip(seen) {
        let [alone, ready, answered] =
            [&seen.alone, &seen.ready, &seen.answered].map(|durations| {
                let values = milliseconds(durations);
                (quantile(&values, 0.5), quantile(&values, 0.95))
            });
        let ratio = alone.0 / hello;
        let resident = quantile(&seen.resident, 0.5);
        let hashes = matches!(event, "register" | "login");
        let budget = MEMORY_BUDGET + if hashes { ARGON2_MEMORY } else { 0.0 };
        let mark = |over: bool| if over { " !" } else { "" };
        println!(
            "| {function} | {:.2} / {:.2} | {ratio:.2}{} | {:.2} / {:.2} | {:.2} | {:.1} / {:.1} | {resident:.1}{} | {:.1} |",
            alone.0,
            alone.1,
            mark(ratio > START_BUDGET),
            ready.0,
            ready.1,
            ready.0 / hello,
            answered.0,
            answered.1,
            mark(resident > budget),
            quantile(&seen.peak, 0.5),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use latchkey_tests::harness::template::{functions, template};

    use super::*;

    /// Functions whose start is not measured, each with the reason.
    const LEFT_OUT: [(&str, &str); 2] = [
        ("events", "it needs a bus, and nobody waits for it"),
        ("notify", "it needs a queue, and nobody waits for it"),
    ];

    /// A function that is forgotten here would miss the budget of its start unseen.
    #[test]
    fn every_function_of_the_template_is_visited() {
        let mut named: BTreeSet<String> = functions(&template()).into_keys().collect();
        named.insert("hello".to_owned());
        let visited = VISIT.map(|(function, _)| function);
        let left_out = LEFT_OUT.map(|(function, _)| function);
        let known = visited.into_iter().chain(left_out);
        assert_eq!(known.map(str::to_owned).collect::<BTreeSet<_>>(), named);
    }
}
