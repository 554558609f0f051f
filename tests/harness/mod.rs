//! The service on an empty database, a client, and the OpenAPI document that every reply is held against.
//!
//! A test starts a [`Stack`](stack::Stack): the routers of all functions as one, the embedded DynamoDB with the table of
//! the template, a clock that stands still until the test moves it, and a randomness with a seed. Each function has the
//! permissions of its role in the template and no more. The test then sends a [`Call`](call::Call), whose
//! [`Reply`](reply::Reply) is held against the OpenAPI document, and looks at status, code and body, or at the table:
//!
//! ```no_run
//! # use http::StatusCode;
//! # use latchkey_tests::harness::stack::Stack;
//! # async fn example() {
//! let stack = Stack::start().await;
//! let ada = stack.register("ada@example.com").await;
//! let phone = stack.login("ada@example.com").await;
//! stack.advance(chrono::TimeDelta::hours(1));
//! let reply = stack.refresh(&phone.refresh_token).await;
//! let newer = reply.expect(StatusCode::OK);
//! let replaced = stack.refresh("not a token").await;
//! replaced.expect_problem(401, "invalid_refresh_token");
//! assert_eq!(stack.session_ids(&ada).await.len(), 2);
//! # }
//! ```
//!
//! [`dynamodb`] counts the trips and units of a call, [`log`] holds what was logged, [`lambda`] runs a function's program
//! as Lambda does, [`table`] changes an item behind the service, [`operations`] are the routes by the document. DynamoDB fails on demand in [`crate::attack::faults`].

pub mod administrators;
pub mod authorizer;
pub mod call;
pub mod conformity;
pub mod dynamodb;
pub mod events;
pub mod lambda;
pub mod links;
pub mod log;
pub mod mail;
pub mod metering;
pub mod openapi;
pub mod operations;
pub mod permissions;
pub mod reply;
pub mod second_engine;
pub mod secrets_manager;
pub mod stack;
pub mod table;
pub mod template;
