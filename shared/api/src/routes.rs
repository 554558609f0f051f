//! The routes of a function: one list. The router that answers is made of it, and so is the OpenAPI document of what it
//! answers.
//!
//! The document is a part of the discovery function as a file, and the tests alone make it from the routes. So no function
//! has to carry the code that describes them: an eighth of a megabyte, built and thrown away at every start.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::{ComponentsBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::PathItemExt;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::openapi::with_problems;
use crate::parameter::{Query, refuse_query};
use crate::problem::Code;

/// What routes are added to: a router that answers, or the OpenAPI document of what it answers.
///
/// ```
/// use latchkey_api::handler;
/// use latchkey_api::problem::Code;
/// use latchkey_api::routes::Routes;
///
/// /// Say hello
/// #[utoipa::path(get, path = "/v1/hello", responses((status = OK, description = "Hello")))]
/// async fn hello() -> &'static str {
///     "hello"
/// }
///
/// pub fn routes<R: Routes<()>>() -> R {
///     R::new().route(handler!(hello), &[Code::SessionNotFound])
/// }
/// ```
pub trait Routes<S>: Sized {
    /// None yet.
    #[must_use]
    fn new() -> Self;

    /// Adds a handler under the path and the method that its `#[utoipa::path]` says. `handler` is what
    /// [`handler!`](crate::handler) makes of its name, `codes` are the errors it answers with in addition to those
    /// that follow from its having a body, refusing a query or wanting an access token.
    #[must_use]
    fn route<H, T, P, D>(self, handler: Described<H, P, D>, codes: &[Code]) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
        P: utoipa::Path,
        D: FnOnce() -> UtoipaMethodRouter<S>;

    /// Adds a route that the document does not name.
    #[must_use]
    fn route_undocumented(self, path: &str, router: MethodRouter<S>) -> Self;
}

/// A handler with its description, which is not made until it is asked for.
#[derive(Debug)]
pub struct Described<H, P, D> {
    /// Answers.
    pub handler: H,
    /// Knows path and methods.
    pub path: P,
    /// Makes the description.
    pub description: D,
    /// What becomes of a query.
    pub query: Query,
}

impl<H, P, D> Described<H, P, D> {
    /// The handler reads the query.
    #[must_use]
    pub fn reading_query(mut self) -> Self {
        self.query = Query::Read;
        self
    }

    /// The handler answers the same whatever the query.
    #[must_use]
    pub fn ignoring_query(mut self) -> Self {
        self.query = Query::Ignored;
        self
    }
}

/// A handler that has a `#[utoipa::path]`, for [`Routes::route`]. The attribute's own item, `__path_` and the handler's
/// name, must be in scope.
#[macro_export]
macro_rules! handler {
    ($handler:ident) => {
        $crate::routes::Described {
            handler: $handler,
            path: utoipa_axum::paste! { [<__path_ $handler>] },
            description: || utoipa_axum::routes!($handler),
            query: $crate::parameter::Query::Refused,
        }
    };
}

/// A handler whose own type is hidden, so that axum's code for a route is in a binary once and not for each handler.
pub(crate) struct AnyHandler<S>(Arc<dyn Fn(Request, S) -> BoxedResponse + Send + Sync>);

/// The reply of a handler to come.
pub(crate) type BoxedResponse = Pin<Box<dyn Future<Output = Response> + Send>>;

impl<S: 'static> AnyHandler<S> {
    pub(crate) fn new<H: Handler<T, S>, T>(handler: H) -> Self {
        Self(Arc::new(move |request, state| {
            Box::pin(handler.clone().call(request, state))
        }))
    }
}

// Derived, it would ask for a state that can be cloned.
impl<S> Clone for AnyHandler<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: 'static> Handler<(), S> for AnyHandler<S> {
    type Future = BoxedResponse;

    fn call(self, request: Request, state: S) -> BoxedResponse {
        (self.0)(request, state)
    }
}

fn answering<S: Clone + Send + Sync + 'static>(
    methods: MethodFilter,
    handler: AnyHandler<S>,
    query: Query,
) -> MethodRouter<S> {
    let router = on(methods, handler);
    match query {
        Query::Refused => router.route_layer(from_fn(refuse_query)),
        Query::Read | Query::Ignored => router,
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> for Router<S> {
    fn new() -> Self {
        Self::new()
    }

    fn route<H, T, P, D>(self, described: Described<H, P, D>, _: &[Code]) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
        P: utoipa::Path,
        D: FnOnce() -> UtoipaMethodRouter<S>,
    {
        let methods = P::methods();
        let methods = methods.iter().map(PathItemExt::to_method_filter);
        match methods.reduce(MethodFilter::or) {
            Some(methods) => {
                let handler = AnyHandler::new(described.handler);
                self.route(&P::path(), answering(methods, handler, described.query))
            }
            None => self,
        }
    }

    fn route_undocumented(self, path: &str, router: MethodRouter<S>) -> Self {
        self.route(path, router)
    }
}

impl<S> Routes<S> for OpenApi {
    fn new() -> Self {
        Self::default()
    }

    fn route<H, T, P, D>(self, described: Described<H, P, D>, codes: &[Code]) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
        P: utoipa::Path,
        D: FnOnce() -> UtoipaMethodRouter<S>,
    {
        let (schemas, paths, _) = (described.description)();
        let components = ComponentsBuilder::new().schemas_from_iter(schemas);
        let described = OpenApiBuilder::new()
            .paths(with_problems(paths, codes, described.query))
            .components(Some(components.build()));
        self.merge_from(described.build())
    }

    fn route_undocumented(self, _: &str, _: MethodRouter<S>) -> Self {
        self
    }
}
