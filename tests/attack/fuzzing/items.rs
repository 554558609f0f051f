//! Bytes as items of the table.

use crate::attack::faults::{self};
use crate::harness::conformity;
use http::Method;
use latchkey_domain::email::EmailAddress;
use serde_json::{Value, json};

use super::{World, with_world};

/// An item of the table with attributes of any value, as a mistake or another version of this service may leave them. The
/// first byte says which item; the rest is JSON, an object of attributes as DynamoDB writes them, null for one to leave
/// out. Every reply is right or the documented 500; the store's own answers are right or say that the item is broken.
pub(super) fn items(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let Ok(Value::Object(changes)) = serde_json::from_slice(rest) else {
        return;
    };
    with_world(async |world| {
        let mut item = world.items[usize::from(*choice) % world.items.len()].clone();
        let Some(attributes) = item.as_object_mut() else {
            return;
        };
        for (name, value) in changes {
            match value {
                _ if name == "pk" || name == "sk" => {}
                Value::Null => drop(attributes.remove(&name)),
                value => drop(attributes.insert(name, value)),
            }
        }
        if !faults::put_raw(&world.stack, &item) {
            return;
        }
        read_all(world).await;
        call_all(world).await;
        // What was written to the broken item is put right.
        faults::restore(&world.stack, &world.items);
    });
}

async fn read_all(world: &World) {
    let (stack, store) = (&world.stack, &world.stack.store);
    let now = stack.now();
    let email = EmailAddress::parse("ada@example.com").expect("an address");
    let Some(user) = world.ada.user_id else {
        return;
    };
    if let Ok(Some(account)) = store.read_account(user).await {
        assert_eq!(account.id, user, "whose partition it is in");
    }
    for id in [world.ada.session_id, world.phone.session_id] {
        if let Ok(Some(session)) = store.read_session(user, id).await {
            assert_eq!(
                (session.id, session.user_id),
                (id, user),
                "what its key says"
            );
        }
    }
    drop(store.read_partition(user, now).await);
    drop(store.read_credential(&email).await);
    let budget = cleanup::Budget::until(now + chrono::TimeDelta::minutes(10));
    let clock = stack.core.clock.as_ref();
    drop(cleanup::run(store, clock, budget).await);
}

/// Somebody who signs in elsewhere.
pub(super) fn grace() -> Value {
    json!({"identity": {"issuer": "https://idp.example.com", "subject": "grace"}, "amr": ["otp"]})
}

async fn call_all(world: &World) {
    let bearer = &world.ada.access_token;
    let stack = &world.stack;
    let id = world.phone.session_id;
    let session = format!("/v1/sessions/{id}");
    let refresh = json!({"refresh_token": world.phone.refresh_token});
    let credentials = json!({"email": "ada@example.com", "password": "not the password"});
    let no_body = Value::Null;
    let name = json!({"name": "Kitchen"});
    for (method, path, body) in [
        (Method::GET, "/v1/sessions", &no_body),
        (Method::GET, "/v1/sessions/current", &no_body),
        (Method::GET, "/v1/me", &no_body),
        (Method::PATCH, session.as_str(), &name),
        (Method::POST, "/v1/auth/refresh", &refresh),
        (Method::POST, "/v1/auth/login", &credentials),
        (Method::POST, "/v1/auth/reauthenticate", &credentials),
        (Method::DELETE, "/v1/sessions/expired", &no_body),
        (Method::POST, "/v1/me/delete", &credentials),
        (Method::DELETE, session.as_str(), &no_body),
        (Method::POST, "/v1/auth/logout", &refresh),
        (Method::POST, "/v1/sessions/revoke-all", &no_body),
    ] {
        let mut call = stack.request(method.clone(), path).bearer(bearer);
        if !body.is_null() {
            call = call.json(body);
        }
        let reply = call.send_unchecked().await;
        conformity::check_form(&method, path, &reply);
        let status = reply.status.as_u16();
        assert!(status <= 500, "{method} {path}: {status} {}", reply.body);
    }
    let path = "/v1/service/sessions";
    let call = stack.post(path).json(&grace());
    let call = call.header("authorization", world.client.as_bytes());
    let reply = call.send_unchecked().await;
    conformity::check_form(&Method::POST, path, &reply);
    assert!(reply.status.as_u16() <= 503, "{path}: {}", reply.body);
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let token = [("token", world.phone.refresh_token.as_str())];
        let call = stack.post(path).form(&token);
        let call = call.header("authorization", world.client.as_bytes());
        let reply = call.send_unchecked().await;
        conformity::check_form(&Method::POST, path, &reply);
        let status = reply.status.as_u16();
        assert!(status <= 500, "{path}: {status} {}", reply.body);
    }
}

pub(super) fn item_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    with_world(async |world| {
        for (place, item) in (0_u8..).zip(&world.items) {
            seeds.push([&[place], item.to_string().as_bytes()].concat());
            let Some(attributes) = item.as_object() else {
                continue;
            };
            for (name, value) in attributes {
                let extreme = if value.get("N").is_some() {
                    json!({"N": "8210266876799999"}) // the last millisecond that chrono knows
                } else {
                    json!({"S": ""})
                };
                let another = json!({"S": "00000000-0000-4000-8000-000000000000"});
                for value in [extreme, another, Value::Null] {
                    let change = json!({name: value}).to_string();
                    seeds.push([&[place], change.as_bytes()].concat());
                }
            }
        }
    });
    seeds
}
