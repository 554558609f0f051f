//! Links that are made, as a mailer makes them, and opened at some later time.

use latchkey_domain::email::EmailAddress;
use latchkey_domain::token::EmailChange;
use proptest::prelude::*;

use super::observe::observed;
use super::steps::{EMAILS, PASSWORDS, Pick};
use super::{Machine, Verdict};
use latchkey_tests::proof::links::Link;

impl Machine {
    pub(super) async fn send_reset(&mut self, who: usize) -> Verdict {
        let Some(link) = self.model.reset_link(EMAILS[who]) else {
            return Ok(());
        };
        let Link::Reset { user, .. } = link else {
            unreachable!("a reset")
        };
        let token = self.stack.reset_token(user).await;
        self.links.push((token, link));
        Ok(())
    }

    pub(super) async fn send_move(&mut self, of: Pick, who: usize) -> Verdict {
        let Some(session) = self.pick(of) else {
            return Ok(());
        };
        let Some(user) = self.model.sessions.get(&session).map(|one| one.user) else {
            return Ok(());
        };
        let account = self.stack.store.read_account(user).await.unwrap();
        let made = account.and_then(|account| {
            account.email_change_link(EmailChange {
                email: EmailAddress::parse(EMAILS[who]).unwrap(),
                email_version: account.email_version,
                session_id: session,
            })
        });
        let expected = self.model.move_link(session, EMAILS[who]);
        prop_assert_eq!(made.is_some(), expected.is_some(), "a link for {}", session);
        if let (Some(made), Some(expected)) = (made, expected) {
            let token = self.stack.link_token(&made).await;
            self.links.push((token, expected));
        }
        Ok(())
    }

    pub(super) async fn open_link(&mut self, newest_first: usize, password: usize) -> Verdict {
        let place = newest_first % self.links.len().max(1);
        let Some((token, link)) = self.links.iter().rev().nth(place).cloned() else {
            return Ok(());
        };
        let reply = match link {
            Link::Reset { .. } => self.stack.reset_password(&token, PASSWORDS[password]).await,
            Link::Move { .. } => self.stack.verify_email(&token).await,
        };
        let expected = self.model.open_link(&link, PASSWORDS[password]);
        prop_assert_eq!(expected, observed(&reply), "{:?}", link);
        Ok(())
    }
}
