//! Session items: rotation, naming, reading one, removing what has ended.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, ReturnValue, WriteRequest};
use chrono::{DateTime, Utc};
use futures::future::{join, try_join_all};
use latchkey_domain::account::Account;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::RandomSource;
use latchkey_domain::refresh::RotationAttempt;
use latchkey_domain::selection::ended_sessions_beyond;
use latchkey_domain::session::{ClientLocation, Session, idle_expiry};
use std::collections::HashMap;

use crate::Store;
use crate::account::Partition;
use crate::client::COUNT_CAPACITY;
use crate::expression::Expression;
use crate::item::{attribute, millis, number, session_from_item, string};
use crate::keys::{Item, Key, PK};
use crate::refusal::store_error;
use crate::retry::OLD_ITEM;

/// How many items one `BatchWriteItem` takes.
const BATCH_SIZE: usize = 25;

/// A refresh token that is presented, and what is to be written if it is the one to rotate.
///
/// ```
/// use chrono::{DateTime, Utc};
/// use latchkey_domain::id::{SessionId, UserId};
/// use latchkey_domain::policy::SessionPolicy;
/// use latchkey_domain::session::ClientLocation;
/// use latchkey_store::{Rotation, Store};
///
/// # async fn example(
/// #     store: &Store, user: UserId, session: SessionId, now: DateTime<Utc>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let (location, policy) = (ClientLocation::default(), SessionPolicy::default());
/// let rotation = Rotation {
///     user,
///     session,
///     presented: 3,
///     location: &location,
///     now,
///     policy: &policy,
/// };
/// let (account, attempt) = store.rotate(&rotation).await?;
/// # drop((account, attempt));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// The token's user.
    pub user: UserId,
    /// The token's session.
    pub session: SessionId,
    /// The token's rotation.
    pub presented: u64,
    /// Where the client is now.
    pub location: &'a ClientLocation,
    /// Now.
    pub now: DateTime<Utc>,
    /// How long things last.
    pub policy: &'a SessionPolicy,
}

impl Rotation<'_> {
    fn expression(&self, successor: u64) -> Expression {
        let location = self.location;
        Expression::default()
            .only_if("#rotation = :presented")
            .value("presented", number(self.presented))
            .only_if("(#rotation = :unrotated OR #rotated_at <= :due)")
            .value("unrotated", number(0))
            .value("due", millis(self.now - self.policy.rotation_interval()))
            .unless_expired(self.now)
            .set(attribute::ROTATION, number(successor))
            .set(attribute::ROTATED_AT, millis(self.now))
            .set(attribute::LAST_USED_AT, millis(self.now))
            .set(
                attribute::IDLE_EXPIRES_AT,
                millis(idle_expiry(self.now, self.policy)),
            )
            .set_or_remove(attribute::IP_ADDRESS, location.ip_address.map(string))
            .set_or_remove(attribute::CITY, location.city.as_ref().map(string))
            .set_or_remove(attribute::COUNTRY, location.country.as_ref().map(string))
            .set_or_remove(attribute::DEGREES, location.coordinates.map(string))
    }
}

/// A session whose user has just proved who they are, and what is to be written.
#[derive(Clone, Copy, Debug)]
pub struct Reauthentication<'a> {
    /// The session as it was read.
    pub session: &'a Session,
    /// Where the client is now.
    pub location: &'a ClientLocation,
    /// Now.
    pub now: DateTime<Utc>,
    /// How long things last.
    pub policy: &'a SessionPolicy,
}

impl Reauthentication<'_> {
    /// The rotation that is made in the same write, if the refresh token is due for one.
    fn rotation(&self) -> Option<Expression> {
        let (session, now) = (self.session, self.now);
        if !session.is_rotation_due(now, self.policy) {
            return None;
        }
        let rotation = Rotation {
            user: session.user_id,
            session: session.id,
            presented: session.rotation,
            location: self.location,
            now,
            policy: self.policy,
        };
        let successor = session.rotation.checked_add(1)?;
        Some(self.proof(rotation.expression(successor)))
    }

    /// Writes the proof, and that no wrong password counts any more.
    fn proof(&self, expression: Expression) -> Expression {
        expression
            .set(attribute::AUTHENTICATED_AT, millis(self.now))
            .forgetting_passwords()
    }
}

impl Expression {
    /// Writes only to a session that time has not ended.
    fn unless_expired(self, now: DateTime<Utc>) -> Self {
        self.only_if("#idle_expires_at > :now AND #absolute_expires_at > :now")
            .name(attribute::IDLE_EXPIRES_AT)
            .name(attribute::ABSOLUTE_EXPIRES_AT)
            .value("now", millis(now))
    }

    /// Forgets the passwords that were given on a session, those that were wrong too.
    fn forgetting_passwords(self) -> Self {
        self.remove(attribute::PASSWORD_ATTEMPTS)
            .remove(attribute::WRONG_PASSWORDS)
    }
}

/// How many digits of a [`PasswordAttempt`] are chance.
const CHANCE_DIGITS: usize = 8;

/// One password that is given on a session: told from the others by chance, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordAttempt(String);

/// What became of a [`PasswordAttempt`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordCounted {
    /// It was counted, and may be checked.
    Admitted,
    /// It was not counted: there were too many before it.
    Refused(GivenPasswords),
    /// There is no such session.
    NoSession,
}

/// The passwords that are counted on a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenPasswords {
    counted: Vec<String>,
    wrong: Vec<String>,
}

impl GivenPasswords {
    fn of(item: &Item) -> Self {
        let set = |name| item.get(name).and_then(|set| set.as_ss().ok().cloned());
        Self {
            counted: set(attribute::PASSWORD_ATTEMPTS).unwrap_or_default(),
            wrong: set(attribute::WRONG_PASSWORDS).unwrap_or_default(),
        }
    }

    /// How many of them were judged wrong.
    #[must_use]
    pub fn wrong(&self) -> usize {
        self.wrong.len()
    }

    /// Those that were given before this moment, to the second, and are not judged.
    #[must_use]
    pub fn unjudged_before(&self, moment: DateTime<Utc>) -> Vec<PasswordAttempt> {
        let counted = self.counted.iter().cloned().map(PasswordAttempt);
        counted
            .filter(|one| !self.wrong.iter().any(|wrong| wrong == one.chance()))
            .filter(|one| one.made_at() < moment)
            .collect()
    }
}

impl PasswordAttempt {
    /// A new one.
    #[must_use]
    pub fn new(now: DateTime<Utc>, random: &dyn RandomSource) -> Self {
        let mut bytes = [0; 4];
        random.fill(&mut bytes);
        let (second, chance) = (now.timestamp(), u32::from_be_bytes(bytes));
        Self(format!("{chance:08x}{second:08x}"))
    }

    fn as_set(&self) -> AttributeValue {
        AttributeValue::Ss(vec![self.0.clone()])
    }

    /// The part that tells it from the others: what the mark of a wrong one needs.
    fn chance(&self) -> &str {
        self.0.get(..CHANCE_DIGITS).unwrap_or(&self.0)
    }

    /// When it was made. Those of earlier versions do not tell, and were made long ago.
    fn made_at(&self) -> DateTime<Utc> {
        let second = self.0.get(CHANCE_DIGITS..);
        let second = second.filter(|second| !second.is_empty());
        let second = second.and_then(|second| i64::from_str_radix(second, 16).ok());
        let at = second.and_then(|second| DateTime::from_timestamp(second, 0));
        at.unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl Store {
    /// One session, strongly consistent; 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_session(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<Option<Session>, StoreError> {
        self.get(Key::session(user, session))
            .await?
            .map(session_from_item)
            .transpose()
    }

    /// The one conditional write of a refresh, and the account, read in parallel: 1 trip, 1 write unit, 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rotate(
        &self,
        rotation: &Rotation<'_>,
    ) -> Result<(Option<Account>, RotationAttempt), StoreError> {
        self.with_account(rotation.user, self.write_rotation(rotation))
            .await
    }

    /// The write of a reauthentication, and the account, read in parallel: 1 trip, 1 write unit, 1 read unit; 1 trip and
    /// 1 write unit more if the refresh token was due and a refresh has rotated it since the session was read. Returns
    /// the session as it is now, or nothing if it is gone or has expired.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn reauthenticate(
        &self,
        reauthentication: &Reauthentication<'_>,
    ) -> Result<(Option<Account>, Option<Session>), StoreError> {
        let user = reauthentication.session.user_id;
        self.with_account(user, self.write_reauthentication(reauthentication))
            .await
    }

    async fn write_reauthentication(
        &self,
        reauthentication: &Reauthentication<'_>,
    ) -> Result<Option<Session>, StoreError> {
        let Session { user_id, id, .. } = reauthentication.session;
        if let Some(rotation) = reauthentication.rotation() {
            let rotated = self.update_session((*user_id, *id), &rotation);
            if let Some(session) = rotated.await? {
                return Ok(Some(session));
            }
        }
        // Its newest refresh token is young: it stays, whichever it is.
        let proof = Expression::default().unless_expired(reauthentication.now);
        let proof = reauthentication.proof(proof);
        self.update_session((*user_id, *id), &proof).await
    }

    /// Updates a session's item. Returns it as it is then, or nothing if the condition has failed.
    async fn update_session(
        &self,
        (user, session): (UserId, SessionId),
        expression: &Expression,
    ) -> Result<Option<Session>, StoreError> {
        let ask = |update: UpdateItemFluentBuilder| update.return_values(ReturnValue::AllNew);
        let key = Key::session(user, session);
        match self
            .update(key, expression, ask, &mut self.retries())
            .await?
        {
            Ok(output) => output.attributes.map(session_from_item).transpose(),
            Err(_) => Ok(None),
        }
    }

    /// Makes a write, and reads the account in parallel. If the account cannot be read, that read alone is repeated once:
    /// the write may have been made.
    async fn with_account<T>(
        &self,
        user: UserId,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<(Option<Account>, T), StoreError> {
        let (written, account) = join(write, self.read_account(user)).await;
        let written = written?;
        let account = match account {
            Ok(account) => account,
            Err(StoreError::Unavailable) => self.read_account(user).await?,
            Err(StoreError::Corrupt) => return Err(StoreError::Corrupt),
        };
        Ok((account, written))
    }

    async fn write_rotation(&self, rotation: &Rotation<'_>) -> Result<RotationAttempt, StoreError> {
        let (user, session) = (rotation.user, rotation.session);
        let Some(successor) = rotation.presented.checked_add(1) else {
            // u64::MAX is only in a forged token: there is nothing to rotate.
            let found = self.read_session(user, session).await?;
            return Ok(RotationAttempt::Refused(found));
        };
        let expression = rotation.expression(successor);
        let ask = |update: UpdateItemFluentBuilder| {
            update
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(OLD_ITEM)
        };
        let key = Key::session(user, session);
        match self
            .update(key, &expression, ask, &mut self.retries())
            .await?
        {
            Ok(output) => {
                let item = output.attributes.ok_or(StoreError::Corrupt)?;
                Ok(RotationAttempt::Rotated(session_from_item(item)?))
            }
            Err(mut conditions) => {
                let found = conditions.take_only().map(session_from_item).transpose()?;
                Ok(RotationAttempt::Refused(found))
            }
        }
    }

    /// Names a session, or clears its name; 1 write unit. Returns nothing if there is no such session or it has
    /// expired. That it is admitted is the account's to say, which the caller has read before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn rename_session(
        &self,
        user: UserId,
        session: SessionId,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<Session>, StoreError> {
        let expression = Expression::default()
            .unless_expired(now)
            .set_or_remove(attribute::NAME, name.map(string))
            .set(attribute::RENAMED_AT, millis(now));
        self.update_session((user, session), &expression).await
    }

    /// Counts a password that is given on a session, before it is checked: of any number at once, no more than `limit`
    /// are. 1 write unit.
    ///
    /// An attempt is an element of a set, and not one more of a number: when a reply is lost and the update is sent
    /// again, it is still one attempt.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn count_password_attempt(
        &self,
        user: UserId,
        session: SessionId,
        attempt: &PasswordAttempt,
        limit: usize,
    ) -> Result<PasswordCounted, StoreError> {
        let expression = Expression::default()
            .only_if("attribute_exists(#pk)")
            .name(PK)
            .only_if(
                "(attribute_not_exists(#password_attempts) OR size(#password_attempts) < :limit \
                 OR contains(#password_attempts, :attempt))",
            )
            .value("limit", number(limit))
            .value("attempt", string(&attempt.0))
            .add_to_set(attribute::PASSWORD_ATTEMPTS, attempt.as_set());
        let ask = |update: UpdateItemFluentBuilder| {
            update.return_values_on_condition_check_failure(OLD_ITEM)
        };
        let key = Key::session(user, session);
        let sent = self
            .update(key, &expression, ask, &mut self.retries())
            .await?;
        Ok(match sent {
            Ok(_) => PasswordCounted::Admitted,
            Err(mut failed) => match failed.take_only() {
                Some(item) => PasswordCounted::Refused(GivenPasswords::of(&item)),
                None => PasswordCounted::NoSession,
            },
        })
    }

    /// Marks a password that was counted as wrong; 1 write unit. Returns how many were wrong on this session, with this
    /// one.
    ///
    /// # Errors
    /// [`StoreError`]: it may not be marked, and must not be told to be wrong.
    pub async fn mark_password_wrong(
        &self,
        user: UserId,
        session: SessionId,
        attempt: &PasswordAttempt,
    ) -> Result<usize, StoreError> {
        let mark = AttributeValue::Ss(vec![attempt.chance().to_owned()]);
        let expression = Expression::default()
            .only_if("attribute_exists(#pk)")
            .name(PK)
            // Another's right password may have cleared the count since: a wrong one is always a counted one.
            .add_to_set(attribute::PASSWORD_ATTEMPTS, attempt.as_set())
            .add_to_set(attribute::WRONG_PASSWORDS, mark);
        let ask = |update: UpdateItemFluentBuilder| update.return_values(ReturnValue::UpdatedNew);
        let mut retries = self.retries();
        let sent = self.update(Key::session(user, session), &expression, ask, &mut retries);
        let given = sent.await?.map(|output| output.attributes);
        let given = given.ok().flatten().as_ref().map(GivenPasswords::of);
        Ok(given.unwrap_or_default().wrong())
    }

    /// Takes back the counts of passwords of which nobody knows whether they were right. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn uncount_password_attempts(
        &self,
        user: UserId,
        session: SessionId,
        attempts: &[PasswordAttempt],
    ) -> Result<(), StoreError> {
        let attempts = attempts.iter().map(|one| one.0.clone()).collect();
        let attempts = AttributeValue::Ss(attempts);
        let expression =
            Expression::default().delete_from_set(attribute::PASSWORD_ATTEMPTS, attempts);
        self.update_if_there(Key::session(user, session), expression)
            .await
    }

    /// Forgets the passwords that were given on a session, because the right one was. 1 write unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn clear_password_attempts(
        &self,
        user: UserId,
        session: SessionId,
    ) -> Result<(), StoreError> {
        let expression = Expression::default().forgetting_passwords();
        self.update_if_there(Key::session(user, session), expression)
            .await
    }

    /// Updates an item; one that is gone stays gone.
    async fn update_if_there(&self, key: Key, expression: Expression) -> Result<(), StoreError> {
        let expression = expression.only_if("attribute_exists(#pk)").name(PK);
        self.update(key, &expression, |update| update, &mut self.retries())
            .await
            .map(drop)
    }

    /// Removes a user's sessions that are not live, for good, and says how many.
    ///
    /// `snapshot` was read before this is called: the account that judges its sessions is read here, so that a session which
    /// has just been admitted is never taken for an ended one. Expiry is judged as of the time of the reading, so that
    /// one which has just been refreshed is not either.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn purge_ended_sessions(
        &self,
        user: UserId,
        snapshot: &Partition,
    ) -> Result<usize, StoreError> {
        let account = self.read_account(user).await?;
        let ended =
            ended_sessions_beyond(account.as_ref(), &snapshot.sessions, snapshot.read_at, 0);
        // What has left the set never comes back. What is still in it has only expired by what was read, and may have
        // been refreshed in its last moment since.
        let (expired, left): (Vec<SessionId>, Vec<SessionId>) = ended.into_iter().partition(|id| {
            account
                .as_ref()
                .is_some_and(|account| account.sessions.contains(id))
        });
        self.delete_sessions(user, &left).await?;
        let as_read = snapshot
            .sessions
            .iter()
            .filter(|session| expired.contains(&session.id));
        let deletions = as_read.map(|session| self.delete_unless_refreshed(session));
        let deleted = try_join_all(deletions).await?;
        Ok(left.len() + deleted.into_iter().filter(|deleted| *deleted).count())
    }

    /// Deletes a session's item on the condition that it has not been refreshed since it was read. Returns whether it was
    /// deleted.
    async fn delete_unless_refreshed(&self, session: &Session) -> Result<bool, StoreError> {
        let as_read = Expression::default()
            .only_if("#rotation = :rotation")
            .name(attribute::ROTATION)
            .value("rotation", number(session.rotation));
        let key = Key::session(session.user_id, session.id);
        self.delete_item_if(key, &as_read).await
    }

    /// Deletes session items, 2 write units each, whatever they hold. Only ids that are known to have left the account's
    /// set for good may be given, or those of a user who has no account any more.
    pub(crate) async fn delete_sessions(
        &self,
        user: UserId,
        sessions: &[SessionId],
    ) -> Result<(), StoreError> {
        let keys = sessions.iter().map(|session| Key::session(user, *session));
        self.delete_items(keys.collect()).await
    }

    /// Deletes items, whatever they hold.
    pub(crate) async fn delete_items(&self, keys: Vec<Key>) -> Result<(), StoreError> {
        for batch in keys.chunks(BATCH_SIZE) {
            let batch = batch.iter().cloned();
            let mut pending: Vec<WriteRequest> = batch.map(delete_request).collect();
            let mut retries = self.retries();
            while !pending.is_empty() {
                let output = self
                    .client
                    .batch_write_item()
                    .request_items(&*self.table, pending)
                    .return_consumed_capacity(COUNT_CAPACITY)
                    .send()
                    .await
                    .map_err(|error| store_error("BatchWriteItem", &error))?;
                let unprocessed: HashMap<_, _> = output.unprocessed_items.unwrap_or_default();
                pending = unprocessed.into_values().flatten().collect();
                if !pending.is_empty() {
                    retries.pause().await?;
                }
            }
        }
        Ok(())
    }
}

fn delete_request(key: Key) -> WriteRequest {
    let delete = DeleteRequest::builder()
        .set_key(Some(key.into_attributes()))
        .build();
    WriteRequest::builder()
        .set_delete_request(delete.ok())
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_unjudged_before_a_moment_if_it_was_given_in_an_earlier_second() {
        let at = DateTime::from_timestamp(1_772_366_400, 0).unwrap();
        let second = at.timestamp();
        let given = GivenPasswords {
            counted: vec![
                format!("aaaaaaaa{second:08x}"),
                format!("bbbbbbbb{second:08x}"),
                // Of an earlier version, which did not write when it was.
                "cccccccc".to_owned(),
            ],
            wrong: vec!["bbbbbbbb".to_owned()],
        };
        let unjudged = |seconds| given.unjudged_before(at + chrono::TimeDelta::seconds(seconds));
        let old = PasswordAttempt(given.counted[2].clone());
        let young = PasswordAttempt(given.counted[0].clone());
        assert_eq!(unjudged(0), std::slice::from_ref(&old));
        assert_eq!(unjudged(1), [young, old]);
    }
}
