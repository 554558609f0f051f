//! Links for services that send mail themselves.

use chrono::TimeDelta;
use latchkey_domain::account::Account;
use latchkey_domain::client::ClientScope;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::IssueLinkError;
use latchkey_domain::id::UserId;
use latchkey_domain::token::{Link, LinkPurpose, Token, link_address};

use crate::{ClientCredentials, Failure, Service};

/// What a client of another service wants a link for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkWanted {
    /// To verify the user's address.
    VerifyEmail,
    /// To choose another password.
    ResetPassword,
    /// To this address, which is to be the user's.
    ChangeEmail(EmailAddress),
}

/// A link, for whoever sends it.
#[derive(Clone, Debug)]
pub struct IssuedLink {
    /// Its token.
    pub token: Token,
    /// The whole link, to be sent to the user.
    pub url: String,
    /// How long it is valid.
    pub expires_in: TimeDelta,
}

impl Service {
    /// Makes a link for a user. 1 trip, 2 read units.
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
        let link = match wanted {
            LinkWanted::VerifyEmail => account.verification_link(),
            LinkWanted::ResetPassword => account.reset_link(),
            LinkWanted::ChangeEmail(new) => {
                let taken = self.store.read_credential(&new).await?;
                if taken.is_some_and(|taken| taken.user_id != account.id) {
                    return Err(Failure::Refused(IssueLinkError::EmailTaken));
                }
                account.email_change_link(new)
            }
        };
        link.ok_or(Failure::Refused(IssueLinkError::NoPassword))
    }
}
