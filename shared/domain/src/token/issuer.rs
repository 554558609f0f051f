//! Issues tokens and verifies them.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::Validation;
use jsonwebtoken::jwk::JwkSet;
use serde::de::DeserializeOwned;

use super::keys::{KeyDerivationFailed, KeyPair, KeySet, TokenSecret};
use super::{
    AccessClaims, IssuedTokens, Kind, PASSWORD_METHOD, RefreshClaims, RefreshTokenId, Scope, Token,
    TokenError, TokenIdentity,
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
    pub(super) signing: KeySet,
    others: Vec<KeySet>,
    access_validation: Validation,
    refresh_validation: Validation,
    device_validation: Validation,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("identity", &self.0.identity)
            .field("access_kid", &self.signing_key_id())
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
        Self::signing_with(identity, current, previous)
    }

    /// Derives the keys. `signing` signs; what the `others` sign is accepted, and their keys are published.
    ///
    /// # Errors
    /// [`KeyDerivationFailed`], which does not depend on a secret's value.
    pub fn signing_with<'a>(
        identity: TokenIdentity,
        signing: &TokenSecret,
        others: impl IntoIterator<Item = &'a TokenSecret>,
    ) -> Result<Self, KeyDerivationFailed> {
        Ok(Self(Arc::new(Inner {
            access_validation: Kind::Access.validation(&identity),
            refresh_validation: Kind::Refresh.validation(&identity),
            device_validation: Kind::Device.validation(&identity),
            signing: KeySet::derive(signing)?,
            others: others
                .into_iter()
                .map(KeySet::derive)
                .collect::<Result<_, _>>()?,
            identity,
        })))
    }

    /// The public keys, as `/.well-known/jwks.json` gives them (RFC 7517, RFC 8037).
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        let keys = self.key_sets().map(|keys| keys.public.clone()).collect();
        JwkSet { keys }
    }

    /// Names the key that signs access tokens, as the published keys do.
    #[must_use]
    pub fn signing_key_id(&self) -> &str {
        &self.0.signing.key(Kind::Access).kid
    }

    /// Issues the tokens of a session as it is now: a new access token, and *the* refresh token of its rotation,
    /// the same each time.
    ///
    /// # Errors
    /// [`TokenError::SigningFailed`], which does not depend on the session.
    pub fn issue(
        &self,
        session: &Session,
        scope: Scope,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
        random: &dyn RandomSource,
    ) -> Result<IssuedTokens, TokenError> {
        let inner = &self.0;
        let now = whole_seconds(now);
        let access_expiry =
            whole_seconds(now + policy.access_token_lifetime).min(session.expires_at());
        let access = AccessClaims {
            iss: inner.identity.issuer.clone(),
            aud: inner.identity.audience.clone(),
            client_id: inner.identity.client_id.clone(),
            sub: session.user_id,
            sid: session.id,
            jti: SessionId::random(random).to_string(),
            iat: now.timestamp(),
            exp: access_expiry.timestamp(),
            auth_time: session.authenticated_at.timestamp(),
            amr: vec![PASSWORD_METHOD.to_owned()],
            scope,
        };
        let refresh = self.refresh_claims(session);
        Ok(IssuedTokens {
            access_token: inner.signing.key(Kind::Access).sign(&access)?,
            expires_in: access_expiry - now,
            refresh_token: inner.signing.key(Kind::Refresh).sign(&refresh)?,
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
        let claims = self.verify_access_of_any_age(token)?;
        if now.timestamp() >= claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    /// Checks everything about an access token but its expiry: enough to end its session.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_access_of_any_age(&self, token: &Token) -> Result<AccessClaims, TokenError> {
        self.verify(Kind::Access, token)
    }

    /// Checks a refresh token as [`Tokens::verify_access`] does.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_refresh(
        &self,
        token: &Token,
        now: DateTime<Utc>,
    ) -> Result<RefreshClaims, TokenError> {
        let claims = self.verify_refresh_of_any_age(token)?;
        if claims.has_expired(now) {
            return Err(TokenError::Expired);
        }
        Ok(claims)
    }

    /// Checks everything about a refresh token but its expiry: enough to end its session (RFC 7009), and to notice that a
    /// replaced one has come back.
    ///
    /// # Errors
    /// [`TokenError`], the first thing about it that is wrong.
    pub fn verify_refresh_of_any_age(&self, token: &Token) -> Result<RefreshClaims, TokenError> {
        let claims: RefreshClaims = self.verify(Kind::Refresh, token)?;
        if claims.jti.session_id != claims.sid {
            return Err(TokenError::Malformed);
        }
        Ok(claims)
    }

    fn key_sets(&self) -> impl Iterator<Item = &KeySet> {
        std::iter::once(&self.0.signing).chain(&self.0.others)
    }

    /// The key that a token's header names, if the token says that it is of this kind.
    fn key_for(&self, kind: Kind, token: &Token) -> Result<&KeyPair, TokenError> {
        let header = jsonwebtoken::decode_header(&token.0).map_err(|error| refusal(&error))?;
        if header.crit.is_some() {
            return Err(TokenError::Malformed); // RFC 7515 section 4.1.11
        }
        if header.typ.as_deref() != Some(kind.typ()) {
            return Err(TokenError::WrongType);
        }
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        self.key_sets()
            .map(|keys| keys.key(kind))
            .find(|key| key.kid == kid)
            .ok_or(TokenError::UnknownKey)
    }

    /// Checks everything about a token but its expiry.
    pub(super) fn verify<C: DeserializeOwned>(
        &self,
        kind: Kind,
        token: &Token,
    ) -> Result<C, TokenError> {
        if token.0.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let key = self.key_for(kind, token)?;
        let validation = match kind {
            Kind::Access => &self.0.access_validation,
            Kind::Refresh => &self.0.refresh_validation,
            Kind::Device => &self.0.device_validation,
        };
        jsonwebtoken::decode(&token.0, &key.verify, validation)
            .map(|data| data.claims)
            .map_err(|error| refusal(&error))
    }
}

impl Kind {
    /// What the library checks: the one algorithm of this kind, `iss`, `aud`, and that the claims are there.
    fn validation(self, identity: &TokenIdentity) -> Validation {
        let audience = match self {
            Self::Access => &identity.audience,
            Self::Refresh | Self::Device => &identity.issuer,
        };
        let mut validation = Validation::new(self.algorithm());
        validation.leeway = 0;
        // The library reads the system's clock. We compare with the clock that is passed in, and a token is over
        // *at* `exp` (RFC 7519 section 4.1.4).
        validation.validate_exp = false;
        validation.set_issuer(&[&identity.issuer]);
        validation.set_audience(&[audience]);
        let required: &[&str] = match self {
            Self::Access | Self::Refresh => &["iss", "aud", "sub", "exp"],
            Self::Device => &["iss", "aud", "sub"],
        };
        validation.set_required_spec_claims(required);
        validation
    }
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
    use super::super::{ACCESS_TOKEN_TYPE, REFRESH_TOKEN_TYPE};
    use super::*;
    use crate::random::SeededRandom;
    use crate::session::tests::{noon, session};

    fn identity() -> TokenIdentity {
        TokenIdentity {
            issuer: "https://id.example.com".to_owned(),
            audience: "latchkey".to_owned(),
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
        let keys = &tokens.0.signing;
        let access = tokens.verify_access(&issued.access_token, noon()).unwrap();
        let by_library = forged(
            ACCESS_TOKEN_TYPE,
            Algorithm::EdDSA,
            &keys.key(Kind::Access).kid,
            &ed25519_encoding_key(),
            &access,
        );
        assert_eq!(issued.access_token.expose(), by_library.expose());
        let refresh = tokens
            .verify_refresh(&issued.refresh_token, noon())
            .unwrap();
        let secret_key = derive(&secret(1), "refresh token: HS256 key").unwrap();
        let by_library = forged(
            REFRESH_TOKEN_TYPE,
            Algorithm::HS256,
            &keys.key(Kind::Refresh).kid,
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
            tokens.0.signing.key(Kind::Refresh).kid
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
        assert!(tokens.verify_refresh(&Token(text), noon()).is_ok());
    }

    #[test]
    fn a_token_with_a_critical_extension_is_refused() {
        let tokens = tokens(1, None);
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some(REFRESH_TOKEN_TYPE.to_owned());
        header.kid = Some(tokens.0.signing.key(Kind::Refresh).kid.clone());
        header.crit = Some(vec!["unknown".to_owned()]);
        let claims = tokens.refresh_claims(&session(1, noon()));
        let secret_key = derive(&secret(1), "refresh token: HS256 key").unwrap();
        let key = EncodingKey::from_secret(secret_key.as_ref());
        let token = Token(jsonwebtoken::encode(&header, &claims, &key).unwrap());
        let refused = tokens.verify_refresh(&token, noon());
        assert_eq!(refused, Err(TokenError::Malformed));
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
            .verify_refresh(&issued.refresh_token, noon())
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
        assert!(
            tokens
                .verify_refresh(&issued.refresh_token, end - millisecond)
                .is_ok()
        );
        assert_eq!(
            tokens.verify_refresh(&issued.refresh_token, end),
            Err(TokenError::Expired)
        );
        assert!(
            tokens
                .verify_refresh_of_any_age(&issued.refresh_token)
                .is_ok()
        );
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
            tokens.verify_refresh(&issued.access_token, noon()),
            Err(TokenError::WrongType)
        );
        // With the type forged, key and algorithm still differ.
        let keys = &tokens.0.signing;
        let claims = tokens.refresh_claims(&session);
        let forgery = |kid: &str| {
            let key = ed25519_encoding_key();
            forged(REFRESH_TOKEN_TYPE, Algorithm::EdDSA, kid, &key, &claims)
        };
        assert_eq!(
            tokens.verify_refresh(&forgery(&keys.key(Kind::Access).kid), noon()),
            Err(TokenError::UnknownKey)
        );
        let forgery = forgery(&keys.key(Kind::Refresh).kid);
        assert_eq!(
            tokens.verify_refresh(&forgery, noon()),
            Err(TokenError::WrongAlgorithm)
        );
    }

    #[test]
    fn the_public_key_cannot_be_used_as_an_hmac_secret() {
        let tokens = tokens(1, None);
        let session = session(1, noon());
        let issued = issue(&tokens, &session, noon());
        let claims = tokens.verify_access(&issued.access_token, noon()).unwrap();
        let public = tokens
            .0
            .signing
            .key(Kind::Access)
            .verify
            .try_get_as_bytes()
            .unwrap();
        let forgery = forged(
            ACCESS_TOKEN_TYPE,
            Algorithm::HS256,
            &tokens.0.signing.key(Kind::Access).kid,
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
            ours.verify_refresh(&theirs.refresh_token, noon()),
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
                tokens.verify_refresh(&changed, noon()).is_err(),
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
        assert!(rotated.verify_refresh(&old.refresh_token, noon()).is_ok());
        assert_eq!(rotated.jwks().keys.len(), 2);
        let new = issue(&rotated, &session, noon());
        assert_eq!(
            tokens(1, None).verify_access(&new.access_token, noon()),
            Err(TokenError::UnknownKey)
        );
    }

    #[test]
    fn every_instance_derives_the_same_keys_from_a_secret() {
        assert_eq!(
            tokens(1, None).0.signing.key(Kind::Access).kid,
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
