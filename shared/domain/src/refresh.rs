//! What a refresh may do: the table of RFC 9700 section 4.14.2's refresh token rotation, row by row.

use chrono::{DateTime, TimeDelta, Utc};

use crate::account::{Account, Liveness};
use crate::clock::age;
use crate::session::Session;

/// What the one conditional write of a refresh came back with. Its condition: the stored rotation is the token's,
/// neither expiry has passed, and the rotation is 0 or at least [`SessionPolicy::rotation_interval`] old.
///
/// [`SessionPolicy::rotation_interval`]: crate::policy::SessionPolicy::rotation_interval
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationAttempt {
    /// The condition held; the session as it is now.
    Rotated(Session),
    /// The condition failed; the session as it is, or nothing if there is none.
    Refused(Option<Session>),
}

/// What a refresh is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshVerdict {
    /// The token was the newest: here is its successor.
    Rotated(Session),
    /// The token is the newest and too young to be replaced: the same token again, nothing written or extended.
    NotDue(Session),
    /// A lost response or a parallel request: the same successor again, nothing written or extended.
    SameSuccessor(Session),
    /// A replayed or stolen token: the session must end.
    Reused(Session),
    /// There is no such session, or it is not live.
    NotLive(Option<(Session, Liveness)>),
    /// The token is ahead of what is stored: a restored backup, or a forgery with a known key.
    Ahead(Session),
}

/// Decides a refresh. `presented` is the token's rotation; `account` was read in parallel with the write, strongly consistent.
///
/// The first row that fits decides; that the session is not live comes first, even if the write has passed.
#[must_use]
pub fn judge(
    account: Option<&Account>,
    attempt: RotationAttempt,
    presented: u64,
    now: DateTime<Utc>,
    grace: TimeDelta,
) -> RefreshVerdict {
    let (session, rotated) = match attempt {
        RotationAttempt::Rotated(session) => (session, true),
        RotationAttempt::Refused(Some(session)) => (session, false),
        RotationAttempt::Refused(None) => return RefreshVerdict::NotLive(None),
    };
    let liveness = account.map_or(Liveness::AccountNotActive, |account| {
        account.liveness(&session, now)
    });
    if liveness != Liveness::Live {
        return RefreshVerdict::NotLive(Some((session, liveness)));
    }
    if rotated {
        return RefreshVerdict::Rotated(session);
    }
    match session.rotation.checked_sub(presented) {
        None => RefreshVerdict::Ahead(session),
        // The session lives and the rotation is right, so the condition failed on the age.
        Some(0) => RefreshVerdict::NotDue(session),
        Some(1) if age(session.rotated_at, now) <= grace => RefreshVerdict::SameSuccessor(session),
        // Two rotations are further apart than the grace, so two ahead is proof enough at any age.
        Some(_) => RefreshVerdict::Reused(session),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::tests::account_of;
    use crate::session::tests::{noon, session};

    const GRACE: TimeDelta = TimeDelta::seconds(30);

    fn at_rotation(rotation: u64) -> Session {
        let mut session = session(1, noon());
        session.rotation = rotation;
        session
    }

    fn judge_refused(session: &Session, presented: u64, now: DateTime<Utc>) -> RefreshVerdict {
        let attempt = RotationAttempt::Refused(Some(session.clone()));
        judge(
            Some(&account_of(&[session])),
            attempt,
            presented,
            now,
            GRACE,
        )
    }

    #[test]
    fn a_condition_that_held_gives_the_successor() {
        let session = at_rotation(5);
        let attempt = RotationAttempt::Rotated(session.clone());
        let verdict = judge(Some(&account_of(&[&session])), attempt, 4, noon(), GRACE);
        assert_eq!(verdict, RefreshVerdict::Rotated(session));
    }

    #[test]
    fn a_session_that_is_not_live_ends_nothing_even_if_the_write_has_passed() {
        let session = at_rotation(5);
        for attempt in [
            RotationAttempt::Rotated(session.clone()),
            RotationAttempt::Refused(Some(session.clone())),
        ] {
            let revoked = account_of(&[]);
            let verdict = judge(Some(&revoked), attempt.clone(), 1, noon(), GRACE);
            let expected = RefreshVerdict::NotLive(Some((session.clone(), Liveness::NotAdmitted)));
            assert_eq!(verdict, expected);
            let verdict = judge(None, attempt, 1, noon(), GRACE);
            assert!(matches!(verdict, RefreshVerdict::NotLive(Some(_))));
        }
        assert_eq!(
            judge(None, RotationAttempt::Refused(None), 0, noon(), GRACE),
            RefreshVerdict::NotLive(None)
        );
        assert_eq!(
            judge_refused(&session, 1, session.expires_at()),
            RefreshVerdict::NotLive(Some((session.clone(), Liveness::IdleExpired)))
        );
    }

    #[test]
    fn the_direct_predecessor_gets_the_same_successor_until_the_grace_is_over() {
        let session = at_rotation(5);
        let same = RefreshVerdict::SameSuccessor(session.clone());
        let millisecond = TimeDelta::milliseconds(1);
        assert_eq!(judge_refused(&session, 4, noon()), same);
        assert_eq!(judge_refused(&session, 4, noon() + GRACE), same);
        assert_eq!(
            judge_refused(&session, 4, noon() + GRACE + millisecond),
            RefreshVerdict::Reused(session.clone())
        );
        // The winner's clock may be ahead of ours.
        assert_eq!(
            judge_refused(&session, 4, noon() - TimeDelta::hours(1)),
            same
        );
    }

    #[test]
    fn two_rotations_ahead_is_reuse_however_young_the_latest_is() {
        let session = at_rotation(5);
        for presented in [0, 3] {
            for after in [
                TimeDelta::hours(-1),
                TimeDelta::zero(),
                GRACE,
                TimeDelta::days(6),
            ] {
                assert_eq!(
                    judge_refused(&session, presented, noon() + after),
                    RefreshVerdict::Reused(session.clone())
                );
            }
        }
    }

    #[test]
    fn the_newest_token_comes_back_as_it_is_while_it_is_young() {
        let session = at_rotation(5);
        // The clock of the instance that rotated may be ahead of ours.
        for after in [TimeDelta::seconds(-5), TimeDelta::zero(), GRACE] {
            assert_eq!(
                judge_refused(&session, 5, noon() + after),
                RefreshVerdict::NotDue(session.clone())
            );
        }
    }

    #[test]
    fn a_token_ahead_of_the_item_is_never_a_reuse() {
        let session = at_rotation(5);
        for presented in [6, 7, u64::MAX] {
            assert_eq!(
                judge_refused(&session, presented, noon() + TimeDelta::hours(1)),
                RefreshVerdict::Ahead(session.clone())
            );
        }
    }
}
