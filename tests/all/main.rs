//! The tests of the whole. Each module is named after what it proves; the guarantees are those of the README.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may panic"
)]

mod account;
mod at_the_edge;
mod bad_input;
mod budgets;
mod causes;
mod cleanup;
mod devices;
mod edge;
mod expiry;
mod faults;
mod fuzzing;
mod http_contract;
mod imported_hashes;
mod interleavings;
mod least_privilege;
mod limit;
mod machine;
mod mailboxes;
mod mechanisms;
mod metrics;
mod on_lambda;
mod one_truth;
mod openapi;
mod ownership;
mod passwords_given;
mod refreshing;
mod registration;
mod second_decisions;
mod secrecy;
mod secret_rotation;
mod sessions;
mod sign_in;
mod theft;
mod token_attacks;
mod watching;
