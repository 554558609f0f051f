//! The table as a trial compares it, and what holds of every table.

use std::collections::{BTreeMap, BTreeSet};

use latchkey_domain::policy::SessionPolicy;
use latchkey_tests::attack::faults::raw_items;
use latchkey_tests::harness::stack::Stack;
use serde_json::Value;

/// How many passwords are counted on all sessions.
pub(super) fn counted_passwords(items: &[Value]) -> usize {
    let attempts = items
        .iter()
        .filter_map(|item| Some(item["password_attempts"]["SS"].as_array()?.len()));
    attempts.sum()
}

/// The attempts that are counted for accounts and addresses.
pub(super) fn counted_attempts(items: &[Value]) -> BTreeMap<String, u64> {
    let counted = items.iter().filter_map(|item| {
        let key = item["pk"]["S"].as_str()?;
        let attempts = item["attempts"]["N"].as_str()?.parse().ok()?;
        key.starts_with("THROTTLE#")
            .then(|| (key.to_owned(), attempts))
    });
    counted.collect()
}

/// The items by key, without the stamps of the last two changes, counted passwords, counters and the cleanup's own note.
pub(super) type Table = BTreeMap<String, Value>;

pub(super) fn table(stack: &Stack) -> Table {
    of_items(raw_items(stack))
}

/// The same, of items that have been read.
pub(super) fn of_items(items: Vec<Value>) -> Table {
    let items = items.into_iter().filter_map(|mut item| {
        let (pk, sk) = (item["pk"]["S"].as_str()?, item["sk"]["S"].as_str()?);
        let key = format!("{pk} {sk}");
        if pk == "CLEANUP" || pk.starts_with("THROTTLE#") {
            return None;
        }
        item.as_object_mut()?.remove("change");
        item.as_object_mut()?.remove("previous_change");
        item.as_object_mut()?.remove("password_attempts");
        item.as_object_mut()?.remove("wrong_passwords");
        for set in ["/sessions/SS", "/scopes/SS", "/issuers/SS"] {
            let set = item.pointer_mut(set);
            if let Some(set) = set.and_then(Value::as_array_mut) {
                set.sort_by_key(ToString::to_string);
            }
        }
        Some((key, item))
    });
    items.collect()
}

pub(super) fn without_versions(mut table: Table) -> Table {
    for item in table.values_mut().filter_map(Value::as_object_mut) {
        item.remove("version");
    }
    table
}

/// How many items there are of each kind, and of each user's.
pub(super) fn kinds(table: &Table) -> Vec<String> {
    let kind = |key: &String| key.split('#').next().unwrap_or_default().to_owned();
    let sort = |key: &String| {
        let sort = key.split(' ').next_back().unwrap_or_default().to_owned();
        kind(&sort)
    };
    let mut kinds: Vec<String> = table.keys().map(|key| kind(key) + &sort(key)).collect();
    kinds.sort();
    kinds
}

/// What holds of every table, whatever has happened.
pub(super) fn check_invariants(table: &Table, policy: &SessionPolicy, context: &str) {
    let mut credentials = BTreeSet::new();
    for (key, item) in table {
        if key.ends_with(" CREDENTIAL") {
            let account = format!("USER#{} ACCOUNT", item["user_id"]["S"].as_str().unwrap());
            let account_item = table
                .get(&account)
                .unwrap_or_else(|| panic!("{context}: {key}"));
            assert_ne!(account_item["status"]["S"], "deleted", "{context}: {key}");
            assert_eq!(
                account_item["password_version"], item["password_version"],
                "{context}"
            );
            assert!(credentials.insert(account), "{context}: two credentials");
        }
        // Somebody who signs in elsewhere has an identity in its place.
        if key.starts_with("IDENTITY#") {
            let account = format!("USER#{} ACCOUNT", item["user_id"]["S"].as_str().unwrap());
            let identity = &table[&account]["identity"]["M"];
            let (issuer, subject) = (&identity["issuer"]["S"], &identity["subject"]["S"]);
            let back = format!(
                "IDENTITY#{} {}",
                issuer.as_str().unwrap_or_default(),
                subject.as_str().unwrap_or_default()
            );
            assert_eq!(*key, back, "{context}: {account} leads elsewhere");
            assert!(credentials.insert(account), "{context}: two identities");
        }
    }
    for (key, item) in table {
        let Some(user) = key.strip_suffix(" ACCOUNT") else {
            continue;
        };
        let active = item["status"]["S"] == "active";
        let kept = item["status"]["S"] != "deleted";
        assert_eq!(credentials.contains(key), kept, "{context}: {key}");
        let set = item["sessions"]["SS"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        assert!(set.len() <= policy.max_sessions, "{context}: {key}");
        assert!(active || set.is_empty(), "{context}: {key}");
        for id in set {
            let session = format!("{user} SESSION#{}", id.as_str().unwrap());
            // The cleanup removes sessions that have expired long ago, and leaves their ids to the next sign-in.
            let kept = context.starts_with("cleanup") || table.contains_key(&session);
            assert!(kept, "{context}: no {session}");
        }
    }
}

/// Whether every item is as before or as after: what is done in steps may have stopped between any two.
pub(super) fn is_between(found: &Table, before: &Table, after: &Table) -> bool {
    let keys: BTreeSet<&String> = found
        .keys()
        .chain(before.keys())
        .chain(after.keys())
        .collect();
    keys.into_iter().all(|key| {
        let item = found.get(key);
        item == before.get(key)
            || item == after.get(key)
            // An account that is deleted but for its items.
            || item.is_some_and(|item| item["status"]["S"] == "deleted" && !after.contains_key(key))
    })
}
