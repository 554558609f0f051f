//! Every error that a client can see: one code each, and the one place where a refusal of the domain becomes a reply
//! (RFC 9457).
//!
//! A problem says what the client may know and no more. What happened inside is logged where it is noticed.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use latchkey_domain::email::InvalidEmail;
use latchkey_domain::error::{
    CallerNotLive, ConfirmError, Failure, LoginError, RefreshError, RegisterError, RevokeError,
    StoreError,
};
use latchkey_domain::password::WeakPassword;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A stable name for what went wrong. Clients decide by it; it never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request cannot be read: malformed JSON, a field that is missing or of another type, a malformed id.
    InvalidRequest,
    /// The request can be read, but a value is not allowed; `errors` says which.
    ValidationFailed,
    /// The password is too short, too long, too common, or contains the e-mail address; `errors` says which.
    WeakPassword,
    /// The access token is missing, malformed or expired, or its session has ended.
    InvalidToken,
    /// Wrong e-mail address or password.
    InvalidCredentials,
    /// The refresh token is not genuine or has expired, or its session has ended. Sign in again.
    InvalidRefreshToken,
    /// The refresh token was replaced a moment ago. Nothing has ended: use the newest one you hold.
    RefreshTokenSuperseded,
    /// The refresh token was replaced longer ago, so somebody else may have it: its session has been ended.
    RefreshTokenReused,
    /// The password was right, but an administrator has disabled the account.
    AccountDisabled,
    /// That is not the password of the account.
    WrongPassword,
    /// The service stands behind a front, and the request has come past it.
    FrontRequired,
    /// There is no such session of yours that is still live.
    SessionNotFound,
    /// There is no such route.
    NotFound,
    /// The route does not take this method; `Allow` says which it takes.
    MethodNotAllowed,
    /// Somebody has registered this e-mail address.
    EmailTaken,
    /// The body is larger than 16 KiB.
    PayloadTooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The body did not come within a few seconds. Only the local stack says so.
    RequestTimeout,
    /// `Host` is not a name of this machine. Only the local stack says so.
    HostNotAllowed,
    /// The path and the query are longer than 10,240 bytes. Only the local stack says so.
    UriTooLong,
    /// The path and the headers are larger than 10,240 bytes. Only the local stack says so.
    HeadersTooLarge,
    /// Something is broken on our side.
    InternalError,
    /// Busy or out of reach for a moment: try again after `Retry-After` seconds.
    TemporarilyUnavailable,
}

impl Code {
    /// All codes, in the order in which they are documented.
    pub const ALL: [Self; 23] = [
        Self::InvalidRequest,
        Self::ValidationFailed,
        Self::WeakPassword,
        Self::InvalidToken,
        Self::InvalidCredentials,
        Self::InvalidRefreshToken,
        Self::RefreshTokenSuperseded,
        Self::RefreshTokenReused,
        Self::AccountDisabled,
        Self::WrongPassword,
        Self::FrontRequired,
        Self::SessionNotFound,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::EmailTaken,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::RequestTimeout,
        Self::HostNotAllowed,
        Self::UriTooLong,
        Self::HeadersTooLarge,
        Self::InternalError,
        Self::TemporarilyUnavailable,
    ];

    /// The code as it stands in JSON and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::ValidationFailed => "validation_failed",
            Self::WeakPassword => "weak_password",
            Self::InvalidToken => "invalid_token",
            Self::InvalidCredentials => "invalid_credentials",
            Self::InvalidRefreshToken => "invalid_refresh_token",
            Self::RefreshTokenSuperseded => "refresh_token_superseded",
            Self::RefreshTokenReused => "refresh_token_reused",
            Self::AccountDisabled => "account_disabled",
            Self::WrongPassword => "wrong_password",
            Self::FrontRequired => "front_required",
            Self::SessionNotFound => "session_not_found",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::EmailTaken => "email_taken",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RequestTimeout => "request_timeout",
            Self::HostNotAllowed => "host_not_allowed",
            Self::UriTooLong => "uri_too_long",
            Self::HeadersTooLarge => "headers_too_large",
            Self::InternalError => "internal_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The status that it is told with.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::ValidationFailed | Self::WeakPassword => StatusCode::UNPROCESSABLE_ENTITY,
            Self::InvalidToken
            | Self::InvalidCredentials
            | Self::InvalidRefreshToken
            | Self::RefreshTokenSuperseded
            | Self::RefreshTokenReused => StatusCode::UNAUTHORIZED,
            Self::AccountDisabled | Self::WrongPassword | Self::FrontRequired => {
                StatusCode::FORBIDDEN
            }
            Self::SessionNotFound | Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::EmailTaken => StatusCode::CONFLICT,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::HostNotAllowed => StatusCode::MISDIRECTED_REQUEST,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What it means, for people, the same each time (RFC 9457 section 3.1.3).
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request cannot be read",
            Self::ValidationFailed => "A value is not allowed",
            Self::WeakPassword => "The password is too weak",
            Self::InvalidToken => "The access token is not valid",
            Self::InvalidCredentials => "Wrong e-mail address or password",
            Self::InvalidRefreshToken => "The refresh token is not valid",
            Self::RefreshTokenSuperseded => "The refresh token has been replaced",
            Self::RefreshTokenReused => "The refresh token has been used again",
            Self::AccountDisabled => "The account is disabled",
            Self::WrongPassword => "Wrong password",
            Self::FrontRequired => "Not by the public address",
            Self::SessionNotFound => "No such session",
            Self::NotFound => "No such route",
            Self::MethodNotAllowed => "Method not allowed",
            Self::EmailTaken => "The e-mail address is taken",
            Self::PayloadTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body is not JSON",
            Self::RequestTimeout => "The body did not come in time",
            Self::HostNotAllowed => "Not a name of this server",
            Self::UriTooLong => "The path is too long",
            Self::HeadersTooLarge => "The headers are too large",
            Self::InternalError => "Internal error",
            Self::TemporarilyUnavailable => "Temporarily unavailable",
        }
    }

    /// What it means in more words, when the place that noticed it has nothing to add.
    #[must_use]
    pub fn default_detail(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not in the documented form.",
            Self::ValidationFailed => "At least one value is not allowed; see errors.",
            Self::WeakPassword => "Choose another password; see errors.",
            Self::InvalidToken => "Send a valid access token of a session that has not ended.",
            Self::InvalidCredentials => "The e-mail address or the password is wrong.",
            Self::InvalidRefreshToken => "Sign in again.",
            Self::RefreshTokenSuperseded => {
                "Another request has replaced this refresh token a moment ago; use the newest one you hold."
            }
            Self::RefreshTokenReused => {
                "This refresh token had been replaced before, so the session has been ended. Sign in again."
            }
            Self::AccountDisabled => "An administrator has disabled this account.",
            Self::WrongPassword => "The current password is wrong.",
            Self::FrontRequired => "Call the service by its public address.",
            Self::SessionNotFound => "You have no such session, or it has ended.",
            Self::NotFound => "There is nothing at this path.",
            Self::MethodNotAllowed => "This path does not take this method; see the Allow header.",
            Self::EmailTaken => "An account with this e-mail address exists; sign in instead.",
            Self::PayloadTooLarge => "A body has at most 16 KiB.",
            Self::UnsupportedMediaType => "Send the body as application/json.",
            Self::RequestTimeout => "Send the body together with the headers.",
            Self::HostNotAllowed => {
                "The local stack answers to 127.0.0.1, localhost and [::1], and to the host of ISSUER."
            }
            Self::UriTooLong => "The path and the query have at most 10,240 bytes.",
            Self::HeadersTooLarge => "The path and the headers have at most 10,240 bytes together.",
            Self::InternalError => "Something is broken on our side; tell us the request_id.",
            Self::TemporarilyUnavailable => "Try again in a moment.",
        }
    }

    /// The parameters of the challenge that every 401 carries (RFC 9110 section 11.6.1, RFC 6750 section 3).
    fn challenge(self) -> Option<&'static str> {
        match self {
            Self::InvalidToken => Some(
                r#"Bearer realm="latchkey", error="invalid_token", error_description="The access token is not valid""#,
            ),
            Self::InvalidCredentials
            | Self::InvalidRefreshToken
            | Self::RefreshTokenSuperseded
            | Self::RefreshTokenReused => Some(CHALLENGE_WITHOUT_ERROR),
            Self::InvalidRequest
            | Self::ValidationFailed
            | Self::WeakPassword
            | Self::AccountDisabled
            | Self::WrongPassword
            | Self::FrontRequired
            | Self::SessionNotFound
            | Self::NotFound
            | Self::MethodNotAllowed
            | Self::EmailTaken
            | Self::PayloadTooLarge
            | Self::UnsupportedMediaType
            | Self::RequestTimeout
            | Self::HostNotAllowed
            | Self::UriTooLong
            | Self::HeadersTooLarge
            | Self::InternalError
            | Self::TemporarilyUnavailable => None,
        }
    }
}

/// No error code when no access token was sent, or when the token was not in question (RFC 6750 section 3.1).
const CHALLENGE_WITHOUT_ERROR: &str = r#"Bearer realm="latchkey""#;

/// When a 503 may be tried again, in seconds: far below the grace of a refresh.
const RETRY_AFTER_SECONDS: &str = "1";

/// One value that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvalidValue {
    /// Where it stands in the body, as a JSON pointer in a fragment.
    #[schema(value_type = String, example = "#/password")]
    pub pointer: Cow<'static, str>,
    /// What is wrong with it.
    #[schema(value_type = String, example = "too_short")]
    pub code: Cow<'static, str>,
    /// The same, for people.
    #[schema(value_type = String, example = "The password has fewer than 8 characters.")]
    pub detail: Cow<'static, str>,
}

impl InvalidValue {
    /// What is wrong with the value at a pointer.
    pub fn new(
        pointer: &'static str,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            pointer: pointer.into(),
            code: code.into(),
            detail: detail.into(),
        }
    }
}

/// An error as a client sees it. Becomes a reply by itself; [`crate::http::service`] adds the `request_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    detail: Cow<'static, str>,
    errors: Vec<InvalidValue>,
    challenge: Option<&'static str>,
}

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// `urn:latchkey:problem:<code>`.
    #[schema(example = "urn:latchkey:problem:invalid_token")]
    r#type: String,
    /// What the code means, the same each time.
    #[schema(example = "The access token is not valid")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 401, minimum = 400, maximum = 599)]
    status: u16,
    /// What it means here.
    #[schema(example = "Send a valid access token of a session that has not ended.")]
    detail: &'a str,
    /// What to decide by.
    #[schema(inline = false)]
    code: Code,
    /// Names this request in the logs.
    #[schema(example = "8f2c7c1e-2c1b-4b6e-9a55-0d3f6f0f5a51")]
    request_id: &'a str,
    /// With `validation_failed` and `weak_password`: the values that are not allowed.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [InvalidValue],
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self {
            code,
            detail: code.default_detail().into(),
            errors: Vec::new(),
            challenge: code.challenge(),
        }
    }
}

impl Problem {
    /// A problem with more to say than its code has.
    pub fn with_detail(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: detail.into(),
            ..code.into()
        }
    }

    /// A request that cannot be read, and why.
    pub fn invalid_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            detail: detail.into(),
            ..Code::InvalidRequest.into()
        }
    }

    /// Values that are not allowed.
    #[must_use]
    pub fn validation_failed(errors: Vec<InvalidValue>) -> Self {
        Self {
            errors,
            ..Code::ValidationFailed.into()
        }
    }

    /// A password that is too weak, and the pointer to it.
    #[must_use]
    pub fn weak_password(pointer: &'static str, weakness: WeakPassword) -> Self {
        Self {
            errors: vec![InvalidValue::new(
                pointer,
                weakness.code(),
                weakness.to_string(),
            )],
            ..Code::WeakPassword.into()
        }
    }

    /// No credentials were sent, so the challenge names no error (RFC 6750 section 3.1).
    #[must_use]
    pub fn missing_token() -> Self {
        Self {
            detail: "Send an access token: Authorization: Bearer <access token>.".into(),
            challenge: Some(CHALLENGE_WITHOUT_ERROR),
            ..Code::InvalidToken.into()
        }
    }

    /// Something is broken on our side. What, was logged; the client is not told.
    #[must_use]
    pub fn internal() -> Self {
        Code::InternalError.into()
    }

    /// The body for a request.
    #[must_use]
    pub fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            r#type: format!("urn:latchkey:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            code: self.code,
            request_id,
            errors: &self.errors,
        }
    }

    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        if let Some(challenge) = self.challenge {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        }
        if self.code == Code::TemporarilyUnavailable {
            headers.push((RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS)));
        }
        headers
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.headers_mut().extend(self.headers());
        response.extensions_mut().insert(self);
        response
    }
}

// From here on: which refusal of the domain is which problem.

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable => Code::TemporarilyUnavailable.into(),
            StoreError::Corrupt => Self::internal(),
        }
    }
}

impl<E: Into<Self>> From<Failure<E>> for Problem {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Refused(refused) => refused.into(),
            Failure::Store(error) => error.into(),
        }
    }
}

impl From<CallerNotLive> for Problem {
    fn from(_: CallerNotLive) -> Self {
        Code::InvalidToken.into()
    }
}

impl From<InvalidEmail> for Problem {
    fn from(error: InvalidEmail) -> Self {
        Self::validation_failed(vec![InvalidValue::new(
            "#/email",
            "invalid_email",
            error.to_string(),
        )])
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::EmailTaken => Code::EmailTaken.into(),
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::InvalidCredentials => Code::InvalidCredentials.into(),
            LoginError::AccountDisabled => Code::AccountDisabled.into(),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Code::InvalidRefreshToken.into(),
            RefreshError::Superseded => Code::RefreshTokenSuperseded.into(),
            RefreshError::Reused => Code::RefreshTokenReused.into(),
        }
    }
}

impl From<RevokeError> for Problem {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::CallerNotLive => Code::InvalidToken.into(),
            RevokeError::NotFound => Code::SessionNotFound.into(),
        }
    }
}

impl From<ConfirmError> for Problem {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::CallerNotLive => Code::InvalidToken.into(),
            ConfirmError::WrongPassword => Code::WrongPassword.into(),
            ConfirmError::Weak(weakness) => Self::weak_password("#/new_password", weakness),
        }
    }
}
