//! What the operations guides do: by command, or written into the table by hand. The service does what the pages promise.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use http::StatusCode;
use latchkey::embedded::Embedded;
use latchkey_domain::client::ClientScope;
use latchkey_domain::clock::{Clock, SystemClock};
use latchkey_domain::role::Role;
use latchkey_tests::harness::lambda::binary;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{DEVICE_SECRET, PASSWORD, SECRET, Stack};
use latchkey_tests::harness::template::template;
use serde_json::{Value, json};

const PEOPLE: &str = include_str!("../../../infra/guides/operate/people.md");
const IMPORT: &str = include_str!("../../../infra/guides/operate/import.md");
const DEPLOY: &str = include_str!("../../../infra/guides/operate/deploy.md");
const EMAIL: &str = "grace@example.com";

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "S" => AttributeValue::S(text(value)),
        "N" => AttributeValue::N(text(value)),
        "M" => AttributeValue::M(attributes(value)),
        other => panic!("the pages use no {other}"),
    }
}

fn attributes(value: &Value) -> HashMap<String, AttributeValue> {
    let named = value.as_object().unwrap().iter();
    named
        .map(|(name, value)| (name.clone(), attribute(value)))
        .collect()
}

fn put(request: &Value) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(text(&request["TableName"]))
        .set_item(Some(attributes(&request["Item"])))
        .condition_expression(text(&request["ConditionExpression"]));
    let item = TransactWriteItem::builder();
    item.put(put.build().unwrap()).build()
}

async fn write(stack: &Stack, items: Vec<TransactWriteItem>) {
    let request = stack.client.transact_write_items();
    let request = request.set_transact_items(Some(items));
    request.send().await.unwrap();
}

async fn expect_signed_out(stack: &Stack, who: &SignedIn) {
    let list = stack.get("/v1/sessions").bearer(&who.access_token);
    list.send().await.expect_problem(401, "invalid_token");
    let refresh = stack.refresh(&who.refresh_token).await;
    refresh.expect_problem(401, "invalid_refresh_token");
}

/// The commands of the page, in their order, with what the shell would put in.
fn commands(session: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut in_shell = false;
    for line in PEOPLE.lines() {
        if line.starts_with("```") {
            in_shell = line == "```sh";
        }
        let Some(command) = line.strip_prefix("admin ").filter(|_| in_shell) else {
            continue;
        };
        let command = command.split(" > ").next().unwrap();
        let words = command.replace("$SESSION_ID", session);
        assert!(!words.contains('$'), "not filled in: {words}");
        commands.push(words.split(' ').map(str::to_owned).collect());
    }
    commands
}

/// A stack, and the address at which commands find its table.
async fn reachable_stack() -> (Stack, Embedded, String) {
    let stack = Stack::start().await;
    // Commands go by the system's clock.
    stack.advance(SystemClock.now() - stack.now());
    let mut embedded = Embedded::over(stack.dynamodb.database.clone());
    let address = embedded.listen(0).await.unwrap();
    (stack, embedded, format!("http://{address}"))
}

async fn administer(url: &str, words: &[String]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(binary("latchkey"));
    command
        .args(["admin", "--dynamodb-url", url])
        .args(words)
        .env_clear()
        .env("TOKEN_SECRET", String::from_utf8_lossy(SECRET).as_ref())
        .env(
            "DEVICE_SECRET",
            String::from_utf8_lossy(DEVICE_SECRET).as_ref(),
        )
        .stdin(std::process::Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.unwrap().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

/// Each command of the page, in its order, and what the page says that comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_do_what_it_says() {
    let (stack, _embedded, url) = reachable_stack().await;
    let ada = stack.register("ada@example.com").await;
    let grace = stack.register(EMAIL).await;
    let phone = stack.login(EMAIL).await;
    let user = async |who: &SignedIn| {
        let account = stack.store.read_account(who.user_id.unwrap()).await;
        account.unwrap().unwrap()
    };
    let secret = stack.add_client("sso", &[ClientScope::IssueSessions]).await;
    let (issuer, subject) = ("https://accounts.google.com", "110169484474386276334");
    let elsewhere = json!({"identity": {"issuer": issuer, "subject": subject}, "amr": ["otp"]});
    let issue = stack.post("/v1/service/sessions").basic("sso", &secret);
    let issued = issue.json(&elsewhere).send().await;
    let identified = issued.expect(StatusCode::CREATED)["user"]["id"].clone();
    let mut done = Vec::new();
    for words in commands(&phone.session_id.to_string()) {
        let line = words.join(" ");
        if line.starts_with("unblock ") {
            for _ in 0..11 {
                stack.try_login(EMAIL, "not it").await;
            }
            let stopped = stack.try_login(EMAIL, PASSWORD).await;
            stopped.expect_problem(429, "too_many_requests");
        }
        if line == "repair ada@example.com" {
            let account = stack.table().account(ada.user_id.unwrap());
            account.set("change", "by hand").await;
        }
        let (code, said) = administer(&url, &words).await;
        assert_eq!(code, Some(0), "{line}: {said}");
        for secret in ["argon2", "password_hash", PASSWORD, &grace.refresh_token] {
            assert!(!said.contains(secret), "{line}: {secret} is in {said}");
        }
        match line.as_str() {
            "grant ada@example.com" => {
                assert!(user(&ada).await.roles.contains(&Role::admin()));
                let admin = stack.login("ada@example.com").await;
                let users = stack.get("/v1/admin/users").bearer(&admin.access_token);
                users.send().await.expect(StatusCode::OK);
            }
            "withdraw ada@example.com" => assert!(user(&ada).await.roles.is_empty()),
            "find" => assert!(
                said.contains(EMAIL) && said.contains("ada@example.com"),
                "{said}"
            ),
            "disable grace@example.com" => {
                let refused = stack.try_login(EMAIL, PASSWORD).await;
                refused.expect_problem(403, "account_disabled");
            }
            "enable grace@example.com" => {
                stack.login(EMAIL).await;
            }
            "unblock grace@example.com" => {
                stack.login(EMAIL).await;
            }
            "password-reset grace@example.com" => {
                let items = json!(stack.items().await).to_string();
                assert!(items.contains("LINK#"), "{items}");
            }
            "delete grace@example.com --yes" => {
                // A request for a link ends by its TTL, a day after it was written.
                let mut left = stack.items().await;
                left.retain(|item| !item["pk"].as_str().unwrap().starts_with("LINK#"));
                let left = json!(left).to_string();
                assert!(
                    !left.contains(&grace.user_id.unwrap().to_string()),
                    "{left}"
                );
            }
            "repair ada@example.com" => {
                assert!(said.contains("--apply"), "{said}");
                let refused = stack.store.read_account(ada.user_id.unwrap()).await;
                assert!(refused.is_err(), "it has only looked");
            }
            "repair ada@example.com --apply" => {
                expect_signed_out(&stack, &ada).await;
                stack.login("ada@example.com").await;
            }
            line if line.starts_with("find --issuer ") => {
                assert!(said.contains(identified.as_str().unwrap()), "{said}");
            }
            line if line.starts_with("revoke ") => {
                expect_signed_out(&stack, &phone).await;
                assert_eq!(stack.session_ids(&grace).await, [grace.session_id]);
            }
            line if line.starts_with("revoke-all ") => {
                expect_signed_out(&stack, &grace).await;
                expect_signed_out(&stack, &ada).await;
                stack.login(EMAIL).await;
            }
            line if line.starts_with("sign-everybody-out") => {
                assert!(user(&ada).await.sessions.is_empty());
                assert!(user(&grace).await.sessions.is_empty());
            }
            line if line.starts_with("find ") || line.starts_with("sessions ") => {
                assert!(said.contains("grace") || said.contains("session"), "{said}");
            }
            other => panic!("the page has a command that this test does not know: {other}"),
        }
        done.push(line);
    }
    assert!(done.len() >= 17, "{done:?}");
}

#[tokio::test]
async fn an_imported_user_signs_in_as_one_who_registered() {
    let stack = Stack::start().await;
    let (_, rest) = IMPORT.split_once("```json\n").unwrap();
    let template = rest.split_once("```").unwrap().0;
    let request: Value =
        serde_json::from_str(&template.replace("\"TABLE\"", "\"latchkey\"")).unwrap();
    let puts = request.as_array().unwrap().iter();
    write(&stack, puts.map(|item| put(&item["Put"])).collect()).await;

    let grace = stack.login(EMAIL).await;
    assert_eq!(stack.session_ids(&grace).await, [grace.session_id]);
    let refreshed = stack.refresh(&grace.refresh_token).await;
    refreshed.expect(StatusCode::OK);
    let taken = json!({"email": EMAIL, "password": PASSWORD});
    let register = stack.post("/v1/auth/register").json(&taken).send().await;
    register.expect_problem(409, "email_taken");
}

/// A function that the list lacks goes on answering when an operator stops the service.
#[test]
fn the_pages_stop_and_start_every_function_that_answers() {
    let (_, listed) = DEPLOY.split_once("\nHTTP_FUNCTIONS=\"").unwrap();
    let (listed, _) = listed.split_once('"').unwrap();
    let listed: BTreeSet<&str> = listed.split(' ').collect();
    let template = template();
    let resources = template["Resources"].as_object().unwrap().iter();
    let answering = resources.filter(|(_, resource)| {
        let events = resource["Properties"]["Events"].as_object();
        let mut events = events.into_iter().flatten();
        events.any(|(_, event)| event["Type"] == "HttpApi")
    });
    let mut answering: BTreeSet<&str> = answering.map(|(name, _)| name.as_str()).collect();
    // The gateways of other APIs call it.
    answering.insert("AuthorizerFunction");
    assert_eq!(listed, answering);
}
