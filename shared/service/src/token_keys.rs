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
//! A new `current` is accepted and published at once, and signs [`ANNOUNCED`] after the secret was written: by then every
//! instance has read it, and every verifier that obeys the published keys' `Cache-Control` has them. Until then
//! `previous` signs. Without a `previous` there is nothing to wait with: `current` signs at once. With a `next`, `current`
//! signs at once too, and `next` is only accepted and published: for verifiers that keep keys for longer.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_sdk_secretsmanager::Client;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::JwkSet;
use latchkey_domain::error::with_causes;
use latchkey_domain::id::UserId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::RandomSource;
use latchkey_domain::session::Session;
use latchkey_domain::throttle::{Counter, Subject};
use latchkey_domain::token::{
    AccessClaims, DeviceClaims, IssuedTokens, KeyDerivationFailed, RefreshClaims, Scope,
    SecretTooShort, Token, TokenError, TokenIdentity, TokenSecret, Tokens,
};
use serde::Deserialize;
use tokio::sync::Mutex;

/// How long a secret is used until it is read again.
pub const KEPT: TimeDelta = TimeDelta::minutes(5);
/// How long it takes at least from one reading for an unknown key to the next, and from a failed reading to the next.
pub const PAUSE: TimeDelta = TimeDelta::seconds(30);
/// How long a new key is known before it signs: instances know it after 5 minutes, a cache before the published keys 5
/// minutes later, a verifier's copy of what that cache gave after 5 more, and the last 5 are for readings that failed.
pub const ANNOUNCED: TimeDelta = TimeDelta::minutes(20);
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
    /// A value of it is too short.
    #[error(transparent)]
    TooShort(#[from] SecretTooShort),
    /// The keys could not be derived.
    #[error(transparent)]
    Keys(#[from] KeyDerivationFailed),
}

/// The secret in Secrets Manager.
#[derive(Clone, Debug)]
pub struct SecretsManager {
    client: Client,
    arn: String,
}

/// The secret as CloudFormation makes it, and as the operations guide says to replace it. No `Debug`.
#[derive(Deserialize)]
struct SecretDocument {
    current: String,
    previous: Option<String>,
    next: Option<String>,
}

/// What was read. No `Debug`.
struct SecretVersion {
    current: TokenSecret,
    previous: Option<TokenSecret>,
    next: Option<TokenSecret>,
    written_at: Option<DateTime<Utc>>,
    id: Option<String>,
}

impl SecretsManager {
    /// The secret with this ARN.
    #[must_use]
    pub fn new(client: Client, arn: String) -> Self {
        Self { client, arn }
    }

    async fn read(&self) -> Result<SecretVersion, SecretError> {
        let unreadable = |reason: String| SecretError::Unreadable {
            arn: self.arn.clone(),
            reason,
        };
        let reply = self
            .client
            .get_secret_value()
            .secret_id(&self.arn)
            .send()
            .await
            .map_err(|error| unreadable(with_causes(&error)))?;
        // The parser's own message could quote the secret.
        let text = reply.secret_string().unwrap_or_default();
        let document: SecretDocument = serde_json::from_str(text)
            .map_err(|_| unreadable(r#"it is not {"current": "..."}"#.to_owned()))?;
        let secret = |value: Option<String>| value.map(TokenSecret::new).transpose();
        Ok(SecretVersion {
            current: TokenSecret::new(document.current)?,
            previous: secret(document.previous)?,
            next: secret(document.next)?,
            written_at: reply
                .created_date()
                .and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos())),
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
    keys: Keys,
    version: Option<String>,
    read_at: DateTime<Utc>,
}

#[derive(Clone)]
struct Keys {
    /// `current` signs.
    tokens: Tokens,
    /// Until this time `previous` does.
    announced: Option<(DateTime<Utc>, Tokens)>,
}

impl Keys {
    fn of(secret: &SecretVersion, identity: &TokenIdentity) -> Result<Self, KeyDerivationFailed> {
        let others = secret.next.iter().chain(&secret.previous);
        let announced = match (&secret.previous, &secret.next, secret.written_at) {
            (Some(previous), None, Some(written_at)) => {
                let tokens = Tokens::signing_with(identity.clone(), previous, [&secret.current])?;
                Some((written_at + ANNOUNCED, tokens))
            }
            _ => None,
        };
        Ok(Self {
            tokens: Tokens::signing_with(identity.clone(), &secret.current, others)?,
            announced,
        })
    }

    fn at(&self, now: DateTime<Utc>) -> &Tokens {
        match &self.announced {
            Some((until, tokens)) if now < *until => tokens,
            _ => &self.tokens,
        }
    }
}

impl From<Tokens> for TokenKeys {
    /// Keys that never change: those of a literal secret.
    fn from(tokens: Tokens) -> Self {
        let keys = Keys {
            tokens,
            announced: None,
        };
        Self(Arc::new(Inner {
            kept: RwLock::new(Kept {
                keys,
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
            .field("tokens", &self.kept().keys.tokens)
            .finish_non_exhaustive()
    }
}

impl TokenKeys {
    /// Reads the secret for the first time.
    ///
    /// # Errors
    /// [`SecretError`].
    pub async fn read(
        identity: TokenIdentity,
        secret: SecretsManager,
        now: DateTime<Utc>,
    ) -> Result<Self, SecretError> {
        let version = secret.read().await?;
        Ok(Self(Arc::new(Inner {
            kept: RwLock::new(Kept {
                keys: Keys::of(&version, &identity)?,
                version: version.id,
                read_at: now,
            }),
            source: Some(Source {
                identity,
                secret,
                readings: Mutex::default(),
            }),
        })))
    }

    /// The public keys, as [`Tokens::jwks`] gives them.
    pub async fn jwks(&self, now: DateTime<Utc>) -> JwkSet {
        self.newest(now).await.jwks()
    }

    /// Issues the tokens of a session, as [`Tokens::issue`] does.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`].
    pub async fn issue(
        &self,
        session: &Session,
        scope: Scope,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
        random: &dyn RandomSource,
    ) -> Result<IssuedTokens, TokenError> {
        self.newest(now)
            .await
            .issue(session, scope, now, policy, random)
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

    /// Checks everything about an access token but its expiry, as [`Tokens::verify_access_of_any_age`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_access_of_any_age(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        self.verify(now, |tokens| tokens.verify_access_of_any_age(token))
            .await
    }

    /// Checks a refresh token, as [`Tokens::verify_refresh`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub async fn verify_refresh(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<RefreshClaims, TokenError> {
        self.verify(now, |tokens| tokens.verify_refresh(token, now))
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
        self.verify(now, |tokens| tokens.verify_refresh_of_any_age(token))
            .await
    }

    /// The device token of a client that has signed in to an account: the one that it has shown, with the key of today, or
    /// the first one.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`].
    pub async fn issue_device(
        &self,
        shown: Option<DeviceClaims>,
        user: UserId,
        now: DateTime<Utc>,
        random: &dyn RandomSource,
    ) -> Result<Token, TokenError> {
        let tokens = self.newest(now).await;
        let claims = shown.unwrap_or_else(|| tokens.new_device(user, now, random));
        tokens.issue_device(&claims)
    }

    /// What a device token says, if it is genuine. One that is not is no error: who shows it is a stranger.
    pub async fn verify_device(&self, token: &Token, now: DateTime<Utc>) -> Option<DeviceClaims> {
        let verified = self.verify(now, |tokens| tokens.verify_device(token)).await;
        verified
            .inspect_err(|reason| tracing::info!(%reason, "a device token is not genuine"))
            .ok()
    }

    /// Where the attempts of a subject are counted, as [`Tokens::counter`] says.
    pub async fn counter(&self, subject: Subject<'_>, now: DateTime<Utc>) -> Counter {
        self.newest(now).await.counter(subject)
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
        check(self.kept().keys.at(now))
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
        self.kept().keys.at(now).clone()
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
                tracing::error!(%reason, "the token secret could not be read again; the keys in use stay");
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
        let keys = Keys::of(&version, &source.identity).map_err(|error| error.to_string())?;
        tracing::info!(
            version = version.id,
            signs = keys.at(now).signing_key_id(),
            "the token secret has changed"
        );
        Ok(Kept {
            keys,
            version: version.id,
            read_at: now,
        })
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
