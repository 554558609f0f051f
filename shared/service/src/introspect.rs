//! What another service may ask about a token (RFC 7662), and how it ends one (RFC 7009).
//!
//! A token's own header says of which kind it is, so a hint about that decides nothing.

use chrono::{DateTime, Utc};
use latchkey_domain::account::Account;
use latchkey_domain::cause::Actor;
use latchkey_domain::client::{ClientError, ClientScope};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::session::Session;
use latchkey_domain::token::{AccessClaims, RefreshClaims, Token};

use crate::{ClientCredentials, Failure, Service};

/// A genuine token that has not expired, of a session that is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActiveToken {
    /// An access token.
    Access(AccessClaims),
    /// The newest refresh token of its session.
    Refresh {
        /// What it says.
        claims: RefreshClaims,
        /// When the user last proved who they are, if it is known.
        authenticated_at: Option<DateTime<Utc>>,
    },
}

/// What a genuine token says, however old it is.
enum Genuine {
    Access(AccessClaims),
    Refresh(RefreshClaims),
}

impl Genuine {
    fn owner(&self) -> (UserId, SessionId) {
        match self {
            Self::Access(claims) => (claims.sub, claims.sid),
            Self::Refresh(claims) => (claims.sub, claims.sid),
        }
    }

    fn audience(&self) -> &str {
        match self {
            Self::Access(claims) => &claims.aud,
            Self::Refresh(claims) => &claims.aud,
        }
    }

    fn has_expired(&self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Access(claims) => now.timestamp() >= claims.exp,
            Self::Refresh(claims) => claims.has_expired(now),
        }
    }
}

impl Service {
    /// What a token says, if it is active: nothing for one that is not genuine or has expired, whose session is not
    /// live, for a refresh token that has been replaced, also within the grace, or for an audience that the client may not
    /// ask about. 1 trip, 2 read units for an access token, 3 for a refresh token.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn introspect(
        &self,
        credentials: Option<&ClientCredentials>,
        token: &Token,
    ) -> Result<Option<ActiveToken>, Failure<ClientError>> {
        let now = self.core.now();
        let genuine = self.read_token(token, now).await;
        let genuine = genuine.filter(|genuine| !genuine.has_expired(now));
        // One trip: what is read of the token is told only to a client that proves itself.
        let (client, state) = tokio::join!(
            self.authenticate_client(credentials, ClientScope::Introspect),
            self.read_state(genuine.as_ref())
        );
        let client = client?;
        let (account, session) = state?;
        // A token for another API is none to this client (RFC 7662 sections 2.2 and 4).
        let genuine = genuine.filter(|genuine| client.may_ask_about(genuine.audience()));
        let active = genuine.and_then(|genuine| {
            let account = account?;
            match genuine {
                Genuine::Access(mut claims) => {
                    account.authorize(claims.sid).ok()?;
                    // A role that the account has lost since the token was issued allows nothing any more.
                    claims.scope = claims.scope.within(account.scope());
                    Some(ActiveToken::Access(claims))
                }
                Genuine::Refresh(claims) => {
                    let session = session?;
                    let is_current = session.rotation == claims.jti.rotation;
                    (is_current && account.is_live(&session, now)).then_some(ActiveToken::Refresh {
                        claims,
                        authenticated_at: session.proved_at(),
                    })
                }
            }
        });
        tracing::info!(client_id = %client.id, active = active.is_some(), "introspected");
        Ok(active)
    }

    /// Ends the session of a token, however old the token is, at the wish of a client. For a token that is not genuine,
    /// or that the client may not ask about, there is nothing to end, which is no failure (RFC 7009 sections 2.1 and 2.2).
    /// 3 trips, 1 write unit, 2 read units.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn revoke_token(
        &self,
        credentials: Option<&ClientCredentials>,
        token: &Token,
    ) -> Result<(), Failure<ClientError>> {
        let client = self.authenticate_client(credentials, ClientScope::Revoke);
        let client = client.await?;
        let genuine = self.read_token(token, self.core.now()).await;
        match genuine.filter(|genuine| client.may_ask_about(genuine.audience())) {
            Some(genuine) => {
                let (user, session) = genuine.owner();
                let actor = Actor::Client(client.id.into());
                self.end_signed_out(user, session, actor).await
            }
            None => {
                tracing::info!(client_id = %client.id, "revocation of a token that is not genuine, or for another audience");
                Ok(())
            }
        }
    }

    async fn read_token(&self, token: &Token, now: DateTime<Utc>) -> Option<Genuine> {
        let tokens = &self.core.tokens;
        if let Ok(claims) = tokens.verify_access_for_any_audience(token, now).await {
            return Some(Genuine::Access(claims));
        }
        let refresh = tokens.verify_refresh_of_any_age(token, now).await;
        refresh.ok().map(Genuine::Refresh)
    }

    async fn read_state(
        &self,
        genuine: Option<&Genuine>,
    ) -> Result<(Option<Account>, Option<Session>), Failure<ClientError>> {
        Ok(match genuine {
            None => (None, None),
            Some(Genuine::Access(claims)) => (self.store.read_account(claims.sub).await?, None),
            Some(Genuine::Refresh(claims)) => tokio::try_join!(
                self.store.read_account(claims.sub),
                self.store.read_session(claims.sub, claims.sid)
            )?,
        })
    }
}
