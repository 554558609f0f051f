//! Every error that a client can see: one code each, and the one place where a refusal of the domain becomes a reply
//! (RFC 9457).
//!
//! A problem says what the client may know and no more. What happened inside is logged where it is noticed.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use http::header::{self, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use latchkey_domain::client::ClientError;
use latchkey_domain::email::InvalidEmail;
use latchkey_domain::error::{
    AdminError, CallerNotLive, ConfirmError, InvalidLink, IssueLinkError, LinkRequestError,
    NotAdministrator, ReauthenticationRequired, RefreshError, RegisterError, ResetPasswordError,
    SessionError, SignInElsewhereError, SignInError, StepUpError, VerificationRequestError,
    VerifyEmailError, VisitorRefreshError,
};
use latchkey_domain::identity::InvalidAuthTime;
use latchkey_domain::password::WeakPassword;
use latchkey_domain::throttle::{Throttled, Violation};
use latchkey_domain::token::UnknownAudience;
use latchkey_service::Failure;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What is the same for every problem of a code.
#[derive(Clone, Copy, Debug)]
struct Row {
    name: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: &'static str,
    challenge: Option<&'static str>,
}

impl Row {
    /// Every 401 has a challenge (RFC 9110 section 11.6.1), which names no error unless the row says which.
    const fn new(
        name: &'static str,
        status: StatusCode,
        title: &'static str,
        detail: &'static str,
    ) -> Self {
        let challenge = match status.as_u16() {
            401 => Some(CHALLENGE_WITHOUT_ERROR),
            _ => None,
        };
        Self {
            name,
            status,
            title,
            detail,
            challenge,
        }
    }

    const fn challenging(mut self, challenge: &'static str) -> Self {
        self.challenge = Some(challenge);
        self
    }
}

/// No error code when no access token was sent, or when the token was not in question (RFC 6750 section 3.1).
const CHALLENGE_WITHOUT_ERROR: &str = r#"Bearer realm="latchkey""#;

/// For an access token that was sent and is not accepted (RFC 6750 section 3).
const CHALLENGE_INVALID_TOKEN: &str = r#"Bearer realm="latchkey", error="invalid_token", error_description="The access token is not valid""#;

/// For a genuine access token that does not allow what was asked for (RFC 6750 section 3.1).
const CHALLENGE_INSUFFICIENT_SCOPE: &str = r#"Bearer realm="latchkey", error="insufficient_scope", error_description="The access token does not allow this""#;

/// For a client of another service that has not proved who it is (RFC 7617 section 2).
const CHALLENGE_BASIC: &str = r#"Basic realm="latchkey", charset="UTF-8""#;

/// Makes the enum of codes, the list of all and the table of their rows.
macro_rules! codes {
    ($($(#[$meaning:meta])* $code:ident => $row:expr,)*) => {
        /// A stable name for what went wrong. Clients decide by it; it never changes its meaning, but new ones come.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$meaning])* $code,)*
        }

        impl Code {
            /// All codes, in the order in which they are documented.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            const fn row(self) -> Row {
                match self {
                    $(Self::$code => $row,)*
                }
            }
        }
    };
}

// A new code is one row here: its name, its status, what it means for people (the same each time, RFC 9457 section
// 3.1.3), and the same in more words, for when the place that noticed it has nothing to add.
codes! {
    /// The request cannot be read: malformed JSON, a field that is missing or of another type, a malformed id.
    InvalidRequest => Row::new(
        "invalid_request",
        StatusCode::BAD_REQUEST,
        "The request cannot be read",
        "The request is not in the documented form.",
    ),
    /// The request can be read, but a value is not allowed; `errors` says which.
    ValidationFailed => Row::new(
        "validation_failed",
        StatusCode::UNPROCESSABLE_ENTITY,
        "A value is not allowed",
        "At least one value is not allowed; see errors.",
    ),
    /// The password is too short, too long, too common, or contains the e-mail address; `errors` says which.
    WeakPassword => Row::new(
        "weak_password",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The password is too weak",
        "Choose another password; see errors.",
    ),
    /// The new password is the old one.
    PasswordUnchanged => Row::new(
        "password_unchanged",
        StatusCode::UNPROCESSABLE_ENTITY,
        "The new password is the old one",
        "Choose a password other than the current one.",
    ),
    /// The access token is missing, malformed or expired, or its session has ended.
    InvalidToken => Row::new(
        "invalid_token",
        StatusCode::UNAUTHORIZED,
        "There is no valid access token",
        "Send a valid access token of a session that has not ended.",
    )
    .challenging(CHALLENGE_INVALID_TOKEN),
    /// Wrong e-mail address or password.
    InvalidCredentials => Row::new(
        "invalid_credentials",
        StatusCode::UNAUTHORIZED,
        "Wrong e-mail address or password",
        "The e-mail address or the password is wrong.",
    ),
    /// The refresh token is not genuine or has expired, or its session has ended. Sign in again.
    InvalidRefreshToken => Row::new(
        "invalid_refresh_token",
        StatusCode::UNAUTHORIZED,
        "The refresh token is not valid",
        "Sign in again.",
    ),
    /// The refresh token was replaced longer than the grace ago, so somebody else may have it: its session has been ended.
    RefreshTokenReused => Row::new(
        "refresh_token_reused",
        StatusCode::UNAUTHORIZED,
        "The refresh token has been used again",
        "This refresh token had been replaced before, so the session has been ended. Sign in again.",
    ),
    /// The password was right, but an administrator has disabled the account.
    AccountDisabled => Row::new(
        "account_disabled",
        StatusCode::FORBIDDEN,
        "The account is disabled",
        "An administrator has disabled this account.",
    ),
    /// The password was right, but the user has yet to open the link that was sent to their address.
    EmailNotVerified => Row::new(
        "email_not_verified",
        StatusCode::FORBIDDEN,
        "The e-mail address is not verified",
        "Open the link that was sent to this address; resetting the password sends another one, which verifies it too.",
    ),
    /// Nobody may register here.
    RegistrationClosed => Row::new(
        "registration_closed",
        StatusCode::FORBIDDEN,
        "Registration is closed",
        "Accounts are not made here.",
    ),
    /// A link that was sent by mail does nothing: it is not genuine, has expired, was used, or is for something else.
    InvalidLink => Row::new(
        "invalid_link",
        StatusCode::BAD_REQUEST,
        "The link is not valid",
        "The link has expired or was used; ask for another one.",
    ),
    /// That is not the password of the account.
    WrongPassword => Row::new(
        "wrong_password",
        StatusCode::FORBIDDEN,
        "Wrong password",
        "The current password is wrong.",
    ),
    /// The access token does not allow this: another scope is needed, or a role that the user does not have.
    InsufficientScope => Row::new(
        "insufficient_scope",
        StatusCode::FORBIDDEN,
        "The access token does not allow this",
        "Send an access token whose scope allows this.",
    )
    .challenging(CHALLENGE_INSUFFICIENT_SCOPE),
    /// The credentials of a client of another service are missing or wrong (RFC 6749 section 5.2).
    InvalidClient => Row::new(
        "invalid_client",
        StatusCode::UNAUTHORIZED,
        "The client's credentials are not valid",
        "Send the client id and one of its secrets by HTTP Basic.",
    )
    .challenging(CHALLENGE_BASIC),
    /// The client of another service does not have the scope for this, or speaks for another issuer (RFC 6749 section 5.2).
    UnauthorizedClient => Row::new(
        "unauthorized_client",
        StatusCode::FORBIDDEN,
        "The client may not do this",
        "The client does not have the scope for this, or may not speak for this issuer.",
    ),
    /// The user has not proved who they are recently enough for this: authenticate again, then repeat the request.
    ReauthenticationRequired => Row::new(
        "reauthentication_required",
        StatusCode::FORBIDDEN,
        "Authenticate again",
        "Prove who you are again, then repeat the request with the new access token.",
    ),
    /// An administrator may not disable or delete their own account here, or take the role of administration from it.
    OwnAccount => Row::new(
        "own_account",
        StatusCode::CONFLICT,
        "This is your own account",
        "Administrators cannot lock themselves out; another administrator or a command can do this.",
    ),
    /// The request has come with a cookie, and not from a page that may send it.
    CrossSiteRequest => Row::new(
        "cross_site_request",
        StatusCode::FORBIDDEN,
        "The request came from another site",
        "A cookie counts only in requests of this site's pages and of those in ALLOWED_ORIGINS.",
    ),
    /// The service stands behind CloudFront, and the request has come past it.
    EdgeRequired => Row::new(
        "edge_required",
        StatusCode::FORBIDDEN,
        "The request did not come through the public address",
        "Call the service by its public address.",
    ),
    /// There is no such session of yours that is still live.
    SessionNotFound => Row::new(
        "session_not_found",
        StatusCode::NOT_FOUND,
        "No such session",
        "You have no such session, or it has ended.",
    ),
    /// There is no such user, or the account is deleted.
    UserNotFound => Row::new(
        "user_not_found",
        StatusCode::NOT_FOUND,
        "No such user",
        "There is no such user, or the account is deleted.",
    ),
    /// There is no such route.
    NotFound => Row::new(
        "not_found",
        StatusCode::NOT_FOUND,
        "No such route",
        "There is nothing at this path.",
    ),
    /// The route does not take this method; `Allow` says which it takes.
    MethodNotAllowed => Row::new(
        "method_not_allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        "This path does not take this method; see the Allow header.",
    ),
    /// Somebody has registered this e-mail address.
    EmailTaken => Row::new(
        "email_taken",
        StatusCode::CONFLICT,
        "The e-mail address is taken",
        "An account with this e-mail address exists; sign in instead.",
    ),
    /// The account has no password, because its user signs in elsewhere.
    NoPassword => Row::new(
        "no_password",
        StatusCode::CONFLICT,
        "The account has no password",
        "This user signs in elsewhere, so there is no password to give or to change.",
    ),
    /// The account has changed since its user asked for the link, so that the link would do nothing.
    RequestOvertaken => Row::new(
        "request_overtaken",
        StatusCode::CONFLICT,
        "The request is out of date",
        "The account has changed since the link was asked for: there is no link, and nothing to send.",
    ),
    /// The body is larger than 16 KiB.
    PayloadTooLarge => Row::new(
        "payload_too_large",
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body is too large",
        "A body has at most 16 KiB.",
    ),
    /// The body is not `application/json`, or it comes in a content coding.
    UnsupportedMediaType => Row::new(
        "unsupported_media_type",
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "The body's type or coding is not supported",
        "Send the body as application/json.",
    ),
    /// The body did not come within a few seconds. Only the local stack answers so.
    RequestTimeout => Row::new(
        "request_timeout",
        StatusCode::REQUEST_TIMEOUT,
        "The body did not come in time",
        "Send the body together with the headers.",
    ),
    /// `Host` is not a name of this machine. Only the local stack answers so.
    HostNotAllowed => Row::new(
        "host_not_allowed",
        StatusCode::MISDIRECTED_REQUEST,
        "Not a name of this server",
        "The local stack answers to 127.0.0.1, localhost and [::1], and to the host of ISSUER.",
    ),
    /// A web page of another origin has sent this. Only the local stack answers so, and only for its own routes.
    OriginNotAllowed => Row::new(
        "origin_not_allowed",
        StatusCode::FORBIDDEN,
        "Not for pages of other origins",
        "A web page of another origin may not call this; call it from a terminal.",
    ),
    /// The path and the query are longer than 10,240 bytes. Only the local stack answers so.
    UriTooLong => Row::new(
        "uri_too_long",
        StatusCode::URI_TOO_LONG,
        "The path is too long",
        "The path and the query have at most 10,240 bytes.",
    ),
    /// The path and the headers are larger than 10,240 bytes. Only the local stack answers so.
    HeadersTooLarge => Row::new(
        "headers_too_large",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too large",
        "The path and the headers have at most 10,240 bytes together.",
    ),
    /// Something was tried too often: wait for `Retry-After` seconds. `violated-policies` names the limits.
    TooManyRequests => Row::new(
        "too_many_requests",
        StatusCode::TOO_MANY_REQUESTS,
        "Too many requests",
        "Try again when the time in Retry-After is over.",
    ),
    /// Something is broken on our side.
    InternalError => Row::new(
        "internal_error",
        StatusCode::INTERNAL_SERVER_ERROR,
        "Internal error",
        "Something is broken on our side; tell us the request_id.",
    ),
    /// Busy or out of reach for a moment: try again after `Retry-After` seconds.
    TemporarilyUnavailable => Row::new(
        "temporarily_unavailable",
        StatusCode::SERVICE_UNAVAILABLE,
        "Temporarily unavailable",
        "Try again in a moment.",
    ),
}

impl Code {
    /// The code as it stands in JSON and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// The status of its replies.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// What it means, for people, the same each time (RFC 9457 section 3.1.3).
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// What it means in more words, when the place that noticed it has nothing to add.
    #[must_use]
    pub const fn default_detail(self) -> &'static str {
        self.row().detail
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl ToSchema for Code {}

/// An open string, not an enumeration: a client that was generated from an older document must take a newer code.
impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let known: Vec<String> = Self::ALL
            .iter()
            .map(|code| format!("`{}`", code.as_str()))
            .collect();
        let description = format!(
            "A stable name for what went wrong. Decide by it. A code never changes its meaning, but new ones are \
             added: treat one that you do not know as its status alone. Known today: {}.",
            known.join(", ")
        );
        let examples = Self::ALL.iter().map(|code| json!(code.as_str()));
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(description))
            .examples(examples)
            .into()
    }
}

/// When to try again unless a problem says otherwise: far below the grace of a refresh.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// An error as a client sees it. It turns into a reply; [`crate::http::service`] adds the `request_id`.
///
/// ```
/// use latchkey_api::problem::{Code, InvalidValue, Problem};
///
/// let name = InvalidValue::new("#/name", "too_long", "The name is too long.");
/// let problem = Problem::validation_failed(vec![name]);
/// assert_eq!(problem.code, Code::ValidationFailed);
/// assert_eq!(Problem::from(Code::SessionNotFound).code, Code::SessionNotFound);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub code: Code,
    detail: Cow<'static, str>,
    errors: Vec<InvalidValue>,
    throttled: Option<Box<Throttled>>,
    challenge: Option<&'static str>,
    retry_after: Option<Duration>,
    additional: Vec<(HeaderName, HeaderValue)>,
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
    /// With `too_many_requests`: the limits that were exceeded, as `RateLimit-Policy` names them.
    #[serde(rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["signin"]))]
    violated_policies: Vec<&'static str>,
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self {
            code,
            detail: code.default_detail().into(),
            errors: Vec::new(),
            throttled: None,
            challenge: code.row().challenge,
            retry_after: match code.status() {
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    Some(RETRY_AFTER)
                }
                _ => None,
            },
            additional: Vec::new(),
        }
    }
}

impl Problem {
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

    /// The same, about the value at a JSON pointer in a fragment (RFC 6901 section 6), unless it has one: only a handler knows
    /// where in its body a value stood whose name differs from route to route.
    #[must_use]
    pub fn at(mut self, pointer: &'static str) -> Self {
        let unplaced = |error: &&mut InvalidValue| error.pointer == WHOLE_BODY;
        for error in self.errors.iter_mut().filter(unplaced) {
            error.pointer = pointer.into();
        }
        self
    }

    /// The same, to be tried again after another time than the usual second. Sent in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same, in other words than those that the code always has.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The same, with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.additional.push((name, value));
        self
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
            violated_policies: self
                .throttled
                .iter()
                .flat_map(|throttled| throttled.violations())
                .map(|violation| violation.limit.name())
                .collect(),
        }
    }

    /// What it means here, for people.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        if let Some(challenge) = self.challenge {
            headers.push((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        }
        if let Some(wait) = self.retry_after {
            headers.push((header::RETRY_AFTER, whole_seconds(wait).into()));
        }
        headers.extend(self.additional.iter().cloned());
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

// From here on: which refusal of the domain is which problem. The rules do not know where in a body a value stood. A value
// that has one name on all routes has its pointer here; to another the handler adds it with `Problem::at`.

/// The pointer to everything (RFC 6901 section 5).
const WHOLE_BODY: &str = "#";
/// The code of a value that is no e-mail address.
const INVALID_EMAIL: &str = "invalid_email";

impl<E: Into<Self>> From<Failure<E>> for Problem {
    fn from(failure: Failure<E>) -> Self {
        match failure {
            Failure::Refused(refused) => refused.into(),
            Failure::Throttled(throttled) => throttled.into(),
            Failure::Unavailable => Code::TemporarilyUnavailable.into(),
            Failure::Internal => Self::internal(),
        }
    }
}

/// Which limits there are, as structured fields (draft-ietf-httpapi-ratelimit-headers-10, section 3).
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of them (section 4).
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

impl From<Throttled> for Problem {
    fn from(throttled: Throttled) -> Self {
        let list = |item: fn(Violation) -> String| {
            let items: Vec<String> = throttled.violations().map(item).collect();
            HeaderValue::try_from(items.join(", ")).ok()
        };
        let policy = list(|Violation { limit, quota, .. }| {
            let window = limit
                .window()
                .map(|window| format!(";w={}", window.num_seconds()));
            format!(
                "\"{}\";q={quota}{}",
                limit.name(),
                window.unwrap_or_default()
            )
        });
        let left = list(|Violation { limit, wait, .. }| {
            format!(
                "\"{}\";r=0;t={}",
                limit.name(),
                whole_seconds(as_duration(wait))
            )
        });
        let headers = [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)];
        let problem = Self {
            throttled: Some(Box::new(throttled)),
            ..Code::TooManyRequests.into()
        };
        headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .fold(problem, |problem, (name, value)| {
                problem.with_header(name, value)
            })
            .retry_after(as_duration(throttled.wait()))
    }
}

/// A wait is never negative.
fn as_duration(wait: TimeDelta) -> Duration {
    wait.to_std().unwrap_or_default()
}

/// A wait in whole seconds: never too short.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl From<CallerNotLive> for Problem {
    fn from(_: CallerNotLive) -> Self {
        Code::InvalidToken.into()
    }
}

impl From<VerificationRequestError> for Problem {
    fn from(error: VerificationRequestError) -> Self {
        match error {
            VerificationRequestError::CallerNotLive(ended) => ended.into(),
            VerificationRequestError::NoPassword => Code::NoPassword.into(),
        }
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Invalid => Code::InvalidClient.into(),
            ClientError::NotAllowed | ClientError::OtherIssuer => Code::UnauthorizedClient.into(),
        }
    }
}

impl From<ReauthenticationRequired> for Problem {
    fn from(_: ReauthenticationRequired) -> Self {
        Code::ReauthenticationRequired.into()
    }
}

impl From<NotAdministrator> for Problem {
    fn from(error: NotAdministrator) -> Self {
        match error {
            NotAdministrator::CallerNotLive => Code::InvalidToken.into(),
            NotAdministrator::NotAllowed => Code::InsufficientScope.into(),
            NotAdministrator::ReauthenticationRequired(error) => error.into(),
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::UserNotFound => Code::UserNotFound.into(),
            AdminError::SessionNotFound => Self::from(Code::SessionNotFound)
                .with_detail("The user has no such session, or it has ended."),
            AdminError::TooManyRoles => Self::validation_failed(vec![InvalidValue::new(
                "#/roles",
                "too_many",
                error.to_string(),
            )]),
            AdminError::NoPassword => Code::NoPassword.into(),
            AdminError::OwnAccount => Code::OwnAccount.into(),
        }
    }
}

impl From<InvalidLink> for Problem {
    fn from(_: InvalidLink) -> Self {
        Code::InvalidLink.into()
    }
}

impl From<LinkRequestError> for Problem {
    fn from(error: LinkRequestError) -> Self {
        match error {
            LinkRequestError::Email(error) => error.into(),
        }
    }
}

impl From<VerifyEmailError> for Problem {
    fn from(error: VerifyEmailError) -> Self {
        match error {
            VerifyEmailError::Link(error) => error.into(),
            VerifyEmailError::EmailTaken => Code::EmailTaken.into(),
        }
    }
}

impl From<ResetPasswordError> for Problem {
    fn from(error: ResetPasswordError) -> Self {
        match error {
            ResetPasswordError::Link(error) => error.into(),
            ResetPasswordError::Weak(weakness) => Self::weak_password(WHOLE_BODY, weakness),
        }
    }
}

impl From<IssueLinkError> for Problem {
    fn from(error: IssueLinkError) -> Self {
        match error {
            IssueLinkError::Client(error) => error.into(),
            IssueLinkError::UserNotFound => Code::UserNotFound.into(),
            IssueLinkError::NoPassword => Code::NoPassword.into(),
            IssueLinkError::EmailTaken => Code::EmailTaken.into(),
            IssueLinkError::Overtaken => Code::RequestOvertaken.into(),
        }
    }
}

impl From<UnknownAudience> for Problem {
    fn from(error: UnknownAudience) -> Self {
        // The name that RFC 8707 section 2 has for it.
        let value = InvalidValue::new("#/audience", "invalid_target", error.to_string());
        Self::validation_failed(vec![value])
    }
}

impl From<StepUpError> for Problem {
    fn from(error: StepUpError) -> Self {
        match error {
            StepUpError::CallerNotLive(ended) => ended.into(),
            StepUpError::ReauthenticationRequired(required) => required.into(),
        }
    }
}

impl From<InvalidEmail> for Problem {
    fn from(error: InvalidEmail) -> Self {
        Self::validation_failed(vec![InvalidValue::new(
            WHOLE_BODY,
            INVALID_EMAIL,
            error.to_string(),
        )])
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Email(error) => Self::from(error).at("#/email"),
            RegisterError::Weak(weakness) => Self::weak_password("#/password", weakness),
            RegisterError::EmailAndPassword(invalid, weakness) => Self::validation_failed(vec![
                InvalidValue::new("#/email", INVALID_EMAIL, invalid.to_string()),
                InvalidValue::new("#/password", weakness.code(), weakness.to_string()),
            ]),
            RegisterError::EmailTaken => Code::EmailTaken.into(),
            RegisterError::Closed => Code::RegistrationClosed.into(),
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::InvalidCredentials => Code::InvalidCredentials.into(),
            SignInError::AccountDisabled => Code::AccountDisabled.into(),
            SignInError::EmailNotVerified => Code::EmailNotVerified.into(),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Code::InvalidRefreshToken.into(),
            RefreshError::Reused => Code::RefreshTokenReused.into(),
        }
    }
}

impl From<SignInElsewhereError> for Problem {
    fn from(error: SignInElsewhereError) -> Self {
        match error {
            SignInElsewhereError::Client(error) => error.into(),
            SignInElsewhereError::AuthTime(error) => error.into(),
            SignInElsewhereError::AccountDisabled => Code::AccountDisabled.into(),
        }
    }
}

impl From<InvalidAuthTime> for Problem {
    fn from(error: InvalidAuthTime) -> Self {
        let code = match error {
            InvalidAuthTime::Future => "in_the_future",
            InvalidAuthTime::TooOld => "too_old",
        };
        Self::validation_failed(vec![InvalidValue::new(WHOLE_BODY, code, error.to_string())])
    }
}

impl From<VisitorRefreshError> for Problem {
    fn from(error: VisitorRefreshError) -> Self {
        match error {
            VisitorRefreshError::Client(error) => error.into(),
            VisitorRefreshError::Refresh(error) => error.into(),
        }
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::CallerNotLive => Code::InvalidToken.into(),
            SessionError::NotFound => Code::SessionNotFound.into(),
            SessionError::ReauthenticationRequired(required) => required.into(),
        }
    }
}

impl From<ConfirmError> for Problem {
    fn from(error: ConfirmError) -> Self {
        match error {
            ConfirmError::CallerNotLive => Code::InvalidToken.into(),
            ConfirmError::WrongPassword => Code::WrongPassword.into(),
            ConfirmError::Weak(weakness) => Self::weak_password(WHOLE_BODY, weakness),
            ConfirmError::Unchanged => Code::PasswordUnchanged.into(),
            ConfirmError::NoPassword => Code::NoPassword.into(),
            ConfirmError::EmailTaken => Code::EmailTaken.into(),
            ConfirmError::EmailUnchanged => Self::validation_failed(vec![InvalidValue::new(
                "#/email",
                "unchanged",
                error.to_string(),
            )]),
            ConfirmError::ReauthenticationRequired(required) => required.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use latchkey_domain::throttle::{Limit, Limits};

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_a_status_of_an_error() {
        let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().as_u16() >= 400, "{code:?}");
            let headers = Problem::from(*code).into_response().headers().clone();
            let is = |status: StatusCode| code.status() == status;
            assert_eq!(
                headers.contains_key(WWW_AUTHENTICATE),
                is(StatusCode::UNAUTHORIZED) || *code == Code::InsufficientScope,
                "{code:?}"
            );
            assert_eq!(
                headers.contains_key(header::RETRY_AFTER),
                is(StatusCode::TOO_MANY_REQUESTS) || is(StatusCode::SERVICE_UNAVAILABLE),
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_too_short() {
        for (milliseconds, told) in [(0, "0"), (1, "1"), (1_000, "1"), (1_001, "2")] {
            let problem = Problem::from(Code::TemporarilyUnavailable)
                .retry_after(Duration::from_millis(milliseconds));
            let response = problem.into_response();
            assert_eq!(response.headers()[header::RETRY_AFTER], told);
        }
    }

    #[test]
    fn a_client_that_is_throttled_is_told_by_which_limits_and_how_long() {
        let limits = Limits::default();
        let now = chrono::DateTime::UNIX_EPOCH;
        let violation = |limit, milliseconds| {
            Violation::new(
                limit,
                &limits,
                now + TimeDelta::milliseconds(milliseconds),
                now,
            )
        };
        let one = violation(Limit::SignIn, 16_001);
        let other = violation(Limit::Guesses, 900_000);
        for (throttled, policy, left, retry_after, names) in [
            (
                Throttled::from(one),
                r#""signin";q=60;w=60"#,
                r#""signin";r=0;t=17"#,
                "17",
                &["signin"][..],
            ),
            (
                Throttled {
                    one,
                    other: Some(other),
                },
                r#""signin";q=60;w=60, "guesses";q=10"#,
                r#""signin";r=0;t=17, "guesses";r=0;t=900"#,
                "900",
                &["signin", "guesses"],
            ),
        ] {
            let problem = Problem::from(throttled);
            let body = json!(problem.body("1"));
            assert_eq!(body["violated-policies"], json!(names));
            let headers = problem.into_response().headers().clone();
            assert_eq!(headers[RATE_LIMIT_POLICY], policy);
            assert_eq!(headers[RATE_LIMIT], left);
            assert_eq!(headers[header::RETRY_AFTER], retry_after);
        }
    }

    #[test]
    fn a_handler_says_where_a_value_stood() {
        let problem = Problem::from(InvalidEmail::AtSign);
        assert_eq!(problem.errors[0].pointer, "#");
        assert_eq!(problem.at("#/email").errors[0].pointer, "#/email");
    }
}
