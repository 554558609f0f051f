use http::{Method, StatusCode};
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::json;

const NEW_PASSWORD: &str = "wrong donkey charger paperclip";

#[tokio::test]
async fn a_password_change_ends_every_session_and_goes_on_with_a_new_one() {
    let stack = Stack::start().await;
    let one = stack.register("ada@example.com").await;
    let two = stack.login("ada@example.com").await;
    let path = format!("/v1/sessions/{}", one.session_id);
    let body = json!({"name": "Kitchen"});
    stack
        .request(Method::PATCH, &path)
        .bearer(&one.access_token)
        .json(&body)
        .send()
        .await
        .expect(StatusCode::OK);

    let reply = stack.change_password(&one, PASSWORD, NEW_PASSWORD).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let new = SignedIn::from(reply.expect(StatusCode::OK));
    assert_ne!(new.session_id, one.session_id);
    assert_eq!(
        new.body["session"]["device_name"],
        one.body["session"]["device_name"]
    );
    assert_eq!(new.body["session"]["name"], "Kitchen");
    for ended in [&one, &two] {
        stack.expect_ended(ended).await;
    }
    assert_eq!(stack.session_ids(&new).await, [new.session_id]);
    stack
        .try_login("ada@example.com", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    assert_eq!(
        stack
            .try_login("ada@example.com", NEW_PASSWORD)
            .await
            .status,
        StatusCode::OK
    );
    stack
        .refresh(&new.refresh_token)
        .await
        .expect(StatusCode::OK);
}

#[tokio::test]
async fn a_password_is_not_changed_without_the_current_one_or_to_a_weak_one() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let before = stack.items().await;
    stack
        .change_password(&ada, "another password", NEW_PASSWORD)
        .await
        .expect_problem(403, "wrong_password");
    let reply = stack
        .change_password(&ada, PASSWORD, "password1")
        .await
        .expect_problem(422, "weak_password");
    assert_eq!(reply.body["errors"][0]["pointer"], "#/new_password");
    assert_eq!(
        stack.items().await,
        before,
        "nothing is written on a refused request"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_simultaneous_password_changes_one_succeeds() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let replies = futures::future::join_all((0..4).map(|n| {
        let new = format!("{NEW_PASSWORD} {n}");
        let (stack, ada) = (&stack, &ada);
        async move { stack.change_password(ada, PASSWORD, &new).await }
    }))
    .await;
    assert_eq!(
        replies
            .iter()
            .filter(|reply| reply.status == StatusCode::OK)
            .count(),
        1
    );
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == StatusCode::OK || reply.code() == "invalid_token")
    );
}

#[tokio::test]
async fn a_deleted_account_leaves_nothing_and_frees_its_address() {
    let stack = Stack::start().await;
    let one = stack.register("ada@example.com").await;
    let two = stack.login("ada@example.com").await;
    stack
        .delete_account(&one, "another password")
        .await
        .expect_problem(403, "wrong_password");
    let reply = stack.delete_account(&one, PASSWORD).await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!(stack.items().await, Vec::<serde_json::Value>::new());
    for ended in [&one, &two] {
        stack.expect_ended(ended).await;
    }
    stack
        .try_login("ada@example.com", PASSWORD)
        .await
        .expect_problem(401, "invalid_credentials");
    let again = stack.register("ada@example.com").await;
    assert_ne!(again.user_id, one.user_id);
}
