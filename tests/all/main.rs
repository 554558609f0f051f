//! The tests of the whole. Each module is named after what it proves; the guarantees are those of the README.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod adversary;
mod contract;
mod guarantees;
mod lambda;
mod routes;
