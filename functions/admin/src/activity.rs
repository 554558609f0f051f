//! The activity of users.

use axum::Json;
use axum::extract::State;
use latchkey_api::activity::{ActivityParameters, AdminActivityListResource};
use latchkey_api::admin::Admin;
use latchkey_api::parameter::{QueryParameters, UserPath};
use latchkey_api::problem::Problem;
use latchkey_service::Service;

/// List a user's activity
///
/// What has happened to the account, the newest first, and which administrator or service has done it. Continue while
/// there is a `next_cursor`.
#[utoipa::path(
    get,
    path = "/v1/admin/users/{user_id}/activity",
    operation_id = "admin_list_activity",
    tag = "Administration",
    params(
        ("user_id" = uuid::Uuid, Path, description = "The user", example = "5a3f5c11-8f1c-4a35-9d3c-1f6f0a3f5c11"),
        ActivityParameters
    ),
    security(("access_token" = ["admin"])),
    responses((status = OK, description = "The user's activity", body = AdminActivityListResource))
)]
pub(crate) async fn list_activity(
    State(service): State<Service>,
    Admin(administrator): Admin,
    UserPath(user): UserPath,
    QueryParameters(parameters): QueryParameters<ActivityParameters>,
) -> Result<Json<AdminActivityListResource>, Problem> {
    let (behind, limit) = parameters.page_of(user)?;
    let page = service.list_activity_of(&administrator, user, behind, limit);
    let page = page.await?;
    let seen_by = administrator.session();
    Ok(Json(AdminActivityListResource::new(&page, user, seen_by)))
}
