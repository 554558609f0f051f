//! What each operation costs in DynamoDB: requests in series and capacity, against the budget of the design.
//!
//! `cargo test -p latchkey-tests budgets -- --nocapture` prints the table.

mod administration;
mod links;
mod mail;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::client::ClientScope;
use latchkey_domain::policy::SessionPolicy;
use latchkey_service::AccessRules;
use latchkey_tests::harness::authorizer::passes;
use latchkey_tests::harness::dynamodb::Cost;
use latchkey_tests::harness::operations::Operation;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::json;
use utoipa::openapi::OpenApi;

struct Row {
    operation: &'static str,
    /// The route, as the OpenAPI document names it; the authorizer has none.
    route: Option<String>,
    cost: Cost,
    budget: Cost,
}

fn cost(trips: usize, write_units: f64, read_units: f64) -> Cost {
    Cost {
        trips,
        write_units,
        read_units,
    }
}

struct Table {
    stack: Stack,
    rows: Vec<Row>,
}

impl Table {
    async fn row(
        &mut self,
        operation: &'static str,
        budget: Cost,
        request: impl AsyncFnOnce(&Stack) -> Reply,
        status: u16,
    ) -> Reply {
        drop(self.stack.recorder.take());
        let reply = request(&self.stack).await;
        assert_eq!(reply.status.as_u16(), status, "{operation}: {}", reply.body);
        let cost = self.stack.recorder.take_cost();
        let asked = reply.request.as_ref();
        let route = asked.and_then(|(method, path)| Operation::of_request(method, path));
        assert!(
            route.is_some(),
            "{operation}: a route that the document has"
        );
        self.rows.push(Row {
            operation,
            route: route.map(|route| route.name()),
            cost,
            budget,
        });
        reply
    }
}

/// All routes, and at the end that none was left out: one that is added has a row here, or this fails.
#[tokio::test]
async fn no_operation_exceeds_its_budget_and_each_that_asks_dynamodb_has_one() {
    let mut rows = of_people().await;
    rows.extend(administration::of_administration().await);
    rows.extend(links::of_links().await);
    rows.extend(mail::of_mail().await);
    print_and_check(&rows);
    let measured: BTreeSet<&String> = rows.iter().filter_map(|row| row.route.as_ref()).collect();
    let has_no_row = |route: &String| !measured.contains(route);
    let without_a_row: Vec<String> = routes_on_table().filter(has_no_row).collect();
    assert!(
        without_a_row.is_empty(),
        "without a row of the budgets: {without_a_row:#?}"
    );
}

/// The routes of the functions that have the table, as the document names them.
fn routes_on_table() -> impl Iterator<Item = String> {
    let functions = latchkey::functions_on_table::<OpenApi>().into_iter();
    functions.flat_map(|(_, routes)| {
        let document = json!(routes);
        let paths = document["paths"].as_object().unwrap().clone();
        paths.into_iter().flat_map(|(path, item)| {
            let methods: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
            methods
                .into_iter()
                .map(move |method| format!("{} {path}", method.to_uppercase()))
        })
    })
}

async fn of_people() -> Vec<Row> {
    let mut table = Table {
        stack: Stack::start().await,
        rows: Vec::new(),
    };
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let register = async |stack: &Stack| stack.post("/v1/auth/register").json(&body).send().await;
    let reply = table
        .row(
            "register, the limit's trip before the hash",
            cost(2, 7.0 + 1.0, 0.0),
            register,
            201,
        )
        .await;
    let one = SignedIn::from(reply.body);
    let login = async |stack: &Stack| stack.post("/v1/auth/login").json(&body).send().await;
    let reply = table
        .row("sign-in", cost(3, 5.0 + 2.0, 2.0), login, 200)
        .await;
    let two = SignedIn::from(reply.body);
    let reply = table
        .row(
            "sign-in that clears a count",
            cost(3, 5.0 + 3.0, 2.0),
            login,
            200,
        )
        .await;
    let three = SignedIn::from(reply.body);
    let refresh = async |stack: &Stack| stack.refresh(&one.refresh_token).await;
    let reply = table.row("refresh", cost(1, 1.0, 1.0), refresh, 200).await;
    let next = SignedIn::from(reply.body);
    let again = async |stack: &Stack| stack.refresh(&one.refresh_token).await;
    table
        .row(
            "refresh, answered within the grace",
            cost(1, 1.0, 1.0),
            again,
            200,
        )
        .await;
    let young = async |stack: &Stack| stack.refresh(&next.refresh_token).await;
    let reply = table
        .row(
            "refresh, younger than the interval",
            cost(1, 1.0, 1.0),
            young,
            200,
        )
        .await;
    let newest = SignedIn::from(reply.body);
    let forged = async |stack: &Stack| stack.refresh(&format!("{}x", one.refresh_token)).await;
    table
        .row(
            "refresh, refused by signature",
            cost(0, 0.0, 0.0),
            forged,
            401,
        )
        .await;
    let wrong_kind = async |stack: &Stack| stack.refresh(&one.access_token).await;
    table
        .row(
            "refresh, refused by kind",
            cost(0, 0.0, 0.0),
            wrong_kind,
            401,
        )
        .await;

    let get = |path: &'static str| {
        let token = newest.access_token.clone();
        async move |stack: &Stack| stack.get(path).bearer(&token).send().await
    };
    table
        .row("list", cost(1, 0.0, 1.0), get("/v1/sessions"), 200)
        .await;
    table
        .row(
            "current session",
            cost(1, 0.0, 2.0),
            get("/v1/sessions/current"),
            200,
        )
        .await;
    table.row("me", cost(1, 0.0, 1.0), get("/v1/me"), 200).await;
    table.stack.stream().drain().await;
    for (operation, trips, read_units, path) in [
        ("activity", 1, 1.0 + 0.5, "/v1/me/activity"),
        ("export", 2, 1.0 + 0.5 + 2.0, "/v1/me/export"),
    ] {
        table
            .row(operation, cost(trips, 0.0, read_units), get(path), 200)
            .await;
    }
    let authorizer = table.stack.authorizer(AccessRules::default());
    drop(table.stack.recorder.take());
    assert!(passes(&authorizer, &newest.access_token).await);
    table.rows.push(Row {
        operation: "authorizer, strict",
        route: None,
        cost: table.stack.recorder.take_cost(),
        budget: cost(1, 0.0, 1.0),
    });
    let rename = async |stack: &Stack| {
        let path = format!("/v1/sessions/{}", two.session_id);
        stack
            .request(Method::PATCH, &path)
            .bearer(&newest.access_token)
            .json(&json!({"name": "x"}))
            .send()
            .await
    };
    table.row("rename", cost(2, 1.0, 1.0), rename, 200).await;
    let revoke = async |stack: &Stack| {
        let path = format!("/v1/sessions/{}", two.session_id);
        stack
            .delete(&path)
            .bearer(&newest.access_token)
            .send()
            .await
    };
    table.row("revoke", cost(2, 1.0, 1.0), revoke, 204).await;
    let logout = async |stack: &Stack| {
        stack
            .post("/v1/auth/logout")
            .json(&json!({"refresh_token": three.refresh_token}))
            .send()
            .await
    };
    table.row("logout", cost(2, 1.0, 1.0), logout, 204).await;
    let four = SignedIn::from(login(&table.stack).await.body);
    let revoke_all = async |stack: &Stack| {
        stack
            .post("/v1/sessions/revoke-all")
            .bearer(&newest.access_token)
            .send()
            .await
    };
    table
        .row("revoke-all", cost(2, 1.0, 1.0), revoke_all, 200)
        .await;
    drop(four);

    let victim = SignedIn::from(login(&table.stack).await.body);
    table
        .stack
        .refresh(&victim.refresh_token)
        .await
        .expect(StatusCode::OK);
    table.stack.advance(TimeDelta::seconds(31));
    let reuse = async |stack: &Stack| stack.refresh(&victim.refresh_token).await;
    table
        .row("reuse detected", cost(2, 2.0, 1.0), reuse, 401)
        .await;

    let secret = table
        .stack
        .add_client("orders-api", &ClientScope::ALL)
        .await;
    let ask = |path: &'static str, token: &str| {
        let (token, secret) = (token.to_owned(), secret.clone());
        async move |stack: &Stack| {
            let call = stack.post(path).basic("orders-api", &secret);
            call.form(&[("token", &token)]).send().await
        }
    };
    for (operation, budget, token) in [
        (
            "introspect an access token",
            cost(1, 0.0, 2.0),
            &newest.access_token,
        ),
        (
            "introspect a refresh token",
            cost(1, 0.0, 3.0),
            &newest.refresh_token,
        ),
        (
            "introspect what is not genuine",
            cost(1, 0.0, 1.0),
            &"x".to_owned(),
        ),
    ] {
        let asked = ask("/oauth/introspect", token);
        table.row(operation, budget, asked, 200).await;
    }
    let five = SignedIn::from(login(&table.stack).await.body);
    let revoked = ask("/oauth/revoke", &five.access_token);
    table
        .row(
            "revoke a token for a client",
            cost(3, 1.0, 2.0),
            revoked,
            200,
        )
        .await;

    let elsewhere = json!({
        "identity": {"issuer": "https://accounts.example.com", "subject": "110169484474386276334"},
        "amr": ["pwd"],
    });
    let sign_in_elsewhere = async |stack: &Stack| {
        let call = stack
            .post("/v1/service/sessions")
            .basic("orders-api", &secret);
        call.json(&elsewhere).send().await
    };
    for (operation, budget) in [
        ("first sign-in from elsewhere", cost(2, 7.0, 2.0)),
        ("sign-in from elsewhere", cost(3, 5.0, 3.0)),
    ] {
        table.row(operation, budget, sign_in_elsewhere, 201).await;
    }
    let six = SignedIn::from(login(&table.stack).await.body);
    let for_visitor = async |stack: &Stack| {
        let visitor = json!({"ip_address": "198.51.100.9"});
        let body = json!({"refresh_token": six.refresh_token, "client": visitor});
        let call = stack.post("/v1/auth/refresh").basic("orders-api", &secret);
        call.json(&body).send().await
    };
    table
        .row("refresh for a visitor", cost(2, 1.0, 2.0), for_visitor, 200)
        .await;

    table.stack.pass_interval();
    let reauthenticate = async |stack: &Stack| stack.reauthenticate(&newest, PASSWORD).await;
    table
        .row(
            "reauthentication, two trips before argon2",
            cost(3, 2.0 + 1.0, 3.0),
            reauthenticate,
            200,
        )
        .await;
    table
        .row(
            "reauthentication, refresh token young",
            cost(3, 2.0 + 1.0, 3.0),
            reauthenticate,
            200,
        )
        .await;
    // The account is read before the new password is hashed, so that the token of an ended session costs no hash; the
    // credential is read meanwhile. Two requests would need the e-mail address in the token.
    let change = async |stack: &Stack| {
        let body =
            json!({"current_password": PASSWORD, "new_password": "wrong donkey charger paperclip"});
        stack
            .request(Method::PUT, "/v1/me/password")
            .bearer(&newest.access_token)
            .json(&body)
            .send()
            .await
    };
    table
        .row(
            // The index has an entry of the session that is made and one of the session that goes.
            "password change, one trip in parallel with argon2",
            cost(3, 11.0 + 1.0, 2.0),
            change,
            200,
        )
        .await;

    sign_ins_that_are_refused(&mut table).await;
    purge_and_deletion(&mut table).await;
    table.rows
}

/// What a user does at the end: removes what has ended, and then the account.
async fn purge_and_deletion(table: &mut Table) {
    let grace = table.stack.register("grace@example.com").await;
    let phone = table.stack.login("grace@example.com").await;
    let logout = json!({"refresh_token": phone.refresh_token});
    let ended = table.stack.post("/v1/auth/logout").json(&logout);
    ended.send().await.expect(StatusCode::NO_CONTENT);
    let purge = async |stack: &Stack| {
        let call = stack.delete("/v1/sessions/expired");
        call.bearer(&grace.access_token).send().await
    };
    for (operation, budget) in [
        ("purge of one ended session", cost(3, 2.0, 2.0)),
        ("purge, nothing has ended", cost(2, 0.0, 2.0)),
    ] {
        table.row(operation, budget, purge, 200).await;
    }
    table.stack.stream().drain().await;
    let delete = async |stack: &Stack| stack.delete_account(&grace, PASSWORD).await;
    let operation = "account deletion";
    table
        .row(operation, cost(8, 14.0 + 1.0, 4.0), delete, 204)
        .await;
}

/// With and without a device token, and where nothing is checked.
async fn sign_ins_that_are_refused(table: &mut Table) {
    let sign_in = |email: &'static str, device: Option<String>| {
        let body = json!({"email": email, "password": "not it", "device_token": device});
        async move |stack: &Stack| stack.post("/v1/auth/login").json(&body).send().await
    };
    let bob = table.stack.register("bob@example.com").await.device_token;
    // The mark is the third trip.
    let refused = cost(3, 2.0 + 1.0, 2.0);
    for (operation, budget, email, device) in [
        ("sign-in refused", refused, "ada@example.com", None),
        (
            "sign-in refused, unknown address",
            refused,
            "eve@example.com",
            None,
        ),
        (
            "sign-in refused, known device",
            refused,
            "bob@example.com",
            bob.clone(),
        ),
        (
            "sign-in refused, device of another account",
            cost(4, 2.0 + 2.0 + 1.0, 2.0),
            "ada@example.com",
            bob.clone(),
        ),
    ] {
        table
            .row(operation, budget, sign_in(email, device), 401)
            .await;
    }
    let frank = table.stack.register("frank@example.com").await;
    let changed = table
        .stack
        .change_password(&frank, PASSWORD, "wrong donkey charger paperclip");
    changed.await.expect(StatusCode::OK);
    table
        .row(
            "sign-in refused, device of an earlier password",
            cost(4, 2.0 + 2.0 + 1.0, 2.0),
            sign_in("frank@example.com", frank.device_token),
            401,
        )
        .await;
    for _ in 0..10 {
        sign_in("eve@example.com", None)(&table.stack).await;
    }
    let throttled = sign_in("eve@example.com", None);
    table
        .row("sign-in throttled", cost(1, 2.0, 1.0), throttled, 429)
        .await;
    let from_elsewhere = |number: usize| {
        let email = format!("{number}@example.com");
        let body = json!({"email": email, "password": "not the password"});
        async move |stack: &Stack| {
            let call = stack.post("/v1/auth/login").json(&body);
            let address = "198.51.100.7".parse().unwrap();
            call.from_address(address).send().await
        }
    };
    for number in 0..60 {
        from_elsewhere(number)(&table.stack).await;
    }
    table
        .row(
            "sign-in throttled by its address alone",
            cost(2, 3.0, 1.0),
            from_elsewhere(60),
            429,
        )
        .await;
}

/// With as many sessions as are allowed and as many ended ones as are kept, the account is still one write unit; what
/// reads the partition, or a part of it, reads more than 4 KB.
#[tokio::test]
async fn a_user_with_twenty_live_and_twenty_ended_sessions_costs_no_more_writes() {
    let mut table = Table {
        stack: Stack::start().await,
        rows: Vec::new(),
    };
    table.stack.register("ada.lovelace@example.com").await;
    let mut newest = None;
    for _ in 0..40 {
        table.stack.advance(TimeDelta::seconds(1));
        newest = Some(table.stack.login("ada.lovelace@example.com").await);
    }
    let newest = newest.unwrap();
    let items = table.stack.items().await;
    let partition: usize = items.iter().map(|item| item.to_string().len()).sum();
    assert!(partition > 16 * 1024, "{partition}");
    let login = async |stack: &Stack| stack.try_login("ada.lovelace@example.com", PASSWORD).await;
    table
        .row(
            "full: sign-in that trims one",
            cost(4, 7.0 + 3.0, 1.0 + 6.0),
            login,
            200,
        )
        .await;
    let refresh = async |stack: &Stack| stack.refresh(&newest.refresh_token).await;
    table
        .row("full: refresh", cost(1, 1.0, 1.0), refresh, 200)
        .await;
    let list = async |stack: &Stack| {
        stack
            .get("/v1/sessions")
            .bearer(&newest.access_token)
            .send()
            .await
    };
    table.row("full: list", cost(1, 0.0, 6.0), list, 200).await;
    let others = table.stack.session_ids(&newest).await;
    let other = others
        .iter()
        .filter(|id| **id != newest.session_id)
        .max()
        .unwrap();
    let path = format!("/v1/sessions/{other}");
    let revoke = async |stack: &Stack| {
        stack
            .delete(&path)
            .bearer(&newest.access_token)
            .send()
            .await
    };
    table
        .row(
            "full: revoke of the last by its key",
            cost(2, 1.0, 6.0),
            revoke,
            204,
        )
        .await;
    let path = format!("/v1/sessions/{}", newest.session_id);
    let revoke = async |stack: &Stack| {
        stack
            .delete(&path)
            .bearer(&newest.access_token)
            .send()
            .await
    };
    table
        .row("full: revoke of one's own", cost(2, 1.0, 1.0), revoke, 204)
        .await;
    print_and_check(&table.rows);
}

#[tokio::test]
async fn a_sign_in_that_trims_costs_one_trip_and_two_write_units_for_each_old_item() {
    let policy = SessionPolicy {
        max_sessions: 1,
        ..Default::default()
    };
    let mut table = Table {
        stack: Stack::with_policy(policy).await,
        rows: Vec::new(),
    };
    table.stack.register("ada@example.com").await;
    for _ in 0..20 {
        table.stack.advance(TimeDelta::seconds(1));
        table.stack.login("ada@example.com").await;
    }
    let login = async |stack: &Stack| stack.try_login("ada@example.com", PASSWORD).await;
    table
        .row(
            "sign-in that trims one",
            cost(4, 7.0 + 3.0, 1.0 + 4.0),
            login,
            200,
        )
        .await;
    print_and_check(&table.rows);
}

fn print_and_check(rows: &[Row]) {
    println!("| operation | trips | write units | read units |");
    println!("|---|---|---|---|");
    for Row {
        operation,
        cost,
        budget,
        ..
    } in rows
    {
        println!(
            "| {operation} | {} of {} | {} of {} | {} of {} |",
            cost.trips,
            budget.trips,
            cost.write_units,
            budget.write_units,
            cost.read_units,
            budget.read_units
        );
    }
    for Row {
        operation,
        cost,
        budget,
        ..
    } in rows
    {
        let within = cost.trips <= budget.trips
            && cost.write_units <= budget.write_units
            && cost.read_units <= budget.read_units;
        assert!(within, "{operation}: {cost:?} exceeds {budget:?}");
    }
}
