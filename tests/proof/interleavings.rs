//! The protocol, checked in every order in which DynamoDB can carry it out.
//!
//! A few requests of one user run at the same moment. Each is a program whose steps are single DynamoDB calls on a
//! modelled table, decided by the domain crate's own functions; a search visits every order of those steps, and with
//! them every lost reply and delayed write that a scenario allows. After each step the rules of the guarantees are
//! checked.
//!
//! - [`table`]: the table, the calls on it, and what each call does as one atomic step;
//! - [`requests`]: what each request calls, method by method as the store and the functions do;
//! - [`rules`]: what must hold, whatever the order;
//! - [`search`]: all orders, breadth first, so that a counterexample is a shortest one.
//!
//! [`Mechanisms`] takes out one mechanism at a time: then the search must find what goes wrong without it. What is not
//! modelled: HTTP, tokens and their signatures, the form of items, the bound on retries, names and addresses.

pub mod requests;
pub mod rules;
pub mod search;
pub mod table;

/// What keeps the protocol right. Each can be taken out, to see that it is needed and that the search would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mechanisms {
    /// An account is written on the condition that its `version` is as it was read.
    pub version_condition: bool,
    /// A refresh asks the account's set whether its session counts.
    pub set_check_at_refresh: bool,
    /// A sign-in compares the `password_version` of credential and account.
    pub password_version_tie: bool,
    /// A refresh rotates on the condition that the stored rotation is its token's.
    pub rotation_condition: bool,
    /// A refresh rotates on the condition that the stored rotation is the first or older than the grace on every clock.
    pub interval: bool,
    /// A session that is two rotations ahead of a token proves that the token was replaced long ago.
    pub two_ahead_is_reuse: bool,
    /// The predecessor of a token that has just been rotated gets the same successor again.
    pub grace: bool,
    /// A failed condition that meets the request's own stamp tells that the write had been made.
    pub own_stamp: bool,
    /// The same when one other change has followed that write.
    pub previous_stamp: bool,
    /// A transaction is sent again under the token that it was first sent under, after a conflict too.
    pub same_token_after_conflict: bool,
    /// An id in the set whose item the query did not show is looked up before it is taken for gone.
    pub lookups_of_unseen: bool,
    /// The purge judges session items by an account read that began after the items were read.
    pub account_read_after_items: bool,
    /// The purge deletes an item that has only expired on the condition that it has not been refreshed since.
    pub purge_condition: bool,
    /// Revoking all moves the version even if it ends nothing.
    pub fence: bool,
    /// A link to reset a password names the password that it replaces.
    pub reset_names_password: bool,
    /// A link to a new address names the session on which it was asked for.
    pub change_names_session: bool,
}

impl Mechanisms {
    /// The service as it is.
    pub const ALL: Self = Self {
        version_condition: true,
        set_check_at_refresh: true,
        password_version_tie: true,
        rotation_condition: true,
        interval: true,
        two_ahead_is_reuse: true,
        grace: true,
        own_stamp: true,
        previous_stamp: true,
        same_token_after_conflict: true,
        lookups_of_unseen: true,
        account_read_after_items: true,
        purge_condition: true,
        fence: true,
        reset_names_password: true,
        change_names_session: true,
    };
}
