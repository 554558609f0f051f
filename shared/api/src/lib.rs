//! HTTP and the surroundings of a function: problems, extractors, the client's address, settings, telemetry.
//!
//! A function of Latchkey is an [`axum::Router`]. On Lambda it is run by [`lambda::serve`], in the local stack it is
//! merged with the others behind one listener, in a test it is called directly; [`http::service`] puts the same layers
//! around it each time. This crate knows nothing of DynamoDB: what a function stores things in is a parameter of
//! [`app::App`].

pub mod app;
pub mod authenticate;
pub mod body;
pub mod client;
pub mod event;
pub mod front;
pub mod headers;
pub mod http;
pub mod lambda;
pub mod metrics;
pub mod openapi;
pub mod parameter;
pub mod password_workers;
pub mod problem;
pub mod resource;
pub mod routes;
pub mod settings;
pub mod telemetry;
pub mod token_keys;
mod trust_roots;
