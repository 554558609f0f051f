//! The keys that sign and verify tokens, and how an instance that runs learns of new ones.
//!
//! The secret is read at the start and kept. It is read again
//! - when it was read [`KEPT`] ago, before the request is answered: Lambda freezes an instance between two requests, so
//!   nothing runs outside a request, and an instance that thaws after hours must not accept a key that is gone;
//! - when a token names a key that is not known, before it is refused, at most once in [`PAUSE`]: strangers can make up
//!   names of keys.
//!
//! When it cannot be read, the keys in use stay, and it is not tried again for [`PAUSE`].
//!
//! Which key signs and which are accepted follows from the times in the secret: see [`KeyRing`]. So nobody has to learn of
//! a change at a certain moment, and a new key is known to all instances and verifiers before it signs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::operation::get_secret_value::{
    GetSecretValueError, GetSecretValueOutput,
};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::JwkSet;
use latchkey_domain::error::{StoreError, with_causes};
use latchkey_domain::id::UserId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::RandomSource;
use latchkey_domain::session::Session;
use latchkey_domain::throttle::{Counter, Subject};
use latchkey_domain::token::{
    Access, AccessClaims, Audience, DeviceClaims, IssuedTokens, KeyDerivationFailed, KeyRing, Link,
    LinkPurpose, RefreshClaims, Token, TokenAlgorithm, TokenError, TokenIdentity, Tokens,
    UnknownAudience,
};
use tokio::sync::Mutex;

use crate::key_document;

/// How long a secret is used until it is read again.
pub const KEPT: TimeDelta = TimeDelta::minutes(5);
/// How long it takes at least from one reading for an unknown key to the next, and from a failed reading to the next.
pub const PAUSE: TimeDelta = TimeDelta::seconds(30);
/// How long a request may wait for the secret. A warm call takes some 10 ms, one with a new connection some 100.
const LONGEST_READING: Duration = Duration::from_secs(2);

/// Why the secret could not be read. Holds no part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It could not be had, or has another form.
    #[error("the secret {arn} cannot be read: {reason}")]
    Unreadable {
        /// Which one.
        arn: String,
        /// Why.
        reason: String,
    },
    /// The keys could not be derived.
    #[error(transparent)]
    Keys(#[from] KeyDerivationFailed),
}

/// The secret in Secrets Manager.
#[derive(Clone, Debug)]
pub struct SecretsManager {
    pub(crate) client: Client,
    pub(crate) arn: String,
}

/// What was read. No `Debug`.
struct SecretVersion {
    keys: KeyRing,
    id: Option<String>,
}

impl SecretsManager {
    /// The secret with this ARN.
    #[must_use]
    pub fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }

    async fn read(&self) -> Result<SecretVersion, SecretError> {
        let request = self.client.get_secret_value().secret_id(&self.arn);
        let reply = request.send().await;
        self.version(reply.map_err(|error| self.unreadable(with_causes(&error)))?)
    }

    /// The keys of a version, if it has a value and is at this stage.
    pub(crate) async fn read_version(
        &self,
        version: &str,
        stage: &str,
    ) -> Result<Option<KeyRing>, SecretError> {
        let request = self.client.get_secret_value().secret_id(&self.arn);
        let request = request.version_id(version).version_stage(stage);
        match request.send().await {
            Ok(reply) => Ok(Some(self.version(reply)?.keys)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(GetSecretValueError::is_resource_not_found_exception) =>
            {
                Ok(None)
            }
            Err(error) => Err(self.unreadable(with_causes(&error))),
        }
    }

    fn unreadable(&self, reason: String) -> SecretError {
        SecretError::Unreadable {
            arn: self.arn.clone(),
            reason,
        }
    }

    fn version(&self, reply: GetSecretValueOutput) -> Result<SecretVersion, SecretError> {
        let written_at = reply
            .created_date()
            .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
        let text = reply.secret_string().unwrap_or_default();
        let keys = key_document::read(text, written_at);
        Ok(SecretVersion {
            keys: keys.map_err(|error| self.unreadable(error.to_string()))?,
            id: reply.version_id,
        })
    }
}

/// Issues tokens and tells whether one is valid, by the newest keys. Cheap to clone; all clones share the keys.
#[derive(Clone)]
pub struct TokenKeys(Arc<Inner>);

struct Inner {
    kept: RwLock<Kept>,
    source: Option<Source>,
}

struct Source {
    identity: TokenIdentity,
    /// How long the tokens of a replaced key are accepted.
    policy: SessionPolicy,
    secret: SecretsManager,
    /// Held while the secret is read, so that requests that come together read it once.
    readings: Mutex<Readings>,
}

#[derive(Default)]
struct Readings {
    for_unknown_key: Option<DateTime<Utc>>,
    failed: Option<DateTime<Utc>>,
}

#[derive(Clone)]
struct Kept {
    tokens: Tokens,
    /// Of the key whose turn comes last.
    newest_algorithm: Option<TokenAlgorithm>,
    version: Option<String>,
    read_at: DateTime<Utc>,
}

impl Kept {
    fn of(
        version: SecretVersion,
        identity: &TokenIdentity,
        policy: &SessionPolicy,
        now: DateTime<Utc>,
    ) -> Result<Self, KeyDerivationFailed> {
        Ok(Self {
            tokens: Tokens::of_ring(identity.clone(), &version.keys, policy, now)?,
            newest_algorithm: Some(version.keys.newest().material.algorithm()),
            version: version.id,
            read_at: now,
        })
    }
}

impl From<Tokens> for TokenKeys {
    /// Keys that never change: those of a literal secret.
    fn from(tokens: Tokens) -> Self {
        Self(Arc::new(Inner {
            kept: RwLock::new(Kept {
                tokens,
                newest_algorithm: None,
                version: None,
                read_at: DateTime::UNIX_EPOCH,
            }),
            source: None,
        }))
    }
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys")
            .field("tokens", &self.kept().tokens)
            .finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Reads the secret for the first time. `policy` says how long the tokens of a replaced key are accepted.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn read(
        identity: TokenIdentity,
        policy: SessionPolicy,
        secret: SecretsManager,
        now: DateTime<Utc>,
    ) -> Result<Self, SecretError> {
        let version = secret.read().await?;
        Ok(Self(Arc::new(Inner {
            kept: RwLock::new(Kept::of(version, &identity, &policy, now)?),
            source: Some(Source {
                identity,
                policy,
                secret,
                readings: Mutex::default(),
            }),
        })))
    }

    /// The algorithm of the key whose turn comes last; none if the keys never change.
    #[must_use]
    pub fn newest_algorithm(&self) -> Option<TokenAlgorithm> {
        self.kept().newest_algorithm
    }

    /// Who issues the tokens, and for whom.
    #[must_use]
    pub fn identity(&self) -> TokenIdentity {
        self.kept().tokens.identity().clone()
    }

    /// Who issues tokens, as they name it.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.kept().tokens.identity().issuer.clone()
    }

    /// Finds an audience, as [`TokenIdentity::find_audience`] does.
    ///
    /// # Errors
    /// [`UnknownAudience`]
    pub fn find_audience(&self, name: Option<&str>) -> Result<Audience, UnknownAudience> {
        self.kept().tokens.identity().find_audience(name)
    }

    /// The public keys, as [`Tokens::jwks`] gives them.
    pub async fn jwks(&self, now: DateTime<Utc>) -> JwkSet {
        self.newest(now).await.jwks(now)
    }

    /// Issues the tokens of a session, as [`Tokens::issue`] does.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`].
    pub async fn issue<'a>(
        &self,
        session: &Session,
        access: impl Into<Access<'a>>,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
        random: &dyn RandomSource,
    ) -> Result<IssuedTokens, TokenError> {
        self.newest(now)
            .await
            .issue(session, access, now, policy, random)
    }

    /// Checks an access token, as [`Tokens::verify_access`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_access(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        self.verify(now, |tokens| tokens.verify_access(token, now))
            .await
    }

    /// Checks an access token for another audience, as [`Tokens::verify_access_for`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_access_for(
        &self,
        audience: &str,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        self.verify(now, |tokens| tokens.verify_access_for(audience, token, now))
            .await
    }

    /// Checks everything about an access token but its expiry, as [`Tokens::verify_access_of_any_age`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_access_of_any_age(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        self.verify(now, |tokens| tokens.verify_access_of_any_age(token, now))
            .await
    }

    /// The same for any audience of ours, as [`Tokens::verify_access_for_any_audience`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_access_for_any_audience(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        self.verify(now, |tokens| {
            tokens.verify_access_for_any_audience(token, now)
        })
        .await
    }

    /// Checks everything about a refresh token but its expiry, as [`Tokens::verify_refresh_of_any_age`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_refresh_of_any_age(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<RefreshClaims, TokenError> {
        self.verify(now, |tokens| tokens.verify_refresh_of_any_age(token, now))
            .await
    }

    /// The device token of a client that has given a user's password of this version: the one that it has shown, if it is
    /// that user's, with the key and the version of today, or the first one.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`].
    pub async fn issue_device(
        &self,
        shown: Option<DeviceClaims>,
        user: UserId,
        password_version: u64,
        now: DateTime<Utc>,
        random: &dyn RandomSource,
    ) -> Result<Token, TokenError> {
        let tokens = self.newest(now).await;
        let mut claims = shown
            .filter(|claims| claims.sub == user)
            .unwrap_or_else(|| tokens.new_device(user, now, random));
        claims.password_version = Some(password_version);
        tokens.issue_device(&claims, now)
    }

    /// What a device token says, if it is genuine. One that is not is no error: who shows it is a stranger.
    pub async fn verify_device(&self, token: &Token, now: DateTime<Utc>) -> Option<DeviceClaims> {
        let verified = self
            .verify(now, |tokens| tokens.verify_device(token, now))
            .await;
        verified
            .inspect_err(|reason| tracing::info!(%reason, "a device token is not genuine"))
            .ok()
    }

    /// The token of a link, as [`Tokens::issue_link`] makes it.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`].
    pub async fn issue_link(&self, link: &Link, now: DateTime<Utc>) -> Result<Token, TokenError> {
        self.newest(now).await.issue_link(link, now)
    }

    /// Reads the token of a link, as [`Tokens::verify_link`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_link(
        &self,
        purpose: LinkPurpose,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<Link, TokenError> {
        self.verify(now, |tokens| tokens.verify_link(purpose, token, now))
            .await
    }

    /// Where the attempts of a subject are counted, as [`Tokens::counter`] says.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there is no key, which cannot be.
    pub async fn counter(
        &self,
        subject: Subject<'_>,
        now: DateTime<Utc>,
    ) -> Result<Counter, StoreError> {
        let counter = self.newest(now).await.counter(subject, now);
        counter.ok_or(StoreError::Corrupt)
    }

    async fn verify<C>(
        &self,
        now: DateTime<Utc>,
        check: impl Fn(&Tokens) -> Result<C, TokenError>,
    ) -> Result<C, TokenError> {
        let verified = check(&self.newest(now).await);
        let (Err(TokenError::UnknownKey), Some(source)) = (&verified, &self.0.source) else {
            return verified;
        };
        {
            let mut readings = source.readings.lock().await;
            if !within(PAUSE, readings.for_unknown_key, now) {
                readings.for_unknown_key = Some(now);
                self.read_again(source, &mut readings, now).await;
            }
        }
        // Somebody else may have read it while this request waited.
        check(&self.kept().tokens)
    }

    /// The keys, read again if it is time to.
    async fn newest(&self, now: DateTime<Utc>) -> Tokens {
        if let Some(source) = &self.0.source
            && !within(KEPT, Some(self.kept().read_at), now)
        {
            let mut readings = source.readings.lock().await;
            if !within(KEPT, Some(self.kept().read_at), now) {
                self.read_again(source, &mut readings, now).await;
            }
        }
        self.kept().tokens
    }

    async fn read_again(&self, source: &Source, readings: &mut Readings, now: DateTime<Utc>) {
        if within(PAUSE, readings.failed, now) {
            return;
        }
        match self.replacement(source, now).await {
            Ok(kept) => {
                readings.failed = None;
                let mut held = self.0.kept.write().unwrap_or_else(PoisonError::into_inner);
                *held = kept;
            }
            Err(reason) => {
                readings.failed = Some(now);
                tracing::error!(
                    reason = reason.as_str(),
                    "the token secret could not be read again; the keys in use stay"
                );
            }
        }
    }

    async fn replacement(&self, source: &Source, now: DateTime<Utc>) -> Result<Kept, String> {
        let kept = self.kept();
        let version = tokio::time::timeout(LONGEST_READING, source.secret.read())
            .await
            .map_err(|_| format!("no reply within {LONGEST_READING:?}"))?
            .map_err(|error| with_causes(&error))?;
        if version.id.is_some() && version.id == kept.version {
            return Ok(Kept {
                read_at: now,
                ..kept
            });
        }
        let replacement = Kept::of(version, &source.identity, &source.policy, now)
            .map_err(|error| error.to_string())?;
        tracing::info!(
            version = replacement.version,
            signs = replacement.tokens.signing_key_id(now),
            "the token secret has changed"
        );
        Ok(replacement)
    }

    fn kept(&self) -> Kept {
        let kept = self.0.kept.read();
        kept.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether something was less than `span` ago. A clock that was set back far makes it long ago.
fn within(span: TimeDelta, since: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
    since.is_some_and(|since| (now - since).abs() < span)
}
