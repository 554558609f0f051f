//! The secret as it stands in Secrets Manager: the keys and their times, in JSON.
//!
//! ```json
//! {"keys": [{"secret": "...", "signs_from": "2026-11-26T05:00:00Z", "rsa": "...", "idle_seconds": 604800,
//!            "absolute_seconds": 2592000}, ...],
//!  "device_secret": "...", "current": "...", "next": "..."}
//! ```
//!
//! A key without `signs_from` has always signed; `rsa` is PKCS#8 in base64 or PEM. How long sessions lived when a rotation
//! replaced the key decides, if it is longer than today, until when its tokens are accepted. `current` and `next` repeat what signs
//! and what comes next: versions of this service from before `keys` read them while an upgrade takes over.
//!
//! Device tokens and counters are derived from `device_secret`, which does not rotate. A document without it is one from
//! before there was one, or from CloudFormation, which makes one value at a time: the secret of the key that signs takes its
//! place, and the next rotation adds it.
//!
//! A document without `keys` is one that CloudFormation made, `{"current": "..."}`, or that a person wrote for such a
//! version: `{"current": "...", "previous": "...", "next": "..."}`.

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::token::{
    ANNOUNCED, InvalidRsaKey, KeyMaterial, KeyRing, NoKey, RingKey, RsaPrivateKey, SecretTooShort,
    SessionLives, TokenSecret,
};
use serde::{Deserialize, Serialize};

/// Why a document is none. Holds no part of it: the parser's own message could quote the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    /// It has another form.
    #[error(r#"it is not {{"keys": [...]}} or {{"current": "..."}}"#)]
    Malformed,
    /// The one who wrote it thought of one form alone.
    #[error("its current value is not among its keys")]
    Contradictory,
    /// A value of it is too short.
    #[error(transparent)]
    TooShort(#[from] SecretTooShort),
    /// A value of it is no RSA key.
    #[error(transparent)]
    Rsa(#[from] InvalidRsaKey),
    /// It has no key.
    #[error(transparent)]
    Empty(#[from] NoKey),
}

/// No `Debug`.
#[derive(Default, Deserialize, Serialize)]
struct Document {
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<Entry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_secret: Option<String>,
    current: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// No `Debug`.
#[derive(Deserialize, Serialize)]
struct Entry {
    secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    signs_from: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rsa: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    idle_seconds: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    absolute_seconds: u32,
}

fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// Reads a document that was written at a time.
pub(crate) fn read(
    text: &str,
    written_at: Option<DateTime<Utc>>,
) -> Result<KeyRing, DocumentError> {
    let mut document: Document =
        serde_json::from_str(text).map_err(|_| DocumentError::Malformed)?;
    let device_secret = document.device_secret.take();
    let device_secret = device_secret.map(TokenSecret::new).transpose()?;
    let keys = match document.keys.take() {
        Some(entries) => with_times(entries, document.current)?,
        None => without_times(document, written_at)?,
    };
    Ok(keys.with_device_secret(device_secret))
}

fn with_times(entries: Vec<Entry>, current: Option<String>) -> Result<KeyRing, DocumentError> {
    let keys: Vec<RingKey> = entries.into_iter().map(key).collect::<Result<_, _>>()?;
    if let Some(current) = current {
        let is_current = |key: &RingKey| key.material.secret.expose() == current.as_bytes();
        if !keys.iter().any(is_current) {
            return Err(DocumentError::Contradictory);
        }
    }
    Ok(KeyRing::new(keys)?)
}

fn key(entry: Entry) -> Result<RingKey, DocumentError> {
    let material = KeyMaterial {
        secret: TokenSecret::new(entry.secret)?,
        rsa: entry
            .rsa
            .map(|key| RsaPrivateKey::from_base64(&key))
            .transpose()?,
    };
    Ok(RingKey {
        material,
        signs_from: entry.signs_from.unwrap_or(DateTime::<Utc>::MIN_UTC),
        lives: SessionLives {
            idle: TimeDelta::seconds(entry.idle_seconds.into()),
            absolute: TimeDelta::seconds(entry.absolute_seconds.into()),
        },
    })
}

/// With a `previous` value, `current` may be new to everybody: it is announced first. With a `next` one, that is what is
/// announced.
fn without_times(
    document: Document,
    written_at: Option<DateTime<Utc>>,
) -> Result<KeyRing, DocumentError> {
    let secret = |value: Option<String>| value.map(TokenSecret::new).transpose();
    let current = TokenSecret::new(document.current.ok_or(DocumentError::Malformed)?)?;
    let (previous, next) = (secret(document.previous)?, secret(document.next)?);
    let swap = written_at.map(|at| if next.is_some() { at } else { at + ANNOUNCED });
    let mut keys = match (previous, swap) {
        (Some(previous), Some(swap)) => vec![
            RingKey::signing(previous),
            RingKey::signing_from(current, swap),
        ],
        (Some(previous), None) => vec![RingKey::signing(current), RingKey::accepted(previous)],
        (None, _) => vec![RingKey::signing(current)],
    };
    keys.extend(next.map(RingKey::accepted));
    Ok(KeyRing::new(keys)?)
}

/// Writes a document at a time.
pub(crate) fn write(ring: &KeyRing, now: DateTime<Utc>) -> Result<String, DocumentError> {
    let text_of = |secret: &TokenSecret| {
        String::from_utf8(secret.expose().to_vec()).map_err(|_| DocumentError::Malformed)
    };
    let text = |key: &RingKey| text_of(&key.material.secret);
    let entry = |key: &RingKey| {
        let rsa = key.material.rsa.as_ref();
        let has_begun = key.signs_from > DateTime::<Utc>::MIN_UTC;
        let seconds = |life: TimeDelta| life.num_seconds().try_into().unwrap_or_default();
        Ok(Entry {
            secret: text(key)?,
            signs_from: has_begun.then_some(key.signs_from),
            rsa: rsa.map(|key| key.to_base64().to_string()),
            idle_seconds: seconds(key.lives.idle),
            absolute_seconds: seconds(key.lives.absolute),
        })
    };
    let (signing, newest) = (ring.signing_at(now), ring.newest());
    let document = Document {
        keys: Some(
            ring.iter()
                .map(entry)
                .collect::<Result<_, DocumentError>>()?,
        ),
        device_secret: ring.device_secret().map(text_of).transpose()?,
        current: Some(text(signing)?),
        next: (signing != newest).then(|| text(newest)).transpose()?,
        previous: None,
    };
    serde_json::to_string(&document).map_err(|_| DocumentError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "the first secret, which is long enough";
    const TWO: &str = "the second secret, which is long too";
    const THREE: &str = "the third secret, which is long as well";

    fn noon() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn secret(text: &str) -> TokenSecret {
        TokenSecret::new(text).unwrap()
    }

    fn ring(keys: Vec<RingKey>) -> KeyRing {
        KeyRing::new(keys).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let rsa = KeyMaterial {
            secret: secret(TWO),
            rsa: Some(RsaPrivateKey::from_base64("AAAA").unwrap()),
        };
        let lives = SessionLives {
            idle: TimeDelta::days(7),
            absolute: TimeDelta::days(30),
        };
        let keys = ring(vec![
            RingKey {
                lives,
                ..RingKey::signing(secret(ONE))
            },
            RingKey::signing_from(rsa, noon()),
        ])
        .with_device_secret(Some(secret(THREE)));
        let before = noon() - ANNOUNCED;
        let text = write(&keys, before).unwrap();
        assert_eq!(read(&text, Some(before)), Ok(keys.clone()));
        // What an older version of this service makes of it.
        let old: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (old["current"].as_str(), old["next"].as_str()),
            (Some(ONE), Some(TWO))
        );
        let text = write(&keys, noon()).unwrap();
        let old: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (old["current"].as_str(), old["next"].as_str()),
            (Some(TWO), None)
        );
    }

    #[test]
    fn a_document_without_times_is_read_as_its_words_say() {
        let (one, two, three) = (|| secret(ONE), || secret(TWO), || secret(THREE));
        for (text, keys) in [
            (
                format!(r#"{{"current": "{ONE}"}}"#),
                vec![RingKey::signing(one())],
            ),
            (
                format!(r#"{{"current": "{TWO}", "previous": "{ONE}"}}"#),
                vec![
                    RingKey::signing(one()),
                    RingKey::signing_from(two(), noon() + ANNOUNCED),
                ],
            ),
            (
                format!(r#"{{"current": "{TWO}", "previous": "{ONE}", "next": "{THREE}"}}"#),
                vec![
                    RingKey::signing(one()),
                    RingKey::signing_from(two(), noon()),
                    RingKey::accepted(three()),
                ],
            ),
        ] {
            assert_eq!(read(&text, Some(noon())), Ok(ring(keys)), "{text}");
        }
    }

    #[test]
    fn every_form_may_have_a_device_secret() {
        for text in [
            format!(r#"{{"current": "{ONE}", "device_secret": "{THREE}"}}"#),
            format!(r#"{{"keys": [{{"secret": "{ONE}"}}], "device_secret": "{THREE}"}}"#),
        ] {
            let read = read(&text, Some(noon())).unwrap();
            assert_eq!(read.device_secret(), Some(&secret(THREE)), "{text}");
        }
        let without = read(&format!(r#"{{"current": "{ONE}"}}"#), None).unwrap();
        assert_eq!(without.device_secret(), None);
        assert!(!write(&without, noon()).unwrap().contains("device_secret"));
    }

    #[test]
    fn what_is_no_document_is_refused_without_a_word_of_it() {
        for (text, error) in [
            ("no object".to_owned(), DocumentError::Malformed),
            (r#"{"now": "x"}"#.to_owned(), DocumentError::Malformed),
            (r#"{"keys": []}"#.to_owned(), DocumentError::Empty(NoKey)),
            (
                r#"{"current": "short"}"#.to_owned(),
                DocumentError::TooShort(SecretTooShort),
            ),
            (
                format!(r#"{{"current": "{ONE}", "device_secret": "short"}}"#),
                DocumentError::TooShort(SecretTooShort),
            ),
            (
                format!(r#"{{"keys": [{{"secret": "{ONE}"}}], "current": "{TWO}"}}"#),
                DocumentError::Contradictory,
            ),
            (
                format!(r#"{{"keys": [{{"secret": "{ONE}", "signs_from": "soon"}}]}}"#),
                DocumentError::Malformed,
            ),
            (
                format!(r#"{{"keys": [{{"secret": "{ONE}", "rsa": "-"}}]}}"#),
                DocumentError::Rsa(InvalidRsaKey),
            ),
        ] {
            let refused = read(&text, Some(noon())).unwrap_err();
            assert_eq!(refused, error, "{text}");
            let said = refused.to_string();
            assert!(
                !said.contains("first") && !said.contains("short\""),
                "{said}"
            );
        }
    }
}
