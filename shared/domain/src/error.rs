//! What can go wrong, one type for each use case. How a client learns of it is the HTTP side's matter.

use std::error::Error;

use crate::client::ClientError;
use crate::email::InvalidEmail;
use crate::identity::InvalidAuthTime;
use crate::password::WeakPassword;
use crate::role::MAX_ROLES;
use crate::token::TokenError;

/// An error and what caused it, in one line, for logs and for people.
///
/// By `Display` alone: the `Debug` of an SDK's error holds the raw reply, and with it whatever was stored.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// The storage could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It was busy, slow or out of reach, or so many requests changed the same account at once that this one did
    /// not get its turn. Nothing more is known: the change may or may not have been made. Try again.
    #[error("the storage is not available")]
    Unavailable,
    /// An item is not in the form that this service writes. Trying again does not help.
    #[error("an item in the storage is broken")]
    Corrupt,
}

/// Why an account admits no new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// An administrator has closed the account, whose password was given.
    #[error("the account is disabled")]
    Disabled,
    /// Its owner has deleted the account.
    #[error("the account is deleted")]
    Deleted,
    /// The password that was given has been replaced since.
    #[error("the account has another password")]
    OtherPassword,
    /// Its user has yet to show that they read the mail of its address.
    #[error("the e-mail address is not verified")]
    EmailNotVerified,
}

/// A link does nothing: it is forged, expired, used, overtaken, or for another purpose. Nobody learns which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the link is not valid")]
pub struct InvalidLink;

/// The caller's session has ended, so the caller's access token is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session of the caller has ended")]
pub struct CallerNotLive;

/// The caller has not proved who they are recently enough for what was asked (RFC 9470 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the caller must authenticate again")]
pub struct ReauthenticationRequired;

/// Why a caller may not administer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdministrator {
    /// The caller's session has ended.
    #[error("the session of the caller has ended")]
    CallerNotLive,
    /// The access token does not have the scope, or the account does not have the role.
    #[error("the caller is no administrator")]
    NotAllowed,
    /// The caller has not proved who they are recently enough.
    #[error(transparent)]
    ReauthenticationRequired(#[from] ReauthenticationRequired),
}

impl From<CallerNotLive> for NotAdministrator {
    fn from(_: CallerNotLive) -> Self {
        Self::CallerNotLive
    }
}

/// Why what an administrator wants is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// There is no such user, or no longer.
    #[error("no such user")]
    UserNotFound,
    /// The user has no such live session.
    #[error("no such session")]
    SessionNotFound,
    /// A user has at most [`MAX_ROLES`] roles.
    #[error("A user has at most {MAX_ROLES} roles.")]
    TooManyRoles,
    /// The user signs in elsewhere.
    #[error("the account has no password")]
    NoPassword,
    /// Administrators may not lock themselves out.
    #[error("an administrator may not do this to their own account")]
    OwnAccount,
}

/// Why something that may ask for a recent proof was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepUpError {
    /// The caller's session has ended.
    #[error(transparent)]
    CallerNotLive(#[from] CallerNotLive),
    /// The caller must prove who they are again.
    #[error(transparent)]
    ReauthenticationRequired(#[from] ReauthenticationRequired),
}

/// Why another API does not let a request through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessDenied {
    /// It has no access token, or more than one.
    #[error("no access token")]
    NoToken,
    /// Its token is not valid.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Its token, or the account by now, does not allow what is asked for.
    #[error("insufficient scope")]
    InsufficientScope,
    /// Its user has not proved who they are recently enough.
    #[error("authenticated too long ago")]
    AuthenticatedTooLongAgo,
    /// Its session has ended.
    #[error(transparent)]
    NotLive(#[from] CallerNotLive),
}

/// Why a registration was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// That is no e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    /// The password is too weak.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// Both are wrong, and the person hears of both at once.
    #[error("{0} {1}")]
    EmailAndPassword(InvalidEmail, WeakPassword),
    /// Somebody has registered this e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// Nobody may register here.
    #[error("registration is closed")]
    Closed,
}

/// Why nobody asks for a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkRequestError {
    /// That is no e-mail address.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
}

/// Why a link that verifies the caller's address is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerificationRequestError {
    /// The caller's session has ended.
    #[error(transparent)]
    CallerNotLive(#[from] CallerNotLive),
    /// The user signs in elsewhere: no link verifies their address.
    #[error("the account has no password")]
    NoPassword,
}

/// Why a link to verify an address, or to a new one, did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyEmailError {
    /// The link is not valid.
    #[error(transparent)]
    Link(#[from] InvalidLink),
    /// Somebody else has the new address by now.
    #[error("the e-mail address is taken")]
    EmailTaken,
}

/// Why a password was not reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResetPasswordError {
    /// The link is not valid.
    #[error(transparent)]
    Link(#[from] InvalidLink),
    /// The new password is too weak.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
}

/// Why a client of another service gets no link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueLinkError {
    /// The service that asks may not.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// There is no such user, or no longer.
    #[error("no such user")]
    UserNotFound,
    /// The user signs in elsewhere: there is no password, or no address, that a link could be for.
    #[error("the account has no password")]
    NoPassword,
    /// Somebody else has the new address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The account has changed since the link was asked for, so that it would do nothing.
    #[error("the account has changed since the link was asked for")]
    Overtaken,
}

/// Why a sign-in was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// No such e-mail address, or another password. Nobody learns which of them.
    #[error("wrong e-mail address or password")]
    InvalidCredentials,
    /// The password was right, but the account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
    /// The password was right, but the address is not verified.
    #[error("the e-mail address is not verified")]
    EmailNotVerified,
}

/// Why no session was started for somebody who signed in elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInElsewhereError {
    /// The service that asks may not.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The time of the sign-in is not accepted.
    #[error(transparent)]
    AuthTime(#[from] InvalidAuthTime),
    /// The account is disabled.
    #[error("the account is disabled")]
    AccountDisabled,
}

/// Why a refresh for a visitor of another service was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VisitorRefreshError {
    /// Only a client that may issue sessions says where a visitor calls from.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The refresh itself was refused.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
}

/// Why a session could not be shown, renamed or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The caller's own session has ended.
    #[error("the session of the caller has ended")]
    CallerNotLive,
    /// The caller has no such live session.
    #[error("no such session")]
    NotFound,
    /// The caller must prove who they are again to end another session.
    #[error(transparent)]
    ReauthenticationRequired(#[from] ReauthenticationRequired),
}

impl From<CallerNotLive> for SessionError {
    fn from(_: CallerNotLive) -> Self {
        Self::CallerNotLive
    }
}

/// Why a refresh was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The token is not genuine or has expired, or its session is not live.
    #[error("the refresh token is not valid")]
    Invalid,
    /// The token was replaced longer than the grace ago: its session has been ended.
    #[error("the refresh token has been used again")]
    Reused,
}

impl From<CallerNotLive> for RefreshError {
    fn from(_: CallerNotLive) -> Self {
        Self::Invalid
    }
}

/// Why an operation that asks for the password again was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// The caller's session has ended.
    #[error("the session of the caller has ended")]
    CallerNotLive,
    /// That is not the password.
    #[error("wrong password")]
    WrongPassword,
    /// The new password is too weak.
    #[error(transparent)]
    Weak(#[from] WeakPassword),
    /// The new password is the old one.
    #[error("the new password is the old one")]
    Unchanged,
    /// The account has no password: its user signs in elsewhere.
    #[error("the account has no password")]
    NoPassword,
    /// Somebody else has the new e-mail address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The new e-mail address is the old one, letter for letter.
    #[error("This is the address of the account already.")]
    EmailUnchanged,
    /// The caller must prove who they are again first.
    #[error(transparent)]
    ReauthenticationRequired(#[from] ReauthenticationRequired),
}

impl From<CallerNotLive> for ConfirmError {
    fn from(_: CallerNotLive) -> Self {
        Self::CallerNotLive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the account cannot be read")]
    struct Unread(#[source] StoreError);

    #[test]
    fn an_error_is_told_with_its_causes_in_one_line() {
        let cause = StoreError::Unavailable;
        let line = with_causes(&Unread(cause));
        assert_eq!(line, format!("the account cannot be read: {cause}"));
    }
}
