//! Asking for links. A request is counted and written down; whoever reads the table's stream looks up whom it is for, and
//! whoever sends mail makes the link. So nobody who asks learns, by the answer, its time or its cost, whether an address is
//! known (OWASP ASVS 5.0, 6.3.8), and no request waits for mail.

use std::net::IpAddr;
use std::sync::Arc;

use latchkey_domain::account::Account;
use latchkey_domain::cause::Actor;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::{
    AdminError, ConfirmError, LinkRequestError, StoreError, VerificationRequestError,
};
use latchkey_domain::event::{Addressee, LinkRequest, Requester, WantedLink};
use latchkey_domain::id::{AttemptId, RequestId, UserId};
use latchkey_domain::password::Password;
use latchkey_domain::session::ClientLocation;
use latchkey_domain::throttle::{Limit, MailReason, Subject, Violation, link_window_of};
use latchkey_domain::token::EmailChange;
use latchkey_store::Counted;

use crate::admin::{Administrator, Deed, not_deleted};
use crate::metric::LINKS_REQUESTED;
use crate::throttle::{CountedRequest, refuse_throttled};
use crate::{Caller, Failure, Service};

impl Service {
    /// Asks for a link to choose another password, whether or not somebody has the address. 3 trips, 3 write units.
    ///
    /// # Errors
    /// [`LinkRequestError`]; [`Failure::Throttled`] for an address of the network and for an e-mail address for which too many
    /// were asked for, known or not.
    pub async fn request_password_reset(
        &self,
        email: &str,
        requester: Requester,
    ) -> Result<(), Failure<LinkRequestError>> {
        let email = EmailAddress::parse_existing(email);
        let email = email.map_err(|invalid| Failure::Refused(invalid.into()))?;
        let address = requester.location.ip_address;
        self.count_mail_for_stranger(address, MailReason::Reset, &email)
            .await?;
        let addressee = Addressee::Address(email);
        self.write_request(
            WantedLink::ResetPassword,
            addressee,
            requester,
            Actor::Nobody,
        )
        .await
    }

    /// Asks for a link that verifies the caller's address. If it is verified, nothing is sent. 3 trips, 2 write units.
    ///
    /// # Errors
    /// [`VerificationRequestError`]; [`Failure::Throttled`] if too many were asked for.
    pub async fn request_email_verification(
        &self,
        caller: Caller,
        requester: Requester,
    ) -> Result<(), Failure<VerificationRequestError>> {
        let account = self.live_account(caller).await;
        let account = account.map_err(|failure| failure.map_refusal(Into::into))?;
        let no_password = Failure::Refused(VerificationRequestError::NoPassword);
        let link = account.verification_link().ok_or(no_password)?;
        if account.is_email_verified() {
            return Ok(());
        }
        self.count_mail(MailReason::Verification, link.email())
            .await?;
        let (addressee, actor) = (Addressee::User(account.id), Actor::Owner(caller.session_id));
        self.write_request(WantedLink::VerifyEmail, addressee, requester, actor)
            .await
    }

    /// Asks for a link to a new address, which is the caller's when it is opened. Asks for the password, and for a recent
    /// proof. 6 trips; 5 write units, and 1 for the limit of the address.
    ///
    /// # Errors
    /// [`ConfirmError`]; the fifth wrong password on a session ends it. [`Failure::Throttled`] for a user who has asked for
    /// too many, taken or not, and for an address for which too many were asked for.
    pub async fn request_email_change(
        &self,
        caller: Caller,
        new_email: &EmailAddress,
        password: &Arc<Password>,
        location: &ClientLocation,
    ) -> Result<(), Failure<ConfirmError>> {
        let refuse = |account: &Account, required| match account.identity {
            Some(_) => ConfirmError::NoPassword,
            None => ConfirmError::ReauthenticationRequired(required),
        };
        self.require_recent_authentication(caller, refuse).await?;
        let mut place = self.core.passwords.reserve()?;
        let taken = self.is_anothers(new_email, caller.user_id);
        let confirmation = self.begin_confirmation(caller, location.ip_address, taken);
        let (attempt, confirmation, is_anothers) = confirmation.await?;
        let requested = async {
            self.confirm(&mut place, &confirmation, &attempt, password)
                .await?;
            let own = confirmation.own()?;
            // Another spelling is another address: people mend capital letters.
            if own.account.email() == Some(new_email) {
                return Err(Failure::Refused(ConfirmError::EmailUnchanged));
            }
            // After the password, so that wrong ones use up nothing. Before anybody learns whether the address is taken, and
            // the user's before the address's, so that whoever may not ask uses up nothing of its owner.
            let of_user = Subject::NewAddresses(caller.user_id);
            self.count_in_hour::<ConfirmError>(of_user).await?;
            self.count_mail(MailReason::NewAddress, new_email).await?;
            if is_anothers? {
                return Err(Failure::Refused(ConfirmError::EmailTaken));
            }
            let requester = Requester {
                location: location.clone(),
                device_name: Some(own.session.device.shown_name().to_owned()),
            };
            let wanted = WantedLink::ChangeEmail(EmailChange {
                email: new_email.clone(),
                email_version: own.account.email_version,
                session_id: caller.session_id,
            });
            let (addressee, actor) = (
                Addressee::User(caller.user_id),
                Actor::Owner(caller.session_id),
            );
            self.write_request(wanted, addressee, requester, actor)
                .await
        };
        let requested = requested.await;
        self.settle_attempt(caller, &attempt, &requested).await;
        requested?;
        let (user_id, session_id) = (caller.user_id, caller.session_id);
        tracing::info!(%user_id, %session_id, "another address asked for");
        let cleared = self.store.clear_password_attempts(user_id, session_id);
        if let Err(error) = cleared.await {
            tracing::warn!(%user_id, %session_id, %error, "a password stays counted");
        }
        Ok(())
    }

    /// Whether somebody else than this user has the address. 1 read unit.
    pub(crate) async fn is_anothers(
        &self,
        email: &EmailAddress,
        user: UserId,
    ) -> Result<bool, StoreError> {
        let credential = self.store.read_credential(email).await?;
        Ok(credential.is_some_and(|credential| credential.is_anothers(user)))
    }

    /// Asks, for a user, for a link to choose another password: an administrator sends a link and never chooses a password
    /// (OWASP ASVS 5.0, 6.4.6). 2 trips, 1 write unit.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`], [`AdminError::NoPassword`]
    pub async fn send_password_reset(
        &self,
        who: &Administrator,
        user: UserId,
    ) -> Result<(), Failure<AdminError>> {
        let send = move |service: Self, who: Administrator| async move {
            let account = not_deleted(service.store.read_account(user).await?)?;
            if account.reset_link().is_none() {
                return Err(Failure::Refused(AdminError::NoPassword));
            }
            let (wanted, addressee) = (WantedLink::ResetPassword, Addressee::User(user));
            let nowhere = Requester::default();
            service
                .write_request(wanted, addressee, nowhere, who.actor)
                .await
        };
        self.audited(who, Deed::on_user("send_password_reset", user), send)
            .await
    }

    /// Counts a mail that somebody who is not signed in asks for: against where they are, and if they may ask, against the
    /// e-mail address. In this order, or whoever may not ask could use up what its owner may. 2 trips, 2 write units.
    pub(crate) async fn count_mail_for_stranger<E>(
        &self,
        address: Option<IpAddr>,
        reason: MailReason,
        email: &EmailAddress,
    ) -> Result<(), Failure<E>> {
        self.count_address_attempt(address, CountedRequest::Link)
            .await?;
        self.count_mail(reason, email).await
    }

    /// Counts a mail to an e-mail address, known or not. 1 write unit.
    ///
    /// # Errors
    /// [`Failure::Throttled`] if as many as are allowed were asked for in this hour, for the same reason.
    async fn count_mail<E>(
        &self,
        reason: MailReason,
        email: &EmailAddress,
    ) -> Result<(), Failure<E>> {
        self.count_in_hour(Subject::Mailbox(reason, email)).await
    }

    async fn count_in_hour<E>(&self, subject: Subject<'_>) -> Result<(), Failure<E>> {
        let limits = &self.core.policy.limits;
        if limits.links == 0 {
            return Ok(());
        }
        let now = self.core.now();
        let counter = self.core.tokens.counter(subject, now).await?;
        let attempt = AttemptId::random(self.core.random.as_ref());
        let window = link_window_of(now);
        let counted = self
            .store
            .count_in_window(&counter, attempt, limits.links, window, now);
        match counted.await? {
            Counted::Admitted(_) => Ok(()),
            Counted::Refused(_) => {
                let violation = Violation::new(Limit::Links, limits, window.1, now);
                Err(refuse_throttled(violation.into(), CountedRequest::Link))
            }
        }
    }

    /// Writes a request down. 1 write unit.
    pub(crate) async fn write_request<E>(
        &self,
        wanted: WantedLink,
        addressee: Addressee,
        requester: Requester,
        actor: Actor,
    ) -> Result<(), Failure<E>> {
        let request = LinkRequest {
            id: RequestId::random(self.core.random.as_ref()),
            wanted,
            addressee,
            requester,
            actor,
            at: self.core.now(),
        };
        self.store.write_link_request(&request).await?;
        LINKS_REQUESTED.count(1);
        Ok(())
    }
}
