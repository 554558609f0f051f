//! What the tests of the whole share: [`harness`] runs and calls the service, [`proof`] holds the model and the search, and
//! [`attack`] breaks things.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

pub mod attack;
pub mod harness;
pub mod proof;
