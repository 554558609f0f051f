//! A request to DynamoDB that waits at the connector until a test lets it continue.
//!
//! [`Faults::hold`](crate::attack::faults::Faults::hold) makes one. The request then takes three steps, each when the test says
//! so: it arrives, the database carries it out, its reply reaches the service. In between the test does what another
//! request would do at that moment, and it may give the service another reply.

use std::future::Future;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::Value;
use tokio::sync::oneshot::{self, Receiver, Sender};

use crate::attack::faults::{Answered, reply};

/// How long a test waits for a request. With a paused clock this takes no time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that the database has not seen yet. If this is dropped, the request continues as if it were not held.
#[derive(Debug)]
pub struct Held {
    arrival: Receiver<Value>,
    order: Sender<Sender<CarriedOut>>,
}

/// A request that the database has carried out and whose reply the service has not received yet. If this is dropped,
/// the service receives the reply.
#[derive(Debug)]
pub struct CarriedOut {
    /// The body of the database's reply.
    pub reply: Value,
    substitute: Sender<(u16, Value)>,
}

/// The connector's end of a held request.
#[derive(Debug)]
pub(crate) struct Hold {
    arrival: Sender<Value>,
    order: Receiver<Sender<CarriedOut>>,
}

/// The two ends of a request that will be held.
pub(crate) fn hold() -> (Held, Hold) {
    let (tell_arrival, arrival) = oneshot::channel();
    let (give_order, order) = oneshot::channel();
    let held = Held {
        arrival,
        order: give_order,
    };
    let hold = Hold {
        arrival: tell_arrival,
        order,
    };
    (held, hold)
}

impl Held {
    /// Waits until the request is at the connector, and returns its body.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn arrive(&mut self) -> Value {
        wait_for(&mut self.arrival, "the request has not come").await
    }

    /// Waits for the request, and lets the database carry it out.
    ///
    /// # Panics
    /// When it does not come, or a fault strikes it.
    pub async fn carry_out(self) -> CarriedOut {
        let (report, carried_out) = oneshot::channel();
        drop(self.order.send(report));
        wait_for(carried_out, "the request has not been carried out").await
    }

    /// Lets the request continue to the database, and the reply to the service.
    pub fn release(self) {}
}

impl CarriedOut {
    /// Gives the service this reply, with status 200, in place of the database's.
    pub fn answer(self, body: Value) {
        self.answer_with(200, body);
    }

    /// The same with another status.
    pub fn answer_with(self, status: u16, body: Value) {
        drop(self.substitute.send((status, body)));
    }

    /// Gives the service the database's reply.
    pub fn release(self) {}
}

async fn wait_for<T>(
    receiver: impl Future<Output = Result<T, oneshot::error::RecvError>>,
    otherwise: &str,
) -> T {
    let received = tokio::time::timeout(PATIENCE, receiver).await;
    received.ok().and_then(Result::ok).expect(otherwise)
}

impl Hold {
    /// Keeps a request at the connector. `carrying_out` is what happens to it when it continues.
    pub(crate) async fn keep(
        self,
        request: Value,
        carrying_out: impl Future<Output = Answered>,
    ) -> Answered {
        drop(self.arrival.send(request));
        let Ok(report) = self.order.await else {
            return carrying_out.await;
        };
        let response = carrying_out.await?;
        let (substitute, substituted) = oneshot::channel();
        let reply_to_service = CarriedOut {
            reply: body_of(&response),
            substitute,
        };
        drop(report.send(reply_to_service));
        match substituted.await {
            Ok((status, body)) => reply((status, body.to_string())),
            Err(_) => Ok(response),
        }
    }
}

fn body_of(response: &HttpResponse) -> Value {
    let body = response.body().bytes().unwrap_or_default();
    serde_json::from_slice(body).unwrap_or_default()
}
