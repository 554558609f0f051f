//! The rows of administration.

use http::{Method, StatusCode};
use latchkey_domain::client::ClientScope;
use latchkey_tests::harness::stack::Stack;
use serde_json::json;

use super::{Row, Table, cost};

/// Each route of administration: 1 trip and 1 read unit of it are the administrator's own account.
pub(super) async fn of_administration() -> Vec<Row> {
    let stack = Stack::start().await;
    let admin = stack.administrator("root@example.com").await;
    let grace = stack.register("grace@example.com").await;
    let phone = stack.login("grace@example.com").await;
    let ada = stack.register("ada@example.com").await;
    let mut table = Table {
        stack,
        rows: Vec::new(),
    };
    let user = format!("/v1/admin/users/{}", grace.user_id.unwrap());
    let get = |path: String| {
        let token = admin.access_token.clone();
        async move |stack: &Stack| stack.get(&path).bearer(&token).send().await
    };
    let secret = table
        .stack
        .add_client("sso", &[ClientScope::IssueSessions])
        .await;
    let elsewhere = json!({"identity": {"issuer": "idp", "subject": "7"}, "amr": ["pwd"]});
    let issue = table
        .stack
        .post("/v1/service/sessions")
        .basic("sso", &secret);
    let issued = issue.json(&elsewhere).send().await;
    issued.expect(StatusCode::CREATED);
    let by_email = "/v1/admin/users?email=grace@example.com".to_owned();
    let by_identity = "/v1/admin/users?issuer=idp&subject=7".to_owned();
    for (operation, budget, path) in [
        ("admin: find by address", cost(3, 0.0, 3.0), by_email),
        ("admin: find by identity", cost(3, 0.0, 3.0), by_identity),
        // The table here is one of 8 KB or so; 1,000 items of 0.5 KB are 62.5 read units.
        (
            "admin: a page of users",
            cost(2, 0.0, 1.0 + 1.0),
            "/v1/admin/users".to_owned(),
        ),
        ("admin: user", cost(2, 0.0, 2.0), user.clone()),
        (
            "admin: sessions of a user",
            cost(2, 0.0, 2.0),
            format!("{user}/sessions"),
        ),
        (
            "admin: activity of a user",
            cost(2, 0.0, 1.0 + 1.5),
            format!("{user}/activity"),
        ),
        (
            "admin: find a session",
            cost(3, 0.0, 1.0 + 0.5 + 1.0),
            format!("/v1/admin/sessions/{}", phone.session_id),
        ),
    ] {
        table.row(operation, budget, get(path), 200).await;
    }
    let send = |method: Method, path: String, body: Option<serde_json::Value>| {
        let token = admin.access_token.clone();
        async move |stack: &Stack| {
            let call = stack.request(method, &path).bearer(&token);
            match body {
                Some(body) => call.json(&body).send().await,
                None => call.send().await,
            }
        }
    };
    let (one, all) = (
        format!("{user}/sessions/{}", phone.session_id),
        format!("{user}/sessions/revoke-all"),
    );
    let revoke = send(Method::DELETE, one, None);
    table
        .row("admin: revoke", cost(3, 1.0, 2.0), revoke, 204)
        .await;
    let revoke_all = send(Method::POST, all, None);
    table
        .row("admin: revoke-all", cost(3, 1.0, 2.0), revoke_all, 200)
        .await;
    let disable = send(
        Method::PATCH,
        user.clone(),
        Some(json!({"status": "disabled"})),
    );
    table
        .row("admin: disable", cost(3, 1.0, 2.0), disable, 200)
        .await;
    let both = json!({"status": "active", "roles": ["clerk"]});
    let both = send(Method::PATCH, user.clone(), Some(both));
    table
        .row("admin: enable and roles", cost(5, 2.0, 3.0), both, 200)
        .await;
    let users = json!({"user_ids": [grace.user_id.unwrap(), ada.user_id.unwrap()]});
    let many = send(
        Method::POST,
        "/v1/admin/sessions/revoke".to_owned(),
        Some(users),
    );
    table
        .row(
            "admin: revoke-all of two users",
            cost(3, 2.0, 3.0),
            many,
            200,
        )
        .await;
    let reset = send(Method::POST, format!("{user}/password-reset"), None);
    table
        .row("admin: send a reset", cost(3, 1.0, 2.0), reset, 202)
        .await;
    let delete = send(Method::DELETE, user, None);
    table
        .row("admin: delete", cost(8, 11.0, 5.0), delete, 204)
        .await;
    table.rows
}
