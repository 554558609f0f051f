//! What goes wrong or means harm: faults of DynamoDB, requests that are held back, forged tokens, any bytes.

pub mod faults;
pub mod forgery;
pub mod fuzzing;
pub mod held;
