//! Activity: what a user is shown of what has happened to their account.
//!
//! An entry is made of an event, whatever its type: it takes the members of the event's `data` that a person needs, by
//! their names, and leaves the others out. So an event that is added later has its entry without an edit here. Its texts
//! are cut by bytes, which keeps the item of an entry below 1 KB for any event.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::cause::Actor;
use crate::clock::whole_seconds;
use crate::device::MAX_DEVICE_NAME_BYTES;
use crate::event::Event;
use crate::id::{SessionId, UserId};
use crate::text::{MAX_CITY_BYTES, MAX_NAME_BYTES, cut};

/// How long an entry is kept unless told otherwise, in days.
pub const DEFAULT_ACTIVITY_DAYS: i64 = 90;
/// The longest time, in days: ten years.
pub const MOST_ACTIVITY_DAYS: i64 = 10 * 366;

/// The most bytes of a word of ours, such as a type or a reason.
const MAX_WORD_BYTES: usize = 64;

/// Where an entry stands among those of its user: its time, to the millisecond, and the id of its event.
///
/// ```
/// use latchkey_domain::activity::ActivityPosition;
///
/// let text = "2026-03-01T12:00:00.250Z#8f2d6f53-4e2e-5f0c-9f3b-6f1d3c1c9a52";
/// let position: ActivityPosition = text.parse().unwrap();
/// assert_eq!(position.to_string(), text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActivityPosition {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The event.
    pub id: Uuid,
}

/// The text is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the position of an entry")]
pub struct MalformedPosition;

/// Texts sort as the positions do: the time has a fixed width.
impl fmt::Display for ActivityPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.to_rfc3339_opts(SecondsFormat::Millis, true);
        write!(f, "{at}#{}", self.id)
    }
}

impl FromStr for ActivityPosition {
    type Err = MalformedPosition;

    fn from_str(text: &str) -> Result<Self, MalformedPosition> {
        let (at, id) = text.split_once('#').ok_or(MalformedPosition)?;
        let position = Self {
            at: at.parse().map_err(|_| MalformedPosition)?,
            id: id.parse().map_err(|_| MalformedPosition)?,
        };
        // Only the one way in which it is written: another would not sort with the others.
        (position.to_string() == text)
            .then_some(position)
            .ok_or(MalformedPosition)
    }
}

impl ActivityPosition {
    /// The position as a word for a client, who is to give it back as it is: for this user's activity alone.
    #[must_use]
    pub fn to_cursor(self, user: UserId) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(format!("{user} {self}"))
    }

    /// Reads the word that a client has given back. None for what is no cursor, and for one of another user: the answer
    /// tells nothing of whose it is. One that was made up begins a page of the same user elsewhere.
    #[must_use]
    pub fn from_cursor(text: &str, user: UserId) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (of_user, position) = text.split_once(' ')?;
        (of_user == user.to_string()).then_some(())?;
        position.parse().ok()
    }
}

/// Something that has happened to a user, as they are shown it. What is not known is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityEntry {
    /// When, and which event.
    pub position: ActivityPosition,
    /// The type of the event.
    pub event_type: String,
    /// The session that it concerns.
    pub session_id: Option<SessionId>,
    /// What the client runs on.
    pub device_name: Option<String>,
    /// What kind of device that is.
    pub device_type: Option<String>,
    /// What its owner called the session.
    pub name: Option<String>,
    /// Where the client was.
    pub ip_address: Option<IpAddr>,
    /// The city that the address is in.
    pub city: Option<String>,
    /// The country that the address is in.
    pub country: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// By whom.
    pub actor: Option<Actor>,
    /// Whether the device was a new one.
    pub new_device: Option<bool>,
    /// Whether the place was an unusual one.
    pub unusual_location: Option<bool>,
    /// From when on it is not shown any more; whole seconds.
    pub expires_at: DateTime<Utc>,
}

impl ActivityEntry {
    /// The entry of an event, kept for so long after it.
    #[must_use]
    pub fn of(event: &Event, retention: TimeDelta) -> Self {
        let data = event.data();
        let text = |name: &str, most: usize| {
            let text = data.get(name).and_then(Value::as_str)?;
            Some(cut(text, most).to_owned())
        };
        let flag = |name: &str| data.get(name).and_then(Value::as_bool);
        let parsed = |name: &str| data.get(name).and_then(Value::as_str);
        let expires_at = event.at.checked_add_signed(retention);
        Self {
            position: ActivityPosition {
                at: event.at,
                id: event.id,
            },
            event_type: cut(event.occurrence.event_type(), MAX_WORD_BYTES).to_owned(),
            session_id: event.occurrence.session_id(),
            device_name: text("device_name", MAX_DEVICE_NAME_BYTES),
            device_type: text("device_type", MAX_WORD_BYTES),
            name: text("name", MAX_NAME_BYTES),
            ip_address: parsed("ip_address").and_then(|text| text.parse().ok()),
            city: text("location_city", MAX_CITY_BYTES),
            country: text("location_country", MAX_WORD_BYTES),
            reason: text("reason", MAX_WORD_BYTES),
            actor: parsed("actor").and_then(|text| text.parse().ok()),
            new_device: flag("new_device"),
            unusual_location: flag("unusual_location"),
            expires_at: whole_seconds(expires_at.unwrap_or(DateTime::<Utc>::MAX_UTC)),
        }
    }

    /// Whether it is not shown any more. DynamoDB deletes it later than that.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        now >= self.expires_at
    }
}

/// Some of a user's activity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityPage {
    /// The newest first; those that have expired are left out, so perhaps none although there are more.
    pub entries: Vec<ActivityEntry>,
    /// Behind which entry the next page begins; nothing after the last.
    pub next: Option<ActivityPosition>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::session_events_between;
    use crate::random::SeededRandom;
    use crate::session::ClientLocation;
    use crate::session::tests::{noon, session};

    fn begun(name: &str, city: &str) -> Event {
        let mut one = session(1, noon());
        one.device.device_name = Some(name.to_owned());
        one.location = ClientLocation {
            city: Some(city.to_owned()),
            country: Some("PT".to_owned()),
            ..ClientLocation::from(IpAddr::from([203, 0, 113, 7]))
        };
        session_events_between(None, Some(&one)).remove(0)
    }

    #[test]
    fn an_entry_has_what_a_person_needs_and_nothing_else_of_the_event() {
        let event = begun("Firefox on Linux", "Lisbon");
        let entry = ActivityEntry::of(&event, TimeDelta::days(90));
        assert_eq!(entry.event_type, "session.created");
        assert_eq!(entry.device_name.as_deref(), Some("Firefox on Linux"));
        assert_eq!(
            (entry.city.as_deref(), entry.country.as_deref()),
            (Some("Lisbon"), Some("PT"))
        );
        assert_eq!(entry.ip_address, Some(IpAddr::from([203, 0, 113, 7])));
        assert_eq!((entry.reason, entry.actor), (None, None));
        assert_eq!(entry.position.id, event.id);
    }

    #[test]
    fn the_same_event_gives_the_same_entry_and_it_expires_to_the_second() {
        let event = begun("x", "y");
        let entry = ActivityEntry::of(&event, TimeDelta::days(90));
        assert_eq!(entry, ActivityEntry::of(&event, TimeDelta::days(90)));
        let end = "2026-05-30T12:00:00Z".parse().unwrap();
        assert_eq!(entry.expires_at, end);
        assert!(!entry.is_expired(end - TimeDelta::milliseconds(1)));
        assert!(entry.is_expired(end));
    }

    #[test]
    fn the_longest_time_is_3660_days() {
        let entry = ActivityEntry::of(&begun("x", "y"), TimeDelta::days(MOST_ACTIVITY_DAYS));
        let latest = "2036-03-08T12:00:00Z".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(entry.expires_at, latest);
    }

    #[test]
    fn texts_are_cut_by_bytes() {
        let long = "é".repeat(400);
        let entry = ActivityEntry::of(&begun(&long, &long), TimeDelta::days(1));
        assert_eq!(entry.device_name.unwrap().len(), MAX_DEVICE_NAME_BYTES);
        assert_eq!(entry.city.unwrap().len(), MAX_CITY_BYTES);
    }

    #[test]
    fn a_cursor_is_of_one_user() {
        let [ada, bob] = [1, 2].map(|seed| UserId::random(&SeededRandom::new(seed)));
        let position = ActivityPosition {
            at: noon(),
            id: Uuid::from_u128(7),
        };
        let cursor = position.to_cursor(ada);
        assert_eq!(ActivityPosition::from_cursor(&cursor, ada), Some(position));
        assert_eq!(ActivityPosition::from_cursor(&cursor, bob), None);
        let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        for forged in [
            String::new(),
            "!".to_owned(),
            format!("{cursor}="),
            cursor[..cursor.len() - 2].to_owned(),
            encode(position.to_string()),
            encode(format!("{ada} ")),
            encode(format!("{ada} 2026-03-01T12:00:00Z#{}", position.id)),
            encode(format!("{ada}\n{position}")),
        ] {
            assert_eq!(
                ActivityPosition::from_cursor(&forged, ada),
                None,
                "{forged}"
            );
        }
    }

    #[test]
    fn positions_sort_as_their_texts_and_are_written_in_one_way() {
        let at = |text: &str| ActivityPosition {
            at: text.parse().unwrap(),
            id: Uuid::from_u128(1),
        };
        let positions = [
            at("2026-03-01T12:00:00Z"),
            at("2026-03-01T12:00:00.007Z"),
            at("2026-03-01T12:00:00.250Z"),
            at("2026-11-01T00:00:00Z"),
        ];
        let texts = positions.map(|position| position.to_string());
        assert!(texts.is_sorted() && positions.is_sorted(), "{texts:?}");
        for (position, text) in positions.iter().zip(&texts) {
            assert_eq!(text.parse(), Ok(*position));
        }
        for wrong in [
            "",
            "#",
            "2026-03-01T12:00:00Z#00000000-0000-0000-0000-000000000001",
            "2026-03-01T12:00:00.000+00:00#00000000-0000-0000-0000-000000000001",
            "2026-03-01T12:00:00.000Z#00000000000000000000000000000001",
            "2026-03-01T12:00:00.000Z",
        ] {
            assert_eq!(
                wrong.parse::<ActivityPosition>(),
                Err(MalformedPosition),
                "{wrong}"
            );
        }
    }
}
