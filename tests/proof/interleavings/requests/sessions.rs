//! What a session is asked for: its refresh, its end, the end of others, the removal of what has ended.

use chrono::TimeDelta;
use latchkey_domain::account::Account;
use latchkey_domain::cause::EndReason;
use latchkey_domain::clock::age;
use latchkey_domain::error::{CallerNotLive, SessionError};
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::refresh::{RefreshVerdict, RotationAttempt, judge};
use latchkey_domain::selection::ended_sessions_beyond;
use latchkey_domain::session::idle_expiry;

use super::wire::{Step, Wire, refuse};
use super::{Answer, CALLER_NOT_LIVE, Claims, Runner};
use crate::proof::interleavings::table::{AccountItem, Call, Reply};

impl Runner<'_> {
    /// `Service::refresh`, with `Store::rotate`.
    pub(super) fn refresh(
        &self,
        wire: &mut Wire<'_>,
        session: SessionId,
        presented: u64,
    ) -> Step<Answer> {
        let now = self.process.now;
        let policy = SessionPolicy::default();
        let rotate = Call::Rotate {
            session,
            presented,
            now,
            due: now - policy.rotation_interval(),
            idle_expires_at: idle_expiry(now, &policy),
        };
        let (attempt, account) = loop {
            let mut replies = wire
                .join(vec![rotate.clone(), Call::GetAccount])?
                .into_iter();
            let (rotation, account) = (replies.next(), replies.next());
            let Some(Reply::Account(account)) = account else {
                unreachable!("{account:?}")
            };
            match rotation {
                Some(Reply::Written(Some(item))) => {
                    break (RotationAttempt::Rotated(item.to_domain()), account);
                }
                Some(Reply::RotationRefused(found)) => {
                    let found = found.map(|item| item.to_domain());
                    break (RotationAttempt::Refused(found), account);
                }
                // The store tries the update alone again; reading the account again is no different.
                Some(Reply::Conflict) => {}
                other => unreachable!("{other:?}"),
            }
        };
        let mut asked = account.as_ref().map(AccountItem::to_domain);
        if let (Some(account), false) = (&mut asked, self.with.set_check_at_refresh) {
            account.sessions.insert(session);
        }
        let grace = if self.with.grace {
            policy.refresh_grace
        } else {
            TimeDelta::seconds(-1)
        };
        match judge(asked.as_ref(), attempt, presented, now, grace) {
            RefreshVerdict::Rotated(found) | RefreshVerdict::SameSuccessor(found) => {
                Ok(Answer::Refreshed(Claims::of(&found)))
            }
            RefreshVerdict::NotDue(found) => Ok(Answer::NotDue(Claims::of(&found))),
            RefreshVerdict::Reused(found)
                if !self.with.two_ahead_is_reuse
                    && found.rotation > presented + 1
                    && age(found.rotated_at, now) <= grace =>
            {
                refuse("a slow tab")
            }
            RefreshVerdict::Reused(_) => {
                let ended = self.change_account(wire, account, |account| {
                    let account = account.ok_or("invalid")?;
                    Ok(account.end_one(session, EndReason::TokenReuse))
                })?;
                Ok(ended.map_or_else(Answer::Refused, |()| Answer::Reused))
            }
            RefreshVerdict::NotLive(_) | RefreshVerdict::Ahead(_) => Ok(Answer::Refused("invalid")),
        }
    }

    /// `Service::revoke`.
    pub(super) fn revoke(
        &self,
        wire: &mut Wire<'_>,
        caller: SessionId,
        target: SessionId,
    ) -> Step<Answer> {
        let (read, not_live) = if caller == target {
            (wire.account()?, false)
        } else {
            let read = wire.query(Some(target))?;
            let mut described = read.sessions.into_iter().find(|found| found.id == target);
            let admits = |account: &AccountItem| account.sessions.contains(&target);
            let admitted = read.account.as_ref().is_some_and(admits);
            if let (None, true, true) = (&described, admitted, self.with.lookups_of_unseen)
                && let Reply::Session(found) = wire.call(Call::GetSession(target))?
            {
                described = found.map(|item| item.to_domain());
            }
            let account = read.account.as_ref().map(AccountItem::to_domain);
            let is_live = account
                .zip(described)
                .is_some_and(|(account, session)| account.is_live(&session, self.process.now));
            (read.account, !is_live)
        };
        let ended = self.change_account(wire, read, |account| {
            let account = account.ok_or(CallerNotLive)?;
            account.authorize(caller)?;
            if not_live {
                return Err(SessionError::NotFound);
            }
            account.revoke(caller, target)
        })?;
        Ok(match ended {
            Ok(_) => Answer::Done,
            Err(SessionError::CallerNotLive) => Answer::Refused(CALLER_NOT_LIVE),
            Err(SessionError::NotFound) => Answer::Refused("not found"),
            Err(SessionError::ReauthenticationRequired(_)) => unreachable!("nothing asks for it"),
        })
    }

    /// `Service::revoke_all`.
    pub(super) fn revoke_all(
        &self,
        wire: &mut Wire<'_>,
        caller: SessionId,
        keep_current: bool,
    ) -> Step<Answer> {
        let read = wire.query(None)?;
        let ended = self.change_account(wire, read.account, |account| {
            account
                .ok_or(CallerNotLive)?
                .revoke_all(caller, keep_current)
        })?;
        Ok(ended.map_or(Answer::Refused(CALLER_NOT_LIVE), |()| Answer::Done))
    }

    /// `Service::sign_out`.
    pub(super) fn logout(&self, wire: &mut Wire<'_>, session: SessionId) -> Step<Answer> {
        let read = wire.account()?;
        let _ = self.change_account(wire, read, |account| {
            Ok::<_, CallerNotLive>(
                account
                    .ok_or(CallerNotLive)?
                    .end_one(session, EndReason::LoggedOut),
            )
        })?;
        Ok(Answer::Done)
    }

    /// Disabling, as administration does it: `Service::change_account` with the domain's `disable`.
    pub(super) fn disable(&self, wire: &mut Wire<'_>) -> Step<Answer> {
        let read = wire.account()?;
        let ended = self.change_account(wire, read, |account| {
            account.map(Account::disable).ok_or("not found")
        })?;
        Ok(ended.map_or_else(Answer::Refused, |()| Answer::Done))
    }

    /// `Service::purge_ended_sessions`, with `Store::purge_ended_sessions`.
    pub(super) fn purge(&self, wire: &mut Wire<'_>, caller: SessionId) -> Step<Answer> {
        let read = wire.query(None)?;
        let known = read.sessions;
        let authorized = read
            .account
            .as_ref()
            .map(|account| account.to_domain().authorize(caller));
        if authorized != Some(Ok(())) {
            return refuse(CALLER_NOT_LIVE);
        }
        let judge = if self.with.account_read_after_items {
            wire.account()?
        } else {
            read.account
        };
        let judge = judge.as_ref().map(AccountItem::to_domain);
        let ended = ended_sessions_beyond(judge.as_ref(), &known, self.process.now, 0);
        let (expired, gone): (Vec<SessionId>, Vec<SessionId>) = ended.into_iter().partition(|id| {
            self.with.purge_condition
                && judge
                    .as_ref()
                    .is_some_and(|account| account.sessions.contains(id))
        });
        self.delete_sessions(wire, gone)?;
        for session in known.iter().filter(|session| expired.contains(&session.id)) {
            wire.call(Call::DeleteSessionUnlessRefreshed {
                id: session.id,
                rotation: session.rotation,
            })?;
        }
        Ok(Answer::Done)
    }
}
