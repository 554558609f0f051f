//! What every function works with.

use std::sync::Arc;

use axum::extract::FromRef;
use chrono::{DateTime, Utc};
use latchkey_domain::clock::Clock;
use latchkey_domain::password::PasswordPolicy;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::RandomSource;
use latchkey_domain::session::Session;

use crate::password_workers::Passwords;
use crate::problem::Problem;
use crate::resource::{SessionResource, TokenResponse, UserResource};
use crate::token_keys::TokenKeys;

/// What belongs to the service as a whole. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    /// Issues and verifies tokens.
    pub tokens: TokenKeys,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids and salts.
    pub random: Arc<dyn RandomSource>,
    /// How long things last.
    pub policy: Arc<SessionPolicy>,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// What a new password must not be made from.
    pub password_policy: Arc<PasswordPolicy>,
}

impl Service {
    /// The service with the storage that a function needs.
    pub fn with_store<S>(&self, store: S) -> App<S> {
        App {
            service: self.clone(),
            store,
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The reply that carries the tokens of a session.
    ///
    /// # Errors
    /// A 500 if signing fails.
    pub async fn token_response(
        &self,
        session: &Session,
        user: Option<UserResource>,
        now: DateTime<Utc>,
    ) -> Result<TokenResponse, Problem> {
        let issued = self
            .tokens
            .issue(session, now, &self.policy, self.random.as_ref())
            .await;
        let issued = issued.map_err(|error| {
            tracing::error!(%error, "tokens could not be signed");
            Problem::internal()
        })?;
        Ok(TokenResponse::new(
            issued,
            SessionResource::new(session, session.id),
            user,
        ))
    }
}

/// The state of a function's router: the service, and what it stores things in.
#[derive(Clone, Debug)]
pub struct App<S> {
    /// What belongs to the service as a whole.
    pub service: Service,
    /// Where things are stored.
    pub store: S,
}

impl<S> FromRef<App<S>> for Service {
    fn from_ref(app: &App<S>) -> Self {
        app.service.clone()
    }
}
