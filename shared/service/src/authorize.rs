//! What another API wants of an access token before it lets a request through.

use std::sync::Arc;

use chrono::TimeDelta;
use latchkey_domain::error::{AccessDenied, CallerNotLive};
use latchkey_domain::token::{AccessClaims, Scope, Token};

use crate::metric::AUTHORIZER_DENIED;
use crate::{Caller, Failure, Service};

/// Whether the account is asked if it still admits the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthorizerMode {
    /// It is, strongly consistent: a revocation counts at once.
    #[default]
    Strict,
    /// It is not: the token of a session that has ended is accepted until it expires.
    Offline,
}

/// What a token must be like to be let through.
///
/// ```
/// use chrono::TimeDelta;
/// use latchkey_service::{AccessRules, AuthorizerMode};
///
/// let sensitive = AccessRules {
///     max_age: Some(TimeDelta::minutes(10)),
///     ..AccessRules::default()
/// };
/// assert_eq!(sensitive.mode, AuthorizerMode::Strict);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRules {
    /// Whether the account is asked.
    pub mode: AuthorizerMode,
    /// The audience that it must have; none for that of this service's own API.
    pub audience: Option<String>,
    /// What it must allow.
    pub scope: Scope,
    /// How long ago its user may have proved who they are.
    pub max_age: Option<TimeDelta>,
}

/// Tells other APIs whether a request may pass. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authorizer {
    service: Service,
    rules: Arc<AccessRules>,
}

impl Authorizer {
    /// An authorizer that holds tokens against these rules.
    #[must_use]
    pub fn new(service: Service, rules: AccessRules) -> Self {
        Self {
            service,
            rules: Arc::new(rules),
        }
    }

    /// Who bears a token that may pass. Strict: 1 trip, 1 read unit; offline, and for a token that is refused by itself:
    /// none.
    ///
    /// # Errors
    /// [`AccessDenied`], which is logged and counted; or that the table cannot be read.
    pub async fn authorize(
        &self,
        token: Option<&Token>,
    ) -> Result<AccessClaims, Failure<AccessDenied>> {
        let decision = self.decide(token).await;
        if let Err(Failure::Refused(reason)) = &decision {
            AUTHORIZER_DENIED.count(1);
            tracing::info!(%reason, "access denied");
        }
        decision
    }

    async fn decide(&self, token: Option<&Token>) -> Result<AccessClaims, Failure<AccessDenied>> {
        let refused = |reason| Err(Failure::Refused(reason));
        let Some(token) = token else {
            return refused(AccessDenied::NoToken);
        };
        let (tokens, now) = (&self.service.core.tokens, self.service.core.now());
        let verified = match &self.rules.audience {
            None => tokens.verify_access(token, now).await,
            Some(audience) => tokens.verify_access_for(audience, token, now).await,
        };
        let mut claims = match verified {
            Ok(claims) => claims,
            Err(error) => return refused(error.into()),
        };
        if !claims.scope.allows(self.rules.scope) {
            return refused(AccessDenied::InsufficientScope);
        }
        let caller = Caller::from(&claims);
        let is_too_old = |most| caller.proof_is_older_than(most, now);
        if self.rules.max_age.is_some_and(is_too_old) {
            return refused(AccessDenied::AuthenticatedTooLongAgo);
        }
        match self.rules.mode {
            AuthorizerMode::Offline => Ok(claims),
            AuthorizerMode::Strict => {
                let account = self.service.live_account(caller).await;
                let account = account
                    .map_err(|failure| failure.map_refusal(|CallerNotLive| CallerNotLive.into()))?;
                // A role that the account has lost since the token was issued.
                claims.scope = claims.scope.within(account.scope());
                if claims.scope.allows(self.rules.scope) {
                    Ok(claims)
                } else {
                    refused(AccessDenied::InsufficientScope)
                }
            }
        }
    }
}
