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

use axum::Router;
use latchkey_api::routes::Routes;
use latchkey_service::{Core, Service};
use latchkey_store::Store;

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

/// The functions that answer over HTTP and use the table, by their names in the template, and what is made of their
/// routes: the router, or the OpenAPI document. The one list of them: the tests compare the template and the folders
/// with it.
pub fn functions_on_table<R: Routes<Service>>() -> [(&'static str, R); 12] {
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
pub fn functions_without_table<R: Routes<Core>>() -> [(&'static str, R); 2] {
    [
        ("discovery", discovery::routes()),
        ("console", console::routes()),
    ]
}

/// The routes of all functions.
pub fn routes(core: &Core, store: &Store) -> Router {
    routes_by_function(core, |_| store.clone())
}

/// The same, with a store for each function, which is asked for by the function's name in the template. On AWS each
/// function reaches the table with its own role.
pub fn routes_by_function(core: &Core, store_of: impl Fn(&'static str) -> Store) -> Router {
    let on_table = functions_on_table::<Router<Service>>();
    let on_table = on_table.map(|(function, routes)| {
        let service = Service {
            core: core.clone(),
            store: store_of(function),
        };
        routes.with_state(service)
    });
    let others = functions_without_table::<Router<Core>>();
    let others = others.map(|(_, routes)| routes.with_state(core.clone()));
    let all = on_table.into_iter().chain(others);
    all.fold(Router::new(), Router::merge)
}
