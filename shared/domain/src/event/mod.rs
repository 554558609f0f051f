//! Events: what has happened to a user, for the team's other systems and for the person.
//!
//! They are derived from the images that an item had before and after a write, so a request writes nothing more for them,
//! and nothing that was written can lack its event. Ids are derived too: the same write gives the same ids, however often
//! it is looked at.
//!
//! The account says who is signed in, so the end of a session is an id that has left its set, with the reason that was
//! written with it. The item of a session is made in the same transaction as the session is admitted, and describes it, so
//! the beginning is a new item.
//!
//! Where somebody asks for a link, what they asked for is the item; see [`LinkRequest`].

mod account;
mod cloud_event;
mod link_request;
mod session;
mod sign_in;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::account::Account;
use crate::cause::{Actor, EndReason};
use crate::device::DeviceType;
use crate::id::{ChangeId, RequestId, SessionId, UserId};
use crate::identity::AuthenticationMethods;
use crate::role::Role;
use crate::session::{ClientLocation, Session};
use crate::token::EmailChange;

pub use account::{creation_event_id, events_between};
pub use cloud_event::{SOURCE, SPEC_VERSION};
pub use link_request::{Addressee, LINK_REQUEST_LIFETIME, LinkRequest, WantedLink};
pub use session::session_events_between;
pub use sign_in::{FailedSignIn, SignInRefusal, sign_in_events_between};

/// The namespace of the ids of events (RFC 9562 section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_8a4e_2b64_4d0a_9c57_3f1d_e6a8_7b21);

/// An account as it stood after a write, and who wrote it and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountImage {
    /// The account.
    pub account: Account,
    /// The stamp of the change that the service wrote last.
    pub change: ChangeId,
    /// Who made that change.
    pub actor: Actor,
    /// When it was decided.
    pub at: DateTime<Utc>,
    /// Why the sessions have left the set that this change ended.
    pub reasons: EndReasons,
}

/// Why sessions have left an account's set. Where all have one reason, it is not repeated for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndReasons {
    /// The reason of all.
    pub common: Option<EndReason>,
    /// The reason of each, where they differ.
    pub by_session: Vec<(SessionId, EndReason)>,
}

impl EndReasons {
    /// Why this session has left the set, if that was written.
    #[must_use]
    pub fn of(&self, session: SessionId) -> Option<EndReason> {
        let mut each = self.by_session.iter();
        let own = each.find(|(id, _)| *id == session);
        own.map(|(_, reason)| *reason).or(self.common)
    }
}

/// Something that has happened to a user. It is written as a CloudEvent (version 1.0) in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The same for the same write, however often it is looked at.
    pub id: Uuid,
    /// To whom it happened.
    pub user_id: UserId,
    /// When, by the clock of the instance that wrote it.
    pub at: DateTime<Utc>,
    /// What.
    pub occurrence: Occurrence,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Occurrence {
    /// A session has begun.
    SessionCreated(Box<NewSession>),
    /// A session has ended.
    SessionEnded {
        /// Which.
        session_id: SessionId,
        /// Why.
        reason: EndReason,
        /// By whom.
        actor: Actor,
        /// What it was, where its item is still there when the event is made.
        session: Option<Box<ShownSession>>,
    },
    /// Its owner has named a session, or has cleared its name.
    SessionRenamed {
        /// Which.
        session_id: SessionId,
        /// What it is, with the name that it has now.
        session: Box<ShownSession>,
    },
    /// A session was refreshed from another place or another network.
    SessionMoved {
        /// Which.
        session_id: SessionId,
        /// What it is, and where its client is now.
        session: Box<ShownSession>,
        /// Where it was before.
        from: ClientLocation,
    },
    /// A sign-in was refused after its password was checked.
    SignInFailed(Box<FailedSignIn>),
    /// After so many refused ones, the next sign-ins have to wait.
    SignInBlocked {
        /// Until when no password is checked.
        until: DateTime<Utc>,
        /// Whether those are concerned that show a device token of the account, and not strangers.
        known_device: bool,
    },
    /// A user has registered, or has signed in elsewhere for the first time.
    UserCreated {
        /// The address, if there is one.
        email: Option<String>,
        /// Who has registered the user.
        actor: Actor,
    },
    /// The user has shown that they read the mail of their address.
    UserEmailVerified {
        /// The address.
        email: String,
        /// By whom.
        actor: Actor,
    },
    /// The user has another address.
    UserEmailChanged {
        /// The address now.
        email: Option<String>,
        /// The address before.
        previous_email: Option<String>,
        /// Whether the address before was verified.
        was_verified: bool,
        /// Who has changed it.
        actor: Actor,
    },
    /// The password was replaced.
    UserPasswordChanged {
        /// By whom.
        actor: Actor,
    },
    /// The user has proved once more who they are.
    UserReauthenticated {
        /// On which session.
        session_id: SessionId,
    },
    /// The user has other roles.
    UserRolesChanged {
        /// The roles now.
        roles: BTreeSet<Role>,
        /// The roles before.
        previous_roles: BTreeSet<Role>,
        /// Who has changed them.
        actor: Actor,
    },
    /// The account was closed.
    UserDisabled {
        /// By whom.
        actor: Actor,
    },
    /// A closed account was opened again.
    UserEnabled {
        /// By whom.
        actor: Actor,
    },
    /// The account was deleted.
    UserDeleted {
        /// The address it had.
        email: Option<String>,
        /// Whether that was verified.
        was_verified: bool,
        /// By whom.
        actor: Actor,
    },
    /// Somebody has asked for a link to choose another password.
    PasswordResetRequested {
        /// The request, as it is written in the table.
        request_id: RequestId,
        /// The user's address, to which it goes.
        email: String,
        /// From where.
        requester: Box<Requester>,
        /// By whom.
        actor: Actor,
    },
    /// Somebody has asked for a link to verify the user's address, which is not verified.
    EmailVerificationRequested {
        /// The request, as it is written in the table.
        request_id: RequestId,
        /// The address, to which it goes.
        email: String,
        /// From where.
        requester: Box<Requester>,
        /// By whom.
        actor: Actor,
    },
    /// The user has asked for a link to a new address.
    EmailChangeRequested {
        /// The request, as it is written in the table.
        request_id: RequestId,
        /// The address that they have.
        email: String,
        /// What they have asked for.
        change: Box<EmailChange>,
        /// From where.
        requester: Box<Requester>,
        /// By whom.
        actor: Actor,
    },
    /// Somebody has registered with the user's address. They were told nothing of it.
    RegistrationRepeated {
        /// The request, as it is written in the table.
        request_id: RequestId,
        /// The address.
        email: String,
        /// From where.
        requester: Box<Requester>,
        /// By whom.
        actor: Actor,
    },
}

/// Where and on what something was asked for, as far as that is the user's matter: nothing is known of an administrator or
/// of another service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// Where.
    pub location: ClientLocation,
    /// On what.
    pub device_name: Option<String>,
}

/// A session as its owner is shown it: what it takes to tell it from the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownSession {
    /// What it runs on.
    pub device_name: String,
    /// What kind of device that is.
    pub device_type: DeviceType,
    /// What its owner called it.
    pub name: Option<String>,
    /// Where its client was last.
    pub location: ClientLocation,
}

impl ShownSession {
    fn of(session: &Session) -> Self {
        Self {
            device_name: session.device.shown_name().to_owned(),
            device_type: session.device.device_type,
            name: session.name.clone(),
            location: session.location.clone(),
        }
    }
}

/// A session that has begun, as an event tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSession {
    /// The session.
    pub session_id: SessionId,
    /// What it runs on.
    pub device_name: String,
    /// What kind of device that is.
    pub device_type: DeviceType,
    /// The device's own id, if it has told one.
    pub device_id: Option<String>,
    /// Where the client was.
    pub location: ClientLocation,
    /// Whether the account did not know the device.
    pub new_device: bool,
    /// Whether the place was too far from that of the last session.
    pub unusual_location: bool,
    /// How the user proved who they are.
    pub methods: AuthenticationMethods,
    /// When the session ends whatever happens.
    pub absolute_expires_at: DateTime<Utc>,
}

impl NewSession {
    fn of(session: &Session) -> Self {
        Self {
            session_id: session.id,
            device_name: session.device.shown_name().to_owned(),
            device_type: session.device.device_type,
            device_id: session.device.device_id.clone(),
            location: session.location.clone(),
            new_device: session.new_device,
            unusual_location: session.unusual_location,
            methods: session.methods.clone(),
            absolute_expires_at: session.absolute_expires_at,
        }
    }
}

macro_rules! event_types {
    ($($variant:ident: $name:literal,)*) => {
        impl Occurrence {
            /// The type of the event, which never changes.
            #[must_use]
            pub fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name,)*
                }
            }
        }

        /// The types of all events.
        pub const EVENT_TYPES: &[&str] = &[$($name),*];
    };
}

event_types! {
    SessionCreated: "session.created",
    SessionEnded: "session.ended",
    SessionRenamed: "session.renamed",
    SessionMoved: "session.moved",
    SignInFailed: "sign_in.failed",
    SignInBlocked: "sign_in.blocked",
    UserCreated: "user.created",
    UserEmailVerified: "user.email_verified",
    UserEmailChanged: "user.email_changed",
    UserPasswordChanged: "user.password_changed",
    UserReauthenticated: "user.reauthenticated",
    UserRolesChanged: "user.roles_changed",
    UserDisabled: "user.disabled",
    UserEnabled: "user.enabled",
    UserDeleted: "user.deleted",
    PasswordResetRequested: "password_reset.requested",
    EmailVerificationRequested: "email_verification.requested",
    EmailChangeRequested: "email_change.requested",
    RegistrationRepeated: "registration.repeated",
}

impl Occurrence {
    /// The session that it concerns, if it concerns one.
    #[must_use]
    pub fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::SessionCreated(session) => Some(session.session_id),
            Self::SessionEnded { session_id, .. }
            | Self::SessionRenamed { session_id, .. }
            | Self::SessionMoved { session_id, .. }
            | Self::UserReauthenticated { session_id } => Some(*session_id),
            Self::EmailChangeRequested { change, .. } => Some(change.session_id),
            Self::SignInFailed(_)
            | Self::SignInBlocked { .. }
            | Self::UserCreated { .. }
            | Self::UserEmailVerified { .. }
            | Self::UserEmailChanged { .. }
            | Self::UserPasswordChanged { .. }
            | Self::UserRolesChanged { .. }
            | Self::UserDisabled { .. }
            | Self::UserEnabled { .. }
            | Self::UserDeleted { .. }
            | Self::PasswordResetRequested { .. }
            | Self::EmailVerificationRequested { .. }
            | Self::RegistrationRepeated { .. } => None,
        }
    }
}

impl Event {
    /// The session whose end it tells, as long as nobody has said what that was: an account holds the ids of its sessions
    /// alone.
    #[must_use]
    pub fn undescribed_end(&self) -> Option<SessionId> {
        match &self.occurrence {
            Occurrence::SessionEnded {
                session_id,
                session: None,
                ..
            } => Some(*session_id),
            _ => None,
        }
    }

    /// Says what the session was whose end it tells. Another session than that changes nothing.
    pub fn describe_end(&mut self, ended: &Session) {
        if let Occurrence::SessionEnded {
            session_id,
            session,
            ..
        } = &mut self.occurrence
            && *session_id == ended.id
            && self.user_id == ended.user_id
        {
            *session = Some(Box::new(ShownSession::of(ended)));
        }
    }

    /// An event whose id follows from the user, the version of the item that was written, the type and the session.
    fn new(user_id: UserId, version: &str, at: DateTime<Utc>, occurrence: Occurrence) -> Self {
        let session = occurrence.session_id();
        Self {
            id: Self::id_of(user_id, version, occurrence.event_type(), session),
            user_id,
            at,
            occurrence,
        }
    }

    fn id_of(user: UserId, version: &str, kind: &str, session: Option<SessionId>) -> Uuid {
        let session = session.map_or_else(String::new, |session| session.to_string());
        let name = format!("{user}\n{version}\n{kind}\n{session}");
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }
}
