//! Refresh tokens in cookies: what is set, what is accepted from whom, and that a cookie never comes before a token that
//! a page has sent.

use chrono::TimeDelta;
use http::{HeaderValue, Method, StatusCode};
use latchkey_api::cors::AllowedOrigins;
use latchkey_api::credentials::{DEVICE_COOKIE, REFRESH_COOKIE};
use latchkey_tests::attack::forgery::read_part;
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::conformity;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::{Reply, SignedIn};
use latchkey_tests::harness::stack::{OTHER_AUDIENCE, PASSWORD, Stack};
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const NEW: &str = "wrong donkey charger paperclip";
const OWN: &str = "https://id.example.com";
const APP: &str = "https://app.example.com";

async fn start() -> Stack {
    let origins = AllowedOrigins::These(vec![HeaderValue::from_static(APP)]);
    Stack::start().await.with_cookies(&origins)
}

/// As a browser sends it from a page of the service's own origin.
fn from_own_page<'a>(call: Call<'a>) -> Call<'a> {
    call.header("sec-fetch-site", b"same-origin")
        .header("origin", OWN.as_bytes())
}

fn with_cookie<'a>(call: Call<'a>, token: &str) -> Call<'a> {
    call.header("cookie", format!("{REFRESH_COOKIE}={token}").as_bytes())
}

/// What a reply sets the cookie of the refresh token to: its value and its attributes.
fn set_cookie(reply: &Reply) -> Option<(String, Vec<String>)> {
    set_cookie_named(REFRESH_COOKIE, reply)
}

fn set_cookie_named(name: &str, reply: &Reply) -> Option<(String, Vec<String>)> {
    let lines = reply.headers.get_all("set-cookie").iter();
    let mut found = lines.filter_map(|line| {
        let mut parts = line.to_str().unwrap().split("; ").map(str::to_owned);
        let pair = parts.next().unwrap();
        let value = pair.strip_prefix(&format!("{name}="))?;
        Some((value.to_owned(), parts.collect()))
    });
    let first = found.next();
    assert!(found.next().is_none(), "one cookie of a name");
    first
}

/// The refresh token that a reply sets and does not tell.
#[track_caller]
fn cookie_of(reply: &Reply) -> String {
    assert!(reply.status.is_success(), "{}", reply.body);
    assert_eq!(reply.body.get("refresh_token"), None);
    let (value, attributes) = set_cookie(reply).unwrap();
    let text = String::from_utf8(reply.bytes.clone()).unwrap();
    assert!(!text.contains(&value), "HttpOnly, and in the body");
    let lifetime = reply.body["refresh_expires_in"].as_i64().unwrap();
    let max_age = format!("Max-Age={lifetime}");
    let rest = ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"];
    assert_eq!(attributes[0], max_age);
    assert_eq!(attributes[1..], rest.map(str::to_owned));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    value
}

async fn enter(stack: &Stack, route: &str) -> Reply {
    let body = json!({"email": ADA, "password": PASSWORD, "transport": "cookie"});
    let call = stack.post(&format!("/v1/auth/{route}")).json(&body);
    from_own_page(call).send().await
}

async fn refresh(stack: &Stack, token: &str) -> Reply {
    let call = with_cookie(stack.post("/v1/auth/refresh"), token);
    from_own_page(call).send().await
}

/// A stranger's guesses leave the browser alone that has been signed in on, and its page never sees the token.
#[tokio::test]
async fn a_known_browser_shows_its_device_token_in_a_cookie() {
    let stack = start().await;
    let registered = enter(&stack, "register").await;
    assert_eq!(registered.body.get("device_token"), None);
    let (device, attributes) = set_cookie_named(DEVICE_COOKIE, &registered).unwrap();
    assert_eq!(attributes[0], "Max-Age=34560000");
    let rest = ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"];
    assert_eq!(attributes[1..], rest.map(str::to_owned));
    let text = String::from_utf8(registered.bytes.clone()).unwrap();
    assert!(!text.contains(&device));
    for _ in 0..15 {
        stack.try_login(ADA, "a stranger's guess").await;
    }
    let stranger = stack.try_login(ADA, PASSWORD).await;
    stranger.expect_problem(429, "too_many_requests");
    let login = |site: &'static [u8]| {
        let body = json!({"email": ADA, "password": PASSWORD});
        let cookie = format!("{DEVICE_COOKIE}={device}");
        let call = stack.post("/v1/auth/login").json(&body);
        let call = call.header("cookie", cookie.as_bytes());
        call.header("sec-fetch-site", site).send()
    };
    assert_eq!(login(b"same-origin").await.status, StatusCode::OK);
    // Another site's page cannot use it up, and is a stranger.
    let foreign = login(b"cross-site").await;
    foreign.expect_problem(429, "too_many_requests");
}

#[tokio::test]
async fn a_session_lives_in_a_cookie_from_its_sign_in_to_its_sign_out() {
    let stack = start().await;
    let registered = enter(&stack, "register").await;
    let first = cookie_of(&registered);
    assert_eq!(registered.body["refresh_expires_in"], 604_800);
    let second_session = cookie_of(&enter(&stack, "login").await);

    let refreshed = refresh(&stack, &first).await;
    let second = cookie_of(&refreshed);
    assert_ne!(second, first);
    stack.pass_interval();
    // A body without a refresh token names an audience or nothing.
    let call = stack
        .post("/v1/auth/refresh")
        .json(&json!({"audience": OTHER_AUDIENCE}));
    let for_other = from_own_page(with_cookie(call, &second)).send().await;
    let third = cookie_of(&for_other);
    assert_eq!(
        read_part(for_other.body["access_token"].as_str().unwrap(), 1)["aud"],
        OTHER_AUDIENCE
    );

    // The bearer's own session is in the cookie, so its next refresh token goes there too.
    stack.pass_interval();
    let refreshed = cookie_and_session(&refresh(&stack, &third).await);
    let call = stack
        .post("/v1/auth/reauthenticate")
        .bearer(&refreshed.access_token);
    let call = with_cookie(
        call.json(&json!({"password": PASSWORD})),
        &refreshed.refresh_token,
    );
    let proved = from_own_page(call).send().await;
    let proved = cookie_and_session(&proved);
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    let call = stack
        .request(Method::PUT, "/v1/me/password")
        .bearer(&proved.access_token);
    let call = with_cookie(call.json(&change), &proved.refresh_token);
    let changed = cookie_and_session(&from_own_page(call).send().await);
    refresh(&stack, &second_session)
        .await
        .expect_problem(401, "invalid_refresh_token");

    let call = with_cookie(stack.post("/v1/auth/logout"), &changed.refresh_token);
    let out = from_own_page(call).send().await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    let (value, attributes) = set_cookie(&out).unwrap();
    assert_eq!((value.as_str(), attributes[0].as_str()), ("", "Max-Age=0"));
    let rest = ["Path=/", "Secure", "HttpOnly", "SameSite=Strict"];
    assert_eq!(attributes[1..], rest.map(str::to_owned));
    let gone = refresh(&stack, &changed.refresh_token).await;
    assert_eq!(
        set_cookie(&gone),
        None,
        "a late reply must not remove a newer cookie"
    );
    gone.expect_problem(401, "invalid_refresh_token");
}

fn cookie_and_session(reply: &Reply) -> SignedIn {
    let token = cookie_of(reply);
    let mut signed_in = SignedIn::from(reply.body.clone());
    signed_in.refresh_token = token;
    signed_in
}

/// How many [`requests`] there are.
const REQUESTS: usize = 7;

/// Each route on which a cookie is the credential, or is set.
fn requests<'a>(stack: &'a Stack, who: &SignedIn) -> [(&'static str, Call<'a>); REQUESTS] {
    let credentials = json!({"email": ADA, "password": PASSWORD, "transport": "cookie"});
    let bob = json!({"email": "bob@example.com", "password": PASSWORD, "transport": "cookie"});
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    let with = |call| with_cookie(call, &who.refresh_token);
    let bearer = |call: Call<'a>| with(call.bearer(&who.access_token));
    [
        ("register", stack.post("/v1/auth/register").json(&bob)),
        ("login", stack.post("/v1/auth/login").json(&credentials)),
        ("refresh", with(stack.post("/v1/auth/refresh"))),
        (
            "refresh, {}",
            with(stack.post("/v1/auth/refresh").json(&json!({}))),
        ),
        (
            "reauthenticate",
            bearer(
                stack
                    .post("/v1/auth/reauthenticate")
                    .json(&json!({"password": PASSWORD})),
            ),
        ),
        (
            "password",
            bearer(stack.request(Method::PUT, "/v1/me/password").json(&change)),
        ),
        ("logout", with(stack.post("/v1/auth/logout"))),
    ]
}

/// What a browser says of the sender, and whether the request is accepted. Without either header it is one that sets a
/// cookie, not one that is opened by it.
const SENDERS: [(Option<&str>, Option<&str>, bool); 9] = [
    (Some("same-origin"), Some(OWN), true),
    (Some("same-site"), Some(APP), true),
    (None, Some(APP), true),
    (None, Some(OWN), true),
    (Some("same-site"), Some("https://blog.example.com"), false),
    (Some("cross-site"), Some("https://evil.example"), false),
    (Some("cross-site"), None, false),
    (None, Some("https://evil.example"), false),
    (None, None, false),
];

#[tokio::test]
async fn a_cookie_is_accepted_from_our_own_pages_and_those_that_are_allowed_alone() {
    for (site, origin, accepted) in SENDERS {
        for place in 0..REQUESTS {
            let stack = start().await;
            let ada = cookie_and_session(&enter(&stack, "register").await);
            let before = stack.items().await;
            let (name, mut call) = requests(&stack, &ada)[place].clone();
            if let Some(site) = site {
                call = call.header("sec-fetch-site", site.as_bytes());
            }
            if let Some(origin) = origin {
                call = call.header("origin", origin.as_bytes());
            }
            let reply = call.send().await;
            let sets_alone = ["register", "login"].contains(&name);
            let expected = accepted || (sets_alone && site.is_none() && origin.is_none());
            let what = format!("{name} from {site:?} {origin:?}");
            assert_eq!(
                reply.status.is_success(),
                expected,
                "{what}: {}",
                reply.body
            );
            assert_eq!(set_cookie(&reply).is_some(), expected, "{what}");
            if !expected {
                assert_eq!(stack.items().await, before, "{what}");
                reply.expect_problem(403, "cross_site_request");
            }
        }
    }
}

#[tokio::test]
async fn a_token_that_a_page_sends_comes_before_a_cookie() {
    let stack = start().await;
    stack.register(ADA).await;
    let body = stack.login(ADA).await;
    let cookie = cookie_and_session(&enter(&stack, "login").await);
    let with = |call| from_own_page(with_cookie(call, &cookie.refresh_token));

    let call = stack
        .post("/v1/auth/refresh")
        .json(&json!({"refresh_token": body.refresh_token}));
    let reply = with(call).send().await;
    assert_eq!(set_cookie(&reply), None);
    assert_eq!(
        SignedIn::from(reply.expect(StatusCode::OK)).session_id,
        body.session_id
    );
    // One that is not good is refused: the cookie does not stand in for it.
    for wrong in ["", "x", &body.access_token] {
        let call = stack
            .post("/v1/auth/refresh")
            .json(&json!({"refresh_token": wrong}));
        let reply = with(call).send().await;
        assert_eq!(set_cookie(&reply), None);
        reply.expect_problem(401, "invalid_refresh_token");
    }
    // A cookie of another session says nothing of the bearer's.
    let call = stack
        .post("/v1/auth/reauthenticate")
        .bearer(&body.access_token);
    let reply = with(call.json(&json!({"password": PASSWORD}))).send().await;
    assert_eq!(set_cookie(&reply), None);
    let body = SignedIn::from(reply.expect(StatusCode::OK));
    assert!(!body.refresh_token.is_empty());

    for call in [
        stack
            .post("/v1/auth/logout")
            .json(&json!({"refresh_token": body.refresh_token})),
        stack.post("/v1/auth/logout").bearer(&body.access_token),
    ] {
        let reply = with(call).send().await;
        assert_eq!(
            (reply.status, set_cookie(&reply)),
            (StatusCode::NO_CONTENT, None)
        );
    }
    assert!(
        refresh(&stack, &cookie.refresh_token)
            .await
            .status
            .is_success()
    );
}

/// A page may send an access token of which nothing is left: the user wants to be signed out all the same.
#[tokio::test]
async fn a_useless_bearer_does_not_keep_the_cookie_from_signing_out() {
    let stack = start().await;
    stack.register(ADA).await;
    for useless in ["", "x", "a.b.c"] {
        let ada = stack.login(ADA).await;
        let logout = || {
            let call = stack.post("/v1/auth/logout").bearer(useless);
            with_cookie(call, &ada.refresh_token)
        };
        // Another page cannot do so, and is told nothing else than without the cookie.
        let foreign = logout().header("sec-fetch-site", b"cross-site");
        let foreign = foreign.send().await;
        assert_eq!(
            (foreign.status, set_cookie(&foreign)),
            (StatusCode::NO_CONTENT, None)
        );
        let own = from_own_page(logout()).send().await;
        assert_eq!(own.status, StatusCode::NO_CONTENT);
        let (value, attributes) = set_cookie(&own).unwrap();
        assert_eq!((&*value, &*attributes[0]), ("", "Max-Age=0"));
        let refused = refresh(&stack, &ada.refresh_token).await;
        refused.expect_problem(401, "invalid_refresh_token");
    }
}

/// A page that signs in by cookie shows its access token too when it signs out.
#[tokio::test]
async fn a_bearer_that_signs_out_takes_the_cookie_of_the_same_session_with_it() {
    let stack = start().await;
    stack.register(ADA).await;
    let entered = enter(&stack, "login").await;
    let access_token = entered.body["access_token"].as_str().unwrap();
    let cookie = cookie_and_session(&entered);
    let logout = || {
        let call = stack.post("/v1/auth/logout").bearer(access_token);
        with_cookie(call, &cookie.refresh_token)
    };
    for _ in 0..2 {
        let reply = from_own_page(logout()).send().await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT);
        let (value, attributes) = set_cookie(&reply).expect("a dead cookie stays");
        assert_eq!((&*value, &*attributes[0]), ("", "Max-Age=0"));
    }
    // Another page's request changes no cookie of ours.
    let foreign = logout().header("sec-fetch-site", b"cross-site");
    assert_eq!(set_cookie(&foreign.send().await), None);
}

#[tokio::test]
async fn the_body_transport_sets_no_cookie() {
    let stack = start().await;
    let body = json!({"email": ADA, "password": PASSWORD, "transport": "body"});
    let ada = from_own_page(stack.post("/v1/auth/register").json(&body))
        .send()
        .await;
    assert_eq!(set_cookie(&ada), None);
    let ada = SignedIn::from(ada.expect(StatusCode::CREATED));
    let body = json!({"email": ADA, "password": PASSWORD, "transport": null});
    let change = json!({"current_password": PASSWORD, "new_password": NEW});
    for call in [
        stack.post("/v1/auth/login").json(&body),
        stack
            .post("/v1/auth/refresh")
            .json(&json!({"refresh_token": ada.refresh_token})),
        stack
            .post("/v1/auth/reauthenticate")
            .bearer(&ada.access_token)
            .json(&json!({"password": PASSWORD})),
        stack
            .request(Method::PUT, "/v1/me/password")
            .bearer(&ada.access_token)
            .json(&change),
    ] {
        let reply = from_own_page(call).send().await;
        assert_eq!(set_cookie(&reply), None);
        let reply = SignedIn::from(reply.expect(StatusCode::OK));
        assert!(!reply.refresh_token.is_empty());
    }
}

#[tokio::test]
async fn where_it_is_off_no_cookie_is_set_or_read() {
    let stack = Stack::start().await;
    let ada = stack.register(ADA).await;
    let reply = enter(&stack, "login")
        .await
        .expect_problem(422, "validation_failed");
    assert_eq!(reply.body["errors"][0]["pointer"], "#/transport");
    assert_eq!(reply.body["errors"][0]["code"], "not_enabled");
    let reply = refresh(&stack, &ada.refresh_token).await;
    assert_eq!(reply.status.as_u16(), 415, "no body, and no media type");
    let call = stack.post("/v1/auth/refresh").json(&json!({}));
    let reply = from_own_page(with_cookie(call, &ada.refresh_token))
        .send()
        .await;
    reply.expect_problem(400, "invalid_request");
    let call = with_cookie(stack.post("/v1/auth/logout"), &ada.refresh_token);
    from_own_page(call)
        .send()
        .await
        .expect_problem(400, "invalid_request");
    // Where it is on, a name that is none is refused as well.
    let stack = start().await;
    let body = json!({"email": ADA, "password": PASSWORD, "transport": "Cookie"});
    let reply = stack.post("/v1/auth/login").json(&body).send().await;
    let reply = reply.expect_problem(422, "validation_failed");
    assert_eq!(reply.body["errors"][0]["code"], "unknown");
}

fn ask<'a>(stack: &'a Stack, body: &Value) -> Call<'a> {
    from_own_page(stack.post("/v1/auth/refresh")).json(body)
}

/// A browser writes an error into its console for each status from 400 on, and a first visit is none.
#[tokio::test]
async fn a_page_that_does_not_know_asks_whether_there_is_a_cookie() {
    let stack = start().await;
    let asks = json!({"cookie_optional": true});
    let reply = ask(&stack, &asks).send().await;
    assert_eq!(reply.status, StatusCode::NO_CONTENT);
    assert_eq!((reply.bytes.len(), set_cookie(&reply)), (0, None));
    for body in [
        json!({}),
        json!({"cookie_optional": false}),
        json!({"cookie_optional": null}),
        json!({"cookie_optional": "true"}),
    ] {
        let reply = ask(&stack, &body).send().await;
        reply.expect_problem(400, "invalid_request");
    }
    // With a cookie it changes nothing.
    let token = cookie_of(&enter(&stack, "register").await);
    let reply = with_cookie(ask(&stack, &asks), &token).send().await;
    cookie_of(&reply);
    let dead = with_cookie(ask(&stack, &asks), "no.token.atall");
    let reply = dead.send().await;
    reply.expect_problem(401, "invalid_refresh_token");
    let foreign = with_cookie(stack.post("/v1/auth/refresh").json(&asks), &token);
    let foreign = foreign.header("sec-fetch-site", b"cross-site");
    let reply = foreign.send().await;
    reply.expect_problem(403, "cross_site_request");
    // Where cookies are off, nobody can say whether there is one.
    let off = Stack::start().await;
    let reply = ask(&off, &asks).send().await;
    reply.expect_problem(400, "invalid_request");
}

/// With pages, the service's own origin has cookies, whatever the setting; pages of other origins have what they had.
#[tokio::test]
async fn own_pages_have_cookies_and_other_origins_none() {
    let origins = AllowedOrigins::These(vec![HeaderValue::from_static(APP)]);
    let stack = Stack::start().await.with_own_pages(&origins);
    let page = stack.get("/account").send().await;
    assert_eq!(page.status, StatusCode::OK);
    stack
        .get("/admin")
        .send()
        .await
        .expect_problem(404, "not_found");
    // A page that asks whether somebody is signed in has neither a cookie nor a body.
    from_own_page(stack.post("/v1/auth/refresh"))
        .send()
        .await
        .expect_problem(400, "invalid_request");
    let token = cookie_of(&enter(&stack, "register").await);
    let token = cookie_of(&refresh(&stack, &token).await);
    let call = with_cookie(stack.post("/v1/auth/refresh"), &token)
        .header("sec-fetch-site", b"same-site")
        .header("origin", APP.as_bytes());
    let reply = call.send().await.expect_problem(403, "cross_site_request");
    assert_eq!(reply.headers["access-control-allow-origin"], APP);
    let allowed = reply.headers.get("access-control-allow-credentials");
    assert_eq!(allowed, None);
}

#[tokio::test]
async fn a_cookie_that_was_replaced_long_before_ends_its_session_as_a_body_does() {
    let stack = start().await;
    let old = cookie_of(&enter(&stack, "register").await);
    let new = cookie_of(&refresh(&stack, &old).await);
    stack.advance(TimeDelta::seconds(31));
    refresh(&stack, &old)
        .await
        .expect_problem(401, "refresh_token_reused");
    refresh(&stack, &new)
        .await
        .expect_problem(401, "invalid_refresh_token");
    for nothing in ["", "x", "a.b.c"] {
        refresh(&stack, nothing)
            .await
            .expect_problem(401, "invalid_refresh_token");
    }
}

#[tokio::test]
async fn no_cookie_is_logged() {
    let stack = start().await;
    let log = Log::capture();
    let first = cookie_of(&enter(&stack, "register").await);
    let second = cookie_of(&refresh(&stack, &first).await);
    with_cookie(stack.post("/v1/auth/refresh"), &second)
        .send()
        .await;
    let logout = with_cookie(stack.post("/v1/auth/logout"), &second);
    from_own_page(logout).send().await;
    refresh(&stack, &second).await;
    let log = log.end();
    assert!(log.contains("a cookie was not accepted"), "{log}");
    for token in [first, second] {
        assert!(!log.contains(token.rsplit('.').next().unwrap()));
    }
    assert!(!log.contains(REFRESH_COOKIE), "{log}");
}

/// By construction: credentials are allowed where the document says that a cookie may be set or read, and nowhere else.
#[tokio::test]
async fn credentials_are_allowed_on_the_routes_of_cookies_alone() {
    let stack = start().await;
    let mut with = 0;
    for (path, item) in conformity::document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let refused = operation["responses"]["403"].to_string();
            let uses_cookies = refused.contains("cross_site_request");
            let preflight = stack
                .request(Method::OPTIONS, path)
                .header("origin", APP.as_bytes())
                .header(
                    "access-control-request-method",
                    method.to_uppercase().as_bytes(),
                );
            let reply = preflight.send_unchecked().await;
            let credentials = reply.header("access-control-allow-credentials");
            assert_eq!(
                credentials,
                uses_cookies.then_some("true"),
                "{method} {path}"
            );
            with += usize::from(uses_cookies);
        }
    }
    assert_eq!(with, 6);
    // Without cookies there are no credentials anywhere, and for another origin nothing is allowed.
    for (cookies, origin) in [(false, APP), (true, "https://evil.example")] {
        let origins = AllowedOrigins::These(vec![HeaderValue::from_static(APP)]);
        let stack = Stack::with(latchkey_domain::policy::SessionPolicy::default(), &origins).await;
        let stack = if cookies {
            stack.with_cookies(&origins)
        } else {
            stack
        };
        let preflight = stack
            .request(Method::OPTIONS, "/v1/auth/refresh")
            .header("origin", origin.as_bytes())
            .header("access-control-request-method", b"POST");
        let reply = preflight.send_unchecked().await;
        let allowed = reply.header("access-control-allow-origin");
        let credentials = reply.header("access-control-allow-credentials");
        if cookies {
            assert_eq!(allowed, None, "without it nothing else counts");
        } else {
            assert_eq!((allowed, credentials), (Some(APP), None));
        }
    }
}
