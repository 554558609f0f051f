//! A user of the storm: what its clients know together, and what was noted of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use latchkey_domain::clock::Clock as _;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::{Password, WorkingMemory, verify};
use latchkey_store::Store;

use super::clock::LeapingClock;
use super::earlier::Earlier;
use super::history::{Event, StoredSession, StoredUser};

/// One account, from its registration to its deletion.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) email: String,
    known: Mutex<Known>,
}

/// What is known of it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) user: Option<UserId>,
    /// That may be the current one, the newest first.
    pub(crate) passwords: Vec<String>,
    /// Sessions that may be live.
    pub(crate) sessions: Vec<SessionId>,
    /// It was, or may have been, deleted.
    pub(crate) leaving: bool,
    pub(crate) registered: bool,
    /// What earlier rounds have left behind that no item of the table tells here.
    pub(crate) earlier: Earlier,
    /// The requests of this round.
    pub(crate) events: Vec<Event>,
    /// What the table held after the last round.
    pub(crate) before: Option<StoredUser>,
}

/// The people behind one address: when the account is deleted, they make another one.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) name: usize,
    /// How many clients they have.
    pub(crate) clients: usize,
    pub(crate) accounts: Mutex<Vec<Arc<User>>>,
    pub(crate) registering: tokio::sync::Mutex<()>,
}

/// Nothing panics under these locks, and none is held across an await.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl User {
    pub(crate) fn new(people: usize, number: usize) -> Self {
        Self {
            email: format!("user{people}.{number}@example.com"),
            known: Mutex::new(Known {
                passwords: vec![format!("first password of {people} {number}")],
                ..Known::default()
            }),
        }
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    /// What the table holds of it, and which of the passwords fits.
    pub(crate) async fn stored(
        &self,
        store: &Store,
        clock: &LeapingClock,
    ) -> Result<Option<StoredUser>, StoreError> {
        let Ok(email) = EmailAddress::parse(&self.email) else {
            return Ok(None);
        };
        let Some(credential) = store.read_credential(&email).await? else {
            return Ok(None);
        };
        let read = store
            .read_partition(credential.user_id, clock.now())
            .await?;
        let Some(account) = read.account.filter(|account| account.email().is_some()) else {
            return Ok(None);
        };
        let passwords = {
            let known = self.known();
            let unchanged = known.passwords.len() == 1
                && known
                    .before
                    .as_ref()
                    .is_some_and(|before| before.password.is_some());
            // Each costs some 15 ms.
            match unchanged {
                true => None,
                false => Some(known.passwords.clone()),
            }
        };
        let password = match passwords {
            None => self.known().passwords.first().cloned(),
            Some(passwords) => passwords.into_iter().find(|password| {
                let password = Password::new(password.clone());
                let memory = &mut WorkingMemory::default();
                verify(&password, &credential.password_hash, memory).unwrap_or(false)
            }),
        };
        let sessions = read.sessions.into_iter().map(|session| {
            let stored = StoredSession {
                rotation: session.rotation,
                rotated_at: session.rotated_at.timestamp_micros(),
                created_at: session.created_at.timestamp_micros(),
                last_used_at: session.last_used_at.timestamp_micros(),
                idle_end: session.idle_expires_at.timestamp_micros(),
                absolute_end: session.absolute_expires_at.timestamp_micros(),
                authenticated_at: session.authenticated_at.timestamp_micros(),
                name: session.name,
            };
            (session.id, stored)
        });
        Ok(Some(StoredUser {
            user: account.id,
            version: account.version,
            active: account.is_active(),
            password,
            admitted: account.sessions.iter().copied().collect(),
            sessions: sessions.collect(),
        }))
    }
}

impl People {
    pub(crate) fn new(name: usize, clients: usize) -> Self {
        Self {
            name,
            clients,
            accounts: Mutex::new(vec![Arc::new(User::new(name, 0))]),
            registering: tokio::sync::Mutex::default(),
        }
    }

    /// The account that they use now.
    pub(crate) fn user(&self) -> Arc<User> {
        let mut accounts = lock(&self.accounts);
        let number = accounts.len();
        let last = accounts.last().map(Arc::clone);
        match last {
            Some(user) if !user.known().leaving => user,
            _ => {
                let user = Arc::new(User::new(self.name, number));
                accounts.push(Arc::clone(&user));
                user
            }
        }
    }
}
