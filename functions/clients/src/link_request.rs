//! The body and the reply of `POST /v1/service/users/{user_id}/links`.

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use latchkey_api::body::natural_number;
use latchkey_api::problem::{InvalidValue, Problem};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::id::{AnyCase, SessionId};
use latchkey_domain::token::EmailChange;
use latchkey_service::{IssuedLink, LinkWanted};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a link is for.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ServiceLinkRequest)]
pub(crate) struct LinkRequest {
    /// `verify_email`, `reset_password` or `change_email`.
    #[schema(example = "change_email")]
    purpose: String,
    /// With `change_email`: the new address, as the event `email_change.requested` has it.
    #[schema(required = false, format = Email, max_length = 254, example = "ada@example.org")]
    new_email: Option<String>,
    /// With `change_email`: the number of the address that it replaces, as the event has it.
    #[serde(default, deserialize_with = "natural_number")]
    #[schema(required = false, example = 0)]
    email_version: Option<u64>,
    /// With `change_email`: the session on which it was asked for, as the event has it.
    #[schema(required = false, value_type = uuid::Uuid, example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11")]
    session_id: Option<AnyCase<SessionId>>,
}

impl LinkRequest {
    /// What is wanted, if every value is allowed.
    ///
    /// # Errors
    /// 422 that names the values that are not.
    pub(crate) fn check(&self) -> Result<LinkWanted, Problem> {
        let of_change = [
            ("#/new_email", self.new_email.is_some()),
            ("#/email_version", self.email_version.is_some()),
            ("#/session_id", self.session_id.is_some()),
        ];
        let those = |given: bool, code, detail: &'static str| {
            let those = of_change.iter().filter(|(_, is_given)| *is_given == given);
            let those = those.map(|(pointer, _)| InvalidValue::new(pointer, code, detail));
            those.collect::<Vec<_>>()
        };
        let superfluous = those(true, "not_allowed", "Only a change_email has this.");
        match self.purpose.as_str() {
            "verify_email" | "reset_password" if !superfluous.is_empty() => {
                Err(Problem::validation_failed(superfluous))
            }
            "verify_email" => Ok(LinkWanted::VerifyEmail),
            "reset_password" => Ok(LinkWanted::ResetPassword),
            "change_email" => {
                let (Some(new_email), Some(email_version), Some(AnyCase(session_id))) =
                    (&self.new_email, self.email_version, self.session_id)
                else {
                    let detail = "Give what the event email_change.requested has.";
                    let missing = those(false, "missing", detail);
                    return Err(Problem::validation_failed(missing));
                };
                let email = EmailAddress::parse(new_email);
                let email = email.map_err(|error| Problem::from(error).at("#/new_email"))?;
                Ok(LinkWanted::ChangeEmail(EmailChange {
                    email,
                    email_version,
                    session_id,
                }))
            }
            _ => {
                let detail = "A purpose is verify_email, reset_password or change_email.";
                let wrong = InvalidValue::new("#/purpose", "not_allowed", detail);
                Err(Problem::validation_failed(vec![wrong]))
            }
        }
    }
}

/// A link, for whoever sends it. Whoever opens it can do what it is for.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceLink)]
pub(crate) struct LinkResource {
    /// The address to send it to. Send it to no other.
    #[schema(format = Email, example = "ada@example.com")]
    email: String,
    /// The token, for a page of your own.
    #[schema(example = "eyJ0eXAiOiJyZXNldC1wYXNzd29yZCtqd3Qi...")]
    token: String,
    /// The whole link to the page below `ACCOUNT_URL`.
    #[schema(
        example = "https://id.example.com/account/reset-password#token=eyJ0eXAiOiJyZXNldC1wYXNzd29yZCtqd3Qi..."
    )]
    url: String,
    /// How long it is valid, in seconds.
    #[schema(example = 600)]
    expires_in: i64,
}

impl From<IssuedLink> for LinkResource {
    fn from(link: IssuedLink) -> Self {
        Self {
            email: link.email.as_typed().to_owned(),
            token: link.token.expose().to_owned(),
            url: link.url,
            expires_in: link.expires_in.num_seconds(),
        }
    }
}

impl IntoResponse for LinkResource {
    fn into_response(self) -> Response {
        ([(CACHE_CONTROL, "no-store")], Json(self)).into_response()
    }
}
