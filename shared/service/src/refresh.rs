//! Refresh: a new pair of tokens for the newest refresh token of a session.
//!
//! One conditional write, one successor: see [`latchkey_domain::refresh::judge`] for every case.

use latchkey_domain::account::Account;
use latchkey_domain::cause::{Action, Actor, EndReason};
use latchkey_domain::error::RefreshError;
use latchkey_domain::refresh::{RefreshVerdict, RotationAttempt, judge};
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::token::{Access, Audience, RefreshClaims, Scope, Token};
use latchkey_store::Rotation;
use tracing::Instrument as _;

use crate::log::{log_refresh, log_refusal};
use crate::metric::{
    REFRESH_NOT_DUE, REFRESH_REFUSED, REFRESH_REPLAYS, REFRESHES, TOKEN_AHEAD, TOKEN_REUSE,
};
use crate::{Failure, Issued, Service};

/// The line of every refusal but that of a reused token.
const REFUSED: &str = "refresh token refused";

impl Service {
    /// Exchanges a refresh token. The access token is for `audience`; the session is the same whichever that is. 1 trip,
    /// 1 write unit, 1 read unit; 2 trips when a replaced token ends its session; only 2 read units for a genuine token
    /// that has expired.
    ///
    /// # Errors
    /// [`RefreshError`]
    pub async fn refresh(
        &self,
        token: &Token,
        location: &ClientLocation,
        audience: &Audience,
    ) -> Result<Issued, Failure<RefreshError>> {
        let now = self.core.now();
        let tokens = &self.core.tokens;
        let claims = tokens.verify_refresh_of_any_age(token, now).await;
        let claims = claims.map_err(|reason| {
            log_refusal(REFUSED, &reason.to_string(), REFRESH_REFUSED, None, None);
            Failure::Refused(RefreshError::Invalid)
        })?;
        let presented = claims.jti.rotation;
        let refuse = |reason: &str| {
            let (user, session) = (Some(claims.sub), Some(claims.sid));
            log_refusal(REFUSED, reason, REFRESH_REFUSED, user, session);
            Err(Failure::Refused(RefreshError::Invalid))
        };
        let (account, attempt) = if claims.has_expired(now) {
            self.read_for_expired(&claims).await?
        } else {
            let rotation = Rotation {
                user: claims.sub,
                session: claims.sid,
                presented,
                location,
                now,
                policy: &self.core.policy,
            };
            self.store.rotate(&rotation).await?
        };
        let grace = self.core.policy.refresh_grace;
        // What is live has an account; without one nothing is issued.
        let access = account
            .as_ref()
            .map(|account| audience.access(account.scope()));
        let access = access.unwrap_or(Access::ThisApi(Scope::default()));
        match judge(account.as_ref(), attempt, presented, now, grace) {
            RefreshVerdict::Reused(session) => {
                self.end_reused(account, &session, presented).await?;
                Err(Failure::Refused(RefreshError::Reused))
            }
            RefreshVerdict::NotLive(found) => {
                let reason = found.map_or("no_session", |(_, liveness)| liveness.as_str());
                refuse(reason)
            }
            RefreshVerdict::Ahead(session) => {
                tracing::error!(
                    user_id = %session.user_id,
                    session_id = %session.id,
                    presented,
                    stored = session.rotation,
                    "a refresh token is ahead of its session: a restored backup, or a forgery"
                );
                TOKEN_AHEAD.count(1);
                REFRESH_REFUSED.count(1);
                Err(Failure::Refused(RefreshError::Invalid))
            }
            _ if claims.has_expired(now) => refuse("expired"),
            RefreshVerdict::Rotated(session) => {
                log_refresh("refreshed", REFRESHES, &session);
                self.core.issue(session, access, now).await
            }
            RefreshVerdict::NotDue(session) => {
                log_refresh("refresh answered, not due", REFRESH_NOT_DUE, &session);
                self.core.issue(session, access, now).await
            }
            RefreshVerdict::SameSuccessor(session) => {
                let what = "refresh answered again within the grace";
                log_refresh(what, REFRESH_REPLAYS, &session);
                self.core.issue(session, access, now).await
            }
        }
    }

    /// A token that has expired opens nothing and writes nothing. But if it was replaced and its session lives on, then
    /// somebody else holds the session.
    async fn read_for_expired(
        &self,
        claims: &RefreshClaims,
    ) -> Result<(Option<Account>, RotationAttempt), Failure<RefreshError>> {
        let (account, found) = tokio::try_join!(
            self.store.read_account(claims.sub),
            self.store.read_session(claims.sub, claims.sid)
        )?;
        Ok((account, RotationAttempt::Refused(found)))
    }

    /// Ends the session of a replaced token, in its own task: whoever replays a token must not save the session by
    /// hanging up.
    async fn end_reused(
        &self,
        account: Option<Account>,
        session: &Session,
        presented: u64,
    ) -> Result<(), Failure<RefreshError>> {
        tracing::warn!(
            user_id = %session.user_id,
            session_id = %session.id,
            presented,
            stored = session.rotation,
            "a replaced refresh token was used again"
        );
        // Before its session is ended: an alarm must not wait for DynamoDB.
        TOKEN_REUSE.count(1);
        let (service, user, session) = (self.clone(), session.user_id, session.id);
        let ending = async move {
            let cause = (Action::ReuseToken, Actor::System);
            let end = |account: Account| Ok(account.end_one(session, EndReason::TokenReuse));
            service
                .change_account(user, account, cause, end)
                .await
                .map(drop)
        };
        // In the request's span, so that the line of the end has the id of the request.
        tokio::spawn(ending.in_current_span())
            .await
            .map_err(|_| Failure::Internal)?
    }
}
