//! What the operations guides write into the table by hand: the service reads it, and does what the pages promise.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::account::Account;
use latchkey_domain::cause::Action;
use latchkey_domain::id::{ChangeId, UserId};
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack, TABLE};
use serde_json::{Value, json};

use crate::routes::cleanup::{begin_deletion, clean_up};

const PEOPLE: &str = include_str!("../../../infra/guides/operate/people.md");
const IMPORT: &str = include_str!("../../../infra/guides/operate/import.md");
const EMAIL: &str = "grace@example.com";

/// The text that a block of `people.md` writes to this file, before the shell has filled it in.
fn written_to(file: &str) -> &'static str {
    let opening = format!("cat > \"$FILES/{file}\" <<END\n");
    let (_, rest) = PEOPLE.split_once(&opening).unwrap();
    rest.split_once("END\n").unwrap().0
}

/// The JSON that the shell makes of a block, with the account as it stands in the table now.
async fn fill_in(stack: &Stack, user: UserId, template: &str) -> Value {
    let account = stack.store.read_account(user).await.unwrap().unwrap();
    let key = json!({"pk": {"S": format!("USER#{user}")}, "sk": {"S": "ACCOUNT"}});
    let now = stack.now().timestamp();
    let filled = template
        .replace("$(($(date +%s) + 86400))", &(now + 86_400).to_string())
        .replace("$(date +%s)", &now.to_string())
        .replace(
            "$(change_id)",
            &ChangeId::random(stack.core.random.as_ref()).to_string(),
        )
        .replace("$((VERSION + 1))", &(account.version + 1).to_string())
        .replace("$PASSWORD_VERSION", &account.password_version.to_string())
        .replace("$VERSION", &account.version.to_string())
        .replace("$USER_ID", &user.to_string())
        .replace("$EMAIL", EMAIL)
        .replace("$TABLE", TABLE)
        .replace("$KEY", &key.to_string());
    assert!(!filled.contains('$'), "not filled in: {filled}");
    serde_json::from_str(&filled).unwrap()
}

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

fn names(value: &Value) -> HashMap<String, String> {
    let named = value.as_object().unwrap().iter();
    named
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

fn update(request: &Value) -> TransactWriteItem {
    let update = Update::builder()
        .table_name(text(&request["TableName"]))
        .set_key(Some(attributes(&request["Key"])))
        .update_expression(text(&request["UpdateExpression"]))
        .condition_expression(text(&request["ConditionExpression"]))
        .set_expression_attribute_names(Some(names(&request["ExpressionAttributeNames"])))
        .set_expression_attribute_values(Some(attributes(&request["ExpressionAttributeValues"])));
    let item = TransactWriteItem::builder();
    item.update(update.build().unwrap()).build()
}

fn delete(request: &Value) -> TransactWriteItem {
    let delete = Delete::builder()
        .table_name(text(&request["TableName"]))
        .set_key(Some(attributes(&request["Key"])))
        .condition_expression(text(&request["ConditionExpression"]))
        .set_expression_attribute_names(Some(names(&request["ExpressionAttributeNames"])))
        .set_expression_attribute_values(Some(attributes(&request["ExpressionAttributeValues"])));
    let item = TransactWriteItem::builder();
    item.delete(delete.build().unwrap()).build()
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

/// Runs the update that a block of `people.md` writes to this file.
async fn run_update(stack: &Stack, user: UserId, file: &str) {
    let request = fill_in(stack, user, written_to(file)).await;
    write(stack, vec![update(&request)]).await;
}

/// Runs the transaction that `people.md` erases a user with.
async fn run_erasure(stack: &Stack, user: UserId) {
    let request = fill_in(stack, user, written_to("erase.json")).await;
    let items = vec![delete(&request[0]["Delete"]), update(&request[1]["Update"])];
    write(stack, items).await;
}

async fn expect_signed_out(stack: &Stack, who: &SignedIn) {
    let list = stack.get("/v1/sessions").bearer(&who.access_token);
    list.send().await.expect_problem(401, "invalid_token");
    let refresh = stack.refresh(&who.refresh_token).await;
    refresh.expect_problem(401, "invalid_refresh_token");
}

/// The account as it stands in the table, without what two users cannot have in common.
async fn stored_account(stack: &Stack, user: UserId) -> Value {
    let key = json!(format!("USER#{user}"));
    let mut items = stack.items().await.into_iter();
    let mut account = items
        .find(|item| item["pk"] == key && item["sk"] == "ACCOUNT")
        .unwrap();
    account["pk"].take();
    account["change"]["id"].take();
    account["previous_change"].take();
    if let Some(email) = account.get_mut("email") {
        email.take();
    }
    account
}

#[tokio::test]
async fn an_account_changed_by_hand_is_as_the_service_would_have_written_it() {
    let stack = Stack::start().await;
    let grace = stack.register(EMAIL).await.user_id.unwrap();
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();

    run_update(&stack, grace, "disable.json").await;
    stack
        .change_account(user, Action::Disable, Account::disable)
        .await;
    let (by_hand, by_service) = (
        stored_account(&stack, grace).await,
        stored_account(&stack, user).await,
    );
    assert_eq!(by_hand, by_service);

    let stack = Stack::start().await;
    let grace = stack.register(EMAIL).await.user_id.unwrap();
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    run_erasure(&stack, grace).await;
    begin_deletion(&stack, "ada@example.com", user, ada.session_id).await;
    let (by_hand, by_service) = (
        stored_account(&stack, grace).await,
        stored_account(&stack, user).await,
    );
    assert_eq!(by_hand, by_service);
}

#[tokio::test]
async fn an_account_disabled_by_hand_is_closed_until_it_is_enabled_by_hand() {
    let stack = Stack::start().await;
    let grace = stack.register(EMAIL).await;
    let user = grace.user_id.unwrap();
    let other = stack.login(EMAIL).await;

    run_update(&stack, user, "disable.json").await;
    for who in [&grace, &other] {
        expect_signed_out(&stack, who).await;
    }
    let refused = stack.try_login(EMAIL, PASSWORD).await;
    refused.expect_problem(403, "account_disabled");

    run_update(&stack, user, "enable.json").await;
    for who in [&grace, &other] {
        expect_signed_out(&stack, who).await;
    }
    let again = stack.login(EMAIL).await;
    assert_eq!(stack.session_ids(&again).await, [again.session_id]);
}

#[tokio::test]
async fn a_sign_out_everywhere_by_hand_ends_all_sessions_and_lets_the_user_sign_in() {
    let stack = Stack::start().await;
    let grace = stack.register(EMAIL).await;
    let other = stack.login(EMAIL).await;

    run_update(&stack, grace.user_id.unwrap(), "sign-out.json").await;
    for who in [&grace, &other] {
        expect_signed_out(&stack, who).await;
    }
    let again = stack.login(EMAIL).await;
    assert_eq!(stack.session_ids(&again).await, [again.session_id]);
}

#[tokio::test]
async fn an_erasure_by_hand_and_the_cleanup_leave_nothing_of_the_user() {
    let stack = Stack::start().await;
    let grace = stack.register(EMAIL).await;
    let user = grace.user_id.unwrap();
    stack.login(EMAIL).await;

    run_erasure(&stack, user).await;
    expect_signed_out(&stack, &grace).await;
    let refused = stack.try_login(EMAIL, PASSWORD).await;
    refused.expect_problem(401, "invalid_credentials");
    let again = stack.register(EMAIL).await;
    let others = again.user_id.unwrap().to_string();

    stack.advance(TimeDelta::minutes(1));
    assert!(clean_up(&stack).await.complete);
    stack.advance(TimeDelta::days(1));
    assert!(clean_up(&stack).await.complete);
    // Left are the three items of the second registration, and the note of the cleanup.
    let left = stack.items().await;
    let users = left
        .iter()
        .filter(|item| item.to_string().contains(&others));
    assert_eq!(users.count(), 3, "{left:?}");
    assert!(
        left.iter()
            .all(|item| !item.to_string().contains(&user.to_string())),
        "{left:?}"
    );
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
