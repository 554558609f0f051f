//! `/v1/admin`: the accounts and sessions of others, for administrators.
//!
//! [`AdminRoutes`] asks before each of these routes whether its caller may administer.

mod activity;
mod sessions;
mod users;

use latchkey_api::admin::AdminRoutes;
use latchkey_api::handler;
use latchkey_api::openapi::WITH_BODY;
use latchkey_api::problem::Code;
use latchkey_api::routes::Routes;
use latchkey_service::Service;

use activity::{__path_list_activity, list_activity};
use sessions::{
    __path_find_session, __path_list_sessions, __path_revoke, __path_revoke_all,
    __path_revoke_many, find_session, list_sessions, revoke, revoke_all, revoke_many,
};
use users::{
    __path_browse, __path_delete, __path_send_password_reset, __path_show, __path_update, browse,
    delete, send_password_reset, show, update,
};

/// The routes of this function.
pub fn routes<R: Routes<Service>>() -> R {
    let user = [Code::InvalidRequest, Code::UserNotFound];
    let own = [Code::InvalidRequest, Code::UserNotFound, Code::OwnAccount];
    let changed = [&own[..], &[Code::ValidationFailed]].concat();
    let without_body = [&user[..], &WITH_BODY].concat();
    let session = [Code::InvalidRequest, Code::SessionNotFound];
    let session_of_user = [&user[..], &[Code::SessionNotFound]].concat();
    AdminRoutes::<R>::new()
        .route(handler!(browse).reading_query(), &[])
        .route(handler!(show), &user)
        .route(handler!(update), &changed)
        .route(handler!(delete), &own)
        .route(
            handler!(send_password_reset),
            &[&without_body[..], &[Code::NoPassword]].concat(),
        )
        .route(handler!(list_sessions).reading_query(), &user)
        .route(handler!(list_activity).reading_query(), &user)
        .route(handler!(revoke_all), &without_body)
        .route(handler!(revoke), &session_of_user)
        .route(handler!(find_session), &session)
        .route(handler!(revoke_many), &[Code::ValidationFailed])
        .checked()
}
