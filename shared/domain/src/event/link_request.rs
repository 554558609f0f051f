//! A request for a link: what somebody asks for before it is known whether there is such a user.
//!
//! A request with an address must take and cost the same whether the address is known or not, and must not wait for mail. So
//! it is only written down, and whoever reads the table's stream looks the address up.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Event, Occurrence, Requester};
use crate::account::Account;
use crate::cause::Actor;
use crate::email::EmailAddress;
use crate::id::{RequestId, UserId};
use crate::token::EmailChange;

/// How long a request is kept, and how long something is sent for it: its event may be a day in the table's stream, a day on
/// its way to the queue of mail, and a day in it.
pub const LINK_REQUEST_LIFETIME: TimeDelta = TimeDelta::days(3);

/// What was asked for, as it was written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkRequest {
    /// Names the request. The id of its event follows from it.
    pub id: RequestId,
    /// What is wanted.
    pub wanted: WantedLink,
    /// For whom.
    pub addressee: Addressee,
    /// Where and on what it was asked for.
    pub requester: Requester,
    /// By whom.
    pub actor: Actor,
    /// When.
    pub at: DateTime<Utc>,
}

/// What a request wants to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedLink {
    /// A link to choose another password.
    ResetPassword,
    /// A link to verify the address.
    VerifyEmail,
    /// A link to a new address.
    ChangeEmail(EmailChange),
    /// Word that somebody has registered with an address that is taken, and with another password than its user's.
    RepeatRegistration,
    /// The same, but with its user's password: perhaps the reply to the first registration was lost, or its mail.
    RetryRegistration,
}

/// For whom something is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// Whoever has this address, if anybody has.
    Address(EmailAddress),
    /// This user.
    User(UserId),
}

impl LinkRequest {
    /// What it tells of the account that it is for. Nothing if the account is deleted, has another address than was asked
    /// for, has no need of such a link, or cannot use one.
    ///
    /// The address in it is the account's own and never the one that was typed: two spellings that are one address to us may
    /// be two mailboxes to somebody else.
    #[must_use]
    pub fn event(&self, account: &Account) -> Option<Event> {
        let email = account.email()?;
        let is_for_it = match &self.addressee {
            Addressee::Address(asked) => account
                .credential_email()
                .is_some_and(|own| own.normalized() == asked.normalized()),
            Addressee::User(user) => *user == account.id,
        };
        if !is_for_it {
            return None;
        }
        let (request_id, email) = (self.id, email.as_typed().to_owned());
        let (requester, actor) = (Box::new(self.requester.clone()), self.actor.clone());
        let occurrence = match &self.wanted {
            WantedLink::ResetPassword => {
                account.reset_link()?;
                Occurrence::PasswordResetRequested {
                    request_id,
                    email,
                    requester,
                    actor,
                }
            }
            WantedLink::VerifyEmail if account.is_email_verified() => return None,
            // Whoever has registered twice and has not verified the address wants the link. It is given for the right
            // password alone: it confirms the password of the account, which may be a stranger's.
            WantedLink::RetryRegistration if account.is_email_verified() => {
                Occurrence::RegistrationRepeated {
                    request_id,
                    email,
                    requester,
                    actor,
                }
            }
            WantedLink::VerifyEmail | WantedLink::RetryRegistration => {
                account.verification_link()?;
                Occurrence::EmailVerificationRequested {
                    request_id,
                    email,
                    requester,
                    actor,
                }
            }
            WantedLink::ChangeEmail(change) => {
                account.email_change_link(change.clone())?;
                Occurrence::EmailChangeRequested {
                    request_id,
                    email,
                    change: Box::new(change.clone()),
                    requester,
                    actor,
                }
            }
            WantedLink::RepeatRegistration => Occurrence::RegistrationRepeated {
                request_id,
                email,
                requester,
                actor,
            },
        };
        let version = self.id.to_string();
        Some(Event::new(account.id, &version, self.at, occurrence))
    }

    /// Whether it is this request that an event tells which names it: it is for that user, and is told by such an event with
    /// that id and by no other.
    #[must_use]
    pub fn is_told_by(&self, user: UserId, event_type: &str, id: Uuid) -> bool {
        let is_for_them = match &self.addressee {
            Addressee::User(own) => *own == user,
            // Whose address it is says the account, where the event is made from it.
            Addressee::Address(_) => true,
        };
        let (types, session): (&[&str], _) = match &self.wanted {
            WantedLink::ResetPassword => (&["password_reset.requested"], None),
            WantedLink::VerifyEmail => (&["email_verification.requested"], None),
            WantedLink::ChangeEmail(change) => {
                (&["email_change.requested"], Some(change.session_id))
            }
            WantedLink::RepeatRegistration => (&["registration.repeated"], None),
            WantedLink::RetryRegistration => (
                &["email_verification.requested", "registration.repeated"],
                None,
            ),
        };
        is_for_them
            && types.contains(&event_type)
            && Event::id_of(user, &self.id.to_string(), event_type, session) == id
    }

    /// Whether it is too old for anything to be sent for it.
    #[must_use]
    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        now >= self.at + LINK_REQUEST_LIFETIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::account_of;
    use crate::identity::Identity;
    use crate::random::SeededRandom;
    use crate::session::tests::{noon, session};

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
    }

    fn request(wanted: WantedLink, addressee: Addressee) -> LinkRequest {
        LinkRequest {
            id: RequestId::random(&SeededRandom::new(1)),
            wanted,
            addressee,
            requester: Requester::default(),
            actor: Actor::Nobody,
            at: noon(),
        }
    }

    /// What can be asked for of an account with session 1, and the type of its event.
    fn all() -> [(WantedLink, &'static str); 5] {
        let change = EmailChange {
            email: address("grace@example.com"),
            email_version: 0,
            session_id: session(1, noon()).id,
        };
        [
            (WantedLink::ResetPassword, "password_reset.requested"),
            (WantedLink::VerifyEmail, "email_verification.requested"),
            (WantedLink::ChangeEmail(change), "email_change.requested"),
            (WantedLink::RepeatRegistration, "registration.repeated"),
            (
                WantedLink::RetryRegistration,
                "email_verification.requested",
            ),
        ]
    }

    #[test]
    fn a_request_tells_of_the_account_that_it_is_for() {
        let account = account_of(&[&session(1, noon())]);
        for (wanted, event_type) in all() {
            for addressee in [
                Addressee::User(account.id),
                Addressee::Address(address("ADA@example.com")),
            ] {
                let request = request(wanted.clone(), addressee);
                let event = request.event(&account).unwrap();
                assert_eq!(event.occurrence.event_type(), event_type);
                assert_eq!((event.at, event.user_id), (noon(), account.id));
                // The stored spelling.
                assert_eq!(event.data()["email"], "ada@example.com");
                assert_eq!(request.event(&account), Some(event));
            }
        }
    }

    #[test]
    fn a_request_for_another_account_tells_nothing() {
        let account = account_of(&[&session(1, noon())]);
        let other = UserId::random(&SeededRandom::new(77));
        for (wanted, _) in all() {
            for addressee in [
                Addressee::User(other),
                Addressee::Address(address("grace@example.com")),
            ] {
                assert_eq!(request(wanted.clone(), addressee).event(&account), None);
            }
        }
    }

    /// Which of them are told of an account.
    fn told(account: &Account, addressee: &Addressee) -> [bool; 5] {
        let event = |wanted| request(wanted, addressee.clone()).event(account);
        all().map(|(wanted, _)| event(wanted).is_some())
    }

    #[test]
    fn what_an_account_cannot_use_is_not_told() {
        let one = session(1, noon());
        let account = account_of(&[&one]);
        let by_address = Addressee::Address(address("ada@example.com"));
        let by_user = Addressee::User(account.id);
        let mut verified = account.clone();
        verified.email_verified_at = Some(noon());
        let signed_out = account.clone().revoke_all(one.id, false).unwrap().account;
        let disabled = account.clone().disable().account;
        let deleted = account.clone().delete(one.id, noon()).unwrap().account;
        let mut elsewhere = account.clone();
        elsewhere.identity = Some(Identity::new("https://idp.example", "ada").unwrap());
        let not_to_change = [true, true, false, true, true];
        for (account, told_by_address, told_by_user) in [
            (&account, [true; 5], [true; 5]),
            (
                &verified,
                [true, false, true, true, true],
                [true, false, true, true, true],
            ),
            (&signed_out, not_to_change, not_to_change),
            (&disabled, not_to_change, not_to_change),
            (&deleted, [false; 5], [false; 5]),
            // Its address was told by somebody else and leads nowhere.
            (&elsewhere, [false; 5], [false, false, false, true, false]),
        ] {
            assert_eq!(told(account, &by_address), told_by_address, "{account:?}");
            assert_eq!(told(account, &by_user), told_by_user, "{account:?}");
        }
    }

    #[test]
    fn a_registration_with_the_password_of_an_account_that_is_not_verified_wants_its_link() {
        let account = account_of(&[]);
        let mut verified = account.clone();
        verified.email_verified_at = Some(noon());
        for (account, wanted, event_type) in [
            (
                &account,
                WantedLink::RetryRegistration,
                "email_verification.requested",
            ),
            (
                &account,
                WantedLink::RepeatRegistration,
                "registration.repeated",
            ),
            (
                &verified,
                WantedLink::RetryRegistration,
                "registration.repeated",
            ),
        ] {
            let request = request(wanted, Addressee::Address(address("ada@example.com")));
            let event = request.event(account).unwrap();
            assert_eq!(event.occurrence.event_type(), event_type);
        }
    }

    /// Whether a request is told by each type of event, if the id is the one that follows from it.
    #[test]
    fn a_request_is_told_by_its_own_event_and_by_no_other() {
        let account = account_of(&[&session(1, noon())]);
        let other = UserId::random(&SeededRandom::new(77));
        let requests = all().map(|(wanted, _)| request(wanted, Addressee::User(account.id)));
        let told: Vec<Event> = requests
            .iter()
            .map(|request| request.event(&account).unwrap())
            .collect();
        for (own, request) in requests.iter().enumerate() {
            for (of, event) in told.iter().enumerate() {
                let event_type = event.occurrence.event_type();
                let is_told = request.is_told_by(account.id, event_type, event.id);
                // Two of them ask for the same; and which of its two a registration that is sent again becomes, the
                // account says.
                let same = told[own].id == event.id;
                let either = matches!(request.wanted, WantedLink::RetryRegistration)
                    && event_type == "registration.repeated";
                assert_eq!(is_told, same || either, "{own} {of}");
                assert!(!request.is_told_by(other, event_type, event.id));
                assert!(!request.is_told_by(account.id, event_type, Uuid::from_u128(1)));
            }
        }
        let mut verified = account.clone();
        verified.email_verified_at = Some(noon());
        let retried = request(
            WantedLink::RetryRegistration,
            Addressee::Address(address("ada@example.com")),
        );
        let repeated = retried.event(&verified).unwrap();
        assert!(retried.is_told_by(account.id, "registration.repeated", repeated.id));
    }

    #[test]
    fn a_request_expires_to_the_millisecond() {
        let request = request(
            WantedLink::ResetPassword,
            Addressee::User(account_of(&[]).id),
        );
        let end = noon() + TimeDelta::days(3);
        assert!(!request.is_expired(end - TimeDelta::milliseconds(1)));
        assert!(request.is_expired(end));
    }

    #[test]
    fn two_requests_are_two_events() {
        let account = account_of(&[]);
        let one = request(WantedLink::ResetPassword, Addressee::User(account.id));
        let mut other = one.clone();
        other.id = RequestId::random(&SeededRandom::new(2));
        let id = |request: &LinkRequest| request.event(&account).unwrap().id;
        assert_ne!(id(&one), id(&other));
        assert_eq!(id(&one).get_version_num(), 5);
    }
}
