//! Requests for links: what somebody has asked for, written down for whoever reads the table's stream, and for whoever sends
//! the mail.

use std::net::IpAddr;

use chrono::serde::{ts_milliseconds, ts_seconds};
use chrono::{DateTime, Utc};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::event::{
    Addressee, LINK_REQUEST_LIFETIME, LinkRequest, Requester, WantedLink,
};
use latchkey_domain::id::{RequestId, SessionId, UserId};
use latchkey_domain::session::ClientLocation;
use latchkey_domain::token::EmailChange;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::expression::Expression;
use crate::item::{corrupt, from_item, to_item};
use crate::keys::{Item, Key, LINK_PREFIX, PK, SK};

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WantedAttribute {
    ResetPassword,
    VerifyEmail,
    ChangeEmail,
    RepeatRegistration,
    RetryRegistration,
}

// No `Debug`: it holds addresses.
#[derive(Serialize, Deserialize)]
struct LinkRequestItem {
    #[serde(flatten)]
    key: Key,
    wanted: WantedAttribute,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<UserId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_email: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email_version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_id: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip_address: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    city: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    actor: String,
    #[serde(with = "ts_milliseconds")]
    requested_at: DateTime<Utc>,
    #[serde(with = "ts_seconds")]
    ttl: DateTime<Utc>,
}

fn link_request_to_item(request: &LinkRequest) -> Result<Item, StoreError> {
    let (wanted, change) = match &request.wanted {
        WantedLink::ResetPassword => (WantedAttribute::ResetPassword, None),
        WantedLink::VerifyEmail => (WantedAttribute::VerifyEmail, None),
        WantedLink::ChangeEmail(change) => (WantedAttribute::ChangeEmail, Some(change)),
        WantedLink::RepeatRegistration => (WantedAttribute::RepeatRegistration, None),
        WantedLink::RetryRegistration => (WantedAttribute::RetryRegistration, None),
    };
    let (email, user_id) = match &request.addressee {
        Addressee::Address(email) => (Some(email.as_typed().to_owned()), None),
        Addressee::User(user) => (None, Some(*user)),
    };
    let Requester {
        location,
        device_name,
    } = request.requester.clone();
    to_item(&LinkRequestItem {
        key: Key::link_request(request.id),
        wanted,
        email,
        user_id,
        new_email: change.map(|change| change.email.as_typed().to_owned()),
        email_version: change.map(|change| change.email_version),
        session_id: change.map(|change| change.session_id),
        ip_address: location.ip_address,
        city: location.city,
        country: location.country,
        device_name,
        actor: request.actor.to_string(),
        requested_at: request.at,
        ttl: request.at + LINK_REQUEST_LIFETIME,
    })
}

/// Reads what was asked for.
pub(crate) fn link_request_from_item(item: Item) -> Result<LinkRequest, StoreError> {
    let item: LinkRequestItem = from_item(item)?;
    let broken = |what| move || corrupt("link request", what);
    let address = |text: Option<String>, what| {
        let parsed = text.and_then(|text| EmailAddress::parse_existing(&text).ok());
        parsed.ok_or_else(broken(what))
    };
    let id = item.key.pk.strip_prefix(LINK_PREFIX);
    let id: Option<RequestId> = id.and_then(|id| id.parse().ok());
    Ok(LinkRequest {
        id: id.ok_or_else(broken("pk"))?,
        wanted: match item.wanted {
            WantedAttribute::ResetPassword => WantedLink::ResetPassword,
            WantedAttribute::VerifyEmail => WantedLink::VerifyEmail,
            WantedAttribute::ChangeEmail => WantedLink::ChangeEmail(EmailChange {
                email: address(item.new_email, "new_email")?,
                email_version: item.email_version.ok_or_else(broken("email_version"))?,
                session_id: item.session_id.ok_or_else(broken("session_id"))?,
            }),
            WantedAttribute::RepeatRegistration => WantedLink::RepeatRegistration,
            WantedAttribute::RetryRegistration => WantedLink::RetryRegistration,
        },
        addressee: match item.user_id {
            Some(user) => Addressee::User(user),
            None => Addressee::Address(address(item.email, "email")?),
        },
        requester: Requester {
            location: ClientLocation {
                ip_address: item.ip_address,
                city: item.city,
                country: item.country,
                coordinates: None,
            },
            device_name: item.device_name,
        },
        actor: item.actor.parse().map_err(|_| broken("actor")())?,
        at: item.requested_at,
    })
}

impl Store {
    /// What was written down; nothing if there is no such request, or DynamoDB has removed it. 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_link_request(
        &self,
        id: RequestId,
    ) -> Result<Option<LinkRequest>, StoreError> {
        let item = self.get(Key::link_request(id)).await?;
        item.map(link_request_from_item).transpose()
    }

    /// Writes down that somebody asks for a link. Nothing is looked up, so it costs the same for an address that is known and
    /// for one that is not; 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn write_link_request(&self, request: &LinkRequest) -> Result<(), StoreError> {
        // An update that makes the item: the functions that ask for links need no `PutItem` else, which is 40 kB of code.
        let attributes = link_request_to_item(request)?.into_iter();
        let attributes = attributes.filter(|(name, _)| name != PK && name != SK);
        let is_new = Expression::default()
            .only_if("attribute_not_exists(#pk)")
            .name(PK);
        let item = attributes.fold(is_new, |item, (name, value)| item.set(&name, value));
        let mut retries = self.retries();
        let key = Key::link_request(request.id);
        // The key is this request's own: what is there was written by an attempt whose reply was lost.
        let written = self.update(key, &item, |update| update, &mut retries);
        written.await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use latchkey_domain::cause::Actor;
    use latchkey_domain::device::{ClientHints, Device};
    use latchkey_domain::random::SeededRandom;

    use super::*;

    fn address(local: usize) -> EmailAddress {
        let email = format!("{}@{}.example.com", "a".repeat(local), "b".repeat(60));
        EmailAddress::parse(&email).unwrap()
    }

    fn largest(wanted: WantedLink, addressee: Addressee) -> LinkRequest {
        let long = "ü".repeat(4_000);
        let device = Device::describe(Some(&long), None, None, ClientHints::default());
        LinkRequest {
            id: RequestId::random(&SeededRandom::new(1)),
            wanted,
            addressee,
            requester: Requester {
                location: ClientLocation {
                    ip_address: Some(IpAddr::from([0xffff; 8])),
                    city: Some(
                        "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch".to_owned(),
                    ),
                    country: Some("GB".to_owned()),
                    coordinates: None,
                },
                device_name: Some(device.shown_name().to_owned()),
            },
            actor: Actor::Client("c".repeat(64)),
            at: DateTime::from_timestamp_millis(1_772_366_400_123).unwrap(),
        }
    }

    #[test]
    fn a_request_reads_back_and_costs_one_unit_whatever_a_client_sends() {
        let user = UserId::random(&SeededRandom::new(2));
        let change = EmailChange {
            email: address(64),
            email_version: 10,
            session_id: SessionId::random(&SeededRandom::new(3)),
        };
        for wanted in [
            WantedLink::ResetPassword,
            WantedLink::VerifyEmail,
            WantedLink::ChangeEmail(change),
            WantedLink::RepeatRegistration,
            WantedLink::RetryRegistration,
        ] {
            for addressee in [Addressee::User(user), Addressee::Address(address(64))] {
                let request = largest(wanted.clone(), addressee);
                let item = link_request_to_item(&request).unwrap();
                let size = |(name, value): (&String, &aws_sdk_dynamodb::types::AttributeValue)| {
                    let value = value.as_s().map_or(8, String::len);
                    name.len() + value
                };
                assert!(item.iter().map(size).sum::<usize>() <= 1024);
                assert_eq!(link_request_from_item(item), Ok(request));
            }
        }
    }

    #[test]
    fn a_request_that_lacks_what_it_is_about_cannot_be_read() {
        let request = largest(WantedLink::ResetPassword, Addressee::Address(address(1)));
        for lost in ["email", "wanted", "requested_at", "pk", "actor"] {
            let mut item = link_request_to_item(&request).unwrap();
            assert!(item.remove(lost).is_some(), "{lost}");
            assert_eq!(link_request_from_item(item), Err(StoreError::Corrupt));
        }
    }

    /// Whoever sends the mail reads it until then.
    #[test]
    fn dynamodb_removes_a_request_when_its_lifetime_is_over() {
        let request = largest(WantedLink::ResetPassword, Addressee::Address(address(1)));
        let item = link_request_to_item(&request).unwrap();
        let until = request.at + LINK_REQUEST_LIFETIME;
        let ttl = item.get("ttl").and_then(|ttl| ttl.as_n().ok());
        assert_eq!(ttl, Some(&until.timestamp().to_string()));
    }
}
