//! The functions as Lambda runs them, and what CloudFront changes.

mod edge;
mod on_lambda;
