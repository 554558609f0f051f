//! The requests: each is a call of the service's own use case.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cleanup::CleanupError;
use futures::FutureExt as _;
use latchkey_domain::account::Liveness;
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::error::{
    CallerNotLive, ConfirmError, RefreshError, SessionError, SignInError, StepUpError,
};
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::password::Password;
use latchkey_domain::role::Role;
use latchkey_domain::session::ClientLocation;
use latchkey_domain::token::{Audience, RefreshClaims, Scope, Token};
use latchkey_service::{
    AccountUpdate, Administrator, Caller, Failure, Issued, PasswordChange, PasswordReset, Service,
    SessionOfUser, SignIn, SignOutToken, SignedIn,
};

/// A session of the scene, by its number.
pub type Number = u8;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "whose access token it is, what it is to end, what is typed"
)]
pub enum Request {
    /// With the token of this rotation of a session.
    Refresh {
        session: Number,
        presented: u64,
    },
    SignIn {
        password: &'static str,
    },
    Revoke {
        caller: Number,
        target: Target,
    },
    RevokeAll {
        caller: Number,
        keep_current: bool,
    },
    Logout {
        session: Number,
    },
    ChangePassword {
        caller: Number,
        new: &'static str,
    },
    Delete {
        caller: Number,
    },
    Reauthenticate {
        caller: Number,
    },
    /// With a link that was made before the scene.
    ResetPassword {
        new: &'static str,
    },
    /// With a link to another address, asked for on this session.
    ChangeEmail {
        asked_on: Number,
    },
    Purge {
        caller: Number,
    },
    List {
        caller: Number,
    },
    Rename {
        caller: Number,
        target: Number,
    },
    CurrentSession {
        caller: Number,
    },
    /// By an administrator, as the following.
    Disable,
    AdminRevoke {
        target: Number,
    },
    AdminRevokeAll,
    AdminDelete,
    Enable,
    ChangeRoles,
    /// By the index, which lags.
    FindSession {
        target: Target,
    },
    /// By the schedule, and not by a client.
    CleanUp,
}

/// What is to be revoked, or looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A session of the scene.
    Of(Number),
    /// The session that another request of the scenario, by its number from 0, begins.
    BegunBy(u8),
}

/// A request and the time at which it arrives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// What is asked for.
    pub request: Request,
    /// When.
    pub now: DateTime<Utc>,
    /// How far its clock moves with each reply.
    pub tick: TimeDelta,
}

/// What the clients of a scene hold.
#[derive(Clone, Debug)]
pub struct Wallet {
    /// The one user.
    pub user: UserId,
    /// Their address.
    pub email: &'static str,
    /// Their password.
    pub password: &'static str,
    /// Their sessions, by number.
    pub sessions: BTreeMap<Number, SessionId>,
    /// Refresh tokens, by session and rotation.
    pub refresh_tokens: BTreeMap<(Number, u64), Token>,
    /// A link that replaces the password.
    pub reset_link: Token,
    /// Links to another address, by the session on which they were asked for.
    pub email_links: BTreeMap<Number, Token>,
}

/// What a refresh token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the claims of RFC 7519")]
pub struct Claims {
    pub session: SessionId,
    pub rotation: u64,
    pub issued_at: i64,
    pub expires_at: i64,
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// 200 of a refresh: the successor.
    Refreshed(Claims),
    /// 200 of a refresh: the token that was presented, which is too young to be replaced.
    NotDue(Claims),
    /// 200 of a reauthentication: the newest refresh token.
    Reauthenticated(Claims),
    /// 401 `refresh_token_reused`.
    Reused,
    /// 200 of a sign-in or a password change: the new session.
    SignedIn(SessionId),
    /// 200 of a list, or of a look at one session: those that are shown as live.
    Listed(BTreeSet<SessionId>),
    /// 200, 202 or 204 of anything else; a cleanup that has come to its end.
    Done,
    /// 401, 403 or 404: nothing was done.
    Refused(&'static str),
    /// 503: it may or may not have been done.
    Unavailable,
    /// 500, which must not occur.
    Broken,
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
            Self::Listed(_) => "listed",
            Self::Done => "done",
            Self::Refused(why) => why,
            Self::Unavailable => "unavailable",
            Self::Broken => "broken",
        }
    }
}

impl Target {
    /// Which session it is.
    ///
    /// # Panics
    /// When no such session is in the scene.
    #[must_use]
    pub fn id(self, wallet: &Wallet, begun: &BTreeMap<u8, SessionId>) -> SessionId {
        match self {
            Self::Of(number) => wallet.sessions[&number],
            Self::BegunBy(request) => begun[&request],
        }
    }
}

impl Wallet {
    fn caller(&self, number: Number, now: DateTime<Utc>) -> Caller {
        Caller {
            user_id: self.user,
            session_id: self.sessions[&number],
            scope: Scope::own_account(),
            authenticated_at: now,
        }
    }
}

pub(super) const CALLER_NOT_LIVE: &str = "caller not live";
pub(super) const NOT_FOUND: &str = "not found";

fn password(text: &str) -> Arc<Password> {
    Arc::new(Password::new(text.to_owned()))
}

/// The answer to a request, whose refusal `word` names.
fn answer<T, E>(
    outcome: Result<T, Failure<E>>,
    done: impl FnOnce(T) -> Answer,
    word: impl FnOnce(E) -> &'static str,
) -> Answer {
    match outcome {
        Ok(value) => done(value),
        Err(Failure::Refused(refusal)) => Answer::Refused(word(refusal)),
        Err(Failure::Unavailable | Failure::Throttled(_)) => Answer::Unavailable,
        Err(Failure::Internal) => Answer::Broken,
    }
}

fn confirm_word(error: ConfirmError) -> &'static str {
    match error {
        ConfirmError::CallerNotLive => CALLER_NOT_LIVE,
        ConfirmError::WrongPassword => "wrong password",
        _ => "another refusal",
    }
}

fn step_up_word(error: StepUpError) -> &'static str {
    match error {
        StepUpError::CallerNotLive(_) => CALLER_NOT_LIVE,
        StepUpError::ReauthenticationRequired(_) => "another refusal",
    }
}

fn session_word(error: SessionError) -> &'static str {
    match error {
        SessionError::CallerNotLive => CALLER_NOT_LIVE,
        SessionError::NotFound => NOT_FOUND,
        SessionError::ReauthenticationRequired(_) => "another refusal",
    }
}

fn signed_in(reply: SignedIn) -> Answer {
    Answer::SignedIn(reply.issued.session.id)
}

impl Request {
    /// Whose access token it comes with.
    #[must_use]
    pub fn caller(&self) -> Option<Number> {
        match self {
            Self::Revoke { caller, .. }
            | Self::RevokeAll { caller, .. }
            | Self::ChangePassword { caller, .. }
            | Self::Delete { caller }
            | Self::Reauthenticate { caller }
            | Self::Purge { caller }
            | Self::List { caller }
            | Self::Rename { caller, .. }
            | Self::CurrentSession { caller } => Some(*caller),
            Self::Refresh { .. }
            | Self::SignIn { .. }
            | Self::Logout { .. }
            | Self::ResetPassword { .. }
            | Self::ChangeEmail { .. }
            | Self::Disable
            | Self::AdminRevoke { .. }
            | Self::AdminRevokeAll
            | Self::AdminDelete
            | Self::Enable
            | Self::ChangeRoles
            | Self::FindSession { .. }
            | Self::CleanUp => None,
        }
    }

    /// Asks the service. `begun` are the sessions that the requests of the scenario begin.
    pub async fn ask(
        &self,
        service: &Service,
        wallet: &Wallet,
        begun: &BTreeMap<u8, SessionId>,
    ) -> Answer {
        let now = service.core.now();
        let location = ClientLocation::default();
        let caller = |number| wallet.caller(number, now);
        match self {
            Self::Refresh { session, presented } => {
                let token = &wallet.refresh_tokens[&(*session, *presented)];
                let reply = service.refresh(token, &location, &Audience::ThisApi).await;
                match reply {
                    Err(Failure::Refused(RefreshError::Reused)) => Answer::Reused,
                    Ok(issued) => {
                        let claims = claims(service, &issued).await;
                        if claims.rotation == *presented {
                            Answer::NotDue(claims)
                        } else {
                            Answer::Refreshed(claims)
                        }
                    }
                    refused => answer(refused, |_| Answer::Done, |_| "invalid"),
                }
            }
            Self::SignIn { password: typed } => {
                let sign_in = SignIn {
                    email: wallet.email,
                    password: &password(typed),
                    device_token: None,
                    device: Device::describe(None, None, None, ClientHints::default()),
                    device_in_our_words: Device::name_in_our_words(None, ClientHints::default()),
                    location,
                    audience: Audience::ThisApi,
                };
                answer(
                    service.sign_in(sign_in).await,
                    signed_in,
                    |error| match error {
                        SignInError::InvalidCredentials => "invalid credentials",
                        SignInError::AccountDisabled => "disabled",
                        SignInError::EmailNotVerified => "another refusal",
                    },
                )
            }
            Self::Revoke { caller: by, target } => {
                let target = target.id(wallet, begun);
                let revoked = service.revoke(caller(*by), target).await;
                answer(revoked, |()| Answer::Done, session_word)
            }
            Self::RevokeAll {
                caller: by,
                keep_current,
            } => {
                let revoked = service.revoke_all(caller(*by), *keep_current).await;
                answer(revoked, |_| Answer::Done, step_up_word)
            }
            Self::Logout { session } => {
                let newest = wallet
                    .refresh_tokens
                    .range((*session, 0)..=(*session, u64::MAX));
                let token = newest.last().expect("a token").1.clone();
                let tokens = [SignOutToken::Refresh(token)];
                let signed_out = service.sign_out(&tokens).await;
                let word = |CallerNotLive| CALLER_NOT_LIVE;
                answer(signed_out, |_| Answer::Done, word)
            }
            Self::ChangePassword { caller: by, new } => {
                let change = PasswordChange {
                    current: &password(wallet.password),
                    new: &password(new),
                    location,
                };
                let changed = service.change_password(caller(*by), change).await;
                answer(changed, signed_in, confirm_word)
            }
            Self::Delete { caller: by } => {
                let typed = password(wallet.password);
                let deleted = service.delete_account(caller(*by), &typed, &location).await;
                answer(deleted, |()| Answer::Done, confirm_word)
            }
            Self::Reauthenticate { caller: by } => {
                let typed = password(wallet.password);
                let proved = service.reauthenticate(caller(*by), &typed, &location).await;
                match proved {
                    Ok(issued) => Answer::Reauthenticated(claims(service, &issued).await),
                    refused => answer(refused, |_| Answer::Done, confirm_word),
                }
            }
            Self::ResetPassword { new } => {
                let reset = PasswordReset {
                    token: &wallet.reset_link,
                    new: &password(new),
                    address: None,
                };
                let reset = service.reset_password(reset).await;
                answer(reset, |()| Answer::Done, |_| "invalid link")
            }
            Self::ChangeEmail { asked_on } => {
                let opened = service.verify_email(&wallet.email_links[asked_on]).await;
                answer(opened, |()| Answer::Done, |_| "invalid link")
            }
            Self::Purge { caller: by } => {
                let purged = service.purge_ended_sessions(caller(*by)).await;
                answer(purged, |_| Answer::Done, step_up_word)
            }
            Self::List { caller: by } => {
                let listed = service.list_sessions(caller(*by)).await;
                let ids = |list: latchkey_service::SessionList| {
                    Answer::Listed(list.sessions.iter().map(|session| session.id).collect())
                };
                answer(listed, ids, |CallerNotLive| CALLER_NOT_LIVE)
            }
            Self::Rename { caller: by, target } => {
                let (by, target) = (caller(*by), wallet.sessions[target]);
                let renamed = service.rename_session(by, target, Some("Ada's")).await;
                answer(renamed, |_| Answer::Done, session_word)
            }
            Self::CurrentSession { caller: by } => {
                let shown = service.current_session(caller(*by)).await;
                answer(shown, |_| Answer::Done, |CallerNotLive| CALLER_NOT_LIVE)
            }
            Self::Disable | Self::Enable | Self::ChangeRoles => {
                let update = match self {
                    Self::ChangeRoles => AccountUpdate {
                        roles: Some([Role::admin()].into()),
                        ..AccountUpdate::default()
                    },
                    _ => AccountUpdate {
                        active: Some(*self == Self::Enable),
                        ..AccountUpdate::default()
                    },
                };
                let operator = Administrator::operator();
                let updated = service.update_account(&operator, wallet.user, update).await;
                answer(updated, |_| Answer::Done, |_| NOT_FOUND)
            }
            Self::AdminRevoke { target } => {
                let target = wallet.sessions[target];
                let operator = Administrator::operator();
                let revoked = service.revoke_of(&operator, wallet.user, target).await;
                answer(revoked, |()| Answer::Done, |_| NOT_FOUND)
            }
            Self::AdminRevokeAll => {
                let operator = Administrator::operator();
                let revoked = service.revoke_all_of(&operator, wallet.user).await;
                answer(revoked, |_| Answer::Done, |_| NOT_FOUND)
            }
            Self::AdminDelete => {
                let operator = Administrator::operator();
                let deleted = service.delete_user(&operator, wallet.user).await;
                answer(deleted, |()| Answer::Done, |_| NOT_FOUND)
            }
            Self::FindSession { target } => {
                let target = target.id(wallet, begun);
                let operator = Administrator::operator();
                let found = service.find_session(&operator, target).await;
                let live = |found: SessionOfUser| {
                    let described = found.described;
                    let is_live = described.liveness == Liveness::Live;
                    let id = is_live.then_some(described.session.id);
                    Answer::Listed(id.into_iter().collect())
                };
                answer(found, live, |_| NOT_FOUND)
            }
            Self::CleanUp => {
                let budget = cleanup::Budget::until(now + TimeDelta::minutes(10));
                let cleaned = cleanup::run(&service.store, service.core.clock.as_ref(), budget);
                match cleaned.boxed().await {
                    Ok(report) if report.complete => Answer::Done,
                    Err(CleanupError::AlreadyRunning) => Answer::Refused("already running"),
                    Ok(_) | Err(_) => Answer::Unavailable,
                }
            }
        }
    }
}

async fn claims(service: &Service, issued: &Issued) -> Claims {
    let (tokens, now) = (&service.core.tokens, service.core.now());
    let read = tokens.verify_refresh_of_any_age(&issued.tokens.refresh_token, now);
    let RefreshClaims {
        sid, jti, iat, exp, ..
    } = read.await.expect("a token of our own");
    Claims {
        session: sid,
        rotation: jti.rotation,
        issued_at: iat,
        expires_at: exp,
    }
}
