//! The local stack: every route of Latchkey in one process, over an embedded DynamoDB, without an AWS account.
//!
//! The functions are the same as on Lambda; only what is around them differs. [`routes`] and [`embedded`] are used by
//! the tests of the whole too, so that these test the very composition that a person runs.

pub mod embedded;

mod banner;
mod cleaning;
mod error;
mod folder;
mod options;
mod outside;
mod settings;
mod signals;
mod stack;
mod storage;

use latchkey_api::app::Service;
use latchkey_api::openapi::document_without_routes;
use latchkey_store::Store;
use utoipa_axum::router::OpenApiRouter;

pub use error::LocalError;
pub use options::Options;
pub use stack::run;

/// The routes of all functions, with the OpenAPI document of the whole service.
pub fn routes(service: &Service, store: &Store) -> OpenApiRouter {
    let app = service.with_store(store.clone());
    OpenApiRouter::with_openapi(document_without_routes())
        .merge(register::routes())
        .merge(login::routes())
        .merge(refresh::routes())
        .merge(list_sessions::routes())
        .merge(rename::routes())
        .merge(revoke::routes())
        .merge(revoke_all::routes())
        .merge(account::routes())
        .with_state(app)
        .merge(discovery::routes().with_state(service.with_store(())))
}
