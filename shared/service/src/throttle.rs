//! Limits: passwords are counted before they are checked, requests of users before anything is read.
//!
//! Passwords are counted in the table, for all instances together. The requests of a user are counted in memory, without a
//! write: exactly in one instance, so a limit is that limit times the number of instances.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use latchkey_domain::credential::Credential;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{AttemptId, UserId};
use latchkey_domain::throttle::{
    Counter, Limit, Limits, Subject, Throttled, Violation, wait_after, window_of,
};
use latchkey_domain::token::DeviceClaims;
use latchkey_store::{Counted, Tally};

use crate::metric::SIGN_INS_THROTTLED;
use crate::{Core, Failure, Service};

/// How long a user who has given the right password waits for the wrong ones to be forgotten.
const LONGEST_CLEARING: Duration = Duration::from_secs(1);

impl Service {
    /// Counts a request with a password against the address that it comes from: to be called before the password is
    /// hashed or checked, in parallel with what is read for it. 1 write unit.
    ///
    /// # Errors
    /// [`Failure::Throttled`] if the address has sent too many in this minute.
    pub async fn count_address_attempt<E>(
        &self,
        address: Option<IpAddr>,
    ) -> Result<(), Failure<E>> {
        match Throttled::by(self.address_violation(address).await?, None) {
            None => Ok(()),
            Some(throttled) => Err(refuse(throttled)),
        }
    }

    /// The address's limit, if this attempt exceeds it.
    async fn address_violation<E>(
        &self,
        address: Option<IpAddr>,
    ) -> Result<Option<Violation>, Failure<E>> {
        let limits = &self.core.policy.limits;
        if limits.address_attempts == 0 {
            return Ok(None);
        }
        if address.is_none() {
            tracing::warn!(
                "the address of a client is not known; all such clients share one limit"
            );
        }
        let now = self.core.now();
        let counter = self
            .core
            .tokens
            .counter(Subject::Address(address), now)
            .await?;
        let attempt = AttemptId::random(self.core.random.as_ref());
        let counted = self
            .store
            .count_in_window(&counter, attempt, limits.address_attempts, now)
            .await?;
        Ok(match counted {
            Counted::Admitted(_) => None,
            Counted::Refused(_) => {
                let (_, end) = window_of(now);
                Some(Violation::new(Limit::SignIn, limits, end, now))
            }
        })
    }
}

/// Counts and logs a request that is not looked at. Whose account it was for is not logged: it was not looked up.
fn refuse<E>(throttled: Throttled) -> Failure<E> {
    for violation in throttled.violations() {
        let limit = violation.limit.name();
        tracing::info!(
            limit,
            seconds = violation.wait.num_seconds(),
            "a password was not checked"
        );
    }
    SIGN_INS_THROTTLED.count(1);
    Failure::Throttled(throttled)
}

/// One attempt to sign in, as it is counted: for a client with a device token in that device's counter, for all others in
/// that of the e-mail address. Whose account the address is, is not known before the credential is read. So the device is
/// counted in the same trip; if the token is another account's, the attempt is a stranger's and is counted as one.
pub(crate) struct Guess<'a> {
    service: &'a Service,
    email: &'a EmailAddress,
    device: Option<&'a DeviceClaims>,
    attempt: AttemptId,
    as_device: Option<Count>,
    as_stranger: Option<Count>,
}

/// A counter, and what it said.
struct Count {
    counter: Counter,
    counted: Counted,
}

impl<'a> Guess<'a> {
    pub(crate) fn new(
        service: &'a Service,
        email: &'a EmailAddress,
        device: Option<&'a DeviceClaims>,
    ) -> Self {
        Self {
            service,
            email,
            device,
            attempt: AttemptId::random(service.core.random.as_ref()),
            as_device: None,
            as_stranger: None,
        }
    }

    /// Counts the attempt and reads the credential of the address: 1 trip, 1 more for a device token that is not this
    /// account's. 2 write units.
    ///
    /// # Errors
    /// [`Failure::Throttled`]: the password must not be checked.
    pub(crate) async fn read_credential<E>(
        &mut self,
        address: Option<IpAddr>,
    ) -> Result<Option<Credential>, Failure<E>> {
        let (service, email) = (self.service, self.email);
        let (of_address, counted, credential) = tokio::join!(
            service.address_violation(address),
            self.count_first(),
            service.store.read_credential(email)
        );
        let (of_address, ()) = (of_address?, counted?);
        let credential = credential?;
        // An attempt that goes no further stays counted, but is not counted once more.
        if of_address.is_none() {
            self.count_as_stranger_unless_known(credential.as_ref())
                .await?;
        }
        let of_account = self.violation(credential.as_ref());
        match Throttled::by(of_address, of_account) {
            None => Ok(credential),
            Some(throttled) => Err(refuse(throttled)),
        }
    }

    /// Reads the credential once more. It may be another user's by now, to whom the device is a stranger's.
    ///
    /// # Errors
    /// [`Failure::Throttled`]: the password must not be checked.
    pub(crate) async fn read_credential_again<E>(
        &mut self,
    ) -> Result<Option<Credential>, Failure<E>> {
        let credential = self.service.store.read_credential(self.email).await?;
        self.count_as_stranger_unless_known(credential.as_ref())
            .await?;
        match self.violation(credential.as_ref()) {
            None => Ok(credential),
            Some(violation) => Err(refuse(violation.into())),
        }
    }

    /// Forgets the wrong passwords before the right one. One attempt is not worth a write: it is this one.
    pub(crate) async fn forgive(&self) {
        let counts = self.as_stranger.as_ref().or(self.as_device.as_ref());
        let Some(Count { counter, counted }) = counts else {
            return;
        };
        let Counted::Admitted(Tally { attempts: 2.., .. }) = counted else {
            return;
        };
        let clearing = self.service.store.clear_failures(counter);
        match tokio::time::timeout(LONGEST_CLEARING, clearing).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the failures before a right password stay counted");
            }
        }
    }

    async fn count_first(&mut self) -> Result<(), StoreError> {
        match self.device {
            Some(device) => self.as_device = self.count(Subject::Device(device.jti)).await?,
            None => self.as_stranger = self.count(Subject::Account(self.email)).await?,
        }
        Ok(())
    }

    /// Whether the device token is of the account that was read.
    fn is_known(&self, credential: Option<&Credential>) -> bool {
        let owner = credential.map(|credential| credential.user_id);
        self.device.is_some_and(|device| Some(device.sub) == owner)
    }

    async fn count_as_stranger_unless_known(
        &mut self,
        credential: Option<&Credential>,
    ) -> Result<(), StoreError> {
        if self.as_stranger.is_none() && !self.is_known(credential) {
            let (counted, ()) =
                tokio::join!(self.count(Subject::Account(self.email)), self.uncount());
            self.as_stranger = counted?;
        }
        Ok(())
    }

    /// The limit of failures, if this attempt on what was read exceeds it.
    fn violation(&self, credential: Option<&Credential>) -> Option<Violation> {
        let count = if self.is_known(credential) {
            &self.as_device
        } else {
            &self.as_stranger
        };
        let limits = &self.service.core.policy.limits;
        match count.as_ref()?.counted {
            Counted::Admitted(_) => None,
            Counted::Refused(tally) => {
                let wait = wait_after(tally.attempts, limits.free_failures);
                let until = tally.last_attempt_at + wait;
                let now = self.service.core.now();
                Some(Violation::new(Limit::Guesses, limits, until, now))
            }
        }
    }

    /// Takes the attempt back from the device's counter. Several people may use one device, and the sign-ins of one must not
    /// use up the attempts of another.
    async fn uncount(&self) {
        if let Some(Count { counter, counted }) = &self.as_device
            && let Counted::Admitted(_) = counted
            && let Err(error) = self
                .service
                .store
                .uncount_failure(counter, self.attempt)
                .await
        {
            tracing::warn!(%error, "an attempt of another account stays counted for a device");
        }
    }

    /// Counts the attempt, unless the limit is off.
    async fn count(&self, subject: Subject<'_>) -> Result<Option<Count>, StoreError> {
        let Core { policy, tokens, .. } = &self.service.core;
        let free_failures = policy.limits.free_failures;
        if free_failures == 0 {
            return Ok(None);
        }
        let now = self.service.core.now();
        let counter = tokens.counter(subject, now).await?;
        let store = &self.service.store;
        let counted = store.count_failure(&counter, self.attempt, free_failures, now);
        let counted = counted.await?;
        Ok(Some(Count { counter, counted }))
    }
}

/// How many users' requests are counted at once, in entries of some 50 bytes.
const MOST_COUNTED: usize = 8192;

/// The requests of users in this minute, counted in memory. All clones count together.
#[derive(Clone, Default)]
pub struct UserRequests(Arc<Mutex<HashMap<(UserId, Limit), Requests>>>);

/// How many there were in a window.
struct Requests {
    window: DateTime<Utc>,
    count: u32,
}

impl fmt::Debug for UserRequests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRequests").finish_non_exhaustive()
    }
}

impl UserRequests {
    /// Counts a request, unless the limit is off. Returns the limit if there were as many before.
    fn count(
        &self,
        user: UserId,
        limit: Limit,
        limits: &Limits,
        now: DateTime<Utc>,
    ) -> Option<Violation> {
        let quota = limit.quota(limits);
        if quota == 0 {
            return None;
        }
        let (window, end) = window_of(now);
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (user, limit);
        if counted.len() >= MOST_COUNTED && !counted.contains_key(&key) {
            counted.retain(|_, requests| requests.window == window);
            // As many users in one minute: the counts begin again rather than grow.
            if counted.len() >= MOST_COUNTED {
                counted.clear();
            }
        }
        let requests = counted.entry(key).or_insert(Requests { window, count: 0 });
        if requests.window != window {
            *requests = Requests { window, count: 0 };
        }
        if requests.count >= quota {
            return Some(Violation::new(limit, limits, end, now));
        }
        requests.count += 1;
        None
    }
}

impl Core {
    /// Counts a request of a user who has shown an access token, before anything is read for it.
    ///
    /// # Errors
    /// [`Failure::Throttled`] if the user has sent too many of the kind to this instance in this minute.
    pub(crate) fn count_request<E>(&self, user: UserId, limit: Limit) -> Result<(), Failure<E>> {
        let counted = self
            .requests
            .count(user, limit, &self.policy.limits, self.now());
        match counted {
            None => Ok(()),
            Some(violation) => {
                tracing::info!(user_id = %user, limit = limit.name(), "too many requests of a user");
                Err(Failure::Throttled(violation.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use latchkey_domain::random::SeededRandom;

    use super::*;

    #[test]
    fn a_user_may_send_as_many_requests_of_a_kind_in_a_minute_as_the_limit_says() {
        let (requests, limits) = (UserRequests::default(), Limits::default());
        let random = SeededRandom::new(1);
        let (one, other) = (UserId::random(&random), UserId::random(&random));
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(13);
        let count = |user, limit, now| requests.count(user, limit, &limits, now);
        for (limit, quota) in [(Limit::List, 30), (Limit::Change, 10), (Limit::Purge, 5)] {
            for user in [one, other] {
                let admitted = (0..100).take_while(|_| count(user, limit, now).is_none());
                assert_eq!(admitted.count(), quota, "{limit:?}");
            }
            let violation = count(one, limit, now).unwrap();
            assert_eq!(violation.wait, TimeDelta::seconds(47));
            let last = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(59_999);
            assert!(count(one, limit, last).is_some());
            let next = DateTime::UNIX_EPOCH + TimeDelta::seconds(60);
            assert!(count(one, limit, next).is_none());
        }
        let off = Limits::off();
        assert!((0..1000).all(|_| requests.count(one, Limit::List, &off, now).is_none()));
    }

    #[test]
    fn however_many_users_there_are_no_more_than_so_many_are_counted() {
        let (requests, limits) = (UserRequests::default(), Limits::default());
        let random = SeededRandom::new(1);
        let now = DateTime::UNIX_EPOCH;
        let size = || requests.0.lock().unwrap().len();
        for _ in 0..MOST_COUNTED + 10 {
            requests.count(UserId::random(&random), Limit::List, &limits, now);
            assert!(size() <= MOST_COUNTED);
        }
        // Those of another minute make room first.
        let (user, now) = (UserId::random(&random), now + TimeDelta::minutes(1));
        while size() < MOST_COUNTED {
            requests.count(
                UserId::random(&random),
                Limit::List,
                &limits,
                DateTime::UNIX_EPOCH,
            );
        }
        requests.count(user, Limit::List, &limits, now);
        assert_eq!(size(), 1);
    }
}
