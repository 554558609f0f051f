//! `PATCH /v1/sessions/{id}`: gives a session a name that its owner recognises.

use axum::Json;
use axum::extract::State;
use latchkey_api::authenticate::Bearer;
use latchkey_api::body::{Body, check_name};
use latchkey_api::handler;
use latchkey_api::parameter::SessionPath;
use latchkey_api::problem::{Code, Problem};
use latchkey_api::resource::SessionResource;
use latchkey_api::routes::Routes;
use latchkey_service::Service;
use serde::Deserialize;
use utoipa::ToSchema;

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let problems = [
        Code::SessionNotFound,
        Code::ValidationFailed,
        Code::TooManyRequests,
    ];
    R::new().route(handler!(rename), &problems)
}

#[derive(Debug, Deserialize, ToSchema)]
struct RenameRequest {
    /// The name, or null to clear it.
    // A field that is missing is a mistake, not a wish to clear the name.
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 100,
        example = "The laptop in the kitchen"
    )]
    name: Option<String>,
}

/// Rename a session
///
/// Gives one of your live sessions a name, or clears it.
#[utoipa::path(
    patch,
    path = "/v1/sessions/{id}",
    operation_id = "rename_session",
    tag = "Sessions",
    params(("id" = uuid::Uuid, Path, description = "The session", example = "0b9e6f7e-8f1c-4a35-9d3c-1f6f0a3f5c11")),
    security(("access_token" = [])),
    request_body = RenameRequest,
    responses((status = OK, description = "The session as it is now", body = SessionResource))
)]
async fn rename(
    State(service): State<Service>,
    Bearer(caller): Bearer,
    SessionPath(session): SessionPath,
    Body(body): Body<RenameRequest>,
) -> Result<Json<SessionResource>, Problem> {
    if let Some(name) = &body.name {
        check_name("#/name", name)?;
    }
    let name = body.name.as_deref().map(str::trim);
    let renamed = service.rename_session(caller, session, name).await?;
    Ok(Json(SessionResource::new(&renamed, caller.session_id)))
}
