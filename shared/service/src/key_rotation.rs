//! The rotation of the signing keys, in the four steps in which Secrets Manager asks for it
//! (<https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>).
//!
//! | step | what it does |
//! |---|---|
//! | `createSecret` | adds a key to the current document, staged as `AWSPENDING` |
//! | `setSecret` | nothing: no other system holds the keys |
//! | `testSecret` | signs and verifies with the new key, and compares the keys with the current ones |
//! | `finishSecret` | the same comparison, then the pending version becomes `AWSCURRENT` |
//!
//! The device secret stays as it is; a document that has none is given one.
//!
//! Each may be repeated, and the whole may stop between any two: only the last one changes what instances read. A new key
//! signs long after it is published ([`ANNOUNCED`]), so a rotation that is finished too late, or over a document that was
//! replaced in the meantime, is given up: its version is no longer pending, and the next rotation begins again.

use std::fmt::Display;
use std::sync::Arc;

use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretOutput;
use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::clock::{Clock, whole_seconds};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::error::with_causes;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::RandomSource;
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::token::{
    ANNOUNCED, KeyDerivationFailed, KeyMaterial, KeyRing, ROTATION_TIME, RingKey, RsaPrivateKey,
    Scope, TokenAlgorithm, TokenError, TokenIdentity, TokenSecret, Tokens, TooManyKeys,
};

use crate::key_document;
use crate::metric::KEY_ROTATIONS;
use crate::token_keys::{SecretError, SecretsManager};

const CURRENT: &str = "AWSCURRENT";
const PENDING: &str = "AWSPENDING";

/// How long a secret that was never rotated counts as new. Nobody keeps a copy of its key yet that matters, so the first
/// rotation, which comes with the stack, signs at once: a new stack need not wait for `TOKEN_ALGORITHM`.
const NEW: TimeDelta = TimeDelta::hours(1);

/// Why a step failed. Secrets Manager tries the rotation again.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Secrets Manager knows four steps.
    #[error("there is no step {0:?}")]
    UnknownStep(String),
    /// The function is for one secret.
    #[error("{0} is not the secret of this service")]
    AnotherSecret(String),
    /// Not by Secrets Manager's order.
    #[error("rotation is not enabled for the secret")]
    NotEnabled,
    /// Not by Secrets Manager's order, or given up before.
    #[error("version {0} is not staged as {PENDING}")]
    NotPending(String),
    /// Verifiers would not learn of the new key in time.
    #[error(
        "the rotation took too long: the new key would sign before it is published; it is given up"
    )]
    TooLate,
    /// What would be made current lacks a key, or holds one that was taken out.
    #[error("the secret was replaced during the rotation, which is given up")]
    Replaced,
    /// The setting has changed since.
    #[error("the new key is not one of {}; the rotation is given up", .0.as_str())]
    OtherAlgorithm(TokenAlgorithm),
    /// The new key does not do its work.
    #[error("the new key cannot be used: {0}")]
    Unusable(#[from] TokenError),
    /// There are too many keys.
    #[error(transparent)]
    TooManyKeys(#[from] TooManyKeys),
    /// A key could not be made.
    #[error(transparent)]
    Keys(#[from] KeyDerivationFailed),
    /// The secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Secrets Manager refused a request, or did not answer.
    #[error("{operation}: {reason}")]
    SecretsManager {
        /// The request.
        operation: &'static str,
        /// Why.
        reason: String,
    },
}

/// What rotates the keys of one secret.
#[derive(Clone, Debug)]
pub struct KeyRotation {
    /// The secret.
    pub secret: SecretsManager,
    /// Who issues tokens: the new key is tried with some.
    pub identity: TokenIdentity,
    /// How long the tokens of a replaced key are accepted.
    pub policy: SessionPolicy,
    /// What the new key signs access tokens with.
    pub algorithm: TokenAlgorithm,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes secrets.
    pub random: Arc<dyn RandomSource>,
}

impl KeyRotation {
    /// Does one step of the rotation whose new version is called `token`.
    ///
    /// # Errors
    /// [`RotationError`]; whatever was current still is.
    pub async fn run(&self, step: &str, secret_id: &str, token: &str) -> Result<(), RotationError> {
        if secret_id != self.secret.arn {
            return Err(RotationError::AnotherSecret(secret_id.to_owned()));
        }
        let described = self.describe().await?;
        if described.rotation_enabled() != Some(true) {
            return Err(RotationError::NotEnabled);
        }
        if is_staged(&described, token, CURRENT) {
            return Ok(()); // Finished before: a repetition.
        }
        if !is_staged(&described, token, PENDING) {
            return Err(RotationError::NotPending(token.to_owned()));
        }
        let done = match step {
            "createSecret" => Box::pin(self.create(&described, token)).await,
            "setSecret" => Ok(()),
            "testSecret" => Box::pin(self.test(&described, token)).await.map(|_| ()),
            "finishSecret" => Box::pin(self.finish(&described, token)).await,
            other => Err(RotationError::UnknownStep(other.to_owned())),
        };
        if let Err(
            RotationError::TooLate | RotationError::Replaced | RotationError::OtherAlgorithm(_),
        ) = &done
        {
            // A version cannot be changed, and while one is pending no other rotation begins.
            self.move_stage(PENDING, None, Some(token)).await?;
        }
        done
    }

    async fn create(
        &self,
        described: &DescribeSecretOutput,
        token: &str,
    ) -> Result<(), RotationError> {
        let now = self.clock.now();
        if let Some(pending) = self.secret.read_version(token, PENDING).await? {
            let current = self.read_current(described).await?;
            return self.compare(described, &current, &pending, now);
        }
        let current = self.read_current(described).await?;
        let signs_from = if is_first(described, &current, now) {
            whole_seconds(now)
        } else {
            whole_seconds(now + ANNOUNCED + ROTATION_TIME)
        };
        let rotated = current.rotate(self.new_key()?, signs_from, now, &self.policy)?;
        let rotated = if rotated.device_secret().is_some() {
            rotated
        } else {
            rotated.with_device_secret(Some(TokenSecret::generate(self.random.as_ref())))
        };
        let document = key_document::write(&rotated, now)
            .map_err(|error| failure("write the document", error))?;
        let put = self.secret.client.put_secret_value();
        let put = put
            .secret_id(&self.secret.arn)
            .client_request_token(token)
            .secret_string(document)
            .version_stages(PENDING)
            .send()
            .await;
        match put {
            Ok(_) => Ok(()),
            // The same step at the same time: its key is as good.
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_resource_exists_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(failure("PutSecretValue", with_causes(&error))),
        }
    }

    fn new_key(&self) -> Result<KeyMaterial, KeyDerivationFailed> {
        Ok(KeyMaterial {
            secret: TokenSecret::generate(self.random.as_ref()),
            rsa: match self.algorithm {
                TokenAlgorithm::EdDsa => None,
                TokenAlgorithm::Rs256 => Some(RsaPrivateKey::generate()?),
            },
        })
    }

    /// Tries the new key, and gives the ring that it is in.
    async fn test(
        &self,
        described: &DescribeSecretOutput,
        token: &str,
    ) -> Result<KeyRing, RotationError> {
        let now = self.clock.now();
        let pending = self.secret.read_version(token, PENDING).await?;
        let pending = pending.ok_or_else(|| RotationError::NotPending(token.to_owned()))?;
        let current = self.read_current(described).await?;
        self.compare(described, &current, &pending, now)?;
        let at = pending.newest().signs_from;
        let tokens = Tokens::of_ring(self.identity.clone(), &pending, &self.policy, now)?;
        let session = self.session(at);
        let random = self.random.as_ref();
        let issued = tokens.issue(&session, Scope::own_account(), at, &self.policy, random)?;
        tokens.verify_access(&issued.access_token, at)?;
        tokens.verify_refresh_of_any_age(&issued.refresh_token, at)?;
        let device = tokens.new_device(session.user_id, at, random);
        tokens.verify_device(&tokens.issue_device(&device, at)?, at)?;
        Ok(pending)
    }

    /// A session that is stored nowhere.
    fn session(&self, at: DateTime<Utc>) -> Session {
        let random = self.random.as_ref();
        let (id, user) = (SessionId::random(random), UserId::random(random));
        let device = Device::describe(None, None, None, ClientHints::default());
        Session::begin(
            id,
            user,
            device,
            ClientLocation::default(),
            at,
            &self.policy,
        )
    }

    async fn finish(
        &self,
        described: &DescribeSecretOutput,
        token: &str,
    ) -> Result<(), RotationError> {
        let rotated = self.test(described, token).await?;
        // Secrets Manager refuses this if another version has become current meanwhile.
        let current = version_with(described, CURRENT);
        self.move_stage(CURRENT, Some(token), current).await?;
        tracing::info!(
            version = token,
            keys = rotated.iter().count(),
            signs_from = %rotated.newest().signs_from,
            algorithm = self.algorithm.as_str(),
            "the keys were rotated"
        );
        KEY_ROTATIONS.count(1);
        Ok(())
    }

    /// Whether the pending keys are the current ones and a new one, which is announced for long enough: nobody is signed
    /// out, and no key comes back that was taken out.
    fn compare(
        &self,
        described: &DescribeSecretOutput,
        current: &KeyRing,
        pending: &KeyRing,
        now: DateTime<Utc>,
    ) -> Result<(), RotationError> {
        let newest = pending.newest();
        let same = |one: &RingKey, other: &RingKey| {
            one.signs_from == other.signs_from && one.material.secret == other.material.secret
        };
        let same_rsa = |one: &RingKey, other: &RingKey| one.material.rsa == other.material.rsa;
        let lost = current.terms(&self.policy).any(|(key, term)| {
            let is_over = now >= term.access_over_at;
            let is_kept = |one: &RingKey| same(one, key) && (is_over || same_rsa(one, key));
            term.is_needed(key, now) && !pending.iter().any(is_kept)
        });
        // An RSA key may be taken out alone, by the rotation when its time is over, or by hand.
        let came_back = pending.iter().any(|key| {
            let is_older = |one: &RingKey| {
                same(one, key) && (key.material.rsa.is_none() || same_rsa(one, key))
            };
            !same(key, newest) && !current.iter().any(is_older)
        });
        let is_new = !current.iter().any(|one| same(one, newest));
        let device = current.device_secret();
        let other_device = device.is_some() && pending.device_secret() != device;
        if lost || came_back || other_device || !is_new {
            return Err(RotationError::Replaced);
        }
        if newest.material.algorithm() != self.algorithm {
            return Err(RotationError::OtherAlgorithm(self.algorithm));
        }
        if newest.signs_from < now + ANNOUNCED && !is_first(described, current, now) {
            return Err(RotationError::TooLate);
        }
        Ok(())
    }

    async fn read_current(
        &self,
        described: &DescribeSecretOutput,
    ) -> Result<KeyRing, RotationError> {
        let missing = || failure("GetSecretValue", "there is no current version");
        let version = version_with(described, CURRENT).ok_or_else(missing)?;
        let current = self.secret.read_version(version, CURRENT).await?;
        current.ok_or(RotationError::Replaced)
    }

    async fn describe(&self) -> Result<DescribeSecretOutput, RotationError> {
        let request = self.secret.client.describe_secret();
        let described = request.secret_id(&self.secret.arn).send().await;
        described.map_err(|error| failure("DescribeSecret", with_causes(&error)))
    }

    async fn move_stage(
        &self,
        stage: &str,
        to: Option<&str>,
        from: Option<&str>,
    ) -> Result<(), RotationError> {
        let request = self.secret.client.update_secret_version_stage();
        let moved = request
            .secret_id(&self.secret.arn)
            .version_stage(stage)
            .set_move_to_version_id(to.map(str::to_owned))
            .set_remove_from_version_id(from.map(str::to_owned))
            .send()
            .await;
        let moved = moved.map(|_| ());
        moved.map_err(|error| failure("UpdateSecretVersionStage", with_causes(&error)))
    }
}

fn failure(operation: &'static str, reason: impl Display) -> RotationError {
    RotationError::SecretsManager {
        operation,
        reason: reason.to_string(),
    }
}

/// Whether the secret is young and was never rotated.
fn is_first(described: &DescribeSecretOutput, current: &KeyRing, now: DateTime<Utc>) -> bool {
    let created = described.created_date();
    let created = created.and_then(|at| DateTime::from_timestamp(at.secs(), 0));
    let is_young = created.is_some_and(|at| now - at < NEW);
    is_young && current.iter().count() == 1
}

fn is_staged(described: &DescribeSecretOutput, version: &str, stage: &str) -> bool {
    let stages = described.version_ids_to_stages();
    let stages = stages.and_then(|stages| stages.get(version));
    stages.is_some_and(|stages| stages.iter().any(|one| one == stage))
}

fn version_with<'a>(described: &'a DescribeSecretOutput, stage: &str) -> Option<&'a str> {
    let mut versions = described.version_ids_to_stages()?.iter();
    let (version, _) = versions.find(|(_, stages)| stages.iter().any(|one| one == stage))?;
    Some(version)
}
