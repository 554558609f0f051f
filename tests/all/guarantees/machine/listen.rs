//! What the events tell: who is signed in, rebuilt from them alone.

use std::collections::BTreeSet;

use latchkey_domain::id::SessionId;
use latchkey_tests::proof::model::Status;
use proptest::prelude::*;
use serde_json::Value;

use super::{Machine, Verdict};

impl Machine {
    /// Rebuilds from the events who is signed in, and holds that against the model.
    pub(super) async fn listen(&mut self) -> Verdict {
        self.stream.drain().await;
        for event in self.stream.bus.take() {
            let session = &event["data"]["session_id"];
            let session = session.as_str().map(|id| id.parse::<SessionId>().unwrap());
            let user = event["subject"].as_str().unwrap().parse().unwrap();
            let sessions = self.heard.entry(user).or_default();
            let fits = match (event["type"].as_str(), session) {
                (Some("session.created"), Some(session)) => sessions.insert(session),
                (Some("session.ended"), Some(session)) => sessions.remove(&session),
                (Some("user.deleted"), None) => sessions.is_empty(),
                (Some("session.created" | "session.ended"), None) => false,
                _ => event["specversion"] != Value::Null,
            };
            prop_assert!(fits, "{} of {:?}", event, sessions);
        }
        for (user, heard) in &self.heard {
            let account = self.model.accounts.get(user);
            let active = account.filter(|account| account.status == Status::Active);
            let admitted = active.map(|account| account.admitted.clone());
            prop_assert_eq!(
                heard,
                &admitted.unwrap_or_default(),
                "the events of {}",
                user
            );
            // Whoever hears them knows the time too.
            let over = |id: &&SessionId| {
                let session = self.model.sessions.get(*id);
                session.is_none_or(|session| self.model.now >= session.end())
            };
            let live = heard.iter().filter(|id| !over(id)).copied();
            let expected = self.model.live(*user).into_iter().map(|session| session.id);
            prop_assert_eq!(
                live.collect::<BTreeSet<_>>(),
                expected.collect(),
                "{}",
                user
            );
        }
        Ok(())
    }
}
