//! What the images of an account before and after a write tell.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AccountImage, Event, Occurrence};
use crate::account::{Account, AccountStatus, FIRST_VERSION};
use crate::cause::{Actor, EndReason};
use crate::id::SessionId;

/// What has happened to a user between two images of their account. Images that are alike tell nothing.
///
/// The cause stands in the later image, if that is of a change of the service: its stamp is then another one. A write that
/// the service has not made, by an operator on the table itself, leaves the stamp of before; its end is then told with the
/// reason `admin` and the actor `operator`, as of `recorded_at`, when the table recorded it.
#[must_use]
pub fn events_between(
    before: Option<&AccountImage>,
    after: Option<&AccountImage>,
    recorded_at: DateTime<Utc>,
) -> Vec<Event> {
    match (before, after) {
        (None, None) => Vec::new(),
        (None, Some(after)) => first_event(after).into_iter().collect(),
        (Some(before), None) => {
            let account = &before.account;
            let telling = Telling::of_nobody(account, recorded_at);
            let mut events = telling.ends(account, &BTreeSet::new());
            if !account.is_deleted() {
                events.push(telling.event(Occurrence::UserDeleted {
                    email: email_of(account),
                    was_verified: account.is_email_verified(),
                    actor: Actor::Operator,
                }));
            }
            events
        }
        (Some(before), Some(after)) => {
            let telling = Telling::new(before, after, recorded_at);
            let mut events = telling.ends(&before.account, &admitted(&after.account));
            events.extend(telling.changes(&before.account, &after.account));
            events
        }
    }
}

/// The id of the event that tells that an account was created.
#[must_use]
pub fn creation_event_id(account: &Account) -> Uuid {
    let version = FIRST_VERSION.to_string();
    Event::id_of(account.id, &version, "user.created", None)
}

/// The event of an account that was not there. Its first session is told of by the session's own item.
fn first_event(after: &AccountImage) -> Option<Event> {
    let account = &after.account;
    let occurrence = Occurrence::UserCreated {
        email: email_of(account),
        actor: after.actor.clone(),
    };
    let version = account.version.to_string();
    let created = Event::new(account.id, &version, account.created_at, occurrence);
    (!account.is_deleted()).then_some(created)
}

/// The sessions that count as far as the account is concerned.
fn admitted(account: &Account) -> BTreeSet<SessionId> {
    match account.is_active() {
        true => account.sessions.clone(),
        false => BTreeSet::new(),
    }
}

fn email_of(account: &Account) -> Option<String> {
    account.email().map(|email| email.as_typed().to_owned())
}

/// The address that is verified now and was not, or is another one.
fn email_verified(before: &Account, after: &Account) -> Option<String> {
    let verified = |account: &Account| email_of(account).filter(|_| account.is_email_verified());
    let now = verified(after)?;
    (verified(before).as_ref() != Some(&now)).then_some(now)
}

/// How the events of one write are told.
struct Telling<'a> {
    account: &'a Account,
    /// The image whose cause is the one of this write; none if the service has not made it.
    by_service: Option<&'a AccountImage>,
    version: String,
    at: DateTime<Utc>,
}

impl<'a> Telling<'a> {
    fn new(before: &AccountImage, after: &'a AccountImage, recorded_at: DateTime<Utc>) -> Self {
        if before.change == after.change {
            return Self::of_nobody(&after.account, recorded_at);
        }
        Self {
            account: &after.account,
            by_service: Some(after),
            version: after.account.version.to_string(),
            at: after.at,
        }
    }

    /// A write that the service has not made: it has no version of its own, so the time stands for it.
    fn of_nobody(account: &'a Account, recorded_at: DateTime<Utc>) -> Self {
        Self {
            account,
            by_service: None,
            version: format!("{}@{}", account.version, recorded_at.timestamp_millis()),
            at: recorded_at,
        }
    }

    fn event(&self, occurrence: Occurrence) -> Event {
        Event::new(self.account.id, &self.version, self.at, occurrence)
    }

    fn actor(&self) -> Actor {
        let image = self.by_service;
        image.map_or(Actor::Operator, |image| image.actor.clone())
    }

    fn reason(&self, session: SessionId) -> EndReason {
        let written = self.by_service.and_then(|image| image.reasons.of(session));
        written.unwrap_or(EndReason::Admin)
    }

    /// The sessions that have left the set.
    fn ends(&self, before: &Account, still: &BTreeSet<SessionId>) -> Vec<Event> {
        let left = admitted(before);
        let left = left.difference(still).map(|session_id| {
            self.event(Occurrence::SessionEnded {
                session_id: *session_id,
                reason: self.reason(*session_id),
                actor: self.actor(),
                session: None,
            })
        });
        left.collect()
    }

    /// What else has changed.
    fn changes(&self, before: &Account, after: &Account) -> Vec<Event> {
        use AccountStatus::{Active, Deleted, Disabled};
        let mut told = Vec::new();
        if before.password_version != after.password_version {
            told.push(Occurrence::UserPasswordChanged {
                actor: self.actor(),
            });
        }
        let (email, previous_email) = (email_of(after), email_of(before));
        match (&before.status, &after.status) {
            (Active { .. } | Disabled { .. }, Deleted { .. }) => {
                told.push(Occurrence::UserDeleted {
                    email: previous_email,
                    was_verified: before.is_email_verified(),
                    actor: self.actor(),
                });
            }
            (Deleted { .. }, _) => {}
            (was @ (Active { .. } | Disabled { .. }), is @ (Active { .. } | Disabled { .. })) => {
                if email != previous_email {
                    told.push(Occurrence::UserEmailChanged {
                        email: email.clone(),
                        previous_email,
                        was_verified: before.is_email_verified(),
                        actor: self.actor(),
                    });
                }
                if before.roles != after.roles {
                    told.push(Occurrence::UserRolesChanged {
                        roles: after.roles.clone(),
                        previous_roles: before.roles.clone(),
                        actor: self.actor(),
                    });
                }
                if let Some(email) = email_verified(before, after) {
                    let actor = self.actor();
                    told.push(Occurrence::UserEmailVerified { email, actor });
                }
                let actor = self.actor();
                match (was, is) {
                    (Active { .. }, Disabled { .. }) => {
                        told.push(Occurrence::UserDisabled { actor });
                    }
                    (Disabled { .. }, Active { .. }) => {
                        told.push(Occurrence::UserEnabled { actor });
                    }
                    (Active { .. }, Active { .. })
                    | (Disabled { .. }, Disabled { .. })
                    | (Deleted { .. }, _)
                    | (_, Deleted { .. }) => {}
                }
            }
        }
        told.into_iter().map(|one| self.event(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::account::Change;
    use crate::account::tests::account_of;
    use crate::event::EndReasons;
    use crate::id::{ChangeId, UserId};
    use crate::random::SeededRandom;
    use crate::role::Role;
    use crate::session::tests::{noon, session};

    fn image(account: Account, stamp: u64, actor: Actor, reasons: EndReasons) -> AccountImage {
        AccountImage {
            account,
            change: ChangeId::random(&SeededRandom::new(stamp)),
            actor,
            at: noon(),
            reasons,
        }
    }

    fn first(sessions: &[&crate::session::Session]) -> AccountImage {
        image(
            account_of(sessions),
            1,
            Actor::System,
            EndReasons::default(),
        )
    }

    /// The image after a change, as the store writes it.
    fn after(before: &AccountImage, change: Change, actor: Actor) -> AccountImage {
        let mut account = change.account;
        account.version += 1;
        let reasons = EndReasons {
            common: None,
            by_session: change.ended,
        };
        image(account, before.account.version + 100, actor, reasons)
    }

    fn told(events: &[Event]) -> Vec<&'static str> {
        let types = events.iter().map(|event| event.occurrence.event_type());
        types.collect()
    }

    #[test]
    fn an_unchanged_image_gives_nothing() {
        let one = session(1, noon());
        let before = first(&[&one]);
        assert_eq!(events_between(Some(&before), Some(&before), noon()), []);
        let change = Change {
            account: before.account.clone(),
            ended: Vec::new(),
            always_write: true,
        };
        let same = after(&before, change, Actor::System);
        assert_eq!(events_between(Some(&before), Some(&same), noon()), []);
        assert_eq!(events_between(None, None, noon()), []);
    }

    #[test]
    fn what_leaves_the_set_has_ended_with_the_reason_that_was_written() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let before = first(&[&one, &two]);
        let change = before.account.clone().revoke(one.id, two.id).unwrap();
        let owner = Actor::Owner(one.id);
        let after = after(&before, change, owner.clone());
        let later = noon() + TimeDelta::hours(3);
        let events = events_between(Some(&before), Some(&after), later);
        let [event] = &events[..] else {
            panic!("{events:?}");
        };
        let expected = Occurrence::SessionEnded {
            session_id: two.id,
            reason: EndReason::Revoked,
            actor: owner,
            session: None,
        };
        assert_eq!(event.occurrence, expected);
        assert_eq!((event.at, event.user_id), (noon(), before.account.id));
        assert_eq!(event.id.get_version_num(), 5);
        assert_eq!(events_between(Some(&before), Some(&after), noon()), events);
    }

    #[test]
    fn the_ids_of_two_versions_of_two_kinds_and_of_two_sessions_differ() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let before = first(&[&one, &two]);
        let close = |image: &AccountImage| {
            let change = image.account.clone().disable();
            after(image, change, Actor::Operator)
        };
        let closed = close(&before);
        let mut opened = closed.clone();
        opened.account.status = before.account.status.clone();
        opened.account.version += 1;
        opened.change = ChangeId::random(&SeededRandom::new(77));
        let again = close(&opened);
        let images = [before, closed, opened, again];
        let pairs = images.windows(2);
        let told = pairs.flat_map(|pair| events_between(Some(&pair[0]), Some(&pair[1]), noon()));
        let mut ids: Vec<_> = told.map(|event| event.id).collect();
        ids.sort();
        ids.dedup();
        // Two ends, closed, opened, closed.
        assert_eq!(ids.len(), 5);
    }

    #[test]
    fn a_write_of_somebody_else_is_not_told_with_the_cause_of_the_change_before() {
        let one = session(1, noon());
        let mut before = first(&[&one]);
        before.reasons.common = Some(EndReason::TokenReuse);
        let mut after = before.clone();
        after.account.sessions.clear();
        let later = noon() + TimeDelta::hours(3);
        for after in [Some(&after), None] {
            let events = events_between(Some(&before), after, later);
            let ended = Occurrence::SessionEnded {
                session_id: one.id,
                reason: EndReason::Admin,
                actor: Actor::Operator,
                session: None,
            };
            assert_eq!((&events[0].occurrence, events[0].at), (&ended, later));
        }
    }

    #[test]
    fn an_end_is_described_by_the_item_of_its_session_alone() {
        let one = session(1, noon());
        let before = first(&[&one]);
        let closed = after(&before, before.account.clone().disable(), Actor::Operator);
        let mut events = events_between(Some(&before), Some(&closed), noon());
        assert_eq!(events[1].undescribed_end(), None, "the account's closing");
        let end = &mut events[0];
        let mut of_another = one.clone();
        of_another.user_id = UserId::random(&SeededRandom::new(99));
        for other in [session(2, noon()), of_another] {
            end.describe_end(&other);
            assert_eq!(end.undescribed_end(), Some(one.id));
        }
        end.describe_end(&one);
        assert_eq!(end.undescribed_end(), None);
        assert_eq!(end.data()["device_name"], "Unknown device");
    }

    #[test]
    fn an_account_begins_is_closed_opened_and_deleted() {
        let one = session(1, noon());
        let begun = first(&[&one]);
        let events = events_between(None, Some(&begun), noon());
        assert_eq!(told(&events), ["user.created"]);
        assert_eq!(events[0].id, creation_event_id(&begun.account));
        let closed = after(&begun, begun.account.clone().disable(), Actor::Operator);
        let events = events_between(Some(&begun), Some(&closed), noon());
        assert_eq!(told(&events), ["session.ended", "user.disabled"]);
        let mut opened = closed.clone();
        opened.change = ChangeId::random(&SeededRandom::new(77));
        opened.account.status = begun.account.status.clone();
        let events = events_between(Some(&closed), Some(&opened), noon());
        assert_eq!(told(&events), ["user.enabled"]);
        let erased = begun.account.clone().delete(one.id, noon()).unwrap();
        let erased = after(&begun, erased, Actor::Owner(one.id));
        let events = events_between(Some(&begun), Some(&erased), noon());
        assert_eq!(told(&events), ["session.ended", "user.deleted"]);
        assert_eq!(events[1].data()["email"], "ada@example.com");
        // The end of the item is no second end of the user.
        assert_eq!(events_between(Some(&erased), None, noon()), []);
        assert_eq!(events_between(None, Some(&erased), noon()), []);
    }

    #[test]
    fn other_roles_are_told_with_those_before() {
        let one = session(1, noon());
        let before = first(&[&one]);
        let mut granted = before.clone();
        granted.account.roles = BTreeSet::from([Role::admin()]);
        granted.change = ChangeId::random(&SeededRandom::new(79));
        granted.actor = Actor::Operator;
        let events = events_between(Some(&before), Some(&granted), noon());
        assert_eq!(told(&events), ["user.roles_changed"]);
        let data = events[0].data();
        let roles = (&data["roles"], &data["previous_roles"]);
        assert_eq!(
            roles,
            (&serde_json::json!(["admin"]), &serde_json::json!([]))
        );
    }

    #[test]
    fn a_new_password_and_a_new_address_are_told() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let before = first(&[&one]);
        let change = before
            .account
            .clone()
            .change_password(one.id, two.id)
            .unwrap();
        let changed = after(&before, change, Actor::Owner(one.id));
        let events = events_between(Some(&before), Some(&changed), noon());
        assert_eq!(told(&events), ["session.ended", "user.password_changed"]);
        let mut moved = changed.clone();
        moved.change = ChangeId::random(&SeededRandom::new(78));
        moved.account.status = AccountStatus::Active { email: None };
        let events = events_between(Some(&changed), Some(&moved), noon());
        assert_eq!(told(&events), ["user.email_changed"]);
        let data = events[0].data();
        assert_eq!(data["previous_email"], "ada@example.com");
        assert!(data["email"].is_null());
    }

    #[test]
    fn an_address_that_is_verified_is_told_once() {
        let before = first(&[&session(1, noon())]);
        let email = before.account.email().unwrap().clone();
        let change = before.account.clone().verify_email(&email, noon());
        let verified = after(&before, change.unwrap(), Actor::Link);
        let events = events_between(Some(&before), Some(&verified), noon());
        assert_eq!(told(&events), ["user.email_verified"]);
        assert_eq!(events[0].data()["email"], "ada@example.com");
        assert_eq!(events[0].data()["actor"], "link");
        let version = verified.account.password_version;
        let change = verified
            .account
            .clone()
            .reset_password(&email, version, noon());
        let reset = after(&verified, change.unwrap(), Actor::Link);
        let events = events_between(Some(&verified), Some(&reset), noon());
        assert_eq!(told(&events), ["session.ended", "user.password_changed"]);
        let asked = crate::token::EmailChange {
            email: crate::email::EmailAddress::parse("grace@example.com").unwrap(),
            email_version: 0,
            session_id: *verified.account.sessions.first().unwrap(),
        };
        let on = session(1, noon());
        let change = verified.account.clone();
        let change = change.change_email(&asked, Some(&on), noon());
        let moved = after(&verified, change.unwrap(), Actor::Link);
        let events = events_between(Some(&verified), Some(&moved), noon());
        assert_eq!(told(&events), ["user.email_changed", "user.email_verified"]);
    }
}
