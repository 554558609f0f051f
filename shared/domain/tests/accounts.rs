//! What an account says of itself, and what a sign-in asks of it: each part on its own, by the crate's public face.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails by panicking"
)]

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::account::{Account, AccountStatus, Liveness};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::AdmitError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::identity::Identity;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::role::Role;
use latchkey_domain::selection::live_sessions;
use latchkey_domain::session::{ClientLocation, Session};

fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn id(seed: u64) -> SessionId {
    SessionId::random(&SeededRandom::new(seed))
}

fn account() -> Account {
    let user = UserId::random(&SeededRandom::new(0));
    let email = EmailAddress::parse("ada@example.com").unwrap();
    Account::register(user, email, id(1), noon())
}

fn session(seed: u64) -> Session {
    let user = UserId::random(&SeededRandom::new(0));
    let device = Device::describe(None, None, None, ClientHints::default());
    let (location, policy) = (ClientLocation::default(), SessionPolicy::default());
    Session::begin(id(seed), user, device, location, noon(), &policy)
}

#[test]
fn whoever_registers_has_their_first_session_and_no_other() {
    assert_eq!(account().sessions, [id(1)].into());
}

#[test]
fn the_sessions_that_count_are_the_accounts_the_most_recently_used_first() {
    let mut account = account();
    account.sessions = [id(1), id(2)].into();
    let used = |seed, minutes| Session {
        last_used_at: noon() + TimeDelta::minutes(minutes),
        ..session(seed)
    };
    let live = live_sessions(&account, vec![used(1, 0), used(2, 1), used(3, 2)], noon());
    let ids: Vec<SessionId> = live.iter().map(|session| session.id).collect();
    assert_eq!(ids, [id(2), id(1)]);
}

#[test]
fn the_scope_is_the_own_account_and_administration_only_with_its_role() {
    let mut account = account();
    assert!(account.scope().account && !account.scope().admin);
    account.roles.insert(Role::admin());
    assert!(account.scope().account && account.scope().admin);
}

#[test]
fn an_address_must_be_verified_only_where_the_policy_asks_for_it() {
    let admit = |account: Account, require_verified_email| {
        let policy = SessionPolicy {
            require_verified_email,
            ..SessionPolicy::default()
        };
        let version = account.password_version;
        let known = [session(1)];
        account.admit(&session(2), version, &known, noon(), &policy)
    };
    let mut verified = account();
    verified.email_verified_at = Some(noon());
    assert_eq!(admit(account(), true), Err(AdmitError::EmailNotVerified));
    for admitted in [
        admit(account(), false),
        admit(verified.clone(), true),
        admit(verified, false),
    ] {
        assert_eq!(admitted.unwrap().account.sessions, [id(1), id(2)].into());
    }
}

/// Whoever reads the logs searches for these words.
#[test]
fn each_state_of_a_session_has_its_word() {
    for (state, word) in [
        (Liveness::Live, "live"),
        (Liveness::AccountNotActive, "account_not_active"),
        (Liveness::NotAdmitted, "not_admitted"),
        (Liveness::IdleExpired, "idle_expired"),
        (Liveness::AbsolutelyExpired, "absolutely_expired"),
    ] {
        assert_eq!(state.as_str(), word);
    }
}

#[test]
fn a_sign_in_elsewhere_is_of_its_identity_and_moves_the_address_only_to_another_one() {
    let identity = |subject| Identity::new("https://id.example.com", subject).unwrap();
    let address = |text| EmailAddress::parse(text).unwrap();
    let mut verified = account();
    verified.identity = Some(identity("ada"));
    verified.email_verified_at = Some(noon());
    verified.email_version = 3;
    let policy = SessionPolicy::default();
    let admit = |as_whom: &Identity, email: Option<&EmailAddress>| {
        let known = [session(1)];
        let account = verified.clone();
        account.admit_identity(&session(2), (as_whom, email), &known, noon(), &policy)
    };
    assert_eq!(admit(&identity("eve"), None), Err(AdmitError::Deleted));
    let (same, other) = (address("Ada@Example.com"), address("ada@example.org"));
    for (email, shown, version, verified_at) in [
        (None, "ada@example.com", 3, Some(noon())),
        (Some(&same), "Ada@Example.com", 3, Some(noon())),
        (Some(&other), "ada@example.org", 4, None),
    ] {
        let admitted = admit(&identity("ada"), email).unwrap().account;
        assert_eq!(admitted.email().unwrap().as_typed(), shown);
        assert_eq!(admitted.email_version, version, "{shown}");
        assert_eq!(admitted.email_verified_at, verified_at, "{shown}");
        assert!(admitted.sessions.contains(&id(2)));
    }
}

#[test]
fn what_is_left_of_a_deleted_account_goes_a_day_later() {
    let deleted = account().delete(id(1), noon()).unwrap();
    let AccountStatus::Deleted { delete_after } = deleted.account.status else {
        panic!("it is deleted");
    };
    assert_eq!(delete_after, noon() + TimeDelta::days(1));
}
