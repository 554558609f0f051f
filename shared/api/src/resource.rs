//! What replies hold.

use std::net::IpAddr;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::header::{CACHE_CONTROL, SET_COOKIE};
use latchkey_domain::account::Account;
use latchkey_domain::device::DeviceType;
use latchkey_domain::id::SessionId;
use latchkey_domain::session::Session;
use latchkey_domain::token::Token;
use latchkey_service::{Issued, SignedIn};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::credentials::{
    DEVICE_COOKIE, DEVICE_COOKIE_LIFETIME, REFRESH_COOKIE, Transport, set_cookie,
};

/// A sign-in, as its owner sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionResource {
    /// Names the session.
    #[schema(example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11")]
    id: Uuid,
    /// What its owner called it.
    #[schema(required = true, example = "The laptop in the kitchen")]
    name: Option<String>,
    /// What the client said it is, or what its User-Agent says.
    /// `Unknown device` if neither says anything.
    #[schema(example = "Firefox on Linux")]
    device_name: String,
    /// What kind of device it is.
    #[schema(example = "desktop")]
    device_type: DeviceType,
    /// What the client sent as `X-Device-Id`.
    #[schema(required = true, example = "c0ffee")]
    device_id: Option<String>,
    /// The client's address when it last signed in or refreshed.
    #[schema(required = true, value_type = Option<String>, example = "203.0.113.7")]
    ip_address: Option<IpAddr>,
    /// The client's User-Agent at sign-in, cut after at most 228 bytes.
    #[schema(
        required = true,
        example = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    )]
    user_agent: Option<String>,
    /// The city that the address is in, if the deployment knows it.
    #[schema(required = true, example = "Montréal")]
    location_city: Option<String>,
    /// The country that the address is in, as two letters (ISO 3166-1), if the deployment knows it.
    #[schema(required = true, example = "CA")]
    location_country: Option<String>,
    /// Whether the account did not know the device at sign-in: by a device token, the device id, or name and type. The
    /// first session of an account is not new.
    #[schema(example = false)]
    new_device: bool,
    /// Whether the place was too far from that of the last session at sign-in, for the time between them.
    #[schema(example = false)]
    unusual_location: bool,
    /// When the user signed in.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:00:00.000Z")]
    created_at: DateTime<Utc>,
    /// When the user last proved who they are, at first by signing in. Null if the service that signed them in has not told.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(required = true, example = "2026-03-01T12:00:00.000Z")]
    authenticated_at: Option<DateTime<Utc>>,
    /// When the session was last refreshed.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:14:00.000Z")]
    last_used_at: DateTime<Utc>,
    /// When it ends unless it is refreshed before.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-08T12:14:00.000Z")]
    expires_at: DateTime<Utc>,
    /// Whether it is the session of this request.
    is_current: bool,
}

impl SessionResource {
    /// A session as the owner of `current` sees it, or as somebody without a session does.
    #[must_use]
    pub fn new(session: &Session, current: impl Into<Option<SessionId>>) -> Self {
        Self {
            id: session.id.as_uuid(),
            name: session.name.clone(),
            device_name: session.device.shown_name().to_owned(),
            device_type: session.device.device_type,
            device_id: session.device.device_id.clone(),
            ip_address: session.location.ip_address,
            user_agent: session.device.user_agent.clone(),
            location_city: session.location.city.clone(),
            location_country: session.location.country.clone(),
            new_device: session.new_device,
            unusual_location: session.unusual_location,
            created_at: session.created_at,
            authenticated_at: session.proved_at(),
            last_used_at: session.last_used_at,
            expires_at: session.expires_at(),
            is_current: current.into() == Some(session.id),
        }
    }
}

/// A user, as a sign-in shows them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserResource {
    /// Names the user; the `sub` of every token.
    #[schema(example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")]
    id: Uuid,
    /// The e-mail address as it was typed at registration. Of somebody who signs in elsewhere, the one that was told from
    /// there, or null.
    #[schema(required = true, example = "ada@example.com")]
    email: Option<String>,
    /// Whether the user has opened a link that was sent to the address.
    #[schema(example = false)]
    email_verified: bool,
    /// When the user registered.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:00:00.000Z")]
    created_at: DateTime<Utc>,
}

impl UserResource {
    /// The user of an account.
    #[must_use]
    pub fn new(account: &Account) -> Self {
        Self {
            id: account.id.as_uuid(),
            email: account.email().map(|email| email.as_typed().to_owned()),
            email_verified: account.is_email_verified(),
            created_at: account.created_at,
        }
    }
}

/// The caller's account.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub struct AccountResource {
    #[serde(flatten)]
    user: UserResource,
    /// Whether the user has a password here. Where it is false, the user signs in elsewhere, and what asks for a password or
    /// verifies the address answers 409 `no_password`.
    #[schema(example = true)]
    has_password: bool,
    /// What the user may do in addition to using their own account.
    #[schema(example = json!([]))]
    roles: Vec<String>,
}

impl AccountResource {
    /// An account.
    #[must_use]
    pub fn new(account: &Account) -> Self {
        Self {
            user: UserResource::new(account),
            has_password: account.has_password(),
            roles: account.roles.iter().cloned().map(String::from).collect(),
        }
    }
}

/// A pair of tokens (RFC 6749 section 5.1) and the session that they belong to. Never cached.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tokens)]
pub struct TokenResponse {
    /// For the API: send it as `Authorization: Bearer <access_token>`.
    #[schema(value_type = String, example = "eyJ0eXAiOiJhdCtqd3Qi...")]
    access_token: Token,
    /// Always `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// How long the access token is valid, in seconds.
    #[schema(example = 900)]
    expires_in: i64,
    /// For the next refresh; each can be exchanged once. In the cookie transport it is a cookie instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, nullable = false, example = "eyJ0eXAiOiJydCtqd3Qi...")]
    refresh_token: Option<Token>,
    /// How long the refresh token is valid, in seconds.
    #[schema(example = 604_800)]
    refresh_expires_in: i64,
    /// The session.
    session: SessionResource,
    /// The user; a refresh leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    user: Option<UserResource>,
    /// Shows that this client has signed in to this account before. Keep it when the user signs out, and send it with the next
    /// sign-in; it opens nothing. A sign-in, a registration and a password change give one, which replaces the one before. In
    /// the cookie transport it is a cookie instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, nullable = false, example = "eyJ0eXAiOiJkdCtqd3Qi...")]
    device_token: Option<Token>,
    /// What goes into a cookie instead.
    #[serde(skip)]
    #[schema(ignore)]
    refresh_cookie: Option<Token>,
    /// The same.
    #[serde(skip)]
    #[schema(ignore)]
    device_cookie: Option<Token>,
}

impl TokenResponse {
    /// The same, by this transport.
    #[must_use]
    pub fn by(mut self, transport: Transport) -> Self {
        if transport == Transport::Cookie {
            self.refresh_cookie = self.refresh_token.take();
            self.device_cookie = self.device_token.take();
        }
        self
    }
}

impl From<Issued> for TokenResponse {
    /// The tokens of a session that continues: without the user.
    fn from(Issued { session, tokens }: Issued) -> Self {
        Self {
            access_token: tokens.access_token,
            token_type: "Bearer",
            expires_in: tokens.expires_in.num_seconds(),
            refresh_token: Some(tokens.refresh_token),
            refresh_expires_in: tokens.refresh_expires_in.num_seconds(),
            session: SessionResource::new(&session, session.id),
            user: None,
            refresh_cookie: None,
            device_cookie: None,
            device_token: None,
        }
    }
}

impl From<SignedIn> for TokenResponse {
    fn from(signed_in: SignedIn) -> Self {
        let SignedIn {
            account,
            issued,
            device_token,
        } = signed_in;
        Self {
            user: Some(UserResource::new(&account)),
            device_token,
            ..issued.into()
        }
    }
}

impl IntoResponse for TokenResponse {
    fn into_response(self) -> Response {
        let lifetime = TimeDelta::seconds(self.refresh_expires_in);
        let cookies = [
            (REFRESH_COOKIE, &self.refresh_cookie, lifetime),
            (DEVICE_COOKIE, &self.device_cookie, DEVICE_COOKIE_LIFETIME),
        ];
        let cookies = cookies.map(|(name, token, lifetime)| {
            let token = token.as_ref()?;
            set_cookie(name, token.expose(), lifetime)
        });
        // RFC 6749 section 5.1
        let mut response = ([(CACHE_CONTROL, "no-store")], axum::Json(self)).into_response();
        let headers = response.headers_mut();
        for cookie in cookies.into_iter().flatten() {
            headers.append(SET_COOKIE, cookie);
        }
        response
    }
}

pub(crate) fn rfc3339<S: Serializer>(
    time: &DateTime<Utc>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

pub(crate) fn rfc3339_or_null<S: Serializer>(
    time: &Option<DateTime<Utc>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => rfc3339(time, serializer),
        None => serializer.serialize_none(),
    }
}
