//! What opens a link: another password, or another address.

use latchkey_domain::account::{Account, Change};
use latchkey_domain::error::InvalidLink;
use latchkey_domain::id::SessionId;
use latchkey_domain::session::Session;
use latchkey_domain::token::EmailChange;

use super::change::IntentModel;
use super::wire::{Reading, Step, Wire, refuse};
use super::{Answer, Runner};
use crate::proof::interleavings::table::{
    AccountItem, Call, CredentialItem, Reply, SessionItem, Status, Write, address,
};

const INVALID_LINK: &str = "invalid link";

impl Runner<'_> {
    /// `Service::reset_password`, without limits, of a link that was made for the first address.
    pub(super) fn reset_password(
        &self,
        wire: &mut Wire<'_>,
        password_version: u64,
        new: u8,
    ) -> Step<Answer> {
        let read = |wire: &mut Wire<'_>| {
            let replies = wire.join(vec![Call::GetAccount, Call::GetCredential(0)])?;
            let [Reply::Account(account), Reply::Credential(credential)] = replies.as_slice()
            else {
                unreachable!("{replies:?}")
            };
            Ok(to_recover(account.clone(), credential.clone()))
        };
        let decide = |reading: &Reading| {
            let account = account_with_credential(reading)?;
            let named = match self.with.reset_names_password {
                true => password_version,
                false => account.password_version,
            };
            account.reset_password(&address(0), named, self.process.now)
        };
        let parts = |reading: &Reading, change: &Change| {
            let verified = reading.credential.clone();
            let part = verified.map(|verified| Write::Credential {
                after: CredentialItem {
                    password: new,
                    outdated: false,
                    password_version: change.account.password_version,
                    address: change.account.email_version,
                },
                verified,
            });
            part.into_iter().collect()
        };
        self.open(wire, &decide, &parts, &read)
    }

    /// `Service::verify_email` of a link to the second address.
    pub(super) fn change_email(&self, wire: &mut Wire<'_>, session_id: SessionId) -> Step<Answer> {
        let read = |wire: &mut Wire<'_>| {
            let replies = wire.join(vec![Call::GetAccount, Call::GetSession(session_id)])?;
            let [Reply::Account(account), Reply::Session(session)] = replies.as_slice() else {
                unreachable!("{replies:?}")
            };
            let (account, session) = (account.clone(), session.as_ref());
            let has_credential = |account: &&AccountItem| account.status != Status::Deleted;
            let credential = match account.as_ref().filter(has_credential) {
                Some(account) => wire.credential(account.email_version)?,
                None => None,
            };
            Ok(Reading {
                sessions: session.map(SessionItem::to_domain).into_iter().collect(),
                ..to_recover(account, credential)
            })
        };
        let decide = |reading: &Reading| {
            let account = account_with_credential(reading)?;
            let any = account.sessions.first().copied();
            let session_id = match self.with.change_names_session {
                true => session_id,
                false => any.unwrap_or(session_id),
            };
            let asked = EmailChange {
                email: address(1),
                email_version: 0,
                session_id,
            };
            let asked_on = reading.sessions.first().map(|session| Session {
                id: session_id,
                ..session.clone()
            });
            account.change_email(&asked, asked_on.as_ref(), self.process.now)
        };
        let parts = |reading: &Reading, change: &Change| {
            let Some(verified) = reading.credential.clone() else {
                return Vec::new();
            };
            let moved = CredentialItem {
                address: change.account.email_version,
                ..verified.clone()
            };
            vec![
                Write::NoCredential { verified },
                Write::NewCredential(moved),
            ]
        };
        self.open(wire, &decide, &parts, &read)
    }

    /// `OpenedLink`.
    fn open(
        &self,
        wire: &mut Wire<'_>,
        decide: &dyn Fn(&Reading) -> Result<Change, InvalidLink>,
        parts: &dyn Fn(&Reading, &Change) -> Vec<Write>,
        read: &dyn Fn(&mut Wire<'_>) -> Step<Reading>,
    ) -> Step<Answer> {
        let reading = read(wire)?;
        if decide(&reading).is_err() {
            return refuse(INVALID_LINK);
        }
        let intent = IntentModel {
            decide,
            parts,
            new_session: None,
            is_fulfilled: &|_: &Change, _: Option<&AccountItem>| false,
            read_again: read,
        };
        match self.change(wire, reading, &intent)? {
            Ok(_) => Ok(Answer::Done),
            Err(InvalidLink) => refuse(INVALID_LINK),
        }
    }
}

/// A credential of another password than the account's is not the one that a link changes.
fn to_recover(account: Option<AccountItem>, credential: Option<CredentialItem>) -> Reading {
    let version = account.as_ref().map(|account| account.password_version);
    Reading {
        credential: credential.filter(|found| Some(found.password_version) == version),
        account,
        ..Reading::default()
    }
}

fn account_with_credential(reading: &Reading) -> Result<Account, InvalidLink> {
    reading.credential.as_ref().ok_or(InvalidLink)?;
    let account = reading.account.as_ref().ok_or(InvalidLink)?;
    Ok(account.to_domain())
}
