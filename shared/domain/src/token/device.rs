//! Device tokens: what shows that a client has signed in to an account before (OWASP, "Device cookies").
//!
//! A device token is a JWT of type `dt+jwt`, authenticated with HMAC. It opens nothing. Wrong passwords that are given with
//! it are counted apart from those of strangers, that is all. So it has no expiry: who returns after years is whom it
//! protects. No sign-out has to take it back. A password change does not either: a token names the version of the
//! password that was given, and whoever shows one of a replaced password shares a count with all others who do (see
//! [`crate::throttle`]).
//!
//! Its key, and that of the counters, are derived from the device secret, which is not rotated: otherwise each rotation
//! would make strangers of devices and give every guesser new attempts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Kind, Token, TokenError, Tokens};
use crate::id::{DeviceNonce, UserId};
use crate::random::RandomSource;
use crate::throttle::{Counter, Subject};

/// What a device token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceClaims {
    /// Who issued it.
    pub iss: String,
    /// Who may read it: the issuer alone.
    pub aud: String,
    /// The user who has signed in with it.
    pub sub: UserId,
    /// The client that they have signed in on, told from their other clients.
    pub jti: DeviceNonce,
    /// When the client first signed in, epoch seconds.
    pub iat: i64,
    /// Which of the user's passwords the client has last given. Tokens of earlier versions of this service do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_version: Option<u64>,
}

impl Tokens {
    /// What the device token of a client says that signs in to an account for the first time.
    #[must_use]
    pub fn new_device(
        &self,
        user: UserId,
        now: DateTime<Utc>,
        random: &dyn RandomSource,
    ) -> DeviceClaims {
        DeviceClaims {
            iss: self.0.identity.issuer.clone(),
            aud: self.0.identity.issuer.clone(),
            sub: user,
            jti: DeviceNonce::random(random),
            iat: now.timestamp(),
            password_version: None,
        }
    }

    /// The device token that says this, the same each time.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`], which does not depend on the claims.
    pub fn issue_device(
        &self,
        claims: &DeviceClaims,
        now: DateTime<Utc>,
    ) -> Result<Token, TokenError> {
        self.sign(Kind::Device, claims, now)
    }

    /// Checks a device token. It has no expiry. One from before there was a device secret is known as long as the key is
    /// kept that has signed it.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_device(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<DeviceClaims, TokenError> {
        let (claims, _) = self.verify(Kind::Device, token, now)?;
        Ok(claims)
    }

    /// Under which key attempts of a subject are counted: a keyed digest, from which nobody who reads the table finds the
    /// subject. Another device secret gives another key, so when one replaces the other all counts begin again. None if
    /// there is no key, which cannot be.
    #[must_use]
    pub fn counter(&self, subject: Subject<'_>, now: DateTime<Utc>) -> Option<Counter> {
        Some(Counter::new(subject, &self.device_keys(now)?.counters))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TokenIdentity, TokenSecret};
    use super::*;
    use crate::random::SeededRandom;
    use crate::session::tests::{noon, session};

    fn tokens(current: u8, previous: Option<u8>) -> Tokens {
        let identity = TokenIdentity {
            issuer: "https://id.example.com".to_owned(),
            audience: "latchkey".to_owned(),
            other_audiences: Vec::new(),
            client_id: "latchkey-app".to_owned(),
        };
        let secret = |byte| TokenSecret::new(vec![byte; 32]).unwrap();
        Tokens::new(identity, &secret(current), previous.map(secret).as_ref()).unwrap()
    }

    fn claims(tokens: &Tokens) -> DeviceClaims {
        let user = session(1, noon()).user_id;
        tokens.new_device(user, noon(), &SeededRandom::new(1))
    }

    #[test]
    fn a_device_token_reads_back_and_is_always_the_same() {
        let tokens = tokens(1, None);
        let claims = claims(&tokens);
        let token = tokens.issue_device(&claims, noon()).unwrap();
        assert_eq!(tokens.verify_device(&token, noon()), Ok(claims.clone()));
        assert_eq!(tokens.issue_device(&claims, noon()), Ok(token));
    }

    #[test]
    fn a_device_token_is_no_other_token_and_no_other_token_is_one() {
        let tokens = tokens(1, None);
        let device = tokens.issue_device(&claims(&tokens), noon()).unwrap();
        let wrong = TokenError::WrongType;
        assert_eq!(tokens.verify_access_of_any_age(&device, noon()), Err(wrong));
        assert_eq!(
            tokens.verify_refresh_of_any_age(&device, noon()),
            Err(wrong)
        );
        let (policy, random) = (Default::default(), SeededRandom::new(1));
        let session = session(1, noon());
        let scope = super::super::Scope::own_account();
        let issued = tokens.issue(&session, scope, noon(), &policy, &random);
        let issued = issued.unwrap();
        for other in [issued.access_token, issued.refresh_token] {
            assert_eq!(tokens.verify_device(&other, noon()), Err(wrong));
        }
    }

    #[test]
    fn without_a_device_secret_another_secret_knows_no_device_until_it_has_the_old_one() {
        let old = tokens(1, None);
        let token = old.issue_device(&claims(&old), noon()).unwrap();
        let unknown = Err(TokenError::UnknownKey);
        assert_eq!(tokens(2, None).verify_device(&token, noon()), unknown);
        let both = tokens(2, Some(1));
        let read = both.verify_device(&token, noon()).unwrap();
        assert_eq!(read, claims(&old));
        // Signed anew it has the same nonce, so its counter stays.
        let token = both.issue_device(&read, noon()).unwrap();
        assert_eq!(tokens(2, None).verify_device(&token, noon()), Ok(read));
    }

    #[test]
    fn with_a_device_secret_devices_and_counters_outlive_every_key() {
        let secret = |byte| TokenSecret::new(vec![byte; 32]).unwrap();
        let with = |current: u8, previous: Option<u8>, device: u8| {
            let identity = tokens(1, None).identity().clone();
            let (current, previous) = (secret(current).into(), previous.map(secret));
            let device = Some(secret(device));
            Tokens::of_secret(identity, current, previous, device, noon()).unwrap()
        };
        let old = with(1, None, 9);
        let claims = claims(&old);
        let token = old.issue_device(&claims, noon()).unwrap();
        let subject = Subject::Device(claims.jti);
        let others = with(2, None, 9);
        assert_eq!(others.issue_device(&claims, noon()), Ok(token.clone()));
        assert_eq!(others.verify_device(&token, noon()), Ok(claims.clone()));
        assert_eq!(
            others.counter(subject, noon()),
            old.counter(subject, noon())
        );
        // Replaced by hand: strangers, and new counts.
        let replaced = with(1, None, 8);
        let unknown = Err(TokenError::UnknownKey);
        assert_eq!(replaced.verify_device(&token, noon()), unknown);
        assert_ne!(
            replaced.counter(subject, noon()),
            old.counter(subject, noon())
        );
        // From before there was one: known as long as the key is.
        let before = tokens(1, None).issue_device(&claims, noon()).unwrap();
        assert_ne!(before, token);
        for known in [old, with(2, Some(1), 9)] {
            assert_eq!(known.verify_device(&before, noon()), Ok(claims.clone()));
            assert_eq!(known.issue_device(&claims, noon()), Ok(token.clone()));
        }
        assert_eq!(others.verify_device(&before, noon()), unknown);
    }

    #[test]
    fn what_is_too_long_or_changed_is_not_genuine() {
        let tokens = tokens(1, None);
        let token = tokens.issue_device(&claims(&tokens), noon()).unwrap();
        let longer = Token::new(format!("{}{}", token.expose(), "A".repeat(4096)));
        assert_eq!(
            tokens.verify_device(&longer, noon()),
            Err(TokenError::Malformed)
        );
        let changed = Token::new(format!("{}A", token.expose()));
        assert!(tokens.verify_device(&changed, noon()).is_err());
    }
}
