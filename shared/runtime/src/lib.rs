//! What a function runs in: settings, logs, metrics, the gateway's events, and the start on Lambda.
//!
//! A function's `main` is two lines: [`environment::serve`] with its routes. The local stack takes the settings and the
//! logs from here and serves the same routes on a socket.

pub mod emf;
pub mod environment;
pub mod gateway;
pub mod places;
pub mod settings;
pub mod telemetry;
mod trust_roots;
