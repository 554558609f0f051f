//! What the password is asked for again: its change, the proof that the user is there, the account's deletion.

use latchkey_domain::account::{Account, Change};
use latchkey_domain::error::CallerNotLive;
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::session::idle_expiry;

use super::change::IntentModel;
use super::wire::{Reading, Step, Wire, refuse};
use super::{Answer, CALLER_NOT_LIVE, Claims, Runner};
use crate::proof::interleavings::table::{
    AccountItem, Call, CredentialItem, Reply, SessionItem, Status, Write,
};

impl Runner<'_> {
    /// `Service::read_own_account`.
    fn read_own_account(&self, wire: &mut Wire<'_>) -> Step<Reading> {
        let mut reading = wire.query(None)?;
        let has_credential = |account: &AccountItem| account.status != Status::Deleted;
        if reading.account.as_ref().is_some_and(has_credential) {
            reading.credential = wire.credential(reading.address())?;
        }
        Ok(reading)
    }

    /// `Reading::find_own` and `Reading::own_as_verified` of the account's use cases.
    fn own(
        &self,
        reading: &Reading,
        caller: SessionId,
        verified: Option<u64>,
    ) -> Result<(Account, CredentialItem), CallerNotLive> {
        let session = reading.sessions.iter().find(|found| found.id == caller);
        let (Some(account), Some(session), Some(credential)) =
            (&reading.account, session, &reading.credential)
        else {
            return Err(CallerNotLive);
        };
        let account = account.to_domain();
        let belongs = account.is_live(session, self.process.now)
            && credential.password_version == account.password_version
            && verified.is_none_or(|verified| verified == credential.password_version);
        if belongs {
            Ok((account, credential.clone()))
        } else {
            Err(CallerNotLive)
        }
    }

    /// `Service::change_password`, without the count of attempts.
    pub(super) fn change_password(
        &self,
        wire: &mut Wire<'_>,
        caller: SessionId,
        successor: SessionId,
        current: u8,
        new: u8,
    ) -> Step<Answer> {
        let reading = self.read_own_account(wire)?;
        let Ok((_, credential)) = self.own(&reading, caller, None) else {
            return refuse(CALLER_NOT_LIVE);
        };
        if credential.password != current {
            return refuse("wrong password");
        }
        let verified = Some(credential.password_version);
        let intent = IntentModel {
            decide: &|reading: &Reading| {
                let (account, _) = self.own(reading, caller, verified)?;
                account.change_password(caller, successor)
            },
            parts: &|reading: &Reading, change: &Change| {
                let mut parts = vec![
                    Write::NewSession(SessionItem::begin(successor, self.process.now)),
                    Write::NoSession(caller),
                ];
                parts.extend(
                    reading
                        .credential
                        .clone()
                        .map(|verified| Write::Credential {
                            verified,
                            after: CredentialItem {
                                password: new,
                                outdated: false,
                                password_version: change.account.password_version,
                                address: change.account.email_version,
                            },
                        }),
                );
                parts
            },
            new_session: Some(successor),
            is_fulfilled: &|_: &Change, _: Option<&AccountItem>| false,
            read_again: &|wire: &mut Wire<'_>| self.read_own_account(wire),
        };
        match self.change(wire, reading, &intent)? {
            Ok(written) => {
                if let Some((change, mut reading)) = written {
                    reading.sessions.retain(|found| found.id != caller);
                    self.trim(wire, &change, &reading.sessions)?;
                }
                Ok(Answer::SignedIn(successor))
            }
            Err(CallerNotLive) => refuse(CALLER_NOT_LIVE),
        }
    }

    /// `Service::reauthenticate`, with `Store::reauthenticate`, without the count of attempts.
    pub(super) fn reauthenticate(
        &self,
        wire: &mut Wire<'_>,
        caller: SessionId,
        password: u8,
    ) -> Step<Answer> {
        let now = self.process.now;
        let policy = SessionPolicy::default();
        let reading = self.read_own_account(wire)?;
        let Ok((_, credential)) = self.own(&reading, caller, None) else {
            return refuse(CALLER_NOT_LIVE);
        };
        if credential.password != password {
            return refuse("wrong password");
        }
        let Some(session) = reading.sessions.iter().find(|found| found.id == caller) else {
            return refuse(CALLER_NOT_LIVE);
        };
        let prove = Call::Prove {
            session: caller,
            now,
        };
        let rotate = session.is_rotation_due(now, &policy).then(|| Call::Rotate {
            session: caller,
            presented: session.rotation,
            now,
            due: now - policy.rotation_interval(),
            idle_expires_at: idle_expiry(now, &policy),
        });
        let first = rotate.unwrap_or_else(|| prove.clone());
        let (written, account) = loop {
            let replies = wire.join(vec![first.clone(), Call::GetAccount])?;
            let [written, Reply::Account(account)] = replies.as_slice() else {
                unreachable!("{replies:?}")
            };
            if *written != Reply::Conflict {
                break (written.clone(), account.clone());
            }
        };
        let mut written = written;
        while let (Reply::RotationRefused(_) | Reply::Conflict, Call::Rotate { .. }) =
            (&written, &first)
        {
            written = wire.call(prove.clone())?;
            if let Reply::RotationRefused(_) = written {
                break;
            }
        }
        let Reply::Written(Some(item)) = written else {
            return refuse(CALLER_NOT_LIVE);
        };
        let session = item.to_domain();
        let is_live = account.is_some_and(|account| account.to_domain().is_live(&session, now));
        if is_live || !self.with.set_check_at_refresh {
            Ok(Answer::Reauthenticated(Claims::of(&session)))
        } else {
            refuse(CALLER_NOT_LIVE)
        }
    }

    /// `Service::delete_account`, with `Store::finish_deletion`.
    pub(super) fn delete(
        &self,
        wire: &mut Wire<'_>,
        caller: SessionId,
        password: u8,
    ) -> Step<Answer> {
        let reading = self.read_own_account(wire)?;
        let Ok((_, credential)) = self.own(&reading, caller, None) else {
            return refuse(CALLER_NOT_LIVE);
        };
        if credential.password != password {
            return refuse("wrong password");
        }
        let verified = Some(credential.password_version);
        let intent = IntentModel {
            decide: &|reading: &Reading| {
                let (account, _) = self.own(reading, caller, verified)?;
                account.delete(caller, self.process.now)
            },
            parts: &|reading: &Reading, _: &Change| {
                let verified = reading.credential.clone();
                let part = verified.map(|verified| Write::NoCredential { verified });
                part.into_iter().collect()
            },
            new_session: None,
            is_fulfilled: &|_: &Change, account: Option<&AccountItem>| {
                account.is_none_or(|account| account.status == Status::Deleted)
            },
            read_again: &|wire: &mut Wire<'_>| self.read_own_account(wire),
        };
        match self.change(wire, reading, &intent)? {
            Ok(_) => {
                self.finish_deletion(wire)?;
                Ok(Answer::Done)
            }
            Err(CallerNotLive) => refuse(CALLER_NOT_LIVE),
        }
    }

    fn finish_deletion(&self, wire: &mut Wire<'_>) -> Step<()> {
        let read = wire.query(None)?;
        if read
            .account
            .is_some_and(|account| account.status == Status::Deleted)
        {
            let sessions = read.sessions.iter().map(|item| item.id).collect();
            self.delete_sessions(wire, sessions)?;
            wire.call(Call::DeleteDeletedAccount)?;
        }
        Ok(())
    }
}
