//! What an answer must agree with: the table at that moment, what was there when the request began, the other answers.

use latchkey_domain::id::SessionId;

use super::request::{Answer, CALLER_NOT_LIVE, Claims, NOT_FOUND, Request, Target};
use super::rules::{Broken, History, Rules, check};
use super::table::{SessionView, View};

impl Rules {
    /// The rules on an answer, given at the moment of the request's last reply.
    ///
    /// # Errors
    /// The rule that it has broken.
    pub fn check_answer(
        &self,
        history: &mut History,
        request: usize,
        answer: &Answer,
        table: &View,
    ) -> Result<(), Broken> {
        history.seen[request].answer = Some(answer.clone());
        let seen = &history.seen[request];
        let at_start = seen.started.clone().unwrap_or_default();
        let ended = |id: SessionId| !table.live_set().contains(&id);
        let process = &self.processes[request];
        // No id comes back, so one that is in the set at both moments was in it between them.
        let lived = |id: SessionId| {
            let item = table.sessions.get(&id);
            let unexpired = item.is_some_and(|item| process.now < item.expires_at);
            at_start.contains(&id) && !ended(id) && unexpired
        };
        check(*answer != Answer::Broken, || "500, or a panic".to_owned())?;
        if let Request::Refresh { session, presented } = process.request
            && self.was_replaced_long_before(self.session(session), presented, process.now)
            && *answer != Answer::Unavailable
        {
            let session = self.session(session);
            check(ended(session), || {
                format!(
                    "guarantee 2: {} lives, though a token came back that was replaced long before",
                    self.name(session)
                )
            })?;
        }
        match (answer, &self.processes[request].request) {
            (
                Answer::Refreshed(given) | Answer::NotDue(given),
                Request::Refresh { presented, .. },
            ) => {
                check(at_start.contains(&given.session), || {
                    format!(
                        "guarantee 3: {} had ended before this refresh began",
                        self.name(given.session)
                    )
                })?;
                let rotation = given.rotation;
                let expected = match answer {
                    Answer::NotDue(_) => *presented,
                    _ => presented + 1,
                };
                check(rotation == expected, || {
                    format!("guarantee 1: the successor of {presented} is {rotation}")
                })?;
                check_successors(history, given)?;
            }
            (Answer::Reauthenticated(given), _) => {
                check(at_start.contains(&given.session), || {
                    format!(
                        "guarantee 3: {} had ended before this reauthentication began",
                        self.name(given.session)
                    )
                })?;
                let newest = table.sessions.get(&given.session);
                check(
                    newest.is_none_or(|item| item.rotation >= given.rotation),
                    || "guarantee 1: the token of a reauthentication was never written".to_owned(),
                )?;
                check_successors(history, given)?;
            }
            (Answer::SignedIn(new), asked) => {
                let was_admitted = table.admitted().contains(new) || history.left.contains(new);
                check(was_admitted, || {
                    format!("guarantee 4: {} was never admitted", self.name(*new))
                })?;
                if let Request::ChangePassword { .. } = asked {
                    check(at_start.iter().all(|id| ended(*id)), || {
                        "guarantee 3: a session has outlived the password change".to_owned()
                    })?;
                }
            }
            (Answer::Listed(shown), Request::List { caller }) => {
                check(at_start.contains(&self.session(*caller)), || {
                    "guarantee 3: a list for a caller whose session had ended".to_owned()
                })?;
                for id in shown {
                    check(!seen.left_before.contains(id), || {
                        format!("guarantee 3: {} is listed, which had ended", self.name(*id))
                    })?;
                }
                let live = table.live_set();
                for id in at_start.intersection(&live) {
                    check(shown.contains(id), || {
                        format!("{} is live and not listed", self.name(*id))
                    })?;
                }
            }
            (Answer::Listed(shown), Request::FindSession { target }) => {
                let target = self.target(*target);
                check(
                    !(shown.contains(&target) && seen.left_before.contains(&target)),
                    || {
                        format!(
                            "guarantee 3: {} is shown as live, which had ended",
                            self.name(target)
                        )
                    },
                )?;
                check(shown.contains(&target) || !lived(target), || {
                    format!("{} is live and shown as ended", self.name(target))
                })?;
            }
            (Answer::Done, Request::CleanUp) => {
                let mut items = self.initial.sessions.values();
                let is_left = |item: &SessionView| {
                    item.delete_after <= process.now && table.sessions.contains_key(&item.id)
                };
                check(!items.any(is_left), || {
                    "an item is left that the cleanup should have removed".to_owned()
                })?;
            }
            (Answer::Done, Request::CurrentSession { caller }) => {
                check(at_start.contains(&self.session(*caller)), || {
                    "guarantee 3: a session is shown to its caller that had ended".to_owned()
                })?;
            }
            (Answer::Done, Request::Rename { target, .. }) => {
                check(at_start.contains(&self.session(*target)), || {
                    "guarantee 3: a session was named that had ended".to_owned()
                })?;
            }
            (Answer::Done, Request::Revoke { target, .. }) => {
                check(ended(self.target(*target)), || {
                    format!(
                        "guarantee 3: {} has not ended",
                        self.name(self.target(*target))
                    )
                })?;
            }
            (
                Answer::Done,
                Request::AdminRevoke { target: session } | Request::Logout { session },
            ) => {
                let session = self.session(*session);
                check(ended(session), || {
                    format!("guarantee 3: {} has not ended", self.name(session))
                })?;
            }
            (
                Answer::Done,
                Request::RevokeAll {
                    caller,
                    keep_current,
                },
            ) => {
                let kept = |id: &SessionId| *keep_current && *id == self.session(*caller);
                check(at_start.iter().all(|id| kept(id) || ended(*id)), || {
                    "guarantee 3: a session has outlived the revocation of all".to_owned()
                })?;
            }
            (Answer::Done, Request::ResetPassword { .. } | Request::AdminRevokeAll) => {
                check(at_start.iter().all(|id| ended(*id)), || {
                    "guarantee 3: a session has outlived the end of all".to_owned()
                })?;
            }
            (Answer::Done, Request::Delete { .. } | Request::AdminDelete | Request::Disable) => {
                check(table.live_set().is_empty(), || {
                    "guarantee 3: a session has outlived its account".to_owned()
                })?;
            }
            (Answer::Reused, Request::Refresh { session, .. }) => {
                check(ended(self.session(*session)), || {
                    let name = self.name(self.session(*session));
                    format!("guarantee 2: {name} was replayed and lives")
                })?;
            }
            (Answer::Refused(why), asked) => {
                check(!seen.committed, || {
                    format!("guarantee 7: answered \"{why}\", but its change was made")
                })?;
                check(!self.refused(asked, why).is_some_and(lived), || {
                    format!("answered \"{why}\" of a session that lived all the time")
                })?;
            }
            (
                Answer::Refreshed(_)
                | Answer::NotDue(_)
                | Answer::Reused
                | Answer::Listed(_)
                | Answer::Done
                | Answer::Broken
                | Answer::Unavailable,
                _,
            ) => {}
        }
        Ok(())
    }
}

impl Rules {
    /// The session of which a refusal says that it has ended, or that there is none.
    fn refused(&self, asked: &Request, why: &str) -> Option<SessionId> {
        if why == CALLER_NOT_LIVE {
            return asked.caller().map(|caller| self.session(caller));
        }
        match asked {
            // A token of a rotation that had not been made in the beginning may be none of the session yet.
            Request::Refresh { session, presented } => {
                let session = self.session(*session);
                let at_start = self.initial.sessions.get(&session)?;
                (*presented <= at_start.rotation).then_some(session)
            }
            // The index may not yet show a session that another request begins.
            Request::FindSession {
                target: Target::BegunBy(_),
            } => None,
            Request::FindSession { target } | Request::Revoke { target, .. }
                if why == NOT_FOUND =>
            {
                Some(self.target(*target))
            }
            Request::Rename { target, .. } | Request::AdminRevoke { target }
                if why == NOT_FOUND =>
            {
                Some(self.session(*target))
            }
            _ => None,
        }
    }
}

/// The rule on a refresh token that is given: it has the claims that everybody else got.
fn check_successors(history: &History, given: &Claims) -> Result<(), Broken> {
    let others = history.seen.iter().filter_map(|seen| seen.answer.as_ref());
    for other in others.filter_map(Answer::refresh_token) {
        let is_same_token = (other.session, other.rotation) == (given.session, given.rotation);
        check(!is_same_token || other == given, || {
            "guarantee 1: two different successors of one token".to_owned()
        })?;
    }
    Ok(())
}
