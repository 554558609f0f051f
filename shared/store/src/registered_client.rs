//! Client items: the services that may ask this one (RFC 6749 section 2). The SDK's client is in `client.rs`.

use std::collections::BTreeSet;

use chrono::serde::ts_milliseconds;
use chrono::{DateTime, Utc};
use latchkey_domain::client::{
    Client, ClientBounds, ClientId, ClientScope, SecretDigest, StoredSecret,
};
use latchkey_domain::error::StoreError;
use serde::{Deserialize, Serialize};

use crate::Store;
use crate::client::COUNT_CAPACITY;
use crate::expression::Expression;
use crate::item::{attribute, corrupt, from_item, string, to_attribute, to_item};
use crate::keys::{CLIENT_PREFIX, Item, Key, PK};
use crate::refusal::store_error;

#[derive(Debug, Serialize, Deserialize)]
struct ClientItem {
    #[serde(flatten)]
    key: Key,
    name: String,
    #[serde(with = "serde_dynamo::string_set")]
    scopes: BTreeSet<ClientScope>,
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        with = "serde_dynamo::string_set"
    )]
    issuers: BTreeSet<String>,
    #[serde(
        default,
        skip_serializing_if = "BTreeSet::is_empty",
        with = "serde_dynamo::string_set"
    )]
    audiences: BTreeSet<String>,
    secrets: Vec<SecretAttribute>,
    #[serde(with = "ts_milliseconds")]
    created_at: DateTime<Utc>,
}

// No `Debug` of the digest: it is what a client's secret is compared with.
#[derive(Serialize, Deserialize)]
struct SecretAttribute {
    digest: String,
    #[serde(with = "ts_milliseconds")]
    created_at: DateTime<Utc>,
}

impl std::fmt::Debug for SecretAttribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretAttribute(redacted)")
    }
}

impl SecretAttribute {
    fn list(client: &Client) -> Vec<Self> {
        let secrets = client.secrets.iter().map(|secret| Self {
            digest: secret.digest.to_base64(),
            created_at: secret.created_at,
        });
        secrets.collect()
    }
}

fn client_to_item(client: &Client) -> Result<Item, StoreError> {
    to_item(&ClientItem {
        key: Key::client(&client.id),
        name: client.name.clone(),
        scopes: client.scopes.clone(),
        issuers: client.bounds.issuers.clone(),
        audiences: client.bounds.audiences.clone(),
        secrets: SecretAttribute::list(client),
        created_at: client.created_at,
    })
}

fn client_from_item(item: Item) -> Result<Client, StoreError> {
    let item: ClientItem = from_item(item)?;
    let id = item.key.pk.strip_prefix(CLIENT_PREFIX);
    let id = id.and_then(|id| id.parse().ok());
    let secrets = item.secrets.into_iter().map(|secret| {
        Ok(StoredSecret {
            digest: SecretDigest::from_base64(&secret.digest)
                .ok_or_else(|| corrupt("client", "digest"))?,
            created_at: secret.created_at,
        })
    });
    Ok(Client {
        id: id.ok_or_else(|| corrupt("client", "pk"))?,
        name: item.name,
        scopes: item.scopes,
        bounds: ClientBounds {
            issuers: item.issuers,
            audiences: item.audiences,
        },
        secrets: secrets.collect::<Result<_, StoreError>>()?,
        created_at: item.created_at,
    })
}

impl Store {
    /// A client, strongly consistent: one that was removed opens nothing from then on. 1 read unit.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn read_client(&self, id: &ClientId) -> Result<Option<Client>, StoreError> {
        let item = self.get(Key::client(id)).await?;
        item.map(client_from_item).transpose()
    }

    /// Makes a client. False if there is one with this id.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create_client(&self, client: &Client) -> Result<bool, StoreError> {
        let mut transaction = self.begin_transaction();
        let new_client = transaction.put_new(client_to_item(client)?);
        let sent = self.transact(transaction, &mut self.retries()).await?;
        let Err(mut failed) = sent else {
            return Ok(true);
        };
        // Ours, if an earlier attempt had been made and only its reply was lost: nobody else knows the secret.
        let found = failed.take_item(new_client).map(client_from_item);
        let digests = |of: &Client| -> Vec<String> {
            let secrets = of.secrets.iter();
            secrets.map(|secret| secret.digest.to_base64()).collect()
        };
        let found = found.transpose()?;
        Ok(found.is_some_and(|found| digests(&found) == digests(client)))
    }

    /// Gives a client other secrets, if it still has those of `before`. False otherwise, also if it is gone.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replace_client_secrets(
        &self,
        before: &Client,
        after: &Client,
    ) -> Result<bool, StoreError> {
        let read = to_attribute(&SecretAttribute::list(before))?;
        let new = to_attribute(&SecretAttribute::list(after))?;
        // The secrets as they are to be count as well: they stand there after an attempt whose reply was lost.
        let expression = Expression::default()
            .set(attribute::SECRETS, new)
            .only_if("(#secrets = :read OR #secrets = :secrets)")
            .value("read", read);
        let key = Key::client(&before.id);
        let mut retries = self.retries();
        let sent = self.update(key, &expression, |update| update, &mut retries);
        Ok(sent.await?.is_ok())
    }

    /// Removes a client. False if there is none. It is looked for first, because a deletion that is repeated after a lost
    /// reply finds none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn delete_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        let key = Key::client(id);
        if self.get(key.clone()).await?.is_none() {
            return Ok(false);
        }
        let there = Expression::default()
            .only_if("attribute_exists(#pk)")
            .name(PK);
        // If it fails, the client is gone all the same: by an attempt whose reply was lost, or by somebody else.
        self.delete_item_if(key, &there).await?;
        Ok(true)
    }

    /// All clients, by their ids. Reads the whole table, because each stands in its own partition: 1 read unit for each
    /// 8 KB of it. For a person at a command line, not for a request.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list_clients(&self) -> Result<Vec<Client>, StoreError> {
        let mut pages = self
            .client
            .scan()
            .table_name(&*self.table)
            .filter_expression("begins_with(#pk, :prefix)")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_values(":prefix", string(CLIENT_PREFIX))
            .return_consumed_capacity(COUNT_CAPACITY)
            .into_paginator()
            .items()
            .send();
        let mut clients = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| store_error("Scan", &error))?;
            clients.push(client_from_item(item)?);
        }
        clients.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(clients)
    }
}
