//! The service behind CloudFront: nobody comes past it, and what it says of a client is accepted, from nobody else.

use std::net::IpAddr;

use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_api::edge::EdgeSecret;
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::log::Log;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{PASSWORD, Stack};
use serde_json::{Value, json};

const SECRET: &str = "the-edge-shows-this-value-0123456789";
const NEXT: &str = "and-this-one-while-it-is-replaced-0123";

const HEADER: &str = "x-latchkey-edge";

async fn behind(secret: &str) -> Stack {
    Stack::start()
        .await
        .behind(&EdgeSecret::parse(secret).unwrap())
}

fn through<'a>(call: Call<'a>, address: &str, city: &str, country: &str) -> Call<'a> {
    call.header(HEADER, SECRET.as_bytes())
        .header("cloudfront-viewer-address", address.as_bytes())
        .header("cloudfront-viewer-city", city.as_bytes())
        .header("cloudfront-viewer-country", country.as_bytes())
}

fn place(session: &Value) -> [&Value; 3] {
    [
        &session["ip_address"],
        &session["location_city"],
        &session["location_country"],
    ]
}

#[tokio::test]
async fn what_comes_past_the_edge_is_refused_on_every_route() {
    let stack = behind(SECRET).await;
    let log = Log::capture();
    let wrong = SECRET.replace('9', "8");
    for (method, path) in [
        (Method::POST, "/v1/auth/register"),
        (Method::POST, "/v1/auth/login"),
        (Method::POST, "/v1/auth/refresh"),
        (Method::GET, "/v1/sessions"),
        (Method::GET, "/v1/me"),
        (Method::GET, "/.well-known/jwks.json"),
        (Method::GET, "/.well-known/oauth-authorization-server"),
        (Method::GET, "/.well-known/openid-configuration"),
        (Method::GET, "/openapi.json"),
        (Method::GET, "/docs"),
        (Method::GET, "/account"),
        (Method::GET, "/admin"),
        (Method::GET, "/v1/nothing"),
        (Method::DELETE, "/v1/auth/login"),
        (Method::OPTIONS, "/v1/me"),
    ] {
        let call = || stack.request(method.clone(), path);
        for call in [
            call(),
            call().header(HEADER, b""),
            call().header(HEADER, wrong.as_bytes()),
            call().header(HEADER, &SECRET.as_bytes()[1..]),
            call()
                .header(HEADER, SECRET.as_bytes())
                .header(HEADER, wrong.as_bytes()),
            call().header(HEADER, format!("{SECRET},{SECRET}").as_bytes()),
        ] {
            let reply = call.send().await.expect_problem(403, "edge_required");
            assert_eq!(
                reply.body["request_id"],
                reply.header("x-request-id").unwrap()
            );
            assert!(!reply.body.to_string().contains(HEADER));
        }
    }
    assert_eq!(stack.items().await, Vec::<Value>::new());
    let get = stack.get("/v1/nothing").header(HEADER, SECRET.as_bytes());
    get.send().await.expect_problem(404, "not_found");
    let log = log.end();
    assert!(log.contains("edge_required"));
    assert!(!log.contains(SECRET) && !log.contains(&wrong), "{log}");
}

#[tokio::test]
async fn the_secret_of_the_edge_can_be_replaced() {
    let stack = behind(&format!("{SECRET},{NEXT}")).await;
    for value in [SECRET, NEXT] {
        let call = stack.get("/v1/me").header(HEADER, value.as_bytes());
        call.send().await.expect_problem(401, "invalid_token");
    }
}

#[tokio::test]
async fn a_session_tells_where_its_client_is_and_where_it_was_last() {
    let stack = behind(SECRET).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let call = stack.post("/v1/auth/register").json(&body);
    let reply = through(call, "198.51.100.10:46532", "Montr%C3%A9al", "CA");
    let ada = SignedIn::from(reply.send().await.expect(StatusCode::CREATED));
    let montreal = [json!("198.51.100.10"), json!("Montréal"), json!("CA")];
    assert_eq!(place(&ada.body["session"]), montreal.each_ref());
    let call = stack.post("/v1/auth/login").json(&body);
    let reply = through(call, "2001:db8::7:443", "Chennai", "IN");
    let two = SignedIn::from(reply.send().await.expect(StatusCode::OK));
    let chennai = [json!("2001:db8::7"), json!("Chennai"), json!("IN")];
    assert_eq!(place(&two.body["session"]), chennai.each_ref());

    let list = stack.get("/v1/sessions").bearer(&ada.access_token);
    let list = list.header(HEADER, SECRET.as_bytes()).send().await;
    let list = list.expect(StatusCode::OK);
    let places: Vec<[&Value; 3]> = ["0", "1"]
        .map(|at| place(&list["sessions"][at.parse::<usize>().unwrap()]))
        .to_vec();
    assert!(places.contains(&montreal.each_ref()) && places.contains(&chennai.each_ref()));

    // It moves with each refresh, and what is not known of the new place is not kept of the old one.
    let mut token = two.refresh_token;
    for (address, city, country, expected) in [
        (
            "203.0.113.9:1",
            "Buenos%20Aires",
            "ar",
            [json!("203.0.113.9"), json!("Buenos Aires"), json!("AR")],
        ),
        (
            "203.0.113.9:2",
            "",
            "AR",
            [json!("203.0.113.9"), json!(null), json!("AR")],
        ),
        (
            "nonsense",
            "%ff",
            "Argentina",
            [json!(null), json!(null), json!(null)],
        ),
        (
            "203.0.113.9:3",
            "C%C3%B3rdoba",
            "",
            [json!("203.0.113.9"), json!("Córdoba"), json!(null)],
        ),
    ] {
        stack.advance(TimeDelta::minutes(1));
        drop(stack.recorder.take());
        let call = stack
            .post("/v1/auth/refresh")
            .json(&json!({"refresh_token": token}));
        let reply = through(call, address, city, country).send().await;
        let cost = stack.recorder.take_cost();
        assert_eq!(
            (cost.trips, cost.write_units, cost.read_units),
            (1, 1.0, 1.0)
        );
        let body = reply.expect(StatusCode::OK);
        assert_eq!(place(&body["session"]), expected.each_ref());
        let current = stack
            .get("/v1/sessions/current")
            .header(HEADER, SECRET.as_bytes());
        let current = current
            .bearer(body["access_token"].as_str().unwrap())
            .send()
            .await;
        assert_eq!(place(&current.expect(StatusCode::OK)), expected.each_ref());
        token = body["refresh_token"].as_str().unwrap().to_owned();
    }
    let change =
        json!({"current_password": PASSWORD, "new_password": "wrong donkey charger paperclip"});
    let call = stack
        .request(Method::PUT, "/v1/me/password")
        .bearer(&ada.access_token);
    let reply = through(call.json(&change), "192.0.2.1:5", "Oslo", "NO")
        .send()
        .await;
    let session = &reply.expect(StatusCode::OK)["session"];
    assert_eq!(
        place(session),
        [json!("192.0.2.1"), json!("Oslo"), json!("NO")].each_ref()
    );
}

#[tokio::test]
async fn a_place_keeps_a_usual_session_under_one_kilobyte() {
    let stack = behind(SECRET).await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "device_name": "The laptop in the kitchen"});
    let call = stack.post("/v1/auth/register").json(&body);
    let call = call
        .user_agent(latchkey_tests::harness::stack::CHROME)
        .header("x-device-id", b"0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11");
    let reply = through(
        call,
        "2001:db8:85a3:1111:2222:8a2e:370:7334:46532",
        &"%E6%9D%B1".repeat(200),
        "JP",
    );
    reply.send().await.expect(StatusCode::CREATED);
    let items = stack.items().await;
    let session = items.iter().find(|item| item["city"].is_string()).unwrap();
    assert_eq!(session["city"].as_str().unwrap().chars().count(), 16);
    assert!(session.to_string().len() < 1024, "{session}");
}

#[tokio::test]
async fn without_an_edge_its_headers_are_worth_nothing() {
    let stack = Stack::start().await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let address: IpAddr = "2001:db8::7".parse().unwrap();
    let call = stack
        .post("/v1/auth/register")
        .json(&body)
        .from_address(address);
    let reply = through(call, "198.51.100.10:46532", "Montr%C3%A9al", "CA");
    let reply = reply.send().await.expect(StatusCode::CREATED);
    assert_eq!(
        place(&reply["session"]),
        [json!("2001:db8::7"), json!(null), json!(null)].each_ref()
    );
}
