//! The local stack: every route of Latchkey in one process, over an embedded DynamoDB, without an AWS account.
//!
//! The functions are the same as on Lambda; only what is around them differs. [`routes`] and [`embedded`] are used by
//! the tests of the whole too, so that these test the very composition that a person runs.

pub mod embedded;

mod banner;
mod cleaning;
mod error;
mod folder;
mod gate;
mod hosts;
mod options;
mod outside;
mod server;
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
    routes_by_function(service, |_| store.clone())
}

/// The same, with a store for each function, which is asked for by the function's name in the template. On AWS each
/// function reaches the table with a role of its own.
pub fn routes_by_function(
    service: &Service,
    store_of: impl Fn(&'static str) -> Store,
) -> OpenApiRouter {
    let on_table: [(_, OpenApiRouter<_>); _] = [
        ("register", register::routes()),
        ("login", login::routes()),
        ("refresh", refresh::routes()),
        ("list-sessions", list_sessions::routes()),
        ("rename", rename::routes()),
        ("revoke", revoke::routes()),
        ("revoke-all", revoke_all::routes()),
        ("account", account::routes()),
    ];
    let discovery: OpenApiRouter<_> = discovery::routes();
    on_table
        .into_iter()
        .fold(
            OpenApiRouter::with_openapi(document_without_routes()),
            |whole, (function, routes)| {
                whole.merge(routes.with_state(service.with_store(store_of(function))))
            },
        )
        .merge(discovery.with_state(service.with_store(())))
}
