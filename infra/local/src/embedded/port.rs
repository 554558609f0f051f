//! The embedded DynamoDB on a port of 127.0.0.1, for tools such as the AWS CLI and `NoSQL` Workbench.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use dynoxide::Database;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::engine::{Answer, answer};
use crate::hosts::Hosts;

/// How long a stop waits for requests that are being answered.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// DynamoDB's own limit, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// An open port. It closes when this is dropped; [`Port::close`] also waits for it.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<io::Result<()>>,
}

impl Port {
    pub(super) async fn open(port: u16, database: Database) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let server = axum::serve(listener, router(database)).with_graceful_shutdown(async {
            // An error is a stop too: the sender was dropped.
            let _ = stopped.await;
        });
        Ok(Self {
            address,
            stop,
            server: tokio::spawn(server.into_future()),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) async fn close(self) {
        let _ = self.stop.send(());
        match tokio::time::timeout(STOP_WITHIN, self.server).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::error!(%error, "the port of the DynamoDB failed"),
            Ok(Err(error)) => tracing::error!(%error, "the port of the DynamoDB failed"),
            Err(_) => tracing::warn!("some requests to the DynamoDB were not finished in time"),
        }
    }
}

fn router(database: Database) -> Router {
    Router::new()
        .route("/", post(handle))
        .with_state(database)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(only_this_machine))
}

/// Without this, a web page whose name points to 127.0.0.1 could read the table.
async fn only_this_machine(request: Request, next: Next) -> Response {
    match Hosts::loopback().check(&request) {
        Ok(()) => next.run(request).await,
        Err(_) => StatusCode::MISDIRECTED_REQUEST.into_response(),
    }
}

async fn handle(State(database): State<Database>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next());
    let Answer { status, body } = answer(&database, operation.unwrap_or_default(), &body);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(CONTENT_TYPE, "application/x-amz-json-1.0")], body).into_response()
}
