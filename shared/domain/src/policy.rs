//! How long sessions and tokens last, and how many sessions a user may have.

use chrono::TimeDelta;

use crate::email::{EmailAddress, InvalidEmail};
use crate::geography::TravelLimits;
use crate::throttle::Limits;

/// The limits that an operator sets. The defaults are those of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPolicy {
    /// How long an access token is valid, if its session does not end before; at most [`LONGEST_ACCESS_TOKEN_LIFETIME`].
    pub access_token_lifetime: TimeDelta,
    /// How long a session may go without a refresh (OWASP ASVS 5.0, 7.3.1).
    pub idle_lifetime: TimeDelta,
    /// How long a session may last, whatever it does (OWASP ASVS 5.0, 7.3.2).
    pub absolute_lifetime: TimeDelta,
    /// How long after a rotation the replaced refresh token still gets the same successor; at most
    /// [`LONGEST_REFRESH_GRACE`].
    pub refresh_grace: TimeDelta,
    /// How many sessions a user may have at once; from 1 to [`LARGEST_SESSION_LIMIT`].
    pub max_sessions: usize,
    /// Whether a sign-in ends the live session that has the same device id.
    pub one_session_per_device: bool,
    /// How long ago a user may have proved who they are, for what asks for a recent proof (OWASP ASVS 5.0, 7.5.1).
    pub reauthenticate_within: TimeDelta,
    /// Whether ending other sessions asks for a recent proof too (OWASP ASVS 5.0, 7.5.2).
    pub reauthenticate_to_revoke: bool,
    /// Whether people may register. Accounts of sign-ins elsewhere are made in either case.
    pub registration_open: bool,
    /// Whether somebody who registers must show that they read the mail of their address before they sign in.
    pub require_verified_email: bool,
    /// Whether this service sends mail itself: then it must reach the addresses that people enter.
    pub sends_mail: bool,
    /// Whether the routes of administration are there. Commands of operators work in either case.
    pub administration: bool,
    /// How long the description of an ended session is kept after its absolute expiry.
    pub retention: TimeDelta,
    /// How often something may be tried.
    pub limits: Limits,
    /// How fast a person may have travelled since their last session, before a sign-in counts as unusual.
    pub travel: TravelLimits,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            access_token_lifetime: TimeDelta::minutes(15),
            idle_lifetime: TimeDelta::days(7),
            absolute_lifetime: TimeDelta::days(30),
            refresh_grace: TimeDelta::seconds(30),
            max_sessions: 20,
            one_session_per_device: true,
            reauthenticate_within: TimeDelta::minutes(10),
            reauthenticate_to_revoke: false,
            registration_open: true,
            require_verified_email: false,
            sends_mail: false,
            administration: true,
            retention: TimeDelta::days(30),
            limits: Limits::default(),
            travel: TravelLimits::default(),
        }
    }
}

/// The longest lifetime of an access token: a service that only verifies it accepts it that long after a revocation.
pub const LONGEST_ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// The longest grace. Within it a replaced refresh token still works, for whoever holds it.
pub const LONGEST_REFRESH_GRACE: TimeDelta = TimeDelta::minutes(5);

/// The largest session limit: the account's item and the transaction that admits a session stay small.
pub const LARGEST_SESSION_LIMIT: usize = 100;

/// The longest time for which a proof of who somebody is may count as recent.
pub const LONGEST_REAUTHENTICATE_WITHIN: TimeDelta = TimeDelta::days(1);

/// How far the clocks of two instances may be apart without signing anybody out.
pub const CLOCK_DIFFERENCE: TimeDelta = TimeDelta::seconds(5);

impl SessionPolicy {
    /// How long a refresh token stays the newest at least: a younger one is returned instead of rotated. The first
    /// rotation of a session is exempt; a grace of 0 makes this 0.
    ///
    /// It is longer than the grace, also on two clocks. So a session that is two rotations ahead of a token proves that
    /// the token was replaced more than the grace ago, however often a thief refreshes (RFC 9700 section 4.14.2).
    #[must_use]
    pub fn rotation_interval(&self) -> TimeDelta {
        if self.refresh_grace.is_zero() {
            TimeDelta::zero()
        } else {
            self.refresh_grace + CLOCK_DIFFERENCE
        }
    }

    /// Reads the address of an account that is to be. One that no mail of ours reaches would never be verified, and a
    /// forgotten password would be the end of it.
    ///
    /// # Errors
    /// [`InvalidEmail`]
    pub fn read_new_email(&self, typed: &str) -> Result<EmailAddress, InvalidEmail> {
        let email = EmailAddress::parse(typed)?;
        match self.sends_mail && !email.is_reachable() {
            true => Err(InvalidEmail::Unreachable),
            false => Ok(email),
        }
    }
}

/// How many sessions that have ended a user's partition keeps for the audit trail; a sign-in deletes older ones.
pub const MAX_ENDED_SESSIONS_KEPT: usize = 20;

/// How long the empty account item of a deleted user stays, so that an interrupted deletion can be finished.
pub const DELETED_ACCOUNT_RETENTION: TimeDelta = TimeDelta::days(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_mail_reaches_is_refused_only_where_mail_is_sent() {
        let read = |sends_mail, typed: &str| {
            let policy = SessionPolicy {
                sends_mail,
                ..SessionPolicy::default()
            };
            policy.read_new_email(typed).map(drop)
        };
        let [reachable, unreachable] = ["ada@example.com", "\u{e4}da@example.com"];
        assert_eq!(read(true, reachable), Ok(()));
        assert_eq!(read(false, reachable), Ok(()));
        assert_eq!(read(true, unreachable), Err(InvalidEmail::Unreachable));
        assert_eq!(read(false, unreachable), Ok(()));
    }

    #[test]
    fn the_interval_is_longer_than_the_grace_also_on_two_clocks() {
        let policy = |seconds| SessionPolicy {
            refresh_grace: TimeDelta::seconds(seconds),
            ..SessionPolicy::default()
        };
        for (grace, interval) in [(0, 0), (1, 6), (30, 35), (300, 305)] {
            assert_eq!(
                policy(grace).rotation_interval(),
                TimeDelta::seconds(interval)
            );
        }
    }
}
