//! How accounts, sessions and credentials stand in the table: the one place that knows their attributes.
//!
//! Times are epoch milliseconds, except `ttl`, which DynamoDB wants in seconds. An attribute that has no value is
//! absent, and what the key says is said nowhere else: an account with 20 sessions and an e-mail address of up to
//! 24 bytes (with 19 sessions, 60 bytes) takes at most 1 KB after a sign-in, so that this costs the account one write unit; a
//! longer address costs one more, and so may a verified address or an identity. Attributes that this version does not know
//! are left as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::serde::{ts_milliseconds, ts_milliseconds_option, ts_seconds, ts_seconds_option};
use chrono::{DateTime, Utc};
use latchkey_domain::account::{Account, AccountStatus};
use latchkey_domain::cause::{Actor, Cause, EndReason};
use latchkey_domain::credential::Credential;
use latchkey_domain::device::{Device, DeviceType};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::event::EndReasons;
use latchkey_domain::geography::Coordinates;
use latchkey_domain::id::{ChangeId, SessionId, UserId};
use latchkey_domain::identity::{AuthenticationMethods, Identity};
use latchkey_domain::password::PasswordHash;
use latchkey_domain::role::Role;
use latchkey_domain::session::{ClientLocation, Session};
use serde::de::value::Error as ValueError;
use serde::de::{DeserializeOwned, IntoDeserializer};
use serde::{Deserialize, Serialize};

use crate::keys::{Item, Key};

/// Attributes that conditions and updates name.
pub(crate) mod attribute {
    pub(crate) const VERSION: &str = "version";
    pub(crate) const CHANGE: &str = "change";
    pub(crate) const CHANGE_ID: &str = "id";
    pub(crate) const PREVIOUS_CHANGE: &str = "previous_change";
    pub(crate) const SESSIONS: &str = "sessions";
    pub(crate) const STATUS: &str = "status";
    pub(crate) const PASSWORD_HASH: &str = "password_hash";
    pub(crate) const PASSWORD_VERSION: &str = "password_version";
    pub(crate) const USER_ID: &str = "user_id";
    pub(crate) const ROTATION: &str = "rotation";
    pub(crate) const ROTATED_AT: &str = "rotated_at";
    pub(crate) const AUTHENTICATED_AT: &str = "authenticated_at";
    pub(crate) const DEGREES: &str = "degrees";
    pub(crate) const LAST_USED_AT: &str = "last_used_at";
    pub(crate) const IDLE_EXPIRES_AT: &str = "idle_expires_at";
    pub(crate) const ABSOLUTE_EXPIRES_AT: &str = "absolute_expires_at";
    pub(crate) const IP_ADDRESS: &str = "ip_address";
    pub(crate) const CITY: &str = "city";
    pub(crate) const COUNTRY: &str = "country";
    pub(crate) const NAME: &str = "name";
    pub(crate) const RENAMED_AT: &str = "renamed_at";
    pub(crate) const PASSWORD_ATTEMPTS: &str = "password_attempts";
    pub(crate) const WRONG_PASSWORDS: &str = "wrong_passwords";
    pub(crate) const SECRETS: &str = "secrets";
    pub(crate) const TTL: &str = "ttl";
    pub(crate) const ATTEMPTS: &str = "attempts";
    pub(crate) const FIRST_ATTEMPT: &str = "first_attempt";
    pub(crate) const LAST_ATTEMPT: &str = "last_attempt";
    pub(crate) const LAST_ATTEMPT_AT: &str = "last_attempt_at";
    pub(crate) const FAILED_SIGN_IN: &str = "failed_sign_in";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusAttribute {
    Active,
    Disabled,
    Deleted,
}

/// Which change wrote an account last, and why. The ids that it ended are not repeated here: they are in the item's old
/// image and not in its new one. Only where reasons differ does it say which id has which. It is read as text: a newer
/// version that runs beside this one may write words that this one does not know, and requests need none of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ChangeAttribute {
    id: ChangeId,
    action: String,
    actor: String,
    #[serde(with = "ts_milliseconds")]
    at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    reasons: BTreeMap<String, Vec<SessionId>>,
}

impl ChangeAttribute {
    /// A change as it is written with the account.
    pub(crate) fn new(id: ChangeId, cause: &Cause, ended: &[(SessionId, EndReason)]) -> Self {
        let mut reasons: BTreeMap<String, Vec<SessionId>> = BTreeMap::new();
        for (session, reason) in ended {
            let sessions = reasons.entry(reason.as_str().to_owned()).or_default();
            sessions.push(*session);
        }
        // One for all of them is not written with each.
        let reason = match ended {
            [(_, reason), ..] if reasons.len() == 1 => {
                reasons.clear();
                Some(*reason)
            }
            _ => None,
        };
        Self {
            id,
            action: cause.action.as_str().to_owned(),
            actor: cause.actor.to_string(),
            at: cause.at,
            reason,
            reasons,
        }
    }

    /// Who made the change.
    pub(crate) fn actor(&self) -> Result<Actor, StoreError> {
        let actor = self.actor.parse();
        actor.map_err(|_| corrupt("account", "change"))
    }

    /// When it was decided.
    pub(crate) fn at(&self) -> DateTime<Utc> {
        self.at
    }

    /// Why the sessions have left the set that it ended.
    pub(crate) fn reasons(&self) -> Result<EndReasons, StoreError> {
        let mut by_session = Vec::new();
        for (word, sessions) in &self.reasons {
            let reason = EndReason::deserialize(word.as_str().into_deserializer());
            let reason = reason.map_err(|_: ValueError| corrupt("account", "change"))?;
            by_session.extend(sessions.iter().map(|session| (*session, reason)));
        }
        Ok(EndReasons {
            common: self.reason,
            by_session,
        })
    }

    /// The attribute itself.
    pub(crate) fn to_attribute(&self) -> Result<AttributeValue, StoreError> {
        to_attribute(self)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct AccountItem {
    #[serde(flatten)]
    key: Key,
    status: StatusAttribute,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<IdentityAttribute>,
    #[serde(
        default,
        with = "serde_dynamo::string_set",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    roles: BTreeSet<Role>,
    #[serde(
        default,
        with = "serde_dynamo::string_set",
        skip_serializing_if = "BTreeSet::is_empty"
    )]
    sessions: BTreeSet<SessionId>,
    version: u64,
    change: ChangeAttribute,
    /// The `id` of the change before. The update itself copies it, so it is read only, and absent at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_change: Option<ChangeId>,
    password_version: u64,
    /// Absent until the address is replaced.
    #[serde(default, skip_serializing_if = "is_zero")]
    email_version: u64,
    /// Absent until the address is verified.
    #[serde(
        default,
        with = "ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    email_verified_at: Option<DateTime<Utc>>,
    /// Absent until somebody has signed in, and where an earlier version has written the account.
    #[serde(
        default,
        with = "ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    devices_since: Option<DateTime<Utc>>,
    #[serde(with = "ts_milliseconds")]
    created_at: DateTime<Utc>,
    #[serde(
        default,
        with = "ts_seconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    ttl: Option<DateTime<Utc>>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Who a user is elsewhere: what leads to the item of the identity.
#[derive(Debug, Serialize, Deserialize)]
struct IdentityAttribute {
    issuer: String,
    subject: String,
}

/// An account, and the stamps of the last change that wrote it and of the one before.
#[derive(Clone, Debug)]
pub(crate) struct StampedAccount {
    pub(crate) account: Account,
    pub(crate) change: ChangeId,
    pub(crate) previous_change: Option<ChangeId>,
}

pub(crate) fn account_to_item(
    account: &Account,
    change: &ChangeAttribute,
) -> Result<Item, StoreError> {
    let (status, ttl) = match account.status {
        AccountStatus::Active { .. } => (StatusAttribute::Active, None),
        AccountStatus::Disabled { .. } => (StatusAttribute::Disabled, None),
        AccountStatus::Deleted { delete_after } => (StatusAttribute::Deleted, Some(delete_after)),
    };
    to_item(&AccountItem {
        key: Key::account(account.id),
        status,
        email: account.email().map(|email| email.as_typed().to_owned()),
        identity: account.identity.as_ref().map(|identity| IdentityAttribute {
            issuer: identity.issuer().to_owned(),
            subject: identity.subject().to_owned(),
        }),
        roles: account.roles.clone(),
        sessions: account.sessions.clone(),
        version: account.version,
        change: change.clone(),
        previous_change: None,
        password_version: account.password_version,
        email_version: account.email_version,
        email_verified_at: account.email_verified_at,
        devices_since: account.devices_since,
        created_at: account.created_at,
        ttl,
    })
}

pub(crate) fn account_from_item(item: Item) -> Result<StampedAccount, StoreError> {
    let item: AccountItem = from_item(item)?;
    let identity = item.identity.map(|identity| {
        Identity::new(&identity.issuer, &identity.subject)
            .map_err(|_| corrupt("account", "identity"))
    });
    let identity = identity.transpose()?;
    let has_password = identity.is_none();
    let email = || match item.email.as_deref() {
        None if !has_password => Ok(None),
        text => EmailAddress::parse_existing(text.unwrap_or_default())
            .map(Some)
            .map_err(|_| corrupt("account", "email")),
    };
    let status = match item.status {
        StatusAttribute::Active => AccountStatus::Active { email: email()? },
        StatusAttribute::Disabled => AccountStatus::Disabled { email: email()? },
        StatusAttribute::Deleted => AccountStatus::Deleted {
            delete_after: item.ttl.ok_or_else(|| corrupt("account", "ttl"))?,
        },
    };
    Ok(StampedAccount {
        account: Account {
            id: item.key.user().ok_or_else(|| corrupt("account", "pk"))?,
            status,
            identity,
            roles: item.roles,
            sessions: item.sessions,
            version: item.version,
            password_version: item.password_version,
            email_version: item.email_version,
            email_verified_at: item.email_verified_at,
            devices_since: item.devices_since,
            created_at: item.created_at,
        },
        change: item.change.id,
        previous_change: item.previous_change,
    })
}

#[derive(Debug, Serialize, Deserialize)]
struct SessionItem {
    #[serde(flatten)]
    key: Key,
    /// The partition key of the index: the session id. It never changes, so a rotation costs the index nothing.
    jti: SessionId,
    rotation: u64,
    #[serde(with = "ts_milliseconds")]
    rotated_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Absent until it is renamed, and where an earlier version has renamed it.
    #[serde(
        default,
        with = "ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    renamed_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    device_type: DeviceType,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    /// Latitude and longitude, as [`Coordinates`] are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    degrees: Option<String>,
    /// Absent if it is not, and so is the next.
    #[serde(default, skip_serializing_if = "is_false")]
    new_device: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    unusual: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created_ip_address: Option<IpAddr>,
    #[serde(with = "ts_milliseconds")]
    created_at: DateTime<Utc>,
    /// Absent in items that an earlier version wrote: then the sign-in was the last proof.
    #[serde(
        default,
        with = "ts_milliseconds_option",
        skip_serializing_if = "Option::is_none"
    )]
    authenticated_at: Option<DateTime<Utc>>,
    /// Divided by spaces. Absent for a password alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    amr: Option<String>,
    #[serde(with = "ts_milliseconds")]
    last_used_at: DateTime<Utc>,
    #[serde(with = "ts_milliseconds")]
    idle_expires_at: DateTime<Utc>,
    #[serde(with = "ts_milliseconds")]
    absolute_expires_at: DateTime<Utc>,
    #[serde(with = "ts_seconds")]
    ttl: DateTime<Utc>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

pub(crate) fn session_to_item(session: &Session) -> Result<Item, StoreError> {
    to_item(&SessionItem {
        key: Key::session(session.user_id, session.id),
        jti: session.id,
        rotation: session.rotation,
        rotated_at: session.rotated_at,
        name: session.name.clone(),
        renamed_at: session.renamed_at,
        device_name: session.device.device_name.clone(),
        device_type: session.device.device_type,
        device_id: session.device.device_id.clone(),
        user_agent: session.device.user_agent.clone(),
        ip_address: session.location.ip_address,
        city: session.location.city.clone(),
        country: session.location.country.clone(),
        degrees: session.location.coordinates.map(|point| point.to_string()),
        new_device: session.new_device,
        unusual: session.unusual_location,
        created_ip_address: session.created_ip_address,
        created_at: session.created_at,
        authenticated_at: Some(session.authenticated_at),
        amr: Some(&session.methods)
            .filter(|methods| **methods != AuthenticationMethods::password())
            .map(ToString::to_string),
        last_used_at: session.last_used_at,
        idle_expires_at: session.idle_expires_at,
        absolute_expires_at: session.absolute_expires_at,
        ttl: session.delete_after,
    })
}

pub(crate) fn session_from_item(item: Item) -> Result<Session, StoreError> {
    let item: SessionItem = from_item(item)?;
    let user_id = item.key.user().ok_or_else(|| corrupt("session", "pk"))?;
    if item.key != Key::session(user_id, item.jti) {
        return Err(corrupt("session", "jti"));
    }
    let methods = item
        .amr
        .map_or(Ok(AuthenticationMethods::password()), |amr| {
            AuthenticationMethods::new(amr.split(' ')).map_err(|_| corrupt("session", "amr"))
        });
    let coordinates = item.degrees.map(|degrees| degrees.parse::<Coordinates>());
    let coordinates = coordinates
        .transpose()
        .map_err(|_| corrupt("session", "degrees"));
    Ok(Session {
        id: item.jti,
        user_id,
        rotation: item.rotation,
        rotated_at: item.rotated_at,
        name: item.name,
        renamed_at: item.renamed_at,
        device: Device {
            device_name: item.device_name,
            device_type: item.device_type,
            device_id: item.device_id,
            user_agent: item.user_agent,
        },
        location: ClientLocation {
            ip_address: item.ip_address,
            city: item.city,
            country: item.country,
            coordinates: coordinates?,
        },
        new_device: item.new_device,
        unusual_location: item.unusual,
        created_ip_address: item.created_ip_address,
        created_at: item.created_at,
        authenticated_at: item.authenticated_at.unwrap_or(item.created_at),
        methods: methods?,
        last_used_at: item.last_used_at,
        idle_expires_at: item.idle_expires_at,
        absolute_expires_at: item.absolute_expires_at,
        delete_after: item.ttl,
    })
}

// No `Debug`: it holds the hash in the clear.
#[derive(Serialize, Deserialize)]
struct CredentialItem {
    #[serde(flatten)]
    key: Key,
    user_id: UserId,
    password_hash: String,
    password_version: u64,
}

pub(crate) fn credential_to_item(
    email: &EmailAddress,
    credential: &Credential,
) -> Result<Item, StoreError> {
    to_item(&CredentialItem {
        key: Key::credential(email),
        user_id: credential.user_id,
        password_hash: credential.password_hash.as_phc().to_owned(),
        password_version: credential.password_version,
    })
}

pub(crate) fn credential_from_item(item: Item) -> Result<Credential, StoreError> {
    let item: CredentialItem = from_item(item)?;
    Ok(Credential {
        user_id: item.user_id,
        password_hash: PasswordHash::from_phc(item.password_hash),
        password_version: item.password_version,
    })
}

pub(crate) fn millis(time: DateTime<Utc>) -> AttributeValue {
    number(time.timestamp_millis())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

pub(crate) fn to_item<T: Serialize>(value: &T) -> Result<Item, StoreError> {
    serde_dynamo::aws_sdk_dynamodb_1::to_item(value).map_err(|error| unwritable(&error))
}

pub(crate) fn to_attribute<T: Serialize>(value: &T) -> Result<AttributeValue, StoreError> {
    serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value(value).map_err(|error| unwritable(&error))
}

fn unwritable(error: &serde_dynamo::Error) -> StoreError {
    tracing::error!(%error, "an item could not be written");
    StoreError::Corrupt
}

pub(crate) fn from_item<T: DeserializeOwned>(item: Item) -> Result<T, StoreError> {
    // The message of a wrong type may hold a value of the item, so only the kind of item is logged.
    serde_dynamo::aws_sdk_dynamodb_1::from_item(item)
        .map_err(|_| corrupt(std::any::type_name::<T>(), "its form"))
}

pub(crate) fn corrupt(item: &str, what: &str) -> StoreError {
    tracing::error!(item, what, "an item in the table is broken");
    StoreError::Corrupt
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::TimeDelta;
    use latchkey_domain::cause::Action;
    use latchkey_domain::device::ClientHints;
    use latchkey_domain::policy::SessionPolicy;
    use latchkey_domain::random::SeededRandom;

    use super::*;

    fn session() -> Session {
        let random = SeededRandom::new(1);
        Session::begin(
            SessionId::random(&random),
            UserId::random(&random),
            Device::describe(None, None, None, ClientHints::default()),
            ClientLocation::default(),
            DateTime::from_timestamp_millis(1_772_366_400_123).unwrap(),
            &SessionPolicy::default(),
        )
    }

    /// The bytes of a value, by the rules of DynamoDB's developer guide ("DynamoDB item sizes and formats").
    fn size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
            AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
            AttributeValue::Bool(_) => 1,
            AttributeValue::M(map) => 3 + map.len() + size_of_all(map),
            other => panic!("no item has {other:?}"),
        }
    }

    pub(crate) fn size_of_all(attributes: &Item) -> usize {
        let sizes = attributes
            .iter()
            .map(|(name, value)| name.len() + size(value));
        sizes.sum()
    }

    #[test]
    fn an_account_with_all_its_sessions_costs_one_write_unit_after_a_sign_in() {
        for (sessions, email_bytes) in [(SessionPolicy::default().max_sessions, 24), (19, 60)] {
            let size = size_after_a_sign_in(sessions, email_bytes);
            assert!(size <= 1024, "{size}");
        }
    }

    fn size_after_a_sign_in(sessions: usize, email_bytes: usize) -> usize {
        let random = SeededRandom::new(1);
        let now = DateTime::from_timestamp_millis(1_772_366_400_123).unwrap();
        let local = "a".repeat(email_bytes - "@example.com".len());
        let email = format!("{local}@example.com");
        let email = EmailAddress::parse(&email).unwrap();
        let newest = SessionId::random(&random);
        let mut account = Account::register(UserId::random(&random), email, newest, now);
        account.version = 9_999;
        while account.sessions.len() < sessions {
            account.sessions.insert(SessionId::random(&random));
        }
        let cause = Cause {
            action: Action::SignIn,
            actor: Actor::Owner(newest),
            at: now,
        };
        let evicted = [(SessionId::random(&random), EndReason::Evicted)];
        let change = ChangeAttribute::new(ChangeId::random(&random), &cause, &evicted);
        let mut item = account_to_item(&account, &change).unwrap();
        item.insert(
            attribute::PREVIOUS_CHANGE.to_owned(),
            to_attribute(&u64::MAX).unwrap(),
        );
        size_of_all(&item)
    }

    #[test]
    fn an_account_is_read_whose_address_nobody_can_enter_any_more() {
        let random = SeededRandom::new(1);
        let now = DateTime::from_timestamp_millis(1_772_366_400_123).unwrap();
        let email = EmailAddress::parse_existing("a=?b@example.com").unwrap();
        let newest = SessionId::random(&random);
        let account = Account::register(UserId::random(&random), email, newest, now);
        let cause = Cause {
            action: Action::SignIn,
            actor: Actor::Owner(newest),
            at: now,
        };
        let change = ChangeAttribute::new(ChangeId::random(&random), &cause, &[]);
        let item = account_to_item(&account, &change).unwrap();
        assert_eq!(account_from_item(item).unwrap().account, account);
    }

    #[test]
    fn an_account_is_read_as_it_was_written() {
        let random = SeededRandom::new(1);
        let at = DateTime::from_timestamp_millis(1_772_366_400_123).unwrap();
        let email = EmailAddress::parse("ada@example.com").unwrap();
        let newest = SessionId::random(&random);
        let mut account = Account::register(UserId::random(&random), email, newest, at);
        account.identity = Identity::new("https://idp.example.com", "ada").ok();
        account.roles = ["admin".parse().unwrap()].into();
        (account.version, account.password_version) = (7, 3);
        (account.email_version, account.email_verified_at) = (2, Some(at));
        account.devices_since = Some(at + TimeDelta::milliseconds(1));
        let cause = Cause {
            action: Action::SignIn,
            actor: Actor::Owner(newest),
            at,
        };
        let change = ChangeAttribute::new(ChangeId::random(&random), &cause, &[]);
        let item = account_to_item(&account, &change).unwrap();
        let read = account_from_item(item).unwrap();
        assert_eq!((read.account, read.change), (account, change.id));
    }

    #[test]
    fn a_session_is_read_as_it_was_written() {
        let mut session = session();
        session.authenticated_at += TimeDelta::milliseconds(4_567);
        session.methods = AuthenticationMethods::new(["pwd", "otp"]).unwrap();
        session.location.coordinates = Coordinates::new(-48.137, 11.575);
        (session.new_device, session.unusual_location) = (true, true);
        let item = session_to_item(&session).unwrap();
        assert_eq!(session_from_item(item), Ok(session));
    }

    /// Each attribute is paid for with each write.
    #[test]
    fn what_is_not_so_of_a_session_is_not_written() {
        let item = session_to_item(&session()).unwrap();
        for name in ["new_device", "unusual", "name", "amr", "city"] {
            assert!(!item.contains_key(name), "{name}");
        }
    }

    #[test]
    fn a_session_without_authenticated_at_was_authenticated_at_its_sign_in() {
        let session = session();
        let mut item = session_to_item(&session).unwrap();
        assert!(item.remove("authenticated_at").is_some());
        let read = session_from_item(item).unwrap();
        assert_eq!(read.authenticated_at, session.created_at);
    }
}
