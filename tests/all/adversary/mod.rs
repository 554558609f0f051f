//! What somebody sends who means harm.

mod bad_input;
mod every_operation;
mod from_the_table;
mod fuzzing;
mod token_attacks;
