//! The service on a database of its own, a client, and the OpenAPI document that every reply is held against.
//!
//! TODO

pub mod conformity;
pub mod dynamodb;
pub mod lambda;
pub mod log;
pub mod metering;
pub mod openapi;
pub mod permissions;
pub mod secrets_manager;
pub mod stack;
pub mod template;
