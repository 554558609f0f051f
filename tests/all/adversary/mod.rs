//! What somebody sends who means harm.

mod bad_input;
mod fuzzing;
mod token_attacks;
