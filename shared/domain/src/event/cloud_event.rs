//! An event as a CloudEvent in JSON (<https://github.com/cloudevents/spec>, version 1.0.2, JSON format 1.0.1).

use chrono::{DateTime, SecondsFormat, Utc};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{Event, FailedSignIn, NewSession, Occurrence, Requester, ShownSession};
use crate::cause::Actor;
use crate::device::DeviceType;
use crate::id::RequestId;
use crate::session::ClientLocation;

/// The `source` of every event.
pub const SOURCE: &str = "latchkey";
/// The version of the envelope.
pub const SPEC_VERSION: &str = "1.0";

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut envelope = serializer.serialize_struct("Event", 8)?;
        envelope.serialize_field("specversion", SPEC_VERSION)?;
        envelope.serialize_field("id", &self.id)?;
        envelope.serialize_field("source", SOURCE)?;
        envelope.serialize_field("type", self.occurrence.event_type())?;
        envelope.serialize_field("subject", &self.user_id)?;
        envelope.serialize_field("time", &rfc3339(self.at))?;
        envelope.serialize_field("datacontenttype", "application/json")?;
        envelope.serialize_field("data", &self.data())?;
        envelope.end()
    }
}

/// The members of an object.
type Members = Map<String, Value>;

impl Event {
    /// What belongs to the event's type. It holds no token, hash or password.
    #[must_use]
    pub fn data(&self) -> Value {
        let mut data = members([("user_id", json!(self.user_id))]);
        if let Some(session_id) = self.occurrence.session_id() {
            data.insert("session_id".to_owned(), json!(session_id));
        }
        data.extend(details(&self.occurrence));
        Value::Object(data)
    }
}

fn details(occurrence: &Occurrence) -> Members {
    match occurrence {
        Occurrence::SessionCreated(session) => new_session(session),
        Occurrence::SessionEnded {
            reason,
            actor,
            session,
            ..
        } => {
            let mut data = shown_session(session.as_deref());
            data.extend(members([
                ("reason", json!(reason)),
                ("actor", json!(actor)),
            ]));
            data
        }
        Occurrence::SessionRenamed { session, .. } => shown_session(Some(session)),
        Occurrence::SessionMoved { session, from, .. } => {
            let mut data = shown_session(Some(session));
            data.insert("previous".to_owned(), Value::Object(place(from)));
            data
        }
        Occurrence::UserReauthenticated { .. } => Members::new(),
        Occurrence::UserEmailChanged {
            email,
            previous_email,
            was_verified,
            actor,
        } => members([
            ("email", json!(email)),
            ("previous_email", json!(previous_email)),
            ("was_verified", json!(was_verified)),
            ("actor", json!(actor)),
        ]),
        Occurrence::UserEmailVerified { email, actor } => {
            members([("email", json!(email)), ("actor", json!(actor))])
        }
        Occurrence::PasswordResetRequested {
            request_id,
            email,
            requester,
            actor,
        }
        | Occurrence::EmailVerificationRequested {
            request_id,
            email,
            requester,
            actor,
        }
        | Occurrence::RegistrationRepeated {
            request_id,
            email,
            requester,
            actor,
        } => request(*request_id, email, requester, actor),
        Occurrence::EmailChangeRequested {
            request_id,
            email,
            change,
            requester,
            actor,
        } => {
            let mut data = request(*request_id, email, requester, actor);
            data.extend(members([
                ("new_email", json!(change.email.as_typed())),
                ("email_version", json!(change.email_version)),
            ]));
            data
        }
        Occurrence::UserCreated { email, actor } => {
            members([("email", json!(email)), ("actor", json!(actor))])
        }
        Occurrence::UserDeleted {
            email,
            was_verified,
            actor,
        } => members([
            ("email", json!(email)),
            ("was_verified", json!(was_verified)),
            ("actor", json!(actor)),
        ]),
        Occurrence::SignInFailed(failed) => failed_sign_in(failed),
        Occurrence::SignInBlocked {
            until,
            known_device,
        } => members([
            ("until", json!(rfc3339(*until))),
            ("known_device", json!(known_device)),
        ]),
        Occurrence::UserRolesChanged {
            roles,
            previous_roles,
            actor,
        } => members([
            ("roles", json!(roles)),
            ("previous_roles", json!(previous_roles)),
            ("actor", json!(actor)),
        ]),
        Occurrence::UserPasswordChanged { actor }
        | Occurrence::UserDisabled { actor }
        | Occurrence::UserEnabled { actor } => members([("actor", json!(actor))]),
    }
}

fn shown_session(session: Option<&ShownSession>) -> Members {
    let nowhere = ClientLocation::default();
    let mut data = place(session.map_or(&nowhere, |session| &session.location));
    data.extend(members([
        ("device_name", json!(session.map(|one| &one.device_name))),
        ("device_type", json!(session.map(|one| one.device_type))),
        ("name", json!(session.and_then(|one| one.name.as_ref()))),
    ]));
    data
}

fn new_session(session: &NewSession) -> Members {
    let mut data = place(&session.location);
    data.extend(device(&session.device_name, session.device_type));
    let absolute_expires_at = rfc3339(session.absolute_expires_at);
    data.extend(members([
        ("device_id", json!(session.device_id)),
        ("new_device", json!(session.new_device)),
        ("unusual_location", json!(session.unusual_location)),
        ("amr", session.methods.to_string().split(' ').collect()),
        ("absolute_expires_at", json!(absolute_expires_at)),
    ]));
    data
}

fn failed_sign_in(failed: &FailedSignIn) -> Members {
    let mut data = place(&failed.location);
    data.extend(device(&failed.device_name, failed.device_type));
    data.extend(members([
        ("reason", json!(failed.reason)),
        ("known_device", json!(failed.known_device)),
    ]));
    data
}

fn request(id: RequestId, email: &str, requester: &Requester, actor: &Actor) -> Members {
    let mut data = place(&requester.location);
    data.extend(members([
        ("request_id", json!(id)),
        ("email", json!(email)),
        ("device_name", json!(requester.device_name)),
        ("actor", json!(actor)),
    ]));
    data
}

fn device(name: &str, device_type: DeviceType) -> Members {
    members([
        ("device_name", json!(name)),
        ("device_type", json!(device_type)),
    ])
}

fn place(location: &ClientLocation) -> Members {
    members([
        ("ip_address", json!(location.ip_address)),
        ("location_city", json!(location.city)),
        ("location_country", json!(location.country)),
    ])
}

fn members<const N: usize>(members: [(&str, Value); N]) -> Members {
    let members = members.into_iter();
    members
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}
