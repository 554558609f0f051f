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
use crate::token::Link;

impl Account {
    /// The link that verifies its address. None without an address.
    #[must_use]
    pub fn verification_link(&self) -> Option<Link> {
        let (user, email) = (self.id, self.email()?.clone());
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

    /// The link that replaces its address by `new`. None if it has no password, for then no address leads to it, and none
    /// unless it is active.
    #[must_use]
    pub fn email_change_link(&self, new: EmailAddress) -> Option<Link> {
        self.credential_email()?;
        self.is_active().then_some(Link::ChangeEmail {
            user: self.id,
            email: new,
            email_version: self.email_version,
            password_version: self.password_version,
        })
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

    /// Replaces its address by one whose mail its user has shown to read. Sessions stay.
    ///
    /// # Errors
    /// [`InvalidLink`] if it has another address or another password by now than when the link was asked for, or none, or
    /// is not active.
    pub fn change_email(
        mut self,
        new: &EmailAddress,
        (email_version, password_version): (u64, u64),
        now: DateTime<Utc>,
    ) -> Result<Change, InvalidLink> {
        let is_as_it_was =
            self.email_version == email_version && self.password_version == password_version;
        if !self.is_active() || self.credential_email().is_none() || !is_as_it_was {
            return Err(InvalidLink);
        }
        self.status = AccountStatus::Active {
            email: Some(new.clone()),
        };
        self.email_version += 1;
        self.email_verified_at = Some(now);
        Ok(Change {
            account: self,
            ended: Vec::new(),
            always_write: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::account::tests::account_of;
    use crate::identity::Identity;
    use crate::session::tests::{noon, session};

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
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
            Link::ChangeEmail {
                email,
                email_version,
                password_version,
                ..
            } => account.change_email(email, (*email_version, *password_version), noon()),
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
        let account = account_of(&[&one]);
        let changed = account.clone().change_password(one.id, two.id).unwrap();
        let reset = account.reset_link().unwrap();
        let reset = open(account.clone(), &reset).unwrap();
        let moved = account.email_change_link(address("grace@example.com"));
        let moved = open(account.clone(), &moved.unwrap()).unwrap();
        let back = moved.account.email_change_link(address("ada@example.com"));
        let back = open(moved.account.clone(), &back.unwrap()).unwrap();
        let disabled = account.clone().disable();
        let deleted = account.clone().delete(one.id, noon()).unwrap();
        // Whether a link from before is accepted after each: to verify, to reset, to change.
        for (after, accepted) in [
            (account.clone(), [true, true, true]),
            (changed.account, [true, false, false]),
            (reset.account, [true, false, false]),
            (moved.account, [false, false, false]),
            (back.account, [true, true, false]),
            (disabled.account, [true, true, false]),
            (deleted.account, [false, false, false]),
        ] {
            let links = [
                account.verification_link(),
                account.reset_link(),
                account.email_change_link(address("grace@example.com")),
            ];
            let opened = links.map(|link| open(after.clone(), &link.unwrap()).is_ok());
            assert_eq!(opened, accepted, "{after:?}");
        }
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
        let link = account.email_change_link(address("grace@example.com"));
        let change = open(account.clone(), &link.unwrap()).unwrap();
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
        let mut account = account_of(&[]);
        let password = account.reset_link().unwrap();
        let moved = account.email_change_link(address("grace@example.com"));
        account.identity = Some(Identity::new("https://idp.example", "ada").unwrap());
        assert_eq!(account.reset_link(), None);
        assert_eq!(account.email_change_link(address("x@example.com")), None);
        for link in [password, moved.unwrap()] {
            assert_eq!(open(account.clone(), &link), Err(InvalidLink));
        }
    }
}
