//! Password hashing, on threads of its own: at most as many at once as there are cores, a bounded number waiting.
//!
//! Each hash takes 19 MiB and a core for some milliseconds; one that another system has made up to 128 MiB and three seconds.
//! Without a bound a flood of sign-ins would take all memory and starve every refresh that shares the process; with it,
//! what does not fit is told to come back, before anything is read for it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, available_parallelism};

use latchkey_domain::id::UserId;
use latchkey_domain::password::{self, Password, PasswordHash, PasswordHashError, decoy};
use latchkey_domain::random::{RandomSource, sixteen_bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::metrics::PASSWORD_QUEUE_FULL;
use crate::problem::{Code, Problem};

/// How many may wait for each one that runs: less than a second of waiting.
const WAITING_FOR_EACH_THREAD: usize = 64;

/// How far the threads that hash stand back (see nice(1)): beside a thread that waits for a core, they get a tenth of it.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce() + Send>;

/// Runs password hashing. Cheap to clone; all clones share the threads and the queue, which are made when the first
/// password comes: most functions never see one.
///
/// Threads of its own rather than those of the runtime, because a thread that has hashed keeps its 19 MiB for the next.
#[derive(Clone, Debug)]
pub struct PasswordWorkers {
    threads: usize,
    waiting: usize,
    queue: Arc<Mutex<Option<SyncSender<Job>>>>,
    places: Arc<Semaphore>,
    worked: Arc<AtomicU64>,
}

/// A place among those whose passwords are being hashed or wait for it. It is free again when this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Place {
    _permit: OwnedSemaphorePermit,
}

impl PasswordWorkers {
    /// As many threads as there are cores.
    #[must_use]
    pub fn for_this_machine() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::new(cores, cores * WAITING_FOR_EACH_THREAD)
    }

    /// `threads` that hash and room for `waiting` more passwords. Without threads whoever asks hashes, and everything
    /// else waits: for tests that stop tokio's clock, which must not run on while a thread that it does not know works.
    #[must_use]
    pub fn new(threads: usize, waiting: usize) -> Self {
        Self {
            threads,
            waiting,
            queue: Arc::default(),
            places: Arc::new(Semaphore::new(match threads {
                0 => Semaphore::MAX_PERMITS,
                _ => threads + waiting,
            })),
            worked: Arc::default(),
        }
    }

    /// Takes a place for a request that will hash, before it costs anything: in a flood most requests are refused, and
    /// what is read from the table for them would be in the way of those that are not.
    ///
    /// # Errors
    /// 503 when there is none.
    pub fn reserve(&self) -> Result<Place, Problem> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(permit) => Ok(Place { _permit: permit }),
            Err(_) => Err(too_many()),
        }
    }

    /// How many passwords were hashed or verified since the start.
    #[must_use]
    pub fn worked(&self) -> u64 {
        self.worked.load(Ordering::Relaxed)
    }

    /// The queue; none if no thread could be started.
    fn queue(&self) -> Option<SyncSender<Job>> {
        let mut queue = self.queue.lock().ok()?;
        if queue.is_none() {
            *queue = start(self.threads, self.waiting);
        }
        queue.clone()
    }

    /// Hashes a password with a fresh salt.
    ///
    /// # Errors
    /// 503 when too many are waiting.
    pub async fn hash(
        &self,
        password: &Arc<Password>,
        random: &dyn RandomSource,
    ) -> Result<PasswordHash, Problem> {
        let salt = sixteen_bytes(random);
        let password = Arc::clone(password);
        self.run(move || password::hash(&password, salt)).await
    }

    /// Whether a password belongs to the hash that is stored for a user.
    ///
    /// A hash that cannot be read, or asks for too much work, is met by no password: the work is that of a wrong one,
    /// and the log tells whose it is. An error in the reply would tell a stranger that the address has an account, and
    /// its owner nothing that helps.
    ///
    /// # Errors
    /// 503 when too many are waiting.
    pub async fn verify(
        &self,
        password: &Arc<Password>,
        hash: &PasswordHash,
        user_id: UserId,
    ) -> Result<bool, Problem> {
        let (password, hash) = (Arc::clone(password), hash.clone());
        let work = move || match password::verify(&password, &hash) {
            Err(reason @ (PasswordHashError::Malformed | PasswordHashError::Unsupported)) => {
                password::verify(&password, decoy()).map(|_| Err(reason))
            }
            done => done.map(Ok),
        };
        Ok(self.run(work).await?.unwrap_or_else(|reason| {
            tracing::error!(%user_id, %reason, "a stored password hash cannot be used");
            false
        }))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordHashError> + Send + 'static,
    ) -> Result<T, Problem> {
        if self.threads == 0 {
            return answer(work());
        }
        let (sender, receiver) = oneshot::channel();
        let worked = Arc::clone(&self.worked);
        let job: Job = Box::new(move || {
            // Nobody waits any more when the client has hung up.
            if !sender.is_closed() {
                worked.fetch_add(1, Ordering::Relaxed);
                let _ = sender.send(work());
            }
        });
        let Some(queue) = self.queue() else {
            return Err(Code::TemporarilyUnavailable.into());
        };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Err(too_many());
            }
            Err(TrySendError::Disconnected(_)) => return Err(Problem::internal()),
        }
        match receiver.await {
            Ok(result) => answer(result),
            Err(_) => {
                tracing::error!("hashing a password panicked");
                Err(Problem::internal())
            }
        }
    }
}

fn too_many() -> Problem {
    tracing::warn!("too many passwords are waiting to be hashed");
    metrics::counter!(PASSWORD_QUEUE_FULL).increment(1);
    Code::TemporarilyUnavailable.into()
}

fn answer<T>(result: Result<T, PasswordHashError>) -> Result<T, Problem> {
    result.map_err(|error| {
        tracing::error!(%error, "a password could not be hashed or verified");
        Problem::internal()
    })
}

fn start(threads: usize, waiting: usize) -> Option<SyncSender<Job>> {
    let (queue, jobs) = sync_channel::<Job>(waiting);
    let jobs = Arc::new(Mutex::new(jobs));
    let mut started = false;
    for _ in 0..threads {
        let jobs = Arc::clone(&jobs);
        let thread = thread::Builder::new().name("password".to_owned());
        match thread.spawn(move || {
            give_way();
            work_on(&jobs);
        }) {
            Ok(_) => started = true,
            Err(error) => tracing::error!(%error, "a thread for passwords could not be started"),
        }
    }
    started.then_some(queue)
}

/// Lets every other thread of the process go first: a flood of sign-ins has a thread for each core, and what refreshes
/// is a moment of work that should not queue behind milliseconds of it. Only Linux counts priority by thread.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "the threads for passwords have the priority of all others");
    }
}

fn work_on(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting for a job, not while working on it.
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        match job {
            // A panic is one request's failure; the thread goes on.
            Ok(job) => drop(catch_unwind(AssertUnwindSafe(job))),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use latchkey_domain::clock::{Clock, SystemClock};
    use latchkey_domain::random::SeededRandom;
    use tracing::Level;

    use super::*;
    use crate::metrics::{Emf, THROTTLED};
    use crate::settings::MetricsSettings;

    fn a_password() -> Arc<Password> {
        Arc::new(Password::new("correct horse battery staple".to_owned()))
    }

    #[tokio::test]
    async fn what_does_not_fit_the_queue_is_told_to_come_back() {
        let settings = MetricsSettings::read(|_| None).unwrap();
        let emf = Emf::new(settings, Level::INFO);
        let _recording = metrics::set_default_local_recorder(&emf);
        let workers = PasswordWorkers::new(1, 1);
        let random = SeededRandom::new(1);
        let (started, has_started) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let occupying = tokio::spawn({
            let workers = workers.clone();
            async move {
                workers
                    .run(move || {
                        started.send(()).unwrap();
                        released.recv().unwrap();
                        Ok(())
                    })
                    .await
            }
        });
        tokio::task::spawn_blocking(move || has_started.recv().unwrap())
            .await
            .unwrap();
        let password = a_password();
        let (waiting, refused) = tokio::join!(workers.hash(&password, &random), async {
            let refused = workers.hash(&password, &random).await;
            release.send(()).unwrap();
            refused
        });
        assert_eq!(
            refused.map_err(|problem| problem.code),
            Err(Code::TemporarilyUnavailable)
        );
        assert!(waiting.is_ok() && occupying.await.unwrap().is_ok());
        let status = Code::TemporarilyUnavailable.status();
        let line = emf.line(SystemClock.now(), "id", Some(status)).unwrap();
        assert!(line.contains(THROTTLED.name), "{line}");
    }

    #[tokio::test]
    async fn a_place_is_refused_when_all_are_taken_and_free_again_when_dropped() {
        let workers = PasswordWorkers::new(1, 1);
        let one = workers.reserve();
        let _two = workers.clone().reserve();
        let refused = workers.reserve().map_err(|problem| problem.code);
        assert_eq!(refused.err(), Some(Code::TemporarilyUnavailable));
        drop(one);
        assert!(workers.reserve().is_ok());
    }

    #[tokio::test]
    async fn a_panic_fails_one_request_and_no_other() {
        let workers = PasswordWorkers::new(1, 4);
        let failed: Result<(), Problem> = workers.run(|| panic!("as a broken hash might")).await;
        assert_eq!(
            failed.map_err(|problem| problem.code),
            Err(Code::InternalError)
        );
        assert!(
            workers
                .hash(&a_password(), &SeededRandom::new(1))
                .await
                .is_ok()
        );
    }
}
