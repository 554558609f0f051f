//! Fills a table: users as the store writes them, by the engine's bulk import.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use dynoxide::{Database, ImportOptions};
use latchkey_domain::account::Account;
use latchkey_domain::cause::{Action, Actor, Cause};
use latchkey_domain::credential::Credential;
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{ChangeId, SessionId, UserId};
use latchkey_domain::password::{Password, PasswordHash, WorkingMemory, hash};
use latchkey_domain::policy::SessionPolicy;
use latchkey_domain::random::SeededRandom;
use latchkey_domain::session::Session;
use latchkey_service::Core;
use latchkey_store::items_of_user;
use latchkey_tests::harness::stack::CHROME;
use serde_json::{Value, json};

use super::{GrowthError, TABLE};

/// The password of all users.
pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// How many sessions a user has of whom there are many: two live ones, two ended, and of every twentieth user one whose
/// `ttl` has passed and that DynamoDB has not deleted yet.
const OF_A_USER: usize = 5;
const EVERY_WHICH_IS_DUE: usize = 20;
const ITEMS_OF_AN_IMPORT: usize = 10_000;

/// A user whose requests are measured.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) email: String,
    pub(crate) sessions: Vec<Session>,
}

/// Fills a table.
pub(crate) struct Seeder {
    database: Database,
    policy: Arc<SessionPolicy>,
    now: DateTime<Utc>,
    random: SeededRandom,
    hash: PasswordHash,
    users: usize,
    pending: Vec<dynoxide::Item>,
    items: u64,
    due: u64,
}

impl Seeder {
    pub(crate) fn new(database: Database, core: &Core) -> Result<Self, GrowthError> {
        database.enable_bulk_loading()?;
        Ok(Self {
            database,
            policy: Arc::clone(&core.policy),
            now: core.now(),
            random: SeededRandom::new(1),
            hash: hash(
                &Password::new(PASSWORD.to_owned()),
                [7; 16],
                &mut WorkingMemory::default(),
            )?,
            users: 0,
            pending: Vec::new(),
            items: 0,
            due: 0,
        })
    }

    /// Users of whom there are many, until there are so many sessions.
    pub(crate) fn fill(&mut self, sessions: usize) -> Result<(), GrowthError> {
        let mut made = 0;
        while made < sessions {
            let these = OF_A_USER.min(sessions - made);
            let is_due = self.users.is_multiple_of(EVERY_WHICH_IS_DUE);
            let ages = (0..these).map(|which| match which {
                0 | 1 => TimeDelta::days(1),
                4 if is_due => TimeDelta::days(70),
                _ => TimeDelta::days(40),
            });
            self.due += u64::from(is_due && these == OF_A_USER);
            self.add(&ages.collect::<Vec<_>>())?;
            made += these;
        }
        Ok(())
    }

    /// A user with so many live sessions.
    pub(crate) fn user(&mut self, sessions: usize) -> Result<Measured, GrowthError> {
        self.add(&vec![TimeDelta::days(1); sessions])
    }

    fn add(&mut self, ages: &[TimeDelta]) -> Result<Measured, GrowthError> {
        self.users += 1;
        let user = UserId::random(&self.random);
        let text = format!("somebody.with.a.name{}@mail.example.com", self.users);
        let email = EmailAddress::parse(&text)?;
        let address = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));
        let device = Device::describe(None, Some(CHROME), None, ClientHints::default());
        let sessions: Vec<Session> = ages
            .iter()
            .zip(0..)
            .map(|(age, place)| {
                let id = SessionId::random(&self.random);
                // The first is the most recently used.
                let began = self.now - *age - TimeDelta::seconds(place);
                Session::begin(
                    id,
                    user,
                    device.clone(),
                    address.into(),
                    began,
                    &self.policy,
                )
            })
            .collect();
        let first = sessions.first().ok_or(GrowthError::Kind)?;
        let mut account = Account::register(user, email.clone(), first.id, first.created_at);
        account.sessions = sessions
            .iter()
            .filter(|session| !session.is_expired(self.now))
            .map(|session| session.id)
            .collect();
        let credential = Credential {
            user_id: user,
            password_hash: self.hash.clone(),
            password_version: account.password_version,
        };
        let change = ChangeId::random(&self.random);
        let cause = Cause {
            action: Action::Register,
            actor: Actor::Owner(first.id),
            at: first.created_at,
        };
        for item in items_of_user(&email, &credential, &account, (change, &cause), &sessions)? {
            self.pending.push(for_the_engine(item)?);
        }
        if self.pending.len() >= ITEMS_OF_AN_IMPORT {
            self.import()?;
        }
        Ok(Measured {
            email: text,
            sessions,
        })
    }

    fn import(&mut self) -> Result<(), GrowthError> {
        let items = std::mem::take(&mut self.pending);
        self.items += items.len() as u64;
        self.database
            .import_items(TABLE, items, ImportOptions::default())?;
        Ok(())
    }

    /// Returns how many items there are, and how many of them are due.
    pub(crate) fn finish(mut self) -> Result<(u64, u64), GrowthError> {
        self.import()?;
        self.database.disable_bulk_loading()?;
        Ok((self.items, self.due))
    }
}

/// The same item in the engine's types, by way of DynamoDB's JSON.
fn for_the_engine(item: HashMap<String, AttributeValue>) -> Result<dynoxide::Item, GrowthError> {
    let mut json = serde_json::Map::new();
    for (name, value) in item {
        json.insert(name, in_json(value)?);
    }
    Ok(serde_json::from_value(Value::Object(json))?)
}

fn in_json(value: AttributeValue) -> Result<Value, GrowthError> {
    Ok(match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(number) => json!({"N": number}),
        AttributeValue::Bool(value) => json!({"BOOL": value}),
        AttributeValue::Null(value) => json!({"NULL": value}),
        AttributeValue::Ss(set) => json!({"SS": set}),
        AttributeValue::L(list) => {
            let list: Result<Vec<Value>, GrowthError> = list.into_iter().map(in_json).collect();
            json!({"L": list?})
        }
        AttributeValue::M(map) => {
            let map: Result<serde_json::Map<String, Value>, GrowthError> = map
                .into_iter()
                .map(|(name, value)| Ok((name, in_json(value)?)))
                .collect();
            json!({"M": map?})
        }
        _ => return Err(GrowthError::Kind),
    })
}
