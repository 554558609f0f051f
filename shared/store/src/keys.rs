//! The keys of the table: every item that belongs to a user is in the user's partition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use latchkey_domain::activity::ActivityPosition;
use latchkey_domain::client::ClientId;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{RequestId, SessionId, UserId};
use latchkey_domain::identity::Identity;
use latchkey_domain::throttle::Counter;
use uuid::Uuid;

/// An item as DynamoDB has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) const PK: &str = "pk";
pub(crate) const SK: &str = "sk";
pub(crate) const CREDENTIAL: &str = "CREDENTIAL";
pub(crate) const ACCOUNT: &str = "ACCOUNT";
pub(crate) const SESSION_PREFIX: &str = "SESSION#";
pub(crate) const USER_PREFIX: &str = "USER#";
pub(crate) const CLIENT_PREFIX: &str = "CLIENT#";
pub(crate) const THROTTLE_PREFIX: &str = "THROTTLE#";
pub(crate) const FAILURES: &str = "FAILURES";
pub(crate) const LINK_PREFIX: &str = "LINK#";
pub(crate) const LINK_REQUEST: &str = "REQUEST";
pub(crate) const DEAD_LETTER_PREFIX: &str = "DEADLETTER#";
pub(crate) const MAIL_PREFIX: &str = "MAIL#";
pub(crate) const ACTIVITY_PREFIX: &str = "ACTIVITY#";

/// The primary key of an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Key {
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Key {
    pub(crate) fn credential(email: &EmailAddress) -> Self {
        Self {
            pk: format!("EMAIL#{}", email.normalized()),
            sk: CREDENTIAL.to_owned(),
        }
    }

    pub(crate) fn identity(identity: &Identity) -> Self {
        Self {
            pk: format!("IDENTITY#{}", identity.issuer()),
            sk: identity.subject().to_owned(),
        }
    }

    pub(crate) fn account(user: UserId) -> Self {
        Self {
            pk: partition(user),
            sk: ACCOUNT.to_owned(),
        }
    }

    pub(crate) fn session(user: UserId, session: SessionId) -> Self {
        Self {
            pk: partition(user),
            sk: session_sort_key(session),
        }
    }

    pub(crate) fn client(client: &ClientId) -> Self {
        Self {
            pk: format!("{CLIENT_PREFIX}{client}"),
            sk: "CLIENT".to_owned(),
        }
    }

    /// Where failures in a row are counted.
    pub(crate) fn failures(counter: &Counter) -> Self {
        Self {
            pk: format!("{THROTTLE_PREFIX}{counter}"),
            sk: FAILURES.to_owned(),
        }
    }

    /// Where the attempts of the window that begins then are counted.
    pub(crate) fn window(counter: &Counter, begin: DateTime<Utc>) -> Self {
        Self {
            pk: format!("{THROTTLE_PREFIX}{counter}"),
            sk: format!("WINDOW#{}", begin.timestamp()),
        }
    }

    /// Where the cleanup saves how far it has come, and who runs it.
    pub(crate) fn cleanup() -> Self {
        Self {
            pk: "CLEANUP".to_owned(),
            sk: "CHECKPOINT".to_owned(),
        }
    }

    /// Where it is written down that somebody asks for a link.
    pub(crate) fn link_request(id: RequestId) -> Self {
        Self {
            pk: format!("{LINK_PREFIX}{id}"),
            sk: LINK_REQUEST.to_owned(),
        }
    }

    /// Where a record of the stream is kept that cannot become events.
    pub(crate) fn dead_letter(sequence_number: &str) -> Self {
        Self {
            pk: format!("{DEAD_LETTER_PREFIX}events"),
            sk: sequence_number.to_owned(),
        }
    }

    /// Where it is kept that an event was told by mail.
    pub(crate) fn mail(event: Uuid) -> Self {
        Self {
            pk: format!("{MAIL_PREFIX}{event}"),
            sk: "MAIL".to_owned(),
        }
    }

    /// Where an event is kept whose mail will never be sent.
    pub(crate) fn dead_mail(id: &str) -> Self {
        Self {
            pk: format!("{DEAD_LETTER_PREFIX}mail"),
            sk: id.to_owned(),
        }
    }

    /// An entry of a user's activity.
    pub(crate) fn activity(user: UserId, position: ActivityPosition) -> Self {
        Self {
            pk: activity_partition(user),
            sk: position.to_string(),
        }
    }

    /// A key that is never written. Reading it opens the connection. The template allows functions that read nothing
    /// else to read this.
    pub(crate) fn connect() -> Self {
        Self {
            pk: "CONNECT".to_owned(),
            sk: "CONNECT".to_owned(),
        }
    }

    /// Whether it is where a request for a link stands.
    pub(crate) fn is_of_a_link_request(&self) -> bool {
        self.pk.starts_with(LINK_PREFIX) && self.sk == LINK_REQUEST
    }

    /// The user in whose partition the item is.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.pk.strip_prefix(USER_PREFIX)?.parse().ok()
    }

    /// Whether it is that of a counter of failures in a row.
    pub(crate) fn is_of_failures(&self) -> bool {
        self.pk.starts_with(THROTTLE_PREFIX) && self.sk == FAILURES
    }

    pub(crate) fn into_attributes(self) -> Item {
        HashMap::from([
            (PK.to_owned(), AttributeValue::S(self.pk)),
            (SK.to_owned(), AttributeValue::S(self.sk)),
        ])
    }
}

pub(crate) fn partition(user: UserId) -> String {
    format!("{USER_PREFIX}{user}")
}

/// Apart from the user's other items, which the requests of a sign-in read all.
pub(crate) fn activity_partition(user: UserId) -> String {
    format!("{ACTIVITY_PREFIX}{user}")
}

pub(crate) fn session_sort_key(session: SessionId) -> String {
    format!("{SESSION_PREFIX}{session}")
}
