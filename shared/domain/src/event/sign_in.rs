//! What the mark of a refused sign-in tells. It stands on the counter of the attempts, so a stranger's attempt writes nothing
//! among the items of the user whose password was guessed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Event, Occurrence};
use crate::device::DeviceType;
use crate::error::SignInError;
use crate::id::{AttemptId, UserId};
use crate::session::ClientLocation;
use crate::throttle::HARD_STOP;

/// Why a sign-in was refused, as an event tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInRefusal {
    /// The password was wrong.
    InvalidCredentials,
    /// The password was right, but the account is disabled.
    AccountDisabled,
    /// The password was right, but the address is not verified, which the deployment asks for.
    EmailNotVerified,
    /// A word that this version does not know: another version has written it. This one never does.
    #[serde(other)]
    Other,
}

impl SignInRefusal {
    /// The word for it in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidCredentials => "invalid_credentials",
            Self::AccountDisabled => "account_disabled",
            Self::EmailNotVerified => "email_not_verified",
            Self::Other => "other",
        }
    }
}

impl From<SignInError> for SignInRefusal {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::InvalidCredentials => Self::InvalidCredentials,
            SignInError::AccountDisabled => Self::AccountDisabled,
            SignInError::EmailNotVerified => Self::EmailNotVerified,
        }
    }
}

/// A sign-in to an account that was refused after its password was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedSignIn {
    /// Which attempt: it tells this one from all others.
    pub attempt: AttemptId,
    /// When its password was judged.
    pub at: DateTime<Utc>,
    /// Why it was refused.
    pub reason: SignInRefusal,
    /// Whose sign-in it would have been.
    pub user_id: UserId,
    /// Whether the client has shown a device token of the account: it has signed in before.
    pub known_device: bool,
    /// What the client says it runs on.
    pub device_name: String,
    /// What kind of device that is.
    pub device_type: DeviceType,
    /// Where the client was.
    pub location: ClientLocation,
    /// How many attempts in a row were counted, with this one; 0 where none are.
    pub attempts: u32,
    /// Until when the next attempt is not checked, if it has to wait.
    pub blocked_until: Option<DateTime<Utc>>,
}

/// How the next attempt is met.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Block {
    Free,
    Waits,
    Stopped,
}

impl FailedSignIn {
    fn block(&self) -> Block {
        match self.blocked_until {
            None => Block::Free,
            Some(_) if self.attempts >= HARD_STOP => Block::Stopped,
            Some(_) => Block::Waits,
        }
    }
}

/// What has happened between two marks of one counter. Marks that are alike tell nothing. That attempts have to wait is told when the waits begin, and when they become the hard stop.
#[must_use]
pub fn sign_in_events_between(
    before: Option<&FailedSignIn>,
    after: Option<&FailedSignIn>,
) -> Vec<Event> {
    let Some(after) = after else {
        return Vec::new();
    };
    if before.is_some_and(|before| before.attempt == after.attempt) {
        return Vec::new();
    }
    let version = after.attempt.to_string();
    let tell = |occurrence| Event::new(after.user_id, &version, after.at, occurrence);
    let mut events = vec![tell(Occurrence::SignInFailed(Box::new(after.clone())))];
    let block_before = before.map_or(Block::Free, FailedSignIn::block);
    if let Some(until) = after.blocked_until
        && after.block() > block_before
    {
        let known_device = after.known_device;
        events.push(tell(Occurrence::SignInBlocked {
            until,
            known_device,
        }));
    }
    events
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::random::SeededRandom;
    use crate::session::tests::noon;

    fn mark(attempts: u32) -> FailedSignIn {
        let wait = (attempts >= 10).then(|| noon() + TimeDelta::minutes(i64::from(attempts)));
        FailedSignIn {
            attempt: AttemptId::random(&SeededRandom::new(u64::from(attempts))),
            at: noon(),
            reason: SignInRefusal::InvalidCredentials,
            user_id: UserId::random(&SeededRandom::new(7)),
            known_device: false,
            device_name: "curl".to_owned(),
            device_type: DeviceType::Unknown,
            location: ClientLocation::default(),
            attempts,
            blocked_until: wait,
        }
    }

    fn told(before: Option<&FailedSignIn>, after: &FailedSignIn) -> Vec<&'static str> {
        let events = sign_in_events_between(before, Some(after));
        let types = events.iter().map(|event| event.occurrence.event_type());
        types.collect()
    }

    #[test]
    fn a_refusal_has_one_word_in_logs_and_in_events() {
        use SignInRefusal::*;
        for refusal in [InvalidCredentials, AccountDisabled, EmailNotVerified, Other] {
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.as_str());
        }
    }

    #[test]
    fn a_new_mark_is_told_once() {
        let (one, two) = (mark(1), mark(2));
        assert_eq!(told(None, &one), ["sign_in.failed"]);
        assert_eq!(told(Some(&one), &two), ["sign_in.failed"]);
        assert!(told(Some(&two), &two).is_empty());
        assert_eq!(sign_in_events_between(Some(&one), None), []);
        let ids = |mark| sign_in_events_between(None, Some(mark))[0].id;
        assert_eq!(ids(&one), ids(&one));
        assert_ne!(ids(&one), ids(&two));
    }

    #[test]
    fn the_waits_are_told_when_they_begin_and_when_they_become_the_stop() {
        let marks: Vec<FailedSignIn> = (1..=101).map(mark).collect();
        let mut blocked = Vec::new();
        for pair in marks.windows(2) {
            if told(Some(&pair[0]), &pair[1]).contains(&"sign_in.blocked") {
                blocked.push(pair[1].attempts);
            }
        }
        assert_eq!(blocked, [10, HARD_STOP]);
        // After the count was cleared they begin again.
        assert_eq!(told(None, &marks[9]), ["sign_in.failed", "sign_in.blocked"]);
        let events = sign_in_events_between(None, Some(&marks[9]));
        let failed = events[0].data();
        assert_eq!(failed["device_name"], "curl");
        assert_eq!(failed["reason"], "invalid_credentials");
        let data = events[1].data();
        assert_eq!(data["until"], "2026-03-01T12:10:00.250Z");
    }
}
