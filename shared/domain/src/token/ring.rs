//! The keys of the service and the times at which they sign and are accepted: the rule of key rotation, in one place.
//!
//! ```text
//!           written                signs from               replaced               outlived          forgotten
//! key n        |-----------------------|------------------------|----------------------|-----------------|
//!              published, accepted     signs                    | access tokens: 1 h   | tells reuse
//!                                                               | refresh tokens: idle | and sign-out only
//!                                                               | links: 1 day         |
//! key n + 1            |----------------------------------------|---------------------------------------------
//! ```
//!
//! The device secret is no key of the ring and does not rotate: device tokens and the counts of attempts are to outlive
//! every rotation. A ring without one takes the secret of the key that signs instead.
//!
//! The idle and the absolute lifetime are the longer ones of today's settings and of those that a rotation has seen since
//! the key was made.
//!
//! One key signs at any time: the one whose turn came last. The next one is accepted and published as soon as it is known,
//! so nobody needs to learn of a change at a certain moment. A replaced one is accepted until no token that it signed can
//! be valid, and no longer, so that one that has leaked stops being of use.

use chrono::{DateTime, TimeDelta, Utc};

use super::TokenAlgorithm;
use super::keys::TokenSecret;
use super::link::LONGEST_LINK_LIFETIME;
use super::rsa::RsaPrivateKey;
use crate::policy::{CLOCK_DIFFERENCE, LONGEST_ACCESS_TOKEN_LIFETIME, SessionPolicy};

/// How long a key is published before it signs. Verifiers keep copies for up to 2 hours (API Gateway's JWT authorizer);
/// instances know a key after 5 minutes, a cache before the published keys after 5 more, and 5 are for failed readings.
pub const ANNOUNCED: TimeDelta = TimeDelta::minutes(135);

/// How long a rotation may take from the making of a key to the moment from which instances read it.
pub const ROTATION_TIME: TimeDelta = TimeDelta::minutes(45);

/// How many keys are kept. Each costs an instance some 0.1 ms at its start, and the secret holds 64 kB.
pub const MOST_KEYS: usize = 100;

/// What the keys of all kinds are made of: HMAC keys are derived from the secret. Access tokens are signed with the RSA
/// key if there is one (RS256), else with an Ed25519 key that is derived too (`EdDSA`): one algorithm for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMaterial {
    /// The secret.
    pub secret: TokenSecret,
    /// The RSA key.
    pub rsa: Option<RsaPrivateKey>,
}

impl KeyMaterial {
    /// The algorithm of the access tokens that it signs.
    #[must_use]
    pub fn algorithm(&self) -> TokenAlgorithm {
        match self.rsa {
            Some(_) => TokenAlgorithm::Rs256,
            None => TokenAlgorithm::EdDsa,
        }
    }
}

impl From<TokenSecret> for KeyMaterial {
    fn from(secret: TokenSecret) -> Self {
        Self { secret, rsa: None }
    }
}

/// A key, and when its turn comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingKey {
    /// The key.
    pub material: KeyMaterial,
    /// From when it signs, until the next one does.
    pub signs_from: DateTime<Utc>,
    /// How long the sessions at least lived that have tokens of it, as the rotations since it was made saw the settings.
    pub lives: SessionLives,
}

/// How long sessions live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionLives {
    /// Without a refresh.
    pub idle: TimeDelta,
    /// At all.
    pub absolute: TimeDelta,
}

impl SessionLives {
    /// The longer ones: a session keeps the expiries that were written, also when the settings are lowered.
    #[must_use]
    fn or_by(self, policy: &SessionPolicy) -> Self {
        Self {
            idle: self.idle.max(policy.idle_lifetime),
            absolute: self.absolute.max(policy.absolute_lifetime),
        }
    }
}

impl RingKey {
    /// A key that has always signed.
    #[must_use]
    pub fn signing(material: impl Into<KeyMaterial>) -> Self {
        Self::signing_from(material, DateTime::<Utc>::MIN_UTC)
    }

    /// A key that signs from a time.
    #[must_use]
    pub fn signing_from(material: impl Into<KeyMaterial>, signs_from: DateTime<Utc>) -> Self {
        Self {
            material: material.into(),
            signs_from,
            lives: SessionLives::default(),
        }
    }

    /// A key that never signs. It is published, and its tokens are accepted.
    #[must_use]
    pub fn accepted(material: impl Into<KeyMaterial>) -> Self {
        Self::signing_from(material, DateTime::<Utc>::MAX_UTC)
    }

    fn never_signs(&self) -> bool {
        self.signs_from == DateTime::<Utc>::MAX_UTC
    }
}

/// All keys that a service knows, in the order of their turns. There is at least one.
///
/// ```
/// use chrono::{DateTime, TimeDelta};
/// use latchkey_domain::token::{KeyRing, RingKey, TokenSecret};
///
/// let key = |byte| TokenSecret::new(vec![byte; 32]).unwrap();
/// let swap = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
/// let keys = vec![RingKey::signing(key(1)), RingKey::signing_from(key(2), swap)];
/// let ring = KeyRing::new(keys).unwrap();
/// assert_eq!(ring.signing_at(swap - TimeDelta::seconds(1)).material.secret, key(1));
/// assert_eq!(ring.signing_at(swap).material.secret, key(2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    first: RingKey,
    others: Vec<RingKey>,
    device_secret: Option<TokenSecret>,
}

/// A ring without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no key")]
pub struct NoKey;

/// The ring has [`MOST_KEYS`] keys, and tokens of them all may be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{MOST_KEYS} keys have tokens that may be valid; rotate less often, or shorten the lives of sessions"
)]
pub struct TooManyKeys;

impl KeyRing {
    /// Keys, in any order. The first of them also signs before its time.
    ///
    /// # Errors
    /// [`NoKey`]
    pub fn new(mut keys: Vec<RingKey>) -> Result<Self, NoKey> {
        keys.sort_by_key(|key| key.signs_from);
        let mut keys = keys.into_iter();
        Ok(Self {
            first: keys.next().ok_or(NoKey)?,
            others: keys.collect(),
            device_secret: None,
        })
    }

    /// The same keys with a device secret, or without one.
    #[must_use]
    pub fn with_device_secret(mut self, secret: Option<TokenSecret>) -> Self {
        self.device_secret = secret;
        self
    }

    /// The secret that device tokens and counters are derived from, whichever key signs.
    #[must_use]
    pub fn device_secret(&self) -> Option<&TokenSecret> {
        self.device_secret.as_ref()
    }

    /// The keys in the order of their turns.
    pub fn iter(&self) -> impl Iterator<Item = &RingKey> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The keys in the order of their turns, each with what follows from the time at which the next one signs.
    pub fn terms(&self, policy: &SessionPolicy) -> impl Iterator<Item = (&RingKey, Term)> {
        let next = self.others.iter().map(|key| key.signs_from);
        let replaced = next.chain(std::iter::once(DateTime::<Utc>::MAX_UTC));
        self.iter().zip(replaced).map(|(key, replaced_at)| {
            (key, Term::replaced_at(replaced_at, key.lives.or_by(policy)))
        })
    }

    /// The key that signs at a time.
    #[must_use]
    pub fn signing_at(&self, now: DateTime<Utc>) -> &RingKey {
        let signs = |key: &&RingKey| key.signs_from <= now;
        self.others.iter().rfind(signs).unwrap_or(&self.first)
    }

    /// The key whose turn comes last.
    #[must_use]
    pub fn newest(&self) -> &RingKey {
        let signs = |key: &&RingKey| !key.never_signs();
        self.others.iter().rfind(signs).unwrap_or(&self.first)
    }

    /// The keys after a rotation at `now`: with a new one, which signs when it has been published for long enough; without
    /// those that are forgotten; without the RSA keys whose access tokens are over. Each keeps how long sessions live now,
    /// so that settings which are lowered later do not cut off the tokens of sessions from before.
    ///
    /// # Errors
    /// [`TooManyKeys`]
    pub fn rotate(
        &self,
        new: KeyMaterial,
        signs_from: DateTime<Utc>,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
    ) -> Result<Self, TooManyKeys> {
        let kept = self
            .terms(policy)
            .filter(|(key, term)| term.is_needed(key, now));
        let mut keys: Vec<RingKey> = kept
            .map(|(key, term)| {
                let mut key = key.clone();
                key.lives = key.lives.or_by(policy);
                if now >= term.access_over_at {
                    key.material.rsa = None;
                }
                key
            })
            .collect();
        if keys.len() >= MOST_KEYS {
            return Err(TooManyKeys);
        }
        keys.push(RingKey {
            lives: SessionLives::default().or_by(policy),
            ..RingKey::signing_from(new, signs_from)
        });
        keys.sort_by_key(|key| key.signs_from);
        let mut keys = keys.into_iter();
        // There is one: it was just added.
        let first = keys.next().unwrap_or_else(|| self.first.clone());
        Ok(Self {
            first,
            others: keys.collect(),
            device_secret: self.device_secret.clone(),
        })
    }
}

/// When a key's tokens are no longer accepted, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// From when no access token that it signed is valid: also with the longest lifetime that the setting allows, so
    /// that a change of the setting in between refuses nobody.
    pub access_over_at: DateTime<Utc>,
    /// From when no refresh token that it signed is valid: each is remade with the newest key at every refresh, and one
    /// that is not refreshed lives as long as a session may be idle.
    pub refresh_over_at: DateTime<Utc>,
    /// From when no link that it signed is valid.
    pub links_over_at: DateTime<Utc>,
    /// From when no session is live that had a token of it. Until then such a token, though over, still tells that it was
    /// replaced and has come back, and still signs its session out.
    pub forgotten_at: DateTime<Utc>,
}

impl Term {
    /// Whether a key may have signed tokens that still mean something. One that never signs has not.
    #[must_use]
    pub fn is_needed(&self, key: &RingKey, now: DateTime<Utc>) -> bool {
        now < self.forgotten_at.max(self.links_over_at) && !key.never_signs()
    }

    /// Of a key that no longer signs from a time.
    #[must_use]
    pub fn replaced_at(at: DateTime<Utc>, lives: SessionLives) -> Self {
        let after = |span: TimeDelta| {
            at.checked_add_signed(span + CLOCK_DIFFERENCE)
                .unwrap_or(DateTime::<Utc>::MAX_UTC)
        };
        Self {
            access_over_at: after(LONGEST_ACCESS_TOKEN_LIFETIME),
            refresh_over_at: after(lives.idle),
            links_over_at: after(LONGEST_LINK_LIFETIME),
            forgotten_at: after(lives.absolute),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::noon;

    fn key(byte: u8) -> KeyMaterial {
        TokenSecret::new(vec![byte; 32]).unwrap().into()
    }

    fn ring(keys: Vec<RingKey>) -> KeyRing {
        KeyRing::new(keys).unwrap()
    }

    #[test]
    fn one_key_signs_at_any_time() {
        let (first, second) = (noon(), noon() + TimeDelta::days(1));
        let ring = ring(vec![
            RingKey::signing_from(key(2), second),
            RingKey::accepted(key(9)),
            RingKey::signing_from(key(1), first),
        ]);
        let millisecond = TimeDelta::milliseconds(1);
        for (now, signs) in [
            (DateTime::<Utc>::MIN_UTC, 1),
            (first, 1),
            (second - millisecond, 1),
            (second, 2),
            (second + TimeDelta::days(9_999), 2),
        ] {
            assert_eq!(ring.signing_at(now).material, key(signs), "{now}");
        }
        assert_eq!(ring.newest().material, key(2));
        assert!(KeyRing::new(Vec::new()).is_err());
    }

    #[test]
    fn a_replaced_key_is_accepted_as_long_as_its_tokens_may_be_valid() {
        let policy = SessionPolicy::default();
        let ring = ring(vec![
            RingKey::signing(key(1)),
            RingKey::signing_from(key(2), noon()),
            RingKey::accepted(key(9)),
        ]);
        let terms: Vec<Term> = ring.terms(&policy).map(|(_, term)| term).collect();
        let after = |span: TimeDelta| noon() + span + TimeDelta::seconds(5);
        assert_eq!(terms[0].access_over_at, after(TimeDelta::hours(1)));
        assert_eq!(terms[0].refresh_over_at, after(TimeDelta::days(7)));
        assert_eq!(terms[0].links_over_at, after(TimeDelta::days(1)));
        assert_eq!(terms[0].forgotten_at, after(TimeDelta::days(30)));
        for term in &terms[1..] {
            assert_eq!(term.access_over_at, DateTime::<Utc>::MAX_UTC);
        }
    }

    #[test]
    fn a_rotation_adds_a_key_and_drops_what_is_forgotten() {
        let policy = SessionPolicy::default();
        let with_rsa = |byte| KeyMaterial {
            rsa: Some(RsaPrivateKey::from_base64("AAAA").unwrap()),
            ..key(byte)
        };
        let at = |days| noon() + TimeDelta::days(days);
        let keys = vec![
            RingKey::signing_from(with_rsa(1), at(0)),
            RingKey::signing_from(with_rsa(2), at(1)),
            RingKey::signing_from(with_rsa(3), at(2)),
            RingKey::accepted(key(9)),
        ];
        let now = at(31) + TimeDelta::seconds(5);
        let before = now - TimeDelta::milliseconds(1);
        let rotate = |now| ring(keys.clone()).rotate(with_rsa(4), now, now, &policy);
        assert_eq!(rotate(before).unwrap().iter().count(), 4);
        let after = rotate(now).unwrap();
        let expected = [key(2), with_rsa(3), with_rsa(4)];
        let left: Vec<KeyMaterial> = after.iter().map(|key| key.material.clone()).collect();
        assert_eq!(left, expected, "and the second's RSA key is gone");
    }

    #[test]
    fn settings_that_are_lowered_after_a_rotation_cut_off_no_token_from_before() {
        let policy = SessionPolicy::default();
        let lowered = SessionPolicy {
            idle_lifetime: TimeDelta::days(1),
            absolute_lifetime: TimeDelta::days(2),
            ..policy.clone()
        };
        let rotated = ring(vec![RingKey::signing(key(1))]);
        let rotated = rotated.rotate(key(2), noon(), noon(), &policy).unwrap();
        let term = |policy| rotated.terms(policy).next().unwrap().1;
        assert_eq!(term(&lowered), term(&policy));
        // A later rotation, under the lowered settings, keeps the key for as long.
        let at = |days| noon() + TimeDelta::days(days);
        let again = |now| rotated.rotate(key(3), now, now, &lowered).unwrap();
        assert_eq!(again(at(29)).iter().count(), 3);
        assert_eq!(again(at(31)).iter().count(), 2);
        // The key that signed when they were lowered keeps it too.
        let again = again(at(29));
        let lives = |ring: &KeyRing| {
            let lives = ring.iter().map(|key| key.lives);
            lives.collect::<Vec<_>>()
        };
        let before = SessionLives::default().or_by(&policy);
        assert_eq!(lives(&again)[..2], [before, before]);
        assert_eq!(lives(&again)[2], SessionLives::default().or_by(&lowered));
    }

    #[test]
    fn no_key_is_dropped_whose_tokens_may_be_valid() {
        let policy = SessionPolicy::default();
        let mut keys = ring(vec![RingKey::signing(key(0))]);
        for minute in 1..100 {
            let now = noon() + TimeDelta::minutes(minute);
            keys = keys.rotate(key(1), now, now, &policy).unwrap();
        }
        let now = noon() + TimeDelta::days(1);
        assert_eq!(keys.rotate(key(2), now, now, &policy), Err(TooManyKeys));
    }
}
