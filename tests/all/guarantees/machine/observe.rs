//! What can be seen of the service, in the words of the model.

use chrono::{DateTime, Utc};
use latchkey_domain::account::AccountStatus;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::token::{Scope, Token};
use latchkey_tests::harness::reply::Reply;
use latchkey_tests::proof::model::{AccessToken, Answer, Outcome, RefreshToken, Shown, Status};
use proptest::prelude::*;
use serde_json::Value;

use super::{Machine, Verdict};

impl Machine {
    /// Holds everything that can be seen against the model.
    pub(super) async fn look_around(&self) -> Verdict {
        let mut users: Vec<UserId> = self.access.iter().map(|(_, token)| token.sub).collect();
        users.sort_unstable();
        users.dedup();
        for user in users {
            self.look_at(user).await?;
        }
        Ok(())
    }

    async fn look_at(&self, user: UserId) -> Verdict {
        let partition = self
            .stack
            .store
            .read_partition(user, self.stack.now())
            .await
            .unwrap();
        let kept = partition.sessions.iter();
        let kept: Vec<_> = kept.map(|one| (one.id, one.rotation)).collect();
        let expected = self.model.sessions.values().filter(|one| one.user == user);
        let expected: Vec<_> = expected.map(|one| (one.id, one.rotation)).collect();
        prop_assert_eq!(expected, kept, "the items of {}", user);
        let status = self.model.accounts.get(&user).map(|one| one.status);
        let seen = partition.account.map(|account| match account.status {
            AccountStatus::Active { .. } => Status::Active,
            AccountStatus::Disabled { .. } => Status::Disabled,
            AccountStatus::Deleted { delete_after } => {
                Status::Deleted(delete_after.timestamp_millis())
            }
        });
        prop_assert_eq!(status, seen, "the account of {}", user);

        // The newest live session sees all live ones, and an ended one nothing, each in its turn.
        let mut ended = Vec::new();
        let mut observers = Vec::new();
        for session in &partition.sessions {
            let modelled = &self.model.sessions[&session.id];
            let random = self.stack.core.random.as_ref();
            let policy = &self.stack.core.policy;
            let issue = || {
                let tokens = &self.stack.core.tokens;
                tokens.issue(
                    session,
                    Scope::own_account(),
                    self.stack.now(),
                    policy,
                    random,
                )
            };
            if self.model.now >= modelled.end() {
                continue; // No access token outlives its session.
            }
            let token = issue().await.unwrap().access_token;
            match self.model.is_live(modelled) {
                true => observers.push((session.id, token)),
                false => ended.push((session.id, token)),
            }
        }
        for among in [observers, ended] {
            if let Some((sid, token)) = among.get(self.steps % among.len().max(1)) {
                self.look_with(user, *sid, token).await?;
            }
        }
        Ok(())
    }

    async fn look_with(&self, user: UserId, sid: SessionId, token: &Token) -> Verdict {
        let claims = AccessToken {
            sub: user,
            sid,
            iat: 0,
            exp: i64::MAX,
            auth_time: 0,
        };
        for (path, expected) in [
            ("/v1/sessions", self.model.list(&claims)),
            ("/v1/sessions/current", self.model.current(&claims)),
            ("/v1/me", self.model.me(&claims)),
        ] {
            let reply = self.stack.get(path).bearer(token.expose()).send().await;
            prop_assert_eq!(expected, observed(&reply), "{} as {} sees it", path, sid);
        }
        Ok(())
    }
}

/// A reply in the words of the model.
pub(super) fn observed(reply: &Reply) -> Outcome {
    let (status, body) = (reply.status.as_u16(), &reply.body);
    if status >= 400 {
        return Err((status, reply.code().to_owned()));
    }
    Ok(if !body["access_token"].is_null() {
        let access = claims(&body["access_token"]);
        let refresh = claims(&body["refresh_token"]);
        let lineage = refresh["jti"].as_str().and_then(|jti| jti.split_once('.'));
        let (lineage, rotation) = lineage.unwrap();
        assert_eq!(lineage, refresh["sid"], "the lineage is the session's");
        Answer::Tokens {
            status,
            access: AccessToken {
                sub: parsed(&access["sub"]),
                sid: parsed(&access["sid"]),
                iat: access["iat"].as_i64().unwrap(),
                exp: access["exp"].as_i64().unwrap(),
                auth_time: access["auth_time"].as_i64().unwrap(),
            },
            expires_in: body["expires_in"].as_i64().unwrap(),
            refresh: RefreshToken {
                sub: parsed(&refresh["sub"]),
                sid: parsed(&refresh["sid"]),
                rotation: rotation.parse().unwrap(),
                iat: refresh["iat"].as_i64().unwrap(),
                exp: refresh["exp"].as_i64().unwrap(),
            },
            refresh_expires_in: body["refresh_expires_in"].as_i64().unwrap(),
            session: shown(&body["session"]),
            user: body.get("user").map(user),
        }
    } else if let Some(sessions) = body["sessions"].as_array() {
        assert_eq!(body["total"], sessions.len(), "the total is the length");
        Answer::Sessions(sessions.iter().map(shown).collect())
    } else if !body["is_current"].is_null() {
        Answer::Session(shown(body))
    } else if !body["email"].is_null() {
        let (id, email, created_at) = user(body);
        Answer::User(id, email, created_at)
    } else if let Some(count) = body["revoked"].as_u64().or(body["removed"].as_u64()) {
        Answer::Count(count.try_into().unwrap())
    } else {
        assert_eq!((status, reply.bytes.len()), (204, 0), "nothing");
        Answer::Nothing
    })
}

fn shown(session: &Value) -> Shown {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Shown {
        id: parsed(&session["id"]),
        name: text(&session["name"]),
        device_name: text(&session["device_name"]).unwrap(),
        ip_address: text(&session["ip_address"]).unwrap(),
        created_at: time(&session["created_at"]),
        last_used_at: time(&session["last_used_at"]),
        expires_at: time(&session["expires_at"]),
        is_current: session["is_current"].as_bool().unwrap(),
    }
}

fn user(user: &Value) -> (UserId, String, i64) {
    let email = user["email"].as_str().unwrap().to_owned();
    (parsed(&user["id"]), email, time(&user["created_at"]))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &Value) -> T {
    text.as_str().unwrap().parse().unwrap()
}

fn time(text: &Value) -> i64 {
    parsed::<DateTime<Utc>>(text).timestamp_millis()
}

/// What a token says, unverified.
fn claims(token: &Value) -> Value {
    use base64::Engine as _;
    let payload = token.as_str().and_then(|token| token.split('.').nth(1));
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload.unwrap());
    serde_json::from_slice(&payload.unwrap()).unwrap()
}
