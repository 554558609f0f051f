//! What is kept of a user beyond a round: what was told of them, and what may count against them.

use std::collections::{BTreeMap, BTreeSet};

use latchkey_domain::cause::EndReason;
use latchkey_domain::event::{Event as DomainEvent, Occurrence};
use latchkey_domain::id::SessionId;

use super::history::{Event, Guesser};

/// The ids of an event's deliveries: one, however often it is delivered.
pub(crate) type Ids = BTreeSet<String>;

/// The events of one user, as far as the judge compares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) created: BTreeMap<SessionId, Ids>,
    pub(crate) ended: BTreeMap<SessionId, BTreeMap<String, EndReason>>,
    pub(crate) proofs: Ids,
}

impl Told {
    /// Adds an event that was delivered.
    pub(crate) fn add(&mut self, event: &DomainEvent) {
        let id = event.id.to_string();
        match &event.occurrence {
            Occurrence::SessionCreated(session) => {
                self.created
                    .entry(session.session_id)
                    .or_default()
                    .insert(id);
            }
            Occurrence::SessionEnded {
                session_id, reason, ..
            } => {
                self.ended
                    .entry(*session_id)
                    .or_default()
                    .insert(id, *reason);
            }
            Occurrence::UserReauthenticated { .. } => {
                self.proofs.insert(id);
            }
            _ => {}
        }
    }
}

/// What counts beyond a round.
#[derive(Clone, Debug, Default)]
pub(crate) struct Earlier {
    /// The sign-ins that may count as failures, of clients with a device token.
    pub(crate) failures_of_devices: usize,
    /// The same, of clients without one.
    pub(crate) failures_of_strangers: usize,
    /// The passwords on a session that may count as wrong.
    pub(crate) wrong_passwords: BTreeMap<SessionId, usize>,
    /// The events of sessions that were told.
    pub(crate) told: Told,
}

impl Earlier {
    /// Adds what a round leaves behind.
    pub(crate) fn add(&mut self, events: &[Event], told: Told) {
        for event in events {
            match event.may_count_as_failure() {
                Some(Guesser::KnownDevice) => self.failures_of_devices += 1,
                Some(Guesser::NewDevice | Guesser::Stranger) => self.failures_of_strangers += 1,
                None => {}
            }
            if let Some(by) = event.op.by().filter(|_| event.may_count_as_wrong()) {
                *self.wrong_passwords.entry(by.session).or_default() += 1;
            }
        }
        self.told = told;
    }
}
