//! The export of one's own data, as a file that a browser saves.

use std::net::IpAddr;

use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use latchkey_domain::account::Account;
use latchkey_domain::device::DeviceType;
use latchkey_domain::event::FailedSignIn;
use latchkey_domain::id::SessionId;
use latchkey_service::{DescribedSession, Export};
use serde::Serialize;
use utoipa::ToSchema;

use crate::activity::ActivityResource;
use crate::admin::resource::{AdminIdentityResource, SessionState};
use crate::problem::Problem;
use crate::resource::{AccountResource, SessionResource, rfc3339, rfc3339_or_null};

/// The most bytes of an export in the reply of a function, which may have 6,291,556 with all around it (AWS Lambda, quotas).
const MOST_BYTES_IN_ENVELOPE: usize = 5_000_000;

/// What is known of a password without its hash.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedPassword)]
struct PasswordResource {
    /// Which password it is: 1 for that of the registration, and 1 more after each change.
    #[schema(example = 1)]
    version: u64,
}

/// An account with everything that is stored of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedAccount)]
struct ExportedAccountResource {
    #[serde(flatten)]
    account: AccountResource,
    /// That a password is set; null if the user signs in elsewhere. Its hash is not exported.
    #[schema(required = true)]
    password: Option<PasswordResource>,
    /// Since when the address is verified.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(required = true)]
    email_verified_at: Option<DateTime<Utc>>,
    /// How often the address was replaced.
    #[schema(example = 0)]
    email_changes: u64,
    /// From when on sessions that have ended tell of devices and places of the user's; null if nobody has signed in.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(required = true)]
    devices_since: Option<DateTime<Utc>>,
    /// Who the user is to the identity provider they sign in with; null if they have a password here.
    #[schema(required = true)]
    identity: Option<AdminIdentityResource>,
}

impl From<&Account> for ExportedAccountResource {
    fn from(account: &Account) -> Self {
        let version = account.password_version;
        let password = account.credential_email();
        Self {
            account: AccountResource::new(account),
            password: password.map(|_| PasswordResource { version }),
            email_verified_at: account.email_verified_at,
            email_changes: account.email_version,
            devices_since: account.devices_since,
            identity: account.identity.as_ref().map(Into::into),
        }
    }
}

/// A session with everything that is stored of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedSession)]
struct ExportedSessionResource {
    #[serde(flatten)]
    session: SessionResource,
    /// Whether it counts.
    state: SessionState,
    /// The client's address at sign-in.
    #[schema(required = true, value_type = Option<String>, example = "203.0.113.7")]
    created_ip_address: Option<IpAddr>,
    /// Roughly where the latest address is: latitude and longitude, rounded to a tenth of a degree.
    #[schema(required = true, example = "45.5,-73.6")]
    coordinates: Option<String>,
    /// When its owner named it, or cleared the name.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(required = true)]
    renamed_at: Option<DateTime<Utc>>,
    /// How the user proved who they are (RFC 8176).
    #[schema(example = json!(["pwd"]))]
    authentication_methods: Vec<String>,
    /// How often its refresh token was replaced.
    #[schema(example = 3)]
    refreshes: u64,
    /// When that happened last.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:14:00.000Z")]
    refreshed_at: DateTime<Utc>,
    /// When it ends whatever happens.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-31T12:00:00.000Z")]
    absolute_expires_at: DateTime<Utc>,
    /// After when it is deleted.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-04-30T12:00:00.000Z")]
    deleted_after: DateTime<Utc>,
}

impl ExportedSessionResource {
    fn new(described: &DescribedSession, current: SessionId) -> Self {
        let session = &described.session;
        let methods = session.methods.to_string();
        Self {
            session: SessionResource::new(session, current),
            state: described.liveness.into(),
            created_ip_address: session.created_ip_address,
            coordinates: session.location.coordinates.map(|point| point.to_string()),
            renamed_at: session.renamed_at,
            authentication_methods: methods.split(' ').map(str::to_owned).collect(),
            refreshes: session.rotation,
            refreshed_at: session.rotated_at,
            absolute_expires_at: session.absolute_expires_at,
            deleted_after: session.delete_after,
        }
    }
}

/// The last sign-in to the account that was refused, of those that are counted together.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExportedRefusedSignIn)]
struct RefusedSignInResource {
    /// When its password was judged.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:00:00.000Z")]
    time: DateTime<Utc>,
    /// Why it was refused, in the word of the event `sign_in.failed`.
    #[schema(example = "invalid_credentials")]
    reason: &'static str,
    /// Whether the client has shown a device token of the account.
    #[schema(example = false)]
    known_device: bool,
    /// What the client ran on.
    #[schema(example = "Firefox on Linux")]
    device_name: String,
    /// What kind of device that is.
    device_type: DeviceType,
    /// The client's address.
    #[schema(required = true, value_type = Option<String>, example = "203.0.113.7")]
    ip_address: Option<IpAddr>,
    /// The city that the address is in.
    #[schema(required = true, example = "Montréal")]
    location_city: Option<String>,
    /// The country that the address is in, as two letters (ISO 3166-1).
    #[schema(required = true, example = "CA")]
    location_country: Option<String>,
    /// How many in a row were counted, with this one.
    #[schema(example = 1)]
    attempts: u32,
    /// Until when the next one is not checked.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(required = true)]
    blocked_until: Option<DateTime<Utc>>,
}

impl From<&FailedSignIn> for RefusedSignInResource {
    fn from(failed: &FailedSignIn) -> Self {
        Self {
            time: failed.at,
            reason: failed.reason.as_str(),
            known_device: failed.known_device,
            device_name: failed.device_name.clone(),
            device_type: failed.device_type,
            ip_address: failed.location.ip_address,
            location_city: failed.location.city.clone(),
            location_country: failed.location.country.clone(),
            attempts: failed.attempts,
            blocked_until: failed.blocked_until,
        }
    }
}

/// Everything that is stored about the caller. The password hash is left out. So are requests for links of the last day: they
/// are not found by user, and the activity says what they hold, but for a new address.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
pub struct ExportResource {
    /// When it was read.
    #[serde(serialize_with = "rfc3339")]
    #[schema(example = "2026-03-01T12:00:00.000Z")]
    exported_at: DateTime<Utc>,
    /// The account.
    account: ExportedAccountResource,
    /// The sessions that are kept, ended ones too, the most recently used first.
    sessions: Vec<ExportedSessionResource>,
    /// Whether there are more sessions than an export holds, 1,000.
    #[schema(example = false)]
    has_more_sessions: bool,
    /// The last refused sign-ins: of strangers, and of devices that have signed in with a password that was replaced. That of
    /// each other device which has signed in before is not found by user; the activity has it.
    refused_sign_ins: Vec<RefusedSignInResource>,
    /// What has happened to the account, the newest first.
    activity: Vec<ActivityResource>,
    /// Whether there is more of it than an export holds, 5,000 entries and about 5 MB. `GET /v1/me/activity` has all.
    #[schema(example = false)]
    has_more_activity: bool,
}

impl ExportResource {
    /// An export, asked for on this session.
    #[must_use]
    pub fn new(export: &Export, current: SessionId) -> Self {
        let session = |one| ExportedSessionResource::new(one, current);
        let entry = |entry| ActivityResource::new(entry, Some(current));
        Self {
            exported_at: export.at,
            account: ExportedAccountResource::from(&export.account),
            sessions: export.sessions.iter().map(session).collect(),
            has_more_sessions: export.has_more_sessions,
            refused_sign_ins: export.refused_sign_ins.iter().map(Into::into).collect(),
            activity: export.activity.iter().map(entry).collect(),
            has_more_activity: export.has_more_activity,
        }
    }
}

impl ExportResource {
    /// The text of the export, with as much of the activity as a reply of Lambda's can hold.
    fn into_json(mut self) -> Result<Vec<u8>, serde_json::Error> {
        loop {
            let json = serde_json::to_vec(&self)?;
            let size = size_in_envelope(&json);
            let entries = self.activity.len();
            if size <= MOST_BYTES_IN_ENVELOPE || entries == 0 {
                return Ok(json);
            }
            // The newest stay. What is left is smaller each time, so this ends.
            let fitting = entries * MOST_BYTES_IN_ENVELOPE / size;
            self.activity.truncate(fitting.min(entries - 1));
            self.has_more_activity = true;
        }
    }
}

/// How many bytes a text has as a string in JSON, which is how Lambda hands it to API Gateway: `"` and `\` take two.
fn size_in_envelope(json: &[u8]) -> usize {
    let escaped = json.iter().filter(|byte| matches!(byte, b'"' | b'\\'));
    json.len() + escaped.count()
}

impl IntoResponse for ExportResource {
    fn into_response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, "application/json"),
            (CACHE_CONTROL, "no-store"),
            (
                CONTENT_DISPOSITION,
                "attachment; filename=\"latchkey-export.json\"",
            ),
        ];
        match self.into_json() {
            Ok(json) => (headers, json).into_response(),
            Err(_) => Problem::internal().into_response(),
        }
    }
}
