//! The links of mails, made as whoever sends mail makes them.

use http::Method;
use latchkey_domain::account::Account;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::UserId;
use latchkey_domain::token::{EmailChange, Link};
use serde_json::json;

use super::reply::{Reply, SignedIn};
use super::stack::{PASSWORD, Stack};

impl Stack {
    /// The account of a user.
    ///
    /// # Panics
    /// When there is none.
    pub async fn account(&self, user: UserId) -> Account {
        let account = self.store.read_account(user).await;
        account.expect("the table can be read").expect("an account")
    }

    /// The token of a link that is made now.
    ///
    /// # Panics
    /// When it cannot be signed.
    pub async fn link_token(&self, link: &Link) -> String {
        let token = self.core.tokens.issue_link(link, self.now()).await;
        token.expect("a token").expose().to_owned()
    }

    /// The token of a link that resets a user's password.
    ///
    /// # Panics
    /// When the user has none.
    pub async fn reset_token(&self, user: UserId) -> String {
        let link = self.account(user).await.reset_link();
        self.link_token(&link.expect("a password")).await
    }

    /// The token of a link that verifies a user's address.
    ///
    /// # Panics
    /// When the user has none.
    pub async fn verify_token(&self, user: UserId) -> String {
        let link = self.account(user).await.verification_link();
        self.link_token(&link.expect("an address")).await
    }

    /// The token of a link to a new address that a user asks for now on their session.
    ///
    /// # Panics
    /// When the user cannot have one.
    pub async fn change_email_token(&self, who: &SignedIn, new: &str) -> String {
        let account = self.account(who.user_id.expect("a user")).await;
        let change = EmailChange {
            email: EmailAddress::parse(new).expect("an address"),
            email_version: account.email_version,
            session_id: who.session_id,
        };
        let link = account.email_change_link(change);
        self.link_token(&link.expect("a request that counts")).await
    }

    /// Asks for a link to reset a password.
    pub async fn request_password_reset(&self, email: &str) -> Reply {
        let call = self.post("/v1/auth/password-reset");
        call.json(&json!({"email": email})).send().await
    }

    /// Opens a link to reset a password.
    pub async fn reset_password(&self, token: &str, new: &str) -> Reply {
        self.post("/v1/auth/password-reset/confirm")
            .json(&json!({"token": token, "new_password": new}))
            .send()
            .await
    }

    /// Opens a link to verify an address.
    pub async fn verify_email(&self, token: &str) -> Reply {
        let call = self.post("/v1/auth/verify-email");
        call.json(&json!({"token": token})).send().await
    }

    /// Asks for another address.
    pub async fn request_email_change(&self, who: &SignedIn, new: &str) -> Reply {
        self.request(Method::PUT, "/v1/me/email")
            .bearer(&who.access_token)
            .json(&json!({"email": new, "password": PASSWORD}))
            .send()
            .await
    }
}
