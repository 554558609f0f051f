//! What a request must be before the service sees it. On AWS, API Gateway sees to this.

use std::time::Duration;

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{CONNECTION, CONTENT_LENGTH};
use latchkey_api::body::MAX_BODY_BYTES;
use latchkey_api::problem::{Code, Problem};

use crate::hosts::{Hosts, WrongHost};

/// The longest request line and headers together, in bytes: API Gateway's limit.
const MAX_HEAD_BYTES: usize = 10_240;
/// How long a body may take to come. The largest has 16 KiB.
const BODY_WITHIN: Duration = Duration::from_secs(5);

/// Refuses what is not for this server, is too large, or does not come; else reads the body and lets the request pass.
pub(crate) async fn pass(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    match check(&hosts, &request) {
        Ok(()) => {}
        // The body is not read, so the connection cannot be used for another request.
        Err(problem) => return and_close(problem),
    }
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(bytes)) => {
            next.run(Request::from_parts(parts, Body::from(bytes)))
                .await
        }
        Ok(Err(error)) => and_close(problem_of(&error)),
        Err(_) => and_close(Code::RequestTimeout.into()),
    }
}

fn check(hosts: &Hosts, request: &Request) -> Result<(), Problem> {
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > MAX_HEAD_BYTES {
        return Err(Code::UriTooLong.into());
    }
    let headers = request.headers().iter();
    let headers: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if target + headers > MAX_HEAD_BYTES {
        return Err(Code::HeadersTooLarge.into());
    }
    hosts.check(request).map_err(|wrong| match wrong {
        WrongHost::NotOne => Problem::invalid_request(
            "Send exactly one Host header, with a host and perhaps a port.",
        ),
        WrongHost::NotOurs => Code::HostNotAllowed.into(),
    })?;
    let announced = request.headers().get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(Code::PayloadTooLarge.into());
    }
    Ok(())
}

/// Why a body could not be read: it is too large, or the connection failed.
fn problem_of(error: &axum::Error) -> Problem {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return Code::PayloadTooLarge.into();
        }
        source = error.source();
    }
    Problem::invalid_request("The body could not be read.")
}

fn and_close(problem: Problem) -> Response {
    let mut response = problem.into_response();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::body::Bytes;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use futures::stream;
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    async fn send(body: Body) -> Response {
        let echo = post(|body: Bytes| async { body });
        let gate = from_fn_with_state(Hosts::loopback(), pass);
        let router = Router::new().route("/", echo).layer(gate);
        let request = Request::post("/").header("host", "localhost").body(body);
        router.oneshot(request.unwrap()).await.unwrap()
    }

    fn code(response: &Response) -> Option<Code> {
        let problem = response.extensions().get::<Problem>();
        problem.map(|problem| problem.code)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_a_time_out_of_the_clients() {
        let began = tokio::time::Instant::now();
        let silence = stream::pending::<Result<Bytes, Infallible>>();
        let response = send(Body::from_stream(silence)).await;
        assert_eq!(response.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(code(&response), Some(Code::RequestTimeout));
        assert_eq!(response.headers()[CONNECTION], "close");
        assert_eq!(began.elapsed().as_secs(), BODY_WITHIN.as_secs());
    }

    #[tokio::test]
    async fn a_body_of_the_largest_size_passes_whole_and_a_larger_one_does_not() {
        for (size, status) in [
            (0, StatusCode::OK),
            (MAX_BODY_BYTES, StatusCode::OK),
            (MAX_BODY_BYTES + 1, StatusCode::PAYLOAD_TOO_LARGE),
        ] {
            let chunk = Ok::<_, Infallible>(Bytes::from(vec![b'a'; size]));
            let response = send(Body::from_stream(stream::iter([chunk]))).await;
            assert_eq!(response.status(), status, "{size}");
            if status == StatusCode::OK {
                let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
                assert_eq!(body.len(), size);
            }
        }
    }
}
