//! What is held against the service: a model of its rules, and a search through the orders of its requests.

pub mod counters;
pub mod links;
pub mod model;
pub mod schedules;
