//! A reference model of accounts and sessions: what the design says, in plain maps, with one thing after another.
//!
//! It shares only the types of ids with the service. It has no table, no versions and no tokens: a token is what it
//! says, and [`Model`] answers it as the design's tables do. Times are milliseconds since the epoch, or whole seconds
//! where a token has them; an expiry is a whole second.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use latchkey_domain::id::{SessionId, UserId};

use super::counters::{Counters, DeviceToken, Guesser};

/// What an operator sets, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the settings of the service, by their names")]
pub struct Rules {
    pub access: i64,
    pub idle: i64,
    pub absolute: i64,
    pub grace: i64,
    pub retention: i64,
    pub limit: usize,
    /// How many wrong passwords in a row are checked at once; 0 counts none.
    pub free_guesses: u32,
}

impl Rules {
    /// How long a refresh token stays the newest at least, after the first.
    #[must_use]
    pub fn interval(&self) -> i64 {
        if self.grace == 0 {
            0
        } else {
            self.grace + CLOCK_DIFFERENCE
        }
    }
}

const CLOCK_DIFFERENCE: i64 = 5 * 1000;
/// How many ended sessions a sign-in leaves.
const ENDED_KEPT: usize = 20;
const DAY: i64 = 24 * 3600 * 1000;
/// How old a proof may be for a deletion.
const RECENT: i64 = 10 * 60 * 1000;

/// What an access token says.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the claims of RFC 9068")]
pub struct AccessToken {
    pub sub: UserId,
    pub sid: SessionId,
    pub iat: i64,
    pub exp: i64,
    pub auth_time: i64,
}

/// What a refresh token says.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the claims of RFC 7519")]
pub struct RefreshToken {
    pub sub: UserId,
    pub sid: SessionId,
    pub rotation: u64,
    pub iat: i64,
    pub exp: i64,
}

/// A session as a reply shows it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields of the reply")]
pub struct Shown {
    pub id: SessionId,
    pub name: Option<String>,
    pub device_name: String,
    pub ip_address: String,
    pub created_at: i64,
    pub last_used_at: i64,
    pub expires_at: i64,
    pub is_current: bool,
}

/// A reply that is no problem.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields of the replies")]
pub enum Answer {
    Tokens {
        status: u16,
        access: AccessToken,
        expires_in: i64,
        refresh: RefreshToken,
        refresh_expires_in: i64,
        session: Shown,
        user: Option<(UserId, String, i64)>,
    },
    Session(Shown),
    Sessions(Vec<Shown>),
    User(UserId, String, i64),
    Count(usize),
    Nothing,
}

/// What a request is answered: a reply, or the status and the code of a problem.
pub type Outcome = Result<Answer, (u16, String)>;

/// A session's item. That it is there does not say that the session counts.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the attributes of the design's table")]
pub struct Session {
    pub id: SessionId,
    pub user: UserId,
    pub rotation: u64,
    pub rotated_at: i64,
    pub name: Option<String>,
    pub device_name: String,
    pub ip_address: String,
    pub created_at: i64,
    pub authenticated_at: i64,
    pub last_used_at: i64,
    pub idle_end: i64,
    pub absolute_end: i64,
    pub password_attempts: u32,
}

/// What an account may do.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "they say it")]
pub enum Status {
    Active,
    Disabled,
    /// Emptied; the item may go at this time.
    Deleted(i64),
}

/// An account with its credential.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the attributes of the design's table")]
pub struct Account {
    pub email: String,
    pub password: String,
    /// How many passwords it has had.
    pub passwords: u32,
    /// How often its address was replaced.
    pub moves: u32,
    pub status: Status,
    pub admitted: BTreeSet<SessionId>,
    pub created_at: i64,
}

/// What a cleanup reports.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields of the report")]
pub struct Cleaned {
    pub accounts: u64,
    pub live: u64,
    pub not_live: u64,
    pub expired: u64,
    pub orphaned: u64,
    pub of_deleted_users: u64,
}

/// Where a new session comes from, and the ids that the service drew for it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they say it")]
pub struct SignIn {
    pub user: UserId,
    pub session: SessionId,
    pub device_name: String,
    pub ip_address: String,
}

/// All accounts and sessions, and what time it is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "they say it")]
pub struct Model {
    pub rules: Rules,
    pub now: i64,
    pub accounts: BTreeMap<UserId, Account>,
    pub sessions: BTreeMap<SessionId, Session>,
    pub counters: Counters,
}

/// The whole second that a time is in.
#[must_use]
pub fn seconds(millis: i64) -> i64 {
    millis.div_euclid(1000)
}

fn whole(millis: i64) -> i64 {
    seconds(millis) * 1000
}

fn refused<T>(status: u16, code: &str) -> Result<T, (u16, String)> {
    Err((status, code.to_owned()))
}

/// How many wrong passwords end a session.
const MAX_WRONG_PASSWORDS: u32 = 5;

impl Session {
    /// When it expires.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.idle_end.min(self.absolute_end)
    }
}

/// What is true of sessions.
impl Model {
    /// The one rule: the account is active and holds the session, and neither expiry has come.
    #[must_use]
    pub fn is_live(&self, session: &Session) -> bool {
        self.accounts.get(&session.user).is_some_and(|account| {
            account.status == Status::Active && account.admitted.contains(&session.id)
        }) && self.now < session.end()
    }

    /// A user's live sessions, the most recently used first; the id settles a tie.
    #[must_use]
    pub fn live(&self, user: UserId) -> Vec<&Session> {
        self.of(user, true)
    }

    fn of(&self, user: UserId, live: bool) -> Vec<&Session> {
        let of_user = self.sessions.values().filter(|one| one.user == user);
        let mut found: Vec<_> = of_user.filter(|one| self.is_live(one) == live).collect();
        found.sort_by_key(|one| Reverse((one.last_used_at, one.id)));
        found
    }

    /// The account that an address and a password lead to.
    #[must_use]
    pub fn account_of(&self, email: &str) -> Option<(UserId, &Account)> {
        let mut accounts = self.accounts.iter();
        let found = accounts.find(|(_, account)| account.email == email);
        found.map(|(user, account)| (*user, account))
    }

    /// When the item of a session may go.
    #[must_use]
    pub fn delete_after(&self, session: &Session) -> i64 {
        whole(session.absolute_end + self.rules.retention)
    }

    fn shown(session: &Session, current: SessionId) -> Shown {
        Shown {
            id: session.id,
            name: session.name.clone(),
            device_name: session.device_name.clone(),
            ip_address: session.ip_address.clone(),
            created_at: session.created_at,
            last_used_at: session.last_used_at,
            expires_at: session.end(),
            is_current: session.id == current,
        }
    }

    /// Fresh tokens of a session as it is now: its refresh token is the same each time.
    fn tokens(&self, status: u16, sid: SessionId, tell_user: bool) -> Outcome {
        let (session, iat) = (&self.sessions[&sid], seconds(self.now));
        let (sub, end) = (session.user, seconds(session.end()));
        let exp = end.min(seconds(self.now + self.rules.access));
        let account = &self.accounts[&sub];
        Ok(Answer::Tokens {
            status,
            access: AccessToken {
                sub,
                sid,
                iat,
                exp,
                auth_time: seconds(session.authenticated_at),
            },
            expires_in: exp - iat,
            refresh: RefreshToken {
                sub,
                sid,
                rotation: session.rotation,
                iat: seconds(session.rotated_at),
                exp: end,
            },
            refresh_expires_in: end - iat,
            session: Self::shown(session, sid),
            user: tell_user.then(|| (sub, account.email.clone(), account.created_at)),
        })
    }

    /// Lets a session in: what has expired leaves, then the least recently used, until it fits.
    fn admit(&mut self, sign_in: &SignIn, name: Option<String>) {
        let live = self.live(sign_in.user);
        let kept = live.iter().take(self.rules.limit - 1).map(|one| one.id);
        let admitted: BTreeSet<_> = kept.chain([sign_in.session]).collect();
        let session = Session {
            id: sign_in.session,
            user: sign_in.user,
            rotation: 0,
            rotated_at: self.now,
            name,
            device_name: sign_in.device_name.clone(),
            ip_address: sign_in.ip_address.clone(),
            created_at: self.now,
            authenticated_at: self.now,
            last_used_at: self.now,
            idle_end: whole(self.now + self.rules.idle),
            absolute_end: whole(self.now + self.rules.absolute),
            password_attempts: 0,
        };
        self.sessions.insert(session.id, session);
        if let Some(account) = self.accounts.get_mut(&sign_in.user) {
            account.admitted = admitted;
        }
    }

    fn remove(&mut self, sessions: &[SessionId]) -> usize {
        self.sessions.retain(|id, _| !sessions.contains(id));
        sessions.len()
    }

    /// The caller's session, if the token is good and it is live.
    fn caller(&self, token: &AccessToken) -> Result<&Session, (u16, String)> {
        let session = self.sessions.get(&token.sid);
        match session.filter(|one| seconds(self.now) < token.exp && self.is_live(one)) {
            Some(session) => Ok(session),
            None => refused(401, "invalid_token"),
        }
    }

    /// A live session of the caller; somebody else's is not told from none.
    fn own(&self, token: &AccessToken, id: SessionId) -> Result<SessionId, (u16, String)> {
        let user = self.caller(token)?.user;
        match self.live(user).iter().any(|one| one.id == id) {
            true => Ok(id),
            false => refused(404, "session_not_found"),
        }
    }

    /// Counts a password on the caller's session and checks it: the fifth wrong one ends the session.
    fn confirmed(&mut self, token: &AccessToken, password: &str) -> Result<UserId, (u16, String)> {
        let user = self.caller(token)?.user;
        let is_right = self.accounts[&user].password == password;
        let Some(session) = self.sessions.get_mut(&token.sid) else {
            return refused(401, "invalid_token");
        };
        session.password_attempts += 1;
        let attempts = session.password_attempts;
        if is_right {
            session.password_attempts = 0;
            return Ok(user);
        }
        if attempts >= MAX_WRONG_PASSWORDS
            && let Some(account) = self.accounts.get_mut(&user)
        {
            account.admitted.remove(&token.sid);
        }
        refused(403, "wrong_password")
    }

    /// Whether the refresh token of a session is old enough to be replaced.
    fn is_due(&self, session: &Session) -> bool {
        session.rotation == 0 || self.now - session.rotated_at >= self.rules.interval()
    }

    fn rotate(&self, session: &mut Session, ip_address: &str) {
        session.rotation += 1;
        session.rotated_at = self.now;
        session.last_used_at = self.now;
        session.idle_end = whole(self.now + self.rules.idle);
        session.ip_address = ip_address.to_owned();
    }

    fn end_all_but(&mut self, user: UserId, keep: Option<SessionId>) -> usize {
        let before = self.live(user).len();
        if let Some(account) = self.accounts.get_mut(&user) {
            account.admitted.retain(|id| Some(*id) == keep);
        }
        before - self.live(user).len()
    }
}

/// What requests are answered, and do.
#[expect(missing_docs, reason = "a method for each route, by its name")]
impl Model {
    pub fn register(&mut self, email: &str, password: &str, sign_in: &SignIn) -> Outcome {
        if self.account_of(email).is_some() {
            return refused(409, "email_taken");
        }
        let account = Account {
            email: email.to_owned(),
            password: password.to_owned(),
            passwords: 1,
            moves: 0,
            status: Status::Active,
            admitted: BTreeSet::new(),
            created_at: self.now,
        };
        self.accounts.insert(sign_in.user, account);
        self.admit(sign_in, None);
        self.tokens(201, sign_in.session, true)
    }

    pub fn sign_in(
        &mut self,
        email: &str,
        password: &str,
        device: Option<&DeviceToken>,
        sign_in: &SignIn,
    ) -> Outcome {
        let guesser = self.guesser(email, device);
        let Some(attempts) = self.count_guess(email, device, &guesser) else {
            return refused(429, "too_many_requests");
        };
        let account = self.account_of(email).map(|(_, account)| account);
        let right = account.filter(|account| account.password == password);
        let Some(status) = right.map(|account| account.status) else {
            self.counters.mark(&guesser, self.now);
            return refused(401, "invalid_credentials");
        };
        self.counters.forgive(&guesser, attempts);
        if status == Status::Disabled {
            self.counters.mark(&guesser, self.now);
            return refused(403, "account_disabled");
        }
        self.admit(sign_in, None);
        let ended = self.of(sign_in.user, false);
        let too_many: Vec<_> = ended.iter().skip(ENDED_KEPT).map(|one| one.id).collect();
        self.remove(&too_many);
        self.tokens(200, sign_in.session, true)
    }

    pub fn refresh(&mut self, token: &RefreshToken, ip_address: &str) -> Outcome {
        let Some(mut session) = self.sessions.get(&token.sid).cloned() else {
            return refused(401, "invalid_refresh_token");
        };
        let is_expired = seconds(self.now) >= token.exp;
        let (live, since) = (self.is_live(&session), self.now - session.rotated_at);
        let behind = session.rotation.checked_sub(token.rotation);
        if behind == Some(0) && self.is_due(&session) && self.now < session.end() {
            // Of a session that has ended too: the write does not know of the account, and nobody sees it.
            self.rotate(&mut session, ip_address);
            self.sessions.insert(token.sid, session);
        }
        match behind {
            _ if !live => refused(401, "invalid_refresh_token"),
            None => refused(401, "invalid_refresh_token"),
            // The successor, or the same token if it is young: what the session holds now.
            Some(0) => self.tokens(200, token.sid, false),
            Some(1) if since <= self.rules.grace && is_expired => {
                refused(401, "invalid_refresh_token")
            }
            Some(1) if since <= self.rules.grace => self.tokens(200, token.sid, false),
            Some(_) => {
                self.log_out(token);
                refused(401, "refresh_token_reused")
            }
        }
    }

    pub fn reauthenticate(
        &mut self,
        token: &AccessToken,
        password: &str,
        ip_address: &str,
    ) -> Outcome {
        self.confirmed(token, password)?;
        let mut session = self.caller(token)?.clone();
        session.authenticated_at = self.now;
        if self.is_due(&session) {
            self.rotate(&mut session, ip_address);
        }
        self.sessions.insert(token.sid, session);
        self.tokens(200, token.sid, false)
    }

    pub fn log_out(&mut self, token: &RefreshToken) -> Answer {
        if let Some(account) = self.accounts.get_mut(&token.sub) {
            account.admitted.remove(&token.sid);
        }
        Answer::Nothing
    }

    pub fn list(&self, token: &AccessToken) -> Outcome {
        let live = self.live(self.caller(token)?.user);
        let shown = live.iter().map(|one| Self::shown(one, token.sid));
        Ok(Answer::Sessions(shown.collect()))
    }

    pub fn current(&self, token: &AccessToken) -> Outcome {
        Ok(Answer::Session(Self::shown(self.caller(token)?, token.sid)))
    }

    pub fn me(&self, token: &AccessToken) -> Outcome {
        let user = self.caller(token)?.user;
        let account = &self.accounts[&user];
        let email = account.email.clone();
        Ok(Answer::User(user, email, account.created_at))
    }

    pub fn rename(&mut self, token: &AccessToken, id: SessionId, name: Option<&str>) -> Outcome {
        let mut session = self.sessions[&self.own(token, id)?].clone();
        session.name = name.map(str::to_owned);
        self.sessions.insert(id, session.clone());
        Ok(Answer::Session(Self::shown(&session, token.sid)))
    }

    pub fn revoke(&mut self, token: &AccessToken, id: SessionId) -> Outcome {
        self.own(token, id)?;
        if let Some(account) = self.accounts.get_mut(&token.sub) {
            account.admitted.remove(&id);
        }
        Ok(Answer::Nothing)
    }

    pub fn revoke_all(&mut self, token: &AccessToken, keep_current: bool) -> Outcome {
        let user = self.caller(token)?.user;
        let keep = keep_current.then_some(token.sid);
        Ok(Answer::Count(self.end_all_but(user, keep)))
    }

    pub fn purge(&mut self, token: &AccessToken) -> Outcome {
        let ended = self.of(self.caller(token)?.user, false);
        let ended: Vec<_> = ended.iter().map(|one| one.id).collect();
        Ok(Answer::Count(self.remove(&ended)))
    }

    pub fn change_password(
        &mut self,
        token: &AccessToken,
        (old, new): (&str, &str),
        sign_in: &SignIn,
    ) -> Outcome {
        let user = self.confirmed(token, old)?;
        if new == old {
            return refused(422, "password_unchanged");
        }
        // Its item goes in the same transaction.
        let Some(replaced) = self.sessions.remove(&token.sid) else {
            return refused(401, "invalid_token");
        };
        self.end_all_but(user, None);
        if let Some(account) = self.accounts.get_mut(&user) {
            new.clone_into(&mut account.password);
            account.passwords += 1;
        }
        // The device is the old one, and so is what its owner called it.
        let sign_in = SignIn {
            user,
            device_name: replaced.device_name,
            ..sign_in.clone()
        };
        self.admit(&sign_in, replaced.name);
        self.tokens(200, sign_in.session, true)
    }

    pub fn delete_account(&mut self, token: &AccessToken, password: &str) -> Outcome {
        self.caller(token)?;
        if self.now - token.auth_time * 1000 > RECENT {
            return refused(403, "reauthentication_required");
        }
        let user = self.confirmed(token, password)?;
        // What the counters say of the user goes first.
        let email = self.accounts[&user].email.clone();
        self.counters.remove(&Guesser::Strangers(email));
        self.counters.remove(&Guesser::FormerDevices(user));
        self.empty(user);
        self.finish_deletion(user);
        Ok(Answer::Nothing)
    }
}

/// Who guesses.
impl Model {
    /// Whose attempt it is: that of a client that has signed in with the password in use, of one that has signed in with an
    /// earlier one, or of anybody.
    fn guesser(&self, email: &str, device: Option<&DeviceToken>) -> Guesser {
        match (device, self.account_of(email)) {
            (Some(device), Some((user, account))) if device.user == user => {
                match device.passwords == account.passwords {
                    true => Guesser::Device(device.nonce.clone()),
                    false => Guesser::FormerDevices(user),
                }
            }
            _ => Guesser::Strangers(email.to_owned()),
        }
    }

    /// Counts an attempt, if it need not wait: how many there were with it. Whose account it is for is not known when it is
    /// counted first, so what a device token says then may have to be taken back.
    fn count_guess(
        &mut self,
        email: &str,
        device: Option<&DeviceToken>,
        guesser: &Guesser,
    ) -> Option<u32> {
        let (free, now) = (self.rules.free_guesses, self.now);
        if free == 0 {
            return Some(0);
        }
        let first = match device {
            Some(device) => Guesser::Device(device.nonce.clone()),
            None => Guesser::Strangers(email.to_owned()),
        };
        let mut counted = self.counters.count(&first, free, now);
        if first != *guesser {
            let others = counted;
            counted = self.counters.count(guesser, free, now);
            if let Some(others) = others {
                self.counters.take_back(&first, others);
            }
        }
        counted.map(|counted| counted.attempts)
    }

    /// An operator lifts the stop of a user: for strangers and for devices of earlier passwords. Whether there was a count.
    pub fn unblock(&mut self, user: UserId) -> bool {
        let email = self
            .accounts
            .get(&user)
            .map(|account| account.email.clone());
        let strangers = Guesser::Strangers(email.unwrap_or_default());
        let strangers = self.counters.forget(&strangers);
        let former = self.counters.forget(&Guesser::FormerDevices(user));
        strangers || former
    }
}

/// What happens without a request.
impl Model {
    /// An administrator ends a live session of a user, or one that the account admits although its item is gone. Whether
    /// there was one.
    pub fn end_one(&mut self, user: UserId, id: SessionId) -> bool {
        let found = match self.sessions.get(&id) {
            Some(session) => session.user == user && self.is_live(session),
            None => true,
        };
        let account = self.accounts.get_mut(&user);
        found && account.is_some_and(|account| account.admitted.remove(&id))
    }

    /// An administrator ends all sessions of a user. How many were live.
    pub fn end_all(&mut self, user: UserId) -> usize {
        self.end_all_but(user, None)
    }

    /// An administrator closes or opens an account. A deleted one stays deleted.
    pub fn set_disabled(&mut self, user: UserId, disabled: bool) {
        if let Some(account) = self.accounts.get_mut(&user) {
            match (account.status, disabled) {
                (Status::Deleted(_), _) => {}
                (_, true) => {
                    account.status = Status::Disabled;
                    account.admitted.clear();
                }
                (_, false) => account.status = Status::Active,
            }
        }
    }

    /// The first half of a deletion: the account is empty and its address free; its items are still there.
    pub fn empty(&mut self, user: UserId) {
        let status = Status::Deleted(whole(self.now + DAY));
        if let Some(account) = self.accounts.get_mut(&user) {
            account.status = status;
            account.email.clear();
            account.admitted.clear();
        }
    }

    /// The second half: all items go. Returns how many.
    fn finish_deletion(&mut self, user: UserId) -> u64 {
        let before = self.sessions.len() + self.accounts.len();
        self.sessions.retain(|_, one| one.user != user);
        self.accounts.remove(&user);
        (before - self.sessions.len() - self.accounts.len()) as u64
    }

    /// The daily cleanup, to the end of the table.
    pub fn clean_up(&mut self) -> Cleaned {
        let mut cleaned = Cleaned::default();
        for (user, account) in self.accounts.clone() {
            match account.status {
                Status::Deleted(_) => cleaned.of_deleted_users += self.finish_deletion(user),
                Status::Active | Status::Disabled => cleaned.accounts += 1,
            }
        }
        for session in self.sessions.clone().values() {
            let counter = if !self.accounts.contains_key(&session.user) {
                self.remove(&[session.id]);
                &mut cleaned.orphaned
            } else if self.is_live(session) {
                &mut cleaned.live
            } else if self.delete_after(session) <= self.now {
                self.remove(&[session.id]);
                &mut cleaned.expired
            } else {
                &mut cleaned.not_live
            };
            *counter += 1;
        }
        cleaned
    }

    /// DynamoDB deletes what was due before this second. Returns how many items.
    pub fn sweep_ttl(&mut self) -> usize {
        let (second, before) = (whole(self.now), self.sessions.len() + self.accounts.len());
        let due = |one: &Session, retention| whole(one.absolute_end + retention) < second;
        let retention = self.rules.retention;
        self.sessions.retain(|_, one| !due(one, retention));
        self.accounts
            .retain(|_, one| !matches!(one.status, Status::Deleted(due) if due < second));
        before - self.sessions.len() - self.accounts.len() + self.counters.sweep(self.now)
    }
}
