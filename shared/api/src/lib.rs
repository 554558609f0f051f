//! HTTP: problems, extractors, resources, routes, the OpenAPI document.
//!
//! A function of Latchkey is an [`axum::Router`] whose handlers turn a request into a call of the service and the result
//! into a reply. On Lambda the runtime runs it, in the local stack it is merged with the others behind one listener, in a
//! test it is called directly; [`http::service`] puts the same layers around it each time. This crate knows neither
//! DynamoDB nor Lambda.

pub mod activity;
pub mod admin;
pub mod authenticate;
pub mod body;
pub mod client;
pub mod cors;
pub mod credentials;
pub mod edge;
pub mod export;
pub mod form;
pub mod headers;
pub mod http;
pub mod location;
pub mod long_list;
mod mistake;
pub mod oauth;
pub mod openapi;
pub mod own_pages;
pub mod parameter;
pub mod problem;
pub mod public_document;
pub mod resource;
pub mod routes;
