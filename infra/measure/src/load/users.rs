//! Users of the service, each with the sessions that they have begun.

use http::{Method, StatusCode};
use latchkey_domain::id::UserId;
use latchkey_domain::random::SystemRandom;
use serde_json::{Value, json};

use crate::load::client::{Api, Call};
use crate::load::phase::Turn;

const PASSWORD: &str = "correct horse battery staple";

/// A user, and the sessions of that user that are live.
#[derive(Debug)]
pub(crate) struct User {
    email: String,
    session: SignedIn,
    others: Vec<SignedIn>,
}

#[derive(Debug)]
struct SignedIn {
    session_id: String,
    access_token: String,
    refresh_token: String,
}

impl SignedIn {
    fn read(body: &Value) -> Option<Self> {
        let text = |pointer| Some(body.pointer(pointer)?.as_str()?.to_owned());
        Some(Self {
            session_id: text("/session/id")?,
            access_token: text("/access_token")?,
            refresh_token: text("/refresh_token")?,
        })
    }
}

impl User {
    /// Registers somebody new.
    pub(crate) async fn register(api: &Api, turn: &Turn) -> Option<Self> {
        let email = format!("{}@example.com", UserId::random(&SystemRandom));
        let body = json!({"email": email, "password": PASSWORD});
        let call = Call::post("/v1/auth/register", body);
        let reply = turn.send(api, call, &[StatusCode::CREATED]).await?;
        Some(Self {
            email,
            session: SignedIn::read(&reply.body)?,
            others: Vec::new(),
        })
    }

    /// Signs in once more.
    pub(crate) async fn sign_in(&mut self, api: &Api, turn: &Turn) {
        let body = json!({"email": self.email, "password": PASSWORD});
        let call = Call::post("/v1/auth/login", body);
        if let Some(reply) = turn.send(api, call, &[StatusCode::OK]).await {
            self.others.extend(SignedIn::read(&reply.body));
        }
    }

    /// Refreshes the first session.
    pub(crate) async fn refresh(&mut self, api: &Api, turn: &Turn) {
        let body = json!({"refresh_token": self.session.refresh_token});
        let call = Call::post("/v1/auth/refresh", body);
        if let Some(reply) = turn.send(api, call, &[StatusCode::OK]).await
            && let Some(session) = SignedIn::read(&reply.body)
        {
            self.session = session;
        }
    }

    /// Lists the live sessions.
    pub(crate) async fn list(&self, api: &Api, turn: &Turn) {
        let call = Call::new(Method::GET, "/v1/sessions").bearer(&self.session.access_token);
        turn.send(api, call, &[StatusCode::OK]).await;
    }

    /// Ends one of the other sessions.
    pub(crate) async fn revoke(&mut self, api: &Api, turn: &Turn) {
        if let Some(other) = self.others.pop() {
            let path = format!("/v1/sessions/{}", other.session_id);
            let call = Call::new(Method::DELETE, path).bearer(&self.session.access_token);
            turn.send(api, call, &[StatusCode::NO_CONTENT]).await;
        }
    }

    /// Ends all other sessions.
    pub(crate) async fn revoke_all_others(&mut self, api: &Api, turn: &Turn) {
        let path = "/v1/sessions/revoke-all";
        let call = Call::new(Method::POST, path).bearer(&self.session.access_token);
        turn.send(api, call, &[StatusCode::OK]).await;
        self.others.clear();
    }

    /// Tries to sign in with a wrong password: all of a sign-in's work but the last write. Says whether the reply was
    /// a 503.
    pub(crate) async fn guess(&self, api: &Api, turn: &Turn) -> bool {
        let body = json!({"email": self.email, "password": "incorrect horse battery staple"});
        let call = Call::post("/v1/auth/login", body);
        let expected = [StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE];
        let reply = turn.send(api, call, &expected).await;
        reply.is_some_and(|reply| reply.status == StatusCode::SERVICE_UNAVAILABLE)
    }
}
