//! Bytes as tokens, and tokens whose parts are changed and signed again.

use crate::attack::forgery::Kind;
use http::{Method, StatusCode};
use serde_json::json;

use super::with_world;

/// A route that wants an access token, and one that wants a refresh token: the token as it is.
pub(super) fn tokens(data: &[u8]) {
    with_world(async |world| {
        let bearer = [b"Bearer ", data].concat();
        let get = Method::GET;
        let headers = [("authorization", &bearer[..])];
        if let Some(reply) = world.send(&get, "/v1/sessions", &headers, None).await {
            let genuine = [&world.ada, &world.phone].map(|one| one.access_token.as_bytes());
            let is_genuine = genuine.contains(&data.trim_ascii());
            // The clock stands still here, so whoever has asked often has to wait in the end. The limit is counted for
            // the caller, so the token has been verified then too.
            let waits = reply.status == StatusCode::TOO_MANY_REQUESTS;
            let is_accepted = reply.status.is_success() || waits;
            assert_eq!(is_accepted, is_genuine, "answered {}", reply.status);
        }
        let Ok(text) = std::str::from_utf8(data) else {
            return;
        };
        let genuine = [&world.ada, &world.phone].map(|one| one.refresh_token.as_str());
        let body = json!({"refresh_token": text}).to_string();
        for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
            let body = Some(("application/json", body.as_bytes()));
            let reply = world.send(&Method::POST, path, &[], body).await;
            if path.ends_with("refresh") && reply.is_some_and(|reply| reply.status.is_success()) {
                assert!(genuine.contains(&text), "a forgery passed");
            }
        }
    });
}

pub(super) fn token_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    with_world(async |world| {
        for who in [&world.ada, &world.phone] {
            seeds.push(who.access_token.clone().into_bytes());
            seeds.push(who.refresh_token.clone().into_bytes());
        }
    });
    seeds.push(b"eyJhbGciOiJub25lIn0.e30.".to_vec());
    seeds
}

/// Header and claims, divided by a zero byte, under a good signature: what is behind the signature is reached. An empty
/// header is the genuine one. The first byte says which kind.
pub(super) fn signed_tokens(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let kind = [Kind::Access, Kind::Refresh][usize::from(kind & 1)];
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let (header, claims) = (parts.next(), parts.next());
    let (header, claims) = (header.unwrap_or_default(), claims.unwrap_or_default());
    with_world(async |world| {
        let genuine = match kind {
            Kind::Access => &world.ada.access_token,
            Kind::Refresh => &world.ada.refresh_token,
        };
        let own = crate::attack::forgery::read_part(genuine, 0).to_string();
        let header = if header.is_empty() {
            own.as_bytes()
        } else {
            header
        };
        let token = world.forger.sign(kind, header, claims);
        match kind {
            Kind::Access => {
                let bearer = format!("Bearer {token}").into_bytes();
                let headers = [("authorization", &bearer[..])];
                for (method, path) in [(Method::GET, "/v1/sessions"), (Method::GET, "/v1/me")] {
                    world.send(&method, path, &headers, None).await;
                }
                let path = format!("/v1/sessions/{}", world.phone.session_id);
                world.send(&Method::DELETE, &path, &headers, None).await;
            }
            Kind::Refresh => {
                let body = json!({"refresh_token": token}).to_string();
                let body = Some(("application/json", body.as_bytes()));
                for path in ["/v1/auth/refresh", "/v1/auth/logout"] {
                    world.send(&Method::POST, path, &[], body).await;
                }
            }
        }
    });
}

pub(super) fn signed_token_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    with_world(async |world| {
        for (kind, token) in [(0, &world.ada.access_token), (1, &world.ada.refresh_token)] {
            let [header, claims] =
                [0, 1].map(|place| crate::attack::forgery::read_part(token, place).to_string());
            for header in ["", &header] {
                let seed = [&[kind], header.as_bytes(), b"\0", claims.as_bytes()];
                seeds.push(seed.concat());
            }
            let ahead = claims.replace(".0\"", ".18446744073709551615\"");
            seeds.push([&[kind], &b"\0"[..], ahead.as_bytes()].concat());
        }
    });
    seeds
}
