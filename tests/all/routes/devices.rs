use std::collections::HashMap;
use std::net::IpAddr;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use http::{Method, StatusCode};
use latchkey_api::edge::EdgeSecret;
use latchkey_domain::identity::MAX_METHODS_BYTES;
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::reply::SignedIn;
use latchkey_tests::harness::stack::{CHROME, PASSWORD, Stack, TABLE};
use serde_json::json;

#[tokio::test]
async fn a_session_tells_what_it_runs_on() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let iphone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                  Version/18.5 Mobile/15E148 Safari/604.1";
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let login = || stack.post("/v1/auth/login").json(&body);
    let reply = login()
        .user_agent(iphone)
        .header("x-device-id", b"c0ffee")
        .send()
        .await
        .expect(StatusCode::OK);
    let session = &reply["session"];
    assert_eq!(session["device_name"], "Safari on iPhone");
    assert_eq!(session["device_type"], "mobile");
    assert_eq!(session["device_id"], "c0ffee");
    assert_eq!(session["user_agent"], iphone);
    let reply = login().send().await.expect(StatusCode::OK);
    assert_eq!(reply["session"]["device_name"], "Unknown device");
    for unknown in [
        "device_id",
        "user_agent",
        "name",
        "location_city",
        "location_country",
    ] {
        assert_eq!(reply["session"][unknown], json!(null), "{unknown}");
    }
    assert_eq!(reply["session"]["device_type"], "unknown");
}

#[tokio::test]
async fn client_hints_know_browsers_that_say_they_are_chrome() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let login = || {
        let login = stack.post("/v1/auth/login").json(&body).user_agent(CHROME);
        login
            .header("sec-ch-ua-mobile", b"?0")
            .header("sec-ch-ua-platform", b"\"Windows\"")
    };
    let brave = br#""Not/A)Brand";v="8", "Chromium";v="126", "Brave";v="126""#;
    let reply = login().header("sec-ch-ua", brave).send().await;
    let session = &reply.expect(StatusCode::OK)["session"];
    assert_eq!(session["device_name"], "Brave on Windows");
    assert_eq!(session["device_type"], "desktop");
    let in_two_lines = login()
        .header("sec-ch-ua", br#""Chromium";v="126""#)
        .header("sec-ch-ua", br#""Opera";v="112""#);
    let reply = in_two_lines.send().await.expect(StatusCode::OK);
    assert_eq!(reply["session"]["device_name"], "Opera on Windows");
    let not_well_formed = login().header("sec-ch-ua", b"\"Brave\xff;;;\"=,\"");
    let reply = not_well_formed.send().await.expect(StatusCode::OK);
    assert_eq!(reply["session"]["device_name"], "Chrome on Windows");
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_cut_to_its_limits() {
    let stack = Stack::start().await;
    stack.register("ada@example.com").await;
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let long = "x".repeat(5_000);
    let call = stack
        .post("/v1/auth/login")
        .json(&body)
        .user_agent(&long)
        .header("x-device-id", long.as_bytes());
    let reply = call.send().await.expect(StatusCode::OK);
    let length = |field: &str| reply["session"][field].as_str().unwrap().len();
    assert_eq!((length("device_id"), length("user_agent")), (64, 228 - 64));
    let call = stack
        .post("/v1/auth/login")
        .json(&body)
        .header("user-agent", b"caf\xe9 \xff");
    assert_eq!(
        call.send().await.status,
        StatusCode::OK,
        "a header need not be UTF-8"
    );
    let name = "é".repeat(100);
    let body = json!({"email": "ada@example.com", "password": PASSWORD, "device_name": name});
    let reply = stack.post("/v1/auth/login").json(&body).send().await;
    let reply = reply.expect(StatusCode::OK);
    assert_eq!(
        reply["session"]["device_name"],
        "é".repeat(50),
        "a sign-in does not fail for a name in another script"
    );
}

#[tokio::test]
async fn names_that_show_nothing_or_turn_the_text_around_them_are_refused() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let path = format!("/v1/sessions/{}", ada.session_id);
    let before = stack.items().await;
    for (name, code) in [
        ("\u{200b}", "invisible"),
        ("\u{3164}", "invisible"),
        ("\u{e0041}", "invisible"),
        ("\u{feff}", "control_character"),
        ("Chrome\u{2028}on Windows", "control_character"),
        ("\u{202e}", "direction_mark"),
        ("Chrome on Windows\u{202e}", "direction_mark"),
        ("Chrome on Windows\u{200f}", "direction_mark"),
        ("\u{3000}", "too_short"),
    ] {
        let renamed = stack
            .request(Method::PATCH, &path)
            .bearer(&ada.access_token);
        let renamed = renamed.json(&json!({"name": name})).send().await;
        let login = json!({"email": "ada@example.com", "password": PASSWORD, "device_name": name});
        let signed_in = stack.post("/v1/auth/login").json(&login).send().await;
        for (reply, pointer) in [(renamed, "#/name"), (signed_in, "#/device_name")] {
            let reply = reply.expect_problem(422, "validation_failed");
            assert_eq!(reply.body["errors"][0]["pointer"], pointer, "{name:?}");
            assert_eq!(reply.body["errors"][0]["code"], code, "{name:?}");
        }
    }
    assert_eq!(stack.items().await, before);
    for name in ["👩\u{200d}💻 \u{2764}\u{fe0f}", "مطبخ", "x"] {
        let renamed = stack
            .request(Method::PATCH, &path)
            .bearer(&ada.access_token);
        let renamed = renamed.json(&json!({"name": name})).send().await;
        assert_eq!(renamed.expect(StatusCode::OK)["name"], name);
    }
}

const EDGE_SECRET: &str = "the-edge-shows-this-value-0123456789";

/// A request that came through the edge from the longest address and the longest city.
fn seen(call: Call<'_>) -> Call<'_> {
    let address = b"2001:db8:1111:2222:3333:4444:5555:6666:46532";
    let city = "%F0%9F%98%80".repeat(64);
    call.header("x-latchkey-edge", EDGE_SECRET.as_bytes())
        .header("cloudfront-viewer-address", address)
        .header("cloudfront-viewer-city", city.as_bytes())
        .header("cloudfront-viewer-country", b"CA")
        .header("cloudfront-viewer-latitude", b"-89.99")
        .header("cloudfront-viewer-longitude", b"-179.99")
}

/// The size of an item by DynamoDB's rule: names and values in UTF-8, a number in half as many bytes as it has digits
/// and one more. (Developer guide, "DynamoDB item sizes and formats".)
fn size(item: &HashMap<String, AttributeValue>) -> usize {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number.len().div_ceil(2) + 1,
        other => panic!("a session has no {other:?}"),
    };
    item.iter()
        .map(|(name, held)| name.len() + value(held))
        .sum()
}

#[tokio::test]
async fn a_session_item_stays_below_1_kb_whatever_a_client_sends() {
    // The two marks of a sign-in, which no session here has both of, and 3 bytes for what comes later.
    const KEPT_FREE: usize = "new_device".len() + 1 + "unusual".len() + 1 + 3;
    // A session that was started for somebody who signed in elsewhere may have all of this too.
    const METHODS: usize = "amr".len() + MAX_METHODS_BYTES;
    let edge = EdgeSecret::parse(EDGE_SECRET).unwrap();
    let stack = Stack::start().await.behind(&edge);
    let mut largest = 0;
    // A character of 1, 2, 3 and 4 bytes, and the longest name of it that is accepted.
    for (number, (c, longest)) in [("x", 100), ("é", 100), ("日", 66), ("😀", 50)]
        .into_iter()
        .enumerate()
    {
        let email = format!("ada{number}@example.com");
        let long = c.repeat(1_500);
        let device_name = c.repeat(100);
        let body = json!({"email": email, "password": PASSWORD, "device_name": device_name});
        let call = stack
            .post("/v1/auth/register")
            .json(&body)
            .user_agent(&long);
        let call = seen(call.header("x-device-id", long.as_bytes()));
        let ada = SignedIn::from(call.send().await.expect(StatusCode::CREATED));
        let path = format!("/v1/sessions/{}", ada.session_id);
        let rename = |times: usize| {
            let call = stack
                .request(Method::PATCH, &path)
                .bearer(&ada.access_token);
            seen(call.json(&json!({"name": c.repeat(times)})))
        };
        rename(longest).send().await.expect(StatusCode::OK);
        let reply = rename(longest + 1).send().await;
        let reply = reply.expect_problem(422, "validation_failed");
        assert_eq!(reply.body["errors"][0]["code"], "too_long");
        stack.advance(TimeDelta::minutes(1));
        let refresh = json!({"refresh_token": ada.refresh_token});
        let call = seen(stack.post("/v1/auth/refresh").json(&refresh));
        call.send().await.expect(StatusCode::OK);

        let key = AttributeValue::S(format!("SESSION#{}", ada.session_id));
        let items = stack.client.scan().table_name(TABLE).send().await.unwrap();
        let mut items = items.items().iter();
        let item = items.find(|item| item.get("sk") == Some(&key)).unwrap();
        assert!(item.contains_key("degrees") && !item.contains_key("new_device"));
        assert!(item.contains_key("city") && item.contains_key("created_ip_address"));
        assert!(item.contains_key("user_agent") && item.contains_key("device_id"));
        largest = largest.max(size(item));
    }
    assert!(largest + METHODS + KEPT_FREE < 1_024, "{largest} bytes");
    assert!(
        largest > 850,
        "the input was not the worst: {largest} bytes"
    );
}

#[tokio::test]
async fn the_address_is_that_of_the_connection_whatever_headers_say() {
    let stack = Stack::start().await;
    let ada = stack.register("ada@example.com").await;
    let body = json!({"refresh_token": ada.refresh_token});
    let address: IpAddr = "2001:db8::7".parse().unwrap();
    let mut call = stack
        .post("/v1/auth/refresh")
        .json(&body)
        .from_address(address);
    for header in [
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "cf-connecting-ip",
        "true-client-ip",
    ] {
        call = call.header(header, b"198.51.100.1");
    }
    let reply = call.send().await.expect(StatusCode::OK);
    assert_eq!(reply["session"]["ip_address"], "2001:db8::7");
}
