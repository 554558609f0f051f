//! Two instances whose clocks differ. At 5 seconds everything that is promised holds; what happens at 60 is no promise, but
//! it is known, and the guide of the faults tells it: these tests hold the guide.
//!
//! A refresh at 5 seconds has its own test, `two_clocks_that_are_five_seconds_apart_sign_nobody_out`.

use chrono::TimeDelta;
use http::StatusCode;
use latchkey_domain::token::Token;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::json;

const ADA: &str = "ada@example.com";

fn seconds(seconds: i64) -> TimeDelta {
    TimeDelta::seconds(seconds)
}

/// Two instances, of which the second one's clock is ahead, or behind.
struct Two {
    one: Stack,
    other: Stack,
}

impl Two {
    async fn start(ahead: TimeDelta) -> Self {
        let one = Stack::start().await;
        let other = one.clone().with_clock_ahead(ahead);
        Self { one, other }
    }

    fn wait(&self, time: TimeDelta) {
        self.one.advance(time);
        self.other.advance(time);
    }
}

async fn me(stack: &Stack, who: &SignedIn) -> Reply {
    stack.get("/v1/me").bearer(&who.access_token).send().await
}

#[tokio::test]
async fn at_five_seconds_what_one_instance_does_holds_at_the_other() {
    for ahead in [seconds(5), seconds(-5)] {
        let two = Two::start(ahead).await;
        let laptop = two.one.register(ADA).await;
        // A token from the future is one, and the session that it belongs to is listed.
        let phone = two.other.login(ADA).await;
        me(&two.one, &phone).await.expect(StatusCode::OK);
        assert_eq!(two.one.session_ids(&laptop).await.len(), 2);
        // So is a proof from the future, and one of a moment ago.
        for [here, there] in [[&two.one, &two.other], [&two.other, &two.one]] {
            let proved = here.reauthenticate(&phone, PASSWORD).await;
            let proved = SignedIn::from(proved.expect(StatusCode::OK));
            let token = Token::new(proved.access_token.clone());
            let caller = there.core.authenticate(&token);
            let recent = there
                .core
                .require_recent_authentication(caller.await.unwrap());
            assert_eq!(recent, Ok(()));
        }
        // A link is opened where it was not made.
        let link = two.other.verify_token(laptop.user_id.unwrap()).await;
        let opened = two.one.verify_email(&link).await;
        assert_eq!(opened.status, StatusCode::NO_CONTENT);
        // What has ended here has ended there at once, whichever clock is ahead.
        for [here, there] in [[&two.one, &two.other], [&two.other, &two.one]] {
            let short = here.login(ADA).await;
            let path = format!("/v1/sessions/{}", short.session_id);
            let ended = there
                .delete(&path)
                .bearer(&laptop.access_token)
                .send()
                .await;
            ended.expect(StatusCode::NO_CONTENT);
            here.expect_ended(&short).await;
        }
    }
}

#[tokio::test]
async fn at_five_seconds_a_session_lasts_to_its_expiry_less_the_difference() {
    for ahead in [seconds(5), seconds(-5)] {
        let two = Two::start(ahead).await;
        let ada = two.one.register(ADA).await;
        // Until 5 seconds before its idle expiry both instances refresh it, and keep its item.
        two.wait(TimeDelta::days(7) - seconds(5) - TimeDelta::milliseconds(1));
        two.other.login(ADA).await;
        let refreshed = two.other.refresh_session(&ada).await;
        two.one.refresh_session(&refreshed).await;
    }
}

#[tokio::test]
async fn at_five_seconds_a_slow_tab_is_forgiven_though_the_clock_that_is_ahead_has_refreshed() {
    let two = Two::start(seconds(5)).await;
    let ada = two.one.register(ADA).await;
    let newest = two.one.refresh_session(&ada).await;
    two.wait(seconds(29));
    // Its clock says that 34 seconds have passed: longer than the grace, and not the interval.
    let refreshed = two.other.refresh_session(&newest).await;
    assert_eq!(refreshed.refresh_token, newest.refresh_token);
    let slow = two.one.refresh_session(&ada).await;
    assert_eq!(slow.refresh_token, newest.refresh_token);
}

/// Whoever refreshes at one instance and, because the reply is lost, at the other.
async fn refresh_twice(first: &Stack, then: &Stack, who: &SignedIn) -> Reply {
    let lost = first.refresh(&who.refresh_token).await;
    lost.expect(StatusCode::OK);
    then.refresh(&who.refresh_token).await
}

#[tokio::test]
async fn at_sixty_seconds_a_lost_reply_is_taken_for_theft_by_the_clock_that_is_ahead() {
    let two = Two::start(seconds(60)).await;
    let ada = two.one.register(ADA).await;
    let reply = refresh_twice(&two.one, &two.other, &ada).await;
    reply.expect_problem(401, "refresh_token_reused");

    // The other way round nobody is signed out, and the grace is as much longer.
    let two = Two::start(seconds(60)).await;
    let ada = two.one.register(ADA).await;
    let reply = refresh_twice(&two.other, &two.one, &ada).await;
    let winner = SignedIn::from(reply.expect(StatusCode::OK));
    two.wait(seconds(90));
    let reply = two.one.refresh(&ada.refresh_token).await;
    assert_eq!(
        reply.expect(StatusCode::OK)["refresh_token"],
        winner.refresh_token
    );
    two.wait(seconds(1));
    let reply = two.one.refresh(&ada.refresh_token).await;
    reply.expect_problem(401, "refresh_token_reused");
}

#[tokio::test]
async fn at_sixty_seconds_the_clock_that_is_behind_rotates_a_minute_later() {
    let two = Two::start(seconds(60)).await;
    let ada = two.other.register(ADA).await;
    let young = two.other.refresh_session(&ada).await;
    let rotates = async || {
        let refreshed = two.one.refresh_session(&young).await;
        refreshed.refresh_token != young.refresh_token
    };
    two.wait(seconds(94));
    assert!(!rotates().await, "not before 35 and 60 seconds");
    two.wait(seconds(1));
    assert!(rotates().await);
}

#[tokio::test]
async fn at_sixty_seconds_each_instance_ends_things_by_its_own_clock() {
    let two = Two::start(seconds(60)).await;
    let ada = two.one.register(ADA).await;
    // An access token of 15 minutes, a minute earlier where the clock is ahead.
    two.wait(seconds(14 * 60));
    me(&two.one, &ada).await.expect(StatusCode::OK);
    me(&two.other, &ada)
        .await
        .expect_problem(401, "invalid_token");
    // The session, a minute earlier too: refused there, and not yet here.
    two.wait(TimeDelta::days(7) - seconds(15 * 60));
    let refused = two.other.refresh(&ada.refresh_token).await;
    refused.expect_problem(401, "invalid_refresh_token");
    let refreshed = two.one.refresh_session(&ada).await;
    // What a person or an administrator ends is dead everywhere at once: that goes by no clock.
    let logout = json!({"refresh_token": refreshed.refresh_token});
    let reply = two.other.post("/v1/auth/logout").json(&logout).send().await;
    reply.expect(StatusCode::NO_CONTENT);
    two.one.expect_ended(&refreshed).await;
}
