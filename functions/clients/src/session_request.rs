//! The body of `POST /v1/service/sessions`, and what is allowed in it.

use latchkey_api::body::{VisitorRequest, whole_number};
use latchkey_api::location::Places;
use latchkey_api::problem::{InvalidValue, Problem};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::identity::{AuthenticationMethods, Identity, InvalidIdentity};
use latchkey_domain::session::ClientLocation;
use latchkey_service::SignInElsewhere;
use latchkey_service::token_keys::TokenKeys;
use serde::Deserialize;
use utoipa::ToSchema;

/// Somebody who has signed in elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ServiceSessionRequest)]
pub(crate) struct SessionRequest {
    /// Who they are there.
    identity: IdentityRequest,
    /// Their address, as it was told there. It is shown, and finds nothing.
    #[schema(required = false, format = Email, max_length = 254, example = "ada@example.com")]
    email: Option<String>,
    /// How they proved who they are: values of RFC 8176 such as `pwd`, `otp`, `fpt`; at most 40 bytes together.
    #[schema(min_items = 1, example = json!(["pwd", "otp"]))]
    amr: Vec<String>,
    /// When they did, in seconds since 1970. Not in the future, and not longer ago than a session may last. Unless it is
    /// told, nothing counts as a recent proof of who they are.
    #[serde(default, deserialize_with = "whole_number")]
    #[schema(
        required = false,
        minimum = 0,
        maximum = 253_402_300_799_i64,
        example = 1_772_366_400
    )]
    auth_time: Option<i64>,
    /// The API that the access token is to be for, as at sign-in.
    #[schema(required = false, example = "latchkey")]
    audience: Option<String>,
    /// Where they are and what they use.
    client: Option<VisitorRequest>,
}

/// Who somebody is to another identity provider, as its tokens or assertions name them.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Identity)]
struct IdentityRequest {
    /// The identity provider: `iss` of an ID token, or the entity id of a SAML provider. Compared byte by byte. One that the
    /// client may speak for.
    #[schema(
        min_length = 1,
        max_length = 255,
        example = "https://accounts.google.com"
    )]
    issuer: String,
    /// The person there: `sub` of an ID token, or a persistent NameID. Never an e-mail address that can change hands.
    #[schema(min_length = 1, max_length = 255, example = "110169484474386276334")]
    subject: String,
}

impl SessionRequest {
    /// The sign-in, if every value is allowed.
    ///
    /// # Errors
    /// 422 that names all values that are not.
    pub(crate) fn check(
        self,
        tokens: &TokenKeys,
        places: &Places,
    ) -> Result<SignInElsewhere, Problem> {
        let mut errors = Vec::new();
        let mut refuse = |pointer, code, detail: String| {
            errors.push(InvalidValue::new(pointer, code, detail));
        };
        for (pointer, part) in [
            ("#/identity/issuer", &self.identity.issuer),
            ("#/identity/subject", &self.identity.subject),
        ] {
            if let Err(error @ InvalidIdentity) = Identity::check(part) {
                refuse(pointer, "invalid_identity", error.to_string());
            }
        }
        let identity = Identity::new(&self.identity.issuer, &self.identity.subject);
        let email = self.email.as_deref().map(EmailAddress::parse).transpose();
        if let Err(error) = &email {
            refuse("#/email", "invalid_email", error.to_string());
        }
        let methods = AuthenticationMethods::new(self.amr.iter().map(String::as_str));
        if let Err(error) = &methods {
            refuse("#/amr", "invalid_methods", error.to_string());
        }
        let (Ok(identity), Ok(email), Ok(methods)) = (identity, email, methods) else {
            return Err(Problem::validation_failed(errors));
        };
        let audience = tokens.find_audience(self.audience.as_deref())?;
        let visitor = self.client.as_ref();
        let location = visitor
            .map(|visitor| visitor.location(places))
            .transpose()?;
        let unknown = || Device::describe(None, None, None, ClientHints::default());
        Ok(SignInElsewhere {
            identity,
            email,
            methods,
            auth_time: self.auth_time,
            device: visitor.map_or_else(unknown, VisitorRequest::device),
            location: location.unwrap_or_else(ClientLocation::default),
            audience,
        })
    }
}
