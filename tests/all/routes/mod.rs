//! What each route does for its callers, and the scheduled cleanup.

mod account;
mod admin;
pub(crate) mod cleanup;
mod devices;
mod imported_hashes;
mod mailboxes;
mod passwords_given;
mod refreshing;
mod registration;
mod sessions;
mod sign_in;
