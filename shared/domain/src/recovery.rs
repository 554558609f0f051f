//! What a link that was opened makes of an account: an address is verified, a password or an address replaced.
//!
//! Each is a pure function of the account and of what the link says. A link that the account has overtaken is refused, and
//! with the same error whatever is wrong with it: nobody learns whether it was ever a good one.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::account::{Account, AccountStatus, Change};
use crate::cause::EndReason;
use crate::email::EmailAddress;
use crate::error::InvalidLink;
use crate::session::Session;
use crate::token::{EmailChange, Link};

impl Account {
    /// The link that verifies its address. None without a password: the address of somebody who signs in elsewhere leads to
    /// no account, so nothing is to be verified.
    #[must_use]
    pub fn verification_link(&self) -> Option<Link> {
        let (user, email) = (self.id, self.credential_email()?.clone());
        Some(Link::VerifyEmail { user, email })
    }

    /// The link that replaces its password. None without a password.
    #[must_use]
    pub fn reset_link(&self) -> Option<Link> {
        Some(Link::ResetPassword {
            user: self.id,
            email: self.credential_email()?.clone(),
            password_version: self.password_version,
        })
    }

    /// The link that replaces its address, as its user has asked for it. None if the account has changed since so that the
    /// link would do nothing.
    #[must_use]
    pub fn email_change_link(&self, change: EmailChange) -> Option<Link> {
        let user = self.id;
        self.is_waiting_for(&change)
            .then_some(Link::ChangeEmail { user, change })
    }

    /// Whether it is as it was when this was asked for: active, with a password and the same address, and the session is
    /// still admitted on which it was asked for.
    fn is_waiting_for(&self, change: &EmailChange) -> bool {
        self.credential_email().is_some()
            && self.email_version == change.email_version
            && self.authorize(change.session_id).is_ok()
    }

    /// Whether its last change of address was this one.
    fn has_made(&self, change: &EmailChange) -> bool {
        self.credential_email().is_some()
            && change.email_version.checked_add(1) == Some(self.email_version)
            && self.has_email(&change.email)
            && self.is_email_verified()
    }

    /// Whether its user has shown that they read the mail of its address.
    #[must_use]
    pub fn is_email_verified(&self) -> bool {
        self.email_verified_at.is_some() && self.email().is_some()
    }

    fn has_email(&self, email: &EmailAddress) -> bool {
        let own = self.email();
        own.is_some_and(|own| own.normalized() == email.normalized())
    }

    /// Marks its address as verified, if that is the one. Doing so again changes nothing.
    ///
    /// # Errors
    /// [`InvalidLink`] if it has another address by now.
    pub fn verify_email(
        mut self,
        email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<Change, InvalidLink> {
        if !self.has_email(email) {
            return Err(InvalidLink);
        }
        self.email_verified_at.get_or_insert(now);
        Ok(Change {
            account: self,
            ended: Vec::new(),
            always_write: false,
        })
    }

    /// Replaces the password of somebody who has shown that they read the mail of the account's address: nobody is signed
    /// in then. A disabled account stays disabled.
    ///
    /// # Errors
    /// [`InvalidLink`] if it has another address or another password by now, or none.
    pub fn reset_password(
        self,
        email: &EmailAddress,
        password_version: u64,
        now: DateTime<Utc>,
    ) -> Result<Change, InvalidLink> {
        let has_password = self.credential_email().is_some();
        if !has_password || !self.has_email(email) || self.password_version != password_version {
            return Err(InvalidLink);
        }
        let mut change = self.end_all_but(BTreeSet::new(), EndReason::PasswordReset);
        change.account.password_version += 1;
        change.account.email_verified_at.get_or_insert(now);
        Ok(change)
    }

    /// Replaces its address by one whose mail its user has shown to read. Sessions stay. Doing so again changes nothing.
    /// `asked_on` is the session on which it was asked for, as its item says.
    ///
    /// # Errors
    /// [`InvalidLink`] if it has another address by now than when this was asked for, or no password, is not active, or the
    /// session is not live on which it was asked for: it has ended, or is past its idle or absolute expiry.
    pub fn change_email(
        mut self,
        change: &EmailChange,
        asked_on: Option<&Session>,
        now: DateTime<Utc>,
    ) -> Result<Change, InvalidLink> {
        let is_live = asked_on
            .is_some_and(|session| session.id == change.session_id && self.is_live(session, now));
        let is_new = is_live && self.is_waiting_for(change);
        if is_new {
            self.status = AccountStatus::Active {
                email: Some(change.email.clone()),
            };
            self.email_version += 1;
            self.email_verified_at = Some(now);
        } else if !self.has_made(change) {
            return Err(InvalidLink);
        }
        Ok(Change {
            account: self,
            ended: Vec::new(),
            always_write: is_new,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::account::tests::account_of;
    use crate::administration::AdminAct;
    use crate::cause::Actor;
    use crate::identity::Identity;
    use crate::session::tests::{noon, session};

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
    }

    /// What the user of an account asks for now, on session 1.
    fn change_to(account: &Account, text: &str) -> EmailChange {
        EmailChange {
            email: address(text),
            email_version: account.email_version,
            session_id: session(1, noon()).id,
        }
    }

    fn change_link(account: &Account, text: &str) -> Link {
        let link = account.email_change_link(change_to(account, text));
        link.unwrap()
    }

    /// Opens a link as its purpose wants it.
    fn open(account: Account, link: &Link) -> Result<Change, InvalidLink> {
        match link {
            Link::VerifyEmail { email, .. } => account.verify_email(email, noon()),
            Link::ResetPassword {
                email,
                password_version,
                ..
            } => account.reset_password(email, *password_version, noon()),
            Link::ChangeEmail { change, .. } => {
                account.change_email(change, Some(&session(1, noon())), noon())
            }
        }
    }

    #[test]
    fn a_verified_address_stays_verified_since_then() {
        let account = account_of(&[&session(1, noon())]);
        let link = account.verification_link().unwrap();
        assert!(!account.is_email_verified());
        let once = open(account.clone(), &link).unwrap();
        assert!(once.must_be_written(&account) && once.account.is_email_verified());
        let later = noon() + TimeDelta::hours(1);
        let again = once.account.clone().verify_email(link.email(), later);
        let again = again.unwrap();
        assert!(!again.must_be_written(&once.account));
    }

    #[test]
    fn a_reset_ends_all_sessions_verifies_the_address_and_spends_its_link() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let account = account_of(&[&one, &two]);
        let link = account.reset_link().unwrap();
        let change = open(account.clone(), &link).unwrap();
        assert!(change.account.sessions.is_empty());
        assert_eq!(change.ended.len(), 2);
        let reset = EndReason::PasswordReset;
        assert!(change.ended.iter().all(|(_, reason)| *reason == reset));
        assert_eq!(change.account.password_version, 2);
        assert!(change.account.is_email_verified());
        assert_eq!(open(change.account, &link), Err(InvalidLink));
    }

    #[test]
    fn what_spends_a_link() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let account = account_of(&[&one, &two]);
        let three = session(3, noon()).id;
        let changed = account.clone().change_password(one.id, three).unwrap();
        let reset = account.reset_link().unwrap();
        let reset = open(account.clone(), &reset).unwrap();
        let moved = change_link(&account, "grace@example.com");
        let moved = open(account.clone(), &moved).unwrap();
        let back = change_link(&moved.account, "ada@example.com");
        let back = open(moved.account.clone(), &back).unwrap();
        let elsewhere = change_link(&account, "eve@example.com");
        let elsewhere = open(account.clone(), &elsewhere).unwrap();
        let others_ended = account.clone().revoke_all(one.id, true).unwrap();
        let revoked = account.clone().revoke(two.id, one.id).unwrap();
        let all_ended = account.clone().revoke_all(one.id, false).unwrap();
        let by_admin = account
            .clone()
            .administer(&Actor::Operator, &AdminAct::RevokeAll, noon());
        let disabled = account.clone().disable();
        let deleted = account.clone().delete(one.id, noon()).unwrap();
        // Whether a link from before is accepted after each: to verify, to reset, to change.
        for (after, accepted) in [
            (account.clone(), [true, true, true]),
            (changed.account, [true, false, false]),
            (reset.account, [true, false, false]),
            // Its own link again, which changes nothing.
            (moved.account, [false, false, true]),
            (back.account, [true, true, false]),
            (elsewhere.account, [false, false, false]),
            (others_ended.account, [true, true, true]),
            (revoked.account, [true, true, false]),
            (all_ended.account, [true, true, false]),
            (by_admin.unwrap().account, [true, true, false]),
            (disabled.account, [true, true, false]),
            (deleted.account, [false, false, false]),
        ] {
            let links = [
                account.verification_link().unwrap(),
                account.reset_link().unwrap(),
                change_link(&account, "grace@example.com"),
            ];
            let opened = links.map(|link| open(after.clone(), &link).is_ok());
            assert_eq!(opened, accepted, "{after:?}");
        }
    }

    /// However late it is made, a link is for the account as it was when it was asked for.
    #[test]
    fn a_request_that_the_account_has_overtaken_gets_no_link() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let account = account_of(&[&one]);
        let asked = change_to(&account, "grace@example.com");
        let reset = account.reset_link().unwrap();
        let reset = open(account.clone(), &reset).unwrap().account;
        let mut signed_in_again = reset.clone();
        signed_in_again.sessions.insert(two.id);
        let moved = change_link(&account, "eve@example.com");
        let moved = open(account.clone(), &moved).unwrap().account;
        assert!(account.email_change_link(asked.clone()).is_some());
        for after in [
            reset,
            signed_in_again,
            moved,
            account.clone().disable().account,
        ] {
            assert_eq!(after.email_change_link(asked.clone()), None, "{after:?}");
        }
    }

    #[test]
    fn a_change_of_address_needs_the_session_on_which_it_was_asked_for_to_be_live() {
        let (one, two) = (session(1, noon()), session(2, noon()));
        let account = account_of(&[&one, &two]);
        let change = change_to(&account, "grace@example.com");
        let open = |asked_on: Option<&Session>, now| {
            let opened = account.clone().change_email(&change, asked_on, now);
            opened.map(|change| change.account)
        };
        let last = |end| end - TimeDelta::milliseconds(1);
        let (idle, absolute) = (one.idle_expires_at, one.absolute_expires_at);
        let kept_up = Session {
            idle_expires_at: absolute + TimeDelta::days(1),
            ..one.clone()
        };
        for (asked_on, end) in [(&one, idle), (&kept_up, absolute)] {
            assert!(open(Some(asked_on), last(end)).is_ok());
            assert_eq!(open(Some(asked_on), end), Err(InvalidLink));
        }
        assert_eq!(open(None, noon()), Err(InvalidLink));
        assert_eq!(open(Some(&two), noon()), Err(InvalidLink), "another one");
        // What was done stays done.
        let changed = open(Some(&one), noon()).unwrap();
        let again = changed.clone().change_email(&change, None, absolute);
        assert!(!again.unwrap().must_be_written(&changed));
    }

    #[test]
    fn a_change_that_was_made_is_not_made_again() {
        let one = session(1, noon());
        let account = account_of(&[&one]);
        let link = change_link(&account, "grace@example.com");
        let once = open(account.clone(), &link).unwrap();
        assert!(once.must_be_written(&account));
        let again = open(once.account.clone(), &link).unwrap();
        assert!(!again.must_be_written(&once.account));
        assert_eq!(again.account, once.account);
        // Also after its session has ended: there is nothing left to do.
        let ended = once.account.revoke_all(one.id, false).unwrap().account;
        assert!(!open(ended.clone(), &link).unwrap().must_be_written(&ended));
    }

    #[test]
    fn a_disabled_account_stays_disabled() {
        let disabled = account_of(&[]).disable().account;
        let link = disabled.reset_link().unwrap();
        let after = open(disabled.clone(), &link).unwrap().account;
        assert_eq!(after.status, disabled.status);
    }

    #[test]
    fn sessions_survive_another_address() {
        let one = session(1, noon());
        let account = account_of(&[&one]);
        let link = change_link(&account, "grace@example.com");
        let change = open(account.clone(), &link).unwrap();
        assert_eq!(change.account.sessions, account.sessions);
        assert_eq!(
            change.account.email().unwrap().as_typed(),
            "grace@example.com"
        );
        assert!(change.account.is_email_verified());
        let unverified = Account {
            email_verified_at: None,
            ..change.account
        };
        assert!(!unverified.is_email_verified());
    }

    #[test]
    fn an_account_of_a_sign_in_elsewhere_has_no_password_to_reset_and_no_address_to_find_it_by() {
        let one = session(1, noon());
        let mut account = account_of(&[&one]);
        let password = account.reset_link().unwrap();
        let asked = change_to(&account, "grace@example.com");
        let moved = change_link(&account, "grace@example.com");
        account.identity = Some(Identity::new("https://idp.example", "ada").unwrap());
        assert_eq!(account.reset_link(), None);
        assert_eq!(account.verification_link(), None);
        assert_eq!(account.email_change_link(asked), None);
        for link in [password, moved] {
            assert_eq!(open(account.clone(), &link), Err(InvalidLink));
        }
    }
}
