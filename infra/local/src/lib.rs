//! The local stack: every route of Latchkey in one process, over an embedded DynamoDB, without an AWS account.
//!
//! The functions are the same as on Lambda; only what is around them differs. [`routes`] and [`embedded`] are used by
//! the tests of the whole too, so that these test the very composition that a person runs.

pub mod embedded;

mod admin;
mod authorizing;
mod banner;
mod brand;
mod cleaning;
mod document;
mod error;
mod folder;
mod gate;
mod hosts;
mod mailing;
mod options;
mod origins;
mod outside;
mod publishing;
mod server;
mod settings;
mod signals;
mod stack;
mod storage;

use latchkey_api::openapi::document_without_routes;
use latchkey_service::{Core, Service};
use latchkey_store::Store;
use utoipa_axum::router::OpenApiRouter;

pub use admin::AdminError;
pub use error::LocalError;
pub use options::Options;

use options::Command;

/// Does what the command line asks: serves until Ctrl-C or SIGTERM, unless it names something else.
///
/// # Errors
/// [`LocalError`] if it cannot, in one line that says what to do about it.
pub async fn run(options: Options) -> Result<(), LocalError> {
    match &options.command {
        Some(Command::Admin(admin)) => admin::run(&options, admin).await,
        Some(Command::Openapi) => document::print(),
        None => stack::serve_until_stopped(options).await,
    }
}

/// The functions that answer over HTTP and use the table, by their names in the template, with their routes. The one list
/// of them: the tests compare the template and the folders with it.
pub fn functions_on_table() -> [(&'static str, OpenApiRouter<Service>); 12] {
    [
        ("register", register::routes()),
        ("login", login::routes()),
        ("refresh", refresh::routes()),
        ("list-sessions", list_sessions::routes()),
        ("rename", rename::routes()),
        ("revoke", revoke::routes()),
        ("revoke-all", revoke_all::routes()),
        ("recovery", recovery::routes()),
        ("account", account::routes()),
        ("activity", activity::routes()),
        ("admin", ::admin::routes()),
        ("clients", clients::routes()),
    ]
}

/// The functions that answer over HTTP and store nothing.
pub fn functions_without_table() -> [(&'static str, OpenApiRouter<Core>); 2] {
    [
        ("discovery", discovery::routes()),
        ("console", console::routes()),
    ]
}

/// The routes of all functions, with the OpenAPI document of the whole service.
pub fn routes(core: &Core, store: &Store) -> OpenApiRouter {
    routes_by_function(core, |_| store.clone())
}

/// The same, with a store for each function, which is asked for by the function's name in the template. On AWS each
/// function reaches the table with its own role.
pub fn routes_by_function(core: &Core, store_of: impl Fn(&'static str) -> Store) -> OpenApiRouter {
    let whole = OpenApiRouter::with_openapi(document_without_routes());
    let whole = functions_on_table()
        .into_iter()
        .fold(whole, |whole, (function, routes)| {
            let service = Service {
                core: core.clone(),
                store: store_of(function),
            };
            whole.merge(routes.with_state(service))
        });
    functions_without_table()
        .into_iter()
        .fold(whole, |whole, (_, routes)| {
            whole.merge(routes.with_state(core.clone()))
        })
}
