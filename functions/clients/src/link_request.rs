//! The body and the reply of `POST /v1/service/users/{user_id}/links`.

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use latchkey_api::problem::{InvalidValue, Problem};
use latchkey_domain::email::EmailAddress;
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
}

impl LinkRequest {
    /// What is wanted, if every value is allowed.
    ///
    /// # Errors
    /// 422 that names the value that is not.
    pub(crate) fn check(&self) -> Result<LinkWanted, Problem> {
        let invalid = |pointer, code, detail: String| {
            Problem::validation_failed(vec![InvalidValue::new(pointer, code, detail)])
        };
        match (self.purpose.as_str(), &self.new_email) {
            ("verify_email", None) => Ok(LinkWanted::VerifyEmail),
            ("reset_password", None) => Ok(LinkWanted::ResetPassword),
            ("change_email", Some(email)) => EmailAddress::parse(email)
                .map(LinkWanted::ChangeEmail)
                .map_err(|error| invalid("#/new_email", "invalid_email", error.to_string())),
            ("change_email", None) => {
                let detail = "Give the new address.".to_owned();
                Err(invalid("#/new_email", "missing", detail))
            }
            ("verify_email" | "reset_password", Some(_)) => {
                let detail = "Only a change_email has a new address.".to_owned();
                Err(invalid("#/new_email", "not_allowed", detail))
            }
            _ => {
                let detail = "A purpose is verify_email, reset_password or change_email.";
                Err(invalid("#/purpose", "not_allowed", detail.to_owned()))
            }
        }
    }
}

/// A link, for whoever sends it. Whoever opens it can do what it is for.
#[derive(Serialize, ToSchema)]
#[schema(as = ServiceLink)]
pub(crate) struct LinkResource {
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
