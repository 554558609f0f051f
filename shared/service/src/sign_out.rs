//! Sign-out: a client ends its own session, by a token of it.

use latchkey_domain::account::Account;
use latchkey_domain::cause::{Action, Actor, EndReason};
use latchkey_domain::error::CallerNotLive;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::token::{Token, TokenError};

use crate::metric::REVOCATIONS;
use crate::{Failure, Service};

/// What a client signs out with: a token of the session that is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignOutToken {
    /// A refresh token.
    Refresh(Token),
    /// An access token.
    Access(Token),
}

impl Service {
    /// Ends the session of the first of these tokens that is genuine, however old it is as long as its key is kept.
    /// Returns that session. If none is genuine there is nothing to end, which is no failure (RFC 7009 section 2.2). 2
    /// trips, 1 write unit.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only.
    pub async fn sign_out(
        &self,
        tokens: &[SignOutToken],
    ) -> Result<Option<SessionId>, Failure<CallerNotLive>> {
        for token in tokens {
            match self.owner_of(token).await {
                Ok((user, session)) => {
                    let actor = Actor::Owner(session);
                    self.end_signed_out(user, session, actor).await?;
                    return Ok(Some(session));
                }
                Err(reason) => tracing::info!(
                    reason = reason.to_string(),
                    "sign-out with a token that is not genuine"
                ),
            }
        }
        Ok(None)
    }

    async fn owner_of(&self, token: &SignOutToken) -> Result<(UserId, SessionId), TokenError> {
        let (tokens, now) = (&self.core.tokens, self.core.now());
        match token {
            SignOutToken::Refresh(token) => {
                let claims = tokens.verify_refresh_of_any_age(token, now).await;
                claims.map(|claims| (claims.sub, claims.sid))
            }
            SignOutToken::Access(token) => {
                let claims = tokens.verify_access_of_any_age(token, now).await;
                claims.map(|claims| (claims.sub, claims.sid))
            }
        }
    }

    /// Ends a session, if it has not ended, by a token of it that `actor` holds.
    pub(crate) async fn end_signed_out<E>(
        &self,
        user: UserId,
        session: SessionId,
        actor: Actor,
    ) -> Result<(), Failure<E>> {
        let account = self.store.read_account(user).await?;
        let cause = (Action::SignOut, actor);
        let end = |account: Account| Ok(account.end_one(session, EndReason::LoggedOut));
        match self.change_account(user, account, cause, end).await {
            Ok(changed) => {
                REVOCATIONS.count(changed.ended().count());
                Ok(())
            }
            // The account is gone, and the session with it.
            Err(Failure::Refused(CallerNotLive)) => Ok(()),
            Err(Failure::Throttled(throttled)) => Err(Failure::Throttled(throttled)),
            Err(Failure::Unavailable) => Err(Failure::Unavailable),
            Err(Failure::Internal) => Err(Failure::Internal),
        }
    }
}
