//! Links that are sent, as the design has them: what each says, and what whoever opens it is answered.

use latchkey_domain::id::{SessionId, UserId};

use super::counters::Guesser;
use super::model::{Answer, Model, Outcome, seconds};

/// How long a link to reset a password is valid, in seconds.
const RESET: i64 = 10 * 60;
/// How long one to a new address is.
const MOVE: i64 = 24 * 3600;

/// What a link says.
#[derive(Clone, Debug, PartialEq)]
pub enum Link {
    /// It replaces a password.
    Reset {
        /// Whose.
        user: UserId,
        /// To which address it was sent.
        email: String,
        /// How many passwords the user had had by then.
        passwords: u32,
        /// When it was made.
        at: i64,
    },
    /// It replaces an address.
    Move {
        /// Whose.
        user: UserId,
        /// The new address.
        email: String,
        /// How many addresses the user had had before the one that it replaces.
        moves: u32,
        /// The session on which it was asked for.
        asked_on: SessionId,
        /// When it was made.
        at: i64,
    },
}

fn invalid() -> Outcome {
    Err((400, "invalid_link".to_owned()))
}

impl Model {
    /// A link that resets the password of whoever has the address.
    #[must_use]
    pub fn reset_link(&self, email: &str) -> Option<Link> {
        let (user, account) = self.account_of(email)?;
        Some(Link::Reset {
            user,
            email: account.email.clone(),
            passwords: account.passwords,
            at: self.now,
        })
    }

    /// A link to a new address that is asked for on a session, if that counts.
    #[must_use]
    pub fn move_link(&self, asked_on: SessionId, email: &str) -> Option<Link> {
        let mut accounts = self.accounts.iter();
        let holds = |account: &super::model::Account| account.admitted.contains(&asked_on);
        let (user, account) = accounts.find(|(_, account)| holds(account))?;
        Some(Link::Move {
            user: *user,
            email: email.to_owned(),
            moves: account.moves,
            asked_on,
            at: self.now,
        })
    }

    /// Opens a link; the password is for one that replaces it.
    pub fn open_link(&mut self, link: &Link, password: &str) -> Outcome {
        match link {
            Link::Reset {
                user,
                email,
                passwords,
                at,
            } => {
                let is_over = seconds(self.now) >= seconds(*at) + RESET;
                let Some(account) = self.accounts.get_mut(user).filter(|account| {
                    !is_over && account.email == *email && account.passwords == *passwords
                }) else {
                    return invalid();
                };
                password.clone_into(&mut account.password);
                account.passwords += 1;
                self.end_all(*user);
                self.counters.forget(&Guesser::Strangers(email.clone()));
                self.counters.forget(&Guesser::FormerDevices(*user));
                Ok(Answer::Nothing)
            }
            Link::Move {
                user,
                email,
                moves,
                asked_on,
                at,
            } => {
                let is_over = seconds(self.now) >= seconds(*at) + MOVE;
                let asked_on = self.sessions.get(asked_on);
                let is_live = asked_on.is_some_and(|session| self.is_live(session));
                let taken = self
                    .account_of(email)
                    .is_some_and(|(other, _)| other != *user);
                let Some(account) = self.accounts.get_mut(user).filter(|_| !is_over) else {
                    return invalid();
                };
                let is_made = account.moves == moves + 1 && account.email == *email;
                let counts = is_live && account.moves == *moves;
                match (counts, taken) {
                    (true, true) => Err((409, "email_taken".to_owned())),
                    (true, false) => {
                        email.clone_into(&mut account.email);
                        account.moves += 1;
                        Ok(Answer::Nothing)
                    }
                    (false, _) if is_made => Ok(Answer::Nothing),
                    (false, _) => invalid(),
                }
            }
        }
    }
}
