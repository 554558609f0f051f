//! Finding users: by their address, by who they are elsewhere, by their id, or page by page.

use std::fmt;
use std::str::FromStr;

use latchkey_domain::account::Account;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::AdminError;
use latchkey_domain::id::UserId;
use latchkey_domain::identity::Identity;
use latchkey_store::ScanPosition;

use super::{Administrator, Deed, not_deleted};
use crate::{Failure, Service};

/// The most users of a page.
const USERS_OF_A_PAGE: usize = 100;

/// Some of the users, in no order that means anything.
#[derive(Debug)]
pub struct UserPage {
    /// Perhaps none although there are more.
    pub users: Vec<Account>,
    /// Where the next page begins; nothing after the last.
    pub next: Option<UserCursor>,
}

/// Where a page of users begins: a word that a client gives back as it is. One that was made up begins the page
/// elsewhere, and shows nothing that another page does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserCursor(ScanPosition);

/// The text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor")]
pub struct MalformedCursor;

impl fmt::Display for UserCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_text())
    }
}

impl FromStr for UserCursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        ScanPosition::from_text(text)
            .map(Self)
            .ok_or(MalformedCursor)
    }
}

impl Service {
    /// The user with this e-mail address, if there is one. 2 trips, 2 read units.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only.
    pub async fn find_user(
        &self,
        who: &Administrator,
        email: &EmailAddress,
    ) -> Result<Option<Account>, Failure<AdminError>> {
        let email = email.clone();
        let find = |service: Self, _| async move {
            let credential = service.store.read_credential(&email).await?;
            let user = credential.map(|credential| credential.user_id);
            service.read_found_user(user).await
        };
        self.audited_as(who, Deed::new("find_user"), find, describe_found)
            .await
    }

    /// The user who signs in elsewhere as this identity, if there is one. 2 trips, 2 read units.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only.
    pub async fn find_user_of_identity(
        &self,
        who: &Administrator,
        identity: &Identity,
    ) -> Result<Option<Account>, Failure<AdminError>> {
        let identity = identity.clone();
        let find = |service: Self, _| async move {
            let user = service.store.read_identity(&identity).await?;
            service.read_found_user(user).await
        };
        self.audited_as(who, Deed::new("find_user"), find, describe_found)
            .await
    }

    /// The account that an address or an identity leads to, unless it is deleted.
    async fn read_found_user(
        &self,
        user: Option<UserId>,
    ) -> Result<Option<Account>, Failure<AdminError>> {
        let Some(user) = user else { return Ok(None) };
        let account = self.store.read_account(user).await?;
        Ok(account.filter(|account| !account.is_deleted()))
    }

    /// Some of the users: those among the next 1,000 items of the table, at most 100. 1 trip, some 60 read units.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] and [`Failure::Internal`] only.
    pub async fn browse_users(
        &self,
        who: &Administrator,
        from: Option<UserCursor>,
    ) -> Result<UserPage, Failure<AdminError>> {
        let browse = |service: Self, _| async move {
            let from = from.map(|cursor| cursor.0);
            let page = service.store.scan_accounts(from, USERS_OF_A_PAGE).await?;
            let mut users = page.accounts;
            users.retain(|account| !account.is_deleted());
            Ok(UserPage {
                users,
                next: page.next.map(UserCursor),
            })
        };
        self.audited(who, Deed::new("browse_users"), browse).await
    }

    /// A user. 1 trip, 1 read unit.
    ///
    /// # Errors
    /// [`AdminError::UserNotFound`]
    pub async fn show_user(
        &self,
        who: &Administrator,
        user: UserId,
    ) -> Result<Account, Failure<AdminError>> {
        let show = move |service: Self, _| async move {
            not_deleted(service.store.read_account(user).await?)
        };
        self.audited(who, Deed::on_user("show_user", user), show)
            .await
    }
}

/// The line of a search says whom it has found. What was looked for may be an address, so it is not logged.
fn describe_found(found: &Option<Account>, deed: Deed) -> Deed {
    match found {
        Some(account) => deed.about(account.id),
        None => deed.about_nobody(),
    }
}
