//! The account: who is signed in, and every way in which that changes.
//!
//! The account holds the set of admitted sessions. Taking an id out of the set *is* the end of that session,
//! and an id that has left never comes back. Every change here is a pure function of the account and the time;
//! the store writes its result on the condition that the account is still as it was read.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::cause::EndReason;
use crate::clock::whole_seconds;
use crate::email::EmailAddress;
use crate::error::{AdmitError, CallerNotLive, SessionError};
use crate::id::{SessionId, UserId};
use crate::identity::Identity;
use crate::policy::{CLOCK_DIFFERENCE, DELETED_ACCOUNT_RETENTION, SessionPolicy};
use crate::role::Role;
use crate::session::Session;
use crate::token::Scope;

/// What an account is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountStatus {
    /// It may sign in.
    Active {
        /// The address of its user. Every account with a password has one, where its credential is found.
        email: Option<EmailAddress>,
    },
    /// An administrator has closed it; nobody is signed in.
    Disabled {
        /// The same.
        email: Option<EmailAddress>,
    },
    /// Its owner has deleted it. What is left only tells the cleanup what to remove.
    Deleted {
        /// When DynamoDB may delete the item; whole seconds.
        delete_after: DateTime<Utc>,
    },
}

/// The version of an account that was just created.
pub const FIRST_VERSION: u64 = 1;

/// Who a user is, and on which sessions they are signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub id: UserId,
    /// What the account is allowed.
    pub status: AccountStatus,
    /// Who its user is elsewhere, if they sign in there. Such an account has no password, and its address is only shown:
    /// it finds nothing, for nobody here has verified it.
    pub identity: Option<Identity>,
    /// What its user may do in addition to using their own account.
    pub roles: BTreeSet<Role>,
    /// The admitted sessions. Only these can be live.
    pub sessions: BTreeSet<SessionId>,
    /// How often the account has been written; the condition of the next write.
    pub version: u64,
    /// How often the password has been replaced. The credential carries the same number.
    pub password_version: u64,
    /// How often the address has been replaced.
    pub email_version: u64,
    /// Since when its user is known to read the mail of its address.
    pub email_verified_at: Option<DateTime<Utc>>,
    /// From when on a session that has ended tells of a device and a place that are its user's: since the account was made,
    /// or since the last end that was not ordinary. None until somebody has signed in.
    pub devices_since: Option<DateTime<Utc>>,
    /// When the user registered.
    pub created_at: DateTime<Utc>,
}

/// Whether a session counts, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It does.
    Live,
    /// The account is disabled or deleted.
    AccountNotActive,
    /// It was revoked, evicted or replaced: it is not in the account's set.
    NotAdmitted,
    /// It was not refreshed in time.
    IdleExpired,
    /// It has lasted as long as a session may.
    AbsolutelyExpired,
}

impl Liveness {
    /// The word for it in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::AccountNotActive => "account_not_active",
            Self::NotAdmitted => "not_admitted",
            Self::IdleExpired => "idle_expired",
            Self::AbsolutelyExpired => "absolutely_expired",
        }
    }
}

/// A change to an account: how it is to be, and which sessions end by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The account after the change. Its `version` is still the one that was read: writing it adds 1.
    pub account: Account,
    /// What the change ends, and why.
    pub ended: Vec<(SessionId, EndReason)>,
    /// Whether it is to be written even if it changes nothing. "All" means all: a sign-in that was decided on an
    /// earlier read of the account must fail and look again, so the version has to move.
    pub always_write: bool,
}

impl Change {
    /// Whether there is anything to write.
    #[must_use]
    pub fn must_be_written(&self, before: &Account) -> bool {
        self.always_write || self.account != *before
    }

    /// The account as this change leaves it, if it is written at this time. After an end that is not ordinary, no session
    /// that has ended tells of its user any more: which of them was a stranger's is not kept.
    #[must_use]
    pub fn account_at(&self, now: DateTime<Utc>) -> Account {
        let mut account = self.account.clone();
        if self.ended.iter().any(|(_, reason)| !reason.is_ordinary()) {
            // The clock of the instance that began a session may be ahead.
            account.devices_since = account.devices_since.max(Some(now + CLOCK_DIFFERENCE));
        }
        account
    }
}

impl Account {
    /// A new account with its first session.
    #[must_use]
    pub fn register(
        id: UserId,
        email: EmailAddress,
        first_session: SessionId,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            sessions: BTreeSet::from([first_session]),
            devices_since: Some(now),
            ..Self::register_unverified(id, email, now)
        }
    }

    /// A new account whose user has yet to show that they read the mail of its address: nobody is signed in.
    #[must_use]
    pub fn register_unverified(id: UserId, email: EmailAddress, now: DateTime<Utc>) -> Self {
        Self {
            id,
            status: AccountStatus::Active { email: Some(email) },
            identity: None,
            roles: BTreeSet::new(),
            sessions: BTreeSet::new(),
            version: FIRST_VERSION,
            password_version: 1,
            email_version: 0,
            email_verified_at: None,
            devices_since: None,
            created_at: now,
        }
    }

    /// A new account of somebody who signs in elsewhere, with its first session. It has no password, so the number of its
    /// password never changes.
    #[must_use]
    pub fn register_identity(
        id: UserId,
        identity: Identity,
        email: Option<EmailAddress>,
        first_session: SessionId,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            status: AccountStatus::Active { email },
            identity: Some(identity),
            roles: BTreeSet::new(),
            sessions: BTreeSet::from([first_session]),
            version: FIRST_VERSION,
            password_version: 0,
            email_version: 0,
            email_verified_at: None,
            devices_since: Some(now),
            created_at: now,
        }
    }

    /// **The live rule, in its one place**: the account is active, its set holds the session, and now is before
    /// both of the session's expiries.
    #[must_use]
    pub fn liveness(&self, session: &Session, now: DateTime<Utc>) -> Liveness {
        if !self.is_active() {
            Liveness::AccountNotActive
        } else if session.user_id != self.id || !self.sessions.contains(&session.id) {
            Liveness::NotAdmitted
        } else if now >= session.absolute_expires_at {
            Liveness::AbsolutelyExpired
        } else if session.is_expired(now) {
            Liveness::IdleExpired
        } else {
            Liveness::Live
        }
    }

    /// Whether the session counts, by [`Account::liveness`].
    #[must_use]
    pub fn is_live(&self, session: &Session, now: DateTime<Utc>) -> bool {
        self.liveness(session, now) == Liveness::Live
    }

    /// The live rule for the bearer of an access token that has not expired. Such a token never outlives its
    /// session's expiry, and a refresh only moves that expiry further away, so the account alone decides.
    ///
    /// # Errors
    /// [`CallerNotLive`] if the account is not active or does not hold the session.
    pub fn authorize(&self, caller: SessionId) -> Result<(), CallerNotLive> {
        if self.is_active() && self.sessions.contains(&caller) {
            Ok(())
        } else {
            Err(CallerNotLive)
        }
    }

    /// The sessions of the set that were not live at `read_at`: expired, or without an item among `known`. To end them
    /// is no act that counts.
    #[must_use]
    pub fn admitted_but_not_live(
        &self,
        known: &[Session],
        read_at: DateTime<Utc>,
    ) -> BTreeSet<SessionId> {
        let mut not_live = self.sessions.clone();
        for session in known {
            if self.is_live(session, read_at) {
                not_live.remove(&session.id);
            }
        }
        not_live
    }

    /// The scope that the account's own tokens have for this API.
    #[must_use]
    pub fn scope(&self) -> Scope {
        Scope {
            admin: self.roles.contains(&Role::admin()),
            ..Scope::own_account()
        }
    }

    /// Whether it may sign in.
    #[must_use]
    pub fn is_active(&self) -> bool {
        match self.status {
            AccountStatus::Active { .. } => true,
            AccountStatus::Disabled { .. } | AccountStatus::Deleted { .. } => false,
        }
    }

    /// Whether its owner has deleted it.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        matches!(self.status, AccountStatus::Deleted { .. })
    }

    /// The address of its user, to be shown. A deleted account has none, and one of somebody who signs in elsewhere may
    /// have none.
    #[must_use]
    pub fn email(&self) -> Option<&EmailAddress> {
        match &self.status {
            AccountStatus::Active { email } | AccountStatus::Disabled { email } => email.as_ref(),
            AccountStatus::Deleted { .. } => None,
        }
    }

    /// Whether its user signs in here, by a password, and not elsewhere.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.identity.is_none()
    }

    /// Where its credential is found, if it has a password.
    #[must_use]
    pub fn credential_email(&self) -> Option<&EmailAddress> {
        self.email().filter(|_| self.has_password())
    }

    /// Lets a new session in, whose user has given the password of `password_version`.
    ///
    /// Sessions that have expired, or of which nothing is left, leave first; then, where `policy` wants one session for
    /// each device, a session with the new one's device id; then the least recently used, until the new one fits.
    /// `known` must describe every session of the set that still has an item, as it was at `read_at`.
    ///
    /// # Errors
    /// [`AdmitError`] if the account may not sign in, or has another password by now.
    pub fn admit(
        self,
        new: &Session,
        password_version: u64,
        known: &[Session],
        read_at: DateTime<Utc>,
        policy: &SessionPolicy,
    ) -> Result<Change, AdmitError> {
        if self.password_version != password_version {
            return Err(AdmitError::OtherPassword);
        }
        // Only now: that the account is disabled is told to nobody who knows just a password of before.
        match self.status {
            AccountStatus::Active { .. } => {}
            AccountStatus::Disabled { .. } => return Err(AdmitError::Disabled),
            AccountStatus::Deleted { .. } => return Err(AdmitError::Deleted),
        }
        let must_verify = policy.require_verified_email && self.identity.is_none();
        if must_verify && !self.is_email_verified() {
            return Err(AdmitError::EmailNotVerified);
        }
        let described: BTreeMap<SessionId, &Session> =
            known.iter().map(|session| (session.id, session)).collect();
        let is_same_device = |session: &Session| {
            policy.one_session_per_device
                && session.device.device_id.is_some()
                && session.device.device_id == new.device.device_id
        };
        let mut ended = Vec::new();
        let mut kept = Vec::new();
        for id in &self.sessions {
            match described.get(id) {
                Some(session) if session.is_expired(read_at) => {
                    ended.push((*id, EndReason::Expired));
                }
                Some(session) if is_same_device(session) => ended.push((*id, EndReason::Replaced)),
                Some(session) => kept.push(*session),
                None => ended.push((*id, EndReason::Expired)),
            }
        }
        // The id settles a tie, so that two attempts at the same decision decide the same.
        kept.sort_by_key(|session| (session.last_used_at, session.id));
        let too_many = (kept.len() + 1).saturating_sub(policy.max_sessions.max(1));
        ended.extend(
            kept.iter()
                .take(too_many)
                .map(|session| (session.id, EndReason::Evicted)),
        );
        let sessions = kept
            .iter()
            .skip(too_many)
            .map(|session| session.id)
            .chain([new.id])
            .collect();
        let devices_since = self.devices_since.or(Some(self.created_at));
        Ok(Change {
            account: Self {
                sessions,
                devices_since,
                ..self
            },
            ended,
            always_write: true,
        })
    }

    /// Lets a new session in, whose user has signed in elsewhere as `identity`. The address that was told there takes the
    /// place of the one of before; without one that stays. There is no password that could have been replaced: that the
    /// account is active, and that it is still this identity's, is all that counts.
    ///
    /// # Errors
    /// [`AdmitError`] if the account may not sign in; [`AdmitError::Deleted`] too if it is not this identity's.
    pub fn admit_identity(
        self,
        new: &Session,
        (identity, email): (&Identity, Option<&EmailAddress>),
        known: &[Session],
        read_at: DateTime<Utc>,
        policy: &SessionPolicy,
    ) -> Result<Change, AdmitError> {
        if self.identity.as_ref() != Some(identity) {
            return Err(AdmitError::Deleted);
        }
        let password_version = self.password_version;
        let mut change = self.admit(new, password_version, known, read_at, policy)?;
        if let Some(email) = email {
            let account = &mut change.account;
            let before = account.email().map(EmailAddress::normalized);
            if before != Some(email.normalized()) {
                account.email_version += 1;
                account.email_verified_at = None;
            }
            account.status = AccountStatus::Active {
                email: Some(email.clone()),
            };
        }
        Ok(change)
    }

    /// Ends one session at the wish of its owner, who is signed in with `caller` (perhaps the same).
    ///
    /// # Errors
    /// [`SessionError::CallerNotLive`] if the caller has been signed out, [`SessionError::NotFound`] if the set
    /// does not hold the target.
    pub fn revoke(self, caller: SessionId, target: SessionId) -> Result<Change, SessionError> {
        self.authorize(caller)?;
        if !self.sessions.contains(&target) {
            return Err(SessionError::NotFound);
        }
        Ok(self.end_one(target, EndReason::Revoked))
    }

    /// Ends every session, or every one but the caller's.
    ///
    /// # Errors
    /// [`CallerNotLive`] if the caller has been signed out.
    pub fn revoke_all(
        self,
        caller: SessionId,
        keep_current: bool,
    ) -> Result<Change, CallerNotLive> {
        self.authorize(caller)?;
        let keep = if keep_current {
            BTreeSet::from([caller])
        } else {
            BTreeSet::new()
        };
        Ok(self.end_all_but(keep, EndReason::RevokedAll))
    }

    /// Takes one session out of the set, if it is there.
    #[must_use]
    pub fn end_one(mut self, target: SessionId, reason: EndReason) -> Change {
        let ended = if self.sessions.remove(&target) {
            vec![(target, reason)]
        } else {
            Vec::new()
        };
        Change {
            account: self,
            ended,
            always_write: false,
        }
    }

    /// Replaces the password: all sessions end and `successor` takes the place of the caller's.
    ///
    /// # Errors
    /// [`CallerNotLive`] if the caller has been signed out.
    pub fn change_password(
        self,
        caller: SessionId,
        successor: SessionId,
    ) -> Result<Change, CallerNotLive> {
        self.authorize(caller)?;
        let mut change = self.end_all_but(BTreeSet::new(), EndReason::PasswordChanged);
        change.account.sessions.insert(successor);
        change.account.password_version += 1;
        Ok(change)
    }

    /// Closes the account: nobody is signed in, nobody can sign in. A deleted account stays deleted.
    #[must_use]
    pub fn disable(self) -> Change {
        let mut change = self.end_all_but(BTreeSet::new(), EndReason::AccountDisabled);
        change.account.status = match change.account.status {
            AccountStatus::Active { email } | AccountStatus::Disabled { email } => {
                AccountStatus::Disabled { email }
            }
            deleted @ AccountStatus::Deleted { .. } => deleted,
        };
        change
    }

    /// Empties the account at the wish of its owner. What is left names nobody.
    ///
    /// # Errors
    /// [`CallerNotLive`] if the caller has been signed out.
    pub fn delete(self, caller: SessionId, now: DateTime<Utc>) -> Result<Change, CallerNotLive> {
        self.authorize(caller)?;
        Ok(self.erase(EndReason::AccountDeleted, now))
    }

    /// Empties the account, whoever wants it. What is left names nobody.
    pub(crate) fn erase(self, reason: EndReason, now: DateTime<Utc>) -> Change {
        let mut change = self.end_all_but(BTreeSet::new(), reason);
        change.account.roles.clear();
        change.account.identity = None;
        change.account.email_verified_at = None;
        change.account.devices_since = None;
        change.account.status = AccountStatus::Deleted {
            delete_after: whole_seconds(now + DELETED_ACCOUNT_RETENTION),
        };
        change
    }

    pub(crate) fn end_all_but(mut self, keep: BTreeSet<SessionId>, reason: EndReason) -> Change {
        let ended = self
            .sessions
            .difference(&keep)
            .map(|id| (*id, reason))
            .collect();
        self.sessions = keep;
        Change {
            account: self,
            ended,
            always_write: true,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::random::SeededRandom;
    use crate::selection::ended_sessions_beyond;
    use crate::session::tests::{noon, session};

    pub(crate) fn account_of(sessions: &[&Session]) -> Account {
        let user = UserId::random(&SeededRandom::new(0));
        let email = EmailAddress::parse("ada@example.com").unwrap();
        let mut account = Account::register(
            user,
            email,
            SessionId::random(&SeededRandom::new(9_999)),
            noon(),
        );
        account.sessions = sessions.iter().map(|session| session.id).collect();
        account
    }

    fn id(seed: u64) -> SessionId {
        session(seed, noon()).id
    }

    /// Admits a session with this id, with the account's own password.
    fn admit(
        account: Account,
        new: SessionId,
        known: &[Session],
        max_sessions: usize,
    ) -> Result<Change, AdmitError> {
        let mut session = session(1, noon());
        session.id = new;
        let policy = SessionPolicy {
            max_sessions,
            ..SessionPolicy::default()
        };
        let version = account.password_version;
        account.admit(&session, version, known, noon(), &policy)
    }

    #[test]
    fn a_session_is_live_only_while_every_part_of_the_rule_holds() {
        let one = session(1, noon());
        let account = account_of(&[&one]);
        let millisecond = TimeDelta::milliseconds(1);
        let end = one.expires_at();
        assert_eq!(account.liveness(&one, end - millisecond), Liveness::Live);
        assert_eq!(account.liveness(&one, end), Liveness::IdleExpired);
        let mut used = one.clone();
        used.idle_expires_at += TimeDelta::days(99);
        let end = one.absolute_expires_at;
        assert_eq!(account.liveness(&used, end - millisecond), Liveness::Live);
        assert_eq!(account.liveness(&used, end), Liveness::AbsolutelyExpired);
        let other = session(2, noon());
        assert_eq!(account.liveness(&other, noon()), Liveness::NotAdmitted);
        let disabled = account.clone().disable().account;
        assert_eq!(disabled.liveness(&one, noon()), Liveness::AccountNotActive);
        // Even one that still holds the id, as a botched write by hand might leave it.
        let mut half_disabled = disabled;
        half_disabled.sessions = account.sessions.clone();
        assert_eq!(
            half_disabled.liveness(&one, noon()),
            Liveness::AccountNotActive
        );
        let mut foreign = one.clone();
        foreign.user_id = UserId::random(&SeededRandom::new(77));
        assert_eq!(account.liveness(&foreign, noon()), Liveness::NotAdmitted);
    }

    #[test]
    fn the_first_session_is_kept_in_mind_whichever_way_it_begins() {
        let (user, email) = (account_of(&[]).id, EmailAddress::parse("ada@example.com"));
        let email = email.unwrap();
        let identity = Identity::new("https://idp.example", "ada").unwrap();
        let registered = Account::register(user, email.clone(), id(1), noon());
        let elsewhere = Account::register_identity(user, identity, None, id(1), noon());
        for account in [registered, elsewhere] {
            assert_eq!(account.devices_since, Some(noon()));
        }
        let unverified = Account::register_unverified(user, email, noon() - TimeDelta::days(1));
        assert_eq!(unverified.devices_since, None);
        let first = admit(unverified.clone(), id(1), &[], 3).unwrap().account;
        assert_eq!(first.devices_since, Some(unverified.created_at));
        let later = Account {
            devices_since: Some(noon()),
            ..first
        };
        let second = admit(later, id(2), &[], 3).unwrap().account;
        assert_eq!(second.devices_since, Some(noon()), "it stays");
        let deleted = second.delete(id(2), noon()).unwrap().account;
        assert_eq!(deleted.devices_since, None, "what is left says nothing");
    }

    #[test]
    fn the_least_recently_used_session_makes_room() {
        let now = noon();
        let sessions: Vec<Session> = (0..3)
            .map(|n| {
                let mut session = session(n + 1, now);
                session.last_used_at = now + TimeDelta::minutes(i64::try_from(n).unwrap());
                session
            })
            .collect();
        let account = account_of(&sessions.iter().collect::<Vec<_>>());
        let change = admit(account, id(50), &sessions, 3).unwrap();
        assert_eq!(change.ended, [(id(1), EndReason::Evicted)]);
        assert_eq!(
            change.account.sessions,
            BTreeSet::from([id(2), id(3), id(50)])
        );
    }

    #[test]
    fn expired_and_vanished_sessions_leave_before_anyone_is_evicted() {
        let now = noon();
        let old = session(1, now - TimeDelta::days(8));
        let fresh = session(2, now);
        let vanished = session(3, now);
        let account = account_of(&[&old, &fresh, &vanished]);
        let change = admit(account, id(50), &[old, fresh], 2).unwrap();
        let mut ended = change.ended.clone();
        ended.sort_by_key(|(id, _)| *id);
        let mut expected = vec![(id(1), EndReason::Expired), (id(3), EndReason::Expired)];
        expected.sort_by_key(|(id, _)| *id);
        assert_eq!(ended, expected);
        assert_eq!(change.account.sessions, BTreeSet::from([id(2), id(50)]));
    }

    #[test]
    fn a_lowered_limit_evicts_as_many_as_needed() {
        let now = noon();
        let sessions: Vec<Session> = (1..=5).map(|n| session(n, now)).collect();
        let account = account_of(&sessions.iter().collect::<Vec<_>>());
        let change = admit(account, id(50), &sessions, 2).unwrap();
        assert_eq!(change.account.sessions.len(), 2);
        assert!(change.account.sessions.contains(&id(50)));
    }

    #[test]
    fn a_sign_in_on_the_same_device_replaces_that_devices_session() {
        let (mut phone, mut laptop, unnamed) =
            (session(1, noon()), session(2, noon()), session(3, noon()));
        phone.device.device_id = Some("phone".to_owned());
        laptop.device.device_id = Some("laptop".to_owned());
        let known = [phone.clone(), laptop.clone(), unnamed.clone()];
        let account = account_of(&[&phone, &laptop, &unnamed]);
        let mut again = session(50, noon());
        again.device.device_id = Some("phone".to_owned());
        let mut policy = SessionPolicy::default();
        let admit = |new: &Session, policy: &SessionPolicy| {
            let change = account.clone().admit(new, 1, &known, noon(), policy);
            change.unwrap().ended
        };
        assert_eq!(admit(&again, &policy), [(phone.id, EndReason::Replaced)]);
        // A client without an id replaces nobody.
        assert_eq!(admit(&session(50, noon()), &policy), []);
        policy.one_session_per_device = false;
        assert_eq!(admit(&again, &policy), []);
    }

    #[test]
    fn a_password_that_was_replaced_and_a_closed_account_admit_nobody() {
        let account = account_of(&[]);
        let new = session(50, noon());
        let policy = SessionPolicy::default();
        let admit = |account: Account, version| {
            let change = account.admit(&new, version, &[], noon(), &policy);
            change.map(|change| change.account.sessions.len())
        };
        assert_eq!(admit(account.clone(), 1), Ok(1));
        assert_eq!(admit(account.clone(), 2), Err(AdmitError::OtherPassword));
        let disabled = account.disable().account;
        assert_eq!(admit(disabled.clone(), 1), Err(AdmitError::Disabled));
        assert_eq!(
            admit(disabled, 2),
            Err(AdmitError::OtherPassword),
            "who knows another password does not hear that the account is disabled"
        );
    }

    #[test]
    fn what_is_in_the_set_but_not_live_is_told_apart() {
        let (live, old, vanished) = (
            session(1, noon()),
            session(2, noon() - TimeDelta::days(8)),
            session(3, noon()),
        );
        let account = account_of(&[&live, &old, &vanished]);
        let not_live = account.admitted_but_not_live(&[live, old.clone()], noon());
        assert_eq!(not_live, BTreeSet::from([old.id, vanished.id]));
    }

    #[test]
    fn a_caller_that_was_signed_out_changes_nothing() {
        let one = session(1, noon());
        let account = account_of(&[&one]);
        let stranger = id(9);
        assert_eq!(
            account.clone().revoke(stranger, one.id),
            Err(SessionError::CallerNotLive)
        );
        assert_eq!(
            account.clone().revoke_all(stranger, true),
            Err(CallerNotLive)
        );
        assert_eq!(
            account.clone().change_password(stranger, id(50)),
            Err(CallerNotLive)
        );
        assert_eq!(account.clone().delete(stranger, noon()), Err(CallerNotLive));
        assert_eq!(
            account.clone().disable().account.authorize(one.id),
            Err(CallerNotLive)
        );
    }

    #[test]
    fn revoking_all_keeps_the_callers_session_only_when_asked() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let account = account_of(&[&one, &two]);
        let others = account.clone().revoke_all(one.id, true).unwrap();
        assert_eq!(others.account.sessions, BTreeSet::from([one.id]));
        assert_eq!(others.ended, [(two.id, EndReason::RevokedAll)]);
        let all = account.revoke_all(one.id, false).unwrap();
        assert!(all.account.sessions.is_empty());
        assert_eq!(all.ended.len(), 2);
    }

    #[test]
    fn a_password_change_ends_every_session_and_admits_one_new() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let change = account_of(&[&one, &two])
            .change_password(one.id, id(50))
            .unwrap();
        assert_eq!(change.account.sessions, BTreeSet::from([id(50)]));
        assert_eq!(change.account.password_version, 2);
        assert_eq!(change.ended.len(), 2);
    }

    #[test]
    fn a_deleted_account_names_nobody_and_cannot_be_disabled_back_to_life() {
        let one = session(1, noon());
        let deleted = account_of(&[&one]).delete(one.id, noon()).unwrap().account;
        assert_eq!(deleted.email(), None);
        assert!(deleted.sessions.is_empty());
        assert_eq!(deleted.clone().disable().account, deleted);
        assert_eq!(admit(deleted, id(50), &[], 20), Err(AdmitError::Deleted));
    }

    #[test]
    fn only_ended_sessions_beyond_the_newest_are_too_many() {
        let now = noon();
        let live = session(1, now - TimeDelta::days(1));
        let ended: Vec<Session> = (2..=5)
            .map(|n| session(n, now - TimeDelta::hours(i64::try_from(n).unwrap())))
            .collect();
        let account = account_of(&[&live]);
        let mut all = ended.clone();
        all.push(live.clone());
        assert_eq!(
            ended_sessions_beyond(Some(&account), &all, now, 2),
            [id(4), id(5)]
        );
        assert_eq!(
            ended_sessions_beyond(Some(&account), &all, now, 20),
            Vec::<SessionId>::new()
        );
        assert_eq!(ended_sessions_beyond(None, &all, now, 0).len(), 5);
    }

    proptest! {
        #[test]
        fn admission_never_exceeds_the_limit_and_never_loses_a_more_recent_session(
            ages in prop::collection::vec(0_i64..20 * 24 * 60, 0..40),
            limit in 1_usize..25,
        ) {
            let now = noon();
            let sessions: Vec<Session> = (1_u64..)
                .zip(&ages)
                .map(|(seed, minutes)| session(seed, now - TimeDelta::minutes(*minutes)))
                .collect();
            let account = account_of(&sessions.iter().collect::<Vec<_>>());
            let new = id(1_000);
            let change = admit(account.clone(), new, &sessions, limit).unwrap();
            let after = &change.account.sessions;
            prop_assert!(after.len() <= limit);
            prop_assert!(after.contains(&new));
            prop_assert_eq!(after.len() - 1 + change.ended.len(), account.sessions.len());
            let newest_ended = sessions.iter().filter(|s| !after.contains(&s.id)).map(|s| s.last_used_at).max();
            let oldest_kept = sessions.iter().filter(|s| after.contains(&s.id)).map(|s| s.last_used_at).min();
            if let (Some(ended), Some(kept)) = (newest_ended, oldest_kept) {
                prop_assert!(ended <= kept);
            }
            prop_assert!(sessions.iter().all(|s| !after.contains(&s.id) || !s.is_expired(now)));
        }
    }
}
