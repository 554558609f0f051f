//! `POST /oauth/introspect`, `POST /oauth/revoke`, `POST /v1/service/sessions` and `POST /v1/service/users/{user_id}/links`:
//! what other services of yours ask about tokens, how they end one, how they start sessions for people who signed in
//! elsewhere, and where they get the links that they send.

mod link_request;
mod session_request;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::body::Body;
use latchkey_api::client::Basic;
use latchkey_api::form::{Form, TokenRequest};
use latchkey_api::handler;
use latchkey_api::location::Places;
use latchkey_api::oauth::IntrospectionResponse;
use latchkey_api::parameter::UserPath;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::TokenResponse;
use latchkey_api::routes::Routes;
use latchkey_service::Service;

use crate::link_request::{LinkRequest, LinkResource};
use crate::session_request::SessionRequest;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    R::new()
        .route(handler!(introspect), &[])
        .route(handler!(revoke_token), &[])
        .route(
            handler!(issue_session),
            &[Code::AccountDisabled, Code::ValidationFailed],
        )
        .route(
            handler!(issue_link),
            &[
                Code::UserNotFound,
                Code::NoPassword,
                Code::EmailTaken,
                Code::RequestOvertaken,
                Code::ValidationFailed,
            ],
        )
}

/// Ask whether a token is active
///
/// RFC 7662, for a client with the scope `introspect`. The answer is as of now: it reads the account, so a token whose
/// session has ended is not active from the moment of the end, and a role that was taken away is not in `scope`. Why one
/// is not active is not told.
#[utoipa::path(
    post,
    path = "/oauth/introspect",
    tag = "Clients",
    security(("client_credentials" = [])),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = OK, description = "What the token says, if it is active", body = IntrospectionResponse))
)]
async fn introspect(
    State(service): State<Service>,
    Basic(credentials): Basic,
    Form(request): Form<TokenRequest>,
) -> Result<Json<IntrospectionResponse>, Problem> {
    let active = service.introspect(credentials.as_ref(), &request.token);
    Ok(Json(active.await?.into()))
}

/// End the session of a token
///
/// RFC 7009, for a client with the scope `revoke`. Ends the session of an access token or a refresh token, however old
/// it is. The reply is the same for any token.
#[utoipa::path(
    post,
    path = "/oauth/revoke",
    tag = "Clients",
    security(("client_credentials" = [])),
    request_body(content = TokenRequest, content_type = "application/x-www-form-urlencoded"),
    responses((status = OK, description = "If the token was genuine, its session has ended"))
)]
async fn revoke_token(
    State(service): State<Service>,
    Basic(credentials): Basic,
    Form(request): Form<TokenRequest>,
) -> Result<StatusCode, Problem> {
    let revoked = service.revoke_token(credentials.as_ref(), &request.token);
    revoked.await?;
    Ok(StatusCode::OK)
}

/// Start a session for somebody who signed in elsewhere
///
/// For a client with the scope `sessions:issue`, after it has verified a sign-in with Cognito, Google, SAML or whatever
/// your users sign in with. The issuer must be one that the client was made for. The first sign-in of an identity makes
/// its account, which has no password; each later one is a sign-in to the same account. An e-mail address never leads to
/// an account.
#[utoipa::path(
    post,
    path = "/v1/service/sessions",
    tag = "Clients",
    security(("client_credentials" = [])),
    request_body = SessionRequest,
    responses((status = CREATED, description = "Signed in", body = TokenResponse))
)]
async fn issue_session(
    State(service): State<Service>,
    Basic(credentials): Basic,
    places: Places,
    Body(body): Body<SessionRequest>,
) -> Result<(StatusCode, TokenResponse), Problem> {
    let request = body.check(&service.core.tokens, &places)?;
    let signed_in = service.sign_in_elsewhere(credentials.as_ref(), request);
    let signed_in = signed_in.await;
    let signed_in = signed_in.map_err(|failure| Problem::from(failure).at("#/auth_time"))?;
    Ok((StatusCode::CREATED, signed_in.into()))
}

/// Make a link for a user
///
/// For a client with the scope `links:issue` that sends mail itself: it hears of `password_reset.requested` and the like on
/// the bus, and sends this link to the `email` of the reply, and to no other address. For a new address, give what the event
/// `email_change.requested` has: if the account has changed since, or the session has ended on which it was asked for, there
/// is no link (409 `request_overtaken`). Whoever can make links can take over every account, so give the scope to nothing
/// else.
#[utoipa::path(
    post,
    path = "/v1/service/users/{user_id}/links",
    tag = "Clients",
    params(("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("client_credentials" = [])),
    request_body = LinkRequest,
    responses((status = OK, description = "The link", body = LinkResource))
)]
async fn issue_link(
    State(service): State<Service>,
    Basic(credentials): Basic,
    UserPath(user): UserPath,
    Body(body): Body<LinkRequest>,
) -> Result<LinkResource, Problem> {
    let wanted = body.check()?;
    let issued = service
        .issue_link(credentials.as_ref(), user, wanted)
        .await?;
    Ok(issued.into())
}
