//! Schedules of the real code: a few requests of one user at the same moment, in every order of their DynamoDB calls.
//!
//! A request is a call of the service's own use case, over the store, over the AWS SDK. Its client parks each call; the
//! search says which one reaches the embedded DynamoDB next, and what is lost. After each step the rules of the guarantees
//! are checked.
//!
//! - [`call`]: a call as it is on the wire, and its reply;
//! - [`network`]: the connector where calls wait;
//! - [`request`]: what clients ask for, and what they are answered;
//! - [`program`]: one request, run on every sequence of replies that it may get;
//! - [`table`]: the table, and what the engine makes of it by one call;
//! - [`scene`]: what is there before, and which requests arrive;
//! - [`rules`]: what must hold, whatever the order;
//! - [`answers`]: and what an answer must agree with;
//! - [`search`]: all orders, breadth first, so that a counterexample is a shortest one;
//! - `astray`: a write that is lost or arrives late;
//! - [`trace`]: how a counterexample is told.

pub mod answers;
mod astray;
pub mod call;
pub mod network;
pub mod program;
pub mod request;
pub mod rules;
pub mod scene;
pub mod search;
mod states;
pub mod table;
pub mod trace;
