//! Activity, as its user and as administration sees it.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use latchkey_domain::activity::{ActivityEntry, ActivityPage, ActivityPosition};
use latchkey_domain::cause::Actor;
use latchkey_domain::id::{SessionId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::problem::Problem;
use crate::resource::rfc3339;

/// How many entries a page has unless told otherwise, and the most.
const DEFAULT_LIMIT: u16 = 20;
const MAX_LIMIT: u16 = 100;

/// Which page of activity is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ActivityParameters {
    /// The `next_cursor` of the page before, as it is.
    #[param(required = false, nullable = false)]
    cursor: Option<String>,
    /// The most entries of the page.
    #[param(
        required = false,
        nullable = false,
        minimum = 1,
        maximum = 100,
        default = 20
    )]
    limit: Option<u16>,
}

impl ActivityParameters {
    /// Behind which entry the page of this user's activity begins, and how many entries it has at most.
    ///
    /// # Errors
    /// 400 for a limit out of bounds and for what is not a cursor of this user, whoever's it is.
    pub fn page_of(self, user: UserId) -> Result<(Option<ActivityPosition>, usize), Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Problem::invalid_request(
                "The query's limit is not a number from 1 to 100.",
            ));
        }
        let read = |cursor: String| {
            ActivityPosition::from_cursor(&cursor, user).ok_or_else(|| {
                Problem::invalid_request("The query's cursor is not the next_cursor of a page.")
            })
        };
        Ok((self.cursor.map(read).transpose()?, limit.into()))
    }
}

/// Who has done something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The account's owner, on one of their sessions.
    Owner,
    /// An administrator.
    Admin,
    /// Another service.
    Client,
    /// An operator, by a command.
    Operator,
    /// This service, by a rule.
    System,
    /// Whoever opened a link that was sent to the account's address.
    Link,
    /// Somebody who was not signed in.
    Nobody,
}

impl From<&Actor> for ActorKind {
    fn from(actor: &Actor) -> Self {
        match actor {
            Actor::Owner(_) => Self::Owner,
            Actor::Admin(_) => Self::Admin,
            Actor::Client(_) => Self::Client,
            Actor::Operator => Self::Operator,
            Actor::System => Self::System,
            Actor::Link => Self::Link,
            Actor::Nobody => Self::Nobody,
        }
    }
}

/// Something that has happened to an account. What is not known is null.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActivityEntry)]
pub struct ActivityResource {
    /// Names the entry; the id of the event.
    #[schema(example = "8f2d6f53-4e2e-5f0c-9f3b-6f1d3c1c9a52")]
    id: Uuid,
    /// What has happened: the type of an event. Expect new ones.
    #[serde(rename = "type")]
    #[schema(example = "session.created")]
    event_type: String,
    /// When.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:00:00.000Z")]
    time: DateTime<Utc>,
    /// The session that it concerns.
    #[schema(required = true, example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11")]
    session_id: Option<Uuid>,
    /// Whether that is the session of this request.
    is_current_session: bool,
    /// What the client ran on.
    #[schema(required = true, example = "Firefox on Linux")]
    device_name: Option<String>,
    /// What kind of device that is.
    #[schema(required = true, example = "desktop")]
    device_type: Option<String>,
    /// What its owner called the session.
    #[schema(required = true, example = "Office laptop")]
    name: Option<String>,
    /// The client's address.
    #[schema(required = true, value_type = Option<String>, example = "203.0.113.7")]
    ip_address: Option<IpAddr>,
    /// The city that the address is in.
    #[schema(required = true, example = "Montréal")]
    location_city: Option<String>,
    /// The country that the address is in, as two letters (ISO 3166-1).
    #[schema(required = true, example = "CA")]
    location_country: Option<String>,
    /// Why, in the word of the event. Expect new ones.
    #[schema(required = true, example = "revoked")]
    reason: Option<String>,
    /// By whom.
    #[schema(required = true)]
    actor: Option<ActorKind>,
    /// Whether the device was a new one.
    #[schema(required = true, example = false)]
    new_device: Option<bool>,
    /// Whether the place was an unusual one.
    #[schema(required = true, example = false)]
    unusual_location: Option<bool>,
}

impl ActivityResource {
    /// An entry, seen by somebody with this session or with none.
    #[must_use]
    pub fn new(entry: &ActivityEntry, seen_by: Option<SessionId>) -> Self {
        Self {
            id: entry.position.id,
            event_type: entry.event_type.clone(),
            time: entry.position.at,
            session_id: entry.session_id.map(SessionId::as_uuid),
            is_current_session: entry.session_id.is_some() && entry.session_id == seen_by,
            device_name: entry.device_name.clone(),
            device_type: entry.device_type.clone(),
            name: entry.name.clone(),
            ip_address: entry.ip_address,
            location_city: entry.city.clone(),
            location_country: entry.country.clone(),
            reason: entry.reason.clone(),
            actor: entry.actor.as_ref().map(ActorKind::from),
            new_device: entry.new_device,
            unusual_location: entry.unusual_location,
        }
    }
}

/// Some of the caller's activity.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ActivityList)]
pub struct ActivityListResource {
    /// The newest first; perhaps none although there are more.
    activity: Vec<ActivityResource>,
    /// What the next request gives as `cursor`; null after the last page.
    #[schema(required = true, example = "NWEzZjVjMTEtOGYxYy00YTM1")]
    next_cursor: Option<String>,
}

impl ActivityListResource {
    /// A page of this user's activity, seen by them.
    #[must_use]
    pub fn new(page: &ActivityPage, user: UserId, seen_by: SessionId) -> Self {
        let shown = |entry| ActivityResource::new(entry, Some(seen_by));
        Self {
            activity: page.entries.iter().map(shown).collect(),
            next_cursor: page.next.map(|next| next.to_cursor(user)),
        }
    }
}

/// Something that has happened to a user's account, as an administrator sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminActivityEntry)]
pub struct AdminActivityResource {
    #[serde(flatten)]
    entry: ActivityResource,
    /// The user id of the administrator who has done it, or the client id of the other service.
    #[schema(required = true, example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")]
    actor_id: Option<String>,
}

/// Some of a user's activity.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminActivityList)]
pub struct AdminActivityListResource {
    /// The newest first; perhaps none although there are more.
    activity: Vec<AdminActivityResource>,
    /// What the next request gives as `cursor`; null after the last page.
    #[schema(required = true, example = "NWEzZjVjMTEtOGYxYy00YTM1")]
    next_cursor: Option<String>,
}

impl AdminActivityListResource {
    /// A page of this user's activity, seen by somebody with this session or with none.
    #[must_use]
    pub fn new(page: &ActivityPage, user: UserId, seen_by: Option<SessionId>) -> Self {
        let shown = |entry: &ActivityEntry| AdminActivityResource {
            entry: ActivityResource::new(entry, seen_by),
            actor_id: entry.actor.as_ref().and_then(|actor| match actor {
                Actor::Admin(user) => Some(user.to_string()),
                Actor::Client(client) => Some(client.clone()),
                Actor::Owner(_) | Actor::Operator | Actor::System | Actor::Link | Actor::Nobody => {
                    None
                }
            }),
        };
        Self {
            activity: page.entries.iter().map(shown).collect(),
            next_cursor: page.next.map(|next| next.to_cursor(user)),
        }
    }
}
