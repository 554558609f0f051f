//! The Lambda authorizer of a team's own HTTP API: payload format 2.0, simple responses.
//!
//! What is wrong with a token or its session is a deny, for which API Gateway answers 403, and which it may cache. What
//! keeps us from telling is an error, for which it answers 500 and caches nothing. A request without the header never
//! arrives here when the header is an identity source: API Gateway answers it with 401.

mod event;

use lambda_runtime::Diagnostic;
use latchkey_domain::token::AccessClaims;
use latchkey_service::{Authorizer, Failure};
use serde::Serialize;

pub use event::Event;

/// The answer that API Gateway takes with `EnableSimpleResponses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Whether the request may pass.
    pub is_authorized: bool,
    /// What the functions behind the API learn of the caller, as `requestContext.authorizer.lambda`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<CallerContext>,
}

/// Who is calling: strings and numbers, so that every member can also be mapped into a header of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallerContext {
    /// The user.
    pub user_id: String,
    /// The session.
    pub session_id: String,
    /// What the token allows at Latchkey, words divided by spaces; empty in a token for another audience.
    pub scope: String,
    /// When the user last proved who they are, epoch seconds.
    pub auth_time: i64,
    /// The application that the user signed in to.
    pub client_id: String,
    /// How they proved it (RFC 8176), words divided by spaces.
    pub amr: String,
}

impl From<AccessClaims> for CallerContext {
    fn from(claims: AccessClaims) -> Self {
        Self {
            user_id: claims.sub.to_string(),
            session_id: claims.sid.to_string(),
            scope: claims.scope.to_string(),
            auth_time: claims.auth_time,
            client_id: claims.client_id,
            amr: claims.amr.join(" "),
        }
    }
}

impl Decision {
    /// The request may not pass.
    pub const DENIED: Self = Self {
        is_authorized: false,
        context: None,
    };
}

/// Why it cannot be told whether a request may pass. Lambda counts it as an error, so alarms see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The table is busy or out of reach.
    #[error("the table is not available, so nobody can be let through or turned away")]
    Unavailable,
    /// Something is broken on our side; it was logged.
    #[error("something is broken; the log says what")]
    Internal,
}

impl From<Undecided> for Diagnostic {
    fn from(error: Undecided) -> Self {
        let error_type = match error {
            Undecided::Unavailable => "AuthorizerUnavailable",
            Undecided::Internal => "AuthorizerInternal",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// Tells whether a request may pass.
///
/// # Errors
/// [`Undecided`]
pub async fn authorize(authorizer: &Authorizer, event: Event) -> Result<Decision, Undecided> {
    let token = event.bearer_token();
    let undecided = match authorizer.authorize(token.as_ref()).await {
        Ok(claims) => {
            return Ok(Decision {
                is_authorized: true,
                context: Some(claims.into()),
            });
        }
        Err(Failure::Refused(_)) => return Ok(Decision::DENIED),
        // No limit is asked here; if one were, its answer would not be a denial either.
        Err(Failure::Throttled(_) | Failure::Unavailable) => Undecided::Unavailable,
        Err(Failure::Internal) => Undecided::Internal,
    };
    tracing::error!(reason = %undecided, "the authorizer could not tell whether a request may pass");
    Err(undecided)
}
