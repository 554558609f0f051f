//! Sign-out: a client ends its own session, by a token of it.

use latchkey_domain::account::Account;
use latchkey_domain::cause::{Action, Actor, EndReason};
use latchkey_domain::error::CallerNotLive;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::token::Token;

use crate::metric::REVOCATIONS;
use crate::{Caller, Failure, Service};

impl Service {
    /// Ends the session of a refresh token, however old the token is. For a token that is not genuine there is nothing to
    /// end, which is no failure (RFC 7009 section 2.2). 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only.
    pub async fn sign_out(&self, token: &Token) -> Result<(), Failure<CallerNotLive>> {
        let tokens = &self.core.tokens;
        match tokens
            .verify_refresh_of_any_age(token, self.core.now())
            .await
        {
            Ok(claims) => self.end_own(claims.sub, claims.sid).await,
            Err(reason) => {
                tracing::info!(%reason, "sign-out with a token that is not genuine");
                Ok(())
            }
        }
    }

    /// Ends the caller's own session. 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only: a session that has ended already is signed out.
    pub async fn sign_out_caller(&self, caller: Caller) -> Result<(), Failure<CallerNotLive>> {
        self.end_own(caller.user_id, caller.session_id).await
    }

    async fn end_own(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<(), Failure<CallerNotLive>> {
        let account = self.store.read_account(user).await?;
        let cause = (Action::SignOut, Actor::Owner(session));
        let end = |account: Account| Ok(account.end_one(session, EndReason::LoggedOut));
        match self.change_account(user, account, cause, end).await {
            Ok(changed) => {
                REVOCATIONS.count(changed.ended().count());
                Ok(())
            }
            // The account is gone, and the session with it.
            Err(Failure::Refused(CallerNotLive)) => Ok(()),
            Err(other) => Err(other),
        }
    }
}
