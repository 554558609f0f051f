//! Bodies: JSON of at most 16 KiB, read in one place.

use axum::extract::{FromRequest, Request};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use latchkey_domain::device::Device;
use latchkey_domain::password::Password;
use latchkey_domain::token::Token;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::sync::Arc;
use utoipa::ToSchema;

use crate::client::ClientHeaders;
use crate::headers;
use crate::problem::{Code, InvalidValue, Problem};

/// The largest body, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// A body in JSON. Fields that are not known are ignored.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Code::UnsupportedMediaType.into());
        }
        let bytes = axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES)
            .await
            .map_err(|error| body_problem(&error))?;
        let mut json = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            // The library's own message may repeat a value of the body, which may be a password.
            let path = error.path().to_string();
            if error.inner().is_data() && path != "." {
                Problem::invalid_request(format!(
                    "The field {} is missing or of the wrong type.",
                    shown(&path)
                ))
            } else if let Some(field) = missing_field(error.inner()) {
                Problem::invalid_request(format!("The field {field} is missing."))
            } else if error.inner().is_data() {
                Problem::invalid_request("The body is not a JSON object, or has a field twice.")
            } else {
                Problem::invalid_request("The body is not well-formed JSON.")
            }
        })?;
        json.end()
            .map_err(|_| Problem::invalid_request("The body is more than one JSON value."))?;
        Ok(Self(value))
    }
}

/// The name of a field that is missing: one of ours, so it can be shown. The library tells it in its message alone.
fn missing_field(error: &serde_json::Error) -> Option<String> {
    let message = error.to_string();
    let rest = message.strip_prefix("missing field `")?;
    rest.split_once('`').map(|(field, _)| field.to_owned())
}

/// Field names of a body are the client's own text: shown short and plain.
fn shown(path: &str) -> String {
    path.chars()
        .filter(|c| c.is_ascii_graphic())
        .take(50)
        .collect()
}

fn body_problem(error: &axum::Error) -> Problem {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return Code::PayloadTooLarge.into();
        }
        source = error.source();
    }
    Problem::invalid_request("The body could not be read.")
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) =
        headers::value(headers, CONTENT_TYPE.as_str()).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// A name that a person gives to a device or a session.
///
/// # Errors
/// 422 unless it has 1 to 100 characters and no control characters.
pub fn check_name(pointer: &'static str, name: &str) -> Result<(), Problem> {
    let length = name.trim().chars().count();
    let error = if length == 0 {
        InvalidValue::new(pointer, "too_short", "A name has at least 1 character.")
    } else if name.chars().count() > latchkey_domain::device::MAX_DEVICE_NAME_CHARS {
        InvalidValue::new(pointer, "too_long", "A name has at most 100 characters.")
    } else if name.chars().any(char::is_control) {
        InvalidValue::new(
            pointer,
            "control_character",
            "A name has no control characters.",
        )
    } else {
        return Ok(());
    };
    Err(Problem::validation_failed(vec![error]))
}

/// The body of a registration or a sign-in.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CredentialsRequest {
    /// The e-mail address.
    #[schema(format = Email, example = "ada@example.com", max_length = 254)]
    pub email: String,
    /// The password. A new one has 8 to 128 characters, is not a common one, and does not contain the e-mail address.
    #[serde(deserialize_with = "shared_password")]
    #[schema(value_type = String, format = Password, example = "correct horse battery staple")]
    pub password: Arc<Password>,
    /// What the device is to be called; by its User-Agent unless given.
    #[schema(
        min_length = 1,
        max_length = 100,
        example = "The laptop in the kitchen"
    )]
    pub device_name: Option<String>,
}

impl CredentialsRequest {
    /// The device that signs in, by its name if one is given.
    ///
    /// # Errors
    /// 422 for a name that is not allowed.
    pub fn device(&self, client: &ClientHeaders) -> Result<Device, Problem> {
        if let Some(name) = &self.device_name {
            check_name("#/device_name", name)?;
        }
        Ok(client.device(self.device_name.as_deref()))
    }
}

/// Reads a password into what the threads that hash it share.
///
/// # Errors
/// Those of a string.
pub fn shared_password<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<Password>, D::Error> {
    Password::deserialize(deserializer).map(Arc::new)
}

/// The body of a refresh or a sign-out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RefreshTokenRequest {
    /// The newest refresh token that the client holds.
    #[schema(value_type = String, example = "eyJ0eXAiOiJydCtqd3Qi...")]
    pub refresh_token: Token,
}
