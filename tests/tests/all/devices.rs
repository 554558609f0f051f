use std::net::IpAddr;

use http::{Method, StatusCode};
use latchkey_tests::stack::{PASSWORD, Stack};
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
    for unknown in [
        "device_name",
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
    assert_eq!(reply["session"]["user_agent"].as_str().unwrap().len(), 512);
    assert_eq!(reply["session"]["device_id"].as_str().unwrap().len(), 255);
    let call = stack
        .post("/v1/auth/login")
        .json(&body)
        .header("user-agent", b"caf\xe9 \xff");
    assert_eq!(
        call.send().await.status,
        StatusCode::OK,
        "a header need not be UTF-8"
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
