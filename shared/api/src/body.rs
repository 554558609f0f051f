//! Bodies: JSON of at most 16 KiB, read in one place.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use latchkey_domain::device::{ClientHints, Device};
use latchkey_domain::password::Password;
use latchkey_domain::session::ClientLocation;
use latchkey_domain::text::{self, InvalidName};
use latchkey_domain::token::Token;
use serde::de::{self, DeserializeOwned, Error as _, IgnoredAny, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use utoipa::ToSchema;

use crate::headers;
use crate::location::{ClientHeaders, Places};
use crate::mistake::Mistake;
use crate::problem::{Code, InvalidValue, Problem};

/// The largest body, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// The event of a gateway says that its body is in base64, and it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is not the base64 that the event says it is")]
pub struct NotBase64;

/// A body that is a JSON object. Fields that are not known are ignored.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read(request, is_json, Code::UnsupportedMediaType.into()).await?;
        if bytes.trim_ascii().is_empty() {
            return Err(Problem::invalid_request(
                "The body is empty. Send a JSON object.",
            ));
        }
        if !is_object(&bytes) {
            return Err(Problem::invalid_request("The body is not a JSON object."));
        }
        // The library skips what it does not know unread, and a text that is no UTF-8 is no JSON (RFC 8259 section 8.1).
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::invalid_request("The body is not in UTF-8."))?;
        let mut json = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| json_problem(&error.path().to_string(), error.inner()))?;
        json.end()
            .map_err(|_| Problem::invalid_request("The body is more than one JSON value."))?;
        Ok(Self(value))
    }
}

/// No body, or an object without fields, which some clients send with every POST: for a route on which a field would be
/// taken for a wish, and do nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let any_type = |_: &HeaderMap| true;
        let bytes = read(request, any_type, Code::UnsupportedMediaType.into()).await?;
        let mut text = bytes.iter().filter(|byte| !byte.is_ascii_whitespace());
        match (text.next(), text.next(), text.next()) {
            (None, ..) | (Some(b'{'), Some(b'}'), None) => Ok(Self),
            (Some(_), ..) => Err(Problem::invalid_request("This route takes no body.")),
        }
    }
}

/// Whether a body begins as an object does, after white space (RFC 8259 section 2). Serde would read a struct from an
/// array too, field by field in their order in the code.
fn is_object(body: &[u8]) -> bool {
    let mut rest = body.iter().skip_while(|byte| b" \t\r\n".contains(byte));
    rest.next() == Some(&b'{')
}

/// What is wrong with a body that begins as an object. `path` is where. The library's own message may repeat a value of
/// the body, which may be a password, so [`Mistake`] takes nothing from it but our own words.
fn json_problem(path: &str, error: &serde_json::Error) -> Problem {
    let at = (path != ".").then(|| shorten(path));
    let message = error.to_string();
    let mistake = Mistake::in_message(&message);
    let detail = match (at, mistake) {
        (Some(at), Some(Mistake::Missing(field))) => format!("The field {at}.{field} is missing."),
        (None, Some(Mistake::Missing(field))) => format!("The field {field} is missing."),
        (Some(at), Some(Mistake::Twice(field))) => {
            format!("The field {at}.{field} is there twice.")
        }
        (None, Some(Mistake::Twice(field))) => format!("The field {field} is there twice."),
        (Some(at), Some(Mistake::Expected(what))) => format!("The field {at} must be {what}."),
        (Some(at), None) if error.is_data() => {
            format!("The field {at} has a value that is not allowed.")
        }
        (Some(at), None) if message.starts_with("number out of range") => {
            format!("The field {at} has a number that is out of range.")
        }
        (Some(_) | None, Some(Mistake::Expected(_)) | None) => format!(
            "The body is not well-formed JSON: see line {}, column {}.",
            error.line(),
            error.column()
        ),
    };
    Problem::invalid_request(detail)
}

/// Names of fields and parameters are the client's own text: shown short and plain.
pub(crate) fn shorten(path: &str) -> String {
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
        if error.is::<NotBase64>() {
            return Problem::invalid_request("The body is not the base64 that it is said to be.");
        }
        source = error.source();
    }
    Problem::invalid_request("The body could not be read.")
}

/// Reads a body whose headers say that it is what is read here, as it is. `of_another_type` is the problem of any other.
pub(crate) async fn read(
    request: Request,
    is_expected: fn(&HeaderMap) -> bool,
    of_another_type: Problem,
) -> Result<Bytes, Problem> {
    if !is_expected(request.headers()) {
        return Err(of_another_type);
    }
    if !is_plain(request.headers()) {
        // RFC 9110 section 15.5.16: by this header a client sees that it was not the media type.
        return Err(Problem::from(Code::UnsupportedMediaType)
            .with_detail("Send the body without a content coding.")
            .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    axum::body::to_bytes(request.into_body(), MAX_BODY_BYTES)
        .await
        .map_err(|error| body_problem(&error))
}

/// Whether one media type is given, and it is `application/json` or one that is built on it (RFC 6839 section 3.1).
fn is_json(headers: &HeaderMap) -> bool {
    let Some((kind, subtype)) = media_type(headers).and_then(|essence| essence.split_once('/'))
    else {
        return false;
    };
    let subtype = subtype.to_ascii_lowercase();
    kind.eq_ignore_ascii_case("application")
        && subtype.bytes().all(is_token_byte)
        && (subtype == "json" || subtype.len() > "+json".len() && subtype.ends_with("+json"))
}

/// The one media type that is given, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers::values(headers, CONTENT_TYPE.as_str()).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    value.to_str().ok()?.split(';').next().map(str::trim)
}

/// What a type may be made of (RFC 9110 sections 5.6.2 and 8.3.1).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a body comes in no coding but `identity`, which is none (RFC 9110 section 8.4).
fn is_plain(headers: &HeaderMap) -> bool {
    let mut values = headers::values(headers, CONTENT_ENCODING.as_str()).iter();
    values.all(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.all(|coding| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        })
    })
}

/// Checks a name that a person gives to a session.
///
/// # Errors
/// 422 for what [`text::check_name`](latchkey_domain::text::check_name) refuses.
pub fn check_name(pointer: &'static str, name: &str) -> Result<(), Problem> {
    text::check_name(name).map_err(|error| invalid_name(pointer, error))
}

/// Checks the name of a device. One of too many bytes is accepted and cut, because a sign-in must not fail for it.
fn check_device_name(pointer: &'static str, name: &str) -> Result<(), Problem> {
    match text::check_name(name) {
        Ok(()) | Err(InvalidName::TooManyBytes) => Ok(()),
        Err(error) => Err(invalid_name(pointer, error)),
    }
}

fn invalid_name(pointer: &'static str, error: InvalidName) -> Problem {
    let code = match error {
        InvalidName::Empty => "too_short",
        InvalidName::TooManyCharacters | InvalidName::TooManyBytes => "too_long",
        InvalidName::ControlCharacter => "control_character",
        InvalidName::DirectionMark => "direction_mark",
        InvalidName::Invisible => "invisible",
    };
    Problem::validation_failed(vec![InvalidValue::new(pointer, code, error.to_string())])
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
    /// The API that the access token is to be for, one of those that the deployment names. A token for another API than
    /// this one is accepted there alone. This API unless given.
    #[schema(example = "latchkey")]
    pub audience: Option<String>,
    /// How the refresh token travels: in the body, or, where the deployment has switched it on, in a cookie that scripts
    /// cannot read. In the body unless given.
    #[schema(example = "body")]
    pub transport: Option<String>,
    /// The last `device_token` that this client got for the account, so that other people's wrong passwords do not keep
    /// its user waiting. One that is not genuine, is somebody else's or has more than 4,096 bytes counts as none, as does any
    /// at a registration.
    #[schema(value_type = Option<String>, example = "eyJ0eXAiOiJkdCtqd3Qi...")]
    pub device_token: Option<Token>,
    /// Only a refresh and a sign-in from elsewhere are made for somebody else's client.
    #[serde(default, rename = "client", deserialize_with = "refuse")]
    #[schema(ignore)]
    pub no_client: (),
}

/// Refuses a field that another route has, and that would do nothing here.
fn refuse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    match Option::<IgnoredAny>::deserialize(deserializer)? {
        None => Ok(()),
        Some(IgnoredAny) => Err(D::Error::custom("this route has no such field")),
    }
}

impl CredentialsRequest {
    /// The device that signs in, by its name if one is given.
    ///
    /// # Errors
    /// 422 for a name that is not allowed.
    pub fn device(&self, client: &ClientHeaders) -> Result<Device, Problem> {
        if let Some(name) = &self.device_name {
            check_device_name("#/device_name", name)?;
        }
        Ok(client.device(self.device_name.as_deref()))
    }
}

/// Reads a whole number however JSON writes it: `1` and `1.0` are one (JSON Schema 2020-12, core, 4.2.3). One that is out of
/// bounds becomes the nearest that is within.
///
/// # Errors
/// What is no whole number.
pub fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    deserializer.deserialize_option(WholeNumber)
}

/// The same, of a number that is never negative.
///
/// # Errors
/// What is no whole number, and a negative one.
pub fn natural_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = whole_number(deserializer)?.map(u64::try_from).transpose();
    number
        .map_err(|_| D::Error::invalid_value(Unexpected::Other("a negative number"), &WholeNumber))
}

struct WholeNumber;

impl<'de> Visitor<'de> for WholeNumber {
    type Value = Option<i64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("i64")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        if value.fract() != 0.0 {
            return Err(E::invalid_value(Unexpected::Float(value), &self));
        }
        let nearest = if value < 0.0 { i64::MIN } else { i64::MAX };
        Ok(Some(format!("{value:.0}").parse().unwrap_or(nearest)))
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

/// The visitor for whom a service of yours calls. Only a client with the scope `sessions:issue` may send it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[schema(as = Visitor)]
pub struct VisitorRequest {
    /// The visitor's address.
    #[schema(example = "203.0.113.7")]
    pub ip_address: Option<String>,
    /// The visitor's User-Agent.
    #[schema(example = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")]
    pub user_agent: Option<String>,
    /// An id of the visitor's installation, as in `X-Device-Id`.
    pub device_id: Option<String>,
}

impl VisitorRequest {
    /// Where the visitor is. What the edge says of a place is said of the service that calls, so only `places` know this
    /// one.
    ///
    /// # Errors
    /// 422 for an address that is none.
    pub fn location(&self, places: &Places) -> Result<ClientLocation, Problem> {
        let address: Option<Result<IpAddr, _>> = self.ip_address.as_deref().map(str::parse);
        let address = address.transpose().map_err(|_| {
            let detail = "An address is one of IPv4 or IPv6.";
            let invalid = InvalidValue::new("#/client/ip_address", "invalid_address", detail);
            Problem::validation_failed(vec![invalid])
        })?;
        let located = address.map(|address| places.locate(address));
        Ok(located.unwrap_or_default())
    }

    /// What the visitor uses.
    #[must_use]
    pub fn device(&self) -> Device {
        let hints = ClientHints::default();
        let (agent, id) = (self.user_agent.as_deref(), self.device_id.as_deref());
        Device::describe(None, agent, id, hints)
    }
}

/// The body of a refresh.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub struct RefreshRequest {
    /// The newest refresh token that the client holds. Leave it out where a cookie holds it.
    #[schema(value_type = Option<String>, example = "eyJ0eXAiOiJydCtqd3Qi...")]
    pub refresh_token: Option<Token>,
    /// The API that the access token is to be for, as at sign-in. It is not kept: each refresh says it again.
    #[schema(example = "latchkey")]
    pub audience: Option<String>,
    /// The visitor for whom a service refreshes. The address becomes the session's; the device stays what it was at
    /// sign-in.
    pub client: Option<VisitorRequest>,
    /// For a page that does not know whether its browser has a cookie, which no script can see: true asks for 204 where
    /// there is none, in the place of 400, whatever else the body has.
    #[schema(example = false)]
    pub cookie_optional: Option<bool>,
}

/// The body of a sign-out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RefreshTokenRequest {
    /// The newest refresh token that the client holds.
    #[schema(value_type = String, example = "eyJ0eXAiOiJydCtqd3Qi...")]
    pub refresh_token: Token,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, values: &[&'static str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_static(value));
        values.map(|value| (name.clone(), value)).collect()
    }

    #[test]
    fn a_media_type_has_one_slash() {
        for (values, json) in [
            (&["application/json"][..], true),
            (&["APPLICATION/Json; charset=utf-8"], true),
            (&[" application/json ;"], true),
            (&["application/vnd.api+json"], true),
            (&["application/problem+JSON; a=b"], true),
            (&["application/foo/bar+json"], false),
            (&["application//json"], false),
            (&["/json"], false),
            (&["application/+json"], false),
            (&["application/a b+json"], false),
            (&["application/a,b+json"], false),
            (&["application/json, text/plain"], false),
            (&["application/json", "application/json"], false),
            (&["text/json"], false),
            (&["json"], false),
            (&[""], false),
            (&[], false),
        ] {
            assert_eq!(is_json(&headers(CONTENT_TYPE, values)), json, "{values:?}");
        }
    }

    #[test]
    fn a_whole_number_is_read_however_it_is_written() {
        let read = |written: &str| {
            let mut json = serde_json::Deserializer::from_str(written);
            let whole = whole_number(&mut json).ok();
            let mut json = serde_json::Deserializer::from_str(written);
            (whole, natural_number(&mut json).ok())
        };
        for (written, number) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0.0", 0),
            ("7", 7),
            ("7.0", 7),
            ("1772366400.0", 1_772_366_400),
            ("18446744073709551615", i64::MAX),
            ("1e30", i64::MAX),
        ] {
            let natural = u64::try_from(number).unwrap();
            let expected = (Some(Some(number)), Some(Some(natural)));
            assert_eq!(read(written), expected, "{written}");
        }
        for (written, number) in [("-7.0", -7), ("-1", -1), ("-1e30", i64::MIN)] {
            assert_eq!(read(written), (Some(Some(number)), None), "{written}");
        }
        assert_eq!(read("null"), (Some(None), Some(None)));
        for written in ["0.5", "-0.5", "\"7\"", "true", "{}", "[7]"] {
            assert_eq!(read(written), (None, None), "{written}");
        }
    }

    #[test]
    fn a_body_has_no_coding() {
        for (values, plain) in [
            (&[][..], true),
            (&[""], true),
            (&["identity"], true),
            (&["Identity, identity"], true),
            (&["gzip"], false),
            (&["identity, gzip"], false),
            (&["identity", "br"], false),
            (&["x-foo"], false),
            (&["\"identity\""], false),
        ] {
            assert_eq!(
                is_plain(&headers(CONTENT_ENCODING, values)),
                plain,
                "{values:?}"
            );
        }
    }
}
