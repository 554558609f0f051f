//! Sessions for people who signed in elsewhere: one account for an identity, no password, and who may say where a visitor
//! is.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::cause::Action;
use latchkey_domain::client::{ClientBounds, ClientScope};
use latchkey_service::{NewClient, Service};
use latchkey_tests::attack::forgery::read_part;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{CHROME, PASSWORD, Stack, TABLE, identity};
use serde_json::{Value, json};

const PATH: &str = "/v1/service/sessions";

/// The whole service, and a client that may issue sessions.
struct Elsewhere {
    stack: Stack,
    secret: String,
}

impl Elsewhere {
    async fn start() -> Self {
        let stack = Stack::start().await;
        let secret = stack.add_client("web", &[ClientScope::IssueSessions]).await;
        Self { stack, secret }
    }

    async fn ask(&self, body: &Value) -> Reply {
        let call = self.stack.post(PATH).basic("web", &self.secret);
        call.json(body).send().await
    }

    async fn sign_in(&self, body: &Value) -> SignedIn {
        SignedIn::from(self.ask(body).await.expect(StatusCode::CREATED))
    }

    async fn identity_items(&self) -> usize {
        let items = self.stack.items().await;
        let is_identity = |item: &&Value| item["pk"].as_str().unwrap().starts_with("IDENTITY#");
        items.iter().filter(is_identity).count()
    }
}

fn ada() -> Value {
    json!({
        "identity": {"issuer": "https://accounts.google.com", "subject": "110169484474386276334"},
        "email": "ada@example.com",
        "amr": ["pwd", "otp"],
    })
}

/// The same of somebody who has proved just now who they are.
fn proved(mut body: Value, stack: &Stack) -> Value {
    body["auth_time"] = json!(stack.now().timestamp());
    body
}

#[tokio::test]
async fn the_first_sign_in_makes_an_account_and_later_ones_lead_to_it() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let first = elsewhere.sign_in(&ada()).await;
    assert_eq!(first.body["user"]["email"], "ada@example.com");
    let claims = read_part(&first.access_token, 1);
    assert_eq!(claims["amr"], json!(["pwd", "otp"]));
    assert_eq!(claims["scope"], "account");
    let second = elsewhere.sign_in(&ada()).await;
    assert_eq!(second.user_id, first.user_id);
    assert_ne!(second.session_id, first.session_id);
    assert_eq!(stack.session_ids(&first).await.len(), 2);

    // Another subject, another issuer, another spelling: other people.
    let mut users = BTreeSet::from([first.user_id]);
    for (issuer, subject) in [
        ("https://accounts.google.com", "110169484474386276335"),
        ("https://accounts.example.com", "110169484474386276334"),
        ("https://Accounts.google.com", "110169484474386276334"),
    ] {
        let mut body = ada();
        body["identity"] = json!({"issuer": issuer, "subject": subject});
        assert!(users.insert(elsewhere.sign_in(&body).await.user_id));
    }

    // The session is one like any other.
    stack.pass_interval();
    let next = stack.refresh_session(&first).await;
    assert_eq!(
        read_part(&next.access_token, 1)["amr"],
        json!(["pwd", "otp"]),
        "it is kept with the session"
    );
    let revoke = stack.delete(&format!("/v1/sessions/{}", second.session_id));
    let revoke = revoke.bearer(&next.access_token).send().await;
    assert_eq!(revoke.status, StatusCode::NO_CONTENT);
    let refused = stack.refresh(&second.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
}

#[tokio::test]
async fn two_first_sign_ins_at_once_give_one_user() {
    let elsewhere = Elsewhere::start().await;
    let body = ada();
    let replies = futures::future::join_all((0..8).map(|_| elsewhere.ask(&body))).await;
    let all: Vec<SignedIn> = replies
        .into_iter()
        .map(|reply| SignedIn::from(reply.expect(StatusCode::CREATED)))
        .collect();
    let users: BTreeSet<_> = all.iter().map(|one| one.user_id).collect();
    assert_eq!(users.len(), 1, "{users:?}");
    assert_eq!(elsewhere.identity_items().await, 1);
    assert_eq!(elsewhere.stack.session_ids(&all[0]).await.len(), 8);
    let items = elsewhere.stack.items().await;
    let accounts = items.iter().filter(|item| item["sk"] == "ACCOUNT");
    assert_eq!(accounts.count(), 1, "nothing is left of the others");
}

/// Their address leads to no account, so no link verifies it, whoever sends the mail.
#[tokio::test]
async fn an_address_from_elsewhere_is_not_verified_by_a_link() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let mailer = stack.add_client("mailer", &[ClientScope::IssueLinks]).await;
    let mut without = ada();
    without["identity"]["subject"] = json!("bob");
    without.as_object_mut().unwrap().remove("email");
    for body in [ada(), without] {
        let who = elsewhere.sign_in(&body).await;
        let call = stack.post("/v1/me/verify-email").bearer(&who.access_token);
        call.send().await.expect_problem(409, "no_password");
        let path = format!("/v1/service/users/{}/links", who.user_id.unwrap());
        let call = stack.post(&path).basic("mailer", &mailer);
        let link = call.json(&json!({"purpose": "verify_email"})).send().await;
        link.expect_problem(409, "no_password");
    }
    let items = stack.items().await;
    let is_request = |item: &Value| item["pk"].as_str().unwrap().starts_with("LINK#");
    assert!(!items.iter().any(is_request), "nothing is written down");
}

/// Whoever can tell another provider any address must not get into the account that has it here.
#[tokio::test]
async fn an_address_never_leads_to_an_account() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let owner = stack.register("ada@example.com").await;
    let other = elsewhere.sign_in(&proved(ada(), stack)).await;
    assert_ne!(other.user_id, owner.user_id);
    assert_eq!(stack.session_ids(&owner).await, [owner.session_id]);
    assert_eq!(stack.session_ids(&other).await, [other.session_id]);
    // The owner's password opens the owner's account, and nothing leads to the other one.
    assert_eq!(stack.login("ada@example.com").await.user_id, owner.user_id);
    let refused = stack.change_password(&other, PASSWORD, "wrong donkey charger paperclip");
    refused.await.expect_problem(409, "no_password");
    stack
        .delete_account(&other, PASSWORD)
        .await
        .expect_problem(409, "no_password");
    stack.login("ada@example.com").await;

    // And the other way round: an address that was told elsewhere is free here.
    let mut bob = ada();
    bob["identity"]["subject"] = json!("bob");
    bob["email"] = json!("bob@example.com");
    let elsewhere_bob = elsewhere.sign_in(&bob).await;
    let registered = stack.register("bob@example.com").await;
    assert_ne!(registered.user_id, elsewhere_bob.user_id);
}

#[tokio::test]
async fn the_password_routes_answer_that_there_is_no_password() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let ada = elsewhere.sign_in(&proved(ada(), stack)).await;
    // More often than a session survives wrong passwords.
    for _ in 0..6 {
        let changed = stack.change_password(&ada, PASSWORD, "wrong donkey charger paperclip");
        changed.await.expect_problem(409, "no_password");
        stack
            .delete_account(&ada, PASSWORD)
            .await
            .expect_problem(409, "no_password");
    }
    assert_eq!(stack.session_ids(&ada).await, [ada.session_id]);
    // Also when the proof is not recent: there is no password to give a new one with.
    let unproved = elsewhere.sign_in(&self::ada()).await;
    let refused = stack.delete_account(&unproved, PASSWORD).await;
    refused.expect_problem(409, "no_password");
    let end = json!({"refresh_token": unproved.refresh_token});
    let ended = stack.post("/v1/auth/logout").json(&end).send().await;
    ended.expect(StatusCode::NO_CONTENT);
    // Only to who is signed in: an ended session learns nothing.
    let other = stack.post("/v1/auth/logout");
    let other = other.json(&json!({"refresh_token": ada.refresh_token}));
    other.send().await.expect(StatusCode::NO_CONTENT);
    let refused = stack.delete_account(&ada, PASSWORD).await;
    refused.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn an_account_may_have_no_address_and_the_last_one_told_is_shown() {
    let elsewhere = Elsewhere::start().await;
    let mut body = ada();
    body.as_object_mut().unwrap().remove("email");
    let first = elsewhere.sign_in(&body).await;
    assert_eq!(first.body["user"]["email"], Value::Null);
    let me = async |who: &SignedIn| {
        let call = elsewhere.stack.get("/v1/me").bearer(&who.access_token);
        let me = call.send().await.expect(StatusCode::OK).clone();
        assert_eq!(me["has_password"], false);
        me["email"].clone()
    };
    assert_eq!(me(&first).await, Value::Null);
    elsewhere.sign_in(&ada()).await;
    assert_eq!(me(&first).await, "ada@example.com");
    body["email"] = json!("Ada@Example.org");
    elsewhere.sign_in(&body).await;
    assert_eq!(me(&first).await, "Ada@Example.org");
    body["email"] = Value::Null;
    elsewhere.sign_in(&body).await;
    assert_eq!(me(&first).await, "Ada@Example.org", "not told again");
}

#[tokio::test]
async fn the_rules_of_a_sign_in_hold() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let mut on_phone = ada();
    on_phone["client"] =
        json!({"device_id": "phone", "user_agent": CHROME, "ip_address": "2001:db8::7"});
    let phone = elsewhere.sign_in(&on_phone).await;
    let session = &phone.body["session"];
    assert_eq!(session["ip_address"], "2001:db8::7");
    assert_eq!(session["device_name"], "Chrome on Windows");
    assert_eq!(session["device_id"], "phone");
    // The same device again takes the place of its session.
    let again = elsewhere.sign_in(&on_phone).await;
    assert_eq!(stack.session_ids(&again).await, [again.session_id]);
    // Without a visitor nothing is known; the service's own address is not the person's.
    let bare = elsewhere.sign_in(&ada()).await;
    assert_eq!(bare.body["session"]["ip_address"], Value::Null);
    assert_eq!(bare.body["session"]["device_name"], "Unknown device");
    // The limit.
    for _ in 0..25 {
        stack.advance(TimeDelta::seconds(1));
        elsewhere.sign_in(&ada()).await;
    }
    let newest = elsewhere.sign_in(&ada()).await;
    assert_eq!(stack.session_ids(&newest).await.len(), 20);
    let refused = stack.refresh(&phone.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");

    let user = newest.user_id.unwrap();
    stack
        .change_account(user, Action::Disable, |account| account.disable())
        .await;
    let refused = elsewhere.ask(&ada()).await;
    refused.expect_problem(403, "account_disabled");
    let refused = stack
        .get("/v1/me")
        .bearer(&newest.access_token)
        .send()
        .await;
    refused.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_deleted_account_takes_its_identity_with_it_whenever_it_is_interrupted() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let mut without_address = ada();
    without_address["identity"]["subject"] = json!("nobody");
    without_address["email"] = Value::Null;
    for body in [ada(), without_address] {
        let first = elsewhere.sign_in(&body).await;
        let user = first.user_id.unwrap();
        elsewhere.sign_in(&body).await;
        let identities = elsewhere.identity_items().await;
        // What deletes it need not know of the identity. Nothing more is done here: an interruption.
        let erase = |account: latchkey_domain::account::Account| {
            account.delete(first.session_id, stack.now()).unwrap()
        };
        stack.change_account(user, Action::Delete, erase).await;
        assert_eq!(elsewhere.identity_items().await, identities - 1);
        let refused = stack.refresh(&first.refresh_token).await;
        refused.expect_problem(401, "invalid_refresh_token");
        let items = json!(stack.items().await).to_string();
        assert!(
            !items.contains("11016948") && !items.contains("nobody"),
            "{items}"
        );
        // The same person is a new user.
        let again = elsewhere.sign_in(&body).await;
        assert_ne!(again.user_id, first.user_id);
        let report = super::cleanup::clean_up(stack).await;
        assert_eq!((report.removed_of_deleted_users, report.broken), (3, 0));
        assert_eq!(stack.session_ids(&again).await, [again.session_id]);
        let next = elsewhere.sign_in(&body).await;
        assert_eq!(next.user_id, again.user_id);
        // For the second round.
        let user = again.user_id.unwrap();
        let erase = |account: latchkey_domain::account::Account| {
            account.delete(again.session_id, stack.now()).unwrap()
        };
        stack.change_account(user, Action::Delete, erase).await;
        super::cleanup::clean_up(stack).await;
    }
    assert_eq!(elsewhere.identity_items().await, 0);
}

#[tokio::test]
async fn the_time_of_the_sign_in_is_the_tokens_and_not_to_come() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let now = stack.now().timestamp();
    let mut body = ada();
    body["auth_time"] = json!(now - 3_600);
    let signed_in = elsewhere.sign_in(&body).await;
    let claims = read_part(&signed_in.access_token, 1);
    assert_eq!(claims["auth_time"], now - 3_600);
    assert_eq!(claims["iat"], now);
    // A language without whole numbers writes the same one so.
    body["auth_time"] = serde_json::from_str(&format!("{}.0", now - 3_600)).unwrap();
    let signed_in = elsewhere.sign_in(&body).await;
    let claims = read_part(&signed_in.access_token, 1);
    assert_eq!(claims["auth_time"], now - 3_600);
    let limit = stack.core.policy.absolute_lifetime.num_seconds();
    let before = stack.items().await;
    for (auth_time, code) in [
        (now + 6, "in_the_future"),
        (i64::MAX, "in_the_future"),
        (now - limit, "too_old"),
        (0, "too_old"),
        (i64::MIN, "too_old"),
    ] {
        body["auth_time"] = json!(auth_time);
        let refused = elsewhere.ask(&body).await;
        let refused = refused.expect_problem(422, "validation_failed");
        assert_eq!(refused.body["errors"][0]["pointer"], "#/auth_time");
        assert_eq!(refused.body["errors"][0]["code"], code);
    }
    assert_eq!(stack.items().await, before);
}

/// Without a time nobody knows whether the person has proved anything lately.
#[tokio::test]
async fn a_sign_in_whose_time_is_not_told_is_no_recent_proof() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let first = elsewhere.sign_in(&ada()).await;
    let root = first.user_id.unwrap();
    stack.grant(root).await;
    let untold = elsewhere.sign_in(&ada()).await;
    assert_eq!(read_part(&untold.access_token, 1)["auth_time"], 0);
    assert_eq!(untold.body["session"]["authenticated_at"], Value::Null);
    let users = async |who: &SignedIn| {
        let call = stack.get("/v1/admin/users").bearer(&who.access_token);
        call.send().await
    };
    let refused = users(&untold).await;
    refused.expect_problem(403, "reauthentication_required");
    // A refresh makes it no younger.
    stack.pass_interval();
    let next = SignedIn::from(stack.refresh(&untold.refresh_token).await.body);
    let refused = users(&next).await;
    refused.expect_problem(403, "reauthentication_required");
    let told = elsewhere.sign_in(&proved(ada(), stack)).await;
    users(&told).await.expect(StatusCode::OK);
}

/// Who may vouch for the people of one identity provider must not open the accounts of another's.
#[tokio::test]
async fn a_client_speaks_for_its_own_issuers_alone() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    elsewhere.sign_in(&ada()).await;
    let service = Service {
        core: stack.core.clone(),
        store: stack.store.clone(),
    };
    let made = async |id: &str, issuers: &[&str]| {
        let new = NewClient {
            id,
            name: id,
            scopes: [ClientScope::IssueSessions].into(),
            bounds: ClientBounds {
                issuers: issuers.iter().map(|issuer| (*issuer).to_owned()).collect(),
                ..ClientBounds::default()
            },
        };
        let (_, secret) = service.add_client(new).await.unwrap();
        secret.expose().to_owned()
    };
    let own = "https://login.example.com";
    let bound = made("partner", &[own]).await;
    let unbound = made("renderer", &[]).await;
    let before = stack.items().await;
    for (id, secret) in [("partner", &bound), ("renderer", &unbound)] {
        let call = stack.post(PATH).basic(id, secret).json(&ada());
        let refused = call.send().await;
        refused.expect_problem(403, "unauthorized_client");
    }
    assert_eq!(stack.items().await, before);
    let mut body = ada();
    body["identity"]["issuer"] = json!(own);
    let call = stack.post(PATH).basic("partner", &bound).json(&body);
    call.send().await.expect(StatusCode::CREATED);
}

#[tokio::test]
async fn what_is_not_allowed_is_named_and_nothing_is_written() {
    let elsewhere = Elsewhere::start().await;
    let before = elsewhere.stack.items().await;
    let long = "x".repeat(256);
    let methods = ["a".repeat(16), "b".repeat(16), "c".repeat(7)];
    for (pointer, value) in [
        ("/identity/issuer", json!("")),
        ("/identity/issuer", json!(long)),
        ("/identity/subject", json!(" ")),
        ("/identity/subject", json!("a\u{0}")),
        ("/identity/subject", json!("a\u{202e}")),
        ("/email", json!("ada")),
        ("/email", json!("")),
        ("/amr", json!([])),
        ("/amr", json!([""])),
        ("/amr", json!(["a b"])),
        ("/amr", json!(["\"},{"])),
        ("/amr", json!([long])),
        ("/amr", json!(methods)),
        ("/client/ip_address", json!("localhost")),
        ("/client/ip_address", json!("203.0.113.7, 10.0.0.1")),
    ] {
        let mut body = ada();
        body["client"] = json!({});
        *body.pointer_mut(pointer).unwrap_or(&mut Value::Null) = value.clone();
        if pointer == "/client/ip_address" {
            body["client"]["ip_address"] = value.clone();
        }
        let refused = elsewhere.ask(&body).await;
        let refused = refused.expect_problem(422, "validation_failed");
        let shown = format!("#{pointer}");
        assert_eq!(refused.body["errors"][0]["pointer"], shown, "{value}");
    }
    for (field, values) in [
        (
            "identity",
            vec![
                json!(1),
                json!("x"),
                json!([]),
                json!({}),
                json!({"issuer": "a"}),
            ],
        ),
        (
            "amr",
            vec![json!(1), json!("pwd"), json!({}), json!([1]), Value::Null],
        ),
        ("auth_time", vec![json!("1"), json!(1.5), json!([])]),
        ("email", vec![json!(1), json!([])]),
        (
            "client",
            vec![
                json!(1),
                json!("x"),
                json!({"ip_address": 1}),
                json!({"device_id": []}),
            ],
        ),
    ] {
        for value in values {
            let mut body = ada();
            body[field] = value.clone();
            let refused = elsewhere.ask(&body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{field} {value}");
        }
    }
    assert_eq!(elsewhere.stack.items().await, before);
}

#[tokio::test]
async fn only_a_client_with_the_scope_issues_sessions() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let person = elsewhere.sign_in(&ada()).await;
    let others = [ClientScope::Introspect, ClientScope::Revoke];
    let weaker = stack.add_client("orders-api", &others).await;
    let before = stack.items().await;
    let call = || stack.post(PATH).json(&ada());
    for refused in [
        call(),
        call().bearer(&person.access_token),
        call().basic("web", "wrong"),
        call().basic("nobody", &elsewhere.secret),
        call().basic("orders-api", &elsewhere.secret),
    ] {
        let refused = refused.send().await.expect_problem(401, "invalid_client");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Basic "), "{challenge}");
    }
    let refused = call().basic("orders-api", &weaker).send().await;
    refused.expect_problem(403, "unauthorized_client");
    assert_eq!(stack.items().await, before);
}

#[tokio::test]
async fn only_a_client_with_the_scope_says_where_a_visitor_is_at_a_refresh() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let weaker = stack
        .add_client("orders-api", &[ClientScope::Introspect])
        .await;
    let ada = stack.register("ada@example.com").await;
    stack.pass_interval();
    let before = stack.items().await;
    let body =
        json!({"refresh_token": ada.refresh_token, "client": {"ip_address": "198.51.100.9"}});
    let call = || stack.post("/v1/auth/refresh").json(&body);
    call()
        .send()
        .await
        .expect_problem(403, "unauthorized_client");
    let bearer = call().bearer(&ada.access_token).send().await;
    bearer.expect_problem(403, "unauthorized_client");
    let wrong = call().basic("web", "wrong").send().await;
    wrong.expect_problem(401, "invalid_client");
    let scopeless = call().basic("orders-api", &weaker).send().await;
    scopeless.expect_problem(403, "unauthorized_client");
    let empty = json!({"refresh_token": ada.refresh_token, "client": {}});
    let empty = stack.post("/v1/auth/refresh").json(&empty).send().await;
    empty.expect_problem(403, "unauthorized_client");
    assert_eq!(stack.items().await, before, "nothing has rotated");

    let reply = call().basic("web", &elsewhere.secret).send().await;
    let next = SignedIn::from(reply.expect(StatusCode::OK));
    assert_eq!(next.body["session"]["ip_address"], "198.51.100.9");
    assert_ne!(next.refresh_token, ada.refresh_token);
    let wrong = json!({"refresh_token": next.refresh_token, "client": {"ip_address": "x"}});
    let wrong = stack
        .post("/v1/auth/refresh")
        .json(&wrong)
        .basic("web", &elsewhere.secret);
    let wrong = wrong.send().await.expect_problem(422, "validation_failed");
    assert_eq!(wrong.body["errors"][0]["pointer"], "#/client/ip_address");

    // Without the field a refresh is as always, whatever else is sent along.
    stack.pass_interval();
    let plain = json!({"refresh_token": next.refresh_token, "client": null});
    let plain = stack
        .request(Method::POST, "/v1/auth/refresh")
        .json(&plain)
        .basic("web", "wrong");
    let reply = plain.send().await.expect(StatusCode::OK);
    assert_eq!(reply["session"]["ip_address"], "203.0.113.7");
}

/// As a restored backup or a mistake by hand may leave it: what leads to an account must be the account's own.
#[tokio::test]
async fn an_identity_that_leads_to_somebody_elses_account_opens_nothing() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let owner = stack.register("ada@example.com").await;
    let grace = elsewhere.sign_in(&ada()).await;
    for (subject, victim) in [("one", &owner), ("two", &grace)] {
        let text = |text: String| aws_sdk_dynamodb::types::AttributeValue::S(text);
        let put = stack.client.put_item().table_name(TABLE);
        let put = put
            .item(
                "pk",
                text("IDENTITY#https://accounts.google.com".to_owned()),
            )
            .item("sk", text(subject.to_owned()))
            .item("user_id", text(victim.user_id.unwrap().to_string()));
        put.send().await.unwrap();
        let before = stack.items().await;
        let mut body = ada();
        body["identity"]["subject"] = json!(subject);
        let refused = elsewhere.ask(&body).await;
        refused.expect_problem(503, "temporarily_unavailable");
        assert_eq!(stack.items().await, before);
    }
}

#[tokio::test]
async fn administrators_see_who_somebody_is_elsewhere() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let root = stack.administrator("root@example.com").await;
    let first = elsewhere.sign_in(&ada()).await;
    let path = format!("/v1/admin/users/{}", first.user_id.unwrap());
    let shown = stack.get(&path).bearer(&root.access_token).send().await;
    let shown = shown.expect(StatusCode::OK);
    assert_eq!(shown["identity"], ada()["identity"]);
    assert_eq!(
        (&shown["email"], &shown["email_verified"]),
        (&json!("ada@example.com"), &json!(false))
    );
}

/// As a restored backup may leave it: the way to the account is there, and the account is not.
#[tokio::test]
async fn an_identity_that_leads_to_no_account_gets_a_new_one() {
    let elsewhere = Elsewhere::start().await;
    let stack = &elsewhere.stack;
    let first = elsewhere.sign_in(&ada()).await;
    stack.table().account(first.user_id.unwrap()).delete().await;
    let body = ada();
    let replies = futures::future::join_all((0..4).map(|_| elsewhere.ask(&body))).await;
    let signed_in = replies
        .into_iter()
        .map(|reply| SignedIn::from(reply.expect(StatusCode::CREATED)));
    let users: BTreeSet<_> = signed_in.map(|one| one.user_id).collect();
    assert_eq!(users.len(), 1, "{users:?}");
    assert!(!users.contains(&first.user_id));
    let again = elsewhere.sign_in(&ada()).await;
    assert!(users.contains(&again.user_id));
    assert_eq!(elsewhere.identity_items().await, 1);
    let refused = stack.refresh(&first.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
}

/// The way to it was lost, and perhaps leads to a newer account since: that is no reason to keep the older one.
#[tokio::test]
async fn an_account_whose_identity_is_lost_can_be_deleted() {
    for signs_in_again in [false, true] {
        let elsewhere = Elsewhere::start().await;
        let stack = &elsewhere.stack;
        let root = stack.administrator("root@example.com").await;
        let first = elsewhere.sign_in(&ada()).await;
        let identity = &ada()["identity"];
        let part = |name: &str| identity[name].as_str().unwrap().to_owned();
        let item = stack.table().identity(&part("issuer"), &part("subject"));
        item.delete().await;
        let again = if signs_in_again {
            Some(elsewhere.sign_in(&ada()).await)
        } else {
            None
        };
        let user = first.user_id.unwrap();
        let delete = stack.delete(&format!("/v1/admin/users/{user}"));
        let deleted = delete.bearer(&root.access_token).send().await;
        deleted.expect(StatusCode::NO_CONTENT);
        let items = json!(stack.items().await).to_string();
        assert!(!items.contains(&user.to_string()), "{items}");
        if let Some(again) = again {
            let later = elsewhere.sign_in(&ada()).await;
            assert_eq!(later.user_id, again.user_id, "the newer one stays");
        }
    }
}

#[tokio::test]
async fn the_access_token_is_for_the_audience_that_is_asked_for() {
    let elsewhere = Elsewhere::start().await;
    let mut body = ada();
    body["audience"] = json!("nobody");
    let refused = elsewhere.ask(&body).await;
    let refused = refused.expect_problem(422, "validation_failed");
    assert_eq!(refused.body["errors"][0]["pointer"], "#/audience");
    let other = &identity().other_audiences[0];
    body["audience"] = json!(other);
    let signed_in = elsewhere.sign_in(&body).await;
    let claims = read_part(&signed_in.access_token, 1);
    assert_eq!(
        (&claims["aud"], &claims["scope"]),
        (&json!(other), &Value::Null)
    );
}
