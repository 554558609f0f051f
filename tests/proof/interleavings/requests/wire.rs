//! A request's connection to DynamoDB: it replays the replies so far, and stops at the first call that has none yet.

use latchkey_domain::id::SessionId;
use latchkey_domain::session::Session;

use super::Answer;
use crate::proof::interleavings::table::{
    AccountItem, Call, CredentialItem, Reply, SessionItem, Stamp,
};

/// Why a request's function has stopped.
#[derive(Clone, Debug)]
pub enum Stop {
    /// It waits for the replies to these calls, which run in parallel.
    Waiting(Vec<(u8, Call)>),
    /// It is done.
    Answered(Answer),
}

pub(super) type Step<T> = Result<T, Stop>;

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
pub(super) struct Wire<'a> {
    pub(super) replies: &'a [(u8, Reply)],
    pub(super) transactions: u8,
    pub(super) queries: Queries,
}

impl<'a> Wire<'a> {
    fn next_reply(&mut self) -> Option<(u8, Reply)> {
        let (first, rest) = self.replies.split_first()?;
        self.replies = rest;
        Some(first.clone())
    }

    pub(super) fn call(&mut self, call: Call) -> Step<Reply> {
        match self.next_reply() {
            Some((_, Reply::Unavailable)) => Err(Stop::Answered(Answer::Unavailable)),
            Some((_, reply)) => Ok(reply),
            None => Err(Stop::Waiting(vec![(0, call)])),
        }
    }

    /// Calls in parallel: `join!`. The replies are in the order of the calls.
    pub(super) fn join(&mut self, calls: Vec<Call>) -> Step<Vec<Reply>> {
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

    pub(super) fn account(&mut self) -> Step<Option<AccountItem>> {
        match self.call(Call::GetAccount)? {
            Reply::Account(found) => Ok(found),
            other => unreachable!("{other:?}"),
        }
    }

    pub(super) fn credential(&mut self, address: u64) -> Step<Option<CredentialItem>> {
        match self.call(Call::GetCredential(address))? {
            Reply::Credential(found) => Ok(found),
            other => unreachable!("{other:?}"),
        }
    }

    /// `read_partition` and `read_account_with_session`.
    pub(super) fn query(&mut self, last: Option<SessionId>) -> Step<Reading> {
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
    pub(super) fn token(&mut self, stamp: Stamp) -> (Stamp, u8) {
        self.transactions += 1;
        (stamp, self.transactions)
    }
}

/// What a change is decided on.
#[derive(Clone, Default)]
pub(super) struct Reading {
    pub(super) account: Option<AccountItem>,
    pub(super) sessions: Vec<Session>,
    pub(super) credential: Option<CredentialItem>,
}

impl Reading {
    /// The address that the account has.
    pub(super) fn address(&self) -> u64 {
        let account = self.account.as_ref();
        account.map_or(0, |account| account.email_version)
    }
}

fn to_domain(sessions: &[SessionItem]) -> Vec<Session> {
    sessions.iter().map(SessionItem::to_domain).collect()
}

pub(super) fn refuse<T>(why: &'static str) -> Step<T> {
    Err(Stop::Answered(Answer::Refused(why)))
}
