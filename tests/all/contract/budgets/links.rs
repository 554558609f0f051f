//! The rows of links: who asks for one, makes one, and opens one.

use latchkey_domain::client::ClientScope;
use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::json;

use super::{Row, Table, cost};

pub(super) async fn of_links() -> Vec<Row> {
    let mut table = Table {
        stack: Stack::start().await,
        rows: Vec::new(),
    };
    let ada = table.stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let request = async |stack: &Stack| stack.request_password_reset("ada@example.com").await;
    table
        .row("ask for a reset", cost(3, 3.0, 0.0), request, 202)
        .await;
    let unknown = async |stack: &Stack| stack.request_password_reset("eve@example.com").await;
    table
        .row("the same, unknown", cost(3, 3.0, 0.0), unknown, 202)
        .await;
    let ask = async |stack: &Stack| {
        let call = stack.post("/v1/me/verify-email").bearer(&ada.access_token);
        call.send().await
    };
    table
        .row("ask for a verification", cost(3, 2.0, 1.0), ask, 202)
        .await;
    let secret = table
        .stack
        .add_client("mailer", &[ClientScope::IssueLinks])
        .await;
    let link = async |stack: &Stack| {
        let path = format!("/v1/service/users/{user}/links");
        let call = stack.post(&path).basic("mailer", &secret);
        call.json(&json!({"purpose": "verify_email"})).send().await
    };
    table
        .row("make a link for a client", cost(1, 0.0, 2.0), link, 200)
        .await;
    let token = table.stack.verify_token(user).await;
    let verify = async |stack: &Stack| stack.verify_email(&token).await;
    table
        .row("verify an address", cost(2, 1.0, 1.0), verify, 204)
        .await;
    let ask = async |stack: &Stack| stack.request_email_change(&ada, "ada@example.org").await;
    let budget = cost(6, 6.0, 3.0);
    table.row("ask for another address", budget, ask, 202).await;
    let token = table
        .stack
        .change_email_token(&ada, "ada@example.org")
        .await;
    let change = async |stack: &Stack| stack.verify_email(&token).await;
    table
        .row("change the address", cost(3, 6.0, 3.0), change, 204)
        .await;
    let token = table.stack.reset_token(user).await;
    let reset = async |stack: &Stack| stack.reset_password(&token, "wrong donkey charger").await;
    table
        .row("reset the password", cost(3, 7.0, 2.0), reset, 204)
        .await;
    let again = async |stack: &Stack| stack.reset_password(&token, "wrong donkey charger").await;
    table
        .row("the same, used", cost(1, 1.0, 2.0), again, 400)
        .await;
    let forged = async |stack: &Stack| stack.reset_password("x.y.z", "wrong donkey charger").await;
    table
        .row("the same, forged", cost(0, 0.0, 0.0), forged, 400)
        .await;
    let mut rows = table.rows;

    let policy = SessionPolicy {
        require_verified_email: true,
        ..Default::default()
    };
    let mut table = Table {
        stack: Stack::with_policy(policy).await,
        rows: Vec::new(),
    };
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    for operation in ["register, to be verified", "the same, taken"] {
        let register =
            async |stack: &Stack| stack.post("/v1/auth/register").json(&body).send().await;
        table.row(operation, cost(4, 7.0, 0.0), register, 202).await;
    }
    rows.extend(table.rows);
    rows
}
