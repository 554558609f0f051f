//! What administration alone reads: whose a session is, by the index, and pages of all accounts.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use latchkey_domain::account::Account;
use latchkey_domain::error::StoreError;
use latchkey_domain::id::{SessionId, UserId};

use crate::Store;
use crate::cleanup::ScanPosition;
use crate::client::COUNT_CAPACITY;
use crate::item::{account_from_item, from_item, string};
use crate::keys::{ACCOUNT, Item, Key, PK, SK, USER_PREFIX};
use crate::refusal::store_error;
use crate::table::{INDEX_NAME, INDEX_PARTITION_KEY};

/// How many items of the table a page of accounts is looked for in: some 60 read units, of 0.5 KB for each item.
const ITEMS_FOR_A_PAGE: i32 = 1_000;
/// DynamoDB's longest keys, in bytes. A longer one would be refused as a fault of ours.
const LONGEST_PARTITION_KEY: usize = 2_048;
const LONGEST_SORT_KEY: usize = 1_024;

/// Some of the accounts, in no order that means anything.
#[derive(Debug)]
pub struct AccountPage {
    /// The accounts, eventually consistent; perhaps none although there are more.
    pub accounts: Vec<Account>,
    /// Where the next page begins; nothing at the end of the table.
    pub next: Option<ScanPosition>,
}

impl ScanPosition {
    /// The position as a word for a client, who is to give it back as it is.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Key { pk, sk } = &self.0;
        BASE64_URL_SAFE_NO_PAD.encode(format!("{pk}\n{sk}"))
    }

    /// Reads the word that a client has given back. One that was made up begins the page elsewhere, and shows nothing
    /// that another page does not.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (pk, sk) = text.split_once('\n')?;
        let is_key = |key: &str, longest| (1..=longest).contains(&key.len());
        let is_position = is_key(pk, LONGEST_PARTITION_KEY) && is_key(sk, LONGEST_SORT_KEY);
        is_position.then(|| {
            Self(Key {
                pk: pk.to_owned(),
                sk: sk.to_owned(),
            })
        })
    }
}

impl Store {
    /// The user in whose partition a session's item is, by the index, which is eventually consistent; 0.5 read units.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn find_user_of_session(
        &self,
        session: SessionId,
    ) -> Result<Option<UserId>, StoreError> {
        let output = self
            .client
            .query()
            .table_name(&*self.table)
            .index_name(INDEX_NAME)
            .key_condition_expression("#jti = :session")
            .expression_attribute_names("#jti", INDEX_PARTITION_KEY)
            .expression_attribute_values(":session", string(session))
            .limit(1)
            .return_consumed_capacity(COUNT_CAPACITY)
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
        let found = output.items.unwrap_or_default().into_iter().next();
        let key = found.map(from_item::<Key>).transpose()?;
        Ok(key.and_then(|key| key.user()))
    }

    /// Looks for accounts in the next 1,000 items of the table, and returns at most `limit`. What is no account stays
    /// in DynamoDB. Some 60 read units, whatever is found.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn scan_accounts(
        &self,
        from: Option<ScanPosition>,
        limit: usize,
    ) -> Result<AccountPage, StoreError> {
        let output = self
            .client
            .scan()
            .table_name(&*self.table)
            .filter_expression("#sk = :account AND begins_with(#pk, :user)")
            .expression_attribute_names("#pk", PK)
            .expression_attribute_names("#sk", SK)
            .expression_attribute_values(":account", string(ACCOUNT))
            .expression_attribute_values(":user", string(USER_PREFIX))
            .set_exclusive_start_key(from.map(|position| position.0.into_attributes()))
            .limit(ITEMS_FOR_A_PAGE)
            .return_consumed_capacity(COUNT_CAPACITY)
            .send()
            .await
            .map_err(|error| store_error("Scan", &error))?;
        let mut items = output.items.unwrap_or_default();
        let is_cut = items.len() > limit;
        items.truncate(limit);
        let behind_the_last = items.last().and_then(position_of);
        let end = output.last_evaluated_key.as_ref().and_then(position_of);
        let next = match end {
            None if !is_cut => None,
            // A key of another kind may hold an address, so the page rather ends at its last account.
            Some(end) if !is_cut && end.0.user().is_some() => Some(end),
            end => behind_the_last.or(end),
        };
        let accounts = items.into_iter().filter_map(|item| {
            // One that is broken is logged there, and must not hide all others.
            account_from_item(item).ok().map(|read| read.account)
        });
        Ok(AccountPage {
            accounts: accounts.collect(),
            next,
        })
    }
}

fn position_of(item: &Item) -> Option<ScanPosition> {
    let text = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text.clone()),
        Some(_) | None => None,
    };
    Some(ScanPosition(Key {
        pk: text(PK)?,
        sk: text(SK)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(pk: &str, sk: &str) -> ScanPosition {
        ScanPosition(Key {
            pk: pk.to_owned(),
            sk: sk.to_owned(),
        })
    }

    #[test]
    fn a_position_reads_back_as_it_was_told() {
        let long = "k".repeat(LONGEST_PARTITION_KEY);
        for (pk, sk) in [
            ("USER#1", "ACCOUNT"),
            ("EMAIL#a@b.c", "CREDENTIAL"),
            (&long, "x"),
        ] {
            let position = position(pk, sk);
            let text = position.to_text();
            assert_eq!(ScanPosition::from_text(&text), Some(position));
        }
    }

    #[test]
    fn what_no_key_can_be_is_no_position() {
        let (long_pk, long_sk) = (
            "k".repeat(LONGEST_PARTITION_KEY + 1),
            "k".repeat(LONGEST_SORT_KEY + 1),
        );
        let too_long = [
            position(&long_pk, "x").to_text(),
            position("x", &long_sk).to_text(),
        ];
        let not_two = [
            BASE64_URL_SAFE_NO_PAD.encode("x"),
            position("", "x").to_text(),
        ];
        let not_text = BASE64_URL_SAFE_NO_PAD.encode([0xff, b'\n', 0xff]);
        let other = ["", "!", "e30=", "VVNFUiMx\n"].map(str::to_owned);
        for text in too_long
            .iter()
            .chain(&not_two)
            .chain([&not_text])
            .chain(&other)
        {
            assert_eq!(ScanPosition::from_text(text), None, "{text}");
        }
    }
}
