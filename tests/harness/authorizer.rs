//! The authorizer of other APIs, as their gateway calls it.

use authorizer::{Decision, Event, Undecided};
use latchkey_service::{AccessRules, Authorizer, Service};
use serde_json::{Value, json};

use crate::harness::lambda::sample_event;
use crate::harness::stack::Stack;

/// The event of a request with these values of `Authorization`.
#[must_use]
pub fn event_with(authorization: &str) -> Value {
    let mut event = sample_event("authorizer-allowed", &Value::Null);
    event["headers"]["authorization"] = json!(authorization);
    event["identitySource"][0] = json!(authorization);
    event
}

impl Stack {
    /// An authorizer on this table, with the role that the template gives it.
    #[must_use]
    pub fn authorizer(&self, rules: AccessRules) -> Authorizer {
        let service = Service {
            core: self.core.clone(),
            store: self.store_of("authorizer"),
        };
        Authorizer::new(service, rules)
    }
}

/// What an authorizer says of an event.
///
/// # Errors
/// Those of the function.
///
/// # Panics
/// When the function cannot read the event.
pub async fn decide(authorizer: &Authorizer, event: &Value) -> Result<Decision, Undecided> {
    let event: Event = serde_json::from_value(event.clone()).expect("an event");
    authorizer::authorize(authorizer, event).await
}

/// Whether an access token may pass.
///
/// # Panics
/// When the authorizer cannot tell.
pub async fn passes(authorizer: &Authorizer, access_token: &str) -> bool {
    let event = event_with(&format!("Bearer {access_token}"));
    let decision = decide(authorizer, &event).await.expect("a decision");
    assert_eq!(decision.context.is_some(), decision.is_authorized);
    decision.is_authorized
}
