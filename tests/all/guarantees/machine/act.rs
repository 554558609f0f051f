//! What each step does: a request, or time that passes, and what the model says of it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use cleanup::Budget;
use http::Method;
use latchkey_domain::error::AdminError;
use latchkey_domain::id::UserId;
use latchkey_service::{AccountUpdate, Administrator, Failure, Service};
use latchkey_tests::harness::call::Call;
use latchkey_tests::harness::reply::Reply;
use latchkey_tests::proof::counters::{DeviceToken, Guesser};
use latchkey_tests::proof::model::{AccessToken, Answer, Cleaned, Outcome, Session, SignIn};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::observe::observed;
use super::steps::{Device, EMAILS, Guess, Held, Moment, NOBODY, PASSWORDS, Pick, Step};
use super::{Machine, Verdict};
use crate::routes::cleanup::begin_deletion;

impl Machine {
    /// Where the requests of this step come from: nowhere else.
    fn address(&self) -> String {
        format!("198.51.100.{}", self.steps)
    }

    fn device_name(&self) -> String {
        format!("device {}", self.steps)
    }

    async fn send(&self, call: Call<'_>) -> Reply {
        call.from_address(self.address().parse().unwrap())
            .send()
            .await
    }

    /// What the service drew for a new session, as its reply tells. Never what was there before.
    fn drawn(&self, reply: &Reply) -> Result<SignIn, TestCaseError> {
        let text = |value: &Value| value.as_str().unwrap_or(NOBODY).to_owned();
        let sign_in = SignIn {
            user: text(&reply.body["user"]["id"]).parse().unwrap(),
            session: text(&reply.body["session"]["id"]).parse().unwrap(),
            device_name: self.device_name(),
            ip_address: self.address(),
        };
        prop_assert!(!self.begun.contains(&sign_in.session), "an id came again");
        Ok(sign_in)
    }

    /// Holds a reply against what the model says, and keeps its tokens.
    fn judge(&mut self, expected: Outcome, reply: &Reply) -> Verdict {
        prop_assert_eq!(&expected, &observed(reply));
        if let Ok(Answer::Tokens {
            access, refresh, ..
        }) = expected
        {
            if !self.begun.contains(&access.sid) {
                self.begun.push(access.sid);
            }
            self.keep_device(reply, access.sub);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            self.access
                .push((text(&reply.body["access_token"]), access));
            self.refresh
                .push((text(&reply.body["refresh_token"]), refresh));
        }
        Ok(())
    }

    pub(super) async fn run(&mut self, step: Step) -> Verdict {
        self.steps += 1;
        match step {
            Step::Register(who, password) => {
                let (email, password) = (EMAILS[who], PASSWORDS[password]);
                let reply = self.enter("register", email, password, None).await;
                let drawn = self.drawn(&reply)?;
                let expected = self.model.register(email, password, &drawn);
                self.judge(expected, &reply)
            }
            Step::SignIn(who, guess, device) => self.sign_in(who, guess, device).await,
            Step::GuessOften(who, device, times) => {
                for _ in 0..times {
                    self.sign_in(who, Guess::Wrong(0), device).await?;
                }
                Ok(())
            }
            Step::SignInWhenChecked(who, off) => {
                let strangers = Guesser::Strangers(EMAILS[who].to_owned());
                let free = self.model.rules.free_guesses;
                let from = self.model.counters.checked_from(&strangers, free);
                let from = from.unwrap_or(self.model.now);
                self.wait((from + off - self.model.now).max(0));
                self.sign_in(who, Guess::Right, None).await
            }
            Step::Unblock(who) => self.unblock(who).await,
            Step::Refresh(held) => self.refresh(held).await,
            Step::RefreshDue(of, off) => self.refresh_due(of, off).await,
            Step::RefreshLate(held, off) => self.refresh_late(held, off).await,
            Step::Outlive(of, off) => self.outlive(of, off).await,
            Step::LogOut(held) => match self.held_refresh(held) {
                Some((token, claims)) => {
                    let body = json!({"refresh_token": token});
                    let call = self.stack.post("/v1/auth/logout").json(&body);
                    let reply = self.send(call).await;
                    let expected = Ok(self.model.log_out(&claims));
                    self.judge(expected, &reply)
                }
                None => Ok(()),
            },
            Step::Rename(by, target, _) | Step::Revoke(by, target) => {
                let by = self.caller_with(target).unwrap_or(by);
                match self.held_access(by) {
                    Some((token, claims)) => self.run_as(step, &token, claims).await,
                    None => Ok(()),
                }
            }
            Step::List(by)
            | Step::Current(by)
            | Step::Me(by)
            | Step::RevokeAll(by, _)
            | Step::Purge(by)
            | Step::ChangePassword(by, ..)
            | Step::DeleteAccount(by, _)
            | Step::Reauthenticate(by, _)
            | Step::InterruptedDeletion(by) => match self.held_access(by) {
                Some((token, claims)) => self.run_as(step, &token, claims).await,
                None => Ok(()),
            },
            Step::SendReset(who) => self.send_reset(who).await,
            Step::SendMove(of, who) => self.send_move(of, who).await,
            Step::OpenLink(place, password) => self.open_link(place, password).await,
            Step::SetDisabled(who, disabled) => self.set_disabled(who, disabled).await,
            Step::AdminRevoke(who, of) => self.end_as_administrator(who, of).await,
            Step::AdminRevokeAll(who) => self.end_all_as_administrator(who).await,
            Step::CleanUp => self.clean_up().await,
            Step::SweepTtl => {
                let removed = self.stack.dynamodb.database.sweep_ttl().unwrap();
                prop_assert_eq!(self.model.sweep_ttl(), removed);
                Ok(())
            }
            Step::Wait(millis) => {
                self.wait(millis);
                Ok(())
            }
            Step::WaitUntil(moment, of, off) => {
                self.wait_until(moment, of, off);
                Ok(())
            }
        }
    }

    async fn sign_in(&mut self, who: usize, guess: Guess, device: Device) -> Verdict {
        let email = EMAILS[who];
        let account = self.model.account_of(email);
        let right = account.map(|(_, account)| account.password.as_str());
        let password = self.guessed(right, guess);
        let device = device.and_then(|place| {
            let newest_first = self.devices.iter().rev();
            let mut newest_first = newest_first.skip(place % self.devices.len().max(1));
            newest_first.next().cloned()
        });
        let (token, device) = device.unzip();
        let reply = self.enter("login", email, password, token.as_deref());
        let reply = reply.await;
        let drawn = self.drawn(&reply)?;
        let expected = self.model.sign_in(email, password, device.as_ref(), &drawn);
        self.judge(expected, &reply)
    }

    async fn unblock(&mut self, who: usize) -> Verdict {
        let Some((user, _)) = self.model.account_of(EMAILS[who]) else {
            return Ok(());
        };
        let (service, operator) = (self.service(), Administrator::operator());
        let was_counted = service.unblock_user(&operator, user).await;
        prop_assert_eq!(was_counted, Ok(self.model.unblock(user)));
        Ok(())
    }

    /// Keeps the device token of a reply, if it has one that is new.
    fn keep_device(&mut self, reply: &Reply, user: UserId) {
        let Some(token) = reply.body["device_token"].as_str() else {
            return;
        };
        let claims = token.split('.').nth(1).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let device = DeviceToken {
            nonce: claims["jti"].as_str().unwrap().to_owned(),
            user,
            passwords: self.model.accounts[&user].passwords,
        };
        if !self
            .devices
            .iter()
            .any(|(_, one)| (&one.nonce, one.passwords) == (&device.nonce, device.passwords))
        {
            self.devices.push((token.to_owned(), device));
        }
    }

    /// What the bearer of an access token does.
    async fn run_as(&mut self, step: Step, token: &str, by: AccessToken) -> Verdict {
        let target = |machine: &Self, of| {
            let found = machine.target(of, &by);
            found.unwrap_or(NOBODY.parse().unwrap())
        };
        let stack = &self.stack;
        let (call, expected) = match step {
            Step::List(_) => (stack.get("/v1/sessions"), self.model.list(&by)),
            Step::Current(_) => (stack.get("/v1/sessions/current"), self.model.current(&by)),
            Step::Me(_) => (stack.get("/v1/me"), self.model.me(&by)),
            Step::Rename(_, of, name) => {
                let id = target(self, of);
                let name = name.map(|name| format!("name {name}"));
                let call = stack.request(Method::PATCH, &format!("/v1/sessions/{id}"));
                let expected = self.model.rename(&by, id, name.as_deref());
                (call.json(&json!({"name": name})), expected)
            }
            Step::Revoke(_, of) => {
                let id = target(self, of);
                let call = stack.delete(&format!("/v1/sessions/{id}"));
                (call, self.model.revoke(&by, id))
            }
            Step::RevokeAll(_, keep) => {
                let query = keep.map_or(String::new(), |keep| format!("?keep_current={keep}"));
                let call = stack.post(&format!("/v1/sessions/revoke-all{query}"));
                (call, self.model.revoke_all(&by, keep.unwrap_or(true)))
            }
            Step::Purge(_) => (stack.delete("/v1/sessions/expired"), self.model.purge(&by)),
            Step::DeleteAccount(_, guess) => {
                let password = self.guessed_by(&by, guess);
                let call = stack.post("/v1/me/delete");
                let expected = self.model.delete_account(&by, password);
                (call.json(&json!({"password": password})), expected)
            }
            Step::Reauthenticate(_, guess) => {
                let password = self.guessed_by(&by, guess);
                let call = stack.post("/v1/auth/reauthenticate");
                let address = self.address();
                let expected = self.model.reauthenticate(&by, password, &address);
                (call.json(&json!({"password": password})), expected)
            }
            Step::ChangePassword(_, guess, new) => {
                let (old, new) = (self.guessed_by(&by, guess), PASSWORDS[new]);
                let body = json!({"current_password": old, "new_password": new});
                let call = stack.request(Method::PUT, "/v1/me/password").json(&body);
                let reply = self.send(call.bearer(token)).await;
                let drawn = self.drawn(&reply)?;
                let expected = self.model.change_password(&by, (old, new), &drawn);
                return self.judge(expected, &reply);
            }
            Step::InterruptedDeletion(_) => return self.delete_half(&by).await,
            _ => unreachable!("nobody does that with an access token"),
        };
        let reply = self.send(call.bearer(token)).await;
        self.judge(expected, &reply)
    }

    async fn refresh(&mut self, held: Held) -> Verdict {
        let Some((token, claims)) = self.held_refresh(held) else {
            return Ok(());
        };
        let body = json!({"refresh_token": token});
        let call = self.stack.post("/v1/auth/refresh").json(&body);
        let reply = self.send(call).await;
        let expected = self.model.refresh(&claims, &self.address());
        self.judge(expected, &reply)
    }

    async fn refresh_due(&mut self, of: Pick, off: i64) -> Verdict {
        let chosen = self.pick(of);
        self.wait_until(Moment::Due, of, off);
        let before_newest = 0;
        match chosen == self.pick(of) {
            true => self.refresh(Held { of, before_newest }).await,
            false => Ok(()), // It has ended by then, so the place means another.
        }
    }

    /// The session is one that can be too late, if there is one: live, rotated, and not over before the grace is.
    async fn refresh_late(&mut self, mut held: Held, off: i64) -> Verdict {
        if let Pick::Live(place) = held.of {
            let grace_over = |session: &Session| session.rotated_at + self.model.rules.grace;
            let mut places = (0..self.begun.len()).map(Pick::Live).collect::<Vec<_>>();
            places.retain(|pick| {
                let session = self.pick(*pick).and_then(|id| self.model.sessions.get(&id));
                session.is_some_and(|session| {
                    let end = grace_over(session).max(self.model.now) + off;
                    session.rotation > 0 && self.model.is_live(session) && end < session.end()
                })
            });
            if let Some(found) = places.get(place % places.len().max(1)) {
                held.of = *found;
            }
        }
        let chosen = self.pick(held.of);
        self.wait_until(Moment::GraceOver, held.of, off);
        match chosen == self.pick(held.of) {
            true => self.refresh(held).await,
            false => Ok(()), // It has ended by then, so the place means another.
        }
    }

    async fn outlive(&mut self, of: Pick, off: i64) -> Verdict {
        let session = self.pick(of).and_then(|id| self.model.sessions.get(&id));
        let Some((id, user, end)) = session.map(|one| (one.id, one.user, one.end())) else {
            return Ok(());
        };
        self.wait((end - 1 - self.model.now).max(0));
        let others = self.model.live(user);
        if let Some(other) = others.iter().find(|other| other.id != id) {
            let place = self.place_among_live(other.id);
            let of = Pick::Live(place);
            let before_newest = 0;
            self.refresh(Held { of, before_newest }).await?;
        }
        self.wait((end + off - self.model.now).max(0));
        Ok(())
    }

    async fn enter(&self, route: &str, email: &str, password: &str, device: Option<&str>) -> Reply {
        let body = json!({
            "email": email, "password": password, "device_name": self.device_name(), "device_token": device,
        });
        let call = self.stack.post(&format!("/v1/auth/{route}")).json(&body);
        self.send(call).await
    }

    async fn delete_half(&mut self, by: &AccessToken) -> Verdict {
        let Some(account) = self.model.accounts.get(&by.sub) else {
            return Ok(());
        };
        if self.model.me(by).is_ok() {
            begin_deletion(&self.stack, &account.email, by.sub, by.sid).await;
            self.model.empty(by.sub);
        }
        Ok(())
    }

    /// What an administrator will do, by the way that every change of who is signed in goes.
    async fn set_disabled(&mut self, who: usize, disabled: bool) -> Verdict {
        let Some((user, _)) = self.model.account_of(EMAILS[who]) else {
            return Ok(());
        };
        let update = AccountUpdate {
            active: Some(!disabled),
            roles: None,
        };
        let (service, operator) = (self.service(), Administrator::operator());
        let updated = service.update_account(&operator, user, update).await;
        prop_assert!(updated.is_ok());
        self.model.set_disabled(user, disabled);
        Ok(())
    }

    fn service(&self) -> Service {
        Service {
            core: self.stack.core.clone(),
            store: self.stack.store.clone(),
        }
    }

    async fn end_as_administrator(&mut self, who: usize, of: Pick) -> Verdict {
        let Some((user, _)) = self.model.account_of(EMAILS[who]) else {
            return Ok(());
        };
        let session = self.pick(of).unwrap_or(NOBODY.parse().unwrap());
        let (service, operator) = (self.service(), Administrator::operator());
        let ended = service.revoke_of(&operator, user, session);
        let seen = match ended.await {
            Ok(()) => true,
            Err(Failure::Refused(AdminError::SessionNotFound)) => false,
            Err(other) => return Err(TestCaseError::fail(format!("{other:?}"))),
        };
        prop_assert_eq!(self.model.end_one(user, session), seen);
        Ok(())
    }

    async fn end_all_as_administrator(&mut self, who: usize) -> Verdict {
        let Some((user, _)) = self.model.account_of(EMAILS[who]) else {
            return Ok(());
        };
        let (service, operator) = (self.service(), Administrator::operator());
        let ended = service.revoke_all_of(&operator, user);
        let ended = ended.await;
        let ended = ended.map_err(|other| TestCaseError::fail(format!("{other:?}")))?;
        prop_assert_eq!(self.model.end_all(user), ended);
        Ok(())
    }

    async fn clean_up(&mut self) -> Verdict {
        let budget = Budget::until(self.stack.now() + TimeDelta::minutes(10));
        let clock = self.stack.core.clock.as_ref();
        let report = cleanup::run(&self.stack.cleanup_store, clock, budget).await;
        let report = report.map_err(|error| TestCaseError::fail(error.to_string()))?;
        let seen = Cleaned {
            accounts: report.accounts,
            live: report.sessions_live,
            not_live: report.sessions_not_live,
            expired: report.removed_expired,
            orphaned: report.removed_orphaned,
            of_deleted_users: report.removed_of_deleted_users,
        };
        prop_assert_eq!(self.model.clean_up(), seen);
        prop_assert_eq!(
            (report.broken, report.not_due, report.complete),
            (0, 0, true)
        );
        Ok(())
    }

    /// Waits, if the moment is to come.
    fn wait_until(&mut self, moment: Moment, of: Pick, off: i64) {
        let session = self.pick(of).and_then(|id| self.model.sessions.get(&id));
        let Some(session) = session else { return };
        let newest = self.access.iter().rev();
        let newest = newest.map(|(_, claims)| claims);
        let moment = match moment {
            Moment::GraceOver => session.rotated_at + self.model.rules.grace,
            Moment::Due => session.rotated_at + self.model.rules.interval(),
            Moment::Idle => session.idle_end,
            Moment::Absolute => session.absolute_end,
            Moment::AccessToken => {
                let mut own = newest.filter(|claims| claims.sid == session.id);
                own.next().map_or(0, |claims| claims.exp * 1000)
            }
            Moment::Removal => self.model.delete_after(session),
        };
        self.wait((moment + off - self.model.now).max(0));
    }
}
