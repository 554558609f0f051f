//! What each route does for its callers, and the scheduled cleanup.

mod account;
pub(crate) mod cleanup;
mod device_tokens;
mod devices;
mod imported_hashes;
mod mailboxes;
mod passwords_given;
mod refreshing;
mod registration;
mod sessions;
mod sign_in;
