//! What each route does for its callers, the authorizer of other APIs, and the scheduled cleanup.

mod account;
mod activity;
mod admin;
mod audiences;
mod authorizer;
pub(crate) mod cleanup;
mod clients;
mod cookies;
mod device_tokens;
mod devices;
mod imported_hashes;
mod mailboxes;
mod novelty;
mod passwords_given;
pub(crate) mod recovery;
mod refreshing;
mod registration;
mod sessions;
mod sign_in;
mod sign_in_elsewhere;
mod step_up;
