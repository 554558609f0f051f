//! Hashing of passwords on tokio's blocking threads: at most as many at once as there are cores, a bounded number waiting.
//!
//! A hash takes a core for some milliseconds and 19 MiB; one that another system has made takes up to three seconds and
//! 128 MiB. Without a bound, a flood of sign-ins would take all memory and starve every refresh in the same process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use latchkey_domain::id::UserId;
use latchkey_domain::password::{
    self, Password, PasswordHash, PasswordHashError, WorkingMemory, decoy,
};
use latchkey_domain::random::{RandomSource, sixteen_bytes};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::metric::PASSWORD_QUEUE_FULL;

/// How many may wait for each one that runs: less than a second of waiting.
const WAITING_FOR_EACH_THREAD: usize = 64;

/// Why a password was not hashed. The cause is logged where it is noticed and holds no password and no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordsError {
    /// Every place is taken: try again in a second.
    #[error("too many passwords are waiting to be hashed")]
    Busy,
    /// The hash could not be computed: no memory, or a mistake in this code.
    #[error("a password could not be hashed or verified")]
    HashingFailed,
}

/// What a stored hash says of a password.
enum Verdict {
    Matches(bool),
    /// The hash cannot be read, or asks for too much work.
    Unusable(PasswordHashError),
}

/// Where passwords are hashed. All clones share its places. To hash, [reserve](Passwords::reserve) a place.
#[derive(Clone, Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
    /// One permit for each hash that may run at once; none when hashing runs on the caller's thread.
    threads: Option<Arc<Semaphore>>,
    /// The working memory of hashes that do not run: no more than can run at once.
    memory: Arc<Mutex<Vec<WorkingMemory>>>,
    jobs_done: Arc<AtomicU64>,
}

/// A place among those whose passwords are being hashed or wait for it: the only way to hash, one password at a time.
///
/// The place is free again when this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Place {
    passwords: Passwords,
    _permit: OwnedSemaphorePermit,
}

impl Passwords {
    /// Hashes as many passwords at once as there are cores.
    #[must_use]
    pub fn for_this_machine() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::new(cores, cores * WAITING_FOR_EACH_THREAD)
    }

    /// Hashes on `threads` threads, with room for `waiting` more passwords.
    ///
    /// With 0 threads, hashing runs on the caller's thread and every caller finds a place. Tests need this: they pause
    /// tokio's clock, and the order of what happens must not depend on another thread.
    #[must_use]
    pub fn new(threads: usize, waiting: usize) -> Self {
        let places = match threads {
            0 => Semaphore::MAX_PERMITS,
            _ => threads + waiting,
        };
        Self {
            places: Arc::new(Semaphore::new(places)),
            threads: (threads > 0).then(|| Arc::new(Semaphore::new(threads))),
            memory: Arc::default(),
            jobs_done: Arc::default(),
        }
    }

    /// Takes a place for a request that will hash.
    ///
    /// Reserve it before anything is read for the request: in a flood most requests are refused, and reads for them would
    /// delay those that are not.
    ///
    /// # Errors
    /// [`PasswordsError::Busy`] when every place is taken.
    pub fn reserve(&self) -> Result<Place, PasswordsError> {
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            tracing::warn!("too many passwords are waiting to be hashed");
            metrics::counter!(PASSWORD_QUEUE_FULL).increment(1);
            return Err(PasswordsError::Busy);
        };
        Ok(Place {
            passwords: self.clone(),
            _permit: permit,
        })
    }

    /// How many passwords were hashed or verified since the start.
    #[must_use]
    pub fn jobs_done(&self) -> u64 {
        self.jobs_done.load(Ordering::Relaxed)
    }

    /// Does the work on this thread, with memory that is kept for the next.
    fn work<T>(&self, work: impl FnOnce(&mut WorkingMemory) -> T) -> T {
        self.jobs_done.fetch_add(1, Ordering::Relaxed);
        let kept = || self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = kept().pop().unwrap_or_default();
        let result = work(&mut memory);
        kept().push(memory);
        result
    }
}

impl Place {
    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// [`PasswordsError::HashingFailed`].
    pub async fn hash(
        &mut self,
        password: &Arc<Password>,
        random: &dyn RandomSource,
    ) -> Result<PasswordHash, PasswordsError> {
        let salt = sixteen_bytes(random);
        let password = Arc::clone(password);
        self.run(move |memory| password::hash(&password, salt, memory))
            .await
    }

    /// Says whether a password belongs to the hash that is stored for a user.
    ///
    /// A hash that cannot be used matches no password, after the work of a wrong one, and the log says whose it is. An
    /// error in the reply would tell a stranger that the address has an account.
    ///
    /// # Errors
    /// [`PasswordsError::HashingFailed`].
    pub async fn verify(
        &mut self,
        password: &Arc<Password>,
        hash: &PasswordHash,
        user_id: UserId,
    ) -> Result<bool, PasswordsError> {
        let (password, hash) = (Arc::clone(password), hash.clone());
        let verdict = self.run(move |memory| judge(&password, &hash, memory));
        match verdict.await? {
            Verdict::Matches(matches) => Ok(matches),
            Verdict::Unusable(reason) => {
                tracing::error!(%user_id, reason = reason.to_string(), "a stored password hash cannot be used");
                Ok(false)
            }
        }
    }

    async fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut WorkingMemory) -> Result<T, PasswordHashError> + Send + 'static,
    ) -> Result<T, PasswordsError> {
        let passwords = self.passwords.clone();
        let result = match &self.passwords.threads {
            None => passwords.work(work),
            Some(threads) => {
                let running = Arc::clone(threads).acquire_owned().await;
                let job = spawn_blocking(move || {
                    // The job holds its permit: when the caller hangs up, the job still runs to its end.
                    let _running = running;
                    passwords.work(work)
                });
                job.await.map_err(|_| {
                    tracing::error!("hashing a password panicked");
                    PasswordsError::HashingFailed
                })?
            }
        };
        result.map_err(|error| {
            tracing::error!(%error, "a password could not be hashed or verified");
            PasswordsError::HashingFailed
        })
    }
}

fn judge(
    password: &Password,
    hash: &PasswordHash,
    memory: &mut WorkingMemory,
) -> Result<Verdict, PasswordHashError> {
    match password::verify(password, hash, memory) {
        Err(reason @ (PasswordHashError::Malformed | PasswordHashError::Unsupported)) => {
            password::verify(password, decoy(), memory)?;
            Ok(Verdict::Unusable(reason))
        }
        matches => matches.map(Verdict::Matches),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;
    use std::time::Duration;

    use latchkey_domain::random::SeededRandom;

    use super::*;

    fn a_password() -> Arc<Password> {
        Arc::new(Password::new("correct horse battery staple".to_owned()))
    }

    #[tokio::test]
    async fn a_place_is_refused_when_all_are_taken_and_free_again_when_dropped() {
        let passwords = Passwords::new(1, 1);
        let one = passwords.reserve().unwrap();
        let _two = passwords.clone().reserve().unwrap();
        assert_eq!(passwords.reserve().err(), Some(PasswordsError::Busy));
        drop(one);
        assert!(passwords.reserve().is_ok());
    }

    #[tokio::test]
    async fn who_has_a_place_waits_for_a_thread_and_is_served() {
        let passwords = Passwords::new(1, 1);
        let (started, has_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let mut first = passwords.reserve().unwrap();
        let occupying = tokio::spawn(async move {
            let work = first.run(move |_| {
                started.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            });
            work.await
        });
        spawn_blocking(move || has_started.recv().unwrap())
            .await
            .unwrap();
        let mut second = passwords.reserve().unwrap();
        let (password, random) = (a_password(), SeededRandom::new(1));
        let mut waiting = Box::pin(second.hash(&password, &random));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "one thread hashes one password at a time");
        assert_eq!(passwords.jobs_done(), 1);
        assert_eq!(passwords.reserve().err(), Some(PasswordsError::Busy));
        release.send(()).unwrap();
        assert!(waiting.await.is_ok() && occupying.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn no_more_hashes_run_at_once_than_there_are_threads_and_their_memory_is_kept() {
        let passwords = Passwords::new(2, 14);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = std::iter::from_fn(|| passwords.reserve().ok())
            .map(|mut place| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                tokio::spawn(async move {
                    let work = place.run(move |_| {
                        let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    });
                    work.await
                })
            })
            .collect();
        assert_eq!(jobs.len(), 16);
        for job in jobs {
            assert_eq!(job.await.unwrap(), Ok(()));
        }
        assert!(most.load(Ordering::SeqCst) <= 2);
        assert!((1..=2).contains(&passwords.memory.lock().unwrap().len()));
    }

    #[tokio::test]
    async fn a_panic_fails_one_request_and_no_other() {
        let passwords = Passwords::new(1, 4);
        let mut place = passwords.reserve().unwrap();
        let failed: Result<(), _> = place.run(|_| panic!("as a broken hash might")).await;
        assert_eq!(failed, Err(PasswordsError::HashingFailed));
        let random = SeededRandom::new(1);
        assert!(place.hash(&a_password(), &random).await.is_ok());
    }

    #[tokio::test]
    async fn without_threads_the_caller_hashes_and_always_finds_a_place() {
        let passwords = Passwords::new(0, 0);
        let (mut one, _two) = (passwords.reserve().unwrap(), passwords.reserve().unwrap());
        let caller = std::thread::current().id();
        let here = one.run(move |_| Ok(std::thread::current().id())).await;
        assert_eq!(here, Ok(caller));
    }
}
