//! Who is calling: the bearer of an access token.

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::account::Account;
use latchkey_domain::error::CallerNotLive;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::token::{AccessClaims, Scope, Token, TokenError};

use crate::{Core, Failure, Service};

/// The bearer of a genuine access token that has not expired.
///
/// Whether the session is still live is the account's to say, strongly consistent. Every use case that takes a caller
/// asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub user_id: UserId,
    /// The session that the token belongs to.
    pub session_id: SessionId,
    /// What the token allows.
    pub scope: Scope,
    /// When the user last proved who they are (`auth_time`, RFC 9068 section 2.2.1).
    pub authenticated_at: DateTime<Utc>,
}

impl Core {
    /// Who bears an access token.
    ///
    /// # Errors
    /// The first thing about the token that is not right.
    pub async fn authenticate(&self, token: &Token) -> Result<Caller, TokenError> {
        let claims = self.tokens.verify_access(token, self.now()).await?;
        Ok(Caller::from(&claims))
    }
}

impl From<&AccessClaims> for Caller {
    fn from(claims: &AccessClaims) -> Self {
        Self {
            user_id: claims.sub,
            session_id: claims.sid,
            scope: claims.scope,
            // One that no clock can show is as old as can be.
            authenticated_at: DateTime::from_timestamp(claims.auth_time, 0)
                .unwrap_or(DateTime::UNIX_EPOCH),
        }
    }
}

impl Caller {
    /// Whether the proof of who they are is older than this. One of an instance whose clock is ahead is young.
    pub(crate) fn proof_is_older_than(self, most: TimeDelta, now: DateTime<Utc>) -> bool {
        now - self.authenticated_at > most
    }
}

impl Service {
    /// The caller's account, if the caller's session is live. 1 read unit.
    ///
    /// # Errors
    /// [`CallerNotLive`], or that the table cannot be read.
    pub async fn live_account(&self, caller: Caller) -> Result<Account, Failure<CallerNotLive>> {
        let account = self.store.read_account(caller.user_id).await?;
        admitted(account, caller)
    }
}

/// The account of a caller whose access token has not expired, if it still admits the caller's session.
pub(crate) fn admitted<E: From<CallerNotLive>>(
    account: Option<Account>,
    caller: Caller,
) -> Result<Account, Failure<E>> {
    match account {
        Some(account) if account.authorize(caller.session_id).is_ok() => Ok(account),
        Some(_) | None => Err(Failure::Refused(CallerNotLive.into())),
    }
}
