//! The OpenAPI document: generated from the routes, so it cannot differ from them.

use std::collections::BTreeMap;

use latchkey_domain::throttle::{Limit, Limits, Violation};
use serde::Serialize;
use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr,
    Schema,
};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use crate::oauth::{self, OAuthErrorBody};
use crate::parameter::Query;
use crate::problem::{Code, InvalidValue, PROBLEM_JSON, Problem, ProblemBody};

/// The name of the security scheme: an access token in the `Authorization` header.
pub const ACCESS_TOKEN: &str = "access_token";

/// The name of the security scheme: the credentials of a client of another service, by HTTP Basic.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";

/// What every route may answer.
const ALWAYS: [Code; 3] = [
    Code::EdgeRequired,
    Code::InternalError,
    Code::TemporarilyUnavailable,
];
/// What a route that reads a body may answer, or one that looks whether there is none.
pub const WITH_BODY: [Code; 3] = [
    Code::InvalidRequest,
    Code::PayloadTooLarge,
    Code::UnsupportedMediaType,
];

/// The headers by which a sign-in describes its device, for the document; they are read by
/// [`ClientHeaders`](crate::location::ClientHeaders).
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct DeviceHeaders {
    /// An id that the client has chosen for this installation, the same at every request, and shown again as the
    /// session's `device_id`. A longer one than 64 bytes is cut and ends in a digest.
    // Without an example: pages that show the document would send it, and so end the session before.
    #[param(rename = "X-Device-Id", required = false, nullable = false)]
    pub device_id: Option<String>,
}

/// Documents the errors of a route: `codes`, and those that follow from its having a body, refusing a query or wanting an
/// access token or a client's credentials.
pub(crate) fn with_problems(mut paths: Paths, codes: &[Code], query: Query) -> Paths {
    for (path, item) in &mut paths.paths {
        let as_oauth = oauth::is_endpoint(path);
        for operation in operations(item) {
            let mut all: Vec<Code> = codes.iter().copied().chain(ALWAYS).collect();
            if operation.request_body.is_some() {
                all.extend(WITH_BODY);
            }
            if query != Query::Ignored {
                all.push(Code::InvalidRequest);
            }
            let sent = sent_in_head(operation);
            if sent.in_target {
                all.push(Code::UriTooLong);
            }
            if sent.in_headers {
                all.push(Code::HeadersTooLarge);
            }
            if wants(operation, ACCESS_TOKEN) {
                all.extend([Code::InvalidToken, Code::InsufficientScope]);
            }
            if wants(operation, CLIENT_CREDENTIALS) {
                all.extend([Code::InvalidClient, Code::UnauthorizedClient]);
            }
            leave_out_or_send(operation);
            all.sort_unstable();
            all.dedup();
            if as_oauth {
                document_oauth(operation, &all);
            } else {
                document(operation, &all);
            }
            document_throttling(operation);
        }
    }
    paths
}

/// Whether an operation is refused without what a security scheme names.
fn wants(operation: &Operation, scheme: &str) -> bool {
    let without = SecurityRequirement::default();
    // utoipa shows what a requirement names in its JSON alone. An operation may also name scopes.
    let names = |way: &SecurityRequirement| {
        serde_json::to_value(way).is_ok_and(|way| way.get(scheme).is_some())
    };
    let ways = operation.security.as_ref();
    ways.is_some_and(|ways| !ways.contains(&without) && ways.iter().any(names))
}

/// Where an operation takes something of a client in the head of a request, which what stands before the routes measures.
struct SentInHead {
    in_target: bool,
    in_headers: bool,
}

fn sent_in_head(operation: &Operation) -> SentInHead {
    let parameters = operation.parameters.iter().flatten();
    let places = parameters.filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(&parameter.parameter_in),
        RefOr::Ref(_) => None,
    });
    let mut sent = SentInHead {
        in_target: false,
        in_headers: operation.security.is_some(),
    };
    for place in places {
        match place {
            ParameterIn::Path | ParameterIn::Query | ParameterIn::QueryString => {
                sent.in_target = true;
            }
            ParameterIn::Header | ParameterIn::Cookie => sent.in_headers = true,
        }
    }
    sent
}

/// A body that need not be sent is the object or nothing. utoipa documents an `Option` as the object or JSON's `null`,
/// which is refused.
fn leave_out_or_send(operation: &mut Operation) {
    let Some(RefOr::T(body)) = &mut operation.request_body else {
        return;
    };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else {
            continue;
        };
        if let Some(RefOr::T(Schema::OneOf(one_of))) = &content.schema {
            let mut items = one_of.items.iter();
            content.schema = items.find(|item| matches!(item, RefOr::Ref(_))).cloned();
        }
    }
}

/// The operations of a path.
pub fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .flatten()
}

fn document(operation: &mut Operation, codes: &[Code]) {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        by_status
            .entry(code.status().as_u16())
            .or_default()
            .push(*code);
    }
    for (status, codes) in by_status {
        let examples = codes.iter().map(|code| {
            let example = ExampleBuilder::new()
                .summary(code.title())
                .value(Some(example(*code)));
            (code.as_str().to_owned(), example.build())
        });
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(ProblemBody::name())))
            .examples_from_iter(examples)
            .build();
        let described: Vec<String> = codes
            .iter()
            .map(|code| format!("`{}`: {}", code.as_str(), code.title()))
            .collect();
        let mut response = ResponseBuilder::new()
            .description(described.join("; "))
            .content(PROBLEM_JSON, content);
        for (name, meaning) in headers(status) {
            response = response.header(*name, text_header(meaning));
        }
        let mut response = response.build();
        let responses = &mut operation.responses.responses;
        // A page says the same in HTML.
        if let Some(RefOr::T(own)) = responses.remove(&status.to_string()) {
            response.content.extend(own.content);
        }
        responses.insert(status.to_string(), RefOr::T(response));
    }
}

/// Documents the errors of an endpoint of OAuth.
fn document_oauth(operation: &mut Operation, codes: &[Code]) {
    let mut by_status: Vec<(http::StatusCode, Vec<Code>)> = Vec::new();
    for code in codes {
        let (status, _) = oauth::error_of(*code);
        match by_status.iter_mut().find(|(known, _)| *known == status) {
            Some((_, same)) => same.push(*code),
            None => by_status.push((status, vec![*code])),
        }
    }
    for (status, codes) in by_status {
        let examples = codes.iter().map(|code| {
            let problem = Problem::from(*code);
            let example = ExampleBuilder::new()
                .summary(code.title())
                .value(Some(json!(oauth::body_of(&problem))));
            (code.as_str().to_owned(), example.build())
        });
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(OAuthErrorBody::name())))
            .examples_from_iter(examples)
            .build();
        let described = codes.iter().map(|code| {
            let (_, error) = oauth::error_of(*code);
            format!("`{error}`: {}", code.title())
        });
        let described: Vec<String> = described.collect();
        let mut response = ResponseBuilder::new()
            .description(described.join("; "))
            .content("application/json", content);
        for (name, meaning) in headers(status.as_u16()) {
            response = response.header(*name, text_header(meaning));
        }
        let responses = &mut operation.responses.responses;
        responses.insert(status.as_str().to_owned(), RefOr::T(response.build()));
    }
}

/// What a client gets that sends too much, from the gateway or the firewall before any function is asked. A function's own
/// 429 is a problem.
#[derive(Debug, Serialize, ToSchema)]
pub struct Throttled {
    /// The gateway's own words.
    #[schema(required = false, nullable = false, example = "Too Many Requests")]
    message: Option<String>,
    /// A stable name, if the firewall has answered.
    #[schema(required = false, nullable = false, example = "too_many_requests")]
    code: Option<String>,
    /// What it means here, if the firewall has answered.
    #[schema(required = false, nullable = false, example = "Wait a few minutes.")]
    detail: Option<String>,
}

/// The body of the firewall, in the form of our own problems, without what it cannot know. A test compares it with the
/// firewall's template.
#[must_use]
pub fn body_of_firewall() -> serde_json::Value {
    let code = Code::TooManyRequests;
    json!({
        "type": format!("urn:latchkey:problem:{}", code.as_str()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "code": code.as_str(),
        "detail": "Wait a few minutes.",
    })
}

/// Every route may be answered by what stands before it.
fn document_throttling(operation: &mut Operation) {
    const STATUS: &str = "429";
    let described = |summary: &str, value| {
        let example = ExampleBuilder::new().summary(summary);
        example.value(Some(value)).build()
    };
    let gateway = json!({"message": "Too Many Requests"});
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Throttled::name())))
        .examples_from_iter([
            ("gateway", described("API Gateway", gateway)),
            ("firewall", described("The firewall", body_of_firewall())),
        ])
        .build();
    let responses = &mut operation.responses.responses;
    let mut response = match responses.remove(STATUS) {
        Some(RefOr::T(response)) => response,
        Some(RefOr::Ref(_)) | None => ResponseBuilder::new()
            .header(
                "Retry-After",
                text_header("Seconds until it may be tried again"),
            )
            .build(),
    };
    response.description =
        "Too many requests: try again later, after `Retry-After` if it is there".to_owned();
    let media = "application/json".to_owned();
    response.content.insert(media, RefOr::T(content));
    responses.insert(STATUS.to_owned(), RefOr::T(response));
}

fn headers(status: u16) -> &'static [(&'static str, &'static str)] {
    match status {
        401 => &[("WWW-Authenticate", "The challenge (RFC 6750, RFC 7617)")],
        415 => &[(
            "Accept-Encoding",
            "`identity`, if it is the coding of the body that is not supported",
        )],
        429 => &[
            ("Retry-After", "Seconds until it may be tried again"),
            (
                "RateLimit-Policy",
                "The limits that were exceeded: name, quota, window in seconds \
                 (draft-ietf-httpapi-ratelimit-headers-10)",
            ),
            (
                "RateLimit",
                "What is left of them: name, rest, seconds until there is more",
            ),
        ],
        503 => &[("Retry-After", "Seconds until it may be tried again")],
        _ => &[],
    }
}

fn text_header(meaning: &str) -> utoipa::openapi::header::Header {
    HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .description(Some(meaning))
        .build()
}

fn example(code: Code) -> serde_json::Value {
    let problem = match code {
        Code::ValidationFailed => Problem::validation_failed(vec![InvalidValue::new(
            "#/name",
            "too_long",
            "A name has at most 100 characters.",
        )]),
        Code::WeakPassword => Problem::weak_password(
            "#/password",
            latchkey_domain::password::WeakPassword::TooShort,
        ),
        Code::TooManyRequests => {
            let wait = chrono::TimeDelta::seconds(17);
            let (limit, limits) = (Limit::SignIn, Limits::default());
            let quota = limit.quota(&limits);
            latchkey_domain::throttle::Throttled::from(Violation { limit, quota, wait }).into()
        }
        other => other.into(),
    };
    json!(problem.body("8f2c7c1e-2c1b-4b6e-9a55-0d3f6f0f5a51"))
}

/// The document that the routes of the functions are added to.
#[must_use]
pub fn document_without_routes() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Latchkey")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(
            LicenseBuilder::new()
                .name("Apache-2.0")
                .identifier(Some("Apache-2.0"))
                .build(),
        ))
        .build();
    let components = ComponentsBuilder::new()
        .schema(ProblemBody::name(), ProblemBody::schema())
        .schema(Code::name(), Code::schema())
        .schema(InvalidValue::name(), InvalidValue::schema())
        .schema(OAuthErrorBody::name(), OAuthErrorBody::schema())
        .schema(Throttled::name(), Throttled::schema())
        .security_scheme(
            ACCESS_TOKEN,
            SecurityScheme::Http(
                Http::builder()
                    .scheme(HttpAuthScheme::Bearer)
                    .bearer_format("JWT")
                    .description(Some("The access_token of a sign-in or a refresh."))
                    .build(),
            ),
        )
        .security_scheme(
            CLIENT_CREDENTIALS,
            SecurityScheme::Http(
                Http::builder()
                    .scheme(HttpAuthScheme::Basic)
                    .description(Some(
                        "The client id and a secret of a service, each form-urlencoded (RFC 6749 section 2.3.1).",
                    ))
                    .build(),
            ),
        )
        .build();
    let server = ServerBuilder::new()
        .url("/")
        .description(Some("The origin of this document"))
        .build();
    let tags = TAGS.map(|(name, meaning)| {
        TagBuilder::new()
            .name(name)
            .description(Some(meaning))
            .build()
    });
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([server]))
        .tags(Some(tags))
        .components(Some(components))
        .build()
}

/// The groups of routes, in the order in which they are shown.
const TAGS: [(&str, &str); 7] = [
    (
        "Authentication",
        "Register, sign in, refresh, sign out: what gives and ends tokens.",
    ),
    ("Sessions", "Where you are signed in, and how to end that."),
    ("Account", "Who you are to this service."),
    (
        "Administration",
        "The accounts and sessions of others, for administrators: users with the role `admin` who have proved who they \
         are within the last minutes. No account has the role until an operator grants it.",
    ),
    (
        "Clients",
        "What other services of yours ask for, with a client id and a secret.",
    ),
    (
        "Discovery",
        "What a client finds out by itself: keys, this document, this page.",
    ),
    (
        "Pages",
        "What people open in a browser; a setting turns each off.",
    ),
];

const DESCRIPTION: &str = "\
Sessions for people: register, sign in, see every device on which you are signed in, sign out one or all of them.

**Tokens.** Send the access token as `Authorization: Bearer <access_token>`. Before it expires, exchange the refresh \
token for a new pair. Each refresh token can be exchanged once; its predecessor gets the same successor again for 30 \
seconds, so a lost reply or a second tab does no harm. A replaced token used later than that ends the session, because \
somebody else may have it.

**Errors** are `application/problem+json` (RFC 9457). Decide by `code`, which never changes its meaning; `request_id` \
names the request in the service's logs. The routes under `/oauth/` answer errors as OAuth has it, \
`{\"error\": ...}` (RFC 6749 section 5.2), and name the request in the header `X-Request-Id`.

**Retries.** A 503 says `Retry-After`. A refresh may be repeated with the same token at once.";
