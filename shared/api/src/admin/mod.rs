//! Administration: who may call its routes, and what they answer.
//!
//! A function of administration adds its routes to [`AdminRoutes`], which puts the check before each of them. So a route
//! cannot be added without it.

pub mod resource;

use axum::extract::{FromRequestParts, Request};
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::MethodRouter;
use http::request::Parts;
use latchkey_service::{Administrator, Service};
use tokio::time::Instant;
use utoipa_axum::router::UtoipaMethodRouter;

use crate::authenticate::authenticate;
use crate::problem::{Code, Problem};
use crate::routes::{AnyHandler, BoxedResponse, Described, Routes};

/// What the check answers, in addition to what follows from wanting an access token.
const REFUSALS: [Code; 2] = [Code::NotFound, Code::ReauthenticationRequired];

/// Routes of administration: each asks who calls before it reads anything else of the request.
#[derive(Debug)]
pub struct AdminRoutes<R>(R);

impl<R> AdminRoutes<R> {
    /// The routes, each behind the check.
    #[must_use]
    pub fn checked(self) -> R {
        self.0
    }
}

impl<R: Routes<Service>> Routes<Service> for AdminRoutes<R> {
    fn new() -> Self {
        Self(R::new())
    }

    fn route<H, T, P, D>(self, described: Described<H, P, D>, codes: &[Code]) -> Self
    where
        H: Handler<T, Service>,
        T: 'static,
        P: utoipa::Path,
        D: FnOnce() -> UtoipaMethodRouter<Service>,
    {
        let Described {
            handler,
            path,
            description,
            query,
        } = described;
        let checked = Described {
            handler: Checked(AnyHandler::new(handler)),
            path,
            description,
            query,
        };
        Self(self.0.route(checked, &[codes, &REFUSALS].concat()))
    }

    /// One that the document does not name would be one that no test of the check meets.
    #[expect(
        clippy::panic,
        reason = "routes are added at the start, and one must not be lost in silence"
    )]
    fn route_undocumented(self, path: &str, _: MethodRouter<Service>) -> Self {
        panic!("a route of administration must be in the document: {path}");
    }
}

/// A handler behind the check.
#[derive(Clone)]
struct Checked(AnyHandler<Service>);

impl Handler<(), Service> for Checked {
    type Future = BoxedResponse;

    fn call(self, request: Request, service: Service) -> BoxedResponse {
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match check(&parts, &service).await {
                Ok(administrator) => {
                    parts.extensions.insert(administrator);
                    let request = Request::from_parts(parts, body);
                    self.0.call(request, service).await
                }
                Err(problem) => problem.into_response(),
            }
        })
    }
}

/// Who calls, if they may administer now. Where administration is off, its routes answer as if they were not there.
async fn check(parts: &Parts, service: &Service) -> Result<Administrator, Problem> {
    if !service.core.policy.administration {
        return Err(Code::NotFound.into());
    }
    // The keys may have to be read for the token, and the request's time runs meanwhile.
    let began = Instant::now();
    let caller = authenticate(&parts.headers, &service.core).await?;
    Ok(service.administrator(caller, began).await?)
}

/// The administrator who calls a route of [`AdminRoutes`].
#[derive(Clone, Debug)]
pub struct Admin(pub Administrator);

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let administrator = parts.extensions.get::<Administrator>();
        administrator.cloned().map(Self).ok_or_else(|| {
            tracing::error!("a route of administration is not behind the check");
            Problem::internal()
        })
    }
}
