//! The one way in which who is signed in changes: read, decide, write on the condition that nothing has changed, and
//! otherwise read and decide again. This is the only loop that does so.

use std::marker::PhantomData;

use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::error::CallerNotLive;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_store::{Part, WriteOutcome};

use crate::{Failure, Service};

/// What a request wants to change about an account.
pub(crate) trait Intent {
    /// What it is decided on.
    type Reading;
    /// Why the rules may refuse it.
    type Refusal;

    /// What is done, for the cause.
    fn action(&self) -> Action;

    /// Who does it, for the cause.
    fn actor(&self) -> Actor;

    /// The account in a reading.
    fn account<'r>(&self, reading: &'r Self::Reading) -> Option<&'r Account>;

    /// Reads again what it is decided on, when the account has changed meanwhile.
    fn read_again(
        &self,
    ) -> impl Future<Output = Result<Self::Reading, Failure<Self::Refusal>>> + Send;

    /// The domain's decision.
    fn decide(&self, reading: &Self::Reading) -> Result<Change, Self::Refusal>;

    /// What is written together with the account.
    fn parts<'a>(&'a self, _: &'a Self::Reading, _: &'a Change) -> Vec<Part<'a>> {
        Vec::new()
    }

    /// The session that the change admits. Its id is this request's own, so an account that holds it has been changed by
    /// an earlier attempt of this request.
    fn new_session(&self) -> Option<SessionId> {
        None
    }

    /// Why it is refused if the address is taken to which it moves the credential.
    fn refuse_taken(&self) -> Option<Self::Refusal> {
        None
    }

    /// Whether an account that refuses a repeated decision is as this request wanted it, by an attempt whose reply was lost
    /// or by somebody else. `first` is the first decision.
    fn is_fulfilled(&self, first: &Change, account: Option<&Account>) -> bool {
        has_ended(self.action(), first, account)
    }
}

/// Whether what an action wanted to end has ended. An end of all: the account admits no session, whatever the first decision
/// has found, because whoever has come in since is signed in. Anything else: the first decision ended sessions, and the
/// account admits none of them any more.
pub(crate) fn has_ended(action: Action, first: &Change, account: Option<&Account>) -> bool {
    if action == Action::RevokeAll {
        return account.is_none_or(|account| account.sessions.is_empty());
    }
    let is_admitted = |id| account.is_some_and(|account| account.sessions.contains(id));
    !first.ended.is_empty() && !first.ended.iter().any(|(id, _)| is_admitted(id))
}

/// What became of a change.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives on the stack of one request, and the large one is the usual one"
)]
pub(crate) enum Changed<R> {
    /// This request has changed the account.
    Written {
        /// How.
        change: Change,
        /// What it was decided on.
        reading: R,
        /// The account as it is now: another request may have changed it since, if the reply to the write was lost.
        account: Account,
    },
    /// The account is as the request wanted it, but not by this attempt: there was nothing to write, or somebody else
    /// was faster, or an earlier attempt was written whose reply was lost. Nothing is counted or logged for it.
    Fulfilled {
        /// The account as it is now.
        account: Option<Account>,
    },
}

impl<R> Changed<R> {
    /// The sessions that this request has ended. The loser of a race has ended none.
    pub(crate) fn ended(&self) -> impl Iterator<Item = SessionId> {
        let ended = match self {
            Self::Written { change, .. } => change.ended.as_slice(),
            Self::Fulfilled { .. } => &[],
        };
        ended.iter().map(|(id, _)| *id)
    }
}

/// What is known of a request's last attempt when the account is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastAttempt {
    /// There was none, or it was not made, or to make it again is no second act, as the end of one session is.
    MayBeRepeated,
    /// It was made: the item of the session that it admitted is there.
    Made,
    /// It may have been made, and if it is made again, that may be a second act.
    MayBeMade,
}

impl Service {
    /// Changes an account by a decision that needs nothing but the account. `account` is what was read last.
    ///
    /// # Errors
    /// As [`Service::change`]; without an account, that the caller is not live.
    pub(crate) async fn change_account<E: From<CallerNotLive>>(
        &self,
        user: UserId,
        account: Option<Account>,
        (action, actor): (Action, Actor),
        decide: impl Fn(Account) -> Result<Change, E> + Sync,
    ) -> Result<Changed<Option<Account>>, Failure<E>> {
        let intent = OnAccount {
            service: self,
            user,
            action,
            actor,
            decide,
            refusal: PhantomData,
        };
        self.change(&intent, account).await
    }

    /// Changes an account as an intent wants it. `reading` is what was read last, strongly consistent.
    ///
    /// # Errors
    /// What the intent refuses; [`Failure::Unavailable`] after a bounded number of decisions, or if it cannot be known
    /// whether an attempt was written that others have followed.
    pub(crate) async fn change<I: Intent>(
        &self,
        intent: &I,
        reading: I::Reading,
    ) -> Result<Changed<I::Reading>, Failure<I::Refusal>> {
        let stamp = self.store.new_stamp();
        let mut retries = self.store.retries();
        let mut reading = reading;
        let mut first: Option<Change> = None;
        let mut last_attempt = LastAttempt::MayBeRepeated;
        loop {
            let before = intent.account(&reading).cloned();
            if is_admitted(before.as_ref(), intent.new_session()) {
                return Ok(Changed::Fulfilled { account: before });
            }
            if last_attempt == LastAttempt::Made {
                // The session was admitted and has ended since: the caller cannot have what was asked for.
                return Err(Failure::contended());
            }
            let change = match intent.decide(&reading) {
                Ok(change) => change,
                Err(refusal) => {
                    let fulfilled = first
                        .as_ref()
                        .is_some_and(|first| intent.is_fulfilled(first, before.as_ref()));
                    return if fulfilled {
                        Ok(Changed::Fulfilled { account: before })
                    } else if last_attempt == LastAttempt::MayBeMade {
                        Err(Failure::Unavailable)
                    } else {
                        Err(Failure::Refused(refusal))
                    };
                }
            };
            let Some(before) = before.filter(|before| change.must_be_written(before)) else {
                return Ok(Changed::Fulfilled {
                    account: Some(change.account),
                });
            };
            if last_attempt == LastAttempt::MayBeMade {
                return Err(Failure::Unavailable);
            }
            let cause = Cause {
                action: intent.action(),
                actor: intent.actor(),
                at: self.core.now(),
            };
            let parts = intent.parts(&reading, &change);
            let outcome =
                self.store
                    .write_change(&before, &change, &cause, &parts, stamp, &mut retries);
            last_attempt = match outcome.await? {
                WriteOutcome::Written => {
                    let account = change.account.clone();
                    return Ok(Changed::Written {
                        change,
                        reading,
                        account,
                    });
                }
                WriteOutcome::Followed { account } => {
                    return Ok(Changed::Written {
                        change,
                        reading,
                        account: *account,
                    });
                }
                WriteOutcome::EmailTaken => {
                    let refusal = intent.refuse_taken();
                    return Err(refusal.map_or(Failure::Internal, Failure::Refused));
                }
                WriteOutcome::WrittenBefore => LastAttempt::Made,
                WriteOutcome::Overtaken => LastAttempt::MayBeRepeated,
                WriteOutcome::Forgotten => {
                    let (user_id, action) = (before.id, intent.action().as_str());
                    tracing::warn!(%user_id, action, "a change may have been made whose reply was lost");
                    if intent.action().ends_one_session() {
                        LastAttempt::MayBeRepeated
                    } else {
                        LastAttempt::MayBeMade
                    }
                }
            };
            first.get_or_insert(change);
            retries.pause().await?;
            reading = intent.read_again().await?;
        }
    }
}

/// A change that is decided on the account alone.
struct OnAccount<'a, D, E> {
    service: &'a Service,
    user: UserId,
    action: Action,
    actor: Actor,
    decide: D,
    refusal: PhantomData<fn() -> E>,
}

impl<D, E> Intent for OnAccount<'_, D, E>
where
    D: Fn(Account) -> Result<Change, E> + Sync,
    E: From<CallerNotLive>,
{
    type Reading = Option<Account>;
    type Refusal = E;

    fn action(&self) -> Action {
        self.action
    }

    fn actor(&self) -> Actor {
        self.actor.clone()
    }

    fn account<'r>(&self, reading: &'r Option<Account>) -> Option<&'r Account> {
        reading.as_ref()
    }

    async fn read_again(&self) -> Result<Option<Account>, Failure<E>> {
        Ok(self.service.store.read_account(self.user).await?)
    }

    fn decide(&self, account: &Option<Account>) -> Result<Change, E> {
        (self.decide)(account.clone().ok_or(CallerNotLive)?)
    }
}

/// Whoever is signed in by a change hears so only if the session still counted when the service last looked.
///
/// # Errors
/// [`Failure::Unavailable`] if the session has been ended since it was admitted.
pub(crate) fn require_admitted<E>(
    account: Account,
    session: SessionId,
) -> Result<Account, Failure<E>> {
    match account.sessions.contains(&session) {
        true => Ok(account),
        false => Err(Failure::contended()),
    }
}

fn is_admitted(account: Option<&Account>, session: Option<SessionId>) -> bool {
    match (account, session) {
        (Some(account), Some(session)) => account.sessions.contains(&session),
        (_, None) | (None, _) => false,
    }
}
