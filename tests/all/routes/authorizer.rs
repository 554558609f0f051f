//! The authorizer of other APIs: whom it lets through, what it says of them, and when it cannot tell.

use authorizer::{Decision, Undecided};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_domain::account::Account;
use latchkey_domain::cause::Action;
use latchkey_domain::id::UserId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::token::Scope;
use latchkey_service::{AccessRules, AuthorizerMode};
use latchkey_tests::attack::faults::{Fault, Plan, Strikes, stack_with};
use latchkey_tests::attack::forgery::{Forger, Kind, read_part};
use latchkey_tests::harness::authorizer::{decide, event_with, passes};
use latchkey_tests::harness::dynamodb::Cost;
use latchkey_tests::harness::log::{Log, lines_with};
use latchkey_tests::harness::metering::{extract, recorder};
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{OTHER_AUDIENCE, PASSWORD, Stack, TABLE, noon};
use latchkey_tests::harness::template::read;
use serde_json::{Value, json};

fn strict() -> AccessRules {
    AccessRules::default()
}

fn offline() -> AccessRules {
    AccessRules {
        mode: AuthorizerMode::Offline,
        ..AccessRules::default()
    }
}

fn asking(scope: &str, rules: AccessRules) -> AccessRules {
    AccessRules {
        scope: Scope::from(scope.to_owned()),
        ..rules
    }
}

/// A token that Latchkey would issue with other claims.
fn issued(who: &SignedIn, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = read_part(&who.access_token, 1);
    change(&mut claims);
    let header = read_part(&who.access_token, 0).to_string();
    Forger::default().sign(Kind::Access, header, claims.to_string())
}

/// A token for another audience, as a sign-in for it gives: without a scope.
fn for_audience(who: &SignedIn, audience: &str) -> String {
    issued(who, |claims| {
        claims["aud"] = json!(audience);
        claims.as_object_mut().unwrap().remove("scope");
    })
}

async fn set_roles(stack: &Stack, user: UserId, roles: &[&str]) {
    let roles = roles
        .iter()
        .map(|role| AttributeValue::S((*role).to_owned()));
    let update = stack.client.update_item().table_name(TABLE);
    let updated = update
        .key("pk", AttributeValue::S(format!("USER#{user}")))
        .key("sk", AttributeValue::S("ACCOUNT".to_owned()))
        .update_expression("SET #roles = :roles")
        .expression_attribute_names("#roles", "roles")
        .expression_attribute_values(":roles", AttributeValue::L(roles.collect()))
        .send()
        .await;
    updated.unwrap();
}

#[tokio::test]
async fn the_functions_behind_an_api_learn_who_is_calling() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    stack.advance(TimeDelta::minutes(1));
    for rules in [strict(), offline()] {
        let event = event_with(&format!("bearer {}", ada.access_token));
        let decision = decide(&stack.authorizer(rules), &event).await.unwrap();
        assert_eq!(
            json!(decision),
            json!({
                "isAuthorized": true,
                "context": {
                    "user_id": ada.user_id.unwrap(),
                    "session_id": ada.session_id,
                    "scope": "account",
                    "auth_time": noon().timestamp(),
                    "client_id": "latchkey-app",
                    "amr": "pwd",
                },
            })
        );
    }
    // Nothing but the answer is said of a request that is turned away.
    let event = event_with("Bearer x");
    let decision = decide(&stack.authorizer(strict()), &event).await.unwrap();
    assert_eq!(json!(decision), json!({"isAuthorized": false}));
}

#[tokio::test]
async fn strict_costs_one_read_and_what_is_refused_by_its_token_costs_none() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let (strict, offline) = (stack.authorizer(strict()), stack.authorizer(offline()));
    drop(stack.recorder.take());
    assert!(passes(&strict, &ada.access_token).await);
    let one_read = Cost {
        trips: 1,
        write_units: 0.0,
        read_units: 1.0,
    };
    assert_eq!(stack.recorder.take_cost(), one_read);
    assert!(passes(&offline, &ada.access_token).await);
    assert!(!passes(&strict, &ada.refresh_token).await);
    let event = event_with("Basic YWRhOmFkYQ==");
    assert_eq!(decide(&strict, &event).await, Ok(Decision::DENIED));
    assert_eq!(stack.recorder.take(), []);
}

/// Each way in which a session ends.
#[tokio::test]
async fn strict_notices_the_end_of_a_session_at_once_and_offline_at_the_expiry_of_its_token() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let (strict, offline) = (stack.authorizer(strict()), stack.authorizer(offline()));
    let mut ended = Vec::new();
    let mut expect_ended = async |token: String| {
        assert!(!passes(&strict, &token).await);
        assert!(passes(&offline, &token).await);
        ended.push(token);
    };

    let phone = stack.login("ada@example.com").await;
    assert!(passes(&strict, &phone.access_token).await);
    let path = format!("/v1/sessions/{}", phone.session_id);
    let reply = stack.delete(&path).bearer(&ada.access_token).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    expect_ended(phone.access_token).await;

    let tablet = stack.login("ada@example.com").await;
    let body = json!({"refresh_token": tablet.refresh_token});
    let reply = stack.post("/v1/auth/logout").json(&body).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    expect_ended(tablet.access_token).await;

    let car = stack.login("ada@example.com").await;
    let reply = stack
        .post("/v1/sessions/revoke-all")
        .bearer(&ada.access_token)
        .send()
        .await;
    reply.expect(StatusCode::OK);
    expect_ended(car.access_token).await;
    assert!(passes(&strict, &ada.access_token).await);

    let new = "a longer battery staple";
    let reply = stack.change_password(&ada, PASSWORD, new).await;
    let changed = SignedIn::from(reply.expect(StatusCode::OK));
    expect_ended(ada.access_token).await;
    assert!(passes(&strict, &changed.access_token).await);

    stack
        .change_account(user, Action::Disable, Account::disable)
        .await;
    expect_ended(changed.access_token).await;

    let bob = stack.register("bob@example.com").await;
    let reply = stack.delete_account(&bob, PASSWORD).await;
    reply.expect(StatusCode::NO_CONTENT);
    expect_ended(bob.access_token).await;

    stack.advance(TimeDelta::seconds(899));
    for token in &ended {
        assert!(passes(&offline, token).await);
    }
    stack.advance(TimeDelta::seconds(1));
    for token in &ended {
        assert!(!passes(&offline, token).await);
    }
}

#[tokio::test]
async fn a_session_that_runs_out_takes_its_tokens_along() {
    let policy = SessionPolicy {
        idle_lifetime: TimeDelta::minutes(5),
        ..Default::default()
    };
    let stack = Stack::with_policy(policy).await;
    let ada = stack.register("ada@example.com").await;
    for rules in [strict(), offline()] {
        assert!(passes(&stack.authorizer(rules), &ada.access_token).await);
    }
    stack.advance(TimeDelta::minutes(5));
    for rules in [strict(), offline()] {
        assert!(!passes(&stack.authorizer(rules), &ada.access_token).await);
    }
}

#[tokio::test]
async fn a_required_scope_must_be_in_the_token_and_strict_the_role_in_the_account() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let user = ada.user_id.unwrap();
    let allowed = async |scope: &str, rules: AccessRules, token: &str| {
        passes(&stack.authorizer(asking(scope, rules)), token).await
    };
    for rules in [strict(), offline()] {
        assert!(allowed("account", rules.clone(), &ada.access_token).await);
        for scope in ["admin", "account admin"] {
            assert!(!allowed(scope, rules.clone(), &ada.access_token).await);
        }
        let less = issued(&ada, |claims| claims["scope"] = json!("openid"));
        assert!(!allowed("account", rules.clone(), &less).await);
        assert!(allowed("", rules, &less).await, "nothing is asked for");
    }

    set_roles(&stack, user, &["admin"]).await;
    let admin = stack.login("ada@example.com").await.access_token;
    for rules in [strict(), offline()] {
        assert!(allowed("account admin", rules, &admin).await);
    }
    set_roles(&stack, user, &[]).await;
    assert!(!allowed("admin", strict(), &admin).await);
    assert!(allowed("admin", offline(), &admin).await);
    let event = event_with(&format!("Bearer {admin}"));
    let decision = decide(&stack.authorizer(strict()), &event).await.unwrap();
    assert_eq!(json!(decision)["context"]["scope"], "account");
}

#[tokio::test]
async fn tokens_pass_for_the_one_audience_that_is_asked_for() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let orders = for_audience(&ada, "orders");
    for rules in [strict(), offline()] {
        let own = stack.authorizer(rules.clone());
        let of_orders = stack.authorizer(AccessRules {
            audience: Some("orders".to_owned()),
            ..rules
        });
        assert!(passes(&of_orders, &orders).await);
        assert!(!passes(&own, &orders).await);
        assert!(!passes(&of_orders, &ada.access_token).await);
        assert!(!passes(&of_orders, &for_audience(&ada, "invoices")).await);
        assert!(!passes(&of_orders, &ada.refresh_token).await);
        let event = event_with(&format!("Bearer {orders}"));
        let decision = json!(decide(&of_orders, &event).await.unwrap());
        assert_eq!(decision["context"]["scope"], "");
        assert_eq!(decision["context"]["user_id"], json!(ada.user_id.unwrap()));
    }
    // One that was asked for.
    let body = json!({"refresh_token": ada.refresh_token, "audience": OTHER_AUDIENCE});
    let reply = stack.post("/v1/auth/refresh").json(&body).send().await;
    let other = SignedIn::from(reply.expect(StatusCode::OK)).access_token;
    for rules in [strict(), offline()] {
        assert!(!passes(&stack.authorizer(rules.clone()), &other).await);
        let of_other = stack.authorizer(AccessRules {
            audience: Some(OTHER_AUDIENCE.to_owned()),
            ..rules
        });
        assert!(passes(&of_other, &other).await);
        assert!(!passes(&of_other, &ada.access_token).await);
    }
    // What has a scope for somebody else has none here.
    let scoped = issued(&ada, |claims| claims["aud"] = json!("orders"));
    let rules = AccessRules {
        audience: Some("orders".to_owned()),
        ..asking("account", strict())
    };
    assert!(!passes(&stack.authorizer(rules), &scoped).await);
    // A token for another audience opens nothing of this API.
    let reply = stack.get("/v1/sessions").bearer(&orders).send().await;
    reply.expect_problem(401, "invalid_token");
    stack.advance(TimeDelta::seconds(900));
    let rules = AccessRules {
        audience: Some("orders".to_owned()),
        ..offline()
    };
    assert!(!passes(&stack.authorizer(rules), &orders).await);
}

#[tokio::test]
async fn a_proof_that_is_too_old_is_not_accepted_even_with_a_new_token() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    for rules in [strict(), offline()] {
        let recent = stack.authorizer(AccessRules {
            max_age: Some(TimeDelta::minutes(10)),
            ..rules
        });
        assert!(passes(&recent, &ada.access_token).await);
    }
    let recent = stack.authorizer(AccessRules {
        max_age: Some(TimeDelta::minutes(10)),
        ..strict()
    });
    stack.advance(TimeDelta::seconds(600));
    assert!(passes(&recent, &ada.access_token).await);
    stack.advance(TimeDelta::seconds(1));
    assert!(!passes(&recent, &ada.access_token).await);
    let refreshed = stack.refresh_session(&ada).await;
    assert!(passes(&stack.authorizer(strict()), &refreshed.access_token).await);
    assert!(!passes(&recent, &refreshed.access_token).await);
    let again = stack.login("ada@example.com").await;
    assert!(passes(&recent, &again.access_token).await);
}

/// A deny can be cached, so an outage must not look like one.
#[tokio::test(start_paused = true)]
async fn while_the_table_is_out_of_reach_nobody_is_let_through_and_nobody_denied() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let ada = stack.register("ada@example.com").await;
    let (strict, offline) = (stack.authorizer(strict()), stack.authorizer(offline()));
    let event = event_with(&format!("Bearer {}", ada.access_token));
    for fault in [Fault::Throttled, Fault::ConnectionReset, Fault::Silence] {
        faults.arm(Plan {
            fault,
            operation: "GetItem".to_owned(),
            nth: 0,
            strikes: Strikes::Outage,
        });
        let undecided = decide(&strict, &event).await;
        assert_eq!(undecided, Err(Undecided::Unavailable), "{fault:?}");
        // These need no table.
        assert!(passes(&offline, &ada.access_token).await);
        assert!(!passes(&strict, "x").await);
        faults.disarm();
    }
    assert!(passes(&strict, &ada.access_token).await);
}

#[tokio::test]
async fn a_broken_account_is_an_error_too() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let key = format!("USER#{}", ada.user_id.unwrap());
    let update = stack.client.update_item().table_name(TABLE);
    let update = update
        .key("pk", AttributeValue::S(key))
        .key("sk", AttributeValue::S("ACCOUNT".to_owned()));
    let update = update.update_expression("REMOVE version").send().await;
    update.unwrap();
    let event = event_with(&format!("Bearer {}", ada.access_token));
    let undecided = decide(&stack.authorizer(strict()), &event).await;
    assert_eq!(undecided, Err(Undecided::Internal));
}

#[tokio::test]
async fn the_sample_of_an_api_reads_what_the_authorizer_says() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let event = event_with(&format!("Bearer {}", ada.access_token));
    let decision = json!(decide(&stack.authorizer(strict()), &event).await.unwrap());
    let template = read("infra/protected-api/template.yaml");
    let code = &template["Resources"]["Function"]["Properties"]["InlineCode"];
    let code = code.as_str().unwrap();
    assert!(code.contains(r#"event["requestContext"]["authorizer"]["lambda"]"#));
    let read: Vec<&str> = code
        .split("caller[\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert_eq!(read, ["user_id", "session_id"]);
    for name in read {
        assert!(decision["context"][name].is_string(), "{name}");
    }
}

/// An answer is cached by the identity sources: one that does not depend on the token would be given to everybody.
#[tokio::test]
async fn a_token_that_is_no_identity_source_does_not_pass() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let authorizer = stack.authorizer(strict());
    let mut event = event_with(&format!("Bearer {}", ada.access_token));
    event["identitySource"] = json!(["an API key", "GET /reports"]);
    assert_eq!(decide(&authorizer, &event).await, Ok(Decision::DENIED));
    event["identitySource"] = Value::Null; // Nothing is cached then.
    assert!(decide(&authorizer, &event).await.unwrap().is_authorized);
}

#[tokio::test]
async fn what_is_turned_away_is_counted_and_logged_by_its_reason_and_no_token_is_logged() {
    let emf = recorder();
    let _recording = metrics::set_default_local_recorder(&emf);
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let reply = stack.request(Method::POST, "/v1/auth/logout");
    let reply = reply.bearer(&ada.access_token).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    drop(emf.event_line(stack.now(), "before"));
    let log = Log::capture_json();
    for (rules, value, reason) in [
        (strict(), "Basic x".to_owned(), "no access token"),
        (
            strict(),
            format!("Bearer {}", ada.refresh_token),
            "another type of token",
        ),
        (
            strict(),
            format!("Bearer {}", ada.access_token),
            "the session of the caller has ended",
        ),
        (
            asking("admin", offline()),
            format!("Bearer {}", ada.access_token),
            "insufficient scope",
        ),
    ] {
        let event = event_with(&value);
        let decision = decide(&stack.authorizer(rules), &event).await;
        assert_eq!(decision, Ok(Decision::DENIED), "{reason}");
    }
    let log = log.end();
    let denials = lines_with(&log, "access denied").into_iter();
    let reasons: Vec<Value> = denials.map(|line| line["reason"].clone()).collect();
    assert_eq!(
        reasons,
        [
            "no access token",
            "another type of token",
            "the session of the caller has ended",
            "insufficient scope"
        ]
    );
    for token in [&ada.access_token, &ada.refresh_token] {
        for part in token.split('.') {
            assert!(!log.contains(part), "{log}");
        }
    }
    let counted = extract(&emf.event_line(stack.now(), "after").unwrap());
    assert_eq!(counted.get("AuthorizerDenied"), Some(&4.0));
}
