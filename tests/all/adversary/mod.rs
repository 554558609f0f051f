//! What somebody sends who means harm.

mod bad_input;
mod every_operation;
mod fuzzing;
mod token_attacks;
