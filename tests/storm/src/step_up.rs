//! What asks for the password in the middle of a session: a step-up, a deletion, and whoever guesses at it there.

use futures::future::join_all;

use super::api::Secrets;
use super::browser::{Browser, Jar, access};
use super::history::{Answer, Op};

/// How many wrong passwords are given on a session at once, by whoever has its access token.
const GUESSES_ON_A_SESSION: usize = 7;

impl Browser {
    /// Proves who its user is. Returns whether that worked.
    pub(super) async fn step_up(&self, jar: &Jar) -> bool {
        let password = jar.user.known().passwords.first().cloned();
        let Some(password) = password else {
            return false;
        };
        let rotation = jar.tokens().rotation;
        let prove = |by| Op::Reauthenticate {
            by,
            password,
            rotation,
        };
        match self.as_caller(jar, prove).await {
            Answer::Tokens(tokens) => {
                jar.keep(tokens);
                true
            }
            _ => false,
        }
    }

    /// Somebody has the access token for a moment, and guesses at the password.
    pub(super) async fn guess_on_session(&self, jar: &Jar) {
        let tokens = jar.tokens();
        let secrets = Secrets {
            access_token: &tokens.access_token,
            ..Secrets::default()
        };
        let guess = |number: usize| Op::Reauthenticate {
            by: access(&tokens),
            password: format!("a guess at the password {number}"),
            rotation: tokens.rotation,
        };
        let guesses =
            (0..GUESSES_ON_A_SESSION).map(|number| self.send(&jar.user, guess(number), secrets));
        join_all(guesses).await;
        self.as_caller(jar, Op::Current).await;
    }

    /// Deletes the account, after a proof if that is asked for.
    pub(super) async fn delete(&self, jar: &Jar) {
        let password = jar.user.known().passwords.first().cloned();
        let Some(password) = password else {
            return;
        };
        let delete = |by| Op::Delete {
            by,
            password: password.clone(),
        };
        let mut answer = self.as_caller(jar, delete).await;
        if answer.is_code("reauthentication_required") && self.step_up(jar).await {
            answer = self.as_caller(jar, delete).await;
        }
        if answer.is_done() {
            jar.sign_out();
        }
    }
}
