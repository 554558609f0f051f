//! What a step means, as things are: which session, which token, whose password.

use latchkey_domain::id::SessionId;
use latchkey_tests::proof::model::{AccessToken, RefreshToken, seconds};

use super::Machine;
use super::steps::{Guess, Held, PASSWORDS, Pick, Target};

impl Machine {
    /// The session that is meant, if there is one.
    pub(super) fn pick(&self, pick: Pick) -> Option<SessionId> {
        let (live, place) = match pick {
            Pick::Live(place) => (true, place),
            Pick::Ended(place) => (false, place),
            Pick::Unknown => return None,
        };
        let is_live = |id: &SessionId| {
            let session = self.model.sessions.get(id);
            session.is_some_and(|session| self.model.is_live(session))
        };
        let mut among = self.begun.clone();
        among.retain(|id| is_live(id) == live);
        among.reverse();
        among.get(place % among.len().max(1)).copied()
    }

    /// The session that the bearer of a token means, if there is one.
    pub(super) fn target(&self, target: Target, by: &AccessToken) -> Option<SessionId> {
        let (place, expired) = match target {
            Target::Any(pick) => return self.pick(pick),
            Target::OwnEnded(place) => (place, false),
            Target::OwnExpired(place) => (place, true),
        };
        let account = self.model.accounts.get(&by.sub)?;
        let mut own: Vec<_> = self.model.sessions.values().collect();
        own.retain(|session| {
            let is_expired = self.model.now >= session.end();
            let is_admitted = account.admitted.contains(&session.id);
            session.user == by.sub && is_expired == expired && is_admitted == expired
        });
        own.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        own.get(place % own.len().max(1)).map(|session| session.id)
    }

    /// Somebody who is signed in and has such a session.
    pub(super) fn caller_with(&self, target: Target) -> Option<Held> {
        let callers = (0..self.begun.len()).map(|place| Held {
            of: Pick::Live(place),
            before_newest: 0,
        });
        let mut able = callers.filter(|held| {
            let token = self.held_access(*held).map(|(_, claims)| claims);
            token.is_some_and(|by| {
                seconds(self.model.now) < by.exp && self.target(target, &by).is_some()
            })
        });
        match target {
            Target::Any(_) => None,
            Target::OwnEnded(_) | Target::OwnExpired(_) => able.next(),
        }
    }

    pub(super) fn held_access(&self, held: Held) -> Option<(String, AccessToken)> {
        let session = self.pick(held.of)?;
        let mut tokens = self.access.clone();
        tokens.retain(|(_, claims)| claims.sid == session);
        tokens.reverse();
        tokens.get(held.before_newest % tokens.len()).cloned()
    }

    pub(super) fn held_refresh(&self, held: Held) -> Option<(String, RefreshToken)> {
        let session = self.pick(held.of)?;
        let mut tokens = self.refresh.clone();
        tokens.retain(|(_, claims)| claims.sid == session);
        tokens.sort_by_key(|(_, claims)| std::cmp::Reverse(claims.rotation));
        tokens.dedup_by_key(|(_, claims)| claims.rotation);
        tokens.get(held.before_newest % tokens.len()).cloned()
    }

    pub(super) fn guessed(&self, right: Option<&str>, guess: Guess) -> &'static str {
        let mut passwords = PASSWORDS.to_vec();
        let right = right.unwrap_or(PASSWORDS[0]);
        let (right, wrong) = {
            let place = passwords.iter().position(|one| *one == right).unwrap_or(0);
            (passwords.remove(place), passwords)
        };
        match guess {
            Guess::Right => right,
            Guess::Wrong(place) => wrong[place % wrong.len()],
        }
    }

    pub(super) fn guessed_by(&self, token: &AccessToken, guess: Guess) -> &'static str {
        let account = self.model.accounts.get(&token.sub);
        self.guessed(account.map(|account| account.password.as_str()), guess)
    }

    /// Where a live session stands among them, from the newest.
    pub(super) fn place_among_live(&self, id: SessionId) -> usize {
        let live = |id: &&SessionId| {
            let session = self.model.sessions.get(*id);
            session.is_some_and(|session| self.model.is_live(session))
        };
        let mut newest_first = self.begun.iter().rev().filter(live);
        newest_first.position(|one| *one == id).unwrap_or(0)
    }
}
