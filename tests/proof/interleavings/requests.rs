//! The requests: what each calls, in which order, and what it decides on the replies.
//!
//! A request is written as the plain function that it is in the service. It runs on a [`Wire`] that replays the replies
//! it has had so far, and stops at the first call that has none yet; so all that a request remembers between two steps
//! is the replies it has had, and every decision is the domain crate's.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use latchkey_domain::account::{Account, Change};
use latchkey_domain::cause::EndReason;
use latchkey_domain::clock::age;
use latchkey_domain::error::{AdmitError, CallerNotLive, SessionError};
use latchkey_domain::id::SessionId;
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::refresh::{RefreshVerdict, RotationAttempt, judge};
use latchkey_domain::selection::ended_sessions_beyond;
use latchkey_domain::session::{Session, idle_expiry};

use super::Mechanisms;
use super::table::{
    AccountItem, Call, CredentialItem, Met, Reply, SessionItem, Stamp, Status, Write, name,
};

/// How often a sign-in reads again: `ATTEMPTS` of the sign-in.
const SIGN_IN_ATTEMPTS: u32 = 3;
/// How many ended sessions the trim keeps. The service keeps 20; keeping none deletes at every chance.
const ENDED_SESSIONS_KEPT: usize = 0;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `POST /v1/auth/refresh`.
    Refresh {
        /// The token's session.
        session: SessionId,
        /// The token's rotation.
        presented: u64,
    },
    /// `POST /v1/auth/login`.
    SignIn {
        /// The id that the new session will have.
        new: SessionId,
        /// The password that was typed.
        password: u8,
    },
    /// `DELETE /v1/sessions/{id}`.
    Revoke {
        /// Whose access token it is.
        caller: SessionId,
        /// What is to end.
        target: SessionId,
    },
    /// `POST /v1/sessions/revoke-all`.
    RevokeAll {
        /// Whose access token it is.
        caller: SessionId,
        /// Whether the caller's session continues.
        keep_current: bool,
    },
    /// `POST /v1/auth/logout`.
    Logout {
        /// The token's session.
        session: SessionId,
    },
    /// `PUT /v1/me/password`.
    ChangePassword {
        /// Whose access token it is.
        caller: SessionId,
        /// The id that the session of the reply will have.
        successor: SessionId,
        /// The password as it is.
        current: u8,
        /// The password as it is to be.
        new: u8,
    },
    /// `POST /v1/me/delete`.
    Delete {
        /// Whose access token it is.
        caller: SessionId,
        /// The password as it is.
        password: u8,
    },
    /// `POST /v1/auth/reauthenticate`.
    Reauthenticate {
        /// Whose access token it is.
        caller: SessionId,
        /// The password as it is.
        password: u8,
    },
    /// An administrator closes the account.
    Disable,
    /// `DELETE /v1/sessions/expired`.
    Purge {
        /// Whose access token it is.
        caller: SessionId,
    },
}

/// A request and the time at which it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// What is asked for.
    pub request: Request,
    /// When.
    pub now: DateTime<Utc>,
}

impl Process {
    /// How a trace calls it.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.request {
            Request::Refresh { session, presented } => {
                format!("refresh {}.{presented}", name(*session))
            }
            Request::SignIn { new, .. } => format!("sign-in {}", name(*new)),
            Request::Revoke { caller, target } => {
                format!("revoke {} by {}", name(*target), name(*caller))
            }
            Request::RevokeAll {
                caller,
                keep_current: true,
            } => {
                format!("revoke-all but {}", name(*caller))
            }
            Request::RevokeAll {
                caller,
                keep_current: false,
            } => {
                format!("revoke-all by {}", name(*caller))
            }
            Request::Logout { session } => format!("logout {}", name(*session)),
            Request::ChangePassword { caller, .. } => {
                format!("password change by {}", name(*caller))
            }
            Request::Delete { caller, .. } => format!("deletion by {}", name(*caller)),
            Request::Reauthenticate { caller, .. } => {
                format!("reauthentication by {}", name(*caller))
            }
            Request::Disable => "disabling".to_owned(),
            Request::Purge { caller } => format!("purge by {}", name(*caller)),
        }
    }
}

/// What a refresh token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claims {
    /// The session.
    pub session: SessionId,
    /// Its rotation.
    pub rotation: u64,
    /// When that was made.
    pub issued_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

impl Claims {
    fn of(session: &Session) -> Self {
        Self {
            session: session.id,
            rotation: session.rotation,
            issued_at: session.rotated_at,
            expires_at: session.expires_at(),
        }
    }
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// 200 of a refresh: the successor.
    Refreshed(Claims),
    /// 200 of a reauthentication: the newest refresh token.
    Reauthenticated(Claims),
    /// 200 of a refresh: the token that was presented, which is too young to be replaced.
    NotDue(Claims),
    /// 401 `refresh_token_reused`.
    Reused,
    /// 200 of a sign-in or a password change: the new session.
    SignedIn(SessionId),
    /// 200 or 204 of anything else.
    Done,
    /// 401, 403 or 404: nothing was done.
    Refused(&'static str),
    /// 503: it may or may not have been done.
    Unavailable,
}

impl Answer {
    /// The refresh token of an answer to a refresh or a reauthentication.
    #[must_use]
    pub fn refresh_token(&self) -> Option<&Claims> {
        match self {
            Self::Refreshed(claims) | Self::NotDue(claims) | Self::Reauthenticated(claims) => {
                Some(claims)
            }
            _ => None,
        }
    }

    /// The answer in one word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Refreshed(_) => "refreshed",
            Self::NotDue(_) => "not due",
            Self::Reauthenticated(_) => "reauthenticated",
            Self::Reused => "reused",
            Self::SignedIn(_) => "signed in",
            Self::Done => "done",
            Self::Refused(why) => why,
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a request's function has stopped.
#[derive(Clone, Debug)]
pub enum Stop {
    /// It waits for the replies to these calls, which run in parallel.
    Waiting(Vec<(u8, Call)>),
    /// It is done.
    Answered(Answer),
}

type Step<T> = Result<T, Stop>;

/// In which order a query reads. It is no snapshot: each item is read at another moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// The account may be read before, between or after the sessions: less than what DynamoDB promises.
    AnyOrder,
    /// The account is read first, as it stands first in the partition. Fewer orders to visit.
    AccountFirst,
}

/// A request's connection to DynamoDB: the replies so far, in the order in which they came. Calls that run in
/// parallel have different slots.
#[derive(Debug)]
pub struct Wire<'a> {
    replies: &'a [(u8, Reply)],
    transactions: u8,
    queries: Queries,
}

impl<'a> Wire<'a> {
    fn next_reply(&mut self) -> Option<(u8, Reply)> {
        let (first, rest) = self.replies.split_first()?;
        self.replies = rest;
        Some(first.clone())
    }

    fn call(&mut self, call: Call) -> Step<Reply> {
        match self.next_reply() {
            Some((_, Reply::Unavailable)) => Err(Stop::Answered(Answer::Unavailable)),
            Some((_, reply)) => Ok(reply),
            None => Err(Stop::Waiting(vec![(0, call)])),
        }
    }

    /// Calls in parallel: `join!`. The replies are in the order of the calls.
    fn join(&mut self, calls: Vec<Call>) -> Step<Vec<Reply>> {
        let mut waiting: Vec<(u8, Call)> = (0..).zip(calls).collect();
        let mut replies: Vec<(u8, Reply)> = Vec::new();
        while !waiting.is_empty() {
            match self.next_reply() {
                Some(reply) => {
                    waiting.retain(|(slot, _)| *slot != reply.0);
                    replies.push(reply);
                }
                None => return Err(Stop::Waiting(waiting)),
            }
        }
        replies.sort_by_key(|(slot, _)| *slot);
        let replies: Vec<Reply> = replies.into_iter().map(|(_, reply)| reply).collect();
        if replies.contains(&Reply::Unavailable) {
            return Err(Stop::Answered(Answer::Unavailable));
        }
        Ok(replies)
    }

    fn account(&mut self) -> Step<Option<AccountItem>> {
        match self.call(Call::GetAccount)? {
            Reply::Account(found) => Ok(found),
            other => unreachable!("{other:?}"),
        }
    }

    fn credential(&mut self) -> Step<Option<CredentialItem>> {
        match self.call(Call::GetCredential)? {
            Reply::Credential(found) => Ok(found),
            other => unreachable!("{other:?}"),
        }
    }

    /// `read_partition` and `read_account_with_session`.
    fn query(&mut self, last: Option<SessionId>) -> Step<Reading> {
        let mut account: Option<Option<AccountItem>> = None;
        let mut sessions: Vec<SessionItem> = Vec::new();
        let mut at_end = false;
        loop {
            if let (Some(account), true) = (&account, at_end) {
                return Ok(Reading {
                    account: account.clone(),
                    sessions: to_domain(&sessions),
                    credential: None,
                });
            }
            match self.next_reply() {
                Some((_, Reply::Account(found))) => account = Some(found),
                Some((_, Reply::Session(Some(item)))) => {
                    at_end = last == Some(item.id);
                    sessions.push(item);
                }
                Some((_, Reply::Session(None))) => at_end = true,
                Some((_, other)) => unreachable!("{other:?}"),
                None => {
                    let mut waiting = Vec::new();
                    if account.is_none() {
                        waiting.push((0, Call::GetAccount));
                    }
                    if !at_end && (account.is_some() || self.queries == Queries::AnyOrder) {
                        let after = sessions.last().map(|item| item.id);
                        waiting.push((1, Call::QueryNext { after, last }));
                    }
                    return Err(Stop::Waiting(waiting));
                }
            }
        }
    }

    /// A token for a new transaction.
    fn token(&mut self, stamp: Stamp) -> (Stamp, u8) {
        self.transactions += 1;
        (stamp, self.transactions)
    }
}

/// What a change is decided on.
#[derive(Clone, Default)]
struct Reading {
    account: Option<AccountItem>,
    sessions: Vec<Session>,
    credential: Option<CredentialItem>,
}

/// What a request wants to change: `Intent` of the service.
struct Intent<'a, E> {
    decide: &'a dyn Fn(&Reading) -> Result<Change, E>,
    parts: &'a dyn Fn(&Reading, &Change) -> Vec<Write>,
    new_session: Option<SessionId>,
    is_fulfilled: &'a dyn Fn(&Change, Option<&AccountItem>) -> bool,
    read_again: &'a dyn Fn(&mut Wire<'_>) -> Step<Reading>,
}

/// The service's default: what the first decision was to end has ended.
fn all_ended(first: &Change, account: Option<&AccountItem>) -> bool {
    let is_admitted = |id| account.is_some_and(|account| account.sessions.contains(id));
    !first.ended.is_empty() && !first.ended.iter().any(|(id, _)| is_admitted(id))
}

fn no_parts(_: &Reading, _: &Change) -> Vec<Write> {
    Vec::new()
}

/// `WriteOutcome` of the store.
enum Outcome {
    Written,
    Followed(AccountItem),
    Overtaken { was_written_before: bool },
}

fn to_domain(sessions: &[SessionItem]) -> Vec<Session> {
    sessions.iter().map(SessionItem::to_domain).collect()
}

fn refuse<T>(why: &'static str) -> Step<T> {
    Err(Stop::Answered(Answer::Refused(why)))
}

const CALLER_NOT_LIVE: &str = "caller not live";

/// What the account that a failed condition met says of the request's own write: `own_write`.
fn own_write(
    met: Option<&Met>,
    before: &AccountItem,
    stamp: Stamp,
    with: &Mechanisms,
) -> Option<Outcome> {
    let Some(Met::Account(found)) = met else {
        return None;
    };
    match found.version.checked_sub(before.version) {
        Some(1) if with.own_stamp && found.change == Some(stamp) => Some(Outcome::Written),
        Some(2) if with.previous_stamp && found.previous_change == Some(stamp) => {
            Some(Outcome::Followed(found.clone()))
        }
        Some(_) | None => None,
    }
}

/// One request of a scenario: its number is its stamp.
#[derive(Clone, Copy, Debug)]
pub struct Runner<'a> {
    /// The request.
    pub process: &'a Process,
    /// Its number.
    pub stamp: Stamp,
    /// How many sessions a user may have.
    pub limit: usize,
    /// In which order its queries read.
    pub queries: Queries,
    /// What keeps the protocol right.
    pub with: &'a Mechanisms,
}

impl Runner<'_> {
    /// Runs the request on the replies that it has had, up to the first call that has none.
    #[must_use]
    pub fn run(&self, replies: &[(u8, Reply)]) -> Stop {
        let wire = &mut Wire {
            replies,
            transactions: 0,
            queries: self.queries,
        };
        let ran = match self.process.request {
            Request::Refresh { session, presented } => self.refresh(wire, session, presented),
            Request::SignIn { new, password } => self.sign_in(wire, new, password),
            Request::Revoke { caller, target } => self.revoke(wire, caller, target),
            Request::RevokeAll {
                caller,
                keep_current,
            } => self.revoke_all(wire, caller, keep_current),
            Request::Logout { session } => self.logout(wire, session),
            Request::ChangePassword {
                caller,
                successor,
                current,
                new,
            } => self.change_password(wire, caller, successor, current, new),
            Request::Delete { caller, password } => self.delete(wire, caller, password),
            Request::Reauthenticate { caller, password } => {
                self.reauthenticate(wire, caller, password)
            }
            Request::Disable => self.disable(wire),
            Request::Purge { caller } => self.purge(wire, caller),
        };
        match ran {
            Ok(answer) => Stop::Answered(answer),
            Err(stop) => stop,
        }
    }

    /// `Service::refresh`, with `Store::rotate`.
    fn refresh(&self, wire: &mut Wire<'_>, session: SessionId, presented: u64) -> Step<Answer> {
        let now = self.process.now;
        let policy = SessionPolicy::default();
        let rotate = Call::Rotate {
            session,
            presented,
            now,
            due: now - policy.rotation_interval(),
            idle_expires_at: idle_expiry(now, &policy),
        };
        let (attempt, account) = loop {
            let mut replies = wire
                .join(vec![rotate.clone(), Call::GetAccount])?
                .into_iter();
            let (rotation, account) = (replies.next(), replies.next());
            let Some(Reply::Account(account)) = account else {
                unreachable!("{account:?}")
            };
            match rotation {
                Some(Reply::Written(Some(item))) => {
                    break (RotationAttempt::Rotated(item.to_domain()), account);
                }
                Some(Reply::RotationRefused(found)) => {
                    let found = found.map(|item| item.to_domain());
                    break (RotationAttempt::Refused(found), account);
                }
                // The store tries the update alone again; reading the account again is no different.
                Some(Reply::Conflict) => {}
                other => unreachable!("{other:?}"),
            }
        };
        let mut asked = account.as_ref().map(AccountItem::to_domain);
        if let (Some(account), false) = (&mut asked, self.with.set_check_at_refresh) {
            account.sessions.insert(session);
        }
        let grace = if self.with.grace {
            policy.refresh_grace
        } else {
            TimeDelta::seconds(-1)
        };
        match judge(asked.as_ref(), attempt, presented, now, grace) {
            RefreshVerdict::Rotated(found) | RefreshVerdict::SameSuccessor(found) => {
                Ok(Answer::Refreshed(Claims::of(&found)))
            }
            RefreshVerdict::NotDue(found) => Ok(Answer::NotDue(Claims::of(&found))),
            RefreshVerdict::Reused(found)
                if !self.with.two_ahead_is_reuse
                    && found.rotation > presented + 1
                    && age(found.rotated_at, now) <= grace =>
            {
                refuse("a slow tab")
            }
            RefreshVerdict::Reused(_) => {
                let ended = self.change_account(wire, account, |account| {
                    let account = account.ok_or("invalid")?;
                    Ok(account.end_one(session, EndReason::TokenReuse))
                })?;
                Ok(ended.map_or_else(Answer::Refused, |()| Answer::Reused))
            }
            RefreshVerdict::NotLive(_) | RefreshVerdict::Ahead(_) => Ok(Answer::Refused("invalid")),
        }
    }

    /// `Service::change`, the one loop. Returns the change and what it was decided on, if this request has written it.
    fn change<E>(
        &self,
        wire: &mut Wire<'_>,
        mut reading: Reading,
        intent: &Intent<'_, E>,
    ) -> Step<Result<Option<(Change, Reading)>, E>> {
        let mut first: Option<Change> = None;
        let mut was_written_before = false;
        loop {
            let before = reading.account.clone();
            let is_admitted = |id| before.as_ref().is_some_and(|it| it.sessions.contains(&id));
            if intent.new_session.is_some_and(is_admitted) {
                return Ok(Ok(None));
            }
            if was_written_before {
                return Err(Stop::Answered(Answer::Unavailable));
            }
            let change = match (intent.decide)(&reading) {
                Ok(change) => change,
                Err(refusal) => {
                    let fulfilled = first
                        .as_ref()
                        .is_some_and(|first| (intent.is_fulfilled)(first, before.as_ref()));
                    return Ok(if fulfilled { Ok(None) } else { Err(refusal) });
                }
            };
            let Some(before) = before else {
                return Ok(Ok(None));
            };
            let account = before.to_domain();
            let differs = change.account != account;
            if !(differs || self.with.fence && change.must_be_written(&account)) {
                return Ok(Ok(None));
            }
            let parts = (intent.parts)(&reading, &change);
            match self.write_change(wire, &before, &change, parts)? {
                Outcome::Written => return Ok(Ok(Some((change, reading)))),
                Outcome::Followed(account) => {
                    let admitted = |id| account.sessions.contains(&id);
                    return if intent.new_session.is_none_or(admitted) {
                        Ok(Ok(Some((change, reading))))
                    } else {
                        Err(Stop::Answered(Answer::Unavailable))
                    };
                }
                Outcome::Overtaken {
                    was_written_before: was,
                } => was_written_before = was,
            }
            first.get_or_insert(change);
            reading = (intent.read_again)(wire)?;
        }
    }

    /// `Service::change_account`.
    fn change_account<E>(
        &self,
        wire: &mut Wire<'_>,
        account: Option<AccountItem>,
        decide: impl Fn(Option<Account>) -> Result<Change, E>,
    ) -> Step<Result<(), E>> {
        let of_account = |account| Reading {
            account,
            ..Reading::default()
        };
        let intent = Intent {
            decide: &|reading: &Reading| {
                decide(reading.account.as_ref().map(AccountItem::to_domain))
            },
            parts: &no_parts,
            new_session: None,
            is_fulfilled: &all_ended,
            read_again: &|wire: &mut Wire<'_>| Ok(of_account(wire.account()?)),
        };
        let changed = self.change(wire, of_account(account), &intent)?;
        Ok(changed.map(|_| ()))
    }

    /// `Store::write_change`: one update, or one transaction with the account as its first part.
    fn write_change(
        &self,
        wire: &mut Wire<'_>,
        before: &AccountItem,
        change: &Change,
        parts: Vec<Write>,
    ) -> Step<Outcome> {
        let after = before.followed_by(&change.account, self.stamp);
        let new_session = parts
            .iter()
            .position(|part| matches!(part, Write::NewSession(_)));
        let reply = if parts.is_empty() {
            loop {
                let update = Call::UpdateAccount {
                    before: before.clone(),
                    after: after.clone(),
                };
                match wire.call(update)? {
                    Reply::Conflict => {}
                    reply => break reply,
                }
            }
        } else {
            let account = Write::Account {
                before: before.clone(),
                after,
            };
            self.transact(wire, &[vec![account], parts].concat())?
        };
        match reply {
            Reply::Written(_) => Ok(Outcome::Written),
            Reply::ConditionFailed(failed) => {
                let met = failed.get(&0).and_then(Option::as_ref);
                if let Some(outcome) = own_write(met, before, self.stamp, self.with) {
                    return Ok(outcome);
                }
                let was_written_before =
                    new_session.is_some_and(|position| failed.contains_key(&(position + 1)));
                Ok(Outcome::Overtaken { was_written_before })
            }
            // Only without the mechanism of the same token.
            Reply::Conflict => Ok(Outcome::Overtaken {
                was_written_before: false,
            }),
            other => unreachable!("{other:?}"),
        }
    }

    /// `Service::revoke`.
    fn revoke(&self, wire: &mut Wire<'_>, caller: SessionId, target: SessionId) -> Step<Answer> {
        let (read, expired) = if caller == target {
            (wire.account()?, false)
        } else {
            let read = wire.query(Some(target))?;
            let described = read.sessions.iter().find(|found| found.id == target);
            let expired = described.is_none_or(|found| found.is_expired(self.process.now));
            (read.account, expired)
        };
        let ended = self.change_account(wire, read, |account| {
            let account = account.ok_or(CallerNotLive)?;
            account.authorize(caller)?;
            if expired {
                return Err(SessionError::NotFound);
            }
            account.revoke(caller, target)
        })?;
        Ok(match ended {
            Ok(_) => Answer::Done,
            Err(SessionError::CallerNotLive) => Answer::Refused(CALLER_NOT_LIVE),
            Err(SessionError::NotFound) => Answer::Refused("not found"),
            Err(SessionError::ReauthenticationRequired(_)) => unreachable!("nothing asks for it"),
        })
    }

    /// `Service::revoke_all`.
    fn revoke_all(
        &self,
        wire: &mut Wire<'_>,
        caller: SessionId,
        keep_current: bool,
    ) -> Step<Answer> {
        let read = wire.query(None)?;
        let ended = self.change_account(wire, read.account, |account| {
            account
                .ok_or(CallerNotLive)?
                .revoke_all(caller, keep_current)
        })?;
        Ok(ended.map_or(Answer::Refused(CALLER_NOT_LIVE), |()| Answer::Done))
    }

    /// `Service::sign_out`.
    fn logout(&self, wire: &mut Wire<'_>, session: SessionId) -> Step<Answer> {
        let read = wire.account()?;
        let _ = self.change_account(wire, read, |account| {
            Ok::<_, CallerNotLive>(
                account
                    .ok_or(CallerNotLive)?
                    .end_one(session, EndReason::LoggedOut),
            )
        })?;
        Ok(Answer::Done)
    }

    /// Disabling, as administration does it: `Service::change_account` with the domain's `disable`.
    fn disable(&self, wire: &mut Wire<'_>) -> Step<Answer> {
        let read = wire.account()?;
        let ended = self.change_account(wire, read, |account| {
            account.map(Account::disable).ok_or("not found")
        })?;
        Ok(ended.map_or_else(Answer::Refused, |()| Answer::Done))
    }

    /// `Service::sign_in`.
    fn sign_in(&self, wire: &mut Wire<'_>, new: SessionId, password: u8) -> Step<Answer> {
        let now = self.process.now;
        for _ in 1..=SIGN_IN_ATTEMPTS {
            let Some(credential) = wire.credential()? else {
                return refuse("invalid credentials");
            };
            let partition = wire.query(None)?;
            if credential.password != password {
                return refuse("invalid credentials");
            }
            let reading = self.with_unseen_sessions(wire, partition)?;
            let intent = Intent {
                decide: &|reading: &Reading| self.admit(reading, new, &credential),
                parts: &|_: &Reading, _: &Change| {
                    let mut parts = vec![Write::NewSession(SessionItem::begin(new, now))];
                    if credential.outdated {
                        parts.push(Write::Credential {
                            verified: credential.clone(),
                            after: CredentialItem {
                                outdated: false,
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

    /// `Store::trim_ended_sessions`.
    fn trim(&self, wire: &mut Wire<'_>, change: &Change, known: &[Session]) -> Step<()> {
        let account = Some(&change.account);
        let ended = ended_sessions_beyond(account, known, self.process.now, ENDED_SESSIONS_KEPT);
        self.delete_sessions(wire, ended)
    }

    fn with_unseen_sessions(&self, wire: &mut Wire<'_>, mut read: Reading) -> Step<Reading> {
        if let (Some(account), true) = (&read.account, self.with.lookups_of_unseen) {
            let seen: BTreeSet<SessionId> = read.sessions.iter().map(|found| found.id).collect();
            let unseen = account.sessions.difference(&seen);
            for reply in wire.join(unseen.map(|id| Call::GetSession(*id)).collect())? {
                if let Reply::Session(Some(item)) = reply {
                    read.sessions.push(item.to_domain());
                }
            }
        }
        Ok(read)
    }

    /// `Store::transact`. Without [`Mechanisms::same_token_after_conflict`] a conflict is handed to the caller.
    fn transact(&self, wire: &mut Wire<'_>, writes: &[Write]) -> Step<Reply> {
        let token = wire.token(self.stamp);
        loop {
            let reply = wire.call(Call::Transact {
                token,
                writes: writes.to_vec(),
            })?;
            if reply != Reply::Conflict || !self.with.same_token_after_conflict {
                return Ok(reply);
            }
        }
    }

    /// `Store::delete_sessions`: a batch, whose deletes are made in any order.
    fn delete_sessions(&self, wire: &mut Wire<'_>, sessions: Vec<SessionId>) -> Step<()> {
        wire.join(sessions.into_iter().map(Call::DeleteSession).collect())
            .map(|_| ())
    }

    /// `Service::read_own_account`.
    fn read_own_account(&self, wire: &mut Wire<'_>) -> Step<Reading> {
        let mut reading = wire.query(None)?;
        let has_credential = |account: &AccountItem| account.status != Status::Deleted;
        if reading.account.as_ref().is_some_and(has_credential) {
            reading.credential = wire.credential()?;
        }
        Ok(reading)
    }

    /// `Reading::find_own` and `Reading::own_as_verified` of the account's use cases.
    fn own(
        &self,
        reading: &Reading,
        caller: SessionId,
        verified: Option<u64>,
    ) -> Result<(Account, CredentialItem), CallerNotLive> {
        let session = reading.sessions.iter().find(|found| found.id == caller);
        let (Some(account), Some(session), Some(credential)) =
            (&reading.account, session, &reading.credential)
        else {
            return Err(CallerNotLive);
        };
        let account = account.to_domain();
        let belongs = account.is_live(session, self.process.now)
            && credential.password_version == account.password_version
            && verified.is_none_or(|verified| verified == credential.password_version);
        if belongs {
            Ok((account, credential.clone()))
        } else {
            Err(CallerNotLive)
        }
    }

    /// `Service::change_password`, without the count of attempts.
    fn change_password(
        &self,
        wire: &mut Wire<'_>,
        caller: SessionId,
        successor: SessionId,
        current: u8,
        new: u8,
    ) -> Step<Answer> {
        let reading = self.read_own_account(wire)?;
        let Ok((_, credential)) = self.own(&reading, caller, None) else {
            return refuse(CALLER_NOT_LIVE);
        };
        if credential.password != current {
            return refuse("wrong password");
        }
        let verified = Some(credential.password_version);
        let intent = Intent {
            decide: &|reading: &Reading| {
                let (account, _) = self.own(reading, caller, verified)?;
                account.change_password(caller, successor)
            },
            parts: &|reading: &Reading, change: &Change| {
                let mut parts = vec![
                    Write::NewSession(SessionItem::begin(successor, self.process.now)),
                    Write::NoSession(caller),
                ];
                parts.extend(
                    reading
                        .credential
                        .clone()
                        .map(|verified| Write::Credential {
                            verified,
                            after: CredentialItem {
                                password: new,
                                outdated: false,
                                password_version: change.account.password_version,
                            },
                        }),
                );
                parts
            },
            new_session: Some(successor),
            is_fulfilled: &|_: &Change, _: Option<&AccountItem>| false,
            read_again: &|wire: &mut Wire<'_>| self.read_own_account(wire),
        };
        match self.change(wire, reading, &intent)? {
            Ok(written) => {
                if let Some((change, mut reading)) = written {
                    reading.sessions.retain(|found| found.id != caller);
                    self.trim(wire, &change, &reading.sessions)?;
                }
                Ok(Answer::SignedIn(successor))
            }
            Err(CallerNotLive) => refuse(CALLER_NOT_LIVE),
        }
    }

    /// `Service::reauthenticate`, with `Store::reauthenticate`, without the count of attempts.
    fn reauthenticate(&self, wire: &mut Wire<'_>, caller: SessionId, password: u8) -> Step<Answer> {
        let now = self.process.now;
        let policy = SessionPolicy::default();
        let reading = self.read_own_account(wire)?;
        let Ok((_, credential)) = self.own(&reading, caller, None) else {
            return refuse(CALLER_NOT_LIVE);
        };
        if credential.password != password {
            return refuse("wrong password");
        }
        let Some(session) = reading.sessions.iter().find(|found| found.id == caller) else {
            return refuse(CALLER_NOT_LIVE);
        };
        let prove = Call::Prove {
            session: caller,
            now,
        };
        let rotate = session.is_rotation_due(now, &policy).then(|| Call::Rotate {
            session: caller,
            presented: session.rotation,
            now,
            due: now - policy.rotation_interval(),
            idle_expires_at: idle_expiry(now, &policy),
        });
        let first = rotate.unwrap_or_else(|| prove.clone());
        let (written, account) = loop {
            let replies = wire.join(vec![first.clone(), Call::GetAccount])?;
            let [written, Reply::Account(account)] = replies.as_slice() else {
                unreachable!("{replies:?}")
            };
            if *written != Reply::Conflict {
                break (written.clone(), account.clone());
            }
        };
        let mut written = written;
        while let (Reply::RotationRefused(_) | Reply::Conflict, Call::Rotate { .. }) =
            (&written, &first)
        {
            written = wire.call(prove.clone())?;
            if let Reply::RotationRefused(_) = written {
                break;
            }
        }
        let Reply::Written(Some(item)) = written else {
            return refuse(CALLER_NOT_LIVE);
        };
        let session = item.to_domain();
        let is_live = account.is_some_and(|account| account.to_domain().is_live(&session, now));
        if is_live || !self.with.set_check_at_refresh {
            Ok(Answer::Reauthenticated(Claims::of(&session)))
        } else {
            refuse(CALLER_NOT_LIVE)
        }
    }

    /// `Service::delete_account`, with `Store::finish_deletion`.
    fn delete(&self, wire: &mut Wire<'_>, caller: SessionId, password: u8) -> Step<Answer> {
        let reading = self.read_own_account(wire)?;
        let Ok((_, credential)) = self.own(&reading, caller, None) else {
            return refuse(CALLER_NOT_LIVE);
        };
        if credential.password != password {
            return refuse("wrong password");
        }
        let verified = Some(credential.password_version);
        let intent = Intent {
            decide: &|reading: &Reading| {
                let (account, _) = self.own(reading, caller, verified)?;
                account.delete(caller, self.process.now)
            },
            parts: &|reading: &Reading, _: &Change| {
                let verified = reading.credential.clone();
                let part = verified.map(|verified| Write::NoCredential { verified });
                part.into_iter().collect()
            },
            new_session: None,
            is_fulfilled: &|_: &Change, account: Option<&AccountItem>| {
                account.is_none_or(|account| account.status == Status::Deleted)
            },
            read_again: &|wire: &mut Wire<'_>| self.read_own_account(wire),
        };
        match self.change(wire, reading, &intent)? {
            Ok(_) => {
                self.finish_deletion(wire)?;
                Ok(Answer::Done)
            }
            Err(CallerNotLive) => refuse(CALLER_NOT_LIVE),
        }
    }

    fn finish_deletion(&self, wire: &mut Wire<'_>) -> Step<()> {
        let read = wire.query(None)?;
        if read
            .account
            .is_some_and(|account| account.status == Status::Deleted)
        {
            let sessions = read.sessions.iter().map(|item| item.id).collect();
            self.delete_sessions(wire, sessions)?;
            wire.call(Call::DeleteDeletedAccount)?;
        }
        Ok(())
    }

    /// `Service::remove_ended_sessions`, with `Store::purge_ended_sessions`.
    fn purge(&self, wire: &mut Wire<'_>, caller: SessionId) -> Step<Answer> {
        let read = wire.query(None)?;
        let known = read.sessions;
        let authorized = read
            .account
            .as_ref()
            .map(|account| account.to_domain().authorize(caller));
        if authorized != Some(Ok(())) {
            return refuse(CALLER_NOT_LIVE);
        }
        let judge = if self.with.account_read_after_items {
            wire.account()?
        } else {
            read.account
        };
        let judge = judge.as_ref().map(AccountItem::to_domain);
        let ended = ended_sessions_beyond(judge.as_ref(), &known, self.process.now, 0);
        let (expired, gone): (Vec<SessionId>, Vec<SessionId>) = ended.into_iter().partition(|id| {
            self.with.purge_condition
                && judge
                    .as_ref()
                    .is_some_and(|account| account.sessions.contains(id))
        });
        self.delete_sessions(wire, gone)?;
        for session in known.iter().filter(|session| expired.contains(&session.id)) {
            wire.call(Call::DeleteSessionUnlessRefreshed {
                id: session.id,
                rotation: session.rotation,
            })?;
        }
        Ok(Answer::Done)
    }
}
