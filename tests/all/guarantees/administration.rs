//! Administration is for administrators: who may call its routes, when that stops, and what it leaves behind.

use std::time::Duration;

use chrono::TimeDelta;
use futures::join;
use http::{Method, StatusCode};
use latchkey_domain::administration::AdminAct;
use latchkey_domain::cause::{Action, Actor};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::AdminError;
use latchkey_domain::id::UserId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::token::Token;
use latchkey_service::{
    Administrator, Damage, Failure, LONGEST_DEEDS, LeadsToUser, Repair, Service,
};
use latchkey_tests::attack::faults::{FIRST_REPLY_LOST, Fault, stack_with};
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::log::{Log, lines_with};
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const ROOT: &str = "root@example.com";
const GRACE: &str = "grace@example.com";

/// A request to a route of administration that the rules would carry out.
struct Route {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// One of each operation below `/v1/admin` that the OpenAPI document has, about a user and their session.
fn routes_about(who: &SignedIn) -> Vec<Route> {
    let user = who.user_id.unwrap().to_string();
    let mut routes = Vec::new();
    let paths = conformity::document()["paths"].as_object().unwrap();
    for (path, item) in paths
        .iter()
        .filter(|(path, _)| path.starts_with("/v1/admin"))
    {
        let path = path
            .replace("{user_id}", &user)
            .replace("{session_id}", &who.session_id.to_string());
        assert!(
            !path.contains('{'),
            "a parameter that is not filled in: {path}"
        );
        for (method, operation) in item.as_object().unwrap() {
            let example = &operation["requestBody"]["content"]["application/json"]["example"];
            let mut body = Some(example.clone()).filter(|body| !body.is_null());
            if let Some(users) = body.as_mut().and_then(|body| body.get_mut("user_ids")) {
                *users = json!([user]);
            }
            routes.push(Route {
                method: method.to_ascii_uppercase().parse().unwrap(),
                path: path.clone(),
                body,
            });
        }
    }
    assert!(routes.len() >= 9, "{}", routes.len());
    // The deletion of the user last: nothing can be done to them after it.
    routes.sort_by_key(|route| route.method == Method::DELETE && route.path.ends_with(&user));
    routes
}

async fn ask(stack: &Stack, route: &Route, access_token: Option<&str>) -> Reply {
    let mut call = stack.request(route.method.clone(), &route.path);
    if let Some(token) = access_token {
        call = call.bearer(token);
    }
    if let Some(body) = &route.body {
        call = call.json(body);
    }
    call.send().await
}

fn user_path(who: &SignedIn) -> String {
    format!("/v1/admin/users/{}", who.user_id.unwrap())
}

async fn patch(stack: &Stack, by: &SignedIn, of: &SignedIn, body: Value) -> Reply {
    let call = stack.request(Method::PATCH, &user_path(of));
    call.bearer(&by.access_token).json(&body).send().await
}

async fn set_roles(stack: &Stack, user: UserId, roles: &[&str]) {
    let roles = roles.iter().map(|role| role.parse().unwrap()).collect();
    let act = AdminAct::ChangeRoles(roles);
    let now = stack.now();
    stack
        .change_account(user, Action::ChangeRoles, |account| {
            account.administer(&Actor::Operator, &act, now).unwrap()
        })
        .await;
}

#[tokio::test]
async fn nobody_without_the_role_gets_past_the_check_of_any_route() {
    let stack = Stack::start().await;
    let grace = stack.register(GRACE).await;
    let bob = stack.register("bob@example.com").await;
    let before = stack.items().await;
    for route in routes_about(&grace) {
        let stranger = ask(&stack, &route, None).await;
        stranger.expect_problem(401, "invalid_token");
        let forged = ask(&stack, &route, Some("a.b.c")).await;
        forged.expect_problem(401, "invalid_token");
        let own = ask(&stack, &route, Some(&grace.access_token)).await;
        own.expect_problem(403, "insufficient_scope");
        drop(stack.recorder.take());
        let user = ask(&stack, &route, Some(&bob.access_token)).await;
        let user = user.expect_problem(403, "insufficient_scope");
        let challenge = user.header("www-authenticate").unwrap();
        assert!(challenge.contains("insufficient_scope"), "{challenge}");
        assert_eq!(stack.recorder.take(), [], "the scope is judged alone");
    }
    assert_eq!(stack.items().await, before);
}

#[tokio::test]
async fn a_role_that_is_withdrawn_and_a_session_that_has_ended_allow_nothing_from_then_on() {
    let stack = Stack::start().await;
    let grace = stack.register(GRACE).await;
    let routes = routes_about(&grace);

    let root = stack.administrator(ROOT).await;
    set_roles(&stack, root.user_id.unwrap(), &["clerk"]).await;
    let before = stack.items().await;
    for route in &routes {
        let refused = ask(&stack, route, Some(&root.access_token)).await;
        refused.expect_problem(403, "insufficient_scope");
    }
    assert_eq!(stack.items().await, before);
    set_roles(&stack, root.user_id.unwrap(), &["admin"]).await;
    let again = ask(&stack, &routes[0], Some(&root.access_token)).await;
    again.expect(StatusCode::OK);

    let logout = json!({"refresh_token": root.refresh_token});
    let reply = stack.post("/v1/auth/logout").json(&logout).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    let before = stack.items().await;
    for route in &routes {
        let refused = ask(&stack, route, Some(&root.access_token)).await;
        refused.expect_problem(401, "invalid_token");
    }
    assert_eq!(stack.items().await, before);

    let other = stack.login(ROOT).await;
    stack
        .change_account(root.user_id.unwrap(), Action::Disable, |account| {
            account.disable()
        })
        .await;
    let refused = ask(&stack, &routes[0], Some(&other.access_token)).await;
    refused.expect_problem(401, "invalid_token");
}

#[tokio::test]
async fn a_proof_that_is_too_old_allows_no_administration() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let within = stack.core.policy.reauthenticate_within;
    stack.advance(within);
    let routes = routes_about(&grace);
    ask(&stack, &routes[0], Some(&root.access_token))
        .await
        .expect(StatusCode::OK);
    stack.advance(TimeDelta::seconds(1));
    let before = stack.items().await;
    for route in &routes {
        let refused = ask(&stack, route, Some(&root.access_token)).await;
        refused.expect_problem(403, "reauthentication_required");
    }
    assert_eq!(stack.items().await, before);
}

/// A team that administers by command alone has nothing there that a stolen token could open.
#[tokio::test]
async fn administration_that_is_off_is_not_there_for_anybody() {
    let policy = SessionPolicy {
        administration: false,
        ..SessionPolicy::default()
    };
    let (stack, _) = stack_with(policy, 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let before = stack.items().await;
    for route in routes_about(&grace) {
        for token in [None, Some(root.access_token.as_str())] {
            let refused = ask(&stack, &route, token).await;
            refused.expect_problem(404, "not_found");
        }
    }
    assert_eq!(stack.items().await, before);
}

#[tokio::test]
async fn administrators_cannot_lock_themselves_out() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let other = stack.administrator("eve@example.com").await;
    let before = stack.items().await;
    for lock_out in [
        json!({"status": "disabled"}),
        json!({"roles": []}),
        json!({"roles": ["clerk"]}),
        json!({"status": "disabled", "roles": ["admin"]}),
        // The first of the two would be allowed.
        json!({"status": "active", "roles": []}),
    ] {
        let refused = patch(&stack, &root, &root, lock_out).await;
        refused.expect_problem(409, "own_account");
    }
    let delete = stack.delete(&user_path(&root));
    let refused = delete.bearer(&root.access_token).send().await;
    refused.expect_problem(409, "own_account");
    assert_eq!(stack.items().await, before, "nothing is half done");

    let allowed = patch(&stack, &root, &root, json!({"roles": ["admin", "clerk"]})).await;
    allowed.expect(StatusCode::OK);
    let withdrawn = patch(&stack, &other, &root, json!({"roles": []})).await;
    withdrawn.expect(StatusCode::OK);
    let refused = patch(&stack, &root, &other, json!({"status": "disabled"})).await;
    refused.expect_problem(403, "insufficient_scope");
}

/// The sign-in has read the account, and so has the administrator. Whoever writes second looks again.
#[tokio::test(start_paused = true)]
async fn a_disabling_and_a_sign_in_at_once_leave_nobody_signed_in() {
    for disabled_first in [true, false] {
        let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
        let root = stack.administrator(ROOT).await;
        let grace = stack.register(GRACE).await;
        let disable = async || {
            let disabled = patch(&stack, &root, &grace, json!({"status": "disabled"})).await;
            disabled.expect(StatusCode::OK)
        };
        if disabled_first {
            let mut write = faults.hold("TransactWriteItems", 0);
            let meanwhile = async {
                write.arrive().await;
                disable().await;
                write.release();
            };
            let (signed_in, ()) = join!(stack.try_login(GRACE, PASSWORD), meanwhile);
            signed_in.expect_problem(403, "account_disabled");
        } else {
            let mut write = faults.hold("UpdateItem", 0);
            let meanwhile = async {
                write.arrive().await;
                let late = stack.login(GRACE).await;
                write.release();
                late
            };
            let (shown, late) = join!(disable(), meanwhile);
            assert_eq!(
                (&shown["status"], &shown["sessions"]),
                (&json!("disabled"), &json!(0))
            );
            let refused = stack.refresh(&late.refresh_token).await;
            refused.expect_problem(401, "invalid_refresh_token");
        }
        let account = stack.store.read_account(grace.user_id.unwrap()).await;
        let account = account.unwrap().unwrap();
        assert!(!account.is_active() && account.sessions.is_empty());
        let refused = stack.refresh(&grace.refresh_token).await;
        refused.expect_problem(401, "invalid_refresh_token");
    }
}

/// Two administrators delete one user: both are told that it is done, and it is told once in the trail.
#[tokio::test(start_paused = true)]
async fn a_deletion_that_was_overtaken_by_the_owners_is_a_success() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let log = Log::capture_json();
    let mut write = faults.hold("TransactWriteItems", 0);
    let meanwhile = async {
        write.arrive().await;
        let own = stack.delete_account(&grace, PASSWORD).await;
        write.release();
        own.expect(StatusCode::NO_CONTENT)
    };
    let path = user_path(&grace);
    let delete = stack.delete(&path).bearer(&root.access_token).send();
    let (deleted, _) = join!(delete, meanwhile);
    deleted.expect(StatusCode::NO_CONTENT);
    let ends = lines_with(&log.end(), "session ended");
    assert_eq!(ends.len(), 1, "{ends:?}");
    assert_eq!(ends[0]["reason"], "account_deleted", "the owner was faster");
    let again = stack.delete(&path).bearer(&root.access_token).send().await;
    again.expect_problem(404, "user_not_found");
}

#[tokio::test]
async fn every_act_of_administration_is_in_the_audit_trail_with_its_actor() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let log = Log::capture_json();
    let routes = routes_about(&grace);
    for route in &routes {
        // A session that is to end may have ended by then: that is in the trail too.
        ask(&stack, route, Some(&root.access_token)).await;
    }
    let written = log.end();
    let actor = format!("admin:{}", root.user_id.unwrap());
    let deeds = lines_with(&written, "administration");
    // The example of a PATCH changes the status and the roles.
    assert_eq!(deeds.len(), routes.len() + 1, "{written}");
    for line in &deeds {
        assert_eq!(line["actor"], actor, "{line}");
        assert!(line["action"].is_string() && line["outcome"].is_string());
    }
    let ends = lines_with(&written, "session ended");
    assert!(!ends.is_empty());
    for line in &ends {
        assert_eq!(line["actor"], actor, "{line}");
    }
    for secret in [GRACE, PASSWORD, &root.access_token, &grace.refresh_token] {
        assert!(!written.contains(secret), "{secret} is in {written}");
    }
}

/// Who has looked at whom, and what somebody may do since when.
#[tokio::test]
async fn the_audit_trail_names_the_user_that_was_found_and_the_roles_before_and_after() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let user = json!(grace.user_id.unwrap().to_string());
    let log = Log::capture_json();
    for path in [
        format!("/v1/admin/users?email={GRACE}"),
        format!("/v1/admin/sessions/{}", grace.session_id),
        "/v1/admin/users?email=nobody@example.com".to_owned(),
    ] {
        stack.get(&path).bearer(&root.access_token).send().await;
    }
    for roles in [json!(["clerk", "admin"]), json!(["clerk"])] {
        let changed = patch(&stack, &root, &grace, json!({"roles": roles})).await;
        changed.expect(StatusCode::OK);
    }
    let disabled = patch(&stack, &root, &grace, json!({"status": "disabled"})).await;
    disabled.expect(StatusCode::OK);
    let deeds = lines_with(&log.end(), "administration");
    let part = |name: &str| -> Vec<Value> { deeds.iter().map(|deed| deed[name].clone()).collect() };
    let all = [
        user.clone(),
        user.clone(),
        Value::Null,
        user.clone(),
        user.clone(),
        user,
    ];
    assert_eq!(part("user_id"), all);
    let none = Value::Null;
    let before = [
        none.clone(),
        none.clone(),
        none.clone(),
        json!(""),
        json!("admin clerk"),
        none.clone(),
    ];
    assert_eq!(part("roles_before"), before);
    let after = [
        none.clone(),
        none.clone(),
        none.clone(),
        json!("admin clerk"),
        json!("clerk"),
        none,
    ];
    assert_eq!(part("roles_after"), after);
}

/// An administrator who hangs up, or whose request took too long, has done it all the same.
#[tokio::test(start_paused = true)]
async fn a_deed_whose_request_was_cut_off_is_in_the_audit_trail() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let log = Log::capture_json();
    let mut write = faults.hold("UpdateItem", 0);
    tokio::select! {
        reply = patch(&stack, &root, &grace, json!({"status": "disabled"})) => panic!("{}", reply.body),
        _ = write.arrive() => {}
    }
    write.release();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let account = stack.store.read_account(grace.user_id.unwrap()).await;
    assert!(!account.unwrap().unwrap().is_active());
    let deeds = lines_with(&log.end(), "administration");
    let [deed] = &*deeds else {
        panic!("{deeds:?}");
    };
    assert_eq!(
        (&deed["action"], &deed["outcome"]),
        (&json!("disable"), &json!("done"))
    );
}

/// Lambda freezes what is under way after the reply, and continues it with the next request. One request may hold many deeds:
/// the time that the first ones took is gone for the others.
#[tokio::test(start_paused = true)]
async fn no_deed_of_a_request_continues_after_its_503() {
    let (stack, _) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let users = [
        stack.register(GRACE).await,
        stack.register("bob@example.com").await,
    ];
    let [grace, bob] = users.each_ref().map(|user| user.user_id.unwrap());
    let service = Service {
        store: stack.store.clone(),
        core: stack.core.clone(),
    };
    let token = Token::new(root.access_token.clone());
    let caller = service.core.authenticate(&token).await.unwrap();
    let who = service
        .administrator(caller, tokio::time::Instant::now())
        .await
        .unwrap();
    tokio::time::advance(LONGEST_DEEDS - Duration::from_secs(1)).await;
    assert_eq!(service.revoke_all_of(&who, grace).await, Ok(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    let log = Log::capture_json();
    let late = service.revoke_all_of(&who, bob).await;
    assert_eq!(late, Err(Failure::Unavailable));
    let deeds = lines_with(&log.end(), "administration");
    assert_eq!(deeds[0]["outcome"], "failed");
    assert_eq!(stack.session_ids(&users[1]).await, [users[1].session_id]);
    // Nobody waits for the reply to a command.
    let operator = Administrator::operator();
    tokio::time::advance(LONGEST_DEEDS).await;
    assert_eq!(service.revoke_all_of(&operator, bob).await, Ok(1));
}

/// Its access token counts as long as the account admits it, and nothing but the account knows of it.
#[tokio::test]
async fn a_session_whose_item_is_gone_can_be_ended() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let item = stack
        .table()
        .session(grace.user_id.unwrap(), grace.session_id);
    item.delete().await;
    let me = || stack.get("/v1/me").bearer(&grace.access_token).send();
    me().await.expect(StatusCode::OK);
    let path = format!("{}/sessions/{}", user_path(&grace), grace.session_id);
    let revoke = || stack.delete(&path).bearer(&root.access_token).send();
    revoke().await.expect(StatusCode::NO_CONTENT);
    me().await.expect_problem(401, "invalid_token");
    revoke().await.expect_problem(404, "session_not_found");
}

fn operator_of(stack: &Stack) -> (Service, Administrator) {
    let service = Service {
        core: stack.core.clone(),
        store: stack.store.clone(),
    };
    (service, Administrator::operator())
}

/// An account as somebody has written it by hand, in a form that no request can read.
#[tokio::test]
async fn an_account_that_nobody_can_read_is_repaired_and_its_user_signs_in_again() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    stack.login(GRACE).await;
    let user = grace.user_id.unwrap();
    let (service, operator) = operator_of(&stack);
    let before = stack.items().await;
    for repair in [
        service.inspect_account(&operator, user).await,
        service.repair_account(&operator, user).await,
    ] {
        assert_eq!(repair, Ok(Repair::NotNeeded));
    }
    assert_eq!(stack.items().await, before);

    let account = stack.table().account(user);
    account.set("change", "by hand").await;
    account.set("previous_change", "by hand").await;
    let body = json!({"email": GRACE, "password": PASSWORD});
    let login = stack.post("/v1/auth/login").json(&body);
    let refused = login.send_unchecked().await;
    refused.expect_problem(500, "internal_error");
    let damage = Damage {
        attributes: vec!["change", "previous_change"],
        sessions: 2,
    };
    let before = stack.items().await;
    let found = service.inspect_account(&operator, user).await;
    assert_eq!(found, Ok(Repair::Possible(damage.clone())));
    assert_eq!(
        stack.items().await,
        before,
        "who looks first changes nothing"
    );
    let address = LeadsToUser::Address(EmailAddress::parse(GRACE).unwrap());
    let named = service.find_user_id(&operator, address).await;
    assert_eq!(named, Ok(Some(user)));

    let log = Log::capture_json();
    let done = service.repair_account(&operator, user).await;
    assert_eq!(done, Ok(Repair::Done(damage)));
    let log = log.end();
    let ends = lines_with(&log, "session ended");
    let reasons: Vec<_> = ends.iter().map(|end| &end["reason"]).collect();
    assert_eq!(reasons, [&json!("admin"); 2], "{log}");
    let deed = &lines_with(&log, "administration")[0];
    assert_eq!(
        (&deed["action"], &deed["actor"], &deed["outcome"]),
        (&json!("repair_account"), &json!("operator"), &json!("done"))
    );
    let refused = stack.get("/v1/me").bearer(&grace.access_token).send().await;
    refused.expect_problem(401, "invalid_token");
    let again = stack.login(GRACE).await;
    assert_eq!(stack.session_ids(&again).await, [again.session_id]);
    let shown = stack.get(&user_path(&grace)).bearer(&root.access_token);
    let shown = shown.send().await.expect(StatusCode::OK);
    assert_eq!(
        (&shown["email"], &shown["sessions"]),
        (&json!(GRACE), &json!(1))
    );
}

async fn version_of(stack: &Stack, user: UserId) -> i64 {
    let items = stack.items().await;
    let account = |item: &&Value| item["sk"] == "ACCOUNT" && item["pk"] == format!("USER#{user}");
    items.iter().find(account).unwrap()["version"]
        .as_i64()
        .unwrap()
}

/// What is whole is not said to be broken, and whoever has read the account before is overtaken.
#[tokio::test]
async fn a_repair_names_what_is_broken_and_is_a_change_of_the_account() {
    let stack = Stack::start().await;
    let grace = stack.register(GRACE).await;
    stack.login(GRACE).await;
    let user = grace.user_id.unwrap();
    let account = stack.table().account(user);
    account.set("sessions", "by hand").await;
    let before = version_of(&stack, user).await;
    let (service, operator) = operator_of(&stack);
    let done = service.repair_account(&operator, user).await;
    let damage = Damage {
        attributes: vec!["sessions"],
        sessions: 0,
    };
    assert_eq!(done, Ok(Repair::Done(damage)));
    assert_eq!(version_of(&stack, user).await, before + 1);
}

#[tokio::test]
async fn what_a_repair_cannot_know_it_leaves_alone() {
    let stack = Stack::start().await;
    let grace = stack.register(GRACE).await;
    let user = grace.user_id.unwrap();
    let (service, operator) = operator_of(&stack);
    stack.table().account(user).remove("created_at").await;
    let before = stack.items().await;
    for repair in [
        service.inspect_account(&operator, user).await,
        service.repair_account(&operator, user).await,
    ] {
        assert_eq!(repair, Ok(Repair::Beyond));
    }
    assert_eq!(stack.items().await, before);
    let nobody = UserId::random(stack.core.random.as_ref());
    let refused = service.repair_account(&operator, nobody).await;
    assert_eq!(refused, Err(Failure::Refused(AdminError::UserNotFound)));
}

/// Of the single deletions of an account's deletion, which one is the account's item: the counters go first.
const LAST_OF_A_DELETION: usize = 2;

#[tokio::test(start_paused = true)]
async fn a_repair_whose_reply_is_lost_knows_its_own_write() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let grace = stack.register(GRACE).await;
    let user = grace.user_id.unwrap();
    stack.table().account(user).set("change", "by hand").await;
    let (service, operator) = operator_of(&stack);
    faults.strike_once(Fault::ReplyLost, "UpdateItem", 0);
    let repair = service.repair_account(&operator, user).await;
    let damage = Damage {
        attributes: vec!["change"],
        sessions: 1,
    };
    assert_eq!(repair, Ok(Repair::Done(damage)));
    faults.disarm();
    stack.login(GRACE).await;
}

#[tokio::test(start_paused = true)]
async fn a_repair_whose_reply_is_lost_and_that_two_others_follow_is_not_called_needless() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let grace = stack.register(GRACE).await;
    let user = grace.user_id.unwrap();
    stack.table().account(user).set("change", "by hand").await;
    let (service, operator) = operator_of(&stack);
    let meanwhile = async {
        stack.login(GRACE).await;
        stack.login(GRACE).await;
    };
    let repair = service.repair_account(&operator, user);
    let (repair, ()) = faults
        .before_retry(FIRST_REPLY_LOST, repair, meanwhile)
        .await;
    assert_eq!(repair, Err(Failure::Unavailable));
}

/// What was read is written over only while it stands there: somebody else may be mending it too.
#[tokio::test(start_paused = true)]
async fn a_repair_that_was_overtaken_looks_again() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let grace = stack.register(GRACE).await;
    let user = grace.user_id.unwrap();
    let account = stack.table().account(user);
    account.set("change", "by hand").await;
    let (service, operator) = operator_of(&stack);
    let mut write = faults.hold("UpdateItem", 0);
    let overtake = async {
        write.arrive().await;
        let other = service.repair_account(&operator, user).await;
        assert!(matches!(other, Ok(Repair::Done(_))), "{other:?}");
        write.release();
    };
    let (repair, ()) = join!(service.repair_account(&operator, user), overtake);
    assert_eq!(repair, Ok(Repair::NotNeeded));
}

/// The reply to the write gets lost, and somebody else changes the account before it is asked for again.
#[tokio::test(start_paused = true)]
async fn the_answer_to_a_change_is_the_account_as_it_is_now() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let meanwhile = async {
        let other = patch(&stack, &root, &grace, json!({"roles": ["clerk"]})).await;
        other.expect(StatusCode::OK);
    };
    let disable = patch(&stack, &root, &grace, json!({"status": "disabled"}));
    let (disabled, ()) = faults
        .before_retry(FIRST_REPLY_LOST, disable, meanwhile)
        .await;
    let shown = disabled.expect(StatusCode::OK);
    assert_eq!(
        (&shown["status"], &shown["roles"]),
        (&json!("disabled"), &json!(["clerk"]))
    );
}

/// The reply to a disabling gets lost, and before it is asked for again, somebody opens the account in a way that leaves
/// unknown whether the disabling was made. It is not made again: the user can sign in.
async fn expect_not_disabled_again(meanwhile: impl AsyncFnOnce(&Stack, &SignedIn, &SignedIn)) {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let disable = patch(&stack, &root, &grace, json!({"status": "disabled"}));
    let meanwhile = meanwhile(&stack, &root, &grace);
    let (disabled, ()) = faults
        .before_retry(FIRST_REPLY_LOST, disable, meanwhile)
        .await;
    disabled.expect_problem(503, "temporarily_unavailable");
    stack.login(GRACE).await;
}

/// The account is enabled, and changed once more.
#[tokio::test(start_paused = true)]
async fn a_disabling_whose_reply_is_lost_undoes_no_later_enabling() {
    expect_not_disabled_again(async |stack, root, grace| {
        for change in [json!({"status": "active"}), json!({"roles": ["clerk"]})] {
            let changed = patch(stack, root, grace, change).await;
            changed.expect(StatusCode::OK);
        }
    })
    .await;
}

/// A repair forgets the changes before it, so an account that was repaired since does not say whether the change was made.
#[tokio::test(start_paused = true)]
async fn a_disabling_whose_reply_is_lost_is_not_made_again_after_a_repair() {
    expect_not_disabled_again(async |stack, _, grace| {
        let user = grace.user_id.unwrap();
        let account = stack.table().account(user);
        account.set("status", "active").await;
        account.set("change", "by hand").await;
        let (service, operator) = operator_of(stack);
        let repair = service.repair_account(&operator, user).await;
        assert!(matches!(repair, Ok(Repair::Done(_))), "{repair:?}");
    })
    .await;
}

/// The reply to a change gets lost, and the account is as it was to be, whatever has followed.
#[tokio::test(start_paused = true)]
async fn a_change_that_need_not_be_made_again_is_answered_though_its_reply_is_lost() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let meanwhile = async {
        stack.login(GRACE).await;
        stack.login(GRACE).await;
    };
    let change = patch(&stack, &root, &grace, json!({"roles": ["clerk"]}));
    let (changed, ()) = faults
        .before_retry(FIRST_REPLY_LOST, change, meanwhile)
        .await;
    assert_eq!(changed.expect(StatusCode::OK)["roles"], json!(["clerk"]));
}

/// The reply to a change gets lost, and before it is asked for again, the account is deleted.
#[tokio::test(start_paused = true)]
async fn a_change_that_may_have_been_made_before_a_deletion_is_not_refused() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let meanwhile = async {
        let deleted = stack.delete_account(&grace, PASSWORD).await;
        deleted.expect(StatusCode::NO_CONTENT);
    };
    let change = patch(&stack, &root, &grace, json!({"roles": ["clerk"]}));
    let (changed, ()) = faults
        .before_retry(FIRST_REPLY_LOST, change, meanwhile)
        .await;
    changed.expect_problem(503, "temporarily_unavailable");
}

/// The same, while the deletion has not come to the account's item yet: its own write is known.
#[tokio::test(start_paused = true)]
async fn a_change_that_was_made_before_a_deletion_is_not_refused() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    faults.strike_once(Fault::ReplyLost, "UpdateItem", 0);
    let mut again = faults.hold("UpdateItem", 1);
    let (tell_answer, answered) = oneshot::channel();
    let change = async {
        let changed = patch(&stack, &root, &grace, json!({"roles": ["clerk"]})).await;
        tell_answer.send(changed).unwrap();
    };
    let meanwhile = async {
        again.arrive().await;
        let mut last = faults.hold("DeleteItem", LAST_OF_A_DELETION);
        let hold = async {
            let request = last.arrive().await;
            assert_eq!(request["Key"]["sk"]["S"], "ACCOUNT");
            again.release();
            let changed = answered.await.unwrap();
            last.release();
            changed
        };
        join!(stack.delete_account(&grace, PASSWORD), hold)
    };
    let ((), (deleted, changed)) = join!(change, meanwhile);
    deleted.expect(StatusCode::NO_CONTENT);
    changed.expect_problem(503, "temporarily_unavailable");
}

/// Whether an end of all has found a session or not: once the user is gone, nobody is signed in.
#[tokio::test(start_paused = true)]
async fn an_end_of_all_that_a_deletion_follows_is_a_success_whoever_was_signed_in() {
    for (is_signed_in, reply_is_lost) in
        [(true, true), (false, true), (true, false), (false, false)]
    {
        let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
        let root = stack.administrator(ROOT).await;
        let grace = stack.register(GRACE).await;
        let path = user_path(&grace);
        let end_all = || {
            let call = stack.post(&format!("{path}/sessions/revoke-all"));
            call.bearer(&root.access_token).send()
        };
        if !is_signed_in {
            end_all().await.expect(StatusCode::OK);
        }
        let meanwhile = async {
            let deleted = stack.delete(&path).bearer(&root.access_token).send().await;
            deleted.expect(StatusCode::NO_CONTENT);
        };
        let (ended, ()) = if reply_is_lost {
            faults
                .before_retry(FIRST_REPLY_LOST, end_all(), meanwhile)
                .await
        } else {
            let mut write = faults.hold("UpdateItem", 0);
            let until_then = async {
                write.arrive().await;
                meanwhile.await;
                write.release();
            };
            join!(end_all(), until_then)
        };
        assert_eq!(ended.expect(StatusCode::OK), json!({"revoked": 0}));
    }
}

/// Status and roles are two changes; the user is deleted between them.
#[tokio::test(start_paused = true)]
async fn of_two_changes_the_first_of_which_was_made_none_is_refused() {
    let (stack, faults) = stack_with(SessionPolicy::default(), 1, Vec::new()).await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let mut second = faults.hold("UpdateItem", 1);
    let meanwhile = async {
        second.arrive().await;
        let account = stack.store.read_account(grace.user_id.unwrap()).await;
        assert!(!account.unwrap().unwrap().is_active(), "the first was made");
        let path = user_path(&grace);
        let deleted = stack.delete(&path).bearer(&root.access_token).send().await;
        deleted.expect(StatusCode::NO_CONTENT);
        second.release();
    };
    let both = json!({"status": "disabled", "roles": ["clerk"]});
    let (changed, ()) = join!(patch(&stack, &root, &grace, both.clone()), meanwhile);
    changed.expect_problem(503, "temporarily_unavailable");
    let again = patch(&stack, &root, &grace, both).await;
    again.expect_problem(404, "user_not_found");
}

#[tokio::test]
async fn a_change_by_an_administrator_is_written_with_its_cause() {
    let stack = Stack::start().await;
    let root = stack.administrator(ROOT).await;
    let grace = stack.register(GRACE).await;
    let actor = format!("admin:{}", root.user_id.unwrap());
    let key = format!("USER#{}", grace.user_id.unwrap());
    let change = async || {
        let items = stack.items().await;
        let mut accounts = items.iter();
        let account = accounts.find(|item| item["pk"] == key && item["sk"] == "ACCOUNT");
        account.unwrap()["change"].clone()
    };
    for (update, action, reason) in [
        (json!({"roles": ["clerk"]}), "change_roles", Value::Null),
        (
            json!({"status": "disabled"}),
            "disable",
            json!("account_disabled"),
        ),
        (json!({"status": "active"}), "enable", Value::Null),
    ] {
        patch(&stack, &root, &grace, update)
            .await
            .expect(StatusCode::OK);
        let change = change().await;
        assert_eq!(change["action"], action);
        assert_eq!(change["actor"], actor);
        assert_eq!(change["reason"], reason, "{action}");
        assert_eq!(change["at"], stack.now().timestamp_millis());
    }
    let again = stack.login(GRACE).await;
    let path = format!("{}/sessions/{}", user_path(&grace), again.session_id);
    let revoke = stack.delete(&path).bearer(&root.access_token);
    revoke.send().await.expect(StatusCode::NO_CONTENT);
    let change = change().await;
    assert_eq!(
        (&change["action"], &change["reason"]),
        (&json!("revoke"), &json!("admin"))
    );
}
