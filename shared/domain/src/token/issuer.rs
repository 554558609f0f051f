//! Issues tokens and verifies them.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::keys::{AccessTokens, DeviceKeys, KeyDerivationFailed, KeyPair, KeySet, TokenSecret};
use super::{
    Access, AccessClaims, ClaimsElsewhere, IssuedTokens, KeyMaterial, KeyRing, Kind, RefreshClaims,
    RefreshTokenId, RingKey, Scope, SessionLives, Term, Token, TokenError, TokenIdentity,
};
use crate::clock::whole_seconds;
use crate::id::SessionId;
use crate::policy::SessionPolicy;
use crate::random::RandomSource;
use crate::session::Session;

/// Longer tokens are refused without reading them, in bytes. Ours have about 600.
const MAX_TOKEN_BYTES: usize = 4096;

/// Issues tokens, and tells whether one is valid.
#[derive(Clone)]
pub struct Tokens(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) identity: TokenIdentity,
    /// In the order of their turns; there is one.
    keys: Vec<RingKeys>,
    /// Those of the device secret, which do not rotate.
    device: Option<(DeviceKeys, Term)>,
    ed25519_validation: Validation,
    rsa_validation: Validation,
    refresh_validation: Validation,
    device_validation: Validation,
}

/// The keys of a place in the ring, and their times.
pub(super) struct RingKeys {
    pub(super) keys: KeySet,
    signs_from: DateTime<Utc>,
    term: Term,
}

impl RingKeys {
    /// Whether tokens of a kind are accepted, if perhaps only to notice what they mean.
    fn accepts(&self, kind: Kind, now: DateTime<Utc>) -> bool {
        let until = match kind {
            Kind::Access => self.term.access_over_at,
            Kind::Refresh | Kind::Device => self.term.forgotten_at,
            Kind::Link(_) => self.term.links_over_at,
        };
        now < until
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("identity", &self.0.identity)
            .finish_non_exhaustive()
    }
}

impl Tokens {
    /// Derives the keys. `current` signs; what `previous` signed is still accepted.
    ///
    /// # Errors
    /// [`KeyDerivationFailed`], which does not depend on the secret's value.
    pub fn new(
        identity: TokenIdentity,
        current: &TokenSecret,
        previous: Option<&TokenSecret>,
    ) -> Result<Self, KeyDerivationFailed> {
        let current = current.clone().into();
        Self::of_secret(
            identity,
            current,
            previous.cloned(),
            None,
            DateTime::<Utc>::MIN_UTC,
        )
    }

    /// The same, with an RSA key perhaps, and a device secret perhaps, for use from `now` on.
    ///
    /// # Errors
    /// [`KeyDerivationFailed`], also if the RSA key is none.
    pub fn of_secret(
        identity: TokenIdentity,
        current: KeyMaterial,
        previous: Option<TokenSecret>,
        device: Option<TokenSecret>,
        now: DateTime<Utc>,
    ) -> Result<Self, KeyDerivationFailed> {
        let previous = previous.map(RingKey::accepted);
        let keys = std::iter::once(RingKey::signing(current)).chain(previous);
        let ring = KeyRing::new(keys.collect()).map_err(|_| KeyDerivationFailed)?;
        let ring = ring.with_device_secret(device);
        Self::of_ring(identity, &ring, &SessionPolicy::default(), now)
    }

    /// Derives the keys of a ring, for use from `now` on. `policy` says how long the tokens of a replaced key are accepted.
    ///
    /// # Errors
    /// [`KeyDerivationFailed`], which does not depend on the value of a secret, or if an RSA key is none.
    pub fn of_ring(
        identity: TokenIdentity,
        ring: &KeyRing,
        policy: &SessionPolicy,
        now: DateTime<Utc>,
    ) -> Result<Self, KeyDerivationFailed> {
        let keys = ring.terms(policy).map(|(key, term)| {
            let access = if now < term.access_over_at {
                AccessTokens::InUse
            } else {
                AccessTokens::Over
            };
            Ok(RingKeys {
                keys: KeySet::derive(&key.material, access)?,
                signs_from: key.signs_from,
                term,
            })
        });
        let device = ring.device_secret().map(|secret| {
            let for_ever = Term::replaced_at(DateTime::<Utc>::MAX_UTC, SessionLives::default());
            Ok((DeviceKeys::derive(secret)?, for_ever))
        });
        let issuer = &identity.issuer;
        Ok(Self(Arc::new(Inner {
            keys: keys.collect::<Result<_, _>>()?,
            device: device.transpose()?,
            ed25519_validation: validation(issuer, &identity.audience, Algorithm::EdDSA),
            rsa_validation: validation(issuer, &identity.audience, Algorithm::RS256),
            refresh_validation: validation(issuer, issuer, Algorithm::HS256),
            device_validation: device_validation(issuer),
            identity,
        })))
    }

    /// The public keys, as `/.well-known/jwks.json` gives them (RFC 7517, RFC 8037): the one that signs, then the others
    /// whose access tokens are accepted.
    #[must_use]
    pub fn jwks(&self, now: DateTime<Utc>) -> JwkSet {
        let signing = self.signing_at(now);
        let others = self.0.keys.iter().filter(|one| {
            one.accepts(Kind::Access, now) && !signing.is_some_and(|key| std::ptr::eq(*one, key))
        });
        let keys = signing.into_iter().chain(others);
        let keys = keys.filter_map(|one| one.keys.public().cloned()).collect();
        JwkSet { keys }
    }

    /// Who issues the tokens, and for whom.
    #[must_use]
    pub fn identity(&self) -> &TokenIdentity {
        &self.0.identity
    }

    /// The name of the key that signs access tokens, as the published keys have it.
    #[must_use]
    pub fn signing_key_id(&self, now: DateTime<Utc>) -> Option<&str> {
        let key = self.signing_at(now)?.keys.key(Kind::Access)?;
        Some(&key.kid)
    }

    pub(super) fn signing_at(&self, now: DateTime<Utc>) -> Option<&RingKeys> {
        let keys = &self.0.keys;
        keys.iter()
            .rfind(|one| one.signs_from <= now)
            .or(keys.first())
    }

    /// The keys of device tokens and counters: those of the device secret, else those of the key whose turn it is.
    pub(super) fn device_keys(&self, now: DateTime<Utc>) -> Option<&DeviceKeys> {
        let lasting = self.0.device.as_ref().map(|(keys, _)| keys);
        lasting.or_else(|| Some(&self.signing_at(now)?.keys.device))
    }

    /// Signs claims with the key whose turn it is, device tokens with one that lasts.
    pub(super) fn sign<C: Serialize>(
        &self,
        kind: Kind,
        claims: &C,
        now: DateTime<Utc>,
    ) -> Result<Token, TokenError> {
        let signing = match kind {
            Kind::Device => self.device_keys(now).map(|keys| &keys.tokens),
            Kind::Access | Kind::Refresh | Kind::Link(_) => {
                self.signing_at(now).and_then(|one| one.keys.key(kind))
            }
        };
        signing.ok_or(TokenError::SigningFailed)?.sign(claims)
    }

    /// Issues the tokens of a session as it is now: a new access token that gives what `access` says, and *the* refresh
    /// token of its rotation, the same each time.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`], which does not depend on the session.
    pub fn issue<'a>(
        &self,
        session: &Session,
        access: impl Into<Access<'a>>,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
        random: &dyn RandomSource,
    ) -> Result<IssuedTokens, TokenError> {
        let inner = &self.0;
        let now = whole_seconds(now);
        let access_expiry =
            whole_seconds(now + policy.access_token_lifetime).min(session.expires_at());
        let (audience, scope) = match access.into() {
            Access::ThisApi(scope) => (inner.identity.audience.as_str(), scope),
            Access::Other(audience) => (audience, Scope::default()),
        };
        let access = AccessClaims {
            iss: inner.identity.issuer.clone(),
            aud: audience.to_owned(),
            client_id: inner.identity.client_id.clone(),
            sub: session.user_id,
            sid: session.id,
            jti: SessionId::random(random).to_string(),
            iat: now.timestamp(),
            exp: access_expiry.timestamp(),
            auth_time: session.authenticated_at.timestamp(),
            amr: session.methods.as_slice().to_vec(),
            scope,
        };
        let refresh = self.refresh_claims(session);
        Ok(IssuedTokens {
            access_token: self.sign(Kind::Access, &access, now)?,
            expires_in: access_expiry - now,
            refresh_token: self.sign(Kind::Refresh, &refresh, now)?,
            refresh_expires_in: session.expires_at() - now,
        })
    }

    /// The claims of the one refresh token that belongs to the session's rotation.
    fn refresh_claims(&self, session: &Session) -> RefreshClaims {
        RefreshClaims {
            iss: self.0.identity.issuer.clone(),
            aud: self.0.identity.issuer.clone(),
            sub: session.user_id,
            sid: session.id,
            jti: RefreshTokenId {
                session_id: session.id,
                rotation: session.rotation,
            },
            iat: session.rotated_at.timestamp(),
            exp: session.expires_at().timestamp(),
        }
    }

    /// Checks an access token: type, algorithm, key, signature, issuer, audience, and that `now` is before `exp`.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_access(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        let claims = self.verify_access_of_any_age(token, now)?;
        if now.timestamp() >= claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    /// Checks an access token that is meant for another audience, as [`Tokens::verify_access`] does. It allows nothing at
    /// this API, so its scope is empty and need not be there.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_access_for(
        &self,
        audience: &str,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        let (key, _) = self.key_for(Kind::Access, token, now)?;
        let validation = validation(&self.0.identity.issuer, audience, key.algorithm);
        let claims: ClaimsElsewhere = claims(token, key, &validation)?;
        if now.timestamp() >= claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(claims.into())
    }

    /// Checks everything about an access token but its expiry: enough to end its session.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_access_of_any_age(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        match self.verify(Kind::Access, token, now) {
            // Claims are read before the audience is checked, and a token for another one has no scope.
            Err(TokenError::Malformed) => {
                let elsewhere = self.verify::<ClaimsElsewhere>(Kind::Access, token, now);
                Err(elsewhere.err().unwrap_or(TokenError::Malformed))
            }
            verified => verified.map(|(claims, _)| claims),
        }
    }

    /// The same for an access token for any audience of ours.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_access_for_any_audience(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<AccessClaims, TokenError> {
        let verified = self.verify_access_of_any_age(token, now);
        if !matches!(verified, Err(TokenError::WrongAudience)) {
            return verified;
        }
        let (key, _) = self.key_for(Kind::Access, token, now)?;
        let identity = &self.0.identity;
        let mut validation = validation(&identity.issuer, &identity.audience, key.algorithm);
        validation.set_audience(&identity.other_audiences);
        let claims: ClaimsElsewhere = claims(token, key, &validation)?;
        Ok(claims.into())
    }

    /// Checks everything about a refresh token but its expiry: enough to end its session (RFC 7009), and to notice that a
    /// replaced one has come back. Whatever a replaced key has signed says that it expires when the last of its genuine
    /// tokens does: one that says later is a forgery.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_refresh_of_any_age(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<RefreshClaims, TokenError> {
        let (mut claims, term): (RefreshClaims, _) = self.verify(Kind::Refresh, token, now)?;
        if claims.jti.session_id != claims.sid {
            return Err(TokenError::Malformed);
        }
        claims.exp = claims.exp.min(term.refresh_over_at.timestamp());
        Ok(claims)
    }

    /// The key that a token's header names, if the token says that it is of this kind, and how long the key is accepted.
    fn key_for(
        &self,
        kind: Kind,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<(&KeyPair, &Term), TokenError> {
        if token.0.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(&token.0).map_err(|error| refusal(&error))?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed); // RFC 7515 section 4.1.11
        }
        if header.typ.as_deref() != Some(kind.typ()) {
            return Err(TokenError::WrongType);
        }
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        let accepted = self.0.keys.iter().filter(|one| one.accepts(kind, now));
        let accepted = accepted.filter_map(|one| Some((one.keys.key(kind)?, &one.term)));
        // Device tokens from before there was a device secret are signed with a key of the ring.
        let lasting = self.0.device.iter().filter(|_| kind == Kind::Device);
        lasting
            .map(|(keys, term)| (&keys.tokens, term))
            .chain(accepted)
            .find(|(key, _)| key.kid == kid)
            .ok_or(TokenError::UnknownKey)
    }

    /// Checks everything about a token but its expiry. The key decides the algorithm, never the token.
    pub(super) fn verify<C: DeserializeOwned>(
        &self,
        kind: Kind,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<(C, &Term), TokenError> {
        let (key, term) = self.key_for(kind, token, now)?;
        let validation = match (kind, key.algorithm) {
            (Kind::Access, Algorithm::RS256) => &self.0.rsa_validation,
            (Kind::Access, _) => &self.0.ed25519_validation,
            // Both are for the issuer alone, and expire.
            (Kind::Refresh | Kind::Link(_), _) => &self.0.refresh_validation,
            (Kind::Device, _) => &self.0.device_validation,
        };
        Ok((claims(token, key, validation)?, term))
    }
}

/// What the library checks: the one algorithm of a key, `iss`, `aud`, and that the claims are there.
fn validation(issuer: &str, audience: &str, algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    // The library reads the system's clock. We compare with the clock that is passed in, and a token is over
    // *at* `exp` (RFC 7519 section 4.1.4).
    validation.validate_exp = false;
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
    validation
}

/// A device token has no expiry.
fn device_validation(issuer: &str) -> Validation {
    let mut validation = validation(issuer, issuer, Algorithm::HS256);
    validation.set_required_spec_claims(&["iss", "aud", "sub"]);
    validation
}

fn claims<C: DeserializeOwned>(
    token: &Token,
    key: &KeyPair,
    validation: &Validation,
) -> Result<C, TokenError> {
    jsonwebtoken::decode(&token.0, &key.verify, validation)
        .map(|data| data.claims)
        .map_err(|error| refusal(&error))
}

fn refusal(error: &jsonwebtoken::errors::Error) -> TokenError {
    use jsonwebtoken::errors::ErrorKind;
    // The library may add kinds; a new one is a malformed token to us.
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::BadSignature,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::WrongAlgorithm,
        ErrorKind::InvalidIssuer => TokenError::WrongIssuer,
        ErrorKind::InvalidAudience => TokenError::WrongAudience,
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use aws_lc_rs::signature::Ed25519KeyPair;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use chrono::TimeDelta;
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    use serde::Serialize;

    use super::super::keys::derive;
    use super::super::{ACCESS_TOKEN_TYPE, Audience, REFRESH_TOKEN_TYPE, UnknownAudience};
    use super::*;
    use crate::random::SeededRandom;
    use crate::session::tests::{noon, session};

    fn identity() -> TokenIdentity {
        TokenIdentity {
            issuer: "https://id.example.com".to_owned(),
            audience: "latchkey".to_owned(),
            other_audiences: vec!["https://orders.example.com".to_owned()],
            client_id: "latchkey-app".to_owned(),
        }
    }

    fn secret(byte: u8) -> TokenSecret {
        TokenSecret::new(vec![byte; 32]).unwrap()
    }

    fn tokens(current: u8, previous: Option<u8>) -> Tokens {
        Tokens::new(identity(), &secret(current), previous.map(secret).as_ref()).unwrap()
    }

    fn issue(tokens: &Tokens, session: &Session, now: DateTime<Utc>) -> IssuedTokens {
        tokens
            .issue(
                session,
                Scope::own_account(),
                now,
                &SessionPolicy::default(),
                &SeededRandom::new(7),
            )
            .unwrap()
    }

    fn signing(tokens: &Tokens) -> &KeySet {
        &tokens.signing_at(noon()).unwrap().keys
    }

    fn ed25519() -> Ed25519KeyPair {
        let seed = derive(&secret(1), "access token: Ed25519 seed").unwrap();
        Ed25519KeyPair::from_seed_unchecked(seed.as_ref()).unwrap()
    }

    fn ed25519_encoding_key() -> EncodingKey {
        EncodingKey::from_ed_der(ed25519().to_pkcs8v1().unwrap().as_ref())
    }

    fn forged(
        typ: &str,
        algorithm: Algorithm,
        kid: &str,
        key: &EncodingKey,
        claims: &impl Serialize,
    ) -> Token {
        let mut header = Header::new(algorithm);
        header.typ = Some(typ.to_owned());
        header.kid = Some(kid.to_owned());
        Token(jsonwebtoken::encode(&header, claims, key).unwrap())
    }

    #[test]
    fn a_token_is_what_the_library_would_make_of_its_claims() {
        let tokens = tokens(1, None);
        let issued = issue(&tokens, &session(1, noon()), noon());
        let keys = signing(&tokens);
        let access = tokens.verify_access(&issued.access_token, noon()).unwrap();
        let by_library = forged(
            ACCESS_TOKEN_TYPE,
            Algorithm::EdDSA,
            &keys.key(Kind::Access).unwrap().kid,
            &ed25519_encoding_key(),
            &access,
        );
        assert_eq!(issued.access_token.expose(), by_library.expose());
        let refresh = tokens
            .verify_refresh_of_any_age(&issued.refresh_token, noon())
            .unwrap();
        let secret_key = derive(&secret(1), "refresh token: HS256 key").unwrap();
        let by_library = forged(
            REFRESH_TOKEN_TYPE,
            Algorithm::HS256,
            &keys.key(Kind::Refresh).unwrap().kid,
            &EncodingKey::from_secret(secret_key.as_ref()),
            &refresh,
        );
        assert_eq!(issued.refresh_token.expose(), by_library.expose());
    }

    #[test]
    fn a_header_in_another_spelling_names_its_key_too() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let header = format!(
            r#"{{"kid":"{}","alg":"HS256","typ":"{REFRESH_TOKEN_TYPE}"}}"#,
            signing(&tokens).key(Kind::Refresh).unwrap().kid
        );
        let claims = serde_json::to_vec(&tokens.refresh_claims(&session)).unwrap();
        let mut text = [header.into_bytes(), claims]
            .map(|part| URL_SAFE_NO_PAD.encode(part))
            .join(".");
        let secret_key = derive(&secret(1), "refresh token: HS256 key").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key.as_ref());
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
        text.push('.');
        text.push_str(&signature);
        assert!(
            tokens
                .verify_refresh_of_any_age(&Token(text), noon())
                .is_ok()
        );
    }

    #[test]
    fn the_longest_token_is_read_and_a_longer_one_is_not() {
        let tokens = tokens(1, None);
        let key = EncodingKey::from_secret(&[0; 32]);
        let mut longer = (0..).map(|characters| {
            let kid = "k".repeat(characters);
            let claims = serde_json::json!({});
            forged(REFRESH_TOKEN_TYPE, Algorithm::HS256, &kid, &key, &claims)
        });
        let longest = longer
            .find(|token| token.0.len() >= MAX_TOKEN_BYTES)
            .unwrap();
        let too_long = longer.next().unwrap();
        assert_eq!(longest.0.len(), MAX_TOKEN_BYTES);
        let refused = |token| tokens.verify_refresh_of_any_age(token, noon()).unwrap_err();
        assert_eq!(refused(&longest), TokenError::UnknownKey);
        assert_eq!(refused(&too_long), TokenError::Malformed);
    }

    #[test]
    fn a_token_with_a_critical_extension_is_refused() {
        let tokens = tokens(1, None);
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(REFRESH_TOKEN_TYPE.to_owned());
        header.kid = Some(signing(&tokens).key(Kind::Refresh).unwrap().kid.clone());
        header.crit = Some(vec!["unknown".to_owned()]);
        let claims = tokens.refresh_claims(&session(1, noon()));
        let secret_key = derive(&secret(1), "refresh token: HS256 key").unwrap();
        let key = EncodingKey::from_secret(secret_key.as_ref());
        let token = Token(jsonwebtoken::encode(&header, &claims, &key).unwrap());
        let refused = tokens.verify_refresh_of_any_age(&token, noon());
        assert_eq!(refused, Err(TokenError::Malformed));
    }

    #[test]
    fn a_token_for_another_audience_allows_nothing_here() {
        let tokens = tokens(1, None);
        let (session, policy) = (session(1, noon()), SessionPolicy::default());
        let other = identity().other_audiences[0].clone();
        let issue = |access| {
            let random = SeededRandom::new(7);
            tokens.issue(&session, access, noon(), &policy, &random)
        };
        let foreign = issue(Access::Other(&other)).unwrap();
        for refused in [
            tokens.verify_access(&foreign.access_token, noon()),
            tokens.verify_access_of_any_age(&foreign.access_token, noon()),
        ] {
            assert_eq!(refused, Err(TokenError::WrongAudience));
        }
        let own = issue(Access::ThisApi(Scope::own_account())).unwrap();
        assert_eq!(foreign.refresh_token, own.refresh_token);
        // Who asks for that audience takes it, until it is over.
        let verify = |now| tokens.verify_access_for(&other, &foreign.access_token, now);
        let end = whole_seconds(noon()) + foreign.expires_in;
        assert!(verify(end - TimeDelta::milliseconds(1)).is_ok());
        assert_eq!(verify(end), Err(TokenError::Expired));
        let refused = tokens.verify_access_for(&other, &own.access_token, noon());
        assert_eq!(refused, Err(TokenError::WrongAudience));
        // Who takes any audience of ours takes both, of any age.
        for token in [&own.access_token, &foreign.access_token] {
            let verified = tokens.verify_access_for_any_audience(token, end);
            assert_eq!(verified.unwrap().sid, session.id);
        }
        let found = |name| identity().find_audience(name);
        assert_eq!(found(None), Ok(Audience::ThisApi));
        assert_eq!(found(Some("latchkey")), Ok(Audience::ThisApi));
        assert_eq!(
            found(Some(&other)),
            Ok(Audience::Other(other.as_str().into()))
        );
        for unknown in ["", "Latchkey", "https://id.example.com"] {
            assert_eq!(found(Some(unknown)), Err(UnknownAudience), "{unknown}");
        }
    }

    #[test]
    fn a_token_says_what_its_session_is() {
        let tokens = tokens(1, None);
        let mut session = session(1, noon());
        session.rotation = 3;
        session.authenticated_at = session.created_at + TimeDelta::hours(1);
        let issued = issue(&tokens, &session, noon());
        let access = tokens.verify_access(&issued.access_token, noon()).unwrap();
        assert_eq!((access.sub, access.sid), (session.user_id, session.id));
        assert_eq!(access.auth_time, session.created_at.timestamp() + 3600);
        assert_eq!(access.amr, ["pwd"]);
        assert_eq!(access.exp - access.iat, 900);
        assert_eq!(issued.expires_in, TimeDelta::seconds(900));
        let refresh = tokens
            .verify_refresh_of_any_age(&issued.refresh_token, noon())
            .unwrap();
        assert_eq!(refresh.jti.to_string(), format!("{}.3", session.id));
        assert_eq!(refresh.exp, session.expires_at().timestamp());
    }

    #[test]
    fn the_refresh_token_of_a_rotation_is_always_the_same() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let first = issue(&tokens, &session, noon());
        let again = issue(&tokens, &session, noon() + TimeDelta::seconds(20));
        assert_eq!(first.refresh_token, again.refresh_token);
        assert_ne!(first.access_token, again.access_token);
    }

    #[test]
    fn a_token_is_over_at_its_expiry_to_the_millisecond() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let issued = issue(&tokens, &session, noon());
        let millisecond = TimeDelta::milliseconds(1);
        let end = session.expires_at();
        let claims = tokens.verify_refresh_of_any_age(&issued.refresh_token, noon());
        let claims = claims.unwrap();
        assert!(!claims.has_expired(end - millisecond));
        assert!(claims.has_expired(end));
        let end = whole_seconds(noon()) + TimeDelta::seconds(900);
        assert!(
            tokens
                .verify_access(&issued.access_token, end - millisecond)
                .is_ok()
        );
        assert_eq!(
            tokens.verify_access(&issued.access_token, end),
            Err(TokenError::Expired)
        );
    }

    #[test]
    fn an_access_token_never_outlives_its_session() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let late = session.expires_at() - TimeDelta::seconds(10);
        let issued = issue(&tokens, &session, late);
        assert_eq!(issued.expires_in, TimeDelta::seconds(10));
        assert_eq!(
            tokens.verify_access(&issued.access_token, session.expires_at()),
            Err(TokenError::Expired)
        );
    }

    #[test]
    fn one_kind_of_token_never_passes_as_the_other() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let issued = issue(&tokens, &session, noon());
        assert_eq!(
            tokens.verify_access(&issued.refresh_token, noon()),
            Err(TokenError::WrongType)
        );
        assert_eq!(
            tokens.verify_refresh_of_any_age(&issued.access_token, noon()),
            Err(TokenError::WrongType)
        );
        // With the type forged, key and algorithm still differ.
        let keys = signing(&tokens);
        let claims = tokens.refresh_claims(&session);
        let forgery = |kid: &str| {
            let key = ed25519_encoding_key();
            forged(REFRESH_TOKEN_TYPE, Algorithm::EdDSA, kid, &key, &claims)
        };
        assert_eq!(
            tokens
                .verify_refresh_of_any_age(&forgery(&keys.key(Kind::Access).unwrap().kid), noon()),
            Err(TokenError::UnknownKey)
        );
        let forgery = forgery(&keys.key(Kind::Refresh).unwrap().kid);
        assert_eq!(
            tokens.verify_refresh_of_any_age(&forgery, noon()),
            Err(TokenError::WrongAlgorithm)
        );
    }

    #[test]
    fn the_public_key_cannot_be_used_as_an_hmac_secret() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let issued = issue(&tokens, &session, noon());
        let claims = tokens.verify_access(&issued.access_token, noon()).unwrap();
        let public = signing(&tokens)
            .key(Kind::Access)
            .unwrap()
            .verify
            .try_get_as_bytes()
            .unwrap();
        let forgery = forged(
            ACCESS_TOKEN_TYPE,
            Algorithm::HS256,
            &signing(&tokens).key(Kind::Access).unwrap().kid,
            &EncodingKey::from_secret(public),
            &claims,
        );
        assert_eq!(
            tokens.verify_access(&forgery, noon()),
            Err(TokenError::WrongAlgorithm)
        );
    }

    #[test]
    fn tokens_of_another_issuer_audience_or_secret_are_refused() {
        let ours = tokens(1, None);
        let session = session(1, noon());
        let theirs = issue(&tokens(2, None), &session, noon());
        assert_eq!(
            ours.verify_access(&theirs.access_token, noon()),
            Err(TokenError::UnknownKey)
        );
        assert_eq!(
            ours.verify_refresh_of_any_age(&theirs.refresh_token, noon()),
            Err(TokenError::UnknownKey)
        );
        let mut elsewhere = identity();
        elsewhere.audience = "another".to_owned();
        let theirs = Tokens::new(elsewhere, &secret(1), None).unwrap();
        let theirs = issue(&theirs, &session, noon());
        assert_eq!(
            ours.verify_access(&theirs.access_token, noon()),
            Err(TokenError::WrongAudience)
        );
        let mut elsewhere = identity();
        elsewhere.issuer = "https://evil.example.com".to_owned();
        let theirs = issue(
            &Tokens::new(elsewhere, &secret(1), None).unwrap(),
            &session,
            noon(),
        );
        assert_eq!(
            ours.verify_access(&theirs.access_token, noon()),
            Err(TokenError::WrongIssuer)
        );
    }

    #[test]
    fn a_changed_token_is_refused() {
        let tokens = tokens(1, None);
        let issued = issue(&tokens, &session(1, noon()), noon());
        let text = issued.refresh_token.expose();
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = Token::new(String::from_utf8(bytes).unwrap());
            assert!(
                tokens.verify_refresh_of_any_age(&changed, noon()).is_err(),
                "position {position}"
            );
        }
    }

    #[test]
    fn what_the_previous_secret_signed_is_still_accepted_and_published() {
        let session = session(1, noon());
        let old = issue(&tokens(1, None), &session, noon());
        let rotated = tokens(2, Some(1));
        assert!(rotated.verify_access(&old.access_token, noon()).is_ok());
        assert!(
            rotated
                .verify_refresh_of_any_age(&old.refresh_token, noon())
                .is_ok()
        );
        assert_eq!(rotated.jwks(noon()).keys.len(), 2);
        let new = issue(&rotated, &session, noon());
        assert_eq!(
            tokens(1, None).verify_access(&new.access_token, noon()),
            Err(TokenError::UnknownKey)
        );
    }

    #[test]
    fn every_instance_derives_the_same_keys_from_a_secret() {
        assert_eq!(
            tokens(1, None).signing_key_id(noon()).unwrap(),
            "hlLUWXSleyYsA967l4hJ9UxvS5xaoLUD6zt3VG6eKyE"
        );
    }

    #[test]
    fn nothing_secret_is_in_debug_output() {
        let tokens = tokens(0x41, None);
        let issued = issue(&tokens, &session(1, noon()), noon());
        let shown = format!("{:?} {:?} {issued:?}", secret(0x41), tokens);
        assert!(
            !shown.contains("AAAA") && !shown.contains("eyJ") && !shown.contains("65, 65"),
            "{shown}"
        );
    }
}
