//! What is counted: one row for each metric. How the numbers leave a function is the runtime's matter.
//!
//! Code counts through the [`metrics`] facade. Without a recorder, as in the local stack, that costs next to nothing.

/// Where a count is to be seen. Each metric of CloudWatch is paid for, so only what an alarm watches or what people look at
/// every day is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A metric of CloudWatch, one for the whole stack.
    Stack,
    /// A field of the log line alone, which a query adds up.
    Line,
}

/// A metric of this service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in CloudWatch.
    pub name: &'static str,
    /// Where it is to be seen.
    pub scope: Scope,
    /// What one of it is.
    pub meaning: &'static str,
}

/// One row for each metric: its constant, its scope, its name and what one of it is.
macro_rules! metrics {
    ($($constant:ident, $scope:ident, $name:expr, $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: Metric = Metric {
                name: $name,
                scope: Scope::$scope,
                meaning: $meaning,
            };
        )*

        /// All metrics. The alarms and the dashboard use these and no others.
        pub const METRICS: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    REGISTRATIONS, Line, "Registrations", "A user has registered.";
    SIGN_INS, Stack, "SignIns", "A user has signed in.";
    NEW_DEVICES, Line, "NewDevices", "A user has signed in on a device that the account did not know.";
    UNUSUAL_LOCATIONS, Line, "UnusualLocations",
        "A user has signed in from a place too far from that of the last session for the time between them.";
    SIGN_IN_FAILURES, Stack, "SignInFailures",
        "A sign-in was refused (unknown e-mail address, wrong password, disabled account), or a wrong password was given on a session.";
    SIGN_INS_THROTTLED, Line, "SignInsThrottled",
        "A request with a password was answered 429, before the password was checked: too many of its address, or too many wrong ones of its account.";
    REQUESTS_THROTTLED, Line, "RequestsThrottled",
        "A request of another kind was answered 429: for a link, or on a session that has sent too many in this minute.";
    LINKS_REQUESTED, Line, "LinksRequested",
        "A link was asked for: to reset a password, to verify an address, to a new one; known addresses and unknown ones count alike.";
    LINKS_REFUSED, Line, "LinksRefused",
        "A link did nothing: not genuine, expired, used, or overtaken.";
    PASSWORD_RESETS, Line, "PasswordResets", "A password was replaced by whoever opened a link.";
    EMAILS_VERIFIED, Line, "EmailsVerified", "A link has verified an address, or has made a new one a user's.";
    REFRESHES, Stack, "Refreshes", "A refresh token was replaced by its successor.";
    REFRESH_REPLAYS, Line, "RefreshReplays",
        "A replaced refresh token got its successor again, within the grace.";
    REFRESH_NOT_DUE, Line, "RefreshNotDue",
        "A refresh token too young to be replaced was returned, with a new access token.";
    REFRESH_REFUSED, Line, "RefreshRefused",
        "A refresh was refused: not genuine, expired, or its session had ended.";
    TOKEN_REUSE, Stack, "TokenReuse",
        "A replaced refresh token was used after the grace, so its session ends.";
    TOKEN_AHEAD, Stack, "TokenAhead",
        "A refresh token was ahead of its session: a restored backup, or the secret has leaked.";
    REVOCATIONS, Line, "Revocations",
        "A session was ended by a person, its owner or an administrator: revoked, signed out, or by a password change, a disabling or a deletion.";
    ADMIN_ACTIONS, Line, "AdminActions",
        "An administrator has looked at accounts or changed one, or has tried to; a command counts nothing.";
    CLIENT_REFUSALS, Line, "ClientRefusals",
        "A client of another service was refused: wrong credentials, or a scope that it does not have.";
    THROTTLED, Line, "Throttled",
        "A request was answered 503 because DynamoDB throttled it, too many others changed the same account, or too many passwords were waiting.";
    AUTHORIZER_DENIED, Line, "AuthorizerDenied",
        "A request to another API was turned away by the authorizer.";
    LIVE_SESSIONS, Stack, "LiveSessions", "A live session, as a cleanup of the whole table counted them.";
    CLEANUP_RUNS, Stack, "CleanupRuns",
        "A cleanup came to the end of the table or of its budget, without failures.";
    CLEANUP_REMOVED, Line, "CleanupRemoved", "An item that the cleanup has removed.";
    EVENTS_PUBLISHED, Line, "EventsPublished", "An event has reached the bus; one that is put again counts again.";
    ACTIVITY_ENTRIES, Line, "ActivityEntries",
        "An entry of a user's activity was written; one that is written again counts again.";
    DEAD_LETTERS, Line, "DeadLetters", "A record of the table's stream that cannot become events was put aside.";
    MAILS_SENT, Line, "MailsSent", "A mail was handed to SES.";
    MAIL_FAILURES, Line, "MailFailures", "A mail could not be handed to SES; it is tried again for a day.";
    MAILS_REFUSED, Line, "MailsRefused",
        "A mail was put aside: SES refuses its address or the message, or has not answered three times.";
    MAILS_LEFT_OUT, Line, "MailsLeftOut",
        "A mail was left out: nobody had asked for it and its address has got enough of its kind in this hour, SES takes no such address, or it was too old before it could be sent.";
    MAILS_UNFOUNDED, Line, "MailsUnfounded",
        "An event asked for a mail that the table knows nothing of, so there was none: somebody else may put events on the bus.";
    KEY_ROTATIONS, Line, "KeyRotations", "The signing keys were rotated.";
    CLOCK_DIFFERENCES, Stack, latchkey_store::clock_check::CLOCK_DIFFERENCES,
        "The clock of a function was found more than 2 seconds from DynamoDB's; looked at once a minute.";
    COLD_STARTS, Line, "ColdStarts", "The first invocation of an environment.";
    DYNAMODB_CALLS, Line, latchkey_store::metering::CALLS,
        "A request sent to DynamoDB; each attempt is one.";
    DYNAMODB_READ_UNITS, Line, latchkey_store::metering::READ_UNITS,
        "A read unit, as DynamoDB says it.";
    DYNAMODB_WRITE_UNITS, Line, latchkey_store::metering::WRITE_UNITS,
        "A write unit, as DynamoDB says it; 1 for a condition that failed, of which it says nothing.";
}

/// The queue of passwords was full. Not a metric: it makes a 503 one of [`THROTTLED`].
pub const PASSWORD_QUEUE_FULL: &str = "PasswordQueueFull";
/// What makes a 503 one of [`THROTTLED`].
pub const CONGESTION: [&str; 3] = [
    latchkey_store::metering::THROTTLES,
    latchkey_store::metering::CONTENTION,
    PASSWORD_QUEUE_FULL,
];

impl Metric {
    /// Adds `more`; 0 adds nothing, so no line is written.
    pub fn count(self, more: usize) {
        if more > 0 {
            metrics::counter!(self.name).increment(more as u64);
        }
    }

    /// Sets the value, including 0.
    pub fn set(self, value: u64) {
        metrics::counter!(self.name).absolute(value);
    }
}
