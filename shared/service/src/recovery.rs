//! Links that are opened: an address is verified, a password or an address replaced.
//!
//! The token is checked before anything is read, and the account says whether it is spent. Whatever is wrong with a link, its
//! bearer gets the same answer; the log says what it was.

use std::net::IpAddr;
use std::sync::Arc;

use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::{Action, Actor};
use latchkey_domain::credential::Credential;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::{InvalidLink, ResetPasswordError, StoreError, VerifyEmailError};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::{Password, PasswordHash, check_policy};
use latchkey_domain::session::Session;
use latchkey_domain::token::{Link, LinkPurpose, Token, TokenError};
use latchkey_store::Part;

use crate::change::{Changed, Intent};
use crate::fit::Readings;
use crate::metric::{EMAILS_VERIFIED, LINKS_REFUSED, PASSWORD_RESETS, REVOCATIONS};
use crate::throttle::CountedRequest;
use crate::{Failure, Service};

/// A password that is to be chosen by whoever opens a link.
#[derive(Clone, Copy, Debug)]
pub struct PasswordReset<'a> {
    /// The token of the link.
    pub token: &'a Token,
    /// The password as it is to be.
    pub new: &'a Arc<Password>,
    /// Where the client is.
    pub address: Option<IpAddr>,
}

impl Service {
    /// Replaces the password of the user whom a link was sent to: all sessions end, the address counts as verified, and the
    /// wrong passwords are forgotten that strangers and the devices of earlier passwords gave for the account. Nobody is
    /// signed in. 3 trips; 6 write units, and 1 for the limit.
    ///
    /// # Errors
    /// [`ResetPasswordError`]; a password that is too weak does not spend the link.
    pub async fn reset_password(
        &self,
        request: PasswordReset<'_>,
    ) -> Result<(), Failure<ResetPasswordError>> {
        let mut place = self.core.passwords.reserve()?;
        let link = self.read_link(LinkPurpose::ResetPassword, request.token);
        let link = link.await.map_err(refuse_token)?;
        let (user, email) = (link.user(), link.email().clone());
        let (counted, reading) = tokio::join!(
            self.count_address_attempt(request.address, CountedRequest::Password),
            self.read_for_recovery(&link)
        );
        counted?;
        let reading = reading?;
        decide(&link, &reading, self).map_err(refuse_spent)?;
        check_policy(request.new, &email, &self.core.password_policy)
            .map_err(|weakness| Failure::Refused(ResetPasswordError::Weak(weakness)))?;
        // Forgotten before the password is replaced: whoever has replaced it is not to be kept out.
        let random = self.core.random.as_ref();
        let (hash, forgiven) = tokio::join!(
            place.hash(request.new, random),
            self.forget_guesses(Some(&email), user)
        );
        forgiven?;
        let opening = OpenedLink {
            service: self,
            link: &link,
            new_hash: Some(hash?),
        };
        let changed = self.change(&opening, reading).await;
        let changed = changed.map_err(|failure| match failure {
            Failure::Refused(_) => refuse_spent(InvalidLink),
            other => other.map_refusal(|_| InvalidLink.into()),
        })?;
        if let Changed::Written { change, .. } = changed {
            let ended = change.ended.len();
            tracing::info!(user_id = %user, ended, "password reset");
            PASSWORD_RESETS.count(1);
            REVOCATIONS.count(ended);
        }
        Ok(())
    }

    /// Opens a link that was sent to an address: to the user's own, which is verified then, or to a new one, which is theirs
    /// then. 2 trips and 1 write unit, or 3 trips and 6 write units; opening the same again writes nothing.
    ///
    /// # Errors
    /// [`VerifyEmailError`]
    pub async fn verify_email(&self, token: &Token) -> Result<(), Failure<VerifyEmailError>> {
        let link = match self.read_link(LinkPurpose::VerifyEmail, token).await {
            Err(TokenError::WrongType) => self.read_link(LinkPurpose::ChangeEmail, token).await,
            read => read,
        };
        let link = link.map_err(refuse_token)?;
        let reading = self.read_for_recovery(&link).await?;
        let opening = OpenedLink {
            service: self,
            link: &link,
            new_hash: None,
        };
        let changed = self.change(&opening, reading).await;
        let changed = changed.map_err(|failure| match failure {
            Failure::Refused(VerifyEmailError::Link(spent)) => refuse_spent(spent),
            other => other,
        })?;
        if matches!(changed, Changed::Written { .. }) {
            let (user_id, purpose) = (link.user(), link.purpose());
            tracing::info!(%user_id, %purpose, "address verified");
            EMAILS_VERIFIED.count(1);
        }
        Ok(())
    }

    async fn read_link(&self, purpose: LinkPurpose, token: &Token) -> Result<Link, TokenError> {
        let now = self.core.now();
        self.core.tokens.verify_link(purpose, token, now).await
    }

    /// The account of a link, the credential that the link changes (the one of its address, or the one that the account has),
    /// and the session on which a new address was asked for.
    async fn read_for_recovery(&self, link: &Link) -> Result<Reading, StoreError> {
        match link {
            Link::VerifyEmail { user, .. } => Ok(Reading {
                account: self.store.read_account(*user).await?,
                credential: None,
                asked_on: None,
            }),
            Link::ResetPassword {
                user,
                email,
                password_version,
            } => self.read_for_reset(*user, email, *password_version).await,
            Link::ChangeEmail { user, change } => {
                self.read_for_new_address(*user, change.session_id).await
            }
        }
    }

    /// What a link to a new password is decided on. A spent one, which is of another address or of an earlier password, needs
    /// no credential.
    async fn read_for_reset(
        &self,
        user: UserId,
        email: &EmailAddress,
        password_version: u64,
    ) -> Result<Reading, StoreError> {
        let mut readings = Readings::new(&self.store);
        let now = self.core.now();
        let is_open_to = |account: &&Account| {
            let account = Account::clone(account);
            account.reset_password(email, password_version, now).is_ok()
        };
        loop {
            let account = self.store.read_account(user);
            let credential = self.store.read_credential(email);
            let (account, credential) = tokio::try_join!(account, credential)?;
            let account_of_link = account.as_ref().filter(is_open_to);
            if readings
                .fit_or_wait(account_of_link, credential.as_ref())
                .await?
            {
                return Ok(Reading {
                    account,
                    credential,
                    asked_on: None,
                });
            }
        }
    }

    /// What a link to a new address is decided on. It is opened twice by somebody who clicks twice, or after a program that
    /// looks at mails: if the address has moved or the password has changed since the account was read, all is read again.
    async fn read_for_new_address(
        &self,
        user: UserId,
        asked_on: SessionId,
    ) -> Result<Reading, StoreError> {
        let mut readings = Readings::new(&self.store);
        loop {
            let session = self.store.read_session(user, asked_on);
            let (account, asked_on) = tokio::try_join!(self.store.read_account(user), session)?;
            let credential = self.credential_of(account.as_ref()).await?;
            if readings
                .fit_or_wait(account.as_ref(), credential.as_ref())
                .await?
            {
                return Ok(Reading {
                    account,
                    credential,
                    asked_on,
                });
            }
        }
    }
}

/// A token that is not that of a valid link.
fn refuse_token<E: From<InvalidLink>>(reason: TokenError) -> Failure<E> {
    tracing::info!(%reason, "a link was refused");
    LINKS_REFUSED.count(1);
    Failure::Refused(InvalidLink.into())
}

/// A link that the account has overtaken.
fn refuse_spent<E: From<InvalidLink>>(spent: InvalidLink) -> Failure<E> {
    tracing::info!(reason = "spent", "a link was refused");
    LINKS_REFUSED.count(1);
    Failure::Refused(spent.into())
}

/// What a link is decided on.
struct Reading {
    account: Option<Account>,
    /// The credential that the link changes. It is the account's, and of its password, unless the link is spent.
    credential: Option<Credential>,
    /// The session on which a new address was asked for, if the link is to one.
    asked_on: Option<Session>,
}

/// What a link makes of an account.
fn decide(link: &Link, reading: &Reading, service: &Service) -> Result<Change, InvalidLink> {
    let account = reading.account.clone().ok_or(InvalidLink)?;
    let now = service.core.now();
    match link {
        Link::VerifyEmail { email, .. } => account.verify_email(email, now),
        Link::ResetPassword {
            email,
            password_version,
            ..
        } => account.reset_password(email, *password_version, now),
        Link::ChangeEmail { change, .. } => {
            account.change_email(change, reading.asked_on.as_ref(), now)
        }
    }
}

/// A link that is opened.
struct OpenedLink<'a> {
    service: &'a Service,
    link: &'a Link,
    /// The hash of the new password, if the link is for one.
    new_hash: Option<PasswordHash>,
}

impl Intent for OpenedLink<'_> {
    type Reading = Reading;
    type Refusal = VerifyEmailError;

    fn action(&self) -> Action {
        match self.link.purpose() {
            LinkPurpose::VerifyEmail => Action::VerifyEmail,
            LinkPurpose::ResetPassword => Action::ResetPassword,
            LinkPurpose::ChangeEmail => Action::ChangeEmail,
        }
    }

    fn actor(&self) -> Actor {
        Actor::Link
    }

    fn account<'r>(&self, reading: &'r Reading) -> Option<&'r Account> {
        reading.account.as_ref()
    }

    async fn read_again(&self) -> Result<Reading, Failure<VerifyEmailError>> {
        Ok(self.service.read_for_recovery(self.link).await?)
    }

    fn decide(&self, reading: &Reading) -> Result<Change, VerifyEmailError> {
        Ok(decide(self.link, reading, self.service)?)
    }

    fn parts<'a>(&'a self, reading: &'a Reading, change: &'a Change) -> Vec<Part<'a>> {
        let Some(verified) = &reading.credential else {
            return Vec::new();
        };
        if let Some(hash) = &self.new_hash {
            return vec![Part::Hash {
                verified,
                hash,
                password_version: change.account.password_version,
            }];
        }
        let mailbox = |account: &'a Account| account.email().map(EmailAddress::normalized);
        // Another spelling of the same mailbox leads to the same credential.
        if reading.account.as_ref().and_then(mailbox) == mailbox(&change.account) {
            return Vec::new();
        }
        // As it was read with the account: a sign-in may have replaced an old hash before this decision.
        vec![
            Part::NoCredential { verified },
            Part::NewCredential {
                email: self.link.email(),
                credential: verified,
            },
        ]
    }

    fn refuse_taken(&self) -> Option<VerifyEmailError> {
        Some(VerifyEmailError::EmailTaken)
    }

    /// Whoever comes second has not replaced anything, although all sessions have ended.
    fn is_fulfilled(&self, _: &Change, _: Option<&Account>) -> bool {
        false
    }
}
