//! What must hold, whatever the order: the guarantees, as rules on a step, on an answer and on every table.
//!
//! To state them, each state carries a little history. It is the checker's own: no request can see it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use latchkey_domain::id::SessionId;
use latchkey_domain::password::{Password, PasswordHash, WorkingMemory, verify};
use latchkey_domain::policy::SessionPolicy;

use super::call::CallInfo;
use super::request::{Answer, Number, Process, Request, Target, Wallet};
use super::table::{AccountView, SessionView, Status, View};

/// A rule that was broken, in words.
pub type Broken = String;

/// What is remembered of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The set at the moment of its first call. A real request arrives before that, so a rule about what "starts
    /// later" is checked for more requests than it is promised to.
    pub(super) started: Option<BTreeSet<SessionId>>,
    /// What had left the set before that.
    pub(super) left_before: BTreeSet<SessionId>,
    /// The requests that had not begun when it last read the account.
    unbegun_at_read: BTreeSet<usize>,
    /// Whether its own write has changed the account.
    pub(super) committed: bool,
    /// What it was answered.
    pub(super) answer: Option<Answer>,
}

/// What is remembered of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History {
    pub(super) seen: Vec<Seen>,
    /// The ids that have left the set.
    pub(super) left: BTreeSet<SessionId>,
    /// The rotations that were made: session and successor.
    rotations: BTreeSet<(SessionId, u64)>,
}

/// A write and what its sender had read: the requests that had not begun when the account was read.
pub type DecidedBefore = BTreeSet<usize>;

/// The rules of a scenario.
#[derive(Debug)]
pub struct Rules {
    /// Its requests.
    pub processes: Vec<Process>,
    /// What the clients hold.
    pub wallet: Wallet,
    /// The sessions that the requests begin.
    pub begun: BTreeMap<u8, SessionId>,
    /// The table as it begins.
    pub initial: View,
    /// How many sessions a user may have.
    pub limit: usize,
    /// What was found of a hash and a password.
    pub matches: RefCell<HashMap<(String, &'static str), bool>>,
}

pub(super) fn check(holds: bool, broken: impl FnOnce() -> Broken) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Rules {
    /// The history before anything has happened.
    #[must_use]
    pub fn beginning(&self) -> History {
        History {
            seen: vec![Seen::default(); self.processes.len()],
            ..History::default()
        }
    }

    /// How a trace calls a session.
    #[must_use]
    pub fn name(&self, id: SessionId) -> String {
        let of_scene = self.wallet.sessions.iter().find(|(_, of)| **of == id);
        let begun = self.begun.iter().find(|(_, of)| **of == id);
        match (of_scene, begun) {
            (Some((number, _)), _) => format!("s{number}"),
            (None, Some((request, _))) => format!("the session of request {}", request + 1),
            (None, None) => id.to_string(),
        }
    }

    pub(super) fn session(&self, number: Number) -> SessionId {
        self.wallet.sessions[&number]
    }

    /// Whether this password is the one of a hash.
    fn is_password(&self, hash: &str, password: &'static str) -> bool {
        let key = (hash.to_owned(), password);
        let known = self.matches.borrow().get(&key).copied();
        known.unwrap_or_else(|| {
            let (text, hash) = (Password::new(password.to_owned()), hash.to_owned());
            let hash = PasswordHash::from_phc(hash);
            let is = verify(&text, &hash, &mut WorkingMemory::default()) == Ok(true);
            self.matches.borrow_mut().insert(key, is);
            is
        })
    }

    /// Notes that a request makes a call, or a step of one that reads the account.
    pub fn note_call(
        &self,
        history: &mut History,
        view: &View,
        request: usize,
        reads_account: bool,
    ) {
        if history.seen[request].started.is_none() {
            history.seen[request].started = Some(view.live_set());
            history.seen[request].left_before = history.left.clone();
        }
        if reads_account {
            let unbegun =
                (0..self.processes.len()).filter(|other| history.seen[*other].started.is_none());
            history.seen[request].unbegun_at_read = unbegun.collect();
        }
    }

    /// What a request has decided before, if it sends a write now.
    #[must_use]
    pub fn decided_before(&self, history: &History, request: usize) -> DecidedBefore {
        history.seen[request].unbegun_at_read.clone()
    }

    /// The rules on one step: `call`, a write on behalf of `request`, was made and made `after` of
    /// `before`.
    ///
    /// # Errors
    /// The rule that it has broken.
    pub fn check_step(
        &self,
        history: &mut History,
        request: usize,
        call: &CallInfo,
        decided_before: &DecidedBefore,
        before: &View,
        after: &View,
    ) -> Result<(), Broken> {
        if call.rotates {
            let id = |sk: &str| sk.strip_prefix("SESSION#")?.parse().ok();
            let session: Option<SessionId> = call.keys.first().and_then(|(_, sk)| id(sk));
            let session = session.expect("a session");
            let rotation = after.sessions.get(&session).map_or(0, |item| item.rotation);
            check(history.rotations.insert((session, rotation)), || {
                let name = self.name(session);
                format!("guarantee 1: {name}.{rotation} was made twice, the lineage has forked")
            })?;
            let had = before
                .sessions
                .get(&session)
                .map_or(0, |item| item.rotation);
            check(rotation == had + 1, || {
                let name = self.name(session);
                format!("guarantee 1: {name}.{had} was followed by {rotation}")
            })?;
        }
        if let (Some(was), Some(is)) = (&before.account, &after.account)
            && (was.version, &was.change) != (is.version, &is.change)
        {
            self.check_change(history, request, decided_before, before, was, is)?;
            self.check_sign_in(request, was, after)?;
        }
        self.check_table(history, after)
    }

    /// The rules on a change of the account.
    fn check_change(
        &self,
        history: &mut History,
        request: usize,
        decided_before: &DecidedBefore,
        table: &View,
        was: &AccountView,
        is: &AccountView,
    ) -> Result<(), Broken> {
        let author = &mut history.seen[request];
        check(!author.committed, || {
            "guarantee 7: one request has made its change twice".to_owned()
        })?;
        author.committed = true;
        check(!matches!(author.answer, Some(Answer::Refused(_))), || {
            "guarantee 7: a change was made after its request had been refused".to_owned()
        })?;
        self.check_link(request, was)?;
        let left: Vec<SessionId> = was.sessions.difference(&is.sessions).copied().collect();
        for id in &left {
            check(self.may_end(request, *id, was, table), || {
                format!(
                    "request {} has no right to end {}",
                    request + 1,
                    self.name(*id)
                )
            })?;
        }
        history.left.extend(left);
        for id in is.sessions.difference(&was.sessions) {
            check(!history.left.contains(id), || {
                format!("{} had left the set and came back", self.name(*id))
            })?;
            check(
                !self.was_ended_since(history, decided_before, request),
                || {
                    format!(
                        "guarantee 3: {} comes in on a read from before the end of all sessions",
                        self.name(*id)
                    )
                },
            )?;
        }
        Ok(())
    }

    /// The rules on a link that does what it is for.
    fn check_link(&self, request: usize, was: &AccountView) -> Result<(), Broken> {
        match self.processes[request].request {
            Request::ResetPassword { .. } => check(was.password_version == 1, || {
                "a link has replaced a password that was chosen after it was sent".to_owned()
            }),
            Request::ChangeEmail { asked_on } => check(
                was.sessions.contains(&self.session(asked_on)) && was.email_version == 0,
                || {
                    let asked_on = self.name(self.session(asked_on));
                    format!(
                        "a link has moved the address that was asked for on {asked_on}, which had ended"
                    )
                },
            ),
            _ => Ok(()),
        }
    }

    /// Whether somebody has begun and been answered "all have ended" since the request read what it decided on.
    fn was_ended_since(
        &self,
        history: &History,
        decided_before: &DecidedBefore,
        request: usize,
    ) -> bool {
        decided_before.iter().any(|other| {
            let ends_all = match self.processes[*other].request {
                Request::RevokeAll { .. }
                | Request::ChangePassword { .. }
                | Request::ResetPassword { .. }
                | Request::Delete { .. }
                | Request::AdminRevokeAll
                | Request::AdminDelete
                | Request::Disable => true,
                Request::Refresh { .. }
                | Request::SignIn { .. }
                | Request::Revoke { .. }
                | Request::Logout { .. }
                | Request::ChangeEmail { .. }
                | Request::Reauthenticate { .. }
                | Request::AdminRevoke { .. }
                | Request::List { .. }
                | Request::Rename { .. }
                | Request::CurrentSession { .. }
                | Request::Enable
                | Request::ChangeRoles
                | Request::FindSession { .. }
                | Request::CleanUp
                | Request::Purge { .. } => false,
            };
            let answered = matches!(
                history.seen[*other].answer,
                Some(Answer::Done | Answer::SignedIn(_))
            );
            *other != request && ends_all && answered
        })
    }

    /// Whether a token had been replaced more than the grace before, so that whoever presents it ends its session.
    pub(super) fn was_replaced_long_before(
        &self,
        session: SessionId,
        presented: u64,
        now: DateTime<Utc>,
    ) -> bool {
        let grace = SessionPolicy::default().refresh_grace;
        let begun_with = self.initial.sessions.get(&session);
        begun_with.is_some_and(|item| item.rotation > presented && now - item.rotated_at > grace)
    }

    /// Whether a request may take this id out of the set: each ends what it was asked to, and nothing else.
    fn may_end(&self, request: usize, id: SessionId, was: &AccountView, table: &View) -> bool {
        let process = &self.processes[request];
        match process.request {
            Request::Refresh { session, presented } => {
                let session = self.session(session);
                id == session && self.was_replaced_long_before(session, presented, process.now)
            }
            Request::Revoke { target, .. } => id == self.target(target),
            Request::AdminRevoke { target } => id == self.session(target),
            Request::RevokeAll {
                caller,
                keep_current,
            } => !(keep_current && id == self.session(caller)),
            Request::Logout { session } => id == self.session(session),
            Request::SignIn { .. } => {
                // A refresh does not move the account's version, so it may fall between a sign-in's reading a session
                // and its admission: the session may be judged as it was when it was read.
                let mut as_read = table.sessions.clone();
                as_read.extend(self.initial.sessions.clone());
                let latest = process.now + process.tick * 100;
                [&table.sessions, &as_read].iter().any(|items| {
                    self.makes_room(id, was, items, process.now)
                        || self.makes_room(id, was, items, latest)
                })
            }
            Request::ChangePassword { .. }
            | Request::ResetPassword { .. }
            | Request::Delete { .. }
            | Request::AdminDelete
            | Request::AdminRevokeAll
            | Request::Disable => true,
            Request::Purge { .. }
            | Request::Reauthenticate { .. }
            | Request::List { .. }
            | Request::Rename { .. }
            | Request::CurrentSession { .. }
            | Request::Enable
            | Request::ChangeRoles
            | Request::FindSession { .. }
            | Request::CleanUp
            | Request::ChangeEmail { .. } => false,
        }
    }

    pub(super) fn target(&self, target: Target) -> SessionId {
        target.id(&self.wallet, &self.begun)
    }

    /// Whether the session has expired, or is one of the least recently used that must go for one more to fit.
    fn makes_room(
        &self,
        id: SessionId,
        was: &AccountView,
        items: &BTreeMap<SessionId, SessionView>,
        now: DateTime<Utc>,
    ) -> bool {
        let unexpired = |id| {
            let described: Option<&SessionView> = items.get(id);
            described.filter(|found| now < found.expires_at)
        };
        let Some(session) = unexpired(&id) else {
            return true;
        };
        let counted: Vec<_> = was.sessions.iter().filter_map(unexpired).collect();
        let used_before = counted
            .iter()
            .filter(|other| (other.last_used_at, other.id) < (session.last_used_at, session.id))
            .count();
        used_before < (counted.len() + 1).saturating_sub(self.limit)
    }

    /// The rules on a sign-in that has just come in.
    fn check_sign_in(&self, request: usize, was: &AccountView, after: &View) -> Result<(), Broken> {
        let Request::SignIn { password } = self.processes[request].request else {
            return Ok(());
        };
        let is = after.credential.as_ref();
        check(
            is.is_some_and(|(_, hash)| self.is_password(hash, password)),
            || "guarantee 3: somebody came in with a password that was replaced".to_owned(),
        )?;
        let version = after
            .account
            .as_ref()
            .map(|account| account.password_version);
        check(version == Some(was.password_version), || {
            "a sign-in has changed the number of the password".to_owned()
        })
    }

    /// The rules on every table.
    fn check_table(&self, history: &History, table: &View) -> Result<(), Broken> {
        let Some(account) = &table.account else {
            return Ok(());
        };
        check(account.sessions.len() <= self.limit, || {
            format!(
                "guarantee 4: more than {} sessions are admitted",
                self.limit
            )
        })?;
        check(
            account.status == Status::Active || account.sessions.is_empty(),
            || "guarantee 3: somebody is signed in on an account that is not active".to_owned(),
        )?;
        let has_password = account.status != Status::Deleted;
        let credential = table.credential.as_ref();
        let belongs = credential.is_some_and(|(version, _)| *version == account.password_version);
        check(has_password == belongs, || {
            "the account is not found by its address and password".to_owned()
        })?;
        check(table.credentials == usize::from(has_password), || {
            format!("{} credentials lead to the account", table.credentials)
        })?;
        for id in &account.sessions {
            let refreshed = history.rotations.iter().any(|(session, _)| session == id);
            let begun_with = self.initial.sessions.get(id);
            let had_expired =
                !refreshed && begun_with.is_some_and(|item| item.expires_at <= self.latest());
            check(table.sessions.contains_key(id) || had_expired, || {
                format!(
                    "the item of {} was deleted, which is in the set",
                    self.name(*id)
                )
            })?;
        }
        Ok(())
    }

    /// The latest time of any request.
    fn latest(&self) -> DateTime<Utc> {
        let times = self.processes.iter().map(|process| process.now);
        times.max().unwrap_or(DateTime::UNIX_EPOCH)
    }
}
