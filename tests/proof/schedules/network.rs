//! The way from the SDK to DynamoDB: every call waits there until the search lets it continue.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryPartition;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use latchkey::embedded::{self, Answer};
use tokio::sync::oneshot;

use super::call::{Call, Reply};

/// The calls of one request that wait.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Vec<Parked>>>);

struct Parked {
    call: Call,
    reply: oneshot::Sender<Reply>,
}

impl Network {
    fn lock(&self) -> MutexGuard<'_, Vec<Parked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits. A call that the request has given up does not.
    #[must_use]
    pub fn waiting(&self) -> Vec<Call> {
        let mut parked = self.lock();
        parked.retain(|one| !one.reply.is_closed());
        let mut calls: Vec<Call> = parked.iter().map(|one| one.call.clone()).collect();
        calls.sort();
        calls
    }

    /// Answers a call that waits.
    ///
    /// # Panics
    /// When it does not wait.
    pub fn answer(&self, call: &Call, reply: Reply) {
        let mut parked = self.lock();
        let position = parked.iter().position(|one| one.call == *call);
        let Some(position) = position else {
            let waiting: Vec<&Call> = parked.iter().map(|one| &one.call).collect();
            panic!("the request runs again, but sends {waiting:?} and not {call:?}");
        };
        let one = parked.remove(position);
        drop(one.reply.send(reply));
    }

    /// A client whose calls wait here. It has the service's retries, and an allowance of its own; but no timeouts: what
    /// they would end, the search loses.
    #[must_use]
    pub fn client(&self) -> Client {
        let connector = SharedHttpConnector::new(ParkingConnector(self.clone()));
        let config = embedded::config(http_client_fn(move |_, _| connector.clone()))
            .timeout_config(TimeoutConfig::disabled())
            // Else all requests of a process share one allowance of retries, and use it up.
            .retry_partition(RetryPartition::custom("one request").build());
        Client::from_conf(config.build())
    }
}

struct ParkingConnector(Network);

impl fmt::Debug for ParkingConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParkingConnector").finish_non_exhaustive()
    }
}

impl HttpConnector for ParkingConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let body = request.body().bytes().unwrap_or_default();
        let call = Call::new(embedded::operation_of(&request), body);
        let (reply, replied) = oneshot::channel();
        self.0.lock().push(Parked { call, reply });
        HttpConnectorFuture::new(async move {
            match replied.await {
                Ok(Reply::Answer { status, body }) => embedded::response(Answer {
                    status,
                    body: body.to_string(),
                }),
                Ok(Reply::Lost) | Err(_) => Err(ConnectorError::io("the connection broke".into())),
            }
        })
    }
}
