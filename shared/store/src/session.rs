//! Session items: rotation, naming, reading one, removing what has ended.

use aws_sdk_dynamodb::types::{DeleteRequest, ReturnValue, WriteRequest};
use chrono::{DateTime, Utc};
use futures::future::{join, try_join_all};
use latchkey_domain::account::{Account, ended_sessions_beyond};
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::refresh::RotationAttempt;
use latchkey_domain::session::{Session, Whereabouts, idle_expiry};
use std::collections::HashMap;

use crate::Store;
use crate::account::Partition;
use crate::item::{attribute, millis, number, session_from_item, string};
use crate::keys::Key;
use crate::outcome::{COUNT_CAPACITY, OLD_ITEM, Retries, failed};

/// How many items one `BatchWriteItem` takes.
const BATCH_SIZE: usize = 25;

impl Store {
    /// One session, strongly consistent; 1 read unit.
    ///
    /// # Errors
    /// As all methods of the store.
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

    /// The one conditional write of a refresh, and the account, read beside it: 1 trip, 1 write unit, 1 read unit.
    ///
    /// If the account cannot be read, that read alone is repeated once: the rotation may have been made.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn rotate(
        &self,
        user: UserId,
        session: SessionId,
        presented: u64,
        whereabouts: &Whereabouts,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
    ) -> Result<(Option<Account>, RotationAttempt), StoreError> {
        let rotation = self.write_rotation(user, session, presented, whereabouts, now, policy);
        let (attempt, account) = join(rotation, self.read_account(user)).await;
        let attempt = attempt?;
        let account = match account {
            Ok(account) => account,
            Err(StoreError::Unavailable) => self.read_account(user).await?,
            Err(StoreError::Corrupt) => return Err(StoreError::Corrupt),
        };
        Ok((account, attempt))
    }

    async fn write_rotation(
        &self,
        user: UserId,
        session: SessionId,
        presented: u64,
        whereabouts: &Whereabouts,
        now: DateTime<Utc>,
        policy: &SessionPolicy,
    ) -> Result<RotationAttempt, StoreError> {
        let Some(successor) = presented.checked_add(1) else {
            return Ok(RotationAttempt::Refused(
                self.read_session(user, session).await?,
            ));
        };
        // What is known is set, what is not is removed: it was true of another place.
        let places = [
            (
                "#ip_address",
                ":ip_address",
                whereabouts.ip_address.map(string),
            ),
            ("#city", ":city", whereabouts.city.as_ref().map(string)),
            (
                "#country",
                ":country",
                whereabouts.country.as_ref().map(string),
            ),
        ];
        let mut whereabouts_update = String::new();
        let mut remove = " REMOVE ";
        for (name, value, known) in &places {
            if known.is_some() {
                whereabouts_update += &format!(", {name} = {value}");
            }
        }
        for (name, ..) in places.iter().filter(|(.., known)| known.is_none()) {
            whereabouts_update += remove;
            whereabouts_update += name;
            remove = ", ";
        }
        let update = || {
            let mut update = self
                .client
                .update_item()
                .set_key(Some(Key::session(user, session).into_attributes()))
                .update_expression(format!(
                    "SET #rotation = :successor, #rotated_at = :now, #last_used_at = :now, \
                     #idle_expires_at = :idle_expires_at{whereabouts_update}"
                ))
                .condition_expression(
                    "#rotation = :presented AND (#rotation = :unrotated OR #rotated_at <= :due) \
                     AND #idle_expires_at > :now AND #absolute_expires_at > :now",
                )
                .expression_attribute_names("#rotation", attribute::ROTATION)
                .expression_attribute_names("#rotated_at", attribute::ROTATED_AT)
                .expression_attribute_names("#last_used_at", attribute::LAST_USED_AT)
                .expression_attribute_names("#idle_expires_at", attribute::IDLE_EXPIRES_AT)
                .expression_attribute_names("#absolute_expires_at", attribute::ABSOLUTE_EXPIRES_AT)
                .expression_attribute_names("#ip_address", attribute::IP_ADDRESS)
                .expression_attribute_names("#city", attribute::CITY)
                .expression_attribute_names("#country", attribute::COUNTRY)
                .expression_attribute_values(":presented", number(presented))
                .expression_attribute_values(":successor", number(successor))
                .expression_attribute_values(":unrotated", number(0))
                .expression_attribute_values(":due", millis(now - policy.rotation_interval()))
                .expression_attribute_values(":now", millis(now))
                .expression_attribute_values(":idle_expires_at", millis(idle_expiry(now, policy)))
                .return_values(ReturnValue::AllNew)
                .return_values_on_condition_check_failure(OLD_ITEM);
            for (_, value, known) in &places {
                if let Some(known) = known {
                    update = update.expression_attribute_values(*value, known.clone());
                }
            }
            update
        };
        match self.update(update, &mut Retries::new(self)).await? {
            Ok(output) => {
                let item = output.attributes.ok_or(StoreError::Corrupt)?;
                Ok(RotationAttempt::Rotated(session_from_item(item)?))
            }
            Err(mut failed) => {
                let found = failed.take_item(0).map(session_from_item).transpose()?;
                Ok(RotationAttempt::Refused(found))
            }
        }
    }

    /// Names a session, or clears its name; 1 write unit. Returns nothing if there is no such session or it has
    /// expired. That it is admitted is the account's to say, which the caller has read before.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn rename_session(
        &self,
        user: UserId,
        session: SessionId,
        name: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Option<Session>, StoreError> {
        let update = || {
            let mut update = self
                .client
                .update_item()
                .set_key(Some(Key::session(user, session).into_attributes()))
                .update_expression(if name.is_some() {
                    "SET #name = :name"
                } else {
                    "REMOVE #name"
                })
                .condition_expression("#idle_expires_at > :now AND #absolute_expires_at > :now")
                .expression_attribute_names("#name", attribute::NAME)
                .expression_attribute_names("#idle_expires_at", attribute::IDLE_EXPIRES_AT)
                .expression_attribute_names("#absolute_expires_at", attribute::ABSOLUTE_EXPIRES_AT)
                .expression_attribute_values(":now", millis(now))
                .return_values(ReturnValue::AllNew);
            if let Some(name) = name {
                update = update.expression_attribute_values(":name", string(name));
            }
            update
        };
        match self.update(update, &mut Retries::new(self)).await? {
            Ok(output) => output.attributes.map(session_from_item).transpose(),
            Err(_) => Ok(None),
        }
    }

    /// Removes a user's sessions that are not live, for good, and says how many.
    ///
    /// `read` was read before this is called: the account that judges its sessions is read here, so that a session which
    /// has just been admitted is never taken for an ended one. Expiry is judged as of the time of the reading, so that
    /// one which has just been refreshed is not either.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn purge_ended_sessions(
        &self,
        user: UserId,
        read: &Partition,
    ) -> Result<usize, StoreError> {
        let account = self.read_account(user).await?;
        let ended = ended_sessions_beyond(account.as_ref(), &read.sessions, read.read_at, 0);
        // What has left the set never comes back. What is still in it has only expired by what was read, and may have
        // been refreshed in its last moment since.
        let (expired, gone): (Vec<SessionId>, Vec<SessionId>) = ended.into_iter().partition(|id| {
            account
                .as_ref()
                .is_some_and(|account| account.sessions.contains(id))
        });
        self.delete_sessions(user, &gone).await?;
        let as_read = read
            .sessions
            .iter()
            .filter(|session| expired.contains(&session.id));
        let deletions = as_read.map(|session| self.delete_unless_refreshed(session));
        let deleted = try_join_all(deletions).await?;
        Ok(gone.len() + deleted.into_iter().filter(|deleted| *deleted).count())
    }

    /// Deletes a session's item on the condition that it has not been refreshed since it was read. Returns whether it was
    /// deleted.
    async fn delete_unless_refreshed(&self, session: &Session) -> Result<bool, StoreError> {
        let key = Key::session(session.user_id, session.id);
        let as_read = ("#rotation = :rotation", "#rotation", attribute::ROTATION);
        let rotation = (":rotation", number(session.rotation));
        self.delete_item_if(key, as_read, rotation).await
    }

    /// Deletes session items, 2 write units each, whatever they hold. Only ids that are known to have left the account's
    /// set for good may be given, or those of a user who has no account any more.
    pub(crate) async fn delete_sessions(
        &self,
        user: UserId,
        sessions: &[SessionId],
    ) -> Result<(), StoreError> {
        for batch in sessions.chunks(BATCH_SIZE) {
            let mut pending: Vec<WriteRequest> = batch
                .iter()
                .map(|session| delete_request(Key::session(user, *session)))
                .collect();
            let mut retries = Retries::new(self);
            while !pending.is_empty() {
                let output = self
                    .client
                    .batch_write_item()
                    .request_items(&*self.table, pending)
                    .return_consumed_capacity(COUNT_CAPACITY)
                    .send()
                    .await
                    .map_err(|error| failed("BatchWriteItem", &error))?;
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
