//! The one way to change who is signed in, as the service has it: read, decide, write, and decide again.

use std::collections::BTreeSet;

use latchkey_domain::account::{Account, Change};
use latchkey_domain::id::SessionId;
use latchkey_domain::selection::ended_sessions_beyond;
use latchkey_domain::session::Session;

use super::wire::{Reading, Step, Stop, Wire};
use super::{Answer, Runner};
use crate::proof::interleavings::Mechanisms;
use crate::proof::interleavings::table::{AccountItem, Call, Met, Reply, Stamp, Write};

/// How many ended sessions the trim keeps. The service keeps 20; keeping none deletes at every chance.
const ENDED_SESSIONS_KEPT: usize = 0;

/// What a request wants to change: what an `Intent` of the service is there.
pub(super) struct IntentModel<'a, E> {
    pub(super) decide: &'a dyn Fn(&Reading) -> Result<Change, E>,
    pub(super) parts: &'a dyn Fn(&Reading, &Change) -> Vec<Write>,
    pub(super) new_session: Option<SessionId>,
    pub(super) is_fulfilled: &'a dyn Fn(&Change, Option<&AccountItem>) -> bool,
    pub(super) read_again: &'a dyn Fn(&mut Wire<'_>) -> Step<Reading>,
}

/// The service's default: what the first decision was to end has ended.
fn all_ended(first: &Change, account: Option<&AccountItem>) -> bool {
    let is_admitted = |id| account.is_some_and(|account| account.sessions.contains(id));
    !first.ended.is_empty() && !first.ended.iter().any(|(id, _)| is_admitted(id))
}

fn no_parts(_: &Reading, _: &Change) -> Vec<Write> {
    Vec::new()
}

/// `WriteOutcome` of the store.
enum Outcome {
    Written,
    Followed(AccountItem),
    Overtaken { was_written_before: bool },
}

/// What the account that a failed condition met says of the request's own write: `own_write`.
fn own_write(
    met: Option<&Met>,
    before: &AccountItem,
    stamp: Stamp,
    with: &Mechanisms,
) -> Option<Outcome> {
    let Some(Met::Account(found)) = met else {
        return None;
    };
    match found.version.checked_sub(before.version) {
        Some(1) if with.own_stamp && found.change == Some(stamp) => Some(Outcome::Written),
        Some(2) if with.previous_stamp && found.previous_change == Some(stamp) => {
            Some(Outcome::Followed(found.clone()))
        }
        Some(_) | None => None,
    }
}

impl Runner<'_> {
    /// `Service::change`, the one loop. Returns the change and what it was decided on, if this request has written it.
    pub(super) fn change<E>(
        &self,
        wire: &mut Wire<'_>,
        mut reading: Reading,
        intent: &IntentModel<'_, E>,
    ) -> Step<Result<Option<(Change, Reading)>, E>> {
        let mut first: Option<Change> = None;
        let mut was_written_before = false;
        loop {
            let before = reading.account.clone();
            let is_admitted = |id| before.as_ref().is_some_and(|it| it.sessions.contains(&id));
            if intent.new_session.is_some_and(is_admitted) {
                return Ok(Ok(None));
            }
            if was_written_before {
                return Err(Stop::Answered(Answer::Unavailable));
            }
            let change = match (intent.decide)(&reading) {
                Ok(change) => change,
                Err(refusal) => {
                    let fulfilled = first
                        .as_ref()
                        .is_some_and(|first| (intent.is_fulfilled)(first, before.as_ref()));
                    return Ok(if fulfilled { Ok(None) } else { Err(refusal) });
                }
            };
            let Some(before) = before else {
                return Ok(Ok(None));
            };
            let account = before.to_domain();
            let differs = change.account != account;
            if !(differs || self.with.fence && change.must_be_written(&account)) {
                return Ok(Ok(None));
            }
            let parts = (intent.parts)(&reading, &change);
            match self.write_change(wire, &before, &change, parts)? {
                Outcome::Written => return Ok(Ok(Some((change, reading)))),
                Outcome::Followed(account) => {
                    let admitted = |id| account.sessions.contains(&id);
                    return if intent.new_session.is_none_or(admitted) {
                        Ok(Ok(Some((change, reading))))
                    } else {
                        Err(Stop::Answered(Answer::Unavailable))
                    };
                }
                Outcome::Overtaken {
                    was_written_before: was,
                } => was_written_before = was,
            }
            first.get_or_insert(change);
            reading = (intent.read_again)(wire)?;
        }
    }

    /// `Service::change_account`.
    pub(super) fn change_account<E>(
        &self,
        wire: &mut Wire<'_>,
        account: Option<AccountItem>,
        decide: impl Fn(Option<Account>) -> Result<Change, E>,
    ) -> Step<Result<(), E>> {
        let of_account = |account| Reading {
            account,
            ..Reading::default()
        };
        let intent = IntentModel {
            decide: &|reading: &Reading| {
                decide(reading.account.as_ref().map(AccountItem::to_domain))
            },
            parts: &no_parts,
            new_session: None,
            is_fulfilled: &all_ended,
            read_again: &|wire: &mut Wire<'_>| Ok(of_account(wire.account()?)),
        };
        let changed = self.change(wire, of_account(account), &intent)?;
        Ok(changed.map(|_| ()))
    }

    /// `Store::write_change`: one update, or one transaction with the account as its first part.
    fn write_change(
        &self,
        wire: &mut Wire<'_>,
        before: &AccountItem,
        change: &Change,
        parts: Vec<Write>,
    ) -> Step<Outcome> {
        let after = before.followed_by(&change.account, self.stamp);
        let new_session = parts
            .iter()
            .position(|part| matches!(part, Write::NewSession(_)));
        let reply = if parts.is_empty() {
            loop {
                let update = Call::UpdateAccount {
                    before: before.clone(),
                    after: after.clone(),
                };
                match wire.call(update)? {
                    Reply::Conflict => {}
                    reply => break reply,
                }
            }
        } else {
            let account = Write::Account {
                before: before.clone(),
                after,
            };
            self.transact(wire, &[vec![account], parts].concat())?
        };
        match reply {
            Reply::Written(_) => Ok(Outcome::Written),
            Reply::ConditionFailed(failed) => {
                let met = failed.get(&0).and_then(Option::as_ref);
                if let Some(outcome) = own_write(met, before, self.stamp, self.with) {
                    return Ok(outcome);
                }
                let was_written_before =
                    new_session.is_some_and(|position| failed.contains_key(&(position + 1)));
                Ok(Outcome::Overtaken { was_written_before })
            }
            // Only without the mechanism of the same token.
            Reply::Conflict => Ok(Outcome::Overtaken {
                was_written_before: false,
            }),
            other => unreachable!("{other:?}"),
        }
    }

    /// `Store::trim_ended_sessions`.
    pub(super) fn trim(&self, wire: &mut Wire<'_>, change: &Change, known: &[Session]) -> Step<()> {
        let account = Some(&change.account);
        let ended = ended_sessions_beyond(account, known, self.process.now, ENDED_SESSIONS_KEPT);
        self.delete_sessions(wire, ended)
    }

    pub(super) fn with_unseen_sessions(
        &self,
        wire: &mut Wire<'_>,
        mut read: Reading,
    ) -> Step<Reading> {
        if let (Some(account), true) = (&read.account, self.with.lookups_of_unseen) {
            let seen: BTreeSet<SessionId> = read.sessions.iter().map(|found| found.id).collect();
            let unseen = account.sessions.difference(&seen);
            for reply in wire.join(unseen.map(|id| Call::GetSession(*id)).collect())? {
                if let Reply::Session(Some(item)) = reply {
                    read.sessions.push(item.to_domain());
                }
            }
        }
        Ok(read)
    }

    /// `Store::transact`. Without [`Mechanisms::same_token_after_conflict`] a conflict is handed to the caller.
    fn transact(&self, wire: &mut Wire<'_>, writes: &[Write]) -> Step<Reply> {
        let token = wire.token(self.stamp);
        loop {
            let reply = wire.call(Call::Transact {
                token,
                writes: writes.to_vec(),
            })?;
            if reply != Reply::Conflict || !self.with.same_token_after_conflict {
                return Ok(reply);
            }
        }
    }

    /// `Store::delete_sessions`: a batch, whose deletes are made in any order.
    pub(super) fn delete_sessions(
        &self,
        wire: &mut Wire<'_>,
        sessions: Vec<SessionId>,
    ) -> Step<()> {
        wire.join(sessions.into_iter().map(Call::DeleteSession).collect())
            .map(|_| ())
    }
}
