//! Mail to people: which message an event is told by, to which address, or that it is told by none.
//!
//! Pure: it is handed the event as a subscriber of the bus has it, and the account as it is now. Of what a client says of
//! itself only [`safe_text`] is shown, because a stranger may have chosen the words.

mod language;
mod safe_text;
mod sender;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::account::Account;
use crate::cause::{Actor, EndReason};
use crate::device::{DeviceType, UNKNOWN_DEVICE, is_of_known_words};
use crate::email::EmailAddress;
use crate::event::{Event, LINK_REQUEST_LIFETIME, LinkRequest, creation_event_id};
use crate::id::{RequestId, SessionId, UserId};
use crate::session::{ClientLocation, Session};
use crate::throttle::MailReason;
use crate::token::{EmailChange, Link, LinkPurpose};

pub use language::Language;
pub use safe_text::safe_text;
pub use sender::{InvalidSender, Sender};

/// An event that is older is not told any more: what is kept of the messages that were sent is forgotten later than that,
/// so no event is told twice, also when a whole archive of events is put on the bus again.
pub const TELL_WITHIN: TimeDelta = TimeDelta::days(5);

/// The same for what somebody has asked for: without its request the event would count as one that nobody has asked for. A
/// minute less than the request is kept, for the difference of clocks and the time that a read takes.
const REQUEST_TOLD_WITHIN: TimeDelta = TimeDelta::seconds(LINK_REQUEST_LIFETIME.num_seconds() - 60);

/// A message that a person gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    /// Somebody has signed in on a device that is new to the account.
    NewDevice,
    /// Somebody has signed in from a place that the user can hardly have reached.
    UnusualPlace,
    /// The password was replaced.
    PasswordChanged,
    /// The account has another address; to the one before.
    EmailChanged,
    /// A session was ended, because a replaced refresh token came back.
    SessionReused,
    /// The account was deleted.
    AccountDeleted,
    /// A link that shows that the user reads the mail of their address.
    VerifyEmail,
    /// A link to choose another password.
    ResetPassword,
    /// A link that makes an address the user's; to that address.
    ConfirmEmail,
    /// Somebody has tried to register with an address that has an account.
    AlreadyRegistered,
}

impl Message {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NewDevice,
        Self::UnusualPlace,
        Self::PasswordChanged,
        Self::EmailChanged,
        Self::SessionReused,
        Self::AccountDeleted,
        Self::VerifyEmail,
        Self::ResetPassword,
        Self::ConfirmEmail,
        Self::AlreadyRegistered,
    ];

    /// The name of its texts, and the word for it in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewDevice => "new_device",
            Self::UnusualPlace => "unusual_place",
            Self::PasswordChanged => "password_changed",
            Self::EmailChanged => "email_changed",
            Self::SessionReused => "session_reused",
            Self::AccountDeleted => "account_deleted",
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::ConfirmEmail => "confirm_email",
            Self::AlreadyRegistered => "already_registered",
        }
    }
}

impl Message {
    /// How old what it tells of may be. Whoever has waited for a link for longer has asked again, and one link after the
    /// other would be sent when mail works again.
    #[must_use]
    pub const fn tell_within(self) -> TimeDelta {
        match self {
            Self::ResetPassword => TimeDelta::hours(1),
            Self::VerifyEmail | Self::ConfirmEmail => TimeDelta::hours(24),
            Self::AlreadyRegistered => REQUEST_TOLD_WITHIN,
            Self::NewDevice
            | Self::UnusualPlace
            | Self::PasswordChanged
            | Self::EmailChanged
            | Self::SessionReused
            | Self::AccountDeleted => TELL_WITHIN,
        }
    }

    /// How long the link is valid that it is about, if it is about one.
    #[must_use]
    pub const fn link_lifetime(self) -> Option<TimeDelta> {
        match self {
            Self::VerifyEmail => Some(LinkPurpose::VerifyEmail.lifetime()),
            Self::ConfirmEmail => Some(LinkPurpose::ChangeEmail.lifetime()),
            Self::ResetPassword => Some(LinkPurpose::ResetPassword.lifetime()),
            Self::NewDevice
            | Self::UnusualPlace
            | Self::PasswordChanged
            | Self::EmailChanged
            | Self::SessionReused
            | Self::AccountDeleted
            | Self::AlreadyRegistered => None,
        }
    }
}

/// An event as a subscriber of the bus reads it. Members and types that are not known are left alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ReceivedEvent {
    /// The same however often it is delivered.
    pub id: Uuid,
    /// Its type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// To whom it happened.
    #[serde(rename = "subject")]
    pub user_id: UserId,
    /// When.
    #[serde(rename = "time")]
    pub at: DateTime<Utc>,
    /// What belongs to the type.
    #[serde(default)]
    data: Details,
}

/// What is read of an event's data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Details {
    request_id: Option<RequestId>,
    session_id: Option<SessionId>,
    device_name: Option<String>,
    device_type: Option<Value>,
    ip_address: Option<Value>,
    location_city: Option<String>,
    location_country: Option<String>,
    new_device: Option<bool>,
    unusual_location: Option<bool>,
    reason: Option<Value>,
    actor: Option<Value>,
    email: Option<String>,
    previous_email: Option<String>,
    was_verified: Option<bool>,
    new_email: Option<String>,
    email_version: Option<u64>,
}

/// What the table says of an event. Whoever may put events on the bus, or messages on the queue, could have made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It says nothing against it. This is to be told: what the event is, or what the request for a link says of it.
    Founded(Box<ReceivedEvent>),
    /// It says the same, but nothing is to be sent any more.
    Overtaken,
    /// It knows nothing of it, or says something else.
    Unfounded,
}

/// Where something was done, as a message shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// What the client calls the device, if that can be shown.
    pub device: Option<String>,
    /// What kind of device it is.
    pub device_type: DeviceType,
    /// The address and the place that it was in.
    pub location: ClientLocation,
}

/// A message to one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Which.
    pub message: Message,
    /// To which address.
    pub to: EmailAddress,
    /// When what it tells of has happened.
    pub at: DateTime<Utc>,
    /// Where it was done, if the event tells.
    pub whereabouts: Option<Whereabouts>,
    /// The session on which it was done, if the event names one: its item tells where that was.
    pub session: Option<SessionId>,
    /// When the account was made, in messages that ask whose it is.
    pub account_created_at: Option<DateTime<Utc>>,
    /// Whether the words may be shown that a client calls its device. Words of our own always may.
    pub shows_device_name: bool,
    /// Whether its address was confirmed when what it tells of happened.
    pub is_confirmed: bool,
    /// Whether those who run the service have asked for it, and not its addressee.
    pub from_operator: bool,
    /// What the link of the message does, if it has one.
    pub link: Option<Link>,
}

/// How many mails of a kind that nobody has asked for go to an address in an hour. Whoever has the password could otherwise
/// fill a mailbox, one sign-in after the other.
const PER_HOUR: u32 = 20;
/// The same for an address that nobody has confirmed: anybody can register with somebody else's.
const PER_HOUR_UNCONFIRMED: u32 = 5;

impl Notice {
    /// How many mails of its kind its address may get in an hour for this one to be among them, if nobody has asked for it.
    #[must_use]
    pub const fn most_in_hour(&self) -> u32 {
        match self.is_confirmed {
            true => PER_HOUR,
            false => PER_HOUR_UNCONFIRMED,
        }
    }

    /// What it is counted for, if nobody has asked for it. What changes an account is counted apart from sign-ins, and an
    /// account's beginning from both: whoever brings one of them about hides none of the others.
    #[must_use]
    pub const fn reason(&self) -> MailReason {
        match self.message {
            Message::PasswordChanged | Message::EmailChanged | Message::AccountDeleted => {
                MailReason::Change
            }
            Message::VerifyEmail => MailReason::Creation,
            Message::NewDevice
            | Message::UnusualPlace
            | Message::SessionReused
            | Message::ResetPassword
            | Message::ConfirmEmail
            | Message::AlreadyRegistered => MailReason::Notice,
        }
    }

    /// The same with where it was done.
    #[must_use]
    pub fn at_place(self, whereabouts: Option<Whereabouts>) -> Self {
        let shows_any = self.shows_device_name;
        // A new address may be mistyped, and then a stranger reads the message.
        let shows_address = self.message != Message::ConfirmEmail;
        let whereabouts = whereabouts.map(|place| Whereabouts {
            device: place
                .device
                .filter(|name| shows_any || is_of_known_words(name)),
            location: ClientLocation {
                ip_address: place.location.ip_address.filter(|_| shows_address),
                ..place.location
            },
            ..place
        });
        Self {
            whereabouts,
            ..self
        }
    }
}

impl Whereabouts {
    /// Where a session is used.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        Self {
            device: shown_device(session.device.shown_name()),
            device_type: session.device.device_type,
            location: session.location.clone(),
        }
    }
}

impl ReceivedEvent {
    /// Whether there is a message for what happened, whoever is to be told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.message().is_some()
    }

    /// Whether somebody has asked for its mail, so that the table has the request. Requests are counted when they are made,
    /// but those of administrators.
    #[must_use]
    pub fn is_asked_for(&self) -> bool {
        match self.message() {
            Some(Message::VerifyEmail) => self.event_type != "user.created",
            Some(Message::ResetPassword | Message::ConfirmEmail | Message::AlreadyRegistered) => {
                true
            }
            Some(
                Message::NewDevice
                | Message::UnusualPlace
                | Message::PasswordChanged
                | Message::EmailChanged
                | Message::SessionReused
                | Message::AccountDeleted,
            )
            | None => false,
        }
    }

    /// The request for a link that it tells of.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        self.data.request_id
    }

    /// Holds it against the table: its user's account, and the request that it names, if it names one.
    ///
    /// What sends a link is told by what was written when the link was asked for, and by nothing that stands in the event. A
    /// user is created once, and deleted only if there is no account. Of the other events the table does not know enough.
    #[must_use]
    pub fn find(
        &self,
        account: Option<&Account>,
        request: Option<&LinkRequest>,
        now: DateTime<Utc>,
    ) -> Finding {
        if self.is_asked_for() {
            let request = request.filter(|request| {
                !request.is_expired(now)
                    && request.is_told_by(self.user_id, &self.event_type, self.id)
            });
            let Some(request) = request else {
                return Finding::Unfounded;
            };
            let told = account.and_then(|account| request.event(account));
            // The same request may want something else by now.
            let told = told.filter(|told| told.id == self.id);
            return told.map_or(Finding::Overtaken, |told| {
                Finding::Founded(Box::new(Self::of(&told)))
            });
        }
        let is_founded = match (self.event_type.as_str(), account) {
            ("user.created", Some(account)) => {
                let at = account.created_at.timestamp_millis();
                self.id == creation_event_id(account) && self.at.timestamp_millis() == at
            }
            ("user.deleted", Some(account)) => account.is_deleted(),
            _ => true,
        };
        match is_founded {
            true => Finding::Founded(Box::new(self.clone())),
            false => Finding::Unfounded,
        }
    }

    /// An event as a subscriber reads it.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        Self {
            id: event.id,
            event_type: event.occurrence.event_type().to_owned(),
            user_id: event.user_id,
            at: event.at,
            data: serde_json::from_value(event.data()).unwrap_or_default(),
        }
    }

    /// Whether it is too old to be told.
    #[must_use]
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        let within = self.message().map(Message::tell_within);
        now - self.at > within.unwrap_or(TELL_WITHIN)
    }

    /// The message that tells of it, by the account as it is now. None if there is nothing to tell, or nobody to be told.
    #[must_use]
    pub fn notice(&self, account: Option<&Account>) -> Option<Notice> {
        let message = self.message()?;
        let link = match message {
            Message::VerifyEmail => {
                let account = account.filter(|account| !account.is_email_verified())?;
                Some(account.verification_link()?)
            }
            Message::ResetPassword => Some(account?.reset_link()?),
            Message::ConfirmEmail => Some(account?.email_change_link(self.email_change()?)?),
            Message::NewDevice
            | Message::UnusualPlace
            | Message::PasswordChanged
            | Message::EmailChanged
            | Message::SessionReused
            | Message::AccountDeleted
            | Message::AlreadyRegistered => None,
        };
        let to = match (&link, message) {
            (Some(link), _) => link.email().clone(),
            (None, Message::AccountDeleted) => parse(self.data.email.as_deref())?,
            (None, Message::EmailChanged) => parse(self.data.previous_email.as_deref())?,
            (None, _) => account?.email()?.clone(),
        };
        // A stranger may have registered with somebody else's address, and may ask for links to anybody's.
        let is_verified = account.is_some_and(Account::is_email_verified);
        let asks_whose_it_is = message == Message::VerifyEmail;
        let notice = Notice {
            message,
            to,
            at: self.at,
            whereabouts: None,
            session: self.session(),
            account_created_at: account
                .filter(|_| asks_whose_it_is)
                .map(|account| account.created_at),
            // Nor may an account's owner send their words to an address that is not theirs yet.
            shows_device_name: is_verified
                && message != Message::ConfirmEmail
                && !matches!(self.actor(), Some(Actor::Nobody)),
            // The account has another address by now, or is gone.
            is_confirmed: match message {
                Message::EmailChanged | Message::AccountDeleted => {
                    self.data.was_verified == Some(true)
                }
                _ => is_verified,
            },
            from_operator: matches!(
                self.actor(),
                Some(Actor::Admin(_) | Actor::Operator | Actor::Client(_))
            ),
            link,
        };
        Some(notice.at_place(self.whereabouts()))
    }

    /// The message of the event's type and data alone.
    fn message(&self) -> Option<Message> {
        let data = &self.data;
        match self.event_type.as_str() {
            // One message for each event. The place is the graver matter, and its message names the device too.
            "session.created" if data.unusual_location == Some(true) => Some(Message::UnusualPlace),
            "session.created" if data.new_device == Some(true) => Some(Message::NewDevice),
            "session.ended" => {
                let reason = data.reason.clone().map(serde_json::from_value);
                matches!(reason, Some(Ok(EndReason::TokenReuse))).then_some(Message::SessionReused)
            }
            "user.password_changed" => Some(Message::PasswordChanged),
            "user.email_changed" => Some(Message::EmailChanged),
            "user.deleted" => Some(Message::AccountDeleted),
            // A registration that signs nobody in asks for its mail itself, and says from where.
            "user.created" if matches!(self.actor(), Some(Actor::Nobody)) => None,
            "user.created" | "email_verification.requested" => Some(Message::VerifyEmail),
            "password_reset.requested" => Some(Message::ResetPassword),
            "email_change.requested" => Some(Message::ConfirmEmail),
            "registration.repeated" => Some(Message::AlreadyRegistered),
            _ => None,
        }
    }

    /// Where it was done, if the event itself tells.
    fn whereabouts(&self) -> Option<Whereabouts> {
        let data = &self.data;
        let ip_address = data.ip_address.clone();
        let location = ClientLocation {
            ip_address: ip_address.and_then(|address| serde_json::from_value(address).ok()),
            city: data.location_city.clone(),
            country: data.location_country.clone(),
            coordinates: None,
        };
        let tells = data.device_name.is_some() || location != ClientLocation::default();
        tells.then(|| Whereabouts {
            device: data.device_name.as_deref().and_then(shown_device),
            device_type: data
                .device_type
                .clone()
                .map_or(DeviceType::Unknown, |kind| {
                    serde_json::from_value(kind).unwrap_or(DeviceType::Unknown)
                }),
            location,
        })
    }

    /// The session on which it was done.
    fn session(&self) -> Option<SessionId> {
        match self.actor() {
            Some(Actor::Owner(session)) => Some(session),
            Some(
                Actor::Admin(_)
                | Actor::Client(_)
                | Actor::Operator
                | Actor::System
                | Actor::Link
                | Actor::Nobody,
            )
            | None => self.data.session_id,
        }
    }

    /// The new address that was asked for.
    fn email_change(&self) -> Option<EmailChange> {
        Some(EmailChange {
            email: parse(self.data.new_email.as_deref())?,
            email_version: self.data.email_version?,
            session_id: self.data.session_id?,
        })
    }

    /// Who did it, if that is somebody whom this version knows.
    fn actor(&self) -> Option<Actor> {
        serde_json::from_value(self.data.actor.clone()?).ok()
    }
}

/// The name of a device as a message shows it. That nothing is known of it is no name.
fn shown_device(name: &str) -> Option<String> {
    let known = Some(name).filter(|name| *name != UNKNOWN_DEVICE);
    known.and_then(safe_text).map(str::to_owned)
}

fn parse(email: Option<&str>) -> Option<EmailAddress> {
    EmailAddress::parse_existing(email?).ok()
}

#[cfg(test)]
mod tests;
