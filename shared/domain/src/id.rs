//! Identifiers: version 4 UUIDs, written in their hyphenated, lower-case form, one type for each kind.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::random::{RandomSource, sixteen_bytes};

/// The text is no UUID in its hyphenated form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID in its hyphenated form")]
pub struct MalformedId;

/// Reads the hyphenated form alone: `Uuid` also reads braces, URNs and bare hex. `equal` compares the text with the
/// form in lower case.
fn parse_hyphenated(text: &str, equal: fn(&str, &str) -> bool) -> Result<Uuid, MalformedId> {
    let id = Uuid::try_parse(text).map_err(|_| MalformedId)?;
    let mut spelling = Uuid::encode_buffer();
    if equal(id.as_hyphenated().encode_lower(&mut spelling), text) {
        Ok(id)
    } else {
        Err(MalformedId)
    }
}

/// An id in what a client sends: its letters are read in either case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyCase<T>(pub T);

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, unguessable if the source is.
            #[must_use]
            pub fn random(random: &dyn RandomSource) -> Self {
                Self(uuid::Builder::from_random_bytes(sixteen_bytes(random)).into_uuid())
            }

            /// The same id as a plain UUID.
            #[must_use]
            pub fn as_uuid(self) -> Uuid {
                self.0
            }

            /// Reads an id that a client wrote: letters of either case (RFC 9562 section 4). What we write ourselves,
            /// such as a token's claims, has one spelling, which [`FromStr`] demands.
            ///
            /// # Errors
            /// [`MalformedId`] if it is not a UUID in its hyphenated form.
            pub fn parse_any_case(text: &str) -> Result<Self, MalformedId> {
                parse_hyphenated(text, str::eq_ignore_ascii_case).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, MalformedId> {
                parse_hyphenated(text, str::eq).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedId;

            fn try_from(text: String) -> Result<Self, MalformedId> {
                text.parse()
            }
        }

        impl<'de> Deserialize<'de> for AnyCase<$name> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let id = $name::parse_any_case(&text);
                id.map(Self).map_err(serde::de::Error::custom)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

id_type!(
    /// A user: the `sub` of every token and the partition of everything the user has.
    UserId
);

id_type!(
    /// A session, and the lineage of its refresh tokens: the `sid` of every token.
    SessionId
);

id_type!(
    /// A request: of a client to this service, of this service to DynamoDB, or one run of the cleanup.
    RequestId
);

id_type!(
    /// A client that somebody has signed in on: the `jti` of its device token.
    DeviceNonce
);

id_type!(
    /// One attempt that is counted. It is stamped on the counter, so that a count whose reply was lost can be recognised
    /// as one's own.
    AttemptId
);

/// One attempt to change an account. It is stamped on the account, so that a write whose reply was lost can be recognised
/// as one's own.
///
/// 64 random bits, and a number in the table: an account holds two of these, and they need to differ only from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChangeId(u64);

impl ChangeId {
    /// A new id.
    #[must_use]
    pub fn random(random: &dyn RandomSource) -> Self {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let id = SessionId::random(&SeededRandom::new(1));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.as_uuid().get_version_num(), 4);
    }

    #[test]
    fn other_spellings_of_a_uuid_are_refused() {
        for text in [
            "",
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "urn:uuid:67e55044-10b1-426f-9247-bb680e5fe0c8",
            "67e55044-10b1-426f-9247-bb680e5fe0cg",
        ] {
            assert_eq!(text.parse::<UserId>(), Err(MalformedId), "{text}");
            assert_eq!(UserId::parse_any_case(text), Err(MalformedId), "{text}");
        }
    }

    #[test]
    fn capitals_are_read_where_a_client_writes_an_id_and_nowhere_else() {
        let id: UserId = "67e55044-10b1-426f-9247-bb680e5fe0c8".parse().unwrap();
        for text in [
            "67e55044-10b1-426f-9247-bb680e5fe0c8",
            "67E55044-10B1-426F-9247-BB680E5FE0C8",
            "67e55044-10B1-426f-9247-Bb680e5fe0C8",
        ] {
            assert_eq!(UserId::parse_any_case(text), Ok(id), "{text}");
        }
        assert_eq!(
            "67E55044-10B1-426F-9247-BB680E5FE0C8".parse::<UserId>(),
            Err(MalformedId)
        );
    }
}
