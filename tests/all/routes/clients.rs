//! Clients of other services, introspection (RFC 7662) and revocation (RFC 7009), to the letter.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::administration::AdminAct;
use latchkey_domain::cause::{Action, Actor};
use latchkey_domain::client::{ClientBounds, ClientScope, ManageClientError};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::role::Role;
use latchkey_service::{Failure, NewClient, Service};
use latchkey_tests::attack::faults::{Fault, stack_with};
use latchkey_tests::attack::forgery::{part, read_part};
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{OTHER_AUDIENCE, PASSWORD, Stack, identity};
use serde_json::json;

const INTROSPECT: &str = "/oauth/introspect";
const REVOKE: &str = "/oauth/revoke";

fn service(stack: &Stack) -> Service {
    Service {
        core: stack.core.clone(),
        store: stack.store.clone(),
    }
}

async fn ask(stack: &Stack, secret: &str, token: &str) -> Reply {
    stack
        .post(INTROSPECT)
        .basic("orders-api", secret)
        .form(&[("token", token)])
        .send()
        .await
}

/// What the introspection of a token that is not active must be: nothing else is told.
#[track_caller]
fn assert_inactive(reply: Reply) {
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.expect(StatusCode::OK), json!({"active": false}));
}

#[tokio::test]
async fn an_access_token_is_active_as_long_as_its_session_is_live_by_the_account() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    let ada = stack.register("ada@example.com").await;
    let reply = ask(&stack, &secret, &ada.access_token).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let claims = read_part(&ada.access_token, 1);
    let mut expected = claims.clone();
    expected["active"] = json!(true);
    expected["token_type"] = json!("Bearer");
    assert_eq!(reply.expect(StatusCode::OK), expected);

    // The token itself has not changed: only the account knows.
    let other = stack.login("ada@example.com").await;
    let logout = json!({"refresh_token": ada.refresh_token});
    let reply = stack.post("/v1/auth/logout").json(&logout).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    assert_inactive(ask(&stack, &secret, &ada.access_token).await);

    let live = ask(&stack, &secret, &other.access_token).await;
    assert_eq!(live.expect(StatusCode::OK)["active"], true);
    stack.advance(TimeDelta::seconds(899));
    let live = ask(&stack, &secret, &other.access_token).await;
    assert_eq!(live.expect(StatusCode::OK)["active"], true);
    stack.advance(TimeDelta::seconds(1));
    assert_inactive(ask(&stack, &secret, &other.access_token).await);
}

#[tokio::test]
async fn a_refresh_token_is_active_only_while_its_rotation_is_current() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    let ada = stack.register("ada@example.com").await;
    let reply = ask(&stack, &secret, &ada.refresh_token).await;
    let mut expected = read_part(&ada.refresh_token, 1);
    expected["active"] = json!(true);
    expected["auth_time"] = json!(stack.now().timestamp());
    // No `token_type` and no `scope`: it opens no API.
    assert_eq!(reply.expect(StatusCode::OK), expected);

    let next = SignedIn::from(stack.refresh(&ada.refresh_token).await.body);
    // Within the grace a refresh would answer it; it is not the newest all the same.
    assert_inactive(ask(&stack, &secret, &ada.refresh_token).await);
    let newest = ask(&stack, &secret, &next.refresh_token).await;
    assert_eq!(newest.expect(StatusCode::OK)["active"], true);
    // To ask changes nothing: the predecessor still gets its successor, and nobody is signed out.
    let again = stack.refresh(&ada.refresh_token).await;
    let again = again.expect(StatusCode::OK);
    assert_eq!(again["refresh_token"], json!(next.refresh_token));

    // The access token of before lives on: the session does.
    let access = ask(&stack, &secret, &ada.access_token).await;
    assert_eq!(access.expect(StatusCode::OK)["active"], true);

    stack.advance(TimeDelta::days(7));
    assert_inactive(ask(&stack, &secret, &next.refresh_token).await);
}

#[tokio::test]
async fn what_is_not_genuine_is_not_active_and_a_hint_decides_nothing() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    let ada = stack.register("ada@example.com").await;
    let changed = {
        let mut claims = read_part(&ada.access_token, 1);
        claims["exp"] = json!(9_999_999_999_i64);
        let parts: Vec<&str> = ada.access_token.split('.').collect();
        format!("{}.{}.{}", parts[0], part(claims.to_string()), parts[2])
    };
    let long = "x".repeat(9_000);
    for token in [
        "x",
        "a.b.c",
        "\u{fffd}\u{0}",
        &long,
        &secret,
        &changed,
        PASSWORD,
    ] {
        assert_inactive(ask(&stack, &secret, token).await);
    }
    for token in [&ada.access_token, &ada.refresh_token] {
        for hint in ["access_token", "refresh_token", "saml2", "", "\u{e9}"] {
            let form = [
                ("token", token.as_str()),
                ("token_type_hint", hint),
                ("x", "y"),
            ];
            let call = stack
                .post(INTROSPECT)
                .basic("orders-api", &secret)
                .form(&form);
            assert_eq!(call.send().await.expect(StatusCode::OK)["active"], true);
        }
    }
    // The account is closed: nothing of it is active.
    let user = ada.user_id.unwrap();
    let close = latchkey_domain::cause::Action::Disable;
    stack
        .change_account(user, close, |account| account.disable())
        .await;
    for token in [&ada.access_token, &ada.refresh_token] {
        assert_inactive(ask(&stack, &secret, token).await);
    }
}

#[tokio::test]
async fn revocation_ends_the_session_of_any_genuine_token_and_answers_the_same_for_all() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &[ClientScope::Revoke]).await;
    let revoke = async |token: &str, hint: &str| {
        let form = [("token", token), ("token_type_hint", hint)];
        let call = stack.post(REVOKE).basic("orders-api", &secret).form(&form);
        let reply = call.send().await;
        assert_eq!((reply.status, reply.bytes.len()), (StatusCode::OK, 0));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    };
    let ada = stack.register("ada@example.com").await;
    for kind in ["access_token", "refresh_token"] {
        let one = stack.login("ada@example.com").await;
        // RFC 7009 section 2.2: a wrong or unknown hint changes nothing.
        revoke(one.body[kind].as_str().unwrap(), "saml2").await;
        let refused = stack.refresh(&one.refresh_token).await;
        refused.expect_problem(401, "invalid_refresh_token");
        let items = stack.items().await;
        let of_account = |item: &&serde_json::Value| item["sk"] == "ACCOUNT";
        let cause = &items.iter().find(of_account).unwrap()["change"];
        assert_eq!(cause["actor"], "client:orders-api");
        assert_eq!(cause["action"], "sign_out");
        assert_eq!(cause["reason"], "logged_out");
        revoke(one.body[kind].as_str().unwrap(), kind).await;
    }
    assert_eq!(
        stack.session_ids(&ada).await,
        [ada.session_id],
        "and no other"
    );
    // However old it is, and whether it was replaced.
    let old = stack.login("ada@example.com").await;
    stack
        .refresh(&old.refresh_token)
        .await
        .expect(StatusCode::OK);
    stack.advance(TimeDelta::hours(2));
    revoke(&old.refresh_token, "refresh_token").await;
    let bob = stack.register("bob@example.com").await;
    stack.advance(TimeDelta::hours(2));
    revoke(&bob.access_token, "access_token").await;
    let refused = stack.refresh(&bob.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    let before = stack.items().await;
    for token in ["x", "a.b.c", &"y".repeat(9_000), &bob.access_token] {
        revoke(token, "access_token").await;
    }
    assert_eq!(stack.items().await, before);
}

/// A token for another API says nothing here, and is a token of a session all the same.
#[tokio::test]
async fn a_token_for_another_audience_is_known_too() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    stack.register("ada@example.com").await;
    let other = &identity().other_audiences[0];
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "audience": other});
    let reply = stack.post("/v1/auth/login").json(&body).send().await;
    let orders = SignedIn::from(reply.expect(StatusCode::OK));
    let found = ask(&stack, &secret, &orders.access_token).await;
    let found = found.expect(StatusCode::OK);
    assert_eq!(
        (&found["active"], &found["aud"]),
        (&json!(true), &json!(other))
    );
    assert_eq!(found["scope"], serde_json::Value::Null);
    let form = [("token", orders.access_token.as_str())];
    let call = stack.post(REVOKE).basic("orders-api", &secret).form(&form);
    assert_eq!(call.send().await.status, StatusCode::OK);
    assert_inactive(ask(&stack, &secret, &orders.access_token).await);
    let refused = stack.refresh(&orders.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
}

/// A role that is taken away allows nothing any more, although the token still says so.
#[tokio::test]
async fn the_scope_of_an_access_token_is_as_of_now() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    let root = stack.administrator("root@example.com").await;
    let scope = async || {
        let found = ask(&stack, &secret, &root.access_token).await;
        let found = found.expect(StatusCode::OK);
        assert_eq!(found["active"], true);
        found["scope"].clone()
    };
    assert_eq!(scope().await, "account admin");
    let now = stack.now();
    let withdraw = AdminAct::Withdraw(Role::admin());
    stack
        .change_account(root.user_id.unwrap(), Action::ChangeRoles, |account| {
            let operator = Actor::Operator;
            account.administer(&operator, &withdraw, now).unwrap()
        })
        .await;
    assert_eq!(scope().await, "account");
}

/// RFC 7662 section 4: a service learns nothing of tokens that are not for it.
#[tokio::test]
async fn a_client_that_is_bound_to_an_audience_sees_tokens_for_it_alone() {
    let stack = Stack::start().await;
    let new = NewClient {
        id: "orders-api",
        name: "Orders",
        scopes: ClientScope::ALL.into(),
        bounds: ClientBounds {
            audiences: [OTHER_AUDIENCE.to_owned()].into(),
            ..ClientBounds::default()
        },
    };
    let (_, secret) = service(&stack).add_client(new).await.unwrap();
    let ada = stack.register("ada@example.com").await;
    let body =
        json!({"email": "ada@example.com", "password": PASSWORD, "audience": OTHER_AUDIENCE});
    let orders = stack.post("/v1/auth/login").json(&body).send().await;
    let orders = SignedIn::from(orders.expect(StatusCode::OK));
    let own = ask(&stack, secret.expose(), &orders.access_token).await;
    assert_eq!(own.expect(StatusCode::OK)["active"], true);
    for other in [&ada.access_token, &ada.refresh_token, &orders.refresh_token] {
        assert_inactive(ask(&stack, secret.expose(), other).await);
    }
    // And it ends no session by one.
    let revoke = async |token: &str| {
        let call = stack
            .post("/oauth/revoke")
            .basic("orders-api", secret.expose());
        let reply = call.form(&[("token", token)]).send().await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
        stack.session_ids(&ada).await.len()
    };
    for other in [&ada.access_token, &ada.refresh_token, &orders.refresh_token] {
        assert_eq!(
            revoke(other).await,
            2,
            "a token for another API is none to this client"
        );
    }
    assert_eq!(revoke(&orders.access_token).await, 1);
}

#[track_caller]
fn assert_error(reply: &Reply, status: u16, error: &str) {
    assert_eq!(
        (reply.status.as_u16(), reply.body["error"].as_str()),
        (status, Some(error)),
        "{}",
        reply.body
    );
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let members = reply.body.as_object().unwrap().keys();
    assert_eq!(members.collect::<Vec<_>>(), ["error", "error_description"]);
    let challenge = reply.header("www-authenticate");
    let expected = (status == 401).then_some(r#"Basic realm="latchkey", charset="UTF-8""#);
    assert_eq!(challenge, expected);
}

#[tokio::test]
async fn a_client_proves_itself_by_http_basic_alone() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    let other = stack.add_client("reports", &ClientScope::ALL).await;
    let ada = stack.register("ada@example.com").await;
    let form = [("token", ada.access_token.as_str())];
    let before = stack.items().await;
    for path in [INTROSPECT, REVOKE] {
        let call = || stack.post(path).form(&form);
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        let refused: Vec<Call<'_>> = vec![
            call(),
            call().basic("orders-api", "wrong"),
            call().basic("orders-api", ""),
            call().basic("orders-api", &other),
            call().basic("nobody", &secret),
            call().basic("", &secret),
            call().basic("ORDERS-API", &secret),
            call().basic("orders-api", &format!("{secret} ")),
            call().bearer(&ada.access_token),
            call().header("authorization", b"Basic"),
            call().header("authorization", b"Basic \xff"),
            call().header("authorization", basic("orders-api").as_bytes()),
            call()
                .basic("orders-api", &secret)
                .basic("orders-api", &secret),
        ];
        for call in refused {
            assert_error(&call.send().await, 401, "invalid_client");
        }
        // RFC 6749 section 2.3: one way of authentication in each request.
        let doubled = [form[0], ("client_secret", secret.as_str())];
        let call = stack.post(path).form(&doubled);
        assert_error(&call.clone().send().await, 400, "invalid_request");
        let call = call.basic("orders-api", &secret);
        assert_error(&call.send().await, 400, "invalid_request");
    }
    assert_eq!(stack.items().await, before);
    // Encoded as RFC 6749 section 2.3.1 has it; a library that encodes every byte is right too.
    let encoded: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let encoded = BASE64_STANDARD.encode(format!("orders%2Dapi:{encoded}"));
    let call = stack.post(INTROSPECT).form(&form);
    let call = call.header("authorization", format!("bAsIc {encoded}").as_bytes());
    assert_eq!(call.send().await.expect(StatusCode::OK)["active"], true);
}

#[tokio::test]
async fn a_client_may_do_what_its_scopes_say_and_nothing_else() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let form = [("token", ada.access_token.as_str())];
    for (scope, allowed) in [
        (ClientScope::Introspect, Some(INTROSPECT)),
        (ClientScope::Revoke, Some(REVOKE)),
        (ClientScope::IssueSessions, None),
    ] {
        let id = scope.as_str().replace(':', "-");
        let secret = stack.add_client(&id, &[scope]).await;
        for path in [INTROSPECT, REVOKE] {
            let reply = stack
                .post(path)
                .basic(&id, &secret)
                .form(&form)
                .send()
                .await;
            if allowed == Some(path) {
                assert_eq!(reply.status, StatusCode::OK, "{scope} {path}");
            } else {
                assert_error(&reply, 400, "unauthorized_client");
            }
        }
    }
}

#[tokio::test]
async fn a_request_that_is_not_as_the_rfcs_have_it_is_refused() {
    let stack = Stack::start().await;
    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    let token = &ada.access_token;
    let form_type = "application/x-www-form-urlencoded";
    for path in [INTROSPECT, REVOKE] {
        let call = || stack.post(path).basic("orders-api", &secret);
        for form in [
            String::new(),
            "token=".to_owned(),
            "Token=x".to_owned(),
            format!("token={token}&token={token}"),
            format!("token={token}&token="),
            format!("token={token}&token_type_hint=access_token&token_type_hint=access_token"),
            json!({"token": token}).to_string(),
        ] {
            let reply = call().bytes(form_type, form.as_bytes()).send().await;
            assert_error(&reply, 400, "invalid_request");
        }
        let form = format!("token={token}");
        for kind in [
            "application/json",
            "text/plain",
            "multipart/form-data; boundary=x",
            "",
        ] {
            let reply = call().bytes(kind, form.as_bytes()).send().await;
            assert_error(&reply, 415, "invalid_request");
        }
        assert_error(&call().send().await, 415, "invalid_request");
        let twice = call()
            .bytes(form_type, form.as_bytes())
            .header("content-type", b"text/plain");
        assert_error(&twice.send().await, 415, "invalid_request");
        let coded = call()
            .bytes(form_type, form.as_bytes())
            .header("content-encoding", b"gzip");
        let coded = coded.send().await;
        assert_error(&coded, 415, "invalid_request");
        assert_eq!(coded.header("accept-encoding"), Some("identity"));
        let large = format!("token={}", "x".repeat(16 * 1024));
        let large = call().bytes(form_type, large.as_bytes()).send().await;
        assert_error(&large, 413, "invalid_request");
        // A token does not belong into a URL (RFC 7662 section 2.1).
        let query = stack
            .post(&format!("{path}?token={token}"))
            .basic("orders-api", &secret);
        let query = query.bytes(form_type, form.as_bytes()).send().await;
        assert_error(&query, 400, "invalid_request");
        for method in [http::Method::GET, http::Method::PUT, http::Method::HEAD] {
            let reply = stack
                .request(method.clone(), path)
                .basic("orders-api", &secret)
                .send()
                .await;
            assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
            assert_eq!(reply.header("allow"), Some("POST"));
        }
    }
    assert_eq!(stack.items().await, before);
    let charset = format!("{form_type}; charset=UTF-8");
    let right = stack.post(INTROSPECT).basic("orders-api", &secret);
    let right = right
        .bytes(&charset, format!("token={token}").as_bytes())
        .send()
        .await;
    assert_eq!(right.expect(StatusCode::OK)["active"], true);
}

#[tokio::test]
async fn a_client_changes_its_secret_without_an_interruption() {
    let stack = Stack::start().await;
    let service = service(&stack);
    let first = stack.add_client("orders-api", &ClientScope::ALL).await;
    let works = async |secret: &str| ask(&stack, secret, "x").await.status == StatusCode::OK;
    let (client, second) = service.add_client_secret("orders-api").await.unwrap();
    let second = second.expose().to_owned();
    assert!(works(&first).await && works(&second).await);
    let full = service.add_client_secret("orders-api").await;
    assert_eq!(
        full.unwrap_err(),
        Failure::Refused(ManageClientError::TooManySecrets)
    );
    let old = client.secrets[0].digest.secret_id();
    let client = service
        .remove_client_secret("orders-api", &old)
        .await
        .unwrap();
    assert!(!works(&first).await && works(&second).await);
    let last = client.secrets[0].digest.secret_id();
    let refused = service.remove_client_secret("orders-api", &last).await;
    assert_eq!(
        refused.unwrap_err(),
        Failure::Refused(ManageClientError::LastSecret)
    );
    let ids: Vec<String> = service
        .list_clients()
        .await
        .unwrap()
        .into_iter()
        .map(|one| one.id.into())
        .collect();
    assert_eq!(ids, ["orders-api"]);
    service.remove_client("orders-api").await.unwrap();
    assert!(!works(&second).await);
    let gone = service.remove_client("orders-api").await;
    assert_eq!(
        gone.unwrap_err(),
        Failure::Refused(ManageClientError::NotFound)
    );
}

#[tokio::test]
async fn an_id_names_one_client_and_the_table_holds_no_secret() {
    let stack = Stack::start().await;
    let service = service(&stack);
    let secret = stack
        .add_client("orders-api", &[ClientScope::Introspect])
        .await;
    let new = NewClient {
        id: "orders-api",
        name: "Another",
        scopes: ClientScope::ALL.into(),
        bounds: ClientBounds::default(),
    };
    let taken = service.add_client(new).await;
    assert_eq!(
        taken.unwrap_err(),
        Failure::Refused(ManageClientError::Exists)
    );
    assert_eq!(ask(&stack, &secret, "x").await.status, StatusCode::OK);
    let items = json!(stack.items().await).to_string();
    assert!(!items.contains(&secret) && !items.contains(&secret[4..]));
    // Two additions at once: one of them is told to look again, and no third secret comes of it.
    let (one, two) = tokio::join!(
        service.add_client_secret("orders-api"),
        service.add_client_secret("orders-api")
    );
    let made = [one, two].into_iter().filter(Result::is_ok).count();
    assert_eq!(made, 1);
    let clients = service.list_clients().await.unwrap();
    assert_eq!(clients[0].secrets.len(), 2);
}

/// The SDK repeats a deletion whose reply was lost. That it finds nothing then is no reason to say that there was nothing.
#[tokio::test(start_paused = true)]
async fn a_client_whose_removal_was_answered_by_nobody_is_removed() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let service = service(&stack);
    stack.add_client("orders-api", &ClientScope::ALL).await;
    faults.strike_once(Fault::ReplyLost, "DeleteItem", 0);
    service.remove_client("orders-api").await.unwrap();
    faults.disarm();
    assert_eq!(service.list_clients().await.unwrap(), []);
    let gone = service.remove_client("orders-api").await;
    let expected = Failure::Refused(ManageClientError::NotFound);
    assert_eq!(gone.unwrap_err(), expected);
}

/// The cleanup reads every item of the table and leaves clients alone.
#[tokio::test]
async fn a_client_outlives_the_cleanup() {
    let stack = Stack::start().await;
    let secret = stack
        .add_client("orders-api", &[ClientScope::Introspect])
        .await;
    stack.advance(TimeDelta::days(400));
    super::cleanup::clean_up(&stack).await;
    assert_inactive(ask(&stack, &secret, "x").await);
}
