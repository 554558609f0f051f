//! The caller's own account: a new password, and the end of the account. Both ask for the password again.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::{Action, Actor, EndReason};
use latchkey_domain::credential::Credential;
use latchkey_domain::error::{CallerNotLive, ConfirmError, StoreError};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::{Password, PasswordHash, check_policy};
use latchkey_domain::session::{ClientLocation, Session};
use latchkey_domain::throttle::{Limit, MAX_WRONG_PASSWORDS, Violation};
use latchkey_store::{Part, Partition, PasswordAttempt, PasswordCounted};

use crate::change::{Changed, Intent, require_admitted};
use crate::fit::Readings;
use crate::log::log_refusal;
use crate::metric::{REVOCATIONS, SIGN_IN_FAILURES};
use crate::passwords::Place;
use crate::throttle::{CountedRequest, refuse_throttled};
use crate::{Caller, Failure, Service, SignedIn};

/// How long a password that was counted may still be about to be checked: a function's 15 seconds, and the difference of
/// two clocks.
const LONGEST_CHECK: TimeDelta = TimeDelta::seconds(20);
/// How long a request removes what is left of a deleted user; the cleanup removes the rest.
const LONGEST_FINISH: Duration = Duration::from_secs(5);
/// [`MAX_WRONG_PASSWORDS`], as a size.
const MAX_WRONG: usize = MAX_WRONG_PASSWORDS as usize;

/// A password that is to be replaced.
///
/// ```
/// use std::sync::Arc;
///
/// use latchkey_domain::password::Password;
/// use latchkey_domain::session::ClientLocation;
/// use latchkey_service::PasswordChange;
///
/// let password = |text: &str| Arc::new(Password::new(text.to_owned()));
/// let (current, new) = (password("correct horse"), password("wrong donkey"));
/// let change = PasswordChange {
///     current: &current,
///     new: &new,
///     location: ClientLocation::default(),
/// };
/// assert!(!format!("{change:?}").contains("donkey"));
/// ```
#[derive(Clone, Debug)]
pub struct PasswordChange<'a> {
    /// The password as it is.
    pub current: &'a Arc<Password>,
    /// The password as it is to be.
    pub new: &'a Arc<Password>,
    /// Where the caller is.
    pub location: ClientLocation,
}

impl Service {
    /// Replaces the caller's password: all sessions end, and a new one takes the place of the caller's. 3 trips, one of
    /// them in parallel with the hash of the new password; 11 write units, and 1 for the limit.
    ///
    /// # Errors
    /// [`ConfirmError`]; the fifth wrong password on a session ends it.
    pub async fn change_password(
        &self,
        caller: Caller,
        request: PasswordChange<'_>,
    ) -> Result<SignedIn, Failure<ConfirmError>> {
        let mut place = self.core.passwords.reserve()?;
        let random = self.core.random.as_ref();
        let session_id = SessionId::random(random);
        let hashing = place.hash(request.new, random);
        let address = request.location.ip_address;
        let confirmation = self.begin_confirmation(caller, address, hashing);
        let (attempt, confirmation, new_hash) = confirmation.await?;
        let changed = async {
            let confirmed = self
                .confirm(&mut place, &confirmation, &attempt, request.current)
                .await?;
            self.replace_password(confirmation, confirmed, request, session_id, new_hash?)
                .await
        };
        let changed = changed.await;
        self.settle_attempt(caller, &attempt, &changed).await;
        changed
    }

    /// Replaces a password that was confirmed.
    async fn replace_password(
        &self,
        confirmation: Confirmation,
        Confirmed { verified }: Confirmed,
        request: PasswordChange<'_>,
        session_id: SessionId,
        new_hash: PasswordHash,
    ) -> Result<SignedIn, Failure<ConfirmError>> {
        let caller = confirmation.caller;
        let own = confirmation.own()?;
        if let Some(email) = own.account.credential_email() {
            check_policy(request.new, email, &self.core.password_policy)
                .map_err(|weakness| Failure::Refused(ConfirmError::Weak(weakness)))?;
        }
        if request.new.equals(request.current) {
            return Err(Failure::Refused(ConfirmError::Unchanged));
        }

        let now = self.core.now();
        let location = request.location;
        let session = own
            .session
            .succeed(session_id, location, now, &self.core.policy);
        let replacement = OnOwnAccount {
            service: self,
            caller,
            verified,
            change: OwnChange::ReplacePassword {
                new_hash,
                session: Box::new(session.clone()),
            },
        };
        let account = match self.change(&replacement, confirmation.reading).await? {
            Changed::Written {
                change,
                reading,
                account,
            } => {
                let (user_id, old_session_id) = (caller.user_id, caller.session_id);
                tracing::info!(%user_id, %session_id, %old_session_id, "password changed");
                REVOCATIONS.count(change.ended.len());
                self.trim_others(caller, &change.account, reading.partition)
                    .await;
                account
            }
            Changed::Fulfilled { account } => account.ok_or(NOT_LIVE)?,
        };
        let account = require_admitted(account, session_id)?;
        let issued = self.core.issue(session, account.scope(), now).await?;
        // Those from before are of a replaced password, also the one that this client may have.
        let device_token = Some(self.core.issue_device(None, &account, now).await?);
        Ok(SignedIn {
            account,
            issued,
            device_token,
        })
    }

    /// Deletes the caller's account: all sessions end at once, then everything that is kept of the user goes. Wants a recent
    /// proof too: for the one thing that cannot be undone, the password alone must not be enough on a stolen access token.
    ///
    /// # Errors
    /// [`ConfirmError`]; the fifth wrong password on a session ends it.
    pub async fn delete_account(
        &self,
        caller: Caller,
        password: &Arc<Password>,
        location: &ClientLocation,
    ) -> Result<(), Failure<ConfirmError>> {
        // Without a password there is nothing to give as a new proof.
        let refuse = |account: &Account, required| match account.identity {
            Some(_) => ConfirmError::NoPassword,
            None => ConfirmError::from(required),
        };
        self.require_recent_authentication(caller, refuse).await?;
        let mut place = self.core.passwords.reserve()?;
        let nothing = std::future::ready(());
        let confirmation = self.begin_confirmation(caller, location.ip_address, nothing);
        let (attempt, confirmation, ()) = confirmation.await?;
        let deleted = async {
            let Confirmed { verified } = self
                .confirm(&mut place, &confirmation, &attempt, password)
                .await?;
            // First, because nothing of the account leads to them when it is empty.
            let own = confirmation.own()?;
            self.forget_refused_sign_ins(own.account).await?;
            let deletion = OnOwnAccount {
                service: self,
                caller,
                verified,
                change: OwnChange::Delete,
            };
            self.change(&deletion, confirmation.reading).await
        };
        let deleted = deleted.await;
        self.settle_attempt(caller, &attempt, &deleted).await;
        let deleted = deleted?;
        let (user_id, session_id) = (caller.user_id, caller.session_id);
        if matches!(deleted, Changed::Written { .. }) {
            tracing::info!(%user_id, %session_id, "account deleted");
        }
        REVOCATIONS.count(deleted.ended().count());
        self.finish_deletion(user_id).await;
        Ok(())
    }

    /// Removes what is left of a user whose account is empty; what fails here the cleanup removes.
    pub(crate) async fn finish_deletion(&self, user_id: UserId) {
        let finish = self.store.finish_deletion(user_id, self.core.now());
        // A user with years of activity must not keep the reply waiting.
        match tokio::time::timeout(LONGEST_FINISH, finish).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(%user_id, "the cleanup has to finish a deletion");
            }
        }
    }

    /// Reads what a confirmation is decided on, and counts the password that is about to be checked: before the check, so
    /// that many at once are no more than one after the other. `alongside` runs in parallel with the credential's read, once
    /// the caller is known to be live: an access token of an ended session costs no hash.
    pub(crate) async fn begin_confirmation<T>(
        &self,
        caller: Caller,
        address: Option<IpAddr>,
        alongside: impl Future<Output = T>,
    ) -> Result<(PasswordAttempt, Confirmation, T), Failure<ConfirmError>> {
        let (user, session) = (caller.user_id, caller.session_id);
        let now = self.core.now();
        let attempt = PasswordAttempt::new(now, self.core.random.as_ref());
        let store = &self.store;
        let (of_address, partition, counted) = tokio::join!(
            self.count_address_attempt(address, CountedRequest::Password),
            store.read_partition(user, now),
            store.count_password_attempt(user, session, &attempt, MAX_WRONG)
        );
        let confirmation = async {
            of_address?;
            let partition = partition?;
            find_live(&partition, caller).ok_or(NOT_LIVE)?;
            let account = partition.account.clone();
            self.admit_password(caller, &attempt, counted?, account, now)
                .await?;
            let (reading, done) = tokio::join!(self.with_credential(user, partition), alongside);
            let reading = reading?;
            reading.own(caller)?;
            let confirmation = Confirmation { caller, reading };
            Ok((confirmation, done))
        };
        let confirmation = confirmation.await;
        self.settle_attempt(caller, &attempt, &confirmation).await;
        confirmation.map(|(confirmation, done)| (attempt, confirmation, done))
    }

    /// Says whether a password that was given may be checked. Nothing ends a session but passwords that were judged wrong:
    /// those that failed on our side, and could not be taken back then, are taken back here.
    async fn admit_password(
        &self,
        caller: Caller,
        attempt: &PasswordAttempt,
        counted: PasswordCounted,
        account: Option<Account>,
        now: DateTime<Utc>,
    ) -> Result<(), Failure<ConfirmError>> {
        let (store, user, session) = (&self.store, caller.user_id, caller.session_id);
        let given = match counted {
            PasswordCounted::Admitted => return Ok(()),
            PasswordCounted::NoSession => return Err(NOT_LIVE),
            PasswordCounted::Refused(given) => given,
        };
        // The fifth wrong one could not end the session, or is about to.
        if given.wrong() >= MAX_WRONG {
            self.end_guessed(caller, account).await?;
            return Err(NOT_LIVE);
        }
        let forgotten = given.unjudged_before(now - LONGEST_CHECK);
        // The others may be right, and are judged in a moment.
        if forgotten.is_empty() {
            return Err(self.refuse_until_judged(now));
        }
        let taken_back = store.uncount_password_attempts(user, session, &forgotten);
        taken_back.await?;
        let counted = store.count_password_attempt(user, session, attempt, MAX_WRONG);
        match counted.await? {
            PasswordCounted::Admitted => Ok(()),
            PasswordCounted::NoSession => Err(NOT_LIVE),
            PasswordCounted::Refused(_) => Err(self.refuse_until_judged(now)),
        }
    }

    /// Checks the password that was counted. A wrong one is marked before anybody learns that it was wrong.
    pub(crate) async fn confirm(
        &self,
        place: &mut Place,
        confirmation: &Confirmation,
        attempt: &PasswordAttempt,
        password: &Arc<Password>,
    ) -> Result<Confirmed, Failure<ConfirmError>> {
        let Caller {
            user_id,
            session_id,
            ..
        } = confirmation.caller;
        let credential = confirmation.own()?.credential;
        let hash = &credential.password_hash;
        if place.verify(password, hash, user_id).await? {
            let verified = credential.password_version;
            return Ok(Confirmed { verified });
        }
        let (what, reason) = ("confirmation refused", "wrong_password");
        let (user, session) = (Some(user_id), Some(session_id));
        log_refusal(what, reason, SIGN_IN_FAILURES, user, session);
        let marked = self.store.mark_password_wrong(user_id, session_id, attempt);
        if marked.await? >= MAX_WRONG {
            // The caller still hears what was wrong; the next request meets an ended session.
            let account = confirmation.reading.partition.account.clone();
            match self.end_guessed(confirmation.caller, account).await {
                Err(refusal @ Failure::Refused(_)) => return Err(refusal),
                Err(_) => tracing::warn!(
                    %user_id,
                    %session_id,
                    "a session outlives its last wrong password; the next password ends it"
                ),
                Ok(()) => {}
            }
        }
        Err(Failure::Refused(ConfirmError::WrongPassword))
    }

    /// Leaves the count of a password as it was found to be: a wrong one stays counted, a right one forgives those before
    /// it, and one that nobody knows of, because something failed, does not count. Where this fails, the password stays
    /// counted, which errs on the safe side.
    pub(crate) async fn settle_attempt<T>(
        &self,
        caller: Caller,
        attempt: &PasswordAttempt,
        outcome: &Result<T, Failure<ConfirmError>>,
    ) {
        use ConfirmError::{
            CallerNotLive, EmailTaken, EmailUnchanged, NoPassword, ReauthenticationRequired,
            Unchanged, Weak, WrongPassword,
        };
        let (user, session) = (caller.user_id, caller.session_id);
        let settled = match outcome {
            // What is done has ended the session or has forgiven them, or is not yet done.
            Ok(_) | Err(Failure::Refused(WrongPassword | CallerNotLive)) => return,
            Err(Failure::Refused(Weak(_) | Unchanged | EmailTaken | EmailUnchanged)) => {
                self.store.clear_password_attempts(user, session).await
            }
            Err(
                Failure::Refused(NoPassword | ReauthenticationRequired(_))
                | Failure::Throttled(_)
                | Failure::Unavailable
                | Failure::Internal,
            ) => {
                let store = &self.store;
                let attempt = std::slice::from_ref(attempt);
                store
                    .uncount_password_attempts(user, session, attempt)
                    .await
            }
        };
        if let Err(error) = settled {
            tracing::warn!(user_id = %user, session_id = %session, %error, "a password stays counted");
        }
    }

    /// Refuses a password on a session on which as many as may be wrong are being checked.
    fn refuse_until_judged(&self, now: DateTime<Utc>) -> Failure<ConfirmError> {
        let (limits, until) = (&self.core.policy.limits, now + TimeDelta::seconds(1));
        let violation = Violation::new(Limit::Passwords, limits, until, now);
        refuse_throttled(violation.into(), CountedRequest::Password)
    }

    /// Ends the caller's session after too many wrong passwords.
    async fn end_guessed(
        &self,
        caller: Caller,
        account: Option<Account>,
    ) -> Result<(), Failure<ConfirmError>> {
        let cause = (Action::GuessPassword, Actor::System);
        let end =
            |account: Account| Ok(account.end_one(caller.session_id, EndReason::WrongPassword));
        let ended = self.change_account(caller.user_id, account, cause, end);
        ended.await.map(drop)
    }

    /// Reads all items of the caller's partition, and the credential.
    async fn read_own_account(&self, caller: Caller) -> Result<Reading, Failure<ConfirmError>> {
        let now = self.core.now();
        let partition = self.store.read_partition(caller.user_id, now).await?;
        Ok(self.with_credential(caller.user_id, partition).await?)
    }

    /// Reads the credential of the account in a user's partition. If the address has moved or the password has changed since
    /// the partition was read, both are read again: the caller's session may live on.
    async fn with_credential(
        &self,
        user: UserId,
        mut partition: Partition,
    ) -> Result<Reading, StoreError> {
        let mut readings = Readings::new(&self.store);
        loop {
            let account = partition.account.as_ref();
            let credential = self.credential_of(account).await?;
            if readings.fit_or_wait(account, credential.as_ref()).await? {
                return Ok(Reading {
                    partition,
                    credential,
                });
            }
            partition = self.store.read_partition(user, self.core.now()).await?;
        }
    }

    /// What stands under the address of an account, whosever it is. 1 read unit, if the account has a password.
    pub(crate) async fn credential_of(
        &self,
        account: Option<&Account>,
    ) -> Result<Option<Credential>, StoreError> {
        match account.and_then(Account::credential_email) {
            Some(email) => self.store.read_credential(email).await,
            None => Ok(None),
        }
    }

    /// Trims old items after a password change, which has deleted the item of the caller's old session.
    async fn trim_others(&self, caller: Caller, account: &Account, mut snapshot: Partition) {
        snapshot.sessions.retain(|one| one.id != caller.session_id);
        self.store
            .trim_ended_sessions(account, &snapshot.sessions, snapshot.read_at)
            .await;
    }
}

/// The caller's account and session, if the session is live.
fn find_live(partition: &Partition, caller: Caller) -> Option<(&Account, &Session)> {
    let account = partition.account.as_ref()?;
    let mut sessions = partition.sessions.iter();
    let session = sessions.find(|one| one.id == caller.session_id)?;
    let is_live = account.is_live(session, partition.read_at);
    is_live.then_some((account, session))
}

pub(crate) const NOT_LIVE: Failure<ConfirmError> = Failure::Refused(ConfirmError::CallerNotLive);

/// What a change of the caller's own account is decided on.
struct Reading {
    partition: Partition,
    /// The credential of the account in the partition, if that has a password.
    credential: Option<Credential>,
}

/// The caller's own account, live.
#[derive(Clone, Copy)]
pub(crate) struct Own<'r> {
    pub(crate) account: &'r Account,
    pub(crate) session: &'r Session,
    credential: &'r Credential,
}

/// A reading for a password that was counted and is about to be checked.
pub(crate) struct Confirmation {
    caller: Caller,
    reading: Reading,
}

/// A password was the right one.
pub(crate) struct Confirmed {
    /// The version of the password that was checked.
    verified: u64,
}

impl Reading {
    /// Account, session and credential, if the session is live.
    fn own(&self, caller: Caller) -> Result<Own<'_>, Failure<ConfirmError>> {
        if self.has_no_password(caller) {
            return Err(Failure::Refused(ConfirmError::NoPassword));
        }
        self.find_own(caller).ok_or(NOT_LIVE)
    }

    /// Whether the caller is live and signs in elsewhere.
    fn has_no_password(&self, caller: Caller) -> bool {
        let account = self.partition.account.as_ref();
        account.is_some_and(|account| {
            account.identity.is_some() && account.authorize(caller.session_id).is_ok()
        })
    }

    fn find_own(&self, caller: Caller) -> Option<Own<'_>> {
        let (account, session) = find_live(&self.partition, caller)?;
        let credential = self.credential.as_ref()?;
        Some(Own {
            account,
            session,
            credential,
        })
    }

    /// The same for a password that was checked before: it must still be the account's.
    fn own_as_verified(&self, caller: Caller, verified: u64) -> Result<Own<'_>, CallerNotLive> {
        let own = self.find_own(caller).ok_or(CallerNotLive)?;
        if own.credential.password_version == verified {
            Ok(own)
        } else {
            Err(CallerNotLive)
        }
    }
}

impl Confirmation {
    pub(crate) fn own(&self) -> Result<Own<'_>, Failure<ConfirmError>> {
        self.reading.own(self.caller)
    }
}

/// A change of the caller's own account, by a caller who has given the password.
struct OnOwnAccount<'a> {
    service: &'a Service,
    caller: Caller,
    /// The version of the password that was given.
    verified: u64,
    change: OwnChange,
}

/// What a caller changes about their own account.
enum OwnChange {
    ReplacePassword {
        new_hash: PasswordHash,
        /// The session that takes the place of the caller's.
        session: Box<Session>,
    },
    Delete,
}

impl Intent for OnOwnAccount<'_> {
    type Reading = Reading;
    type Refusal = ConfirmError;

    fn action(&self) -> Action {
        match self.change {
            OwnChange::ReplacePassword { .. } => Action::ChangePassword,
            OwnChange::Delete => Action::Delete,
        }
    }

    fn actor(&self) -> Actor {
        Actor::Owner(self.caller.session_id)
    }

    fn account<'r>(&self, reading: &'r Reading) -> Option<&'r Account> {
        reading.partition.account.as_ref()
    }

    async fn read_again(&self) -> Result<Reading, Failure<ConfirmError>> {
        self.service.read_own_account(self.caller).await
    }

    fn decide(&self, reading: &Reading) -> Result<Change, ConfirmError> {
        let own = reading.own_as_verified(self.caller, self.verified)?;
        let (account, caller) = (own.account.clone(), self.caller.session_id);
        Ok(match &self.change {
            OwnChange::ReplacePassword { session, .. } => {
                account.change_password(caller, session.id)?
            }
            OwnChange::Delete => account.delete(caller, self.service.core.now())?,
        })
    }

    fn parts<'a>(&'a self, reading: &'a Reading, change: &'a Change) -> Vec<Part<'a>> {
        let verified = reading.credential.as_ref();
        match &self.change {
            OwnChange::ReplacePassword { new_hash, session } => {
                let mut parts = vec![
                    Part::NewSession(Cow::Borrowed(session)),
                    // So that repeated changes leave nothing behind.
                    Part::NoSession(self.caller.session_id),
                ];
                parts.extend(verified.map(|verified| Part::Hash {
                    verified,
                    hash: new_hash,
                    password_version: change.account.password_version,
                }));
                parts
            }
            OwnChange::Delete => {
                let credential = verified.map(|verified| Part::NoCredential { verified });
                credential.into_iter().collect()
            }
        }
    }

    fn new_session(&self) -> Option<SessionId> {
        match &self.change {
            OwnChange::ReplacePassword { session, .. } => Some(session.id),
            OwnChange::Delete => None,
        }
    }

    fn is_fulfilled(&self, _: &Change, account: Option<&Account>) -> bool {
        match self.change {
            // A password change wants its session in the set and nothing else.
            OwnChange::ReplacePassword { .. } => false,
            // Gone is gone, whoever has deleted it.
            OwnChange::Delete => account.is_none_or(Account::is_deleted),
        }
    }
}
