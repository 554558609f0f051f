//! What the tests of the whole share: the service on a database of its own, a client, and the OpenAPI document that
//! every reply is held against.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

pub mod conformity;
pub mod dynamodb;
pub mod faults;
pub mod forgery;
pub mod fuzzing;
pub mod held;
pub mod interleavings;
pub mod lambda;
pub mod log;
pub mod metering;
pub mod model;
pub mod openapi;
pub mod permissions;
pub mod secrets_manager;
pub mod stack;
pub mod template;
