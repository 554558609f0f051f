//! The functions as Lambda runs them, and what CloudFront changes.

mod clock_difference;
mod edge;
mod mail_on_lambda;
mod on_lambda;
