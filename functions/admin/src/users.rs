//! Finding users, and what is changed about an account.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use latchkey_api::admin::Admin;
use latchkey_api::admin::resource::{AdminUserPageResource, AdminUserResource};
use latchkey_api::body::{Body, NoBody};
use latchkey_api::parameter::{QueryParameters, UserPath};
use latchkey_api::problem::{InvalidValue, Problem};
use latchkey_domain::email::EmailAddress;
use latchkey_domain::identity::Identity;
use latchkey_domain::role::{InvalidRole, Role};
use latchkey_service::{AccountUpdate, Service, UserCursor};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BrowseParameters {
    /// Only the user with this e-mail address, in any spelling that is the same mailbox.
    #[param(required = false, nullable = false, format = Email, max_length = 254)]
    email: Option<String>,
    /// Only the user who signs in with this identity provider as `subject`. Both together, as
    /// `POST /v1/service/sessions` was given them.
    #[param(required = false, nullable = false, min_length = 1, max_length = 255)]
    issuer: Option<String>,
    /// Who the user is to `issuer`.
    #[param(required = false, nullable = false, min_length = 1, max_length = 255)]
    subject: Option<String>,
    /// The `next_cursor` of the page before, as it is. Not together with the others.
    #[param(required = false, nullable = false)]
    cursor: Option<String>,
}

/// What a query looks for: one way only.
enum Wanted {
    Address(EmailAddress),
    Identity(Identity),
    Page(Option<UserCursor>),
}

impl BrowseParameters {
    fn check(self) -> Result<Wanted, Problem> {
        match (self.email, self.issuer, self.subject, self.cursor) {
            (Some(email), None, None, None) => EmailAddress::parse_existing(&email)
                .map(Wanted::Address)
                .map_err(|_| Problem::invalid_request("The query's email is no e-mail address.")),
            (None, Some(issuer), Some(subject), None) => Identity::new(&issuer, &subject)
                .map(Wanted::Identity)
                .map_err(|error| Problem::invalid_request(error.to_string())),
            (None, None, None, cursor) => cursor
                .map(|cursor| cursor.parse())
                .transpose()
                .map(Wanted::Page)
                .map_err(|_| {
                    Problem::invalid_request("The query's cursor is not the next_cursor of a page.")
                }),
            (None, Some(_), None, None) | (None, None, Some(_), None) => {
                Err(Problem::invalid_request(
                    "The query has one of issuer and subject; give both together.",
                ))
            }
            _ => Err(Problem::invalid_request(
                "Look for an email, for an issuer with a subject, or give a cursor: only one of them is possible.",
            )),
        }
    }
}

/// Find users
///
/// With `email`, the user with this address: one or none, for 3 read units. With `issuer` and `subject`, the user who
/// signs in elsewhere as that person, likewise. Without them, all users, page by page, in no order: a page looks through 1,000 items of the table and shows the users among them, at most 100 and perhaps none,
/// for some 60 read units ($0.000008). Continue while there is a `next_cursor`. To see all users costs as much as to
/// read the whole table, 0.5 read units for each 4 KB of it.
#[utoipa::path(
    get,
    path = "/v1/admin/users",
    operation_id = "admin_find_users",
    tag = "Administration",
    params(BrowseParameters),
    security(("access_token" = ["admin"])),
    responses((status = OK, description = "Users", body = AdminUserPageResource))
)]
pub(crate) async fn browse(
    State(service): State<Service>,
    Admin(administrator): Admin,
    QueryParameters(parameters): QueryParameters<BrowseParameters>,
) -> Result<Json<AdminUserPageResource>, Problem> {
    let found = match parameters.check()? {
        Wanted::Address(email) => service.find_user(&administrator, &email).await?,
        Wanted::Identity(identity) => {
            let found = service.find_user_of_identity(&administrator, &identity);
            found.await?
        }
        Wanted::Page(cursor) => {
            let page = service.browse_users(&administrator, cursor).await?;
            return Ok(Json(AdminUserPageResource::from(&page)));
        }
    };
    Ok(Json(AdminUserPageResource::found(found.as_ref())))
}

/// Show a user
///
/// The account as it is now. A user who has been deleted is not found.
#[utoipa::path(
    get,
    path = "/v1/admin/users/{user_id}",
    operation_id = "admin_get_user",
    tag = "Administration",
    params(("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = ["admin"])),
    responses((status = OK, description = "The user", body = AdminUserResource))
)]
pub(crate) async fn show(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserPath(user): UserPath,
) -> Result<Json<AdminUserResource>, Problem> {
    let account = service.show_user(&administrator, user).await?;
    Ok(Json(AdminUserResource::from(&account)))
}

/// What is to be another. At least one of the two.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AdminUserUpdate)]
pub(crate) struct UpdateRequest {
    /// `disabled` closes the account: all sessions end at once, and nobody can sign in. `active` opens it again;
    /// sessions that have ended stay ended.
    #[schema(example = "disabled")]
    status: Option<String>,
    /// All roles of the user, at most 10: each 1 to 32 lower-case letters, digits, hyphens and underscores. `admin`
    /// opens administration, the others are your own.
    #[schema(example = json!(["clerk"]))]
    roles: Option<Vec<String>>,
}

impl UpdateRequest {
    fn check(self) -> Result<AccountUpdate, Problem> {
        let invalid = |pointer, code, detail: String| {
            Problem::validation_failed(vec![InvalidValue::new(pointer, code, detail)])
        };
        if self.status.is_none() && self.roles.is_none() {
            let detail = "Give a status, roles, or both.".to_owned();
            return Err(invalid("#", "nothing_to_change", detail));
        }
        let active = match self.status.as_deref() {
            None => None,
            Some("active") => Some(true),
            Some("disabled") => Some(false),
            Some(_) => {
                let detail = "A status is active or disabled.".to_owned();
                return Err(invalid("#/status", "not_allowed", detail));
            }
        };
        let roles = self.roles.as_deref().map(parse_roles).transpose();
        let roles = roles.map_err(|error| invalid("#/roles", "not_allowed", error.to_string()))?;
        Ok(AccountUpdate { active, roles })
    }
}

fn parse_roles(words: &[String]) -> Result<BTreeSet<Role>, InvalidRole> {
    let mut roles = BTreeSet::new();
    for word in words {
        roles.insert(word.parse()?);
    }
    Ok(roles)
}

/// Change a user's status or roles
///
/// Administrators may neither disable themselves nor take the role `admin` from themselves: that is `own_account`. A role
/// that is withdrawn allows nothing from the next request on; one that is granted is in the access tokens of the next
/// refresh or sign-in. Status and roles are two changes. After a 503 look at the user before you repeat the request: one
/// of the two may have been made, and somebody else may have changed the user since.
#[utoipa::path(
    patch,
    path = "/v1/admin/users/{user_id}",
    operation_id = "admin_update_user",
    tag = "Administration",
    params(("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = ["admin"])),
    request_body = UpdateRequest,
    responses((status = OK, description = "The user as they are now", body = AdminUserResource))
)]
pub(crate) async fn update(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserPath(user): UserPath,
    Body(body): Body<UpdateRequest>,
) -> Result<Json<AdminUserResource>, Problem> {
    let update = body.check()?;
    let account = service.update_account(&administrator, user, update).await?;
    Ok(Json(AdminUserResource::from(&account)))
}

/// Delete a user
///
/// All sessions end at once, everything that is kept of the user goes, and the e-mail address is free again. It cannot be
/// undone. Administrators delete their own account as all users do, with `POST /v1/me/delete`.
#[utoipa::path(
    delete,
    path = "/v1/admin/users/{user_id}",
    operation_id = "admin_delete_user",
    tag = "Administration",
    params(("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = ["admin"])),
    responses((status = NO_CONTENT, description = "The user is deleted"))
)]
pub(crate) async fn delete(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserPath(user): UserPath,
) -> Result<StatusCode, Problem> {
    service.delete_user(&administrator, user).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Send a user a link to choose another password
///
/// It goes to the user's address and is valid for 10 minutes. Until it is opened nothing changes: to sign the user out now,
/// use `revoke-all`.
#[utoipa::path(
    post,
    path = "/v1/admin/users/{user_id}/password-reset",
    operation_id = "admin_send_password_reset",
    tag = "Administration",
    params(("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = ["admin"])),
    responses((status = ACCEPTED, description = "A link is sent"))
)]
pub(crate) async fn send_password_reset(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserPath(user): UserPath,
    _: NoBody,
) -> Result<StatusCode, Problem> {
    service.send_password_reset(&administrator, user).await?;
    Ok(StatusCode::ACCEPTED)
}
