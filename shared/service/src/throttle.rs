//! Limits: passwords are counted before they are checked, requests of users before anything is read.
//!
//! Passwords are counted in the table, for all instances together. The requests on a session are counted in memory, without
//! a write: exactly in one instance, so a limit is that limit times the number of instances. They are counted for a session
//! and not for its user, so that a thief who has one session cannot keep the owner from ending it on another.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use latchkey_domain::account::Account;
use latchkey_domain::credential::Credential;
use latchkey_domain::device::DeviceType;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::event::{FailedSignIn, SignInRefusal};
use latchkey_domain::id::{AttemptId, DeviceNonce, SessionId, UserId};
use latchkey_domain::session::ClientLocation;
use latchkey_domain::throttle::{
    Counter, Limit, Limits, Subject, Throttled, Violation, wait_after, window_of,
};
use latchkey_domain::token::DeviceClaims;
use latchkey_store::{Admission, Counted};

use crate::metric::{REQUESTS_THROTTLED, SIGN_INS_THROTTLED};
use crate::{Caller, Core, Failure, Service};

/// How long a request waits for a count to be cleared or taken back, or for a refusal to be marked.
const LONGEST_CLEARING: Duration = Duration::from_secs(1);

impl Service {
    /// Counts a request against the address that it comes from. One with a password: before the password is hashed or
    /// checked, in parallel with what is read for it. 1 write unit.
    ///
    /// # Errors
    /// [`Failure::Throttled`] if the address has sent too many in this minute.
    pub(crate) async fn count_address_attempt<E>(
        &self,
        address: Option<IpAddr>,
        counted: CountedRequest,
    ) -> Result<(), Failure<E>> {
        match self.address_violation(address).await? {
            None => Ok(()),
            Some(violation) => Err(refuse_throttled(violation.into(), counted)),
        }
    }

    /// Forgets the failures in a row at an account: those of strangers, if it has an address, and those of devices with a
    /// token of a replaced password. 2 write units. Returns whether any were counted.
    pub(crate) async fn forget_guesses(
        &self,
        email: Option<&EmailAddress>,
        user: UserId,
    ) -> Result<bool, StoreError> {
        let former = self.forget_failures(Subject::FormerDevices(user));
        let Some(email) = email else {
            return former.await;
        };
        let strangers = self.forget_failures(Subject::Account(email));
        let (strangers, former) = tokio::try_join!(strangers, former)?;
        Ok(strangers || former)
    }

    async fn forget_failures(&self, of: Subject<'_>) -> Result<bool, StoreError> {
        let counter = self.core.tokens.counter(of, self.core.now()).await?;
        self.store.clear_failures(&counter).await
    }

    /// The counters that are found by what an account says of its user: of strangers, and of devices with a token of a
    /// replaced password. Those of each known device are not: their keys come of tokens that nobody here has.
    async fn counters_of(&self, account: &Account) -> Result<Vec<Counter>, StoreError> {
        let strangers = account.credential_email().map(Subject::Account);
        let former = Subject::FormerDevices(account.id);
        let now = self.core.now();
        let counters = strangers.into_iter().chain([former]);
        try_join_all(counters.map(|subject| self.core.tokens.counter(subject, now))).await
    }

    /// The last refused sign-ins to an account whose marks are found by it. 1 trip, 2 read units.
    pub(crate) async fn refused_sign_ins(
        &self,
        account: &Account,
    ) -> Result<Vec<FailedSignIn>, StoreError> {
        let counters = self.counters_of(account).await?;
        let marks = counters
            .iter()
            .map(|one| self.store.read_failed_sign_in(one));
        let marks = try_join_all(marks).await?;
        let of_user = marks.into_iter().flatten();
        Ok(of_user.filter(|mark| mark.user_id == account.id).collect())
    }

    /// Removes what the counters that are found by an account say of its user. 1 trip, 2 write units.
    pub(crate) async fn forget_refused_sign_ins(
        &self,
        account: &Account,
    ) -> Result<(), StoreError> {
        let counters = self.counters_of(account).await?;
        let removals = counters.iter().map(|one| self.store.delete_failures(one));
        try_join_all(removals).await.map(drop)
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
            .count_in_window(
                &counter,
                attempt,
                limits.address_attempts,
                window_of(now),
                now,
            )
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

/// What a request wants that is counted in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CountedRequest {
    /// That a password is checked or hashed.
    Password,
    /// That a link is sent.
    Link,
}

/// Counts and logs a request that is not looked at. Whose account it was for is not logged: it was not looked up.
pub(crate) fn refuse_throttled<E>(throttled: Throttled, counted: CountedRequest) -> Failure<E> {
    let (refusal, metric) = match counted {
        CountedRequest::Password => ("a password was not checked", SIGN_INS_THROTTLED),
        CountedRequest::Link => ("a link was not asked for", REQUESTS_THROTTLED),
    };
    for violation in throttled.violations() {
        let (limit, seconds) = (violation.limit.name(), violation.wait.num_seconds());
        tracing::info!(limit, seconds, "{refusal}");
    }
    metric.count(1);
    Failure::Throttled(throttled)
}

/// One attempt to sign in, as it is counted: see [`Guesser`]. Whose account the address is, is not known before the
/// credential is read. So whoever has a device token is counted as that device in the same trip; if the token turns out to
/// be another account's, or to be older than the password, the attempt is counted as what it is, and taken back there.
pub(crate) struct Guess<'a> {
    service: &'a Service,
    email: &'a EmailAddress,
    device: Option<&'a DeviceClaims>,
    attempt: AttemptId,
    guesser: Guesser,
    count: Option<Count>,
}

/// Who gives a password, as far as a device token tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guesser {
    /// A client that has signed in to the account since its password was changed: counted for itself.
    Device(DeviceNonce),
    /// A client that has signed in with a password that was replaced. All of an account are counted together, apart from
    /// strangers: whoever once had the password may hold any number of tokens, and gets no more guesses at the next one.
    FormerDevice(UserId),
    /// Anybody else: all of an account are counted together.
    Stranger,
}

/// A sign-in that was refused after its password was checked.
pub(crate) struct RefusedSignIn<'a> {
    pub(crate) reason: SignInRefusal,
    /// Whose it would have been, if the address has an account.
    pub(crate) user: Option<UserId>,
    pub(crate) device_name: &'a str,
    pub(crate) device_type: DeviceType,
    pub(crate) location: &'a ClientLocation,
}

/// A counter, and what it said.
struct Count {
    counter: Counter,
    counted: Counted,
    /// When it was asked.
    at: DateTime<Utc>,
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
            guesser: device.map_or(Guesser::Stranger, |device| Guesser::Device(device.jti)),
            count: None,
        }
    }

    /// Counts the attempt and reads the credential of the address: 1 trip, 1 more for a device token that is not this
    /// account's or older than its password. 2 write units.
    ///
    /// # Errors
    /// [`Failure::Throttled`]: the password must not be checked.
    pub(crate) async fn read_credential<E>(
        &mut self,
        address: Option<IpAddr>,
    ) -> Result<Option<Credential>, Failure<E>> {
        let (service, email) = (self.service, self.email);
        let (of_address, count, credential) = tokio::join!(
            service.address_violation(address),
            self.count_as(self.guesser),
            service.store.read_credential(email)
        );
        // What was counted is kept first: whatever has failed, it can be taken back.
        let count = count.map(|count| self.count = count);
        let of_address = of_address?;
        count?;
        let credential = credential?;
        if of_address.is_none() {
            self.count_as_what_it_is(credential.as_ref()).await?;
        }
        match Throttled::by(of_address, self.violation()) {
            None => Ok(credential),
            Some(throttled) => Err(refuse_throttled(throttled, CountedRequest::Password)),
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
        self.count_as_what_it_is(credential.as_ref()).await?;
        match self.violation() {
            None => Ok(credential),
            Some(violation) => Err(refuse_throttled(violation.into(), CountedRequest::Password)),
        }
    }

    /// Forgets the wrong passwords before the right one. One attempt is not worth a write: it is this one.
    pub(crate) async fn forgive(&self) {
        let Some((counter, Admission { attempts: 2.., .. })) = self.admission() else {
            return;
        };
        let clearing = self.service.store.clear_failures(counter);
        match tokio::time::timeout(LONGEST_CLEARING, clearing).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the failures before a right password stay counted");
            }
        }
    }

    /// Marks the attempt as a sign-in that was refused, so that its user hears of it; also where the limit is off. An
    /// address without an account is marked alike, at the same cost, and nobody hears of it.
    pub(crate) async fn mark_refused(&self, refused: &RefusedSignIn<'_>) {
        let Core { policy, clock, .. } = &self.service.core;
        let now = clock.now();
        let admission = self.count.as_ref().and_then(|count| {
            let (_, admission) = count.admission()?;
            Some((admission.attempts, count.at))
        });
        let (attempts, counted_at) = admission.unwrap_or((0, now));
        let wait = match refused.reason {
            SignInRefusal::InvalidCredentials if attempts > 0 => {
                wait_after(attempts, policy.limits.free_failures)
            }
            // The right password has cleared the count.
            _ => TimeDelta::zero(),
        };
        let failed = refused.user.map(|user_id| FailedSignIn {
            attempt: self.attempt,
            at: now,
            reason: refused.reason,
            user_id,
            known_device: self.guesser != Guesser::Stranger,
            device_name: refused.device_name.to_owned(),
            device_type: refused.device_type,
            location: refused.location.clone(),
            attempts,
            blocked_until: (wait > TimeDelta::zero()).then(|| counted_at + wait),
        });
        let marking = async {
            let counter = self.counter(self.guesser, now).await?;
            let store = &self.service.store;
            store
                .mark_failed_sign_in(&counter, self.attempt, failed.as_ref(), now)
                .await
        };
        match tokio::time::timeout(LONGEST_CLEARING, marking).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("a refused sign-in is not marked, so no event tells of it");
            }
        }
    }

    /// Takes the attempt back if its password was not checked, or if nobody learns what came of it, because of a limit or
    /// because something failed: such an attempt tells a guesser nothing, and must not make an owner wait.
    pub(crate) async fn settle<T, E>(&self, outcome: &Result<T, Failure<E>>) {
        match outcome {
            Ok(_) | Err(Failure::Refused(_)) => {}
            Err(Failure::Throttled(_) | Failure::Unavailable | Failure::Internal) => {
                self.take_back(self.count.as_ref()).await;
            }
        }
    }

    /// Counts the attempt as that of whoever makes it, if it was counted as another's.
    async fn count_as_what_it_is(
        &mut self,
        credential: Option<&Credential>,
    ) -> Result<(), StoreError> {
        let guesser = self.guesser(credential);
        if guesser == self.guesser {
            return Ok(());
        }
        let (count, ()) = tokio::join!(self.count_as(guesser), self.take_back(self.count.as_ref()));
        (self.guesser, self.count) = (guesser, None);
        self.count = count?;
        Ok(())
    }

    fn guesser(&self, credential: Option<&Credential>) -> Guesser {
        match (self.device, credential) {
            (Some(device), Some(credential)) if device.sub == credential.user_id => {
                if device.password_version == Some(credential.password_version) {
                    Guesser::Device(device.jti)
                } else {
                    Guesser::FormerDevice(device.sub)
                }
            }
            _ => Guesser::Stranger,
        }
    }

    /// The limit of failures, if this attempt exceeds it.
    fn violation(&self) -> Option<Violation> {
        let limits = &self.service.core.policy.limits;
        match self.count.as_ref()?.counted {
            Counted::Admitted(_) => None,
            Counted::Refused(tally) => {
                let wait = wait_after(tally.attempts, limits.free_failures);
                let until = tally.last_attempt_at + wait;
                let now = self.service.core.now();
                Some(Violation::new(Limit::Guesses, limits, until, now))
            }
        }
    }

    fn admission(&self) -> Option<(&Counter, &Admission)> {
        self.count.as_ref().and_then(Count::admission)
    }

    async fn take_back(&self, count: Option<&Count>) {
        let Some((counter, admission)) = count.and_then(Count::admission) else {
            return;
        };
        let store = &self.service.store;
        let taking = store.uncount_failure(counter, admission);
        match tokio::time::timeout(LONGEST_CLEARING, taking).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("an attempt whose password was not checked stays counted");
            }
        }
    }

    /// Counts the attempt, unless the limit is off.
    async fn count_as(&self, guesser: Guesser) -> Result<Option<Count>, StoreError> {
        let free_failures = self.service.core.policy.limits.free_failures;
        if free_failures == 0 {
            return Ok(None);
        }
        let at = self.service.core.now();
        let counter = self.counter(guesser, at).await?;
        let store = &self.service.store;
        let counted = store.count_failure(&counter, self.attempt, free_failures, at);
        let counted = counted.await?;
        Ok(Some(Count {
            counter,
            counted,
            at,
        }))
    }

    /// Where the attempts of the guesser are counted and marked.
    async fn counter(&self, guesser: Guesser, now: DateTime<Utc>) -> Result<Counter, StoreError> {
        let subject = match guesser {
            Guesser::Device(nonce) => Subject::Device(nonce),
            Guesser::FormerDevice(user) => Subject::FormerDevices(user),
            Guesser::Stranger => Subject::Account(self.email),
        };
        self.service.core.tokens.counter(subject, now).await
    }
}

impl Count {
    fn admission(&self) -> Option<(&Counter, &Admission)> {
        match &self.counted {
            Counted::Admitted(admission) => Some((&self.counter, admission)),
            Counted::Refused(_) => None,
        }
    }
}

/// How many sessions' requests are counted at once, in entries of some 50 bytes.
const MOST_COUNTED: usize = 8192;

/// The requests of users in this minute, counted in memory for each session. All clones count together.
#[derive(Clone, Default)]
pub struct UserRequests(Arc<Mutex<Counts>>);

type Counts = HashMap<(SessionId, Limit), Requests>;

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
        session: SessionId,
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
        let key = (session, limit);
        if counted.len() >= MOST_COUNTED && !counted.contains_key(&key) {
            counted.retain(|_, requests| requests.window == window);
            // As many sessions in one minute: the counts begin again rather than grow.
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
    /// Counts a request of a caller who has shown an access token, before anything is read or asked for.
    ///
    /// # Errors
    /// [`Failure::Throttled`] if too many of the kind were sent on the session to this instance in this minute.
    pub(crate) fn count_request<E>(&self, caller: Caller, limit: Limit) -> Result<(), Failure<E>> {
        let (user, session) = (caller.user_id, caller.session_id);
        let limits = &self.policy.limits;
        let counted = self.requests.count(session, limit, limits, self.now());
        match counted {
            None => Ok(()),
            Some(violation) => {
                tracing::info!(user_id = %user, session_id = %session, limit = limit.name(), "too many requests on a session");
                REQUESTS_THROTTLED.count(1);
                Err(Failure::Throttled(violation.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use latchkey_domain::random::SeededRandom;

    use super::*;

    #[test]
    fn a_session_may_send_as_many_requests_of_a_kind_in_a_minute_as_the_limit_says() {
        let (requests, limits) = (UserRequests::default(), Limits::default());
        let random = SeededRandom::new(1);
        let session = || SessionId::random(&random);
        let (one, other) = (session(), session());
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(13);
        let count = |session, limit, now| requests.count(session, limit, &limits, now);
        for (limit, quota) in [(Limit::List, 30), (Limit::Change, 10), (Limit::Purge, 5)] {
            for session in [one, other] {
                let admitted = (0..100).take_while(|_| count(session, limit, now).is_none());
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
    fn however_many_sessions_there_are_no_more_than_so_many_are_counted() {
        let (requests, limits) = (UserRequests::default(), Limits::default());
        let random = SeededRandom::new(1);
        let session = || SessionId::random(&random);
        let now = DateTime::UNIX_EPOCH;
        let size = || requests.0.lock().unwrap().len();
        for _ in 0..MOST_COUNTED + 10 {
            requests.count(session(), Limit::List, &limits, now);
            assert!(size() <= MOST_COUNTED);
        }
        // Those of another minute make room first.
        while size() < MOST_COUNTED {
            requests.count(session(), Limit::List, &limits, now);
        }
        let now = now + TimeDelta::minutes(1);
        requests.count(session(), Limit::List, &limits, now);
        assert_eq!(size(), 1);
    }
}
