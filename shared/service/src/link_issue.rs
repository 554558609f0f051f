//! Links for services that send mail themselves.

use std::fmt;

use chrono::TimeDelta;
use latchkey_domain::account::Account;
use latchkey_domain::client::ClientScope;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::IssueLinkError;
use latchkey_domain::id::UserId;
use latchkey_domain::token::{EmailChange, Link, LinkPurpose, Token, link_address};

use crate::{ClientCredentials, Failure, Service};

/// What a client of another service wants a link for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkWanted {
    /// To verify the user's address.
    VerifyEmail,
    /// To choose another password.
    ResetPassword,
    /// To another address, as the user has asked for it.
    ChangeEmail(EmailChange),
}

/// A link, for whoever sends it.
#[derive(Clone)]
pub struct IssuedLink {
    /// The only address that it may be sent to: whoever opens it shows that they read its mail.
    pub email: EmailAddress,
    /// Its token.
    pub token: Token,
    /// The whole link, to be sent to the user.
    pub url: String,
    /// How long it is valid.
    pub expires_in: TimeDelta,
}

// Not derived: the link holds the token.
impl fmt::Debug for IssuedLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedLink").finish_non_exhaustive()
    }
}

impl Service {
    /// Makes a link for a user. 1 trip, 2 read units; one more of each for a new address.
    ///
    /// # Errors
    /// [`IssueLinkError`]
    pub async fn issue_link(
        &self,
        credentials: Option<&ClientCredentials>,
        user: UserId,
        wanted: LinkWanted,
    ) -> Result<IssuedLink, Failure<IssueLinkError>> {
        // One trip: what is read of the user is used only for a client that proves itself.
        let (client, account) = tokio::join!(
            self.authenticate_client(credentials, ClientScope::IssueLinks),
            self.store.read_account(user)
        );
        let client = client.map_err(|failure| failure.map_refusal(IssueLinkError::from))?;
        let account = account?.filter(|account| !account.is_deleted());
        let account = account.ok_or(Failure::Refused(IssueLinkError::UserNotFound))?;
        let link = self.link_of(&account, wanted).await?;
        let purpose: LinkPurpose = link.purpose();
        let token = self.core.tokens.issue_link(&link, self.core.now()).await;
        let token = token.map_err(crate::not_signed)?;
        let (user_id, client_id) = (account.id, &client.id);
        tracing::info!(%user_id, %client_id, %purpose, "link issued");
        Ok(IssuedLink {
            email: link.email().clone(),
            url: link_address(&self.core.account_url, purpose, &token),
            token,
            expires_in: purpose.lifetime(),
        })
    }

    async fn link_of(
        &self,
        account: &Account,
        wanted: LinkWanted,
    ) -> Result<Link, Failure<IssueLinkError>> {
        let no_password = Failure::Refused(IssueLinkError::NoPassword);
        let change = match wanted {
            LinkWanted::VerifyEmail => return account.verification_link().ok_or(no_password),
            LinkWanted::ResetPassword => return account.reset_link().ok_or(no_password),
            LinkWanted::ChangeEmail(change) => change,
        };
        if account.credential_email().is_none() {
            return Err(no_password);
        }
        if self.is_anothers(&change.email, account.id).await? {
            return Err(Failure::Refused(IssueLinkError::EmailTaken));
        }
        let link = account.email_change_link(change);
        link.ok_or(Failure::Refused(IssueLinkError::Overtaken))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_shows_nothing_in_debug_output() {
        let token = Token::new("secret".to_owned());
        let pages = "https://id.example.com/account";
        let link = IssuedLink {
            email: EmailAddress::parse("ada@example.com").unwrap(),
            url: link_address(pages, LinkPurpose::ResetPassword, &token),
            token,
            expires_in: TimeDelta::minutes(10),
        };
        assert_eq!(format!("{link:?}"), "IssuedLink { .. }");
    }
}
