//! The account: reading it, and the one way in which who is signed in changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Delete, TransactWriteItem, Update};
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use latchkey_domain::account::{Account, AccountStatus, Change, EndReason, ended_sessions_beyond};
use latchkey_domain::clock::Clock;
use latchkey_domain::email::EmailAddress;
use latchkey_domain::error::{Failure, StoreError};
use latchkey_domain::id::{ChangeId, SessionId, UserId};
use latchkey_domain::password::PasswordHash;
use latchkey_domain::policy::{MAX_ENDED_SESSIONS_KEPT, SessionPolicy};
use latchkey_domain::session::Session;

use crate::Store;
use crate::credential::Credential;
use crate::item::{
    Item, account_from_item, account_to_item, attribute, number, session_from_item,
    session_to_item, string,
};
use crate::keys::{ACCOUNT, Key, PK, SESSION_PREFIX, SK, partition, session_sort_key};
use crate::outcome::{COUNT_CAPACITY, OLD_ITEM, Retries, failed, is_own_write};

/// A user's items, read item by item: the account is at most as new as the sessions, for it is read first.
#[derive(Clone, Debug)]
pub struct Partition {
    /// When the reading began. What was read is judged as of then: a session that has been refreshed since must not be
    /// taken for one that has expired.
    pub read_at: DateTime<Utc>,
    /// The account, if there is one.
    pub account: Option<Account>,
    /// The sessions, live or not.
    pub sessions: Vec<Session>,
}

/// A sign-in whose password was right.
#[derive(Clone, Debug)]
pub struct SignInRequest<'a> {
    /// The address that the credential was found under.
    pub email: &'a EmailAddress,
    /// The credential whose password was verified.
    pub credential: &'a Credential,
    /// A hash with today's parameters, if the stored one is to be replaced.
    pub upgraded_hash: Option<PasswordHash>,
    /// The new session. Its id is chosen once for a request, so that a repeated attempt cannot make two.
    pub session: &'a Session,
}

/// What became of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignInOutcome {
    /// The session is admitted; the account as it is now.
    SignedIn(Account),
    /// The account is not active, or has another password than the credential: read both anew.
    Stale {
        /// Whether it is because an administrator has closed the account.
        disabled: bool,
    },
}

impl Store {
    /// The account, strongly consistent; 1 read unit.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn read_account(&self, user: UserId) -> Result<Option<Account>, StoreError> {
        let item = self.get(Key::account(user)).await?;
        Ok(item
            .map(account_from_item)
            .transpose()?
            .map(|read| read.account))
    }

    /// All items of a user, strongly consistent; 1 read unit for each 4 KB.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn read_partition(
        &self,
        user: UserId,
        now: DateTime<Utc>,
    ) -> Result<Partition, StoreError> {
        // Nothing of a user sorts after the sessions ('$' follows '#').
        self.read_partition_up_to(user, "SESSION$", now).await
    }

    /// The account and one session of its user, in one request: it reads the items between the two as well, and
    /// for most users all of them together cost the 1 read unit that the account alone would.
    ///
    /// # Errors
    /// As all methods of the store.
    pub async fn read_account_with_session(
        &self,
        user: UserId,
        session: SessionId,
        now: DateTime<Utc>,
    ) -> Result<(Option<Account>, Option<Session>), StoreError> {
        let read = self
            .read_partition_up_to(user, &session_sort_key(session), now)
            .await?;
        let session = read.sessions.into_iter().find(|found| found.id == session);
        Ok((read.account, session))
    }

    async fn read_partition_up_to(
        &self,
        user: UserId,
        last_sort_key: &str,
        now: DateTime<Utc>,
    ) -> Result<Partition, StoreError> {
        let mut read = Partition {
            read_at: now,
            account: None,
            sessions: Vec::new(),
        };
        let mut pages = self
            .client
            .query()
            .table_name(&*self.table)
            .key_condition_expression("#pk = :user AND #sk BETWEEN :account AND :last")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":user", string(partition(user)))
            .expression_attribute_values(":account", string(ACCOUNT))
            .expression_attribute_values(":last", string(last_sort_key))
            .consistent_read(true)
            .return_consumed_capacity(COUNT_CAPACITY)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("Query", &error))?;
            for item in page.items.unwrap_or_default() {
                match item.get(SK) {
                    Some(AttributeValue::S(key)) if key == ACCOUNT => {
                        read.account = Some(account_from_item(item)?.account);
                    }
                    Some(AttributeValue::S(key)) if key.starts_with(SESSION_PREFIX) => {
                        read.sessions.push(session_from_item(item)?);
                    }
                    // What a later version keeps beside them is not ours to judge.
                    Some(_) | None => {}
                }
            }
        }
        Ok(read)
    }

    /// Changes who is signed in: reads the account, lets `decide` decide, and writes on the condition that the
    /// account is still as it was read. When it is not, reads and decides again, a bounded number of times.
    ///
    /// A decision that is refused only because an earlier attempt, or somebody else, has brought about what the first
    /// one asked for is a success: see [`Store::change_account_as_read`].
    ///
    /// # Errors
    /// What `decide` refuses, or as all methods of the store.
    pub async fn change_account<E>(
        &self,
        user: UserId,
        decide: impl Fn(Option<Account>) -> Result<Change, E>,
    ) -> Result<Vec<SessionId>, Failure<E>> {
        let read = self.read_account(user).await?;
        self.change_account_as_read(user, read, decide).await
    }

    /// [`Store::change_account`] for a caller that has just read the account, strongly consistent.
    ///
    /// Returns the sessions that are out of the set and were to leave it: by this change, or, when it was decided
    /// more than once, by an attempt of it whose reply was lost. When the decision is refused at a repetition, but
    /// everything that the first decision was to end is out of the set, that is what the caller asked for.
    ///
    /// # Errors
    /// What `decide` refuses, or as all methods of the store.
    pub async fn change_account_as_read<E>(
        &self,
        user: UserId,
        read: Option<Account>,
        decide: impl Fn(Option<Account>) -> Result<Change, E>,
    ) -> Result<Vec<SessionId>, Failure<E>> {
        let stamp = self.new_stamp();
        let mut retries = Retries::new(self);
        let mut to_end: BTreeMap<SessionId, EndReason> = BTreeMap::new();
        let mut read = read;
        loop {
            let admitted = read
                .as_ref()
                .map(|account| account.sessions.clone())
                .unwrap_or_default();
            // What an earlier decision was to end and is out of the set: by an attempt whose reply was lost, or by
            // somebody else.
            let mut gone: Vec<(SessionId, EndReason)> = to_end
                .iter()
                .filter(|(session, _)| !admitted.contains(session))
                .map(|(session, reason)| (*session, *reason))
                .collect();
            let change = match decide(read.clone()) {
                Ok(change) => change,
                Err(_) if !to_end.is_empty() && gone.len() == to_end.len() => {
                    log_ended(user, &gone);
                    return Ok(ids(&gone));
                }
                Err(refused) => return Err(Failure::Refused(refused)),
            };
            to_end.extend(change.ended.iter().copied());
            match &read {
                Some(before) if change.must_be_written(before) => {
                    if self
                        .write_account(before, &change, stamp, &mut retries)
                        .await?
                    {
                        log_ended(user, &gone);
                        gone.extend(change.ended);
                        return Ok(ids(&gone));
                    }
                }
                Some(_) | None => {
                    log_ended(user, &gone);
                    return Ok(ids(&gone));
                }
            }
            retries.pause().await?;
            read = self.read_account(user).await?;
        }
    }

    /// Writes a decision. Returns false if the account was no longer as it was read.
    async fn write_account(
        &self,
        before: &Account,
        change: &Change,
        stamp: ChangeId,
        retries: &mut Retries<'_>,
    ) -> Result<bool, StoreError> {
        let decided = AccountUpdate::between(before, &change.account, stamp)?;
        let update = || {
            self.client
                .update_item()
                .set_key(Some(Key::account(before.id).into_attributes()))
                .update_expression(&decided.expression)
                .condition_expression(ACCOUNT_AS_READ)
                .set_expression_attribute_names(Some(decided.names.clone()))
                .set_expression_attribute_values(Some(decided.values.clone()))
                .return_values_on_condition_check_failure(OLD_ITEM)
        };
        let written = match self.update(update, retries).await? {
            Ok(_) => true,
            Err(mut failed) => match failed.take_item(0) {
                Some(found) => is_own_write(found, before, stamp)?,
                None => false,
            },
        };
        if written {
            log_ended(before.id, &change.ended);
        }
        Ok(written)
    }

    /// Admits a new session, as one transaction: account, session and, if asked, the upgraded hash.
    ///
    /// `partition` was read before the password was verified, strongly consistent. Then deletes what is too many of
    /// the user's ended sessions, after the transaction, if there are more than are kept.
    ///
    /// # Errors
    /// As all methods of the store; `Unavailable` too when an earlier attempt had admitted the session and somebody
    /// has revoked it since, which cannot be told from one that was never made.
    pub async fn sign_in(
        &self,
        request: &SignInRequest<'_>,
        partition: Partition,
        clock: &dyn Clock,
        policy: &SessionPolicy,
    ) -> Result<SignInOutcome, StoreError> {
        let user = request.credential.user_id;
        let stamp = self.new_stamp();
        let mut retries = Retries::new(self);
        let mut read = partition;
        let mut attempted: Option<Change> = None;
        let admitted_before = |account: Account, attempted: Option<Change>| {
            log_ended(
                user,
                &attempted.map(|change| change.ended).unwrap_or_default(),
            );
            Ok(SignInOutcome::SignedIn(account))
        };
        loop {
            let Some(before) = read.account.take() else {
                return Ok(SignInOutcome::Stale { disabled: false });
            };
            if before.sessions.contains(&request.session.id) {
                // By an earlier attempt, whose reply was lost.
                return admitted_before(before, attempted);
            }
            if before.password_version != request.credential.password_version {
                return Ok(SignInOutcome::Stale { disabled: false });
            }
            let known = self.with_unseen_sessions(&before, read.sessions).await?;
            let decided = before.clone().admit(
                request.session.id,
                &known,
                read.read_at,
                policy.max_sessions,
            );
            let Ok(change) = decided else {
                let disabled = matches!(before.status, AccountStatus::Disabled { .. });
                return Ok(SignInOutcome::Stale { disabled });
            };
            let mut writes = vec![
                self.update_account_in_transaction(&before, &change.account, stamp)?,
                self.put_new(session_to_item(request.session)?),
            ];
            if let Some(hash) = &request.upgraded_hash {
                let version = request.credential.password_version;
                writes.push(self.update_credential(
                    request.email,
                    request.credential,
                    hash,
                    version,
                ));
            }
            match self.transact(writes, &mut retries).await? {
                None => {
                    log_ended(user, &change.ended);
                    self.trim_ended_sessions(&change.account, &known, read.read_at)
                        .await;
                    return Ok(SignInOutcome::SignedIn(change.account));
                }
                Some(mut failed) => {
                    if failed.take_item(1).is_some() {
                        // Our session's item is there, so an attempt was made; the set tells whether it still counts.
                        let account = self.read_account(user).await?;
                        return match account {
                            Some(account) if account.sessions.contains(&request.session.id) => {
                                admitted_before(account, attempted)
                            }
                            Some(_) | None => Err(StoreError::Unavailable),
                        };
                    }
                    if request.upgraded_hash.is_some() && failed.take_item(2).is_some() {
                        return Ok(SignInOutcome::Stale { disabled: false });
                    }
                }
            }
            attempted = Some(change);
            retries.pause().await?;
            read = self.read_partition(user, clock.now()).await?;
        }
    }

    /// The sessions that the query showed, and those of the set that it did not: a query is no snapshot, so one that
    /// was admitted while it ran may be missing.
    async fn with_unseen_sessions(
        &self,
        account: &Account,
        mut shown: Vec<Session>,
    ) -> Result<Vec<Session>, StoreError> {
        let seen: BTreeSet<SessionId> = shown.iter().map(|session| session.id).collect();
        let unseen = account.sessions.difference(&seen);
        let looked_up =
            try_join_all(unseen.map(|session| self.read_session(account.id, *session))).await?;
        shown.extend(looked_up.into_iter().flatten());
        Ok(shown)
    }

    /// Keeps a partition small. `account` is as of a write that came after `sessions` were read, so a session that is
    /// not in its set has left it for good. What cannot be deleted now goes with a later sign-in, or by its TTL.
    async fn trim_ended_sessions(
        &self,
        account: &Account,
        sessions: &[Session],
        now: DateTime<Utc>,
    ) {
        let too_many = ended_sessions_beyond(Some(account), sessions, now, MAX_ENDED_SESSIONS_KEPT);
        if too_many.is_empty() {
            return;
        }
        // The user is signed in already, and should not wait long for this.
        let deletion = self.delete_sessions(account.id, &too_many);
        match tokio::time::timeout(TRIM_TIMEOUT, deletion).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(user_id = %account.id, "old sessions could not be trimmed");
            }
        }
    }

    /// A part of a transaction: the account, on the condition that it is as it was read.
    pub(crate) fn update_account_in_transaction(
        &self,
        before: &Account,
        after: &Account,
        stamp: ChangeId,
    ) -> Result<TransactWriteItem, StoreError> {
        let update = AccountUpdate::between(before, after, stamp)?;
        let update = Update::builder()
            .table_name(&*self.table)
            .set_key(Some(Key::account(before.id).into_attributes()))
            .update_expression(update.expression)
            .condition_expression(ACCOUNT_AS_READ)
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(OLD_ITEM)
            .build();
        Ok(TransactWriteItem::builder().set_update(update.ok()).build())
    }

    /// A part of a transaction: the hash of a credential that is still the one that was verified.
    pub(crate) fn update_credential(
        &self,
        email: &EmailAddress,
        verified: &Credential,
        new_hash: &PasswordHash,
        new_version: u64,
    ) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(&*self.table)
            .set_key(Some(Key::credential(email).into_attributes()))
            .update_expression("SET #hash = :new_hash, #password_version = :new_version")
            .condition_expression(CREDENTIAL_AS_VERIFIED)
            .set_expression_attribute_names(Some(credential_names()))
            .expression_attribute_names("#hash", attribute::PASSWORD_HASH)
            .set_expression_attribute_values(Some(credential_values(verified)))
            .expression_attribute_values(":new_hash", string(new_hash.as_phc()))
            .expression_attribute_values(":new_version", number(new_version))
            .return_values_on_condition_check_failure(OLD_ITEM)
            .build();
        TransactWriteItem::builder().set_update(update.ok()).build()
    }

    /// A part of a transaction: removes a credential that is still the one that was verified.
    pub(crate) fn delete_credential(
        &self,
        email: &EmailAddress,
        verified: &Credential,
    ) -> TransactWriteItem {
        let delete = Delete::builder()
            .table_name(&*self.table)
            .set_key(Some(Key::credential(email).into_attributes()))
            .condition_expression(CREDENTIAL_AS_VERIFIED)
            .set_expression_attribute_names(Some(credential_names()))
            .set_expression_attribute_values(Some(credential_values(verified)))
            .return_values_on_condition_check_failure(OLD_ITEM)
            .build();
        TransactWriteItem::builder().set_delete(delete.ok()).build()
    }
}

const CREDENTIAL_AS_VERIFIED: &str =
    "#user_id = :user_id AND #password_version = :verified_version";

fn credential_names() -> HashMap<String, String> {
    HashMap::from([
        ("#user_id".to_owned(), attribute::USER_ID.to_owned()),
        (
            "#password_version".to_owned(),
            attribute::PASSWORD_VERSION.to_owned(),
        ),
    ])
}

fn credential_values(verified: &Credential) -> Item {
    HashMap::from([
        (":user_id".to_owned(), string(verified.user_id)),
        (
            ":verified_version".to_owned(),
            number(verified.password_version),
        ),
    ])
}

/// How long a sign-in waits for the deletion of old sessions, once it is made.
const TRIM_TIMEOUT: Duration = Duration::from_secs(1);

/// The condition of every change of an account. It fails for an account that is gone, so none is made by an update.
const ACCOUNT_AS_READ: &str = "#version = :read_version";

/// The update that makes one account another. It names only what differs, so attributes that this version of the
/// service does not know stay as they are.
struct AccountUpdate {
    expression: String,
    names: HashMap<String, String>,
    values: Item,
}

impl AccountUpdate {
    fn between(before: &Account, after: &Account, stamp: ChangeId) -> Result<Self, StoreError> {
        let mut after = after.clone();
        after.version = before.version + 1;
        let old = account_to_item(before, stamp)?;
        let new = account_to_item(&after, stamp)?;
        let mut names = HashMap::from([
            ("#version".to_owned(), attribute::VERSION.to_owned()),
            ("#change".to_owned(), attribute::CHANGE.to_owned()),
        ]);
        let mut values = HashMap::from([
            (":read_version".to_owned(), number(before.version)),
            (":version".to_owned(), number(after.version)),
            (":change".to_owned(), string(stamp)),
        ]);
        let mut set = vec![
            "#version = :version".to_owned(),
            "#change = :change".to_owned(),
        ];
        let mut remove = Vec::new();
        for (name, value) in &new {
            if name != attribute::VERSION && old.get(name) != Some(value) {
                set.push(format!("#{name} = :{name}"));
                names.insert(format!("#{name}"), name.clone());
                values.insert(format!(":{name}"), value.clone());
            }
        }
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            remove.push(format!("#{name}"));
            names.insert(format!("#{name}"), name.clone());
        }
        let mut expression = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            expression.push_str(" REMOVE ");
            expression.push_str(&remove.join(", "));
        }
        Ok(Self {
            expression,
            names,
            values,
        })
    }
}

fn ids(ended: &[(SessionId, EndReason)]) -> Vec<SessionId> {
    ended.iter().map(|(session, _)| *session).collect()
}

/// The audit trail: every end of a session, once it is written.
pub(crate) fn log_ended(user_id: UserId, ended: &[(SessionId, EndReason)]) {
    for (session_id, reason) in ended {
        let reason_word = reason.as_str();
        match reason {
            EndReason::TokenReuse => {
                tracing::warn!(%user_id, %session_id, reason = reason_word, "session ended");
            }
            EndReason::Revoked
            | EndReason::RevokedAll
            | EndReason::LoggedOut
            | EndReason::Evicted
            | EndReason::Expired
            | EndReason::PasswordChanged
            | EndReason::AccountDisabled
            | EndReason::AccountDeleted => {
                tracing::info!(%user_id, %session_id, reason = reason_word, "session ended");
            }
        }
    }
}
