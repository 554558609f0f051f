//! The plot of a mail: an event of the bus becomes one message to the person whom it concerns.
//!
//! One event gives one mail, however often it is delivered. A mail that cannot be sent now is reported, and whoever brings
//! events brings this one again. One that the mail service refuses goes to the dead letters at once, and so does
//! one of which nobody knows whether it was sent, after [`MOST_UNANSWERED`] attempts. One that nobody has asked for and that
//! is too many for its address is left out, and counted; of what is too old, or of use to nobody by now, there is none.
//!
//! An event is a message from outside: what it asks for is held against the table first.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;
use latchkey_domain::account::Account;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::StoreError;
use latchkey_domain::event::LinkRequest;
use latchkey_domain::id::{AttemptId, SessionId, UserId};
use latchkey_domain::notice::{Finding, Message, Notice, ReceivedEvent, Whereabouts};
use latchkey_domain::session::Session;
use latchkey_domain::throttle::{Subject, link_window_of};
use latchkey_domain::token::{Link, link_address};
use latchkey_store::{Attempts, Claimed, Counted, MailClaim, Store};
use uuid::Uuid;

use crate::metric::{MAIL_FAILURES, MAILS_LEFT_OUT, MAILS_REFUSED, MAILS_SENT, MAILS_UNFOUNDED};
use crate::{Core, Service};

/// How long whoever is about to send a mail has for it. It is longer than an invocation of the function lasts, so that a
/// mail is claimed by somebody else only if the first one has died.
pub const MAIL_LEASE: TimeDelta = TimeDelta::seconds(60);

/// How often a mail is handed over at most without anybody knowing whether it was taken: so many mails of one event a person
/// gets at most.
pub const MOST_UNANSWERED: u32 = 3;

/// How long a mail waits after an attempt of which nobody knows what became of it: half an hour after the first, six hours
/// after the second. So a mail service that is silent for a while uses up no mail.
fn wait_unanswered(unanswered: u32) -> TimeDelta {
    match unanswered {
        0 => TimeDelta::zero(),
        1 => TimeDelta::minutes(30),
        _ => TimeDelta::hours(6),
    }
}

/// Why a claim to a mail is given back.
#[derive(Clone, Copy, Debug)]
enum Unsent {
    /// The mail could not be counted for its address, so it was not handed over.
    NotCounted,
    /// The mail service has not taken it.
    NotTaken,
    /// Nobody knows whether the mail service has taken it.
    Unanswered,
}

/// Why a mail is given up that may have been sent, as the dead letter says it.
const UNANSWERED: &str =
    "the mail service has not answered, three times; it may have taken the mail";

/// How many sessions of an account are read to find the one that a new password began.
const MAX_SESSIONS_READ: usize = 3;

/// Writes messages: the texts of the function.
pub trait Texts: Send + Sync {
    /// A message in words. `link` is what a message with a link is about.
    ///
    /// # Errors
    /// [`NotWritten`]; what is wrong with the text is logged where it happened.
    fn write(&self, notice: &Notice, link: Option<&str>) -> Result<Words, NotWritten>;
}

/// A message could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mail could not be written")]
pub struct NotWritten;

/// A message in words.
#[derive(Clone, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub subject: String,
    /// The message as plain text.
    pub text: String,
    /// The same as a page.
    pub html: String,
}

/// Sends mails: SES, or the list of the local stack.
pub trait Mailer: Send + Sync {
    /// Sends a mail.
    ///
    /// # Errors
    /// [`SendError`]
    fn send(&self, mail: &Mail) -> impl Future<Output = Result<(), SendError>> + Send;
}

/// Why a mail was not sent. It names no address: the words of a mail service often do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Not now; later perhaps. It was not taken.
    #[error("a mail cannot be sent now")]
    NotNow,
    /// Nobody knows: it was handed over, and no answer came.
    #[error("the mail service does not answer")]
    Unanswered,
    /// Never: the mail service takes no such address.
    #[error("the mail service takes no such address")]
    Unsupported,
    /// Never: the address or the message is refused.
    #[error("a mail is refused: {code}")]
    Refused {
        /// Why, in one word of the mail service.
        code: String,
    },
}

/// A mail to one person.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// The event that it tells of.
    pub event_id: Uuid,
    /// The type of that event.
    pub event_type: String,
    /// Which message it is.
    pub message: Message,
    /// To whom it goes.
    pub to: EmailAddress,
    /// What it says.
    pub words: Words,
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words").finish_non_exhaustive()
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mail = f.debug_struct("Mail");
        mail.field("event_id", &self.event_id);
        mail.field("message", &self.message);
        mail.finish_non_exhaustive()
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A mail was sent.
    Sent,
    /// A mail had been sent before.
    Before,
    /// There is nothing to tell, or nobody to be told.
    Nothing,
    /// Its mail will never be sent, or perhaps was, and it went to the dead letters.
    Buried,
}

/// A mail could not be sent. Whoever brings events is to bring this one again, later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mail could not be sent; bring its event again")]
pub struct Later;

/// Tells people by mail what has happened to them.
#[derive(Clone, Debug)]
pub struct Notifier<T, M> {
    /// The table, the keys of links, the clock.
    pub service: Service,
    /// What mails say.
    pub texts: T,
    /// Sends them.
    pub mailer: M,
    /// How long a mail is claimed for; see [`MAIL_LEASE`].
    pub lease: TimeDelta,
}

impl<T: Texts, M: Mailer> Notifier<T, M> {
    /// Sends the mail of an event, if it has one and it was not sent before. `delivered` is the event as it was brought,
    /// for the dead letters. At most 5 trips: account, session, claim, count, mark, and 1 more for a changed password; 2
    /// read units, up to 3 more for a changed password, and 3 write units.
    ///
    /// # Errors
    /// [`Later`]; nothing is lost if the event is brought again.
    pub async fn tell(&self, event: &ReceivedEvent, delivered: &str) -> Result<Told, Later> {
        let Some(notice) = self.notice(event).await? else {
            return Ok(Told::Nothing);
        };
        let now = self.service.core.now();
        let claimed = self.store();
        let claimed = claimed.claim_mail(event.id, MOST_UNANSWERED, now, now + self.lease);
        let claim = match claimed.await.map_err(|_| Later)? {
            Claimed::Yours(claim) => claim,
            Claimed::Sent => return Ok(Told::Before),
            Claimed::Elsewhere => return Err(Later),
            Claimed::Exhausted(claim) => return self.give_up(event, delivered, claim).await,
        };
        let is_counted = !event.is_asked_for() && claim.counts();
        let may_get_it = match is_counted {
            true => self.count_notice(&notice).await,
            false => Ok(true),
        };
        let may_get_it = match may_get_it {
            Ok(may_get_it) => may_get_it,
            Err(later) => {
                self.release(event, claim, Unsent::NotCounted).await;
                return Err(later);
            }
        };
        if !may_get_it {
            let what = "a mail was not sent: its address has got enough in this hour";
            log_unsent(event, &notice, what);
            MAILS_LEFT_OUT.count(1);
            self.close(event, claim).await;
            return Ok(Told::Nothing);
        }
        match self.send(event, &notice).await {
            Ok(()) => {
                self.mark_sent(event, &notice, claim).await;
                Ok(Told::Sent)
            }
            // No error of ours: anybody may register such an address.
            Err(SendError::Unsupported) => {
                let what = "a mail was not sent: the mail service takes no such address";
                log_unsent(event, &notice, what);
                MAILS_LEFT_OUT.count(1);
                self.close(event, claim).await;
                Ok(Told::Nothing)
            }
            Err(SendError::NotNow) => {
                MAIL_FAILURES.count(1);
                log_unsent(
                    event,
                    &notice,
                    "a mail could not be sent; it is tried again",
                );
                self.release(event, claim, Unsent::NotTaken).await;
                Err(Later)
            }
            Err(SendError::Unanswered) if claim.unanswered() >= MOST_UNANSWERED => {
                MAIL_FAILURES.count(1);
                self.give_up(event, delivered, claim).await
            }
            Err(SendError::Unanswered) => {
                MAIL_FAILURES.count(1);
                let what = "nobody knows whether a mail was sent; it is sent again";
                log_unsent(event, &notice, what);
                self.release(event, claim, Unsent::Unanswered).await;
                Err(Later)
            }
            Err(SendError::Refused { code }) => {
                let kept = self.bury(&event.id.to_string(), delivered, &code).await;
                // Released, so that the event can be brought again when what was wrong is put right.
                self.release(event, claim, Unsent::NotTaken).await;
                kept.map(|()| Told::Buried)
            }
        }
    }

    /// Keeps what will never become a mail among the dead letters. `id` is the event's, or that of the message on the queue
    /// that should hold one.
    ///
    /// # Errors
    /// [`Later`] if it could not be kept.
    pub async fn bury(&self, id: &str, delivered: &str, reason: &str) -> Result<(), Later> {
        let now = self.service.core.now();
        let kept = self.store().keep_dead_mail(id, delivered, reason, now);
        kept.await.map_err(|_| Later)?;
        tracing::error!(
            id,
            reason,
            "a mail will never be sent; its event went to the dead letters"
        );
        MAILS_REFUSED.count(1);
        Ok(())
    }

    /// Counts a mail as sent of which nobody knows whether it was, too often: a person shall not get it again and again.
    async fn give_up(
        &self,
        event: &ReceivedEvent,
        delivered: &str,
        claim: MailClaim,
    ) -> Result<Told, Later> {
        let id = event.id.to_string();
        self.bury(&id, delivered, UNANSWERED).await?;
        self.close(event, claim).await;
        Ok(Told::Buried)
    }

    fn store(&self) -> &Store {
        &self.service.store
    }

    /// The message of an event, with where it was done if that is known.
    async fn notice(&self, event: &ReceivedEvent) -> Result<Option<Notice>, Later> {
        if !event.is_told() {
            return Ok(None);
        }
        let (event_id, event_type) = (event.id, &event.event_type);
        if event.is_stale(self.service.core.now()) {
            return self.pass_over(event).await;
        }
        let read = tokio::try_join!(
            self.store().read_account(event.user_id),
            self.read_request(event)
        );
        let (account, request) = read.map_err(|_| Later)?;
        let account = account.as_ref();
        let now = self.service.core.now();
        let event = match event.find(account, request.as_ref(), now) {
            // By the time that the request has, whatever the event says.
            Finding::Founded(event) if event.is_stale(now) => return self.pass_over(&event).await,
            Finding::Founded(event) => event,
            Finding::Overtaken => {
                tracing::debug!(%event_id, event_type, "a link that was asked for is of no use by now");
                return Ok(None);
            }
            Finding::Unfounded => {
                tracing::error!(%event_id, event_type, "an event asks for a mail that the table knows nothing of");
                MAILS_UNFOUNDED.count(1);
                return Ok(None);
            }
        };
        let Some(notice) = event.notice(account) else {
            tracing::debug!(%event_id, event_type, "nobody is to be told by mail");
            return Ok(None);
        };
        let (None, Some(session)) = (&notice.whereabouts, notice.session) else {
            return Ok(Some(notice));
        };
        let found = self.read_session(event.user_id, session).await?;
        let found = match (found, notice.message, account) {
            // A new password ends the session that asked for it, and begins another one at the same time.
            (None, Message::PasswordChanged, Some(account)) => {
                self.find_begun(account, notice.at).await?
            }
            (found, ..) => found,
        };
        Ok(Some(notice.at_place(found.as_ref().map(Whereabouts::of))))
    }

    /// There is no mail of what is too old. If it was tried before and not sent, a person has to hear that mails fail: this one
    /// has not waited for the dead letters. 1 read unit.
    ///
    /// # Errors
    /// [`Later`] while it is not known what becomes of an attempt.
    async fn pass_over(&self, event: &ReceivedEvent) -> Result<Option<Notice>, Later> {
        let (event_id, event_type) = (event.id, &event.event_type);
        let now = self.service.core.now();
        let attempts = self.store().read_attempts(event.id, now).await;
        match attempts.map_err(|_| Later)? {
            Attempts::UnderWay => return Err(Later),
            Attempts::Unsent => {
                tracing::error!(%event_id, event_type, "a mail could not be sent before it was too old");
                MAILS_LEFT_OUT.count(1);
            }
            Attempts::Unanswered => {
                tracing::warn!(%event_id, event_type, "a mail is too old to be sent again, and nobody knows whether it was sent");
            }
            Attempts::None | Attempts::Sent => {
                tracing::warn!(%event_id, event_type, "an event is too old to be told by mail");
            }
        }
        Ok(None)
    }

    /// What was written when the link was asked for that an event tells of. 1 read unit.
    async fn read_request(&self, event: &ReceivedEvent) -> Result<Option<LinkRequest>, StoreError> {
        match event.request_id().filter(|_| event.is_asked_for()) {
            Some(request) => self.store().read_link_request(request).await,
            None => Ok(None),
        }
    }

    async fn read_session(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<Option<Session>, Later> {
        match self.store().read_session(user, session).await {
            // It is for a person to repair, and only says where it was.
            Err(StoreError::Corrupt) => Ok(None),
            read => read.map_err(|_| Later),
        }
    }

    /// The session of an account that has begun at this time, if it is among the first few. 1 trip, 1 read unit for each.
    async fn find_begun(
        &self,
        account: &Account,
        at: DateTime<Utc>,
    ) -> Result<Option<Session>, Later> {
        let few = account.sessions.iter().take(MAX_SESSIONS_READ);
        let read = try_join_all(few.map(|id| self.read_session(account.id, *id)));
        let mut sessions = read.await?.into_iter().flatten();
        Ok(sessions.find(|session| session.created_at == at))
    }

    async fn send(&self, event: &ReceivedEvent, notice: &Notice) -> Result<(), SendError> {
        let link = match &notice.link {
            Some(link) => Some(self.link(link).await?),
            None => None,
        };
        let words = self.texts.write(notice, link.as_deref());
        let mail = Mail {
            event_id: event.id,
            event_type: event.event_type.clone(),
            message: notice.message,
            to: notice.to.clone(),
            words: words.map_err(|NotWritten| SendError::NotNow)?,
        };
        self.mailer.send(&mail).await
    }

    /// The address of a link that is valid from now on.
    async fn link(&self, link: &Link) -> Result<String, SendError> {
        let Core {
            tokens,
            clock,
            account_url,
            ..
        } = &self.service.core;
        let token = tokens.issue_link(link, clock.now()).await;
        let token = token.map_err(|error| {
            tracing::error!(%error, "a link could not be signed");
            SendError::NotNow
        })?;
        Ok(link_address(account_url, link.purpose(), &token))
    }

    /// The mail is out. If that cannot be kept, it is sent once more only if its event is delivered once more.
    async fn mark_sent(&self, event: &ReceivedEvent, notice: &Notice, claim: MailClaim) {
        let (event_id, event_type) = (event.id, &event.event_type);
        let (user_id, mail): (UserId, _) = (event.user_id, notice.message.as_str());
        tracing::info!(%event_id, event_type, %user_id, mail, "mail sent");
        MAILS_SENT.count(1);
        self.close(event, claim).await;
    }

    /// Counts a mail that nobody has asked for. Returns whether its address may get it. 1 write unit.
    async fn count_notice(&self, notice: &Notice) -> Result<bool, Later> {
        let core = &self.service.core;
        let now = core.now();
        let subject = Subject::Mailbox(notice.reason(), &notice.to);
        let counter = core.tokens.counter(subject, now).await;
        let counter = counter.map_err(|_| Later)?;
        let attempt = AttemptId::random(core.random.as_ref());
        let limit = notice.most_in_hour();
        let window = link_window_of(now);
        let counted = self
            .store()
            .count_in_window(&counter, attempt, limit, window, now);
        Ok(matches!(
            counted.await.map_err(|_| Later)?,
            Counted::Admitted(_)
        ))
    }

    /// No mail of this event is to be sent any more.
    async fn close(&self, event: &ReceivedEvent, claim: MailClaim) {
        let event_id = event.id;
        let now = self.service.core.now();
        if self.store().mark_mail_sent(claim, now).await.is_err() {
            tracing::warn!(%event_id, "it could not be kept what became of a mail");
        }
    }

    /// Gives back a claim with which nothing was sent as far as is known, so that the mail can be tried again. If that
    /// fails, the claim ends when its time is over.
    async fn release(&self, event: &ReceivedEvent, claim: MailClaim, unsent: Unsent) {
        let (claim, wait) = match unsent {
            Unsent::NotCounted => (claim.not_sent().not_counted(), TimeDelta::zero()),
            Unsent::NotTaken => (claim.not_sent(), TimeDelta::zero()),
            Unsent::Unanswered => (claim, wait_unanswered(claim.unanswered())),
        };
        let free_from = self.service.core.now() + wait;
        if self.store().release_mail(claim, free_from).await.is_err() {
            let event_id = event.id;
            tracing::warn!(
                %event_id,
                "a mail could not be released; it can be sent again when its claim is over"
            );
        }
    }
}

/// Says what became of a mail that was not sent. It names no address.
fn log_unsent(event: &ReceivedEvent, notice: &Notice, what: &str) {
    let (event_id, mail) = (event.id, notice.message.as_str());
    tracing::warn!(%event_id, mail, "{what}");
}
