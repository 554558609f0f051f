//! `GET /v1/me/activity` and `GET /v1/me/export`: what has happened to the caller's account, and all that is stored of it.

use axum::Json;
use axum::extract::State;
use latchkey_api::activity::{ActivityListResource, ActivityParameters};
use latchkey_api::authenticate::Bearer;
use latchkey_api::export::ExportResource;
use latchkey_api::handler;
use latchkey_api::parameter::QueryParameters;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::routes::Routes;
use latchkey_service::Service;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    R::new()
        .route(handler!(list).reading_query(), &[Code::TooManyRequests])
        .route(handler!(export), &[Code::TooManyRequests])
}

/// List your activity
///
/// What has happened to your account, the newest first: sign-ins, ends of sessions, changes. An entry comes within seconds
/// and is kept for 90 days (a setting). Continue while there is a `next_cursor`.
#[utoipa::path(
    get,
    path = "/v1/me/activity",
    operation_id = "list_activity",
    tag = "Account",
    params(ActivityParameters),
    security(("access_token" = [])),
    responses((status = OK, description = "Your activity", body = ActivityListResource))
)]
async fn list(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    QueryParameters(parameters): QueryParameters<ActivityParameters>,
) -> Result<Json<ActivityListResource>, Problem> {
    let (behind, limit) = parameters.page_of(caller.user_id)?;
    let page = service.list_activity(caller, behind, limit).await?;
    let shown = ActivityListResource::new(&page, caller.user_id, caller.session_id);
    Ok(Json(shown))
}

/// Export your data
///
/// Everything that is stored about you, as one file: account, sessions, activity. Not the hash of your password, and not
/// the counts of attempts.
#[utoipa::path(
    get,
    path = "/v1/me/export",
    operation_id = "export_account",
    tag = "Account",
    security(("access_token" = [])),
    responses((status = OK, description = "Your data", body = ExportResource))
)]
async fn export(
    State(service): State<Service>,
    Bearer(caller): Bearer,
) -> Result<ExportResource, Problem> {
    let export = service.export(caller).await?;
    Ok(ExportResource::new(&export, caller.session_id))
}
