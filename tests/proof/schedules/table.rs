//! The table, and what a call does to it: the embedded engine says, from any state in which the table may be.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{SessionId, UserId};
use serde_json::{Value, json};

use super::call::{CallInfo, ItemKey, Reply, canonical, deletes_of, key_of};
use crate::harness::dynamodb::{EmbeddedDynamoDb, Recorder};
use crate::harness::stack::TABLE;

/// Every item, and the transactions that DynamoDB remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Table {
    /// The items, by [`canonical`].
    pub items: BTreeMap<ItemKey, Rc<str>>,
    /// The `ClientRequestToken`s of what was made; DynamoDB makes none of it again.
    made: BTreeSet<String>,
}

/// What a DynamoDB that is not one lacks: to see that the search notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It takes these conditions for true wherever they are asked for.
    Holds(&'static [&'static str]),
    /// It makes a write of this request that went astray and arrives later, whatever its conditions.
    MakesLateWrites(usize),
    /// It forgets each `ClientRequestToken` at once.
    ForgetsTokens,
    /// It shows the beginning to a read that wants to be strongly consistent.
    ShowsTheBeginning,
}

/// When a query reads its items; forwards and backwards, a scan reads its own one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queries {
    /// One after the other, the account first, as it stands first in its partition.
    Forwards,
    /// One after the other, the account last: less than the service counts on, for nothing promises the order.
    Backwards,
    /// All at one moment: less than may happen, for scenes that would have too many orders.
    AtOnce,
}

/// An engine that takes the state of any table.
pub struct Engine {
    dynamodb: EmbeddedDynamoDb,
    /// When its queries read.
    pub queries: Queries,
    /// What it lacks.
    pub flaw: Option<Flaw>,
    holds: BTreeMap<ItemKey, Rc<str>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// A query or a scan as far as it has come, item by item; or how many deletes of a batch are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Progress {
    /// What a query or a scan has read.
    items: Vec<Rc<str>>,
    /// How much of a batch is done.
    done: usize,
}

/// What one step of a call has come to.
#[derive(Debug)]
pub enum Stepped {
    /// There is more to do.
    Further(Progress),
    /// It is done, and this is the answer.
    Replied(Reply),
}

impl Progress {
    /// Whether the account was read last.
    #[must_use]
    pub fn has_just_read_account(&self) -> bool {
        let last = self.items.last();
        last.is_some_and(|item| item.contains(r#""sk":{"S":"ACCOUNT"}"#))
    }
}

impl Engine {
    /// An engine with an empty table.
    pub async fn start() -> Self {
        let dynamodb = EmbeddedDynamoDb::start();
        let client = dynamodb.client(&Recorder::default());
        let created = latchkey_store::table::create_if_missing(&client, TABLE).await;
        created.expect("a table");
        Self {
            dynamodb,
            queries: Queries::Forwards,
            flaw: None,
            holds: BTreeMap::new(),
        }
    }

    /// A client that reaches the engine at once: to set a scene.
    #[must_use]
    pub fn client(&self) -> aws_sdk_dynamodb::Client {
        self.dynamodb.client(&Recorder::default())
    }

    /// The table as it is, after a scene was set through [`Engine::client`].
    pub fn read_all(&mut self) -> Table {
        let items = self.ask("Scan", &json!({"TableName": TABLE}));
        let items = items.1["Items"].as_array().cloned().unwrap_or_default();
        self.holds = items
            .iter()
            .map(|item| (key_of(item), canonical(item).into()))
            .collect();
        Table {
            items: self.holds.clone(),
            made: BTreeSet::new(),
        }
    }

    fn ask(&self, operation: &str, body: &Value) -> (u16, Value) {
        let answer = self.dynamodb.answer(operation, body.to_string().as_bytes());
        let body = serde_json::from_str(&answer.body).unwrap_or_default();
        (answer.status, body)
    }

    fn must(&self, operation: &str, body: &Value) -> Value {
        let (status, reply) = self.ask(operation, body);
        assert_eq!(status, 200, "{operation}: {reply}");
        reply
    }

    /// Makes the engine hold what the table holds, of all that a call can see.
    fn take(&mut self, table: &Table, call: &CallInfo) {
        let sees = |key: &ItemKey| match &call.partition {
            Some(partition) => key.0 == *partition,
            None => call.keys.is_empty() || call.keys.contains(key),
        };
        let held = self.holds.keys();
        let gone = held.filter(|key| sees(key) && !table.items.contains_key(*key));
        for key in gone.cloned().collect::<Vec<_>>() {
            let delete = json!({"TableName": TABLE, "Key": key_json(&key)});
            self.must("DeleteItem", &delete);
            self.holds.remove(&key);
        }
        for (key, item) in &table.items {
            if sees(key) && self.holds.get(key) != Some(item) {
                let put: Value = serde_json::from_str(item).expect("JSON");
                self.must("PutItem", &json!({"TableName": TABLE, "Item": put}));
                self.holds.insert(key.clone(), Rc::clone(item));
            }
        }
    }

    /// Carries out a call, or one step of it, and changes the table as the engine does.
    pub fn step(
        &mut self,
        table: &mut Table,
        operation: &str,
        call: &CallInfo,
        progress: &Progress,
    ) -> Stepped {
        let whole = self.queries == Queries::AtOnce;
        match operation {
            "Query" if call.partition.is_some() && !whole => {
                self.read_next(table, operation, call, progress)
            }
            "Scan" if !whole => self.read_next(table, operation, call, progress),
            "BatchWriteItem" if !whole => self.delete_next(table, call, progress),
            _ => Stepped::Replied(self.execute(table, operation, call)),
        }
    }

    /// Carries out a call as one.
    pub fn execute(&mut self, table: &mut Table, operation: &str, call: &CallInfo) -> Reply {
        match self.flaw {
            Some(Flaw::Holds(conditions)) => {
                let holds = |expression: &str| with_all_true(expression, conditions);
                self.carry_out(table, operation, call, &replaced(&call.body, &holds))
            }
            _ => self.carry_out(table, operation, call, &call.body),
        }
    }

    /// Carries out a write of a request that went astray.
    pub fn execute_late(
        &mut self,
        table: &mut Table,
        operation: &str,
        call: &CallInfo,
        request: usize,
    ) -> Reply {
        if self.flaw != Some(Flaw::MakesLateWrites(request)) {
            return self.execute(table, operation, call);
        }
        let always = |condition: &str| format!("({condition}) OR NOT ({condition})");
        self.carry_out(table, operation, call, &replaced(&call.body, &always))
    }

    fn carry_out(
        &mut self,
        table: &mut Table,
        operation: &str,
        call: &CallInfo,
        body: &Value,
    ) -> Reply {
        let is_known = call
            .token
            .as_ref()
            .is_some_and(|token| table.made.contains(token));
        if is_known {
            return answer(200, &json!({}));
        }
        self.take(table, call);
        let (status, reply) = self.ask(operation, body);
        if call.is_write && status == 200 {
            for key in &call.keys {
                let get = json!({"TableName": TABLE, "Key": key_json(key), "ConsistentRead": true});
                let found = self.must("GetItem", &get);
                let found = found.get("Item").map(|item| Rc::from(canonical(item)));
                for items in [&mut table.items, &mut self.holds] {
                    match &found {
                        Some(item) => items.insert(key.clone(), Rc::clone(item)),
                        None => items.remove(key),
                    };
                }
            }
            if self.flaw != Some(Flaw::ForgetsTokens) {
                table.made.extend(call.token.clone());
            }
        }
        answer(status, &reply)
    }

    fn read_next(
        &mut self,
        table: &Table,
        operation: &str,
        call: &CallInfo,
        progress: &Progress,
    ) -> Stepped {
        self.take(table, call);
        let mut body = call.body.clone();
        body["Limit"] = json!(1);
        let forwards = self.queries == Queries::Forwards || operation == "Scan";
        if !forwards {
            body["ScanIndexForward"] = json!(false);
        }
        if let Some(last) = progress.items.last() {
            let last: Value = serde_json::from_str(last).expect("JSON");
            body["ExclusiveStartKey"] = key_json(&key_of(&last));
        }
        let reply = self.must(operation, &body);
        let mut progress = progress.clone();
        if let Some(item) = reply["Items"].get(0) {
            progress.items.push(canonical(item).into());
            return Stepped::Further(progress);
        }
        let items = progress.items.iter();
        let mut items: Vec<Value> = items
            .map(|item| serde_json::from_str(item).expect("JSON"))
            .collect();
        if !forwards {
            items.reverse();
        }
        let count = items.len();
        let whole = json!({"Items": items, "Count": count, "ScannedCount": count});
        Stepped::Replied(answer(200, &whole))
    }

    fn delete_next(&mut self, table: &mut Table, call: &CallInfo, progress: &Progress) -> Stepped {
        let keys = deletes_of(&call.body);
        if let Some(key) = keys.get(progress.done) {
            table.items.remove(&key_of(key));
        }
        if progress.done + 1 < keys.len() {
            return Stepped::Further(Progress {
                done: progress.done + 1,
                ..Progress::default()
            });
        }
        Stepped::Replied(answer(200, &json!({"UnprocessedItems": {}})))
    }
}

/// Conditions that always hold. They still name their values, for DynamoDB refuses those that nobody uses.
fn with_all_true(expression: &str, conditions: &[&str]) -> String {
    let holds = |text: String, condition: &&str| {
        text.replace(condition, &format!("({condition} OR NOT {condition})"))
    };
    conditions.iter().fold(expression.to_owned(), holds)
}

/// A request in which each condition is replaced.
fn replaced(body: &Value, replace: &dyn Fn(&str) -> String) -> Value {
    let of = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) if name == "ConditionExpression" => Value::from(replace(text)),
            value => replaced(value, replace),
        };
        (name.clone(), value)
    };
    match body {
        Value::Object(map) => Value::Object(map.iter().map(of).collect()),
        Value::Array(parts) => parts.iter().map(|part| replaced(part, replace)).collect(),
        plain => plain.clone(),
    }
}

/// An answer of DynamoDB.
#[must_use]
pub fn answer(status: u16, body: &Value) -> Reply {
    let body: Arc<str> = canonical(body).into();
    Reply::Answer { status, body }
}

/// What DynamoDB says while another write of the same item is under way.
#[must_use]
pub fn conflict(info: &CallInfo, operation: &str) -> Reply {
    const CODES: &str = "com.amazonaws.dynamodb.v20120810#";
    if operation != "TransactWriteItems" {
        let code = format!("{CODES}TransactionConflictException");
        return answer(400, &json!({"__type": code, "message": "conflict"}));
    }
    let none = json!({"Code": "None"});
    let mut reasons = vec![none; info.keys.len()];
    reasons[0] = json!({"Code": "TransactionConflict", "Message": "conflict"});
    let code = format!("{CODES}TransactionCanceledException");
    let message = "Transaction cancelled, please refer cancellation reasons for specific reasons";
    let body = json!({"__type": code, "Message": message, "CancellationReasons": reasons});
    answer(400, &body)
}

fn key_json((pk, sk): &ItemKey) -> Value {
    json!({"pk": {"S": pk}, "sk": {"S": sk}})
}

/// What an account is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It may sign in.
    Active,
    /// An administrator has closed it.
    Disabled,
    /// Its owner has deleted it.
    Deleted,
}

/// What the rules look at of an account's item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the attributes of the table")]
pub struct AccountView {
    pub version: u64,
    /// The stamp of the last change.
    pub change: String,
    pub status: Status,
    pub sessions: BTreeSet<SessionId>,
    pub password_version: u64,
    pub email_version: u64,
}

/// What the rules look at of a session's item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the attributes of the table")]
pub struct SessionView {
    pub id: SessionId,
    pub rotation: u64,
    pub rotated_at: DateTime<Utc>,
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub delete_after: DateTime<Utc>,
    pub name: Option<String>,
}

/// A table as the rules see it: one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The account.
    pub account: Option<AccountView>,
    /// Of the credential at the account's address: the version of its password, and its hash.
    pub credential: Option<(u64, String)>,
    /// How many credentials lead to the user, at any address.
    pub credentials: usize,
    /// The session items, live or not.
    pub sessions: BTreeMap<SessionId, SessionView>,
}

impl View {
    /// What a table holds of a user. It is read here by the names of the attributes, not by the store's own code.
    ///
    /// # Panics
    /// When an item is broken.
    #[must_use]
    pub fn of(table: &Table, user: UserId) -> Self {
        let partition = format!("USER#{user}");
        let mut view = Self::default();
        let mut address = None;
        for ((pk, sk), item) in &table.items {
            let item: Value = serde_json::from_str(item).expect("JSON");
            if *pk == partition && sk == "ACCOUNT" {
                address = item["email"]["S"].as_str().map(str::to_owned);
                view.account = Some(account(&item));
            } else if *pk == partition {
                let session = session(&item);
                view.sessions.insert(session.id, session);
            } else if pk.starts_with("EMAIL#") && item["user_id"]["S"] == user.to_string() {
                view.credentials += 1;
            }
        }
        let address = address.map(|typed| EmailAddress::parse(&typed).expect("an address"));
        let key = address.map(|address| (format!("EMAIL#{}", address.normalized()), "CREDENTIAL"));
        let item = key.and_then(|(pk, sk)| table.items.get(&(pk, sk.to_owned())));
        view.credential = item.and_then(|item| {
            let item: Value = serde_json::from_str(item).expect("JSON");
            let is_own = item["user_id"]["S"] == user.to_string();
            let hash = item["password_hash"]["S"].as_str().unwrap_or_default();
            is_own.then(|| (number(&item, "password_version"), hash.to_owned()))
        });
        view
    }

    /// The account's set.
    #[must_use]
    pub fn admitted(&self) -> BTreeSet<SessionId> {
        let account = self.account.as_ref();
        account
            .map(|account| account.sessions.clone())
            .unwrap_or_default()
    }

    /// The set, if the account is active.
    #[must_use]
    pub fn live_set(&self) -> BTreeSet<SessionId> {
        let account = self.account.as_ref();
        let active = account.filter(|account| account.status == Status::Active);
        active
            .map(|account| account.sessions.clone())
            .unwrap_or_default()
    }
}

fn number(item: &Value, name: &str) -> u64 {
    let number = item[name]["N"].as_str().map(str::parse);
    number.map_or(0, |number| number.expect("a number"))
}

fn time(item: &Value, name: &str) -> DateTime<Utc> {
    let millis = i64::try_from(number(item, name)).expect("a time");
    DateTime::from_timestamp_millis(millis).expect("a time")
}

fn account(item: &Value) -> AccountView {
    let sessions = item["sessions"]["SS"].as_array();
    let ids = sessions.into_iter().flatten().filter_map(Value::as_str);
    AccountView {
        version: number(item, "version"),
        change: item["change"]["M"]["id"]["N"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        status: match item["status"]["S"].as_str() {
            Some("active") => Status::Active,
            Some("disabled") => Status::Disabled,
            Some("deleted") => Status::Deleted,
            other => panic!("{other:?}"),
        },
        sessions: ids.map(|id| id.parse().expect("an id")).collect(),
        password_version: number(item, "password_version"),
        email_version: number(item, "email_version"),
    }
}

fn session(item: &Value) -> SessionView {
    let id = item["jti"]["S"].as_str().expect("an id");
    let ttl = i64::try_from(number(item, "ttl")).expect("a time");
    SessionView {
        id: id.parse().expect("an id"),
        rotation: number(item, "rotation"),
        rotated_at: time(item, "rotated_at"),
        last_used_at: time(item, "last_used_at"),
        expires_at: time(item, "idle_expires_at").min(time(item, "absolute_expires_at")),
        delete_after: DateTime::from_timestamp(ttl, 0).expect("a time"),
        name: item["name"]["S"].as_str().map(str::to_owned),
    }
}
