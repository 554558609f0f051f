//! The HTTP server: hyper, with limits under which the service can answer what is wrong with a request itself.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use latchkey_api::location::PeerAddress;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::signals::StopSignals;

/// How long a stop waits for requests that are being answered.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// How long the request line and the headers may take to come, and how long a connection is kept open for the next
/// request.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// More headers than this get hyper's own 431, which has no body. hyper's default of 100 would come before ours.
const MAX_HEADERS: usize = 512;
/// A pause after a connection could not be accepted, which is mostly for want of file descriptors.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Serves until a signal comes, then lets the requests that are being answered finish, until a second one comes.
pub(crate) async fn serve(listener: TcpListener, application: Router, mut signals: StopSignals) {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = signals.wait() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connections.watch(connection(stream, peer, application.clone()));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection has failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    tracing::info!("stopping");
    drop(listener);
    tokio::select! {
        () = connections.shutdown() => return,
        () = tokio::time::sleep(STOP_WITHIN) => {}
        () = signals.wait() => {}
    }
    tracing::warn!("some requests were not finished in time");
}

/// One connection. The client's address is that of its connection.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    application: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(peer.ip()));
        answer(application.clone(), request)
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
}

async fn answer(application: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    application.oneshot(request.map(Body::new)).await
}
