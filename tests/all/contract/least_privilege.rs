//! Each function's role allows what the function does, and nothing else. What it does not allow is refused in every test
//! of the service here, as IAM would refuse it; what it allows without need is found by doing all that can be done.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::client::ClientScope;
use latchkey_domain::id::SessionId;
use latchkey_domain::notice::{Language, Sender};
use latchkey_domain::policy::SessionPolicy;
use latchkey_service::AccessRules;
use latchkey_service::notify::SendError;
use latchkey_tests::harness::authorizer::passes;
use latchkey_tests::harness::permissions::{self, ALLOWED, Permission};
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{OLD_PARAMETERS_HASH, PASSWORD, Stack, TABLE};
use latchkey_tests::harness::template::{ON_TABLE, functions, template};
use serde_json::{Value, json};

use crate::routes::cleanup::{begin_deletion, clean_up};

async fn weaken_hash(stack: &Stack, email: &str) {
    let credential = stack.table().credential(email);
    credential.set("password_hash", OLD_PARAMETERS_HASH).await;
}

/// Every route, with all that can happen to it: what must be looked up, upgraded, trimmed, purged, finished.
async fn do_everything(stack: &Stack) {
    for function in ON_TABLE.iter() {
        stack.store_of(function).open_connection().await;
    }

    let email = "ada@example.com";
    let ada = stack.register(email).await;
    let user = ada.user_id.unwrap();
    let session = |id: SessionId| format!("/v1/sessions/{id}");

    // A sign-in that upgrades the hash, looks up a session of the set that the query did not show, and trims.
    weaken_hash(stack, email).await;
    let lost = stack.login(email).await;
    stack.table().session(user, lost.session_id).delete().await;
    for _ in 0..22 {
        let short = stack.login(email).await;
        let logout = json!({"refresh_token": short.refresh_token});
        let reply = stack.post("/v1/auth/logout").json(&logout).send().await;
        reply.expect(StatusCode::NO_CONTENT);
    }
    let other = stack.login(email).await;
    stack
        .refresh(&other.refresh_token)
        .await
        .expect(StatusCode::OK);
    for path in [
        "/v1/sessions",
        "/v1/sessions/current",
        "/v1/me",
        "/v1/me/activity",
        "/v1/me/export",
    ] {
        let reply = stack.get(path).bearer(&ada.access_token).send().await;
        reply.expect(StatusCode::OK);
    }
    assert!(passes(&stack.authorizer(AccessRules::default()), &ada.access_token).await);
    let rename = stack.request(Method::PATCH, &session(other.session_id));
    let reply = rename
        .bearer(&ada.access_token)
        .json(&json!({"name": "desk"}))
        .send()
        .await;
    reply.expect(StatusCode::OK);
    let revoke = stack.delete(&session(other.session_id));
    let reply = revoke.bearer(&ada.access_token).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    stack.login(email).await;
    let revoke_all = stack.post("/v1/sessions/revoke-all");
    let reply = revoke_all.bearer(&ada.access_token).send().await;
    reply.expect(StatusCode::OK);

    let secret = stack.add_client("orders-api", &ClientScope::ALL).await;
    let short = stack.login(email).await;
    for (path, token) in [
        ("/oauth/introspect", &short.access_token),
        ("/oauth/introspect", &short.refresh_token),
        ("/oauth/revoke", &short.refresh_token),
    ] {
        let call = stack.post(path).basic("orders-api", &secret);
        let reply = call.form(&[("token", token)]).send().await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.body);
    }

    // The first sign-in of an identity, and so many that old items are trimmed; a refresh for a visitor.
    let elsewhere = json!({"identity": {"issuer": "idp", "subject": "1"}, "amr": ["pwd"]});
    for _ in 0..23 {
        let call = stack
            .post("/v1/service/sessions")
            .basic("orders-api", &secret);
        let reply = call.json(&elsewhere).send().await;
        let token = reply.expect(StatusCode::CREATED)["refresh_token"].clone();
        let call = stack.post("/v1/auth/refresh").basic("orders-api", &secret);
        let call = call.json(&json!({"refresh_token": token, "client": {}}));
        call.send().await.expect(StatusCode::OK);
        let logout = json!({"refresh_token": token});
        let reply = stack.post("/v1/auth/logout").json(&logout).send().await;
        reply.expect(StatusCode::NO_CONTENT);
    }

    // A purge of sessions that were ended and of one that has run out.
    stack.advance(TimeDelta::days(8));
    let ada = stack.login(email).await;
    let reply = stack
        .delete("/v1/sessions/expired")
        .bearer(&ada.access_token)
        .send()
        .await;
    reply.expect(StatusCode::OK);
    let expiring = stack.login(email).await;
    stack.advance(TimeDelta::days(6));
    let ada = stack.refresh(&ada.refresh_token).await;
    let ada = ada.expect(StatusCode::OK);
    stack.advance(TimeDelta::days(2));
    let ada = stack.refresh(ada["refresh_token"].as_str().unwrap()).await;
    let ada = SignedIn::from(ada.expect(StatusCode::OK));
    let reply = stack.reauthenticate(&ada, PASSWORD).await;
    reply.expect(StatusCode::OK);
    let access_token = ada.access_token.as_str();
    let reply = stack
        .delete("/v1/sessions/expired")
        .bearer(access_token)
        .send()
        .await;
    assert!(reply.expect(StatusCode::OK)["removed"].as_u64() >= Some(1));
    drop(expiring);

    let change = json!({"current_password": PASSWORD, "new_password": "a longer battery staple"});
    let reply = stack
        .request(Method::PUT, "/v1/me/password")
        .bearer(access_token)
        .json(&change)
        .send()
        .await;
    let ada = reply.expect(StatusCode::OK);
    // Each deletion has activity to remove.
    stack.stream().drain().await;
    let reply = stack
        .post("/v1/me/delete")
        .bearer(ada["access_token"].as_str().unwrap())
        .json(&json!({"password": "a longer battery staple"}))
        .send()
        .await;
    reply.expect(StatusCode::NO_CONTENT);

    // A record of the stream that cannot be read.
    let stream = stack.stream();
    let mut records = stream.records(1);
    records[0]["dynamodb"]["Keys"] = json!({});
    assert_eq!(stream.invoke(&records).await, None);

    administer_everything(stack).await;

    // A cleanup with expired sessions, a session whose account is gone, and the rest of a deleted user.
    stack.register("bob@example.com").await;
    stack.advance(TimeDelta::days(61));
    let eve = stack.register("eve@example.com").await.user_id.unwrap();
    stack.table().account(eve).delete().await;
    let mallory = stack.register("mallory@example.com").await;
    stack.stream().drain().await;
    begin_deletion(
        stack,
        "mallory@example.com",
        mallory.user_id.unwrap(),
        mallory.session_id,
    )
    .await;
    let report = clean_up(stack).await;
    // Of those who signed in elsewhere the newest 20 ended sessions were kept, and the last one.
    assert_eq!(
        (report.removed_expired, report.removed_orphaned),
        (1 + 21, 1)
    );
    assert_eq!((report.removed_of_deleted_users, report.broken), (2 + 2, 0));
}

/// Every link, and the reader of the stream who looks up whom it is for.
async fn recover_everything() {
    let stack = Stack::start().await;
    let admin = stack.administrator("root@example.com").await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let send = |path: &str| stack.post(path).bearer(&admin.access_token).send();
    for reply in [
        stack.request_password_reset("ada@example.com").await,
        stack.request_email_change(&ada, "ada@example.org").await,
        send("/v1/me/verify-email").await,
        send(&format!("/v1/admin/users/{user}/password-reset")).await,
    ] {
        reply.expect(StatusCode::ACCEPTED);
    }
    let secret = stack.add_client("mailer", &[ClientScope::IssueLinks]).await;
    let wanted = json!({
        "purpose": "change_email", "new_email": "ada@example.org", "email_version": 0,
        "session_id": ada.session_id,
    });
    let path = format!("/v1/service/users/{user}/links");
    let call = stack.post(&path).basic("mailer", &secret).json(&wanted);
    let link = call.send().await.expect(StatusCode::OK);
    let reply = stack.verify_email(link["token"].as_str().unwrap()).await;
    reply.expect(StatusCode::NO_CONTENT);
    let token = stack.reset_token(user).await;
    let reply = stack.reset_password(&token, "wrong donkey charger").await;
    reply.expect(StatusCode::NO_CONTENT);
    stack.stream().drain().await;

    let policy = SessionPolicy {
        require_verified_email: true,
        ..SessionPolicy::default()
    };
    let stack = Stack::with_policy(policy).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let reply = stack.post("/v1/auth/register").json(&body).send().await;
    reply.expect(StatusCode::ACCEPTED);
}

/// A mail that is sent, one that is tried again, one that is refused, and one that is too old.
async fn notify_everything() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let asked = stack.request_password_reset("ada@example.com").await;
    asked.expect(StatusCode::ACCEPTED);
    let mut stream = stack.stream();
    stream.drain().await;
    let events = stream.bus.taken();
    stack.store_of("notify").open_connection().await;
    let post = stack.post_office(Language::En);
    let code = "MessageRejected".to_owned();
    let refused = SendError::Refused { code };
    post.mailer.fail_next(&[SendError::NotNow, refused]);
    for _ in 0..3 {
        post.bring(&events).await;
    }
    stack.advance(TimeDelta::hours(1) + TimeDelta::milliseconds(1));
    post.bring(&events).await;
    assert_eq!(post.mailer.take().len(), 2);
}

/// Every route of administration.
async fn administer_everything(stack: &Stack) {
    let admin = stack.administrator("root@example.com").await;
    let grace = stack.register("grace@example.com").await;
    let phone = stack.login("grace@example.com").await;
    let user = format!("/v1/admin/users/{}", grace.user_id.unwrap());
    let session = format!("/v1/admin/sessions/{}", grace.session_id);
    let all = format!("{user}/sessions?state=all");
    let activity = format!("{user}/activity");
    for path in [
        "/v1/admin/users",
        "/v1/admin/users?email=grace@example.com",
        &user,
        &all,
        &activity,
        &session,
    ] {
        let reply = stack.get(path).bearer(&admin.access_token).send().await;
        reply.expect(StatusCode::OK);
    }
    let revoke = stack.delete(&format!("{user}/sessions/{}", phone.session_id));
    let reply = revoke.bearer(&admin.access_token).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    let revoke_all = stack.post(&format!("{user}/sessions/revoke-all"));
    let reply = revoke_all.bearer(&admin.access_token).send().await;
    reply.expect(StatusCode::OK);
    for update in [
        json!({"status": "disabled"}),
        json!({"status": "active", "roles": ["clerk"]}),
    ] {
        let call = stack.request(Method::PATCH, &user);
        let reply = call.bearer(&admin.access_token).json(&update).send().await;
        reply.expect(StatusCode::OK);
    }
    stack.stream().drain().await;
    let reply = stack.delete(&user).bearer(&admin.access_token).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    // The same of somebody who signed in elsewhere.
    let secret = stack.add_client("sso", &[ClientScope::IssueSessions]).await;
    let elsewhere = json!({"identity": {"issuer": "idp", "subject": "2"}, "amr": ["pwd"]});
    let call = stack.post("/v1/service/sessions").basic("sso", &secret);
    let issued = call
        .json(&elsewhere)
        .send()
        .await
        .expect(StatusCode::CREATED);
    let find = stack.get("/v1/admin/users?issuer=idp&subject=2");
    let found = find.bearer(&admin.access_token).send().await;
    assert_eq!(
        found.expect(StatusCode::OK)["users"][0]["id"],
        issued["user"]["id"]
    );
    let path = format!("/v1/admin/users/{}", issued["user"]["id"].as_str().unwrap());
    let reply = stack.delete(&path).bearer(&admin.access_token).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    let left = json!(stack.items().await).to_string();
    assert!(
        !left.contains(issued["user"]["id"].as_str().unwrap()),
        "{left}"
    );
    // So that the cleanup meets none of these.
    let body = json!({"password": PASSWORD});
    let delete = stack.post("/v1/me/delete").bearer(&admin.access_token);
    let reply = delete.json(&body).send().await;
    reply.expect(StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_role_allows_what_its_function_does_and_nothing_else() {
    let stack = Stack::start().await;
    do_everything(&stack).await;
    recover_everything().await;
    notify_everything().await;
    // Whatever became of the reply: some refusals are only logged.
    assert_eq!(permissions::denied(), BTreeSet::new());
    let used = permissions::used();
    let unused: BTreeSet<&Permission> = ALLOWED.difference(&used).collect();
    assert!(
        unused.is_empty(),
        "allowed without need, or do_everything does not do everything: {unused:#?}"
    );
}

#[tokio::test]
async fn what_a_role_does_not_allow_is_refused() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let client = permissions::with_role_of("refresh", &stack.client);
    let get = |pk: String, sk: &str| {
        client
            .get_item()
            .table_name(TABLE)
            .key("pk", AttributeValue::S(pk))
            .key("sk", AttributeValue::S(sk.to_owned()))
            .send()
    };
    let user = format!("USER#{}", ada.user_id.unwrap());
    assert!(get(user, "ACCOUNT").await.is_ok());
    // A role that rotates refresh tokens cannot read a password's hash.
    let refused = get("EMAIL#ada@example.com".to_owned(), "CREDENTIAL").await;
    let refused = refused.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("AccessDeniedException"));
    let refused = client.scan().table_name(TABLE).send().await.unwrap_err();
    let refused = refused.into_service_error();
    assert_eq!(refused.meta().code(), Some("AccessDeniedException"));
}

#[test]
fn an_authorizer_that_goes_by_the_signature_may_read_no_table() {
    let template = template();
    let asks = json!(["AuthorizerMode", "strict"]);
    assert_eq!(template["Conditions"]["AuthorizerAsks"], asks);
    let role = &functions(&template)["authorizer"]["Properties"]["Policies"][0]["Statement"];
    let role = role.as_array().unwrap().iter();
    let mut on_table = role.filter(|one| one.to_string().contains("dynamodb:"));
    let only = on_table.next().unwrap();
    assert_eq!(
        (&only[0], &only[2]),
        (&json!("AuthorizerAsks"), &json!("AWS::NoValue"))
    );
    assert_eq!(on_table.next(), None);
}

#[test]
fn the_secret_is_read_by_those_who_sign_or_verify() {
    for (binary, function) in functions(&template()) {
        let statements = function["Properties"]["Policies"][0]["Statement"].clone();
        // What calls nothing in AWS has none.
        let statements = statements.as_array().cloned().unwrap_or_default();
        let reads = |actions: &Value| match actions {
            Value::Array(all) => all.contains(&json!("secretsmanager:GetSecretValue")),
            one => one == "secretsmanager:GetSecretValue",
        };
        let of_the_secret: Vec<_> = statements
            .iter()
            .filter(|statement| reads(&statement["Action"]))
            .collect();
        let variables = &function["Properties"]["Environment"]["Variables"];
        assert_eq!(
            variables["TOKEN_SECRET_ARN"] == "TokenSecret",
            of_the_secret.len() == 1,
            "{binary}"
        );
        for statement in of_the_secret {
            assert_eq!(statement["Resource"], "TokenSecret", "{binary}");
        }
    }
}

/// What CloudFormation makes of the condition's value: a list of `!Select`, `!Split` and a `!Sub` with nothing but `MailFrom`.
fn resolve(value: &Value, mail_from: &str) -> String {
    match value {
        Value::String(text) => text.replace("${MailFrom}", mail_from),
        Value::Array(select) => {
            let [place, split] = &select[..] else {
                panic!("{value}");
            };
            let [separator, text] = &split.as_array().unwrap()[..] else {
                panic!("{value}");
            };
            let text = resolve(text, mail_from);
            let place = usize::try_from(place.as_u64().unwrap()).unwrap();
            let mut parts = text.split(separator.as_str().unwrap());
            parts.nth(place).unwrap().to_owned()
        }
        other => panic!("{other}"),
    }
}

/// Any other address of a verified domain could be used to write to anybody in the team's name.
#[test]
fn mails_are_sent_as_the_address_of_mail_from_alone() {
    let template = template();
    let pattern = &template["Parameters"]["MailFrom"]["AllowedPattern"];
    let pattern = jsonschema::validator_for(&json!({"pattern": pattern})).unwrap();
    let is_allowed = |text: &str| pattern.is_valid(&json!(text));
    let functions = functions(&template);
    let policies = functions["notify"]["Properties"]["Policies"].as_array();
    let statements = policies.unwrap()[0]["Statement"].as_array().unwrap();
    let sending: Vec<&Value> = statements
        .iter()
        .filter(|statement| statement["Action"].to_string().contains("ses:"))
        .collect();
    assert_eq!(sending.len(), 1);
    assert_eq!(sending[0]["Action"], "ses:SendEmail");
    let condition = &sending[0]["Condition"]["StringEqualsIgnoreCase"];
    let address = &condition["ses:FromAddress"];
    for mail_from in [
        "no-reply@example.com",
        "Example <no-reply@example.com>",
        "\"Example, Inc.\" <No-Reply+x@Mail.Example.com>",
        "Beispiel für alle<mail@xn--bcher-kva.example>",
    ] {
        assert!(is_allowed(mail_from), "{mail_from}");
        let sender: Sender = mail_from.parse().unwrap();
        let sent_as = sender.address();
        assert!(resolve(address, mail_from).eq_ignore_ascii_case(sent_as.as_typed()));
        // An address in Unicode would be sent as another one than the condition names.
        assert!(
            sent_as
                .as_typed()
                .eq_ignore_ascii_case(sent_as.normalized())
        );
    }
    for refused in [
        "mail@bücher.example",
        "Example <a@example.com> <b@example.com>",
        "Example < a@example.com >",
        "Exam>ple <a@example.com>",
        "<a@example.com>",
        "Example",
    ] {
        assert!(!is_allowed(refused), "{refused}");
    }
    assert!(is_allowed(""), "no mail");
}

/// Two functions keep dead letters, each under its own key; a list of objects is a right on the bucket, not on its objects.
#[test]
fn a_role_names_what_it_is_about_and_no_more() {
    let template = template();
    for (name, function) in functions(&template) {
        let mut statements = Vec::new();
        for policy in function["Properties"]["Policies"]
            .as_array()
            .into_iter()
            .flatten()
        {
            statements.extend(policy["Statement"].as_array().into_iter().flatten());
        }
        for statement in statements {
            let text = statement.to_string();
            assert!(!text.contains("DEADLETTER#*"), "{name}: {text}");
            let lists = text.contains("s3:ListBucket");
            assert!(!(lists && text.contains("/*")), "{name}: {text}");
        }
    }
}
