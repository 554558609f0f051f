//! The rules of Latchkey: who is signed in, what a refresh may do, what a token says.
//!
//! Everything here is pure. Time and randomness are passed in, storage and HTTP are unknown: the crate
//! depends on neither AWS, nor an HTTP library, nor an async runtime (a test of the workspace holds it so).
//!
//! Read [`account`] first: the account says who is signed in, a [`session::Session`] only describes one.

pub mod account;
pub mod activity;
pub mod administration;
pub mod cause;
pub mod client;
pub mod clock;
pub mod credential;
pub mod device;
pub mod email;
pub mod error;
pub mod event;
pub mod geography;
pub mod id;
pub mod identity;
pub mod notice;
pub mod novelty;
pub mod password;
pub mod policy;
pub mod random;
pub mod recovery;
pub mod refresh;
pub mod role;
pub mod selection;
pub mod session;
pub mod text;
pub mod throttle;
pub mod token;
