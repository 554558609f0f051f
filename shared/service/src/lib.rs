//! The use cases of Latchkey: what happens when somebody signs in, refreshes, looks at their sessions, ends them.
//!
//! A use case reads, lets the domain decide, writes, counts and logs. It knows neither HTTP nor Lambda: the functions
//! turn requests into calls of these methods and their results into replies, and administration, the authorizer and the
//! commands call the same methods.
//!
//! ```text
//! domain  the rules, pure            sign_in.rs    e-mail, password -> session
//! store   one request per intention  refresh.rs    refresh token -> successor
//! service the plots  <- here         revoke.rs     the end of one session, of all
//! api     HTTP                       change.rs     the one loop that changes who is signed in
//! runtime Lambda                     admin/         the same for administration
//! ```
//!
//! To add a use case: an error enum in the domain if its refusals are new; a method on [`Service`] in a file named after
//! what it does; a [`change::Intent`](mod@change) if it changes who is signed in; the metric it counts in [`metric`]; a
//! handler that calls it; a row in the table of budgets.

mod account;
pub mod activity;
mod admin;
mod admission;
mod authorize;
mod caller;
mod change;
mod client;
mod error;
pub mod events;
mod export;
mod fit;
mod introspect;
mod key_document;
pub mod key_rotation;
mod link_issue;
mod link_request;
mod log;
pub mod metric;
pub mod notify;
pub mod passwords;
mod recovery;
mod refresh;
mod register;
mod revoke;
mod sessions;
mod sign_in;
mod sign_in_elsewhere;
mod sign_out;
mod step_up;
mod throttle;
pub mod token_keys;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use latchkey_domain::account::Account;
use latchkey_domain::clock::Clock;
use latchkey_domain::password::PasswordPolicy;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::RandomSource;
use latchkey_domain::session::Session;
use latchkey_domain::token::{Access, DeviceClaims, IssuedTokens, Token, TokenError};
use latchkey_store::Store;

use crate::passwords::Passwords;
use crate::token_keys::TokenKeys;

pub use account::PasswordChange;
pub use admin::{
    AccountUpdate, Administrator, Chosen, Damage, DescribedSession, LONGEST_DEEDS, LeadsToUser,
    Repair, SessionOfUser, UserCursor, UserPage, UserRevocation,
};
pub use authorize::{AccessRules, Authorizer, AuthorizerMode};
pub use caller::Caller;
pub use client::{ClientCredentials, NewClient};
pub use error::Failure;
pub use export::{Export, MAX_EXPORTED_SESSIONS};
pub use introspect::ActiveToken;
pub use link_issue::{IssuedLink, LinkWanted};
pub use recovery::PasswordReset;
pub use register::{Registered, Registration};
pub use sessions::SessionList;
pub use sign_in::SignIn;
pub use sign_in_elsewhere::SignInElsewhere;
pub use sign_out::SignOutToken;
pub use throttle::UserRequests;

/// What every function works with, also one that stores nothing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Core {
    /// Issues and verifies tokens.
    pub tokens: TokenKeys,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids and salts.
    pub random: Arc<dyn RandomSource>,
    /// How long things last.
    pub policy: Arc<SessionPolicy>,
    /// What a new password may not be made of.
    pub password_policy: Arc<PasswordPolicy>,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// Counts the requests of users.
    pub requests: UserRequests,
    /// Where the pages are that open links, without a slash at its end.
    pub account_url: Arc<str>,
}

/// The service: its core, and the table. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    /// What every function works with.
    pub core: Core,
    /// The table.
    pub store: Store,
}

/// A session that its client holds the tokens of.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The session as it is now.
    pub session: Session,
    /// Its tokens.
    pub tokens: IssuedTokens,
}

/// A user who has just signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The user's account.
    pub account: Account,
    /// The new session.
    pub issued: Issued,
    /// What shows that this client has given this account's password, for its next sign-in. None for a user who signs in
    /// elsewhere.
    pub device_token: Option<Token>,
}

impl Core {
    /// Now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The tokens of a session, whose access token gives what `access` says.
    ///
    /// # Errors
    /// [`Failure::Internal`] if signing fails.
    pub(crate) async fn issue<'a, E>(
        &self,
        session: Session,
        access: impl Into<Access<'a>>,
        now: DateTime<Utc>,
    ) -> Result<Issued, Failure<E>> {
        let issued = self
            .tokens
            .issue(&session, access, now, &self.policy, self.random.as_ref())
            .await;
        match issued {
            Ok(tokens) => Ok(Issued { session, tokens }),
            Err(error) => Err(not_signed(error)),
        }
    }

    /// The device token of a client that has just given the password of an account: for the device that it has shown to be,
    /// or for a new one.
    ///
    /// # Errors
    /// [`Failure::Internal`] if signing fails.
    pub(crate) async fn issue_device<E>(
        &self,
        shown: Option<DeviceClaims>,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<Token, Failure<E>> {
        let (user, password) = (account.id, account.password_version);
        self.tokens
            .issue_device(shown, user, password, now, self.random.as_ref())
            .await
            .map_err(not_signed)
    }
}

pub(crate) fn not_signed<E>(error: TokenError) -> Failure<E> {
    tracing::error!(%error, "tokens could not be signed");
    Failure::Internal
}

impl AsRef<Core> for Core {
    fn as_ref(&self) -> &Core {
        self
    }
}

impl AsRef<Core> for Service {
    fn as_ref(&self) -> &Core {
        &self.core
    }
}
