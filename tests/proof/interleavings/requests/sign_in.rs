//! The sign-in.

use latchkey_domain::account::Change;
use latchkey_domain::error::AdmitError;
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;

use super::change::IntentModel;
use super::wire::{Reading, Step, Stop, Wire, refuse};
use super::{Answer, Runner};
use crate::proof::interleavings::table::{AccountItem, CredentialItem, SessionItem, Write};

/// How often a sign-in reads again: `ATTEMPTS` of the sign-in.
const SIGN_IN_ATTEMPTS: u32 = 3;

impl Runner<'_> {
    /// `Service::sign_in`.
    pub(super) fn sign_in(
        &self,
        wire: &mut Wire<'_>,
        new: SessionId,
        password: u8,
    ) -> Step<Answer> {
        let now = self.process.now;
        for _ in 1..=SIGN_IN_ATTEMPTS {
            // The address is the one that was typed: the account's at the beginning.
            let Some(credential) = wire.credential(0)? else {
                return refuse("invalid credentials");
            };
            let partition = wire.query(None)?;
            if credential.password != password {
                return refuse("invalid credentials");
            }
            let reading = self.with_unseen_sessions(wire, partition)?;
            let intent = IntentModel {
                decide: &|reading: &Reading| self.admit(reading, new, &credential),
                parts: &|reading: &Reading, _: &Change| {
                    let mut parts = vec![Write::NewSession(SessionItem::begin(new, now))];
                    if credential.outdated {
                        parts.push(Write::Credential {
                            verified: credential.clone(),
                            after: CredentialItem {
                                outdated: false,
                                address: reading.address(),
                                ..credential.clone()
                            },
                        });
                    }
                    parts
                },
                new_session: Some(new),
                is_fulfilled: &|_: &Change, _: Option<&AccountItem>| false,
                read_again: &|wire: &mut Wire<'_>| {
                    let partition = wire.query(None)?;
                    self.with_unseen_sessions(wire, partition)
                },
            };
            match self.change(wire, reading, &intent)? {
                Ok(written) => {
                    if let Some((change, reading)) = written {
                        self.trim(wire, &change, &reading.sessions)?;
                    }
                    return Ok(Answer::SignedIn(new));
                }
                Err(AdmitError::Disabled) => return refuse("disabled"),
                // The policy of the model asks for no verified address.
                Err(AdmitError::EmailNotVerified) => return refuse("email_not_verified"),
                Err(AdmitError::OtherPassword | AdmitError::Deleted) => {}
            }
        }
        Err(Stop::Answered(Answer::Unavailable))
    }

    /// The decision of a sign-in.
    fn admit(
        &self,
        reading: &Reading,
        new: SessionId,
        credential: &CredentialItem,
    ) -> Result<Change, AdmitError> {
        let now = self.process.now;
        let account = reading.account.as_ref().ok_or(AdmitError::Deleted)?;
        let version = if self.with.password_version_tie {
            credential.password_version
        } else {
            account.password_version
        };
        let policy = SessionPolicy {
            max_sessions: self.limit,
            ..SessionPolicy::default()
        };
        let session = SessionItem::begin(new, now).to_domain();
        let account = account.to_domain();
        account.admit(&session, version, &reading.sessions, now, &policy)
    }
}
